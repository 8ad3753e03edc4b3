"""The MQTT packets as plain values: a class a packet, fields named as in the specification.

Text is `str`, except topic names, topic filters and response topics: those are validated UTF-8 in `bytes`, because the
broker compares, splits and forwards them and never shows them. An optional number that is absent is `ABSENT`; an
optional string is None. The fixed header's own fields (type, remaining length) are not kept.
"""

from __future__ import annotations

from typing import Final, TypeAlias, final

from mypy_extensions import i32, i64, mypyc_attr, u8

ABSENT: Final = -1


@final
@mypyc_attr(native_class=True, acyclic=True)
class Properties:
    """The properties of one MQTT 5.0 packet, MQTT 5.0 section 2.2.2: a field each, ABSENT or None where not sent."""

    def __init__(self) -> None:
        # Numbers: Byte, Two, Four and Variable Byte Integers alike.
        self.payload_format_indicator: i64 = ABSENT
        self.message_expiry_interval: i64 = ABSENT  # seconds
        self.session_expiry_interval: i64 = ABSENT  # seconds
        self.server_keep_alive: i64 = ABSENT  # seconds
        self.request_problem_information: i64 = ABSENT
        self.will_delay_interval: i64 = ABSENT  # seconds
        self.request_response_information: i64 = ABSENT
        self.receive_maximum: i64 = ABSENT
        self.topic_alias_maximum: i64 = ABSENT
        self.topic_alias: i64 = ABSENT
        self.maximum_qos: i64 = ABSENT
        self.retain_available: i64 = ABSENT
        self.maximum_packet_size: i64 = ABSENT  # bytes
        self.wildcard_subscription_available: i64 = ABSENT
        self.subscription_identifier_available: i64 = ABSENT
        self.shared_subscription_available: i64 = ABSENT
        # Strings and binary data.
        self.content_type: str | None = None
        self.response_topic: bytes | None = None
        self.correlation_data: bytes | None = None
        self.assigned_client_identifier: str | None = None
        self.authentication_method: str | None = None
        self.authentication_data: bytes | None = None
        self.response_information: str | None = None
        self.server_reference: str | None = None
        self.reason_string: str | None = None
        # Those that may come more than once, in the order in which they came.
        self.subscription_identifiers: list[int] | None = None
        self.user_properties: list[tuple[str, str]] | None = None


@final
@mypyc_attr(native_class=True, acyclic=True)
class Publish:
    """An application message: the same object from the decoder through queues and sessions to every subscriber.

    What belongs to one hop (DUP, packet identifier, topic alias) is filled by the decoder and read once, before the
    message goes on. `properties` are the encoded MQTT 5.0 properties that travel with the message unchanged (payload
    format indicator, content type, response topic, correlation data, user properties), without their length.
    """

    def __init__(self, topic_name: bytes, payload: bytes, qos: u8, retain: bool) -> None:
        self.topic_name = topic_name
        self.payload = payload
        self.properties: bytes = b""
        self.qos: u8 = qos
        self.retain: bool = retain
        self.dup: bool = False
        self.packet_identifier: i32 = 0
        self.topic_alias: i32 = 0  # 0: none
        self.message_expiry_interval: i64 = ABSENT  # seconds, as it was received
        self.expires_at_ms: i64 = 0  # wall clock, milliseconds since 1970; 0: never
        self.client_id: str = ""  # who published it; "" for the broker itself
        self.origin: str = ""  # the node it entered at; "" for this one
        self.stored_id: i64 = 0  # the store's number for it
        # One frame a layout, made at the first delivery that needs it: QoS 0 whole packets in MQTT 3.x and 5.0.
        self.frame_3: bytes | None = None
        self.frame_5: bytes | None = None


@final
@mypyc_attr(native_class=True, acyclic=True)
class Will:
    """A will message with its delay, MQTT 5.0 section 3.1.2.5."""

    def __init__(self, publish: Publish, will_delay_interval: i64) -> None:
        self.publish = publish
        self.will_delay_interval: i64 = will_delay_interval  # seconds


@final
@mypyc_attr(native_class=True, acyclic=True)
class Connect:
    """CONNECT, MQTT 5.0 section 3.1."""

    def __init__(self) -> None:
        self.protocol_version: u8 = 4  # 3, 4 or 5, without the bridge bit
        self.bridge: bool = False  # the bridge bit of mosquitto was set
        self.clean_start: bool = True  # Clean Session in 3.x
        self.keep_alive: i32 = 0  # seconds
        self.client_id: str = ""
        self.assigned: bool = False  # the client id was empty, and the broker gave it one
        self.will: Will | None = None
        self.username: str | None = None
        self.password: bytes | None = None
        self.properties: Properties | None = None  # 5.0 only, None where empty
        self.answer: Properties | None = None  # what whoever let the client in has for its CONNACK
        self.arrived_ms: i64 = 0  # monotonic: which of two of one client is the newer, however late they are let in


@final
@mypyc_attr(native_class=True, acyclic=True)
class Connack:
    """CONNACK, MQTT 5.0 section 3.2. In 3.x the reason code is the return code."""

    def __init__(self, session_present: bool, reason_code: u8, properties: Properties | None = None) -> None:
        self.session_present = session_present
        self.reason_code: u8 = reason_code
        self.properties = properties


@final
@mypyc_attr(native_class=True, acyclic=True)
class Ack:
    """PUBACK, PUBREC, PUBREL or PUBCOMP, MQTT 5.0 sections 3.4 to 3.7: `packet_type` says which."""

    def __init__(
        self, packet_type: u8, packet_identifier: i32, reason_code: u8 = 0, properties: Properties | None = None
    ) -> None:
        self.packet_type: u8 = packet_type
        self.packet_identifier: i32 = packet_identifier
        self.reason_code: u8 = reason_code
        self.properties = properties


@final
@mypyc_attr(native_class=True, acyclic=True)
class TopicRequest:
    """One topic filter of a SUBSCRIBE with its options, MQTT 5.0 section 3.8.3.1."""

    def __init__(
        self,
        topic_filter: bytes,
        qos: u8,
        no_local: bool = False,
        retain_as_published: bool = False,
        retain_handling: u8 = 0,
    ) -> None:
        self.topic_filter = topic_filter
        self.qos: u8 = qos
        self.no_local = no_local
        self.retain_as_published = retain_as_published
        self.retain_handling: u8 = retain_handling


@final
@mypyc_attr(native_class=True, acyclic=True)
class Subscribe:
    """SUBSCRIBE, MQTT 5.0 section 3.8."""

    def __init__(
        self, packet_identifier: i32, requests: list[TopicRequest], properties: Properties | None = None
    ) -> None:
        self.packet_identifier: i32 = packet_identifier
        self.requests = requests
        self.properties = properties


@final
@mypyc_attr(native_class=True, acyclic=True)
class Unsubscribe:
    """UNSUBSCRIBE, MQTT 5.0 section 3.10."""

    def __init__(
        self, packet_identifier: i32, topic_filters: list[bytes], properties: Properties | None = None
    ) -> None:
        self.packet_identifier: i32 = packet_identifier
        self.topic_filters = topic_filters
        self.properties = properties


@final
@mypyc_attr(native_class=True, acyclic=True)
class Suback:
    """SUBACK or UNSUBACK, MQTT 5.0 sections 3.9 and 3.11; an UNSUBACK of 3.x has no reason codes."""

    def __init__(
        self, packet_type: u8, packet_identifier: i32, reason_codes: bytes, properties: Properties | None = None
    ) -> None:
        self.packet_type: u8 = packet_type
        self.packet_identifier: i32 = packet_identifier
        self.reason_codes = reason_codes
        self.properties = properties


@final
@mypyc_attr(native_class=True, acyclic=True)
class Disconnect:
    """DISCONNECT, MQTT 5.0 section 3.14."""

    def __init__(self, reason_code: u8 = 0, properties: Properties | None = None) -> None:
        self.reason_code: u8 = reason_code
        self.properties = properties


@final
@mypyc_attr(native_class=True, acyclic=True)
class Auth:
    """AUTH, MQTT 5.0 section 3.15."""

    def __init__(self, reason_code: u8 = 0, properties: Properties | None = None) -> None:
        self.reason_code: u8 = reason_code
        self.properties = properties


@final
@mypyc_attr(native_class=True, acyclic=True)
class Ping:
    """PINGREQ or PINGRESP, MQTT 5.0 sections 3.12 and 3.13: `packet_type` says which."""

    def __init__(self, packet_type: u8) -> None:
        self.packet_type: u8 = packet_type


Packet: TypeAlias = Connect | Connack | Publish | Ack | Subscribe | Unsubscribe | Suback | Disconnect | Auth | Ping
