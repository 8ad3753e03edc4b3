"""Deadlines of connections and sessions, kept lazily in buckets of a tenth of a second.

A deadline is a field of its object. Setting one puts the object into the bucket of that moment; moving it leaves the
old entry where it is, and it is passed over when its bucket comes up, because the field no longer says so. Keep alive
costs nothing per packet this way: a packet only notes when it came, and the bucket that comes up looks at that note.

An old entry keeps its object alive until its bucket comes up, which may be years ahead (a session's end). So they are
counted, and swept out when they are more than the others.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Final, final

from mypy_extensions import i64, mypyc_attr

from swellmq.connection import Timed
from swellmq.limits import TICK_MS

SWEEP_FROM: Final = 1_024  # old entries; fewer are left alone


@final
@mypyc_attr(native_class=True)
class Deadlines:
    """Buckets of objects by the moment they are due."""

    def __init__(self) -> None:
        self.buckets: dict[int, list[Timed]] = {}
        self.moments: list[int] = []  # a heap of the buckets' keys, milliseconds
        self.entries: i64 = 0  # in all buckets
        self.stale: i64 = 0  # of them, those that no longer say when their object is due

    def set(self, timed: Timed, due_ms: i64) -> None:
        """Let `timed` come up at `due_ms` or up to TICK_MS later; an earlier setting is forgotten."""
        moment = (due_ms + TICK_MS - 1) // TICK_MS * TICK_MS
        if timed.deadline_ms == moment:
            return
        self.clear(timed)
        timed.deadline_ms = moment
        self.entries += 1
        key = int(moment)
        bucket = self.buckets.get(key)
        if bucket is None:
            self.buckets[key] = [timed]
            heappush(self.moments, key)
        else:
            bucket.append(timed)

    def clear(self, timed: Timed) -> None:
        """Forget the deadline of `timed`."""
        if timed.deadline_ms:
            timed.deadline_ms = 0
            self.stale += 1
            if self.stale > SWEEP_FROM and self.stale * 2 > self.entries:
                self._sweep()

    def next_ms(self) -> i64:
        """The moment of the first bucket; -1 where there is none. It may hold only stale entries."""
        return self.moments[0] if self.moments else -1

    def due(self, now_ms: i64) -> list[Timed]:
        """All objects whose deadline has come; their deadlines are cleared."""
        found: list[Timed] = []
        while self.moments and self.moments[0] <= now_ms:
            key = heappop(self.moments)
            bucket = self.buckets.pop(key)
            self.entries -= len(bucket)
            for timed in bucket:
                if timed.deadline_ms == key:
                    timed.deadline_ms = 0
                    found.append(timed)
                elif self.stale:  # an object that was reset without `clear` was not counted
                    self.stale -= 1
        return found

    def _sweep(self) -> None:
        """Build all buckets anew without their stale entries; its cost is spread over as many calls of `clear`."""
        buckets: dict[int, list[Timed]] = {}
        entries: i64 = 0
        for key, bucket in self.buckets.items():
            kept: list[Timed] = []
            for timed in bucket:
                if timed.deadline_ms == key:
                    timed.deadline_ms = 0  # so that a second entry of the same moment is not kept
                    kept.append(timed)
            for timed in kept:
                timed.deadline_ms = key
            if kept:
                buckets[key] = kept
                entries += len(kept)
        self.buckets = buckets
        self.moments = sorted(buckets)
        self.entries = entries
        self.stale = 0

    def statistics(self) -> dict[str, int]:
        """How many entries there are, stale ones among them."""
        return {"deadlines": int(self.entries), "deadlines_stale": int(self.stale)}
