"""The longest times: ever, and lately, in windows of a minute."""

from __future__ import annotations

import gc

from harness import MemoryBroker

from swellmq.broker.sys_topics import SysTopics
from swellmq.limits import LONGEST_WINDOW_MS
from swellmq.process import collection_watcher
from swellmq.stats import Longest, Stats

WINDOW = LONGEST_WINDOW_MS


def test_a_peak_is_recent_for_one_to_two_windows() -> None:
    longest = Longest()
    longest.note(700, 10)
    longest.note(300, 20)
    assert longest.ever_us == longest.recent_us(30) == 700
    longest.note(200, WINDOW)
    assert longest.recent_us(2 * WINDOW - 1) == 700
    assert longest.recent_us(2 * WINDOW) == 200
    assert longest.recent_us(3 * WINDOW) == 0
    assert longest.ever_us == 700


def test_windows_without_a_look_are_empty() -> None:
    longest = Longest()
    longest.note(700, 10)
    assert longest.recent_us(10 * WINDOW + 5) == 0
    longest.note(5, 10 * WINDOW + 6)
    assert (longest.recent_us(11 * WINDOW), longest.ever_us) == (5, 700)


def test_the_watcher_counts_collections_and_their_pauses() -> None:
    stats = Stats()
    watcher = collection_watcher(stats)
    gc.callbacks.append(watcher)
    try:
        gc.collect()
    finally:
        gc.callbacks.remove(watcher)
        gc.unfreeze()
    found = stats.statistics()
    assert found["collections"] >= 1
    assert 0 < found["collection_recent_us"] <= found["collection_longest_us"]


def test_sys_topics_have_the_longest_times() -> None:
    broker = MemoryBroker()
    watcher = broker.connect("watcher")
    watcher.subscribe("$SYS/broker/loop/#", "$SYS/broker/pool/slice_longest_us")
    broker.stats.turn.note(1_234, 10)
    broker.stats.collection.note(56, 10)
    SysTopics(broker.core, "test").publish(20, broker.pool.statistics())
    broker.turn()
    found = {publish.topic_name: publish.payload for publish in watcher.publishes()}
    assert found == {
        b"$SYS/broker/loop/turn_longest_us": b"1234",
        b"$SYS/broker/loop/turn_recent_us": b"1234",
        b"$SYS/broker/loop/collection_longest_us": b"56",
        b"$SYS/broker/loop/collection_recent_us": b"56",
        b"$SYS/broker/pool/slice_longest_us": b"0",
    }
