"""What `pace.py` keeps of a client: its credit, and its pause."""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64, mypyc_attr

from swellmq.connection import Question

SECOND_MS: Final = 1_000


@final
@mypyc_attr(native_class=True, acyclic=True)
class Pause(Question):
    """A connection is not read until `until_ms` (monotonic)."""

    def __init__(self, until_ms: i64) -> None:
        self.until_ms: i64 = until_ms


@final
@mypyc_attr(native_class=True, acyclic=True)
class Meter:
    """What one client has to its credit, in thousandths of a message and of a byte."""

    def __init__(self, now_ms: i64, messages_per_s: i64, bytes_per_s: i64) -> None:
        self.last_ms: i64 = now_ms
        self.messages: i64 = messages_per_s * SECOND_MS
        self.bytes: i64 = bytes_per_s * SECOND_MS
