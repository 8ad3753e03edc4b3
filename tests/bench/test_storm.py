"""`swellmq bench storm`: paces, reconnects, and a clock that runs ahead."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from bench_helpers import bench

from swellmq import Settings
from swellmq.bench import generator, storm
from swellmq.bench.brokers import Broker
from swellmq.bench.greeting import greeting
from swellmq.bench.paced_serve import PacedServer


def test_the_clock_of_a_paced_server_jumps_with_each_client() -> None:
    server = PacedServer(Settings(port=0), 100)
    server.open()
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        sockets = generator.open_connections(server.port, [greeting(number, False) for number in range(20)], 1)
        generator.close_connections(sockets)
    finally:
        server.stop()
        thread.join()
    assert server.stats.connects == 20
    assert server.turn_state.now_ms > 20 * 100


def test_only_our_broker_has_a_clock_to_move() -> None:
    ours = Broker("swellmq", ["python", "-P", "-m", "swellmq", "serve", "--port", "{port}"], {}, "")
    paced = storm._paced(ours, 10)
    assert paced.command == ["python", "-P", "-m", "swellmq.bench.paced_serve", "100", "--port", "{port}"]
    assert storm._paced(ours, 0) is ours
    theirs = Broker("mosquitto", ["mosquitto", "-c", "{conf}"], {}, "")
    assert storm._paced(theirs, 10) is theirs


def test_the_tables() -> None:
    def figures(megabytes: float) -> dict[str, Any]:
        return {"start_bytes": 10_000_000, "resident_bytes": int(megabytes * 1e6), "us": 1, "cpu_us": 100_000}

    paces = [{"pace": pace, **figures(size)} for pace, size in (("10/s", 20), ("100/s", 20.5), ("full speed", 21))]
    cycles = [{**figures(21), "gone_bytes": 15_000_000}, {**figures(22.05), "gone_bytes": 16_000_000}]
    result = {"broker": "swellmq", "clients": 1_000, "paces": paces, "cycles": cycles, "spread": 0.05}
    assert storm.tables([{**result, "connects_per_cpu_second": 10_000.0}]) == [
        "| 1,000 clients | 10/s | 100/s | full speed | spread | connects/CPU s |",
        "| --- | --- | --- | --- | --- | --- |",
        "| swellmq | 20.0 MB | 20.5 MB | 21.0 MB | 5.0% | 10,000 |",
        "",
        "| all cut, all back | before | gone 1 | back 1 | gone 2 | back 2 | change |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        "| swellmq | 21.0 MB | 15.0 MB | 21.0 MB | 16.0 MB | 22.1 MB | +5.0% |",
    ]


@pytest.mark.slow
def test_the_smallest_storm(tmp_path: Path) -> None:
    files = ["--json", str(tmp_path / "json")]
    done = bench("storm", "--brokers", "swellmq", "--clients", "300", "--cycles", "2", *files)
    assert done.returncode == 0, done.stderr
    [result] = json.loads((tmp_path / "json").read_text())["results"]
    assert [each["pace"] for each in result["paces"]] == ["10/s", "100/s", "full speed"]
    assert len(result["cycles"]) == 2
    assert done.stdout.startswith("| 300 clients | 10/s | 100/s | full speed | spread | connects/CPU s |\n")
    refused = bench("storm", "--brokers", "swellmq", "--clients", "100000000")
    assert refused.returncode == 1
    assert "the limit on open files leaves room for" in refused.stderr
