"""`swellmq bench storm`: the same clients at different paces, and all of them cut and back at once.

A broker's memory should depend on who is connected, not on how fast they came. Each pace has a fresh broker. At 10 and
at 100 clients a second they come one by one, each once the one before was answered, and swellmq's clock jumps by what
would pass until the next one (`paced_serve.py`). Other brokers have no such clock; `--real-time` gives all of them the
time instead. At full speed a hundred are always under way. On that broker the reconnect storms follow.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from statistics import median
from typing import Any, Final

from swellmq.bench import BenchError, charts, report
from swellmq.bench.brokers import Broker
from swellmq.bench.generator import BLOCK
from swellmq.bench.machine import Machine, prepare_machine
from swellmq.bench.pool import megabytes
from swellmq.bench.progress import Progress
from swellmq.bench.stage import Stage, TcpStage

CLIENTS: Final = 10_000
PACES: Final = (10, 100, 0)  # clients a second; 0: at full speed
FULL_SPEED: Final = "full speed"
CYCLES: Final = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "The same clients at different paces, and all of them cut and back at once."
    report.add_arguments(parser, brokers=("swellmq", "mosquitto"))
    parser.add_argument("--clients", type=report.positive, default=CLIENTS, help=f"default {CLIENTS:,}")
    parser.add_argument("--cycles", type=report.positive, default=CYCLES, help="reconnect storms, one after the other")
    parser.add_argument("--no-subscribe", dest="subscribe", action="store_false", help="clients that only connect")
    parser.add_argument("--real-time", action="store_true", help="wait between clients: at 10 a second for minutes")
    parser.add_argument("--chart", type=charts.path, metavar="FILE", help="draw the storms into this PNG or SVG file")


def run(arguments: argparse.Namespace) -> int:
    found = report.Report("storm")
    found.find_brokers(arguments.brokers)
    machine = prepare_machine()
    if arguments.clients > machine.connections_max:
        raise BenchError(
            f"the limit on open files leaves room for {machine.connections_max:,} clients of the "
            f"{arguments.clients:,} asked for: `ulimit -n` lifts it, or ask for fewer with --clients"
        )
    for broker in found.brokers:
        found.results.append(storm(broker, arguments, machine))
    if arguments.chart:
        charts.draw_storm(arguments.chart, found.results)
    paced = "in real time" if arguments.real_time else "one by one, swellmq's clock moved by hand"
    how = f"10/s and 100/s {paced}; clients in a process of their own, on another core"
    return found.write(arguments, tables(found.results), how)


def storm(broker: Broker, arguments: argparse.Namespace, machine: Machine) -> dict[str, Any]:
    """All paces and storms of one broker; bytes are of its process, microseconds of its CPU time."""
    result: dict[str, Any] = {"broker": broker.name, "clients": arguments.clients, "paces": [], "cycles": []}
    with Progress(broker.name, len(PACES) + arguments.cycles) as progress:
        for pace in PACES:
            paced = broker if arguments.real_time else _paced(broker, pace)
            with TcpStage(paced, machine, arguments.subscribe, arguments.protocol == "5", 1, []) as stage:
                start = stage.figures()["resident_bytes"]
                figures = _arrive(stage, arguments.clients, pace, pace if arguments.real_time else 0)
                result["paces"].append({"pace": f"{pace}/s" if pace else FULL_SPEED, "start_bytes": start, **figures})
                progress.at(len(result["paces"]))
                if not pace:
                    result["cycles"] += _reconnect(stage, arguments, progress)
    grown = [each["resident_bytes"] for each in result["paces"]]
    result["spread"] = max(grown) / min(grown) - 1
    fast = [each["cpu_us"] for each in (result["paces"][-1], *result["cycles"])]
    result["connects_per_cpu_second"] = arguments.clients * 1e6 / max(1, median(fast))
    return result


def _paced(broker: Broker, pace: int) -> Broker:
    """The broker whose clock moves at this pace, where it is ours."""
    if not pace or not broker.name.startswith("swellmq"):
        return broker
    before, after = broker.command[: broker.command.index("-m")], broker.command[broker.command.index("serve") + 1 :]
    return replace(broker, command=[*before, "-m", "swellmq.bench.paced_serve", str(1000 // pace), *after])


def _arrive(stage: Stage, clients: int, pace: int, rate: int) -> dict[str, int]:
    cpu_us = stage.cpu_us()
    us = stage.arrive(clients, 1 if pace else BLOCK, rate)
    return {"us": us, "cpu_us": stage.cpu_us() - cpu_us, "resident_bytes": stage.figures()["resident_bytes"]}


def _reconnect(stage: Stage, arguments: argparse.Namespace, progress: Progress) -> list[dict[str, int]]:
    cycles = []
    for number in range(arguments.cycles):
        stage.cut()
        gone = stage.figures()["resident_bytes"]
        cycles.append({"gone_bytes": gone, **_arrive(stage, arguments.clients, 0, 0)})
        progress.at(len(PACES) + number + 1)
    return cycles


def tables(results: list[dict[str, Any]]) -> list[str]:
    """The results in Markdown: memory by pace, then memory and connects in the reconnect storms."""
    clients = results[0]["clients"]
    columns = [f"{clients:,} clients", *(each["pace"] for each in results[0]["paces"]), "spread", "connects/CPU s"]
    rows = []
    for result in results:
        cells = [result["broker"], *(megabytes(each["resident_bytes"]) for each in result["paces"])]
        rows.append([*cells, f"{result['spread']:.1%}", f"{result['connects_per_cpu_second']:,.0f}"])
    lines = [*report.markdown_table(columns, rows), ""]
    columns, rows = ["all cut, all back", "before"], []
    for number in range(len(results[0]["cycles"])):
        columns += [f"gone {number + 1}", f"back {number + 1}"]
    for result in results:
        before = result["paces"][-1]["resident_bytes"]
        cells = [result["broker"], megabytes(before)]
        for each in result["cycles"]:
            cells += [megabytes(each["gone_bytes"]), megabytes(each["resident_bytes"])]
        rows.append([*cells, f"{result['cycles'][-1]['resident_bytes'] / before - 1:+.1%}"])
    return [*lines, *report.markdown_table([*columns, "change"], rows)]
