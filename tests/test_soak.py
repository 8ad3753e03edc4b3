"""A short form of the churn soak of tools/soak.py; `make soak` is the long one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "tools"))

from soak import soak


@pytest.mark.slow
def test_nothing_is_left_of_clients_that_vanish_in_twelve_ways() -> None:
    said: list[str] = []
    assert soak(3_000, 7, said.append) == [], "\n".join(said)
