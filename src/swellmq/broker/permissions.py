"""What each session may do, as Rights say, asked once for each session and topic and then remembered.

The ways of a message pay nothing for it: who may receive a topic is settled when its route is made, and who may publish
to it is noted in the route, which knows the last session that was allowed by its number.
"""

from __future__ import annotations

from typing import final

from mypy_extensions import i64, mypyc_attr, u8

from swellmq.broker.access import MAY_PUBLISH, MAY_RECEIVE, MAY_RETAIN, MAY_SUBSCRIBE, MAY_WILL, Rights
from swellmq.broker.session import Session, Subscription
from swellmq.codec.packets import Connect, Publish
from swellmq.codec.topic import split_share
from swellmq.limits import DECISION_BYTES, DECISION_OVERHEAD_BYTES


@final
@mypyc_attr(native_class=True)
class Permissions:
    """The decisions of `rights` that were asked for lately, in two halves; a full one takes the older one's place."""

    def __init__(self, rights: Rights, last_number: i64 = 0) -> None:
        self.rights = rights
        self.now: dict[tuple[int, int, bytes], bool] = {}
        self.before: dict[tuple[int, int, bytes], bool] = {}
        self.now_bytes: i64 = 0  # of the newer half
        self.last_number: i64 = last_number  # numbers are never used again: a session keeps the one it has

    def allows(self, session: Session, right: u8, topic: bytes) -> bool:
        """Whether a session has a right on a topic."""
        if session.number == 0:
            self.last_number += 1
            session.number = self.last_number
        key = (int(session.number), int(right), topic)
        known = self.now.get(key)
        if known is None:
            known = self.before.get(key)
            if known is None:
                known = self.rights.allows(session.username, session.client_id, right, topic)
            if self.now_bytes >= DECISION_BYTES // 2:
                self.before = self.now
                self.now = {}
                self.now_bytes = 0
            self.now[key] = known
            self.now_bytes += len(topic) + DECISION_OVERHEAD_BYTES
        return known

    def may_publish(self, session: Session, publish: Publish) -> bool:
        """Whether a session may publish this message."""
        if not self.allows(session, MAY_PUBLISH, publish.topic_name):
            return False
        return not publish.retain or self.allows(session, MAY_RETAIN, publish.topic_name)

    def may_subscribe(self, session: Session, topic_filter: bytes) -> bool:
        """Whether a session may subscribe to a filter, shared or not."""
        return self.allows(session, MAY_SUBSCRIBE, split_share(topic_filter)[1])

    def may_receive(self, session: Session, topic_name: bytes) -> bool:
        """Whether a session may get messages of a topic."""
        return self.allows(session, MAY_RECEIVE, topic_name)

    def may_leave_will(self, session: Session, will: Publish) -> bool:
        """Whether the will of a session may be published now."""
        if not self.allows(session, MAY_WILL, will.topic_name):
            return False
        return not will.retain or self.allows(session, MAY_RETAIN, will.topic_name)

    def may_have_will(self, connect: Connect, will: Publish) -> bool:
        """Whether a client that comes in may have this will."""
        rights, topic_name = self.rights, will.topic_name
        if not rights.allows(connect.username, connect.client_id, MAY_WILL, topic_name):
            return False
        return not will.retain or rights.allows(connect.username, connect.client_id, MAY_RETAIN, topic_name)

    def receivers(self, subscriptions: list[Subscription], topic_name: bytes) -> list[Subscription]:
        """Those of some subscriptions whose sessions may get messages of a topic."""
        return [one for one in subscriptions if self.allows(one.session, MAY_RECEIVE, topic_name)]

    def replace(self, rights: Rights) -> None:
        """Decide by other rights from now on."""
        self.rights = rights
        self.now = {}
        self.before = {}
        self.now_bytes = 0

    def statistics(self) -> dict[str, int]:
        """How many decisions are remembered."""
        return {"decisions": len(self.now) + len(self.before)}
