"""What watching costs is measured against sources without it: the tool that makes them knows what there is to cut."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("watching_cost", ROOT / "tools" / "watching_cost.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_watches_can_still_be_cut_out(tmp_path: Path) -> None:
    cost = tool()
    cost.write_without(tmp_path)
    for name in {file for file, _, _ in cost.CUTS}:
        text = (tmp_path / "src" / "swellmq" / name).read_text(encoding="utf-8")
        ast.parse(text)
        assert text != (ROOT / "src" / "swellmq" / name).read_text(encoding="utf-8")


def test_a_cut_that_fits_no_longer_is_told() -> None:
    with pytest.raises(ValueError, match=r"net/output\.py has changed"):
        tool().cut("import os\n", "net/output.py")
