"""`swellmq ping`: whether a broker answers, for people and for checks of health.

A CONNACK is an answer, whatever it says: a broker that wants a password from whoever asks is well.
"""

from __future__ import annotations

import argparse
import time
from typing import Final

from swellmq.cli.arguments import seconds
from swellmq.cli.client import (
    Refused,
    Stop,
    add_connection_arguments,
    connect_packet,
    open_client,
    run_command,
)

EPILOG: Final = """\
The exit code is 0 where the broker answers, 1 where it does not.

examples:
  swellmq ping
  swellmq ping -h broker.example --tls
  swellmq ping --unix /run/swellmq/mqtt.sock --timeout 1
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Say whether an MQTT broker answers, and how long that takes."
    parser.epilog = EPILOG
    add_connection_arguments(parser)
    parser.set_defaults(will_topic=None, will_payload=None, will_qos=0, will_retain=False)
    parser.add_argument(
        "--timeout", type=seconds, default=5.0, metavar="S", help="how long it may take, in seconds [default 5]"
    )


def run(arguments: argparse.Namespace) -> int:
    return run_command("ping", ping, arguments)


def ping(arguments: argparse.Namespace, _stop: Stop) -> int:
    """Connect, and say how long the answer took."""
    begin = time.perf_counter()
    client = open_client(arguments, arguments.timeout)
    try:
        client.connect(connect_packet(arguments, "ping"), arguments.timeout)
    except Refused as refusal:
        print(f"answered in {_milliseconds(begin)}; {refusal}")
        client.socket.close()
        return 0
    print(f"answered in {_milliseconds(begin)}")
    client.disconnect()
    return 0


def _milliseconds(begin: float) -> str:
    return f"{(time.perf_counter() - begin) * 1e3:.1f} ms"
