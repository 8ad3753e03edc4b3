"""Round trips of every packet in every version, and the promise that no bytes at all lead to any other exception."""

from __future__ import annotations

from typing import Any

import pytest
from codec_helpers import WIRE, fields
from hypothesis import given, settings
from hypothesis import strategies as st

from swellmq.codec import spec
from swellmq.codec.decode import check_flags, decode, packet_length
from swellmq.codec.encode import encode, encode_hop_properties
from swellmq.codec.packets import (
    ABSENT,
    Ack,
    Auth,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Ping,
    Properties,
    Publish,
    Suback,
    Subscribe,
    TopicRequest,
    Unsubscribe,
    Will,
)
from swellmq.codec.properties import encode_properties_body
from swellmq.errors import MalformedPacket, PeerError, ProtocolError

VERSIONS = [spec.MQTT_3_1, spec.MQTT_3_1_1, spec.MQTT_5_0]
versions = st.sampled_from(VERSIONS)

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
names = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn"]), max_size=12)
blobs = st.binary(max_size=12)
levels = st.text(st.characters(exclude_characters="+#/", exclude_categories=["Cs", "Cc", "Cn"]), max_size=4)
topics = st.lists(levels, min_size=1, max_size=4).map("/".join).filter(len).map(str.encode)
filters = topics | st.sampled_from([b"#", b"+/a", b"a/+/#", b"$share/g/a/+", b"$share/g/#"])
identifiers = st.integers(1, 65_535)
bits = st.integers(0, 1)
two_bytes = st.integers(0, 65_535)
two_bytes_1 = st.integers(1, 65_535)
four_bytes = st.integers(0, 0xFFFFFFFF)
four_bytes_1 = st.integers(1, 0xFFFFFFFF)
subscription_identifiers = st.integers(1, spec.SUBSCRIPTION_IDENTIFIER_MAX)

MESSAGE = {
    "payload_format_indicator": bits,
    "content_type": texts,
    "response_topic": topics,
    "correlation_data": blobs,
}
REASON = {"reason_string": texts}
AUTHENTICATION = {"authentication_method": texts, "authentication_data": blobs}
FIELDS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "connect": AUTHENTICATION
    | {
        "session_expiry_interval": four_bytes,
        "receive_maximum": two_bytes_1,
        "maximum_packet_size": four_bytes_1,
        "topic_alias_maximum": two_bytes,
        "request_response_information": bits,
        "request_problem_information": bits,
    },
    "connack": AUTHENTICATION
    | REASON
    | {
        "session_expiry_interval": four_bytes,
        "receive_maximum": two_bytes_1,
        "maximum_packet_size": four_bytes_1,
        "topic_alias_maximum": two_bytes,
        "maximum_qos": bits,
        "retain_available": bits,
        "assigned_client_identifier": texts,
        "wildcard_subscription_available": bits,
        "subscription_identifier_available": bits,
        "shared_subscription_available": bits,
        "server_keep_alive": two_bytes,
        "response_information": texts,
        "server_reference": texts,
    },
    "subscribe": {"subscription_identifiers": subscription_identifiers.map(lambda number: [number])},
    "unsubscribe": {},
    "ack": REASON,
    "disconnect": REASON | {"session_expiry_interval": four_bytes, "server_reference": texts},
    "auth": REASON | AUTHENTICATION,
    "message": MESSAGE,
}


@st.composite
def properties(draw: st.DrawFn, place: str) -> Properties | None:
    """Properties of one kind of packet; None where none was drawn, as the decoder has it."""
    chosen = draw(st.fixed_dictionaries({}, optional=FIELDS[place]))
    user_properties = draw(st.lists(st.tuples(texts, texts), max_size=3))
    if "authentication_data" in chosen:
        chosen.setdefault("authentication_method", "method")
    if not chosen and not user_properties:
        return None
    result = Properties()
    for name, value in chosen.items():
        setattr(result, name, value)
    result.user_properties = user_properties or None
    return result


def properties_in(version: int, place: str) -> st.SearchStrategy[Properties | None]:
    return properties(place) if version == spec.MQTT_5_0 else st.none()


@st.composite
def publishes(draw: st.DrawFn, version: int) -> Publish:
    qos = draw(st.integers(0, 2))
    publish = Publish(draw(topics), draw(st.binary(max_size=200)), qos, draw(st.booleans()))
    if qos:
        publish.packet_identifier = draw(identifiers)
        publish.dup = draw(st.booleans())
    if version == spec.MQTT_5_0:
        travelling = draw(properties("message"))
        numbers = draw(st.lists(subscription_identifiers, max_size=2))
        publish.properties = encode_hop_properties(ABSENT, 0, numbers)
        if travelling is not None:
            publish.properties += encode_properties_body(travelling)
        publish.message_expiry_interval = draw(st.just(ABSENT) | four_bytes)
        publish.topic_alias = draw(two_bytes)
        if publish.topic_alias and draw(st.booleans()):
            publish.topic_name = b""
    return publish


@st.composite
def connects(draw: st.DrawFn, version: int) -> Connect:
    connect = Connect()
    connect.protocol_version = version
    connect.bridge = version != 5 and draw(st.booleans())
    connect.clean_start = draw(st.booleans())
    connect.keep_alive = draw(two_bytes)
    connect.client_id = draw(names)
    connect.username = draw(st.none() | names)
    if connect.username is not None or version == spec.MQTT_5_0:
        connect.password = draw(st.none() | blobs)
    connect.properties = draw(properties_in(version, "connect"))
    if draw(st.booleans()):
        publish = Publish(draw(topics), draw(blobs), draw(st.integers(0, 2)), draw(st.booleans()))
        connect.will = Will(publish, 0)
        if version == spec.MQTT_5_0:
            publish.message_expiry_interval = draw(st.just(ABSENT) | four_bytes)
            connect.will.will_delay_interval = draw(four_bytes)
            travelling = draw(properties("message"))
            publish.properties = b"" if travelling is None else encode_properties_body(travelling)
    return connect


@st.composite
def connacks(draw: st.DrawFn, version: int) -> Connack:
    codes = [0, 0x80, 0x87, 0x9F] if version == spec.MQTT_5_0 else [0, 1, 5]
    session_present = version != spec.MQTT_3_1 and draw(st.booleans())
    return Connack(session_present, draw(st.sampled_from(codes)), draw(properties_in(version, "connack")))


@st.composite
def acks(draw: st.DrawFn, version: int) -> Ack:
    packet_type = draw(st.integers(spec.PUBACK, spec.PUBCOMP))
    code = 0x80 if packet_type in (spec.PUBACK, spec.PUBREC) else 0x92
    reason_code = draw(st.sampled_from([0, code])) if version == spec.MQTT_5_0 else 0
    return Ack(packet_type, draw(identifiers), reason_code, draw(properties_in(version, "ack")))


@st.composite
def subscribes(draw: st.DrawFn, version: int) -> Subscribe:
    requests = []
    for topic_filter in draw(st.lists(filters, min_size=1, max_size=3)):
        request = TopicRequest(topic_filter, draw(st.integers(0, 2)))
        if version == spec.MQTT_5_0:
            request.no_local = not topic_filter.startswith(b"$share/") and draw(st.booleans())
            request.retain_as_published = draw(st.booleans())
            request.retain_handling = draw(st.integers(0, 2))
        requests.append(request)
    return Subscribe(draw(identifiers), requests, draw(properties_in(version, "subscribe")))


@st.composite
def unsubscribes(draw: st.DrawFn, version: int) -> Unsubscribe:
    topic_filters = draw(st.lists(filters, min_size=1, max_size=3))
    return Unsubscribe(draw(identifiers), topic_filters, draw(properties_in(version, "unsubscribe")))


@st.composite
def subacks(draw: st.DrawFn, version: int) -> Suback:
    packet_type = draw(st.sampled_from([spec.SUBACK, spec.UNSUBACK]))
    codes = [0, 1, 2, 0x80] if packet_type == spec.SUBACK else [0, 0x11, 0x80]
    reason_codes = bytes(draw(st.lists(st.sampled_from(codes), min_size=1, max_size=4)))
    if packet_type == spec.UNSUBACK and version != spec.MQTT_5_0:
        reason_codes = b""
    return Suback(packet_type, draw(identifiers), reason_codes, draw(properties_in(version, "ack")))


@st.composite
def disconnects(draw: st.DrawFn, version: int) -> Disconnect:
    reason_code = draw(st.sampled_from([0, 4, 0x8E])) if version == spec.MQTT_5_0 else 0
    return Disconnect(reason_code, draw(properties_in(version, "disconnect")))


@st.composite
def auths(draw: st.DrawFn) -> Auth:
    drawn = draw(properties("auth"))
    if drawn is None:
        return Auth()
    if drawn.authentication_method is None:
        drawn.authentication_method = "method"
    return Auth(draw(st.sampled_from([0, 0x18, 0x19])), drawn)


def packets(version: int) -> st.SearchStrategy[Packet]:
    kinds: list[st.SearchStrategy[Packet]] = [
        publishes(version),
        connects(version),
        connacks(version),
        acks(version),
        subscribes(version),
        unsubscribes(version),
        subacks(version),
        disconnects(version),
        st.sampled_from([spec.PINGREQ, spec.PINGRESP]).map(Ping),
    ]
    if version == spec.MQTT_5_0:
        kinds.append(auths())
    return st.one_of(kinds)


@pytest.mark.parametrize("version", VERSIONS)
@settings(max_examples=300, deadline=None)
@given(st.data())
def test_round_trip(version: int, data: st.DataObject) -> None:
    packet = data.draw(packets(version))
    wire = encode(packet, version)
    check_flags(wire[0])
    assert packet_length(wire, 0, len(wire)) == len(wire)
    decoded, pos = decode(wire, 0, version, True)
    assert decoded is not None and pos == len(wire)
    assert fields(decoded) == fields(packet)
    assert encode(decoded, version) == wire
    for length in {0, 1, len(wire) // 2, len(wire) - 1}:
        assert decode(wire[:length], 0, version, True)[1] == 0


def check_refusal(error: PeerError) -> None:
    assert error.reason_code >= 0x80
    assert error.phrase


def outcome(data: bytes, version: int, from_server: bool) -> Packet | None:
    """What `decode` makes of any bytes; whatever it takes must encode and decode to the same again."""
    try:
        packet, pos = decode(data, 0, version, from_server)
    except (MalformedPacket, ProtocolError) as error:
        return check_refusal(error)
    if packet is None:
        assert pos == 0
        return None
    assert 2 <= pos <= len(data)
    again, _ = decode(encode(packet, version), 0, version, from_server)
    assert fields(again) == fields(packet)
    return packet


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=60), versions, st.booleans())
def test_arbitrary_bytes(data: bytes, version: int, from_server: bool) -> None:
    outcome(data, version, from_server)


@settings(max_examples=500, deadline=None)
@given(st.integers(0, 255), st.binary(max_size=60), versions, st.booleans())
def test_arbitrary_bodies(first: int, body: bytes, version: int, from_server: bool) -> None:
    outcome(bytes([first, len(body)]) + body, version, from_server)


@settings(max_examples=300, deadline=None)
@given(st.data(), versions)
def test_mutations(data: st.DataObject, version: int) -> None:
    wire = bytearray(encode(data.draw(packets(version)), version))
    for _ in range(data.draw(st.integers(1, 3))):
        wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.integers(0, 255))
    outcome(bytes(wire), version, True)


@settings(max_examples=300, deadline=None)
@given(st.data(), versions)
def test_truncations(data: st.DataObject, version: int) -> None:
    """A body cut short or with bytes added, under a remaining length that says so."""
    wire = encode(data.draw(packets(version)), version)
    start = 2 if wire[1] < 0x80 else 3
    body = wire[start : data.draw(st.integers(start, len(wire)))] + data.draw(st.binary(max_size=3))
    if len(body) < 0x80:
        outcome(bytes([wire[0], len(body)]) + body, version, True)


@pytest.mark.parametrize(("name", "version", "from_server", "data"), WIRE, ids=[row[0] for row in WIRE])
def test_every_single_byte_changed(name: str, version: int, from_server: bool, data: bytes) -> None:
    for index in range(min(len(data), 64)):
        for value in (0x00, 0x01, 0x7F, 0x80, 0xFF, data[index] ^ 1, data[index] ^ 0x80):
            outcome(data[:index] + bytes([value]) + data[index + 1 :], version, from_server)
