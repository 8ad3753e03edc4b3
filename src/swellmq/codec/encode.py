"""Packets to bytes, whole and ready to send.

What a version has no place for (properties, reason codes of acknowledgements and subscription options in 3.x) is left
out; what a version can't say is a ValueError. So is a field of more than 65,535 bytes; a number that its field
can't hold is an OverflowError. Both would be our own mistake: no bytes of a peer lead there.
"""

from __future__ import annotations

from typing import Final

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
    Will,
)
from swellmq.codec.properties import (
    encode_binary,
    encode_properties,
    encode_string,
    encode_subscription_identifier,
    encode_variable_byte_integer,
)
from swellmq.codec.spec import (
    BRIDGE_BIT,
    MESSAGE_EXPIRY_INTERVAL,
    MQTT_3_1,
    MQTT_5_0,
    PINGREQ,
    PUBREL,
    SUBACK,
    SUCCESS,
    TOPIC_ALIAS,
    WILL_DELAY_INTERVAL,
)

CONNACK_ACCEPTED: Final = b"\x20\x02\x00\x00"  # in 3.x, of a new session
PINGREQ_BYTES: Final = b"\xc0\x00"
PINGRESP_BYTES: Final = b"\xd0\x00"
DISCONNECT_BYTES: Final = b"\xe0\x00"  # Normal disconnection, in every version

# First bytes of the fixed header, with the flags that their type has to carry [MQTT-2.1.3-1].
_CONNECT: Final = 0x10
_CONNACK: Final = 0x20
_PUBLISH: Final = 0x30
_SUBSCRIBE: Final = 0x82
_UNSUBSCRIBE: Final = 0xA2
_DISCONNECT: Final = 0xE0
_AUTH: Final = 0xF0


def packet_head(first_byte: int, remaining_length: int) -> bytes:
    """The fixed header."""
    if remaining_length < 0x80:
        return (first_byte << 8 | remaining_length).to_bytes(2, "big")
    return _byte(first_byte) + encode_variable_byte_integer(remaining_length)


def encode(packet: Packet, protocol_version: int) -> bytes:
    """The bytes of any packet; for CONNECT its own protocol version counts."""
    if isinstance(packet, Publish):
        hop_properties = encode_hop_properties(packet.message_expiry_interval, packet.topic_alias, None)
        return encode_publish(
            packet, protocol_version, packet.qos, packet.retain, packet.dup, packet.packet_identifier, hop_properties
        )
    if isinstance(packet, Ack):
        return encode_ack(packet, protocol_version)
    if isinstance(packet, Connect):
        return encode_connect(packet)
    if isinstance(packet, Connack):
        return encode_connack(packet, protocol_version)
    if isinstance(packet, Subscribe):
        return encode_subscribe(packet, protocol_version)
    if isinstance(packet, Unsubscribe):
        return encode_unsubscribe(packet, protocol_version)
    if isinstance(packet, Suback):
        return encode_suback(packet, protocol_version)
    if isinstance(packet, Disconnect):
        return encode_disconnect(packet, protocol_version)
    if isinstance(packet, Auth):
        return encode_auth(packet, protocol_version)
    return PINGREQ_BYTES if packet.packet_type == PINGREQ else PINGRESP_BYTES


def encode_connect(connect: Connect) -> bytes:
    """A CONNECT in its own protocol version."""
    version: int = connect.protocol_version
    flags: int = 0x02 if connect.clean_start else 0
    parts = [encode_string(connect.client_id)]
    will = connect.will
    if will is not None:
        flags |= 0x04 | will.publish.qos << 3 | (0x20 if will.publish.retain else 0)
        parts.append(_encode_will(will, version))
    if connect.username is not None:
        flags |= 0x80
        parts.append(encode_string(connect.username))
    if connect.password is not None:
        if connect.username is None and version != MQTT_5_0:
            raise ValueError("a password without a user name needs MQTT 5.0")  # [MQTT311-3.1.2-22]
        flags |= 0x40
        parts.append(encode_binary(connect.password))
    name = b"\0\x06MQIsdp" if version == MQTT_3_1 else b"\0\x04MQTT"
    level: int = version | (BRIDGE_BIT if connect.bridge else 0)
    head = name + _byte(level) + _byte(flags) + _two_bytes(connect.keep_alive)
    # [MQTT-3.1.3-1]
    return _packet(_CONNECT, head + _properties(connect.properties, version) + b"".join(parts))


def _encode_will(will: Will, protocol_version: int) -> bytes:
    publish = will.publish
    fields = encode_binary(publish.topic_name) + encode_binary(publish.payload)
    if protocol_version != MQTT_5_0:
        return fields
    properties = encode_hop_properties(publish.message_expiry_interval, 0, None) + publish.properties
    if will.will_delay_interval:
        properties = _byte(WILL_DELAY_INTERVAL) + _four_bytes(will.will_delay_interval) + properties
    return encode_variable_byte_integer(len(properties)) + properties + fields


def encode_connack(connack: Connack, protocol_version: int) -> bytes:
    """A CONNACK; the reason code is sent as it is, so in 3.x it has to be a return code."""
    if protocol_version != MQTT_5_0 and not connack.session_present and connack.reason_code == SUCCESS:
        return CONNACK_ACCEPTED
    session_present = connack.session_present and protocol_version != MQTT_3_1
    head = _byte(1 if session_present else 0) + _byte(connack.reason_code)
    return _packet(_CONNACK, head + _properties(connack.properties, protocol_version))


def encode_publish(
    publish: Publish,
    protocol_version: int,
    qos: int,
    retain: bool,
    dup: bool,
    packet_identifier: int,
    hop_properties: bytes = b"",
    with_topic: bool = True,
) -> bytes:
    """A PUBLISH of this message for one subscriber, whose QoS, RETAIN, DUP and packet identifier are arguments.

    `hop_properties` are those of `encode_hop_properties`. Without its topic the packet needs a topic alias among them.
    """
    first_byte = _PUBLISH | qos << 1
    if retain:
        first_byte |= 1
    if dup:  # [MQTT-3.3.1-3]
        first_byte |= 8
    topic_name = publish.topic_name if with_topic else b""
    topic_bytes = len(topic_name)
    middle = _two_bytes(packet_identifier) if qos else b""  # [MQTT-2.2.1-2]
    if protocol_version == MQTT_5_0:
        properties_length = len(hop_properties) + len(publish.properties)
        middle += encode_variable_byte_integer(properties_length)
        if properties_length:
            middle += hop_properties + publish.properties
    head = packet_head(first_byte, 2 + topic_bytes + len(middle) + len(publish.payload))
    return b"".join([head, _two_bytes(topic_bytes), topic_name, middle, publish.payload])


def encode_hop_properties(
    message_expiry_interval: int, topic_alias: int, subscription_identifiers: list[int] | None
) -> bytes:
    """The properties of a PUBLISH that belong to one hop; ABSENT, 0 and None leave one out."""
    properties = b""
    if message_expiry_interval != ABSENT:
        properties = _byte(MESSAGE_EXPIRY_INTERVAL) + _four_bytes(message_expiry_interval)
    if topic_alias:
        properties += _byte(TOPIC_ALIAS) + _two_bytes(topic_alias)
    if subscription_identifiers is not None:
        for subscription_identifier in subscription_identifiers:
            properties += encode_subscription_identifier(subscription_identifier)
    return properties


def encode_ack(ack: Ack, protocol_version: int) -> bytes:
    """A PUBACK, PUBREC, PUBREL or PUBCOMP, in its short form where it says Success and nothing more."""
    if protocol_version != MQTT_5_0 or (ack.reason_code == SUCCESS and ack.properties is None):
        return encode_short_ack(ack.packet_type, ack.packet_identifier)
    body = _two_bytes(ack.packet_identifier) + _byte(ack.reason_code)
    if ack.properties is not None:
        body += encode_properties(ack.properties)
    return _packet(_ack_first_byte(ack.packet_type), body)


def encode_short_ack(packet_type: int, packet_identifier: int) -> bytes:
    """A PUBACK, PUBREC, PUBREL or PUBCOMP that says Success: the same four bytes in every version."""
    return (_ack_first_byte(packet_type) << 24 | 2 << 16 | packet_identifier).to_bytes(4, "big")


def encode_short_acks(packet_type: int, packet_identifiers: list[int]) -> bytes:
    """An acknowledgement that says Success for each packet identifier."""
    if len(packet_identifiers) == 1:
        return encode_short_ack(packet_type, packet_identifiers[0])
    packets = bytearray(encode_short_ack(packet_type, 0) * len(packet_identifiers))
    packets[2::4] = bytes([identifier >> 8 for identifier in packet_identifiers])
    packets[3::4] = bytes([identifier & 0xFF for identifier in packet_identifiers])
    return bytes(packets)


def encode_subscribe(subscribe: Subscribe, protocol_version: int) -> bytes:
    """A SUBSCRIBE; in 3.x only the QoS of the options is sent."""
    parts = [_two_bytes(subscribe.packet_identifier), _properties(subscribe.properties, protocol_version)]
    for request in subscribe.requests:
        options: int = request.qos
        if protocol_version == MQTT_5_0:
            options |= request.retain_handling << 4
            if request.no_local:
                options |= 4
            if request.retain_as_published:
                options |= 8
        parts.append(encode_binary(request.topic_filter) + _byte(options))
    return _packet(_SUBSCRIBE, b"".join(parts))


def encode_unsubscribe(unsubscribe: Unsubscribe, protocol_version: int) -> bytes:
    """An UNSUBSCRIBE."""
    parts = [_two_bytes(unsubscribe.packet_identifier), _properties(unsubscribe.properties, protocol_version)]
    for topic_filter in unsubscribe.topic_filters:
        parts.append(encode_binary(topic_filter))
    return _packet(_UNSUBSCRIBE, b"".join(parts))


def encode_suback(suback: Suback, protocol_version: int) -> bytes:
    """A SUBACK or UNSUBACK; an UNSUBACK of 3.x goes without reason codes."""
    body = _two_bytes(suback.packet_identifier) + _properties(suback.properties, protocol_version)
    if suback.packet_type == SUBACK or protocol_version == MQTT_5_0:
        body += suback.reason_codes
    return _packet(suback.packet_type << 4, body)


def encode_disconnect(disconnect: Disconnect, protocol_version: int) -> bytes:
    """A DISCONNECT; in 3.x it has no reason code."""
    if protocol_version != MQTT_5_0 or (disconnect.reason_code == SUCCESS and disconnect.properties is None):
        return DISCONNECT_BYTES
    body = _byte(disconnect.reason_code)
    if disconnect.properties is not None:
        body += encode_properties(disconnect.properties)
    return _packet(_DISCONNECT, body)


def encode_auth(auth: Auth, protocol_version: int) -> bytes:
    """An AUTH; raises ValueError in 3.x, which has none."""
    if protocol_version != MQTT_5_0:
        raise ValueError("AUTH needs MQTT 5.0")
    if auth.reason_code == SUCCESS and auth.properties is None:
        return packet_head(_AUTH, 0)
    return _packet(_AUTH, _byte(auth.reason_code) + encode_properties(auth.properties))


def _packet(first_byte: int, body: bytes) -> bytes:
    return packet_head(first_byte, len(body)) + body


def _properties(properties: Properties | None, protocol_version: int) -> bytes:
    return encode_properties(properties) if protocol_version == MQTT_5_0 else b""


def _byte(value: int) -> bytes:
    return value.to_bytes(1, "big")


def _two_bytes(value: int) -> bytes:
    return value.to_bytes(2, "big")


def _four_bytes(value: int) -> bytes:
    return value.to_bytes(4, "big")


def _ack_first_byte(packet_type: int) -> int:
    return packet_type << 4 | (2 if packet_type == PUBREL else 0)  # [MQTT-3.6.1-1]
