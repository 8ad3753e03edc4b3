"""How log lines look: for people, or one JSON object a line. Only the `serve` command sets this up."""

from __future__ import annotations

import logging
import sys
import time
from typing import TextIO


class HumanFormatter(logging.Formatter):
    """`2026-01-31 12:00:00 WARNING message`, in local time; the level is left out where it is INFO."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, with the traceback below it where there is one."""
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        level = "" if record.levelno == logging.INFO else record.levelname + " "
        line = f"{moment} {level}{record.getMessage()}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class JsonFormatter(logging.Formatter):
    """A JSON object: `time` in seconds since 1970, `level`, `logger`, `message`, `traceback` where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON."""
        import json  # 0.6 MB that only this format needs

        fields: dict[str, object] = {
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False)


def set_up(level: str, style: str, stream: TextIO | None = None) -> None:
    """Send the log of swellmq to `stream` (stderr by default) from `level` on, in `style` "human" or "json"."""
    handler = logging.StreamHandler(stream if stream is not None else sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else HumanFormatter())
    logger = logging.getLogger("swellmq")
    logger.handlers = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False
