"""What a sub-command says: progress to stderr, a table in Markdown to stdout, all figures as JSON, a chart.

The one place of this package that prints. `add_arguments` gives a sub-command the options that all have, `Report.write`
does what they ask for.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from swellmq.bench.brokers import NAMES, Broker, BrokerError, find_broker
from swellmq.bench.machine import describe_machine

BROKERS_DEFAULT: Final = ("swellmq", "swellmq-interpreted", "mosquitto")


def add_arguments(parser: argparse.ArgumentParser, brokers: tuple[str, ...] = BROKERS_DEFAULT) -> None:
    """Add the options that every sub-command has. `brokers`: those it measures by default."""
    parser.add_argument(
        "--brokers", type=broker_names, default=list(brokers), metavar="NAME,...", help=f"of {', '.join(NAMES)}"
    )
    parser.add_argument("--protocol", choices=("3.1.1", "5"), default="3.1.1", help="the MQTT version of the load")
    parser.add_argument("--json", type=target, metavar="FILE", help="write all figures of all rounds to this file")
    parser.add_argument("--markdown", type=target, metavar="FILE", help="write the table to this file too")


def target(text: str) -> Path:
    """An argument that is a file to be written: its folder is looked at before anything is measured."""
    path = Path(text)
    if not path.parent.is_dir() or path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} can't be written: give a file in a folder that is there")
    return path


def positive(text: str) -> int:
    """An argument that is a number of 1 or more."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def positives(text: str) -> list[int]:
    """An argument like `1000,10000`; returned in ascending order."""
    return sorted(positive(word) for word in text.split(","))


def broker_names(text: str) -> list[str]:
    """An argument like `swellmq,mosquitto`."""
    names = text.split(",")
    for name in names:
        if name not in NAMES:
            raise argparse.ArgumentTypeError(f"no broker is called {name!r}: choose from {', '.join(NAMES)}")
    return names


def progress(text: str) -> None:
    """Say on stderr what is being done."""
    print(text, file=sys.stderr, flush=True)


def markdown_table(columns: list[str], rows: list[list[str]]) -> list[str]:
    """A table in Markdown, line by line; the first column names the rows."""
    lines = ["| " + " | ".join(columns) + " |", "| " + "--- | " * len(columns)]
    return [line.rstrip() for line in lines + ["| " + " | ".join(row) + " |" for row in rows]]


@dataclass
class Report:
    """What a run has found. `notes` are sentences for the reader, one a line below the table."""

    command: str
    brokers: list[Broker] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    results: list[dict[str, Any]] = field(default_factory=list)

    def find_brokers(self, names: list[str]) -> None:
        """Look the brokers up; one that is missing becomes a note. Raises BrokerError where none is there."""
        for name in names:
            try:
                self.brokers.append(find_broker(name))
            except BrokerError as error:
                self.notes.append(f"{error}.")
        if not self.brokers:
            raise BrokerError("; ".join(self.notes))

    def write(self, arguments: argparse.Namespace, table: list[str], how: str) -> int:
        """Print the table, what was measured where and `how`, and the notes; write the files asked for.

        Returns the exit code: 1 where a result says `failure`.
        """
        where = f"{describe_machine()}; MQTT {arguments.protocol} over loopback; {how}."
        versions = {broker.name: broker.version for broker in self.brokers}
        text = "\n".join([*table, "", "; ".join(versions.values()) + ".", where, *self.notes])
        print(text)
        if arguments.markdown:
            arguments.markdown.write_text(text + "\n")
        if arguments.json:
            content = {"command": self.command, "brokers": versions, "notes": self.notes, "results": self.results}
            arguments.json.write_text(json.dumps(content, indent=2) + "\n")
        return 1 if any("failure" in result for result in self.results) else 0
