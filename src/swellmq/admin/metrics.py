"""`/metrics`: all numbers of a broker for Prometheus, as text or OpenMetrics, by prometheus-client.

The names stand in `observe/names.py`. A scrape reads plain counters and walks over nothing. To write 250 lines takes
prometheus-client milliseconds, so it is done in slices.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Generator, Iterable, Iterator
from typing import Final, cast

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder

from swellmq.observe.names import COUNTER, HISTOGRAMS, LABELS, METRICS, MICROSECONDS, NOT_EXPORTED, OTHERS
from swellmq.process import resident_bytes
from swellmq.server import Server
from swellmq.stats import BOUNDS_US, Histogram
from swellmq.version import VERSION, compiled

CONNECT_FROM_US: Final = 1_000  # the clock of a turn counts milliseconds: smaller buckets would say nothing
NAMED: Final = {source for metric in METRICS for source in metric.sources.values()} | set(NOT_EXPORTED)
EOF: Final = b"# EOF\n"  # ends OpenMetrics


class Families:
    """Some metrics, as the encoders of prometheus-client want them: behind `collect`."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self.families = families

    def collect(self) -> Iterable[Metric]:
        return self.families


class BrokerCollector:
    """The numbers of one broker as metrics, anew for each scrape."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def collect(self) -> Iterator[Metric]:
        """All metrics. What this broker does not have, such as the store's, is left out."""
        numbers = self.server.statistics()
        for one in METRICS:
            kind = CounterMetricFamily if one.kind == COUNTER else GaugeMetricFamily
            family = kind(one.name, one.meaning, labels=[one.label] if one.label else [])
            for value, source in one.sources.items():
                if source in numbers:
                    number = numbers[source] * one.scale if one.scale != 1 else numbers[source]
                    family.add_metric([value] if one.label else [], number)
            if family.samples:
                yield family
        unnamed = numbers.keys() - NAMED
        if unnamed:
            yield labelled("swellmq_number", [((name,), numbers[name]) for name in sorted(unnamed)])
        stats = self.server.stats
        histograms = {"turn_lengths": stats.turn_lengths, "connect": stats.connect, "delivery": stats.delivery}
        for name, (source, meaning) in HISTOGRAMS.items():
            yield histogram(name, meaning, histograms[source], CONNECT_FROM_US if source == "connect" else 0)
        yield from self._others()

    def _others(self) -> Iterator[Metric]:
        server = self.server
        build = InfoMetricFamily("swellmq_build", OTHERS["swellmq_build"][1])
        how = "compiled" if compiled() else "interpreted"
        build.add_metric([], {"version": VERSION, "build": how, "python": platform.python_version()})
        yield build
        alarms = server.watch.alarms.by_name.values()
        yield labelled("swellmq_alarm", [((alarm.name, alarm.severity), int(alarm.raised)) for alarm in alarms])
        clock = server.turn_state
        used, limit = server.watch.statistics()["descriptors"], int(server.overload.descriptors.limit)
        values = {
            "process_resident_memory_bytes": resident_bytes(),
            "process_cpu_seconds": time.process_time(),
            "process_open_fds": used,
            "process_max_fds": limit,
            "process_start_time_seconds": (clock.wall_ms - clock.now_ms) / 1000,
        }
        for name, value in values.items():
            kind, meaning = OTHERS[name]
            if value:
                family = CounterMetricFamily if kind == COUNTER else GaugeMetricFamily
                yield family(name, meaning, value=value)


def labelled(name: str, values: list[tuple[tuple[str, ...], int]]) -> GaugeMetricFamily:
    """A gauge of `OTHERS` with its values by label."""
    family = GaugeMetricFamily(name, OTHERS[name][1], labels=LABELS[name])
    for labels, value in values:
        family.add_metric(labels, value)
    return family


def histogram(name: str, meaning: str, source: Histogram, from_us: int) -> HistogramMetricFamily:
    """A histogram with its buckets from `from_us` on, which has what is below."""
    buckets: list[tuple[str, float]] = []
    count = 0
    for number, bound in zip(source.counts(), [*BOUNDS_US, 0], strict=True):
        count += number
        if not bound:
            buckets.append(("+Inf", count))
        elif bound >= from_us:
            buckets.append((repr(bound / 1e6), count))
    return HistogramMetricFamily(name, meaning, buckets=buckets, sum_value=int(source.sum_us) * MICROSECONDS)


def exposition(server: Server, accept: str) -> Generator[None, None, tuple[bytes, str]]:
    """All metrics in the form that `accept`, the header of the request, asks for; and what to call that form."""
    encode, content_type = choose_encoder(accept)
    pieces: list[bytes] = []
    for family in BrokerCollector(server).collect():
        piece = encode(cast(CollectorRegistry, Families([family])))
        pieces.append(piece.removesuffix(EOF))
        yield
    if piece.endswith(EOF):
        pieces.append(EOF)
    return b"".join(pieces), content_type
