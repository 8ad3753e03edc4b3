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

from swellmq.access.guard import Guard
from swellmq.access.password_file import PasswordFile, differences
from swellmq.access.provider import Ask, Authorizer, Login, Provider, ProviderError, Verdict, wrong_password
from swellmq.access.remembered import Remembered
from swellmq.access.rules import Rules
from swellmq.access.workers import Workers
from swellmq.broker.access import AUTHENTICATE, EXCHANGE, TAKE_OVER, Access, Exchange, Request, Rights
from swellmq.broker.broker import MqttBroker
from swellmq.codec.packets import Publish
from swellmq.codec.spec import NOT_AUTHORIZED, QUOTA_EXCEEDED, SERVER_UNAVAILABLE, UNSPECIFIED_ERROR
from swellmq.connection import Connection
from swellmq.errors import printable

log: Final = logging.getLogger("swellmq.access")

# Who may come in without saying who it is.
NOBODY: Final = "no"
LOCAL: Final = "loopback"
ANYBODY: Final = "yes"

COMPLAIN_EVERY_S: Final = 1.0
REMEMBERED_TOPICS: Final = 64  # of one question; what is asked about more is a list too long to be kept

BUSY: Final = "too many clients are logging in, come back later"
LEASE_S_MAX: Final = 315_360_000.0  # ten years; a token may name any number

NO_WILL: Final = Verdict(NOT_AUTHORIZED, reason_string="a will that access control does not allow")
TOKEN_METHOD: Final = "JWT"  # a method of enhanced authentication

UNKNOWN: Final = "bad user name or password"
WHO_ARE_YOU: Final = "this broker wants to know who you are"
BROKEN: Final = "the server can't tell who you are"


@final
@mypyc_attr(native_class=True)
class Entrance:
    """Who may come in by the listeners that have nothing of their own, or by one that has.

    `name` tells apart what is remembered of logins at different entrances.
    """

    def __init__(self, providers: list[Provider], anonymous: str, name: str = "") -> None:
        self.providers = providers
        self.anonymous = anonymous
        self.name = name
        self.methods: dict[str, Access] = {}  # who takes the steps of an enhanced authentication
        self.expelled: set[str] = set()  # users that are gone, or have another password, since the last change

    def offered(self) -> list[str]:
        """The methods of enhanced authentication that may be used here."""
        return [*self.methods, *(provider.method for provider in self.providers if provider.method)]

    def follow(self, old: Entrance) -> str:
        """Stand where another one was; who was let in by what is no longer so is not welcome. What has changed, in
        words."""
        line = ""
        for before in old.providers:
            if isinstance(before, PasswordFile):
                file = next((one for one in self.providers if isinstance(one, PasswordFile)), PasswordFile({}))
                added, removed, changed = differences(before, file)
                self.expelled = removed | changed
                if added or self.expelled:
                    line = f"users: {len(added)} added, {len(removed)} removed, {len(changed)} with a new password"
        return line


@final
@mypyc_attr(native_class=True)
class Attempt:
    """One login on its way along the providers of an entrance."""

    def __init__(self, request: Request, login: Login, entrance: Entrance) -> None:
        self.request = request
        self.login = login
        self.entrance = entrance
        self.next = 0  # index of the provider that is asked next
        self.question = b""  # what its verdict is remembered under; b"": not at all
        self.hashed = False  # a password was hashed for it, or as long as that takes was spent


@mypyc_attr(native_class=True, allow_interpreted_subclasses=True)
class Door(Access):
    """Who may come in. `computing` hashes, `asking` waits for other servers. `own` has the entrances of listeners that
    differ, by their index."""

    def __init__(
        self,
        providers: list[Provider],
        anonymous: str,
        computing: Workers,
        asking: Workers,
        remembered: Remembered,
        guard: Guard,
    ) -> None:
        super().__init__()
        self.authenticates = True
        self.usual = Entrance(providers, anonymous)
        self.own: dict[int, Entrance] = {}
        self.authorizer: Authorizer | None = None
        self.computing = computing
        self.asking = asking
        self.remembered = remembered
        self.set_guard(guard)
        self.logins_accepted = 0
        self.logins_refused = 0
        self.logins_abandoned = 0  # the client had left before the answer was found
        self.logins_put_off = 0  # there was no place in the queue
        self.questions_put_off = 0  # the same for what clients wanted to do
        # Until the broker is there that asks, nobody waits for an answer.
        self.call: Callable[[Callable[[], None]], None] | None = None
        self.broker: MqttBroker | None = None
        self.complain_at_s = 0.0  # when it may next be logged that there was no answer
        self.deciding = False  # within `decide` an answer needs no `resume`

    def take_authorizer(self, authorizer: Authorizer | None) -> None:
        """Ask `authorizer` what clients may do, besides the rules there are; None: nobody."""
        self.authorizer = authorizer
        self.authorizes_publish = authorizer is not None and authorizer.publish
        self.authorizes_subscribe = authorizer is not None and authorizer.subscribe

    def entrance(self, connection: Connection) -> Entrance:
        """The entrance that a connection has to pass."""
        return self.own.get(int(connection.listener), self.usual)

    def offer(self) -> None:
        """Let clients use the methods of enhanced authentication that some entrance has."""
        offered = dict.fromkeys(method for one in (self.usual, *self.own.values()) for method in one.offered())
        self.authentication_methods = list(offered)

    def attach(self, call: Callable[[Callable[[], None]], None], broker: MqttBroker) -> None:
        """Join it to its broker; `call` runs a function in the loop's thread."""
        self.call = call
        self.broker = broker

    def set_guard(self, guard: Guard) -> None:
        """Go by another guard, with no bans and counts of its own yet."""
        self.guard = guard
        self.follows_connections = guard.counts_connections()

    def address_of(self, connection: Connection) -> str:
        """Where a client comes from; "" for a Unix socket."""
        return "" if self.broker is None else self.broker.core.peers.address(connection)

    def on_left(self, connection: Connection) -> None:
        self.guard.leave(connection)

    def describe(self) -> list[str]:
        """Who may come in, a line each, for the operator."""
        lines = describe(self.usual, self.rights)
        told: set[tuple[int, int]] = set()  # the addresses of one listener share what it has
        for index in sorted({*self.own, *self.rights_at}):
            entrance, rights = self.own.get(index, self.usual), self.rights_at.get(index, self.rights)
            if (id(entrance), id(rights)) not in told:
                told.add((id(entrance), id(rights)))
                lines += [f"listener {index + 1}: {line}" for line in describe(entrance, rights)]
        return lines + self.guard.describe()

    def change(self, usual: Entrance, own: dict[int, Entrance]) -> list[str]:
        """Take other entrances, of the same listeners as before. What has changed, in words."""
        lines = [usual.follow(self.usual)]
        for index in self.own:
            if index not in own:  # it is as most are from now on, but who came in by it was known by something else
                own[index] = Entrance(usual.providers, usual.anonymous)
                own[index].methods = usual.methods
        for index, entrance in own.items():
            lines.append(entrance.follow(self.own.get(index, self.usual)))
        self.usual, self.own = usual, own
        self.offer()
        self.remembered.forget()
        return list(dict.fromkeys(line for line in lines if line))  # the addresses of one listener have changed alike

    def welcomes(self, connection: Connection, username: str | None) -> bool:
        if connection.identity() is not None:
            return True
        entrance = self.entrance(connection)
        if username is None or not entrance.providers:
            return self.admits_nameless(entrance, self.address_of(connection))
        return username not in entrance.expelled

    def admits_nameless(self, entrance: Entrance, address: str) -> bool:
        """Whether a client at an address may come in without a user name."""
        who = entrance.anonymous
        return who == ANYBODY or (who == LOCAL and is_local(address))

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
                elif self.authorizer is not None:
                    self.authorize(self.authorizer, request)
                else:
                    request.answer(0)
        finally:
            self.deciding = False

    def exchange(self, request: Request) -> None:
        """Have a step of an enhanced authentication taken, and count how it ends."""
        exchange = request.exchange
        assert exchange is not None
        if exchange.steps == 1 and request.connect is not None:
            address = self.address_of(request.connection)
            barred = self.guard.greet(address, "" if request.connect.assigned else request.client_id, milliseconds())
            if barred is not None:
                self.finish(request, Login(request.client_id, None, None, address), barred)
                return
        if exchange.method == TOKEN_METHOD:
            self.take_token(request, exchange)
            return
        method = self.entrance(request.connection).methods.get(exchange.method)
        if method is None:  # it was offered when the client began, or is at another listener
            request.answer(NOT_AUTHORIZED)
        else:
            method.decide([request])
        if request.result == 0 or request.result >= UNSPECIFIED_ERROR:
            login = Login(request.client_id, request.username, None, self.address_of(request.connection))
            verdict = Verdict(request.result, request.username, reason_string=request.reason_string)
            verdict.is_guess = request.result != 0
            self.finish(request, login, verdict)

    def take_token(self, request: Request, exchange: Exchange) -> None:
        """The data of the one step of the method JWT is a token."""
        login = Login(request.client_id, None, exchange.data, self.address_of(request.connection))
        entrance = self.entrance(request.connection)
        for provider in entrance.providers:
            if provider.method == TOKEN_METHOD and provider.knows(login):
                attempt = Attempt(request, login, entrance)
                attempt.next = len(entrance.providers)
                attempt.hashed = True  # there is nobody who could be asked about a password
                self.ask(attempt, provider)
                return
        self.finish(request, login, Verdict(NOT_AUTHORIZED))

    def complain(self, text: str, who: str, error: Exception) -> None:
        """Log that somebody gave no answer; not once for each client that it is asked about."""
        now_s = time.monotonic()
        if now_s >= self.complain_at_s:
            self.complain_at_s = now_s + COMPLAIN_EVERY_S
            log.warning(text, who, error)

    # What a client may do

    def authorize(self, authorizer: Authorizer, request: Request) -> None:
        """Have a worker ask about a PUBLISH or a SUBSCRIBE, unless the answer is known."""
        ask = make_ask(request)
        self.put(authorizer, ask, lambda codes: self.authorized(request, ask, codes))

    def put(self, authorizer: Authorizer, ask: Ask, then: Callable[[list[int]], None]) -> None:
        """Have a worker ask, and call `then` with a reason code for each topic, at once or later."""
        parts = [b"publish" if ask.publishes else b"subscribe", ask.client_id.encode(), (ask.username or "").encode()]
        parts.append(bytes([ask.qos, ask.retain]))
        question = self.remembered.question(parts + ask.topics)
        known = self.remembered.find(question, milliseconds())
        if known is not None:
            then(known.codes)
        elif not self.asking.submit(lambda: self.work_authorize(authorizer, ask, question, then)):
            self.questions_put_off += 1
            then([QUOTA_EXCEEDED] * len(ask.topics))

    def work_authorize(
        self, authorizer: Authorizer, ask: Ask, question: bytes, then: Callable[[list[int]], None]
    ) -> None:
        """In a worker thread: ask, and bring the answer to the loop; where there is none, it is no."""
        verdict: Verdict | None = Verdict(0)
        codes = [NOT_AUTHORIZED] * len(ask.topics)
        try:
            codes = authorizer.check(ask)
        except Exception as error:
            self.complain("no answer about what client %s may do: %s", printable(ask.client_id), error)
            verdict = None
        call = self.call
        assert call is not None
        call(lambda: self.answered(question, codes, verdict, then))

    def answered(
        self, question: bytes, codes: list[int], verdict: Verdict | None, then: Callable[[list[int]], None]
    ) -> None:
        """Back in the loop: the answer about what a client may do, and what it is remembered as."""
        if verdict is not None and self.remembered.keep_ms > 0 and len(codes) <= REMEMBERED_TOPICS:
            verdict.codes = codes
            self.remembered.keep(question, verdict, milliseconds())
        then(codes)

    def authorized(self, request: Request, ask: Ask, codes: list[int]) -> None:
        """Answer a question about what a client may do."""
        if ask.publishes:
            self.reply(request, codes[0])
        else:
            request.verdicts = codes
            self.reply(request, 0)

    # A login

    def begin(self, request: Request) -> None:
        """A client has sent CONNECT: ask whoever knows it."""
        connect = request.connect
        assert connect is not None
        login = Login(request.client_id, connect.username, connect.password, self.address_of(request.connection))
        barred = self.guard.greet(login.address, "" if connect.assigned else login.client_id, milliseconds())
        if barred is not None:
            self.finish(request, login, barred)
            return
        entrance = self.entrance(request.connection)
        if request.connection.identity() is not None:
            self.finish(request, login, Verdict(0))  # a certificate says who it is
        elif login.anonymous() or not entrance.providers:  # a name that nobody can check is none
            allowed = self.admits_nameless(entrance, login.address)
            self.finish(request, login, Verdict(0 if allowed else NOT_AUTHORIZED, reason_string=WHO_ARE_YOU))
        else:
            self.go_on(Attempt(request, login, entrance))

    def go_on(self, attempt: Attempt) -> None:
        """Ask the next provider that can say anything about the login; refuse it after the last one."""
        login = attempt.login
        providers = attempt.entrance.providers
        while attempt.next < len(providers):
            provider = providers[attempt.next]
            attempt.next += 1
            if provider.knows(login):
                self.ask(attempt, provider)
                return
        if not attempt.hashed:
            for provider in providers:
                if isinstance(provider, PasswordFile):
                    self.ask(attempt, provider)  # a name it does not know: refused as late as one that it knows
                    return
        self.finish(attempt.request, login, wrong_password())

    def ask(self, attempt: Attempt, provider: Provider) -> None:
        """Have a worker find the provider's verdict, unless it was found lately."""
        login = attempt.login
        attempt.hashed = attempt.hashed or isinstance(provider, PasswordFile)
        attempt.question = b""
        if self.remembered.keep_ms > 0:
            parts = [attempt.entrance.name, provider.name, login.client_id, login.username or ""]
            attempt.question = self.remembered.question([*(part.encode() for part in parts), login.password])
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
        except ProviderError as error:
            self.complain("%s can't check a login: %s", provider.name, error)
            verdict = Verdict(SERVER_UNAVAILABLE, reason_string=BROKEN)
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
        """What is to say about a login is found: it is let in if its will may be left and there is a place for it."""
        connect = request.connect
        authorizer = self.authorizer
        if verdict.reason_code == 0 and authorizer is not None and authorizer.publish:
            if connect is not None and connect.will is not None:
                username = verdict.username or request.username
                ask = ask_about(request.client_id, username, connect.will.publish)
                self.put(
                    authorizer, ask, lambda codes: self.conclude(request, login, verdict if not codes[0] else NO_WILL)
                )
                return
        self.conclude(request, login, verdict)

    def conclude(self, request: Request, login: Login, verdict: Verdict) -> None:
        """Answer the question about a login, if its client is still there."""
        if request.connection.question is not request:
            self.logins_abandoned += 1  # and its connection may be another client's by now
            return
        if verdict.reason_code == 0 and request.kind != TAKE_OVER:
            if request.connect is not None:
                verdict = self.enter(request, login.address, verdict.username or request.username) or verdict
            elif verdict.username != request.username:
                verdict = Verdict(NOT_AUTHORIZED)  # it has authenticated again, but the session is another's
        code = verdict.reason_code
        if code == 0:
            self.logins_accepted += 1
            if verdict.username is not None:
                request.username = verdict.username
            if verdict.expires_at_s:
                left_s = min(max(verdict.expires_at_s - time.time(), 0.001), LEASE_S_MAX)
                request.lasts_ms = int(left_s * 1000)
        else:
            self.logins_refused += 1
            if verdict.is_guess and self.guard.fail(login.address, milliseconds()):
                log.warning("%s is banned for failed logins, the last one of client %s", login.address, name_of(login))
            request.reason_string = verdict.reason_string or UNKNOWN
        self.reply(request, code)

    def reply(self, request: Request, code: int) -> None:
        """Answer a question, within `decide` or after it."""
        request.answer(code)
        if not self.deciding:
            assert self.broker is not None
            self.broker.resume(request.token, code)

    def enter(self, request: Request, address: str, username: str | None) -> Verdict | None:
        """A client is known: let it in, or say why there is no place for it."""
        old: Connection | None = None
        if self.broker is not None:
            session = self.broker.core.session(request.client_id)
            old = session.connection if session is not None else None
        return self.guard.enter(request.connection, address, username, old)

    def statistics(self) -> dict[str, int]:
        """Counters of logins, and how many wait."""
        return {
            "logins_accepted": self.logins_accepted,
            "logins_refused": self.logins_refused,
            "logins_abandoned": self.logins_abandoned,
            "logins_put_off": self.logins_put_off,
            "questions_put_off": self.questions_put_off,
            "logins_waiting": self.computing.waiting() + self.asking.waiting(),
            "logins_remembered": len(self.remembered),
            **self.guard.statistics(),
        }


def describe(entrance: Entrance, rights: Rights | None) -> list[str]:
    """Who may come in by an entrance, and what they may do, a line each."""
    who = {NOBODY: "nobody", LOCAL: "clients of this machine", ANYBODY: "anybody"}[entrance.anonymous]
    lines = [*(provider.describe() for provider in entrance.providers), f"without a user name: {who}"]
    lines.append(rights.describe() if isinstance(rights, Rules) else "what they may do: everything")
    return lines


def make_ask(request: Request) -> Ask:
    """What a client wants to do, out of the broker's question."""
    if request.publish is not None:
        return ask_about(request.client_id, request.username, request.publish)
    assert request.subscribe is not None
    topics = [one.topic_filter for one in request.subscribe.requests]
    return Ask(request.client_id, request.username, False, topics)


def ask_about(client_id: str, username: str | None, publish: Publish) -> Ask:
    """A client wants to publish this message, or leave it as its will."""
    ask = Ask(client_id, username, True, [publish.topic_name])
    ask.qos = int(publish.qos)
    ask.retain = publish.retain
    return ask


def is_local(address: str) -> bool:
    """Whether a client with this address is on this machine; one on a Unix socket is."""
    return address == "" or address == "::1" or address.startswith("127.")


def milliseconds() -> int:
    """Monotonic milliseconds, for what is remembered."""
    return time.monotonic_ns() // 1_000_000


def name_of(login: Login) -> str:
    """A login as it may stand in a log line."""
    return printable(login.client_id if login.username is None else f"{login.client_id} (user {login.username})")
