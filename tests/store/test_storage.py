"""What is stored comes back: each kind of state, through a stop and a start."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import WALL_START_MS
from store_helpers import StoredBroker

from swellmq.codec.packets import Ack, Connack, Publish, Will
from swellmq.codec.spec import PUBACK, PUBCOMP, PUBREC, PUBREL
from swellmq.store.commit import GATHER_S
from swellmq.store.errors import StoreError
from swellmq.store.manage import check
from swellmq.store.storage import DiskStorage


@pytest.fixture
def stored(tmp_path: Path) -> Iterator[StoredBroker]:
    stored = StoredBroker(tmp_path / "node-0")
    yield stored
    stored.storage.close()


def publishes(packets: list[object]) -> list[tuple[bytes, int, bool, int]]:
    return [
        (packet.payload, int(packet.qos), packet.dup, int(packet.packet_identifier))
        for packet in packets
        if isinstance(packet, Publish)
    ]


def test_a_session_with_its_subscriptions(stored: StoredBroker) -> None:
    client = stored.connect("k")
    client.subscribe("a/+", qos=2, identifier=7)
    client.subscribe("b", qos=1, no_local=True)
    client.subscribe("c")
    client.unsubscribe("c")
    stored.restart()
    subscriptions = {bytes(one.topic_filter): one for one in stored.broker.session("k").subscriptions()}
    assert set(subscriptions) == {b"a/+", b"b"}
    assert subscriptions[b"a/+"].identifiers == [7] and subscriptions[b"a/+"].qos == 2
    assert subscriptions[b"b"].no_local
    client = stored.connect("k")
    packets = client.receive()
    assert isinstance(packets[0], Connack) and packets[0].session_present
    stored.publish("a/x", b"1")
    assert publishes(client.receive()) == [(b"1", 1, False, 1)]


def test_queued_messages_in_their_order(stored: StoredBroker) -> None:
    stored.connect("k").subscribe("t", qos=2)
    stored.settle()
    stored.restart()
    for number in range(20):
        stored.publish("t", b"%d" % number, 1 + number % 2)
    stored.restart()
    found = publishes(stored.connect("k").receive())
    assert [(payload, qos) for payload, qos, _, _ in found] == [(b"%d" % n, 1 + n % 2) for n in range(20)]


def test_messages_in_flight_keep_their_packet_identifiers(stored: StoredBroker) -> None:
    client = stored.connect("k")
    client.subscribe("t", qos=2)
    stored.settle()
    for payload, qos in ((b"one", 1), (b"two", 2), (b"three", 2), (b"four", 2)):
        stored.publish("t", payload, qos)
    client.ack(PUBREC, 3)
    client.ack(PUBREC, 4)
    stored.settle()
    client.ack(PUBCOMP, 4)
    client.receive()
    stored.restart()
    packets = stored.connect("k").receive()
    assert publishes(packets) == [(b"one", 1, True, 1), (b"two", 2, True, 2)]
    acks = [(packet.packet_type, packet.packet_identifier) for packet in packets if isinstance(packet, Ack)]
    assert acks == [(PUBREL, 3)]


def test_qos_2_from_the_client_is_known_again(stored: StoredBroker) -> None:
    stored.connect("s").subscribe("t", qos=1)
    client = stored.connect("k")
    client.publish("t", b"x", qos=2, identifier=9)
    client.publish("t", b"y", qos=2, identifier=10)
    stored.settle()
    client.ack(PUBREL, 10)
    stored.restart()
    client = stored.connect("k")
    client.receive()
    client.publish("t", b"x", qos=2, identifier=9, dup=True)
    stored.settle()
    assert [payload for payload, *_ in publishes(stored.connect("s").receive())] == [b"x", b"y"]


def test_retained_messages(stored: StoredBroker) -> None:
    stored.publish("a", b"1", 0, retain=True)
    stored.publish("a", b"2", 1, retain=True)
    stored.publish("b", b"3", 1, retain=True)
    stored.publish("b", b"", 1, retain=True)
    stored.publish("$SYS/x", b"4", 0, retain=True)
    stored.restart()
    assert stored.broker.core.retained.count == 1
    client = stored.connect("k")
    client.receive()
    client.subscribe("#", qos=1)
    stored.settle()
    assert [payload for payload, *_ in publishes(client.receive())] == [b"2"]


def test_a_message_to_many_is_stored_once(stored: StoredBroker) -> None:
    for number in range(5):
        stored.connect(f"k{number}").subscribe("t", qos=1)
    stored.settle()
    stored.publish("t", b"shared by all")
    assert stored.broker.session("k0").inflight is not None
    stored.restart()
    inflight = [stored.broker.session(f"k{number}").inflight for number in range(5)]
    messages = {id(delivery.publish) for deliveries in inflight if deliveries for delivery in deliveries.values()}
    assert len(messages) == 1


def test_what_is_acknowledged_leaves_nothing_behind(stored: StoredBroker) -> None:
    client = stored.connect("k")
    client.subscribe("t", qos=1)
    stored.publish("t", b"x")
    stored.restart()  # folded: the end of the delivery comes in another stretch of the journal
    client = stored.connect("k")
    client.receive()
    client.ack(PUBACK, 1)
    stored.stop()
    stored.storage = DiskStorage(str(stored.folder), False, lambda: None)
    stored.storage.open(WALL_START_MS)
    assert stored.storage.fold is not None
    for table in ("deliveries", "messages"):
        assert stored.storage.fold.db.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


class TestTime:
    def test_a_session_ends_in_time(self, stored: StoredBroker) -> None:
        stored.connect("k", session_expiry_interval=100).drop()
        stored.restart(WALL_START_MS + 40_000)
        assert stored.broker.core.session("k") is not None
        stored.broker.advance(59)
        assert stored.broker.core.session("k") is not None
        stored.broker.advance(2)
        assert stored.broker.core.session("k") is None
        stored.restart()
        assert stored.broker.core.session("k") is None

    def test_a_client_that_a_crash_cut_off_left_then_and_not_at_each_start_anew(self, stored: StoredBroker) -> None:
        stored.connect("k", session_expiry_interval=100)
        stored.restart(WALL_START_MS + 1_000)  # in memory nobody says goodbye: it is a crash
        stored.restart(WALL_START_MS + 61_000)
        assert stored.broker.core.session("k") is not None
        stored.broker.advance(41)
        assert stored.broker.core.session("k") is None

    def test_one_that_ended_meanwhile_is_gone(self, stored: StoredBroker) -> None:
        stored.connect("k", session_expiry_interval=100).drop()
        stored.restart(WALL_START_MS + 1_000_000)
        stored.broker.advance(1)
        assert stored.broker.core.session("k") is None

    def test_a_clock_that_jumps_expires_nothing_at_once(self, stored: StoredBroker) -> None:
        stored.connect("k", session_expiry_interval=100).drop()
        stored.restart(5_000)  # a box that boots in 1970
        assert stored.broker.turn_state.wall_ms >= WALL_START_MS
        stored.broker.advance(50)
        assert stored.broker.core.session("k") is not None
        stored.broker.advance(60)
        assert stored.broker.core.session("k") is None

    def test_a_delayed_will_goes_out_after_a_restart(self, stored: StoredBroker) -> None:
        stored.connect("s").subscribe("will", qos=1)
        will = Will(Publish(b"will", b"bye", 1, False), 30)
        stored.connect("k", will=will).drop()
        stored.restart(WALL_START_MS + 20_000)
        assert stored.broker.session("s").queued() == 0
        stored.broker.advance(11)
        stored.settle()
        assert stored.broker.session("s").queued() == 1
        stored.restart(WALL_START_MS + 31_000)
        stored.broker.advance(60)
        assert [payload for payload, *_ in publishes(stored.connect("s").receive())] == [b"bye"]

    def test_the_will_of_a_client_that_was_connected(self, stored: StoredBroker) -> None:
        stored.connect("s").subscribe("will", qos=1)
        stored.connect("k", will=Will(Publish(b"will", b"bye", 1, False), 0))
        stored.restart()  # in memory nobody says goodbye: it is a crash
        stored.broker.advance(1)
        stored.settle()
        assert stored.broker.session("s").queued() == 1


def test_a_clean_stop_leaves_delayed_wills_to_the_next_start(stored: StoredBroker) -> None:
    stored.connect("s").subscribe("will/+", qos=1)
    stored.connect("now", will=Will(Publish(b"will/now", b"", 1, False), 0))
    stored.connect("later", will=Will(Publish(b"will/later", b"", 1, False), 30)).drop()
    stored.broker.engine.shut_down()
    stored.restart()
    assert stored.broker.session("later").will is not None
    stored.broker.advance(40)
    stored.settle()
    found = [bytes(packet.topic_name) for packet in stored.connect("s").receive() if isinstance(packet, Publish)]
    assert found == [b"will/now", b"will/later"]


def test_what_an_operator_watches(stored: StoredBroker) -> None:
    committer = stored.storage.committer
    assert committer is not None
    stored.publish("t", b"x" * 1_000, 1, retain=True)
    figures = stored.storage.statistics()
    assert figures["journal_bytes"] > 1_000 and figures["commit_longest_us"] >= figures["commit_us"] > 0
    assert figures["files_to_fold"] == figures["fold_behind_s"] == figures["batches_waiting"] == 0
    committer.close_segment()
    closed = stored.storage.statistics()
    assert closed["files_to_fold"] == 1 and closed["journal_bytes"] == figures["journal_bytes"]
    assert committer.folding.behind_s() > 0
    while committer.folding.busy() or committer.folding.closed:
        stored.publish("other", b"x", 1, retain=True)  # the writer looks after the fold
    folded = stored.storage.statistics()
    assert folded["files_to_fold"] == folded["fold_behind_s"] == 0
    assert folded["journal_bytes"] == committer.journal.bytes


def test_a_broker_without_a_store_imports_none() -> None:
    code = "import sys, swellmq.server; print('sqlite3' in sys.modules, 'swellmq.store.storage' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["False", "False"]


def test_what_lies_beside_the_journal_is_left_alone(stored: StoredBroker) -> None:
    stored.connect("k").subscribe("t", qos=1)
    stored.publish("t", b"one", 1)
    stored.stop()
    for name in ("journal-abc", "journal-00000000000000000001.bak", "journal-1"):
        (stored.folder / name).write_bytes(b"a copy that somebody has made")
    stored.start()
    assert stored.broker.core.statistics()["sessions"] == 1
    assert (stored.folder / "journal-abc").exists()


def test_a_file_of_the_journal_that_can_not_be_read(tmp_path: Path) -> None:
    file = tmp_path / "journal-00000000000000000001"
    file.mkdir()  # for root every file can be read
    with pytest.raises(StoreError, match=f"{file}: Is a directory. Let the broker's user read and write"):
        DiskStorage(str(tmp_path), True, lambda: None).open(0)
    assert check(tmp_path) == [f"{file}: can't be read: Is a directory"]


def test_a_second_broker_on_the_folder(stored: StoredBroker) -> None:
    with pytest.raises(StoreError, match="a broker is using it"):
        DiskStorage(str(stored.folder), True, lambda: None).open(0)


@pytest.mark.parametrize(
    ("sync", "eager", "gathers"), [(False, False, True), (True, False, False), (False, True, False)]
)
def test_batches_that_no_client_waits_for_are_gathered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sync: bool, eager: bool, gathers: bool
) -> None:
    slept: list[float] = []
    stored = StoredBroker(tmp_path / "node-0", sync=sync)
    stored.storage.eager = eager
    monkeypatch.setattr(time, "sleep", slept.append)
    stored.connect("k")
    stored.restart()
    monkeypatch.undo()
    assert (GATHER_S in slept) == gathers
    assert stored.broker.session("k") is not None
    stored.storage.close()
