"""Will messages and the end of sessions, MQTT 5.0 sections 3.1.2.5 and 4.1.

A will goes out when its delay has passed or its session ends, whichever is first, unless the client said goodbye or
came back in time. Both moments are one deadline of the session.
"""

from __future__ import annotations

from mypy_extensions import i64

from swellmq.broker.access import DISCONNECTED, SESSION_ENDED, SessionEvent
from swellmq.broker.core import INFO, LINE_CLOSED, Core
from swellmq.broker.publish import hand_over, route_publish, stop_replay, suspend_replays
from swellmq.broker.session import Session
from swellmq.broker.shelf import count_left, count_no_longer
from swellmq.broker.work import Routing
from swellmq.codec.packets import ABSENT
from swellmq.codec.spec import SESSION_EXPIRY_NEVER
from swellmq.connection import Connection
from swellmq.errors import CLOSE_REASONS
from swellmq.limits import DISCARD_BYTES, DISCARDS_PER_TURN, REMOVALS_AT_ONCE, REMOVALS_PER_TURN


def publish_will(core: Core, session: Session) -> None:
    """Send the session's will, if it has one, and forget it."""
    will = session.will
    session.will = None  # [MQTT-3.1.2-10]
    if will is None:
        return
    publish = will.publish
    if core.permissions is not None and not core.permissions.may_leave_will(session, publish):
        core.stats.refused_publishes += 1  # it was allowed when the client came in
        return
    publish.client_id = session.client_id
    if publish.message_expiry_interval != ABSENT:
        publish.expires_at_ms = core.turn.wall_ms + publish.message_expiry_interval * 1000
    if core.kept(session) and not session.ended:
        core.touch()
        core.storage.session_saved(session)
    many = core.deliveries_left < 0  # clients are lost at once
    if (many or (core.work and core.has_under_way(session))) and not core.stopping:
        core.queue(Routing(publish, session), None)
    else:
        route_publish(core, publish, session)  # [MQTT-3.1.2-14] [MQTT-3.1.2-15]


def detach(core: Core, connection: Connection, now_ms: i64) -> None:
    """The connection of a session is closed: its will and its end are due, at once or later."""
    session = connection.owner
    if not isinstance(session, Session):
        return
    if core.tells(LINE_CLOSED, INFO):
        core.chronicle().closed(session, connection)
    connection.owner = None
    session.connection = None
    core.clients -= 1
    if core.access.watches_sessions:
        core.events.append(SessionEvent(DISCONNECTED, session.client_id, CLOSE_REASONS[connection.close_reason]))
    if not connection.will_wanted:
        session.will = None  # [MQTT-3.14.4-3]
    if session.expiry_interval == 0:
        end_session(core, session)  # [MQTT311-3.1.2-6] [MQTT-4.1.0-2]
        return
    suspend_replays(core, session)
    session.since_ms = now_ms
    count_left(core, session)
    if session.will is not None and session.will.will_delay_interval == 0:
        publish_will(core, session)
    set_deadline(core, session)
    if core.kept(session):
        core.touch()
        core.storage.session_saved(session)


def set_deadline(core: Core, session: Session) -> None:
    """Have a session that has no client looked at when its will is due, or its end, and before."""
    due = _ends_at_ms(session)
    will = session.will
    if will is not None:
        will_due = max(1, session.since_ms + will.will_delay_interval * 1000)
        due = will_due if due == 0 else min(due, will_due)
    if due:
        core.deadlines.set_far(session, due, core.turn.now_ms)
    else:
        core.deadlines.clear(session)


def _ends_at_ms(session: Session) -> i64:
    """When a session that has no client ends; 0: never."""
    if session.expiry_interval == SESSION_EXPIRY_NEVER:
        return 0
    return max(1, session.since_ms + session.expiry_interval * 1000)  # [MQTT-3.1.2-23]: it may be from before our start


def on_session_due(core: Core, session: Session, now_ms: i64) -> None:
    """The session's deadline has come while no client is connected: its will may be due, or its end."""
    if session.connection is not None or session.ended:  # [MQTT-4.1.0-1]
        return
    ends_at_ms = _ends_at_ms(session)
    if ends_at_ms and ends_at_ms <= now_ms:
        core.stats.sessions_expired += 1
        end_session(core, session)  # [MQTT-4.1.0-2]
        return
    will = session.will
    if will is not None and session.since_ms + will.will_delay_interval * 1000 <= now_ms:
        publish_will(core, session)  # [MQTT-3.1.2-8]
    set_deadline(core, session)


def end_session(core: Core, session: Session) -> None:
    """Discard a session: its messages, its place in the map, and its subscriptions, of which many go in slices.

    A will that waits goes out.
    """
    if session.ended:
        return
    session.ended = True
    core.deadlines.clear(session)
    core.sessions.remove(session.client_id.encode())
    if session.subscription_count() <= REMOVALS_AT_ONCE and core.deliveries_left > 0:
        _remove_subscriptions(core, session, REMOVALS_AT_ONCE)
    else:
        core.ending.append(session)
        core.turn.again = True
    if core.kept(session):
        core.touch()
        core.storage.session_removed(session)
    publish_will(core, session)  # [MQTT-3.1.2-8]
    count_no_longer(core, session)
    queue = session.queue
    if queue is not None and (len(queue) > DISCARDS_PER_TURN or queue.bytes > DISCARD_BYTES) and not queue.shares():
        core.discarded.append(queue)
        core.turn.again = True
        session.queue = None
    hand_over(core, session)
    # Retained messages stay: they are no part of a session [MQTT311-3.1.2.7].
    session.inflight = None
    core.flying.pop(session, None)
    session.queue = None
    session.received = None
    if session.first is None:
        session.replays = None  # else they go with their subscriptions
    if core.access.watches_sessions:
        core.events.append(SessionEvent(SESSION_ENDED, session.client_id, ""))


def remove_ended(core: Core) -> None:
    """Remove a slice of the subscriptions that sessions with many of them had when they ended.

    Meanwhile they match, but `enqueue` keeps nothing for a session that has ended.
    """
    removed = 0
    while core.ending and removed < REMOVALS_PER_TURN:
        session = core.ending[-1]
        removed += _remove_subscriptions(core, session, REMOVALS_PER_TURN - removed)
        if session.first is None:
            core.ending.pop()
    if core.ending:
        core.turn.again = True


def discard_some(core: Core) -> None:
    """Let go of some messages that waited for sessions which have ended: to free 10,000 at once takes 3 ms, and so do
    ten of 3 MB."""
    if not core.discarded:
        return
    queue = core.discarded[-1]
    bytes_left = queue.bytes - DISCARD_BYTES
    for _ in range(DISCARDS_PER_TURN):
        if queue.pop() is None:
            core.discarded.pop()
            break
        if queue.bytes <= bytes_left:
            break
    if core.discarded:
        core.turn.again = True


def _remove_subscriptions(core: Core, session: Session, count_max: int) -> int:
    """Remove up to `count_max` of a session's subscriptions; how many it were."""
    count = 0
    while count < count_max and session.first is not None:
        subscription = session.first if session.others is None else session.others[-1]
        session.remove_subscription(subscription)
        stop_replay(session, subscription.topic_filter)
        core.deliveries_left -= 1
        if core.topics.remove(subscription) and core.uplink.enabled:
            core.uplink.route_removed(subscription.topic_filter)
        count += 1
    return count
