"""A tap on a connection: what passes between its transport and the broker is shown to a Watcher, unchanged.

It is a layer like those of `net/`, above all of them, and is put on connections of clients that somebody watches; no
other connection knows of it. What is on its way in bulk (`runs.py`) passes it too.
"""

from __future__ import annotations

from typing import final

from mypy_extensions import mypyc_attr, u8

from swellmq.codec.packets import Connect
from swellmq.connection import Buffers, Connection, Layer
from swellmq.errors import OPEN


@mypyc_attr(native_class=True, allow_interpreted_subclasses=True)
class Watcher:
    """Who sees what passes on one connection. It must not raise."""

    def on_received(self, data: bytes) -> None:
        """The broker is about to get these bytes: packets, perhaps cut anywhere."""

    def on_sent(self, pieces: list[bytes]) -> None:
        """These pieces are about to be sent, each made of whole packets."""


@mypyc_attr(native_class=True, allow_interpreted_subclasses=True)
class Tracing:
    """Knows which clients are watched, and puts taps on their connections."""

    def on_connect(self, connection: Connection, connect: Connect, size: int, rest: bytes) -> None:
        """A CONNECT of `size` bytes was handled; its answer has not left yet. `rest` was read behind it.

        It must not raise.
        """


@final
@mypyc_attr(native_class=True, acyclic=True)
class Tap(Layer):
    """Shows what passes to `watcher`; `below` is what the connection had for a layer before."""

    def __init__(self, watcher: Watcher, below: Layer | None) -> None:
        self.reason: u8 = OPEN
        self.phrase: str = ""
        self.watcher = watcher
        self.below = below

    def received(self, data: bytes) -> bytes:
        """The MQTT bytes in what was read."""
        below = self.below
        if below is not None:
            data = below.received(data)
            self.reason = below.reason
            self.phrase = below.phrase
        if data:
            self.watcher.on_received(data)
        return data

    def framed(self, pieces: list[bytes]) -> list[bytes]:
        """What goes to the socket."""
        if pieces:
            self.watcher.on_sent(pieces)
        return self.below.framed(pieces) if self.below is not None else pieces

    def owes(self) -> bool:
        """Whether what is below has something to say."""
        return self.below is not None and self.below.owes()

    def costly(self) -> bool:
        """Whether what is below is."""
        return self.below is not None and self.below.costly()

    def address(self) -> str:
        """What is below may know it."""
        return self.below.address() if self.below is not None else ""

    def identity(self) -> str | None:
        """What is below may know it."""
        return self.below.identity() if self.below is not None else None

    def finish(self, reason: u8) -> None:
        """Pass it on."""
        if self.below is not None:
            self.below.finish(reason)


def watch_connection(connection: Connection, watcher: Watcher) -> None:
    """Put a tap on a connection, between two turns or in one."""
    buffers = connection.buffers
    if buffers is None:
        buffers = connection.buffers = Buffers()
    buffers.layer = Tap(watcher, buffers.layer)


def leave_alone(connection: Connection) -> None:
    """Take the tap off a connection that has one."""
    buffers = connection.buffers
    if buffers is None or not isinstance(buffers.layer, Tap):
        return
    buffers.layer = buffers.layer.below
    if buffers.empty():
        connection.buffers = None


def is_watched(connection: Connection) -> bool:
    """Whether a connection has a tap."""
    buffers = connection.buffers
    return buffers is not None and isinstance(buffers.layer, Tap)
