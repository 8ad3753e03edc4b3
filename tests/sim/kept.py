"""What a store must give back: the oracle's state at one moment, and what of it a new broker has.

The broker tells nothing of its state here. A moment is a ticket: all that was handled until it was sealed is in it, and
nothing that was handled later. A broker that is killed comes back as it was at one of its tickets, and that is never
before the last one that it was told to be safe.
"""

from __future__ import annotations

from sim.model import Expect, Flight, Message, Replay, Session, Violation
from sim.oracle import Oracle, moment

from swellmq.codec.spec import SESSION_EXPIRY_NEVER


class Kept:
    """A copy of all that is to be kept, taken from `before`."""

    def __init__(self, before: Oracle) -> None:
        self.before = before
        self.sealed_wall_ms = before.sealed_wall_ms
        self.offset_ms = before.wall_ms - before.now_ms
        self.retained: dict[str, Message] = dict(before.retained)
        self.retained_since = {topic: list(messages) for topic, messages in before.retained_since.items()}
        self.expects: dict[Expect, Expect] = {}  # the copy of each
        self.sessions = {one: _copy(one) for one in before.sessions.values() if one.expiry_s > 0}
        for session, copy in self.sessions.items():
            for payload, expects in session.pending.items():
                made = [self._expect(expect) for expect in expects if expect.grants[session][0][0] > 0]
                if made:
                    copy.pending[payload] = made
            for identifier, flight in session.flights.items():
                expect = self._expect(flight.expect)
                made_flight = Flight(expect, flight.qos, flight.connection, flight.order)
                made_flight.released, made_flight.may_vanish = flight.released, flight.may_vanish
                copy.flights[identifier] = made_flight
        self.group_pending: dict[bytes, list[Expect]] = {}
        for payload, expects in before.group_pending.items():
            for expect in expects:
                made_expect = self._expect(expect)
                if made_expect.grants and not expect.sent:
                    self.group_pending.setdefault(payload, []).append(made_expect)

    def _expect(self, expect: Expect) -> Expect:
        """A copy, for those sessions that are kept, at the QoS that is kept."""
        copy = self.expects.get(expect)
        if copy is not None:
            return copy
        grants = {
            self.sessions[session]: [grant for grant in found if grant[0]]
            for session, found in expect.grants.items()
            if session in self.sessions and any(grant[0] for grant in found)
        }
        copy = Expect(expect.message, grants, expect.created, None, expect.shared, expect.replayed, expect.required)
        copy.sent = expect.sent
        if sum(map(len, grants.values())) != sum(map(len, expect.grants.values())):
            copy.required = False  # another member of the group may have had it, who is gone, or at QoS 0
        self.expects[expect] = copy
        return copy

    def bring_back(self, after: Oracle) -> None:
        """Give it to the oracle of the new broker, whose clocks are set."""
        before = self.before
        self._add_what_left()
        after.sealed_wall_ms = self.sealed_wall_ms
        after.messages, after.transmissions = before.messages, before.transmissions
        after.retained = {topic: one for topic, one in self.retained.items() if not one.expired(after.wall_ms)}
        after.retained_since = self.retained_since
        after.group_pending = self.group_pending
        for session in self.sessions.values():
            after.sessions[session.client_id] = session
            for one in session.subscriptions.values():
                if one.share_name:
                    after.groups.setdefault((one.share_name, one.topic_filter), {})[session] = one
            session.left = after.turn
            session.shelf = after.shelves
            if session.connection is None:
                session.left_ms += self.offset_ms - (after.wall_ms - after.now_ms)
            else:
                session.left_ms = after.now_ms  # its connection was lost when the broker was
                session.connection = None
            if session.expiry_s != SESSION_EXPIRY_NEVER:
                session.expires_due_ms = moment(max(0, session.left_ms + session.expiry_s * 1000))
            if session.will is not None:
                session.will_due_ms = moment(max(0, session.left_ms + session.will.delay_s * 1000))
            after.count("sessions kept")

    def _add_what_left(self) -> None:
        """What was sent at QoS 2 later than this moment waited for it: it is in flight here too."""
        for session, copy in self.sessions.items():
            for identifier, flight in session.flights.items():
                known = copy.flights.get(identifier)
                if flight.qos != 2 or (known is not None and known.expect is self.expects.get(flight.expect)):
                    continue
                expect = self.expects.get(flight.expect)
                if expect is None and flight.expect.replayed:
                    expect = self._expect(flight.expect)
                if expect is None or known is not None:
                    payload = flight.expect.message.payload
                    raise Violation(f"{session.client_id}: {payload[:24]!r} left at QoS 2 before it was stored")
                copy.flights[identifier] = Flight(expect, 2, flight.connection, flight.order)
                copy.flights[identifier].may_vanish = flight.may_vanish
                self._take_out(copy, expect)

    def _take_out(self, session: Session, expect: Expect) -> None:
        """It is no longer to be sent for the first time."""
        expect.sent = True
        for pending in (session.pending, self.group_pending):
            expects = pending.get(expect.message.payload, [])
            if expect in expects:
                expects.remove(expect)
                if not expects:
                    del pending[expect.message.payload]


def _copy(session: Session) -> Session:
    """A session without its messages."""
    copy = Session(session.client_id, session.expiry_s, session.connection, session.number)
    copy.left_ms = session.left_ms
    copy.subscriptions = dict(session.subscriptions)
    copy.received = dict(session.received)
    copy.will = session.will
    copy.untold = session.untold
    copy.order = dict(session.order)
    for replay in session.replays:  # they are not kept, but what was sent of them already is
        made = Replay(replay.subscription, replay.grant_qos, replay.started, replay.turn, replay.packet_bytes_max)
        made.done = dict(replay.done)
        made.required = False
        copy.replays.append(made)
    return copy
