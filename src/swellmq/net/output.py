"""Output on its way to the sockets: one write for each connection in each turn, and the backlog of what was not taken.

What a socket does not take at once becomes the connection's backlog; later writes go on from there, in order, in
bounded pieces, so that a slow reader costs time in proportion to what it takes, and others nothing.

Whether such a socket takes more is asked of an epoll of its own, which is one entry in that of the loop. Both would do
in one, but it hands out what is ready in rotation: a PINGREQ among 15,000 sockets that take some more bytes each would
wait until all of them had their turn.
"""

from __future__ import annotations

import os
import select
import time
from typing import Final, final

from mypy_extensions import i64, mypyc_attr

from swellmq.connection import LATE, READABLE, WRITABLE, Buffers, Connection, Layer, Turn, Watcher, drain
from swellmq.errors import OPEN, PEER_RESET, WRITE_STALLED
from swellmq.limits import (
    BYTES_PER_LOOK,
    FLUSH_NS,
    JOIN_BYTES,
    LAYER_BYTES,
    PROGRESS_OUT_BYTES,
    WRITABLE_EVENTS,
    WRITE_BYTES,
    WRITES_PER_LOOK,
    WRITES_PER_TURN,
    WRITEV_PIECES,
)
from swellmq.net.bugs import on_bug
from swellmq.stats import Sampler, Stats

# What each write, or each flush, calls: a Final is at hand where an attribute of a module has to be looked up.
os_write: Final = os.write
monotonic_ns: Final = time.monotonic_ns


@final
@mypyc_attr(native_class=True)
class Output:
    """The writing side of one loop; `turn.flush` names the connections that got something, `table` knows them all."""

    def __init__(self, epoll: select.epoll, turn: Turn, stats: Stats, table: list[Connection | None]) -> None:
        self.turn = turn
        self.stats = stats
        self.table = table
        self.writable = select.epoll()  # watches the sockets that did not take all
        self.writable_fd: int = self.writable.fileno()
        self.room: bool = False  # one of them takes more
        epoll.register(self.writable_fd, READABLE)
        self.slice_ns: i64 = FLUSH_NS
        self.rest: list[Connection] = []  # of their outboxes a part was written
        self.late_next: i64 = 0  # the first in `turn.late` that was not yet written to
        self.sampler = Sampler()  # of writes
        self.watcher: Watcher | None = None
        self.target: Connection | None = None  # got a message, and the time until it leaves is measured
        self.target_ns: i64 = 0  # when that message was read
        self.target_ticket: i64 = 0  # and what it may wait for, if it is held

    def flush(self, now_ms: i64) -> None:
        """Write to the connections that got output, for about `slice_ns`; the others are late and come in later turns.

        What is fresh goes first, so that an answer does not wait behind a message to 10,000 subscribers, which is late
        from the start. What is late gets as much time again, in order; it shares that with sockets that take more.
        """
        slice_ns = self.slice_ns
        self.flush_fresh(now_ms, True)
        late = self.turn.late
        if (late or self.room) and self.turn.puts_off(LATE):
            return
        pressing = self.turn.favoured != LATE  # else it has its time, or input would outrun it
        if (late and self.room) or not pressing:
            slice_ns //= 2
        if late:
            self.late_next = self._flush_some(late, self.late_next, now_ms, slice_ns, pressing)
            if self.late_next == len(late):
                late.clear()
                self.late_next = 0
            elif self.late_next * 2 > len(late):
                del late[: self.late_next]
                self.late_next = 0
            if self.rest:
                late.extend(drain(self.rest))
        if self.room:
            self.room = False
            self._refill(now_ms, slice_ns)

    def flush_fresh(self, now_ms: i64, pressing: bool = False) -> None:
        """Write to the connections that got output since the last time; those that are left then are late. `pressing`:
        fewer where somebody in front waits."""
        turn = self.turn
        fresh = drain(turn.flush)
        done = self._flush_some(fresh, 0, now_ms, self.slice_ns, pressing)
        if done < len(fresh):
            turn.late.extend(fresh[done:])
        if self.rest:
            turn.late.extend(drain(self.rest))

    def _flush_some(self, connections: list[Connection], start: i64, now_ms: i64, slice_ns: i64, pressing: bool) -> i64:
        """Write to those from index `start` on until the slice is used up; the index of the first that is left."""
        index = start
        until_ns: i64 = 0
        stats = self.stats
        look_bytes = stats.bytes_sent + BYTES_PER_LOOK
        while index < len(connections):
            connection = connections[index]
            index += 1
            if connection.outbox is not None:  # those that are late may have been written to since, or be gone
                self.write(connection, now_ms)
            if (index - start) % WRITES_PER_LOOK == 0 or stats.bytes_sent > look_bytes:
                look_bytes = stats.bytes_sent + BYTES_PER_LOOK
                now_ns: i64 = monotonic_ns()
                if until_ns == 0:
                    until_ns = now_ns + slice_ns
                elif now_ns >= until_ns:
                    break
                if pressing and self.turn.pressed():
                    break
        return index

    def _refill(self, now_ms: i64, slice_ns: i64) -> None:
        """Write to sockets that take more again, until the slice is used up; the system hands them out in rotation."""
        until_ns: i64 = monotonic_ns() + slice_ns
        while True:
            events = self.writable.poll(0, WRITABLE_EVENTS)
            for fd, _mask in events:
                connection = self.table[fd]
                if connection is not None:
                    self.write_backlog(connection, now_ms)
            if len(events) < WRITABLE_EVENTS or monotonic_ns() >= until_ns or self.turn.pressed():
                return

    def _unwatch(self, connection: Connection) -> None:
        if connection.interest & WRITABLE:
            connection.interest ^= WRITABLE
            self.stats.stalled -= 1
            self.writable.unregister(connection.fd)

    def close(self) -> None:
        """Give the descriptor back."""
        self.writable.close()

    def write(self, connection: Connection, now_ms: i64) -> None:
        """Send the outbox of one connection, as far as its socket takes it."""
        outbox = connection.outbox
        if outbox is None:
            return
        connection.outbox = None
        self.sampler.left -= 1
        if self.sampler.left <= 0 or connection is self.target:
            self._write_watched(connection, outbox, now_ms)
        else:
            self._write(connection, outbox, now_ms)

    def follow(self, connection: Connection, read_ns: i64) -> None:
        """Measure how long what `connection` got takes to leave; it was read at `read_ns`."""
        self.target = connection
        self.target_ns = read_ns
        self.target_ticket = self.turn.ticket_open

    def forget(self, connection: Connection) -> None:
        """The connection is gone, and its object may serve another client soon."""
        if connection is self.target:
            self.target = None
        self._unwatch(connection)  # its descriptor may linger

    def _write_watched(self, connection: Connection, outbox: list[bytes], now_ms: i64) -> None:
        """Write, and note what is watched: how long a message took, or where the bytes go.

        A message has left with the write that tried to send it: how much a socket takes, and when, is its client's
        matter.
        """
        before = self.stats.bytes_sent
        self._write(connection, outbox, now_ms)
        if connection is self.target and (not connection.holds() or connection.safe_ticket() >= self.target_ticket):
            self.target = None
            self.stats.delivery.note((monotonic_ns() - self.target_ns) // 1000)
        if self.sampler.left <= 0:
            stands_for = self.sampler.take()
            watcher = self.watcher
            if watcher is not None:
                try:
                    watcher.on_write(connection, outbox, self.stats.bytes_sent - before, stands_for)
                except Exception:
                    on_bug(self.stats, "while watching what is sent")

    def _write(self, connection: Connection, outbox: list[bytes], now_ms: i64) -> None:
        buffers = connection.buffers
        if buffers is not None and buffers.layer is not None:
            if connection.outbox_bytes > LAYER_BYTES and connection.close_reason == OPEN:
                outbox = self._some_of(connection, buffers, outbox)
            else:
                if buffers.large:
                    outbox.insert(0, buffers.large[buffers.large_next :])
                    buffers.large = b""
                if connection.outbox_bytes > WRITES_PER_TURN * WRITE_BYTES:
                    outbox = _first_of(outbox, WRITES_PER_TURN * WRITE_BYTES)  # more has no chance to leave
            outbox = self._pass_down(connection, buffers.layer, outbox)
        if (buffers is not None and buffers.backlog is not None) or connection.outbox_bytes > JOIN_BYTES:
            self._keep_backlog(connection, outbox)
            if connection.interest & WRITABLE and connection.close_reason == OPEN:
                self._hush(connection)  # `_refill` goes on with it
            else:
                self.write_backlog(connection, now_ms)
            return
        data = outbox[0] if len(outbox) == 1 else b"".join(outbox)
        try:
            written = os_write(connection.fd, data)
        except BlockingIOError:
            written = 0
        except OSError:
            connection.close(PEER_RESET)
            return
        self.stats.bytes_sent += written
        connection.outbox_bytes -= written
        if written < len(data):
            self._keep_backlog(connection, [data[written:]])
            self._stall(connection, now_ms)

    def _some_of(self, connection: Connection, buffers: Buffers, outbox: list[bytes]) -> list[bytes]:
        """The first pieces of an outbox, as far as they may pass a layer in one turn; the others are late."""
        if not buffers.large and outbox and len(outbox[0]) > 2 * LAYER_BYTES:
            buffers.large = outbox.pop(0)
            buffers.large_next = 0
        if buffers.large:
            start = buffers.large_next
            buffers.large_next += LAYER_BYTES
            part = buffers.large[start : buffers.large_next]
            if buffers.large_next >= len(buffers.large):
                buffers.large = b""
            self._leave(connection, outbox)
            return [part]
        count = 0
        size: i64 = 0
        while count < len(outbox) and size < LAYER_BYTES:
            size += len(outbox[count])
            if size > 2 * LAYER_BYTES:
                break  # a large one; it is not the first
            count += 1
        if count < len(outbox):
            self._leave(connection, outbox[count:])
        return outbox[:count]

    def _leave(self, connection: Connection, outbox: list[bytes]) -> None:
        connection.outbox = outbox
        self.rest.append(connection)

    def _pass_down(self, connection: Connection, layer: Layer, outbox: list[bytes]) -> list[bytes]:
        """What goes to the socket for an outbox. What the layer adds waits too, but is not counted as MQTT."""
        framed = layer.framed(outbox)
        added: i64 = 0
        for piece in framed:
            added += len(piece)
        for piece in outbox:
            added -= len(piece)
        connection.outbox_bytes += added
        self.stats.bytes_sent -= added
        return framed

    def _keep_backlog(self, connection: Connection, pieces: list[bytes]) -> None:
        buffers = connection.buffers
        if buffers is None:
            buffers = connection.buffers = Buffers()
        if buffers.backlog is None:
            buffers.backlog = pieces
            buffers.backlog_next = 0
            buffers.backlog_offset = 0
        else:
            buffers.backlog.extend(pieces)

    def _stall(self, connection: Connection, now_ms: i64) -> None:
        buffers = connection.buffers
        assert buffers is not None
        self._hush(connection)
        if connection.interest & WRITABLE or connection.close_reason != OPEN:
            return
        buffers.stalled_since_ms = now_ms
        buffers.taken_bytes = 0
        try:
            self.writable.register(connection.fd, WRITABLE)
        except OSError:  # ENOSPC: nobody would tell us when it takes more
            connection.close(WRITE_STALLED)
            return
        connection.interest |= WRITABLE
        self.stats.stalled += 1
        handler = connection.handler
        assert handler is not None
        try:
            handler.on_stalled(connection, now_ms)
        except Exception:
            on_bug(self.stats, "with a connection that stalls", connection)

    def _hush(self, connection: Connection) -> None:
        """Do not read a client that has far more to take: what it asks for is answered, so it must not ask for more."""
        turn = self.turn
        if turn.unread_bytes and connection.outbox_bytes > turn.unread_bytes and not connection.deaf:
            connection.deaf = True
            turn.watch.append(connection)

    def write_backlog(self, connection: Connection, now_ms: i64) -> None:
        """Send from the backlog until the socket takes no more, in pieces that keep the cost linear."""
        buffers = connection.buffers
        if buffers is None or buffers.backlog is None or connection.fd < 0:
            return
        backlog = buffers.backlog
        for _ in range(WRITES_PER_TURN):
            if buffers.backlog_next >= len(backlog):
                break
            pieces, wanted = self._next_pieces(buffers, backlog)
            try:
                written = os_write(connection.fd, pieces[0]) if len(pieces) == 1 else os.writev(connection.fd, pieces)
            except BlockingIOError:
                self._stall(connection, now_ms)
                return
            except OSError:
                connection.close(PEER_RESET)
                return
            self.stats.bytes_sent += written
            connection.outbox_bytes -= written
            buffers.taken_bytes += written
            if buffers.taken_bytes >= PROGRESS_OUT_BYTES:
                buffers.taken_bytes = 0
                buffers.stalled_since_ms = now_ms
            _advance(buffers, backlog, written)
            if written < wanted:
                self._stall(connection, now_ms)
                return
        if buffers.backlog_next < len(backlog):
            self._stall(connection, now_ms)  # its share of this turn is used up
            return
        buffers.backlog = None
        if buffers.empty():
            connection.buffers = None
        if connection.deaf:
            connection.deaf = False
            connection.last_ms = now_ms  # its silence was ours
            self.turn.watch.append(connection)
        if connection.interest & WRITABLE:
            self._unwatch(connection)
            if connection.close_reason == OPEN:
                handler = connection.handler
                assert handler is not None
                try:
                    handler.on_drained(connection, now_ms)
                except Exception:
                    on_bug(self.stats, "with a connection that took all its output", connection)

    def _next_pieces(self, buffers: Buffers, backlog: list[bytes]) -> tuple[list[bytes | memoryview], i64]:
        """The next pieces of the backlog, up to WRITE_BYTES in all, and how many that are.

        Of a large piece it is a view: a socket takes less than WRITE_BYTES, and the rest would be copied again for
        each write.
        """
        index = buffers.backlog_next
        offset = buffers.backlog_offset
        piece = backlog[index]
        size: i64 = len(piece)
        total = min(size - offset, WRITE_BYTES)
        pieces: list[bytes | memoryview] = [memoryview(piece)[offset : offset + total] if total < size else piece]
        index += 1
        if offset + total < size:
            return pieces, total
        while index < len(backlog) and len(pieces) < WRITEV_PIECES and total + len(backlog[index]) <= WRITE_BYTES:
            pieces.append(backlog[index])
            total += len(backlog[index])
            index += 1
        return pieces, total


def _first_of(pieces: list[bytes], size_max: i64) -> list[bytes]:
    """The first `size_max` bytes of some pieces."""
    first: list[bytes] = []
    for piece in pieces:
        if size_max <= 0:
            break
        first.append(piece[:size_max])
        size_max -= len(piece)
    return first


def _advance(buffers: Buffers, backlog: list[bytes], written: i64) -> None:
    """Note that `written` more bytes of the backlog have left, and drop the pieces that are done."""
    index = buffers.backlog_next
    offset = buffers.backlog_offset + written
    while index < len(backlog) and offset >= len(backlog[index]):
        offset -= len(backlog[index])
        index += 1
    if index > 64 and index * 2 > len(backlog):
        del backlog[:index]
        index = 0
    buffers.backlog_next = index
    buffers.backlog_offset = offset
