"""`kill -9` of the process of a client: its will is published, whatever library it used."""

from __future__ import annotations

import pytest
from client_helpers import Paho, python_client

from swellmq import Broker

PAHO = """
import sys
import paho.mqtt.client as paho
port, version, topic = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
client = paho.Client(paho.CallbackAPIVersion.VERSION2, "paho", protocol=version)
client.on_connect = lambda *_: print("ready", flush=True)
client.will_set(topic, "gone", 1)
client.connect("127.0.0.1", port)
client.loop_forever()
"""
AIOMQTT = """
import asyncio, sys
import aiomqtt
async def main(port, version, topic):
    will = aiomqtt.Will(topic, "gone", 1)
    async with aiomqtt.Client("127.0.0.1", port, protocol=aiomqtt.ProtocolVersion(version), will=will):
        print("ready", flush=True)
        await asyncio.Event().wait()
asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
"""
GMQTT = """
import asyncio, sys
import gmqtt
async def main(port, version, topic):
    client = gmqtt.Client("gmqtt", will_message=gmqtt.Message(topic, "gone", qos=1))
    await client.connect("127.0.0.1", port, version=version)
    print("ready", flush=True)
    await asyncio.Event().wait()
asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
"""


@pytest.mark.parametrize(
    ("script", "version"),
    [(PAHO, 3), (PAHO, 4), (PAHO, 5), (AIOMQTT, 3), (AIOMQTT, 4), (AIOMQTT, 5), (GMQTT, 4), (GMQTT, 5)],
    ids=["paho-3", "paho-4", "paho-5", "aiomqtt-3", "aiomqtt-4", "aiomqtt-5", "gmqtt-4", "gmqtt-5"],
)
def test_the_will(broker: Broker, topic: str, script: str, version: int) -> None:
    with Paho(broker, "witness") as witness:
        witness.subscribe(topic, 1)
        client = python_client(script, str(broker.port), str(version), topic)
        client.kill()
        client.communicate()
        message = witness.next()
        assert (message.payload, message.qos) == (b"gone", 1)
