"""What every load is made of: packets as bytes, connections that are open, and the error that ends a run.

`flow.py` and `bursts.py` make loads of it. Frames are encoded once; a read is counted as runs of packets of the same
first byte, so that Python keeps up with a broker in C.
"""

from __future__ import annotations

import socket
import struct
from typing import Final

from swellmq.bench import BenchError

CONNACK: Final = 0x20
PUBLISH: Final = 0x30
PUBACK: Final = 0x40
PUBREC: Final = 0x50
PUBREL: Final = 0x62
PUBCOMP: Final = 0x70
SUBSCRIBE: Final = 0x82
SUBACK: Final = 0x90
UNSUBSCRIBE: Final = 0xA2
UNSUBACK: Final = 0xB0
PINGRESP: Final = 0xD0
PINGREQ: Final = b"\xc0\x00"
SINGLE: Final = [bytes((value,)) for value in range(256)]

STALL_S: Final = 10.0  # nothing arrives for so long: something is lost
BLOCK: Final = 100  # connections opened before their answers are read: mosquitto's backlog
# Connections from one address: once half of the ephemeral ports are taken, Linux looks for a free one for milliseconds.
SOURCE_CONNECTIONS: Final = 10_000
IP_BIND_ADDRESS_NO_PORT: Final = 24  # of linux/in.h: the port is chosen at connect
KEEP_ALIVE_S: Final = 600
FILTERS_AT_ONCE: Final = 100  # in one SUBSCRIBE


class LoadError(BenchError):
    """The broker did not do what MQTT promises, or was gone."""


# Packets


def string(value: bytes) -> bytes:
    """Two bytes of length, then the bytes, MQTT 5.0 section 1.5.4."""
    return struct.pack("!H", len(value)) + value


def packet(first: int, body: bytes) -> bytes:
    """A control packet: first byte, remaining length, body."""
    head = bytearray((first,))
    length = len(body)
    while length > 127:
        head.append(length & 127 | 128)
        length >>= 7
    head.append(length)
    return bytes(head) + body


def connect_packet(client_id: bytes, five: bool = False, kept: bool = False) -> bytes:
    """CONNECT with a clean session, or one that is `kept`; `five`: MQTT 5.0, else 3.1.1."""
    level, properties = (b"\x05", b"\x05\x11\x00\x00\xff\xff" if kept else b"\x00") if five else (b"\x04", b"")
    return packet(
        0x10,
        b"\x00\x04MQTT"
        + level
        + (b"\x00" if kept else b"\x02")
        + struct.pack("!H", KEEP_ALIVE_S)
        + properties
        + string(client_id),
    )


def subscribe_packet(topic_filter: bytes, qos: int, five: bool = False) -> bytes:
    """SUBSCRIBE to one filter."""
    return packet(SUBSCRIBE, b"\x00\x01" + (b"\x00" if five else b"") + string(topic_filter) + SINGLE[qos])


def subscribe_packets(filters: list[bytes], qos: int, five: bool = False) -> bytes:
    """SUBSCRIBE to many filters, in as many packets as they need."""
    packets = []
    for start in range(0, len(filters), FILTERS_AT_ONCE):
        wanted = [string(each) + SINGLE[qos] for each in filters[start : start + FILTERS_AT_ONCE]]
        packets.append(packet(SUBSCRIBE, b"\x00\x01" + (b"\x00" if five else b"") + b"".join(wanted)))
    return b"".join(packets)


def unsubscribe_packet(topic_filter: bytes, five: bool = False) -> bytes:
    """UNSUBSCRIBE from one filter."""
    return packet(UNSUBSCRIBE, b"\x00\x01" + (b"\x00" if five else b"") + string(topic_filter))


def publish_packet(
    topic: bytes, qos: int, identifier: int, payload: bytes, five: bool = False, properties: bytes = b""
) -> bytes:
    """PUBLISH, with a packet identifier where the QoS has one; `properties` (under 128 bytes) are for MQTT 5.0."""
    middle = (struct.pack("!H", identifier) if qos else b"") + (SINGLE[len(properties)] + properties if five else b"")
    return packet(PUBLISH | qos << 1, string(topic) + middle + payload)


def acknowledgements(first: int, data: bytes, at: int, size: int, count: int) -> bytes:
    """`count` packets of four bytes that answer those in `data`, whose identifiers are at `at` and every `size` on."""
    packets = bytearray((first, 2, 0, 0)) * count
    end = at + (count - 1) * size + 1
    packets[2::4] = data[at:end:size]
    packets[3::4] = data[at + 1 : end + 1 : size]
    return bytes(packets)


# Connections


def open_connections(
    port: int, greetings: list[bytes], at_once: int = BLOCK, before: int = 0, receive_bytes: int = 0
) -> list[socket.socket]:
    """One connection for each greeting; returns when the broker has accepted all that they ask for.

    A greeting is a CONNECT and perhaps packets of SUBSCRIBE or of PUBLISH at QoS 1. So many are opened `at_once` before
    their answers are read. `before`: how many this process has open already; `receive_bytes`: what the system may keep
    for each until it is read, if not 0.
    """
    sockets: list[socket.socket] = []
    give_up = struct.pack("@ll", int(STALL_S), 0)  # kept by the system: Python's own timeouts cost a poll for each call
    try:
        for start in range(0, len(greetings), at_once):
            block = greetings[start : start + at_once]
            for greeting in block:
                sock = socket.socket()
                sockets.append(sock)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, give_up)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, give_up)
                if receive_bytes:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
                source = (before + len(sockets) - 1) // SOURCE_CONNECTIONS
                if source:
                    sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
                    sock.bind((f"127.0.0.{1 + source}", 0))
                sock.connect(("127.0.0.1", port))
                sock.sendall(greeting)
            for sock, greeting in zip(sockets[start:], block, strict=True):
                expect_answers(sock, greeting)
    except OSError as error:
        close_connections(sockets)
        raise LoadError(f"connection {len(sockets)} of {len(greetings)} failed: {error.strerror}") from error
    except BaseException:
        close_connections(sockets)
        raise
    return sockets


def expect_answers(sock: socket.socket, packets: bytes) -> None:
    """Read the answer to each of the packets. Raises LoadError where one is refused."""
    pos = 0
    while pos < len(packets):
        first = packets[pos]
        length, pos = _remaining_length(packets, pos + 1)
        pos += length
        answer = _receive_packet(sock)
        if first == 0x10:
            if answer[0] != CONNACK or answer[3] != 0:
                raise LoadError(f"CONNECT was refused: {answer.hex()}")
        elif first == SUBSCRIBE:
            if answer[0] != SUBACK or answer[-1] > 2:
                raise LoadError(f"SUBSCRIBE was refused: {answer.hex()}")
        elif answer[0] != PUBACK or (len(answer) > 4 and answer[4] >= 0x80):
            raise LoadError(f"PUBLISH was refused: {answer.hex()}")


def _remaining_length(packets: bytes, pos: int) -> tuple[int, int]:
    """The remaining length that begins at `pos`, and where it ends."""
    length = shift = 0
    while True:
        byte = packets[pos]
        length |= (byte & 127) << shift
        shift += 7
        pos += 1
        if byte < 128:
            return length, pos


def _receive_packet(sock: socket.socket) -> bytes:
    """Read one CONNACK, SUBACK or PUBACK: never under four bytes, and of a remaining length under 128."""
    head = sock.recv(4, socket.MSG_WAITALL)
    more = head[1] - 2 if len(head) == 4 else -1
    if more < 0:
        raise LoadError("the broker closed a connection instead of answering")
    return head + sock.recv(more, socket.MSG_WAITALL) if more else head


def close_connections(sockets: list[socket.socket]) -> None:
    """Close at once, by a reset, so that thousands of ports are free again."""
    for sock in sockets:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
