"""What all tests share: which build is under test, and what a missing program means."""

from __future__ import annotations

import os
import shutil

import pytest

from swellmq.version import describe

MOSQUITTO = ("mosquitto", "mosquitto_pub", "mosquitto_sub")


def pytest_configure() -> None:
    os.environ["PATH"] += os.pathsep + "/usr/sbin"  # where Debian puts mosquitto, and not every user's PATH has it


def pytest_report_header() -> str:
    return "under test: " + describe()


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("needs_mosquitto") is None:
        return
    missing = [program for program in MOSQUITTO if shutil.which(program) is None]
    if missing:
        text = f"not installed: {', '.join(missing)} (the Debian packages in apt-packages.txt)"
        if os.environ.get("CI"):
            pytest.fail(text)
        pytest.skip(text)
