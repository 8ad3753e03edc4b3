"""From the database back into the broker, at start."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from typing import Final, final

from mypy_extensions import i64, mypyc_attr

from swellmq.broker.retained import Source
from swellmq.broker.session import Delivery, Session, Subscription
from swellmq.broker.storage import Restorer
from swellmq.codec.packets import Publish, Will
from swellmq.store.errors import StoreError
from swellmq.store.records import NO_LOCAL, RETAIN, RETAIN_AS_PUBLISHED, STATE_SHIFT, unpack_identifiers
from swellmq.store.schema import DATABASE, unusable

log: Final = logging.getLogger("swellmq.store")

ROWS: Final = 1_000  # fetched at a time
PROGRESS_S: Final = 2.0  # what takes longer says how far it is


@final
@mypyc_attr(native_class=True)
class Progress:
    """A log line now and then from what takes long."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.begin_s: float = time.monotonic()
        self.said_s: float = self.begin_s

    def say(self, done: int, whole: int) -> None:
        """`done` of `whole` are done: say so if there was silence for `PROGRESS_S`."""
        now_s = time.monotonic()
        if now_s - self.said_s >= PROGRESS_S and done < whole:
            self.said_s = now_s
            log.info("%s: %d of %d, %d %%", self.what, done, whole, done * 100 // whole)

    def say_files(self, done: int, whole: int) -> bool:
        """The same for a fold, which asks whether to go on."""
        self.say(done, whole)
        return True


@final
@mypyc_attr(native_class=True)
class Loader:
    """Reads the tables, and gives what it finds to the broker."""

    def __init__(self, db: sqlite3.Connection, folder: str, restorer: Restorer, clock_base_ms: i64) -> None:
        self.db = db
        self.path = os.path.join(folder, DATABASE)
        self.restorer = restorer
        self.clock_base_ms: i64 = clock_base_ms
        self.sessions: dict[int, Session] = {}
        self.progress = Progress("reading " + self.path)
        self.rows: i64 = 0
        self.rows_in_all: i64 = 0

    def load(self) -> None:
        """Read all. Raises StoreError where the database can't be read."""
        try:
            for table in ("sessions", "subscriptions", "deliveries", "retained"):
                self.rows_in_all += int(self.db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
            self._sessions()
            self._subscriptions()
            self._deliveries()
            self._received()
            self._retained()
        except (sqlite3.Error, UnicodeDecodeError) as error:
            if isinstance(error, sqlite3.Error):
                raise unusable(self.path, error) from error
            raise StoreError(f"{self.path}: {error}. It is damaged: restore a backup") from error

    def _fetch(self, cursor: sqlite3.Cursor) -> list[tuple[object, ...]]:
        rows = cursor.fetchmany(ROWS)
        self.rows += len(rows)
        self.progress.say(int(self.rows), int(self.rows_in_all))
        return rows

    def _sessions(self) -> None:
        cursor = self.db.execute("SELECT * FROM sessions")
        while rows := self._fetch(cursor):
            for row in rows:
                number, client_id, username, expiry_interval, left_ms, delay, name, payload, extra, qos, keep, life = (
                    row
                )
                assert isinstance(number, int) and isinstance(client_id, str) and isinstance(left_ms, int)
                assert isinstance(expiry_interval, int)
                session = Session(client_id)
                session.stored_id = number
                session.username = username if isinstance(username, str) else None
                session.expiry_interval = expiry_interval
                session.since_ms = left_ms - self.clock_base_ms
                if isinstance(delay, int):
                    assert isinstance(name, str) and isinstance(payload, bytes) and isinstance(extra, bytes)
                    assert isinstance(qos, int) and isinstance(life, int)
                    publish = Publish(name.encode(), payload, qos, bool(keep))
                    publish.properties = extra
                    publish.message_expiry_interval = life
                    session.will = Will(publish, delay)
                self.sessions[number] = session
                self.restorer.restore_session(session)

    def _subscriptions(self) -> None:
        cursor = self.db.execute("SELECT session, topic_filter, options, identifiers FROM subscriptions")
        while rows := self._fetch(cursor):
            for number, topic_filter, options, identifiers in rows:
                assert isinstance(number, int) and isinstance(topic_filter, str)
                assert isinstance(options, int) and isinstance(identifiers, bytes)
                session = self.sessions.get(number)
                if session is None:
                    continue
                subscription = Subscription(session, topic_filter.encode())
                subscription.qos = options & 3
                subscription.no_local = options & NO_LOCAL != 0
                subscription.retain_as_published = options & RETAIN_AS_PUBLISHED != 0
                subscription.identifiers = unpack_identifiers(identifiers)
                subscription.plain = not identifiers and not subscription.no_local
                self.restorer.restore_subscription(subscription)

    def _deliveries(self) -> None:
        cursor = self.db.execute(
            "SELECT d.id, d.session, d.message, d.packet_identifier, d.options, d.share, d.identifiers, m.copies,"
            " m.topic_name, m.payload, m.properties, m.qos, m.retain, m.expires_at_ms"
            " FROM deliveries AS d JOIN messages AS m ON m.id = d.message ORDER BY d.id"
        )
        shared: dict[int, Publish] = {}  # messages for several sessions
        while rows := self._fetch(cursor):
            for row in rows:
                number, session_number, message, identifier, options, share, identifiers, copies = row[:8]
                assert isinstance(number, int) and isinstance(session_number, int) and isinstance(message, int)
                assert isinstance(identifier, int) and isinstance(options, int) and isinstance(copies, int)
                assert isinstance(share, bytes) and isinstance(identifiers, bytes)
                session = self.sessions.get(session_number)
                if session is None:
                    continue
                publish = shared.get(message)
                if publish is None:
                    publish = _publish(row)
                delivery = Delivery(
                    publish, options & 3, options & RETAIN != 0, unpack_identifiers(identifiers), share or None
                )
                delivery.stored_id = number
                delivery.packet_identifier = identifier
                delivery.state = options >> STATE_SHIFT & 3
                if self.restorer.restore_delivery(session, delivery) and copies > 1:
                    shared[message] = publish

    def _received(self) -> None:
        for number, identifier in self.db.execute("SELECT session, packet_identifier FROM received"):
            session = self.sessions.get(number)
            if session is not None:
                self.restorer.restore_received(session, identifier)

    def _retained(self) -> None:
        cursor = self.db.execute(
            "SELECT topic_name, payload, properties, qos, expires_at_ms, expiry_interval_s, client_id, username,"
            " listener FROM retained"
        )
        words: dict[str, str] = {}  # the same few come again and again
        while rows := self._fetch(cursor):
            for name, payload, properties, qos, expires_at_ms, interval, client_id, username, listener in rows:
                assert isinstance(name, str) and isinstance(payload, bytes) and isinstance(properties, bytes)
                assert isinstance(qos, int) and isinstance(expires_at_ms, int) and isinstance(interval, int)
                assert isinstance(client_id, str)
                publish = Publish(name.encode(), payload, qos, True)
                publish.properties = properties
                publish.expires_at_ms = expires_at_ms
                publish.message_expiry_interval = interval
                publish.client_id = words.setdefault(client_id, client_id)
                source: Source | None = None
                if isinstance(listener, str):
                    by = words.setdefault(username, username) if isinstance(username, str) else None
                    source = Source(by, publish.client_id, words.setdefault(listener, listener))
                self.restorer.restore_retained(publish, source)


def _publish(row: tuple[object, ...]) -> Publish:
    """The message of a row of deliveries joined with messages."""
    name, payload, properties, qos, retain, expires_at_ms = row[8:14]
    assert isinstance(name, str) and isinstance(payload, bytes) and isinstance(properties, bytes)
    assert isinstance(qos, int) and isinstance(expires_at_ms, int)
    publish = Publish(name.encode(), payload, qos, bool(retain))
    publish.properties = properties
    publish.expires_at_ms = expires_at_ms
    return publish
