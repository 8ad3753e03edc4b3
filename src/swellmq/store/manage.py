"""What an operator does with a data folder: look, check, back up, compact, export, import.

`backup` and `export` work while a broker uses the folder: the journal's files are held fast first (by links), then the
database is copied, then the journal is folded into the copy. What the database had folded in by then is passed over, so
the copy is the state at one moment.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import sqlite3
import struct
import tempfile
import time
from pathlib import Path
from typing import Final, TextIO

from swellmq.store.errors import StoreError
from swellmq.store.fold import Fold, fold_all
from swellmq.store.journal import PREFIX, read_segment, segments
from swellmq.store.records import Changes
from swellmq.store.schema import DATABASE, VERSION, lock_folder, new_database, open_database, unusable

TABLES: Final = ("sessions", "subscriptions", "messages", "deliveries", "received", "retained")
HEADER: Final = "swellmq-export"
NO_EXPORT: Final = "is not of an export of swellmq"
FAULTS: Final = (
    (
        "deliveries that name no session",
        "SELECT count(*) FROM deliveries WHERE session NOT IN (SELECT id FROM sessions)",
    ),
    (
        "deliveries that name no message",
        "SELECT count(*) FROM deliveries WHERE message NOT IN (SELECT id FROM messages)",
    ),
    (
        "subscriptions that name no session",
        "SELECT count(*) FROM subscriptions WHERE session NOT IN (SELECT id FROM sessions)",
    ),
    (
        "messages whose copies are miscounted",
        "SELECT count(*) FROM messages WHERE copies <> (SELECT count(*) FROM copied WHERE message = messages.id)",
    ),
    ("client ids that have two sessions", "SELECT count(*) - count(DISTINCT client_id) FROM sessions"),
)


def info(folder: Path) -> list[tuple[str, str]]:
    """What is in the folder, as names and values; the journal's part is not counted, as it is not folded yet."""
    path = folder / DATABASE
    db = open_database(str(path), read_only=True)
    try:
        folded, clock_ms, wall_ms, _number = db.execute("SELECT * FROM meta").fetchone()
        lines = [("folder", str(folder)), ("version", str(db.execute("PRAGMA user_version").fetchone()[0]))]
        for table in TABLES:
            lines.append((table, str(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])))
    except sqlite3.Error as error:
        raise unusable(str(path), error) from error
    finally:
        db.close()
    journal = segments(str(folder))
    journal_bytes = sum(_size(Path(one)) for one in journal)
    lines += [
        ("database", f"{sum(_size(one) for one in folder.glob(DATABASE + '*')) / 1e6:.1f} MB"),
        ("journal", f"{len(journal)} files, {journal_bytes / 1e6:.1f} MB; not counted above"),
        ("folded up to frame", str(folded)),
        ("at", time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(wall_ms / 1000)) if wall_ms else "never"),
        ("store's clock", time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(clock_ms / 1000)) if clock_ms else "-"),
        ("in use", "by a broker" if in_use(folder) else "no"),
    ]
    return lines


def check(folder: Path) -> list[str]:
    """What is wrong with the folder, a sentence each; empty where all is well. A broker may be using it."""
    path = folder / DATABASE
    faults: list[str] = []
    db = open_database(str(path), read_only=True)
    try:
        for (told,) in db.execute("PRAGMA integrity_check(20)"):
            if told != "ok":
                faults.append(f"{path}: {told}")
        if not faults:
            db.execute("CREATE TEMP TABLE copied AS SELECT message FROM deliveries")
            db.execute("CREATE INDEX temp.copied_message ON copied (message)")
            for name, query in FAULTS:
                count = db.execute(query).fetchone()[0]
                if count:
                    faults.append(f"{path}: {count} {name}")
        folded: int = db.execute("SELECT folded FROM meta").fetchone()[0]
    except sqlite3.Error as error:
        return [*faults, str(unusable(str(path), error))]
    finally:
        db.close()
    for file in segments(str(folder)):
        try:
            for frame in read_segment(file, folded):
                Changes().apply(frame.body)
        except FileNotFoundError:
            continue  # folded while we looked
        except OSError as error:
            faults.append(f"{file}: can't be read: {error.strerror}")
        except StoreError as error:
            faults.append(str(error))
        except (struct.error, IndexError, UnicodeDecodeError) as error:
            faults.append(f"{file}: a frame makes no sense ({error})")
    return faults


def backup(folder: Path, target: Path) -> None:
    """Copy the state into one file, which is a whole database: in an empty folder, as state.db, it is the restore."""
    if target.exists():
        raise StoreError(f"{target}: is there already. Give the name of a new file")
    if not target.absolute().parent.is_dir():
        raise StoreError(f"{target}: there is no folder {target.absolute().parent}")
    with tempfile.TemporaryDirectory(prefix=".swellmq-backup-", dir=target.absolute().parent) as scratch:
        copy = Path(scratch, DATABASE)
        _copy(folder, copy)
        with copy.open("rb") as file:
            os.fsync(file.fileno())
        copy.rename(target)


def _copy(folder: Path, copy: Path) -> None:
    """Copy the state at this moment into a new database, with nothing beside it."""
    held = Path(tempfile.mkdtemp(dir=copy.parent))
    for file in segments(str(folder)):
        try:
            shutil.copyfile(file, held / Path(file).name)
        except FileNotFoundError:
            continue  # folded by now, so the copy of the database has it
    source = open_database(str(folder / DATABASE), read_only=True)
    try:
        target = new_database(str(copy))
        source.backup(target, pages=4096)
        target.close()
    except sqlite3.Error as error:
        raise unusable(str(folder / DATABASE), error) from error
    finally:
        source.close()
    fold = Fold(str(copy))
    try:
        fold.run(segments(str(held)), lambda _done, _files: True)
        fold.db.execute("PRAGMA journal_mode = DELETE").fetchall()
    finally:
        fold.close()


def compact(folder: Path) -> tuple[int, int]:
    """Fold the journal and write the database anew without its gaps; its bytes before and after. No broker may run."""
    with Locked(folder):
        before = sum(_size(path) for path in folder.iterdir() if path.is_file())
        fold = fold_all(str(folder), lambda _done, _files: True)
        try:
            fold.db.execute("VACUUM")
            fold.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.Error as error:
            raise unusable(str(folder / DATABASE), error) from error
        finally:
            fold.close()
        return before, sum(_size(path) for path in folder.iterdir() if path.is_file())


def export(folder: Path, out: TextIO) -> int:
    """Write everything as JSON lines, a row of a table each; how many. Binary columns are {"base64": "..."}."""
    rows = 0
    with tempfile.TemporaryDirectory(prefix="swellmq-export-") as scratch:
        copy = Path(scratch, DATABASE)
        _copy(folder, copy)
        db = open_database(str(copy), read_only=True)
        db.row_factory = sqlite3.Row
        clock_ms, wall_ms, number = db.execute("SELECT clock_ms, wall_ms, number FROM meta").fetchone()
        head = {HEADER: VERSION, "clock_ms": clock_ms, "wall_ms": wall_ms, "number": number}
        out.write(json.dumps(head) + "\n")
        for table in TABLES:
            for row in db.execute(f"SELECT * FROM {table}"):
                columns = {name: _shown(row[name]) for name in row.keys() if row[name] is not None}  # noqa: SIM118
                out.write(json.dumps({"table": table, **columns}, ensure_ascii=False) + "\n")
                rows += 1
        db.close()
    return rows


def import_lines(folder: Path, lines: TextIO, name: str = "the input") -> int:
    """Read what `export` wrote into a folder that holds no session and no message; how many rows. No broker may run.

    Raises StoreError, which says where in `name` it is that something is wrong; nothing is imported then.
    """
    with Locked(folder):
        fold = fold_all(str(folder), lambda _done, _files: True)
        db = fold.db
        number = 0
        try:
            for table in ("sessions", "retained"):
                if db.execute(f"SELECT 1 FROM {table}").fetchone():
                    raise StoreError(f"{folder}: is not empty. Give a new folder, and move its broker there")
            db.execute("BEGIN IMMEDIATE")
            for number, line in enumerate(lines, 1):
                _import_line(db, line, number == 1)
            if number == 0:
                raise ValueError(NO_EXPORT)
            db.execute("COMMIT")
            return number - 1
        except UnicodeDecodeError:
            raise StoreError(f"{name}: {NO_EXPORT}: not text in UTF-8. Nothing was imported") from None
        except (ValueError, OverflowError, sqlite3.Error) as error:
            raise StoreError(f"{name}: line {number}: {error}. Nothing was imported") from error
        finally:
            if db.in_transaction:
                db.execute("ROLLBACK")
            fold.close()


def _import_line(db: sqlite3.Connection, line: str, first: bool) -> None:
    """Put one row into its table; the first line is the header. Raises ValueError for what `export` can't have written.

    What was added to the tables since an older version wrote it may be left out of a row.
    """
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError("is not JSON") from None
    if not isinstance(entry, dict) or any('"' in name for name in entry) or first != (HEADER in entry):
        raise ValueError(NO_EXPORT)
    if first:
        if entry[HEADER] not in range(1, VERSION + 1):
            raise ValueError(f"version {entry[HEADER]}; this swellmq reads versions up to {VERSION}")
        numbers = [entry.get(name) for name in ("clock_ms", "wall_ms", "number")]
        if not all(type(number) is int for number in numbers):
            raise ValueError(NO_EXPORT)
        db.execute("UPDATE meta SET clock_ms = ?, wall_ms = ?, number = ?", numbers)
        return
    table = entry.pop("table", None)
    if table not in TABLES or not entry:
        raise ValueError("names no table of swellmq, or no column of it")
    names = ", ".join(f'"{name}"' for name in entry)
    values = [_raw(value) for value in entry.values()]
    db.execute(f"INSERT INTO {table} ({names}) VALUES ({','.join('?' * len(values))})", values)


def _shown(value: object) -> object:
    return {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def _raw(value: object) -> object:
    """A column as SQLite has it. Raises ValueError."""
    if not isinstance(value, dict):
        return value
    return base64.b64decode(str(value.get("base64", "-")), validate=True)


class Locked:
    """The folder, while no broker uses it. Raises StoreError where one does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> None:
        self.fd = lock_folder(str(self.folder))

    def __exit__(self, *_error: object) -> None:
        os.close(self.fd)


def in_use(folder: Path) -> bool:
    """Whether a broker has the folder locked."""
    import fcntl

    try:
        fd = os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def node_folder(data: Path) -> Path:
    """The folder of the one node in a data folder. Raises StoreError where there is none, or several."""
    if (data / DATABASE).exists() or any(data.glob(PREFIX + "*")):
        return data
    nodes = sorted(path.parent for path in data.glob("node-*/" + DATABASE))
    if not nodes:
        raise StoreError(f"{data}: no store is here. Give the folder that `swellmq serve --data` has")
    if len(nodes) > 1:
        raise StoreError(f"{data}: has several nodes. Give one of {', '.join(str(node) for node in nodes)}")
    return nodes[0]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
