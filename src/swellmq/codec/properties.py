"""The data types of MQTT, section 1.5, and the properties of MQTT 5.0 made of them, section 2.2.2.

`decode_properties` builds a Properties object and serves every packet but PUBLISH, whose properties are validated and
kept as bytes by `read_publish_properties`. A variable byte integer is only taken in its shortest form, so its length
follows from its value: readers return the value alone and `variable_byte_integer_length` says how far to go on.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i32, i64

from swellmq.codec.packets import ABSENT, Properties, Publish
from swellmq.codec.spec import (
    ASSIGNED_CLIENT_IDENTIFIER,
    AUTH,
    AUTHENTICATION_DATA,
    AUTHENTICATION_METHOD,
    CONNACK,
    CONNECT,
    CONTENT_TYPE,
    CORRELATION_DATA,
    DISCONNECT,
    MALFORMED_PACKET,
    MAXIMUM_PACKET_SIZE,
    MAXIMUM_QOS,
    MESSAGE_EXPIRY_INTERVAL,
    PACKET_NAMES,
    PAYLOAD_FORMAT_INDICATOR,
    PROTOCOL_ERROR,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    QUOTA_EXCEEDED,
    REASON_STRING,
    RECEIVE_MAXIMUM,
    REMAINING_LENGTH_MAX,
    REQUEST_PROBLEM_INFORMATION,
    REQUEST_RESPONSE_INFORMATION,
    RESPONSE_INFORMATION,
    RESPONSE_TOPIC,
    RETAIN_AVAILABLE,
    SERVER_KEEP_ALIVE,
    SERVER_REFERENCE,
    SESSION_EXPIRY_INTERVAL,
    SHARED_SUBSCRIPTION_AVAILABLE,
    SUBACK,
    SUBSCRIBE,
    SUBSCRIPTION_IDENTIFIER,
    SUBSCRIPTION_IDENTIFIER_AVAILABLE,
    TOPIC_ALIAS,
    TOPIC_ALIAS_INVALID,
    TOPIC_ALIAS_MAXIMUM,
    UNSUBACK,
    UNSUBSCRIBE,
    USER_PROPERTY,
    WILDCARD_SUBSCRIPTION_AVAILABLE,
    WILL_DELAY_INTERVAL,
)
from swellmq.codec.topic import check_response_topic, check_utf_8
from swellmq.errors import MalformedPacket, ProtocolError
from swellmq.limits import USER_PROPERTIES_MAX

TOO_MANY: Final = "too many user properties"
WILL: Final = 0  # in the place of a packet type: the will properties within CONNECT

# Data types. Those of fixed length are numbered by it.
_BYTE: Final = 1
_TWO_BYTES: Final = 2
_FOUR_BYTES: Final = 4
_VARIABLE: Final = 5
_TEXT: Final = 6
_BINARY: Final = 7
_PAIR: Final = 8

_REASONED: Final = (CONNACK, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK, DISCONNECT, AUTH)

# MQTT 5.0 table 2-4: a property, its data type, the packets that may carry it.
PROPERTY_TABLE: Final[tuple[tuple[int, int, tuple[int, ...]], ...]] = (
    (PAYLOAD_FORMAT_INDICATOR, _BYTE, (PUBLISH, WILL)),
    (MESSAGE_EXPIRY_INTERVAL, _FOUR_BYTES, (PUBLISH, WILL)),
    (CONTENT_TYPE, _TEXT, (PUBLISH, WILL)),
    (RESPONSE_TOPIC, _TEXT, (PUBLISH, WILL)),
    (CORRELATION_DATA, _BINARY, (PUBLISH, WILL)),
    (SUBSCRIPTION_IDENTIFIER, _VARIABLE, (PUBLISH, SUBSCRIBE)),
    (SESSION_EXPIRY_INTERVAL, _FOUR_BYTES, (CONNECT, CONNACK, DISCONNECT)),
    (ASSIGNED_CLIENT_IDENTIFIER, _TEXT, (CONNACK,)),
    (SERVER_KEEP_ALIVE, _TWO_BYTES, (CONNACK,)),
    (AUTHENTICATION_METHOD, _TEXT, (CONNECT, CONNACK, AUTH)),
    (AUTHENTICATION_DATA, _BINARY, (CONNECT, CONNACK, AUTH)),
    (REQUEST_PROBLEM_INFORMATION, _BYTE, (CONNECT,)),
    (WILL_DELAY_INTERVAL, _FOUR_BYTES, (WILL,)),
    (REQUEST_RESPONSE_INFORMATION, _BYTE, (CONNECT,)),
    (RESPONSE_INFORMATION, _TEXT, (CONNACK,)),
    (SERVER_REFERENCE, _TEXT, (CONNACK, DISCONNECT)),
    (REASON_STRING, _TEXT, _REASONED),
    (RECEIVE_MAXIMUM, _TWO_BYTES, (CONNECT, CONNACK)),
    (TOPIC_ALIAS_MAXIMUM, _TWO_BYTES, (CONNECT, CONNACK)),
    (TOPIC_ALIAS, _TWO_BYTES, (PUBLISH,)),
    (MAXIMUM_QOS, _BYTE, (CONNACK,)),
    (RETAIN_AVAILABLE, _BYTE, (CONNACK,)),
    (USER_PROPERTY, _PAIR, (*_REASONED, CONNECT, PUBLISH, WILL, SUBSCRIBE, UNSUBSCRIBE)),
    (MAXIMUM_PACKET_SIZE, _FOUR_BYTES, (CONNECT, CONNACK)),
    (WILDCARD_SUBSCRIPTION_AVAILABLE, _BYTE, (CONNACK,)),
    (SUBSCRIPTION_IDENTIFIER_AVAILABLE, _BYTE, (CONNACK,)),
    (SHARED_SUBSCRIPTION_AVAILABLE, _BYTE, (CONNACK,)),
)
_IDENTIFIERS: Final = 64  # property identifiers index a 64-bit mask


def _data_types() -> bytes:
    """The data type at the place of each identifier; 0 where there is no such property."""
    types = [0] * _IDENTIFIERS
    for identifier, data_type, _ in PROPERTY_TABLE:
        types[identifier] = data_type
    return bytes(types)


def _allowed_masks() -> list[int]:
    """At the place of each packet type a bit for every property that it may carry."""
    masks = [0] * len(PACKET_NAMES)
    for identifier, _, packet_types in PROPERTY_TABLE:
        for packet_type in packet_types:
            masks[packet_type] |= 1 << identifier
    return masks


_DATA_TYPE: Final = _data_types()
_ALLOWED: Final = _allowed_masks()


def decode_variable_byte_integer(data: bytes, pos: i64, end: i64) -> i64:
    """The variable byte integer at `pos`; raises MalformedPacket where it is cut off or not in its shortest form."""
    value: i64 = 0
    shift: i64 = 0
    while shift < 28:
        if pos >= end:
            raise MalformedPacket(MALFORMED_PACKET, "variable byte integer is cut off")
        byte: i64 = data[pos]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if byte == 0 and shift > 0:
                raise MalformedPacket(MALFORMED_PACKET, "variable byte integer is too long")  # [MQTT-1.5.5-1]
            return value
        pos += 1
        shift += 7
    raise MalformedPacket(MALFORMED_PACKET, "variable byte integer of more than four bytes")


def variable_byte_integer_length(value: i64) -> i64:
    """How many bytes a variable byte integer takes."""
    if value < 0x80:
        return 1
    if value < 0x4000:
        return 2
    return 3 if value < 0x20_0000 else 4


def encode_variable_byte_integer(value: int) -> bytes:
    """A variable byte integer in its shortest form; raises ValueError for more than four bytes hold."""
    if value < 0x80:
        return value.to_bytes(1, "big")
    if value > REMAINING_LENGTH_MAX:
        raise ValueError("too large for a variable byte integer: " + str(value))
    low = value & 0x7F | 0x80
    if value < 0x4000:
        return (low << 8 | value >> 7).to_bytes(2, "big")
    second = value >> 7 & 0x7F | 0x80
    if value < 0x20_0000:
        return (low << 16 | second << 8 | value >> 14).to_bytes(3, "big")
    third = value >> 14 & 0x7F | 0x80
    return (low << 24 | second << 16 | third << 8 | value >> 21).to_bytes(4, "big")


def encode_binary(value: bytes) -> bytes:
    """Bytes after their two-byte length; raises ValueError for more than 65,535 of them."""
    length = len(value)
    if length > 0xFFFF:
        raise ValueError("too long for a field: " + str(length) + " bytes")  # [MQTT-4.7.3-3]
    return length.to_bytes(2, "big") + value


def encode_string(value: str) -> bytes:
    """A UTF-8 Encoded String; raises ValueError for more than 65,535 bytes, a surrogate or U+0000."""
    if "\0" in value:
        raise ValueError("U+0000 in a string")  # [MQTT-1.5.4-2]
    return encode_binary(value.encode("utf-8"))  # [MQTT-1.5.4-1]


def field_end(data: bytes, pos: i64, end: i64) -> i64:
    """Where the field with a two-byte length at `pos` ends; its content begins at `pos + 2`."""
    if end - pos < 2:
        raise MalformedPacket(MALFORMED_PACKET, "field is cut off")
    high: i64 = data[pos]
    low: i64 = data[pos + 1]
    after: i64 = pos + 2 + (high << 8 | low)
    if after > end:
        raise MalformedPacket(MALFORMED_PACKET, "field is longer than its packet")
    return after


def decode_string(content: bytes) -> str:
    """The text of a UTF-8 Encoded String without its length; a leading U+FEFF is part of it [MQTT-1.5.4-3]."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedPacket(MALFORMED_PACKET, "a string that is not UTF-8") from None  # [MQTT-1.5.4-1]
    if "\0" in text:
        raise MalformedPacket(MALFORMED_PACKET, "U+0000 in a string")  # [MQTT-1.5.4-2]
    return text


def properties_bounds(data: bytes, pos: i64, end: i64) -> tuple[i64, i64]:
    """Where the properties behind the property length at `pos` begin and end."""
    length = decode_variable_byte_integer(data, pos, end)  # [MQTT-2.2.2-1]
    start = pos + variable_byte_integer_length(length)
    if length > end - start:
        raise MalformedPacket(MALFORMED_PACKET, "properties are longer than their packet")
    return start, start + length


def decode_properties(data: bytes, pos: i64, end: i64, packet_type: int) -> Properties:
    """The properties between `pos` and `end`, without their length; WILL as the packet type means will properties.

    Raises MalformedPacket for what can't be read or has no place in this packet, ProtocolError for what comes twice and
    for a value that is not allowed.
    """
    properties = Properties()
    seen: i64 = 0
    while pos < end:
        identifier: i64 = data[pos]
        pos += 1
        data_type: i64 = _checked_type(identifier, data, pos, end)
        seen = _note_property(identifier, seen, packet_type)
        if data_type <= _VARIABLE:
            number = _decode_number(data, pos, end, identifier, data_type)
            _set_number(properties, identifier, number)
            pos += data_type if data_type < _VARIABLE else variable_byte_integer_length(number)
            continue
        after = field_end(data, pos, end)
        content = data[pos + 2 : after]
        if data_type == _PAIR:
            pos = after
            after = field_end(data, pos, end)
            pair = (decode_string(content), decode_string(data[pos + 2 : after]))  # [MQTT-1.5.7-1]
            if properties.user_properties is None:
                properties.user_properties = []
            properties.user_properties.append(pair)
            if len(properties.user_properties) > USER_PROPERTIES_MAX:
                raise ProtocolError(QUOTA_EXCEEDED, TOO_MANY)
        elif data_type == _BINARY:
            if identifier == CORRELATION_DATA:
                properties.correlation_data = content
            else:
                properties.authentication_data = content
        elif identifier == RESPONSE_TOPIC:
            check_response_topic(content)  # [MQTT-3.3.2-14]
            properties.response_topic = content
        else:
            _set_text(properties, identifier, decode_string(content))
        pos = after
    if properties.authentication_data is not None and properties.authentication_method is None:
        raise ProtocolError(PROTOCOL_ERROR, "authentication data without authentication method")
    return properties


def read_publish_properties(publish: Publish, data: bytes, pos: i64, end: i64, from_server: bool) -> None:
    """Validate the properties of a PUBLISH and put them where they belong, without a Properties object.

    Topic alias and message expiry interval go into their own fields of `publish`; the bytes of all others travel on as
    they are, in `publish.properties`. Subscription identifiers are only taken `from_server`.
    """
    kept = b""
    kept_pos = pos
    pairs: i64 = 0
    seen: i64 = 0
    while pos < end:
        identifier: i64 = data[pos]
        start = pos
        pos += 1
        data_type: i64 = _checked_type(identifier, data, pos, end)
        seen = _note_property(identifier, seen, PUBLISH)
        if identifier == SUBSCRIPTION_IDENTIFIER and not from_server:
            raise ProtocolError(PROTOCOL_ERROR, "subscription identifier from a client")  # [MQTT-3.3.4-6]
        if data_type <= _VARIABLE:
            number = _decode_number(data, pos, end, identifier, data_type)
            pos += data_type if data_type < _VARIABLE else variable_byte_integer_length(number)
            if identifier == MESSAGE_EXPIRY_INTERVAL or identifier == TOPIC_ALIAS:
                if identifier == TOPIC_ALIAS:
                    publish.topic_alias = i32(number)
                else:
                    publish.message_expiry_interval = number
                kept += data[kept_pos:start]
                kept_pos = pos
            continue
        after = field_end(data, pos, end)
        if data_type == _PAIR:
            pairs += 1
            if pairs > USER_PROPERTIES_MAX:
                raise ProtocolError(QUOTA_EXCEEDED, TOO_MANY)
            check_utf_8(data[pos + 2 : after])  # [MQTT-1.5.7-1]
            pos = after
            after = field_end(data, pos, end)
            check_utf_8(data[pos + 2 : after])
        elif identifier == RESPONSE_TOPIC:
            check_response_topic(data[pos + 2 : after])  # [MQTT-3.3.2-13] [MQTT-3.3.2-14]
        elif data_type == _TEXT:
            check_utf_8(data[pos + 2 : after])  # [MQTT-3.3.2-19]
        pos = after
    # [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-18]
    publish.properties = kept + data[kept_pos:end]  # [MQTT-3.3.2-20]


def without(properties: bytes, unwanted: tuple[int, ...]) -> bytes:
    """Valid properties without some of them; the others stay as they are, in their order."""
    kept = b""
    pos: i64 = 0
    end: i64 = len(properties)
    while pos < end:
        start = pos
        after = _value_end(properties, pos + 1, end, properties[pos])
        if properties[start] not in unwanted:
            kept += properties[start:after]
        pos = after
    return kept


def _value_end(properties: bytes, pos: i64, end: i64, identifier: i64) -> i64:
    """Where the value of a valid property ends that begins at `pos`."""
    data_type: i64 = _DATA_TYPE[identifier]
    if data_type < _VARIABLE:
        return pos + data_type
    if data_type == _VARIABLE:
        return pos + variable_byte_integer_length(decode_variable_byte_integer(properties, pos, end))
    pos = field_end(properties, pos, end)
    return field_end(properties, pos, end) if data_type == _PAIR else pos


def says_utf_8(properties: bytes) -> bool:
    """Whether the Payload Format Indicator among the valid properties of a Publish is 1."""
    pos: i64 = 0
    end: i64 = len(properties)
    while pos < end:
        if properties[pos] == PAYLOAD_FORMAT_INDICATOR:
            return properties[pos + 1] == 1
        pos = _value_end(properties, pos + 1, end, properties[pos])
    return False


def encode_properties(properties: Properties | None) -> bytes:
    """The properties behind their length; a length of zero where there are none."""
    if properties is None:
        return b"\0"  # [MQTT-2.2.2-1]
    body = encode_properties_body(properties)
    return encode_variable_byte_integer(len(body)) + body


def encode_properties_body(properties: Properties) -> bytes:
    """The properties without their length.

    Their order is free. That of CONNACK is the one of mosquitto, byte for byte what its users' tests expect.
    """
    parts = [
        _number(PAYLOAD_FORMAT_INDICATOR, _BYTE, properties.payload_format_indicator),
        _number(MESSAGE_EXPIRY_INTERVAL, _FOUR_BYTES, properties.message_expiry_interval),
        _string(CONTENT_TYPE, properties.content_type),
        _binary(RESPONSE_TOPIC, properties.response_topic),
        _binary(CORRELATION_DATA, properties.correlation_data),
        _number(SESSION_EXPIRY_INTERVAL, _FOUR_BYTES, properties.session_expiry_interval),
        _number(SERVER_KEEP_ALIVE, _TWO_BYTES, properties.server_keep_alive),
        _number(TOPIC_ALIAS_MAXIMUM, _TWO_BYTES, properties.topic_alias_maximum),
        _string(ASSIGNED_CLIENT_IDENTIFIER, properties.assigned_client_identifier),
        _string(AUTHENTICATION_METHOD, properties.authentication_method),
        _binary(AUTHENTICATION_DATA, properties.authentication_data),
        _number(REQUEST_PROBLEM_INFORMATION, _BYTE, properties.request_problem_information),
        _number(WILL_DELAY_INTERVAL, _FOUR_BYTES, properties.will_delay_interval),
        _number(REQUEST_RESPONSE_INFORMATION, _BYTE, properties.request_response_information),
        _string(RESPONSE_INFORMATION, properties.response_information),
        _string(SERVER_REFERENCE, properties.server_reference),
        _string(REASON_STRING, properties.reason_string),
        _number(TOPIC_ALIAS, _TWO_BYTES, properties.topic_alias),
        _number(WILDCARD_SUBSCRIPTION_AVAILABLE, _BYTE, properties.wildcard_subscription_available),
        _number(SUBSCRIPTION_IDENTIFIER_AVAILABLE, _BYTE, properties.subscription_identifier_available),
        _number(SHARED_SUBSCRIPTION_AVAILABLE, _BYTE, properties.shared_subscription_available),
        _number(RETAIN_AVAILABLE, _BYTE, properties.retain_available),
        _number(MAXIMUM_PACKET_SIZE, _FOUR_BYTES, properties.maximum_packet_size),
        _number(RECEIVE_MAXIMUM, _TWO_BYTES, properties.receive_maximum),
        _number(MAXIMUM_QOS, _BYTE, properties.maximum_qos),
    ]
    if properties.subscription_identifiers is not None:
        for subscription_identifier in properties.subscription_identifiers:
            parts.append(encode_subscription_identifier(subscription_identifier))
    if properties.user_properties is not None:
        for name, value in properties.user_properties:
            parts.append(USER_PROPERTY.to_bytes(1, "big") + encode_string(name) + encode_string(value))
    return b"".join(parts)


def encode_subscription_identifier(subscription_identifier: int) -> bytes:
    """The property Subscription Identifier."""
    return SUBSCRIPTION_IDENTIFIER.to_bytes(1, "big") + encode_variable_byte_integer(subscription_identifier)


def _checked_type(identifier: i64, data: bytes, pos: i64, end: i64) -> i64:
    """The data type of a property; raises MalformedPacket where there is no such property or its value is cut off."""
    data_type: i64 = _DATA_TYPE[identifier] if identifier < _IDENTIFIERS else 0
    if data_type == 0:
        raise MalformedPacket(MALFORMED_PACKET, f"no property is {int(identifier):#04x}")
    if data_type < _VARIABLE and end - pos < data_type:
        raise MalformedPacket(MALFORMED_PACKET, "property is cut off")
    if data_type > _VARIABLE:
        after = field_end(data, pos, end)
        if data_type == _PAIR:
            field_end(data, after, end)
    elif data_type == _VARIABLE:
        decode_variable_byte_integer(data, pos, end)
    return data_type


def _note_property(identifier: i64, seen: i64, packet_type: int) -> i64:
    """`seen`, a bit for every property met so far, with this one; raises where it may not come here or not again."""
    allowed: i64 = _ALLOWED[packet_type]
    if not allowed >> identifier & 1:
        place = "will properties" if packet_type == WILL else PACKET_NAMES[packet_type]
        phrase = f"property {int(identifier):#04x} has no place in {place}"
        in_subscribe = packet_type == SUBSCRIBE or packet_type == UNSUBSCRIBE
        raise MalformedPacket(MALFORMED_PACKET, phrase, MALFORMED_PACKET if in_subscribe else PROTOCOL_ERROR)
    bit: i64 = 1
    bit <<= identifier  # in two steps: mypyc shifts a literal in 32 bits
    repeatable = identifier == USER_PROPERTY or (identifier == SUBSCRIPTION_IDENTIFIER and packet_type == PUBLISH)
    if seen & bit and not repeatable:
        raise ProtocolError(PROTOCOL_ERROR, f"property {int(identifier):#04x} comes twice")
    return seen | bit


def _decode_number(data: bytes, pos: i64, end: i64, identifier: i64, data_type: i64) -> i64:
    """The number that is this property's value; raises ProtocolError for one that is not allowed."""
    value: i64 = 0
    if data_type == _VARIABLE:
        value = decode_variable_byte_integer(data, pos, end)
    else:
        for index in range(pos, pos + data_type):
            byte: i64 = data[index]
            value = value << 8 | byte
    if data_type == _BYTE:
        if value > 1:
            raise ProtocolError(PROTOCOL_ERROR, f"property {int(identifier):#04x} is neither 0 nor 1")
    elif value == 0:
        if identifier == TOPIC_ALIAS:
            raise ProtocolError(TOPIC_ALIAS_INVALID, "topic alias 0")  # [MQTT-3.3.2-8]
        if identifier == SUBSCRIPTION_IDENTIFIER:
            raise ProtocolError(PROTOCOL_ERROR, "subscription identifier 0", MALFORMED_PACKET)
        if identifier == RECEIVE_MAXIMUM or identifier == MAXIMUM_PACKET_SIZE:
            raise ProtocolError(PROTOCOL_ERROR, f"property {int(identifier):#04x} is 0")
    return value


def _set_number(properties: Properties, identifier: i64, value: i64) -> None:
    if identifier == PAYLOAD_FORMAT_INDICATOR:
        properties.payload_format_indicator = value
    elif identifier == MESSAGE_EXPIRY_INTERVAL:
        properties.message_expiry_interval = value
    elif identifier == SESSION_EXPIRY_INTERVAL:
        properties.session_expiry_interval = value
    elif identifier == SERVER_KEEP_ALIVE:
        properties.server_keep_alive = value
    elif identifier == REQUEST_PROBLEM_INFORMATION:
        properties.request_problem_information = value
    elif identifier == WILL_DELAY_INTERVAL:
        properties.will_delay_interval = value
    elif identifier == REQUEST_RESPONSE_INFORMATION:
        properties.request_response_information = value
    elif identifier == RECEIVE_MAXIMUM:
        properties.receive_maximum = value
    elif identifier == TOPIC_ALIAS_MAXIMUM:
        properties.topic_alias_maximum = value
    elif identifier == TOPIC_ALIAS:
        properties.topic_alias = value
    elif identifier == MAXIMUM_QOS:
        properties.maximum_qos = value
    elif identifier == RETAIN_AVAILABLE:
        properties.retain_available = value
    elif identifier == MAXIMUM_PACKET_SIZE:
        properties.maximum_packet_size = value
    elif identifier == WILDCARD_SUBSCRIPTION_AVAILABLE:
        properties.wildcard_subscription_available = value
    elif identifier == SUBSCRIPTION_IDENTIFIER_AVAILABLE:
        properties.subscription_identifier_available = value
    elif identifier == SHARED_SUBSCRIPTION_AVAILABLE:
        properties.shared_subscription_available = value
    elif properties.subscription_identifiers is None:
        properties.subscription_identifiers = [value]
    else:
        properties.subscription_identifiers.append(value)


def _set_text(properties: Properties, identifier: i64, value: str) -> None:
    if identifier == CONTENT_TYPE:
        properties.content_type = value
    elif identifier == ASSIGNED_CLIENT_IDENTIFIER:
        properties.assigned_client_identifier = value
    elif identifier == AUTHENTICATION_METHOD:
        properties.authentication_method = value
    elif identifier == RESPONSE_INFORMATION:
        properties.response_information = value
    elif identifier == SERVER_REFERENCE:
        properties.server_reference = value
    else:
        properties.reason_string = value


def _number(identifier: int, size: int, value: int) -> bytes:
    if value == ABSENT:
        return b""
    return identifier.to_bytes(1, "big") + value.to_bytes(size, "big")


def _binary(identifier: int, value: bytes | None) -> bytes:
    return b"" if value is None else identifier.to_bytes(1, "big") + encode_binary(value)


def _string(identifier: int, value: str | None) -> bytes:
    return b"" if value is None else identifier.to_bytes(1, "big") + encode_string(value)
