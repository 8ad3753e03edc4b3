"""Loads that are over at once: connecting, and the replay of retained messages. As `flow.Load`, each has `run`."""

from __future__ import annotations

import socket
import time
from typing import Final

from swellmq.bench.generator import (
    BLOCK,
    PINGREQ,
    PUBLISH,
    SINGLE,
    SUBACK,
    LoadError,
    close_connections,
    connect_packet,
    expect_answers,
    open_connections,
    publish_packet,
    subscribe_packet,
)
from swellmq.bench.latency import Latency

RETAINED_TOPICS: Final = 100_000
RETAINED_PAYLOAD: Final = b"x" * 64
READ_BYTES: Final = 131_072


class Connects:
    """From the first SYN to the last CONNACK, at most BLOCK under way; the latency is that of a whole block."""

    title: Final = "connects, from SYN to CONNACK"
    messages_first: Final = 10_000

    def __init__(self, port: int, messages: int, five: bool = False) -> None:
        self.messages = messages
        self.port = port
        self.greetings = [connect_packet(b"device-%08d" % number, five) for number in range(messages)]
        self.sockets: list[socket.socket] = []
        self.latency = Latency()

    def run(self) -> float:
        """Connect them all; the seconds it took."""
        begin = before = time.perf_counter()
        for start in range(0, self.messages, BLOCK):
            self.sockets += open_connections(self.port, self.greetings[start : start + BLOCK], before=start)
            now = time.perf_counter()
            self.latency.add(now - before, BLOCK)
            before = now
        return before - begin

    def close(self) -> None:
        """Close all connections."""
        close_connections(self.sockets)


class Retained:
    """A client that subscribes to 100,000 retained messages, again and again; the latency is since its SUBSCRIBE."""

    title: Final = "replay of 100,000 retained messages"
    messages_first: Final = RETAINED_TOPICS

    def __init__(self, port: int, messages: int, five: bool = False, topics: int = RETAINED_TOPICS) -> None:
        self.topics = topics
        self.replays = -(-messages // topics)
        self.messages = self.replays * topics
        self.latency = Latency()
        self.subscribe = subscribe_packet(b"load/retained/#", 0, five)
        retained = [
            SINGLE[frame[0] | 1] + frame[1:]
            for frame in (
                publish_packet(b"load/retained/%06d" % k, 0, 0, RETAINED_PAYLOAD, five) for k in range(topics)
            )
        ]
        self.size = len(retained[0])
        last = publish_packet(b"load/stored", 1, 1, b"", five)  # answered when all before it has been taken
        self.sockets = open_connections(port, [connect_packet(b"retain", five), connect_packet(b"subscribe", five)])
        try:
            self.sockets[0].sendall(b"".join(retained) + last)
            expect_answers(self.sockets[0], last)
        except BaseException:
            self.close()
            raise

    def run(self) -> float:
        """Subscribe so many times; the seconds until all has arrived. Raises LoadError where a count is not exact."""
        begin = time.perf_counter()
        for _replay in range(self.replays):
            self._replay(self.sockets[1])
        seconds = time.perf_counter() - begin
        self.sockets[1].sendall(PINGREQ)
        if self.sockets[1].recv(READ_BYTES) != b"\xd0\x00":
            raise LoadError("more came than was retained")
        return seconds

    def _replay(self, sock: socket.socket) -> None:
        subscribed_at = time.perf_counter()
        sock.sendall(self.subscribe)
        left = self.topics
        subscribed = False
        rest = b""
        while left or not subscribed:
            try:
                data = rest + sock.recv(READ_BYTES)
            except BlockingIOError as error:
                raise LoadError(f"stalled: {left} of {self.topics} retained messages did not come") from error
            if len(data) == len(rest):
                raise LoadError(f"the broker closed the connection with {left} of {self.topics} messages to come")
            pos = 0
            if not subscribed and data[0] == SUBACK and len(data) > data[1] + 1:
                pos = data[1] + 2
                subscribed = True
            firsts = data[pos : max(pos, len(data) - self.size + 1) : self.size]
            count = len(firsts)
            if firsts != SINGLE[PUBLISH | 1] * count or count > left:
                raise LoadError("a wrong stream: something else than the retained messages")
            self.latency.add(time.perf_counter() - subscribed_at, count)
            left -= count
            rest = data[pos + count * self.size :]

    def close(self) -> None:
        """Close all connections."""
        close_connections(self.sockets)
