"""Retained messages, in a tree by topic level, and the walk that finds those that match a new subscription.

The walk is a `Replay`: it holds its own place, so that a filter that matches 100,000 messages is answered in slices, as
the client's outbox drains, and messages that come and go meanwhile do not disturb it.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64, mypyc_attr, u8

from swellmq.broker.sharded import ShardedMap
from swellmq.codec.packets import Publish

DOLLAR: Final = 0x24
NODE_BYTES: Final = 400  # a topic of 200 levels costs far more than its name
FRAME_BYTES: Final = 64  # more than a PUBLISH has beside its topic name, payload and properties
VISITS_PER_MESSAGE: Final = 16  # nodes a walk may visit for each message that it is asked for


@final
@mypyc_attr(native_class=True, acyclic=True)
class RetainedNode:
    """One topic level."""

    def __init__(self) -> None:
        self.children: ShardedMap[bytes, RetainedNode] | None = None
        self.publish: Publish | None = None


@final
@mypyc_attr(native_class=True, acyclic=True)
class Replay:
    """Where the walk for one new subscription has come to."""

    def __init__(self, topic_filter: bytes, qos: u8, no_local: bool, identifiers: list[int] | None) -> None:
        self.topic_filter = topic_filter
        self.levels: list[bytes] | None = None  # of the filter, once the walk has begun: thousands may wait for theirs
        self.qos: u8 = qos
        self.no_local = no_local
        self.identifiers = identifiers
        self.nodes: list[RetainedNode] = []  # still to be visited, the next one last
        self.depths: list[int] = []  # how many levels of the filter each has used up

    def done(self) -> bool:
        """Whether the walk is over."""
        return self.levels is not None and not self.nodes


@final
@mypyc_attr(native_class=True, acyclic=True)
class Source:
    """Who published a retained message: what `Permissions` has to know to ask again whether that is allowed."""

    def __init__(self, username: str | None, client_id: str, listener: str, generation: i64 = 0) -> None:
        self.username = username
        self.client_id = client_id
        self.listener = listener  # by which it came, as `Permissions` calls it; "": nobody knows
        self.generation: i64 = generation  # of the rights by which it was allowed; 0: those of a broker that is gone


@final
@mypyc_attr(native_class=True)
class Retained:
    """All retained messages of one broker, MQTT 5.0 section 3.3.1.3."""

    def __init__(self) -> None:
        self.root = RetainedNode()
        self.sources: dict[bytes, Source] = {}  # by topic name, where there is access control
        self.count: i64 = 0
        self.bytes: i64 = 0  # topic names, payloads and properties, and NODE_BYTES for each level of the tree
        self.visited: i64 = 0  # nodes, in all walks

    def get(self, topic_name: bytes) -> Publish | None:
        """The retained message of one topic."""
        node: RetainedNode | None = self.root
        for level in topic_name.split(b"/"):
            assert node is not None
            node = node.children.get(level) if node.children is not None else None
            if node is None:
                return None
        assert node is not None
        return node.publish

    def set(self, publish: Publish) -> None:
        """Keep `publish` as the retained message of its topic, in place of an earlier one."""
        node = self.root
        for level in publish.topic_name.split(b"/"):
            if node.children is None:
                node.children = ShardedMap()
            child = node.children.get(level)
            if child is None:
                child = RetainedNode()
                node.children.put(level, child)
                self.bytes += NODE_BYTES
            node = child
        if node.publish is not None:
            self._discount(node.publish)
        node.publish = publish  # [MQTT-3.3.1-5]
        self.count += 1
        self.bytes += _size(publish)

    def remove(self, topic_name: bytes) -> bool:
        """Forget the retained message of a topic; whether there was one."""
        levels = topic_name.split(b"/")
        path = [self.root]
        for level in levels:
            children = path[len(path) - 1].children
            child = children.get(level) if children is not None else None
            if child is None:
                return False
            path.append(child)
        node = path[len(path) - 1]
        if node.publish is None:
            return False
        self._discount(node.publish)
        node.publish = None
        if self.sources:
            self.sources.pop(topic_name, None)
        for depth in range(len(levels), 0, -1):
            node = path[depth]
            if node.publish is not None or node.children is not None:
                break
            siblings = path[depth - 1].children
            assert siblings is not None
            siblings.remove(levels[depth - 1])
            self.bytes -= NODE_BYTES
            if len(siblings):
                break
            path[depth - 1].children = None
        return True

    def _discount(self, publish: Publish) -> None:
        self.count -= 1
        self.bytes -= _size(publish)

    def next(self, replay: Replay, messages: int, room: i64) -> list[Publish]:
        """Up to `messages` more that match; `replay.done()` says whether the walk is over.

        At most one is found that goes beyond `room` bytes of output. A bounded number of nodes is visited, so fewer may
        be found, or none, before the walk is over.
        """
        found: list[Publish] = []
        visits: i64 = messages * VISITS_PER_MESSAGE
        levels = replay.levels
        if levels is None:
            levels = replay.levels = replay.topic_filter.split(b"/")
            replay.nodes = [self.root]
            replay.depths = [0]
        nodes = replay.nodes
        depths = replay.depths
        while nodes and len(found) < messages and visits > 0 and room > 0:
            visits -= 1
            node = nodes.pop()
            depth = depths.pop()
            level = levels[depth] if depth < len(levels) else b""
            publish = node.publish
            if publish is not None and (depth == len(levels) or level == b"#"):  # "sport/#" matches "sport" too
                found.append(publish)
                room -= _size(publish) + FRAME_BYTES
            if depth == len(levels):
                continue
            children = node.children
            if children is None:
                continue
            if level == b"#" or level == b"+":
                following = depth if level == b"#" else depth + 1
                at_root = node is self.root
                for name, child in children.items():
                    if at_root and name and name[0] == DOLLAR:
                        continue  # [MQTT-4.7.2-1]
                    nodes.append(child)
                    depths.append(following)
            else:
                only = children.get(level)
                if only is not None:
                    nodes.append(only)
                    depths.append(depth + 1)
        self.visited += messages * VISITS_PER_MESSAGE - visits
        return found

    def statistics(self) -> dict[str, int]:
        """How many retained messages there are, and their bytes."""
        return {"retained": int(self.count), "retained_bytes": int(self.bytes)}


def _size(publish: Publish) -> int:
    return len(publish.topic_name) + len(publish.payload) + len(publish.properties)
