"""How long arriving clients wait for their CONNACK, and established ones for a PINGRESP, while the pool grows.

    taskset -c 1 .venv/bin/python tools/arrivals.py --clients 15000 --rate 1000

starts a broker on core 0, opens that many clients at that pace (0: as fast as they can), and prints milliseconds.
A client that is there from the start sends a PINGREQ every 2 ms, from a process of its own. All times are taken by
clients, so they hold the kernel and the client's own work too; give the clients a core of their own. With --trace the
system notes (perf, by its tracepoints; root may) when the broker accepts a connection and when it first writes to it,
and how long the broker was kept off its core meanwhile.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

CONNECT = b"\x10\x1b\x00\x04MQTT\x04\x02\x00\x00\x00\x0f%015d"
CONNACK = b"\x20\x02\x00\x00"
PING_EVERY_S = 0.002
EVENTS = "syscalls:sys_exit_accept4,syscalls:sys_enter_write"
EVENT = re.compile(rb" *([0-9.]+): +(\S+?):? (.*)")  # when, what, and its arguments
WAITING_MAX = 512  # arrivals that wait for their CONNACK at once, at full speed
BURST = 16  # connects between two looks at what has come


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
    broker = subprocess.Popen(["taskset", "-c", "0", *serve], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        await_port(port)
        pings_out, pings_in = os.pipe()
        pinger = os.fork()
        if not pinger:
            os.close(pings_out)
            ping(port, pings_in)
        os.close(pings_in)
        with traced(broker.pid, arguments.trace) as spent:
            connects, waits = arrive(port, arguments.clients, arguments.rate)
        print(f"{len(waits)} arrivals")
        print("connect, which is the system's work: " + summary(connects))
        print("CONNECT to CONNACK, accept included: " + summary(waits))
        for name, seconds in spent.items():
            print(f"{name}: {summary(seconds)}")
        os.kill(pinger, 15)
        with open(pings_out, "rb") as pings:
            print("established client, PINGREQ to PINGRESP: " + summary([float(line) for line in pings]))
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
def traced(broker: int, wanted: bool) -> Iterator[dict[str, list[float]]]:
    """Filled in at the end: how long the broker took from each accept to its first write, in all and of its own."""
    spent: dict[str, list[float]] = {}
    if not wanted:
        yield spent
        return
    with tempfile.TemporaryDirectory() as folder:
        record = ["perf", "record", "-q", "--switch-events", "-m", "4096", "-e", EVENTS, "-t", str(broker)]
        perf = subprocess.Popen([*record, "-o", folder + "/perf"])
        time.sleep(1)  # perf does not say when it has begun
        try:
            yield spent
        finally:
            perf.send_signal(2)
            perf.wait()
        script = ["perf", "script", "-i", folder + "/perf", "-F", "time,event,trace", "--show-switch-events"]
        spent.update(spent_in(subprocess.run(script, capture_output=True, check=True).stdout.splitlines()))


def spent_in(lines: list[bytes]) -> dict[str, list[float]]:
    """What `traced` wants, out of perf's lines; the broker is off its core from a switch out to the next one in."""
    accepted: dict[int, tuple[float, float]] = {}
    whole: list[float] = []
    own: list[float] = []
    off = left = 0.0
    for line in lines:
        found = EVENT.match(line)
        if found is None:
            continue
        now, event, text = float(found[1]), found[2], found[3]
        if event == b"PERF_RECORD_SWITCH":
            if text.startswith(b"OUT"):
                left = now
            elif left:
                off += now - left
        elif event.endswith(b"sys_exit_accept4"):
            accepted[int(text, 16)] = now, off
        else:
            fd = int(text.split(b",")[0].split()[-1], 16)
            if fd in accepted:
                since, off_before = accepted.pop(fd)
                whole.append(now - since)
                own.append(now - since - (off - off_before))
    return {"in the broker, accept to CONNACK": whole, "of that on its core": own}


def connected(port: int, number: int) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port))
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.sendall(CONNECT % number)
    assert client.recv(4) == CONNACK
    return client


def ping(port: int, out: int) -> None:
    """Send a PINGREQ every PING_EVERY_S, and write how long each answer took, in seconds, a line each.

    Where it may, it goes before the clients that arrive: the broker is timed, not who gets the clients' core.
    """
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0) - 10)
    client = connected(port, 10**14)
    while True:
        began = time.perf_counter()
        client.sendall(b"\xc0\x00")
        client.recv(2)
        took = time.perf_counter() - began
        os.write(out, b"%.7f\n" % took)
        time.sleep(max(0.0, PING_EVERY_S - took))


def arrive(port: int, count: int, rate: int) -> tuple[list[float], list[float]]:
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
    return connects, waits


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
