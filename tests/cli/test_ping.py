"""`swellmq ping`: a broker that answers, one that refuses, and none."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from swellmq import Broker
from swellmq.cli.main import main
from swellmq.listener_settings import ListenerSettings

Brokers = Callable[..., Broker]


def test_a_broker_that_answers(broker: Brokers, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    one = broker(listeners=[ListenerSettings(port=0), ListenerSettings(unix=path)])
    for where in (["-h", "127.0.0.1", "-p", str(one.port)], ["--unix", path], ["-p", str(one.port), "-V", "3.1.1"]):
        assert main(["ping", *where]) == 0
        assert capsys.readouterr().out.startswith("answered in ")
    assert one.statistics()["connects"] == 3


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_a_broker_that_does_not_know_us(broker: Brokers, capsys: pytest.CaptureFixture[str], version: str) -> None:
    one = broker(access_anonymous="no")
    assert main(["ping", "-p", str(one.port), "-V", version]) == 0
    assert "; the broker refused the connection: " in capsys.readouterr().out


def test_no_broker(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        where = ["-h", "127.0.0.1", "-p", str(silent.getsockname()[1])]
        assert main(["ping", *where, "--timeout", "0.05"]) == 1
        assert "did not answer CONNECT within 0.05 s" in capsys.readouterr().err
    assert main(["ping", *where]) == 1
    assert "Is a broker running?" in capsys.readouterr().err
