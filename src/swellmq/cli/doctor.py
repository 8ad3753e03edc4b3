"""`swellmq doctor`: what on this machine stands in the way of so many connections, and how to mend each."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from typing import Final

from swellmq.cli.arguments import whole
from swellmq.cli.costs import Costs, load, path
from swellmq.cli.machine import UNLIMITED, Machine
from swellmq.cli.plan import CONNECTIONS_MAX, Need, megabytes
from swellmq.errors import SettingsError
from swellmq.settings import Settings
from swellmq.version import compiled

GOOD: Final = "ok"
NOTE: Final = "note"  # worth knowing, but nothing fails for it
BAD: Final = "BAD"
EXIT_SICK: Final = 1
EXIT_BAD_SETTINGS: Final = 2

# What happens where a sysctl is too low.
SYSCTL_MEANINGS: Final = {
    "fs.nr_open": "no process may have more open files, whatever its ulimit",
    "fs.file-max": "the whole system has no more open files",
    "fs.epoll.max_user_watches": "a connection past it can't be watched, and is closed",
    "net.core.somaxconn": "fewer arrivals may wait for being accepted; a storm is answered with timeouts",
    "net.ipv4.tcp_max_syn_backlog": "fewer arrivals may be half open; a storm is answered with timeouts",
    "net.ipv4.tcp_mem": "the kernel drops segments once all buffers together take more pages",
    "net.netfilter.nf_conntrack_max": "connections are tracked here, and those past it are dropped without a word",
}


@dataclass
class Finding:
    """One thing that was looked at."""

    verdict: str
    name: str
    found: str
    wanted: str
    remedy: str = ""  # "" where all is well


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Look at what this machine allows, and say how to mend what is too little. 0: all is well."
    parser.add_argument("-c", "--config", metavar="FILE", help="a configuration in TOML")
    parser.add_argument(
        "--connections", type=whole(1, CONNECTIONS_MAX), metavar="N", help="instead of max_connections of the settings"
    )


def run(arguments: argparse.Namespace) -> int:
    flags = {} if arguments.connections is None else {"max_connections": str(arguments.connections)}
    try:
        settings = Settings.load(arguments.config, os.environ, flags)
    except SettingsError as error:
        print(f"swellmq: {error}", file=sys.stderr)
        return EXIT_BAD_SETTINGS
    findings = examine(Machine.read(), settings.max_connections, load(path()), compiled())
    print(f"for max_connections = {settings.max_connections} (--connections N asks for another number)")
    print("\n".join(report(findings)))
    return EXIT_SICK if any(finding.verdict == BAD for finding in findings) else 0


def examine(machine: Machine, connections: int, costs: Costs, is_compiled: bool) -> list[Finding]:
    """All findings, for so many connections with one subscription each."""
    need = Need.of(costs, connections)
    findings = [_build(is_compiled), _open_files(machine, need), _memory(machine, need)]
    findings += [_sysctl(machine, name, wanted) for name, wanted in need.sysctls().items()]
    return [*findings, _ports(machine, connections), _huge_pages(machine)]


def report(findings: list[Finding]) -> list[str]:
    """A table, with the remedy under each line that needs one."""
    found_width = max(len(finding.found) for finding in findings)
    lines = []
    for finding in findings:
        wanted = f"wanted: {finding.wanted}" if finding.wanted else ""
        lines.append(f"{finding.verdict:5} {finding.name:32} {finding.found:{found_width}}  {wanted}".rstrip())
        if finding.remedy:
            lines.append(f"{'':6}{finding.remedy}")
    return lines


def _build(is_compiled: bool) -> Finding:
    if is_compiled:
        return Finding(GOOD, "build", "compiled by mypyc", "compiled")
    remedy = "a third of the speed: install gcc and python3-dev, then install swellmq again"
    return Finding(NOTE, "build", "interpreted", "compiled", remedy)


def _open_files(machine: Machine, need: Need) -> Finding:
    """The hard limit counts: `serve` raises the soft one itself, and as root the hard one too."""
    wanted = need.descriptors
    finding = Finding(GOOD, "open files (ulimit -Hn)", _number(machine.descriptors_hard), str(wanted))
    if machine.descriptors_hard < wanted:
        finding.verdict = BAD
        finding.remedy = (
            f"`ulimit -n {wanted}` as root, LimitNOFILE={wanted} in a systemd unit,"
            f" `docker run --ulimit nofile={wanted}`"
        )
    return finding


def _memory(machine: Machine, need: Need) -> Finding:
    wanted = need.broker_bytes + need.kernel_bytes
    finding = Finding(GOOD, "memory", megabytes(machine.memory_bytes), megabytes(wanted))
    if machine.memory_bytes and machine.memory_bytes < wanted:
        finding.verdict = BAD
        finding.remedy = "lower max_connections, or give the machine or the control group (memory.max) more"
    elif machine.memory_available_bytes and machine.memory_available_bytes < wanted:
        finding.verdict = NOTE
        finding.found += f", {megabytes(machine.memory_available_bytes)} available"
        finding.remedy = "other programs hold the rest now"
    return finding


def _sysctl(machine: Machine, name: str, wanted: int) -> Finding:
    numbers = machine.sysctls.get(name)
    if numbers is None:
        return Finding(GOOD, name, "not there", "")
    found = numbers[-1]
    finding = Finding(GOOD, name, " ".join(_number(number) for number in numbers), str(wanted))
    if found < wanted:
        value = f'"{wanted // 2} {wanted * 3 // 4} {wanted}"' if name == "net.ipv4.tcp_mem" else str(wanted)
        finding.verdict = BAD
        finding.remedy = (
            f"{SYSCTL_MEANINGS[name]}: `sysctl -w {name}={value}`, and in /etc/sysctl.d/swellmq.conf to keep it"
        )
    return finding


def _ports(machine: Machine, connections: int) -> Finding:
    """Only clients need them, so they matter for load tests and bridges."""
    low, high = machine.sysctl("net.ipv4.ip_local_port_range"), machine.sysctl("net.ipv4.ip_local_port_range", 1)
    if low is None or high is None:
        return Finding(GOOD, "net.ipv4.ip_local_port_range", "not there", "")
    ports = high - low + 1
    finding = Finding(GOOD, "net.ipv4.ip_local_port_range", f"{low} {high}", "")
    if ports < connections:
        finding.verdict = NOTE
        finding.remedy = (
            f"clients on one address open {ports} connections to one port of the broker at the most; a load test takes"
            ' more addresses, or `sysctl -w net.ipv4.ip_local_port_range="1024 65535"`'
        )
    return finding


def _huge_pages(machine: Machine) -> Finding:
    finding = Finding(GOOD, "transparent huge pages", machine.huge_pages or "unknown", "madvise or never")
    if machine.huge_pages == "always":
        finding.verdict = NOTE
        finding.remedy = (
            "memory is taken by 2 MiB and hardly ever given back:"
            " `echo madvise > /sys/kernel/mm/transparent_hugepage/enabled`"
        )
    return finding


def _number(number: int) -> str:
    return "unlimited" if number >= UNLIMITED else str(number)
