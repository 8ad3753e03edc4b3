"""What a packet says beyond its reason code: Reason String, User Properties, Server Reference; and which codes it has.

All that refuses comes by here, so that two rules stand in one place: a reason code of access goes out only in a packet
that may carry it, and words only to a client that wants them and has room for them.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from mypy_extensions import u8

from swellmq.broker.access import Request
from swellmq.codec import spec
from swellmq.codec.decode import DISCONNECT_REASONS
from swellmq.codec.encode import encode
from swellmq.codec.packets import Ack, Auth, Connack, Disconnect, Properties, Suback
from swellmq.connection import PROBLEMS_UNWANTED, PROBLEMS_WANTED, Connection

NOT_STORED: Final = "the store can't write at the moment"

Reasoned: TypeAlias = Ack | Auth | Connack | Disconnect | Suback


def allowed_reason(reason_code: int, reason_codes: bytes) -> int:
    """`reason_code` where it refuses and is one of `reason_codes`, else one that every packet that refuses may carry.

    What access answers is not ours: a code that has no place in a packet would make that packet malformed.
    """
    if spec.UNSPECIFIED_ERROR <= reason_code <= 0xFF and reason_code in reason_codes:
        return reason_code
    return spec.IMPLEMENTATION_SPECIFIC_ERROR


def explained(connection: Connection, packet: Reasoned, phrase: str, request: Request | None = None) -> bytes:
    """The bytes of `packet` with `phrase` as its Reason String, or what access answered in its place.

    Each of Reason String and User Properties is left out where the client does not want it (MQTT 5.0 section
    3.1.2.11.7) or has no room for it; the packet's properties are then those that were encoded.
    """
    reason_string = phrase if phrase and connection.problem_information == PROBLEMS_WANTED else None
    if request is None:
        return explained_by(connection, packet, reason_string, None)
    if request.reason_string is not None:
        reason_string = request.reason_string
    return explained_by(connection, packet, reason_string, request.user_properties)


def explained_by(
    connection: Connection, packet: Reasoned, reason_string: str | None, user_properties: list[tuple[str, str]] | None
) -> bytes:
    """The bytes of `packet` with these, as `explained` says."""
    version = connection.protocol_version
    silent = reason_string is None and user_properties is None
    if silent or version != spec.MQTT_5_0 or connection.problem_information == PROBLEMS_UNWANTED:  # [MQTT-3.1.2-29]
        return encode(packet, version)
    before = packet.properties
    properties = packet.properties = Properties() if before is None else before
    properties.reason_string = reason_string
    properties.user_properties = user_properties
    data = encode(packet, version)
    if not connection.takes(data) and user_properties is not None:
        # [MQTT-3.2.2-20] [MQTT-3.4.2-3] [MQTT-3.5.2-3] [MQTT-3.6.2-3] [MQTT-3.7.2-3] [MQTT-3.9.2-2] [MQTT-3.11.2-2]
        properties.user_properties = None  # [MQTT-3.14.2-4] [MQTT-3.15.2-3]
        data = encode(packet, version)
    if not connection.takes(data):
        # [MQTT-3.2.2-19] [MQTT-3.4.2-2] [MQTT-3.5.2-2] [MQTT-3.6.2-2] [MQTT-3.7.2-2] [MQTT-3.9.2-1] [MQTT-3.11.2-1]
        properties.reason_string = None  # [MQTT-3.14.2-3] [MQTT-3.15.2-2]
        packet.properties = before
        data = encode(packet, version)
    return data


def reference(reason_code: int, request: Request | None) -> Properties | None:
    """The Server Reference that access answered; only two reason codes send a client elsewhere, section 4.11."""
    if request is None or request.server_reference is None or not sends_away(reason_code):
        return None
    properties = Properties()
    properties.server_reference = request.server_reference
    return properties


def sends_away(reason_code: int) -> bool:
    """Whether a client is to go to another server, for now or for good."""
    return reason_code == spec.USE_ANOTHER_SERVER or reason_code == spec.SERVER_MOVED


def disconnect(
    connection: Connection, reason_code: int, reason: u8, phrase: str = "", request: Request | None = None
) -> None:
    """Close a connection for `reason`; an MQTT 5.0 client that is connected gets a DISCONNECT with the code first."""
    if connection.protocol_version == spec.MQTT_5_0 and connection.owner is not None:  # [MQTT-3.14.0-1]
        code = allowed_reason(reason_code, DISCONNECT_REASONS)  # [MQTT-3.14.2-1]
        packet = explained(connection, Disconnect(code, reference(code, request)), phrase, request)
        if connection.takes(packet):
            connection.send(packet)  # [MQTT-3.14.2-2]
    connection.close(reason)  # [MQTT-3.14.4-2] [MQTT-4.13.2-1]
