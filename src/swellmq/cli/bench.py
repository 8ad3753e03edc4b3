"""`swellmq bench WHAT`: finds the measurement, which is a module of `swellmq.bench`, and runs it.

It is imported only when it is chosen, so that one needs only the libraries that are its own.
"""

from __future__ import annotations

import argparse
import signal
import sys
from typing import Final

from swellmq.bench import BenchError

MEASUREMENTS: Final = {
    "load": "messages per second and CPU time per message, broker beside broker",
    "scaling": "CPU time per message against the number of connections, filters, levels, subscribers, ...",
    "profile": "where the CPU time goes for each message, by Linux's perf",
    "pool": "memory and the pool while a fleet arrives, and what remains when it is gone",
    "durable": "QoS 1 to kept sessions, acknowledged once it is stored, and what it does to the others",
    "fairness": "what the flood of one client does to the others",
    "storm": "the same clients at different paces, and all of them cut and back at once",
}
EXIT_FAILED: Final = 1
EXIT_TERMINATED: Final = 143


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Measure swellmq, beside other brokers."
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    width = max(len(name) for name in MEASUREMENTS)
    parser.epilog = "\n".join(f"  {name:{width}}  {meaning}" for name, meaning in MEASUREMENTS.items())
    parser.add_argument("what", choices=MEASUREMENTS, help="`swellmq bench WHAT --help` lists its options")
    parser.add_argument("options", nargs=argparse.REMAINDER, metavar="...", help="the options of WHAT")


def run(arguments: argparse.Namespace) -> int:
    """Exit codes: 0 measured, 1 something failed, 2 bad arguments; 130 and 143 stopped by a signal."""
    from swellmq.cli.parser import run_command

    before = signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(EXIT_TERMINATED))  # brokers are stopped
    try:
        return run_command(f"swellmq.bench.{arguments.what}", f"bench {arguments.what}", arguments.options)
    except BenchError as error:
        print(f"swellmq: {error}", file=sys.stderr)
        return EXIT_FAILED
    finally:
        signal.signal(signal.SIGTERM, before)
