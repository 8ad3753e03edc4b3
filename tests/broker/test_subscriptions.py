"""Subscriptions: wildcards, overlaps, options, shared groups, bridges, unsubscribing."""

from __future__ import annotations

import pytest
from harness import MemoryBroker, MemoryClient, properties

from swellmq.codec import spec
from swellmq.codec.packets import Ack, Disconnect, Publish
from swellmq.codec.spec import PUBACK, PUBREC
from swellmq.limits import REMOVALS_PER_TURN, Limits

VERSIONS = (3, 4, 5)
KEPT = {"clean_start": False, "session_expiry_interval": 600}


def topics(client: MemoryClient) -> list[bytes]:
    return sorted(publish.topic_name for publish in client.publishes())


class TestFilters:
    @pytest.mark.parametrize(
        ("topic_filter", "matched"),
        [
            ("a/b", [b"a/b"]),
            ("a/+", [b"a/b"]),
            ("a/#", [b"a", b"a/b", b"a/b/c"]),
            ("+", [b"a"]),
            ("+/+", [b"/a", b"a/b"]),
            ("#", [b"/a", b"a", b"a/b", b"a/b/c"]),
            ("+/b/#", [b"a/b", b"a/b/c"]),
            ("$SYS/#", [b"$SYS/x"]),  # [MQTT-4.7.2-1]
            ("$SYS/+", [b"$SYS/x"]),
            ("/+", [b"/a"]),
        ],
    )
    def test_what_a_filter_matches(self, topic_filter: str, matched: list[bytes]) -> None:  # [MQTT-3.3.2-3]
        broker = MemoryBroker()
        client = broker.connect("s")
        client.subscribe(topic_filter)
        for _ in range(2):
            for name in ("a", "a/b", "a/b/c", "/a", "$SYS/x"):
                broker.inject(name)
            assert topics(client) == matched

    @pytest.mark.parametrize("version", VERSIONS)
    def test_several_in_one_packet(self, version: int) -> None:  # [MQTT-3.8.4-5] [MQTT-3.8.4-6]
        broker = MemoryBroker()
        client = broker.connect("s", version=version)
        assert client.subscribe("a", "b/#", "a", qos=2) == [2, 2, 2]
        assert broker.session("s").subscription_count() == 2

    @pytest.mark.parametrize("version", VERSIONS)
    def test_replacing(self, version: int) -> None:  # [MQTT-3.8.4-3]
        broker = MemoryBroker()
        client = broker.connect("s", version=version)
        for qos in (2, 0):
            client.subscribe("a/#", qos=qos)
            broker.inject("a", b"", 2)
            assert [publish.qos for publish in client.publishes()] == [qos]
        assert broker.core.topics.count == 1

    @pytest.mark.parametrize("version", VERSIONS)
    # [MQTT-3.10.4-6]
    def test_unsubscribe(self, version: int) -> None:  # [MQTT-3.10.4-1] [MQTT-3.10.4-4] [MQTT-3.10.4-5] [MQTT-3.11.3-1]
        broker = MemoryBroker()
        client = broker.connect("s", version=version)
        client.subscribe("a", "b")
        codes = client.unsubscribe("a", "c")
        assert codes == ([0, spec.NO_SUBSCRIPTION_EXISTED] if version == 5 else [])
        broker.inject("a")
        broker.inject("b")
        assert topics(client) == [b"b"]

    def test_limits(self) -> None:  # [MQTT-3.8.4-7] [MQTT-3.9.3-1] [MQTT311-3.8.3-2]
        limits = Limits()
        limits.subscriptions = 2
        limits.topic_levels = 3
        limits.topic_bytes = 10
        limits.wildcard_subscription_available = False
        limits.shared_subscription_available = False
        broker = MemoryBroker(limits)
        client = broker.connect("s", version=5)
        assert client.subscribe("a", "a/b/c/d", "x" * 11, "a/#", "$share/g/a", "b", "a", "c") == [
            0,
            spec.TOPIC_FILTER_INVALID,
            spec.TOPIC_FILTER_INVALID,
            spec.WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED,
            spec.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED,
            0,
            0,
            spec.QUOTA_EXCEEDED,
        ]
        old = broker.connect("t", version=4)
        assert old.subscribe("a/#", "a") == [spec.SUBACK_FAILURE, 0]

    @pytest.mark.parametrize("name", ["a/b/c/d", "x" * 11])
    def test_a_topic_name_that_is_too_long(self, name: str) -> None:
        limits = Limits()
        limits.topic_levels = 3
        limits.topic_bytes = 10
        client = MemoryBroker(limits).connect("p", version=5)
        client.publish(name)
        (packet,) = client.receive()
        assert isinstance(packet, Disconnect) and packet.reason_code == spec.TOPIC_NAME_INVALID


class TestOverlaps:
    def test_one_message_at_the_highest_qos_with_all_identifiers(self) -> None:  # [MQTT-3.3.4-2] [MQTT-3.3.4-4]
        broker = MemoryBroker()
        client = broker.connect("s", version=5)
        client.subscribe("a/b", qos=0, identifier=1)
        client.subscribe("a/+", qos=2, identifier=300)
        client.subscribe("#", qos=1)
        for payload in (b"x", b"y"):
            broker.inject("a/b", payload, 2)
            data = client.receive_bytes()
            assert data[0] == 0x34
            assert data.count(b"\x0b\x01") + data.count(b"\x0b\xac\x02") == 2
            assert data.endswith(payload)

    def test_retain_as_published_of_any(self) -> None:
        broker = MemoryBroker()
        client = broker.connect("s", version=5)
        client.subscribe("a", retain_handling=2)
        client.subscribe("#", retain_as_published=True, retain_handling=2)
        broker.inject("a", b"x", retain=True)
        assert [publish.retain for publish in client.publishes()] == [True]

    def test_a_shared_one_beside_it_is_another_message(self) -> None:
        broker = MemoryBroker()
        client = broker.connect("s", version=5)
        client.subscribe("a")
        client.subscribe("$share/g/a")
        broker.inject("a", b"x")
        assert client.payloads() == [b"x", b"x"]

    def test_changes_take_effect_at_once(self) -> None:
        broker = MemoryBroker()
        client = broker.connect("s", version=5)
        client.subscribe("a", qos=0)
        client.subscribe("+", qos=2)
        broker.inject("a", b"", 2)
        client.unsubscribe("+")
        broker.inject("a", b"", 2)
        client.subscribe("a", qos=1)
        broker.inject("a", b"", 2)
        assert [publish.qos for publish in client.publishes()] == [2, 0, 1]


class TestOptions:
    @pytest.mark.parametrize("qos", [0, 1])
    def test_no_local(self, qos: int) -> None:  # [MQTT-3.8.3-3]
        broker = MemoryBroker()
        client = broker.connect("s", version=5)
        client.subscribe("a", no_local=True)
        other = broker.connect("t", version=5)
        other.subscribe("a")
        for _ in range(2):
            client.publish("a", b"mine", qos=qos)
        other.publish("a", b"theirs", qos=qos)
        assert [p.payload for p in client.receive() if isinstance(p, Publish)] == [b"theirs"]
        assert [p.payload for p in other.receive() if isinstance(p, Publish)] == [b"mine", b"mine", b"theirs"]

    @pytest.mark.parametrize("as_published", [False, True])
    def test_retain_as_published(self, as_published: bool) -> None:  # [MQTT-3.3.1-12] [MQTT-3.3.1-13]
        broker = MemoryBroker()
        client = broker.connect("s", version=5)
        client.subscribe("a", retain_as_published=as_published)
        broker.inject("a", b"1", retain=True)
        broker.inject("a", b"2")
        assert [publish.retain for publish in client.publishes()] == [as_published, False]

    def test_a_subscription_identifier(self) -> None:  # [MQTT-3.3.4-3]
        broker = MemoryBroker()
        client = broker.connect("s", version=5)
        client.subscribe("a", identifier=268_435_455)
        broker.connect("p").publish("a", b"x")
        client.expect(b"\x30\x0a\0\x01a\x05\x0b\xff\xff\xff\x7fx")
        client.subscribe("a")  # replaces it, without one
        broker.connect("p").publish("a", b"x")
        client.expect(b"\x30\x05\0\x01a\0x")

    def test_identifiers_that_are_not_available(self) -> None:
        limits = Limits()
        limits.subscription_identifier_available = False
        client = MemoryBroker(limits).connect("s", version=5)
        client.subscribe("a", identifier=1)
        (packet,) = client.receive()
        assert isinstance(packet, Disconnect)
        assert packet.reason_code == spec.SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED

    def test_properties_travel_unchanged(self) -> None:  # [MQTT-3.3.2-17] [MQTT-3.3.2-18] [MQTT-3.3.2-20]
        broker = MemoryBroker()
        client = broker.connect("s", version=5)
        client.subscribe("a")
        body = b"\0\x01a\x0d\x01\x01\x26\0\x01k\0\x01v\x26\0\0\0\0x"
        body = b"\0\x01a" + bytes([len(body) - 5]) + body[4:]
        publisher = broker.connect("p", version=5)
        publisher.send(b"\x30" + bytes([len(body)]) + body)
        client.expect(b"\x30" + bytes([len(body)]) + body)


class TestBridge:
    @pytest.mark.parametrize("version", [3, 4])
    def test_retain_as_published_and_no_echo(self, version: int) -> None:
        broker = MemoryBroker()
        bridge = broker.connect("bridge", version=version, bridge=True)
        bridge.subscribe("a/#", "b", qos=1)
        for _ in range(2):
            bridge.publish("a/x", b"mine")
            bridge.publish("b", b"mine", qos=1, retain=True)
        assert not [packet for packet in bridge.receive() if isinstance(packet, Publish)]
        other = broker.connect("other", version=5)
        other.publish("a/x", b"1", retain=True)
        other.publish("a/x", b"2")
        assert [(p.payload, p.retain) for p in bridge.publishes()] == [(b"1", True), (b"2", False)]

    def test_its_shared_subscriptions_know_no_echo(self) -> None:
        broker = MemoryBroker()
        bridge = broker.connect("bridge", version=4, bridge=True)
        bridge.subscribe("$share/g/a")
        bridge.publish("a", b"x")
        assert bridge.payloads() == [b"x"]


def numbered(qos: int, number: int) -> Publish:
    publish = Publish(b"t", b"%d" % number, qos, False)
    publish.packet_identifier = number + 1
    return publish


class TestShared:
    def group(self, broker: MemoryBroker, count: int = 3, qos: int = 0, **options: object) -> list[MemoryClient]:
        members = []
        for number in range(count):
            member = broker.connect(f"m{number}", version=5, **options)
            assert member.subscribe("$share/g/t/#", qos=qos) == [qos]
            members.append(member)
        return members

    @pytest.mark.parametrize("version", VERSIONS)
    def test_each_message_goes_to_one_in_turn(self, version: int) -> None:
        broker = MemoryBroker()
        members = [broker.connect(f"m{number}", version=version) for number in range(3)]
        for member in members:
            member.subscribe("$share/g/t")
        for number in range(9):
            broker.connect("p").publish("t", b"%d" % number)
        assert [len(member.publishes()) for member in members] == [3, 3, 3]

    def test_groups_are_apart(self) -> None:
        broker = MemoryBroker()
        clients = [broker.connect(name, version=5) for name in "abc"]
        clients[0].subscribe("$share/g/t")
        clients[1].subscribe("$share/h/t")
        clients[2].subscribe("t")
        for _ in range(2):
            broker.inject("t", b"x")
        assert [len(client.publishes()) for client in clients] == [2, 2, 2]

    def test_members_with_a_connection_and_room_come_first(self) -> None:
        broker = MemoryBroker()
        members = self.group(broker, qos=1, receive_maximum=2, **KEPT)
        members[0].drop()
        for number in range(4):
            broker.inject("t", b"%d" % number, 1)
        assert [len(member.publishes()) for member in members[1:]] == [2, 2]
        members[1].ack(PUBACK, 1)
        broker.inject("t", b"4", 1)
        broker.inject("t", b"5", 1)
        assert members[1].payloads() == [b"4"]
        assert broker.session("m0").queued() == 0

    def test_nobody_is_there(self) -> None:
        broker = MemoryBroker()
        for member in self.group(broker, qos=1, **KEPT):
            member.drop()
        for number in range(6):
            broker.inject("t", b"%d" % number, 1)
        assert [broker.session(f"m{number}").queued() for number in range(3)] == [2, 2, 2]

    def test_the_granted_qos_counts(self) -> None:  # [MQTT-4.8.2-3]
        broker = MemoryBroker()
        (member,) = self.group(broker, 1, qos=1)
        broker.inject("t", b"", 2)
        assert member.publishes()[0].qos == 1

    def test_leaving(self) -> None:
        broker = MemoryBroker()
        members = self.group(broker)
        members[0].unsubscribe("$share/g/t/#")
        members[1].drop()
        for _ in range(4):
            broker.inject("t")
        assert [len(member.publishes()) for member in members] == [0, 0, 4]
        members[2].drop()
        assert broker.inject("t") == 0
        assert (broker.core.topics.count, broker.core.topics.shared_count) == (0, 0)

    def test_what_waits_is_handed_over_when_a_session_ends(self) -> None:
        broker = MemoryBroker()
        first, second = self.group(broker, 2, qos=1, receive_maximum=1, **KEPT)
        first.publish("own/topic")
        for number in range(6):
            broker.inject("t", b"%d" % number, 1)
        assert broker.session("m0").queued() + broker.session("m1").queued() == 4
        assert first.payloads() == [b"0"]
        assert second.payloads() == [b"1"]
        first.disconnect(session_expiry_interval=0)
        got = []
        for _ in range(6):
            for publish in second.publishes():
                got.append(publish.payload)
            second.ack(PUBACK, broker.session("m1").packet_identifier)
        assert sorted(got) == [b"0", b"2", b"3", b"4", b"5"]  # "1" was acknowledged
        broker.check()

    def test_qos_2_that_was_sent_is_not_handed_over(self) -> None:  # [MQTT-4.8.2-5]
        broker = MemoryBroker()
        first, second = self.group(broker, 2, qos=2, receive_maximum=1, **KEPT)
        for number in range(4):
            broker.inject("t", b"%d" % number, 2)
        assert first.payloads() == [b"0"]
        assert second.payloads() == [b"1"]
        waiting = broker.session("m0").queued()
        first.disconnect(session_expiry_interval=0)
        assert broker.session("m1").queued() == 2
        assert waiting == 1

    def test_refused_is_discarded(self) -> None:  # [MQTT-4.8.2-6]
        broker = MemoryBroker()
        first, second = self.group(broker, 2, qos=1)
        broker.inject("t", b"x", 1)
        first.ack(PUBACK, first.publishes()[0].packet_identifier, spec.UNSPECIFIED_ERROR)
        second.expect()

    def test_a_message_of_its_own_subscription_is_not_handed_over(self) -> None:
        broker = MemoryBroker()
        first, second = self.group(broker, 2, qos=1, **KEPT)
        first.subscribe("private", qos=1)
        first.drop()
        broker.inject("private", b"x", 1)
        broker.connect("m0", version=5, clean_start=True)
        second.expect()

    def test_the_last_member_takes_it_along(self) -> None:
        broker = MemoryBroker()
        (first,) = self.group(broker, 1, qos=1, **KEPT)
        first.drop()
        broker.inject("t", b"x", 1)
        broker.connect("m0", version=5, clean_start=True).expect()
        broker.check()

    @pytest.mark.parametrize("qos", [0, 1, 2])
    def test_a_member_that_leaves_in_this_turn_is_not_asked(self, qos: int) -> None:
        broker = MemoryBroker()
        first, second = self.group(broker, 2, qos=2)
        publisher = broker.connect("p", version=5)
        first.feed(Disconnect())
        for number in range(4):
            publisher.feed(numbered(qos, number))
        broker.turn()
        assert second.payloads() == [b"0", b"1", b"2", b"3"]

    def test_qos_2_that_found_only_a_leaving_member_is_handed_over(self) -> None:
        broker = MemoryBroker()
        first, second = self.group(broker, 2, qos=2, **KEPT)
        second.drop()
        publisher = broker.connect("p", version=5)
        first.feed(Disconnect(0, properties(session_expiry_interval=0)))
        for number in range(2):
            publisher.feed(numbered(2, number))
        broker.turn()
        assert broker.session("m1").queued() == 2

    @pytest.mark.parametrize("known", [False, True])
    def test_qos_0_for_a_session_whose_client_leaves_in_this_turn_waits(self, known: bool) -> None:
        limits = Limits()
        limits.queue_qos_0 = True
        broker = MemoryBroker(limits)
        client = broker.connect("s", version=5, **KEPT)
        client.subscribe("t")
        publisher = broker.connect("p", version=5)
        if known:  # the route is: then it is a run
            publisher.publish("t", b"first")
        client.feed(Disconnect())
        publisher.feed(numbered(0, 1))
        broker.turn()
        assert broker.connect("s", version=5, **KEPT).payloads() == [b"1"]

    def test_no_local_is_a_fault(self) -> None:  # [MQTT-3.8.3-4]
        client = MemoryBroker().connect("s", version=5)
        client.subscribe("$share/g/t", no_local=True)
        (packet,) = client.receive()
        assert isinstance(packet, Disconnect) and packet.reason_code == spec.PROTOCOL_ERROR

    def test_pubrec_of_a_shared_message(self) -> None:
        broker = MemoryBroker()
        (member,) = self.group(broker, 1, qos=2)
        broker.inject("t", b"x", 2)
        member.receive()
        member.ack(PUBREC, 1)
        member.expect(Ack(6, 1))


class TestSessionsWithManySubscriptions:
    COUNT = 2 * REMOVALS_PER_TURN + 5

    def subscribed(self, broker: MemoryBroker, prefix: str = "") -> MemoryClient:
        client = broker.connect("many", version=5, **KEPT)
        names = [f"{prefix}t/{number}" for number in range(self.COUNT)]
        assert client.subscribe(*names, qos=1) == [1] * self.COUNT
        return client

    def test_they_end_in_slices(self) -> None:
        broker = MemoryBroker()
        client = self.subscribed(broker)
        client.feed(Disconnect(0, properties(session_expiry_interval=0)))
        left = []
        for _ in range(5):
            broker._one_turn()
            left.append(broker.core.topics.count)
        assert left == [self.COUNT, self.COUNT - REMOVALS_PER_TURN, self.COUNT - 2 * REMOVALS_PER_TURN, 0, 0]
        assert broker.core.session("many") is None
        assert broker.core.ending == []

    def test_nothing_is_kept_for_them_meanwhile(self) -> None:
        broker = MemoryBroker()
        self.subscribed(broker).feed(Disconnect(0, properties(session_expiry_interval=0)))
        session = broker.session("many")
        broker._one_turn()
        assert broker.core.topics.count == self.COUNT
        broker.engine.inject(Publish(b"t/0", b"late", 1, False))
        assert session.queue is None
        again = broker.connect("many", version=5)
        assert again.subscribe("t/0", qos=1) == [1]
        broker.turn()
        assert broker.core.topics.count == 1
        broker.inject("t/0", b"new", 1)
        assert again.payloads() == [b"new"]

    def test_a_group_passes_over_them(self) -> None:
        broker = MemoryBroker()
        away = broker.connect("away", version=5, **KEPT)
        away.subscribe("$share/g/t/0", qos=1)
        away.drop()
        self.subscribed(broker, "$share/g/").feed(Disconnect(0, properties(session_expiry_interval=0)))
        broker._one_turn()
        assert broker.core.topics.shared_count == self.COUNT + 1
        for _ in range(3):
            broker.engine.inject(Publish(b"t/0", b"waits", 1, False))
        assert broker.session("away").queued() == 3
        broker.engine.inject(Publish(b"t/1", b"for nobody", 1, False))
        broker.turn()
        assert broker.core.topics.shared_count == 1


def test_members_of_a_group_come_and_go_in_any_order() -> None:
    broker = MemoryBroker()
    clients = {name: broker.connect(name) for name in "abcde"}
    for client in clients.values():
        client.subscribe("$share/g/t")
    for name in "cea":
        clients.pop(name).disconnect()
        for number in range(len(clients)):
            broker.inject("t", b"%d" % number)
        assert sorted(payload for client in clients.values() for payload in client.payloads()) == [
            b"%d" % number for number in range(len(clients))
        ]
        assert clients["b"].subscribe("$share/g/t") == [0]  # once more: it stays one member
    group = broker.core.topics.group(b"$share/g/t")
    assert group is not None
    assert {member.session.client_id for member in group.members} == {"b", "d"}
