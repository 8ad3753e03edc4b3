"""Traces of one client: every packet, in the specification's words, whatever way it takes through the broker."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
from harness import MemoryBroker
from socket_client import Clients

from swellmq import trace
from swellmq.broker.runs import TOGETHER_MIN
from swellmq.codec import spec
from swellmq.codec.encode import encode
from swellmq.codec.packets import Connect, Publish
from swellmq.connection import Buffers
from swellmq.net.websocket import WebSocketLayer, WebSocketTerms
from swellmq.server import Server
from swellmq.trace import TraceError, traces


def texts(broker: MemoryBroker | Server, client_id: str) -> list[str]:
    """The lines of a trace, with the direction in front."""
    core = broker.core if isinstance(broker, MemoryBroker) else broker.broker.core
    found = traces(core).find(client_id)
    assert found is not None
    return [f"{line['direction']} {line['text']}".strip() for line in found.lines]


class TestWords:
    def test_a_conversation(self) -> None:
        broker = MemoryBroker()
        traces(broker.core).start("a", 1)
        client = broker.connect("a", version=5, username="joe", password=b"secret", keep_alive=60)
        client.subscribe("t/#", qos=1)
        client.publish("t/x", b"hello", qos=1)
        client.ping()
        client.disconnect()
        assert texts(broker, "a") == [
            "received CONNECT MQTT 5.0, client identifier a, clean start, keep alive 60, user name joe, "
            "password of 6 bytes, request problem information 1",
            "sent CONNACK success, receive maximum 1024, topic alias maximum 64",
            "received SUBSCRIBE packet identifier 1, t/# (QoS 1)",
            "sent SUBACK packet identifier 1, granted QoS 1",
            'received PUBLISH QoS 1, packet identifier 2, topic t/x, payload of 5 bytes "hello"',
            'sent PUBLISH QoS 1, packet identifier 1, topic t/x, payload of 5 bytes "hello"',
            "sent PUBACK packet identifier 2",
            "received PINGREQ",
            "sent PINGRESP",
            "received DISCONNECT success",
        ]
        broker.check()

    def test_refusal(self) -> None:
        broker = MemoryBroker()
        broker.core.limits.client_id_bytes = 23
        name = "x" * 24
        traces(broker.core).start(name, 1)
        broker.connect(name, version=4)
        assert texts(broker, name)[1:] == ["sent CONNACK identifier rejected"]
        broker.check()

    def test_secrets_and_payloads_are_cut(self) -> None:
        broker = MemoryBroker()
        traces(broker.core).start("a", 1)
        client = broker.connect("a", password=b"hunter2", username="u")
        client.publish("t", b"x" * 1_000)
        client.publish("t", bytes(range(200)))
        everything = "\n".join(texts(broker, "a"))
        assert "hunter2" not in everything
        assert 'payload of 1000 bytes "' + "x" * 64 + '..."' in everything
        assert "payload of 200 bytes 00 01 02" in everything and "40" not in everything

    def test_packets_that_are_none(self) -> None:
        broker = MemoryBroker()
        client = broker.connect("a", version=5)
        traces(broker.core).start("a", 1)
        client.send(b"\x82\x03\x00\x00\x00")
        line, *_ = texts(broker, "a")
        assert line.startswith("received SUBSCRIBE that is malformed (") and line.endswith(": 82 03 00 00 00")
        client = broker.connect("a", version=5)
        client.send(b"\xc0\xff\xff\xff\xff\xff")
        assert any(line.startswith("received bytes that are no packet (") for line in texts(broker, "a"))
        broker.check()


class TestWays:
    @pytest.mark.parametrize("qos", [0, 1])
    def test_what_travels_in_bulk(self, qos: int) -> None:
        """Runs are forwarded without a look at each packet, and are traced all the same, at both ends."""
        count = TOGETHER_MIN * 2
        broker = MemoryBroker()
        receiver = broker.connect("to")
        receiver.subscribe("t", qos=qos)
        sender = broker.connect("from")
        sender.publish("t", b"first", qos=qos)
        for name in ("from", "to"):
            traces(broker.core).start(name, 1)
        packets: list[Publish] = []
        for number in range(count):
            packets.append(Publish(b"t", b"%d" % number, qos, False))
            packets[-1].packet_identifier = number + 100 if qos else 0
        sender.send(*packets)
        received = [line for line in texts(broker, "from") if "PUBLISH" in line]
        assert len(received) == count and received[-1].endswith(f'"{count - 1}"')
        sent = [line for line in texts(broker, "to") if "PUBLISH" in line]
        assert len(sent) == count and sent[0].startswith(f"sent PUBLISH QoS {qos}")
        broker.check()

    def test_in_the_middle_of_a_packet(self) -> None:
        broker = MemoryBroker()
        client = broker.connect("a")
        packet = encode(Publish(b"topic", b"p" * 100, 0, False), 4)
        client.send(packet[:40])
        traces(broker.core).start("a", 1)
        client.send_split(packet[40:])
        assert len(texts(broker, "a")) == 1
        assert "payload of 100 bytes" in texts(broker, "a")[0]

    @pytest.mark.parametrize("step", [1, 1_000, 7_000])
    def test_a_large_packet_is_told_by_its_start(self, step: int) -> None:
        broker = MemoryBroker()
        client = broker.connect("a")
        traces(broker.core).start("a", 1)
        data = encode(Publish(b"topic", b"p" * 20_000, 0, False), 4) + b"\xc0\x00"
        for pos in range(0, len(data), step):
            client.feed(data[pos : pos + step])
        broker.turn()
        publish, ping, *_ = texts(broker, "a")
        assert "topic topic, payload of 20000 bytes" in publish and ping == "received PINGREQ"

    def test_packets_right_behind_connect(self) -> None:
        broker = MemoryBroker()
        traces(broker.core).start("a", 1)
        connect = Connect()
        connect.client_id = "a"
        client = broker.open()
        client.send(encode(connect, 4) + b"\xc0\x00\xc0")
        client.send(b"\x00")
        assert [line for line in texts(broker, "a") if "PING" in line] == [
            "received PINGREQ",
            "sent PINGRESP",
            "received PINGREQ",
            "sent PINGRESP",
        ]

    def test_another_connection_of_the_same_client(self) -> None:
        broker = MemoryBroker()
        first = broker.connect("a", version=5)
        traces(broker.core).start("a", 1)
        broker.connect("a", version=5)
        assert first.close_reason == "session taken over"
        lines = texts(broker, "a")
        assert any(line.startswith("sent DISCONNECT session taken over") for line in lines)
        assert any(line.startswith("received CONNECT") for line in lines)
        broker.check()

    def test_over_sockets(self, server: Callable[..., Server], clients: Clients) -> None:
        one = server()
        client = clients(one)
        client.connect("a")
        session = one.broker.core.session("a")
        assert session is not None and session.connection is not None
        traces(one.broker.core).start("a", 1)
        client.ping()
        assert texts(one, "a") == ["received PINGREQ", "sent PINGRESP"]
        traces(one.broker.core).stop("a")
        assert session.connection.buffers is None, "nothing is left of the tap"

    def test_layers_below_go_on(self) -> None:
        broker = MemoryBroker()
        client = broker.connect("a")
        layer = WebSocketLayer(WebSocketTerms([b"/"], [], []))
        connection = client.connection
        connection.buffers = Buffers()
        connection.buffers.layer = layer
        traces(broker.core).start("a", 1)
        tap = connection.buffers.layer
        assert tap is not layer
        assert tap.received(b"no HTTP") == b"" and tap.phrase == layer.phrase != "" and tap.reason == layer.reason
        assert tap.owes() and tap.framed([])[0].startswith(b"HTTP/1.1 400")
        traces(broker.core).stop("a")
        assert connection.buffers.layer is layer


class TestBounds:
    def test_it_ends_by_itself(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, "swellmq.trace")
        broker = MemoryBroker()
        client = broker.connect("a")
        traces(broker.core).start("a", 2)
        client.ping()
        broker.advance(119)
        client.ping()
        assert len(texts(broker, "a")) == 4
        broker.advance(1)
        client.ping()
        assert len(texts(broker, "a")) == 4
        assert client.connection.buffers is None
        assert caplog.messages[0] == "trace of a begins, for 2 minutes"
        assert caplog.messages[1] == "trace of a: received PINGREQ"
        assert caplog.messages[-1] == "trace of a ends: 2 packets received, 2 sent"
        broker.advance(1)
        assert not traces(broker.core).stop("a")

    def test_lines_a_second_and_in_all(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(trace, "LINES_PER_SECOND", 10)
        broker = MemoryBroker()
        client = broker.connect("a")
        found = traces(broker.core).start("a", 1)
        client.send(b"\xc0\x00" * 1_000)
        assert len(found.lines) == 10 and found.counts == {"received": 1_000, "sent": 1_000}
        broker.advance(1)
        client.ping()
        assert texts(broker, "a")[10] == "1990 more packets in that second, not shown"

    def test_clients_at_a_time(self) -> None:
        broker = MemoryBroker()
        some = traces(broker.core)
        for number in range(trace.TRACES_MAX):
            some.start(f"c{number}", 1)
        with pytest.raises(TraceError, match="16 clients are traced already"):
            some.start("one more", 1)
        some.start("c0", 5)  # one that is there may begin anew
        for number in range(100):
            some.stop(f"c{number % 16}")
            some.start(f"c{number % 16}" if number % 3 else f"n{number}", 1)
            some.stop(f"n{number}")
        assert len(some.traces) <= trace.TRACES_KEPT

    @pytest.mark.parametrize("minutes", [0, -1, 1_441])
    def test_minutes(self, minutes: int) -> None:
        with pytest.raises(TraceError, match="from 1 to 1440 minutes"):
            traces(MemoryBroker().core).start("a", minutes)

    def test_a_bug_ends_the_trace_and_not_the_connection(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_arguments: object) -> str:
            raise RuntimeError("a bug")

        monkeypatch.setattr(trace, "describe", fail)
        broker = MemoryBroker()
        client = broker.connect("a")
        found = traces(broker.core).start("a", 1)
        client.ping()
        assert not found.active() and not client.closed and broker.stats.errors_internal == 1


def test_reasons_have_words() -> None:
    from swellmq.codec.words import reason

    codes = {value for name, value in vars(spec).items() if name.isupper() and isinstance(value, int) and value >= 0x80}
    assert all("reason code" not in reason(code) for code in codes if code <= 0xA2)
