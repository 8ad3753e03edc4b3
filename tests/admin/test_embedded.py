"""Admin inside a program: in asyncio, where the loop of the loop is hosted by a third, and in uvloop."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

import pytest
from socket_client import quiet_settings

from swellmq import Broker


async def ask(broker: Broker, path: str) -> bytes:
    assert broker.server.admin is not None
    reader, writer = await asyncio.open_connection("127.0.0.1", broker.server.admin.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    data = await reader.read()
    writer.close()
    return data.partition(b"\r\n\r\n")[2]


async def use() -> None:
    async with Broker(quiet_settings(admin="127.0.0.1:0")) as broker:
        assert broker.admin_url.startswith("http://127.0.0.1:")
        await broker.publish("kept", b"x", retain=True)
        answers = await asyncio.gather(*(ask(broker, "/api/v1/retained") for _ in range(20)))
        for answer in answers:
            assert [item["topic"] for item in json.loads(answer)["items"]] == ["kept"]
    async with Broker(quiet_settings()) as broker:
        assert broker.admin_url == ""


def test_in_asyncio() -> None:
    asyncio.run(use())


def test_in_uvloop() -> None:
    uvloop = pytest.importorskip("uvloop")
    uvloop.run(use())


def test_a_broker_without_admin_loads_none_of_it() -> None:
    program = """
import sys
from swellmq import Broker, Settings
with Broker(Settings(port=0)):
    loaded = [name for name in sys.modules if name.split(".")[0] in ("h11", "msgspec", "http")]
    loaded += [name for name in sys.modules if name.startswith("swellmq.admin")]
    assert not loaded, loaded
"""
    subprocess.run([sys.executable, "-P", "-c", program], check=True)
