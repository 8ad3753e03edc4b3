"""Long lists in pages, and pages in slices: a list of a million never holds up the broker.

A page is the smallest keys behind the last one of the page before. So nothing has to be kept between two pages, a key
that is there all the time is listed exactly once, and those that come and go meanwhile do no harm. Finding it is one
look at each key, most of which a single comparison rules out: 60 ms for a million, in slices of 0.1 ms.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Final, TypeVar

from swellmq.broker.sharded import ShardedMap

KEYS_PER_SLICE: Final = 1_000
ITEMS_PER_SLICE: Final = 10  # of those that are made for an answer
LIMIT_MAX: Final = 1_000  # items of a page

V = TypeVar("V")
Item = TypeVar("Item")


def smallest_keys(
    entries: ShardedMap[bytes, V], after: bytes, limit: int, wanted: Callable[[V], bool]
) -> Generator[None, None, list[bytes]]:
    """The `limit` smallest keys above `after` whose values are wanted, and one more where there are more.

    Entries that come or go meanwhile may be listed or not.
    """
    best: list[bytes] = []
    shards = [entries.single] if entries.shards is None else entries.shards
    for shard in shards:
        keys = list(shard)
        for start in range(0, len(keys), KEYS_PER_SLICE):
            some = keys[start : start + KEYS_PER_SLICE]
            if len(best) > limit:
                highest = best[-1]
                found = [key for key in some if after < key < highest]
            else:
                found = [key for key in some if after < key]
            found = [key for key in found if (value := shard.get(key)) is not None and wanted(value)]
            if found:
                best = sorted(best + found)[: limit + 1]
            yield
    return best


def page(
    entries: ShardedMap[bytes, V],
    after: str,
    limit: int,
    wanted: Callable[[V], bool],
    describe: Callable[[V], Item],
) -> Generator[None, None, tuple[list[Item], str | None]]:
    """The items of a page in order, and what the next page is to begin after; None where this is the last."""
    keys = yield from smallest_keys(entries, after.encode(), limit, wanted)
    items: list[Item] = []
    for number, key in enumerate(keys[:limit]):
        value = entries.get(key)
        if value is not None and wanted(value):
            items.append(describe(value))
        if number % ITEMS_PER_SLICE == 0:
            yield
    return items, keys[limit - 1].decode() if len(keys) > limit else None
