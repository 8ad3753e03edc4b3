"""What must happen: the clients' packets and the passing of time, turned into what each session may expect.

Written from the specification and the documented settings, not from the broker's code. `watch.py` compares what the
broker sends with it.
"""

from __future__ import annotations

from collections.abc import Iterable

from sim.model import Connection, Expect, Flight, Grant, Message, Replay, Session, Subscription, Will, matches

from swellmq.codec.packets import TopicRequest
from swellmq.codec.spec import (
    MQTT_5_0,
    NO_MATCHING_SUBSCRIBERS,
    NO_SUBSCRIPTION_EXISTED,
    PACKET_IDENTIFIER_NOT_FOUND,
    PINGRESP,
    PUBACK,
    PUBCOMP,
    PUBREC,
    PUBREL,
    SESSION_EXPIRY_NEVER,
    SUBACK,
    UNSUBACK,
)
from swellmq.limits import TICK_MS, Limits

FRAME_BYTES = 40  # of a PUBLISH beside topic and payload, at the most


def moment(due_ms: int) -> int:
    """When a deadline comes up: they are kept in buckets."""
    return -(-due_ms // TICK_MS) * TICK_MS


def split_share(topic_filter: str) -> tuple[str, str]:
    """Share name, or "", and the filter within."""
    if not topic_filter.startswith("$share/"):
        return "", topic_filter
    _, share_name, bare = topic_filter.split("/", 2)
    return share_name, bare


class Oracle:
    """The state that a broker must have, seen from outside."""

    def __init__(self, limits: Limits, late: bool) -> None:
        self.limits = limits
        self.late = late  # acknowledgements, and QoS 2 to kept sessions, wait for the store
        self.turn = 0
        self.now_ms = 0
        self.wall_ms = 0
        self.messages = 0
        self.connections = 0
        self.transmissions = 0
        self.sessions: dict[str, Session] = {}
        self.groups: dict[tuple[str, str], dict[Session, Subscription]] = {}
        self.group_pending: dict[bytes, list[Expect]] = {}
        self.retained: dict[str, Message] = {}
        self.retained_since: dict[str, list[Message]] = {}  # all that were retained, for replays that take their time
        self.fresh: list[Expect] = []  # QoS 0 of this turn
        self.closing = False  # a connection was closed in this turn by the broker, at a moment that is not known
        self.counts: dict[str, int] = {}

    def count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    # Time

    def tick(self) -> None:
        """Wills and ends of sessions whose moment has come."""
        for session in list(self.sessions.values()):
            if session.connection is not None or session.ended:
                continue
            if 0 <= session.expires_due_ms <= self.now_ms:
                self.count("sessions expired")
                self.end_session(session)
            elif 0 <= session.will_due_ms <= self.now_ms:
                self.count("delayed wills")
                self.send_will(session)

    # Sessions

    def connect(
        self,
        name: str,
        client_id: str,
        version: int,
        clean: bool,
        expiry_s: int,
        will: Will | None,
        **options: int,
    ) -> Connection:
        """A CONNECT was handled."""
        session = self.sessions.get(client_id)
        if session is not None and session.connection is not None:
            self.count("takeovers")
            old = session.connection
            old.parting = 0x8E if old.version == MQTT_5_0 else -1
            self.detach(old, "session taken over")
            session = self.sessions.get(client_id)
        if session is not None and clean:
            self.end_session(session)
            session = None
        present = session is not None
        if session is None:
            session = self.sessions[client_id] = Session(client_id)
        session.will = will
        session.will_due_ms = session.expires_due_ms = -1
        if version != MQTT_5_0:
            expiry_s = 0 if clean else int(self.limits.session_expiry_3_s)
        session.expiry_s = expiry_s
        self.connections += 1
        connection = Connection(name, session, version, self.connections, present, **options)
        session.connection = connection
        connection.last_ms = self.now_ms
        for flight in session.flights.values():
            flight.may_vanish = flight.may_vanish or self.too_large(connection, flight.expect.message)
        for expects in (*session.pending.values(), *self.group_pending.values()):
            for expect in expects:
                if session in expect.grants and self.too_large(connection, expect.message):
                    expect.required = False
        self.count("resumed" if present else "new sessions")
        return connection

    def disconnect(self, connection: Connection, reason_code: int, expiry_s: int) -> None:
        """A DISCONNECT was handled; `expiry_s` is the new Session Expiry Interval or -1."""
        if expiry_s >= 0:
            connection.session.expiry_s = expiry_s
        if reason_code == 0:
            connection.will_wanted = False
        self.detach(connection, "client disconnected")

    def detach(self, connection: Connection, reason: str) -> None:
        """A connection has ended: what its will and its session come to."""
        if not connection.open:
            return
        connection.open = False
        connection.ends_as = reason
        self.count(reason)
        session = connection.session
        session.connection = None
        session.left = self.turn
        for replay in session.replays:
            replay.required = False
        if self.late:
            self._lose_held(session)
        if not connection.will_wanted:
            session.will = None
        if session.expiry_s == 0:
            self.end_session(session)
            return
        if session.expiry_s != SESSION_EXPIRY_NEVER:
            session.expires_due_ms = moment(self.now_ms + session.expiry_s * 1000)
        if session.will is not None:
            if session.will.delay_s == 0:
                self.send_will(session)
            else:
                session.will_due_ms = moment(self.now_ms + session.will.delay_s * 1000)

    @staticmethod
    def _lose_held(session: Session) -> None:
        """QoS 0 that waited behind a CONNACK, for the store, is lost with its connection."""
        for expects in session.pending.values():
            for expect in expects:
                if expect.grants[session][0][0] == 0:
                    expect.required = False

    def end_session(self, session: Session) -> None:
        """A session is discarded; its will goes out, and shared messages go to others."""
        session.ended = True
        del self.sessions[session.client_id]
        for one in session.subscriptions.values():
            self._leave_group(session, one)
        self.send_will(session)
        for flight in session.flights.values():
            self.hand_over(flight.expect, flight.qos, not flight.may_vanish)
        for expects in self.group_pending.values():
            for expect in expects:
                if session in expect.grants and not expect.sent:
                    if any(grant[0] != 1 for grant in expect.grants[session]):
                        expect.required = False  # at QoS 2 it may have been under way, and then it is lost
                    self._add_members(expect)

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

    def send_will(self, session: Session) -> None:
        """The will of a session, if it has one, is due."""
        will = session.will
        session.will = None
        session.will_due_ms = -1
        if will is not None:
            self.count("wills")
            self.route(session.client_id, will.topic, will.payload, will.qos, will.retain, will.interval_s)

    # Messages

    def publish(
        self,
        connection: Connection,
        topic: str,
        payload: bytes,
        qos: int,
        retain: bool,
        identifier: int,
        interval_s: int,
    ) -> None:
        """A PUBLISH was handled."""
        session = connection.session
        if qos == 2:
            if identifier in session.received:
                connection.owe(PUBREC, identifier, 0)
                return
            session.received[identifier] = True
        matched = self.route(session.client_id, topic, payload, qos, retain, interval_s)
        if qos:
            codes = (0,) if matched or connection.version != MQTT_5_0 else (0, NO_MATCHING_SUBSCRIBERS)
            connection.owe(PUBACK if qos == 1 else PUBREC, identifier, *codes)

    def route(self, publisher: str, topic: str, payload: bytes, qos: int, retain: bool, interval_s: int) -> bool:
        """A message was accepted: who is entitled to it? Whether anybody has a subscription that matches."""
        self.messages += 1
        self.count("messages")
        message = Message(self.messages, topic, payload, qos, retain, publisher, interval_s)
        if interval_s >= 0:
            message.expires_ms = self.wall_ms + interval_s * 1000
        if retain:
            self.retained_since.setdefault(topic, []).append(message)
            if payload:
                self.retained[topic] = message
            else:
                self.retained.pop(topic, None)
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
        connection = session.connection
        expect = Expect(message, {session: [grant]}, self.turn, connection)
        if grant[0] == 0:
            if connection is None:
                if not self.limits.queue_qos_0:
                    return
                expect.required = session.left < self.turn  # else it may have gone to the connection that was closing
            else:
                self.fresh.append(expect)
        if connection is not None and self.too_large(connection, message):
            expect.required = False
        if self.waiting(session) >= self.limits.queued_messages:
            expect.required = False
        session.pending.setdefault(message.payload, []).append(expect)

    def _expect_shared(self, key: tuple[str, str], members: dict[Session, Subscription], message: Message) -> None:
        expect = Expect(message, {}, self.turn, shared=key)
        for session, subscription in members.items():
            expect.grants[session] = [_grant(message, [subscription])]
            self._weigh_member(expect, session)
        if self.closing:
            expect.required = False  # it may have been given to a connection that was about to close
        self.group_pending.setdefault(message.payload, []).append(expect)
        self.count("shared messages")

    def _weigh_member(self, expect: Expect, session: Session) -> None:
        """A message that this member would not get, or not for certain, may be lost if it is the one that is chosen."""
        connection = session.connection
        if any(grant[0] == 0 for grant in expect.grants[session]) and (
            connection is None or connection.stalled_ms >= 0
        ):
            expect.required = False
        if connection is not None and self.too_large(connection, expect.message):
            expect.required = False
        if self.waiting(session) >= self.limits.queued_messages or self.limits.outbox_bytes < 65_536:
            expect.required = False

    def waiting(self, session: Session) -> int:
        """How many messages may wait in the session's queue, at the most."""
        if self.limits.queued_messages >= 10_000:
            return 0  # more than any run has
        own = sum(len(expects) for expects in session.pending.values()) + len(session.flights)
        own += session.untold + len(session.replays) * len(self.retained)
        return own + sum(session in expect.grants for expects in self.group_pending.values() for expect in expects)

    def too_large(self, connection: Connection, message: Message) -> bool:
        """Whether a message may be above the Maximum Packet Size of a client."""
        size = FRAME_BYTES + len(message.topic) + len(message.payload)
        return 0 < connection.packet_bytes_max < size

    # Acknowledgements

    def acknowledge(self, connection: Connection, packet_type: int, identifier: int, reason_code: int) -> None:
        """A PUBACK, PUBREC, PUBREL or PUBCOMP of the client was handled."""
        session = connection.session
        if packet_type == PUBREL:
            known = session.received.pop(identifier, False)
            refusal = PACKET_IDENTIFIER_NOT_FOUND if connection.version == MQTT_5_0 else 0
            connection.owe(PUBCOMP, identifier, 0 if known else refusal)
            return
        flight = session.flights.get(identifier)
        if packet_type == PUBREC:
            if flight is None or flight.qos != 2:
                refusal = PACKET_IDENTIFIER_NOT_FOUND if connection.version == MQTT_5_0 else 0
                connection.owe(PUBREL, identifier, refusal)
            elif reason_code >= 0x80:
                self._finish(connection, identifier)
            else:
                flight.released = True
                connection.owe(PUBREL, identifier, 0)
        elif flight is not None and (flight.qos == 1 if packet_type == PUBACK else flight.released):
            self._finish(connection, identifier)

    def _finish(self, connection: Connection, identifier: int) -> None:
        del connection.session.flights[identifier]
        connection.outstanding.pop(identifier, None)
        self.count("acknowledged")

    # Subscriptions

    def subscribe(
        self, connection: Connection, packet_identifier: int, requests: Iterable[TopicRequest], identifier: int
    ) -> None:
        """A SUBSCRIBE was handled; `identifier` is the Subscription Identifier or 0."""
        session = connection.session
        codes: list[int] = []
        for request in requests:
            topic_filter = request.topic_filter.decode()
            share_name, bare = split_share(topic_filter)
            is_new = topic_filter not in session.subscriptions
            one = Subscription(bare, share_name, request.qos, request.no_local, request.retain_as_published, identifier)
            self._set_subscription(session, topic_filter, one)
            codes.append(request.qos)
            if not share_name and (request.retain_handling == 0 or (request.retain_handling == 1 and is_new)):
                session.replays.append(Replay(one, request.qos, self.messages))
        connection.owe(SUBACK, packet_identifier, *codes)

    def _set_subscription(self, session: Session, topic_filter: str, one: Subscription) -> None:
        old = session.subscriptions.get(topic_filter)
        if old is not None:
            self._stop_replays(session, old)
        session.subscriptions[topic_filter] = one
        session.routes = {}
        if one.share_name:
            self.groups.setdefault((one.share_name, one.topic_filter), {})[session] = one

    def unsubscribe(self, connection: Connection, packet_identifier: int, topic_filters: Iterable[bytes]) -> None:
        """An UNSUBSCRIBE was handled; what is under way or queued still arrives."""
        session = connection.session
        codes: list[int] = []
        for topic_filter in topic_filters:
            one = session.subscriptions.pop(topic_filter.decode(), None)
            codes.append(NO_SUBSCRIPTION_EXISTED if one is None else 0)
            if one is not None:
                session.routes = {}
                self._leave_group(session, one)
                self._stop_replays(session, one)
        connection.owe(UNSUBACK, packet_identifier, *(codes if connection.version == MQTT_5_0 else ()))

    def _leave_group(self, session: Session, one: Subscription) -> None:
        if one.share_name:
            del self.groups[one.share_name, one.topic_filter][session]

    @staticmethod
    def _stop_replays(session: Session, one: Subscription) -> None:
        for replay in session.replays:
            if replay.subscription is one:
                replay.required = False

    def ping(self, connection: Connection) -> None:
        """A PINGREQ was handled."""
        connection.owe(PINGRESP, 0)

    # Deliveries

    def take_flight(self, session: Session, connection: Connection, identifier: int, expect: Expect, qos: int) -> None:
        """A QoS 1 or 2 message was sent for the first time."""
        if session.ended:
            self.hand_over(expect, qos)
            return
        self.transmissions += 1
        session.flights[identifier] = Flight(expect, qos, connection, self.transmissions)


def _grant(message: Message, subscriptions: list[Subscription]) -> Grant:
    """One message for all subscriptions that match: the highest QoS, all identifiers."""
    qos = min(message.qos, max(one.qos for one in subscriptions))
    retain = message.retain and any(one.retain_as_published for one in subscriptions)
    return qos, retain, tuple(sorted(one.identifier for one in subscriptions if one.identifier))
