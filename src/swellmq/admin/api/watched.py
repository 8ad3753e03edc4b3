"""What the broker remembers of itself: history, alarms, who talks most, what costs most memory."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final

import msgspec

from swellmq.admin.route import Route
from swellmq.observe.busiest import Talker
from swellmq.observe.history import Event as Happened
from swellmq.observe.history import Step
from swellmq.observe.receipts import MOST_KEPT, Kind
from swellmq.server import Server

DAY_S: Final = 86_400


class HistoryQuery(msgspec.Struct, forbid_unknown_fields=True):
    """How far back."""

    seconds: Annotated[
        int,
        msgspec.Meta(
            ge=1, le=DAY_S, description="How far back: up to 600 a row for each second, beyond that for each minute."
        ),
    ] = 600


class Event(msgspec.Struct, rename={"from_": "from"}, omit_defaults=True):
    """Something that happened; `from` and `to` say what of, where it is a number. `at` is Unix time."""

    at: float
    kind: str
    text: str
    from_: int | None = None
    to: int | None = None


class HistoryAnswer(msgspec.Struct):
    """A row for each `interval_s`, the oldest first; what each of its numbers is stands in `columns`."""

    interval_s: int
    columns: list[str]
    rows: list[list[int]]
    events: list[Event]


class Alarm(msgspec.Struct):
    """Something that is not well: `severity` is warning or critical."""

    name: str
    severity: str
    text: str
    since: datetime


class Alarms(msgspec.Struct):
    """The alarms that are raised, the worst first."""

    items: list[Alarm]


class TalkersQuery(msgspec.Struct, forbid_unknown_fields=True):
    """How many are told."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=1_000, description="How many of each.")] = 10


class TalkersAnswer(msgspec.Struct):
    """The clients that have published and received most messages in the last `window_s`."""

    window_s: float
    publishers: list[Talker]
    subscribers: list[Talker]


class ReceiptsQuery(msgspec.Struct, forbid_unknown_fields=True):
    """How many are told."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST_KEPT, description="How many of each kind.")] = 10


class ReceiptsAnswer(msgspec.Struct):
    """What clients, sessions, topics and retained messages cost in bytes, as counted at `at` (null: not yet)."""

    at: datetime | None
    total_bytes: int
    kinds: list[Kind]


def history(server: Server, query: HistoryQuery) -> HistoryAnswer:
    """What the broker has been doing, for charts: sizes, rates, turns, and events such as steps of the pool."""
    assert server.watch.history is not None  # it is kept wherever there is admin
    found = server.watch.history.rows(query.seconds)
    events = [make_event(event) for event in found["events"]]
    return HistoryAnswer(found["interval_s"], found["columns"], found["rows"], events)


def alarms(server: Server) -> Alarms:
    """The alarms that are raised."""
    return Alarms(active_alarms(server))


def talkers(server: Server, query: TalkersQuery) -> TalkersAnswer:
    """Who talks most."""
    assert server.watch.talkers is not None
    found = server.watch.talkers.top(query.limit)
    return TalkersAnswer(found["window_s"], found["publishers"], found["subscribers"])


def receipts(server: Server, query: ReceiptsQuery) -> ReceiptsAnswer:
    """What costs most memory. It is counted when somebody asks and the last count is older than half a minute; the
    answer tells the last count."""
    assert server.watch.receipts is not None
    server.watch.walk_receipts()
    found = server.watch.receipts.report(query.limit)
    at = datetime.fromtimestamp(found["at"], UTC) if found["at"] is not None else None
    return ReceiptsAnswer(at, found["total_bytes"], found["kinds"])


def active_alarms(server: Server) -> list[Alarm]:
    """The alarms that are raised, the worst first."""
    return [
        Alarm(
            str(one["name"]),
            str(one["severity"]),
            str(one["text"]),
            datetime.fromtimestamp(float(one["since"]), UTC),
        )
        for one in server.watch.alarms.active()
    ]


def make_event(event: Happened | Step) -> Event:
    """An event as the API tells it."""
    return msgspec.convert(event, Event)


ROUTES: Final = (
    Route("GET", "/api/v1/history", history),
    Route("GET", "/api/v1/alarms", alarms),
    Route("GET", "/api/v1/talkers", talkers),
    Route("GET", "/api/v1/receipts", receipts),
)
