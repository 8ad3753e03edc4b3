"""What clients, sessions, topics and retained messages cost in bytes, and which of them cost most.

Sizes of what varies are kept as messages come and go (queues, outboxes, payloads), and the fixed parts are those of the
classes in this build. What is left is to find the largest of perhaps a million, which takes a walk: in slices of half a
millisecond, with pauses, and only when somebody asks and the last walk is old. A walk meets what changes meanwhile or
does not, so its sums are right to what came and went in the time.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterator
from itertools import islice
from sys import getsizeof
from typing import Final, TypedDict, TypeVar

from swellmq.broker.core import Core
from swellmq.broker.retained import NODE_BYTES, RetainedNode
from swellmq.broker.session import Delivery, DeliveryQueue, Session, Subscription
from swellmq.broker.sharded import ShardedMap
from swellmq.codec.packets import Publish
from swellmq.connection import Buffers, Connection, Turn
from swellmq.limits import SHARDS

KINDS: Final = ("clients", "sessions", "topics", "retained")
MOST_KEPT: Final = 100  # of each kind
COUNTED_NAMES: Final = 1_024  # topic filters and prefixes that are surely counted; there may be millions
PREFIX_LEVELS: Final = 2  # retained messages are summed up by these levels of their topics
SLICE_NS: Final = 500_000
PAUSE_MS: Final = 5  # between two slices: a tenth of the time at the most
OLD_MS: Final = 30_000  # a walk holds for so long
STEP: Final = 64  # sessions, subscriptions or nodes between two looks at the clock
LOOKED_AT: Final = 100  # of the subscriptions and messages of one session: of more, the rest is taken for alike

ENTRY_BYTES: Final = 100  # of a dict, with room to grow
WORD_BYTES: Final = 8

V = TypeVar("V")


def own_bytes(thing: object) -> int:
    """What an object takes without what it refers to; interpreted ones keep their fields in a dict."""
    fields = getattr(thing, "__dict__", None)
    return getsizeof(thing) + (getsizeof(fields) if fields is not None else 0)


class Sizes:
    """What the fixed parts take in this build."""

    def __init__(self) -> None:
        turn = Turn()
        session = Session("")
        publish = Publish(b"", b"", 0, False)
        delivery = Delivery(publish, 1, False, None, None)
        self.connection = own_bytes(Connection(turn)) + WORD_BYTES  # and its place in the table by descriptor
        self.buffers = own_bytes(Buffers())
        self.session = own_bytes(session) + getsizeof("") + getsizeof(b"") + ENTRY_BYTES
        self.subscription = own_bytes(Subscription(session, b"")) + getsizeof(b"") + ENTRY_BYTES
        self.delivery = own_bytes(delivery) + own_bytes(publish) + 2 * getsizeof(b"") + WORD_BYTES
        self.queue = own_bytes(DeliveryQueue()) + getsizeof([])


class Receipt(TypedDict):
    """What one of a kind costs."""

    name: str
    bytes: int


class Kind(TypedDict):
    """What all of a kind cost, and those that cost most, the largest first."""

    kind: str
    total_bytes: int
    count: int
    items: list[Receipt]


class Report(TypedDict):
    """All kinds; `at` is when that was counted (Unix time), None while the first walk is under way."""

    at: float | None
    total_bytes: int
    kinds: list[Kind]


class Largest:
    """The `MOST_KEPT` largest of many that are each met once."""

    def __init__(self) -> None:
        self.total = 0
        self.count = 0
        self.heap: list[tuple[int, str]] = []

    def add(self, name: str, size: int) -> None:
        self.total += size
        self.count += 1
        if len(self.heap) < MOST_KEPT:
            heapq.heappush(self.heap, (size, name))
        elif size > self.heap[0][0]:
            heapq.heapreplace(self.heap, (size, name))

    def most(self) -> list[tuple[int, str]]:
        return self.heap


class Sums:
    """The largest sums of many that grow bit by bit. When there are too many the smaller half is forgotten, so what is
    told of one that was small for long may be too little."""

    def __init__(self) -> None:
        self.total = 0
        self.count = 0
        self.by_name: dict[bytes, int] = {}

    def add(self, name: bytes, size: int, count: int = 1) -> None:
        self.total += size
        self.count += count
        sums = self.by_name
        if name in sums:
            sums[name] += size
            return
        if len(sums) >= 2 * COUNTED_NAMES:
            least = sorted(sums.values())[COUNTED_NAMES]
            self.by_name = sums = {known: counted for known, counted in sums.items() if counted > least}
        sums[name] = size

    def most(self) -> list[tuple[int, str]]:
        return [(size, name.decode(errors="replace")) for name, size in self.by_name.items()]


class Receipts:
    """The last walk over all that a broker keeps, and the one under way."""

    def __init__(self, core: Core, turn: Turn) -> None:
        self.core = core
        self.turn = turn
        self.sizes = Sizes()
        self.done: dict[str, Largest | Sums] = {}
        self.done_s: float | None = None
        self.done_ms = -OLD_MS
        self.due_ms = 0  # when the walk under way goes on
        self._walk: Iterator[None] | None = None

    def begin(self, now_ms: int) -> bool:
        """Start a walk unless one is under way or the last one is fresh; whether one was started."""
        if self._walk is not None or now_ms - self.done_ms < OLD_MS:
            return False
        self._walk = self._walk_all()
        self.due_ms = now_ms
        return True

    def walking(self) -> bool:
        """Whether a walk is under way: `walk` goes on with it at `due_ms`."""
        return self._walk is not None

    def walk(self, now_ms: int) -> None:
        """Go on with the walk for a slice of time."""
        walk = self._walk
        if walk is None or now_ms < self.due_ms:
            return
        self.due_ms = now_ms + PAUSE_MS
        until_ns = time.perf_counter_ns() + SLICE_NS
        for _ in walk:
            if time.perf_counter_ns() >= until_ns:
                return
        self._walk = None
        self.done_s = time.time()
        self.done_ms = now_ms

    def top(self, kind: str, count: int) -> list[Receipt]:
        """Those of a kind that cost most, the largest first."""
        found = self.done.get(kind)
        largest = heapq.nlargest(count, found.most()) if found is not None else []
        return [{"name": name, "bytes": size} for size, name in largest]

    def report(self, count: int) -> Report:
        """What all kinds cost, with the `count` that cost most of each."""
        kinds: list[Kind] = []
        for kind in KINDS:
            found = self.done.get(kind)
            total, number = (found.total, found.count) if found is not None else (0, 0)
            kinds.append({"kind": kind, "total_bytes": total, "count": number, "items": self.top(kind, count)})
        parts = {kind["kind"]: kind["total_bytes"] for kind in kinds}  # topics are a part of the sessions
        total = parts["clients"] + parts["sessions"] + parts["retained"]
        return {"at": self.done_s, "total_bytes": total, "kinds": kinds}

    def _walk_all(self) -> Iterator[None]:
        clients, sessions, topics, retained = Largest(), Largest(), Sums(), Sums()
        steps = 0
        for _, session in entries(self.core.sessions):
            name = session.name()
            sessions.add(name, self.session_bytes(session))
            if session.connection is not None:
                clients.add(name, self.connection_bytes(session.connection))
            for subscription in session.subscriptions():
                topics.add(subscription.topic_filter, self.sizes.subscription + len(subscription.topic_filter))
                steps += 1
                if steps % STEP == 0:
                    yield
            steps += 1
            if steps % STEP == 0:
                yield
        for prefix, size, messages in retained_sizes(self.core.retained.root):
            retained.add(prefix, size, messages)
            steps += 1
            if steps % STEP == 0:
                yield
        self.done = {"clients": clients, "sessions": sessions, "topics": topics, "retained": retained}

    # One of them

    def connection_bytes(self, connection: Connection) -> int:
        """What the connection of a client takes, with what waits in it."""
        size = self.sizes.connection + int(connection.outbox_bytes) + int(connection.kept_bytes())
        return size + self.sizes.buffers if connection.buffers is not None else size

    def session_bytes(self, session: Session) -> int:
        """What a session takes, with its subscriptions and the messages that wait in it or are under way."""
        sizes = self.sizes
        size = sizes.session + 2 * len(session.client_id)
        subscriptions = session.subscriptions()
        some = [sizes.subscription + len(one.topic_filter) for one in subscriptions[:LOOKED_AT]]
        size += scaled(some, len(subscriptions))
        if session.queue is not None:
            size += sizes.queue + len(session.queue) * sizes.delivery + int(session.queue.bytes)
        if session.inflight is not None:
            size += getsizeof(session.inflight)
            # What was only passed on has no topic name, and is one object for all.
            some = [
                sizes.delivery + len(one.publish.topic_name) + len(one.publish.payload) if one.publish.topic_name else 0
                for one in islice(session.inflight.values(), LOOKED_AT)
            ]
            size += scaled(some, len(session.inflight))
        if session.received is not None:
            size += getsizeof(session.received)
        if session.will is not None:
            size += sizes.delivery + len(session.will.publish.topic_name) + len(session.will.publish.payload)
        return size


def scaled(some: list[int], count: int) -> int:
    """The sum of `count` sizes of which `some` are the first."""
    return sum(some) * count // len(some) if some else 0


def entries(kept: ShardedMap[bytes, V]) -> Iterator[tuple[bytes, V]]:
    """All entries of a map, of which some thousand are named at a time, so that it may change meanwhile."""
    for index in range(SHARDS):
        yield from kept.part(index)


def retained_sizes(root: RetainedNode) -> Iterator[tuple[bytes, int, int]]:
    """For each level of the tree of retained messages the first levels of its topic, its bytes, and how many messages
    end there: one or none."""
    walks = [entries(root.children)] if root.children is not None else []
    levels: list[bytes] = []
    while walks:
        following = next(walks[-1], None)
        if following is None:
            walks.pop()
            if levels:
                levels.pop()
            continue
        level, node = following
        levels.append(level)
        size, publish = NODE_BYTES, node.publish
        if publish is not None:
            size += len(publish.topic_name) + len(publish.payload) + len(publish.properties)
        yield b"/".join(levels[:PREFIX_LEVELS]), size, int(publish is not None)
        if node.children is not None:
            walks.append(entries(node.children))
        else:
            levels.pop()
