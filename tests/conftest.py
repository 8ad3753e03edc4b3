"""What all tests share: which build is under test, what a missing program means, and brokers to talk to.

A test has its broker in one of two ways. `broker(...)` runs one in a thread, as an application would. `server(...)`
gives one that the test itself turns: client and broker then take steps in one thread, and every step can be counted.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import builds
import chromium
import pytest
from socket_client import Clients, quiet_settings

from swellmq import Access, Broker, Storage
from swellmq.server import Server
from swellmq.version import describe

MOSQUITTO = ("mosquitto", "mosquitto_pub", "mosquitto_sub")


def pytest_configure() -> None:
    builds.be_strict()
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # of a job in the background, and of all that it starts
        signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ["PATH"] += os.pathsep + "/usr/sbin"  # where Debian puts mosquitto, and not every user's PATH has it


def pytest_report_header() -> str:
    return "under test: " + describe()


def pytest_runtest_setup(item: pytest.Item) -> None:
    missing: list[str] = []
    if item.get_closest_marker("needs_mosquitto") is not None:
        missing += [program for program in MOSQUITTO if shutil.which(program) is None]
    if item.get_closest_marker("needs_chromium") is not None and chromium.program() is None:
        missing.append(chromium.PROGRAMS[0])
    if missing:
        text = f"not installed: {', '.join(missing)} (the Debian packages in apt-packages.txt)"
        if os.environ.get("CI"):
            pytest.fail(text)
        pytest.skip(text)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users may enter, too: they can't enter `tmp_path`."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@pytest.fixture
def clients() -> Iterator[Clients]:
    made = Clients()
    yield made
    for client in made.made:
        client.close()


@pytest.fixture
def broker() -> Iterator[Callable[..., Broker]]:
    """Starts brokers in threads; each is stopped at the end, and its pool must be sound then."""
    running: list[Broker] = []

    def start(access: Access | None = None, storage: Storage | None = None, **values: Any) -> Broker:
        running.append(Broker(quiet_settings(**values), access=access, storage=storage).__enter__())
        return running[-1]

    yield start
    for one in running:
        faults = one.self_check()
        one.__exit__(None, None, None)
        assert not faults


@pytest.fixture
def server() -> Iterator[Callable[..., Server]]:
    """Makes servers that the test turns by hand; each must be sound at its end."""
    opened: list[Server] = []

    def open_server(access: Access | None = None, storage: Storage | None = None, **values: Any) -> Server:
        one = Server(quiet_settings(**values), access, storage)
        one.open()
        opened.append(one)
        return one

    yield open_server
    for one in opened:
        if one.loop.waker >= 0:  # the test has not ended it itself
            faults = one.self_check()
            one.finish()
            assert not faults
