"""The memory budget of one broker: when new clients are refused, and when they may come again.

Numbers in, a verdict out; nothing here reads a clock or the system. Refusing a client costs that client a retry. Being
killed by the system costs all of them their connection at once, and after that they all come back.
"""

from __future__ import annotations

from typing import final

from mypy_extensions import i64, mypyc_attr

from swellmq.limits import MEMORY_ROOM_PERCENT, SOCKET_BYTES


@final
@mypyc_attr(native_class=True)
class MemoryGuard:
    """Whether there is room for one more client; `budget_bytes` is for the process and its sockets together.

    Memory that clients leave behind is used again by the next ones, but seldom given back to the system: so there is
    room again once less is used, or once clients have gone, for as many as they were and what was used then.
    """

    def __init__(self, budget_bytes: int) -> None:
        self.budget_bytes: i64 = budget_bytes
        self.used_bytes: i64 = 0
        self.full: bool = False
        self.times: i64 = 0  # that it became full
        self.full_bytes: i64 = 0  # what was used then, at the most; 0: below the budget since
        self.full_active: i64 = 0  # and by how many connections

    def look(self, resident_bytes: i64, active: i64) -> bool:
        """Take the figures of this moment; whether new clients are to be refused until the next look."""
        used = resident_bytes + active * SOCKET_BYTES
        self.used_bytes = used
        enough = self.budget_bytes * MEMORY_ROOM_PERCENT // 100
        if self.full:
            self.full = used > enough and active * 100 >= self.full_active * MEMORY_ROOM_PERCENT
        elif used > self.budget_bytes and (used > self.full_bytes or active >= self.full_active):
            self.full = True
            self.times += 1
            self.full_bytes = max(used, self.full_bytes)
            self.full_active = active
        if used <= enough:
            self.full_bytes = 0
        return self.full

    def statistics(self) -> dict[str, int]:
        """The budget (0: none), what is used of it, whether it is used up, and how often it was."""
        return {
            "memory_budget": int(self.budget_bytes),
            "memory_used": int(self.used_bytes),
            "memory_full": int(self.full),
            "memory_full_times": int(self.times),
        }
