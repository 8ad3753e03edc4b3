"""Tokens: who comes in by one, each way to fail, keys from files and over HTTP, expiry and a new token in time."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from harness import MemoryBroker, properties
from socket_client import Clients

from swellmq import Broker, Settings, SettingsError
from swellmq.access.build import build_door, make_tokens
from swellmq.access.provider import Login, Verdict
from swellmq.broker.access import Access, Request
from swellmq.codec import spec
from swellmq.codec.packets import Auth, Connack, Connect, Disconnect
from swellmq.codec.spec import RE_AUTHENTICATE

jwt = pytest.importorskip("jwt", reason="the extra `auth` is not installed")
pytest.importorskip("cryptography", reason="the extra `auth` is not installed")

from cryptography.hazmat.primitives import serialization  # noqa: E402  # it needs what may be missing
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa  # noqa: E402  # as above

from swellmq.access.tokens import FETCH_PAUSE_S, JwtProvider, Keys  # noqa: E402  # as above

SECRET = b"a secret of at least thirty-two bytes"
PRIVATE = {
    "RS256": rsa.generate_private_key(65_537, 2_048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}


def token(key: Any = SECRET, algorithm: str = "HS256", key_id: str | None = None, **claims: object) -> bytes:
    full = {"sub": "ada", "exp": time.time() + 60, **claims}
    wanted = {name: value for name, value in full.items() if value is not None}
    return jwt.encode(wanted, key, algorithm, {"kid": key_id} if key_id else None).encode()


def pem(algorithm: str) -> bytes:
    return (
        PRIVATE[algorithm]
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


def jwks(**keys: str) -> bytes:
    """A key set: algorithms by key id."""
    found = []
    for key_id, algorithm in keys.items():
        text = jwt.get_algorithm_by_name(algorithm).to_jwk(PRIVATE[algorithm].public_key())
        found.append({**json.loads(text), "kid": key_id, "alg": algorithm, "use": "sig"})
    return json.dumps({"keys": found}).encode()


@pytest.fixture
def secret(tmp_path: Path) -> str:
    path = tmp_path / "secret"
    path.write_bytes(SECRET + b"\n")
    return str(path)


def provider(**values: object) -> JwtProvider:
    made = make_tokens(Settings(**values))
    assert isinstance(made, JwtProvider)
    return made


def check(made: JwtProvider, password: bytes) -> Verdict | None:
    return made.check(Login("c", "whoever", password, ""))


@pytest.mark.parametrize("algorithm", list(PRIVATE))
def test_public_keys(tmp_path: Path, algorithm: str) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(pem(algorithm))
    made = provider(access_jwt_key_file=str(path))
    verdict = check(made, token(PRIVATE[algorithm], algorithm))
    assert verdict is not None and (verdict.reason_code, verdict.username) == (0, "ada")
    other = "ES256" if algorithm != "ES256" else "RS256"
    refused = check(made, token(PRIVATE[other], other))
    assert refused is not None and refused.reason_code == spec.BAD_USER_NAME_OR_PASSWORD


def test_who_knows_the_public_key_can_t_sign_with_it(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(pem("RS256"))
    made = provider(access_jwt_key_file=str(path))
    body = jwt.utils.base64url_encode(json.dumps({"sub": "ada", "exp": time.time() + 60}).encode())
    for head, sign in (({"alg": "HS256"}, True), ({"alg": "none"}, False)):
        signed = jwt.utils.base64url_encode(json.dumps(head).encode()) + b"." + body
        hashed = jwt.get_algorithm_by_name("HS256").sign(signed, pem("RS256")) if sign else b""
        verdict = check(made, signed + b"." + jwt.utils.base64url_encode(hashed))
        assert verdict is not None and verdict.reason_code != 0


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({}, ""),
        ({"exp": 1}, "expired"),
        ({"exp": None}, 'missing the "exp" claim'),
        ({"nbf": 4_000_000_000}, "not yet valid"),
        ({"iss": "somebody"}, "issuer"),
        ({"iss": None}, "iss"),
        ({"aud": "others"}, "[Aa]udience"),
        ({"aud": None}, "aud"),
        ({"user": None}, "user"),
        ({"user": ""}, "no user name"),
        ({"user": 7}, "no user name"),
        ({"user": "a\0b"}, "no user name"),
        ({"user": "\ud800"}, "no user name"),
        ({"exp": 1e400}, "."),
    ],
)
def test_claims(secret: str, claims: dict[str, object], why: str) -> None:
    made = provider(
        access_jwt_key_file=secret,
        access_jwt_algorithms=["HS256"],
        access_jwt_issuer="us",
        access_jwt_audience=["mqtt", "web"],
        access_jwt_username_claim="user",
    )
    verdict = check(made, token(**{"iss": "us", "aud": "mqtt", "user": "bob", **claims}))
    assert verdict is not None
    if why:
        assert verdict.reason_code == spec.BAD_USER_NAME_OR_PASSWORD
        assert re.match(f"token: .*{why}", verdict.reason_string or "")
    else:
        assert (verdict.reason_code, verdict.username) == (0, "bob")


def test_a_token_for_ages(broker: Callable[..., Broker], clients: Clients, secret: str) -> None:
    running = broker(access_jwt_key_file=secret, access_jwt_algorithms=["HS256"])
    clients(running, 5, "a", password=token(exp=1e300)).ping()
    assert running.statistics()["errors_internal"] == 0


def test_what_is_no_token_is_left_to_the_next(secret: str) -> None:
    made = provider(access_jwt_key_file=secret, access_jwt_algorithms=["HS256"])
    assert [made.knows(Login("c", "u", word, "")) for word in (b"pass", b"ey", b"ey.a.b", b"")] == [
        False,
        False,
        True,
        False,
    ]
    assert check(made, b"ey.is.none") is None
    assert check(made, b"ey\xff.a.b") is None


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"access_jwt_algorithms": ["none"]}, "access.jwt_algorithms: none can't be used"),
        ({"access_jwt_algorithms": ["XS256"]}, "XS256 can't be used. Give some of ES256"),
        ({"access_jwt_algorithms": ["HS256", "RS256"]}, "HS256 beside others"),
        ({"access_jwt_jwks": "x"}, "access.jwt_jwks: given beside access.jwt_key_file"),
        ({}, "has no key for RS256, ES256, EdDSA"),
        ({"access_jwt_key_file": "/none/here"}, "/none/here can't be read: No such file"),
        ({"access_jwt_key_file": "", "access_jwt_jwks": "/none/here"}, "/none/here can't be read"),
    ],
)
def test_settings_that_will_not_do(secret: str, values: dict[str, object], problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        provider(**{"access_jwt_key_file": secret, **values})


def test_a_key_set_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    path.write_bytes(jwks(one="RS256", two="EdDSA"))
    made = provider(access_jwt_jwks=str(path))
    for key_id, algorithm, code in (
        ("one", "RS256", 0),
        ("two", "EdDSA", 0),
        ("three", "EdDSA", 0x86),
        (None, "EdDSA", 0x86),
    ):
        verdict = check(made, token(PRIVATE[algorithm], algorithm, key_id))
        assert verdict is not None and verdict.reason_code == code
    path.write_bytes(b"{}")
    with pytest.raises(SettingsError, match="is no JWK set"):
        provider(access_jwt_jwks=str(path))


class KeyServer(BaseHTTPRequestHandler):
    body = b""
    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    KeyServer.body, KeyServer.asked = jwks(one="EdDSA"), 0
    with ThreadingHTTPServer(("127.0.0.1", 0), KeyServer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/keys"
        server.shutdown()
        thread.join()


def test_a_key_set_from_a_url_is_kept_and_fetched_again_for_a_new_key(url: str) -> None:
    keys = Keys(b"", url, 600, 5)
    made = JwtProvider(keys, ["EdDSA", "ES256"], "", [], "sub", 0)
    for _ in range(3):
        verdict = check(made, token(PRIVATE["EdDSA"], "EdDSA", "one"))
        assert verdict is not None and verdict.reason_code == 0
    assert KeyServer.asked == 1
    KeyServer.body = jwks(two="ES256")
    new = token(PRIVATE["ES256"], "ES256", "two")
    assert check(made, new) is not None and KeyServer.asked == 1  # not asked at each unknown key
    keys.fetched_s -= FETCH_PAUSE_S
    verdict = check(made, new)
    assert verdict is not None and (verdict.reason_code, KeyServer.asked) == (0, 2)
    KeyServer.body = b"broken"
    keys.fetched_s -= 601
    verdict = check(made, new)
    assert verdict is not None and (verdict.reason_code, KeyServer.asked) == (0, 3)  # the old keys stay


def test_without_any_keys_nobody_comes_in() -> None:
    made = JwtProvider(Keys(b"", "http://127.0.0.1:9/", 600, 1), ["EdDSA"], "", [], "sub", 0)
    verdict = check(made, token(PRIVATE["EdDSA"], "EdDSA", "one"))
    assert verdict is not None and verdict.reason_code == spec.SERVER_UNAVAILABLE


def test_a_client_comes_in_as_whom_its_token_says(broker: Callable[..., Broker], clients: Clients, secret: str) -> None:
    running = broker(access_jwt_key_file=secret, access_jwt_algorithms=["HS256"])
    assert clients(running, 5).connect("a", username="x", password=token()).reason_code == 0
    assert clients(running, 5).connect("b", password=token()).reason_code == 0
    session = running.server.broker.core.session("a")
    assert session is not None and session.username == "ada"
    assert clients(running, 4).connect("c", username="x", password=token(exp=1)).reason_code == 4
    assert clients(running, 4).connect("d", username="x", password=b"ey.a.b").reason_code == 4
    assert len(running.server.broker.core.leases) == 2


def by_method(client: Any, data: bytes) -> None:
    connect = Connect()
    connect.protocol_version = 5
    connect.client_id = "a"
    connect.properties = properties(authentication_method="JWT", authentication_data=data)
    client.send(connect)


def test_by_the_method_jwt_and_again(broker: Callable[..., Broker], clients: Clients, secret: str) -> None:
    running = broker(access_jwt_key_file=secret, access_jwt_algorithms=["HS256"])
    client = clients(running, 5)
    by_method(client, token(exp=time.time() + 3_600))
    assert client.expect(Connack).reason_code == 0
    leases = running.server.broker.core.leases
    (first,) = leases.values()
    again = properties(authentication_method="JWT", authentication_data=token(exp=time.time() + 7_200))
    client.send(Auth(RE_AUTHENTICATE, again))
    assert client.expect(Auth).reason_code == 0
    (second,) = leases.values()
    assert 3_500_000 < second - first < 3_700_000
    other = properties(authentication_method="JWT", authentication_data=token(sub="eve"))
    client.send(Auth(RE_AUTHENTICATE, other))
    assert client.expect(Disconnect).reason_code == spec.NOT_AUTHORIZED
    assert client.receive() is None
    bad = clients(running, 5)
    by_method(bad, b"no token")
    assert bad.expect(Connack).reason_code == spec.NOT_AUTHORIZED


class Lease(Access):
    """Lets everybody in for a while."""

    def __init__(self, seconds: int) -> None:
        super().__init__()
        self.authenticates = True
        self.seconds = seconds

    def decide(self, requests: list[Request]) -> None:
        for request in requests:
            request.lasts_ms = self.seconds * 1_000
            request.answer(0)


@pytest.mark.parametrize("keep_alive", [0, 7])
def test_a_login_that_expires(keep_alive: int) -> None:
    broker = MemoryBroker(access=Lease(60))
    client = broker.connect("a", 5, keep_alive=keep_alive)
    for _ in range(11):
        broker.advance(5)
        client.ping()
    assert not client.closed
    client.receive()
    broker.advance(5)
    (packet,) = client.receive()
    assert isinstance(packet, Disconnect) and packet.reason_code == spec.MAXIMUM_CONNECT_TIME
    assert client.close_reason == "login expired"
    assert not broker.core.leases
    broker.check()


def test_a_client_that_leaves_has_no_lease(secret: str) -> None:
    broker = MemoryBroker(access=Lease(60))
    broker.connect("a").disconnect()
    broker.connect("b", 5).drop()
    assert not broker.core.leases


def test_what_the_operator_is_told(secret: str) -> None:
    door = build_door(Settings(access_jwt_key_file=secret, access_jwt_algorithms=["HS256"]))
    assert "tokens: signed by HS256, the user is in the claim sub" in door.describe()
    assert door.authentication_methods == ["JWT"]
