"""Whether the broker is well, for those who restart or load-balance; and logins of browsers."""

from __future__ import annotations

from typing import Final

import msgspec

from swellmq.admin.answer import Response, json
from swellmq.admin.route import Request, Route
from swellmq.server import Server


class Health(msgspec.Struct):
    """How the broker is. `reasons` says why it is not well, to those who may know."""

    status: str
    reasons: list[str]


def health(server: Server, asked: Request) -> Response | Health:
    """Whether the broker works: 503 where it needs somebody's help."""
    reasons: list[str] = []
    if server.storage.refusal:
        reasons.append("the store can't write: durable work is refused")
    return _answer(reasons, asked)


def ready(server: Server, asked: Request) -> Response | Health:
    """Whether new clients should be sent here: 503 while it stops, is full, or is not well."""
    reasons: list[str] = []
    if server.storage.refusal:
        reasons.append("the store can't write: durable work is refused")
    if server.stopping:
        reasons.append("the broker is being stopped")
    if server.overload.refusing():
        reasons.append(server.overload.refusing() + ": new clients are refused")
    elif server.pool.active >= server.pool.max_connections:
        reasons.append("max_connections is reached: new clients are refused")
    return _answer(reasons, asked)


def _answer(reasons: list[str], asked: Request) -> Response:
    status = "ok" if not reasons else "not ok"
    return json(Health(status, reasons if asked.known else []), 503 if reasons else 200)


ROUTES: Final = (
    Route("GET", "/health", health, public=True),
    Route("GET", "/ready", ready, public=True),
)
