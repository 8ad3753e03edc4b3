"""A broker in memory over a store on disk, with its restarts."""

from __future__ import annotations

import threading
from pathlib import Path

from harness import START_MS, WALL_START_MS, MemoryBroker, MemoryClient

from swellmq.broker.access import Access
from swellmq.broker.restore import restore
from swellmq.limits import Limits
from swellmq.store.storage import DiskStorage

KEPT = {"clean_start": False, "session_expiry_interval": 600}
WAIT_S = 20.0


class StoredBroker:
    """A broker whose state is in `folder`: `stop` and `start` are a restart."""

    def __init__(
        self, folder: Path, limits: Limits | None = None, sync: bool = False, access: Access | None = None
    ) -> None:
        self.folder = folder
        self.limits = limits
        self.access = access
        self.sync = sync
        self.woken = threading.Event()
        self.start()

    def start(self, wall_ms: int = WALL_START_MS) -> None:
        def wall_clock() -> int:
            turn = self.broker.turn_state
            return wall_ms + int(turn.now_ms) - START_MS

        self.storage = DiskStorage(str(self.folder), self.sync, self.woken.set, wall_clock)
        self.broker = MemoryBroker(self.limits, storage=self.storage, access=self.access)
        self.broker.turn_state.wall_ms = self.storage.open(wall_ms)
        restore(self.broker.core)

    def settle(self) -> None:
        """Turns, until all that was sealed is stored and what waited for it has left."""
        self.broker.turn()
        while self.storage.stored < self.broker.turn_state.ticket_open - 1:
            assert self.woken.wait(WAIT_S), "the store does not commit"
            self.woken.clear()
        self.broker.turn()

    def stop(self) -> None:
        self.settle()
        self.storage.close()

    def restart(self, wall_ms: int = WALL_START_MS) -> None:
        self.stop()
        self.start(wall_ms)

    def connect(self, client_id: str, version: int = 5, **options: object) -> MemoryClient:
        """A client of a kept session, connected; what it received beyond CONNACK is left to be read."""
        client = self.broker.connect(client_id, version, **{**KEPT, **options})
        self.settle()
        return client

    def publish(self, topic_name: str, payload: bytes, qos: int = 1, retain: bool = False) -> None:
        self.broker.inject(topic_name, payload, qos, retain)
        self.settle()
