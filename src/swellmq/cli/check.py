"""`swellmq check FILE`: what is wrong with a configuration, or what a broker with it would do.

The environment counts as it would for `swellmq serve --config FILE`; every value says where it comes from.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
from typing import Final

from swellmq.errors import SettingsError
from swellmq.limits import CONNECTION_BYTES
from swellmq.options import OPTIONS, show
from swellmq.settings import Settings

EXIT_BAD_SETTINGS: Final = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Read a configuration, say what is wrong with it, or what a broker with it would do."
    parser.add_argument("file", metavar="FILE", help="a configuration in TOML, or a mosquitto.conf")
    parser.add_argument("--to-toml", action="store_true", help="print the configuration as TOML instead")


def run(arguments: argparse.Namespace) -> int:
    try:
        settings = Settings.load(arguments.file, os.environ, {})
        access = access_lines(settings)
        if arguments.to_toml:
            from swellmq.cli.toml import to_toml

            print(to_toml(settings), end="")
            return 0
        check_certificates(settings)
        check_admin(settings)
    except SettingsError as error:
        print(f"swellmq: {error}", file=sys.stderr)
        return EXIT_BAD_SETTINGS
    print("\n".join([report(settings), *access]))
    return 0


def report(settings: Settings) -> str:
    """The settings that aren't the defaults, and what follows from them, as text of several lines."""
    lines = ["Settings that differ from the defaults:"]
    for option in OPTIONS:
        value, origin = settings.explain(option.name)
        if value != option.default:
            unit = " " + option.unit if option.unit else ""
            lines.append(f"  {option.name} = {show(option, value)}{unit} ({origin})")
    if len(lines) == 1:
        lines.append("  none")
    lines += ["Listeners:"]
    lines += [f"  {listener}" for listener in settings.listeners]
    if settings.admin:
        lines.append(f"Admin: {'https' if settings.admin_certificate else 'http'}://{settings.admin}/")
    lines += pool_lines(settings)
    lines += ["Note: " + note for note in settings.notes]
    lines += ["Warning: " + warning for warning in settings.warnings]
    return "\n".join(lines)


def access_lines(settings: Settings) -> list[str]:
    """Who may come in, once the files of `[access]` are read; raises SettingsError where one can't be used."""
    if not settings.has_door():
        return []
    from swellmq.access.build import build_door

    door = build_door(settings)
    return ["Access:", *("  " + line for line in door.describe())]


def check_certificates(settings: Settings) -> None:
    """Read what TLS needs; raises SettingsError where a file is of no use."""
    for listener in settings.listeners:
        if listener.tls is not None:
            from swellmq.net.tls_context import make_terms

            make_terms(listener.tls, listener.protocol)


def check_admin(settings: Settings) -> None:
    """Read what admin needs; raises SettingsError where a file is of no use."""
    if settings.admin:
        from swellmq.admin.settings import make_layer, read_tokens

        read_tokens(settings)
        if settings.admin_certificate:
            make_layer(settings)


def pool_lines(settings: Settings) -> list[str]:
    """What the pool does: its steps with their triggers, and the memory of its objects."""
    from swellmq.net.pool import growth_sequence

    lines = [f"Pool, {settings.pool_mode}:"]
    if settings.pool_mode == "none":
        lines.append("  every connection object is made on demand")
    elif settings.pool_mode == "fixed":
        lines.append(f"  {settings.pool_max_size} connection objects are preheated at start")
    else:
        numerator, denominator = settings.pool_factor
        sizes = growth_sequence(settings.pool_initial_size, settings.pool_max_size, numerator, denominator)
        lines.append(f"  {sizes[0]} connection objects are preheated at start; steps of growth: {len(sizes) - 1}")
        for capacity, following in itertools.pairwise(sizes):
            trigger = capacity * settings.pool_threshold_percent // 100
            lines.append(f"  {capacity} -> {following} when {trigger} are in use")
    if settings.pool_mode != "none" and settings.pool_max_size < settings.max_connections:
        beyond = settings.max_connections - settings.pool_max_size
        lines.append(f"  {beyond} more are made on demand, up to max_connections = {settings.max_connections}")
    at_start, at_most = megabytes(settings.preheated_objects()), megabytes(settings.max_connections)
    lines.append("Memory of the connection objects, without what their clients make the broker keep:")
    lines.append(f"  {at_start} at start, {at_most} at max_connections")
    return lines


def megabytes(objects: int) -> str:
    """The memory of so many connection objects."""
    return f"{objects * CONNECTION_BYTES / 1e6:.1f} MB"
