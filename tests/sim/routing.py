"""Who is entitled to a message: routing by subscriptions and shared groups, as the specification has it."""

from __future__ import annotations

from collections.abc import Iterable

from sim.model import Expect, Grant, Message, Session, Subscription, matches

from swellmq.limits import Limits

FRAME_BYTES = 40  # of a PUBLISH beside topic and payload, at the most


class Routing:
    """The state of a broker as seen from outside, and what a message that is accepted changes in it."""

    def __init__(self, limits: Limits, late: bool) -> None:
        self.limits = limits
        self.late = late  # acknowledgements, and QoS 2 to kept sessions, wait for the store
        self.turn = 0
        self.now_ms = 0
        self.wall_ms = 0
        self.whole_wall_ms = 0  # the wall clock when all was stored: what leaves now was ready then, at the earliest
        self.messages = 0
        self.transmissions = 0
        self.sessions: dict[str, Session] = {}
        self.groups: dict[tuple[str, str], dict[Session, Subscription]] = {}
        self.group_pending: dict[bytes, list[Expect]] = {}
        self.retained: dict[str, Message] = {}
        self.retained_since: dict[str, list[Message]] = {}  # all that were retained, for replays that take their time
        self.fresh: list[Expect] = []  # QoS 0 of this turn
        self.ticket = 0  # of the batch that is open
        self.sealed_wall_ms = 0  # the wall clock when the batch before it was sealed
        self.stored = 0  # the last ticket that is safe
        self.refusing = 0  # the reason code with which durable work is refused, while the disk fails
        self.changes = 0  # durable ones that are beyond doubt
        self.shelves = limits.waiting_bytes < Limits().waiting_bytes  # messages may be on disk only
        self.counts: dict[str, int] = {}

    def count(self, what: str, number: int = 1) -> None:
        self.counts[what] = self.counts.get(what, 0) + number

    def since(self, changes: int) -> int:
        """The ticket for which an answer has to wait: 0 where there was no durable change since there were so many."""
        return self.ticket if self.changes != changes else 0

    def is_durable(self, publisher: Session, topic: str, qos: int, retain: bool) -> bool:
        """Whether to take this message would change what is kept."""
        if retain or (qos == 2 and publisher.expiry_s > 0):
            return True
        if not qos:
            return False
        for session in self.sessions.values():
            if session.expiry_s > 0 and any(one.qos for one in session.matching(topic)):
                return True
        return any(
            session.expiry_s > 0 and one.qos > 0
            for (_, topic_filter), members in self.groups.items()
            if matches(topic_filter, topic)
            for session, one in members.items()
        )

    def route(
        self, publisher: str, topic: str, payload: bytes, qos: int, retain: bool, interval_s: int, waited_ms: int = 0
    ) -> bool:
        """A message was accepted: who is entitled to it? Whether anybody has a subscription that matches."""
        self.messages += 1
        self.count("messages")
        message = Message(self.messages, topic, payload, qos, retain, publisher, interval_s)
        if interval_s >= 0:
            message.expires_ms = self.wall_ms - waited_ms + interval_s * 1000
            if message.expired(self.wall_ms):
                return True  # while it waited for an answer
        if retain:
            self.retained_since.setdefault(topic, []).append(message)
            cleared = self.retained.get(topic)
            if payload:
                self.changes += 1
                self.retained[topic] = message
            elif cleared is not None:
                self.changes += not cleared.expired(self.wall_ms)
                del self.retained[topic]
        matched = False
        for session in self.sessions.values():
            found = session.matching(topic)
            if not found:
                continue
            matched = True
            if session.client_id == publisher:
                found = [one for one in found if not one.no_local]
                if not found:
                    continue
            if payload:
                self._expect(session, message, _grant(message, found))
            else:  # one clearing of a retained message can't be told from another: these are not watched
                session.untold += 1
        for key, members in self.groups.items():
            if members and matches(key[1], topic):
                matched = True
                if payload:
                    self._expect_shared(key, members, message)
                else:
                    for session in members:
                        session.untold += 1
        return matched

    def _expect(self, session: Session, message: Message, grant: Grant) -> None:
        connection = session.live()
        expect = Expect(message, {session: [grant]}, self.turn, connection)
        if grant[0] == 0:
            if connection is None:
                if not self.limits.queue_qos_0:
                    return
                expect.required = not self.shelves  # it is not stored, and would overtake what is
            else:
                self.fresh.append(expect)
        if connection is None:
            session.shelf = self.shelves
        if connection is not None and self.too_large(connection.packet_bytes_max, message):
            expect.required = False
        if self.waiting(session) >= self.limits.queued_messages:
            expect.required = False
        if grant[0] and session.expiry_s > 0:
            expect.ticket = self.ticket
            self.changes += expect.required
        session.pending.setdefault(message.payload, []).append(expect)

    def _expect_shared(self, key: tuple[str, str], members: dict[Session, Subscription], message: Message) -> None:
        expect = Expect(message, {}, self.turn, shared=key)
        for session, subscription in members.items():
            expect.grants[session] = [_grant(message, [subscription])]
        for session in self._first_asked(members, message):
            self._weigh_member(expect, session)
        self.group_pending.setdefault(message.payload, []).append(expect)
        self.count("shared messages")

    def _first_asked(self, members: Iterable[Session], message: Message) -> list[Session]:
        """Those members of which one gets a message: clients that are here and take it, if there are any."""
        here: list[Session] = []
        for session in members:
            connection = session.live()
            if connection is not None and not self.too_large(connection.packet_bytes_max, message):
                here.append(session)
        return here or list(members)

    def _weigh_member(self, expect: Expect, session: Session) -> None:
        """A message that this member would not get, or not for certain, may be lost if it is the one that is chosen."""
        connection = session.live()
        if any(grant[0] == 0 for grant in expect.grants[session]) and (
            connection is None or connection.stalled_ms >= 0
        ):
            expect.required = False
        if connection is not None and self.too_large(connection.packet_bytes_max, expect.message):
            expect.required = False
        if self.waiting(session) >= self.limits.queued_messages or self.limits.outbox_bytes < 65_536:
            expect.required = False
        if connection is None:
            session.shelf = self.shelves

    def waiting(self, session: Session) -> int:
        """How many messages may wait in the session's queue, at the most."""
        if self.limits.queued_messages >= 10_000:
            return 0  # more than any run has
        own = sum(len(expects) for expects in session.pending.values()) + len(session.flights)
        own += session.untold + len(session.replays) * len(self.retained)
        return own + sum(session in expect.grants for expects in self.group_pending.values() for expect in expects)

    def too_large(self, packet_bytes_max: int, message: Message) -> bool:
        """Whether a message may be above this Maximum Packet Size; 0: none."""
        size = FRAME_BYTES + len(message.topic) + len(message.payload)
        return 0 < packet_bytes_max < size

    def hand_over(self, expect: Expect, qos: int, required: bool = True) -> None:
        """A session has ended before it acknowledged a message: another member of its shared group gets it."""
        if expect.shared is None or qos != 1:
            return
        again = Expect(expect.message, {}, self.turn, shared=expect.shared, required=required)
        if self._add_members(again):
            self.count("handed over")
            self.group_pending.setdefault(expect.message.payload, []).append(again)

    def _add_members(self, expect: Expect) -> bool:
        assert expect.shared is not None
        members = self.groups.get(expect.shared, {})
        if not members:
            expect.required = False
        for member, subscription in members.items():
            grants = expect.grants.setdefault(member, [])
            grants.append(_grant(expect.message, [subscription]))  # it may have others since an earlier time
            self._weigh_member(expect, member)
        return bool(members)


def _grant(message: Message, subscriptions: list[Subscription]) -> Grant:
    """One message for all subscriptions that match: the highest QoS, all identifiers."""
    qos = min(message.qos, max(one.qos for one in subscriptions))
    retain = message.retain and any(one.retain_as_published for one in subscriptions)
    return qos, retain, tuple(sorted(one.identifier for one in subscriptions if one.identifier))
