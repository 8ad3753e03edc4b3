"""Percentiles are of messages, not of samples."""

from __future__ import annotations

from swellmq.bench.latency import Latency


def test_a_sample_counts_for_the_messages_that_came_with_it() -> None:
    latency = Latency()
    for seconds, messages in ((0.004, 5), (0.001, 900), (0.002, 94), (0.1, 1)):
        latency.add(seconds, messages)
    assert latency.percentiles_ms() == {"p50": 1.0, "p99": 2.0, "p99.9": 4.0}


def test_one_sample_is_every_percentile() -> None:
    latency = Latency()
    latency.add(0.003, 1)
    assert latency.percentiles_ms() == {"p50": 3.0, "p99": 3.0, "p99.9": 3.0}


def test_nothing_has_no_percentiles() -> None:
    assert Latency().percentiles_ms() == {}
