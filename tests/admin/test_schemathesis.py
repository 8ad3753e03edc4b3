"""schemathesis reads the OpenAPI document and tries the API of a real broker with real clients, for a bounded time."""

from __future__ import annotations

import importlib.util
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from admin_client import admin_port, ask
from socket_client import Clients

from swellmq import Broker

Start = Callable[..., Broker]

TOKEN = "correct horse battery"
EXAMPLES = os.environ.get("EXAMPLES", "10")  # of each operation
# A request may be well-formed and still ask for what can't be: another token, a topic of the broker's own, an address
# that is none, a `next` that was never given.
CONFIGURATION = """
[checks]
positive_data_acceptance.expected-statuses = ["2xx", "401", "404", "409", "422"]
"""


@pytest.fixture
def log_level() -> Iterator[None]:
    """The API may change it."""
    logger = logging.getLogger("swellmq")
    before = logger.level
    yield
    logger.setLevel(before)


@pytest.mark.slow
@pytest.mark.usefixtures("log_level")
def test_the_api_is_as_its_document_says(broker: Start, clients: Clients, tmp_path: Path) -> None:
    if importlib.util.find_spec("schemathesis") is None:
        text = "not installed: schemathesis (`make api` installs it and runs this)"
        pytest.fail(text) if os.environ.get("API_TEST") else pytest.skip(text)
    one = broker(admin="127.0.0.1:0", admin_token=TOKEN, access_anonymous="yes")
    for number in range(30):
        client = clients(one, 5, f"client-{number}", username=f"user-{number % 3}", expiry_s=60)
        client.subscribe(f"a/{number}/#", 1)
        one.publish_blocking(f"kept/{number % 7}/{number}", b"x" * number, retain=True)
    configuration = tmp_path / "schemathesis.toml"
    configuration.write_text(CONFIGURATION)
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(configuration), "run", "--no-color"]
    command += ["--max-examples", EXAMPLES, "--phases", "examples,coverage,fuzzing,stateful"]
    command += ["-H", f"Authorization: Bearer {TOKEN}", f"http://127.0.0.1:{admin_port(one)}/openapi.json"]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=900, check=False)
    assert ended.returncode == 0, ended.stdout[-10_000:]
    told = one.statistics()
    assert told["admin_requests"] > 500
    assert told["admin_answers_5xx"] == 0
    assert told["errors_internal"] == 0
    assert ask(one, "/health").status == 200
