"""Clients past `max_connections`, or in overload: told politely, or let in where they replace themselves.

A refused client is not served: it has one of a few slots, and a few seconds to send its CONNECT. The answer is MQTT 5.0
0x97 Quota exceeded (0x89 Server busy where turns are too long), or 3.x 3 Server unavailable. One client is let in all
the same: one whose client id is connected here. A device whose old socket is half dead must never be locked out by
itself.
"""

from __future__ import annotations

import logging
from typing import Final, final

from mypy_extensions import i64, mypyc_attr

from swellmq.broker.access import TAKE_OVER, Request
from swellmq.broker.connect import read_connect, refuse
from swellmq.broker.core import Core
from swellmq.broker.explain import disconnect
from swellmq.broker.overdue import never_connected
from swellmq.codec.decode import header_length, packet_length
from swellmq.codec.packets import Connect
from swellmq.codec.spec import CONNECT, QUOTA_EXCEEDED, SERVER_BUSY, SESSION_TAKEN_OVER
from swellmq.connection import Connection, Handler
from swellmq.errors import (
    MALFORMED_PACKET,
    PROTOCOL_ERROR,
    REFUSED_FULL,
    PeerError,
)
from swellmq.errors import (
    SESSION_TAKEN_OVER as TAKEN_OVER,
)
from swellmq.limits import CONNECT_BYTES_MAX, REFUSING_DEADLINE_MS
from swellmq.overload import NO_TIME

log: Final = logging.getLogger("swellmq.broker")

LOG_EVERY_MS: Final = 10_000
FULL: Final = "all connections are in use"


@final
@mypyc_attr(native_class=True)
class Refuser(Handler):
    """The handler of the refusing slots."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.log_at_ms: i64 = 0
        self.asked: set[Connection] = set()  # those for whom a place was looked for in vain
        self.overload: str = ""  # why nobody is let in although there is a place; "": there is none

    def on_open(self, connection: Connection, now_ms: i64) -> None:
        """A client has come while the broker is full."""
        self.core.deadlines.set(connection, now_ms + REFUSING_DEADLINE_MS)
        if not self.overload and now_ms >= self.log_at_ms:
            self.log_at_ms = now_ms + LOG_EVERY_MS
            log.warning("full: %s; %d clients are served, further ones are refused", FULL, self.core.clients)

    def on_data(self, connection: Connection, data: bytes, now_ms: i64) -> None:
        """Wait for the whole CONNECT, then answer it."""
        data = connection.take(data)
        if not data:
            return
        end: i64 = len(data)
        try:
            total = packet_length(data, 0, end)
            if data[0] >> 4 != CONNECT or total > CONNECT_BYTES_MAX:
                self.core.stats.errors_peer += 1
                connection.close(PROTOCOL_ERROR)
                return
            if total == 0 or total > end:
                connection.keep(data, total)
                return
            connection.inbox = data  # for the connection that takes this slot's place
            connect = read_connect(self.core, connection, data, header_length(total), total)
        except PeerError:
            self.core.stats.errors_peer += 1
            connection.close(MALFORMED_PACKET)
            return
        if connect is not None and connection.question is None:
            self._answer(connection, connect)

    def _answer(self, connection: Connection, connect: Connect) -> None:
        core = self.core
        connect.arrived_ms = core.turn.now_ms
        if connection not in self.asked:  # a place may be free by now: the loop asks again where none is
            self.asked.add(connection)
            connection.protocol_version = 0
            core.turn.promote.append(connection)
            return
        session = core.session(connect.client_id) if connect.client_id else None
        properties = connect.properties
        by_method = properties is not None and properties.authentication_method is not None
        if session is None or session.connection is None:
            self.refuse(connection, connect)
        elif core.access.authenticates:
            request = core.park(TAKE_OVER, connection, connect.client_id, connect.username)
            request.connect = connect
            core.requests.append(request)
        elif by_method:
            self.refuse(connection, connect)  # no exchange is held here to prove who it is
        else:
            self.take_over(connection, connect)

    def refuse(self, connection: Connection, connect: Connect) -> None:
        """Tell a client that the broker is full; mosquitto only closes."""
        if self.core.limits.like_mosquitto:
            self.core.lines.faults[connection] = self.overload or FULL
            connection.close(REFUSED_FULL)
        else:
            code = SERVER_BUSY if self.overload == NO_TIME else QUOTA_EXCEEDED
            refuse(self.core, connection, code, REFUSED_FULL, self.overload or FULL, connect=connect)

    def on_answered(self, request: Request) -> None:
        """Access has answered whether the client may take its place over."""
        if request.result == 0:
            assert request.connect is not None
            self.take_over(request.connection, request.connect)
        else:
            refuse(self.core, request.connection, request.result, REFUSED_FULL, request=request)

    def take_over(self, connection: Connection, connect: Connect) -> None:
        """Close the client's old connection, and ask the loop to give this one a proper place once that is free."""
        session = self.core.session(connect.client_id)
        old = session.connection if session is not None else None
        if old is None or session is None or session.since_ms > connect.arrived_ms:  # the newer of two stays
            self.refuse(connection, connect)
            return
        disconnect(old, SESSION_TAKEN_OVER, TAKEN_OVER)
        connection.protocol_version = 0
        self.core.turn.promote.append(connection)
        self.core.turn.heirs.append(connection)

    def on_closed(self, connection: Connection, now_ms: i64) -> None:
        """The slot is free again."""
        self.asked.discard(connection)
        if isinstance(connection.question, Request):
            self.core.unpark(connection.question)
        self.core.deadlines.clear(connection)
        never_connected(self.core, connection)
        self.core.lines.forget(connection)
