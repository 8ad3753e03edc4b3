"""Who may ask what: the secret, logins of browsers, and what a browser may be tricked into.

Without a secret admin listens on loopback only, so whoever asks is on this machine. But so is a browser that shows
somebody else's page, and that page must neither read nor change anything here:

* it could have its own name resolved to 127.0.0.1 (DNS rebinding), so Host must name this machine;
* it could send a form here, so what changes something, or opens a WebSocket, must come from our own origin.

With a secret a browser gets a cookie at its login, which it sends to no other site (HttpOnly, SameSite=Strict).
"""

from __future__ import annotations

import binascii
import logging
import os
from _operator import _compare_digest as compare_digest  # what hmac has too, which loads OpenSSL: 3.7 MB
from typing import Final

from swellmq.access.guard import Counts
from swellmq.admin.answer import ApiError
from swellmq.listener_settings import is_loopback

log = logging.getLogger("swellmq.admin")

COOKIE: Final = "swellmq_admin"
LOGIN_S: Final = 12 * 3_600  # a working day
LOGINS_MAX: Final = 256  # at a time; the oldest one ends for another
FAILURES_MAX: Final = 10  # of one address within the window; then it has to wait
WINDOW_MS: Final = 60_000
SAFE_METHODS: Final = ("GET", "HEAD", "OPTIONS")
LOCAL_NAMES: Final = ("localhost", "127.0.0.1", "[::1]")


# What who asks may do.
NOTHING: Final = 0
READ: Final = 1  # see everything, change nothing
EVERYTHING: Final = 2


class Security:
    """Decides for each request. `token` is the secret, b"" where there is none; `read_token` one for reading only."""

    def __init__(self, token: bytes, read_token: bytes, addresses: list[str], scheme: str) -> None:
        self.token = token
        self.read_token = read_token
        self.scheme = scheme
        self.hosts = {*LOCAL_NAMES, *(f"[{one}]" if ":" in one else one for one in addresses)}
        self.logins: dict[str, tuple[int, int]] = {}  # by cookie: until when (monotonic ms), and what it may do
        self.failures = Counts()
        self.refused = 0

    def change(self, token: bytes, read_token: bytes) -> bool:
        """Go by other secrets from now on, which end all logins; whether they are others at all."""
        if (token, read_token) == (self.token, self.read_token):
            return False
        self.token, self.read_token = token, read_token
        self.logins = {}
        return True

    def check_host(self, headers: dict[str, str]) -> None:
        """Raise ApiError where a request is for another host than this one, and only the address protects us."""
        if self.token:
            return
        host = headers.get("host", "")
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
        if name.lower() not in self.hosts:
            self.refused += 1
            raise ApiError(403, "wrong_host", "without admin_token admin answers only to the names of this machine")

    def check_origin(self, method: str, headers: dict[str, str]) -> None:
        """Raise ApiError where another site's page has a browser send what may change something."""
        if method in SAFE_METHODS:
            return
        origin = headers.get("origin")
        site = headers.get("sec-fetch-site", "same-origin")
        same = origin is None or origin == f"{self.scheme}://{headers.get('host', '')}"
        if not same and self._behind_proxy(origin or "", headers):
            same = True
        if not same or site not in ("same-origin", "none"):
            self.refused += 1
            raise ApiError(403, "wrong_origin", "a page of another site may not ask for this")

    def _behind_proxy(self, origin: str, headers: dict[str, str]) -> bool:
        """Whether a proxy ends HTTPS in front of us: the origin then differs by its scheme only."""
        return bool(self.token) and origin == f"https://{headers.get('host', '')}"

    def rights(self, headers: dict[str, str], address: str, now_ms: int) -> int:
        """What who asks may do, by the secret or the login that a request shows. Raises ApiError for a wrong secret."""
        if not self.token:
            return EVERYTHING
        given = given_secret(headers.get("authorization", ""))
        if given is not None:
            return self._check(given, address, now_ms)
        until_ms, rights = self.logins.get(cookie_in(headers.get("cookie", "")), (0, NOTHING))
        return rights if now_ms < until_ms else NOTHING

    def demand(self, method: str, headers: dict[str, str], address: str, now_ms: int) -> None:
        """Raise ApiError unless who asks may do this."""
        rights = self.rights(headers, address, now_ms)
        if rights == NOTHING:
            raise unauthorized("say who you are: Authorization: Bearer TOKEN")
        if rights == READ and method not in SAFE_METHODS:
            self.refused += 1
            raise ApiError(403, "read_only", "this token is for reading only")

    def log_in(self, secret: str, address: str, now_ms: int) -> str:
        """Check the secret of somebody who logs in; the cookie for it. Raises ApiError where it is wrong."""
        rights = self._check(secret.encode(), address, now_ms) if self.token else EVERYTHING
        if len(self.logins) >= LOGINS_MAX:
            del self.logins[next(iter(self.logins))]
        cookie = os.urandom(24).hex()
        self.logins[cookie] = now_ms + LOGIN_S * 1_000, rights
        return self._set_cookie(cookie, LOGIN_S)

    def log_out(self, headers: dict[str, str]) -> str:
        """End a login; the cookie that makes a browser forget it."""
        self.logins.pop(cookie_in(headers.get("cookie", "")), None)
        return self._set_cookie("", 0)

    def _set_cookie(self, value: str, age_s: int) -> str:
        secure = "; Secure" if self.scheme == "https" else ""
        return f"{COOKIE}={value}; Path=/; Max-Age={age_s}; HttpOnly; SameSite=Strict{secure}"

    def _check(self, given: bytes, address: str, now_ms: int) -> int:
        """What a secret is good for. Raises ApiError where it is wrong, or too many were."""
        begin, failed = self.failures.now.get(address) or self.failures.before.get(address) or (0, 0)
        if failed >= FAILURES_MAX and now_ms - begin < WINDOW_MS:
            wait_s = str((WINDOW_MS - (now_ms - begin)) // 1_000 + 1)
            raise ApiError(
                429, "too_many_failures", "too many wrong tokens, come back later", [("Retry-After", wait_s)]
            )
        if compare_digest(given, self.token):
            return EVERYTHING
        if self.read_token and compare_digest(given, self.read_token):
            return READ
        self.refused += 1
        if not is_loopback(address):  # a proxy brings all its clients from there, and one must not lock out the others
            self.failures.add(address, WINDOW_MS, now_ms)
        log.warning("admin: a wrong token from %s", address)
        raise unauthorized("this is not the token")


def unauthorized(message: str) -> ApiError:
    """401. A browser's own question for a password would get in the way of the page, so Basic is not offered."""
    return ApiError(401, "unauthorized", message, [("WWW-Authenticate", 'Bearer realm="swellmq"')])


def given_secret(authorization: str) -> bytes | None:
    """What an Authorization header shows: the token, or the password of Basic with any user name; None: nothing."""
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip().encode("latin-1")
    if scheme.lower() == "basic":
        try:
            return binascii.a2b_base64(value.strip(), strict_mode=True).partition(b":")[2]
        except binascii.Error:
            return b""
    return None


def cookie_in(header: str) -> str:
    """The value of our cookie in a Cookie header; "" where it is not there."""
    for piece in header.split(";"):
        name, _, value = piece.strip().partition("=")
        if name == COOKIE:
            return value
    return ""
