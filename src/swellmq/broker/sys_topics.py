"""`$SYS`: what the broker says about itself, under mosquitto's names, and ours for the pool.

The values are ordinary retained messages of QoS 0. Only what has changed is published; docs/METRICS.md lists all.
"""

from __future__ import annotations

from typing import Final

from swellmq.broker.core import Core
from swellmq.broker.publish import retain_publish, route_publish
from swellmq.codec.packets import Publish
from swellmq.stats import Load

PREFIX: Final = b"$SYS/broker/"
LOAD_MINUTES: Final = (1, 5, 15)
LOAD_STEP: Final = 0.01  # a load that has changed by less is not published anew


class SysTopics:
    """Publishes `$SYS` of one broker."""

    def __init__(self, core: Core, version: str) -> None:
        self.core = core
        self.version = version
        self.last: dict[str, Publish] = {}  # by name; those that are retained
        self.loads: list[Load] = []

    def put(self, name: str, value: str) -> None:
        """Publish one value if it is new."""
        last = self.last.get(name)
        payload = value.encode()
        if last is not None and last.payload == payload:
            return
        # The bytes of the topic are made once: each pair of new ones would lie somewhere else.
        topic_name = last.topic_name if last is not None else PREFIX + name.encode()
        publish = self.last[name] = Publish(topic_name, payload, 0, True)
        route_publish(self.core, publish, None)

    def renew(self) -> None:
        """Make what is kept anew, side by side, and tell nobody. What was made while a crowd was here lies between what
        the crowd needed.

        All goes before any comes: next to an old value there is room for a new one, so they would never move away.
        Meanwhile the values stand in one text, which is too large to lie among them.
        """
        core = self.core
        text = "\n".join([f"{name}\t{self.last[name].payload.decode()}" for name in self.last])
        for name in self.last:
            core.retained.remove(self.last[name].topic_name)
        self.last.clear()
        for line in text.splitlines():
            name, _, value = line.partition("\t")
            publish = self.last[name] = Publish(PREFIX + name.encode(), value.encode(), 0, True)
            retain_publish(core, publish, None)

    def publish(self, now_ms: int, pool: dict[str, int], resident_bytes: int = 0) -> None:
        """Publish what has changed. `now_ms` counts from the start; `pool` is what the pool says of itself."""
        core = self.core
        stats = core.stats
        self.put("version", "swellmq " + self.version)
        self.put("uptime", f"{now_ms // 1000} seconds")
        sessions = len(core.sessions)
        clients = int(core.clients)
        dropped = int(
            stats.dropped_outbox_full + stats.dropped_overload + stats.dropped_queue_full + stats.dropped_too_large
        )
        stats.resident_maximum = max(stats.resident_maximum, resident_bytes)
        values: list[tuple[str, int]] = [
            ("clients/total", sessions),
            ("clients/connected", clients),
            ("clients/active", clients),
            ("clients/disconnected", sessions - clients),
            ("clients/inactive", sessions - clients),
            ("clients/maximum", int(stats.clients_maximum)),
            ("clients/expired", int(stats.sessions_expired)),
            ("subscriptions/count", int(core.topics.count)),
            ("shared_subscriptions/count", int(core.topics.shared_count)),
            ("retained messages/count", int(core.retained.count)),
            ("messages/stored", int(core.retained.count)),
            ("store/messages/count", int(core.retained.count)),
            ("store/messages/bytes", int(core.retained.bytes)),
            ("messages/received", int(stats.packets_received)),
            ("messages/sent", int(stats.packets_sent)),
            ("publish/messages/received", int(stats.publishes_received)),
            ("publish/messages/sent", int(stats.publishes_sent)),
            ("publish/messages/dropped", dropped),
            ("publish/bytes/received", int(stats.publish_bytes_received)),
            ("publish/bytes/sent", int(stats.publish_bytes_sent)),
            ("bytes/received", int(stats.bytes_received)),
            ("bytes/sent", int(stats.bytes_sent)),
            ("heap/current", resident_bytes),
            ("heap/maximum", int(stats.resident_maximum)),
            ("loop/turn_longest_us", int(stats.turn.ever_us)),
            ("loop/turn_recent_us", stats.turn.recent_us(now_ms)),
            ("loop/collection_longest_us", int(stats.collection.ever_us)),
            ("loop/collection_recent_us", stats.collection.recent_us(now_ms)),
        ]
        for name, value in values:
            self.put(name, str(value))
        for name, value in pool.items():
            self.put("pool/" + name, str(value))
        if now_ms > stats.loads_ms:
            self._publish_loads(float(now_ms - stats.loads_ms), dropped)
            stats.loads_ms = now_ms

    def _publish_loads(self, passed_ms: float, dropped: int) -> None:
        """Publish how much happened per minute."""
        stats = self.core.stats
        counts: list[tuple[str, int]] = [
            ("messages/received", int(stats.packets_received)),
            ("messages/sent", int(stats.packets_sent)),
            ("publish/received", int(stats.publishes_received)),
            ("publish/sent", int(stats.publishes_sent)),
            ("publish/dropped", dropped),
            ("bytes/received", int(stats.bytes_received)),
            ("bytes/sent", int(stats.bytes_sent)),
            ("sockets", int(stats.connections_accepted)),
            ("connections", int(stats.connects)),
        ]
        if not self.loads:
            self.loads = [Load(name, minutes) for name, _count in counts for minutes in LOAD_MINUTES]
        for index, load in enumerate(self.loads):
            load.look(counts[index // len(LOAD_MINUTES)][1], passed_ms)
            if abs(load.mean - load.told) >= LOAD_STEP:
                load.told = load.mean
                self.put(load.name, f"{load.mean:.2f}")
