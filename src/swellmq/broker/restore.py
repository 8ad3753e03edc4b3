"""What was stored comes back: sessions, subscriptions, messages, before the first client does."""

from __future__ import annotations

from typing import final

from mypy_extensions import mypyc_attr

from swellmq.broker.core import Core
from swellmq.broker.retained import Source
from swellmq.broker.session import QUEUED, Delivery, DeliveryQueue, Session, Subscription, message_bytes
from swellmq.broker.shelf import DELIVERY_BYTES, add_to_shelf, count_waiting
from swellmq.broker.storage import Restorer
from swellmq.broker.will import set_deadline
from swellmq.codec.packets import Publish


def restore(core: Core) -> None:
    """Load what the store has. Called once, before the first turn; the clocks of the turn are set."""
    turn = core.turn
    storage = core.storage
    storage.clock_base_ms = turn.wall_ms - turn.now_ms
    storage.load(CoreRestorer(core))
    if core.permissions is not None:
        core.begin_review()  # what was allowed when it was stored may not be so by now


@final
@mypyc_attr(native_class=True)
class CoreRestorer(Restorer):
    """Puts everything where a client's packets would have put it, without storing it again."""

    def __init__(self, core: Core) -> None:
        super().__init__()
        self.core = core

    def restore_session(self, session: Session) -> None:
        """A session waits for its client, its will for its delay."""
        self.core.sessions.put(session.client_id.encode(), session)
        set_deadline(self.core, session)

    def restore_subscription(self, subscription: Subscription) -> None:
        """A subscription is in force."""
        subscription.session.add_subscription(subscription)
        if self.core.topics.add(subscription) and self.core.uplink.enabled:
            self.core.uplink.route_added(subscription.topic_filter)

    def restore_delivery(self, session: Session, delivery: Delivery) -> bool:
        """A message waits, or is in flight and is sent again when its client is back, [MQTT-4.4.0-1]."""
        if delivery.state == QUEUED:
            if session.queue is None:
                session.queue = DeliveryQueue()
            queue = session.queue
            core = self.core
            if queue.shelved or core.waiting_bytes >= core.limits.waiting_bytes:
                if core.storage.fetches:
                    add_to_shelf(queue, delivery)
                    return False
            count_waiting(core, queue, message_bytes(delivery.publish) + DELIVERY_BYTES)
            queue.push(delivery)
            return True
        if session.inflight is None:
            session.inflight = {}
        session.inflight[int(delivery.packet_identifier)] = delivery
        session.packet_identifier = delivery.packet_identifier
        return True

    def restore_received(self, session: Session, packet_identifier: int) -> None:
        """A repetition of it will be recognised, [MQTT-4.3.3-10]."""
        if session.received is None:
            session.received = {}
        session.received[packet_identifier] = None

    def restore_retained(self, publish: Publish, source: Source | None) -> None:
        """A retained message."""
        self.core.retained.set(publish)
        if source is not None:
            self.core.retained.sources[publish.topic_name] = source
