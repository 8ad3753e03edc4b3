"""The store in a whole server, over TCP: settings, two lives, listeners of different durability."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from swellmq import Broker, Settings
from swellmq.connection import IN_MEMORY, ON_DISK, WRITTEN
from swellmq.listener_settings import ListenerSettings
from swellmq.store.errors import StoreError

CONNECT = b"\x10\x0d\x00\x04MQTT\x04\x00\x00\x3c\x00\x01k"  # 3.1.1, its session is kept
SUBSCRIBE = b"\x82\x06\x00\x01\x00\x01t\x01"


def client(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), 20)
    sock.sendall(CONNECT)
    return sock


def received(sock: socket.socket, count: int) -> bytes:
    return sock.recv(count, socket.MSG_WAITALL)


def test_two_lives(tmp_path: Path) -> None:
    settings = Settings(port=0, data=str(tmp_path / "data"))
    with Broker(settings) as broker:
        with client(broker.port) as sock:
            assert received(sock, 4) == b"\x20\x02\x00\x00"
            sock.sendall(SUBSCRIBE)
            assert received(sock, 5) == b"\x90\x03\x00\x01\x01"
        assert broker.publish_blocking("t", b"x", 1) == 1
        assert broker.statistics()["store_commits"] >= 2
    with Broker(settings) as broker, client(broker.port) as sock:
        assert received(sock, 4) == b"\x20\x02\x01\x00"
        publish = received(sock, 8)
        assert publish[0] & 0xF7 == 0x32 and publish[4:5] == b"t" and publish[7:] == b"x"


def test_each_listener_has_its_durability(tmp_path: Path) -> None:
    listeners = [ListenerSettings(port=0, durability=one) for one in ("memory", "", "written")]
    with Broker(Settings(listeners=listeners, data=str(tmp_path), durability="disk")) as broker:
        assert [listener.durability for listener in broker.server.listeners] == [IN_MEMORY, ON_DISK, WRITTEN]
        assert broker.server.storage.eager
        for listener in broker.server.listeners:
            with client(listener.port) as sock:
                assert received(sock, 4)[:2] == b"\x20\x02"


def test_a_file_says_so(tmp_path: Path) -> None:
    file = tmp_path / "swellmq.toml"
    file.write_text('data = "d"\ndurability = "written"\n[[listener]]\nport = 1\ndurability = "memory"\n')
    settings = Settings.load(str(file), {}, {})
    assert (settings.data, settings.durability, settings.listeners[0].durability) == ("d", "written", "memory")
    assert Settings(durability="memory").notes == ["durability has no effect without data"]


def test_a_folder_that_is_taken_leaves_nothing_open(tmp_path: Path) -> None:
    settings = Settings(port=0, data=str(tmp_path))
    with Broker(settings), pytest.raises(StoreError, match="a broker is using it"):
        Broker(settings).__enter__()
    with Broker(settings) as broker:
        assert broker.port
