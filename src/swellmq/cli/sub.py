"""`swellmq sub`: subscribe and print what comes.

Messages of one turn are printed and flushed before their acknowledgements leave, so a message that is acknowledged has
been written. QoS 2 is printed at the PUBLISH and remembered until the PUBREL: a second PUBLISH with the same packet
identifier in between is the same message again, and is only answered.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import string
import sys
import time
from collections.abc import Callable
from typing import Any, Final

from swellmq.cli.arguments import seconds, whole
from swellmq.cli.client import (
    ANSWER_TIMEOUT_S,
    Client,
    ClientError,
    Stop,
    UsageError,
    add_connection_arguments,
    add_will_arguments,
    connect_packet,
    open_client,
    os_error_text,
    reason_text,
    require_mqtt_5,
    run_command,
    tell,
    utf8,
)
from swellmq.codec import spec
from swellmq.codec.packets import (
    ABSENT,
    Ack,
    Connect,
    Packet,
    Properties,
    Publish,
    Suback,
    Subscribe,
    TopicRequest,
)
from swellmq.codec.properties import decode_properties
from swellmq.codec.topic import check_topic_filter
from swellmq.errors import PeerError

EXIT_TIMEOUT: Final = 27  # as mosquitto_sub
SUBSCRIBE_IDENTIFIER: Final = 1  # the packet identifier of the only SUBSCRIBE
SHARED_PREFIX: Final = b"$share/"
FORMAT_FIELDS: Final = ("topic", "payload", "qos", "retain", "properties")
FORMAT_ESCAPES: Final = {"n": "\n", "t": "\t", "0": "\0", "\\": "\\"}

DESCRIPTION: Final = "Subscribe to topics of an MQTT broker and print the messages."
EXAMPLES: Final = """\
examples:
  swellmq sub -t 'home/#' -v
  swellmq sub -t alerts -q 1 -C 1 -W 30
  swellmq sub -t 'sensors/+/temperature' --json | jq .payload
  swellmq sub -t jobs -q 1 -c -i worker-7 --format '{topic}\\t{payload}'

--format knows {topic}, {payload}, {qos}, {retain}, {properties} and the escapes \\n \\t \\0 \\\\; {{ and }} are braces.
--json has topic, payload, qos, retain and properties; what is not UTF-8 comes in hexadecimal under a name in _hex.
exit codes: 0 enough messages (-C) or stopped by a signal, 1 the broker could not be reached, refused or left,
2 bad arguments, 27 the time of -W is over
"""


class Receiver:
    """Takes the packets of the broker, prints messages and acknowledges them."""

    def __init__(self, client: Client, arguments: argparse.Namespace) -> None:
        self.client = client
        self.arguments = arguments
        self.subscribed = False
        self.printed = 0
        self.count: int = arguments.count  # messages to print; 0: no end
        self._line = line_maker(arguments)
        self._output = sys.stdout.buffer
        self._unreleased: set[int] = set()  # packet identifiers of QoS 2 between PUBLISH and PUBREL

    @property
    def enough(self) -> bool:
        return 0 < self.count <= self.printed

    def on_packet(self, packet: Packet) -> None:
        if isinstance(packet, Publish):
            self._on_publish(packet)
        elif isinstance(packet, Ack) and packet.packet_type == spec.PUBREL:
            self._on_pubrel(packet)
        elif isinstance(packet, Suback) and packet.packet_identifier == SUBSCRIBE_IDENTIFIER:
            self._on_suback(packet)

    def _on_publish(self, publish: Publish) -> None:
        packet_identifier = publish.packet_identifier
        repeated = publish.qos == 2 and packet_identifier in self._unreleased
        if not repeated and not (publish.retain and self.arguments.no_retained):
            self._output.write(self._line(publish))
            self.printed += 1
        if publish.qos == 1:
            self.client.send(Ack(spec.PUBACK, packet_identifier))
        elif publish.qos == 2:
            self._unreleased.add(packet_identifier)
            self.client.send(Ack(spec.PUBREC, packet_identifier))

    def _on_pubrel(self, pubrel: Ack) -> None:
        # Of an earlier connection of this session the broker may release what this process never saw.
        known = pubrel.packet_identifier in self._unreleased
        self._unreleased.discard(pubrel.packet_identifier)
        found = known or self.client.protocol_version < spec.MQTT_5_0
        reason_code = spec.SUCCESS if found else spec.PACKET_IDENTIFIER_NOT_FOUND
        self.client.send(Ack(spec.PUBCOMP, pubrel.packet_identifier, reason_code))

    def _on_suback(self, suback: Suback) -> None:
        self.subscribed = True
        refused = 0
        for topic_filter, reason_code in zip(self.arguments.topics, suback.reason_codes, strict=False):
            if reason_code >= spec.SUBACK_FAILURE:
                refused += 1
                if self.client.protocol_version == spec.MQTT_5_0:
                    reason = reason_text(reason_code, suback.properties)
                else:
                    reason = "no reason given"
                tell("sub", f"the broker refused the subscription to {topic_filter.decode()}: {reason}")
        if refused == len(self.arguments.topics):
            raise ClientError("no subscription is left")
        if self.arguments.debug:
            tell("sub", "subscribed")


def line_maker(arguments: argparse.Namespace) -> Callable[[Publish], bytes]:
    """How a message is printed, newline included."""
    end = b"" if arguments.no_newline else b"\n"

    def payload(publish: Publish) -> bytes:
        return publish.payload.hex().encode() if arguments.hex else publish.payload

    def plain(publish: Publish) -> bytes:
        return payload(publish) + end

    def verbose(publish: Publish) -> bytes:
        return publish.topic_name + b" " + payload(publish) + end

    def json_object(publish: Publish) -> bytes:
        values: dict[str, Any] = {"topic": publish.topic_name.decode()}
        values |= {"payload_hex": publish.payload.hex()} if arguments.hex else text_or_hex("payload", publish.payload)
        values |= {"qos": publish.qos, "retain": publish.retain, "properties": properties_of(publish)}
        return json_bytes(values) + end

    def formatted(publish: Publish) -> bytes:
        values = {
            "topic": publish.topic_name,
            "payload": payload(publish),
            "qos": b"%d" % publish.qos,
            "retain": b"%d" % publish.retain,
            "properties": json_bytes(properties_of(publish)) if shows_properties else b"",
        }
        return b"".join(text + values.get(field, b"") for text, field in arguments.format) + end

    shows_properties = arguments.format is not None and any(field == "properties" for _, field in arguments.format)
    if arguments.json:
        return json_object
    if arguments.format is not None:
        return formatted
    return verbose if arguments.verbose else plain


def json_bytes(values: dict[str, Any]) -> bytes:
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()


def text_or_hex(name: str, value: bytes) -> dict[str, Any]:
    """A field for JSON: text where the bytes are UTF-8, else hexadecimal under a name that says so."""
    try:
        return {name: value.decode()}
    except UnicodeDecodeError:
        return {name + "_hex": value.hex()}


def properties_of(publish: Publish) -> dict[str, Any]:
    """The properties of a message under the names of the specification; empty in MQTT 3.x."""
    values: dict[str, Any] = {}
    if publish.message_expiry_interval != ABSENT:
        values["message_expiry_interval"] = publish.message_expiry_interval
    if not publish.properties:
        return values
    properties = decode_properties(publish.properties, 0, len(publish.properties), spec.PUBLISH)
    if properties.payload_format_indicator != ABSENT:
        values["payload_format_indicator"] = properties.payload_format_indicator
    if properties.content_type is not None:
        values["content_type"] = properties.content_type
    if properties.response_topic is not None:
        values["response_topic"] = properties.response_topic.decode()
    if properties.correlation_data is not None:
        values |= text_or_hex("correlation_data", properties.correlation_data)
    if properties.subscription_identifiers is not None:
        values["subscription_identifiers"] = properties.subscription_identifiers
    if properties.user_properties is not None:
        values["user_properties"] = properties.user_properties
    return values


def subscribe_packet(arguments: argparse.Namespace) -> Subscribe:
    requests = [
        TopicRequest(
            topic_filter, arguments.qos, arguments.no_local, arguments.retain_as_published, arguments.retain_handling
        )
        for topic_filter in arguments.topics
    ]
    properties = None
    if arguments.subscription_identifier is not None:
        properties = Properties()
        properties.subscription_identifiers = [arguments.subscription_identifier]
    return Subscribe(SUBSCRIBE_IDENTIFIER, requests, properties)


def session_connect(arguments: argparse.Namespace) -> Connect:
    """The CONNECT with what concerns the session; raises `UsageError`."""
    require_mqtt_5(
        arguments,
        {
            "--session-expiry": arguments.session_expiry is not None,
            "--retain-handling": arguments.retain_handling != 0,
            "--no-local": arguments.no_local,
            "--retain-as-published": arguments.retain_as_published,
            "--subscription-identifier": arguments.subscription_identifier is not None,
        },
    )
    if arguments.no_local and any(topic_filter.startswith(SHARED_PREFIX) for topic_filter in arguments.topics):
        raise UsageError("--no-local does not go with a shared subscription ($share/...)")
    if (not arguments.clean_start or arguments.session_expiry) and not arguments.client_id:
        raise UsageError("a session that outlives this command is found again by its client id. Give -i")
    connect = connect_packet(arguments, "sub")
    connect.clean_start = arguments.clean_start
    session_expiry = arguments.session_expiry
    if session_expiry is None and not arguments.clean_start:
        session_expiry = spec.SESSION_EXPIRY_NEVER
    if session_expiry is not None and connect.protocol_version == spec.MQTT_5_0:
        connect.properties = Properties()
        connect.properties.session_expiry_interval = session_expiry
    return connect


def receive(receiver: Receiver, stop: Stop, deadline_s: float) -> int:
    """Print messages until there are enough, a signal comes or the time is over; returns the exit code."""
    suback_deadline_s = time.monotonic() + ANSWER_TIMEOUT_S
    while not stop.requested:
        now_s = time.monotonic()
        if now_s >= deadline_s:
            return EXIT_TIMEOUT
        if not receiver.subscribed and now_s >= suback_deadline_s:
            raise ClientError(f"the broker did not answer SUBSCRIBE within {ANSWER_TIMEOUT_S:g} s")
        next_s = deadline_s if receiver.subscribed else min(deadline_s, suback_deadline_s)
        for packet in receiver.client.turn(next_s - now_s, [stop.fd]):
            receiver.on_packet(packet)
            if receiver.enough:
                break
        sys.stdout.buffer.flush()
        if receiver.enough:
            break
    return 0


def subscribe_command(arguments: argparse.Namespace, stop: Stop) -> int:
    deadline_s = time.monotonic() + arguments.timeout
    connect = session_connect(arguments)
    answer_timeout_s = min(ANSWER_TIMEOUT_S, arguments.timeout)
    try:
        client = open_client(arguments, answer_timeout_s)
        client.connect(connect, answer_timeout_s)
    except KeyboardInterrupt:
        return 0
    except ClientError as error:
        if time.monotonic() < deadline_s:
            raise
        tell("sub", str(error))
        return EXIT_TIMEOUT
    stop.watched = True
    if arguments.debug:
        tell("sub", "connected")
    try:
        client.send(subscribe_packet(arguments))
        return receive(Receiver(client, arguments), stop, deadline_s)
    except BrokenPipeError:
        # Whoever read our output has had enough. What is left in the buffer must not be tried again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        raise ClientError("could not write the output: " + os_error_text(error)) from error
    finally:
        client.disconnect()


def topic_filter(text: str) -> bytes:
    """An argument type: a topic filter, MQTT 5.0 section 4.7."""
    value = utf8(text).encode()
    try:
        check_topic_filter(value)
    except PeerError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from None
    return value


def session_expiry(text: str) -> int:
    """An argument type: seconds, or `never`."""
    return spec.SESSION_EXPIRY_NEVER if text == "never" else whole(0, spec.SESSION_EXPIRY_NEVER)(text)


def format_pieces(text: str) -> list[tuple[bytes, str]]:
    """An argument type: pieces of literal text, each with the name of the field that follows it or ""."""
    unescaped = re.sub(r"\\([nt0\\])", lambda match: FORMAT_ESCAPES[match[1]], text)
    pieces: list[tuple[bytes, str]] = []
    try:
        for literal, field, specification, conversion in string.Formatter().parse(unescaped):
            if specification or conversion or (field is not None and field not in FORMAT_FIELDS):
                names = ", ".join("{" + name + "}" for name in FORMAT_FIELDS)
                raise argparse.ArgumentTypeError(f"{{{field}}} is none of {names}")
            pieces.append((os.fsencode(literal), field or ""))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from None
    return pieces


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s -t FILTER [-t FILTER ...] [options]; see %(prog)s --help"
    parser.description = DESCRIPTION
    parser.epilog = EXAMPLES
    add_connection_arguments(parser)
    add_subscription_arguments(parser)
    add_output_arguments(parser)
    add_will_arguments(parser)


def add_subscription_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("subscription")
    group.add_argument(
        "-t",
        "--topic",
        dest="topics",
        type=topic_filter,
        action="append",
        required=True,
        metavar="FILTER",
        help="topic filter; may be given more than once",
    )
    group.add_argument("-q", "--qos", type=int, choices=(0, 1, 2), default=0, help="highest QoS (default: 0)")
    group.add_argument(
        "-c",
        "--no-clean-start",
        dest="clean_start",
        action="store_false",
        help="take up the session of this client id, and keep it (needs -i)",
    )
    group.add_argument(
        "--session-expiry",
        type=session_expiry,
        metavar="SECONDS",
        help="how long the broker keeps the session afterwards, or never (default: 0; with -c never)",
    )
    group.add_argument(
        "--retain-handling",
        type=int,
        choices=(0, 1, 2),
        default=0,
        help="retained messages: 0 always (default), 1 only for a new subscription, 2 none",
    )
    group.add_argument("--no-local", action="store_true", help="leave out what this client id publishes")
    group.add_argument("--retain-as-published", action="store_true", help="keep the retain flag as published")
    group.add_argument(
        "--subscription-identifier",
        type=whole(1, spec.SUBSCRIPTION_IDENTIFIER_MAX),
        metavar="N",
        help="a number that comes back with the messages",
    )


def add_output_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("output")
    how = group.add_mutually_exclusive_group()
    how.add_argument("-v", "--verbose", action="store_true", help="topic, a space, then the payload")
    how.add_argument("--format", type=format_pieces, metavar="TEXT", help="as this text says, see below")
    how.add_argument("--json", action="store_true", help="one JSON object a line, with the properties")
    group.add_argument("-x", "--hex", action="store_true", help="payload in hexadecimal")
    group.add_argument("-N", "--no-newline", action="store_true", help="no newline after a message")
    group.add_argument("-R", "--no-retained", action="store_true", help="leave out messages with the retain flag")
    group.add_argument(
        "-C", "--count", type=whole(1, 1_000_000_000), default=0, metavar="N", help="end after N messages"
    )
    group.add_argument(
        "-W",
        "--timeout",
        type=seconds,
        default=float("inf"),
        metavar="SECONDS",
        help="end after this time, with exit code 27",
    )


def run(arguments: argparse.Namespace) -> int:
    return run_command("sub", subscribe_command, arguments)
