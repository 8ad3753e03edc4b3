"""What `swellmq serve` does, and its flags read without argparse.

argparse and what it imports stay in memory for as long as the broker runs: 0.4 MB, for something that takes a moment.
So flags that are all well are read here. Whatever is not plainly right, or asks for help, is left to argparse, which
knows what to say (`cli/serve.py`).
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Mapping
from typing import Any, Final

from swellmq.errors import SettingsError
from swellmq.options import BOOLEAN, BY_NAME, LIST, OPTIONS
from swellmq.settings import Settings

EXIT_BAD_SETTINGS: Final = 2
SHORT_FLAGS: Final = {"log.level": "--log-level", "log.format": "--log-format"}


def read_flags(words: list[str]) -> dict[str, Any] | None:
    """The values of flags by the names of their options, as argparse would give them; None: that is for argparse."""
    names = {option.flag: option.name for option in OPTIONS}
    names.update({flag: name for name, flag in SHORT_FLAGS.items()})
    names.update({"-c": "config", "--config": "config"})
    values: dict[str, Any] = {}
    pos = 0
    while pos < len(words):
        flag, equals, value = words[pos].partition("=")
        pos += 1
        name = names.get(flag)
        if flag in ("-v", "--verbose") and not equals:
            name, value = "log.level", "debug"
        elif name is None or (equals and not flag.startswith("--")):
            return None
        elif not equals:
            plain = pos < len(words) and not words[pos].startswith("-")
            if plain:
                value = words[pos]
                pos += 1
            elif name != "config" and BY_NAME[name].kind == BOOLEAN:
                value = "true"  # without a value it says yes
            else:
                return None
        if name != "config" and BY_NAME[name].kind == LIST:
            values.setdefault(name, []).append(value)
        else:
            values[name] = value
    return values


def settings_of(given: Mapping[str, Any]) -> Settings:
    """The settings of these flags, with the file that they name and the environment. Raises SettingsError."""
    flags = {name: given[name] for name in given if name in BY_NAME}
    return Settings.load(given.get("config"), os.environ, flags)


def start(given: Mapping[str, Any]) -> int:
    """Run a broker with the settings of these flags until it is stopped; returns the exit code."""
    try:
        settings = settings_of(given)
    except SettingsError as error:
        print(f"swellmq: {error}", file=sys.stderr)
        return EXIT_BAD_SETTINGS
    gc.collect()  # a parser is a circle; gone now, it leaves its memory to the broker
    from swellmq.command import serve

    return serve(settings)
