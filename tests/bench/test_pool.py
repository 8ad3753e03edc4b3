"""`swellmq bench pool`: its rows, its tables and its files."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
from bench_helpers import bench

from swellmq.bench import BenchError, pool


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    pool.add_arguments(parser)
    return parser.parse_args(words)


def row(connections: int, resident_mb: float, capacity: int, events: list[str]) -> dict[str, Any]:
    return {
        "connections": connections,
        "us": 1_000_000,
        "resident_bytes": int(resident_mb * 1e6),
        "kernel_bytes": 5_000_000 + connections * 9_000,
        "socket_buffer_bytes": connections * 1_000,
        "capacity": capacity,
        "idle": capacity - connections,
        "overflow": 0,
        "events": events,
        "bytes_per_connection": 600,
    }


def result(title: str, first_mb: float) -> dict[str, Any]:
    step = "Expand: 1024->1536 (trigger at 819/1024 connections)"
    rows = [row(0, first_mb, 1_024, []), row(1_000, first_mb + 0.6, 1_536, [step])]
    after = [row(0, first_mb + 0.5, 1_536, []), row(0, first_mb, 1_536, [])]
    return {"title": title, "transport": "tcp", "calm_s": 5.0, "rows": rows, "after": after}


def test_the_rows_are_both_sides_of_each_trigger_and_round_numbers() -> None:
    numbers = pool.steps(arguments(), 19_900)
    assert numbers[:7] == [819, 820, 1_000, 1_228, 1_229, 1_843, 1_844]
    assert numbers[-4:] == [13_996, 13_997, 15_000, 19_000]
    assert pool.steps(arguments("--transport", "memory"), 1_000_000)[-3:] == [70_859, 100_000, 1_000_000]
    assert pool.steps(arguments("--processes", "2"), 40_000) == [2_000, 10_000, 20_000, 30_000, 38_000]
    assert pool.steps(arguments("--connections", "20,10"), 40_000) == [10, 20]


def test_too_many_connections_are_told_with_the_remedies() -> None:
    with pytest.raises(BenchError, match=r"leaves room for 900 connections of the 19,000 asked for: `ulimit -n`"):
        pool.steps(arguments(), 900)


def test_a_table() -> None:
    assert pool.tables([result("swellmq, dynamic", 15.5)]) == [
        "**swellmq, dynamic**",
        "",
        "| connections | capacity | idle | overflow | memory | each | the note | kernel, each | growth |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        "| start | 1,024 | 1,024 | 0 | 15.5 MB |  | 3.0 MB |  |  |",
        "| 1,000 | 1,536 | 536 | 0 | 16.1 MB | 0.60 KB | 21.0 MB | 10.0 KB "
        "| 1024->1536 (trigger at 819/1024 connections) |",
        "| all gone | 1,536 | 1,536 | 0 | 16.0 MB |  | 3.0 MB |  |  |",
        "| 5 s later | 1,536 | 1,536 | 0 | 15.5 MB |  |  |  |  |",
    ]


def test_several_runs_are_compared() -> None:
    lines = pool.tables([result("swellmq, dynamic", 15.5), result("swellmq, fixed", 37.0)])
    assert lines[-5:] == [
        "| connections | swellmq, dynamic | swellmq, fixed |",
        "| --- | --- | --- |",
        "| start | 15.5 MB | 37.0 MB |",
        "| 1,000 | 16.1 MB | 37.6 MB |",
        "| all gone | 15.5 MB | 37.0 MB |",
    ]


def test_several_steps_are_told_in_short() -> None:
    events = ["Expand: 4->6 (trigger at 3/4 connections)", "Expand: 6->9 (trigger at 4/6 connections)"]
    assert pool.growth([]) == ""
    assert pool.growth(events[:1]) == "4->6 (trigger at 3/4 connections)"
    assert pool.growth(events) == "4->9 in 2 steps"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--mode", "dynamic,large"], "no mode is called 'large': choose from dynamic, fixed, none"),
        (["--chart", "pool.pdf"], "'pool.pdf' must end in .png or .svg"),
        (["--chart", "nowhere/pool.svg"], "'nowhere/pool.svg' can't be written: give a file in a folder that is there"),
        (["--json", "nowhere/pool.json"], "'nowhere/pool.json' can't be written"),
        (["--connections", "10,x"], "argument --connections"),
    ],
)
def test_bad_arguments(words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        arguments(*words)
    assert complaint in capsys.readouterr().err


@pytest.mark.slow
def test_the_smallest_pool(tmp_path: Path) -> None:
    files = ["--json", str(tmp_path / "json"), "--markdown", str(tmp_path / "markdown"), "--calm", "0"]
    done = bench("pool", "--connections", "1300,50", "--mode", "dynamic,none", *files)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "markdown").read_text() == done.stdout
    assert "swellmq, dynamic: 1,300 of 1,300" in done.stderr
    dynamic, none = json.loads((tmp_path / "json").read_text())["results"]
    assert [each["connections"] for each in dynamic["rows"]] == [0, 50, 1_300]
    last = dynamic["rows"][-1]
    assert (last["capacity"], last["idle"], last["overflow"]) == (2_304, 1_004, 0)
    assert last["events"] == [
        "Expand: 1024->1536 (trigger at 819/1024 connections)",
        "Expand: 1536->2304 (trigger at 1228/1536 connections)",
    ]
    assert last["bytes_per_connection"] == (last["resident_bytes"] - dynamic["rows"][0]["resident_bytes"]) // 1_300
    assert [each["idle"] for each in dynamic["after"]] == [2_304, 2_304]
    assert (none["rows"][-1]["overflow"], none["rows"][-1]["events"]) == (1_300, [])


@pytest.mark.slow
def test_a_chart_and_a_run_in_memory(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    chart = tmp_path / "pool.png"
    files = ["--chart", str(chart), "--calm", "0"]
    done = bench("pool", "--transport", "memory", "--connections", "2000", *files)
    assert done.returncode == 0, done.stderr
    assert "| 2,000 | 3,456 | 1,456 | 0 |" in done.stdout
    assert chart.read_bytes().startswith(b"\x89PNG")
    refused = bench("pool", "--transport", "memory", "--processes", "2")
    assert refused.returncode == 1
    assert "--processes is for --transport tcp" in refused.stderr
