"""The seam between `net/` and `broker/`: a Connection, the Handler that gets its bytes, and the Turn they share.

A Connection is plain data and comes out of the pool. While it is idle it owns no buffer, no timer, no task and no
socket object: a number (the descriptor), a few small integers, and references that are None.

Output never leaves at once. `send` appends to the outbox and notes the connection in the turn; the loop flushes each
once, at the end of the turn. What may leave only after it is stored is held (`hold`) under the ticket of the batch
that is open, and moves to the outbox when that ticket is stored. `close` only marks; the loop closes and gives the
object back at the end of the turn, when no event of this turn can still name its descriptor.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar, final

from mypy_extensions import i16, i32, i64, mypyc_attr, u8

from swellmq.errors import OPEN
from swellmq.limits import GATHER_FROM_BYTES, GATHER_PIECE_BYTES, PRESS_LOOK_NS, PRESS_NS

# Connection.gate: whether `send` may append at once.
GATE_OPEN: Final = 0
GATE_HELD: Final = 1  # the CONNACK itself is held, so all output waits behind it
GATE_CLOSED: Final = 2  # marked for closing

# Connection.problem_information: MQTT 5.0 allows reason strings where a client did not speak of them, but what a client
# is not prepared for helps nobody: the broker's own words go only to those that asked.
PROBLEMS_UNWANTED: Final = 0
PROBLEMS_ALLOWED: Final = 1  # only words that access gives
PROBLEMS_WANTED: Final = 2  # Request Problem Information was 1

# Connection.durability: what an acknowledgement waits for where something durable has changed.
ON_DISK: Final = 0
WRITTEN: Final = 1  # the system has it: it survives us, though not a power cut
IN_MEMORY: Final = 2  # nothing

# Connection.interest: what is watched, in several epolls; the values are those of select.EPOLLIN and select.EPOLLOUT.
READABLE: Final = 1
WRITABLE: Final = 4
IN_BACK: Final = 128  # no event: the connection is served behind those that ask for little, see the loop
DEMANDING: Final = 64  # and this says that it should be


# What takes long in a turn, and may be put off (Turn.put_off), in the order in which it is done.
BACK: Final = 1  # those that are served behind
LINE: Final = 2  # work that takes several turns
ROOM: Final = 4  # what waited for room in an outbox
ENDED: Final = 8  # what ended sessions have left, and looks at what access now allows
LATE: Final = 16  # output that is late

BESIDE_MAX: Final = 4  # descriptors beside the clients' in the epoll of those in front

monotonic_ns: Final = time.monotonic_ns

T = TypeVar("T")


def drain(waiting: list[T]) -> list[T]:
    """What waits in a list, which is empty from now on.

    The list itself stays what it was. A new one in its place would be made while a crowd is here, lie between what the
    crowd needs, and keep that memory from the system when the crowd has gone: see docs/decisions/0013-giving-back.md.
    """
    taken = waiting[:]
    waiting.clear()
    return taken


def _nobody(_timeout_s: float, _count: int) -> list[tuple[int, int]]:
    return []


@mypyc_attr(native_class=True, acyclic=True)
class Timed:
    """Something with a deadline. A bucket that names it is stale unless its deadline is still the bucket's."""

    def __init__(self) -> None:
        self.deadline_ms: i64 = 0  # monotonic; 0: none


@mypyc_attr(native_class=True, acyclic=True)
class Owner(Timed):
    """Whom a connection serves once it is accepted: the broker's Session derives from it."""


@mypyc_attr(native_class=True, acyclic=True, allow_interpreted_subclasses=True)
class Question:
    """What a parked connection waits for: the broker's Request derives from it."""


@mypyc_attr(native_class=True, acyclic=True, allow_interpreted_subclasses=True)
class Layer:
    """What stands between the socket of a connection and its handler, such as WebSocket: each has its own.

    It knows no connection and sends nothing itself. The loop passes what was read up through `received`, and what is
    to be sent down through `framed`, once per flush.
    """

    def __init__(self) -> None:
        self.reason: u8 = OPEN  # another: the connection is to be closed for it, once what came before is handled
        self.phrase: str = ""  # what the peer did wrong, where that is why

    def fresh(self) -> Layer:
        """A new one for another connection, with the settings of this one."""
        return Layer()

    def meet(self, fd: int) -> None:
        """Its connection has this descriptor, which stays the loop's."""

    def received(self, data: bytes) -> bytes:
        """What the handler gets of the bytes that were read; empty where it is nothing yet."""
        return data

    def framed(self, pieces: list[bytes]) -> list[bytes]:
        """What goes to the socket for the bytes that the handler sends, and what the layer has to say itself."""
        return pieces

    def owes(self) -> bool:
        """Whether it has something to say even if the handler sends nothing."""
        return False

    def address(self) -> str:
        """Where the peer comes from, where a proxy in front has said that; else ""."""
        return ""

    def identity(self) -> str | None:
        """Who the peer is, where the layer knows that, as from a certificate."""
        return None

    def finish(self, reason: u8) -> None:
        """The connection is closed for `reason` at the end of this turn; what it says goodbye with still leaves."""


@final
@mypyc_attr(native_class=True, acyclic=True)
class Buffers:
    """What not every connection has: a layer below MQTT, a packet that is being gathered, output that waits."""

    def __init__(self) -> None:
        self.layer: Layer | None = None  # from accept to the end; None: MQTT straight on the socket
        self.gather: list[bytes] | None = None  # the start of one large packet, as it was read
        self.gathered_bytes: i64 = 0  # its length
        self.gather_bytes: i64 = 0  # and that of the whole packet
        self.charged_bytes: i64 = 0  # what it counts for among the packets of strangers
        self.large: bytes = b""  # a piece of the outbox that passes the layer part by part, in front of all others
        self.large_next: i64 = 0  # bytes of it that have
        self.backlog: list[bytes] | None = None  # what the socket did not take, in order
        self.backlog_next: i64 = 0  # index of the first piece that is not yet sent
        self.backlog_offset: i64 = 0  # bytes of that piece that are sent
        self.stalled_since_ms: i64 = 0  # since when the socket has not taken PROGRESS_OUT_BYTES
        self.taken_bytes: i64 = 0  # what it has taken since then
        self.held: list[bytes] | None = None
        self.held_tickets: list[int] | None = None  # the ticket of each held piece, ascending

    def empty(self) -> bool:
        """Whether nothing is kept, so that the connection can drop this object."""
        return (
            self.layer is None
            and self.gather is None
            and self.backlog is None
            and self.held is None
            and self.charged_bytes == 0
        )


@final
@mypyc_attr(native_class=True, acyclic=True)
class Aliases:
    """The topic aliases of one MQTT 5.0 connection, in both directions; they never outlive it."""

    def __init__(self) -> None:
        self.inbound: dict[int, bytes] = {}
        self.outbound: dict[bytes, int] = {}


@final
@mypyc_attr(native_class=True)
class Turn:
    """What this turn of the loop has still to do, and the clock it runs by. One for each broker."""

    def __init__(self) -> None:
        self.now_ms: i64 = 0  # monotonic
        self.wall_ms: i64 = 0  # milliseconds since 1970; only for what is kept across restarts
        self.flush: list[Connection] = []  # those with something in the outbox
        self.late: list[Connection] = []  # those of them that are written to behind the others, in later turns
        self.close: list[Connection] = []  # those marked for closing
        self.watch: list[Connection] = []  # those whose epoll interest may have changed
        self.promote: list[Connection] = []  # refused clients that take over a place
        self.heirs: list[Connection] = []  # those of them whose own old connection makes that place free
        self.held: list[Connection] = []  # those with held output
        self.again: bool = False  # work is left: the next turn must not wait
        self.durable: bool = False  # whether anything is ever held
        self.unread_bytes: i64 = 0  # a client with more output waiting is not read; 0: no bound
        self.ticket_open: i64 = 1  # of the batch that this turn fills
        self.ticket_stored: i64 = 0  # all up to this one is stored
        self.ticket_written: i64 = 0  # all up to this one is out of our hands, though perhaps not on disk
        self.ready: Callable[[float, int], list[tuple[int, int]]] = _nobody  # asks the epoll of those in front
        self.beside: set[int] = set()  # what is in that epoll beside clients
        self.look_ns: i64 = 0  # when to ask it next
        self.press: bool = False  # somebody in front waits, and the turn has lasted long enough
        self.put_off: i64 = 0  # the phases, a bit each, that have left their time to those in front
        self.favoured: i64 = 0  # the one of them that does not do so in this turn; 0: none

    def begin(self, begin_ns: i64) -> None:
        """A turn begins. Of the phases that were put off before one is favoured, each in its turn."""
        self.again = False
        self.press = False
        self.look_ns = begin_ns + PRESS_NS
        if self.put_off:
            self._favour_next()
        else:
            self.favoured = 0

    def _favour_next(self) -> None:
        while True:
            self.favoured = self.favoured * 2 if 0 < self.favoured < LATE else BACK
            if self.favoured & self.put_off:
                self.put_off ^= self.favoured
                return

    def pressed(self) -> bool:
        """Whether the turn should come to its end: it has lasted PRESS_NS, and somebody in front waits.

        What takes long asks between two steps, of which it has done at least one.
        """
        if not self.press:
            now_ns: i64 = monotonic_ns()
            if now_ns < self.look_ns:
                return False
            self.look_ns = now_ns + PRESS_LOOK_NS
            for fd, _mask in self.ready(0, BESIDE_MAX + 1):
                if fd not in self.beside:
                    self.press = True
        return self.press

    def puts_off(self, phase: i64) -> bool:
        """Whether a phase that takes long leaves its time to those in front, or, as the first of them, to another one
        that did so before."""
        if phase == self.favoured or not (self.pressed() or (phase == BACK and self.favoured)):
            return False
        self.put_off |= phase
        self.again = True
        return True

    def put_behind(self, start: i64) -> None:
        """Let those from index `start` of `flush` on, who are very many, wait behind all fresh output."""
        self.late.extend(self.flush[start:])
        del self.flush[start:]


@mypyc_attr(native_class=True, allow_interpreted_subclasses=True)
class Handler:
    """Who gets the bytes of a connection. `now_ms` is monotonic."""

    def on_open(self, connection: Connection, now_ms: i64) -> None:
        """A connection was accepted and has its descriptor."""

    def on_data(self, connection: Connection, data: bytes, now_ms: i64) -> None:
        """Bytes arrived. The handler owns `data`; what it can't use yet it keeps with `keep`."""

    def on_stalled(self, connection: Connection, now_ms: i64) -> None:
        """The socket took less than was sent to it."""

    def on_drained(self, connection: Connection, now_ms: i64) -> None:
        """All output left, after `on_stalled`."""

    def on_closed(self, connection: Connection, now_ms: i64) -> None:
        """The connection is marked closed; what is sent to others now still leaves in this turn."""


@mypyc_attr(native_class=True, allow_interpreted_subclasses=True)
class Engine(Handler):
    """A handler that also takes part in the phases of the turn."""

    def begin(self) -> None:
        """A turn begins: what changes durably from here on belongs to its batch."""

    def tick(self, now_ms: i64) -> None:
        """Phase 3: run the deadlines that have passed."""

    def deadline_ms(self) -> i64:
        """When `tick` must run next (monotonic); -1: never."""
        return -1

    def settle(self, now_ms: i64) -> None:
        """End of phase 3: all that was read is handled; answer what can be answered now."""

    def tidy(self) -> None:
        """A crowd has gone: let go of connections that are named for nothing."""

    def seal(self) -> None:
        """Phase 4: hand the open batch to storage and uplink, and learn what is stored."""


@mypyc_attr(native_class=True, allow_interpreted_subclasses=True)
class Peers:
    """Knows where connections come from."""

    def address(self, connection: Connection) -> str:
        """The peer's numeric address without its port; "" for a Unix socket, and where it is gone or not known."""
        return ""


@mypyc_attr(native_class=True, allow_interpreted_subclasses=True)
class Watcher:
    """Is told of some reads and writes, picked by chance, each of which stands for `stands_for` of them."""

    def on_read(self, connection: Connection, size: i64, publishes: i64, stands_for: i64) -> None:
        """`size` bytes were read and handled; so many PUBLISH packets were in them."""

    def on_write(self, connection: Connection, pieces: list[bytes], written: i64, stands_for: i64) -> None:
        """`written` bytes of `pieces`, or of what was there before them, were sent."""


@final
@mypyc_attr(native_class=True, acyclic=True)
class Connection(Timed):
    """One network connection, or an idle object of the pool.

    Everything here is set back by `reset`, which a test compares with `__init__`: no byte, reference or flag of the
    last client survives. The fields are as narrow as they may be, and ordered so that no gaps arise: 144 bytes in all.
    """

    def __init__(self, turn: Turn) -> None:
        self.deadline_ms: i64 = 0
        # Transport
        self.turn = turn
        self.handler: Handler | None = None  # None: idle in the pool
        self.fd: i32 = -1
        self.listener: i16 = 0  # index of the listener it came by
        self.pooled: bool = False  # preheated; False: made on demand
        self.close_reason: u8 = OPEN
        self.outbox_bytes: i64 = 0  # in the outbox, in the backlog, and held
        self.outbox: list[bytes] | None = None
        self.inbox: bytes = b""  # an incomplete small packet
        self.buffers: Buffers | None = None
        self.last_ms: i64 = 0  # when the last bytes arrived; of a stranger, when it was accepted
        # Client
        self.owner: Owner | None = None  # the session, once CONNECT is accepted
        self.question: Question | None = None  # PENDING: parked until it is answered
        self.aliases: Aliases | None = None
        self.gate: u8 = GATE_OPEN
        self.deaf: bool = False  # not read until it has taken what waits for it
        self.interest: u8 = 0  # what is watched now
        self.protocol_version: u8 = 0  # 0 until CONNECT was read
        self.bridge: bool = False
        self.problem_information: u8 = PROBLEMS_ALLOWED  # MQTT 5.0: which words go with reason codes
        self.will_wanted: bool = True  # False once the client said goodbye properly
        self.durability: u8 = ON_DISK
        self.keep_alive_s: i32 = 0
        self.receive_maximum: i32 = 65_535  # the client's
        self.topic_alias_maximum: i32 = 0  # the client's
        self.packet_bytes_max: i32 = 0  # the client's Maximum Packet Size; 0: none

    def reset(self) -> None:
        """Back to what `__init__` gave; called at release."""
        self.deadline_ms = 0
        self.handler = None
        self.fd = -1
        self.listener = 0
        self.outbox_bytes = 0
        self.outbox = None
        self.inbox = b""
        self.buffers = None
        self.close_reason = OPEN
        self.gate = GATE_OPEN
        self.deaf = False
        self.interest = 0
        self.last_ms = 0
        self.owner = None
        self.question = None
        self.aliases = None  # [MQTT-3.3.2-7]
        self.protocol_version = 0
        self.bridge = False
        self.problem_information = PROBLEMS_ALLOWED
        self.will_wanted = True
        self.durability = ON_DISK
        self.keep_alive_s = 0
        self.receive_maximum = 65_535
        self.topic_alias_maximum = 0
        self.packet_bytes_max = 0

    def takes(self, packet: bytes) -> bool:
        """Whether a packet is within the client's Maximum Packet Size."""
        return self.packet_bytes_max == 0 or len(packet) <= self.packet_bytes_max

    def send(self, data: bytes) -> None:
        """Append `data` to the outbox; it leaves at the end of this turn. Nothing happens once it is marked closed."""
        if self.gate != GATE_OPEN:
            if self.gate == GATE_HELD:
                self._hold_behind_connack(data)
            return
        outbox = self.outbox
        if outbox is None:
            self.outbox = [data]
            self.turn.flush.append(self)
        else:
            outbox.append(data)
        self.outbox_bytes += len(data)

    def hold(self, data: bytes) -> None:
        """Send `data` once the batch that is open now is stored; at once where nothing is ever stored."""
        self.hold_until(data, self.turn.ticket_open)

    def hold_until(self, data: bytes, ticket: i64) -> None:
        """Send `data` once `ticket` is stored, and not before what is held already; at once where that holds now."""
        if not self.turn.durable or ticket <= self.safe_ticket():
            self.send_in_order(data)
        elif self.gate != GATE_CLOSED:
            buffers = self.buffers
            if buffers is not None and buffers.held_tickets is not None:
                ticket = max(ticket, buffers.held_tickets[len(buffers.held_tickets) - 1])
            self._hold(data, ticket)

    def safe_ticket(self) -> i64:
        """The last ticket that counts as stored for this client."""
        if self.durability == ON_DISK:
            return self.turn.ticket_stored
        return self.turn.ticket_written if self.durability == WRITTEN else self.turn.ticket_open

    def send_in_order(self, data: bytes) -> None:
        """Send `data`, but not before what is held: an acknowledgement that need not wait keeps its place."""
        buffers = self.buffers
        if buffers is not None and buffers.held_tickets is not None and self.gate != GATE_CLOSED:
            self._hold(data, buffers.held_tickets[len(buffers.held_tickets) - 1])
        else:
            self.send(data)

    def _hold(self, data: bytes, ticket: i64) -> None:
        self.outbox_bytes += len(data)
        buffers = self.buffers
        if buffers is None:
            buffers = self.buffers = Buffers()
        if buffers.held is None or buffers.held_tickets is None:
            buffers.held = [data]
            buffers.held_tickets = [ticket]
            self.turn.held.append(self)
        else:
            buffers.held.append(data)
            buffers.held_tickets.append(ticket)

    def _hold_behind_connack(self, data: bytes) -> None:
        """Let output that waits for nothing but the CONNACK leave together with it, in front of what waits for more.

        Were it put at the end, what is sent once the CONNACK has left would overtake it.
        """
        buffers = self.buffers
        assert buffers is not None and buffers.held is not None and buffers.held_tickets is not None
        tickets = buffers.held_tickets
        place = len(tickets)
        while tickets[place - 1] != tickets[0]:
            place -= 1
        self.outbox_bytes += len(data)
        buffers.held.insert(place, data)
        tickets.insert(place, tickets[0])

    def holds(self) -> bool:
        """Whether some output waits for a ticket."""
        return self.buffers is not None and self.buffers.held is not None

    def release_held(self) -> bool:
        """Move held output whose ticket is stored to the outbox; whether some is still held."""
        buffers = self.buffers
        if buffers is None or buffers.held is None or buffers.held_tickets is None or self.gate == GATE_CLOSED:
            return False
        held = buffers.held
        tickets = buffers.held_tickets
        stored = self.safe_ticket()
        count = 0
        while count < len(tickets) and tickets[count] <= stored:
            count += 1
        if not count:
            return True
        remain = count < len(held)
        if self.gate == GATE_HELD:
            self.gate = GATE_OPEN  # the CONNACK is always the first that is held
        for data in held[:count]:
            self.outbox_bytes -= len(data)  # `send` counts it
            self.send(data)
        if remain:
            buffers.held = held[count:]
            buffers.held_tickets = tickets[count:]
            return True
        buffers.held = None
        buffers.held_tickets = None
        if buffers.empty():
            self.buffers = None
        return False

    def close(self, reason: u8) -> None:
        """Mark for closing; the first reason stays. What is in the outbox still gets one chance to leave."""
        if self.close_reason == OPEN:
            self.close_reason = reason
            self.gate = GATE_CLOSED  # [MQTT-3.14.4-1]
            self.turn.close.append(self)

    def charge(self, total: i64) -> None:
        """Note that the packet which is kept counts with its whole length among those of strangers."""
        buffers = self.buffers
        if buffers is None:
            buffers = self.buffers = Buffers()
        buffers.charged_bytes = total

    def keep(self, rest: bytes, total: i64) -> None:
        """Keep the start of a packet whose whole length is `total` (0: not yet known) until more arrives.

        A small one is joined to the next read; the pieces of a large one are gathered, and joined once it is whole, so
        that a packet in many small reads costs linear time.
        """
        if total <= GATHER_FROM_BYTES:
            self.inbox = rest
            return
        buffers = self.buffers
        if buffers is None:
            buffers = self.buffers = Buffers()
        buffers.gather = [rest]
        buffers.gathered_bytes = len(rest)
        buffers.gather_bytes = total

    def take(self, data: bytes) -> bytes:
        """`data` behind what was kept; empty while a large packet is still incomplete."""
        buffers = self.buffers
        if buffers is not None and buffers.gather is not None:
            gather = buffers.gather
            if len(gather[-1]) < GATHER_PIECE_BYTES:
                gather[-1] += data
            else:
                gather.append(data)
            buffers.gathered_bytes += len(data)
            if buffers.gathered_bytes < buffers.gather_bytes:
                return b""
            data = b"".join(gather)
            buffers.gather = None
            buffers.gathered_bytes = 0
            buffers.gather_bytes = 0
            if buffers.empty():
                self.buffers = None
            return data
        if self.inbox:
            data = self.inbox + data
            self.inbox = b""
        return data

    def kept_bytes(self) -> i64:
        """How much of an incomplete packet is kept."""
        buffers = self.buffers
        if buffers is not None and buffers.gather is not None:
            return buffers.gathered_bytes
        return len(self.inbox)

    def missing_bytes(self) -> i64:
        """How much of the large packet that is being gathered is still to come; 0 where none is."""
        buffers = self.buffers
        if buffers is None or buffers.gather is None:
            return 0
        return buffers.gather_bytes - buffers.gathered_bytes

    def identity(self) -> str | None:
        """The user name that its transport vouches for; None where it knows none."""
        buffers = self.buffers
        return buffers.layer.identity() if buffers is not None and buffers.layer is not None else None

    def stalled(self) -> bool:
        """Whether the socket did not take all that was sent to it."""
        return self.buffers is not None and self.buffers.backlog is not None
