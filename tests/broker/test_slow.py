"""Clients that are slow on purpose: half a CONNECT, half a packet, a byte now and then."""

from __future__ import annotations

import pytest
from harness import MemoryBroker, MemoryClient, properties
from stand_ins import ScriptedAccess

from swellmq.codec.encode import encode, packet_head
from swellmq.codec.packets import Connack, Connect
from swellmq.limits import CONNECT_BYTES_MAX, PROGRESS_BYTES, STRANGER_BYTES, STRANGERS_BYTES_MAX

CONNECT_BYTES = 0x10
PUBLISH_BYTES = 0x30


def half(first: int, body: int) -> bytes:
    """The start of a packet with a body of so many bytes."""
    return packet_head(first, body) + b"\x00\x04MQTT\x04\x02\x00\x00\x00"


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker()


@pytest.mark.parametrize("body", [100, 200_000])
def test_a_trickle_is_no_sign_of_life(broker: MemoryBroker, body: int) -> None:
    """Half a packet and a byte each second: closed when no whole packet came for one and a half keep alives."""
    client = broker.connect("a", keep_alive=10)
    client.send(half(PUBLISH_BYTES, body))
    for _ in range(14):
        broker.advance(1)
        client.send(b"x")
        assert not client.closed
    broker.advance(2)
    assert client.close_reason == "keep alive timeout"


@pytest.mark.parametrize("body", [60_000, 200_000])
def test_progress_is_a_sign_of_life(broker: MemoryBroker, body: int) -> None:
    """A slow line with a large packet: a KiB now and then keeps the client."""
    client = broker.connect("a", keep_alive=10)
    packet = packet_head(PUBLISH_BYTES, body) + b"\x00\x01t" + bytes(body - 3)
    for start in range(0, 20 * PROGRESS_BYTES, PROGRESS_BYTES):
        client.send(packet[start : start + PROGRESS_BYTES])
        broker.advance(14)
    assert not client.closed
    client.send(packet[20 * PROGRESS_BYTES :])
    client.ping()


def test_packets_with_the_start_of_another(broker: MemoryBroker) -> None:
    """Whole packets count, whatever stands behind them."""
    client = broker.connect("a", keep_alive=10)
    for _ in range(4):
        client.send(b"\xc0")
        broker.advance(7)
        client.send(b"\x00\xc0")
        broker.advance(7)
        client.send(b"\x00")
    assert not client.closed


def strangers(broker: MemoryBroker, count: int, body: int) -> list[MemoryClient]:
    """So many clients with half a CONNECT."""
    clients = [broker.open() for _ in range(count)]
    for client in clients:
        client.send(half(CONNECT_BYTES, body))
    return clients


def test_strangers_have_a_bound_in_all(broker: MemoryBroker) -> None:
    body = CONNECT_BYTES_MAX - 4
    several = strangers(broker, STRANGERS_BYTES_MAX // CONNECT_BYTES_MAX, body)
    assert broker.core.strangers_bytes == STRANGERS_BYTES_MAX
    [late] = strangers(broker, 1, body)
    assert late.close_reason == "refused, broker full"
    broker.connect("a").ping()  # a usual one needs no room there
    several[0].drop()
    [again] = strangers(broker, 1, body)
    assert not again.closed
    broker.advance(6)
    assert {client.close_reason for client in [*several[1:], again]} == {"connect timeout"}
    assert broker.core.strangers_bytes == 0
    broker.check()


@pytest.mark.parametrize("size", [STRANGER_BYTES + 100, 60_000, 400_000])
def test_a_large_connect_gives_its_room_back(broker: MemoryBroker, size: int) -> None:
    connect = Connect()
    connect.protocol_version = 5
    connect.client_id = "a"
    connect.properties = properties(user_properties=[("name", "v" * 1_000)] * (size // 1_000))
    packet = encode(connect, 5)
    client = broker.open(5)
    for start in range(0, len(packet), 1_000):
        assert not client.closed
        client.send(packet[start : start + 1_000])
    assert client.taken.startswith(b"\x20") and broker.core.strangers_bytes == 0
    broker.check()


def large_connect(client_id: str, size: int = CONNECT_BYTES_MAX - 1_000) -> bytes:
    connect = Connect()
    connect.protocol_version = 5
    connect.client_id = client_id
    connect.clean_start = True
    connect.properties = properties(user_properties=[("name", "v" * 990)] * (size // 1_000 - 1))
    return encode(connect, 5)


def test_those_that_wait_for_access_have_a_bound_in_all() -> None:
    access = ScriptedAccess(authenticates=True)
    broker = MemoryBroker(access=access)
    size = len(large_connect("0"))
    clients: list[MemoryClient] = []
    for number in range(STRANGERS_BYTES_MAX // size):
        clients.append(broker.open(5))
        clients[-1].send(large_connect(str(number)))
        assert not clients[-1].closed
    held = broker.core.strangers_bytes
    assert STRANGERS_BYTES_MAX - size < held <= STRANGERS_BYTES_MAX
    late = broker.open(5)
    late.send(large_connect("late"))
    [answer] = late.receive()
    assert isinstance(answer, Connack) and answer.reason_code == 0x97
    assert late.close_reason == "refused, broker full"
    broker.connect("usual", version=5)  # needs no room there
    for request in access.asked:
        broker.resume(request.token)
    assert all(client.taken.startswith(b"\x20") for client in clients)
    assert broker.core.strangers_bytes == 0
    broker.check()


def test_those_that_leave_while_access_thinks_give_their_room_back() -> None:
    access = ScriptedAccess(authenticates=True)
    broker = MemoryBroker(access=access)
    client = broker.open(5)
    client.send(large_connect("a"))
    assert broker.core.strangers_bytes > CONNECT_BYTES_MAX // 2
    client.drop()
    assert broker.core.strangers_bytes == 0
