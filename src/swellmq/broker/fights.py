"""Client ids that several clients use at once: each takes it from the other, reconnects, and takes it again.

Counted are takeovers of a client id within ten seconds. Past the bound of the settings newcomers are refused until the
ten seconds are over, so that a fight costs little, and one log line names both addresses.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64, mypyc_attr

from swellmq.limits import FIGHTS

WINDOW_MS: Final = 10_000


@final
@mypyc_attr(native_class=True)
class Fights:
    """Takeovers by client id, in two halves: the older one is forgotten when the newer one is full, or too old."""

    def __init__(self) -> None:
        self.now_begun_ms: i64 = 0
        # When the first was, and how many there were since, by the hash of the client id: ids may be 64 KiB long.
        self.now: dict[int, tuple[int, int]] = {}
        self.before: dict[int, tuple[int, int]] = {}

    def add(self, client_id: str, now_ms: i64) -> int:
        """One more takeover of a client id; how many there were within ten seconds."""
        key = hash(client_id)
        begin, count = self.now.get(key) or self.before.get(key) or (int(now_ms), 0)
        if now_ms - begin >= WINDOW_MS:
            begin, count = int(now_ms), 0
        if len(self.now) >= FIGHTS // 2 or now_ms - self.now_begun_ms >= WINDOW_MS:
            self.before = self.now
            self.now = {}
            self.now_begun_ms = now_ms
        self.now[key] = (begin, count + 1)
        return count + 1
