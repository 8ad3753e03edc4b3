"""Enhanced authentication, MQTT 5.0 section 4.12: AUTH packets between a client and access, step by step.

An Exchange begins with a CONNECT that names an authentication method. Each step is a question to access; it may answer
"go on" with data for the client, and then the client has to send the next AUTH in time. Once the client is in, all that
is left is the method's name, because re-authentication has to use it again: only clients that authenticated so have an
entry in `Core.exchanges`, and no other connection pays for it.
"""

from __future__ import annotations

from mypy_extensions import i64

from swellmq.broker.access import EXCHANGE, Exchange, Request
from swellmq.broker.core import Core
from swellmq.broker.explain import explained
from swellmq.broker.session import Session
from swellmq.codec import spec
from swellmq.codec.packets import Auth, Connect, Properties
from swellmq.connection import Connection
from swellmq.errors import ProtocolError
from swellmq.limits import AUTHENTICATION_STEPS_MAX


def begin_exchange(core: Core, connection: Connection, connect: Connect, method: str) -> None:
    """A CONNECT names a method that access has: put its first data to access."""
    exchange = Exchange(method)
    exchange.connect = connect
    exchange.data = connect.properties.authentication_data if connect.properties is not None else None
    core.exchanges[connection] = exchange
    _ask(core, connection, exchange, connect.client_id, connect.username)


def _ask(core: Core, connection: Connection, exchange: Exchange, client_id: str, username: str | None) -> None:
    exchange.under_way = True
    exchange.deadline_ms = 0  # now we are the ones who are waited for
    exchange.steps += 1
    request = core.park(EXCHANGE, connection, client_id, username)
    request.exchange = exchange
    request.connect = exchange.connect
    core.requests.append(request)


def on_auth(core: Core, connection: Connection, auth: Auth) -> None:
    """The client goes on with an exchange, or begins to authenticate again."""
    exchange = core.exchanges[connection]
    properties = auth.properties
    if properties is None or properties.authentication_method != exchange.method:
        # [MQTT-4.12.0-5] [MQTT-4.12.1-1]
        raise ProtocolError(spec.PROTOCOL_ERROR, "AUTH with another method than CONNECT")
    expected = spec.CONTINUE_AUTHENTICATION if exchange.under_way else spec.RE_AUTHENTICATE
    if auth.reason_code != expected:  # [MQTT-4.12.0-3]
        raise ProtocolError(spec.PROTOCOL_ERROR, f"AUTH with reason code {int(auth.reason_code):#04x} at this point")
    if exchange.steps >= AUTHENTICATION_STEPS_MAX:
        raise ProtocolError(spec.NOT_AUTHORIZED, "an authentication in too many steps")
    exchange.data = properties.authentication_data
    session = connection.owner
    if isinstance(session, Session):
        _ask(core, connection, exchange, session.client_id, session.username)
    else:
        assert exchange.connect is not None
        _ask(core, connection, exchange, exchange.connect.client_id, exchange.connect.username)


def send_auth(core: Core, connection: Connection, request: Request) -> None:
    """Send what access answered: the next step of the exchange, or that a re-authentication has succeeded."""
    exchange = request.exchange
    assert exchange is not None
    goes_on = request.result == spec.CONTINUE_AUTHENTICATION
    properties = Properties()
    properties.authentication_method = exchange.method  # [MQTT-4.12.0-5]
    properties.authentication_data = request.authentication_data
    code = spec.CONTINUE_AUTHENTICATION if goes_on else spec.SUCCESS  # [MQTT-4.12.0-2]
    packet = explained(connection, Auth(code, properties), "", request)
    if not connection.takes(packet):
        raise ProtocolError(spec.PACKET_TOO_LARGE, "AUTH is above the Maximum Packet Size")  # [MQTT-3.1.2-24]
    connection.send(packet)
    if goes_on:
        exchange.deadline_ms = core.turn.now_ms + core.limits.connect_timeout_ms
        if connection.owner is None:
            core.deadlines.set(connection, exchange.deadline_ms)  # in place of that of CONNECT
        else:
            core.look_again(connection, exchange.deadline_ms)
    else:
        end_exchange(exchange)


def end_exchange(exchange: Exchange) -> None:
    """The client is authenticated: keep the method's name and nothing else."""
    exchange.under_way = False
    exchange.deadline_ms = 0
    exchange.steps = 0
    exchange.connect = None
    exchange.data = None
    exchange.state = None


def exchange_until(core: Core, connection: Connection) -> i64:
    """When a client that does not go on with its exchange is closed; 0 where none waits for the client."""
    if not core.exchanges:
        return 0
    exchange = core.exchanges.get(connection)
    return exchange.deadline_ms if exchange is not None else 0
