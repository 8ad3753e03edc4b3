"""A client of the simulator: it follows the rules of its MQTT version, but answers late, is cut off, reads slowly.

`Peer` holds what a client keeps across connections (its half of the session) and the connection it has now. It only
makes and takes packets; when and how much is for `simulation.py` to decide.
"""

from __future__ import annotations

from collections.abc import Callable

from harness import MemoryBroker, MemoryClient
from sim.line import Line
from sim.model import Connection as Model
from sim.model import Violation

from swellmq.codec.decode import decode
from swellmq.codec.packets import Ack, Connack, Packet, Publish
from swellmq.codec.spec import PUBACK, PUBCOMP, PUBREC, PUBREL
from swellmq.connection import Connection


class TappedClient(MemoryClient):
    """Notes all that the broker sends to it, whether or not its socket takes it."""

    def __init__(self, broker: MemoryBroker, connection: Connection, version: int) -> None:
        super().__init__(broker, connection, version)
        self.sent = b""  # since the last look
        self.turn_bytes = 0  # sent since the last reckoning
        self.peak_bytes = 0  # the most that may have been in its outbox since then
        self.line: Line | None = None  # what is on its way to the broker

    def _read(self, data: bytes, now_ms: int) -> None:
        assert self.line is not None
        self.line.read(len(data), now_ms)
        super()._read(data, now_ms)

    def _flush(self) -> None:
        data = b"".join(self.connection.outbox or ())
        self.sent += data
        super()._flush()

    def note_outbox(self) -> None:
        """Remember how much may be, or may have been, in its outbox."""
        self.peak_bytes = max(self.peak_bytes, int(self.connection.outbox_bytes) + self.turn_bytes)

    def take_sent(self) -> bytes:
        """What the broker has sent since the last look."""
        data, self.sent = self.sent, b""
        return data


class TappedBroker(MemoryBroker):
    """A broker in memory whose clients can be watched, and the moments at which it does what no packet asks for."""

    on_tick: Callable[[], None]
    on_closing: Callable[[list[Connection]], None]

    def _tick(self, now_ms: int) -> None:
        self.on_tick()
        super()._tick(now_ms)

    def _tell_closed(self) -> list[Connection]:
        self.on_closing(list(self.turn_state.close))
        return super()._tell_closed()

    def open(self, version: int = 4) -> TappedClient:
        made = super().open(version)
        client = TappedClient(self, made.connection, version)
        self.clients[made.connection.fd] = client
        return client


class Peer:
    """One client id, with the connection that it has now, or none."""

    def __init__(self, client_id: str, version: int, window: int, shared: str, favourite: str) -> None:
        self.client_id = client_id
        self.version = version
        self.window = window  # the server's Receive Maximum, which clients of all versions keep to
        self.shared = shared  # the shared subscription that it may join
        self.favourite = favourite  # the topic to which it publishes most
        self.wire: TappedClient | None = None
        self.model: Model | None = None
        self.connected = False  # CONNACK has arrived
        self.early = False  # packets were sent before it came
        self.forgot = False  # a new session was asked for, and what we had of the old one is gone; no CONNACK yet
        self.silent = False  # sends nothing any more
        self.next_ping_ms = -1
        self.identifier = 0
        self.session = 0  # the number of the one that the client takes part in
        self.unfinished: dict[int, Publish] = {}  # QoS 1 and 2 that we sent: until PUBACK or PUBREC
        self.releasing: dict[int, bool] = {}  # QoS 2: until PUBCOMP
        self.arrived: dict[int, bytes] = {}  # payloads of QoS 2 that came to us: until PUBREL
        self.todo: list[Packet] = []  # acknowledgements that are due
        self.topic_alias_maximum = 0
        self.aliases: dict[str, int] = {}

    def attach(self, wire: TappedClient, model: Model, version: int) -> None:
        """A CONNECT was sent."""
        self.wire, self.model, self.version = wire, model, version
        self.connected = self.silent = self.early = False
        self.todo = []
        self.topic_alias_maximum = 0
        self.aliases = {}

    def lose(self) -> None:
        """The connection is gone."""
        self.wire = None
        self.model = None
        self.connected = False
        self.todo = []

    def next_identifier(self) -> int:
        """A packet identifier that is not in use."""
        while True:
            self.identifier = self.identifier % 65_535 + 1
            if self.identifier not in self.unfinished and self.identifier not in self.releasing:
                return self.identifier

    def may_publish(self) -> bool:
        """Whether the server's Receive Maximum has room."""
        return len(self.unfinished) + len(self.releasing) < self.window

    def receive(self, count: int = -1) -> int:
        """Take `count` bytes, or all, of those that have arrived, and note what they ask for; how many were taken."""
        wire = self.wire
        assert wire is not None
        data = wire.taken if count < 0 else wire.taken[:count]
        pos = 0
        while pos < len(data):
            packet, end = decode(data, pos, self.version, True)
            if packet is None:
                break
            self._take(packet)
            pos = end
        wire.taken = wire.taken[pos:]
        return pos

    def _take(self, packet: Packet) -> None:
        if isinstance(packet, Connack):
            self._connack(packet)
        elif isinstance(packet, Publish) and packet.qos:
            if packet.qos == 2:
                earlier = self.arrived.setdefault(int(packet.packet_identifier), packet.payload)
                if earlier != packet.payload:
                    raise Violation(f"{self.client_id}: {packet.payload[:24]!r} would be taken for {earlier[:24]!r}")
            self.todo.append(Ack(PUBACK if packet.qos == 1 else PUBREC, packet.packet_identifier))
        elif isinstance(packet, Ack):
            self._answer(packet)

    def _connack(self, packet: Connack) -> None:
        assert self.model is not None
        if packet.reason_code:
            return
        self.connected = True
        self.forgot = False
        if packet.properties is not None:
            self.topic_alias_maximum = max(0, packet.properties.topic_alias_maximum)
        # Our clients know by other means that this is another session than the one of the last CONNACK that they got:
        # MQTT 3.1 does not tell, and the others not where the CONNACK that told it was lost.
        number = self.model.session.number
        if number != self.session and not self.early:
            self.forget()
        self.session = number

    def forget(self) -> None:
        """The server has lost the session, so the client discards its half."""
        self.unfinished = {}
        self.releasing = {}
        self.arrived = {}

    def repeat(self) -> list[Packet]:
        """What a client sends again when its session is resumed."""
        if self.early:
            return []
        again: list[Packet] = []
        for publish in self.unfinished.values():
            publish.dup = True
            if publish.payload:
                publish.payload += b"'"  # so that it can be told from the first time, if both are routed
            again.append(publish)
        again.extend(Ack(PUBREL, identifier) for identifier in self.releasing)
        return again

    def _answer(self, packet: Ack) -> None:
        identifier = packet.packet_identifier
        if packet.packet_type == PUBACK:
            self.unfinished.pop(identifier, None)
        elif packet.packet_type == PUBREC:
            self.unfinished.pop(identifier, None)
            if packet.reason_code < 0x80:
                self.releasing[identifier] = True
                self.todo.append(Ack(PUBREL, identifier))
        elif packet.packet_type == PUBREL:
            self.arrived.pop(identifier, None)
            self.todo.append(Ack(PUBCOMP, identifier))
        else:
            self.releasing.pop(identifier, None)
