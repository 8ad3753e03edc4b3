"""PUBACK, PUBREC, PUBREL and PUBCOMP: the rest of QoS 1 and 2, MQTT 5.0 sections 4.3.2 and 4.3.3.

What we sent is in `session.inflight` until its last acknowledgement; it counts against the client's Receive Maximum
until PUBACK, PUBCOMP, or a PUBREC that refuses. What the client sent at QoS 2 is routed at once, and its packet
identifier stays in `session.received` until PUBREL, so that a repeated PUBLISH is not routed twice.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i32, i64, u8

from swellmq.broker.core import Core
from swellmq.broker.explain import explained
from swellmq.broker.publish import pump, replay, resend_unsent, route_publish
from swellmq.broker.session import PASSED_ON_2, RELEASED, RELEASED_ON, SENT, UNSENT, Delivery, Session
from swellmq.codec.encode import encode_short_ack, encode_short_acks
from swellmq.codec.packets import Ack
from swellmq.codec.spec import PACKET_IDENTIFIER_NOT_FOUND, PROTOCOL_ERROR, PUBCOMP, PUBREL, SUCCESS
from swellmq.connection import Connection
from swellmq.errors import ProtocolError

PUBACK_FIRST: Final = 0x40  # the first byte of a PUBACK
PUBREC_FIRST: Final = 0x50
PUBREL_FIRST: Final = 0x62
PUBCOMP_FIRST: Final = 0x70
NOT_UNDER_WAY: Final = "no QoS 2 message is under way with this packet identifier"


def _done(core: Core, session: Session, identifier: i32) -> None:
    """A delivery is acknowledged to the end, or refused: its place in the window is free."""
    _remove(core, session, int(identifier))
    _go_on(core, session)


def _remove(core: Core, session: Session, identifier: int) -> None:
    inflight = session.inflight
    assert inflight is not None
    delivery = inflight.pop(identifier)
    if delivery.state == UNSENT:
        session.unsent -= 1  # it had arrived on the earlier connection after all
    else:
        session.window -= 1
        if core.limits.inflight_bytes:
            core.fly(session, -len(delivery.publish.payload))
    if core.kept(session):
        core.touch()
        core.storage.delivery_removed(session, delivery)


def _go_on(core: Core, session: Session) -> None:
    """Send what waited for a place in the window."""
    if not session.inflight:
        session.inflight = None
    if session.queue is not None or session.unsent:
        pump(core, session)
    if session.replays is not None:
        replay(core, session)


def on_puback(core: Core, session: Session, identifier: i32) -> None:
    """A QoS 1 message has arrived; an identifier that is not in use is passed over."""
    inflight = session.inflight
    if inflight is None:
        return
    delivery = inflight.get(int(identifier))
    if delivery is None:
        return
    if delivery.qos != 1:
        raise ProtocolError(PROTOCOL_ERROR, "PUBACK for a QoS 2 message")
    _done(core, session, identifier)  # [MQTT-4.3.2-3] [MQTT-4.4.0-2] [MQTT-4.8.2-6]


def on_puback_run(core: Core, session: Session, data: bytes, pos: i64, end: i64) -> i64:
    """Take the PUBACKs at `pos` that follow each other, in their short form; the position behind them.

    What waits for a place in the window is sent once, behind the last of them.
    """
    start = pos
    inflight = session.inflight
    counted = core.kept(session) or core.limits.inflight_bytes != 0
    while pos + 4 <= end and data[pos] == PUBACK_FIRST and data[pos + 1] == 2:
        high: i64 = data[pos + 2]
        low: i64 = data[pos + 3]
        identifier = int(high * 256 + low)
        delivery = inflight.get(identifier) if inflight is not None else None
        if identifier == 0 or (delivery is not None and delivery.qos != 1):
            break  # a fault: the slow path says so
        pos += 4
        if delivery is None or inflight is None:
            continue
        if counted or delivery.state == UNSENT:
            _remove(core, session, identifier)
        else:
            del inflight[identifier]  # [MQTT-4.3.2-3] [MQTT-4.4.0-2] [MQTT-4.8.2-6]
            session.window -= 1
    core.stats.packets_received += (pos - start) // 4
    if pos != start and inflight is not None:
        _go_on(core, session)
    return pos


def on_qos_2_run(core: Core, connection: Connection, session: Session, data: bytes, pos: i64, end: i64) -> i64:
    """Take the PUBRECs, PUBRELs or PUBCOMPs at `pos` that follow each other, in their short form, of messages that are
    where they should be and are not stored; the position behind them. They are answered by as many at once."""
    limits = core.limits
    if core.kept(session) or limits.inflight_bytes:
        return pos
    start = pos
    first: i64 = data[pos]
    inflight = session.inflight
    received = session.received
    identifiers: list[int] = []
    while pos + 4 <= end and data[pos] == first and data[pos + 1] == 2:
        high: i64 = data[pos + 2]
        low: i64 = data[pos + 3]
        identifier = int(high * 256 + low)
        if first == PUBREL_FIRST:
            if received is None or identifier not in received or received[identifier] is not None:
                break
            del received[identifier]  # [MQTT-4.3.3-11] [MQTT-4.3.3-12]
        else:
            delivery = inflight.get(identifier) if inflight is not None else None
            if delivery is None or delivery.qos != 2:
                break
            if first == PUBREC_FIRST:
                if inflight is None or delivery.state != SENT:
                    break
                _release(inflight, identifier, delivery)
            else:
                if inflight is None or delivery.state != RELEASED:
                    break
                del inflight[identifier]  # [MQTT-4.3.3-5]
                session.window -= 1
        identifiers.append(identifier)
        pos += 4
    if not identifiers:
        return start
    core.stats.packets_received += len(identifiers)
    if first == PUBREL_FIRST:
        if not received:
            session.received = None
        core.acknowledge(connection, encode_short_acks(PUBCOMP, identifiers), core.changes)
    elif first == PUBREC_FIRST:
        core.acknowledge(connection, encode_short_acks(PUBREL, identifiers), core.changes)  # [MQTT-4.6.0-4]
    else:
        _go_on(core, session)
    return pos


def _release(inflight: dict[int, Delivery], identifier: int, delivery: Delivery) -> None:
    """A QoS 2 message has arrived: PUBREL is under way instead."""
    if delivery is PASSED_ON_2:
        inflight[identifier] = RELEASED_ON
    else:
        delivery.state = RELEASED  # [MQTT-4.3.3-3] [MQTT-4.3.3-6] [MQTT-4.3.3-13]


def on_pubrec(core: Core, connection: Connection, session: Session, ack: Ack) -> None:
    """A QoS 2 message has arrived, or was refused: in the first case PUBREL goes out, [MQTT-4.3.3-4]."""
    delivery = session.inflight.get(int(ack.packet_identifier)) if session.inflight is not None else None
    if delivery is None:
        if ack.reason_code < 0x80:  # [MQTT-4.3.3-4]
            _not_found(core, connection, PUBREL, ack.packet_identifier)
        return
    if delivery.qos != 2:
        raise ProtocolError(PROTOCOL_ERROR, "PUBREC for a QoS 1 message")
    if ack.reason_code >= 0x80:
        if delivery.state != RELEASED:
            _done(core, session, ack.packet_identifier)  # [MQTT-4.4.0-2] [MQTT-4.8.2-6]
        return
    if delivery.state == UNSENT:
        session.unsent -= 1
        session.window += 1
        core.fly(session, len(delivery.publish.payload))
    assert session.inflight is not None
    _release(session.inflight, int(ack.packet_identifier), delivery)
    changes = core.changes
    if core.kept(session):
        core.touch()
        core.storage.delivery_saved(session, delivery)
    # [MQTT-4.3.3-4] [MQTT-4.6.0-4]
    core.acknowledge(connection, encode_short_ack(PUBREL, int(ack.packet_identifier)), changes)


def _not_found(core: Core, connection: Connection, packet_type: u8, identifier: i32) -> None:
    """Answer PUBREC or PUBREL for a packet identifier that is not in use, so that the client can forget it too."""
    answer = Ack(packet_type, identifier, SUCCESS if core.limits.like_mosquitto else PACKET_IDENTIFIER_NOT_FOUND)
    connection.send_in_order(explained(connection, answer, NOT_UNDER_WAY))


def on_pubcomp(core: Core, session: Session, identifier: i32) -> None:
    """A QoS 2 message has arrived exactly once; its packet identifier is free again."""
    delivery = session.inflight.get(int(identifier)) if session.inflight is not None else None
    if delivery is None:
        return
    if delivery.qos != 2 or delivery.state != RELEASED:
        raise ProtocolError(PROTOCOL_ERROR, "PUBCOMP before PUBREL")
    _done(core, session, identifier)  # [MQTT-4.3.3-5]


def on_pubrel(core: Core, connection: Connection, session: Session, ack: Ack) -> None:
    """The client releases a QoS 2 message: its packet identifier is free, [MQTT-4.3.3-11]."""
    identifier = int(ack.packet_identifier)
    received = session.received
    if received is None or identifier not in received:
        _not_found(core, connection, PUBCOMP, ack.packet_identifier)
        return
    publish = received.pop(identifier)  # [MQTT-4.3.3-12]
    if not received:
        session.received = None
    changes = core.changes
    if publish is not None:
        route_publish(core, publish, session, connection)
    if core.kept(session):
        core.touch()
        core.storage.received_removed(session, identifier)
    core.acknowledge(connection, encode_short_ack(PUBCOMP, identifier), changes)


def resend(core: Core, session: Session, connection: Connection) -> None:
    """After a session was resumed: send again what is in flight, in its order, [MQTT-4.4.0-1] and [MQTT-4.6.0-1].

    The new connection's Receive Maximum may be smaller than the old one's: what does not fit waits for its turn.
    """
    inflight = session.inflight
    if inflight is None:
        return
    session.window = 0
    session.unsent = 0
    core.flying.pop(session, None)
    for delivery in list(inflight.values()):
        if delivery.state == RELEASED:
            connection.send(encode_short_ack(PUBREL, int(delivery.packet_identifier)))  # [MQTT-4.3.3-6]
            session.window += 1
            core.fly(session, len(delivery.publish.payload))
        else:
            if not core.storage.durable:  # it may be shared with other sessions, see `runs.py`
                delivery = inflight[int(delivery.packet_identifier)] = delivery.copy()
            delivery.state = UNSENT  # [MQTT-4.8.2-4]
            session.unsent += 1
    resend_unsent(core, session, connection)
