"""Rights and what comes back from a store: its owners are known, and what they may no longer have is taken away."""

from __future__ import annotations

from harness import MemoryBroker

from swellmq import Access, Rights, Storage
from swellmq.broker.access import MAY_SUBSCRIBE
from swellmq.broker.restore import restore
from swellmq.broker.session import Session, Subscription
from swellmq.broker.storage import Restorer


class OnlyAda(Rights):
    """Ada may do everything but subscribe to "b"."""

    def allows(self, username: str | None, client_id: str, right: int, topic: bytes) -> bool:
        return username == "ada" and not (right == MAY_SUBSCRIBE and topic == b"b")


class Stored(Storage):
    """Has a session of ada's with two subscriptions."""

    def load(self, restorer: Restorer) -> None:
        session = Session("device")
        session.username = "ada"
        session.expiry_interval = 3_600
        restorer.restore_session(session)
        for topic_filter in (b"a", b"b"):
            restorer.restore_subscription(Subscription(session, topic_filter))


def test_restored_sessions_go_by_the_rights_of_their_users() -> None:
    access = Access()
    access.rights = OnlyAda()
    broker = MemoryBroker(access=access, storage=Stored())
    restore(broker.core)
    broker.turn()
    assert [one.topic_filter for one in broker.session("device").subscriptions()] == [b"a"]
    assert broker.stats.subscriptions_revoked == 1
    device = broker.connect("device", 4, clean_start=False, username="ada")
    broker.inject("a", b"for ada")
    assert device.payloads() == [b"for ada"]
    device.disconnect()
    stranger = broker.connect("device", 4, clean_start=False, username="eve")
    broker.inject("a", b"not for eve")
    assert stranger.payloads() == []
