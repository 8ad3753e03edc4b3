"""MQTT packets in the words of the specification, for people who look for a fault.

What is secret is never shown: passwords and authentication data are given by their length, payloads are cut.
"""

from __future__ import annotations

from typing import Final

from swellmq.codec import spec
from swellmq.codec.decode import check_flags, decode, decode_publish, header_length
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
    TopicRequest,
    Unsubscribe,
)
from swellmq.codec.properties import decode_properties
from swellmq.codec.reasons import REASON_CODES
from swellmq.errors import PeerError, printable

SHOWN_BYTES: Final = 64  # of a payload
FILTERS_SHOWN: Final = 16
TEXT_SHOWN: Final = 200  # characters of a name or property

VERSION_NAMES: Final = {3: "MQTT 3.1", 4: "MQTT 3.1.1", 5: "MQTT 5.0"}
RETURN_CODES: Final = (
    "connection accepted",
    "unacceptable protocol version",
    "identifier rejected",
    "server unavailable",
    "bad user name or password",
    "not authorized",
)
NO_FAULTS: Final = {
    0x04: "disconnect with will message",
    0x10: "no matching subscribers",
    0x11: "no subscription existed",
    0x18: "continue authentication",
    0x19: "re-authenticate",
}

# The fields of Properties in the order in which they are shown, by kind.
NUMBERS: Final = (
    "session_expiry_interval",
    "receive_maximum",
    "maximum_packet_size",
    "topic_alias_maximum",
    "topic_alias",
    "server_keep_alive",
    "maximum_qos",
    "retain_available",
    "wildcard_subscription_available",
    "subscription_identifier_available",
    "shared_subscription_available",
    "request_problem_information",
    "request_response_information",
    "payload_format_indicator",
    "message_expiry_interval",
    "will_delay_interval",
)
TEXTS: Final = (
    "assigned_client_identifier",
    "authentication_method",
    "content_type",
    "response_information",
    "server_reference",
    "reason_string",
)


def describe(data: bytes, pos: int, end: int, total: int, protocol_version: int, from_server: bool) -> str:
    """The packet of `total` bytes at `pos`, of which those before `end` are at hand, in one line."""
    first = data[pos]
    name = spec.PACKET_NAMES[first >> 4]
    try:
        if end - pos >= total:
            packet, _ = decode(data[pos:end], 0, protocol_version, from_server)
            return f"{name} {words(packet, protocol_version)}".rstrip() if packet is not None else name
        if first >> 4 == spec.PUBLISH:
            check_flags(first, protocol_version)
            publish = decode_publish(first, data, pos + header_length(total), end, protocol_version, from_server)
            missing = total - (end - pos)
            return f"{name} {_publish(publish, len(publish.payload) + missing)}"
        return f"{name} of {total} bytes"
    except PeerError as error:
        return f"{name} that is malformed ({error.phrase}): {data[pos : min(end, pos + SHOWN_BYTES)].hex(' ')}"


def words(packet: Packet, protocol_version: int) -> str:
    """The fields of a packet."""
    if isinstance(packet, Publish):
        return _publish(packet, len(packet.payload))
    if isinstance(packet, Connect):
        return _connect(packet)
    if isinstance(packet, Connack):
        return _connack(packet, protocol_version)
    if isinstance(packet, Ack):
        facts = [f"packet identifier {int(packet.packet_identifier)}"]
        if packet.reason_code:
            facts.append(reason(packet.reason_code))
        return _joined(facts, packet.properties)
    if isinstance(packet, Subscribe):
        requests = [_request(request) for request in packet.requests]
        return _joined([f"packet identifier {int(packet.packet_identifier)}", *_some(requests)], packet.properties)
    if isinstance(packet, Unsubscribe):
        filters = [_text(topic_filter) for topic_filter in packet.topic_filters]
        return _joined([f"packet identifier {int(packet.packet_identifier)}", *_some(filters)], packet.properties)
    if isinstance(packet, Suback):
        granted = packet.packet_type == spec.SUBACK
        codes = [f"granted QoS {code}" if granted and code < 3 else reason(code) for code in packet.reason_codes]
        return _joined([f"packet identifier {int(packet.packet_identifier)}", *_some(codes)], packet.properties)
    if isinstance(packet, Disconnect | Auth):
        return _joined([reason(packet.reason_code)] if protocol_version == spec.MQTT_5_0 else [], packet.properties)
    return ""


def reason(code: int) -> str:
    """A reason code, `not authorized (0x87)`."""
    if code == 0:
        return "success"
    return f"{REASON_CODES.get(code) or NO_FAULTS.get(code, 'reason code')} (0x{int(code):02x})"


def shown(payload: bytes, size: int = -1) -> str:
    """A payload, cut: as text where it is some, else in hex. `size` is its length where not all of it is at hand."""
    size = len(payload) if size < 0 else size
    cut = payload[:SHOWN_BYTES]
    try:
        text = cut.decode()
    except UnicodeDecodeError as error:  # of the last character, it was only cut
        text = cut[: error.start].decode() if len(payload) > SHOWN_BYTES and error.start > SHOWN_BYTES - 4 else ""
    more = "..." if size > len(cut) else ""
    if not size:
        return "no payload"
    if text and text.isprintable():
        return f'payload of {size} bytes "{text}{more}"'
    return f"payload of {size} bytes {cut.hex(' ')}{' ' + more if more else ''}"


def _publish(publish: Publish, size: int) -> str:
    facts = [f"QoS {int(publish.qos)}"]
    if publish.packet_identifier:
        facts.append(f"packet identifier {int(publish.packet_identifier)}")
    if publish.dup:
        facts.append("DUP")
    if publish.retain:
        facts.append("RETAIN")
    if publish.topic_name:
        facts.append("topic " + _text(publish.topic_name))
    if publish.topic_alias:
        facts.append(f"topic alias {int(publish.topic_alias)}")
    if publish.message_expiry_interval != ABSENT:
        facts.append(f"message expiry interval {int(publish.message_expiry_interval)}")
    facts.append(shown(publish.payload, size))
    properties = publish.properties
    return _joined(facts, decode_properties(properties, 0, len(properties), spec.PUBLISH) if properties else None)


def _connect(connect: Connect) -> str:
    facts = [VERSION_NAMES[int(connect.protocol_version)]]
    facts.append(f"client identifier {_text(connect.client_id)}" if connect.client_id else "no client identifier")
    if connect.clean_start:
        facts.append("clean start" if connect.protocol_version == spec.MQTT_5_0 else "clean session")
    facts.append(f"keep alive {int(connect.keep_alive)}")
    if connect.bridge:
        facts.append("bridge")
    if connect.username is not None:
        facts.append(f"user name {_text(connect.username)}")
    if connect.password is not None:
        facts.append(f"password of {len(connect.password)} bytes")
    if connect.will is not None:
        will = connect.will.publish
        delay = int(connect.will.will_delay_interval)
        facts.append(f"will ({_publish(will, len(will.payload))}{f', delay {delay}' if delay else ''})")
    return _joined(facts, connect.properties)


def _connack(connack: Connack, protocol_version: int) -> str:
    code = int(connack.reason_code)
    if protocol_version == spec.MQTT_5_0:
        facts = [reason(code)]
    else:
        facts = [RETURN_CODES[code] if code < len(RETURN_CODES) else f"return code {code}"]
    if connack.session_present:
        facts.append("session present")
    return _joined(facts, connack.properties)


def _request(request: TopicRequest) -> str:
    options = [f"QoS {int(request.qos)}"]
    if request.no_local:
        options.append("no local")
    if request.retain_as_published:
        options.append("retain as published")
    if request.retain_handling:
        options.append(f"retain handling {int(request.retain_handling)}")
    return f"{_text(request.topic_filter)} ({', '.join(options)})"


def _some(facts: list[str]) -> list[str]:
    more = len(facts) - FILTERS_SHOWN
    return facts if more <= 0 else [*facts[:FILTERS_SHOWN], f"and {more} more"]


def _text(value: str | bytes) -> str:
    text = printable(value if isinstance(value, str) else value.decode(errors="replace"))
    return text if len(text) <= TEXT_SHOWN else text[:TEXT_SHOWN] + "..."


def _joined(facts: list[str], properties: Properties | None) -> str:
    return ", ".join(facts if properties is None else [*facts, *_properties(properties)])


def _properties(properties: Properties) -> list[str]:
    facts: list[str] = []
    for name in NUMBERS:
        number = getattr(properties, name)
        if number != ABSENT:
            facts.append(f"{name.replace('_', ' ')} {number}")
    for name in TEXTS:
        text = getattr(properties, name)
        if text is not None:
            facts.append(f'{name.replace("_", " ")} "{_text(text)}"')
    if properties.response_topic is not None:
        facts.append("response topic " + _text(properties.response_topic))
    if properties.correlation_data is not None:
        cut = properties.correlation_data[:SHOWN_BYTES].hex(" ")
        facts.append(f"correlation data of {len(properties.correlation_data)} bytes {cut}")
    if properties.authentication_data is not None:
        facts.append(f"authentication data of {len(properties.authentication_data)} bytes")
    for identifier in properties.subscription_identifiers or []:
        facts.append(f"subscription identifier {identifier}")
    for key, value in properties.user_properties or []:
        facts.append(f'user property "{_text(key)}" = "{_text(value)}"')
    return facts
