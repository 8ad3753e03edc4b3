"""What clients may do: publish, subscribe, receive, retain, will; at once, from the route, and after a change."""

from __future__ import annotations

import pytest
from harness import MemoryBroker, MemoryClient

from swellmq import Access, Rights
from swellmq.broker.access import MAY_PUBLISH, MAY_RECEIVE, MAY_RETAIN, MAY_SUBSCRIBE, MAY_WILL
from swellmq.broker.permissions import Permissions
from swellmq.broker.session import Session
from swellmq.codec import spec
from swellmq.codec.packets import Ack, Publish, Will
from swellmq.codec.topic import matches
from swellmq.limits import DECISION_BYTES

RIGHTS = {"p": MAY_PUBLISH, "s": MAY_SUBSCRIBE, "r": MAY_RECEIVE, "t": MAY_RETAIN, "w": MAY_WILL}


class Table(Rights):
    """Rights by client id or user name: "p:topic" and so on; `asked` has every question."""

    def __init__(self, **allowed: list[str]) -> None:
        super().__init__()
        self.allowed = allowed
        self.asked: list[tuple[str, int, bytes]] = []

    def allows(self, username: str | None, client_id: str, right: int, topic: bytes) -> bool:
        self.asked.append((client_id, right, topic))
        for rule in self.allowed.get(username or client_id, []):
            letters, _, topic_filter = rule.partition(":")
            if right in [RIGHTS[letter] for letter in letters]:
                if topic_filter.encode() == topic or matches(topic_filter.encode(), topic):
                    return True
        return False


def broker_of(rights: Rights) -> MemoryBroker:
    access = Access()
    access.rights = rights
    return MemoryBroker(access=access)


ALL = "pstrw:#"


@pytest.mark.parametrize("version", [3, 4, 5])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_publish_that_is_not_allowed_reaches_nobody(version: int, qos: int) -> None:
    broker = broker_of(Table(alice=["p:a"], bob=[ALL]))
    bob, alice = broker.connect("bob"), broker.connect("alice", version)
    bob.subscribe("#")
    for _ in range(3):  # by the slow path, and again where there is a route
        alice.publish("a", b"yes", qos=qos)
        if qos == 2:
            alice.ack(spec.PUBREL, alice.packet_identifier)
        alice.publish("b", b"no", qos=qos)
    assert bob.payloads() == [b"yes"] * 3
    if qos:
        codes = [packet.reason_code for packet in alice.receive() if isinstance(packet, Ack) and packet.reason_code]
        assert codes == ([spec.NOT_AUTHORIZED] * 3 if version == 5 else [])
    assert broker.stats.refused_publishes == 3
    broker.check()


def test_a_run_goes_by_the_rights_of_its_publisher() -> None:
    rights = Table(alice=["p:a"], eve=["p:b"], bob=[ALL])
    broker = broker_of(rights)
    bob = broker.connect("bob")
    bob.subscribe("#")
    alice, eve = broker.connect("alice"), broker.connect("eve")
    run = [Publish(name, name, 0, False) for name in (b"a", b"b", b"a", b"a", b"b")]
    for _ in range(3):
        alice.send(*run)
        assert bob.payloads() == [b"a", b"a", b"a"]
        eve.send(*run)
        assert bob.payloads() == [b"b", b"b"]
    asked = [(client, topic) for client, right, topic in rights.asked if right == MAY_PUBLISH]
    assert sorted(asked) == [("alice", b"a"), ("alice", b"b"), ("eve", b"a"), ("eve", b"b")]  # once each
    broker.check()


@pytest.mark.parametrize("version", [4, 5])
def test_a_filter_that_is_not_allowed(version: int) -> None:
    broker = broker_of(Table(alice=["s:a", "r:#"]))
    alice = broker.connect("alice", version)
    failed = spec.NOT_AUTHORIZED if version == 5 else 0x80
    assert alice.subscribe("a", "b", "$share/g/a", "$share/g/b", qos=1) == [1, failed, 1, failed]
    assert broker.session("alice").subscription_count() == 2
    assert broker.stats.refused_subscriptions == 2


@pytest.mark.parametrize("topic_filter", ["#", "a/+", "a/x"])
@pytest.mark.parametrize("qos", [0, 1])
def test_who_may_not_receive_a_topic_does_not_get_it(topic_filter: str, qos: int) -> None:
    broker = broker_of(Table(alice=["s:#", "s:a/+", "s:a/x", "r:a/y"], bob=[ALL]))
    alice, bob = broker.connect("alice"), broker.connect("bob")
    witness = broker.connect("witness", username="bob")
    witness.subscribe("a/x")
    alice.subscribe(topic_filter, qos=qos)
    for _ in range(2):
        bob.publish("a/x", b"secret", qos=qos)
        bob.publish("a/y", b"public", qos=qos)
    received = [] if topic_filter == "a/x" else [b"public"] * 2
    assert alice.payloads() == received
    assert witness.payloads() == [b"secret"] * 2
    broker.check()


def test_retained_messages_that_may_not_be_received_are_not_sent() -> None:
    broker = broker_of(Table(alice=["s:#", "r:a/y"], bob=[ALL]))
    bob = broker.connect("bob")
    bob.publish("a/x", b"secret", retain=True)
    bob.publish("a/y", b"public", retain=True)
    alice = broker.connect("alice")
    alice.subscribe("#")
    assert alice.payloads() == [b"public"]


def test_a_retained_message_needs_a_right_of_its_own() -> None:
    broker = broker_of(Table(alice=["p:#", "t:a"], bob=[ALL]))
    alice, bob = broker.connect("alice", 5), broker.connect("bob")
    bob.subscribe("#")
    alice.publish("a", b"1", qos=1, retain=True)
    alice.publish("b", b"2", qos=1, retain=True)
    alice.publish("b", b"3", qos=1)
    assert bob.payloads() == [b"1", b"3"]
    assert broker.core.retained.count == 1


def test_a_shared_subscription_passes_over_members_that_may_not_receive() -> None:
    broker = broker_of(Table(alice=["s:#"], carol=["s:#", "r:a"], bob=[ALL]))
    alice, carol, bob = broker.connect("alice"), broker.connect("carol"), broker.connect("bob")
    alice.subscribe("$share/g/#")
    carol.subscribe("$share/g/#")
    for _ in range(4):
        bob.publish("a", b"x")
        bob.publish("b", b"nobody may")
    assert (alice.payloads(), carol.payloads()) == ([], [b"x"] * 4)
    broker.check()


@pytest.mark.parametrize("version", [3, 4, 5])
def test_a_will_needs_its_right(version: int) -> None:
    broker = broker_of(Table(alice=["wt:gone"], eve=["w:gone", "p:#"], bob=[ALL]))
    bob = broker.connect("bob")
    bob.subscribe("#")
    refused = spec.NOT_AUTHORIZED if version == 5 else spec.NOT_AUTHORIZED_3

    def answer(client_id: str, topic: bytes, retain: bool) -> tuple[int, MemoryClient]:
        client = broker.connect(client_id, version, will=Will(Publish(topic, b"will", 0, retain), 0))
        assert client.connack is not None
        return int(client.connack.reason_code), client

    assert answer("eve", b"other", False)[0] == refused
    assert answer("eve", b"gone", True)[0] == refused
    assert answer("alice", b"gone", True)[0] == 0
    code, eve = answer("eve", b"gone", False)
    assert code == 0
    eve.drop()
    assert bob.payloads() == [b"will"]
    broker.check()


class TestChange:
    def test_publishers_and_subscribers_that_are_connected(self) -> None:
        broker = broker_of(Table(alice=[ALL], bob=[ALL]))
        alice, bob = broker.connect("alice"), broker.connect("bob")
        bob.subscribe("a", "b", "c/#")
        alice.publish("a", b"1")
        alice.publish("a", b"2")
        assert bob.payloads() == [b"1", b"2"]
        broker.engine.review(Table(alice=["p:b", "p:c/x"], bob=["s:a", "s:b", "r:b"]))
        broker.turn()
        for topic in ("a", "b", "c/x"):
            alice.publish(topic, topic.encode())
        assert bob.payloads() == [b"b"]
        assert sorted(one.topic_filter for one in broker.session("bob").subscriptions()) == [b"a", b"b"]
        assert broker.stats.subscriptions_revoked == 1
        broker.engine.review(None)
        alice.publish("a", b"again")
        assert bob.payloads() == [b"again"]
        broker.check()

    def test_many_sessions_are_looked_at_over_several_turns(self) -> None:
        broker = broker_of(Table(**{f"c{number}": [ALL] for number in range(600)}))
        for number in range(600):
            broker.connect(f"c{number}").subscribe("a")
        broker.engine.review(Table())
        assert broker.core.topics.count == 600
        broker._one_turn()
        assert 0 < broker.core.topics.count < 600
        broker.turn()
        assert broker.core.topics.count == 0
        broker.check()

    def test_what_waits_in_a_queue(self) -> None:
        broker = broker_of(Table(alice=[ALL], bob=[ALL]))
        bob = broker.connect("bob", clean_start=False)
        bob.subscribe("#", qos=1)
        bob.disconnect()
        alice = broker.connect("alice")
        alice.publish("a", b"a", qos=1)
        alice.publish("b", b"b", qos=1)
        broker.engine.review(Table(alice=[ALL], bob=["s:#", "r:b"]))
        bob = broker.connect("bob", clean_start=False)
        assert bob.payloads() == [b"b"]
        assert broker.stats.dropped_forbidden == 1
        broker.check()

    def test_clients_that_are_new_cost_nobody_a_route(self) -> None:
        broker = broker_of(Table(ada=[ALL], bob=[ALL]))
        broker.connect("bob").publish("a")
        for number in range(3):
            broker.connect(f"new {number}", username="ada")
        assert broker.core.topics.statistics()["routes"] == 1

    def test_rights_that_end_and_begin_again(self) -> None:
        broker = broker_of(Table(alice=[ALL], bob=[ALL], eve=["s:#"]))
        bob = broker.connect("bob")
        bob.subscribe("#")
        alice = broker.connect("alice")
        alice.publish("a", b"1")
        broker.engine.review(None)
        broker.engine.review(Table(bob=["s:#", "r:#"], eve=["s:#"]))
        eve = broker.connect("eve")  # must not be taken for one whose number it would have got at first
        eve.subscribe("#")
        broker.inject("a", b"2")
        alice.publish("a", b"3")
        assert (bob.payloads(), eve.payloads()) == ([b"1", b"2"], [])

    def test_a_will(self) -> None:
        broker = broker_of(Table(alice=[ALL], bob=[ALL]))
        bob = broker.connect("bob")
        bob.subscribe("#")
        alice = broker.connect("alice", will=Will(Publish(b"gone", b"will", 0, False), 0))
        broker.engine.review(Table(bob=[ALL]))
        alice.drop()
        assert bob.payloads() == []
        broker.check()

    def test_a_session_that_another_user_takes_over(self) -> None:
        broker = broker_of(Table(ada=[ALL], eve=["s:b", "r:b"], bob=[ALL]))
        bob = broker.connect("bob")
        client = broker.connect("shared", clean_start=False, username="ada")
        client.subscribe("b", "a", qos=1)
        bob.publish("a", b"for ada")
        bob.publish("a", b"for ada, and not acknowledged", qos=1)
        client.drop()
        client = broker.connect("shared", clean_start=False, username="eve")
        bob.publish("a", b"not for eve")
        bob.publish("b", b"for eve")
        assert client.payloads() == [b"for eve"]
        assert [one.topic_filter for one in broker.session("shared").subscriptions()] == [b"b"]
        assert (broker.stats.dropped_forbidden, broker.stats.subscriptions_revoked) == (1, 1)
        broker.check()


def test_decisions_that_are_remembered_are_bounded_in_bytes() -> None:
    permissions = Permissions(Table(alice=["p:#"]))
    session = Session("alice")
    topic = b"x" * 60_000
    most = 0
    for number in range(3 * DECISION_BYTES // 60_000 // 2):
        assert permissions.allows(session, MAY_PUBLISH, topic + b"%d" % number)
        most = max(most, permissions.statistics()["decisions"])
    assert most * 60_000 <= DECISION_BYTES + 60_000


def at_two_listeners() -> tuple[MemoryBroker, Table, Table]:
    """A broker whose second listener has rights of its own."""
    access = Access()
    usual, second = Table(bob=["s:#", "r:a"], alice=[ALL]), Table(bob=["s:#", "r:b"])
    access.rights, access.rights_at = usual, {1: second}
    return MemoryBroker(access=access), usual, second


def come(broker: MemoryBroker, client_id: str, listener: int) -> MemoryClient:
    """A client with a kept session, by a listener."""
    client = broker.open(4)
    client.connection.listener = listener
    client.connect(client_id, clean_start=False)
    return client


def test_rights_follow_the_listener() -> None:
    broker, usual, second = at_two_listeners()
    alice = broker.connect("alice")
    bob = come(broker, "bob", 0)
    bob.subscribe("#", qos=1)
    for listener, allowed in ((0, b"a"), (1, b"b"), (0, b"a")):
        bob.disconnect()
        bob = come(broker, "bob", listener)
        for topic_name in (b"a", b"b"):
            alice.publish(topic_name, topic_name)
        assert bob.payloads() == [allowed]
    bob.disconnect()
    for topic_name in (b"a", b"b"):  # while it is away the rights of its last listener count
        alice.publish(topic_name, topic_name, qos=1)
    bob = come(broker, "bob", 1)
    assert bob.payloads() == []  # and when it is back those of the one it came by
    assert usual.asked and second.asked
    broker.check()


def test_whose_listener_is_not_known_keeps_what_any_would_allow() -> None:
    broker, _usual, _second = at_two_listeners()
    alice = broker.connect("alice")
    bob = come(broker, "bob", 0)
    bob.subscribe("#", qos=1)
    bob.disconnect()
    session = broker.core.session("bob")
    assert session is not None
    session.number = 0  # as it comes out of the store
    broker.core.topics.forget_routes()
    for topic_name in (b"a", b"b", b"c"):
        alice.publish(topic_name, topic_name, qos=1)
    assert session.queued() == 2
    assert come(broker, "bob", 1).payloads() == [b"b"]
    broker.check()


def test_rights_of_listeners_change_for_live_clients() -> None:
    broker, usual, _second = at_two_listeners()
    alice, bob = broker.connect("alice"), come(broker, "bob", 1)
    bob.subscribe("#")
    broker.engine.review(usual)
    alice.publish("a", b"a")
    broker.engine.review(usual, {1: Table()})
    alice.publish("b", b"b")
    assert bob.payloads() == [b"a"]
    broker.turn()
    assert broker.core.topics.count == 0  # and its subscription went with its rights


def test_retained_messages_go_with_their_publishers_rights() -> None:
    rights = Table(alice=["pt:#"], eve=["pt:#"], bob=[ALL])
    broker = broker_of(rights)
    alice, eve, bob = (broker.connect(name) for name in ("alice", "eve", "bob"))
    alice.publish("a", b"1", retain=True)
    eve.publish("e", b"2", retain=True)
    broker.inject("ours", b"3", retain=True)
    asked = len(rights.asked)
    bob.subscribe("#")
    assert sorted(bob.payloads()) == [b"1", b"2", b"3"]
    assert len(rights.asked) == asked + 4  # nobody was asked about the publishers again
    changed = Table(alice=["p:a", "t:#"], eve=["p:e"], bob=[ALL])
    broker.engine.review(changed)
    broker.turn()
    bob.subscribe("#")
    assert sorted(bob.payloads()) == [b"1", b"3"]
    broker.engine.review(rights)
    bob.subscribe("#")
    assert sorted(bob.payloads()) == [b"1", b"2", b"3"]
    broker.engine.review(Table(bob=[ALL]))
    broker.limits.check_retain_source = False
    bob.subscribe("#")
    assert sorted(bob.payloads()) == [b"1", b"2", b"3"]
    bob.publish("a", b"", retain=True)
    bob.publish("e", b"4", retain=True)
    assert broker.core.retained.sources == {}
    broker.check()


def test_a_queued_message_that_is_no_longer_allowed_uses_its_packet_identifier_up() -> None:
    """As mosquitto counts them, and as one that has expired in the queue does."""
    broker = broker_of(Table(alice=[ALL], bob=[ALL]))
    alice, bob = broker.connect("alice"), broker.connect("bob", clean_start=False)
    bob.subscribe("#", qos=1)
    bob.disconnect()
    for topic_name in (b"a", b"b", b"c"):
        alice.publish(topic_name, topic_name, qos=1)
    broker.engine.review(Table(alice=[ALL], bob=["s:#", "r:a", "r:c"]))
    bob = broker.connect("bob", clean_start=False)
    assert [(one.payload, one.packet_identifier) for one in bob.publishes()] == [(b"a", 1), (b"c", 3)]
    assert broker.stats.dropped_forbidden == 1
    broker.check()
