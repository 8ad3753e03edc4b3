"""The dashboard for Grafana: made from the table below, and tried against a Prometheus that scrapes a broker.

    python tools/grafana.py                        write docs/grafana.json anew
    python tools/grafana.py --try http://HOST:9090 ask Prometheus every expression; exit code 1 where one finds nothing

`$__rate_interval` is Grafana's: four scrapes at least. Where Prometheus is asked without Grafana it becomes a minute.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode
from urllib.request import urlopen

FILE: Final = Path(__file__).parents[1] / "docs" / "grafana.json"
HERE: Final = '{instance=~"$instance"}'
SOURCE: Final = {"type": "prometheus", "uid": "$datasource"}
COLUMNS: Final = 24  # of Grafana's grid


class Panel(NamedTuple):
    """One panel: `queries` are pairs of an expression and the name of its line."""

    title: str
    kind: str
    unit: str
    queries: list[tuple[str, str]]
    about: str = ""
    width: int = 8
    height: int = 8
    bad_from: float | None = None  # red from there on


def rate(name: str, labels: str = "") -> str:
    return f'rate({name}{{instance=~"$instance"{labels}}}[$__rate_interval])'


def quantiles(name: str) -> list[tuple[str, str]]:
    buckets = rate(name + "_bucket")
    return [(f"histogram_quantile({q}, sum by (le) ({buckets}))", f"p{q * 100:g}") for q in (0.5, 0.9, 0.99)]


def sums(name: str, label: str) -> list[tuple[str, str]]:
    return [(f"sum by ({label}) ({rate(name)})", "{{" + label + "}}")]


def gauges(**names: str) -> list[tuple[str, str]]:
    return [(f"sum({metric}{HERE})", name.replace("_", " ")) for name, metric in names.items()]


RECEIVED: Final = ', direction="received"'
SENT: Final = ', direction="sent"'

ROWS: Final[dict[str, list[Panel]]] = {
    "Is it well?": [
        Panel("Clients", "stat", "short", gauges(clients="swellmq_clients_connected"), "", 3, 4),
        Panel("Messages in", "stat", "mps", [(f"sum({rate('swellmq_messages_total', RECEIVED)})", "")], "", 3, 4),
        Panel("Messages out", "stat", "mps", [(f"sum({rate('swellmq_messages_total', SENT)})", "")], "", 3, 4),
        Panel("Memory", "stat", "bytes", gauges(memory="process_resident_memory_bytes"), "", 3, 4),
        Panel(
            "CPU", "stat", "percentunit", [(f"sum({rate('process_cpu_seconds_total')})", "")], "Of one core.", 3, 4, 0.9
        ),
        Panel("Alarms", "stat", "short", gauges(alarms="swellmq_alarm"), "Raised now.", 3, 4, 1),
        Panel("Dropped", "stat", "mps", [(f"sum({rate('swellmq_messages_dropped_total')})", "")], "", 3, 4, 1),
        Panel("Up since", "stat", "dateTimeFromNow", [(f"min(process_start_time_seconds{HERE}) * 1000", "")], "", 3, 4),
        Panel(
            "Alarms",
            "state-timeline",
            "short",
            [(f"max by (alarm) (swellmq_alarm{HERE})", "{{alarm}}")],
            "1: raised. docs/METRICS.md says what each means.",
            24,
            9,
            1,
        ),
    ],
    "The pool": [
        Panel(
            "Capacity and use",
            "timeseries",
            "short",
            gauges(
                capacity="swellmq_pool_capacity",
                active="swellmq_connections_active",
                idle="swellmq_pool_idle",
                overflow="swellmq_pool_overflow",
            ),
            "The capacity goes up by half when four fifths are in use.",
            12,
        ),
        Panel(
            "Memory",
            "timeseries",
            "bytes",
            gauges(resident="process_resident_memory_bytes", with_sockets="swellmq_memory_used_bytes"),
            "Of the process, and with what its sockets take in the kernel, about.",
            12,
        ),
        Panel(
            "Connections",
            "timeseries",
            "cps",
            [
                (f"sum({rate('swellmq_connects_total')})", "accepted clients"),
                (f"sum({rate('swellmq_connections_refused_total')})", "refused, full"),
                (f"sum({rate('swellmq_connections_dropped_total')})", "dropped"),
            ],
        ),
        Panel("Connections that ended", "timeseries", "cps", sums("swellmq_connections_closed_total", "reason")),
        Panel("Open files", "timeseries", "short", gauges(open="process_open_fds", limit="process_max_fds")),
    ],
    "Traffic": [
        Panel("Messages", "timeseries", "mps", sums("swellmq_messages_total", "direction")),
        Panel("Bytes", "timeseries", "Bps", sums("swellmq_bytes_total", "direction")),
        Panel("Dropped messages", "timeseries", "mps", sums("swellmq_messages_dropped_total", "reason")),
    ],
    "Time": [
        Panel(
            "From read to write",
            "timeseries",
            "s",
            quantiles("swellmq_delivery_seconds"),
            "How long a message is in the broker, from samples.",
        ),
        Panel(
            "Turns of the loop",
            "timeseries",
            "s",
            [*quantiles("swellmq_turn_seconds"), (f"max(swellmq_turn_recent_seconds{HERE})", "longest lately")],
            "All clients wait for the end of a turn.",
        ),
        Panel("From accept to CONNACK", "timeseries", "s", quantiles("swellmq_connect_seconds")),
        Panel(
            "CPU time for each message",
            "timeseries",
            "s",
            [(f"sum({rate('process_cpu_seconds_total')}) / sum({rate('swellmq_messages_total')})", "in and out")],
        ),
        Panel("CPU", "timeseries", "percentunit", [(f"sum({rate('process_cpu_seconds_total')})", "of one core")]),
        Panel("Faults", "timeseries", "cps", sums("swellmq_errors_total", "fault"), "Internal ones are bugs."),
    ],
    "What is kept": [
        Panel(
            "Sessions",
            "timeseries",
            "short",
            gauges(sessions="swellmq_sessions", connected="swellmq_clients_connected"),
        ),
        Panel(
            "Subscriptions and retained messages",
            "timeseries",
            "short",
            gauges(subscriptions="swellmq_subscriptions", retained="swellmq_retained_messages"),
        ),
        Panel(
            "Bytes that are kept",
            "timeseries",
            "bytes",
            gauges(retained="swellmq_retained_bytes", waiting_for_clients="swellmq_waiting_bytes"),
        ),
        Panel(
            "Clients that are slow",
            "timeseries",
            "short",
            gauges(
                stalled="swellmq_connections_stalled",
                late="swellmq_connections_late",
                crowded="swellmq_sessions_crowded",
            ),
        ),
        Panel(
            "Bytes that wait for the disk",
            "timeseries",
            "bytes",
            gauges(waiting="swellmq_store_waiting_bytes"),
            "With data.",
        ),
        Panel(
            "Commits", "timeseries", "cps", [(f"sum({rate('swellmq_store_commits_total')})", "commits")], "With data."
        ),
    ],
    "Who may come in": [
        Panel("Logins", "timeseries", "cps", sums("swellmq_logins_total", "result"), "With access control.", 12),
        Panel("Refused", "timeseries", "cps", sums("swellmq_refusals_total", "what"), "", 12),
    ],
}


def expressions() -> list[str]:
    """All that Prometheus is asked."""
    return [expression for panels in ROWS.values() for panel in panels for expression, _ in panel.queries]


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana imports it."""
    panels: list[dict[str, Any]] = []
    top = 0
    for title, row in ROWS.items():
        place = {"h": 1, "w": COLUMNS, "x": 0, "y": top}
        panels.append(
            {"id": len(panels) + 1, "type": "row", "title": title, "collapsed": False, "gridPos": place, "panels": []}
        )
        top += 1
        left, tallest = 0, 0
        for panel in row:
            if left + panel.width > COLUMNS:
                top, left, tallest = top + tallest, 0, 0
            place = {"h": panel.height, "w": panel.width, "x": left, "y": top}
            panels.append({"id": len(panels) + 1, "gridPos": place, **_panel(panel)})
            left += panel.width
            tallest = max(tallest, panel.height)
        top += tallest
    grew = {
        "name": "The pool grew",
        "datasource": SOURCE,
        "enable": True,
        "iconColor": "green",
        "expr": f"increase(swellmq_pool_steps_total{HERE}[$__interval]) > 0",
        "titleFormat": "The pool grew",
    }
    return {
        "uid": "swellmq",
        "title": "swellmq",
        "tags": ["mqtt", "swellmq"],
        "schemaVersion": 37,
        "version": 1,
        "editable": True,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "graphTooltip": 1,
        "annotations": {"list": [grew]},
        "templating": {"list": [_datasource(), _instance()]},
        "panels": panels,
    }


def _datasource() -> dict[str, Any]:
    return {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "hide": 0}


def _instance() -> dict[str, Any]:
    query = "label_values(swellmq_build_info, instance)"
    return {
        "name": "instance",
        "label": "Broker",
        "type": "query",
        "datasource": SOURCE,
        "definition": query,
        "query": {"query": query, "refId": "instance"},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def _panel(panel: Panel) -> dict[str, Any]:
    targets = [
        {"refId": chr(ord("A") + number), "datasource": SOURCE, "expr": expression, "legendFormat": name or "__auto"}
        for number, (expression, name) in enumerate(panel.queries)
    ]
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.bad_from is not None:
        steps.append({"color": "red", "value": panel.bad_from})
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0, "thresholds": {"mode": "absolute", "steps": steps}}
    options: dict[str, Any] = {}
    if panel.kind == "timeseries":
        defaults["custom"] = {"lineWidth": 1, "fillOpacity": 10, "showPoints": "never", "spanNulls": False}
        options = {
            "legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"]},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    elif panel.kind == "stat":
        options = {
            "colorMode": "value",
            "graphMode": "area" if panel.unit != "dateTimeFromNow" else "none",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        }
    else:
        defaults["color"] = {"mode": "thresholds"}
        options = {"mergeValues": True, "showValue": "never", "rowHeight": 0.8}
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": SOURCE,
        "targets": targets,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
    }


def render() -> str:
    """The file."""
    return json.dumps(dashboard(), indent=1) + "\n"


def ask(url: str, expression: str) -> int:
    """How many series Prometheus finds; raises HTTPError where it does not understand the expression."""
    expression = expression.replace("$instance", ".*").replace("$__rate_interval", "1m").replace("$__interval", "1m")
    with urlopen(f"{url}/api/v1/query?" + urlencode({"query": expression})) as answer:
        return len(json.load(answer)["data"]["result"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--try", dest="url", help="ask this Prometheus instead of writing the file")
    url = parser.parse_args().url
    if url is None:
        FILE.write_text(render(), encoding="utf-8")
        return 0
    found = {expression: ask(url, expression) for expression in expressions()}
    for expression, count in found.items():
        print(f"{count:4}  {expression}")
    return 0 if all(found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
