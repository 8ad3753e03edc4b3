"""A deadline of a connection has come: of its CONNECT, its question, its reading, or its keep alive."""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from swellmq.broker.access import KIND_NAMES, Request
from swellmq.broker.connect import refuse
from swellmq.broker.core import DEBUG, INFO, LINE_NEVER_CONNECTED, LINE_UNANSWERED, WARNING, Core
from swellmq.broker.exchange import exchange_until
from swellmq.broker.explain import disconnect
from swellmq.broker.session import Session
from swellmq.broker.work import Work
from swellmq.codec import spec
from swellmq.connection import Connection
from swellmq.errors import (
    CONNECT_TIMEOUT,
    KEEP_ALIVE_TIMEOUT,
    LOGIN_EXPIRED,
    OPEN,
    PEER_CLOSED,
    PEER_RESET,
    PENDING_TIMEOUT,
    REFUSED,
    WRITE_STALLED,
)

UNANSWERED: Final = "the server has found no answer in time"
TOO_SLOW: Final = "the authentication took too long"
EXPIRED: Final = "the login has expired"


def on_connection_due(core: Core, connection: Connection, now_ms: i64, refused: bool) -> None:
    """Close what has waited for too long, or look again later; `refused`: its slot is a refusing one."""
    if connection.fd == -1 or connection.close_reason != OPEN:
        return
    question = connection.question
    if isinstance(question, Request):
        if now_ms < question.deadline_ms:
            core.deadlines.set(connection, question.deadline_ms)
            return
        if core.tells(LINE_UNANSWERED, WARNING):
            core.chronicle().unanswered(connection, question.client_id, KIND_NAMES[question.kind])
        if connection.owner is None:
            refuse(core, connection, spec.SERVER_UNAVAILABLE, PENDING_TIMEOUT, UNANSWERED, connect=question.connect)
        else:
            disconnect(connection, spec.SERVER_BUSY, PENDING_TIMEOUT, UNANSWERED)
        return
    if isinstance(question, Work):
        core.deadlines.set(connection, now_ms + core.limits.pending_timeout_ms)  # it is we who have it wait
        return
    until = exchange_until(core, connection)
    if until and until <= now_ms:
        if connection.owner is None:
            refuse(core, connection, spec.NOT_AUTHORIZED, CONNECT_TIMEOUT, TOO_SLOW)  # [MQTT-4.12.0-4]
        else:
            disconnect(connection, spec.NOT_AUTHORIZED, REFUSED, TOO_SLOW)  # [MQTT-4.12.1-2]
        return
    if connection.owner is None:
        connection.close(REFUSED if refused else CONNECT_TIMEOUT)
        return
    lease_until = core.lease_until(connection)
    if lease_until and lease_until <= now_ms:
        disconnect(connection, spec.MAXIMUM_CONNECT_TIME, LOGIN_EXPIRED, EXPIRED)
        return
    stalled_until = _stalled_until(core, connection)
    silent_until = _silent_until(connection)
    if stalled_until and stalled_until <= now_ms:
        connection.close(WRITE_STALLED)
    elif silent_until and silent_until <= now_ms:
        disconnect(connection, spec.KEEP_ALIVE_TIMEOUT, KEEP_ALIVE_TIMEOUT)  # [MQTT-3.1.2-22]
    else:
        watch(core, connection)


def watch(core: Core, connection: Connection) -> None:
    """Look at a connected client when it may next have been silent, taken nothing, not gone on, or stayed too long."""
    for due in (_stalled_until(core, connection), _silent_until(connection), exchange_until(core, connection)):
        if due:
            core.look_again(connection, due)
    lease_until = core.lease_until(connection)
    if lease_until:
        core.look_again(connection, lease_until)


def _stalled_until(core: Core, connection: Connection) -> i64:
    """When a client that takes nothing is closed; 0 where it takes what it gets."""
    buffers = connection.buffers
    if buffers is None or buffers.backlog is None:
        return 0
    return buffers.stalled_since_ms + core.limits.write_timeout_ms


def _silent_until(connection: Connection) -> i64:
    """When a client that sends nothing has missed its keep alive; 0 where it has none, or is not read."""
    keep_alive_s = int(connection.keep_alive_s)
    return connection.last_ms + keep_alive_s * 1500 if keep_alive_s and not connection.deaf else 0


def never_connected(core: Core, connection: Connection) -> None:
    """A connection is closed that has no client. Those that just leave are told at debug: who checks whether the port
    answers does so all day."""
    if connection in core.lines.told:
        return
    reason = connection.close_reason
    level = DEBUG if reason == PEER_CLOSED or reason == PEER_RESET else INFO
    if core.tells(LINE_NEVER_CONNECTED, level):
        core.chronicle().never_connected(connection, level)


def connection_name(connection: Connection) -> str:
    """How a connection is called in a log line."""
    session = connection.owner
    if isinstance(session, Session):
        return "client " + session.name()
    return f"a connection without a client (descriptor {connection.fd})"
