"""`tools/guard.py`: what it makes of figures, and that the figures it keeps are of what it measures."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("guard", ROOT / "tools" / "guard.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


guard = _load()


def test_ratios_are_of_cpu_time_per_message() -> None:
    results = [
        {"scenario": "pair", "broker": "swellmq", "cpu_us_per_message": 0.2},
        {"scenario": "pair", "broker": "swellmq-interpreted", "failure": "stalled"},
        {"scenario": "pair", "broker": "mosquitto", "cpu_us_per_message": 7.0},
        {"scenario": "qos1", "broker": "mosquitto", "cpu_us_per_message": 7.0},
    ]
    assert guard.ratios(results) == {"pair": {"mosquitto": 35.0}}


@pytest.mark.parametrize(
    ("now", "verdict", "lost"),
    [
        (6.7, "ok", []),
        (6.6, "LOST 34%", ["pair"]),
        (14.9, "ok", []),
        (15.1, "ok, and so much better that `--keep` is due", []),
        (None, "NOT MEASURED", ["pair"]),
    ],
)
def test_a_third_less_is_a_loss(now: float | None, verdict: str, lost: list[str]) -> None:
    measured = {} if now is None else {"pair": {"mosquitto": now}}
    lines, found = guard.compare(measured, {"pair": {"mosquitto": 10.0}})
    assert lines == [f"guard: pair: mosquitto takes {now} x our CPU time, 10.0 x was kept: {verdict}"]
    assert found == lost


def test_what_is_kept_is_what_is_measured() -> None:
    kept = json.loads(guard.KEPT.read_text())
    assert list(kept) == guard.SCENARIOS
    for ratios in kept.values():
        assert list(ratios) == ["swellmq-interpreted", "mosquitto"]
        assert all(ratio > 0 for ratio in ratios.values())
