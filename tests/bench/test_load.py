"""`swellmq bench load`: what it makes of its figures, and the command as a process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from bench_helpers import bench

from swellmq.bench import brokers, load, load_report
from swellmq.cli.main import main


def result(broker: str, cpu_us: float, **more: Any) -> dict[str, Any]:
    rounds = [
        {
            "messages": 1000,
            "cpu_ticks": 30,
            "messages_per_second": rate,
            "cpu_us_per_message": cpu_us,
            "load_cpu_us_per_message": 0.25,
            "broker_busy": 0.5,
            "load_busy": 0.99,
            "p50": 0.1234,
            "p99": 1.0,
            "p99.9": 20.0,
        }
        for rate in (1e6, 2e6, 9e6)
    ]
    return {"scenario": "pair", "broker": broker, "rounds": rounds, **more}


def test_the_summary_takes_medians_and_tells_who_was_the_limit() -> None:
    notes: list[str] = []
    summary = result("swellmq", 0.5)
    summary["rounds"][1]["cpu_ticks"] = 19
    load.summarize(summary, notes)
    assert summary["messages_per_second"] == 2e6
    assert summary["p99.9"] == 20.0
    assert summary["load_limited"]
    assert notes == ["swellmq, pair: under 20 clock ticks of CPU time, so µs are coarse."]


def test_the_tables(tmp_path: Path) -> None:
    found = [brokers.Broker(name, [], {}, "") for name in ("swellmq", "swellmq-interpreted", "mosquitto")]
    results = [result("swellmq", 0.5), result("swellmq-interpreted", 1, failure="stalled"), result("mosquitto", 6.0)]
    for each in results:
        load.summarize(each, [])
    load.compare(results)
    lines = load_report.load_table(found, results, load.TITLES)
    assert lines[:3] == [
        "| messages/s, broker CPU µs each | swellmq | swellmq-interpreted | mosquitto | swellmq : mosquitto "
        "| swellmq-interpreted : mosquitto |",
        "| --- | --- | --- | --- | --- | --- |",
        r"| 10 to 10, QoS 0, 64 bytes | 2 M\*, 0.5 µs | failed | 2 M\*, 6 µs | 12.0 x |  |",
    ]
    assert lines[-3:] == [
        "| latency p50/p99/p99.9, ms | swellmq | swellmq-interpreted | mosquitto |",
        "| --- | --- | --- | --- |",
        "| 10 to 10, QoS 0, 64 bytes | 0.123 / 1 / 20 |  | 0.123 / 1 / 20 |",
    ]
    assert "Its own CPU time for each message, in µs: pair 0.25, pair 0.25." in lines
    floor = result("floor", 0.125)
    load.summarize(floor, [])
    results.append(floor)
    load.compare(results)
    found.append(brokers.Broker("floor", [], {}, ""))
    lines = load_report.load_table(found, results, load.TITLES)
    assert lines[0].endswith("| swellmq of the floor | swellmq-interpreted of the floor |")
    assert lines[2].endswith("| 12.0 x |  | 25% |  |")
    load_report.draw(tmp_path / "chart.svg", found, results, load.TITLES)
    assert "messages delivered per second of broker CPU" in (tmp_path / "chart.svg").read_text()


@pytest.mark.parametrize(
    "arguments",
    [
        ["load", "--brokers", "emqx"],
        ["load", "--scenario", "none"],
        ["load", "--rounds", "0"],
        ["pool", "--connections", "1,x"],
    ],
)
def test_bad_arguments(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["bench", *arguments])
    assert end.value.code == 2
    assert "error: argument" in capsys.readouterr().err


@pytest.mark.slow
def test_the_smallest_load(tmp_path: Path) -> None:
    scenarios = ["pair", "fan-out", "qos2", "connects"]
    files = ["--json", str(tmp_path / "json"), "--markdown", str(tmp_path / "markdown")]
    done = bench(
        "load", "--brokers", "swellmq", "--rounds", "1", "--messages", "3000", *files, "--scenario", *scenarios
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "markdown").read_text() == done.stdout
    lines = done.stdout.splitlines()
    assert lines[0] == "| messages/s, broker CPU µs each | swellmq |"
    assert [line.split(" | ")[0] for line in lines[2:6]] == [
        "| 10 to 10, QoS 0, 64 bytes",
        "| 1 to 50, QoS 0, 64 bytes",
        "| 10 to 10, QoS 2, 64 bytes",
        "| connects, from SYN to CONNACK",
    ]
    report = json.loads((tmp_path / "json").read_text())
    assert report["command"] == "load"
    assert list(report["brokers"]) == ["swellmq"]
    assert [each["scenario"] for each in report["results"]] == scenarios
    for each in report["results"]:
        assert [figures["messages"] for figures in each["rounds"]] == [3000]
        assert each["messages_per_second"] == pytest.approx(3000 / each["rounds"][0]["seconds"])
        assert each["cpu_us_per_message"] == each["rounds"][0]["cpu_ticks"] * 1e6 / brokers.TICKS_PER_SECOND / 3000
        assert 0 <= each["broker_busy"] <= 1
        assert each["p50"] <= each["p99"] <= each["p99.9"]


@pytest.mark.slow
def test_no_broker_is_left_behind() -> None:
    command = [
        sys.executable,
        "-P",
        "-m",
        "swellmq",
        "bench",
        "load",
        "--brokers",
        "swellmq",
        "--messages",
        "1000000000",
    ]
    give_up = time.monotonic() + 20
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while process.stderr.readline() != f"1 of {len(load.NAMES)}: pair, round 1 of 3: swellmq\n":
            assert process.poll() is None
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        while not (found := children.read_text().split()) and time.monotonic() < give_up:
            os.sched_yield()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 143
    assert len(found) == 1
    assert not Path("/proc", found[0]).exists()
