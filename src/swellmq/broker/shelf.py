"""Messages that wait on disk only: a fleet that is away must not fill the memory.

All that waits for clients which are away is counted, in about the memory it takes. Beyond `Limits.waiting_bytes` a
message is stored and forgotten: it is on the shelf, behind what its session has in memory, and so is all that follows
it. What a client leaves that it did not take is put there, too, where there is no room for it: else a fleet on a bad
network would bring all its shelves into memory.

When the client comes back its connection is parked until the shelf was read; so a session that has a client never has a
shelf. What arrives while the shelf is read waits in `late`, behind it. Where a client is let in at once, by a takeover
for one, nothing goes to the shelf on the way: neither what the old connection left nor what the will of the session
brings the session itself.

A session that ends takes its shelf with it, also what came by shared subscriptions: only what is in memory is handed
on.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from swellmq.broker.access import READ_BACK
from swellmq.broker.core import Core
from swellmq.broker.session import Delivery, DeliveryQueue, Session, message_bytes
from swellmq.broker.storage import Fetched
from swellmq.codec.packets import Connect
from swellmq.connection import Connection
from swellmq.errors import OPEN

DELIVERY_BYTES: Final = 500  # of memory for a Delivery and its Publish beside the bytes of the message, measured


def shelve(core: Core, session: Session, queue: DeliveryQueue, delivery: Delivery) -> bool:
    """The client is away: whether the message went to the shelf. Else it is counted, to be kept in memory."""
    late = queue.late
    if late is None and not queue.shelved and core.waiting_bytes < core.limits.waiting_bytes:
        count_waiting(core, queue, message_bytes(delivery.publish) + DELIVERY_BYTES)
        return False
    storage = core.storage
    if not _may_shelve(core, session):
        return False
    if not delivery.qos:
        core.stats.dropped_offline += 1  # it is not stored, and would overtake what is
        return True
    core.touch()
    storage.delivery_saved(session, delivery)
    add_to_shelf(queue, delivery)
    if late is not None:
        late.append(delivery)
        count_waiting(core, queue, message_bytes(delivery.publish) + DELIVERY_BYTES)
    return True


def _may_shelve(core: Core, session: Session) -> bool:
    """Whether messages of this session may be on disk only: not where its client is at the door already."""
    return core.storage.fetches and core.kept(session) and core.entering is not session


def add_to_shelf(queue: DeliveryQueue, delivery: Delivery) -> None:
    """Count a message that is stored, and let go of it."""
    if not queue.shelved:
        queue.shelved_from = delivery.stored_id
    queue.shelved += 1
    queue.shelved_bytes += message_bytes(delivery.publish)


def count_waiting(core: Core, queue: DeliveryQueue, size: i64) -> None:
    """Note that the queue of a client that is away takes `size` bytes of memory more."""
    queue.counted += size
    core.waiting_bytes += size


def count_left(core: Core, session: Session) -> None:
    """A client has left: what waits in its queue counts from now on, or goes to the shelf."""
    queue = session.queue
    if queue is None:
        return
    more = _in_memory(queue) - queue.counted
    if core.waiting_bytes + more > core.limits.waiting_bytes and _may_shelve(core, session):
        _put_back(core, queue)
        more = -queue.counted
    count_waiting(core, queue, more)


def _in_memory(queue: DeliveryQueue) -> i64:
    """What a queue takes, about."""
    return queue.bytes + len(queue) * DELIVERY_BYTES


def _put_back(core: Core, queue: DeliveryQueue) -> None:
    """Let go of all that is in memory: it is stored, save QoS 0, which is dropped here as in `shelve`."""
    from_here: i64 = 0
    while (delivery := queue.pop()) is not None:
        if not delivery.qos:
            core.stats.dropped_offline += 1
            continue
        if not from_here:
            from_here = delivery.stored_id
        queue.shelved += 1
        queue.shelved_bytes += message_bytes(delivery.publish)
    if from_here:
        queue.shelved_from = from_here  # before what is on the shelf already


def count_no_longer(core: Core, session: Session) -> None:
    """The client is back, or the session has ended."""
    queue = session.queue
    if queue is not None:
        core.waiting_bytes -= queue.counted
        queue.counted = 0


def has_shelf(session: Session) -> bool:
    """Whether messages must be read back before the client may come in."""
    return session.queue is not None and session.queue.shelved > 0


def read_back(core: Core, connection: Connection, connect: Connect, session: Session) -> None:
    """Park a client until its shelf was read; several may wait for the same."""
    queue = session.queue
    assert queue is not None
    request = core.park(READ_BACK, connection, connect.client_id, connect.username)
    request.connect = connect
    core.shelf_waiters.setdefault(session.client_id, []).append(request.token)
    if queue.late is None:
        queue.late = []
        core.touch()  # the batch that is open may hold some of them: it is sealed first
        core.storage.fetch(session, queue.shelved_from)


def take_back(core: Core, fetched: Fetched) -> list[int]:
    """Put what was read back into its queue; the tokens of those that wait for it."""
    session = fetched.session
    tokens = core.shelf_waiters.pop(session.client_id, [])
    queue = session.queue
    if session.ended or queue is None or queue.late is None:
        return tokens
    late = queue.late
    queue.late = None
    if fetched.deliveries is None or not _awaited(core, tokens):
        count_left(core, session)  # the late ones are on the shelf as well
        return tokens
    queue.shelved = 0
    queue.shelved_bytes = 0
    for deliveries in (fetched.deliveries, late):
        for delivery in deliveries:
            queue.push(delivery)
    count_waiting(core, queue, _in_memory(queue) - queue.counted)
    return tokens


def _awaited(core: Core, tokens: list[int]) -> bool:
    """Whether one of those that asked for it is still there."""
    for token in tokens:
        request = core.waiting.get(token)
        if request is not None and request.connection.close_reason == OPEN:
            return True
    return False
