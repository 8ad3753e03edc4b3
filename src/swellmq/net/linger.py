"""Sockets that we have ended ourselves, read for a little longer so that the client learns why.

A client that is still sending when its socket is closed gets a reset, and with it often loses what was said to it last:
the DISCONNECT or CONNACK with the reason code. So we only say that no more will come from us, and throw away what the
client sends until it closes its side too, or its time is up. The connection object has gone back to the pool by then.
"""

from __future__ import annotations

import _socket as socket  # socket.py brings enums and selectors: 0.4 MB more
import os
import select
from typing import final

from mypy_extensions import i64, mypyc_attr, u8

from swellmq.connection import READABLE
from swellmq.errors import MALFORMED_PACKET, PACKET_TOO_LARGE, PROTOCOL_ERROR, REFUSED
from swellmq.limits import LINGER_MAX, LINGER_MS, READ_BYTES


def lingers(reason: u8) -> bool:
    """Whether the peer of a connection that is closed for `reason` may still be sending, and has something to read."""
    return reason == PROTOCOL_ERROR or reason == MALFORMED_PACKET or reason == PACKET_TOO_LARGE or reason == REFUSED


@final
@mypyc_attr(native_class=True)
class Linger:
    """The lingering sockets of one loop, the oldest first; past LINGER_MAX the oldest is closed at once."""

    def __init__(self, epoll: select.epoll) -> None:
        self.epoll = epoll
        self.until_ms: dict[int, int] = {}  # by descriptor: when it is closed at the latest (monotonic)

    def keep(self, fd: int, now_ms: i64) -> None:
        """Send what is left and the end of file, and close `fd` later. It is registered with epoll."""
        end = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fd)  # its own family does not matter to shutdown
        try:
            end.shutdown(socket.SHUT_WR)
            self.epoll.modify(fd, READABLE)
        except OSError:  # the peer is gone
            end.close()
            return
        end.detach()
        self.until_ms[fd] = int(now_ms + LINGER_MS)
        if len(self.until_ms) > LINGER_MAX:
            self._close(next(iter(self.until_ms)))

    def due_ms(self) -> i64:
        """When the next one is to be closed (monotonic); -1: there is none."""
        for due in self.until_ms.values():
            return due
        return -1

    def read(self, fd: int) -> None:
        """Throw away what one of them has sent; close it at its end."""
        if fd not in self.until_ms:
            return
        try:
            if not os.read(fd, int(READ_BYTES)):
                self._close(fd)
        except BlockingIOError:
            pass
        except OSError:
            self._close(fd)

    def turn(self, now_ms: i64) -> None:
        """Close those whose time is up."""
        while self.until_ms:
            fd = next(iter(self.until_ms))
            if self.until_ms[fd] > now_ms:
                break
            self._close(fd)

    def close(self) -> None:
        """Close them all: their descriptors are wanted, or the loop ends."""
        while self.until_ms:
            self._close(next(iter(self.until_ms)))

    def _close(self, fd: int) -> None:
        del self.until_ms[fd]
        os.close(fd)
