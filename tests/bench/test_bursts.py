"""Connecting and the replay of retained messages: counted, and noticed where something is missing."""

from __future__ import annotations

import pytest

from swellmq import Broker, Settings
from swellmq.bench import generator
from swellmq.bench.bursts import Connects, Retained


def test_connects_are_counted() -> None:
    with Broker(Settings(port=0)) as broker:
        test = Connects(broker.port, 250)
        try:
            assert test.run() > 0
            assert broker.statistics()["connects"] == 250
        finally:
            test.close()


@pytest.mark.parametrize("five", [False, True], ids=["3.1.1", "5.0"])
def test_retained_messages_are_counted_at_each_replay(five: bool) -> None:
    with Broker(Settings(port=0)) as broker:
        test = Retained(broker.port, 2_500, five, topics=1_000)
        try:
            assert test.run() > 0
            counters = broker.statistics()
        finally:
            test.close()
    assert test.messages == 3_000
    assert counters["publishes_sent"] == 3_000
    assert sum(messages for _seconds, messages in test.latency.samples) == 3_000


def test_a_retained_message_too_many_is_noticed() -> None:
    with Broker(Settings(port=0)) as broker:
        test = Retained(broker.port, 100, topics=100)
        try:
            assert broker.publish_blocking("load/retained/000100", b"x" * 64, retain=True) == 0
            with pytest.raises(generator.LoadError, match=r"something else than the retained messages|more came"):
                test.run()
        finally:
            test.close()
