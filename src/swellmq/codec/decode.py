"""Bytes to packets. A decoder gets the packet's body, `data[pos:end]`, without its fixed header.

Whatever the bytes are, the outcome is a packet, "more bytes", MalformedPacket or ProtocolError. The rules that need to
know more than one packet (a session, the order of packets, limits of this broker) are not here. The broker calls
`packet_length`, `check_flags` and the decoder of the type; clients and tests call `decode`.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i32, i64, u8

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
from swellmq.codec.properties import (
    WILL,
    decode_properties,
    decode_string,
    field_end,
    properties_bounds,
    read_publish_properties,
    without,
)
from swellmq.codec.spec import (
    AUTH,
    BRIDGE_BIT,
    CLIENT_IDENTIFIER_NOT_VALID,
    CONNACK,
    CONNECT,
    DISCONNECT,
    MALFORMED_PACKET,
    MESSAGE_EXPIRY_INTERVAL,
    MQTT_3_1,
    MQTT_3_1_1,
    MQTT_5_0,
    NOT_AUTHORIZED_3,
    PACKET_NAMES,
    PROTOCOL_ERROR,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBACK,
    SUBSCRIBE,
    UNSUBACK,
    UNSUBSCRIBE,
    UNSUPPORTED_PROTOCOL_VERSION,
    WILL_DELAY_INTERVAL,
)
from swellmq.codec.topic import SHARE_PREFIX, check_characters, check_topic_filter, check_topic_name
from swellmq.errors import SILENT, MalformedPacket, ProtocolError

# Connect flags.
_RESERVED: Final = 0x01
_CLEAN_START: Final = 0x02
_WILL_FLAG: Final = 0x04
_WILL_QOS: Final = 0x18
_WILL_RETAIN: Final = 0x20
_PASSWORD: Final = 0x40
_USERNAME: Final = 0x80

# The reason codes that a packet may carry, MQTT 5.0 table 2-6.
CONNACK_REASONS: Final = bytes.fromhex("00 80 81 82 83 84 85 86 87 88 89 8a 8c 90 95 97 99 9a 9b 9c 9d 9f")
PUBACK_REASONS: Final = bytes.fromhex("00 10 80 83 87 90 91 97 99")  # PUBREC too
PUBREL_REASONS: Final = bytes.fromhex("00 92")  # PUBCOMP too
SUBACK_REASONS: Final = bytes.fromhex("00 01 02 80 83 87 8f 91 97 9e a1 a2")
_SUBACK_RETURN_CODES: Final = bytes.fromhex("00 01 02 80")  # MQTT 3.1.1
UNSUBACK_REASONS: Final = bytes.fromhex("00 11 80 83 87 8f 91")
DISCONNECT_REASONS: Final = bytes.fromhex(
    "00 04 80 81 82 83 87 89 8b 8c 8d 8e 8f 90 93 94 95 96 97 98 99 9a 9b 9c 9d 9e 9f a0 a1 a2"
)
AUTH_REASONS: Final = bytes.fromhex("00 18 19")


def packet_length(data: bytes, pos: i64, end: i64) -> i64:
    """The length in bytes of the packet that begins at `pos`, fixed header included; 0 while it is not known yet."""
    value: i64 = 0
    shift: i64 = 0
    index: i64 = pos + 1
    while index < end:
        byte: i64 = data[index]
        index += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if byte == 0 and shift > 0:
                raise MalformedPacket(MALFORMED_PACKET, "remaining length is too long")  # [MQTT-1.5.5-1]
            return index - pos + value
        shift += 7
        if shift == 28:
            raise MalformedPacket(MALFORMED_PACKET, "remaining length of more than four bytes", SILENT)
    return 0


def long_form(data: bytes, pos: i64, end: i64) -> tuple[i64, i64]:
    """Where the packet at `pos` has its body and where it ends, for a remaining length of more bytes than it needs.

    `packet_length` calls such a packet malformed, as MQTT 5.0 does; 3.1 and 3.1.1 do not forbid it.
    """
    value: i64 = 0
    shift: i64 = 0
    index: i64 = pos + 1
    while index < end and shift < 28:
        byte: i64 = data[index]
        index += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return index, index + value
    raise MalformedPacket(MALFORMED_PACKET, "remaining length of more than four bytes", SILENT)


def header_length(total: i64) -> i64:
    """The length of the fixed header of a packet of `total` bytes, as `packet_length` gave them."""
    if total < 0x80 + 2:
        return 2
    if total < 0x4000 + 3:
        return 3
    return 4 if total < 0x20_0000 + 4 else 5


def check_flags(first: int, protocol_version: int = MQTT_5_0) -> None:
    """Raise MalformedPacket where the first byte of a packet has a type or flags that the specification reserves.

    MQTT 3.1 leaves these flags unused and does not reserve them: there only the type is checked.
    """
    packet_type: i64 = first >> 4
    flags: i64 = first & 0x0F
    if packet_type == PUBLISH:
        return
    if packet_type == 0:
        raise MalformedPacket(MALFORMED_PACKET, "packet type 0", PROTOCOL_ERROR)
    expected: i64 = 2 if packet_type == PUBREL or packet_type == SUBSCRIBE or packet_type == UNSUBSCRIBE else 0
    if flags != expected and protocol_version != MQTT_3_1:
        # [MQTT-3.6.1-1] [MQTT-3.8.1-1] [MQTT-3.10.1-1] [MQTT-3.14.1-1] [MQTT-3.15.1-1] [MQTT311-2.2.2-2]
        raise MalformedPacket(MALFORMED_PACKET, "reserved flags of the fixed header")  # [MQTT-2.1.3-1]


def decode(data: bytes, pos: int, protocol_version: int, from_server: bool = False) -> tuple[Packet | None, int]:
    """The packet that begins at `pos` and the position behind it; None and `pos` where more bytes are needed.

    `protocol_version` does not matter for CONNECT. `from_server` says that the bytes come from a server, which may put
    subscription identifiers into a PUBLISH.
    """
    end = len(data)
    if pos >= end:
        return None, pos
    first = data[pos]
    check_flags(first, protocol_version)
    total: int = packet_length(data, pos, end)
    if total == 0 or total > end - pos:
        return None, pos
    start: int = pos + header_length(total)
    return _decode_body(first, data, start, pos + total, protocol_version, from_server), pos + total


def _decode_body(first: int, data: bytes, pos: i64, end: i64, protocol_version: int, from_server: bool) -> Packet:
    packet_type = first >> 4
    if packet_type == PUBLISH:
        return decode_publish(first, data, pos, end, protocol_version, from_server)
    if packet_type == PUBACK or packet_type == PUBREC or packet_type == PUBREL or packet_type == PUBCOMP:
        return decode_ack(packet_type, data, pos, end, protocol_version)
    if packet_type == CONNECT:
        return decode_connect(data, pos, end)
    if packet_type == CONNACK:
        return decode_connack(data, pos, end, protocol_version)
    if packet_type == SUBSCRIBE or packet_type == UNSUBSCRIBE:
        packet, pos = begin_filters(packet_type, data, pos, end, protocol_version)
        if isinstance(packet, Subscribe):
            decode_requests(packet, data, pos, end, protocol_version, end)
        else:
            decode_names(packet, data, pos, end, end)
        return packet
    if packet_type == SUBACK or packet_type == UNSUBACK:
        return decode_suback(packet_type, data, pos, end, protocol_version)
    if packet_type == DISCONNECT:
        return decode_disconnect(data, pos, end, protocol_version)
    if packet_type == AUTH:
        return decode_auth(data, pos, end, protocol_version)
    if pos != end:
        raise MalformedPacket(MALFORMED_PACKET, PACKET_NAMES[packet_type] + " with a body", SILENT)
    return Ping(packet_type)


def decode_connect(data: bytes, pos: i64, end: i64) -> Connect:
    """A CONNECT of any version. Raises with UNSUPPORTED_PROTOCOL_VERSION where it is none of ours."""
    connect = Connect()
    pos = _decode_protocol(connect, data, pos, end)
    if end - pos < 3:
        raise MalformedPacket(MALFORMED_PACKET, "CONNECT is cut off")  # [MQTT-3.1.4-1]
    is_3_1 = connect.protocol_version == MQTT_3_1
    flags: i64 = data[pos]
    _check_connect_flags(flags, connect.protocol_version)
    connect.clean_start = flags & _CLEAN_START != 0
    high: i32 = data[pos + 1]
    low: i32 = data[pos + 2]
    connect.keep_alive = high << 8 | low
    pos += 3
    if connect.protocol_version == MQTT_5_0:
        start, pos = properties_bounds(data, pos, end)
        if pos > start:
            connect.properties = decode_properties(data, start, pos, CONNECT)
    after = field_end(data, pos, end)  # [MQTT-3.1.3-3]
    connect.client_id = _decode_client_id(data[pos + 2 : after])
    pos = after
    if flags & _WILL_FLAG:
        pos = _decode_will(connect, flags, data, pos, end)  # [MQTT-3.1.2-9]
    # In MQTT 3.1 the remaining length takes precedence over the flags of user name and password.
    try:
        if flags & _USERNAME and not (is_3_1 and pos == end):
            after = field_end(data, pos, end)  # [MQTT-3.1.2-17]
            connect.username = decode_string(data[pos + 2 : after])  # [MQTT-3.1.3-12]
            check_characters(connect.username)
            pos = after
        if flags & _PASSWORD and not (is_3_1 and pos == end):
            after = field_end(data, pos, end)  # [MQTT-3.1.2-19]
            connect.password = data[pos + 2 : after]
            pos = after
    except MalformedPacket as error:
        raise MalformedPacket(error.reason_code, "user name or password: " + error.phrase, SILENT) from None
    if pos != end:
        raise MalformedPacket(MALFORMED_PACKET, "bytes after the end of CONNECT")  # [MQTT-3.1.2-16] [MQTT-3.1.2-18]
    return connect


def _decode_client_id(content: bytes) -> str:
    try:
        client_id = decode_string(content)  # [MQTT-3.1.3-4]
        check_characters(client_id)
    except MalformedPacket as error:
        raise MalformedPacket(CLIENT_IDENTIFIER_NOT_VALID, "client identifier: " + error.phrase) from None
    return client_id


def _decode_protocol(connect: Connect, data: bytes, pos: i64, end: i64) -> i64:
    """Fill in the protocol version from the protocol name and level; returns the position of the connect flags."""
    after = field_end(data, pos, end)
    name = data[pos + 2 : after]
    if after == end:
        raise MalformedPacket(MALFORMED_PACKET, "CONNECT without a protocol version")
    level: u8 = data[after]
    version: u8 = level & 0x7F
    if name == b"MQTT":
        known = version == MQTT_3_1_1 or level == MQTT_5_0
    elif name == b"MQIsdp":
        known = version == MQTT_3_1
    else:
        raise MalformedPacket(UNSUPPORTED_PROTOCOL_VERSION, "unknown protocol name")  # [MQTT-3.1.2-1]
    if not known:
        raise MalformedPacket(UNSUPPORTED_PROTOCOL_VERSION, "unknown protocol version")  # [MQTT-3.1.2-2]
    connect.protocol_version = version
    connect.bridge = level & BRIDGE_BIT != 0
    return after + 1


def _check_connect_flags(flags: i64, protocol_version: int) -> None:
    """Raise MalformedPacket for connect flags that contradict each other; MQTT 3.1 disregards unused ones."""
    if flags & _WILL_FLAG:
        if flags & _WILL_QOS == _WILL_QOS:
            raise MalformedPacket(MALFORMED_PACKET, "will QoS 3")  # [MQTT-3.1.2-12]
    elif flags & (_WILL_QOS | _WILL_RETAIN) and protocol_version != MQTT_3_1:
        raise MalformedPacket(MALFORMED_PACKET, "will flags without a will")  # [MQTT-3.1.2-11] [MQTT-3.1.2-13]
    if flags & _RESERVED and protocol_version != MQTT_3_1:
        raise MalformedPacket(MALFORMED_PACKET, "reserved connect flag")  # [MQTT-3.1.2-3]
    if flags & _PASSWORD and not flags & _USERNAME and protocol_version != MQTT_5_0:
        raise MalformedPacket(MALFORMED_PACKET, "password without user name")  # [MQTT311-3.1.2-22]


def _decode_will(connect: Connect, flags: i64, data: bytes, pos: i64, end: i64) -> i64:
    """Fill in the will; returns the position behind it."""
    properties: Properties | None = None
    travelling = b""
    if connect.protocol_version == MQTT_5_0:
        start, pos = properties_bounds(data, pos, end)
        if pos > start:
            properties = decode_properties(data, start, pos, WILL)
            travelling = without(data[start:pos], (MESSAGE_EXPIRY_INTERVAL, WILL_DELAY_INTERVAL))
    topic_end = field_end(data, pos, end)
    topic_name = data[pos + 2 : topic_end]
    if not topic_name:
        raise MalformedPacket(MALFORMED_PACKET, "empty will topic", PROTOCOL_ERROR)  # [MQTT-4.7.3-1]
    try:
        check_topic_name(topic_name)  # [MQTT-3.1.3-11]
    except MalformedPacket as error:
        raise MalformedPacket(error.reason_code, "will topic: " + error.phrase, SILENT) from None
    after = field_end(data, topic_end, end)
    qos: int = flags >> 3 & 3
    publish = Publish(topic_name, data[topic_end + 2 : after], qos, flags & _WILL_RETAIN != 0)
    will = Will(publish, 0)
    if properties is not None:
        publish.message_expiry_interval = properties.message_expiry_interval
        if properties.will_delay_interval != ABSENT:
            will.will_delay_interval = properties.will_delay_interval
        publish.properties = travelling  # [MQTT-3.1.3-10]
    connect.will = will
    return after


def decode_connack(data: bytes, pos: i64, end: i64, protocol_version: int) -> Connack:
    """A CONNACK, as a client gets it."""
    if end - pos < 2:
        raise MalformedPacket(MALFORMED_PACKET, "CONNACK is cut off")
    flags = data[pos]
    reason_code = data[pos + 1]
    pos += 2
    if protocol_version == MQTT_3_1:
        flags = 0  # MQTT 3.1 reserves the byte
    if flags > 1:
        raise MalformedPacket(MALFORMED_PACKET, "reserved connect acknowledge flags")  # [MQTT-3.2.2-1]
    if protocol_version != MQTT_5_0:
        if reason_code > NOT_AUTHORIZED_3:
            raise MalformedPacket(MALFORMED_PACKET, "reserved connect return code")
        if pos != end:
            raise MalformedPacket(MALFORMED_PACKET, "bytes after the end of CONNACK")
        return Connack(flags == 1, reason_code)
    _check_reason_code(reason_code, CONNACK_REASONS, CONNACK)  # [MQTT-3.2.2-8]
    return Connack(flags == 1, reason_code, _decode_last_properties(data, pos, end, CONNACK))


def decode_publish(
    first: int, data: bytes, pos: i64, end: i64, protocol_version: int, from_server: bool = False
) -> Publish:
    """A PUBLISH; `first` is the first byte of its fixed header.

    The topic name is empty only where a topic alias of MQTT 5.0 stands for it. See Publish for what its fields hold.
    """
    qos: u8 = first >> 1 & 3
    if qos == 3:
        raise MalformedPacket(MALFORMED_PACKET, "QoS 3")  # [MQTT-3.3.1-4]
    dup = first & 8 != 0
    if dup and qos == 0 and protocol_version != MQTT_3_1:
        raise MalformedPacket(MALFORMED_PACKET, "DUP with QoS 0")  # [MQTT-3.3.1-2]
    topic_end = field_end(data, pos, end)  # [MQTT-3.3.2-1]
    topic_name = data[pos + 2 : topic_end]
    pos = topic_end
    packet_identifier: i32 = 0
    if qos != 0:
        packet_identifier = _decode_packet_identifier(data, pos, end)
        pos += 2
    if protocol_version != MQTT_5_0:
        check_topic_name(topic_name)  # [MQTT-3.3.2-2]
        publish = Publish(topic_name, data[pos:end], qos, first & 1 != 0)
    else:
        if topic_name:
            check_topic_name(topic_name)
        start, pos = properties_bounds(data, pos, end)
        publish = Publish(topic_name, data[pos:end], qos, first & 1 != 0)
        if pos > start:
            read_publish_properties(publish, data, start, pos, from_server)
        if not topic_name and publish.topic_alias == 0:
            raise ProtocolError(PROTOCOL_ERROR, "neither topic name nor topic alias", MALFORMED_PACKET)
    publish.dup = dup
    publish.packet_identifier = packet_identifier
    return publish


def decode_ack(packet_type: int, data: bytes, pos: i64, end: i64, protocol_version: int) -> Ack:
    """A PUBACK, PUBREC, PUBREL or PUBCOMP, as `packet_type` says."""
    packet_identifier = _decode_packet_identifier(data, pos, end)
    pos += 2
    if pos == end:
        return Ack(packet_type, packet_identifier)
    if protocol_version != MQTT_5_0:
        raise MalformedPacket(MALFORMED_PACKET, "bytes after the end of " + PACKET_NAMES[packet_type])
    reason_code = data[pos]
    reasons = PUBACK_REASONS if packet_type == PUBACK or packet_type == PUBREC else PUBREL_REASONS
    # [MQTT-3.4.2-1] [MQTT-3.5.2-1] [MQTT-3.6.2-1]
    _check_reason_code(reason_code, reasons, packet_type)  # [MQTT-3.7.2-1]
    pos += 1
    properties = None if pos == end else _decode_last_properties(data, pos, end, packet_type)
    return Ack(packet_type, packet_identifier, reason_code, properties)


def begin_filters(
    packet_type: int, data: bytes, pos: i64, end: i64, protocol_version: int
) -> tuple[Subscribe | Unsubscribe, i64]:
    """A SUBSCRIBE or UNSUBSCRIBE without its topic filters, and where the first of them begins: there is one at least.

    `decode_requests` and `decode_names` give it its filters, so many at a time as the caller likes.
    """
    packet_identifier = _decode_packet_identifier(data, pos, end, MALFORMED_PACKET)
    pos += 2
    properties: Properties | None = None
    if protocol_version == MQTT_5_0:
        start, pos = properties_bounds(data, pos, end)
        if pos > start:
            properties = decode_properties(data, start, pos, packet_type)
    if pos == end:
        # [MQTT-3.8.3-2] [MQTT-3.10.3-2] [MQTT311-3.8.3-3]
        raise ProtocolError(PROTOCOL_ERROR, PACKET_NAMES[packet_type] + " without a topic filter", MALFORMED_PACKET)
    if packet_type == SUBSCRIBE:
        return Subscribe(packet_identifier, [], properties), pos
    return Unsubscribe(packet_identifier, [], properties), pos


def decode_requests(packet: Subscribe, data: bytes, pos: i64, end: i64, protocol_version: int, count: i64) -> i64:
    """Give a SUBSCRIBE up to `count` more of its topic filters; the position behind them."""
    requests = packet.requests
    while pos < end and count > 0:
        count -= 1
        after = field_end(data, pos, end)
        topic_filter = data[pos + 2 : after]
        check_topic_filter(topic_filter)  # [MQTT-3.8.3-1]
        if after == end:
            raise MalformedPacket(MALFORMED_PACKET, "topic filter without its options")
        requests.append(_topic_request(topic_filter, data[after], protocol_version))
        pos = after + 1
    return pos


def _topic_request(topic_filter: bytes, options: int, protocol_version: int) -> TopicRequest:
    """A topic filter with the options byte that follows it."""
    qos = options & 3
    if protocol_version != MQTT_5_0:
        if qos == 3 or (options > 2 and protocol_version != MQTT_3_1):
            raise MalformedPacket(MALFORMED_PACKET, "requested QoS is not 0, 1 or 2")  # [MQTT311-3-8.3-4]
        return TopicRequest(topic_filter, qos)
    if options & 0xC0:
        raise MalformedPacket(MALFORMED_PACKET, "reserved bits of the subscription options")  # [MQTT-3.8.3-5]
    if qos == 3:
        raise ProtocolError(PROTOCOL_ERROR, "maximum QoS 3", MALFORMED_PACKET)
    retain_handling = options >> 4 & 3
    if retain_handling == 3:
        raise ProtocolError(PROTOCOL_ERROR, "retain handling 3", MALFORMED_PACKET)
    no_local = options & 4 != 0
    if no_local and topic_filter.startswith(SHARE_PREFIX):
        raise ProtocolError(PROTOCOL_ERROR, "No Local on a shared subscription")  # [MQTT-3.8.3-4]
    return TopicRequest(topic_filter, qos, no_local, options & 8 != 0, retain_handling)


def decode_names(packet: Unsubscribe, data: bytes, pos: i64, end: i64, count: i64) -> i64:
    """Give an UNSUBSCRIBE up to `count` more of its topic filters; the position behind them."""
    topic_filters = packet.topic_filters
    while pos < end and count > 0:
        count -= 1
        after = field_end(data, pos, end)
        topic_filter = data[pos + 2 : after]
        check_topic_filter(topic_filter)  # [MQTT-3.10.3-1]
        topic_filters.append(topic_filter)
        pos = after
    return pos


def decode_suback(packet_type: int, data: bytes, pos: i64, end: i64, protocol_version: int) -> Suback:
    """A SUBACK or UNSUBACK, as `packet_type` says, as a client gets it."""
    packet_identifier = _decode_packet_identifier(data, pos, end)
    pos += 2
    properties: Properties | None = None
    if protocol_version == MQTT_5_0:
        start, pos = properties_bounds(data, pos, end)
        if pos > start:
            properties = decode_properties(data, start, pos, packet_type)
        reasons = SUBACK_REASONS if packet_type == SUBACK else UNSUBACK_REASONS
    else:
        reasons = _SUBACK_RETURN_CODES if packet_type == SUBACK else b""
    reason_codes = data[pos:end]
    if not reason_codes and reasons:
        raise ProtocolError(PROTOCOL_ERROR, PACKET_NAMES[packet_type] + " without a reason code")
    for reason_code in reason_codes:
        # [MQTT-3.9.3-2] [MQTT311-3.9.3-2]
        _check_reason_code(reason_code, reasons, packet_type)  # [MQTT-3.11.3-2]
    return Suback(packet_type, packet_identifier, reason_codes, properties)


def decode_disconnect(data: bytes, pos: i64, end: i64, protocol_version: int) -> Disconnect:
    """A DISCONNECT, from either side."""
    if pos == end:
        return Disconnect()
    if protocol_version != MQTT_5_0:
        raise MalformedPacket(MALFORMED_PACKET, "DISCONNECT with a body")
    reason_code = data[pos]
    _check_reason_code(reason_code, DISCONNECT_REASONS, DISCONNECT)  # [MQTT-3.14.2-1]
    pos += 1
    properties = None if pos == end else _decode_last_properties(data, pos, end, DISCONNECT)
    return Disconnect(reason_code, properties)


def decode_auth(data: bytes, pos: i64, end: i64, protocol_version: int) -> Auth:
    """An AUTH, from either side; without a body it means Success, and no authentication method is named."""
    if protocol_version != MQTT_5_0:
        raise MalformedPacket(MALFORMED_PACKET, "packet type 15")
    if pos == end:
        return Auth()
    reason_code = data[pos]
    _check_reason_code(reason_code, AUTH_REASONS, AUTH)  # [MQTT-3.15.2-1]
    properties = _decode_last_properties(data, pos + 1, end, AUTH)
    if properties is None or properties.authentication_method is None:
        raise ProtocolError(PROTOCOL_ERROR, "AUTH without an authentication method")
    return Auth(reason_code, properties)


def _decode_packet_identifier(data: bytes, pos: i64, end: i64, mosquitto_code: int = PROTOCOL_ERROR) -> i32:
    if end - pos < 2:
        raise MalformedPacket(MALFORMED_PACKET, "packet identifier is cut off")
    high: i32 = data[pos]
    low: i32 = data[pos + 1]
    packet_identifier: i32 = high << 8 | low
    if packet_identifier == 0:
        # [MQTT-2.2.1-3] [MQTT311-2.3.1-1]
        raise ProtocolError(PROTOCOL_ERROR, "packet identifier 0", mosquitto_code)
    return packet_identifier


def _decode_last_properties(data: bytes, pos: i64, end: i64, packet_type: int) -> Properties | None:
    """The properties of a packet that ends with them; None where there are none."""
    start, after = properties_bounds(data, pos, end)
    if after != end:
        raise MalformedPacket(MALFORMED_PACKET, "bytes after the end of " + PACKET_NAMES[packet_type])
    return decode_properties(data, start, after, packet_type) if after > start else None


def _check_reason_code(reason_code: int, reasons: bytes, packet_type: int) -> None:
    if reason_code not in reasons:
        mosquitto_code = SILENT if packet_type == DISCONNECT else PROTOCOL_ERROR
        phrase = f"reason code {int(reason_code):#04x} in {PACKET_NAMES[packet_type]}"
        raise MalformedPacket(MALFORMED_PACKET, phrase, mosquitto_code)
