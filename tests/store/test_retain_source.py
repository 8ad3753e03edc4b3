"""Who published a retained message is known after a restart: `limits.check_retain_source` goes by it."""

from __future__ import annotations

import io
import json
import shutil
import sqlite3
from pathlib import Path

import pytest
from store_helpers import StoredBroker

from swellmq.broker.access import MAY_PUBLISH, Access, Rights
from swellmq.broker.retained import Source
from swellmq.codec.packets import Publish, Will
from swellmq.store import manage
from swellmq.store.errors import StoreError
from swellmq.store.records import RETAINED, Changes, add_retained

# The tables of version 1, and what its rows looked like.
RETAINED_1 = """CREATE TABLE retained (topic_name TEXT PRIMARY KEY, payload BLOB NOT NULL, properties BLOB NOT NULL,
 qos INTEGER NOT NULL, expires_at_ms INTEGER NOT NULL, expiry_interval_s INTEGER NOT NULL, client_id TEXT NOT NULL)"""


class Publishers(Rights):
    """Rights of all but who is `banned`, by user name or client id, from publishing."""

    def __init__(self, *banned: str) -> None:
        super().__init__()
        self.banned = banned
        self.asked = 0

    def allows(self, username: str | None, client_id: str, right: int, topic: bytes) -> bool:
        self.asked += right == MAY_PUBLISH
        return right != MAY_PUBLISH or (username or client_id) not in self.banned


def access_of(rights: Rights | None, rights_at: dict[int, Rights] | None = None, names: tuple[str, ...] = ()) -> Access:
    access = Access()
    access.rights = rights
    access.rights_at = rights_at or {}
    access.listener_names = list(names)
    return access


def retained_of(stored: StoredBroker) -> list[bytes]:
    """What a new subscriber of everything gets."""
    client = stored.broker.connect("reader")
    client.subscribe("#")
    found = sorted(client.payloads())
    client.disconnect()
    return found


def filled(folder: Path, access: Access) -> StoredBroker:
    stored = StoredBroker(folder, access=access)
    stored.broker.connect("c1", username="eve").publish("e", b"eve's", retain=True)
    stored.broker.connect("c2").publish("n", b"of the nameless", retain=True)
    stored.publish("ours", b"ours", 1, retain=True)
    return stored


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_a_message_goes_with_its_publishers_rights_after_a_restart(tmp_path: Path, how: str) -> None:
    first = filled(tmp_path / "a", access_of(Publishers()))
    folder = first.folder
    if how == "killed":
        folder = tmp_path / "b"
        shutil.copytree(first.folder, folder)  # what is on disk while it runs; all of it is in the journal
    first.stop()
    rights = Publishers("eve")
    stored = StoredBroker(folder, access=access_of(rights))
    rights.asked = 0
    assert retained_of(stored) == [b"of the nameless", b"ours"]
    assert rights.asked == 2  # about each message that a client has published
    retained_of(stored)
    assert rights.asked == 3  # what was allowed is known
    stored.access = access_of(Publishers("c2"))
    stored.restart()
    assert retained_of(stored) == [b"eve's", b"ours"]
    stored.access = None  # without access control nobody asks, and what is known of them is kept
    stored.restart()
    assert len(retained_of(stored)) == 3
    stored.access = access_of(Publishers("eve", "c2"))
    stored.restart()
    assert retained_of(stored) == [b"ours"]
    stored.stop()


def test_what_is_published_anew_has_a_new_publisher(tmp_path: Path) -> None:
    stored = filled(tmp_path, access_of(Publishers()))
    stored.broker.connect("c3", username="bob").publish("e", b"bob's", retain=True)
    stored.publish("n", b"ours now", 1, retain=True)
    stored.access = access_of(Publishers("eve", "c2"))
    stored.restart()
    assert retained_of(stored) == [b"bob's", b"ours", b"ours now"]
    stored.stop()


def test_the_will_of_a_client_counts_as_its_own(tmp_path: Path) -> None:
    stored = StoredBroker(tmp_path, access=access_of(Publishers()))
    stored.connect("k", username="eve", will=Will(Publish(b"w", b"will", 0, True), 0)).drop()
    stored.access = access_of(Publishers("eve"))
    stored.restart()
    assert retained_of(stored) == []
    stored.stop()


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (("in:1", "out:2"), []),
        (("out:2", "in:1"), [b"x"]),  # its listener is the second one by now
        (("other:1", "other:2"), [b"x"]),  # nobody knows it: one of all rights allows it
    ],
)
def test_the_listener_by_which_it_came_decides(tmp_path: Path, names: tuple[str, ...], found: list[bytes]) -> None:
    stored = StoredBroker(tmp_path, access=access_of(None, {0: Publishers()}, ("in:1", "out:2")))
    stored.broker.connect("c1", username="eve").publish("t", b"x", retain=True)  # by the first one
    stored.access = access_of(None, {0: Publishers("eve"), 1: Publishers()}, names)
    stored.restart()
    assert retained_of(stored) == found
    stored.stop()


def test_listeners_without_names_go_by_their_numbers(tmp_path: Path) -> None:
    stored = StoredBroker(tmp_path, access=access_of(None, {0: Publishers()}))
    stored.broker.connect("c1", username="eve").publish("t", b"x", retain=True)
    stored.access = access_of(None, {0: Publishers("eve"), 1: Publishers()})
    stored.restart()
    assert retained_of(stored) == []
    stored.stop()


def test_without_access_control_nothing_is_added(tmp_path: Path) -> None:
    stored = filled(tmp_path, Access())
    assert stored.broker.core.retained.sources == {}
    stored.restart()
    assert stored.broker.core.retained.sources == {}
    stored.stop()
    pieces: list[bytes] = []
    add_retained(pieces, Publish(b"t", b"x", 0, True), None)
    assert pieces[0][0] == RETAINED and len(b"".join(pieces)) == 41


def test_a_record_of_a_publisher_that_is_cut_off() -> None:
    pieces: list[bytes] = []
    publish = Publish(b"t", b"x", 0, True)
    publish.client_id = "c"
    add_retained(pieces, publish, Source("eve", "c", "in:1"))
    body = b"".join(pieces)
    changes = Changes()
    changes.apply(body)
    row = changes.retained[b"t"]
    assert row is not None and row.source is not None
    assert (row.source.username, row.source.client_id, row.source.listener) == ("eve", "c", "in:1")
    with pytest.raises(IndexError, match="cut off"):
        Changes().apply(body[:-1])


def as_version_1(folder: Path) -> None:
    """Make the database in `folder` one of the version before."""
    db = sqlite3.connect(folder / "state.db", isolation_level=None)
    rows = db.execute("SELECT * FROM retained").fetchall()
    db.execute("DROP TABLE retained")
    db.execute(RETAINED_1)
    db.executemany("INSERT INTO retained VALUES (?,?,?,?,?,?,?)", [row[:7] for row in rows])
    db.execute("PRAGMA user_version = 1")
    db.close()


def test_a_database_of_version_1_is_brought_up_to_date(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    stored = filled(tmp_path, access_of(Publishers()))
    stored.restart()
    stored.stop()
    as_version_1(tmp_path)
    assert manage.check(tmp_path) == [] and ("version", "1") in manage.info(tmp_path)
    manage.backup(tmp_path, tmp_path / "copy")  # which is of this version, and leaves the original as it is
    assert ("version", "1") in manage.info(tmp_path)
    caplog.set_level("INFO", "swellmq.store")
    stored.access = access_of(Publishers("eve", "c2"))
    stored.start()
    assert "brought from version 1 to 2" in caplog.text
    assert len(retained_of(stored)) == 3  # who published them is not known
    stored.broker.connect("c1", username="eve")
    stored.stop()
    caplog.clear()
    stored.start()
    assert "brought from version" not in caplog.text
    stored.stop()


def test_export_and_import_keep_the_publisher(tmp_path: Path) -> None:
    stored = filled(tmp_path / "a", access_of(Publishers()))
    stored.stop()
    lines = io.StringIO()
    manage.export(tmp_path / "a", lines)
    rows = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert [(row.get("username"), row.get("listener")) for row in rows if row.get("topic_name") == "e"] == [
        ("eve", "0")
    ]
    lines.seek(0)
    manage.import_lines(tmp_path / "b", lines)
    other = StoredBroker(tmp_path / "b", access=access_of(Publishers("eve")))
    assert retained_of(other) == [b"of the nameless", b"ours"]
    other.stop()


def test_an_export_of_version_1_is_imported(tmp_path: Path) -> None:
    row = {"topic_name": "e", "payload": {"base64": "eA=="}, "properties": {"base64": ""}, "qos": 0}
    row |= {"expires_at_ms": 0, "expiry_interval_s": -1, "client_id": "c1"}
    head = {"swellmq-export": 1, "clock_ms": 1, "wall_ms": 1, "number": 0}
    text = json.dumps(head) + "\n" + json.dumps({"table": "retained", **row})
    assert manage.import_lines(tmp_path / "a", io.StringIO(text)) == 1
    stored = StoredBroker(tmp_path / "a", access=access_of(Publishers("c1")))
    assert retained_of(stored) == [b"x"]
    stored.stop()
    for version in (0, 3):
        head["swellmq-export"] = version
        with pytest.raises(StoreError, match=f"version {version}; this swellmq reads versions up to 2"):
            manage.import_lines(tmp_path / f"b{version}", io.StringIO(json.dumps(head)))
