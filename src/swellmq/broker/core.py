"""The parts of one broker, and what all packet families need of them: questions, tickets, the clock.

`connect`, `publish`, `acks`, `subscribe` and `will` are functions over a Core; `broker.py` calls them. So no two of
them need to know each other in a circle.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, final

from mypy_extensions import i64, mypyc_attr, u8

from swellmq.broker.access import Access, Exchange, Request, Rights, SessionEvent, Spans, Tracing
from swellmq.broker.deadlines import Deadlines
from swellmq.broker.fights import Fights
from swellmq.broker.meter import Meter
from swellmq.broker.permissions import Permissions
from swellmq.broker.retained import Retained
from swellmq.broker.rules import Rules
from swellmq.broker.session import DeliveryQueue, Session, Subscription
from swellmq.broker.sharded import ShardedMap, rebuild
from swellmq.broker.storage import Storage
from swellmq.broker.topics import Topics
from swellmq.broker.uplink import Uplink
from swellmq.broker.work import Routing, Spread, Work
from swellmq.codec.spec import BAD_USER_NAME_OR_PASSWORD, IMPLEMENTATION_SPECIFIC_ERROR, NOT_AUTHORIZED
from swellmq.connection import DEMANDING, Connection, Peers, Turn
from swellmq.errors import PeerError
from swellmq.limits import (
    DELIVERIES_LEAST,
    DELIVERIES_PER_TURN,
    SEAL_RETRY_MS,
    SHED_OUTBOX_BYTES,
    STRANGERS_BYTES_MAX,
    Limits,
)
from swellmq.stats import Stats

if TYPE_CHECKING:
    from swellmq.broker.life import Life

log: Final = logging.getLogger("swellmq.broker")
client_log: Final = logging.getLogger("swellmq.clients")

# Kinds of lines about clients.
LINE_ACCEPTED: Final = 0
LINE_CONNECTED: Final = 1
LINE_REFUSED: Final = 2
LINE_CLOSED: Final = 3
LINE_NEVER_CONNECTED: Final = 4
LINE_SUBSCRIBED: Final = 5
LINE_UNSUBSCRIBED: Final = 6
LINE_REVOKED: Final = 7
LINE_UNANSWERED: Final = 8
KINDS: Final = 9

# How severe they are, as in `logging`.
DEBUG: Final = 10
INFO: Final = 20
WARNING: Final = 30


@final
@mypyc_attr(native_class=True)
class Lines:
    """How many lines about clients are written: of each kind a bounded number a second; the rest is counted, and told
    when the second is over. A storm of clients must not become a storm of lines."""

    def __init__(self) -> None:
        self.per_second: i64 = 20  # of each kind; 0: none is written, and none counted
        self.second: i64 = -1
        self.level: i64 = 0  # the least severe that is logged, as it was when this second began
        self.counts: list[int] = [0] * KINDS  # in this second
        self.due_ms: i64 = 0  # when to tell what was left out; 0: nothing was
        # Of connections that are about to be closed, until they are.
        self.told: set[Connection] = set()  # a line has said already how they end
        self.faults: dict[Connection, str] = {}  # what is wrong, in words

    def forget(self, connection: Connection) -> None:
        """The connection is closed, and what was to be said of it is said."""
        self.told.discard(connection)
        self.faults.pop(connection, None)


@final
@mypyc_attr(native_class=True)
class Core:
    """Everything that one broker knows."""

    def __init__(
        self, limits: Limits, turn: Turn, stats: Stats, storage: Storage, uplink: Uplink, access: Access
    ) -> None:
        self.limits = limits
        self.turn = turn
        self.stats = stats
        self.storage = storage
        self.uplink = uplink
        self.access = access
        self.deadlines = Deadlines()
        self.sessions: ShardedMap[bytes, Session] = ShardedMap()
        self.peers = Peers()
        self.lines = Lines()
        self.life: Life | None = None  # once there is something to write
        self.tracing: Tracing | None = None  # once somebody has asked for a trace
        self.spans: Spans | None = None
        self.permissions: Permissions | None = None
        self.rights_changes: i64 = 0
        self.last_number: i64 = 0  # that `permissions` had given to a session when they were last replaced
        self.topics = Topics(limits.overlapping == "each")
        self.retained = Retained()
        self.clients: i64 = 0  # sessions with a connection
        self.requests: list[Request] = []  # for access, collected in this turn
        self.waiting: dict[int, Request] = {}  # all unanswered questions, by token
        self.rules: list[Rules] = []  # by the index of the listener, where they differ
        self.usual = Rules()
        self.exchanges: dict[Connection, Exchange] = {}  # of clients that authenticate by a method, or did
        self.fights = Fights()
        self.meters: dict[Connection, Meter] = {}  # of clients that have sent something, where there is a rate limit
        self.flying: dict[Session, int] = {}  # payload bytes in flight to each, where they are limited
        self.leases: dict[Connection, int] = {}  # until when (monotonic ms) clients may stay whose login expires
        self.events: list[SessionEvent] = []
        self.crowded: list[Session] = []  # something waits in them because the outbox was full
        self.ending: list[Session] = []  # they have ended, but some of their subscriptions are still to be removed
        self.discarded: list[DeliveryQueue] = []  # of sessions that have ended
        self.work: list[Work] = []  # that takes several turns, in order
        self.deliveries_left: i64 = DELIVERIES_PER_TURN  # below 0: whoever makes many waits for the next turn
        self.next_token: i64 = 0
        self.assigned_stem: str = ""  # the first four parts of the UUID in assigned client ids; random from server.py
        self.assigned: i64 = 0
        self.changes: i64 = 0  # durable changes since the start
        self.changes_sealed: i64 = 0
        self.sealed: bool = True  # this turn's batch is handed over: what changes now needs another turn
        self.review: list[Session] = []  # that are looked at again, since access control has changed
        self.review_left: list[Subscription] = []  # those of the session that is next
        self.waiting_bytes: i64 = 0  # memory of messages whose clients are away, about
        self.shelf_waiters: dict[str, list[int]] = {}  # tokens of those whose messages are read back, by client id
        self.entering: Session | None = None  # its client is being let in
        self.strangers_bytes: i64 = 0  # of the incomplete CONNECTs that are charged
        self.seal_due_ms: i64 = 0  # the store has failed to seal: when it is tried again; 0: it has not
        self.stopping: bool = False
        self.shedding: bool = False
        self.no_memory: bool = False  # nothing large is taken in: no packet of more than a MiB, no new retained topic
        self.qos_0_bytes: i64 = 0  # a client with more output waiting gets no QoS 0
        self.set_rights(access.rights, access.rights_at)
        turn.durable = storage.durable or uplink.enabled
        self.take_limits(limits)

    def reason_code(self, error: PeerError) -> int:
        """The reason code that a peer is told for its fault; SILENT where it is told nothing."""
        return error.mosquitto_code if self.limits.like_mosquitto else error.reason_code

    def refusal(self, reason_code: int) -> int:
        """The reason code that a client is refused with; mosquitto does not tell why it can't log in."""
        if reason_code == BAD_USER_NAME_OR_PASSWORD and self.limits.like_mosquitto:
            return NOT_AUTHORIZED
        return reason_code

    # Listeners that differ

    def rules_of(self, connection: Connection) -> Rules:
        """What holds for the clients of the listener that `connection` came by."""
        index = connection.listener
        return self.rules[index] if index < len(self.rules) else self.usual

    def maximum_qos(self, connection: Connection) -> i64:
        """The highest QoS that a client may use."""
        limits = self.limits
        if not self.rules:
            return limits.maximum_qos
        return min(limits.maximum_qos, self.rules_of(connection).maximum_qos)

    def topic_alias_maximum(self, connection: Connection) -> i64:
        """How many topic aliases a client may set up."""
        limits = self.limits
        if not self.rules:
            return limits.topic_alias_maximum
        return min(limits.topic_alias_maximum, self.rules_of(connection).topic_alias_maximum)

    def tidy(self) -> None:
        """A crowd has gone: let go of what was there for it."""
        self.deadlines.sweep_out()
        self.topics.forget_routes()
        if self.permissions is not None:
            self.permissions.forget()
        rebuild(self.waiting)
        rebuild(self.exchanges)
        rebuild(self.meters)
        rebuild(self.flying)
        rebuild(self.leases)
        rebuild(self.lines.faults)

    # The log

    def tells(self, kind: u8, level: i64) -> bool:
        """Whether a line of this kind is to be written now, by `chronicle`; where not, it is counted."""
        lines = self.lines
        if lines.per_second == 0:
            return False
        second = self.turn.now_ms // 1000
        if second != lines.second:
            self.tell_left_out()
            lines.second = second
            lines.level = max(client_log.getEffectiveLevel(), client_log.manager.disable + 1)
        if level < lines.level:
            return False
        count: i64 = lines.counts[kind]
        lines.counts[kind] = int(count + 1)
        if count < lines.per_second:
            return True
        lines.due_ms = (second + 1) * 1000
        return False

    def tell_left_out(self) -> None:
        """The second is over: say in one line what was left out of the log."""
        lines = self.lines
        left_out = [count - int(lines.per_second) for count in lines.counts]
        for kind in range(KINDS):
            lines.counts[kind] = 0
        if lines.due_ms:
            lines.due_ms = 0
            self.chronicle().left_out(left_out)

    def chronicle(self) -> Life:
        """Who writes the lines."""
        if self.life is None:
            from swellmq.broker.life import Life  # a broker at start has no clients to tell of

            self.life = Life(self)
        return self.life

    # Sessions

    def session(self, client_id: str) -> Session | None:
        """The session of a client id."""
        return self.sessions.get(client_id.encode())

    def assign_client_id(self, prefix: str) -> str:
        """A client id that no one has: `prefix` and a UUID."""
        while True:
            self.assigned += 1
            count = f"-{self.assigned:012x}" if self.assigned_stem else str(self.assigned)
            client_id = prefix + self.assigned_stem + count
            if self.session(client_id) is None:  # [MQTT-3.2.2-16]
                return client_id

    def look_again(self, connection: Connection, due_ms: i64) -> None:
        """Look at `connection` at `due_ms` at the latest.

        A deadline that is earlier already stays: it will find that nothing is due and move itself. So a connection that
        is parked for each of its packets does not fill the buckets.
        """
        if connection.deadline_ms == 0 or due_ms < connection.deadline_ms:
            if connection.owner is None:  # nobody asks again whether the time of a stranger is up
                self.deadlines.set(connection, due_ms)
            else:
                self.deadlines.set_far(connection, due_ms, self.turn.now_ms)

    def charge(self, connection: Connection, total: i64) -> bool:
        """Charge a client that is not known yet with what is kept of it; False where all of them have too much.

        Who sends half a CONNECT waits for its deadline at the broker's cost, or, with a whole one, for what access
        says; and strangers may be many.
        """
        buffers = connection.buffers
        held = buffers.charged_bytes if buffers is not None else 0
        if total <= held:
            return True
        if self.strangers_bytes + total - held > STRANGERS_BYTES_MAX:
            self.lines.faults[connection] = "too much is kept of clients that are not known yet"
            return False
        self.strangers_bytes += total - held
        connection.charge(total)
        return True

    def discharge(self, connection: Connection) -> None:
        """The packet is complete and answered, or its client gone."""
        buffers = connection.buffers
        if buffers is not None and buffers.charged_bytes:
            self.strangers_bytes -= buffers.charged_bytes
            buffers.charged_bytes = 0
            if buffers.empty():
                connection.buffers = None

    def note_crowded(self, session: Session) -> None:
        """Something waits in `session` for room in the outbox: look again once that was flushed.

        The loop tells when a socket that had stalled has drained, but a socket may take all at once as well.
        """
        if not session.crowded:
            session.crowded = True
            self.crowded.append(session)
            self.turn.again = True

    def identify(self, session: Session, username: str | None, connection: Connection) -> None:
        """Note whose session it is from now on; what another user, or one at another listener, was allowed is
        forgotten."""
        permissions = self.permissions
        if session.username != username or (permissions is not None and not permissions.stay_with(session, connection)):
            session.username = username
            if self.permissions is not None and (session.number or session.first is not None):
                session.number = 0
                self.topics.forget_routes()
                self.review.append(session)
                self.turn.again = True

    def fly(self, session: Session, payload_bytes: i64) -> None:
        """So many bytes more, or less, are in flight to a session's client."""
        if self.limits.inflight_bytes:
            self.flying[session] = max(0, self.flying.get(session, 0) + int(payload_bytes))

    def set_rights(self, rights: Rights | None, rights_at: dict[int, Rights]) -> None:
        """Let clients do what `rights` allow from now on (None: everything), those of single listeners what `rights_at`
        has for them."""
        if self.permissions is not None:
            self.last_number = self.permissions.last_number
        self.rights_changes += 1
        if rights is None and not rights_at:
            self.permissions = None
        elif self.permissions is None:
            names = self.access.listener_names
            self.permissions = Permissions(rights or Rights(), rights_at, self.last_number, self.rights_changes, names)
        else:
            self.permissions.replace(rights or Rights(), rights_at, self.rights_changes)
        self.topics.permissions = self.permissions
        self.topics.forget_routes()

    def take_limits(self, limits: Limits) -> None:
        """Go by these limits from now on; see `MqttBroker.take_limits`."""
        if not limits.inflight_bytes:
            self.flying = {}
        self.limits = limits
        self.turn.unread_bytes = limits.outbox_bytes * 4  # deliveries stop at a quarter of it; answers do not
        self.shed(self.shedding, self.no_memory)

    def shed(self, shedding: bool, no_memory: bool) -> None:
        """From now on drop QoS 0 for clients that do not keep up, or no longer: see overload.py."""
        self.shedding = shedding
        self.no_memory = no_memory
        limits = self.limits
        self.qos_0_bytes = min(SHED_OUTBOX_BYTES, limits.outbox_bytes) if shedding else limits.outbox_bytes

    def count_dropped_qos_0(self, connection: Connection, count: i64) -> None:
        """QoS 0 messages were dropped for a client, since more than `qos_0_bytes` waits for it."""
        if connection.outbox_bytes > self.limits.outbox_bytes:
            self.stats.dropped_outbox_full += count
        else:
            self.stats.dropped_overload += count

    def begin_review(self) -> None:
        """Look again, some in each turn, at who is connected and at what they subscribed to."""
        self.review = self.sessions.values()
        self.review_left = []
        self.turn.again = True

    def note_lease(self, connection: Connection, request: Request) -> None:
        """A client is let in, or has authenticated again: for how long."""
        if request.lasts_ms > 0:
            until_ms = self.turn.now_ms + request.lasts_ms
            self.leases[connection] = int(until_ms)
            self.look_again(connection, until_ms)
        elif self.leases:
            self.leases.pop(connection, None)

    def lease_until(self, connection: Connection) -> i64:
        """When the client's login expires; 0: never."""
        if not self.leases:
            return 0
        return self.leases.get(connection, 0)

    # Questions

    def park(self, kind: u8, connection: Connection, client_id: str, username: str | None) -> Request:
        """Park `connection` until the question is answered; it is not read meanwhile."""
        self.next_token += 1
        request = Request(kind, int(self.next_token), connection, client_id, username)
        request.deadline_ms = self.turn.now_ms + self.limits.pending_timeout_ms
        connection.question = request
        self.waiting[request.token] = request
        self.turn.watch.append(connection)
        self.look_again(connection, request.deadline_ms)
        if self.sealed:
            self.turn.again = True
        return request

    def unpark(self, request: Request) -> None:
        """The question is answered or its connection is gone; cuts the circle between the two."""
        self.waiting.pop(request.token, None)
        connection = request.connection
        if connection.question is request:
            connection.question = None
            self.turn.watch.append(connection)

    # Work for several turns

    def too_wide(self, deliveries: i64) -> bool:
        """Whether so many deliveries have to wait for their slices; else they are counted, and made now."""
        if deliveries > DELIVERIES_LEAST and (self.work or deliveries > self.deliveries_left):
            return True
        self.deliveries_left -= deliveries
        return False

    def queue(self, work: Work, connection: Connection | None) -> None:
        """Do `work` in slices, behind all that is there already; `connection` is not read until it is done."""
        self.work.append(work)
        self.turn.again = True
        if connection is not None:
            work.connection = connection
            connection.question = work
            connection.interest |= DEMANDING
            self.turn.watch.append(connection)

    def has_under_way(self, session: Session) -> bool:
        """Whether messages that this client has published, on whatever connection, are still on their way."""
        for work in self.work:
            publisher: Session | None = None
            if isinstance(work, (Spread, Routing)):
                publisher = work.publisher
            if publisher is not None and publisher.client_id == session.client_id:
                return True
        return False

    def let_go(self, work: Work) -> None:
        """Its client goes on, or is gone; cuts the circle between the two."""
        connection = work.connection
        work.connection = None
        if connection is not None:
            connection.question = None
            self.turn.watch.append(connection)

    # Durability

    def kept(self, session: Session) -> bool:
        """Whether changes of this session are to be stored."""
        return self.storage.durable and session.expiry_interval > 0

    def expire_after(self, session: Session, interval: i64) -> None:
        """Set how long a session outlives its connection, in seconds; one that no longer does is not kept."""
        was_kept = self.kept(session)
        session.expiry_interval = interval
        if was_kept and not interval:
            self.touch()
            self.storage.session_removed(session)

    def touch(self) -> None:
        """Something durable has changed: it belongs to the batch that is open."""
        self.changes += 1
        if self.sealed:
            self.turn.again = True  # the batch that is open now would wait for the next event

    def ticket_since(self, changes_before: i64) -> i64:
        """The ticket of the last batch that has a durable change since `changes_before` was read; one that is stored
        where there was none."""
        turn = self.turn
        if self.changes == changes_before:
            return turn.ticket_stored
        return turn.ticket_open if self.changes != self.changes_sealed else turn.ticket_open - 1

    def acknowledge(self, connection: Connection, packet: bytes, changes_before: i64) -> None:
        """Send an acknowledgement: once it is stored where something durable changed since `changes_before` was read,
        else at once, but never before an earlier one that is held. What takes several turns is acknowledged then."""
        work = connection.question
        if work is not None and isinstance(work, Work):
            work.reply = packet
            work.changes = changes_before
        elif self.changes != changes_before:
            connection.hold_until(packet, self.ticket_since(changes_before))
        else:
            connection.send_in_order(packet)

    def seal(self) -> None:
        """Hand the open batch over if it holds anything, and learn which tickets are stored."""
        turn = self.turn
        storage = self.storage
        uplink = self.uplink
        if self.changes != self.changes_sealed and self._seal_store():
            ticket = turn.ticket_open
            turn.ticket_open += 1
            self.changes_sealed = self.changes
            if uplink.enabled:
                uplink.seal(ticket)
        stored = turn.ticket_open - 1
        written = stored
        if storage.durable:
            stored = min(stored, storage.stored)
            written = min(written, max(storage.stored, storage.written))
        if uplink.enabled:
            stored = min(stored, uplink.stored)
            written = min(written, uplink.stored)
        if self.crowded and (written > turn.ticket_written or stored > turn.ticket_stored):
            turn.again = True  # what was held makes room when it has left
        turn.ticket_stored = stored
        turn.ticket_written = written
        self.sealed = True
        if self.events:
            turn.again = True  # sessions that ended while connections were closed

    def _seal_store(self) -> bool:
        """Have the store seal the open batch; False where it can't, and the batch stays open under its ticket.

        That is a bug of a store, and we go on with what needs none: all that depends on the batch stays held, further
        durable work is refused, and it is tried again every `SEAL_RETRY_MS`.
        """
        storage = self.storage
        if not storage.durable:
            return True
        if self.seal_due_ms > self.turn.now_ms:
            return False
        storage.clock_ms = self.turn.wall_ms
        try:
            storage.seal(self.turn.ticket_open)
        except Exception:
            self.stats.errors_internal += 1
            if not self.seal_due_ms:
                log.exception("the store fails to seal a batch: durable work is refused until it can")
            self.seal_due_ms = self.turn.now_ms + SEAL_RETRY_MS
            storage.refusal = IMPLEMENTATION_SPECIFIC_ERROR
            return False
        if self.seal_due_ms:
            self.seal_due_ms = 0
            storage.refusal = 0
            log.warning("the store seals again")
        return True

    def statistics(self) -> dict[str, int]:
        """Counts of what this broker holds."""
        return {
            "clients": int(self.clients),
            "sessions": len(self.sessions),
            "questions": len(self.waiting),
            "waiting_bytes": int(self.waiting_bytes),
            "strangers_bytes": int(self.strangers_bytes),
            "crowded": len(self.crowded),
            "ending": len(self.ending),
            **self.topics.statistics(),
            **self.retained.statistics(),
            **(self.permissions.statistics() if self.permissions is not None else {}),
        }
