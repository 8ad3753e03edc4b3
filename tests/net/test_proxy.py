"""The PROXY protocol: headers of both versions, cut anywhere, and who may send them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from socket_client import Clients, await_true

from swellmq.errors import OPEN, SettingsError
from swellmq.limits import PROXY_HEADER_BYTES
from swellmq.listener_settings import ListenerSettings
from swellmq.net.listener import address_number, parse_network
from swellmq.net.proxy import VERSION_2, ProxyLayer, ProxyTerms
from swellmq.server import Server
from swellmq.settings import Settings
from swellmq.tls_settings import ProxySettings

Servers = Callable[..., Server]

IPV4 = b"\xc0\x00\x02\x07" + b"\x7f\x00\x00\x01" + b"\x30\x39\x07\x5b"
IPV6 = b"\x20\x01\x0d\xb8" + bytes(11) + b"\x01" + bytes(15) + b"\x01" + b"\x30\x39\x07\x5b"


def header(command: int, family: int, addresses: bytes) -> bytes:
    """A header of version 2."""
    return VERSION_2 + bytes([command, family]) + len(addresses).to_bytes(2, "big") + addresses


GOOD = [
    (b"PROXY TCP4 192.0.2.7 127.0.0.1 12345 1883\r\n", "192.0.2.7"),
    (b"PROXY TCP6 2001:DB8:0::1 ::1 12345 1883\r\n", "2001:db8::1"),
    (b"PROXY UNKNOWN\r\n", ""),
    (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", ""),
    (header(0x21, 0x11, IPV4), "192.0.2.7"),
    (header(0x21, 0x11, IPV4 + b"\x04\x00\x01x"), "192.0.2.7"),  # with more that it may carry
    (header(0x21, 0x21, IPV6), "2001:db8::1"),
    (header(0x20, 0x00, b""), ""),
    (header(0x21, 0x31, bytes(216)), ""),  # a Unix socket
]
BAD = [
    b"\x10\x0c\x00\x04MQTT",
    b"PROXY TCP4 192.0.2.7 127.0.0.1 12345\r\n",
    b"PROXY TCP4 2001:db8::1 ::1 1 2\r\n",
    b"PROXY TCP4 nobody 127.0.0.1 1 2\r\n",
    b"PROXY " + b"x" * 200,
    header(0x22, 0x11, IPV4),
    header(0x31, 0x11, IPV4),
    header(0x21, 0x11, IPV4[:-1]),
    VERSION_2 + b"\x21\x11" + (PROXY_HEADER_BYTES).to_bytes(2, "big"),
]


@pytest.mark.parametrize(("data", "address"), GOOD)
def test_headers(data: bytes, address: str) -> None:
    for cut in range(len(data)):
        layer = ProxyLayer(ProxyTerms(), None).fresh()
        heard = b"".join(layer.received(piece) for piece in (data[:cut], data[cut:] + b"more", b"!") if piece)
        assert (heard, layer.address(), layer.reason) == (b"more!", address, OPEN)


@pytest.mark.parametrize("data", BAD)
def test_malformed_headers(data: bytes) -> None:
    layer = ProxyLayer(ProxyTerms(), None)
    assert layer.received(data) == b"" and layer.reason != OPEN and layer.phrase
    assert layer.received(b"PROXY UNKNOWN\r\n") == b""


@given(st.binary(min_size=1, max_size=64))
def test_whatever_follows_the_start(data: bytes) -> None:
    for start in (b"PROXY ", VERSION_2, VERSION_2 + b"\x21\x11"):
        layer = ProxyLayer(ProxyTerms(), None)
        layer.received(start + data)
        assert len(layer.rest) <= PROXY_HEADER_BYTES


def vector(kind: int, value: bytes) -> bytes:
    return bytes([kind]) + len(value).to_bytes(2, "big") + value


def about_tls(client: int, verify: int, *more: bytes) -> bytes:
    """A header of version 2 with the vector of TLS, behind another one."""
    value = bytes([client]) + verify.to_bytes(4, "big") + vector(0x21, b"TLSv1.3") + b"".join(more)
    return header(0x21, 0x11, IPV4 + vector(0x04, b"xx") + vector(0x20, value))


ADA = vector(0x22, b"ada")


@pytest.mark.parametrize(
    ("data", "without", "with_certificate"),
    [
        (about_tls(7, 0, ADA), "", ""),
        (about_tls(5, 0, ADA), "", ""),  # a certificate of the session that was resumed
        (about_tls(1, 0, ADA), "", "a good certificate"),
        (about_tls(7, 1, ADA), "", "a good certificate"),
        (about_tls(7, 0), "", "without a common name"),
        (about_tls(7, 0, vector(0x22, b"a\x00")), "", "without a common name"),
        (about_tls(7, 0, vector(0x22, b"\xff")), "", "without a common name"),
        (about_tls(6, 0, ADA), "uses TLS", "uses TLS"),
        (header(0x21, 0x11, IPV4), "uses TLS", "uses TLS"),
        (header(0x21, 0x11, IPV4 + b"\x20\x00\xff\x07"), "uses TLS", "uses TLS"),  # a vector that is cut off
        (header(0x20, 0x00, b""), "uses TLS", "uses TLS"),  # the proxy's own connection
        (b"PROXY TCP4 192.0.2.7 127.0.0.1 1 2\r\n", "uses TLS", "uses TLS"),
    ],
)
def test_what_the_proxy_says_of_tls(data: bytes, without: str, with_certificate: str) -> None:
    for terms, problem in ((ProxyTerms("required"), without), (ProxyTerms("certificate", True), with_certificate)):
        layer = ProxyLayer(terms, None)
        assert layer.received(data + b"more") == (b"" if problem else b"more")
        assert problem in layer.phrase and bool(layer.phrase) == bool(problem)
        assert layer.identity() == ("ada" if terms.named and not problem else None)


def test_a_certificate_that_the_proxy_saw_is_the_user(server: Servers, clients: Clients) -> None:
    proxies = ProxySettings(["127.0.0.0/8"], "certificate", True)
    one = server(listeners=[ListenerSettings(port=0, proxies=proxies)], access_anonymous="no")
    client = clients(one)
    client.send(about_tls(7, 0, ADA))
    assert client.connect("a", username="bob").reason_code == 0
    session = one.broker.core.session("a")
    assert session is not None and session.username == "ada"
    bare = clients(one)
    bare.send(about_tls(1, 0))
    assert bare.receive() is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('proxy_tls = "required"', "given without proxy"),
        ('proxy = "::1"\nproxy_tls = "required"\ncertificate = "c.pem"', "TLS ends at the proxy, or here"),
        ('proxy = "::1"\nproxy_tls = "required"\nidentity = "cn"', "nothing but the common name"),
        ('proxy = "::1"\nproxy_tls = "certificate"\nidentity = "san"', "nothing but the common name"),
        ('proxy = "::1"\nidentity = "cn"', "given without a certificate"),
    ],
)
def test_settings_that_contradict(tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "s.toml"
    file.write_text(f"[[listener]]\n{text}\n")
    with pytest.raises(SettingsError, match=problem):
        Settings.load(str(file), {}, {})


def test_networks() -> None:
    for text, inside, outside in (
        ("10.0.0.0/8", "10.200.3.4", "11.0.0.1"),
        ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
        ("fd00::/8", "fd12::1", "fe80::1"),
        ("10.0.0.0/8", "::ffff:10.0.0.1", "::10.0.0.1"),
        ("0.0.0.0/0", "1.2.3.4", "::1"),
    ):
        network, mask = parse_network(text)
        assert address_number(inside) & mask == network != address_number(outside) & mask


def test_the_clients_own_address(server: Servers, clients: Clients) -> None:
    one = server(listeners=[ListenerSettings(port=0, proxies=ProxySettings(["127.0.0.0/8"]))])
    client = clients(one)
    client.send(b"PROXY TCP4 192.0.2.7 127.0.0.1 1 2\r\n")
    assert client.connect("a").reason_code == 0
    [connection] = one.loop.served()
    assert one.broker.core.peers.address(connection) == "192.0.2.7"
    client.ping()


def test_only_proxies_are_served(server: Servers, clients: Clients) -> None:
    one = server(listeners=[ListenerSettings(port=0, proxies=ProxySettings(["192.0.2.0/24"]))])
    client = clients(one)
    await_true(lambda: one.stats.connections_dropped, lambda: one.turn(1))
    assert client.receive() is None
    assert not one.pool.active


def test_settings(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text('[[listener]]\nproxy = ["10.0.0.0/8", "::1"]\n')
    proxies = Settings.load(str(file), {}, {}).listeners[0].proxies
    assert proxies is not None and proxies.networks == ["10.0.0.0/8", "::1"]
    for bad in ("10.0.0.0/33", "lb.example", "10.0.0.0/x"):
        file.write_text(f'[[listener]]\nproxy = "{bad}"\n')
        with pytest.raises(SettingsError, match="not a network"):
            Settings.load(str(file), {}, {})
