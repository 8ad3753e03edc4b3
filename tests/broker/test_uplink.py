"""The seam to a cluster, with a stand-in that takes its time."""

from __future__ import annotations

from harness import MemoryBroker
from stand_ins import DelayedStorage, DelayedUplink

from swellmq.codec import spec
from swellmq.codec.packets import Ack, Connack, Publish, Suback, Subscribe, TopicRequest
from swellmq.codec.spec import PUBACK
from swellmq.connection import Connection
from swellmq.limits import DELIVERIES_PER_TURN, FILTER_COST

KEPT = {"clean_start": False, "session_expiry_interval": 600}


def test_routes_are_told_for_the_first_and_the_last() -> None:
    uplink = DelayedUplink()
    broker = MemoryBroker(uplink=uplink)
    first = broker.connect("a")
    second = broker.connect("b")
    for client in (first, second):
        client.subscribe("t", "w/#", "$share/g/t")
    assert uplink.routes == [("+", b"t"), ("+", b"w/#"), ("+", b"$share/g/t")]
    uplink.routes.clear()
    first.unsubscribe("t", "$share/g/t")
    second.drop()
    assert sorted(uplink.routes) == [("-", b"$share/g/t"), ("-", b"t")]
    first.subscribe("w/#")
    first.drop()
    assert uplink.routes[2:] == [("-", b"w/#")]


def test_a_message_is_acknowledged_when_the_cluster_has_it() -> None:
    uplink = DelayedUplink()
    broker = MemoryBroker(uplink=uplink)
    subscriber = broker.connect("s")
    subscriber.subscribe("t")
    uplink.commit()
    broker.turn()
    publisher = broker.connect("p", version=5)
    publisher.publish("t", b"0")
    publisher.publish("elsewhere", b"1", qos=1, identifier=1)
    assert subscriber.payloads() == [b"0"]
    publisher.expect()
    assert [payload for payload, _ in uplink.published] == [b"0", b"1"]
    uplink.commit()
    broker.turn()
    publisher.expect(Ack(PUBACK, 1))  # other nodes may have subscribers: nothing is said about their number


def test_with_a_store_both_must_have_it() -> None:
    uplink = DelayedUplink()
    storage = DelayedStorage()
    broker = MemoryBroker(uplink=uplink, storage=storage)
    publisher = broker.connect("p")
    publisher.publish("t", b"x", qos=1, retain=True, identifier=1)
    storage.commit()
    broker.turn()
    publisher.expect()
    uplink.commit()
    broker.turn()
    publisher.expect(Ack(PUBACK, 1))


def test_messages_of_other_nodes_are_not_sent_back() -> None:
    uplink = DelayedUplink()
    broker = MemoryBroker(uplink=uplink)
    message = Publish(b"t", b"x", 0, False)
    message.origin = "node-2"
    broker.engine.inject(message)
    assert uplink.published == []


def test_a_client_id_is_acquired_first() -> None:
    uplink = DelayedUplink()
    uplink.at_once = False
    broker = MemoryBroker(uplink=uplink)
    client = broker.connect("a")
    client.expect()
    ((client_id, token),) = uplink.acquires
    assert client_id == "a"
    broker.resume(token)
    client.expect(Connack(False, 0))
    refused = broker.connect("b", version=5)
    broker.resume(uplink.acquires[-1][1], spec.SERVER_BUSY)
    (packet,) = refused.receive()
    assert isinstance(packet, Connack) and packet.reason_code == spec.SERVER_BUSY
    assert refused.closed


def test_a_suback_waits_for_the_barrier() -> None:
    uplink = DelayedUplink()
    broker = MemoryBroker(uplink=uplink)
    client = broker.connect("a")
    broker.inject("t", b"kept", retain=True)
    uplink.commit()
    broker.turn()
    uplink.at_once = False
    client.subscribe("t")
    client.expect()
    broker.resume(uplink.barriers[-1][1])
    client.expect(Suback(spec.SUBACK, 1, b"\0"), Publish(b"t", b"kept", 0, True))


def test_many_filters_line_up_for_retained_messages_over_several_turns() -> None:
    uplink = DelayedUplink()
    broker = MemoryBroker(uplink=uplink)
    client = broker.connect("a")
    broker.inject("t/7/x", b"kept", retain=True)
    uplink.commit()
    broker.turn()
    uplink.at_once = False
    count = 3 * DELIVERIES_PER_TURN // FILTER_COST
    client.send(Subscribe(1, [TopicRequest(b"t/%d/+" % number, 0) for number in range(count)]))
    client.expect()
    broker.engine.resume(uplink.barriers[-1][1], 0)
    session = broker.session("a")
    assert session.replays is not None and len(session.replays) < count // 2
    client.expect()
    broker.turn()
    client.expect(Suback(spec.SUBACK, 1, bytes(count)), Publish(b"t/7/x", b"kept", 0, True))
    assert session.replays is None
    broker.check()


def test_a_suback_waits_for_the_barrier_and_for_the_store() -> None:
    uplink = DelayedUplink()
    storage = DelayedStorage()
    broker = MemoryBroker(uplink=uplink, storage=storage)
    client = broker.connect("a", version=5, **KEPT)
    storage.commit()
    uplink.commit()
    broker.turn()
    client.receive()
    uplink.at_once = False
    client.subscribe("t")
    broker.resume(uplink.barriers[-1][1])
    client.expect()
    storage.commit()
    uplink.commit()
    broker.turn()
    client.expect(Suback(spec.SUBACK, 1, b"\0"))


def test_the_cluster_picks_the_member() -> None:
    uplink = DelayedUplink()
    broker = MemoryBroker(uplink=uplink)
    members = [broker.connect(name) for name in "abc"]
    for member in members:
        member.subscribe("$share/g/t")
        member.receive()
    uplink.picks = [2, -1, 2, 0]
    for number in range(4):
        broker.inject("t", b"%d" % number)
    assert [member.payloads() for member in members] == [[b"3"], [], [b"0", b"2"]]


def test_a_connection_that_ends_while_it_is_asked_for() -> None:
    uplink = DelayedUplink()
    uplink.at_once = False
    broker = MemoryBroker(uplink=uplink)
    client = broker.connect("a")
    assert isinstance(client.connection, Connection)
    client.drop()
    assert not broker.resume(uplink.acquires[-1][1])
    assert len(broker.core.sessions) == 0
    broker.check()
