"""Hostile clients against a broker, over TCP, TLS, WebSocket and both: `make hostile SECONDS=60`.

    .venv/bin/python tools/hostile.py --seconds 60
    .venv/bin/python tools/hostile.py --seconds 36000 --transport tls          for a night
    .venv/bin/python tools/hostile.py --seed 7 --transport tcp --first 4711 --attacks 1

A broker (`swellmq serve` with listeners of each kind) is attacked: sessions that were valid and then broken, random
bytes, packets cut off or giant, floods of properties, topics of 10,000 levels, bombs of subscriptions, frames and
handshakes that are none, and whoever is slow on purpose, of every kind. Meanwhile two bystanders, one that sends itself
QoS 1 at a pace and one that pings, measure what it is like for others. Then it is looked at:

- the broker lives, met no bug of its own (`errors_internal`, tracebacks), and its pool is sound;
- memory and descriptors do not grow over the second half, and all is given back when the attackers have gone;
- the bystanders' 99th percentile is within 3 times that of the quiet seconds before, or QUICK_MS. Of two CPUs or more
  the broker has one to itself; what it waits for it all the same, beside other work of the machine, does not count;
- its log has not grown by more than LOG_LINES_PER_S.

The seed is printed; with it and an attack's number its bytes are made again. Where something is wrong the last attacks
of each transport are written to `--keep`, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import logging
import multiprocessing
import os
import queue
import random
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from multiprocessing.connection import Connection as Pipe
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Final, TypeAlias

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "net"))
from hostile_attacks import Attack, Chance, http_rubbish, packet, text, tls_rubbish, websocket_rubbish

TRANSPORTS: Final = ("tcp", "tls", "ws", "wss")
THREADS: Final = 2  # of attackers of one transport
HELD_MAX: Final = 150  # connections that stay, of one thread
HELD_S: Final = 45.0  # or a sixth of the run, so that they come and go in the second half as in the first
SEND_S: Final = 0.3
READ_S: Final = 0.01
NICENESS: Final = 10  # of the attackers: it is the broker that is tried, not the scheduler
BELOW_SHARE: Final = 0.15  # of the attacks aim below MQTT
PACE_S: Final = 0.01
PATIENCE_S: Final = 30.0
MEASURED_S: Final = 45.0  # a shorter run says nothing of growth and percentiles
P99_FACTOR: Final = 3.0
QUICK_MS: Final = 10.0  # for a machine that has other things to do: at rest it takes 1.1 where the core is saturated
SHARES: Final = (0.5, 0.9, 0.99, 0.999)
GROWTH: Final = 1.05
GROWTH_MB: Final = 10.0
GROWTH_DESCRIPTORS: Final = 60
LOG_LINES_PER_S: Final = 100.0
KEPT: Final = 40  # attacks, of each transport
REQUEST: Final = (
    b"GET /mqtt HTTP/1.1\r\nHost: broker\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: mqtt\r\n\r\n"
)
SO_TIMESTAMPNS: Final = 35  # of Linux: each read says when the system got what it takes
TOLD: Final = "[HOSTILE] "

Ports: TypeAlias = dict[str, int]
Sample: TypeAlias = tuple[float, float]  # when (monotonic seconds), and how long it took (milliseconds)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--transport", choices=TRANSPORTS, action="append", help="[all]")
    parser.add_argument("--first", type=int, default=0, metavar="NUMBER", help="of the attacks of each transport")
    parser.add_argument("--attacks", type=int, default=0, metavar="N", help="of each transport; 0: until the end")
    parser.add_argument("--keep", type=Path, default=Path("build/hostile"), help="where failing bytes go [%(default)s]")
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.randrange(1_000_000)
    print(f"hostile: seed {seed}")
    with tempfile.TemporaryDirectory() as folder:
        run = Run(arguments, seed, Path(folder))
        faults = run.run()
    for fault in faults:
        print("FAULT: " + fault)
    if faults:
        print(f"hostile: seed {seed}; the last attacks are in {arguments.keep}")
    return 1 if faults else 0


# The broker


def serve(certificate: str) -> int:
    """Run the broker on a CPU of its own; SIGUSR1 has it tell all its counters in a line of JSON."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    from swellmq.command import serve as run
    from swellmq.listener_settings import ListenerSettings
    from swellmq.server import Server
    from swellmq.settings import Settings
    from swellmq.tls_settings import TlsSettings

    class Telling(Server):
        def report(self) -> None:
            told = {"ports": {one.scheme.rstrip(":"): one.port for one in self.listeners}, **self.statistics()}
            logging.getLogger("swellmq").warning("%s%s", TOLD, json.dumps({**told, "faults": self.self_check()}))

    tls = TlsSettings([certificate])
    listeners = [
        ListenerSettings(port=0),
        ListenerSettings(port=0, tls=tls),
        ListenerSettings(port=0, protocol="websocket"),
        ListenerSettings(port=0, protocol="websocket", tls=tls),
    ]
    # What would stay for a week by right must come to rest within a minute here, and nobody be refused for being many.
    bounds = {
        "overload_turn_ms": 0,
        "limits_session_expiry_max_s": 2,
        "limits_session_expiry_3_s": 2,
        "limits_retained_messages": 5_000,
        "limits_retained_bytes": 8_000_000,
    }
    return run(Settings(listeners=listeners, status_interval_s=0, pool_initial_size=64, **bounds), Telling)


class Broker:
    """A broker in a process of its own, seen from outside."""

    def __init__(self, certificate: str) -> None:
        command = [sys.executable, "-P", str(Path(__file__)), "serve", certificate]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path[1:])}
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        self.told: queue.Queue[dict[str, object]] = queue.Queue()
        self.faults: list[str] = []
        self.lines = 0
        self.ready = threading.Event()
        self.reader = threading.Thread(target=self.read_log, daemon=True)
        self.reader.start()

    def read_log(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines += 1
            if TOLD in line:
                self.told.put(json.loads(line.partition(TOLD)[2]))
            elif "a bug of ours" in line or "Traceback" in line:
                self.faults.append(line.strip())
            elif "overload:" in line or "listening on" in line:
                print("  " + line.strip())
            if "listening on" in line:
                self.ready.set()

    def statistics(self) -> dict[str, object]:
        self.process.send_signal(signal.SIGUSR1)
        return self.told.get(timeout=PATIENCE_S)

    def ports(self) -> Ports:
        assert self.ready.wait(PATIENCE_S), "the broker did not start"
        ports = self.statistics()["ports"]
        assert isinstance(ports, dict)
        return {"tcp": ports[""], "tls": ports["tls"], "ws": ports["ws"], "wss": ports["wss"]}

    def resident_mb(self) -> float:
        with open(f"/proc/{self.process.pid}/statm", "rb") as statm:
            return int(statm.read().split()[1]) * 4096 / 1e6

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def stop(self) -> None:
        self.process.terminate()
        try:
            code = self.process.wait(PATIENCE_S)
            if code:
                self.faults.append(f"the broker has ended with {code}")
        except subprocess.TimeoutExpired:
            self.faults.append("the broker does not stop")
            self.process.kill()
        self.reader.join(PATIENCE_S)


def schedule(pid: int) -> tuple[int, int]:
    """Nanoseconds that a process' first thread ran, and that it could have run but waited for a CPU; 0 where that is
    not told."""
    try:
        with open(f"/proc/{pid}/schedstat", encoding="ascii") as told:
            ran, waited, _slices = map(int, told.read().split())
    except (OSError, ValueError):
        return 0, 0
    return ran, waited


# The attackers


class Attacker:
    """One transport's attacks, in a process of their own."""

    def __init__(
        self, transport: str, port: int, seed: int, numbers: Iterator[int], folder: Path, held_s: float
    ) -> None:
        self.transport = transport
        self.address = ("127.0.0.1", port)
        self.seed = seed
        self.numbers = numbers
        self.folder = folder
        self.held_s = held_s
        self.kept: deque[tuple[int, Attack]] = deque(maxlen=KEPT)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.check_hostname = False
        self.context.verify_mode = ssl.CERT_NONE
        self.done = 0

    def work(self, stop: Event) -> None:
        """One thread: attack after attack, until it is told to stop or there are no more."""
        held: deque[tuple[float, socket.socket]] = deque()
        while not stop.is_set():
            number = next(self.numbers, -1)
            if number < 0:
                break
            self.one(number, held)
            self.done += 1
            self.tend(held)
        for _, sock in held:
            sock.close()

    def one(self, number: int, held: deque[tuple[float, socket.socket]]) -> None:
        """Make an attack and carry it out; that the broker closes meanwhile is what is hoped for."""
        name = f"{self.seed}/{self.transport}/{number}"
        chance = random.Random(name)
        below = self.transport != "tcp" and chance.random() < BELOW_SHARE
        attack = self.below(chance) if below else Chance(name).attack()
        self.kept.append((number, attack))
        try:
            sock = socket.create_connection(self.address, PATIENCE_S)
        except OSError:
            return
        stays = False
        try:
            sock.settimeout(SEND_S)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if not below or attack.kind == "frames":
                sock = self.enter(sock)
            for piece in attack.pieces:
                sock.sendall(frames(piece, chance) if self.transport.startswith("ws") and not below else piece)
            if attack.reads:
                sock.settimeout(READ_S)
                for _ in range(100):
                    if not sock.recv(1 << 16):
                        break
        except OSError:  # timeouts among them
            pass
        finally:
            stays = attack.end == "hold" and sock.fileno() >= 0
            if stays:
                held.append((time.monotonic() + self.held_s, sock))
            else:
                self.end(sock, attack.end)

    def below(self, chance: random.Random) -> Attack:
        """An attack on what is below MQTT."""
        tls = self.transport in ("tls", "wss")
        end = chance.choice(("close", "hold", "reset"))
        if tls and (self.transport == "tls" or chance.random() < 0.5):
            return Attack("TLS", tls_rubbish(chance), end)
        if not tls and chance.random() < 0.5:
            return Attack("HTTP", http_rubbish(chance), end)
        return Attack("frames", websocket_rubbish(chance), end)

    def enter(self, sock: socket.socket) -> socket.socket:
        """Shake hands as the transport asks."""
        if self.transport in ("tls", "wss"):
            sock = self.context.wrap_socket(sock)
        if self.transport in ("ws", "wss"):
            sock.sendall(REQUEST)
            sock.recv(4_096)
        return sock

    def end(self, sock: socket.socket, how: str) -> None:
        with contextlib.suppress(OSError):
            if how == "reset":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            elif how == "half":
                sock.shutdown(socket.SHUT_WR)
                sock.settimeout(READ_S)
                sock.recv(1 << 16)
        sock.close()

    def tend(self, held: deque[tuple[float, socket.socket]]) -> None:
        """Those that stay take or send a byte; the oldest are dropped."""
        while held and (len(held) > HELD_MAX or held[0][0] < time.monotonic()):
            held.popleft()[1].close()
        if held:
            sock = random.choice(held)[1]
            with contextlib.suppress(OSError, ValueError):
                sock.settimeout(0.0)
                sock.send(b"\0")
                sock.recv(1)

    def keep(self) -> None:
        """Write the last attacks down."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for number, attack in self.kept:
            name = f"{self.seed}-{self.transport}-{number}-{attack.kind.replace(' ', '-')}"
            (self.folder / name).write_bytes(b"".join(attack.pieces))


def frames(data: bytes, chance: random.Random) -> bytes:
    """MQTT in frames of WebSocket, in one or in several."""
    size = chance.choice((len(data) or 1, 125, 1_000)) if len(data) < 100_000 else 65_535
    framed: list[bytes] = []
    for start in range(0, max(1, len(data)), size):
        piece = data[start : start + size]
        length = len(piece)
        if length < 126:
            head = bytes([0x82, 0x80 | length])
        elif length < 65_536:
            head = b"\x82\xfe" + struct.pack(">H", length)
        else:
            head = b"\x82\xff" + struct.pack(">Q", length)
        framed.append(head + bytes(4) + piece)  # masked by zeros
    return b"".join(framed)


def attack(
    transport: str,
    port: int,
    seed: int,
    first: int,
    count: int,
    folder: Path,
    held_s: float,
    stop: Event,
    failed: Event,
    pipe: Pipe,
) -> None:
    """A process of attackers: two threads, until `stop`; what they sent last is kept where something has failed."""
    os.nice(NICENESS)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    numbers = iter(range(first, first + count)) if count else itertools.count(first)
    attacker = Attacker(transport, port, seed, numbers, folder, held_s)
    threads = [threading.Thread(target=attacker.work, args=(stop,)) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pipe.send(attacker.done)
    stop.wait()
    pipe.recv()  # what was found is known now
    if failed.is_set():
        attacker.keep()


# The bystanders


class Peer:
    """A bystander's connection, which times the broker and nothing else: from the system's hands into the system's
    hands, as far as it tells when it got an answer, less what the broker waited for a CPU meanwhile."""

    def __init__(self, port: int, client_id: bytes, broker: int) -> None:
        self.broker = broker
        self.sock = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.sent_ns = self.came_ns = self.waited_ns = 0
        self.sock.sendall(packet(0x10, text(b"MQTT") + b"\x04\x02\0\0" + text(client_id)))
        self.expect(b"\x20\x02\0\0")

    def ask(self, data: bytes) -> None:
        """Send something; `took_ms` tells, once its answer has come, how long that took."""
        self.waited_ns = schedule(self.broker)[1]
        self.sent_ns = time.time_ns()
        self.sock.sendall(data)

    def receive(self, size: int) -> bytes:
        """So many bytes."""
        got = b""
        while len(got) < size:
            more, told, _flags, _address = self.sock.recvmsg(size - len(got), 64)
            self.came_ns = time.time_ns()
            assert more, "the broker has closed"
            got += more
            for _level, kind, when in told:
                if kind == SO_TIMESTAMPNS:
                    seconds, nanoseconds = struct.unpack("@ll", when)
                    self.came_ns = seconds * 1_000_000_000 + nanoseconds
        return got

    def expect(self, answer: bytes) -> None:
        got = self.receive(len(answer))
        assert got == answer, f"{got!r} is not {answer!r}"

    def took_ms(self) -> float:
        waited_ns = schedule(self.broker)[1] - self.waited_ns
        return max(0, self.came_ns - self.sent_ns - waited_ns) / 1e6


def bystand(port: int, broker: int, stop: Event, pipe: Pipe) -> None:
    """A client that sends itself QoS 1 at a pace, and one that pings; all times at the end, or what went wrong."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    samples: list[Sample] = []
    try:
        pair, pinger = Peer(port, b"pair", broker), Peer(port, b"pinger", broker)
        pair.ask(packet(0x82, b"\0\x01" + text(b"by/stander") + b"\x01"))
        pair.expect(b"\x90\x03\0\x01\x01")
        message = packet(0x32, text(b"by/stander") + b"\0\x07" + b"still here")
        due = time.monotonic()
        while not stop.is_set():
            began = time.monotonic()
            pair.ask(message)
            got = pair.receive(len(message) + 4)  # with its acknowledgement, in front or behind
            samples.append((began, pair.took_ms()))
            at = got.index(b"still here") - 2
            pair.sock.sendall(b"\x40\x02" + got[at : at + 2])
            began = time.monotonic()
            pinger.ask(b"\xc0\0")
            pinger.expect(b"\xd0\0")
            samples.append((began, pinger.took_ms()))
            due = max(due + PACE_S, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))
        pipe.send((samples, ""))
    except (OSError, AssertionError) as error:
        pipe.send((samples, f"a bystander was lost: {error!r}"))


def percentile(samples: list[float], share: float) -> float:
    return sorted(samples)[min(len(samples) - 1, int(len(samples) * share))] if samples else 0.0


# All together


class Run:
    """One run, from the broker's start to what is left at its end."""

    def __init__(self, arguments: argparse.Namespace, seed: int, folder: Path) -> None:
        from net_certificates import Authority

        self.arguments = arguments
        self.seed = seed
        self.transports: list[str] = arguments.transport or list(TRANSPORTS)
        self.broker = Broker(Authority(folder).server("localhost"))
        cpus = os.sched_getaffinity(0)
        os.sched_setaffinity(0, cpus - {min(cpus)} or cpus)  # of attackers and bystanders: theirs are the others
        self.ports = self.broker.ports()
        self.quiet_s = max(3.0, min(10.0, arguments.seconds / 10))
        self.resident_mb: list[float] = []
        self.descriptors: list[int] = []
        self.context = multiprocessing.get_context("spawn")
        self.stop = self.context.Event()
        self.failed = self.context.Event()

    def run(self) -> list[str]:
        """Attack, and look at it all; what is wrong, a sentence each."""
        faults: list[str] = []
        ended = self.context.Event()
        here, there = self.context.Pipe()
        about = (self.ports["tcp"], self.broker.process.pid, ended, there)
        bystander = self.context.Process(target=bystand, args=about, daemon=True)
        bystander.start()
        time.sleep(self.quiet_s + 1)
        descriptors_before = self.broker.descriptors()
        began = time.monotonic()
        ran_before, _ = schedule(self.broker.process.pid)
        pipes = [self.begin(transport) for transport in self.transports]
        attackers_ended = self.watch(began)
        ran_s = (schedule(self.broker.process.pid)[0] - ran_before) / 1e9
        print(f"  the broker's loop ran for {ran_s / (time.monotonic() - began):.0%} of the time")
        lines_per_s = self.broker.lines / (time.monotonic() - began)
        self.stop.set()
        done = {
            name: pipe.recv() if pipe.poll(PATIENCE_S) else 0 for name, pipe in zip(self.transports, pipes, strict=True)
        }
        attacked = time.monotonic()
        print(f"  attacks: {done}")
        faults += self.left(descriptors_before)
        ended.set()
        samples, lost = here.recv() if here.poll(PATIENCE_S) else ([], "a bystander got no answer")
        faults += [lost] if lost else []
        if attackers_ended and self.arguments.seconds >= MEASURED_S:
            faults += self.held_up(samples, began, attacked)
            faults += self.grown()
        if lines_per_s > LOG_LINES_PER_S:
            faults.append(f"{lines_per_s:.0f} lines a second in the log")
        self.broker.stop()
        faults += self.broker.faults
        if faults:
            self.failed.set()
        for pipe in pipes:
            with contextlib.suppress(OSError):
                pipe.send(None)
        for child in multiprocessing.active_children():
            child.join(PATIENCE_S)
        return faults

    def begin(self, transport: str) -> Pipe:
        here, there = self.context.Pipe()
        arguments = self.arguments
        about = (transport, self.ports[transport], self.seed, arguments.first, arguments.attacks, arguments.keep)
        held_s = min(HELD_S, arguments.seconds / 6)
        process = self.context.Process(target=attack, args=(*about, held_s, self.stop, self.failed, there), daemon=True)
        process.start()
        return here

    def watch(self, began: float) -> bool:
        """Look at the broker each second until the time is up, or something is wrong; whether it ran its time."""
        while (passed := time.monotonic() - began) < self.arguments.seconds:
            time.sleep(1)
            if self.broker.process.poll() is not None:
                self.broker.faults.append(f"the broker has ended with {self.broker.process.returncode}")
                return False
            if self.broker.faults:
                return False
            self.resident_mb.append(self.broker.resident_mb())
            self.descriptors.append(self.broker.descriptors())
            if len(self.resident_mb) % 10 == 0:
                print(
                    f"  {passed:.0f} s: RSS {self.resident_mb[-1]:.1f} MB, {self.descriptors[-1]} descriptors",
                    flush=True,
                )
        return True

    def left(self, descriptors_before: int) -> list[str]:
        """What is left of the attackers once they have gone: nothing but the bystanders."""
        if self.broker.process.poll() is not None:
            return []
        give_up = time.monotonic() + PATIENCE_S
        while True:
            told = self.broker.statistics()
            left = {name: told[name] for name in ("pool_active", "sessions", "errors_internal")}
            descriptors = self.broker.descriptors()
            if left == {"pool_active": 2, "sessions": 2, "errors_internal": 0} and descriptors <= descriptors_before:
                break
            if time.monotonic() > give_up:
                return [f"at the end: {left}, {descriptors} descriptors, {descriptors_before} before; {told['faults']}"]
            time.sleep(0.5)
        names = (
            "connects",
            "connections_refused",
            "connections_dropped",
            "errors_peer",
            "turn_longest_us",
            "dropped_overload",
        )
        print("  " + ", ".join(f"{name} {told[name]}" for name in names))
        return [str(fault) for fault in told["faults"]] if isinstance(told["faults"], list) else []

    def held_up(self, samples: list[Sample], began: float, ended: float) -> list[str]:
        """What the bystanders measured."""
        quiet = [took for when, took in samples if when < began - 0.5]
        busy = [took for when, took in samples if began <= when < ended]
        for name, times in (("quiet", quiet), ("under attack", busy)):
            shares = ", ".join(f"p{share * 100:g} {percentile(times, share):.2f}" for share in SHARES)
            print(f"  bystanders, ms, {name}: {shares}, at most {max(times, default=0.0):.1f}")
        before, p99 = percentile(quiet, 0.99), percentile(busy, 0.99)
        if p99 > max(P99_FACTOR * before, QUICK_MS):
            return [f"the bystanders' 99th percentile rose from {before:.2f} to {p99:.2f} ms"]
        return []

    def grown(self) -> list[str]:
        """Whether memory or descriptors grew over the second half."""
        faults: list[str] = []
        quarter = len(self.resident_mb) // 4
        if not quarter:
            return []
        third, last = self.resident_mb[-2 * quarter : -quarter], self.resident_mb[-quarter:]
        if min(last) > max(third) * GROWTH and min(last) - max(third) > GROWTH_MB:
            faults.append(f"memory rose from {max(third):.1f} to {min(last):.1f} MB in the second half")
        before, after = self.descriptors[-2 * quarter : -quarter], self.descriptors[-quarter:]
        if min(after) > max(before) + GROWTH_DESCRIPTORS:
            faults.append(f"descriptors rose from {max(before)} to {min(after)} in the second half")
        return faults


if __name__ == "__main__":
    sys.exit(serve(sys.argv[2]) if sys.argv[1:2] == ["serve"] else main())
