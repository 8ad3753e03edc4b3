"""The load: MQTT clients on raw sockets in one process, which count what arrives and never what was sent.

Every packet of a scenario has a fixed size, so that Python keeps up with a broker in C: frames are encoded once and
sent in blocks, a read is counted as runs of packets of the same first byte, and a run is acknowledged by copying its
packet identifiers, a slice at a time. The first byte of each packet and the topic of each run are checked, and at the
end the counts of every packet type must be exact.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from dataclasses import dataclass
from typing import Final

from swellmq.bench import BenchError

PUBLISH: Final = 0x30
PUBACK: Final = 0x40
PUBREC: Final = 0x50
PUBREL: Final = 0x62
PUBCOMP: Final = 0x70
PINGRESP: Final = 0xD0
PINGREQ: Final = b"\xc0\x00"
ANSWERS: Final = {PUBLISH | 1 << 1: PUBACK, PUBLISH | 2 << 1: PUBREC, PUBREC: PUBREL, PUBREL: PUBCOMP}
TERMINAL: Final = (PUBACK, PUBREL, PUBCOMP, PUBLISH, PUBLISH | 1 << 1, PUBLISH | 2 << 1)  # what is counted
SINGLE: Final = [bytes((value,)) for value in range(256)]

READ_BYTES: Final = 131_072
STALL_S: Final = 10.0  # nothing arrives for so long: something is lost
BLOCK: Final = 100  # connections opened before their answers are read: mosquitto's backlog
# Connections from one address: once half of the ephemeral ports are taken, Linux looks for a free one for milliseconds.
SOURCE_CONNECTIONS: Final = 10_000
IP_BIND_ADDRESS_NO_PORT: Final = 24  # of linux/in.h: the port is chosen at connect
KEEP_ALIVE_S: Final = 600
RING: Final = 1000  # frames a publisher cycles through where they differ, by topic or by packet identifier


class LoadError(BenchError):
    """The broker did not do what MQTT promises, or was gone."""


@dataclass(frozen=True)
class Scenario:
    """Who publishes to whom. `window` counts the messages that a publisher keeps under way."""

    title: str
    messages: int  # delivered; more are used where a broker needs little CPU time for them
    publishers: int = 10
    subscribers: int = 10
    qos: int = 0
    payload_bytes: int = 64
    window: int = 200
    wildcard: bool = False

    @property
    def copies(self) -> int:
        """How many subscribers get each message."""
        return self.subscribers if self.publishers == 1 else 1

    def topic(self, publisher: int, number: int) -> bytes:
        """The topic of a publisher's message, always of the same length."""
        return b"load/%04d/%03d/state" % (publisher, number) if self.wildcard else b"load/t/%04d" % publisher

    def filter(self, subscriber: int) -> bytes:
        """What a subscriber subscribes to: the topic of one publisher, or all topics of all."""
        return b"load/+/+/state" if self.wildcard else self.topic(subscriber % self.publishers, 0)


SCENARIOS: Final = {
    "pair": Scenario("10 to 10, QoS 0, 64 bytes", 200_000),
    "fan-out": Scenario("1 to 50, QoS 0, 64 bytes", 200_000, publishers=1, subscribers=50),
    "qos1": Scenario("10 to 10, QoS 1, 64 bytes", 50_000, qos=1),
    "qos2": Scenario("10 to 10, QoS 2, 64 bytes", 30_000, qos=2),
    "wildcard": Scenario("10 x 1,000 topics to `load/+/+/state`", 200_000, subscribers=1, wildcard=True),
    # A window of 200 would be 3.2 MB, more than what a broker may keep for one client.
    "16k": Scenario("10 to 10, QoS 0, 16 KiB", 30_000, payload_bytes=16_384, window=20),
    "clients": Scenario("1,000 to 1,000, one message under way", 50_000, 1_000, 1_000, window=1),
}


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


def connect_packet(client_id: bytes, five: bool = False) -> bytes:
    """CONNECT with a clean session; `five`: MQTT 5.0, else 3.1.1."""
    level, properties = (b"\x05", b"\x00") if five else (b"\x04", b"")
    return packet(
        0x10, b"\x00\x04MQTT" + level + b"\x02" + struct.pack("!H", KEEP_ALIVE_S) + properties + string(client_id)
    )


def subscribe_packet(topic_filter: bytes, qos: int, five: bool = False) -> bytes:
    """SUBSCRIBE to one filter."""
    return packet(0x82, b"\x00\x01" + (b"\x00" if five else b"") + string(topic_filter) + SINGLE[qos])


def publish_packet(topic: bytes, qos: int, identifier: int, payload: bytes, five: bool = False) -> bytes:
    """PUBLISH, with a packet identifier where the QoS has one."""
    middle = (struct.pack("!H", identifier) if qos else b"") + (b"\x00" if five else b"")
    return packet(PUBLISH | qos << 1, string(topic) + middle + payload)


def acknowledgements(first: int, data: bytes, at: int, size: int, count: int) -> bytes:
    """`count` packets of four bytes that answer those in `data`, whose identifiers are at `at` and every `size` on."""
    packets = bytearray((first, 2, 0, 0)) * count
    end = at + (count - 1) * size + 1
    packets[2::4] = data[at:end:size]
    packets[3::4] = data[at + 1 : end + 1 : size]
    return bytes(packets)


# Connections


def open_connections(port: int, greetings: list[bytes], at_once: int = BLOCK, before: int = 0) -> list[socket.socket]:
    """One connection for each greeting, a CONNECT and perhaps a SUBSCRIBE; returns when the broker has accepted all.

    So many are opened `at_once` before their answers are read. `before`: how many this process has open already.
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
                source = (before + len(sockets) - 1) // SOURCE_CONNECTIONS
                if source:
                    sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
                    sock.bind((f"127.0.0.{1 + source}", 0))
                sock.connect(("127.0.0.1", port))
                sock.sendall(greeting)
            for sock, greeting in zip(sockets[start:], block, strict=True):
                connack = _receive_packet(sock)
                if connack[0] != 0x20 or connack[3] != 0:
                    raise LoadError(f"CONNECT was refused: {connack.hex()}")
                if len(greeting) > greeting[1] + 2:
                    suback = _receive_packet(sock)
                    if suback[0] != 0x90 or suback[-1] > 2:
                        raise LoadError(f"SUBSCRIBE was refused: {suback.hex()}")
    except OSError as error:
        close_connections(sockets)
        raise LoadError(f"connection {len(sockets)} of {len(greetings)} failed: {error.strerror}") from error
    except BaseException:
        close_connections(sockets)
        raise
    return sockets


def _receive_packet(sock: socket.socket) -> bytes:
    """Read one CONNACK or SUBACK; both are short, but never under four bytes."""
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


class Client:
    """One connection under load. `sizes`: the packets that may come, by first byte."""

    def __init__(self, sock: socket.socket, sizes: dict[int, int]) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.sizes = sizes
        self.rest = b""  # the start of a packet
        self.out = b""  # what the socket did not take
        self.sent = 0  # of a publisher
        self.acknowledged = 0
        self.delivered = 0
        self.ring = memoryview(b"")  # the frames to send, in order; the first follow the last
        self.period = 1
        self.sources: list[tuple[bytes, Client]] = []  # of a subscriber: the last digits of its publishers
        self.topic_start = b""


class Load:
    """One run of a scenario: opens its clients, then `run` returns the seconds that `messages` deliveries took."""

    def __init__(self, port: int, scenario: Scenario, messages: int, five: bool = False) -> None:
        self.scenario = scenario
        self.each = max(1, -(-messages // (scenario.publishers * scenario.copies)))  # that a publisher sends
        published = self.each * scenario.publishers
        self.messages = published * scenario.copies
        qos = scenario.qos
        self.expected = {PUBLISH | qos << 1: self.messages}
        if qos == 1:
            self.expected[PUBACK] = published
        elif qos == 2:
            self.expected |= {PUBREC: published, PUBCOMP: published, PUBREL: self.messages}
        self.counts = dict.fromkeys(self.expected, 0)
        self.left = sum(count for first, count in self.expected.items() if first in TERMINAL)
        self.pings = 0  # not yet answered
        self.ready: set[Client] = set()  # publishers that may send more
        self.epoll = select.epoll()
        self.clients: list[Client] = []
        self._open(port, five)

    def _open(self, port: int, five: bool) -> None:
        scenario = self.scenario
        qos = scenario.qos
        payload = b"x" * scenario.payload_bytes
        period = RING if scenario.wildcard or qos else 1
        greetings = [
            connect_packet(b"sub-%04d" % number, five) + subscribe_packet(scenario.filter(number), qos, five)
            for number in range(scenario.subscribers)
        ]
        greetings += [connect_packet(b"pub-%04d" % number, five) for number in range(scenario.publishers)]
        sockets = open_connections(port, greetings)
        sample = publish_packet(scenario.topic(0, 0), qos, 1, payload, five)
        self.topic_at = sample.index(b"load/")
        self.digit_at = sample.index(b"0000") + 3  # the last one of the publisher's number
        self.identifier_at = self.topic_at + len(scenario.topic(0, 0))
        self.size = len(sample)
        of_publisher = {PUBACK: 4, PUBREC: 4, PUBCOMP: 4}
        of_subscriber = {PUBLISH | qos << 1: self.size, PUBREL: 4, PINGRESP: 2}
        subscribers = [Client(sock, of_subscriber) for sock in sockets[: scenario.subscribers]]
        publishers = [Client(sock, of_publisher) for sock in sockets[scenario.subscribers :]]
        self.subscribers = subscribers
        self.clients = subscribers + publishers
        for number, client in enumerate(publishers):
            frames = [publish_packet(scenario.topic(number, k), qos, k + 1, payload, five) for k in range(period)]
            repeats = -(-(period + scenario.window) // period)
            client.ring = memoryview(b"".join(frames) * repeats)
            client.period = period
        sources = [(b"%d" % (index % 10), source) for index, source in enumerate(publishers)]
        for number, client in enumerate(subscribers):
            index = number % scenario.publishers
            client.sources = sources if scenario.wildcard else [sources[index]]
            client.topic_start = b"load/" if scenario.wildcard else scenario.topic(index, 0)
        self.ready = set(publishers)
        for client in self.clients:
            client.sock.setblocking(False)
            client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.epoll.register(client.fd, select.EPOLLIN)

    def close(self) -> None:
        """Close all connections."""
        self.epoll.close()
        close_connections([client.sock for client in self.clients])

    def run(self) -> float:
        """Publish until all has arrived; the seconds it took. Raises LoadError where the counts are not exact."""
        by_fd = {client.fd: client for client in self.clients}
        begin = time.perf_counter()
        while self.left > 0:
            self._turn(by_fd)
        seconds = time.perf_counter() - begin
        self.pings = len(self.subscribers)  # what comes before the answer is a message too many
        for client in self.subscribers:
            self._write(client, memoryview(PINGREQ))
        while self.pings:
            self._turn(by_fd)
        if self.counts != self.expected:
            raise LoadError(f"expected {_described(self.expected)}, but got {_described(self.counts)}")
        return seconds

    def _turn(self, by_fd: dict[int, Client]) -> None:
        for client in self.ready:
            self._publish(client)
        self.ready.clear()
        events = self.epoll.poll(STALL_S)
        if not events:
            raise LoadError(f"stalled: nothing came for {STALL_S:.0f} s after {_described(self.counts)}")
        for fd, mask in events:
            client = by_fd[fd]
            if mask & select.EPOLLOUT:
                self._flush(client)
            if mask & ~select.EPOLLOUT:
                self._read(client)

    def _publish(self, client: Client) -> None:
        """Send all that the window has room for, in one block."""
        scenario = self.scenario
        if client.out:
            return  # it is ready again once that has left
        done = client.delivered // scenario.copies
        if scenario.qos and client.acknowledged < done:
            done = client.acknowledged
        count = min(scenario.window - client.sent + done, self.each - client.sent)
        if count > 0:
            start = client.sent % client.period * self.size
            client.sent += count
            self._write(client, client.ring[start : start + count * self.size])

    def _write(self, client: Client, data: memoryview) -> None:
        if client.out:
            client.out += data
            return
        try:
            written = os.write(client.fd, data)
        except BlockingIOError:
            written = 0
        except OSError as error:
            raise LoadError(f"the broker cut a connection: {error.strerror}") from error
        if written < len(data):
            client.out = bytes(data[written:])
            self.epoll.modify(client.fd, select.EPOLLIN | select.EPOLLOUT)

    def _flush(self, client: Client) -> None:
        data, client.out = client.out, b""
        self.epoll.modify(client.fd, select.EPOLLIN)
        self._write(client, memoryview(data))
        if client.ring and not client.out:
            self.ready.add(client)

    def _read(self, client: Client) -> None:
        """Count the packets of one read, run by run, and answer those that want an answer."""
        try:
            data = os.read(client.fd, READ_BYTES)
        except OSError as error:
            raise LoadError(f"the broker cut a connection: {error.strerror}") from error
        if not data:
            raise LoadError(f"the broker closed a connection after {_described(self.counts)}")
        if client.rest:
            data = client.rest + data
        pos = 0
        end = len(data)
        answers = b""
        while pos < end:
            first = data[pos]
            size = client.sizes.get(first, 0)
            if not size:
                raise LoadError(f"a wrong stream: no packet of this scenario begins with {data[pos : pos + 8].hex()}")
            # The first bytes of the packets that are complete; behind the run the next one differs from `first`.
            firsts = data[pos : max(pos, end - size + 1) : size]
            count = len(firsts) - len(firsts.lstrip(SINGLE[first]))
            if not count:
                break
            self._count(client, first, data, pos, count)
            if first in ANSWERS:
                at = pos + (self.identifier_at if first < PUBACK else 2)
                answers += acknowledgements(ANSWERS[first], data, at, size, count)
            pos += count * size
        client.rest = data[pos:]
        if answers:
            self._write(client, memoryview(answers))

    def _count(self, client: Client, first: int, data: bytes, pos: int, count: int) -> None:
        if first == PINGRESP:
            self.pings -= count
            return
        if first not in self.counts:
            raise LoadError(f"a wrong stream: packets of type {first >> 4} at QoS {self.scenario.qos}")
        self.counts[first] += count
        if first in TERMINAL:
            self.left -= count
        if first < PUBACK:
            digits = data[pos + self.digit_at : pos + count * self.size : self.size]
            known = 0
            for digit, source in client.sources:
                delivered = digits.count(digit)
                source.delivered += delivered
                known += delivered
                self.ready.add(source)
            if known != count or not data.startswith(client.topic_start, pos + self.topic_at):
                raise LoadError("a wrong stream: a message of another topic")
        elif first == PUBACK or first == PUBCOMP:
            client.acknowledged += count
            self.ready.add(client)


def _described(counts: dict[int, int]) -> str:
    names = {3: "PUBLISH", 4: "PUBACK", 5: "PUBREC", 6: "PUBREL", 7: "PUBCOMP"}
    return ", ".join(f"{count} {names[first >> 4]}" for first, count in counts.items())


class Connects:
    """The same for connecting: from the first SYN to the last CONNACK, at most BLOCK under way."""

    def __init__(self, port: int, connections: int, five: bool = False) -> None:
        self.messages = connections
        self.port = port
        self.greetings = [connect_packet(b"device-%08d" % number, five) for number in range(connections)]
        self.sockets: list[socket.socket] = []

    def run(self) -> float:
        """Connect them all; the seconds it took."""
        begin = time.perf_counter()
        self.sockets = open_connections(self.port, self.greetings)
        return time.perf_counter() - begin

    def close(self) -> None:
        """Close all connections."""
        close_connections(self.sockets)
