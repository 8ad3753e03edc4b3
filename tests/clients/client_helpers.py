"""What the tests with independent clients share: paho with its callbacks as queues, mosquitto's programs, waiting."""

from __future__ import annotations

import itertools
import queue
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from swellmq import Broker

TIMEOUT_S: Final = 20.0  # for anything that should come at once
POLL_S: Final = 0.005
MQTT_5: Final = 5
SESSION_S: Final = 3_600  # how long a kept session outlives its client in these tests
PAHO_VERSIONS: Final = {3: paho.MQTTv31, 4: paho.MQTTv311, 5: paho.MQTTv5}

_NUMBERS = itertools.count(1)


def wait_until(condition: Callable[[], bool]) -> None:
    """Return once `condition` holds; it is for what nobody tells us."""
    deadline_s = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline_s, "waited in vain"
        time.sleep(POLL_S)


def properties(packet: str, **values: Any) -> Properties:
    """Properties of paho for a packet type, by the specification's names without spaces."""
    made = Properties(getattr(PacketTypes, packet))
    for name, value in values.items():
        setattr(made, name, value)
    return made


class Paho:
    """A connected client of paho; what its callbacks get is put into queues."""

    def __init__(
        self,
        broker: Broker | int,
        client_id: str = "",
        version: int = MQTT_5,
        *,
        keep: bool = False,
        will: tuple[str, str, int, bool] | None = None,
        will_properties: Properties | None = None,
        **connect_properties: Any,
    ) -> None:
        self.version = version
        self.messages: queue.Queue[paho.MQTTMessage] = queue.Queue()
        self.connacks: queue.Queue[tuple[Any, Any, Any]] = queue.Queue()
        self.subacks: queue.Queue[list[Any]] = queue.Queue()
        self.disconnects: queue.Queue[tuple[Any, Any]] = queue.Queue()
        clean = None if version == MQTT_5 else not keep
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id,
            clean_session=clean,
            protocol=PAHO_VERSIONS[version],
            reconnect_on_failure=False,
        )
        client.on_message = lambda _client, _data, message: self.messages.put(message)
        client.on_connect = lambda _client, _data, flags, code, given: self.connacks.put((flags, code, given))
        client.on_subscribe = lambda _client, _data, _number, codes, _given: self.subacks.put(codes)
        client.on_disconnect = lambda _client, _data, _flags, code, given: self.disconnects.put((code, given))
        if will is not None:
            client.will_set(*will, properties=will_properties)
        self.client = client
        port = broker if isinstance(broker, int) else broker.port
        if version == MQTT_5:
            if keep:
                connect_properties.setdefault("SessionExpiryInterval", SESSION_S)
            client.connect(
                "127.0.0.1", port, clean_start=not keep, properties=properties("CONNECT", **connect_properties)
            )
        else:
            client.connect("127.0.0.1", port)
        client.loop_start()
        self.flags, self.code, self.properties = self.connacks.get(timeout=TIMEOUT_S)
        assert not self.code.is_failure

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Say goodbye, where the connection still stands."""
        self.client.disconnect()
        self.client.loop_stop()

    def subscribe(self, topic_filter: str, qos: int = 0, identifier: int = 0, **options: Any) -> int:
        """Subscribe; the reason code of the broker."""
        if self.version == MQTT_5:
            given = properties("SUBSCRIBE", SubscriptionIdentifier=identifier) if identifier else None
            self.client.subscribe(topic_filter, options=SubscribeOptions(qos, **options), properties=given)
        else:
            self.client.subscribe(topic_filter, qos)
        (code,) = self.subacks.get(timeout=TIMEOUT_S)
        return int(code.value)

    def publish(self, topic: str, payload: str = "", qos: int = 0, retain: bool = False, **values: Any) -> None:
        """Publish, and wait until it is acknowledged (QoS 0: sent)."""
        given = properties("PUBLISH", **values) if values else None
        self.client.publish(topic, payload, qos, retain, given).wait_for_publish(TIMEOUT_S)

    def next(self) -> paho.MQTTMessage:
        """The next message."""
        return self.messages.get(timeout=TIMEOUT_S)

    def payloads(self, count: int) -> list[str]:
        """The payloads of the next messages."""
        return [self.next().payload.decode() for _ in range(count)]


class Mosquitto:
    """A `mosquitto_sub` that is subscribed; it prints QoS, RETAIN, topic and payload of each message."""

    def __init__(self, broker: Broker, version: str, *topics: str, options: tuple[str, ...] = ()) -> None:
        ready = f"ready-{next(_NUMBERS)}"
        broker.publish_blocking(ready, ready, retain=True)
        filters = [word for topic in (*topics, ready) for word in ("-t", topic)]
        command = ["mosquitto_sub", "-p", str(broker.port), "-V", version, "-W", str(int(TIMEOUT_S))]
        command += ["-F", "%q %r %t %p", *filters, *options]
        self.popen = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        # The retained message of the last filter tells that all are subscribed.
        self.early: list[str] = []
        early: list[str] = []
        while not (line := self.line()).endswith(ready):
            assert line, "mosquitto_sub has ended"
            early.append(line)
        self.early = early

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.popen.kill()
        self.popen.communicate()

    def line(self) -> str:
        """The next line; "" once it has ended."""
        if self.early:
            return self.early.pop(0)
        assert self.popen.stdout is not None
        return self.popen.stdout.readline().rstrip("\n")

    def leave(self) -> None:
        """End it with a DISCONNECT."""
        self.popen.terminate()
        self.popen.communicate(timeout=TIMEOUT_S)


def mosquitto_pub(broker: Broker, version: str, *arguments: str) -> None:
    """Run `mosquitto_pub`, which ends once all is acknowledged."""
    command = ["mosquitto_pub", "-p", str(broker.port), "-V", version, *arguments]
    done = subprocess.run(command, capture_output=True, timeout=TIMEOUT_S, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def python_client(script: str, *arguments: str) -> subprocess.Popen[str]:
    """A client in a process of its own; returns once it has printed a line."""
    popen = subprocess.Popen([sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE, text=True)
    assert popen.stdout is not None
    assert popen.stdout.readline() == "ready\n"
    return popen


def free_port() -> int:
    """A TCP port that was free just now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert isinstance(port, int)
    return port
