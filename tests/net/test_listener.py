"""Listeners over real sockets: families, options, backlog, errors with their remedy, and the file of a Unix socket."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from socket_client import Clients, await_true, quiet_settings

from swellmq import ListenerSettings, SettingsError
from swellmq.limits import ACCEPTS_PER_TURN
from swellmq.listener_settings import has_ipv6_loopback
from swellmq.net.listener import (
    KEEPALIVE_IDLE_S,
    KEEPALIVE_INTERVAL_S,
    KEEPALIVE_PROBES,
    NOT_SENT_BYTES,
    USER_TIMEOUT_MS,
    open_tcp,
    open_unix,
)
from swellmq.server import Server

Servers = Callable[..., Server]
needs_ipv6 = pytest.mark.skipif(not has_ipv6_loopback(), reason="this machine has no ::1")


def address_of(server: Server, index: int) -> tuple[str, int] | str:
    listener = server.listeners[index]
    return listener.path or (listener.name.rpartition(":")[0].strip("[]"), listener.port)


def test_every_connection_of_every_listener_comes_from_the_pool(
    server: Servers, clients: Clients, tmp_path: Path
) -> None:
    listeners = [ListenerSettings(port=0), ListenerSettings(port=0), ListenerSettings(unix=str(tmp_path / "s"))]
    if has_ipv6_loopback():
        listeners.append(ListenerSettings(bind="::1", port=0))
    one = server(listeners=listeners)
    preheated = {id(connection) for connection in one.pool.free}
    for index in range(len(listeners)):
        for version in (3, 4, 5):
            clients(address_of(one, index), version, f"{index}-{version}", step=lambda: one.turn(1))
    served = one.loop.served()
    assert sorted(connection.listener for connection in served) == sorted(list(range(len(listeners))) * 3)
    assert {id(connection) for connection in served} <= preheated
    assert len({id(connection) for connection in served}) == one.pool.active == 3 * len(listeners)
    assert all(connection.pooled for connection in served)


@needs_ipv6
def test_ipv6(server: Servers, clients: Clients) -> None:
    one = server(bind="::1")
    assert one.listeners[0].name == f"[::1]:{one.port}"
    clients(("::1", one.port), 4, "six", step=lambda: one.turn(1)).ping()


def test_connections_have_the_options_of_their_listener(server: Servers, clients: Clients) -> None:
    one = server()
    clients(one, 4, "a")
    [connection] = one.loop.served()
    accepted = socket.socket(fileno=os.dup(connection.fd))
    with accepted:
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == KEEPALIVE_IDLE_S
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == KEEPALIVE_INTERVAL_S
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == KEEPALIVE_PROBES
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == USER_TIMEOUT_MS
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == NOT_SENT_BYTES
        assert not os.get_blocking(connection.fd)
        assert not os.get_inheritable(connection.fd)


def test_backlog_is_a_setting(server: Servers) -> None:
    """The system completes one handshake more than the backlog; who comes later waits."""
    one = server(listeners=[ListenerSettings(port=0, backlog=3)])
    waiting = []
    for _ in range(8):
        sock = socket.socket()
        sock.setblocking(False)
        assert sock.connect_ex(("127.0.0.1", one.port)) == errno.EINPROGRESS
        waiting.append(sock)
    one.turn(1000)
    assert one.stats.connections_accepted == 4
    for sock in waiting:
        sock.close()


def test_how_many_wait(tmp_path: Path) -> None:
    listener, local = open_tcp("127.0.0.1", 0, 0), open_unix(str(tmp_path / "s"), 0o600, 1)
    waiting = [socket.create_connection(("127.0.0.1", listener.port)) for _ in range(3)]
    await_true(lambda: listener.waiting() == 3)
    os.close(listener.accept()[0])
    assert listener.waiting() == 2
    for sock in waiting:
        sock.close()
    listener.close()
    assert listener.waiting() == local.waiting() == ACCEPTS_PER_TURN, "where nobody says it, as many as there may be"
    local.close()


def test_port_in_use() -> None:
    listener = open_tcp("127.0.0.1", 0, 0)
    with pytest.raises(SettingsError) as caught:
        open_tcp("127.0.0.1", listener.port, 1)
    listener.close()
    assert str(caught.value) == (
        f"listener: can't listen on 127.0.0.1:{listener.port}: Address already in use. "
        "Another program listens there: stop it, or choose another port with --port"
    )


def test_address_of_another_machine() -> None:
    with pytest.raises(SettingsError, match="This machine has no such address: name one of its own with --bind"):
        open_tcp("192.0.2.1", 0, 0)


@pytest.mark.skipif(has_ipv6_loopback(), reason="this machine has IPv6")
def test_no_ipv6() -> None:
    with pytest.raises(SettingsError, match=r"can't listen on \[::1\]:0: .*\. This machine has no"):
        open_tcp("::1", 0, 0)


def test_failed_opening_leaves_no_descriptor_behind(tmp_path: Path) -> None:
    taken = open_tcp("127.0.0.1", 0, 0)
    path = tmp_path / "s"
    listeners = [ListenerSettings(unix=str(path)), ListenerSettings(port=0), ListenerSettings(port=taken.port)]
    before = os.listdir("/proc/self/fd")
    with pytest.raises(SettingsError):
        Server(quiet_settings(listeners=listeners)).open()
    assert os.listdir("/proc/self/fd") == before
    assert not path.exists()
    taken.close()


# Unix sockets


def test_unix_socket_has_its_permission_and_goes_away(tmp_path: Path) -> None:
    path = tmp_path / "s"
    listener = open_unix(str(path), 0o600, 0)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (listener.name, listener.port) == (str(path), 0)
    listener.close()
    assert not path.exists()


def test_a_dead_unix_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(path))
    dead.close()
    open_unix(str(path), 0o600, 0).close()


@pytest.mark.parametrize("backlog", [0, 5])
def test_a_live_unix_socket_is_left_alone(tmp_path: Path, backlog: int) -> None:
    """Even where so many wait for it that one more connect would block."""
    path = tmp_path / "s"
    live = socket.socket(socket.AF_UNIX)
    live.bind(str(path))
    live.listen(backlog)
    waiting = []
    for _ in range(backlog + 1 if backlog == 0 else 0):
        waiting.append(socket.socket(socket.AF_UNIX))
        waiting[-1].connect(str(path))
    with pytest.raises(SettingsError, match="another process listens on it"):
        open_unix(str(path), 0o600, 0)
    assert path.exists()
    for sock in [live, *waiting]:
        sock.close()


def test_a_file_in_the_way_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text("precious")
    with pytest.raises(SettingsError, match="a file that is no socket is in the way"):
        open_unix(str(path), 0o600, 0)
    assert path.read_text() == "precious"


def test_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"No such file or directory\. Choose another path with --unix"):
        open_unix(str(tmp_path / "none" / "s"), 0o600, 0)


def test_the_socket_of_a_successor_stays(tmp_path: Path) -> None:
    path = tmp_path / "s"
    first = open_unix(str(path), 0o600, 0)
    path.unlink()
    second = open_unix(str(path), 0o600, 0)
    first.close()
    assert path.exists()
    second.close()
    assert not path.exists()


def test_unix_clients_talk_to_tcp_clients(server: Servers, clients: Clients, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    one = server(unix=path)
    near = clients(path, 5, "near", step=lambda: one.turn(1))
    far = clients(one, 4, "far")
    far.subscribe("t")
    near.publish("t", b"hello")
    await_true(lambda: one.stats.publishes_sent == 1, lambda: one.turn(1))
    assert far.receive().payload == b"hello"  # type: ignore[union-attr]  # a failure says so as well
