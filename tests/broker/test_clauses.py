"""Clauses that no other test proves, one small test each."""

from __future__ import annotations

import pytest
from harness import MemoryBroker, properties

from swellmq.broker.access import Access, Request
from swellmq.codec import spec
from swellmq.codec.packets import Ack, Auth, Connack, Disconnect, Ping, Publish, Suback, Subscribe, TopicRequest, Will
from swellmq.codec.spec import PINGREQ, PINGRESP, PUBACK, PUBCOMP, PUBREC, PUBREL, SUBACK
from swellmq.limits import Limits

VERSIONS = (3, 4, 5)
KEPT = {"clean_start": False, "session_expiry_interval": 600}
LETTERS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Forbidding(Access):
    """Forbids topics that begin with "no"."""

    def __init__(self) -> None:
        super().__init__()
        self.authorizes_publish = True

    def decide(self, requests: list[Request]) -> None:
        for request in requests:
            assert request.publish is not None
            request.answer(spec.NOT_AUTHORIZED if request.publish.topic_name.startswith(b"no") else 0)


class TestConnect:
    @pytest.mark.parametrize("version", VERSIONS)
    def test_client_identifiers_of_1_to_23_letters_and_digits(self, version: int) -> None:  # [MQTT-3.1.3-5]
        limits = Limits()
        limits.client_id_3_1_strict = True
        limits.client_id_bytes = 23  # the least that settings allow
        broker = MemoryBroker(limits)
        for client_id in (*LETTERS, LETTERS[:23], LETTERS[-23:]):
            assert not broker.connect(client_id, version=version).closed

    @pytest.mark.parametrize("version", [4, 5])
    def test_what_follows_a_refused_connect_is_not_processed(self, version: int) -> None:  # [MQTT-3.1.4-6]
        limits = Limits()
        limits.client_id_bytes = 8
        broker = MemoryBroker(limits)
        watcher = broker.connect("w")
        watcher.subscribe("#")
        client = broker.open(version)
        client.feed(Publish(b"t", b"x", 0, False), Ping(PINGREQ))
        ((_, following),) = broker.fed
        broker.fed.clear()
        empty = b"\0" if version == 5 else b""
        connect = b"\0\x04MQTT" + bytes([version, 2, 0, 0]) + empty + b"\0\x09" + b"x" * 9
        client.send(bytes([0x10, len(connect)]) + connect + following)
        client.expect(Connack(False, spec.CLIENT_IDENTIFIER_NOT_VALID) if version == 5 else b"\x20\x02\0\x02")
        watcher.expect()

    @pytest.mark.parametrize("version", VERSIONS)
    def test_one_connack(self, version: int) -> None:  # [MQTT-3.2.0-2] [MQTT-3.1.0-2]
        options = {"request_problem_information": 0} if version == 5 else {}
        client = MemoryBroker().connect("a", version=version, **options)
        client.connect("a")
        assert client.closed
        client.expect(*([Disconnect(spec.PROTOCOL_ERROR)] if version == 5 else []))

    @pytest.mark.parametrize("version", [4, 5])
    def test_a_refusal_says_no_session_even_where_there_is_one(self, version: int) -> None:  # [MQTT-3.2.2-6]
        limits = Limits()
        broker = MemoryBroker(limits)
        broker.connect(
            "abc", version=version, clean_start=False, **({"session_expiry_interval": 60} if version == 5 else {})
        )
        limits.client_id_bytes = 2
        refused = broker.connect("abc", version=version, clean_start=False)
        assert refused.connack is not None
        assert refused.connack.reason_code != 0 and not refused.connack.session_present

    def test_auth_without_a_method(self) -> None:  # [MQTT-4.12.0-7]
        client = MemoryBroker().connect("a", version=5)
        client.send(Auth(spec.SUCCESS))
        (packet,) = client.receive()
        assert isinstance(packet, Disconnect) and packet.reason_code == spec.PROTOCOL_ERROR
        assert client.closed

    @pytest.mark.parametrize("version", VERSIONS)
    def test_no_will_no_message(self, version: int) -> None:  # [MQTT311-3.1.2-12]
        broker = MemoryBroker()
        watcher = broker.connect("w")
        watcher.subscribe("#")
        kept = KEPT if version == 5 else {"clean_start": False}
        broker.connect("a", version=version, will=Will(Publish(b"will", b"x", 0, False), 0), **kept).disconnect()
        broker.connect("a", version=version, **kept).drop()
        watcher.expect()


class TestFromClient:
    @pytest.mark.parametrize("version", VERSIONS)
    @pytest.mark.parametrize("dup", [False, True])
    def test_qos_1_with_the_same_identifier_is_a_new_message(self, version: int, dup: bool) -> None:  # [MQTT-4.3.2-5]
        broker = MemoryBroker()
        subscriber = broker.connect("s")
        subscriber.subscribe("t")
        publisher = broker.connect("p", version=version)
        for payload in (b"x", b"y"):
            publisher.publish("t", payload, qos=1, identifier=7, dup=dup)
            publisher.expect(b"\x40\x02\0\x07")
        assert subscriber.payloads() == [b"x", b"y"]

    def test_qos_2_that_was_refused_leaves_its_identifier_free(self) -> None:  # [MQTT-4.3.3-9]
        broker = MemoryBroker(access=Forbidding())
        subscriber = broker.connect("s")
        subscriber.subscribe("#")
        publisher = broker.connect("p", version=5)
        publisher.publish("no", b"x", qos=2, identifier=7)
        publisher.expect(Ack(PUBREC, 7, spec.NOT_AUTHORIZED, properties(reason_string="refused by access control")))
        publisher.publish("yes", b"y", qos=2, identifier=7)
        publisher.expect(Ack(PUBREC, 7))
        assert subscriber.payloads() == [b"y"]

    @pytest.mark.parametrize("version", [3, 4])
    @pytest.mark.parametrize(("qos", "answers"), [(0, []), (1, [Ack(PUBACK, 7)]), (2, [Ack(PUBREC, 7)])])
    def test_what_is_forbidden_to_3_is_acknowledged(self, version: int, qos: int, answers: list[Ack]) -> None:
        broker = MemoryBroker(access=Forbidding())  # [MQTT311-3.3.5-2]
        subscriber = broker.connect("s")
        subscriber.subscribe("#")
        publisher = broker.connect("p", version=version)
        publisher.publish("no", b"x", qos=qos, identifier=7)
        publisher.expect(*answers)
        if qos == 2:
            publisher.ack(PUBREL, 7)
            publisher.expect(Ack(PUBCOMP, 7))
        subscriber.expect()
        assert not publisher.closed

    def test_every_alias_up_to_the_maximum(self) -> None:  # [MQTT-3.3.2-12]
        limits = Limits()
        limits.topic_alias_maximum = 10
        broker = MemoryBroker(limits)
        subscriber = broker.connect("s")
        subscriber.subscribe("#")
        publisher = broker.connect("p", version=5)
        names = [b"topic/%d" % alias for alias in range(1, 11)]
        for alias, name in enumerate(names, 1):
            publisher.publish(name, alias=alias)
        for alias in range(1, 11):
            publisher.publish("", alias=alias)
        assert [publish.topic_name for publish in subscriber.publishes()] == names * 2


class TestToClient:
    @pytest.mark.parametrize("version", VERSIONS)
    @pytest.mark.parametrize("qos", [0, 1, 2])
    def test_order_of_a_topic(self, version: int, qos: int) -> None:  # [MQTT-4.6.0-5] [MQTT-4.6.0-6]
        limits = Limits()
        limits.inflight_max = 3
        broker = MemoryBroker(limits)
        subscribers = [broker.connect(f"s{number}", version=version) for number in range(2)]
        subscribers[0].subscribe("a/b", qos=qos)
        subscribers[1].subscribe("a/#", qos=qos)
        publishers = [broker.connect(f"p{number}", version=version) for number in range(2)]
        got: dict[int, list[bytes]] = {0: [], 1: []}
        for number in range(12):
            publishers[number % 2].publish("a/b", b"%d" % number, qos=qos)
            for index, subscriber in enumerate(subscribers):
                packets = subscriber.receive()
                got[index] += [packet.payload for packet in packets if isinstance(packet, Publish)]
                for packet in packets:
                    if number % 3 == 2 and isinstance(packet, Publish) and qos:
                        subscriber.feed(Ack(PUBACK if qos == 1 else PUBREC, packet.packet_identifier))
        for index, subscriber in enumerate(subscribers):
            for identifier in range(1, 13):
                subscriber.feed(Ack(PUBACK if qos == 1 else PUBREC, identifier))
                subscriber.feed(Ack(PUBCOMP, identifier))
            broker.turn()
            got[index] += [packet.payload for packet in subscriber.receive() if isinstance(packet, Publish)]
            assert got[index][:6] == [b"%d" % number for number in range(6)]
            assert got[index] == sorted(got[index], key=int)

    @pytest.mark.parametrize("version", VERSIONS)
    def test_pubrels_in_the_order_of_the_pubrecs(self, version: int) -> None:  # [MQTT-4.6.0-4]
        broker = MemoryBroker()
        client = broker.connect("s", version=version)
        client.subscribe("t", qos=2)
        for _ in range(3):
            broker.inject("t", b"x", 2)
        assert [publish.packet_identifier for publish in client.publishes()] == [1, 2, 3]
        client.send(*(Ack(PUBREC, identifier) for identifier in (2, 3, 1)))
        client.expect(*(Ack(PUBREL, identifier) for identifier in (2, 3, 1)))

    def test_a_full_window_delays_nothing_but_publishes(self) -> None:  # [MQTT-3.3.4-10] [MQTT-4.9.0-3]
        broker = MemoryBroker()
        client = broker.connect("s", version=5, receive_maximum=1)
        client.subscribe("t", qos=2)
        broker.inject("t", b"1", 2)
        broker.inject("t", b"2", 2)
        assert client.payloads() == [b"1"]
        assert client.subscribe("u") == [0]
        assert client.unsubscribe("u") == [0]
        client.ping()
        client.publish("v", qos=1, identifier=5)
        client.publish("v", qos=2, identifier=6)
        client.ack(PUBREL, 6)
        client.ack(PUBREC, 1)
        client.expect(
            Ping(PINGRESP),
            Ack(PUBACK, 5, spec.NO_MATCHING_SUBSCRIBERS),
            Ack(PUBREC, 6),
            Ack(PUBCOMP, 6),
            Ack(PUBREL, 1),
        )

    @pytest.mark.parametrize("released", [False, True])
    def test_what_was_sent_does_not_expire(self, released: bool) -> None:  # [MQTT-4.3.3-7] [MQTT-4.3.3-13]
        broker = MemoryBroker()
        client = broker.connect("s", version=5, **KEPT)
        client.subscribe("t", qos=2)
        broker.connect("p", version=5).publish("t", b"x", qos=2, expiry=10)
        (publish,) = client.publishes()
        if released:
            client.ack(PUBREC, publish.packet_identifier)
        client.drop()
        broker.advance(20)
        client = broker.connect("s", version=5, **KEPT)
        (packet,) = client.receive()
        if released:
            assert isinstance(packet, Ack) and packet.packet_type == PUBREL
        else:
            assert isinstance(packet, Publish) and packet.dup and packet.payload == b"x"
            client.ack(PUBREC, packet.packet_identifier)
            client.expect(Ack(PUBREL, packet.packet_identifier))
        client.ack(PUBCOMP, packet.packet_identifier)
        assert broker.session("s").inflight is None


class TestSubscriptions:
    @pytest.mark.parametrize("version", [4, 5])
    def test_what_was_begun_is_completed_after_unsubscribe(self, version: int) -> None:  # [MQTT-3.10.4-3]
        broker = MemoryBroker()
        kept = KEPT if version == 5 else {"clean_start": False}
        client = broker.connect("s", version=version, **kept)
        client.subscribe("t", qos=2)
        broker.inject("t", b"1", 1)
        broker.inject("t", b"2", 2)
        client.receive()
        client.unsubscribe("t")
        client.drop()
        client = broker.connect("s", version=version, **kept)
        assert [(publish.payload, publish.dup) for publish in client.publishes()] == [(b"1", True), (b"2", True)]
        client.ack(PUBACK, 1)
        client.ack(PUBREC, 2)
        client.expect(Ack(PUBREL, 2))

    @pytest.mark.parametrize("version", VERSIONS)
    def test_replacing_sends_retained_and_loses_nothing(self, version: int) -> None:  # [MQTT-3.8.4-4]
        broker = MemoryBroker()
        broker.inject("t", b"kept", 1, retain=True)
        kept = KEPT if version == 5 else {"clean_start": False}
        client = broker.connect("s", version=version, **kept)
        client.subscribe("t", qos=1)
        client.receive()
        client.feed(Subscribe(9, [TopicRequest(b"t", 1)]))
        broker.inject("t", b"new", 1)
        packets = client.receive()
        assert [packet.packet_identifier for packet in packets if isinstance(packet, Suback)] == [9]
        assert {packet.payload for packet in packets if isinstance(packet, Publish)} == {b"kept", b"new"}

    def test_copies_have_each_their_own_identifier(self) -> None:  # [MQTT-3.3.4-5]
        broker = MemoryBroker()
        client = broker.connect("s", version=5)
        client.subscribe("t", identifier=1)
        client.subscribe("$share/g/t", identifier=2)
        broker.inject("t", b"x")
        client.expect(b"\x30\x07\0\x01t\x02\x0b\x01x", b"\x30\x07\0\x01t\x02\x0b\x02x")

    def test_a_shared_qos_2_message_is_completed_to_the_same_client(self) -> None:  # [MQTT-4.8.2-4]
        broker = MemoryBroker()
        first = broker.connect("a", version=5, **KEPT)
        first.subscribe("$share/g/t", qos=2)
        second = broker.connect("b", version=5, **KEPT)
        second.subscribe("$share/g/t", qos=2)
        broker.inject("t", b"x", 2)
        (publish,) = first.publishes()
        first.drop()
        second.expect()
        first = broker.connect("a", version=5, **KEPT)
        (again,) = first.publishes()
        assert (again.packet_identifier, again.payload, again.dup) == (publish.packet_identifier, b"x", True)
        first.ack(PUBREC, again.packet_identifier)
        first.expect(Ack(PUBREL, again.packet_identifier))
        first.ack(PUBCOMP, again.packet_identifier)
        second.expect()

    @pytest.mark.parametrize("version", VERSIONS)
    def test_reason_codes_in_the_order_of_the_filters(self, version: int) -> None:  # [MQTT-3.9.3-1] [MQTT-3.8.4-2]
        client = MemoryBroker().connect("s", version=version)
        client.send(Subscribe(258, [TopicRequest(b"a", 2), TopicRequest(b"b", 0), TopicRequest(b"c", 1)]))
        client.expect(Suback(SUBACK, 258, b"\x02\x00\x01"))
