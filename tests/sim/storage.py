"""The store as it is, on files, but without its thread and its process: both work when the simulator says so."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from errno import ENOSPC
from random import Random
from unittest.mock import patch

from sim.model import Violation

from swellmq.broker.storage import Fetched
from swellmq.codec.spec import IMPLEMENTATION_SPECIFIC_ERROR, QUOTA_EXCEEDED
from swellmq.store.commit import Batch, Committer
from swellmq.store.fold import fold_and_read
from swellmq.store.folding import FoldProcess
from swellmq.store.journal import encode_frame
from swellmq.store.storage import DiskStorage

SEGMENT_BYTES = (1_000, 20_000, 16 << 20)


class InlineFold(FoldProcess):
    """A fold that takes some looks of its broker, may fail, and may be killed, alone or with its broker."""

    def __init__(self, folder: str, lock_fd: int, random: Random) -> None:
        super().__init__(folder, lock_fd)
        self.random = random
        self.arguments: list[str] = []  # of the run that is under way
        self.looks = 0  # until it is done
        self.wrong = ""  # what must not be
        self.easy = False  # from now on none fails

    def start(self, arguments: list[str]) -> None:
        if self.arguments:
            self.wrong = f"{arguments} is begun while {self.arguments} is under way"
        self.arguments = arguments
        self.looks = self.random.choice((0, 1, 5, 20))

    def running(self) -> bool:
        self.looks -= 1
        return self.looks >= 0

    def result(self) -> str:
        arguments, self.arguments = self.arguments, []
        if not self.easy and self.random.random() < 0.05:
            self._fold_some(arguments)
            return "it fails, as the seed has it"
        fold_and_read(self.folder, arguments, lambda _done, _files: True)
        return ""

    def kill(self) -> None:
        arguments, self.arguments = self.arguments, []
        if arguments and self.random.random() < 0.5:
            self._fold_some(arguments)

    def _fold_some(self, arguments: list[str]) -> None:
        """The run has come as far as this: some frames, or all of them and what it was to read."""
        frames = self.random.choice((0, 1, 3, 1_000))
        calls = 0

        def proceed(_done: int, _files: int) -> bool:
            nonlocal calls
            calls += 1
            return calls <= frames

        fold_and_read(self.folder, arguments, proceed)


class Told(deque[Fetched]):
    """What was read back; `tell` is told of each when the broker takes it."""

    def __init__(self, tell: Callable[[Fetched], None]) -> None:
        super().__init__()
        self.tell = tell

    def popleft(self) -> Fetched:
        fetched = super().popleft()
        self.tell(fetched)
        return fetched


class SimulatedStorage(DiskStorage):
    """Commits when `commit` is called, and may be killed at any ticket.

    `on_seal` is told of each ticket that is sealed, `on_read_back` of what was read back when the broker takes it.
    """

    def __init__(
        self,
        folder: str,
        random: Random,
        wall_clock: Callable[[], int],
        on_seal: Callable[[int], None],
        on_read_back: Callable[[Fetched], None],
    ) -> None:
        super().__init__(folder, True, lambda: None, wall_clock)
        self.random = random
        self.on_seal = on_seal
        self.on_read_back = on_read_back
        self.fetched = Told(self.take_back)
        self.segment_bytes = random.choice(SEGMENT_BYTES)
        self.failing = 0  # the error with which the disk fails: ENOSPC, where it takes a part, or EIO, where it syncs
        self.failed = 0  # times that it has

    def make_process(self) -> FoldProcess:
        self.process = InlineFold(self.folder, self.lock_fd, self.random)
        return self.process

    def start_writer(self, committer: Committer) -> None:
        """Nobody commits but `commit`, and `close` at the end."""

    def seal(self, ticket: int) -> None:
        super().seal(ticket)
        self.on_seal(int(ticket))

    def take_back(self, fetched: Fetched) -> None:
        """The broker takes what was read back."""
        self.on_read_back(fetched)

    def commit(self) -> None:
        """All batches that were sealed become safe, and the broker may know."""
        committer = self.committer
        assert committer is not None
        committer.take(0.0)
        if self.failing == ENOSPC:
            with patch.object(os, "write", self._write_some):
                committer.work()
        elif self.failing:
            with patch.object(os, "fdatasync", self._fail):
                committer.work()
        else:
            committer.work()
        committer.folding.not_before_s = 0.0  # a fold that has failed is tried again at the next commit
        if self.process.wrong or committer.failures != self.failed:
            raise Violation(f"the store: {self.process.wrong or 'a bug was met'}")
        refusal = 0
        if committer.frames:
            refusal = QUOTA_EXCEEDED if self.failing == ENOSPC else IMPLEMENTATION_SPECIFIC_ERROR
        if self.refusal != refusal or (committer.frames and not self.failing):
            raise Violation(f"the store refuses with {self.refusal:#x}, expected {refusal:#x}: error {self.failing}")

    def _fail(self, _: int) -> None:
        self.failed += 1
        raise OSError(self.failing, os.strerror(self.failing))

    def _write_some(self, fd: int, data: bytes) -> int:
        with open(fd, "wb", buffering=0, closefd=False) as file:
            file.write(data[: self.random.randrange(len(data))])
        self._fail(fd)
        return 0

    def survives(self) -> int:
        """The ticket of which it comes back if it is killed while the disk fails: what the system has is there."""
        committer = self.committer
        assert committer is not None
        there = self.failing != ENOSPC and committer.frames
        return int(committer.frames[-1].ticket if there else self.stored)

    def kill(self, ticket: int) -> None:
        """The process dies: what was sealed up to `ticket` is on disk, perhaps a part of what follows, and no more."""
        committer = self.committer
        assert committer is not None
        committer.take(0.0)
        lost = [batch for batch in committer.taken if batch.ticket > ticket]
        committer.taken = [batch for batch in committer.taken if batch.ticket <= ticket]
        if not self.failing:
            committer.work()
        if lost and not self.failing:
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
