"""Folding: what closed files of the journal come to is brought into the database, and the files are deleted.

A stretch of frames is reduced to its net changes first (`Changes`), then written in one transaction together with the
number of its last frame: a crash anywhere leaves the database at some frame, and the files behind it still there.

While the broker runs this is done by a process of its own (`child`), because thousands of statements of SQLite from a
thread would each ask a busy loop for the interpreter's lock. It ends with its broker, wherever it is: the pipe at its
standard input is the leash. A transaction that is cut off is undone, and folded again by whoever comes next.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import sqlite3
import struct
import sys
import time
from collections.abc import Callable
from typing import Final

from swellmq.broker.session import QUEUED
from swellmq.codec.packets import Publish
from swellmq.store.errors import StoreError
from swellmq.store.journal import REMEDY, first_number, open_private, read_segment, segments
from swellmq.store.records import (
    ANSWER_BYTES,
    DELIVERY,
    DONE,
    MESSAGE,
    PATIENT,
    READ,
    READ_BACK,
    READ_HEAD,
    RUN_HEAD,
    STATE_SHIFT,
    Changes,
    DeliveryRow,
    RetainedRow,
    SessionRow,
    add_message,
    pack_delivery,
)
from swellmq.store.schema import DATABASE, open_database, unusable

SLICE_RECORDS: Final = 20_000  # of one transaction: well under a second
PATIENT_CHANGES: Final = 150  # that come of them, where a fold has time: they are committed in under a millisecond
CHECKPOINT_PAGES: Final = 4_000  # of SQLite's log, which are brought into the database then
PATIENT_PAGES: Final = 100
VACUUM_FREE_PAGES: Final = 4_096  # 16 MB of free pages are given back to the system
WORK_NS: Final = 150_000  # after so much work a fold that has time sleeps for a moment,
REST_S: Final = 0.000_1  # in which whoever waits for its core gets that
WORK_STEPS: Final = 300  # of SQLite's machine, between two looks at the time: some hundredths of a millisecond
NOTHING: Final = bytearray()
READ_ROWS: Final = 500  # of a piece that is read back: the broker unpacks one in about a millisecond


class Fold:
    """Brings files of the journal into the database `path`. Raises StoreError where one of them is bad.

    A `patient` one, beside which a broker serves its clients, does so in smaller steps.
    """

    def __init__(self, path: str, patient: bool = False) -> None:
        self.path = path
        self.slice_changes = PATIENT_CHANGES if patient else SLICE_RECORDS
        self.db = open_database(path)
        try:
            self.db.execute(f"PRAGMA wal_autocheckpoint = {PATIENT_PAGES if patient else CHECKPOINT_PAGES}")
            row = self.db.execute("SELECT folded, clock_ms, wall_ms, number FROM meta").fetchone()
        except sqlite3.Error as error:
            self.db.close()
            raise unusable(path, error) from error
        self.folded: int = row[0]
        self.clock_ms: int = row[1]
        self.wall_ms: int = row[2]
        self.number: int = row[3]

    def run(self, paths: list[str], proceed: Callable[[int, int], bool]) -> bool:
        """Fold these files, the oldest first; whether all were. `proceed` is asked before each frame, told how
        many files of how many are done. The last commit puts all of them on disk; until then the files are there."""
        for index, path in enumerate(paths):
            if first_number(path) > self.folded + 1:
                raise StoreError(f"{path}: the frames from {self.folded + 1} on, in front of it, are missing. {REMEDY}")
            changes = Changes()
            for frame in read_segment(path, self.folded):
                try:
                    changes.apply(frame.body)
                except (struct.error, IndexError, UnicodeDecodeError) as error:
                    raise StoreError(f"{path}: frame {frame.number} makes no sense ({error}). {REMEDY}") from error
                if not proceed(index, len(paths)):
                    return False
                self.folded = frame.number
                self.clock_ms = frame.clock_ms
                self.wall_ms = frame.wall_ms
                if changes.records >= SLICE_RECORDS or changes.size() >= self.slice_changes:
                    self.commit(changes)
                    changes = Changes()
            self.commit(changes, sync=index == len(paths) - 1)
        proceed(len(paths), len(paths))
        return True

    def commit(self, changes: Changes, sync: bool = False) -> None:
        """Bring the net changes of a slice into the tables, in one transaction, and put all on disk that was committed
        if `sync` is given."""
        db = self.db
        try:
            db.execute(f"PRAGMA synchronous = {'FULL' if sync else 'NORMAL'}")
            db.execute("BEGIN IMMEDIATE")
            try:
                self._write(changes)
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise unusable(self.path, error) from error

    def _write(self, changes: Changes) -> None:
        db = self.db
        fewer: dict[int, int] = {}  # copies of older messages
        self._end_sessions(changes, fewer)
        db.executemany(
            "INSERT OR REPLACE INTO sessions VALUES (?,?,?,?,?,?,?,?,?,?,?,?)", session_rows(changes.sessions)
        )
        gone = [(number, name.decode()) for (number, name), row in changes.subscriptions.items() if row is None]
        db.executemany("DELETE FROM subscriptions WHERE session = ? AND topic_filter = ?", gone)
        made = [
            (number, name.decode(), row[0], blob(row[1]))
            for (number, name), row in changes.subscriptions.items()
            if row is not None and number not in changes.sessions_ended
        ]
        db.executemany("INSERT OR REPLACE INTO subscriptions VALUES (?,?,?,?)", made)
        self._write_deliveries(changes, fewer)
        received = [key for key, there in changes.received.items() if there and key[0] not in changes.sessions_ended]
        db.executemany("INSERT OR IGNORE INTO received VALUES (?,?)", received)
        released = [key for key, there in changes.received.items() if not there]
        db.executemany("DELETE FROM received WHERE session = ? AND packet_identifier = ?", released)
        cleared = [(name.decode(),) for name, row in changes.retained.items() if row is None]
        db.executemany("DELETE FROM retained WHERE topic_name = ?", cleared)
        db.executemany("INSERT OR REPLACE INTO retained VALUES (?,?,?,?,?,?,?,?,?)", retained_rows(changes.retained))
        self.number = max(self.number, changes.number)
        db.execute(
            "UPDATE meta SET folded = ?, clock_ms = ?, wall_ms = ?, number = ?",
            (self.folded, self.clock_ms, self.wall_ms, self.number),
        )

    def _end_sessions(self, changes: Changes, fewer: dict[int, int]) -> None:
        db = self.db
        ended = [(number,) for number in changes.sessions_ended]
        for key in ended:
            for (message,) in db.execute("DELETE FROM deliveries WHERE session = ? RETURNING message", key).fetchall():
                fewer[message] = fewer.get(message, 0) + 1
        db.executemany("DELETE FROM sessions WHERE id = ?", ended)
        db.executemany("DELETE FROM subscriptions WHERE session = ?", ended)
        db.executemany("DELETE FROM received WHERE session = ?", ended)

    def _write_deliveries(self, changes: Changes, fewer: dict[int, int]) -> None:
        db = self.db
        copies: dict[int, int] = {}
        rows: list[tuple[int, DeliveryRow]] = []
        for number, row in changes.deliveries.items():
            if row.session not in changes.sessions_ended:
                copies[row.message] = copies.get(row.message, 0) + 1
                rows.append((number, row))
        db.executemany(
            "INSERT INTO messages VALUES (?,?,?,?,?,?,?,?)",
            [_message_row(number, count, changes.messages[number]) for number, count in copies.items()],
        )
        db.executemany("INSERT INTO deliveries VALUES (?,?,?,?,?,?,?)", delivery_rows(rows))
        db.executemany(
            f"UPDATE deliveries SET packet_identifier = ?, options = (options & ~{3 << STATE_SHIFT}) | ? WHERE id = ?",
            [(identifier, state << STATE_SHIFT, number) for number, (identifier, state) in changes.progress.items()],
        )
        for number in changes.deliveries_ended:
            found = db.execute("DELETE FROM deliveries WHERE id = ? RETURNING message", (number,)).fetchall()
            for (message,) in found:
                fewer[message] = fewer.get(message, 0) + 1
        db.executemany("UPDATE messages SET copies = copies - ? WHERE id = ?", [(n, key) for key, n in fewer.items()])
        db.executemany("DELETE FROM messages WHERE id = ? AND copies <= 0", [(key,) for key in fewer])

    def note_start(self, clock_ms: int, wall_ms: int) -> None:
        """A broker starts: clients that were connected when the last one was killed have left, now and once for all.

        Where the wall clock was set back the store's clock counts on from here.
        """
        try:
            self.db.execute("UPDATE sessions SET left_ms = ? WHERE left_ms = 0", (clock_ms,))
            if wall_ms < self.wall_ms:
                self.db.execute("UPDATE meta SET clock_ms = ?, wall_ms = ?", (clock_ms, wall_ms))
        except sqlite3.Error as error:
            raise unusable(self.path, error) from error

    def give_back(self) -> None:
        """Give free space back to the system where there is much of it, and empty SQLite's own log."""
        try:
            free: int = self.db.execute("PRAGMA freelist_count").fetchone()[0]
            if free > VACUUM_FREE_PAGES:
                self.db.execute(f"PRAGMA incremental_vacuum({free - VACUUM_FREE_PAGES})").fetchall()
            self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.Error as error:
            raise unusable(self.path, error) from error

    def close(self) -> None:
        """Close the database."""
        self.db.close()


def blob(data: bytes) -> bytearray:
    """Bytes as Python's sqlite3 binds them at once: for `bytes` it looks for an adapter each time, which takes longer
    than all else that is done for a value."""
    return bytearray(data) if data else NOTHING


def session_rows(sessions: dict[int, SessionRow]) -> list[tuple[object, ...]]:
    """Rows of the table `sessions`."""
    rows: list[tuple[object, ...]] = []
    for number, row in sessions.items():
        will = row.will
        columns: tuple[object, ...] = (None,) * 7
        if will is not None:
            publish = will.publish
            columns = (
                int(will.will_delay_interval),
                publish.topic_name.decode(),
                publish.payload,
                publish.properties,
                int(publish.qos),
                publish.retain,
                int(publish.message_expiry_interval),
            )
        rows.append((number, row.client_id, row.username, row.expiry_interval, row.left_ms, *columns))
    return rows


def retained_rows(retained: dict[bytes, RetainedRow | None]) -> list[tuple[object, ...]]:
    """Rows of the table `retained`."""
    rows: list[tuple[object, ...]] = []
    for name, row in retained.items():
        if row is not None:
            publish, source = row.publish, row.source
            expires = (int(publish.expires_at_ms), int(publish.message_expiry_interval))
            columns = (blob(publish.payload), blob(publish.properties), int(publish.qos), *expires, publish.client_id)
            by = (source.username, source.listener) if source is not None else (None, None)
            rows.append((name.decode(), *columns, *by))
    return rows


def delivery_rows(deliveries: list[tuple[int, DeliveryRow]]) -> list[tuple[object, ...]]:
    """Rows of the table `deliveries`."""
    return [
        (
            number,
            row.session,
            row.message,
            row.packet_identifier,
            row.options,
            blob(row.share),
            blob(row.identifiers),
        )
        for number, row in deliveries
    ]


def _message_row(number: int, copies: int, publish: Publish) -> tuple[object, ...]:
    body = (publish.topic_name.decode(), blob(publish.payload), blob(publish.properties))
    return (number, copies, *body, int(publish.qos), publish.retain, int(publish.expires_at_ms))


def fold_all(folder: str, proceed: Callable[[int, int], bool]) -> Fold:
    """Fold the whole journal of a folder that no broker uses, and delete it; the database, ready to be read."""
    fold = Fold(os.path.join(folder, DATABASE))
    try:
        paths = segments(folder)
        fold.run(paths, proceed)
        if paths:
            fold.give_back()
        for path in paths:
            os.unlink(path)
    except BaseException:
        fold.close()
        raise
    return fold


def read_back(fold: Fold, path: str, wanted: list[tuple[int, int, int]]) -> None:
    """Write the queued messages of some sessions to a file: (session, first number, end of the numbers) each."""
    with open(open_private(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb") as file:
        for session, first, end in wanted:
            cursor = fold.db.execute(
                "SELECT d.id, d.options, d.share, d.identifiers, m.topic_name, m.payload, m.properties, m.qos,"
                " m.retain, m.expires_at_ms FROM deliveries AS d JOIN messages AS m ON m.id = d.message"
                " WHERE d.session = ? AND d.id >= ? AND d.id < ? AND (d.options >> ? & 3) = ? ORDER BY d.id",
                (session, first, end, STATE_SHIFT, QUEUED),
            )
            while rows := cursor.fetchmany(READ_ROWS):
                pieces: list[bytes] = []
                for number, options, share, identifiers, name, payload, properties, qos, retain, expires in rows:
                    publish = Publish(name.encode(), payload, qos, bool(retain))
                    publish.properties = properties
                    publish.expires_at_ms = expires
                    add_message(pieces, MESSAGE, number, publish)
                    lengths = (len(share), len(identifiers) // 4)
                    pieces.append(pack_delivery(DELIVERY, session, number, number, 0, options, *lengths))
                    pieces.append(share)
                    pieces.append(identifiers)
                body = b"".join(pieces)
                file.write(READ_HEAD.pack(session, len(body)))
                file.write(body)


def fold_and_read(
    folder: str,
    arguments: list[str],
    proceed: Callable[[int, int], bool],
    rest: Callable[[], int] | None = None,
) -> bool:
    """Fold files of the journal and read back what the words that begin with `READ` ask for; whether all was done.

    Other words that begin with `--` are passed over. `rest` is called again and again while SQLite works.
    """
    wanted = [word.removeprefix(READ) for word in arguments if word.startswith(READ)]
    files = [word for word in arguments if not word.startswith("--")]
    fold = Fold(os.path.join(folder, DATABASE), PATIENT in arguments)
    if rest is not None:
        fold.db.set_progress_handler(rest, WORK_STEPS)
    try:
        done = fold.run(files, proceed)
        if done and wanted:
            numbers = [tuple(map(int, word.split(":"))) for word in wanted]
            read_back(fold, os.path.join(folder, READ_BACK), [(one[0], one[1], one[2]) for one in numbers])
        elif done:
            fold.give_back()
    finally:
        fold.close()
    return done


class Pace:
    """Has a `patient` fold rest often and briefly.

    Who sleeps lets go of the core, whatever the scheduler thinks to be fair: a runnable fold may keep it until the next
    tick, 4 ms later, at any priority.
    """

    def __init__(self, patient: bool) -> None:
        self.patient = patient  # where it is not, nothing is done
        self.since_ns: int = time.perf_counter_ns()

    def rest(self) -> int:
        """Sleep for a moment if there was work for long enough. 0, by which SQLite goes on."""
        if self.patient and time.perf_counter_ns() - self.since_ns > WORK_NS:
            time.sleep(REST_S)
            self.since_ns = time.perf_counter_ns()
        return 0

    def proceed(self, _done: int, _files: int) -> bool:
        """The same between two frames; always True."""
        self.rest()
        return True


def child() -> int:
    """The process that folds while the broker runs: does what it is told, run after run, until its stdin ends.

    Its argument is the folder. A run is told by a `RUN_HEAD` and the arguments of `fold_and_read`; the answer is
    `DONE`, or what is wrong.
    """
    folder = sys.argv[1]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal goes to the broker, which ends us
    while head := os.read(0, RUN_HEAD.size):
        arguments = _words(RUN_HEAD.unpack(head)[0])
        _leash(True)
        pace = Pace(PATIENT in arguments)
        answer = DONE
        try:
            fold_and_read(folder, arguments, pace.proceed, pace.rest)
        except (StoreError, OSError) as error:
            answer = str(error).encode()[:ANSWER_BYTES]
        _leash(False)
        os.write(1, answer)
    return 0


def _words(length: int) -> list[str]:
    """Words of so many bytes from stdin, with a NUL between."""
    data = b""
    while len(data) < length:
        data += os.read(0, length - len(data)) or sys.exit(1)
    return [os.fsdecode(word) for word in data.split(b"\0")]


def _leash(tight: bool) -> None:
    """Have the system end us once the other end of our standard input is closed: the broker stops, or is gone.

    Our priority is low, and the next broker waits for our lock on the folder: to look for ourselves now and then would
    keep it waiting for seconds on a busy machine. While we wait for what to do next, reading tells us.
    """
    fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())
    flags = fcntl.fcntl(0, fcntl.F_GETFL)
    # SIGIO comes, which ends who does not handle it
    fcntl.fcntl(0, fcntl.F_SETFL, flags | os.O_ASYNC if tight else flags & ~os.O_ASYNC)
    if tight and select.select([0], [], [], 0)[0]:
        raise SystemExit(1)  # it was closed before
