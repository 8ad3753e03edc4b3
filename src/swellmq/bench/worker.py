"""A helper process of a measurement: told what to do by lines on its stdin, it answers by lines on its stdout.

This is the side that tells; `obey.py` is the other, with what the lines look like.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Final

from swellmq.bench import BenchError
from swellmq.bench.obey import FAILED

STOP_S: Final = 30.0


class Worker:
    """A module of this package as a process, in a `with` statement: `python -m MODULE WORDS...`.

    `send` and `receive` are apart so that several workers can be busy at the same time; `ask` is both. What the process
    writes to stderr goes to the file `log`, or to ours.
    """

    def __init__(
        self,
        module: str,
        words: list[str],
        core: int,
        environment: dict[str, str] | None = None,
        log: Path | None = None,
    ) -> None:
        self.command = [sys.executable, "-P", "-m", module, *words]
        self.core = core
        self.environment = environment
        self.log = log

    def __enter__(self) -> Worker:
        core = self.core
        stderr = self.log.open("wb") if self.log else None
        try:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                env=self.environment,
                preexec_fn=lambda: os.sched_setaffinity(0, {core}),
            )
        finally:
            if stderr is not None:
                stderr.close()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            self.process.stdin.close()  # it ends where its commands end
        except BrokenPipeError:
            pass  # it has ended before
        try:
            self.process.wait(0 if error is not None else STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def send(self, *words: object) -> None:
        """Give it a command. Raises BenchError where it has ended."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(" ".join(str(word) for word in words) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError as error:
            raise BenchError(f"{self.command[3]} has ended before it was told: {words[0]}") from error

    def receive(self) -> dict[str, int]:
        """Wait for its answer to a command. Raises BenchError where it failed or has ended."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if line.startswith(FAILED):
            raise BenchError(line.removeprefix(FAILED).strip())
        if not line:
            raise BenchError(f"{self.command[3]} has ended instead of answering, with exit code {self.process.wait()}")
        return {name: int(value) for name, value in (word.split("=") for word in line.split())}

    def ask(self, *words: object) -> dict[str, int]:
        """Give it a command and wait for the answer."""
        self.send(*words)
        return self.receive()
