"""Bytes per connection and at start, held against the figures in `memory_figures.json`.

    python tools/memory_figures.py            measure and compare; exit code 1 where one is off by more than 10 %
    python tools/memory_figures.py --write    measure and record, after a change that is meant

The figures depend on the build and on the version of Python, so each combination has its own, and one that was never
recorded is not judged but told. A connection is measured in memory (50,000 of them, made on demand, everything above
the socket), which repeats to a percent; the start is that of a `swellmq serve` process that listens.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Final

from swellmq.bench.brokers import find_broker
from swellmq.bench.machine import describe_machine, prepare_machine
from swellmq.bench.stage import MemoryStage, TcpStage
from swellmq.version import compiled

FILE: Final = Path(__file__).with_suffix(".json")
CONNECTIONS: Final = 50_000
TOLERANCE_PERCENT: Final = 10
STARTS: Final = 5  # the smallest counts: the first after an install compiles sources, which the others find compiled
MEANINGS: Final = {
    "start_bytes": "resident memory at start",
    "idle_bytes": "bytes for one more idle connection",
    "subscribed_bytes": "bytes for one more connection with one subscription",
}
# What the compiled build may never need, whatever was recorded: docs/POOL.md promises it.
CEILINGS: Final = {"start_bytes": 16_000_000, "idle_bytes": 600, "subscribed_bytes": 1_000}


def build() -> str:
    """What the figures hold for."""
    return f"{'compiled' if compiled() else 'interpreted'}, Python {sys.version_info.major}.{sys.version_info.minor}"


def measure() -> dict[str, int]:
    """The figures of this build, under the names of MEANINGS."""
    broker, machine = find_broker("swellmq"), prepare_machine()
    starts = []
    for _ in range(STARTS):
        with TcpStage(broker, machine, False, False, 1, []) as stage:
            starts.append(stage.figures()["resident_bytes"])
    figures = {"start_bytes": min(starts)}
    for name, subscribe in (("idle_bytes", False), ("subscribed_bytes", True)):
        with MemoryStage(broker, machine, subscribe, False, ["--pool.mode", "none"]) as stage:
            before = stage.figures()["resident_bytes"]
            stage.arrive(CONNECTIONS)
            figures[name] = (stage.figures()["resident_bytes"] - before) // CONNECTIONS
    return figures


def compare(measured: dict[str, int], recorded: dict[str, int], promised: bool) -> list[str]:
    """A sentence for each figure that is off."""
    faults = []
    for name, meaning in MEANINGS.items():
        now, then = measured[name], recorded[name]
        if abs(now - then) * 100 > then * TOLERANCE_PERCENT:
            faults.append(f"{meaning}: {now:,}, but {then:,} are recorded; if that is meant: {sys.argv[0]} --write")
        if promised and now > CEILINGS[name]:
            faults.append(f"{meaning}: {now:,}, but {CEILINGS[name]:,} are the most that is promised")
    return faults


def recorded_figures() -> dict[str, dict[str, int]]:
    """What the file says, by build."""
    found: dict[str, dict[str, int]] = json.loads(FILE.read_text())["figures"]
    return found


def write(measured: dict[str, int]) -> None:
    """Record the figures of this build; those of the others stay."""
    content = json.loads(FILE.read_text()) if FILE.exists() else {"figures": {}, "machines": {}}
    content["how"] = "python tools/memory_figures.py --write"
    content["figures"][build()] = measured
    content["machines"][build()] = describe_machine()
    FILE.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description="Hold the memory of connections against what is recorded.")
    parser.add_argument("--write", action="store_true", help="record what is measured")
    arguments = parser.parse_args()
    measured = measure()
    for name, meaning in MEANINGS.items():
        print(f"{meaning}: {measured[name]:,}")
    if arguments.write:
        write(measured)
        return 0
    recorded = recorded_figures()
    if build() not in recorded:
        print(f"nothing is recorded for {build()}, so nothing is judged; --write records it")
        return 0
    faults = compare(measured, recorded[build()], compiled())
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
