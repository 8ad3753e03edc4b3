"""Listening sockets: TCP on IPv4 and IPv6, and Unix sockets. A bounded batch is accepted in each turn.

The options that each connection needs (no delay, keepalive, user timeout) are set on the listening socket: on Linux an
accepted socket inherits them, so that an arrival costs two system calls, accept4 and ioctl.
"""

from __future__ import annotations

import _socket as socket  # socket.py brings enums and selectors: 0.4 MB more
import errno
import os
import stat
import sys
from collections.abc import Callable
from typing import Final, final

from mypy_extensions import i64, mypyc_attr

from swellmq.connection import ON_DISK, Layer
from swellmq.errors import SettingsError
from swellmq.limits import ACCEPTS_PER_TURN, BACKLOG

KEEPALIVE_IDLE_S: Final = 60  # half-open peers are found within about two minutes, whatever their keep alive
KEEPALIVE_INTERVAL_S: Final = 15
KEEPALIVE_PROBES: Final = 4
# Sent, but never acknowledged by the peer's system. As long as all probes together: were it less, the kernel would give
# a silent connection up after one lost probe instead of four.
USER_TIMEOUT_MS: Final = (KEEPALIVE_IDLE_S + KEEPALIVE_INTERVAL_S * KEEPALIVE_PROBES) * 1000
# Output that the system takes ahead of what it can send. Without a bound a client that does not read gets up to 4 MB of
# its memory, and thousands of them all that Linux has for TCP: then it drops packets of everybody.
NOT_SENT_BYTES: Final = 131_072

UNACKED_AT: Final = 24  # of a listening socket's tcp_info: how many connections wait to be accepted

# No descriptor or no memory for one more connection: not the listener's fault, and not for ever.
EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


@final
@mypyc_attr(native_class=True)
class Bound:
    """How many connections there may be by one listener, on all its addresses, and how many there are."""

    def __init__(self, connections_max: i64) -> None:
        self.connections_max = connections_max
        self.connections: i64 = 0


@final
@mypyc_attr(native_class=True)
class Listener:
    """One listening socket. `index` is its number in the loop, and that of each connection which came by it."""

    def __init__(self, sock: socket.socket, name: str, index: int, path: str = "") -> None:
        self.sock = sock
        self.fd: int = sock.fileno()
        # Of one client: a raw descriptor, no object, and the address of its peer.
        self.accept: Callable[[], tuple[int, object]] = sock._accept  # type: ignore[attr-defined]
        self.name = name  # as shown: "127.0.0.1:1883", "[::1]:1883" or "/run/swellmq.sock"
        place = sock.getsockname()
        self.port: int = int(place[1]) if isinstance(place, tuple) else 0
        self.path = path  # of a Unix socket
        self.inode: int = os.stat(path).st_ino if path else 0
        self.index = index
        self.scheme = ""  # what stands before the name where it is not plain MQTT: "ws:", "tls:" or "wss:"
        self.layer: Layer | None = None  # its connections each get a fresh one of these
        self.proxies: list[tuple[int, int]] | None = None  # networks whose connections it takes; None: of all
        self.durability: int = ON_DISK
        self.bound: Bound | None = None  # None: none but that of the whole broker
        self.paused_until_ms: i64 = 0  # after EMFILE and its like

    def waiting(self) -> i64:
        """How many clients to accept in this turn.

        To ask the system how many wait is cheaper than to accept until it has none: that costs an exception. Of a Unix
        socket it does not say, and not every system that behaves like Linux does.
        """
        if not self.port:
            return ACCEPTS_PER_TURN
        try:
            info = self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, UNACKED_AT + 4)
        except OSError:
            return ACCEPTS_PER_TURN
        count: i64 = int.from_bytes(info[UNACKED_AT:], sys.byteorder)
        return count if 0 < count < ACCEPTS_PER_TURN else ACCEPTS_PER_TURN

    def takes(self, address: object) -> bool:
        """Whether it serves connections from a socket's address; one of a Unix socket is trusted as its file is."""
        if self.proxies is None or not isinstance(address, tuple):
            return True
        number = address_number(str(address[0]).partition("%")[0])
        return any(number & mask == network for network, mask in self.proxies)

    def close(self) -> None:
        """Stop listening; a Unix socket's file is removed, unless it is a successor's by now."""
        self.sock.close()
        if self.path:
            try:
                if os.stat(self.path).st_ino == self.inode:
                    os.unlink(self.path)
            except OSError:
                pass  # somebody else removed it


def address_number(address: str) -> int:
    """A numeric address as a number of 128 bits, IPv4 as it stands within IPv6. Raises OSError where it is none."""
    if ":" in address:
        return int.from_bytes(socket.inet_pton(socket.AF_INET6, address), "big")
    return 0xFFFF << 32 | int.from_bytes(socket.inet_pton(socket.AF_INET, address), "big")


def parse_network(text: str) -> tuple[int, int]:
    """An address, or a network such as 10.0.0.0/8, as number and mask. Raises ValueError or OSError."""
    address, slash, length = text.partition("/")
    number = address_number(address)
    most = 128 if ":" in address else 32
    bits = int(length) if slash else most
    if not 0 <= bits <= most:
        raise ValueError("prefix")
    mask = (1 << 128) - (1 << most - bits)
    return number & mask, mask


def open_tcp(address: str, port: int, index: int, backlog: int = BACKLOG, interface: str = "") -> Listener:
    """Listen on one numeric IPv4 or IPv6 address; port 0 takes a free one. With `interface` only what comes by that
    network interface is taken. Raises SettingsError with the remedy."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    place = _host_port(address, port)
    try:
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)  # [MQTT-4.2.0-1]
    except OSError as error:  # EAFNOSUPPORT: a system without IPv6
        raise SettingsError("listener", f"can't listen on {place}: {error.strerror}", _remedy(error)) from error
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        _set_connection_options(sock)
        if interface:
            _bind_interface(sock, interface)
        sock.bind((address, port))
        sock.listen(backlog)
    except OSError as error:
        sock.close()
        raise SettingsError("listener", f"can't listen on {place}: {error.strerror}", _remedy(error)) from error
    return Listener(sock, _host_port(address, sock.getsockname()[1]), index)


def open_unix(path: str, mode: int, index: int, backlog: int = BACKLOG) -> Listener:
    """Listen on a Unix socket; a socket file that nobody listens on any more is replaced."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        _remove_stale(path)
        sock.bind(path)
        os.chmod(path, mode)
        sock.listen(backlog)
    except OSError as error:
        sock.close()
        raise SettingsError(
            "listener", f"can't listen on {path}: {error.strerror}", "Choose another path with --unix"
        ) from error
    return Listener(sock, path, index, path)


def take_socket(sock: socket.socket, index: int) -> Listener:
    """Listen by a socket that somebody else has opened, and whose file, if it has one, is not ours to remove."""
    sock.setblocking(False)
    place = sock.getsockname()
    if isinstance(place, str):
        return Listener(sock, place, index)
    _set_connection_options(sock)
    return Listener(sock, _host_port(str(place[0]), int(place[1])), index)


def _bind_interface(sock: socket.socket, interface: str) -> None:
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
    except OSError as error:
        sock.close()
        problem = f"can't be bound to: {error.strerror}"
        remedy = "Name an interface of this machine; `ip link` lists them"
        raise SettingsError(f"listener.interface = {interface}", problem, remedy) from error


def _set_connection_options(sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, NOT_SENT_BYTES)


def _remove_stale(path: str) -> None:
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise OSError(errno.EEXIST, "a file that is no socket is in the way")
    except FileNotFoundError:
        return
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        probe.connect(path)
    except ConnectionRefusedError:
        os.unlink(path)
    except BlockingIOError:  # so many wait for it that one more would have to wait for its place
        raise OSError(errno.EADDRINUSE, "another process listens on it") from None
    else:
        raise OSError(errno.EADDRINUSE, "another process listens on it")
    finally:
        probe.close()


def _host_port(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _remedy(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "Another program listens there: stop it, or choose another port with --port"
    if error.errno == errno.EACCES:
        return "The system does not allow it: choose a port above 1023, or a folder that you may write to"
    if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
        return "This machine has no such address: name one of its own with --bind"
    return "Choose another address with --bind, or another port with --port"
