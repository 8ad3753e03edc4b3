"""What a process holds in memory, and the kernel for it beside it: from `/proc`, no process is asked."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")

# Of `/proc/PID/smaps_rollup`. Resident counts each page that is mapped; proportional divides what is shared by those
# that share it; unique is what the process's end would give back.
ROLLUP: Final = {
    "resident_bytes": ("Rss",),
    "proportional_bytes": ("Pss",),
    "unique_bytes": ("Private_Clean", "Private_Dirty"),
}


def process_memory(pid: int) -> dict[str, int]:
    """The memory of a process in bytes: `resident_bytes`, `proportional_bytes` and `unique_bytes`."""
    found = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        name, _, value = line.partition(":")
        if value.endswith(" kB"):
            found[name] = int(value.split()[0]) * 1024
    return {name: sum(found[part] for part in parts) for name, parts in ROLLUP.items()}


def socket_memory() -> dict[str, int]:
    """The kernel's side of TCP: `sockets`, how many there are; `socket_buffer_bytes`, what lies in their buffers."""
    for line in Path("/proc/net/sockstat").read_text().splitlines():
        if line.startswith("TCP:"):
            words = line.split()
            figures = {words[index]: int(words[index + 1]) for index in range(1, len(words) - 1, 2)}
            return {"sockets": figures["alloc"], "socket_buffer_bytes": figures["mem"] * PAGE_BYTES}
    return {"sockets": 0, "socket_buffer_bytes": 0}
