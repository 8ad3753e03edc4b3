"""A page in a real browser with the real MQTT.js, over WebSocket: the frames, masks and headers that browsers send."""

from __future__ import annotations

import functools
import http.server
import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chromium import Chromium, Page
from client_helpers import SESSION_S, Paho, wait_until
from mqttjs_client import FOLDER

from swellmq import Broker, ListenerSettings, Settings

pytestmark = [pytest.mark.needs_chromium, pytest.mark.needs_node, pytest.mark.slow]

every_version = pytest.mark.parametrize("version", [3, 4, 5])
VERSIONS = {
    3: {"protocolId": "MQIsdp", "protocolVersion": 3},
    4: {"protocolVersion": 4},
    5: {"protocolVersion": 5},
}
BIG_BYTES = 300_000  # of a payload: many reads, and a frame with a length of eight bytes


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the page is: a web server that isn't ours, so the page has another origin than the broker."""
    folder = tmp_path_factory.mktemp("web")
    shutil.copy(Path(__file__).parent / "browser.html", folder)
    shutil.copy(FOLDER / "node_modules" / "mqtt" / "dist" / "mqtt.min.js", folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as web:
        thread = threading.Thread(target=web.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{web.server_port}/browser.html"
        web.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    settings = Settings(listeners=[ListenerSettings(port=0, protocol="websocket"), ListenerSettings(port=0)])
    with Broker(settings) as running:
        yield running
        assert running.statistics()["errors_internal"] == 0


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with Chromium(tmp_path_factory.mktemp("chromium")) as running:
        yield running


@pytest.fixture
def page(chromium: Chromium, url: str) -> Iterator[Page]:
    with chromium.page() as opened:
        opened.open(url)
        yield opened
        assert opened.problems == []


def web_port(broker: Broker) -> int:
    return broker.server.listeners[0].port


def mqtt_port(broker: Broker) -> int:
    return broker.server.listeners[1].port


class Browser:
    """A client of MQTT.js in the page."""

    def __init__(self, page: Page, broker: Broker, name: str, version: int = 5, **options: Any) -> None:
        self.page = page
        self.name = name
        address = f"ws://127.0.0.1:{web_port(broker)}/mqtt"
        self.answer = page.run(f"connectClient({json.dumps([name, address, VERSIONS[version] | options])[1:-1]})")

    def call(self, method: str, *arguments: str) -> Any:
        """Call a method with arguments in JavaScript, and wait for what it brings."""
        return self.page.run(f"clients[{self.name!r}].{method}({', '.join(arguments)})")

    def events(self, kind: str, count: int) -> list[Any]:
        """The first events of a kind, once there are so many."""
        found: list[Any] = self.page.wait(
            f"events[{self.name!r}].{kind}.length >= {count} && events[{self.name!r}].{kind}"
        )
        return found

    def messages(self, count: int) -> list[tuple[str, bytes, int, bool]]:
        found = self.events("message", count)
        return [(one["topic"], bytes(one["payload"]), one["qos"], one["retain"]) for one in found]


@every_version
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_publish_and_subscribe(page: Page, broker: Broker, topic: str, version: int, qos: int) -> None:
    client = Browser(page, broker, "page", version)
    assert client.answer == {"sessionPresent": False}
    client.call("subscribeAsync", json.dumps(topic + "/#"), "{qos: 2}")
    for number in range(20):
        client.call("publishAsync", json.dumps(f"{topic}/{number}"), f"'{number}'", f"{{qos: {qos}}}")
    expected = [(f"{topic}/{number}", b"%d" % number, qos, False) for number in range(20)]
    assert client.messages(20) == expected
    client.call("endAsync")


def test_bytes_and_large_payloads(page: Page, broker: Broker, topic: str) -> None:
    client = Browser(page, broker, "page")
    client.call("subscribeAsync", json.dumps(topic), "{qos: 1}")
    client.call("publishAsync", json.dumps(topic), "bytes(256, 0)", "{qos: 1}")
    client.call("publishAsync", json.dumps(topic), f"bytes({BIG_BYTES}, 7)", "{qos: 1}")
    client.call("publishAsync", json.dumps(topic), "''", "{qos: 1}")
    payloads = [payload for _, payload, _, _ in client.messages(3)]
    assert payloads == [bytes(range(256)), bytes((at + 7) % 256 for at in range(BIG_BYTES)), b""]
    client.call("endAsync")


def test_between_a_page_and_a_client_of_mqtt(page: Page, broker: Broker, topic: str) -> None:
    client = Browser(page, broker, "page")
    client.call("subscribeAsync", json.dumps(topic + "/to-page"), "{qos: 1}")
    with Paho(mqtt_port(broker), "device") as device:
        device.subscribe(topic + "/to-device", 1)
        device.publish(topic + "/to-page", "hello page", 1)
        client.call("publishAsync", json.dumps(topic + "/to-device"), "'hello device'", "{qos: 1}")
        assert device.payloads(1) == ["hello device"]
    assert client.messages(1) == [(topic + "/to-page", b"hello page", 1, False)]
    client.call("endAsync")


def test_properties_and_retained(page: Page, broker: Broker, topic: str) -> None:
    client = Browser(page, broker, "page")
    properties = "{contentType: 'text/plain', userProperties: {place: 'hall'}}"
    client.call("publishAsync", json.dumps(topic), "'kept'", f"{{qos: 1, retain: true, properties: {properties}}}")
    client.call("subscribeAsync", json.dumps(topic), "{qos: 1}")
    (message,) = client.events("message", 1)
    assert message["retain"] and bytes(message["payload"]) == b"kept"
    assert message["properties"]["contentType"] == "text/plain"
    assert message["properties"]["userProperties"] == {"place": "hall"}
    client.call("publishAsync", json.dumps(topic), "''", "{qos: 1, retain: true}")
    client.call("endAsync")


def test_a_session_and_the_will_of_a_page_that_is_left(page: Page, broker: Broker, url: str, topic: str) -> None:
    will = {"topic": topic + "/will", "payload": "left", "qos": 1, "retain": False}
    kept = {"clean": False, "properties": {"sessionExpiryInterval": SESSION_S}, "will": will}
    client = Browser(page, broker, "kept-page", **kept)
    client.call("subscribeAsync", json.dumps(topic), "{qos: 1}")
    with Paho(mqtt_port(broker), "witness") as witness:
        witness.subscribe(topic + "/will", 1)
        page.open(url)  # the same page anew: its connection goes without a word
        assert witness.payloads(1) == ["left"]
        witness.publish(topic, "meanwhile", 1)
    back = Browser(page, broker, "kept-page", **kept)
    assert back.answer == {"sessionPresent": True}
    assert back.messages(1) == [(topic, b"meanwhile", 1, False)]
    back.call("endAsync")
    Browser(page, broker, "kept-page", clean=True).call("endAsync")


def test_a_place_is_taken_over(page: Page, broker: Broker) -> None:
    first = Browser(page, broker, "place")
    second = Browser(page, broker, "place-2")
    with Paho(mqtt_port(broker), "place"):
        assert first.events("disconnect", 1) == [0x8E]
        assert first.events("close", 1)
    second.call("endAsync")


def test_many_clients_of_one_page(page: Page, broker: Broker, topic: str) -> None:
    clients = [Browser(page, broker, f"many-{number}") for number in range(30)]
    for client in clients:
        client.call("subscribeAsync", json.dumps(topic), "{qos: 0}")
    clients[0].call("publishAsync", json.dumps(topic), "'to all'", "{qos: 1}")
    assert [client.messages(1) for client in clients] == [[(topic, b"to all", 0, False)]] * 30
    for client in clients:
        client.call("endAsync")


def test_the_broker_that_shuts_down_tells_the_page(page: Page) -> None:
    with Broker(Settings(listeners=[ListenerSettings(port=0, protocol="websocket")])) as own:
        client = Browser(page, own, "last")
    assert client.events("disconnect", 1) == [0x8B]
    assert client.events("close", 1)


def test_no_connection_is_left(page: Page, broker: Broker) -> None:
    Browser(page, broker, "counted").call("endAsync")
    wait_until(lambda: broker.statistics()["pool_active"] == 0)
    assert broker.self_check() == []
