"""Runs of QoS 0 and 1 take a short path; what arrives must be what message-by-message routing sends."""

from __future__ import annotations

from harness import MemoryBroker, MemoryClient
from hypothesis import given, settings
from hypothesis import strategies as st

from swellmq.codec import spec
from swellmq.codec.encode import encode
from swellmq.codec.packets import Ack, Disconnect, Packet, Publish
from swellmq.limits import Limits

TOPICS = ("a", "a/b", "b", "c/d", "$x")
SUBSCRIPTIONS = st.tuples(
    st.sampled_from(["a", "a/b", "b", "c/d", "+", "#", "a/#", "+/b", "$share/g/a", "$share/g/#", "$x"]),
    st.integers(0, 2),
    st.booleans(),  # No Local
    st.booleans(),  # retain as published
    st.sampled_from([None, None, 7, 300]),
)
CLIENTS = st.lists(
    st.tuples(
        st.sampled_from([3, 4, 5]),
        st.lists(SUBSCRIPTIONS, max_size=3),
        st.sampled_from(
            [
                {},
                {},
                {"topic_alias_maximum": 1},
                {"maximum_packet_size": 20},
                {"receive_maximum": 3},
                {"session_expiry_interval": 60},
            ]
        ),
        st.sampled_from(["acknowledges", "acknowledges", "reads", "leaves"]),
    ),
    min_size=1,
    max_size=4,
)
MESSAGES = st.lists(
    st.tuples(
        st.sampled_from(TOPICS),
        st.sampled_from([b"", b"x", b"y" * 10, b"z" * 130, b"w" * 17_000]),
        st.sampled_from([0, 0, 0, 1, 1, 1, 2]),
        st.sampled_from([False, False, False, True]),
        st.sampled_from([-1, -1, -1, 60]),
        st.sampled_from([1, 1, 1, 20]),  # how often: from 16 on QoS 1 goes out in one piece
    ),
    min_size=1,
    max_size=30,
)


Message = tuple[str, bytes, int, bool, int, int]
Made = tuple[int, list[tuple[str, int, bool, bool, int | None]], dict[str, int], str]


def build(runs: bool, clients: list[Made]) -> tuple[MemoryBroker, list[MemoryClient]]:
    broker = MemoryBroker()
    broker.engine.runs_allowed = runs
    made = []
    for number, (version, subscriptions, props, _) in enumerate(clients):
        client = broker.connect(f"c{number}", version=version, **(props if version == 5 else {}))
        for topic_filter, qos, no_local, as_published, identifier in subscriptions:
            client.subscribe(
                topic_filter,
                qos=qos,
                no_local=no_local and version == 5 and not topic_filter.startswith("$share"),
                retain_as_published=as_published and version == 5,
                identifier=identifier if version == 5 else None,
            )
        client.receive()
        made.append(client)
    return broker, made


class Witness:
    """What one client has got: its messages, and what the broker said otherwise, each in order.

    Which packet identifiers a broker uses is its own affair, as long as none is used twice at a time.
    """

    def __init__(self, client: MemoryClient, habit: str) -> None:
        self.client = client
        self.habit = habit
        self.messages: list[bytes] = []
        self.answers: list[bytes] = []
        self.under_way: set[int] = set()
        self.acks: list[Ack] = []

    def look(self, whole: bool = True) -> None:
        """Take what has come and acknowledge it; not where the client has sent the start of a packet only."""
        for packet in self.client.receive():
            if not isinstance(packet, Publish):
                self.answers.append(encode(packet, self.client.version))
                continue
            if packet.qos:
                identifier = int(packet.packet_identifier)
                assert identifier not in self.under_way
                self.under_way.add(identifier)
                if self.habit == "acknowledges" and packet.qos == 1:
                    self.acks.append(Ack(spec.PUBACK, identifier))
                packet.packet_identifier = 1
            self.messages.append(encode(packet, self.client.version))
        if self.acks and whole and not self.client.closed:
            acks, self.acks = self.acks, []
            self.under_way -= {int(ack.packet_identifier) for ack in acks}
            self.client.send(*acks)


def stream(messages: list[Message], version: int) -> list[bytes]:
    packets: list[bytes] = []
    for name, payload, qos, retain, expiry, times in messages:
        message = Publish(name.encode(), payload, qos, retain)
        message.message_expiry_interval = expiry
        for _ in range(times if len(payload) < 1_000 else 1):
            message.packet_identifier = len(packets) + 1
            packets.append(encode(message, version))
    return packets


@given(CLIENTS, MESSAGES, st.integers(0, 3), st.lists(st.integers(1, 400), max_size=5))
@settings(max_examples=150, deadline=None)
def test_a_run_is_the_same_as_its_messages(
    clients: list[Made], messages: list[Message], publisher: int, cuts: list[int]
) -> None:
    outputs = []
    for runs in (True, False):
        broker, made = build(runs, clients)
        witnesses = [Witness(client, habit) for client, (*_, habit) in zip(made, clients, strict=True)]
        sender = made[publisher % len(made)]
        for client, (*_, habit) in zip(made, clients, strict=True):
            if habit == "leaves" and client is not sender:
                client.drop()
        data = b"".join(stream(messages, sender.version))
        pos = 0
        for cut in [*cuts, len(data)]:
            sender.send(data[pos : pos + cut])
            pos += cut
            for witness in witnesses:
                witness.look(whole=witness.client is not sender or pos >= len(data))
        sender.send(b"".join(stream(messages, sender.version)))
        for _ in range(40 * len(messages)):  # a window of three opens step by step
            for witness in witnesses:
                witness.look()
        broker.check()
        outputs.append(
            (
                [(witness.messages, witness.answers, len(witness.under_way)) for witness in witnesses],
                [session.statistics() for session in broker.core.sessions.values()],
                broker.stats.statistics(),
            )
        )
    assert outputs[0] == outputs[1]


def subscribed(version: int = 4) -> tuple[MemoryBroker, MemoryClient, MemoryClient]:
    broker = MemoryBroker()
    subscriber = broker.connect("s", version=version)
    subscriber.subscribe("#")
    publisher = broker.connect("p", version=version)
    publisher.publish("t", b"0")
    subscriber.receive()
    return broker, subscriber, publisher


def test_a_run_leaves_as_the_bytes_that_came() -> None:
    broker, subscriber, publisher = subscribed()
    data = b"\x30\x04\0\x01t1" + b"\x30\x04\0\x01t2"
    publisher.send(data)
    outbox = subscriber.receive_bytes()
    assert outbox == data
    assert broker.stats.publishes_received == 3


def test_messages_before_a_fault_arrive() -> None:
    for version in (4, 5):
        props = b"\0" if version == 5 else b""
        good = b"\x30" + bytes([4 + len(props)]) + b"\0\x01t" + props + b"1"
        for bad in (b"\x30\x80\x00\0\0", b"\x30\xff\xff\xff\xff\xff", b"\x36\x05\0\x01t\0\x01", b"\x30\x03\0\x05t"):
            broker, subscriber, publisher = subscribed(version)
            publisher.send(good * 3 + bad + good)
            assert [publish.payload for publish in subscriber.publishes()] == [b"1"] * 3
            assert publisher.closed
            assert broker.stats.errors_peer == 1


def test_an_empty_topic_name_is_a_fault_wherever_it_comes() -> None:
    empty: dict[int, bytes] = {4: b"\x30\x03\0\0x", 5: b"\x30\x04\0\0\0x"}
    good: dict[int, bytes] = {4: b"\x30\x04\0\x01t1", 5: b"\x30\x05\0\x01t\0" + b"1"}
    for version in (4, 5):
        for before in (0, 1):
            broker, subscriber, publisher = subscribed(version)
            publisher.send(good[version] * before + empty[version] + good[version])
            assert len(subscriber.publishes()) == before
            assert publisher.closed
            assert broker.stats.errors_peer == 1
            packets: list[Packet] = publisher.receive()
            if version == 5:
                assert isinstance(packets[-1], Disconnect)
                assert packets[-1].reason_code in (spec.PROTOCOL_ERROR, spec.TOPIC_NAME_INVALID)


def test_a_packet_larger_than_allowed_ends_a_run() -> None:
    limits = Limits()
    limits.packet_bytes = 50
    broker = MemoryBroker(limits)
    subscriber = broker.connect("s")
    subscriber.subscribe("#")
    publisher = broker.connect("p")
    publisher.publish("t", b"1")
    publisher.publish("t", b"2")
    publisher.publish("t", b"x" * 60)
    assert subscriber.payloads() == [b"1", b"2"]
    assert publisher.close_reason == "packet too large"


def test_qos_1_leaves_as_the_bytes_that_came() -> None:
    for version in (4, 5):
        props = b"\0" if version == 5 else b""
        broker = MemoryBroker()
        subscribers = [broker.connect(f"s{number}", version=version) for number in range(2)]
        for subscriber in subscribers:
            subscriber.subscribe("t", qos=1)
        publisher = broker.connect("p", version=version)
        publisher.publish("t", b"0")
        data = b"".join(
            b"\x32" + bytes([6 + len(props)]) + b"\0\x01t\x01" + bytes([n]) + props + b"x" for n in range(20)
        )
        for subscriber in subscribers:
            subscriber.receive()
        publisher.send(data)
        assert [subscriber.receive_bytes() for subscriber in subscribers] == [data, data]
        pubacks = b"".join(b"\x40\x02\x01" + bytes([n]) for n in range(20))
        assert publisher.receive_bytes() == pubacks
        assert broker.session("s0").statistics()["inflight"] == 20
        for subscriber in subscribers:
            subscriber.send(pubacks[:20], pubacks[20:])
        assert [broker.session(f"s{n}").statistics()["inflight"] for n in range(2)] == [0, 0]
        broker.check()


def test_a_few_at_qos_1_are_numbered_from_1() -> None:
    broker = MemoryBroker()
    subscriber = broker.connect("s")
    subscriber.subscribe("t", qos=1)
    publisher = broker.connect("p")
    packets = [Publish(b"t", b"%d" % number, 1, False) for number in range(15)]
    for number, packet in enumerate(packets):
        packet.packet_identifier = 300 + number
    publisher.send(packets[0])
    publisher.send(*packets[1:])
    assert [int(publish.packet_identifier) for publish in subscriber.publishes()] == list(range(1, 16))


def test_two_publishers_with_the_same_packet_identifiers() -> None:
    broker = MemoryBroker()
    subscriber = broker.connect("s")
    subscriber.subscribe("#", qos=1)
    publishers = [broker.connect(name) for name in ("p", "q")]
    publishers[0].publish("t", b"")
    subscriber.receive()
    packets = [Publish(b"t", b"%d" % number, 1, False) for number in range(20)]
    for number, packet in enumerate(packets):
        packet.packet_identifier = number + 1
    for publisher in publishers:
        publisher.send(*packets)
    got = subscriber.publishes()
    assert [publish.payload for publish in got] == [publish.payload for publish in packets] * 2
    assert len({int(publish.packet_identifier) for publish in got}) == 40  # [MQTT-2.2.1-4]


def test_a_run_larger_than_the_window_waits_in_part() -> None:
    broker = MemoryBroker()
    subscriber = broker.connect("s", version=5, receive_maximum=7)
    subscriber.subscribe("#", qos=1)
    publisher = broker.connect("p", version=5)
    publisher.publish("t", b"")
    subscriber.receive()
    packets = [Publish(b"t", b"%d" % number, 1, False) for number in range(20)]
    for number, packet in enumerate(packets):
        packet.packet_identifier = number + 1
    publisher.send(*packets)
    got = subscriber.publishes()
    assert len(got) == 7
    subscriber.send(*[Ack(spec.PUBACK, int(publish.packet_identifier)) for publish in got])
    assert [publish.payload for publish in subscriber.publishes()] == [b"%d" % number for number in range(7, 14)]


def test_faults_among_acknowledgements_and_qos_1() -> None:
    for version in (4, 5):
        props = b"\0" if version == 5 else b""
        good = b"\x32" + bytes([6 + len(props)]) + b"\0\x01t\0\x01" + props + b"1"
        for bad in (b"\x32" + bytes([6 + len(props)]) + b"\0\x01t\0\0" + props + b"1", b"\x40\x02\0\0", b"\x40\x01\0"):
            broker, subscriber, publisher = subscribed(version)
            publisher.send(good + bad + good)
            assert [publish.payload for publish in subscriber.publishes()] == [b"1"]
            assert publisher.closed
            assert broker.stats.errors_peer == 1


def numbered(count: int, qos: int = 1) -> list[Publish]:
    packets = [Publish(b"t", b"%d" % number, qos, False) for number in range(count)]
    for number, packet in enumerate(packets):
        packet.packet_identifier = number + 1
    return packets


def kept_pair() -> tuple[MemoryBroker, list[MemoryClient], MemoryClient]:
    """Two kept sessions that have got a run of twenty, and its publisher."""
    broker = MemoryBroker()
    subscribers = [broker.connect(name, clean_start=False) for name in ("s0", "s1")]
    for subscriber in subscribers:
        subscriber.subscribe("t", qos=1)
    publisher = broker.connect("p")
    publisher.publish("t", b"")
    for subscriber in subscribers:
        subscriber.receive()
    publisher.send(*numbered(20))
    return broker, subscribers, publisher


def test_a_run_to_kept_sessions_comes_again() -> None:  # [MQTT-4.4.0-1] [MQTT-3.3.1-1]
    broker, subscribers, _ = kept_pair()
    for number, subscriber in enumerate(subscribers):
        assert subscriber.payloads() == [publish.payload for publish in numbered(20)]
        subscriber.send(*[Ack(spec.PUBACK, identifier) for identifier in range(1, 11 + number)])
    broker.check()
    subscribers[0].drop()
    assert broker.session("s1").window == 9
    again = broker.connect("s0", clean_start=False)
    got = again.publishes()
    assert [(publish.payload, publish.dup) for publish in got] == [(b"%d" % n, True) for n in range(10, 20)]
    again.send(*[Ack(spec.PUBACK, int(publish.packet_identifier)) for publish in got])
    assert not broker.session("s0").inflight
    subscribers[1].send(*[Ack(spec.PUBACK, identifier) for identifier in range(11, 21)])
    assert not broker.session("s1").inflight
    broker.check()


def test_a_run_whose_identifiers_are_in_use_gets_others() -> None:  # [MQTT-2.2.1-4]
    broker, subscribers, _ = kept_pair()
    other = broker.connect("q")
    other.send(*numbered(20))
    for subscriber in subscribers:
        got = subscriber.publishes()
        assert [publish.payload for publish in got] == [publish.payload for publish in numbered(20)] * 2
        assert len({int(publish.packet_identifier) for publish in got}) == 40
        subscriber.drop()
    again = broker.connect("s1", clean_start=False).publishes()
    assert [publish.payload for publish in again] == [publish.payload for publish in numbered(20)] * 2
    assert len({int(publish.packet_identifier) for publish in again}) == 40
    broker.check()


def test_acknowledgements_of_qos_2_in_runs() -> None:  # [MQTT-4.3.3-4] [MQTT-4.3.3-11]
    broker = MemoryBroker()
    subscriber = broker.connect("s", version=5)
    subscriber.subscribe("t", qos=2)
    publisher = broker.connect("p", version=5)
    publisher.send(*numbered(20, 2))
    publisher.expect(*[Ack(spec.PUBREC, identifier) for identifier in range(1, 21)])
    identifiers = [int(publish.packet_identifier) for publish in subscriber.publishes()]
    subscriber.send(*[Ack(spec.PUBREC, identifier) for identifier in [*identifiers[:10], 999, *identifiers[10:]]])
    released = subscriber.receive()
    assert [int(ack.packet_identifier) for ack in released if isinstance(ack, Ack)] == [
        *identifiers[:10],
        999,
        *identifiers[10:],
    ]
    assert isinstance(released[10], Ack) and released[10].reason_code == spec.PACKET_IDENTIFIER_NOT_FOUND
    subscriber.send(*[Ack(spec.PUBREC, identifier) for identifier in identifiers[:3]])  # once more: released again
    subscriber.expect(*[Ack(spec.PUBREL, identifier) for identifier in identifiers[:3]])
    subscriber.send(*[Ack(spec.PUBCOMP, identifier) for identifier in identifiers])
    assert broker.session("s").inflight is None
    publisher.send(*[Ack(spec.PUBREL, identifier) for identifier in range(1, 21)])
    publisher.expect(*[Ack(spec.PUBCOMP, identifier) for identifier in range(1, 21)])
    assert broker.session("p").received is None
    broker.check()
