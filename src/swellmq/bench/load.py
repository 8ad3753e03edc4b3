"""`swellmq bench load`: messages per second, the broker's CPU time for each and their latency, broker beside broker.

A broker runs in a process of its own on one core, the load on another, and the brokers take turns in each round, so
that a machine that drifts does so for all of them. Each run has a fresh process of the broker.
"""

from __future__ import annotations

import argparse
import sys
from statistics import median
from typing import Any, Final

from swellmq.bench import charts, report
from swellmq.bench.brokers import Broker, BrokerError, command_broker
from swellmq.bench.bursts import Connects, Retained
from swellmq.bench.flow import Load
from swellmq.bench.generator import LoadError
from swellmq.bench.load_report import FLOOR, YARDSTICK, draw, load_table
from swellmq.bench.machine import Machine, prepare_machine
from swellmq.bench.measure import TICKS_MIN, Run, measure, measure_enough
from swellmq.bench.scenarios import SCENARIOS

BURSTS: Final[dict[str, type[Connects] | type[Retained]]] = {"connects": Connects, "retained": Retained}
NAMES: Final = [*SCENARIOS, *BURSTS]
TITLES: Final = {name: scenario.title for name, scenario in SCENARIOS.items()} | {
    name: burst.title for name, burst in BURSTS.items()
}
FIRST_SHARE: Final = 10  # of a scenario's messages in the first run: a slow broker needs no more
BUSY: Final = 0.95  # of the time a process was running or waiting for its core: it was the limit
FIGURES: Final = (
    "messages_per_second",
    "cpu_us_per_message",
    "load_cpu_us_per_message",
    "broker_busy",
    "load_busy",
    "p50",
    "p99",
    "p99.9",
    "subscription_changes_per_second",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Messages per second, CPU time per message and latency, broker beside broker."
    report.add_arguments(parser)
    parser.add_argument(
        "--command", action="append", default=[], metavar="NAME=CMD", help="one more broker; {port} in it is the port"
    )
    parser.add_argument(
        "--rounds", type=report.positive, default=3, help="each broker runs so often; the median counts"
    )
    parser.add_argument("--messages", type=report.positive, help="deliveries in a run, instead of what a figure needs")
    parser.add_argument("--scenario", nargs="+", choices=NAMES, default=NAMES, metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--chart", type=charts.path, metavar="FILE", help="draw the figures, as .png or .svg")


def run(arguments: argparse.Namespace) -> int:
    found = report.Report("load")
    found.brokers += [command_broker(text) for text in arguments.command]
    found.find_brokers(arguments.brokers)
    machine = prepare_machine()
    if machine.broker_core == machine.load_core:
        found.notes.append("This machine gives one core only: broker and load share it, so the rates mean little.")
    found.results = load(found.brokers, arguments, machine, found.notes)
    how = f"rounds: {arguments.rounds}, medians; "
    how += f"broker on core {machine.broker_core}, load on core {machine.load_core}"
    if arguments.chart:
        draw(arguments.chart, found.brokers, found.results, TITLES)
    return found.write(arguments, load_table(found.brokers, found.results, TITLES), how)


def load(
    brokers: list[Broker], arguments: argparse.Namespace, machine: Machine, notes: list[str]
) -> list[dict[str, Any]]:
    """All rounds of all scenarios; a result for each scenario and broker. What is to be told is added to `notes`."""
    results: list[dict[str, Any]] = []
    for place, name in enumerate(arguments.scenario):
        able = [broker for broker in brokers if not broker.scenarios or name in broker.scenarios]
        of_scenario = {broker.name: {"scenario": name, "broker": broker.name, "rounds": []} for broker in able}
        results.extend(of_scenario.values())
        for number in range(arguments.rounds):
            for broker in able:
                result = of_scenario[broker.name]
                if "failure" in result:
                    continue
                at = f"{place + 1} of {len(arguments.scenario)}: {name}, round {number + 1} of {arguments.rounds}"
                report.progress(f"{at}: {broker.name}")
                try:
                    result["rounds"].append(_round(broker, result, arguments, machine))
                except (BrokerError, LoadError) as error:
                    result["failure"] = str(error)
                    notes.append(f"{broker.name}, {name}: failed: {error}.")
                    report.progress(notes[-1])
        for result in of_scenario.values():
            summarize(result, notes)
    compare(results)
    return results


def _round(broker: Broker, result: dict[str, Any], arguments: argparse.Namespace, machine: Machine) -> dict[str, Any]:
    """One run of a scenario, with as many messages as the round before."""
    name = result["scenario"]
    five = arguments.protocol == "5"
    if arguments.messages:
        messages = arguments.messages
    elif result["rounds"]:
        messages = result["rounds"][-1]["messages"]
    else:
        messages = BURSTS[name].messages_first if name in BURSTS else SCENARIOS[name].messages // FIRST_SHARE

    def start(port: int, messages: int) -> Run:
        return BURSTS[name](port, messages, five) if name in BURSTS else Load(port, SCENARIOS[name], messages, five)

    if arguments.messages:
        return measure(broker, machine, start, messages)
    return measure_enough(
        broker, machine, start, messages, machine.connections_max if name == "connects" else sys.maxsize
    )


def summarize(result: dict[str, Any], notes: list[str]) -> None:
    """Add the medians of the rounds to a result."""
    rounds = result["rounds"]
    if "failure" in result:
        return
    for figure in FIGURES:
        if figure in rounds[0]:
            result[figure] = median(each[figure] for each in rounds)
    result["load_limited"] = result["load_busy"] > BUSY >= result["broker_busy"]
    if min(each["cpu_ticks"] for each in rounds) < TICKS_MIN:
        text = f"{result['broker']}, {result['scenario']}: under {TICKS_MIN} clock ticks of CPU time, so µs are coarse."
        notes.append(text)


def compare(results: list[dict[str, Any]]) -> None:
    """Add to each result its ratio to the yardstick and to the floor, in messages per second of broker CPU."""
    for key, yardstick in (("ratio", YARDSTICK), ("ratio_to_floor", FLOOR)):
        theirs = {each["scenario"]: each.get("cpu_us_per_message") for each in results if each["broker"] == yardstick}
        for result in results:
            cost, ours = theirs.get(result["scenario"]), result.get("cpu_us_per_message")
            if cost and ours:
                result[key] = cost / ours
