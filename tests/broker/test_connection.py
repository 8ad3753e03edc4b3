"""Connection: reset, keeping the start of a packet, the held lane; and that nothing outlives its client."""

from __future__ import annotations

import gc
from collections import Counter

import pytest
from harness import MemoryBroker
from stand_ins import DelayedStorage, ScriptedAccess

from swellmq.broker.session import Delivery, Session, Subscription
from swellmq.codec.packets import Publish, Will
from swellmq.connection import Aliases, Buffers, Connection, Owner, Question, Turn
from swellmq.limits import GATHER_PIECE_BYTES
from swellmq.process import resident_bytes
from swellmq.version import describe

KEPT = {"clean_start": False, "session_expiry_interval": 600}


def attributes(connection: Connection) -> dict[str, object]:
    """All data attributes, interpreted or compiled."""
    found = {}
    for name in dir(connection):
        if not name.startswith("__"):
            value = getattr(connection, name)
            if not callable(value):
                found[name] = value
    return found


def test_reset_gives_every_field_what_init_gave_it() -> None:
    turn = Turn()
    fresh = attributes(Connection(turn))
    used = Connection(turn)
    changed: set[str] = set()
    for name, value in fresh.items():
        if name in ("turn", "pooled"):
            continue
        replacement: object
        if isinstance(value, bool):
            replacement = not value
        elif isinstance(value, int):
            replacement = value + 1
        elif isinstance(value, bytes):
            replacement = b"secret"
        else:
            replacement = {
                "handler": MemoryBroker().engine,
                "outbox": [b"secret"],
                "buffers": Buffers(),
                "owner": Owner(),
                "question": Question(),
                "aliases": Aliases(),
            }[name]
        setattr(used, name, replacement)
        changed.add(name)
    assert len(changed) >= 22
    used.reset()
    after = attributes(used)
    assert after == fresh


class TestKeep:
    def test_a_small_packet_is_joined(self) -> None:
        connection = Connection(Turn())
        connection.keep(b"ab", 10)
        assert connection.missing_bytes() == 0
        assert connection.take(b"cd") == b"abcd"
        assert connection.take(b"ef") == b"ef"

    def test_a_large_one_in_small_pieces_is_few_objects(self) -> None:
        connection = Connection(Turn())
        whole = bytes(number % 251 for number in range(100_000))
        connection.keep(whole[:1], len(whole))
        for start in range(1, 99_990, 7):
            assert connection.take(whole[start : start + 7]) == b""
            assert connection.kept_bytes() + connection.missing_bytes() == len(whole)
        buffers = connection.buffers
        assert buffers is not None and buffers.gather is not None
        assert len(buffers.gather) <= len(whole) // GATHER_PIECE_BYTES + 1
        assert connection.take(whole[connection.kept_bytes() :]) == whole
        assert connection.buffers is None

    def test_a_large_one_is_gathered(self) -> None:
        connection = Connection(Turn())
        connection.keep(b"ab", 100_000)
        assert connection.missing_bytes() > 0
        assert connection.take(b"x" * 99_997) == b""
        assert connection.take(b"yz") == b"ab" + b"x" * 99_997 + b"yz"
        assert connection.buffers is None


class TestHeld:
    def held(self) -> tuple[Turn, Connection]:
        turn = Turn()
        turn.durable = True
        return turn, Connection(turn)

    def test_output_moves_ticket_by_ticket(self) -> None:
        turn, connection = self.held()
        connection.hold(b"1")
        turn.ticket_open = 2
        connection.send_in_order(b"1+")
        connection.hold(b"2")
        connection.send(b"now")
        assert connection.outbox == [b"now"]
        turn.ticket_stored = 1
        assert connection.release_held()
        assert connection.outbox == [b"now", b"1", b"1+"]
        turn.ticket_stored = 2
        assert not connection.release_held()
        assert connection.outbox == [b"now", b"1", b"1+", b"2"]
        assert connection.buffers is None
        assert connection.outbox_bytes == 7

    def test_a_later_ticket_is_never_in_front_of_an_earlier_one(self) -> None:
        turn, connection = self.held()
        turn.ticket_open = 5
        connection.hold(b"5")
        connection.hold_until(b"3", 3)
        turn.ticket_stored = 4
        assert connection.release_held()
        assert connection.outbox is None
        turn.ticket_stored = 5
        assert not connection.release_held()
        assert connection.outbox == [b"5", b"3"]

    def test_what_is_stored_already_is_not_held(self) -> None:
        turn, connection = self.held()
        turn.ticket_stored = 3
        connection.hold_until(b"3", 3)
        assert connection.outbox == [b"3"]

    def test_nothing_leaves_once_it_is_closed(self) -> None:
        turn, connection = self.held()
        connection.hold(b"1")
        connection.close(3)
        connection.close(4)
        connection.send(b"2")
        connection.hold(b"3")
        turn.ticket_stored = 1
        assert not connection.release_held()
        assert connection.outbox is None
        assert connection.close_reason == 3
        assert turn.close == [connection]

    def test_without_a_store_nothing_is_held(self) -> None:
        connection = Connection(Turn())
        connection.hold(b"1")
        assert connection.outbox == [b"1"]


def lively(broker: MemoryBroker, storage: DelayedStorage, access: ScriptedAccess, round_: int) -> None:
    """Clients that come, do everything, and leave in every way."""
    clients = [
        broker.connect(f"c{number}", version=version, keep_alive=60, will=Will(Publish(b"w", b"x", 1, False), number))
        for number, version in enumerate((3, 4, 5))
    ]
    clients.append(broker.connect("k", version=5, topic_alias_maximum=3, receive_maximum=2, **KEPT))
    for client in clients:
        client.subscribe("a/#", "a/b", "+/b", "$share/g/a/b", "w", qos=2)
    for _ in range(2):
        for client in clients:
            client.publish("a/b", b"x", qos=1)
            client.publish("a/b", b"x", qos=2)
            client.publish("a/b", b"x" * 100)
            client.publish("keep", b"r", retain=True)
    clients[1].unsubscribe("a/b")
    clients[3].drop()
    broker.connect("late").publish("a/b", b"y", qos=2)
    storage.commit()
    broker.turn()
    again = broker.connect("k", version=5, **{**KEPT, "clean_start": bool(round_ % 2)})
    again.publish("a/b", b"z", qos=1)
    broker.connect("c1", version=4)
    access.answers.clear()
    parked = broker.connect("parked")
    access.answers[1] = access.answers[4] = access.answers[5] = 0
    parked.drop()
    for client in list(broker.clients.values()):
        if client.version == 5:
            client.disconnect(session_expiry_interval=0) if client is again else client.send(b"\x00\0")
        else:
            client.drop()
    broker.connect("p").publish("keep", b"", retain=True)
    for client in list(broker.clients.values()):
        client.disconnect()
    storage.commit()
    broker.turn()


def build() -> tuple[MemoryBroker, DelayedStorage, ScriptedAccess]:
    storage = DelayedStorage()
    access = ScriptedAccess(authenticates=True, publish=True, subscribe=True)
    access.answers = {1: 0, 4: 0, 5: 0}
    return MemoryBroker(storage=storage, access=access), storage, access


def assert_empty(broker: MemoryBroker) -> None:
    broker.check()
    core = broker.core
    counts = core.statistics()
    del counts["routes"]  # of topics that were published without subscribers
    assert counts == dict.fromkeys(counts, 0)
    assert not any(route.targets or route.groups for route in core.topics.routes.values())
    assert broker.clients == {}
    assert core.requests == [] and core.events == [] and core.crowded == []
    assert broker.turn_state.held == []
    assert broker.pool.statistics()["overflow"] == 0
    assert core.topics.root.children is None and core.retained.root.children is None


@pytest.mark.skipif("compiled" in describe(), reason="the collector does not see acyclic compiled objects")
def test_no_object_outlives_its_client() -> None:
    gc.collect()
    gc.disable()
    try:
        classes = (Session, Subscription, Delivery, Publish, Aliases, Buffers, Will)
        others = [item for item in gc.get_objects() if isinstance(item, (*classes, Connection))]  # of other tests
        broker, storage, access = build()
        for round_ in range(3):
            lively(broker, storage, access, round_)
        assert_empty(broker)
        access.asked.clear()
        storage.calls.clear()
        broker.advance(700)  # the last stale deadlines have come up
        known = {id(item) for item in others}
        ours = [item for item in gc.get_objects() if id(item) not in known]
        assert Counter(type(item).__name__ for item in ours if isinstance(item, classes)) == Counter()
        assert sum(1 for item in ours if isinstance(item, Connection)) == broker.pool.capacity + len(
            broker.pool.reserve
        )
    finally:
        gc.enable()


def test_everything_is_back_at_zero() -> None:
    broker, storage, access = build()
    for round_ in range(2):
        lively(broker, storage, access, round_)
        assert_empty(broker)


@pytest.mark.slow
def test_the_process_does_not_grow() -> None:
    broker = MemoryBroker()
    will = Will(Publish(b"w", b"x" * 100, 1, False), 10_000)

    def cycle(count: int) -> None:
        for number in range(count):
            client = broker.connect(
                "a", version=5, clean_start=bool(number % 3), will=will, session_expiry_interval=900_000
            )
            client.subscribe("t/#", "u", qos=2)
            broker.inject("u", b"x" * 1000, number % 3)
            broker.advance(0.02)
            client.drop()

    cycle(5_000)
    before = resident_bytes()
    cycle(20_000)
    assert resident_bytes() - before < 4_000_000
    assert broker.core.deadlines.entries < 10_000
