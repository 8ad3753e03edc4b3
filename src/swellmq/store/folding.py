"""The fold as a process: started when files of the journal are closed, or messages are to be read back; looked after.

Its work is in `fold.py`. What it has folded is deleted here, in the broker, so that a file is only ever deleted by the
one that writes them.

A fold has time, and where the broker has one core it takes it from the loop. A low priority is not enough there: a
scheduler that is fair lets whoever runs go on until the next tick, 4 ms later, also where a client's message has woken
the loop meanwhile. So a fold rests often, unless it is behind (`fold.Pace`), and before each module while it starts. To
start Python takes a tenth of a second all the same: so the process stays while there is work for it now and then.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from typing import Final, final

from mypy_extensions import i64, mypyc_attr

from swellmq.broker.session import Delivery, Session
from swellmq.broker.storage import Fetched
from swellmq.limits import SEGMENT_BYTES
from swellmq.store.records import (
    ANSWER_BYTES,
    DONE,
    PATIENT,
    READ,
    READ_BACK,
    READ_HEAD,
    RUN_HEAD,
    deliveries_of,
)

log: Final = logging.getLogger("swellmq.store")

FOLD_RETRY_S: Final = 30.0  # between two tries at a fold that fails
IDLE_S: Final = 10.0  # a process that has had nothing to do for so long ends
NICE: Final = 10  # of a fold: the loop goes first
FOLD_PATIENCE_BYTES: Final = 4 * SEGMENT_BYTES  # more of closed files is folded without rests: a start has to read it
FOLD_CODE: Final = "import sys; from swellmq.store.fold import child; sys.exit(child())"
# What has a process sleep for 0.1 ms before it imports a module: a finder of modules that finds none.
REST_CODE: Final = """\
import sys, time
class Rests:
    find_spec = lambda *about: time.sleep(0.000_1)
sys.meta_path.insert(0, Rests)
"""


@final
@mypyc_attr(native_class=True)
class Fetch:
    """The queued messages of one session, by their numbers from `first` on and below `end`."""

    def __init__(self, session: Session, number: i64, first: i64, end: i64) -> None:
        self.session = session
        self.number: i64 = number
        self.first: i64 = first
        self.end: i64 = end


@mypyc_attr(native_class=True, allow_interpreted_subclasses=True)
class FoldProcess:
    """The process in which `fold.py` works: one run of it at a time. A test stands in for it."""

    def __init__(self, folder: str, lock_fd: int) -> None:
        self.folder = folder
        self.lock_fd = lock_fd
        self.process: subprocess.Popen[bytes] | None = None
        self.stays: bool = False  # for further runs, where this one succeeds
        self.answer: bytes | None = None  # to the run that is under way
        self.idle_since_s: float = 0.0  # monotonic; 0: a run is under way

    def start(self, arguments: list[str]) -> None:
        """Begin a run. Raises OSError where there can't be one."""
        first = any(word.startswith(READ) for word in arguments)  # clients wait: at a priority as good as the loop's
        self.idle_since_s = 0.0
        self.answer = None
        if self.process is not None and not first and self._tell(self.process, arguments):
            return
        self.kill()
        self.process = process = self._spawn(FOLD_CODE if first else REST_CODE + FOLD_CODE)
        self.stays = not first
        try:
            if not first:  # and before it has imported anything
                os.setpriority(os.PRIO_PROCESS, process.pid, min(19, os.getpriority(os.PRIO_PROCESS, 0) + NICE))
            if not self._tell(process, arguments):
                raise OSError(0, "the process that folds has ended at once")
        except OSError:
            self.kill()
            raise

    def _spawn(self, code: str) -> subprocess.Popen[bytes]:
        package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        environment = dict(os.environ)
        environment["PYTHONPATH"] = os.pathsep.join([package, environment.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        # The lock goes with it: no other broker may use the folder before it has ended.
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", code, self.folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[self.lock_fd],
            env=environment,
        )
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        return process

    def _tell(self, process: subprocess.Popen[bytes], arguments: list[str]) -> bool:
        """Give the process a run; whether it was there to take it."""
        assert process.stdin is not None
        words = b"\0".join([os.fsencode(word) for word in arguments])
        try:
            process.stdin.write(RUN_HEAD.pack(len(words)) + words)
            process.stdin.flush()
        except BrokenPipeError:
            return False
        return True

    def running(self) -> bool:
        """Whether the run is still under way."""
        process = self.process
        if process is None or self.answer is not None:
            return False
        assert process.stdout is not None
        try:
            self.answer = os.read(process.stdout.fileno(), ANSWER_BYTES)
        except BlockingIOError:
            return True
        return False

    def result(self) -> str:
        """Why the run that has ended has failed; empty: it has done its work."""
        process = self.process
        assert process is not None
        answer = self.answer
        if answer and self.stays:
            self.idle_since_s = time.monotonic()
        else:
            self.process = None
            _, told = process.communicate()  # it ends where its commands end
            if not answer:
                return told.decode(errors="replace").strip()[-500:] or f"exit code {process.returncode}"
        return "" if answer == DONE else answer.decode(errors="replace")

    def idle(self) -> bool:
        """Whether it is there and has nothing to do."""
        return self.process is not None and self.idle_since_s > 0

    def rest(self) -> None:
        """End the process where it has had nothing to do for long."""
        if self.idle() and time.monotonic() - self.idle_since_s >= IDLE_S:
            self.kill()

    def kill(self) -> None:
        """End the run, wherever it is: what it has committed stays, and the rest is done by the next one."""
        process = self.process
        self.process = None
        self.idle_since_s = 0.0
        if process is not None:
            process.kill()
            process.communicate()


@final
@mypyc_attr(native_class=True)
class Folding:
    """What is to be folded into the database and to be read back, and the process that does it."""

    def __init__(self, folder: str, process: FoldProcess) -> None:
        self.folder = folder
        self.process = process
        self.closed: list[str] = []  # files that wait to be folded
        self.under_way: list[str] = []
        self.bytes_under_way: int = 0
        self.wanted: list[Fetch] = []  # to be read back once all that is closed is folded
        self.reading: list[Fetch] = []
        self.fetched: list[Fetched] = []  # what was read
        self.not_before_s: float = 0.0
        self.bytes: int = 0  # of the files that are closed or under way
        self.behind_since_s: float = 0.0  # monotonic: since when there is something to fold; 0: there is not

    def add(self, path: str, size: int) -> None:
        """A file of the journal is closed, and is to be folded."""
        self.closed.append(path)
        self.bytes += size
        if not self.behind_since_s:
            self.behind_since_s = time.monotonic()

    def behind_s(self) -> float:
        """For how long closed files have waited, of which the fold under way may have done most."""
        since_s = self.behind_since_s
        return time.monotonic() - since_s if since_s else 0.0

    def busy(self) -> bool:
        """Whether a run was begun whose end we have not seen."""
        return bool(self.under_way or self.reading)

    def look(self) -> None:
        """See whether the run has ended, and begin one where files wait."""
        if self.busy():
            if not self.process.running():
                self._ended(self.process.result())
            elif self.wanted and not self.reading:
                self._give_way()
            else:
                return
        if self.wanted or (self.closed and time.monotonic() >= self.not_before_s):
            self._start()
        else:
            self.process.rest()

    def _start(self) -> None:
        self.under_way = self.closed
        self.bytes_under_way = self.bytes
        self.closed = []
        self.reading = self.wanted
        self.wanted = []
        wanted = [f"{READ}{int(one.number)}:{int(one.first)}:{int(one.end)}" for one in self.reading]
        if not wanted and self.bytes <= FOLD_PATIENCE_BYTES:
            wanted = [PATIENT]
        try:
            self.process.start([*wanted, *self.under_way])
        except OSError as error:
            self._failed(error.strerror or "no process")

    def _give_way(self) -> None:
        """Clients wait: a fold that has time is begun anew with what they wait for, and goes first."""
        self.process.kill()
        self.closed = self.under_way + self.closed
        self.under_way = []

    def _ended(self, why: str) -> None:
        if why:
            self._failed(why)
            return
        if self.reading:
            self._take_read()
        for path in self.under_way:
            try:
                os.unlink(path)
            except OSError as error:
                log.warning("%s is folded but can't be deleted: %s", path, error.strerror)
        self.bytes -= self.bytes_under_way
        self.under_way = []
        self.behind_since_s = time.monotonic() if self.closed else 0.0

    def _take_read(self) -> None:
        """Take what the process has read, each session's in pieces that do not keep the loop waiting."""
        path = os.path.join(self.folder, READ_BACK)
        found: dict[int, list[Delivery]] = {}
        try:
            with open(path, "rb") as file:
                while head := file.read(READ_HEAD.size):
                    number, length = READ_HEAD.unpack(head)
                    found.setdefault(number, []).extend(deliveries_of(file.read(length)))
                    time.sleep(0)  # the loop may want the interpreter
            os.unlink(path)
        except OSError as error:
            log.error("messages can't be read back: %s: %s", path, error.strerror)
            self.give_up_reading()
            return
        for fetch in self.reading:
            self.fetched.append(Fetched(fetch.session, found.get(int(fetch.number), [])))
        self.reading = []

    def give_up_reading(self) -> None:
        """What was to be read can't be."""
        for fetch in self.reading + self.wanted:
            self.fetched.append(Fetched(fetch.session, None))
        self.reading = []
        self.wanted = []

    def _failed(self, why: str) -> None:
        self.give_up_reading()
        log.error("the journal can't be folded into the database, and grows meanwhile: %s", why)
        self.closed = self.under_way + self.closed
        self.under_way = []
        self.not_before_s = time.monotonic() + FOLD_RETRY_S
