"""The brokers that independent clients are tried on: ours, in a thread of this process. And whether node is there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache

import pytest
from mqttjs_client import missing

from swellmq import Broker, Settings


@cache
def _missing() -> str:
    return missing()


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("needs_node") is None:
        return
    if what := _missing():
        text = f"not installed: {what}"
        if os.environ.get("CI"):
            pytest.fail(text)
        pytest.skip(text)


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    """One for all tests of a file. What goes wrong inside it fails the file."""
    with Broker(Settings(port=0)) as running:
        yield running
        assert running.statistics()["errors_internal"] == 0


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> str:
    """A topic that no other test uses."""
    return "t/" + "".join(letter if letter.isalnum() else "-" for letter in request.node.name)
