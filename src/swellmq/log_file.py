"""A file for the log, for a broker that must outlive it."""

from __future__ import annotations

import contextlib
import logging
import sys
from logging.handlers import WatchedFileHandler


class LogFile(WatchedFileHandler):
    """Appends lines to a file, which is opened anew once logrotate has moved it away.

    A disk that is full, or a file that can't be opened again because its folder is gone or the rights for it were given
    up, ends nothing: it is said once, lines go to the standard error meanwhile, and the file is tried with each.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path, encoding="utf-8")
        self.error: OSError | None = None  # why the last line could not be written
        self.told = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, here or to the standard error."""
        self.error = None
        try:
            super().emit(record)
        except OSError as error:  # it can't be opened; `logging` would let this end whoever logs
            self.error = error
        if self.error is None:
            self.told = False
            return
        text = self.format(record) + "\n"
        if not self.told:
            self.told = True
            text = f"{self.baseFilename}: the log can't be written: {self.error.strerror}. It goes here\n{text}"
        with contextlib.suppress(OSError):  # nobody reads that either
            sys.stderr.write(text)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # as `logging` calls it
        """A line could not be written."""
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            self.error = error
        else:
            super().handleError(record)
