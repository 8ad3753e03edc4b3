"""The loop over real sockets: turns driven by the test, so that steps are counted and nothing waits for time."""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from socket_client import Client, Clients, await_true

from swellmq import Access, Request, SessionEvent, Storage
from swellmq.broker.access import AUTHENTICATE, PENDING, PUBLISH, TAKE_OVER
from swellmq.broker.session import Session
from swellmq.broker.work import Work
from swellmq.codec.encode import encode
from swellmq.codec.packets import Ack, Connack, Connect, Disconnect, Ping, Properties, Publish
from swellmq.codec.spec import PINGREQ, PUBACK, SESSION_TAKEN_OVER
from swellmq.connection import (
    BACK,
    ENDED,
    IN_BACK,
    LATE,
    LINE,
    READABLE,
    ROOM,
    Connection,
    Turn,
    Watcher,
)
from swellmq.limits import (
    ACCEPTS_PER_TURN,
    EVENTS_LEAST,
    EVENTS_PER_TURN,
    FAN_OUT_WIDE,
    JOIN_BYTES,
    OVERLOAD_LOOK_MS,
    READ_BYTES,
    READ_BYTES_BEHIND,
    READ_BYTES_FRONT,
    READ_BYTES_LEAST,
    REFUSING_DEADLINE_MS,
    REFUSING_SLOTS,
    RENEW_AFTER_MS,
    RENEW_FROM,
    TURN_LONG_US,
    WRITE_BYTES,
    WRITES_PER_LOOK,
    WRITES_PER_TURN,
)
from swellmq.net.loop import CALM_LOOK_MS, TABLE_SLICE
from swellmq.server import Server

Servers = Callable[..., Server]

REFUSED_3 = b"\x20\x02\x00\x03"
REFUSED_5 = b"\x20\x03\x00\x97\x00"


def pass_time(server: Server, ms: int) -> None:
    """Move the loop's monotonic clock on."""
    server.loop.start_ns -= ms * 1_000_000


def cut(client: Client) -> None:
    """Reset the connection, as a peer that crashed does."""
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.sock.close()


def rest(client: Client) -> bytes:
    """All that comes until the broker closes."""
    try:
        while True:
            client.arrive()
    except EOFError:
        return bytes(client.data[client.pos :])


def closed(server: Server, reason: str) -> int:
    return server.stats.statistics()["closed: " + reason]


class Judge(Access):
    """Access that asks about what it is told to, and answers when the test says so."""

    def __init__(self, *kinds: int) -> None:
        super().__init__()
        self.authenticates = AUTHENTICATE in kinds
        self.authorizes_publish = PUBLISH in kinds
        self.asked: list[Request] = []

    def decide(self, requests: list[Request]) -> None:
        self.asked += requests


# Full


@pytest.mark.parametrize(("version", "answer"), [(3, REFUSED_3), (4, REFUSED_3), (5, REFUSED_5)])
def test_refusal_when_full(server: Servers, clients: Clients, version: int, answer: bytes) -> None:
    one = server(max_connections=2, pool_initial_size=1, pool_max_size=1)
    served = [clients(one, 4, "a"), clients(one, 5, "b")]
    late = clients(one, version)
    late.send(late.connect_packet("late"))
    assert rest(late) == answer
    for client in served:
        client.ping()
    assert (one.stats.connections_refused, closed(one, "refused, broker full")) == (1, 1)
    assert (one.pool.active, len(one.pool.reserve)) == (2, REFUSING_SLOTS)
    served[0].disconnect()
    clients(one, version, "late").ping()
    assert one.pool.active == 2


def test_client_351(server: Servers, clients: Clients) -> None:
    one = server(preset="small", pool_initial_size=256, pool_max_size=300, max_connections=350)
    served = [clients(one, 4 + number % 2, f"c{number}") for number in range(350)]
    assert one.pool.statistics()["overflow"] == 50
    for version, answer in ((4, REFUSED_3), (5, REFUSED_5)):
        late = clients(one, version)
        late.send(late.connect_packet("late"))
        assert rest(late) == answer
    for client in served:
        client.ping()
    served[7].disconnect()
    newcomer = clients(one, 5, "newcomer")
    newcomer.ping()
    for client in [*served[:7], *served[8:], newcomer]:
        client.disconnect()
    assert one.pool.statistics() | {"capacity": 300, "active": 0, "idle": 300, "overflow": 0} == one.pool.statistics()
    assert one.self_check() == []


def test_refused_in_pieces(server: Servers, clients: Clients) -> None:
    one = server(max_connections=1, pool_initial_size=1, pool_max_size=1)
    clients(one, 4, "a")
    late = clients(one)
    for byte in late.connect_packet("late"):
        late.send(bytes([byte]))
        one.turn(1000)
    assert rest(late) == REFUSED_3


@pytest.mark.parametrize(
    "data", [b"\xc0\x00", b"\x10\xff\xff\xff\xff\xff", b"\x10\xff\xff\xff\x7f", b"\x10\x02\x00\x04"]
)
def test_refused_client_that_sends_rubbish(server: Servers, clients: Clients, data: bytes) -> None:
    one = server(max_connections=1, pool_initial_size=1, pool_max_size=1)
    clients(one, 4, "a")
    late = clients(one)
    late.send(data)
    assert rest(late) == b""
    assert len(one.pool.reserve) == REFUSING_SLOTS


def test_silent_refused_client_is_closed_at_its_deadline(server: Servers, clients: Clients) -> None:
    one = server(max_connections=1, pool_initial_size=1, pool_max_size=1)
    clients(one, 4, "a")
    late = clients(one)
    await_true(lambda: one.stats.connections_refused == 1, lambda: one.turn(1))
    pass_time(one, REFUSING_DEADLINE_MS - 500)
    one.turn(0)
    assert len(one.pool.reserve) == REFUSING_SLOTS - 1
    pass_time(one, 600)
    one.turn(0)
    assert len(one.pool.reserve) == REFUSING_SLOTS
    assert rest(late) == b""


def test_past_the_reserve_clients_are_closed_at_once(server: Servers, clients: Clients) -> None:
    one = server(max_connections=1, pool_initial_size=1, pool_max_size=1)
    served = clients(one, 4, "a")
    for _ in range(REFUSING_SLOTS):
        clients(one)
    await_true(lambda: not one.pool.reserve, lambda: one.turn(1))
    assert rest(clients(one)) == b""
    assert (one.stats.connections_refused, one.stats.connections_dropped) == (REFUSING_SLOTS, 1)
    served.ping()


def test_the_log_says_it_is_full_at_a_limited_rate(
    server: Servers, clients: Clients, caplog: pytest.LogCaptureFixture
) -> None:
    one = server(max_connections=1, pool_initial_size=1, pool_max_size=1)
    clients(one, 4, "a")
    for _ in range(5):
        late = clients(one)
        late.send(late.connect_packet("late"))
        rest(late)
    assert [record.message for record in caplog.records if record.levelno == logging.WARNING] == [
        "full: all connections are in use; 1 clients are served, further ones are refused"
    ]


@pytest.mark.parametrize("version", [4, 5])
def test_takeover_while_full(server: Servers, clients: Clients, version: int) -> None:
    one = server(max_connections=2, pool_initial_size=2, pool_max_size=2)
    old = clients(one, version, "device")
    other = clients(one, 4, "other")
    new = clients(one, version, "device")
    if version == 5:
        assert old.expect(Disconnect).reason_code == 0x8E
    assert old.receive() is None
    new.ping()
    other.ping()
    assert (one.pool.active, one.pool.overflow, len(one.pool.reserve)) == (2, 0, REFUSING_SLOTS)
    assert (one.stats.connections_accepted, one.stats.connections_refused) == (3, 0)


def test_takeover_while_full_by_two_at_once(server: Servers, clients: Clients) -> None:
    """The later one wins, nobody waits for a deadline, and the loop does not spin."""
    one = server(max_connections=1, pool_initial_size=1, pool_max_size=1)
    clients(one, 4, "device")
    rivals = [clients(one), clients(one)]
    await_true(lambda: one.stats.connections_refused == 2, lambda: one.turn(1))
    for rival in rivals:
        rival.send(rival.connect_packet("device"))
    turns = one.stats.turns
    for _ in range(10):
        one.turn(20)
    assert one.deadline_ms() != 0
    assert one.stats.turns - turns == 10
    assert one.broker.core.clients == 1
    assert len(one.pool.reserve) == REFUSING_SLOTS
    winners = [rival for rival in rivals if rest_or_alive(rival)]
    assert len(winners) == 1


def rest_or_alive(client: Client) -> bool:
    try:
        client.arrive()
        client.expect(Connack)
        client.ping()
    except (EOFError, AssertionError, OSError):
        return False
    return True


def test_takeover_while_full_asks_access(server: Servers, clients: Clients) -> None:
    judge = Judge(AUTHENTICATE)
    one = server(judge, max_connections=1, pool_initial_size=1, pool_max_size=1)

    def answer(client: Client, kind: int, reason_code: int) -> None:
        await_true(lambda: judge.asked, lambda: one.turn(1))
        [request] = judge.asked
        judge.asked = []
        assert (request.kind, request.client_id) == (kind, "device")
        assert one.broker.resume(request.token, reason_code)

    old = clients(one)
    old.send(old.connect_packet("device"))
    answer(old, AUTHENTICATE, 0)
    assert old.expect(Connack).reason_code == 0
    thief = clients(one)
    thief.send(thief.connect_packet("device"))
    answer(thief, TAKE_OVER, 0x87)
    assert rest(thief) == b"\x20\x02\x00\x05"
    old.ping()
    new = clients(one)
    new.send(new.connect_packet("device"))
    answer(new, TAKE_OVER, 0)
    answer(new, AUTHENTICATE, 0)
    assert new.expect(Connack).reason_code == 0
    assert old.receive() is None
    new.ping()


# Out of descriptors

EMFILE = """
import resource, socket, sys
sys.path.insert(0, sys.argv[1])
from socket_client import Client, await_true, quiet_settings
from swellmq.server import Server

server = Server(quiet_settings())
server.open()
step = lambda: server.turn(1)
first = Client(("127.0.0.1", server.port), 4, step)
assert first.connect("first").reason_code == 0
early, late = [socket.socket() for _ in range(20)], socket.socket()
for sock in early:
    sock.connect(("127.0.0.1", server.port))
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (late.fileno() + 3, hard))  # two more descriptors
server.turn(1000)
assert server.stats.connections_accepted == 3, "the first client and two more"
assert (server.stats.accept_pauses, server.stats.connections_dropped) == (1, 18), "the rest was not left hanging"
assert len(server.loop.paused) == 1
first.ping()
late.connect(("127.0.0.1", server.port))
turns = server.stats.turns
await_true(lambda: server.stats.accept_pauses == 2, lambda: server.turn(1000))
assert server.stats.turns - turns <= 3, "one turn ends the pause, the next one accepts"
assert server.stats.connections_dropped == 19
first.ping()
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
second = Client(("127.0.0.1", server.port), 5, step)
assert second.connect("second").reason_code == 0
first.ping()
assert server.self_check() == []
server.finish()
print("survived")
"""


def test_no_descriptor_left() -> None:
    """No spin, no death: who is served goes on, who can't be is told at once, and later clients get in again."""
    tests = str(Path(__file__).parent.parent)
    done = subprocess.run([sys.executable, "-c", EMFILE, tests], capture_output=True, text=True, check=False)
    assert done.stdout == "survived\n", done.stderr
    assert done.stderr.count("can't accept more connections: Too many open files") == 1


def test_a_paused_listener_is_not_asked(server: Servers, clients: Clients) -> None:
    """An arrival at one listener must not try the others, which may be paused for want of descriptors."""
    from swellmq import ListenerSettings

    one = server(listeners=[ListenerSettings(port=0), ListenerSettings(port=0)])
    first, second = one.listeners
    one.loop._exhausted(first, one.turn_state.now_ms, OSError(24, "Too many open files"))
    clients(("127.0.0.1", second.port), 4, "a", step=lambda: one.turn(1))
    waiting = clients(("127.0.0.1", first.port), step=lambda: one.turn(1))
    clients(("127.0.0.1", second.port), 4, "b", step=lambda: one.turn(1))
    assert one.stats.connections_accepted == 2
    pass_time(one, 100)
    assert waiting.connect("c").reason_code == 0


def test_a_descriptor_that_can_not_be_watched(server: Servers) -> None:
    """As when the system's limit on watches is reached: that connection is dropped, and nothing else happens."""
    one = server()
    one.loop.open(os.open(__file__, os.O_RDONLY), 0, 1)  # epoll refuses plain files
    assert (one.stats.connections_dropped, one.pool.active, one.pool.overflow) == (1, 0, 0)
    one.turn(0)
    assert one.self_check() == []


# Bounded reads


def flood(client: Client, data: bytes) -> None:
    """Send until the system takes no more."""
    try:
        while True:
            client.sock.send(data)
    except BlockingIOError:
        pass


def test_a_flood_does_not_starve_others(server: Servers, clients: Clients) -> None:
    one = server()
    flooder, other = clients(one, 4, "flooder"), clients(one, 4, "other")
    message = b"\x30\x80\x08\x00\x01t" + b"x" * 1021
    for _ in range(5):
        flood(flooder, message * 64)
        other.sock.send(b"\xc0\x00")
        before = one.stats.bytes_received
        one.turn(1000)
        assert other.sock.recv(10) == b"\xd0\x00", "in the very turn"
        assert one.stats.bytes_received - before <= READ_BYTES + 2
    assert one.stats.bytes_received > 2 * READ_BYTES


def test_accepts_are_bounded(server: Servers) -> None:
    one = server()
    waiting = [socket.create_connection(("127.0.0.1", one.port)) for _ in range(300)]
    one.turn(1000)
    assert one.stats.connections_accepted == ACCEPTS_PER_TURN
    await_true(lambda: one.stats.connections_accepted == 300, lambda: one.turn(1000))
    for sock in waiting:
        sock.close()


def test_a_storm_of_clients_does_not_hold_up_those_that_are_here(server: Servers, clients: Clients) -> None:
    one = server()
    here = clients(one, 4, "here")
    here.ping()
    storm = [clients(one, 4) for _ in range(3)]
    await_true(lambda: one.stats.connections_accepted == 1 + len(storm), lambda: one.turn(1000))
    for number, client in enumerate(storm):
        client.sock.send(b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x00\x00\x02%02x" % number)
    one.loop.back_ns = 0  # one of them in each turn
    for turns in range(1, 4):
        here.sock.send(b"\xc0\x00")
        one.turn(1000)
        assert here.sock.recv(10) == b"\xd0\x00", "in the very turn"
        assert one.stats.connects == 1 + turns
    for client in storm:
        assert client.sock.recv(10) == b"\x20\x02\x00\x00"


# Slow readers


def drain(client: Client, count: int, acknowledge: bool = False) -> list[bytes]:
    """The payloads of the next messages."""
    payloads = []
    for _ in range(count):
        message = client.expect(Publish)
        payloads.append(message.payload)
        if acknowledge:
            client.send(Ack(PUBACK, message.packet_identifier))
    return payloads


@pytest.mark.slow
def test_qos_0_beyond_the_outbox_is_dropped_and_counted(server: Servers, clients: Clients) -> None:
    one = server(limits_outbox_bytes=100_000)
    slow, publisher = clients(one, 4, "slow"), clients(one, 4, "publisher")
    slow.subscribe("t")
    sent = 0
    while not one.stats.dropped_outbox_full:
        publisher.publish("t", b"%08d" % sent + b"x" * 60_000)
        publisher.ping()
        sent += 1
    [connection] = [connection for connection in one.loop.served() if connection.outbox_bytes]
    assert 100_000 < connection.outbox_bytes < 100_000 + 2 * 60_020
    assert one.stats.dropped_outbox_full == 1
    numbers = [int(payload[:8]) for payload in drain(slow, sent - 1)]
    assert numbers == list(range(sent - 1)), "what was taken on arrives whole and in order"
    assert (connection.outbox_bytes, connection.interest, connection.buffers) == (0, READABLE, None)
    publisher.publish("t", b"again")
    assert drain(slow, 1) == [b"again"]


def test_qos_1_waits_in_the_session(server: Servers, clients: Clients) -> None:
    one = server(limits_outbox_bytes=100_000)
    slow, publisher = clients(one, 4, "slow"), clients(one, 4, "publisher")
    slow.subscribe("t", 1)
    session = one.broker.core.session("slow")
    assert session is not None
    sent = 0
    while session.queued() < 50:
        publisher.publish("t", b"%08d" % sent + b"x" * 10_000, 1)
        publisher.expect(Ack)
        sent += 1
    numbers = [int(payload[:8]) for payload in drain(slow, sent, acknowledge=True)]
    assert numbers == list(range(sent))
    slow.ping()
    assert (session.queued(), session.inflight or {}, one.stats.dropped_outbox_full) == (0, {}, 0)


@pytest.mark.parametrize("size", [5_000, JOIN_BYTES + 1, 1_000_000])
def test_what_waited_goes_on_when_the_socket_took_all_at_once(server: Servers, clients: Clients, size: int) -> None:
    """A QoS 1 message that came while the outbox was full, in the same turn, and nothing else happens after it."""
    one = server(limits_outbox_bytes=4_096)
    reader, publisher = clients(one, 4, "reader"), clients(one, 4, "publisher")
    reader.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    reader.subscribe("t", 1)
    second = Publish(b"t", b"second", 1, False)
    second.packet_identifier = 1
    publisher.send(Publish(b"t", b"x" * size, 0, False), second)
    assert [len(payload) for payload in drain(reader, 2)] == [size, 6]


def test_retained_messages_beyond_the_outbox_all_arrive(server: Servers, clients: Clients) -> None:
    one = server(limits_outbox_bytes=4_096)
    publisher, reader = clients(one, 4, "publisher"), clients(one, 4, "reader")
    for number in range(300):
        publisher.publish(f"t/{number}", b"x" * 1000, retain=True)
    publisher.ping()
    reader.subscribe("t/#")
    assert len(drain(reader, 300)) == 300
    assert one.stats.dropped_outbox_full == 0


def test_a_payload_of_50_mb(server: Servers, clients: Clients) -> None:  # [MQTT-4.2.0-1]
    """Comes in and goes out in bounded pieces, and no message of others waits behind it."""
    one = server()
    reader, publisher, other = clients(one, 4, "reader"), clients(one, 5, "publisher"), clients(one, 4, "other")
    reader.subscribe("t", 1)
    payload = os.urandom(1 << 20) * 50
    publisher.publish("t", payload, 1)
    assert publisher.expect(Ack).packet_type == PUBACK
    [connection] = [connection for connection in one.loop.served() if connection.outbox_bytes]
    while connection.outbox_bytes:
        other.sock.send(b"\xc0\x00")
        before = one.stats.bytes_sent
        one.turn(1000)
        assert one.stats.bytes_sent - before <= WRITES_PER_TURN * WRITE_BYTES + 2
        assert other.sock.recv(10) == b"\xd0\x00"
        while True:
            try:
                reader.data += reader.sock.recv(1 << 20)
            except BlockingIOError:
                break
    assert drain(reader, 1) == [payload]


@pytest.mark.slow
def test_large_payloads_cost_linear_time(server: Servers, clients: Clients) -> None:
    one = server()
    reader, publisher = clients(one, 4, "reader"), clients(one, 4, "publisher")
    reader.subscribe("t", 1)
    block = os.urandom(1 << 20)
    per_mb: list[float] = []
    for megabytes in (25, 200):
        payload = block * megabytes
        before = time.process_time()
        publisher.publish("t", payload, 1)
        assert drain(reader, 1, acknowledge=True) == [payload]
        per_mb.append((time.process_time() - before) / megabytes)
        assert publisher.expect(Ack).packet_type == PUBACK
    assert per_mb[1] < 4 * per_mb[0], per_mb


def test_a_client_that_takes_nothing_is_closed(server: Servers, clients: Clients) -> None:
    one = server(limits_write_timeout_ms=5_000)
    slow, slower, publisher = clients(one, 4, "slow"), clients(one, 4, "slower"), clients(one, 4, "publisher")
    for client in (slow, slower):
        client.subscribe("t")
    publisher.publish("t", b"x" * 20_000_000)
    await_true(lambda: one.stats.publishes_sent == 2, lambda: one.turn(1))
    assert slow.sock.recv(1000)
    for _ in range(4):
        pass_time(one, 2_000)
        taken = 0
        while taken < 1 << 20:  # enough for the system to make room for more
            try:
                taken += len(slow.sock.recv(1 << 20))
            except BlockingIOError:
                pass
            one.turn(1)
    assert closed(one, "write stalled") == 1
    assert {connection.owner.client_id for connection in one.loop.served()} == {"slow", "publisher"}  # type: ignore[union-attr]
    publisher.ping()


@pytest.mark.parametrize("every_ms", [1_000, 4_000])
def test_a_client_that_takes_a_little_now_and_then_is_closed_too(
    server: Servers, clients: Clients, every_ms: int
) -> None:
    """Some 8 KB each second are enough to stay for, the same each 4 seconds are not."""
    one = server(limits_write_timeout_ms=5_000)
    slow, ours = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
    one.loop.open(ours.detach(), 0, one.turn_state.now_ms)
    hello = Connect()
    hello.protocol_version = 4
    hello.client_id = "slow"
    slow.sendall(encode(hello, 4) + b"\x82\x06\0\x01\0\x01t\0")
    publisher = clients(one, 4, "publisher")
    publisher.publish("t", bytes(3_000_000))
    await_true(lambda: one.stats.publishes_sent == 1, lambda: one.turn(1))
    moved = 0
    for _ in range(10):
        if one.pool.active == 2:
            before = one.stats.bytes_sent
            taken = 0
            while taken < 9_000 and one.pool.active == 2:
                taken += len(slow.recv(1_000))
                one.turn(1)
            moved += one.stats.bytes_sent > before
            pass_time(one, every_ms)
            one.turn(0)
    assert moved > 1, "the system made room, so that it was written to"
    assert closed(one, "write stalled") == (0 if every_ms == 1_000 else 1)
    slow.close()


def test_a_subscriber_that_is_gone_while_it_is_written_to(server: Servers, clients: Clients) -> None:
    one = server()
    gone, publisher = clients(one, 4, "gone"), clients(one, 4, "publisher")
    gone.subscribe("t")
    cut(gone)
    publisher.send(*[Publish(b"t", b"x" * 100_000, 0, False)] * 20)
    publisher.ping()
    await_true(lambda: closed(one, "reset by peer") == 1, lambda: one.turn(1))
    assert one.pool.active == 1


# Closing


def test_a_descriptor_is_never_reused_within_a_turn(server: Servers, clients: Clients) -> None:
    """A leaves, B comes and A's last bytes are there, all in one turn: B gets another number and no event of A's."""
    one = server()
    leaving = clients(one, 4, "leaving")
    [old] = one.loop.served()
    number = old.fd
    newcomer = clients(one)
    leaving.sock.send(b"\xe0\x00\xc0\x00")
    newcomer.sock.send(newcomer.connect_packet("newcomer"))
    await_true(lambda: one.stats.connections_accepted == 2, lambda: one.turn(1))
    [new] = one.loop.served()
    assert new.fd != number
    assert newcomer.expect(Connack).reason_code == 0
    newcomer.ping()


def test_an_event_of_a_connection_that_was_closed_in_the_turn_is_stale(server: Servers, clients: Clients) -> None:
    """Both clients send in one turn, and the first to be read takes the place of the second."""
    one = server()
    rivals = [clients(one), clients(one, 4, "device")]
    await_true(lambda: one.stats.connections_accepted == 2, lambda: one.turn(1))
    rivals[0].send(rivals[0].connect_packet("device"))
    rivals[1].send(b"\x30\x03\x00\x01t" * 3)
    one.turn(1000)
    assert rivals[0].expect(Connack).reason_code == 0
    rivals[0].ping()
    assert closed(one, "session taken over") == 1
    assert one.stats.publishes_received in (0, 3), "all of them, before, or none, after"
    assert one.pool.active == 1


def test_a_will_leaves_in_the_turn_of_the_loss(server: Servers, clients: Clients) -> None:
    one = server()
    watcher = clients(one, 4, "watcher")
    watcher.subscribe("will")
    dying = clients(one, 4, "dying", will=Publish(b"will", b"bye", 0, False))
    cut(dying)
    one.turn(1000)
    assert watcher.sock.recv(100) == b"\x30\x09\x00\x04willbye"


def test_what_came_before_a_reset_counts(server: Servers, clients: Clients) -> None:
    one = server()
    watcher, dying = clients(one, 4, "watcher"), clients(one, 4, "dying")
    watcher.subscribe("t")
    message = encode(Publish(b"t", b"x" * 1_000, 0, False), 4)
    count = 20
    dying.sock.sendall(message * count)
    cut(dying)  # the broker finds the failure and the messages in one event
    await_true(lambda: closed(one, "reset by peer") == 1, lambda: one.turn(1))
    assert (one.stats.publishes_received, one.stats.publishes_sent) == (count, count)
    assert one.pool.active == 1


def test_no_descriptor_is_leaked(server: Servers, clients: Clients) -> None:
    before = set(os.listdir("/proc/self/fd"))
    one = server(max_connections=3, pool_initial_size=1, pool_max_size=1)
    for _ in range(5):
        made = [clients(one, 4, f"c{number}") for number in range(3)]
        refused = clients(one)
        refused.send(refused.connect_packet("late"))
        assert rest(refused) == REFUSED_3
        refused.close()
        for client in made:
            client.disconnect()
    one.finish()
    assert set(os.listdir("/proc/self/fd")) == before


def test_who_is_connected_without_a_client_at_the_end(server: Servers, clients: Clients) -> None:
    one = server()
    silent = clients(one)
    await_true(lambda: one.pool.active == 1, lambda: one.turn(1))
    one.finish()
    assert closed(one, "server shutting down") == 1
    assert closed(one, "internal error") == 0
    silent.step = None
    assert rest_of_blocking(silent) == b""


def rest_of_blocking(client: Client) -> bytes:
    client.sock.setblocking(True)
    return rest(client)


# Parked


def parked(server: Servers, clients: Clients, after: bytes = b"") -> tuple[Server, Client, Judge]:
    """A client that waits for an answer about its first PUBLISH, with more bytes behind it."""
    judge = Judge(PUBLISH)
    one = server(judge)
    client = clients(one, 4, "parked")
    client.send(b"\x30\x03\x00\x01t" + after)
    await_true(lambda: judge.asked, lambda: one.turn(1))
    return one, client, judge


def test_a_parked_connection_is_not_read(server: Servers, clients: Clients) -> None:
    one, client, judge = parked(server, clients, b"\xc0\x00")
    received = one.stats.bytes_received
    client.send(b"\xc0\x00")
    for _ in range(3):
        one.turn(0)
    assert one.stats.bytes_received == received
    assert not one.loop.epoll.poll(0), "nothing makes the loop spin"
    assert one.deadline_ms() > 1000
    one.broker.resume(judge.asked[0].token, 0)
    one.turn(0)
    one.turn(0)
    client.arrive()
    assert client.data[client.pos :] == b"\xd0\x00" * 2, "the bytes that were kept, and those that waited"


def test_an_answer_without_output_takes_effect_at_once(server: Servers, clients: Clients) -> None:
    """QoS 0 without a subscriber gives nothing to send; the next question must be asked all the same."""
    one, client, judge = parked(server, clients, b"\x30\x03\x00\x01u")
    for number in (1, 2):
        token = judge.asked[-1].token
        one.call(lambda token=token: one.broker.resume(token, 0))
        for _ in range(3):
            if one.deadline_ms() == 0 or one.loop.epoll.poll(0):
                one.turn(0)
        assert len(judge.asked) == 2, number
    client.sock.send(b"\xc0\x00")
    assert one.loop.epoll.poll(1), "it is read again"
    one.turn(0)


def test_a_parked_peer_that_resets_is_closed_without_spinning(server: Servers, clients: Clients) -> None:
    one, client, judge = parked(server, clients)
    cut(client)
    turns = one.stats.turns
    await_true(lambda: one.pool.active == 0, lambda: one.turn(1000))
    assert one.stats.turns - turns == 1
    assert closed(one, "reset by peer") == 1
    assert not one.loop.epoll.poll(0)
    assert not one.broker.resume(judge.asked[0].token, 0), "a token outlives its connection safely"


def test_a_parked_peer_that_says_no_more_is_answered(server: Servers, clients: Clients) -> None:
    one, client, judge = parked(server, clients, b"\xc0\x00")
    client.sock.shutdown(socket.SHUT_WR)
    one.turn(0)
    assert not one.loop.epoll.poll(0)
    one.broker.resume(judge.asked[0].token, 0)
    assert rest(client) == b"\xd0\x00"


def test_an_answer_that_never_comes(server: Servers, clients: Clients) -> None:
    one, client, _judge = parked(server, clients)
    pass_time(one, 10_200)
    one.turn(0)
    assert closed(one, "no answer in time") == 1
    assert rest(client) == b""


# Bugs in what hangs on the broker


class Broken(Access):
    """Access with a bug in the method that the test names."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where
        self.authorizes_publish = where == "decide"
        self.watches_sessions = where == "on_session_events"

    def decide(self, requests: list[Request]) -> None:
        raise RuntimeError("a bug in decide")

    def on_session_events(self, events: list[SessionEvent]) -> None:
        raise RuntimeError("a bug in on_session_events")


@pytest.mark.parametrize("where", ["decide", "on_session_events"])
def test_a_bug_in_access_does_not_end_the_loop(
    server: Servers, clients: Clients, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    one = server(Broken(where))
    other, client = clients(one, 4, "other"), clients(one, 4, "client")
    client.publish("t", b"", 1)
    await_true(lambda: one.stats.errors_internal, lambda: one.turn(1))
    other.ping()
    assert f"RuntimeError: a bug in {where}" in caplog.text


class BrokenStore(Storage):
    def __init__(self, method: str) -> None:
        super().__init__()
        self.durable = True
        self.method = method

    def seal(self, ticket: int) -> None:
        if self.method == "seal":
            raise RuntimeError("a bug in seal")
        self.stored = ticket

    def delivery_removed(self, session: object, delivery: object) -> None:
        if self.method == "delivery_removed":
            raise RuntimeError("a bug in delivery_removed")


def test_a_bug_in_a_store_does_not_end_the_loop(
    server: Servers, clients: Clients, caplog: pytest.LogCaptureFixture
) -> None:
    store = BrokenStore("seal")
    one = server(storage=store)
    other, client = clients(one, 4, "other"), clients(one, 4, "client")
    client.publish("t", b"kept", 1, retain=True)
    await_true(lambda: one.stats.errors_internal, lambda: one.turn(1))
    other.ping()
    assert "RuntimeError: a bug in seal" in caplog.text
    client.send(b"\xc0\x00")
    one.turn(100)
    client.arrive()
    assert client.data[client.pos :] == b"\xd0\x00", "what is not stored is not acknowledged"
    client.pos = len(client.data)
    store.method = ""
    await_true(lambda: store.stored, lambda: one.turn(100))
    one.turn(0)
    client.arrive()
    assert client.data[client.pos :] == b"\x40\x02\x00\x01", "it is sealed again by itself"


def test_a_bug_while_output_drains_closes_one_connection(  # [MQTT311-4.8.0-2]
    server: Servers, clients: Clients, caplog: pytest.LogCaptureFixture
) -> None:
    """The message waits until the socket has room, has expired by then, and the store fails to forget it."""
    one = server(storage=BrokenStore("delivery_removed"), limits_outbox_bytes=4_096)
    slow, publisher = clients(one, 5, "slow", expiry_s=100), clients(one, 5, "publisher")
    slow.subscribe("t", 1)
    publisher.publish("t", b"x" * 20_000_000)
    expiring = Publish(b"t", b"late", 1, False)
    expiring.packet_identifier = 1
    expiring.message_expiry_interval = 1
    publisher.send(expiring)
    publisher.expect(Ack)
    session = one.broker.core.session("slow")
    assert session is not None and session.queue is not None
    waiting = session.queue.items[session.queue.head]
    assert waiting is not None
    waiting.publish.expires_at_ms = 1
    await_true(lambda: one.stats.errors_internal == 1, slow.arrive)
    assert closed(one, "internal error") == 1 or one.turn(0) is None
    publisher.ping()
    assert closed(one, "internal error") == 1
    assert "RuntimeError: a bug in delivery_removed" in caplog.text


# Hosting


def test_wake_ends_the_wait(server: Servers) -> None:
    one = server()
    turning = threading.Thread(target=one.turn)
    turning.start()
    one.loop.wake()
    turning.join(10)
    assert not turning.is_alive()
    assert not one.loop.epoll.poll(0), "one wake ends one wait"


def test_wakes_that_nobody_takes_are_no_fault(server: Servers) -> None:
    one = server()
    for _ in range(1 << 17):  # more than a pipe holds
        one.loop.wake()
    one.turn()
    assert not one.stopping


def test_a_signal_ends_the_wait_whenever_it_comes(server: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that came before the wait, and of which nobody has told the loop."""
    one = server(sys_interval_s=0)
    handled: list[int] = []
    before = signal.signal(signal.SIGUSR2, lambda number, _frame: handled.append(number))
    turn = one.turn

    def turn_once(timeout_ms: int = -1) -> None:
        if not one.stopping:
            signal.raise_signal(signal.SIGUSR2)
            one.stopping = True
        turn(timeout_ms)

    monkeypatch.setattr(one, "turn", turn_once)
    try:
        one.run(signals_wake=True)
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert handled == [signal.SIGUSR2]
    assert signal.set_wakeup_fd(-1) == -1


def test_wake_after_the_end_touches_nobody_elses_descriptor(server: Servers) -> None:
    one = server()
    waker = one.loop.waker_in
    one.finish()
    reading, writing = os.pipe()
    os.dup2(writing, waker)
    one.stop()
    one.loop.close()
    os.set_blocking(reading, False)
    with pytest.raises(BlockingIOError):
        os.read(reading, 8)
    for fd in {reading, writing, waker}:
        os.close(fd)


def test_deadline(server: Servers, clients: Clients) -> None:
    one = server(sys_interval_s=0)
    assert one.deadline_ms() == -1, "nothing is due, ever"
    assert one.loop.fileno() == one.loop.epoll.fileno()
    clients(one)
    one.turn(1000)
    assert 4_000 < one.deadline_ms() <= 5_200, "its CONNECT"
    one.call(lambda: None)
    assert one.deadline_ms() == 0
    one.turn(0)
    one.turn(0)
    pass_time(one, 6_000)
    assert one.deadline_ms() == 0
    one.turn(1000)
    one.turn(0)
    assert (one.deadline_ms(), one.pool.active) == (-1, 0)


def test_a_bug_in_a_call_does_not_end_the_loop(server: Servers, caplog: pytest.LogCaptureFixture) -> None:
    one = server()
    done: list[int] = []
    one.call(lambda: 1 // 0)
    one.call(lambda: done.append(1))
    one.turn(0)
    assert done == [1]
    assert "ZeroDivisionError" in caplog.text
    assert one.stats.errors_internal == 1


def test_calls_that_call_do_not_hold_the_turn(server: Servers) -> None:
    one = server()
    count = [0]

    def again() -> None:
        count[0] += 1
        one.call(again)

    one.call(again)
    one.turn(0)
    assert count[0] == 1
    one.calls.clear()


def test_a_turn_waits_for_no_longer_than_it_is_told(server: Servers) -> None:
    one = server()
    begin = time.monotonic()
    one.turn(20)
    assert 0.019 <= time.monotonic() - begin < 5
    one.turn(0)
    assert one.stats.turns == 2


def test_pending_is_no_reason_code() -> None:
    assert PENDING < 0


# What self_check finds on a live broker


@pytest.mark.parametrize("what", ["closed", "reused by a file"])
def test_self_check_names_the_client_whose_socket_is_gone(server: Servers, clients: Clients, what: str) -> None:
    one = server()
    clients(one, 4, "lost")
    [connection] = one.loop.served()
    kept = os.dup(connection.fd)
    if what == "closed":
        os.close(connection.fd)
    else:
        file = os.open(__file__, os.O_RDONLY)
        os.dup2(file, connection.fd)
        os.close(file)
    assert one.self_check() == [f"descriptor {connection.fd} is gone, but client lost still has its connection"]
    os.dup2(kept, connection.fd)
    os.close(kept)
    assert one.self_check() == []


def test_connections_leave_nothing_to_the_collector(server: Servers, clients: Clients) -> None:
    """Objects in use return to their numbers when the clients have gone, without the cyclic collector."""
    one = server(pool_initial_size=1, pool_max_size=1)
    clients(one, 4, "warm").disconnect()
    gc.collect()
    gc.disable()
    try:
        for round_number in range(3):
            made = [clients(one, 5, f"c{number}") for number in range(5)]
            for client in made:
                client.subscribe("t/#", 1)
                client.publish("t/x", b"x", 1)
            for client in made:
                cut(client)
            await_true(lambda: one.pool.active == 0, lambda: one.turn(1))
            core = one.broker.core
            assert (core.clients, len(core.sessions), len(core.waiting), round_number) == (0, 0, 0, round_number)
            assert one.pool.statistics()["idle"] == 1
    finally:
        gc.enable()


# Long turns


def fan_out(server: Servers, clients: Clients, count: int) -> tuple[Server, Client, list[Client]]:
    """A publisher, and so many subscribers of one topic, on a server that writes to few of them in a slice."""
    one = server()
    subscribers = [clients(one, 5, f"s{number}") for number in range(count)]
    for subscriber in subscribers:
        subscriber.subscribe("all")
    publisher = clients(one, 5, "publisher")
    one.loop.output.slice_ns = 0
    return one, publisher, subscribers


def turn_until_late(one: Server) -> None:
    await_true(lambda: one.loop.turn_state.late, lambda: one.loop.turn(10))


def test_a_large_fan_out_is_flushed_in_slices(server: Servers, clients: Clients) -> None:
    one, publisher, subscribers = fan_out(server, clients, FAN_OUT_WIDE + 4 * WRITES_PER_LOOK)
    other = clients(one, 5, "other")
    publisher.send(Publish(b"all", b"x", 0, False))
    turn_until_late(one)
    assert one.loop.output.late_next == 2 * WRITES_PER_LOOK < len(one.loop.turn_state.late)
    assert one.loop.deadline_ms() == 0
    other.send(Ping(PINGREQ))
    assert isinstance(other.receive(), Ping)
    assert one.loop.turn_state.late  # it did not wait for all of these
    for subscriber in subscribers:
        message = subscriber.receive()
        assert isinstance(message, Publish) and message.payload == b"x"
    one.loop.turn(0)
    assert one.loop.turn_state.late == []
    assert one.loop.deadline_ms() != 0


def test_an_answer_of_the_same_turn_goes_first(server: Servers, clients: Clients) -> None:
    one, publisher, subscribers = fan_out(server, clients, FAN_OUT_WIDE + 1)
    other = clients(one, 5, "other")
    publisher.ping()  # which brings both to the front: in the back each has a turn of its own
    other.ping()
    publisher.send(Publish(b"all", b"x", 0, False))
    other.send(Ping(PINGREQ))
    turn_until_late(one)
    assert other.sock.recv(100, socket.MSG_DONTWAIT) == b"\xd0\0"
    assert all(isinstance(subscriber.receive(), Publish) for subscriber in subscribers)


def test_who_speaks_does_not_wait_behind_those_that_listen(server: Servers, clients: Clients) -> None:
    one, publisher, subscribers = fan_out(server, clients, FAN_OUT_WIDE + 3 * WRITES_PER_LOOK)
    publisher.send(Publish(b"all", b"x", 0, False))
    turn_until_late(one)
    last = one.loop.turn_state.late[-1].owner
    assert isinstance(last, Session)
    speaker = subscribers[int(last.client_id[1:])]
    speaker.send(Ping(PINGREQ))
    one.loop.turn(10)
    assert one.loop.turn_state.late
    assert speaker.sock.recv(100, socket.MSG_DONTWAIT) == encode(Publish(b"all", b"x", 0, False), 5) + b"\xd0\0"


def test_what_is_late_still_leaves_when_its_connection_is_closed(server: Servers, clients: Clients) -> None:
    one, publisher, subscribers = fan_out(server, clients, FAN_OUT_WIDE + 4 * WRITES_PER_LOOK)
    publisher.send(Publish(b"all", b"x", 0, False))
    turn_until_late(one)
    old = one.loop.turn_state.late[-1].owner
    assert isinstance(old, Session)
    replaced = subscribers[int(old.client_id[1:])]
    clients(one, 5, old.client_id).ping()
    message, goodbye = replaced.receive(), replaced.receive()
    assert isinstance(message, Publish) and message.payload == b"x"
    assert isinstance(goodbye, Disconnect) and goodbye.reason_code == SESSION_TAKEN_OVER


def test_input_waits_for_output_that_is_late(server: Servers, clients: Clients) -> None:
    one, publisher, subscribers = fan_out(server, clients, FAN_OUT_WIDE + 4 * WRITES_PER_LOOK)
    publisher.send(Publish(b"all", b"x", 0, False))
    turn_until_late(one)
    before = one.stats.bytes_received
    for client in subscribers[:2]:
        client.send(b"".join([encode(Publish(b"none", bytes(1_000), 0, False), 5)] * 60))
    one.loop.turn(0)
    assert READ_BYTES_BEHIND <= one.stats.bytes_received - before <= READ_BYTES_BEHIND + READ_BYTES_LEAST


class SlowAccess(Access):
    """Takes longer to decide than a turn should."""

    def __init__(self) -> None:
        super().__init__()
        self.authenticates = True

    def decide(self, requests: list[Request]) -> None:
        time.sleep(TURN_LONG_US / 1e6)
        for request in requests:
            request.result = 0


def test_after_a_long_turn_the_next_one_takes_fewer_events(server: Servers, clients: Clients) -> None:
    one = server(access=SlowAccess())
    waiting = [clients(one) for _ in range(6)]
    await_true(lambda: one.pool.active == 6, lambda: one.loop.turn(10))
    for number, client in enumerate(waiting):
        client.send(client.connect_packet(f"c{number}"))
        one.loop.turn(1_000)
        assert one.loop.events_max == max(EVENTS_LEAST, EVENTS_PER_TURN >> (number + 1))
    while one.loop.events_max < EVENTS_PER_TURN:
        before = one.loop.events_max
        one.loop.turn(0)
        assert one.loop.events_max == before * 2


# In front and in the back

BULK = b"".join([encode(Publish(b"none", bytes(1_000), 0, False), 4)] * 60)


def in_back(one: Server) -> set[str]:
    """The client ids of those that are served behind the others; "" is a stranger."""
    found: set[str] = set()
    for connection in one.loop.served():
        if connection.interest & IN_BACK:
            found.add(connection.owner.client_id if isinstance(connection.owner, Session) else "")
    return found


def test_who_asks_for_little_is_served_in_front(server: Servers, clients: Clients) -> None:
    one = server()
    stranger, client = clients(one), clients(one, 4, "client")
    await_true(lambda: one.pool.active == 2, lambda: one.turn(1))
    assert in_back(one) == {"", "client"}
    client.ping()
    assert in_back(one) == {""}
    client.send(BULK[:READ_BYTES_FRONT])
    await_true(lambda: "client" in in_back(one), lambda: one.turn(1))
    client.send(BULK[READ_BYTES_FRONT:])
    client.ping()
    await_true(lambda: "client" not in in_back(one), client.ping)
    stranger.connect("late")
    stranger.ping()
    assert in_back(one) == set()
    assert one.self_check() == []


def test_who_stood_in_line_is_served_in_the_back(server: Servers, clients: Clients) -> None:
    one = server()
    client = clients(one, 4, "client")
    client.ping()
    [connection] = one.loop.served()
    one.broker.core.queue(Work(), connection)
    one.turn(0)
    client.send(Ping(PINGREQ))
    one.turn(0)
    assert in_back(one) == {"client"}
    client.ping()
    client.ping()
    assert in_back(one) == set()


def test_those_in_the_back_have_a_slice_and_take_turns(server: Servers, clients: Clients) -> None:
    """Each turn answers who is in front, and serves at least one of the others; none of these is forgotten."""
    one = server()
    bulky = [clients(one, 4, f"bulky{number}") for number in range(3)]
    light = clients(one, 4, "light")
    light.ping()
    assert in_back(one) == {"bulky0", "bulky1", "bulky2"}
    one.loop.back_ns = 0
    for client in bulky:
        client.send(BULK)
    heard = []
    for _ in range(3):
        light.send(Ping(PINGREQ))
        one.turn(0)
        assert light.sock.recv(10, socket.MSG_DONTWAIT) == b"\xd0\0"
        heard.append(one.stats.publishes_received)
    assert heard == [60, 120, 180]


def test_a_turn_is_pressed_by_who_waits_in_front(server: Servers, clients: Clients) -> None:
    one = server()
    light, bulky = clients(one, 4, "light"), clients(one, 4, "bulky")
    light.ping()
    turn = one.turn_state
    bulky.send(BULK)
    one.loop.wake()
    turn.begin(0)
    assert not turn.pressed(), "neither those in the back nor a wake press"
    light.send(Ping(PINGREQ))
    assert not turn.pressed(), "it was looked up a moment ago"
    turn.begin(0)
    assert turn.pressed()
    turn.begin(time.monotonic_ns() + 1_000_000_000)
    assert not turn.pressed(), "it has only begun"
    one.turn(0)
    assert light.sock.recv(10, socket.MSG_DONTWAIT) == b"\xd0\0"


def test_phases_that_were_put_off_are_favoured_in_rotation() -> None:
    turn = Turn()
    turn.ready = lambda _timeout_s, _count: [(1, READABLE)]  # somebody in front always waits
    phases = (BACK, LINE, ROOM, ENDED, LATE)
    served = []
    for _ in range(15):
        turn.begin(0)
        served.append([phase for phase in phases if not turn.puts_off(phase)])
        assert turn.again
    assert served == [[], *[[phase] for phase in phases] * 3][:15]
    turn.ready = lambda _timeout_s, _count: []
    turn.begin(0)
    assert [phase for phase in phases if not turn.puts_off(phase)] == [LINE, ROOM, ENDED, LATE]
    turn.begin(0)
    assert [phase for phase in phases if not turn.puts_off(phase)] == list(phases), "nothing is put off any more"


def test_who_is_served_behind_is_served_however_busy_those_in_front_are(server: Servers, clients: Clients) -> None:
    one = server()
    light, bulky, reader = clients(one, 4, "light"), clients(one, 4, "bulky"), clients(one, 4, "reader")
    reader.subscribe("none")
    light.ping()
    one.turn_state.ready = lambda _timeout_s, _count: [(1, READABLE)]
    for _ in range(20):
        bulky.send(BULK)
    await_true(lambda: one.stats.publishes_received == 20 * 60, lambda: one.turn(0))
    assert len(reader.expect(Publish).payload) == 1_000


def test_a_favoured_back_is_served_even_if_nobody_says_that_it_is_ready(server: Servers, clients: Clients) -> None:
    """The system names no more than `events_max`, and it may be behind all of them."""
    one = server()
    light, bulky = clients(one, 4, "light"), clients(one, 4, "bulky")
    light.ping()
    one.loop.poll = lambda _timeout_s, _count: []
    bulky.send(BULK)
    one.turn(0)
    assert one.stats.publishes_received == 0
    one.turn_state.put_off = BACK
    one.turn(0)
    assert one.stats.publishes_received == 60


class Eavesdropper(Watcher):
    """Notes what a client has got when another one is read."""

    def __init__(self, client: Client) -> None:
        super().__init__()
        self.client = client
        self.got: list[bytes] = []

    def on_read(self, connection: Connection, size: int, publishes: int, stands_for: int) -> None:
        if publishes:
            self.got.append(self.client.sock.recv(10, socket.MSG_DONTWAIT))


def test_who_is_in_front_is_answered_before_the_others_are_read(server: Servers, clients: Clients) -> None:
    one = server()
    light, bulky = clients(one, 4, "light"), clients(one, 4, "bulky")
    light.ping()
    eavesdropper = Eavesdropper(light)
    one.loop.watcher = eavesdropper
    bulky.send(BULK)
    light.send(Ping(PINGREQ))
    one.loop.reads.left = 0  # all reads of this turn are looked at
    one.turn(0)
    assert eavesdropper.got == [b"\xd0\0"]


def test_a_parked_client_stays_where_it_is(server: Servers, clients: Clients) -> None:
    """It is moved without being read, and read again where it was moved to."""
    one = server(limits_messages_per_s=100)
    client = clients(one, 4, "client")
    client.ping()
    client.send(BULK * 4)
    await_true(lambda: one.stats.pauses, lambda: one.turn(1))
    assert in_back(one) == {"client"}
    [connection] = one.loop.served()
    assert not connection.interest & READABLE

    def wait() -> None:
        pass_time(one, 1_000)
        one.turn(1)

    await_true(lambda: one.stats.publishes_received == 240, wait)


# After a crowd


def test_a_broker_that_had_a_crowd_gives_back_what_was_there_for_it(server: Servers, clients: Clients) -> None:
    one = server(sys_interval_s=3_600)
    client = clients(one, 4, "a")
    version = one.broker.core.retained.get(b"$SYS/broker/version")
    assert version is not None
    one.pool.peak = RENEW_FROM  # as if there had been so many
    one.loop.table.extend([None] * 10 * TABLE_SLICE)
    old = one.pool.free[:]
    assert 0 <= one.loop.deadline_ms() <= CALM_LOOK_MS
    for _ in range(RENEW_AFTER_MS // CALM_LOOK_MS + 2):
        pass_time(one, CALM_LOOK_MS)
        one.turn(0)
    assert one.pool.renewals == 1
    assert len(one.loop.table) == TABLE_SLICE
    assert len(one.pool.free) == len(old)
    anew = one.broker.core.retained.get(b"$SYS/broker/version")
    assert anew is not None
    assert anew is not version, "its message lay between those of the crowd"
    assert anew.payload == version.payload
    client.ping()
    assert one.loop.deadline_ms() > CALM_LOOK_MS, "nothing more to be watched"


# The memory budget


def look_at_memory(one: Server) -> None:
    pass_time(one, OVERLOAD_LOOK_MS)
    one.turn(0)


def test_new_clients_are_refused_while_the_memory_budget_is_used_up(
    server: Servers, clients: Clients, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "swellmq.server")
    one = server(memory_budget_bytes=1 << 40, pool_initial_size=4)
    served = [clients(one, 5, name) for name in "ab"]
    look_at_memory(one)
    assert one.statistics()["memory_full"] == 0
    one.overload.memory.budget_bytes = 1_000_000
    for _ in range(3):
        look_at_memory(one)
    for version in (4, 5):
        late = clients(one, version)
        packet = Connect()
        packet.protocol_version = version
        packet.client_id = "late"
        if version == 5:
            packet.properties = Properties()
            packet.properties.request_problem_information = 1
        late.send(packet)
        answer = rest(late)
        assert answer == REFUSED_3 if version == 4 else answer[3] == 0x97
        assert version == 4 or answer.endswith(b"the memory budget is used up")
    for client in served:
        client.ping()
    again = clients(one, 5, "a")  # takes its own place over
    assert rest(served[0])[0] == 0xE0
    again.ping()
    assert (one.pool.active, one.stats.connections_refused) == (2, 2)
    one.pool.target = one.pool.capacity + 1
    one.turn(0)
    assert one.pool.steps_failed == 1, "the pool does not grow either"
    again.disconnect()
    served[1].disconnect()
    look_at_memory(one)
    clients(one, 5, "late").ping()
    found = one.statistics()
    assert (found["memory_full"], found["memory_full_times"], found["memory_budget"]) == (0, 1, 1_000_000)
    texts = [record.getMessage() for record in caplog.records if record.getMessage().startswith("overload:")]
    assert len(texts) == 2
    assert texts[0].startswith("overload: the memory budget is used up, so new clients are refused, and QoS 0")
    assert texts[1].startswith("overload: new clients may come again")


OUT_OF_MEMORY = """
import resource, sys
sys.path.insert(0, sys.argv[1])
from socket_client import Client, quiet_settings
from swellmq.server import Server
server = Server(quiet_settings(pool_initial_size=1_000, pool_max_size=5_000_000, max_connections=5_000_000))
server.open()
step = lambda: server.turn(1)
address = ("127.0.0.1", server.port)
first = Client(address, 5, step)
assert first.connect("first").reason_code == 0
pages = int(open("/proc/self/statm").read().split()[0])
_soft, hard = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (pages * 4096 + (64 << 20), hard))
server.pool.target = 5_000_000  # a step that no memory is left for
server.pool.step_from = server.pool.capacity
while server.pool.grow(server.turn_state.now_ms):
    pass  # without turns: the client in this process needs memory too
assert server.pool.steps_failed == 1
first.ping()
assert 100_000 < server.pool.capacity < 5_000_000
second = Client(address, 5, step)
assert second.connect("second").reason_code == 0
for client in (first, second):
    client.ping()
resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
assert server.self_check() == []
assert server.stats.errors_internal == 0
server.finish()
print("survived")
"""


def test_a_step_that_memory_does_not_suffice_for_leaves_clients_untouched() -> None:
    tests = str(Path(__file__).parent.parent)
    done = subprocess.run([sys.executable, "-c", OUT_OF_MEMORY, tests], capture_output=True, text=True, check=False)
    assert done.stdout == "survived\n", done.stderr
    assert done.stderr == "[POOL] Expansion failed: out of memory\n"


def deliveries(server: Server) -> int:
    return sum(server.stats.delivery.counts())


def test_the_time_from_read_to_write_is_measured(server: Servers, clients: Clients) -> None:
    one = server()
    listener = clients(one, client_id="listener")
    listener.subscribe("t")
    publisher = clients(one, client_id="publisher")
    publisher.ping()
    assert deliveries(one) == 0, "nothing was delivered yet"
    for count in range(1, 6):
        publisher.publish("t", b"x")
        assert listener.expect(Publish).payload == b"x"
        assert deliveries(one) == count
    assert 0 < one.stats.delivery.sum_us < 5_000_000
    publisher.publish("nobody", b"x")
    publisher.ping()
    assert deliveries(one) == 5


def test_what_is_held_has_not_left(server: Servers, clients: Clients, tmp_path: Path) -> None:
    one = server(data=str(tmp_path))
    keeper = clients(one, 5, client_id="keeper", expiry_s=1_000)
    keeper.subscribe("t", 1)
    publisher = clients(one, client_id="publisher")
    publisher.publish("t", b"x", qos=1)
    assert keeper.expect(Publish).payload == b"x"
    publisher.expect(Ack)
    assert deliveries(one) == 1


def test_nothing_is_measured_for_who_is_gone(server: Servers, clients: Clients) -> None:
    one = server()
    listener = clients(one, client_id="listener")
    listener.subscribe("t")
    connection = one.broker.core.session("listener").connection  # type: ignore[union-attr]  # it is there
    assert connection is not None
    one.loop.output.follow(connection, 0)
    listener.disconnect()
    assert one.loop.output.target is None
    assert deliveries(one) == 0
    clients(one, client_id="next").ping()
    assert deliveries(one) == 0


def test_those_that_take_no_more_are_counted(server: Servers, clients: Clients) -> None:
    one = server()
    slow = [clients(one, client_id=f"slow{number}") for number in range(3)]
    for client in slow:
        client.subscribe("t")
    publisher = clients(one, client_id="publisher")
    await_true(lambda: one.stats.stalled == 3, lambda: (publisher.publish("t", bytes(100_000)), one.turn(0)))
    cut(slow[0])
    await_true(lambda: one.stats.stalled == 2, lambda: one.turn(1))
    await_true(lambda: one.stats.stalled == 1, slow[1].arrive)
    slow[2].close()
    await_true(lambda: one.stats.stalled == 0, lambda: one.turn(1))


class FailingWatcher(Watcher):
    """Has a bug of its own."""

    def on_read(self, connection: Connection, size: int, publishes: int, stands_for: int) -> None:
        raise RuntimeError("a bug")

    def on_write(self, connection: Connection, pieces: list[bytes], written: int, stands_for: int) -> None:
        raise RuntimeError("a bug")


def test_a_bug_of_a_watcher_harms_no_client(server: Servers, clients: Clients) -> None:
    one = server()
    client = clients(one, client_id="client")
    one.loop.watcher = one.loop.output.watcher = FailingWatcher()
    client.ping()
    client.ping()
    assert one.stats.errors_internal == 4


def test_a_ping_does_not_wait_behind_sockets_that_take_more(server: Servers, clients: Clients) -> None:
    one = server(limits_outbox_bytes=100_000_000)
    slow = [clients(one, 4, f"slow{number}") for number in range(8)]
    for client in slow:
        client.subscribe("t")
    publisher, other = clients(one, 4, "publisher"), clients(one, 4, "other")
    while not all(connection.stalled() for connection in one.loop.served() if is_slow(connection)):
        publisher.publish("t", b"x" * 200_000)
        publisher.ping()
    for client in slow:
        take_all(client)
    other.send(Ping(PINGREQ))
    for _ in range(2):
        one.loop.events_max = 1  # the system hands out what is ready in rotation
        one.loop.turn(0)
    assert other.sock.recv(100, socket.MSG_DONTWAIT) == b"\xd0\0"
    await_true(lambda: not any(connection.stalled() for connection in one.loop.served()), lambda: take_turn(one, slow))


def is_slow(connection: Connection) -> bool:
    session = connection.owner
    return isinstance(session, Session) and session.client_id.startswith("slow")


def take_turn(one: Server, slow: list[Client]) -> None:
    for client in slow:
        take_all(client)
    one.loop.turn(1)


def take_all(client: Client) -> None:
    """Throw away what the socket holds now."""
    try:
        while client.sock.recv(1_000_000, socket.MSG_DONTWAIT):
            pass
    except BlockingIOError:
        pass
