"""Clients by others log in with passwords that mosquitto_passwd and `swellmq passwd` have written."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from client_helpers import PAHO_VERSIONS, TIMEOUT_S
from paho.mqtt.enums import CallbackAPIVersion

from swellmq import Broker, Settings
from swellmq.cli.main import main

pytest.importorskip("argon2", reason="the extra `auth` is not installed")


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    path = tmp_path_factory.mktemp("access") / "users"
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr("sys.stdin", io.StringIO("ada:lovelace\n"))
    assert main(["passwd", str(path), "--batch"]) == 0
    monkeypatch.undo()
    with Broker(Settings(port=0, access_password_file=str(path))) as running:
        yield running
        assert running.statistics()["errors_internal"] == 0


@pytest.fixture(scope="module")
def mosquitto_s(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    path = tmp_path_factory.mktemp("access") / "users"
    for number, options in enumerate((["-H", "sha512-pbkdf2"], ["-H", "sha512"])):
        create = ["-c"] if not number else []
        subprocess.run(["mosquitto_passwd", *create, *options, "-b", path, f"user{number}", "pass"], check=True)
    with Broker(Settings(port=0, access_password_file=str(path))) as running:
        yield running


def publish(broker: Broker, version: str, *options: str) -> int:
    """The exit code of mosquitto_pub."""
    command = ["mosquitto_pub", "-p", str(broker.port), "-V", version, "-t", "t", "-m", "x", "-q", "1", *options]
    return subprocess.run(command, capture_output=True, timeout=TIMEOUT_S, check=False).returncode


@pytest.mark.needs_mosquitto
@pytest.mark.parametrize("version", ["mqttv31", "mqttv311", "mqttv5"])
def test_mosquitto_pub(broker: Broker, version: str) -> None:
    assert publish(broker, version, "-u", "ada", "-P", "lovelace") == 0
    bad, nobody = (0x86, 0x87) if version == "mqttv5" else (4, 5)
    assert publish(broker, version, "-u", "ada", "-P", "byron") == bad
    assert publish(broker, version) == nobody


@pytest.mark.needs_mosquitto
@pytest.mark.parametrize("user", ["user0", "user1"])
def test_files_of_mosquitto_passwd(mosquitto_s: Broker, user: str) -> None:
    assert publish(mosquitto_s, "mqttv311", "-u", user, "-P", "pass") == 0
    assert publish(mosquitto_s, "mqttv311", "-u", user, "-P", "fail") == 4


@pytest.mark.parametrize("version", [3, 4, 5])
@pytest.mark.parametrize(("password", "fails"), [("lovelace", False), ("byron", True)])
def test_paho(broker: Broker, version: int, password: str, fails: bool) -> None:
    answers: list[bool] = []
    client = paho.Client(CallbackAPIVersion.VERSION2, "c", protocol=PAHO_VERSIONS[version])
    client.on_connect = lambda _client, _data, _flags, code, _properties: answers.append(code.is_failure)
    client.username_pw_set("ada", password)
    client.connect("127.0.0.1", broker.port)
    while not answers:
        client.loop(TIMEOUT_S)
    assert answers == [fails]
    client.disconnect()


@pytest.mark.needs_mosquitto
def test_an_acl_file(tmp_path: Path) -> None:
    users, acl = tmp_path / "users", tmp_path / "acl"
    subprocess.run(["mosquitto_passwd", "-c", "-b", users, "ada", "pass"], check=True)
    acl.write_text("user ada\ntopic write home/#\ntopic read home/garden\n")
    settings = Settings(port=0, access_password_file=str(users), access_acl_file=str(acl))
    login = ("-u", "ada", "-P", "pass", "-p")
    with Broker(settings) as running:
        for topic in ("home/garden", "home/safe", "street"):
            command = ["mosquitto_pub", *login, str(running.port), "-r", "-q", "1", "-t", topic, "-m", topic]
            assert subprocess.run(command, timeout=TIMEOUT_S, check=False).returncode == 0
        command = ["mosquitto_sub", *login, str(running.port), "-C", "1", "-t", "#", "-v"]
        done = subprocess.run(command, timeout=TIMEOUT_S, check=True, capture_output=True, text=True)
        assert done.stdout == "home/garden home/garden\n"
        assert running.statistics()["refused_publishes"] == 1
