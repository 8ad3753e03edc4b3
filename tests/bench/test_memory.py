"""`swellmq bench memory`, as a process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bench_helpers import bench


@pytest.mark.slow
def test_the_smallest_memory(tmp_path: Path) -> None:
    done = bench(
        "memory", "--brokers", "swellmq", "--connections", "200,100", "--subscribe", "--json", str(tmp_path / "json")
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("| resident memory | at start | 100 connections, each | 200 connections, each |\n")
    [each] = json.loads((tmp_path / "json").read_text())["results"]
    assert [step["connections"] for step in each["steps"]] == [100, 200]
    for step in each["steps"]:
        grown = step["resident_bytes"] - each["resident_bytes_at_start"]
        assert step["bytes_per_connection"] == grown // step["connections"]
    refused = bench("memory", "--brokers", "swellmq", "--connections", "100000000")
    assert refused.returncode == 1
    assert "the limit on open files leaves room for" in refused.stderr
