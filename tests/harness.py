"""A broker in memory: no sockets, no clock, no sleep. Tests hold a conversation with it.

    broker = MemoryBroker()
    alice = broker.connect("alice", version=5)
    alice.subscribe("a/#", qos=1)
    broker.connect("bob").publish("a/b", b"hello", qos=1)
    assert alice.payloads() == [b"hello"]

Each step of a client is one turn of the loop with its phases, after which further turns run until nothing is left to do
at once. Connections come out of a real Pool; time stands still until `advance` moves it.
"""

from __future__ import annotations

from collections.abc import Iterable

from swellmq.broker.access import Access
from swellmq.broker.broker import MqttBroker
from swellmq.broker.session import Session
from swellmq.broker.storage import Storage
from swellmq.broker.uplink import Uplink
from swellmq.codec.decode import decode
from swellmq.codec.encode import encode
from swellmq.codec.packets import (
    Ack,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Ping,
    Properties,
    Publish,
    Suback,
    Subscribe,
    TopicRequest,
    Unsubscribe,
    Will,
)
from swellmq.codec.properties import encode_properties_body
from swellmq.codec.spec import PINGREQ, SUBACK, UNSUBACK
from swellmq.connection import Buffers, Connection, Turn
from swellmq.errors import CLOSE_REASONS, OPEN, PEER_CLOSED
from swellmq.limits import Limits
from swellmq.net.pool import Pool, PoolSettings
from swellmq.stats import Stats

START_MS = 1_000
WALL_START_MS = 1_700_000_000_000
TURNS_MAX = 10_000  # of one step: more would be a loop that never rests


def properties(**values: object) -> Properties:
    """Properties with the fields that are named."""
    made = Properties()
    for name, value in values.items():
        setattr(made, name, value)
    return made


def topic(name: str | bytes) -> bytes:
    return name.encode() if isinstance(name, str) else name


class MemoryBroker:
    """A broker with everything around it that is not a socket."""

    def __init__(
        self,
        limits: Limits | None = None,
        storage: Storage | None = None,
        uplink: Uplink | None = None,
        access: Access | None = None,
        pool: PoolSettings | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self.stats = Stats()
        self.turn_state = Turn()
        self.turn_state.now_ms = START_MS
        self.turn_state.wall_ms = WALL_START_MS
        if pool is None:
            pool = PoolSettings()
            pool.initial_size = 4
        self.pool = Pool(pool, self.turn_state)
        self.pool.preheat()
        self.engine = MqttBroker(
            self.limits, self.turn_state, self.stats, storage or Storage(), uplink or Uplink(), access or Access()
        )
        self.core = self.engine.core
        self.clients: dict[int, MemoryClient] = {}  # by descriptor
        self.fed: list[tuple[MemoryClient, bytes]] = []
        self.drained: list[MemoryClient] = []
        self.next_fd = 10

    # Clients

    def open(self, version: int = 4) -> MemoryClient:
        """A connection that has said nothing yet; `version` is the one in which its client will speak."""
        connection = self.pool.acquire(self.turn_state.now_ms)
        handler: MqttBroker | object = self.engine
        if connection is None:
            connection = self.pool.acquire_refusing()
            assert connection is not None
            handler = self.engine.refuser
        self.next_fd += 1
        connection.fd = self.next_fd
        connection.handler = handler  # type: ignore[assignment]  # one of the two
        connection.interest = 1
        client = MemoryClient(self, connection, version)
        self.clients[self.next_fd] = client
        handler.on_open(connection, self.turn_state.now_ms)  # type: ignore[attr-defined]  # as above
        return client

    def connect(self, client_id: str = "", version: int = 4, **options: object) -> MemoryClient:
        """A client that has sent its CONNECT (see `MemoryClient.connect`); its answer is in `connack`."""
        client = self.open(version)
        client.connect(client_id, **options)  # type: ignore[arg-type]
        return client

    def session(self, client_id: str) -> Session:
        session = self.core.session(client_id)
        assert session is not None
        return session

    def inject(self, topic_name: str, payload: bytes = b"", qos: int = 0, retain: bool = False) -> int:
        """A message that came from no connection."""
        matched = self.engine.inject(Publish(topic(topic_name), payload, qos, retain))
        self.turn()
        return matched

    # Turns

    def advance(self, seconds: float) -> None:
        """Let time pass, with a turn at every deadline on the way."""
        until = self.turn_state.now_ms + round(seconds * 1000)
        while 0 <= (due := self.engine.deadline_ms()) <= until:
            self._move_clocks(max(due, self.turn_state.now_ms))
            self.turn()
        self._move_clocks(until)
        self.turn()

    def _move_clocks(self, now_ms: int) -> None:
        self.turn_state.wall_ms += now_ms - self.turn_state.now_ms
        self.turn_state.now_ms = now_ms

    def turn(self) -> None:
        """Turns until nothing is left to do at once."""
        for _ in range(TURNS_MAX):
            self._one_turn()
            turn = self.turn_state
            readable = any(client.connection.question is None for client, _ in self.fed)
            if not (turn.again or turn.flush or turn.close or readable):
                return
        raise AssertionError("the broker never rests")

    def _one_turn(self) -> None:
        turn = self.turn_state
        turn.again = False
        now_ms = turn.now_ms
        self.engine.begin()
        drained, self.drained = self.drained, []
        for client in drained:
            client._drain()
        fed, self.fed = self.fed, []
        waiting: list[tuple[MemoryClient, bytes]] = []
        for client, data in fed:
            if client.closed or client.connection.close_reason != OPEN:
                continue
            if client.connection.question is not None:
                waiting.append((client, data))  # parked: it is not read
            else:
                client._read(data, now_ms)
        self._tick(now_ms)
        self.engine.settle(now_ms)
        closing = self._tell_closed()
        self.engine.seal()
        held, turn.held = turn.held, []
        turn.held.extend([connection for connection in held if connection.release_held()])
        flush, turn.flush = turn.flush + turn.late, []
        turn.late = []
        for connection in flush:
            self.clients[connection.fd]._flush()
        for connection in closing:
            self._reap(connection)
        turn.watch = []
        self._promote()
        self.pool.grow(now_ms)
        self.fed[:0] = [(client, data) for client, data in waiting if not client.closed]

    def _tick(self, now_ms: int) -> None:
        self.engine.tick(now_ms)

    def _tell_closed(self) -> list[Connection]:
        turn = self.turn_state
        closing: list[Connection] = []
        while turn.close:
            marked, turn.close = turn.close, []
            for connection in marked:
                handler = connection.handler
                assert handler is not None
                self.stats.connections_closed[connection.close_reason].count += 1
                handler.on_closed(connection, turn.now_ms)
            closing.extend(marked)
        return closing

    def _reap(self, connection: Connection) -> None:
        client = self.clients.pop(connection.fd)
        client.close_reason = CLOSE_REASONS[connection.close_reason]
        client.closed = True
        if connection.handler is self.engine.refuser:
            self.pool.release_refusing(connection)
        else:
            self.pool.release(connection)

    def _promote(self) -> None:
        turn = self.turn_state
        promote, turn.promote = turn.promote, []
        turn.heirs = []
        for slot in promote:
            if slot.fd < 0 or slot.close_reason != OPEN:
                continue
            connection = self.pool.acquire(turn.now_ms)
            if connection is None:  # its place went to another slot with the same client id
                self.engine.refuser.on_data(slot, b"", turn.now_ms)
                continue
            client = self.clients[slot.fd]
            connection.fd, data = slot.fd, slot.inbox
            connection.buffers = slot.buffers
            connection.outbox_bytes = slot.outbox_bytes
            connection.handler = self.engine
            connection.interest = 1
            client.connection = connection
            client.refused = False
            self.pool.release_refusing(slot)
            self.engine.on_open(connection, turn.now_ms)
            self.engine.on_data(connection, data, turn.now_ms)

    # Answers of stand-ins

    def resume(self, token: int, result: int = 0) -> bool:
        """Answer a question late, between two turns."""
        answered = self.engine.resume(token, result)
        self.turn()
        return answered

    # Checks

    def check(self) -> None:
        """What is true at any time: no bug was met, and pool, clients and sessions agree."""
        assert self.stats.errors_internal == 0
        assert self.pool.self_check([c.connection for c in self.clients.values() if not c.refused]) == []
        connected = [session for session in self.core.sessions.values() if session.connection is not None]
        assert self.core.clients == len(connected)
        assert not self.core.lines.told and not self.core.lines.faults  # nothing is kept of those that are closed
        for session in connected:
            assert session.connection is not None and session.connection.owner is session
            inflight = session.inflight or {}
            assert session.window + session.unsent == len(inflight)
            assert session.window >= 0 and session.unsent >= 0


class MemoryClient:
    """An MQTT client, as its broker sees it through a connection."""

    def __init__(self, broker: MemoryBroker, connection: Connection, version: int) -> None:
        self.broker = broker
        self.connection = connection
        self.refused = connection.handler is broker.engine.refuser
        self.version = version
        self.connack: Connack | None = None
        self.closed = False
        self.close_reason = CLOSE_REASONS[OPEN]
        self.reads = True  # False: its socket takes nothing
        self.taken = b""  # bytes that have arrived and were not yet received
        self.packet_identifier = 0

    # The client speaks

    def feed(self, *packets: Packet | bytes) -> MemoryClient:
        """Send, but let no turn run yet."""
        data = b"".join(item if isinstance(item, bytes) else encode(item, self.version) for item in packets)
        self.broker.fed.append((self, data))
        return self

    def send(self, *packets: Packet | bytes) -> None:
        """Send all in one read, and run a turn."""
        self.feed(*packets)
        self.broker.turn()

    def send_split(self, data: bytes, sizes: Iterable[int] = ()) -> None:
        """Send in reads of these sizes, then byte by byte, each in a turn of its own."""
        pos = 0
        for size in sizes:
            self.send(data[pos : pos + size])
            pos += size
        for index in range(pos, len(data)):
            self.send(data[index : index + 1])

    def connect(
        self,
        client_id: str = "",
        clean_start: bool = True,
        keep_alive: int = 0,
        will: Will | None = None,
        username: str | None = None,
        password: bytes | None = None,
        bridge: bool = False,
        **props: object,
    ) -> None:
        """Send CONNECT; keyword arguments that are no field of it are MQTT 5.0 properties.

        A client of 5.0 asks for reason strings unless it is told otherwise.
        """
        packet = Connect()
        packet.protocol_version = self.version
        packet.client_id = client_id
        packet.clean_start = clean_start
        packet.keep_alive = keep_alive
        packet.will = will
        packet.username = username
        packet.password = password
        packet.bridge = bridge
        if self.version == 5:
            props.setdefault("request_problem_information", 1)
        packet.properties = properties(**props) if props else None
        self.send(packet)
        if self.taken and self.taken[0] >> 4 == 2:
            answer, end = decode(self.taken, 0, self.version, True)
            assert isinstance(answer, Connack)
            self.connack = answer
            self.taken = self.taken[end:]

    def next_identifier(self) -> int:
        self.packet_identifier += 1
        return self.packet_identifier

    def publish(
        self,
        topic_name: str | bytes,
        payload: bytes = b"",
        qos: int = 0,
        retain: bool = False,
        identifier: int = 0,
        dup: bool = False,
        expiry: int = -1,
        alias: int = 0,
        **props: object,
    ) -> int:
        """Send PUBLISH; its packet identifier."""
        packet = Publish(topic(topic_name), payload, qos, retain)
        packet.dup = dup
        packet.message_expiry_interval = expiry
        packet.topic_alias = alias
        if qos:
            packet.packet_identifier = identifier or self.next_identifier()
        if props:
            packet.properties = encode_properties_body(properties(**props))
        self.send(packet)
        return packet.packet_identifier

    def subscribe(
        self,
        *topic_filters: str,
        qos: int = 0,
        no_local: bool = False,
        retain_as_published: bool = False,
        retain_handling: int = 0,
        identifier: int | None = None,
    ) -> list[int] | None:
        """Send SUBSCRIBE; the reason codes of its SUBACK, which is taken out of what arrived, or None."""
        requests = [
            TopicRequest(topic(name), qos, no_local, retain_as_published, retain_handling) for name in topic_filters
        ]
        packet_identifier = self.next_identifier()
        props = None if identifier is None else properties(subscription_identifiers=[identifier])
        self.send(Subscribe(packet_identifier, requests, props))
        return self._suback(SUBACK, packet_identifier)

    def unsubscribe(self, *topic_filters: str) -> list[int] | None:
        """Send UNSUBSCRIBE; the reason codes of its UNSUBACK, or None."""
        packet_identifier = self.next_identifier()
        self.send(Unsubscribe(packet_identifier, [topic(name) for name in topic_filters]))
        return self._suback(UNSUBACK, packet_identifier)

    def _suback(self, packet_type: int, packet_identifier: int) -> list[int] | None:
        pos = 0
        while pos < len(self.taken):
            packet, end = decode(self.taken, pos, self.version, True)
            if (
                isinstance(packet, Suback)
                and packet.packet_type == packet_type
                and packet.packet_identifier == packet_identifier
            ):
                self.taken = self.taken[:pos] + self.taken[end:]
                return list(packet.reason_codes)
            pos = end
        return None

    def ack(self, packet_type: int, identifier: int, reason_code: int = 0) -> None:
        """Send PUBACK, PUBREC, PUBREL or PUBCOMP."""
        self.send(Ack(packet_type, identifier, reason_code))

    def ping(self) -> None:
        self.send(Ping(PINGREQ))

    def disconnect(self, reason_code: int = 0, **props: object) -> None:
        """Say goodbye."""
        self.send(Disconnect(reason_code, properties(**props) if props else None))

    def drop(self) -> None:
        """The network is gone, without goodbye."""
        self.connection.close(PEER_CLOSED)
        self.broker.turn()

    # The client listens

    def receive_bytes(self) -> bytes:
        """All that has arrived since the last look."""
        data, self.taken = self.taken, b""
        return data

    def receive(self) -> list[Packet]:
        """All packets that have arrived since the last look."""
        data = self.receive_bytes()
        packets: list[Packet] = []
        pos = 0
        while pos < len(data):
            packet, pos = decode(data, pos, self.version, True)
            assert packet is not None, "half a packet"
            packets.append(packet)
        return packets

    def publishes(self) -> list[Publish]:
        """All that has arrived, which must be PUBLISH packets."""
        packets = self.receive()
        found = [packet for packet in packets if isinstance(packet, Publish)]
        assert len(found) == len(packets), packets
        return found

    def payloads(self) -> list[bytes]:
        return [publish.payload for publish in self.publishes()]

    def expect(self, *packets: Packet | bytes) -> None:
        """Exactly these packets have arrived, byte by byte."""
        expected = b"".join(item if isinstance(item, bytes) else encode(item, self.version) for item in packets)
        assert self.receive_bytes() == expected

    def stall(self) -> None:
        """From now on its socket takes nothing."""
        self.reads = False

    def read(self) -> None:
        """It reads again: the broker's backlog leaves."""
        self.reads = True
        self.broker.drained.append(self)
        self.broker.turn()

    # The transport

    def _read(self, data: bytes, now_ms: int) -> None:
        """What the loop does with bytes that have arrived."""
        handler = self.connection.handler
        assert handler is not None
        buffers = self.connection.buffers
        if buffers is not None and buffers.layer is not None:
            data = buffers.layer.received(data)
        handler.on_data(self.connection, data, now_ms)

    def _flush(self) -> None:
        """What the loop does with an outbox: all leaves, or it becomes the backlog."""
        connection = self.connection
        outbox = connection.outbox
        connection.outbox = None
        assert outbox is not None
        if connection.buffers is not None and connection.buffers.layer is not None:
            outbox = connection.buffers.layer.framed(outbox)
        if self.reads:
            self.taken += b"".join(outbox)
            connection.outbox_bytes -= sum(len(piece) for piece in outbox)
            return
        if connection.buffers is None:
            connection.buffers = Buffers()
        buffers = connection.buffers
        if buffers.backlog is None:
            buffers.backlog = outbox
            buffers.stalled_since_ms = self.broker.turn_state.now_ms
            if connection.close_reason == OPEN:
                self.broker.engine.on_stalled(connection, self.broker.turn_state.now_ms)
        else:
            buffers.backlog.extend(outbox)

    def _drain(self) -> None:
        buffers = self.connection.buffers
        if self.closed or buffers is None or buffers.backlog is None:
            return  # the connection of a client that is closed may be another's by now
        self.taken += b"".join(buffers.backlog)
        self.connection.outbox_bytes -= sum(len(piece) for piece in buffers.backlog)
        buffers.backlog = None
        if buffers.empty():
            self.connection.buffers = None
        self.broker.engine.on_drained(self.connection, self.broker.turn_state.now_ms)
