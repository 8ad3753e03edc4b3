"""`swellmq data`: each of its doings, on a folder that a broker has filled, and on damaged ones."""

from __future__ import annotations

import io
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from store_helpers import StoredBroker

from swellmq.cli.main import main
from swellmq.codec.packets import Publish, Will
from swellmq.store import manage
from swellmq.store.errors import StoreError

HEAD = '{"swellmq-export": 1, "clock_ms": 0, "wall_ms": 0, "number": 0}\n'


@pytest.fixture
def stored(tmp_path: Path) -> Iterator[StoredBroker]:
    stored = StoredBroker(tmp_path / "data" / "node-0")
    for name in ("k", "l"):
        stored.connect(name, will=Will(Publish(b"will/\xc3\xa9", b"\xff\0", 1, False), 30)).subscribe("t/#", qos=2)
    stored.broker.clients[max(stored.broker.clients)].drop()
    stored.publish("t/1", b"text", 1)
    stored.publish("t/2", b"\x00\xff", 2)
    stored.publish("r", b"kept", 1, retain=True)
    stored.settle()
    yield stored
    stored.storage.close()


def payloads(folder: Path) -> list[bytes]:
    other = StoredBroker(folder)
    client = other.connect("l")
    found = [packet.payload for packet in client.receive() if isinstance(packet, Publish)]
    assert other.broker.core.retained.count == 1
    assert len(other.broker.core.sessions) == 2
    other.stop()
    return found


def test_info(stored: StoredBroker, capsys: pytest.CaptureFixture[str]) -> None:
    stored.restart()
    assert main(["data", "info", str(stored.folder.parent)]) == 0
    told = capsys.readouterr().out
    for line in (
        "sessions            2",
        "deliveries          4",
        "messages            2",
        "in use              by a broker",
    ):
        assert line in told


def test_check_finds_nothing_wrong(stored: StoredBroker, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", str(stored.folder.parent)]) == 0
    stored.restart()
    assert main(["data", "check", str(stored.folder.parent)]) == 0
    assert capsys.readouterr().out == "nothing wrong\nnothing wrong\n"


def test_check_finds_a_bad_count(stored: StoredBroker) -> None:
    stored.restart()
    stored.stop()
    db = sqlite3.connect(stored.folder / "state.db")
    db.execute("UPDATE messages SET copies = 7")
    db.execute("DELETE FROM sessions WHERE client_id = 'k'")
    db.commit()
    db.close()
    assert [fault.partition(": ")[2] for fault in manage.check(stored.folder)] == [
        "2 deliveries that name no session",
        "1 subscriptions that name no session",
        "2 messages whose copies are miscounted",
    ]


def test_check_finds_a_damaged_page(stored: StoredBroker) -> None:
    stored.restart()
    stored.stop()
    path = stored.folder / "state.db"
    data = bytearray(path.read_bytes())
    for page in range(1, len(data) // 4096):
        data[page * 4096 : page * 4096 + 64] = b"\xee" * 64
    path.write_bytes(data)
    assert manage.check(stored.folder)
    with pytest.raises(StoreError, match="It is damaged: restore a backup"):
        stored.start()


def test_backup_while_the_broker_runs(stored: StoredBroker, tmp_path: Path) -> None:
    assert main(["data", "backup", str(stored.folder), str(tmp_path / "copy")]) == 0
    stored.publish("t/3", b"later", 1)
    restored = tmp_path / "other" / "node-0"
    restored.mkdir(parents=True)
    (tmp_path / "copy").rename(restored / "state.db")
    assert payloads(restored) == [b"text", b"\x00\xff"]


def test_backup_does_not_overwrite(stored: StoredBroker, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "copy").write_text("precious")
    assert main(["data", "backup", str(stored.folder), str(tmp_path / "copy")]) == 1
    assert "is there already" in capsys.readouterr().err
    assert (tmp_path / "copy").read_text() == "precious"


def test_export_and_import(stored: StoredBroker, tmp_path: Path) -> None:
    lines = tmp_path / "lines"
    assert main(["data", "export", str(stored.folder), str(lines)]) == 0
    assert main(["data", "import", str(tmp_path / "new"), str(lines)]) == 0
    assert payloads(tmp_path / "new" / "node-0") == [b"text", b"\x00\xff"]
    assert main(["data", "import", str(tmp_path / "new"), str(lines)]) == 1  # it is not empty


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "line 1: is not JSON"),
        ("", "line 0: is not of an export"),
        ("[" * 100_000, "line 1: is not JSON"),
        ("[]", "line 1: is not of an export"),
        ('{"swellmq-export": 99}', "line 1: version 99"),
        ('{"swellmq-export": 1}', "line 1: is not of an export"),
        ('{"swellmq-export": 1, "clock_ms": "0", "wall_ms": 0, "number": 0}', "line 1: is not of an export"),
        ('{"swellmq-export": 1, "clock_ms": 1e40, "wall_ms": 0, "number": 0}', "line 1: is not of an export"),
        (HEAD.replace("0", "9" * 30, 1), "line 1: .* too large"),
        (HEAD + '{"table": "meta"}', "line 2: names no table"),
        (HEAD + '{"table": "sessions"}', "line 2: names no table"),
        (HEAD + '{"table": "sessions", "id": 1}', "line 2: NOT NULL .* Nothing was imported"),
        (HEAD + '{"table": "sessions", "id": 1, "shoe_size": 43}', "line 2: .*no column named shoe_size"),
        (HEAD + '{"table": "retained", "payload": {"base64": "!"}}', "line 2: "),
        (HEAD + '{"table": "retained", "payload": {"hex": "00"}}', "line 2: "),
        (HEAD + '{"table": "retained", "payload": [0]}', "line 2: "),
    ],
)
def test_import_of_something_else(tmp_path: Path, text: str, problem: str) -> None:
    folder = tmp_path / "node-0"
    with pytest.raises(StoreError, match=problem):
        manage.import_lines(folder, io.StringIO(text))


def test_import_of_a_file_that_is_no_text(
    stored: StoredBroker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    backup = str(tmp_path / "backup.db")
    assert main(["data", "backup", str(stored.folder.parent), backup]) == 0
    assert main(["data", "import", str(tmp_path / "new"), backup]) == 1
    assert f"swellmq: {backup}: is not of an export of swellmq: not text in UTF-8" in capsys.readouterr().err
    assert main(["data", "import", str(tmp_path / "never"), str(tmp_path / "none")]) == 1
    assert not (tmp_path / "never").exists()


def test_what_holds_messages_is_for_its_user_alone(stored: StoredBroker, tmp_path: Path) -> None:
    data = str(stored.folder.parent)
    assert main(["data", "backup", data, str(tmp_path / "backup.db")]) == 0
    assert main(["data", "export", data, str(tmp_path / "lines")]) == 0
    assert main(["data", "import", str(tmp_path / "new"), str(tmp_path / "lines")]) == 0
    stored.publish("t/3", b"in the journal", 1)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    assert {"state.db", "state.db-wal", "lock", "backup.db", "lines", "new", "node-0"} <= modes.keys()
    assert any(name.startswith("journal-") for name in modes)
    assert {name: mode for name, mode in modes.items() if mode & 0o077} == {}


def test_compact(stored: StoredBroker) -> None:
    with pytest.raises(StoreError, match="a broker is using it"):
        manage.compact(stored.folder)
    stored.stop()
    before, after = manage.compact(stored.folder)
    assert 0 < after <= before
    assert payloads(stored.folder) == [b"text", b"\x00\xff"]


def test_a_newer_version(stored: StoredBroker) -> None:
    stored.stop()
    db = sqlite3.connect(stored.folder / "state.db")
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StoreError, match="version 99, written by a newer swellmq"):
        stored.start()


def test_a_database_of_somebody_else(tmp_path: Path) -> None:
    folder = tmp_path / "node-0"
    folder.mkdir()
    db = sqlite3.connect(folder / "state.db")
    db.execute("CREATE TABLE t (x)")
    db.close()
    with pytest.raises(StoreError, match="a database of another program"):
        StoredBroker(folder)
    (folder / "state.db").write_bytes(b"no database at all" * 1000)
    with pytest.raises(StoreError, match="It is damaged"):
        StoredBroker(folder)


def test_a_folder_without_a_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "info", str(tmp_path)]) == 1
    assert "no store is here" in capsys.readouterr().err
