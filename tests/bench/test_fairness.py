"""`swellmq bench fairness`: short runs, with bounds that a busy machine keeps too."""

from __future__ import annotations

import argparse
from typing import Any

import pytest

from swellmq.bench.brokers import find_broker
from swellmq.bench.fairness import add_arguments, measure, row_of
from swellmq.bench.machine import prepare_machine
from swellmq.cli.main import main


def run(case: str, *words: str) -> list[dict[str, Any]]:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    arguments = parser.parse_args(["--seconds", "2", *words])
    return measure(find_broker("swellmq"), prepare_machine(), case, arguments)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["fan-out", "fan-out-own"])
def test_a_ping_beside_a_large_fan_out(case: str) -> None:
    [result] = run(case, "--subscribers", "2000")
    assert result["arrived_per_second"] > 0
    assert result["ping"]["p50"] < 60


@pytest.mark.slow
def test_who_stops_reading_costs_the_others_nothing() -> None:
    before, stopped = run("stopped")
    assert stopped["cpu_us_per_message"] < 2 * before["cpu_us_per_message"]
    assert stopped["grown_bytes"] < 20_000_000  # limits.outbox_bytes is 1 MiB
    assert stopped["ping"]["p50"] < 30


@pytest.mark.slow
def test_a_paced_pair_beside_a_flood() -> None:
    [result] = run("flood")
    assert result["pair"]["p50"] < 30
    assert row_of(result)[0] == "flood, swellmq"


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["bench", "fairness", "--help"])
    assert "what one client's flood does" in capsys.readouterr().out
