"""The store as it is, on files, but without its thread and its process: both work when the simulator says so."""

from __future__ import annotations

import os
from collections.abc import Callable
from random import Random

from swellmq.store.commit import Batch, Committer
from swellmq.store.fold import fold_and_read
from swellmq.store.folding import FoldProcess
from swellmq.store.journal import encode_frame
from swellmq.store.storage import DiskStorage

SEGMENT_BYTES = (1_000, 20_000, 16 << 20)


class InlineFold(FoldProcess):
    """A fold that takes some looks of its broker, and may be killed with it."""

    def __init__(self, folder: str, lock_fd: int, random: Random) -> None:
        super().__init__(folder, lock_fd)
        self.random = random
        self.arguments: list[str] = []
        self.looks = 0  # until it is done

    def start(self, arguments: list[str]) -> None:
        self.arguments = arguments
        reads = any(word.startswith("--read=") for word in arguments)
        self.looks = 0 if reads else self.random.choice((0, 1, 5))

    def running(self) -> bool:
        self.looks -= 1
        return self.looks >= 0

    def result(self) -> str:
        fold_and_read(self.folder, self.arguments, lambda _done, _files: True)
        self.arguments = []
        return ""

    def kill(self) -> None:
        """It ends after some frames, or has done all, and nobody deletes what is folded."""
        if self.arguments:
            frames = self.random.choice((0, 2, 1_000_000))

            def leashed(_done: int, _files: int) -> bool:
                nonlocal frames
                frames -= 1
                return frames >= 0

            fold_and_read(self.folder, self.arguments, leashed)
            self.arguments = []


class SimulatedStorage(DiskStorage):
    """Commits on demand, and may be killed at any ticket. `on_seal` is told of each ticket that is sealed."""

    def __init__(self, folder: str, random: Random, wall_clock: Callable[[], int], on_seal: Callable[[int], None]):
        super().__init__(folder, True, lambda: None, wall_clock)
        self.random = random
        self.on_seal = on_seal
        self.segment_bytes = random.choice(SEGMENT_BYTES)

    def make_process(self) -> FoldProcess:
        return InlineFold(self.folder, self.lock_fd, self.random)

    def start_writer(self, committer: Committer) -> None:
        """Nobody commits but `commit`, and `close` at the end."""

    def seal(self, ticket: int) -> None:
        super().seal(ticket)
        self.on_seal(int(ticket))

    def commit(self) -> None:
        """All batches that were sealed become safe, and the broker may know."""
        committer = self.committer
        assert committer is not None
        committer.take(0.0)
        committer.work()

    def kill(self, ticket: int) -> None:
        """The process dies: what was sealed up to `ticket` is on disk, perhaps a part of what follows, and no more."""
        committer = self.committer
        assert committer is not None
        committer.take(0.0)
        lost = [batch for batch in committer.taken if batch.ticket > ticket]
        committer.taken = [batch for batch in committer.taken if batch.ticket <= ticket]
        committer.work()
        if lost:
            self._tear(committer, lost)
        committer.folding.process.kill()
        committer.journal.close()
        self.committer = None
        os.close(self.lock_fd)
        self.lock_fd = -1

    def _tear(self, committer: Committer, lost: list[Batch]) -> None:
        """Leave a part of the next frame behind, or the room that it was to have."""
        journal = committer.journal
        body = b"".join(batch.body for batch in lost)
        frame = encode_frame(journal.next_number, journal.on_disk, 0, 0, body)
        part = frame[: self.random.randrange(len(frame))]
        if part:
            journal.append(part if self.random.random() < 0.7 else bytes(len(part)), journal.next_number)
