"""Traces: the packets of one client, in and out, for some minutes.

They stand beside the clients and not below them: a trace may begin before its client connects, and is read after the
client has gone.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final

import msgspec

from swellmq.admin.answer import ApiError
from swellmq.admin.api.overview import moment
from swellmq.admin.route import Route
from swellmq.server import Server
from swellmq.trace import LINES_KEPT, MINUTES_MAX, RECEIVED, SENT, Trace, TraceError, Traces, traces


class TraceItem(msgspec.Struct):
    """One packet, in the words of the specification. `number` counts them; `direction` is the broker's, and empty for
    what is no packet."""

    number: int
    at: datetime
    direction: str
    descriptor: int
    bytes: int
    text: str


class TraceState(msgspec.Struct):
    """A trace, and how many packets there were; it ends by itself at `ends_at`."""

    client_id: str
    active: bool
    started_at: datetime
    ends_at: datetime
    received: int
    sent: int


class TraceLines(TraceState):
    """A trace with its lines, the oldest first."""

    items: list[TraceItem]


class TraceList(msgspec.Struct):
    """The traces that go on, and those that ended lately."""

    items: list[TraceState]


class TraceQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which lines are given."""

    after: Annotated[int, msgspec.Meta(ge=0, description="Only those with a higher number.")] = 0
    limit: Annotated[int, msgspec.Meta(ge=1, le=LINES_KEPT, description="The last of them.")] = 500


class TraceOrder(msgspec.Struct, forbid_unknown_fields=True):
    """For how long a client is traced."""

    minutes: Annotated[int, msgspec.Meta(ge=1, le=MINUTES_MAX)] = 10


def start(server: Server, client_id: str, body: TraceOrder) -> TraceState:
    """Trace a client from now on, whether it is connected or not; it may connect again meanwhile."""
    try:
        return state(traces(server.broker.core).start(client_id, body.minutes))
    except TraceError as error:
        raise ApiError(409, "too_many_traces", str(error)) from None


def stop(server: Server, client_id: str) -> TraceState:
    """End a trace; its lines stay until others take their place."""
    some = traces(server.broker.core)
    some.stop(client_id)
    return state(known(some, client_id))


def forget(server: Server, client_id: str) -> None:
    """End a trace, and forget its lines."""
    if not traces(server.broker.core).forget(client_id):
        raise no_such_trace(client_id)


def lines(server: Server, client_id: str, query: TraceQuery) -> TraceLines:
    """The packets of a client that is or was traced."""
    trace = known(traces(server.broker.core), client_id)
    found = trace.last(query.limit, query.after)
    items = [
        TraceItem(
            line["number"], moment(line["at_ms"]), line["direction"], line["descriptor"], line["bytes"], line["text"]
        )
        for line in found
    ]
    return TraceLines(**msgspec.structs.asdict(state(trace)), items=items)


def every(server: Server) -> TraceList:
    """All traces that there are."""
    some = traces(server.broker.core)
    return TraceList([state(trace) for name in list(some.traces) if (trace := some.find(name)) is not None])


def known(some: Traces, client_id: str) -> Trace:
    """A client's trace, going on or over. Raises ApiError where there is none."""
    trace = some.find(client_id)
    if trace is None:
        raise no_such_trace(client_id)
    return trace


def no_such_trace(client_id: str) -> ApiError:
    """What is answered where there is no trace of a client."""
    return ApiError(404, "no_such_trace", f"there is no trace of client {client_id!r}")


def state(trace: Trace) -> TraceState:
    """What is told of a trace."""
    return TraceState(
        client_id=trace.client_id,
        active=trace.active(),
        started_at=moment(trace.started_ms),
        ends_at=moment(trace.ends_ms),
        received=trace.counts[RECEIVED],
        sent=trace.counts[SENT],
    )


ROUTES: Final = (
    Route("GET", "/api/v1/traces", every),
    Route("POST", "/api/v1/traces/{client_id}", start),
    Route("GET", "/api/v1/traces/{client_id}", lines),
    Route("DELETE", "/api/v1/traces/{client_id}", forget),
    Route("POST", "/api/v1/traces/{client_id}/stop", stop),
)
