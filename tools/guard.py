"""The guard of speed: compares ratios measured now with those kept in guard.json beside this file.

    python tools/guard.py           fails where a ratio has lost more than a third of what is kept
    python tools/guard.py --keep    measures, and keeps what it finds

Absolute figures differ from machine to machine and from hour to hour. So what is kept are ratios of broker CPU time
per message, taken in one run: mosquitto's to ours, and our interpreted build's to the compiled one. Medians of several
interleaved rounds; they move by some ten percent while the machine does other work too, so a third is a real loss.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Final

from swellmq.bench.brokers import find_broker
from swellmq.bench.load import load
from swellmq.bench.machine import prepare_machine
from swellmq.version import compiled

KEPT: Final = Path(__file__).with_name("guard.json")
BROKERS: Final = ("swellmq", "swellmq-interpreted", "mosquitto")
SCENARIOS: Final = ["pair", "fan-out", "wildcard", "qos1", "qos2", "clients"]
LOSS: Final = 1 / 3
GAIN: Final = 1.5  # so much above what is kept, it should be kept anew


def main(argv: list[str]) -> int:
    """The exit code: 0 as fast as it was, 1 slower, or something could not be measured."""
    parser = argparse.ArgumentParser(description="Compare speed ratios with those that are kept.")
    parser.add_argument("--keep", action="store_true", help="keep what is measured")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args(argv)
    if not compiled():
        print("guard: this is the interpreted build: `make install`, then `make guard`", file=sys.stderr)
        return 1
    arguments.scenario, arguments.messages, arguments.protocol = SCENARIOS, None, "3.1.1"
    measured = measure(arguments)
    if arguments.keep:
        KEPT.write_text(json.dumps(measured, indent=2) + "\n")
        return 0
    kept = json.loads(KEPT.read_text())
    lines, lost = compare(measured, kept)
    if lost:  # one bad minute of the machine is no loss: it must be seen twice
        print("\n".join(lines))
        arguments.scenario = lost
        lines, lost = compare(measure(arguments), {name: kept[name] for name in lost})
    print("\n".join(lines))
    return 1 if lost else 0


def measure(arguments: argparse.Namespace) -> dict[str, dict[str, float]]:
    """The ratios now."""
    notes: list[str] = []
    results = load([find_broker(name) for name in BROKERS], arguments, prepare_machine(), notes)
    for note in notes:
        print(note)
    return ratios(results)


def ratios(results: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """For each scenario how many times our CPU time per message the others take; one that failed is not there."""
    found: dict[str, dict[str, float]] = {}
    for name in SCENARIOS:
        costs = {each["broker"]: each.get("cpu_us_per_message") for each in results if each["scenario"] == name}
        ours = costs.pop("swellmq", None)
        if ours:
            found[name] = {broker: round(cost / ours, 2) for broker, cost in costs.items() if cost}
    return found


def compare(measured: dict[str, dict[str, float]], kept: dict[str, dict[str, float]]) -> tuple[list[str], list[str]]:
    """A line for each ratio, and the scenarios that have lost or were not measured."""
    lines = []
    lost: dict[str, None] = {}
    for name, of_brokers in kept.items():
        for broker, was in of_brokers.items():
            now = measured.get(name, {}).get(broker)
            if now is None:
                verdict = "NOT MEASURED"
            elif now < was * (1 - LOSS):
                verdict = f"LOST {1 - now / was:.0%}"
            else:
                verdict = "ok" if now < was * GAIN else "ok, and so much better that `--keep` is due"
            if not verdict.startswith("ok"):
                lost[name] = None
            lines.append(f"guard: {name}: {broker} takes {now} x our CPU time, {was} x was kept: {verdict}")
    return lines, list(lost)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
