"""Clients that are connected, and the sessions of all: lists, one in full, and their end."""

from __future__ import annotations

from collections.abc import Callable, Generator
from datetime import datetime
from typing import Annotated, Final

import msgspec

from swellmq.admin.answer import ApiError
from swellmq.admin.api.overview import moment
from swellmq.admin.route import Route
from swellmq.admin.walk import LIMIT_MAX, page
from swellmq.broker.explain import disconnect
from swellmq.broker.session import Session
from swellmq.broker.will import end_session
from swellmq.codec.spec import ADMINISTRATIVE_ACTION, MQTT_3_1, MQTT_3_1_1
from swellmq.connection import Connection
from swellmq.errors import ADMINISTRATIVE, OPEN
from swellmq.server import Server

VERSIONS: Final = {MQTT_3_1: "3.1", MQTT_3_1_1: "3.1.1"}  # 5.0 is all else


class ClientQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which clients or sessions are listed."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=LIMIT_MAX, description="Items of a page.")] = 100
    after: Annotated[str, msgspec.Meta(description="`next` of the page before.")] = ""
    search: Annotated[str, msgspec.Meta(description="Part of the client id or user name, in any case.")] = ""


class Client(msgspec.Struct):
    """A client that is connected."""

    client_id: str
    username: str | None
    address: str
    listener: str
    protocol_version: str
    connected_at: datetime
    keep_alive_s: int
    subscriptions: int
    queued: int
    inflight: int


class ClientPage(msgspec.Struct):
    """Clients by client id, and what to ask for the page behind it with; null: it is the last."""

    items: list[Client]
    next: str | None


def clients(server: Server, query: ClientQuery) -> Generator[None, None, ClientPage]:
    """The clients that are connected."""
    wanted = search(query.search)

    def is_here(session: Session) -> bool:
        return session.connection is not None and wanted(session)

    def describe(session: Session) -> Client:
        return make_client(server, session)

    items, following = yield from page(server.broker.core.sessions, query.after, query.limit, is_here, describe)
    return ClientPage(items, following)


def client(server: Server, client_id: str) -> Client:
    """One client."""
    return make_client(server, connected(server, client_id))


class KickQuery(msgspec.Struct, forbid_unknown_fields=True):
    """How a client is ended."""

    session: Annotated[bool, msgspec.Meta(description="End its session too, with all that waits for it.")] = False


def kick(server: Server, client_id: str, query: KickQuery) -> None:
    """Disconnect a client (0x98, Administrative action); it may come back at once. Its will goes out."""
    core = server.broker.core
    session = core.session(client_id)
    if session is None or (session.connection is None and not query.session):
        raise unknown_client(client_id)
    if session.connection is not None:
        disconnect(session.connection, ADMINISTRATIVE_ACTION, ADMINISTRATIVE)
    if query.session:
        if session.connection is not None:
            core.expire_after(session, 0)  # it ends with its connection, in the next turn
        else:
            end_session(core, session)
    server.loop.more = True


def search(text: str) -> Callable[[Session], bool]:
    """Whether a session is among those that are searched for."""
    needle = text.lower()

    def wanted(session: Session) -> bool:
        if not needle or needle in session.client_id.lower():
            return True
        return session.username is not None and needle in session.username.lower()

    return wanted


def make_client(server: Server, session: Session) -> Client:
    """What is told of a client."""
    connection = session.connection
    assert connection is not None
    clock = server.turn_state
    return Client(
        client_id=session.client_id,
        username=session.username,
        address=server.broker.core.peers.address(connection),
        listener=listener_name(server, connection),
        protocol_version=VERSIONS.get(int(connection.protocol_version), "5.0"),
        connected_at=moment(clock.wall_ms - clock.now_ms + session.since_ms),
        keep_alive_s=int(connection.keep_alive_s),
        subscriptions=session.subscription_count(),
        queued=session.queued(),
        inflight=len(session.inflight) if session.inflight is not None else 0,
    )


def listener_name(server: Server, connection: Connection) -> str:
    """By which listener a client came: its address, or "admin" for a page's own WebSocket."""
    index = int(connection.listener)
    if index >= len(server.listeners):
        return "admin"
    return server.listeners[index].scheme + server.listeners[index].name


def connected(server: Server, client_id: str) -> Session:
    """The session of a client that is connected. Raises ApiError."""
    session = server.broker.core.session(client_id)
    if session is None or session.connection is None or session.connection.close_reason != OPEN:
        raise unknown_client(client_id)
    return session


def unknown_client(client_id: str) -> ApiError:
    return ApiError(404, "no_such_client", f"no client {client_id!r} is connected")


ROUTES: Final = (
    Route("GET", "/api/v1/clients", clients),
    Route("GET", "/api/v1/clients/{client_id}", client),
    Route("DELETE", "/api/v1/clients/{client_id}", kick),
)
