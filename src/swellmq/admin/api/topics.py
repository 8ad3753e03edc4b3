"""Topics that the broker knows: those with a retained message, and those that something was published to lately.

The broker keeps no list of topics. Beside the tree of retained messages it remembers where messages of a topic go, for
up to 65,536 of those used last (`Topics.routes`): what is named `recent` here.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from typing import Annotated, Final, TypeAlias

import msgspec

from swellmq.admin.answer import ApiError
from swellmq.admin.route import Route
from swellmq.admin.walk import PageQuery, all_keys, cut, smallest
from swellmq.broker.core import Core
from swellmq.broker.retained import RetainedNode
from swellmq.broker.session import Entry
from swellmq.broker.sharded import ShardedMap
from swellmq.broker.tree import Subscribers
from swellmq.codec.topic import check_topic_filter, matches
from swellmq.errors import PeerError
from swellmq.server import Server

WILD: Final = (b"+", b"#")


class TopicQuery(PageQuery, forbid_unknown_fields=True):
    """Which topics are listed."""

    filter: Annotated[str, msgspec.Meta(min_length=1, description="A topic filter.")] = "#"


class Topic(msgspec.Struct):
    """A topic: the bytes of its retained message (null: it has none), and whether it was published to lately."""

    topic: str
    retained_bytes: int | None
    recent: bool


class TopicPage(msgspec.Struct):
    """Topics by name."""

    items: list[Topic]
    next: str | None


def topics(server: Server, query: TopicQuery) -> Generator[None, None, TopicPage]:
    """The topics that match a filter, among those that the broker knows; `$SYS` only where the filter names it."""
    core = server.broker.core
    topic_filter = query.filter.encode()
    try:
        check_topic_filter(topic_filter)
    except PeerError as error:
        raise ApiError(422, "bad_filter", error.phrase) from None
    after = query.after.encode() if query.after is not None else None
    names, more = yield from smallest(_matching(core, topic_filter), after, query.limit)
    items: list[Topic] = []
    for name in names:
        publish = core.retained.get(name)
        size = len(publish.payload) if publish is not None else None
        items.append(Topic(name.decode(), size, is_recent(core, name)))
    return TopicPage(items, names[-1].decode() if more else None)


def _matching(core: Core, topic_filter: bytes) -> Generator[list[bytes], None, None]:
    """Names that match, some at a time, some of them twice."""
    yield from _retained_names(core.retained.root, topic_filter.split(b"/"))
    for some in recent_names(core):
        yield [name for name in some if matches(topic_filter, name)]


def _retained_names(root: RetainedNode, levels: list[bytes]) -> Generator[list[bytes], None, None]:
    """The topics of retained messages that match a filter, some at a time; a level may have a million children."""
    # Where the walk stands: the children of a node, their names that are still to come, and the level of the filter.
    places = [_below(root, levels, 0)]
    while places:
        children, slices, depth = places[-1]
        some = next(slices, None)
        if some is None:
            places.pop()
            continue
        found: list[bytes] = []
        is_last = depth + 1 >= len(levels) or levels[depth + 1] == b"#"
        following = depth if levels[depth] == b"#" else depth + 1
        without_dollar = len(places) == 1 and levels[0] in WILD  # as for subscriptions
        for name in some:
            child = children.get(name) if children is not None else None
            if child is None or (without_dollar and name[:1] == b"$"):
                continue
            if child.publish is not None and is_last:
                found.append(child.publish.topic_name)
            if following < len(levels) and child.children is not None:
                places.append(_below(child, levels, following))
        yield found


Place: TypeAlias = tuple[ShardedMap[bytes, RetainedNode] | None, Iterator[list[bytes]], int]


def _below(node: RetainedNode, levels: list[bytes], depth: int) -> Place:
    """The children of a node that one level of a filter lets in."""
    if node.children is None:
        return None, iter(()), depth
    level = levels[depth]
    return node.children, all_keys(node.children) if level in WILD else iter(([level],)), depth


class Level(msgspec.Struct):
    """One level below a topic: whether `topic` itself has a retained message and how many subscribe to exactly it, how
    many levels follow right below, and how many topics at it or below were published to lately."""

    name: str
    topic: str
    retained: bool
    subscriptions: int
    children: int
    topics: int


class LevelPage(msgspec.Struct):
    """Levels by name, below `prefix` (null: the first levels)."""

    prefix: str | None
    items: list[Level]
    next: str | None


class TreeQuery(PageQuery, forbid_unknown_fields=True):
    """Which part of the tree is listed."""

    prefix: Annotated[
        str | None, msgspec.Meta(description="The topic below which levels are listed; without it the first levels.")
    ] = None


def tree(server: Server, query: TreeQuery) -> Generator[None, None, LevelPage]:
    """The levels right below one topic, of all topics that the broker knows."""
    core = server.broker.core
    above = query.prefix.encode() + b"/" if query.prefix is not None else b""
    node: RetainedNode | None = core.retained.root
    for level in above.split(b"/")[:-1]:
        node = node.children.get(level) if node is not None and node.children is not None else None
    recent: dict[bytes, int] = {}  # topics at or below each level
    below: dict[bytes, set[bytes]] = {}  # and the levels right below it
    for some in recent_names(core):
        for name in some:
            if name.startswith(above):
                level, slash, rest = name[len(above) :].partition(b"/")
                recent[level] = recent.get(level, 0) + 1
                if slash:
                    below.setdefault(level, set()).add(rest.partition(b"/")[0])
        yield
    children = node.children if node is not None else None
    slices = _chain(cut(list(recent)), all_keys(children) if children is not None else ())
    after = query.after.encode() if query.after is not None else None
    names, more = yield from smallest(slices, after, query.limit)
    items: list[Level] = []
    for name in names:
        child = children.get(name) if children is not None else None
        kept = child.children if child is not None else None
        count = len(kept) if kept is not None else 0
        count += sum(kept is None or kept.get(one) is None for one in below.get(name, ()))
        topic = above + name
        retained = child is not None and child.publish is not None
        subscribed = subscription_count(core.topics.exact.get(topic))
        items.append(Level(name.decode(), topic.decode(), retained, subscribed, count, recent.get(name, 0)))
        yield
    return LevelPage(query.prefix, items, names[-1].decode() if more else None)


def subscription_count(entry: Entry | None) -> int:
    """How many subscriptions one topic filter has; a shared group counts as one."""
    if isinstance(entry, Subscribers):
        return len(entry.by_session) + len(entry.groups or ())
    return 0 if entry is None else 1


def _chain(*sources: Iterable[list[bytes]]) -> Generator[list[bytes], None, None]:
    for source in sources:
        yield from source


def recent_names(core: Core) -> Generator[list[bytes], None, None]:
    """The topics that were published to lately, some at a time."""
    yield from cut(list(core.topics.routes))
    yield from cut([name for name in core.topics.routes_before if name not in core.topics.routes])


def is_recent(core: Core, name: bytes) -> bool:
    """Whether a topic was published to lately."""
    return name in core.topics.routes or name in core.topics.routes_before


ROUTES: Final = (
    Route("GET", "/api/v1/topics", topics),
    Route("GET", "/api/v1/topics/tree", tree),
)
