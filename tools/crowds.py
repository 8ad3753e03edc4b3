"""What crowds of clients leave in the memory of a broker whose pool shrinks, as a table in Markdown.

    .venv/bin/python -P tools/crowds.py            all of CROWDS: some ten minutes
    .venv/bin/python -P tools/crowds.py 1 3        some of them, by number

Each gets a broker of its own, whose pool goes a step down after a second of calm. All clients of a crowd close at once;
what is left is read once the pool has come down to where it began.
"""

from __future__ import annotations

import random
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from swellmq.bench.generator import (
    close_connections,
    connect_packet,
    open_connections,
    publish_packet,
    subscribe_packet,
)

SHRINKING = ("--pool.shrink", "--pool.shrink-after-s", "1")
PAGE_BYTES = resource.getpagesize()
BLOCK = 200  # clients that come before the first of them is answered, where they come as fast as they can
MESSAGES = 1_000  # between two looks at what has come back
GIVE_UP_S = 120


@dataclass
class Crowd:
    """Who comes, and how."""

    clients: int
    at_once: int = 1  # come before one is answered
    subscribed: bool = True
    talking: bool = False  # messages to each other while they are here, with QoS 0 and 1
    stay_s: float = 13
    times: int = 1

    def __str__(self) -> str:
        """In words."""
        words = [f"{self.clients:,}", "at full speed" if self.at_once > 1 else "one by one"]
        words += ["stay a minute"] * (self.stay_s == 60) + ["no subscription"] * (not self.subscribed)
        return ", ".join(words + ["messages"] * self.talking + ["twice"] * (self.times > 1))


CROWDS = (
    Crowd(5_000),
    Crowd(9_000),
    Crowd(15_000),
    Crowd(5_000, BLOCK),
    Crowd(15_000, BLOCK),
    Crowd(5_000, talking=True),
    Crowd(9_000, talking=True),
    Crowd(15_000, talking=True),
    Crowd(9_000, subscribed=False),
    Crowd(15_000, BLOCK, subscribed=False),
    Crowd(15_000, BLOCK, times=2),
    Crowd(9_000, talking=True, times=2),
    Crowd(15_000, stay_s=60),
)


def main() -> int:
    numbers = [int(word) for word in sys.argv[1:]] or range(1, len(CROWDS) + 1)
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print("| crowd | start | full | left | over the start |\n| --- | --- | --- | --- | --- |")
    for number in numbers:
        crowd = CROWDS[number - 1]
        start, full, left = measure(crowd)
        over = f"{(left / start - 1) * 100:.1f} %"
        print(f"| {crowd} | {start / 1e6:.2f} MB | {full / 1e6:.2f} MB | {left / 1e6:.2f} MB | {over} |", flush=True)
    return 0


def measure(crowd: Crowd) -> tuple[int, int, int]:
    """The broker's resident memory before, with all of them, and after, in bytes."""
    with tempfile.NamedTemporaryFile() as file:
        log = Path(file.name)
        serve = [sys.executable, "-P", "-m", "swellmq", "serve", "--port", "0", *SHRINKING]
        broker = subprocess.Popen(serve, stderr=file)
        try:
            said = await_line(log, " memory: ")
            found = re.search(r"listening on 127\.0\.0\.1:(\d+)", said)
            assert found is not None, said
            time.sleep(1)
            start, full = resident_bytes(broker.pid), 0
            for time_number in range(1, crowd.times + 1):
                clients = arrive(crowd, int(found[1]))
                if crowd.talking:
                    talk(clients, crowd.stay_s)
                else:
                    time.sleep(crowd.stay_s)
                full = max(full, resident_bytes(broker.pid))
                close_connections(clients)
                await_line(log, "->1024 (calm", time_number)
            time.sleep(1)  # the objects are made anew within some turns
            return start, full, resident_bytes(broker.pid)
        finally:
            broker.send_signal(signal.SIGTERM)
            broker.wait()


def await_line(log: Path, part: str, times: int = 1) -> str:
    """All that the broker has said, once it has said this so many times."""
    give_up = time.monotonic() + GIVE_UP_S
    while (said := log.read_text()).count(part) < times:
        if time.monotonic() > give_up:
            raise SystemExit(said)
        time.sleep(0.1)
    return said


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES


def topic_of(number: int) -> bytes:
    return b"fleet/%08d/cmd" % number


def arrive(crowd: Crowd, port: int) -> list[socket.socket]:
    greetings = [connect_packet(b"device-%08d" % number) for number in range(crowd.clients)]
    if crowd.subscribed:
        greetings = [
            greeting + subscribe_packet(topic_of(number), number & 1) for number, greeting in enumerate(greetings)
        ]
    return open_connections(port, greetings, crowd.at_once)


def talk(clients: list[socket.socket], seconds: float) -> None:
    """Have them send each other messages; those that get theirs with QoS 1 acknowledge none of them."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        touched: set[int] = set()
        for count in range(MESSAGES):
            sender, receiver = random.randrange(len(clients)), random.randrange(len(clients))
            payload = b"x" * random.randrange(20, 90)
            clients[sender].sendall(publish_packet(topic_of(receiver), count & 1, 1 + count, payload))
            touched |= {sender, receiver}
        for number in touched:
            try:
                clients[number].recv(65_536, socket.MSG_DONTWAIT)
            except BlockingIOError:
                pass


if __name__ == "__main__":
    sys.exit(main())
