"""The seam to persistence. This base class keeps nothing: every ticket is stored at once, and nothing is ever held.

The broker calls a method for each durable change as it happens, and `seal` once at the end of each turn that changed
something. What a client is told about those changes leaves only when `stored` has reached the sealed ticket. A store
that commits elsewhere counts `stored` up there and wakes the loop.
"""

from __future__ import annotations

from mypy_extensions import i64, mypyc_attr

from swellmq.broker.session import Delivery, Session, Subscription
from swellmq.codec.packets import Publish


@mypyc_attr(native_class=True, allow_interpreted_subclasses=True)
class Storage:
    """Where durable state goes. All calls come from the loop's thread and must not block."""

    def __init__(self) -> None:
        self.durable: bool = False  # whether the broker reports changes and holds output at all
        self.stored: i64 = 0  # the last ticket that is safe

    def seal(self, ticket: i64) -> None:
        """All changes since the last call are batch `ticket`; set `stored` to it once they are safe."""

    def session_saved(self, session: Session) -> None:
        """A session that outlives its connection was made, or its expiry, will or user changed."""

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

    def retained_saved(self, publish: Publish) -> None:
        """A retained message was set."""

    def retained_removed(self, topic_name: bytes) -> None:
        """A retained message was cleared or has expired."""
