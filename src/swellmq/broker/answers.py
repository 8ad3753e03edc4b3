"""A question is answered: go on where its connection was parked."""

from __future__ import annotations

from swellmq.broker.access import ACQUIRE, AUTHENTICATE, BARRIER, EXCHANGE, PUBLISH, READ_BACK, SUBSCRIBE, Request
from swellmq.broker.connect import acquire, admit, note_answer, refuse
from swellmq.broker.core import Core
from swellmq.broker.exchange import send_auth
from swellmq.broker.explain import disconnect, sends_away
from swellmq.broker.inbound import accept_publish
from swellmq.broker.session import Session
from swellmq.broker.subscribe import on_barrier_answered, subscribe
from swellmq.codec import spec
from swellmq.connection import Connection
from swellmq.errors import ADMINISTRATIVE, REFUSED


def go_on(core: Core, request: Request, connection: Connection) -> None:
    """Do what `request` was asked for, or what its refusal asks for; raises what a peer did wrong."""
    kind = request.kind
    if kind == AUTHENTICATE or kind == ACQUIRE or kind == READ_BACK:
        assert request.connect is not None
        if request.result != 0:
            refuse(core, connection, core.refusal(request.result), request=request)
        elif kind == AUTHENTICATE:
            note_answer(request.connect, request)
            core.note_lease(connection, request)
            acquire(core, connection, request.connect)
        else:
            admit(core, connection, request.connect)
    elif kind == EXCHANGE:
        _exchanged(core, request, connection)
    elif kind != BARRIER and sends_away(request.result):
        disconnect(connection, request.result, ADMINISTRATIVE, request=request)
    else:
        session = connection.owner
        assert isinstance(session, Session)
        if kind == PUBLISH:
            assert request.publish is not None
            phrase = "refused by access control" if request.result else ""
            accept_publish(core, connection, session, request.publish, request.result, phrase, request)
        elif kind == SUBSCRIBE:
            assert request.subscribe is not None
            verdicts = request.verdicts
            if request.result != 0:
                verdicts = [request.result] * len(request.subscribe.requests)
            subscribe(core, connection, session, request.subscribe, verdicts, request)
        elif kind == BARRIER:
            on_barrier_answered(core, connection, session, request)


def _exchanged(core: Core, request: Request, connection: Connection) -> None:
    """Access has answered a step of an enhanced authentication: one more, the client is in, or it is refused."""
    connect = request.connect
    session = connection.owner
    if request.result == spec.CONTINUE_AUTHENTICATION:
        send_auth(core, connection, request)
    elif request.result != 0 and connect is not None:
        refuse(core, connection, request.result, request=request)  # [MQTT-4.12.0-4]
    elif request.result != 0:
        disconnect(connection, request.result, REFUSED, request=request)  # [MQTT-4.12.1-2]
    elif connect is not None:
        note_answer(connect, request)
        core.note_lease(connection, request)
        acquire(core, connection, connect)
    else:
        assert isinstance(session, Session)
        core.identify(session, request.username, connection)
        core.note_lease(connection, request)
        send_auth(core, connection, request)
