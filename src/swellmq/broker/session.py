"""Session, which outlives its connections; Subscription, which joins it to a topic filter; Delivery, one message of it.

A session owns its subscriptions, and each names its session: that circle, and the one between a session and its
connection, are the only ones in the broker. The classes are acyclic for the collector, so both are cut by hand: at
`detach` and when a session ends. A test asserts that the numbers of live objects return to zero.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, final

from mypy_extensions import i32, i64, mypyc_attr, u8

from swellmq.broker.retained import Replay
from swellmq.codec.packets import Publish, Will
from swellmq.connection import Connection, Owner
from swellmq.errors import printable

# Delivery.state
QUEUED: Final = 0
SENT: Final = 1  # PUBLISH is under way
RELEASED: Final = 2  # QoS 2: PUBREC came, PUBREL is under way
UNSENT: Final = 3  # in flight on an earlier connection, not yet sent again on this one


@mypyc_attr(native_class=True, acyclic=True)
class Entry:
    """Who gets the messages of one topic filter: a lone Subscription, or Subscribers."""


@final
@mypyc_attr(native_class=True, acyclic=True)
class Subscription(Entry):
    """One subscription of one session, MQTT 5.0 section 3.8.3."""

    def __init__(self, session: Session, topic_filter: bytes) -> None:
        self.session = session
        self.topic_filter = topic_filter  # as the client gave it, with $share where it is shared
        self.identifiers: list[int] | None = None  # Subscription Identifiers; several only where matches were merged
        self.own: Subscription | None = None  # what No Local leaves for the client's own messages, where merged
        self.position: i32 = 0  # in the session's list; -1: it was removed
        self.qos: u8 = 0
        self.no_local: bool = False
        self.retain_as_published: bool = False
        self.plain: bool = True  # no option or identifier changes what a QoS 0 message looks like


@final
@mypyc_attr(native_class=True, acyclic=True)
class Delivery:
    """One message on its way to one session: queued, or in flight under a packet identifier."""

    def __init__(
        self, publish: Publish, qos: u8, retain: bool, identifiers: list[int] | None, shared: bytes | None
    ) -> None:
        self.publish = publish
        self.identifiers = identifiers
        self.shared = shared  # the filter of the shared subscription that it came by, "$share/..."
        self.stored_id: i64 = 0  # the store's number for it; 0: it is not there
        self.packet_identifier: i32 = 0
        self.qos: u8 = qos
        self.state: u8 = QUEUED
        self.retain = retain

    def copy(self) -> Delivery:
        """The same for one session alone: those of a run may be shared (see `runs.py`). Not for what is stored."""
        delivery = Delivery(self.publish, self.qos, self.retain, self.identifiers, self.shared)
        delivery.packet_identifier = self.packet_identifier
        delivery.state = self.state
        return delivery


def _passed_on(qos: u8, state: u8) -> Delivery:
    delivery = Delivery(Publish(b"", b"", qos, False), qos, False, None, None)
    delivery.state = state
    return delivery


# What is in flight to a session that ends with its connection: one for all, since it will never be sent again, and its
# packet identifier and how far it is are all that is ever looked at. Another takes its place when it is released.
PASSED_ON: Final = _passed_on(1, SENT)
PASSED_ON_2: Final = _passed_on(2, SENT)
RELEASED_ON: Final = _passed_on(2, RELEASED)


def message_bytes(publish: Publish) -> i64:
    """What counts against the limits of a queue; properties may be larger than the payload."""
    return len(publish.topic_name) + len(publish.payload) + len(publish.properties)


@final
@mypyc_attr(native_class=True, acyclic=True)
class DeliveryQueue:
    """Deliveries that wait, in order. A list with a head: popping costs nothing, and it shrinks as it empties."""

    def __init__(self) -> None:
        self.items: list[Delivery | None] = []
        self.head: i64 = 0
        self.bytes: i64 = 0  # as `message_bytes` counts
        self.counted: i64 = 0  # in `Core.waiting_bytes`: memory of what waits here while the client is away
        # What waits on disk only, behind all that is here (see shelf.py).
        self.shelved: i64 = 0  # messages
        self.shelved_bytes: i64 = 0
        self.shelved_from: i64 = 0  # the store's number for the first of them
        self.late: list[Delivery] | None = None  # what came while they are read back

    def __len__(self) -> int:
        return len(self.items) - int(self.head)

    def push(self, delivery: Delivery) -> None:
        """Append at the end."""
        self.items.append(delivery)
        self.bytes += message_bytes(delivery.publish)

    def first(self) -> Delivery | None:
        """The first, which stays; None where there is none."""
        return self.items[self.head] if self.head < len(self.items) else None

    def shares(self) -> bool:
        """Whether some came by a shared subscription."""
        for index in range(self.head, len(self.items)):
            delivery = self.items[index]
            if delivery is not None and delivery.shared is not None:
                return True
        return False

    def pop(self) -> Delivery | None:
        """Take the first, or None."""
        head = self.head
        if head >= len(self.items):
            return None
        delivery = self.items[head]
        assert delivery is not None
        self.items[head] = None
        head += 1
        if head >= 64 and head * 2 >= len(self.items):
            del self.items[:head]
            head = 0
        self.head = head
        self.bytes -= message_bytes(delivery.publish)
        return delivery


@final
@mypyc_attr(native_class=True, acyclic=True)
class Session(Owner):
    """The state of one client id, MQTT 5.0 section 4.1. What most sessions never use is None until it is used."""

    def __init__(self, client_id: str) -> None:
        self.deadline_ms: i64 = 0  # while no client is connected: when to look whether its will is due, or its end
        self.client_id = client_id
        self.connection: Connection | None = None
        self.username: str | None = None
        self.number: i64 = 0  # under which what it may do is remembered; 0: nobody has asked yet
        self.will: Will | None = None
        self.since_ms: i64 = 0  # when its CONNECT came; while none is connected, when the last one left
        self.expiry_interval: i64 = 0  # seconds; 0xFFFFFFFF: never
        self.stored_id: i64 = 0  # the store's number for it; 0: it is not there
        self.first: Subscription | None = None  # most sessions have one subscription, and then need no list
        self.others: list[Subscription] | None = None
        self.inflight: dict[int, Delivery] | None = None  # by packet identifier, in the order they were sent
        self.queue: DeliveryQueue | None = None
        # QoS 2 from the client: its packet identifiers until PUBREL, with those messages that are only routed then.
        self.received: dict[int, Publish | None] | None = None
        self.replays: OrderedDict[bytes, Replay] | None = None  # retained messages that are still to be sent
        self.packet_identifier: i32 = 0  # the last one given out
        self.window: i32 = 0  # deliveries that count against Receive Maximum
        self.unsent: i32 = 0  # deliveries in flight that are still to be sent again
        self.crowded: bool = False  # listed in `Core.crowded`
        self.ended: bool = False
        self.expiry_asked: bool = False  # the last CONNECT had a Session Expiry Interval above 0

    def next_packet_identifier(self) -> int:
        """A packet identifier that is not in use, MQTT 5.0 section 2.2.1. The window keeps at least one free."""
        inflight = self.inflight
        identifier: i32 = self.packet_identifier
        while True:
            identifier = identifier + 1 if identifier < 65_535 else 1
            if inflight is None or identifier not in inflight:  # [MQTT-2.2.1-4]
                self.packet_identifier = identifier
                return identifier

    def name(self) -> str:
        """The client id as it may stand in a log line."""
        return printable(self.client_id)

    def subscriptions(self) -> list[Subscription]:
        """All subscriptions of this session, in a list of their own."""
        if self.first is None:
            return []
        return [self.first] if self.others is None else [self.first, *self.others]

    def subscription_count(self) -> int:
        """How many subscriptions this session has."""
        if self.first is None:
            return 0
        return 1 if self.others is None else 1 + len(self.others)

    def add_subscription(self, subscription: Subscription) -> None:
        """Note a new subscription of this session."""
        if self.first is None:
            subscription.position = 0
            self.first = subscription
        elif self.others is None:
            subscription.position = 1
            self.others = [subscription]
        else:
            subscription.position = 1 + len(self.others)
            self.others.append(subscription)

    def remove_subscription(self, subscription: Subscription) -> None:
        """Forget a subscription of this session; the last one takes its place."""
        position = subscription.position
        subscription.position = -1
        others = self.others
        if others is None:
            assert self.first is subscription
            self.first = None
            return
        last = others.pop()
        if last is not subscription:
            last.position = position
            if position == 0:
                self.first = last
            else:
                others[position - 1] = last
        if not others:
            self.others = None

    def queued(self) -> int:
        """How many messages wait for this session."""
        return len(self.queue) if self.queue is not None else 0

    def statistics(self) -> dict[str, int]:
        """How much this session holds."""
        return {
            "subscriptions": self.subscription_count(),
            "inflight": len(self.inflight) if self.inflight is not None else 0,
            "queued": self.queued(),
            "queued_bytes": int(self.queue.bytes) if self.queue is not None else 0,
            "received": len(self.received) if self.received is not None else 0,
        }
