"""What this machine allows, as far as it matters to a broker with many connections: limits of the process and sysctls.

Facts only; what they should be is the matter of `plan.py`, and what to do about it of `doctor.py`.
"""

from __future__ import annotations

import resource
from dataclasses import dataclass, field

from swellmq.settings import memory_bytes

UNLIMITED = 1 << 62  # stands for no limit at all

SYSCTLS = (
    "fs.nr_open",
    "fs.file-max",
    "fs.epoll.max_user_watches",
    "net.core.somaxconn",
    "net.ipv4.tcp_max_syn_backlog",
    "net.ipv4.tcp_mem",
    "net.ipv4.ip_local_port_range",
    "net.netfilter.nf_conntrack_max",
    "net.netfilter.nf_conntrack_count",
)


@dataclass
class Machine:
    """The facts of one machine. A sysctl that the system does not have is not in `sysctls`."""

    descriptors_soft: int
    descriptors_hard: int
    memory_bytes: int  # of the control group, or of the machine; 0: unknown
    memory_available_bytes: int
    huge_pages: str  # "always", "madvise", "never" or "" where unknown
    sysctls: dict[str, tuple[int, ...]] = field(default_factory=dict)

    @classmethod
    def read(cls, root: str = "/") -> Machine:
        """The facts as they are now; `root` is where proc and sys are found."""
        soft, hard = (
            UNLIMITED if limit == resource.RLIM_INFINITY else limit
            for limit in resource.getrlimit(resource.RLIMIT_NOFILE)
        )
        machine = cls(soft, hard, memory_bytes(root), _available(root), _huge_pages(root))
        for name in SYSCTLS:
            words = _text(root + "proc/sys/" + name.replace(".", "/")).split()
            if words and all(word.isdecimal() for word in words):
                machine.sysctls[name] = tuple(int(word) for word in words)
        return machine

    def sysctl(self, name: str, index: int = 0) -> int | None:
        """One number of a sysctl; None where the system does not have it."""
        numbers = self.sysctls.get(name)
        return numbers[index] if numbers is not None and index < len(numbers) else None


def _available(root: str) -> int:
    for line in _text(root + "proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def _huge_pages(root: str) -> str:
    """The choice in brackets of "always [madvise] never"."""
    return _text(root + "sys/kernel/mm/transparent_hugepage/enabled").partition("[")[2].partition("]")[0]


def _text(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
