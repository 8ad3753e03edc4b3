"""`swellmq bench load`: messages per second and the broker's CPU time for each, broker beside broker.

A broker runs in a process of its own on one core, the load (`generator.py`) on another, and the brokers take turns in
each round, so that a machine that drifts does so for all of them.
"""

from __future__ import annotations

import argparse
import sys
from statistics import median
from typing import Any, Final

from swellmq.bench import report
from swellmq.bench.brokers import TICKS_PER_SECOND, Broker, BrokerError, Running
from swellmq.bench.generator import SCENARIOS, Connects, Load, LoadError
from swellmq.bench.machine import Machine, core_ticks, prepare_machine

YARDSTICK: Final = "mosquitto"
CONNECTS: Final = "connects"
CONNECTS_TITLE: Final = "connects, from SYN to CONNACK"
TICKS_MIN: Final = 20  # less CPU time than that is too coarse a figure
TICKS_WANTED: Final = 40
CONNECTS_FIRST: Final = 10_000
LIMITED: Final = "\\*"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Messages per second and CPU time per message, broker beside broker."
    report.add_arguments(parser)
    parser.add_argument(
        "--rounds", type=report.positive, default=3, help="each broker runs so often; the median counts"
    )
    parser.add_argument(
        "--messages", type=report.positive, help="deliveries in a run, instead of as many as a figure needs"
    )
    parser.add_argument("--scenario", nargs="+", choices=[*SCENARIOS, CONNECTS], default=[*SCENARIOS, CONNECTS])


def run(arguments: argparse.Namespace) -> int:
    found = report.Report("load")
    found.find_brokers(arguments.brokers)
    machine = prepare_machine()
    if machine.broker_core == machine.load_core:
        found.notes.append("This machine gives one core only: broker and load share it, so the rates mean little.")
    found.results = load(found.brokers, arguments, machine, found.notes)
    how = f"rounds: {arguments.rounds}, medians; "
    how += f"broker on core {machine.broker_core}, load on core {machine.load_core}"
    return found.write(arguments, load_table(found.brokers, found.results), how)


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
                report.progress(f"{name}, round {number + 1} of {arguments.rounds}: {broker.name}")
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
        report.progress(f"  {ticks} clock ticks of CPU time are too few to tell: again with {messages:,}")


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
    rows = []
    for scenario in dict.fromkeys(result["scenario"] for result in results):
        row = {result["broker"]: result for result in results if result["scenario"] == scenario}
        cells = [SCENARIOS[scenario].title if scenario in SCENARIOS else CONNECTS_TITLE]
        cells += [_cell(row[name]) for name in names]
        cells += [f"{row[name]['ratio']:.1f} x" if "ratio" in row[name] else "" for name in others]
        rows.append(cells)
    lines = report.markdown_table(["messages/s, broker CPU µs each", *columns], rows)
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
