"""Encoding: the exact bytes, the short forms, what each version leaves out and what it can't carry."""

from __future__ import annotations

import pytest
from codec_helpers import WIRE

from swellmq.codec import spec
from swellmq.codec.decode import decode
from swellmq.codec.encode import (
    DISCONNECT_BYTES,
    PINGREQ_BYTES,
    PINGRESP_BYTES,
    encode,
    encode_ack,
    encode_hop_properties,
    encode_publish,
    encode_short_ack,
    packet_head,
)
from swellmq.codec.packets import (
    ABSENT,
    Ack,
    Auth,
    Connack,
    Connect,
    Disconnect,
    Ping,
    Properties,
    Publish,
    Suback,
    Subscribe,
    TopicRequest,
    Unsubscribe,
    Will,
)


@pytest.mark.parametrize(("name", "version", "from_server", "data"), WIRE, ids=[row[0] for row in WIRE])
def test_wire_examples(name: str, version: int, from_server: bool, data: bytes) -> None:
    packet, _ = decode(data, 0, version, from_server)
    assert packet is not None
    assert encode(packet, version) == data


def test_packet_head() -> None:
    assert packet_head(0x30, 0) == b"\x30\0"
    assert packet_head(0x30, 127) == b"\x30\x7f"
    assert packet_head(0x30, 128) == b"\x30\x80\x01"
    assert packet_head(0x3D, 268_435_455) == b"\x3d\xff\xff\xff\x7f"
    with pytest.raises(ValueError, match="too large"):
        packet_head(0x30, 268_435_456)


def publish_with_properties() -> Publish:
    publish = Publish(b"a/b", b"xyz", 2, True)
    publish.properties = b"\x01\x01"
    publish.message_expiry_interval = 60
    publish.topic_alias = 9
    publish.packet_identifier = 77
    publish.dup = True
    return publish


def test_publish_takes_what_is_the_subscribers_from_its_arguments() -> None:
    publish = publish_with_properties()
    assert encode_publish(publish, 4, 0, False, False, 0) == b"\x30\x08\0\x03a/bxyz"  # [MQTT-2.2.1-2] [MQTT-3.3.1-3]
    assert encode_publish(publish, 3, 1, True, True, 0x0102) == b"\x3b\x0a\0\x03a/b\x01\x02xyz"
    assert encode_publish(publish, 5, 0, False, False, 0) == b"\x30\x0b\0\x03a/b\x02\x01\x01xyz"
    hop = encode_hop_properties(10, 3, [1, 128])
    assert hop == b"\x02\0\0\0\x0a\x23\0\x03\x0b\x01\x0b\x80\x01"
    assert (
        encode_publish(publish, 5, 2, False, False, 7, hop, with_topic=False)
        == b"\x34\x17\0\0\0\x07\x0f" + hop + b"\x01\x01xyz"
    )
    assert encode_publish(publish, 4, 0, False, False, 0, hop) == b"\x30\x08\0\x03a/bxyz"
    publish.properties = b""
    assert encode_publish(publish, 5, 1, False, False, 7) == b"\x32\x0b\0\x03a/b\0\x07\0xyz"  # [MQTT-2.2.2-1]


def test_publish_by_its_own_fields() -> None:
    publish = publish_with_properties()
    hop = b"\x02\0\0\0\x3c\x23\0\x09"
    assert encode(publish, 5) == b"\x3d\x15\0\x03a/b\0\x4d\x0a" + hop + b"\x01\x01xyz"


def test_hop_properties() -> None:
    assert encode_hop_properties(ABSENT, 0, None) == b""
    assert encode_hop_properties(0, 0, []) == b"\x02\0\0\0\0"
    assert encode_hop_properties(ABSENT, 65_535, None) == b"\x23\xff\xff"


@pytest.mark.parametrize(
    ("packet_type", "first"),
    [(spec.PUBACK, 0x40), (spec.PUBREC, 0x50), (spec.PUBREL, 0x62), (spec.PUBCOMP, 0x70)],  # [MQTT-3.6.1-1]
)
def test_acks(packet_type: int, first: int) -> None:
    short = bytes([first, 2, 0xFF, 0xFE])
    assert encode_short_ack(packet_type, 0xFFFE) == short
    assert encode_ack(Ack(packet_type, 0xFFFE), 5) == short
    assert encode_ack(Ack(packet_type, 0xFFFE, 0x92), 4) == short
    assert encode_ack(Ack(packet_type, 0xFFFE, 0x92), 5) == bytes([first, 3, 0xFF, 0xFE, 0x92])
    properties = Properties()
    properties.reason_string = "x"
    expected = bytes([first, 8, 0, 1, 0, 4]) + b"\x1f\0\x01x"
    assert encode_ack(Ack(packet_type, 1, 0, properties), 5) == expected
    assert encode_ack(Ack(packet_type, 1, 0, properties), 3) == bytes([first, 2, 0, 1])


def test_what_3_x_leaves_out() -> None:
    properties = Properties()
    properties.reason_string = "x"
    assert encode(Connack(True, 5, properties), 4) == b"\x20\x02\x01\x05"
    assert encode(Connack(True, 0, properties), 3) == b"\x20\x02\0\0"
    assert encode(Disconnect(0x8B, properties), 4) == DISCONNECT_BYTES
    request = TopicRequest(b"t", 1, True, True, 2)
    assert encode(Subscribe(1, [request], Properties()), 4) == b"\x82\x06\0\x01\0\x01t\x01"
    assert encode(Unsubscribe(1, [b"t"], Properties()), 3) == b"\xa2\x05\0\x01\0\x01t"
    assert encode(Suback(spec.SUBACK, 1, b"\x80", properties), 4) == b"\x90\x03\0\x01\x80"
    assert encode(Suback(spec.UNSUBACK, 1, b"\0\x11", properties), 4) == b"\xb0\x02\0\x01"


def test_fixed_packets() -> None:
    assert encode(Ping(spec.PINGREQ), 4) == PINGREQ_BYTES == b"\xc0\0"
    assert encode(Ping(spec.PINGRESP), 5) == PINGRESP_BYTES == b"\xd0\0"
    assert encode(Disconnect(), 5) == DISCONNECT_BYTES == b"\xe0\0"
    assert encode(Auth(), 5) == b"\xf0\0"


def test_what_a_version_cannot_carry() -> None:
    with pytest.raises(ValueError, match="AUTH"):
        encode(Auth(), 4)
    connect = Connect()
    connect.password = b"p"
    with pytest.raises(ValueError, match="password"):
        encode(connect, 4)  # [MQTT311-3.1.2-22]
    connect.protocol_version = 5
    assert encode(connect, 5) == b"\x10\x10\0\x04MQTT\x05\x42\0\0\0\0\0\0\x01p"


def test_fields_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="too long"):
        encode(Unsubscribe(1, [b"x" * 65_536]), 4)
    with pytest.raises(OverflowError):
        encode_publish(Publish(b"t", b"", 1, False), 4, 1, False, False, 65_536)
    connect = Connect()
    connect.will = Will(Publish(b"w", b"x" * 65_536, 0, False), 0)
    with pytest.raises(ValueError, match="too long"):
        encode(connect, 4)
