"""Where a connection comes from, asked of the system when somebody wants to know: no connection keeps its address."""

from __future__ import annotations

import _socket as socket  # socket.py brings enums and selectors: 0.4 MB more
import sys
from typing import Final, final

from mypy_extensions import mypyc_attr

from swellmq.connection import Connection, Peers

IPV4_IN_IPV6: Final = "::ffff:"
CREDENTIALS_BYTES: Final = 12  # of process, user and group, unix(7), SO_PEERCRED


@final
@mypyc_attr(native_class=True)
class SocketPeers(Peers):
    """The peers of sockets."""

    def address(self, connection: Connection) -> str:
        if connection.fd < 0:
            return ""
        buffers = connection.buffers
        if buffers is not None and buffers.layer is not None:
            told = buffers.layer.address()
            if told:
                return told.removeprefix(IPV4_IN_IPV6)
        return peer_of(int(connection.fd))


def peer_of(fd: int) -> str:
    """The numeric address at the other end of a socket; "" for a Unix socket, and where it is gone."""
    try:
        sock = socket.socket(fileno=fd)
    except OSError:
        return ""
    try:
        peer = sock.getpeername()
        return str(peer[0]).removeprefix(IPV4_IN_IPV6) if isinstance(peer, tuple) else ""
    except OSError:
        return ""
    finally:
        sock.detach()  # the descriptor stays the connection's


def user_of(fd: int) -> int:
    """The user id of the process that has connected to a Unix socket; -1 where it can't be told."""
    try:
        sock = socket.socket(fileno=fd)
    except OSError:
        return -1
    try:
        credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS_BYTES)
        return int.from_bytes(credentials[4:8], sys.byteorder, signed=True)
    except OSError:
        return -1
    finally:
        sock.detach()
