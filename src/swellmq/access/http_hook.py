"""A server of the operator's that says who may come in, and if asked what they may do: JSON by POST, answered in JSON.

    {"question": "connect", "client_id": "c", "username": "ada", "password": "x", "address": "192.0.2.1"}
    {"question": "publish", "client_id": "c", "username": "ada", "topics": ["a/b"], "qos": 1, "retain": false}
    {"question": "subscribe", "client_id": "c", "username": "ada", "topics": ["a/#", "b"]}

The answer is {"result": "allow"}, "deny", or to "connect" also "ignore": then the next provider is asked. To "connect"
it may add "username" (who the client is from now on), "expires_in_s" and "reason"; to "subscribe" it may give
"results", one for each topic. Whatever else comes, or nothing in time, lets nobody in.
"""

from __future__ import annotations

import http.client
import ssl
import threading
import time
from typing import Final
from urllib.parse import urlsplit

import msgspec

from swellmq.access.provider import (
    Ask,
    Authorizer,
    Login,
    Provider,
    ProviderError,
    Verdict,
    usable_name,
    wrong_password,
)
from swellmq.codec.spec import NOT_AUTHORIZED
from swellmq.errors import SettingsError
from swellmq.settings import Settings

ANSWER_BYTES_MAX: Final = 65_536
REASON_CHARACTERS_MAX: Final = 256
ALLOW: Final = "allow"
DENY: Final = "deny"
IGNORE: Final = "ignore"
REFUSING: Final = (401, 403)  # a server that says no by its status


class Answer(msgspec.Struct):
    """What the hook answers; what it adds besides is ignored."""

    result: str = DENY
    results: list[str] | None = None
    username: str | None = None
    expires_in_s: float = 0.0
    reason: str | None = None


class Hook:
    """The server and how to reach it. Each worker thread keeps a connection of its own."""

    def __init__(self, url: str, timeout_s: float, token: str, where: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            remedy = "Give a URL such as https://auth.example.com/mqtt"
            raise SettingsError("access.http_url", f"{url} is no http or https URL", remedy, where)
        self.url = url
        self.secure = parts.scheme == "https"
        self.host = parts.hostname
        self.port = parts.port
        self.path = (parts.path or "/") + ("?" + parts.query if parts.query else "")
        self.timeout_s = timeout_s
        self.headers = {"Content-Type": "application/json", "User-Agent": "swellmq"}
        if token:
            self.headers["Authorization"] = "Bearer " + token
        self.context = ssl.create_default_context() if self.secure else None
        self.local = threading.local()

    def ask(self, question: dict[str, object]) -> Answer:
        """Put a question and wait for the answer; raises ProviderError where there is none that can be used."""
        body = msgspec.json.encode(question)
        until = time.monotonic() + self.timeout_s
        kept: http.client.HTTPConnection | None = getattr(self.local, "connection", None)
        if kept is not None:
            try:
                return self.exchange(kept, body, until)
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                self.drop()  # it was closed while it was idle: a new one is tried once
            except (OSError, http.client.HTTPException) as error:
                self.drop()
                raise ProviderError(str(error) or type(error).__name__) from None
        try:
            return self.exchange(self.connect(until), body, until)
        except (OSError, http.client.HTTPException) as error:
            self.drop()
            raise ProviderError(str(error) or type(error).__name__) from None

    def connect(self, until: float) -> http.client.HTTPConnection:
        timeout = max(0.001, until - time.monotonic())
        if self.context is not None:
            made: http.client.HTTPConnection = http.client.HTTPSConnection(
                self.host, self.port, timeout=timeout, context=self.context
            )
        else:
            made = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        self.local.connection = made
        return made

    def drop(self) -> None:
        """Close this thread's connection."""
        self.local.connection.close()
        self.local.connection = None

    def exchange(self, connection: http.client.HTTPConnection, body: bytes, until: float) -> Answer:
        """One request and its answer on a connection."""
        if connection.sock is not None:
            connection.sock.settimeout(max(0.001, until - time.monotonic()))
        connection.request("POST", self.path, body, self.headers)
        response = connection.getresponse()
        pieces: list[bytes] = []
        size = 0
        while piece := response.read1(ANSWER_BYTES_MAX):
            pieces.append(piece)
            size += len(piece)
            if size > ANSWER_BYTES_MAX or time.monotonic() > until:
                self.drop()
                raise ProviderError("an answer that is too long or too slow")
        response.close()  # the connection stays: read1() leaves it to us to say that the answer is read
        if response.status in REFUSING:
            return Answer()
        if response.status != 200:
            raise ProviderError(f"status {response.status}")
        try:
            return msgspec.json.decode(b"".join(pieces), type=Answer)
        except msgspec.MsgspecError as error:
            raise ProviderError(f"no answer as it should be: {error}") from None


def make_hook(settings: Settings) -> Hook:
    """The hook that the settings name; raises SettingsError where its URL or its token can't be used."""
    token = ""
    if settings.access_http_token_file:
        where = settings.where("access.http_token_file")
        try:
            with open(settings.access_http_token_file, encoding="ascii") as file:
                token = file.read().strip()
        except (OSError, ValueError) as error:
            problem = error.strerror if isinstance(error, OSError) and error.strerror else "not text in ASCII"
            text = f"{settings.access_http_token_file} can't be read: {problem}"
            raise SettingsError("access.http_token_file", text, "Give the path of the token", where) from None
    timeout_s = settings.access_http_timeout_ms / 1000
    return Hook(settings.access_http_url, timeout_s, token, settings.where("access.http_url"))


def in_few_words(reason: str | None) -> str | None:
    """A reason as it fits into a Reason String."""
    if reason is None:
        return None
    return reason[:REASON_CHARACTERS_MAX].encode(errors="replace").decode().replace("\0", "")


class HttpProvider(Provider):
    """Asks the hook who may come in."""

    def __init__(self, hook: Hook) -> None:
        super().__init__("http hook")
        self.waits = True
        self.hook = hook

    def describe(self) -> str:
        return f"http hook: {self.hook.url}"

    def check(self, login: Login) -> Verdict | None:
        answer = self.hook.ask(
            {
                "question": "connect",
                "client_id": login.client_id,
                "username": login.username,
                "password": login.password.decode(errors="replace"),
                "address": login.address,
            }
        )
        if answer.result == IGNORE:
            return None
        if answer.result != ALLOW:
            return wrong_password(in_few_words(answer.reason))
        if answer.username is not None and not usable_name(answer.username):
            raise ProviderError("a user name that MQTT can't carry")
        expires_at_s = time.time() + answer.expires_in_s if answer.expires_in_s > 0 else 0.0
        return Verdict(0, answer.username, expires_at_s)


class HttpAuthorizer(Authorizer):
    """Asks the hook what clients may do."""

    def __init__(self, hook: Hook, publish: bool, subscribe: bool) -> None:
        super().__init__(publish, subscribe)
        self.hook = hook

    def check(self, ask: Ask) -> list[int]:
        question: dict[str, object] = {
            "question": "publish" if ask.publishes else "subscribe",
            "client_id": ask.client_id,
            "username": ask.username,
            "topics": [topic.decode() for topic in ask.topics],
        }
        if ask.publishes:
            question |= {"qos": ask.qos, "retain": ask.retain}
        answer = self.hook.ask(question)
        results = answer.results if answer.results is not None else [answer.result] * len(ask.topics)
        if len(results) != len(ask.topics):
            raise ProviderError(f"{len(results)} results for {len(ask.topics)} topics")
        return [0 if result == ALLOW else NOT_AUTHORIZED for result in results]
