"""MQTT by hand, for clients that do what no library lets them: packets as bytes, and a socket to send them."""

from __future__ import annotations

import socket
import struct
from typing import Final, Self

from client_helpers import TIMEOUT_S

from swellmq import Broker

NO_REASON_STRINGS: Final = b"\x17\0"  # Request Problem Information: 0
PINGREQ: Final = b"\xc0\0"
PINGRESP: Final = b"\xd0\0"
BLOCKED_S: Final = 0.2  # without room for another byte
DISCONNECT: Final = b"\xe0\0"


def variable(number: int) -> bytes:
    """A Variable Byte Integer."""
    encoded = b""
    while number > 127:
        encoded += bytes([number & 127 | 128])
        number >>= 7
    return encoded + bytes([number])


def text(value: str | bytes) -> bytes:
    """A string with its length."""
    data = value.encode() if isinstance(value, str) else value
    return struct.pack(">H", len(data)) + data


def packet(first: int, body: bytes) -> bytes:
    """A packet with its remaining length."""
    return bytes([first]) + variable(len(body)) + body


def properties(version: int, data: bytes = b"") -> bytes:
    """Properties with their length; nothing in 3.x."""
    return variable(len(data)) + data if version == 5 else b""


def connect(
    client_id: str | bytes, version: int = 4, clean: bool = True, keep_alive: int = 0, data: bytes = b""
) -> bytes:
    """A CONNECT; `data` is its properties."""
    name = "MQIsdp" if version == 3 else "MQTT"
    head = text(name) + bytes([version, 2 if clean else 0]) + struct.pack(">H", keep_alive)
    return packet(0x10, head + properties(version, data) + text(client_id))


def publish(
    topic: str | bytes, payload: bytes = b"", qos: int = 0, number: int = 1, version: int = 4, retain: bool = False
) -> bytes:
    """A PUBLISH without properties."""
    identifier = struct.pack(">H", number) if qos else b""
    return packet(0x30 | qos << 1 | retain, text(topic) + identifier + properties(version) + payload)


def subscribe(topic_filters: list[str], qos: int = 0, number: int = 1, version: int = 4) -> bytes:
    """A SUBSCRIBE without properties."""
    filters = b"".join(text(topic_filter) + bytes([qos]) for topic_filter in topic_filters)
    return packet(0x82, struct.pack(">H", number) + properties(version) + filters)


def ack(first: int, number: int) -> bytes:
    """PUBACK, PUBREC, PUBREL or PUBCOMP in its short form."""
    return bytes([first, 2]) + struct.pack(">H", number)


class Raw:
    """A socket that is connected to a broker, and no more."""

    def __init__(self, broker: Broker | str) -> None:
        """`broker` may be the path of a Unix socket, whose buffers are small."""
        if isinstance(broker, str):
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.socket.connect(broker)
        else:
            self.socket = socket.create_connection(("127.0.0.1", broker.port))
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(TIMEOUT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def connect(self, client_id: str | bytes, version: int = 4, clean: bool = True, data: bytes = b"") -> Self:
        """Connect as a client; `data` is the properties of the CONNECT."""
        self.socket.sendall(connect(client_id, version, clean, data=data))
        head = self.receive(2)
        assert head[0] == 0x20
        assert self.receive(head[1])[1] == 0
        return self

    def receive(self, count: int) -> bytes:
        """Exactly so many bytes."""
        data = b""
        while len(data) < count:
            more = self.socket.recv(min(count - len(data), 1 << 20))
            assert more, f"closed after {data[-100:]!r}"
            data += more
        return data

    def ask(self, data: bytes, answer: bytes) -> None:
        """Send, and expect exactly this answer."""
        self.socket.sendall(data)
        assert self.receive(len(answer)) == answer

    def send_bravely(self, data: bytes) -> None:
        """Send what the broker may cut short by closing."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def send_until_blocked(self, data: bytes, most: int) -> int:
        """Send `data` again and again until the broker takes no more, or `most` bytes are sent; how many were."""
        self.socket.settimeout(BLOCKED_S)
        sent = 0
        try:
            while sent < most:
                sent += self.socket.send(data[sent % 2 :])
        except TimeoutError:
            pass
        self.socket.settimeout(TIMEOUT_S)
        return sent

    def reset(self) -> None:
        """Close by a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def until_closed(self) -> bytes:
        """All that comes before the broker closes."""
        data = b""
        try:
            while more := self.socket.recv(1 << 20):
                data += more
        except ConnectionResetError:
            pass
        return data
