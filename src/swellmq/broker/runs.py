"""Runs: many packets of one read forwarded as one slice of its bytes (docs/decisions/0005-runs.md).

Most traffic is between clients of one protocol version, where the bytes that came in are the bytes that go out.
`forward_run` takes all such packets that follow each other in one read and have the same subscribers, and gives each
subscriber one slice of the receive buffer. Whatever needs more than that takes the way of `inbound.py`.

At QoS 1 and 2 the slice holds packet identifiers, and which ones a server uses towards a subscriber is its own choice:
it takes those of the publisher where all of them are free there, and puts others into a copy where they are not. Nor is
a message kept for a session that ends with its connection: it will never be sent again, so only its packet identifier
is in flight. A session that is kept has the messages of QoS 1, the same ones as other such sessions. Where they are
stored each goes its own way, and so do those of QoS 2 to a session that is kept, or where anything is stored.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64, u8

from swellmq.broker.access import MAY_PUBLISH
from swellmq.broker.core import Core
from swellmq.broker.permissions import Permissions
from swellmq.broker.session import PASSED_ON, PASSED_ON_2, SENT, Delivery, Session, Subscription
from swellmq.broker.spread import spread_on
from swellmq.broker.tree import NO_TARGETS, Route
from swellmq.broker.work import Spread
from swellmq.codec.decode import decode_publish, header_length, packet_length
from swellmq.codec.encode import encode_short_acks
from swellmq.codec.packets import Publish
from swellmq.codec.spec import MQTT_5_0, PUBACK, PUBREC
from swellmq.connection import DEMANDING, Connection
from swellmq.errors import OPEN, MalformedPacket
from swellmq.limits import FAN_OUT_WIDE, RUN_SHARE, RUN_TARGETS_MAX

PUBLISH_QOS_0: Final = 0x30  # the first byte of a PUBLISH without DUP, QoS and RETAIN
PUBLISH_QOS_1: Final = 0x32
PUBLISH_QOS_2: Final = 0x34

# Fewer at QoS 1 or 2 go one by one: at a human pace a session's identifiers count 1, 2, 3 as people expect in a trace.
TOGETHER_MIN: Final = 16


def forward_run(core: Core, connection: Connection, data: bytes, pos: i64, end: i64) -> i64:
    """Forward the PUBLISH packets at `pos` that are complete, of the first one's QoS, without RETAIN or properties, and
    whose topics were matched before; the position behind them, which is `pos` where the first needs the slow path.

    Nothing is validated twice: a topic name that has a route was checked when it was matched.
    """
    topics = core.topics
    permissions = core.permissions
    number: i64 = -1  # of the session, once it was found to be allowed somewhere
    first: i64 = data[pos]
    five = connection.protocol_version == MQTT_5_0
    packet_bytes = core.limits.packet_bytes
    publisher = connection.owner
    assert isinstance(publisher, Session)
    received: dict[int, Publish | None] | None = None
    if first != PUBLISH_QOS_0 and (core.maximum_qos(connection) < first >> 1 & 3 or core.storage.refusal):
        return pos  # each is refused, or may be
    if first == PUBLISH_QOS_2:
        if core.storage.durable or core.limits.like_mosquitto:
            return pos  # it is stored, or routed only when it is released
        received = publisher.received
        if received is None:
            received = publisher.received = {}
    between: i64 = 2 if first != PUBLISH_QOS_0 else 0  # bytes between topic name and payload
    if five:
        between += 1
    run: Route | None = None
    run_start = pos
    run_count: i64 = 0
    run_overhead: i64 = 0  # bytes that are not payload
    identifiers: list[int] = []  # of the packets of the run, at QoS 1 and 2
    last_topic = b""
    while pos + 4 <= end and data[pos] == first:
        length: i64 = data[pos + 1]
        body = pos + 2
        if length >= 128:
            try:
                total = packet_length(data, pos, end)
            except MalformedPacket:
                break  # the slow path finds it again, once what came before it has been forwarded
            if total == 0:
                break
            body = pos + header_length(total)
            length = pos + total - body
        following = body + length
        if following > end or length < 2 or following - pos > packet_bytes:
            break
        high: i64 = data[body]
        low: i64 = data[body + 1]
        topic_end = body + 2 + high * 256 + low
        payload = topic_end + between
        if payload > following or (five and data[payload - 1] != 0):
            break
        identifier: i64 = 0
        if first != PUBLISH_QOS_0:
            high = data[topic_end]
            low = data[topic_end + 1]
            identifier = high * 256 + low
            if identifier == 0:
                break
            if received is not None and (identifier in received or len(received) >= core.limits.receive_maximum):
                break  # it came before, or is one too many
        topic_name = data[body + 2 : topic_end]
        if run is None or topic_name != last_topic or run.mixed:
            route = topics.route(topic_name)
            if route is None or (five and identifier and not route.targets and route.groups is None):
                break  # with QoS 1 of MQTT 5.0 the publisher is told that there is no subscriber
            if len(route.targets) > RUN_TARGETS_MAX:
                break  # in slices
            if permissions is not None and route.publisher != number:
                number = _may_publish(permissions, connection, route)
                if number < 0:
                    break
            last_topic = topic_name
            if route is not run or route.mixed:
                if run is not None and (run.solo is None or run.solo is not route.solo):
                    _forward(core, connection, run, data, run_start, pos, run_count, run_overhead, identifiers)
                    if core.deliveries_left < 0 or connection.question is not None:
                        return pos
                    run_start = pos
                    run_count = 0
                    run_overhead = 0
                    identifiers = []
                run = route
        if identifier:
            identifiers.append(int(identifier))
            if received is not None:
                received[int(identifier)] = None  # [MQTT-4.3.3-9]
        run_count += 1
        run_overhead += payload - pos
        pos = following
    if run is not None and run_count:
        _forward(core, connection, run, data, run_start, pos, run_count, run_overhead, identifiers)
    if received is not None and not received:
        publisher.received = None
    return pos


def _may_publish(permissions: Permissions, connection: Connection, route: Route) -> i64:
    """The number of this client's session where it may publish to the topic of a route, which notes it; else -1."""
    session = connection.owner
    assert isinstance(session, Session)
    if route.publisher != session.number or session.number == 0:
        if not permissions.allows(session, MAY_PUBLISH, route.topic_name):
            return -1  # the slow path tells the client so
        route.publisher = session.number
    return session.number


def _forward(
    core: Core,
    connection: Connection,
    route: Route,
    data: bytes,
    start: i64,
    end: i64,
    count: i64,
    overhead: i64,
    identifiers: list[int],
) -> None:
    """Send `count` packets, `data[start:end]`, to all targets of `route`."""
    stats = core.stats
    stats.packets_received += count
    stats.publishes_received += count
    payload_bytes = end - start - overhead
    stats.publish_bytes_received += payload_bytes
    core.deliveries_left -= len(route.targets) // RUN_SHARE + 1
    if len(route.targets) > FAN_OUT_WIDE:
        connection.interest |= DEMANDING  # or its next message would press the turn that sends this one
    piece = data if start == 0 and end == len(data) else data[start:end]
    if identifiers:
        changes = core.changes
        qos: u8 = 1 if data[start] == PUBLISH_QOS_1 else 2
        sent = _send_with_identifiers(core, connection, route, piece, identifiers, qos)
        packet_type = PUBACK if qos == 1 else PUBREC
        # [MQTT-4.3.2-4] [MQTT-4.3.3-8] [MQTT-4.6.0-2] [MQTT-4.6.0-3]
        core.acknowledge(connection, encode_short_acks(packet_type, identifiers), changes)
    else:
        sent = _send_qos_0(core, connection, route, piece, count)
    stats.packets_sent += sent
    stats.publishes_sent += sent
    if sent:
        stats.publish_bytes_sent += sent // count * payload_bytes


def _send_qos_0(core: Core, connection: Connection, route: Route, piece: bytes, count: i64) -> i64:
    """Give the packets of a run to all targets; how many packets went out as they came in."""
    stats = core.stats
    five = connection.protocol_version == MQTT_5_0
    limit = core.qos_0_bytes
    queues = core.limits.queue_qos_0
    sent: i64 = 0
    slow: list[Subscription] | None = None
    for subscription in route.targets:
        target = subscription.session.connection
        if target is None:
            if queues:
                slow = _append(slow, subscription)
            else:
                stats.dropped_offline += count
        elif (
            (target.protocol_version == MQTT_5_0) != five
            or not subscription.plain
            or target.packet_bytes_max
            or target.topic_alias_maximum
            or (queues and (subscription.session.queue is not None or target.close_reason != OPEN))  # it waits
        ):
            slow = _append(slow, subscription)
        elif target.outbox_bytes > limit:
            core.count_dropped_qos_0(target, count)
        else:
            target.send(piece)
            sent += count
    if slow is not None or route.groups is not None:
        _forward_each(core, connection, route, slow, piece, count)
    return sent


def _send_with_identifiers(
    core: Core, connection: Connection, route: Route, piece: bytes, identifiers: list[int], qos: u8
) -> i64:
    """The same at QoS 1 and 2: as they came in, or with other packet identifiers where one of theirs is in use.

    The deliveries to a session that is kept are shared with others until it is resumed, see `acks.resend`.
    """
    five = connection.protocol_version == MQTT_5_0
    count: i64 = len(identifiers)
    durable = core.storage.durable
    kept: dict[int, Delivery] | None = None
    in_flight = dict.fromkeys(identifiers, PASSED_ON if qos == 1 else PASSED_ON_2)
    together = count >= TOGETHER_MIN and len(in_flight) == count
    limits = core.limits
    sent: i64 = 0
    slow: list[Subscription] | None = None
    for subscription in route.targets:
        session = subscription.session
        target = session.connection
        if (
            target is None
            or not together
            or (target.protocol_version == MQTT_5_0) != five
            or not subscription.plain
            or subscription.qos < qos
            or (session.expiry_interval != 0 and (durable or qos == 2))
            or session.queue is not None
            or session.unsent
            or target.close_reason != OPEN
            or target.packet_bytes_max
            or target.topic_alias_maximum
            or target.outbox_bytes > limits.outbox_bytes
            or i64(session.window) + count > min(i64(target.receive_maximum), limits.inflight_max)  # [MQTT-3.3.4-9]
        ):
            slow = _append(slow, subscription)
            continue
        deliveries = in_flight
        if session.expiry_interval != 0:
            if kept is None:
                kept = _deliveries(connection, piece)
            deliveries = kept
        inflight = session.inflight
        if inflight is None:
            session.inflight = deliveries.copy()
            target.send(piece)
        elif inflight.keys().isdisjoint(deliveries):  # [MQTT-2.2.1-4]
            inflight.update(deliveries)
            target.send(piece)
        else:
            target.send(_renumbered(session, inflight, piece, list(deliveries.values())))
        session.window += len(identifiers)
        sent += count
    if slow is not None or route.groups is not None:
        _forward_each(core, connection, route, slow, piece, count)
    return sent


def _deliveries(connection: Connection, piece: bytes) -> dict[int, Delivery]:
    """The packets of a run as deliveries under way, by their packet identifiers."""
    publisher = connection.owner
    assert isinstance(publisher, Session)
    deliveries: dict[int, Delivery] = {}
    pos: i64 = 0
    end: i64 = len(piece)
    while pos < end:
        total = packet_length(piece, pos, end)
        body = pos + header_length(total)
        pos += total
        publish = decode_publish(PUBLISH_QOS_1, piece, body, pos, connection.protocol_version)
        publish.client_id = publisher.client_id
        delivery = Delivery(publish, 1, False, None, None)
        delivery.packet_identifier = publish.packet_identifier
        delivery.state = SENT
        deliveries[int(publish.packet_identifier)] = delivery
    return deliveries


def _renumbered(session: Session, inflight: dict[int, Delivery], piece: bytes, deliveries: list[Delivery]) -> bytes:
    """The packets of a run under identifiers that are free in this session; notes the deliveries under them."""
    parts: list[bytes] = []
    copied: i64 = 0
    pos: i64 = 0
    end: i64 = len(piece)
    for delivery in deliveries:
        total = packet_length(piece, pos, end)
        topic = pos + header_length(total)
        high: i64 = piece[topic]
        low: i64 = piece[topic + 1]
        at = topic + 2 + high * 256 + low
        pos += total
        identifier = session.next_packet_identifier()
        if session.expiry_interval != 0:
            delivery = delivery.copy()
            delivery.packet_identifier = identifier
        inflight[identifier] = delivery
        parts.append(piece[copied:at])
        parts.append(identifier.to_bytes(2, "big"))
        copied = at + 2
    parts.append(piece[copied:])
    return b"".join(parts)


def _append(subscriptions: list[Subscription] | None, subscription: Subscription) -> list[Subscription]:
    if subscriptions is None:
        return [subscription]
    subscriptions.append(subscription)
    return subscriptions


def _forward_each(
    core: Core, connection: Connection, route: Route, subscriptions: list[Subscription] | None, piece: bytes, count: i64
) -> None:
    """Deliver the packets of a run one by one, to subscribers whose bytes differ and to shared groups.

    Packets of a run may have different topics only where the route has one target, which then is the only one here.
    """
    publisher = connection.owner
    assert isinstance(publisher, Session)
    targets = NO_TARGETS if subscriptions is None else subscriptions
    spread = Spread(targets, route.groups, publisher, None, piece, connection.protocol_version)
    groups: i64 = 0 if route.groups is None else len(route.groups)
    deliveries = count * (len(targets) + groups)
    if core.too_wide(deliveries):
        core.queue(spread, connection)
    else:
        spread_on(core, spread, whole=True)
