"""The one place where the parts are joined: settings, pool, loop, listeners and broker become a server.

`Server` owns the parts and drives turns. It touches nothing that is process-wide: that is the matter of the command
(`command.py`). The face for programs that embed a broker is in `embed.py`.
"""

from __future__ import annotations

import _socket as socket  # socket.py brings enums and selectors: 0.4 MB more
import logging
import os
import signal
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from swellmq.broker.access import Access
from swellmq.broker.broker import MqttBroker
from swellmq.broker.restore import restore
from swellmq.broker.rules import Rules
from swellmq.broker.session import Session
from swellmq.broker.storage import Storage
from swellmq.broker.sys_topics import SysTopics
from swellmq.broker.uplink import Uplink
from swellmq.codec import spec
from swellmq.connection import Layer, Turn
from swellmq.errors import SettingsError
from swellmq.limits import OVERLOAD_LOOK_MS
from swellmq.net.listener import Bound, Listener, open_tcp, open_unix, parse_network, take_socket
from swellmq.net.loop import NO_BOUND, Loop, Moments
from swellmq.net.peers import SocketPeers
from swellmq.net.pool import Pool, PoolSettings
from swellmq.observe.watch import Watch
from swellmq.options import DURABILITIES
from swellmq.overload import Overload
from swellmq.process import Trimmer, descriptor_limit, lowest_free_descriptor, resident_bytes
from swellmq.settings import Settings
from swellmq.stats import Stats
from swellmq.version import VERSION

if TYPE_CHECKING:
    from swellmq.access.door import Door
    from swellmq.admin.host import Admin
    from swellmq.otel import MessageSpans
    from swellmq.reload import Prepare
    from swellmq.systemd import Supervisor

log = logging.getLogger("swellmq.server")

VERSIONS: Final = {"3.1": spec.MQTT_3_1, "3.1.1": spec.MQTT_3_1_1, "5.0": spec.MQTT_5_0}
NODE: Final = "node-0"  # several nodes may share a data folder
CALM: Final = ("", False)  # new clients are welcome, and nothing is shed
DRAIN_S: Final = 1.0  # a stop waits so long for clients to take what is under way to them


class Server:
    """One broker with its listeners. `turn` drives it; nothing happens between turns."""

    def __init__(
        self,
        settings: Settings,
        access: Access | None = None,
        storage: Storage | None = None,
        uplink: Uplink | None = None,
    ) -> None:
        self.settings = settings
        self.door = _open_door(settings, access)
        self.storage = storage if storage is not None else self._make_storage()
        self.stats = Stats()
        self.turn_state = Turn()
        self.pool = Pool(_pool_settings(settings), self.turn_state)
        self.broker = MqttBroker(
            settings.limits(),
            self.turn_state,
            self.stats,
            self.storage,
            uplink or Uplink(),
            self.door or access or Access(),
        )
        self.reloads: list[Prepare] = []  # whoever has something to read again: see reload.py
        if self.door is not None:
            self.door.attach(self.call, self.broker)
            self.reloads.append(self._prepare_door)
        if any(listener.tls is not None for listener in settings.listeners):
            self.reloads.append(self._prepare_certificates)
        self.broker.core.peers = SocketPeers()
        self.broker.core.assigned_stem = _random_stem()
        self.broker.core.rules = _rules(settings)
        self.loop = Loop(self.broker, self.broker.refuser, self.pool, self.turn_state, self.stats)
        self.sys_topics = SysTopics(self.broker.core, VERSION)
        self.loop.heavy_from_us = _heavy_from_us(settings)
        self.listeners: list[Listener] = []
        self.admin: Admin | None = None
        self.calls: deque[Callable[[], None]] = deque()
        self.stopping = False
        self.owns_log = False  # of the `serve` command: a reload changes how much is logged
        self.supervisor: Supervisor | None = None  # of the `serve` command, where somebody wants to know
        self.handed_over: dict[int, socket.socket] = {}  # listening sockets of the `serve` command, by listener
        self.trimmer: Trimmer | None = None  # of the `serve` command
        self._pool_changes: int = 0  # those of the pool that were seen
        self._renewals = 0
        self.overload = Overload(settings.memory_budget_bytes)
        self._overload_words = CALM  # what was last said of it
        self.watch = Watch(self)
        self.due = Moments()
        self.due.status_ms = settings.status_interval_s * 1000 if settings.status_interval_s else -1
        self.due.sys_ms = 0 if settings.sys_interval_s else -1
        self.spans: MessageSpans | None = None
        self.broker.core.lines.per_second = settings.log_clients_per_second

    def _make_storage(self) -> Storage:
        """The store that the settings ask for."""
        settings = self.settings
        if not settings.data:
            return Storage()
        from swellmq.store.storage import DiskStorage  # SQLite, which only a broker with a store needs

        waits = {listener.durability or settings.durability for listener in settings.listeners}
        storage = DiskStorage(os.path.join(settings.data, NODE), "disk" in waits, lambda: self.loop.wake())
        storage.segment_bytes = settings.store_segment_bytes
        storage.eager = "written" in waits
        return storage

    def open(self, give_up_rights: Callable[[], None] | None = None) -> None:
        """Load what is stored, preheat the pool and listen.

        With `give_up_rights` that comes behind listening, which may take root's, and before the data folder is touched,
        which is the user's. Raises SettingsError where an address can't be had, StoreError where the data folder can't
        be used; nothing stays open then.
        """
        try:
            if give_up_rights is not None:
                self._listen()
                give_up_rights()
            self.loop.set_wall_clock(self.storage.open(time.time_ns() // 1_000_000))
            self.loop.read_clocks()
            restore(self.broker.core)
            limit = descriptor_limit()
            if limit:
                self.overload.descriptors.limit = limit
                self.loop.descriptors_max = self.overload.descriptors.bound()
            if self.settings.otel_endpoint:
                from swellmq.otel import open_spans  # OpenTelemetry: 20 MB that only who traces messages needs

                self.spans = open_spans(self.settings)
                self.broker.follow(self.spans)
            if give_up_rights is None:
                self._listen()
            self.plan()
        except BaseException:
            self._close_admin()
            self.loop.close()
            self.storage.close()
            if self.spans is not None:
                self.spans.close()
            raise

    def _listen(self) -> None:
        self.pool.preheat()
        layers: list[Layer | None] = []  # before any socket: a certificate may be of no use, and takes its time
        for wanted in self.settings.listeners:
            layer: Layer | None = None
            if wanted.has_layers():
                from swellmq.net.layers import make_layers  # most brokers speak MQTT straight on the socket

                layer = make_layers(wanted, wanted.tls)
            layers.append(layer)
        bounds: dict[int, Bound] = {}  # the addresses of one listener share their rules, and so its bound
        for index, wanted in enumerate(self.settings.listeners):
            if index in self.handed_over:
                listener = take_socket(self.handed_over[index], index)
            elif wanted.unix:
                listener = open_unix(wanted.unix, wanted.unix_mode, index, wanted.backlog)
            else:
                listener = open_tcp(wanted.bind, wanted.port, index, wanted.backlog, wanted.rules.interface)
            listener.layer = layers[index]
            if wanted.proxies is not None:
                listener.proxies = [parse_network(network) for network in wanted.proxies.networks]
            if wanted.rules.max_connections:
                listener.bound = bounds.setdefault(id(wanted.rules), Bound(wanted.rules.max_connections))
            listener.scheme = wanted.scheme()
            listener.durability = DURABILITIES.index(wanted.durability or self.settings.durability)
            self.listeners.append(listener)
            self.loop.add_listener(listener)
        if self.settings.admin:
            self._open_admin()

    def _open_admin(self) -> None:
        try:
            from swellmq.admin.host import Admin  # with h11 and msgspec, which most brokers do without
        except ModuleNotFoundError as error:
            if error.name is None or error.name.startswith("swellmq"):
                raise
            remedy = "Install the libraries of admin: pip install 'swellmq[admin]'"
            where = self.settings.where("admin")
            problem = f"the Python package {error.name} is not installed"
            raise SettingsError(f"admin = {self.settings.admin}", problem, remedy, where) from None
        self.admin = Admin(self)
        self.admin.open()
        self.reloads.append(self.admin.prepare_reload)

    def _turn_admin(self) -> None:
        """Run a turn of admin's own loop, because something has come for it or is due there."""
        assert self.admin is not None
        self.loop.guest_ready = False
        wait_ms = self.admin.turn()
        self.due.admin_ms = -1 if wait_ms < 0 else self.turn_state.now_ms + wait_ms

    def _close_admin(self) -> None:
        if self.admin is not None:
            self.admin.close()
            self.admin = None
            self.due.admin_ms = -1

    @property
    def port(self) -> int:
        """The port of the first TCP listener; 0 where there is none."""
        for listener in self.listeners:
            if listener.port:
                return listener.port
        return 0

    def deadline_ms(self) -> int:
        """Milliseconds until `turn` must be called even if nothing is readable; -1: never."""
        if self.calls:
            return 0
        return self.loop.deadline_ms()

    def plan(self) -> None:
        """Find out what is due next beside the loop, for whoever has changed when something is."""
        overload_ms = self.due.overload_ms if self._overload_words != CALM else -1  # or its end would wait for a client
        beat_ms = self.supervisor.due_ms if self.supervisor is not None else -1
        moments_ms = (
            self.due.status_ms,
            self.due.sys_ms,
            self.due.admin_ms,
            overload_ms,
            beat_ms,
            self.watch.wake_ms(),
        )
        wakes_ms = [moment_ms for moment_ms in moments_ms if moment_ms >= 0]
        self.loop.beside_wake_ms = min(wakes_ms, default=-1)
        self.loop.beside_ms = min(self.due.overload_ms, self.watch.due_ms, *wakes_ms)

    def turn(self, timeout_ms: int = -1) -> None:
        """One turn of the loop, and what is due beside it."""
        if self.loop.turn(timeout_ms) or self.calls:
            self._look_beside()

    def _look_beside(self) -> None:
        """See what there is to do beside the loop, which has said that there may be something."""
        if self.calls:
            self._run_calls()
        if self.pool.changes != self._pool_changes:
            self._follow_pool()
        loop = self.loop
        now_ms = self.turn_state.now_ms
        if now_ms >= loop.beside_ms or loop.guest_ready or loop.descriptors_short:
            self._do_what_is_due(now_ms)

    def _do_what_is_due(self, now_ms: int) -> None:
        if now_ms >= self.due.overload_ms or self.loop.descriptors_short:
            self.due.overload_ms = now_ms + OVERLOAD_LOOK_MS
            self._look_at_overload(now_ms)
        if self.loop.guest_ready or 0 <= self.due.admin_ms <= now_ms:
            self._turn_admin()
        if self.supervisor is not None and 0 <= self.supervisor.due_ms <= now_ms:
            self.supervisor.beat(now_ms)
        if 0 <= self.due.status_ms <= now_ms:
            self.due.status_ms = now_ms + self.settings.status_interval_s * 1000
            self.log_status()
        if 0 <= self.due.sys_ms <= now_ms:
            self.due.sys_ms = now_ms + self.settings.sys_interval_s * 1000
            self._publish_sys(now_ms)
        if now_ms >= self.watch.due_ms:
            self._watch(now_ms)
        self.plan()

    def _look_at_overload(self, now_ms: int) -> None:
        """Refuse new clients, and shed QoS 0, while it takes that; those that are here are left alone."""
        overload = self.overload
        loop = self.loop
        if overload.memory.budget_bytes:
            overload.memory.look(resident_bytes(), self.pool.active, now_ms)
        overload.turns.look(loop.heavy_us, now_ms)
        if loop.descriptors_short:
            loop.descriptors_short = False
            overload.descriptors.run_short()
        elif overload.descriptors.short:
            overload.descriptors.look(lowest_free_descriptor())
        words = (overload.refusing(), overload.shedding())
        self.broker.core.shed(words[1], overload.memory.shedding)
        if words == self._overload_words:
            return
        self._overload_words = words
        self.pool.refusing = words[0] != ""
        self.broker.refuser.overload = words[0]
        log.log(
            logging.INFO if words == CALM else logging.WARNING,
            "overload: %s; %d connections, %.1f of %.1f MB, longest turn lately %.0f ms",
            describe_overload(words[0], words[1]),
            self.pool.active,
            int(overload.memory.used_bytes) / 1e6,
            int(overload.memory.budget_bytes) / 1e6,
            self.stats.turn.recent_us(now_ms) / 1e3,
        )

    def _follow_pool(self) -> None:
        """The pool has gone a step, or renews itself because a crowd has gone: give back what else was there for it."""
        self._pool_changes = self.pool.changes
        trimmer = self.trimmer
        if trimmer is not None and trimmer.prepare():
            self.sys_topics.renew()  # for once: what is done for the first time leaves something that stays for ever
        if self.pool.refilling:  # its objects are dropped, and those in their place are still to be made
            self.loop.shorten_table()
            if trimmer is not None:
                trimmer.collect()
            self.sys_topics.renew()
        elif self.pool.renewals != self._renewals:
            self._renewals = self.pool.renewals
            if trimmer is not None:
                trimmer.trim(self.turn_state.now_ms)

    def _publish_sys(self, now_ms: int) -> None:
        try:
            self.sys_topics.publish(now_ms, self.pool.statistics(), resident_bytes())
        except Exception:  # of a store or an uplink
            self.stats.errors_internal += 1
            log.exception("a bug of ours while publishing $SYS")

    def _watch(self, now_ms: int) -> None:
        try:
            self.watch.look(now_ms)
        except Exception:  # it only watches: the broker goes on
            self.stats.errors_internal += 1
            log.exception("a bug of ours while looking at how the broker is")

    def _run_calls(self) -> None:
        for _ in range(len(self.calls)):  # what these call comes in the next turn
            try:
                self.calls.popleft()()
            except Exception:
                self.stats.errors_internal += 1
                log.exception("a bug of ours in a call")
        self.loop.more = True  # they may have changed something that is to be sealed and sent
        self.plan()

    def _prepare_door(self, settings: Settings) -> Callable[[], list[str]]:
        from swellmq.access.build import prepare_change  # whoever has a door has this
        from swellmq.reload import live_listeners

        assert self.door is not None
        return prepare_change(self.door, self.broker, settings, live_listeners(self.settings, settings))

    def _prepare_certificates(self, settings: Settings) -> Callable[[], list[str]]:
        from swellmq.net.layers import prepare_reload  # whoever has a TLS listener has this

        return prepare_reload(self.listeners, self.settings, settings)

    def reload(self) -> bool:
        """Read settings and files again, as on SIGHUP; False where something is wrong, and nothing has changed then.

        From the loop's thread, between two turns: `call(server.reload)` from elsewhere.
        """
        from swellmq.reload import reload  # most brokers never do

        return reload(self)

    def take_settings(self) -> None:
        """Go by what is in `settings` now, as far as it can change while the broker runs."""
        settings = self.settings
        self.broker.take_limits(settings.limits())
        self.loop.heavy_from_us = _heavy_from_us(settings)
        self.broker.core.lines.per_second = settings.log_clients_per_second
        now_ms = self.turn_state.now_ms
        self.due.status_ms = now_ms + settings.status_interval_s * 1000 if settings.status_interval_s else -1
        self.due.sys_ms = now_ms + settings.sys_interval_s * 1000 if settings.sys_interval_s else -1
        self.plan()

    def call(self, function: Callable[[], None]) -> None:
        """Run `function` in the loop's thread, after its next turn. From any thread."""
        self.calls.append(function)
        self.loop.wake()

    def stop(self) -> None:
        """Let `run` end. From any thread or a signal handler."""
        self.stopping = True
        self.loop.wake()

    def run(self, signals_wake: bool = False) -> None:
        """Drive turns until `stop`, then end gracefully.

        A signal is handled when Python code runs, so one that comes just before a wait would have to wait too, for the
        next packet. With `signals_wake`, which only the main thread may ask for, it ends the wait.
        """
        if signals_wake:
            signal.set_wakeup_fd(self.loop.waker_in, warn_on_full_buffer=False)
        while not self.stopping:
            self.turn()
        if signals_wake:
            signal.set_wakeup_fd(-1)
        if self.supervisor is not None:
            self.supervisor.stopping()
        self.end()

    def end(self) -> None:
        """Stop listening, let clients take what is under way, send wills and DISCONNECTs, close everything."""
        self.loop.stop_listening()
        self.turn(0)  # what clients had sent by now counts, such as acknowledgements
        give_up = time.monotonic() + DRAIN_S
        while self.draining() and time.monotonic() < give_up:
            self.turn(20)
        self.finish()

    def draining(self) -> bool:
        """Whether some client has not yet taken all that was sent to it, or waits for what is being stored."""
        return any(connection.outbox_bytes or connection.holds() for connection in self.loop.served())

    def finish(self) -> None:
        """The last turns: wills, DISCONNECTs, and every descriptor closed."""
        self._close_admin()
        self.broker.shut_down()
        self.loop.turn(0)
        self.loop.turn(0)
        self.loop.close()
        if self.door is not None:
            self.door.close()
        self.broker.seal()  # what the last connections left behind
        self.storage.close()
        if self.spans is not None:
            self.spans.close()

    def self_check(self) -> list[str]:
        """What is wrong with the pool, a sentence each: broken invariants, and objects taken whose socket is gone."""
        faults = self.pool.self_check(self.loop.served())
        for connection in self.loop.lost():
            session = connection.owner
            name = f"client {session.name()}" if isinstance(session, Session) else "no client"
            faults.append(f"descriptor {connection.fd} is gone, but {name} still has its connection")
        return faults

    def statistics(self) -> dict[str, int]:
        """All counters and sizes of this broker, plain numbers by name; those of the pool begin with `pool_`."""
        counters = {"pool_" + name: value for name, value in self.pool.statistics().items()}
        counters.update({"store_" + name: value for name, value in self.storage.statistics().items()})
        counters.update(self.broker.core.statistics())
        counters.update(self.broker.core.deadlines.statistics())
        counters.update(self.stats.statistics())
        counters.update(self.loop.statistics())
        counters.update(self.overload.statistics())
        counters.update(self.watch.statistics())
        if self.door is not None:
            counters.update(self.door.statistics())
        if self.spans is not None:
            counters.update(self.spans.statistics())
        if self.admin is not None:
            counters.update({"admin_" + name: value for name, value in self.admin.statistics().items()})
        return counters

    def report(self) -> None:
        """Log the status line, and what the self-check of the pool finds."""
        self.log_status()
        for fault in self.self_check() or ["nothing wrong"]:
            log.info("[POOL] Self-check: %s", fault)

    def log_status(self) -> None:
        """Log the pool and the memory in one line."""
        pool = self.pool.statistics()
        log.info(
            "[STATUS] active %d, connected %d, idle %d, overflow %d, capacity %d, sessions %d, RSS %.1f MB",
            pool["active"],
            self.broker.core.clients,
            pool["idle"],
            pool["overflow"],
            pool["capacity"],
            len(self.broker.core.sessions),
            resident_bytes() / 1e6,
        )


def _heavy_from_us(settings: Settings) -> int:
    return settings.overload_turn_ms * 1000 if settings.overload_turn_ms else NO_BOUND


def describe_overload(why: str, shedding: bool) -> str:
    """What the broker does about its overload, for the log: `why` new clients are refused, whether QoS 0 is shed."""
    door = f"{why}, so new clients are refused" if why else "new clients may come again"
    return door + (", and QoS 0 that waits is shed" if shedding else "")


def _random_stem() -> str:
    """The first four parts of a random UUID (RFC 9562, version 4); a count follows."""
    digits = os.urandom(9).hex()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[12:15]}-8{digits[15:18]}"


def _rules(settings: Settings) -> list[Rules]:
    """What holds for the clients of each listener, by its index; empty where nothing differs."""
    if all(listener.rules.are_usual() for listener in settings.listeners):
        return []
    every: list[Rules] = []
    for listener in settings.listeners:
        given = listener.rules
        rules = Rules()
        rules.protocol_versions = bytes(VERSIONS[name] for name in given.protocol_versions)
        rules.maximum_qos = given.maximum_qos
        rules.topic_alias_maximum = given.topic_alias_maximum
        rules.topic_aliases_out = given.topic_aliases_out
        rules.client_id_prefix = given.client_id_prefix
        rules.username_as_client_id = given.username_as_client_id
        rules.assign_client_ids = given.assign_client_ids
        rules.mount_point = given.mount_point.encode()
        every.append(rules)
    return every


def _open_door(settings: Settings, access: Access | None) -> Door | None:
    """The access control that the settings ask for; None where they say nothing of it."""
    if not settings.has_door():
        return None
    if access is not None:
        problem = "given beside an access of the program itself"
        raise SettingsError("[access]", problem, "Leave the settings or the argument `access` out")
    from swellmq.access.build import build_door  # who needs none of it does without hashes and threads

    return build_door(settings)


def _pool_settings(settings: Settings) -> PoolSettings:
    pool = PoolSettings()
    pool.initial_size = settings.pool_initial_size
    pool.max_size = settings.pool_max_size
    pool.max_connections = settings.max_connections
    pool.mode = settings.pool_mode
    pool.threshold_percent = settings.pool_threshold_percent
    pool.numerator, pool.denominator = settings.pool_factor
    pool.memory_max_bytes = settings.pool_memory_max_bytes
    pool.shrink = settings.pool_shrink
    pool.shrink_after_ms = settings.pool_shrink_after_s * 1000
    return pool
