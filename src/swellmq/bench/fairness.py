"""`swellmq bench fairness`: what one client's flood does to the others.

One publisher sends as fast as its socket takes it, from a process that leaves its core to whoever measures:

    fan-out         to thousands of subscribers, all of which get the same bytes
    fan-out-own     the same, but each needs a frame of its own (MQTT 5.0, Subscription Identifiers)
    flood           to one subscriber
    stopped         to fifty subscribers, beside one more that stops reading

Another client sends a PINGREQ and a message to itself in turn, every 2 ms, first beside clients that are only there,
then beside the flood; their latencies are told, and the ratio of the p99 of its messages. `arrived/s` is what the
subscribers got, `CPU` what the broker took for each of these, `memory` what it has grown by.
"""

from __future__ import annotations

import argparse
import select
import socket
import time
from typing import Any, Final

from swellmq.bench import report
from swellmq.bench.brokers import TICKS_PER_SECOND, Broker, Running
from swellmq.bench.crowd import TOPIC as CROWD_TOPIC
from swellmq.bench.durable import connected
from swellmq.bench.generator import CONNACK, PINGREQ, SUBACK, connect_packet, publish_packet, subscribe_packet
from swellmq.bench.latency import Latency
from swellmq.bench.machine import Machine, prepare_machine
from swellmq.bench.worker import Worker

EVERY_S: Final = 0.002
TOPIC: Final = b"fair/own"
CASES: Final = {"fan-out": (0, False), "fan-out-own": (0, True), "flood": (1, False), "stopped": (50, False)}
STOPPED: Final = "stopped"
BEFORE: Final = "before it"  # the row of `stopped` with all reading
COLUMNS: Final = (
    "",
    "PINGREQ p50/p99/p99.9",
    "quiet",
    "message p50/p99/p99.9",
    "quiet",
    "ratio",
    "arrived/s",
    "CPU",
    "memory",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = __doc__
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    report.add_arguments(parser, ("swellmq", "mosquitto"))
    parser.add_argument("--case", nargs="+", choices=CASES, default=list(CASES), metavar="NAME", help=", ".join(CASES))
    parser.add_argument("--subscribers", type=report.positive, default=15_000, help="of the fan-outs [default 15000]")
    parser.add_argument("--seconds", type=report.positive, default=5, help="of each flood [default 5]")
    parser.add_argument("--payload", type=report.positive, default=64, metavar="BYTES", help="[default 64]")


def run(arguments: argparse.Namespace) -> int:
    found = report.Report("fairness")
    found.find_brokers(arguments.brokers)
    machine = prepare_machine()
    for case in arguments.case:
        for broker in found.brokers:
            report.progress(f"{case}: {broker.name}")
            found.results += measure(broker, machine, case, arguments)
    rows = [row_of(result) for result in found.results]
    how = f"{arguments.seconds} s each, {arguments.payload} bytes, milliseconds"
    return found.write(arguments, report.markdown_table(list(COLUMNS), rows), how)


def row_of(result: dict[str, Any]) -> list[str]:
    ratio = result["pair"]["p99"] / result["pair_quiet"]["p99"]
    shown = [
        f"{result['case']}, {result['broker']}",
        three(result["ping"]),
        f"{result['ping_quiet']['p99']:.2f}",
        three(result["pair"]),
        f"{result['pair_quiet']['p99']:.2f}",
        f"{ratio:.1f} x",
        f"{result['arrived_per_second']:,.0f}",
        f"{result['cpu_us_per_message']:.3g} µs",
        f"{result['grown_bytes'] / 1e6:+.1f} MB",
    ]
    return shown


def three(figures: dict[str, float]) -> str:
    return " / ".join(f"{figures[name]:.2f}" for name in ("p50", "p99", "p99.9"))


def measure(broker: Broker, machine: Machine, case: str, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """One case on a fresh broker; `stopped` gives two results, one of them with nobody stopped."""
    subscribers, own = CASES[case]
    words = [str(subscribers or arguments.subscribers), str(int(own)), str(arguments.payload)]
    with Running(broker, machine.broker_core) as running:
        words.insert(0, str(running.port))
        with Worker("swellmq.bench.crowd", words, machine.load_core) as crowd:
            crowd.ask("run", 0)  # answered once all are there
            probe = Probe(running.port)
            quiet = probe.measure(arguments.seconds / 2)
            # Let in before the flood: a broker that is overloaded by then refuses new clients.
            with connected(running.port, connect_packet(b"stopped"), (CONNACK,)) as reader:
                results = [flood(running, crowd, probe, quiet, arguments.seconds)]
                if case == STOPPED:
                    results[0]["case"] = f"{STOPPED}, {BEFORE}"
                    subscribe_and_stop(reader)
                    results.append(flood(running, crowd, probe, quiet, arguments.seconds))
            probe.close()
    for result in results:
        result["broker"] = broker.name
        result.setdefault("case", case)
    return results


def subscribe_and_stop(sock: socket.socket) -> None:
    """Subscribe to what the crowd publishes, with the least room that the system gives, and never read."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    sock.sendall(subscribe_packet(CROWD_TOPIC, 0))
    assert sock.recv(5, socket.MSG_WAITALL)[0] == SUBACK


def flood(
    running: Running, crowd: Worker, probe: Probe, quiet: tuple[Latency, Latency], seconds: float
) -> dict[str, Any]:
    """Let the crowd publish, and measure beside it."""
    resident = running.resident_bytes()
    ticks = running.cpu_ticks()
    crowd.send("run", int(seconds * 1000))
    pings, pairs = probe.measure(seconds * 0.9)  # while the flood lasts
    answer = crowd.receive()
    used_s = (running.cpu_ticks() - ticks) / TICKS_PER_SECOND
    return {
        "ping": pings.percentiles_ms(),
        "ping_quiet": quiet[0].percentiles_ms(),
        "pair": pairs.percentiles_ms(),
        "pair_quiet": quiet[1].percentiles_ms(),
        "published": answer["published"],
        "arrived_per_second": answer["arrived"] * 1e6 / answer["us"],
        "cpu_us_per_message": used_s * 1e6 / max(1, answer["taken"]),
        "grown_bytes": running.resident_bytes() - resident,
    }


class Probe:
    """A client that says little, and wants its answers."""

    def __init__(self, port: int) -> None:
        self.sock = connected(port, connect_packet(b"probe") + subscribe_packet(TOPIC, 0), (CONNACK, SUBACK))
        self.message = publish_packet(TOPIC, 0, 0, b"fair")

    def measure(self, seconds: float) -> tuple[Latency, Latency]:
        """For so long: how long the answers to PINGREQ took, and the messages to itself."""
        pings, pairs = Latency(), Latency()
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            pings.add(self._exchange(PINGREQ, 2), 1)
            pairs.add(self._exchange(self.message, len(self.message)), 1)
        return pings, pairs

    def _exchange(self, request: bytes, answer_bytes: int) -> float:
        select.select([], [], [], EVERY_S)
        begin = time.perf_counter()
        self.sock.sendall(request)
        self.sock.recv(answer_bytes, socket.MSG_WAITALL)
        return time.perf_counter() - begin

    def close(self) -> None:
        """Leave."""
        self.sock.close()
