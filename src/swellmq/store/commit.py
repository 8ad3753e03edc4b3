"""The writer: a thread that commits what the loop has sealed, in as few calls as there can be.

Whatever has been sealed while one commit was under way is the next commit: batches grow with the load, and with a slow
disk. A commit is two calls that give up the interpreter's lock, a write and an fdatasync, whatever is in it.

Where a call fails nothing is lost and nothing is acknowledged: the frames wait in memory and are tried again each
`RETRY_S`; meanwhile `Storage.refusal` makes the broker refuse what would add to them.
"""

from __future__ import annotations

import errno
import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Final, final

from mypy_extensions import i64, mypyc_attr

from swellmq.broker.storage import Storage
from swellmq.codec.spec import IMPLEMENTATION_SPECIFIC_ERROR, QUOTA_EXCEEDED
from swellmq.limits import SEGMENT_BYTES, STORE_BACKLOG_BYTES
from swellmq.store.folding import IDLE_S, Fetch, Folding
from swellmq.store.journal import JournalWriter, encode_frame, first_number

log: Final = logging.getLogger("swellmq.store")

RETRY_S: Final = 1.0  # between two tries at a disk that fails
READ_LOOK_S: Final = 0.02  # the same while it also reads messages back, for which clients wait
FOLD_LOOK_S: Final = 0.5  # how often a running fold is looked after
GATHER_S: Final = 0.005  # for which batches are gathered where no client waits for any
NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@final
@mypyc_attr(native_class=True)
class Batch:
    """What one turn has changed."""

    def __init__(self, ticket: i64, clock_ms: i64, body: bytes) -> None:
        self.ticket: i64 = ticket
        self.clock_ms: i64 = clock_ms
        self.body = body


@final
@mypyc_attr(native_class=True)
class PendingFrame:
    """A frame that is not yet committed."""

    def __init__(self, number: i64, ticket: i64, data: bytes, body_bytes: i64) -> None:
        self.number: i64 = number
        self.ticket: i64 = ticket
        self.data = data
        self.body_bytes: i64 = body_bytes


@final
@mypyc_attr(native_class=True)
class Committer:
    """Commits batches for `storage`, whose `written` and `stored` it counts up, and calls `wake` when it has."""

    def __init__(
        self,
        storage: Storage,
        journal: JournalWriter,
        folding: Folding,
        sync: bool,
        wake: Callable[[], None],
        wall_clock: Callable[[], int],
    ) -> None:
        self.storage = storage
        self.journal = journal
        self.folding = folding
        self.sync = sync
        self.wake = wake
        self.wall_clock = wall_clock
        self.segment_bytes: i64 = SEGMENT_BYTES
        self.retry_s: float = RETRY_S
        self.queue: queue.SimpleQueue[Batch | Fetch | None] = queue.SimpleQueue()
        self.bytes_put: i64 = 0
        self.bytes_done: i64 = 0  # of them, those that are committed
        self.taken: list[Batch] = []  # of the queue, and not yet in a frame
        self.frames: list[PendingFrame] = []  # a commit of them has failed
        self.failing: str = ""  # why
        self.fetches: list[Fetch] = []  # asked for, behind the batches that were taken with them
        self.commits: i64 = 0
        self.commit_us: i64 = 0  # how long the last one took
        self.commit_longest_us: i64 = 0
        self.failures: i64 = 0
        self.stopping: bool = False
        self.thread = threading.Thread(target=self.run, name="swellmq-store", daemon=True)

    def put(self, batch: Batch) -> None:
        """Have a batch committed. Called from the loop's thread."""
        self.bytes_put += len(batch.body)
        if self.bytes_waiting() > STORE_BACKLOG_BYTES and not self.storage.refusal:
            self.storage.refusal = QUOTA_EXCEEDED
        self.queue.put(batch)

    def bytes_waiting(self) -> i64:
        """What was put and is not stored yet."""
        return self.bytes_put - self.bytes_done

    def run(self) -> None:
        """The thread: commit until stopped."""
        while not self.stopping:
            self.take(self._wait_s())
            if self.taken and not self.sync and not self.storage.eager and not self.stopping:
                time.sleep(GATHER_S)
                self.take(0.0)
            self.work()

    def work(self) -> None:
        """Commit what was taken, and look after the fold and what it reads back."""
        try:
            if self.taken:
                self._commit()
            elif self.frames:
                self._flush()
            if self.fetches:
                self._fetch()
            self.folding.look()
            if self.folding.fetched:
                self._hand_over()
        except Exception:
            # Whatever it was, nothing of it counts as stored, and what waits is tried again.
            self.failures += 1
            self.storage.refusal = IMPLEMENTATION_SPECIFIC_ERROR
            log.exception("a bug of ours in the store")

    def _wait_s(self) -> float | None:
        """How long to wait for a batch, in seconds, until there is something else to do; None: there is nothing."""
        if self.folding.reading or self.folding.wanted:
            return READ_LOOK_S
        if self.frames or self.taken:
            return self.retry_s
        if self.folding.busy() or self.folding.closed:
            return FOLD_LOOK_S
        if self.folding.process.idle():
            return IDLE_S
        return None

    def take(self, wait_s: float | None) -> None:
        """Take all batches that wait; where there are none wait for one, so many seconds at the most."""
        try:
            batch = self.queue.get(True, wait_s)
            while True:
                if batch is None:
                    self.stopping = True
                    break
                if isinstance(batch, Fetch):
                    self.fetches.append(batch)
                else:
                    self.taken.append(batch)
                batch = self.queue.get_nowait()
        except queue.Empty:
            pass

    def _commit(self) -> None:
        """Make one frame of the batches that were taken and commit it, behind those that wait."""
        batches = self.taken
        last = batches[len(batches) - 1]
        body = last.body if len(batches) == 1 else b"".join([batch.body for batch in batches])
        number = self.journal.next_number
        if self.frames:
            number = self.frames[len(self.frames) - 1].number + 1
        data = encode_frame(number, self.journal.on_disk, last.clock_ms, self.wall_clock(), body)
        self.frames.append(PendingFrame(number, last.ticket, data, len(body)))
        self.taken = []
        self._flush()

    def _flush(self) -> None:
        """Commit the frames that wait."""
        journal = self.journal
        storage = self.storage
        frames = self.frames
        last = frames[len(frames) - 1]
        begin_ns: i64 = time.perf_counter_ns()
        try:
            for frame in frames:
                journal.append(frame.data, frame.number)
            storage.written = last.ticket
            if self.sync:
                if storage.eager:
                    self.wake()
                journal.sync()
        except OSError as error:
            self._failed(error)
            return
        storage.stored = last.ticket
        self.wake()
        self.frames = []
        for frame in frames:
            self.bytes_done += frame.body_bytes
        self.commits += 1
        self.commit_us = (time.perf_counter_ns() - begin_ns) // 1000
        if self.commit_us > self.commit_longest_us:
            self.commit_longest_us = self.commit_us
        if storage.refusal:
            self._recovered()
        if journal.bytes >= self.segment_bytes:
            self.close_segment()

    def _fetch(self) -> None:
        """All that the fetches ask for is committed: have it folded and read, if it is."""
        self.folding.wanted += self.fetches
        self.fetches = []
        if self.frames:
            self.folding.give_up_reading()
        else:
            self.close_segment()

    def _hand_over(self) -> None:
        """Give the loop what was read back."""
        fetched = self.folding.fetched
        self.folding.fetched = []
        self.storage.fetched.extend(fetched)
        self.wake()

    def close_segment(self) -> None:
        """Close the open file of the journal, so that it can be folded."""
        if self.journal.fd >= 0:
            self.folding.add(self.journal.path, self.journal.bytes)
            self.journal.close()

    def _failed(self, error: OSError) -> None:
        self.failures += 1
        why = error.strerror or str(error)
        if why != self.failing:
            log.error(
                "the store can't write to %s: %s. Durable work is refused until it can; nothing that is not stored is"
                " acknowledged",
                self.journal.folder,
                why,
            )
        self.failing = why
        self.storage.refusal = QUOTA_EXCEEDED if error.errno in NO_ROOM else IMPLEMENTATION_SPECIFIC_ERROR
        journal = self.journal
        first = self.frames[0].number
        # A file that begins with what is tried again is written anew under its name: it must not be folded and deleted.
        if journal.fd >= 0 and first_number(journal.path) < first:
            self.folding.add(journal.path, journal.bytes)
        journal.abandon(first)

    def _recovered(self) -> None:
        self.storage.refusal = 0
        if self.failing:
            log.warning("the store can write again: all that waited is stored")
        self.failing = ""

    def start(self) -> None:
        """Begin to commit."""
        self.thread.start()

    def stop(self) -> None:
        """Commit what was put, and end. What can't be committed now is lost, and was never acknowledged."""
        self.queue.put(None)
        if self.thread.ident is None:
            self.run()  # nobody has started it
        else:
            self.thread.join()
        self.folding.process.kill()
        try:
            self.journal.close()
        except OSError as error:
            log.error("the journal can't be closed: %s", error.strerror)
