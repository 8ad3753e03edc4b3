"""Deadlines of connections and sessions, kept lazily in buckets of a tenth of a second, and wider ones for what is far.

A deadline is a field of its object. Setting one puts the object into the bucket of that moment; moving it leaves the
old entry where it is, and it is passed over when its bucket comes up, because the field no longer says so. Keep alive
costs nothing per packet this way: a packet only notes when it came, and the bucket that comes up looks at that note.

An old entry keeps its object alive until its bucket comes up, which may be years ahead (a session's end). So they are
counted, and swept out when they are more than the others: a few with each deadline that is cleared, so that no turn
has to look at a million.
"""

from __future__ import annotations

from _heapq import heappop, heappush  # heapq.py is 25 KB that nothing needs
from typing import Final, final

from mypy_extensions import i64, mypyc_attr

from swellmq.broker.sharded import rebuild
from swellmq.connection import Timed
from swellmq.limits import DUE_PER_TURN, TICK_MS

FAR: Final = 16  # a far deadline may come up early by this part of the time until then
SWEEP_FROM: Final = 1_024  # old entries; fewer are left alone
SWEEP_SLICE: Final = 32  # entries looked at with each deadline that is cleared while a sweep is under way


@final
@mypyc_attr(native_class=True)
class Deadlines:
    """Buckets of objects by the moment they are due."""

    def __init__(self) -> None:
        self.buckets: dict[int, list[Timed]] = {}
        self.moments: list[int] = []  # a heap of the buckets' keys, milliseconds; of swept ones too
        self.entries: i64 = 0  # in all buckets
        self.stale: i64 = 0  # of them, those that no longer say when their object is due
        self.sweeping: list[int] = []  # the buckets that a sweep has still to look at, the next one last
        self.sweep_pos: i64 = 0  # and where in that one it is

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

    def set_far(self, timed: Timed, due_ms: i64, now_ms: i64) -> None:
        """Let `timed` come up before `due_ms`, early by up to a sixteenth of the time until then; it is then set again.

        For who looks for himself whether it is time. The further off, the wider the buckets: were each a tenth of a
        second wide, clients that come ten a second and may be silent for an hour would need one each, of 250 bytes.
        """
        width: i64 = TICK_MS
        while width * 2 * FAR <= due_ms - now_ms:
            width *= 2
        if width > TICK_MS:
            due_ms = due_ms // width * width
        self.set(timed, due_ms)

    def clear(self, timed: Timed) -> None:
        """Forget the deadline of `timed`."""
        if not timed.deadline_ms:
            return
        timed.deadline_ms = 0
        self.stale += 1
        if self.sweeping:
            self._sweep()
        elif self.stale > SWEEP_FROM and self.stale * 2 > self.entries:
            self.sweeping.extend(self.buckets)

    def next_ms(self) -> i64:
        """The moment of the first bucket; -1 where there is none. It may hold only stale entries."""
        return self.moments[0] if self.moments else -1

    def due(self, now_ms: i64, looks: i64 = DUE_PER_TURN) -> list[Timed]:
        """The objects whose deadline has come; their deadlines are cleared.

        At most `looks` entries are looked at: where `next_ms` is still not after `now_ms` there are more.
        """
        found: list[Timed] = []
        while self.moments and self.moments[0] <= now_ms and looks > 0:
            key = self.moments[0]
            bucket = self.buckets.get(key)
            if bucket is None:  # swept out
                heappop(self.moments)
                continue
            first = max(0, len(bucket) - looks)
            part = bucket[first:] if first else bucket
            if first:
                del bucket[first:]
            else:
                heappop(self.moments)
                del self.buckets[key]
            looks -= len(part)
            self.entries -= len(part)
            for timed in part:
                if timed.deadline_ms == key:
                    timed.deadline_ms = 0
                    found.append(timed)
                elif self.stale:  # an object that was reset without `clear` was not counted
                    self.stale -= 1
        return found

    def sweep_out(self) -> None:
        """Take out all stale entries now: about 2 ms for each 100,000 entries that there are."""
        self.sweeping[:] = self.buckets
        self.sweep_pos = 0
        while self.sweeping:
            self._sweep()
        self.moments[:] = sorted(self.buckets)
        rebuild(self.buckets)

    def _sweep(self) -> None:
        """Look at the next SWEEP_SLICE entries, and take out the stale ones: a million at once would take 0.1 s."""
        looks: i64 = SWEEP_SLICE
        while self.sweeping and looks > 0:
            key = self.sweeping[-1]
            bucket = self.buckets.get(key)
            if bucket is not None:
                looks -= self._sweep_bucket(key, bucket, looks)
                if self.sweep_pos < len(bucket):
                    return
                if not bucket:
                    del self.buckets[key]
            looks -= 1
            self.sweeping.pop()
            self.sweep_pos = 0
        if not self.sweeping and len(self.moments) > 2 * len(self.buckets) + SWEEP_FROM:
            self.moments[:] = sorted(self.buckets)

    def _sweep_bucket(self, key: int, bucket: list[Timed], looks: i64) -> i64:
        """Sweep at most `looks` entries of one bucket, from `sweep_pos` on; how many were looked at."""
        kept: list[Timed] = []
        pos = self.sweep_pos
        looked: i64 = 0
        while pos < len(bucket) and looked < looks:
            looked += 1
            timed = bucket[pos]
            if timed.deadline_ms == key:
                timed.deadline_ms = 0  # so that a second entry of the same moment is not kept
                kept.append(timed)
                pos += 1
                continue
            last = bucket.pop()
            if pos < len(bucket):
                bucket[pos] = last
            self.entries -= 1
            if self.stale:
                self.stale -= 1
        for timed in kept:
            timed.deadline_ms = key
        self.sweep_pos = pos
        return looked

    def statistics(self) -> dict[str, int]:
        """How many entries there are, stale ones among them."""
        return {"deadlines": int(self.entries), "deadlines_stale": int(self.stale)}
