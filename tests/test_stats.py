"""How long things took: the longest, ever and lately, in windows of a minute; and histograms."""

from __future__ import annotations

import gc

from harness import MemoryBroker

from swellmq.broker.sys_topics import SysTopics
from swellmq.codec.encode import encode
from swellmq.codec.packets import Connect, Ping
from swellmq.codec.spec import PINGREQ
from swellmq.limits import LONGEST_WINDOW_MS
from swellmq.process import collection_watcher
from swellmq.stats import BOUNDS_US, Histogram, Longest, Stats, quantile_us

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


def test_a_histogram_counts_by_its_bounds() -> None:
    histogram = Histogram()
    for took_us in (0, 10, 11, 1_000, 10_000_000, 10_000_001):
        histogram.note(took_us)
    counts = dict(zip([*BOUNDS_US, -1], histogram.counts(), strict=True))
    assert {bound: count for bound, count in counts.items() if count} == {10: 2, 20: 1, 1_000: 1, 10_000_000: 1, -1: 1}
    assert histogram.sum_us == 20_001_022


def test_quantiles_lie_within_their_bucket() -> None:
    histogram = Histogram()
    assert quantile_us(histogram.counts(), 99) == 0
    for took_us in [15] * 98 + [80, 700]:
        histogram.note(took_us)
    assert 10 < quantile_us(histogram.counts(), 50) <= 20
    assert 50 < quantile_us(histogram.counts(), 99) <= 100
    assert 500 < quantile_us(histogram.counts(), 100) <= 1_000
    assert quantile_us(histogram.counts(), 100, 700) == 700
    histogram.note(99_000_000)
    assert quantile_us(histogram.counts(), 100) == BOUNDS_US[-1]


def test_the_time_of_a_connect_ends_with_its_connack() -> None:
    broker = MemoryBroker()
    broker.connect("at once")
    late = broker.open()
    broker.advance(0.3)
    late.connect("late")
    hesitant = broker.open()
    packet = Connect()
    packet.client_id = "in pieces"
    data = encode(packet, 4)
    hesitant.send(data[:3])
    broker.advance(0.7)
    hesitant.send(data[3:])
    counts = broker.stats.connect.counts()
    assert [counts[0], counts[BOUNDS_US.index(500_000)], counts[BOUNDS_US.index(1_000_000)]] == [1, 1, 1]
    assert broker.stats.connect.sum_us == 1_000_000
    late.send(Ping(PINGREQ))
    assert broker.session("late").connection.last_ms == broker.turn_state.now_ms  # type: ignore[union-attr]


def test_the_peak_of_turns_is_taken_once() -> None:
    stats = Stats()
    stats.note_turn(50, 1)
    stats.note_turn(900, 2)
    stats.note_turn(70, 3)
    assert (stats.take_turn_peak(), stats.take_turn_peak()) == (900, 0)
    assert stats.statistics()["turns"] == 3
    assert sum(stats.turn_lengths.counts()) == 3
