"""CONNECT and CONNACK: who the client is, whose place it takes, which session it gets, MQTT 5.0 section 3.1.

A CONNECT passes three doors: access may ask who it is, the cluster may have to hand over its client id, and then it is
admitted. The first two may answer later; the connection is parked meanwhile.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64, u8

from swellmq.broker.access import ACQUIRE, AUTHENTICATE, CONNECTED, SessionEvent
from swellmq.broker.acks import resend
from swellmq.broker.core import Core, log
from swellmq.broker.publish import pump
from swellmq.broker.session import Session
from swellmq.broker.topics import SYS_PREFIX
from swellmq.broker.will import detach, end_session
from swellmq.codec import spec
from swellmq.codec.decode import decode_connect
from swellmq.codec.encode import encode_connack, encode_disconnect
from swellmq.codec.packets import ABSENT, Connack, Connect, Disconnect, Properties
from swellmq.connection import GATE_HELD, GATE_OPEN, Connection
from swellmq.errors import REFUSED, SESSION_TAKEN_OVER, PeerError

RETURN_CODES: Final = {
    spec.UNSUPPORTED_PROTOCOL_VERSION: spec.UNACCEPTABLE_PROTOCOL_VERSION,
    spec.CLIENT_IDENTIFIER_NOT_VALID: spec.IDENTIFIER_REJECTED,  # [MQTT311-3.1.3-9]
    spec.BAD_USER_NAME_OR_PASSWORD: spec.BAD_USER_NAME_OR_PASSWORD_3,
    spec.NOT_AUTHORIZED: spec.NOT_AUTHORIZED_3,
    spec.BANNED: spec.NOT_AUTHORIZED_3,
    spec.UNSPECIFIED_ERROR: spec.SERVER_UNAVAILABLE_3,
    spec.SERVER_UNAVAILABLE: spec.SERVER_UNAVAILABLE_3,
    spec.SERVER_BUSY: spec.SERVER_UNAVAILABLE_3,
    spec.QUOTA_EXCEEDED: spec.SERVER_UNAVAILABLE_3,
    spec.USE_ANOTHER_SERVER: spec.SERVER_UNAVAILABLE_3,
    spec.SERVER_MOVED: spec.SERVER_UNAVAILABLE_3,
    spec.CONNECTION_RATE_EXCEEDED: spec.SERVER_UNAVAILABLE_3,
}


def peek_protocol_version(data: bytes, pos: i64, end: i64) -> int:
    """The protocol level that a CONNECT body names, without the bridge bit; -1 where it names no MQTT at all."""
    name = data[pos : min(pos + 8, end)]
    level: i64 = -1
    if name.startswith(b"\x00\x04MQTT") and end - pos > 6:
        level = data[pos + 6]
    elif name == b"\x00\x06MQIsdp" and end - pos > 8:
        level = data[pos + 8]
    return int(level & ~spec.BRIDGE_BIT) if level >= 0 else -1


def read_connect(connection: Connection, data: bytes, pos: i64, end: i64) -> Connect | None:
    """Decode a CONNECT and note its protocol version; a bad one is answered as far as the specification allows."""
    try:
        connect = decode_connect(data, pos, end)
    except PeerError as error:
        level = peek_protocol_version(data, pos, end)
        if error.reason_code == spec.UNSUPPORTED_PROTOCOL_VERSION:
            if level >= 0:
                connection.protocol_version = spec.MQTT_5_0 if level > spec.MQTT_5_0 else spec.MQTT_3_1_1
                refuse(connection, error.reason_code)  # [MQTT-3.1.2-2] [MQTT311-3.1.2-2]
        elif level == spec.MQTT_5_0:
            connection.protocol_version = spec.MQTT_5_0
            refuse(connection, error.reason_code)  # [MQTT-3.1.4-1]
        raise  # [MQTT311-3.1.4-1]
    connection.protocol_version = connect.protocol_version
    if connect.properties is not None and connect.properties.maximum_packet_size != ABSENT:
        connection.packet_bytes_max = connect.properties.maximum_packet_size
    # An extension that nobody needs in order to be served [MQTT311-7.0.0-2].
    connection.bridge = connect.bridge
    return connect


def refuse(connection: Connection, reason_code: int, reason: u8 = REFUSED, phrase: str = "") -> None:
    """Answer CONNECT with a CONNACK that refuses, and close; without one where 3.x has no return code that fits."""
    if connection.protocol_version == spec.MQTT_5_0:
        connack = encode_connack(Connack(False, reason_code), spec.MQTT_5_0)
        if phrase:
            properties = Properties()
            properties.reason_string = phrase
            explained = encode_connack(Connack(False, reason_code, properties), spec.MQTT_5_0)
            if connection.takes(explained):
                connack = explained  # [MQTT-3.2.2-19] [MQTT-3.2.2-20]
        if connection.takes(connack):
            connection.send(connack)  # [MQTT-3.2.2-6]
    elif reason_code in RETURN_CODES:  # [MQTT311-3.2.2-6]
        connack = encode_connack(Connack(False, RETURN_CODES[reason_code]), connection.protocol_version)
        connection.send(connack)  # [MQTT-3.2.2-6]
    connection.close(reason)  # [MQTT-3.1.4-2] [MQTT-3.2.2-7] [MQTT-4.13.2-1]


def on_connect(core: Core, connection: Connection, connect: Connect) -> None:
    """Take a CONNECT that is well-formed."""
    refusal = _client_id_refusal(core, connect)
    if refusal:
        refuse(connection, refusal)
        return
    if core.stopping:
        refuse(connection, spec.SERVER_UNAVAILABLE)
        return
    properties = connect.properties
    if properties is not None and properties.authentication_method is not None:
        refuse(connection, spec.BAD_AUTHENTICATION_METHOD)  # [MQTT-4.12.0-1]
        return
    will = connect.will
    if will is not None:
        if will.publish.topic_name.startswith(SYS_PREFIX):
            refuse(connection, spec.NOT_AUTHORIZED)
            return
        if int(will.publish.qos) > core.limits.maximum_qos:
            refuse(connection, spec.QOS_NOT_SUPPORTED)  # [MQTT-3.2.2-12]
            return
        if will.publish.retain and not core.limits.retain_available:
            refuse(connection, spec.RETAIN_NOT_SUPPORTED)  # [MQTT-3.2.2-13]
            return
    if not connect.client_id:
        connect.client_id = core.assign_client_id()  # [MQTT-3.1.3-6]
        connect.assigned = True
    if core.access.authenticates:
        request = core.park(AUTHENTICATE, connection, connect.client_id, connect.username)
        request.connect = connect
        core.requests.append(request)
    else:
        acquire(core, connection, connect)


def _client_id_refusal(core: Core, connect: Connect) -> int:
    """The reason code why the client id will not do, or 0."""
    length = len(connect.client_id.encode())
    if connect.protocol_version == spec.MQTT_3_1:
        if length == 0 or (length > 23 and core.limits.client_id_3_1_strict):
            return spec.CLIENT_IDENTIFIER_NOT_VALID
    elif length == 0 and not connect.clean_start and connect.protocol_version != spec.MQTT_5_0:
        return spec.CLIENT_IDENTIFIER_NOT_VALID  # [MQTT311-3.1.3-8]
    # [MQTT-3.1.3-5]
    return spec.CLIENT_IDENTIFIER_NOT_VALID if length > core.limits.client_id_bytes else 0  # [MQTT-3.1.3-8]


def acquire(core: Core, connection: Connection, connect: Connect) -> None:
    """The client may come in: make this node the home of its client id, then admit it."""
    if core.uplink.enabled:
        request = core.park(ACQUIRE, connection, connect.client_id, connect.username)
        request.connect = connect
        if not core.uplink.acquire(connect.client_id, request.token):
            return
        core.unpark(request)
    admit(core, connection, connect)


def admit(core: Core, connection: Connection, connect: Connect) -> None:
    """Give the client its session, answer, and send what waits for it."""
    expiry_interval = _expiry_interval(core, connect)
    answer = _connack_properties(core, connection, connect, expiry_interval)
    if not connection.takes(encode_connack(Connack(False, spec.SUCCESS, answer), connect.protocol_version)):
        refuse(connection, spec.PACKET_TOO_LARGE)  # [MQTT-3.1.2-24]
        return
    changes = core.changes
    now_ms = core.turn.now_ms
    session = core.session(connect.client_id)
    if session is not None and session.connection is not None:
        _take_over(core, session, session.connection)
        session = core.session(connect.client_id)
    if session is not None and connect.clean_start:
        end_session(core, session)  # [MQTT-3.1.2-4] [MQTT-3.1.4-4] [MQTT311-3.1.2-6]
        session = None
    present = session is not None  # [MQTT-3.1.2-5] [MQTT-3.2.2-2] [MQTT-3.2.2-3]
    if session is None:
        session = Session(connect.client_id)
        core.sessions.put(connect.client_id.encode(), session)  # [MQTT-3.1.2-6] [MQTT-3.1.3-2]
    core.deadlines.clear(session)
    session.username = connect.username
    # [MQTT-3.1.2-7] [MQTT311-3.1.2-12]
    session.will = connect.will  # a will that was delayed is cancelled: the client is back in time, [MQTT-3.1.3-9]
    session.will_at_ms = 0
    session.expires_at_ms = 0
    core.expire_after(session, expiry_interval)
    session.connection = connection
    connection.owner = session
    core.clients += 1
    core.stats.connects += 1
    if core.clients > core.stats.clients_maximum:
        core.stats.clients_maximum = core.clients
    if core.kept(session):
        core.touch()
        core.storage.session_saved(session)
    connack = encode_connack(Connack(present, spec.SUCCESS, answer), connect.protocol_version)
    core.acknowledge(connection, connack, changes)  # [MQTT-3.1.4-5] [MQTT-3.2.0-2]
    if core.turn.durable and core.changes != changes and connection.gate == GATE_OPEN:
        connection.gate = GATE_HELD  # [MQTT-3.2.0-1]: nothing leaves before the CONNACK
    _start_keep_alive(core, connection, now_ms)
    if core.access.watches_sessions:
        core.events.append(SessionEvent(CONNECTED, session.client_id, ""))
    if present:
        resend(core, session, connection)
        pump(core, session)


def _take_over(core: Core, session: Session, old: Connection) -> None:
    """Close the connection that has this client id now, MQTT 5.0 section 3.1.4. Its will is due as at any loss."""
    log.info("client %s takes its place over from another connection", session.name())
    if old.protocol_version == spec.MQTT_5_0:
        old.send(encode_disconnect(Disconnect(spec.SESSION_TAKEN_OVER), spec.MQTT_5_0))
    old.close(SESSION_TAKEN_OVER)  # [MQTT-3.1.4-3]
    detach(core, old, core.turn.now_ms)  # now, so that nothing that comes late on it can touch the session


def _expiry_interval(core: Core, connect: Connect) -> i64:
    """Session Expiry Interval in seconds: in 3.x 0 for a clean session, else what the settings say."""
    if connect.protocol_version != spec.MQTT_5_0:
        return 0 if connect.clean_start else core.limits.session_expiry_3_s  # [MQTT311-3.1.2-4] [MQTT311-3.1.2-6]
    asked: i64 = 0
    if connect.properties is not None and connect.properties.session_expiry_interval != ABSENT:
        asked = connect.properties.session_expiry_interval
    return min(asked, core.limits.session_expiry_max_s)


def _connack_properties(
    core: Core, connection: Connection, connect: Connect, expiry_interval: i64
) -> Properties | None:
    """Note what the client allows, and say what this broker does where it is not the specification's default."""
    limits = core.limits
    keep_alive = int(connect.keep_alive)
    connection.keep_alive_s = connect.keep_alive  # [MQTT-3.2.2-22]
    lowered = limits.keep_alive_max_s < 65_535 and (keep_alive == 0 or keep_alive > limits.keep_alive_max_s)
    if lowered:
        connection.keep_alive_s = int(limits.keep_alive_max_s)
    if connect.protocol_version != spec.MQTT_5_0:
        return None
    # Neither Response Information nor an authentication method is ever sent [MQTT-3.1.2-28] [MQTT-4.12.0-6].
    answer = Properties()
    if lowered:
        answer.server_keep_alive = limits.keep_alive_max_s
    asked = connect.properties
    if asked is not None:
        if asked.receive_maximum != ABSENT:
            connection.receive_maximum = int(asked.receive_maximum)
        if asked.topic_alias_maximum != ABSENT:
            connection.topic_alias_maximum = int(asked.topic_alias_maximum)
        connection.problem_information = asked.request_problem_information != 0
        if asked.session_expiry_interval != ABSENT and asked.session_expiry_interval != expiry_interval:
            answer.session_expiry_interval = expiry_interval
    if connect.assigned:
        answer.assigned_client_identifier = connect.client_id  # [MQTT-3.1.3-7]
    if limits.receive_maximum < 65_535:
        answer.receive_maximum = limits.receive_maximum
    if limits.maximum_qos < 2:
        answer.maximum_qos = limits.maximum_qos  # [MQTT-3.2.2-9]
    if not limits.retain_available:
        answer.retain_available = 0
    if limits.packet_bytes < spec.REMAINING_LENGTH_MAX:
        answer.maximum_packet_size = limits.packet_bytes
    if limits.topic_alias_maximum:
        answer.topic_alias_maximum = limits.topic_alias_maximum
    if not limits.wildcard_subscription_available:
        answer.wildcard_subscription_available = 0
    if not limits.subscription_identifier_available:
        answer.subscription_identifier_available = 0
    if not limits.shared_subscription_available:
        answer.shared_subscription_available = 0
    return answer


def _start_keep_alive(core: Core, connection: Connection, now_ms: i64) -> None:
    keep_alive_s = int(connection.keep_alive_s)
    if keep_alive_s:
        core.deadlines.set(connection, now_ms + keep_alive_s * 1500)  # [MQTT-3.1.2-22]
    else:
        core.deadlines.clear(connection)
