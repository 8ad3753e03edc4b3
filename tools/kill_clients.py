"""Publishers and subscribers for `kill.py`: MQTT 5.0 by hand, with the memory that QoS 2 asks of a client.

Nothing here is shared with the broker: what it claims is checked by a stranger.
"""

from __future__ import annotations

import asyncio
import struct

EXPIRY_S = 86_400
WINDOW = 32  # messages that a publisher has under way
PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK = 3, 4, 5, 6, 7, 9, 11


def text(value: str) -> bytes:
    return struct.pack(">H", len(value)) + value.encode()


def packet(first: int, body: bytes) -> bytes:
    length, digits = len(body), b""
    while True:
        digits += bytes([length % 128 | (0x80 if length > 127 else 0)])
        length //= 128
        if not length:
            return bytes([first]) + digits + body


def short(packet_type: int, identifier: int) -> bytes:
    return packet(packet_type << 4 | (2 if packet_type == PUBREL else 0), struct.pack(">H", identifier))


class Client:
    """A client with a kept session. `run` connects again and again until `wanted` is unset."""

    def __init__(self, client_id: str, port: int) -> None:
        self.client_id = client_id
        self.port = port
        self.known = False  # the broker has told it once that its session is there
        self.wanted = True
        self.faults: list[str] = []
        self.reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter | None = None
        self.abandoned: list[asyncio.StreamWriter] = []  # left open, for the next connection to take over

    async def run(self) -> None:
        """Stay connected while `wanted`; returns when the connection is lost, or could not be made."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return
        self.reader, self.writer = reader, writer
        try:
            will = self.will()
            flags = bytes([0x05, 0x14 if will else 0]) + b"\x00\x00\x05\x11" + struct.pack(">I", EXPIRY_S)
            writer.write(packet(0x10, text("MQTT") + flags + text(self.client_id) + will))
            first, body = await self.read(reader)
            if first != 0x20 or body[1] != 0:
                self.faults.append(f"{self.client_id}: refused with {body.hex()}")
                return
            if self.known and not body[0]:
                self.faults.append(f"{self.client_id}: its session is lost")
            self.known = True
            for old in self.abandoned:
                old.close()
            self.abandoned = []
            self.on_connected()
            while self.wanted:
                self.on_packet(*await self.read(reader))
        except (OSError, EOFError):
            pass
        finally:
            self.writer = None
            if writer not in self.abandoned:
                writer.close()

    async def read(self, reader: asyncio.StreamReader) -> tuple[int, bytes]:
        first = (await reader.readexactly(1))[0]
        length = shift = 0
        while True:
            digit = (await reader.readexactly(1))[0]
            length |= (digit & 0x7F) << shift
            shift += 7
            if digit < 0x80:
                return first, await reader.readexactly(length)

    def send(self, data: bytes) -> None:
        if self.writer is not None:
            self.writer.write(data)

    def leave(self) -> None:
        """Drop the connection, without a DISCONNECT."""
        if self.writer is not None and self.writer.transport is not None:
            self.writer.transport.abort()

    def abandon(self) -> None:
        """Connect again while the old connection is still there, as a client does that has lost its address."""
        if self.reader is not None and self.writer is not None:
            self.abandoned.append(self.writer)
            self.writer.transport.pause_reading()
            self.reader.feed_eof()

    def will(self) -> bytes:
        """The end of a CONNECT with a will at QoS 2: its properties, topic and payload; empty: none."""
        return b""

    def on_connected(self) -> None:
        raise NotImplementedError

    def on_packet(self, first: int, body: bytes) -> None:
        raise NotImplementedError


class Publisher(Client):
    """Sends numbered messages; `acknowledged` has the numbers that the broker has taken over."""

    def __init__(self, name: str, qos: int, port: int) -> None:
        super().__init__(name, port)
        self.qos = qos
        self.number = 0
        self.under_way: dict[int, int] = {}  # numbers by packet identifier, in the order they were sent
        self.released: set[int] = set()  # packet identifiers whose PUBREC came
        self.acknowledged: set[int] = set()
        self.stopping = False

    def on_connected(self) -> None:
        for identifier, number in self.under_way.items():
            if identifier in self.released:
                self.send(short(PUBREL, identifier))
            else:
                self._publish(identifier, number, dup=True)
        self._go_on()

    def _publish(self, identifier: int, number: int, dup: bool = False) -> None:
        retain = number % 10 == 0  # on a topic of its own
        topic_name = f"{'r' if retain else 't'}/{self.client_id}"
        head = 0x30 | self.qos << 1 | (8 if dup else 0) | retain
        body = text(topic_name) + struct.pack(">H", identifier) + b"\0" + f"{self.client_id}:{number}".encode()
        self.send(packet(head, body))

    def _go_on(self) -> None:
        while not self.stopping and len(self.under_way) < WINDOW:
            self.number += 1
            identifier = self.number % 60_000 + 1
            self.under_way[identifier] = self.number
            self._publish(identifier, self.number)

    def on_packet(self, first: int, body: bytes) -> None:
        identifier = struct.unpack_from(">H", body)[0]
        if len(body) > 2 and body[2] >= 0x80 and first >> 4 != PUBCOMP:
            self.faults.append(f"{self.client_id}: refused with {body[2]:#x}")
        number = self.under_way.get(identifier)
        if number is None:
            return
        self.acknowledged.add(number)
        if first >> 4 == PUBREC:
            self.released.add(identifier)
            self.send(short(PUBREL, identifier))
            return
        del self.under_way[identifier]
        self.released.discard(identifier)
        self._go_on()


class Subscriber(Client):
    """Notes what comes; of QoS 2 each packet identifier once until it is released."""

    def __init__(self, name: str, port: int) -> None:
        super().__init__(name, port)
        self.subscribed = False
        self.pending: set[int] = set()  # QoS 2: received and not released
        self.received: dict[str, list[int]] = {}  # by publisher

    def on_connected(self) -> None:
        if not self.subscribed:
            # QoS 2, no retained messages of old: each message that is published comes once.
            topics = b"".join(text(name) + b"\x22" for name in ("t/#", "r/#"))
            self.send(packet(0x82, struct.pack(">H", 1) + b"\0" + topics))

    def on_packet(self, first: int, body: bytes) -> None:
        packet_type = first >> 4
        if packet_type == SUBACK:
            self.subscribed = True
        elif packet_type == PUBREL:
            identifier = struct.unpack_from(">H", body)[0]
            self.pending.discard(identifier)
            self.send(short(PUBCOMP, identifier))
        elif packet_type == PUBLISH:
            self._publish(first, body)

    def _publish(self, first: int, body: bytes) -> None:
        length = struct.unpack_from(">H", body)[0]
        identifier = struct.unpack_from(">H", body, 2 + length)[0]
        publisher, _, number = body[5 + length :].decode().partition(":")
        qos = first >> 1 & 3
        if qos == 2:
            if identifier not in self.pending:
                self.pending.add(identifier)
                self.received.setdefault(publisher, []).append(int(number))
            self.send(short(PUBREC, identifier))
            return
        self.received.setdefault(publisher, []).append(int(number))
        self.send(short(PUBACK, identifier))


class Mortal(Client):
    """Says nothing and dies again and again; the will of each connection has its number.

    `acknowledged` has those of connections that were acknowledged and are gone: their wills have to arrive.
    """

    def __init__(self, name: str, port: int) -> None:
        super().__init__(name, port)
        self.qos = 2
        self.number = 0
        self.acknowledged: set[int] = set()
        self.under_way: dict[int, int] = {}  # nothing that we wait for

    async def run(self) -> None:
        self.number += 1
        alive = self.number
        self.up = False
        await super().run()
        if self.up:
            self.acknowledged.add(alive)

    def will(self) -> bytes:
        return b"\0" + text(f"t/{self.client_id}") + text(f"{self.client_id}:{self.number}")

    def on_connected(self) -> None:
        self.up = True

    def on_packet(self, first: int, body: bytes) -> None:
        pass


class Fickle(Subscriber):
    """Subscribes and unsubscribes, a filter at a time, and is gone soon after the answer, or before it.

    `filters` has what the broker has acknowledged: by number, whether it is subscribed; None where it is not known.
    """

    COUNT = 20

    def __init__(self, name: str, port: int) -> None:
        super().__init__(name, port)
        self.subscribed = True  # it takes no part in what the others get
        self.filters: dict[int, bool | None] = dict.fromkeys(range(self.COUNT), False)
        self.under_way: tuple[int, int] | None = None  # packet identifier and filter
        self.asked = 0
        self.quiet = False

    def on_connected(self) -> None:
        if not self.quiet:
            self._go_on()

    def _go_on(self) -> None:
        self.asked += 1
        number, identifier = self.asked * 7 % self.COUNT, self.asked % 60_000 + 1
        topic_filter = text(f"f/{self.client_id}/{number}")
        subscribe = self.asked // self.COUNT % 2 == 0
        self.filters[number] = None
        self.under_way = identifier, number
        body = struct.pack(">H", identifier) + b"\0" + topic_filter
        self.send(packet(0x82, body + b"\x01") if subscribe else packet(0xA2, body))

    def on_packet(self, first: int, body: bytes) -> None:
        packet_type = first >> 4
        if packet_type not in (SUBACK, UNSUBACK):
            super().on_packet(first, body)
            return
        if self.under_way is not None and struct.unpack_from(">H", body)[0] == self.under_way[0]:
            if body[-1] not in (0, 1, 0x11):
                self.faults.append(f"{self.client_id}: SUBSCRIBE or UNSUBSCRIBE refused with {body[-1]:#x}")
            self.filters[self.under_way[1]] = packet_type == SUBACK
        if not self.quiet:
            self._go_on()
