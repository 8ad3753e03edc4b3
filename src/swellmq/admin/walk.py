"""Long lists in pages, and pages in slices: a list of a million never holds up the broker.

A page is the smallest keys behind the last one of the page before. So nothing has to be kept between two pages, a key
that is there all the time is listed exactly once, and those that come and go meanwhile do no harm. Finding it is one
look at each key, most of which a single comparison rules out: 0.3 s of CPU for a million, in slices of 0.1 ms.

Everything here is a generator that yields wherever it may be interrupted.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import Annotated, Final, TypeVar

import msgspec

from swellmq.broker.sharded import ShardedMap

KEYS_PER_SLICE: Final = 250
ITEMS_PER_SLICE: Final = 5  # of those that are made for an answer
LIMIT_MAX: Final = 1_000  # items of a page

Key = TypeVar("Key", bytes, str)
V = TypeVar("V")
Item = TypeVar("Item")


class PageQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which page of a list is asked for."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=LIMIT_MAX, description="Items of a page.")] = 100
    after: Annotated[str | None, msgspec.Meta(description="`next` of the page before.")] = None


def smallest(
    slices: Iterable[list[Key]], after: Key | None, limit: int, wanted: Callable[[Key], bool] | None = None
) -> Generator[None, None, tuple[list[Key], bool]]:
    """The `limit` smallest keys above `after` (None: of all) that are wanted, each once, and whether there are more."""
    best: list[Key] = []
    highest: Key | None = None  # no key from here on can be among them
    for some in slices:
        if after is not None:
            some = [key for key in some if key > after]
        if highest is not None:
            some = [key for key in some if key < highest]
        best += some if wanted is None else [key for key in some if wanted(key)]
        if len(best) > 2 * limit:
            best = sorted(set(best))[: limit + 1]
            if len(best) > limit:
                highest = best[-1]
        yield
    best = sorted(set(best))
    return best[:limit], len(best) > limit


def all_keys(entries: ShardedMap[bytes, V]) -> Generator[list[bytes], None, None]:
    """The keys of a map, some at a time. Those that come or go meanwhile may be among them or not."""
    shards = [entries.single] if entries.shards is None else entries.shards
    for shard in shards:
        yield from cut(list(shard))


def cut(keys: list[Key]) -> Generator[list[Key], None, None]:
    """The same keys, some at a time."""
    for start in range(0, len(keys), KEYS_PER_SLICE):
        yield keys[start : start + KEYS_PER_SLICE]


def page(
    entries: ShardedMap[bytes, V],
    query: PageQuery,
    wanted: Callable[[V], bool],
    describe: Callable[[V], Item],
) -> Generator[None, None, tuple[list[Item], str | None]]:
    """The items of a page in order of their keys, and `next`; None where this is the last page."""

    def is_wanted(key: bytes) -> bool:
        value = entries.get(key)
        return value is not None and wanted(value)

    after = query.after.encode() if query.after is not None else None
    keys, more = yield from smallest(all_keys(entries), after, query.limit, is_wanted)
    items: list[Item] = []
    for number, key in enumerate(keys):
        value = entries.get(key)
        if value is not None and wanted(value):
            items.append(describe(value))
        if number % ITEMS_PER_SLICE == 0:
            yield
    return items, keys[-1].decode() if more else None
