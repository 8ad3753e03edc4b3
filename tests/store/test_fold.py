"""The fold: however the journal is cut into stretches, the database comes out the same."""

from __future__ import annotations

import os
import random
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from swellmq.broker.retained import Source
from swellmq.broker.session import RELEASED, SENT, Delivery, Session, Subscription
from swellmq.codec.packets import Publish
from swellmq.store.fold import Fold, Pace, fold_and_read
from swellmq.store.folding import IDLE_S, NICE, REST_CODE, FoldProcess
from swellmq.store.journal import encode_frame
from swellmq.store.manage import TABLES
from swellmq.store.records import PATIENT, READ, READ_BACK, Changes, deliveries_of
from swellmq.store.schema import lock_folder
from swellmq.store.storage import DiskStorage


class Life:
    """Random changes of a few sessions, as a broker would report them; `bodies` are the batches."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.storage = DiskStorage("nowhere", False, lambda: None)
        self.sessions: list[Session] = []
        self.deliveries: list[tuple[Session, Delivery]] = []
        self.bodies: list[bytes] = []

    def batch(self) -> None:
        for _ in range(self.random.randrange(12)):
            self.random.choice(
                (self.begin, self.end, self.subscribe, self.publish, self.publish, self.go_on, self.retain)
            )()
        self.bodies.append(b"".join(self.storage.pieces))
        self.storage.pieces = []
        self.storage.batch_first = self.storage.next_number

    def begin(self) -> None:
        session = Session(f"client {self.random.randrange(1_000_000)}")
        session.expiry_interval = 60
        self.storage.session_saved(session)
        self.sessions.append(session)

    def end(self) -> None:
        if self.sessions:
            session = self.sessions.pop(self.random.randrange(len(self.sessions)))
            self.storage.session_removed(session)
            self.deliveries = [pair for pair in self.deliveries if pair[0] is not session]

    def subscribe(self) -> None:
        for session in self.sessions[-1:]:
            subscription = Subscription(session, b"filter/%d" % self.random.randrange(3))
            subscription.qos = self.random.randrange(3)
            subscription.identifiers = self.random.choice((None, [1, 268_435_455]))
            self.storage.subscription_saved(subscription)
            if self.random.random() < 0.3:
                self.storage.subscription_removed(subscription)
        for session in self.sessions[:1]:
            identifier = self.random.randrange(1, 4)
            change = self.random.choice((self.storage.received_saved, self.storage.received_removed))
            change(session, identifier)

    def publish(self) -> None:
        publish = Publish(b"topic/%d" % self.random.randrange(9), self.random.randbytes(8), 2, False)
        for session in self.sessions:
            if self.random.random() < 0.6:
                delivery = Delivery(publish, 2, False, None, self.random.choice((None, b"$share/g/x")))
                self.storage.delivery_saved(session, delivery)
                self.deliveries.append((session, delivery))

    def go_on(self) -> None:
        for session, delivery in self.random.sample(self.deliveries, min(3, len(self.deliveries))):
            if delivery.state == RELEASED:
                self.storage.delivery_removed(session, delivery)
                self.deliveries.remove((session, delivery))
                continue
            delivery.state = SENT if delivery.state != SENT else RELEASED
            delivery.packet_identifier = self.random.randrange(1, 65_536)
            self.storage.delivery_saved(session, delivery)

    def retain(self) -> None:
        publish = Publish(b"retained/%d" % self.random.randrange(4), self.random.randbytes(4), 1, True)
        sources = (None, Source(None, publish.client_id, ""), Source("é", publish.client_id, "l:1"))
        self.storage.retained_saved(publish, sources[publish.payload[0] % 3])
        if self.random.random() < 0.3:
            self.storage.retained_removed(publish.topic_name)


def tables(path: Path, stretches: list[list[bytes]]) -> dict[str, list[tuple[object, ...]]]:
    fold = Fold(str(path))
    for bodies in stretches:
        changes = Changes()
        for body in bodies:
            changes.apply(body)
        fold.commit(changes)
    found = {table: fold.db.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall() for table in TABLES}
    fold.close()
    return found


@pytest.mark.parametrize("seed", range(6))
def test_any_cut_gives_the_same(tmp_path: Path, seed: int) -> None:
    life = Life(seed)
    for _ in range(40):
        life.batch()
    whole = tables(tmp_path / "whole", [life.bodies])
    assert whole["sessions"] and whole["deliveries"] and whole["retained"]
    assert len(whole["deliveries"]) == len(life.deliveries)
    assert sum(int(str(row[1])) for row in whole["messages"]) == len(life.deliveries)
    assert tables(tmp_path / "each", [[body] for body in life.bodies]) == whole
    some = [life.bodies[start : start + 7] for start in range(0, 40, 7)]
    assert tables(tmp_path / "some", some) == whole


def test_records_that_are_none() -> None:
    life = Life(1)
    while len(life.bodies) < 5 or not life.bodies[-1]:
        life.batch()
    body = life.bodies[-1]
    with pytest.raises(IndexError):
        Changes().apply(b"\xff" + body)
    assert deliveries_of(b"") == []


def test_a_fold_ends_with_its_broker_wherever_it_is(tmp_path: Path) -> None:
    """The next broker waits for the lock that it has."""
    storage = DiskStorage(str(tmp_path), False, lambda: None)
    for number in range(20_000):
        storage.retained_saved(Publish(b"t/%d" % number, b"x", 0, True), None)
    paths: list[str] = []
    for number in range(1, 101):  # minutes of work
        path = tmp_path / f"journal-{number:020d}"
        path.write_bytes(encode_frame(number, number - 1, 1, 1, b"".join(storage.pieces)))
        paths.append(str(path))
    lock_fd = lock_folder(str(tmp_path))
    process = FoldProcess(str(tmp_path), lock_fd)
    process.start(paths)
    while not (tmp_path / "state.db-wal").exists():
        assert process.running()
    assert process.process is not None and process.process.stdin is not None
    assert os.getpriority(os.PRIO_PROCESS, process.process.pid) == min(19, os.getpriority(os.PRIO_PROCESS, 0) + NICE)
    process.process.stdin.close()  # as the end of the broker does
    process.process.wait(20)
    os.close(lock_fd)
    with Fold(str(tmp_path / "state.db")).db as db:
        assert db.execute("SELECT folded FROM meta").fetchone()[0] < 100
    os.close(lock_folder(str(tmp_path)))


@pytest.fixture
def process(tmp_path: Path) -> Iterator[FoldProcess]:
    lock_fd = lock_folder(str(tmp_path))
    process = FoldProcess(str(tmp_path), lock_fd)
    yield process
    process.kill()
    os.close(lock_fd)


def run(process: FoldProcess, arguments: list[str]) -> str:
    """What came of a run."""
    process.start(arguments)
    return end(process)


def end(process: FoldProcess) -> str:
    """What came of the run that is under way."""
    assert process.process is not None
    select.select([process.process.stdout], [], [], 60)
    assert not process.running()
    return process.result()


def number_of(process: FoldProcess) -> int:
    assert process.process is not None
    return process.process.pid


def frame_file(folder: Path, number: int) -> str:
    """A file of the journal with one retained message in it."""
    storage = DiskStorage(str(folder), False, lambda: None)
    storage.retained_saved(Publish(b"t/%d" % number, b"x", 0, True), None)
    path = folder / f"journal-{number:020d}"
    path.write_bytes(encode_frame(number, number - 1, 1, 1, b"".join(storage.pieces)))
    return str(path)


def test_one_process_does_run_after_run(process: FoldProcess, tmp_path: Path) -> None:
    assert not process.idle()
    assert run(process, [PATIENT, frame_file(tmp_path, 1)]) == ""
    first = number_of(process)
    assert process.idle()
    assert run(process, [frame_file(tmp_path, 2)]) == "" and number_of(process) == first
    missing = str(tmp_path / f"journal-{3:020d}")
    assert "No such file" in run(process, [missing]) and number_of(process) == first
    assert run(process, [frame_file(tmp_path, 3)]) == "" and number_of(process) == first
    with Fold(str(tmp_path / "state.db")).db as db:
        assert db.execute("SELECT count(*) FROM retained").fetchone()[0] == 3


def test_a_process_that_has_nothing_to_do_ends(process: FoldProcess, tmp_path: Path) -> None:
    assert run(process, [frame_file(tmp_path, 1)]) == ""
    process.rest()
    assert process.idle()
    process.idle_since_s -= IDLE_S
    process.rest()
    assert not process.idle() and process.process is None


def test_a_process_that_was_killed_meanwhile_is_replaced(process: FoldProcess, tmp_path: Path) -> None:
    assert run(process, [frame_file(tmp_path, 1)]) == ""
    assert process.process is not None
    process.process.kill()
    process.process.wait(20)
    assert run(process, [frame_file(tmp_path, 2)]) == ""
    process.process.kill()  # and in the middle of a run
    process.start([frame_file(tmp_path, 3)])
    assert process.process is not None
    process.process.kill()
    assert end(process) == "exit code -9" and process.process is None
    assert run(process, [frame_file(tmp_path, 3)]) == ""


def test_who_reads_back_gets_a_process_that_goes_first(process: FoldProcess, tmp_path: Path) -> None:
    assert run(process, [frame_file(tmp_path, 1)]) == ""
    first = number_of(process)
    process.start([f"{READ}1:0:9"])
    assert number_of(process) != first
    assert os.getpriority(os.PRIO_PROCESS, number_of(process)) == os.getpriority(os.PRIO_PROCESS, 0)
    assert end(process) == "" and process.process is None
    assert (tmp_path / READ_BACK).read_bytes() == b""


def test_a_fold_rests_after_work_and_only_then() -> None:
    pace = Pace(patient=True)
    pace.since_ns = begin_ns = pace.since_ns + 3_600_000_000_000  # it has not worked yet
    assert pace.rest() == 0 and pace.since_ns == begin_ns
    pace.since_ns = 0
    assert pace.proceed(0, 1)
    assert pace.since_ns > 0
    hasty = Pace(patient=False)
    hasty.since_ns = 0
    assert hasty.rest() == 0 and hasty.since_ns == 0


def test_a_process_that_has_time_rests_before_each_module() -> None:
    code = REST_CODE + (
        "slept = []\ntime.sleep = slept.append\nimport graphlib, colorsys\n"
        "assert graphlib.TopologicalSorter and slept[:2] == [0.0001, 0.0001], slept"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(("topics", "patient", "commits"), [(400, True, 3), (400, False, 1), (10, True, 1)])
def test_a_fold_that_has_time_commits_few_changes_at_once(
    tmp_path: Path, topics: int, patient: bool, commits: int
) -> None:
    path = tmp_path / f"journal-{1:020d}"
    data = b""
    for number in range(400):
        storage = DiskStorage(str(tmp_path), False, lambda: None)
        storage.retained_saved(Publish(b"t/%d" % (number % topics), b"%d" % number, 0, True), None)
        data += encode_frame(number + 1, number, 1, 1, b"".join(storage.pieces))
    path.write_bytes(data)
    fold = Fold(str(tmp_path / "state.db"), patient)
    statements: list[str] = []
    fold.db.set_trace_callback(statements.append)
    assert fold.run([str(path)], lambda _done, _files: True)
    assert statements.count("COMMIT") == commits
    assert fold.db.execute("SELECT count(*), max(CAST(payload AS INTEGER)) FROM retained").fetchone() == (topics, 399)
    fold.close()


def test_sqlite_lets_a_fold_rest(tmp_path: Path) -> None:
    storage = DiskStorage(str(tmp_path), False, lambda: None)
    for number in range(200):
        storage.retained_saved(Publish(b"t/%d" % number, b"x", 0, True), None)
    path = tmp_path / f"journal-{1:020d}"
    path.write_bytes(encode_frame(1, 0, 1, 1, b"".join(storage.pieces)))
    looks = 0

    def rest() -> int:
        nonlocal looks
        looks += 1
        return 0

    assert fold_and_read(str(tmp_path), [str(path)], lambda _done, _files: True, rest)
    assert looks > 0
    with Fold(str(tmp_path / "state.db")).db as db:
        assert db.execute("SELECT count(*) FROM retained").fetchone()[0] == 200
