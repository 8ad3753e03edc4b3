"""Where a conversation of the wire tables takes place: a broker in memory, or one behind TCP."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Protocol

from harness import MemoryBroker, MemoryClient
from socket_client import await_true
from wire.notation import Case, client_version, encoded

from swellmq.limits import Limits
from swellmq.server import Server


class Line(Protocol):
    """A client's end of a connection."""

    def send(self, data: bytes) -> None:
        """Send, and let the broker handle it."""

    def received(self, expected: int) -> bytes:
        """All that has arrived since the last look; where it takes time, `expected` bytes are waited for."""

    def closed(self) -> bool:
        """Whether the broker has closed the connection; only asked after all bytes that it sent were received."""

    def drop(self) -> None:
        """Close the connection from this end."""


class Stage(Protocol):
    """A broker to talk to."""

    def open(self) -> Line:
        """A new connection."""

    def wait(self, seconds: float) -> None:
        """Let time pass."""

    def check(self) -> None:
        """Nothing is wrong inside the broker."""


def set_limits(limits: Limits, values: dict[str, int]) -> None:
    """Change limits of a broker that has no clients yet."""
    for name, value in values.items():
        setattr(limits, name, type(getattr(limits, name))(value))


class MemoryStage:
    """A MemoryBroker. Where `split`, everything is sent byte by byte, each in a turn of its own."""

    def __init__(self, limits: dict[str, int], split: bool = False) -> None:
        self.split = split
        self.broker = MemoryBroker()
        set_limits(self.broker.limits, limits)

    def open(self) -> Line:
        return MemoryLine(self.broker.open(), self.split)

    def wait(self, seconds: float) -> None:
        self.broker.advance(seconds)

    def check(self) -> None:
        self.broker.check()


class MemoryLine:
    def __init__(self, client: MemoryClient, split: bool) -> None:
        self.client = client
        self.split = split

    def send(self, data: bytes) -> None:
        if self.split:
            self.client.send_split(data)
        else:
            self.client.send(data)

    def received(self, expected: int) -> bytes:
        return self.client.receive_bytes()

    def closed(self) -> bool:
        return self.client.closed

    def drop(self) -> None:
        self.client.drop()


class TcpStage:
    """A server whose turns the test drives: after each step it has read all that was sent, and answered."""

    def __init__(self, server: Server, limits: dict[str, int]) -> None:
        self.server = server
        set_limits(server.broker.core.limits, limits)
        self.server.broker.core.assigned_stem = ""  # the only thing in an answer that is random
        self.lines: list[TcpLine] = []

    def turn(self) -> None:
        self.server.turn(1)

    def open(self) -> Line:
        accepted = self.server.stats.connections_accepted
        line = TcpLine(self)
        self.lines.append(line)
        await_true(lambda: self.server.stats.connections_accepted > accepted, self.turn)
        return line

    def wait(self, seconds: float) -> None:
        raise AssertionError("a case that waits runs in memory")

    def check(self) -> None:
        assert self.server.stats.errors_internal == 0
        for line in self.lines:
            line.sock.close()

    def over(self) -> int:
        """How many connections have ended."""
        return sum(closed.count for closed in self.server.stats.connections_closed)


class TcpLine:
    def __init__(self, stage: TcpStage) -> None:
        self.stage = stage
        self.sock = socket.create_connection(("127.0.0.1", stage.server.port))
        self.sock.setblocking(False)
        self.data = b""
        self.ended = False

    def send(self, data: bytes) -> None:
        stats = self.stage.server.stats
        over = self.stage.over()
        wanted = stats.bytes_received + len(data)
        view = memoryview(data)
        while view:
            try:
                view = view[self.sock.send(view) :]
            except BlockingIOError:
                self.stage.turn()
        await_true(lambda: stats.bytes_received >= wanted or self.stage.over() > over, self.stage.turn)

    def received(self, expected: int) -> bytes:
        self._take()
        await_true(lambda: self.ended or len(self.data) >= expected, self._wait)
        data, self.data = self.data, b""
        return data

    def _wait(self) -> None:
        self.stage.turn()
        self._take()

    def _take(self) -> None:
        """All that has arrived by now."""
        while not self.ended:
            try:
                piece = self.sock.recv(1 << 20)
            except BlockingIOError:
                return
            except ConnectionResetError:
                piece = b""
            self.data += piece
            self.ended = not piece

    def closed(self) -> bool:
        self._take()
        return self.ended

    def drop(self) -> None:
        over = self.stage.over()
        self.sock.close()
        await_true(lambda: self.stage.over() > over, self.stage.turn)


class Peer:
    """A client of a conversation: its connection, and whether that is over."""

    def __init__(self, line: Line, version: int) -> None:
        self.line = line
        self.version = version
        self.dropped = False
        self.seen_closed = False

    def over(self) -> bool:
        return self.dropped or self.seen_closed


def converse(case: Case, stage: Stage) -> None:
    """Hold the conversation of a case; AssertionError at the first difference."""
    peers: dict[str, Peer] = {}
    first = next(step.client for step in case.steps if step.client)
    for number, step in enumerate(case.steps):
        where = f"step {number + 1}"
        if step.way == "wait":
            stage.wait(step.seconds)
            continue
        peer = peers.get(step.client)
        if peer is None or (peer.over() and step.way == ">"):
            peer = peers[step.client] = _opened(case, stage, step.client)
        if step.way == ">":
            assert not peer.line.closed(), f"{where}: the connection of {step.client} is closed"
            peer.line.send(step.data)
        elif step.way == "<":
            arrived = peer.line.received(len(step.data))
            assert arrived.hex(" ") == step.data.hex(" "), f"{where}: what {step.client} got, and what it should get"
        elif step.way == "drops":
            peer.line.drop()
            peer.dropped = True
        else:
            assert peer.line.received(0) == b"", f"{where}: what {step.client} got, and was not expected"
            assert peer.line.closed(), f"{where}: the connection of {step.client} is open"
            peer.seen_closed = True
    for client, peer in peers.items():
        if peer.dropped:
            continue
        assert peer.line.received(0).hex(" ") == "", f"what {client} got, and was not expected"
        open_at_end = case.open_at_end if client == first else not peer.seen_closed
        assert peer.line.closed() != open_at_end, f"the connection of {client} at the end"
    stage.check()


def _opened(case: Case, stage: Stage, client: str) -> Peer:
    peer = Peer(stage.open(), client_version(client, case.version))
    if client.islower():
        peer.line.send(encoded(f'CONNECT(PROTO 02 0000 {{ 1700 }} "{client}")', peer.version))
        connack = encoded("CONNACK", peer.version)
        assert peer.line.received(len(connack)) == connack
    return peer


def sent(case: Case) -> Iterator[tuple[str, bytes]]:
    """Who sends what in a case, the CONNECTs of lower-case clients included; for the corpus of the fuzzers."""
    connected: set[str] = set()
    for step in case.steps:
        if step.client.islower() and step.client not in connected and step.way == ">":
            version = client_version(step.client, case.version)
            yield step.client, encoded(f'CONNECT(PROTO 02 0000 {{ 1700 }} "{step.client}")', version)
            connected.add(step.client)
        if step.way == ">":
            yield step.client, step.data
