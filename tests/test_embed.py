"""A broker inside a Python program: in asyncio, in uvloop, in a thread; several at once; and nothing left behind."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import resource
import signal
import socket
import statistics
import threading
import time
import warnings
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from socket_client import Client, Clients, await_true, quiet_settings

from swellmq import Access, Broker, MalformedPacket, Request, Settings, SettingsError, Storage
from swellmq.codec.packets import Ack, Connack, Disconnect, Publish
from swellmq.codec.spec import PUBACK
from swellmq.version import compiled

Runner = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Runner:
    """Runs a coroutine in one of the two event loops."""
    if request.param == "asyncio":
        return asyncio.run
    uvloop = pytest.importorskip("uvloop")

    def run_in_uvloop(main: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main)

    return run_in_uvloop


async def in_thread(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Talk to the broker from a thread, while the event loop carries it."""
    return await asyncio.to_thread(function, *arguments, **options)


async def client_of(broker: Broker, client_id: str, version: int = 4, **options: Any) -> Client:
    client = await in_thread(Client, ("127.0.0.1", broker.port), version)
    assert (await in_thread(client.connect, client_id, **options)).reason_code == 0
    return client


def test_a_publish_between_two_clients(run: Runner) -> None:
    async def main() -> None:
        async with Broker(quiet_settings()) as broker:
            near, far = await client_of(broker, "near", 5), await client_of(broker, "far")
            await in_thread(far.subscribe, "t", 1)
            near.publish("t", b"hello", 1)
            assert (await in_thread(far.expect, Publish)).payload == b"hello"
            assert (await in_thread(near.expect, Ack)).packet_type == PUBACK
            assert broker.statistics()["clients"] == 2
            assert broker.statistics()["pool_active"] == 2
            assert broker.self_check() == []
            near.close()
            far.close()

    run(main())


def test_publish(run: Runner) -> None:
    async def main() -> None:
        async with Broker(quiet_settings()) as broker:
            assert await broker.publish("nobody", b"x") == 0
            assert await broker.publish("kept", "text", qos=1, retain=True) == 0
            client = await client_of(broker, "client")
            await in_thread(client.subscribe, "#", 1)
            kept = await in_thread(client.expect, Publish)
            assert (kept.topic_name, kept.payload, kept.qos, kept.retain) == (b"kept", b"text", 1, True)
            assert await broker.publish("now", b"y", qos=1) == 1
            now = await in_thread(client.expect, Publish)
            assert (now.payload, now.qos, now.retain) == (b"y", 1, False)
            client.close()

    run(main())


def test_many_publishes_at_once(run: Runner) -> None:
    async def main() -> None:
        async with Broker(quiet_settings()) as broker:
            client = await client_of(broker, "client")
            await in_thread(client.subscribe, "t")
            matched = await asyncio.gather(*[broker.publish("t", b"%d" % number) for number in range(200)])
            assert matched == [1] * 200
            payloads = [(await in_thread(client.expect, Publish)).payload for _ in range(200)]
            assert payloads == [b"%d" % number for number in range(200)]
            client.close()

    run(main())


def test_deadlines_run_without_traffic(run: Runner) -> None:
    async def main() -> None:
        async with Broker(quiet_settings(limits_connect_timeout_ms=100)) as broker:
            silent = await in_thread(Client, ("127.0.0.1", broker.port))
            assert await in_thread(silent.receive) is None
            assert broker.statistics()["closed: connect timeout"] == 1
            silent.close()

    run(main())


def test_several_brokers_know_nothing_of_each_other(run: Runner) -> None:
    async def main() -> None:
        async with Broker(quiet_settings()) as one, Broker(quiet_settings()) as two:
            assert one.port != two.port
            clients = [await client_of(broker, "same") for broker in (one, two)]
            for client in clients:
                await in_thread(client.subscribe, "#")
            assert await one.publish("t", b"one") == 1
            assert await two.publish("t", b"two") == 1
            assert [(await in_thread(client.expect, Publish)).payload for client in clients] == [b"one", b"two"]
            assert [broker.statistics()["clients"] for broker in (one, two)] == [1, 1]
            for client in clients:
                client.close()

    run(main())


def test_the_end_tells_the_clients_and_leaves_nothing(run: Runner) -> None:
    async def main() -> None:
        before = set(os.listdir("/proc/self/fd"))
        for _ in range(3):
            async with Broker(quiet_settings()) as broker:
                watcher = await client_of(broker, "watcher", 5)
                await in_thread(watcher.subscribe, "will")
                willing = await client_of(broker, "willing", will=Publish(b"will", b"bye", 0, False))
            assert (await in_thread(watcher.expect, Publish)).payload == b"bye"
            assert (await in_thread(watcher.expect, Disconnect)).reason_code == 0x8B
            for client in (watcher, willing):
                assert await in_thread(client.receive) is None
                client.close()
        assert set(os.listdir("/proc/self/fd")) == before

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(warm_up())
        run(main())
        gc.collect()


async def warm_up() -> None:
    await asyncio.to_thread(int)


def test_a_broker_starts_again(run: Runner) -> None:
    async def main() -> None:
        broker = Broker(quiet_settings())
        ports = set()
        for _ in range(2):
            async with broker:
                ports.add(broker.port)
                assert await broker.publish("t") == 0
        assert 0 not in ports

    run(main())


# Late answers


class Doorman(Access):
    """Answers who may come in from a thread of its own, when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.authenticates = True
        self.authorizes_publish = True
        self.broker: Broker | None = None

    def decide(self, requests: list[Request]) -> None:
        broker = self.broker
        assert broker is not None
        for request in requests:
            reason_code = 0x87 if request.username == "thief" else 0
            threading.Timer(0.001, broker.resume, (request.token, reason_code)).start()


def test_late_answers_of_access(run: Runner) -> None:
    async def main() -> None:
        doorman = Doorman()
        async with Broker(quiet_settings(), access=doorman) as broker:
            doorman.broker = broker
            friend = await client_of(broker, "friend", username="friend")
            await in_thread(friend.subscribe, "t")
            for number in range(5):
                friend.publish("nobody")  # answered without anything to send
                friend.publish("t", b"%d" % number)
                assert (await in_thread(friend.expect, Publish)).payload == b"%d" % number
            thief = await in_thread(Client, ("127.0.0.1", broker.port), 5)
            answer = await in_thread(thief.connect, "thief", username="thief")
            assert (type(answer), answer.reason_code) == (Connack, 0x87)
            friend.close()
            thief.close()

    run(main())


class Eager(Access):
    """Publishes from within a turn, as a task that starts at once would."""

    def __init__(self) -> None:
        super().__init__()
        self.authorizes_publish = True
        self.broker: Broker | None = None

    def decide(self, requests: list[Request]) -> None:
        broker = self.broker
        assert broker is not None
        for request in requests:
            request.answer(0)
            step = broker.publish("echo", b"from within")
            with pytest.raises(StopIteration):
                step.send(None)


def test_publish_from_within_a_turn(run: Runner) -> None:
    async def main() -> None:
        eager = Eager()
        async with Broker(quiet_settings(), access=eager) as broker:
            eager.broker = broker
            client = await client_of(broker, "client")
            await in_thread(client.subscribe, "echo")
            client.publish("t")
            assert (await in_thread(client.expect, Publish)).payload == b"from within"
            client.close()

    run(main())


class SlowStore(Storage):
    """Keeps what it was given to store until the test says that it is stored."""

    def __init__(self) -> None:
        super().__init__()
        self.durable = True
        self.sealed: list[int] = []

    def seal(self, ticket: int) -> None:
        self.sealed.append(ticket)


def test_publish_waits_until_it_is_stored(run: Runner) -> None:
    async def main() -> None:
        store = SlowStore()
        async with Broker(quiet_settings(), storage=store) as broker:
            assert await broker.publish("nothing/durable") == 0
            publishing = asyncio.ensure_future(broker.publish("kept", b"x", retain=True))
            await asyncio.sleep(0)
            assert store.sealed
            assert not publishing.done()
            store.stored = store.sealed[-1]
            await in_thread(broker.wake)
            assert await publishing == 0

    run(main())


def test_an_acknowledgement_waits_until_it_is_stored(run: Runner) -> None:
    async def main() -> None:
        store = SlowStore()
        async with Broker(quiet_settings(), storage=store) as broker:
            client = await client_of(broker, "client")
            client.publish("kept", b"x", 1, retain=True)
            while not store.sealed:
                await asyncio.sleep(0)
            await broker.publish("another/turn")
            client.sock.setblocking(False)
            with pytest.raises(BlockingIOError):
                client.sock.recv(1)
            client.sock.settimeout(10)
            store.stored = store.sealed[-1]
            broker.wake()
            assert (await in_thread(client.expect, Ack)).packet_type == PUBACK
            client.close()

    run(main())


def test_a_publish_that_is_never_stored_fails_at_the_end(run: Runner) -> None:
    async def main() -> None:
        async with Broker(quiet_settings(), storage=SlowStore()) as broker:
            publishing = asyncio.ensure_future(broker.publish("kept", b"x", retain=True))
            await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="stopped before the message was stored"):
            await publishing

    run(main())


# In a thread


def test_publish_blocking_from_threads(broker: Callable[..., Broker], clients: Clients) -> None:
    one = broker()
    client = clients(one, 4, "client")
    client.subscribe("t", 1)
    matched: list[int] = []
    threads = [threading.Thread(target=lambda: matched.append(one.publish_blocking("t", "x", 1))) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert matched == [1] * 10
    assert [client.expect(Publish).payload for _ in range(10)] == [b"x"] * 10


def test_what_a_thread_publishes_is_sealed_at_once(broker: Callable[..., Broker]) -> None:
    """Even where no client is there and nothing has to be sent."""
    store = SlowStore()
    one = broker(storage=store)
    one.publish_blocking("kept", "x", retain=True)
    await_true(lambda: store.sealed)


def test_several_brokers_in_threads(broker: Callable[..., Broker], clients: Clients) -> None:
    brokers = [broker() for _ in range(3)]
    for number, one in enumerate(brokers):
        client = clients(one, 4, "same")
        client.subscribe("t")
        assert one.publish_blocking("t", b"%d" % number) == 1
        assert client.expect(Publish).payload == b"%d" % number


def test_a_thread_leaves_nothing_behind() -> None:
    before = set(os.listdir("/proc/self/fd")), threading.active_count()
    for _ in range(3):
        with Broker(quiet_settings()) as broker, socket.create_connection(("127.0.0.1", broker.port)):
            await_true(lambda: broker.statistics()["pool_active"] == 1)  # called at once
    assert (set(os.listdir("/proc/self/fd")), threading.active_count()) == before


# Bad use


def test_bad_use_is_told_clearly(run: Runner) -> None:
    broker = Broker(quiet_settings())
    for use in (lambda: broker.port, broker.statistics, broker.self_check, lambda: broker.publish_blocking("t")):
        with pytest.raises(RuntimeError, match="the broker is not running"):
            use()

    async def main() -> None:
        with pytest.raises(RuntimeError, match="the broker is not running"):
            await broker.publish("t")
        with broker, pytest.raises(RuntimeError, match=r"publish\(\) is for `async with`"):
            await broker.publish("t")
        async with broker:
            with pytest.raises(RuntimeError, match="the broker is running already"):
                broker.__enter__()
            with pytest.raises(RuntimeError, match="would wait for its own thread"):
                broker.publish_blocking("t")
            with pytest.raises(MalformedPacket):
                await broker.publish("wild/#")
            with pytest.raises(MalformedPacket, match="a topic name of more than 65535 bytes"):
                await broker.publish("t" * 65_536, retain=True)
            with pytest.raises(ValueError, match="a message of more than 256 MB"):
                await broker.publish("t", bytes(268_435_455))
            with pytest.raises(ValueError, match="qos must be 0, 1 or 2"):
                await broker.publish("t", qos=3)
            assert await in_thread(broker.publish_blocking, "t") == 0

    run(main())


def test_port_in_use() -> None:
    with Broker(quiet_settings()) as first:
        second = Broker(quiet_settings(port=first.port))
        with pytest.raises(SettingsError, match="Another program listens there"):
            second.__enter__()
        with pytest.raises(RuntimeError, match="not running"):
            _ = second.port


# The host's own


@pytest.fixture
def process_wide() -> Iterator[None]:
    """What belongs to the process is the same before and after."""

    def state() -> tuple[object, ...]:
        root = logging.getLogger()
        ours = logging.getLogger("swellmq")
        return (
            {number: signal.getsignal(number) for number in signal.valid_signals()},
            signal.set_wakeup_fd(-1),
            (gc.isenabled(), gc.get_threshold(), gc.get_freeze_count()),
            resource.getrlimit(resource.RLIMIT_NOFILE),
            (list(root.handlers), root.level, list(ours.handlers), ours.level, ours.propagate),
            threading.active_count(),
            os.getcwd(),
            os.umask(os.umask(0o022)),
        )

    before = state()
    yield
    assert state() == before


def test_nothing_process_wide_is_touched(process_wide: None, clients: Clients) -> None:
    with Broker(quiet_settings()) as broker:
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        clients(broker, 5, "a").disconnect()


def test_nothing_process_wide_is_touched_in_asyncio(process_wide: None) -> None:
    async def main() -> None:
        async with Broker(quiet_settings()) as broker:
            await broker.publish("t")

    asyncio.run(main())


def test_starting_is_quick() -> None:
    took_ms = []
    for _ in range(5):
        begin = time.perf_counter()
        with Broker(Settings(port=0)):
            took_ms.append((time.perf_counter() - begin) * 1000)
    assert statistics.median(took_ms) < (50 if compiled() else 100), took_ms
