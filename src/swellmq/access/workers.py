"""A few threads for what must not run in the loop: hashing passwords, asking other servers.

The queue is bounded, and the threads run at a lower priority than the loop, so that a storm of logins takes the time
that traffic leaves.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final, final

from mypy_extensions import mypyc_attr

log: Final = logging.getLogger("swellmq.access")

NICENESS: Final = 10  # of the threads that compute; the loop's is 0


@final
@mypyc_attr(native_class=True)
class Workers:
    """`threads` threads, started when the first job comes, and a queue of at most `queue_max` jobs."""

    def __init__(self, name: str, threads: int, queue_max: int, patience_s: float) -> None:
        self.name = name
        self.threads_max = threads  # more may be allowed later; fewer counts for those that are still to be started
        self.queue_max = queue_max
        self.patience_s = patience_s  # a job that has waited for longer is dropped: nobody waits for its result
        self.threads: list[threading.Thread] = []
        self.jobs: deque[tuple[float, Callable[[], None]]] = deque()
        self.ready = threading.Condition()
        self.idle = 0
        self.closing = False
        self.refused = 0  # jobs for which the queue had no place
        self.dropped = 0  # jobs that came too late

    def submit(self, job: Callable[[], None]) -> bool:
        """Have `job` run by a thread; False where too many wait already. From the loop's thread."""
        with self.ready:
            if self.closing or len(self.jobs) >= self.queue_max:
                self.refused += 1
                return False
            self.jobs.append((time.monotonic() + self.patience_s, job))
            if self.idle < len(self.jobs) and len(self.threads) < self.threads_max:
                name = f"swellmq-{self.name}-{len(self.threads)}"
                thread = threading.Thread(target=self._run, name=name, daemon=True)
                self.threads.append(thread)
                thread.start()
            else:
                self.ready.notify()
        return True

    def _run(self) -> None:
        try:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)  # on Linux: of this thread alone
        except OSError:
            pass  # a system that does not allow it: the queue is bounded all the same
        while True:
            with self.ready:
                while not self.jobs and not self.closing:
                    self.idle += 1
                    self.ready.wait()
                    self.idle -= 1
                if self.closing:
                    return
                until, job = self.jobs.popleft()
            if time.monotonic() > until:
                self.dropped += 1
                continue
            try:
                job()
            except Exception:
                log.exception("a bug of ours in a worker thread")

    def close(self) -> None:
        """Forget what waits, and let the threads end once their job is done."""
        with self.ready:
            self.closing = True
            self.jobs.clear()
            self.ready.notify_all()

    def waiting(self) -> int:
        """How many jobs wait."""
        return len(self.jobs)
