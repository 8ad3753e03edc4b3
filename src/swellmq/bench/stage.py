"""A broker with a fleet of clients that are only there: over TCP, or in memory.

Over TCP each broker and each fleet is a process, one beside the other as often as asked for, so that one fleet can be
larger than what one process may open. In memory (`memory_transport.py`) both are one process without sockets.
"""

from __future__ import annotations

import os
import re
import signal
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final

from swellmq.bench import BenchError
from swellmq.bench.brokers import TICKS_PER_SECOND, Broker, Running
from swellmq.bench.footprint import process_memory, socket_memory
from swellmq.bench.generator import BLOCK
from swellmq.bench.machine import Machine, kernel_bytes
from swellmq.bench.worker import Worker

GIVE_UP_S: Final = 30.0  # a broker that has not seen so long that its clients are gone
LOOK_S: Final = 0.01  # between two looks at a broker that can't be waited for otherwise
MEMORY_FIGURES: Final = (
    *("active", "capacity", "idle", "overflow"),
    *("turn_longest_us", "slice_longest_us", "step_longest_us", "collection_us"),
)
STATUS: Final = "[STATUS] "
POOL: Final = "[POOL] "


class Log:
    """The log of a swellmq that runs, read as it grows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.read = 0

    def lines(self) -> list[str]:
        """The lines that are new since the last call, each from its first bracket on."""
        with self.path.open("rb") as file:
            file.seek(self.read)
            new = file.read()
        new = new[: new.rfind(b"\n") + 1]  # one that is half written comes next time
        self.read += len(new)
        return [line[line.find("[") :] for line in new.decode(errors="replace").splitlines()]


class Stage:
    """A broker and its clients, in a `with` statement. What it holds is read from outside while nothing moves."""

    def __init__(self) -> None:
        self.stack = ExitStack()
        self.events: list[str] = []  # of the pool, as it logs them; whoever reads them clears them

    def __enter__(self) -> Stage:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stack.__exit__(kind, error, trace)

    def arrive(self, connections: int, at_once: int = BLOCK, rate: int = 0) -> int:
        """Let clients connect until there are `connections`; how many microseconds that took."""
        raise NotImplementedError

    def cut(self) -> None:
        """Take all clients away at once, and wait until the broker has seen it."""
        raise NotImplementedError

    def figures(self) -> dict[str, int]:
        """Memory in bytes, and what the pool says of itself where there is one."""
        raise NotImplementedError

    def cpu_us(self) -> int:
        """The CPU time the broker has taken."""
        raise NotImplementedError


class TcpStage(Stage):
    """Brokers of one kind with as many fleets; a client counts among all of them."""

    def __init__(
        self, broker: Broker, machine: Machine, subscribe: bool, five: bool, processes: int, options: list[str]
    ) -> None:
        super().__init__()
        self.is_ours = broker.name.startswith("swellmq")
        if self.is_ours:
            broker = replace(broker, command=[*broker.command, *options])
        words = [str(int(subscribe)), str(int(five))]
        with ExitStack() as stack:
            self.brokers = [stack.enter_context(Running(broker, machine.broker_core)) for _ in range(processes)]
            self.fleets = [
                stack.enter_context(Worker("swellmq.bench.fleet", [str(one.port), *words], machine.load_core))
                for one in self.brokers
            ]
            self.stack = stack.pop_all()
        self.logs = [Log(one.log_path) for one in self.brokers]
        self.shares = [0] * processes
        self._settle()
        self.files = [_open_files(one.pid) for one in self.brokers]

    def arrive(self, connections: int, at_once: int = BLOCK, rate: int = 0) -> int:
        """As in Stage; the time is that of the slowest fleet."""
        count = len(self.fleets)
        self.shares = [connections * (index + 1) // count - connections * index // count for index in range(count)]
        for fleet, share in zip(self.fleets, self.shares, strict=True):
            fleet.send("arrive", share, at_once, rate)
        return max(fleet.receive()["us"] for fleet in self.fleets)

    def cut(self) -> None:
        """As in Stage. A broker has seen it when it has closed its side."""
        for fleet in self.fleets:
            fleet.send("cut")
        for fleet in self.fleets:
            fleet.receive()
        self.shares = [0] * len(self.brokers)
        give_up = time.monotonic() + GIVE_UP_S
        for one, files in zip(self.brokers, self.files, strict=True):
            while _open_files(one.pid) > files:
                if time.monotonic() > give_up:
                    raise BenchError(f"{one.broker.name} keeps connections open that are gone: {one.log()}")
                time.sleep(LOOK_S)

    def figures(self) -> dict[str, int]:
        """As in Stage, summed over the brokers; `kernel_bytes` is the whole machine's, for both ends of all sockets."""
        figures = {"kernel_bytes": kernel_bytes(), **socket_memory()}
        for one in self.brokers:
            for name, value in process_memory(one.pid).items():
                figures[name] = figures.get(name, 0) + value
        for status in self._settle():
            for name, value in status.items():
                figures[name] = figures.get(name, 0) + value
        return figures

    def cpu_us(self) -> int:
        """As in Stage, in steps of a clock tick."""
        return sum(one.cpu_ticks() for one in self.brokers) * 1_000_000 // TICKS_PER_SECOND

    def _settle(self) -> list[dict[str, int]]:
        """What each swellmq says of its pool once it serves as many as there are; nothing of other brokers."""
        if not self.is_ours:
            return []
        return [self._status(*each) for each in zip(self.brokers, self.logs, self.shares, strict=True)]

    def _status(self, running: Running, log: Log, expected: int) -> dict[str, int]:
        give_up = time.monotonic() + GIVE_UP_S
        while True:
            os.kill(running.pid, signal.SIGUSR1)
            status = self._answer(log, give_up)
            if status["active"] == expected:
                return status
            if time.monotonic() > give_up:
                raise BenchError(f"the broker counts {status['active']} connections, but there are {expected}")
            time.sleep(LOOK_S)

    def _answer(self, log: Log, give_up: float) -> dict[str, int]:
        """The status line that SIGUSR1 brings, once the self-check that follows it has found nothing wrong."""
        status: dict[str, int] = {}
        while time.monotonic() < give_up:
            for line in log.lines():
                if line.startswith(STATUS):
                    status = {name: int(value) for name, value in re.findall(r"(\w+) (\d+)(?=,)", line)}
                elif line == POOL + "Self-check: nothing wrong" and status:
                    return {name: status[name] for name in ("active", "capacity", "idle", "overflow")}
                elif line.startswith(POOL + "Self-check"):
                    raise BenchError(f"the pool is in disorder: {line}")
                elif line.startswith(POOL):
                    self.events.append(line.removeprefix(POOL))
            time.sleep(LOOK_S)
        raise BenchError("the broker does not answer SIGUSR1 with a status line")


class MemoryStage(Stage):
    """swellmq without sockets, driven in its own process."""

    def __init__(self, broker: Broker, machine: Machine, subscribe: bool, five: bool, options: list[str]) -> None:
        super().__init__()
        if not broker.name.startswith("swellmq"):
            raise BenchError(f"{broker.name} runs over TCP only: leave it out with --brokers swellmq")
        words = [str(int(subscribe)), str(int(five)), *options]
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="swellmq-bench-")))
            log = folder / "log"
            worker = Worker("swellmq.bench.memory_transport", words, machine.broker_core, broker.environment, log)
            self.worker = stack.enter_context(worker)
            self.answer = self.worker.ask("arrive", 0)
            self.stack = stack.pop_all()
        self.cpu_total_us = 0
        self.log = Log(log)

    def arrive(self, connections: int, at_once: int = BLOCK, rate: int = 0) -> int:
        """As in Stage, but always as many at once as the loop accepts in a turn."""
        self._ask("arrive", connections)
        return self.answer["us"]

    def cut(self) -> None:
        """As in Stage."""
        self._ask("cut")

    def _ask(self, *words: object) -> None:
        self.answer = self.worker.ask(*words)
        self.cpu_total_us += self.answer["cpu_us"]
        if self.answer["faults"]:
            raise BenchError(f"the pool's self-check finds {self.answer['faults']} faults")
        self.events += [line.removeprefix(POOL) for line in self.log.lines() if line.startswith(POOL)]

    def figures(self) -> dict[str, int]:
        """As in Stage, and in microseconds the longest turn, slice and step of growth, and a full collection."""
        return {**process_memory(self.worker.pid), **{name: self.answer[name] for name in MEMORY_FIGURES}}

    def cpu_us(self) -> int:
        """As in Stage, this driver's own included."""
        return self.cpu_total_us


def _open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))
