"""SUBSCRIBE and UNSUBSCRIBE, MQTT 5.0 sections 3.8 to 3.11."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from mypy_extensions import i64

from swellmq.broker.access import BARRIER, SUBSCRIBE, Request
from swellmq.broker.core import DEBUG, INFO, LINE_REVOKED, LINE_SUBSCRIBED, LINE_UNSUBSCRIBED, Core
from swellmq.broker.explain import NOT_STORED, allowed_reason, disconnect, explained
from swellmq.broker.publish import replay, stop_replay
from swellmq.broker.retained import Replay
from swellmq.broker.session import Session, Subscription
from swellmq.broker.topics import dear_bytes, is_wild
from swellmq.broker.work import Filters
from swellmq.codec import spec
from swellmq.codec.decode import (
    SUBACK_REASONS,
    begin_filters,
    decode_names,
    decode_requests,
)
from swellmq.codec.encode import encode_suback
from swellmq.codec.packets import Suback, Subscribe, TopicRequest, Unsubscribe
from swellmq.codec.topic import split_share
from swellmq.connection import Connection
from swellmq.errors import ADMINISTRATIVE, STORE_FAILING, ProtocolError
from swellmq.limits import (
    DEAR_FILTERS_BYTES_MAX,
    FILTER_BYTES_SHARE,
    FILTER_COST,
    FILTERS_BYTES,
    FILTERS_LEAST,
    LEVELS_SHARE,
)

REVIEW_SLICE: Final = 128  # sessions and subscriptions looked at in one turn; each takes some 2 microseconds

USERS_CHANGED: Final = "the server's users have changed"

# Why a request is not granted.
PHRASES: Final = {
    spec.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED: "shared subscriptions are not available",
    spec.WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED: "wildcard subscriptions are not available",
    spec.TOPIC_FILTER_INVALID: "a topic filter that is too long",
    spec.QUOTA_EXCEEDED: "no more subscriptions for this session",
}


def take_filters(
    core: Core, connection: Connection, session: Session, packet_type: int, data: bytes, pos: i64, end: i64
) -> None:
    """Decode the body of a SUBSCRIBE or UNSUBSCRIBE, and take it; one of many filters is decoded over several turns."""
    packet, pos = begin_filters(packet_type, data, pos, end, int(connection.protocol_version))
    if end - pos <= FILTERS_BYTES:
        _decode_some(core, connection, packet, data, pos, end, end)
        _on_filters(core, connection, session, packet)
        return
    filters = Filters(packet, core.changes)
    filters.body = data[pos:end]
    go_on_decoding(core, connection, session, filters)


def go_on_decoding(core: Core, connection: Connection, session: Session, filters: Filters) -> bool:
    """Decode the next filters of a packet; where none is left take it, and say so.

    No filter is taken before all are decoded: a packet that is malformed changes nothing.
    """
    body = filters.body
    before = core.deliveries_left
    while filters.pos < len(body):
        if _waits(core, connection, filters, before):
            return False
        start = filters.pos
        filters.pos = _decode_some(core, connection, filters.packet, body, start, len(body), FILTERS_LEAST)
        core.deliveries_left -= FILTERS_LEAST + (filters.pos - start) // FILTER_BYTES_SHARE
    core.let_go(filters)
    _on_filters(core, connection, session, filters.packet)
    return True


def _waits(core: Core, connection: Connection, filters: Filters, before: i64) -> bool:
    """Whether the rest of `filters` is for later turns: this one has done its share, and some of them; `before` is what
    was left of the share then."""
    if core.deliveries_left >= 0 or before - core.deliveries_left < FILTERS_LEAST * FILTER_COST:
        return False
    if filters.connection is None:
        core.queue(filters, connection)
    return True


def _cost(topic_filter: bytes) -> i64:
    """What one filter takes, in deliveries."""
    return FILTER_COST + topic_filter.count(b"/") // LEVELS_SHARE


def _decode_some(
    core: Core, connection: Connection, packet: Subscribe | Unsubscribe, data: bytes, pos: i64, end: i64, count: i64
) -> i64:
    """Decode up to `count` filters more, and mount them; the position behind them."""
    if isinstance(packet, Subscribe):
        first = len(packet.requests)
        pos = decode_requests(packet, data, pos, end, int(connection.protocol_version), count)
        if core.rules:
            core.rules_of(connection).mount_filters(packet, first)
    else:
        first = len(packet.topic_filters)
        pos = decode_names(packet, data, pos, end, count)
        if core.rules:
            core.rules_of(connection).mount_names(packet, first)
    return pos


def _on_filters(core: Core, connection: Connection, session: Session, packet: Subscribe | Unsubscribe) -> None:
    if isinstance(packet, Subscribe):
        on_subscribe(core, connection, session, packet)
    else:
        on_unsubscribe(core, connection, session, packet)


def on_subscribe(core: Core, connection: Connection, session: Session, packet: Subscribe) -> None:
    """Take a SUBSCRIBE whose filters are where they belong: ask access first if it wants to be asked."""
    if (
        not core.limits.subscription_identifier_available
        and packet.properties is not None
        and packet.properties.subscription_identifiers is not None
    ):
        raise ProtocolError(spec.SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED, "subscription identifiers are not available")
    _check_answer(connection, len(packet.requests))
    if core.access.authorizes_subscribe:
        request = core.park(SUBSCRIBE, connection, session.client_id, session.username)
        request.subscribe = packet
        core.requests.append(request)
        return
    subscribe(core, connection, session, packet, None)


def _check_answer(connection: Connection, reason_codes: int) -> None:
    """An answer with so many reason codes has to be within the client's Maximum Packet Size: it can't be left out."""
    if connection.packet_bytes_max and not connection.takes(
        encode_suback(Suback(spec.SUBACK, 1, bytes(reason_codes)), connection.protocol_version)
    ):
        raise ProtocolError(spec.PACKET_TOO_LARGE, "the answer is above the Maximum Packet Size")  # [MQTT-3.1.2-24]


def subscribe(
    core: Core,
    connection: Connection,
    session: Session,
    packet: Subscribe,
    verdicts: list[int] | None,
    answered: Request | None = None,
) -> None:
    """Make the subscriptions that are allowed, answer, and begin to send retained messages.

    `verdicts` has a reason code of access for each request; below 0x80 it is allowed. `answered` is the question.
    """
    filters = Filters(packet, core.changes)
    filters.verdicts = verdicts
    filters.answered = answered
    go_on_subscribing(core, connection, session, filters)


def go_on_with_filters(core: Core, filters: Filters) -> bool:
    """Do the next part of a SUBSCRIBE or UNSUBSCRIBE of many filters; whether it is done, or its client has gone."""
    connection = filters.connection
    session = connection.owner if connection is not None else None
    if connection is None or not isinstance(session, Session):
        return True
    if filters.body:
        return go_on_decoding(core, connection, session, filters)
    if filters.barrier is not None:
        return go_on_lining_up(core, connection, session, filters)
    if isinstance(filters.packet, Subscribe):
        return go_on_subscribing(core, connection, session, filters)
    return go_on_unsubscribing(core, connection, session, filters)


def go_on_subscribing(core: Core, connection: Connection, session: Session, filters: Filters) -> bool:
    """Make the next subscriptions of a SUBSCRIBE; where none is left answer it, and say so."""
    packet = filters.packet
    assert isinstance(packet, Subscribe)
    first = len(filters.reason_codes)
    before = core.deliveries_left
    for index in range(first, len(packet.requests)):  # [MQTT-3.8.4-5]
        if _waits(core, connection, filters, before):
            return False
        request = packet.requests[index]
        core.deliveries_left -= _cost(request.topic_filter)
        verdict = filters.verdicts[index] if filters.verdicts is not None else 0
        reason_code = _refusal(core, session, request, verdict, filters.phrases)
        if not reason_code:
            _grant(core, connection, session, request, filters)
            reason_code = request.qos  # [MQTT-3.8.4-7]
        elif connection.protocol_version != spec.MQTT_5_0:
            reason_code = spec.SUBACK_FAILURE
        filters.reason_codes.append(reason_code)  # [MQTT-3.8.4-6] [MQTT-3.9.3-1]
    if core.tells(LINE_SUBSCRIBED, DEBUG):
        core.chronicle().subscribed(session, packet.requests, filters.reason_codes)
    # [MQTT-2.2.1-6] [MQTT-3.8.4-2]
    answer = Suback(spec.SUBACK, packet.packet_identifier, bytes(filters.reason_codes))
    suback = explained(connection, answer, "; ".join(filters.phrases), filters.answered)
    ticket = core.ticket_since(filters.changes)
    core.let_go(filters)
    if core.uplink.enabled:
        barrier = core.park(BARRIER, connection, session.client_id, session.username)
        barrier.subscribe = Subscribe(packet.packet_identifier, filters.retained, packet.properties)
        barrier.reply = suback
        barrier.ticket = ticket
        if core.uplink.barrier(session.client_id, barrier.token):
            core.unpark(barrier)
            on_barrier_answered(core, connection, session, barrier)
        return True
    finish_subscribe(core, connection, session, suback, ticket)
    return True


def _identifiers(packet: Subscribe) -> list[int] | None:
    return packet.properties.subscription_identifiers if packet.properties is not None else None


def on_barrier_answered(core: Core, connection: Connection, session: Session, request: Request) -> None:
    """The cluster knows the new routes: SUBACK may leave."""
    assert request.subscribe is not None
    filters = Filters(request.subscribe, core.changes)
    filters.barrier = request
    go_on_lining_up(core, connection, session, filters)


def go_on_lining_up(core: Core, connection: Connection, session: Session, filters: Filters) -> bool:
    """Line up retained messages for the next filters that the cluster knows; where none is left answer, and say so."""
    packet = filters.packet
    barrier = filters.barrier
    assert isinstance(packet, Subscribe) and barrier is not None
    identifiers = _identifiers(packet)
    before = core.deliveries_left
    while filters.pos < len(packet.requests):
        if _waits(core, connection, filters, before):
            return False
        core.deliveries_left -= FILTER_COST
        line_up_replay(core, session, packet.requests[filters.pos], identifiers)
        filters.pos += 1
    finish_subscribe(core, connection, session, barrier.reply, barrier.ticket)
    return True


def finish_subscribe(core: Core, connection: Connection, session: Session, suback: bytes, ticket: i64) -> None:
    """Send SUBACK once `ticket` is stored, then the retained messages that stand in line."""
    connection.hold_until(suback, ticket)  # [MQTT-3.8.4-1]
    if session.replays is not None:
        replay(core, session)


def line_up_replay(core: Core, session: Session, request: TopicRequest, identifiers: list[int] | None) -> None:
    """Send the retained messages of a filter, behind those of the filters before."""
    stop_replay(session, request.topic_filter)
    if not core.retained.count:
        return
    if session.replays is None:
        session.replays = OrderedDict()
    session.replays[request.topic_filter] = Replay(request.topic_filter, request.qos, request.no_local, identifiers)


def _refusal(core: Core, session: Session, request: TopicRequest, verdict: int, phrases: list[str]) -> int:
    """The reason code why a request is not granted, or 0; why in words is added to `phrases`."""
    if verdict >= 0x80:
        reason_code = allowed_reason(verdict, SUBACK_REASONS)  # [MQTT-3.9.3-2]
        phrase = "refused by access control"
    elif core.permissions is not None and not core.permissions.may_subscribe(session, request.topic_filter):
        reason_code = spec.NOT_AUTHORIZED
        phrase = "refused by access control"
        core.stats.refused_subscriptions += 1
    else:
        reason_code = _inability(core, session, request)
        phrase = PHRASES.get(reason_code, "")
        if not reason_code and core.storage.refusal and core.kept(session):
            reason_code = core.storage.refusal
            phrase = NOT_STORED
            core.stats.refused_not_stored += 1
    if reason_code and phrase not in phrases:
        phrases.append(phrase)
    return reason_code


def _inability(core: Core, session: Session, request: TopicRequest) -> int:
    """The reason code why this broker can't grant a request, or 0."""
    limits = core.limits
    share_name, bare = split_share(request.topic_filter)
    if share_name and not limits.shared_subscription_available:
        return spec.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED
    if not limits.wildcard_subscription_available and is_wild(bare):
        return spec.WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED  # [MQTT311-3.8.3-2]
    if bare.count(b"/") >= limits.topic_levels or len(bare) > limits.topic_bytes:
        return spec.TOPIC_FILTER_INVALID
    full = session.subscription_count() >= limits.subscriptions
    if not full and core.topics.dear_bytes >= DEAR_FILTERS_BYTES_MAX:
        full = dear_bytes(request.topic_filter) > 0
    if full and core.topics.find(session, request.topic_filter) is None:
        return spec.QUOTA_EXCEEDED
    return 0


def _grant(core: Core, connection: Connection, session: Session, request: TopicRequest, filters: Filters) -> None:
    """Make a subscription, at the QoS that it may have, and line up its retained messages."""
    packet = filters.packet
    assert isinstance(packet, Subscribe)
    identifiers = _identifiers(packet)
    shared = bool(split_share(request.topic_filter)[0])
    request.qos = min(int(request.qos), int(core.maximum_qos(connection)))  # [MQTT-3.2.2-10]
    if connection.bridge:
        request.retain_as_published = True
        request.no_local = not shared
    is_new = _subscribe_one(core, session, request, identifiers)
    # [MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-11]
    if not shared and (request.retain_handling == 0 or (request.retain_handling == 1 and is_new)):
        if core.uplink.enabled:
            filters.retained.append(request)
        else:
            line_up_replay(core, session, request, identifiers)


def _subscribe_one(core: Core, session: Session, request: TopicRequest, identifiers: list[int] | None) -> bool:
    """Make or replace one subscription; whether it is new."""
    subscription = core.topics.find(session, request.topic_filter)
    is_new = subscription is None
    if subscription is None:
        subscription = Subscription(session, request.topic_filter)
    subscription.qos = request.qos
    subscription.no_local = request.no_local
    subscription.retain_as_published = request.retain_as_published
    subscription.identifiers = identifiers
    subscription.plain = identifiers is None and not request.no_local
    if is_new:
        session.add_subscription(subscription)
        if core.topics.add(subscription) and core.uplink.enabled:
            core.uplink.route_added(subscription.topic_filter)
    else:
        core.topics.changed(subscription)  # [MQTT-3.8.4-3] [MQTT-3.8.4-4]
    if core.kept(session):
        core.touch()
        core.storage.subscription_saved(subscription)
    return is_new


def _refuse_unsubscribe(core: Core, connection: Connection, packet: Unsubscribe) -> None:
    """The store can't write: nothing is removed. An UNSUBACK of 3.x has no way to say so."""
    core.stats.refused_not_stored += 1
    if connection.protocol_version != spec.MQTT_5_0:
        connection.close(STORE_FAILING)
        return
    reason_codes = bytes([spec.IMPLEMENTATION_SPECIFIC_ERROR]) * len(packet.topic_filters)
    unsuback = Suback(spec.UNSUBACK, packet.packet_identifier, reason_codes)
    connection.send_in_order(explained(connection, unsuback, NOT_STORED))


def on_unsubscribe(core: Core, connection: Connection, session: Session, packet: Unsubscribe) -> None:
    """Remove subscriptions; messages already under way or queued still arrive, [MQTT-3.10.4-3]."""
    _check_answer(connection, len(packet.topic_filters))
    if core.storage.refusal and core.kept(session):
        _refuse_unsubscribe(core, connection, packet)
        return
    filters = Filters(packet, core.changes)
    go_on_unsubscribing(core, connection, session, filters)


def go_on_unsubscribing(core: Core, connection: Connection, session: Session, filters: Filters) -> bool:
    """Remove the next subscriptions of an UNSUBSCRIBE; where none is left answer it, and say so."""
    packet = filters.packet
    assert isinstance(packet, Unsubscribe)
    reason_codes = filters.reason_codes
    first = len(reason_codes)
    before = core.deliveries_left
    for index in range(first, len(packet.topic_filters)):  # [MQTT-3.10.4-6]
        if _waits(core, connection, filters, before):
            return False
        core.deliveries_left -= _cost(packet.topic_filters[index])
        subscription = core.topics.find(session, packet.topic_filters[index])  # [MQTT-3.10.4-1]
        if subscription is None:
            reason_codes.append(spec.NO_SUBSCRIPTION_EXISTED)
            continue
        remove_subscription(core, session, subscription)
        reason_codes.append(spec.SUCCESS)  # [MQTT-3.11.3-1]
    if core.tells(LINE_UNSUBSCRIBED, DEBUG):
        core.chronicle().unsubscribed(session, packet.topic_filters)
    unsuback = Suback(spec.UNSUBACK, packet.packet_identifier, bytes(reason_codes))  # [MQTT-2.2.1-6] [MQTT-3.10.4-5]
    phrase = "no such subscription" if spec.NO_SUBSCRIPTION_EXISTED in reason_codes else ""
    # [MQTT-3.10.4-4]
    connection.hold_until(explained(connection, unsuback, phrase), core.ticket_since(filters.changes))
    return True


def remove_subscription(core: Core, session: Session, subscription: Subscription) -> None:
    """Take a subscription away from a session that goes on."""
    session.remove_subscription(subscription)
    stop_replay(session, subscription.topic_filter)  # [MQTT-3.10.4-2]
    if core.topics.remove(subscription) and core.uplink.enabled:
        core.uplink.route_removed(subscription.topic_filter)
    if core.kept(session):
        core.touch()
        core.storage.subscription_removed(subscription)


def review_some(core: Core) -> None:
    """Access control has changed: look again at clients and subscriptions, as many in each turn as take 0.3 ms."""
    for _ in range(REVIEW_SLICE):
        if core.review_left:
            _review_subscription(core, core.review_left.pop())
        elif core.review:
            session = core.review.pop()
            _review_client(core, session)
            if core.permissions is not None:
                core.review_left = session.subscriptions()
        else:
            return
    core.turn.again = True


def _review_client(core: Core, session: Session) -> None:
    """Disconnect a client that is no longer welcome."""
    connection = session.connection
    if connection is not None and not core.access.welcomes(connection, session.username):
        core.lines.faults[connection] = USERS_CHANGED
        disconnect(connection, spec.NOT_AUTHORIZED, ADMINISTRATIVE, USERS_CHANGED)


def _review_subscription(core: Core, subscription: Subscription) -> None:
    """Remove a subscription that is no longer allowed, unless it is gone already."""
    session = subscription.session
    permissions = core.permissions
    if permissions is None or session.ended or permissions.may_subscribe(session, subscription.topic_filter):
        return
    if core.topics.find(session, subscription.topic_filter) is subscription:
        remove_subscription(core, session, subscription)
        core.stats.subscriptions_revoked += 1
        if core.tells(LINE_REVOKED, INFO):
            core.chronicle().revoked(session, subscription.topic_filter)
