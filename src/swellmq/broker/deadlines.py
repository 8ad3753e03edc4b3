"""Deadlines of connections and sessions, kept lazily in buckets of a tenth of a second.

A deadline is a field of its object. Setting one puts the object into the bucket of that moment; moving it leaves the
old entry where it is, and it is passed over when its bucket comes up, because the field no longer says so. Keep alive
costs nothing per packet this way: a packet only notes when it came, and the bucket that comes up looks at that note.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import final

from mypy_extensions import i64, mypyc_attr

from swellmq.connection import Timed
from swellmq.limits import TICK_MS


@final
@mypyc_attr(native_class=True)
class Deadlines:
    """Buckets of objects by the moment they are due."""

    def __init__(self) -> None:
        self.buckets: dict[int, list[Timed]] = {}
        self.moments: list[int] = []  # a heap of the buckets' keys, milliseconds

    def set(self, timed: Timed, due_ms: i64) -> None:
        """Let `timed` come up at `due_ms` or up to TICK_MS later; an earlier setting is forgotten."""
        moment = (due_ms + TICK_MS - 1) // TICK_MS * TICK_MS
        if timed.deadline_ms == moment:
            return
        timed.deadline_ms = moment
        key = int(moment)
        bucket = self.buckets.get(key)
        if bucket is None:
            self.buckets[key] = [timed]
            heappush(self.moments, key)
        else:
            bucket.append(timed)

    def clear(self, timed: Timed) -> None:
        """Forget the deadline of `timed`."""
        timed.deadline_ms = 0

    def next_ms(self) -> i64:
        """The moment of the first bucket; -1 where there is none. It may hold only stale entries."""
        return self.moments[0] if self.moments else -1

    def due(self, now_ms: i64) -> list[Timed]:
        """All objects whose deadline has come; their deadlines are cleared."""
        found: list[Timed] = []
        while self.moments and self.moments[0] <= now_ms:
            key = heappop(self.moments)
            for timed in self.buckets.pop(key):
                if timed.deadline_ms == key:
                    timed.deadline_ms = 0
                    found.append(timed)
        return found
