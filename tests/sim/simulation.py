"""One run of the simulator: a broker in memory, many clients, and a seed from which all else follows.

    Simulation(Plan(seed=7)).run()      raises Violation (or whatever the broker raised) where something is wrong

Each step picks a client and lets it do something; then turns run, what the broker sent is watched, and time passes or
not. `log` keeps the last steps. A plan with fewer steps or clients makes a smaller run of the same kind.
"""

from __future__ import annotations

from errno import EIO, ENOSPC
from os import strerror
from random import Random

from harness import properties
from sim.kept import Kept
from sim.model import Violation
from sim.oracle import Oracle
from sim.peer import Peer
from sim.talk import Talk
from sim.watch import Watch

from swellmq.codec import packets as mqtt
from swellmq.codec.spec import MQTT_5_0

SETTLE_ROUNDS = 3_000
IDENTIFIERS_END = 65_533


class Simulation(Talk):
    """A run of so many steps, and the reckoning at its end."""

    def run(self) -> None:
        """The whole run, and then the reckoning."""
        with self.folder:
            self._open_monitor()
            for _ in range(self.steps):
                self._step()
            self._finish()
            if self.storage is not None:
                self.storage.close()

    # Steps

    def _step(self) -> None:
        """One client, chosen by the seed, does one thing; now and then time passes or the broker starts anew."""
        random = self.random
        if self.questions.open and random.random() < 0.3:
            self._answer_late()
        if self.disk_fails:
            self._let_fail()
        fate = random.random()
        if fate < 0.12:
            self._pass_time()
            return
        if fate < 0.1215:
            self._restart(random.random() < 0.5)
            return
        if fate < 0.13 and self.storage is not None and self.moments is None:
            self._begin_to_die()
        if self.moments is not None:
            self.steps_left -= 1
            if self.steps_left < 0:
                self._die()
                return
        peer = random.choice(self.peers)
        self._drop_dead(peer)
        if peer.wire is None:
            self._connect(peer)
        elif not peer.connected:
            self._await_connack(peer)
            if not peer.connected:
                self.turn(random.random() < 0.5)
                what = random.random()
                if what < 0.1:
                    self._drop(peer, 0.0)
                elif what < 0.2:
                    self._connect(peer)
        elif fate < 0.5:
            self._talk(peer)
        elif fate < 0.6:
            self._talk_at_once()
        elif fate < 0.75:
            peer.receive()
            self._answer(peer)
        elif fate < 0.82:
            self._cut(peer)
        elif fate < 0.85:
            self._connect(peer)
        elif fate < 0.9:
            self._disconnect(peer)
        elif fate < 0.94:
            self._stall(peer)
        elif fate < 0.96:
            self._settle(peer)
        elif fate < 0.97:
            self.note(f"{peer.client_id} falls silent")
            peer.silent = True
            peer.next_ping_ms = -1
        elif fate < 0.98:
            self._near_the_end(peer)
        else:
            self.turn()

    def _let_fail(self) -> None:
        """The disk fails from now on, or works again."""
        storage = self.storage
        assert storage is not None
        if storage.failing and self.random.random() < 0.1:
            self._heal()
        elif not storage.failing and self.random.random() < (0.03 if self.moments is None else 0.2):
            storage.failing = self.random.choice((ENOSPC, EIO))
            self.note(f"the disk fails: {strerror(storage.failing)}")
            self.oracle.count("failures of the disk")

    def _heal(self) -> None:
        if self.storage is not None and self.storage.failing:
            self.note("the disk works again")
            self.storage.failing = 0
            self._commit()

    def _near_the_end(self, peer: Peer) -> None:
        """As if the session had used up most packet identifiers: the next ones begin again at 1."""
        self.note(f"{peer.client_id}: packet identifiers begin again soon")
        self.broker.session(peer.client_id).packet_identifier = IDENTIFIERS_END

    def _pass_time(self) -> None:
        """From milliseconds to hours."""
        random = self.random
        milliseconds = int(10 ** random.uniform(0, 5))
        if random.random() < 0.02:
            milliseconds = random.randrange(7_200_000)
        self.note(f"{milliseconds} ms pass")
        self.advance(milliseconds)

    def _answer_late(self) -> None:
        """Questions that were left open are answered, in any order; some of their connections are gone by now."""
        open_now = [question for question in self.questions.open if not question.forgotten]
        for question in self.random.sample(open_now, min(len(open_now), self.random.choice((1, 1, 4)))):
            self._resume(question)
        self.turn()

    def _talk(self, peer: Peer) -> None:
        items = [] if peer.silent else self._something(peer)
        if items:
            self.note(f"{peer.client_id} sends {len(items)} packets")
            self._send(peer, items)
            self.turn()

    def _talk_at_once(self) -> None:
        """Several clients are read in one turn, or in turns that follow each other; some of them leave."""
        self.note("several clients send")
        for peer in self.random.sample(self.peers, min(len(self.peers), 6)):
            self._drop_dead(peer)
            if peer.connected and not peer.silent:
                self._send(peer, self._something(peer))
                fate = self.random.random()
                if fate < 0.1:
                    self._say_disconnect(peer)
                elif fate < 0.2:
                    self._break(peer, self.random.random())
                elif fate < 0.4:
                    self.broker._one_turn()  # what now comes is read while output of the last turn still waits
                    self._send(peer, self._something(peer))
        self.turn()

    def _answer(self, peer: Peer) -> None:
        """Acknowledgements, in a burst or a few."""
        if peer.todo and not peer.silent:
            count = self.random.choice((1, len(peer.todo)))
            self.note(f"{peer.client_id} sends {count} acknowledgements")
            self._send(peer, self._acks(peer, count))
            self.turn()

    def _cut(self, peer: Peer) -> None:
        """The connection breaks within what the client sends, and within what it receives."""
        items = [] if peer.silent else self._something(peer)
        if items:
            self._send(peer, items, self.random.random())
            self.turn()
        self._drop_dead(peer)
        if peer.wire is not None:
            self._drop(peer, self.random.random())

    def _disconnect(self, peer: Peer) -> None:
        self._say_disconnect(peer)
        self.turn()

    def _say_disconnect(self, peer: Peer) -> None:
        random = self.random
        model = peer.model
        assert model is not None
        packet = mqtt.Disconnect()
        expiry_s = -1
        if peer.version == MQTT_5_0:
            packet.reason_code = random.choice((0, 0, 4))
            if model.session.expiry_s and random.random() < 0.3:
                expiry_s = random.choice((0, 5, 7_200))
                packet.properties = properties(session_expiry_interval=expiry_s)
        self.note(f"{model.name} of {peer.client_id}: DISCONNECT {packet.reason_code}, expiry {expiry_s}")
        self._send(peer, [self._item(peer, packet, self.oracle.disconnect, int(packet.reason_code), expiry_s)])
        peer.lose()

    def _stall(self, peer: Peer) -> None:
        """Its socket takes nothing, or takes all again."""
        wire = peer.wire
        assert wire is not None
        self.note(f"{peer.client_id} {'stalls' if wire.reads else 'reads again'}")
        if wire.reads:
            wire.stall()
        else:
            self._read_again(peer)
            self.turn()

    def _read_again(self, peer: Peer) -> None:
        wire, model = peer.wire, peer.model
        assert wire is not None and model is not None
        if not wire.reads:
            wire.reads = True
            model.stalled_ms = -1
            self.broker.drained.append(wire)

    def _settle(self, peer: Peer) -> None:
        """The client reads and acknowledges all there is; then nothing may be left over."""
        self.note(f"{peer.client_id} takes and acknowledges everything")
        self._heal()
        peer.silent = False
        for _ in range(SETTLE_ROUNDS):
            if peer.wire is not None and peer.wire.close_reason == "session taken over" and not self.questions.easy:
                peer.lose()  # an earlier CONNECT of its own was let in late
                return
            if peer.wire is None or peer.wire.line is None or peer.wire.closed:
                raise Violation(f"{peer.client_id} lost its connection: {peer.wire and peer.wire.close_reason}")
            if not peer.connected:
                self._await_connack(peer)
            else:
                self._read_again(peer)
                peer.receive()
                if peer.todo:
                    self._send(peer, self._acks(peer, len(peer.todo)))
            for question in list(self.questions.open):
                self._resume(question)
            self.turn(True)
            if peer.connected and not peer.todo and not peer.wire.taken and peer.wire.line.idle():
                break
        else:
            raise Violation(f"{peer.client_id} never comes to rest")
        assert peer.model is not None
        self.watch.check_settled(peer.model)
        if peer.unfinished or peer.releasing:
            raise self.watch.fail(peer.model, f"never acknowledged: {[*peer.unfinished, *peer.releasing]}")

    def _restart(self, goodbye: bool) -> None:
        """The broker ends, with or without goodbye, and a new one starts; clients keep their half of the session."""
        self.note(f"the broker starts anew, after a goodbye: {goodbye}")
        self._heal()
        self._commit()
        if goodbye:
            self._say_goodbye()
        self.broker.check()
        self.moments = None
        kept = None
        if self.storage is not None:
            if goodbye:
                self.storage.close()
            else:
                self.storage.kill(self.oracle.ticket)
            kept = Kept(self.oracle)
        self._start_anew(kept)

    def _begin_to_die(self) -> None:
        """From now on, for some steps, each batch is a moment to which a kill may take us back."""
        self._heal()
        self._commit()
        self.steps_left = self.random.choice((0, 1, 2, 5, 10))
        self.note(f"the broker is killed in {self.steps_left} steps")
        self.moments = {self.oracle.ticket - 1: Kept(self.oracle)}

    def _die(self) -> None:
        """The broker is killed; what was sealed since the last commit is stored up to some ticket."""
        assert self.storage is not None and self.moments is not None
        stored = int(self.storage.stored)
        ticket = self.random.choice([one for one in self.moments if one >= stored])
        if self.storage.failing:
            self.oracle.count("kills while the disk fails")
            ticket = self.storage.survives()
        self.note(
            f"the broker is killed: {stored} was stored, it comes back as of {ticket} of {list(self.moments)[-1]}"
        )
        for peer in self.peers:
            if peer.wire is not None:
                peer.receive(int(len(peer.wire.taken) * self.random.choice((0, 0.5, 1))))
        self.oracle.count("kills")
        self.oracle.count("batches lost", max(self.moments) - ticket)
        kept = self.moments[ticket]
        self.moments = None
        self.storage.kill(ticket)
        self._start_anew(kept)

    def _start_anew(self, kept: Kept | None) -> None:
        """A new broker, some time later, by a system clock that may have been set meanwhile."""
        before = self.oracle
        away_ms, jump_ms = self._absence(self.random)
        wall_ms = self._system_wall_ms() + away_ms + jump_ms
        self.oracle = Oracle(self.limits, self.durable or self.clustered)
        self.oracle.counts, self.oracle.turn = before.counts, before.turn
        self.broker = self._start(before.now_ms + away_ms, wall_ms)
        self.watch = Watch(self.oracle)
        self.wires = []
        self._set_clock()
        self.oracle.count("restarts")
        if kept is not None:
            if self.oracle.wall_ms < kept.sealed_wall_ms:
                raise Violation(f"the store's clock went back from {kept.sealed_wall_ms} to {self.oracle.wall_ms}")
            if not jump_ms and self.oracle.wall_ms != before.wall_ms + away_ms:
                raise Violation(f"the store's clock is {self.oracle.wall_ms - before.wall_ms - away_ms} ms off")
            kept.bring_back(self.oracle)
        for peer in [self.monitor, *self.peers]:
            peer.lose()
        self._open_monitor()

    def _absence(self, random: Random) -> tuple[int, int]:
        """How long there is no broker, and by how much the system's clock is set meanwhile; both in milliseconds."""
        if self.storage is None:
            return 0, 0
        away_ms = random.choice((0, 10, random.randrange(7_200_000)))
        return away_ms, random.choice((0, 0, 0, 3_600_000, -3_600_000, -1_600_000_000_000))

    def _say_goodbye(self) -> None:
        """An orderly end: wills go out, save the delayed ones that are stored; MQTT 5.0 clients are told."""
        oracle = self.oracle
        for session in list(oracle.sessions.values()):
            stored = self.durable and session.expiry_s > 0
            if session.will is not None and not (stored and session.will.delay_s):
                oracle.send_will(session)
        self.broker.engine.shut_down()
        for _, model in self.wires:
            if model.admitted and model.open:
                model.parting = 0x8B if model.version == MQTT_5_0 else -1
                oracle.leave(model, "server shutting down")
        self.broker.turn()
        for wire, model in self.wires:
            if not wire.closed and model.admitted:
                raise self.watch.fail(model, "still open after the end of the broker")
            self._look(wire, model)
        for wire, _ in self.wires:
            wire.note_outbox()
        assert self.monitor.model is not None
        if not self.small:
            self.watch.check_pending(self.monitor.model, "before the broker ended")
        self.watch.end_of_turn([], self._peaks())

    # The reckoning

    def _finish(self) -> None:
        """All sessions come back one by one and take what is theirs; then everything is taken down."""
        self.note("the reckoning")
        self._heal()
        self.disk_fails = False
        self.questions.easy = True
        if self.storage is not None:
            self.storage.process.easy = True
        for question in list(self.questions.open):
            self._resume(question)
        self._commit()
        self.turn(True)
        for peer in self.peers:
            self._drop_dead(peer)
            if peer.client_id in self.oracle.sessions:
                self._drop_dead(peer)
                peer.todo = []
                self._connect(peer, clean=False, plain=True)
                self._settle(peer)
        for peer in self.peers:  # what was handed over meanwhile
            if peer.connected:
                self._settle(peer)
        self._check_shared()
        self._check_retained()
        self._check_sessions()
        self.broker.check()
        self._take_down()

    def _check_shared(self) -> None:
        for expects in self.oracle.group_pending.values():
            for expect in expects:
                message = expect.message
                if expect.required and not message.expired(self.oracle.wall_ms):
                    members = [session.client_id for session in expect.grants]
                    raise Violation(f"shared message {message.payload[:24]!r}: none of {members} got it")

    def _check_retained(self) -> None:
        """A new subscriber gets exactly the retained messages."""
        newcomer = Peer("newcomer", MQTT_5_0, 10, "", "")
        self._connect(newcomer, clean=True, plain=True)
        requests = [mqtt.TopicRequest(b"#", 2), mqtt.TopicRequest(b"$x/#", 2)]
        self._send(newcomer, self._subscribed(newcomer, requests))
        self.peers.append(newcomer)
        self._settle(newcomer)

    def _take_down(self) -> None:
        """All sessions end; nothing may remain in the broker but retained messages."""
        for peer in [*self.peers, self.monitor]:
            self._drop_dead(peer)
            if peer.client_id in self.oracle.sessions:
                self._connect(peer, clean=True, plain=True)
                self._drop(peer, 0.0)
        for _ in range(3):
            self._commit()
        for client_id in list(self.oracle.sessions):
            raise Violation(f"{client_id} has still a session")
        self._check_sessions()
        found = self.broker.core.topics.statistics()
        if found["subscriptions"] or self.broker.core.clients or self.broker.clients:
            raise Violation(f"left over: {found}, {self.broker.core.clients} clients")
        self.broker.check()
