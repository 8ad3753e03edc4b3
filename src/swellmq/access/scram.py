"""SCRAM-SHA-256 and SCRAM-SHA-1, RFC 5802 and RFC 7677, as authentication methods of MQTT 5.0 section 4.12.

    access = ScramAccess()
    access.add_user("alice", "a password")
    with Broker(Settings(port=1883), access=access): ...

What is kept of a password is a Credential: whoever steals it can't log in with it. The messages of SCRAM themselves are
the matter of the library scramp (extra `auth`).
"""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode
from secrets import token_bytes
from typing import Final, final

from mypy_extensions import mypyc_attr
from scramp import ScramException, ScramMechanism  # type: ignore[import-untyped]  # scramp ships no types

from swellmq.broker.access import AUTHENTICATE, EXCHANGE, TAKE_OVER, Access, Request
from swellmq.codec.spec import NOT_AUTHORIZED

METHODS: Final = ("SCRAM-SHA-256", "SCRAM-SHA-1")
ITERATIONS: Final = 4_096  # the least of RFC 7677: the client has to compute them, and it may be a small device
SALT_BYTES: Final = 16
FAILED: Final = "authentication failed"  # the same words whatever was wrong


@final
@mypyc_attr(native_class=True)
class Credential:
    """What the server knows of one user's password for one method."""

    def __init__(self, method: str, iterations: int, salt: bytes, stored_key: bytes, server_key: bytes) -> None:
        if method not in METHODS:
            raise ValueError(f"{method} is none of {', '.join(METHODS)}")
        if iterations < ITERATIONS:
            raise ValueError(f"{iterations} iterations are fewer than {ITERATIONS}")
        self.method = method
        self.iterations = iterations
        self.salt = salt
        self.stored_key = stored_key
        self.server_key = server_key

    def to_text(self) -> str:
        """One line as PostgreSQL writes it, `method$iterations:salt$stored_key:server_key`, all bytes in base64."""
        return f"{self.method}${self.iterations}:{_text(self.salt)}${_text(self.stored_key)}:{_text(self.server_key)}"


def make_credential(password: str, method: str = METHODS[0], iterations: int = ITERATIONS) -> Credential:
    """A credential with a new salt. Takes a few milliseconds of computing by design.

    Raises ValueError where `password` has characters that SASLprep (RFC 4013) prohibits.
    """
    try:
        salt, stored_key, server_key, _ = ScramMechanism(method).make_auth_info(
            password, iterations, token_bytes(SALT_BYTES)
        )
    except ScramException as error:
        raise ValueError(str(error)) from None
    return Credential(method, iterations, salt, stored_key, server_key)


def parse_credential(text: str) -> Credential:
    """What `Credential.to_text` wrote; raises ValueError for anything else."""
    try:
        method, middle, keys = text.split("$")
        iterations, salt = middle.split(":")
        stored_key, server_key = keys.split(":")
        parts = [b64decode(part, validate=True) for part in (salt, stored_key, server_key)]
        return Credential(method, int(iterations), parts[0], parts[1], parts[2])
    except ValueError as error:
        raise ValueError(f"no SCRAM credential: {error}") from None


def _text(part: bytes) -> str:
    return b64encode(part).decode()


@final
class Attempt:
    """One exchange: the server's side of SCRAM, and the user it is about."""

    def __init__(self, access: ScramAccess, method: str) -> None:
        self.access = access
        self.method = method
        self.username = ""
        self.server = ScramMechanism(method).make_server(self.look_up)

    def look_up(self, username: str) -> tuple[bytes, bytes, bytes, int]:
        """What scramp asks for: salt, stored key, server key and iterations."""
        self.username = username
        credential = self.access.credential(username, self.method)
        return credential.salt, credential.stored_key, credential.server_key, credential.iterations


@mypyc_attr(native_class=True, allow_interpreted_subclasses=True)
class ScramAccess(Access):
    """Lets those in who prove by SCRAM that they know their password, and nobody else.

    `methods` are those that are offered. `secret` makes up what a user that does not exist is answered; where several
    brokers or restarts shall answer the same, give each the same one. Derive from it and replace `decide_other` to let
    others in too, or to decide about PUBLISH and SUBSCRIBE.
    """

    def __init__(self, methods: tuple[str, ...] = METHODS, secret: bytes = b"") -> None:
        super().__init__()
        self.authenticates = True
        self.authentication_methods = list(methods)
        self.credentials: dict[tuple[str, str], Credential] = {}  # by user name and method
        self.secret = secret or token_bytes(32)

    def add_user(self, username: str, password: str, iterations: int = ITERATIONS) -> None:
        """Add or replace a user, with a credential for each method."""
        for method in self.authentication_methods:
            self.add_credential(username, make_credential(password, method, iterations))

    def add_credential(self, username: str, credential: Credential) -> None:
        """Add or replace what is known of a user for one method."""
        self.credentials[username, credential.method] = credential

    def remove_user(self, username: str) -> None:
        """Forget a user; whom it has let in before stays."""
        for method in METHODS:
            self.credentials.pop((username, method), None)

    def credential(self, username: str, method: str) -> Credential:
        """The user's credential, or one that nobody can have but that looks the same at each try."""
        # It is made up for those who exist as well, so that the time tells nothing either.
        salt = hmac.digest(self.secret, method.encode() + b"\0" + username.encode(), "sha256")[:SALT_BYTES]
        size = 20 if method == "SCRAM-SHA-1" else 32
        nobody = Credential(method, ITERATIONS, salt, token_bytes(size), token_bytes(size))
        return self.credentials.get((username, method), nobody)

    def decide(self, requests: list[Request]) -> None:
        for request in requests:
            if request.kind == EXCHANGE:
                self.take_step(request)
            else:
                self.decide_other(request)

    def decide_other(self, request: Request) -> None:
        """Answer what is not about SCRAM: a client without a method is refused, all else allowed."""
        if request.kind == AUTHENTICATE or request.kind == TAKE_OVER:
            request.reason_string = "authenticate by " + " or ".join(self.authentication_methods)
            request.answer(NOT_AUTHORIZED)
        else:
            request.answer(0)

    def take_step(self, request: Request) -> None:
        """Answer one message of SCRAM. The keys are at hand, so that a step costs some hashes and no waiting."""
        exchange = request.exchange
        assert exchange is not None
        try:
            message = (exchange.data or b"").decode()
            attempt = exchange.state
            if not isinstance(attempt, Attempt):
                attempt = Attempt(self, exchange.method)
                exchange.state = attempt
                attempt.server.set_client_first(message)
                request.go_on(attempt.server.get_server_first().encode())
                return
            attempt.server.set_client_final(message)
            last = attempt.server.get_server_final().encode()
        except (ScramException, UnicodeDecodeError):
            self._refuse(request)
            return
        if request.connect is None and attempt.username != request.username:
            self._refuse(request)  # the session is another user's
            return
        request.username = attempt.username
        request.authentication_data = last
        request.answer(0)

    def _refuse(self, request: Request) -> None:
        request.reason_string = FAILED
        request.answer(NOT_AUTHORIZED)
