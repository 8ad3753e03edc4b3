"""Unix sockets whose clients are the users of their processes."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from socket_client import Clients
from websocket_helpers import ACCEPTED, REQUEST, masked

from swellmq import Broker
from swellmq.errors import SettingsError
from swellmq.listener_settings import ListenerSettings
from swellmq.net.peers import user_of
from swellmq.server import Server
from swellmq.settings import Settings

Servers = Callable[..., Server]
ME = pwd.getpwuid(os.geteuid()).pw_name


def unix(tmp_path: Path, protocol: str = "mqtt") -> ListenerSettings:
    return ListenerSettings(unix=str(tmp_path / "s"), unix_mode=0o666, protocol=protocol, by_user=True)


def test_the_user_of_the_process_is_the_user(server: Servers, clients: Clients, tmp_path: Path) -> None:
    acl = tmp_path / "acl"
    acl.write_text(f"user {ME}\ntopic readwrite mine\n")
    one = server(listeners=[unix(tmp_path)], access_anonymous="no", access_acl_file=str(acl))
    client = clients(str(tmp_path / "s"), step=lambda: one.turn(1))
    assert client.connect("a", username="somebody else", password=b"x").reason_code == 0
    session = one.broker.core.session("a")
    assert session is not None and session.username == ME
    client.subscribe("#")
    client.publish("mine", b"1")
    client.publish("other", b"2")
    assert client.receive() is not None
    client.ping()


def test_below_web_socket(server: Servers, clients: Clients, tmp_path: Path) -> None:
    one = server(listeners=[unix(tmp_path, "websocket")], access_anonymous="no")
    client = clients(str(tmp_path / "s"), step=lambda: one.turn(1))
    client.send(REQUEST)
    client.send(masked(client.connect_packet("a")))
    while b"\x20\x02\x00\x00" not in client.data:
        client.arrive()
    assert client.data.startswith(ACCEPTED)
    session = one.broker.core.session("a")
    assert session is not None and session.username == ME


OTHER = """
import os, socket, sys
os.setuid(int(sys.argv[2]))
client = socket.socket(socket.AF_UNIX)
client.connect(sys.argv[1])
client.sendall(b"\\x10\\x0d\\x00\\x04MQTT\\x04\\x02\\x00\\x00\\x00\\x01a")
print(client.recv(4).hex(), flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize(("user", "name"), [(pwd.getpwnam("nobody").pw_uid, "nobody"), (54_321, "uid-54321")])
def test_another_user(open_folder: Path, user: int, name: str) -> None:
    with Broker(Settings(listeners=[unix(open_folder)], access_anonymous="no", sys_interval_s=0)) as broker:
        command = [sys.executable, "-c", OTHER, str(open_folder / "s"), str(user)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None and process.stdout.readline() == "20020000\n"
            session = broker.server.broker.core.session("a")
            assert session is not None and session.username == name


def test_who_can_not_be_told() -> None:
    with open(os.devnull, encoding="ascii") as file:
        assert user_of(file.fileno()) == -1
    one, other = socket.socketpair()
    assert user_of(one.fileno()) == os.geteuid()
    one.close(), other.close()


def test_settings(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text('[[listener]]\nunix = "/run/s"\nidentity = "user"\n')
    settings = Settings.load(str(file), {}, {})
    assert settings.listeners[0].by_user and not settings.warnings
    file.write_text('[[listener]]\nport = 1\nidentity = "user"\n')
    with pytest.raises(SettingsError, match="given without unix"):
        Settings.load(str(file), {}, {})
    file.write_text('[[listener]]\nport = 1\ncertificate = "c"\nclient_ca = "a"\nidentity = "user"\n')
    with pytest.raises(SettingsError, match="given without unix"):
        Settings.load(str(file), {}, {})
    file.write_text('[[listener]]\nunix = "/run/s"\nidentity = "cn"\n')
    with pytest.raises(SettingsError, match="given without a certificate"):
        Settings.load(str(file), {}, {})
