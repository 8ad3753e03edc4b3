"""paho-mqtt in all three protocol versions, and what MQTT 5.0 adds."""

from __future__ import annotations

import socket
import struct
import time

import pytest
from client_helpers import MQTT_5, SESSION_S, TIMEOUT_S, Paho, properties, wait_until

from swellmq import Broker, Settings

every_version = pytest.mark.parametrize("version", [3, 4, 5])


def cut(client: Paho) -> None:
    """Reset the connection under the client."""
    connected = client.client.socket()
    assert connected is not None
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connected.shutdown(socket.SHUT_RDWR)
    client.disconnects.get(timeout=TIMEOUT_S)


@every_version
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_publish_and_subscribe(broker: Broker, topic: str, version: int, qos: int) -> None:  # [MQTT311-7.0.0-2]
    with Paho(broker, "p", version) as publisher, Paho(broker, "s", version) as subscriber:
        assert subscriber.subscribe(topic, 2) == 2
        for number in range(50):
            publisher.publish(topic, str(number), qos)
        messages = [subscriber.next() for _ in range(50)]
    assert [message.payload for message in messages] == [b"%d" % number for number in range(50)]
    assert {(message.topic, message.qos, message.retain, message.dup) for message in messages} == {
        (topic, qos, False, False)
    }


@every_version
def test_retained(broker: Broker, topic: str, version: int) -> None:
    with Paho(broker, "p", version) as client:
        client.publish(topic, "kept", 1, retain=True)
        client.subscribe(topic, 1)
        message = client.next()
        assert (message.payload, message.qos, message.retain) == (b"kept", 1, True)
        client.publish(topic, "", 1, retain=True)
        assert not client.next().retain
        client.subscribe(topic, 1)
        client.publish(topic, "last", 1)
        assert client.payloads(1) == ["last"]


@every_version
def test_the_will_of_a_lost_connection(broker: Broker, topic: str, version: int) -> None:
    with Paho(broker, "w", version) as witness:
        witness.subscribe(topic, 2)
        cut(client := Paho(broker, "lost", version, will=(topic, "gone", 2, False)))
        message = witness.next()
        assert (message.payload, message.qos) == (b"gone", 2)
        client.close()
        Paho(broker, "polite", version, will=(topic, "no will", 2, False)).close()
        witness.publish(topic, "last")
        assert witness.payloads(1) == ["last"]


@every_version
def test_a_kept_session(broker: Broker, topic: str, version: int) -> None:
    client_id = f"kept-{version}"
    with Paho(broker, client_id, version, keep=True) as client:
        assert not client.flags.session_present
        client.subscribe(topic, 2)
    with Paho(broker, "p", version) as publisher:
        for qos in (0, 1, 2):
            publisher.publish(topic, f"queued {qos}", qos)
    with Paho(broker, client_id, version, keep=True) as client:
        assert client.flags.session_present == (version != 3)  # MQTT 3.1 has no such flag
        assert client.payloads(2) == ["queued 1", "queued 2"]
        client.publish(topic, "live", 1)
        assert client.payloads(1) == ["live"]
    with Paho(broker, client_id, version) as client:
        assert not client.flags.session_present
        client.publish(topic, "nobody is here", 1)
        client.subscribe(topic, 1)
        client.publish(topic, "last", 1)
        assert client.payloads(1) == ["last"]


@every_version
def test_a_shared_subscription(broker: Broker, topic: str, version: int) -> None:
    with Paho(broker, "one", version) as one, Paho(broker, "two", version) as two:
        for member in (one, two):
            member.subscribe("$share/group/" + topic, 1)
        for number in range(10):
            one.publish(topic, str(number), 1)
        found = [one.payloads(5), two.payloads(5)]
    assert sorted(found[0] + found[1], key=int) == [str(number) for number in range(10)]
    assert [sorted(part, key=int) for part in found] == found


@every_version
def test_unsubscribe(broker: Broker, topic: str, version: int) -> None:
    with Paho(broker, "u", version) as client:
        client.subscribe(topic + "/+")
        client.subscribe(topic)
        client.client.unsubscribe(topic + "/+")
        client.publish(topic + "/a", "unheard")
        client.publish(topic, "heard")
        assert client.payloads(1) == ["heard"]


@every_version
def test_a_place_is_taken_over(broker: Broker, version: int) -> None:
    with Paho(broker, "place", version) as first, Paho(broker, "place", version):
        code, _ = first.disconnects.get(timeout=TIMEOUT_S)
        if version == MQTT_5:
            assert code.value == 0x8E


def test_properties_pass_through(broker: Broker, topic: str) -> None:
    with Paho(broker, "p") as publisher, Paho(broker, "s") as subscriber:
        subscriber.subscribe(topic)
        publisher.publish(
            topic,
            "x",
            UserProperty=[("a", "1"), ("a", "2"), ("b", "ü")],
            ContentType="text/plain",
            ResponseTopic="answers",
            CorrelationData=b"\0\xff",
            PayloadFormatIndicator=1,
            MessageExpiryInterval=60,
        )
        given = subscriber.next().properties
    assert given is not None
    assert given.UserProperty == [("a", "1"), ("a", "2"), ("b", "ü")]
    assert (given.ContentType, given.ResponseTopic, given.CorrelationData) == ("text/plain", "answers", b"\0\xff")
    assert (given.PayloadFormatIndicator, given.MessageExpiryInterval) == (1, 60)


def test_request_and_response(broker: Broker, topic: str) -> None:
    with Paho(broker, "asker") as asker, Paho(broker, "answerer") as answerer:
        asker.subscribe(topic + "/answers")
        answerer.subscribe(topic)
        asker.publish(topic, "6 x 7", 1, ResponseTopic=topic + "/answers", CorrelationData=b"7")
        question = answerer.next().properties
        assert question is not None
        answerer.publish(question.ResponseTopic, "42", 1, CorrelationData=question.CorrelationData)
        answer = asker.next()
        assert answer.payload == b"42"
        assert answer.properties is not None
        assert answer.properties.CorrelationData == b"7"


@pytest.mark.slow
def test_a_message_expires_in_the_queue(broker: Broker, topic: str) -> None:
    with Paho(broker, "expiring", keep=True) as client:
        client.subscribe(topic, 1)
    broker_clock = broker.server.turn_state
    with Paho(broker, "p") as publisher:
        publisher.publish(topic, "short", 1, MessageExpiryInterval=1)
        publisher.publish(topic, "long", 1, MessageExpiryInterval=100)
        published_ms = broker_clock.wall_ms
        wait_until(lambda: _wall_ms(broker) > published_ms + 1_000)
    with Paho(broker, "expiring", keep=True) as client:
        message = client.next()
        assert message.payload == b"long"
        assert message.properties is not None
        assert 100 - TIMEOUT_S < message.properties.MessageExpiryInterval < 100


def _wall_ms(broker: Broker) -> int:
    broker.publish_blocking("tick")
    return int(broker.server.turn_state.wall_ms)


def test_topic_aliases_of_the_client(broker: Broker, topic: str) -> None:
    with Paho(broker, "p") as publisher, Paho(broker, "s") as subscriber:
        assert publisher.properties.TopicAliasMaximum > 0
        subscriber.subscribe(topic + "/#")
        publisher.publish(topic + "/one", "1", TopicAlias=1)
        publisher.publish(topic + "/two", "2", 1, TopicAlias=2)
        publisher.publish("", "1 again", TopicAlias=1)
        publisher.publish("", "2 again", 2, TopicAlias=2)
        publisher.publish(topic + "/three", "3", TopicAlias=1)
        publisher.publish("", "3 again", TopicAlias=1)
        found = [
            (message.topic.rpartition("/")[2], message.payload) for message in (subscriber.next() for _ in range(6))
        ]
    assert found == [
        ("one", b"1"),
        ("two", b"2"),
        ("one", b"1 again"),
        ("two", b"2 again"),
        ("three", b"3"),
        ("three", b"3 again"),
    ]


def test_topic_aliases_of_the_broker(broker: Broker, topic: str) -> None:
    with Paho(broker, "s", TopicAliasMaximum=2) as subscriber:
        subscriber.subscribe(topic + "/#")
        for name in ("a", "b", "c", "a", "b", "c"):
            broker.publish_blocking(f"{topic}/{name}", name)
        messages = [subscriber.next() for _ in range(6)]
    aliases = [getattr(message.properties, "TopicAlias", 0) for message in messages]
    # paho does not resolve aliases: the topic is empty where only an alias was sent.
    assert [(message.topic.rpartition("/")[2], alias) for message, alias in zip(messages, aliases, strict=True)] == [
        ("a", 1),
        ("b", 2),
        ("c", 0),
        ("", 1),
        ("", 2),
        ("c", 0),
    ]


def test_an_alias_above_the_maximum(broker: Broker, topic: str) -> None:
    with Paho(broker, "p") as publisher:
        given = properties("PUBLISH", TopicAlias=publisher.properties.TopicAliasMaximum + 1)
        publisher.client.publish(topic, "x", properties=given)
        code, _ = publisher.disconnects.get(timeout=TIMEOUT_S)
        assert code.value == 0x94


def test_client_ids_are_assigned(broker: Broker) -> None:
    with Paho(broker) as one, Paho(broker) as other:
        assert one.properties.AssignedClientIdentifier
        assert one.properties.AssignedClientIdentifier != other.properties.AssignedClientIdentifier


@pytest.mark.slow
def test_a_session_expires(broker: Broker, topic: str) -> None:
    expired = broker.statistics()["sessions_expired"]
    with Paho(broker, "short-lived", keep=True, SessionExpiryInterval=1) as client:
        client.subscribe(topic, 1)
    wait_until(lambda: broker.statistics()["sessions_expired"] > expired)
    with Paho(broker, "short-lived", keep=True) as client:
        assert not client.flags.session_present


def test_a_session_expiry_that_is_changed_at_disconnect(broker: Broker) -> None:
    with Paho(broker, "changing", keep=True) as client:
        client.client.disconnect(properties=properties("DISCONNECT", SessionExpiryInterval=0))
        client.disconnects.get(timeout=TIMEOUT_S)
    with Paho(broker, "changing", keep=True) as client:
        assert not client.flags.session_present


def test_subscription_identifiers(broker: Broker, topic: str) -> None:
    with Paho(broker, "s") as subscriber:
        subscriber.subscribe(topic + "/#", identifier=1)
        subscriber.subscribe(topic + "/a", 1, identifier=268_435_455)
        subscriber.subscribe(topic + "/b")
        for name in ("a", "b"):
            subscriber.publish(f"{topic}/{name}", name, 1)
        messages = [subscriber.next(), subscriber.next()]
    given = [message.properties for message in messages if message.properties is not None]
    assert [sorted(properties.SubscriptionIdentifier) for properties in given] == [[1, 268_435_455], [1]]
    assert [message.qos for message in messages] == [1, 0]


def test_no_local(broker: Broker, topic: str) -> None:
    with Paho(broker, "one") as one, Paho(broker, "other") as other:
        one.subscribe(topic, noLocal=True)
        one.publish(topic, "own", 1)
        other.publish(topic, "other's", 1)
        assert one.payloads(1) == ["other's"]


def test_retain_handling_and_retain_as_published(broker: Broker, topic: str) -> None:
    with Paho(broker, "r") as client:
        client.publish(topic, "kept", 1, retain=True)
        client.subscribe(topic, retainHandling=2)
        client.publish(topic, "live", 1)
        assert client.payloads(1) == ["live"]
        client.subscribe(topic, retainHandling=1)  # not new
        client.subscribe(topic, retainHandling=0, retainAsPublished=True)
        assert client.payloads(1) == ["kept"]
        client.publish(topic, "kept too", 1, retain=True)
        message = client.next()
        assert (message.payload, message.retain) == (b"kept too", True)
        client.client.unsubscribe(topic)
        client.subscribe(topic, retainHandling=1)  # new
        assert client.payloads(1) == ["kept too"]


@pytest.mark.slow
def test_a_will_that_is_delayed(broker: Broker, topic: str) -> None:
    late = properties("WILLMESSAGE", WillDelayInterval=SESSION_S)
    soon = properties("WILLMESSAGE", WillDelayInterval=1, ContentType="text/plain")
    with Paho(broker, "w") as witness:
        witness.subscribe(topic, 1)
        cut(lost := Paho(broker, "delayed", keep=True, will=(topic, "late", 1, False), will_properties=late))
        lost.close()
        with Paho(broker, "delayed", keep=True, will=(topic, "gone", 1, False), will_properties=soon) as back:
            assert back.flags.session_present
            witness.publish(topic, "it came back in time", 1)
            assert witness.payloads(1) == ["it came back in time"]
            cut_s = time.monotonic()
            cut(back)
        message = witness.next()
        assert time.monotonic() - cut_s > 0.99  # the broker's clock counts milliseconds
        assert (message.payload, message.qos) == (b"gone", 1)
        assert message.properties is not None
        assert message.properties.ContentType == "text/plain"


def test_the_end_of_the_session_sends_a_delayed_will(broker: Broker, topic: str) -> None:
    delayed = properties("WILLMESSAGE", WillDelayInterval=SESSION_S)
    with Paho(broker, "w") as witness:
        witness.subscribe(topic)
        cut(lost := Paho(broker, "ends-at-once", will=(topic, "gone", 0, False), will_properties=delayed))
        assert witness.payloads(1) == ["gone"]
        lost.close()


def test_reason_codes(broker: Broker, topic: str) -> None:
    with Paho(broker, "codes") as client:
        assert [client.subscribe(f"{topic}/{qos}", qos) for qos in (0, 1, 2)] == [0, 1, 2]
        codes: list[int] = []
        client.client.on_publish = lambda _client, _data, _number, code, _given: codes.append(code.value)
        client.publish(topic + "/nobody", "x", 1)
        client.publish(topic + "/1", "x", 1)
        client.next()
        wait_until(lambda: len(codes) == 2)
        assert codes == [0x10, 0x00]


def test_receive_maximum_of_the_client(broker: Broker, topic: str) -> None:
    with Paho(broker, "slow", ReceiveMaximum=2) as client:
        client.client.manual_ack_set(True)
        client.subscribe(topic, 1)
        for number in range(5):
            client.publish(topic, str(number), 1)
        client.publish(topic, "QoS 0 does not count", 0)
        first = [client.next() for _ in range(3)]
        assert [message.payload for message in first] == [b"0", b"1", b"QoS 0 does not count"]
        client.client.ack(first[0].mid, 1)
        third = client.next()
        assert third.payload == b"2"
        client.client.ack(first[1].mid, 1)
        client.client.ack(third.mid, 1)
        assert client.payloads(2) == ["3", "4"]


def test_maximum_packet_size_of_the_client(broker: Broker, topic: str) -> None:
    with Paho(broker, "small", MaximumPacketSize=100) as client, Paho(broker, "p") as publisher:
        client.subscribe(topic, 2)
        for qos in (0, 1, 2):
            publisher.publish(topic, "x" * 100, qos)
            publisher.publish(topic, "fits", qos)
        assert client.payloads(3) == ["fits"] * 3


def test_maximum_packet_size_of_the_broker() -> None:
    with Broker(Settings(port=0, limits_packet_bytes=2_000)) as broker, Paho(broker, "p") as client:
        assert client.properties.MaximumPacketSize == 2_000
        client.client.publish("a", "x" * 2_000)
        code, _ = client.disconnects.get(timeout=TIMEOUT_S)
        assert code.value == 0x95


def test_what_the_broker_does_not_offer_is_told() -> None:
    settings = Settings(
        port=0,
        limits_maximum_qos=1,
        limits_retain_available=False,
        limits_wildcard_subscription_available=False,
        limits_shared_subscription_available=False,
        limits_subscription_identifier_available=False,
        limits_keep_alive_max_s=30,
        limits_session_expiry_max_s=10,
    )
    with Broker(settings) as broker, Paho(broker, "p", keep=True) as client:
        told = client.properties
        assert (told.MaximumQoS, told.RetainAvailable, told.WildcardSubscriptionAvailable) == (1, 0, 0)
        assert (told.SharedSubscriptionAvailable, told.SubscriptionIdentifierAvailable) == (0, 0)
        assert (told.ServerKeepAlive, told.SessionExpiryInterval) == (30, 10)
        assert client.subscribe("a", 2) == 1
        assert client.subscribe("a/#") == 0xA2
        assert client.subscribe("$share/g/a") == 0x9E


def test_the_broker_says_that_it_shuts_down() -> None:
    with Broker(Settings(port=0)) as broker:
        client = Paho(broker, "p")
    code, _ = client.disconnects.get(timeout=TIMEOUT_S)
    assert code.value == 0x8B
    client.close()
