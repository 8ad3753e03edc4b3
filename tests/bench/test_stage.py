"""A broker with a fleet: the clients arrive, are counted, and vanish; over TCP and in memory."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from swellmq import Broker, Settings
from swellmq.bench import BenchError, generator
from swellmq.bench.brokers import find_broker
from swellmq.bench.fleet import Fleet
from swellmq.bench.footprint import process_memory, socket_memory
from swellmq.bench.greeting import greeting
from swellmq.bench.machine import Machine
from swellmq.bench.memory_transport import MemoryTransport
from swellmq.bench.obey import obey
from swellmq.bench.stage import Log, MemoryStage, TcpStage
from swellmq.codec.decode import decode
from swellmq.codec.packets import Connect, Subscribe

HERE = Machine(0, 0, 1_000)


@pytest.mark.parametrize("five", [False, True], ids=["3.1.1", "5.0"])
def test_a_greeting_is_connect_and_subscribe(five: bool) -> None:
    data = greeting(7, True, five)
    connect, end = decode(data, 0, 5 if five else 4, False)
    subscribe, end = decode(data, end, 5 if five else 4, False)
    assert isinstance(connect, Connect) and isinstance(subscribe, Subscribe)
    assert end == len(data)
    assert (connect.client_id, connect.clean_start, connect.keep_alive) == ("device-00000007", True, 3_600)
    assert connect.protocol_version == (5 if five else 4)
    assert [(each.topic_filter, each.qos) for each in subscribe.requests] == [(b"fleet/00000007/cmd", 1)]
    assert data.startswith(greeting(7, False, five))


def test_commands_are_answered_line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def command(words: list[str]) -> dict[str, int]:
        if words[0] == "fail":
            raise BenchError("it is\nfull")
        return {"words": len(words), "one": 1}

    answers = io.StringIO()
    monkeypatch.setattr(sys, "stdin", io.StringIO("do this\nfail\n"))
    monkeypatch.setattr(sys, "stdout", answers)
    obey(command)
    assert answers.getvalue() == "words=2 one=1\nfailed: it is full\n"


def test_a_fleet_arrives_and_is_cut() -> None:
    with Broker(Settings(port=0)) as broker:
        fleet = Fleet(broker.port, True, False)
        try:
            assert fleet.command(["arrive", "3", "1", "1000"])["connections"] == 3
            assert fleet.command(["arrive", "25", "10", "0"])["connections"] == 25
            counters = broker.statistics()
            assert (counters["pool_active"], counters["subscriptions"]) == (25, 25)
        finally:
            assert fleet.command(["cut"])["connections"] == 0


def test_connections_past_a_number_come_from_further_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generator, "SOURCE_CONNECTIONS", 4)
    with Broker(Settings(port=0)) as broker:
        sockets = generator.open_connections(broker.port, [greeting(number, False) for number in range(2)])
        try:
            sockets += generator.open_connections(
                broker.port, [greeting(number, False) for number in range(2, 10)], 3, 2
            )
            assert [each.getsockname()[0][-1] for each in sockets] == ["1"] * 4 + ["2"] * 4 + ["3"] * 2
        finally:
            generator.close_connections(sockets)


@pytest.fixture
def in_memory() -> Iterator[Callable[..., MemoryTransport]]:
    """Makes transports; their clients have left at the end, because they have no descriptors that could be closed."""
    made: list[MemoryTransport] = []

    def make(subscribe: bool, five: bool, **settings: int) -> MemoryTransport:
        made.append(MemoryTransport(Settings(**settings), subscribe, five))
        return made[-1]

    yield make
    for transport in made:
        transport.cut()
        transport.loop.close()


def test_in_memory_the_pool_grows_and_is_whole_again(in_memory: Callable[..., MemoryTransport]) -> None:
    transport = in_memory(True, False, pool_initial_size=64, pool_max_size=200, max_connections=300)
    figures = transport.command(["arrive", "250"])
    assert (figures["active"], figures["capacity"], figures["idle"] - figures["overflow"]) == (250, 200, -50)
    core = transport.server.broker.core
    assert len(core.sessions) == 250
    assert core.topics.count == 250
    assert figures["faults"] == 0
    with pytest.raises(BenchError, match="the broker is full at 300 connections"):
        transport.command(["arrive", "301"])
    figures = transport.command(["cut"])
    assert (figures["active"], figures["capacity"], figures["idle"], figures["overflow"]) == (0, 200, 200, 0)
    assert figures["faults"] == 0


def test_half_a_line_of_a_log_waits_for_its_end(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("2026-11-23 03:00:00 [POOL] Expand: 4->6\n2026-11-23 03:00:00 [STAT")
    log = Log(path)
    assert log.lines() == ["[POOL] Expand: 4->6"]
    with path.open("a") as file:
        file.write("US] active 1,\n")
    assert log.lines() == ["[STATUS] active 1,"]
    assert log.lines() == []


def test_memory_is_read_from_the_system() -> None:
    memory = process_memory(os.getpid())
    assert 0 < memory["unique_bytes"] <= memory["proportional_bytes"] <= memory["resident_bytes"]
    assert socket_memory()["sockets"] > 0


@pytest.mark.slow
def test_a_stage_over_tcp() -> None:
    broker = find_broker("swellmq")
    options = ["--pool.initial-size", "10", "--pool.max-size", "40"]
    with TcpStage(broker, HERE, True, False, 2, options) as stage:
        assert stage.figures()["capacity"] == 20
        assert stage.arrive(61) > 0
        figures = stage.figures()
        assert (figures["active"], figures["capacity"]) == (61, 80)
        assert figures["idle"] - figures["overflow"] == 19
        assert figures["sockets"] >= 122
        assert sum(event.startswith("Expand: 10->15") for event in stage.events) == 2
        stage.cut()
        assert stage.figures()["idle"] == 80
        assert stage.cpu_us() > 0


@pytest.mark.slow
def test_a_stage_in_memory() -> None:
    with MemoryStage(find_broker("swellmq"), HERE, True, False, ["--pool.mode", "none"]) as stage:
        stage.arrive(300)
        assert stage.figures()["overflow"] == 300
        stage.cut()
        assert stage.figures()["active"] == 0
        assert stage.cpu_us() > 0
    with pytest.raises(BenchError, match="mosquitto runs over TCP only"):
        MemoryStage(find_broker("mosquitto"), HERE, True, False, [])


@pytest.mark.slow
def test_what_a_worker_can_not_do_is_told() -> None:
    with (
        MemoryStage(
            find_broker("swellmq"), HERE, False, False, ["--max-connections", "1000", "--pool.max-size", "900"]
        ) as stage,
        pytest.raises(BenchError, match="the broker is full at 1000 connections"),
    ):
        stage.arrive(1_001)
