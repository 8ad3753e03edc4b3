"""The file of docs/mosquitto.md: TLS, users and rules of each listener, WebSocket; beside mosquitto itself."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest
from beside import CLOSED, Dial, arrived, beside, echo
from net_certificates import Authority
from websockets.asyncio.client import connect

pytestmark = pytest.mark.needs_mosquitto

CONF = """
per_listener_settings true
persistence true
persistence_location FOLDER/

listener {0} 127.0.0.1
allow_anonymous true
acl_file FOLDER/acl

listener {1} 127.0.0.1
password_file FOLDER/passwd
acl_file FOLDER/acl
certfile FOLDER/localhost.pem
keyfile FOLDER/localhost.pem

listener {2} 127.0.0.1
protocol websockets
password_file FOLDER/passwd
acl_file FOLDER/acl
certfile FOLDER/localhost.pem
keyfile FOLDER/localhost.pem
"""
ACL = "topic read weather/#\nuser ada\ntopic readwrite #\npattern write sensors/%u/#\n"


def browser(port: int, context: ssl.SSLContext, packets: list[bytes], answers: int) -> list[bytes]:
    """What a page gets for its packets, each in a frame."""

    async def talk() -> list[bytes]:
        url = f"wss://localhost:{port}/mqtt"
        async with connect(url, ssl=context, subprotocols=["mqtt"], origin="https://dashboard.example") as socket:
            for packet in packets:
                await socket.send(packet)
            heard = b""
            while len(heard) < answers:
                piece = await asyncio.wait_for(socket.recv(), 10)
                assert isinstance(piece, bytes)
                heard += piece
            return [heard]

    return asyncio.run(talk())


def test_a_house(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.server("localhost")
    (tmp_path / "acl").write_text(ACL)
    for user, password in (("ada", "secret"), ("sensor7", "s7")):
        (tmp_path / "passwd").touch()
        command = ["mosquitto_passwd", "-b", str(tmp_path / "passwd"), user, password]
        subprocess.run(command, check=True, capture_output=True)
    context = ssl.create_default_context(cafile=authority.path)

    def talk(dial: Dial) -> Any:
        ada, guest, sensor = dial(1, tls=context), dial(), dial(1, tls=context)
        seen: list[Any] = [
            ada.connect("ada", username="ada", password=b"secret").reason_code,
            guest.connect("guest").reason_code,
            sensor.connect("sensor", username="sensor7", password=b"s7").reason_code,
            dial.enter(1, tls=context),
            dial.enter(1, tls=context, username="sensor7", password=b"secret"),
            dial.enter(1),
        ]
        seen += [echo(ada, "weather/today"), echo(guest, "weather/tomorrow"), ada.subscribe("sensors/#", 1)]
        for topic in ("sensors/sensor7/temperature", "sensors/other/temperature"):
            sensor.publish(topic, b"21", 1)
            sensor.receive()
        seen += [arrived(ada), arrived(sensor), arrived(guest)]
        hello = ada.connect_packet("page", username="ada", password=b"secret")
        seen.append(browser(dial.ports[2], context, [hello, b"\xc0\x00"], 6))
        return seen

    seen = beside(tmp_path, CONF.replace("FOLDER", str(tmp_path)), talk)
    assert seen[:6] == [0, 0, 0, 5, 5, CLOSED]
    assert seen[6:9] == [["00", "weather/today"], ["00"], b"\x01"]
    assert seen[9:] == [["sensors/sensor7/temperature"], [], [], [b"\x20\x02\x00\x00\xd0\x00"]]
