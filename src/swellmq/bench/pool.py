"""`swellmq bench pool`: the memory of a broker while a fleet arrives, row by row, and what remains when it is gone.

The rows are those of the timeline in the design note that the pool follows: at start, before and after each step of
growth, and at round numbers. Beside them stands what the note expects of its own broker, 3 MB and 18 KB a connection.
"""

from __future__ import annotations

import argparse
import time
from typing import Any, Final

from swellmq.bench import BenchError, charts, report
from swellmq.bench.brokers import Broker
from swellmq.bench.machine import Machine, prepare_machine
from swellmq.bench.progress import Progress
from swellmq.bench.stage import MemoryStage, Stage, TcpStage
from swellmq.net.pool import MODES, PoolSettings, growth_sequence

NOTE_START_BYTES: Final = 3_000_000
NOTE_CONNECTION_BYTES: Final = 18_000
ROUND: Final = (1_000, 5_000, 10_000, 15_000, 19_000)
ROUND_IN_MEMORY: Final = (1_000, 10_000, 100_000, 1_000_000)
CALM_S: Final = 15.0  # from the end of the fleet to the last look: the pool gives memory back after ten


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "The memory of a broker while a fleet arrives, and what remains when it is gone."
    report.add_arguments(parser, brokers=("swellmq",))
    parser.add_argument("--mode", type=modes, default=["dynamic"], metavar="MODE,...", help=f"of {', '.join(MODES)}")
    parser.add_argument(
        "--transport", choices=("tcp", "memory"), default="tcp", help="memory: the same above the socket"
    )
    parser.add_argument("--connections", type=report.positives, metavar="N,...", help="instead of the timeline's own")
    parser.add_argument("--no-subscribe", dest="subscribe", action="store_false", help="clients that only connect")
    parser.add_argument("--processes", type=report.positive, default=1, help="brokers, each with a fleet of its own")
    parser.add_argument("--calm", type=float, default=CALM_S, metavar="S", help="wait so long after all have left")
    parser.add_argument("--chart", type=charts.path, metavar="FILE", help="draw the rows into this PNG or SVG file")


def modes(text: str) -> list[str]:
    """An argument like `dynamic,none`."""
    for name in text.split(","):
        if name not in MODES:
            raise argparse.ArgumentTypeError(f"no mode is called {name!r}: choose from {', '.join(MODES)}")
    return text.split(",")


def run(arguments: argparse.Namespace) -> int:
    if arguments.transport == "memory" and arguments.processes > 1:
        raise BenchError("--processes is for --transport tcp: in memory one process has room for all")
    found = report.Report("pool")
    found.find_brokers(arguments.brokers)
    machine = prepare_machine()
    for broker in found.brokers:
        for mode in arguments.mode if broker.name.startswith("swellmq") else [""]:
            found.results.append(timeline(broker, mode, arguments, machine))
            found.notes += growth_note(found.results[-1])
    if arguments.chart:
        charts.draw_pool(arguments.chart, found.results)
    how = "clients in a process of their own, on another core; the kernel's memory is that of the whole machine"
    if arguments.transport == "memory":
        how = "clients in the broker's process, without sockets"
    elif arguments.processes > 1:
        how = f"{arguments.processes} brokers, and as many processes of clients"
    return found.write(arguments, tables(found.results), how)


def steps(arguments: argparse.Namespace, room: int) -> list[int]:
    """How many connections each row has: what was asked for, or round numbers and both sides of each trigger.

    Raises BenchError where there is no room for so many.
    """
    if arguments.connections:
        wanted: list[int] = arguments.connections
    else:
        settings = PoolSettings()
        round_numbers = ROUND if arguments.transport == "tcp" else ROUND_IN_MEMORY
        wanted = [number * arguments.processes for number in round_numbers]
        if arguments.processes == 1:
            sizes = growth_sequence(settings.initial_size, settings.max_size)
            triggers = [size * settings.threshold_percent // 100 for size in sizes[:-1]]
            wanted += [number for trigger in triggers for number in (trigger, trigger + 1) if number < wanted[-1]]
    if max(wanted) > room:
        raise BenchError(
            f"the limit on open files leaves room for {room:,} connections of the {max(wanted):,} asked for: "
            "`ulimit -n` lifts it, --processes shares them, --transport memory needs none"
        )
    return sorted(set(wanted))


def timeline(broker: Broker, mode: str, arguments: argparse.Namespace, machine: Machine) -> dict[str, Any]:
    """One run of a broker through all rows; `rows` begins at start, `after` is when all clients have left."""
    room = machine.connections_max * arguments.processes if arguments.transport == "tcp" else 1_000_000
    numbers = steps(arguments, room)
    title = f"{broker.name}, {mode}" if mode else broker.name
    with Progress(title, numbers[-1]) as progress, _stage(broker, mode, arguments, machine) as stage:
        rows = [_row(stage, 0, 0)]
        start = rows[0]["resident_bytes"]
        for number in numbers:
            us = stage.arrive(number)
            row = _row(stage, number, us)
            row["arrived"] = number - rows[-1]["connections"]
            row["bytes_per_connection"] = (row["resident_bytes"] - start) // number
            rows.append(row)
            progress.at(number)
        stage.cut()
        after = [_row(stage, 0, 0)]
        time.sleep(arguments.calm)
        after.append(_row(stage, 0, 0))
    return {
        "title": title,
        "broker": broker.name,
        "mode": mode,
        "transport": arguments.transport,
        "processes": arguments.processes,
        "subscribed": arguments.subscribe,
        "calm_s": arguments.calm,
        "rows": rows,
        "after": after,
    }


def _stage(broker: Broker, mode: str, arguments: argparse.Namespace, machine: Machine) -> Stage:
    options = ["--pool.mode", mode] if mode else []
    five = arguments.protocol == "5"
    if arguments.transport == "tcp":
        return TcpStage(broker, machine, arguments.subscribe, five, arguments.processes, options)
    return MemoryStage(broker, machine, arguments.subscribe, five, options)


def _row(stage: Stage, connections: int, us: int) -> dict[str, Any]:
    row: dict[str, Any] = {"connections": connections, "us": us, **stage.figures()}
    row["events"], stage.events = stage.events, []
    return row


# Tables


def tables(results: list[dict[str, Any]]) -> list[str]:
    """All runs in Markdown: a table for each, then one that compares them where there are several."""
    lines: list[str] = []
    for result in results:
        lines += ["", f"**{result['title']}**", "", *_table(result)]
    if len(results) > 1:
        lines += ["", "**resident memory compared**", "", *_comparison(results)]
    return lines[1:]


def _table(result: dict[str, Any]) -> list[str]:
    rows, after = result["rows"], result["after"]
    pooled, in_memory = "capacity" in rows[0], result["transport"] == "memory"
    columns = ["connections", *(["capacity", "idle", "overflow"] if pooled else []), "memory", "each"]
    columns += (
        ["the note", "arrivals/s", "longest turn", "full collection"] if in_memory else ["the note", "kernel, each"]
    )
    columns += ["growth"] if pooled else []
    named = [("start" if not index else f"{row['connections']:,}", row) for index, row in enumerate(rows)]
    named += [("all gone", after[0]), (f"{result['calm_s']:g} s later", after[1])]
    lines = []
    for name, row in named:
        count = row["connections"]
        cells = [name, *([f"{row[key]:,}" for key in ("capacity", "idle", "overflow")] if pooled else [])]
        cells += [megabytes(row["resident_bytes"]), f"{row['bytes_per_connection'] / 1e3:.2f} KB" if count else ""]
        cells.append(megabytes(NOTE_START_BYTES + count * NOTE_CONNECTION_BYTES) if not name.endswith("later") else "")
        if in_memory:
            rate = f"{row['arrived'] * 1e6 / row['us']:,.0f}" if count and row["arrived"] else ""
            cells += [rate, milliseconds(row["turn_longest_us"]), milliseconds(row["collection_us"])]
        else:
            cells.append(f"{kernel_each(row, rows[0]) / 1e3:.1f} KB" if count >= ROUND[0] else "")
        cells += [growth(row["events"])] if pooled else []
        lines.append(cells)
    return report.markdown_table(columns, lines)


def _comparison(results: list[dict[str, Any]]) -> list[str]:
    rows = []
    for index, first in enumerate(results[0]["rows"]):
        cells = ["start" if not index else f"{first['connections']:,}"]
        rows.append(cells + [megabytes(result["rows"][index]["resident_bytes"]) for result in results])
    rows.append(["all gone", *(megabytes(result["after"][1]["resident_bytes"]) for result in results)])
    return report.markdown_table(["connections", *(result["title"] for result in results)], rows)


def growth(events: list[str]) -> str:
    """What the pool has logged between two rows: one step as it is, several in short."""
    steps_done = [event.removeprefix("Expand: ") for event in events]
    if len(steps_done) < 2:
        return "".join(steps_done)
    first, last = steps_done[0].partition("->")[0], steps_done[-1].partition("->")[2].partition(" ")[0]
    return f"{first}->{last} in {len(steps_done)} steps"


def growth_note(result: dict[str, Any]) -> list[str]:
    """How long the pool's growth took, where that is known."""
    last = result["rows"][-1]
    if not last.get("step_longest_us"):
        return []
    step, longest = milliseconds(last["step_longest_us"]), milliseconds(last["slice_longest_us"])
    return [f"{result['title']}: the longest step of growth took {step} of work, in slices of at most {longest}."]


def kernel_each(row: dict[str, Any], start: dict[str, Any]) -> float:
    """The kernel's memory for both ends of one connection, in bytes; what else the machine does is in it too."""
    grown: int = sum(row[name] - start[name] for name in ("kernel_bytes", "socket_buffer_bytes"))
    connections: int = row["connections"]
    return max(0, grown) / connections


def megabytes(count: int) -> str:
    """Bytes for a reader."""
    return f"{count / 1e6:.1f} MB" if count < 1e9 else f"{count / 1e9:.2f} GB"


def milliseconds(us: int) -> str:
    """Microseconds for a reader."""
    return f"{us / 1e3:.1f} ms"
