"""`swellmq bench scaling`: the exponent it tells, and the smallest run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bench_helpers import bench

from swellmq.bench.scaling import CURVES, exponent


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([(1, 2.0), (10, 2.0), (100, 2.0)], 0.0),
        ([(1, 3.0), (10, 2.0)], 0.0),
        ([(1, 2.0), (10, 20.0), (100, 20.0)], 1.0),
        ([(1, 9.0), (10, 2.0), (1_000, 20_000.0)], 2.0),
        ([(10, 1.0), (15, 9.0)], 0.0),
        ([], 0.0),
    ],
    ids=["flat", "falling", "once a straight line", "square", "too near", "nothing"],
)
def test_the_exponent_is_that_of_the_steepest_rise(points: list[tuple[int, float]], expected: float) -> None:
    assert exponent(points) == pytest.approx(expected)


@pytest.mark.slow
def test_the_smallest_curves(tmp_path: Path) -> None:
    files = ["--json", str(tmp_path / "json"), "--chart", str(tmp_path / "chart.svg")]
    done = bench("scaling", "--curves", "idle", "retained", "--most", "100", "--rounds", "1", *files)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("| load | broker | number of | broker CPU µs each | exponent |\n")
    idle, retained = json.loads((tmp_path / "json").read_text())["results"]
    assert [point["count"] for point in idle["points"]] == [10, 100]
    assert [point["count"] for point in retained["points"]] == [100]
    assert all(point["cpu_us_per_message"] > 0 for point in idle["points"] + retained["points"])
    assert CURVES["idle"].title in (tmp_path / "chart.svg").read_text()
