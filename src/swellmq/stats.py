"""The counters of one broker, read by `$SYS`, admin, tests and the status line: plain integers that only grow, how long
things took, and which of many things are looked at more closely.

Several brokers may live in one process, so nothing here is global.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64, mypyc_attr

from swellmq.errors import CLOSE_REASONS
from swellmq.limits import LONGEST_WINDOW_MS, SAMPLES_PER_S

# The buckets of a Histogram: the longest time that each takes, in microseconds. One more takes what took longer. `note`
# counts on their being 1, 2 and 5 of each power of ten.
BOUNDS_US: Final[list[int]] = [
    *(10, 20, 50, 100, 200, 500),
    *(1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000),
    *(1_000_000, 2_000_000, 5_000_000, 10_000_000),
]
NO_BOUND_US: Final = 1 << 62
SECOND_MS: Final = 1_000
MINUTE_MS: Final = 60_000.0
E: Final = 2.718281828459045  # for one exponential `math` is a shared library too many in each broker


@final
@mypyc_attr(native_class=True)
class Longest:
    """The longest that something took, in microseconds: ever, and lately.

    Lately is the last whole window and the one under way, so whoever looks at least once a window misses nothing, and
    many may look: nobody's look resets it for the others.
    """

    def __init__(self) -> None:
        self.ever_us: i64 = 0
        self.window_us: i64 = 0  # in the window under way
        self.before_us: i64 = 0  # in the one before
        self.ends_ms: i64 = 0  # of the window under way; monotonic

    def note(self, took_us: i64, now_ms: i64) -> None:
        """It took so long, and has ended at `now_ms`."""
        if now_ms >= self.ends_ms:
            self._move(now_ms)
        if took_us > self.window_us:
            self.window_us = took_us
            if took_us > self.ever_us:
                self.ever_us = took_us

    def recent_us(self, now_ms: i64) -> int:
        """The longest of the last one to two windows."""
        if now_ms >= self.ends_ms:
            self._move(now_ms)
        return int(max(self.window_us, self.before_us))

    def _move(self, now_ms: i64) -> None:
        """Begin the window that `now_ms` is in."""
        self.before_us = self.window_us if now_ms - self.ends_ms < LONGEST_WINDOW_MS else 0
        self.window_us = 0
        self.ends_ms = (now_ms // LONGEST_WINDOW_MS + 1) * LONGEST_WINDOW_MS


@final
@mypyc_attr(native_class=True, acyclic=True)
class Count:
    """How often something happened. A number in a list would be a new object each time."""

    def __init__(self) -> None:
        self.count: i64 = 0


@final
@mypyc_attr(native_class=True, acyclic=True)
class Bucket:
    """How often something took longer than the bound of the bucket before, and no longer than this one's."""

    def __init__(self, bound_us: i64) -> None:
        self.bound_us = bound_us
        self.count: i64 = 0


@final
@mypyc_attr(native_class=True)
class Histogram:
    """How long something took, in microseconds: how often within each bound of `BOUNDS_US`, and in all."""

    def __init__(self) -> None:
        self.buckets = [Bucket(bound_us) for bound_us in (*BOUNDS_US, NO_BOUND_US)]
        self.sum_us: i64 = 0

    def note(self, took_us: i64) -> None:
        """It took so long, once more. Every turn is noted, and numbers in a list would take five times as long."""
        self.sum_us += took_us
        for bucket in self.buckets:
            if took_us <= bucket.bound_us:
                bucket.count += 1
                return

    def counts(self) -> list[int]:
        """How often within each bound, and beyond the last one."""
        return [int(bucket.count) for bucket in self.buckets]


def quantile_us(counts: list[int], percent: int, longest_us: int = BOUNDS_US[-1]) -> int:
    """The time that `percent` of what `counts` holds did not exceed, in microseconds; 0 where it holds nothing.

    Within a bucket times are taken for evenly spread; none was longer than `longest_us`. What took longer than all
    bounds counts as the last one.
    """
    total = sum(counts)
    wanted = total * percent / 100
    least = 0
    for count, bound in zip(counts, BOUNDS_US, strict=False):
        if count and wanted <= count:
            return min(least + int((bound - least) * wanted / count), longest_us)
        wanted -= count
        least = bound
    return min(least, longest_us) if total else 0


@final
@mypyc_attr(native_class=True)
class Load:
    """How often something happened per minute, as a mean that forgets exponentially, like a system's load average."""

    def __init__(self, name: str, minutes: int) -> None:
        self.name: str = f"load/{name}/{minutes}min"
        self.minutes: float = float(minutes)
        self.count: int = 0  # when it was last looked at
        self.mean: float = 0.0
        self.told: float = -1.0  # the mean that was last published

    def look(self, count: int, passed_ms: float) -> None:
        """So often it has happened since the start; `passed_ms` after the last look."""
        rate: float = (count - self.count) * MINUTE_MS / passed_ms
        self.count = count
        kept: float = E ** (-passed_ms / (MINUTE_MS * self.minutes))
        self.mean = rate + kept * (self.mean - rate)


@final
@mypyc_attr(native_class=True)
class Sampler:
    """Which of many events to look at: about `SAMPLES_PER_S` of them in a second, and all where there are fewer.

    Its owner counts `left` down, and calls `take` when nothing is left. Between two that are looked at lie as many as
    chance says, or clients that take turns would always be met, or never.
    """

    def __init__(self) -> None:
        self.left: i64 = 1
        self.drawn: i64 = 1  # what `left` began with, and so what the next one stands for
        self.gap: i64 = 1  # one in so many is looked at
        self.taken: i64 = 0  # in the second under way
        self.passed: i64 = 0  # events in it, up to the last one that was looked at
        self.ends_ms: i64 = 0
        self.chance: i64 = 1

    def take(self) -> i64:
        """One is looked at: for how many it stands. A burst makes them rarer at once."""
        stands_for = self.drawn
        self.passed += stands_for
        self.taken += 1
        if self.taken >= SAMPLES_PER_S:
            self.taken = 0
            self.gap *= 2
        self._draw()
        return stands_for

    def renew(self, now_ms: i64) -> None:
        """The second is over: go by how many events there were."""
        passed = self.passed + self.drawn - self.left
        lasted_ms = max(SECOND_MS, now_ms - self.ends_ms + SECOND_MS)
        self.gap = max(1, passed * SECOND_MS // lasted_ms // SAMPLES_PER_S)
        self.passed = 0
        self.taken = 0
        self.ends_ms = now_ms + SECOND_MS
        if self.left >= self.gap * 2:  # few come now
            self._draw()

    def _draw(self) -> None:
        self.chance = (self.chance * 1_103_515_245 + 12_345) % 2_147_483_648  # the generator of ANSI C
        self.left = self.drawn = 1 + (self.chance >> 8) % (self.gap * 2 - 1)


@final
@mypyc_attr(native_class=True)
class Stats:
    """What one broker has counted since its start. Bytes are those of MQTT packets, above TLS and WebSocket."""

    def __init__(self) -> None:
        # Connections
        self.connections_accepted: i64 = 0
        self.connections_refused: i64 = 0  # told that the broker is full
        self.connections_dropped: i64 = 0  # closed at once: the refusing slots were taken, or no descriptor was left
        self.connections_closed = [Count() for _ in CLOSE_REASONS]  # by reason
        self.connects: i64 = 0  # CONNECTs that were accepted
        self.connect = Histogram()  # from accept to CONNACK; the turn's clock counts milliseconds
        self.clients_maximum: i64 = 0
        self.sessions_expired: i64 = 0
        # Traffic
        self.bytes_received: i64 = 0
        self.bytes_sent: i64 = 0
        self.packets_received: i64 = 0
        self.packets_sent: i64 = 0
        self.publishes_received: i64 = 0
        self.publishes_sent: i64 = 0
        self.publish_bytes_received: i64 = 0
        self.publish_bytes_sent: i64 = 0
        self.delivery = Histogram()  # from the read that brought a message to the write of what it sent; of some
        self.stalled: i64 = 0  # connections whose socket takes no more, now
        # Messages that reached no one, by cause
        self.dropped_outbox_full: i64 = 0  # QoS 0 for a client that reads too slowly
        self.dropped_overload: i64 = 0  # QoS 0 that would have waited, while it is shed
        self.dropped_queue_full: i64 = 0  # QoS 1 and 2 for a session whose queue is full
        self.dropped_too_large: i64 = 0  # larger than the client's Maximum Packet Size, or than any packet
        self.dropped_retained_full: i64 = 0  # not kept as retained: the store is full
        self.dropped_expired: i64 = 0
        self.refused_not_stored: i64 = 0  # durable work that was refused because the store could not write
        self.dropped_forbidden: i64 = 0  # waited while access control took away the right to receive it
        self.dropped_offline: i64 = 0  # QoS 0 for a session without a client
        # What access control did not allow
        self.refused_publishes: i64 = 0
        self.refused_subscriptions: i64 = 0
        self.subscriptions_revoked: i64 = 0  # once allowed, removed when the rights changed
        self.refused_takeovers: i64 = 0  # of client ids that changed hands too often
        self.pauses: i64 = 0  # clients that sent faster than they may were not read for a while
        # Faults
        self.errors_peer: i64 = 0  # malformed packets and protocol errors, all of them
        self.errors_internal: i64 = 0  # our own bugs, each with a traceback in the log
        # The loop
        self.turns: i64 = 0
        self.turned_ms: i64 = 0  # when the last one began; monotonic
        self.turn = Longest()
        self.turn_lengths = Histogram()
        self.turn_peak_us: i64 = 0  # the longest since `take_turn_peak`
        self.collections: i64 = 0  # of Python's cyclic collector; watched by the `serve` command only
        self.collection = Longest()
        self.collection_began_ns: i64 = 0
        self.accept_pauses: i64 = 0  # no descriptor or memory was left for a new connection
        # What `$SYS` has seen
        self.resident_maximum: i64 = 0
        self.loads_ms: i64 = 0  # when it last looked at the loads; 0: never

    def note_turn(self, took_us: i64, now_ms: i64) -> None:
        """A turn that began at `now_ms` is over."""
        self.turns += 1
        self.turned_ms = now_ms
        self.turn.note(took_us, now_ms)
        self.turn_lengths.note(took_us)
        if took_us > self.turn_peak_us:
            self.turn_peak_us = took_us

    def take_turn_peak(self) -> int:
        """The longest turn since this was called last. One may ask: whoever looks once a second (`observe`)."""
        peak_us = int(self.turn_peak_us)
        self.turn_peak_us = 0
        return peak_us

    def dropped_for_want_of_room(self) -> int:
        """Messages that somebody did not get because a queue, an outbox or the store of retained ones was full."""
        return int(
            self.dropped_outbox_full + self.dropped_overload + self.dropped_queue_full + self.dropped_retained_full
        )

    def statistics(self) -> dict[str, int]:
        """All counters by name; `closed` counters under the names of `errors.CLOSE_REASONS`."""
        counters = {
            "connections_accepted": int(self.connections_accepted),
            "connections_refused": int(self.connections_refused),
            "connections_dropped": int(self.connections_dropped),
            "connects": int(self.connects),
            "clients_maximum": int(self.clients_maximum),
            "sessions_expired": int(self.sessions_expired),
            "bytes_received": int(self.bytes_received),
            "bytes_sent": int(self.bytes_sent),
            "packets_received": int(self.packets_received),
            "packets_sent": int(self.packets_sent),
            "publishes_received": int(self.publishes_received),
            "publishes_sent": int(self.publishes_sent),
            "publish_bytes_received": int(self.publish_bytes_received),
            "publish_bytes_sent": int(self.publish_bytes_sent),
            "stalled": int(self.stalled),
            "dropped_outbox_full": int(self.dropped_outbox_full),
            "dropped_overload": int(self.dropped_overload),
            "dropped_queue_full": int(self.dropped_queue_full),
            "dropped_too_large": int(self.dropped_too_large),
            "dropped_retained_full": int(self.dropped_retained_full),
            "dropped_expired": int(self.dropped_expired),
            "refused_not_stored": int(self.refused_not_stored),
            "dropped_forbidden": int(self.dropped_forbidden),
            "dropped_offline": int(self.dropped_offline),
            "refused_publishes": int(self.refused_publishes),
            "refused_subscriptions": int(self.refused_subscriptions),
            "subscriptions_revoked": int(self.subscriptions_revoked),
            "refused_takeovers": int(self.refused_takeovers),
            "pauses": int(self.pauses),
            "errors_peer": int(self.errors_peer),
            "errors_internal": int(self.errors_internal),
            "turns": int(self.turns),
            "turn_longest_us": int(self.turn.ever_us),
            "turn_recent_us": self.turn.recent_us(self.turned_ms),
            "turn_p50_us": quantile_us(self.turn_lengths.counts(), 50, int(self.turn.ever_us)),
            "turn_p99_us": quantile_us(self.turn_lengths.counts(), 99, int(self.turn.ever_us)),
            "connect_p50_us": quantile_us(self.connect.counts(), 50),
            "connect_p99_us": quantile_us(self.connect.counts(), 99),
            "delivery_p50_us": quantile_us(self.delivery.counts(), 50),
            "delivery_p99_us": quantile_us(self.delivery.counts(), 99),
            "collections": int(self.collections),
            "collection_longest_us": int(self.collection.ever_us),
            "collection_recent_us": self.collection.recent_us(self.turned_ms),
            "accept_pauses": int(self.accept_pauses),
        }
        for number, name in enumerate(CLOSE_REASONS):
            if number:
                counters["closed: " + name] = int(self.connections_closed[number].count)
        return counters
