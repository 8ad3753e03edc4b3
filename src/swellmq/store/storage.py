"""The store of one broker: every durable change becomes a record at once, and a turn's records a batch of the writer.

All of this runs in the loop's thread and touches no disk, except `open`, `load` and `close`.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from typing import Final

from mypy_extensions import i64, mypyc_attr

from swellmq.broker.retained import Source
from swellmq.broker.session import Delivery, Session, Subscription
from swellmq.broker.storage import Restorer, Storage
from swellmq.codec.packets import Publish
from swellmq.limits import SEGMENT_BYTES
from swellmq.store.commit import Batch, Committer
from swellmq.store.errors import StoreError
from swellmq.store.fold import Fold, fold_all
from swellmq.store.folding import Fetch, Folding, FoldProcess
from swellmq.store.journal import JournalWriter
from swellmq.store.load import Loader, Progress
from swellmq.store.records import (
    DELIVERY,
    DELIVERY_ENDED,
    MESSAGE,
    PROGRESS,
    RECEIVED,
    RECEIVED_ENDED,
    RETAIN,
    SESSION_ENDED,
    STATE_SHIFT,
    add_message,
    add_retained,
    add_retained_ended,
    add_session,
    add_subscription,
    add_subscription_ended,
    pack_delivery,
    pack_identifiers,
    pack_number,
    pack_progress,
    pack_received,
)
from swellmq.store.schema import lock_folder

log: Final = logging.getLogger("swellmq.store")


def system_clock_ms() -> int:
    """The wall clock of the system, with its jumps."""
    return time.time_ns() // 1_000_000


@mypyc_attr(native_class=True, allow_interpreted_subclasses=True)
class DiskStorage(Storage):
    """Durable state in a folder of its own.

    `sync` says whether a batch counts as stored once it is on disk, or once the system has it. `wake` is called from
    the writer's thread when a batch has become safe; `wall_clock` tells milliseconds since 1970. `open` and `load`
    raise StoreError where the folder can't be used.
    """

    def __init__(
        self, folder: str, sync: bool, wake: Callable[[], None], wall_clock: Callable[[], int] = system_clock_ms
    ) -> None:
        super().__init__()
        self.durable = True
        self.fetches = True
        self.fetching: list[Fetch] = []  # asked for in this turn
        self.folder = folder
        self.pieces: list[bytes] = []  # records of the open batch
        self.batch_first: i64 = 1  # the first number that this batch may give out
        self.next_number: i64 = 1
        self.sync = sync
        self.wake = wake
        self.wall_clock = wall_clock
        self.segment_bytes: i64 = SEGMENT_BYTES  # at which a file of the journal is closed
        self.lock_fd: int = -1
        self.fold: Fold | None = None  # between `open` and `load`
        self.committer: Committer | None = None

    def open(self, wall_ms: i64) -> i64:
        """Lock the folder, and bring what the journal holds into the database.

        The store's clock goes on where it stood, by as much as the wall clock has, but never back.
        """
        self.lock_fd = lock_folder(self.folder)
        try:
            fold = self.fold = fold_all(self.folder, Progress("bringing the journal into " + self.folder).say_files)
            clock_ms = max(0, wall_ms - fold.wall_ms) + fold.clock_ms if fold.clock_ms else wall_ms
            fold.note_start(clock_ms, wall_ms)
        except OSError as error:
            self.close()
            remedy = "Let the broker's user read and write the folder and all that is in it"
            raise StoreError(f"{error.filename or self.folder}: {error.strerror}. {remedy}") from error
        except BaseException:
            self.close()
            raise
        self.next_number = fold.number + 1
        self.batch_first = self.next_number
        return clock_ms

    def load(self, restorer: Restorer) -> None:
        """Give back what is stored, and begin to commit."""
        begin_s = time.monotonic()
        fold = self.fold
        assert fold is not None
        loader = Loader(fold.db, self.folder, restorer, self.clock_base_ms)
        loader.load()
        fold.close()
        self.fold = None
        took_s = time.monotonic() - begin_s
        log.info("%s: %d sessions in %.1f s", self.folder, len(loader.sessions), took_s)
        journal = JournalWriter(self.folder, fold.folded + 1)
        folding = Folding(self.folder, self.make_process())
        self.committer = Committer(self, journal, folding, self.sync, self.wake, self.wall_clock)
        self.committer.segment_bytes = self.segment_bytes
        self.start_writer(self.committer)

    def make_process(self) -> FoldProcess:
        """What folds the journal while the broker runs."""
        return FoldProcess(self.folder, self.lock_fd)

    def start_writer(self, committer: Committer) -> None:
        """Have batches committed from now on. A simulator does that itself, at moments of its choice."""
        committer.start()

    def statistics(self) -> dict[str, int]:
        """Commits, how long they took, failures, what waits for one, the journal and how far the fold is behind it, and
        the reason code with which durable work is refused now."""
        committer = self.committer
        if committer is None:
            return {}
        folding = committer.folding
        return {
            "commits": int(committer.commits),
            "commit_us": int(committer.commit_us),
            "failures": int(committer.failures),
            "commit_longest_us": int(committer.commit_longest_us),
            "batches_waiting": committer.queue.qsize() + len(committer.taken),
            "bytes_waiting": int(committer.bytes_waiting()),
            "journal_bytes": int(committer.journal.bytes) + folding.bytes,
            "files_to_fold": len(folding.closed) + len(folding.under_way),
            "fold_behind_s": int(folding.behind_s()),
            "read_backs_waiting": len(folding.wanted) + len(folding.reading),
            "refusal": self.refusal,
        }

    def close(self) -> None:
        """Commit what is sealed, and let the folder go."""
        if self.committer is not None:
            self.committer.stop()
            self.committer = None
        if self.fold is not None:
            self.fold.close()
            self.fold = None
        if self.lock_fd >= 0:
            os.close(self.lock_fd)
            self.lock_fd = -1

    def seal(self, ticket: i64) -> None:
        """Hand the open batch to the writer."""
        body = b"".join(self.pieces)
        self.pieces = []
        self.batch_first = self.next_number
        assert self.committer is not None
        self.committer.put(Batch(ticket, self.clock_ms, body))
        for fetch in self.fetching:
            self.committer.queue.put(fetch)  # behind the batch, which may hold what it asks for
        self.fetching = []

    def fetch(self, session: Session, first: i64) -> None:
        """Have the writer read messages back once all that was saved by now is committed."""
        self.fetching.append(Fetch(session, session.stored_id, first, self.next_number))

    # What changes

    def session_saved(self, session: Session) -> None:
        """A session was made or changed; one that is new here comes with all that it has."""
        is_new = session.stored_id == 0
        if is_new:
            session.stored_id = self.next_number
            self.next_number += 1
        left_wall_ms: i64 = 0
        if session.connection is None:
            left_wall_ms = max(1, session.since_ms + self.clock_base_ms)
        add_session(self.pieces, session.stored_id, session, left_wall_ms)
        if is_new:
            for subscription in session.subscriptions():
                add_subscription(self.pieces, session.stored_id, subscription)

    def session_removed(self, session: Session) -> None:
        """A session has ended, and with it all that has its number."""
        if session.stored_id:
            self.pieces.append(pack_number(SESSION_ENDED, session.stored_id))
            session.stored_id = 0

    def subscription_saved(self, subscription: Subscription) -> None:
        """A subscription was made or changed."""
        if subscription.session.stored_id:
            add_subscription(self.pieces, subscription.session.stored_id, subscription)

    def subscription_removed(self, subscription: Subscription) -> None:
        """A subscription was removed."""
        if subscription.session.stored_id:
            add_subscription_ended(self.pieces, subscription.session.stored_id, subscription.topic_filter)

    def delivery_saved(self, session: Session, delivery: Delivery) -> None:
        """A message was queued, sent or released.

        A message is written once for each batch in which it goes to somebody new: all that it goes to at once share it,
        and what it goes to later finds no copy that might have ended meanwhile.
        """
        pieces = self.pieces
        number = delivery.stored_id
        if number:
            pieces.append(pack_progress(PROGRESS, number, delivery.packet_identifier, delivery.state))
            return
        if not session.stored_id:
            return
        publish = delivery.publish
        message = publish.stored_id
        if message < self.batch_first:
            message = publish.stored_id = self.next_number
            self.next_number += 1
            add_message(pieces, MESSAGE, message, publish)
        number = delivery.stored_id = self.next_number
        self.next_number += 1
        options: i64 = int(delivery.qos) + (int(delivery.state) << STATE_SHIFT)
        if delivery.retain:
            options += RETAIN
        share = delivery.shared
        identifiers = delivery.identifiers
        packed = pack_identifiers(identifiers) if identifiers is not None else b""
        pieces.append(
            pack_delivery(
                DELIVERY,
                session.stored_id,
                number,
                message,
                delivery.packet_identifier,
                options,
                len(share) if share is not None else 0,
                len(packed) // 4,
            )
        )
        if share is not None:
            pieces.append(share)
        if packed:
            pieces.append(packed)

    def delivery_removed(self, session: Session, delivery: Delivery) -> None:
        """A message was acknowledged to the end, or dropped."""
        if delivery.stored_id:
            self.pieces.append(pack_number(DELIVERY_ENDED, delivery.stored_id))
            delivery.stored_id = 0

    def received_saved(self, session: Session, packet_identifier: int) -> None:
        """A QoS 2 message came and awaits its PUBREL."""
        if session.stored_id:
            self.pieces.append(pack_received(RECEIVED, session.stored_id, packet_identifier))

    def received_removed(self, session: Session, packet_identifier: int) -> None:
        """Its PUBREL came."""
        if session.stored_id:
            self.pieces.append(pack_received(RECEIVED_ENDED, session.stored_id, packet_identifier))

    def retained_saved(self, publish: Publish, source: Source | None) -> None:
        """A retained message was set."""
        add_retained(self.pieces, publish, source)

    def retained_removed(self, topic_name: bytes) -> None:
        """A retained message was cleared or has expired."""
        add_retained_ended(self.pieces, topic_name)
