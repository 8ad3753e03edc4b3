"""What the simulator's oracle knows: messages, subscriptions, sessions, connections, and what each session may expect.

Plain data, written from the specification and not from the broker. Iteration is over dictionaries only, never over
sets, so that a seed gives the same run whatever PYTHONHASHSEED is.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import count

Grant = tuple[int, bool, tuple[int, ...]]  # QoS, RETAIN flag, Subscription Identifiers in ascending order


class Violation(AssertionError):
    """The broker broke a promise, or did what nothing entitled it to."""


def matches(topic_filter: str, topic_name: str) -> bool:
    """Whether a filter without `$share` matches a topic name, MQTT 5.0 section 4.7."""
    filter_levels = topic_filter.split("/")
    levels = topic_name.split("/")
    if topic_name.startswith("$") and filter_levels[0] in ("+", "#"):
        return False
    for index, level in enumerate(filter_levels):
        if level == "#":
            return True
        if index >= len(levels) or (level != "+" and level != levels[index]):
            return False
    return len(filter_levels) == len(levels)


@dataclass(eq=False)
class Message:
    """One application message as it was routed; a repetition by its publisher at QoS 1 is another one."""

    number: int  # in the order of routing
    topic: str
    payload: bytes
    qos: int
    retain: bool
    publisher: str
    interval_s: int = -1  # Message Expiry Interval; -1: none
    expires_ms: int = -1  # wall clock

    def expired(self, wall_ms: int) -> bool:
        return 0 <= self.expires_ms <= wall_ms


@dataclass(eq=False)
class Subscription:
    topic_filter: str  # without $share
    share_name: str = ""
    qos: int = 0
    no_local: bool = False
    retain_as_published: bool = False
    identifier: int = 0  # 0: none


@dataclass(eq=False)
class Expect:
    """A message that one session is entitled to, or one member of a shared group."""

    message: Message
    grants: dict[Session, list[Grant]]  # a single one, except where a shared group has several members
    created: int  # turn
    connection: Connection | None = None  # at that time; None as well in a shared group
    shared: tuple[str, str] | None = None  # share name and filter
    replayed: bool = False  # a retained message for a new subscription
    required: bool = True  # False: it may be dropped
    sent: bool = False  # or given up
    ticket: int = 0  # that must be stored before it is sent at QoS 2


@dataclass(eq=False)
class Flight:
    """A QoS 1 or 2 delivery under its packet identifier."""

    expect: Expect
    qos: int
    connection: Connection  # on which it was last sent
    order: int
    released: bool = False  # PUBREC came
    may_vanish: bool = False  # above the Maximum Packet Size of a later connection: counts as delivered


@dataclass(eq=False)
class Sent:
    """A retained message as it was sent for a new subscription."""

    connection: Connection
    payload: bytes
    qos: int
    identifiers: tuple[int, ...]
    turn: int


@dataclass(eq=False)
class Replay:
    """The retained messages that one SUBSCRIBE asks for."""

    subscription: Subscription
    grant_qos: int
    started: int  # number of the last message routed before
    turn: int  # in which it began
    packet_bytes_max: int  # the smallest Maximum Packet Size of all connections since; 0: none
    done: dict[str, Sent] = field(default_factory=dict)  # what was sent, by topic
    required: bool = True  # False: the subscription is gone
    held_lost: bool = False  # QoS 0 of it that waited for the store was lost with its connection


@dataclass(eq=False)
class Granted:
    """What a SUBSCRIBE has come to, until it is acknowledged."""

    codes: list[int] = field(default_factory=list)
    ticket: int = 0  # as of an answer, see `Connection.owe`
    retained: list[tuple[Subscription, int]] = field(default_factory=list)  # with the QoS, those to be replayed


@dataclass(eq=False)
class Will:
    topic: str
    payload: bytes
    qos: int
    retain: bool
    delay_s: int
    interval_s: int


@dataclass(eq=False)
class Session:
    """The state of one client id."""

    client_id: str
    expiry_s: int = 0
    connection: Connection | None = None
    number: int = field(default_factory=count(1).__next__)  # no two sessions have the same; a copy has
    ended: bool = False
    subscriptions: dict[str, Subscription] = field(default_factory=dict)  # by the filter as the client gave it
    routes: dict[str, list[Subscription]] = field(default_factory=dict)  # by topic name, until the former change
    pending: dict[bytes, list[Expect]] = field(default_factory=dict)  # not yet sent, by payload
    flights: dict[int, Flight] = field(default_factory=dict)  # by packet identifier, in the order they were sent
    received: dict[int, bool] = field(default_factory=dict)  # QoS 2 from the client, until PUBREL
    replays: list[Replay] = field(default_factory=list)
    will: Will | None = None
    will_due_ms: int = -1
    expires_due_ms: int = -1
    untold: int = 0  # empty messages that may wait for it, see `Oracle.route`
    shelf: bool = False  # some of its messages may be on disk only
    left: int = -1  # turn in which the last connection was lost
    left_ms: int = 0  # and when
    order: dict[tuple[str, str, int, int], int] = field(default_factory=dict)  # last message number of each stream

    def live(self) -> Connection | None:
        """The connection that what is sent now would reach."""
        return self.connection if self.connection is not None and self.connection.open else None

    def matching(self, topic_name: str) -> list[Subscription]:
        """Those subscriptions, not shared, that match."""
        found = self.routes.get(topic_name)
        if found is None:
            found = self.routes[topic_name] = [
                one
                for one in self.subscriptions.values()
                if not one.share_name and matches(one.topic_filter, topic_name)
            ]
        return found


@dataclass(eq=False)
class Connection:
    """One connection, from its CONNECT on."""

    name: str
    session: Session  # an empty one until it is admitted
    version: int
    arrived_ms: int = 0  # when its CONNECT came
    admitted: bool = False
    session_present: bool = False
    refused: int = 0  # reason code of the CONNACK that refuses it
    receive_maximum: int = 65_535
    topic_alias_maximum: int = 0
    packet_bytes_max: int = 0
    keep_alive_s: int = 0
    last_ms: int = 0  # when the client last sent something
    open: bool = True  # False: marked for closing, nothing more is handled
    detached: bool = False  # and gone
    ends_as: str = ""  # the reason for which it must be closed by now
    will_wanted: bool = True
    acknowledged: bool = False  # CONNACK was sent
    ticket: int = 0  # of that CONNACK
    parting: int = -1  # reason code of the DISCONNECT it must get or got
    parted: bool = False  # and has got
    aliases: dict[int, str] = field(default_factory=dict)
    outstanding: dict[int, bool] = field(default_factory=dict)  # packet identifiers that count for Receive Maximum
    resent: dict[int, int] = field(default_factory=dict)  # order of the last delivery that was sent again
    owed: dict[int, deque[tuple[int, tuple[int, ...], int]]] = field(default_factory=dict)  # answers, by packet type
    stalled_ms: int = -1  # since when output waits for a client that takes nothing

    def owe(self, packet_type: int, identifier: int, *reason_codes: int, ticket: int = 0) -> None:
        """The next answer of this type; one of these reason codes, or for SUBACK and UNSUBACK all of them.

        It must not leave before `ticket` is stored.
        """
        self.owed.setdefault(packet_type, deque()).append((identifier, reason_codes, ticket))
