"""What watching costs the broker, in instructions: the same load counted by valgrind with and without it.

    python tools/watching_cost.py --without FOLDER     copy the sources there, with all that watches cut out
    python tools/watching_cost.py WITH WITHOUT         count, with the Pythons in which the two were installed

Times differ by some percent between two runs, instructions do not, so that this may run beside anything. Only those of
the process count, none of the kernel's: the share of a broker's whole CPU time is smaller than what is told here. Those
of malloc in the C library are left out. The exit code is 1 where watching adds more than 2 % to any load.

What always watches: samples of how long messages take, the histograms of turns and of connects, and the look once a
second for alarms. With `admin` also: who talks most, and the history. Receipts are counted where somebody asks, every
30 s at the most, and told by themselves. Plain counters are in all of them: `$SYS` needs them.

The broker runs in one process with its clients, over TCP, and only what its turns take is counted. Its clock is a
counter that goes as fast as the load went without valgrind, so that a second has as many samples, and as many messages
between them, as it would have.
"""

from __future__ import annotations

import argparse
import ctypes
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from swellmq.server import Server

ROOT: Final = Path(__file__).parents[1]
COPIED: Final = ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "src")

# What watches on the way of a message or a client, and what stands there without it. Under src/swellmq.
CUTS: Final = (
    (
        "net/loop.py",
        "        if now_ms >= self.reads.ends_ms:\n"
        "            self.reads.renew(now_ms)\n"
        "            self.output.sampler.renew(now_ms)\n",
        "",
    ),
    (
        "net/loop.py",
        "        self.stats.note_turn(took_us, now_ms)\n",
        "        self.stats.turns += 1\n        self.stats.turned_ms = now_ms\n",
    ),
    (
        "net/loop.py",
        "        looked_ns: i64 = 0\n"
        "        received: i64 = 0\n"
        "        sent: i64 = 0\n"
        "        self.reads.left -= 1\n"
        "        if self.reads.left <= 0:\n"
        "            looked_ns = monotonic_ns()\n"
        "            received = self.stats.publishes_received\n"
        "            sent = self.stats.publishes_sent\n",
        "",
    ),
    (
        "net/loop.py",
        "        if looked_ns:\n"
        "            received = self.stats.publishes_received - received\n"
        "            delivered = received > 0 and self.stats.publishes_sent > sent\n"
        "            self._look_at_read(connection, len(data), received, delivered, looked_ns)\n",
        "",
    ),
    (
        "net/output.py",
        "        self.sampler.left -= 1\n"
        "        if self.sampler.left <= 0 or connection is self.target:\n"
        "            self._write_watched(connection, outbox, now_ms)\n"
        "        else:\n"
        "            self._write(connection, outbox, now_ms)\n",
        "        self._write(connection, outbox, now_ms)\n",
    ),
    (
        "broker/connect.py",
        "    core.stats.connect.note((now_ms - connection.last_ms) * 1_000)\n",
        "",
    ),
    (
        "observe/watch.py",
        "        receipts = self.receipts\n        if receipts is not None and receipts.walking():\n",
        "        self.due_ms = 1 << 40\n        return\n        receipts = self.receipts\n"
        "        if receipts is not None and receipts.walking():\n",
    ),
)

SECOND_NS: Final = 1_000_000_000
MILLISECOND_NS: Final = 1_000_000
PAYLOAD: Final = b"x" * 64
TIMED_CYCLES: Final = 30  # of which the middle one counts
WARM_CYCLES: Final = 20
BOUND_PERCENT: Final = 2.0  # of what is counted; of all CPU time, with the kernel's, that is less than 1 %


class Load(NamedTuple):
    """In each cycle every publisher sends `window` messages; each of them reaches `copies` subscribers."""

    title: str
    publishers: int
    subscribers: int
    window: int
    copies: int = 1
    qos: int = 0


LOADS: Final = {
    "pair": Load("10 to 10, QoS 0", 10, 10, 200),
    "qos1": Load("10 to 10, QoS 1", 10, 10, 200, 1, 1),
    "fan-out": Load("1 to 50, QoS 0", 1, 50, 200, 50),
    "clients": Load("1,000 to 1,000, one message under way", 1_000, 1_000, 1),
    "ping-pong": Load("1 to 1, one message under way", 1, 1, 1),
}
CONNECTS: Final = "connects"
RECEIPTS: Final = "receipts"
FIELDS: Final = {CONNECTS: "ping-pong", RECEIPTS: "clients"}  # who else is there
CONNECTED: Final = 500  # clients that come and go in a cycle of it


def cut(text: str, name: str) -> str:
    """The source of a file without what watches in it. Raises ValueError where that is not found once."""
    for file, watching, instead in CUTS:
        if file == name:
            if text.count(watching) != 1:
                raise ValueError(f"{name} has changed; CUTS has what is not in it any more:\n{watching}")
            text = text.replace(watching, instead)
    return text


def write_without(folder: Path) -> None:
    """Copy what an install needs, without what watches."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, folder / name)
    for name in sorted({file for file, _, _ in CUTS}):
        path = folder / "src" / "swellmq" / name
        path.write_text(cut(path.read_text(encoding="utf-8"), name), encoding="utf-8")


# The process that is counted


def stand_in(step_ns: int) -> Iterator[int]:
    """Replace the broker's clock, before it is imported, by a counter: C, as the clock of `time` is. Return it."""
    clock = itertools.count(0, step_ns)
    time.monotonic_ns = clock.__next__
    return clock


def count_looks() -> list[int]:
    """Have looks at the clock counted, in the list that is returned."""
    looks, clock = [0], time.monotonic_ns

    def look() -> int:
        looks[0] += 1
        return clock()

    time.monotonic_ns = look
    return looks


class Field:
    """A broker with its clients, in one process."""

    def __init__(self, load: Load, admin: bool) -> None:
        from swellmq.process import calm_collector
        from swellmq.server import Server
        from swellmq.settings import Settings

        self.load = load
        self.server: Server = Server(Settings(port=0, max_connections=10_000))
        self.server.open()
        if admin:
            self.server.watch.keep_history()
        calm_collector(self.server.stats)
        # By way of a C function with a name of its own (ffi_call), by which valgrind counts it and nothing else.
        self.counted = ctypes.PYFUNCTYPE(None)(self._turn)
        self.counting = False
        self.took_ns = 0
        self.publishers = [self.client(b"pub", number) for number in range(load.publishers)]
        self.subscribers = [self.client(b"sub", number) for number in range(load.subscribers)]
        for number, client in enumerate(self.subscribers):
            topic = self.topic(number)
            client.send(b"\x82" + bytes([len(topic) + 5]) + b"\0\1\0" + bytes([len(topic)]) + topic + bytes([load.qos]))
            self.settle()
            client.recv(100)
        self.chunks = [self.chunk(number) for number in range(load.publishers)]
        self.answer = 4 * load.window  # bytes of PUBACKs that a publisher gets
        self.output = len(self.chunks[0])

    def topic(self, number: int) -> bytes:
        return b"load/t/%04d" % (number % self.load.publishers)

    def chunk(self, publisher: int) -> bytes:
        topic, qos = self.topic(publisher), self.load.qos
        packets = []
        for number in range(self.load.window):
            body = b"\0" + bytes([len(topic)]) + topic + ((number + 1).to_bytes(2) if qos else b"") + PAYLOAD
            packets.append(bytes([0x30 | qos << 1, len(body)]) + body)
        return b"".join(packets)

    def client(self, kind: bytes, number: int) -> socket.socket:
        from socket import create_connection

        client = create_connection(("127.0.0.1", self.server.port))
        client.send(b"\x10\x14\0\4MQTT\4\2\0\0\0\x08%s-%04d" % (kind, number))
        self.settle()
        answer = client.recv(4)
        if answer != b"\x20\2\0\0":
            raise SystemExit(f"CONNECT was answered {answer.hex()}")
        return client

    def _turn(self) -> None:
        self.server.turn(0)

    def turn(self) -> None:
        """One turn, which is counted once all is warm."""
        began = time.perf_counter()
        if self.counting:
            self.counted()
        else:
            self.server.turn(0)
        self.took_ns += int((time.perf_counter() - began) * 1e9)

    def settle(self) -> None:
        """Turns that are not counted, until nothing is left to do."""
        for _ in range(3):
            self.server.turn(0)

    def cycle(self) -> None:
        """All publishers send, and all subscribers get it."""
        for client, chunk in zip(self.publishers, self.chunks, strict=True):
            client.sendall(chunk)
        stats = self.server.stats
        wanted = stats.publishes_sent + len(self.publishers) * self.load.window * self.load.copies
        self.turn()
        while stats.publishes_sent < wanted or self.server.loop.deadline_ms() == 0:
            self.turn()
        for client in self.subscribers:
            data = exactly(client, self.output)
            if self.load.qos:
                size = len(data) // self.load.window
                first = 4 + len(self.topic(0))
                client.sendall(b"".join(b"\x40\2" + data[at : at + 2] for at in range(first, len(data), size)))
        if self.load.qos:
            for client in self.publishers:
                exactly(client, self.answer)
            self.turn()

    def connects(self) -> None:
        """Clients come, all at once, and go."""
        from socket import create_connection

        clients = [create_connection(("127.0.0.1", self.server.port)) for _ in range(CONNECTED)]
        for number, client in enumerate(clients):
            client.send(b"\x10\x14\0\4MQTT\4\2\0\0\0\x08com-%04d" % number)
        stats = self.server.stats
        wanted = stats.connects + CONNECTED
        while stats.connects < wanted:
            self.turn()
        for client in clients:
            exactly(client, 4)
            client.send(b"\xe0\0")
            client.close()
        while self.server.pool.active > len(self.publishers) + len(self.subscribers):
            self.turn()


def exactly(client: socket.socket, size: int) -> bytes:
    """So many bytes, all of which have been sent."""
    pieces = []
    while size:
        pieces.append(client.recv(size))
        size -= len(pieces[-1])
    return b"".join(pieces)


def drive(name: str, step_ns: int, cycles: int, admin: bool) -> None:
    """Run so many cycles of a load, by a clock that goes on by `step_ns` at each look; 0: learn how far."""
    looks = [0]
    if step_ns:
        stand_in(step_ns)
    else:
        looks = count_looks()
    field = Field(LOADS[FIELDS.get(name, name)], admin)
    cycle = field.connects if name == CONNECTS else field.cycle
    if name == RECEIPTS:
        walk(field)
    elif step_ns:
        count_cycles(field, cycle, cycles, CONNECTED if name == CONNECTS else 0)
    else:
        seen = []
        for _ in range(TIMED_CYCLES):
            field.took_ns = looks[0] = 0
            cycle()
            seen.append((field.took_ns, looks[0]))
        cycle_ns, looked = sorted(seen)[TIMED_CYCLES // 2]
        print(json.dumps({"cycle_ns": cycle_ns, "step_ns": cycle_ns // looked}))


def count_cycles(field: Field, cycle: Callable[[], None], cycles: int, arrivals: int) -> None:
    """Run the cycles that are counted, in each of which so many clients arrive, or all send."""
    for _ in range(WARM_CYCLES):
        cycle()
    # As a second of this load would leave them; the next one begins with the first turn that is counted.
    loop, load = field.server.loop, field.load
    reads = arrivals or load.publishers + bool(load.qos) * load.subscribers
    for sampler, events in ((loop.reads, reads), (loop.output.sampler, reads * load.copies)):
        sampler.passed = events * cycles
        sampler.ends_ms = field.server.turn_state.now_ms
    field.counting = True
    for _ in range(cycles):
        cycle()


def walk(field: Field) -> None:
    """Count what it takes to learn what the clients cost, once."""
    receipts = field.server.watch.receipts
    assert receipts is not None
    field.server.watch.walk_receipts()
    field.counting = True
    while receipts.walking():
        field.turn()


# The process that asks


def count(python: str, name: str, step_ns: int, cycles: int, admin: bool) -> int:
    """Instructions of so many cycles of a load, by callgrind."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["valgrind", "--tool=callgrind", "--collect-atstart=no", "--toggle-collect=ffi_call"]
        command += [f"--callgrind-out-file={folder}/out", python, "-P", __file__]
        command += ["--drive", name, str(step_ns), str(cycles), str(int(admin))]
        told = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONHASHSEED": "1"})
        if told.returncode:
            raise SystemExit(told.stderr)
        command = ["callgrind_annotate", "--threshold=100", "--auto=no", f"{folder}/out"]
        table = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lines = re.findall(r"^ *([\d,]+) \( *[\d.]+%\)  (\S+)", table, re.MULTILINE)
    # How long the C library looks for a free block depends on what lies where, which differs from build to build.
    own = [int(number.replace(",", "")) for number, at in lines if at != "PROGRAM" and "malloc.c:" not in at]
    return sum(own)


def compare(name: str, with_python: str, without_python: str) -> float:
    """Tell one load; how many percent watching adds for good."""
    command = [without_python, "-P", __file__, "--drive", name, "0", "0", "0"]
    learned = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    step_ns, cycles = learned["step_ns"], SECOND_NS // learned["cycle_ns"] + 1
    runs = ((without_python, False), (with_python, False), (with_python, True))
    without, always, admin = [count(python, name, step_ns, cycles, looked_at) / cycles for python, looked_at in runs]
    load = LOADS.get(name)
    title = load.title if load else f"{CONNECTED} clients that come and go"
    events = load.publishers * load.window * load.copies if load else CONNECTED
    figures = [f"{cycles * events:,}", f"{without / events:,.1f}"]
    figures += [f"{each / events:,.1f} ({100 * (each / without - 1):+.2f} %)" for each in (always, admin)]
    print(f"| {title} | {' | '.join(figures)} |", flush=True)
    return max(always, admin) / without * 100 - 100


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pythons", nargs="*", help="the one with, the one without")
    parser.add_argument("--without", metavar="FOLDER", type=Path, help="write the sources without what watches there")
    every = [*LOADS, CONNECTS, RECEIPTS]
    parser.add_argument("--load", nargs="+", choices=every, default=every)
    parser.add_argument("--drive", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.drive:
        name, *numbers = arguments.drive
        drive(name, *map(int, numbers))
        return 0
    if arguments.without:
        write_without(arguments.without)
        return 0
    if len(arguments.pythons) != 2:
        parser.error("two Pythons: one with what watches, one without")
    print("| load | in a second | instructions each, without | always | with admin |\n| --- | --- | --- | --- | --- |")
    added = [compare(name, *arguments.pythons) for name in arguments.load if name != RECEIPTS]
    if RECEIPTS in arguments.load:
        instructions = count(arguments.pythons[0], RECEIPTS, MILLISECOND_NS, 0, True)
        load = LOADS[FIELDS[RECEIPTS]]
        print(f"Receipts of {load.publishers + load.subscribers:,} clients: {instructions / 1e6:.1f} M instructions.")
    return 0 if max(added, default=0) < BOUND_PERCENT else 1


if __name__ == "__main__":
    sys.exit(main())
