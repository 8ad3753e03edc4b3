"""Argument types that several commands share."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Final

SECONDS_MAX: Final = 31_536_000.0  # a year; select takes no infinite times


def whole(low: int, high: int) -> Callable[[str], int]:
    """An argument type: a whole number from `low` to `high`."""

    def parse(text: str) -> int:
        if text.isascii() and text.isdigit() and low <= int(text) <= high:
            return int(text)
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {low} to {high}")

    return parse


def seconds(text: str) -> float:
    """An argument type: a time above 0, fractions allowed."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= SECONDS_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return value
