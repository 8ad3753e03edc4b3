"""Memory receipts: what each costs, found in slices."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

from harness import MemoryBroker, MemoryClient

from swellmq.broker.sharded import SPLIT_AT, ShardedMap
from swellmq.limits import Limits
from swellmq.observe.receipts import COUNTED_NAMES, OLD_MS, PAUSE_MS, Receipts, Sums, entries
from swellmq.server import Server

Servers = Callable[..., Server]


def walked(broker: MemoryBroker) -> Receipts:
    """Receipts after a whole walk."""
    receipts = Receipts(broker.core, broker.turn_state)
    assert receipts.begin(0)
    now_ms = 0
    while receipts.walking():
        receipts.walk(now_ms)
        now_ms += PAUSE_MS
    return receipts


def test_who_costs_most() -> None:
    broker = MemoryBroker()
    for number in range(20):
        broker.connect(f"client {number}", version=5).subscribe(f"a/{number}")
    away = broker.connect("away", version=5, session_expiry_interval=3600)
    away.subscribe("big/#", qos=1)
    away.drop()
    publisher = broker.connect("publisher")
    for _ in range(3):
        publisher.publish("big/one", bytes(100_000), qos=1, retain=True)
    publisher.publish("small/one", bytes(10), retain=True)
    publisher.publish("small/two", bytes(10), retain=True)
    receipts = walked(broker)
    assert receipts.top("sessions", 1)[0]["name"] == "away"
    assert 300_000 < receipts.top("sessions", 1)[0]["bytes"] < 310_000
    assert receipts.top("retained", 1)[0]["name"] == "big/one"
    report = receipts.report(3)
    assert [kind["kind"] for kind in report["kinds"]] == ["clients", "sessions", "topics", "retained"]
    assert [kind["count"] for kind in report["kinds"]] == [21, 22, 21, 3]
    assert all(len(kind["items"]) == 3 for kind in report["kinds"])
    retained = report["kinds"][3]
    assert retained["total_bytes"] == broker.core.retained.bytes
    assert report["total_bytes"] > 400_000
    assert report["at"] is not None


def test_the_sizes_are_those_that_python_counts() -> None:
    broker = MemoryBroker()
    kept: list[MemoryClient] = [broker.connect(f"warm {number}") for number in range(100)]
    before = walked(broker).report(0)["total_bytes"]
    tracemalloc.start()
    try:
        first, _ = tracemalloc.get_traced_memory()
        for number in range(2_000):
            session = broker.connect(f"client {number}", version=5, session_expiry_interval=3600)
            session.subscribe(f"topic/of/client/{number}")
            session.drop()
        kept.clear()
        counted = tracemalloc.get_traced_memory()[0] - first
    finally:
        tracemalloc.stop()
    estimated = walked(broker).report(0)["total_bytes"] - before
    assert 0.7 * counted < estimated < 1.4 * counted


def test_a_walk_is_made_of_slices_and_holds_for_a_while() -> None:
    broker = MemoryBroker(Limits())
    for number in range(3_000):
        broker.connect(f"client {number}")
    receipts = Receipts(broker.core, broker.turn_state)
    assert receipts.report(5)["at"] is None
    assert receipts.begin(1_000)
    assert not receipts.begin(1_000), "it is under way"
    slices, now_ms = 0, 1_000
    while receipts.walking():
        receipts.walk(now_ms)
        receipts.walk(now_ms)  # not due yet
        slices += 1
        now_ms += PAUSE_MS
    assert slices > 1
    assert receipts.report(5)["kinds"][0]["count"] == 3_000
    assert not receipts.begin(now_ms)
    assert receipts.begin(now_ms + OLD_MS)


def test_the_largest_of_very_many_sums_are_found() -> None:
    sums = Sums()
    for number in range(20 * COUNTED_NAMES):
        sums.add(b"small/%d" % number, 10)
        if number % 7 == 0:
            sums.add(b"large", 100)
    assert len(sums.by_name) <= 2 * COUNTED_NAMES
    assert max(sums.most())[1] == "large"
    assert sums.total == 20 * COUNTED_NAMES * 10 + -(-20 * COUNTED_NAMES // 7) * 100


def test_a_map_of_any_size_is_walked_in_parts() -> None:
    for size in (0, 10, SPLIT_AT + 1):
        kept: ShardedMap[bytes, int] = ShardedMap()
        for number in range(size):
            kept.put(b"%d" % number, number)
        assert sorted(number for _, number in entries(kept)) == list(range(size))


def test_a_server_walks_when_somebody_asks(server: Servers) -> None:
    one = server()
    one.watch.walk_receipts()
    assert one.watch.receipts is None, "nobody looks"
    one.watch.keep_history()
    receipts = one.watch.receipts
    assert receipts is not None
    one.watch.walk_receipts()
    assert one.deadline_ms() == 0
    for _ in range(100):
        one.turn(PAUSE_MS)
        if not receipts.walking():
            break
    assert receipts.report(1)["at"] is not None
