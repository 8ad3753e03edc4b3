"""The seam of access and hooks: who may come in, what they may do, and who wants to watch.

Questions come in batches, one call for all that arose in a turn, and may be answered later. A connection that has asked
is parked: it is not read, the rest of its bytes is kept, its keep alive stands still. An unanswered question costs
nothing; one that is never answered is closed at its deadline. This base class asks nothing and allows everything: while
no flag is set the broker does not even collect.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64, mypyc_attr, u8

from swellmq.codec.packets import Connect, Publish, Subscribe
from swellmq.connection import Connection, Question

# Request.kind: what is asked.
AUTHENTICATE: Final = 1  # may this client come in, with this will? `connect` has both
TAKE_OVER: Final = 2  # the same, of a client that would take over a place in a full broker
ACQUIRE: Final = 3  # uplink: make this node the home of the client id
PUBLISH: Final = 4  # may this message be published? A hook may change its payload or topic name
SUBSCRIBE: Final = 5  # which of these subscriptions are allowed? `verdicts` has a reason code for each
BARRIER: Final = 6  # uplink: does the cluster know the new routes?

KIND_NAMES: Final = ("", "authenticate", "take over", "acquire", "publish", "subscribe", "barrier")

# Request.result while it is not answered; any other value is a reason code of MQTT 5.0, 0 for yes.
PENDING: Final = -1

# SessionEvent.kind
CONNECTED: Final = 1
DISCONNECTED: Final = 2
SESSION_ENDED: Final = 3


@final
@mypyc_attr(native_class=True, acyclic=True)
class Request(Question):
    """One question about one connection. Answer it by `answer`, at once or later by `Broker.resume(token, …)`."""

    def __init__(self, kind: u8, token: int, connection: Connection, client_id: str, username: str | None) -> None:
        self.kind: u8 = kind
        self.token = token
        self.connection = connection
        self.client_id = client_id
        self.username = username
        self.result: int = PENDING
        self.deadline_ms: i64 = 0
        self.connect: Connect | None = None
        self.publish: Publish | None = None
        self.subscribe: Subscribe | None = None
        self.reply: bytes = b""  # BARRIER: the SUBACK that waits
        self.ticket: i64 = 0  # BARRIER: the batch that the SUBACK waits for too
        self.verdicts: list[int] | None = None  # SUBSCRIBE: a reason code for each filter; None: all as asked

    def answer(self, reason_code: int) -> None:
        """Decide: 0 allows, a reason code of 0x80 or more refuses."""
        self.result = reason_code


@final
@mypyc_attr(native_class=True, acyclic=True)
class SessionEvent:
    """Something that happened to a session, for those who watch."""

    def __init__(self, kind: u8, client_id: str, reason: str) -> None:
        self.kind: u8 = kind
        self.client_id = client_id
        self.reason = reason


@mypyc_attr(native_class=True, allow_interpreted_subclasses=True)
class Access:
    """Who decides and who watches. All calls come from the loop's thread and must not block."""

    def __init__(self) -> None:
        self.authenticates: bool = False
        self.authorizes_publish: bool = False
        self.authorizes_subscribe: bool = False
        self.watches_sessions: bool = False

    def decide(self, requests: list[Request]) -> None:
        """Answer what can be answered now; the rest stays PENDING until `Broker.resume`."""
        for request in requests:
            request.answer(0)

    def on_session_events(self, events: list[SessionEvent]) -> None:
        """Sessions that connected, disconnected or ended in this turn, in order."""
