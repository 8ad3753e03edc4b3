"""SCRAM over AUTH packets: a client that knows its password, and all that must fail without telling why."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from harness import MemoryBroker, properties
from socket_client import Clients

from swellmq import Broker
from swellmq.codec import spec
from swellmq.codec.encode import encode
from swellmq.codec.packets import Auth, Connack, Connect, Disconnect
from swellmq.codec.spec import CONTINUE_AUTHENTICATION, RE_AUTHENTICATE

scramp = pytest.importorskip("scramp", reason="the extra `auth` is not installed")

from swellmq.access.scram import (  # noqa: E402  # it needs what may be missing
    ITERATIONS,
    METHODS,
    Credential,
    ScramAccess,
    make_credential,
    parse_credential,
)

FAILED = properties(reason_string="authentication failed")
CREDENTIALS = {method: make_credential("secret", method) for method in METHODS}


def access(*usernames: str) -> ScramAccess:
    """Users whose password is "secret"."""
    made = ScramAccess()
    for username in usernames or ("joe",):
        for credential in CREDENTIALS.values():
            made.add_credential(username, credential)
    return made


class Login:
    """A client of the harness that speaks SCRAM."""

    def __init__(self, broker: MemoryBroker, username: str = "joe", password: str = "secret", method: str = METHODS[0]):
        self.method = method
        self.client = broker.open(5)
        self.begin(username, password)
        self.client.connect("device", authentication_method=method, authentication_data=self.first)

    def begin(self, username: str, password: str) -> None:
        self.scram = scramp.ScramClient([self.method], username, password)
        self.first = self.scram.get_client_first().encode()

    def auth(self, reason_code: int, data: bytes) -> Auth:
        return Auth(reason_code, properties(authentication_method=self.method, authentication_data=data))

    def challenge(self) -> str:
        """The server's first message, as it came in AUTH."""
        (packet,) = self.client.receive()
        assert isinstance(packet, Auth) and packet.reason_code == CONTINUE_AUTHENTICATION
        assert packet.properties is not None and packet.properties.authentication_data is not None
        return packet.properties.authentication_data.decode()

    def answer(self, tamper: Callable[[str], str] = str) -> Connack | Auth | Disconnect:
        """Compute the proof and send it; what comes back."""
        self.scram.set_server_first(self.challenge())
        self.client.send(self.auth(CONTINUE_AUTHENTICATION, tamper(self.scram.get_client_final()).encode()))
        (packet,) = self.client.receive()
        assert isinstance(packet, Connack | Auth | Disconnect)
        return packet

    def verify(self, packet: Connack | Auth | Disconnect) -> None:
        """The server has proved that it knows the user too."""
        assert packet.reason_code == 0 and packet.properties is not None
        assert packet.properties.authentication_method == self.method
        assert packet.properties.authentication_data is not None
        self.scram.set_server_final(packet.properties.authentication_data.decode())


@pytest.mark.parametrize("method", METHODS)
def test_a_client_comes_in(method: str) -> None:
    broker = MemoryBroker(access=access())
    login = Login(broker, method=method)
    login.verify(login.answer())
    assert broker.session("device").username == "joe"
    broker.check()


@pytest.mark.parametrize(
    ("username", "password", "tamper"),
    [
        ("joe", "wrong", str),
        ("nobody", "secret", str),
        ("joe", "secret", lambda final: final.replace(",r=", ",r=X")),
        ("joe", "secret", lambda final: final.replace("c=biws", "c=eSws")),
        ("joe", "secret", lambda final: final[:-8] + "AAAAAAA="),
        ("joe", "secret", lambda final: "no SCRAM at all"),
    ],
    ids=["wrong password", "unknown user", "tampered nonce", "tampered binding", "tampered proof", "no SCRAM"],
)
def test_who_fails_is_not_told_why(username: str, password: str, tamper: Callable[[str], str]) -> None:
    broker = MemoryBroker(access=access())
    login = Login(broker, username, password)
    packet = login.answer(tamper)
    assert encode(packet, 5) == encode(Connack(False, spec.NOT_AUTHORIZED, FAILED), 5)
    assert login.client.close_reason == "refused"
    broker.check()


@pytest.mark.parametrize("method", METHODS)
def test_an_unknown_user_looks_like_any_other(method: str) -> None:
    broker = MemoryBroker(access=access())

    def shape(username: str) -> tuple[str, int, str]:
        fields = dict(part.split("=", 1) for part in Login(broker, username, method=method).challenge().split(","))
        return fields["s"], len(fields["s"]), fields["i"]

    assert shape("nobody") == shape("nobody") != shape("somebody")  # its salt stays as a real one does
    assert shape("nobody")[1:] == shape("joe")[1:]
    known = access("joe").credential("joe", method)
    unknown = access("joe").credential("nobody", method)
    assert len(known.stored_key) == len(unknown.stored_key)


@pytest.mark.parametrize("data", [None, b"", b"\xff", b"n,,n=joe", b"y", b"p=tls-unique,,n=joe,r=abc"])
def test_a_first_message_that_is_none(data: bytes | None) -> None:
    client = MemoryBroker(access=access()).connect(
        "a", version=5, authentication_method=METHODS[0], authentication_data=data
    )
    assert client.connack is not None and client.connack.reason_code == spec.NOT_AUTHORIZED


class TestAgain:
    def test_the_same_user(self) -> None:
        login = Login(MemoryBroker(access=access()))
        login.verify(login.answer())
        login.begin("joe", "secret")
        login.client.send(login.auth(RE_AUTHENTICATE, login.first))
        login.verify(login.answer())
        assert not login.client.closed

    @pytest.mark.parametrize(("username", "password"), [("joe", "wrong"), ("jim", "secret")])
    def test_a_wrong_password_or_another_user(self, username: str, password: str) -> None:
        login = Login(MemoryBroker(access=access("joe", "jim")))
        login.verify(login.answer())
        login.begin(username, password)
        login.client.send(login.auth(RE_AUTHENTICATE, login.first))
        assert encode(login.answer(), 5) == encode(Disconnect(spec.NOT_AUTHORIZED, FAILED), 5)
        assert login.client.closed


def test_without_a_method_nobody_comes_in() -> None:
    client = MemoryBroker(access=access()).connect("a", version=5, username="joe", password=b"secret")
    assert client.connack is not None and client.connack.reason_code == spec.NOT_AUTHORIZED
    assert client.connack.properties is not None
    assert client.connack.properties.reason_string == "authenticate by SCRAM-SHA-256 or SCRAM-SHA-1"


def test_a_user_that_was_removed() -> None:
    users = access()
    users.remove_user("joe")
    assert Login(MemoryBroker(access=users)).answer().reason_code == spec.NOT_AUTHORIZED


def test_a_password_is_not_kept() -> None:
    users = ScramAccess()
    users.add_user("joe", "pass\u00adword")  # SASLprep drops the soft hyphen
    texts = [credential.to_text() for credential in users.credentials.values()]
    assert [text.partition("$")[0] for text in texts] == list(METHODS)
    assert not [text for text in texts if "password" in text]
    assert [parse_credential(text).to_text() for text in texts] == texts
    login = Login(MemoryBroker(access=users), "joe", "password")
    login.verify(login.answer())


@pytest.mark.parametrize("text", ["", "a$b$c", "SCRAM-SHA-256$1:AA==$AA==:AA==", "MD5$4096:AA==$AA==:AA==", "x" * 99])
def test_what_is_no_credential(text: str) -> None:
    with pytest.raises(ValueError, match="no SCRAM credential"):
        parse_credential(text)


def test_bounds_of_a_credential() -> None:
    with pytest.raises(ValueError, match="fewer"):
        Credential(METHODS[0], ITERATIONS - 1, b"s", b"k", b"k")
    with pytest.raises(ValueError, match="control characters"):
        make_credential("bell\x07")


def test_over_a_socket(broker: Callable[..., Broker], clients: Clients) -> None:
    client = clients(broker(access=access()), 5)
    scram = scramp.ScramClient(METHODS, "joe", "secret")
    connect = Connect()
    connect.protocol_version = 5
    connect.client_id = "device"
    connect.properties = properties(
        authentication_method=scram.mechanism_name, authentication_data=scram.get_client_first().encode()
    )
    client.send(connect)
    scram.set_server_first(client.expect(Auth).properties.authentication_data.decode())
    final = properties(
        authentication_method=scram.mechanism_name, authentication_data=scram.get_client_final().encode()
    )
    client.send(Auth(CONTINUE_AUTHENTICATION, final))
    connack = client.expect(Connack)
    assert connack.reason_code == 0
    scram.set_server_final(connack.properties.authentication_data.decode())
    client.ping()
