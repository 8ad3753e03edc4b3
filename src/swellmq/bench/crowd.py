"""A publisher that sends as fast as its socket takes it, and its subscribers, as a process of their own.

    python -m swellmq.bench.crowd PORT SUBSCRIBERS OWN PAYLOAD_BYTES

With OWN each subscriber speaks MQTT 5.0 and has a Subscription Identifier, so that each needs a frame of its own. `run
MS` publishes for so many milliseconds, and ends once no more comes; it answers how many messages were published, how
many arrived meanwhile, and how many in all. The subscribers read and throw away. The process is a nice one, so that who
measures on the same core is not late for it.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import time
from typing import Final

from swellmq.bench.generator import STALL_S, connect_packet, open_connections, packet, publish_packet, string
from swellmq.bench.obey import obey

TOPIC: Final = b"crowd/all"
SUBSCRIBE: Final = 0x82
READ_BYTES: Final = 262_144
BLOCK_BYTES: Final = 65_536  # that the publisher writes at once
RECEIVE_BYTES: Final = 32_768  # more for each of 15,000 is more than Linux allows for all of TCP: packets get lost
LOOK_S: Final = 0.05
CALM_S: Final = 0.3  # nothing comes for so long: all is there


class Crowd:
    """One publisher and its subscribers."""

    def __init__(self, port: int, subscribers: int, own: bool, payload_bytes: int) -> None:
        greetings = [connect_packet(b"crowd-publisher", own)]
        for number in range(subscribers):
            wanted = string(TOPIC) + b"\x00"
            body = b"\x00\x01\x02\x0b\x07" + wanted if own else b"\x00\x01" + wanted
            greetings.append(connect_packet(b"crowd-%05d" % number, own) + packet(SUBSCRIBE, body))
        self.sockets = open_connections(port, greetings, receive_bytes=RECEIVE_BYTES)
        self.publisher = self.sockets[0]
        self.frame = publish_packet(TOPIC, 0, 0, b"x" * payload_bytes, own)
        self.block = self.frame * max(1, BLOCK_BYTES // len(self.frame))
        self.rest = b""  # of a block that the socket took a part of
        self.by_fd: dict[int, socket.socket] = {}
        self.epoll = select.epoll()
        for sock in self.sockets:
            sock.setblocking(False)
            self.by_fd[sock.fileno()] = sock
            if sock is not self.publisher:
                self.epoll.register(sock, select.EPOLLIN)
        self.epoll.register(self.publisher, 0)

    def command(self, words: list[str]) -> dict[str, int]:
        """Publish for so long, and answer with what came of it."""
        return self.run(int(words[1]) / 1000)

    def run(self, seconds: float) -> dict[str, int]:
        """Publish for `seconds`: the messages that were written, those that arrived meanwhile, and in all."""
        written = arrived = 0
        self.epoll.modify(self.publisher, select.EPOLLOUT)
        publisher = self.publisher.fileno()
        begin = time.perf_counter()
        while time.perf_counter() - begin < seconds:
            for fd, mask in self.epoll.poll(LOOK_S):
                if fd == publisher:
                    written += self._write()
                elif mask:
                    arrived += len(self._read(fd))
        took = time.perf_counter() - begin
        self.epoll.modify(self.publisher, 0)
        answer = {"us": int(took * 1e6), "published": written, "arrived": arrived}
        taken = arrived
        give_up = begin + seconds + STALL_S
        while seconds and time.perf_counter() < give_up and (events := self.epoll.poll(CALM_S)):
            for fd, _mask in events:
                taken += len(self._read(fd))
        answer["taken"] = taken
        return {name: value if name == "us" else value // len(self.frame) for name, value in answer.items()}

    def _read(self, fd: int) -> bytes:
        try:
            data = os.read(fd, READ_BYTES)
        except BlockingIOError:
            return b""
        if not data:  # the broker has ended it: what is missing tells
            self.epoll.unregister(fd)
        return data

    def _write(self) -> int:
        block = self.rest or self.block
        try:
            count = os.write(self.publisher.fileno(), block)
        except BlockingIOError:
            return 0
        self.rest = block[count:]
        return count


def main(words: list[str]) -> None:
    """Obey until stdin ends; the clients end with the process."""
    os.nice(10)
    obey(Crowd(int(words[0]), int(words[1]), words[2] == "1", int(words[3])).command)


if __name__ == "__main__":
    main(sys.argv[1:])
