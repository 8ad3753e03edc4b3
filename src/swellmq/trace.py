"""Per-client traces: every packet of one client, in and out, for some minutes, with payloads cut.

`traces(core).start("thermo", 10)` puts a tap on the client's connection, and on those it makes later; each packet
becomes a line in a ring, and in the log. A trace ends by itself, and its lines stay until others take their place.
Nothing of this is imported before somebody asks for it.

All is bounded: clients, lines, and lines a second; packets beyond those are counted.
"""

from __future__ import annotations

import logging
from collections import deque
from itertools import islice
from typing import Final, TypedDict

from swellmq.broker.access import Tracing
from swellmq.broker.core import Core
from swellmq.codec.decode import packet_length
from swellmq.codec.packets import Connect
from swellmq.codec.words import describe, words
from swellmq.connection import Buffers, Connection, Layer
from swellmq.errors import MalformedPacket, printable
from swellmq.net.stacked import Stacked

log = logging.getLogger("swellmq.trace")

TRACES_MAX: Final = 16  # clients at a time
TRACES_KEPT: Final = 32  # with those that have ended
LINES_KEPT: Final = 2_000  # of one trace: some 0.5 MB
LINES_PER_SECOND: Final = 100  # of one trace; 30 us each
MINUTES_MAX: Final = 1_440
HEAD_BYTES: Final = 4_096  # a packet that comes in pieces is told by its start, once so much is there
WHOLE_BYTES: Final = 65_536  # and one that is there, but longer

RECEIVED: Final = "received"
SENT: Final = "sent"


class TraceError(ValueError):
    """A trace that can't be started: why."""


class Line(TypedDict):
    """A packet of a traced client, or something else that is to be said."""

    number: int  # from 1, without gaps
    at_ms: int  # wall clock, milliseconds since 1970
    direction: str  # RECEIVED or SENT, from the broker's side; "" for what is no packet
    descriptor: int  # of the connection
    bytes: int
    text: str


class Trace:
    """One client's trace: its lines, and how many packets there were."""

    def __init__(self, core: Core, client_id: str, minutes: int) -> None:
        self.core = core
        self.client_id = client_id
        self.started_ms = int(core.turn.wall_ms)
        self.ends_ms = self.started_ms + minutes * 60_000
        self.lines: deque[Line] = deque(maxlen=LINES_KEPT)
        self.counts = {RECEIVED: 0, SENT: 0}
        self.stopped = False
        self.numbered = 0
        self._second = 0
        self._in_second = 0
        self._left_out = 0

    def active(self) -> bool:
        """Whether it goes on."""
        return not self.stopped and int(self.core.turn.wall_ms) < self.ends_ms

    def takes(self) -> bool:
        """Whether a line may be written now; where not, one packet more is left out."""
        second = int(self.core.turn.wall_ms) // 1000
        if second != self._second:
            self.tell_left_out()
            self._second = second
            self._in_second = 0
        self._in_second += 1
        if self._in_second <= LINES_PER_SECOND:
            return True
        self._left_out += 1
        return False

    def tell_left_out(self) -> None:
        """Say how many packets were only counted."""
        if self._left_out:
            left_out, self._left_out = self._left_out, 0
            self.add("", -1, 0, f"{left_out} more packets in that second, not shown")

    def add(self, direction: str, descriptor: int, size: int, text: str) -> None:
        """Append a line, and log it."""
        at_ms = int(self.core.turn.wall_ms)
        self.numbered += 1
        self.lines.append(
            Line(number=self.numbered, at_ms=at_ms, direction=direction, descriptor=descriptor, bytes=size, text=text)
        )
        fields = {"event": "trace", "client_id": self.client_id, "direction": direction, "packet": text}
        said = f"{direction} {text}" if direction else text
        log.info("trace of %s: %s", printable(self.client_id), said, extra={"fields": fields})

    def last(self, count: int, after: int = 0) -> list[Line]:
        """The last `count` lines that are newer than number `after`, the oldest first."""
        wanted = min(count, self.numbered - after, len(self.lines))
        return list(islice(self.lines, len(self.lines) - wanted, None)) if wanted > 0 else []


class Half:
    """One direction of one connection: bytes in, a line for each packet out."""

    def __init__(self, trace: Trace, direction: str, descriptor: int, protocol_version: int) -> None:
        self.trace = trace
        self.direction = direction
        self.descriptor = descriptor
        self.protocol_version = protocol_version
        self.rest = b""  # the start of a packet
        self.skipped = 0  # bytes of a packet that is told already, and still to come

    def feed(self, data: bytes) -> None:
        """Tell the packets in `data`, behind what came before."""
        if self.skipped:
            passed = min(self.skipped, len(data))
            self.skipped -= passed
            data = data[passed:]
        data = self.rest + data
        self.rest = b""
        pos, end = 0, len(data)
        while pos < end:
            try:
                total = int(packet_length(data, pos, end))
            except MalformedPacket as error:
                self._tell(f"bytes that are no packet ({error.phrase}): {data[pos : pos + 64].hex(' ')}", end - pos)
                return
            here = min(total, end - pos)
            if not total or (here < total and here < HEAD_BYTES):
                self.rest = data[pos:]
                return
            self.trace.counts[self.direction] += 1
            if self.trace.takes():
                known = pos + (here if here <= WHOLE_BYTES else HEAD_BYTES)
                text = describe(data, pos, known, total, self.protocol_version, self.direction == SENT)
                self._add(text, total)
            self.skipped = total - here
            pos += here

    def _tell(self, text: str, size: int) -> None:
        if self.trace.takes():
            self._add(text, size)

    def _add(self, text: str, size: int) -> None:
        self.trace.add(self.direction, self.descriptor, size, text)


class Watcher:
    """What passes on one connection of a traced client."""

    def __init__(self, traces: Traces, trace: Trace, connection: Connection) -> None:
        self.traces = traces
        self.trace = trace
        version = int(connection.protocol_version)
        self.received = Half(trace, RECEIVED, int(connection.fd), version)
        self.sent = Half(trace, SENT, int(connection.fd), version)

    def on_received(self, data: bytes) -> None:
        """The broker is about to get these bytes: packets, perhaps cut anywhere."""
        self.look(self.received, data)

    def on_sent(self, pieces: list[bytes]) -> None:
        """These pieces are about to be sent."""
        for piece in pieces:
            self.look(self.sent, piece)

    def on_connect(self, connect: Connect, size: int) -> None:
        """Tell the CONNECT, which was handled before anybody could know whose it is."""
        self.trace.counts[RECEIVED] += 1
        if self.trace.takes():
            text = "CONNECT " + words(connect, int(connect.protocol_version))
            self.trace.add(RECEIVED, self.received.descriptor, size, text)

    def look(self, half: Half, data: bytes) -> None:
        """Tell what is in `data`, unless the trace has ended. A bug of ours here ends the trace, and nothing else."""
        if not self.trace.active():
            self.traces.stop(self.trace.client_id)
            return
        try:
            half.feed(data)
        except Exception:
            self.traces.core.stats.errors_internal += 1
            log.exception("a bug of ours in the trace of %s, which ends", printable(self.trace.client_id))
            self.traces.stop(self.trace.client_id)


class Tap(Stacked):
    """A layer above all others, which shows what passes to `watcher`; `other` is what the connection had before.

    It is put on connections of clients that are traced; no other connection knows of it. What travels in bulk (runs.py)
    passes it too.
    """

    def __init__(self, watcher: Watcher, other: Layer | None) -> None:
        super().__init__(other)
        self.watcher = watcher

    def received(self, data: bytes) -> bytes:
        """The MQTT bytes in what was read."""
        data = self.pass_on(data)
        if data:
            self.watcher.on_received(data)
        return data

    def framed(self, pieces: list[bytes]) -> list[bytes]:
        """What goes to the socket."""
        if pieces:
            self.watcher.on_sent(pieces)
        return self.other.framed(pieces) if self.other is not None else pieces


def watch_connection(connection: Connection, watcher: Watcher) -> None:
    """Put a tap on a connection, between two turns or in one."""
    buffers = connection.buffers
    if buffers is None:
        buffers = connection.buffers = Buffers()
    buffers.layer = Tap(watcher, buffers.layer)


def leave_alone(connection: Connection) -> None:
    """Take the tap off a connection that has one."""
    buffers = connection.buffers
    if buffers is None or not isinstance(buffers.layer, Tap):
        return
    buffers.layer = buffers.layer.other
    if buffers.empty():
        connection.buffers = None


def is_watched(connection: Connection) -> bool:
    """Whether a connection has a tap."""
    buffers = connection.buffers
    return buffers is not None and isinstance(buffers.layer, Tap)


class Traces(Tracing):
    """The traces of one broker, by client id."""

    def __init__(self, core: Core) -> None:
        super().__init__()
        self.core = core
        self.traces: dict[str, Trace] = {}  # the one started last is the last

    def start(self, client_id: str, minutes: int) -> Trace:
        """Trace a client from now on, whether it is connected or not; a trace that it has already begins anew.

        Raises TraceError where too many clients are traced, or `minutes` is out of range.
        """
        if not 1 <= minutes <= MINUTES_MAX:
            raise TraceError(f"a trace lasts from 1 to {MINUTES_MAX} minutes")
        if sum(other.active() for name, other in self.traces.items() if name != client_id) >= TRACES_MAX:
            raise TraceError(f"{TRACES_MAX} clients are traced already: stop one of them first")
        self.forget(client_id)
        while len(self.traces) >= TRACES_KEPT:
            self.traces.pop(next(name for name, other in self.traces.items() if not other.active()))
        trace = self.traces[client_id] = Trace(self.core, client_id, minutes)
        log.info("trace of %s begins, for %d minutes", printable(client_id), minutes)
        session = self.core.session(client_id)
        if session is not None and session.connection is not None:
            connection = session.connection
            watcher = Watcher(self, trace, connection)
            buffers = connection.buffers
            gathered = (
                b"".join(buffers.gather) if buffers is not None and buffers.gather is not None else connection.inbox
            )
            watcher.received.feed(gathered)  # the start of a packet that came before
            watch_connection(connection, watcher)
        return trace

    def stop(self, client_id: str) -> bool:
        """End a trace; False where none goes on. Its lines stay."""
        trace = self.traces.get(client_id)
        if trace is None or trace.stopped:
            return False
        session = self.core.session(client_id)
        if session is not None and session.connection is not None and is_watched(session.connection):
            leave_alone(session.connection)
        trace.tell_left_out()
        received, sent = trace.counts[RECEIVED], trace.counts[SENT]
        log.info("trace of %s ends: %d packets received, %d sent", printable(client_id), received, sent)
        trace.stopped = True
        trace.ends_ms = min(trace.ends_ms, int(self.core.turn.wall_ms))
        return True

    def forget(self, client_id: str) -> bool:
        """End a trace and drop its lines; False where there is none."""
        self.stop(client_id)
        return self.traces.pop(client_id, None) is not None

    def find(self, client_id: str) -> Trace | None:
        """A client's trace, going on or over."""
        trace = self.traces.get(client_id)
        if trace is not None and not trace.active():
            self.stop(client_id)  # its time is up, and no packet has told us
        return trace

    def on_connect(self, connection: Connection, connect: Connect, size: int, rest: bytes) -> None:
        trace = self.traces.get(connect.client_id)
        if trace is None or not trace.active() or is_watched(connection):
            return
        watcher = Watcher(self, trace, connection)
        watcher.on_connect(connect, size)
        watcher.on_received(rest)
        watch_connection(connection, watcher)


def traces(core: Core) -> Traces:
    """The traces of a broker, which has them from the first time on that somebody asks."""
    if core.tracing is None:
        core.tracing = Traces(core)
    assert isinstance(core.tracing, Traces)
    return core.tracing
