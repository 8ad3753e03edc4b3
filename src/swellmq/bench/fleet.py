"""Many clients that are only there, as a process of their own: four system calls each.

    python -m swellmq.bench.fleet PORT SUBSCRIBE FIVE

`arrive N AT_ONCE RATE` lets clients connect until there are N: AT_ONCE of them before the first answer is read, and
RATE a second, or as fast as they can for 0. `cut` closes all at once, by a reset. Both answer how long it took.
"""

from __future__ import annotations

import socket
import sys
import time

from swellmq.bench.generator import close_connections, open_connections
from swellmq.bench.greeting import greeting
from swellmq.bench.obey import obey


class Fleet:
    """Clients of one broker, in the order in which they came."""

    def __init__(self, port: int, subscribe: bool, five: bool) -> None:
        self.port = port
        self.subscribe = subscribe
        self.five = five
        self.sockets: list[socket.socket] = []

    def command(self, words: list[str]) -> dict[str, int]:
        """Do what a line says, and answer with figures."""
        begin_ns = time.perf_counter_ns()
        if words[0] == "arrive":
            self.arrive(int(words[1]), int(words[2]), int(words[3]))
        else:
            close_connections(self.sockets)
            self.sockets = []
        return {"connections": len(self.sockets), "us": (time.perf_counter_ns() - begin_ns) // 1000}

    def arrive(self, connections: int, at_once: int, rate: int) -> None:
        """Let clients connect until there are `connections`. Raises LoadError where one is refused."""
        begin = time.monotonic()
        there = len(self.sockets)
        step = at_once if rate else connections
        for start in range(there, connections, max(1, step)):
            if rate:
                time.sleep(max(0.0, begin + (start - there) / rate - time.monotonic()))
            numbers = range(start, min(connections, start + step))
            greetings = [greeting(number, self.subscribe, self.five) for number in numbers]
            self.sockets += open_connections(self.port, greetings, at_once, start)


def main(words: list[str]) -> None:
    """Obey until stdin ends; the clients end with the process."""
    obey(Fleet(int(words[0]), words[1] == "1", words[2] == "1").command)


if __name__ == "__main__":
    main(sys.argv[1:])
