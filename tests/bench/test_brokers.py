"""Brokers as processes: started, measured, stopped, and told where they are not there."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

from swellmq.bench import brokers
from swellmq.bench.flow import Load
from swellmq.bench.scenarios import SCENARIOS


def test_a_broker_that_does_not_start_is_told_with_its_last_line() -> None:
    broken = brokers.Broker("broken", [sys.executable, "-Sc", "raise SystemExit('no such luck')"], {}, "broken 1")
    running = brokers.Running(broken)
    with pytest.raises(brokers.BrokerError, match=r"broken does not listen on port .*: no such luck"), running:
        pytest.fail("it runs")
    assert running.process is not None
    assert running.process.returncode == 1
    assert not Path(running.folder.name).exists()


def test_a_missing_mosquitto_is_told_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _name, path: None)
    with pytest.raises(brokers.BrokerError, match=r"mosquitto is not installed \(Debian: apt-get install mosquitto\)"):
        brokers.find_broker("mosquitto")


def test_cpu_time_and_memory_are_those_of_the_process() -> None:
    busy = "import socket; s = socket.create_server(('127.0.0.1', {port})); s.accept(); sum(range(10**7)); s.accept()"
    give_up = time.monotonic() + 10
    with brokers.Running(brokers.Broker("busy", [sys.executable, "-Sc", busy], {}, "")) as running:
        assert 4_000_000 < running.resident_bytes() < 40_000_000
        while running.cpu_ticks() < 5 and time.monotonic() < give_up:
            os.sched_yield()
        assert running.cpu_ticks() >= 5
    assert running.process is not None
    assert running.process.returncode == -signal.SIGTERM


def test_the_interpreted_build_is_a_copy_without_compiled_modules() -> None:
    found = brokers.find_broker("swellmq-interpreted")
    assert "(interpreted, Python" in found.version
    folder = Path(found.environment["PYTHONPATH"])
    assert (folder / "swellmq" / "server.py").is_file()
    assert not list(folder.rglob("*.so"))


@pytest.mark.parametrize("name", ["amqtt", "iotcore"])
def test_a_broker_from_pypi_that_is_missing_is_told(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _name, path: None)
    with pytest.raises(brokers.BrokerError, match=rf"{name} is not installed \(pip install {name}, "):
        brokers.find_broker(name)


def test_any_command_can_stand_beside() -> None:
    broker = brokers.command_broker("mine=my-broker --listen 127.0.0.1:{port}")
    assert (broker.name, broker.command) == ("mine", ["my-broker", "--listen", "127.0.0.1:{port}"])


@pytest.mark.parametrize("text", ["mine", "mine=my-broker", "=my-broker {port}"])
def test_a_command_without_name_or_port_is_told(text: str) -> None:
    with pytest.raises(brokers.BrokerError, match=r"is not NAME=COMMAND with \{port\} in the command"):
        brokers.command_broker(text)


@pytest.mark.slow
@pytest.mark.parametrize("name", brokers.FLOOR_SCENARIOS)
def test_the_floor_relays_all_messages_of_its_loads(name: str) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("no gcc here, and the floor is C")
    scenario = SCENARIOS[name]
    with brokers.Running(brokers.find_broker("floor")) as running:
        load = Load(running.port, scenario, 5_000)
        try:
            load.run()
        finally:
            load.close()
    assert sum(messages for _seconds, messages in load.latency.samples) == load.messages >= 5_000


def test_the_floor_without_a_compiler_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    brokers._build_floor.cache_clear()
    with pytest.raises(brokers.BrokerError, match=r"floor needs a C compiler \(Debian: apt-get install gcc"):
        brokers.find_broker("floor")
