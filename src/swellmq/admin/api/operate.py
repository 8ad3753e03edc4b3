"""What an operator does to a running broker: reload, how much is logged, bans; and the logins of browsers."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator
from contextlib import suppress
from datetime import datetime
from ipaddress import ip_address
from typing import Annotated, Final, Literal

import msgspec

from swellmq.access.guard import Guard, short_key
from swellmq.admin.answer import ApiError, Response
from swellmq.admin.api.clients import disconnect_session
from swellmq.admin.api.overview import moment
from swellmq.admin.route import Request, Route, Walk
from swellmq.admin.walk import PageQuery, all_keys, cut, smallest
from swellmq.errors import SettingsError
from swellmq.logs import severity
from swellmq.reload import change
from swellmq.server import Server

YEAR_S: Final = 31_536_000

LogLevel = Literal["debug", "info", "warning", "error", "none"]


class Reloaded(msgspec.Struct):
    """What a reload has changed, a line each."""

    changes: list[str]


class Logging(msgspec.Struct, forbid_unknown_fields=True):
    """The least severity that is logged."""

    level: LogLevel


class Ban(msgspec.Struct):
    """Who has to wait outside: an address or a client id, and until when."""

    kind: Literal["address", "client_id"]
    value: str
    until: datetime


class BanPage(msgspec.Struct):
    """Bans that hold, by kind and value; those of a flood may be tens of thousands."""

    items: list[Ban]
    next: str | None


class BanBody(msgspec.Struct, forbid_unknown_fields=True):
    """Who is to be banned for how long; without `seconds` as long as `access.ban_s` says."""

    kind: Literal["address", "client_id"]
    value: Annotated[str, msgspec.Meta(min_length=1, max_length=65_535)]
    seconds: Annotated[int, msgspec.Meta(ge=1, le=YEAR_S)] | None = None
    disconnect: bool = True


class BanQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Whose ban ends."""

    kind: Annotated[Literal["address", "client_id"], msgspec.Meta(description="What is banned.")]
    value: Annotated[str, msgspec.Meta(min_length=1, description="The address or the client id.")]


class Banned(msgspec.Struct):
    """A new ban, and how many clients were disconnected for it."""

    ban: Ban
    disconnected: int


class LoginBody(msgspec.Struct, forbid_unknown_fields=True):
    """The secret of a browser's user."""

    token: Annotated[str, msgspec.Meta(max_length=4_096)]


def reload(server: Server) -> Reloaded:
    """Read settings and the files they name again, as on SIGHUP: all of it, or nothing where something is wrong."""
    try:
        return Reloaded(change(server))
    except SettingsError as error:
        raise ApiError(409, "reload_failed", f"nothing has changed: {error}") from None


def log_level() -> Logging:
    """The least severity that is logged."""
    number = logging.getLogger("swellmq").getEffectiveLevel()
    names: tuple[LogLevel, ...] = ("debug", "info", "warning", "error")
    for name in names:
        if number <= severity(name):
            return Logging(name)
    return Logging("none")


def set_log_level(body: Logging) -> Logging:
    """Log more or less from now on, until the next start or reload."""
    logging.getLogger("swellmq").setLevel(severity(body.level))
    return log_level()


def bans(server: Server, query: PageQuery) -> Generator[None, None, BanPage]:
    """Who is banned now."""
    if server.door is None:
        return BanPage([], None)
    guard = server.door.guard
    now_ms = milliseconds()
    keys, more = yield from smallest(
        cut(list(guard.bans)), query.after, query.limit, lambda key: guard.bans.get(key, 0) > now_ms
    )
    items: list[Ban] = []
    for number, key in enumerate(keys):
        if key in guard.bans:
            items.append(_describe(server, key, guard.bans[key]))
        if number % 32 == 31:
            yield
    return BanPage(items, keys[-1] if more else None)


def add_ban(server: Server, body: BanBody) -> Walk[Banned]:
    """Ban an address or a client id, and disconnect who is here."""
    guard = _guard(server)
    value = body.value
    if body.kind == "address":
        try:
            value = _address(value)
        except ValueError:
            raise ApiError(422, "bad_body", "not an address") from None
    key = _key(body.kind, value)
    length_ms = body.seconds * 1_000 if body.seconds is not None else int(guard.settings.ban_ms)
    guard.ban(key, milliseconds(), length_ms)
    kept = short_key(key)
    ban = _describe(server, kept, guard.bans[kept])
    disconnected = 0
    if body.disconnect and body.kind == "client_id":
        disconnected = int(disconnect_session(server, value))
    elif body.disconnect:
        disconnected = yield from _disconnect_address(server, value)
    return Banned(ban, disconnected)


def end_ban(server: Server, query: BanQuery) -> None:
    """End a ban."""
    value = query.value
    if query.kind == "address":
        with suppress(ValueError):
            value = _address(value)
    bans, key = _guard(server).bans, _key(query.kind, value)
    if bans.pop(key, None) is None and bans.pop(short_key(key), None) is None:  # a long one as it is listed, or whole
        raise ApiError(404, "no_such_ban", "there is no such ban")


def _address(text: str) -> str:
    """An address as those of connections are told. Raises ValueError where it is none."""
    address = ip_address(text)
    return str((address.version == 6 and address.ipv4_mapped) or address)


def _disconnect_address(server: Server, address: str) -> Generator[None, None, int]:
    core = server.broker.core
    count = 0
    for keys in all_keys(core.sessions):
        for number, key in enumerate(keys):
            session = core.sessions.get(key)
            if session is not None and session.connection is not None:
                if core.peers.address(session.connection) == address:
                    count += disconnect_session(server, session.client_id)
            if number % 32 == 31:
                yield
    return count


def _guard(server: Server) -> Guard:
    if server.door is None:
        message = (
            "this broker lets everybody in without a look at them: any setting of [access] makes it look, "
            'such as access.anonymous = "yes"'
        )
        raise ApiError(409, "no_access_control", message)
    return server.door.guard


def _key(kind: str, value: str) -> str:
    return ("address " if kind == "address" else "client ") + value


def _describe(server: Server, key: str, until_ms: int) -> Ban:
    word, _, value = key.partition(" ")
    left_ms = until_ms - milliseconds()
    return Ban("address" if word == "address" else "client_id", value, moment(server.turn_state.wall_ms + left_ms))


def milliseconds() -> int:
    """The clock of bans, monotonic."""
    return time.monotonic_ns() // 1_000_000


def log_in(server: Server, asked: Request, body: LoginBody) -> Response:
    """Log a browser in: it gets a cookie for twelve hours, in place of the token."""
    assert server.admin is not None
    admin = server.admin
    cookie = admin.security.log_in(body.token, asked.address, int(admin.turn_state.now_ms))
    return Response(204, headers=[("Set-Cookie", cookie)])


def log_out(server: Server, asked: Request) -> Response:
    """End a browser's login."""
    assert server.admin is not None
    return Response(204, headers=[("Set-Cookie", server.admin.security.log_out(asked.headers))])


ROUTES: Final = (
    Route("POST", "/api/v1/login", log_in, public=True, status=204),
    Route("POST", "/api/v1/logout", log_out, public=True, status=204),
    Route("POST", "/api/v1/reload", reload),
    Route("GET", "/api/v1/log-level", log_level),
    Route("PUT", "/api/v1/log-level", set_log_level),
    Route("GET", "/api/v1/bans", bans),
    Route("POST", "/api/v1/bans", add_ban, status=201),
    Route("DELETE", "/api/v1/bans", end_ban),
)
