"""What a broker has been doing: a row for each second of the last 10 minutes, one for each minute of the last day, and
events such as steps of the pool.

A row is written when its second is over, and whoever sleeps writes none: the rows of seconds in which no turn ran are
filled in at the next one. So a broker that has nothing to do is not woken for its history.
"""

from __future__ import annotations

import time
from array import array
from collections import deque
from typing import TYPE_CHECKING, Final, TypedDict

from swellmq.process import resident_bytes
from swellmq.stats import quantile_us

if TYPE_CHECKING:
    from swellmq.server import Server

# What a row holds: what is there at its end, what was counted in its second, and how long turns took in it.
NOW: Final = ("active", "connected", "capacity", "idle", "overflow", "sessions", "resident_bytes", "waiting_bytes")
COUNTED: Final = (
    *("connects", "publishes_received", "publishes_sent", "bytes_received", "bytes_sent"),
    *("packets_received", "packets_sent", "dropped"),
)
TURNS: Final = ("turn_p50_us", "turn_p99_us", "turn_longest_us")
COLUMNS: Final = ("at", *NOW, *COUNTED, *TURNS)

SECOND_MS: Final = 1_000
SECONDS_KEPT: Final = 600
MINUTES_KEPT: Final = 1_440
EVENTS_KEPT: Final = 500
QUANTILES_S: Final = 10  # what the turn length "now" is taken over
CLOCK_SET_MS: Final = 2_000  # the wall clock and ours differ by so much more than before: it was set


class Event(TypedDict):
    """Something that happened; `from` and `to` say what of, where it is a number."""

    at: float
    kind: str
    text: str


Step = TypedDict("Step", {"at": float, "kind": str, "text": str, "from": int, "to": int})


class Page(TypedDict):
    """Some of the history, the oldest row first."""

    interval_s: int
    columns: list[str]
    rows: list[list[int]]
    events: list[Event | Step]


class Ring:
    """The last `rows` rows of whole numbers, 8 bytes each."""

    def __init__(self, rows: int, columns: int) -> None:
        self.columns = columns
        self.cells = array("q", bytes(8 * rows * columns))
        self.rows = rows
        self.count = 0  # rows that were ever written

    def append(self, row: list[int]) -> None:
        start = self.count % self.rows * self.columns
        self.cells[start : start + self.columns] = array("q", row)
        self.count += 1

    def last(self, wanted: int) -> list[list[int]]:
        """The last `wanted` rows, or as many as there are, the oldest first."""
        count = min(wanted, self.count, self.rows)
        starts = [number % self.rows * self.columns for number in range(self.count - count, self.count)]
        return [self.cells[start : start + self.columns].tolist() for start in starts]


class History:
    """The history of one broker since `Watch.keep_history`."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.by_second = Ring(SECONDS_KEPT, len(COLUMNS))
        self.by_minute = Ring(MINUTES_KEPT, len(COLUMNS))
        self.happened: deque[Event | Step] = deque(maxlen=EVENTS_KEPT)
        now_ms = int(server.turn_state.now_ms)
        self.second = now_ms // SECOND_MS  # the one under way, counted from the start of the broker
        self.looked_ms = now_ms
        self.wall_ms = 0  # Unix time at the start of the broker
        self.counters = self._counters()
        self.turns: deque[list[int]] = deque([server.stats.turn_lengths.counts()], maxlen=QUANTILES_S + 1)
        self.steps_seen = int(server.pool.steps_gone)
        self.overflow = 0

    # Once a second

    def wake_ms(self) -> int:
        """When to look at the latest: once a minute, or there would be many rows to be filled in at once."""
        return self.looked_ms + 60 * SECOND_MS

    def look(self, now_ms: int, peak_us: int) -> None:
        """Write the rows of the seconds that are over. `peak_us`: the longest turn since the last look.

        What was counted since then belongs to the last of them: in the others no turn ran.
        """
        self._set_clock(now_ms)
        self._note_pool()
        second = now_ms // SECOND_MS
        if second <= self.second:
            return
        missed = second - self.second - 1
        if missed:
            last = self.by_second.last(1)
            still = last[0][1 : 1 + len(NOW)] if last else self._now()
            for number in range(self.second, second - 1):
                self._write(number, [*still, *([0] * len(COUNTED + TURNS))])
        counters = self._counters()
        counted = since(counters, self.counters)
        self.counters = counters
        self.turns.append(self.server.stats.turn_lengths.counts())
        lengths = since(self.turns[-1], self.turns[-2])
        turns = [quantile_us(lengths, 50, peak_us), quantile_us(lengths, 99, peak_us), peak_us]
        self._write(second - 1, [*self._now(), *counted, *turns])
        self.second = second
        self.looked_ms = now_ms

    def _write(self, second: int, values: list[int]) -> None:
        at = (self.wall_ms + second * SECOND_MS) // SECOND_MS
        self.by_second.append([at, *values])
        if second % 60 == 59:
            self.by_minute.append(summary(self.by_second.last(second % 60 + 1)))

    def _now(self) -> list[int]:
        server = self.server
        pool, core = server.pool, server.broker.core
        return [
            *(int(pool.active), int(core.clients), int(pool.capacity), len(pool.free), int(pool.overflow)),
            *(len(core.sessions), resident_bytes(), int(core.waiting_bytes)),
        ]

    def _counters(self) -> list[int]:
        stats = self.server.stats
        return [
            *(int(stats.connects), int(stats.publishes_received), int(stats.publishes_sent)),
            *(int(stats.bytes_received), int(stats.bytes_sent)),
            *(int(stats.packets_received), int(stats.packets_sent), stats.dropped_for_want_of_room()),
        ]

    def _set_clock(self, now_ms: int) -> None:
        """Know what Unix time our seconds begin at. It stays while the wall clock only drifts: none comes twice."""
        wall_ms = unix_ms() - now_ms
        if abs(wall_ms - self.wall_ms) > CLOCK_SET_MS:
            self.wall_ms = wall_ms // SECOND_MS * SECOND_MS

    # Events

    def note(self, at_s: float, kind: str, text: str) -> None:
        """Something happened."""
        self.happened.append({"at": round(at_s, 3), "kind": kind, "text": text})

    def _note_pool(self) -> None:
        pool = self.server.pool
        for step in pool.last_steps(pool.steps_gone - self.steps_seen):
            grew = step.after > step.before
            text = f"{step.before}->{step.after} (at {step.active} connections)"
            at_s = (self.wall_ms + step.at_ms) / 1000
            self._note_change(at_s, "grew" if grew else "shrank", text, int(step.before), int(step.after))
            if grew and step.after == pool.max_size:
                self._note_change(at_s, "cap", f"pool.max_size is reached: {step.after}", *[int(step.after)] * 2)
        self.steps_seen = int(pool.steps_gone)
        overflow = int(pool.overflow)
        if bool(overflow) != bool(self.overflow):
            text = f"{overflow} objects made on demand" if overflow else "no object made on demand any more"
            self._note_change(unix_ms() / 1000, "overflow", text, self.overflow, overflow)
        self.overflow = overflow

    def _note_change(self, at_s: float, kind: str, text: str, before: int, after: int) -> None:
        self.happened.append({"at": round(at_s, 3), "kind": kind, "text": text, "from": before, "to": after})

    # For who asks

    def rows(self, seconds: int) -> Page:
        """The last `seconds`: by the second, or, where that goes back further than these are kept, by the minute."""
        if seconds <= SECONDS_KEPT:
            interval_s, rows = 1, self.by_second.last(seconds)
        else:
            interval_s, rows = 60, self.by_minute.last(min(MINUTES_KEPT, -(-seconds // 60)))
        from_s = rows[0][0] if rows else 0
        events = [event for event in self.happened if event["at"] >= from_s]
        return {"interval_s": interval_s, "columns": list(COLUMNS), "rows": rows, "events": events}

    def events(self) -> list[Event | Step]:
        """What happened lately, the latest at the end."""
        return list(self.happened)

    def rates(self) -> dict[str, int]:
        """What was counted in the last whole second."""
        last = self.by_second.last(1)
        values = last[0][1 + len(NOW) :] if last else [0] * len(COUNTED)
        return dict(zip(COUNTED, values, strict=False))

    def turn(self) -> dict[str, int]:
        """How long turns take: half of the last 10 s, 99 of 100, the longest lately, and ever."""
        lengths = since(self.turns[-1], self.turns[0])
        turn = self.server.stats.turn
        recent_us = int(turn.recent_us(self.server.turn_state.now_ms))
        return {
            "p50_us": quantile_us(lengths, 50, recent_us),
            "p99_us": quantile_us(lengths, 99, recent_us),
            "recent_us": recent_us,
            "longest_us": int(turn.ever_us),
        }


def unix_ms() -> int:
    """The wall clock."""
    return time.time_ns() // 1_000_000


def since(now: list[int], before: list[int]) -> list[int]:
    """What was added to counts since then."""
    return [later - earlier for later, earlier in zip(now, before, strict=True)]


def summary(rows: list[list[int]]) -> list[int]:
    """One row for many: what was there at the end, the mean of what was counted per second, the longest turns."""
    columns = list(zip(*rows, strict=True))
    first = columns[0][0]
    ends = [column[-1] for column in columns[1 : 1 + len(NOW)]]
    means = [sum(column) // len(column) for column in columns[1 + len(NOW) : -len(TURNS)]]
    return [first, *ends, *means, *(max(column) for column in columns[-len(TURNS) :])]
