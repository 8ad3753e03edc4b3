"""A churn soak: clients connect, subscribe, publish and vanish in twelve ways, and nothing may be left of them.

    .venv/bin/python tools/soak.py 200000

starts a broker, drives so many lives through it and looks at what it says of itself on SIGUSR1: no connection, no
session, every object of the pool idle, no overflow, a clean self-check, and memory that is flat over the second half.
Ends with 1 and says what is wrong where that does not hold. `make soak` calls it.
"""

from __future__ import annotations

import argparse
import queue
import random
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable

BATCH = 64  # lives at a time
SAMPLES = 20  # looks at the memory
FLAT_PERCENT = 3  # the second half may rise by so much, or by FLAT_MB
FLAT_MB = 1.0
PATIENCE_S = 20.0
TOLD = ("listening on", "[STATUS]", "[POOL] Self-check", "stopped")  # lines of the log that are waited for
STATUS = re.compile(
    r"active (\d+), connected (\d+), idle (\d+), overflow (\d+), capacity (\d+), sessions (\d+), RSS ([\d.]+) MB"
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lives", type=int, nargs="?", default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    faults = soak(arguments.lives, arguments.seed, print)
    for fault in faults:
        print("FAULT: " + fault)
    return 1 if faults else 0


def soak(lives: int, seed: int, say: Callable[[str], None]) -> list[str]:
    """Run so many lives; what is wrong at the end, a sentence each."""
    rng = random.Random(seed)
    with Broker() as broker:
        churn = Churn(broker.port, rng)
        resident_mb: list[float] = []
        began = time.monotonic()
        done = 0
        while done < lives:
            count = min(BATCH, lives - done)
            churn.batch(count)
            done += count
            if done * SAMPLES // lives > len(resident_mb):
                resident_mb.append(broker.resident_mb())
                rate = done / (time.monotonic() - began)
                say(f"{done} lives, {rate:.0f} a second, RSS {resident_mb[-1]:.1f} MB")
        churn.leave()
        status = broker.settled()
        faults = broker.stop()
    say("at the end: " + ", ".join(f"{name} {value}" for name, value in status.items()))
    for name in ("active", "connected", "overflow", "sessions"):
        if status[name]:
            faults.append(f"{name} is {status[name]}, not 0")
    if status["idle"] != status["capacity"]:
        faults.append(f"idle {status['idle']} is not capacity {status['capacity']}")
    half = resident_mb[len(resident_mb) // 2 :]
    if half and half[-1] > half[0] * (1 + FLAT_PERCENT / 100) and half[-1] - half[0] > FLAT_MB:
        faults.append(f"memory rose from {half[0]:.1f} to {half[-1]:.1f} MB in the second half")
    return faults


class Broker:
    """`swellmq serve` in a process of its own."""

    def __enter__(self) -> Broker:
        serve = [sys.executable, "-m", "swellmq", "serve", "--port", "0", "--status-interval-s", "0"]
        serve += ["--pool.initial-size", "32", "--limits.session-expiry-3-s", "1"]
        self.process = subprocess.Popen(serve, stderr=subprocess.PIPE, text=True)
        self.lines: queue.Queue[str] = queue.Queue()
        self.faults: list[str] = []
        self.reader = threading.Thread(target=self.read_log, daemon=True)
        self.reader.start()
        self.port = int(self.line("listening on").rpartition(":")[2])
        return self

    def __exit__(self, *_exception: object) -> None:
        self.process.kill()
        self.process.wait()
        self.reader.join()

    def read_log(self) -> None:
        """Take in the log: a pipe that nobody reads is full after a thousand protocol errors, and the broker waits."""
        assert self.process.stderr is not None
        with self.process.stderr as log:
            for line in log:
                if any(word in line for word in TOLD):
                    self.lines.put(line.strip())
                if "a bug of ours" in line or "Traceback" in line:
                    self.faults.append(line.strip())
        self.lines.put("")

    def line(self, text: str) -> str:
        """The next line of the log that has `text` in it."""
        while True:
            line = self.lines.get(timeout=PATIENCE_S)
            if text in line:
                return line
            if not line:
                raise RuntimeError("the broker has ended")

    def resident_mb(self) -> float:
        with open(f"/proc/{self.process.pid}/statm", "rb") as statm:
            return int(statm.read().split()[1]) * 4096 / 1e6

    def status(self) -> dict[str, int]:
        """What it says of its pool on SIGUSR1."""
        self.process.send_signal(signal.SIGUSR1)
        found = STATUS.search(self.line("[STATUS]"))
        assert found is not None
        names = ("active", "connected", "idle", "overflow", "capacity", "sessions")
        return {name: int(number) for name, number in zip(names, found.groups()[:-1], strict=True)}

    def settled(self) -> dict[str, int]:
        """The status once nothing moves any more: sessions that are kept a second have ended."""
        give_up = time.monotonic() + PATIENCE_S
        while True:
            status = self.status()
            self.line("[POOL] Self-check")
            if time.monotonic() > give_up or not (status["active"] or status["sessions"]):
                return status
            select.select([], [], [], 0.1)

    def stop(self) -> list[str]:
        """End it; what its log tells that it should not."""
        self.process.send_signal(signal.SIGUSR1)
        check = self.line("[POOL] Self-check").partition("Self-check: ")[2]
        faults = [] if check == "nothing wrong" else ["self-check: " + check]
        self.process.terminate()
        self.line("stopped")
        return faults + self.faults


def connect_packet(name: bytes, clean: bool = True, will: bool = False, keep_alive: int = 60) -> bytes:
    flags = (2 if clean else 0) | (4 if will else 0)
    body = b"\x00\x04MQTT\x04" + bytes([flags]) + keep_alive.to_bytes(2, "big") + text(name)
    if will:
        body += text(b"wills/" + name) + text(b"gone")
    return packet(0x10, body)


def packet(first: int, body: bytes) -> bytes:
    length, left = b"", len(body)
    while True:
        left, low = left >> 7, left & 0x7F
        length += bytes([low | 0x80 if left else low])
        if not left:
            return bytes([first]) + length + body


def text(value: bytes) -> bytes:
    return len(value).to_bytes(2, "big") + value


class Churn:
    """Clients that come, do something and vanish, each in a way that chance picks."""

    def __init__(self, port: int, rng: random.Random) -> None:
        self.address = ("127.0.0.1", port)
        self.rng = rng
        self.number = 0
        self.stalled: list[socket.socket] = []  # those that never read; the last few stay a while
        self.ways = [
            self.says_goodbye,
            self.closes,
            self.resets,
            self.says_nothing,
            self.sends_half_a_connect,
            self.sends_rubbish,
            self.connects_twice,
            self.is_taken_over,
            self.shuts_down_one_side,
            self.vanishes_within_a_publish,
            self.never_reads,
            self.leaves_a_session,
        ]

    def batch(self, count: int) -> None:
        """So many lives: all come, then all vanish, in another order."""
        lives = [(self.rng.choice(self.ways), self.arrive()) for _ in range(count)]
        self.rng.shuffle(lives)
        for way, client in lives:
            way(client)

    def leave(self) -> None:
        """The last ones vanish too."""
        for client in self.stalled:
            client.close()

    def arrive(self) -> socket.socket:
        return socket.create_connection(self.address, PATIENCE_S)

    def name(self) -> bytes:
        self.number += 1
        return b"soak-%d" % self.number

    def enter(self, client: socket.socket, clean: bool = True, will: bool = False, name: bytes = b"") -> bytes:
        """CONNECT, a subscription of its own and a common one, and a message to itself; its client id."""
        name = name or self.name()
        filters = text(b"soak/" + name) + b"\x01" + text(b"soak/+/all") + b"\x00"
        message = packet(0x32, text(b"soak/" + name) + b"\x00\x02" + b"hello")
        client.sendall(connect_packet(name, clean, will) + packet(0x82, b"\x00\x01" + filters) + message)
        expected = 4 + 6 + 4 + len(message)  # CONNACK, SUBACK, PUBACK and the message
        arrived = 0
        while arrived < expected:
            data = client.recv(expected - arrived)
            assert data, "the broker has closed"
            arrived += len(data)
        return name

    def until_closed(self, client: socket.socket) -> None:
        try:
            while client.recv(65_536):
                pass
        except ConnectionResetError:
            pass
        client.close()

    # The ways

    def says_goodbye(self, client: socket.socket) -> None:
        self.enter(client)
        client.sendall(b"\xe0\x00")
        self.until_closed(client)

    def closes(self, client: socket.socket) -> None:
        self.enter(client, will=True)
        client.close()

    def resets(self, client: socket.socket) -> None:
        self.enter(client, will=True)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()

    def says_nothing(self, client: socket.socket) -> None:
        client.close()

    def sends_half_a_connect(self, client: socket.socket) -> None:
        client.sendall(connect_packet(self.name())[: self.rng.randrange(1, 20)])
        client.close()

    def sends_rubbish(self, client: socket.socket) -> None:
        if self.rng.random() < 0.5:
            self.enter(client)
        client.sendall(self.rng.randbytes(30).replace(b"\x10", b"\x00") + b"\xff" * 10)
        client.shutdown(socket.SHUT_WR)
        self.until_closed(client)

    def connects_twice(self, client: socket.socket) -> None:
        self.enter(client)
        client.sendall(connect_packet(b"again"))
        self.until_closed(client)

    def is_taken_over(self, client: socket.socket) -> None:
        name = self.enter(client)
        other = self.arrive()
        self.enter(other, name=name)
        self.until_closed(client)
        other.close()

    def shuts_down_one_side(self, client: socket.socket) -> None:
        self.enter(client)
        client.shutdown(socket.SHUT_WR)
        self.until_closed(client)

    def vanishes_within_a_publish(self, client: socket.socket) -> None:
        self.enter(client)
        large = packet(0x30, text(b"soak/large/all") + bytes(200_000))
        client.sendall(large[: self.rng.randrange(10, 150_000)])
        client.close()

    def never_reads(self, client: socket.socket) -> None:
        """It asks for a lot of messages and takes none; the broker's backlog for it goes when it does."""
        name = self.enter(client)
        client.sendall(packet(0x30, text(b"soak/" + name) + bytes(5_000)) * 20)
        self.stalled.append(client)
        if len(self.stalled) > BATCH:
            self.stalled.pop(0).close()

    def leaves_a_session(self, client: socket.socket) -> None:
        """It is kept for a second with a message in its queue; now and then its client comes back for it."""
        name = self.enter(client, clean=False)
        client.close()
        if self.rng.random() < 0.5:
            client = self.arrive()
            client.sendall(connect_packet(name, self.rng.random() < 0.5))
            client.recv(4)
            client.close()


if __name__ == "__main__":
    sys.exit(main())
