"""A map that never stalls: one dict while it is small, then 256 of them.

A single dict of 700,000 keys stops the world for 60 to 170 ms when it grows; a 256th of it takes 1 ms. A dict never
shrinks either, so one that has become mostly empty is built anew, and few entries end up in one dict again.
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar

from mypy_extensions import i64, mypyc_attr

from swellmq.limits import SHARDS

SPLIT_AT: Final = 8_192  # entries; splitting copies them once, in under 1 ms
JOIN_AT: Final = SPLIT_AT // 8  # entries; so far below that one who comes and goes does not split and join each time
REBUILD_FACTOR: Final = 6  # a dict is rebuilt when it once held this many times more; some later, so not all at once
REBUILD_FROM: Final = 64  # smaller ones are left alone

K = TypeVar("K")
V = TypeVar("V")


def rebuild(table: dict[K, V]) -> None:
    """Give back what a dict holds beyond its entries, or holds because of those that it once had."""
    kept = dict(table)
    table.clear()
    table.update(kept)


@mypyc_attr(native_class=True)
class ShardedMap(Generic[K, V]):
    """A mapping; the order of iteration is not promised."""

    def __init__(self) -> None:
        self.single: dict[K, V] = {}
        self.single_peak: i64 = 0  # its size when it last began to lose entries
        self.shards: list[dict[K, V]] | None = None
        self.peaks: list[int] | None = None
        self.count: i64 = 0

    def __len__(self) -> int:
        return int(self.count)

    def get(self, key: K) -> V | None:
        """The value of `key`, or None."""
        shards = self.shards
        if shards is None:
            return self.single.get(key)
        return shards[hash(key) & (SHARDS - 1)].get(key)

    def put(self, key: K, value: V) -> None:
        """Set the value of `key`."""
        shards = self.shards
        shard = self.single if shards is None else shards[hash(key) & (SHARDS - 1)]
        before = len(shard)
        shard[key] = value
        if len(shard) > before:
            self.count += 1
            if shards is None and self.count > SPLIT_AT:
                self._split()

    def remove(self, key: K) -> V | None:
        """Take `key` out; its value, or None where there was none."""
        shards = self.shards
        index: i64 = 0
        if shards is None:
            shard = self.single
        else:
            index = hash(key) & (SHARDS - 1)
            shard = shards[index]
        value = shard.pop(key, None)
        if value is None:
            return None
        self.count -= 1
        size: i64 = len(shard) + 1
        peaks = self.peaks
        peak: i64 = self.single_peak if peaks is None else peaks[index]
        if size > peak:
            peak = size
        elif peak > REBUILD_FROM and size * (REBUILD_FACTOR + (index & 7)) < peak:
            peak = size
            rebuild(shard)
        if peaks is None:
            self.single_peak = peak
        else:
            peaks[index] = int(peak)
            if self.count < JOIN_AT:
                self._join()
        return value

    def _split(self) -> None:
        shards: list[dict[K, V]] = [{} for _ in range(SHARDS)]
        for key, value in self.single.items():
            shards[hash(key) & (SHARDS - 1)][key] = value
        self.single.clear()
        self.shards = shards
        self.peaks = [0] * SHARDS

    def _join(self) -> None:
        """One dict again: 256 that are nearly empty take half a megabyte."""
        shards = self.shards
        assert shards is not None
        for shard in shards:
            self.single.update(shard)
        self.single_peak = len(self.single)
        self.shards = None
        self.peaks = None

    def part(self, index: i64) -> list[tuple[K, V]]:
        """The entries of one of SHARDS parts, for walks that go on in later turns; a small map is all in the first."""
        if self.shards is None:
            return list(self.single.items()) if index == 0 else []
        return list(self.shards[index].items())

    def values(self) -> list[V]:
        """All values as they are now, in a list of their own."""
        if self.shards is None:
            return list(self.single.values())
        found: list[V] = []
        for shard in self.shards:
            found.extend(shard.values())
        return found

    def items(self) -> list[tuple[K, V]]:
        """All entries as they are now, in a list of their own."""
        if self.shards is None:
            return list(self.single.items())
        found: list[tuple[K, V]] = []
        for shard in self.shards:
            found.extend(shard.items())
        return found
