"""MQTT.js, the client of Node.js, in all three protocol versions, and what MQTT 5.0 adds."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from client_helpers import MQTT_5, SESSION_S, Paho, wait_until
from mqttjs_client import MqttJs, Node, Packet, Refused

from swellmq import Access, Broker, Settings
from swellmq.broker.access import Request

pytestmark = pytest.mark.needs_node

every_version = pytest.mark.parametrize("version", [3, 4, 5])


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with Node() as running:
        yield running


def as_pairs(messages: list[Packet]) -> list[tuple[str, str]]:
    """Topic name, without its beginning that is the test's, and payload."""
    return [(message["topic"].rpartition("/")[2], message["payload"]) for message in messages]


@every_version
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_publish_and_subscribe(node: Node, broker: Broker, topic: str, version: int, qos: int) -> None:
    with MqttJs(node, broker, "p", version) as publisher, MqttJs(node, broker, "s", version) as subscriber:
        assert subscriber.subscribe(topic, 2) == 2
        calls = [publisher.begin_publish(topic, str(number), qos) for number in range(50)]
        messages = [subscriber.next() for _ in range(50)]
        for call in calls:
            node.finish(call)
    assert [message["payload"] for message in messages] == [str(number) for number in range(50)]
    assert {(found["topic"], found["qos"], found["retain"], found["dup"]) for found in messages} == {
        (topic, qos, False, False)
    }


@every_version
def test_retained(node: Node, broker: Broker, topic: str, version: int) -> None:
    with MqttJs(node, broker, "r", version) as client:
        client.publish(topic, "kept", 1, retain=True)
        client.subscribe(topic, 1)
        message = client.next()
        assert (message["payload"], message["qos"], message["retain"]) == ("kept", 1, True)
        client.publish(topic, "", 1, retain=True)
        assert not client.next()["retain"]
        client.subscribe(topic, 1)
        client.publish(topic, "last", 1)
        assert client.payloads(1) == ["last"]


@every_version
def test_the_will_of_a_lost_connection(node: Node, broker: Broker, topic: str, version: int) -> None:
    will = {"topic": topic, "payload": "gone", "qos": 2, "retain": False}
    with MqttJs(node, broker, "w", version) as witness:
        witness.subscribe(topic, 2)
        MqttJs(node, broker, "lost", version, will=will).cut()
        message = witness.next()
        assert (message["payload"], message["qos"]) == ("gone", 2)
        MqttJs(node, broker, "polite", version, will=will).end()
        witness.publish(topic, "last")
        assert witness.payloads(1) == ["last"]


def test_the_wills_of_a_killed_process(broker: Broker, topic: str) -> None:
    versions = {"3", "4", "5"}
    with Paho(broker, "witness") as witness, Node() as own:
        witness.subscribe(topic + "/+", 1)
        for version in versions:
            will = {"topic": f"{topic}/{version}", "payload": version, "qos": 1, "retain": True}
            MqttJs(own, broker, "killed-" + version, int(version), will=will)
        own.kill()
        assert set(witness.payloads(3)) == versions
        witness.subscribe(topic + "/+", 1)
        messages = [witness.next() for _ in versions]
        assert {message.payload.decode() for message in messages if message.retain} == versions


@every_version
def test_a_kept_session(node: Node, broker: Broker, topic: str, version: int) -> None:
    client_id = f"kept-{version}"
    with MqttJs(node, broker, client_id, version, keep=True) as client:
        assert not client.answer["sessionPresent"]
        client.subscribe(topic, 2)
    with MqttJs(node, broker, "p", version) as publisher:
        for qos in (0, 1, 2):
            publisher.publish(topic, f"queued {qos}", qos)
    with MqttJs(node, broker, client_id, version, keep=True) as client:
        assert client.answer["sessionPresent"] == (version != 3)  # MQTT 3.1 has no such flag
        assert client.payloads(2) == ["queued 1", "queued 2"]
        client.publish(topic, "live", 1)
        assert client.payloads(1) == ["live"]
    with MqttJs(node, broker, client_id, version) as client:
        assert not client.answer["sessionPresent"]
        client.publish(topic, "nobody is here", 1)
        client.subscribe(topic, 1)
        client.publish(topic, "last", 1)
        assert client.payloads(1) == ["last"]


@every_version
def test_a_shared_subscription(node: Node, broker: Broker, topic: str, version: int) -> None:
    with MqttJs(node, broker, "one", version) as one, MqttJs(node, broker, "two", version) as two:
        for member in (one, two):
            member.subscribe("$share/group/" + topic, 1)
        for number in range(10):
            one.publish(topic, str(number), 1)
        found = [one.payloads(5), two.payloads(5)]
    assert sorted(found[0] + found[1], key=int) == [str(number) for number in range(10)]
    assert [sorted(part, key=int) for part in found] == found


@every_version
def test_unsubscribe(node: Node, broker: Broker, topic: str, version: int) -> None:
    with MqttJs(node, broker, "u", version) as client:
        client.subscribe(topic + "/+")
        client.subscribe(topic)
        client.call("unsubscribe", topic + "/+")
        client.publish(topic + "/a", "unheard")
        client.publish(topic, "heard")
        assert client.payloads(1) == ["heard"]


@every_version
def test_a_place_is_taken_over(node: Node, broker: Broker, version: int) -> None:
    with MqttJs(node, broker, "place", version) as first, MqttJs(node, broker, "place", version):
        first.event("close")
        if version == MQTT_5:
            assert first.event("disconnect")["reasonCode"] == 0x8E


@every_version
def test_many_clients_of_one_process(node: Node, broker: Broker, topic: str, version: int) -> None:
    clients = [MqttJs(node, broker, f"many-{number}", version) for number in range(20)]
    for client in clients:
        client.subscribe(topic, 1)
    clients[0].publish(topic, "to all", 2)
    assert [client.payloads(1) for client in clients] == [["to all"]] * 20
    for client in clients:
        client.end()


@every_version
@pytest.mark.parametrize("keep", [False, True], ids=["clean", "kept"])
def test_a_client_that_reconnects(node: Node, broker: Broker, topic: str, version: int, keep: bool) -> None:
    """What it publishes in between arrives; where its session is not kept it subscribes anew by itself."""
    name = f"back-{version}-{keep}"
    with Paho(broker, "w") as witness, MqttJs(node, broker, name, version, keep=keep, reconnectPeriod=1) as client:
        for each in (witness, client):
            each.subscribe(topic, 1)  # a message of QoS 2 would be handed over late, at its PUBREL
        client.received("suback")
        calls = [node.begin(client.number, "cut")]
        calls += [client.begin_publish(topic, f"QoS {qos}", qos) for qos in (1, 2)]
        for call in calls:
            node.finish(call)
        assert client.event("connect")["sessionPresent"] == (keep and version != 3)  # MQTT 3.1 has no such flag
        if not keep:
            wait_until(lambda: len(client.received("suback")) > 0)
        client.publish(topic, "last", 1)
        assert witness.payloads(3) == ["QoS 1", "QoS 2", "last"]
        if keep:
            assert client.payloads(3) == ["QoS 1", "QoS 2", "last"]
        else:
            live = client.next()  # what was sent before it had subscribed again is lost to it
            assert live["topic"] == topic


@every_version
def test_qos_2_is_exactly_once_over_lost_connections(node: Node, broker: Broker, topic: str, version: int) -> None:
    with MqttJs(node, broker, "s", version) as subscriber:
        subscriber.subscribe(topic, 2)
        with MqttJs(node, broker, f"once-{version}", version, keep=True, reconnectPeriod=1) as publisher:
            calls: list[int] = []
            for number in range(60):
                calls.append(publisher.begin_publish(topic, str(number), 2))
                if number % 10 == 5:
                    node.finish(publisher.node.begin(publisher.number, "cut"))
                    publisher.event("connect")
            for call in calls:
                try:
                    node.finish(call)
                except Refused as refused:
                    # The answer of 5.0 to a PUBREL that is sent again because its PUBCOMP was lost.
                    if version != MQTT_5 or "Packet Identifier not found" not in str(refused):
                        raise
        subscriber.publish(topic, "last", 2)
        found = subscriber.payloads(61)
    assert sorted(found[:-1], key=int) == [str(number) for number in range(60)]
    assert found[-1] == "last"


@every_version
def test_a_broker_that_is_started_again(node: Node, tmp_path: Path, version: int) -> None:
    path = str(tmp_path / "socket")  # no other program takes it in between, as may happen to a port
    with Broker(Settings(port=0, unix=path)) as first:
        client = MqttJs(node, first, "patient", version, protocol="mqtt+unix", path=path, reconnectPeriod=5)
        client.subscribe("a", 1)
    client.event("close")
    with Broker(Settings(port=0, unix=path)) as second:
        client.event("connect")
        wait_until(lambda: second.statistics()["subscriptions"] == 1)
        client.publish("a", "of the second", 1)
        assert client.payloads(1) == ["of the second"]
        client.end()


@every_version
def test_reason_codes_of_a_refused_connection(node: Node, version: int) -> None:
    class Closed(Access):
        def __init__(self) -> None:
            super().__init__()
            self.authenticates = True

        def decide(self, requests: list[Request]) -> None:
            for request in requests:
                request.answer(0x87)

    with Broker(Settings(port=0), access=Closed()) as broker:
        client = MqttJs(node, broker, "stranger", version, answer="error")
        assert client.answer["code"] == (0x87 if version == MQTT_5 else 5)
        client.event("close")


def test_properties_pass_through(node: Node, broker: Broker, topic: str) -> None:
    given = {
        "userProperties": {"a": ["1", "2"], "b": "ü"},
        "contentType": "text/plain",
        "responseTopic": "answers",
        "correlationData": "42",
        "payloadFormatIndicator": True,
        "messageExpiryInterval": 60,
    }
    with MqttJs(node, broker, "p") as publisher, MqttJs(node, broker, "s") as subscriber:
        subscriber.subscribe(topic)
        publisher.publish(topic, "x", **given)
        assert subscriber.next()["properties"] == given


def test_request_and_response(node: Node, broker: Broker, topic: str) -> None:
    with MqttJs(node, broker, "asker") as asker, MqttJs(node, broker, "answerer") as answerer:
        asker.subscribe(topic + "/answers")
        answerer.subscribe(topic)
        asker.publish(topic, "6 x 7", 1, responseTopic=topic + "/answers", correlationData="7")
        question = answerer.next()["properties"]
        answerer.publish(question["responseTopic"], "42", 1, correlationData=question["correlationData"])
        answer = asker.next()
        assert (answer["payload"], answer["properties"]["correlationData"]) == ("42", "7")


def test_topic_aliases_of_the_client(node: Node, broker: Broker, topic: str) -> None:
    with MqttJs(node, broker, "p", autoAssignTopicAlias=True) as publisher, MqttJs(node, broker, "s") as subscriber:
        most = publisher.answer["properties"]["topicAliasMaximum"]
        subscriber.subscribe(topic + "/#")
        # Past the maximum, the aliases that were not used for the longest time get other topics.
        topics = [f"{topic}/{number}" for number in (*range(most), *range(most + 5), *range(5))]
        calls = [publisher.begin_publish(name, name, 1) for name in topics]
        messages = [subscriber.next() for _ in topics]
        for call in calls:
            node.finish(call)
        assert [(message["topic"], message["payload"]) for message in messages] == [(name, name) for name in topics]
        sent = publisher.sent("publish")
        aliased = range(most, 2 * most)
        assert [packet["topic"] for packet in sent] == [
            "" if number in aliased else name for number, name in enumerate(topics)
        ]
        assert {packet["properties"]["topicAlias"] for packet in sent} == set(range(1, most + 1))


def test_topic_aliases_that_the_client_chooses(node: Node, broker: Broker, topic: str) -> None:
    with MqttJs(node, broker, "p", autoUseTopicAlias=True) as publisher, MqttJs(node, broker, "s") as subscriber:
        subscriber.subscribe(topic + "/#")
        publisher.publish(topic + "/a", "1", topicAlias=3)
        publisher.publish(topic + "/a", "2", 1)
        publisher.publish(topic + "/b", "3", 1)
        publisher.publish(topic + "/b", "4", topicAlias=3)
        publisher.publish(topic + "/b", "5", 2)
        assert as_pairs([subscriber.next() for _ in range(5)]) == [
            ("a", "1"),
            ("a", "2"),
            ("b", "3"),
            ("b", "4"),
            ("b", "5"),
        ]
        assert [packet["topic"].rpartition("/")[2] for packet in publisher.sent("publish")] == ["a", "", "b", "b", ""]


def test_topic_aliases_of_the_broker(node: Node, broker: Broker, topic: str) -> None:
    with MqttJs(node, broker, "s", properties={"topicAliasMaximum": 2}) as subscriber:
        subscriber.subscribe(topic + "/#", 1)
        for number, name in enumerate(("a", "b", "c", "a", "b", "c")):
            broker.publish_blocking(f"{topic}/{name}", name, qos=number % 2)
        assert as_pairs([subscriber.next() for _ in range(6)]) == [(name, name) for name in "abcabc"]
        assert [(packet["topic"][-1:], _alias(packet)) for packet in subscriber.received("publish")] == [
            ("a", 1),
            ("b", 2),
            ("c", 0),
            ("", 1),
            ("", 2),
            ("c", 0),
        ]


def _alias(packet: Packet) -> int:
    return int(packet.get("properties", {}).get("topicAlias", 0))


def test_aliases_begin_anew_with_each_connection(node: Node, broker: Broker, topic: str) -> None:
    aliases = {"autoAssignTopicAlias": True, "properties": {"topicAliasMaximum": 5}}
    with MqttJs(node, broker, "again", keep=True, reconnectPeriod=1, **aliases) as client:
        client.subscribe(topic, 1)
        for number in range(3):
            client.publish(topic, f"{number} before", 1)
            client.publish(topic, f"{number} after", 1)
            assert client.payloads(2) == [f"{number} before", f"{number} after"]
            assert [packet["topic"] for packet in client.received("publish")] == [topic, ""]
            assert [packet["topic"] for packet in client.sent("publish")] == [topic, ""]
            client.cut()
            assert client.event("connect")["sessionPresent"]


def test_client_ids_are_assigned(node: Node, broker: Broker) -> None:
    with MqttJs(node, broker, "") as one, MqttJs(node, broker, "") as other:
        names = [client.answer["properties"]["assignedClientIdentifier"] for client in (one, other)]
    assert all(names)
    assert names[0] != names[1]


@pytest.mark.slow
def test_a_session_expires(node: Node, broker: Broker, topic: str) -> None:
    short: dict[str, Any] = {"keep": True, "properties": {"sessionExpiryInterval": 1}}
    expired = broker.statistics()["sessions_expired"]
    with MqttJs(node, broker, "short-lived", **short) as client:
        client.subscribe(topic, 1)
    wait_until(lambda: broker.statistics()["sessions_expired"] > expired)
    with MqttJs(node, broker, "short-lived", **short) as client:
        assert not client.answer["sessionPresent"]
        client.end(properties={"sessionExpiryInterval": SESSION_S})
    with MqttJs(node, broker, "short-lived", keep=True) as client:
        assert client.answer["sessionPresent"]


def test_a_session_expiry_that_is_changed_at_disconnect(node: Node, broker: Broker) -> None:
    with MqttJs(node, broker, "changing", keep=True) as client:
        client.end(properties={"sessionExpiryInterval": 0})
    with MqttJs(node, broker, "changing", keep=True) as client:
        assert not client.answer["sessionPresent"]


def test_subscription_identifiers(node: Node, broker: Broker, topic: str) -> None:
    with MqttJs(node, broker, "s") as client:
        client.subscribe(topic + "/#", properties={"subscriptionIdentifier": 1})
        client.subscribe(topic + "/a", 1, properties={"subscriptionIdentifier": 268_435_455})
        client.subscribe(topic + "/b")
        for name in ("a", "b"):
            client.publish(f"{topic}/{name}", name, 1)
        messages = [client.next(), client.next()]
    given = [message["properties"]["subscriptionIdentifier"] for message in messages]
    assert (sorted(given[0]), given[1]) == ([1, 268_435_455], 1)
    assert [message["qos"] for message in messages] == [1, 0]


def test_no_local(node: Node, broker: Broker, topic: str) -> None:
    with MqttJs(node, broker, "one") as one, MqttJs(node, broker, "other") as other:
        one.subscribe(topic, nl=True)
        one.publish(topic, "own", 1)
        other.publish(topic, "other's", 1)
        assert one.payloads(1) == ["other's"]


def test_retain_handling_and_retain_as_published(node: Node, broker: Broker, topic: str) -> None:
    with MqttJs(node, broker, "r") as client:
        client.publish(topic, "kept", 1, retain=True)
        client.subscribe(topic, rh=2)
        client.publish(topic, "live", 1)
        assert client.payloads(1) == ["live"]
        client.subscribe(topic, rh=1)  # not new
        client.subscribe(topic, rh=0, rap=True)
        assert client.payloads(1) == ["kept"]
        client.publish(topic, "kept too", 1, retain=True)
        message = client.next()
        assert (message["payload"], message["retain"]) == ("kept too", True)
        client.call("unsubscribe", topic)
        client.subscribe(topic, rh=1)  # new
        assert client.payloads(1) == ["kept too"]


@pytest.mark.slow
def test_a_will_that_is_delayed(node: Node, broker: Broker, topic: str) -> None:
    properties = {"willDelayInterval": 1, "contentType": "text/plain"}
    will = {"topic": topic, "payload": "gone", "qos": 1, "retain": False, "properties": properties}
    with MqttJs(node, broker, "w") as witness:
        witness.subscribe(topic, 1)
        client = MqttJs(node, broker, "delayed", keep=True, will=will)
        cut_s = time.monotonic()
        client.cut()
        message = witness.next()
        assert time.monotonic() - cut_s > 0.99  # the broker's clock counts milliseconds
        assert (message["payload"], message["qos"]) == ("gone", 1)
        assert message["properties"] == {"contentType": "text/plain"}


def test_a_client_that_asks_for_its_will(node: Node, broker: Broker, topic: str) -> None:
    will = {"topic": topic, "payload": "as I leave", "qos": 0, "retain": False}
    with MqttJs(node, broker, "w") as witness:
        witness.subscribe(topic)
        MqttJs(node, broker, "leaves", will=will).end(reasonCode=0x04)
        assert witness.payloads(1) == ["as I leave"]


def test_reason_codes(node: Node, broker: Broker, topic: str) -> None:
    with MqttJs(node, broker, "codes") as client:
        for qos in (0, 1, 2):
            assert client.subscribe(f"{topic}/{qos}", qos) == qos
        for qos in (1, 2):
            client.publish(topic + "/nobody", "x", qos)
            client.publish(topic + "/1", "x", qos)
        client.call("unsubscribe", topic + "/1")
        client.call("unsubscribe", topic + "/never")
        packets = node.events(client.number, "packetreceive")
        for kind, codes in {"puback": [0x10, 0], "pubcomp": [0, 0]}.items():
            assert [packet["reasonCode"] for packet in packets if packet["cmd"] == kind] == codes
        for kind, granted in {"suback": [[0], [1], [2]], "unsuback": [[0], [0x11]]}.items():
            assert [packet["granted"] for packet in packets if packet["cmd"] == kind] == granted


def test_what_the_broker_does_not_offer_is_told(node: Node) -> None:
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
    with Broker(settings) as broker, MqttJs(node, broker, "told", keep=True) as client:
        told = client.answer["properties"]
        assert (told["maximumQoS"], told["retainAvailable"], told["wildcardSubscriptionAvailable"]) == (1, False, False)
        assert (told["sharedSubscriptionAvailable"], told["subscriptionIdentifiersAvailable"]) == (False, False)
        assert (told["serverKeepAlive"], told["sessionExpiryInterval"]) == (30, 10)
        assert client.subscribe("a", 2) == 1
        for topic_filter, code in (("a/#", 0xA2), ("$share/g/a", 0x9E)):
            client.received("suback")
            with pytest.raises(Refused):
                client.subscribe(topic_filter)
            assert [packet["granted"] for packet in client.received("suback")] == [[code]]


def test_maximum_packet_size_of_the_client(node: Node, broker: Broker, topic: str) -> None:
    with MqttJs(node, broker, "small", properties={"maximumPacketSize": 100}) as client:
        client.subscribe(topic, 2)
        for qos in (0, 1, 2):
            client.publish(topic, "x" * 100, qos)
            client.publish(topic, "fits", qos)
        assert client.payloads(3) == ["fits"] * 3


def test_receive_maximum_of_the_client(node: Node, broker: Broker, topic: str) -> None:
    with MqttJs(node, broker, "narrow", properties={"receiveMaximum": 1}) as client, MqttJs(node, broker, "p") as other:
        client.subscribe(topic, 2)
        for number in range(20):
            other.publish(topic, str(number), 2)
        assert client.payloads(20) == [str(number) for number in range(20)]


def test_the_broker_says_that_it_shuts_down(node: Node) -> None:
    with Broker(Settings(port=0)) as broker:
        client = MqttJs(node, broker, "last")
    assert client.event("disconnect")["reasonCode"] == 0x8B
    client.event("close")
