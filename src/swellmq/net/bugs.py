"""What the loop does with an exception that no handler knew, wherever in the turn it came up."""

from __future__ import annotations

import logging
from typing import Final

from swellmq.connection import Connection
from swellmq.errors import INTERNAL_ERROR
from swellmq.stats import Stats

log: Final = logging.getLogger("swellmq.loop")


def on_bug(stats: Stats, when: str, connection: Connection | None = None) -> None:
    """Log and count the exception that is being handled: the end of its connection, never of the loop."""
    stats.errors_internal += 1
    log.exception("a bug of ours %s", when)
    if connection is not None:
        connection.close(INTERNAL_ERROR)
