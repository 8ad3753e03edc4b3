"""A broker without sockets, as a process: all of swellmq above the socket, for more clients than there are descriptors.

    python -m swellmq.bench.memory_transport SUBSCRIBE FIVE [OPTIONS OF serve]

Pool, Connection, broker, sessions and the table by descriptor are those of `swellmq serve`, set up as `serve` does it;
only reading, writing and epoll are replaced. The turn here follows `net/loop.py` phase by phase: what was accepted in
one turn is read in the next. Its time is CPU time, so that other processes on the core do not count, and includes this
driver's own: an upper bound of the broker's.

`arrive N` lets clients connect until there are N, as many in a turn as the loop accepts. `cut` takes all clients away.
Both answer with figures.
"""

from __future__ import annotations

import argparse
import gc
import sys
from time import perf_counter_ns, process_time_ns, thread_time_ns
from typing import Final

from swellmq.bench import BenchError
from swellmq.bench.greeting import greeting
from swellmq.bench.obey import obey
from swellmq.cli.serve import add_arguments, load_settings
from swellmq.connection import Connection
from swellmq.errors import PEER_RESET
from swellmq.limits import ACCEPTS_PER_TURN, EVENTS_PER_TURN
from swellmq.logs import set_up
from swellmq.net.loop import TABLE_SLICE
from swellmq.process import calm_collector, resident_bytes
from swellmq.server import Server
from swellmq.settings import Settings

CONNACK: Final = b"\x20"
FIRST_DESCRIPTOR: Final = 16  # about what a real broker's first client gets


class MemoryTransport:
    """One broker and the turns that drive it. `served` clients hold the descriptors from FIRST_DESCRIPTOR on."""

    def __init__(self, settings: Settings, subscribe: bool, five: bool) -> None:
        self.subscribe = subscribe
        self.five = five
        self.server = Server(settings)
        self.loop = self.server.loop
        self.engine = self.server.broker
        self.turn_state = self.server.turn_state
        self.pool = self.server.pool
        self.pool.preheat()
        self.server.sys_topics.publish(self.turn_state.now_ms, self.pool.statistics())
        self.next_fd = FIRST_DESCRIPTOR
        self.accepted: list[tuple[Connection, bytes]] = []  # in the turn before, with what they will say
        self.answered = 0
        self.turn_longest_ns = 0

    # Commands

    def command(self, words: list[str]) -> dict[str, int]:
        """Do what a line says, and answer with figures."""
        begin_ns, begin_cpu_ns = perf_counter_ns(), process_time_ns()
        self.turn_longest_ns = 0
        if words[0] == "arrive":
            self.arrive(int(words[1]))
        else:
            self.cut()
        figures = self.pool.statistics()
        figures["resident_bytes"] = resident_bytes()
        figures["us"] = (perf_counter_ns() - begin_ns) // 1000
        figures["cpu_us"] = (process_time_ns() - begin_cpu_ns) // 1000
        figures["turn_longest_us"] = self.turn_longest_ns // 1000
        figures["collection_us"] = _collection_us()
        figures["faults"] = len(self.pool.self_check(self.loop.served()))
        return figures

    def arrive(self, connections: int) -> None:
        """Let clients connect until `connections` are served."""
        self.answered = int(self.pool.active)
        while self.answered < connections:
            first = self.next_fd - FIRST_DESCRIPTOR
            count = min(ACCEPTS_PER_TURN, connections - first)
            self._turn([greeting(first + index, self.subscribe, self.five) for index in range(count)], [])
        while self.turn_state.again or self.loop.more:
            self._turn([], [])

    def cut(self) -> None:
        """Let all clients vanish, as many in a turn as epoll tells of."""
        served = self.loop.served()
        for first in range(0, len(served), EVENTS_PER_TURN):
            self._turn([], served[first : first + EVENTS_PER_TURN])
        self.next_fd = FIRST_DESCRIPTOR
        while self.turn_state.again or self.turn_state.close or self.loop.more:
            self._turn([], [])

    # The turn

    def _turn(self, arriving: list[bytes], leaving: list[Connection]) -> None:
        loop, turn, engine = self.loop, self.turn_state, self.engine
        loop.read_clocks()
        turn.again = False
        now_ms = turn.now_ms
        begin_ns = thread_time_ns()
        engine.begin()
        accepted, self.accepted = self.accepted, []
        for connection, data in accepted:
            engine.on_data(connection, data, now_ms)
        for connection in leaving:
            connection.close(PEER_RESET)
        for data in arriving:
            self._accept(data, now_ms)
        engine.tick(now_ms)
        engine.settle(now_ms)
        closing = loop._tell_closed(now_ms)
        engine.seal()
        self._flush()
        for connection in closing:
            loop.table[connection.fd] = None
            self.pool.release(connection)
        turn.watch = []
        loop.more = bool(self.pool.working(now_ms) and self.pool.grow(now_ms))
        self.turn_longest_ns = max(self.turn_longest_ns, thread_time_ns() - begin_ns)

    def _accept(self, data: bytes, now_ms: int) -> None:
        connection = self.pool.acquire(now_ms)
        if connection is None:
            raise BenchError(f"the broker is full at {self.pool.active} connections: --max-connections lifts it")
        connection.fd = self.next_fd
        connection.handler = self.engine
        connection.interest = 1
        while self.next_fd >= len(self.loop.table):
            self.loop.table.extend([None] * TABLE_SLICE)
        self.loop.table[self.next_fd] = connection
        self.next_fd += 1
        self.engine.on_open(connection, now_ms)
        self.accepted.append((connection, data))

    def _flush(self) -> None:
        turn = self.turn_state
        flush, turn.flush = turn.flush + turn.late, []
        turn.late = []
        for connection in flush:
            said = b"".join(connection.outbox or [])
            connection.outbox = None
            connection.outbox_bytes = 0
            if connection.close_reason == 0:
                if said[:1] != CONNACK or said[3] != 0 or (self.subscribe and said[-1] != 1):  # granted QoS 1
                    raise BenchError(f"client {connection.fd - FIRST_DESCRIPTOR} was answered {said.hex()}")
                self.answered += 1


def _collection_us() -> int:
    """How long a full collection takes now: the longest pause that the collector could make."""
    begin_ns = thread_time_ns()
    gc.collect()
    return (thread_time_ns() - begin_ns) // 1000


def main(words: list[str]) -> None:
    """Set up as `swellmq serve` with these options would, then obey."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    settings = load_settings(parser.parse_args(words[2:]))
    del parser
    set_up(settings.log_level, settings.log_format)
    transport = MemoryTransport(settings, words[0] == "1", words[1] == "1")
    calm_collector(transport.server.stats)
    obey(transport.command)


if __name__ == "__main__":
    main(sys.argv[1:])
