"""The look at one broker that is taken once a second at most: alarms, and, for who asks for it, history.

It costs no message anything. Nor does it wake a broker that has nothing to do: what nobody has changed need not be
looked at again, unless an alarm is raised or about to be.
"""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING, Final, final

from mypy_extensions import mypyc_attr

from swellmq.limits import STORE_BACKLOG_BYTES
from swellmq.observe.alarms import Alarm, Alarms
from swellmq.process import lowest_free_descriptor

if TYPE_CHECKING:
    from swellmq.observe.history import History
    from swellmq.observe.receipts import Receipts
    from swellmq.observe.talkers import Talkers
    from swellmq.server import Server

log = logging.getLogger("swellmq.alarms")

SECOND_MS: Final = 1_000
DISK_EVERY_MS: Final = 10_000  # free space is asked for no more often: a disk on a network may take its time
GROWTH_MS: Final = 60_000  # over which the growth of what waits is taken
AHEAD_S: Final = 300  # how far ahead it is thought on: time enough for an operator to do something


@final
@mypyc_attr(native_class=True)
class Watch:
    """Watches one broker. `look` is to be called once `due_ms` has come, and is called then even if all else rests
    where `wake_ms` says so."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.alarms = Alarms()
        self.history: History | None = None  # by `keep_history`
        self.talkers: Talkers | None = None
        self.receipts: Receipts | None = None
        self.due_ms = 0
        self._look_ms = 0  # when the next second begins
        self._looked_ms = 0
        self._dropped = 0
        self._disk_ms = 0
        self._disk_free = 0
        self._descriptors = 0
        self._waiting_ms = -1  # when waiting bytes were last taken down; -1: never
        self._waiting_bytes = 0

    def keep_history(self) -> None:
        """From now on remember what happens, and who sends and receives most. Once; somebody wants to see it."""
        from swellmq.observe.history import History  # a broker that nobody looks at needs none of them
        from swellmq.observe.receipts import Receipts
        from swellmq.observe.talkers import Talkers

        server = self.server
        self.history = History(server)
        self.talkers = Talkers(server.turn_state)
        self.receipts = Receipts(server.broker.core, server.turn_state)
        server.loop.watcher = self.talkers
        server.loop.output.watcher = self.talkers

    def wake_ms(self) -> int:
        """When to look even if nothing else is to be done (monotonic); -1: never."""
        if self.receipts is not None and self.receipts.walking():
            return self.receipts.due_ms
        if self.alarms.unsettled():
            return self._look_ms
        return self.history.wake_ms() if self.history is not None else -1

    def look(self, now_ms: int) -> None:
        """Do what is due."""
        receipts = self.receipts
        if receipts is not None and receipts.walking():
            receipts.walk(now_ms)
        if now_ms >= self._look_ms:
            self._look_ms = now_ms - now_ms % SECOND_MS + SECOND_MS
            peak_us = self.server.stats.take_turn_peak()
            self._look_at_alarms(now_ms, peak_us)
            if self.history is not None:
                self.history.look(now_ms, peak_us)
        self.due_ms = self._look_ms
        if receipts is not None and receipts.walking():
            self.due_ms = min(self.due_ms, receipts.due_ms)

    def walk_receipts(self) -> None:
        """Begin to count what everything costs, unless that was done lately or is under way."""
        if self.receipts is not None and self.receipts.begin(int(self.server.turn_state.now_ms)):
            self.due_ms = 0
            self.server.loop.more = True
            self.server.plan()

    # Alarms

    def _check(self, name: str, value: int, bound: int, text: str) -> None:
        """Give an alarm its number of now and its bound (0: none); `text` says what is wrong where that is reached.

        Once all is well it keeps what it said last: `0 clients are slow` would be no reason for an alarm.
        """
        alarm = self.alarms.by_name[name]
        if alarm.look(value, bound, self._looked_ms, self.server.settings.alarms_after_s * SECOND_MS):
            self._tell(alarm, text)
        elif alarm.raised and not alarm.is_turning():
            alarm.text = text

    def _look_at_alarms(self, now_ms: int, peak_us: int) -> None:
        passed_ms = now_ms - self._looked_ms
        self._looked_ms = now_ms
        server, settings = self.server, self.server.settings
        pool, core, stats, overload = server.pool, server.broker.core, server.stats, server.overload

        full = 0 < pool.max_size <= pool.capacity
        bound = part(pool.max_size, settings.alarms_pool_percent) if full else 0
        text = f"the pool can't grow: pool.max_size = {pool.max_size} is reached, with {pool.active} connections"
        self._check("pool", pool.active, bound, text)

        bound = settings.alarms_overflow if pool.max_size else 0  # pool.mode none makes all on demand
        self._check("overflow", pool.overflow, bound, f"{pool.overflow} connections found no idle object in the pool")

        bound = part(pool.max_connections, settings.alarms_connections_percent)
        text = f"{pool.active} of {pool.max_connections} connections are taken (max_connections)"
        self._check("connections", pool.active, bound, text)

        limit = int(overload.descriptors.limit)
        used = lowest_free_descriptor()  # as many as there are, since the system gives the lowest number that is free
        self._descriptors = used = min(used, limit) if limit else used
        bound = part(limit, settings.alarms_descriptors_percent)
        self._check("descriptors", used, bound, f"{used} of {limit} open files are in use (ulimit -n)")

        used, budget = int(overload.memory.used_bytes), int(overload.memory.budget_bytes)
        bound = part(budget, settings.alarms_memory_percent)
        self._check("memory", used, bound, f"{used / 1e6:.0f} of {budget / 1e6:.0f} MB of memory are used")

        text = f"turns of the loop take {peak_us / 1000:.0f} ms, and all clients wait as long"
        self._check("turn", peak_us, settings.alarms_turn_ms * 1000, text)

        why = overload.refusing()
        text = f"new clients are refused: {why}" if why else "QoS 0 that waits is shed"
        self._check("overload", int(bool(why) or overload.shedding()), 1, text)

        text = f"{stats.stalled} clients take their messages more slowly than they come"
        self._check("slow_clients", stats.stalled, settings.alarms_slow_clients, text)

        dropped = stats.dropped_for_want_of_room()
        rate = (dropped - self._dropped) * SECOND_MS // max(SECOND_MS, passed_ms)
        self._dropped = dropped
        self._check("dropped", rate, settings.alarms_dropped_per_s, f"{rate} messages per second are dropped")

        waiting, most = int(core.waiting_bytes), int(core.limits.waiting_bytes)
        text = f"{waiting / 1e6:.0f} of {most / 1e6:.0f} MB of messages wait for clients that are away"
        self._check("waiting", self._waiting_soon(now_ms), part(most, settings.alarms_waiting_percent), text)

        waiting = server.storage.statistics().get("bytes_waiting", 0)
        text = f"{waiting / 1e6:.0f} of {STORE_BACKLOG_BYTES / 1e6:.0f} MB wait for the disk"
        self._check("store_backlog", waiting, part(STORE_BACKLOG_BYTES, settings.alarms_store_percent), text)

        text = f"the store can't write, and refuses durable work with 0x{server.storage.refusal:02x}"
        self._check("store_refuses", int(server.storage.refusal != 0), 1, text)

        free = self._free_bytes(now_ms)
        bound = settings.alarms_disk_free_bytes if settings.data else 0
        self._check("disk", free, bound, f"{free / 1e6:.0f} MB are free where data is")

    def _waiting_soon(self, now_ms: int) -> int:
        """How many bytes wait for clients that are away, as they will be in `AHEAD_S` if they grow as now."""
        waiting = int(self.server.broker.core.waiting_bytes)
        if self._waiting_ms < 0:  # what the store has brought back is no growth
            self._waiting_ms, self._waiting_bytes = now_ms, waiting
        lasted_ms, before = now_ms - self._waiting_ms, self._waiting_bytes
        if lasted_ms >= GROWTH_MS:
            self._waiting_ms, self._waiting_bytes = now_ms, waiting
        if lasted_ms <= 0 or waiting <= before:
            return waiting
        return waiting + (waiting - before) * AHEAD_S * 1000 // max(lasted_ms, GROWTH_MS)

    def _free_bytes(self, now_ms: int) -> int:
        """Free space where the data is; it is looked up now and then only."""
        data = self.server.settings.data
        if data and now_ms >= self._disk_ms:
            self._disk_ms = now_ms + DISK_EVERY_MS
            try:
                found = os.statvfs(data)
            except OSError:  # it is gone, and so is all space
                self._disk_free = 0
            else:
                self._disk_free = found.f_bavail * found.f_frsize
        return self._disk_free

    def _tell(self, alarm: Alarm, text: str) -> None:
        """An alarm is raised or cleared: say so, once, in the log, in `$SYS` and in the history."""
        now_s = time.time()
        if alarm.raised:
            alarm.since_s = now_s
            alarm.text = text
            log.warning("alarm %s: %s", alarm.name, text)
            happened = f"{alarm.name}: {text}"
        else:
            lasted_s = now_s - alarm.since_s
            log.info("alarm %s is cleared after %d s; it was: %s", alarm.name, lasted_s, alarm.text)
            happened = f"{alarm.name} is cleared after {lasted_s:.0f} s"
        server = self.server
        if server.settings.sys_interval_s:
            server.sys_topics.put("alarms/" + alarm.name, "raised: " + text if alarm.raised else "cleared")
        if self.history is not None:
            self.history.note(now_s, "alarm", happened)

    def statistics(self) -> dict[str, int]:
        """Alarms, and what was counted for them."""
        return {"descriptors": self._descriptors, "disk_free_bytes": self._disk_free, **self.alarms.statistics()}


def part(whole: int, percent: int) -> int:
    """`percent` of `whole`, but at least 1; 0 where either is."""
    return max(1, whole * percent // 100) if whole > 0 and percent else 0
