"""A message to very many subscribers, in slices: no turn delivers more than a few thousand times.

To hand on the bytes of a run takes 0.1 µs for each subscriber, a frame of its own 1 to 2 µs. One message to 15,000 at
QoS 1 would hold up everybody for 20 ms, a read with 900 of them for 20 s, and one message to a million for two.

Order is kept because the publisher is not read until its message has reached all, and because messages of others that
are that wide wait behind it. Who unsubscribes meanwhile gets it no longer [MQTT-3.10.4-2]; who subscribes gets the next
one. An acknowledgement waits until all is delivered, or stored.
"""

from __future__ import annotations

from mypy_extensions import i64

from swellmq.broker.core import Core
from swellmq.broker.publish import deliver, deliver_shared, hand_on, retain_publish, send_out
from swellmq.broker.work import HandOver, Routing, Spread, Work
from swellmq.codec.decode import decode_publish, header_length, packet_length
from swellmq.codec.packets import Publish
from swellmq.limits import FAN_OUT_WIDE, VISITS_AT_ONCE, VISITS_SHARE


def go_on(core: Core, work: Work) -> bool:
    """Do as much of `work` as its share allows; whether it is done."""
    spread: Spread
    if isinstance(work, Routing):
        if work.spread is None and not _find(core, work):
            return False
        assert work.spread is not None
        spread = work.spread
    elif isinstance(work, Spread):
        spread = work
    elif isinstance(work, HandOver):
        return hand_on(core, work)
    else:
        return True
    turn = core.turn
    before: i64 = len(turn.flush)
    spread_on(core, spread)
    done = spread.done()
    if not done or len(turn.flush) - before > FAN_OUT_WIDE:
        turn.put_behind(before)
    return done


def _find(core: Core, routing: Routing) -> bool:
    """Search on for those that get a message; whether they are found, and it is on its way."""
    topics = core.topics
    search = routing.search
    if search is None:
        if routing.publish.retain:
            retain_publish(core, routing.publish, routing.publisher)
        search = routing.search = topics.search(routing.publish.topic_name)
    before = search.visited
    done = search.go_on(VISITS_AT_ONCE)
    core.deliveries_left -= (search.visited - before) // VISITS_SHARE
    if done:
        routing.spread = send_out(core, routing.publish, routing.publisher, topics.found(search))
    return done


def spread_on(core: Core, spread: Spread, whole: bool = False) -> None:
    """Deliver until this turn's share is used up, or all is delivered; `whole`: all, and it is counted already."""
    targets = spread.targets
    groups = spread.groups
    singles: i64 = len(targets)
    count = singles if groups is None else singles + len(groups)
    while (whole or core.deliveries_left > 0) and not spread.done():
        publish = spread.publish
        if publish is None:
            publish = spread.publish = _next_publish(spread)
        index = spread.next
        while index < count and (whole or core.deliveries_left > 0):
            if not whole:
                core.deliveries_left -= 1
            if index < singles:
                subscription = targets[index]
                if subscription.position >= 0:
                    deliver(core, subscription, publish, spread.publisher)
            elif groups is not None:
                deliver_shared(core, groups[index - singles], publish)
            index += 1
        spread.next = index
        if index == count:
            if publish.retain:
                publish.frame_3 = publish.frame_5 = None  # it stays, so it should not stay three times
            spread.publish = None
            spread.next = 0


def _next_publish(spread: Spread) -> Publish:
    piece = spread.piece
    pos = spread.pos
    total = packet_length(piece, pos, len(piece))
    spread.pos = pos + total
    publish = decode_publish(piece[pos], piece, pos + header_length(total), spread.pos, spread.protocol_version)
    if spread.publisher is not None:
        publish.client_id = spread.publisher.client_id
    return publish
