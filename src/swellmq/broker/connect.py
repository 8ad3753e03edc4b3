"""CONNECT and CONNACK: who the client is, whose place it takes, which session it gets, MQTT 5.0 section 3.1.

A CONNECT passes three doors: access may ask who it is, the cluster may have to hand over its client id, and then it is
admitted. The first two may answer later; the connection is parked meanwhile.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64, u8

from swellmq.broker.access import ACQUIRE, AUTHENTICATE, CONNECTED, Request, SessionEvent
from swellmq.broker.acks import resend
from swellmq.broker.core import INFO, LINE_CONNECTED, LINE_REFUSED, Core, log
from swellmq.broker.exchange import begin_exchange, end_exchange
from swellmq.broker.explain import NOT_STORED, allowed_reason, disconnect, explained, explained_by, reference
from swellmq.broker.inbound import payload_is_as_said
from swellmq.broker.publish import pump, replay
from swellmq.broker.rules import Rules
from swellmq.broker.session import Session
from swellmq.broker.shelf import count_no_longer, has_shelf, read_back
from swellmq.broker.topics import closed_to_clients
from swellmq.broker.will import detach, end_session, on_session_due
from swellmq.broker.work import Work
from swellmq.codec import spec
from swellmq.codec.decode import CONNACK_REASONS, decode_connect
from swellmq.codec.encode import encode_connack
from swellmq.codec.packets import ABSENT, Connack, Connect, Properties, Publish
from swellmq.connection import GATE_HELD, GATE_OPEN, PROBLEMS_UNWANTED, PROBLEMS_WANTED, Connection
from swellmq.errors import OPEN, REFUSED, SESSION_TAKEN_OVER, SILENT, PeerError

RETURN_CODES: Final = {
    spec.UNSUPPORTED_PROTOCOL_VERSION: spec.UNACCEPTABLE_PROTOCOL_VERSION,
    spec.CLIENT_IDENTIFIER_NOT_VALID: spec.IDENTIFIER_REJECTED,  # [MQTT311-3.1.3-9]
    spec.BAD_USER_NAME_OR_PASSWORD: spec.BAD_USER_NAME_OR_PASSWORD_3,
    spec.NOT_AUTHORIZED: spec.NOT_AUTHORIZED_3,
    spec.BANNED: spec.NOT_AUTHORIZED_3,
    spec.PACKET_TOO_LARGE: spec.NOT_AUTHORIZED_3,
    spec.UNSPECIFIED_ERROR: spec.SERVER_UNAVAILABLE_3,
    spec.IMPLEMENTATION_SPECIFIC_ERROR: spec.SERVER_UNAVAILABLE_3,
    spec.SERVER_UNAVAILABLE: spec.SERVER_UNAVAILABLE_3,
    spec.SERVER_BUSY: spec.SERVER_UNAVAILABLE_3,
    spec.QUOTA_EXCEEDED: spec.SERVER_UNAVAILABLE_3,
    spec.USE_ANOTHER_SERVER: spec.SERVER_UNAVAILABLE_3,
    spec.SERVER_MOVED: spec.SERVER_UNAVAILABLE_3,
    spec.CONNECTION_RATE_EXCEEDED: spec.SERVER_UNAVAILABLE_3,
}

NOT_SERVED: Final = "this version of MQTT is not served here"
NAME_WANTED: Final = "the user name is to be the client identifier"
METHOD_UNKNOWN: Final = "this authentication method is not supported"
CONNACK_TOO_LARGE: Final = "CONNACK is above the Maximum Packet Size"


def peek_protocol_version(data: bytes, pos: i64, end: i64) -> int:
    """The protocol level that a CONNECT body names, without the bridge bit; -1 where it names no MQTT at all."""
    name = data[pos : min(pos + 8, end)]
    level: i64 = -1
    if name.startswith(b"\x00\x04MQTT") and end - pos > 6:
        level = data[pos + 6]
    elif name == b"\x00\x06MQIsdp" and end - pos > 8:
        level = data[pos + 8]
    return int(level & ~spec.BRIDGE_BIT) if level >= 0 else -1


def read_connect(core: Core, connection: Connection, data: bytes, pos: i64, end: i64) -> Connect | None:
    """Decode a CONNECT and note its protocol version; a bad one is answered as far as the specification allows."""
    try:
        connect = decode_connect(data, pos, end)
    except PeerError as error:
        level = peek_protocol_version(data, pos, end)
        if error.reason_code == spec.UNSUPPORTED_PROTOCOL_VERSION:
            if level >= 0:
                newer = level > spec.MQTT_5_0 or core.limits.like_mosquitto
                connection.protocol_version = spec.MQTT_5_0 if newer else spec.MQTT_3_1_1
                refuse(core, connection, error.reason_code, fault=error.phrase)  # [MQTT-3.1.2-2] [MQTT311-3.1.2-2]
        elif level == spec.MQTT_5_0:
            connection.protocol_version = spec.MQTT_5_0
            reason_code = core.reason_code(error)
            if reason_code != SILENT:
                refuse(core, connection, reason_code, fault=error.phrase)  # [MQTT-3.1.4-1]
        raise  # [MQTT311-3.1.4-1]
    connection.protocol_version = connect.protocol_version
    properties = connect.properties
    if properties is not None:
        if properties.maximum_packet_size != ABSENT:
            # No packet is larger than the format allows, whatever the client would take.
            connection.packet_bytes_max = int(min(properties.maximum_packet_size, spec.REMAINING_LENGTH_MAX + 5))
        if properties.request_problem_information != ABSENT:
            wanted = properties.request_problem_information != 0
            connection.problem_information = PROBLEMS_WANTED if wanted else PROBLEMS_UNWANTED
    if core.limits.like_mosquitto:
        connection.problem_information = PROBLEMS_UNWANTED  # it gives no reasons in words
    # An extension that nobody needs in order to be served [MQTT311-7.0.0-2].
    connection.bridge = connect.bridge
    return connect


def refuse(
    core: Core,
    connection: Connection,
    reason_code: int,
    reason: u8 = REFUSED,
    phrase: str = "",
    request: Request | None = None,
    connect: Connect | None = None,
    fault: str = "",
) -> None:
    """Answer CONNECT with a CONNACK that refuses, and close; without one where 3.x has no return code that fits.

    `request` is the question that access answered so. A CONNECT that could not be read gets no phrase: how large a
    packet its client takes is not known. `fault` is only for the log.
    """
    if connect is None and request is not None:
        connect = request.connect
    if request is not None and request.reason_string is not None:
        fault = request.reason_string
    core.lines.told.add(connection)
    if core.tells(LINE_REFUSED, INFO):
        core.chronicle().refused(connection, connect, int(reason), reason_code, fault or phrase)
    code = allowed_reason(reason_code, CONNACK_REASONS)  # [MQTT-3.2.2-8]
    if connection.protocol_version == spec.MQTT_5_0:
        connack = explained(connection, Connack(False, code, reference(code, request)), phrase, request)
        if connection.takes(connack):
            connection.send(connack)  # [MQTT-3.2.2-6]
    elif code in RETURN_CODES:  # [MQTT311-3.2.2-6]
        connack = encode_connack(Connack(False, RETURN_CODES[code]), connection.protocol_version)
        connection.send(connack)  # [MQTT-3.2.2-6]
    connection.close(reason)  # [MQTT-3.1.4-2] [MQTT-3.2.2-7] [MQTT-4.13.2-1]


def turn_away(core: Core, connection: Connection, connect: Connect, reason_code: int, phrase: str = "") -> None:
    """Refuse a client whose CONNECT is well-formed."""
    refuse(core, connection, reason_code, phrase=phrase, connect=connect)


def on_connect(core: Core, connection: Connection, connect: Connect) -> None:
    """Take a CONNECT that is well-formed."""
    connect.arrived_ms = core.turn.now_ms
    rules = core.rules_of(connection)
    if int(connect.protocol_version) not in rules.protocol_versions:
        turn_away(core, connection, connect, spec.UNSUPPORTED_PROTOCOL_VERSION, NOT_SERVED)
        return
    identity = connection.identity()
    if identity is not None:
        connect.username = identity  # its transport vouches for that, whatever the client says
    if rules.username_as_client_id:
        if not connect.username:
            turn_away(core, connection, connect, spec.BAD_USER_NAME_OR_PASSWORD, NAME_WANTED)
            return
        connect.client_id = connect.username
    refusal = _client_id_refusal(core, rules, connect)
    if refusal:
        turn_away(core, connection, connect, refusal, "a client identifier of this length is not allowed")
        return
    if core.limits.like_mosquitto and _keep_alive_refused(core, connect):
        turn_away(core, connection, connect, spec.CLIENT_IDENTIFIER_NOT_VALID)
        return
    if core.stopping:
        turn_away(core, connection, connect, spec.SERVER_UNAVAILABLE, "the server is shutting down")
        return
    method = connect.properties.authentication_method if connect.properties is not None else None
    if method is not None and method not in core.access.authentication_methods:
        turn_away(core, connection, connect, spec.BAD_AUTHENTICATION_METHOD, METHOD_UNKNOWN)  # [MQTT-4.12.0-1]
        return
    if connect.will is not None and rules.mount_point:
        connect.will.publish.topic_name = rules.mount_point + connect.will.publish.topic_name
    if connect.will is not None and not _will_allowed(core, connection, connect, connect.will.publish):
        return
    if not connect.client_id:
        prefix = rules.client_id_prefix or core.limits.client_id_prefix
        connect.client_id = core.assign_client_id(prefix)  # [MQTT-3.1.3-6]
        connect.assigned = True
    if core.limits.client_ids_begin and not connect.client_id.startswith(core.limits.client_ids_begin):
        turn_away(
            core, connection, connect, spec.NOT_AUTHORIZED, "a client identifier that does not begin as it should"
        )
        return
    if method is not None:
        begin_exchange(core, connection, connect, method)
    elif core.access.authenticates:
        request = core.park(AUTHENTICATE, connection, connect.client_id, connect.username)
        request.connect = connect
        core.requests.append(request)
    else:
        acquire(core, connection, connect)


def _will_allowed(core: Core, connection: Connection, connect: Connect, will: Publish) -> bool:
    """Whether the broker could publish this will; refuses its client where not."""
    if closed_to_clients(will.topic_name):
        turn_away(core, connection, connect, spec.NOT_AUTHORIZED, "a will for a topic that is closed to clients")
    elif len(will.topic_name) > core.limits.topic_bytes:
        turn_away(core, connection, connect, spec.TOPIC_NAME_INVALID, "a will whose topic name is too long")
    elif int(will.qos) > core.maximum_qos(connection):
        turn_away(core, connection, connect, spec.QOS_NOT_SUPPORTED, "a will above the Maximum QoS")  # [MQTT-3.2.2-12]
    elif len(will.payload) > core.limits.payload_bytes:
        turn_away(core, connection, connect, spec.PACKET_TOO_LARGE, "a will larger than is taken here")
    elif will.retain and not core.limits.retain_available:
        # [MQTT-3.2.2-13]
        turn_away(core, connection, connect, spec.RETAIN_NOT_SUPPORTED, "a retained will where retain is not available")
    elif core.limits.check_payload_format and not payload_is_as_said(will):
        turn_away(core, connection, connect, spec.PAYLOAD_FORMAT_INVALID, "a will that is not UTF-8, as it says")
    else:
        return True
    return False


def note_answer(connect: Connect, request: Request) -> None:
    """Access has let the client in: keep what it has for the CONNACK."""
    connect.username = request.username
    answer = Properties()
    answer.reason_string = request.reason_string
    answer.user_properties = request.user_properties
    answer.response_information = request.response_information
    answer.authentication_data = request.authentication_data
    connect.answer = answer


def _keep_alive_refused(core: Core, connect: Connect) -> bool:
    """Whether a 3.x client asks for a longer keep alive than there is: it can't be told, so mosquitto refuses it."""
    longest = core.limits.keep_alive_max_s
    too_long = connect.keep_alive == 0 or int(connect.keep_alive) > longest
    return connect.protocol_version != spec.MQTT_5_0 and longest < 65_535 and too_long


def _client_id_refusal(core: Core, rules: Rules, connect: Connect) -> int:
    """The reason code why the client id will not do, or 0."""
    length = len(connect.client_id.encode())
    if length == 0 and not (core.limits.assign_client_ids and rules.assign_client_ids):
        five = connect.protocol_version == spec.MQTT_5_0 and core.limits.like_mosquitto
        return spec.UNSPECIFIED_ERROR if five else spec.CLIENT_IDENTIFIER_NOT_VALID
    if connect.protocol_version == spec.MQTT_3_1:
        if length == 0 or (length > 23 and core.limits.client_id_3_1_strict):
            return spec.CLIENT_IDENTIFIER_NOT_VALID
    elif length == 0 and not connect.clean_start and connect.protocol_version != spec.MQTT_5_0:
        return spec.CLIENT_IDENTIFIER_NOT_VALID  # [MQTT311-3.1.3-8]
    # [MQTT-3.1.3-5]
    return spec.CLIENT_IDENTIFIER_NOT_VALID if length > core.limits.client_id_bytes else 0  # [MQTT-3.1.3-8]


def acquire(core: Core, connection: Connection, connect: Connect) -> None:
    """The client may come in: make this node the home of its client id, then admit it."""
    will = connect.will
    permissions = core.permissions
    if permissions is not None and will is not None:
        if not permissions.may_have_will(connection, connect, will.publish):
            turn_away(core, connection, connect, spec.NOT_AUTHORIZED, "a will that access control does not allow")
            return
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
    connack = Connack(False, spec.SUCCESS, _connack_properties(core, connection, connect, expiry_interval))
    frame = _encode_accepting(connection, connect, connack)
    if not connection.takes(frame):
        turn_away(core, connection, connect, spec.PACKET_TOO_LARGE, CONNACK_TOO_LARGE)  # [MQTT-3.1.2-24]
        return
    client_id = connect.client_id.encode()
    session = core.sessions.get(client_id)
    if not _has_place(core, connection, connect, session, expiry_interval):
        return
    changes = core.changes
    if session is not None:
        session = _take_up(core, session, connect)
    present = session is not None  # [MQTT-3.1.2-5] [MQTT-3.2.2-2] [MQTT-3.2.2-3]
    if session is None:
        session = Session(connect.client_id)
        core.sessions.put(client_id, session)  # [MQTT-3.1.2-6] [MQTT-3.1.3-2]
    _attach(core, connection, connect, session, expiry_interval)
    if present:
        connack.session_present = True
        frame = encode_connack(connack, connect.protocol_version)
    if core.tells(LINE_CONNECTED, INFO):
        core.chronicle().connected(session, connection, present)
    core.acknowledge(connection, frame, changes)  # [MQTT-3.1.4-5] [MQTT-3.2.0-2]
    if connection.gate == GATE_OPEN and connection.holds():
        connection.gate = GATE_HELD  # [MQTT-3.2.0-1]: nothing leaves before the CONNACK
    _start_keep_alive(core, connection, core.turn.now_ms)
    if core.access.watches_sessions:
        core.events.append(SessionEvent(CONNECTED, session.client_id, ""))
    if present:
        resend(core, session, connection)
        pump(core, session)
        if session.replays is not None:
            replay(core, session)
    if core.work and core.has_under_way(session):
        core.queue(Work(), connection)  # what it publishes now comes after that


def _has_place(
    core: Core, connection: Connection, connect: Connect, session: Session | None, expiry_interval: i64
) -> bool:
    """Whether the client can have its session now; it is turned away where not, or waits until that is read back."""
    if core.storage.refusal and (expiry_interval or (session is not None and core.kept(session))):
        core.stats.refused_not_stored += 1
        full = core.storage.refusal == spec.QUOTA_EXCEEDED
        turn_away(core, connection, connect, spec.QUOTA_EXCEEDED if full else spec.SERVER_UNAVAILABLE, NOT_STORED)
        return False
    if session is None:
        if len(core.sessions) >= core.limits.sessions:
            turn_away(core, connection, connect, spec.SERVER_BUSY, "no room for another session")
            return False
        return True
    if not connect.clean_start and has_shelf(session):
        read_back(core, connection, connect, session)
        return False
    old = session.connection
    if old is None:
        return True
    if session.since_ms > connect.arrived_ms:  # it was let in while this one waited for its answer
        turn_away(core, connection, connect, spec.SERVER_BUSY, "a newer connection has this client identifier")
        return False
    # One that is closed in this turn already does not fight for its place.
    if old.close_reason == OPEN and not _may_take_over(core, session, old, connection):
        turn_away(core, connection, connect, spec.SERVER_BUSY, "this client identifier changes hands too often")
        return False
    return True


def _take_up(core: Core, session: Session, connect: Connect) -> Session | None:
    """Part the session of a client identifier from its last connection; None where it has ended, or ends by that."""
    core.entering = session
    if session.connection is not None:
        if core.limits.like_mosquitto and not connect.clean_start and session.expiry_interval:
            session.connection.will_wanted = False  # it takes the client for still there
        _take_over(core, session, session.connection)
    elif core.limits.like_mosquitto:
        session.will = None  # the client is back in time, even for a new session
    else:
        on_session_due(core, session, core.turn.now_ms)  # nobody may have looked yet: after a start thousands are due
    if connect.clean_start and not session.ended:
        end_session(core, session)  # [MQTT-3.1.2-4] [MQTT-3.1.4-4] [MQTT311-3.1.2-6]
    core.entering = None
    return None if session.ended else session


def _attach(core: Core, connection: Connection, connect: Connect, session: Session, expiry_interval: i64) -> None:
    """The session is this connection's from now on."""
    now_ms = core.turn.now_ms
    core.deadlines.clear(session)
    count_no_longer(core, session)
    core.identify(session, connect.username, connection)
    # [MQTT-3.1.2-7] [MQTT311-3.1.2-12]
    session.will = connect.will  # a will that was delayed is cancelled: the client is back in time, [MQTT-3.1.3-9]
    asked = connect.properties
    session.expiry_asked = asked is not None and asked.session_expiry_interval > 0
    core.expire_after(session, expiry_interval)
    session.connection = connection
    session.since_ms = connect.arrived_ms
    connection.owner = session
    if core.exchanges:
        exchange = core.exchanges.get(connection)
        if exchange is not None:
            end_exchange(exchange)
    core.clients += 1
    core.stats.connects += 1
    core.stats.connect.note((now_ms - connection.last_ms) * 1_000)
    connection.last_ms = now_ms
    if core.clients > core.stats.clients_maximum:
        core.stats.clients_maximum = core.clients
    if core.kept(session):
        core.touch()
        core.storage.session_saved(session)


def _may_take_over(core: Core, session: Session, old: Connection, new: Connection) -> bool:
    """Whether a client id may change hands once more; a fight is told in one log line."""
    most = core.limits.takeovers
    if most == 0:
        return True
    count = core.fights.add(session.client_id, core.turn.now_ms)
    if count <= most:
        return True
    core.stats.refused_takeovers += 1
    if count == most + 1:
        log.warning(
            "client %s is in use at %s and at %s: it changed hands %d times within 10 s, and is slowed down",
            session.name(),
            core.peers.address(old) or "a place unknown",
            core.peers.address(new) or "a place unknown",
            most,
        )
    return False


def _take_over(core: Core, session: Session, old: Connection) -> None:
    """Close the connection that has this client id now, MQTT 5.0 section 3.1.4. Its will is due as at any loss."""
    disconnect(old, spec.SESSION_TAKEN_OVER, SESSION_TAKEN_OVER)  # [MQTT-3.1.4-3]
    core.lines.told.add(old)
    detach(core, old, core.turn.now_ms)  # now, so that nothing that comes late on it can touch the session


def _expiry_interval(core: Core, connect: Connect) -> i64:
    """Session Expiry Interval in seconds: in 3.x 0 for a clean session, else what the settings say."""
    if connect.protocol_version != spec.MQTT_5_0:
        return 0 if connect.clean_start else core.limits.session_expiry_3_s  # [MQTT311-3.1.2-4] [MQTT311-3.1.2-6]
    asked: i64 = 0
    if connect.properties is not None and connect.properties.session_expiry_interval != ABSENT:
        asked = connect.properties.session_expiry_interval
    return min(asked, core.limits.session_expiry_max_s)


def _encode_accepting(connection: Connection, connect: Connect, connack: Connack) -> bytes:
    """The CONNACK with what access has to say, as far as the client allows."""
    given = connect.answer
    if given is None or connack.properties is None:
        return encode_connack(connack, connect.protocol_version)
    return explained_by(connection, connack, given.reason_string, given.user_properties)


def _connack_properties(
    core: Core, connection: Connection, connect: Connect, expiry_interval: i64
) -> Properties | None:
    """Note what the client allows, and say what this broker does where it is not the specification's default."""
    limits = core.limits
    keep_alive = int(connect.keep_alive)
    connection.keep_alive_s = connect.keep_alive  # [MQTT-3.2.2-22]
    # A 3.x client can't be told. There the limit is what 3.1.1 section 3.1.2.10 allows at any time: to drop a client
    # that the server takes for inactive.
    lowered = limits.keep_alive_max_s < 65_535 and (keep_alive == 0 or keep_alive > limits.keep_alive_max_s)
    if lowered:
        connection.keep_alive_s = int(limits.keep_alive_max_s)
    if connect.protocol_version != spec.MQTT_5_0:
        return None
    answer = Properties()
    if lowered:
        answer.server_keep_alive = limits.keep_alive_max_s
    asked = connect.properties
    if asked is not None:
        if asked.receive_maximum != ABSENT:
            connection.receive_maximum = int(asked.receive_maximum)
        if asked.topic_alias_maximum != ABSENT:
            allowed = core.rules_of(connection).topic_aliases_out
            connection.topic_alias_maximum = int(min(asked.topic_alias_maximum, allowed))
        if asked.authentication_method is not None:
            answer.authentication_method = asked.authentication_method  # [MQTT-4.12.0-5] [MQTT-4.12.0-6]
        if asked.request_response_information == 1:  # [MQTT-3.1.2-28]
            answer.response_information = limits.response_information or None
        if asked.session_expiry_interval != ABSENT and asked.session_expiry_interval != expiry_interval:
            answer.session_expiry_interval = expiry_interval
    given = connect.answer
    if given is not None:
        answer.authentication_data = given.authentication_data
        if given.response_information is not None and asked is not None and asked.request_response_information == 1:
            answer.response_information = given.response_information
    if connect.assigned:
        answer.assigned_client_identifier = connect.client_id  # [MQTT-3.1.3-7]
    if limits.receive_maximum < 65_535:
        answer.receive_maximum = limits.receive_maximum
    maximum_qos = core.maximum_qos(connection)
    if maximum_qos < 2:
        answer.maximum_qos = maximum_qos  # [MQTT-3.2.2-9]
    if not limits.retain_available:
        answer.retain_available = 0
    if limits.packet_bytes < spec.REMAINING_LENGTH_MAX:
        answer.maximum_packet_size = limits.packet_bytes
    topic_alias_maximum = core.topic_alias_maximum(connection)
    if topic_alias_maximum:
        answer.topic_alias_maximum = topic_alias_maximum
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
        core.deadlines.set_far(connection, now_ms + keep_alive_s * 1500, now_ms)  # [MQTT-3.1.2-22]
    else:
        core.deadlines.clear(connection)
    until_ms = core.lease_until(connection)
    if until_ms:
        core.look_again(connection, until_ms)
