"""The page's own MQTT: a connection of admin that asks for a WebSocket becomes one of the broker's."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from admin_client import RawClient, admin_port, ask
from net_certificates import Authority
from socket_client import PATIENCE_S, Clients, await_true
from websocket_helpers import ACCEPTED, REQUEST, frames, masked

from swellmq import Broker
from swellmq.codec.encode import encode
from swellmq.codec.packets import Connect, Ping, Publish, Subscribe, TopicRequest
from swellmq.codec.spec import PINGREQ

Start = Callable[..., Broker]

TOKEN = "correct horse battery"
LOCAL = REQUEST.replace(b"Host: broker", b"Host: localhost")


def connect_packet(client_id: str) -> bytes:
    packet = Connect()
    packet.protocol_version = 5
    packet.client_id = client_id
    return encode(packet, 5)


def read(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = sock.recv(65_536)
        assert more, data
        data += more
    return data


def live_tail(sock: socket.socket, broker: Broker, clients: Clients, behind: bytes) -> None:
    """Be a page: subscribe by WebSocket and get what others publish. `behind` comes with the request's own bytes."""
    sock.sendall(LOCAL + behind)
    subscribe = encode(Subscribe(1, [TopicRequest(b"a/#", 0)]), 5)
    sock.sendall((b"" if behind else masked(connect_packet("page"))) + masked(subscribe))
    data = read(sock, len(ACCEPTED) + 1)
    assert data.startswith(ACCEPTED)
    data = data[len(ACCEPTED) :]
    await_true(lambda: broker.statistics()["subscriptions"] == 1)
    clients(broker, client_id="other").publish("a/b", b"payload")
    while b"payload" not in data:
        data += read(sock, 1)
    assert encode(Publish(b"a/b", b"payload", 0, False), 5) in b"".join(payload for _, payload in frames(data))


@pytest.mark.parametrize("together", [False, True])
def test_a_page_is_a_client_of_the_broker(together: bool, broker: Start, clients: Clients) -> None:
    one = broker(admin="127.0.0.1:0")
    raw = RawClient(one)
    live_tail(raw.sock, one, clients, masked(connect_packet("page")) if together else b"")
    told = ask(one, "/api/v1/clients/page").json()
    assert (told["listener"], told["address"], told["protocol_version"]) == ("admin", "127.0.0.1", "5.0")
    assert one.statistics()["pool_active"] == 2
    raw.close()
    await_true(lambda: one.statistics()["pool_active"] == 1)


def test_behind_a_request_on_the_same_connection(broker: Start, clients: Clients) -> None:
    one = broker(admin="127.0.0.1:0")
    raw = RawClient(one)
    raw.send(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert raw.answer().status == 200
    live_tail(raw.sock, one, clients, b"")
    raw.close()


def test_by_https(broker: Start, clients: Clients, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    one = broker(admin="127.0.0.1:0", admin_certificate=authority.server("localhost"))
    context = ssl.create_default_context(cafile=authority.path)
    plain = socket.create_connection(("127.0.0.1", admin_port(one)), timeout=PATIENCE_S)
    with context.wrap_socket(plain, server_hostname="localhost") as sock:
        live_tail(sock, one, clients, b"")
        sock.sendall(masked(encode(Ping(PINGREQ), 5)))
        assert frames(read(sock, 4)) == [(2, b"\xd0\x00")]


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ((b"Host: localhost", b"Host: evil.example"), 403, "wrong_host"),
        ((b"\r\n\r\n", b"\r\nOrigin: http://evil.example\r\n\r\n"), 403, "wrong_origin"),
        ((b"\r\n\r\n", b"\r\nSec-Fetch-Site: cross-site\r\n\r\n"), 403, "wrong_origin"),
        ((b"Upgrade: websocket\r\n", b""), 426, "websocket_expected"),
    ],
)
def test_who_may_not(change: tuple[bytes, bytes], status: int, code: str, broker: Start) -> None:
    one = broker(admin="127.0.0.1:0")
    raw = RawClient(one)
    raw.send(LOCAL.replace(*change))
    answer = raw.answer()
    assert (answer.status, answer.code()) == (status, code)
    raw.close()


def test_a_login_or_the_secret_is_needed(broker: Start) -> None:
    one = broker(admin="127.0.0.1:0", admin_token=TOKEN)
    for more, accepted in ((b"", False), (b"Authorization: Bearer " + TOKEN.encode() + b"\r\n", True)):
        raw = RawClient(one)
        raw.send(LOCAL.replace(b"\r\n\r\n", b"\r\n" + more + b"\r\n"))
        assert raw.answer().status == (101 if accepted else 401) if not accepted else read(raw.sock, 12)[9:12] == b"101"
        raw.close()


def test_an_upgrade_that_is_wrong_gets_the_answer_of_the_websocket(broker: Start) -> None:
    one = broker(admin="127.0.0.1:0")
    raw = RawClient(one)
    raw.send(LOCAL.replace(b"Version: 13", b"Version: 12"))
    assert raw.answer().status == 426
    assert raw.is_closed()
    raw.close()
