"""The OpenAPI document says what the routes do, and what they do is what it says."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from admin_client import ask

from swellmq import Broker
from swellmq.admin.api import ROUTES

Start = Callable[..., Broker]

TOOL = Path(__file__).parent.parent.parent / "tools/openapi.py"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("openapi", TOOL)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_file_is_up_to_date(tool: ModuleType, broker: Start) -> None:
    answer = ask(broker(admin="127.0.0.1:0", admin_token="correct horse battery"), "/openapi.json")
    assert answer.status == 200
    assert answer.body.decode() == tool.text(), "`make docs`, or `python tools/openapi.py`, writes it anew"


def test_every_route_is_in_it_and_says_what_it_is_for(tool: ModuleType) -> None:
    told = json.loads(tool.text())
    operations = [one for path in told["paths"].values() for one in path.values()]
    assert len(operations) == len(ROUTES)
    assert len({one["operationId"] for one in operations}) == len(ROUTES)
    for one in operations:
        assert one["summary"].endswith((".", ":")) or one["summary"][-1] in ".:", one
        for parameter in one["parameters"]:
            assert parameter["in"] == "path" or parameter["description"]
    for name, schema in told["components"]["schemas"].items():
        assert "description" in schema, name
