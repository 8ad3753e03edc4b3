"""Runs the same mosquitto.conf with mosquitto and with this broker, and holds the same conversation with both."""

from __future__ import annotations

import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from socket_client import PATIENCE_S, Client

from swellmq import Broker
from swellmq.codec.packets import Connack, Publish
from swellmq.settings import Settings

Talk = Callable[["Dial"], Any]
CLOSED: Final = "closed"
# What mosquitto has a test wait for: it takes the rights of its user, who can't read the test's folder.
ALWAYS: Final = "user root\nlog_dest none\n"


class Dial:
    """Connects clients to the listeners of one broker, and closes them."""

    def __init__(self, ports: list[int], reload: Callable[[], object]) -> None:
        self.ports = ports
        self.reload = reload  # have the broker read its files again, soon
        self.made: list[Client] = []

    def __call__(
        self, listener: int = 0, version: int = 4, tls: ssl.SSLContext | None = None, head: bytes = b""
    ) -> Client:
        """A client that has said nothing yet, but `head`."""
        client = Client(("127.0.0.1", self.ports[listener]), version)
        self.made.append(client)
        if tls is not None:
            client.sock = tls.wrap_socket(client.sock, server_hostname="localhost")
        if head:
            client.sock.sendall(head)
        return client

    def enter(self, *listener: int, client_id: str = "c", **options: Any) -> int | str:
        """The return code of CONNECT, or CLOSED."""
        named = {key: options.pop(key) for key in ("username", "password", "will") if key in options}
        try:
            client = self(*listener, **options)
            client.send(client.connect_packet(client_id, **named))
            packet = client.receive()
        except (OSError, ssl.SSLError):
            return CLOSED
        return packet.reason_code if isinstance(packet, Connack) else CLOSED


def echo(client: Client, topic: str, other: str | None = None) -> list[str]:
    """Subscribe to a filter, publish to it or `other`, and what came until the answer to a PINGREQ."""
    code = client.subscribe(topic)
    client.publish(other or topic, b"x")
    return [code.hex(), *arrived(client)]


def arrived(client: Client) -> list[str]:
    """The topics of what comes until a PINGREQ is answered."""
    client.send(b"\xc0\x00")
    topics: list[str] = []
    while isinstance(packet := client.receive(), Publish):
        topics.append(packet.topic_name.decode())
    return topics


def beside(tmp_path: Path, text: str, talk: Talk) -> Any:
    """What the talk brings with both, which must be the same. `{0}`, `{1}` and `{2}` in the text are free ports."""
    ports = free_ports(3)
    file = tmp_path / "mosquitto.conf"
    file.write_text(ALWAYS + text.format(*ports))
    with mosquitto(file, ports[0]) as process:
        theirs = told(talk, Dial(ports, lambda: process.send_signal(signal.SIGHUP)))
    ours = with_ours(file, talk, ports)
    assert ours == theirs, f"{ours}, and mosquitto: {theirs}"
    return ours


def alone(tmp_path: Path, text: str, talk: Talk) -> Any:
    """What the talk brings with this broker, where the mosquitto that is at hand is too old, or at fault."""
    ports = free_ports(3)
    file = tmp_path / "mosquitto.conf"
    file.write_text(text.format(*ports))
    return with_ours(file, talk, ports)


def with_ours(file: Path, talk: Talk, ports: list[int]) -> Any:
    with Broker(Settings.load(str(file), {}, {"log.level": "warning"})) as broker:
        return told(talk, Dial(ports, lambda: broker.server.call(broker.server.reload)))


def told(talk: Talk, dial: Dial) -> Any:
    try:
        return talk(dial)
    finally:
        for client in dial.made:
            client.close()


@contextmanager
def mosquitto(file: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """mosquitto with a configuration, once it listens on `port`."""
    process = subprocess.Popen(["mosquitto", "-c", str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        give_up = time.monotonic() + PATIENCE_S
        while True:
            assert process.poll() is None and time.monotonic() < give_up, "mosquitto does not start"
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), PATIENCE_S) as probe:
                probe.shutdown(socket.SHUT_WR)
                probe.recv(64)  # that it is gone from the counts, too
                break
            time.sleep(0.005)
        yield process
    finally:
        process.terminate()
        process.wait()


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
