"""The version, here and nowhere else, and whether this build is the compiled one."""

from __future__ import annotations

import sys
from typing import Final

VERSION: Final = "0.1.0"


def compiled() -> bool:
    """Whether this is the compiled build: setup.py compiles this module together with all the others."""
    return not __file__.endswith(".py")


def describe() -> str:
    """What `swellmq --version` prints."""
    how = "compiled by mypyc" if compiled() else "interpreted"
    python = ".".join(str(number) for number in sys.version_info[:3])
    return "swellmq " + VERSION + " (" + how + ", Python " + python + ")"


def advice() -> str:
    """What to tell an operator about this build, because pip hides what setup.py says; "" where it is compiled."""
    if compiled():
        return ""
    return (
        "Running interpreted, several times slower than compiled: install a C compiler and Python's headers"
        " (Debian: apt-get install gcc python3-dev), then swellmq again, with pip's --no-cache-dir --force-reinstall."
    )
