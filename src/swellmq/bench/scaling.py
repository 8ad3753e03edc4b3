"""`swellmq bench scaling`: how the broker's CPU time for each message grows with all that there can be many of.

Each curve changes one number and leaves the rest alone. What matters is its shape: flat where a message has nothing to
do with that number, and never steeper than a straight line. The exponent in the table tells the steepest rise: from one
point to a later one, cost grew as the number to this power. 0 is flat; near 1 something walks through all there are.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from swellmq.bench import charts, report
from swellmq.bench.brokers import Broker, BrokerError
from swellmq.bench.bursts import Retained
from swellmq.bench.flow import Load
from swellmq.bench.generator import LoadError
from swellmq.bench.machine import Machine, prepare_machine
from swellmq.bench.measure import Run, measure_enough
from swellmq.bench.scenarios import DEEP, Scenario

MESSAGES_FIRST: Final = 100_000
TOPICS_EACH: Final = 15_000


@dataclass(frozen=True)
class Curve:
    """`make` gives the load for a number: a Scenario, or of how many retained topics."""

    title: str
    unit: str
    points: tuple[int, ...]
    make: Callable[[int], Scenario | int]


def _levels(count: int) -> Scenario:
    """So many topics that no broker remembers where all of them go."""
    topic = b"load/%(publisher)04d/%(number)05d" + b"/l" * (count - 3)
    topic_filter = b"load/+/+" + b"/l" * (count - 3)
    return Scenario("", 0, subscribers=1, topic=topic, filter=topic_filter, topics_each=TOPICS_EACH)


def _wildcards(count: int) -> Scenario:
    """As `_levels`, in the shape of the filters that match none of them."""
    topic_filter = b"load/+/hall/+/cell/+/+/state"
    return Scenario("", 0, subscribers=1, topic=DEEP, filter=topic_filter, idle_filters=count, topics_each=TOPICS_EACH)


CURVES: Final = {
    "idle": Curve(
        "10 to 10, one message under way, beside idle connections",
        "idle connections",
        (10, 100, 1_000, 10_000, 15_000),
        lambda count: Scenario("", 0, window=1, idle_clients=count),
    ),
    "connections": Curve(
        "half publish to the other half, one message under way",
        "connections",
        (10, 100, 1_000, 10_000, 15_000),
        lambda count: Scenario("", 0, count // 2, count // 2, window=1),
    ),
    "exact": Curve(
        "10 to 10, beside filters without wildcards",
        "filters",
        (1, 1_000, 100_000, 1_000_000),
        lambda count: Scenario("", 0, idle_exact=count),
    ),
    "wildcard": Curve(
        "10 x 15,000 topics, beside filters with wildcards that match none",
        "filters",
        (1, 1_000, 100_000, 1_000_000),
        _wildcards,
    ),
    "levels": Curve("10 x 15,000 topics of many levels to one filter", "topic levels", (3, 10, 50, 150), _levels),
    "subscribers": Curve(
        "one topic, four messages under way, for each delivery",
        "subscribers",
        (1, 10, 100, 1_000, 10_000, 15_000),
        lambda count: Scenario("", 0, 1, count, count, window=4),
    ),
    "retained": Curve(
        "replay of all, for each message", "retained topics", (100, 1_000, 10_000, 100_000), lambda count: count
    ),
    "inflight": Curve(
        "10 to 10, QoS 1, for each message",
        "messages under way for each publisher",
        (1, 10, 100, 1_000),
        lambda count: Scenario("", 0, qos=1, window=count),
    ),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "CPU time per message against connections, filters, levels, subscribers and so on."
    report.add_arguments(parser, ("swellmq",))
    parser.add_argument("--rounds", type=report.positive, default=3, help="each point is measured so often")
    parser.add_argument(
        "--curves", nargs="+", choices=CURVES, default=list(CURVES), metavar="NAME", help=", ".join(CURVES)
    )
    parser.add_argument("--most", type=report.positive, default=1_000_000, help="leave out the points beyond")
    parser.add_argument("--chart", type=charts.path, metavar="FILE", help="draw the curves, as .png or .svg")


def run(arguments: argparse.Namespace) -> int:
    found = report.Report("scaling")
    found.find_brokers(arguments.brokers)
    machine = prepare_machine()
    for name in arguments.curves:
        for broker in found.brokers:
            found.results.append(_curve(broker, name, arguments, machine, found.notes))
    if arguments.chart:
        draw(arguments.chart, found.results)
    how = f"broker CPU time, medians of {arguments.rounds}"
    return found.write(arguments, scaling_table(found.results), how)


def _curve(
    broker: Broker, name: str, arguments: argparse.Namespace, machine: Machine, notes: list[str]
) -> dict[str, Any]:
    """All points of one curve; where one fails the curve ends, and a note says why."""
    curve = CURVES[name]
    result: dict[str, Any] = {"curve": name, "broker": broker.name, "points": []}
    five = arguments.protocol == "5"
    for count in curve.points:
        if count > min(arguments.most, machine.connections_max if "connections" in curve.unit else arguments.most):
            continue
        load = curve.make(count)

        def start(port: int, messages: int, load: Scenario | int = load) -> Run:
            if isinstance(load, Scenario):
                return Load(port, load, messages, five)
            return Retained(port, messages, five, topics=load)

        costs: list[float] = []
        messages = MESSAGES_FIRST
        try:
            for _round in range(arguments.rounds):
                report.progress(f"{name}: {count:,} {curve.unit}: {broker.name}")
                figures = measure_enough(broker, machine, start, messages)
                messages = figures["messages"]
                costs.append(figures["cpu_us_per_message"])
        except (BrokerError, LoadError) as error:
            result["failure"] = str(error)
            notes.append(f"{broker.name}, {name}, {count:,}: failed: {error}.")
            break
        result["points"].append({"count": count, "cpu_us_per_message": median(costs), "rounds": costs})
    result["exponent"] = exponent([(point["count"], point["cpu_us_per_message"]) for point in result["points"]])
    return result


def exponent(points: list[tuple[int, float]]) -> float:
    """How steeply the cost rises at most, over a factor of ten or more in the count; 0 where it never does."""
    steepest = 0.0
    for index, (count, cost) in enumerate(points):
        for later, other in points[index + 1 :]:
            if later >= 10 * count and cost:
                steepest = max(steepest, math.log(other / cost) / math.log(later / count))
    return steepest


def scaling_table(results: list[dict[str, Any]]) -> list[str]:
    """The results in Markdown, a row for each curve."""
    rows = []
    for result in results:
        curve = CURVES[result["curve"]]
        points = ", ".join(f"{point['count']:,}: {point['cpu_us_per_message']:.3g}" for point in result["points"])
        rows.append([curve.title, result["broker"], curve.unit, points, f"{result['exponent']:.2f}"])
    return report.markdown_table(["load", "broker", "number of", "broker CPU µs each", "exponent"], rows)


def draw(target: Path, results: list[dict[str, Any]]) -> None:
    """A panel for each curve, a line for each broker."""
    names = list(dict.fromkeys(result["curve"] for result in results))
    brokers = list(dict.fromkeys(result["broker"] for result in results))
    drawn, panels = charts.figure(len(names), 2.2)
    for axes, name in zip(panels, names, strict=True):
        for result in results:
            if result["curve"] == name:
                counts = [point["count"] for point in result["points"]]
                costs = [point["cpu_us_per_message"] for point in result["points"]]
                colour = charts.COLOURS[brokers.index(result["broker"]) % len(charts.COLOURS)]
                axes.plot(counts, costs, marker="o", markersize=3, color=colour, label=result["broker"])
        axes.set_title(CURVES[name].title)
        axes.set_xscale("log")
        axes.set_xlabel(CURVES[name].unit)
        axes.set_ylabel("CPU µs each")
        axes.margins(y=0.2)
        axes.set_ylim(bottom=0)
    panels[0].legend()
    charts.save(drawn, target)
