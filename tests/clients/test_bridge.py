"""A mosquitto that bridges to our broker, in both directions and without loops."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from client_helpers import TIMEOUT_S, Paho, free_port, wait_until

from swellmq import Broker, Settings

pytestmark = pytest.mark.needs_mosquitto

CONFIGURATION = """
listener {port} 127.0.0.1
allow_anonymous true
connection ours
address 127.0.0.1:{ours}
bridge_protocol_version {version}
notifications false
restart_timeout 1
topic both/# both 2
topic up/# out 1
topic down/# in 1
topic status both 1 here/ there/
"""


@pytest.fixture(params=["mqttv31", "mqttv311", "mqttv50"])
def bridge(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Broker, int]]:
    """Our broker, and the port of a mosquitto that is connected to it."""
    port = free_port()
    with Broker(Settings(port=0)) as broker:
        configuration = tmp_path / "mosquitto.conf"
        configuration.write_text(CONFIGURATION.format(port=port, ours=broker.port, version=request.param))
        mosquitto = subprocess.Popen(["mosquitto", "-c", str(configuration)], stderr=subprocess.DEVNULL)
        wait_until(lambda: broker.statistics()["subscriptions"] == 3)
        yield broker, port
        assert broker.statistics()["errors_internal"] == 0
        mosquitto.terminate()
        mosquitto.wait(TIMEOUT_S)


def test_both_directions(bridge: tuple[Broker, int]) -> None:
    broker, port = bridge
    with Paho(broker, "on-ours", 4) as ours, Paho(port, "on-mosquitto", 4) as theirs:
        for client in (ours, theirs):
            client.subscribe("#", 2)
        for number in range(20):
            ours.publish("both/a", f"ours {number}", number % 3)
            theirs.publish("both/b", f"theirs {number}", number % 3)
        ours.publish("down/a", "down", 1)
        theirs.publish("up/a", "up", 1)
        ours.publish("there/status", "moved", 1)
        theirs.publish("here/status", "moved too", 1)
        # Whatever a loop brought would come before these; QoS 2, as no message of QoS 2 is overtaken by such a one.
        ours.publish("both/last", "of ours", 2)
        theirs.publish("both/last", "of theirs", 2)
        assert _until_both_last(ours) == _expected("there/status")
        assert _until_both_last(theirs) == _expected("here/status")


def _expected(status: str) -> list[tuple[str, str]]:
    both = [("both/a", f"ours {number}") for number in range(20)]
    both += [("both/b", f"theirs {number}") for number in range(20)]
    both += [("both/last", "of ours"), ("both/last", "of theirs"), ("down/a", "down"), ("up/a", "up")]
    return sorted([*both, (status, "moved"), (status, "moved too")])


def _until_both_last(client: Paho) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    while sum(topic == "both/last" for topic, _ in found) < 2:
        message = client.next()
        found.append((message.topic, message.payload.decode()))
    return sorted(found)


def test_retained_messages_cross_as_retained(bridge: tuple[Broker, int]) -> None:
    broker, port = bridge
    with Paho(broker, "on-ours", 4) as ours, Paho(port, "on-mosquitto", 4) as theirs:
        for client in (ours, theirs):
            client.subscribe("both/done", 1)
        ours.publish("both/from-ours", "kept", 1, retain=True)
        theirs.publish("both/from-theirs", "kept", 1, retain=True)
        for here, there, topic in ((ours, theirs, "both/from-ours"), (theirs, ours, "both/from-theirs")):
            here.publish("both/done", "done", 1)
            assert there.payloads(1) == ["done"]
            assert here.payloads(1) == ["done"]
            there.subscribe(topic, 1)
            message = there.next()
            assert (message.payload, message.retain) == (b"kept", True)
