"""What there is to measure on: cores, open files, and what the machine is called."""

from __future__ import annotations

import os
import platform
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Final

DESCRIPTORS_BESIDE: Final = 64  # open files that are no connections


@dataclass(frozen=True)
class Machine:
    """The broker has one core, the load another; on a machine that gives one core only they are the same."""

    broker_core: int
    load_core: int
    connections_max: int  # that one process can open


def prepare_machine() -> Machine:
    """Raise this process's limit on open files as far as it goes, and put it on the core of the load."""
    cores = sorted(os.sched_getaffinity(0))
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    room = hard - DESCRIPTORS_BESIDE if hard != resource.RLIM_INFINITY else 1_000_000
    os.sched_setaffinity(0, {cores[-1]})
    return Machine(cores[0], cores[-1], room)


def describe_machine() -> str:
    """The processor and the kernel."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    model = models[0].partition(": ")[2] if models else platform.machine()
    return f"{model}, Linux {platform.release()}"


def runnable_ns(pid: int) -> int:
    """For how long the threads of a process were running or waiting for a core, in ns. 0 where Linux does not tell."""
    total = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        try:
            running, waiting, _slices = (thread / "schedstat").read_text().split()
        except (OSError, ValueError):  # the thread has ended, or the kernel keeps no such figures
            continue
        total += int(running) + int(waiting)
    return total


def kernel_bytes() -> int:
    """The kernel's memory for its own objects, sockets among them."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Slab:"))
