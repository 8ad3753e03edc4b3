"""Acknowledge after commit: what waits for a store that commits late, and what does not."""

from __future__ import annotations

import pytest
from harness import MemoryBroker, MemoryClient
from stand_ins import DelayedStorage

from swellmq.codec import spec
from swellmq.codec.packets import Ack, Connack, Disconnect, Ping, Publish, Suback, Will
from swellmq.codec.spec import PINGRESP, PUBACK, PUBCOMP, PUBREC, PUBREL
from swellmq.connection import IN_MEMORY, ON_DISK, WRITTEN
from swellmq.limits import Limits

KEPT = {"clean_start": False, "session_expiry_interval": 600}


def durable(limits: Limits | None = None) -> tuple[MemoryBroker, DelayedStorage]:
    storage = DelayedStorage()
    return MemoryBroker(limits, storage=storage), storage


def stored(broker: MemoryBroker, storage: DelayedStorage) -> None:
    storage.commit()
    broker.turn()


def kept(broker: MemoryBroker, storage: DelayedStorage, client_id: str = "k", **options: object) -> MemoryClient:
    """A client with a kept session, connected and stored."""
    client = broker.connect(client_id, version=5, **{**KEPT, **options})
    stored(broker, storage)
    client.receive()
    storage.take_calls()
    return client


class TestConnack:
    def test_of_a_kept_session_waits(self) -> None:
        broker, storage = durable()
        client = broker.connect("k", version=5, **KEPT)
        client.expect()
        client.ping()
        client.expect()  # [MQTT-3.2.0-1]
        stored(broker, storage)
        packets = client.receive()
        assert [type(packet) for packet in packets] == [Connack, Ping]
        assert storage.take_calls() == [("session_saved", "k")]
        client.ping()
        client.expect(Ping(PINGRESP))

    def test_of_another_does_not(self) -> None:
        broker, storage = durable()
        assert broker.connect("c", version=5).connack is not None
        assert storage.take_calls() == []
        assert storage.sealed == 0

    def test_everything_waits_behind_it_in_order(self) -> None:
        broker, storage = durable()
        client = broker.connect("k", version=5, topic_alias_maximum=4, **KEPT)
        client.subscribe("t/#", qos=1)  # of a later batch than the CONNACK
        for payload in (b"1", b"2"):
            broker.inject("t/opic", payload)
        storage.commit(1)
        broker.turn()
        broker.inject("t/opic", b"3")
        broker.inject("t/opic", b"4", 1)
        packets = client.receive()
        assert isinstance(packets[0], Connack)
        publishes = [packet for packet in packets[1:] if isinstance(packet, Publish)]
        assert [publish.payload for publish in publishes] == [b"1", b"2", b"3", b"4"]
        assert [publish.topic_name for publish in publishes] == [b"t/opic", b"", b"", b""]
        assert len(packets) == 5
        stored(broker, storage)
        assert isinstance(client.receive()[0], Suback)
        broker.check()

    def test_a_connection_that_ends_before_it_gets_nothing(self) -> None:
        broker, storage = durable()
        client = broker.connect("k", version=5, **KEPT)
        client.send(b"\x00\0")
        assert client.closed
        stored(broker, storage)
        client.expect()
        assert broker.turn_state.held == []

    def test_a_takeover_while_it_is_held(self) -> None:
        broker, storage = durable()
        first = broker.connect("k", version=5, **KEPT)
        second = broker.connect("k", version=5, **KEPT)
        first.expect()
        assert first.close_reason == "session taken over"
        stored(broker, storage)
        (packet,) = second.receive()
        assert isinstance(packet, Connack) and packet.session_present

    def test_what_waits_behind_it_counts_against_the_outbox(self) -> None:
        limits = Limits()
        limits.outbox_bytes = 1_000
        broker, storage = durable(limits)
        client = kept(broker, storage)
        client.subscribe("t", qos=1)
        client.drop()
        for number in range(50):
            broker.inject("t", b"%0100d" % number, 1)
        client = broker.connect("k", version=5, **KEPT)
        client.expect()
        assert 1_000 < client.connection.outbox_bytes < 1_200
        assert not broker.turn_state.again  # it waits for the store, not in circles
        stored(broker, storage)
        publishes = [packet for packet in client.receive() if isinstance(packet, Publish)]
        assert [int(publish.payload) for publish in publishes] == list(range(50))
        assert client.connection.outbox_bytes == 0


class TestAcknowledgements:
    @pytest.mark.parametrize(("qos", "answer"), [(1, PUBACK), (2, PUBREC)])
    def test_of_a_message_for_a_kept_session_wait(self, qos: int, answer: int) -> None:
        broker, storage = durable()
        client = kept(broker, storage)
        client.subscribe("t", qos=2)
        stored(broker, storage)
        client.receive()
        client.drop()
        stored(broker, storage)
        publisher = broker.connect("p", version=4)
        publisher.publish("t", b"x", qos=qos, identifier=5)
        publisher.expect()
        storage.take_calls()
        stored(broker, storage)
        publisher.expect(Ack(answer, 5))

    def test_of_a_message_that_nobody_keeps_do_not(self) -> None:
        broker, storage = durable()
        kept(broker, storage)
        broker.connect("s", version=4).subscribe("t", qos=1)
        publisher = broker.connect("p", version=4)
        sealed = storage.sealed
        publisher.publish("t", b"x", qos=1, identifier=5)
        publisher.expect(Ack(PUBACK, 5))
        assert storage.sealed == sealed

    def test_of_a_retained_message_wait(self) -> None:
        broker, storage = durable()
        publisher = broker.connect("p", version=4)
        for payload, call in ((b"x", "retained_saved"), (b"", "retained_removed")):
            publisher.publish("t", payload, qos=1, retain=True, identifier=5)
            publisher.expect()
            stored(broker, storage)
            publisher.expect(Ack(PUBACK, 5))
            assert storage.take_calls() == [(call, b"t")]

    def test_qos_0_and_clients_that_are_not_concerned_never_wait(self) -> None:
        broker, storage = durable()
        client = kept(broker, storage)
        client.subscribe("t", qos=1)
        stored(broker, storage)
        client.receive()
        publisher = broker.connect("p", version=4)
        publisher.publish("t", b"kept", qos=1, identifier=1)
        publisher.publish("t", b"0")
        other = broker.connect("o", version=4)
        other.ping()
        publisher.expect()
        assert client.payloads() == [b"kept", b"0"]  # what a client is given need not be stored first
        other.expect(Ping(PINGRESP))

    def test_they_keep_their_order(self) -> None:  # [MQTT-4.6.0-2]
        broker, storage = durable()
        client = kept(broker, storage)
        client.subscribe("kept", qos=1)
        publisher = broker.connect("p", version=4)
        publisher.publish("kept", qos=1, identifier=1)
        publisher.publish("other", qos=1, identifier=2)
        publisher.publish("kept", qos=1, identifier=3)
        publisher.publish("other", qos=1, identifier=4)
        publisher.expect()
        tickets = storage.sealed
        storage.commit(tickets - 1)
        broker.turn()
        publisher.expect(Ack(PUBACK, 1), Ack(PUBACK, 2))
        stored(broker, storage)
        publisher.expect(Ack(PUBACK, 3), Ack(PUBACK, 4))
        assert publisher.connection.buffers is None
        publisher.publish("other", qos=1, identifier=5)
        publisher.expect(Ack(PUBACK, 5))

    def test_subscribe_and_unsubscribe(self) -> None:
        broker, storage = durable()
        client = kept(broker, storage)
        assert client.subscribe("a") is None
        assert client.unsubscribe("a") is None
        stored(broker, storage)
        client.expect(Suback(spec.SUBACK, 1, b"\0"), Suback(spec.UNSUBACK, 2, b"\0"))
        assert storage.take_calls() == [("subscription_saved", b"a"), ("subscription_removed", b"a")]

    def test_retained_messages_come_after_the_suback_that_does_not_wait(self) -> None:
        broker, storage = durable()
        broker.inject("t", b"x", retain=True)
        client = broker.connect("s", version=4)
        client.subscribe("t")
        assert client.payloads() == [b"x"]
        assert storage.stored == 0


class TestDurability:
    """What an acknowledgement waits for is a matter of the listener that its client came by."""

    def publish(self, durability: int) -> tuple[MemoryBroker, DelayedStorage, MemoryClient]:
        broker, storage = durable()
        publisher = broker.connect("p", version=4)
        publisher.connection.durability = durability
        publisher.publish("t", b"x", qos=1, retain=True, identifier=5)
        return broker, storage, publisher

    def test_memory_waits_for_nothing(self) -> None:
        _, storage, publisher = self.publish(IN_MEMORY)
        publisher.expect(Ack(PUBACK, 5))
        assert storage.sealed == 1  # it is stored all the same

    def test_memory_does_not_hold_a_connack_back(self) -> None:
        broker, storage = durable()
        client = broker.open(5)
        client.connection.durability = IN_MEMORY
        client.connect("k", **KEPT)
        assert client.connack is not None and storage.stored == 0
        client.ping()
        client.expect(Ping(PINGRESP))

    def test_written_waits_for_the_system(self) -> None:
        broker, storage, publisher = self.publish(WRITTEN)
        publisher.expect()
        storage.written = storage.sealed
        broker.turn()
        publisher.expect(Ack(PUBACK, 5))

    def test_disk_does_not_go_by_what_is_written(self) -> None:
        broker, storage, publisher = self.publish(ON_DISK)
        storage.written = storage.sealed
        broker.turn()
        publisher.expect()
        stored(broker, storage)
        publisher.expect(Ack(PUBACK, 5))


class TestQos2:
    def test_from_a_kept_client(self) -> None:
        broker, storage = durable()
        client = kept(broker, storage)
        client.publish("t", b"x", qos=2, identifier=5)
        client.expect()
        stored(broker, storage)
        client.expect(Ack(PUBREC, 5))
        client.ack(PUBREL, 5)
        client.expect()
        stored(broker, storage)
        client.expect(Ack(PUBCOMP, 5))
        assert storage.take_calls() == [("received_saved", 5), ("received_removed", 5)]

    def test_a_repetition_is_not_answered_before_it_is_stored(self) -> None:
        broker, storage = durable()
        client = kept(broker, storage)
        client.publish("t", b"x", qos=2, identifier=5)
        client.publish("t", b"x", qos=2, identifier=5, dup=True)
        client.expect()
        stored(broker, storage)
        client.expect(Ack(PUBREC, 5), Ack(PUBREC, 5))

    def test_to_a_kept_client(self) -> None:
        broker, storage = durable()
        client = kept(broker, storage)
        client.subscribe("t", qos=2)
        stored(broker, storage)
        client.receive()
        storage.take_calls()
        broker.inject("t", b"x", 2)
        client.expect()  # its packet identifier is not stored
        stored(broker, storage)
        assert client.payloads() == [b"x"]
        client.ack(PUBREC, 1)
        client.expect()
        stored(broker, storage)
        client.expect(Ack(PUBREL, 1))
        client.ack(PUBCOMP, 1)
        assert storage.take_calls() == [
            ("delivery_saved", b"x", 1),
            ("delivery_saved", b"x", 2),
            ("delivery_removed", b"x"),
        ]


class TestSessions:
    def test_one_that_is_kept_no_longer_is_removed_at_disconnect(self) -> None:
        broker, storage = durable()
        client = kept(broker, storage)
        client.disconnect(session_expiry_interval=0)
        assert storage.take_calls() == [("session_removed", "k")]

    def test_one_that_is_kept_no_longer_is_removed_at_connect(self) -> None:
        broker, storage = durable()
        kept(broker, storage).drop()
        storage.take_calls()
        client = broker.connect("k", version=5, clean_start=False)
        client.expect()  # nothing is answered before the session is gone from the store
        stored(broker, storage)
        assert isinstance(client.receive()[0], Connack)
        assert storage.take_calls() == [("session_removed", "k")]
        client.drop()
        assert storage.take_calls() == []

    def test_one_that_ends_with_a_will_is_not_saved_again(self) -> None:
        broker, storage = durable()
        will = Will(Publish(b"will", b"x", 0, False), 50)
        kept(broker, storage, will=will, session_expiry_interval=10).drop()
        storage.take_calls()
        broker.advance(11)
        assert storage.take_calls() == [("session_removed", "k")]

    def test_a_will_that_was_sent_is_saved(self) -> None:
        broker, storage = durable()
        will = Will(Publish(b"will", b"x", 0, False), 5)
        kept(broker, storage, will=will).drop()
        storage.take_calls()
        broker.advance(6)
        assert storage.take_calls() == [("session_saved", "k")]

    def test_queued_and_dropped(self) -> None:
        broker, storage = durable()
        client = kept(broker, storage)
        client.subscribe("t", qos=1)
        client.drop()
        storage.take_calls()
        broker.connect("p", version=5).publish("t", b"x", qos=1, expiry=10)
        broker.advance(20)
        client = broker.connect("k", version=5, **KEPT)
        assert storage.take_calls() == [("delivery_saved", b"x", 0), ("session_saved", "k"), ("delivery_removed", b"x")]

    def test_an_expired_retained_message_is_removed(self) -> None:
        broker, storage = durable()
        broker.connect("p", version=5).publish("t", b"x", retain=True, expiry=10)
        broker.advance(11)
        storage.take_calls()
        broker.connect("s").subscribe("t")
        assert storage.take_calls() == [("retained_removed", b"t")]


class TestNothingIsStuck:
    def test_what_changes_after_the_seal_gets_a_turn_of_its_own(self) -> None:
        """A stalled client drains while output is flushed: what it is sent then must be sealed without waiting."""
        limits = Limits()
        limits.outbox_bytes = 100
        broker, storage = durable(limits)
        client = kept(broker, storage)
        client.subscribe("t", qos=2)
        stored(broker, storage)
        client.receive()
        client.stall()
        broker.inject("t", b"x" * 200)
        broker.inject("t", b"waits", 2)
        client.reads = True
        broker.turn_state.again = False
        client._drain()  # outside of the phases, as it happens in the flush
        assert broker.turn_state.again
        broker.turn()
        stored(broker, storage)
        assert client.payloads() == [b"x" * 200, b"waits"]

    def test_a_goodbye_while_acknowledgements_are_held(self) -> None:
        broker, storage = durable()
        client = kept(broker, storage)
        client.publish("t", qos=2)
        client.disconnect()
        stored(broker, storage)
        client.expect()
        assert broker.turn_state.held == []

    def test_a_fault_while_acknowledgements_are_held(self) -> None:
        broker, storage = durable()
        client = kept(broker, storage)
        client.publish("t", qos=2)
        client.send(b"\x00\0")
        (packet,) = client.receive()
        assert isinstance(packet, Disconnect)
        stored(broker, storage)
        broker.check()

    def test_no_change_no_batch(self) -> None:
        broker, storage = durable()
        client = kept(broker, storage)
        sealed = storage.sealed
        client.ping()
        client.ack(PUBACK, 77)
        client.ack(PUBREL, 77)
        assert len(client.receive()) == 2
        assert storage.sealed == sealed
