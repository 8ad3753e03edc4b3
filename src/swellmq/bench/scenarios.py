"""The loads of `swellmq bench load`: who publishes what to whom. Every packet of one has a fixed size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

PUBLISHER: Final = b"%(publisher)"
NUMBER: Final = b"%(number)"
OWN: Final = b"load/t/%(publisher)04d"
MANY: Final = b"load/%(publisher)04d/%(number)05d/state"
DEEP: Final = b"load/%(publisher)04d/hall/line/cell/robot/%(number)05d/state"
# Content Type, and a User Property, as devices send them.
PROPERTIES: Final = b"\x03\x00\x10application/json\x26\x00\x04unit\x00\x07celsius"


@dataclass(frozen=True)
class Scenario:
    """Who publishes to whom. A publisher sends what its `window` of messages under way has room for."""

    title: str
    messages: int  # delivered in a first run; more are used where a broker needs little CPU time for them
    publishers: int = 10
    subscribers: int = 10
    copies: int = 1  # how many subscribers get each message
    qos: int = 0
    kept: bool = False  # the sessions of the subscribers outlive their connections
    payload_bytes: int = 64
    window: int = 200
    topic: bytes = OWN
    filter: bytes = OWN
    topics_each: int = 1_000  # that a publisher cycles through where its topics differ
    share: bytes = b""  # the name of a shared group, before the filter
    properties: bytes = b""  # of each PUBLISH; where there are some the load speaks MQTT 5.0 and uses topic aliases
    idle_clients: int = 0  # more connections, each subscribed, that say nothing
    idle_filters: int = 0  # more filters with wildcards, which look like the topics and match none
    idle_exact: int = 0  # more filters without wildcards, which match none
    churn: bool = False  # one more client subscribes and unsubscribes all the time

    @property
    def period(self) -> int:
        """How many messages of a publisher differ; then they repeat. Never less than can be under way."""
        return self.topics_each if NUMBER in self.topic else self.window

    def topic_name(self, publisher: int, number: int) -> bytes:
        """The topic of a publisher's message, always of the same length."""
        return self.topic % {b"publisher": publisher, b"number": number}

    def topic_filter(self, subscriber: int) -> bytes:
        """What a subscriber subscribes to: the topic of one publisher, or the topics of all."""
        return self.share + self.filter % {b"publisher": subscriber % self.publishers}

    @property
    def one_source(self) -> bool:
        """Whether a subscriber gets the messages of one publisher only."""
        return PUBLISHER in self.filter


SCENARIOS: Final = {
    "pair": Scenario("10 to 10, QoS 0, 64 bytes", 200_000),
    "fan-out": Scenario("1 to 50, QoS 0, 64 bytes", 200_000, 1, 50, 50),
    "fan-out-1000": Scenario("1 to 1,000, QoS 0, 64 bytes", 200_000, 1, 1_000, 1_000, window=20),
    "fan-out-15000": Scenario("1 to 15,000, QoS 0, 64 bytes", 300_000, 1, 15_000, 15_000, window=4),
    "fan-in": Scenario(
        "10 to 1, one topic, QoS 0, 64 bytes", 200_000, 10, 1, topic=b"load/t/all", filter=b"load/t/all"
    ),
    "wildcard": Scenario(
        "10 x 1,000 topics to `load/+/+/state`", 200_000, subscribers=1, topic=MANY, filter=b"load/+/+/state"
    ),
    "deep": Scenario(
        "10 x 1,000 topics of 8 levels, 100,000 other filters with wildcards",
        100_000,
        subscribers=1,
        topic=DEEP,
        filter=b"load/+/hall/+/cell/+/+/state",
        idle_filters=100_000,
    ),
    "churn": Scenario("10 to 10 while another client subscribes and unsubscribes", 100_000, churn=True),
    "qos1": Scenario("10 to 10, QoS 1, 64 bytes", 50_000, qos=1),
    "qos1-kept": Scenario("10 to 10, QoS 1, 64 bytes, kept sessions", 50_000, qos=1, kept=True),
    "qos1-fan-in": Scenario(
        "10 to 1, one topic, QoS 1, 64 bytes",
        50_000,
        10,
        1,
        qos=1,
        window=80,
        topic=b"load/t/all",
        filter=b"load/t/all",
    ),
    "qos2": Scenario("10 to 10, QoS 2, 64 bytes", 30_000, qos=2),
    "qos1-fan-out": Scenario("1 to 50, QoS 1, 64 bytes", 100_000, 1, 50, 50, qos=1),
    # A window of 200 would be 3.2 MB, more than what a broker may keep for one client.
    "16k": Scenario("10 to 10, QoS 0, 16 KiB", 30_000, payload_bytes=16_384, window=20),
    "1m": Scenario("4 to 4, QoS 0, 1 MiB", 400, 4, 4, payload_bytes=1_048_576, window=1),
    "properties": Scenario("10 to 10, MQTT 5.0, two properties, topic aliases", 100_000, properties=PROPERTIES),
    "shared": Scenario("10 to a shared group of 10", 100_000, topic=OWN, filter=b"load/t/+", share=b"$share/group/"),
    "clients": Scenario("1,000 to 1,000, one message under way", 50_000, 1_000, 1_000, window=1),
    "clients-10k": Scenario("5,000 to 5,000, one message under way", 50_000, 5_000, 5_000, window=1),
    "idle": Scenario(
        "100 to 100, one message under way, beside 10,000 idle ones", 50_000, 100, 100, window=1, idle_clients=10_000
    ),
    "ping-pong": Scenario("1 to 1, one message under way", 10_000, 1, 1, window=1),
}


def idle_filters(count: int) -> list[bytes]:
    """Filters of eight levels that share all but the last with the topics of DEEP, in every mix of exact and `+`.

    A walk for one of those topics has to follow all these branches down before it knows that they lead nowhere.
    """
    levels = [(b"hall", b"+"), (b"line", b"+"), (b"cell", b"+"), (b"robot", b"+")]
    made = []
    for number in range(count):
        middle = b"/".join(pair[number >> bit & 1] for bit, pair in enumerate(levels))
        made.append(b"load/+/%b/+/no-%06d" % (middle, number))
    return made
