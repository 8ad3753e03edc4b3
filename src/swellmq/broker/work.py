"""Work that takes several turns because it is much: whose it is, and how far it is (what is done is in `spread.py`).

All of it stands in one queue, `Core.work`, and each turn does a slice of it in order. The client that asked for it is
parked meanwhile, so that what it sends next comes after it; everybody else goes on.
"""

from __future__ import annotations

from typing import final

from mypy_extensions import i64, mypyc_attr

from swellmq.broker.access import Request
from swellmq.broker.session import Delivery, DeliveryQueue, Session, Subscription
from swellmq.broker.tree import Search, ShareGroup
from swellmq.codec.packets import Publish, Subscribe, TopicRequest, Unsubscribe
from swellmq.connection import Connection, Question


@mypyc_attr(native_class=True, acyclic=True)
class Work(Question):
    """As it is: nothing but a place in the queue, for a client that has had its share of a turn."""

    def __init__(self) -> None:
        self.connection: Connection | None = None  # parked until it is done; None: nobody, or gone
        self.reply: bytes = b""  # what it gets then
        self.changes: i64 = 0  # `Core.changes` before it was begun


@final
@mypyc_attr(native_class=True, acyclic=True)
class Spread(Work):
    """Messages on their way to very many subscribers: the `publish` that is given, or the packets of `piece`."""

    def __init__(
        self,
        targets: list[Subscription],
        groups: list[ShareGroup] | None,
        publisher: Session | None,
        publish: Publish | None,
        piece: bytes = b"",
        protocol_version: int = 0,
    ) -> None:
        super().__init__()
        self.targets = targets  # when it was published; not to be changed
        self.groups = groups
        self.publisher = publisher
        self.publish = publish  # the one that is being delivered
        self.piece = piece
        self.protocol_version = protocol_version  # of the packets
        self.pos: i64 = 0  # in `piece`, of the next packet
        self.next: i64 = 0  # index of the next subscriber of `publish`; the groups are behind the targets

    def done(self) -> bool:
        """Whether all is delivered."""
        return self.publish is None and self.pos == len(self.piece)


@final
@mypyc_attr(native_class=True, acyclic=True)
class Routing(Work):
    """A message whose subscribers are still to be found: a will that was due when enough was done in its turn, or one
    that crosses very many filters."""

    def __init__(self, publish: Publish, publisher: Session | None, search: Search | None = None) -> None:
        super().__init__()
        self.publish = publish
        self.publisher = publisher
        self.search = search  # None: not begun
        self.spread: Spread | None = None  # once they are found


@final
@mypyc_attr(native_class=True, acyclic=True)
class HandOver(Work):
    """What a session that has ended held of shared subscriptions, on its way to their other members."""

    def __init__(self, deliveries: list[Delivery], left: DeliveryQueue | None) -> None:
        super().__init__()
        self.deliveries = deliveries  # that were in flight
        self.next: i64 = 0  # index of the first of them that is still here
        self.left = left  # what waited, and by other subscriptions, too


@final
@mypyc_attr(native_class=True, acyclic=True)
class Filters(Work):
    """A SUBSCRIBE or UNSUBSCRIBE (`subscribe.py`), of which some filters are done; it is answered once."""

    def __init__(self, packet: Subscribe | Unsubscribe, changes: i64) -> None:
        super().__init__()
        self.packet = packet
        self.changes = changes
        self.body: bytes = b""  # its filters while they are decoded, which comes first where they are many
        self.barrier: Request | None = None  # the cluster's answer, after which replays are lined up; they come last
        self.pos: i64 = 0  # of the next filter: in `body`, or its index among those that are lined up
        self.verdicts: list[int] | None = None  # of access, for each filter
        self.answered: Request | None = None  # the question that access has answered
        self.reason_codes: list[int] = []  # of the filters that are done
        self.retained: list[TopicRequest] = []  # those that want retained messages
        self.phrases: list[str] = []  # why some were not granted
