"""`$SYS`: what the broker says about itself, under mosquitto's names, and ours for the pool.

The values are ordinary retained messages of QoS 0. Only those that have changed are published.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64, mypyc_attr

from swellmq.broker.core import Core
from swellmq.broker.publish import route_publish
from swellmq.codec.packets import Publish

PREFIX: Final = b"$SYS/broker/"


@final
@mypyc_attr(native_class=True)
class SysTopics:
    """Publishes `$SYS` of one broker."""

    def __init__(self, core: Core, version: str) -> None:
        self.core = core
        self.version = version
        self.last: dict[str, str] = {}

    def put(self, name: str, value: str) -> None:
        """Publish one value if it is new."""
        if self.last.get(name) == value:
            return
        self.last[name] = value
        route_publish(self.core, Publish(PREFIX + name.encode(), value.encode(), 0, True), None)

    def publish(self, now_ms: i64, pool: dict[str, int]) -> None:
        """Publish what has changed. `now_ms` counts from the start; `pool` is what the pool says of itself."""
        core = self.core
        stats = core.stats
        self.put("version", "swellmq " + self.version)
        self.put("uptime", f"{now_ms // 1000} seconds")
        sessions = len(core.sessions)
        clients = int(core.clients)
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
            ("store/messages/count", int(core.retained.count)),
            ("store/messages/bytes", int(core.retained.bytes)),
            ("messages/received", int(stats.packets_received)),
            ("messages/sent", int(stats.packets_sent)),
            ("publish/messages/received", int(stats.publishes_received)),
            ("publish/messages/sent", int(stats.publishes_sent)),
            (
                "publish/messages/dropped",
                int(
                    stats.dropped_outbox_full
                    + stats.dropped_overload
                    + stats.dropped_queue_full
                    + stats.dropped_too_large
                ),
            ),
            ("publish/bytes/received", int(stats.publish_bytes_received)),
            ("publish/bytes/sent", int(stats.publish_bytes_sent)),
            ("bytes/received", int(stats.bytes_received)),
            ("bytes/sent", int(stats.bytes_sent)),
            ("loop/turn_longest_us", int(stats.turn.ever_us)),
            ("loop/turn_recent_us", stats.turn.recent_us(now_ms)),
            ("loop/collection_longest_us", int(stats.collection.ever_us)),
            ("loop/collection_recent_us", stats.collection.recent_us(now_ms)),
        ]
        for name, value in values:
            self.put(name, str(value))
        for name, value in pool.items():
            self.put("pool/" + name, str(value))
