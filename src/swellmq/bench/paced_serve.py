"""`swellmq serve` on a clock that runs ahead: a slow arrival of clients in little time.

    python -m swellmq.bench.paced_serve PACE_MS [OPTIONS OF serve]

For each client that connects the broker's clock jumps by PACE_MS, so where clients come one by one, each once the one
before was answered, the broker lives through their arrival at that pace: its deadlines lie as far apart, its status and
`$SYS` come as often, and no two clients share a turn. Only the waiting is left out.
"""

from __future__ import annotations

import argparse
import sys

from swellmq.cli.serve import add_arguments, load_settings
from swellmq.command import serve
from swellmq.server import Server
from swellmq.settings import Settings


class PacedServer(Server):
    """A server whose clock jumps by `pace_ms` for each client that connects."""

    def __init__(self, settings: Settings, pace_ms: int) -> None:
        super().__init__(settings)
        self.pace_ms = pace_ms
        self.seen = 0

    def turn(self, timeout_ms: int = -1) -> None:
        """As in Server; then the time passes that the next client takes to come."""
        super().turn(timeout_ms)
        arrived = self.stats.connects - self.seen
        self.seen += arrived
        self.loop.start_ns -= arrived * self.pace_ms * 1_000_000


def main(words: list[str]) -> int:
    """As `swellmq serve` with these options; the exit code."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    pace_ms = int(words[0])
    return serve(load_settings(parser.parse_args(words[1:])), lambda settings: PacedServer(settings, pace_ms))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
