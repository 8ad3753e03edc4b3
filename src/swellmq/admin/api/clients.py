"""Clients that are connected, and the sessions of all: lists, one in full, and their end."""

from __future__ import annotations

from collections.abc import Callable, Generator
from datetime import datetime
from typing import Annotated, Final

import msgspec

from swellmq.admin.answer import ApiError
from swellmq.admin.api.overview import moment
from swellmq.admin.route import Route
from swellmq.admin.walk import PageQuery, page
from swellmq.broker.explain import disconnect
from swellmq.broker.session import Session
from swellmq.broker.will import end_session
from swellmq.codec.spec import ADMINISTRATIVE_ACTION, MQTT_3_1, MQTT_3_1_1, SESSION_EXPIRY_NEVER
from swellmq.connection import Connection
from swellmq.errors import ADMINISTRATIVE, OPEN
from swellmq.server import Server

VERSIONS: Final = {MQTT_3_1: "3.1", MQTT_3_1_1: "3.1.1"}  # 5.0 is all else


class ClientQuery(PageQuery, forbid_unknown_fields=True):
    """Which clients or sessions are listed."""

    search: Annotated[str, msgspec.Meta(description="Part of the client id, user name or address, in any case.")] = ""


class Client(msgspec.Struct):
    """A client that is connected; `bytes` is about what it costs in memory, with its session and what waits for it."""

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
    bytes: int


class ClientPage(msgspec.Struct):
    """Clients by client id, and what to ask for the page behind it with; null: it is the last."""

    items: list[Client]
    next: str | None


def clients(server: Server, query: ClientQuery) -> Generator[None, None, ClientPage]:
    """The clients that are connected."""
    wanted = search(server, query.search)

    def is_here(session: Session) -> bool:
        return session.connection is not None and session.connection.close_reason == OPEN and wanted(session)

    def describe(session: Session) -> Client:
        return make_client(server, session)

    items, following = yield from page(server.broker.core.sessions, query, is_here, describe)
    return ClientPage(items, following)


def client(server: Server, client_id: str) -> Client:
    """One client."""
    return make_client(server, connected(server, client_id))


class KickQuery(msgspec.Struct, forbid_unknown_fields=True):
    """How a client is ended."""

    session: Annotated[bool, msgspec.Meta(description="End its session too, with all that waits for it.")] = False


def kick(server: Server, client_id: str, query: KickQuery) -> None:
    """Disconnect a client (0x98, Administrative action); it may come back at once. Its will goes out."""
    session = connected(server, client_id)
    if query.session:
        server.broker.core.expire_after(session, 0)  # it ends with its connection, in the next turn
    disconnect_session(server, client_id)


def disconnect_session(server: Server, client_id: str) -> bool:
    """Disconnect the client of a session; whether one was connected."""
    session = server.broker.core.session(client_id)
    if session is None or session.connection is None or session.connection.close_reason != OPEN:
        return False
    disconnect(session.connection, ADMINISTRATIVE_ACTION, ADMINISTRATIVE)
    server.loop.more = True
    return True


def search(server: Server, text: str) -> Callable[[Session], bool]:
    """Whether a session is among those that are searched for."""
    needle = text.lower()
    peers = server.broker.core.peers
    # To ask the system for each address takes longer than all else, so only for what may be a part of one.
    is_address = ("." in needle or ":" in needle) and not needle.strip("0123456789abcdef.:")

    def wanted(session: Session) -> bool:
        if not needle or needle in session.client_id.lower():
            return True
        if session.username is not None and needle in session.username.lower():
            return True
        return is_address and session.connection is not None and needle in peers.address(session.connection)

    return wanted


def make_client(server: Server, session: Session) -> Client:
    """What is told of a client."""
    connection = session.connection
    receipts = server.watch.receipts
    assert connection is not None and receipts is not None
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
        bytes=receipts.session_bytes(session) + receipts.connection_bytes(connection),
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


def find_session(server: Server, client_id: str) -> Session:
    """The session of a client that is connected or away. Raises ApiError."""
    session = server.broker.core.session(client_id)
    if session is None or session.ended or is_ending(session):
        raise ApiError(404, "no_such_session", f"there is no session {client_id!r}")
    return session


def is_ending(session: Session) -> bool:
    """Whether a session is about to end with its connection, which is closed in the next turn."""
    connection = session.connection
    return connection is not None and connection.close_reason != OPEN and session.expiry_interval == 0


def unknown_client(client_id: str) -> ApiError:
    return ApiError(404, "no_such_client", f"no client {client_id!r} is connected")


class SessionItem(msgspec.Struct):
    """What is kept of a client, which may be away. `expiry_interval_s` null: for ever."""

    client_id: str
    username: str | None
    connected: bool
    since: datetime
    expiry_interval_s: int | None
    expires_at: datetime | None
    will_topic: str | None
    subscriptions: int
    queued: int
    queued_bytes: int
    queued_on_disk: int
    inflight: int


class SessionPage(msgspec.Struct):
    """Sessions by client id."""

    items: list[SessionItem]
    next: str | None


class SessionQuery(ClientQuery, forbid_unknown_fields=True):
    """Which sessions are listed."""

    connected: Annotated[
        bool | msgspec.UnsetType, msgspec.Meta(description="Only those whose client is here, or is away.")
    ] = msgspec.UNSET


def sessions(server: Server, query: SessionQuery) -> Generator[None, None, SessionPage]:
    """All sessions, of clients that are connected or away; `since` is when the client came, or left."""
    found = search(server, query.search)
    connected = query.connected

    def wanted(session: Session) -> bool:
        return (connected is msgspec.UNSET or connected == (session.connection is not None)) and found(session)

    def describe(session: Session) -> SessionItem:
        return make_session(server, session)

    items, following = yield from page(server.broker.core.sessions, query, wanted, describe)
    return SessionPage(items, following)


def session(server: Server, client_id: str) -> SessionItem:
    """One session, whether its client is connected or away."""
    return make_session(server, find_session(server, client_id))


def delete_session(server: Server, client_id: str) -> None:
    """End a session with all that waits for it; its client is disconnected."""
    found = find_session(server, client_id)
    core = server.broker.core
    if found.connection is None:
        end_session(core, found)
        server.loop.more = True
    else:
        core.expire_after(found, 0)  # it ends with its connection, in the next turn
        disconnect_session(server, client_id)


def make_session(server: Server, session: Session) -> SessionItem:
    """What is told of a session."""
    clock = server.turn_state
    base_ms = clock.wall_ms - clock.now_ms
    interval_s: int | None = int(session.expiry_interval)
    expires_at: datetime | None = None
    if interval_s == SESSION_EXPIRY_NEVER:
        interval_s = None
    elif session.connection is None:
        assert interval_s is not None
        expires_at = moment(base_ms + session.since_ms + interval_s * 1_000)
    queue = session.queue
    return SessionItem(
        client_id=session.client_id,
        username=session.username,
        connected=session.connection is not None,
        since=moment(base_ms + session.since_ms),
        expiry_interval_s=interval_s,
        expires_at=expires_at,
        will_topic=session.will.publish.topic_name.decode() if session.will is not None else None,
        subscriptions=session.subscription_count(),
        queued=session.queued(),
        queued_bytes=int(queue.bytes) if queue is not None else 0,
        queued_on_disk=int(queue.shelved) if queue is not None else 0,
        inflight=len(session.inflight) if session.inflight is not None else 0,
    )


ROUTES: Final = (
    Route("GET", "/api/v1/clients", clients),
    Route("GET", "/api/v1/clients/{client_id}", client),
    Route("DELETE", "/api/v1/clients/{client_id}", kick),
    Route("GET", "/api/v1/sessions", sessions),
    Route("GET", "/api/v1/sessions/{client_id}", session),
    Route("DELETE", "/api/v1/sessions/{client_id}", delete_session),
)
