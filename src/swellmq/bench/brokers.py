"""Brokers as processes: how each is found, started, pinned to its core, measured and stopped."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Final

from swellmq.bench import BenchError

PACKAGE: Final = Path(__file__).resolve().parent.parent
NAMES: Final = ("swellmq", "swellmq-interpreted", "mosquitto", "amqtt", "iotcore", "floor")
START_S: Final = 15.0
STOP_S: Final = 10.0
TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")

# As swellmq's defaults: nothing kept, no limit on what waits that a load would reach, 1,024 messages in flight, and no
# log line for each connection.
MOSQUITTO_CONF: Final = """\
listener {port} 127.0.0.1
allow_anonymous true
max_queued_messages 0
max_inflight_messages 1024
log_type error
"""
AMQTT_CONF: Final = """\
listeners:
  default:
    type: tcp
    bind: 127.0.0.1:{port}
    max_connections: 50000
plugins:
  amqtt.plugins.authentication.AnonymousAuthPlugin:
    allow_anonymous: true
"""
FLOOR_VERSION: Final = "floor: a relay in C that does nothing else"
FLOOR_SCENARIOS: Final = ("pair", "fan-out", "fan-in", "qos1", "clients", "ping-pong")


class BrokerError(BenchError):
    """A broker that is not there, or does not start."""


@dataclass(frozen=True)
class Broker:
    """A broker that can be started; `version` is what it says of itself.

    In the command `{port}` stands for the port, and `{conf}` for a file with the text of `configuration`, in which the
    port is put too.
    """

    name: str
    command: list[str]
    environment: dict[str, str]
    version: str
    configuration: str = ""
    scenarios: tuple[str, ...] = ()  # the only ones it can do; empty: any


def find_broker(name: str) -> Broker:
    """Look a broker up by its name. Raises BrokerError with the remedy where it is missing."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SWELLMQ_")}
    if name == "mosquitto":
        path = _find_program(name, "Debian: apt-get install mosquitto", "/usr/sbin")  # where Debian puts it
        version = _first_line(path, "-h").replace(" version", "")
        return Broker(name, [path, "-c", "{conf}"], environment, version, MOSQUITTO_CONF)
    if name == "amqtt":
        path = _find_program(name, "pip install amqtt, into an environment whose bin folder is in PATH")
        return Broker(name, [path, "-c", "{conf}"], environment, "amqtt " + _first_line(path, "--version"), AMQTT_CONF)
    if name == "iotcore":
        path = _find_program(name, "pip install iotcore, into an environment whose bin folder is in PATH")
        command = [path, "--listen", "127.0.0.1", "--port", "{port}", "--log-level", "CRITICAL"]
        return Broker(name, command, environment, _first_line(path, "--version"))
    if name == "floor":
        return Broker(name, [str(_build_floor()), "{port}"], environment, FLOOR_VERSION, scenarios=FLOOR_SCENARIOS)
    if name == "swellmq-interpreted":
        environment["PYTHONPATH"] = _sources().name
    command = [sys.executable, "-P", "-m", "swellmq"]
    told = subprocess.run([*command, "--version"], capture_output=True, text=True, env=environment)
    if told.returncode:
        raise BrokerError(f"{name} does not start: {_last_line(told.stderr)}")
    return Broker(name, [*command, "serve", "--port", "{port}"], environment, told.stdout.strip())


def command_broker(text: str) -> Broker:
    """A broker from `NAME=COMMAND`, where `{port}` in the command stands for the port. Raises BrokerError."""
    name, equals, command = text.partition("=")
    if not name or not equals or "{port}" not in command:
        raise BrokerError(f"{text!r} is not NAME=COMMAND with {{port}} in the command")
    return Broker(name, shlex.split(command), dict(os.environ), f"{name}: {command}")


def _find_program(name: str, remedy: str, *folders: str) -> str:
    """The path of a program, also beside the Python that runs. Raises BrokerError where it is not there."""
    places = [os.environ.get("PATH", ""), str(Path(sys.executable).parent), *folders]
    path = shutil.which(name, path=":".join(places))
    if path is None:
        raise BrokerError(f"{name} is not installed ({remedy}), so it is left out")
    return path


def _first_line(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True).stdout.partition("\n")[0]


@cache
def _build_floor() -> Path:
    """Compile the relay without features. Raises BrokerError where no C compiler is there."""
    compiler = shutil.which(os.environ.get("CC", "gcc"))
    if compiler is None:
        raise BrokerError("floor needs a C compiler (Debian: apt-get install gcc libc6-dev), so it is left out")
    folder = _temporary_folder("floor")
    target = Path(folder.name, "floor")
    command = [compiler, "-O3", "-Wall", "-o", str(target), str(PACKAGE / "bench" / "floor.c")]
    told = subprocess.run(command, capture_output=True, text=True)
    if told.returncode:
        raise BrokerError(f"floor does not compile: {_last_line(told.stderr)}")
    return target


@cache
def _temporary_folder(name: str) -> tempfile.TemporaryDirectory[str]:
    """A folder that is gone when this process ends."""
    return tempfile.TemporaryDirectory(prefix=f"swellmq-bench-{name}-")


@cache
def _sources() -> tempfile.TemporaryDirectory[str]:
    """A folder with the package without its compiled modules."""
    folder = _temporary_folder("interpreted")
    shutil.copytree(PACKAGE, Path(folder.name, PACKAGE.name), ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    return folder


class Running:
    """A broker's process, in a `with` statement; it has stopped when that is left."""

    def __init__(self, broker: Broker, core: int | None = None) -> None:
        self.broker = broker
        self.core = core
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Running:
        self.folder = tempfile.TemporaryDirectory(prefix="swellmq-bench-")
        self.port = _free_port()
        conf = Path(self.folder.name, "conf")
        conf.write_text(self.broker.configuration.replace("{port}", str(self.port)))
        command = [word.format(port=self.port, conf=conf) for word in self.broker.command]
        try:
            self._start(command)
            self._wait_until_listening()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _wait_until_listening(self) -> None:
        give_up = time.monotonic() + START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1.0).close()
                return
            except OSError as error:
                try:
                    self._running().wait(0.01)  # the only event to wait for is its end
                except subprocess.TimeoutExpired:
                    if time.monotonic() < give_up:
                        continue
                raise BrokerError(f"{self.broker.name} does not listen on port {self.port}: {self.log()}") from error

    def _start(self, command: list[str]) -> None:
        own_cores = os.sched_getaffinity(0)
        with _uninterrupted() as own_mask, Path(self.folder.name, "log").open("wb") as log:
            if self.core is not None:
                os.sched_setaffinity(0, {self.core})  # for a moment: the child inherits it
            try:
                self.process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=self.broker.environment,
                    preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, own_mask),
                )
            finally:
                os.sched_setaffinity(0, own_cores)

    def _stop(self) -> None:
        with _uninterrupted():
            if self.process is not None:
                self.process.terminate()
                try:
                    self.process.wait(STOP_S)
                except subprocess.TimeoutExpired:
                    self.process.kill()
                    self.process.wait()
            self.folder.cleanup()

    def _running(self) -> subprocess.Popen[bytes]:
        assert self.process is not None, "not started"
        return self.process

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._running().pid

    @property
    def log_path(self) -> Path:
        """Where it logs to, until it is stopped."""
        return Path(self.folder.name, "log")

    def log(self) -> str:
        """The last line of its log."""
        return _last_line(self.log_path.read_text(errors="replace"))

    def cpu_ticks(self) -> int:
        """The CPU time it has taken, user and system, in clock ticks."""
        fields = Path(f"/proc/{self._running().pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    def resident_bytes(self) -> int:
        """Its resident memory."""
        return int(Path(f"/proc/{self._running().pid}/statm").read_text().split()[1]) * PAGE_BYTES


@contextmanager
def _uninterrupted() -> Iterator[set[int]]:
    """Put signals off, so that none comes between a process and the note that it is there; gives the mask before."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield set(mask)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    return port


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "it says nothing"
