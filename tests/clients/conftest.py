"""The brokers that independent clients are tried on: ours, in a thread of this process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from swellmq import Broker, Settings


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
