"""Who may open a WebSocket from which page, and whom an HTTP proxy has connected."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from socket_client import Clients
from websocket_helpers import ACCEPTED, REQUEST, masked

from swellmq.errors import SettingsError
from swellmq.listener_settings import ListenerSettings
from swellmq.net.listener import parse_network
from swellmq.net.websocket import WebSocketLayer, WebSocketTerms
from swellmq.server import Server
from swellmq.settings import Settings

Servers = Callable[..., Server]
APP = "https://app.example.com"


def asked(origins: list[str], origin: str | None, host: str = "broker") -> bytes:
    """The answer to a request from a page of `origin`."""
    layer = WebSocketLayer(WebSocketTerms([b"*"], [one.encode() for one in origins], []))
    head = REQUEST.replace(b"Host: broker", b"Host: " + host.encode())
    if origin is not None:
        head = head.replace(b"\r\n\r\n", b"\r\nOrigin: " + origin.encode() + b"\r\n\r\n")
    layer.received(head)
    return b"".join(layer.framed([]))


@pytest.mark.parametrize(
    ("origins", "origin", "host"),
    [
        ([], None, "broker"),  # no browser
        ([APP], None, "broker"),
        ([], "http://broker", "broker"),
        ([], "https://Broker:8443", "broker:9001"),  # the ports are those of page and broker
        ([], "http://localhost:5173", "localhost:9001"),
        ([], "http://[::1]:5173", "[::1]:9001"),
        ([APP], APP, "mqtt.example.com"),
        (["http://other", APP], APP, "mqtt.example.com"),
        (["*"], "null", "broker"),
        (["null"], "null", "broker"),
    ],
)
def test_pages_that_may_come(origins: list[str], origin: str | None, host: str) -> None:
    assert asked(origins, origin, host) == ACCEPTED


@pytest.mark.parametrize(
    ("origins", "origin", "host"),
    [
        ([], "http://evil.example", "localhost:9001"),
        ([], "null", "broker"),
        ([], "", "broker"),
        ([], "http://", "broker"),
        ([], "http://[::2]", "[::1]:9001"),
        ([], "broker", "broker"),
        ([APP], "http://broker", "broker"),  # whoever names some means only these
        ([APP], APP + ":8443", "broker"),
        ([APP], APP + ".evil.example", "broker"),
    ],
)
def test_pages_that_may_not(origins: list[str], origin: str, host: str) -> None:
    answer = asked(origins, origin, host)
    assert answer.startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert b"may not come here (listener.origins)" in answer


def test_two_origins_are_no_origin() -> None:
    assert asked(["*"], "http://a\r\nOrigin: http://b").startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    ("forwarded", "peer", "address"),
    [
        ("192.0.2.7", "10.0.0.1", "192.0.2.7"),
        ("192.0.2.7", "127.0.0.1", ""),  # not from a proxy
        ("1.1.1.1, 192.0.2.7", "10.0.0.1", "192.0.2.7"),  # what stands before it anybody may have written
        ("192.0.2.7, 10.0.0.2", "10.0.0.1", "192.0.2.7"),  # two proxies
        ("10.0.0.3, 10.0.0.2", "10.0.0.1", "10.0.0.3"),
        ("192.0.2.7:4711", "10.0.0.1", "192.0.2.7"),
        ("[2001:db8::7]:4711", "fd00::1", "2001:db8::7"),
        ("2001:db8::7", "fd00::1", "2001:db8::7"),
        ("nonsense", "10.0.0.1", ""),
        ("192.0.2.7, unknown", "10.0.0.1", ""),
        ("192.0.2.7, unknown, 10.0.0.2", "10.0.0.1", "10.0.0.2"),
        ("", "10.0.0.1", ""),
        ("\xff", "10.0.0.1", ""),
    ],
)
def test_whom_a_proxy_has_connected(forwarded: str, peer: str, address: str) -> None:
    terms = WebSocketTerms([], [], [parse_network("10.0.0.0/8"), parse_network("fd00::/8")])
    assert terms.client_address(peer, forwarded.encode("latin-1")) == address


@pytest.mark.parametrize(("network", "address"), [("127.0.0.0/8", "192.0.2.7"), ("10.0.0.0/8", "127.0.0.1")])
def test_the_clients_own_address(server: Servers, clients: Clients, network: str, address: str) -> None:
    one = server(listeners=[ListenerSettings(port=0, protocol="websocket", forwarders=[network])])
    client = clients(one)
    client.send(REQUEST.replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n"))
    client.send(masked(client.connect_packet("a")))
    while b"\x20\x02\x00\x00" not in client.data:
        client.arrive()
    [connection] = one.loop.served()
    assert one.broker.core.peers.address(connection) == address


def test_settings(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text(f'[[listener]]\nprotocol = "websocket"\norigins = "{APP}"\nforwarded_by = "10.0.0.0/8"\n')
    [listener] = Settings.load(str(file), {}, {}).listeners
    assert (listener.origins, listener.forwarders) == ([APP], ["10.0.0.0/8"])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('origins = "*"', "given without WebSocket"),
        ('forwarded_by = "::1"', "given without WebSocket"),
        ('protocol = "websocket"\norigins = "app.example.com"', "not an origin"),
        ('protocol = "websocket"\norigins = "https://app.example.com/"', "not an origin"),
        ('protocol = "websocket"\nforwarded_by = "lb"', "not a network"),
        ('protocol = "websocket"\nforwarded_by = "::1"\nproxy = "::1"', "given beside proxy"),
    ],
)
def test_settings_that_make_no_sense(tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "s.toml"
    file.write_text(f"[[listener]]\n{text}\n")
    with pytest.raises(SettingsError, match=problem):
        Settings.load(str(file), {}, {})
