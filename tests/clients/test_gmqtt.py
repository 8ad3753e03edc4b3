"""gmqtt, an implementation of its own in asyncio, in 3.1.1 and 5.0."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import gmqtt
import pytest
from client_helpers import SESSION_S, TIMEOUT_S

from swellmq import Broker, Settings

every_version = pytest.mark.parametrize("version", [4, 5])


class Gmqtt:
    """A connected client of gmqtt; its callbacks fill queues."""

    def __init__(self, client_id: str, version: int, keep: bool = False, **connect_properties: int) -> None:
        if keep and version == 5:
            connect_properties["session_expiry_interval"] = SESSION_S
        self.version = version
        self.client = gmqtt.Client(client_id, clean_session=not keep, **connect_properties)
        self.messages: asyncio.Queue[tuple[str, str, int, dict[str, Any]]] = asyncio.Queue()
        self.subscribed: asyncio.Queue[list[int]] = asyncio.Queue()
        self.client.on_message = self._on_message
        self.client.on_subscribe = lambda _client, _number, codes, _properties: self.subscribed.put_nowait(codes)

    def _on_message(self, _client: object, topic: str, payload: bytes, qos: int, properties: dict[str, Any]) -> int:
        self.messages.put_nowait((topic, payload.decode(), qos, properties))
        return 0

    async def connect(self, broker: Broker) -> Gmqtt:
        await self.client.connect("127.0.0.1", broker.port, version=self.version)
        return self

    async def subscribe(self, topic_filter: str, qos: int = 0, **options: Any) -> list[int]:
        self.client.subscribe(topic_filter, qos, **options)
        return list(await self.subscribed.get())

    async def payloads(self, count: int) -> list[str]:
        return [(await self.messages.get())[1] for _ in range(count)]


def on_a_broker(body: Callable[[Broker], Awaitable[None]]) -> None:
    """Run `body` in an event loop of its own, beside a broker in a thread."""

    async def run(broker: Broker) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            await body(broker)

    with Broker(Settings(port=0)) as broker:
        asyncio.run(run(broker))
        assert broker.statistics()["errors_internal"] == 0


@every_version
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_publish_and_subscribe(version: int, qos: int) -> None:
    async def body(broker: Broker) -> None:
        publisher = await Gmqtt("p", version).connect(broker)
        subscriber = await Gmqtt("s", version).connect(broker)
        assert await subscriber.subscribe("a/#", 2) == [2]
        for number in range(20):
            publisher.client.publish("a/b", str(number), qos=qos)
        found = [await subscriber.messages.get() for _ in range(20)]
        assert [(topic, payload, got) for topic, payload, got, _ in found] == [
            ("a/b", str(number), qos) for number in range(20)
        ]
        await publisher.client.disconnect()
        await subscriber.client.disconnect()

    on_a_broker(body)


@every_version
def test_retained(version: int) -> None:
    async def body(broker: Broker) -> None:
        client = await Gmqtt("r", version).connect(broker)
        broker.publish_blocking("kept", "value", qos=1, retain=True)
        await client.subscribe("kept", 1)
        topic, payload, qos, properties = await client.messages.get()
        assert (topic, payload, qos, properties["retain"]) == ("kept", "value", 1, 1)
        await client.client.disconnect()

    on_a_broker(body)


@every_version
def test_a_kept_session(version: int) -> None:
    async def body(broker: Broker) -> None:
        client = await Gmqtt("kept", version, keep=True).connect(broker)
        await client.subscribe("a", 1)
        await client.client.disconnect()
        for number in range(5):
            broker.publish_blocking("a", str(number), qos=1)
        again = await Gmqtt("kept", version, keep=True).connect(broker)
        assert await again.payloads(5) == [str(number) for number in range(5)]
        await again.client.disconnect()

    on_a_broker(body)


@every_version
def test_a_shared_subscription(version: int) -> None:
    async def body(broker: Broker) -> None:
        members = [await Gmqtt(name, version).connect(broker) for name in ("one", "two")]
        for member in members:
            await member.subscribe("$share/g/a", 1)
        for number in range(6):
            broker.publish_blocking("a", str(number), qos=1)
        found = [payload for member in members for payload in await member.payloads(3)]
        assert sorted(found) == [str(number) for number in range(6)]
        for member in members:
            await member.client.disconnect()

    on_a_broker(body)


def test_topic_aliases() -> None:
    async def body(broker: Broker) -> None:
        publisher = await Gmqtt("p", 5).connect(broker)
        subscriber = await Gmqtt("s", 5, topic_alias_maximum=1).connect(broker)
        await subscriber.subscribe("a/#", 1)
        sent = [("a/long-b", 1), ("", 1), ("a/long-c", 2), ("", 2), ("", 1), ("a/long-d", 1), ("", 1)]
        for number, (name, alias) in enumerate(sent):
            publisher.client.publish(name, str(number), qos=1, topic_alias=alias)
        found = [await subscriber.messages.get() for _ in sent]
        # gmqtt resolves the aliases of the broker.
        assert [(topic, payload) for topic, payload, _, _ in found] == [
            (name, str(number))
            for number, name in enumerate(
                ["a/long-b", "a/long-b", "a/long-c", "a/long-c", "a/long-b", "a/long-d", "a/long-d"]
            )
        ]
        assert [properties.get("topic_alias", [0]) for _, _, _, properties in found] == [
            [alias] for alias in (1, 1, 0, 0, 1, 0, 0)
        ]
        await publisher.client.disconnect()
        await subscriber.client.disconnect()

    on_a_broker(body)


def test_properties_of_5_0() -> None:
    async def body(broker: Broker) -> None:
        client = await Gmqtt("props", 5).connect(broker)
        await client.subscribe("a", 1, subscription_identifier=7)
        client.client.publish(
            "a", "x", qos=1, user_property=[("k", "v"), ("k", "w")], content_type="json", message_expiry_interval=60
        )
        _, _, _, properties = await client.messages.get()
        assert sorted(properties["user_property"]) == [("k", "v"), ("k", "w")]
        assert properties["content_type"] == ["json"]
        assert properties["subscription_identifier"] == [7]
        assert properties["message_expiry_interval"] == [60]
        await client.client.disconnect()

    on_a_broker(body)
