"""`swellmq serve` up to the point where the broker starts: flags, help, and bad settings."""

from __future__ import annotations

import argparse
import subprocess
import sys
import types
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swellmq.cli.main import main
from swellmq.cli.parser import HelpFormatter
from swellmq.cli.serve import add_arguments
from swellmq.cli.start import read_flags
from swellmq.options import BOOLEAN, LIST, OPTIONS, Option
from swellmq.settings import Settings


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """Stands in for the server: what it was asked to serve."""
    settings: list[Settings] = []

    def serve(one: Settings) -> int:
        settings.append(one)
        return 0

    server = types.ModuleType("swellmq.command")
    server.serve = serve  # type: ignore[attr-defined]  # a module made here has no declared names
    monkeypatch.setitem(sys.modules, "swellmq.command", server)
    return settings


WORDS = [flag for option in OPTIONS for flag in (option.flag, option.flag + "=7")]
WORDS += [
    "-v",
    "--verbose",
    "-c",
    "--config",
    "--log-level",
    "--log-format=json",
    "-cFILE",
    "-c=FILE",
    "--",
    "-",
    "--port=",
]
WORDS += ["7", "a b", "", "-7", "--unknown", "-x", "yes"]


@given(words=st.lists(st.sampled_from(WORDS), max_size=6))
def test_flags_are_read_as_argparse_reads_them_or_left_to_it(words: list[str]) -> None:
    flags = read_flags(words)
    if flags is not None:
        parser = argparse.ArgumentParser(allow_abbrev=False, formatter_class=HelpFormatter)
        add_arguments(parser)
        arguments, unknown = parser.parse_known_args(words)
        assert (flags, []) == (vars(arguments), unknown)


@pytest.mark.parametrize("option", OPTIONS, ids=[option.name for option in OPTIONS])
def test_each_flag_is_read_without_argparse(option: Option) -> None:
    value = ["7"] if option.kind == LIST else "7"
    assert read_flags([option.flag, "7"]) == read_flags([option.flag + "=7"]) == {option.name: value}


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["--port"], ["--no-such"], ["7"], ["--port", "--bind", "::"]])
def test_what_is_not_plainly_right_is_left_to_argparse(words: list[str]) -> None:
    assert read_flags(words) is None


def test_a_broker_that_starts_loads_no_argparse() -> None:
    code = (
        "import sys; import swellmq.cli.main as m; from swellmq.cli import start;"
        "start.start = lambda flags: print(flags, 'argparse' in sys.modules); m.main(['serve', '--port', '0'])"
    )
    asked = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert asked.stdout == "{'port': '0'} False\n"


def test_help_has_every_option_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["serve", "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    words = " ".join(text.split())
    for option in OPTIONS:
        assert option.flag + " " in text
        assert option.meaning in words
        assert "default " + option.default_text() in words


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_every_flag_reaches_its_setting(option: Option, served: list[Settings]) -> None:
    texts = {"bind": "::1", "unix": "s.sock", "pool.factor": "7/4", "max_connections": "200000", "admin": "localhost:1"}
    value = option.choices[-1] if option.choices else texts.get(option.name, str(option.low))
    if option.kind == BOOLEAN:
        value = "false" if option.default else "true"
    assert main(["serve", option.flag, value]) == 0
    assert served[0].explain(option.name)[1] == "flag"


def test_short_flags(served: list[Settings]) -> None:
    main(["serve", "-v", "--log-format", "json", "--pool.shrink", "--bind", "127.0.0.1", "--bind", "::1", "--port=0"])
    [settings] = served
    assert (settings.log_level, settings.log_format, settings.pool_shrink) == ("debug", "json", True)
    assert [str(listener) for listener in settings.listeners] == ["127.0.0.1:0", "[::1]:0"]


def test_layers(served: list[Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "s.toml"
    config.write_text("port = 1\nsys_interval_s = 1\nstatus_interval_s = 1\n")
    monkeypatch.setenv("SWELLMQ_SYS_INTERVAL_S", "2")
    monkeypatch.setenv("SWELLMQ_STATUS_INTERVAL_S", "2")
    assert main(["serve", "--config", str(config), "--status-interval-s", "3"]) == 0
    assert (served[0].port, served[0].sys_interval_s, served[0].status_interval_s) == (1, 2, 3)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--port", "70000"], "--port: port = 70000: above 65535. Give a whole number from 0 to 65535"),
        (["--port", "-3"], "--port: port = -3: below 0. Give a whole number from 0 to 65535"),
        (
            ["--pool.max-size", "300", "--max-connections", "200"],
            "--pool.max-size: pool.max_size = 300: above max_connections = 200 (flag). "
            "Lower pool.max_size to 200 or less, or raise max_connections to 300 or more",
        ),
        (
            ["-c", "nowhere/mosquitto.conf"],
            'config = "nowhere/mosquitto.conf": can\'t be read: No such file or directory. '
            "Give the path of a mosquitto.conf",
        ),
    ],
)
def test_bad_settings_end_with_2(
    argv: list[str], message: str, served: list[Settings], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", *argv]) == 2
    assert capsys.readouterr().err == f"swellmq: {message}\n"
    assert served == []


def test_bad_variable_ends_with_2(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("SWELLMQ_POOL_MAXSIZE", "5")
    assert main(["serve"]) == 2
    assert capsys.readouterr().err == (
        'swellmq: environment: SWELLMQ_POOL_MAXSIZE = "5": no such setting. Did you mean SWELLMQ_POOL_MAX_SIZE?\n'
    )


def test_reading_settings_imports_nothing_heavy() -> None:
    code = (
        "import sys, swellmq.cli.serve as serve; from swellmq.settings import Settings; Settings.load(None, {}, {});"
        "print({'tomllib', 'difflib', 'dataclasses', 'inspect', 'msgspec', 'asyncio', 'ssl'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
