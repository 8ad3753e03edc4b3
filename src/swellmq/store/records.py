"""The records of the journal: what the broker reports as it happens, packed, and unpacked again.

A record is a kind, a head of fixed width (little-endian) and the bytes that the head announces. Sessions, messages and
deliveries go by numbers of the store's own, which only grow and are never used twice.
"""

from __future__ import annotations

import struct
from typing import Final, final

from mypy_extensions import i64, mypyc_attr

from swellmq.broker.retained import Source
from swellmq.broker.session import Delivery, Session, Subscription
from swellmq.codec.packets import Publish, Will

SESSION: Final = 1
SESSION_ENDED: Final = 2
SUBSCRIPTION: Final = 3
SUBSCRIPTION_ENDED: Final = 4
MESSAGE: Final = 5
DELIVERY: Final = 6
PROGRESS: Final = 7  # a delivery was sent or released
DELIVERY_ENDED: Final = 8
RECEIVED: Final = 9
RECEIVED_ENDED: Final = 10
RETAINED: Final = 11
RETAINED_ENDED: Final = 12
RETAINED_BY: Final = 13  # a retained message, and who published it: since version 2

# A message: kind, number, expires_at_ms, message expiry interval, QoS, RETAIN, lengths of publisher's client id, topic
# name, properties and payload.
_MESSAGE: Final = struct.Struct("<BqqqBBHHII")
# A session: kind, number, expiry interval, when its client left, whether it has a will, will delay interval, lengths of
# client id and username (-1: none); then a message where it has a will.
_SESSION: Final = struct.Struct("<BqqqBqHi")
_SUBSCRIPTION: Final = struct.Struct("<BqBHH")  # kind, session, options, lengths of filter and identifiers (in fours)
_DELIVERY: Final = struct.Struct("<BqqqHBHH")  # kind, session, number, message, identifier, options, lengths as above
_PROGRESS: Final = struct.Struct("<BqHB")  # kind, delivery, packet identifier, state
_NUMBER: Final = struct.Struct("<Bq")  # kind, session or delivery
_RECEIVED: Final = struct.Struct("<BqH")  # kind, session, packet identifier
_TOPIC: Final = struct.Struct("<BH")  # kind, length of the topic name
_SOURCE: Final = struct.Struct("<iH")  # behind a RETAINED_BY: lengths of username (-1: none) and listener's name

pack_delivery: Final = _DELIVERY.pack
pack_progress: Final = _PROGRESS.pack
pack_number: Final = _NUMBER.pack
pack_received: Final = _RECEIVED.pack
pack_message: Final = _MESSAGE.pack

NO_LOCAL: Final = 4  # beside the QoS in the options of a subscription
RETAIN_AS_PUBLISHED: Final = 8
STATE_SHIFT: Final = 2  # above the QoS in the options of a delivery
RETAIN: Final = 16
RUN_HEAD: Final = struct.Struct("<I")  # what the process that folds is told: so many bytes of words, with b"\0" between
PATIENT: Final = "--patient"  # it has time
READ: Final = "--read="  # session:first:end of the numbers that are to be read back
DONE: Final = b"+"  # what it answers where all went well; else what is wrong,
ANSWER_BYTES: Final = 4_096  # in one piece
READ_BACK: Final = "read-back"  # the file in which a fold leaves what was asked for:
READ_HEAD: Final = struct.Struct("<qq")  # session and length, then so many bytes of records


def add_message(pieces: list[bytes], kind: int, number: i64, publish: Publish) -> None:
    """Append a message under `number`; as a RETAINED one it goes by its topic name."""
    client_id = publish.client_id.encode() if kind == RETAINED or kind == RETAINED_BY else b""
    topic_name = publish.topic_name
    properties = publish.properties
    payload = publish.payload
    pieces.append(
        pack_message(
            kind,
            number,
            publish.expires_at_ms,
            publish.message_expiry_interval,
            publish.qos,
            publish.retain,
            len(client_id),
            len(topic_name),
            len(properties),
            len(payload),
        )
    )
    if client_id:
        pieces.append(client_id)
    pieces.append(topic_name)
    if properties:
        pieces.append(properties)
    pieces.append(payload)


def add_session(pieces: list[bytes], number: i64, session: Session, left_wall_ms: i64) -> None:
    """Append a session with its will; `left_wall_ms` is when its client left, 0 while it is here."""
    client_id = session.client_id.encode()
    username = session.username.encode() if session.username is not None else b""
    will = session.will
    pieces.append(
        _SESSION.pack(
            SESSION,
            number,
            session.expiry_interval,
            left_wall_ms,
            will is not None,
            will.will_delay_interval if will is not None else 0,
            len(client_id),
            len(username) if session.username is not None else -1,
        )
    )
    pieces.append(client_id)
    pieces.append(username)
    if will is not None:
        add_message(pieces, MESSAGE, 0, will.publish)


def add_subscription(pieces: list[bytes], number: i64, subscription: Subscription) -> None:
    """Append a subscription of the session `number`."""
    options = int(subscription.qos)
    if subscription.no_local:
        options += NO_LOCAL
    if subscription.retain_as_published:
        options += RETAIN_AS_PUBLISHED
    identifiers = pack_identifiers(subscription.identifiers)
    topic_filter = subscription.topic_filter
    pieces.append(_SUBSCRIPTION.pack(SUBSCRIPTION, number, options, len(topic_filter), len(identifiers) // 4))
    pieces.append(topic_filter)
    pieces.append(identifiers)


def add_subscription_ended(pieces: list[bytes], number: i64, topic_filter: bytes) -> None:
    """Append that the session `number` has this subscription no longer."""
    pieces.append(_SUBSCRIPTION.pack(SUBSCRIPTION_ENDED, number, 0, len(topic_filter), 0))
    pieces.append(topic_filter)


def add_retained(pieces: list[bytes], publish: Publish, source: Source | None) -> None:
    """Append a retained message, published by `source` where that is to be kept. Both have the same client id."""
    if source is None:
        add_message(pieces, RETAINED, 0, publish)
        return
    add_message(pieces, RETAINED_BY, 0, publish)
    username = source.username.encode() if source.username is not None else b""
    listener = source.listener.encode()
    pieces.append(_SOURCE.pack(len(username) if source.username is not None else -1, len(listener)))
    pieces.append(username)
    pieces.append(listener)


def add_retained_ended(pieces: list[bytes], topic_name: bytes) -> None:
    """Append that a topic has no retained message any longer."""
    pieces.append(_TOPIC.pack(RETAINED_ENDED, len(topic_name)))
    pieces.append(topic_name)


def pack_identifiers(identifiers: list[int] | None) -> bytes:
    """Subscription Identifiers, four bytes each."""
    if identifiers is None:
        return b""
    return b"".join([identifier.to_bytes(4, "little") for identifier in identifiers])


def unpack_identifiers(data: bytes) -> list[int] | None:
    """The Subscription Identifiers again; None where there are none."""
    if not data:
        return None
    return [int.from_bytes(data[pos : pos + 4], "little") for pos in range(0, len(data), 4)]


def deliveries_of(data: bytes) -> list[Delivery]:
    """Queued messages from records that hold nothing else, in their order."""
    changes = Changes()
    changes.apply(data)
    found: list[Delivery] = []
    for number, row in changes.deliveries.items():
        options = row.options
        identifiers = unpack_identifiers(row.identifiers)
        publish = changes.messages[row.message]
        delivery = Delivery(publish, options & 3, options & RETAIN != 0, identifiers, row.share or None)
        delivery.stored_id = number
        found.append(delivery)
    return found


@final
@mypyc_attr(native_class=True, acyclic=True)
class SessionRow:
    """A session as it is stored."""

    def __init__(self) -> None:
        self.client_id: str = ""
        self.username: str | None = None
        self.expiry_interval: int = 0  # seconds
        self.left_ms: int = 0  # wall clock; 0: its client was connected
        self.will: Will | None = None


@final
@mypyc_attr(native_class=True, acyclic=True)
class DeliveryRow:
    """A delivery as it is stored."""

    def __init__(self, session: int, message: int) -> None:
        self.session = session
        self.message = message
        self.packet_identifier: int = 0
        self.options: int = 0  # QoS, state, RETAIN
        self.share: bytes = b""  # the filter of the shared subscription that it came by
        self.identifiers: bytes = b""


@final
@mypyc_attr(native_class=True, acyclic=True)
class RetainedRow:
    """A retained message as it is stored."""

    def __init__(self, publish: Publish, source: Source | None) -> None:
        self.publish = publish
        self.source = source


@final
@mypyc_attr(native_class=True)
class Changes:
    """What a stretch of the journal comes to in the end: the last word on everything that it names.

    What came and went within the stretch leaves no trace: on a busy day that is nearly all of it.
    """

    def __init__(self) -> None:
        self.sessions: dict[int, SessionRow] = {}
        self.sessions_ended: set[int] = set()
        self.subscriptions: dict[tuple[int, bytes], tuple[int, bytes] | None] = {}  # options and identifiers
        self.messages: dict[int, Publish] = {}
        self.deliveries: dict[int, DeliveryRow] = {}
        self.progress: dict[int, tuple[int, int]] = {}  # of deliveries of an earlier stretch: identifier and state
        self.deliveries_ended: set[int] = set()  # of an earlier stretch
        self.received: dict[tuple[int, int], bool] = {}
        self.retained: dict[bytes, RetainedRow | None] = {}
        self.number: int = 0  # the largest number given out
        self.records: int = 0

    def size(self) -> int:
        """How many rows of the tables they touch; a message counts with its deliveries."""
        queued = len(self.deliveries) + len(self.progress) + len(self.deliveries_ended) + len(self.received)
        kept = len(self.sessions) + len(self.sessions_ended) + len(self.subscriptions) + len(self.retained)
        return queued + kept

    def apply(self, data: bytes) -> None:
        """Take the records of one frame. Raises struct.error or IndexError where they are none."""
        pos: i64 = 0
        end: i64 = len(data)
        while pos < end:
            self.records += 1
            kind = data[pos]
            if kind == MESSAGE:
                number, publish, pos = _read_message(data, pos)
                self.messages[number] = publish
                self._saw(number)
            elif kind == DELIVERY:
                pos = self._delivery(data, pos)
            elif kind == PROGRESS:
                pos = self._progress(data, pos)
            elif kind == DELIVERY_ENDED:
                number = _NUMBER.unpack_from(data, pos)[1]
                pos += 9
                self.progress.pop(number, None)
                if self.deliveries.pop(number, None) is None:
                    self.deliveries_ended.add(number)
            elif kind == RECEIVED or kind == RECEIVED_ENDED:
                _kind, number, identifier = _RECEIVED.unpack_from(data, pos)
                pos += 11
                self.received[number, identifier] = kind == RECEIVED
            elif kind == SESSION:
                pos = self._session(data, pos)
            elif kind == SESSION_ENDED:
                number = _NUMBER.unpack_from(data, pos)[1]
                pos += 9
                self.sessions.pop(number, None)
                self.sessions_ended.add(number)
            elif kind == RETAINED or kind == RETAINED_BY:
                pos = self._retained(data, pos, kind == RETAINED_BY)
            elif kind == RETAINED_ENDED:
                length = _TOPIC.unpack_from(data, pos)[1]
                pos += 3
                self.retained[data[pos : pos + length]] = None
                pos += length
            elif kind == SUBSCRIPTION or kind == SUBSCRIPTION_ENDED:
                pos = self._subscription(data, pos)
            else:
                raise IndexError(f"a record of an unknown kind, {kind}")
        if pos != end:
            raise IndexError("a record that is cut off")

    def _saw(self, number: int) -> None:
        if number > self.number:
            self.number = number

    def _delivery(self, data: bytes, pos: i64) -> i64:
        _kind, session, number, message, identifier, options, share, count = _DELIVERY.unpack_from(data, pos)
        pos += 32
        row = DeliveryRow(session, message)
        row.packet_identifier = identifier
        row.options = options
        if share:
            row.share = data[pos : pos + share]
            pos += share
        if count:
            row.identifiers = data[pos : pos + count * 4]
            pos += count * 4
        self.deliveries[number] = row
        self._saw(number)
        return pos

    def _progress(self, data: bytes, pos: i64) -> i64:
        _kind, number, identifier, state = _PROGRESS.unpack_from(data, pos)
        row = self.deliveries.get(number)
        if row is None:
            self.progress[number] = (identifier, state)
        else:
            row.packet_identifier = identifier
            row.options = row.options & ~(3 << STATE_SHIFT) | state << STATE_SHIFT
        return pos + 12

    def _session(self, data: bytes, pos: i64) -> i64:
        _kind, number, expiry, left_ms, has_will, delay, client_id, username = _SESSION.unpack_from(data, pos)
        pos += 40
        row = SessionRow()
        row.client_id = data[pos : pos + client_id].decode()
        pos += client_id
        if username >= 0:
            row.username = data[pos : pos + username].decode()
            pos += username
        row.expiry_interval = expiry
        row.left_ms = left_ms
        if has_will:
            _number, publish, pos = _read_message(data, pos)
            row.will = Will(publish, delay)
        self.sessions[number] = row
        self._saw(number)
        return pos

    def _retained(self, data: bytes, pos: i64, by: bool) -> i64:
        _number, publish, pos = _read_message(data, pos)
        row = RetainedRow(publish, None)
        if by:
            username, listener = _SOURCE.unpack_from(data, pos)
            pos += 6
            name: str | None = None
            if username >= 0:
                name = data[pos : pos + username].decode()
                pos += username
            row.source = Source(name, publish.client_id, data[pos : pos + listener].decode())
            pos += listener
        self.retained[publish.topic_name] = row
        return pos

    def _subscription(self, data: bytes, pos: i64) -> i64:
        kind, number, options, length, count = _SUBSCRIPTION.unpack_from(data, pos)
        pos += 14
        key = (number, data[pos : pos + length])
        pos += length
        self.subscriptions[key] = (options, data[pos : pos + count * 4]) if kind == SUBSCRIPTION else None
        pos += count * 4
        return pos


def _read_message(data: bytes, pos: i64) -> tuple[int, Publish, i64]:
    """A message, its number, and the position behind it."""
    fields = _MESSAGE.unpack_from(data, pos)
    _kind, number, expires_at_ms, interval, qos, retain, client_id, topic_name, properties, payload = fields
    pos += 39
    publisher = data[pos : pos + client_id]
    pos += client_id
    name = data[pos : pos + topic_name]
    pos += topic_name
    extra = data[pos : pos + properties]
    pos += properties
    publish = Publish(name, data[pos : pos + payload], qos, bool(retain))
    publish.properties = extra
    publish.expires_at_ms = expires_at_ms
    publish.message_expiry_interval = interval
    publish.client_id = publisher.decode()
    return number, publish, pos + payload
