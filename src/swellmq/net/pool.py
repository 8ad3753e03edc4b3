"""The dynamic connection pool: few objects at start, half as many again whenever four fifths are in use.

Every connection that the broker serves is acquired here, whatever its transport. There are three kinds of objects:
preheated ones, which return to the pool; those made on demand once no preheated one is idle (overflow), which are
dropped at the end of their connection; and the small fixed reserve of slots that tell a client that the broker is full.

Growth never runs in one piece. An arrival that finds the threshold crossed only sets a target; `grow` works towards it
in slices of about a millisecond, which the loop takes between its turns, while arrivals go on.
"""

from __future__ import annotations

import logging
from time import perf_counter_ns
from typing import Final, final

from mypy_extensions import i64, mypyc_attr

from swellmq.connection import GATE_OPEN, ON_DISK, PROBLEMS_ALLOWED, Connection, Turn
from swellmq.errors import OPEN
from swellmq.limits import (
    CONNECTION_BYTES,
    EXPANSION_RETRY_MAX_MS,
    EXPANSION_RETRY_MS,
    REFUSING_SLOTS,
    RENEW_AFTER_MS,
    RENEW_FROM,
    RENEW_SHARE,
    SLICE_NS,
    SLICE_OBJECTS,
)
from swellmq.stats import Longest

MODES: Final = ("dynamic", "fixed", "none")
GIVE_BACK_OBJECTS: Final = 16_384  # enough for whole MiB, which is what the allocator gives back
SHRINK_BELOW_PERCENT: Final = 40
STEPS_KEPT: Final = 64  # for who wants to see how it has come to be as it is: from 1,024 to a million it takes 17

log = logging.getLogger("swellmq.pool")


def next_capacity(capacity: int, max_size: int, numerator: int = 3, denominator: int = 2) -> int:
    """The capacity after one more step; `capacity` itself where there is none."""
    if capacity >= max_size:
        return capacity
    return min(max(capacity * numerator // denominator, capacity + 1), max_size)


def growth_sequence(initial_size: int, max_size: int, numerator: int = 3, denominator: int = 2) -> list[int]:
    """All capacities from `initial_size` to `max_size`, as in pool growth without a failed step."""
    sizes = [initial_size]
    while (following := next_capacity(sizes[-1], max_size, numerator, denominator)) > sizes[-1]:
        sizes.append(following)
    return sizes


@final
@mypyc_attr(native_class=True)
class PoolSettings:
    """What a pool is made with; sizes count connections."""

    def __init__(self) -> None:
        self.initial_size: int = 1_024
        self.max_size: int = 100_000
        self.max_connections: int = 1_000_000
        self.mode: str = "dynamic"
        self.threshold_percent: int = 80
        self.numerator: int = 3  # of the growth factor
        self.denominator: int = 2
        self.memory_max_bytes: int = 0  # budget of the preheated objects; 0: none
        self.shrink: bool = False
        self.shrink_after_ms: int = 600_000  # of calm


@final
@mypyc_attr(native_class=True, acyclic=True)
class PoolStep:
    """One step that the pool has gone, up or down."""

    def __init__(self, at_ms: i64, before: i64, after: i64, active: i64) -> None:
        self.at_ms: i64 = at_ms  # monotonic
        self.before: i64 = before  # capacity
        self.after: i64 = after
        self.active: i64 = active  # connections when it was triggered


@final
@mypyc_attr(native_class=True)
class Pool:
    """Objects for connections: `capacity` preheated, some idle; `active` served, `overflow` of them on demand."""

    def __init__(self, settings: PoolSettings, turn: Turn) -> None:
        self.settings = settings
        self.turn = turn
        self.max_size: i64 = settings.max_size if settings.mode != "none" else 0
        self.max_connections: i64 = settings.max_connections
        self.capacity: i64 = 0
        self.active: i64 = 0
        self.overflow: i64 = 0
        self.overflow_total: i64 = 0  # objects that were ever made on demand
        self.target: i64 = 0  # what the step under way leads to; the capacity itself when none is
        self.step_from: i64 = 0  # capacity and active connections when it was triggered
        self.step_active: i64 = 0
        self.steps: i64 = 0
        self.steps_failed: i64 = 0
        # The last of them, the latest at the end; for those that are still to come there are objects already.
        self.history = [PoolStep(0, 0, 0, 0) for _ in range(STEPS_KEPT)]
        self.steps_gone: i64 = 0  # up and down, all that were ever in `history`
        self.step_longest_us: i64 = 0  # the sum of the slices of one step
        self.slice = Longest()
        self.step_us: i64 = 0
        self.refusing: bool = False  # the memory budget is used up
        self.retry_at_ms: i64 = 0  # after a failed step
        self.retry_delay_ms: i64 = EXPANSION_RETRY_MS
        self.calm_since_ms: i64 = 0
        self.peak: i64 = 0  # active connections at the most since the last renewal
        self.quiet_since_ms: i64 = 0  # since when few of them are left
        self.renewing: bool = False  # the idle objects are being dropped
        self.refilling: bool = False  # and made anew
        self.renewals: i64 = 0
        self.changes: i64 = 0  # whoever compares it learns that a step was gone, or a renewal has begun or ended
        self.free: list[Connection] = []
        self.reserve: list[Connection] = []  # idle refusing slots

    def preheat(self) -> None:
        """Make what the mode asks for at start: `initial_size`, everything, or nothing; and the refusing slots."""
        settings = self.settings
        wanted: i64 = 0
        if settings.mode == "dynamic":
            wanted = settings.initial_size
        elif settings.mode == "fixed":
            wanted = settings.max_size
        self.target = wanted
        self._make(wanted)
        self.reserve = [Connection(self.turn) for _ in range(REFUSING_SLOTS)]

    def _make(self, count: i64) -> None:
        made: i64 = 0
        while made < count:
            connection = Connection(self.turn)
            connection.pooled = True
            self.free.append(connection)
            made += 1
            self.capacity += 1

    def acquire(self, now_ms: i64) -> Connection | None:
        """An object for an arriving connection: an idle preheated one, else one on demand; None: the broker is full."""
        return None if self.refusing else self.acquire_freed(now_ms)

    def acquire_freed(self, now_ms: i64) -> Connection | None:
        """The same for a client that takes its own place over: it costs no memory that was not used before."""
        if self.active >= self.max_connections:
            return None
        self._trigger(now_ms)
        self.active += 1
        if self.active > self.peak:
            self.peak = self.active
        if self.free:
            return self.free.pop()
        self.overflow += 1
        self.overflow_total += 1
        return Connection(self.turn)

    def release(self, connection: Connection) -> None:
        """Take back the object of a connection that has ended, reset; one made on demand is dropped."""
        connection.reset()
        self.active -= 1
        if connection.pooled:
            self.free.append(connection)
        else:
            self.overflow -= 1

    def acquire_refusing(self) -> Connection | None:
        """A slot to tell a client that the broker is full, from a reserve that never grows."""
        return self.reserve.pop() if self.reserve else None

    def release_refusing(self, connection: Connection) -> None:
        """Give a refusing slot back."""
        connection.reset()
        self.reserve.append(connection)

    # Growth

    def working(self, now_ms: i64) -> bool:
        """Whether a step, up or down, is under way and may be worked on now."""
        return (self.target != self.capacity or self.renewing) and now_ms >= self.retry_at_ms

    def _crowded(self) -> bool:
        """Whether so many are served that the pool should grow."""
        return self.active >= self.capacity * self.settings.threshold_percent // 100

    def _trigger(self, now_ms: i64) -> None:
        if self.target != self.capacity or not self._crowded():
            return
        if self.capacity >= self.max_size or self.settings.mode != "dynamic":
            return
        settings = self.settings
        self.target = next_capacity(self.capacity, self.max_size, settings.numerator, settings.denominator)
        self.step_from = self.capacity
        self.step_active = self.active
        self.step_us = 0

    def grow(self, now_ms: i64) -> bool:
        """Work one slice on the step under way; whether more is to be done at once.

        A step that fails leaves what it made, says why, and is tried again after a delay that doubles.
        """
        if self.renewing:
            return self._renew_slice()
        if self.target < self.capacity:
            return self._shrink_slice()
        if self.target == self.capacity:
            return False
        if self.retry_at_ms:
            if now_ms < self.retry_at_ms:
                return False
            self.retry_at_ms = 0
            if (
                self.capacity == self.step_from and not self._crowded() and not self.refilling
            ):  # who needed it has gone meanwhile
                self.target = self.capacity
                self.retry_delay_ms = EXPANSION_RETRY_MS
                return False
        budget = self.settings.memory_max_bytes
        if budget and self.target * CONNECTION_BYTES > budget and not self.refilling:
            self._failed(now_ms, f"{self.target} objects need more than the budget of {budget} bytes")
            return False
        if self.refusing and not self.refilling:  # what is made anew was there before
            self._failed(now_ms, "the memory budget is used up")
            return False
        start_ns: i64 = perf_counter_ns()
        try:
            while self.capacity < self.target:
                self._make(min(SLICE_OBJECTS, self.target - self.capacity))
                if perf_counter_ns() - start_ns > SLICE_NS:
                    break
        except MemoryError:
            self._give_back()
            self._failed(now_ms, "out of memory")
            return False
        took_us = (perf_counter_ns() - start_ns) // 1000
        self.step_us += took_us
        self.slice.note(took_us, now_ms)
        if self.capacity < self.target:
            return True
        if self.refilling:
            self.refilling = False
            self.renewals += 1
            self.changes += 1
            self.retry_delay_ms = EXPANSION_RETRY_MS
            self._trigger(now_ms)
            return self.target > self.capacity
        self.steps += 1
        self.step_longest_us = max(self.step_longest_us, self.step_us)
        self.retry_delay_ms = EXPANSION_RETRY_MS
        log.info(
            "[POOL] Expand: %d->%d (trigger at %d/%d connections)",
            self.step_from,
            self.capacity,
            self.step_active,
            self.step_from,
        )
        self._remember()
        self._trigger(now_ms)
        return self.target > self.capacity

    def _give_back(self) -> None:
        """Drop the last 2 MB of what this step has made: without any memory nobody could be served, nor this logged."""
        count: i64 = 0
        while self.free and self.capacity > self.step_from and count < GIVE_BACK_OBJECTS:
            self.free.pop()
            self.capacity -= 1
            count += 1

    def _failed(self, now_ms: i64, why: str) -> None:
        self.steps_failed += 1
        self.retry_at_ms = now_ms + self.retry_delay_ms
        self.retry_delay_ms = min(self.retry_delay_ms * 2, EXPANSION_RETRY_MAX_MS)
        log.warning("[POOL] Expansion failed: %s", why)

    def retry_due_ms(self) -> i64:
        """When a failed step is to be tried again; -1 where none failed."""
        return self.retry_at_ms if self.retry_at_ms else -1

    # Shrinking

    def consider_shrinking(self, now_ms: i64) -> None:
        """Go one step down the pool's own sequence after a long calm under 40 % use; called about once a second.

        A step up needs 80 % of the smaller capacity, which is more than 53 % of the larger one: the two can't flap.
        """
        settings = self.settings
        if not settings.shrink or settings.mode != "dynamic" or self.target != self.capacity:
            return
        if self.capacity <= settings.initial_size or self.active * 100 >= self.capacity * SHRINK_BELOW_PERCENT:
            self.calm_since_ms = 0
        elif not self.calm_since_ms:
            self.calm_since_ms = now_ms
        elif now_ms - self.calm_since_ms >= settings.shrink_after_ms:
            self.calm_since_ms = now_ms
            sizes = growth_sequence(settings.initial_size, int(self.max_size), settings.numerator, settings.denominator)
            self.target = max([size for size in sizes if size < self.capacity])
            self.step_from = self.capacity
            self.step_active = self.active

    def _shrink_slice(self) -> bool:
        count: i64 = 0
        while self.capacity > self.target and self.free and count < SLICE_OBJECTS * 16:
            self.free.pop()
            self.capacity -= 1
            count += 1
        if self.capacity > self.target:
            if not self.free:  # the clients are back: so is the capacity, since targets stay on the sequence
                self.target = self.step_from
                self.step_from = self.capacity
                self.step_active = self.active
                self.step_us = 0
            return True
        log.info(
            "[POOL] Shrink: %d->%d (calm at %d/%d connections)",
            self.step_from,
            self.capacity,
            self.step_active,
            self.step_from,
        )
        self._remember()
        self.renewing = True
        return True

    def _remember(self) -> None:
        """A step is done. The object of the oldest one serves again: a new one would lie between those of clients."""
        step = self.history.pop(0)
        step.at_ms = self.turn.now_ms
        step.before = self.step_from
        step.after = self.capacity
        step.active = self.step_active
        self.history.append(step)
        self.steps_gone += 1
        self.changes += 1

    def last_steps(self, count: i64) -> list[PoolStep]:
        """The last `count` steps, or those that are kept, the latest at the end."""
        return self.history[STEPS_KEPT - min(count, self.steps_gone, STEPS_KEPT) :]

    # Renewal

    def scattered(self) -> bool:
        """Whether so few are left of so many that the idle objects keep memory from the system which nobody uses.

        Objects are made while clients arrive, so they lie between what the clients need; and the allocator gives memory
        back by the MiB, where nothing is left in it. One object for each MiB is enough to keep all.
        """
        return self.peak >= RENEW_FROM and self.active * RENEW_SHARE <= self.peak

    def consider_renewal(self, now_ms: i64) -> None:
        """Make the idle objects anew, side by side, once few connections are left for a while; called once a second."""
        if not self.scattered() or self.target != self.capacity or self.renewing:
            self.quiet_since_ms = 0
        elif not self.quiet_since_ms:
            self.quiet_since_ms = now_ms
        elif now_ms - self.quiet_since_ms >= RENEW_AFTER_MS:
            self.quiet_since_ms = 0
            self.renewing = True

    def _renew_slice(self) -> bool:
        """Drop a slice of the idle objects; the last one leaves their number to be made. `target` stays meanwhile."""
        count: i64 = 0
        while self.free and count < SLICE_OBJECTS * 16:
            self.free.pop()
            self.capacity -= 1
            count += 1
        if not self.free:
            self.renewing = False
            self.refilling = True
            self.changes += 1
            self.peak = self.active
            self.step_from = self.capacity
            self.step_active = self.active
            self.step_us = 0
        return True

    # Watching

    def self_check(self, served: list[Connection]) -> list[str]:
        """Each broken invariant in a sentence; empty where all is well. `served`: all that have a descriptor.

        Cheap enough for a live broker: one walk over the idle objects and one over the served ones.
        """
        faults = self.size_faults()
        seen: set[int] = set()
        faults.extend(self.idle_faults(0, len(self.free), seen))
        on_demand = 0
        for connection in served:
            if id(connection) in seen:
                faults.append(f"the connection of descriptor {connection.fd} is in the pool")
            if not connection.pooled:
                on_demand += 1
        if len(served) != self.active:
            faults.append(f"active {self.active} but {len(served)} connections have a descriptor")
        elif on_demand != self.overflow:
            faults.append(f"overflow {self.overflow} but {on_demand} served connections were made on demand")
        return faults

    def size_faults(self) -> list[str]:
        """Each broken relation between the sizes, in a sentence."""
        faults: list[str] = []
        idle = len(self.free)
        if self.active != self.capacity - idle + self.overflow:
            faults.append(
                f"active {self.active} is not capacity {self.capacity} - idle {idle} + overflow {self.overflow}"
            )
        if idle > self.capacity:
            faults.append(f"idle {idle} is above capacity {self.capacity}")
        if self.capacity > self.max_size:
            faults.append(f"capacity {self.capacity} is above max_size {self.max_size}")
        if self.max_size > self.max_connections:
            faults.append(f"max_size {self.max_size} is above max_connections {self.max_connections}")
        if self.active > self.max_connections:
            faults.append(f"active {self.active} is above max_connections {self.max_connections}")
        return faults

    def idle_faults(self, begin: int, end: int, seen: set[int]) -> list[str]:
        """What is wrong with the idle objects from one index to another. `seen` has those before, and gets these."""
        faults: list[str] = []
        for connection in self.free[begin:end]:
            if id(connection) in seen:
                faults.append("an object is twice in the pool")
            seen.add(id(connection))
            if not connection.pooled:
                faults.append("an object made on demand is in the pool")
            if not is_reset(connection):
                faults.append("an object in the pool is not reset")
        return faults

    def statistics(self) -> dict[str, int]:
        """The terms of the pool, and what its steps cost."""
        return {
            "capacity": int(self.capacity),
            "active": int(self.active),
            "idle": len(self.free),
            "overflow": int(self.overflow),
            "overflow_total": int(self.overflow_total),
            "max_size": int(self.max_size),
            "max_connections": int(self.max_connections),
            "steps": int(self.steps),
            "steps_failed": int(self.steps_failed),
            "renewals": int(self.renewals),
            "step_longest_us": int(self.step_longest_us),
            "slice_longest_us": int(self.slice.ever_us),
            "slice_recent_us": self.slice.recent_us(self.turn.now_ms),
        }


def is_reset(connection: Connection) -> bool:
    """Whether nothing of a former client is left in the object."""
    return (
        connection.deadline_ms == 0
        and connection.handler is None
        and connection.fd == -1
        and connection.listener == 0
        and connection.outbox_bytes == 0
        and connection.outbox is None
        and not connection.inbox
        and connection.buffers is None
        and connection.close_reason == OPEN
        and connection.gate == GATE_OPEN
        and not connection.deaf
        and connection.interest == 0
        and connection.last_ms == 0
        and connection.owner is None
        and connection.question is None
        and connection.aliases is None
        and connection.protocol_version == 0
        and not connection.bridge
        and connection.problem_information == PROBLEMS_ALLOWED
        and connection.will_wanted
        and connection.durability == ON_DISK
        and connection.keep_alive_s == 0
        and connection.receive_maximum == 65_535
        and connection.topic_alias_maximum == 0
        and connection.packet_bytes_max == 0
    )
