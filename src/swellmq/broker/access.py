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
from swellmq.codec.spec import CONTINUE_AUTHENTICATION
from swellmq.connection import Connection, Question

# Request.kind: what is asked.
AUTHENTICATE: Final = 1  # may this client come in, with this will? `connect` has both
TAKE_OVER: Final = 2  # the same, of a client that would take over a place in a full broker
ACQUIRE: Final = 3  # uplink: make this node the home of the client id
PUBLISH: Final = 4  # may this message be published? A hook may change its payload or topic name
SUBSCRIBE: Final = 5  # which of these subscriptions are allowed? `verdicts` has a reason code for each
BARRIER: Final = 6  # uplink: does the cluster know the new routes?
EXCHANGE: Final = 7  # the next step of an enhanced authentication; `exchange` has the method and the client's data
READ_BACK: Final = 8  # storage: have the client's messages been read back from the disk?

KIND_NAMES: Final = (
    "",
    "authenticate",
    "take over",
    "acquire",
    "publish",
    "subscribe",
    "barrier",
    "exchange",
    "read back",
)

# Request.result while it is not answered; any other value is a reason code of MQTT 5.0, 0 for yes.
PENDING: Final = -1

# Rights.allows: what a client may do; a bit each.
MAY_PUBLISH: Final = 1
MAY_SUBSCRIBE: Final = 2  # the topic is a filter
MAY_RECEIVE: Final = 4
MAY_RETAIN: Final = 8  # beside MAY_PUBLISH or MAY_WILL, where the message is retained
MAY_WILL: Final = 16

# SessionEvent.kind
CONNECTED: Final = 1
DISCONNECTED: Final = 2
SESSION_ENDED: Final = 3


@final
@mypyc_attr(native_class=True)
class Exchange:
    """One client's enhanced authentication, MQTT 5.0 section 4.12. The broker keeps it from step to step."""

    def __init__(self, method: str) -> None:
        self.method = method
        self.data: bytes | None = None  # Authentication Data of the client's last packet
        self.state: object | None = None  # whatever access wants to find again at the next step
        self.connect: Connect | None = None  # until its client is in; None: a connected client authenticates again
        self.deadline_ms: i64 = 0  # until when the client must go on; 0: it is not its turn
        self.steps: i64 = 0
        self.under_way: bool = False


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
        self.exchange: Exchange | None = None  # EXCHANGE
        # What an answer may say besides; a client of MQTT 5.0 is told as far as it allows.
        self.reason_string: str | None = None
        self.user_properties: list[tuple[str, str]] | None = None
        self.server_reference: str | None = None  # with Use another server (0x9C) or Server moved (0x9D)
        self.lasts_ms: i64 = 0  # AUTHENTICATE, EXCHANGE: for how long the client may stay; 0: for as long as it likes
        self.response_information: str | None = None  # AUTHENTICATE, EXCHANGE: for a client that asks for it
        self.authentication_data: bytes | None = None  # EXCHANGE

    def answer(self, reason_code: int) -> None:
        """Decide: 0 allows, a reason code of 0x80 or more refuses.

        A client whose PUBLISH or SUBSCRIBE is answered by 0x9C or 0x9D is disconnected with that code. Who came in by
        an EXCHANGE is whom `username` says then.
        """
        self.result = reason_code

    def silent(self) -> bool:
        """Whether the answer has no words for an acknowledgement."""
        return self.reason_string is None and self.user_properties is None

    def go_on(self, authentication_data: bytes | None) -> None:
        """Answer an EXCHANGE by one more step. Late: fill in `authentication_data`, then resume with 0x18."""
        self.authentication_data = authentication_data
        self.result = CONTINUE_AUTHENTICATION


@final
@mypyc_attr(native_class=True, acyclic=True)
class SessionEvent:
    """Something that happened to a session, for those who watch."""

    def __init__(self, kind: u8, client_id: str, reason: str) -> None:
        self.kind: u8 = kind
        self.client_id = client_id
        self.reason = reason


@mypyc_attr(native_class=True, allow_interpreted_subclasses=True)
class Tracing:
    """Who wants to see the packets of some clients: trace.py."""

    def on_connect(self, connection: Connection, connect: Connect, size: int, rest: bytes) -> None:
        """A CONNECT of `size` bytes was handled; its answer has not left yet. `rest` was read behind it.

        It must not raise.
        """


@mypyc_attr(native_class=True, allow_interpreted_subclasses=True)
class Spans:
    """Who follows messages from their publisher to their subscribers: otel.py. These must not raise."""

    def __init__(self) -> None:
        self.starts: bool = False  # whether messages without a trace context may be followed too

    def received(self, publish: Publish, protocol_version: int) -> None:
        """A message has come from a client, and was not routed yet. Properties may be added behind those it has."""

    def routed(self, publish: Publish, subscriptions: int, reason_code: int) -> None:
        """It matched so many subscriptions, or was refused (0x80 or more); not all deliveries need be over."""

    def delivered(self, publish: Publish, client_id: str, qos: int) -> None:
        """A message with properties is on its way to a client."""


@mypyc_attr(native_class=True, allow_interpreted_subclasses=True)
class Rights:
    """What clients may do, known at once and from memory, such as an ACL file. The broker remembers the answers."""

    def allows(self, username: str | None, client_id: str, right: u8, topic: bytes) -> bool:
        """Whether a client has a right on a topic name; on a filter without `$share` where it is to subscribe."""
        return True


@mypyc_attr(native_class=True, allow_interpreted_subclasses=True)
class Access:
    """Who decides and who watches. All calls come from the loop's thread and must not block.

    A client whose CONNECT names one of `authentication_methods` is asked about by EXCHANGE, once for each step, and not
    by AUTHENTICATE; one that names another method is refused.
    """

    def __init__(self) -> None:
        self.authenticates: bool = False
        self.authorizes_publish: bool = False
        self.authorizes_subscribe: bool = False
        self.watches_sessions: bool = False
        self.follows_connections: bool = False  # wants `on_left`
        self.authentication_methods: list[str] = []
        self.rights: Rights | None = None  # what is known at once; None: all is allowed. See `MqttBroker.review`
        self.rights_at: dict[int, Rights] = {}  # other rights for the clients of single listeners, by their index
        self.listener_names: list[str] = []  # what listeners are called, by their index, from one start to the next

    def decide(self, requests: list[Request]) -> None:
        """Answer what can be answered now; the rest stays PENDING until `Broker.resume`."""
        for request in requests:
            request.answer(0)

    def welcomes(self, connection: Connection, username: str | None) -> bool:
        """Whether a client that is connected may stay, asked about all of them by `MqttBroker.review`."""
        return True

    def on_left(self, connection: Connection) -> None:
        """A connection is closed, whether its client was let in or not."""

    def on_session_events(self, events: list[SessionEvent]) -> None:
        """Sessions that connected, disconnected or ended in this turn, in order."""
