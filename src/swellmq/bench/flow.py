"""A load of messages: clients on raw sockets in one process, which count what arrives and never what was sent.

Every packet of a scenario has a fixed size, so that Python keeps up with a broker in C: frames are encoded once and
sent in blocks, a read is counted as runs of packets of the same first byte, and a run is acknowledged by copying its
packet identifiers, a slice at a time. The first byte of each packet, the publisher of each message and the topic of
each run are checked, and at the end the counts of every packet type must be exact.

A payload begins with its publisher's number and its own, five digits each. So the time from write to read is known:
it is taken for the first message of each run, which has waited longest, and stands for all of that run.
"""

from __future__ import annotations

import os
import select
import socket
import time
from typing import Final

from swellmq.bench import generator
from swellmq.bench.generator import (
    PINGREQ,
    PINGRESP,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    SINGLE,
    SUBACK,
    UNSUBACK,
    LoadError,
    acknowledgements,
    connect_packet,
    publish_packet,
    subscribe_packet,
    subscribe_packets,
    unsubscribe_packet,
)
from swellmq.bench.latency import Latency
from swellmq.bench.scenarios import Scenario, idle_filters

READ_BYTES: Final = 131_072
NUMBER_DIGITS: Final = 5
IDLE_FILTER_CLIENTS: Final = 10
ANSWERS: Final = {PUBLISH | 1 << 1: PUBACK, PUBLISH | 2 << 1: PUBREC, PUBREC: PUBREL, PUBREL: PUBCOMP}
TERMINAL: Final = (PUBACK, PUBREL, PUBCOMP, PUBLISH, PUBLISH | 1 << 1, PUBLISH | 2 << 1)  # what is counted
NAMES: Final = {3: "PUBLISH", 4: "PUBACK", 5: "PUBREC", 6: "PUBREL", 7: "PUBCOMP"}


class Client:
    """One connection under load. `sizes`: the packets that may come, by first byte."""

    def __init__(self, sock: socket.socket, sizes: dict[int, int]) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.sizes = sizes
        self.parts: list[bytes] = []  # the start of a packet
        self.missing = 0  # bytes until that packet is complete
        self.out = memoryview(b"")  # what the socket did not take
        self.sent = 0  # of a publisher
        self.acknowledged = 0
        self.delivered = 0
        self.ring = memoryview(b"")  # the frames to send, in order; the first follow the last
        self.sent_at: list[float] = []  # by place in the ring
        self.sources: list[tuple[bytes, Client]] = []  # of a subscriber: the last digits of its publishers
        self.topic_start = b""


class Load:
    """One run of a scenario: opens its clients, then `run` returns the seconds that `messages` deliveries took."""

    def __init__(self, port: int, scenario: Scenario, messages: int, five: bool = False) -> None:
        self.scenario = scenario
        self.five = five or bool(scenario.properties)
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
        self.changes = 0  # of subscriptions, by the client that does nothing else
        self.pings = 0  # not yet answered
        self.latency = Latency()
        self.ready: set[Client] = set()  # publishers that may send more
        self.epoll = select.epoll()
        self.sockets: list[socket.socket] = []
        self.publishers: list[Client] = []
        self.subscribers: list[Client] = []
        self.by_fd: dict[int, Client] = {}
        try:
            self._open(port)
        except BaseException:
            self.close()
            raise

    # Before it runs

    def _connect(self, port: int, greetings: list[bytes]) -> list[socket.socket]:
        sockets = generator.open_connections(port, greetings, before=len(self.sockets))
        self.sockets += sockets
        return sockets

    def _open(self, port: int) -> None:
        scenario, five, qos = self.scenario, self.five, self.scenario.qos
        names = [scenario.topic_name(number, 0) for number in range(scenario.publishers)]
        greetings = [connect_packet(b"pub-%04d" % number, five) for number in range(scenario.publishers)]
        if scenario.properties:  # nobody is subscribed yet, so these arrive nowhere
            alias = b"\x23\x00\x01"
            greetings = [
                greeting + publish_packet(name, 1, 1, b"", five, alias)
                for greeting, name in zip(greetings, names, strict=True)
            ]
        publishers = self._connect(port, greetings)
        self._open_idle(port)
        greetings = [
            connect_packet(b"sub-%05d" % number, five, scenario.kept)
            + subscribe_packet(scenario.topic_filter(number), qos, five)
            for number in range(scenario.subscribers)
        ]
        subscribers = self._connect(port, greetings)
        frame = self._frame(0, 0, received=True)
        self.size = len(frame)
        self.topic_at = frame.index(names[0])
        self.identifier_at = self.topic_at + len(names[0])
        self.payload_at = self.size - scenario.payload_bytes
        of_publisher = dict.fromkeys((PUBACK, PUBREC, PUBCOMP), 4)
        of_subscriber = {PUBLISH | qos << 1: self.size, PUBREL: 4, PINGRESP: 2}
        self.publishers = [Client(sock, of_publisher) for sock in publishers]
        self.subscribers = [Client(sock, of_subscriber) for sock in subscribers]
        self._prepare(names)
        clients = self.publishers + self.subscribers
        if scenario.churn:
            size = 6 if five else 4
            [sock] = self._connect(port, [connect_packet(b"churn", five)])
            self.churner = Client(sock, {SUBACK: size + (not five), UNSUBACK: size})
            clients.append(self.churner)
        for client in clients:
            self.by_fd[client.fd] = client
            client.sock.setblocking(False)
            client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.epoll.register(client.fd, select.EPOLLIN)

    def _open_idle(self, port: int) -> None:
        """The clients that are only there."""
        scenario, five = self.scenario, self.five
        greetings = [
            connect_packet(b"idle-%05d" % number, five) + subscribe_packet(b"idle/%05d" % number, 0, five)
            for number in range(scenario.idle_clients)
        ]
        filters = idle_filters(scenario.idle_filters)
        filters += [b"load/t/none-%07d" % number for number in range(scenario.idle_exact)]
        share = -(-len(filters) // IDLE_FILTER_CLIENTS)
        for start in range(0, len(filters), share or 1):
            greeting = connect_packet(b"filters-%06d" % start, five)
            greetings.append(greeting + subscribe_packets(filters[start : start + share], 0, five))
        self._connect(port, greetings)

    def _frame(self, publisher: int, number: int, received: bool = False) -> bytes:
        """A message as it is sent, or as it is received: an alias counts between its publisher and the broker only."""
        scenario = self.scenario
        payload = b"%05d%05d" % (publisher, number)
        payload += b"x" * (scenario.payload_bytes - len(payload))
        topic = scenario.topic_name(publisher, number)
        if scenario.properties and not received:
            return publish_packet(
                b"", scenario.qos, number + 1, payload, self.five, b"\x23\x00\x01" + scenario.properties
            )
        return publish_packet(topic, scenario.qos, number + 1, payload, self.five, scenario.properties)

    def _prepare(self, names: list[bytes]) -> None:
        """Encode what the publishers send, and tell the subscribers what to expect from whom."""
        scenario = self.scenario
        for number, client in enumerate(self.publishers):
            frames = [self._frame(number, k) for k in range(scenario.period)]
            client.ring = memoryview(b"".join(frames + frames[: scenario.window]))
            client.sent_at = [0.0] * scenario.period
            self.sent_size = len(frames[0])
        sources = [(b"%d" % (number % 10), source) for number, source in enumerate(self.publishers)]
        for number, client in enumerate(self.subscribers):
            index = number % scenario.publishers
            client.sources = [sources[index]] if scenario.one_source else sources
            client.topic_start = names[index] if scenario.one_source else scenario.topic.partition(b"%")[0]
        self.ready = set(self.publishers)

    def close(self) -> None:
        """Close all connections."""
        self.epoll.close()
        generator.close_connections(self.sockets)

    # While it runs

    def run(self) -> float:
        """Publish until all has arrived; the seconds it took. Raises LoadError where the counts are not exact."""
        begin = time.perf_counter()
        if self.scenario.churn:
            self._change_subscription()
        while self.left > 0:
            self._turn()
        seconds = time.perf_counter() - begin
        self.pings = len(self.subscribers)  # what comes before the answer is a message too many
        for client in self.subscribers:
            self._write(client, memoryview(PINGREQ))
        while self.pings:
            self._turn()
        if self.counts != self.expected:
            raise LoadError(f"expected {_described(self.expected)}, but got {_described(self.counts)}")
        return seconds

    def _turn(self) -> None:
        for client in self.ready:
            self._publish(client)
        self.ready.clear()
        events = self.epoll.poll(generator.STALL_S)
        if not events:
            raise LoadError(f"stalled: nothing came for {generator.STALL_S:.0f} s after {_described(self.counts)}")
        for fd, mask in events:
            client = self.by_fd[fd]
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
            period = scenario.period
            start = client.sent % period
            client.sent += count
            now = time.perf_counter()
            beyond = start + count - period
            if beyond > 0:
                client.sent_at[start:] = [now] * (count - beyond)
                client.sent_at[:beyond] = [now] * beyond
            else:
                client.sent_at[start : start + count] = [now] * count
            self._write(client, client.ring[start * self.sent_size : (start + count) * self.sent_size])

    def _write(self, client: Client, data: memoryview) -> None:
        if client.out:
            client.out = memoryview(bytes(client.out) + data)
            return
        try:
            written = os.write(client.fd, data)
        except BlockingIOError:
            written = 0
        except OSError as error:
            raise LoadError(f"the broker cut a connection: {error.strerror}") from error
        if written < len(data):
            client.out = data[written:]
            self.epoll.modify(client.fd, select.EPOLLIN | select.EPOLLOUT)

    def _flush(self, client: Client) -> None:
        data, client.out = client.out, memoryview(b"")
        self.epoll.modify(client.fd, select.EPOLLIN)
        self._write(client, data)
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
        if client.parts:
            client.parts.append(data)
            client.missing -= len(data)
            if client.missing > 0:
                return
            data = b"".join(client.parts)
            client.parts.clear()
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
                client.parts.append(data[pos:])
                client.missing = size - (end - pos)
                break
            self._count(client, first, data, pos, count)
            if first in ANSWERS:
                at = pos + (self.identifier_at if first < PUBACK else 2)
                answers += acknowledgements(ANSWERS[first], data, at, size, count)
            pos += count * size
        if answers:
            self._write(client, memoryview(answers))

    def _count(self, client: Client, first: int, data: bytes, pos: int, count: int) -> None:
        if first in self.counts:
            self.counts[first] += count
            if first in TERMINAL:
                self.left -= count
            if first < PUBACK:
                self._arrived(client, data, pos, count)
            elif first == PUBACK or first == PUBCOMP:
                client.acknowledged += count
                self.ready.add(client)
        elif first == PINGRESP:
            self.pings -= count
        elif first == SUBACK or first == UNSUBACK:
            self._change_subscription()
        else:
            raise LoadError(f"a wrong stream: packets of type {first >> 4} at QoS {self.scenario.qos}")

    def _arrived(self, client: Client, data: bytes, pos: int, count: int) -> None:
        """Messages that begin at `pos`: whose they are, and how long the first was under way."""
        payload = pos + self.payload_at
        digits = data[payload + NUMBER_DIGITS - 1 : pos + count * self.size : self.size]
        known = 0
        for digit, source in client.sources:
            delivered = digits.count(digit)
            source.delivered += delivered
            known += delivered
            self.ready.add(source)
        if known != count or not data.startswith(client.topic_start, pos + self.topic_at):
            raise LoadError("a wrong stream: a message of another topic")
        numbers = data[payload : payload + 2 * NUMBER_DIGITS]
        try:
            sent_at = self.publishers[int(numbers[:NUMBER_DIGITS])].sent_at[int(numbers[NUMBER_DIGITS:])]
        except (ValueError, IndexError) as error:
            raise LoadError("a wrong stream: a message that nobody sent") from error
        self.latency.add(time.perf_counter() - sent_at, count)

    def _change_subscription(self) -> None:
        """Subscribe to a filter, or unsubscribe again from the last one."""
        topic_filter = b"load/t/%05d/+" % (self.changes // 2)
        subscribe = self.changes % 2 == 0
        five = self.five
        packet = subscribe_packet(topic_filter, 0, five) if subscribe else unsubscribe_packet(topic_filter, five)
        self.changes += 1
        self._write(self.churner, memoryview(packet))


def _described(counts: dict[int, int]) -> str:
    return ", ".join(f"{count} {NAMES[first >> 4]}" for first, count in counts.items())
