"""Overload of one broker: when new clients are refused, when QoS 0 is shed too, and when all is well again.

Numbers in, a verdict out; nothing here reads a clock or the system. Three things can run out:

- **memory**: its budget is used up. Being killed by the system costs all clients their connection at once, and after
  that they all come back.
- **descriptors**: the next connections would find none.
- **time**: turns of the loop have grown so long that answers come late, whatever a client asks.

The first remedy is always the same, since it costs least: refuse new clients, who come again later. Where that is not
enough QoS 0 is shed, and nothing else ever: what is acknowledged is kept. What is shed is what waits: a client that
keeps up with its messages gets them still. Each verdict holds until there is room to spare, so that it does not flap.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64, mypyc_attr

from swellmq.limits import (
    DESCRIPTORS_AGAIN,
    DESCRIPTORS_LEFT,
    MEMORY_ROOM_PERCENT,
    MEMORY_SHED_PERCENT,
    OVERLOAD_CALM_MS,
    SOCKET_BYTES,
    TURNS_CALM_PERCENT,
    TURNS_HEAVY_LOOKS,
    TURNS_HEAVY_PERCENT,
    TURNS_LOOK_MS,
    TURNS_SHED_MS,
)

# Why new clients are refused, as they are told.
NO_MEMORY: Final = "the memory budget is used up"
NO_DESCRIPTORS: Final = "no descriptors are left"
NO_TIME: Final = "the server is overloaded"


@final
@mypyc_attr(native_class=True)
class Memory:
    """Whether there is room for one more client; `budget_bytes` (0: no bound) is for process and sockets together.

    Memory that clients leave behind is used again by the next ones, but seldom given back to the system: so there is
    room again once less is used, or once clients have gone, for as many as they were and what was used then. For the
    same reason shedding ends, too, once the memory has stopped growing, and comes back only if it grows beyond that.
    """

    def __init__(self, budget_bytes: int) -> None:
        self.budget_bytes: i64 = budget_bytes
        self.used_bytes: i64 = 0
        self.full: bool = False
        self.times: i64 = 0  # that it became full
        self.full_bytes: i64 = 0  # what was used then, at the most; 0: below the budget since
        self.full_active: i64 = 0  # and by how many connections
        self.shedding: bool = False
        self.peak_bytes: i64 = 0  # the most that was used while it was shedding
        self.grown_ms: i64 = 0  # when that was

    def look(self, resident_bytes: i64, active: i64, now_ms: i64) -> None:
        """Take the figures of this moment."""
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
        self._shed(used, now_ms)

    def _shed(self, used: i64, now_ms: i64) -> None:
        if used <= self.budget_bytes:
            self.shedding = False
            self.peak_bytes = 0
        elif used > max(self.budget_bytes * MEMORY_SHED_PERCENT // 100, self.peak_bytes):
            self.shedding = True
            self.peak_bytes = used
            self.grown_ms = now_ms
        elif now_ms - self.grown_ms >= OVERLOAD_CALM_MS:
            self.shedding = False


@final
@mypyc_attr(native_class=True)
class Descriptors:
    """Whether there is a descriptor for one more client. The system gives the lowest number that is free."""

    def __init__(self) -> None:
        self.limit: i64 = 0  # of the process; 0: not known
        self.short: bool = False
        self.times: i64 = 0  # that they became short

    def bound(self) -> i64:
        """The number from which on a descriptor is too high for a client; 0: there is none."""
        return self.limit - min(DESCRIPTORS_LEFT, self.limit // 4)

    def run_short(self) -> None:
        """A connection got a descriptor above the bound."""
        if not self.short:
            self.short = True
            self.times += 1

    def look(self, lowest_free: i64) -> None:
        """Take the lowest number that is free now."""
        self.short = lowest_free > self.limit - min(DESCRIPTORS_AGAIN, self.limit // 3)


@final
@mypyc_attr(native_class=True)
class Turns:
    """Whether turns are too long: those that are have filled half of each of two seconds. See `Loop.heavy_us`."""

    def __init__(self) -> None:
        self.heavy: bool = False
        self.shedding: bool = False
        self.times: i64 = 0  # that they became too long
        self.look_ms: i64 = 0  # when it was last looked
        self.seen_us: i64 = 0  # in long turns, until then
        self.heavy_looks: i64 = 0  # so many in succession found too many long ones
        self.heavy_since_ms: i64 = 0
        self.calm_since_ms: i64 = 0  # 0: it is not calm

    def look(self, heavy_us: i64, now_ms: i64) -> None:
        """Take the time spent in long turns since the start; a look that comes too soon after another does nothing."""
        passed_ms = now_ms - self.look_ms
        if passed_ms < TURNS_LOOK_MS:
            return
        percent = (heavy_us - self.seen_us) // (passed_ms * 10)
        self.look_ms = now_ms
        self.seen_us = heavy_us
        if percent >= TURNS_HEAVY_PERCENT:
            self.calm_since_ms = 0
            self.heavy_looks += 1
            if not self.heavy:
                if self.heavy_looks < TURNS_HEAVY_LOOKS:
                    return  # one burst, or a machine that slept: it is over before a refusal would help
                self.heavy = True
                self.times += 1
                self.heavy_since_ms = now_ms
            elif now_ms - self.heavy_since_ms >= TURNS_SHED_MS:
                self.shedding = True
            return
        self.heavy_looks = 0
        if percent >= TURNS_CALM_PERCENT:
            self.calm_since_ms = 0
        elif self.heavy:
            self._calm(now_ms)

    def _calm(self, now_ms: i64) -> None:
        """Turns are short: after a while take the remedies back, the last one first."""
        if not self.calm_since_ms:
            self.calm_since_ms = now_ms
        elif now_ms - self.calm_since_ms >= OVERLOAD_CALM_MS:
            self.calm_since_ms = now_ms
            self.heavy_since_ms = now_ms  # refusing alone gets its time again before QoS 0 is shed
            if self.shedding:
                self.shedding = False
            else:
                self.heavy = False


@final
@mypyc_attr(native_class=True)
class Overload:
    """The verdict on all three together."""

    def __init__(self, budget_bytes: int) -> None:
        self.memory = Memory(budget_bytes)
        self.descriptors = Descriptors()
        self.turns = Turns()

    def refusing(self) -> str:
        """Why new clients are refused; "" where they are not."""
        if self.memory.full:
            return NO_MEMORY
        if self.descriptors.short:
            return NO_DESCRIPTORS
        return NO_TIME if self.turns.heavy else ""

    def shedding(self) -> bool:
        """Whether QoS 0 is shed."""
        return self.memory.shedding or self.turns.shedding

    def statistics(self) -> dict[str, int]:
        """What holds now, and how often it began; the memory budget (0: none) and what is used of it."""
        return {
            "memory_budget": int(self.memory.budget_bytes),
            "memory_used": int(self.memory.used_bytes),
            "memory_full": int(self.memory.full),
            "memory_full_times": int(self.memory.times),
            "descriptors_short": int(self.descriptors.short),
            "descriptors_short_times": int(self.descriptors.times),
            "turns_heavy": int(self.turns.heavy),
            "turns_heavy_times": int(self.turns.times),
            "refusing": int(self.refusing() != ""),
            "shedding": int(self.shedding()),
        }
