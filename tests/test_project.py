"""The build under test is the one that is meant, and what several files say about the project agrees."""

from __future__ import annotations

import importlib.metadata
import importlib.resources
import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from builds import constant_of_setup

from swellmq import version
from swellmq.limits import Limits
from swellmq.listener_settings import ListenerRules

ROOT = Path(__file__).parent.parent
SOURCES = ROOT / "src" / "swellmq"


def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def source_names() -> list[str]:
    return sorted(path.relative_to(SOURCES).as_posix() for path in SOURCES.rglob("*.py"))


def test_the_build_is_the_expected_one() -> None:
    expected = os.environ.get("EXPECT_BUILD")
    if expected is None:
        pytest.skip("EXPECT_BUILD is not set: `make test` sets it to compiled, then to interpreted")
    assert expected in ("compiled", "interpreted")
    assert ("compiled" if version.compiled() else "interpreted") == expected, version.advice() or version.__file__


def test_every_module_is_compiled_but_those_in_the_list() -> None:
    patterns = constant_of_setup("NOT_COMPILED")
    for name in source_names():
        module = "swellmq." + name.removesuffix(".py").replace("/", ".")
        spec = importlib.util.find_spec(module.removesuffix(".__init__"))
        assert spec is not None, f"{module} is not installed"
        assert spec.origin is not None
        listed = any(fnmatchcase(name, pattern) for pattern in patterns)
        assert spec.origin.endswith(".py") == (listed or not version.compiled()), spec.origin


@pytest.mark.parametrize("pattern", constant_of_setup("NOT_COMPILED"))
def test_what_is_not_compiled_exists_and_has_a_reason(pattern: str) -> None:
    assert any(fnmatchcase(name, pattern) for name in source_names())
    assert constant_of_setup("NOT_COMPILED")[pattern]


@pytest.mark.parametrize("name", ["FAST", "MESSAGES", "LATE"])
def test_what_is_compiled_in_a_way_of_its_own_exists_and_is_compiled(name: str) -> None:
    left_out = constant_of_setup("NOT_COMPILED")
    compiled = [one for one in source_names() if not any(fnmatchcase(one, pattern) for pattern in left_out)]
    for pattern in constant_of_setup(name):
        assert any(fnmatchcase(one, pattern) for one in compiled), pattern


SMALL_MODULE = """
class Thing:
    def __init__(self) -> None:
        self.size: int = 0

    def grow(self) -> None:
        self.size += 1
"""


@pytest.mark.slow
def test_what_is_seldom_called_is_found_in_the_c_that_mypyc_writes(tmp_path: Path) -> None:
    pytest.importorskip("mypyc.build", reason="the extra `dev` brings mypyc")
    names = ["one.py", "other.py"]  # in one group, as the modules of the broker are
    for name in names:
        (tmp_path / name).write_text(SMALL_MODULE)
    arguments = f"['--config-file=', *{names}], multi_file=True, group_name='small', target_dir='c'"
    write = f"from mypyc.build import mypycify; mypycify({arguments})"
    subprocess.run([sys.executable, "-P", "-c", write], cwd=tmp_path, capture_output=True, check=True)
    text = "".join(path.read_text() for path in (tmp_path / "c").rglob("*.c"))
    for pattern, reason in constant_of_setup("SELDOM").items():
        assert reason
        assert re.search(pattern, text, re.MULTILINE), pattern


def test_native_objects_have_no_vars_in_the_interpreted_build_either() -> None:
    names = {"__name__": "swellmq.somewhere", "native": Limits(), "plain": ListenerRules()}
    with pytest.raises(TypeError):
        eval("vars(native)", names)
    assert "anonymous" in eval("vars(plain)", names)


def test_describe_and_advice() -> None:
    pattern = r"swellmq \d+\.\d+\.\d+ \((compiled by mypyc|interpreted), Python 3\.\d+\.\d+\)"
    assert re.fullmatch(pattern, version.describe())
    assert (version.advice() == "") == version.compiled()


def test_the_command_tells_the_version() -> None:
    command = [sys.executable, "-P", "-m", "swellmq", "--version"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == version.describe() + "\n"


def test_the_version_of_the_package_is_the_one_in_the_code() -> None:
    assert importlib.metadata.version("swellmq") == version.VERSION


def test_types_are_shipped() -> None:
    assert importlib.resources.files("swellmq").joinpath("py.typed").is_file()


def test_the_types_are_checked_by_the_mypy_that_compiles() -> None:
    assert constant_of_setup("MYPYC") in pyproject()["project"]["optional-dependencies"]["dev"]


def test_the_sources_hold_no_compiled_module() -> None:
    assert not list((ROOT / "src").rglob("*.so"))
