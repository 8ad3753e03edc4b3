"""What no client should send: the right reason code or a plain close, one counter, and the broker lives on."""

from __future__ import annotations

import logging
import random

import pytest
from harness import MemoryBroker, MemoryClient
from hypothesis import given, settings
from hypothesis import strategies as st

from swellmq.codec import spec
from swellmq.codec.encode import encode
from swellmq.codec.packets import Ack, Disconnect, Packet, Ping, Publish, Subscribe, TopicRequest, Unsubscribe
from swellmq.codec.spec import PINGREQ, PUBACK, PUBCOMP, PUBREC, PUBREL
from swellmq.errors import CLOSE_REASONS

VERSIONS = (3, 4, 5)
CONNECT = {
    3: b"\x10\x0f\0\x06MQIsdp\x03\x02\0\0\0\x01a",
    4: b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01a",
    5: b"\x10\x0e\0\x04MQTT\x05\x02\0\0\0\0\x01a",
}
PACKETS = {
    2: b"\x20\x02\0\0",
    3: b"\x30\x03\0\x01t",
    4: b"\x40\x02\0\x01",
    5: b"\x50\x02\0\x01",
    6: b"\x62\x02\0\x01",
    7: b"\x70\x02\0\x01",
    8: b"\x82\x06\0\x01\0\x01t\0",
    9: b"\x90\x03\0\x01\0",
    10: b"\xa2\x05\0\x01\0\x01t",
    11: b"\xb0\x02\0\x01",
    12: b"\xc0\0",
    13: b"\xd0\0",
    14: b"\xe0\0",
    15: b"\xf0\0",
}


def assert_lives_on(broker: MemoryBroker) -> None:
    assert broker.stats.errors_internal == 0
    subscriber = broker.connect("health-s", version=5)
    subscriber.subscribe("health")
    broker.connect("health-p").publish("health", b"ok")
    assert subscriber.payloads() == [b"ok"]
    broker.check()


@pytest.mark.parametrize("packet_type", sorted(PACKETS))
def test_before_connect(packet_type: int) -> None:  # [MQTT-3.1.0-1]
    broker = MemoryBroker()
    client = broker.open()
    client.send(PACKETS[packet_type])
    client.expect()
    assert client.close_reason == "protocol error"
    assert broker.stats.errors_peer == 1
    assert_lives_on(broker)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("packet_type", [1, 2, 9, 11, 13, 15])
def test_packets_that_only_a_server_sends(version: int, packet_type: int) -> None:  # [MQTT-3.1.0-2]
    broker = MemoryBroker()
    client = broker.connect("a", version=version)
    client.send(CONNECT[version] if packet_type == 1 else PACKETS[packet_type])
    assert client.closed
    packets = client.receive()
    assert len(packets) == (1 if version == 5 else 0)
    for packet in packets:
        assert isinstance(packet, Disconnect) and packet.reason_code == spec.PROTOCOL_ERROR
    assert broker.stats.errors_peer == 1
    assert_lives_on(broker)


@pytest.mark.parametrize(
    ("data", "phrase"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "TLS, where plain MQTT is spoken"),
        (b"GET /mqtt HTTP/1.1\r\nHost: broker\r\n\r\n", "HTTP, where MQTT is spoken"),
        (b"\xc0\x00", "the first packet is not CONNECT"),
    ],
)
def test_who_is_at_the_wrong_port_is_told_in_the_log(
    data: bytes, phrase: str, caplog: pytest.LogCaptureFixture
) -> None:
    broker = MemoryBroker()
    with caplog.at_level(logging.DEBUG, "swellmq.clients"):
        broker.open().send(data)
    assert caplog.messages[-1].endswith(f"({phrase})")
    assert_lives_on(broker)


FAULTS = [
    ("packet type 0", b"\x00\0", spec.MALFORMED_PACKET),
    ("reserved flags", b"\xc1\0", spec.MALFORMED_PACKET),
    ("SUBSCRIBE without its flags", b"\x80\x07\0\x01\0\0\x01t\0", spec.MALFORMED_PACKET),
    ("remaining length of five bytes", b"\x82\xff\xff\xff\xff\x01", spec.MALFORMED_PACKET),
    ("remaining length that is too long", b"\x30\x80\0", spec.MALFORMED_PACKET),
    ("QoS 3", b"\x36\x06\0\x01t\0\x01\0", spec.MALFORMED_PACKET),
    ("DUP with QoS 0", b"\x38\x04\0\x01t\0", spec.MALFORMED_PACKET),
    ("wildcard in a topic name", b"\x30\x04\0\x01#\0", spec.MALFORMED_PACKET),
    ("bad UTF-8 in a topic name", b"\x30\x04\0\x01\xff\0", spec.MALFORMED_PACKET),
    ("U+0000 in a topic name", b"\x30\x04\0\x01\0\0", spec.MALFORMED_PACKET),
    ("a topic name longer than its packet", b"\x30\x04\0\x09t\0", spec.MALFORMED_PACKET),
    ("packet identifier 0", b"\x32\x06\0\x01t\0\0\0", spec.PROTOCOL_ERROR),
    ("SUBSCRIBE without filters", b"\x82\x03\0\x01\0", spec.PROTOCOL_ERROR),
    ("UNSUBSCRIBE without filters", b"\xa2\x03\0\x01\0", spec.PROTOCOL_ERROR),
    ("bad filter", b"\x82\x09\0\x01\0\0\x03a#b\0", spec.MALFORMED_PACKET),
    ("PINGREQ with a body", b"\xc0\x01x", spec.MALFORMED_PACKET),
    ("a property twice", b"\x30\x08\0\x01t\x04\x01\0\x01\0", spec.PROTOCOL_ERROR),
    ("a property of another packet", b"\x30\x06\0\x01t\x02\x24\x01", spec.MALFORMED_PACKET),
    ("a subscription identifier from a client", b"\x30\x06\0\x01t\x02\x0b\x01", spec.PROTOCOL_ERROR),
    ("topic alias 0", b"\x30\x07\0\x01t\x03\x23\0\0", spec.TOPIC_ALIAS_INVALID),
    ("an unknown reason code", b"\x40\x04\0\x01\xee\0", spec.MALFORMED_PACKET),
]


@pytest.mark.parametrize(("data", "reason_code"), [fault[1:] for fault in FAULTS], ids=[fault[0] for fault in FAULTS])
def test_faults_of_5_are_named(data: bytes, reason_code: int) -> None:  # [MQTT-4.13.1-1]
    for split in (False, True):
        broker = MemoryBroker()
        client = broker.connect("a", version=5)
        if split:
            client.send_split(data)
        else:
            client.send(data + PACKETS[12])
        (packet,) = client.receive()
        assert isinstance(packet, Disconnect)
        assert packet.reason_code == reason_code, hex(packet.reason_code)
        assert client.closed
        assert broker.stats.errors_peer == 1
        assert_lives_on(broker)


def session_bytes(version: int) -> bytes:
    """A lively session of one client, which gets its own messages."""
    packets: list[Packet] = [Subscribe(1, [TopicRequest(b"t", 2), TopicRequest(b"a/#", 1)])]
    for identifier, qos in ((0, 0), (0, 0), (5, 1), (6, 2)):
        message = Publish(b"t", b"xyz", qos, qos == 1)
        message.packet_identifier = identifier
        packets.append(message)
    packets += [Ack(PUBACK, 1), Ack(PUBREC, 2), Ack(PUBREL, 6), Ack(PUBCOMP, 2), Ping(PINGREQ)]
    packets += [Unsubscribe(9, [b"t"]), Disconnect()]
    return CONNECT[version] + b"".join(encode(packet, version) for packet in packets)


def observed(client: MemoryClient) -> tuple[bytes, bool, str]:
    return client.receive_bytes(), client.closed, client.close_reason


@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_in_any_pieces_is_the_same(version: int) -> None:
    data = session_bytes(version)
    broker = MemoryBroker()
    client = broker.open(version)
    client.send(data)
    whole = observed(client)
    assert whole[1:] == (True, "client disconnected")
    broker = MemoryBroker()
    client = broker.open(version)
    client.send_split(data)
    assert observed(client)[1:] == whole[1:]
    assert broker.stats.errors_peer == 0
    assert_lives_on(broker)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_that_is_cut_anywhere(version: int) -> None:
    data = session_bytes(version)
    for end in range(len(data)):
        broker = MemoryBroker()
        client = broker.open(version)
        client.send(data[:end])
        assert not client.closed
        client.drop()
        assert client.close_reason == "closed by peer"
        assert broker.stats.errors_peer == 0
        assert_lives_on(broker)


@given(st.sampled_from(VERSIONS), st.integers(0, 2**32))
@settings(max_examples=300, deadline=None)
def test_mutated_sessions(version: int, seed: int) -> None:
    rng = random.Random(seed)
    data = bytearray(session_bytes(version))
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(data))
        action = rng.randrange(3)
        if action == 0:
            data[place] = rng.randrange(256)
        elif action == 1:
            del data[place]
        else:
            data.insert(place, rng.randrange(256))
    broker = MemoryBroker()
    client = broker.open(version)
    client.send(bytes(data))
    assert broker.stats.errors_peer <= 1
    if client.close_reason in CLOSE_REASONS[8:11]:
        assert broker.stats.errors_peer == 1
    if not client.closed:
        client.drop()
    assert_lives_on(broker)


@given(st.sampled_from([None, *VERSIONS]), st.binary(min_size=1, max_size=200))
@settings(max_examples=300, deadline=None)
def test_random_bytes(version: int | None, data: bytes) -> None:
    broker = MemoryBroker()
    client = broker.open() if version is None else broker.connect("a", version=version)
    client.send(data)
    assert broker.stats.errors_peer == (1 if client.close_reason in CLOSE_REASONS[8:12] else 0)
    if not client.closed:
        client.drop()
    assert_lives_on(broker)


def test_a_large_packet_in_small_reads_takes_linear_time() -> None:
    broker = MemoryBroker()
    subscriber = broker.connect("s")
    subscriber.subscribe("t")
    client = broker.connect("p")
    payload = bytes(2_000_000)
    body = b"\0\x01t" + payload
    head = b"\x30\x83\x89\x7a"
    assert len(body) == 2_000_003
    data = head + body
    for pos in range(0, len(data), 500):
        client.send(data[pos : pos + 500])
    assert subscriber.payloads() == [payload]
    assert client.connection.buffers is None
