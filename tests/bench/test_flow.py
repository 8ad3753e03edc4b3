"""The load counts exactly what arrives and notices what should not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from swellmq import Broker, Settings
from swellmq.bench import generator
from swellmq.bench.flow import Load
from swellmq.bench.scenarios import SCENARIOS, Scenario

# The large fleets, made small: what they do is the same.
SMALL = {"publishers": 20, "subscribers": 20}
DELIVERIES = dict(SCENARIOS)
DELIVERIES["fan-out-1000"] = replace(SCENARIOS["fan-out-1000"], subscribers=100, copies=100)
DELIVERIES["fan-out-15000"] = replace(SCENARIOS["fan-out-15000"], subscribers=200, copies=200)
DELIVERIES["deep"] = replace(SCENARIOS["deep"], idle_filters=300)
DELIVERIES["1m"] = replace(SCENARIOS["1m"], payload_bytes=300_000)
DELIVERIES["clients"] = replace(SCENARIOS["clients"], **SMALL)
DELIVERIES["clients-10k"] = replace(SCENARIOS["clients-10k"], **SMALL)
DELIVERIES["idle"] = replace(SCENARIOS["idle"], idle_clients=30, **SMALL)


@pytest.mark.parametrize("five", [False, True], ids=["3.1.1", "5.0"])
@pytest.mark.parametrize("scenario", DELIVERIES.values(), ids=DELIVERIES)
def test_every_message_is_counted_once(scenario: Scenario, five: bool) -> None:
    messages = 40 if scenario.payload_bytes > 100_000 else 2_000
    with Broker(Settings(port=0)) as broker:
        test = Load(broker.port, scenario, messages, five)
        try:
            seconds = test.run()
        finally:
            test.close()
        counters = broker.statistics()
    assert seconds > 0
    assert test.messages == messages
    assert test.counts[generator.PUBLISH | scenario.qos << 1] == messages
    assert sum(count for _seconds, count in test.latency.samples) == messages
    assert counters["publishes_sent"] == messages
    setting_up = scenario.publishers if scenario.properties else 0  # each tells its alias
    assert counters["publishes_received"] == messages // scenario.copies + setting_up
    assert (test.changes > 0) == scenario.churn


@pytest.mark.parametrize(
    ("topic", "payload", "complaint"),
    [
        ("load/t/0003", b"0000300000" + b"x" * 54, "expected 2000 PUBLISH, but got 2001 PUBLISH"),
        ("load/t/0003", b"00003" + b"0" * 42, "a wrong stream"),
        ("load/t/0003", b"0" * 200, "a wrong stream"),
        ("load/t/0003", b"00003" + b"x" * 59, "a wrong stream: a message that nobody sent"),
    ],
    ids=["one too many", "a shorter one", "a longer one", "a strange one"],
)
def test_a_message_that_is_not_of_the_load_is_noticed(topic: str, payload: bytes, complaint: str) -> None:
    with Broker(Settings(port=0)) as broker:
        test = Load(broker.port, SCENARIOS["pair"], 2_000)
        try:
            assert broker.publish_blocking(topic, payload) == 1
            with pytest.raises(generator.LoadError, match=complaint):
                test.run()
        finally:
            test.close()


def test_a_message_of_another_topic_is_noticed() -> None:
    with Broker(Settings(port=0)) as broker:
        test = Load(broker.port, SCENARIOS["pair"], 2_000)
        try:
            test.subscribers[0].sock.setblocking(True)
            test.subscribers[0].sock.sendall(generator.subscribe_packet(b"load/t/0001", 0))
            assert test.subscribers[0].sock.recv(5)[0] == 0x90
            test.subscribers[0].sock.setblocking(False)
            with pytest.raises(generator.LoadError, match="a message of another topic"):
                test.run()
        finally:
            test.close()


def test_a_message_that_is_missing_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generator, "STALL_S", 0.5)  # a busy machine may need a while
    with Broker(Settings(port=0)) as broker:
        test = Load(broker.port, SCENARIOS["qos1"], 2_000)
        try:
            test.left += 1
            with pytest.raises(generator.LoadError, match=r"stalled: .* after 2000 PUBLISH, 2000 PUBACK"):
                test.run()
        finally:
            test.close()


def test_a_broker_that_goes_away_is_noticed() -> None:
    with Broker(Settings(port=0)) as broker:
        test = Load(broker.port, SCENARIOS["pair"], 2_000)
    try:
        with pytest.raises(generator.LoadError, match="the broker c"):
            test.run()
    finally:
        test.close()


def test_a_broker_that_is_full_is_told() -> None:
    settings = Settings(port=0, pool_initial_size=10, pool_max_size=10, max_connections=10)
    with Broker(settings) as broker, pytest.raises(generator.LoadError, match="CONNECT was refused: 20020003"):
        Load(broker.port, SCENARIOS["pair"], 2_000)


def test_nobody_listening_is_told() -> None:
    with Broker(Settings(port=0)) as broker:
        port = broker.port
    with pytest.raises(generator.LoadError, match="connection 1 of 10 failed: Connection refused"):
        Load(port, SCENARIOS["pair"], 2_000)
