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
from swellmq.broker.storage import Fetched, Restorer
from swellmq.codec.packets import Publish
from swellmq.store.folding import Fetch
from swellmq.store.journal import encode_frame

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


# Messages that wait on disk only, and are read back


class ForgetsWhatIsOnDiskOnly(SimulatedStorage):
    def delivery_saved(self, session: Session, delivery: Delivery) -> None:
        away = session.connection is None and delivery.stored_id == 0
        if not away or self.random.random() < 0.8:
            super().delivery_saved(session, delivery)


class BeginsTooLate(SimulatedStorage):
    def fetch(self, session: Session, first: int) -> None:
        super().fetch(session, first + 1)


class BeginsTooEarly(SimulatedStorage):
    def fetch(self, session: Session, first: int) -> None:
        super().fetch(session, 0)


class MissesTheOpenBatch(SimulatedStorage):
    def fetch(self, session: Session, first: int) -> None:
        self.fetching.append(Fetch(session, session.stored_id, first, self.batch_first))


class Spoiling(SimulatedStorage):
    """Does something to what was read back."""

    def take_back(self, fetched: Fetched) -> None:
        queue = fetched.session.queue
        late = queue.late if queue is not None else None
        if fetched.deliveries is not None:
            self.spoil(fetched.deliveries, late if late is not None else [])
        super().take_back(fetched)

    def spoil(self, deliveries: list[Delivery], late: list[Delivery]) -> None:
        raise NotImplementedError


class LosesTheLastOfThem(Spoiling):
    def spoil(self, deliveries: list[Delivery], late: list[Delivery]) -> None:
        del deliveries[-1:]


class TurnsThemRound(Spoiling):
    def spoil(self, deliveries: list[Delivery], late: list[Delivery]) -> None:
        deliveries.reverse()


class LosesWhatCameMeanwhile(Spoiling):
    def spoil(self, deliveries: list[Delivery], late: list[Delivery]) -> None:
        late.clear()


class HasWhatCameMeanwhileInFront(Spoiling):
    def spoil(self, deliveries: list[Delivery], late: list[Delivery]) -> None:
        deliveries[:0] = late
        late.clear()


class HasWhatCameMeanwhileTwice(Spoiling):
    def spoil(self, deliveries: list[Delivery], late: list[Delivery]) -> None:
        deliveries.extend(late)


class ForgetsTheirNumbers(Spoiling):
    def spoil(self, deliveries: list[Delivery], late: list[Delivery]) -> None:
        for delivery in deliveries:
            delivery.stored_id = 0


class ForgetsTheirExpiry(Spoiling):
    def spoil(self, deliveries: list[Delivery], late: list[Delivery]) -> None:
        for delivery in deliveries:
            delivery.publish.expires_at_ms = 0


class ForgetsTheirSubscription(Spoiling):
    def spoil(self, deliveries: list[Delivery], late: list[Delivery]) -> None:
        for delivery in deliveries:
            delivery.identifiers = None


class LowersTheirQoS(Spoiling):
    def spoil(self, deliveries: list[Delivery], late: list[Delivery]) -> None:
        for delivery in deliveries:
            delivery.qos = 1


class SaysThatThereIsNothing(SimulatedStorage):
    """Where it can't be read."""

    def take_back(self, fetched: Fetched) -> None:
        if fetched.deliveries is None:
            fetched.deliveries = []
        super().take_back(fetched)


# A disk that fails


class StoresWhatHasFailed(SimulatedStorage):
    def commit(self) -> None:
        super().commit()
        if self.refusal:
            self.stored = self.written = self.last_sealed

    def seal(self, ticket: int) -> None:
        super().seal(ticket)
        self.last_sealed = ticket


class DropsWhatHasFailed(SimulatedStorage):
    def commit(self) -> None:
        super().commit()
        if self.committer is not None and self.refusal:
            for frame in self.committer.frames:
                frame.data = encode_frame(frame.number, 0, 0, 0, b"")


DISK_FAULTS = [DropsWhatHasFailed, StoresWhatHasFailed]

SHELF_FAULTS = [
    BeginsTooEarly,
    BeginsTooLate,
    ForgetsTheirExpiry,
    ForgetsTheirNumbers,
    ForgetsTheirSubscription,
    ForgetsWhatIsOnDiskOnly,
    HasWhatCameMeanwhileInFront,
    HasWhatCameMeanwhileTwice,
    LosesTheLastOfThem,
    LosesWhatCameMeanwhile,
    LowersTheirQoS,
    MissesTheOpenBatch,
    SaysThatThereIsNothing,
    TurnsThemRound,
]


def run(storage: type[SimulatedStorage], seed: int, shelves: bool = False, failing: bool = False) -> Simulation:
    class WithThis(Simulation):
        storage_class = storage

    simulation = WithThis(Plan(seed, steps=300, clients=6, stored=True, shelves=shelves, failing=failing))
    simulation.run()
    return simulation


def test_a_store_without_one_is_not() -> None:
    counts = Counter[str]()
    for seed in range(8):
        counts.update(run(SimulatedStorage, seed).oracle.counts)
    assert counts["kills"] and counts["batches lost"] and counts["sessions kept"]


def test_shelves_without_one_are_not() -> None:
    counts = Counter[str]()
    for seed in range(30):
        counts.update(run(SimulatedStorage, seed, shelves=True).oracle.counts)
    reached = {name for name, count in counts.items() if count}
    assert reached >= {
        "kills",
        "late messages",
        "messages read back",
        "read-backs failed",
        "read-backs for 0",
        "read-backs for 1",
        "read-backs for 2",
    }


def test_disks_that_fail_are_no_fault() -> None:
    counts = Counter[str]()
    for seed in range(20):
        counts.update(run(SimulatedStorage, seed, failing=True).oracle.counts)
    assert counts["failures of the disk"] and counts["not stored"] and counts["store failing"]
    assert counts["kills while the disk fails"]


@pytest.mark.parametrize("storage", [*FAULTS, *SHELF_FAULTS, *DISK_FAULTS])
def test_a_store_with_a_fault_is_found_out(storage: type[SimulatedStorage]) -> None:
    def seeds() -> None:
        for seed in range(SEEDS):
            run(storage, seed, storage in SHELF_FAULTS, storage in DISK_FAULTS)

    with pytest.raises(Violation):
        seeds()
