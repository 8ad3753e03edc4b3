"""TLS: through the loop with OpenSSL's own client, over WebSocket too, certificates of clients, reload, and bounds."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from net_certificates import Authority
from socket_client import Client, Clients, await_true
from websocket_helpers import ACCEPTED, REQUEST, frames, masked

from swellmq.broker.session import Session
from swellmq.cli.tls import TlsSocket
from swellmq.codec.packets import Ack, Disconnect, Publish, Suback, Subscribe, TopicRequest
from swellmq.command import banner
from swellmq.connection import Connection
from swellmq.errors import PEER_CLOSED, SettingsError
from swellmq.limits import LAYER_BYTES, WRITE_BYTES, WRITES_PER_TURN
from swellmq.listener_settings import ListenerSettings
from swellmq.net.tls import TlsLayer, identity_in, subject_text
from swellmq.net.tls_context import find
from swellmq.server import Server
from swellmq.settings import Settings
from swellmq.tls_settings import TlsSettings

Servers = Callable[..., Server]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def certificate(authority: Authority) -> str:
    return authority.server("localhost")


def listening(certificates: str | list[str], protocol: str = "mqtt", **options: Any) -> dict[str, Any]:
    """Settings of a broker with one TLS listener."""
    files = [certificates] if isinstance(certificates, str) else certificates
    return {"listeners": [ListenerSettings(port=0, protocol=protocol, tls=TlsSettings(files, **options))]}


class TlsClient(Client):
    """The socket client with TLS, shaking hands in steps of the broker."""

    def __init__(
        self, one: Server, authority: Authority, certificate: str = "", name: str = "localhost", **options: Any
    ):
        super().__init__(("127.0.0.1", one.port), options.pop("version", 4), lambda: one.turn(1))
        context = ssl.create_default_context(cafile=authority.path)
        context.sslsocket_class = TlsSocket
        context.set_alpn_protocols(options.pop("alpn", ["mqtt"]))
        for option, value in options.items():
            setattr(context, option, value)
        if certificate:
            context.load_cert_chain(certificate)
        wrapped = context.wrap_socket(self.sock, do_handshake_on_connect=False, server_hostname=name)
        assert isinstance(wrapped, TlsSocket)
        self.sock: TlsSocket = wrapped
        self.shaken = False

    def shake(self) -> None:
        """Shake hands with the broker."""
        while not self.shaken:
            try:
                self.sock.do_handshake()
                self.shaken = True
            except ssl.SSLWantReadError:
                assert self.step is not None
                self.step()


@pytest.fixture
def secure(clients: Clients, authority: Authority) -> Callable[..., TlsClient]:
    """Makes clients with TLS of a server that the test turns; with a client id they are connected."""

    def make(one: Server, client_id: str | None = None, **options: Any) -> TlsClient:
        connect = {key: options.pop(key) for key in ("username", "password") if key in options}
        client = TlsClient(one, authority, **options)
        clients.made.append(client)
        client.shake()
        if client_id is not None:
            assert client.connect(client_id, **connect).reason_code == 0
        return client

    return make


Secure = Callable[..., TlsClient]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_conversation(server: Servers, secure: Secure, certificate: str, version: ssl.TLSVersion) -> None:
    one = server(**listening(certificate))
    client = secure(one, "a", maximum_version=version)
    assert client.sock.version() == {ssl.TLSVersion.TLSv1_2: "TLSv1.2"}.get(version, "TLSv1.3")
    assert client.sock.selected_alpn_protocol() == "mqtt"
    assert client.subscribe("t", 1) == b"\x01"
    client.publish("t", b"x", 1)
    assert {client.expect(Publish).payload} == {b"x"}
    client.receive()
    client.disconnect()  # ends by close_notify: a ragged end would be an error
    await_true(lambda: not one.pool.active, lambda: one.turn(1))
    assert one.stats.bytes_received < 60  # those of MQTT


def test_large_packets_both_ways(server: Servers, secure: Secure, certificate: str) -> None:
    one = server(**listening(certificate))
    client = secure(one, "a", version=5)
    client.subscribe("t")
    payload = bytes(range(256)) * 6_000
    client.publish("t", payload)
    assert client.expect(Publish).payload == payload
    client.ping()


def test_an_idle_connection_has_no_buffer(server: Servers, secure: Secure, certificate: str) -> None:
    """All share two; whatever one leaves behind would reach the next."""
    one = server(**listening(certificate))
    layer = one.listeners[0].layer
    assert isinstance(layer, TlsLayer)
    many = [secure(one, f"c{number}") for number in range(4)]
    for client in many:
        client.ping()
    assert layer.terms.incoming.pending == layer.terms.outgoing.pending == layer.terms.shaking == 0


def test_bytes_one_by_one(server: Servers, clients: Clients, authority: Authority, certificate: str) -> None:
    """Handshake and packets of two clients, cut and mingled: incomplete records stay apart."""
    one = server(**listening(certificate))
    terms = one.listeners[0].layer
    assert isinstance(terms, TlsLayer)
    context = ssl.create_default_context(cafile=authority.path)
    pairs = []
    for _ in range(2):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        layer = terms.fresh()
        pairs.append((incoming, outgoing, context.wrap_bio(incoming, outgoing, server_hostname="localhost"), layer))
    shaken = 0
    while shaken < 2:
        shaken = 0
        for incoming, outgoing, client, layer in pairs:
            try:
                client.do_handshake()
                shaken += 1
            except ssl.SSLWantReadError:
                pass
            for number in outgoing.read():
                assert layer.received(bytes([number])) == b""
            incoming.write(b"".join(layer.framed([])))
    streams = []
    for _, outgoing, client, _ in pairs:
        client.write(b"one")
        client.write(b"two")
        streams.append(outgoing.read())
    heard = [b"", b""]
    for place in range(len(streams[0])):
        for index, (_, _, _, layer) in enumerate(pairs):
            heard[index] += layer.received(streams[index][place : place + 1])
    assert heard == [b"onetwo", b"onetwo"]


def test_what_follows_close_notify_is_nobodys(server: Servers, secure: Secure, certificate: str) -> None:
    one = server(**listening(certificate))
    first = secure(one, "a")
    raw = socket.socket(fileno=socket.dup(first.sock.fileno()))
    with pytest.raises(ssl.SSLWantReadError):
        first.sock.unwrap()
    raw.send(b"\x17\x03\x03\x00\x05hello")
    raw.close()
    await_true(lambda: not one.pool.active, lambda: one.turn(1))
    secure(one, "b").ping()


def test_over_websocket(server: Servers, secure: Secure, certificate: str) -> None:
    one = server(**listening(certificate, "websocket"))
    client = secure(one, alpn=["http/1.1"])
    client.send(REQUEST, masked(client.connect_packet("a")), masked(b"\xc0\x00"))
    await_true(lambda: arrived(client).endswith(b"\xd0\x00"))
    answer = bytes(client.data)
    assert answer.startswith(ACCEPTED)
    assert b"".join(payload for _, payload in frames(answer[len(ACCEPTED) :])) == b"\x20\x02\x00\x00\xd0\x00"
    assert "wss:127.0.0.1" in "\n".join(banner(one, 10_000_000))


def arrived(client: Client) -> bytes:
    client.arrive()
    return bytes(client.data)


def test_a_certificate_for_each_name(server: Servers, secure: Secure, authority: Authority, certificate: str) -> None:
    other = authority.server("broker.example", "*.example.org", file="other")
    one = server(**listening([certificate, other]))
    for name in ("localhost", "broker.example", "a.example.org"):
        secure(one, "c", name=name)
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        secure(one, name="stranger.example")


def test_names_of_servers() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    known = {"a.example": context, "*.example.org": context}
    assert [
        find(known, name) is context for name in ("A.Example.", "x.example.org", "example.org", "a.b.example.org")
    ] == [
        True,
        True,
        False,
        False,
    ]


def refused(one: Server, secure: Secure, phrase: str, caplog: pytest.LogCaptureFixture, **options: Any) -> None:
    """That a client does not get in, and the log says why."""
    caplog.set_level("INFO", "swellmq")
    one.loop.start_ns -= 1_000_000_000  # the broker asks once a second what is logged
    caplog.clear()
    with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
        secure(one, "refused", **options)
    await_true(lambda: not one.pool.active, lambda: one.turn(1))
    assert phrase in caplog.text
    assert one.stats.statistics()["closed: TLS failed"] == 1


def test_clients_need_certificates(
    server: Servers, secure: Secure, authority: Authority, certificate: str, caplog: pytest.LogCaptureFixture
) -> None:
    one = server(**listening(certificate, client_cas=[authority.path]))
    secure(one, "a", certificate=authority.sign("pump")).disconnect()
    refused(one, secure, "peer did not return a certificate", caplog)


def test_strangers_certificates(
    server: Servers,
    secure: Secure,
    authority: Authority,
    certificate: str,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    one = server(**listening(certificate, client_cas=[authority.path]))
    stranger = Authority(tmp_path, "stranger").sign("pump")
    refused(one, secure, "client certificate: unable to get local issuer", caplog, certificate=stranger)


def test_revoked_certificates(
    server: Servers, secure: Secure, authority: Authority, certificate: str, caplog: pytest.LogCaptureFixture
) -> None:
    good, bad = authority.sign("good"), authority.sign("bad")
    one = server(**listening(certificate, client_cas=[authority.path], crl=authority.revoke(bad)))
    secure(one, "a", certificate=good).disconnect()
    refused(one, secure, "certificate revoked", caplog, certificate=bad)


@pytest.mark.parametrize(
    ("kind", "name"), [("cn", "pump 7"), ("subject", "CN=pump 7,O=Works\\, Ltd"), ("san", "pump7@example.org")]
)
def test_identity(
    server: Servers, secure: Secure, authority: Authority, certificate: str, kind: str, name: str
) -> None:
    """The certificate says who a client is, whatever CONNECT says, and no password is asked for."""
    one = server(**listening(certificate, client_cas=[authority.path], identity=kind), access_anonymous="no")
    names = [x509.IPAddress(ip_address("10.0.0.1")), x509.RFC822Name("pump7@example.org")]
    mine = authority.sign("pump 7", *names, organization="Works, Ltd", file="identity")
    secure(one, "a", certificate=mine, username="somebody else")
    session = one.broker.core.session("a")
    assert session is not None and session.username == name


def test_no_identity_to_be_had(
    server: Servers, secure: Secure, authority: Authority, certificate: str, caplog: pytest.LogCaptureFixture
) -> None:
    one = server(**listening(certificate, client_cas=[authority.path], identity="san"))
    refused(one, secure, "without a san that can be a user name", caplog, certificate=authority.sign("bare"))


def test_an_optional_certificate(server: Servers, secure: Secure, authority: Authority, certificate: str) -> None:
    options = {"client_cas": [authority.path], "identity": "cn", "required": False}
    one = server(**listening(certificate, **options), access_anonymous="no")
    secure(one, "a", certificate=authority.sign("known"))
    assert secure(one).connect("b").reason_code == 5


def test_names_in_certificates() -> None:
    subject = ((("organizationName", "a,b"),), (("commonName", " x"), ("userId", "#1")))
    assert subject_text(subject) == "CN=\\ x+UID=\\#1,O=a\\,b"
    assert identity_in({"subject": subject}, "cn") == " x"
    assert identity_in({"subject": ()}, "cn") is None
    assert identity_in({"subject": ((("commonName", "a\nb"),),)}, "cn") is None
    assert identity_in({"subjectAltName": (("IP Address", "::1"), ("DNS", "a"))}, "san") == "a"


def test_reload(server: Servers, secure: Secure, authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    """Who is connected stays; who comes gets the new certificate; a broken file changes nothing."""
    caplog.set_level("INFO", "swellmq")
    path = authority.server("localhost", file="renewed")
    one = server(**listening(path))
    before = secure(one, "before")
    old = before.sock.getpeercert(True)
    authority.server("localhost", file="renewed")
    assert one.reload()
    after = secure(one, "after")
    assert after.sock.getpeercert(True) != old
    Path(path).write_text("nothing")
    assert not one.reload()
    assert path in caplog.text
    for client in (before, after, secure(one, "later")):
        client.ping()


@pytest.mark.parametrize(
    ("first", "phrase"),
    [
        (b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00", "MQTT without TLS"),
        (b"GET / HTTP/1.1\r\n\r\n", "TLS: http request"),
    ],
)
def test_no_tls(
    server: Servers, clients: Clients, certificate: str, first: bytes, phrase: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "swellmq")
    one = server(**listening(certificate))
    client = clients(one)
    client.send(first)
    await_true(lambda: one.stats.statistics()["closed: TLS failed"], lambda: one.turn(1))
    assert phrase in caplog.text and not one.stats.errors_internal


def test_garbage_in_a_connection(server: Servers, secure: Secure, certificate: str) -> None:
    one = server(**listening(certificate))
    client = secure(one, "a")
    raw = socket.socket(fileno=socket.dup(client.sock.fileno()))
    raw.send(b"\x17\x03\x03\x00\x20" + b"x" * 32)
    raw.close()
    await_true(lambda: one.stats.statistics()["closed: TLS failed"], lambda: one.turn(1))
    secure(one, "b").ping()


def test_handshakes_are_bounded(server: Servers, secure: Secure, clients: Clients, certificate: str) -> None:
    one = server(**listening(certificate))
    layer = one.listeners[0].layer
    assert isinstance(layer, TlsLayer)
    layer.terms.shaking_max = 2
    hello = b"\x16\x03\x01\x02\x00\x01"  # the start of one
    slow = [clients(one) for _ in range(3)]
    for client in slow:
        client.send(hello)
    await_true(lambda: one.stats.statistics()["closed: TLS failed"] == 1, lambda: one.turn(1))
    assert layer.terms.shaking == 2
    for client in slow:
        client.close()
    await_true(lambda: not one.pool.active, lambda: one.turn(1))
    assert layer.terms.shaking == 0
    secure(one, "a").ping()


def test_silence_costs_no_tls_state(server: Servers, clients: Clients, certificate: str) -> None:
    """A connection gets its state with its first bytes; it is closed when no CONNECT came in time."""
    one = server(**listening(certificate), limits_connect_timeout_ms=100)
    clients(one)
    await_true(lambda: one.pool.active, lambda: one.turn(1))
    [connection] = one.loop.served()
    assert connection.buffers is not None and isinstance(connection.buffers.layer, TlsLayer)
    assert connection.buffers.layer.tls is None
    await_true(lambda: one.stats.statistics()["closed: connect timeout"], lambda: one.turn(10))


def test_much_output_passes_tls_in_slices(server: Servers, secure: Secure, certificate: str) -> None:
    """A session with a lot to send does not hold up the others while all of it is encrypted."""
    one = server(**listening(certificate))
    reader, publisher = secure(one, "reader"), secure(one, "publisher")
    payloads = [bytes([number]) * 40_000 for number in range(20)]
    for number, payload in enumerate(payloads):
        publisher.publish(f"kept/{number:02}", payload, 1, retain=True)
        assert publisher.expect(Ack)
    reader.send(Subscribe(1, [TopicRequest(b"kept/#", 0)]))
    [connection] = [each for each in one.loop.served() if is_named(each, "reader")]
    one.loop.output.slice_ns = 0
    await_true(lambda: connection.outbox_bytes, lambda: one.turn(1))
    assert connection.outbox is not None and len(b"".join(connection.outbox)) > LAYER_BYTES
    assert isinstance(reader.receive(), Suback)
    assert sorted(reader.expect(Publish).payload for _ in payloads) == payloads
    await_true(lambda: not one.turn_state.late, lambda: one.turn(1))
    assert connection.outbox_bytes == 0


def test_a_large_piece_passes_tls_part_by_part(server: Servers, secure: Secure, certificate: str) -> None:
    one = server(**listening(certificate))
    reader, publisher = secure(one, "reader"), secure(one, "publisher")
    payload = bytes(range(256)) * (5 * LAYER_BYTES // 256 + 1)
    publisher.publish("kept/large", payload, 1, retain=True)
    assert publisher.expect(Ack)
    publisher.publish("kept/small", b"x", 1, retain=True)
    assert publisher.expect(Ack)
    [connection] = [each for each in one.loop.served() if is_named(each, "reader")]
    reader.send(Subscribe(1, [TopicRequest(b"kept/#", 0)]))
    await_true(lambda: connection.buffers is not None and connection.buffers.large, lambda: one.turn(1))
    assert isinstance(reader.receive(), Suback)
    got = {publish.topic_name: publish.payload for publish in (reader.expect(Publish), reader.expect(Publish))}
    assert got == {b"kept/large": payload, b"kept/small": b"x"}
    await_true(lambda: not one.turn_state.late, lambda: one.turn(1))
    assert connection.outbox_bytes == 0 and connection.buffers is not None and not connection.buffers.large


def test_what_passes_tls_when_its_client_is_cut_is_bounded(server: Servers, secure: Secure, certificate: str) -> None:
    """Of more than is sent at once nothing could leave."""
    one = server(**listening(certificate))
    reader, publisher = secure(one, "reader"), secure(one, "publisher")
    publisher.publish("kept", bytes(40 * LAYER_BYTES), 1, retain=True)
    assert publisher.expect(Ack)
    [connection] = [each for each in one.loop.served() if is_named(each, "reader")]
    reader.send(Subscribe(1, [TopicRequest(b"kept", 0)]))
    await_true(lambda: connection.buffers is not None and connection.buffers.large, lambda: one.turn(1))
    before = one.stats.bytes_sent
    connection.close(PEER_CLOSED)
    one.turn(0)
    assert 0 < one.stats.bytes_sent - before <= WRITES_PER_TURN * WRITE_BYTES
    assert connection.outbox_bytes == 0 and one.pool.active == 1
    secure(one, "other").ping()


def is_named(connection: Connection, client_id: str) -> bool:
    return isinstance(connection.owner, Session) and connection.owner.client_id == client_id


def test_handshakes_wait_for_their_slice(server: Servers, clients: Clients, certificate: str) -> None:
    """Past its slice a turn reads no handshake, and loses none of them."""
    one = server(**listening(certificate))
    waiting = [clients(one) for _ in range(3)]
    await_true(lambda: one.pool.active == 3, lambda: one.turn(1))
    for client in waiting:
        client.send(b"\x16\x03\x01\x02\x00\x01")
    layers = [connection.buffers.layer for connection in one.loop.served() if connection.buffers is not None]
    one.loop.back_ns = 0
    for begun in (1, 2, 3):
        one.turn(1)
        assert len([layer for layer in layers if isinstance(layer, TlsLayer) and layer.tls is not None]) == begun


# Settings

GOOD = '[[listener]]\ncertificate = "c.pem"\n'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[[listener]]\nkey = "k"', "given without a certificate"),
        ('[[listener]]\nidentity = "cn"', "given without a certificate"),
        (GOOD + 'identity = "cn"', "given without client_ca"),
        (GOOD + 'crl = "r"', "given without client_ca"),
        (GOOD + 'client_ca = "a"\nclient_certificate = "none"\nidentity = "cn"', "not asked for"),
        (GOOD + 'key = ["a", "b"]', "2 keys for 1 certificates"),
        (GOOD + 'tls_minimum = "1.1"', "none of the choices"),
    ],
)
def test_contradictions(tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "s.toml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=problem) as caught:
        Settings.load(str(file), {}, {})
    assert str(file) in str(caught.value)


def test_a_listener_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    text = GOOD + 'bind = "0.0.0.0"\nport = 8883\nclient_ca = "ca.pem"\nidentity = "cn"\n'
    file.write_text(text)
    settings = Settings.load(str(file), {}, {})
    [listener] = settings.listeners
    assert str(listener) == "tls:0.0.0.0:8883"
    assert listener.tls is not None and listener.tls.required and listener.tls.keys == ["c.pem"]
    assert not settings.warnings  # nobody comes in without a certificate
    file.write_text(text + 'client_certificate = "optional"\n')
    assert Settings.load(str(file), {}, {}).warnings


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"certificates": ["/nowhere.pem"]}, "listener.certificate: /nowhere.pem can't be read"),
        ({"client_cas": ["/nowhere.pem"]}, "listener.client_ca: /nowhere.pem can't be read"),
        ({"keys": ["/nowhere.pem"]}, "listener.key: /nowhere.pem can't be read"),
        ({"keys": ["AUTHORITY"]}, "listener.key: .* is of no use: not what it should be. Give the key in PEM"),
        ({"certificates": ["/dev/null"]}, "listener.certificate: /dev/null is of no use: not what it should be"),
        ({"client_cas": ["AUTHORITY"], "crl": "AUTHORITY"}, "listener.crl: .* has no revocation list"),
        ({"ciphers": "nonsense"}, "OpenSSL knows none of nonsense"),
    ],
)
def test_files_of_no_use(
    authority: Authority, certificate: str, options: dict[str, Any], problem: str, tmp_path: Path
) -> None:
    told = {"certificates": [certificate]} | options
    told = {
        key: authority.path if value == "AUTHORITY" else [authority.path] if value == ["AUTHORITY"] else value
        for key, value in told.items()
    }
    path = tmp_path / "socket"
    one = Server(Settings(listeners=[ListenerSettings(unix=str(path), tls=TlsSettings(**told))]))
    with pytest.raises(SettingsError, match=problem):
        one.open()
    assert not path.exists(), "nothing stays open"


def test_all_certificates_are_read_before_the_first_listener_opens(tmp_path: Path) -> None:
    listeners = [
        ListenerSettings(unix=str(tmp_path / "no-such-folder" / "socket")),
        ListenerSettings(port=0, tls=TlsSettings(["/nowhere.pem"])),
    ]
    with pytest.raises(SettingsError, match=r"/nowhere\.pem can't be read"):
        Server(Settings(listeners=listeners)).open()


def test_an_old_certificate_is_warned_about(
    authority: Authority, server: Servers, caplog: pytest.LogCaptureFixture
) -> None:
    server(**listening(authority.sign("localhost", days=-1, file="old")))
    assert "ended on" in caplog.text


def test_goodbye_over_tls(server: Servers, secure: Secure, certificate: str) -> None:
    one = server(**listening(certificate))
    client = secure(one, "a", version=5)
    one.broker.shut_down()
    assert client.expect(Disconnect).reason_code == 0x8B
    assert client.receive() is None


# swellmq pub and sub


def connected(one: Server, *arguments: str) -> tuple[int, str]:
    """Run `swellmq pub` against a broker; its exit code and what it said."""
    command = [
        sys.executable,
        "-P",
        "-m",
        "swellmq",
        "pub",
        "-h",
        "localhost",
        "-p",
        str(one.port),
        "-t",
        "t",
        "-m",
        "x",
    ]
    with subprocess.Popen([*command, "-t", "t", "-m", "x", *arguments], stderr=subprocess.PIPE, text=True) as process:
        await_true(lambda: process.poll() is not None, lambda: one.turn(5))
        assert process.stderr is not None
        return process.returncode, process.stderr.read()


@pytest.mark.slow
def test_pub(server: Servers, authority: Authority, certificate: str, tmp_path: Path) -> None:
    one = server(**listening(certificate, client_cas=[authority.path]))
    mine = authority.sign("mine")
    assert connected(one, "--cafile", authority.path, "--cert", mine) == (0, "")
    assert connected(one, "--insecure", "--cert", mine) == (0, "")
    assert one.stats.publishes_received == 2
    code, said = connected(one, "--tls", "--cert", mine)
    assert code == 1 and "could not connect to localhost" in said and "TLS, self-signed certificate" in said
    assert connected(one, "--cafile", str(tmp_path / "none"))[0] == 2
    code, said = connected(one, "--cafile", authority.path)
    assert code == 1 and "certificate required" in said
