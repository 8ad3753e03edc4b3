"""The load counts exactly what arrives and notices what should not."""

from __future__ import annotations

import pytest

from swellmq import Broker, Settings
from swellmq.bench import generator

DELIVERIES = ["pair", "fan-out", "qos1", "qos2", "wildcard", "16k"]


def test_the_packets_are_those_of_the_specification() -> None:
    assert generator.connect_packet(b"ab") == b"\x10\x0e\x00\x04MQTT\x04\x02\x02\x58\x00\x02ab"
    assert generator.connect_packet(b"ab", five=True) == b"\x10\x0f\x00\x04MQTT\x05\x02\x02\x58\x00\x00\x02ab"
    assert generator.subscribe_packet(b"a/b", 1) == b"\x82\x08\x00\x01\x00\x03a/b\x01"
    assert generator.subscribe_packet(b"a/b", 1, five=True) == b"\x82\x09\x00\x01\x00\x00\x03a/b\x01"
    assert generator.publish_packet(b"a/b", 0, 7, b"xy") == b"\x30\x07\x00\x03a/bxy"
    assert generator.publish_packet(b"a/b", 2, 258, b"xy", five=True) == b"\x34\x0a\x00\x03a/b\x01\x02\x00xy"
    assert generator.publish_packet(b"a/b", 0, 7, bytes(16_384)).startswith(b"\x30\x85\x80\x01\x00\x03a/b\x00")


def test_acknowledgements_take_the_identifiers_of_a_run() -> None:
    frames = [generator.publish_packet(b"a", 1, identifier, b"payload") for identifier in (1, 258, 65_535)]
    data = b"before" + b"".join(frames)
    answer = generator.acknowledgements(generator.PUBACK, data, len(b"before") + 5, len(frames[0]), 3)
    assert answer == b"\x40\x02\x00\x01\x40\x02\x01\x02\x40\x02\xff\xff"


@pytest.mark.parametrize("five", [False, True], ids=["3.1.1", "5.0"])
@pytest.mark.parametrize("name", DELIVERIES)
def test_every_message_is_counted_once(name: str, five: bool) -> None:
    scenario = generator.SCENARIOS[name]
    with Broker(Settings(port=0)) as broker:
        test = generator.Load(broker.port, scenario, 2_000, five)
        try:
            seconds = test.run()
        finally:
            test.close()
        counters = broker.statistics()
    assert seconds > 0
    assert test.messages == 2_000
    assert test.counts[generator.PUBLISH | scenario.qos << 1] == 2_000
    assert counters["publishes_sent"] == 2_000
    assert counters["publishes_received"] == 2_000 // scenario.copies


def test_connects_are_counted() -> None:
    with Broker(Settings(port=0)) as broker:
        test = generator.Connects(broker.port, 250)
        try:
            assert test.run() > 0
            assert broker.statistics()["connects"] == 250
        finally:
            test.close()


@pytest.mark.parametrize(
    ("topic", "payload", "complaint"),
    [
        ("load/t/0003", b"x" * 64, "expected 2000 PUBLISH, but got 2001 PUBLISH"),
        ("load/t/0003", b"0" * 47, "a wrong stream: no packet of this scenario begins with"),
        ("load/t/0003", b"0" * 200, "a wrong stream"),
    ],
    ids=["one too many", "a shorter one", "a longer one"],
)
def test_a_message_that_is_not_of_the_load_is_noticed(topic: str, payload: bytes, complaint: str) -> None:
    with Broker(Settings(port=0)) as broker:
        test = generator.Load(broker.port, generator.SCENARIOS["pair"], 2_000)
        try:
            assert broker.publish_blocking(topic, payload) == 1
            with pytest.raises(generator.LoadError, match=complaint):
                test.run()
        finally:
            test.close()


def test_a_message_of_another_topic_is_noticed() -> None:
    with Broker(Settings(port=0)) as broker:
        test = generator.Load(broker.port, generator.SCENARIOS["pair"], 2_000)
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
    monkeypatch.setattr(generator, "STALL_S", 0.05)
    with Broker(Settings(port=0)) as broker:
        test = generator.Load(broker.port, generator.SCENARIOS["qos1"], 2_000)
        try:
            test.left += 1
            with pytest.raises(generator.LoadError, match=r"stalled: .* after 2000 PUBLISH, 2000 PUBACK"):
                test.run()
        finally:
            test.close()


def test_a_broker_that_goes_away_is_noticed() -> None:
    with Broker(Settings(port=0)) as broker:
        test = generator.Load(broker.port, generator.SCENARIOS["pair"], 2_000)
    try:
        with pytest.raises(generator.LoadError, match="the broker c"):
            test.run()
    finally:
        test.close()


def test_a_broker_that_is_full_is_told() -> None:
    settings = Settings(port=0, pool_initial_size=10, pool_max_size=10, max_connections=10)
    with Broker(settings) as broker, pytest.raises(generator.LoadError, match="CONNECT was refused: 20020003"):
        generator.Load(broker.port, generator.SCENARIOS["pair"], 2_000)


def test_nobody_listening_is_told() -> None:
    with Broker(Settings(port=0)) as broker:
        port = broker.port
    with pytest.raises(generator.LoadError, match="connection 1 of 20 failed: Connection refused"):
        generator.Load(port, generator.SCENARIOS["pair"], 2_000)
