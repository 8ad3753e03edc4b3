"""What `bench load` shows of its results: a table of rates, one of latencies, and a chart."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from swellmq.bench import charts
from swellmq.bench.brokers import Broker
from swellmq.bench.latency import PERCENTILES
from swellmq.bench.report import markdown_table

YARDSTICK: Final = "mosquitto"
FLOOR: Final = "floor"  # the relay in C that does nothing else
LIMITED: Final = "\\*"
BAR_INCHES: Final = 0.17  # of the chart's height for each bar


def load_table(brokers: list[Broker], results: list[dict[str, Any]], titles: dict[str, str]) -> list[str]:
    """The results in Markdown, a row for each scenario."""
    names = [broker.name for broker in brokers]
    others = [name for name in names if name not in (YARDSTICK, FLOOR) and YARDSTICK in names]
    above = [name for name in names if name.startswith("swellmq") and FLOOR in names]
    rates, latencies = [], []
    for scenario, row in _by_scenario(results).items():
        cells = [_cell(row.get(name)) for name in names]
        cells += [_ratio(row.get(name)) for name in others]
        cells += [_of_floor(row.get(name)) for name in above]
        rates.append([titles[scenario], *cells])
        latencies.append([titles[scenario], *(_latency(row.get(name)) for name in names)])
    columns = ["messages/s, broker CPU µs each", *names, *(f"{name} : {YARDSTICK}" for name in others)]
    columns += [f"{name} of the {FLOOR}" for name in above]
    lines = markdown_table(columns, rates)
    if others:
        lines += ["", f"Ratios are messages per second of broker CPU to those of {YARDSTICK}."]
    limited = [result for result in results if result.get("load_limited")]
    if limited:
        cost = ", ".join(f"{each['scenario']} {each['load_cpu_us_per_message']:.2g}" for each in limited)
        lines += ["", f"{LIMITED} The load was the limit: its core was never idle, the broker's was."]
        lines += [f"Its own CPU time for each message, in µs: {cost}."]
    shown = "/".join(name for name, _share in PERCENTILES)
    return [*lines, "", *markdown_table([f"latency {shown}, ms", *names], latencies)]


def _by_scenario(results: list[dict[str, Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    """The results by scenario and broker."""
    rows: dict[str, dict[str, dict[str, Any]]] = {}
    for result in results:
        rows.setdefault(result["scenario"], {})[result["broker"]] = result
    return rows


def _cell(result: dict[str, Any] | None) -> str:
    if result is None or "failure" in result:
        return "" if result is None else "failed"
    told = f"{_short(result['messages_per_second'])}{LIMITED if result['load_limited'] else ''}"
    if "subscription_changes_per_second" in result:
        told += f" and {_short(result['subscription_changes_per_second'])} changes"
    return f"{told}, {_three_digits(result['cpu_us_per_message'])} µs"


def _three_digits(value: float) -> str:
    return f"{value:.3g}" if value < 1e3 else f"{value:,.0f}"


def _short(rate: float) -> str:
    if rate >= 1e6:
        return f"{rate / 1e6:.3g} M"
    return f"{rate / 1e3:.3g} k" if rate >= 1e3 else f"{rate:.3g}"


def _ratio(result: dict[str, Any] | None) -> str:
    return f"{result['ratio']:.1f} x" if result and "ratio" in result else ""


def _of_floor(result: dict[str, Any] | None) -> str:
    return f"{result['ratio_to_floor']:.0%}" if result and "ratio_to_floor" in result else ""


def _latency(result: dict[str, Any] | None) -> str:
    if result is None or "p50" not in result:
        return ""
    return " / ".join(_three_digits(result[name]) for name, _share in PERCENTILES)


def draw(target: Path, brokers: list[Broker], results: list[dict[str, Any]], titles: dict[str, str]) -> None:
    """A bar for each scenario and broker: messages per second of broker CPU, on a logarithmic scale."""
    rows = _by_scenario(results)
    names = [broker.name for broker in brokers]
    drawn, [axes] = charts.figure(1, 1.2 + BAR_INCHES * (len(names) + 1) * len(rows))
    step = len(names) + 1
    for place, name in enumerate(names):
        found = [(number, row[name]) for number, row in enumerate(rows.values()) if name in row]
        bars = [(number * step + place, 1e6 / each["cpu_us_per_message"]) for number, each in found if _measured(each)]
        heights, widths = [at for at, _rate in bars], [rate for _at, rate in bars]
        axes.barh(heights, widths, height=0.9, color=charts.COLOURS[place % len(charts.COLOURS)], label=name)
        for at, rate in bars:
            axes.text(rate, at, " " + _short(rate), va="center", fontsize=7)
    axes.set_yticks([number * step + (len(names) - 1) / 2 for number in range(len(rows))])
    axes.set_yticklabels([titles[scenario] for scenario in rows])
    axes.set_xscale("log")
    axes.margins(x=0.15, y=0)  # room for the figures behind the bars
    axes.set_ylim(step * len(rows) - 1, -2 - len(names))  # the first on top, the legend above it
    axes.set_xlabel("messages delivered per second of broker CPU")
    axes.grid(axis="y", visible=False)
    axes.legend(loc="upper center", ncol=2, frameon=False)
    charts.save(drawn, target)


def _measured(result: dict[str, Any]) -> bool:
    return bool(result.get("cpu_us_per_message"))
