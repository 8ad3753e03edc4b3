"""`swellmq bench durable`: one short run of each kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from swellmq.bench.brokers import Running
from swellmq.bench.durable import brokers, measure, placed
from swellmq.cli.main import main


@pytest.mark.slow
@pytest.mark.parametrize("away", [True, False])
def test_a_run_with_a_store(tmp_path: Path, away: bool) -> None:
    disk = next(broker for broker in brokers(["swellmq"]) if broker.name == "swellmq, disk")
    with Running(placed(disk, str(tmp_path)), 0) as running:
        figures = measure(running, away, 2_000, 5_000, 0)
    assert figures["per_second"] > 0 and figures["p50_ms"] <= figures["p99_ms"]
    assert min(figures["quiet_p99_ms"], figures["paced_p99_ms"], figures["loaded_p99_ms"]) > 0
    assert list((tmp_path / "node-0").glob("journal-*"))


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["bench", "durable", "--help"])
    assert "what it costs" in capsys.readouterr().out
