"""`swellmq bench durable`: what it costs that an acknowledgement means "stored".

A hundred publishers send QoS 1 to a hundred kept sessions, which are away or take what comes, with each durability of
ours, without a store, and beside mosquitto with its persistence on, which acknowledges from memory and saves now and
then. Another client sends itself a QoS 0 message again and again, which concerns no kept session: while nothing else is
done, beside so much of the load that there is room to spare (`--rate`), and beside all that the broker takes.
"""

from __future__ import annotations

import argparse
import dataclasses
import select
import socket
import tempfile
import time
from typing import Final

from swellmq.bench.brokers import TICKS_PER_SECOND, Broker, Running, find_broker
from swellmq.bench.generator import (
    CONNACK,
    PUBACK,
    PUBLISH,
    SUBACK,
    LoadError,
    acknowledgements,
    packet,
    publish_packet,
    string,
    subscribe_packet,
)
from swellmq.bench.latency import Latency
from swellmq.bench.machine import prepare_machine
from swellmq.bench.report import Report, markdown_table, positive, progress
from swellmq.bench.report import add_arguments as add_common
from swellmq.bench.worker import Worker

PUBLISHERS: Final = 100
WINDOW: Final = 100  # messages that a publisher has under way
RATE: Final = 50_000  # messages per second: what a broker that puts them on disk has to take
PACED_S: Final = 3.0  # so long beside the load at that rate
QUIET_S: Final = 2.0  # and without any
CHUNK: Final = 4  # messages that a publisher sends at a time then
PACE_S: Final = 0.001
PAYLOAD_BYTES: Final = 64
STALL_S: Final = 20.0
MODES: Final = ("disk", "written", "memory", "no store")
MOSQUITTO_CONF: Final = "persistence true\npersistence_location {folder}/\nmax_queued_bytes 0\n"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = __doc__
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add_common(parser, ("swellmq", "mosquitto"))
    parser.add_argument("--messages", type=positive, default=300_000, help="of each run [default 300000]")
    parser.add_argument("--rate", type=positive, default=RATE, help="of the load with room to spare [default 50000/s]")
    parser.add_argument("--rounds", type=positive, default=3, help="of which the median is told [default 3]")
    parser.add_argument("--data", metavar="DIR", help="where the stores are made [default: the temporary folder]")


def run(arguments: argparse.Namespace) -> int:
    machine = prepare_machine()
    report = Report("bench durable")
    rows: list[list[str]] = []
    report.brokers = brokers(arguments.brokers)
    for broker in report.brokers:
        for away in (True, False):
            figures = []
            for number in range(arguments.rounds):
                progress(f"{broker.name}, sessions {'away' if away else 'here'}, round {number + 1}")
                with (
                    tempfile.TemporaryDirectory(prefix="swellmq-durable-", dir=arguments.data) as folder,
                    Running(placed(broker, folder), machine.broker_core) as running,
                ):
                    figures.append(measure(running, away, arguments.messages, arguments.rate, machine.load_core))
            figures.sort(key=lambda one: one["per_second"])
            median = figures[len(figures) // 2]
            report.results.append({"broker": broker.name, "away": away, **median})
            rows.append(row_of(broker.name, away, median))
    columns = ["", "sessions", "acknowledged/s", "CPU µs each", "p50 ms", "p99 ms"]
    columns += ["QoS 0 p99, quiet", f"at {arguments.rate:,}/s", "at all"]
    how = (
        f"{PUBLISHERS} publishers, QoS 1, {PAYLOAD_BYTES} bytes, {WINDOW} under way each, median of {arguments.rounds}"
    )
    return report.write(arguments, markdown_table(columns, rows), how)


def row_of(name: str, away: bool, figures: dict[str, float]) -> list[str]:
    names = ("p50_ms", "p99_ms", "quiet_p99_ms", "paced_p99_ms", "loaded_p99_ms")
    shown = [f"{figures[key]:.2f}" for key in names]
    return [name, "away" if away else "here", f"{figures['per_second']:,.0f}", f"{figures['cpu_us']:.1f}", *shown]


def brokers(names: list[str]) -> list[Broker]:
    """Ours with each durability, and the others that were asked for."""
    found: list[Broker] = []
    for name in names:
        broker = find_broker(name)
        if name == "mosquitto":
            found.append(dataclasses.replace(broker, configuration=broker.configuration + MOSQUITTO_CONF))
            continue
        for mode in MODES:
            options = [] if mode == "no store" else ["--data", "{folder}", "--durability", mode]
            command = [*broker.command, *options, "--limits.queued-messages", "1000000"]
            found.append(dataclasses.replace(broker, name=f"{name}, {mode}", command=command))
    return found


def placed(broker: Broker, folder: str) -> Broker:
    """The broker with its data in `folder`."""
    command = [word.replace("{folder}", folder) for word in broker.command]
    return dataclasses.replace(broker, command=command, configuration=broker.configuration.replace("{folder}", folder))


def measure(running: Running, away: bool, messages: int, rate: int, core: int) -> dict[str, float]:
    """One run: messages acknowledged per second, CPU time, and latencies."""
    sessions = [kept_session(running.port, index) for index in range(PUBLISHERS)]
    if away:
        for sock in sessions:
            sock.close()
        sessions = []
    load = Load(running.port, sessions)
    with Worker("swellmq.bench.pinger", [str(running.port)], core) as pinger:
        pinger.send("start")
        time.sleep(QUIET_S)
        quiet = pinger.ask("stop")
        pinger.send("start")
        load.run(round(rate * PACED_S), rate)
        paced = pinger.ask("stop")
        pinger.send("start")
        ticks = running.cpu_ticks()
        load.run(messages)
        used_s = (running.cpu_ticks() - ticks) / TICKS_PER_SECOND
        loaded = pinger.ask("stop")
    load.close()
    told = load.latency.percentiles_ms()
    return {
        "per_second": messages / load.took_s,
        "cpu_us": used_s / messages * 1e6,
        "p50_ms": told["p50"],
        "p99_ms": told["p99"],
        "quiet_p99_ms": quiet["p99"] / 1e3,
        "paced_p99_ms": paced["p99"] / 1e3,
        "loaded_p99_ms": loaded["p99"] / 1e3,
    }


def kept_session(port: int, index: int) -> socket.socket:
    """A client with a kept session and one subscription at QoS 1."""
    body = b"\x00\x04MQTT\x04\x00\x00\x00" + string(b"kept%03d" % index)
    return connected(port, packet(0x10, body) + subscribe_packet(b"durable/%03d" % index, 1), (CONNACK, SUBACK))


def connected(port: int, greeting: bytes, answers: tuple[int, ...]) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), STALL_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(greeting)
    for answer in answers:
        head = sock.recv(2, socket.MSG_WAITALL)
        if len(head) < 2 or head[0] != answer:
            raise LoadError(f"answered with {head.hex()}")
        sock.recv(head[1], socket.MSG_WAITALL)
    return sock


class Load:
    """Publishers, and the kept sessions that are here."""

    def __init__(self, port: int, sessions: list[socket.socket]) -> None:
        self.latency = Latency()
        self.took_s = 0.0
        self.publishers: list[socket.socket] = []
        self.sessions = {sock.fileno(): sock for sock in sessions}
        self.rest: dict[int, bytes] = {}
        self.frames: list[list[bytes]] = []
        for index in range(PUBLISHERS):
            body = b"\x00\x04MQTT\x04\x02\x00\x00" + string(b"publisher%03d" % index)
            self.publishers.append(connected(port, packet(0x10, body), (CONNACK,)))
            topic, payload = b"durable/%03d" % index, b"x" * PAYLOAD_BYTES
            self.frames.append([publish_packet(topic, 1, one + 1, payload) for one in range(WINDOW)])
        for sock in [*self.publishers, *sessions]:
            sock.setblocking(False)

    def run(self, messages: int, rate: int = 0) -> None:
        """Publish so many, until all are acknowledged: `rate` per second, or as fast as that goes."""
        self.latency = Latency()
        self.per_publisher = messages // PUBLISHERS
        self.sent = [0] * PUBLISHERS
        self.acknowledged = [0] * PUBLISHERS
        self.stamps: list[list[tuple[int, float]]] = [[] for _ in self.publishers]
        odd = [0] * PUBLISHERS  # bytes of an acknowledgement that came in part
        epoll = select.epoll()
        by_fd = {sock.fileno(): index for index, sock in enumerate(self.publishers)}
        for fd in (*by_fd, *self.sessions):
            epoll.register(fd, select.EPOLLIN)
        begin = heard = time.perf_counter()
        turn = 0  # of the publishers, where they are paced
        if not rate:
            for index in range(PUBLISHERS):
                self._send(index, WINDOW, begin)
        left = PUBLISHERS
        while left:
            events = epoll.poll(PACE_S if rate else STALL_S)
            now = time.perf_counter()
            heard = now if events else heard
            if now - heard > STALL_S:
                raise LoadError("nothing is acknowledged any more")
            for fd, _mask in events:
                index = by_fd.get(fd, -1)
                if index < 0:
                    self._take(fd)
                    continue
                data = self.publishers[index].recv(65_536)
                if not data:
                    raise LoadError("a publisher was disconnected")
                odd[index] += len(data)
                count = odd[index] // 4
                odd[index] %= 4
                self.acknowledged[index] += count
                self._note(self.stamps[index], count, now)
                if not rate:
                    self._send(index, count, now)
                if count and self.acknowledged[index] == self.per_publisher:
                    left -= 1
            if rate:
                due = min(messages, int((now - begin) * rate)) - sum(self.sent)
                for _ in range(min(-(-due // CHUNK), PUBLISHERS)):
                    self._send(turn, CHUNK, now)
                    turn = (turn + 1) % PUBLISHERS
        self.took_s = time.perf_counter() - begin
        epoll.close()

    def _send(self, index: int, count: int, now: float) -> None:
        """Have a publisher send so many, as far as its window and what it has to send allow."""
        sent = self.sent[index]
        count = min(count, self.per_publisher - sent, WINDOW - (sent - self.acknowledged[index]))
        if count <= 0:
            return
        frames = self.frames[index]
        start = sent % WINDOW
        self.publishers[index].send(b"".join(frames[start : start + count] + frames[: max(0, start + count - WINDOW)]))
        self.sent[index] += count
        self.stamps[index].append((count, now))

    def _note(self, stamps: list[tuple[int, float]], count: int, now: float) -> None:
        while count:
            messages, when = stamps[0]
            done = min(messages, count)
            self.latency.add(now - when, done)
            count -= done
            if done == messages:
                stamps.pop(0)
            else:
                stamps[0] = (messages - done, when)

    def _take(self, fd: int) -> None:
        """What came for a kept session, which acknowledges it."""
        sock = self.sessions[fd]
        data = self.rest.get(fd, b"") + sock.recv(262_144)
        size = len(self.frames[0][0])
        count = len(data) // size
        if count:
            if data[0] & 0xF0 != PUBLISH:
                raise LoadError(f"a session got {data[:4].hex()}")
            sock.send(acknowledgements(PUBACK, data, size - PAYLOAD_BYTES - 2, size, count))
        self.rest[fd] = data[count * size :]

    def close(self) -> None:
        """Close all connections."""
        for sock in [*self.publishers, *self.sessions.values()]:
            sock.close()
