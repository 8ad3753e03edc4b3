"""`swellmq serve` as argparse knows it: help, and what is said of flags that are wrong. `start.py` runs the broker."""

from __future__ import annotations

import argparse
from typing import Final

from swellmq.cli.parser import HelpFormatter
from swellmq.cli.start import SHORT_FLAGS, settings_of, start
from swellmq.options import BOOLEAN, CHOICE, FRACTION, INTEGER, LIST, OPTIONS, SECTIONS, Option
from swellmq.settings import Settings

EPILOG: Final = """\
Every option can also stand in the configuration ([pool] max_size = 300) or in the environment
(SWELLMQ_POOL_MAX_SIZE=300); a flag wins over the environment, and that over the file.

examples:
  swellmq serve
  swellmq serve --preset small --pool.max-size 300 --max-connections 350
  swellmq serve --config swellmq.toml --bind 0.0.0.0 --port 1884
"""


class EpilogFormatter(HelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Leaves the lines of the epilog as they are."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Run the broker."
    parser.usage = "swellmq serve [--config FILE] [--preset NAME] [--bind ADDR] [--port N] [-v] [--SETTING VALUE ...]"
    parser.epilog = EPILOG
    parser.formatter_class = EpilogFormatter
    parser.argument_default = argparse.SUPPRESS
    groups = {section: parser.add_argument_group(title) for section, title in SECTIONS.items()}
    groups[""].add_argument("-c", "--config", metavar="FILE", help="a configuration in TOML, or a mosquitto.conf")
    for option in OPTIONS:
        _add_option(groups[option.section], option)
    groups["log"].add_argument(
        "-v", "--verbose", dest="log.level", action="store_const", const="debug", help="the same as --log-level debug"
    )


def _add_option(group: argparse._ArgumentGroup, option: Option) -> None:
    flags = [option.flag]
    if option.name in SHORT_FLAGS:
        flags.insert(0, SHORT_FLAGS[option.name])
    meaning = help_text(option).replace("%", "%%")
    if option.kind == BOOLEAN:
        # Without a value it says yes.
        group.add_argument(*flags, dest=option.name, nargs="?", const="true", metavar="BOOL", help=meaning)
    elif option.kind == LIST:
        group.add_argument(*flags, dest=option.name, action="append", metavar="ADDR", help=meaning)
    else:
        metavar = {INTEGER: "N", FRACTION: "N/N", CHOICE: "NAME"}.get(option.kind, "PATH")
        group.add_argument(*flags, dest=option.name, metavar=metavar, help=meaning)


def help_text(option: Option) -> str:
    """One option's meaning, with its choices, its unit and its default."""
    facts = []
    if option.kind == CHOICE:
        facts.append(", ".join(option.choices))
    if option.kind == LIST:
        facts.append("may be given several times")
    if option.unit:
        facts.append(option.unit)
    facts.append("default " + option.default_text())
    return f"{option.meaning} [{'; '.join(facts)}]"


def load_settings(arguments: argparse.Namespace) -> Settings:
    """The settings of a command line, with the file that it names and the environment. Raises SettingsError."""
    return settings_of(vars(arguments))


def run(arguments: argparse.Namespace) -> int:
    return start(vars(arguments))
