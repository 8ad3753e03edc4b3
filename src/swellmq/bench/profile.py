"""`swellmq bench profile`: where the broker's CPU time goes for each message of a load, told by Linux's perf.

perf interrupts the broker so many times a second of its CPU time and notes the function it is in. mypyc gives its C
functions the names of the Python ones, so a compiled broker can be read module by module; of an interpreted one perf
sees the interpreter only.
"""

from __future__ import annotations

import argparse
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final

from swellmq.bench import BenchError, report
from swellmq.bench.brokers import TICKS_PER_SECOND, Broker, Running
from swellmq.bench.flow import Load
from swellmq.bench.machine import Machine, prepare_machine
from swellmq.bench.measure import measure_enough
from swellmq.bench.scenarios import SCENARIOS, Scenario

SAMPLES_PER_SECOND: Final = 1_999  # no divisor of anything that runs by the clock
SHOWN: Final = 25  # functions in the table
REMEDY: Final = "profile needs perf (Debian: apt-get install linux-perf)"
LINE: Final = re.compile(r"^\s*([\d.]+)%\s*\|(\S+)\s*\|\[.\]\s*(\S+)")
COMPILED: Final = re.compile(r"^(?:CPyDef_|CPyPy_)?([a-z_]+?)___")
MEMORY: Final = re.compile(r"Malloc|Calloc|Realloc|Free|dealloc|_Py_NewReference|malloc|free|gc_")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Where the broker's CPU time goes for each message of a load; needs Linux's perf."
    report.add_arguments(parser, ("swellmq",))
    parser.add_argument("--scenario", nargs="+", choices=SCENARIOS, default=["pair", "qos1"], metavar="NAME")
    parser.add_argument("--seconds", type=report.positive, default=5, help="CPU time to look at, about (default: 5)")


def run(arguments: argparse.Namespace) -> int:
    perf = shutil.which("perf")
    if perf is None:
        raise BenchError(REMEDY)
    found = report.Report("profile")
    found.find_brokers(arguments.brokers)
    machine = prepare_machine()
    five = arguments.protocol == "5"
    table: list[str] = []
    for name in arguments.scenario:
        for broker in found.brokers:
            report.progress(f"{name}: {broker.name}")
            result = profile(perf, broker, SCENARIOS[name], machine, arguments.seconds, five)
            found.results.append({"scenario": name, "broker": broker.name, **result})
            table += profile_table(found.results[-1], SCENARIOS[name].title)
    how = f"{SAMPLES_PER_SECOND:,} samples for each second of the broker's CPU time, perf's own cost included"
    return found.write(arguments, table, how)


def profile(
    perf: str, broker: Broker, scenario: Scenario, machine: Machine, seconds: float, five: bool
) -> dict[str, Any]:
    """What a message costs, and the shares of groups and functions, from a run of so much CPU time."""

    def start(port: int, messages: int) -> Load:
        return Load(port, scenario, messages, five)

    first = measure_enough(broker, machine, start, scenario.messages)
    messages = int(seconds * 1e6 / first["cpu_us_per_message"])
    with Running(broker, machine.broker_core) as running, tempfile.TemporaryDirectory() as folder:
        load = start(running.port, messages)
        try:
            ticks = running.cpu_ticks()
            samples = record(perf, running.pid, Path(folder, "samples"), load)
            ticks = running.cpu_ticks() - ticks
        finally:
            load.close()
    return {
        "cpu_us_per_message": ticks / TICKS_PER_SECOND * 1e6 / load.messages,
        "groups": grouped(samples),
        "functions": [{"share": share, "function": at} for share, at in functions(samples)[:SHOWN]],
    }


def record(perf: str, pid: int, target: Path, load: Load) -> list[tuple[float, str, str]]:
    """Run the load while perf watches; what it saw: share, file, function. Raises BenchError where it can't watch."""
    command = [perf, "record", "-q", "-o", str(target), "-F", str(SAMPLES_PER_SECOND), "-p", str(pid)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as watching:
        try:
            load.run()
        finally:
            watching.send_signal(signal.SIGINT)
        _nothing, complaint = watching.communicate()
    command = [perf, "report", "-i", str(target), "--stdio", "--no-children", "--sort", "dso,symbol", "-t", "|"]
    told = subprocess.run(command, capture_output=True, text=True)
    samples = parse(told.stdout)
    if not samples:
        raise BenchError(f"perf saw nothing: {(complaint or told.stderr).strip() or 'no samples'}")
    return samples


def parse(text: str) -> list[tuple[float, str, str]]:
    """Share (0 to 1), file and function of each line of perf's report."""
    matches = [LINE.match(line) for line in text.splitlines()]
    return [(float(match[1]) / 100, match[2], match[3]) for match in matches if match]


def group(file: str, function: str) -> str:
    """Whose work a function is."""
    if file.startswith("["):
        return "kernel"
    if MEMORY.search(function):
        return "making and freeing objects"
    if file.startswith("swellmq__mypyc") or "cpython-" in file:
        compiled = COMPILED.match(function)
        return f"{compiled[1]}.py" if compiled else "mypyc's run time"
    return "CPython" if "python" in file else "C library"


def grouped(samples: list[tuple[float, str, str]]) -> dict[str, float]:
    """The share of each group, the largest first."""
    shares: dict[str, float] = {}
    for share, file, function in samples:
        name = group(file, function)
        shares[name] = shares.get(name, 0.0) + share
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def functions(samples: list[tuple[float, str, str]]) -> list[tuple[float, str]]:
    """The share of each function with its group, the largest first."""
    return sorted(((share, f"{function} ({group(file, function)})") for share, file, function in samples), reverse=True)


def profile_table(result: dict[str, Any], title: str) -> list[str]:
    """Two tables in Markdown: by group, and the functions that take most."""
    cost = result["cpu_us_per_message"]
    heading = f"{title}, {result['broker']}: {cost:.3g} µs"
    groups = [[name, f"{share:.1%}", f"{share * cost:.3f}"] for name, share in result["groups"].items()]
    single = [[each["function"], f"{each['share']:.1%}", f"{each['share'] * cost:.3f}"] for each in result["functions"]]
    lines = report.markdown_table([heading, "share", "µs each"], groups)
    return [*lines, "", *report.markdown_table(["function", "share", "µs each"], single), ""]
