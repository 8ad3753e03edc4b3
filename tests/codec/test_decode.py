"""Decoding: every packet whole, byte by byte and with bytes behind it; what is refused and with which reason code."""

from __future__ import annotations

import pytest
from codec_helpers import WIRE, fields

from swellmq.codec import spec
from swellmq.codec.decode import (
    check_flags,
    decode,
    decode_ack,
    decode_connect,
    decode_publish,
    header_length,
    packet_length,
)
from swellmq.codec.encode import packet_head
from swellmq.codec.packets import (
    ABSENT,
    Ack,
    Auth,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Properties,
    Publish,
    Suback,
    Subscribe,
    Unsubscribe,
)
from swellmq.errors import MalformedPacket, PeerError, ProtocolError

BY_NAME = {name: (data, version, from_server) for name, version, from_server, data in WIRE}
MALFORMED = (MalformedPacket, spec.MALFORMED_PACKET)
PROTOCOL = (ProtocolError, spec.PROTOCOL_ERROR)


def example(name: str) -> Packet:
    data, version, from_server = BY_NAME[name]
    packet, pos = decode(data, 0, version, from_server)
    assert packet is not None and pos == len(data)
    return packet


@pytest.mark.parametrize(("name", "version", "from_server", "data"), WIRE, ids=[row[0] for row in WIRE])
def test_whole_byte_by_byte_and_with_trailing_bytes(name: str, version: int, from_server: bool, data: bytes) -> None:
    packet, pos = decode(data, 0, version, from_server)
    assert packet is not None and pos == len(data)
    assert spec.PACKET_NAMES[data[0] >> 4] == name.split()[0]
    for length in range(len(data)) if len(data) < 200 else (0, 1, 2, 3, 4, len(data) - 1):
        assert decode(data[:length], 0, version, from_server) == (None, 0)
    trailing = b"\xff\xff" + data + b"\x00\xff\xff\xff\xff\xff"
    again, pos = decode(trailing, 2, version, from_server)
    assert pos == 2 + len(data)
    assert fields(again) == fields(packet)


@pytest.mark.parametrize(("name", "version", "from_server", "data"), WIRE, ids=[row[0] for row in WIRE])
def test_a_body_one_byte_short_is_no_packet_or_another(name: str, version: int, from_server: bool, data: bytes) -> None:
    """A remaining length that ends too early gives an error, or a packet where the last field is open-ended."""
    start = header_length(len(data))
    for end in range(start, len(data)) if len(data) < 200 else ():
        cut = packet_head(data[0], end - start) + data[start:end]
        try:
            packet, pos = decode(cut, 0, version, from_server)
        except PeerError:
            continue
        assert packet is not None and pos == len(cut)


@pytest.mark.parametrize(
    ("head", "total", "header"),
    [
        (b"\xc0\x00", 2, 2),
        (b"\x30\x7f", 129, 2),
        (b"\x30\x80\x01", 131, 3),
        (b"\x30\xff\x7f", 16_386, 3),
        (b"\x30\x80\x80\x01", 16_388, 4),
        (b"\x30\xff\xff\x7f", 2_097_155, 4),
        (b"\x30\x80\x80\x80\x01", 2_097_157, 5),
        (b"\x30\xff\xff\xff\x7f", 268_435_460, 5),
    ],
)
def test_packet_length(head: bytes, total: int, header: int) -> None:
    data = b"\xff" + head + b"\xff"
    assert packet_length(data, 1, len(data)) == total
    assert header_length(total) == header
    for end in range(1, 1 + len(head)):
        assert packet_length(data, 1, end) == 0


@pytest.mark.parametrize("tail", [b"\x80\0", b"\xff\x80\0", b"\x80\x80\x80\0", b"\xff\xff\xff\xff", b"\x80" * 6])
def test_packet_length_refused(tail: bytes) -> None:
    with pytest.raises(MalformedPacket):
        packet_length(b"\x30" + tail, 0, 1 + len(tail))  # [MQTT-1.5.5-1]


def test_reserved_flags() -> None:
    # [MQTT-2.1.3-1] [MQTT311-2.2.2-2] [MQTT-3.6.1-1] [MQTT-3.8.1-1] [MQTT-3.10.1-1] [MQTT-3.14.1-1] [MQTT-3.15.1-1]
    for first in range(256):
        packet_type = first >> 4
        expected = 2 if packet_type in (spec.PUBREL, spec.SUBSCRIBE, spec.UNSUBSCRIBE) else 0
        if packet_type == spec.PUBLISH or (packet_type and first & 15 == expected):
            check_flags(first)
            check_flags(first, spec.MQTT_3_1)
            continue
        with pytest.raises(MalformedPacket):
            check_flags(first)
        if packet_type:
            check_flags(first, spec.MQTT_3_1)  # 3.1 sets DUP where it sends again
    with pytest.raises(MalformedPacket):
        check_flags(0, spec.MQTT_3_1)


def body(data: bytes) -> tuple[bytes, int, int]:
    """The arguments that the decoders of one packet take."""
    return data, header_length(len(data)), len(data)


def test_connect() -> None:
    connect = example("CONNECT 3.1.1 with will, user name and password")
    assert isinstance(connect, Connect)
    assert (connect.protocol_version, connect.bridge, connect.clean_start, connect.keep_alive) == (4, False, True, 10)
    assert (connect.client_id, connect.username, connect.password) == ("a", "user", b"pass")
    assert connect.will is not None and connect.will.will_delay_interval == 0
    will = connect.will.publish
    assert (will.topic_name, will.payload, will.qos, will.retain) == (b"w/t", b"bye", 2, True)
    assert connect.properties is None


def test_connect_5_0() -> None:
    connect = example("CONNECT 5.0 with properties, will, password")
    assert isinstance(connect, Connect)
    assert (connect.username, connect.password) == (None, b"secret")
    assert connect.properties is not None
    assert (connect.properties.session_expiry_interval, connect.properties.receive_maximum) == (10, 5)
    assert connect.will is not None and connect.will.will_delay_interval == 5
    will = connect.will.publish
    assert (will.message_expiry_interval, will.properties) == (7, b"\x03\0\x04text")
    assert (will.qos, will.retain) == (1, True)
    plain = example("CONNECT 5.0")
    assert isinstance(plain, Connect)
    assert (plain.clean_start, plain.properties, plain.will) == (False, None, None)


def test_will_keeps_the_order_of_user_properties() -> None:
    user = b"\x26\0\x01b\0\x011" + b"\x26\0\x01a\0\x012" + b"\x26\0\x01b\0\x013"
    data = b"\0\x04MQTT\x05\x06\0\0\0\0\0" + bytes([len(user)]) + user + b"\0\x01w\0\0"
    connect = decode_connect(data, 0, len(data))
    assert connect.will is not None and connect.will.publish.properties == user  # [MQTT-3.1.3-10]


def test_connect_3_1() -> None:
    connect = example("CONNECT 3.1")
    assert isinstance(connect, Connect)
    assert (connect.protocol_version, connect.client_id, connect.keep_alive) == (3, "abc", 60)
    start = b"\0\x06MQIsdp\x03"
    # The flags say user name and password, the remaining length says less: it takes precedence.
    for flags, tail, username, password in [
        (b"\xc2", b"", None, None),
        (b"\xc2", b"\0\x01u", "u", None),
        (b"\xc2", b"\0\x01u\0\x01p", "u", b"p"),
        (b"\x3b", b"", None, None),  # will flags without a will and the reserved bit are disregarded
    ]:
        data = start + flags + b"\0\0\0\x01c" + tail
        connect = decode_connect(data, 0, len(data))
        assert (connect.username, connect.password, connect.will) == (username, password, None)
    cut = start + b"\x82\0\0\0\x01c\0"
    with pytest.raises(MalformedPacket):
        decode_connect(cut, 0, len(cut))


@pytest.mark.parametrize(
    ("protocol", "version", "bridge"),
    [
        (b"\0\x06MQIsdp\x03", 3, False),
        (b"\0\x06MQIsdp\x83", 3, True),
        (b"\0\x04MQTT\x04", 4, False),
        (b"\0\x04MQTT\x84", 4, True),
        (b"\0\x04MQTT\x05", 5, False),
    ],
)
def test_protocol_version(protocol: bytes, version: int, bridge: bool) -> None:
    data = protocol + b"\x02\0\0" + (b"\0" if version == 5 else b"") + b"\0\0"
    connect = decode_connect(data, 0, len(data))
    assert (connect.protocol_version, connect.bridge) == (version, bridge)


@pytest.mark.parametrize(
    "protocol",
    [
        b"\0\x04MQTT\x03",  # [MQTT-3.1.2-2]
        b"\0\x04MQTT\x06",  # [MQTT-3.1.2-2]
        b"\0\x04MQTT\0",  # [MQTT-3.1.2-2]
        b"\0\x06MQIsdp\x04",  # [MQTT-3.1.2-2]
        b"\0\x04mqtt\x04",  # [MQTT-3.1.2-1]
        b"\0\x04HTTP\x04",  # [MQTT-3.1.2-1]
        b"\0\0\x04",  # [MQTT-3.1.2-1]
    ],
)
def test_unsupported_protocol(protocol: bytes) -> None:
    data = protocol + b"\x02\0\0\0\0"
    with pytest.raises(MalformedPacket) as error:
        decode_connect(data, 0, len(data))
    assert error.value.reason_code == spec.UNSUPPORTED_PROTOCOL_VERSION


C4 = b"\0\x04MQTT\x04"
C5 = b"\0\x04MQTT\x05"


@pytest.mark.parametrize("client_id", [b"\xff", b"\0", b"\n", b"\xef\xbf\xbf"])
def test_client_id_refused(client_id: bytes) -> None:  # [MQTT-3.1.3-4]
    with pytest.raises(MalformedPacket) as error:
        decode_connect(data := C4 + b"\x02\0\0" + len(client_id).to_bytes(2, "big") + client_id, 0, len(data))
    assert error.value.reason_code == spec.CLIENT_IDENTIFIER_NOT_VALID


@pytest.mark.parametrize(
    ("clause", "data"),
    [
        ("[MQTT-3.1.2-3]", C4 + b"\x03\0\0\0\x01c"),
        ("[MQTT-3.1.2-3]", C5 + b"\x03\0\0\0\0\x01c"),
        ("[MQTT-3.1.2-11]", C4 + b"\x0a\0\0\0\x01c"),
        ("[MQTT-3.1.2-11]", C5 + b"\x12\0\0\0\0\x01c"),
        ("[MQTT-3.1.2-12]", C4 + b"\x1e\0\0\0\x01c\0\x01w\0\0"),
        ("[MQTT-3.1.2-13]", C4 + b"\x22\0\0\0\x01c"),
        ("[MQTT-3.1.2-9]", C4 + b"\x06\0\0\0\x01c"),
        ("[MQTT-3.1.2-9]", C4 + b"\x06\0\0\0\x01c\0\x01w"),
        ("[MQTT-3.1.2-16]", C4 + b"\x02\0\0\0\x01c\0\x01u"),
        ("[MQTT-3.1.2-17]", C4 + b"\x82\0\0\0\x01c"),
        ("[MQTT-3.1.2-18]", C4 + b"\x82\0\0\0\x01c\0\x01u\0\x01p"),
        ("[MQTT-3.1.2-19]", C4 + b"\xc2\0\0\0\x01c\0\x01u"),
        ("[MQTT311-3.1.2-22]", C4 + b"\x42\0\0\0\x01c\0\x01p"),
        ("[MQTT-3.1.3-3]", C4 + b"\x02\0\0"),
        ("[MQTT-3.1.3-3]", C5 + b"\x02\0\0\0"),
        ("[MQTT-3.1.3-11]", C4 + b"\x06\0\0\0\x01c\0\x01\xff\0\0"),
        ("[MQTT-3.1.3-12]", C4 + b"\x82\0\0\0\x01c\0\x01\xff"),
        ("[MQTT-3.1.4-1]", C4),
        ("[MQTT-3.1.4-1]", C4 + b"\x02\0"),
        ("[MQTT-3.1.4-1]", b"\0\x04MQTT"),
        ("[MQTT-3.1.4-1]", b"\0\x05MQTT"),
        ("[MQTT-3.1.4-1]", b"\0"),
        ("[MQTT-3.1.4-1]", b""),
    ],
)
def test_connect_refused(clause: str, data: bytes) -> None:
    with pytest.raises(MalformedPacket) as error:
        decode_connect(data, 0, len(data))
    assert error.value.reason_code == spec.MALFORMED_PACKET


@pytest.mark.parametrize("topic", [b"+", b"a/#", b""])
def test_will_topic_refused(topic: bytes) -> None:
    data = C4 + b"\x06\0\0\0\x01c\0" + bytes([len(topic)]) + topic + b"\0\0"
    with pytest.raises(MalformedPacket) as error:
        decode_connect(data, 0, len(data))
    assert error.value.reason_code == spec.MALFORMED_PACKET


def test_publish() -> None:
    publish = example("PUBLISH 3.1.1 QoS 1 DUP")
    assert isinstance(publish, Publish)
    assert (publish.topic_name, publish.payload, publish.packet_identifier) == (b"a/b", b"xyz", 10)
    assert (publish.qos, publish.dup, publish.retain) == (1, True, False)
    assert (publish.properties, publish.topic_alias, publish.message_expiry_interval) == (b"", 0, ABSENT)
    retained = example("PUBLISH 3.1.1 empty")
    assert isinstance(retained, Publish)
    assert (retained.payload, retained.retain, retained.qos) == (b"", True, 0)
    alias = example("PUBLISH 5.0 alias alone")
    assert isinstance(alias, Publish)
    assert (alias.topic_name, alias.topic_alias, alias.properties, alias.payload) == (b"", 1, b"", b"x")
    expiring = example("PUBLISH 5.0 expiry, format")
    assert isinstance(expiring, Publish)
    assert (expiring.message_expiry_interval, expiring.properties) == (60, b"\x01\x01")
    identified = example("PUBLISH 5.0 subscription identifiers")
    assert isinstance(identified, Publish)
    assert identified.properties == b"\x0b\x01\x0b\x80\x01"


@pytest.mark.parametrize(
    ("clause", "version", "data", "expected"),
    [
        ("[MQTT-3.3.1-4]", 4, b"\x36\x06\0\x01t\0\x01x", MALFORMED),
        ("[MQTT-3.3.1-4]", 5, b"\x36\x06\0\x01t\0\x01\0", MALFORMED),
        ("[MQTT-3.3.1-2]", 4, b"\x38\x03\0\x01t", MALFORMED),
        ("[MQTT-2.2.1-3]", 5, b"\x32\x06\0\x01t\0\0\0", PROTOCOL),
        ("[MQTT311-2.3.1-1]", 4, b"\x32\x05\0\x01t\0\0", PROTOCOL),
        ("cut off identifier", 4, b"\x32\x04\0\x01t\0", MALFORMED),
        ("[MQTT-3.3.2-1]", 4, b"\x30\x00", MALFORMED),
        ("[MQTT-3.3.2-1]", 4, b"\x30\x03\0\x02t", MALFORMED),
        ("[MQTT-3.3.2-1]", 4, b"\x30\x03\0\x01\xff", MALFORMED),
        ("[MQTT-3.3.2-2]", 4, b"\x30\x03\0\x01+", MALFORMED),
        ("[MQTT-3.3.2-2]", 5, b"\x30\x04\0\x01#\0", MALFORMED),
        ("[MQTT-4.7.3-1]", 4, b"\x30\x02\0\0", MALFORMED),
        ("no topic, no alias", 5, b"\x30\x03\0\0\0", PROTOCOL),
    ],
)
def test_publish_refused(clause: str, version: int, data: bytes, expected: tuple[type[PeerError], int]) -> None:
    refused(version, data, expected)


def refused(version: int, data: bytes, expected: tuple[type[PeerError], int]) -> None:
    with pytest.raises(expected[0]) as error:
        decode(data, 0, version, True)
    assert error.value.reason_code == expected[1]
    assert error.value.phrase


def test_decoders_of_one_packet_take_a_place_in_a_buffer() -> None:
    data = b"??\0\x03a/b\0\x0axyz??"
    publish = decode_publish(0x32, data, 2, len(data) - 2, 4)
    assert (publish.topic_name, publish.payload, publish.packet_identifier) == (b"a/b", b"xyz", 10)
    ack = decode_ack(spec.PUBREL, b"??\0\x0a??", 2, 4, 4)
    assert (ack.packet_type, ack.packet_identifier, ack.reason_code) == (spec.PUBREL, 10, 0)


def test_acks() -> None:
    ack = example("PUBREC 5.0 with reason string")
    assert isinstance(ack, Ack)
    assert (ack.packet_type, ack.packet_identifier, ack.reason_code) == (spec.PUBREC, 10, 0x80)
    assert ack.properties is not None and ack.properties.reason_string == "no"
    long_form, _ = decode(b"\x40\x04\0\x0a\0\0", 0, 5)
    assert isinstance(long_form, Ack) and long_form.properties is None


REASONS = {  # table 2-6
    spec.CONNACK: "00 80 81 82 83 84 85 86 87 88 89 8a 8c 90 95 97 99 9a 9b 9c 9d 9f",
    spec.PUBACK: "00 10 80 83 87 90 91 97 99",
    spec.PUBREC: "00 10 80 83 87 90 91 97 99",
    spec.PUBREL: "00 92",
    spec.PUBCOMP: "00 92",
    spec.SUBACK: "00 01 02 80 83 87 8f 91 97 9e a1 a2",
    spec.UNSUBACK: "00 11 80 83 87 8f 91",
    spec.DISCONNECT: "00 04 80 81 82 83 87 89 8b 8c 8d 8e 8f 90 93 94 95 96 97 98 99 9a 9b 9c 9d 9e 9f a0 a1 a2",
    spec.AUTH: "00 18 19",
}


@pytest.mark.parametrize("packet_type", REASONS)
def test_reason_codes(packet_type: int) -> None:
    # [MQTT-3.2.2-8] [MQTT-3.4.2-1] [MQTT-3.5.2-1] [MQTT-3.6.2-1] [MQTT-3.7.2-1] [MQTT-3.9.3-2] [MQTT-3.11.3-2]
    # [MQTT-3.14.2-1] [MQTT-3.15.2-1]
    before, after = {
        spec.CONNACK: (b"\0", b"\0"),
        spec.SUBACK: (b"\0\x01\0", b""),
        spec.UNSUBACK: (b"\0\x01\0", b""),
        spec.DISCONNECT: (b"", b""),
        spec.AUTH: (b"", b"\x04\x15\0\x01m"),
    }.get(packet_type, (b"\0\x01", b""))
    first = packet_type << 4 | (2 if packet_type == spec.PUBREL else 0)
    for reason_code in range(256):
        content = before + bytes([reason_code]) + after
        data = bytes([first, len(content)]) + content
        if reason_code in bytes.fromhex(REASONS[packet_type]):
            packet, pos = decode(data, 0, 5, True)
            assert packet is not None and pos == len(data)
        else:
            refused(5, data, MALFORMED)


@pytest.mark.parametrize(
    ("clause", "version", "data", "expected"),
    [
        ("[MQTT-2.2.1-3]", 5, b"\x40\x02\0\0", PROTOCOL),
        ("identifier cut off", 5, b"\x40\x01\0", MALFORMED),
        ("no body", 4, b"\x40\x00", MALFORMED),
        ("reason code in 3.1.1", 4, b"\x40\x03\0\x01\0", MALFORMED),
        ("bytes behind the properties", 5, b"\x40\x05\0\x01\0\0\0", MALFORMED),
        ("properties too short", 5, b"\x40\x04\0\x01\0\x01", MALFORMED),
        ("[MQTT-2.1.3-1]", 4, b"\x60\x02\0\x01", MALFORMED),
        ("CONNACK cut off", 4, b"\x20\x01\0", MALFORMED),
        ("CONNACK too long", 4, b"\x20\x03\0\0\0", MALFORMED),
        ("CONNACK return code", 4, b"\x20\x02\0\x06", MALFORMED),
        ("[MQTT-3.2.2-1]", 4, b"\x20\x02\x02\0", MALFORMED),
        ("[MQTT-3.2.2-1]", 5, b"\x20\x03\x80\0\0", MALFORMED),
        ("CONNACK without properties", 5, b"\x20\x02\0\0", MALFORMED),
        ("[MQTT-3.8.3-2]", 5, b"\x82\x03\0\x01\0", PROTOCOL),
        ("[MQTT311-3.8.3-3]", 4, b"\x82\x02\0\x01", PROTOCOL),
        ("[MQTT-2.2.1-3]", 4, b"\x82\x06\0\0\0\x01t\0", PROTOCOL),
        ("[MQTT-3.8.3-1]", 4, b"\x82\x06\0\x01\0\x01\xff\0", MALFORMED),
        ("options missing", 4, b"\x82\x05\0\x01\0\x01t", MALFORMED),
        ("second filter cut off", 4, b"\x82\x07\0\x01\0\x01t\0\0", MALFORMED),
        ("[MQTT-4.7.1-1]", 4, b"\x82\x08\0\x01\0\x03#/t\0", MALFORMED),
        ("[MQTT311-3-8.3-4]", 4, b"\x82\x06\0\x01\0\x01t\x03", MALFORMED),
        ("[MQTT311-3-8.3-4]", 4, b"\x82\x06\0\x01\0\x01t\x04", MALFORMED),
        ("[MQTT311-3-8.3-4]", 3, b"\x82\x06\0\x01\0\x01t\x83", MALFORMED),
        ("[MQTT-3.8.3-5]", 5, b"\x82\x07\0\x01\0\0\x01t\x40", MALFORMED),
        ("[MQTT-3.8.3-5]", 5, b"\x82\x07\0\x01\0\0\x01t\x80", MALFORMED),
        ("maximum QoS 3", 5, b"\x82\x07\0\x01\0\0\x01t\x03", PROTOCOL),
        ("retain handling 3", 5, b"\x82\x07\0\x01\0\0\x01t\x30", PROTOCOL),
        ("[MQTT-3.8.3-4]", 5, b"\x82\x10\0\x01\0\0\x0a$share/g/t\x04", PROTOCOL),
        ("[MQTT-3.10.3-2]", 5, b"\xa2\x03\0\x01\0", PROTOCOL),
        ("[MQTT-3.10.3-2]", 4, b"\xa2\x02\0\x01", PROTOCOL),
        ("[MQTT-3.10.3-1]", 4, b"\xa2\x05\0\x01\0\x01\xff", MALFORMED),
        ("[MQTT-4.7.1-2]", 4, b"\xa2\x06\0\x01\0\x02a+", MALFORMED),
        ("SUBACK without codes", 4, b"\x90\x02\0\x01", PROTOCOL),
        ("UNSUBACK without codes", 5, b"\xb0\x03\0\x01\0", PROTOCOL),
        ("[MQTT311-3.9.3-2]", 4, b"\x90\x03\0\x01\x03", MALFORMED),
        ("UNSUBACK with codes", 4, b"\xb0\x03\0\x01\0", MALFORMED),
        ("PINGREQ with a body", 4, b"\xc0\x01\0", MALFORMED),
        ("PINGRESP with a body", 5, b"\xd0\x01\0", MALFORMED),
        ("DISCONNECT with a body", 4, b"\xe0\x01\0", MALFORMED),
        ("bytes behind DISCONNECT", 5, b"\xe0\x03\0\0\0", MALFORMED),
        ("AUTH in 3.1.1", 4, b"\xf0\x00", MALFORMED),
        ("AUTH without properties", 5, b"\xf0\x01\x18", MALFORMED),
        ("AUTH without method", 5, b"\xf0\x02\x18\0", PROTOCOL),
        ("packet type 0", 4, b"\x00\x00", MALFORMED),
    ],
)
def test_refused(clause: str, version: int, data: bytes, expected: tuple[type[PeerError], int]) -> None:
    assert packet_length(data, 0, len(data)) == len(data)
    refused(version, data, expected)


def test_connack() -> None:
    connack = example("CONNACK 5.0 with properties")
    assert isinstance(connack, Connack)
    assert (connack.session_present, connack.reason_code) == (True, 0)
    properties = connack.properties
    assert isinstance(properties, Properties)
    assert (properties.server_keep_alive, properties.topic_alias_maximum, properties.maximum_qos) == (60, 10, 1)
    reserved, _ = decode(b"\x20\x02\x07\0", 0, spec.MQTT_3_1)
    assert isinstance(reserved, Connack) and not reserved.session_present


def test_subscribe() -> None:
    subscribe = example("SUBSCRIBE 3.1.1")
    assert isinstance(subscribe, Subscribe)
    assert subscribe.packet_identifier == 10
    assert [(request.topic_filter, request.qos) for request in subscribe.requests] == [(b"a/b", 1), (b"c/#", 2)]
    options = example("SUBSCRIBE 5.0")
    assert isinstance(options, Subscribe)
    (request,) = options.requests
    assert (request.qos, request.no_local, request.retain_as_published, request.retain_handling) == (2, True, True, 2)
    assert options.properties is not None and options.properties.subscription_identifiers == [5]
    unsubscribe = example("UNSUBSCRIBE 5.0")
    assert isinstance(unsubscribe, Unsubscribe) and unsubscribe.topic_filters == [b"a/b"]
    suback = example("SUBACK 5.0")
    assert isinstance(suback, Suback) and suback.reason_codes == b"\x02\x87"
    unsuback = example("UNSUBACK 3.1.1")
    assert isinstance(unsuback, Suback) and unsuback.reason_codes == b""


def test_disconnect_and_auth() -> None:
    disconnect = example("DISCONNECT 5.0")
    assert isinstance(disconnect, Disconnect) and disconnect.reason_code == 4
    assert disconnect.properties is not None and disconnect.properties.session_expiry_interval == 10
    short, _ = decode(b"\xe0\x01\x04", 0, 5)
    assert isinstance(short, Disconnect) and (short.reason_code, short.properties) == (4, None)
    auth = example("AUTH with method and data")
    assert isinstance(auth, Auth) and auth.reason_code == spec.CONTINUE_AUTHENTICATION
    assert auth.properties is not None
    assert (auth.properties.authentication_method, auth.properties.authentication_data) == ("ab", b"c")
