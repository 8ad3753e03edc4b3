"""What each session may do, as Rights say, asked once for each session and topic and then remembered.

The ways of a message pay nothing for it: who may receive a topic is settled when its route is made, and who may publish
to it is noted in the route, which knows the last session that was allowed by its number.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64, mypyc_attr, u8

from swellmq.broker.access import MAY_PUBLISH, MAY_RECEIVE, MAY_RETAIN, MAY_SUBSCRIBE, MAY_WILL, Rights
from swellmq.broker.retained import Source
from swellmq.broker.session import Session, Subscription
from swellmq.codec.packets import Connect, Publish
from swellmq.codec.topic import split_share
from swellmq.connection import Connection
from swellmq.limits import DECISION_BYTES, DECISION_OVERHEAD_BYTES

# What a session's number is a multiple of, more or less: what is over says by which listener its client came last, plus
# one, where listeners have rights of their own. 0: nobody knows, since it was stored by a broker that is gone.
PLACES: Final = 65_536


@final
@mypyc_attr(native_class=True)
class Permissions:
    """The decisions of `rights` that were asked for lately, in two halves; a full one takes the older one's place.

    `rights_at` has other rights for the clients of single listeners, by their index, and `names` what these are called.
    """

    def __init__(
        self,
        rights: Rights,
        rights_at: dict[int, Rights] | None = None,
        last_number: i64 = 0,
        generation: i64 = 0,
        names: list[str] | None = None,
    ) -> None:
        self.rights = rights
        self.rights_at: dict[int, Rights] = rights_at or {}
        self.names: list[str] = names or []
        self.generation: i64 = generation  # how often rights have changed
        self.now: dict[tuple[int, int, bytes], bool] = {}
        self.before: dict[tuple[int, int, bytes], bool] = {}
        self.now_bytes: i64 = 0  # of the newer half
        self.last_number: i64 = last_number  # numbers are never used again: a session keeps the one it has

    def allows(self, session: Session, right: u8, topic: bytes) -> bool:
        """Whether a session has a right on a topic."""
        if session.number == 0:
            self.last_number += 1
            session.number = self.last_number * PLACES + self._place(session.connection)
        key = (int(session.number), int(right), topic)
        known = self.now.get(key)
        if known is None:
            known = self.before.get(key)
            if known is None:
                known = self._decide(session, right, topic)
            if self.now_bytes >= DECISION_BYTES // 2:
                self.now, self.before = self.before, self.now
                self.now.clear()  # in place, see `drain`
                self.now_bytes = 0
            self.now[key] = known
            self.now_bytes += len(topic) + DECISION_OVERHEAD_BYTES
        return known

    def _place(self, connection: Connection | None) -> i64:
        """What stands for the listener that a client came by."""
        if connection is None:
            return 0
        return i64(connection.listener) + 1

    def _decide(self, session: Session, right: u8, topic: bytes) -> bool:
        """Ask the rights of the listener that the session's client came by last.

        Where that is not known its messages are kept if one of all rights allows it: they are looked at again when the
        client is back.
        """
        if not self.rights_at:
            return self.rights.allows(session.username, session.client_id, right, topic)
        connection = session.connection
        place = self._place(connection) if connection is not None else session.number % PLACES
        return self._allows_at(place, session.username, session.client_id, right, topic)

    def _allows_at(self, place: i64, username: str | None, client_id: str, right: u8, topic: bytes) -> bool:
        """Whether the rights at a place allow something, or one of all rights where the place is not known."""
        if place == 0:
            for rights in self.rights_at.values():
                if rights.allows(username, client_id, right, topic):
                    return True
        return self._rights_of(place - 1).allows(username, client_id, right, topic)

    def _rights_of(self, listener: i64) -> Rights:
        return self.rights_at.get(int(listener), self.rights)

    def stay_with(self, session: Session, connection: Connection) -> bool:
        """Whether what is remembered of a session still holds for its client on another connection."""
        if not self.rights_at:
            return True
        return session.number == 0 or session.number % PLACES == self._place(connection)

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

    def may_have_will(self, connection: Connection, connect: Connect, will: Publish) -> bool:
        """Whether a client that comes in may have this will."""
        rights, topic_name = self._rights_of(i64(connection.listener)), will.topic_name
        if not rights.allows(connect.username, connect.client_id, MAY_WILL, topic_name):
            return False
        return not will.retain or rights.allows(connect.username, connect.client_id, MAY_RETAIN, topic_name)

    def receivers(self, subscriptions: list[Subscription], topic_name: bytes) -> list[Subscription]:
        """Those of some subscriptions whose sessions may get messages of a topic."""
        return [one for one in subscriptions if self.allows(one.session, MAY_RECEIVE, topic_name)]

    def source(self, session: Session) -> Source:
        """What to keep of the publisher of a retained message."""
        listener = session.number % PLACES - 1
        name = ""
        if 0 <= listener < len(self.names):
            name = self.names[listener]
        elif listener >= 0:
            name = str(listener)
        return Source(session.username, session.client_id, name, self.generation)

    def _place_of(self, source: Source) -> i64:
        """What stands for the listener by which a retained message came; its settings may have changed since."""
        name = source.listener
        if name in self.names:
            return i64(self.names.index(name)) + 1
        return i64(int(name)) + 1 if name.isdecimal() and not self.names else 0

    def may_stay(self, source: Source, topic_name: bytes) -> bool:
        """Whether the publisher of a retained message may still publish it: asked once, when rights have changed."""
        if source.generation != self.generation:
            place = self._place_of(source) if self.rights_at else 0
            for right in (MAY_PUBLISH, MAY_RETAIN):
                if not self._allows_at(place, source.username, source.client_id, right, topic_name):
                    return False
            source.generation = self.generation
        return True

    def replace(self, rights: Rights, rights_at: dict[int, Rights], generation: i64) -> None:
        """Decide by other rights from now on."""
        self.generation = generation
        self.rights = rights
        self.rights_at = rights_at
        self.forget()

    def forget(self) -> None:
        """Ask again for every decision."""
        self.now.clear()
        self.before.clear()
        self.now_bytes = 0

    def statistics(self) -> dict[str, int]:
        """How many decisions are remembered."""
        return {"decisions": len(self.now) + len(self.before)}
