"""Mount points: PUBLISH in both directions cut anywhere, and clients that see nothing but what lies below."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from socket_client import Client, Clients
from websocket_helpers import ACCEPTED, REQUEST, frames, masked

from swellmq.codec.encode import encode, packet_head
from swellmq.codec.packets import Ping, Publish, Subscribe, TopicRequest, Unsubscribe
from swellmq.codec.spec import PINGREQ
from swellmq.errors import MALFORMED_PACKET, OPEN, SettingsError
from swellmq.listener_settings import ListenerRules, ListenerSettings
from swellmq.net.mount import MountLayer
from swellmq.server import Server
from swellmq.settings import Settings

Servers = Callable[..., Server]
MOUNT = b"site-7/"


def publish(topic: bytes, payload: bytes, qos: int = 0) -> bytes:
    message = Publish(topic, payload, qos, False)
    message.packet_identifier = 7 if qos else 0
    return encode(message, 4)


messages = st.tuples(st.text("ab/", min_size=1, max_size=130), st.binary(max_size=300), st.integers(0, 2))
OTHERS = [encode(Ping(PINGREQ), 4), encode(Subscribe(1, [TopicRequest(b"a", 0)]), 4), b"\x40\x02\x00\x07", b"\x30\x00"]


@given(st.lists(st.one_of(messages, st.sampled_from(OTHERS)), max_size=6), st.lists(st.integers(0, 2_000), max_size=8))
def test_publishes_are_mounted_and_all_else_is_passed(parts: list[object], cuts: list[int]) -> None:
    bare, mounted = b"", b""
    for part in parts:
        if isinstance(part, tuple):
            topic, payload, qos = part
            bare += publish(topic.encode(), payload, qos)
            mounted += publish(MOUNT + topic.encode(), payload, qos)
        else:
            assert isinstance(part, bytes)
            bare += part
            mounted += part
    layer = MountLayer(MOUNT, None).fresh()
    edges = sorted({0, len(bare), *(cut for cut in cuts if cut < len(bare))})
    heard = [layer.received(bare[start:end]) for start, end in itertools.pairwise(edges)]
    assert b"".join(heard) == mounted and layer.reason == OPEN
    assert layer.framed([mounted]) == [bare]


def test_an_empty_topic_name_stands_for_an_alias() -> None:
    alias = b"\x30\x07\x00\x00\x03\x23\x00\x01x"
    layer = MountLayer(MOUNT, None)
    assert layer.received(alias) == alias
    assert layer.framed([alias]) == [alias]


def test_what_lies_elsewhere_is_not_stripped() -> None:
    layer = MountLayer(MOUNT, None)
    pieces = [publish(b"elsewhere", b"x"), publish(MOUNT, b"x"), publish(b"site-7", b"x")]
    assert layer.framed(pieces) == pieces


def test_too_long_a_name() -> None:
    layer = MountLayer(MOUNT, None)
    assert layer.received(publish(b"a" * 65_529, b"")) == b""
    assert layer.reason == MALFORMED_PACKET and "too long below the mount point" in layer.phrase
    assert layer.received(OTHERS[0]) == b""
    large = packet_head(0x30, 268_435_455) + b"\x00\x01a"
    assert MountLayer(MOUNT, None).received(large) == b""


def test_what_is_no_packet_is_left_to_the_broker() -> None:
    layer = MountLayer(MOUNT, None)
    nonsense = b"\x30\xff\xff\xff\xff\x01"
    assert layer.received(nonsense) == nonsense
    assert layer.received(publish(b"a", b"")) == publish(b"a", b"")


def test_a_length_in_more_bytes_than_it_needs_is_mounted_too() -> None:
    assert MountLayer(MOUNT, None).received(b"\x30\x84\x00\x00\x01ax") == publish(MOUNT + b"a", b"x")


def mounted_listener(**options: str) -> ListenerSettings:
    rules = ListenerRules()
    rules.mount_point = MOUNT.decode()
    return ListenerSettings(port=0, rules=rules, **options)  # type: ignore[arg-type]  # texts alone are used here


@pytest.fixture
def both(server: Servers, clients: Clients) -> tuple[Client, Client]:
    """A client below the mount point, and one that sees everything."""
    one = server(listeners=[mounted_listener(), ListenerSettings(port=0)])
    other = clients(("127.0.0.1", one.listeners[1].port), 5, "other", step=lambda: one.turn(1))
    return clients(one, 5, "below"), other


def test_clients_below_and_beside(both: tuple[Client, Client]) -> None:
    below, other = both
    other.subscribe("#", 1)
    below.subscribe("#", 1)
    below.publish("a", b"1")
    assert other.expect(Publish).topic_name == b"site-7/a"
    assert below.expect(Publish).topic_name == b"a"
    for topic in ("elsewhere", "site-7/b", "site-7"):
        other.publish(topic, b"2", retain=True)
    assert below.expect(Publish).topic_name == b"b"
    below.ping()
    below.subscribe("+/#")  # what is retained
    assert below.expect(Publish).topic_name == b"b"
    below.send(Unsubscribe(1, [b"#"]), Unsubscribe(2, [b"+/#"]))
    below.receive(), below.receive()
    other.publish("site-7/b", b"3")
    below.ping()


def test_shared_subscriptions_and_system_topics(both: tuple[Client, Client]) -> None:
    below, other = both
    other.subscribe("#")
    assert below.subscribe("$share/g/a") == b"\x00"
    assert below.subscribe("$SYS/#") == b"\x00"
    other.publish("site-7/a", b"1")
    assert below.expect(Publish).topic_name == b"a"
    below.publish("$SYS/x", b"2")  # below the mount point it is a topic like others
    assert [other.expect(Publish).topic_name for _ in range(2)] == [b"site-7/a", b"site-7/$SYS/x"]


def test_wills(server: Servers, clients: Clients) -> None:
    one = server(listeners=[mounted_listener(), ListenerSettings(port=0)])
    other = clients(("127.0.0.1", one.listeners[1].port), 5, "other", step=lambda: one.turn(1))
    other.subscribe("#")
    below = clients(one, 5, "below", will=Publish(b"gone", b"", 0, False))
    below.close()
    assert other.expect(Publish).topic_name == b"site-7/gone"
    late = clients(one, 5)
    assert late.connect("late", will=Publish(b"a" * 65_530, b"", 0, False)).reason_code == 0x90


def test_above_web_socket(server: Servers, clients: Clients) -> None:
    one = server(listeners=[mounted_listener(protocol="websocket")])
    client = clients(one)
    client.send(REQUEST)
    while ACCEPTED not in client.data:
        client.arrive()
    client.data = client.data[len(ACCEPTED) :]
    packets = client.connect_packet("a") + encode(Subscribe(1, [TopicRequest(b"a", 0)]), 4) + publish(b"a", b"x")
    client.send(masked(packets))
    expected = publish(b"a", b"x")
    while expected not in client.data:
        client.arrive()
    assert frames(bytes(client.data))


@pytest.mark.parametrize("text", ["a/+/", "#", "", "a\x07/", "a"])
def test_what_is_no_mount_point(tmp_path: Path, text: str) -> None:
    file = tmp_path / "s.toml"
    file.write_text(f'[[listener]]\nmount_point = "{text}"\n'.replace("\x07", "\\u0007"))
    with pytest.raises(SettingsError, match="mount_point"):
        Settings.load(str(file), {}, {})
