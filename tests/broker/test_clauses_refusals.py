"""Bounds and options where clauses meet: Maximum Packet Size of answers, No Local among overlaps, return codes."""

from __future__ import annotations

import pytest
from harness import MemoryBroker

from swellmq.codec import spec
from swellmq.codec.packets import Disconnect, Publish, Subscribe, TopicRequest, Unsubscribe, Will
from swellmq.limits import Limits
from swellmq.net.pool import PoolSettings


def test_protocol_level_0() -> None:  # [MQTT311-3.1.2-2]
    client = MemoryBroker().open(4)
    client.send(b"\x10\x0d\0\x04MQTT\x00\x02\0\0\0\x01a")
    client.expect(b"\x20\x02\0\x01")
    assert client.closed


@pytest.mark.parametrize(("qos", "retain"), [(2, False), (0, True)])
def test_no_return_code_fits(qos: int, retain: bool) -> None:  # [MQTT311-3.2.2-6]
    limits = Limits()
    limits.maximum_qos = 1
    limits.retain_available = False
    client = MemoryBroker(limits).connect("a", version=4, will=Will(Publish(b"t", b"", qos, retain), 0))
    assert client.connack is None and client.closed


def test_connack_within_maximum_packet_size() -> None:  # [MQTT-3.1.2-24]
    client = MemoryBroker().connect("", version=5, maximum_packet_size=15)
    assert client.connack is not None and client.closed
    assert (client.connack.reason_code, client.connack.properties) == (spec.PACKET_TOO_LARGE, None)
    client = MemoryBroker().connect("", version=5, maximum_packet_size=4)
    assert client.closed and client.connack is None and client.receive_bytes() == b""


def test_refusal_within_maximum_packet_size() -> None:  # [MQTT-3.2.2-19]
    pool = PoolSettings()
    pool.initial_size = pool.max_size = pool.max_connections = 1
    broker = MemoryBroker(pool=pool)
    broker.connect("a")
    refused = broker.connect("b", version=5, maximum_packet_size=20)
    assert refused.connack is not None and refused.connack.reason_code == spec.QUOTA_EXCEEDED
    assert refused.connack.properties is None


def test_suback_within_maximum_packet_size() -> None:  # [MQTT-3.1.2-24]
    client = MemoryBroker().connect("a", version=5, maximum_packet_size=20)
    client.send(Subscribe(1, [TopicRequest(b"t", 0)] * 30))
    (packet,) = client.receive()
    assert isinstance(packet, Disconnect) and packet.reason_code == spec.PACKET_TOO_LARGE
    client = MemoryBroker().connect("a", version=5, maximum_packet_size=20)
    client.send(Unsubscribe(1, [b"t"] * 30))
    (packet,) = client.receive()
    assert isinstance(packet, Disconnect) and packet.reason_code == spec.PACKET_TOO_LARGE


def test_expiry_0_is_sent_on_as_0() -> None:  # [MQTT-3.3.2-6]
    broker = MemoryBroker()
    client = broker.connect("s", version=5)
    client.subscribe("t")
    broker.connect("p", version=5).publish("t", b"x", expiry=0)
    assert [p.message_expiry_interval for p in client.publishes()] == [0]


def test_no_local_counts_by_subscription() -> None:  # [MQTT-3.8.3-3] [MQTT-3.3.4-2] [MQTT-3.3.4-4]
    broker = MemoryBroker()
    client = broker.connect("s", version=5)
    client.subscribe("a/b", qos=2, no_local=True, identifier=1)
    client.subscribe("a/#", qos=0, identifier=2)
    client.publish("a/b", b"x", qos=1)
    data = client.receive_bytes()
    assert data.startswith(b"\x30\x09\0\x03a/b\x02\x0b\x02x")


def test_a_shared_message_too_large_for_one_goes_to_another() -> None:  # the trap of issue 3
    broker = MemoryBroker()
    first = broker.connect("a", version=5, maximum_packet_size=30)
    first.subscribe("$share/g/t", qos=1)
    second = broker.connect("b", version=5)
    second.subscribe("$share/g/t", qos=1)
    for _ in range(2):
        broker.inject("t", b"x" * 100, 1)
    assert len(second.publishes()) == 2
