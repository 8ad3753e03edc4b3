"""Messages that wait on disk only: counted, read back in order when their client returns, never lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import MemoryClient
from store_helpers import KEPT, WAIT_S, StoredBroker

from swellmq.broker.session import Session
from swellmq.codec.packets import Connack, Publish, Will
from swellmq.limits import Limits
from swellmq.store.folding import FOLD_PATIENCE_BYTES, Fetch, Folding, FoldProcess


@pytest.fixture
def stored(tmp_path: Path) -> Iterator[StoredBroker]:
    limits = Limits()
    limits.waiting_bytes = 2_000  # some three messages
    stored = StoredBroker(tmp_path / "node-0", limits)
    stored.connect("k").subscribe("t/#", qos=2)
    stored.settle()
    stored.broker.session("k").connection.close(1)
    stored.settle()
    yield stored
    stored.storage.close()


def fill(stored: StoredBroker, first: int, end: int) -> None:
    for number in range(first, end):
        stored.broker.inject(f"t/{number}", b"%d" % number, 1 + number % 2)
    stored.settle()


def back(stored: StoredBroker) -> MemoryClient:
    """The client returns, and is let in."""
    client = stored.broker.connect("k", version=5, **KEPT)
    while client.connection.question is not None:
        assert stored.woken.wait(WAIT_S)
        stored.woken.clear()
        stored.broker.turn()
    stored.settle()
    return client


def numbers(client: MemoryClient) -> list[int]:
    """The payloads as numbers; each message is acknowledged, so that all come."""
    found: list[int] = []
    while packets := [packet for packet in client.receive() if isinstance(packet, Publish)]:
        found += [int(packet.payload) for packet in packets]
    return found


def test_beyond_the_budget_nothing_stays_in_memory(stored: StoredBroker) -> None:
    fill(stored, 0, 100)
    queue = stored.broker.session("k").queue
    assert queue is not None
    assert 0 < len(queue) <= 4 and queue.shelved == 100 - len(queue)
    assert stored.broker.core.waiting_bytes < 3_000


def test_they_come_back_in_order(stored: StoredBroker) -> None:
    fill(stored, 0, 200)
    client = back(stored)
    assert numbers(client) == list(range(200))
    queue = stored.broker.session("k").queue
    assert queue is None and stored.broker.core.waiting_bytes == 0
    fill(stored, 200, 210)
    assert sorted(numbers(client)) == list(range(200, 210))  # QoS 2 waits for the store, QoS 1 does not


def test_what_comes_while_they_are_read_comes_behind_them(stored: StoredBroker) -> None:
    fill(stored, 0, 50)
    client = stored.broker.connect("k", version=5, **KEPT)
    assert client.connection.question is not None
    for number in range(50, 60):
        stored.broker.inject(f"t/{number}", b"%d" % number, 1)
    while client.connection.question is not None:
        assert stored.woken.wait(WAIT_S)
        stored.woken.clear()
        stored.broker.turn()
    stored.settle()
    assert numbers(client) == list(range(60))


def test_through_a_restart(stored: StoredBroker) -> None:
    fill(stored, 0, 50)
    stored.restart()
    queue = stored.broker.session("k").queue
    assert queue is not None and queue.shelved > 40
    fill(stored, 50, 60)
    assert numbers(back(stored)) == list(range(60))


def test_the_limits_of_a_queue_hold(stored: StoredBroker) -> None:
    stored.broker.limits.queued_messages = 20
    fill(stored, 0, 30)
    assert stored.broker.stats.dropped_queue_full == 10
    assert numbers(back(stored)) == list(range(20))


def test_the_limits_of_a_queue_hold_while_it_is_read(stored: StoredBroker) -> None:
    stored.broker.limits.queued_messages = 20
    fill(stored, 0, 15)
    stored.broker.connect("k", version=5, **KEPT)
    waiting_bytes = stored.broker.core.waiting_bytes
    for number in range(15, 30):
        stored.broker.inject(f"t/{number}", b"%d" % number, 1)
    assert stored.broker.stats.dropped_queue_full == 10
    assert stored.broker.core.waiting_bytes > waiting_bytes + 5 * 500  # they are in memory
    assert numbers(back(stored)) == list(range(20))
    assert stored.broker.core.waiting_bytes == 0


def test_a_client_that_is_gone_before_they_were_read(stored: StoredBroker) -> None:
    fill(stored, 0, 50)
    stored.broker.connect("k", version=5, **KEPT).drop()
    assert numbers(back(stored)) == list(range(50))


def test_a_client_that_leaves_what_it_did_not_take(stored: StoredBroker) -> None:
    """Its messages must not stay in memory: a fleet on a bad network would fill it."""
    stored.broker.limits.inflight_max = 5
    fill(stored, 0, 50)
    for _ in range(3):
        back(stored).drop()
        stored.settle()
        queue = stored.broker.session("k").queue
        assert queue is not None and queue.shelved == 45 and len(queue) == 0
        assert stored.broker.core.waiting_bytes == 0
    stored.restart()
    stored.broker.limits.inflight_max = 1_000
    assert numbers(back(stored)) == list(range(50))


def test_two_that_want_the_same(stored: StoredBroker) -> None:
    fill(stored, 0, 50)
    first = stored.broker.connect("k", version=5, **KEPT)
    second = back(stored)
    assert first.closed
    assert numbers(second) == list(range(50))


def test_a_session_that_starts_anew_meanwhile(stored: StoredBroker) -> None:
    fill(stored, 0, 50)
    waiting = stored.broker.connect("k", version=5, **KEPT)
    stored.connect("k", clean_start=True)
    while waiting.connection.question is not None:
        assert stored.woken.wait(WAIT_S)
        stored.woken.clear()
        stored.broker.turn()
    stored.settle()
    (connack,) = [packet for packet in waiting.receive() if isinstance(packet, Connack)]
    assert connack.session_present
    assert stored.broker.session("k").queue is None and stored.broker.core.waiting_bytes == 0


def test_a_fold_that_fails(stored: StoredBroker) -> None:
    fill(stored, 0, 50)
    (stored.folder / "read-back").mkdir()
    client = stored.broker.connect("k", version=5, **KEPT)
    while client.connection.question is not None:
        assert stored.woken.wait(WAIT_S)
        stored.woken.clear()
        stored.broker.turn()
    assert client.connack is None or client.connack.reason_code == 0x88
    (stored.folder / "read-back").rmdir()
    fill(stored, 50, 55)
    assert numbers(back(stored)) == list(range(55))


def with_will(stored: StoredBroker, delay_s: int) -> MemoryClient:
    """The client is here, with nothing left over, and has a will to which it has subscribed itself."""
    stored.broker.limits.waiting_bytes = 0
    will = Will(Publish(b"t/will", b"1", 1, False), delay_s)
    return stored.broker.connect("k", version=5, will=will, **KEPT)


def test_the_will_that_a_takeover_sends_to_the_client_itself(stored: StoredBroker) -> None:
    with_will(stored, 0)
    stored.settle()
    assert numbers(back(stored)) == [1]


def test_the_will_that_is_due_when_the_client_returns(stored: StoredBroker) -> None:
    client = with_will(stored, 5)
    stored.settle()
    client.drop()
    stored.settle()
    stored.broker._move_clocks(int(stored.broker.turn_state.now_ms) + 10_000)
    assert numbers(back(stored)) == [1]


class Endless(FoldProcess):
    """A fold that never ends by itself."""

    def __init__(self) -> None:
        super().__init__("nowhere", -1)
        self.runs: list[list[str]] = []
        self.kills = 0

    def start(self, arguments: list[str]) -> None:
        self.runs.append(arguments)

    def running(self) -> bool:
        return True

    def kill(self) -> None:
        self.kills += 1


def test_a_fold_that_has_time_gives_way_to_who_waits() -> None:
    """It runs at a low priority: on a busy machine the client would wait for minutes."""
    process = Endless()
    folding = Folding("nowhere", process)
    folding.add("one", 10)
    folding.look()
    folding.add("two", 10)
    folding.wanted.append(Fetch(Session("k"), 7, 8, 9))
    folding.look()
    assert process.kills == 1
    folding.wanted.append(Fetch(Session("other"), 10, 11, 12))
    folding.look()
    assert process.kills == 1  # that one reads: who comes later waits for it
    assert process.runs == [["--patient", "one"], ["--read=7:8:9", "one", "two"]]


def test_a_fold_that_is_behind_is_not_patient() -> None:
    process = Endless()
    folding = Folding("nowhere", process)
    folding.add("one", FOLD_PATIENCE_BYTES)
    folding.add("two", 1)
    folding.look()
    assert process.runs == [["one", "two"]]
