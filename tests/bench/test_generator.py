"""The packets of the load are those of the specification, and what the broker refuses is told."""

from __future__ import annotations

import pytest

from swellmq import Broker, Settings
from swellmq.bench import generator


def test_the_packets_are_those_of_the_specification() -> None:
    assert generator.connect_packet(b"ab") == b"\x10\x0e\x00\x04MQTT\x04\x02\x02\x58\x00\x02ab"
    assert generator.connect_packet(b"ab", five=True) == b"\x10\x0f\x00\x04MQTT\x05\x02\x02\x58\x00\x00\x02ab"
    assert generator.subscribe_packet(b"a/b", 1) == b"\x82\x08\x00\x01\x00\x03a/b\x01"
    assert generator.subscribe_packet(b"a/b", 1, five=True) == b"\x82\x09\x00\x01\x00\x00\x03a/b\x01"
    assert generator.publish_packet(b"a/b", 0, 7, b"xy") == b"\x30\x07\x00\x03a/bxy"
    assert generator.publish_packet(b"a/b", 2, 258, b"xy", five=True) == b"\x34\x0a\x00\x03a/b\x01\x02\x00xy"
    assert generator.publish_packet(b"a/b", 0, 7, bytes(16_384)).startswith(b"\x30\x85\x80\x01\x00\x03a/b\x00")


def test_acknowledgements_take_the_identifiers_of_a_run() -> None:
    frames = [generator.publish_packet(b"a", 1, identifier, b"payload") for identifier in (1, 258, 65_535)]
    data = b"before" + b"".join(frames)
    answer = generator.acknowledgements(generator.PUBACK, data, len(b"before") + 5, len(frames[0]), 3)
    assert answer == b"\x40\x02\x00\x01\x40\x02\x01\x02\x40\x02\xff\xff"


def test_many_filters_are_several_packets() -> None:
    packets = generator.subscribe_packets([b"a/%d" % (number % 10) for number in range(101)], 1)
    first = b"\x82\xda\x04\x00\x01" + b"".join(b"\x00\x03a/%d\x01" % (number % 10) for number in range(100))
    assert packets == first + b"\x82\x08\x00\x01\x00\x03a/0\x01"


def test_a_greeting_is_answered_packet_by_packet() -> None:
    greeting = generator.connect_packet(b"a", five=True) + generator.subscribe_packets([b"a/b"] * 150, 0, five=True)
    greeting += generator.publish_packet(b"c/d", 1, 7, b"", five=True, properties=b"\x23\x00\x01")
    with Broker(Settings(port=0)) as broker:
        [sock] = generator.open_connections(broker.port, [greeting])
        with sock:
            sock.sendall(generator.PINGREQ)
            assert sock.recv(100) == b"\xd0\x00", "all before it has been read"


@pytest.mark.parametrize(
    ("packet", "complaint"),
    [
        (generator.subscribe_packet(b"$share/g", 0), "the broker closed a connection instead of answering"),
        (generator.publish_packet(b"$SYS/a", 1, 1, b"", five=True), "PUBLISH was refused: "),
    ],
    ids=["SUBSCRIBE", "PUBLISH"],
)
def test_a_refusal_is_told(packet: bytes, complaint: str) -> None:
    five = packet[0] == 0x32
    with Broker(Settings(port=0)) as broker, pytest.raises(generator.LoadError, match=complaint):
        generator.open_connections(broker.port, [generator.connect_packet(b"a", five) + packet])
