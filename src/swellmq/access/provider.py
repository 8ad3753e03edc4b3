"""What all who judge share: a Login or an Ask to be judged, the Verdict, and the Provider or Authorizer that judges."""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import mypyc_attr

from swellmq.codec.spec import BAD_USER_NAME_OR_PASSWORD

NAME_BYTES_MAX: Final = 65_535  # of a UTF-8 Encoded String, MQTT 5.0 section 1.5.4


@final
@mypyc_attr(native_class=True)
class Login:
    """What a client says of itself in CONNECT, and where it comes from."""

    def __init__(self, client_id: str, username: str | None, password: bytes | None, address: str) -> None:
        self.client_id = client_id
        self.username = username
        self.password = password or b""
        self.address = address  # numeric, without the port; "" for a Unix socket

    def anonymous(self) -> bool:
        """Whether the client says nothing that could be checked."""
        return self.username is None and not self.password


@final
@mypyc_attr(native_class=True)
class Verdict:
    """What a provider has found: a reason code of MQTT 5.0, 0 to let the client in."""

    def __init__(
        self, reason_code: int, username: str | None = None, expires_at_s: float = 0.0, reason_string: str | None = None
    ) -> None:
        self.reason_code = reason_code
        self.username = username  # who the client is from now on; None: as it said
        self.expires_at_s = expires_at_s  # seconds since 1970; 0: never
        self.reason_string = reason_string
        self.is_guess = False  # a wrong password, for which an address may be banned
        self.codes: list[int] = []  # on an Ask: a reason code for each topic


class ProviderError(Exception):
    """A provider can't judge now; its words are for the log."""


def wrong_password(reason_string: str | None = None) -> Verdict:
    """The verdict on a login that may be a guess."""
    verdict = Verdict(BAD_USER_NAME_OR_PASSWORD, reason_string=reason_string)
    verdict.is_guess = True
    return verdict


def usable_name(text: str) -> bool:
    """Whether MQTT could carry a user name that somebody else has found: as UTF-8, without U+0000, not too long."""
    try:
        return 0 < len(text.encode()) <= NAME_BYTES_MAX and "\0" not in text
    except UnicodeEncodeError:
        return False


@mypyc_attr(native_class=True, allow_interpreted_subclasses=True)
class Provider:
    """Someone who knows users. `knows` runs in the loop and must be quick, `check` in a worker thread."""

    def __init__(self, name: str) -> None:
        self.name = name  # as in logs
        self.method = ""  # of enhanced authentication, where the password may come by one
        self.waits = False  # `check` waits for a network rather than computes, so that more may run at a time

    def describe(self) -> str:
        """What it knows, in a line for the operator."""
        return self.name

    def knows(self, login: Login) -> bool:
        """Whether this provider can say anything about such a login."""
        return True

    def check(self, login: Login) -> Verdict | None:
        """Judge a login. None where it is none of this provider's users, and the next one is asked.

        Raises ProviderError where it can't tell: the client is refused then.
        """
        raise NotImplementedError


@final
@mypyc_attr(native_class=True)
class Ask:
    """A client that is in wants to publish to one topic, or to subscribe to some filters."""

    def __init__(self, client_id: str, username: str | None, publishes: bool, topics: list[bytes]) -> None:
        self.client_id = client_id
        self.username = username
        self.publishes = publishes
        self.topics = topics
        self.qos = 0
        self.retain = False


@mypyc_attr(native_class=True, allow_interpreted_subclasses=True)
class Authorizer:
    """Someone who knows what clients may do, and has to be asked over a network."""

    def __init__(self, publish: bool, subscribe: bool) -> None:
        self.publish = publish  # whether it is asked about that
        self.subscribe = subscribe

    def check(self, ask: Ask) -> list[int]:
        """A reason code for each topic, 0 where it is allowed. In a worker thread."""
        raise NotImplementedError
