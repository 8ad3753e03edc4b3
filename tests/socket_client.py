"""A small MQTT client over a socket, for tests that count bytes and steps, and what such tests share."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

from swellmq import Broker, Settings
from swellmq.codec.decode import decode
from swellmq.codec.encode import encode
from swellmq.codec.packets import (
    Connack,
    Connect,
    Disconnect,
    Packet,
    Ping,
    Properties,
    Publish,
    Suback,
    Subscribe,
    TopicRequest,
    Will,
)
from swellmq.codec.spec import PINGREQ, PINGRESP
from swellmq.server import Server

PATIENCE_S = 10.0  # nothing takes nearly as long; a test that waits for it in vain fails

Address = tuple[str, int] | str


def await_true(condition: Callable[[], object], step: Callable[[], object] = lambda: time.sleep(0.001)) -> None:
    """Take steps until the condition holds; fails when it does not come true."""
    give_up = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up, "this did not come true in time"
        step()


class Client:
    """An MQTT client that does what it is told: a socket and the codec. `step` turns the broker where the test does."""

    def __init__(self, address: Address, protocol_version: int = 4, step: Callable[[], object] | None = None) -> None:
        family = (
            socket.AF_UNIX if isinstance(address, str) else socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        )
        self.sock = socket.socket(family)
        self.sock.settimeout(PATIENCE_S)
        self.sock.connect(address)
        self.protocol_version = protocol_version
        self.step = step
        self.data = bytearray()
        self.pos = 0
        if step is not None:
            self.sock.setblocking(False)

    def send(self, *packets: Packet | bytes) -> None:
        """Send packets, or bytes that are perhaps none."""
        data = memoryview(b"".join(p if isinstance(p, bytes) else encode(p, self.protocol_version) for p in packets))
        while data:
            try:
                data = data[self.sock.send(data) :]
            except BlockingIOError:
                assert self.step is not None
                self.step()

    def connect(
        self,
        client_id: str = "client",
        *,
        clean: bool = True,
        keep_alive: int = 0,
        will: Publish | None = None,
        username: str | None = None,
        expiry_s: int = -1,
        password: bytes | None = None,
    ) -> Connack:
        """CONNECT; the broker's answer."""
        self.send(self.connect_packet(client_id, clean, keep_alive, will, username, expiry_s, password))
        packet = self.receive()
        assert isinstance(packet, Connack)
        return packet

    def connect_packet(
        self,
        client_id: str,
        clean: bool = True,
        keep_alive: int = 0,
        will: Publish | None = None,
        username: str | None = None,
        expiry_s: int = -1,
        password: bytes | None = None,
    ) -> bytes:
        packet = Connect()
        packet.protocol_version = self.protocol_version
        packet.client_id = client_id
        packet.clean_start = clean
        packet.keep_alive = keep_alive
        packet.username = username
        packet.password = password
        if will is not None:
            packet.will = Will(will, 0)
        if expiry_s >= 0:
            packet.properties = Properties()
            packet.properties.session_expiry_interval = expiry_s
        return encode(packet, self.protocol_version)

    def arrive(self) -> None:
        """Take in what there is; where there is nothing have the broker make a step, if the test drives it."""
        try:
            data = self.sock.recv(1 << 20)
        except BlockingIOError:
            assert self.step is not None
            self.step()
            return
        if not data:
            raise EOFError
        self.data += data

    def receive(self) -> Packet | None:
        """The next packet; None where the broker has closed the connection."""
        give_up = time.monotonic() + PATIENCE_S
        while True:
            if len(self.data) - self.pos >= self.wanted():
                packet, end = decode(
                    bytes(self.data[self.pos : self.pos + self.wanted()]), 0, self.protocol_version, True
                )
                if packet is not None:
                    self.pos += end
                    if self.pos > 1 << 16:
                        del self.data[: self.pos]
                        self.pos = 0
                    return packet
            assert time.monotonic() < give_up, "nothing came"
            try:
                self.arrive()
            except (EOFError, ConnectionResetError):
                assert self.pos == len(self.data), "the broker closed within a packet"
                return None

    def wanted(self) -> int:
        """Bytes from `pos` on without which the next packet can't be complete."""
        length, shift, index = 0, 0, self.pos + 1
        while index < len(self.data) and shift < 28:
            length |= (self.data[index] & 0x7F) << shift
            shift += 7
            index += 1
            if not self.data[index - 1] & 0x80:
                return index - self.pos + length
        return index - self.pos + 1

    def expect(self, kind: type[Packet]) -> Any:
        """The next packet, which must be of this kind."""
        packet = self.receive()
        assert isinstance(packet, kind), packet
        return packet

    def subscribe(self, topic_filter: str, qos: int = 0) -> bytes:
        """SUBSCRIBE to one filter; the reason codes."""
        self.send(Subscribe(1, [TopicRequest(topic_filter.encode(), qos)]))
        return bytes(self.expect(Suback).reason_codes)

    def publish(
        self, topic: str, payload: bytes = b"", qos: int = 0, retain: bool = False, identifier: int = 1
    ) -> None:
        """Send a PUBLISH."""
        message = Publish(topic.encode(), payload, qos, retain)
        if qos:
            message.packet_identifier = identifier
        self.send(message)

    def ping(self) -> None:
        """PINGREQ and its answer: all that was sent before is handled, and its output has come."""
        self.send(Ping(PINGREQ))
        assert self.expect(Ping).packet_type == PINGRESP

    def disconnect(self) -> None:
        """DISCONNECT, and wait until the broker has closed."""
        self.send(Disconnect())
        assert self.receive() is None
        self.close()

    def close(self) -> None:
        self.sock.close()


class Clients:
    """Makes clients, and closes those that are left."""

    def __init__(self) -> None:
        self.made: list[Client] = []

    def __call__(
        self, target: Broker | Server | Address, protocol_version: int = 4, client_id: str | None = None, **options: Any
    ) -> Client:
        """A client of a broker; with a client id it is connected, and says so by CONNACK 0."""
        step = (lambda: target.turn(1)) if isinstance(target, Server) else None
        address = ("127.0.0.1", target.port) if isinstance(target, (Broker, Server)) else target
        step = options.pop("step", step)
        client = Client(address, protocol_version, step)
        self.made.append(client)
        if client_id is not None:
            assert client.connect(client_id, **options).reason_code == 0
        return client


def quiet_settings(**values: Any) -> Settings:
    """Settings of a broker on a free port that does nothing on its own."""
    quiet: dict[str, Any] = {"sys_interval_s": 0, "status_interval_s": 0, "pool_initial_size": 16}
    if "listeners" not in values:
        quiet["port"] = 0
    return Settings(**(quiet | values))
