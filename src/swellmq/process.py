"""What belongs to the whole process, and so only to the `serve` command: the collector, memory given back, descriptors.

A broker inside somebody's program touches none of it.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
import time
from collections.abc import Callable
from typing import Final

from swellmq.limits import REFUSING_SLOTS
from swellmq.stats import Longest, Stats

log = logging.getLogger("swellmq.server")

DESCRIPTORS_BESIDE: Final = REFUSING_SLOTS + 64  # the refusing slots, listeners, epoll, log files, a store
COLLECT_EVERY: Final = 500  # allocations between two looks of the cyclic collector; our objects are acyclic
OLDER_EVERY: Final = 1  # every other of these looks is at what survived the one before, too: 1,000 lists, 0.3 ms
ARENA_BYTES: Final = 1 << 20  # what Python's allocator asks the system for at a time
FILLING_BYTES: Final = 512 - 33  # of the largest objects that it serves, 33 are not the content of a `bytes`
FILLING_STEP: Final = 31  # such objects fill one of its pools of 16 KiB
FILLING_MAX: Final = 8 * ARENA_BYTES // 512  # where more than that is free the reserve does not matter
TIDY_FROM_BYTES: Final = 1_000_000  # above the start; less is not worth a look


def calm_collector(stats: Stats) -> None:
    """Have Python's cyclic collector look at each object twice at the most, and its pauses counted in `stats`.

    What has survived two collections is set aside (`gc.freeze`): it still goes when nobody refers to it. Otherwise a
    full collection would walk the lists of a million sessions, for half a second.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_EVERY, OLDER_EVERY, OLDER_EVERY)
    gc.callbacks.append(collection_watcher(stats))


def collection_watcher(stats: Stats) -> Callable[[str, dict[str, int]], None]:
    """What the collector is to call before ("start") and after ("stop") each collection."""

    def watch(phase: str, about: dict[str, int]) -> None:
        if phase == "start":
            stats.collection_began_ns = time.perf_counter_ns()
        else:
            if about["generation"]:
                gc.freeze()
            stats.collections += 1
            stats.collection.note((time.perf_counter_ns() - stats.collection_began_ns) // 1000, stats.turned_ms)

    stats.collection.note(0, 0)  # the first call of a compiled method leaves a tuple: not while a crowd is here
    return watch


class Trimmer:
    """Gives memory that the allocators hold back to the system, after a crowd has gone."""

    def __init__(self) -> None:
        self.start_bytes = resident_bytes()
        self.pause = Longest()
        self.trim_heap: Callable[[], None] | None = None

    def prepare(self) -> bool:
        """A crowd comes: whether it is the first. What will be needed when it goes is made now: later it would lie
        between what it leaves."""
        first = self.trim_heap is None
        if first:
            self.trim_heap = _heap_trimmer()
        return first

    def collect(self) -> None:
        """Empty the free lists of Python, before the pool makes its objects anew beside what lies in them.

        Such a list holds up to 2,000 tuples, those of the events of busy turns, and one of them keeps a whole MiB. For
        its watcher (`collection_watcher`) the collector would take a dict from such a list itself, and put it back.
        """
        watcher = gc.callbacks.pop()
        gc.collect()
        gc.freeze()
        gc.callbacks.append(watcher)

    def trim(self, now_ms: int) -> None:
        """Empty the free lists again, and have the allocators give back what nobody uses."""
        before = resident_bytes()
        if before - self.start_bytes < TIDY_FROM_BYTES:
            return
        began_ns = time.perf_counter_ns()
        self.collect()
        _renew_spare()
        if self.trim_heap is not None:
            self.trim_heap()
        took_us = (time.perf_counter_ns() - began_ns) // 1000
        self.pause.note(took_us, now_ms)
        after = resident_bytes()
        log.info(
            "memory: %.1f MB, %.1f MB less now that few clients are left; it took %.1f ms",
            after / 1e6,
            max(0, before - after) / 1e6,
            took_us / 1e3,
        )


def _heap_trimmer() -> Callable[[], None]:
    """What calls malloc_trim, by the C module of ctypes: its Python face takes 1 MB."""
    try:
        import _ctypes

        this_process = _ctypes.dlopen(None, os.RTLD_NOW)  # type: ignore[arg-type]  # as ctypes does
        malloc_trim = _ctypes.dlsym(this_process, "malloc_trim")
    except (ImportError, OSError, AttributeError):  # a Python without ctypes, or another C library than glibc
        log.debug("this system has no malloc_trim")
        return lambda: None
    return lambda: _ctypes.call_function(malloc_trim, (0,))


def _renew_spare() -> None:
    """Have Python's allocator keep a fresh MiB in reserve, in place of one that the crowd has used.

    Of those that are all free it always keeps one, and all that was ever written to stays in memory. So fill what is
    free, until it asks the system for one more; what is dropped last is given back, and what is dropped first is the
    reserve from now on, of which hardly anything was touched.
    """
    size = virtual_bytes()
    filling: list[bytes] = []
    while len(filling) < FILLING_MAX and virtual_bytes() - size < ARENA_BYTES:
        filling.extend([bytes(FILLING_BYTES) for _ in range(FILLING_STEP)])
    while filling:
        filling.pop()


def resident_bytes() -> int:
    """This process's resident memory; 0 where the system does not tell."""
    return _memory_bytes(1)


def virtual_bytes() -> int:
    """How much memory this process has mapped, resident or not; 0 where the system does not tell."""
    return _memory_bytes(0)


def _memory_bytes(column: int) -> int:
    try:
        with open("/proc/self/statm", "rb") as statm:
            return int(statm.read().split()[column]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def descriptor_limit() -> int:
    """How many files this process may have open; 0: as many as it likes."""
    import resource

    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 0 if soft == resource.RLIM_INFINITY else soft


def lowest_free_descriptor() -> int:
    """The number that the next descriptor will have, which tells how many there are; a huge one where none is left."""
    try:
        descriptor = os.eventfd(0, os.EFD_CLOEXEC)
    except OSError:
        return sys.maxsize
    os.close(descriptor)
    return descriptor


def raise_descriptor_limit(max_connections: int) -> int:
    """Raise the limit on open files to what `max_connections` needs, as far as allowed; how many connections fit."""
    import resource

    wanted = max_connections + DESCRIPTORS_BESIDE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        for limit in (wanted, hard):
            if limit == resource.RLIM_INFINITY:
                continue
            try:
                unlimited = hard == resource.RLIM_INFINITY
                resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard if unlimited else max(limit, hard)))
                break
            except (ValueError, OSError):
                continue  # above the hard limit, and we may not lift that: take the hard limit
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return max_connections
    return max(0, min(max_connections, soft - DESCRIPTORS_BESIDE))
