"""Verdicts that were found lately, so that a fleet which reconnects is not hashed or asked about once more.

What is kept is a keyed digest of a question, never a password: without the key, which is made at start and never
leaves the process, it says nothing.
"""

from __future__ import annotations

import hmac
from secrets import token_bytes
from typing import final

from mypy_extensions import i64, mypyc_attr

from swellmq.access.provider import Verdict
from swellmq.limits import REMEMBERED_VERDICTS


@final
@mypyc_attr(native_class=True)
class Remembered:
    """Verdicts by question, each for `keep_ms`; in two halves, of which the older one goes when the newer is full."""

    def __init__(self, keep_ms: i64) -> None:
        self.keep_ms: i64 = keep_ms
        self.key = token_bytes(32)
        self.now: dict[bytes, tuple[int, Verdict]] = {}
        self.before: dict[bytes, tuple[int, Verdict]] = {}

    def question(self, parts: list[bytes]) -> bytes:
        """What a question is kept under; parts that are divided differently are different questions."""
        text = b"".join([len(part).to_bytes(4, "big") + part for part in parts])
        return hmac.digest(self.key, text, "sha256")

    def find(self, question: bytes, now_ms: i64) -> Verdict | None:
        """The verdict on a question, while it holds."""
        found = self.now.get(question) or self.before.get(question)
        if found is None or found[0] <= now_ms:
            return None
        return found[1]

    def keep(self, question: bytes, verdict: Verdict, now_ms: i64) -> None:
        """Remember a verdict from now on."""
        self.now[question] = (int(now_ms + self.keep_ms), verdict)
        if len(self.now) >= REMEMBERED_VERDICTS // 2:
            self.before = self.now
            self.now = {}

    def forget(self) -> None:
        """Forget all: what they rest on has changed."""
        self.now = {}
        self.before = {}

    def __len__(self) -> int:
        return len(self.now) + len(self.before)
