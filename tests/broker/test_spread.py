"""Messages to very many subscribers: a turn delivers no more than its share, order is kept, and others go on."""

from __future__ import annotations

import struct

from harness import MemoryBroker, MemoryClient
from stand_ins import DelayedStorage

from swellmq.bench.generator import packet, publish_packet, string, subscribe_packet
from swellmq.broker.session import Delivery, Session
from swellmq.codec.packets import Ack, Ping, Publish, Will
from swellmq.codec.spec import PINGREQ, PINGRESP, PUBACK, PUBREC
from swellmq.errors import CLOSE_REASONS, INTERNAL_ERROR, PEER_CLOSED
from swellmq.limits import DELIVERIES_LEAST, DELIVERIES_PER_TURN, RUN_TARGETS_MAX, VISITS_SHARE

WIDE = 2 * DELIVERIES_PER_TURN + 100
IN_A_TURN = 2 * DELIVERIES_PER_TURN + 2 * DELIVERIES_LEAST  # what is read, then what waits in line
IDENTIFIER = b"\x02\x0b\x07"  # of the subscription: each subscriber needs a frame of its own
EXPIRY = b"\x05\x11" + struct.pack("!I", 600)


def crowd(broker: MemoryBroker, count: int, qos: int = 0, kept: bool = False) -> list[MemoryClient]:
    """So many subscribers of `all`, in MQTT 5.0."""
    clients = []
    for number in range(count):
        head = b"\x00\x04MQTT\x05\x02\x00\x00" + (EXPIRY if kept else b"\x00")
        connect = packet(0x10, head + string(b"c%05d" % number))
        client = broker.open(5)
        client.feed(connect + packet(0x82, b"\x00\x01" + IDENTIFIER + string(b"all") + bytes([qos])))
        clients.append(client)
    broker.turn()
    if isinstance(broker.core.storage, DelayedStorage):
        broker.core.storage.commit()
        broker.turn()
    for client in clients:
        assert len(client.receive()) == 2
    return clients


def turns(broker: MemoryBroker) -> list[int]:
    """Turns until nothing is left to do; how many messages were sent in each."""
    sent = []
    while not sent or broker.turn_state.again or broker.turn_state.flush:
        before = broker.stats.publishes_sent
        broker._one_turn()
        sent.append(broker.stats.publishes_sent - before)
    return sent


def test_one_message_takes_several_turns() -> None:
    broker = MemoryBroker()
    clients = crowd(broker, WIDE, qos=1)
    publisher, other = broker.connect("p", version=5), broker.connect("o", version=5)
    publisher.feed(publish_packet(b"all", 1, 1, b"1", True), publish_packet(b"all", 1, 2, b"2", True))
    other.feed(Ping(PINGREQ))
    broker._one_turn()
    assert [answer.packet_type for answer in other.receive() if isinstance(answer, Ping)] == [PINGRESP]
    assert publisher.receive() == []  # it is acknowledged once it has reached all
    sent = turns(broker)
    assert max(sent) <= IN_A_TURN
    assert sum(sent) + DELIVERIES_PER_TURN >= 2 * WIDE
    publisher.expect(Ack(PUBACK, 1), Ack(PUBACK, 2))
    assert all(client.payloads() == [b"1", b"2"] for client in clients)
    broker.check()


def test_a_read_full_of_messages() -> None:
    broker = MemoryBroker()
    clients = crowd(broker, DELIVERIES_LEAST // 2)
    publisher, other = broker.connect("p", version=5), broker.connect("o", version=5)
    other.subscribe("own")
    publisher.feed(b"".join(publish_packet(b"all", 0, 0, b"%d" % number, True) for number in range(200)))
    other.feed(publish_packet(b"own", 0, 0, b"paced", True))
    broker._one_turn()
    assert other.payloads() == [b"paced"]  # not after all that came before it
    assert max(turns(broker)) <= IN_A_TURN
    assert all(client.payloads() == [b"%d" % number for number in range(200)] for client in clients)
    broker.check()


def test_many_publishers_wait_in_line() -> None:
    broker = MemoryBroker()
    clients = crowd(broker, 2 * DELIVERIES_LEAST, qos=1)
    publishers = [broker.connect(f"p{number}", version=5) for number in range(12)]
    for number, publisher in enumerate(publishers):
        messages = [publish_packet(b"all", 1, one + 1, b"%d %d" % (number, one), True) for one in range(20)]
        publisher.feed(b"".join(messages))
    assert max(turns(broker)) <= IN_A_TURN
    for client in clients:
        payloads = client.payloads()
        assert len(payloads) == 12 * 20
        for number in range(12):
            own = [payload for payload in payloads if payload.startswith(b"%d " % number)]
            assert own == [b"%d %d" % (number, one) for one in range(20)]
    for publisher in publishers:
        publisher.expect(*[Ack(PUBACK, one + 1) for one in range(20)])
    broker.check()


def test_a_run_to_very_many_goes_in_slices() -> None:
    broker = MemoryBroker()
    publisher = broker.connect("p", version=5)
    [client] = crowd(broker, 1)
    route = broker.core.topics.match(b"all")
    route.targets = route.targets * (RUN_TARGETS_MAX + 1)  # the same one again and again
    publisher.feed(publish_packet(b"all", 0, 0, b"1", True))
    assert max(turns(broker)) <= IN_A_TURN
    assert len(client.payloads()) == RUN_TARGETS_MAX + 1


def share(client: MemoryClient, groups: int) -> None:
    """Become a member of so many groups that share `all`."""
    filters = b"".join(string(b"$share/g%d/all" % number) + b"\x01" for number in range(groups))
    client.feed(packet(0x82, b"\x00\x01\x00" + filters))
    turns(client.broker)
    client.receive()


def test_very_many_groups_take_several_turns() -> None:
    broker = MemoryBroker()
    clients = crowd(broker, 1)
    member, publisher = broker.connect("m", version=5), broker.connect("p", version=5)
    share(member, IN_A_TURN + 100)
    publisher.feed(publish_packet(b"all", 0, 0, b"1", True))
    assert max(turns(broker)) <= IN_A_TURN
    assert member.payloads() == [b"1"] * (IN_A_TURN + 100)
    assert clients[0].payloads() == [b"1"]
    broker.check()


def test_a_search_for_members_that_are_here_counts() -> None:
    broker = MemoryBroker()
    groups = DELIVERIES_LEAST + 44
    for number in range(2 * DELIVERIES_PER_TURN * VISITS_SHARE // groups):
        member = broker.connect(f"m{number}", version=5, session_expiry_interval=600)
        share(member, groups)
        member.drop()
    publishers = [broker.connect(name, version=5) for name in ("p", "q")]
    for publisher in publishers:
        publisher.feed(publish_packet(b"all", 1, 1, b"1", True))
    broker._one_turn()
    assert broker.core.work != []  # the first message has used up the turn, and the second takes more than its share
    turns(broker)
    for publisher in publishers:
        publisher.expect(Ack(PUBACK, 1))
    assert sum(session.queued() for session in broker.core.sessions.values()) == 2 * groups


def test_who_leaves_meanwhile_gets_it_no_longer() -> None:  # [MQTT-3.10.4-2]
    broker = MemoryBroker()
    clients = crowd(broker, WIDE)
    publisher = broker.connect("p", version=5)
    publisher.feed(publish_packet(b"all", 0, 0, b"1", True))
    broker._one_turn()
    last, gone = [client for client in clients if not client.taken][-2:]
    last.feed(packet(0xA2, b"\x00\x01\x00" + string(b"all")))
    gone.connection.close(2)
    turns(broker)
    assert len(last.receive()) == 1  # UNSUBACK
    assert sum(len(client.payloads()) for client in clients) == WIDE - 2
    broker.check()


def test_the_publisher_may_leave_and_its_will_comes_last() -> None:
    broker = MemoryBroker()
    clients = crowd(broker, WIDE)
    publisher = broker.open(5)
    publisher.connect("p", will=Will(Publish(b"all", b"will", 0, False), 0))
    publisher.feed(publish_packet(b"all", 0, 0, b"1", True))
    broker._one_turn()
    publisher.drop()
    assert all(client.payloads() == [b"1", b"will"] for client in clients)
    assert broker.core.work == []
    broker.check()


def test_wills_for_very_many_go_out_before_the_end() -> None:
    broker = MemoryBroker()
    clients = crowd(broker, WIDE)
    lost = broker.open(5)
    lost.connect("lost", will=Will(Publish(b"all", b"lost", 0, False), 0))
    for number in range(2):
        broker.open(5).connect(f"here{number}", will=Will(Publish(b"all", b"here", 0, False), 0))
    lost.connection.close(PEER_CLOSED)
    broker._one_turn()
    assert broker.core.work != []  # of this will some is under way
    broker.engine.shut_down()
    broker.turn()
    for client in clients:
        payloads = [message.payload for message in client.receive() if isinstance(message, Publish)]
        assert payloads == [b"lost", b"here", b"here"]


def test_the_silence_of_a_client_that_waits_is_ours() -> None:  # [MQTT-3.1.2-22]
    broker = MemoryBroker()
    clients = crowd(broker, WIDE)
    publisher = broker.connect("p", version=5, keep_alive=1)
    publisher.feed(publish_packet(b"all", 0, 0, b"1", True))
    broker._one_turn()
    assert publisher.connection.question is not None
    broker.turn_state.now_ms += 60_000
    turns(broker)
    assert not publisher.closed
    assert all(client.payloads() == [b"1"] for client in clients)


def test_the_acknowledgement_waits_for_the_store() -> None:  # [MQTT-4.3.2-4]
    storage = DelayedStorage()
    broker = MemoryBroker(storage=storage)
    crowd(broker, WIDE, qos=1, kept=True)
    publisher = broker.connect("p", version=5)
    publisher.feed(publish_packet(b"all", 1, 1, b"1", True))
    broker._one_turn()
    first = storage.sealed
    turns(broker)
    assert storage.sealed > first
    storage.commit(first)
    broker.turn()
    assert publisher.receive() == []
    storage.commit()
    broker.turn()
    publisher.expect(Ack(PUBACK, 1))


class FailsMidway(DelayedStorage):
    """Fails with the last of so many messages."""

    def delivery_saved(self, session: Session, delivery: Delivery) -> None:
        super().delivery_saved(session, delivery)
        if len(self.calls) == WIDE:
            raise RuntimeError("on purpose")


def test_what_fails_midway_is_not_acknowledged() -> None:  # [MQTT-4.3.2-4]
    storage = FailsMidway()
    broker = MemoryBroker(storage=storage)
    crowd(broker, WIDE, qos=1, kept=True)
    publisher = broker.connect("p", version=5)
    storage.take_calls()
    publisher.feed(publish_packet(b"all", 1, 1, b"1", True))
    turns(broker)
    storage.commit()
    broker.turn()
    assert publisher.closed
    assert publisher.close_reason == CLOSE_REASONS[INTERNAL_ERROR]
    assert [answer for answer in publisher.receive() if isinstance(answer, Ack)] == []
    assert broker.core.work == []
    assert broker.stats.errors_internal == 1


def test_what_a_store_keeps_of_qos_2_is_one_batch() -> None:  # [MQTT-4.3.3-9]
    storage = DelayedStorage()
    broker = MemoryBroker(storage=storage)
    crowd(broker, WIDE, qos=2, kept=True)
    publisher = broker.connect("p", version=5)
    before = storage.sealed
    publisher.feed(publish_packet(b"all", 2, 1, b"1", True))
    turns(broker)
    assert storage.sealed == before + 1
    storage.commit()
    broker.turn()
    publisher.expect(Ack(PUBREC, 1))


def test_a_message_to_few_goes_past_the_line() -> None:
    broker = MemoryBroker()
    crowd(broker, WIDE)
    publisher, other = broker.connect("p", version=5), broker.connect("o", version=4)
    other.send(subscribe_packet(b"own", 0))
    other.receive()
    publisher.feed(publish_packet(b"all", 0, 0, b"1", True))
    broker._one_turn()
    other.feed(publish_packet(b"own", 0, 0, b"quick"))
    broker._one_turn()
    assert broker.core.work != []
    assert other.payloads() == [b"quick"]
