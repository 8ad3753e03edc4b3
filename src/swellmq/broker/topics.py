"""Topic filters and who subscribed to them; from a topic name to its subscribers.

A filter without wildcards is a key in a map; only filters with wildcards live in a tree, a node a level. What a topic
name matched is remembered as a Route. A change of an exact filter forgets the route of that one topic, so that churn of
exact subscriptions costs publishers of other topics nothing; a change of a wildcard filter forgets all routes. They are
dropped and not only marked, because a route keeps the sessions alive that it leads to.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64, mypyc_attr

from swellmq.broker.permissions import Permissions
from swellmq.broker.session import Entry, Session, Subscription
from swellmq.broker.sharded import ShardedMap
from swellmq.broker.tree import Node, Route, Search, ShareGroup, Subscribers
from swellmq.codec.topic import matches, split_share
from swellmq.limits import DEAR_FILTER_BYTES, LEVEL_BYTES, MATCH_CACHE_TARGETS, MATCH_CACHE_TOPICS

SYS_PREFIX: Final = b"$SYS/"  # what only the broker itself publishes
_BRIDGE_STATE: Final = b"$SYS/broker/connection/+/state"  # bridges say there whether they are connected
_NOT_FOR_CLIENTS: Final = (SYS_PREFIX, b"$share/", b"$CONTROL/")


def closed_to_clients(topic_name: bytes) -> bool:
    """Whether no client may publish to a topic: it is the broker's own, or nobody could ever get it."""
    return topic_name.startswith(_NOT_FOR_CLIENTS) and not matches(_BRIDGE_STATE, topic_name)


POINTER_BYTES: Final = 8
NO_BOUND: Final = 1 << 40


@final
@mypyc_attr(native_class=True)
class Topics:
    """All subscriptions of one broker. `one_each`: a session gets a message once for each subscription that matches."""

    def __init__(self, one_each: bool = False) -> None:
        self.one_each = one_each
        self.exact: ShardedMap[bytes, Entry] = ShardedMap()
        self.permissions: Permissions | None = None
        self.root = Node()
        self.count: i64 = 0
        self.shared_count: i64 = 0
        self.dear_bytes: i64 = 0  # of memory, about, for filters that are long or deep
        self.changes: i64 = 0  # of subscriptions
        self.visited: i64 = 0  # nodes and subscribers, by all searches
        # Routes in two halves: those asked for lately, and those before. A full half replaces the other one.
        self.routes: dict[bytes, Route] = {}
        self.routes_before: dict[bytes, Route] = {}
        self.routes_bytes: i64 = 0  # of the names and lists in `routes`

    # Routes

    def route(self, topic_name: bytes) -> Route | None:
        """The route of a topic name that was matched before; None where it must be checked and matched."""
        route = self.routes.get(topic_name)
        if route is None:
            route = self.routes_before.get(topic_name)
            if route is None:
                return None
            self._remember(route)
        return route

    def match(self, topic_name: bytes) -> Route:
        """Find and remember who gets messages of a valid topic name."""
        search = self.search(topic_name)
        search.go_on(NO_BOUND)
        return self.found(search)

    def search(self, topic_name: bytes) -> Search:
        """Begin to find who gets messages of a valid topic name."""
        # [MQTT-3.3.2-3]
        return Search(topic_name, self.exact.get(topic_name), self.root, self.one_each, self.changes)

    def found(self, search: Search) -> Route:
        """What a search that is done has found; it is remembered, unless it would be another one by now."""
        self.visited += search.visited
        route = search.route
        if self.permissions is not None:
            route.targets = self.permissions.receivers(route.targets, route.topic_name)
        if route.groups is not None:
            route.mixed = route.mixed or bool(route.targets)
        elif len(route.targets) == 1:
            route.solo = route.targets[0]
        # Without a route the broker's own are looked at one by one, see `on_publish`.
        if search.changes == self.changes and not route.topic_name.startswith(SYS_PREFIX):
            self._remember(route)
        return route

    def _remember(self, route: Route) -> None:
        self.routes[route.topic_name] = route
        self.routes_bytes += len(route.topic_name) + len(route.targets) * POINTER_BYTES
        if len(self.routes) >= MATCH_CACHE_TOPICS // 2 or self.routes_bytes >= MATCH_CACHE_TARGETS * POINTER_BYTES:
            self.routes, self.routes_before = self.routes_before, self.routes
            self.routes.clear()  # in place, see `drain`
            self.routes_bytes = 0

    def forget_routes(self) -> None:
        """Match every topic anew: more than one subscription has changed."""
        self.routes.clear()
        self.routes_before.clear()
        self.routes_bytes = 0

    def _forget(self, topic_filter: bytes, wild: bool) -> None:
        self.changes += 1
        if wild:
            if self.routes or self.routes_before:
                self.forget_routes()
            return
        self.routes.pop(topic_filter, None)
        self.routes_before.pop(topic_filter, None)

    # Subscriptions

    def find(self, session: Session, topic_filter: bytes) -> Subscription | None:
        """The subscription of `session` with exactly this filter, or None."""
        share_name, bare = split_share(topic_filter)
        entry = self._entry(bare)
        if isinstance(entry, Subscription):
            return entry if entry.session is session and not share_name else None
        if not isinstance(entry, Subscribers):
            return None
        if not share_name:
            return entry.by_session.get(session)
        group = entry.groups.get(share_name) if entry.groups is not None else None
        return group.find(session) if group is not None else None

    def group(self, topic_filter: bytes) -> ShareGroup | None:
        """The group of a shared subscription's filter, or None."""
        share_name, bare = split_share(topic_filter)
        entry = self._entry(bare)
        if isinstance(entry, Subscribers) and entry.groups is not None:
            return entry.groups.get(share_name)
        return None

    def add(self, subscription: Subscription) -> bool:
        """Add a subscription that is not there yet; whether it is the first of its filter.

        A filter and its shared forms are different ones here and in `remove`.
        """
        share_name, bare = split_share(subscription.topic_filter)
        wild = is_wild(bare)
        entry = self._entry(bare)
        first = True
        self.count += 1
        self.dear_bytes += dear_bytes(subscription.topic_filter)
        if entry is None and not share_name:
            self._put(bare, wild, subscription)
            self._forget(bare, wild)
            return True
        if isinstance(entry, Subscribers):
            subscribers = entry
        else:
            subscribers = Subscribers()
            if isinstance(entry, Subscription):
                subscribers.by_session.put(entry.session, entry)
            self._put(bare, wild, subscribers)
        if share_name:
            self.shared_count += 1
            if subscribers.groups is None:
                subscribers.groups = {}
            group = subscribers.groups.get(share_name)
            if group is None:
                group = subscribers.groups[share_name] = ShareGroup(share_name)
            first = not group.members
            group.add(subscription)
        else:
            first = not len(subscribers.by_session)
            subscribers.by_session.put(subscription.session, subscription)
            subscribers.all = None
        self._forget(bare, wild)
        return first

    def changed(self, subscription: Subscription) -> None:
        """The options of a subscription have changed: routes that merged it are stale."""
        _share_name, bare = split_share(subscription.topic_filter)
        self._forget(bare, is_wild(bare))

    def remove(self, subscription: Subscription) -> bool:
        """Take a subscription out; whether it was the last of its filter."""
        share_name, bare = split_share(subscription.topic_filter)
        wild = is_wild(bare)
        entry = self._entry(bare)
        self.count -= 1
        self.dear_bytes -= dear_bytes(subscription.topic_filter)
        self._forget(bare, wild)
        last = True
        if isinstance(entry, Subscribers):
            if share_name:
                self.shared_count -= 1
                assert entry.groups is not None
                group = entry.groups[share_name]
                group.remove(subscription)
                last = not group.members
                if last:
                    del entry.groups[share_name]
                    if not entry.groups:
                        entry.groups = None
            else:
                entry.by_session.remove(subscription.session)
                entry.all = None
                last = not len(entry.by_session)
            if entry.groups is not None or len(entry.by_session) > 1:
                return last
            if len(entry.by_session):
                self._put(bare, wild, entry.subscriptions()[0])
                return last
        if wild:
            self._remove_wild(bare)
        else:
            self.exact.remove(bare)
        return last

    def _entry(self, bare: bytes) -> Entry | None:
        if not is_wild(bare):
            return self.exact.get(bare)
        node: Node | None = self.root
        for level in bare.split(b"/"):
            assert node is not None
            if level == b"#":
                return node.hash
            if level == b"+":
                node = node.plus
            else:
                node = node.child(level)
            if node is None:
                return None
        assert node is not None
        return node.here

    def _put(self, bare: bytes, wild: bool, entry: Entry) -> None:
        if not wild:
            self.exact.put(bare, entry)
            return
        node = self.root
        for level in bare.split(b"/"):
            if level == b"#":
                node.hash = entry
                return
            if level == b"+":
                if node.plus is None:
                    node.plus = Node()
                node = node.plus
                continue
            child = node.child(level)
            node = node.add_child(level) if child is None else child
        node.here = entry

    def _remove_wild(self, bare: bytes) -> None:
        """Take a filter out of the tree, with the nodes that lead nowhere else."""
        levels = bare.split(b"/")
        path: list[Node] = []
        node = self.root
        for level in levels:
            path.append(node)
            if level == b"#":
                node.hash = None
                break
            following = node.plus
            if level != b"+":
                following = node.child(level)
            assert following is not None
            node = following
        else:
            node.here = None
            path.append(node)
        for depth in range(len(path) - 1, 0, -1):
            node = path[depth]
            if not node.is_bare():
                return
            parent = path[depth - 1]
            level = levels[depth - 1]
            if level == b"+":
                parent.plus = None
            else:
                parent.remove_child(level)

    def statistics(self) -> dict[str, int]:
        """How many subscriptions there are, and routes remembered."""
        return {
            "subscriptions": int(self.count),
            "shared_subscriptions": int(self.shared_count),
            "routes": len(self.routes) + len(self.routes_before),
        }


def dear_bytes(topic_filter: bytes) -> i64:
    """The memory that a filter takes by its length and its levels, about; 0 for all but the longest and deepest."""
    taken: i64 = len(topic_filter) + topic_filter.count(b"/") * LEVEL_BYTES
    return taken if taken > DEAR_FILTER_BYTES else 0


def is_wild(topic_filter: bytes) -> bool:
    """Whether a valid topic filter has a wildcard."""
    return b"+" in topic_filter or b"#" in topic_filter
