"""`swellmq plan --connections N`: what so many connections need of memory, system and time, before they come."""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Final

from swellmq.cli.arguments import whole
from swellmq.cli.costs import NOTE_BYTES, Costs, load, path, save
from swellmq.errors import SettingsError
from swellmq.limits import BACKLOG
from swellmq.net.pool import growth_sequence
from swellmq.process import DESCRIPTORS_BESIDE
from swellmq.settings import Settings

EPILOG: Final = """\
Memory is what lies still: connections, sessions, subscriptions and retained messages. Messages under way, queues of
clients that are away and socket buffers come on top. `swellmq doctor --connections N` compares this machine with it.
"""
CONNECTIONS_MAX: Final = 10_000_000  # what max_connections may be
COUNT_MAX: Final = 100_000_000
SPARE_PERCENT: Final = 10  # of what the whole system shares: other programs have open files and connections too
EXIT_FAILED: Final = 1
EXIT_BAD_SETTINGS: Final = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Say what a broker with so many connections needs: memory, limits of the system, time."
    parser.epilog = EPILOG
    parser.add_argument(
        "--connections", type=whole(0, CONNECTIONS_MAX), default=10_000, metavar="N", help="connections at once [10000]"
    )
    parser.add_argument(
        "--subscriptions", type=whole(0, COUNT_MAX), default=1, metavar="N", help="subscriptions of each client [1]"
    )
    parser.add_argument(
        "--retained", type=whole(0, COUNT_MAX), default=0, metavar="N", help="retained messages in all [0]"
    )
    parser.add_argument(
        "--rate", type=whole(0, COUNT_MAX), default=1_000, metavar="N", help="arrivals per second [1000]"
    )
    parser.add_argument("--tls", action="store_true", help="every connection is encrypted")
    parser.add_argument("--measure", action="store_true", help="measure on this machine first, and keep the figures")


def run(arguments: argparse.Namespace) -> int:
    file = path()
    if arguments.measure:
        try:
            save(measured(), file)
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"swellmq: the figures could not be taken or kept: {error}", file=sys.stderr)
            return EXIT_FAILED
    try:
        settings = Settings(max_connections=max(1, arguments.connections))
    except SettingsError as error:
        print(f"swellmq: {error}", file=sys.stderr)
        return EXIT_BAD_SETTINGS
    need = Need.of(load(file), arguments.connections, arguments.subscriptions, arguments.retained, arguments.tls)
    print("\n".join([*memory_lines(need), *system_lines(need), *pool_lines(need, settings, max(1, arguments.rate))]))
    return 0


def measured() -> Costs:
    """Measure in a process of its own, whose memory holds nothing else. Raises CalledProcessError where it fails."""
    print("measuring: takes a few seconds", file=sys.stderr)
    command = [sys.executable, "-m", "swellmq.cli.measure"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return Costs(**json.loads(done.stdout))


@dataclass
class Need:
    """What so many connections need. Bytes, and counts of the system's own units."""

    costs: Costs
    connections: int
    subscriptions: int  # of each client
    retained: int  # in all
    tls: bool

    @classmethod
    def of(cls, costs: Costs, connections: int, subscriptions: int = 1, retained: int = 0, tls: bool = False) -> Need:
        return cls(costs, connections, subscriptions, retained, tls)

    @property
    def broker_bytes(self) -> int:
        return self.costs.broker_bytes(self.connections, self.subscriptions, self.retained, self.tls)

    @property
    def kernel_bytes(self) -> int:
        return self.connections * self.costs.kernel_bytes

    @property
    def descriptors(self) -> int:
        """Open files of the broker."""
        return self.connections + DESCRIPTORS_BESIDE

    def sysctls(self) -> dict[str, int]:
        """The least that each sysctl should say; of `net.ipv4.tcp_mem` the last number, in pages."""
        shared = self.descriptors + self.descriptors * SPARE_PERCENT // 100
        return {
            "fs.nr_open": self.descriptors,
            "fs.file-max": shared,
            "fs.epoll.max_user_watches": shared,
            "net.core.somaxconn": min(BACKLOG, max(128, self.connections)),
            "net.ipv4.tcp_max_syn_backlog": min(BACKLOG, max(128, self.connections)),
            # A page for each connection: what the smallest message under way in one direction takes.
            "net.ipv4.tcp_mem": self.connections,
            "net.netfilter.nf_conntrack_max": shared,
        }


def memory_lines(need: Need) -> list[str]:
    """The table of memory, with what each line is made of, and what the design note expected (docs/POOL.md)."""
    costs = need.costs
    rows = [
        ("the process at start", 1, costs.start_bytes),
        ("connections with their sessions", need.connections, costs.connection_bytes),
        ("subscriptions", need.connections * need.subscriptions, costs.subscription_bytes),
        ("retained messages of 64 bytes", need.retained, costs.retained_bytes),
        ("TLS", need.connections if need.tls else 0, costs.tls_bytes),
    ]
    lines = [f"{need.connections} connections", "", "Memory"]
    for name, count, each in rows:
        if count == 1:
            lines.append(f"  {name:32}{megabytes(each):>14}")
        elif count:
            lines.append(f"  {name:32}{megabytes(count * each):>14}   {count} of {each} bytes")
    lines += [
        f"  {'the broker in all':32}{megabytes(need.broker_bytes):>14}",
        f"  {'the kernel, for the sockets':32}{megabytes(need.kernel_bytes):>14}   {costs.kernel_bytes} bytes each",
        f"  {'both':32}{megabytes(need.broker_bytes + need.kernel_bytes):>14}",
        f"  {'as the design note expected':32}{megabytes(need.connections * NOTE_BYTES):>14}   {NOTE_BYTES} bytes each",
        f"  figures: {costs.origin}",
    ]
    return lines


def system_lines(need: Need) -> list[str]:
    """Descriptors, sysctls and ports: bounds to be met, no commands, which would lower what is higher already."""
    least = {"open files (ulimit -n, LimitNOFILE)": need.descriptors, **need.sysctls()}
    remarks = {
        "net.ipv4.tcp_mem": "pages, its last number",
        "net.netfilter.nf_conntrack_max": "where connections are tracked (a firewall, NAT)",
    }
    lines = [
        "",
        f"System, at least; `swellmq doctor --connections {need.connections}` says what is too low, and how to mend it",
    ]
    lines += [f"  {name:36}{value:>10}   {remarks.get(name, '')}".rstrip() for name, value in least.items()]
    addresses = -(-need.connections // PORTS_PER_ADDRESS)
    if addresses > 1:
        lines.append(f"  clients on one machine, as in a load test: {addresses} addresses, and")
        lines.append('  net.ipv4.ip_local_port_range="1024 65535" there, which gives each of them 64512 ports')
    return lines


PORTS_PER_ADDRESS: Final = 64_512


def pool_lines(need: Need, settings: Settings, rate: int) -> list[str]:
    """The steps of the pool up to what is needed, when they come at this rate of arrivals, and what they take."""
    sizes = growth_sequence(settings.pool_initial_size, settings.pool_max_size, *settings.pool_factor)
    lines = ["", f"Pool, at {rate} arrivals per second", f"  {sizes[0]} objects at start"]
    for capacity, following in itertools.pairwise(sizes):
        trigger = capacity * settings.pool_threshold_percent // 100
        if trigger >= need.connections:
            break
        took_ms = (following - capacity) * need.costs.preheat_ns / 1e6
        lines.append(
            f"  {capacity} -> {following} at {trigger} in use, after {trigger / rate:.1f} s; {took_ms:.1f} ms of work"
        )
    if need.connections > sizes[-1]:
        lines.append(f"  {need.connections - sizes[-1]} more objects are made on demand")
    lines.append(f"  all are there after {need.connections / rate:.1f} s")
    if rate > need.costs.connects_per_s:
        least_s = need.connections / need.costs.connects_per_s
        lines.append(
            f"  one core takes about {need.costs.connects_per_s} arrivals per second: {least_s:.1f} s at the least"
        )
    return lines


def megabytes(count: int) -> str:
    """Bytes for reading, in MB or GB of the decimal kind."""
    return f"{count / 1e9:.2f} GB" if count >= 1_000_000_000 else f"{count / 1e6:.1f} MB"
