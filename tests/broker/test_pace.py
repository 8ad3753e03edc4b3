"""Clients that send too fast are not read for a while, and client ids that change hands too often are slowed down."""

from __future__ import annotations

import logging

import pytest
from harness import MemoryBroker, MemoryClient

from swellmq.broker.fights import Fights
from swellmq.codec import spec
from swellmq.codec.packets import Publish
from swellmq.connection import Connection, Peers
from swellmq.limits import FIGHTS, Limits


def broker_with(**values: int) -> MemoryBroker:
    limits = Limits()
    for name, value in values.items():
        setattr(limits, name, value)
    return MemoryBroker(limits)


def arrivals(broker: MemoryBroker, bob: MemoryClient, seconds: int) -> list[int]:
    """How many messages come in each second."""
    counts = []
    for _ in range(seconds):
        broker.advance(1)
        counts.append(len(bob.payloads()))
    return counts


@pytest.mark.parametrize("qos", [0, 1])
def test_messages_per_second(qos: int) -> None:
    broker = broker_with(messages_per_s=10)
    bob, alice = broker.connect("bob"), broker.connect("alice")
    bob.subscribe("t")
    messages = [Publish(b"t", b"%d" % number, qos, False) for number in range(60)]
    for number, message in enumerate(messages):
        message.packet_identifier = number + 1 if qos else 0
    alice.send(*messages)
    at_once = len(bob.payloads())
    assert 10 <= at_once <= 13  # a second's worth to its credit, and what is within a tick
    later = arrivals(broker, bob, 6)
    assert sum(later) + at_once == 60  # nothing is lost
    assert all(8 <= count <= 12 for count in later[:4])
    assert broker.stats.pauses > 5
    broker.check()


def test_the_order_stays_and_others_are_not_slowed_down() -> None:
    broker = broker_with(messages_per_s=10)
    bob, alice, carol = broker.connect("bob"), broker.connect("alice"), broker.connect("carol")
    bob.subscribe("t")
    alice.send(*[Publish(b"t", b"%02d" % number, 0, False) for number in range(30)])
    carol.publish("t", b"carol")
    received = bob.payloads()
    assert received[-1] == b"carol"
    broker.advance(3)
    everything = [one for one in received + bob.payloads() if one != b"carol"]
    assert everything == [b"%02d" % number for number in range(30)]


def test_bytes_per_second() -> None:
    broker = broker_with(bytes_per_s=1_000)
    bob, alice = broker.connect("bob"), broker.connect("alice")
    bob.subscribe("t")
    broker.advance(1)
    for _ in range(5):
        alice.feed(Publish(b"t", b"x" * 995, 0, False))  # 1,000 bytes
        broker.turn()
    assert len(bob.payloads()) == 2  # one on credit, and the one that ends it
    later = arrivals(broker, bob, 5)
    assert sum(later) == 3 and max(later) == 1
    broker.check()


def test_a_pause_is_no_silence() -> None:
    broker = broker_with(messages_per_s=1)
    alice = broker.connect("alice", keep_alive=2)
    alice.send(*[Publish(b"t", b"", 0, False) for _ in range(8)])
    broker.advance(6)
    assert not alice.closed
    broker.advance(10)
    assert alice.close_reason == "keep alive timeout"
    assert not broker.core.meters
    broker.check()


def test_a_client_that_leaves_in_its_pause() -> None:
    broker = broker_with(messages_per_s=1)
    alice = broker.connect("alice")
    alice.send(*[Publish(b"t", b"", 0, False) for _ in range(8)])
    assert alice.connection.question is not None
    alice.drop()
    broker.advance(9)
    assert not broker.core.meters
    broker.check()


class Named(Peers):
    def address(self, connection: Connection) -> str:
        return f"192.0.2.{connection.fd}"


def test_a_fight_is_slowed_down_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    broker = broker_with(takeovers=3)
    broker.core.peers = Named()
    caplog.set_level(logging.WARNING, "swellmq")
    codes = []
    for _ in range(7):
        client = broker.connect("same", 5)
        assert client.connack is not None
        codes.append(client.connack.reason_code)
    assert codes == [0, 0, 0, 0] + [spec.SERVER_BUSY] * 3
    (record,) = caplog.records
    assert record.getMessage() == (
        "client same is in use at 192.0.2.14 and at 192.0.2.15: "
        "it changed hands 3 times within 10 s, and is slowed down"
    )
    assert broker.stats.refused_takeovers == 3
    broker.advance(10)
    again = broker.connect("same", 5)
    assert again.connack is not None and again.connack.reason_code == 0
    broker.check()


def test_a_client_that_left_in_the_same_turn_does_not_fight() -> None:
    broker = broker_with(takeovers=3)
    client = broker.connect("same")
    for _ in range(7):
        client.feed(b"\xe0\0")
        client = broker.connect("same")
        assert client.connack is not None and client.connack.reason_code == 0
    assert broker.stats.refused_takeovers == 0
    broker.check()


def test_takeovers_without_a_bound() -> None:
    broker = broker_with(takeovers=0)
    for _ in range(50):
        client = broker.connect("same")
    assert not client.closed


def test_fights_that_are_remembered_are_bounded() -> None:
    fights = Fights()
    for number in range(FIGHTS + 1):
        fights.add(str(number), 0)
    assert len(fights.now) + len(fights.before) <= FIGHTS
    assert fights.add(str(FIGHTS), 9_999) == 2
    assert fights.add(str(FIGHTS), 10_000) == 1


def test_fights_that_are_over_are_forgotten() -> None:
    fights = Fights()
    for number in range(1_000):
        fights.add(str(number), 0)
    for now_ms in (10_000, 20_000):
        assert fights.add("another", now_ms) == 1
    assert len(fights.now) + len(fights.before) <= 2
