"""Where a client comes from. No connection keeps its peer's address: it is asked for when somebody wants to know."""

from __future__ import annotations

import _socket as socket  # socket.py brings enums and selectors: 0.4 MB more

from swellmq.connection import Connection


def address_of(connection: Connection) -> str:
    """The peer's numeric address without its port; "" for a Unix socket, and where it is gone."""
    try:
        sock = socket.socket(fileno=int(connection.fd))
    except OSError:
        return ""
    try:
        peer = sock.getpeername()
        return str(peer[0]).removeprefix("::ffff:") if isinstance(peer, tuple) else ""
    except OSError:
        return ""
    finally:
        sock.detach()


def is_local(address: str) -> bool:
    """Whether a client with this address is on this machine; one on a Unix socket is."""
    return address == "" or address == "::1" or address.startswith("127.")
