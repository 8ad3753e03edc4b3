"""How the broker does: one answer for the top of a page, and all counters."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import msgspec

from swellmq.admin.api.watched import Alarm, active_alarms
from swellmq.admin.route import Route
from swellmq.process import resident_bytes
from swellmq.server import Server
from swellmq.version import VERSION, compiled


class Connections(msgspec.Struct):
    """The pool's terms, docs/POOL.md; `connected` are clients, whose CONNECT was accepted, and `overflow_total` counts
    the objects that were ever made on demand."""

    active: int
    connected: int
    capacity: int
    idle: int
    overflow: int
    overflow_total: int
    max_size: int
    max_connections: int


class Memory(msgspec.Struct):
    """Resident memory of the process, and what it may grow to before new clients are refused (0: no bound)."""

    resident_bytes: int
    budget_bytes: int


class Rates(msgspec.Struct):
    """What was counted in the last whole second."""

    publishes_received: int
    publishes_sent: int
    bytes_received: int
    bytes_sent: int
    connects: int


class Turn(msgspec.Struct):
    """How long the turns of the loop take: half of those of the last 10 s, 99 of 100 of them, the longest lately (one
    to two minutes), and the longest ever."""

    p50_us: int
    p99_us: int
    recent_us: int
    longest_us: int


class Overview(msgspec.Struct):
    """How the broker does."""

    name: str
    version: str
    build: str
    started_at: datetime
    uptime_s: int
    connections: Connections
    sessions: int
    subscriptions: int
    retained: int
    memory: Memory
    rates: Rates
    turn: Turn
    alarms: list[Alarm]


def overview(server: Server) -> Overview:
    """How the broker does, in one answer."""
    core = server.broker.core
    pool = server.pool
    clock = server.turn_state
    history = server.watch.history
    assert history is not None  # it is kept wherever there is admin
    rates = history.rates()
    return Overview(
        name="swellmq",
        version=VERSION,
        build="compiled" if compiled() else "interpreted",
        started_at=moment(clock.wall_ms - clock.now_ms),
        uptime_s=clock.now_ms // 1_000,
        connections=Connections(
            active=int(pool.active),
            connected=int(core.clients),
            capacity=int(pool.capacity),
            idle=len(pool.free),
            overflow=int(pool.overflow),
            overflow_total=int(pool.overflow_total),
            max_size=int(pool.max_size),
            max_connections=int(pool.max_connections),
        ),
        sessions=len(core.sessions),
        subscriptions=int(core.topics.count),
        retained=int(core.retained.count),
        memory=Memory(resident_bytes(), int(server.overload.memory.budget_bytes)),
        rates=Rates(**{name: rates[name] for name in Rates.__struct_fields__}),
        turn=Turn(**history.turn()),
        alarms=active_alarms(server),
    )


def moment(wall_ms: int) -> datetime:
    """A moment of the wall clock, to the millisecond."""
    return datetime.fromtimestamp(wall_ms / 1_000, UTC)


def statistics(server: Server) -> dict[str, int]:
    """Every counter and size there is, by name. Names may come with new versions; those that are there stay."""
    return server.statistics()


ROUTES: Final = (
    Route("GET", "/api/v1/overview", overview),
    Route("GET", "/api/v1/statistics", statistics),
)
