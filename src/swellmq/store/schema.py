"""The database: its tables, its version, and how it is opened.

`state.db` is SQLite in WAL mode. Only the fold writes to it. Times are milliseconds of the store's clock, which is the
wall clock without its jumps.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import time
from typing import Final

from swellmq.store.errors import StoreError
from swellmq.store.journal import open_private, sync_folder

log: Final = logging.getLogger("swellmq.store")

APPLICATION_ID: Final = 0x53774D51  # "SwMQ", told by `file`
VERSION: Final = 2
DATABASE: Final = "state.db"
LOCK: Final = "lock"
FULL_BELOW_BYTES: Final = 131_072  # SQLite's index of its log alone takes 32 KiB, and grows by as much
LOCK_WAIT_S: Final = 60.0  # a fold that outlives a killed broker ends well within it

TABLES: Final = """
-- One row: how far the journal is folded in, the store's clock and the wall clock then, the largest number given out.
CREATE TABLE meta (folded INTEGER NOT NULL, clock_ms INTEGER NOT NULL, wall_ms INTEGER NOT NULL,
                   number INTEGER NOT NULL);
INSERT INTO meta VALUES (0, 0, 0, 0);
-- A session that outlives its connection. left_ms: when its client left; 0: it was connected.
CREATE TABLE sessions (id INTEGER PRIMARY KEY, client_id TEXT NOT NULL, username TEXT, expiry_interval_s INTEGER NOT
                       NULL, left_ms INTEGER NOT NULL, will_delay_s INTEGER, will_topic_name TEXT, will_payload BLOB,
                       will_properties BLOB, will_qos INTEGER, will_retain INTEGER, will_expiry_interval_s INTEGER);
-- options: QoS + 4 no local + 8 retain as published. identifiers: Subscription Identifiers, 4 bytes each.
CREATE TABLE subscriptions (session INTEGER NOT NULL, topic_filter TEXT NOT NULL, options INTEGER NOT NULL,
                            identifiers BLOB NOT NULL, PRIMARY KEY (session, topic_filter)) WITHOUT ROWID;
-- A message that waits for `copies` sessions.
CREATE TABLE messages (id INTEGER PRIMARY KEY, copies INTEGER NOT NULL, topic_name TEXT NOT NULL, payload BLOB NOT
                       NULL, properties BLOB NOT NULL, qos INTEGER NOT NULL, retain INTEGER NOT NULL, expires_at_ms
                       INTEGER NOT NULL);
-- A message on its way to a session, in the order of its numbers. options: QoS + 4 * state + 16 retain; the state is
-- 0 queued, 1 sent, 2 released (QoS 2: PUBREC came), 3 to be sent again. share: the shared subscription it came by.
CREATE TABLE deliveries (id INTEGER PRIMARY KEY, session INTEGER NOT NULL, message INTEGER NOT NULL,
                         packet_identifier INTEGER NOT NULL, options INTEGER NOT NULL, share BLOB NOT NULL,
                         identifiers BLOB NOT NULL);
CREATE INDEX deliveries_session ON deliveries (session);
-- QoS 2 messages that came from the client and await their PUBREL.
CREATE TABLE received (session INTEGER NOT NULL, packet_identifier INTEGER NOT NULL,
                       PRIMARY KEY (session, packet_identifier)) WITHOUT ROWID;
-- client_id, username, listener: who published it, and by which listener where access control wants to know; else NULL.
CREATE TABLE retained (topic_name TEXT PRIMARY KEY, payload BLOB NOT NULL, properties BLOB NOT NULL, qos INTEGER NOT
                       NULL, expires_at_ms INTEGER NOT NULL, expiry_interval_s INTEGER NOT NULL, client_id TEXT NOT
                       NULL, username TEXT, listener TEXT);
"""

# What makes a database of a version one of the next. `TABLES` is what all of them come to.
MIGRATIONS: Final = {1: "ALTER TABLE retained ADD COLUMN username TEXT; ALTER TABLE retained ADD COLUMN listener TEXT;"}


def lock_folder(folder: str) -> int:
    """Make the folder and lock it; the descriptor that holds the lock. Raises StoreError where that can't be."""
    try:
        if not os.path.isdir(folder):
            _make_folder(os.path.abspath(folder))
        fd = open_private(os.path.join(folder, LOCK), os.O_RDWR | os.O_CREAT)
    except OSError as error:
        a_file = isinstance(error, FileExistsError | NotADirectoryError)
        why = f"{error.filename} is a file" if a_file else f"can't be written to: {error.strerror}"
        raise StoreError(f"{folder}: {why}. Give the broker a folder of its own that it may write to") from error
    give_up = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _write_number(fd)
            return fd
        except BlockingIOError:
            if _holder_lives(fd) or time.monotonic() > give_up:
                os.close(fd)
                raise StoreError(f"{folder}: a broker is using it. Stop that one, or give another folder") from None
        except OSError as error:
            os.close(fd)
            raise StoreError(f"{folder}: can't be locked: {error.strerror}") from error
        time.sleep(0.02)


def _make_folder(folder: str) -> None:
    """Make a folder that outlives a power cut: its name is on disk, and that of each folder that is made around it."""
    around = os.path.dirname(folder)
    if not os.path.isdir(around):
        _make_folder(around)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    try:
        sync_folder(around)
    except PermissionError:
        pass  # it may be written to and not read; the system writes the name in its own time


def _write_number(fd: int) -> None:
    """Leave our process number in the lock file, for whoever finds it locked."""
    try:
        os.pwrite(fd, b"%-20d" % os.getpid(), 0)
    except OSError:
        pass  # a full disk must not keep the broker from starting


def _holder_lives(fd: int) -> bool:
    """Whether the broker that took the lock is there; else a fold of it has it, which ends by itself.

    A process of our own number is another's in a container that shares the folder.
    """
    text = os.pread(fd, 20, 0).strip()
    if not text.isdigit():
        return False  # it is just taking it
    try:
        os.kill(int(text), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def open_database(path: str, read_only: bool = False) -> sqlite3.Connection:
    """Open a database, made first where there is none. Raises StoreError where it is not ours, or unusable."""
    try:
        if read_only:
            db = sqlite3.connect(f"file:{_quoted(path)}?mode=ro", uri=True, isolation_level=None)
        else:
            db = new_database(path)
        db.execute("PRAGMA busy_timeout = 5000")
        _check_version(db, path, read_only)
        if not read_only:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
        return db
    except sqlite3.Error as error:
        raise unusable(path, error) from error


def new_database(path: str) -> sqlite3.Connection:
    """Connect to a database, made first where there is none, so that no other user reads it or what SQLite puts beside
    it. Raises sqlite3.Error."""
    try:
        os.close(open_private(path, os.O_RDWR | os.O_CREAT))
    except OSError:
        pass  # SQLite says what is wrong
    return sqlite3.connect(path, isolation_level=None)


def unusable(path: str, error: sqlite3.Error) -> StoreError:
    """What an error of SQLite means for the operator."""
    text = str(error)
    if isinstance(error, sqlite3.DatabaseError) and ("malformed" in text or "not a database" in text):
        remedy = "It is damaged: restore a backup (`swellmq data backup` makes them), or move it away to start empty"
    elif "full" in text or _is_full(os.path.dirname(path)):
        return StoreError(f"{path}: the disk is full ({text}). Make room on it")
    else:
        remedy = "Look at the disk and at the permissions of the folder"
    return StoreError(f"{path}: {text}. {remedy}")


def _is_full(folder: str) -> bool:
    """Whether there is no room, which SQLite calls an I/O error where it fails to grow a file that it maps."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return False
    return found.f_bavail * found.f_frsize < FULL_BELOW_BYTES


def _quoted(path: str) -> str:
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def _check_version(db: sqlite3.Connection, path: str, read_only: bool) -> None:
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    application: int = db.execute("PRAGMA application_id").fetchone()[0]
    if version == 0 and application == 0 and not db.execute("SELECT 1 FROM sqlite_master").fetchone():
        if not read_only:
            db.execute("PRAGMA page_size = 4096")
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")
            db.executescript(
                f"BEGIN; {TABLES} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION}; COMMIT;"
            )
        return
    if application != APPLICATION_ID:
        raise StoreError(f"{path}: this is a database of another program. Give the broker a folder of its own")
    if version > VERSION:
        raise StoreError(
            f"{path}: it is of version {version}, written by a newer swellmq; this one knows versions up to {VERSION}."
            " Run the newer one, or restore a backup of this one"
        )
    if not read_only:
        for older in range(version, VERSION):
            db.executescript(f"BEGIN IMMEDIATE; {MIGRATIONS[older]} PRAGMA user_version = {older + 1}; COMMIT;")
            log.info("%s: brought from version %d to %d", path, older, older + 1)
