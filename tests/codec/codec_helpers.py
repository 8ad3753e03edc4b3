"""What the tests of the codec share: packets as comparable values, and every packet as it is on the wire."""

from __future__ import annotations

from typing import Any

from swellmq.codec.packets import (
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

_CLASSES = (
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


def fields(value: Any) -> Any:
    """A packet as its class name and fields, in plain values that compare equal; interpreted or compiled."""
    if isinstance(value, list):
        return [fields(item) for item in value]
    if isinstance(value, _CLASSES):
        names = getattr(type(value), "__mypyc_attrs__", None) or vars(value)
        return (type(value).__name__, {name: fields(getattr(value, name)) for name in sorted(names)})
    return value


# Name, protocol version, whether a server sent it, the bytes in the form in which our encoder writes them.
WIRE: list[tuple[str, int, bool, bytes]] = [
    ("CONNECT 3.1", 3, False, b"\x10\x11\0\x06MQIsdp\x03\x02\0\x3c\0\x03abc"),
    ("CONNECT 3.1.1", 4, False, b"\x10\x0d\0\x04MQTT\x04\x02\0\x3c\0\x01a"),
    ("CONNECT 3.1.1 bridge", 4, False, b"\x10\x0d\0\x04MQTT\x84\x02\0\x3c\0\x01a"),
    # Fields in the order of [MQTT-3.1.3-1].
    (
        "CONNECT 3.1.1 with will, user name and password",
        4,
        False,
        b"\x10\x23\0\x04MQTT\x04\xf6\0\x0a\0\x01a\0\x03w/t\0\x03bye\0\x04user\0\x04pass",
    ),
    ("CONNECT 5.0", 5, False, b"\x10\x0e\0\x04MQTT\x05\0\0\0\0\0\x01a"),
    (
        "CONNECT 5.0 with properties, will, password",
        5,
        False,
        (
            b"\x10\x3a\0\x04MQTT\x05\x6e\0\x0a\x08\x11\0\0\0\x0a\x21\0\x05\0\x01a"
            b"\x11\x18\0\0\0\x05\x02\0\0\0\x07\x03\0\x04text\0\x03w/t\0\x03bye\0\x06secret"
        ),
    ),
    ("CONNACK 3.1.1", 4, True, b"\x20\x02\x01\0"),
    ("CONNACK 3.1.1 refused", 4, True, b"\x20\x02\0\x05"),
    ("CONNACK 5.0", 5, True, b"\x20\x03\0\0\0"),
    ("CONNACK 5.0 with properties", 5, True, b"\x20\x0b\x01\0\x08\x13\0\x3c\x22\0\x0a\x24\x01"),
    ("PUBLISH 3.1.1 QoS 0", 4, False, b"\x30\x08\0\x03a/bxyz"),
    ("PUBLISH 3.1.1 empty", 4, False, b"\x31\x05\0\x03a/b"),
    ("PUBLISH 3.1.1 QoS 1 DUP", 4, False, b"\x3a\x0a\0\x03a/b\0\x0axyz"),
    ("PUBLISH 5.0 QoS 2", 5, False, b"\x34\x0b\0\x03a/b\0\x0a\0xyz"),
    ("PUBLISH 5.0 alias alone", 5, False, b"\x30\x07\0\0\x03\x23\0\x01x"),
    ("PUBLISH 5.0 expiry, format", 5, False, b"\x30\x0e\0\x03a/b\x07\x02\0\0\0\x3c\x01\x01x"),
    ("PUBLISH 5.0 subscription identifiers", 5, True, b"\x30\x0c\0\x03a/b\x05\x0b\x01\x0b\x80\x01x"),
    ("PUBLISH of 128 bytes", 4, False, b"\x30\x80\x01\0\x03a/b" + b"x" * 123),
    ("PUBLISH of 16384 bytes", 4, False, b"\x30\x80\x80\x01\0\x03a/b" + b"x" * 16379),
    ("PUBACK 3.1.1", 4, False, b"\x40\x02\0\x0a"),
    ("PUBACK 5.0 No matching subscribers", 5, False, b"\x40\x03\0\x0a\x10"),
    ("PUBREC 5.0 with reason string", 5, False, b"\x50\x09\0\x0a\x80\x05\x1f\0\x02no"),
    ("PUBREL", 4, False, b"\x62\x02\0\x0a"),
    ("PUBCOMP 5.0", 5, False, b"\x70\x02\0\x0a"),
    ("SUBSCRIBE 3.1.1", 4, False, b"\x82\x0e\0\x0a\0\x03a/b\x01\0\x03c/#\x02"),
    ("SUBSCRIBE 5.0", 5, False, b"\x82\x0b\0\x0a\x02\x0b\x05\0\x03a/b\x2e"),
    ("SUBACK 3.1.1", 4, True, b"\x90\x04\0\x0a\x01\x80"),
    ("SUBACK 5.0", 5, True, b"\x90\x05\0\x0a\0\x02\x87"),
    ("UNSUBSCRIBE 3.1.1", 4, False, b"\xa2\x07\0\x0a\0\x03a/b"),
    ("UNSUBSCRIBE 5.0", 5, False, b"\xa2\x08\0\x0a\0\0\x03a/b"),
    ("UNSUBACK 3.1.1", 4, True, b"\xb0\x02\0\x0a"),
    ("UNSUBACK 5.0", 5, True, b"\xb0\x05\0\x0a\0\0\x11"),
    ("PINGREQ", 4, False, b"\xc0\0"),
    ("PINGRESP", 5, True, b"\xd0\0"),
    ("DISCONNECT", 4, False, b"\xe0\0"),
    ("DISCONNECT 5.0", 5, False, b"\xe0\x07\x04\x05\x11\0\0\0\x0a"),
    ("AUTH", 5, False, b"\xf0\0"),
    ("AUTH with method and data", 5, True, b"\xf0\x0b\x18\x09\x15\0\x02ab\x16\0\x01c"),
]
