"""Data types and properties: every property in every packet, as table 2-4 has it, and the values that are refused."""

from __future__ import annotations

import pytest
from codec_helpers import fields
from hypothesis import given
from hypothesis import strategies as st

from swellmq.codec import spec
from swellmq.codec.decode import decode
from swellmq.codec.packets import ABSENT, Packet, Properties, Publish
from swellmq.codec.properties import (
    WILL,
    decode_properties,
    decode_variable_byte_integer,
    encode_binary,
    encode_properties,
    encode_string,
    encode_variable_byte_integer,
    properties_bounds,
    variable_byte_integer_length,
    without,
)
from swellmq.errors import MalformedPacket, PeerError, ProtocolError
from swellmq.limits import USER_PROPERTIES_MAX

USER_PROPERTY_EMPTY = b"\x26\0\0\0\0"

ACKS = "PUBACK PUBREC PUBREL PUBCOMP"
EVERYWHERE = f"WILL CONNECT CONNACK PUBLISH {ACKS} SUBSCRIBE SUBACK UNSUBSCRIBE UNSUBACK DISCONNECT AUTH"

# MQTT 5.0 table 2-4 once more, with a value on the wire: identifier, field, its value, its bytes, where it may stand.
TABLE: list[tuple[int, str, object, bytes, str]] = [
    (0x01, "payload_format_indicator", 1, b"\x01", "PUBLISH WILL"),
    (0x02, "message_expiry_interval", 0xFFFFFFFF, b"\xff\xff\xff\xff", "PUBLISH WILL"),
    (0x03, "content_type", "text", b"\0\x04text", "PUBLISH WILL"),
    (0x08, "response_topic", b"a/b", b"\0\x03a/b", "PUBLISH WILL"),
    (0x09, "correlation_data", b"\xff\0", b"\0\x02\xff\0", "PUBLISH WILL"),
    (0x0B, "subscription_identifiers", [128], b"\x80\x01", "PUBLISH SUBSCRIBE"),
    (0x11, "session_expiry_interval", 0, b"\0\0\0\0", "CONNECT CONNACK DISCONNECT"),
    (0x12, "assigned_client_identifier", "x", b"\0\x01x", "CONNACK"),
    (0x13, "server_keep_alive", 0, b"\0\0", "CONNACK"),
    (0x15, "authentication_method", "", b"\0\0", "CONNECT CONNACK AUTH"),
    (0x16, "authentication_data", b"\0", b"\0\x01\0", "CONNECT CONNACK AUTH"),
    (0x17, "request_problem_information", 0, b"\0", "CONNECT"),
    (0x18, "will_delay_interval", 256, b"\0\0\x01\0", "WILL"),
    (0x19, "request_response_information", 1, b"\x01", "CONNECT"),
    (0x1A, "response_information", "r/", b"\0\x02r/", "CONNACK"),
    (0x1C, "server_reference", "h:1", b"\0\x03h:1", "CONNACK DISCONNECT"),
    (0x1F, "reason_string", "ä", b"\0\x02\xc3\xa4", f"CONNACK {ACKS} SUBACK UNSUBACK DISCONNECT AUTH"),
    (0x21, "receive_maximum", 65535, b"\xff\xff", "CONNECT CONNACK"),
    (0x22, "topic_alias_maximum", 0, b"\0\0", "CONNECT CONNACK"),
    (0x23, "topic_alias", 1, b"\0\x01", "PUBLISH"),
    (0x24, "maximum_qos", 1, b"\x01", "CONNACK"),
    (0x25, "retain_available", 0, b"\0", "CONNACK"),
    (0x26, "user_properties", [("k", "\ufeffv")], b"\0\x01k\0\x04\xef\xbb\xbfv", EVERYWHERE),  # [MQTT-1.5.4-3]
    (0x27, "maximum_packet_size", 1, b"\0\0\0\x01", "CONNECT CONNACK"),
    (0x28, "wildcard_subscription_available", 0, b"\0", "CONNACK"),
    (0x29, "subscription_identifier_available", 0, b"\0", "CONNACK"),
    (0x2A, "shared_subscription_available", 0, b"\0", "CONNACK"),
]
WIRE_OF = {identifier: bytes([identifier]) + wire for identifier, _, _, wire, _ in TABLE}
METHOD = WIRE_OF[0x15]
PACKET_TYPE = {name: spec.PACKET_NAMES.index(name) for name in EVERYWHERE.split() if name != "WILL"} | {"WILL": WILL}


def packet_with(place: str, properties: bytes) -> bytes:
    """A whole packet that carries these encoded properties at this place and is else as small as can be."""
    encoded = encode_variable_byte_integer(len(properties)) + properties
    body = {
        "CONNECT": b"\0\x04MQTT\x05\x02\0\0" + encoded + b"\0\0",
        "WILL": b"\0\x04MQTT\x05\x06\0\0\0\0\0" + encoded + b"\0\x01w\0\0",
        "CONNACK": b"\0\0" + encoded,
        "PUBLISH": b"\0\x01t" + encoded,
        "SUBSCRIBE": b"\0\x01" + encoded + b"\0\x01t\0",
        "SUBACK": b"\0\x01" + encoded + b"\0",
        "UNSUBSCRIBE": b"\0\x01" + encoded + b"\0\x01t",
        "UNSUBACK": b"\0\x01" + encoded + b"\0",
        "DISCONNECT": b"\0" + encoded,
        "AUTH": b"\0" + encoded,
    }.get(place, b"\0\x01\0" + encoded)
    packet_type = spec.CONNECT if place == "WILL" else PACKET_TYPE[place]
    flags = 2 if place in ("PUBREL", "SUBSCRIBE", "UNSUBSCRIBE") else 0
    return bytes([packet_type << 4 | flags]) + encode_variable_byte_integer(len(body)) + body


def decode_whole(data: bytes) -> Packet:
    packet, pos = decode(data, 0, spec.MQTT_5_0, True)
    assert packet is not None and pos == len(data)
    return packet


@pytest.mark.parametrize("place", EVERYWHERE.split())
@pytest.mark.parametrize("row", TABLE, ids=lambda row: row[1])
def test_table_2_4(row: tuple[int, str, object, bytes, str], place: str) -> None:
    identifier, field, value, _, places = row
    wire = WIRE_OF[identifier]
    if (place == "AUTH" and identifier != 0x15) or identifier == 0x16:
        wire += METHOD  # AUTH and authentication data need it
    if place not in places.split():
        with pytest.raises(MalformedPacket) as error:
            decode_whole(packet_with(place, wire))
        assert error.value.reason_code == spec.MALFORMED_PACKET
        return
    decode_whole(packet_with(place, wire))
    properties = decode_properties(wire, 0, len(wire), PACKET_TYPE[place])
    assert getattr(properties, field) == value
    assert fields(decode_again(properties, place)) == fields(properties)
    # And twice, only where that is allowed.
    if field == "user_properties" or (place, field) == ("PUBLISH", "subscription_identifiers"):
        decode_whole(packet_with(place, WIRE_OF[identifier] + wire))
        return
    with pytest.raises(ProtocolError) as twice:
        decode_whole(packet_with(place, WIRE_OF[identifier] + wire))
    assert twice.value.reason_code == spec.PROTOCOL_ERROR


@pytest.mark.parametrize("place", EVERYWHERE.split())
def test_all_properties_of_a_packet_together(place: str) -> None:
    rows = [row for row in TABLE if place in row[4].split()]
    for ordered in (rows, rows[::-1]):
        wire = b"".join(WIRE_OF[row[0]] for row in ordered)
        decode_whole(packet_with(place, wire))
        properties = decode_properties(wire, 0, len(wire), PACKET_TYPE[place])
        assert [getattr(properties, row[1]) for row in rows] == [row[2] for row in rows]
        assert fields(decode_again(properties, place)) == fields(properties)


def decode_again(properties: Properties, place: str) -> Properties:
    encoded = encode_properties(properties)
    start, end = properties_bounds(encoded, 0, len(encoded))
    assert end == len(encoded)
    return decode_properties(encoded, start, end, PACKET_TYPE[place])


@pytest.mark.parametrize("place", EVERYWHERE.split())
@pytest.mark.parametrize("identifier", [0x00, 0x04, 0x0A, 0x2B, 0x3F, 0x40, 0x7F, 0x80, 0xFF])
def test_unknown_property(identifier: int, place: str) -> None:
    with pytest.raises(MalformedPacket) as error:
        decode_whole(packet_with(place, bytes([identifier]) + b"\0\0\0\0"))
    assert error.value.reason_code == spec.MALFORMED_PACKET


@pytest.mark.parametrize(
    ("place", "properties", "reason_code"),
    [
        ("CONNECT", b"\x21\0\0", spec.PROTOCOL_ERROR),
        ("CONNECT", b"\x27\0\0\0\0", spec.PROTOCOL_ERROR),
        ("CONNECT", b"\x17\x02", spec.PROTOCOL_ERROR),
        ("CONNECT", b"\x19\xff", spec.PROTOCOL_ERROR),
        ("CONNECT", b"\x16\0\x01d", spec.PROTOCOL_ERROR),  # data without method
        ("CONNACK", b"\x24\x02", spec.PROTOCOL_ERROR),
        ("CONNACK", b"\x25\x02", spec.PROTOCOL_ERROR),
        ("CONNACK", b"\x28\x02", spec.PROTOCOL_ERROR),
        ("CONNACK", b"\x29\x02", spec.PROTOCOL_ERROR),
        ("CONNACK", b"\x2a\x02", spec.PROTOCOL_ERROR),
        ("PUBLISH", b"\x01\x02", spec.PROTOCOL_ERROR),
        ("PUBLISH", b"\x23\0\0", spec.TOPIC_ALIAS_INVALID),  # [MQTT-3.3.2-8]
        ("PUBLISH", b"\x0b\0", spec.PROTOCOL_ERROR),
        ("PUBLISH", b"\x0b\x80\0", spec.MALFORMED_PACKET),  # [MQTT-1.5.5-1]
        ("PUBLISH", b"\x0b\x80\x80\x80\x80\x01", spec.MALFORMED_PACKET),
        ("PUBLISH", b"\x08\0\x03a/#", spec.PROTOCOL_ERROR),  # [MQTT-3.3.2-14]
        ("PUBLISH", b"\x08\0\0", spec.PROTOCOL_ERROR),  # [MQTT-4.7.3-1]
        ("PUBLISH", b"\x08\0\x01\xff", spec.MALFORMED_PACKET),  # [MQTT-3.3.2-13]
        ("PUBLISH", b"\x03\0\x01\xff", spec.MALFORMED_PACKET),  # [MQTT-3.3.2-19]
        ("PUBLISH", b"\x03\0\x01\0", spec.MALFORMED_PACKET),  # [MQTT-1.5.4-2]
        ("PUBLISH", b"\x03\0\x03\xed\xa0\x80", spec.MALFORMED_PACKET),  # [MQTT-1.5.4-1]
        ("PUBLISH", b"\x26\0\x01\xff\0\0", spec.MALFORMED_PACKET),  # [MQTT-1.5.7-1]
        ("PUBLISH", b"\x26\0\0\0\x01\xff", spec.MALFORMED_PACKET),  # [MQTT-1.5.7-1]
        ("PUBLISH", b"\x26\0\0\0\x01\0", spec.MALFORMED_PACKET),  # [MQTT-1.5.7-1]
        ("WILL", b"\x08\0\x01+", spec.PROTOCOL_ERROR),  # [MQTT-3.3.2-14]
        ("WILL", b"\x01\x02", spec.PROTOCOL_ERROR),
        ("WILL", b"\x26\0\0\0\x01\xff", spec.MALFORMED_PACKET),  # [MQTT-1.5.7-1]
        ("SUBSCRIBE", b"\x0b\0", spec.PROTOCOL_ERROR),
        ("PUBACK", b"\x1f\0\x01\0", spec.MALFORMED_PACKET),  # [MQTT-1.5.4-2]
        ("PUBACK", b"\x1f\0\x02\xc3\x28", spec.MALFORMED_PACKET),  # [MQTT-1.5.4-1]
        ("PUBACK", b"\x26\0\x01\0\0\0", spec.MALFORMED_PACKET),  # [MQTT-1.5.7-1]
        ("AUTH", b"\x1f\0\x01x", spec.PROTOCOL_ERROR),  # no method
    ],
)
def test_refused_value(place: str, properties: bytes, reason_code: int) -> None:
    with pytest.raises(PeerError) as error:
        decode_whole(packet_with(place, properties))
    assert error.value.reason_code == reason_code


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row[1])
def test_cut_off_property(row: tuple[int, str, object, bytes, str]) -> None:
    identifier, _, _, _, places = row
    wire = WIRE_OF[identifier]
    for place in places.split():
        for length in range(1, len(wire)):
            with pytest.raises(MalformedPacket) as error:
                decode_whole(packet_with(place, wire[:length]))
            assert error.value.reason_code == spec.MALFORMED_PACKET


def test_properties_longer_than_the_packet() -> None:
    with pytest.raises(MalformedPacket):
        decode_whole(b"\x30\x06\0\x01t\x05\x01\x01")


def test_property_length_may_not_be_left_out() -> None:
    with pytest.raises(MalformedPacket):
        decode_whole(b"\x30\x03\0\x01t")  # [MQTT-2.2.2-1]
    assert encode_properties(None) == b"\0"  # [MQTT-2.2.2-1]
    assert encode_properties(Properties()) == b"\0"


def test_publish_keeps_the_properties_that_travel() -> None:
    user = b"\x26\0\x01k\0\x01v"
    topics = b"\x08\0\x01r\x03\0\x01c"
    travelling = b"\x01\x01" + topics + user + b"\x09\0\x01c" + user
    properties = b"\x01\x01\x23\0\x05" + topics + user + b"\x02\0\0\0\x3c\x09\0\x01c" + user
    publish = decode_whole(packet_with("PUBLISH", properties))
    assert isinstance(publish, Publish)
    # [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-18] [MQTT-3.3.2-20]
    assert publish.properties == travelling
    assert publish.topic_alias == 5
    assert publish.message_expiry_interval == 60
    plain = decode_whole(packet_with("PUBLISH", travelling))
    assert isinstance(plain, Publish)
    assert (plain.properties, plain.topic_alias, plain.message_expiry_interval) == (travelling, 0, ABSENT)


def test_publish_from_a_client_has_no_subscription_identifier() -> None:
    data = packet_with("PUBLISH", b"\x0b\x05")
    with pytest.raises(ProtocolError) as error:
        decode(data, 0, spec.MQTT_5_0)  # [MQTT-3.3.4-6]
    assert error.value.reason_code == spec.PROTOCOL_ERROR


BOUNDS = [  # table 1-1
    (0, b"\0"),
    (127, b"\x7f"),
    (128, b"\x80\x01"),
    (16_383, b"\xff\x7f"),
    (16_384, b"\x80\x80\x01"),
    (2_097_151, b"\xff\xff\x7f"),
    (2_097_152, b"\x80\x80\x80\x01"),
    (268_435_455, b"\xff\xff\xff\x7f"),
]


@pytest.mark.parametrize(("value", "wire"), BOUNDS)
def test_variable_byte_integer(value: int, wire: bytes) -> None:
    assert encode_variable_byte_integer(value) == wire  # [MQTT-1.5.5-1]
    assert decode_variable_byte_integer(wire + b"\xff", 0, len(wire)) == value
    assert variable_byte_integer_length(value) == len(wire)
    for length in range(len(wire)):
        with pytest.raises(MalformedPacket):
            decode_variable_byte_integer(wire, 0, length)


@pytest.mark.parametrize("wire", [b"\x80\0", b"\xff\x80\0", b"\x80\x80\x80\0", b"\x80\x80\x80\x80\x01", b"\xff" * 5])
def test_variable_byte_integer_refused(wire: bytes) -> None:
    with pytest.raises(MalformedPacket):
        decode_variable_byte_integer(wire, 0, len(wire))  # [MQTT-1.5.5-1]


@given(st.integers(0, spec.REMAINING_LENGTH_MAX))
def test_variable_byte_integer_round_trip(value: int) -> None:
    wire = encode_variable_byte_integer(value)
    assert decode_variable_byte_integer(wire, 0, len(wire)) == value


def test_encoders_refuse_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="variable byte integer"):
        encode_variable_byte_integer(spec.REMAINING_LENGTH_MAX + 1)
    with pytest.raises(ValueError, match="too long"):
        encode_binary(b"x" * 65_536)  # [MQTT-4.7.3-3]
    with pytest.raises(ValueError, match="surrogates"):
        encode_string("\ud800")  # [MQTT-1.5.4-1]
    with pytest.raises(ValueError, match="U\\+0000"):
        encode_string("a\0")  # [MQTT-1.5.4-2]
    assert encode_string("x" * 65_535)[:3] == b"\xff\xffx"
    assert encode_string("\ufeffa") == b"\0\x04\xef\xbb\xbfa"  # [MQTT-1.5.4-3]


def test_without_some() -> None:
    properties = b"\x26\0\1a\0\1b\x02\0\0\0\5\x03\0\1t\x18\0\0\0\1\x01\1"
    assert without(properties, (2, 24)) == b"\x26\0\1a\0\1b\x03\0\1t\x01\1"
    assert without(b"", (2,)) == b""


@pytest.mark.parametrize("first", [0x10, 0x30, 0x82])
def test_user_properties_have_a_bound(first: int) -> None:
    def packet(count: int) -> bytes:
        user_properties = USER_PROPERTY_EMPTY * count
        properties = encode_variable_byte_integer(len(user_properties)) + user_properties
        if first == 0x10:
            body = b"\0\4MQTT\5\2\0\0" + properties + b"\0\1a"
        else:
            body = b"\0\1t" + properties if first == 0x30 else b"\0\1" + properties + b"\0\1t\0"
        return bytes([first]) + encode_variable_byte_integer(len(body)) + body

    assert decode(packet(USER_PROPERTIES_MAX), 0, 5)[0] is not None
    with pytest.raises(ProtocolError) as caught:
        decode(packet(USER_PROPERTIES_MAX + 1), 0, 5)
    assert caught.value.reason_code == spec.QUOTA_EXCEEDED
