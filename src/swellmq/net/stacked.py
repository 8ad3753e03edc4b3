"""A layer that stands on another one, and leaves to it whatever it doesn't know itself."""

from __future__ import annotations

from mypy_extensions import mypyc_attr, u8

from swellmq.connection import Layer
from swellmq.errors import OPEN


@mypyc_attr(native_class=True, acyclic=True, allow_interpreted_subclasses=True)
class Stacked(Layer):
    """`other` is the one above or below it; None: there is none."""

    def __init__(self, other: Layer | None) -> None:
        self.reason: u8 = OPEN
        self.phrase: str = ""
        self.other = other

    def meet(self, fd: int) -> None:
        """Pass it on."""
        if self.other is not None:
            self.other.meet(fd)

    def owes(self) -> bool:
        """Whether the other one has something to say."""
        return self.other is not None and self.other.owes()

    def address(self) -> str:
        """What the other one was told."""
        return self.other.address() if self.other is not None else ""

    def identity(self) -> str | None:
        """Whom the other one knows."""
        return self.other.identity() if self.other is not None else None

    def finish(self, reason: u8) -> None:
        """Pass it on."""
        if self.other is not None:
            self.other.finish(reason)

    def pass_on(self, data: bytes) -> bytes:
        """What the other one makes of bytes that were read; its end is ours."""
        other = self.other
        if other is None or not data:
            return data
        data = other.received(data)
        self.reason = other.reason
        self.phrase = other.phrase
        return data
