"""Alarms: raised once and cleared once, each by what it watches."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from socket_client import Clients, await_true

from swellmq.broker.storage import Storage
from swellmq.observe.alarms import Alarm
from swellmq.observe.watch import AHEAD_S, GROWTH_MS, SECOND_MS
from swellmq.server import Server

Servers = Callable[..., Server]

AFTER_MS = 5_000


def walk(alarm: Alarm, value: int, bound: int, begin_ms: int, end_ms: int) -> list[int]:
    """At which seconds it changes, while the number stays."""
    return [now for now in range(begin_ms, end_ms, 1000) if alarm.look(value, bound, now, AFTER_MS)]


def test_it_is_raised_after_a_while_and_cleared_after_a_while() -> None:
    alarm = Alarm("test")
    assert walk(alarm, 100, 100, 0, 20_000) == [5_000]
    assert alarm.raised
    assert walk(alarm, 89, 100, 20_000, 40_000) == [25_000]
    assert not alarm.raised
    assert alarm.times == 1


def test_what_hovers_around_its_bound_raises_one_alarm() -> None:
    alarm = Alarm("test")
    walk(alarm, 100, 100, 0, 6_000)
    for second in range(6, 200, 2):
        assert not alarm.look(91, 100, second * 1000, AFTER_MS)
        assert not alarm.look(110, 100, second * 1000 + 1000, AFTER_MS)
    assert alarm.raised


def test_a_peak_raises_none() -> None:
    alarm = Alarm("test")
    for second in range(0, 100, 5):
        assert walk(alarm, 100, 100, second * 1000, (second + 4) * 1000) == []
        assert not alarm.look(99, 100, (second + 4) * 1000, AFTER_MS)
    assert not alarm.unsettled()


def test_a_number_that_must_not_fall() -> None:
    alarm = Alarm("test", falling=True)
    assert walk(alarm, 101, 100, 0, 20_000) == []
    assert walk(alarm, 100, 100, 20_000, 30_000) == [25_000]
    assert walk(alarm, 110, 100, 30_000, 40_000) == []
    assert walk(alarm, 111, 100, 40_000, 50_000) == [45_000]


def test_a_bound_that_is_taken_away_clears_it() -> None:
    alarm = Alarm("test")
    walk(alarm, 100, 100, 0, 10_000)
    assert walk(alarm, 100, 0, 10_000, 20_000) == [15_000]
    assert walk(alarm, 100, 0, 20_000, 40_000) == []


def seconds(server: Server, count: int) -> None:
    """Let seconds pass, with a turn in each."""
    for _ in range(count):
        server.loop.start_ns -= SECOND_MS * 1_000_000
        server.turn(0)


def names(server: Server) -> list[object]:
    return [alarm["name"] for alarm in server.watch.alarms.active()]


def test_a_pool_at_its_cap_and_beyond(
    server: Servers, clients: Clients, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("swellmq"), "propagate", True)
    caplog.set_level(logging.INFO, "swellmq.alarms")
    one = server(pool_initial_size=2, pool_max_size=4, max_connections=6, sys_interval_s=3600, alarms_pool_percent=100)
    watcher = clients(one, client_id="watcher")
    watcher.subscribe("$SYS/broker/alarms/#")
    others = [clients(one, client_id=f"c{number}") for number in range(2)]
    seconds(one, 10)
    assert names(one) == []
    others += [clients(one, client_id=f"c{number}") for number in range(2, 5)]
    seconds(one, 4)
    assert names(one) == [], "not yet for long enough"
    seconds(one, 3)
    assert names(one) == ["connections", "pool", "overflow"], "the worst first"
    assert one.statistics()["alarms"] == one.statistics()["alarms_raised"] == 3
    for client in others:
        client.disconnect()
    seconds(one, 2)
    text = "the pool can't grow: pool.max_size = 4 is reached, with 6 connections"
    assert text in [alarm["text"] for alarm in one.watch.alarms.active()], "why it was raised, while it gets better"
    seconds(one, 5)
    assert names(one) == []
    assert one.statistics()["alarms_raised"] == 3
    told: dict[bytes, list[bytes]] = {}
    for _ in range(6):
        publish = watcher.receive()
        told.setdefault(publish.topic_name, []).append(publish.payload)  # type: ignore[union-attr]  # that is all it gets
    assert told == {
        b"$SYS/broker/alarms/pool": [
            b"raised: the pool can't grow: pool.max_size = 4 is reached, with 6 connections",
            b"cleared",
        ],
        b"$SYS/broker/alarms/overflow": [b"raised: 2 connections found no idle object in the pool", b"cleared"],
        b"$SYS/broker/alarms/connections": [b"raised: 6 of 6 connections are taken (max_connections)", b"cleared"],
    }
    lines = [(record.levelname, record.getMessage().partition(":")[0]) for record in caplog.records]
    assert [line for line in lines if "overflow" in line[1]] == [
        ("WARNING", "alarm overflow"),
        ("INFO", "alarm overflow is cleared after 0 s; it was"),
    ]


def test_a_broker_that_rests_is_woken_for_alarms_only(server: Servers, clients: Clients) -> None:
    one = server(pool_initial_size=2, pool_max_size=2, max_connections=10)
    seconds(one, 2)
    assert one.deadline_ms() == -1
    client = clients(one, client_id="a"), clients(one, client_id="b"), clients(one, client_id="c")
    one.turn(0)
    seconds(one, 1)
    assert 0 < one.deadline_ms() <= SECOND_MS
    seconds(one, 7)
    assert names(one) == ["pool", "overflow"]
    assert 0 < one.deadline_ms() <= SECOND_MS
    for each in client:
        each.disconnect()
    seconds(one, 8)
    assert one.deadline_ms() == -1


def test_memory_and_turns(server: Servers) -> None:
    one = server(memory_budget_bytes=1_000_000, alarms_turn_ms=50)
    for _ in range(8):
        one.stats.note_turn(60_000, one.turn_state.now_ms)
        seconds(one, 1)
    assert names(one) == ["memory", "overload", "turn"]
    text = {alarm["name"]: alarm["text"] for alarm in one.watch.alarms.active()}
    assert text["turn"] == "turns of the loop take 60 ms, and all clients wait as long"
    assert str(text["memory"]).endswith(" of 1 MB of memory are used")
    assert text["overload"] == "new clients are refused: the memory budget is used up"
    seconds(one, 8)
    assert names(one) == ["memory", "overload"]


def test_descriptors_near_their_limit(server: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    one = server()
    monkeypatch.setattr("swellmq.observe.watch.lowest_free_descriptor", lambda: 950)
    one.overload.descriptors.limit = 1_000
    seconds(one, 8)
    assert names(one) == ["descriptors"]


def test_slow_clients_and_what_is_dropped_for_them(server: Servers, clients: Clients) -> None:
    one = server(alarms_slow_clients=1, alarms_dropped_per_s=5, alarms_after_s=2, limits_outbox_bytes=65_536)
    slow = clients(one, client_id="slow")
    slow.subscribe("t")
    publisher = clients(one, client_id="publisher")
    await_true(lambda: one.stats.stalled == 1, lambda: (publisher.publish("t", bytes(100_000)), one.turn(0)))

    def flood() -> None:
        for _ in range(10):
            publisher.publish("t", bytes(100_000))
        publisher.ping()
        seconds(one, 1)

    await_true(lambda: names(one) == ["slow_clients", "dropped"], flood)
    slow.close()
    seconds(one, 8)
    assert one.stats.stalled == 0
    assert names(one) == []


def test_what_waits_is_thought_on(server: Servers) -> None:
    one = server(limits_waiting_bytes=1_000_000, alarms_after_s=0)
    core = one.broker.core
    seconds(one, 2 + GROWTH_MS // SECOND_MS)
    core.waiting_bytes = 100_000
    seconds(one, 1)
    assert names(one) == [], f"in {AHEAD_S} s 600,000 at the most, if that came in a minute"
    core.waiting_bytes = 200_000
    seconds(one, 1)
    assert names(one) == ["waiting"]
    seconds(one, 1 + GROWTH_MS // SECOND_MS)
    assert names(one) == [], "it has stopped growing"
    core.waiting_bytes = 0


def test_what_was_waiting_at_the_start_has_not_grown(server: Servers) -> None:
    one = server(limits_waiting_bytes=1_000_000, alarms_after_s=0)
    core = one.broker.core
    core.waiting_bytes = 200_000  # the store brought it back, before the first turn
    seconds(one, 3)
    assert names(one) == [], "it came long ago, and not in these 3 s"
    core.waiting_bytes = 400_000
    seconds(one, 1)
    assert names(one) == ["waiting"]
    core.waiting_bytes = 0


class FailingStorage(Storage):
    """A store that can't write."""

    def statistics(self) -> dict[str, int]:
        return {"bytes_waiting": 60_000_000}


def test_a_store_that_can_not_write(server: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = FailingStorage()
    one = server(storage=storage, alarms_after_s=0)
    storage.refusal = 0x97
    seconds(one, 2)
    assert names(one) == ["store_refuses", "store_backlog"]
    assert one.watch.alarms.active()[0]["text"] == "the store can't write, and refuses durable work with 0x97"


def test_a_full_disk(server: Servers, tmp_path: Path) -> None:
    one = server(data=str(tmp_path), alarms_after_s=0, alarms_disk_free_bytes=1 << 40)
    seconds(one, 2)
    assert names(one) == ["disk"]
    assert one.statistics()["disk_free_bytes"] > 0


def test_data_that_is_gone_has_no_free_space(server: Servers, tmp_path: Path) -> None:
    one = server(alarms_after_s=0)
    one.settings.data = str(tmp_path / "gone")
    seconds(one, 2)
    assert names(one) == ["disk"]
    assert one.stats.errors_internal == 0
