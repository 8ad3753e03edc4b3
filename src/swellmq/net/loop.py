"""The turn: wait, read, tick, seal, flush, reap. Our own loop over epoll, on raw descriptors.

1. **wait** on epoll, at most until the nearest deadline; read the clocks once.
2. **read**: one bounded read for each ready connection into its handler. First those in front, who ask for little;
   what they got is written to them; then, for a slice of time, those in the back: strangers, listeners, whoever asks
   for much.
3. **tick**: deadlines that have passed. After the reads: a client that spoke in time must not be closed because the
   process was held up. Then the engine settles what can be answered now, and connections marked for closing are told
   to it, so that a will still leaves in this turn.
4. **seal**: what changed durably becomes a batch. Output that depends on it waits in the held lanes.
5. **flush**: each connection that got output is written to once; a short write keeps the rest until the socket takes
   more. What would take long is late: it comes in the next turns, and input waits for it.
6. **reap**: close the descriptors of connections that were marked (some linger), give their objects back, grow the
   pool by a slice.

No phase of a turn may take long, because all others wait for it. So each has its bound: in events, accepts, deadlines,
subscriptions to be removed, and in time where the system decides what a step costs (writes, growth) or where it is for
those in the back. A turn that took long all the same makes the next one take fewer events.

Front and back are two epolls. A client in front fills a short read, or has to wait for its share of a turn: it goes to
the back, until a read brings little. The back is asked for one at a time, so that the system hands all of them out in
rotation however few a turn serves, and its epoll is an entry of the front's, so that however many wait there, those in
front are found at once (docs/decisions/0022-front-and-back.md).

Somebody in front who comes while a turn is under way presses it: what takes long looks up between its steps whether
there is such a one (`Turn.pressed`), and leaves what it has not done to the next turn. Each phase that was put off is
favoured in one of the next turns, in rotation (docs/decisions/0023-pressed-turns.md).

Closing last is what makes stale events harmless. epoll names descriptors, not connections: were a descriptor closed
while events of the same batch are still to be read, an accept in that batch could reuse its number, and the dead
connection's event would hit the newborn one. Here no descriptor is closed between a wait and the end of its turn.

The loop is hosted by calling `turn(0)` whenever `fileno()` is readable, and at `deadline_ms()`. `wake()` may be called
from any thread; it makes the wait end.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import select
import stat
import threading
import time
from typing import Final, final

from mypy_extensions import i64, mypyc_attr, u8

from swellmq.connection import (
    BACK,
    DEMANDING,
    IN_BACK,
    ON_DISK,
    READABLE,
    Buffers,
    Connection,
    Engine,
    Handler,
    Layer,
    Turn,
    Watcher,
    drain,
)
from swellmq.errors import OPEN, PEER_CLOSED, PEER_RESET, SERVER_SHUTTING_DOWN
from swellmq.limits import (
    ACCEPT_PAUSE_MS,
    ACCEPTS_PER_TURN,
    BACK_NS,
    EVENTS_LEAST,
    EVENTS_PER_TURN,
    FAN_OUT_WIDE,
    FRONT_AGAIN_BYTES,
    READ_BYTES,
    READ_BYTES_BEHIND,
    READ_BYTES_BULK,
    READ_BYTES_FRONT,
    READ_BYTES_LEAST,
    TURN_LONG_US,
)
from swellmq.net.bugs import on_bug
from swellmq.net.linger import Linger, lingers
from swellmq.net.listener import EXHAUSTED, Bound, Listener
from swellmq.net.output import Output
from swellmq.net.pool import Pool
from swellmq.stats import Sampler, Stats

log = logging.getLogger("swellmq.loop")

NO_BOUND: Final = 1 << 40
WAKES: Final = 4096  # that are taken at once
TABLE_SLICE: Final = 1024  # the table by descriptor grows by so many places
EXHAUSTED_LOG_MS: Final = 10_000
CALM_LOOK_MS: Final = 1_000
FAILED: Final = 8  # select.EPOLLERR
BYTES_LEFT: Final = 0x541B  # FIONREAD, but on mips, powerpc and sparc, whose systems don't know this number
NOTHING: Final = bytes(4)

# What each event, or each turn, calls: a Final is at hand where an attribute of a module has to be looked up.
os_read: Final = os.read
os_close: Final = os.close
ioctl: Final = fcntl.ioctl
set_blocking: Final = os.set_blocking
monotonic_ns: Final = time.monotonic_ns


@final
@mypyc_attr(native_class=True, acyclic=True)
class Moments:
    """When what is done beside the loop is due next (monotonic); -1: never.

    In a class that is not compiled each number is an object, and each change makes another one, wherever there is room.
    """

    def __init__(self) -> None:
        self.overload_ms: i64 = 0
        self.status_ms: i64 = -1
        self.sys_ms: i64 = -1
        self.admin_ms: i64 = -1  # a turn of admin's own loop


@final
@mypyc_attr(native_class=True)
class Loop:
    """One broker's loop. `engine` serves the accepted connections, `refuser` those past `max_connections`."""

    def __init__(self, engine: Engine, refuser: Handler, pool: Pool, turn: Turn, stats: Stats) -> None:
        self.engine = engine
        self.refuser = refuser
        self.pool = pool
        self.turn_state = turn
        self.stats = stats
        self.epoll = select.epoll()
        self.poll = self.epoll.poll
        self.back = select.epoll()  # watches listeners and those that are served behind the others
        self.poll_back = self.back.poll
        self.register_back = self.back.register
        self.back_fd: int = self.back.fileno()
        self.back_ns: i64 = BACK_NS
        self.epoll.register(self.back_fd, READABLE)
        self.waker: int = -1
        self.waker_in: int = -1  # what is written here ends the wait; a pipe, since signals write a byte
        self.waker, self.waker_in = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        # A late `wake` must not write to whatever gets the number; signals re-enter.
        self.waker_lock = threading.RLock()
        self.epoll.register(self.waker, READABLE)
        self.reads = Sampler()
        self.watcher: Watcher | None = None
        turn.ready = self.poll
        turn.beside.update((self.back_fd, self.waker))
        self.guest_fd: int = -1  # the epoll descriptor of another loop, whose turns our host runs
        self.guest_ready: bool = False  # it was readable
        self.table: list[Connection | None] = [None] * TABLE_SLICE
        self.output = Output(self.epoll, turn, stats, self.table)
        turn.beside.add(self.output.writable_fd)
        self.linger = Linger(self.back)
        self.listeners: dict[int, Listener] = {}
        self.bounds: dict[int, Bound] = {}  # of the listeners that have one, by their index
        self.paused: list[Listener] = []
        self.spare_fd: int = _spare()
        self.accepting: bool = True
        self.more: bool = False  # work is left that must not wait for an event
        self.beside_ms: i64 = NO_BOUND  # from when on whoever drives the turns has something to do beside them
        self.beside_wake_ms: i64 = -1  # and when there must be a turn for that; -1: never
        self.events_max: int = EVENTS_PER_TURN  # less after long turns
        self.allowance: i64 = NO_BOUND  # bytes that are still to be read in this turn
        self.calm_look_ms: i64 = 0
        self.heavy_from_us: i64 = NO_BOUND  # a turn that took so long is heavy
        self.heavy_us: i64 = 0  # spent in heavy turns
        self.descriptors_max: i64 = NO_BOUND  # clients get those below
        self.descriptors_short: bool = False  # one got none of them since the last look
        self.exhausted_log_ms: i64 = 0  # when the next lack of descriptors may be logged
        self.start_ns: i64 = time.monotonic_ns()
        self.wall_base_ms: i64 = 0  # the turn's wall clock less its monotonic one
        self.set_wall_clock(time.time_ns() // 1_000_000)
        self.read_clocks()

    # Hosting

    def fileno(self) -> int:
        """The epoll descriptor: readable when a turn has something to do."""
        return self.epoll.fileno()

    def deadline_ms(self) -> int:
        """Milliseconds until a turn must run even if nothing is readable; -1: never; 0: now."""
        turn = self.turn_state
        if self.more or turn.again or turn.flush or turn.late or turn.close or turn.watch or turn.promote:
            return 0
        due = self._due_ms()
        if due < 0:
            return -1
        return max(0, int(due - self._monotonic_ms()))

    def wake(self) -> None:
        """Make the wait end. From any thread, or a signal handler."""
        with self.waker_lock:
            if self.waker >= 0:
                try:
                    os.write(self.waker_in, b"\0")
                except BlockingIOError:
                    pass  # it is full of them

    def _monotonic_ms(self) -> i64:
        passed: i64 = monotonic_ns()
        return (passed - self.start_ns) // 1_000_000 + 1

    def read_clocks(self) -> i64:
        """Set the turn's clocks: monotonic milliseconds since the loop was made, and the wall clock. The nanoseconds
        that they were read from.

        The wall clock goes on as the monotonic one does: where the system's jumps, as on a box that boots in 1970 and
        hears the time later, no message and no session expires at once.
        """
        now_ns: i64 = monotonic_ns()
        turn = self.turn_state
        turn.now_ms = (now_ns - self.start_ns) // 1_000_000 + 1
        turn.wall_ms = turn.now_ms + self.wall_base_ms
        return now_ns

    def set_wall_clock(self, wall_ms: i64) -> None:
        """Let the wall clock be `wall_ms` now."""
        self.wall_base_ms = wall_ms - self._monotonic_ms()

    def _due_ms(self) -> i64:
        due = self.engine.deadline_ms()
        retry = self.pool.retry_due_ms()
        if retry >= 0 and (due < 0 or retry < due):
            due = retry
        for listener in self.paused:
            if due < 0 or listener.paused_until_ms < due:
                due = listener.paused_until_ms
        if self._watches_calm() and (due < 0 or self.calm_look_ms < due):
            due = self.calm_look_ms
        ending = self.linger.due_ms()
        if ending >= 0 and (due < 0 or ending < due):
            due = ending
        beside = self.beside_wake_ms
        if beside >= 0 and (due < 0 or beside < due):
            due = beside
        return due

    def _watches_calm(self) -> bool:
        """Whether the pool is to be looked at from time to time: it may shrink or renew itself."""
        return self.pool.settings.shrink or self.pool.scattered()

    # The turn

    def turn(self, timeout_ms: int = -1) -> bool:
        """Run one turn, waiting for at most `timeout_ms` (-1: until something is due). Whether whoever drives the turns
        has something to do beside them: it was woken, `beside_ms` has come, or a part of the loop asks for it."""
        wait_ms = self.deadline_ms()
        if wait_ms < 0 or (0 <= timeout_ms < wait_ms):
            wait_ms = timeout_ms
        # 1. wait
        events = self.poll(wait_ms / 1000 if wait_ms >= 0 else None, self.events_max)
        begin_ns = self.read_clocks()
        turn = self.turn_state
        turn.begin(begin_ns)
        now_ms = turn.now_ms
        engine = self.engine
        beside = now_ms >= self.beside_ms
        if now_ms >= self.reads.ends_ms:
            self.reads.renew(now_ms)
            self.output.sampler.renew(now_ms)
        engine.begin()
        if self.paused:
            self._resume_listeners(now_ms)
        # 2. read
        self.allowance = READ_BYTES_BEHIND if turn.late else NO_BOUND
        back_ready = False
        for fd, mask in events:
            connection = self.table[fd] if fd < len(self.table) else None
            if connection is not None:
                self._read(connection, mask, now_ms, READ_BYTES_FRONT)
            elif fd == self.back_fd:
                back_ready = True
            elif fd == self.output.writable_fd:
                self.output.room = True
            elif fd == self.waker:
                os.read(self.waker, WAKES)
                beside = True
            elif fd == self.guest_fd:
                self.guest_ready = True
        if turn.flush:
            self.output.flush_fresh(now_ms)
        if (back_ready or turn.favoured == BACK) and not turn.puts_off(BACK):
            self._serve_back(now_ms)
        # 3. tick
        engine.tick(now_ms)
        try:
            engine.settle(now_ms)
        except Exception:
            on_bug(self.stats, "while answering what was read")
        closing = self._tell_closed(now_ms)
        # 4. seal
        try:
            engine.seal()
        except Exception:
            on_bug(self.stats, "while sealing a batch")
        if turn.held:
            self._release_held()
        # 5. flush
        if turn.flush or turn.late or self.output.room:
            self.output.flush(now_ms)
        # 6. reap
        if self.linger.until_ms:
            self.linger.turn(now_ms)
        for connection in closing:
            self._reap(connection)
        if turn.watch:
            self._watch()
        if turn.promote:
            self._promote(now_ms)
        pool = self.pool
        if now_ms >= self.calm_look_ms and self._watches_calm():
            self.calm_look_ms = now_ms + CALM_LOOK_MS
            pool.consider_shrinking(now_ms)
            pool.consider_renewal(now_ms)
            if pool.renewing or pool.target < pool.capacity:
                engine.tidy()  # first, or old objects that somebody still names would keep the places of new ones
        growing = False
        if pool.working(now_ms):
            changes = pool.changes
            growing = pool.grow(now_ms)
            beside = beside or pool.changes != changes
        self.more = growing or turn.again
        end_ns: i64 = monotonic_ns()
        took_us = (end_ns - begin_ns) // 1000
        self.stats.note_turn(took_us, now_ms)
        if took_us > TURN_LONG_US:
            self.events_max = max(EVENTS_LEAST, self.events_max // 2)
            if took_us >= self.heavy_from_us:
                self.heavy_us += took_us
        elif self.events_max < EVENTS_PER_TURN:
            self.events_max *= 2
        return beside or self.guest_ready or self.descriptors_short

    # Phase 2: read and accept

    def _serve_back(self, now_ms: i64) -> None:
        """Serve those in the back, for about `back_ns` and each at most once. The system hands them out in rotation."""
        until_ns: i64 = monotonic_ns() + self.back_ns
        served: set[int] = set()
        while True:
            events = self.poll_back(0, 1)
            if not events:
                return
            fd, mask = events[0]
            if fd in served:
                return
            served.add(fd)
            connection = self.table[fd] if fd < len(self.table) else None
            if connection is not None:
                self._read(connection, mask, now_ms, READ_BYTES)
            elif fd in self.listeners:
                self._accept(self.listeners[fd], now_ms)
            else:
                self.linger.read(fd)
            if monotonic_ns() >= until_ns or self.turn_state.pressed():
                return

    def _read(self, connection: Connection, mask: i64, now_ms: i64, read_bytes: i64) -> None:
        if connection.close_reason != OPEN:
            return
        if mask & FAILED and _nothing_left(connection.fd):
            connection.close(PEER_RESET)
            return
        if not connection.interest & READABLE:
            connection.close(PEER_RESET)  # parked, so this can only be EPOLLHUP or EPOLLERR
            return
        handler = connection.handler
        assert handler is not None
        layer: Layer | None = None
        buffers = connection.buffers
        if buffers is not None and buffers.layer is not None:
            layer = buffers.layer
        if read_bytes == READ_BYTES:
            # Larger reads pay for a large packet, and for nothing behind it: small ones may each ask access.
            read_bytes = max(READ_BYTES, min(READ_BYTES_BULK, connection.missing_bytes()))
        if read_bytes > self.allowance:
            read_bytes = max(READ_BYTES_LEAST, self.allowance)
        try:
            data = os_read(connection.fd, int(read_bytes))
        except (BlockingIOError, MemoryError):  # it stays readable, and memory may come back
            return
        except OSError:
            connection.close(PEER_RESET)
            return
        if not data:
            connection.close(PEER_CLOSED)
            return
        self.allowance -= len(data)
        known = connection.owner is not None
        fresh = self.turn_state.flush
        fresh_before: i64 = len(fresh)
        if connection.outbox is not None and self.turn_state.late:
            fresh.append(connection)  # who speaks need not wait behind those that only listen
        looked_ns: i64 = 0
        received: i64 = 0
        sent: i64 = 0
        self.reads.left -= 1
        if self.reads.left <= 0:
            looked_ns = monotonic_ns()
            received = self.stats.publishes_received
            sent = self.stats.publishes_sent
        try:
            if layer is None:
                handler.on_data(connection, data, now_ms)
            else:
                self._pass_up(connection, handler, layer, data, now_ms)
        except Exception:
            on_bug(self.stats, "with what was read", connection)
        if looked_ns:
            received = self.stats.publishes_received - received
            delivered = received > 0 and self.stats.publishes_sent > sent
            self._look_at_read(connection, len(data), received, delivered, looked_ns)
        if len(fresh) - fresh_before > FAN_OUT_WIDE:
            self.turn_state.put_behind(fresh_before)
        if connection.close_reason == OPEN:
            if len(data) == READ_BYTES_FRONT or connection.interest & DEMANDING:
                self._to_back(connection)
            elif known and len(data) <= FRONT_AGAIN_BYTES and len(data) < read_bytes:
                self._to_front(connection)

    def _to_back(self, connection: Connection) -> None:
        """Serve a connection behind those that ask for little."""
        if connection.interest & DEMANDING:
            connection.interest ^= DEMANDING
        if not connection.interest & IN_BACK:
            self._move(connection, self.epoll, self.back)

    def _to_front(self, connection: Connection) -> None:
        """Serve a connection before those that ask for much."""
        if connection.interest & IN_BACK:
            self._move(connection, self.back, self.epoll)

    def _watched_by(self, connection: Connection) -> select.epoll:
        return self.back if connection.interest & IN_BACK else self.epoll

    def _move(self, connection: Connection, source: select.epoll, target: select.epoll) -> None:
        connection.interest ^= IN_BACK
        try:
            source.unregister(connection.fd)
            target.register(connection.fd, connection.interest & READABLE)
        except OSError:  # ENOSPC: nobody would tell us what it sends
            connection.close(PEER_RESET)

    def _look_at_read(self, connection: Connection, size: i64, publishes: i64, delivered: bool, looked_ns: i64) -> None:
        """A read was picked: tell the watcher, and have it noted when what it delivered leaves."""
        stands_for = self.reads.take()
        turn = self.turn_state
        if delivered and self.output.target is None:
            # The last that got something: who was in the list before, from another read, leaves at about that time too.
            waiting = turn.flush or turn.held
            if waiting:
                self.output.follow(waiting[len(waiting) - 1], looked_ns)
        watcher = self.watcher
        if watcher is not None:
            try:
                watcher.on_read(connection, size, publishes, stands_for)
            except Exception:
                on_bug(self.stats, "while watching what is read")

    def _pass_up(self, connection: Connection, handler: Handler, layer: Layer, data: bytes, now_ms: i64) -> None:
        """Have the layer read `data`, and the handler what it makes of it."""
        data = layer.received(data)
        if data:
            handler.on_data(connection, data, now_ms)
        if layer.phrase:
            self.stats.errors_peer += 1
        self._send_own(connection, layer)
        self._end_with(connection, layer)

    def _send_own(self, connection: Connection, layer: Layer) -> None:
        """Flush the connection in this turn if its layer has something to say."""
        if connection.outbox is None and layer.owes():
            connection.outbox = []
            self.turn_state.flush.append(connection)

    def _end_with(self, connection: Connection, layer: Layer) -> None:
        """Close a connection whose layer is at its end, unless packets that came before still wait for an answer."""
        if layer.reason != OPEN and connection.question is None:
            connection.close(layer.reason)

    def _accept(self, listener: Listener, now_ms: i64) -> None:
        for _ in range(listener.waiting()):
            try:
                accepted: tuple[int, object] = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in EXHAUSTED:
                    self._exhausted(listener, now_ms, error)
                    return
                continue  # ECONNABORTED and its like: that one client is gone
            fd, address = accepted
            bound = listener.bound
            if bound is not None and bound.connections >= bound.connections_max:
                self._full(listener, fd, now_ms)
                continue
            if listener.proxies is not None and not listener.takes(address):
                self.stats.connections_dropped += 1
                os.close(fd)
                continue
            self.open(fd, listener.index, now_ms, listener.layer, listener.durability)

    def open(self, fd: int, listener: int, now_ms: i64, layer: Layer | None = None, durability: u8 = ON_DISK) -> None:
        """Serve a connected socket, or refuse it when the broker is full. `fd` is ours from now on."""
        if layer is not None:
            layer = layer.fresh()
            layer.meet(fd)
        self._open(fd, listener, now_ms, layer, durability)

    def _open(self, fd: int, listener: int, now_ms: i64, layer: Layer | None, durability: u8) -> Connection | None:
        """As `open`; `layer` is the connection's own. None where there was no place for it, and it is closed."""
        pool = self.pool
        handler: Handler = self.engine
        connection: Connection | None = None
        if fd < self.descriptors_max or self._spared(fd):
            connection = pool.acquire(now_ms)
        if connection is None:
            connection = pool.acquire_refusing()
            handler = self.refuser
            if connection is None:
                self.stats.connections_dropped += 1
                os.close(fd)
                return None
            self.stats.connections_refused += 1
        else:
            self.stats.connections_accepted += 1
        if self.bounds:
            self._count(listener, 1)
        connection.fd = fd
        connection.listener = listener
        connection.durability = durability
        connection.handler = handler
        connection.interest = READABLE | IN_BACK
        if layer is not None:
            connection.buffers = Buffers()
            connection.buffers.layer = layer
        self._enter(fd, connection)
        try:
            set_blocking(fd, False)
            self.register_back(fd, READABLE)
        except OSError as error:  # ENOSPC: fs.epoll.max_user_watches
            log.warning("can't watch one more connection: %s", error.strerror)
            self.stats.connections_dropped += 1
            self._reap(connection)
            return None
        try:
            handler.on_open(connection, now_ms)
        except Exception:
            on_bug(self.stats, "with a new connection", connection)
        return connection

    def _spared(self, fd: int) -> bool:
        """Whether those that only linger give up so many descriptors that `fd` is not one of the last."""
        if len(self.linger.until_ms) > fd - self.descriptors_max:
            self.linger.close()
            return True
        self.descriptors_short = True
        return False

    def _count(self, listener: int, change: int) -> None:
        """One connection more or less by a listener, if that has a bound."""
        bound = self.bounds.get(listener)
        if bound is not None:
            bound.connections += change

    def _full(self, listener: Listener, fd: int, now_ms: i64) -> None:
        """A client too many for its listener: it is closed without a word, and told in the log now and then."""
        self.stats.connections_dropped += 1
        os.close(fd)
        if now_ms >= self.exhausted_log_ms and listener.bound is not None:
            self.exhausted_log_ms = now_ms + EXHAUSTED_LOG_MS
            log.warning("%s has all the %d connections that it may have", listener.name, listener.bound.connections_max)

    def _enter(self, fd: int, connection: Connection) -> None:
        while fd >= len(self.table):
            self.table.extend([None] * TABLE_SLICE)
        self.table[fd] = connection

    def _exhausted(self, listener: Listener, now_ms: i64, error: OSError) -> None:
        """No descriptor is left: drop who waits, by means of a spare one, and look again a little later.

        Without the pause the listener would be readable in every turn; without the drop its clients would hang. Those
        that only linger give up their descriptors first.
        """
        if self.linger.until_ms:
            self.linger.close()
            return
        if now_ms >= self.exhausted_log_ms:
            self.exhausted_log_ms = now_ms + EXHAUSTED_LOG_MS
            log.warning("can't accept more connections: %s; `ulimit -n` lifts the limit on descriptors", error.strerror)
        self.stats.accept_pauses += 1
        if self.spare_fd >= 0 and error.errno == errno.EMFILE:
            os.close(self.spare_fd)
            self.spare_fd = -1
            for _ in range(ACCEPTS_PER_TURN):
                try:
                    fd, _address = listener.accept()
                except OSError:
                    break
                self.stats.connections_dropped += 1
                os.close(fd)
        if self.spare_fd < 0:
            self.spare_fd = _spare()
        self.back.modify(listener.fd, 0)
        listener.paused_until_ms = now_ms + ACCEPT_PAUSE_MS
        self.paused.append(listener)

    def _resume_listeners(self, now_ms: i64) -> None:
        if self.spare_fd < 0:
            self.spare_fd = _spare()
        waiting: list[Listener] = []
        for listener in self.paused:
            if now_ms < listener.paused_until_ms:
                waiting.append(listener)
            elif listener.fd in self.listeners and self.accepting:
                self.back.modify(listener.fd, READABLE)
        self.paused = waiting

    def _tell_closed(self, now_ms: i64) -> list[Connection]:
        """Tell the handlers of the connections that were marked; their wills may mark further ones."""
        turn = self.turn_state
        closing: list[Connection] = []
        while turn.close:
            marked = drain(turn.close)
            for connection in marked:
                handler = connection.handler
                assert handler is not None
                self.stats.connections_closed[connection.close_reason].count += 1
                try:
                    handler.on_closed(connection, now_ms)
                except Exception:
                    on_bug(self.stats, "with a connection that is closed")
                buffers = connection.buffers
                if buffers is not None and buffers.layer is not None:
                    buffers.layer.finish(connection.close_reason)
                    self._send_own(connection, buffers.layer)
            closing.extend(marked)
        return closing

    # Phase 5: flush

    def _release_held(self) -> None:
        turn = self.turn_state
        for connection in drain(turn.held):
            if connection.release_held():
                turn.held.append(connection)

    # Phase 6: reap

    def _reap(self, connection: Connection) -> None:
        if connection.outbox is not None:  # it is among those that are late
            self.output.write(connection, self.turn_state.now_ms)
        self.output.forget(connection)
        fd = connection.fd
        self.table[fd] = None
        if self.bounds:
            self._count(connection.listener, -1)
        if lingers(connection.close_reason):
            self._to_back(connection)
            self.linger.keep(fd, self.turn_state.now_ms)
        else:
            os_close(fd)  # takes it out of epoll too
        if connection.handler is self.refuser:
            self.pool.release_refusing(connection)
        else:
            self.pool.release(connection)

    def _watch(self) -> None:
        """Stop reading connections that were parked in this turn, and go on with those that were resumed."""
        turn = self.turn_state
        for connection in drain(turn.watch):
            if connection.fd < 0 or connection.close_reason != OPEN:
                continue
            wanted = READABLE if connection.question is None and not connection.deaf else 0
            if wanted != connection.interest & READABLE:
                connection.interest ^= READABLE
                self._watched_by(connection).modify(connection.fd, wanted)
            buffers = connection.buffers
            if buffers is not None and buffers.layer is not None:
                self._end_with(connection, buffers.layer)

    def _promote(self, now_ms: i64) -> None:
        """Give refused clients that take over a place a proper object of the pool, now that the place is free."""
        turn = self.turn_state
        promote = drain(turn.promote)
        heirs = drain(turn.heirs)
        for slot in promote:
            if slot.fd < 0 or slot.close_reason != OPEN:
                continue
            connection = self.pool.acquire_freed(now_ms) if slot in heirs else self.pool.acquire(now_ms)
            if connection is None:
                self._ask_again(slot, now_ms)
                continue
            fd = slot.fd
            data = slot.inbox
            connection.fd = fd
            connection.listener = slot.listener
            connection.durability = slot.durability
            connection.handler = self.engine
            connection.interest = slot.interest
            connection.buffers = slot.buffers
            connection.outbox_bytes = slot.outbox_bytes
            self.table[fd] = connection
            self.pool.release_refusing(slot)
            self.stats.connections_accepted += 1
            self.stats.connections_refused -= 1
            try:
                self.engine.on_open(connection, now_ms)
                self.engine.on_data(connection, data, now_ms)
            except Exception:
                on_bug(self.stats, "with a client that takes its place over", connection)

    def _ask_again(self, slot: Connection, now_ms: i64) -> None:
        """The place went to another slot with the same client id: now replace that one, or refuse this one."""
        try:
            self.refuser.on_data(slot, b"", now_ms)
        except Exception:
            on_bug(self.stats, "with a client that is refused", slot)

    # Life

    def host(self, fd: int) -> None:
        """Tell by `guest_ready` when another loop's `fileno()` is readable; -1 ends that."""
        if self.guest_fd >= 0:
            self.epoll.unregister(self.guest_fd)
            self.turn_state.beside.discard(self.guest_fd)
        self.guest_fd = fd
        if fd >= 0:
            self.epoll.register(fd, READABLE)
            self.turn_state.beside.add(fd)

    def let_go(self, connection: Connection) -> int:
        """Serve a connection no longer, without a word to it or its handler: its descriptor is the caller's now.

        Between two turns, and where nothing waits to be sent.
        """
        fd = connection.fd
        self.table[fd] = None
        self._watched_by(connection).unregister(fd)
        self.pool.release(connection)
        return fd

    def adopt(self, fd: int, listener: int, layer: Layer, data: bytes, durability: u8 = ON_DISK) -> None:
        """Serve, between two turns, a socket that another loop has let go of; `data` is what `layer` has passed up."""
        now_ms = self.turn_state.now_ms
        connection = self._open(fd, listener, now_ms, layer, durability)
        if connection is None:
            return
        handler = connection.handler
        assert handler is not None
        try:
            if data:
                handler.on_data(connection, data, now_ms)
        except Exception:
            on_bug(self.stats, "with what was read", connection)
        self._send_own(connection, layer)
        self._end_with(connection, layer)
        self.more = True

    def add_listener(self, listener: Listener) -> None:
        """Accept from `listener` from the next turn on."""
        self.listeners[listener.fd] = listener
        if listener.bound is not None:
            self.bounds[listener.index] = listener.bound
        self.back.register(listener.fd, READABLE)

    def stop_listening(self) -> None:
        """Close all listeners; who waits in their queues is reset by the system."""
        self.accepting = False
        for listener in self.listeners.values():
            self.back.unregister(listener.fd)
            listener.close()
        self.listeners = {}
        self.paused = []

    def served(self) -> list[Connection]:
        """All connections that have a descriptor and are served (not refused)."""
        found: list[Connection] = []
        for connection in self.table:
            if connection is not None and connection.handler is not self.refuser:
                found.append(connection)
        return found

    def statistics(self) -> dict[str, int]:
        """What is left to do, and what waits."""
        return {
            "listeners": len(self.listeners),
            "listeners_paused": len(self.paused),
            "lingering": len(self.linger.until_ms),
            "late": len(self.turn_state.late) - int(self.output.late_next),
        }

    def shorten_table(self) -> None:
        """Give back the places of high descriptors that are free again."""
        table = self.table
        used = len(table)
        while used > TABLE_SLICE and table[used - 1] is None:
            used -= 1
        del table[(used + TABLE_SLICE - 1) // TABLE_SLICE * TABLE_SLICE :]

    def lost(self) -> list[Connection]:
        """The connections that are served although their socket is gone: leaks."""
        found: list[Connection] = []
        for connection in self.served():
            try:
                if stat.S_ISSOCK(os.fstat(connection.fd).st_mode):
                    continue
            except OSError:
                pass
            found.append(connection)
        return found

    def close(self) -> None:
        """Close every descriptor. Connections that are still open are cut. A second call does nothing."""
        with self.waker_lock:
            waker = self.waker
            self.waker = -1
        if waker < 0:
            return
        self.stop_listening()
        for connection in self.table:
            if connection is not None:
                connection.close(SERVER_SHUTTING_DOWN)
        for connection in self._tell_closed(self.turn_state.now_ms):
            self._reap(connection)
        self.linger.close()
        self.output.close()
        self.epoll.close()
        self.back.close()
        os.close(waker)
        os.close(self.waker_in)
        if self.spare_fd >= 0:
            os.close(self.spare_fd)
            self.spare_fd = -1


def _nothing_left(fd: int) -> bool:
    """Whether nothing that came before a socket failed is left to be read. A read would say so by an exception, which
    costs ten times as much, and resets come by thousands."""
    left = bytearray(4)  # not bytes: to find out that they can't be written to costs an exception too
    try:
        ioctl(fd, BYTES_LEFT, left)
    except OSError:
        return False  # the read says it
    return left == NOTHING


def _spare() -> int:
    """A descriptor kept in reserve, to be given up when there is no other; -1 where none can be had."""
    try:
        return os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1
