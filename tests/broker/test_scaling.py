"""Cost grows as work grows, no faster: what is looked up costs the same among many, what is handled the same each.

Two kinds of test, both in CPU time of the real broker in memory, the best of three, at two sizes of which one is many
times the other. What should be found at once (a subscriber among filters) may cost four times as much at the larger
size, and so may each of what is handled one by one (clients, acknowledgements); a walk through all for each would cost
up to thirty times. `swellmq bench scaling` draws the same as curves over TCP.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from harness import MemoryBroker, MemoryClient

from swellmq.bench.generator import PUBACK, connect_packet, publish_packet, subscribe_packets, unsubscribe_packet
from swellmq.bench.scenarios import idle_filters
from swellmq.errors import PEER_CLOSED
from swellmq.limits import Limits

FACTOR = 4.0  # of the cost at the smaller size: for caches and noise
FEW, MANY = 300, 9_000
MESSAGES = 300
ROUNDS = 3

Work = Callable[[], object]


def fastest_s(prepare: Callable[[int], Work]) -> float:
    """The least CPU time of a few rounds. `prepare` makes the work of a round and is not timed."""
    found = []
    for number in range(ROUNDS):
        work = prepare(number)
        begin = time.process_time()
        work()
        found.append(time.process_time() - begin)
    return min(found)


def unlimited() -> MemoryBroker:
    """A broker whose limits none of this reaches."""
    limits = Limits()
    limits.outbox_bytes = limits.queued_bytes = 1 << 30
    limits.receive_maximum = limits.inflight_max = 65_535
    return MemoryBroker(limits)


def fleet(broker: MemoryBroker, count: int) -> list[MemoryClient]:
    """So many clients that are connected."""
    clients = [broker.open() for _number in range(count)]
    for number, client in enumerate(clients):
        client.feed(connect_packet(b"client-%d" % number))
    all_send(clients, b"")
    return clients


def all_send(clients: list[MemoryClient], packets: bytes) -> list[bytes]:
    """All send the same in one turn; what each got since the last look."""
    for client in clients:
        client.feed(packets)
    clients[0].broker.turn()
    return [client.receive_bytes() for client in clients]


def feed(client: MemoryClient, data: bytes) -> Work:
    def work() -> None:
        client.send(data)
        client.receive_bytes()

    return work


# What is looked up


def publishes_beside(client: MemoryClient, subscriber: MemoryClient) -> Callable[[int], Work]:
    """Messages to topics that were never seen before, to one subscriber of a wildcard."""
    subscriber.subscribe("load/+/hall/line/cell/robot/+/state")

    def prepare(number: int) -> Work:
        topics = [b"load/%d/hall/line/cell/robot/%06d/state" % (number, k) for k in range(MESSAGES)]
        send = feed(client, b"".join(publish_packet(topic, 0, 0, b"x") for topic in topics))

        def work() -> None:
            send()
            assert subscriber.receive_bytes().count(b"/state") == MESSAGES

        return work

    return prepare


def beside_exact_filters(count: int) -> Callable[[int], Work]:
    broker = unlimited()
    broker.connect("holder").send(subscribe_packets([b"load/a/hall/line/%06d" % k for k in range(count)], 0))
    return publishes_beside(broker.connect("publisher"), broker.connect("subscriber"))


def beside_wildcard_filters(count: int) -> Callable[[int], Work]:
    broker = unlimited()
    broker.connect("holder").send(subscribe_packets(idle_filters(count), 0))
    return publishes_beside(broker.connect("publisher"), broker.connect("subscriber"))


def beside_clients(count: int) -> Callable[[int], Work]:
    broker = unlimited()
    fleet(broker, count)
    return publishes_beside(broker.connect("publisher"), broker.connect("subscriber"))


def beside_retained_messages(count: int) -> Callable[[int], Work]:
    """Retained messages that a subscription to others must not walk through."""
    broker = unlimited()
    client = broker.connect("publisher")
    client.send(b"".join(retained(b"other/%06d/x" % k) for k in range(count)))
    client.send(b"".join(retained(b"wanted/%d/x" % k) for k in range(10)))
    return lambda number: feed(client, subscribe_packets([b"wanted/+/x"], 0) * MESSAGES)


def beside_messages_in_flight(count: int) -> Callable[[int], Work]:
    """QoS 1 to a subscriber that has left so many unacknowledged."""
    broker = unlimited()
    subscriber = broker.connect("subscriber")
    subscriber.subscribe("t", qos=1)
    client = broker.connect("publisher")
    feed(client, publish_packet(b"t", 1, 1, b"x") * count)()
    subscriber.receive_bytes()

    def prepare(number: int) -> Work:
        send = feed(client, publish_packet(b"t", 1, 1, b"x") * MESSAGES)
        first = count + 1 + number * MESSAGES
        acknowledge = b"".join(ack(identifier) for identifier in range(first, first + MESSAGES))

        def work() -> None:
            send()
            subscriber.receive_bytes()
            subscriber.send(acknowledge)

        return work

    return prepare


def retained(topic: bytes) -> bytes:
    frame = publish_packet(topic, 0, 0, b"x")
    return bytes([frame[0] | 1]) + frame[1:]


def ack(identifier: int) -> bytes:
    return bytes([PUBACK, 2, identifier >> 8, identifier & 255])


@pytest.mark.parametrize(
    "case",
    [
        beside_exact_filters,
        beside_wildcard_filters,
        beside_clients,
        beside_retained_messages,
        beside_messages_in_flight,
    ],
)
def test_what_is_looked_up_costs_the_same_among_many(case: Callable[[int], Callable[[int], Work]]) -> None:
    few, many = fastest_s(case(FEW)), fastest_s(case(MANY))
    assert many < FACTOR * few, f"{many / few:.1f} times the CPU time at {MANY / FEW:.0f} times the number"


# What is handled one by one


def clients_come_and_go(count: int) -> Work:
    broker = unlimited()

    def work() -> None:
        for client in fleet(broker, count):
            client.connection.close(PEER_CLOSED)
        broker.turn()
        assert not broker.core.sessions

    return work


def filters_come_and_go(count: int) -> Work:
    broker = unlimited()
    client = broker.connect("client")
    filters = [f"a/{number}/{'+' if number % 2 else 'b'}/c" for number in range(count)]

    def work() -> None:
        assert client.subscribe(*filters) == [0] * count
        client.unsubscribe(*filters)
        assert broker.core.topics.count == 0

    return work


def subscribers_of_one_topic(count: int) -> Work:
    broker = unlimited()
    clients = fleet(broker, count)

    def work() -> None:
        all_send(clients, subscribe_packets([b"t"], 0))
        assert broker.inject("t", b"x") == count
        all_send(clients[::-1], unsubscribe_packet(b"t"))
        assert broker.core.topics.count == 0

    return work


def members_of_one_group(count: int) -> Work:
    broker = unlimited()
    clients = fleet(broker, count)
    publisher = broker.connect("publisher")

    def work() -> None:
        all_send(clients, subscribe_packets([b"$share/g/t"], 0))
        publisher.send(publish_packet(b"t", 0, 0, b"x") * count)
        assert all(client.receive_bytes() for client in clients)
        all_send(clients[::-1], unsubscribe_packet(b"$share/g/t"))
        assert broker.core.topics.count == 0

    return work


def topic_levels(count: int) -> Work:
    """A topic may have 200 levels at most: so a thirtieth of the number, and many topics."""
    broker = unlimited()
    levels = count // 30
    client, subscriber = broker.connect("publisher"), broker.connect("subscriber")
    subscriber.subscribe("a/" + "+/" * (levels - 2) + "#")
    data = b"".join(publish_packet(b"a/" + b"b/" * (levels - 2) + b"%d" % k, 0, 0, b"x") for k in range(200))
    return feed(client, data)


def retained_messages(count: int) -> Work:
    broker = unlimited()
    client = broker.connect("client")
    data = b"".join(retained(b"a/%d/b" % number) for number in range(count))

    def work() -> None:
        client.send(data)
        client.subscribe("a/+/b")
        assert client.receive_bytes().count(b"/b") == count

    return work


def messages_that_wait(count: int) -> Work:
    """For a client that is away, and then comes back."""
    broker = unlimited()
    broker.connect("away", clean_start=False).subscribe("t", qos=1)
    broker.connect("away", clean_start=False).disconnect()
    client = broker.connect("publisher")
    data = publish_packet(b"t", 1, 1, b"x") * count

    def work() -> None:
        client.send(data)
        client.receive_bytes()
        back = broker.connect("away", clean_start=False)
        back.send(b"".join(ack(identifier) for identifier in range(1, count + 1)))
        assert not broker.session("away").inflight

    return work


def acknowledgements_in_reverse(count: int) -> Work:
    broker = unlimited()
    subscriber = broker.connect("subscriber")
    subscriber.subscribe("t", qos=1)
    client = broker.connect("publisher")
    data = publish_packet(b"t", 1, 1, b"x") * count

    def work() -> None:
        client.send(data)
        subscriber.receive_bytes()
        subscriber.send(b"".join(ack(identifier) for identifier in range(count, 0, -1)))
        assert not broker.session("subscriber").inflight

    return work


def reads_of_one_packet(count: int) -> Work:
    broker = unlimited()
    client = broker.connect("publisher")
    packet = publish_packet(b"t", 0, 0, bytes(count * 100))
    parts = [packet[start : start + 100] for start in range(0, len(packet), 100)]

    def work() -> None:
        for part in parts:
            client.feed(part)
        broker.turn()
        assert broker.stats.publishes_received == 1

    return work


def sessions_that_expire(count: int) -> Work:
    broker = unlimited()
    for number in range(count):
        broker.connect(f"client-{number}", version=5, session_expiry_interval=10).disconnect()

    def work() -> None:
        broker.advance(11)
        assert len(broker.core.sessions) == 0

    return work


@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    [
        clients_come_and_go,
        filters_come_and_go,
        subscribers_of_one_topic,
        members_of_one_group,
        topic_levels,
        retained_messages,
        messages_that_wait,
        acknowledgements_in_reverse,
        reads_of_one_packet,
        sessions_that_expire,
    ],
)
def test_what_is_handled_one_by_one_costs_the_same_each(case: Callable[[int], Work]) -> None:
    few = fastest_s(lambda _number: case(FEW))
    many = fastest_s(lambda _number: case(MANY))
    each = many / MANY / (few / FEW)
    assert each < FACTOR, f"{each:.1f} times the CPU time for each at {MANY / FEW:.0f} times the number"
