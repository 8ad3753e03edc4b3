"""PUBLISH from a client: what is checked, stored and answered before and after it is routed, MQTT 5.0 section 3.3."""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from swellmq.broker.access import PUBLISH, Request
from swellmq.broker.core import Core
from swellmq.broker.explain import NOT_STORED, allowed_reason, explained
from swellmq.broker.publish import expired, is_durable, retained_full, route_publish
from swellmq.broker.session import Session
from swellmq.broker.topics import closed_to_clients
from swellmq.codec import spec
from swellmq.codec.decode import PUBACK_REASONS, decode_publish
from swellmq.codec.encode import encode_short_ack
from swellmq.codec.packets import ABSENT, Ack, Publish
from swellmq.codec.properties import says_utf_8
from swellmq.connection import Aliases, Connection
from swellmq.errors import STORE_FAILING, ProtocolError

DOLLAR: Final = 0x24
NOT_UTF_8: Final = "a payload that is not UTF-8, as it says"


def on_publish(
    core: Core, connection: Connection, session: Session, first: int, data: bytes, pos: i64, end: i64
) -> None:
    """Take one PUBLISH: resolve its alias, check it against the limits, ask access if it wants to be asked."""
    publish = decode_publish(first, data, pos, end, connection.protocol_version)
    stats = core.stats
    stats.publishes_received += 1
    stats.publish_bytes_received += len(publish.payload)
    if publish.topic_alias:
        _resolve_alias(core, connection, publish)
    limits = core.limits
    if int(publish.qos) > core.maximum_qos(connection):
        raise ProtocolError(spec.QOS_NOT_SUPPORTED, "QoS above the Maximum QoS")  # [MQTT-3.2.2-11]
    if publish.retain and not limits.retain_available:
        raise ProtocolError(spec.RETAIN_NOT_SUPPORTED, "RETAIN where retain is not available")  # [MQTT-3.2.2-14]
    if len(publish.topic_name) > limits.topic_bytes or publish.topic_name.count(b"/") >= limits.topic_levels:
        raise ProtocolError(spec.TOPIC_NAME_INVALID, "a topic name that is too long")
    publish.client_id = session.client_id
    if publish.message_expiry_interval != ABSENT:
        publish.expires_at_ms = core.turn.wall_ms + publish.message_expiry_interval * 1000
    if publish.qos == 2:  # [MQTT-4.3.2-5]
        received = session.received
        if received is not None:
            earlier = received.get(int(publish.packet_identifier))
            if earlier is None and publish.packet_identifier in received:
                # A repetition: it was routed before, and only its PUBREC was lost, [MQTT-4.3.3-10].
                connection.send_in_order(encode_short_ack(spec.PUBREC, int(publish.packet_identifier)))
                return
            held_to_it = connection.protocol_version == spec.MQTT_5_0 or limits.like_mosquitto
            if earlier is None and len(received) >= limits.receive_maximum and held_to_it:
                # [MQTT-3.3.4-7]: QoS 1 is acknowledged in this turn, or once it is stored, and no client waits longer.
                raise ProtocolError(spec.RECEIVE_MAXIMUM_EXCEEDED, "more than the Receive Maximum under way")
    if core.spans is not None:
        core.spans.received(publish, int(connection.protocol_version))
    if len(publish.payload) > limits.payload_bytes:
        too_large = spec.PACKET_TOO_LARGE if limits.like_mosquitto else spec.QUOTA_EXCEEDED
        accept_publish(core, connection, session, publish, too_large, "a payload larger than is taken here")
        return
    if publish.topic_name[0] == DOLLAR and closed_to_clients(publish.topic_name):
        accept_publish(core, connection, session, publish, spec.NOT_AUTHORIZED, "a topic that is closed to clients")
        return
    if limits.check_payload_format and not payload_is_as_said(publish):
        if not publish.qos:
            raise ProtocolError(spec.PAYLOAD_FORMAT_INVALID, NOT_UTF_8)
        accept_publish(core, connection, session, publish, spec.PAYLOAD_FORMAT_INVALID, NOT_UTF_8)
        return
    if core.permissions is not None and not core.permissions.may_publish(session, publish):
        core.stats.refused_publishes += 1
        accept_publish(core, connection, session, publish, spec.NOT_AUTHORIZED, "refused by access control")
        return
    if core.access.authorizes_publish:
        request = core.park(PUBLISH, connection, session.client_id, session.username)
        request.publish = publish
        core.requests.append(request)
        return
    accept_publish(core, connection, session, publish, 0)


def payload_is_as_said(publish: Publish) -> bool:
    """Whether the payload is UTF-8 where its Payload Format Indicator says so, MQTT 5.0 section 3.3.2.3.2."""
    if publish.properties and says_utf_8(publish.properties):
        try:
            publish.payload.decode()
        except UnicodeDecodeError:
            return False
    return True


def accept_publish(
    core: Core,
    connection: Connection,
    session: Session,
    publish: Publish,
    refusal: int,
    phrase: str = "",
    request: Request | None = None,
) -> None:
    """Route a PUBLISH and acknowledge it; `refusal` is the reason code why it is forbidden, or 0, `phrase` says why in
    words, and `request` is the question that access answered so.

    An MQTT 3.x client is acknowledged all the same: it has no way to be told, and would repeat it for ever.
    """
    changes = core.changes
    five = connection.protocol_version == spec.MQTT_5_0
    if refusal:
        if request is not None:
            refusal = allowed_reason(refusal, PUBACK_REASONS)  # [MQTT-3.4.2-1] [MQTT-3.5.2-1]
    elif publish.retain and publish.qos and five and retained_full(core, publish):
        refusal = spec.QUOTA_EXCEEDED  # it can't be retained, so nothing of it is taken (docs/decisions/0003)
        phrase = "no room for another retained message"
        core.stats.dropped_retained_full += 1
    elif core.storage.refusal and is_durable(core, publish, session):
        core.stats.refused_not_stored += 1
        if not publish.qos:
            publish.retain = False  # nobody is told, so its subscribers get it at least
        elif five:
            refusal = core.storage.refusal
            phrase = NOT_STORED
        else:
            connection.close(STORE_FAILING)  # it has no other way to learn that it must send it again
            return
    reason_code = refusal
    matched = 0
    if not refusal:  # [MQTT-4.3.3-9]
        withheld = publish.qos == 2 and _is_withheld(core)
        if publish.qos == 2:
            if session.received is None:
                session.received = {}
            session.received[int(publish.packet_identifier)] = publish if withheld else None
            if core.kept(session):
                core.touch()
                core.storage.received_saved(session, int(publish.packet_identifier))
        if request is not None and publish.message_expiry_interval and expired(core, publish):
            core.stats.dropped_expired += 1  # [MQTT-3.3.2-5]: while it waited for the answer
            matched = 1
        elif not withheld:
            matched = route_publish(core, publish, session, connection)
        if not matched and publish.qos == 1 and not core.uplink.enabled:
            reason_code = spec.NO_MATCHING_SUBSCRIBERS
    if core.spans is not None:
        core.spans.routed(publish, matched, reason_code)
    if publish.qos == 0:
        return
    packet_type = spec.PUBACK if publish.qos == 1 else spec.PUBREC  # [MQTT-3.3.4-1] [MQTT-4.3.2-4] [MQTT-4.3.3-8]
    if (reason_code == 0 and (request is None or request.silent())) or not five:  # [MQTT311-3.3.5-2]
        packet = encode_short_ack(packet_type, int(publish.packet_identifier))  # [MQTT-2.2.1-5]
    else:
        packet = explained(connection, Ack(packet_type, publish.packet_identifier, reason_code), phrase, request)
    core.acknowledge(connection, packet, changes)  # [MQTT-4.6.0-2] [MQTT-4.6.0-3]


def _is_withheld(core: Core) -> bool:
    """Whether a QoS 2 message is routed only once it is released, as mosquitto does; a newer message with its packet
    identifier replaces it until then. A message that is to be safe from its PUBREC on can't wait in memory."""
    return core.limits.like_mosquitto and not core.storage.durable and not core.uplink.enabled


def _resolve_alias(core: Core, connection: Connection, publish: Publish) -> None:
    """Set or look up a topic alias of the client, MQTT 5.0 section 3.3.2.3.4."""
    alias = int(publish.topic_alias)
    if alias > core.topic_alias_maximum(connection):
        raise ProtocolError(spec.TOPIC_ALIAS_INVALID, "topic alias above the Topic Alias Maximum")  # [MQTT-3.3.2-9]
    aliases = connection.aliases
    if aliases is None:
        aliases = connection.aliases = Aliases()
    if publish.topic_name:
        aliases.inbound[alias] = publish.topic_name  # [MQTT-3.3.2-12]
    else:
        topic_name = aliases.inbound.get(alias)
        if topic_name is None:
            raise ProtocolError(spec.PROTOCOL_ERROR, "a topic alias that was never set")
        publish.topic_name = topic_name
