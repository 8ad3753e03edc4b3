"""What a connection, a subscription and a retained message cost: measured here, or where the package was made.

`swellmq plan --measure` writes a file that `load` finds; without it the shipped figures hold, which say where they
come from.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

NOTE_BYTES = 18_000  # a connection in the note that the pool comes from: "15 to 20 KB", and 18 in its tables


@dataclass
class Costs:
    """Bytes for each, without what is under way; `origin` says who measured them, when and on what."""

    origin: str = "shipped with swellmq: Python 3.11, compiled, Linux 6.18 on x86-64, November 2026"
    start_bytes: int = 16_100_000  # the process without connections beyond the preheated 1,024
    connection_bytes: int = 560  # connection and session of a connected client
    subscription_bytes: int = 170  # one topic filter that nobody else has
    retained_bytes: int = 980  # one retained message of 64 bytes under a topic of its own
    tls_bytes: int = 15_000  # one ssl.SSLSocket with its buffers in OpenSSL
    kernel_bytes: int = 3_900  # one accepted TCP socket with its file and its epoll entry, nothing under way
    preheat_ns: int = 100  # one object made by the pool
    connects_per_s: int = 50_000  # accept, CONNECT and CONNACK, for one core

    def broker_bytes(self, connections: int, subscriptions: int, retained: int, tls: bool) -> int:
        """The broker's own memory with so many connections, subscriptions of each, and retained messages in all."""
        each = self.connection_bytes + subscriptions * self.subscription_bytes + (self.tls_bytes if tls else 0)
        return self.start_bytes + connections * each + retained * self.retained_bytes


def path(environment: Mapping[str, str] = os.environ) -> str:
    """Where measured costs are kept: under XDG_STATE_HOME, or ~/.local/state."""
    home = environment.get("XDG_STATE_HOME") or os.path.join(environment.get("HOME", "/"), ".local", "state")
    return os.path.join(home, "swellmq", "costs.json")


def load(file: str) -> Costs:
    """The costs that were measured here, or the shipped ones where the file is missing or none of ours."""
    try:
        with open(file, encoding="utf-8") as opened:
            values = json.load(opened)
    except (OSError, ValueError):
        return Costs()
    types = {one.name: str if one.name == "origin" else int for one in fields(Costs)}
    if not isinstance(values, dict) or any(not isinstance(values.get(name), kind) for name, kind in types.items()):
        return Costs()
    return Costs(**{name: values[name] for name in types})


def save(costs: Costs, file: str) -> None:
    """Write measured costs. Raises OSError where the folder can't be written."""
    os.makedirs(os.path.dirname(file), exist_ok=True)
    unfinished = file + ".new"
    with open(unfinished, "w", encoding="utf-8") as opened:
        json.dump(asdict(costs), opened, indent=2)
        opened.write("\n")
    os.replace(unfinished, file)
