"""The simulator's world: the broker, the oracle, the clients, and the time that passes for all of them.

Whatever happens goes through here: `_send` gives bytes to the broker and tells the oracle of the packets in them,
`turn` lets the broker work and has all that leaves it watched, `advance` moves the clock.
"""

from __future__ import annotations

import os
import tempfile
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from random import Random

from harness import START_MS, WALL_START_MS
from sim.kept import Kept
from sim.late import LateUplink, Open, Questions
from sim.line import ALLOWED, Answer, Item, Line
from sim.model import Connection, Violation
from sim.oracle import Oracle, moment
from sim.peer import Peer, TappedBroker, TappedClient
from sim.storage import SimulatedStorage
from sim.watch import Watch

from swellmq.broker.access import KIND_NAMES, READ_BACK, SUBSCRIBE, Request
from swellmq.broker.restore import restore
from swellmq.broker.shelf import has_shelf
from swellmq.broker.storage import Fetched
from swellmq.codec import packets as mqtt
from swellmq.codec.encode import encode
from swellmq.codec.spec import MQTT_3_1, MQTT_3_1_1, MQTT_5_0, PINGREQ, PUBREC, SERVER_BUSY, SERVER_UNAVAILABLE
from swellmq.connection import Connection as ClientConnection
from swellmq.errors import CLOSE_REASONS, OPEN
from swellmq.limits import Limits
from swellmq.net.pool import PoolSettings

LOG_STEPS = 60
COMMITS_MAX = 10  # of one turn
MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None  # where fdatasync costs nothing
SHELF_BYTES = (0, 1_500, 8_000)  # of memory for messages whose clients are away; 0: all are on disk only
TOPICS = [f"t/{a}/{b}" for a in "abc" for b in "01"] + ["t/a", "t", "t//0", "/t", "$x/a", "long/topic/name/for/aliases"]

# A client joins only one of these: of a member of two groups nobody can tell which of them a message came by.
SHARED_OVERLAPPING = ["$share/g/t/#", "$share/g/t/a/0", "$share/h/t/+/1"]


@dataclass
class Plan:
    """What a run is made of; 0 leaves it to the seed."""

    seed: int
    steps: int = 0
    clients: int = 0
    stored: bool = False  # there is a store for certain,
    shelves: bool = False  # and little memory for messages that wait,
    failing: bool = False  # and the disk fails now and then


class World:
    """One broker and its clients."""

    storage_class = SimulatedStorage  # a test of the simulator itself puts a bad one here

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.random = random = Random(plan.seed)
        self.steps = random.choice([300, 600, 1_200])
        clients = random.choice([3, 8, 25, 80, 250])
        self.small = random.random() < 0.3  # bounds that are reached
        self.durable = random.random() < 0.25 or plan.stored or plan.shelves or plan.failing
        self.has_access = random.random() < 0.3  # that answers late
        self.clustered = random.random() < 0.2
        self.limits = self._limits()
        if self.durable and (random.random() < 0.6 or plan.shelves):
            self.limits.waiting_bytes = random.choice(SHELF_BYTES)
        self.disk_fails = self.durable and (random.random() < 0.3 or plan.failing)
        self.steps = plan.steps or self.steps
        self.log: deque[str] = deque(maxlen=LOG_STEPS)
        self.digest = blake2b(digest_size=8)  # of all that the broker sent
        self.payloads = 0
        self.folder = tempfile.TemporaryDirectory(prefix="swellmq-sim-", dir=MEMORY)
        self.system_ahead_ms = 0  # the system's wall clock before the store's, which never goes back
        self.moments: dict[int, Kept] | None = None  # by ticket, where a kill is near,
        self.steps_left = 0  # in so many steps
        self.oracle = Oracle(self.limits, self.durable or self.clustered)
        self.broker = self._start(START_MS, WALL_START_MS)
        self.watch = Watch(self.oracle)
        self.wires: list[tuple[TappedClient, Connection]] = []  # the connections that are there
        self._set_clock()
        window = min(int(self.limits.receive_maximum), 100)
        self.monitor = Peer("monitor", MQTT_5_0, window, "", "")
        self.peers = [
            Peer(
                f"c{number}",
                random.choice((MQTT_3_1, MQTT_3_1_1, MQTT_5_0, MQTT_5_0)),
                window,
                random.choice(SHARED_OVERLAPPING),
                random.choice(TOPICS),
            )
            for number in range(plan.clients or clients)
        ]

    def _limits(self) -> Limits:
        limits = Limits()
        limits.queue_qos_0 = self.random.random() < 0.2
        limits.receive_maximum = self.random.choice([2, 20, 1_024])
        limits.topic_aliases_out = self.random.choice([0, 2, 16])
        limits.session_expiry_3_s = self.random.choice([600, 604_800])
        if self.small:
            limits.outbox_bytes = self.random.choice([200, 2_000])
            limits.inflight_max = self.random.choice([1, 3, 20])
            limits.queued_messages = self.random.choice([3, 30, 10_000])
        return limits

    def _start(self, now_ms: int, wall_ms: int) -> TappedBroker:
        pool = PoolSettings()
        pool.initial_size = 4
        self.storage: SimulatedStorage | None = None
        if self.durable:
            self.storage = self.storage_class(
                self.folder.name, self.random, self._system_wall_ms, self._on_seal, self._on_read_back
            )
        shelves = self.limits.waiting_bytes < Limits().waiting_bytes
        self.questions = questions = Questions(self.random, self.has_access, self.clustered, shelves)
        broker = TappedBroker(self.limits, self.storage, questions.uplink, questions.access, pool)
        broker.on_tick = self._on_tick
        broker.on_closing = self._on_closing
        questions.wires = broker.clients  # type: ignore[assignment]  # a TappedBroker has TappedClients
        if isinstance(questions.uplink, LateUplink):
            questions.uplink.waiting = broker.core.waiting
        turn = broker.turn_state
        turn.now_ms, turn.wall_ms = now_ms, wall_ms
        if self.storage is not None:
            turn.wall_ms = self.storage.open(wall_ms)
            self.system_ahead_ms = wall_ms - int(turn.wall_ms)
            restore(broker.core)
            self.oracle.ticket = int(turn.ticket_open)
        return broker

    def _system_wall_ms(self) -> int:
        return int(self.broker.turn_state.wall_ms) + self.system_ahead_ms

    def _on_seal(self, ticket: int) -> None:
        """A batch is complete: what the broker holds now is what it would come back with."""
        self.oracle.ticket = ticket + 1
        self.oracle.sealed_wall_ms = int(self.broker.turn_state.wall_ms)
        if self.moments is not None:
            self.moments[ticket] = Kept(self.oracle)

    def on_shelf(self, client_id: str) -> bool:
        """Whether messages of this client are on disk only, so that it has to wait."""
        session = self.broker.core.session(client_id)
        return session is not None and has_shelf(session)

    def _on_read_back(self, fetched: Fetched) -> None:
        """The broker takes what the store has read, or could not: who waits for it is let in now, or refused."""
        core = self.broker.core
        client_id = fetched.session.client_id
        deliveries = fetched.deliveries
        again = core.session(client_id) is not fetched.session and self.on_shelf(client_id)  # a new session, by now
        queue = fetched.session.queue
        self.oracle.count("late messages", len(queue.late or ()) if queue is not None else 0)
        waiting = 0
        for token in core.shelf_waiters.get(client_id, []):
            request = core.waiting.get(token)
            if request is not None and request.connection.close_reason == OPEN:
                client = self.broker.clients[request.connection.fd]
                assert isinstance(client, TappedClient) and client.line is not None
                waiting += 1
                if deliveries is None:
                    client.line.answer([SERVER_UNAVAILABLE], self.oracle.now_ms)
                elif not again:
                    client.line.answer(ALLOWED, self.oracle.now_ms)
        if deliveries is None:
            self.oracle.count("read-backs failed")
        else:
            self.oracle.count("messages read back", len(deliveries))
            self.oracle.count(f"read-backs for {min(waiting, 2)}")

    def _check_asked(self, wire: TappedClient, model: Connection) -> None:
        """What the broker has to ask about is asked about, and nothing is read back without need."""
        assert wire.line is not None
        asked = wire.line.asked
        if asked is not None and not wire.line.put:
            raise self.watch.fail(model, f"nobody was asked about {asked.data[:60]!r}")
        question = wire.connection.question
        reads = isinstance(question, Request) and question.kind == READ_BACK
        if reads != (asked is not None and asked.kind == READ_BACK):
            raise self.watch.fail(model, f"it waits for messages to be read back: {reads}")

    def _late(self) -> list[SimulatedStorage | LateUplink]:
        """What acknowledgements wait for."""
        parts = [self.storage, self.questions.uplink]
        return [part for part in parts if isinstance(part, SimulatedStorage | LateUplink)]

    def _all_stored(self) -> bool:
        uplink, storage = self.questions.uplink, self.storage
        taken = not isinstance(uplink, LateUplink) or uplink.stored >= uplink.sealed
        return taken and (storage is None or int(storage.stored) >= self.oracle.ticket - 1)

    def virtual_ms(self) -> int:
        """How long the run took, by its own clock."""
        return self.oracle.now_ms - START_MS

    # Time and turns

    def _set_clock(self) -> None:
        turn = self.broker.turn_state
        self.oracle.now_ms, self.oracle.wall_ms = int(turn.now_ms), int(turn.wall_ms)
        self.questions.now_ms = self.oracle.now_ms

    def note(self, text: str) -> None:
        self.log.append(f"{self.oracle.now_ms / 1000:.3f} s, turn {self.oracle.turn}: {text}")

    def turn(self, commit: bool | None = None) -> None:
        """Let the broker turn, and look at what it did."""
        oracle = self.oracle
        oracle.turn += 1
        for wire, _ in self.wires:
            wire.note_outbox()
        late = self._late()
        often = 0.3 if self.moments is None else 0.1
        commit = bool(late) and (self.random.random() < often if commit is None else commit)
        if self._all_stored():
            oracle.whole_wall_ms = oracle.wall_ms
        self.broker.turn()
        for _ in range(COMMITS_MAX if commit else 0):
            self._look_at_all()
            for part in late:
                part.commit()
            if self.storage is not None:
                oracle.stored = int(self.storage.stored)
                oracle.refusing = int(self.storage.refusal)
            self.broker.turn()
            if self._all_stored():  # who was let in because of the commit changes something itself
                break
            if self.storage is not None and self.storage.failing:
                commit = False  # answers wait
                break
        self._set_clock()
        for wire, model in self.wires:
            if model.open:
                self._check_asked(wire, model)
        closed = [(wire, model) for wire, model in self.wires if wire.closed]
        for wire, model in closed:
            self._look(wire, model)
            if model.acknowledged and model.parting >= 0 and not model.parted:
                raise self.watch.fail(model, f"closed without DISCONNECT {model.parting:#04x}")
        for wire, model in self.wires:
            if not model.open and not wire.closed:
                raise self.watch.fail(model, f"still open, though it is to be closed: {model.ends_as}")
        self._look_at_all()
        if closed:
            self.wires = [(wire, model) for wire, model in self.wires if not wire.closed]
        for wire, _ in self.wires:
            wire.note_outbox()
        if not late or commit:
            self.watch.end_of_turn([model for _, model in self.wires], self._peaks())
        if self.monitor.wire is not None:
            self._keep_up(self.monitor)

    def _resume(self, question: Open) -> None:
        """Answer a question late: that is without effect where its connection is gone."""
        line, request = question.line, question.request
        waits = line.model.open
        answer = self.questions.decide(question)
        self.note(f"{line.model.name}: answered {KIND_NAMES[request.kind]} with {answer}, still open: {waits}")
        reason_code = 0 if request.kind == SUBSCRIBE else answer[0]
        answered = self.broker.engine.resume(request.token, reason_code)
        closing = not waits and any(model is line.model for _, model in self.wires)  # in this very turn
        if answered != waits and not closing:
            raise self.watch.fail(line.model, f"the answer to {KIND_NAMES[request.kind]} counted: {not waits}")

    def _peaks(self) -> dict[Connection, int]:
        """How many bytes each outbox may have held since this was last asked."""
        peaks: dict[Connection, int] = {}
        for wire, model in self.wires:
            peaks[model] = wire.peak_bytes
            wire.turn_bytes = wire.peak_bytes = 0
        return peaks

    def _look_at_all(self) -> None:
        for wire, model in self.wires:
            if wire.sent:
                self._look(wire, model)

    def _look(self, wire: TappedClient, model: Connection) -> None:
        data = wire.take_sent()
        self.digest.update(data)
        wire.turn_bytes += len(data)
        if data and not wire.reads and model.stalled_ms < 0:
            model.stalled_ms = self.oracle.now_ms
        self.watch.look(model, data)

    def _on_tick(self) -> None:
        self.oracle.tick()

    def _on_closing(self, connections: list[ClientConnection]) -> None:
        """The broker is about to take leave of these, one by one: none of them gets what the end of another sends."""
        models: list[Connection] = []
        for connection in connections:
            wire = self.broker.clients[connection.fd]
            assert isinstance(wire, TappedClient) and wire.line is not None
            model = wire.line.model
            if model.open:
                self._closed_by_broker(wire.line, CLOSE_REASONS[connection.close_reason])
            models.append(model)
        for model in models:
            self.oracle.detach(model)

    def _closed_by_broker(self, line: Line, reason: str) -> None:
        """Only three things may make the broker close the connection of a client that keeps to the rules."""
        now_ms = self.oracle.now_ms
        model = line.model
        due = -1
        if line.asked is not None:
            if reason == "no answer in time":
                due = moment(line.asked_ms + int(self.limits.pending_timeout_ms))
            if model.admitted:
                model.parting = SERVER_BUSY if model.version == MQTT_5_0 else -1
            else:
                self.oracle.refuse(model, SERVER_UNAVAILABLE)
        elif reason == "keep alive timeout" and model.keep_alive_s:
            due = moment(model.last_ms + model.keep_alive_s * 1500)
            if model.version == MQTT_5_0:
                model.parting = 0x8D
        elif reason == "write stalled" and model.stalled_ms >= 0:
            due = max(moment(model.stalled_ms + int(self.limits.write_timeout_ms)), line.answered_ms)
        if due != now_ms:
            raise self.watch.fail(model, f"closed: {reason}, due at {due}")
        self.note(f"{model.name} closed: {reason}")
        self.oracle.leave(model, reason)

    def _keep_up(self, peer: Peer) -> None:
        """The monitor takes and acknowledges everything at once."""
        assert peer.wire is not None
        while peer.wire.taken:
            peer.receive()
            if peer.todo:
                self._send(peer, self._acks(peer, len(peer.todo)))
                self.oracle.turn += 1
                self.broker.turn()
                wire, model = peer.wire, peer.model
                assert model is not None
                self._look(wire, model)

    def advance(self, milliseconds: int) -> None:
        """Let time pass; clients that are not silent keep their connections alive."""
        self._commit()
        until = self.oracle.now_ms + milliseconds
        while True:
            due = self.broker.engine.deadline_ms()
            pings = [peer.next_ping_ms for peer in self.peers if peer.connected and peer.next_ping_ms >= 0]
            following = min([until, *pings, *([due] if due >= 0 else [])])
            self.broker._move_clocks(max(following, self.oracle.now_ms))
            self._set_clock()
            self.turn(True)
            for peer in self.peers:
                self._drop_dead(peer)
                if peer.connected and 0 <= peer.next_ping_ms <= self.oracle.now_ms + 1_000:
                    self._send(peer, [self._item(peer, mqtt.Ping(PINGREQ), self.oracle.ping)])
            self.turn(True)
            if self.oracle.now_ms >= until:
                self._check_alive()
                return

    def _commit(self) -> None:
        if self._late():
            self.turn(True)

    def _check_alive(self) -> None:
        """Nobody is served who has been silent, or has taken nothing, for too long; no session lives too long."""
        now_ms = self.oracle.now_ms
        for wire, model in self.wires:
            assert wire.line is not None
            if wire.line.asked is not None:
                if now_ms > moment(wire.line.asked_ms + int(self.limits.pending_timeout_ms)):
                    raise self.watch.fail(model, "waits for an answer for too long")
                continue
            if model.keep_alive_s and now_ms > moment(model.last_ms + model.keep_alive_s * 1500):
                raise self.watch.fail(model, "keep alive has passed")
            if model.stalled_ms >= 0 and now_ms > moment(model.stalled_ms + int(self.limits.write_timeout_ms)):
                raise self.watch.fail(model, "has taken nothing for too long")
        self._check_sessions()

    def _check_sessions(self) -> None:
        found = sorted(session.client_id for session in self.broker.core.sessions.values())
        if found != sorted(self.oracle.sessions):
            only = sorted(set(found) ^ set(self.oracle.sessions))
            raise Violation(f"sessions that only one of broker and oracle has: {only}")

    # What clients send

    def _item(self, peer: Peer, packet: mqtt.Packet, tell: Callable[..., None], *arguments: object) -> Item:
        """A packet that nobody is asked about, and what the oracle is told of it."""
        model = peer.model
        assert model is not None

        def told(_: Answer, __: int) -> None:
            tell(model, *arguments)

        return Item(encode(packet, peer.version), told)

    def _send(self, peer: Peer, items: list[Item], cut: float = 1.0) -> None:
        """Send packets, or a part of their bytes; the broker handles those that it has whole."""
        wire, model = peer.wire, peer.model
        assert wire is not None and wire.line is not None and model is not None
        data = b"".join(item.data for item in items)
        length = len(data) if cut >= 1 else int(len(data) * cut)
        if not length:
            return
        wire.line.send(items, length)
        wire.feed(data[:length])
        if model.keep_alive_s and not peer.silent:
            peer.next_ping_ms = self.oracle.now_ms + model.keep_alive_s * 800

    def _acks(self, peer: Peer, count: int) -> list[Item]:
        """The first `count` acknowledgements that are due."""
        items: list[Item] = []
        for packet in peer.todo[:count]:
            assert isinstance(packet, mqtt.Ack)
            refuses = packet.packet_type == PUBREC and peer.version == MQTT_5_0 and self.random.random() < 0.05
            reason_code = 0x80 if refuses else 0
            if refuses:
                peer.arrived.pop(int(packet.packet_identifier), None)
            sent = mqtt.Ack(packet.packet_type, packet.packet_identifier, reason_code)
            told = packet.packet_type, packet.packet_identifier, reason_code
            items.append(self._item(peer, sent, self.oracle.acknowledge, *told))
        del peer.todo[:count]
        return items

    def _drop_dead(self, peer: Peer) -> None:
        """A client notices that its connection was closed."""
        if peer.wire is not None and peer.wire.closed:
            peer.lose()
