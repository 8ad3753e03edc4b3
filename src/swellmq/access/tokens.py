"""JSON Web Tokens, RFC 7519, in place of passwords: signed by somebody else, checked here with the library PyJWT.

The token is the password of CONNECT; the user is who its claim says, whatever the user name of CONNECT. A client of
MQTT 5.0 may also send it as the data of the authentication method JWT, and then a new one, by re-authentication, before
the old one expires. When a token has expired its client is disconnected.
"""

from __future__ import annotations

import logging
import threading
import time
import urllib.request
from collections.abc import Sequence
from typing import Final

from swellmq.access.provider import Login, Provider, Verdict, usable_name
from swellmq.codec.spec import BAD_USER_NAME_OR_PASSWORD, SERVER_UNAVAILABLE
from swellmq.errors import SettingsError
from swellmq.settings import Settings

try:
    import jwt
    from jwt.algorithms import get_default_algorithms, has_crypto
except ImportError:
    raise SettingsError(
        "access.jwt_*", "tokens need PyJWT, which is not installed", "Install it: pip install 'swellmq[auth]'"
    ) from None

log: Final = logging.getLogger("swellmq.access")

JWKS_BYTES_MAX: Final = 1_048_576  # a key set has a few kilobytes
FETCH_PAUSE_S: Final = 10.0  # between two fetches at the least, so that unknown key ids don't make us ask for ever
SHARED: Final = ("HS256", "HS384", "HS512")  # whoever can check such a token can sign one


class Keys:
    """The keys that tokens may be signed with: one from a file, or a set from a file or a URL (RFC 7517)."""

    def __init__(self, key: bytes, source: str, refresh_s: float, timeout_s: float) -> None:
        self.key = key  # where it is not empty it is the only one
        self.source = source  # of a set: a path, or an http(s) URL
        self.refresh_s = refresh_s
        self.timeout_s = timeout_s
        self.found: list[jwt.PyJWK] = []
        self.fetched_s = -1e9  # monotonic; when a fetch was last tried
        self.lock = threading.Lock()
        if source and not is_url(source):
            self.found = self.parse(self.read_file())

    def choose(self, token: str) -> object | None:
        """The key for a token, by its key id where it has one; None where there is none. Raises PyJWTError."""
        key_id = jwt.get_unverified_header(token).get("kid")
        if self.key:
            return self.key
        found = self.look_up(key_id)
        if is_url(self.source):
            age_s = time.monotonic() - self.fetched_s
            if age_s >= self.refresh_s or (found is None and age_s >= FETCH_PAUSE_S):
                self.fetch()
                found = self.look_up(key_id)
        return found.key if found is not None else None

    def look_up(self, key_id: object) -> jwt.PyJWK | None:
        if key_id is None:
            return self.found[0] if len(self.found) == 1 else None
        return next((key for key in self.found if key.key_id == key_id), None)

    def fetch(self) -> None:
        """Get the set from its URL; where that fails the old one stays in force."""
        with self.lock:
            if time.monotonic() - self.fetched_s < FETCH_PAUSE_S:
                return  # another thread was quicker
            self.fetched_s = time.monotonic()
            try:
                with urllib.request.urlopen(self.source, timeout=self.timeout_s) as answer:
                    self.found = self.parse(answer.read(JWKS_BYTES_MAX + 1))
            except (OSError, ValueError) as error:
                log.warning("keys for tokens can't be had from %s: %s", self.source, error)

    def read_file(self) -> bytes:
        try:
            with open(self.source, "rb") as file:
                return file.read(JWKS_BYTES_MAX + 1)
        except OSError as error:
            problem = f"{self.source} can't be read: {error.strerror}"
            raise SettingsError("access.jwt_jwks", problem, "Give the path or the URL of a JWK set") from None

    def parse(self, text: bytes) -> list[jwt.PyJWK]:
        """The keys of a set; raises ValueError, or SettingsError for a file, where it is none."""
        try:
            if len(text) > JWKS_BYTES_MAX:
                raise ValueError(f"more than {JWKS_BYTES_MAX} bytes")
            return jwt.PyJWKSet.from_json(text.decode()).keys
        except (ValueError, jwt.PyJWTError) as error:
            problem = f"{self.source} is no JWK set: {error}"
            raise SettingsError("access.jwt_jwks", problem, "Give the path or the URL of a JWK set") from None


def is_url(source: str) -> bool:
    """Whether a source is asked over the network."""
    return source.startswith(("http://", "https://"))


class JwtProvider(Provider):
    """Lets in whoever has a token that is signed by one of `keys` and meets the rest."""

    def __init__(
        self,
        keys: Keys,
        algorithms: Sequence[str],
        issuer: str,
        audience: Sequence[str],
        username_claim: str,
        leeway_s: int,
    ) -> None:
        super().__init__("tokens")
        self.method = "JWT"
        self.keys = keys
        self.algorithms = list(algorithms)
        self.issuer = issuer or None
        self.audience = list(audience) or None
        self.username_claim = username_claim
        self.waits = is_url(keys.source)
        self.leeway_s = leeway_s

    def describe(self) -> str:
        return f"tokens: signed by {', '.join(self.algorithms)}, the user is in the claim {self.username_claim}"

    def knows(self, login: Login) -> bool:
        return login.password.startswith(b"ey") and login.password.count(b".") == 2  # "ey" is how {" begins in base64

    def check(self, login: Login) -> Verdict | None:
        try:
            token = login.password.decode("ascii")
            key = self.keys.choose(token)
        except (UnicodeDecodeError, jwt.PyJWTError):
            return None  # a password that looks like a token
        if key is None:
            if not self.keys.key and not self.keys.found:
                return Verdict(SERVER_UNAVAILABLE, reason_string="the server has no keys to check tokens with")
            return refuse("signed by a key that is not known")
        try:
            claims = jwt.decode(
                token,
                key,  # type: ignore[arg-type]  # what choose() gives is what PyJWT itself takes
                algorithms=self.algorithms,
                issuer=self.issuer,
                audience=self.audience,
                leeway=self.leeway_s,
                options={"require": ["exp", self.username_claim]},
            )
        except (jwt.PyJWTError, TypeError, ValueError, OverflowError) as error:
            return refuse(str(error))
        username = claims[self.username_claim]
        if not isinstance(username, str) or not usable_name(username):
            return refuse(f"the claim {self.username_claim} is no user name")
        return Verdict(0, username, float(claims["exp"]) + self.leeway_s)


def make_jwt_provider(settings: Settings) -> JwtProvider:
    """Tokens as the settings want them; raises SettingsError where a key or an algorithm can't be used."""
    where = settings.where("access.jwt_algorithms")
    check_algorithms(settings.access_jwt_algorithms, where)
    path, jwks = settings.access_jwt_key_file, settings.access_jwt_jwks
    if path and jwks:
        where = settings.where("access.jwt_jwks")
        raise SettingsError("access.jwt_jwks", "given beside access.jwt_key_file", "Leave one of them out", where)
    key = read_key(path, settings.access_jwt_algorithms, settings.where("access.jwt_key_file")) if path else b""
    keys = Keys(key, jwks, settings.access_jwt_refresh_s, settings.access_http_timeout_ms / 1000)
    return JwtProvider(
        keys,
        settings.access_jwt_algorithms,
        settings.access_jwt_issuer,
        settings.access_jwt_audience,
        settings.access_jwt_username_claim,
        settings.access_jwt_leeway_s,
    )


def read_key(path: str, algorithms: Sequence[str], where: str) -> bytes:
    """The key in a file, once each of the algorithms takes it."""
    try:
        with open(path, "rb") as file:
            key = file.read().strip()
    except OSError as error:
        problem = f"{path} can't be read: {error.strerror}"
        raise SettingsError("access.jwt_key_file", problem, "Give the path of the key", where) from None
    usable = 0
    for name in algorithms:
        try:
            get_default_algorithms()[name].prepare_key(key)
            usable += 1
        except (jwt.PyJWTError, ValueError, TypeError):
            continue  # the key is of one kind, and the list of algorithms may have several
    if not key or not usable:
        problem = f"{path} has no key for {', '.join(algorithms)}"
        remedy = "Give a public key in PEM, or a secret where access.jwt_algorithms has HS256 and its like"
        raise SettingsError("access.jwt_key_file", problem, remedy, where)
    return key


def refuse(why: str) -> Verdict:
    """A token that will not do; its owner is told why, since it can read the token too."""
    return Verdict(BAD_USER_NAME_OR_PASSWORD, reason_string=f"token: {why}")


def check_algorithms(algorithms: Sequence[str], where: str) -> None:
    """Raise SettingsError for algorithms that are none, that are not installed, or that must not stand together."""
    known = get_default_algorithms()
    for name in algorithms:
        if name in known and name != "none":
            continue
        remedy = "Give some of " + ", ".join(sorted(set(known) - {"none"}))
        if not has_crypto:
            remedy += "; the others need cryptography: pip install 'swellmq[auth]'"
        raise SettingsError("access.jwt_algorithms", f"{name} can't be used", remedy, where)
    shared = [name for name in algorithms if name in SHARED]
    if shared and len(shared) < len(algorithms):
        problem = f"{shared[0]} beside others: who knows a public key could sign with it as a secret"
        raise SettingsError("access.jwt_algorithms", problem, "Give HS* alone, or leave them out", where)
