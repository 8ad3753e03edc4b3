"""A client that sends itself a QoS 0 message every two milliseconds and notes how long each takes, as a process.

In the process of the load it would measure how long that one takes to look at it. Its messages concern no kept session,
so nothing that others have stored should delay them. It shares its core with the load, and goes before it where the
system allows that (as root, by SCHED_FIFO): else its own waits for the core would be counted.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import sys
import time
from typing import Final

from swellmq.bench.durable import connected
from swellmq.bench.generator import CONNACK, SUBACK, connect_packet, publish_packet, subscribe_packet
from swellmq.bench.latency import Latency
from swellmq.bench.obey import obey

EVERY_S: Final = 0.002


class Pinger:
    """One client; `command` is what `obey` gives the words to."""

    def __init__(self, port: int) -> None:
        self.sock = connected(port, connect_packet(b"pinger") + subscribe_packet(b"ping", 0), (CONNACK, SUBACK))
        self.message = publish_packet(b"ping", 0, 0, b"p" * 8)
        with contextlib.suppress(PermissionError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))

    def command(self, words: list[str]) -> dict[str, int]:
        """`start`: ping until the next line comes, whatever it says; percentiles in µs."""
        latency = Latency()
        while not select.select([0], [], [], EVERY_S)[0]:
            begin = time.perf_counter()
            self.sock.sendall(self.message)
            self.sock.recv(len(self.message), socket.MSG_WAITALL)
            latency.add(time.perf_counter() - begin, 1)
        sys.stdin.readline()
        return {name.replace(".", "_"): round(value * 1e3) for name, value in latency.percentiles_ms().items()}


if __name__ == "__main__":
    obey(Pinger(int(sys.argv[1])).command)
