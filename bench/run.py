"""Measure swellmq beside mosquitto: messages per second, the broker's CPU time for each, memory per connection.

    python bench/run.py [load] [--rounds 3] [--scenario NAME ...] [--brokers NAME,...] [--json FILE] [--markdown FILE]
    python bench/run.py memory [--connections 1000,10000] [--subscribe]

A broker runs in a process of its own on one core, the load (`load.py`) on another, and the brokers take turns in each
round, so that a machine that drifts does so for all of them. The table goes to stdout, progress to stderr.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from brokers import TICKS_PER_SECOND, Broker, BrokerError, Running, core_ticks, find_broker, kernel_bytes
from load import (
    SCENARIOS,
    Connects,
    Load,
    LoadError,
    close_connections,
    connect_packet,
    open_connections,
    subscribe_packet,
)

BROKERS: Final = ("swellmq", "swellmq-interpreted", "mosquitto")
YARDSTICK: Final = "mosquitto"
CONNECTS: Final = "connects"
CONNECTS_TITLE: Final = "connects, from SYN to CONNACK"
TICKS_MIN: Final = 20  # less CPU time than that is too coarse a figure
TICKS_WANTED: Final = 40
CONNECTS_FIRST: Final = 10_000
DESCRIPTORS_BESIDE: Final = 64  # open files that are no connections
LIMITED: Final = "\\*"


@dataclass(frozen=True)
class Machine:
    """What there is to measure on."""

    broker_core: int
    load_core: int
    connections_max: int


def main(argv: list[str]) -> int:
    """Run the command line; the exit code: 0 measured, 1 something failed, 2 bad arguments."""
    if not argv or argv[0].startswith("-"):
        argv = ["load", *argv]
    parser = argparse.ArgumentParser(prog="bench/run.py", description="Measure swellmq beside mosquitto.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="{load,memory}")
    add = commands.add_parser("load", help="messages per second and CPU time per message (the default)")
    add.add_argument("--rounds", type=_positive, default=3, help="each broker runs so often; the median counts")
    add.add_argument("--messages", type=_positive, help="deliveries in a run, instead of as many as a figure needs")
    add.add_argument("--scenario", nargs="+", choices=[*SCENARIOS, CONNECTS], default=[*SCENARIOS, CONNECTS])
    idle = commands.add_parser("memory", help="resident memory at start and for each idle connection")
    idle.add_argument("--connections", type=_positives, default=[1000, 10_000], help="how many, ascending: 1000,10000")
    idle.add_argument("--subscribe", action="store_true", help="each with one filter that no other client has")
    for command in (add, idle):
        command.add_argument("--brokers", type=_names, default=list(BROKERS), help=",".join(BROKERS))
        command.add_argument("--protocol", choices=("3.1.1", "5"), default="3.1.1")
        command.add_argument("--json", type=Path, help="write all figures of all rounds to this file")
        command.add_argument("--markdown", type=Path, help="write the table to this file too")
    arguments = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(143))  # so that the brokers are stopped
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        return 130
    except (BrokerError, LoadError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def _positives(text: str) -> list[int]:
    return sorted(_positive(word) for word in text.split(","))


def _names(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in BROKERS:
            raise argparse.ArgumentTypeError(f"no broker is called {name!r}: choose from {', '.join(BROKERS)}")
    return names


def _run(arguments: argparse.Namespace) -> int:
    notes: list[str] = []
    brokers: list[Broker] = []
    for name in arguments.brokers:
        try:
            brokers.append(find_broker(name))
        except BrokerError as error:
            notes.append(f"{error}.")
    if not brokers:
        raise BrokerError("; ".join(notes))
    machine = _machine()
    if machine.broker_core == machine.load_core:
        notes.append("This machine gives one core only: broker and load share it, so the rates mean little.")
    os.sched_setaffinity(0, {machine.load_core})
    if arguments.command == "load":
        results = load(brokers, arguments, machine, notes)
        table = load_table(brokers, results)
    else:
        results = memory(brokers, arguments, machine)
        table = memory_table(results)
    text = "\n".join([*table, "", *_setting(brokers, arguments, machine), *notes])
    print(text)
    if arguments.markdown:
        arguments.markdown.write_text(text + "\n")
    if arguments.json:
        versions = {broker.name: broker.version for broker in brokers}
        report = {"command": arguments.command, "brokers": versions, "notes": notes, "results": results}
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")
    return 1 if any("failure" in result for result in results) else 0


def _machine() -> Machine:
    """The cores this process may use, and the room for connections, once the limit on open files is raised."""
    cores = sorted(os.sched_getaffinity(0))
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    room = hard - DESCRIPTORS_BESIDE if hard != resource.RLIM_INFINITY else 1_000_000
    return Machine(cores[0], cores[-1], room)


def _setting(brokers: list[Broker], arguments: argparse.Namespace, machine: Machine) -> list[str]:
    """Where and how it was measured."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    model = models[0].partition(": ")[2] if models else platform.machine()
    how = "memory of the broker's process"
    if arguments.command == "load":
        how = f"rounds: {arguments.rounds}, medians; "
        how += f"broker on core {machine.broker_core}, load on core {machine.load_core}"
    where = f"{model}, Linux {platform.release()}; MQTT {arguments.protocol} over loopback; {how}."
    return ["; ".join(broker.version for broker in brokers) + ".", where]


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# Load


def load(
    brokers: list[Broker], arguments: argparse.Namespace, machine: Machine, notes: list[str]
) -> list[dict[str, Any]]:
    """All rounds of all scenarios; a result for each scenario and broker. What is to be told is added to `notes`."""
    results: list[dict[str, Any]] = []
    for name in arguments.scenario:
        of_scenario = {broker.name: {"scenario": name, "broker": broker.name, "rounds": []} for broker in brokers}
        results.extend(of_scenario.values())
        for number in range(arguments.rounds):
            for broker in brokers:
                result = of_scenario[broker.name]
                if "failure" in result:
                    continue
                _progress(f"{name}, round {number + 1} of {arguments.rounds}: {broker.name}")
                try:
                    result["rounds"].append(_round(broker, result, arguments, machine))
                except (BrokerError, LoadError) as error:
                    result["failure"] = str(error)
                    notes.append(f"{broker.name}, {name}: failed: {error}.")
                    _progress(notes[-1])
        for result in of_scenario.values():
            summarize(result, notes)
    compare(results)
    return results


def _round(broker: Broker, result: dict[str, Any], arguments: argparse.Namespace, machine: Machine) -> dict[str, Any]:
    """One run that took enough CPU time to be told; one that did not is run again with more messages."""
    name = result["scenario"]
    most = machine.connections_max if name == CONNECTS else sys.maxsize
    messages = CONNECTS_FIRST if name == CONNECTS else SCENARIOS[name].messages
    if result["rounds"]:
        messages = result["rounds"][-1]["messages"]
    messages = min(arguments.messages or messages, most)
    while True:
        figures = measure(broker, name, messages, machine, arguments.protocol == "5")
        ticks = figures["cpu_ticks"]
        if arguments.messages or ticks >= TICKS_MIN or messages >= most:
            return figures
        messages = min(most, messages * min(20, -(-TICKS_WANTED // max(1, ticks))))
        _progress(f"  {ticks} clock ticks of CPU time are too few to tell: again with {messages:,}")


def measure(broker: Broker, name: str, messages: int, machine: Machine, five: bool = False) -> dict[str, Any]:
    """One run of a scenario against a fresh process of a broker."""
    cores = (machine.broker_core, machine.load_core)
    with Running(broker, machine.broker_core) as running:
        run: Load | Connects
        if name == CONNECTS:
            run = Connects(running.port, messages, five)
        else:
            run = Load(running.port, SCENARIOS[name], messages, five)
        try:
            cores_before = [core_ticks(core) for core in cores]
            ticks_before = running.cpu_ticks()
            seconds = run.run()
            ticks = running.cpu_ticks() - ticks_before
            spans = zip(cores_before, [core_ticks(core) for core in cores], strict=True)
            busy = [(after[0] - before[0]) / max(1, after[1] - before[1]) for before, after in spans]
        except LoadError as error:
            raise LoadError(f"{error}; the broker's log ends: {running.log()}") from error
        finally:
            run.close()
    return {
        "messages": run.messages,
        "seconds": seconds,
        "cpu_ticks": ticks,
        "messages_per_second": run.messages / seconds,
        "cpu_us_per_message": ticks / TICKS_PER_SECOND * 1e6 / run.messages,
        "broker_core_busy": busy[0],
        "load_core_busy": busy[1],
    }


def summarize(result: dict[str, Any], notes: list[str]) -> None:
    """Add the medians of the rounds to a result."""
    rounds = result["rounds"]
    if "failure" in result:
        return
    for figure in ("messages_per_second", "cpu_us_per_message", "broker_core_busy", "load_core_busy"):
        result[figure] = median(each[figure] for each in rounds)
    result["load_limited"] = result["load_core_busy"] > 0.95 >= result["broker_core_busy"]
    if min(each["cpu_ticks"] for each in rounds) < TICKS_MIN:
        text = f"{result['broker']}, {result['scenario']}: under {TICKS_MIN} clock ticks of CPU time, so µs are coarse."
        notes.append(text)


def compare(results: list[dict[str, Any]]) -> None:
    """Add to each result its ratio to the yardstick, in messages per second of broker CPU."""
    yardsticks = {result["scenario"]: result for result in results if result["broker"] == YARDSTICK}
    for result in results:
        theirs = yardsticks.get(result["scenario"], {}).get("cpu_us_per_message")
        ours = result.get("cpu_us_per_message")
        if theirs and ours:
            result["ratio"] = theirs / ours


def load_table(brokers: list[Broker], results: list[dict[str, Any]]) -> list[str]:
    """The results in Markdown, a row for each scenario."""
    names = [broker.name for broker in brokers]
    others = [name for name in names if name != YARDSTICK and YARDSTICK in names]
    columns = [*names, *(f"{name} : {YARDSTICK}" for name in others)]
    lines = ["| messages/s, broker CPU µs each | " + " | ".join(columns) + " |"]
    lines.append("| --- |" + " --- |" * len(columns))
    for scenario in dict.fromkeys(result["scenario"] for result in results):
        row = {result["broker"]: result for result in results if result["scenario"] == scenario}
        cells = [SCENARIOS[scenario].title if scenario in SCENARIOS else CONNECTS_TITLE]
        cells += [_cell(row[name]) for name in names]
        cells += [f"{row[name]['ratio']:.1f} x" if "ratio" in row[name] else "" for name in others]
        lines.append("| " + " | ".join(cells) + " |")
    if others:
        lines += ["", f"Ratios are messages per second of broker CPU to those of {YARDSTICK}."]
    if any(result.get("load_limited") for result in results):
        lines += ["", f"{LIMITED} The load was the limit: its core was over 95 % busy, the broker's was not."]
    return lines


def _cell(result: dict[str, Any]) -> str:
    if "failure" in result:
        return "failed"
    rate = result["messages_per_second"]
    told = f"{rate / 1e6:.2f} M" if rate >= 1e6 else f"{rate / 1e3:.1f} k"
    return f"{told}{LIMITED if result['load_limited'] else ''}, {result['cpu_us_per_message']:.3g} µs"


# Memory


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
                    _progress(f"{broker.name}: {connections:,} connections")
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
    lines = ["| resident memory | at start | " + " | ".join(f"{n:,} connections, each" for n in steps) + " |"]
    lines.append("| --- |" + " --- |" * (1 + len(steps)))
    for result in results:
        cells = [result["broker"], f"{result['resident_bytes_at_start'] / 1e6:.1f} MB"]
        for step in result["steps"]:
            cells.append(f"{step['resident_bytes'] / 1e6:.1f} MB, {step['bytes_per_connection'] / 1e3:.2f} KB")
        lines.append("| " + " | ".join(cells) + " |")
    kernel = max(step["kernel_bytes_per_connection"] for result in results for step in result["steps"][-1:]) / 1e3
    return [*lines, "", f"The kernel's memory comes on top: up to {kernel:.1f} KB for both ends of a connection."]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
