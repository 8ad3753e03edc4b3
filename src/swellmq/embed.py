"""A broker inside a Python program: in its asyncio or uvloop loop, or in a thread of its own.

    async with Broker(Settings(port=0)) as broker:
        await broker.publish("hello", b"world")

Nothing process-wide is touched: no signals, no log setup, no collector, no limits. Several may run in one process.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from swellmq.broker.access import Access
from swellmq.broker.storage import Storage
from swellmq.broker.uplink import Uplink
from swellmq.codec import spec
from swellmq.codec.packets import Publish
from swellmq.codec.topic import check_topic_name
from swellmq.errors import MalformedPacket
from swellmq.server import Server
from swellmq.settings import Settings

if TYPE_CHECKING:
    import asyncio
    from types import TracebackType

STOP_S = 10.0  # a thread that does not end within it is an error
DRAIN_ROUNDS = 50  # of 20 ms each, at the end
STRING_BYTES_MAX = 65_535  # a string of MQTT has two bytes for its length
BESIDE_BYTES = 1_024  # in a PUBLISH beside topic name and payload, such as subscription identifiers


class Broker:
    """An MQTT broker to embed. Use it as an asynchronous context manager, or as a plain one, which runs a thread.

    `settings` are those of the command line; `Settings(port=0)` takes a free port, told by `port`. `access` decides who
    may come in and do what, `storage` keeps durable state, `uplink` joins a cluster; all are optional.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        access: Access | None = None,
        storage: Storage | None = None,
        uplink: Uplink | None = None,
    ) -> None:
        self._settings = settings if settings is not None else Settings()
        self._access = access
        self._storage = storage
        self._uplink = uplink
        self._server: Server | None = None
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None
        self._host: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | asyncio.Handle | None = None
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []  # publishers, by the ticket they wait for
        self._thread_id = 0  # of the thread that turns the broker
        self._turning = False

    @property
    def server(self) -> Server:
        """The parts of the running broker, for tests and those who look deeper."""
        if self._server is None:
            raise RuntimeError("the broker is not running: use `async with Broker(...)` or `with Broker(...)`")
        return self._server

    @property
    def port(self) -> int:
        """The port of the first TCP listener."""
        return self.server.port

    @property
    def admin_url(self) -> str:
        """Where the admin page is; "" where there is none."""
        admin = self.server.admin
        return admin.url() if admin is not None else ""

    def statistics(self) -> dict[str, int]:
        """Counters and sizes by name: pool, clients, sessions, messages, bytes, reasons of closed connections."""
        return self.server.statistics()

    def self_check(self) -> list[str]:
        """What is wrong with the pool, a sentence each; empty where all is well. From any thread."""
        if self._thread is None or threading.get_ident() == self._thread_id:
            return self.server.self_check()
        faults: list[str] = []
        self._call_and_wait(lambda: faults.extend(self.server.self_check()))
        return faults

    def _open(self) -> Server:
        if self._server is not None:
            raise RuntimeError("the broker is running already")
        server = Server(self._settings, self._access, self._storage, self._uplink)
        server.open()
        self._server = server
        return server

    # Inside an event loop

    async def __aenter__(self) -> Broker:
        import asyncio

        host = asyncio.get_running_loop()
        server = self._open()
        try:
            host.add_reader(server.loop.fileno(), self._turn)
        except NotImplementedError:
            server.finish()
            self._server = None
            raise RuntimeError("this event loop can't watch descriptors: use `with Broker(...)`") from None
        self._host = host
        self._thread_id = threading.get_ident()
        self._turn()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        import asyncio

        server = self.server
        server.loop.stop_listening()
        try:
            for _ in range(DRAIN_ROUNDS):
                if not server.draining():
                    break
                await asyncio.sleep(0.02)
        finally:  # cancelled as well
            self._close(server)

    def _close(self, server: Server) -> None:
        assert self._host is not None
        self._host.remove_reader(server.loop.fileno())
        if self._timer is not None:
            self._timer.cancel()
        server.finish()
        for _ticket, future in self._waiting:
            if not future.done():
                future.set_exception(RuntimeError("the broker was stopped before the message was stored"))
        self._waiting = []
        self._server = None
        self._host = None

    def _turn(self) -> None:
        """Run a turn, and have the next one called when it is due. Within a turn, which goes on, nothing is done."""
        server = self._server
        host = self._host
        if server is None or host is None or self._turning:
            return
        self._turning = True
        try:
            server.turn(0)
        finally:
            self._turning = False
        if self._waiting:
            self._resolve()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due_ms = server.deadline_ms()
        if due_ms == 0:
            self._timer = host.call_soon(self._turn)
        elif due_ms > 0:
            self._timer = host.call_later(due_ms / 1000, self._turn)

    def _resolve(self) -> None:
        """Let those go on whose messages are stored."""
        stored = self.server.turn_state.ticket_stored
        waiting: list[tuple[int, asyncio.Future[None]]] = []
        for ticket, future in self._waiting:
            if ticket > stored:
                waiting.append((ticket, future))
            elif not future.done():
                future.set_result(None)
        self._waiting = waiting

    async def publish(self, topic: str, payload: bytes | str = b"", qos: int = 0, retain: bool = False) -> int:
        """Publish a message; how many subscriptions it matched. Returns once what must be durable is stored.

        Raises MalformedPacket where `topic` is no topic name, ValueError for what no packet has room for.
        """
        server = self.server
        host = self._host
        if host is None:
            raise RuntimeError("publish() is for `async with`; in a thread use publish_blocking()")
        core = server.broker.core
        changes = core.changes
        matched = server.broker.inject(_message(topic, payload, qos, retain))
        ticket = server.turn_state.ticket_open
        self._turn()
        if core.changes != changes and server.turn_state.durable and server.turn_state.ticket_stored < ticket:
            future: asyncio.Future[None] = host.create_future()
            self._waiting.append((ticket, future))
            await future
        return matched

    def resume(self, token: int, reason_code: int) -> None:
        """Answer a question of access or uplink late: 0 allows, 0x80 or more refuses. From any thread."""
        server = self.server

        def answer() -> None:
            server.broker.resume(token, reason_code)  # False where its connection is gone, and that is well

        server.call(answer)

    def wake(self) -> None:
        """Have a turn run soon: a store or an uplink has counted `stored` up. From any thread."""
        self.server.loop.wake()

    # In a thread

    def __enter__(self) -> Broker:
        server = self._open()
        self._failure = None
        self._thread = threading.Thread(target=self._run, args=(server,), name="swellmq", daemon=True)
        self._thread.start()
        self._thread_id = self._thread.ident or 0
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        thread = self._thread
        assert thread is not None
        self.server.stop()
        thread.join(STOP_S)
        self._server = None
        self._thread = None
        if thread.is_alive():
            raise RuntimeError("the broker's thread did not end")
        if self._failure is not None:
            raise self._failure

    def _run(self, server: Server) -> None:
        try:
            server.run()
        except BaseException as error:  # handed over to the thread that leaves the context
            self._failure = error
            server.loop.close()

    def publish_blocking(self, topic: str, payload: bytes | str = b"", qos: int = 0, retain: bool = False) -> int:
        """As `publish`, from any thread but the broker's own; waits until the message is routed."""
        server = self.server
        if threading.get_ident() == self._thread_id:
            raise RuntimeError("publish_blocking() would wait for its own thread: use `await publish()` there")
        message = _message(topic, payload, qos, retain)
        matched: list[int] = []
        self._call_and_wait(lambda: matched.append(server.broker.inject(message)))
        return matched[0]

    def _call_and_wait(self, function: Callable[[], None]) -> None:
        """Run `function` in the broker's thread, and wait until it has run."""
        done = threading.Event()

        def run() -> None:
            try:
                function()
            finally:
                done.set()

        self.server.call(run)
        if not done.wait(STOP_S):
            raise RuntimeError("the broker's thread does not answer")


def _message(topic: str, payload: bytes | str, qos: int, retain: bool) -> Publish:
    topic_name = topic.encode()
    check_topic_name(topic_name)
    if len(topic_name) > STRING_BYTES_MAX:
        raise MalformedPacket(spec.TOPIC_NAME_INVALID, f"a topic name of more than {STRING_BYTES_MAX} bytes")
    if qos not in (0, 1, 2):
        raise ValueError("qos must be 0, 1 or 2")
    content = payload.encode() if isinstance(payload, str) else payload
    if len(topic_name) + len(content) + BESIDE_BYTES > spec.REMAINING_LENGTH_MAX:
        raise ValueError("a message of more than 256 MB")
    return Publish(topic_name, content, qos, retain)
