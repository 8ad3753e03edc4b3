"""The lines of a mosquitto.conf and of what it includes, and the listeners that they describe."""

from __future__ import annotations

import os
from collections.abc import Iterator

from swellmq.errors import SettingsError
from swellmq.options import Value
from swellmq.settings import read_configuration


class Line:
    """One option with its value, and where it stands: "mosquitto.conf:12"."""

    def __init__(self, name: str, value: str, where: str) -> None:
        self.name = name
        self.value = value
        self.where = where

    def error(self, problem: str, remedy: str) -> SettingsError:
        """What is wrong with this line."""
        shown = f"{self.name} {self.value}".strip()
        return SettingsError(shown if len(shown) < 80 else shown[:77] + "...", problem, remedy, self.where)


class Place:
    """One listener of the file. `values` has what its options set, with the line of each."""

    def __init__(self, where: str, port: int = 0, host: str = "") -> None:
        self.where = where
        self.port = port
        self.host = host
        self.unix = ""
        self.origins: list[str] = []
        self.values: dict[str, tuple[Value, Line]] = {}

    def value(self, attribute: str, default: Value) -> Value:
        """What an option of this listener set, or `default`."""
        return self.values[attribute][0] if attribute in self.values else default

    def error(self, attribute: str, problem: str, remedy: str) -> SettingsError:
        """What is wrong with an option that this listener has."""
        return self.values[attribute][1].error(problem, remedy)


def lines_of(path: str, included_by: Line | None = None) -> Iterator[Line]:
    """The options of a file in their order, with those of the files that it includes in their place."""
    document = read_configuration(path, "mosquitto.conf", included_by.where if included_by is not None else "")
    for count, text in enumerate(document.splitlines(), 1):
        name, _, value = text.strip().replace("\t", " ").partition(" ")
        if not name or name.startswith("#"):
            continue
        line = Line(name, value.strip(), f"{path}:{count}")
        if name != "include_dir":
            yield line
        elif included_by is not None:
            raise line.error("within an included file", "Move it into the main file")
        else:
            for file in _included(line):
                yield from lines_of(file, line)


def _included(line: Line) -> list[str]:
    try:
        names = os.listdir(line.value)
    except OSError as error:
        raise line.error(f"can't be read: {error.strerror}", "Give the path of a folder") from None
    return [os.path.join(line.value, name) for name in sorted(names) if name.endswith(".conf")]
