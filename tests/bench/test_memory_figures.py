"""`tools/memory_figures.py`: what a connection costs, held against what is recorded for this build."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

TOOL = Path(__file__).parent.parent.parent / "tools" / "memory_figures.py"
RECORDED = {"start_bytes": 15_000_000, "idle_bytes": 500, "subscribed_bytes": 700}


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("memory_figures", TOOL)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_tenth_more_or_less_is_let_pass(tool: ModuleType) -> None:
    assert tool.compare({**RECORDED, "idle_bytes": 550, "subscribed_bytes": 630}, RECORDED, True) == []


def test_what_is_further_off_is_told(tool: ModuleType) -> None:
    [more, less] = tool.compare({**RECORDED, "idle_bytes": 551, "subscribed_bytes": 629}, RECORDED, True)
    assert more.startswith("bytes for one more idle connection: 551, but 500 are recorded; if that is meant: ")
    assert less.startswith("bytes for one more connection with one subscription: 629, but 700 are recorded")


def test_what_is_promised_holds_whatever_is_recorded(tool: ModuleType) -> None:
    measured = {"start_bytes": 16_000_001, "idle_bytes": 601, "subscribed_bytes": 1_001}
    faults = tool.compare(measured, measured, True)
    assert [fault.partition(", but ")[2] for fault in faults] == [
        "16,000,000 are the most that is promised",
        "600 are the most that is promised",
        "1,000 are the most that is promised",
    ]
    assert tool.compare(measured, measured, False) == []


def test_what_is_recorded_for_other_builds_stays(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "figures.json"
    path.write_text(json.dumps({"figures": {"another": RECORDED}, "machines": {"another": "a machine"}}))
    monkeypatch.setattr(tool, "FILE", path)
    tool.write(RECORDED)
    assert tool.recorded_figures() == {"another": RECORDED, tool.build(): RECORDED}


@pytest.mark.slow
def test_the_memory_of_connections_is_what_is_recorded(tool: ModuleType) -> None:
    recorded = tool.recorded_figures()
    if tool.build() not in recorded:
        pytest.skip(f"nothing is recorded for {tool.build()}: `python tools/memory_figures.py --write` does it")
    assert tool.compare(tool.measure(), recorded[tool.build()], tool.compiled()) == []
