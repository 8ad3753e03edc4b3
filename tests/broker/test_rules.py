"""What one listener's clients are held to, and the limits that a mosquitto.conf can set."""

from __future__ import annotations

import pytest
from harness import MemoryBroker

from swellmq.broker.rules import Rules
from swellmq.codec import spec
from swellmq.codec.packets import Ack, Publish
from swellmq.codec.spec import PUBACK
from swellmq.limits import Limits

VERSIONS = (3, 4, 5)


def two_listeners() -> tuple[MemoryBroker, Rules]:
    """A broker with rules for its first listener, whose clients the harness opens, and others for the second."""
    broker = MemoryBroker()
    rules = Rules()
    broker.core.rules = [rules, Rules()]
    return broker, rules


@pytest.mark.parametrize("version", VERSIONS)
def test_versions_of_a_listener(version: int) -> None:
    broker, rules = two_listeners()
    rules.protocol_versions = bytes(one for one in VERSIONS if one != version)
    client = broker.connect("a", version=version)
    assert client.connack is not None and client.closed
    assert client.connack.reason_code == (spec.UNSUPPORTED_PROTOCOL_VERSION if version == 5 else 1)


def test_bounds_of_a_listener() -> None:
    broker, rules = two_listeners()
    rules.maximum_qos = 1
    rules.topic_alias_maximum = 3
    client = broker.connect("a", version=5)
    assert client.connack is not None and client.connack.properties is not None
    assert client.connack.properties.maximum_qos == 1
    assert client.connack.properties.topic_alias_maximum == 3
    assert client.subscribe("t", qos=2) == [1]
    client.publish("t", qos=2)
    assert client.closed


def test_bounds_of_a_listener_do_not_lift_those_of_all() -> None:
    limits = Limits()
    limits.maximum_qos = 0
    broker = MemoryBroker(limits)
    broker.core.rules = [Rules()]
    client = broker.connect("a", version=5)
    assert client.connack is not None and client.connack.properties is not None
    assert client.connack.properties.maximum_qos == 0


def test_aliases_towards_the_clients_of_a_listener() -> None:
    broker, rules = two_listeners()
    rules.topic_aliases_out = 0
    client = broker.connect("a", version=5, topic_alias_maximum=10)
    client.subscribe("a long topic name")
    broker.inject("a long topic name")
    broker.inject("a long topic name")
    assert [publish.topic_alias for publish in client.publishes()] == [0, 0]


def test_user_names_as_client_identifiers() -> None:
    broker, rules = two_listeners()
    rules.username_as_client_id = True
    broker.connect("a", username="alice")
    assert broker.core.session("alice") is not None and broker.core.session("a") is None
    refused = broker.connect("a")
    assert refused.connack is not None and refused.connack.reason_code == spec.BAD_USER_NAME_OR_PASSWORD_3


def test_assigned_identifiers() -> None:
    broker, rules = two_listeners()
    broker.core.assigned_stem = "01234567-89ab-4cde-8f01"
    broker.connect("", version=5)
    rules.client_id_prefix = "dev-"
    broker.connect("", version=5)
    assert sorted(session.client_id for session in broker.core.sessions.values()) == [
        "auto-01234567-89ab-4cde-8f01-000000000001",
        "dev-01234567-89ab-4cde-8f01-000000000002",
    ]


@pytest.mark.parametrize(("version", "code"), [(4, spec.IDENTIFIER_REJECTED), (5, spec.CLIENT_IDENTIFIER_NOT_VALID)])
def test_no_identifiers_are_assigned(version: int, code: int) -> None:
    limits = Limits()
    limits.assign_client_ids = False
    client = MemoryBroker(limits).connect("", version=version)
    assert client.closed and client.connack is not None and client.connack.reason_code == code


def test_as_many_sessions_as_there_may_be() -> None:
    limits = Limits()
    limits.sessions = 2
    broker = MemoryBroker(limits)
    first = broker.connect("a", version=5, clean_start=False, session_expiry_interval=600)
    broker.connect("b")
    first.drop()
    third = broker.connect("c", version=5)
    assert third.closed and third.connack is not None and third.connack.reason_code == spec.SERVER_BUSY
    assert not broker.connect("a", version=5, clean_start=False).closed  # its session is there already


@pytest.mark.parametrize("version", VERSIONS)
def test_a_payload_that_is_too_large(version: int) -> None:
    limits = Limits()
    limits.payload_bytes = 3
    broker = MemoryBroker(limits)
    client = broker.connect("a", version=version)
    client.subscribe("t", qos=1)
    client.publish("t", b"four")
    client.publish("t", b"four", qos=1, identifier=7)
    answer = client.receive()[0]
    assert isinstance(answer, Ack)
    assert (answer.packet_type, answer.reason_code) == (PUBACK, spec.QUOTA_EXCEEDED if version == 5 else 0)
    client.publish("t", b"ok")
    client.expect(Publish(b"t", b"ok", 0, False))


def test_the_qos_of_the_subscription() -> None:
    limits = Limits()
    limits.upgrade_outgoing_qos = True
    broker = MemoryBroker(limits)
    broker.inject("t", b"kept", retain=True)
    client = broker.connect("a")
    client.subscribe("t", qos=1)
    broker.connect("b").publish("t", b"new")
    assert [(publish.payload, publish.qos) for publish in client.publishes()] == [(b"kept", 1), (b"new", 1)]


@pytest.mark.parametrize("changed", ["rights", "limits"])
def test_what_must_be_looked_at_one_by_one_stays_so_after_a_change(changed: str) -> None:
    limits = Limits()
    limits.upgrade_outgoing_qos = changed == "rights"
    broker = MemoryBroker(limits)
    subscriber, publisher = broker.connect("a"), broker.connect("b")
    subscriber.subscribe("t", qos=1)
    publisher.publish("t", b"first")  # from the second on the topic is known, and runs would take it
    if changed == "rights":
        broker.engine.review(None)
    else:
        limits = Limits()
        limits.payload_bytes = 5
        broker.engine.take_limits(limits)
    publisher.send(*[Publish(b"t", b"second", 0, False) for _ in range(3)])
    got = [(publish.payload, publish.qos) for publish in subscriber.publishes()]
    assert got == ([(b"first", 1)] + [(b"second", 1)] * 3 if changed == "rights" else [(b"first", 0)])


@pytest.mark.parametrize(
    ("topic", "code"),
    [
        ("$SYS/broker/uptime", spec.NOT_AUTHORIZED),
        ("$SYS/broker/connection/b", spec.NOT_AUTHORIZED),
        ("$share/g/t", spec.NOT_AUTHORIZED),
        ("$CONTROL/x/v1", spec.NOT_AUTHORIZED),
        ("$SYS/broker/connection/b/state", spec.NO_MATCHING_SUBSCRIBERS),
        ("$other", spec.NO_MATCHING_SUBSCRIBERS),
    ],
)
def test_topics_that_are_closed_to_clients(topic: str, code: int) -> None:
    client = MemoryBroker().connect("a", version=5)
    client.publish(topic, qos=1, identifier=3)
    packets = client.receive()
    assert isinstance(packets[0], Ack) and packets[0].reason_code == code


def test_faults_get_no_words_where_mosquitto_has_none() -> None:
    limits = Limits()
    limits.like_mosquitto = True
    client = MemoryBroker(limits).connect("a", version=5, request_problem_information=1)
    client.publish("$SYS/x", qos=1, identifier=3)
    client.expect(Ack(PUBACK, 3, spec.NOT_AUTHORIZED))


@pytest.mark.parametrize(("keep_alive", "code"), [(0, 2), (61, 2), (60, 0)])
def test_a_keep_alive_above_the_longest(keep_alive: int, code: int) -> None:
    limits = Limits()
    limits.keep_alive_max_s = 60
    limits.like_mosquitto = True
    client = MemoryBroker(limits).connect("a", keep_alive=keep_alive)
    assert client.connack is not None and client.connack.reason_code == code


def test_identifiers_that_only_one_listener_assigns() -> None:
    broker, rules = two_listeners()
    rules.assign_client_ids = False
    client = broker.connect("", version=5)
    assert client.connack is not None and client.connack.reason_code == spec.CLIENT_IDENTIFIER_NOT_VALID


@pytest.mark.parametrize(("version", "code"), [(4, 5), (5, spec.NOT_AUTHORIZED)])
def test_identifiers_that_begin_otherwise(version: int, code: int) -> None:
    limits = Limits()
    limits.client_ids_begin = "dev-"
    broker = MemoryBroker(limits)
    client = broker.connect("a", version=version)
    assert client.closed and client.connack is not None and client.connack.reason_code == code
    assert not broker.connect("dev-a", version=version).closed


def test_bytes_in_flight_are_bounded() -> None:
    limits = Limits()
    limits.inflight_bytes = 10
    broker = MemoryBroker(limits)
    client = broker.connect("a", version=5, clean_start=False, session_expiry_interval=600)
    client.subscribe("t", qos=2)
    for payload in (b"12345", b"67890", b"x", b"y" * 50, b"z"):
        broker.inject("t", payload, qos=2 if payload == b"67890" else 1)
    first, second = client.publishes()  # 10 bytes: no more until some have arrived
    assert (first.payload, second.payload) == (b"12345", b"67890")
    client.ack(spec.PUBACK, int(first.packet_identifier))
    [third, fourth] = client.publishes()
    assert (third.payload, fourth.payload) == (b"x", b"y" * 50)  # one may be larger than the bound
    client.drop()
    client = broker.connect("a", version=5, clean_start=False, session_expiry_interval=600)
    assert client.payloads() == [b"67890", b"x", b"y" * 50]  # a new connection, and the same bound
    client.ack(spec.PUBREC, int(second.packet_identifier))
    client.receive()
    client.ack(spec.PUBCOMP, int(second.packet_identifier))
    client.ack(spec.PUBACK, int(third.packet_identifier))
    assert client.payloads() == []
    client.ack(spec.PUBACK, int(fourth.packet_identifier))
    [last] = client.publishes()
    client.send(b"\x40\x02" + int(last.packet_identifier).to_bytes(2, "big"))
    assert broker.core.flying == {broker.session("a"): 0}
    client.disconnect(session_expiry_interval=0)
    assert broker.core.flying == {}
    broker.check()
