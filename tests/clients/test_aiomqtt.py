"""aiomqtt, in the event loop that carries the broker too, in all three protocol versions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import aiomqtt
import pytest
import uvloop
from client_helpers import SESSION_S, TIMEOUT_S, properties

from swellmq import Broker, Settings

VERSIONS = {
    "3.1": aiomqtt.ProtocolVersion.V31,
    "3.1.1": aiomqtt.ProtocolVersion.V311,
    "5": aiomqtt.ProtocolVersion.V5,
}

every_version = pytest.mark.parametrize("version", VERSIONS)


def on_a_broker(body: Callable[[Broker], Awaitable[None]], uv: bool = False) -> None:
    """Run `body` with a broker inside one event loop."""

    async def run() -> None:
        async with asyncio.timeout(TIMEOUT_S), Broker(Settings(port=0)) as broker:
            await body(broker)
            assert broker.statistics()["errors_internal"] == 0

    with asyncio.Runner(loop_factory=uvloop.new_event_loop if uv else None) as runner:
        runner.run(run())


def client(broker: Broker, client_id: str, version: str, keep: bool = False) -> aiomqtt.Client:
    if version != "5":
        return aiomqtt.Client(
            "127.0.0.1", broker.port, identifier=client_id, protocol=VERSIONS[version], clean_session=not keep
        )
    given = properties("CONNECT", SessionExpiryInterval=SESSION_S) if keep else None
    return aiomqtt.Client(
        "127.0.0.1",
        broker.port,
        identifier=client_id,
        protocol=VERSIONS[version],
        clean_start=not keep,
        properties=given,
    )


async def payloads(receiver: aiomqtt.Client, count: int) -> list[str]:
    found: list[str] = []
    async for message in receiver.messages:
        assert isinstance(message.payload, bytes)
        found.append(message.payload.decode())
        if len(found) == count:
            break
    return found


@every_version
@pytest.mark.parametrize("uv", [False, True], ids=["asyncio", "uvloop"])
def test_publish_and_subscribe(version: str, uv: bool) -> None:
    async def body(broker: Broker) -> None:
        async with client(broker, "p", version) as publisher, client(broker, "s", version) as subscriber:
            await subscriber.subscribe("a/#", qos=2)
            for qos in (0, 1, 2):
                await publisher.publish(f"a/{qos}", f"QoS {qos}", qos=qos)
            assert await payloads(subscriber, 3) == ["QoS 0", "QoS 1", "QoS 2"]
            await broker.publish("a/b", "from the host")
            assert await payloads(subscriber, 1) == ["from the host"]

    on_a_broker(body, uv)


@every_version
def test_retained(version: str) -> None:
    async def body(broker: Broker) -> None:
        async with client(broker, "p", version) as publisher:
            await publisher.publish("kept", "value", qos=1, retain=True)
            await publisher.subscribe("kept", qos=1)
            message = await anext(aiter(publisher.messages))
            assert (message.payload, message.retain, message.qos) == (b"value", True, 1)

    on_a_broker(body)


@every_version
@pytest.mark.parametrize("qos", [1, 2])
def test_a_kept_session(version: str, qos: int) -> None:
    async def body(broker: Broker) -> None:
        async with client(broker, "kept", version, keep=True) as subscriber:
            await subscriber.subscribe("a", qos=2)
        async with client(broker, "p", version) as publisher:
            for number in range(20):
                await publisher.publish("a", str(number), qos=qos)
        async with client(broker, "kept", version, keep=True) as subscriber:
            assert await payloads(subscriber, 20) == [str(number) for number in range(20)]

    on_a_broker(body)


@every_version
def test_a_shared_subscription(version: str) -> None:
    async def body(broker: Broker) -> None:
        async with client(broker, "one", version) as one, client(broker, "other", version) as other:
            for member in (one, other):
                await member.subscribe("$share/g/a/+", qos=1)
            for number in range(6):
                await one.publish("a/b", str(number), qos=1)
            found = await payloads(one, 3) + await payloads(other, 3)
            assert sorted(found) == [str(number) for number in range(6)]

    on_a_broker(body)


def test_topic_aliases_of_the_client() -> None:
    """Those of the broker are beyond it: aiomqtt takes no message without a topic name."""

    async def body(broker: Broker) -> None:
        async with client(broker, "p", "5") as publisher, client(broker, "s", "5") as subscriber:
            await subscriber.subscribe("a/#", qos=1)
            for name, alias in (("a/b", 1), ("", 1), ("a/c", 2), ("", 2), ("", 1)):
                await publisher.publish(name, "x", qos=1, properties=properties("PUBLISH", TopicAlias=alias))
            messages = [await anext(aiter(subscriber.messages)) for _ in range(5)]
            assert [message.topic.value for message in messages] == ["a/b", "a/b", "a/c", "a/c", "a/b"]

    on_a_broker(body)


def test_subscription_identifiers_and_properties() -> None:
    async def body(broker: Broker) -> None:
        async with client(broker, "p", "5") as publisher, client(broker, "s", "5") as subscriber:
            await subscriber.subscribe("a", qos=1, properties=properties("SUBSCRIBE", SubscriptionIdentifier=7))
            given = properties("PUBLISH", UserProperty=[("k", "v"), ("k", "w")], ContentType="json")
            await publisher.publish("a", "x", qos=1, properties=given)
            message = await anext(aiter(subscriber.messages))
            found = message.properties
            assert found is not None
            assert (found.SubscriptionIdentifier, found.ContentType) == ([7], "json")
            assert found.UserProperty == [("k", "v"), ("k", "w")]

    on_a_broker(body)


def test_many_clients() -> None:
    async def body(broker: Broker) -> None:
        async def one(number: int) -> None:
            async with client(broker, f"c{number}", "5") as each:
                await each.subscribe(f"own/{number}", qos=1)
                await each.publish(f"own/{number}", str(number), qos=1)
                assert await payloads(each, 1) == [str(number)]

        await asyncio.gather(*(one(number) for number in range(50)))

    on_a_broker(body)
