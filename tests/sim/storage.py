"""A store that keeps nothing and commits when the simulator says so."""

from __future__ import annotations

from swellmq.broker.storage import Storage


class LateStorage(Storage):
    """Everything durable waits until `commit`."""

    def __init__(self) -> None:
        super().__init__()
        self.durable = True
        self.sealed = 0

    def seal(self, ticket: int) -> None:
        self.sealed = ticket

    def commit(self) -> None:
        """All batches that were sealed are safe now."""
        self.stored = self.sealed
