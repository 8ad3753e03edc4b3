"""From one application message to its subscribers: routing, deliveries, queues, frames, retained messages.

Who publishes does not matter here: a client, a will, `$SYS`, another node, the embedding program. QoS 0 and 1
in bulk come another way, through `runs.py`.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64, u8

from swellmq.broker.core import Core
from swellmq.broker.permissions import Permissions
from swellmq.broker.retained import Source
from swellmq.broker.session import SENT, UNSENT, Delivery, DeliveryQueue, Session, Subscription, message_bytes
from swellmq.broker.shelf import shelve
from swellmq.broker.topics import SYS_PREFIX
from swellmq.broker.tree import Route, ShareGroup
from swellmq.broker.work import HandOver, Routing, Spread
from swellmq.codec.encode import encode_hop_properties, encode_publish
from swellmq.codec.packets import ABSENT, Publish
from swellmq.codec.spec import MQTT_5_0, REMAINING_LENGTH_MAX
from swellmq.connection import Aliases, Connection
from swellmq.errors import OPEN
from swellmq.limits import IN_FLIGHT_LARGE_BYTES, REPLAY_NODES_KEPT, VISITS_AT_ONCE, VISITS_SHARE

NO_BOUND: Final = 1 << 40
PUMP_LEAST: Final = 32  # messages that waited and are sent at once, whatever others have used up
REPLAY_SLICE: Final = 32  # retained messages looked up at a time
REPLAY_BYTES: Final = 131_072  # or so much of them
RETAINED_COST: Final = 2  # of each, in deliveries
REPLAY_SLICES: Final = 64  # in one turn: a filter that matches a million does not stop the others
TOPIC_ALIAS_FROM_BYTES: Final = 4  # shorter topic names are cheaper than an alias
IDENTIFIER_BYTES: Final = 5  # of a subscription identifier in a PUBLISH
BESIDE_BYTES: Final = 16  # lengths, packet identifier, expiry and alias in a PUBLISH
HUGE_BYTES: Final = REMAINING_LENGTH_MAX - 1_048_576  # a larger message may leave no room for what else a PUBLISH has


# One message


def route_publish(core: Core, publish: Publish, publisher: Session | None, connection: Connection | None = None) -> int:
    """Give a message to the retained store and to all its subscribers; how many subscriptions matched.

    `publisher` is the session it came from, for No Local; None for the broker's own messages and those of other nodes.
    Where they are very many (`spread.py`), or hard to find, it has only begun, and `connection` is parked until they
    all have it.
    """
    topics = core.topics
    route = topics.route(publish.topic_name)
    if publish.retain:
        retain_publish(core, publish, publisher)
    if route is None:
        search = topics.search(publish.topic_name)
        whole = publisher is None or core.stopping or _in_one_batch(core, publish)
        done = search.go_on(NO_BOUND if whole else VISITS_AT_ONCE)
        core.deliveries_left -= search.visited // VISITS_SHARE
        if not done:
            core.queue(Routing(publish, publisher, search), connection)
            return 1  # of what takes so long to find there is some
        route = topics.found(search)
    matched = len(route.targets)
    if route.groups is not None:
        matched += len(route.groups)
    spread = core.too_wide(matched)
    if spread and _in_one_batch(core, publish):
        spread = False
        core.deliveries_left -= matched
    if spread:
        core.queue(send_out(core, publish, publisher, route), connection)
    else:
        for subscription in route.targets:
            deliver(core, subscription, publish, publisher)  # [MQTT-4.5.0-1]
        if route.groups is not None:
            for group in route.groups:
                deliver_shared(core, group, publish)
        _pass_on(core, publish)
        if publish.retain:
            publish.frame_3 = publish.frame_5 = None  # it stays, so it should not stay three times
    return matched


def _in_one_batch(core: Core, publish: Publish) -> bool:
    """Whether a message must be stored in one batch, or it could arrive twice, or at some only, after a crash."""
    return publish.qos == 2 and core.storage.durable


def send_out(core: Core, publish: Publish, publisher: Session | None, route: Route) -> Spread:
    """Begin to give a message to very many: what takes it to them."""
    _pass_on(core, publish)
    return Spread(route.targets, route.groups, publisher, publish)


def _pass_on(core: Core, publish: Publish) -> None:
    """Give a message that is not of another node to the other nodes."""
    if core.uplink.enabled and not publish.origin:
        core.uplink.publish(publish, core.turn.ticket_open)
        core.touch()


def retain_publish(core: Core, publish: Publish, publisher: Session | None) -> None:
    """Set or clear the retained message of a topic, [MQTT-3.3.1-8]. Where the store is full a new topic is dropped and
    counted."""
    retained = core.retained
    # What the broker says of itself is told anew at every start.
    durable = core.storage.durable and not publish.topic_name.startswith(SYS_PREFIX)
    if not publish.payload:
        if retained.remove(publish.topic_name) and durable:  # [MQTT-3.3.1-6] [MQTT-3.3.1-7]
            core.touch()
            core.storage.retained_removed(publish.topic_name)
        return
    if retained_full(core, publish):
        core.stats.dropped_retained_full += 1
        return
    retained.set(publish)
    source: Source | None = None
    if core.permissions is not None and publisher is not None and core.limits.check_retain_source:
        source = retained.sources[publish.topic_name] = core.permissions.source(publisher)
    elif retained.sources:
        retained.sources.pop(publish.topic_name, None)
    if durable:
        core.touch()
        core.storage.retained_saved(publish, source)


def is_durable(core: Core, publish: Publish, publisher: Session) -> bool:
    """Whether to take this message would change something that is stored."""
    if not core.storage.durable:
        return False
    if publish.retain or (publish.qos == 2 and core.kept(publisher)):
        return True
    if not publish.qos:
        return False
    route = core.topics.route(publish.topic_name)
    if route is None:
        route = core.topics.match(publish.topic_name)
    for subscription in route.targets:
        if subscription.qos and core.kept(subscription.session):
            return True
    if route.groups is not None:
        for group in route.groups:
            for member in group.members:
                if member.qos and core.kept(member.session):
                    return True
    return False


def retained_full(core: Core, publish: Publish) -> bool:
    """Whether a retained message has no place: the store is full, and it is no smaller than the one it replaces."""
    limits = core.limits
    retained = core.retained
    room = limits.retained_bytes - retained.bytes
    if not core.no_memory and retained.count < limits.retained_messages and len(publish.payload) <= room:
        return False
    if not publish.payload:
        return False
    earlier = retained.get(publish.topic_name)
    if earlier is None:
        return True
    growth = message_bytes(publish) - message_bytes(earlier)
    return growth > 0 and (growth > room or core.no_memory)


def deliver(core: Core, subscription: Subscription, publish: Publish, publisher: Session | None) -> None:
    """Give a message to one subscription, at the lower of the two QoS."""
    session = subscription.session
    if subscription.no_local and session is publisher:
        own = subscription.own
        if own is None:
            return  # [MQTT-3.8.3-3]
        subscription = own
    qos = subscription.qos if core.limits.upgrade_outgoing_qos else min(subscription.qos, publish.qos)  # [MQTT-3.8.4-8]
    retain = publish.retain and subscription.retain_as_published  # [MQTT-3.3.1-12] [MQTT-3.3.1-13]
    deliver_to(core, session, publish, qos, retain, subscription.identifiers, None)  # [MQTT-3.3.4-3]


def deliver_shared(core: Core, group: ShareGroup, publish: Publish) -> None:
    """Give a message to one member of a shared group: in turn, those first that can take it now."""
    members = group.members
    permissions = core.permissions
    count: i64 = len(members)
    if core.uplink.enabled:
        picked: i64 = core.uplink.pick(group.share_name, members)
        if picked < 0:
            return
        group.turn = picked
    chosen: Subscription | None = None
    looks: i64 = 0
    for step in range(count):
        looks += 1
        index = (group.turn + step) % count
        member = members[index]
        connection = _open_connection(member.session)
        if connection is None or _too_large(connection, publish):
            continue
        if permissions is not None and not permissions.may_receive(member.session, publish.topic_name):
            continue
        if chosen is None:
            chosen = member
            group.turn = (index + 1) % count
        if connection.outbox_bytes <= core.limits.outbox_bytes and _window_open(core, member.session, connection):
            chosen = member
            group.turn = (index + 1) % count
            break
    if chosen is None:
        for step in range(count):  # nobody is here: it waits in one session
            looks += 1
            index = (group.turn + step) % count
            member = members[index]
            if permissions is not None and not permissions.may_receive(member.session, publish.topic_name):
                continue
            if not member.session.ended:
                chosen = member
                group.turn = (index + 1) % count
                break
        else:
            return
    core.deliveries_left -= looks // VISITS_SHARE
    qos = chosen.qos if core.limits.upgrade_outgoing_qos else min(chosen.qos, publish.qos)  # [MQTT-4.8.2-3]
    retain = publish.retain and chosen.retain_as_published
    deliver_to(core, chosen.session, publish, qos, retain, chosen.identifiers, chosen.topic_filter)  # [MQTT-3.3.4-5]


def _open_connection(session: Session) -> Connection | None:
    """The session's connection; None where it is closed in this turn, and what is sent to it now would be lost."""
    connection = session.connection
    if connection is not None and connection.close_reason != OPEN:
        return None
    return connection


def _too_large(connection: Connection, publish: Publish) -> bool:
    """Whether a message may be above the client's Maximum Packet Size, so that another member is asked first."""
    if not connection.packet_bytes_max:
        return False
    around = 5 + 2 + 2 + 4 + 5 + 5 + 3  # header, lengths, identifier, and the properties of this hop
    return (
        around + len(publish.topic_name) + len(publish.properties) + len(publish.payload) > connection.packet_bytes_max
    )


def hand_over(core: Core, session: Session) -> None:
    """A session has ended: give what it held of shared subscriptions to their other members, MQTT 5.0 section 4.8.2.

    That is what waited, and what was sent at QoS 1 and not acknowledged. A QoS 2 message that was sent is lost with its
    session: another member could get it a second time.
    """
    deliveries: list[Delivery] = []
    if session.inflight is not None:  # [MQTT-4.8.2-5]
        for delivery in session.inflight.values():
            if delivery.qos == 1 and delivery.shared is not None:
                deliveries.append(delivery)
    queue = session.queue
    if queue is not None and not queue.shares():
        queue = None
    if deliveries or queue is not None:
        work = HandOver(deliveries, queue)
        # What is stored goes in one batch with the end of the session, or a crash could take it.
        if not hand_on(core, work, core.storage.durable or core.stopping):
            core.queue(work, None)


def hand_on(core: Core, work: HandOver, whole: bool = False) -> bool:
    """Go on with what a session has left to the other members; whether all is handed over."""
    while whole or core.deliveries_left > 0:
        delivery: Delivery | None = None
        if work.next < len(work.deliveries):
            delivery = work.deliveries[work.next]
            work.next += 1
        elif work.left is not None:
            delivery = work.left.pop()
        if delivery is None:
            return True
        core.deliveries_left -= 1
        if delivery.shared is not None and not expired(core, delivery.publish):
            group = core.topics.group(delivery.shared)
            if group is not None:
                deliver_shared(core, group, delivery.publish)
    return False


def deliver_to(
    core: Core,
    session: Session,
    publish: Publish,
    qos: u8,
    retain: bool,
    identifiers: list[int] | None,
    shared: bytes | None,
) -> None:
    """Send a message to one session, or queue it; drop and count what can be neither."""
    if len(publish.payload) + len(publish.properties) > HUGE_BYTES and _fits_no_packet(publish, identifiers):
        core.stats.dropped_too_large += 1
        return
    connection = _open_connection(session)
    if qos == 0:
        if core.limits.queue_qos_0 and (connection is None or session.queue is not None):  # [MQTT-4.6.0-6]
            if core.shedding:
                core.stats.dropped_overload += 1
            else:
                enqueue(core, session, Delivery(publish, 0, retain, identifiers, shared))
        elif connection is None:
            core.stats.dropped_offline += 1
        elif connection.outbox_bytes > core.qos_0_bytes and (
            not retain or connection.outbox_bytes > core.limits.outbox_bytes  # what a new subscriber asked for is kept
        ):
            core.count_dropped_qos_0(connection, 1)
        else:
            _send_qos_0(core, connection, publish, retain, identifiers)
        return
    delivery = Delivery(publish, qos, retain, identifiers, shared)
    if connection is None or session.queue is not None or session.unsent:  # [MQTT-4.6.0-5] [MQTT-4.6.0-6]
        enqueue(core, session, delivery)
    elif connection.outbox_bytes > core.limits.outbox_bytes:
        enqueue(core, session, delivery)
        core.note_crowded(session)
    # [MQTT-3.3.4-10] [MQTT-4.9.0-3]
    elif _window_open(core, session, connection) and _room_in_flight(core, session, publish):
        transmit(core, session, connection, delivery)
    else:
        enqueue(core, session, delivery)


def _fits_no_packet(publish: Publish, identifiers: list[int] | None) -> bool:
    """Whether a PUBLISH of a message might be longer than any packet: it came in one that had room for no more."""
    count = len(identifiers) if identifiers is not None else 0
    size = len(publish.topic_name) + len(publish.payload) + len(publish.properties)
    return size + BESIDE_BYTES + count * IDENTIFIER_BYTES > REMAINING_LENGTH_MAX


def enqueue(core: Core, session: Session, delivery: Delivery) -> None:
    """Let a delivery wait in its session; a full queue drops the new one and counts it."""
    if session.ended:
        return
    queue = session.queue
    if queue is None:
        queue = session.queue = DeliveryQueue()
    limits = core.limits
    if len(queue) + queue.shelved >= limits.queued_messages or queue.bytes + queue.shelved_bytes >= limits.queued_bytes:
        core.stats.dropped_queue_full += 1
        return
    if session.connection is None and shelve(core, session, queue, delivery):
        return
    queue.push(delivery)
    if core.kept(session) and delivery.qos:
        core.touch()
        core.storage.delivery_saved(session, delivery)


def _window_open(core: Core, session: Session, connection: Connection) -> bool:
    window: int = session.window
    if core.limits.inflight_bytes and window and core.flying.get(session, 0) >= core.limits.inflight_bytes:
        return False
    # [MQTT-4.9.0-1] [MQTT-4.9.0-2]
    return window < connection.receive_maximum and window < core.limits.inflight_max  # [MQTT-3.3.4-9]


def _room_in_flight(core: Core, session: Session, publish: Publish) -> bool:
    """Whether a large message may be in flight beside those that are: in all they have the bytes that a queue may have.

    A client that takes messages and acknowledges none would have the broker keep a window full of the largest.
    """
    inflight = session.inflight
    if not inflight or len(publish.payload) < IN_FLIGHT_LARGE_BYTES:
        return True
    room = core.limits.queued_bytes - message_bytes(publish)
    for delivery in inflight.values():
        room -= message_bytes(delivery.publish)
    return room >= 0


def pump(core: Core, session: Session) -> None:
    """Send what waits in the session, as far as the window and the outbox allow."""
    connection = session.connection
    if connection is None:
        return
    if session.unsent:
        resend_unsent(core, session, connection)
    queue = session.queue
    if queue is None or session.unsent:
        return
    sent: i64 = 0
    while _window_open(core, session, connection):
        if connection.outbox_bytes > core.limits.outbox_bytes or (core.deliveries_left < 0 and sent >= PUMP_LEAST):
            core.note_crowded(session)
            return
        first = queue.first()
        if first is not None and not _room_in_flight(core, session, first.publish):
            return
        delivery = queue.pop()
        if delivery is None:
            break
        sent += 1
        core.deliveries_left -= 1
        if expired(core, delivery.publish):
            core.stats.dropped_expired += 1  # [MQTT-3.3.2-5]
            if delivery.qos:
                session.next_packet_identifier()  # one for each message, whether it leaves or not
            _forget(core, session, delivery)
        elif core.permissions is not None and not core.permissions.may_receive(session, delivery.publish.topic_name):
            core.stats.dropped_forbidden += 1
            if delivery.qos:
                session.next_packet_identifier()  # as above
            _forget(core, session, delivery)
        elif delivery.qos == 0:
            _send_qos_0(core, connection, delivery.publish, delivery.retain, delivery.identifiers)
        else:
            transmit(core, session, connection, delivery)
    if not len(queue):
        session.queue = None


def resend_unsent(core: Core, session: Session, connection: Connection) -> None:
    """Send again what was in flight on an earlier connection, as far as this one's window allows, with DUP."""
    inflight = session.inflight
    if inflight is None:
        return
    sent: i64 = 0
    for identifier, delivery in list(inflight.items()):
        if delivery.state != UNSENT:
            continue
        if not _window_open(core, session, connection):
            return
        if connection.outbox_bytes > core.limits.outbox_bytes or (core.deliveries_left < 0 and sent >= PUMP_LEAST):
            core.note_crowded(session)
            return
        sent += 1
        core.deliveries_left -= 1
        session.unsent -= 1
        if core.permissions is not None and not core.permissions.may_receive(session, delivery.publish.topic_name):
            core.stats.dropped_forbidden += 1
            del inflight[identifier]
            _forget(core, session, delivery)
            continue
        frame = delivery_frame(core, session, connection, delivery, True)  # [MQTT-3.3.1-1] [MQTT-4.3.3-7]
        if connection.packet_bytes_max and len(frame) > connection.packet_bytes_max:
            core.stats.dropped_too_large += 1
            del inflight[identifier]
            _forget(core, session, delivery)
            continue
        delivery.state = SENT
        session.window += 1
        core.fly(session, len(delivery.publish.payload))
        connection.send(frame)
        _count_sent(core, connection, delivery.publish, delivery.qos)


def expired(core: Core, publish: Publish) -> bool:
    """Whether the message's expiry interval has passed."""
    return publish.expires_at_ms != 0 and publish.expires_at_ms <= core.turn.wall_ms


def _forget(core: Core, session: Session, delivery: Delivery) -> None:
    if core.kept(session) and delivery.qos:
        core.touch()
        core.storage.delivery_removed(session, delivery)


# Frames


def _hop_properties(core: Core, publish: Publish, topic_alias: int, identifiers: list[int] | None) -> bytes:
    interval = ABSENT
    if publish.expires_at_ms:
        remaining_ms = publish.expires_at_ms - core.turn.wall_ms
        interval = max(0, (int(remaining_ms) + 999) // 1000)  # [MQTT-3.3.2-6]
    return encode_hop_properties(interval, topic_alias, identifiers)


def _send_qos_0(
    core: Core, connection: Connection, publish: Publish, retain: bool, identifiers: list[int] | None
) -> None:
    """Send at QoS 0: one frame for all of a version where nothing in it is personal."""
    if connection.protocol_version != MQTT_5_0:
        if retain:
            frame = encode_publish(publish, 4, 0, True, False, 0)
        else:
            shared = publish.frame_3
            if shared is None:
                shared = publish.frame_3 = encode_publish(publish, 4, 0, False, False, 0)  # [MQTT-4.3.1-1]
            frame = shared
    elif retain or identifiers is not None or publish.expires_at_ms or connection.topic_alias_maximum:
        frame = _personal_frame(core, connection, publish, 0, retain, False, 0, identifiers, True)
    else:
        shared = publish.frame_5
        if shared is None:
            shared = publish.frame_5 = encode_publish(publish, MQTT_5_0, 0, False, False, 0)
        frame = shared
    if connection.packet_bytes_max and len(frame) > connection.packet_bytes_max:
        core.stats.dropped_too_large += 1  # [MQTT-3.1.2-24] [MQTT-3.1.2-25]
        return
    connection.send(frame)
    _count_sent(core, connection, publish, 0)


def _count_sent(core: Core, connection: Connection, publish: Publish, qos: u8) -> None:
    if core.spans is not None and publish.properties:
        subscriber = connection.owner
        if isinstance(subscriber, Session):
            core.spans.delivered(publish, subscriber.client_id, int(qos))
    stats = core.stats
    stats.packets_sent += 1
    stats.publishes_sent += 1
    stats.publish_bytes_sent += len(publish.payload)


def _personal_frame(
    core: Core,
    connection: Connection,
    publish: Publish,
    qos: u8,
    retain: bool,
    dup: bool,
    packet_identifier: int,
    identifiers: list[int] | None,
    alias_allowed: bool,
) -> bytes:
    """A PUBLISH for one MQTT 5.0 connection, with its topic alias where it has one or may get one.

    A new alias is only counted on once its frame is sure to leave, and before any other frame that uses it.
    """
    topic_name = publish.topic_name
    alias = 0
    known = False
    # [MQTT-3.1.2-27]
    if alias_allowed and connection.topic_alias_maximum and len(topic_name) >= TOPIC_ALIAS_FROM_BYTES:
        aliases = connection.aliases
        if aliases is None:
            aliases = connection.aliases = Aliases()
        known = topic_name in aliases.outbound
        if known:
            alias = aliases.outbound[topic_name]
        elif len(aliases.outbound) < min(int(connection.topic_alias_maximum), int(core.limits.topic_aliases_out)):
            alias = len(aliases.outbound) + 1  # [MQTT-3.3.2-8] [MQTT-3.1.2-26] [MQTT-3.3.2-11]
    hop = _hop_properties(core, publish, alias, identifiers)
    frame = encode_publish(publish, MQTT_5_0, qos, retain, dup, packet_identifier, hop, not known)
    leaves = not connection.packet_bytes_max or len(frame) <= connection.packet_bytes_max
    if alias and not known and leaves and connection.aliases is not None:
        connection.aliases.outbound[topic_name] = alias
    return frame


def transmit(core: Core, session: Session, connection: Connection, delivery: Delivery) -> None:
    """Send a QoS 1 or 2 message under a new packet identifier; the window has a place."""
    identifier = session.next_packet_identifier()  # [MQTT-4.3.2-1] [MQTT-4.3.3-1]
    delivery.packet_identifier = identifier
    delivery.state = SENT
    frame = delivery_frame(core, session, connection, delivery, False)  # [MQTT-4.3.2-2] [MQTT-4.3.3-2]
    if connection.packet_bytes_max and len(frame) > connection.packet_bytes_max:
        core.stats.dropped_too_large += 1  # [MQTT-3.1.2-25]: as if it had been sent and acknowledged
        _forget(core, session, delivery)
        return
    inflight = session.inflight
    if inflight is None:
        inflight = session.inflight = {}
    inflight[identifier] = delivery  # [MQTT-4.3.2-3] [MQTT-4.3.3-3]
    session.window += 1
    if core.limits.inflight_bytes:
        core.fly(session, len(delivery.publish.payload))
    if core.kept(session):
        core.touch()
        core.storage.delivery_saved(session, delivery)
    if delivery.qos == 2 and core.kept(session):
        connection.hold(frame)  # its packet identifier must be known after a restart
    else:
        connection.send(frame)
    _count_sent(core, connection, delivery.publish, delivery.qos)


def delivery_frame(core: Core, session: Session, connection: Connection, delivery: Delivery, dup: bool) -> bytes:
    """The PUBLISH of a delivery that has its packet identifier."""
    publish = delivery.publish
    qos = delivery.qos
    retain = delivery.retain
    identifier = delivery.packet_identifier
    if connection.protocol_version != MQTT_5_0:
        return encode_publish(publish, 4, qos, retain, dup, identifier)
    if delivery.identifiers is None and not publish.expires_at_ms and not connection.topic_alias_maximum:
        return encode_publish(publish, MQTT_5_0, qos, retain, dup, identifier)
    # What is held may be overtaken by what is not, so it can't set up an alias that others rely on.
    alias_allowed = not (qos == 2 and core.kept(session)) and not dup
    return _personal_frame(core, connection, publish, qos, retain, dup, identifier, delivery.identifiers, alias_allowed)


# Retained messages for new subscriptions


def replay(core: Core, session: Session) -> None:
    """Send on retained messages to a session, until its outbox or its queue is full, or nothing is left.

    What is left when the connection is lost goes on with the next one.
    """
    connection = session.connection
    if connection is None:
        return
    limits = core.limits
    queued_max = min(limits.inflight_max, limits.queued_messages - 1)
    slices = 0
    walked = False
    while session.replays is not None:
        queued: i64 = session.queued()
        queued_bytes: i64 = session.queue.bytes if session.queue is not None else 0
        if queued > queued_max or queued_bytes >= limits.queued_bytes:
            return  # QoS 1 and 2 go on when the client has acknowledged some
        room = limits.outbox_bytes + 1 - connection.outbox_bytes
        if room <= 0 or slices == REPLAY_SLICES or (walked and core.deliveries_left < 0):
            core.note_crowded(session)
            return
        # If none of them can be sent at once, all must have a place in the queue.
        messages = min(REPLAY_SLICE, limits.queued_messages - queued)
        room = min(room, limits.queued_bytes - queued_bytes, REPLAY_BYTES)
        topic_filter, current = session.replays.popitem(last=False)
        slice_used = False  # by a filter that matches nothing
        before = core.retained.visited
        found = core.retained.next(current, int(messages), room)
        core.deliveries_left -= len(found) * RETAINED_COST + (core.retained.visited - before) // VISITS_SHARE + 1
        walked = True
        for publish in found:
            if expired(core, publish):
                core.stats.dropped_expired += 1
                if core.retained.remove(publish.topic_name) and core.storage.durable:
                    core.touch()
                    core.storage.retained_removed(publish.topic_name)
                continue
            if current.no_local and publish.client_id == session.client_id:
                continue  # [MQTT-3.8.3-3]
            if core.permissions is not None and not _may_replay(core, core.permissions, session, publish.topic_name):
                continue
            qos = current.qos if core.limits.upgrade_outgoing_qos else min(current.qos, publish.qos)
            deliver_to(core, session, publish, qos, True, current.identifiers, None)  # [MQTT-3.3.1-9] [MQTT311-3.3.1-8]
            slice_used = True
        if not current.done():
            slice_used = True
            session.replays[topic_filter] = current
            session.replays.move_to_end(topic_filter, last=False)
        elif not session.replays:
            session.replays = None
        if slice_used:
            slices += 1


def _may_replay(core: Core, permissions: Permissions, session: Session, topic_name: bytes) -> bool:
    """Whether a client may get a retained message, and its publisher may still have it there."""
    if not permissions.may_receive(session, topic_name):
        return False
    source = core.retained.sources.get(topic_name) if core.limits.check_retain_source else None
    return source is None or permissions.may_stay(source, topic_name)


def suspend_replays(core: Core, session: Session) -> None:
    """The client of a kept session is gone: its replays wait, except one whose walk is too long to be kept.

    Only the first has begun to walk. The others are a filter each, and no more than the session has subscriptions.
    """
    replays = session.replays
    if not replays:
        return
    topic_filter = next(iter(replays))
    if len(replays[topic_filter].nodes) > REPLAY_NODES_KEPT:
        core.stats.dropped_queue_full += 1
        stop_replay(session, topic_filter)


def stop_replay(session: Session, topic_filter: bytes) -> None:
    """Send on no more retained messages for a filter that is subscribed anew or no longer."""
    if session.replays is not None:
        session.replays.pop(topic_filter, None)
        if not session.replays:
            session.replays = None
