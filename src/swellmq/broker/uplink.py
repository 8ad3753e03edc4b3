"""The seam to a cluster. This base class is a broker on its own: nothing is forwarded and nobody is asked.

What may have to wait for other nodes returns False for "not yet" and is answered later with `Broker.resume(token, …)`.
Messages from other nodes come in by `Broker.inject(publish)`.
"""

from __future__ import annotations

from mypy_extensions import i64, mypyc_attr

from swellmq.broker.session import Subscription
from swellmq.codec.packets import Publish


@mypyc_attr(native_class=True, allow_interpreted_subclasses=True)
class Uplink:
    """The other nodes. All calls come from the loop's thread and must not block."""

    # The broker opens no MQTT connection of its own, so it need not be a client [MQTT311-7.0.0-1].
    def __init__(self) -> None:
        self.enabled: bool = False  # whether the broker calls any of these
        self.stored: i64 = 0  # the last ticket whose messages the cluster has taken

    def route_added(self, topic_filter: bytes) -> None:
        """The first subscription of a filter was made here."""

    def route_removed(self, topic_filter: bytes) -> None:
        """The last subscription of a filter here has gone."""

    def publish(self, publish: Publish, ticket: i64) -> None:
        """A message was published here; it belongs to batch `ticket`."""

    def seal(self, ticket: i64) -> None:
        """Batch `ticket` is complete; set `stored` to it once the cluster has taken its messages."""

    def acquire(self, client_id: str, token: int) -> bool:
        """Make this node the home of `client_id`; False: not yet, `resume(token, …)` will tell."""
        return True

    def barrier(self, client_id: str, token: int) -> bool:
        """Whether the cluster knows this client's new routes, so that SUBACK may leave; False: not yet."""
        return True

    def pick(self, share_name: bytes, members: list[Subscription]) -> int:
        """The index of the member of a shared group that gets the next message; -1: another node's member does."""
        return 0
