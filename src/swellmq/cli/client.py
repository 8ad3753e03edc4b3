"""What `swellmq pub` and `swellmq sub` share: a small blocking MQTT client and the arguments that make its CONNECT.

`Client.turn` is the only place that waits: it sends what has been handed to `send`, keeps the connection alive, and
returns the packets that came. Everything else is a loop around it. What goes wrong is a `ClientError` in words for the
user (exit 1), or a `UsageError` (exit 2). There is no reconnecting here: the broker gone is the end of the command.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import socket
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Final

from swellmq.cli.arguments import whole
from swellmq.cli.main import EXIT_INTERRUPTED
from swellmq.codec import spec
from swellmq.codec.decode import decode, packet_length
from swellmq.codec.encode import encode
from swellmq.codec.packets import ABSENT, Connack, Connect, Disconnect, Packet, Ping, Properties, Publish, Will
from swellmq.codec.reasons import REASON_CODES
from swellmq.codec.topic import check_topic_name
from swellmq.errors import PeerError

ANSWER_TIMEOUT_S: Final = 30.0  # for the connection and for every answer of the broker
FAREWELL_TIMEOUT_S: Final = 2.0  # for the broker to close after our DISCONNECT
KEEP_ALIVE_DEFAULT_S: Final = 60
PORT: Final = 1883
TLS_PORT: Final = 8883
KEEP_ALIVE_NEVER_S: Final = 86_400.0  # any long time: it only bounds one wait
PING_SHARE: Final = 0.8  # of the keep alive may pass in silence before a ping
PASSWORD_VARIABLE: Final = "SWELLMQ_PASSWORD"
READ_BYTES: Final = 262_144
STRING_BYTES_MAX: Final = 65_535  # a string or binary field carries a length of two bytes, MQTT 5.0 section 1.5.4
VERSION_NAMES: Final = {spec.MQTT_3_1: "MQTT 3.1", spec.MQTT_3_1_1: "MQTT 3.1.1", spec.MQTT_5_0: "MQTT 5"}
VERSIONS: Final = {
    "3.1": spec.MQTT_3_1,
    "31": spec.MQTT_3_1,
    "mqttv31": spec.MQTT_3_1,
    "3.1.1": spec.MQTT_3_1_1,
    "311": spec.MQTT_3_1_1,
    "mqttv311": spec.MQTT_3_1_1,
    "5": spec.MQTT_5_0,
    "5.0": spec.MQTT_5_0,
    "mqttv5": spec.MQTT_5_0,
}

# Return codes of CONNACK in 3.1 and 3.1.1, MQTT 3.1.1 table 3.1.
RETURN_CODES: Final = {
    spec.UNACCEPTABLE_PROTOCOL_VERSION: "unacceptable protocol version",
    spec.IDENTIFIER_REJECTED: "client identifier rejected",
    spec.SERVER_UNAVAILABLE_3: "server unavailable",
    spec.BAD_USER_NAME_OR_PASSWORD_3: "bad user name or password",
    spec.NOT_AUTHORIZED_3: "not authorized",
}


class ClientError(Exception):
    """The broker can't be reached, refused something, or left: in words for the user."""


class Refused(ClientError):
    """The broker has answered, and does not let us in."""


class UsageError(Exception):
    """Arguments that don't go together."""


class Stop:
    """SIGINT and SIGTERM: KeyboardInterrupt until `watched`, then a flag and a file descriptor for `Client.turn`.

    A flag, because an exception in the middle of a send would leave half a packet before the DISCONNECT. The second
    signal ends the process the hard way, should it hang in writing its output.
    """

    def __init__(self) -> None:
        self.requested = False
        self.watched = False
        self.fd, self._wakeup_fd = os.pipe()
        os.set_blocking(self._wakeup_fd, False)
        signal.set_wakeup_fd(self._wakeup_fd)
        self._before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        if not self.watched:
            raise KeyboardInterrupt
        self.requested = True

    def close(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(-1)
        os.close(self.fd)
        os.close(self._wakeup_fd)


def reason_text(reason_code: int, properties: Properties | None) -> str:
    """A reason code in words, with the broker's own Reason String where it sent one."""
    text = f"{REASON_CODES.get(reason_code, 'reason code')} (0x{reason_code:02x})"
    if properties is not None and properties.reason_string:
        text += ": " + properties.reason_string
    return text


class Client:
    """One MQTT connection over a connected socket, which it owns."""

    def __init__(self, connected: socket.socket, protocol_version: int) -> None:
        connected.setblocking(False)
        self.socket = connected
        self.protocol_version = protocol_version
        self.keep_alive_s = 0.0
        self.outbox = bytearray()
        self._inbox: list[bytes] = []  # received and not decoded, joined once a whole packet is there
        self._inbox_bytes = 0
        self._packet_bytes = 1  # what the inbox must hold before decoding is tried again
        self._packets: list[Packet] = []  # decoded and not yet returned by `turn`
        self._end = ""  # why nothing more can be read; `turn` raises it after the last packet
        self._closed = False  # the end is a plain end of file
        self._writable = True
        self._sent_s = time.monotonic()
        self._received_s = self._sent_s
        self._ping_s = 0.0  # when an unanswered PINGREQ was sent; 0: none

    def send(self, packet: Packet) -> None:
        """Hand over a packet; the next `turn` sends it."""
        self.outbox += encode(packet, self.protocol_version)

    def turn(self, timeout_s: float, watch: Sequence[int] = ()) -> list[Packet]:
        """Send and receive once, and return the packets that came, without answers to pings.

        Waits at most `timeout_s`; returns, maybe with nothing, as soon as something was sent or one of the file
        descriptors in `watch` can be read.
        Raises `ClientError` once the connection is at its end and every packet before that was returned.
        """
        if not self._packets:
            if self._end:
                raise ClientError(self._end)
            socket_fd = self.socket.fileno()
            writers = [socket_fd] if self.outbox and self._writable else []
            wait_s = max(0.0, min(timeout_s, self._ping_due_s()))
            readable, writable, _ = select.select([socket_fd, *watch], writers, [], wait_s)
            if writable:
                self._flush()
            if socket_fd in readable:
                self._read()
            self._keep_alive()
        packets, self._packets = self._packets, []
        return packets

    def connect(self, connect: Connect, timeout_s: float) -> Connack:
        """Send CONNECT and return the CONNACK that accepts it; raises `ClientError` where there is none."""
        self.keep_alive_s = float(connect.keep_alive)
        self.send(connect)
        deadline_s = time.monotonic() + timeout_s
        packets: list[Packet] = []
        while not packets:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                raise ClientError(f"the broker did not answer CONNECT within {timeout_s:g} s")
            packets = self.turn(left_s)
            if self._end and not packets:
                version = VERSION_NAMES[self.protocol_version]
                raise ClientError(f"{self._end}, before CONNACK. Does it speak {version}? -V chooses the version")
        connack, self._packets = packets[0], packets[1:]
        if not isinstance(connack, Connack):
            raise ClientError("the broker answered CONNECT with another packet than CONNACK")
        if connack.reason_code in RETURN_CODES:
            reason = f"{RETURN_CODES[connack.reason_code]} (return code {connack.reason_code})"
            raise Refused("the broker refused the connection: " + reason)
        if connack.reason_code != spec.SUCCESS:
            reason = reason_text(connack.reason_code, connack.properties)
            raise Refused("the broker refused the connection: " + reason)
        if connack.properties is not None and connack.properties.server_keep_alive != ABSENT:
            self.keep_alive_s = float(connack.properties.server_keep_alive)
        return connack

    def disconnect(self) -> str:
        """Send what waits and DISCONNECT, and give the broker a moment to close.

        To close first could lose messages: closing a socket with unread bytes resets the connection, and a reset
        throws away what the broker has not read yet. Returns what went wrong with that, "" where nothing did.
        """
        self.send(Disconnect())
        deadline_s = time.monotonic() + FAREWELL_TIMEOUT_S
        while not self._end and time.monotonic() < deadline_s:
            self.turn(deadline_s - time.monotonic())
        self.socket.close()
        return "" if self._closed else self._end

    def _flush(self) -> None:
        try:
            sent = self.socket.send(self.outbox)
        except BlockingIOError:
            return
        except OSError:
            self._writable = False  # the connection is gone; reading tells why, and may still find a DISCONNECT
            return
        del self.outbox[:sent]
        self._sent_s = time.monotonic()

    def _read(self) -> None:
        try:
            data = self.socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._end = "the connection to the broker broke: " + os_error_text(error)
            return
        if not data:
            self._end = "the broker closed the connection"
            self._closed = True
            return
        self._received_s = time.monotonic()
        self._ping_s = 0.0
        self._inbox.append(data)
        self._inbox_bytes += len(data)
        if self._inbox_bytes >= self._packet_bytes:
            try:
                self._decode(b"".join(self._inbox))
            except PeerError as error:
                self._end = f"the broker sent what is not {VERSION_NAMES[self.protocol_version]} ({error})"

    def _decode(self, data: bytes) -> None:
        pos = 0
        while True:
            packet, pos = decode(data, pos, self.protocol_version, from_server=True)
            if packet is None:
                break
            if isinstance(packet, Disconnect):
                self._end = "the broker ended the connection: " + reason_text(packet.reason_code, packet.properties)
                return
            if not isinstance(packet, Ping):
                self._packets.append(packet)
        self._inbox = [data[pos:]]
        self._inbox_bytes = len(data) - pos
        self._packet_bytes = max(packet_length(data, pos, len(data)), self._inbox_bytes + 1)

    def _ping_due_s(self) -> float:
        """Seconds until `_keep_alive` has something to do."""
        if not self.keep_alive_s:
            return KEEP_ALIVE_NEVER_S
        if self._ping_s:
            return self._ping_s + self.keep_alive_s - time.monotonic()
        return min(self._sent_s, self._received_s) + self.keep_alive_s * PING_SHARE - time.monotonic()

    def _keep_alive(self) -> None:
        if self._end or self._ping_due_s() > 0:
            return
        if self._ping_s:
            self._end = f"the broker has not answered for {self.keep_alive_s:g} s"
            return
        self.send(Ping(spec.PINGREQ))
        self._ping_s = time.monotonic()


def os_error_text(error: OSError) -> str:
    """What the system says went wrong, fit for the middle of a sentence."""
    reason = getattr(error, "verify_message", "") or getattr(error, "reason", "")  # of an ssl.SSLError
    text = "TLS, " + reason.lower().replace("_", " ") if reason else error.strerror or str(error)
    return text if reason else text[:1].lower() + text[1:]


def open_client(arguments: argparse.Namespace, timeout_s: float) -> Client:
    """Open the connection that the arguments name: TCP or Unix, TLS or not; raises `ClientError`, `UsageError`."""
    secure = arguments.tls or arguments.cafile or arguments.cert or arguments.insecure
    host, port = arguments.host, arguments.port or (TLS_PORT if secure else PORT)
    place = arguments.unix or (f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    context = None
    if secure:
        from swellmq.cli.tls import make_context  # ssl is slow to import

        context = make_context(arguments)
    try:
        if arguments.unix:
            connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connected.settimeout(timeout_s)
            connected.connect(arguments.unix)
        else:
            connected = socket.create_connection((host, port), timeout_s)
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is not None:
            connected = context.wrap_socket(connected, server_hostname=host)
    except TimeoutError as error:
        raise ClientError(f"could not connect to {place}: no answer within {timeout_s:g} s") from error
    except (ConnectionRefusedError, FileNotFoundError) as error:
        problem = f"could not connect to {place}: {os_error_text(error)}"
        raise ClientError(problem + ". Is a broker running? Try `swellmq serve`") from error
    except (OSError, UnicodeError) as error:  # UnicodeError: a host name that no name server could be asked for
        reason = os_error_text(error) if isinstance(error, OSError) else "not a host name"
        raise ClientError(f"could not connect to {place}: {reason}") from error
    return Client(connected, arguments.protocol_version)


def connect_packet(arguments: argparse.Namespace, command: str) -> Connect:
    """The CONNECT that the arguments describe; raises `UsageError` where they don't go together."""
    connect = Connect()
    version = arguments.protocol_version
    connect.protocol_version = version
    connect.keep_alive = arguments.keep_alive
    connect.client_id = arguments.client_id
    if not connect.client_id and version == spec.MQTT_3_1:
        connect.client_id = f"swellmq-{command}-{uuid.uuid4().hex[:8]}"  # 3.1 wants 1 to 23 characters
    connect.username = arguments.username
    connect.password = arguments.password
    if connect.password is None and connect.username is not None and PASSWORD_VARIABLE in os.environ:
        connect.password = os.fsencode(os.environ[PASSWORD_VARIABLE])
    if connect.password is not None and connect.username is None and version < spec.MQTT_5_0:
        raise UsageError(f"a password without a user name needs MQTT 5, not {VERSION_NAMES[version]}. Give -u too")
    if arguments.will_topic is not None:
        will = Publish(arguments.will_topic, arguments.will_payload or b"", arguments.will_qos, arguments.will_retain)
        connect.will = Will(will, 0)
    elif arguments.will_payload is not None or arguments.will_qos or arguments.will_retain:
        raise UsageError("--will-payload, --will-qos and --will-retain need --will-topic")
    return connect


def require_mqtt_5(arguments: argparse.Namespace, flags: dict[str, bool]) -> None:
    """Raise `UsageError` if a flag that only MQTT 5.0 knows is given (True in `flags`) with an earlier version."""
    version = arguments.protocol_version
    for flag, given in flags.items():
        if given and version < spec.MQTT_5_0:
            raise UsageError(f"{flag} needs MQTT 5, not {VERSION_NAMES[version]}. Leave out -V, or give -V 5")


def run_command(command: str, body: Callable[[argparse.Namespace, Stop], int], arguments: argparse.Namespace) -> int:
    """Run a command and turn what it raises into a line on standard error and an exit code."""
    stop = Stop()
    try:
        return body(arguments, stop)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except UsageError as error:
        tell(command, str(error))
        return 2
    except ClientError as error:
        tell(command, str(error))
        return 1
    finally:
        stop.close()


def tell(command: str, text: str) -> None:
    print(f"swellmq {command}: {text}", file=sys.stderr, flush=True)


def add_connection_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the broker is and who we are. Takes -h from help, as the clients of mosquitto do."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.conflict_handler = "resolve"
    group = parser.add_argument_group("connection")
    group.add_argument("-h", "--host", default="localhost", help="name or address of the broker (default: localhost)")
    group.add_argument("-p", "--port", type=whole(1, 65_535), help="its port (default: 1883, with TLS 8883)")
    group.add_argument("--unix", metavar="PATH", help="connect to a Unix domain socket instead of TCP")
    group.add_argument(
        "-i", "--id", dest="client_id", type=utf8, default="", metavar="ID", help="client id (default: a new one)"
    )
    group.add_argument("-u", "--username", type=utf8, metavar="NAME", help="user name")
    group.add_argument(
        "-P",
        "--password",
        type=binary,
        metavar="WORD",
        help=f"password; better in the environment, as {PASSWORD_VARIABLE}, where other users can't see it",
    )
    group.add_argument(
        "-V",
        "--protocol-version",
        type=protocol_version,
        default=spec.MQTT_5_0,
        metavar="{3.1,3.1.1,5}",
        help="version of MQTT (default: 5)",
    )
    group.add_argument(
        "-k",
        "--keep-alive",
        type=whole(0, 65_535),
        default=KEEP_ALIVE_DEFAULT_S,
        metavar="SECONDS",
        help=f"keep alive, 0 for none (default: {KEEP_ALIVE_DEFAULT_S})",
    )
    group.add_argument("-d", "--debug", action="store_true", help="say on standard error what happens")
    secure = parser.add_argument_group("TLS (each of these turns it on)")
    secure.add_argument("--tls", action="store_true", help="use TLS, and trust whom this system trusts")
    secure.add_argument("--cafile", metavar="FILE", help="trust the authorities in this file, in PEM, and no others")
    secure.add_argument("--cert", metavar="FILE", help="our own certificate, where the broker wants one")
    secure.add_argument("--key", metavar="FILE", help="its private key, where that is in another file")
    secure.add_argument("--insecure", action="store_true", help="don't check who the broker is")


def add_will_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("will (what the broker publishes should this client vanish)")
    group.add_argument("--will-topic", type=topic_name, metavar="TOPIC", help="topic of the will")
    group.add_argument("--will-payload", type=binary, metavar="TEXT", help="payload of the will (default: empty)")
    group.add_argument("--will-qos", type=int, choices=(0, 1, 2), default=0, help="QoS of the will (default: 0)")
    group.add_argument("--will-retain", action="store_true", help="retain the will")


def utf8(text: str) -> str:
    """An argument type: what fits a UTF-8 Encoded String, MQTT 5.0 section 1.5.4."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError("not valid UTF-8") from None
    if size > STRING_BYTES_MAX:
        raise argparse.ArgumentTypeError(f"longer than {STRING_BYTES_MAX:,} bytes")
    return text


def binary(text: str) -> bytes:
    """An argument type: the bytes as they were given, at most 65,535."""
    value = os.fsencode(text)
    if len(value) > STRING_BYTES_MAX:
        raise argparse.ArgumentTypeError(f"longer than {STRING_BYTES_MAX:,} bytes")
    return value


def topic_name(text: str) -> bytes:
    """An argument type: a topic name, MQTT 5.0 section 4.7."""
    topic = utf8(text).encode()
    try:
        check_topic_name(topic)
    except PeerError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from None
    return topic


def protocol_version(text: str) -> int:
    """An argument type: a version of MQTT under one of its usual names."""
    if text.lower() not in VERSIONS:
        raise argparse.ArgumentTypeError(f"{text!r} is none of 3.1, 3.1.1 and 5")
    return VERSIONS[text.lower()]
