"""bench/: the load counts exactly what arrives and notices what should not; the command writes its table and JSON."""

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

from swellmq import Broker, Settings

BENCH = Path(__file__).parent.parent / "bench"
sys.path.insert(0, str(BENCH))

import brokers  # noqa: E402
import load  # noqa: E402
import run  # noqa: E402

DELIVERIES = ["pair", "fan-out", "qos1", "qos2", "wildcard", "16k"]


# The load


def test_the_packets_are_those_of_the_specification() -> None:
    assert load.connect_packet(b"ab") == b"\x10\x0e\x00\x04MQTT\x04\x02\x02\x58\x00\x02ab"
    assert load.connect_packet(b"ab", five=True) == b"\x10\x0f\x00\x04MQTT\x05\x02\x02\x58\x00\x00\x02ab"
    assert load.subscribe_packet(b"a/b", 1) == b"\x82\x08\x00\x01\x00\x03a/b\x01"
    assert load.subscribe_packet(b"a/b", 1, five=True) == b"\x82\x09\x00\x01\x00\x00\x03a/b\x01"
    assert load.publish_packet(b"a/b", 0, 7, b"xy") == b"\x30\x07\x00\x03a/bxy"
    assert load.publish_packet(b"a/b", 2, 258, b"xy", five=True) == b"\x34\x0a\x00\x03a/b\x01\x02\x00xy"
    assert load.publish_packet(b"a/b", 0, 7, bytes(16_384)).startswith(b"\x30\x85\x80\x01\x00\x03a/b\x00")


def test_acknowledgements_take_the_identifiers_of_a_run() -> None:
    frames = [load.publish_packet(b"a", 1, identifier, b"payload") for identifier in (1, 258, 65_535)]
    data = b"before" + b"".join(frames)
    answer = load.acknowledgements(load.PUBACK, data, len(b"before") + 5, len(frames[0]), 3)
    assert answer == b"\x40\x02\x00\x01\x40\x02\x01\x02\x40\x02\xff\xff"


@pytest.mark.parametrize("five", [False, True], ids=["3.1.1", "5.0"])
@pytest.mark.parametrize("name", DELIVERIES)
def test_every_message_is_counted_once(name: str, five: bool) -> None:
    scenario = load.SCENARIOS[name]
    with Broker(Settings(port=0)) as broker:
        test = load.Load(broker.port, scenario, 2_000, five)
        try:
            seconds = test.run()
        finally:
            test.close()
        counters = broker.statistics()
    assert seconds > 0
    assert test.messages == 2_000
    assert test.counts[load.PUBLISH | scenario.qos << 1] == 2_000
    assert counters["publishes_sent"] == 2_000
    assert counters["publishes_received"] == 2_000 // scenario.copies


def test_connects_are_counted() -> None:
    with Broker(Settings(port=0)) as broker:
        test = load.Connects(broker.port, 250)
        try:
            assert test.run() > 0
            assert broker.statistics()["connects"] == 250
        finally:
            test.close()


@pytest.mark.parametrize(
    ("topic", "payload", "complaint"),
    [
        ("load/t/0003", b"x" * 64, "expected 2000 PUBLISH, but got 2001 PUBLISH"),
        ("load/t/0003", b"0" * 47, "a wrong stream: no packet of this scenario begins with"),
        ("load/t/0003", b"0" * 200, "a wrong stream"),
    ],
    ids=["one too many", "a shorter one", "a longer one"],
)
def test_a_message_that_is_not_of_the_load_is_noticed(topic: str, payload: bytes, complaint: str) -> None:
    with Broker(Settings(port=0)) as broker:
        test = load.Load(broker.port, load.SCENARIOS["pair"], 2_000)
        try:
            assert broker.publish_blocking(topic, payload) == 1
            with pytest.raises(load.LoadError, match=complaint):
                test.run()
        finally:
            test.close()


def test_a_message_of_another_topic_is_noticed() -> None:
    with Broker(Settings(port=0)) as broker:
        test = load.Load(broker.port, load.SCENARIOS["pair"], 2_000)
        try:
            test.subscribers[0].sock.setblocking(True)
            test.subscribers[0].sock.sendall(load.subscribe_packet(b"load/t/0001", 0))
            assert test.subscribers[0].sock.recv(5)[0] == 0x90
            test.subscribers[0].sock.setblocking(False)
            with pytest.raises(load.LoadError, match="a message of another topic"):
                test.run()
        finally:
            test.close()


def test_a_message_that_is_missing_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "STALL_S", 0.05)
    with Broker(Settings(port=0)) as broker:
        test = load.Load(broker.port, load.SCENARIOS["qos1"], 2_000)
        try:
            test.left += 1
            with pytest.raises(load.LoadError, match=r"stalled: .* after 2000 PUBLISH, 2000 PUBACK"):
                test.run()
        finally:
            test.close()


def test_a_broker_that_goes_away_is_noticed() -> None:
    with Broker(Settings(port=0)) as broker:
        test = load.Load(broker.port, load.SCENARIOS["pair"], 2_000)
    try:
        with pytest.raises(load.LoadError, match="the broker c"):
            test.run()
    finally:
        test.close()


def test_a_broker_that_is_full_is_told() -> None:
    settings = Settings(port=0, pool_initial_size=10, pool_max_size=10, max_connections=10)
    with Broker(settings) as broker, pytest.raises(load.LoadError, match="CONNECT was refused: 20020003"):
        load.Load(broker.port, load.SCENARIOS["pair"], 2_000)


def test_nobody_listening_is_told() -> None:
    with Broker(Settings(port=0)) as broker:
        port = broker.port
    with pytest.raises(load.LoadError, match="connection 1 of 20 failed: Connection refused"):
        load.Load(port, load.SCENARIOS["pair"], 2_000)


# Brokers


def test_a_broker_that_does_not_start_is_told_with_its_last_line() -> None:
    broken = brokers.Broker("broken", [sys.executable, "-Sc", "raise SystemExit('no such luck')"], {}, "broken 1")
    running = brokers.Running(broken)
    with pytest.raises(brokers.BrokerError, match=r"broken does not listen on port .*: no such luck"), running:
        pytest.fail("it runs")
    assert running.process is not None
    assert running.process.returncode == 1
    assert not Path(running.folder.name).exists()


def test_a_missing_mosquitto_is_told_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _name, path: None)
    with pytest.raises(brokers.BrokerError, match=r"mosquitto is not installed \(Debian: apt-get install mosquitto\)"):
        brokers.find_broker("mosquitto")


def test_cpu_time_and_memory_are_those_of_the_process() -> None:
    busy = "import socket; s = socket.create_server(('127.0.0.1', {port})); s.accept(); sum(range(10**7)); s.accept()"
    give_up = time.monotonic() + 10
    with brokers.Running(brokers.Broker("busy", [sys.executable, "-Sc", busy], {}, "")) as running:
        assert 4_000_000 < running.resident_bytes() < 40_000_000
        while running.cpu_ticks() < 5 and time.monotonic() < give_up:
            os.sched_yield()
        assert running.cpu_ticks() >= 5
    assert running.process is not None
    assert running.process.returncode == -signal.SIGTERM


# The command


def result(broker: str, cpu_us: float, **more: Any) -> dict[str, Any]:
    rounds = [
        {
            "messages": 1000,
            "cpu_ticks": 30,
            "messages_per_second": rate,
            "cpu_us_per_message": cpu_us,
            "broker_core_busy": 0.5,
            "load_core_busy": 0.99,
        }
        for rate in (1e6, 2e6, 9e6)
    ]
    return {"scenario": "pair", "broker": broker, "rounds": rounds, **more}


def test_the_summary_takes_medians_and_tells_who_was_the_limit() -> None:
    notes: list[str] = []
    summary = result("swellmq", 0.5)
    summary["rounds"][1]["cpu_ticks"] = 19
    run.summarize(summary, notes)
    assert summary["messages_per_second"] == 2e6
    assert summary["load_limited"]
    assert notes == ["swellmq, pair: under 20 clock ticks of CPU time, so µs are coarse."]


def test_the_load_table() -> None:
    found = [brokers.Broker(name, [], {}, "") for name in ("swellmq", "swellmq-interpreted", "mosquitto")]
    results = [result("swellmq", 0.5), result("swellmq-interpreted", 1, failure="stalled"), result("mosquitto", 6.0)]
    for each in results:
        run.summarize(each, [])
    run.compare(results)
    assert run.load_table(found, results)[:3] == [
        "| messages/s, broker CPU µs each | swellmq | swellmq-interpreted | mosquitto | swellmq : mosquitto "
        "| swellmq-interpreted : mosquitto |",
        "| --- | --- | --- | --- | --- | --- |",
        r"| 10 to 10, QoS 0, 64 bytes | 2.00 M\*, 0.5 µs | failed | 2.00 M\*, 6 µs | 12.0 x |  |",
    ]


@pytest.mark.parametrize(
    "arguments",
    [["--brokers", "emqx"], ["load", "--scenario", "none"], ["--rounds", "0"], ["memory", "--connections", "1,x"]],
)
def test_bad_arguments(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        run.main(arguments)
    assert end.value.code == 2
    assert "error: argument" in capsys.readouterr().err


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCH / "run.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.mark.slow
def test_the_smallest_load(tmp_path: Path) -> None:
    scenarios = ["pair", "fan-out", "qos2", "connects"]
    files = ["--json", str(tmp_path / "json"), "--markdown", str(tmp_path / "markdown")]
    done = bench("--brokers", "swellmq", "--rounds", "1", "--messages", "3000", *files, "--scenario", *scenarios)
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
        assert 0 <= each["broker_core_busy"] <= 1


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


@pytest.mark.slow
def test_no_broker_is_left_behind() -> None:
    command = [sys.executable, str(BENCH / "run.py"), "--brokers", "swellmq", "--messages", "1000000000"]
    give_up = time.monotonic() + 20
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while process.stderr.readline() != "pair, round 1 of 3: swellmq\n":
            assert process.poll() is None
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        while not (found := children.read_text().split()) and time.monotonic() < give_up:
            os.sched_yield()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 143
    assert len(found) == 1
    assert not Path("/proc", found[0]).exists()
