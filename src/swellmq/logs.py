"""How log lines look: for people, or one JSON object a line. Only the `serve` command sets this up."""

from __future__ import annotations

import logging
import sys
import time
from typing import Final

SILENT: Final = logging.CRITICAL + 1


class HumanFormatter(logging.Formatter):
    """`2026-01-31 12:00:00 WARNING message`, in local time; the level is left out where it is INFO.

    `moment_format` is the time's, as in strftime.
    """

    def __init__(self, moment_format: str = "%Y-%m-%d %H:%M:%S") -> None:
        super().__init__()
        self.moment_format = moment_format + " " if moment_format else ""

    def format(self, record: logging.LogRecord) -> str:
        """One line, with the traceback below it where there is one."""
        moment = time.strftime(self.moment_format, time.localtime(record.created))
        level = "" if record.levelno == logging.INFO else record.levelname + " "
        line = f"{moment}{level}{record.getMessage()}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class JsonFormatter(logging.Formatter):
    """A JSON object: `time` in seconds since 1970, `level`, `logger`, `message`, the facts of a line about a client,
    each by its name, and `traceback` where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON."""
        import json  # 0.6 MB that only this format needs

        fields: dict[str, object] = {
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        fields.update(getattr(record, "fields", {}))
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False)


def set_up(level: str, style: str, moment_format: str = "%Y-%m-%d %H:%M:%S", file: str = "") -> None:
    """Send the log of swellmq to stderr, or append it to `file`, from `level` on, in `style` "human" or "json".

    A file that logrotate has moved away is opened anew. Raises OSError where it can't be written.
    """
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    if file:
        from swellmq.log_file import LogFile  # what rotates files brings sockets and queues along

        handler = LogFile(file)
    handler.setFormatter(JsonFormatter() if style == "json" else HumanFormatter(moment_format))
    logger = logging.getLogger("swellmq")
    logger.handlers = [handler]
    logger.setLevel(severity(level))
    logger.propagate = False


def severity(level: str) -> int:
    """What `logging` calls a level of the settings."""
    return SILENT if level == "none" else logging.getLevelNamesMapping()[level.upper()]
