"""`swellmq pub`: publish messages from arguments, a file or standard input, and see them acknowledged.

What is published comes out of a source (`Repeated` or `Lines`) whenever the broker has room for more: `Publisher`
keeps at most its Receive Maximum under way, and bounds what waits for the socket.
"""

from __future__ import annotations

import argparse
import collections
import os
import select
import sys
import time
from typing import Final

from swellmq.cli.arguments import seconds, whole
from swellmq.cli.client import (
    ANSWER_TIMEOUT_S,
    READ_BYTES,
    Client,
    ClientError,
    Stop,
    UsageError,
    add_connection_arguments,
    add_will_arguments,
    binary,
    connect_packet,
    open_client,
    os_error_text,
    reason_text,
    require_mqtt_5,
    run_command,
    tell,
    topic_name,
    utf8,
)
from swellmq.cli.main import EXIT_INTERRUPTED
from swellmq.codec import spec
from swellmq.codec.encode import encode_hop_properties, encode_publish
from swellmq.codec.packets import ABSENT, Ack, Connack, Packet, Properties, Publish
from swellmq.codec.properties import encode_properties_body

OUTBOX_BYTES: Final = 262_144  # more is not taken from the source before the socket has taken some
RECEIVE_MAXIMUM_3: Final = 20  # MQTT 3.x names no window; 20 is what brokers take at once without dropping
PROGRESS_AFTER_S: Final = 2.0
PROGRESS_EVERY_S: Final = 0.2
STANDARD_INPUT: Final = 0
# The largest PUBLISH less the largest topic name and properties that the arguments can give.
PAYLOAD_BYTES_MAX: Final = spec.REMAINING_LENGTH_MAX - 1_048_576

DESCRIPTION: Final = "Publish messages to an MQTT broker."
EXAMPLES: Final = """\
examples:
  swellmq pub -t home/kitchen/temperature -m 21.5
  swellmq pub -t home/kitchen/heater -m on -q 1 --retain
  sensors | swellmq pub -h broker.example -t sensors/log -q 1 -l
  swellmq pub -t requests -f order.json --content-type application/json --user-property trace 4711

With QoS 1 and 2 the command ends when the broker has acknowledged every message.
exit codes: 0 all published, 1 the broker could not be reached, refused or left, 2 bad arguments, 130 interrupted
"""


class Repeated:
    """A source that gives one payload `count` times, `delay_s` apart."""

    fd: Final = -1

    def __init__(self, payload: bytes, count: int, delay_s: float) -> None:
        self.payload = payload
        self.left = count
        self.delay_s = delay_s
        self.due_s = time.monotonic()

    @property
    def ended(self) -> bool:
        return self.left == 0

    def take(self) -> bytes | None:
        """The next payload, None if there is none now."""
        if self.left == 0 or (self.delay_s and time.monotonic() < self.due_s):
            return None
        self.left -= 1
        self.due_s = time.monotonic() + self.delay_s
        return self.payload


class Lines:
    """A source that gives every line of a file descriptor, without its newline; empty lines are left out."""

    due_s: Final = 0.0

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._lines: collections.deque[bytes] = collections.deque()
        self._partial: list[bytes] = []
        self._partial_bytes = 0
        self._end_of_file = False

    @property
    def ended(self) -> bool:
        return self._end_of_file and not self._lines

    def take(self) -> bytes | None:
        """The next line, None if there is none now. Never waits."""
        while not self._lines and not self._end_of_file and select.select([self.fd], [], [], 0)[0]:
            self._read()
        return self._lines.popleft() if self._lines else None

    def _read(self) -> None:
        try:
            data = os.read(self.fd, READ_BYTES)
        except OSError as error:
            raise ClientError("could not read standard input: " + os_error_text(error)) from error
        self._end_of_file = not data
        first, *others = data.split(b"\n")
        self._partial.append(first)
        self._partial_bytes += len(first)
        if self._partial_bytes > PAYLOAD_BYTES_MAX:
            raise ClientError("a line of standard input is too long for an MQTT message")
        if others or self._end_of_file:
            lines = [b"".join(self._partial), *others[:-1]]
            self._lines.extend(line for line in lines if line)
            self._partial = others[-1:]
            self._partial_bytes = len(self._partial[0]) if self._partial else 0


class Publisher:
    """Messages under way to the broker, all with the topic, QoS and properties of the arguments."""

    def __init__(self, client: Client, arguments: argparse.Namespace, connack: Connack) -> None:
        self.client = client
        self.arguments = arguments
        self.published = 0
        self.without_subscriber = 0  # as far as the broker says so
        self.refused = ""  # why the broker took a message not
        self.unacknowledged: dict[int, int] = {}  # packet identifier: the packet type that is awaited
        self.receive_maximum = (
            spec.PACKET_IDENTIFIER_MAX if client.protocol_version == spec.MQTT_5_0 else RECEIVE_MAXIMUM_3
        )
        self.packet_bytes_max = ABSENT
        if connack.properties is not None:
            self.packet_bytes_max = connack.properties.maximum_packet_size
            if connack.properties.receive_maximum != ABSENT:
                self.receive_maximum = connack.properties.receive_maximum
        self._packet_identifier = 0
        self._properties = forwarded_properties(arguments)
        self._hop_properties = encode_hop_properties(arguments.message_expiry_interval, 0, None)

    @property
    def completed(self) -> int:
        return self.published - len(self.unacknowledged)

    def has_room(self) -> bool:
        return len(self.client.outbox) < OUTBOX_BYTES and len(self.unacknowledged) < self.receive_maximum

    def publish(self, payload: bytes) -> None:
        qos, retain = self.arguments.qos, self.arguments.retain
        publish = Publish(self.arguments.topic, payload, qos, retain)
        publish.properties = self._properties
        packet_identifier = self._next_packet_identifier() if qos else 0
        version = self.client.protocol_version
        data = encode_publish(publish, version, qos, retain, False, packet_identifier, self._hop_properties)
        if self.packet_bytes_max != ABSENT and len(data) > self.packet_bytes_max:
            self.refused = f"{len(data):,} bytes are more than the {self.packet_bytes_max:,} it takes as a packet"
            return
        if qos:
            self.unacknowledged[packet_identifier] = spec.PUBACK if qos == 1 else spec.PUBREC
        self.client.outbox += data
        self.published += 1

    def on_packet(self, packet: Packet) -> None:
        """Take an acknowledgement; everything else that a broker may send to a publisher needs no answer."""
        if not isinstance(packet, Ack) or self.unacknowledged.get(packet.packet_identifier) != packet.packet_type:
            return
        if packet.reason_code == spec.NO_MATCHING_SUBSCRIBERS:
            self.without_subscriber += 1
        if packet.reason_code >= spec.UNSPECIFIED_ERROR:
            self.refused = reason_text(packet.reason_code, packet.properties)
        elif packet.packet_type == spec.PUBREC:
            self.unacknowledged[packet.packet_identifier] = spec.PUBCOMP
            self.client.send(Ack(spec.PUBREL, packet.packet_identifier))
            return
        del self.unacknowledged[packet.packet_identifier]

    def _next_packet_identifier(self) -> int:
        while True:
            self._packet_identifier = self._packet_identifier % spec.PACKET_IDENTIFIER_MAX + 1
            if self._packet_identifier not in self.unacknowledged:
                return self._packet_identifier


class Progress:
    """A line on a terminal that counts what was published, once a run takes its time."""

    def __init__(self, wanted: bool, total: int) -> None:
        self.started_s = time.monotonic()
        self.next_s = self.started_s + PROGRESS_AFTER_S if wanted and sys.stderr.isatty() else float("inf")
        self.total = f" of {total:,}" if total else ""
        self.shown = False

    def update(self, published: int) -> None:
        now_s = time.monotonic()
        if now_s >= self.next_s:
            self._show(published, now_s)
            self.next_s = now_s + PROGRESS_EVERY_S

    def close(self, published: int) -> None:
        if self.shown:
            self._show(published, time.monotonic())
            print(file=sys.stderr)

    def _show(self, published: int, now_s: float) -> None:
        rate = published / (now_s - self.started_s)
        line = f"{published:,}{self.total} messages, {rate:,.0f} a second"
        print(f"\r{line}\033[K", end="", file=sys.stderr, flush=True)  # [K clears what a longer line left
        self.shown = True


def publish_all(
    publisher: Publisher, source: Repeated | Lines, progress: Progress, stop: Stop, timeout_s: float
) -> None:
    """Publish all that the source gives and wait for the acknowledgements, until a refusal or a signal."""
    client = publisher.client
    answer_s = time.monotonic()  # when the broker last took or acknowledged something
    while not publisher.refused and not stop.requested:
        while publisher.has_room() and not publisher.refused and (payload := source.take()) is not None:
            publisher.publish(payload)
        if source.ended and not publisher.unacknowledged and not client.outbox:
            return
        now_s = time.monotonic()
        outbox_bytes = len(client.outbox)
        if not publisher.unacknowledged and not outbox_bytes:
            answer_s = now_s  # it is not the broker that we wait for
        if now_s - answer_s >= timeout_s:
            missing = f"{len(publisher.unacknowledged):,} without acknowledgement, {outbox_bytes:,} bytes not sent"
            raise ClientError(f"the broker did not answer within {timeout_s:g} s ({missing})")
        wait_s = answer_s + timeout_s - now_s
        watch = [stop.fd]
        if publisher.has_room() and not source.ended:
            if source.fd >= 0:
                watch.append(source.fd)
            else:
                wait_s = min(wait_s, source.due_s - now_s)
        packets = client.turn(min(wait_s, progress.next_s - now_s), watch)
        for packet in packets:
            publisher.on_packet(packet)
        if packets or len(client.outbox) < outbox_bytes:
            answer_s = time.monotonic()
        progress.update(publisher.completed)


def forwarded_properties(arguments: argparse.Namespace) -> bytes:
    """The properties that travel with the message, encoded without their length."""
    properties = Properties()
    properties.content_type = arguments.content_type
    properties.response_topic = arguments.response_topic
    properties.correlation_data = arguments.correlation_data
    properties.user_properties = [(name, value) for name, value in arguments.user_property] or None
    return encode_properties_body(properties)


def message_source(arguments: argparse.Namespace) -> Repeated | Lines:
    """Where the payloads come from; a file or standard input as one message is read here."""
    if sys.stdin is None and (arguments.lines or arguments.whole_input or arguments.dash or arguments.file == "-"):
        raise UsageError("standard input is closed")
    if arguments.lines:
        if arguments.repeat is not None or arguments.repeat_delay:
            raise UsageError("--repeat and --repeat-delay don't go with -l: every line is sent once")
        return Lines(STANDARD_INPUT)
    payload = b""
    try:
        if arguments.message is not None:
            payload = arguments.message
        elif arguments.whole_input or arguments.dash or arguments.file == "-":
            payload = sys.stdin.buffer.read()
        elif arguments.file is not None:
            with open(arguments.file, "rb") as file:
                payload = file.read(PAYLOAD_BYTES_MAX + 1)
    except OSError as error:
        raise UsageError(f"could not read {arguments.file or 'standard input'}: {os_error_text(error)}") from error
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise UsageError(f"the message is too long for MQTT: more than {PAYLOAD_BYTES_MAX:,} bytes")
    return Repeated(payload, arguments.repeat or 1, arguments.repeat_delay)


def check_broker(arguments: argparse.Namespace, connack: Connack) -> None:
    """Raise `ClientError` where the broker said in CONNACK that it can't take such messages."""
    properties = connack.properties
    if properties is None:
        return
    if properties.maximum_qos != ABSENT and arguments.qos > properties.maximum_qos:
        raise ClientError(f"the broker takes QoS {properties.maximum_qos} at the most, not {arguments.qos}")
    if properties.retain_available == 0 and arguments.retain:
        raise ClientError("the broker keeps no retained messages")


def publish_command(arguments: argparse.Namespace, stop: Stop) -> int:
    require_mqtt_5(
        arguments,
        {
            "--content-type": arguments.content_type is not None,
            "--response-topic": arguments.response_topic is not None,
            "--correlation-data": arguments.correlation_data is not None,
            "--message-expiry-interval": arguments.message_expiry_interval != ABSENT,
            "--user-property": bool(arguments.user_property),
        },
    )
    connect = connect_packet(arguments, "pub")
    source = message_source(arguments)
    client = open_client(arguments, arguments.timeout)
    connack = client.connect(connect, arguments.timeout)
    stop.watched = True
    if arguments.debug:
        tell("pub", "connected")
    try:
        check_broker(arguments, connack)
        publisher = Publisher(client, arguments, connack)
        progress = Progress(arguments.lines or arguments.repeat is not None, arguments.repeat or 0)
        try:
            publish_all(publisher, source, progress, stop, arguments.timeout)
        finally:
            progress.close(publisher.completed)
    finally:
        farewell = client.disconnect()
    if publisher.refused:
        raise ClientError("the broker refused a message: " + publisher.refused)
    if stop.requested:
        return EXIT_INTERRUPTED
    if farewell and arguments.qos == 0:  # what is acknowledged is published, however the connection ended
        raise ClientError(farewell)
    if arguments.debug:
        unheard = f", {publisher.without_subscriber:,} had no subscriber" if publisher.without_subscriber else ""
        tell("pub", f"published {publisher.published:,}{unheard}")
    return 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s -t TOPIC (-m TEXT | -f PATH | -l | -s | - | -n) [options]; see %(prog)s --help"
    parser.description = DESCRIPTION
    parser.epilog = EXAMPLES
    add_connection_arguments(parser)
    group = parser.add_argument_group("message")
    group.add_argument("-t", "--topic", type=topic_name, required=True, help="topic to publish to")
    source = group.add_mutually_exclusive_group(required=True)
    source.add_argument("-m", "--message", type=os.fsencode, metavar="TEXT", help="this text")
    source.add_argument("-f", "--file", metavar="PATH", help="the content of a file, - for standard input")
    source.add_argument(
        "-l", "--lines", action="store_true", help="every line of standard input is a message; empty ones are left out"
    )
    source.add_argument("-s", "--stdin", dest="whole_input", action="store_true", help="standard input as one message")
    source.add_argument("dash", nargs="?", choices=["-"], metavar="-", help="the same as -s")
    source.add_argument("-n", "--null-message", action="store_true", help="an empty message")
    group.add_argument("-q", "--qos", type=int, choices=(0, 1, 2), default=0, help="quality of service (default: 0)")
    group.add_argument("-r", "--retain", action="store_true", help="the broker keeps it for later subscribers")
    group.add_argument("--repeat", type=whole(1, 1_000_000_000), metavar="N", help="publish it N times")
    group.add_argument(
        "--repeat-delay", type=seconds, default=0.0, metavar="SECONDS", help="time between two of them (default: none)"
    )
    group.add_argument(
        "--timeout",
        type=seconds,
        default=ANSWER_TIMEOUT_S,
        metavar="SECONDS",
        help=f"how long the broker may take for an answer (default: {ANSWER_TIMEOUT_S:g})",
    )
    properties = parser.add_argument_group("properties of the message (MQTT 5)")
    properties.add_argument("--content-type", type=utf8, metavar="TEXT", help="such as application/json")
    properties.add_argument("--response-topic", type=topic_name, metavar="TOPIC", help="where an answer should go")
    properties.add_argument("--correlation-data", type=binary, metavar="TEXT", help="what an answer should carry")
    properties.add_argument(
        "--message-expiry-interval",
        type=whole(0, 0xFFFFFFFF),
        default=ABSENT,
        metavar="SECONDS",
        help="how long the broker should try to deliver it",
    )
    properties.add_argument(
        "--user-property",
        type=utf8,
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="may be given more than once",
    )
    add_will_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    return run_command("pub", publish_command, arguments)
