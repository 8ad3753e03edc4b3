"""Bytes in, packets out: the packet loop, dispatch, errors to reason codes, and the phases of the turn.

`MqttBroker` is the engine that the loop drives. The rules of each packet family are in the files named after them.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64, mypyc_attr

from swellmq.broker.access import (
    PENDING,
    TAKE_OVER,
    Access,
    Request,
    Rights,
    Spans,
)
from swellmq.broker.acks import (
    PUBACK_FIRST,
    PUBCOMP_FIRST,
    PUBREC_FIRST,
    PUBREL_FIRST,
    on_puback,
    on_puback_run,
    on_pubcomp,
    on_pubrec,
    on_pubrel,
    on_qos_2_run,
)
from swellmq.broker.answers import go_on
from swellmq.broker.connect import (
    on_connect,
    peek_protocol_version,
    read_connect,
    refuse,
)
from swellmq.broker.core import DEBUG, LINE_ACCEPTED, Core, log
from swellmq.broker.exchange import on_auth
from swellmq.broker.explain import disconnect
from swellmq.broker.inbound import on_publish
from swellmq.broker.meter import Pause
from swellmq.broker.overdue import connection_name, never_connected, on_connection_due, watch
from swellmq.broker.pace import measure, over
from swellmq.broker.publish import pump, replay, route_publish
from swellmq.broker.refuse import Refuser
from swellmq.broker.runs import PUBLISH_QOS_0, PUBLISH_QOS_1, PUBLISH_QOS_2, forward_run
from swellmq.broker.session import Session
from swellmq.broker.shelf import take_back
from swellmq.broker.spread import go_on as work_on
from swellmq.broker.storage import Storage
from swellmq.broker.subscribe import go_on_with_filters, review_some, take_filters
from swellmq.broker.uplink import Uplink
from swellmq.broker.will import detach, discard_some, on_session_due, publish_will, remove_ended
from swellmq.broker.work import Filters, Work
from swellmq.codec import spec
from swellmq.codec.decode import (
    check_flags,
    decode_ack,
    decode_auth,
    decode_disconnect,
    header_length,
    long_form,
    packet_length,
)
from swellmq.codec.encode import packet_head
from swellmq.codec.packets import ABSENT, Disconnect, Publish
from swellmq.codec.topic import forget_topic_names
from swellmq.connection import ENDED, LINE, ROOM, Connection, Engine, Timed, Turn, drain
from swellmq.errors import (
    CLIENT_DISCONNECTED,
    INTERNAL_ERROR,
    MALFORMED_PACKET,
    OPEN,
    PACKET_TOO_LARGE,
    PROTOCOL_ERROR,
    REFUSED_FULL,
    SERVER_SHUTTING_DOWN,
    SILENT,
    MalformedPacket,
    PeerError,
    ProtocolError,
)
from swellmq.limits import (
    CONNECT_BYTES_MAX,
    DELIVERIES_AT_ONCE,
    DELIVERIES_LEAST,
    DELIVERIES_PER_TURN,
    DUE_AT_ONCE,
    DUE_PER_TURN,
    GATHER_MAX_BYTES,
    PACKETS_SHARE,
    PROGRESS_BYTES,
    STRANGER_BYTES,
    Limits,
)
from swellmq.stats import Stats

CROWDED_AT_ONCE: Final = 64  # messages of each of them
CROWDED_LEAST: Final = 4  # sessions that get something of what waits in them in each turn
NO_BOUND: Final = 1 << 40
OVERDRAWN: Final = -DELIVERIES_PER_TURN  # so much beyond its share: what may cost much waits in line from the start
DEAR: Final = (spec.PUBLISH, spec.SUBSCRIBE, spec.UNSUBSCRIBE)  # packets that may
PINGRESP: Final = b"\xd0\x00"
# How clients begin that have come to the wrong port.
HTTP_GET: Final = 0x47  # "G"
TLS_HANDSHAKE: Final = 0x16
TLS_LENGTH: Final = 5  # of a packet by the version that follows it, 3; no CONNECT is so short


@final
@mypyc_attr(native_class=True)
class MqttBroker(Engine):
    """An MQTT server without sockets and clocks: feed it bytes and time, take what it sends from the connections."""

    def __init__(
        self, limits: Limits, turn: Turn, stats: Stats, storage: Storage, uplink: Uplink, access: Access
    ) -> None:
        self.core = Core(limits, turn, stats, storage, uplink, access)
        self.refuser = Refuser(self.core)
        self.heard_ms: i64 = 0  # when the connection that is being read had last shown signs of life
        self.kept_bytes: i64 = 0  # and what was kept of its packet
        self.waited: bool = False  # what stands in line, for the last turn to end
        self.runs_allowed: bool = self._may_run()

    # The loop calls

    def on_open(self, connection: Connection, now_ms: i64) -> None:
        """A client has come; it has so long to send its CONNECT."""
        connection.last_ms = now_ms
        self.core.deadlines.set(connection, now_ms + self.core.limits.connect_timeout_ms)
        if self.core.tells(LINE_ACCEPTED, DEBUG):
            self.core.chronicle().accepted(connection)

    def on_data(self, connection: Connection, data: bytes, now_ms: i64) -> None:
        """Handle all packets that are complete, and keep the rest.

        A sign of life is a whole packet [MQTT-3.1.2-22], or a KiB of one: a large packet on a slow line does not cost
        a client its connection, and bytes that trickle don't keep it.
        """
        self.heard_ms = connection.last_ms
        self.kept_bytes = connection.kept_bytes()
        if connection.owner is not None:
            connection.last_ms = now_ms
        core = self.core
        size: i64 = len(data)
        core.stats.bytes_received += size
        data = connection.take(data)
        if not data:
            self._weigh(connection, connection.kept_bytes())
            if core.no_memory and connection.kept_bytes() > GATHER_MAX_BYTES:
                disconnect(connection, spec.SERVER_BUSY, PACKET_TOO_LARGE, "no memory for a packet of this size")
            return
        if core.strangers_bytes and connection not in core.exchanges:
            core.discharge(connection)
        kept_back = max(0, core.deliveries_left - DELIVERIES_AT_ONCE)  # for others; the rest of this one stands in line
        core.deliveries_left -= kept_back
        try:
            self._packets(connection, data)
        except PeerError as error:
            self._on_peer_error(connection, error)
        except Exception:
            self._on_bug(connection)
        core.deliveries_left += kept_back
        if core.limits.bytes_per_s:
            measure(core, connection, 0, size)

    def on_stalled(self, connection: Connection, now_ms: i64) -> None:
        """The client reads too slowly: look again when it has taken nothing for as long as it may."""
        self.core.look_again(connection, now_ms + self.core.limits.write_timeout_ms)

    def on_drained(self, connection: Connection, now_ms: i64) -> None:
        """The client has taken all: send what waited for that."""
        session = connection.owner
        if isinstance(session, Session):
            watch(self.core, connection)
            pump(self.core, session)
            if session.replays is not None:
                replay(self.core, session)

    def on_closed(self, connection: Connection, now_ms: i64) -> None:
        """The connection is gone for the session too."""
        if isinstance(connection.question, Request):
            self.core.unpark(connection.question)
        elif isinstance(connection.question, Work):
            self.core.let_go(connection.question)
        self.core.deadlines.clear(connection)
        if self.core.exchanges:
            self.core.exchanges.pop(connection, None)
        if self.core.meters:
            self.core.meters.pop(connection, None)
        if self.core.leases:
            self.core.leases.pop(connection, None)
        if self.core.access.follows_connections:
            self.core.access.on_left(connection)
        self.core.discharge(connection)
        if connection.owner is None:
            never_connected(self.core, connection)
        detach(self.core, connection, now_ms)
        self.core.lines.forget(connection)

    def begin(self) -> None:
        """A turn begins, and with it a batch."""
        self.core.sealed = False
        self.core.deliveries_left = DELIVERIES_PER_TURN

    def tick(self, now_ms: i64) -> None:
        """Run the deadlines of connections and sessions, and tell what was left out of the log."""
        if 0 < self.core.lines.due_ms <= now_ms:
            self.core.tell_left_out()
        deadlines = self.core.deadlines
        looked: i64 = 0
        while 0 <= deadlines.next_ms() <= now_ms and looked < DUE_PER_TURN:
            looked += DUE_AT_ONCE
            self._run_deadlines(deadlines.due(now_ms, DUE_AT_ONCE), now_ms)
            if self.core.deliveries_left < 0 or self.core.turn.pressed():
                return

    def _run_deadlines(self, due: list[Timed], now_ms: i64) -> None:
        for timed in due:
            try:
                if isinstance(timed, Connection) and isinstance(timed.question, Pause):
                    if over(self.core, timed, timed.question):
                        self._go_on_reading(timed, now_ms)
                elif isinstance(timed, Connection):
                    on_connection_due(self.core, timed, now_ms, timed.handler is self.refuser)
                elif isinstance(timed, Session):
                    on_session_due(self.core, timed, now_ms)
            except Exception:
                self.core.stats.errors_internal += 1
                log.exception("a bug of ours at a deadline")

    def tidy(self) -> None:
        """Sweep the deadlines of connections that have gone, and forget what is remembered of their messages."""
        self.core.tidy()
        forget_topic_names()

    def deadline_ms(self) -> i64:
        """When the first deadline is due; -1: never."""
        due = self.core.deadlines.next_ms()
        retry = self.core.seal_due_ms
        if retry and (due < 0 or retry < due):
            due = retry
        left_out = self.core.lines.due_ms
        return left_out if left_out and (due < 0 or left_out < due) else due

    def settle(self, now_ms: i64) -> None:
        """Put the questions of this turn to access, in one batch, and go on with those that it answers at once.

        What is resumed may ask again; a bounded number of rounds is done now, and the loop comes back for the rest.
        """
        core = self.core
        if core.storage.fetched:
            self._take_back()
        rounds = 0
        while core.requests and rounds < 64:
            rounds += 1
            requests = drain(core.requests)
            self._ask(requests)
            for request in requests:
                if request.result != PENDING:
                    self._answered(request, now_ms)
        if core.requests:
            core.turn.again = True
        if core.work:
            self._work(now_ms)
        if core.crowded and not core.turn.puts_off(ROOM):
            self._use_room(now_ms)
        if core.ending or core.discarded or core.review or core.review_left:
            if not core.turn.puts_off(ENDED):
                remove_ended(core)
                discard_some(core)
                review_some(core)
        if core.events:
            events = drain(core.events)
            try:
                core.access.on_session_events(events)
            except Exception:
                core.stats.errors_internal += 1
                log.exception("access failed to take session events")

    def _work(self, now_ms: i64) -> None:
        """Do a slice of the work that takes several turns, in order; who waited for it goes on."""
        core = self.core
        turn = core.turn
        if core.deliveries_left < 0 and not self.waited:  # by what was read; not twice in succession
            self.waited = True
            turn.again = True
            return
        if turn.puts_off(LINE):
            return
        self.waited = False
        left: i64 = DELIVERIES_PER_TURN
        core.deliveries_left = 0
        while core.work:
            if core.deliveries_left <= 0:
                left += core.deliveries_left  # it may have been overdrawn
                if left <= 0 or (left < DELIVERIES_PER_TURN and turn.pressed()):
                    break
                core.deliveries_left = min(left, DELIVERIES_AT_ONCE)
                left -= core.deliveries_left
            work = core.work[0]
            connection = work.connection
            try:
                done = go_on_with_filters(core, work) if isinstance(work, Filters) else work_on(core, work)
            except PeerError as error:  # in a filter that was not decoded before
                if connection is not None:
                    self._on_peer_error(connection, error)
                done = True
            except Exception:
                if connection is not None:
                    self._on_bug(connection)  # it must not hear that all is done
                else:
                    core.stats.errors_internal += 1
                    log.exception("a bug of ours in work that takes several turns")
                done = True
            if not done:
                continue
            del core.work[0]
            core.let_go(work)
            if connection is not None and connection.close_reason == OPEN:
                connection.last_ms = now_ms  # its silence was ours
                if work.reply:
                    core.acknowledge(connection, work.reply, work.changes)
                self._go_on_reading(connection, now_ms)
        if core.work:
            turn.again = True
        else:
            core.deliveries_left += left

    def _take_back(self) -> None:
        """The store has read messages back: let those in who wait for them."""
        fetched = self.core.storage.fetched
        while fetched:
            one = fetched.popleft()
            result = 0 if one.deliveries is not None else spec.SERVER_UNAVAILABLE
            for token in take_back(self.core, one):
                self.resume(token, result)

    def _ask(self, requests: list[Request]) -> None:
        """Put questions to access. Where it fails, what it left unanswered is refused."""
        core = self.core
        try:
            core.access.decide(requests)
        except Exception:
            core.stats.errors_internal += 1
            log.exception("access failed to decide")
            for request in requests:
                if request.result == PENDING:
                    request.result = spec.UNSPECIFIED_ERROR

    def _use_room(self, now_ms: i64) -> None:
        """Send what waited for room in an outbox that was flushed; a socket that stalled tells when it drains."""
        core = self.core
        crowded = drain(core.crowded)
        served: i64 = 0
        for session in crowded:
            served += 1
            if (served > CROWDED_LEAST and core.deliveries_left < 0) or (served > 1 and core.turn.pressed()):
                core.crowded[:0] = crowded[served - 1 :]  # they are the first in the next turn
                core.turn.again = True
                return
            session.crowded = False
            connection = session.connection
            if connection is None or connection.close_reason != OPEN or connection.stalled():
                continue
            if connection.outbox_bytes > core.limits.outbox_bytes:
                if connection.holds():  # it has room once that is stored: `Core.seal` sees to it
                    session.crowded = True
                    core.crowded.append(session)
                else:
                    core.note_crowded(session)
            else:
                kept_back = max(0, core.deliveries_left - CROWDED_AT_ONCE)
                core.deliveries_left -= kept_back
                try:
                    self.on_drained(connection, now_ms)
                except Exception:  # of one session: those behind it still get their turn
                    self._on_bug(connection)
                core.deliveries_left += kept_back

    def seal(self) -> None:
        """Hand the open batch to storage and uplink."""
        self.core.seal()

    # Packets

    def _packets(self, connection: Connection, data: bytes) -> None:
        core = self.core
        limits = core.limits
        pos: i64 = 0
        end: i64 = len(data)
        packets: i64 = 0  # that were no run
        deliveries_least = core.deliveries_left - DELIVERIES_LEAST
        while pos < end:
            if connection.close_reason != OPEN:  # [MQTT-3.1.4-6]
                return
            if core.deliveries_left < 0 and core.deliveries_left < deliveries_least and connection.question is None:
                core.queue(Work(), connection)
            if connection.question is not None:
                connection.inbox = data[pos:]
                return
            first = data[pos]
            if (first == PUBLISH_QOS_0 or first == PUBLISH_QOS_1 or first == PUBLISH_QOS_2) and self.runs_allowed:
                if connection.owner is not None and limits.messages_per_s == 0:
                    following = forward_run(core, connection, data, pos, end)
                    if following != pos:
                        pos = following
                        continue
            elif first == PUBACK_FIRST or first == PUBREC_FIRST or first == PUBREL_FIRST or first == PUBCOMP_FIRST:
                session = connection.owner
                if isinstance(session, Session):
                    if first == PUBACK_FIRST:
                        following = on_puback_run(core, session, data, pos, end)
                    else:
                        following = on_qos_2_run(core, connection, session, data, pos, end)
                    if following != pos:
                        pos = following
                        continue
            if core.deliveries_left < OVERDRAWN and connection.owner is not None and first >> 4 in DEAR:
                core.queue(Work(), connection)
                connection.inbox = data[pos:]
                return
            try:
                total = packet_length(data, pos, end)
            except MalformedPacket:
                pos = self._long_form(connection, data, pos, end)
                continue
            connected = connection.owner is not None
            if not connected:
                self._check_first(connection, first, total)
            elif total > limits.packet_bytes:
                raise ProtocolError(spec.PACKET_TOO_LARGE, "larger than the Maximum Packet Size")  # [MQTT-3.2.2-15]
            if total == 0 or pos + total > end:
                if connected:
                    self._check_type(connection, first, int(connection.protocol_version))
                    if pos == 0:
                        self._weigh(connection, end)
                elif total > STRANGER_BYTES and not core.charge(connection, total):
                    connection.close(REFUSED_FULL)
                    return
                connection.keep(data[pos:] if pos else data, total)
                return
            core.stats.packets_received += 1
            packets += 1
            if packets % PACKETS_SHARE == 0:
                core.deliveries_left -= 1
            body = pos + header_length(total)
            pos += total
            if first >> 4 == spec.PUBLISH and connected:
                session = connection.owner
                assert isinstance(session, Session)
                on_publish(core, connection, session, first, data, body, pos)
                if limits.messages_per_s:
                    measure(core, connection, 1, 0)
            else:
                self._packet(connection, first, data, body, pos)

    def _weigh(self, connection: Connection, kept_bytes: i64) -> None:
        """A packet is still incomplete: what has come of it now is a sign of life if it is a KiB, or makes one full."""
        if kept_bytes // PROGRESS_BYTES == self.kept_bytes // PROGRESS_BYTES:
            connection.last_ms = self.heard_ms

    def _long_form(self, connection: Connection, data: bytes, pos: i64, end: i64) -> i64:
        """Handle a packet of 3.x whose remaining length takes more bytes than it needs; the position behind it.

        Only MQTT 5.0 forbids that, [MQTT-1.5.5-1]. The packet goes by itself through `_packets`, in the short form.
        """
        first = data[pos]
        if first >> 4 == 0:
            check_flags(first)
        body, after = long_form(data, pos, end)
        if connection.owner is None:
            self._check_first(connection, first, after - pos)
        elif after - pos > self.core.limits.packet_bytes:
            raise ProtocolError(spec.PACKET_TOO_LARGE, "larger than the Maximum Packet Size")
        version = int(connection.protocol_version)
        if version == 0 and after <= end:
            version = peek_protocol_version(data, body, after)
        if version == spec.MQTT_5_0:
            raise MalformedPacket(spec.MALFORMED_PACKET, "remaining length is too long")  # [MQTT-1.5.5-1]
        check_flags(first, version)
        if after > end:
            connection.keep(data[pos:], after - pos)
            return end
        self._packets(connection, packet_head(first, int(after - body)) + data[body:after])
        return after

    def _check_first(self, connection: Connection, first: int, total: i64) -> None:
        """Before a client is admitted: its first packet is CONNECT, and of a sane size; while it authenticates by a
        method, AUTH or DISCONNECT follow."""
        packet_type = first >> 4
        if connection in self.core.exchanges:
            if packet_type != spec.AUTH and packet_type != spec.DISCONNECT:
                raise ProtocolError(spec.PROTOCOL_ERROR, f"{spec.PACKET_NAMES[packet_type]} during authentication")
        elif packet_type != spec.CONNECT:
            phrase = "HTTP, where MQTT is spoken" if first == HTTP_GET else "the first packet is not CONNECT"
            raise ProtocolError(spec.PROTOCOL_ERROR, phrase)  # [MQTT-3.1.0-1]
        elif first == TLS_HANDSHAKE and total == TLS_LENGTH:
            raise MalformedPacket(spec.MALFORMED_PACKET, "TLS, where plain MQTT is spoken")
        if total > CONNECT_BYTES_MAX:
            raise ProtocolError(spec.PACKET_TOO_LARGE, "more than 512 KiB before the client is known")

    def _check_type(self, connection: Connection, first: int, version: int) -> None:
        """Whether a packet of this type, with these flags, may come here at all."""
        packet_type = first >> 4
        if packet_type == spec.CONNACK:
            raise ProtocolError(spec.PROTOCOL_ERROR, "CONNACK from a client")
        if packet_type == spec.AUTH and connection not in self.core.exchanges:
            # [MQTT-4.12.0-7]
            raise ProtocolError(spec.PROTOCOL_ERROR, "AUTH, but CONNECT named no authentication method")
        check_flags(first, version)

    def _packet(self, connection: Connection, first: int, data: bytes, pos: i64, end: i64) -> None:
        """All packets but the frequent ones."""
        core = self.core
        packet_type = first >> 4
        session = connection.owner
        version = connection.protocol_version
        named = int(version)
        if named == 0 and first & 0x0F:  # 3.1 does not reserve these flags
            named = peek_protocol_version(data, pos, end)
        self._check_type(connection, first, named)
        if packet_type == spec.AUTH:
            on_auth(core, connection, decode_auth(data, pos, end, version))
            self._charge_parked(connection, len(data))
            return
        if not isinstance(session, Session):
            if packet_type == spec.DISCONNECT:  # in the middle of its authentication
                decode_disconnect(data, pos, end, version)
                connection.close(CLIENT_DISCONNECTED)
                return
            connect = read_connect(core, connection, data, pos, end)
            if connect is not None:
                on_connect(core, connection, connect)
                if core.tracing is not None:
                    size = len(packet_head(first, int(end - pos))) + int(end - pos)
                    core.tracing.on_connect(connection, connect, size, data[end:])
                self._charge_parked(connection, len(data))
            return
        if (packet_type == spec.PINGREQ or packet_type == spec.PINGRESP) and pos != end:
            raise MalformedPacket(spec.MALFORMED_PACKET, spec.PACKET_NAMES[packet_type] + " with a body", SILENT)
        if packet_type == spec.PINGREQ:
            connection.send(PINGRESP)  # [MQTT-3.12.4-1]
        elif packet_type == spec.PUBACK:
            on_puback(core, session, decode_ack(packet_type, data, pos, end, version).packet_identifier)
        elif packet_type == spec.PUBREC:
            on_pubrec(core, connection, session, decode_ack(packet_type, data, pos, end, version))
        elif packet_type == spec.PUBREL:
            on_pubrel(core, connection, session, decode_ack(packet_type, data, pos, end, version))
        elif packet_type == spec.PUBCOMP:
            on_pubcomp(core, session, decode_ack(packet_type, data, pos, end, version).packet_identifier)
        elif packet_type == spec.SUBSCRIBE or packet_type == spec.UNSUBSCRIBE:
            take_filters(core, connection, session, packet_type, data, pos, end)
        elif packet_type == spec.DISCONNECT:
            self._on_disconnect(connection, session, decode_disconnect(data, pos, end, version))
        elif packet_type == spec.CONNECT:
            raise ProtocolError(spec.PROTOCOL_ERROR, "a second CONNECT")  # [MQTT-3.1.0-2]
        else:
            raise ProtocolError(spec.PROTOCOL_ERROR, f"{spec.PACKET_NAMES[packet_type]} from a client")

    def _charge_parked(self, connection: Connection, size: i64) -> None:
        """A client that is not known yet may have to wait for an answer: all it has sent is kept for it."""
        if size <= STRANGER_BYTES or connection.question is None or connection.owner is not None:
            return
        if not self.core.charge(connection, size):
            phrase = "too many clients are logging in, come back later"
            refuse(self.core, connection, spec.QUOTA_EXCEEDED, REFUSED_FULL, phrase)

    def _on_disconnect(self, connection: Connection, session: Session, packet: Disconnect) -> None:
        properties = packet.properties
        if properties is not None and properties.session_expiry_interval != ABSENT:
            if not session.expiry_asked and properties.session_expiry_interval != 0:
                raise ProtocolError(spec.PROTOCOL_ERROR, "Session Expiry Interval was 0 at CONNECT")
            core = self.core
            core.expire_after(session, min(properties.session_expiry_interval, core.limits.session_expiry_max_s))
        if packet.reason_code == spec.NORMAL_DISCONNECTION:
            connection.will_wanted = False  # [MQTT-3.14.4-3]
        connection.close(CLIENT_DISCONNECTED)

    # Faults

    def _on_peer_error(self, connection: Connection, error: PeerError) -> None:
        """Close a connection that broke a rule, and tell an MQTT 5.0 client which, [MQTT-4.13.1-1]."""
        self.core.stats.errors_peer += 1
        reason_code = self.core.reason_code(error)
        reason = MALFORMED_PACKET if isinstance(error, MalformedPacket) else PROTOCOL_ERROR
        if error.reason_code == spec.PACKET_TOO_LARGE:
            reason = PACKET_TOO_LARGE
        self.core.lines.faults[connection] = error.phrase
        if reason_code == SILENT:
            connection.close(reason)
        elif connection.owner is None and connection in self.core.exchanges:
            refuse(self.core, connection, reason_code, reason, error.phrase)  # [MQTT-4.12.0-4]
        else:
            disconnect(connection, reason_code, reason, error.phrase)

    def _on_bug(self, connection: Connection) -> None:
        """An exception that is nobody's fault but ours: closes that one connection. Called while it is handled."""
        self.core.stats.errors_internal += 1
        log.exception("a bug of ours; the connection of %s is closed", connection_name(connection))
        connection.close(INTERNAL_ERROR)  # [MQTT311-4.8.0-2]

    # Answers

    def resume(self, token: int, result: int) -> bool:
        """Answer a question, now or late; False where its connection is gone. Called from the loop's thread."""
        request = self.core.waiting.get(token)
        if request is None:
            return False
        request.result = result
        self._answered(request, self.core.turn.now_ms)
        return True

    def _answered(self, request: Request, now_ms: i64) -> None:
        """Go on where a connection was parked, then with the bytes that were kept."""
        connection = request.connection
        if connection.question is not request:
            return
        core = self.core
        core.unpark(request)
        if connection.close_reason != OPEN:
            return  # closed in this very turn, and its session may be another's by now
        if connection.owner is not None:
            connection.last_ms = now_ms
        try:
            if request.kind == TAKE_OVER:
                self.refuser.on_answered(request)
            else:
                go_on(self.core, request, connection)
        except PeerError as error:
            self._on_peer_error(connection, error)
        except Exception:
            self._on_bug(connection)
        if core.strangers_bytes and connection.owner is not None:
            core.discharge(connection)
        self._go_on_reading(connection, now_ms)

    def _go_on_reading(self, connection: Connection, now_ms: i64) -> None:
        """Keep alive goes on after it stood still, and the bytes that were kept are handled."""
        if connection.question is not None or connection.close_reason != OPEN:
            return
        if connection.owner is not None:
            watch(self.core, connection)
        if connection.inbox and connection.handler is self:
            self.on_data(connection, b"", now_ms)

    # For those who embed the broker

    def inject(self, publish: Publish) -> int:
        """Route a message that came from no connection; how many subscriptions it matched."""
        return route_publish(self.core, publish, None)

    def review(self, rights: Rights | None, rights_at: dict[int, Rights] | None = None) -> None:
        """Access control has changed: `rights` decide from now on (None allows everything), of live clients too, and
        `rights_at` of those that came by single listeners.

        What is published and delivered goes by them at once. Clients that `Access.welcomes` no longer are disconnected,
        and subscriptions that are no longer allowed removed, over the next turns.
        """
        access = self.core.access
        access.rights = rights
        access.rights_at = rights_at or {}
        self.runs_allowed = self._may_run()
        self.core.set_rights(rights, access.rights_at)
        self.core.begin_review()

    def follow(self, spans: Spans) -> None:
        """Tell `spans` of messages and their deliveries. Those in bulk have no properties, hence no trace context."""
        self.core.spans = spans
        self.runs_allowed = self._may_run()

    def take_limits(self, limits: Limits) -> None:
        """Go by these limits from now on. What clients were told in their CONNACK must be the same as before."""
        self.core.take_limits(limits)
        self.runs_allowed = self._may_run()

    def _may_run(self) -> bool:
        """Whether a run may pass without a look at each message."""
        core = self.core
        limits = core.limits
        return not (
            core.access.authorizes_publish
            or core.uplink.enabled
            or (core.spans is not None and core.spans.starts)
            or limits.upgrade_outgoing_qos
            or limits.inflight_bytes != 0
            or limits.payload_bytes + 5 < limits.packet_bytes
        )

    def shut_down(self) -> None:
        """Tell all clients that the server shuts down, and close their connections.

        Wills go out before, save the delayed ones that are stored: those have their time after the next start.
        """
        core = self.core
        core.stopping = True
        core.deliveries_left = NO_BOUND  # there is no later turn to leave anything to
        left = core.work
        core.work = []
        for work in left:
            while not work_on(core, work):
                pass
        sessions = core.sessions.values()
        for session in sessions:
            will = session.will
            if will is not None and not (core.kept(session) and will.will_delay_interval):  # those outlive us
                publish_will(core, session)
        for session in sessions:
            connection = session.connection
            if connection is not None:
                disconnect(connection, spec.SERVER_SHUTTING_DOWN, SERVER_SHUTTING_DOWN)
