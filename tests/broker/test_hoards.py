"""What a client could make the broker keep: each thing counts with its whole size, and against a bound."""

from __future__ import annotations

from harness import MemoryBroker

from swellmq.broker.fights import Fights
from swellmq.codec import spec
from swellmq.codec.encode import packet_head
from swellmq.codec.packets import Ack, Disconnect
from swellmq.limits import (
    DEAR_FILTERS_BYTES_MAX,
    DELIVERIES_PER_TURN,
    FIGHTS,
    GATHER_MAX_BYTES,
    LEVEL_BYTES,
    REMOVALS_AT_ONCE,
    Limits,
)

LONG = [("name", "v" * 1_000)]


def test_properties_count_in_a_queue() -> None:
    limits = Limits()
    limits.queued_bytes = 5_000
    broker = MemoryBroker(limits)
    away = broker.connect("away", version=5, clean_start=False, session_expiry_interval=100)
    away.subscribe("t", qos=1)
    away.disconnect()
    publisher = broker.connect("p", version=5)
    for _ in range(20):
        publisher.publish("t", b"", qos=1, user_properties=LONG)
    assert broker.session("away").statistics()["queued"] == 5
    assert broker.stats.dropped_queue_full == 15
    back = broker.connect("away", version=5, clean_start=False, session_expiry_interval=100)
    assert len(back.publishes()) == 5
    assert broker.core.waiting_bytes == 0
    broker.check()


def test_a_retained_message_may_not_grow_beyond_the_bound_by_being_replaced() -> None:
    limits = Limits()
    limits.retained_bytes = 10_000
    broker = MemoryBroker(limits)
    client = broker.connect("a", version=5)
    for number in range(5):
        client.publish(f"k/{number}", b"small", qos=1, retain=True)
    client.receive()
    identifier = client.publish("k/0", bytes(9_000), qos=1, retain=True)
    [answer] = client.receive()
    assert isinstance(answer, Ack) and answer.reason_code == spec.QUOTA_EXCEEDED
    assert answer.packet_identifier == identifier
    client.publish("k/0", bytes(2_000), qos=1, retain=True)
    client.publish("k/0", b"smaller", qos=1, retain=True)
    client.publish("k/1", b"", qos=1, retain=True)
    assert {packet.reason_code for packet in client.receive() if isinstance(packet, Ack)} <= {0, 0x10}
    assert (broker.core.retained.count, broker.stats.dropped_retained_full) == (4, 1)


def test_nothing_large_is_taken_in_while_memory_runs_out() -> None:
    broker = MemoryBroker()
    client, other = broker.connect("a", version=5), broker.connect("b", version=5)
    client.publish("old", b"x", qos=1, retain=True)
    broker.core.shed(True, True)
    client.publish("new", b"x", qos=1, retain=True)
    codes = [packet.reason_code for packet in client.receive() if isinstance(packet, Ack)]
    assert codes[1:] == [spec.QUOTA_EXCEEDED]
    client.publish("old", b"y", qos=1, retain=True)
    assert broker.core.retained.count == 1
    for size, open_still in ((GATHER_MAX_BYTES // 2, True), (GATHER_MAX_BYTES, False)):
        other.send(packet_head(0x30, 100_000_000) + b"\0\1t\0" + bytes(100_000) if size < GATHER_MAX_BYTES else b"x")
        other.send(bytes(size))
        assert other.closed != open_still
    [answer] = other.receive()
    assert isinstance(answer, Disconnect) and answer.reason_code == spec.SERVER_BUSY
    assert other.close_reason == "packet too large"
    broker.core.shed(False, False)
    client.receive()
    client.publish("new", b"x", qos=1, retain=True)
    assert broker.core.retained.count == 2
    broker.check()


def test_large_messages_in_flight_have_a_bound_in_all() -> None:
    limits = Limits()
    limits.queued_bytes = 1_000_000
    limits.outbox_bytes = 1 << 30
    broker = MemoryBroker(limits)
    reader = broker.connect("r")
    reader.subscribe("t", qos=1)
    publisher = broker.connect("p")
    for number in range(15):
        publisher.publish("t", bytes(100_000) + b"%d" % number, qos=1)
    session = broker.session("r")
    assert session.statistics()["inflight"] == 9 and session.statistics()["queued"] == 6
    seen: list[bytes] = []
    while publishes := reader.publishes():
        seen += [publish.payload[100_000:] for publish in publishes]
        reader.send(*[Ack(spec.PUBACK, publish.packet_identifier, 0) for publish in publishes])
    assert seen == [b"%d" % number for number in range(15)]
    publisher.publish("t", bytes(3_000_000), qos=1)  # larger than all may be: it goes alone
    assert len(reader.publishes()) == 1
    broker.check()


def test_long_client_identifiers_that_are_fought_over_cost_as_much_as_short_ones() -> None:
    fights = Fights()
    for number in range(FIGHTS):
        fights.add("x" * 60_000 + str(number), 1)
    assert fights.add("x" * 60_000 + str(FIGHTS - 1), 2) == 2
    assert all(isinstance(key, int) for key in fights.now)


def test_many_sessions_that_end_at_once_take_several_turns() -> None:
    broker = MemoryBroker()
    clients = [broker.connect(f"c{number}", version=5, session_expiry_interval=5) for number in range(150)]
    for client in clients:
        client.subscribe(*[f"{client.connection.fd}/{number}/+" for number in range(REMOVALS_AT_ONCE)])
    for client in clients:
        client.drop()
    count = broker.core.topics.count
    assert count == 150 * REMOVALS_AT_ONCE
    removed: list[int] = []
    one_turn = broker._one_turn

    def counted() -> None:
        before = broker.core.topics.count
        one_turn()
        removed.append(int(before - broker.core.topics.count))

    broker._one_turn = counted  # type: ignore[method-assign]  # of the harness, which is never compiled
    broker.advance(6)
    assert sum(removed) == count and len(broker.core.sessions) == 0
    assert max(removed) <= 2 * DELIVERIES_PER_TURN + 2 * REMOVALS_AT_ONCE * 64
    broker.check()


def test_filters_that_are_long_or_deep_have_a_bound_in_all() -> None:
    broker = MemoryBroker()
    client = broker.connect("a", version=5)
    deep = "/".join(["a"] * 190 + ["+"])
    assert client.subscribe(deep, "x" * 10_000, "usual/+", "$share/g/" + deep) == [0, 0, 0, 0]
    charged = int(broker.core.topics.dear_bytes)
    assert charged == 2 * (len(deep) + 190 * LEVEL_BYTES) + len("$share/g/") + 2 * LEVEL_BYTES + 10_000
    broker.core.topics.dear_bytes = DEAR_FILTERS_BYTES_MAX
    full = spec.QUOTA_EXCEEDED
    assert client.subscribe("b/" + deep, "y" * 10_000, "usual/+", "more/+", deep) == [full, full, 0, 0, 0]
    broker.core.topics.dear_bytes = charged
    client.unsubscribe(deep, "x" * 10_000, "$share/g/" + deep)
    assert broker.core.topics.dear_bytes == 0
    broker.check()
