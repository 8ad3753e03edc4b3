"""How long arriving clients wait for their CONNACK, and established ones for a PINGRESP, while the pool grows.

    taskset -c 1 .venv/bin/python tools/arrivals.py --clients 15000 --rate 1000

starts a broker on core 0, opens that many clients at that pace (0: as fast as they can), and prints milliseconds.
A client that is there from the start sends a PINGREQ every 2 ms, from a process of its own that goes before all others
where it may (root may). Clients take the times, so they hold the kernel's and the clients' own work too; give the
clients a core of their own. Of each PINGREQ there is a second time, which does not hold the client's wait for its core:
until the broker's answer is on its way to it, by the kernel's timestamp.

With --trace (perf and its tracepoints, so root) the system notes what happens on the broker's side: when it accepts a
connection and first writes to it, when a PINGREQ is in the broker's socket and when it writes the answer. That is the
broker's share, without the way from and to the client; "on its core" leaves out when the system had given that core to
others, and when the core stood still: in a virtual machine the host may stop it, and then not even a clock's interrupt,
due each quarter of a millisecond, comes.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import select
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

CONNECT = b"\x10\x1b\x00\x04MQTT\x04\x02\x00\x00\x00\x0f%015d"
CONNACK = b"\x20\x02\x00\x00"
PING_EVERY_S = 0.002
BROKER_CORE = 0
# What the system notes: of the broker's thread, and of the data that comes in for one of its connections.
EVENTS = (
    ("syscalls:sys_exit_accept4", "common_pid == {broker}"),
    ("syscalls:sys_enter_write", "common_pid == {broker}"),
    ("sched:sched_switch", "prev_pid == {broker} || next_pid == {broker}"),
    ("tcp:tcp_probe", "sport == {port} && dport == {pinger_port} && data_len > 0"),
)
CLOCK = "cpu-clock"  # an interrupt of each core
CLOCK_HZ = 4_000
PINGRESP_BYTES = b"count: 0x00000002"
STOPPED = b"stopped"
STOPPED_S = 0.001  # a core that notes nothing for so long stands still
EVENT = re.compile(rb" *\[([0-9]+)\] +([0-9.]+): +(\S+?):? (.*)")  # on which core, when, what, and its arguments
WAITING_MAX = 512  # arrivals that wait for their CONNACK at once, at full speed
BURST = 16  # connects between two looks at what has come
SO_TIMESTAMPNS = 35  # Linux, <asm-generic/socket.h>: a read tells when the kernel got what it returns
SPENT = (
    "accept to CONNACK, in the broker",
    "accept to CONNACK, on its core",
    "PINGREQ in its socket to PINGRESP, in the broker",
    "PINGREQ in its socket to PINGRESP, on its core",
)
TIMESPEC = struct.Struct("@qq")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=15_000)
    parser.add_argument("--rate", type=int, default=1_000, help="arrivals per second; 0: at full speed")
    parser.add_argument("--trace", action="store_true", help="time the broker itself, by perf")
    parser.add_argument("--broker", nargs="*", default=[], help="further arguments of `swellmq serve`")
    arguments = parser.parse_args()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    serve = [sys.executable, "-m", "swellmq", "serve", "--port", str(port), "--sys-interval-s", "1", *arguments.broker]
    broker = subprocess.Popen(
        ["taskset", "-c", str(BROKER_CORE), *serve], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        await_port(port)
        client = connected(port, 10**14)
        with traced(broker.pid, port, client.getsockname()[1], arguments.trace) as spent:
            pings_out, pings_in = os.pipe()
            pinger = os.fork()
            if not pinger:
                os.close(pings_out)
                ping(client, pings_in)
            os.close(pings_in)
            clients, connects, waits = arrive(port, arguments.clients, arguments.rate)
            os.kill(pinger, 15)
        print(f"{len(clients)} arrivals")  # they stay until here: thousands that leave at once are another matter
        print("connect, which is the system's work and this program's: " + summary(connects))
        print("CONNECT to CONNACK, accept included: " + summary(waits))
        for name, seconds in spent.items():
            print(f"{name}: {summary(seconds)}")
        with open(pings_out) as pings:
            rows = [line.split() for line in pings]
        print("an established client's PINGREQ, answer read: " + summary([float(row[0]) for row in rows]))
        print("an established client's PINGREQ, answer on its way: " + summary([float(row[1]) for row in rows]))
        os.waitpid(pinger, 0)
        for name, value in read_sys(port).items():
            print(f"{name}: {value}")
    finally:
        broker.terminate()
        broker.wait()
    return 0


def summary(seconds: list[float]) -> str:
    """Mean and percentiles, in milliseconds."""
    ordered = sorted(seconds)
    if not ordered:
        return "none"
    picked = [(name, ordered[min(len(ordered) - 1, int(len(ordered) * share))]) for name, share in PERCENTILES]
    mean = sum(ordered) / len(ordered)
    return f"mean {mean * 1e3:.2f}" + "".join(f", {name} {value * 1e3:.2f}" for name, value in picked) + " ms"


PERCENTILES = (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("longest", 1.0))


def await_port(port: int) -> None:
    give_up = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.02)


@contextlib.contextmanager
def traced(broker: int, port: int, pinger_port: int, wanted: bool) -> Iterator[dict[str, list[float]]]:
    """Filled in at the end: how long the broker took, from each accept to its first write, and for each PINGREQ."""
    spent: dict[str, list[float]] = {}
    if not wanted:
        yield spent
        return
    with tempfile.TemporaryDirectory() as folder:
        record = ["perf", "record", "-q", "-a", "-m", "4096", "-e", f"{CLOCK}/freq={CLOCK_HZ}/", "-o", folder + "/perf"]
        for event, condition in EVENTS:
            record += ["-e", event, "--filter", condition.format(broker=broker, port=port, pinger_port=pinger_port)]
        perf = subprocess.Popen(record)
        time.sleep(1)  # perf does not say when it has begun
        try:
            yield spent
        finally:
            perf.send_signal(2)
            perf.wait()
        script = ["perf", "script", "-i", folder + "/perf", "-F", "cpu,time,event,trace"]
        lines = subprocess.run(script, capture_output=True, check=True).stdout.splitlines()
        spent.update(spent_in(lines, broker))


def spent_in(lines: list[bytes], broker: int) -> dict[str, list[float]]:
    """What `traced` wants, out of perf's lines."""
    accepted: dict[int, tuple[float, float]] = {}
    served: set[int] = set()  # descriptors of clients that have arrived; the one beside them pings
    asked: tuple[float, float] | None = None
    spent: list[list[float]] = [[], [], [], []]
    away = Away()
    for now, event, text in events_in(lines):
        since: tuple[float, float] | None = None
        kind = 0
        if event.endswith(b"sched_switch"):
            away.note("switched out", b"prev_pid=%d " % broker in text, now)
        elif event == STOPPED:
            away.note("stopped", bool(text), now)
        elif event.endswith(b"tcp_probe"):
            asked = now, away.until(now)
        elif event.endswith(b"sys_exit_accept4"):
            fd = int(text, 16)
            accepted[fd] = now, away.until(now)
            served.add(fd)
        elif event.endswith(b"sys_enter_write"):
            fd = int(text.split(b",")[0].split()[-1], 16)
            if fd in accepted:
                since = accepted.pop(fd)
            elif fd not in served and asked is not None and text.endswith(PINGRESP_BYTES):
                since, asked, kind = asked, None, 2
        if since is not None:
            spent[kind].append(now - since[0])
            spent[kind + 1].append(now - since[0] - (away.until(now) - since[1]))
    return dict(zip(SPENT, spent, strict=True))


def events_in(lines: list[bytes]) -> list[tuple[float, bytes, bytes]]:
    """What perf has noted, in order: when, what, and its arguments; and where the broker's core stood still, an event
    at each end of it, the first with a text."""
    events: list[tuple[float, bytes, bytes]] = []
    last = 0.0
    for line in lines:
        found = EVENT.match(line)
        if found is None:
            continue
        now, event = float(found[2]), found[3]
        if int(found[1]) == BROKER_CORE:
            if last and now - last > STOPPED_S:
                events += [(last, STOPPED, b"from here"), (now, STOPPED, b"")]
            last = now
        if not event.startswith(CLOCK.encode()):
            events.append((now, event, found[4]))
    return sorted(events, key=lambda event: event[0])


class Away:
    """How long the broker was off its core, for whatever reason, or several."""

    def __init__(self) -> None:
        self.reasons: set[str] = set()
        self.since = 0.0
        self.whole = 0.0

    def note(self, reason: str, begins: bool, now: float) -> None:
        """It is off its core for this reason from now on, or no longer is."""
        self.whole, self.since = self.until(now), now
        if begins:
            self.reasons.add(reason)
        else:
            self.reasons.discard(reason)

    def until(self, now: float) -> float:
        """In seconds, up to now."""
        return self.whole + (now - self.since if self.reasons else 0.0)


def connected(port: int, number: int) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port))
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.sendall(CONNECT % number)
    assert client.recv(4) == CONNACK
    return client


def ping(client: socket.socket, out: int) -> None:
    """Send a PINGREQ every PING_EVERY_S, and write how long each answer took, in seconds, a line each: until it was
    read, and until the kernel had it from the broker."""
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    client.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    while True:
        began_ns = time.time_ns()
        client.sendall(b"\xc0\x00")
        _answer, stamps, _flags, _address = client.recvmsg(2, socket.CMSG_SPACE(TIMESPEC.size))
        took = (time.time_ns() - began_ns) / 1e9
        if stamps:  # the kernel begins with it a little after it was asked to
            seconds, nanoseconds = TIMESPEC.unpack(stamps[0][2])
            os.write(out, b"%.7f %.7f\n" % (took, (seconds * 10**9 + nanoseconds - began_ns) / 1e9))
        time.sleep(max(0.0, PING_EVERY_S - took))


def arrive(port: int, count: int, rate: int) -> tuple[list[socket.socket], list[float], list[float]]:
    """Open so many clients at that rate; how long each waited to be connected, and then for its CONNACK, in seconds."""
    epoll = select.epoll()
    clients: dict[int, tuple[socket.socket, float]] = {}
    connects: list[float] = []
    waits: list[float] = []
    start = time.perf_counter()
    begun = 0
    while len(waits) < count:
        now = time.perf_counter()
        until = min(count, begun + BURST)
        while begun < until and (now >= start + begun / rate if rate else begun - len(waits) < WAITING_MAX):
            client = socket.socket()
            client.setblocking(False)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            clients[client.fileno()] = client, time.perf_counter()
            client.connect_ex(("127.0.0.1", port))
            epoll.register(client.fileno(), select.EPOLLOUT)
            begun += 1
        pause = max(0.0, start + begun / rate - time.perf_counter()) if rate and begun < count else 0.5
        for fd, mask in epoll.poll(pause):
            client, since = clients[fd]
            now = time.perf_counter()
            if mask & select.EPOLLIN:
                waits.append(now - since)
                assert client.recv(4) == CONNACK
                epoll.unregister(fd)  # the dictionary keeps it open
            elif mask & select.EPOLLOUT:
                connects.append(now - since)
                clients[fd] = client, now
                client.send(CONNECT % fd)
                epoll.modify(fd, select.EPOLLIN)
    return [client for client, _since in clients.values()], connects, waits


def read_sys(port: int) -> dict[str, str]:
    """What the broker says of its longest turn, slice and collection."""
    client = connected(port, 10**14 + 1)
    names = (b"loop/turn_longest_us", b"loop/collection_longest_us", b"pool/slice_longest_us", b"pool/steps")
    filters = b"".join(
        len(b"$SYS/broker/" + name).to_bytes(2, "big") + b"$SYS/broker/" + name + b"\0" for name in names
    )
    body = b"\x00\x01" + filters
    client.sendall(b"\x82" + bytes([len(body) & 0x7F | 0x80, len(body) >> 7]) + body)
    data = b""
    found: dict[str, str] = {}
    client.settimeout(5)
    while len(found) < len(names):
        data += client.recv(4096)
        found = {}
        pos = 0
        while pos + 2 <= len(data) and pos + 2 + data[pos + 1] <= len(data):
            if data[pos] >> 4 == 3:
                topic_end = pos + 4 + data[pos + 3]
                found[data[pos + 4 : topic_end].decode()] = data[topic_end : pos + 2 + data[pos + 1]].decode()
            pos += 2 + data[pos + 1]
    return found


if __name__ == "__main__":
    sys.exit(main())
