"""The door: an Access that asks identity providers in their order; the first that knows the user decides.

Every login goes through the chain in the loop's thread; what takes time (a hash, a server) is a job for a worker
thread, and its client is parked meanwhile. The queues of the workers are bounded: past the bound a client is told to
come back later, so that a storm of logins costs those who are connected nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final, final

from mypy_extensions import mypyc_attr

from swellmq.access.password_file import PasswordFile, differences
from swellmq.access.peer import address_of, is_local
from swellmq.access.provider import Login, Provider, Verdict
from swellmq.access.remembered import Remembered
from swellmq.access.rules import Rules
from swellmq.access.workers import Workers
from swellmq.broker.access import AUTHENTICATE, EXCHANGE, TAKE_OVER, Access, Request
from swellmq.codec.spec import (
    BAD_USER_NAME_OR_PASSWORD,
    NOT_AUTHORIZED,
    QUOTA_EXCEEDED,
    SERVER_UNAVAILABLE,
    UNSPECIFIED_ERROR,
)
from swellmq.connection import Connection
from swellmq.errors import printable

log: Final = logging.getLogger("swellmq.access")

# Who may come in without saying who it is.
NOBODY: Final = "no"
LOCAL: Final = "loopback"
ANYBODY: Final = "yes"

BUSY: Final = "too many clients are logging in, come back later"
UNKNOWN: Final = "bad user name or password"
WHO_ARE_YOU: Final = "this broker wants to know who you are"
BROKEN: Final = "the server can't tell who you are"


@final
@mypyc_attr(native_class=True)
class Attempt:
    """One login on its way along the providers."""

    def __init__(self, request: Request, login: Login) -> None:
        self.request = request
        self.login = login
        self.next = 0  # index of the provider that is asked next
        self.question = b""  # what its verdict is remembered under; b"": not at all
        self.hashed = False  # a password was hashed for it, or as long as that takes was spent


@mypyc_attr(native_class=True, allow_interpreted_subclasses=True)
class Door(Access):
    """Who may come in. `computing` hashes, `asking` waits for other servers."""

    def __init__(
        self,
        providers: list[Provider],
        anonymous: str,
        computing: Workers,
        asking: Workers,
        remembered: Remembered,
    ) -> None:
        super().__init__()
        self.authenticates = True
        self.providers = providers
        self.methods: dict[str, Access] = {}  # who takes the steps of an enhanced authentication
        self.anonymous = anonymous
        self.expelled: set[str] = set()  # users that are gone, or have another password, since the last change
        self.computing = computing
        self.asking = asking
        self.remembered = remembered
        self.logins_accepted = 0
        self.logins_refused = 0
        self.logins_put_off = 0  # there was no place in the queue
        # Until the broker is there that asks, nobody waits for an answer.
        self.call: Callable[[Callable[[], None]], None] | None = None
        self.resume: Callable[[int, int], object] | None = None
        self.deciding = False  # within `decide` an answer needs no `resume`

    def offer(self, methods: dict[str, Access]) -> None:
        """Set who takes the steps of which method of enhanced authentication."""
        self.methods = methods
        self.authentication_methods = list(methods)

    def attach(self, call: Callable[[Callable[[], None]], None], resume: Callable[[int, int], object]) -> None:
        """Join it to its broker: `call` runs a function in the loop's thread, `resume` answers a question there."""
        self.call = call
        self.resume = resume

    def describe(self) -> list[str]:
        """Who may come in, a line each, for the operator."""
        who = {NOBODY: "nobody", LOCAL: "clients of this machine", ANYBODY: "anybody"}[self.anonymous]
        lines = [*(provider.describe() for provider in self.providers), f"without a user name: {who}"]
        rights = self.rights
        lines.append(rights.describe() if isinstance(rights, Rules) else "what they may do: everything")
        return lines

    def change(self, providers: list[Provider], methods: dict[str, Access], anonymous: str) -> list[str]:
        """Take other providers; who was let in by what is no longer so is not welcome. What has changed, in words."""
        lines: list[str] = []
        self.expelled = set()
        for old in self.providers:
            if isinstance(old, PasswordFile):
                new = next((one for one in providers if isinstance(one, PasswordFile)), PasswordFile({}))
                added, removed, changed = differences(old, new)
                self.expelled = removed | changed
                if added or self.expelled:
                    lines.append(
                        f"users: {len(added)} added, {len(removed)} removed, {len(changed)} with a new password"
                    )
        self.providers = providers
        self.offer(methods)
        self.anonymous = anonymous
        self.remembered.forget()
        return lines

    def welcomes(self, connection: Connection, username: str | None) -> bool:
        if username is None:
            return self.admits_nameless(address_of(connection))
        return username not in self.expelled

    def admits_nameless(self, address: str) -> bool:
        """Whether a client at an address may come in without a user name."""
        return self.anonymous == ANYBODY or (self.anonymous == LOCAL and is_local(address))

    def close(self) -> None:
        """End the worker threads."""
        self.computing.close()
        self.asking.close()

    def decide(self, requests: list[Request]) -> None:
        self.deciding = True
        try:
            for request in requests:
                if request.kind == AUTHENTICATE or request.kind == TAKE_OVER:
                    self.begin(request)
                elif request.kind == EXCHANGE:
                    self.exchange(request)
                else:
                    request.answer(0)
        finally:
            self.deciding = False

    def exchange(self, request: Request) -> None:
        """Have a step of an enhanced authentication taken, and count how it ends."""
        exchange = request.exchange
        assert exchange is not None
        method = self.methods.get(exchange.method)
        if method is None:  # it was offered when the client began
            request.answer(NOT_AUTHORIZED)
        else:
            method.decide([request])
        if request.result == 0:
            self.logins_accepted += 1
        elif request.result >= UNSPECIFIED_ERROR:
            self.logins_refused += 1

    # A login

    def begin(self, request: Request) -> None:
        """A client has sent CONNECT: ask whoever knows it."""
        connect = request.connect
        assert connect is not None
        login = Login(request.client_id, connect.username, connect.password, address_of(request.connection))
        if login.anonymous():
            allowed = self.admits_nameless(login.address)
            self.finish(request, login, Verdict(0 if allowed else NOT_AUTHORIZED, reason_string=WHO_ARE_YOU))
        elif not self.providers:
            self.finish(request, login, Verdict(0))  # nobody is there who could check a name
        else:
            self.go_on(Attempt(request, login))

    def go_on(self, attempt: Attempt) -> None:
        """Ask the next provider that can say anything about the login; refuse it after the last one."""
        login = attempt.login
        while attempt.next < len(self.providers):
            provider = self.providers[attempt.next]
            attempt.next += 1
            if provider.knows(login):
                self.ask(attempt, provider)
                return
        if not attempt.hashed:
            for provider in self.providers:
                if isinstance(provider, PasswordFile):
                    self.ask(attempt, provider)  # a name it does not know: refused as late as one that it knows
                    return
        self.finish(attempt.request, login, Verdict(BAD_USER_NAME_OR_PASSWORD))

    def ask(self, attempt: Attempt, provider: Provider) -> None:
        """Have a worker find the provider's verdict, unless it was found lately."""
        login = attempt.login
        attempt.hashed = attempt.hashed or isinstance(provider, PasswordFile)
        attempt.question = b""
        if self.remembered.keep_ms > 0:
            parts = [provider.name.encode(), login.client_id.encode(), (login.username or "").encode(), login.password]
            attempt.question = self.remembered.question(parts)
            known = self.remembered.find(attempt.question, milliseconds())
            if known is not None:
                self.finish(attempt.request, login, known)
                return
        workers = self.asking if provider.waits else self.computing
        if not workers.submit(lambda: self.work(attempt, provider)):
            self.logins_put_off += 1
            self.finish(attempt.request, login, Verdict(QUOTA_EXCEEDED, reason_string=BUSY))

    def work(self, attempt: Attempt, provider: Provider) -> None:
        """In a worker thread: find the verdict, and bring it to the loop."""
        try:
            verdict = provider.check(attempt.login)
        except Exception:
            log.exception("%s failed to check a login", provider.name)
            verdict = Verdict(SERVER_UNAVAILABLE, reason_string=BROKEN)
        call = self.call
        assert call is not None
        call(lambda: self.checked(attempt, verdict))

    def checked(self, attempt: Attempt, verdict: Verdict | None) -> None:
        """Back in the loop: a provider has found its verdict."""
        if verdict is None:
            self.go_on(attempt)
            return
        if verdict.reason_code == 0 and attempt.question and not verdict.expires_at_s:
            self.remembered.keep(attempt.question, verdict, milliseconds())
        self.finish(attempt.request, attempt.login, verdict)

    def finish(self, request: Request, login: Login, verdict: Verdict) -> None:
        """Answer the question about a login."""
        code = verdict.reason_code
        if code == 0:
            self.logins_accepted += 1
            if verdict.username is not None:
                request.username = verdict.username
        else:
            self.logins_refused += 1
            request.reason_string = verdict.reason_string or UNKNOWN
            if log.isEnabledFor(20):
                log.info("client %s from %s is refused: %s", name_of(login), login.address, request.reason_string)
        self.reply(request, code)

    def reply(self, request: Request, code: int) -> None:
        """Answer a question, within `decide` or after it."""
        request.answer(code)
        if not self.deciding:
            assert self.resume is not None
            self.resume(request.token, code)

    def statistics(self) -> dict[str, int]:
        """Counters of logins, and how many wait."""
        return {
            "logins_accepted": self.logins_accepted,
            "logins_refused": self.logins_refused,
            "logins_put_off": self.logins_put_off,
            "logins_waiting": self.computing.waiting() + self.asking.waiting(),
            "logins_remembered": len(self.remembered),
        }


def milliseconds() -> int:
    """Monotonic milliseconds, for what is remembered."""
    return time.monotonic_ns() // 1_000_000


def name_of(login: Login) -> str:
    """A login as it may stand in a log line."""
    return printable(login.client_id if login.username is None else f"{login.client_id} (user {login.username})")
