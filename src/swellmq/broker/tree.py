"""The tree of topic filters with wildcards, the search that a topic name makes in it, and what it finds: a Route.

Filters may cross: a client that subscribes to a/+/c, +/b/c and all others of their kind makes 2 to the power of n nodes
for n levels, and each message visits them all. So a search goes on in steps.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64, mypyc_attr

from swellmq.broker.session import Entry, Session, Subscription
from swellmq.broker.sharded import ShardedMap

DOLLAR: Final = 0x24
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


NO_TARGETS: Final[list[Subscription]] = []


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


@final
@mypyc_attr(native_class=True, acyclic=True)
class Search:
    """A topic name on its way to its subscribers. Filters may come and go between its steps: those that come may still
    be found, and those that were found may be gone."""

    def __init__(self, topic_name: bytes, exact: Entry | None, root: Node, one_each: bool, changes: i64) -> None:
        self.route = Route(topic_name)
        self.one_each = one_each
        self.changes = changes  # of all filters, when it began
        self.visited: i64 = 0  # nodes, and subscriptions that were found
        self.entries: list[Entry] = [] if exact is None else [exact]
        self.levels: list[bytes] = []
        self.depth: i64 = 0  # of `nodes`
        self.nodes: list[Node] = []  # that the levels above lead to
        self.next: i64 = 0  # the first of them whose children were not looked for
        self.following: list[Node] = []  # and those of the others
        if not root.is_bare():
            self.levels = topic_name.split(b"/")
            self.nodes.append(root)
        # Where several filters were found, each session is to get one message.
        self.merging: bool = False
        self.entry: i64 = 0  # the one whose subscriptions are `found`
        self.found: list[Subscription] = NO_TARGETS
        self.by_session: dict[Session, Subscription] = {}
        self.several: dict[Session, list[Subscription]] = {}

    def go_on(self, visits_max: i64) -> bool:
        """Search on, for so many visits, about; whether all is found."""
        until = self.visited + visits_max
        while self.nodes:
            if self.visited >= until:
                return False
            self._step(min(len(self.nodes), self.next + until - self.visited))
        entries = self.entries
        route = self.route
        if len(entries) > 1 and not self.one_each:
            return self._merge_on(until)
        if len(entries) == 1:
            entry = entries[0]
            if isinstance(entry, Subscription):
                route.targets = [entry]
            elif isinstance(entry, Subscribers):
                route.targets = entry.subscriptions()
                if entry.groups is not None:
                    route.groups = list(entry.groups.values())
        elif entries:
            _join(entries, route)
        self.visited += len(entries) + len(route.targets)
        return True

    def _step(self, end: i64) -> None:
        """Look at the nodes of one depth, up to index `end`."""
        nodes = self.nodes
        index = self.next
        self.visited += end - index
        entries = self.entries
        if self.depth == len(self.levels):
            while index < end:
                node = nodes[index]
                index += 1
                if node.here is not None:
                    entries.append(node.here)
                if node.hash is not None:
                    entries.append(node.hash)  # "sport/#" matches "sport" too
        else:
            level = self.levels[self.depth]
            following = self.following
            # [MQTT-4.7.2-1]: a leading wildcard never matches "$..."
            wildcards = self.depth > 0 or self.route.topic_name[0] != DOLLAR
            while index < end:
                node = nodes[index]
                index += 1
                if wildcards:
                    if node.hash is not None:
                        entries.append(node.hash)
                    if node.plus is not None:
                        following.append(node.plus)
                child = node.child(level)
                if child is not None:
                    following.append(child)
        self.next = index
        if index == len(nodes):
            self.depth += 1
            self.nodes = self.following
            self.following = []
            self.next = 0

    def _merge_on(self, until: i64) -> bool:
        """Merge what was found. A session that matches more than once gets one message, at the highest QoS and with all
        its Subscription Identifiers, MQTT 5.0 section 3.3.4."""
        route = self.route
        by_session = self.by_session
        several = self.several
        while self.entry < len(self.entries):
            if self.visited >= until:
                return False
            found = self.found
            if not self.merging:
                self.merging = True
                self.next = 0
                entry = self.entries[self.entry]
                if isinstance(entry, Subscription):
                    found = self.found = [entry]
                else:
                    assert isinstance(entry, Subscribers)
                    found = self.found = entry.subscriptions()
                    if entry.groups is not None:
                        if route.groups is None:
                            route.groups = []
                        route.groups.extend(entry.groups.values())
            index = self.next
            end = min(len(found), index + (until - self.visited) // MERGE_VISITS + 1)
            self.visited += 1 + (end - index) * MERGE_VISITS
            while index < end:
                subscription = found[index]
                index += 1
                session = subscription.session
                other = by_session.get(session)
                if other is None:
                    by_session[session] = subscription
                elif session in several:
                    several[session].append(subscription)
                else:
                    several[session] = [other, subscription]
            self.next = index
            if index == len(found):
                self.merging = False
                self.entry += 1
        while several:
            if self.visited >= until:
                return False
            session, matching = several.popitem()
            self.visited += len(matching)
            matching = [subscription for subscription in matching if subscription.position >= 0]  # the others have gone
            if matching:
                by_session[session] = matching[0] if len(matching) == 1 else _merged(matching)
        route.targets = list(by_session.values())
        self.visited += len(route.targets)
        return True


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
