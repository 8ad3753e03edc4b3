"""What a client has sent and the broker has not yet handled, packet by packet.

The oracle is told of a packet when the broker handles it: once it was read whole, or, where access or the cluster is
asked about it, when that question is answered. Meanwhile what follows on that connection waits, and all else goes on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from sim.model import Connection, Violation

from swellmq.broker.access import KIND_NAMES, READ_BACK

Answer = list[int]  # a reason code; for SUBSCRIBE one for each filter
ALLOWED: Answer = [0]


def always() -> bool:
    return True


@dataclass(eq=False)
class Item:
    """A packet on its way to the broker; one without bytes is the second question about the one before."""

    data: bytes
    tell: Callable[[Answer, int], None]  # tells the oracle, with the answer and the milliseconds it has taken
    kind: int = 0  # of the question that is asked before it is handled; 0: none
    asks: Callable[[], bool] = always  # whether it really is: this depends on what came before


class Line:
    """The packets of one connection that wait to be handled."""

    def __init__(self, model: Connection) -> None:
        self.model = model
        self.items: deque[tuple[int, Item]] = deque()  # with the place in the stream where each ends
        self.sent_bytes = 0
        self.read_bytes = 0
        self.asked: Item | None = None  # its answer is awaited
        self.put = False  # the broker has put that question
        self.asked_ms = -1
        self.answered_ms = -1

    def send(self, items: list[Item], length: int) -> None:
        """The first `length` bytes of these items were sent."""
        end = self.sent_bytes
        for item in items:
            end += len(item.data)
            if end <= self.sent_bytes + length:
                self.items.append((end, item))
        self.sent_bytes += length

    def read(self, length: int, now_ms: int) -> None:
        """The broker reads so many bytes, and handles what is whole now."""
        self.read_bytes += length
        self.model.last_ms = now_ms
        self._handle(now_ms)

    def _handle(self, now_ms: int) -> None:
        while self.asked is None and self.items and self.items[0][0] <= self.read_bytes:
            _, item = self.items.popleft()
            if not self.model.open:
                continue
            if item.kind and item.asks():
                # That messages are read back is no question to anybody: see `World._check_asked`.
                self.asked, self.put, self.asked_ms = item, item.kind == READ_BACK, now_ms
            else:
                item.tell(ALLOWED, 0)

    def idle(self) -> bool:
        """Whether all that was sent has been handled."""
        return self.asked is None and not self.items

    def note_put(self, kind: int) -> Item:
        """The broker asks: that has to be about the packet that is next, and only once."""
        item = self.asked
        if item is None or item.kind != kind or self.put:
            expected = KIND_NAMES[item.kind] if item is not None else "nothing"
            raise Violation(f"{self.model.name}: the broker asks {KIND_NAMES[kind]}, expected {expected}")
        self.put = True
        return item

    def answer(self, answer: Answer, now_ms: int) -> None:
        """The question is answered: the packet is handled, and what was read behind it."""
        item = self.asked
        assert item is not None
        self.asked = None
        if self.model.open:
            self.answered_ms = self.model.last_ms = now_ms
            item.tell(answer, now_ms - self.asked_ms)
            self._handle(now_ms)
