"""`swellmq reference`: every setting, as the Markdown of docs/settings.md; or every metric, as docs/METRICS.md."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Final

from swellmq.observe.names import ALARMS, COUNTER, HISTOGRAM, HISTOGRAMS, LABELS, METRICS, OTHERS, SYS_TOPICS, Metric
from swellmq.options import BY_NAME, LISTENER_OPTIONS, OPTIONS, PRESETS, SECTIONS, Option, show

INTRODUCTION: Final = """\
# Settings

Every setting has one name. `pool.max_size`, for example, is

| where | written as |
| --- | --- |
| a TOML file, given with `--config FILE` | `max_size = 300` below `[pool]` |
| the environment | `SWELLMQ_POOL_MAX_SIZE=300` |
| a flag of `swellmq serve` | `--pool.max-size 300` |
| Python | `Settings(pool_max_size=300)` |

A flag wins over the environment, that over the file, that over the preset, and that over the defaults. An empty
variable counts as not there. Lists are separated by commas in the environment; their flags may be given several times.
`--log-level`, `--log-format` and `-v` are short for `--log.level`, `--log.format` and `--log-level debug`.

`swellmq check FILE` says what is wrong with a file, or what a broker with it would do. This page is what
`swellmq reference` prints.
"""
PRESETS_TEXT: Final = """\
## Presets

Where `pool.initial_size` or `pool.max_size` isn't given and is above a `pool.max_size` or `max_connections` that is, it
is lowered to that. Given sizes must obey `pool.initial_size <= pool.max_size <= max_connections`.
"""
LISTENERS_TEXT: Final = """\
## Listeners

A file may have any number of `[[listener]]` tables, each with these settings. They stand in place of `bind` and `port`;
where those are given as flags or in the environment, they replace the tables. `unix` always adds a listener.

```toml
[[listener]]
bind = ["127.0.0.1", "::1"]
port = 1883

[[listener]]
port = 9001
protocol = "websocket"
path = "/mqtt"

[[listener]]
bind = "0.0.0.0"
port = 8883
certificate = "/etc/swellmq/broker.pem"
key = "/etc/swellmq/broker.key"

[[listener]]
unix = "/run/swellmq/swellmq.sock"
mode = "0660"
```
"""

METRICS_TEXT: Final = """\
# Metrics, alarms and $SYS

Every number that a broker tells of itself. `GET /metrics` of the admin server (`--admin`) has the metrics, as
Prometheus' text format or as OpenMetrics; with a token Prometheus needs it too:

```yaml
scrape_configs:
  - job_name: swellmq
    authorization:
      credentials_file: /etc/prometheus/swellmq.token
    static_configs:
      - targets: ["127.0.0.1:18083"]
```

[grafana.json](grafana.json) is a dashboard for Grafana 9 and later (Dashboards, Import), [alerts.yml](alerts.yml) has
rules for Prometheus. What a broker does not have, such as a store, it has no metrics of. The same numbers are in
`GET /api/v1/statistics` and in `Broker.statistics()` of Python, under names of their own.

A scrape reads counters; it walks over nothing, and is written in slices between the broker's turns. This page is what
`swellmq reference metrics` prints.

## Metrics
"""
ALARMS_TEXT: Final = """\
## Alarms

An alarm is raised once what it watches has been wrong for `alarms.after_s`, and cleared once it has been a tenth below
its bound for as long (free space: above). Each change is one line in the log, one message below `$SYS/broker/alarms/`
and an event in the history. They are looked at once a second, by a broker that has something to do: one that rests is
not woken for them, unless one is raised. A bound of 0 turns its alarm off. SIGHUP reads the bounds again.
"""
SYS_TEXT: Final = """\
## $SYS

Retained messages of QoS 0 below `$SYS/broker/`, published every `sys_interval_s` where they have changed. Their names
are those of mosquitto as far as mosquitto has them. A load has no topic before there is any.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Print every setting, or every metric, alarm and $SYS topic, with its meaning, as Markdown."
    parser.add_argument("what", nargs="?", choices=("settings", "metrics"), default="settings", help="[settings]")


def run(arguments: argparse.Namespace) -> int:
    print(render_metrics() if arguments.what == "metrics" else render(), end="")
    return 0


def render() -> str:
    """The whole page."""
    pieces = [INTRODUCTION]
    for section, title in SECTIONS.items():
        heading = f"## {title}\n" if not section else f"## {title}: `[{section}]`\n"
        pieces += [heading, _table(option for option in OPTIONS if option.section == section)]
    pieces += [LISTENERS_TEXT, _table(LISTENER_OPTIONS), PRESETS_TEXT, _presets()]
    return "\n".join(pieces)


def render_metrics() -> str:
    """The whole page of metrics."""
    rows: list[tuple[str, ...]] = []
    for one in METRICS:
        name = f"`{one.name}_total`" if one.kind == COUNTER else f"`{one.name}`"
        rows.append((name, one.kind, _labels(one), one.meaning))
    rows += [(f"`{name}`", HISTOGRAM, "`le`", meaning) for name, (_, meaning) in HISTOGRAMS.items()]
    for name, (kind, meaning) in OTHERS.items():
        suffix = {COUNTER: "_total", "info": "_info"}.get(kind, "")
        labels = ", ".join(f"`{label}`" for label in LABELS.get(name, ()))
        rows.append((f"`{name}{suffix}`", kind, labels, meaning))
    alarms = [(f"`{name}`", f"`{bound}`", meaning) for name, (bound, meaning) in ALARMS.items()]
    topics = [(f"`{name}`", meaning) for name, meaning in SYS_TOPICS.items()]
    return "\n".join(
        [
            METRICS_TEXT,
            _rows(("metric", "type", "labels", "meaning"), rows),
            ALARMS_TEXT,
            _rows(("alarm", "its bound", "what is wrong"), alarms),
            SYS_TEXT,
            _rows(("topic", "meaning"), topics),
        ]
    )


def _labels(metric: Metric) -> str:
    if not metric.label:
        return ""
    return f"`{metric.label}`: " + ", ".join(metric.sources)


def _rows(titles: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [titles, ("---",) * len(titles), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def _table(options: Iterable[Option]) -> str:
    lines = ["| setting | default | unit | values | meaning |", "| --- | --- | --- | --- | --- |"]
    for option in options:
        default = show(option, option.default)
        cells = [
            f"`{option.name}`",
            f"`{default}`" if default else "",
            option.unit,
            option.range_text(),
            option.meaning,
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _presets() -> str:
    names = list(PRESETS["default"])
    lines = ["| preset | " + " | ".join(f"`{name}`" for name in names) + " |", "| --- " * (len(names) + 1) + "|"]
    for preset, values in PRESETS.items():
        cells = [show(BY_NAME[name], values[name]) for name in names]
        lines.append("| " + " | ".join([preset, *cells]) + " |")
    return "\n".join(lines) + "\n"
