"""What clients may have done in one turn: a bound for all together, a packet for each at least, and nothing lost."""

from __future__ import annotations

import pytest
from harness import MemoryBroker, MemoryClient, properties
from stand_ins import DelayedStorage

from swellmq.broker.broker import CROWDED_LEAST
from swellmq.broker.publish import PUMP_LEAST, REPLAY_SLICE
from swellmq.broker.retained import VISITS_PER_MESSAGE
from swellmq.broker.rules import Rules
from swellmq.broker.storage import Storage
from swellmq.broker.tree import MERGE_VISITS
from swellmq.broker.will import end_session
from swellmq.broker.work import Filters, Routing, Work
from swellmq.codec import spec
from swellmq.codec.encode import encode
from swellmq.codec.packets import (
    Ack,
    Connect,
    Disconnect,
    Ping,
    Publish,
    Suback,
    Subscribe,
    TopicRequest,
    Unsubscribe,
    Will,
)
from swellmq.codec.spec import PINGREQ
from swellmq.connection import LINE
from swellmq.errors import PEER_CLOSED
from swellmq.limits import (
    DELIVERIES_PER_TURN,
    DISCARD_BYTES,
    DISCARDS_PER_TURN,
    FILTER_COST,
    FILTERS_LEAST,
    VISITS_SHARE,
    Limits,
)

LEVELS = 12
CROSSED = [
    b"/".join(b"+" if number >> level & 1 else b"a" for level in range(LEVELS)) + b"/#" for number in range(1 << LEVELS)
]

ONE_MESSAGE = (3 + MERGE_VISITS) * len(CROSSED)  # visits that it takes at the most
ONE_TURN = 3 * DELIVERIES_PER_TURN * VISITS_SHARE + 3 * ONE_MESSAGE  # read, overdrawn, and in line; one more of each


class Measured(MemoryBroker):
    """Notes for each turn how many nodes were visited in both trees, filters added or removed, and messages sent."""

    def __init__(self, storage: Storage | None = None, limits: Limits | None = None) -> None:
        super().__init__(limits, storage=storage)
        self.visits: list[int] = []
        self.filters: list[int] = []
        self.sent: list[int] = []
        self.retained: list[int] = []

    def _one_turn(self) -> None:
        retained = self.core.retained.visited
        visited, count, sent = self.core.topics.visited, self.core.topics.count, self.stats.publishes_sent
        super()._one_turn()
        self.visits.append(int(self.core.topics.visited - visited))
        self.filters.append(abs(int(self.core.topics.count - count)))
        self.sent.append(int(self.stats.publishes_sent - sent))
        self.retained.append(int(self.core.retained.visited - retained))

    def forget(self) -> None:
        self.visits, self.filters, self.sent, self.retained = [], [], [], []


def subscribe(filters: list[bytes], identifier: int = 1) -> Subscribe:
    return Subscribe(identifier, [TopicRequest(one, 0) for one in filters])


def messages(count: int, version: int = 4) -> bytes:
    """To topics that are new each, so that each is matched anew, and all filters match it."""
    topic = b"/".join([b"a"] * LEVELS)
    return b"".join(
        encode(Publish(topic + b"/%d" % number, b"%d" % number, 0, False), version) for number in range(count)
    )


def test_messages_that_are_dear_to_match_wait_for_later_turns() -> None:
    broker = Measured()
    hostile = broker.connect("hostile")
    hostile.subscribe(*[one.decode() for one in CROSSED])
    other = broker.connect("other")
    broker.forget()
    hostile.feed(messages(200))
    other.feed(Ping(PINGREQ))
    broker._one_turn()
    assert other.taken == b"\xd0\0", "others are served in the same turn"
    broker.turn()
    assert hostile.payloads() == [b"%d" % number for number in range(200)]
    assert len(broker.visits) > 10
    assert max(broker.visits) < ONE_TURN
    broker.check()


def test_what_follows_keeps_its_order_and_the_end_comes_last() -> None:
    broker = Measured()
    hostile, listener = broker.connect("hostile"), broker.connect("listener")
    hostile.subscribe(*[one.decode() for one in CROSSED])
    listener.subscribe("#", "end")
    hostile.send(messages(100), Publish(b"end", b"last", 0, False), Disconnect())
    assert listener.payloads() == [*(b"%d" % number for number in range(100)), b"last"]
    assert hostile.close_reason == "client disconnected"
    broker.check()


def test_a_client_that_vanishes_while_its_messages_wait() -> None:
    broker = Measured()
    hostile = broker.connect("hostile")
    hostile.subscribe(*[one.decode() for one in CROSSED])
    hostile.feed(messages(100))
    broker._one_turn()
    assert broker.core.work
    hostile.drop()
    again = broker.connect("again")  # has the same object of the pool
    again.send(Ping(PINGREQ))
    assert again.taken == b"\xd0\0"
    assert not broker.core.work
    broker.check()


def test_a_search_takes_several_turns_and_the_acknowledgement_comes_after_it() -> None:
    """Who subscribes meanwhile may get the message or not; who has gone does not, and its place is no other's."""
    broker = Measured()
    hostile, leaving = broker.connect("hostile"), broker.connect("leaving")
    for client in (hostile, leaving):
        client.subscribe(*[one.decode() for one in CROSSED])
    publisher = broker.connect("publisher", version=5)
    topic = b"/".join([b"a"] * LEVELS) + b"/new"
    publish = Publish(topic, b"x", 1, True)
    publish.packet_identifier = 7
    publisher.feed(publish)
    broker._one_turn()
    assert broker.core.work and not publisher.taken
    leaving.drop()
    while broker.core.work:
        assert not hostile.taken and not publisher.taken
        broker._one_turn()
    broker.turn()
    assert hostile.payloads() == [b"x"]
    publisher.expect(Ack(spec.PUBACK, 7, spec.SUCCESS))
    assert broker.core.retained.count == 1
    assert broker.core.topics.route(topic) is None, "filters have changed since the search began"
    broker.check()


NEW_TOPIC = b"/".join([b"a"] * LEVELS) + b"/new"


def searching(**options: object) -> tuple[Measured, MemoryClient, MemoryClient]:
    """A broker, a client that all CROSSED lead to, and a publisher."""
    broker = Measured()
    hostile = broker.connect("hostile")
    hostile.subscribe(*[one.decode() for one in CROSSED])
    return broker, hostile, broker.connect("publisher", **options)


def pressed(broker: Measured, favoured: int) -> None:
    """One turn in which somebody in front waits all the time."""
    broker.turn_state.press = True
    broker.turn_state.favoured = favoured
    broker._one_turn()
    broker.turn_state.press = False


def test_who_subscribes_during_a_search_has_the_newest_retained_message() -> None:
    broker, _hostile, publisher = searching()
    broker.inject(NEW_TOPIC.decode(), b"old", retain=True)
    broker.core.topics.forget_routes()
    late = broker.connect("late")
    publisher.feed(Publish(NEW_TOPIC, b"new", 0, True))
    broker._one_turn()
    assert broker.core.work
    late.feed(subscribe([NEW_TOPIC]))
    broker.turn()
    assert [one.payload for one in late.receive() if isinstance(one, Publish)][-1:] == [b"new"]


def test_who_unsubscribes_during_a_search_gets_nothing_any_more() -> None:
    broker, hostile, publisher = searching()
    leaving = broker.connect("leaving")
    leaving.subscribe("a/#", "+/a/#")
    publisher.feed(Publish(NEW_TOPIC, b"x", 0, False))
    broker._one_turn()
    assert broker.core.work
    leaving.feed(Unsubscribe(2, [b"a/#", b"+/a/#"]))
    broker.turn()
    assert not [one for one in leaving.receive() if isinstance(one, Publish)]  # [MQTT-3.10.4-2]
    assert hostile.payloads() == [b"x"]


def test_a_will_comes_after_messages_that_are_still_on_their_way() -> None:
    broker, hostile, publisher = searching(will=Will(Publish(NEW_TOPIC, b"will", 0, False), 0))
    publisher.feed(Publish(NEW_TOPIC, b"first", 0, False))
    broker._one_turn()
    while not (isinstance(broker.core.work[0], Routing) and broker.core.work[0].spread is not None):
        pressed(broker, LINE)
    publisher.connection.close(PEER_CLOSED)
    pressed(broker, 0)
    broker.turn()
    assert hostile.payloads() == [b"first", b"will"]


def test_who_comes_back_waits_for_its_own_messages() -> None:
    broker, hostile, publisher = searching()
    publisher.feed(Publish(NEW_TOPIC, b"first", 0, False))
    broker._one_turn()
    while not (isinstance(broker.core.work[0], Routing) and broker.core.work[0].spread is not None):
        pressed(broker, LINE)
    again = broker.open(4)
    connect = Connect()
    connect.protocol_version = 4
    connect.client_id = "publisher"
    connect.clean_start = True
    again.feed(connect, Publish(NEW_TOPIC, b"second", 0, False))
    pressed(broker, 0)
    broker.turn()
    assert hostile.payloads() == [b"first", b"second"]  # [MQTT-4.6.0-6]


def test_an_acknowledgement_waits_for_what_its_message_has_changed_and_no_longer() -> None:
    """Also where its last slice changes nothing, so that no batch is under way."""
    storage = DelayedStorage()
    broker = Measured(storage=storage)
    broker.connect("kept", clean_start=False).subscribe("all", qos=1)
    for number in range(300):
        broker.connect(f"c{number}").subscribe("all", qos=1)
    publisher = broker.connect("publisher", version=5)
    storage.commit()
    broker.turn()
    publisher.receive()
    publish = Publish(b"all", b"x", 1, False)
    publish.packet_identifier = 7
    publisher.feed(publish)
    for _ in range(10):
        pressed(broker, LINE)
        storage.commit()
    broker.turn()
    publisher.expect(Ack(spec.PUBACK, 7, spec.SUCCESS))


def test_searches_that_are_under_way_end_before_the_broker_does() -> None:
    broker = Measured()
    hostile = broker.connect("hostile")
    hostile.subscribe(*[one.decode() for one in CROSSED])
    hostile.feed(messages(3))
    broker._one_turn()
    assert broker.core.work
    broker.engine.shut_down()
    broker.turn()
    assert hostile.payloads()[:1] == [b"0"]


def test_what_a_member_leaves_is_handed_over_in_slices() -> None:
    limits = Limits()
    limits.queued_messages = 5_000
    broker = Measured(limits=limits)
    leaving = broker.connect("leaving", clean_start=False)
    leaving.subscribe("$share/g/t", qos=1)
    leaving.drop()
    for number in range(5_000):
        broker.inject("t", b"%d" % number, 1)
    staying = broker.connect("staying")
    staying.subscribe("$share/g/t", qos=0)
    broker.forget()
    broker.open(4).connect("leaving", clean_start=True)
    assert staying.payloads() == [b"%d" % number for number in range(5_000)]
    assert max(broker.sent) <= 2 * DELIVERIES_PER_TURN
    broker.check()


def test_what_is_handed_over_is_stored_together_with_the_end_of_the_session() -> None:
    """Although it is no longer kept when it ends: a crash in between would take what others have not got yet."""
    limits = Limits()
    limits.queued_messages = 5_000
    storage = DelayedStorage()
    broker = Measured(storage=storage, limits=limits)
    leaving = broker.connect("leaving", version=5, clean_start=False, session_expiry_interval=100)
    leaving.subscribe("$share/g/t", qos=1)
    leaving.drop()
    for number in range(3_000):
        broker.inject("t", b"%d" % number, 1)
    staying = broker.connect("staying", version=5, clean_start=False, session_expiry_interval=100)
    staying.subscribe("$share/g/t", qos=1)
    staying.drop()
    again = broker.connect("leaving", version=5, clean_start=False, session_expiry_interval=100)
    storage.commit()
    broker.turn()
    before = storage.sealed
    again.feed(Disconnect(0, properties(session_expiry_interval=0)))
    broker._one_turn()
    storage.take_calls()
    broker.turn()
    assert storage.sealed == before + 1
    assert broker.session("staying").queued() > 2_000


FILTERS = [b"many/%d/+" % number for number in range(20_000)]


@pytest.mark.parametrize("version", [4, 5])
def test_a_subscribe_of_many_filters_takes_several_turns_and_has_one_answer(version: int) -> None:
    broker = Measured()
    client = broker.connect("a", version=version)
    broker.forget()
    client.send(subscribe(FILTERS), Ping(PINGREQ))
    assert client.taken.endswith(b"\xd0\0")
    client.taken = client.taken[:-2]
    client.expect(Suback(spec.SUBACK, 1, bytes(len(FILTERS))))
    assert broker.core.topics.count == len(FILTERS)
    assert len(broker.filters) > 4
    assert max(broker.filters) <= 2 * DELIVERIES_PER_TURN // FILTER_COST + FILTERS_LEAST
    broker.forget()
    client.send(Unsubscribe(2, [*FILTERS, b"none"]))
    codes = b"" if version == 4 else bytes(len(FILTERS)) + bytes([spec.NO_SUBSCRIPTION_EXISTED])
    [answer] = client.receive()
    assert isinstance(answer, Suback) and (version == 4 or bytes(answer.reason_codes) == codes)
    assert broker.core.topics.count == 0
    assert len(broker.filters) > 4
    assert max(broker.filters) <= 2 * DELIVERIES_PER_TURN // FILTER_COST + FILTERS_LEAST
    broker.check()


def test_many_filters_that_look_for_retained_messages_take_several_turns() -> None:
    broker = Measured()
    for number in range(1_000):
        broker.inject(f"kept/{number}", b"x", retain=True)
    client = broker.connect("a")
    broker.forget()
    client.send(subscribe([b"+/+/%d" % number for number in range(500)] + [b"kept/7"]))
    assert [message.payload for message in client.receive() if isinstance(message, Publish)] == [b"x"]
    assert sum(broker.retained) > 500 * 1_000
    assert max(broker.retained) <= 2 * DELIVERIES_PER_TURN * VISITS_SHARE + 2 * REPLAY_SLICE * VISITS_PER_MESSAGE
    broker.check()


def test_a_subscribe_of_many_turns_is_answered_once_all_of_it_is_stored() -> None:
    storage = DelayedStorage()
    broker = Measured(storage=storage)
    client = broker.connect("a", clean_start=False)
    storage.commit()
    broker.turn()
    client.receive()
    client.send(subscribe(FILTERS))
    first = broker.turn_state.ticket_stored
    storage.commit(storage.sealed - 1)
    broker.turn()
    assert client.taken == b"" and broker.turn_state.ticket_stored > first
    storage.commit()
    broker.turn()
    client.expect(Suback(spec.SUBACK, 1, bytes(len(FILTERS))))
    client.send(Unsubscribe(2, FILTERS))
    assert client.taken == b""
    storage.commit()
    broker.turn()
    client.expect(Suback(spec.UNSUBACK, 2, b""))
    broker.check()


def test_who_leaves_within_its_subscribe() -> None:
    broker = Measured()
    client = broker.connect("a")
    client.feed(subscribe(FILTERS))
    broker._one_turn()
    while not broker.core.topics.count:
        assert broker.core.work
        broker._one_turn()
    assert broker.core.topics.count < len(FILTERS)
    client.drop()
    broker.turn()
    assert broker.core.topics.count == 0 and not broker.core.work
    broker.check()


def decoded_in_turns(broker: Measured) -> list[int]:
    """How many filters each turn decodes, from the one that is about to be to the one before the last."""
    counts: list[int] = []
    before = 0
    broker._one_turn()
    while broker.core.work and isinstance(broker.core.work[0], Filters) and broker.core.work[0].body:
        packet = broker.core.work[0].packet
        count = len(packet.requests if isinstance(packet, Subscribe) else packet.topic_filters)
        counts.append(count - before)
        before = count
        broker._one_turn()
    return counts


@pytest.mark.parametrize("version", [3, 4, 5])
def test_a_packet_of_many_filters_is_decoded_over_several_turns(version: int) -> None:
    broker = Measured()
    client, other = broker.connect("a", version=version), broker.connect("other")
    for packet in (subscribe(FILTERS), Unsubscribe(2, list(FILTERS))):
        client.feed(packet, Ping(PINGREQ))
        other.feed(Ping(PINGREQ))
        counts = decoded_in_turns(broker)
        assert other.taken == b"\xd0\0", "others are served in the first of them"
        assert len(counts) > 4 and sum(counts) > len(FILTERS) // 2
        assert max(counts) <= 2 * (DELIVERIES_PER_TURN + FILTERS_LEAST)
        broker.turn()
        assert client.taken.endswith(b"\xd0\0"), "what follows it comes after it"
        client.taken = other.taken = b""
    assert broker.core.topics.count == 0
    broker.check()


@pytest.mark.parametrize("version", [4, 5])
def test_a_packet_that_is_malformed_at_its_end_changes_nothing(version: int) -> None:
    broker = Measured()
    client = broker.connect("a", version=version)
    client.subscribe("mine")
    for packet in (subscribe([*FILTERS, b"a#"]), Unsubscribe(2, [b"mine", *FILTERS, b"a#"])):
        broker.forget()
        client.feed(packet)
        client.feed(Publish(b"mine", b"too late", 0, False))
        broker.turn()
        assert len(broker.filters) > 4 and max(broker.filters) == 1, "its own, which has ended with it"
        assert client.close_reason == "malformed packet"
        if version == 5:
            [last] = client.receive()
            assert isinstance(last, Disconnect) and last.reason_code == spec.MALFORMED_PACKET
        assert client.payloads() == [] and not broker.core.work
        client = broker.connect("a", version=version)
        client.subscribe("mine")
    broker.check()


def test_many_filters_go_below_the_mount_point() -> None:
    broker = Measured()
    rules = Rules()
    rules.mount_point = b"site/"
    broker.core.rules = [rules]
    client = broker.connect("a")
    client.send(subscribe(FILTERS))
    session = broker.session("a")
    assert {one.topic_filter for one in session.subscriptions()} == {b"site/" + one for one in FILTERS}
    client.send(Unsubscribe(2, list(FILTERS)))
    assert session.subscription_count() == 0
    broker.check()


def test_who_leaves_while_its_filters_are_decoded() -> None:
    broker = Measured()
    client = broker.connect("a")
    client.feed(subscribe(FILTERS))
    broker._one_turn()
    assert broker.core.work and not broker.core.topics.count
    client.drop()
    broker.turn()
    assert broker.core.topics.count == 0 and not broker.core.work
    broker.check()


def test_retained_messages_for_many_at_once_come_in_turns() -> None:
    broker = Measured()
    for number in range(1_000):
        broker.inject(f"kept/{number % 50}/{number}", b"x", retain=True)
    clients = [broker.connect(f"c{number}") for number in range(40)]
    broker.forget()
    for client in clients:
        client.feed(subscribe([b"#", b"+/+/#"]))
    broker.turn()
    assert max(broker.sent) <= DELIVERIES_PER_TURN + (len(clients) + 2 * CROWDED_LEAST) * 256
    for client in clients:
        assert len([packet for packet in client.receive() if isinstance(packet, Publish)]) == 2_000
    broker.check()


def crowd_with_wills(broker: Measured, count: int) -> list[MemoryClient]:
    """Clients whose wills are each dear to match, since "watcher" has crossed filters for all of them."""
    broker.connect("watcher").subscribe(*[one.decode() for one in CROSSED])
    topic = b"/".join([b"a"] * LEVELS)
    wills = [Will(Publish(topic + b"/%d" % number, b"%d" % number, 0, False), 0) for number in range(count)]
    clients = [broker.connect(f"c{number}", will=will) for number, will in enumerate(wills)]
    broker.turn()
    broker.forget()
    return clients


def test_wills_of_a_crowd_take_several_turns() -> None:
    broker = Measured()
    clients = crowd_with_wills(broker, 40)
    for client in clients:
        client.connection.close(PEER_CLOSED)
    broker.turn()
    watcher = next(client for client in broker.clients.values() if client.connection.owner is broker.session("watcher"))
    assert sorted(int(payload) for payload in watcher.payloads()) == list(range(40))
    assert max(broker.visits) < ONE_TURN
    broker.check()


def test_no_will_of_a_crowd_is_forgotten_at_the_end() -> None:
    broker = Measured()
    clients = crowd_with_wills(broker, 40)
    watcher = next(client for client in broker.clients.values() if client.connection.owner is broker.session("watcher"))
    for client in clients:
        client.connection.close(PEER_CLOSED)
    broker._one_turn()
    assert broker.core.work
    broker.engine.shut_down()
    broker.turn()
    assert len([packet for packet in watcher.receive() if isinstance(packet, Publish)]) == 40


def test_many_that_ask_for_much_do_not_make_a_turn_longer_than_few() -> None:
    broker = Measured()
    watcher = broker.connect("watcher")
    watcher.subscribe(*[one.decode() for one in CROSSED])
    publishers = [broker.connect(f"p{number}") for number in range(30)]
    other = broker.connect("other")
    broker.forget()
    topic = b"/".join([b"a"] * LEVELS)
    for number, publisher in enumerate(publishers):
        publisher.feed(*[Publish(topic + b"/%d/%d" % (number, step), b"%d" % step, 0, False) for step in range(3)])
    other.feed(Ping(PINGREQ))
    broker._one_turn()
    assert other.taken == b"\xd0\0", "who asks for little does not wait in line"
    broker.turn()
    assert len(watcher.payloads()) == 90
    assert max(broker.visits) < ONE_TURN
    broker.check()


def test_what_stands_in_line_waits_behind_what_was_read_but_not_twice() -> None:
    broker = MemoryBroker()
    core = broker.core
    core.queue(Work(), None)
    core.deliveries_left = -1
    broker.engine.settle(broker.turn_state.now_ms)
    assert core.work and core.turn.again
    core.deliveries_left = -1
    broker.engine.settle(broker.turn_state.now_ms)
    assert not core.work


def test_what_waited_for_a_client_leaves_in_slices() -> None:
    limits = Limits()
    limits.queued_messages = limits.inflight_max = 4 * DELIVERIES_PER_TURN
    broker = Measured(limits=limits)
    broker.connect("s", clean_start=False).subscribe("t", qos=1)
    broker.session("s").connection.close(PEER_CLOSED)  # type: ignore[union-attr]
    broker.turn()
    count = 3 * DELIVERIES_PER_TURN
    for number in range(count):
        broker.inject("t", b"%d" % number, 1)
    broker.forget()
    client = broker.connect("s", clean_start=False)
    broker.turn()
    assert client.payloads() == [b"%d" % number for number in range(count)]
    assert max(broker.sent) <= DELIVERIES_PER_TURN + 3 * PUMP_LEAST
    client.connection.close(PEER_CLOSED)
    broker.turn()
    broker.forget()
    client = broker.connect("s", clean_start=False)  # now they are sent again
    broker.turn()
    assert client.payloads() == [b"%d" % number for number in range(count)]
    assert max(broker.sent) <= DELIVERIES_PER_TURN + 3 * PUMP_LEAST


def test_what_waited_for_a_session_that_ends_is_let_go_in_slices() -> None:
    broker = Measured()
    broker.connect("s", clean_start=False).subscribe("t", qos=1)
    broker.session("s").connection.close(PEER_CLOSED)  # type: ignore[union-attr]
    broker.turn()
    for _ in range(3 * DISCARDS_PER_TURN):
        broker.inject("t", b"small", 1)
    for _ in range(3):
        broker.inject("t", bytes(DISCARD_BYTES), 1)
    end_session(broker.core, broker.session("s"))
    left = []
    while broker.core.discarded:
        left.append(len(broker.core.discarded[0]))
        broker._one_turn()
    assert left == [387, 259, 131, 3, 2, 1, 0]
    broker.check()
