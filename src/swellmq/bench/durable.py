"""`swellmq bench durable`: what it costs that an acknowledgement means "stored".

A hundred publishers send QoS 1 to a hundred kept sessions, which are away or take what comes, with each durability of
ours, without a store, and beside mosquitto with its persistence on, which acknowledges from memory and saves now and
then. Beside the load one client sends itself a QoS 0 message again and again: it concerns no kept session, so it should
not notice.
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

PUBLISHERS: Final = 100
WINDOW: Final = 100  # messages that a publisher has under way
PAYLOAD_BYTES: Final = 64
STALL_S: Final = 20.0
PING_EVERY_S: Final = 0.002
MODES: Final = ("disk", "written", "memory", "no store")
MOSQUITTO_CONF: Final = "persistence true\npersistence_location {folder}/\nmax_queued_bytes 0\n"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = __doc__
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add_common(parser, ("swellmq", "mosquitto"))
    parser.add_argument("--messages", type=positive, default=300_000, help="of each run [default 300000]")
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
                with tempfile.TemporaryDirectory(prefix="swellmq-durable-", dir=arguments.data) as folder:
                    figures.append(measure(placed(broker, folder), away, arguments.messages, machine.broker_core))
            figures.sort(key=lambda one: one["per_second"])
            median = figures[len(figures) // 2]
            report.results.append({"broker": broker.name, "away": away, **median})
            rows.append(row_of(broker.name, away, median))
    columns = ["", "sessions", "acknowledged/s", "CPU µs each", "p50 ms", "p99 ms", "QoS 0 p99", "under load"]
    how = (
        f"{PUBLISHERS} publishers, QoS 1, {PAYLOAD_BYTES} bytes, {WINDOW} under way each, median of {arguments.rounds}"
    )
    return report.write(arguments, markdown_table(columns, rows), how)


def row_of(name: str, away: bool, figures: dict[str, float]) -> list[str]:
    names = ("p50_ms", "p99_ms", "quiet_p99_ms", "loaded_p99_ms")
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


def measure(broker: Broker, away: bool, messages: int, core: int) -> dict[str, float]:
    """One run: messages acknowledged per second, CPU time, and latencies."""
    with Running(broker, core) as running:
        sessions = [kept_session(running.port, index) for index in range(PUBLISHERS)]
        if away:
            for sock in sessions:
                sock.close()
            sessions = []
        load = Load(running.port, sessions, messages)
        quiet = load.quiet()
        ticks = running.cpu_ticks()
        load.run()
        used_s = (running.cpu_ticks() - ticks) / TICKS_PER_SECOND
        load.close()
    told = load.latency.percentiles_ms()
    return {
        "per_second": messages / load.took_s,
        "cpu_us": used_s / messages * 1e6,
        "p50_ms": told["p50"],
        "p99_ms": told["p99"],
        "quiet_p99_ms": quiet,
        "loaded_p99_ms": load.pings.percentiles_ms().get("p99", 0.0),
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
    """Publishers, the kept sessions that are here, and the client that sends to itself at QoS 0."""

    def __init__(self, port: int, sessions: list[socket.socket], messages: int) -> None:
        self.latency = Latency()
        self.pings = Latency()
        self.took_s = 0.0
        self.per_publisher = messages // PUBLISHERS
        self.publishers: list[socket.socket] = []
        self.sessions = {sock.fileno(): sock for sock in sessions}
        self.rest: dict[int, bytes] = {}
        self.frames: list[list[bytes]] = []
        for index in range(PUBLISHERS):
            body = b"\x00\x04MQTT\x04\x02\x00\x00" + string(b"publisher%03d" % index)
            self.publishers.append(connected(port, packet(0x10, body), (CONNACK,)))
            topic, payload = b"durable/%03d" % index, b"x" * PAYLOAD_BYTES
            self.frames.append([publish_packet(topic, 1, one + 1, payload) for one in range(WINDOW)])
        body = b"\x00\x04MQTT\x04\x02\x00\x00" + string(b"pinger")
        self.pinger = connected(port, packet(0x10, body) + subscribe_packet(b"ping", 0), (CONNACK, SUBACK))
        self.ping = publish_packet(b"ping", 0, 0, b"p" * 8)
        self.ping_sent = 0.0
        self.ping_bytes = 0

    def quiet(self) -> float:
        """The p99 of QoS 0 without the load, in ms."""
        latency = Latency()
        for _ in range(500):
            begin = time.perf_counter()
            self.pinger.sendall(self.ping)
            self.pinger.recv(len(self.ping), socket.MSG_WAITALL)
            latency.add(time.perf_counter() - begin, 1)
            select.select([], [], [], PING_EVERY_S)
        return latency.percentiles_ms()["p99"]

    def run(self) -> None:
        """Publish all, until all is acknowledged."""
        epoll = select.epoll()
        by_fd: dict[int, int] = {}
        for index, sock in enumerate(self.publishers):
            sock.setblocking(False)
            by_fd[sock.fileno()] = index
            epoll.register(sock, select.EPOLLIN)
        for sock in self.sessions.values():
            sock.setblocking(False)
            epoll.register(sock, select.EPOLLIN)
        epoll.register(self.pinger, select.EPOLLIN)
        begin = time.perf_counter()
        at_first = min(WINDOW, self.per_publisher)
        sent = [at_first] * PUBLISHERS
        acknowledged = [0] * PUBLISHERS
        stamps: list[list[tuple[int, float]]] = [[(at_first, begin)] for _ in self.publishers]
        for index, sock in enumerate(self.publishers):
            sock.send(b"".join(self.frames[index][:at_first]))
        odd = [0] * PUBLISHERS  # bytes of an acknowledgement that came in part
        left = PUBLISHERS
        while left:
            events = epoll.poll(STALL_S)
            if not events:
                raise LoadError("nothing is acknowledged any more")
            now = time.perf_counter()
            if not self.ping_sent:
                self.ping_sent = now
                self.pinger.send(self.ping)
            for fd, _mask in events:
                index = by_fd.get(fd, -1)
                if index < 0:
                    self._other(fd, now)
                    continue
                data = self.publishers[index].recv(65_536)
                if not data:
                    raise LoadError("a publisher was disconnected")
                odd[index] += len(data)
                count = odd[index] // 4
                odd[index] %= 4
                acknowledged[index] += count
                self._note(stamps[index], count, now)
                more = min(count, self.per_publisher - sent[index])
                if more > 0:
                    frames = self.frames[index]
                    start = sent[index] % WINDOW
                    block = frames[start : start + more] + frames[: max(0, start + more - WINDOW)]
                    self.publishers[index].send(b"".join(block))
                    sent[index] += more
                    stamps[index].append((more, now))
                if acknowledged[index] == self.per_publisher:
                    left -= 1
        self.took_s = time.perf_counter() - begin
        epoll.close()

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

    def _other(self, fd: int, now: float) -> None:
        """What came for the pinger, or for a kept session, which acknowledges it."""
        if fd == self.pinger.fileno():
            self.ping_bytes += len(self.pinger.recv(65_536))
            if self.ping_bytes == len(self.ping):
                self.ping_bytes = 0
                self.pings.add(now - self.ping_sent, 1)
                self.ping_sent = 0.0
            return
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
        for sock in [*self.publishers, *self.sessions.values(), self.pinger]:
            sock.close()
