"""Who sends and receives most, from some of the reads and writes: each that is looked at stands for those around it.

Where fewer than `limits.SAMPLES_PER_S` happen in a second all are looked at, and the figures are exact. Of 250 a second
a client that makes up a tenth of the traffic is met 250 times in 10 s: its figure is right to some 6 %, by the rule of
the square root.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64, mypyc_attr

from swellmq.broker.session import Session
from swellmq.connection import Connection, Turn, Watcher
from swellmq.observe.busiest import Top, most

WINDOW_MS: Final = 10_000
LOOKED_AT_PACKETS: Final = 8  # of a write, to learn how many messages its bytes are
PUBLISH: Final = 3


@final
@mypyc_attr(native_class=True)
class Window:
    """What was seen of each client in one stretch of time: messages and bytes, by client id."""

    def __init__(self, began_ms: int) -> None:
        self.began_ms = began_ms
        self.sent: dict[str, list[float]] = {}  # by clients, to the broker
        self.received: dict[str, list[float]] = {}


@final
@mypyc_attr(native_class=True)
class Talkers(Watcher):
    """The last two windows. There are never more clients in one than reads and writes were looked at."""

    def __init__(self, turn: Turn) -> None:
        self.turn = turn
        self.window = Window(int(turn.now_ms))
        self.before = Window(int(turn.now_ms))

    def on_read(self, connection: Connection, size: i64, publishes: i64, stands_for: i64) -> None:
        session = connection.owner
        if publishes and isinstance(session, Session):
            self._move()
            add(self.window.sent, session.client_id, int(publishes * stands_for), int(size * stands_for))

    def on_write(self, connection: Connection, pieces: list[bytes], written: i64, stands_for: i64) -> None:
        session = connection.owner
        if isinstance(session, Session):
            size = int(written * stands_for)
            messages = size * density(pieces)
            if messages:
                self._move()
                add(self.window.received, session.client_id, messages, size)

    def _move(self) -> None:
        """Begin a new window where the one under way is over."""
        now_ms = int(self.turn.now_ms)
        if now_ms - self.window.began_ms >= WINDOW_MS:
            fresh = now_ms - self.window.began_ms < 2 * WINDOW_MS
            self.before = self.window if fresh else Window(now_ms - WINDOW_MS)
            self.window = Window(now_ms)

    def top(self, count: int) -> Top:
        """Those that have sent and received most since the last but one window began, by messages."""
        self._move()
        lasted_s = max(1, int(self.turn.now_ms) - self.before.began_ms) / 1000
        return {
            "window_s": round(lasted_s, 1),
            "publishers": most(self.window.sent, self.before.sent, lasted_s, count),
            "subscribers": most(self.window.received, self.before.received, lasted_s, count),
        }


def add(clients: dict[str, list[float]], client_id: str, messages: float, size: float) -> None:
    """Count messages and bytes for a client."""
    counts = clients.get(client_id)
    if counts is None:
        clients[client_id] = [messages, size]
    else:
        counts[0] += messages
        counts[1] += size


def density(pieces: list[bytes]) -> float:
    """How many messages a byte of this output is, by its first packets."""
    packets, publishes, length = 0, 0, 0
    for piece in pieces:
        pos = 0
        while pos + 2 <= len(piece) and packets < LOOKED_AT_PACKETS:
            publishes += piece[pos] >> 4 == PUBLISH
            packets += 1
            body, shift, at = 0, 0, pos + 1
            while at < len(piece) and shift <= 21:
                byte = piece[at]
                body |= (byte & 0x7F) << shift
                shift += 7
                at += 1
                if byte < 0x80:
                    break
            length += at + body - pos
            pos = at + body
        if packets == LOOKED_AT_PACKETS:
            break
    return publishes / length if length else 0.0
