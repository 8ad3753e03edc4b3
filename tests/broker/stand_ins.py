"""Stand-ins for the seams: a store that commits late, access that answers late, a cluster that takes its time."""

from __future__ import annotations

from swellmq.broker.access import Access, Request, SessionEvent
from swellmq.broker.retained import Source
from swellmq.broker.session import Delivery, Session, Subscription
from swellmq.broker.storage import Storage
from swellmq.broker.uplink import Uplink
from swellmq.codec.packets import Publish


class DelayedStorage(Storage):
    """Records all calls; a batch is stored when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.durable = True
        self.calls: list[tuple[object, ...]] = []
        self.sealed = 0

    def commit(self, ticket: int | None = None) -> None:
        """Now all batches up to `ticket` are safe; by default all that were sealed."""
        self.stored = self.sealed if ticket is None else ticket

    def take_calls(self) -> list[tuple[object, ...]]:
        """The calls since the last look, without those to `seal`."""
        calls, self.calls = self.calls, []
        return calls

    def seal(self, ticket: int) -> None:
        assert ticket == self.sealed + 1
        self.sealed = ticket

    def session_saved(self, session: Session) -> None:
        self.calls.append(("session_saved", session.client_id))

    def session_removed(self, session: Session) -> None:
        self.calls.append(("session_removed", session.client_id))

    def subscription_saved(self, subscription: Subscription) -> None:
        self.calls.append(("subscription_saved", subscription.topic_filter))

    def subscription_removed(self, subscription: Subscription) -> None:
        self.calls.append(("subscription_removed", subscription.topic_filter))

    def delivery_saved(self, session: Session, delivery: Delivery) -> None:
        self.calls.append(("delivery_saved", delivery.publish.payload, int(delivery.state)))

    def delivery_removed(self, session: Session, delivery: Delivery) -> None:
        self.calls.append(("delivery_removed", delivery.publish.payload))

    def received_saved(self, session: Session, packet_identifier: int) -> None:
        self.calls.append(("received_saved", packet_identifier))

    def received_removed(self, session: Session, packet_identifier: int) -> None:
        self.calls.append(("received_removed", packet_identifier))

    def retained_saved(self, publish: Publish, source: Source | None) -> None:
        self.calls.append(("retained_saved", publish.topic_name))

    def retained_removed(self, topic_name: bytes) -> None:
        self.calls.append(("retained_removed", topic_name))


class ScriptedAccess(Access):
    """Answers each question from `answers` by its kind; what has no answer there is left for later."""

    def __init__(self, authenticates: bool = False, publish: bool = False, subscribe: bool = False) -> None:
        super().__init__()
        self.authenticates = authenticates
        self.authorizes_publish = publish
        self.authorizes_subscribe = subscribe
        self.watches_sessions = True
        self.answers: dict[int, int] = {}
        self.verdicts: list[int] | None = None
        self.asked: list[Request] = []
        self.batches: list[int] = []
        self.events: list[tuple[int, str, str]] = []
        self.fails = False

    def decide(self, requests: list[Request]) -> None:
        if self.fails:
            raise RuntimeError("access is out of order")
        self.batches.append(len(requests))
        for request in requests:
            self.asked.append(request)
            request.verdicts = self.verdicts
            if request.kind in self.answers:
                request.answer(self.answers[request.kind])

    def on_session_events(self, events: list[SessionEvent]) -> None:
        self.events.extend((int(event.kind), event.client_id, event.reason) for event in events)

    def token(self) -> int:
        """Of the question that was asked last."""
        return self.asked[-1].token


class DelayedUplink(Uplink):
    """A cluster that takes messages, and hands over client ids, when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.enabled = True
        self.routes: list[tuple[str, bytes]] = []
        self.published: list[tuple[bytes, int]] = []
        self.acquires: list[tuple[str, int]] = []
        self.barriers: list[tuple[str, int]] = []
        self.at_once = True
        self.sealed = 0
        self.picks: list[int] = []

    def commit(self) -> None:
        self.stored = self.sealed

    def route_added(self, topic_filter: bytes) -> None:
        self.routes.append(("+", topic_filter))

    def route_removed(self, topic_filter: bytes) -> None:
        self.routes.append(("-", topic_filter))

    def publish(self, publish: Publish, ticket: int) -> None:
        self.published.append((publish.payload, ticket))

    def seal(self, ticket: int) -> None:
        self.sealed = ticket

    def acquire(self, client_id: str, token: int) -> bool:
        self.acquires.append((client_id, token))
        return self.at_once

    def barrier(self, client_id: str, token: int) -> bool:
        self.barriers.append((client_id, token))
        return self.at_once

    def pick(self, share_name: bytes, members: list[Subscription]) -> int:
        return self.picks.pop(0) if self.picks else 0
