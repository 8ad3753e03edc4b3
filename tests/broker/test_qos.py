"""QoS 0, 1 and 2 in both directions: packet identifiers, windows, queues, resumption."""

from __future__ import annotations

import pytest
from harness import MemoryBroker, properties

from swellmq.codec import spec
from swellmq.codec.packets import Ack, Disconnect, Publish
from swellmq.codec.spec import PUBACK, PUBCOMP, PUBREC, PUBREL
from swellmq.limits import Limits

VERSIONS = (3, 4, 5)
NOT_UNDER_WAY = properties(reason_string="no QoS 2 message is under way with this packet identifier")
KEPT = {"clean_start": False, "session_expiry_interval": 600}


@pytest.mark.parametrize("version", VERSIONS)
class TestFromClient:
    def test_qos_0(self, version: int) -> None:  # [MQTT-3.3.4-1] [MQTT-4.3.1-1]
        broker = MemoryBroker()
        subscriber = broker.connect("s", version=version)
        subscriber.subscribe("t", qos=2)
        publisher = broker.connect("p", version=version)
        publisher.publish("t", b"x")
        publisher.expect()
        subscriber.expect(Publish(b"t", b"x", 0, False))

    def test_qos_1(self, version: int) -> None:  # [MQTT-4.3.2-4] [MQTT-2.2.1-5] [MQTT-3.3.4-1]
        broker = MemoryBroker()
        broker.connect("s").subscribe("t")
        publisher = broker.connect("p", version=version)
        publisher.publish("t", b"x", qos=1, identifier=7)
        publisher.expect(b"\x40\x02\0\x07")

    # [MQTT-2.2.1-5] [MQTT-3.3.4-1] [MQTT-4.3.3-12]
    def test_qos_2(self, version: int) -> None:  # [MQTT-4.3.3-8] [MQTT-4.3.3-11]
        broker = MemoryBroker()
        subscriber = broker.connect("s")
        subscriber.subscribe("t")
        publisher = broker.connect("p", version=version)
        publisher.publish("t", b"x", qos=2, identifier=7)
        publisher.expect(b"\x50\x02\0\x07")
        publisher.publish("t", b"x", qos=2, identifier=7, dup=True)
        publisher.expect(b"\x50\x02\0\x07")  # [MQTT-4.3.3-10]
        assert subscriber.payloads() == [b"x"]
        publisher.ack(PUBREL, 7)
        publisher.expect(b"\x70\x02\0\x07")
        assert broker.session("p").received is None
        publisher.publish("t", b"y", qos=2, identifier=7)
        assert subscriber.payloads() == [b"y"]
        publisher.ack(PUBREL, 8)
        publisher.receive_bytes()
        broker.check()

    def test_qos_2_duplicate_after_reconnect(self, version: int) -> None:
        broker = MemoryBroker()
        subscriber = broker.connect("s")
        subscriber.subscribe("t")
        kept = KEPT if version == 5 else {"clean_start": False}
        publisher = broker.connect("p", version=version, **kept)
        publisher.publish("t", b"x", qos=2, identifier=7)
        publisher.drop()
        publisher = broker.connect("p", version=version, **kept)
        publisher.publish("t", b"x", qos=2, identifier=7, dup=True)
        publisher.expect(b"\x50\x02\0\x07")
        publisher.ack(PUBREL, 7)
        publisher.expect(b"\x70\x02\0\x07")
        assert subscriber.payloads() == [b"x"]

    def test_acknowledgements_keep_their_order(self, version: int) -> None:  # [MQTT-4.6.0-2] [MQTT-4.6.0-3]
        broker = MemoryBroker()
        broker.connect("s").subscribe("t")
        publisher = broker.connect("p", version=version)
        for identifier, qos in ((5, 1), (3, 2), (9, 1)):
            message = Publish(b"t", b"", qos, False)
            message.packet_identifier = identifier
            publisher.feed(message)
        broker.turn()
        publisher.expect(b"\x40\x02\0\x05", b"\x50\x02\0\x03", b"\x40\x02\0\x09")


def test_no_matching_subscribers_is_told_in_5() -> None:
    broker = MemoryBroker()
    publisher = broker.connect("p", version=5)
    publisher.publish("nobody", qos=1, identifier=1)
    publisher.expect(Ack(PUBACK, 1, spec.NO_MATCHING_SUBSCRIBERS))


def test_pubrel_for_an_unknown_identifier() -> None:
    broker = MemoryBroker()
    client = broker.connect("p", version=5)
    client.ack(PUBREL, 3)
    client.expect(Ack(PUBCOMP, 3, spec.PACKET_IDENTIFIER_NOT_FOUND, NOT_UNDER_WAY))
    client = broker.connect("q", version=4)
    client.ack(PUBREL, 3)
    client.expect(b"\x70\x02\0\x03")


def test_receive_maximum_of_the_broker() -> None:  # [MQTT-3.3.4-7] [MQTT-3.3.4-8]
    limits = Limits()
    limits.receive_maximum = 2
    broker = MemoryBroker(limits)
    client = broker.connect("p", version=5)
    for identifier in (1, 2):
        client.publish("t", qos=2, identifier=identifier)
    client.receive()
    client.publish("t", qos=2, identifier=3)
    (packet,) = client.receive()
    assert isinstance(packet, Disconnect) and packet.reason_code == spec.RECEIVE_MAXIMUM_EXCEEDED
    assert client.closed


@pytest.mark.parametrize("version", [4, 5])
def test_maximum_qos(version: int) -> None:  # [MQTT-3.2.2-9] [MQTT-3.2.2-10] [MQTT-3.2.2-11]
    limits = Limits()
    limits.maximum_qos = 1
    broker = MemoryBroker(limits)
    client = broker.connect("p", version=version)
    assert client.subscribe("t", qos=2) == [1]
    broker.inject("t", b"x", 2)
    assert client.publishes()[0].qos == 1
    client.publish("t", qos=2)
    assert client.closed
    assert broker.stats.errors_peer == 1


@pytest.mark.parametrize("version", VERSIONS)
class TestToClient:
    def test_qos_1(self, version: int) -> None:  # [MQTT-4.3.2-1] [MQTT-4.3.2-2] [MQTT-4.3.2-3]
        broker = MemoryBroker()
        client = broker.connect("s", version=version)
        assert client.subscribe("t", qos=1) == [1]
        broker.inject("t", b"x", 2)
        message = Publish(b"t", b"x", 1, False)
        message.packet_identifier = 1
        client.expect(message)
        assert broker.session("s").window == 1
        client.ack(PUBACK, 1)
        assert broker.session("s").window == 0
        assert broker.session("s").inflight is None

    def test_qos_2(self, version: int) -> None:  # [MQTT-4.3.3-1] [MQTT-4.3.3-5]
        broker = MemoryBroker()
        client = broker.connect("s", version=version)
        client.subscribe("t", qos=2)
        broker.inject("t", b"x", 2)
        assert client.publishes()[0].packet_identifier == 1
        client.ack(PUBREC, 1)
        client.expect(b"\x62\x02\0\x01")  # [MQTT-4.3.3-4]
        client.ack(PUBREC, 1)
        client.expect(b"\x62\x02\0\x01")
        assert broker.session("s").window == 1
        client.ack(PUBCOMP, 1)
        assert broker.session("s").inflight is None
        broker.check()

    def test_acknowledgements_of_what_is_not_under_way(self, version: int) -> None:
        broker = MemoryBroker()
        client = broker.connect("s", version=version)
        client.subscribe("t", qos=2)
        client.ack(PUBACK, 9)
        client.ack(PUBCOMP, 9)
        client.expect()
        client.ack(PUBREC, 9)
        client.expect(Ack(PUBREL, 9, spec.PACKET_IDENTIFIER_NOT_FOUND, NOT_UNDER_WAY))
        broker.check()

    @pytest.mark.parametrize(("qos", "wrong"), [(1, PUBREC), (1, PUBCOMP), (2, PUBACK), (2, PUBCOMP)])
    def test_acknowledgements_of_another_qos(self, version: int, qos: int, wrong: int) -> None:
        broker = MemoryBroker()
        client = broker.connect("s", version=version, clean_start=False)
        client.subscribe("t", qos=qos)
        broker.inject("t", b"x", qos)
        client.ack(wrong, 1)
        assert client.closed and client.close_reason == "protocol error"
        assert version == spec.MQTT_5_0 or broker.session("s").statistics()["inflight"] == 1
        broker.check()

    def test_an_identifier_in_use_is_not_given_twice(self, version: int) -> None:  # [MQTT-2.2.1-4]
        broker = MemoryBroker()
        client = broker.connect("s", version=version)
        client.subscribe("t", qos=1)
        broker.inject("t", b"first", 1)
        broker.session("s").packet_identifier = 65_534
        broker.inject("t", b"second", 1)
        broker.inject("t", b"third", 1)
        assert [publish.packet_identifier for publish in client.publishes()] == [1, 65_535, 2]

    def test_the_lower_qos_counts(self, version: int) -> None:  # [MQTT-3.8.4-8]
        broker = MemoryBroker()
        client = broker.connect("s", version=version)
        client.subscribe("t", qos=1)
        for qos in (0, 1, 2):
            broker.inject("t", b"%d" % qos, qos)
        assert [publish.qos for publish in client.publishes()] == [0, 1, 1]


def test_pubrec_with_an_error_ends_it() -> None:  # [MQTT-4.4.0-2]
    broker = MemoryBroker()
    client = broker.connect("s", version=5, receive_maximum=1)
    client.subscribe("t", qos=2)
    broker.inject("t", b"x", 2)
    broker.inject("t", b"y", 2)
    assert client.payloads() == [b"x"]
    client.ack(PUBREC, 1, spec.UNSPECIFIED_ERROR)
    assert client.payloads() == [b"y"]  # no PUBREL, and the place in the window is free
    broker.check()


def test_an_ack_with_identifier_0_is_a_fault() -> None:  # [MQTT-2.2.1-3]
    for packet in (b"\x40\x02\0\0", b"\x50\x02\0\0", b"\x62\x02\0\0", b"\x70\x02\0\0"):
        broker = MemoryBroker()
        client = broker.connect("s", version=5)
        client.send(packet)
        (answer,) = client.receive()
        assert isinstance(answer, Disconnect) and answer.reason_code == spec.PROTOCOL_ERROR


class TestWindow:
    def test_receive_maximum_of_the_client(self) -> None:  # [MQTT-3.3.4-9] [MQTT-4.9.0-1] [MQTT-4.9.0-2]
        broker = MemoryBroker()
        client = broker.connect("s", version=5, receive_maximum=2)
        client.subscribe("t", qos=1)
        for number in range(5):
            broker.inject("t", b"%d" % number, 1)
        assert client.payloads() == [b"0", b"1"]
        client.ack(PUBACK, 2)
        assert client.payloads() == [b"2"]
        client.send(Ack(PUBACK, 1), Ack(PUBACK, 3))
        assert client.payloads() == [b"3", b"4"]
        broker.check()

    def test_qos_0_passes_a_full_window(self) -> None:
        broker = MemoryBroker()
        client = broker.connect("s", version=5, receive_maximum=1)
        client.subscribe("t", qos=1)
        broker.inject("t", b"1", 1)
        broker.inject("t", b"2", 1)
        broker.inject("t", b"0", 0)
        assert client.payloads() == [b"1", b"0"]

    def test_the_brokers_own_limit(self) -> None:
        limits = Limits()
        limits.inflight_max = 3
        broker = MemoryBroker(limits)
        client = broker.connect("s", version=4)
        client.subscribe("t", qos=1)
        for number in range(5):
            broker.inject("t", b"%d" % number, 1)
        assert len(client.publishes()) == 3


class TestOffline:
    @pytest.mark.parametrize("version", [4, 5])
    def test_qos_1_and_2_wait_and_qos_0_does_not(self, version: int) -> None:  # [MQTT-4.5.0-1] [MQTT-4.3.3-2]
        broker = MemoryBroker()
        kept = KEPT if version == 5 else {"clean_start": False}
        client = broker.connect("s", version=version, **kept)
        client.subscribe("t", qos=2)
        client.drop()
        for qos in (0, 1, 2):
            broker.inject("t", b"%d" % qos, qos)
        assert broker.stats.dropped_offline == 1
        assert broker.session("s").queued() == 2
        client = broker.connect("s", version=version, **kept)
        assert [(publish.payload, publish.dup) for publish in client.publishes()] == [(b"1", False), (b"2", False)]
        assert broker.session("s").queue is None

    def test_qos_0_waits_where_the_operator_wants_it(self) -> None:
        limits = Limits()
        limits.queue_qos_0 = True
        broker = MemoryBroker(limits)
        client = broker.connect("s", clean_start=False)
        client.subscribe("t")
        client.drop()
        publisher = broker.connect("p")
        for _ in range(2):  # the second one by way of a remembered route
            publisher.publish("t", b"x")
        assert broker.connect("s", clean_start=False).payloads() == [b"x", b"x"]

    def test_the_queue_is_bounded_in_messages(self) -> None:
        limits = Limits()
        limits.queued_messages = 2
        broker = MemoryBroker(limits)
        client = broker.connect("s", clean_start=False)
        client.subscribe("t", qos=1)
        client.drop()
        for number in range(5):
            broker.inject("t", b"%d" % number, 1)
        assert broker.stats.dropped_queue_full == 3
        assert broker.connect("s", clean_start=False).payloads() == [b"0", b"1"]

    def test_the_queue_is_bounded_in_bytes(self) -> None:
        limits = Limits()
        limits.queued_bytes = 150
        broker = MemoryBroker(limits)
        client = broker.connect("s", clean_start=False)
        client.subscribe("t", qos=1)
        client.drop()
        for _ in range(5):
            broker.inject("t", b"x" * 99, 1)
        assert broker.session("s").queued() == 2
        assert broker.session("s").statistics()["queued_bytes"] == 200
        assert broker.stats.dropped_queue_full == 3

    def test_a_long_queue_shrinks_as_it_empties(self) -> None:
        broker = MemoryBroker()
        client = broker.connect("s", version=5, **KEPT)
        client.subscribe("t", qos=1)
        client.drop()
        for number in range(500):
            broker.inject("t", b"%d" % number, 1)
        client = broker.connect("s", version=5, receive_maximum=1, **KEPT)
        for number in range(499):
            (publish,) = client.publishes()
            assert publish.payload == b"%d" % number
            client.ack(PUBACK, publish.packet_identifier)
            queue = broker.session("s").queue
            assert queue is None or len(queue.items) <= 2 * len(queue) + 64
        broker.check()


class TestResume:
    # [MQTT-4.3.3-3] [MQTT-4.3.3-5] [MQTT-4.3.3-6]
    def test_what_was_under_way_is_sent_again_in_order(self) -> None:  # [MQTT-4.4.0-1] [MQTT-4.6.0-1] [MQTT-3.3.1-1]
        broker = MemoryBroker()
        client = broker.connect("s", version=5, **KEPT)
        client.subscribe("t", qos=2)
        for number in range(4):
            broker.inject("t", b"%d" % number, 1 + number % 2)
        client.ack(PUBREC, 2)
        client.drop()
        broker.inject("t", b"new", 1)
        client = broker.connect("s", version=5, **KEPT)
        packets = client.receive()
        assert isinstance(packets[0], Ack) and (packets[0].packet_type, packets[0].packet_identifier) == (PUBREL, 2)
        publishes = [packet for packet in packets[1:] if isinstance(packet, Publish)]
        assert [(p.packet_identifier, p.payload, p.dup) for p in publishes] == [
            (1, b"0", True),
            (3, b"2", True),
            (4, b"3", True),
            (5, b"new", False),
        ]
        broker.check()

    def test_a_smaller_receive_maximum(self) -> None:
        broker = MemoryBroker()
        client = broker.connect("s", version=5, **KEPT)
        client.subscribe("t", qos=1)
        for number in range(4):
            broker.inject("t", b"%d" % number, 1)
        client.drop()
        client = broker.connect("s", version=5, receive_maximum=1, **KEPT)
        for number in range(4):
            (publish,) = client.publishes()
            assert (publish.payload, publish.packet_identifier, publish.dup) == (b"%d" % number, number + 1, True)
            broker.check()
            client.ack(PUBACK, publish.packet_identifier)
        broker.inject("t", b"more", 1)
        assert client.payloads() == [b"more"]

    @pytest.mark.parametrize("ack", [PUBACK, PUBREC])
    def test_an_ack_that_comes_before_the_repetition(self, ack: int) -> None:
        """It had arrived on the earlier connection, and the new window has no place for the repetition yet."""
        broker = MemoryBroker()
        qos = 1 if ack == PUBACK else 2
        client = broker.connect("s", version=5, **KEPT)
        client.subscribe("t", qos=qos)
        for number in range(3):
            broker.inject("t", b"%d" % number, qos)
        client.drop()
        client = broker.connect("s", version=5, receive_maximum=1, **KEPT)
        assert client.payloads() == [b"0"]
        client.ack(ack, 3)
        broker.check()
        client.ack(PUBCOMP, 3)
        broker.check()
        client.receive()
        for identifier in (1, 2):
            client.ack(ack, identifier)
            client.ack(PUBCOMP, identifier)
        assert broker.session("s").inflight is None
        client.receive()
        broker.inject("t", b"more", 1)
        assert client.payloads() == [b"more"]
        broker.check()

    def test_pubrec_with_an_error_before_the_repetition(self) -> None:
        broker = MemoryBroker()
        client = broker.connect("s", version=5, **KEPT)
        client.subscribe("t", qos=2)
        for number in range(2):
            broker.inject("t", b"%d" % number, 2)
        client.drop()
        client = broker.connect("s", version=5, receive_maximum=1, **KEPT)
        client.ack(PUBREC, 2, spec.UNSPECIFIED_ERROR)
        broker.check()
        assert list(broker.session("s").inflight or {}) == [1]


class TestSlowReader:
    def limited(self) -> tuple[MemoryBroker, Limits]:
        limits = Limits()
        limits.outbox_bytes = 1000
        return MemoryBroker(limits), limits

    @pytest.mark.parametrize("version", [4, 5])
    def test_qos_0_is_dropped_and_counted(self, version: int) -> None:
        broker, _ = self.limited()
        client = broker.connect("s", version=version)
        client.subscribe("t")
        client.stall()
        publisher = broker.connect("p", version=4)
        for _ in range(20):
            publisher.publish("t", b"x" * 200)
        assert broker.stats.dropped_outbox_full == 20 - 5
        client.read()
        assert len(client.publishes()) == 5

    def test_qos_1_waits_in_the_session(self) -> None:
        broker, _ = self.limited()
        client = broker.connect("s")
        client.subscribe("t", qos=1)
        client.stall()
        for _ in range(20):
            broker.inject("t", b"x" * 200, 1)
        assert broker.session("s").queued() > 10
        assert client.connection.outbox_bytes < 1300
        received = 0
        client.read()
        while publishes := client.publishes():
            received += len(publishes)
        assert received == 20
        broker.check()

    def test_a_full_outbox_that_the_socket_takes_at_once_leaves_nothing_behind(self) -> None:
        """The loop tells of a drained socket only where it had stalled; what waited must leave all the same."""
        broker, _ = self.limited()
        client = broker.connect("s")
        client.subscribe("t", qos=1)
        publisher = broker.connect("p")
        for qos in (0, 0, 1, 1, 0):
            message = Publish(b"t", b"x" * 600, qos, False)
            message.packet_identifier = 1 + qos
            publisher.feed(message)
        broker.turn()
        assert [publish.qos for publish in client.publishes()] == [0, 0, 1, 1]
        assert broker.session("s").queue is None
        assert broker.stats.dropped_outbox_full == 1
        broker.check()

    def test_repetitions_are_bounded_too(self) -> None:
        broker, limits = self.limited()
        limits.outbox_bytes = 100_000
        client = broker.connect("s", clean_start=False)
        client.subscribe("t", qos=1)
        for _ in range(20):
            broker.inject("t", b"x" * 300, 1)
        client.drop()
        limits.outbox_bytes = 1000
        client = broker.open()
        client.stall()
        client.connect("s", clean_start=False)
        assert client.connection.outbox_bytes < 1500
        client.read()
        assert len([packet for packet in client.receive() if isinstance(packet, Publish)]) == 20
        broker.check()

    def test_one_that_takes_nothing_is_closed(self) -> None:
        broker, limits = self.limited()
        client = broker.connect("s", keep_alive=1000)
        client.subscribe("t")
        client.stall()
        broker.inject("t", b"x")
        broker.advance(limits.write_timeout_ms / 1000 - 1)
        assert not client.closed
        broker.advance(1.2)
        assert client.close_reason == "write stalled"

    def test_one_that_takes_some_is_not(self) -> None:
        broker, limits = self.limited()
        client = broker.connect("s")
        client.subscribe("t")
        client.stall()
        broker.inject("t", b"x")
        broker.advance(20)
        client.read()
        client.stall()
        broker.inject("t", b"x")
        broker.advance(20)
        assert not client.closed
        broker.advance(limits.write_timeout_ms / 1000)
        assert client.closed
