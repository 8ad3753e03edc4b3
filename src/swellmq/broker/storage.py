"""The seam to persistence. This base class keeps nothing: every ticket is stored at once, and nothing is ever held.

The broker calls a method for each durable change as it happens, and `seal` once at the end of each turn that changed
something. What a client is told about those changes leaves only when `stored` has reached the sealed ticket. A store
that commits elsewhere counts `stored` up there and wakes the loop. At start `load` gives back what was kept.
"""

from __future__ import annotations

from collections import deque
from typing import final

from mypy_extensions import i64, mypyc_attr

from swellmq.broker.retained import Source
from swellmq.broker.session import Delivery, Session, Subscription
from swellmq.codec.packets import Publish


@mypyc_attr(native_class=True, allow_interpreted_subclasses=True)
class Restorer:
    """Who takes back what was stored: the broker, before its first turn. Sessions first, then what belongs to them."""

    def restore_session(self, session: Session) -> None:
        """A session without its client: client id, username, expiry interval, will, and `since_ms` on the monotonic
        clock, where what lies before its start is negative. A client that was connected when the broker went down has
        left at its next start."""

    def restore_subscription(self, subscription: Subscription) -> None:
        """A subscription of a session that was restored."""

    def restore_delivery(self, session: Session, delivery: Delivery) -> bool:
        """A message for a session; they come in the order in which they were given to it. False: it stays on disk."""
        return True

    def restore_received(self, session: Session, packet_identifier: int) -> None:
        """A QoS 2 message that its client has not released yet."""

    def restore_retained(self, publish: Publish, source: Source | None) -> None:
        """A retained message, and who published it where access control wants to know."""


@final
@mypyc_attr(native_class=True)
class Fetched:
    """What was read back for a session: all that was asked for, in order; None where it could not be read."""

    def __init__(self, session: Session, deliveries: list[Delivery] | None) -> None:
        self.session = session
        self.deliveries = deliveries


@mypyc_attr(native_class=True, allow_interpreted_subclasses=True)
class Storage:
    """Where durable state goes. All calls come from the loop's thread and must not block, save `load` and `close`."""

    def __init__(self) -> None:
        self.durable: bool = False  # whether the broker reports changes and holds output at all
        self.stored: i64 = 0  # the last ticket that is safe
        self.written: i64 = 0  # the last ticket that the system has, though it may not be on disk
        self.eager: bool = False  # whether some client waits for `written` only
        self.refusal: int = 0  # the reason code with which durable work is refused for now; 0: it is not
        self.fetches: bool = False  # whether it reads messages back, so that they need not stay in memory
        # What was read back: the store appends, in whatever thread it reads, and wakes the loop, which takes them out.
        # A deque is made for that; a list that is replaced would lose what is appended meanwhile.
        self.fetched: deque[Fetched] = deque()
        self.clock_ms: i64 = 0  # the wall clock of the turn that is sealed
        self.clock_base_ms: i64 = 0  # the wall clock less the monotonic one; fixed while the broker runs

    def open(self, wall_ms: i64) -> i64:
        """Take possession of what is stored. Returns the wall clock to begin with, where the system's says `wall_ms`:
        a store knows how far it was before."""
        return wall_ms

    def load(self, restorer: Restorer) -> None:
        """Give all that is stored to `restorer`. Called once, after `open` and before the first change."""

    def statistics(self) -> dict[str, int]:
        """Counts and sizes worth watching, by name."""
        return {}

    def close(self) -> None:
        """The broker has ended: what was sealed is made safe, and everything let go. A second call does nothing."""

    def fetch(self, session: Session, first: i64) -> None:
        """Read back the queued messages of `session`, from the store's number `first` to the last one saved by now."""

    def seal(self, ticket: i64) -> None:
        """All changes since the last call are batch `ticket`; set `stored` to it once they are safe.

        Where it raises nothing was sealed: the broker holds what depends on it, and seals again under this ticket.
        """

    def session_saved(self, session: Session) -> None:
        """A session that outlives its connection was made, or its expiry, will or user changed, or its client left."""

    def session_removed(self, session: Session) -> None:
        """A session has ended, with all that belongs to it."""

    def subscription_saved(self, subscription: Subscription) -> None:
        """A subscription of a kept session was made or changed."""

    def subscription_removed(self, subscription: Subscription) -> None:
        """A subscription of a kept session was removed."""

    def delivery_saved(self, session: Session, delivery: Delivery) -> None:
        """A QoS 1 or 2 message for a kept session was queued, sent or released; `delivery.state` says which."""

    def delivery_removed(self, session: Session, delivery: Delivery) -> None:
        """A message for a kept session was acknowledged to the end, or dropped."""

    def received_saved(self, session: Session, packet_identifier: int) -> None:
        """A QoS 2 message was taken from the client of a kept session and awaits its PUBREL."""

    def received_removed(self, session: Session, packet_identifier: int) -> None:
        """Its PUBREL came."""

    def retained_saved(self, publish: Publish, source: Source | None) -> None:
        """A retained message was set, by `source` where access control wants to know later."""

    def retained_removed(self, topic_name: bytes) -> None:
        """A retained message was cleared or has expired."""
