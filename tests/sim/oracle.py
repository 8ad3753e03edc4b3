"""What must happen: the clients' packets and the passing of time, turned into what each session may expect.

Written from the specification and the documented settings, not from the broker's code. `watch.py` compares what the
broker sends with it.
"""

from __future__ import annotations

from collections.abc import Sequence

from sim.model import Connection, Expect, Flight, Granted, Replay, Session, Subscription, Will
from sim.routing import Routing

from swellmq.codec.packets import TopicRequest
from swellmq.codec.spec import (
    IMPLEMENTATION_SPECIFIC_ERROR,
    MQTT_5_0,
    NO_MATCHING_SUBSCRIBERS,
    NO_SUBSCRIPTION_EXISTED,
    NOT_AUTHORIZED,
    PACKET_IDENTIFIER_NOT_FOUND,
    PINGRESP,
    PUBACK,
    PUBCOMP,
    PUBREC,
    PUBREL,
    QUOTA_EXCEEDED,
    SERVER_BUSY,
    SERVER_UNAVAILABLE,
    SESSION_EXPIRY_NEVER,
    SUBACK,
    SUBACK_FAILURE,
    UNSUBACK,
)
from swellmq.limits import TICK_MS

RETURN_CODES = {
    NOT_AUTHORIZED: 5,
    QUOTA_EXCEEDED: 3,
    SERVER_BUSY: 3,
    SERVER_UNAVAILABLE: 3,
}  # what MQTT 3.1 and 3.1.1 have for a refusal


def moment(due_ms: int) -> int:
    """When a deadline comes up: they are kept in buckets."""
    return -(-due_ms // TICK_MS) * TICK_MS


def split_share(topic_filter: str) -> tuple[str, str]:
    """Share name, or "", and the filter within."""
    if not topic_filter.startswith("$share/"):
        return "", topic_filter
    _, share_name, bare = topic_filter.split("/", 2)
    return share_name, bare


class Oracle(Routing):
    """The state that a broker must have: what clients' packets and the passing of time make of it."""

    # Time

    def tick(self) -> None:
        """Wills and ends of sessions whose moment has come."""
        for session in list(self.sessions.values()):
            if session.connection is None and not session.ended:
                will_is_due = 0 <= session.will_due_ms <= self.now_ms  # then it is looked at, and its end as well
                self._look_at(session, will_is_due)

    def _look_at(self, session: Session, to_the_millisecond: bool) -> None:
        """The will or the end of a session without a client may be due: by the bucket of its moment, or exactly."""
        will_ms, end_ms = session.will_due_ms, session.expires_due_ms
        if to_the_millisecond:
            will_ms = session.left_ms + session.will.delay_s * 1000 if session.will is not None else -1
            end_ms = session.left_ms + session.expiry_s * 1000
        if session.expires_due_ms >= 0 and end_ms <= self.now_ms:
            self.count("sessions expired")
            self.end_session(session)
        elif session.will is not None and session.will_due_ms >= 0 and will_ms <= self.now_ms:
            self.count("delayed wills")
            self.send_will(session)

    # Sessions

    def refuse(self, connection: Connection, reason_code: int) -> None:
        """A CONNECT was refused."""
        self.count("refused")
        connection.refused = reason_code if connection.version == MQTT_5_0 else RETURN_CODES[reason_code]
        self.leave(connection, "refused")

    def kept_s(self, connection: Connection, clean: bool, expiry_s: int) -> int:
        """How long the session that a CONNECT asks for outlives it."""
        if connection.version == MQTT_5_0:
            return expiry_s
        return 0 if clean else int(self.limits.session_expiry_3_s)

    def refuses(self, connection: Connection, clean: bool, expiry_s: int) -> bool:
        """Whether the disk fails, and this CONNECT is about a session that is kept."""
        session = self.sessions.get(connection.session.client_id)
        kept = self.kept_s(connection, clean, expiry_s) > 0 or (session is not None and session.expiry_s > 0)
        return self.refusing != 0 and kept

    def connect(self, connection: Connection, clean: bool, expiry_s: int, will: Will | None) -> None:
        """A CONNECT was handled."""
        if self.refuses(connection, clean, expiry_s):
            self.count("not stored")
            self.refuse(connection, QUOTA_EXCEEDED if self.refusing == QUOTA_EXCEEDED else SERVER_UNAVAILABLE)
            return
        client_id = connection.session.client_id
        changes = self.changes
        session = self.sessions.get(client_id)
        if session is not None and session.connection is not None:
            if session.connection.arrived_ms > connection.arrived_ms:  # it was let in while this one waited
                self.refuse(connection, SERVER_BUSY)
                return
            self.count("takeovers")
            old = session.connection
            if old.open:
                old.parting = 0x8E if old.version == MQTT_5_0 else -1
            self.leave(old, "session taken over")
            self.detach(old)
            session = self.sessions.get(client_id)
        elif session is not None:
            self._look_at(session, to_the_millisecond=True)
            session = self.sessions.get(client_id)
        if session is not None and clean:
            self.end_session(session)
            session = None
        present = session is not None
        if session is None:
            session = self.sessions[client_id] = Session(client_id)
        session.will = will
        session.shelf = False
        session.will_due_ms = session.expires_due_ms = -1
        session.expiry_s = self.kept_s(connection, clean, expiry_s)
        self.changes += session.expiry_s > 0
        connection.ticket = self.since(changes)
        connection.session = session
        connection.session_present = present
        connection.admitted = True
        session.connection = connection
        for flight in session.flights.values():
            flight.may_vanish = flight.may_vanish or self.too_large(connection.packet_bytes_max, flight.expect.message)
        for expects in (*session.pending.values(), *self.group_pending.values()):
            for expect in expects:
                if session in expect.grants and self.too_large(connection.packet_bytes_max, expect.message):
                    expect.required = False
        for replay in session.replays:
            sizes = [size for size in (replay.packet_bytes_max, connection.packet_bytes_max) if size]
            replay.packet_bytes_max = min(sizes, default=0)
        self.count("resumed" if present else "new sessions")

    def disconnect(self, connection: Connection, reason_code: int, expiry_s: int) -> None:
        """A DISCONNECT was handled; `expiry_s` is the new Session Expiry Interval or -1."""
        if expiry_s >= 0:
            connection.session.expiry_s = expiry_s
        if reason_code == 0:
            connection.will_wanted = False
        self.leave(connection, "client disconnected")

    def leave(self, connection: Connection, reason: str) -> None:
        """A connection is marked for closing: nothing that comes on it is handled any more, and nothing sent."""
        if connection.open:
            connection.open = False
            connection.ends_as = reason
            self.count(reason)

    def detach(self, connection: Connection) -> None:
        """A connection has ended: what its will and its session come to."""
        if connection.detached:
            return
        connection.detached = True
        if not connection.admitted:
            return
        session = connection.session
        session.connection = None
        session.left, session.left_ms = self.turn, self.now_ms
        if self.late:
            self._lose_held(session)
        session.shelf = session.shelf or (self.shelves and session.expiry_s > 0)
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

    def _lose_held(self, session: Session) -> None:
        """QoS 0 that waited behind a CONNACK, for the store, is lost with its connection; and where there is no room in
        memory, all that waits."""
        for replay in session.replays:
            replay.held_lost = True
        for expects in (*session.pending.values(), *self.group_pending.values()):
            for expect in expects:
                if any(grant[0] == 0 for grant in expect.grants.get(session, ())):
                    expect.required = False

    def end_session(self, session: Session) -> None:
        """A session is discarded; its will goes out, and shared messages go to others."""
        session.ended = True
        self.changes += session.expiry_s > 0
        del self.sessions[session.client_id]
        for one in session.subscriptions.values():
            self._leave_group(session, one)
        self.send_will(session)
        for flight in session.flights.values():
            self.hand_over(flight.expect, flight.qos, not flight.may_vanish)
        for expects in self.group_pending.values():
            for expect in expects:
                if session in expect.grants and not expect.sent:
                    if self.late and any(grant[0] != 1 for grant in expect.grants[session]):
                        expect.required = False  # what waited for the store is lost, but for QoS 1
                    if session.shelf:
                        self.count("shelves that may have held shared messages")
                        expect.required = False  # a shelf ends with its session
                    self._add_members(expect)

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
        refusal: int = 0,
        waited_ms: int = 0,
    ) -> None:
        """A PUBLISH was handled, so long after it came; `refusal` is the reason code of access, or 0."""
        session = connection.session
        changes = self.changes
        if qos == 2:
            if identifier in session.received:
                connection.owe(PUBREC, identifier, 0)
                return
        if not refusal and self.refusing and self.is_durable(session, topic, qos, retain):
            self.count("not stored")
            retain = False  # at QoS 0, where nobody can be told, it is delivered at least
            if qos and connection.version != MQTT_5_0:
                self.leave(connection, "store failing")
                return
            if qos:
                refusal = self.refusing
        if refusal:
            self.count("messages refused")
        elif qos == 2:
            session.received[identifier] = True
            self.changes += session.expiry_s > 0
        matched = not refusal and self.route(session.client_id, topic, payload, qos, retain, interval_s, waited_ms)
        if qos:
            codes = (0,) if matched or connection.version != MQTT_5_0 else (0, NO_MATCHING_SUBSCRIBERS)
            if refusal and connection.version == MQTT_5_0:
                codes = (refusal,)
            connection.owe(PUBACK if qos == 1 else PUBREC, identifier, *codes, ticket=self.since(changes))

    # Acknowledgements

    def acknowledge(self, connection: Connection, packet_type: int, identifier: int, reason_code: int) -> None:
        """A PUBACK, PUBREC, PUBREL or PUBCOMP of the client was handled."""
        session = connection.session
        if packet_type == PUBREL:
            known = session.received.pop(identifier, False)
            refusal = PACKET_IDENTIFIER_NOT_FOUND if connection.version == MQTT_5_0 else 0
            kept = known and session.expiry_s > 0
            connection.owe(PUBCOMP, identifier, 0 if known else refusal, ticket=self.ticket if kept else 0)
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
                connection.owe(PUBREL, identifier, 0, ticket=self.ticket if session.expiry_s > 0 else 0)
        elif flight is not None and (flight.qos == 1 if packet_type == PUBACK else flight.released):
            self._finish(connection, identifier)

    def _finish(self, connection: Connection, identifier: int) -> None:
        del connection.session.flights[identifier]
        connection.outstanding.pop(identifier, None)
        self.count("acknowledged")

    # Subscriptions

    def subscribe(
        self, connection: Connection, requests: Sequence[TopicRequest], identifier: int, verdicts: Sequence[int]
    ) -> Granted:
        """A SUBSCRIBE was handled: there are subscriptions now, though it is not yet acknowledged.

        `identifier` is the Subscription Identifier or 0; `verdicts` has the reason code of access for each request.
        """
        session = connection.session
        granted = Granted()
        for request, verdict in zip(requests, verdicts, strict=True):
            if verdict:
                self.count("subscriptions refused")
                granted.codes.append(verdict if connection.version == MQTT_5_0 else SUBACK_FAILURE)
                continue
            if self.refusing and session.expiry_s > 0:
                self.count("not stored")
                granted.codes.append(self.refusing if connection.version == MQTT_5_0 else SUBACK_FAILURE)
                continue
            topic_filter = request.topic_filter.decode()
            share_name, bare = split_share(topic_filter)
            is_new = topic_filter not in session.subscriptions
            one = Subscription(bare, share_name, request.qos, request.no_local, request.retain_as_published, identifier)
            self._set_subscription(session, topic_filter, one)
            granted.ticket = self.ticket if session.expiry_s > 0 else 0
            granted.codes.append(request.qos)
            if not share_name and (request.retain_handling == 0 or (request.retain_handling == 1 and is_new)):
                granted.retained.append((one, request.qos))
        return granted

    def acknowledge_subscribe(self, connection: Connection, packet_identifier: int, granted: Granted) -> None:
        """SUBACK is due, and the retained messages follow."""
        session = connection.session
        for one, qos in granted.retained:
            replay = Replay(one, qos, self.messages, self.turn, connection.packet_bytes_max)
            replay.required = session.subscriptions[one.topic_filter] is one  # it may name the same filter twice
            session.replays.append(replay)
        connection.owe(SUBACK, packet_identifier, *granted.codes, ticket=granted.ticket)

    def _set_subscription(self, session: Session, topic_filter: str, one: Subscription) -> None:
        old = session.subscriptions.get(topic_filter)
        if old is not None:
            self._stop_replays(session, old)
        session.subscriptions[topic_filter] = one
        session.routes = {}
        if one.share_name:
            self.groups.setdefault((one.share_name, one.topic_filter), {})[session] = one

    def unsubscribe(self, connection: Connection, packet_identifier: int, topic_filters: Sequence[bytes]) -> None:
        """An UNSUBSCRIBE was handled; what is under way or queued still arrives."""
        session = connection.session
        changes = self.changes
        if self.refusing and session.expiry_s > 0:
            self.count("not stored")
            if connection.version == MQTT_5_0:
                connection.owe(UNSUBACK, packet_identifier, *[IMPLEMENTATION_SPECIFIC_ERROR] * len(topic_filters))
            else:
                self.leave(connection, "store failing")
            return
        codes: list[int] = []
        for topic_filter in topic_filters:
            one = session.subscriptions.pop(topic_filter.decode(), None)
            codes.append(NO_SUBSCRIPTION_EXISTED if one is None else 0)
            if one is not None:
                session.routes = {}
                self.changes += session.expiry_s > 0
                self._leave_group(session, one)
                self._stop_replays(session, one)
        told = codes if connection.version == MQTT_5_0 else ()
        connection.owe(UNSUBACK, packet_identifier, *told, ticket=self.since(changes))

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
