"""What the tests of `swellmq pub` and `swellmq sub` share: commands as processes, and a broker to run them on."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Final, Self

import pytest

import swellmq.codec
from swellmq.codec import spec
from swellmq.codec.encode import encode_publish
from swellmq.codec.packets import Publish

TIMEOUT_S: Final = 20.0  # for anything that should come at once
SEARCH_PATH: Final = os.environ.get("PATH", "") + os.pathsep + "/usr/sbin"  # where Debian has mosquitto


class Process:
    """A command under test; it is killed at the end of the `with` block if it still runs."""

    def __init__(self, command: list[str], stdout: int | None = subprocess.PIPE) -> None:
        # The build of this process is the build under test, wherever it was imported from.
        source = str(Path(swellmq.codec.__file__).parents[2])
        environment = {**os.environ, "PYTHONPATH": source, "SWELLMQ_PASSWORD": "from-environment"}
        pipe = subprocess.PIPE
        # Without buffers of ours, so that a line can be read before `communicate` reads the rest.
        self.popen = subprocess.Popen(command, bufsize=0, stdin=pipe, stdout=stdout, stderr=pipe, env=environment)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.popen.kill()
        self.popen.communicate()

    def wait_for(self, word: str) -> None:
        """Read standard error up to the line that ends with `word`."""
        assert self.popen.stderr is not None
        seen = []
        for line in self.popen.stderr:
            if line.decode().endswith(word + "\n"):
                return
            seen.append(line)
        raise AssertionError(f"ended without {word!r}: {seen}")

    def read_line(self) -> bytes:
        assert self.popen.stdout is not None
        return self.popen.stdout.readline()

    def end(self, given: bytes = b"") -> tuple[int, bytes, str]:
        """Exit code, standard output and standard error, once it has ended by itself."""
        stdout, stderr = self.popen.communicate(given, timeout=TIMEOUT_S)
        return self.popen.returncode, stdout or b"", stderr.decode()


def swellmq_command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "swellmq", *arguments]


def run(command: list[str], given: bytes = b"") -> tuple[int, bytes, str]:
    with Process(command) as process:
        return process.end(given)


class Broker:
    """A broker under test, and the arguments that lead a client to it."""

    def __init__(self, port: int) -> None:
        self.at = ["-h", "127.0.0.1", "-p", str(port)]

    def pub(self, *arguments: str, given: bytes = b"") -> None:
        assert run(swellmq_command("pub", *self.at, *arguments), given) == (0, b"", "")

    def mosquitto_pub(self, *arguments: str) -> None:
        assert run([tool("mosquitto_pub"), *self.at, *arguments]) == (0, b"", "")

    def sub(self, *arguments: str) -> Process:
        """A running `swellmq sub` that is subscribed."""
        process = Process(swellmq_command("sub", *self.at, "-d", *arguments))
        process.wait_for("subscribed")
        return process

    def mosquitto_sub(self, topic: str, *arguments: str) -> Process:
        """A running `mosquitto_sub` that is subscribed: a retained message tells, as it has been printed."""
        self.mosquitto_pub("-t", "ready/" + topic, "-m", "ready", "-r")
        process = Process([tool("mosquitto_sub"), *self.at, "-t", topic, "-t", "ready/" + topic, *arguments])
        assert b"ready" in process.read_line()
        return process


def tool(name: str) -> str:
    """The path of a program of mosquitto; without it the test is skipped, and fails in CI."""
    path = shutil.which(name, path=SEARCH_PATH)
    if path is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{name} is not installed (Debian: mosquitto)")
    return path


def start_mosquitto(*settings: str) -> tuple[subprocess.Popen[str], int]:
    """A mosquitto on a free port, listening."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    command = [tool("mosquitto"), "-p", str(port), *settings]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    running = threading.Event()

    def read_log() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            if line.endswith(" running\n"):
                running.set()

    threading.Thread(target=read_log, daemon=True).start()
    assert running.wait(TIMEOUT_S)
    return process, port


def message(payload: bytes, qos: int, packet_identifier: int = 0, dup: bool = False) -> bytes:
    return encode_publish(Publish(b"a", payload, qos, False), spec.MQTT_5_0, qos, False, dup, packet_identifier)
