"""One run of a load against a fresh process of a broker: what it cost, and who was the limit."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any, Final

from swellmq.bench.brokers import TICKS_PER_SECOND, Broker, Running
from swellmq.bench.bursts import Connects, Retained
from swellmq.bench.flow import Load
from swellmq.bench.generator import LoadError
from swellmq.bench.machine import Machine, runnable_ns
from swellmq.bench.report import progress

TICKS_MIN: Final = 20  # less CPU time than that is too coarse a figure
TICKS_WANTED: Final = 40
GROWTH_MAX: Final = 20  # a run has at most so many times the messages of the one before

Run = Load | Connects | Retained
Start = Callable[[int, int], Run]  # from a port and a number of messages; nothing of what it does counts


def measure_enough(
    broker: Broker, machine: Machine, start: Start, messages: int, most: int = sys.maxsize
) -> dict[str, Any]:
    """A run that took enough CPU time to be told; one that did not is run again with more messages, `most` at most."""
    messages = min(messages, most)
    while True:
        figures = measure(broker, machine, start, messages)
        ticks = figures["cpu_ticks"]
        messages = figures["messages"]
        if ticks >= TICKS_MIN or messages >= most:
            return figures
        messages = min(most, messages * min(GROWTH_MAX, -(-TICKS_WANTED // max(1, ticks))))
        progress(f"  {ticks} clock ticks of CPU time are too few to tell: again with {messages:,}")


def measure(broker: Broker, machine: Machine, start: Start, messages: int) -> dict[str, Any]:
    """The figures of one run. Raises BrokerError and LoadError."""
    with Running(broker, machine.broker_core) as running:
        try:
            run = start(running.port, messages)
            try:
                ticks_before = running.cpu_ticks()
                runnable_before = runnable_ns(running.pid), runnable_ns(os.getpid())
                load_before = time.process_time()
                seconds = run.run()
                load_seconds = time.process_time() - load_before
                runnable = runnable_ns(running.pid), runnable_ns(os.getpid())
                ticks = running.cpu_ticks() - ticks_before
            finally:
                run.close()
        except LoadError as error:
            raise LoadError(f"{error}; the broker's log ends: {running.log()}") from error
    busy = [(after - before) / 1e9 / seconds for before, after in zip(runnable_before, runnable, strict=True)]
    figures = {
        "messages": run.messages,
        "seconds": seconds,
        "cpu_ticks": ticks,
        "messages_per_second": run.messages / seconds,
        "cpu_us_per_message": ticks / TICKS_PER_SECOND * 1e6 / run.messages,
        "load_cpu_us_per_message": load_seconds * 1e6 / run.messages,
        "broker_busy": min(1.0, busy[0]),  # several threads add up
        "load_busy": min(1.0, busy[1]),
        **run.latency.percentiles_ms(),
    }
    if isinstance(run, Load) and run.changes:
        figures["subscription_changes_per_second"] = run.changes / seconds
    return figures
