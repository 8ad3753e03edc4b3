"""`swellmq trace`: the packets of one client, in a terminal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from admin_client import admin_port
from socket_client import Clients, await_true

from swellmq import Broker
from swellmq.cli.admin_client import AdminClient
from swellmq.cli.main import main

Start = Callable[..., Broker]


@pytest.fixture
def command() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    running: list[subprocess.Popen[str]] = []

    def start(*words: str) -> subprocess.Popen[str]:
        made = subprocess.Popen(
            [sys.executable, "-P", "-m", "swellmq", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ,
        )
        running.append(made)
        return made

    yield start
    for process in running:
        process.kill()
        process.communicate()


def test_packets_as_they_come(broker: Start, clients: Clients, command: Callable[..., subprocess.Popen[str]]) -> None:
    one = broker(admin="127.0.0.1:0")
    shown = command("trace", "a", "--admin", f"127.0.0.1:{admin_port(one)}")
    assert shown.stderr is not None and shown.stdout is not None
    assert shown.stderr.readline().startswith("tracing a until ")
    clients(one, 5, "a")
    assert " -> CONNECT MQTT 5.0, client identifier a, " in shown.stdout.readline()
    assert " <- CONNACK success" in shown.stdout.readline()
    shown.send_signal(signal.SIGINT)
    assert shown.wait(20) == 0
    left = AdminClient(f"127.0.0.1:{admin_port(one)}").get("/traces/a")
    assert not left["active"] and left["items"], "it was ended by the command, and can still be read"


def test_a_client_without_an_identifier(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", ""]) == 2
    assert "give the client identifier" in capsys.readouterr().err


def test_names_that_are_no_text(broker: Start, capsys: pytest.CaptureFixture[str]) -> None:
    place = f"127.0.0.1:{admin_port(broker(admin='127.0.0.1:0'))}"
    assert main(["trace", "a\udcff", "--admin", place]) == 1
    assert main(["top", "--once", "--search", "\udcff", "--admin", place]) == 1
    assert main(["top", "--once", "--admin", "http://[::1"]) == 1
    assert "http://[::1 is no address of an admin" in capsys.readouterr().err


def test_json_lines(broker: Start, clients: Clients, command: Callable[..., subprocess.Popen[str]]) -> None:
    one = broker(admin="127.0.0.1:0")
    client = clients(one, 4, "a")
    place = f"127.0.0.1:{admin_port(one)}"
    shown = command("trace", "a", "--json", "--admin", place)
    assert shown.stdout is not None
    admin = AdminClient(place)
    await_true(lambda: admin.get("/traces")["items"])
    client.ping()
    line = json.loads(shown.stdout.readline())
    assert (line["number"], line["direction"], line["text"]) == (1, "received", "PINGREQ")


class TestErrors:
    def test_nobody_there(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["trace", "a", "--admin", "127.0.0.1:1"]) == 1
        assert capsys.readouterr().err == (
            "swellmq: nobody listens on 127.0.0.1:1: start the broker with `--admin 127.0.0.1:1`, or say with --admin "
            "where its admin is\n"
        )

    def test_the_port_of_mqtt(self, broker: Start, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["trace", "a", "--admin", f"127.0.0.1:{broker().port}"]) == 1
        assert "speaks no HTTP: is it the port of MQTT" in capsys.readouterr().err

    def test_tokens(self, broker: Start, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        one = broker(admin="127.0.0.1:0", admin_token="correct horse battery staple")
        place = f"127.0.0.1:{admin_port(one)}"
        assert main(["trace", "a", "--admin", place]) == 1
        assert "wants its token" in capsys.readouterr().err
        (tmp_path / "token").write_text("correct horse battery staple\n")
        assert main(["trace", "a", "--admin", place, "--token-file", str(tmp_path / "none")]) == 1
        assert "can't be read" in capsys.readouterr().err
        client = AdminClient(place, "correct horse battery staple")
        assert client.ask("POST", "/traces/a", {})["active"]

    def test_a_token_in_any_language(self, broker: Start) -> None:
        token = "schöne Grüße 東京 und so weiter"
        place = f"127.0.0.1:{admin_port(broker(admin='127.0.0.1:0', admin_token=token))}"
        assert AdminClient(place, token).get("/traces") == {"items": []}

    @pytest.mark.parametrize("place", ["ftp://x", "http://", "localhost:none"])
    def test_no_address(self, place: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["trace", "a", "--admin", place]) == 1
        assert "is no address of an admin" in capsys.readouterr().err

    def test_minutes(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            main(["trace", "a", "--minutes", "0"])
        assert "'0' is not a whole number from 1 to 1440" in capsys.readouterr().err
