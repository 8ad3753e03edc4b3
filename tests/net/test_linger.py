"""Clients that are still sending when the broker ends their connection learn why, and keep nothing for long."""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Callable

import pytest
from socket_client import Client, Clients, await_true

from swellmq.codec.packets import Disconnect
from swellmq.codec.spec import PROTOCOL_ERROR
from swellmq.limits import LINGER_MAX, LINGER_MS, READ_BYTES
from swellmq.net.linger import Linger
from swellmq.server import Server

Servers = Callable[..., Server]


def lingering(server: Server) -> int:
    return len(server.loop.linger.until_ms)


def ended(server: Server, clients: Clients) -> Client:
    """A client whose connection the broker ends for a second CONNECT."""
    client = clients(server, 5, "wrong")
    client.send(client.connect_packet("wrong"))
    await_true(lambda: lingering(server), lambda: server.turn(1))
    return client


@pytest.mark.parametrize("mqtt_5", [True, False])
def test_who_is_still_sending_reads_why(server: Servers, clients: Clients, mqtt_5: bool) -> None:
    one = server()
    client = clients(one, 5 if mqtt_5 else 4, "wrong")
    client.send(client.connect_packet("wrong"))
    await_true(lambda: one.pool.active == 0, lambda: one.turn(1))
    client.send(b"\xc0\x00" * READ_BYTES)  # a closed socket would answer this with a reset
    one.turn(1)
    client.send(b"\xc0\x00")  # and then this would fail
    if mqtt_5:
        last = client.receive()
        assert isinstance(last, Disconnect) and last.reason_code == PROTOCOL_ERROR
    assert client.receive() is None
    client.close()
    await_true(lambda: not lingering(one), lambda: one.turn(1))
    assert one.pool.active == 0


def test_a_client_that_does_not_close_its_side_is_closed(server: Servers, clients: Clients) -> None:
    one = server()
    ended(one, clients)
    assert one.pool.active == 0  # its object is not held up
    assert 0 < one.loop.deadline_ms() <= LINGER_MS
    one.loop.start_ns -= LINGER_MS * 1_000_000
    one.turn(0)
    assert lingering(one) == 0


def test_a_reset_ends_it(server: Servers, clients: Clients) -> None:
    one = server()
    client = ended(one, clients)
    client.close()  # with the DISCONNECT unread, which makes it a reset
    await_true(lambda: not lingering(one), lambda: one.turn(1))


def test_lingering_descriptors_go_first_where_they_run_out(server: Servers, clients: Clients) -> None:
    one = server()
    ended(one, clients)
    listener = next(iter(one.loop.listeners.values()))
    one.loop._exhausted(listener, one.loop.turn_state.now_ms, OSError(errno.EMFILE, ""))
    assert lingering(one) == 0 and one.stats.accept_pauses == 0


def test_only_so_many_linger() -> None:
    epoll = select.epoll()
    linger = Linger(epoll)
    peers: list[socket.socket] = []
    fds: list[int] = []
    for _ in range(LINGER_MAX + 1):
        peer, ours = socket.socketpair()
        peers.append(peer)
        epoll.register(ours, select.EPOLLIN)
        fds.append(ours.detach())
        linger.keep(fds[-1], 0)
    assert list(linger.until_ms) == fds[1:]  # the oldest is closed
    for peer in peers:
        assert peer.recv(1) == b""
    linger.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fds[-1])
    for peer in peers:
        peer.close()
    epoll.close()


def test_a_descriptor_that_is_somebody_elses_by_now_is_not_read() -> None:
    epoll = select.epoll()
    peer, theirs = socket.socketpair()
    peer.send(b"theirs")
    Linger(epoll).read(theirs.fileno())
    assert theirs.recv(6) == b"theirs"
    peer.close()
    theirs.close()
    epoll.close()
