"""MQTT over WebSocket: the layer in memory, through the loop, and with the clients of others."""

from __future__ import annotations

import asyncio
import os
import queue
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
import websockets
from client_helpers import free_port
from harness import MemoryBroker, MemoryClient
from hypothesis import given
from hypothesis import strategies as st
from mqttjs_client import MqttJs, Node, missing
from paho.mqtt.enums import CallbackAPIVersion
from socket_client import PATIENCE_S, Client, Clients, await_true
from websocket_helpers import ACCEPTED, REQUEST, frames, masked

from swellmq import Access, Broker, Request
from swellmq.broker.access import PUBLISH, TAKE_OVER
from swellmq.codec.encode import encode
from swellmq.codec.packets import Ack as AckPacket
from swellmq.codec.packets import Connack, Connect, Disconnect, Packet, Ping, Publish
from swellmq.codec.spec import PINGRESP, PUBACK
from swellmq.codec.websocket import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT
from swellmq.command import banner
from swellmq.errors import CLOSE_REASONS, OPEN
from swellmq.limits import REFUSING_SLOTS, WEBSOCKET_FRAME_BYTES, WEBSOCKET_HEAD_BYTES
from swellmq.listener_settings import ListenerSettings
from swellmq.net.websocket import WebSocketLayer, WebSocketTerms
from swellmq.server import Server

Servers = Callable[..., Server]

REFUSED_3 = b"\x20\x02\x00\x03"
WEBSOCKET = {"listeners": [ListenerSettings(port=0, protocol="websocket"), ListenerSettings(port=0)]}


def connect_packet(client_id: str, version: int = 4) -> bytes:
    packet = Connect()
    packet.protocol_version = version
    packet.client_id = client_id
    packet.clean_start = True
    return encode(packet, version)


# In memory


class MemoryWebSocket:
    """A client of a broker in memory, with a WebSocket layer where the loop has it."""

    def __init__(self, broker: MemoryBroker, upgrade: bool = True) -> None:
        self.mqtt: MemoryClient = broker.open()
        self.layer = WebSocketLayer(WebSocketTerms([b"/mqtt", b"/"], [], []))
        if upgrade:
            assert self.feed(REQUEST) == ACCEPTED

    def feed(self, data: bytes) -> bytes:
        """Read `data` as the loop does, and run a turn; what leaves."""
        if self.mqtt.closed:
            return b""
        payload = self.layer.received(data)
        if payload:
            self.mqtt.send(payload)
        if self.layer.reason != OPEN and not self.mqtt.closed:
            self.mqtt.connection.close(self.layer.reason)
            self.mqtt.broker.turn()
        if self.mqtt.closed:
            self.layer.finish(CLOSE_REASONS.index(self.mqtt.close_reason))
        data = self.mqtt.receive_bytes()
        return b"".join(self.layer.framed([data] if data else []))


@pytest.fixture
def memory() -> MemoryBroker:
    return MemoryBroker()


def test_conversation(memory: MemoryBroker) -> None:
    client = MemoryWebSocket(memory)
    assert client.feed(masked(connect_packet("a"))) == b"\x82\x04\x20\x02\x00\x00"
    assert client.feed(masked(b"\x82\x06\x00\x01\x00\x01t\x00" + b"\x30\x04\x00\x01tx")) == (
        b"\x82\x0b\x90\x03\x00\x01\x00" + b"\x30\x04\x00\x01tx"
    )
    assert client.feed(masked(b"\xe0\x00")) == b"\x88\x02\x03\xe8"
    assert client.mqtt.close_reason == "client disconnected"


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 64])
def test_at_every_split(memory: MemoryBroker, size: int) -> None:  # [MQTT-6.0.0-2]
    client = MemoryWebSocket(memory, upgrade=False)
    packets = connect_packet("a") + b"\xc0\x00" * 3 + b"\xe0\x00"
    data = REQUEST
    for pos in range(0, len(packets), 5):  # packets and frames end at different bytes
        data += masked(packets[pos : pos + 5])
    answer = b"".join(client.feed(data[pos : pos + size]) for pos in range(0, len(data), size))
    assert answer.startswith(ACCEPTED)
    received = frames(answer[len(ACCEPTED) :])
    assert received[-1] == (CLOSE, b"\x03\xe8")
    assert {opcode for opcode, _ in received[:-1]} == {BINARY}
    assert b"".join(payload for _, payload in received[:-1]) == b"\x20\x02\x00\x00" + b"\xd0\x00" * 3


@given(
    st.lists(st.tuples(st.binary(max_size=300), st.booleans(), st.booleans(), st.binary(min_size=4, max_size=4))),
    st.lists(st.integers(1, 700), min_size=1),
)
def test_round_trip(sent: list[tuple[bytes, bool, bool, bytes]], sizes: list[int]) -> None:
    """Messages in fragments with pings between them, in reads of any size: the payloads come out."""
    layer = WebSocketLayer(WebSocketTerms([b"/mqtt"], [], []))
    assert layer.received(REQUEST) == b""
    layer.framed([])
    data = b""
    within = False
    for payload, fin, ping, key in sent:
        data += masked(payload, CONTINUATION if within else BINARY, fin, key)
        data += masked(payload[:125], PING) if ping else b""
        within = not fin
    received, pos, turn = b"", 0, 0
    while pos < len(data):
        size = sizes[turn % len(sizes)]
        received += layer.received(data[pos : pos + size])
        pos, turn = pos + size, turn + 1
    assert received == b"".join(payload for payload, _, _, _ in sent)
    assert layer.reason == OPEN
    pings = [payload[:125] for payload, _, ping, _ in sent if ping]
    assert frames(b"".join(layer.framed([]))) == ([(PONG, pings[-1])] if pings else [])


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (masked(b"text", TEXT), 1003),  # [MQTT-6.0.0-1]
        (masked(b"", TEXT), 1003),
        (b"\x82\x02\xc0\x00", 1002),  # no mask
        (b"\xc2\x82mask", 1002),  # a compressed frame
        (masked(b"", CONTINUATION), 1002),
        (masked(b"\xc0", fin=False) + masked(b"\x00"), 1002),
        (masked(b"", 3), 1002),
        (masked(b"", 11), 1002),
        (masked(b"", PING, fin=False), 1002),
        (masked(b"x" * 126, PING), 1002),
        (masked(b"\x03", CLOSE), 1002),
        (masked(b"\x03\xed", CLOSE), 1002),
        (masked(b"\x03\xe8\xff", CLOSE), 1007),
        (masked(b"\x30\x04\x00\x09tx"), 1002),  # malformed MQTT
        (masked(b"\xc3\x00"), 1002),
    ],
)
def test_rule_broken(memory: MemoryBroker, sent: bytes, code: int) -> None:
    client = MemoryWebSocket(memory)
    client.feed(masked(connect_packet("a")))
    assert frames(client.feed(masked(b"\xc0\x00") + sent + masked(b"\xc0\x00"))) == [
        (BINARY, b"\xd0\x00"),  # what came before counts
        (CLOSE, code.to_bytes(2, "big")),
    ]
    assert client.mqtt.close_reason in ("protocol error", "malformed packet")
    assert client.feed(masked(b"\xc0\x00") + masked(b"", PING)) == b""


@pytest.mark.parametrize(
    ("sent", "answer"),
    [(b"", b""), (b"\x03\xe8", b"\x03\xe8"), (b"\x03\xe9going away", b"\x03\xe9"), (b"\x0f\xa0", b"\x0f\xa0")],
)
def test_close_is_answered(memory: MemoryBroker, sent: bytes, answer: bytes) -> None:
    client = MemoryWebSocket(memory)
    client.feed(masked(connect_packet("a")))
    assert frames(client.feed(masked(sent, CLOSE) + masked(b"\xc0\x00"))) == [(CLOSE, answer)]
    assert client.mqtt.close_reason == "closed by peer"


def test_last_words_before_a_close_are_heard(memory: MemoryBroker) -> None:
    client = MemoryWebSocket(memory)
    client.feed(masked(connect_packet("a")))
    client.feed(masked(b"\xe0\x00") + masked(b"\x03\xe8", CLOSE))
    assert client.mqtt.close_reason == "client disconnected"


def test_only_the_last_ping_of_a_read_is_answered(memory: MemoryBroker) -> None:
    client = MemoryWebSocket(memory)
    pings = b"".join(masked(b"%d" % number, PING) for number in range(1000))
    assert frames(client.feed(pings + masked(b"unasked", PONG))) == [(PONG, b"999")]


def test_frames_hold_whole_packets_and_end_in_time() -> None:
    layer = WebSocketLayer(WebSocketTerms([b"/mqtt"], [], []))
    layer.received(REQUEST)
    layer.framed([])
    pieces = [
        bytes([number]) * size
        for number, size in enumerate([1, WEBSOCKET_FRAME_BYTES - 1, 1, WEBSOCKET_FRAME_BYTES + 1, 5, 6])
    ]
    sent = frames(b"".join(layer.framed(pieces)))
    assert [len(payload) for _, payload in sent] == [WEBSOCKET_FRAME_BYTES, 1, WEBSOCKET_FRAME_BYTES + 1, 11]
    assert b"".join(payload for _, payload in sent) == b"".join(pieces)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"\x10\x0c\x00\x04MQTT", b"400 Bad Request"),
        (connect_packet("a"), b"400 Bad Request"),
        (REQUEST.replace(b"/mqtt", b"/admin"), b"404 Not Found"),
        (REQUEST.replace(b"GET", b"PUT"), b"405 Method Not Allowed"),
        (b"GET / HTTP/1.1\r\nHost: broker\r\n\r\n", b"426 Upgrade Required"),
        (REQUEST.replace(b": 13", b": 12"), b"426 Upgrade Required"),
        (REQUEST.replace(b": mqtt", b": wamp"), b"400 Bad Request"),
        (b"GET / HTTP/1.1\r\nCookie: " + b"x" * WEBSOCKET_HEAD_BYTES, b"431 Request Header Fields Too Large"),
        (
            REQUEST[:-2] + b"Cookie: " + b"x" * WEBSOCKET_HEAD_BYTES + b"\r\n\r\n",
            b"431 Request Header Fields Too Large",
        ),
    ],
)
def test_request_is_refused(memory: MemoryBroker, request_bytes: bytes, status: bytes) -> None:
    client = MemoryWebSocket(memory, upgrade=False)
    answer = client.feed(request_bytes + masked(connect_packet("a")))
    assert answer.startswith(b"HTTP/1.1 " + status + b"\r\n")
    assert client.mqtt.close_reason == "protocol error"
    assert b"\x88" not in answer  # no frame follows


def test_a_request_of_the_largest_size(memory: MemoryBroker) -> None:
    room = WEBSOCKET_HEAD_BYTES - len(REQUEST) - len(b"Cookie: \r\n")
    request = REQUEST[:-2] + b"Cookie: " + b"x" * room + b"\r\n\r\n"
    assert len(request) == WEBSOCKET_HEAD_BYTES
    assert MemoryWebSocket(memory, upgrade=False).feed(request) == ACCEPTED
    assert MemoryWebSocket(memory, upgrade=False).feed(REQUEST.replace(b"/mqtt", b"/?x=1")) == ACCEPTED


@given(st.data())
def test_mutated_frames(data: st.DataObject) -> None:
    """Any change of what a client sends: whole frames come back, and no bug is met."""
    stream = bytearray(
        REQUEST + masked(connect_packet("a")) + masked(b"\x82\x06\x00\x01\x00\x01t\x00", fin=False)
        + masked(b"x", PING) + masked(b"\x30\x83", CONTINUATION) + masked(b"\x01\x00\x01t" + b"x" * 128)
        + masked(b"\xc0\x00") + masked(b"\xe0\x00") + masked(b"\x03\xe8", CLOSE)
    )  # fmt: skip
    for _ in range(data.draw(st.integers(0, 4))):
        place = data.draw(st.integers(0, len(stream) - 1))
        stream[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    cut = data.draw(st.integers(0, len(stream)))
    broker = MemoryBroker()
    client = MemoryWebSocket(broker, upgrade=False)
    answer = client.feed(bytes(stream[:cut])) if cut else b""
    answer += client.feed(bytes(stream[cut:])) if cut < len(stream) else b""
    if answer.startswith(ACCEPTED):
        assert {opcode for opcode, _ in frames(answer[len(ACCEPTED) :])} <= {BINARY, PONG, CLOSE}
    elif answer:
        assert answer.startswith((b"HTTP/1.1 4", ACCEPTED[:30])) and client.layer.reason != OPEN
    broker.check()


# Through the loop


class WebSocketClient(Client):
    """The socket client, with its packets in frames. `control` has the frames that are none of MQTT."""

    def __init__(self, address: Any, protocol_version: int = 4, step: Callable[[], object] | None = None) -> None:
        super().__init__(address, protocol_version, step)
        self.raw = b""
        self.control: list[tuple[int, bytes]] = []
        self.sizes: list[int] = []  # of the binary frames
        super().send(REQUEST)
        self.upgraded = False

    def send(self, *packets: Packet | bytes) -> None:
        whole = b"".join(p if isinstance(p, bytes) else encode(p, self.protocol_version) for p in packets)
        super().send(masked(whole))

    def send_raw(self, data: bytes) -> None:
        super().send(data)

    def arrive(self) -> None:
        try:
            data = self.sock.recv(1 << 20)
        except BlockingIOError:
            assert self.step is not None
            self.step()
            return
        if not data:
            assert not self.raw, "the broker closed within a frame"
            raise EOFError
        self.raw += data
        if not self.upgraded:
            if len(self.raw) < len(ACCEPTED):
                return
            assert self.raw.startswith(ACCEPTED)
            self.raw = self.raw[len(ACCEPTED) :]
            self.upgraded = True
        while (end := self.frame_end()) and end <= len(self.raw):
            [(opcode, payload)] = frames(self.raw[:end])
            self.raw = self.raw[end:]
            if opcode == BINARY:
                self.sizes.append(len(payload))
                self.data += payload
            else:
                self.control.append((opcode, payload))

    def frame_end(self) -> int:
        """Where the first frame ends; 0 where that is not known yet."""
        raw = self.raw
        if len(raw) < 10 and (len(raw) < 2 or raw[1] == 127 or (raw[1] == 126 and len(raw) < 4)):
            return 0
        if raw[1] == 126:
            return 4 + int.from_bytes(raw[2:4], "big")
        return 10 + int.from_bytes(raw[2:10], "big") if raw[1] == 127 else 2 + raw[1]


@pytest.fixture
def web(clients: Clients) -> Callable[..., WebSocketClient]:
    """Makes WebSocket clients of a server that the test turns; with a client id they are connected."""

    def make(one: Server, version: int = 4, client_id: str | None = None, **options: Any) -> WebSocketClient:
        client = WebSocketClient(("127.0.0.1", one.listeners[0].port), version, lambda: one.turn(1))
        clients.made.append(client)
        if client_id is not None:
            assert client.connect(client_id, **options).reason_code == 0
        return client

    return make


Web = Callable[..., WebSocketClient]


def closing(client: WebSocketClient) -> tuple[int, bytes]:
    """The close frame, with which all that comes must end."""
    hear_out(client)
    return client.control[-1]


def hear_out(client: Client) -> None:
    """Take in all that comes until the broker closes."""
    try:
        while True:
            client.arrive()
    except EOFError:
        return


def plain(clients: Clients, one: Server, version: int = 4, client_id: str = "plain") -> Client:
    """A connected client of the plain listener."""
    address = ("127.0.0.1", one.listeners[1].port)
    return clients(address, version, client_id, step=lambda: one.turn(1))


@pytest.mark.parametrize("version", [3, 4, 5])
def test_beside_plain_clients(server: Servers, clients: Clients, web: Web, version: int) -> None:
    one = server(**WEBSOCKET)
    over_web, over_tcp = web(one, version, "web"), plain(clients, one, version, "tcp")
    for client in (over_web, over_tcp):
        assert client.subscribe("t", 1) == b"\x01"
    over_web.publish("t", b"from web", 1)
    over_tcp.publish("t", b"from tcp")
    found = []
    for client in (over_web, over_tcp):
        packets = [client.receive() for _ in range(3 if client is over_web else 2)]
        found.append(sorted(packet.payload for packet in packets if isinstance(packet, Publish)))
    assert found == [[b"from tcp", b"from web"]] * 2
    over_web.send(Disconnect())
    assert closing(over_web) == (CLOSE, b"\x03\xe8")
    assert one.pool.active == 1
    assert one.stats.statistics()["closed: client disconnected"] == 1


def test_bytes_are_counted_as_those_of_mqtt(server: Servers, web: Web) -> None:
    one = server(**WEBSOCKET)
    client = web(one, 4, "a")
    for _ in range(10):
        client.ping()
    assert one.stats.bytes_sent == 4 + 10 * 2
    assert one.stats.bytes_received == len(client.connect_packet("a")) + 10 * 2


def test_large_packets_both_ways(server: Servers, web: Web) -> None:
    one = server(**WEBSOCKET)
    client = web(one, 5, "a")
    client.subscribe("t")
    payload = bytes(range(256)) * 12_000  # 3 MB
    packet = encode(Publish(b"t", payload, 0, False), 5)
    client.send(packet)
    assert client.expect(Publish).payload == payload
    client.send_raw(b"".join(masked(packet[pos : pos + 100_001]) for pos in range(0, len(packet), 100_001)))
    assert client.expect(Publish).payload == payload
    client.ping()


def test_a_slow_reader_gets_whole_frames(server: Servers, clients: Clients, web: Web) -> None:
    one = server(**WEBSOCKET, limits_outbox_bytes=50_000_000)
    slow, publisher = web(one, 4, "slow"), plain(clients, one)
    slow.subscribe("t")
    for number in range(200):
        publisher.publish("t", bytes([number]) * 50_000)
    publisher.ping()
    slow.send_raw(masked(b"are you there", PING))
    for number in range(200):
        assert slow.expect(Publish).payload == bytes([number]) * 50_000
    slow.ping()
    assert (PONG, b"are you there") in slow.control
    await_true(lambda: not any(connection.outbox_bytes for connection in one.loop.served()), lambda: one.turn(1))
    assert all(connection.buffers is None or connection.buffers.layer for connection in one.loop.served())


def test_pings_and_close(server: Servers, web: Web) -> None:
    one = server(**WEBSOCKET)
    client = web(one, 4, "a")
    client.send_raw(masked(b"1", PING))
    await_true(lambda: client.control == [(PONG, b"1")], client.arrive)
    client.send_raw(masked(b"\x03\xe9", CLOSE))
    assert closing(client) == (CLOSE, b"\x03\xe9")
    assert one.stats.statistics()["closed: closed by peer"] == 1


def test_shut_down_says_goodbye(server: Servers, web: Web) -> None:
    one = server(**WEBSOCKET)
    client = web(one, 5, "a")
    one.finish()
    client.step = None
    client.sock.setblocking(True)
    assert client.expect(Disconnect).reason_code == 0x8B
    assert closing(client) == (CLOSE, b"\x03\xe9")


def test_refused_when_full(server: Servers, clients: Clients, web: Web) -> None:
    one = server(**WEBSOCKET, max_connections=1, pool_initial_size=1, pool_max_size=1)
    served = plain(clients, one)
    late = web(one)
    for byte in masked(late.connect_packet("late")):
        late.send_raw(bytes([byte]))
        one.turn(0)
    assert closing(late) == (CLOSE, b"\x03\xf5")
    assert bytes(late.data) == REFUSED_3
    served.ping()
    assert len(one.pool.reserve) == REFUSING_SLOTS


@pytest.mark.parametrize("judged", [False, True])
def test_takes_its_own_place_over_when_full(server: Servers, web: Web, judged: bool) -> None:
    judge = Judge(TAKE_OVER) if judged else None
    one = server(judge, **WEBSOCKET, max_connections=1, pool_initial_size=1, pool_max_size=1)
    first = web(one)
    first.send(first.connect_packet("a"))
    if judge is not None:
        judge.answer(one)
    assert first.expect(Connack).reason_code == 0
    second = web(one)
    second.send(second.connect_packet("a") + b"\xc0\x00")
    if judge is not None:
        judge.answer(one)  # whether it may take over
        judge.answer(one)  # then it comes in as everybody does
    assert second.expect(Connack).reason_code == 0
    assert second.expect(Ping).packet_type == PINGRESP
    assert closing(first) == (CLOSE, b"\x03\xe8")
    second.ping()
    assert (one.pool.active, len(one.pool.reserve)) == (1, REFUSING_SLOTS)


class Judge(Access):
    """Access that answers when the test says so."""

    def __init__(self, kind: int) -> None:
        super().__init__()
        self.authenticates = kind == TAKE_OVER
        self.authorizes_publish = kind == PUBLISH
        self.asked: list[Request] = []

    def decide(self, requests: list[Request]) -> None:
        self.asked += requests

    def answer(self, one: Server) -> None:
        """Allow what is asked next."""
        await_true(lambda: self.asked, lambda: one.turn(1))
        assert one.broker.resume(self.asked.pop().token, 0)


@pytest.mark.parametrize(
    ("last", "code"), [(masked(b"\x03\xe8", CLOSE), b"\x03\xe8"), (masked(b"", TEXT), b"\x03\xeb")]
)
def test_what_waits_for_an_answer_comes_before_the_close(server: Servers, web: Web, last: bytes, code: bytes) -> None:
    judge = Judge(PUBLISH)
    one = server(judge, **WEBSOCKET)
    client = web(one, 4, "a")
    message = Publish(b"t", b"x", 1, False)
    message.packet_identifier = 7
    client.send_raw(masked(encode(message, 4) + b"\xc0\x00") + last)
    await_true(lambda: judge.asked, lambda: one.turn(1))
    one.turn(0)
    assert one.pool.active == 1
    judge.answer(one)
    acknowledged = client.expect(AckPacket)
    assert (acknowledged.packet_type, acknowledged.packet_identifier) == (PUBACK, 7)
    assert client.expect(Ping).packet_type == PINGRESP
    assert closing(client) == (CLOSE, code)


def test_unix_socket_and_banner(server: Servers, clients: Clients, tmp_path: Path) -> None:
    place = str(tmp_path / "s.sock")
    one = server(listeners=[ListenerSettings(unix=place, protocol="websocket", paths=["/a", "/mqtt"])])
    assert f"listening on ws:{place}" in banner(one, 1_000_000)
    client = WebSocketClient(place, 5, lambda: one.turn(1))
    clients.made.append(client)
    assert client.connect("a").reason_code == 0
    client.ping()


def test_websocket_port(server: Servers, web: Web) -> None:
    one = server(websocket_port=free_port())
    assert [listener.layer is not None for listener in one.listeners] == [False, True]
    one.listeners.reverse()
    web(one, 4, "a").ping()


def test_silent_client_is_closed_at_its_deadline(server: Servers, web: Web) -> None:
    one = server(**WEBSOCKET)
    client = web(one)
    await_true(lambda: client.upgraded, client.arrive)
    one.loop.start_ns -= 6_000 * 1_000_000
    assert closing(client) == (CLOSE, b"\x03\xe8")
    assert one.stats.statistics()["closed: connect timeout"] == 1


def test_faults_are_counted(server: Servers, clients: Clients, web: Web) -> None:
    one = server(**WEBSOCKET)
    client = web(one, 4, "a")
    client.send_raw(masked(b"", TEXT))
    assert closing(client) == (CLOSE, b"\x03\xeb")
    stranger = clients(("127.0.0.1", one.listeners[0].port), step=lambda: one.turn(1))
    stranger.send(stranger.connect_packet("a"))
    hear_out(stranger)
    assert bytes(stranger.data).startswith(b"HTTP/1.1 400 ")
    assert one.stats.errors_peer == 2
    assert one.stats.statistics()["closed: protocol error"] == 2


def test_plain_connections_have_no_buffers(server: Servers, clients: Clients, web: Web) -> None:
    one = server(**WEBSOCKET)
    plain(clients, one).ping()
    web(one, 4, "web").ping()
    layers = [connection.buffers is not None for connection in one.loop.served() if connection.listener == 1]
    assert layers == [False]


# Clients of others


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    if what := missing():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"not installed: {what}")
    with Node() as running:
        yield running


@pytest.fixture
def web_broker(broker: Callable[..., Broker]) -> Broker:
    return broker(**WEBSOCKET)


def talk(port: int, conversation: Callable[[Any], Any], **options: Any) -> None:
    async def run() -> None:
        async with websockets.connect(f"ws://127.0.0.1:{port}/mqtt", open_timeout=PATIENCE_S, **options) as client:
            await asyncio.wait_for(conversation(client), PATIENCE_S)

    asyncio.run(run())


def test_websockets(web_broker: Broker) -> None:
    async def conversation(client: Any) -> None:
        assert client.subprotocol == "mqtt"
        assert not client.protocol.extensions  # compression was offered
        await client.send([connect_packet("a")[:3], connect_packet("a")[3:]])  # in fragments
        assert await client.recv() == b"\x20\x02\x00\x00"
        await (await client.ping(b"hello"))
        await client.send(b"\xc0\x00" * 3)
        assert await client.recv() == b"\xd0\x00" * 3
        await client.send("text")
        with pytest.raises(websockets.ConnectionClosedError):
            await client.recv()
        assert client.close_code == 1003

    talk(web_broker.port, conversation, subprotocols=["mqtt"])


def test_websockets_closes(web_broker: Broker) -> None:
    async def conversation(client: Any) -> None:
        await client.send(connect_packet("a"))
        await client.recv()
        await client.close(1000, "enough")
        assert client.close_code == 1000

    talk(web_broker.port, conversation, subprotocols=["other", "mqtt"])
    await_true(lambda: web_broker.statistics()["closed: closed by peer"] == 1)


@pytest.mark.parametrize(("path", "subprotocols"), [("/else", ["mqtt"]), ("/mqtt", ["other"]), ("/mqtt", None)])
def test_websockets_is_refused(web_broker: Broker, path: str, subprotocols: list[Any] | None) -> None:
    async def run() -> int:
        try:
            await websockets.connect(f"ws://127.0.0.1:{web_broker.port}{path}", subprotocols=subprotocols)
        except websockets.InvalidStatus as error:
            return error.response.status_code
        return 101

    assert asyncio.run(run()) == (404 if path == "/else" else 400)  # [MQTT-6.0.0-3]


@pytest.mark.parametrize("version", [paho.MQTTv31, paho.MQTTv311, paho.MQTTv5])
def test_paho(web_broker: Broker, version: int) -> None:
    client = paho.Client(CallbackAPIVersion.VERSION2, "p", transport="websockets", protocol=version)
    told: queue.Queue[Any] = queue.Queue()
    client.on_connect = lambda *arguments: told.put(arguments[3].is_failure)
    client.on_subscribe = lambda *arguments: told.put(len(arguments[3]))
    client.on_message = lambda _client, _data, message: told.put(message.payload)
    client.connect("127.0.0.1", web_broker.port)
    client.loop_start()
    assert told.get(timeout=PATIENCE_S) is False
    client.subscribe("t", 2)
    assert told.get(timeout=PATIENCE_S) == 1
    payloads = [b"", b"small", b"x" * 126, b"y" * 200_000]
    for qos in (0, 1, 2):
        for payload in payloads:
            client.publish("t", payload, qos).wait_for_publish(PATIENCE_S)
            assert told.get(timeout=PATIENCE_S) == payload
    client.disconnect()
    client.loop_stop()
    await_true(lambda: web_broker.statistics()["closed: client disconnected"] == 1)


@pytest.mark.parametrize("version", [3, 4, 5])
def test_mqtt_js(web_broker: Broker, node: Node, version: int) -> None:
    with MqttJs(node, web_broker, "j", version, protocol="ws", path="/mqtt") as client:
        assert client.subscribe("t", 2) == 2
        payloads = ["", "small", "x" * 126, "y" * 200_000]
        for qos in (0, 1, 2):
            for payload in payloads:
                client.publish("t", payload, qos)
            assert client.payloads(len(payloads)) == payloads
    await_true(lambda: web_broker.statistics()["closed: client disconnected"] == 1)
