"""`swellmq bench memory`: resident memory at start and for each idle connection."""

from __future__ import annotations

import argparse
import socket
from typing import Any

from swellmq.bench import report
from swellmq.bench.brokers import Broker, Running
from swellmq.bench.generator import LoadError, close_connections, connect_packet, open_connections, subscribe_packet
from swellmq.bench.machine import Machine, kernel_bytes, prepare_machine


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Resident memory at start and for each idle connection."
    report.add_arguments(parser)
    parser.add_argument(
        "--connections", type=report.positives, default=[1000, 10_000], help="how many, ascending: 1000,10000"
    )
    parser.add_argument("--subscribe", action="store_true", help="each with one filter that no other client has")


def run(arguments: argparse.Namespace) -> int:
    found = report.Report("memory")
    found.find_brokers(arguments.brokers)
    found.results = memory(found.brokers, arguments, prepare_machine())
    return found.write(arguments, memory_table(found.results), "memory of the broker's process")


def memory(brokers: list[Broker], arguments: argparse.Namespace, machine: Machine) -> list[dict[str, Any]]:
    """Resident memory at start and with so many connections; a result for each broker."""
    five = arguments.protocol == "5"
    if arguments.connections[-1] > machine.connections_max:
        raise LoadError(
            f"the limit on open files leaves room for {machine.connections_max:,} connections of the "
            f"{arguments.connections[-1]:,} asked for: `ulimit -n` lifts it, or ask for fewer"
        )
    results = []
    for broker in brokers:
        sockets: list[socket.socket] = []
        with Running(broker, machine.broker_core) as running:
            at_start = running.resident_bytes()
            kernel_at_start = kernel_bytes()
            result: dict[str, Any] = {"broker": broker.name, "resident_bytes_at_start": at_start, "steps": []}
            results.append(result)
            try:
                for connections in arguments.connections:
                    report.progress(f"{broker.name}: {connections:,} connections")
                    numbers = range(len(sockets), connections)
                    greetings = [connect_packet(b"device-%08d" % number, five) for number in numbers]
                    if arguments.subscribe:
                        for index, number in enumerate(numbers):
                            greetings[index] += subscribe_packet(b"fleet/%08d/cmd" % number, 1, five)
                    sockets += open_connections(running.port, greetings)
                    resident = running.resident_bytes()
                    step = {"connections": connections, "resident_bytes": resident}
                    step["bytes_per_connection"] = (resident - at_start) // connections
                    step["kernel_bytes_per_connection"] = (kernel_bytes() - kernel_at_start) // connections
                    result["steps"].append(step)
            finally:
                close_connections(sockets)
    return results


def memory_table(results: list[dict[str, Any]]) -> list[str]:
    """The results in Markdown: for each number of connections the sum, and what one more has cost since the start."""
    steps = [step["connections"] for step in results[0]["steps"]]
    rows = []
    for result in results:
        cells = [result["broker"], f"{result['resident_bytes_at_start'] / 1e6:.1f} MB"]
        for step in result["steps"]:
            cells.append(f"{step['resident_bytes'] / 1e6:.1f} MB, {step['bytes_per_connection'] / 1e3:.2f} KB")
        rows.append(cells)
    columns = ["resident memory", "at start", *(f"{number:,} connections, each" for number in steps)]
    lines = report.markdown_table(columns, rows)
    kernel = max(step["kernel_bytes_per_connection"] for result in results for step in result["steps"][-1:]) / 1e3
    return [*lines, "", f"The kernel's memory comes on top: up to {kernel:.1f} KB for both ends of a connection."]
