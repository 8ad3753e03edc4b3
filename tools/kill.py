"""Kills a broker with SIGKILL at random moments under load, starts it again, and counts: `make kill ROUNDS=1000`.

Publishers send numbered messages at QoS 1 and 2; some subscribers stay, some come and go or take over from themselves,
some are away until the end. Mortals only leave wills, and one client subscribes and unsubscribes all the time. All have
kept sessions. After each `--check-every` rounds everybody comes back, and it is counted for each pair:

- every number that was acknowledged has arrived (PUBACK, or PUBREC: then the broker has taken the message over);
- no number of QoS 2 came twice;
- numbers came in order (of QoS 1 each for the first time: repetitions are allowed there);
- the will of each connection that was acknowledged and lost has arrived, once;
- a subscription that was acknowledged is there, and one whose end was acknowledged is not;
- no session and no retained message was lost.

Exit code 0: nothing was found. The seed of a run that failed is printed; the moments of the kills depend on the machine
all the same.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import random
import shlex
import shutil
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from kill_clients import Client, Fickle, Mortal, Publisher, Subscriber, packet, text

START_S = 30.0
DRAIN_S = 60.0
SERVE = [sys.executable, "-m", "swellmq", "serve"]


class Rounds:
    """One broker's many lives, and the clients that outlive it."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.random = random.Random(arguments.seed)
        self.port = free_port()
        self.process: asyncio.subprocess.Process | None = None
        self.publishers = [Publisher(f"p{index}", 1 + index % 2, self.port) for index in range(arguments.publishers)]
        self.stay = [Subscriber(f"stays{index}", self.port) for index in range(2)]
        self.flap = [Subscriber(f"flaps{index}", self.port) for index in range(2)]
        self.away = [Subscriber(f"away{index}", self.port) for index in range(2)]
        self.mortals = [Mortal(f"mortal{index}", self.port) for index in range(2)]
        self.fickle = Fickle("fickle", self.port)
        self.tasks: list[asyncio.Task[None]] = []
        self.restarts_s: list[float] = []
        self.acknowledged = 0
        self.received = 0

    @property
    def clients(self) -> list[Client]:
        return [*self.publishers, *self.mortals, self.fickle, *self.subscribers]

    @property
    def senders(self) -> list[Publisher | Mortal]:
        return [*self.publishers, *self.mortals]

    @property
    def subscribers(self) -> list[Subscriber]:
        return [*self.stay, *self.flap, *self.away]

    # The broker

    async def start(self) -> None:
        command = shlex.split(self.arguments.command) if self.arguments.command else SERVE
        options = {
            "--port": self.port,
            "--data": self.arguments.data,
            "--durability": self.arguments.durability,
            "--store.segment-bytes": self.arguments.segment_bytes,
            "--limits.waiting-bytes": self.arguments.waiting_bytes,
            "--limits.queued-messages": 10_000_000,
            "--limits.queued-bytes": 1 << 34,
            "--log-level": "warning",
            "--sys-interval-s": 0,
        }
        begin = time.monotonic()
        words = [str(word) for pair in options.items() for word in pair]
        self.process = await asyncio.create_subprocess_exec(*command, *words)
        while True:
            if self.process.returncode is not None:
                raise SystemExit(f"the broker ended by itself with {self.process.returncode}")
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.close()
                break
            if time.monotonic() - begin > START_S:
                raise SystemExit("the broker does not listen")
            await asyncio.sleep(0.01)
        self.restarts_s.append(time.monotonic() - begin)

    async def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        await self.process.wait()

    # The clients

    def spawn(self, client: Client, flaps: bool = False) -> None:
        async def live() -> None:
            while client.wanted:
                leaving = None
                if flaps:
                    end = client.leave if self.random.random() < 0.5 else client.abandon
                    leaving = asyncio.get_running_loop().call_later(self.random.uniform(0.01, 0.3), end)
                await client.run()
                if leaving is not None:
                    leaving.cancel()
                await asyncio.sleep(self.random.uniform(0.01, 0.1) if flaps else 0.005)

        client.wanted = True
        self.tasks.append(asyncio.create_task(live()))

    async def rest(self) -> None:
        """All clients leave."""
        for client in self.clients:
            client.wanted = False
            client.leave()
        await asyncio.gather(*self.tasks)
        self.tasks = []

    async def run(self) -> list[str]:
        """All rounds; what was found wrong. No broker is left behind, however it ends."""
        try:
            return await self.all_rounds()
        finally:
            if self.process is not None and self.process.returncode is None:
                await self.kill()

    async def all_rounds(self) -> list[str]:
        """The same, as long as nothing comes between."""
        faults: list[str] = []
        await self.start()
        await self.introduce()
        done = 0
        while done < self.arguments.rounds and not faults:
            some = min(self.arguments.check_every, self.arguments.rounds - done)
            for publisher in self.publishers:
                publisher.stopping = False
            for client in [*self.publishers, *self.stay]:
                self.spawn(client)
            self.fickle.quiet = False
            for client in [*self.flap, *self.mortals, self.fickle]:
                self.spawn(client, flaps=True)
            for _ in range(some):
                await asyncio.sleep(self.random.uniform(0.05, self.arguments.seconds))
                await self.kill()
                await self.start()
            done += some
            faults = await self.count()
            counts = f"{done} rounds, {self.acknowledged} acknowledged, {self.received} received"
            verdict = "; ".join(faults) or "nothing lost, doubled or out of order"
            print(f"{counts}, restart {max(self.restarts_s):.2f} s at the most: {verdict}", flush=True)
        return faults

    async def introduce(self) -> None:
        """Everybody makes a session and its subscriptions."""
        for publisher in self.publishers:
            publisher.stopping = True
        self.fickle.quiet = True
        for client in self.clients:
            self.spawn(client)
        await self.until(
            lambda: all(one.subscribed for one in self.subscribers) and all(one.known for one in self.clients)
        )
        await self.rest()

    async def until(self, done: object, limit_s: float = DRAIN_S) -> bool:
        """Wait for something that the clients' packets bring about."""
        give_up = time.monotonic() + limit_s
        while not done():  # type: ignore[operator]
            if time.monotonic() > give_up:
                return False
            await asyncio.sleep(0.01)
        return True

    async def count(self) -> list[str]:
        """Let everything arrive, and look at what did."""
        faults = [fault for client in self.clients for fault in client.faults]
        await self.rest()
        faults += await self.subscription_faults()
        for publisher in self.publishers:
            publisher.stopping = True
        for client in [*self.publishers, *self.subscribers]:
            self.spawn(client)
        if not await self.until(lambda: not any(publisher.under_way for publisher in self.publishers)):
            faults.append("a publisher gets no answer any more")
        await self.until(lambda: not self.missing(), DRAIN_S)
        faults += self.missing()
        await self.rest()
        for publisher in self.senders:
            self.acknowledged += len(publisher.acknowledged)
            for subscriber in self.subscribers:
                numbers = subscriber.received.get(publisher.client_id, [])
                self.received += len(numbers)
                faults += check(publisher, subscriber, numbers)
        faults += await self.retained_faults()
        for publisher in self.senders:
            publisher.acknowledged.clear()
        for subscriber in self.subscribers:
            subscriber.received.clear()
        return faults + [fault for client in self.clients for fault in client.faults]

    def missing(self) -> list[str]:
        """What was acknowledged and did not arrive."""
        found: list[str] = []
        for publisher in self.senders:
            for subscriber in self.subscribers:
                lost = publisher.acknowledged.difference(subscriber.received.get(publisher.client_id, ()))
                if lost:
                    names = f"{publisher.client_id} (QoS {publisher.qos}) to {subscriber.client_id}"
                    found.append(f"{names}: {len(lost)} lost, first {min(lost)}")
        return found

    async def subscription_faults(self) -> list[str]:
        """While it is away a message is published for each filter: those that are subscribed have to wait for it."""
        fickle = self.fickle
        sender = Sender(f"sender{time.monotonic_ns()}", self.port)
        for number in range(fickle.COUNT):
            sender.messages.append((f"f/{fickle.client_id}/{number}", f"fickle:{number}"))
        fickle.quiet = True
        fickle.received.clear()
        self.spawn(sender)
        if not await self.until(lambda: sender.answers == fickle.COUNT):
            return ["a publisher gets no answer"]
        wanted = {number for number, known in fickle.filters.items() if known}
        unwanted = {number for number, known in fickle.filters.items() if known is False}
        self.spawn(fickle)
        await self.until(lambda: wanted <= set(fickle.received.get("fickle", ())), 10.0)
        sender.wanted = False
        sender.leave()
        await self.rest()
        found = set(fickle.received.get("fickle", ()))
        return [
            *(f"the subscription to filter {number} is lost" for number in sorted(wanted - found)),
            *(f"the subscription to filter {number} is there, though it was ended" for number in unwanted & found),
        ]

    async def retained_faults(self) -> list[str]:
        """Each publisher's last retained message must be the last one that was acknowledged."""
        last = {one.client_id: max((n for n in one.acknowledged if n % 10 == 0), default=0) for one in self.publishers}
        watcher = RetainedWatcher(f"watcher{time.monotonic_ns()}", self.port)
        self.spawn(watcher)
        wanted = {name for name, number in last.items() if number}
        await self.until(lambda: wanted <= set(watcher.values), 10.0)
        watcher.wanted = False
        watcher.leave()
        await asyncio.gather(*self.tasks)
        self.tasks = []
        return [
            f"retained of {name}: {watcher.values.get(name, 0)} where {last[name]} was acknowledged"
            for name in wanted
            if watcher.values.get(name, 0) != last[name]
        ]


class RetainedWatcher(Subscriber):
    """Takes the retained messages."""

    def __init__(self, name: str, port: int) -> None:
        super().__init__(name, port)
        self.values: dict[str, int] = {}

    def on_connected(self) -> None:
        self.send(packet(0x82, b"\x00\x01\x00" + text("r/#") + b"\x00"))

    def on_packet(self, first: int, body: bytes) -> None:
        if first >> 4 == 3:
            length = int.from_bytes(body[:2], "big")
            name, _, number = body[3 + length :].decode().partition(":")
            self.values[name] = int(number)


class Sender(Client):
    """Publishes some messages at QoS 1, once."""

    def __init__(self, name: str, port: int) -> None:
        super().__init__(name, port)
        self.messages: list[tuple[str, str]] = []
        self.answers = 0

    def on_connected(self) -> None:
        for number, (topic_name, payload) in enumerate(self.messages, 1):
            self.send(packet(0x32, text(topic_name) + number.to_bytes(2, "big") + b"\0" + payload.encode()))

    def on_packet(self, first: int, body: bytes) -> None:
        self.answers += 1


def check(publisher: Publisher | Mortal, subscriber: Subscriber, numbers: list[int]) -> list[str]:
    """What is wrong with the numbers of one publisher that one subscriber received."""
    names = f"{publisher.client_id} (QoS {publisher.qos}) to {subscriber.client_id}"
    first_times = list(dict.fromkeys(numbers))
    faults: list[str] = []
    if publisher.qos == 2 and len(first_times) != len(numbers):
        faults.append(f"{names}: {len(numbers) - len(first_times)} doubled")
    if first_times != sorted(first_times):
        at = next(i for i in range(1, len(first_times)) if first_times[i] < first_times[i - 1])
        faults.append(f"{names}: out of order, {first_times[max(0, at - 3) : at + 3]}")
    return faults


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--check-every", type=int, default=10, help="rounds between two counts")
    parser.add_argument("--seconds", type=float, default=0.8, help="the longest life of a broker")
    parser.add_argument("--publishers", type=int, default=6)
    parser.add_argument("--durability", default="disk")
    parser.add_argument("--segment-bytes", type=int, default=262_144, help="small, so that folds are hit as well")
    parser.add_argument("--waiting-bytes", type=int, default=200_000, help="small, so that messages wait on disk only")
    parser.add_argument("--data", help="the data folder, which is kept; else one that is deleted")
    parser.add_argument("--command", help='another command than "swellmq serve"')
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    arguments = parser.parse_args()
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # it warns of writing to a socket that was reset
    folder = arguments.data
    if folder is None:
        folder = arguments.data = tempfile.mkdtemp(prefix="swellmq-kill-")
    print(f"seed {arguments.seed}, data in {folder}", flush=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    faults = asyncio.run(Rounds(arguments).run())
    if not faults:
        shutil.rmtree(folder, ignore_errors=True)
    for fault in faults:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
