"""Clients that mean harm: whatever they send, the broker lives, others are served, and nothing of them stays."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from client_helpers import wait_until
from raw_packets import (
    DISCONNECT,
    NO_REASON_STRINGS,
    PINGREQ,
    PINGRESP,
    Raw,
    ack,
    connect,
    packet,
    publish,
    subscribe,
    text,
)

from swellmq import Broker, Settings

SEED = 20_260
every_version = pytest.mark.parametrize("version", [3, 4, 5])


@pytest.fixture
def quiet_broker() -> Iterator[Broker]:
    """A broker that a bystander uses from before the attack until after it; at the end all is as at the start."""
    settings = Settings(port=0, sys_interval_s=0, limits_connect_timeout_ms=60_000)  # on a busy machine too
    with Broker(settings) as broker:
        with Raw(broker).connect("bystander") as bystander:
            bystander.ask(subscribe(["by/stander"]), b"\x90\x03\0\x01\0")
            yield broker
            wait_for_the_last_of(broker, 2)
            message = publish("by/stander", b"still here")
            bystander.ask(message, message)
        wait_until(lambda: broker.statistics()["pool_active"] == 0)
        wait_until(lambda: broker.statistics()["subscriptions"] == 0)  # a hundred thousand end over many turns
        counters = broker.statistics()
        assert (counters["errors_internal"], counters["pool_overflow"]) == (0, 0)
        assert counters["pool_idle"] == counters["pool_capacity"]
        assert broker.self_check() == []


def wait_for_the_last_of(broker: Broker, count: int) -> None:
    """Return once no more than `count` connections are left, of all that were made before and the one made here."""
    with Raw(broker).connect("last"):  # comes in when all others have
        wait_until(lambda: broker.statistics()["pool_active"] == count)


def whole_session(version: int, client_id: str = "whole") -> list[bytes]:
    """One packet of every kind that a client may send."""
    expiry = b"\x11\0\0\0\0\x21\0\x04\x22\0\x10" if version == 5 else b""
    sent = [connect(client_id, version, data=expiry), subscribe(["a/+", "b/#", "$share/g/c"], 2, 1, version)]
    sent += [publish(f"a/{qos}", b"x" * 40, qos, qos + 1, version, qos == 1) for qos in (0, 1, 2)]
    sent += [publish("a/1", b"", 0, 0, version, True)]
    sent += [ack(first, 3) for first in (0x40, 0x50, 0x62, 0x70)]
    end = b"\0" if version == 5 else b""
    return [*sent, packet(0xA2, b"\0\x09" + end + text("a/+")), PINGREQ, DISCONNECT]


def test_random_bytes(quiet_broker: Broker) -> None:
    chance = random.Random(SEED)
    for number in range(200):
        with Raw(quiet_broker) as client:
            hello = connect(f"r{number}", chance.choice([3, 4, 5])) if number % 2 else b""
            client.send_bravely(hello + chance.randbytes(chance.choice([1, 2, 5, 30, 3_000])))


def test_random_packets(quiet_broker: Broker) -> None:
    chance = random.Random(SEED)
    for number in range(200):
        with Raw(quiet_broker) as client:
            client.socket.sendall(connect(f"r{number}", chance.choice([3, 4, 5])))
            for _ in range(5):
                client.send_bravely(packet(chance.randrange(256), chance.randbytes(chance.randrange(30))))


@every_version
def test_mutated_sessions(quiet_broker: Broker, version: int) -> None:
    chance = random.Random(SEED + version)
    for _ in range(200):
        packets = whole_session(version)
        data = bytearray(b"".join(packets))
        for _ in range(chance.randrange(1, 4)):
            place = chance.randrange(len(packets[0]) if chance.random() < 0.7 else 0, len(data))
            kind = chance.randrange(4)
            if kind == 0:
                data[place] = chance.randrange(256)
            elif kind == 1:
                data[place] ^= 1 << chance.randrange(8)
            elif kind == 2:
                del data[place : place + chance.randrange(1, 4)]
            else:
                data[place:place] = chance.randbytes(2)
        with Raw(quiet_broker) as client:
            client.send_bravely(bytes(data))


@every_version
def test_a_session_that_breaks_off_at_every_byte(quiet_broker: Broker, version: int) -> None:
    data = b"".join(whole_session(version))
    for end in range(len(data)):
        client = Raw(quiet_broker)
        client.send_bravely(data[:end])
        if end % 2:
            client.reset()
        else:
            client.socket.close()


@pytest.mark.parametrize("length", [b"\xff\xff\xff\xff", b"\x80\x80\x80\x80\x01", b"\xff\xff\xff\xff\xff\xff"])
@pytest.mark.parametrize("first", [0x10, 0x30, 0x32, 0x82, 0xA2, 0xC0, 0xE0])
def test_a_remaining_length_of_five_bytes(quiet_broker: Broker, first: int, length: bytes) -> None:
    with Raw(quiet_broker) as client:
        client.send_bravely(bytes([first]) + length)
        assert client.until_closed() == b""
    with Raw(quiet_broker).connect("l", 5) as client:
        client.send_bravely(bytes([first]) + length)
        assert client.until_closed()[::2][:1] == b"\xe0"


def test_a_connect_that_is_too_large(quiet_broker: Broker) -> None:
    with Raw(quiet_broker) as client:
        client.send_bravely(b"\x10\xff\xff\xff\x7f" + b"x" * 100)
        assert client.until_closed() == b""


def test_half_open_sockets_are_closed_at_their_deadline() -> None:
    with Broker(Settings(port=0, limits_connect_timeout_ms=100)) as broker:
        beginnings = [b"", b"\x10", b"\x10\xff", connect("half")[:-1]]
        clients = [Raw(broker) for _ in range(100)]
        for number, client in enumerate(clients):
            client.socket.sendall(beginnings[number % 4])
        for client in clients:
            assert client.until_closed() == b""
        wait_until(lambda: broker.statistics()["pool_active"] == 0)
        assert broker.statistics()["closed: connect timeout"] == 100


def test_a_flood_does_not_starve_others(quiet_broker: Broker) -> None:
    stop = threading.Event()

    def flood() -> None:
        with Raw(quiet_broker).connect("flood") as client:
            while not stop.is_set():
                client.send_bravely(publish("flood", b"") * 5_000)

    floods = [threading.Thread(target=flood) for _ in range(3)]
    for thread in floods:
        thread.start()
    try:
        with Raw(quiet_broker).connect("other") as client:
            for _ in range(20):
                client.ask(PINGREQ, PINGRESP)
    finally:
        stop.set()
        for thread in floods:
            thread.join()


@pytest.mark.slow
def test_output_that_is_not_read_stops_the_input(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with Broker(Settings(port=0, unix=path, limits_outbox_bytes=65_536)) as broker, Raw(path) as client:
        client.connect("deaf")
        sent = client.send_until_blocked(PINGREQ * 10_000, 4_000_000)
        assert sent < 4_000_000
        # Nothing is lost, and once the client reads, it is read again.
        client.receive(sent // 2 * 2)
        if sent % 2:
            client.ask(b"\0", PINGRESP)
        client.ask(PINGREQ, PINGRESP)
        assert broker.statistics()["errors_internal"] == 0


@pytest.mark.parametrize("qos", [0, 1])
def test_all_retained_messages_reach_a_reader(quiet_broker: Broker, qos: int) -> None:
    count = 3_000
    with Raw(quiet_broker).connect("writer") as writer:
        kept = [publish(f"kept/{number}", b"x" * 1_000, retain=True) for number in range(count)]
        writer.ask(b"".join(kept) + PINGREQ, PINGRESP)
        with Raw(quiet_broker).connect("reader") as reader:
            reader.ask(subscribe(["kept/#"], qos), b"\x90\x03\0\x01" + bytes([qos]))
            found = set()
            for _ in kept:
                assert reader.receive(1) == b"\x31"
                low, high = reader.receive(2)
                body = reader.receive(low - 128 + high * 128)
                found.add(body[2 : 2 + body[1]])
            assert len(found) == count
        cleared = [publish(f"kept/{number}", retain=True) for number in range(count)]
        writer.ask(b"".join(cleared) + PINGREQ, PINGRESP)


@pytest.mark.slow
def test_a_bomb_of_100_000_subscriptions(quiet_broker: Broker) -> None:
    with Raw(quiet_broker).connect("bomb", 5, data=NO_REASON_STRINGS) as client:
        for first in range(0, 100_000, 1_000):
            filters = [f"many/{number}/+" for number in range(first, first + 1_000)]
            client.ask(subscribe(filters, 0, 1, 5), packet(0x90, b"\0\x01\0" + bytes(1_000)))
        client.ask(subscribe(["one/more"], 0, 2, 5), b"\x90\x04\0\x02\0\x97")
        assert quiet_broker.statistics()["subscriptions"] == 100_001  # with the bystander's


@pytest.mark.slow
def test_every_packet_identifier_of_qos_2(quiet_broker: Broker) -> None:
    with Raw(quiet_broker).connect("ids") as client, Raw(quiet_broker).connect("heard") as listener:
        listener.ask(subscribe(["q"]), b"\x90\x03\0\x01\0")
        for again in range(2):
            for first in range(1, 65_536, 5_957):
                numbers = range(first, min(first + 5_957, 65_536))
                answers = b"".join(ack(0x50, number) for number in numbers)
                client.ask(b"".join(publish("q", b"%d" % again, 2, number) for number in numbers), answers)
        released = b"".join(ack(0x62, number) for number in range(1, 101))
        client.ask(released, b"".join(ack(0x70, number) for number in range(1, 101)))
        heard = publish("q", b"0") * 65_535
        assert listener.receive(len(heard)) == heard
        client.ask(publish("q", b"2", 2, 100), ack(0x50, 100))
        assert listener.receive(6) == publish("q", b"2")


def test_acknowledgements_of_what_was_never_sent(quiet_broker: Broker) -> None:
    chance = random.Random(SEED)
    for _ in range(50):
        with Raw(quiet_broker).connect("wrong", clean=False) as client:
            client.socket.sendall(subscribe(["w"], 2) + publish("w", b"1", 2, 5) + publish("w", b"2", 1, 6))
            acks = [ack(chance.choice([0x40, 0x50, 0x62, 0x70]), chance.randrange(1, 8)) for _ in range(40)]
            client.socket.sendall(b"".join(acks))
    with Raw(quiet_broker).connect("wrong") as client:
        client.ask(subscribe(["w"]), b"\x90\x03\0\x01\0")
        client.ask(publish("w", b"x"), publish("w", b"x"))


def test_takeovers_by_the_hundred(quiet_broker: Broker) -> None:
    clients: list[Raw] = []
    for number in range(300):
        clients.append(Raw(quiet_broker))
        hello = connect("same", 3 + number % 3, clean=number % 2 == 0)
        clients[-1].send_bravely(hello + subscribe(["t/+"], 1, 1, 3 + number % 3))
    wait_for_the_last_of(quiet_broker, 3)
    for client in clients:
        client.socket.close()
    with Raw(quiet_broker).connect("same") as client:
        client.ask(PINGREQ, PINGRESP)


def test_a_client_id_can_not_write_log_lines(broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "swellmq")
    client_id = "x\n2026-01-01 12:00:00 [POOL] Expand: 1->2\x1b[2J"
    with Raw(broker) as client:
        client.send_bravely(connect(client_id) + b"\0\0")
        client.until_closed()
    with Raw(broker) as client, Raw(broker) as other:
        for each in (client, other):
            each.send_bravely(connect(client_id) + PINGREQ)
        client.until_closed()
    assert [record for record in caplog.records if not record.getMessage().isprintable()] == []


def test_a_slow_reader_does_not_hold_up_others(quiet_broker: Broker) -> None:
    with Raw(quiet_broker).connect("slow") as slow, Raw(quiet_broker).connect("fast") as fast:
        for reader in (slow, fast):
            reader.ask(subscribe(["s"]), b"\x90\x03\0\x01\0")
        message = publish("s", b"x" * 10_000)
        for _ in range(2_000):
            fast.ask(message, message)
        assert quiet_broker.statistics()["dropped_outbox_full"] > 0
