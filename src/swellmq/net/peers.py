"""Where a connection comes from, asked of the system when somebody wants to know: no connection keeps its address."""

from __future__ import annotations

import _socket as socket  # socket.py brings enums and selectors: 0.4 MB more
from typing import final

from mypy_extensions import mypyc_attr

from swellmq.connection import Connection, Peers

IPV4_IN_IPV6 = "::ffff:"


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
        try:
            sock = socket.socket(fileno=int(connection.fd))
        except OSError:
            return ""
        try:
            peer = sock.getpeername()
            return str(peer[0]).removeprefix(IPV4_IN_IPV6) if isinstance(peer, tuple) else ""
        except OSError:
            return ""
        finally:
            sock.detach()  # the descriptor stays the connection's
