"""The connection pool: how it is, how it came there, and whether it is sound."""

from __future__ import annotations

import os
import stat
from collections.abc import Generator
from typing import Final

import msgspec

from swellmq.admin.route import Route
from swellmq.broker.session import Session
from swellmq.connection import Connection
from swellmq.net.pool import growth_sequence
from swellmq.server import Server

OBJECTS_PER_SLICE: Final = 500
PLACES_PER_SLICE: Final = 200  # of the table by descriptor: the system is asked about each that is taken


class PoolSettings(msgspec.Struct):
    """What the pool goes by, and the capacities that it grows through."""

    mode: str
    initial_size: int
    max_size: int
    max_connections: int
    threshold_percent: int
    factor: str
    shrink: bool
    shrink_after_s: int
    memory_max_bytes: int
    sequence: list[int]


class PoolAnswer(msgspec.Struct):
    """The pool: `state` is in its own terms, docs/POOL.md."""

    state: dict[str, int]
    settings: PoolSettings


class Faults(msgspec.Struct):
    """What the self-check has found, a sentence each; empty where all is well."""

    faults: list[str]


def pool(server: Server) -> PoolAnswer:
    """The state of the pool and its settings."""
    settings = server.settings
    numerator, denominator = settings.pool_factor
    sequence: list[int] = []
    if settings.pool_mode == "dynamic":
        sequence = growth_sequence(settings.pool_initial_size, settings.pool_max_size, numerator, denominator)
    return PoolAnswer(
        state=server.pool.statistics(),
        settings=PoolSettings(
            mode=settings.pool_mode,
            initial_size=settings.pool_initial_size,
            max_size=settings.pool_max_size,
            max_connections=settings.max_connections,
            threshold_percent=settings.pool_threshold_percent,
            factor=f"{numerator}/{denominator}",
            shrink=settings.pool_shrink,
            shrink_after_s=settings.pool_shrink_after_s,
            memory_max_bytes=settings.pool_memory_max_bytes,
            sequence=sequence,
        ),
    )


def self_check(server: Server) -> Generator[None, None, Faults]:
    """Look for what is wrong with the pool: broken invariants, and connections whose socket is gone.

    The same as on SIGUSR1, but in slices, while clients come and go: so each slice is checked for itself, and how many
    connections there are is compared only where none has come or gone meanwhile.
    """
    pool, loop = server.pool, server.loop
    faults = pool.size_faults()
    for begin in range(0, len(pool.free), OBJECTS_PER_SLICE):
        faults += pool.idle_faults(begin, begin + OBJECTS_PER_SLICE, set())
        yield
    before = _comings_and_goings(server)
    served = 0
    for begin in range(0, len(loop.table), PLACES_PER_SLICE):
        for connection in loop.table[begin : begin + PLACES_PER_SLICE]:
            if connection is None:
                continue
            served += connection.handler is not loop.refuser
            if connection.handler is None:
                faults.append(f"the connection of descriptor {connection.fd} is idle, but has it still")
            elif not _has_socket(connection):
                session = connection.owner
                name = f"client {session.name()}" if isinstance(session, Session) else "no client"
                faults.append(f"descriptor {connection.fd} is gone, but {name} still has its connection")
        yield
    if before == _comings_and_goings(server) and served != pool.active:
        faults.append(f"active {pool.active} but {served} connections have a descriptor")
    return Faults(faults)


def _comings_and_goings(server: Server) -> tuple[int, int, int]:
    stats = server.stats
    return (
        int(stats.connections_accepted),
        int(stats.connections_refused),
        sum(int(closed.count) for closed in stats.connections_closed),
    )


def _has_socket(connection: Connection) -> bool:
    try:
        return stat.S_ISSOCK(os.fstat(connection.fd).st_mode)
    except OSError:
        return False


ROUTES: Final = (
    Route("GET", "/api/v1/pool", pool),
    Route("POST", "/api/v1/pool/self-check", self_check),
)
