"""How far a measurement is: a bar where rich is installed and stderr is a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING

from swellmq.bench import report

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID


class Progress:
    """One task that counts up to `total`, in a `with` statement."""

    def __init__(self, title: str, total: int) -> None:
        self.title = title
        self.total = total
        self.bar: Bar | None = None
        self.task: TaskID | None = None

    def __enter__(self) -> Progress:
        if sys.stderr.isatty():
            try:
                from rich.console import Console
                from rich.progress import Progress as Bar
            except ImportError:
                pass  # without the extra `tools`: lines
            else:
                self.bar = Bar(console=Console(stderr=True), transient=True)
                self.bar.start()
                self.task = self.bar.add_task(self.title, total=self.total)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.stop()

    def at(self, done: int, what: str = "") -> None:
        """`done` of `total` is reached."""
        if self.bar is not None and self.task is not None:
            self.bar.update(self.task, completed=done, description=f"{self.title} {what}".rstrip())
        else:
            report.progress(f"{self.title}: {done:,} of {self.total:,} {what}".rstrip())
