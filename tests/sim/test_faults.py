"""The simulator finds what a bad store does: each of these has one fault, and a few seeds bring it to light."""

from __future__ import annotations

from collections import Counter

import pytest
from sim.model import Violation
from sim.simulation import Simulation
from sim.storage import SimulatedStorage
from sim.world import Plan

from swellmq.broker.retained import Source
from swellmq.broker.session import QUEUED, RELEASED, Delivery, Session, Subscription
from swellmq.broker.storage import Restorer
from swellmq.codec.packets import Publish

SEEDS = 40  # of which one at least has to find it


class AcknowledgesBeforeItCommits(SimulatedStorage):
    def seal(self, ticket: int) -> None:
        super().seal(ticket)
        self.stored = ticket


class LosesTheLastBatch(SimulatedStorage):
    def kill(self, ticket: int) -> None:
        super().kill(ticket - 1)


class LosesMessages(SimulatedStorage):
    def delivery_saved(self, session: Session, delivery: Delivery) -> None:
        if delivery.state != QUEUED or self.random.random() < 0.9:
            super().delivery_saved(session, delivery)


class KeepsWhatIsAcknowledged(SimulatedStorage):
    def delivery_removed(self, session: Session, delivery: Delivery) -> None:
        if self.random.random() < 0.8:
            super().delivery_removed(session, delivery)


class ForgetsWhatIsReleased(SimulatedStorage):
    def delivery_saved(self, session: Session, delivery: Delivery) -> None:
        if delivery.state != RELEASED:
            super().delivery_saved(session, delivery)


class ForgetsWhatWasReceived(SimulatedStorage):
    def received_saved(self, session: Session, packet_identifier: int) -> None:
        pass


class RemembersWhatWasReceived(SimulatedStorage):
    def received_removed(self, session: Session, packet_identifier: int) -> None:
        pass


class LosesRetained(SimulatedStorage):
    def retained_saved(self, publish: Publish, source: Source | None) -> None:
        if self.random.random() < 0.5:
            super().retained_saved(publish, source)


class KeepsWhatIsCleared(SimulatedStorage):
    def retained_removed(self, topic_name: bytes) -> None:
        pass


class LosesWills(SimulatedStorage):
    def session_saved(self, session: Session) -> None:
        will, session.will = session.will, None
        super().session_saved(session)
        session.will = will


class KeepsSessionsThatEnd(SimulatedStorage):
    def session_removed(self, session: Session) -> None:
        pass


class LosesSubscriptions(SimulatedStorage):
    def subscription_saved(self, subscription: Subscription) -> None:
        if self.random.random() < 0.8:
            super().subscription_saved(subscription)


class KeepsSubscriptionsThatEnd(SimulatedStorage):
    def subscription_removed(self, subscription: Subscription) -> None:
        pass


class Reversing(Restorer):
    """Gives messages back with the last one first."""

    def __init__(self, restorer: Restorer) -> None:
        super().__init__()
        self.restorer = restorer
        self.deliveries: list[tuple[Session, Delivery]] = []
        self.restore_session = restorer.restore_session  # type: ignore[method-assign]
        self.restore_subscription = restorer.restore_subscription  # type: ignore[method-assign]
        self.restore_received = restorer.restore_received  # type: ignore[method-assign]
        self.restore_retained = restorer.restore_retained  # type: ignore[method-assign]

    def restore_delivery(self, session: Session, delivery: Delivery) -> bool:
        self.deliveries.append((session, delivery))
        return True


class ReversesTheOrder(SimulatedStorage):
    def load(self, restorer: Restorer) -> None:
        reversing = Reversing(restorer)
        super().load(reversing)
        for session, delivery in reversed(reversing.deliveries):
            restorer.restore_delivery(session, delivery)


class FollowsTheClockBack(SimulatedStorage):
    def open(self, wall_ms: int) -> int:
        super().open(wall_ms)
        return wall_ms


FAULTS = [
    AcknowledgesBeforeItCommits,
    FollowsTheClockBack,
    ForgetsWhatIsReleased,
    ForgetsWhatWasReceived,
    KeepsSessionsThatEnd,
    KeepsSubscriptionsThatEnd,
    KeepsWhatIsAcknowledged,
    KeepsWhatIsCleared,
    LosesMessages,
    LosesRetained,
    LosesSubscriptions,
    LosesTheLastBatch,
    LosesWills,
    RemembersWhatWasReceived,
    ReversesTheOrder,
]


def run(storage: type[SimulatedStorage], seed: int) -> Simulation:
    class WithThis(Simulation):
        storage_class = storage

    simulation = WithThis(Plan(seed, steps=300, clients=6, stored=True))
    simulation.run()
    return simulation


def test_a_store_without_one_is_not() -> None:
    counts = Counter[str]()
    for seed in range(8):
        counts.update(run(SimulatedStorage, seed).oracle.counts)
    assert counts["kills"] and counts["batches lost"] and counts["sessions kept"]


@pytest.mark.parametrize("storage", FAULTS)
def test_a_store_with_a_fault_is_found_out(storage: type[SimulatedStorage]) -> None:
    def seeds() -> None:
        for seed in range(SEEDS):
            run(storage, seed)

    with pytest.raises(Violation):
        seeds()
