"""What does happen: each packet that the broker sends, compared with what the oracle says may and must be sent.

Packets are looked at when they leave the broker, whether or not their client ever gets them: packet identifiers, the
window and the order are promises about what is sent.
"""

from __future__ import annotations

from sim.model import Connection, Expect, Message, Replay, Sent, Session, Violation, matches
from sim.oracle import Oracle

from swellmq.codec.decode import decode
from swellmq.codec.packets import ABSENT, Ack, Connack, Disconnect, Packet, Ping, Publish, Suback
from swellmq.codec.properties import decode_properties
from swellmq.codec.spec import MQTT_3_1, MQTT_5_0, PINGRESP, PUBLISH, PUBREL


class Watch:
    """Looks at all that leaves the broker."""

    def __init__(self, oracle: Oracle) -> None:
        self.oracle = oracle

    def fail(self, connection: Connection, what: str) -> Violation:
        session = connection.session
        return Violation(f"{connection.name} (client {session.client_id}, MQTT level {connection.version}): {what}")

    def look(self, connection: Connection, data: bytes) -> None:
        """Check all packets that the broker has sent in one turn."""
        pos = 0
        while pos < len(data):
            packet, end = decode(data, pos, connection.version, True)
            if packet is None:
                raise self.fail(connection, "half a packet was sent")
            if 0 < connection.packet_bytes_max < end - pos:
                raise self.fail(connection, f"a packet of {end - pos} bytes is above the Maximum Packet Size")
            self.look_at(connection, packet)
            pos = end

    def look_at(self, connection: Connection, packet: Packet) -> None:
        """Check one packet that the broker has sent."""
        if connection.parted:
            raise self.fail(connection, f"{type(packet).__name__} after DISCONNECT")
        if isinstance(packet, Connack):
            self._connack(connection, packet)
            return
        if not connection.acknowledged:
            raise self.fail(connection, f"{type(packet).__name__} before CONNACK")
        if isinstance(packet, Publish):
            self._publish(connection, packet)
        elif isinstance(packet, Ack):
            self._answer(connection, packet.packet_type, packet.packet_identifier, packet.reason_code)
        elif isinstance(packet, Suback):
            identifier, codes = self._owed(connection, packet.packet_type)
            if identifier != packet.packet_identifier or bytes(codes) != packet.reason_codes:
                got = (packet.packet_identifier, list(packet.reason_codes))
                raise self.fail(connection, f"SUBACK or UNSUBACK {got}, expected {(identifier, list(codes))}")
        elif isinstance(packet, Ping):
            self._owed(connection, PINGRESP)
        elif isinstance(packet, Disconnect):
            connection.parted = True
            if packet.reason_code != connection.parting:
                raise self.fail(connection, f"DISCONNECT {packet.reason_code:#04x}, expected {connection.parting:#04x}")

    def _connack(self, connection: Connection, packet: Connack) -> None:
        if connection.acknowledged or packet.reason_code != connection.refused:
            raise self.fail(connection, f"CONNACK {packet.reason_code}, expected {connection.refused}, once")
        if not (connection.admitted or connection.refused):
            raise self.fail(connection, "CONNACK before the client was let in")
        self._check_stored(connection, connection.ticket, "CONNACK")
        connection.acknowledged = True
        present = connection.session_present and connection.version != MQTT_3_1
        if packet.session_present != present:
            raise self.fail(connection, f"Session Present {packet.session_present}, expected {present}")

    def _owed(self, connection: Connection, packet_type: int) -> tuple[int, tuple[int, ...]]:
        owed = connection.owed.get(packet_type)
        if not owed:
            raise self.fail(connection, f"a packet of type {packet_type} that nothing asked for")
        identifier, codes, ticket = owed.popleft()
        self._check_stored(connection, ticket, f"the answer of type {packet_type} for {identifier}")
        return identifier, codes

    def _check_stored(self, connection: Connection, ticket: int, what: str) -> None:
        """What tells a client that something is kept leaves once it is stored."""
        if ticket > self.oracle.stored:
            raise self.fail(connection, f"{what} left before ticket {ticket} was stored")

    def _answer(self, connection: Connection, packet_type: int, identifier: int, reason_code: int) -> None:
        if packet_type == PUBREL and self._released_again(connection, identifier, reason_code):
            return
        expected, codes = self._owed(connection, packet_type)
        if identifier != expected or reason_code not in codes:
            got = f"{packet_type} for {identifier} with {reason_code:#04x}"
            raise self.fail(connection, f"acknowledgement {got}, expected one for {expected} with {codes}")

    def _released_again(self, connection: Connection, identifier: int, reason_code: int) -> bool:
        """Whether this is the PUBREL of a message that was released on an earlier connection."""
        flight = connection.session.flights.get(identifier)
        if flight is None or not flight.released or flight.connection is connection or reason_code:
            return False
        flight.connection = connection
        return True

    # PUBLISH

    def _publish(self, connection: Connection, packet: Publish) -> None:
        oracle = self.oracle
        session = connection.session
        oracle.count("deliveries")
        self._resolve_alias(connection, packet)
        topic = packet.topic_name.decode()
        what = f"PUBLISH {packet.payload[:24]!r} to {topic} at QoS {packet.qos}, identifier {packet.packet_identifier}"
        identifiers: tuple[int, ...] = ()
        if packet.properties:
            found = decode_properties(packet.properties, 0, len(packet.properties), PUBLISH).subscription_identifiers
            identifiers = tuple(sorted(found or ()))
        if packet.dup and packet.packet_identifier in session.flights:
            self._again(connection, packet, what)
        else:
            if packet.qos and packet.packet_identifier in session.flights:
                if not session.flights[packet.packet_identifier].may_vanish:
                    raise self.fail(connection, f"{what}: the identifier is in use")
                del session.flights[packet.packet_identifier]
            expect = self._find(connection, packet, topic, identifiers)
            if expect is None:
                near = [expect.grants[session] for expect in session.pending.get(packet.payload, ())]
                near += [e.grants.get(session) for e in self.oracle.group_pending.get(packet.payload, ())]
                got = f"{what}, RETAIN {packet.retain}, DUP {packet.dup}, identifiers {identifiers}"
                raise self.fail(connection, f"{got}: not entitled, only to {near} by {list(session.subscriptions)}")
            self._first(connection, packet, expect, what)
        if packet.qos:
            connection.outstanding[packet.packet_identifier] = True
            if len(connection.outstanding) > connection.receive_maximum:
                raise self.fail(connection, f"{what}: above the Receive Maximum of {connection.receive_maximum}")

    def _resolve_alias(self, connection: Connection, packet: Publish) -> None:
        alias = packet.topic_alias
        if not alias:
            return
        self.oracle.count("aliases used")
        if alias > connection.topic_alias_maximum:
            raise self.fail(connection, f"topic alias {alias} above {connection.topic_alias_maximum}")
        if packet.topic_name:
            connection.aliases[alias] = packet.topic_name.decode()
        elif alias not in connection.aliases:
            raise self.fail(connection, f"topic alias {alias} was never set")
        else:
            packet.topic_name = connection.aliases[alias].encode()

    def _again(self, connection: Connection, packet: Publish, what: str) -> None:
        """A message is sent again after its session was resumed."""
        oracle = self.oracle
        flight = connection.session.flights[packet.packet_identifier]
        message = flight.expect.message
        if flight.connection is connection:
            raise self.fail(connection, f"{what}: sent twice on one connection")
        if flight.released:
            raise self.fail(connection, f"{what}: sent again after its PUBREC")
        if (packet.payload, packet.qos, packet.topic_name.decode()) != (message.payload, flight.qos, message.topic):
            raise self.fail(connection, f"{what}: the identifier is that of {message.payload[:24]!r}")
        # While QoS 2 waits for the store, QoS 1 may overtake it.
        lane = flight.qos if oracle.late else 0
        if flight.order < connection.resent.get(lane, 0):
            raise self.fail(connection, f"{what}: sent again in another order")
        connection.resent[lane] = flight.order
        flight.connection = connection
        oracle.count("sent again")

    def _first(self, connection: Connection, packet: Publish, expect: Expect, what: str) -> None:
        """A message is sent for the first time, as far as we could see."""
        oracle = self.oracle
        session = connection.session
        message = expect.message
        expect.sent = True
        if expect.shared is not None:
            oracle.group_pending[message.payload].remove(expect)
            oracle.count("shared deliveries")
        elif not expect.replayed:
            session.pending[message.payload].remove(expect)
        if not session.pending.get(message.payload, True):
            del session.pending[message.payload]
        if packet.dup and expect.created > session.left:
            raise self.fail(connection, f"{what}: DUP at its first delivery")
        if message.payload:
            if message.expired(oracle.whole_wall_ms) and not packet.dup:
                raise self.fail(connection, f"{what}: expired {oracle.wall_ms - message.expires_ms} ms ago")
            self._check_interval(connection, packet, message, what)
            if expect.shared is None and not expect.replayed:
                self._check_order(connection, packet, message, what)
        if packet.qos == 2 and session.expiry_s > 0:
            self._check_stored(connection, expect.ticket, what)
        if packet.qos:
            oracle.take_flight(session, connection, packet.packet_identifier, expect, packet.qos)

    def _check_interval(self, connection: Connection, packet: Publish, message: Message, what: str) -> None:
        if connection.version != MQTT_5_0:
            return
        got = packet.message_expiry_interval
        least = max(0, (message.expires_ms - self.oracle.wall_ms) // 1000)
        most = max(0, -(-(message.expires_ms - self.oracle.whole_wall_ms) // 1000))
        if message.interval_s < 0:
            least = most = ABSENT
        if not least <= got <= most:
            raise self.fail(connection, f"{what}: Message Expiry Interval {got}, expected {least} to {most}")

    def _check_order(self, connection: Connection, packet: Publish, message: Message, what: str) -> None:
        """Messages of one publisher, topic and QoS arrive in their order, MQTT 5.0 section 4.6."""
        session = connection.session
        stream = _stream(message, packet.qos)
        last = session.order.get(stream, 0)
        if message.number < last:
            raise self.fail(connection, f"{what}: message {message.number} after message {last} of the same stream")
        session.order[stream] = message.number
        for flight in session.flights.values():
            earlier = flight.expect.message
            if (
                flight.connection is not connection
                and not (flight.released or flight.may_vanish or flight.expect.shared or flight.expect.replayed)
                and _stream(earlier, flight.qos) == stream
            ):
                raise self.fail(connection, f"{what}: overtakes {earlier.payload[:24]!r}, which is to be sent again")

    def _find(self, connection: Connection, packet: Publish, topic: str, identifiers: tuple[int, ...]) -> Expect | None:
        """What entitles the session to this message."""
        session = connection.session
        if not packet.payload:  # one clearing of a retained message can't be told from another
            message = Message(0, topic, b"", packet.qos, packet.retain, "")
            return Expect(message, {session: []}, 0, replayed=True)

        def fits(expect: Expect) -> bool:
            if expect.message.topic != topic:
                return False
            for qos, retain, expected in expect.grants[session]:
                if (qos, retain) == (packet.qos, packet.retain):
                    if connection.version != MQTT_5_0 or expected == identifiers:
                        return True
            return False

        own = [expect for expect in session.pending.get(packet.payload, ()) if fits(expect)]
        if own and own[0].required:
            return own[0]
        for expect in self.oracle.group_pending.get(packet.payload, ()):
            if session in expect.grants and fits(expect):
                # The session's own copy may have been dropped, and this one be handed over to it later.
                stream = _stream(expect.message, packet.qos)
                if not own or session.order.get(stream, 0) > own[0].message.number:
                    return expect
        if not packet.retain:
            return own[0] if own else None
        owed = self._find_replayed(connection, packet, topic, identifiers, bool(own))
        return owed if owed is not None or not own else own[0]

    def _find_replayed(
        self, connection: Connection, packet: Publish, topic: str, identifiers: tuple[int, ...], owed: bool
    ) -> Expect | None:
        """The retained message that a new subscription is entitled to; if `owed`, only one that it must get.

        A replay may take its time: each message counts that was retained at some time since the SUBSCRIBE.
        """
        session = connection.session
        sent = Sent(connection, packet.payload, int(packet.qos), identifiers, self.oracle.turn)
        found: list[tuple[bool, bool, Replay, Message]] = []
        for replay in session.replays:
            message = self._replayed(session, replay, topic, sent)
            if message is not None and topic not in replay.done:
                found.append((not replay.required, message.number > replay.started, replay, message))
        if found:
            # Several replays may be under way: the one that owes the message for certain comes first.
            waived, later, replay, message = min(found, key=lambda one: one[:2])
            if owed and (waived or later):
                return None
            replay.done[topic] = sent
        else:
            message = None if owed else self._exchange(session, topic, sent)
            if message is None:
                return None
        self.oracle.count("retained deliveries")
        return Expect(message, {session: [(int(packet.qos), True, identifiers)]}, 0, replayed=True)

    def _replayed(self, session: Session, replay: Replay, topic: str, sent: Sent) -> Message | None:
        """The message that was sent, if this replay may have sent it so."""
        one = replay.subscription
        expected = (one.identifier,) if one.identifier and sent.connection.version == MQTT_5_0 else ()
        if replay.turn > sent.turn or expected != sent.identifiers or not matches(one.topic_filter, topic):
            return None
        history = self.oracle.retained_since.get(topic, [])
        for index, message in enumerate(history):
            replaced = index + 1 < len(history) and history[index + 1].number <= replay.started
            same = message.payload == sent.payload and min(replay.grant_qos, message.qos) == sent.qos
            own = one.no_local and message.publisher == session.client_id
            if same and not replaced and not own:
                return message
        return None

    def _exchange(self, session: Session, topic: str, sent: Sent) -> Message | None:
        """What was taken for the message of one replay may have been that of another: then it is free for this one."""
        for replay in session.replays:
            earlier = replay.done.get(topic)
            message = self._replayed(session, replay, topic, sent)
            if earlier is None or message is None:
                continue
            for other in session.replays:
                if topic not in other.done and self._replayed(session, other, topic, earlier) is not None:
                    other.done[topic] = earlier
                    replay.done[topic] = sent
                    self.oracle.count("replays told apart later")
                    return message
        return None

    # What must have been sent

    def end_of_turn(self, touched: list[Connection], unreceived: dict[Connection, int]) -> None:
        """Whatever could be sent at once has been sent: answers, QoS 0, and what the window has room for."""
        oracle = self.oracle
        for expect in oracle.fresh:
            (session,) = expect.grants
            if expect.sent:
                continue
            connection = session.connection
            full = connection is not None and unreceived.get(connection, 0) > oracle.limits.outbox_bytes
            if oracle.limits.queue_qos_0:  # it waits behind others, unless the outbox was full
                left = expect.connection is not connection  # it may have been full as well, before it went
                expect.required = expect.required and not full and not left
                continue
            expects = session.pending.get(expect.message.payload, [])
            if expect in expects:
                expects.remove(expect)
            same = connection is not None and connection is expect.connection
            if same and expect.required and not full:
                assert connection is not None
                raise self.fail(connection, f"{expect.message.payload[:24]!r} was not sent at QoS 0")
        oracle.fresh = []
        for connection in touched:
            if connection.open and connection.admitted:
                self._check_answers(connection)
                self._check_window(connection, unreceived.get(connection, 0))

    def _check_answers(self, connection: Connection) -> None:
        if not connection.acknowledged:
            raise self.fail(connection, "no CONNACK")
        for packet_type, owed in connection.owed.items():
            if owed:
                raise self.fail(connection, f"no answer of type {packet_type}: {list(owed)[:3]}")

    def _check_window(self, connection: Connection, unreceived: int) -> None:
        """Nothing waits while the client would take it."""
        oracle = self.oracle
        session = connection.session
        if unreceived > oracle.limits.outbox_bytes:
            return
        under_way = [one for one in session.flights.values() if one.released or one.connection is connection]
        if len(under_way) >= min(connection.receive_maximum, oracle.limits.inflight_max):
            return
        for flight in session.flights.values():
            if not (flight.released or flight.may_vanish or flight.connection is connection):
                raise self.fail(connection, f"{flight.expect.message.payload[:24]!r} was not sent again")
        if any(flight.may_vanish for flight in session.flights.values()):
            return
        self.check_pending(connection, "though there is room")
        if not session.pending and not session.flights:
            self._check_replays(connection)

    def check_pending(self, connection: Connection, why: str) -> None:
        """No message waits that the session must get."""
        session = connection.session
        for expects in session.pending.values():
            for expect in expects:
                if expect.required and not expect.message.expired(self.oracle.wall_ms):
                    raise self.fail(connection, f"{expect.message.payload[:24]!r} was not sent, {why}")

    def check_settled(self, connection: Connection) -> None:
        """The client has read and acknowledged all there was: nothing is left over."""
        session = connection.session
        self._check_answers(connection)
        for identifier, flight in session.flights.items():
            if not flight.may_vanish:
                payload = flight.expect.message.payload
                raise self.fail(connection, f"{payload[:24]!r} with identifier {identifier} was never finished")
        self.check_pending(connection, "though the client has taken all else")
        self._check_replays(connection)
        session.untold = 0

    def _check_replays(self, connection: Connection) -> None:
        oracle = self.oracle
        session = connection.session
        for replay in session.replays:
            if not replay.required:
                continue
            one = replay.subscription
            for topic, message in oracle.retained.items():
                if (
                    matches(one.topic_filter, topic)
                    and topic not in replay.done
                    and message.number <= replay.started
                    and not message.expired(oracle.wall_ms)
                    and not (one.no_local and message.publisher == session.client_id)
                    and not oracle.too_large(replay.packet_bytes_max, message)
                    and not (replay.held_lost and min(replay.grant_qos, message.qos) == 0)
                ):
                    raise self.fail(connection, f"retained {message.payload[:24]!r} of {topic} was not sent")
        session.replays = []  # from now on nothing more of them is allowed


def _stream(message: Message, qos: int) -> tuple[str, str, int, int]:
    """Within what messages keep their order: publisher, topic, QoS as published and as delivered."""
    return message.publisher, message.topic, message.qos, int(qos)
