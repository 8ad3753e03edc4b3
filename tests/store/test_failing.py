"""A disk that fails: nothing that is not stored is acknowledged, the rest is served, and all is well once it works."""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from store_helpers import KEPT, WAIT_S, StoredBroker

from swellmq.codec import spec
from swellmq.codec.packets import Ack, Publish
from swellmq.store.errors import StoreError
from swellmq.store.schema import unusable
from swellmq.store.storage import DiskStorage


class Disk:
    """Stands between the journal and the system's calls, and fails them on demand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.error = 0
        self.tried = threading.Event()
        self.calls = {"write": os.write, "fdatasync": os.fdatasync}
        monkeypatch.setattr("swellmq.store.journal.os.write", self.write)
        monkeypatch.setattr("swellmq.store.journal.os.fdatasync", self.fdatasync)

    def _fail(self) -> None:
        if self.error and threading.current_thread().name == "swellmq-store":
            self.tried.set()
            raise OSError(self.error, os.strerror(self.error))

    def write(self, fd: int, data: bytes) -> int:
        if self.error == errno.ENOSPC:
            self._fail()
        return self.calls["write"](fd, data)

    def fdatasync(self, fd: int) -> None:
        self._fail()
        self.calls["fdatasync"](fd)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@pytest.fixture
def stored(tmp_path: Path, disk: Disk) -> Iterator[StoredBroker]:
    stored = StoredBroker(tmp_path / "node-0", sync=True)
    assert stored.storage.committer is not None
    stored.storage.committer.retry_s = 0.005
    yield stored
    disk.error = 0
    stored.storage.close()


def fail(stored: StoredBroker, disk: Disk, error: int) -> None:
    """Have a commit fail, and wait until the store refuses: then it tries for the second time."""
    disk.error = error
    stored.broker.inject("retained", b"is not stored", 1, retain=True)
    for _ in range(2):
        assert disk.tried.wait(WAIT_S)
        disk.tried.clear()
    assert stored.storage.refusal


@pytest.mark.parametrize(("error", "code"), [(errno.ENOSPC, spec.QUOTA_EXCEEDED), (errno.EIO, 0x83)])
def test_durable_work_is_refused_and_the_rest_is_served(
    stored: StoredBroker, disk: Disk, error: int, code: int
) -> None:
    kept = stored.connect("k")
    kept.subscribe("kept", qos=1)
    stored.settle()
    kept.receive()
    publisher = stored.broker.connect("p", version=5)
    old = stored.broker.connect("old", version=4)
    stored.broker.connect("first", version=5).publish("kept", b"before", qos=1)
    stored.settle()
    fail(stored, disk, error)
    publisher.publish("kept", b"x", qos=1, identifier=2)
    publisher.publish("kept", b"y", qos=2, identifier=3)
    publisher.publish("other", b"z", qos=1, identifier=4)
    packets = [packet for packet in publisher.receive() if isinstance(packet, Ack)]
    codes = {int(packet.packet_identifier): int(packet.reason_code) for packet in packets}
    assert codes == {2: code, 3: code, 4: spec.NO_MATCHING_SUBSCRIBERS}
    old.publish("kept", b"from 3.1.1", qos=1, identifier=9)
    assert old.closed and old.close_reason == "store failing"
    connack = stored.broker.connect("another", version=5, **KEPT).connack
    assert connack is not None and connack.reason_code == (0x97 if code == 0x97 else 0x88)
    assert kept.subscribe("more", qos=1) == [code]
    assert kept.unsubscribe("kept") == [0x83]
    plain = stored.broker.connect("plain", version=4)
    plain.subscribe("kept")
    publisher.publish("kept", b"QoS 0 flows")
    assert plain.payloads() == [b"QoS 0 flows"]
    figures = stored.storage.statistics()
    assert figures["refusal"] == code and figures["failures"] >= 2 and figures["bytes_waiting"] > 0
    disk.error = 0
    stored.settle()
    assert stored.storage.refusal == 0
    assert stored.storage.statistics()["commits"] > figures["commits"]
    assert stored.storage.statistics()["bytes_waiting"] == 0
    publisher.publish("kept", b"after", qos=1, identifier=5)
    stored.settle()
    (ack,) = publisher.receive()
    assert isinstance(ack, Ack) and ack.reason_code == 0
    stored.restart()
    found = [packet.payload for packet in stored.connect("k").receive() if isinstance(packet, Publish)]
    assert found == [b"before", b"after"]
    assert stored.broker.core.retained.count == 1


def test_what_was_held_leaves_once_the_disk_works(stored: StoredBroker, disk: Disk) -> None:
    publisher = stored.broker.connect("p", version=4)
    disk.error = errno.EIO
    publisher.publish("t", b"x", qos=1, retain=True, identifier=1)
    assert disk.tried.wait(WAIT_S)
    stored.broker.turn()
    publisher.expect()
    disk.error = 0
    stored.settle()
    publisher.expect(Ack(spec.PUBACK, 1))


def test_files_that_are_tried_again_are_not_folded_away(stored: StoredBroker, disk: Disk) -> None:
    """The first frame of a file fails: it is written anew under the same name, and lives on."""
    publisher = stored.broker.connect("p", version=5)
    committer = stored.storage.committer
    assert committer is not None
    for number in range(5):
        committer.close_segment()
        fail(stored, disk, errno.EIO)
        disk.error = 0
        stored.settle()
        publisher.publish(f"t/{number}", b"x", qos=1, retain=True, identifier=1)
        stored.settle()
        while committer.folding.busy():
            stored.publish("again", b"%d" % number, 1, retain=True)  # the writer looks after it
    stored.restart()
    assert stored.broker.core.retained.count == 7


def test_a_disk_that_does_not_come_back_loses_nothing_that_was_acknowledged(
    stored: StoredBroker, disk: Disk, tmp_path: Path
) -> None:
    publisher = stored.broker.connect("p", version=5)
    publisher.publish("t", b"stored", qos=1, retain=True, identifier=1)
    stored.settle()
    disk.error = errno.EIO
    publisher.publish("t", b"never", qos=1, retain=True, identifier=2)
    assert disk.tried.wait(WAIT_S)
    stored.storage.close()
    disk.error = 0
    stored.start()
    message = stored.broker.core.retained.get(b"t")
    assert message is not None and message.payload in (b"stored", b"never")


def test_a_full_disk_is_called_so_whatever_sqlite_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it fails to grow the index of its log it says "disk I/O error"."""
    error = sqlite3.OperationalError("disk I/O error")
    path = str(tmp_path / "state.db")
    assert "Look at the disk" in str(unusable(path, error))
    found = os.statvfs(tmp_path)
    full = os.statvfs_result((*found[:4], 0, *found[5:]))
    monkeypatch.setattr("swellmq.store.schema.os.statvfs", lambda _folder: full)
    assert "the disk is full (disk I/O error). Make room on it" in str(unusable(path, error))


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    folder = tmp_path / "file"
    folder.write_text("not a folder")
    with pytest.raises(StoreError, match=r"node-0: .*/file is a file. Give the broker a folder"):
        DiskStorage(str(folder / "node-0"), True, lambda: None).open(0)
