"""MQTT.js, the client of Node.js: in a process of `mqttjs/run.js`, which is told what to do line by line."""

from __future__ import annotations

import itertools
import json
import queue
import subprocess
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from client_helpers import MQTT_5, SESSION_S, TIMEOUT_S

from swellmq import Broker

FOLDER: Final = Path(__file__).parent / "mqttjs"
EVENTS: Final = ("connect", "disconnect", "close", "error", "message", "packetsend", "packetreceive")
Packet = dict[str, Any]  # as MQTT.js names its parts


def missing() -> str:
    """What is not installed of node and MQTT.js; "" where all is there."""
    try:
        subprocess.run(["node", "-e", "require('mqtt')"], cwd=FOLDER, capture_output=True, check=True)
    except FileNotFoundError:
        return "node"
    except subprocess.CalledProcessError:
        return "MQTT.js (npm ci --prefix tests/clients/mqttjs)"
    return ""


class Refused(Exception):
    """A call that MQTT.js lets fail."""


class Node:
    """A process of node, for any number of clients."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._calls: dict[int, queue.Queue[Any]] = {}
        self._events: dict[tuple[int, str], queue.Queue[Any]] = {}
        self.popen = subprocess.Popen(
            ["node", "run.js"], cwd=FOLDER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def kill(self) -> None:
        """End it without a word to any broker."""
        self.popen.kill()
        self.popen.wait(TIMEOUT_S)
        self._reader.join(TIMEOUT_S)

    def client(self) -> int:
        """The number of a client to be; its events are kept from now on."""
        number = next(self._numbers)
        for event in EVENTS:
            self._events[number, event] = queue.Queue()
        return number

    def event(self, client: int, name: str) -> Any:
        """Wait for the next event of that name."""
        return self._events[client, name].get(timeout=TIMEOUT_S)

    def events(self, client: int, name: str) -> list[Any]:
        """The events of that name that nobody has waited for yet."""
        found = self._events[client, name]
        return [found.get() for _ in range(found.qsize())]

    def begin(self, client: int, command: str, *arguments: object) -> int:
        """Tell a client to do something; the number of the call, for `finish`."""
        call = next(self._numbers)
        self._calls[call] = queue.Queue()
        assert self.popen.stdin is not None
        self.popen.stdin.write(json.dumps({"client": client, "call": call, "do": command, "with": arguments}) + "\n")
        self.popen.stdin.flush()
        return call

    def finish(self, call: int) -> Any:
        """What the call brings; raises Refused."""
        answer = self._calls[call].get(timeout=TIMEOUT_S)
        del self._calls[call]
        if "error" in answer:
            raise Refused(answer["error"]["message"])
        return answer["value"]

    def _read(self) -> None:
        assert self.popen.stdout is not None
        for line in self.popen.stdout:
            told = json.loads(line)
            if "call" in told:
                self._calls[told["call"]].put(told)
            else:
                self._events[told["client"], told["event"]].put(told.get("value"))


class MqttJs:
    """A client of MQTT.js; `options` and what packets hold are named as there.

    Its `answer` is the CONNACK that it got, or another event of EVENTS that is to come of its CONNECT.
    """

    def __init__(
        self,
        node: Node,
        broker: Broker,
        client_id: str,
        version: int = MQTT_5,
        *,
        keep: bool = False,
        properties: dict[str, Any] | None = None,
        answer: str = "connect",
        **options: Any,
    ) -> None:
        self.node = node
        self.version = version
        self.number = node.client()
        options.setdefault("reconnectPeriod", 0)
        if version == MQTT_5:
            expiry = {"sessionExpiryInterval": SESSION_S} if keep else {}
            options["properties"] = expiry | (properties or {})
        self.call(
            "connect",
            {
                "host": "127.0.0.1",
                "port": broker.port,
                "clientId": client_id,
                "protocolId": "MQIsdp" if version == 3 else "MQTT",
                "protocolVersion": version,
                "clean": not keep,
            }
            | options,
        )
        self.answer: Packet = self.event(answer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def call(self, command: str, *arguments: object) -> Any:
        """Do something, and wait for what it brings."""
        return self.node.finish(self.node.begin(self.number, command, *arguments))

    def event(self, name: str) -> Any:
        """The next event of that name, among those of EVENTS."""
        return self.node.event(self.number, name)

    def sent(self, kind: str) -> list[Packet]:
        """The packets of a kind that were sent since this was asked."""
        return [packet for packet in self.node.events(self.number, "packetsend") if packet["cmd"] == kind]

    def received(self, kind: str) -> list[Packet]:
        """The packets of a kind that were received since this was asked."""
        return [packet for packet in self.node.events(self.number, "packetreceive") if packet["cmd"] == kind]

    def end(self, **packet: Any) -> None:
        """Say goodbye, where the connection still stands."""
        self.call("end", packet)

    def cut(self) -> None:
        """Close the connection without a word."""
        self.call("cut")
        self.event("close")

    def subscribe(self, topic_filter: str, qos: int = 0, **options: Any) -> int:
        """Subscribe; the granted QoS."""
        (granted,) = self.call("subscribe", topic_filter, {"qos": qos} | options)
        return int(granted["qos"])

    def begin_publish(self, topic: str, payload: str, qos: int = 0, retain: bool = False, **properties: Any) -> int:
        """Publish; `node.finish` waits until it is acknowledged (QoS 0: sent)."""
        options = {"qos": qos, "retain": retain, "properties": properties}
        return self.node.begin(self.number, "publish", topic, payload, options)

    def publish(self, topic: str, payload: str = "", qos: int = 0, retain: bool = False, **properties: Any) -> Any:
        """Publish, and wait until it is acknowledged; the acknowledgement."""
        return self.node.finish(self.begin_publish(topic, payload, qos, retain, **properties))

    def next(self) -> Packet:
        """The next message."""
        message: Packet = self.event("message")
        return message

    def payloads(self, count: int) -> list[str]:
        """The payloads of the next messages."""
        return [self.next()["payload"] for _ in range(count)]
