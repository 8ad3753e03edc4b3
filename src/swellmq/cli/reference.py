"""`swellmq reference`: every setting, as the Markdown of docs/settings.md."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Final

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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Print every setting with its default, unit and meaning, as Markdown."


def run(arguments: argparse.Namespace) -> int:
    print(render(), end="")
    return 0


def render() -> str:
    """The whole page."""
    pieces = [INTRODUCTION]
    for section, title in SECTIONS.items():
        heading = f"## {title}\n" if not section else f"## {title}: `[{section}]`\n"
        pieces += [heading, _table(option for option in OPTIONS if option.section == section)]
    pieces += [LISTENERS_TEXT, _table(LISTENER_OPTIONS), PRESETS_TEXT, _presets()]
    return "\n".join(pieces)


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
