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
from swellmq.codec.topic import matches, split_share
from swellmq.limits import DEAR_FILTER_BYTES, LEVEL_BYTES, MATCH_CACHE_TARGETS, MATCH_CACHE_TOPICS

DOLLAR: Final = 0x24
SYS_PREFIX: Final = b"$SYS/"  # what only the broker itself publishes
_BRIDGE_STATE: Final = b"$SYS/broker/connection/+/state"  # bridges say there whether they are connected
_NOT_FOR_CLIENTS: Final = (SYS_PREFIX, b"$share/", b"$CONTROL/")


def closed_to_clients(topic_name: bytes) -> bool:
    """Whether no client may publish to a topic: it is the broker's own, or nobody could ever get it."""
    return topic_name.startswith(_NOT_FOR_CLIENTS) and not matches(_BRIDGE_STATE, topic_name)


POINTER_BYTES: Final = 8
MERGE_VISITS: Final = 4  # what it takes to merge one subscription with others, in visits of nodes


@final
@mypyc_attr(native_class=True, acyclic=True)
class ShareGroup:
    """The members of one shared subscription, MQTT 5.0 section 4.8.2: each message goes to one of them."""

    def __init__(self, share_name: bytes) -> None:
        self.share_name = share_name
        self.members: list[Subscription] = []
        self.slots: dict[Session, int] = {}  # where each stands: a group of 100,000 must not be searched
        self.turn: i64 = 0  # whose turn it is

    def find(self, session: Session) -> Subscription | None:
        """The member that is a subscription of `session`, or None."""
        slot = self.slots.get(session)
        return None if slot is None else self.members[slot]

    def add(self, subscription: Subscription) -> None:
        """Take a member in."""
        self.slots[subscription.session] = len(self.members)
        self.members.append(subscription)

    def remove(self, subscription: Subscription) -> None:
        """Take a member out; the last one gets its place."""
        slot = self.slots.pop(subscription.session)
        last = self.members.pop()
        if last is not subscription:
            self.members[slot] = last
            self.slots[last.session] = slot


@final
@mypyc_attr(native_class=True, acyclic=True)
class Subscribers(Entry):
    """Several subscriptions of one topic filter, and the groups that share one."""

    def __init__(self) -> None:
        self.by_session: ShardedMap[Session, Subscription] = ShardedMap()
        self.groups: dict[bytes, ShareGroup] | None = None
        self.all: list[Subscription] | None = None  # the values of `by_session`, made when they are asked for

    def subscriptions(self) -> list[Subscription]:
        """All that are not shared. The list is kept until one changes; it is not to be changed."""
        found = self.all
        if found is None:
            found = self.all = self.by_session.values()
        return found


@final
@mypyc_attr(native_class=True, acyclic=True)
class Node:
    """One level of the tree of wildcard filters.

    Most nodes of deep filters have one child, and need no map for it: a filter of 200 levels takes a quarter so.
    """

    def __init__(self) -> None:
        self.only_level: bytes = b""  # of the only child, where there is no map
        self.only: Node | None = None
        self.children: ShardedMap[bytes, Node] | None = None  # once there was more than one
        self.plus: Node | None = None  # the level is "+"
        self.here: Entry | None = None  # filters that end at this level
        self.hash: Entry | None = None  # filters that end with "#" below this level

    def child(self, level: bytes) -> Node | None:
        """The child for a level without wildcards."""
        if self.only is not None:
            return self.only if self.only_level == level else None
        return self.children.get(level) if self.children is not None else None

    def add_child(self, level: bytes) -> Node:
        """A new child for a level that has none."""
        child = Node()
        if self.only is None and self.children is None:
            self.only_level = level
            self.only = child
            return child
        children = self.children
        if children is None:
            children = self.children = ShardedMap()
        if self.only is not None:
            children.put(self.only_level, self.only)
            self.only_level = b""
            self.only = None
        children.put(level, child)
        return child

    def remove_child(self, level: bytes) -> None:
        """Take a child out that is there."""
        if self.only is not None:
            self.only_level = b""
            self.only = None
        elif self.children is not None:
            self.children.remove(level)
            if not len(self.children):
                self.children = None

    def is_bare(self) -> bool:
        """Whether no filter ends here, or leads through here to a level without wildcards or to "+"."""
        return (
            self.here is None
            and self.hash is None
            and self.plus is None
            and self.only is None
            and self.children is None
        )


@final
@mypyc_attr(native_class=True, acyclic=True)
class Route:
    """Where messages of one topic name go."""

    def __init__(self, topic_name: bytes) -> None:
        self.topic_name = topic_name
        self.targets: list[Subscription] = NO_TARGETS
        self.solo: Subscription | None = None  # the only target, where there is one and no group
        self.groups: list[ShareGroup] | None = None
        # A session may get two copies of a message (by a target and a group, or by two targets): those of the next
        # one come after them.
        self.mixed: bool = False
        self.publisher: i64 = 0  # the number of the last session that was found to be allowed to publish here


NO_TARGETS: Final[list[Subscription]] = []


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
        route = Route(topic_name)
        entries = self._entries(topic_name)  # [MQTT-3.3.2-3]
        self.visited += len(entries)
        if len(entries) == 1:
            entry = entries[0]
            if isinstance(entry, Subscription):
                route.targets = [entry]
            elif isinstance(entry, Subscribers):
                route.targets = entry.subscriptions()
                if entry.groups is not None:
                    route.groups = list(entry.groups.values())
        elif entries and self.one_each:
            _join(entries, route)
        elif entries:
            self.visited += _merge(entries, route) * MERGE_VISITS
        self.visited += len(route.targets)
        if self.permissions is not None:
            route.targets = self.permissions.receivers(route.targets, topic_name)
        if route.groups is not None:
            route.mixed = route.mixed or bool(route.targets)
        elif len(route.targets) == 1:
            route.solo = route.targets[0]
        if not topic_name.startswith(SYS_PREFIX):  # without a route they are looked at one by one, see `on_publish`
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
        if wild:
            if self.routes or self.routes_before:
                self.forget_routes()
            return
        self.routes.pop(topic_filter, None)
        self.routes_before.pop(topic_filter, None)

    def _entries(self, topic_name: bytes) -> list[Entry]:
        found: list[Entry] = []
        exact = self.exact.get(topic_name)
        if exact is not None:
            found.append(exact)
        root = self.root
        if root.is_bare():
            return found
        level_nodes: list[Node] = [root]
        wildcards = topic_name[0] != DOLLAR  # [MQTT-4.7.2-1]: a leading wildcard never matches "$..."
        for level in topic_name.split(b"/"):
            following: list[Node] = []
            for node in level_nodes:
                if wildcards:
                    if node.hash is not None:
                        found.append(node.hash)
                    if node.plus is not None:
                        following.append(node.plus)
                child = node.child(level)
                if child is not None:
                    following.append(child)
            wildcards = True
            level_nodes = following
            if not following:
                return found
            self.visited += len(following)
        for node in level_nodes:
            if node.here is not None:
                found.append(node.here)
            if node.hash is not None:
                found.append(node.hash)  # "sport/#" matches "sport" too
        return found

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


def _join(entries: list[Entry], route: Route) -> None:
    """Fill `route` from several filters; a session stands there once for each of its subscriptions that match."""
    groups: list[ShareGroup] = []
    route.targets = []
    sessions: set[Session] = set()
    for entry in entries:
        if isinstance(entry, Subscription):
            route.targets.append(entry)
            sessions.add(entry.session)
        else:
            assert isinstance(entry, Subscribers)
            route.targets.extend(entry.subscriptions())
            sessions.update([subscription.session for subscription in entry.subscriptions()])
            if entry.groups is not None:
                groups.extend(entry.groups.values())
    route.mixed = len(sessions) < len(route.targets)
    if groups:
        route.groups = groups


def _merge(entries: list[Entry], route: Route) -> int:
    """Fill `route` from several filters. A session that matches more than once gets one message, at the highest QoS
    and with all its Subscription Identifiers, MQTT 5.0 section 3.3.4. How many subscriptions were looked at.
    """
    looked = 0
    by_session: dict[Session, Subscription] = {}
    several: dict[Session, list[Subscription]] = {}
    groups: list[ShareGroup] = []
    for entry in entries:
        if isinstance(entry, Subscription):
            found = [entry]
        else:
            assert isinstance(entry, Subscribers)
            found = entry.subscriptions()
            if entry.groups is not None:
                groups.extend(entry.groups.values())
        looked += len(found)
        for subscription in found:
            session = subscription.session
            other = by_session.get(session)
            if other is None:
                by_session[session] = subscription
            elif session in several:
                several[session].append(subscription)
            else:
                several[session] = [other, subscription]
    for session, matching in several.items():
        by_session[session] = _merged(matching)
    route.targets = list(by_session.values())
    if groups:
        route.groups = groups
    return looked


def _merged(matching: list[Subscription]) -> Subscription:
    """One subscription that stands for all of one session that match, for one Route."""
    merged = Subscription(matching[0].session, matching[0].topic_filter)
    identifiers: list[int] = []
    rest: list[Subscription] = []  # those that let the session's own messages through
    for subscription in matching:
        merged.qos = max(merged.qos, subscription.qos)  # [MQTT-3.3.4-2]
        if subscription.retain_as_published:
            merged.retain_as_published = True
        if subscription.identifiers is not None:
            identifiers.extend(subscription.identifiers)  # [MQTT-3.3.4-4]
        if subscription.no_local:
            merged.no_local = True
        else:
            rest.append(subscription)
        if not subscription.plain:
            merged.plain = False
    if identifiers:
        merged.identifiers = identifiers
    if merged.no_local and rest:
        merged.own = rest[0] if len(rest) == 1 else _merged(rest)  # goes no deeper: none of these has No Local
    return merged
