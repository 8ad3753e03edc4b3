"""Retained messages, wills, expiry, topic aliases, Maximum Packet Size, $SYS."""

from __future__ import annotations

import pytest
from harness import MemoryBroker, MemoryClient

from swellmq.broker.publish import REPLAY_SLICE
from swellmq.broker.sys_topics import SysTopics
from swellmq.codec import spec
from swellmq.codec.packets import Ack, Disconnect, Publish, Suback, Will
from swellmq.codec.spec import PUBACK, PUBREC
from swellmq.limits import Limits

VERSIONS = (3, 4, 5)
KEPT = {"clean_start": False, "session_expiry_interval": 600}


def disconnect_reason(client: MemoryClient) -> int:
    packet = client.receive()[-1]
    assert isinstance(packet, Disconnect) and client.closed
    return int(packet.reason_code)


class TestRetained:
    @pytest.mark.parametrize("version", VERSIONS)
    # [MQTT-2.2.1-6] [MQTT-3.8.4-1] [MQTT-3.8.4-2] [MQTT311-3.3.1-8]
    def test_set_replace_clear(self, version: int) -> None:  # [MQTT-3.3.1-5] [MQTT-3.3.1-6] [MQTT-3.3.1-7]
        broker = MemoryBroker()
        publisher = broker.connect("p", version=version)
        publisher.publish("t", b"1", retain=True)
        publisher.publish("t", b"2", retain=True)
        client = broker.connect("s", version=version)
        client.send(b"\x82\x06\0\x01\0\x01t\0" if version != 5 else b"\x82\x07\0\x01\0\0\x01t\0")
        client.expect(Suback(spec.SUBACK, 1, b"\0"), Publish(b"t", b"2", 0, True))
        publisher.publish("t", b"", retain=True)
        assert client.publishes()[0].retain is False  # [MQTT-3.3.1-12]
        client.subscribe("t")
        client.expect()
        assert (broker.core.retained.count, broker.core.retained.bytes) == (0, 0)

    def test_an_ordinary_message_changes_nothing(self) -> None:  # [MQTT-3.3.1-8]
        broker = MemoryBroker()
        broker.inject("t", b"1", retain=True)
        broker.inject("t", b"")
        broker.inject("t", b"2")
        client = broker.connect("s")
        client.subscribe("t")
        assert client.payloads() == [b"1"]

    @pytest.mark.parametrize(("handling", "first", "second"), [(0, 1, 1), (1, 1, 0), (2, 0, 0)])
    def test_retain_handling(self, handling: int, first: int, second: int) -> None:
        broker = MemoryBroker()  # [MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-11]
        broker.inject("t", b"x", retain=True)
        client = broker.connect("s", version=5)
        for expected in (first, second):
            client.subscribe("t", retain_handling=handling)
            assert len(client.publishes()) == expected

    def test_shared_subscriptions_get_none(self) -> None:
        broker = MemoryBroker()
        broker.inject("t", b"x", retain=True)
        client = broker.connect("s", version=5)
        assert client.subscribe("$share/g/t") == [0]
        client.expect()

    def test_at_the_lower_qos_with_identifiers(self) -> None:
        broker = MemoryBroker()
        broker.inject("t", b"x", 2, retain=True)
        client = broker.connect("s", version=5)
        client.subscribe("t", qos=1, identifier=9)
        client.expect(b"\x33\x09\0\x01t\0\x01\x02\x0b\x09x")

    def test_many_are_sent_in_slices_as_the_client_takes_them(self) -> None:
        limits = Limits()
        limits.outbox_bytes = 10_000
        broker = MemoryBroker(limits)
        count = REPLAY_SLICE * 5
        for number in range(count):
            broker.inject(f"t/{number}", b"x" * 90, retain=True)
        client = broker.connect("s")
        client.stall()
        client.subscribe("t/+")
        assert client.connection.outbox_bytes < 50_000
        client.read()
        packets = client.receive()
        assert isinstance(packets[0], Suback)
        assert len({publish.topic_name for publish in packets[1:] if isinstance(publish, Publish)}) == count
        assert broker.session("s").replays is None

    def test_a_socket_that_takes_all_gets_all(self) -> None:
        limits = Limits()
        limits.outbox_bytes = 1_000
        broker = MemoryBroker(limits)
        for number in range(REPLAY_SLICE * 2):
            broker.inject(f"t/{number}", b"x" * 90, retain=True)
        client = broker.connect("s")
        client.subscribe("#")
        assert len(client.publishes()) == REPLAY_SLICE * 2

    def test_at_qos_1_they_go_on_with_the_acknowledgements(self) -> None:
        limits = Limits()
        limits.inflight_max = 10
        broker = MemoryBroker(limits)
        for number in range(1000):
            broker.inject(f"t/{number}", b"x", 1, retain=True)
        client = broker.connect("s")
        client.subscribe("#", qos=1)
        got = set()
        while publishes := client.publishes():
            assert len(publishes) <= 10
            for publish in publishes:
                got.add(publish.topic_name)
                client.feed(Ack(PUBACK, publish.packet_identifier))
            broker.turn()
        assert len(got) == 1000
        assert broker.stats.dropped_queue_full == 0

    def test_a_filter_that_matches_little_of_much(self) -> None:
        broker = MemoryBroker()
        for number in range(REPLAY_SLICE * 40):
            broker.core.retained.set(Publish(b"a/%d/b" % number, b"x", 0, True))
        broker.core.retained.set(Publish(b"a/0/c", b"found", 0, True))
        client = broker.connect("s")
        client.subscribe("a/+/c")
        assert client.payloads() == [b"found"]

    def test_unsubscribing_ends_the_replay(self) -> None:  # [MQTT-3.10.4-2]
        limits = Limits()
        limits.outbox_bytes = 1_000
        broker = MemoryBroker(limits)
        for number in range(REPLAY_SLICE * 3):
            broker.inject(f"t/{number}", b"x" * 90, retain=True)
        client = broker.connect("s")
        client.stall()
        client.subscribe("t/#")
        client.send(b"\xa2\x07\0\x09\0\x03t/#")
        client.read()
        assert len([p for p in client.receive() if isinstance(p, Publish)]) < REPLAY_SLICE
        assert broker.session("s").replays is None

    def test_subscribing_again_begins_it_anew(self) -> None:
        limits = Limits()
        limits.outbox_bytes = 1_000
        broker = MemoryBroker(limits)
        for number in range(REPLAY_SLICE * 2):
            broker.inject(f"t/{number}", b"x" * 90, retain=True)
        client = broker.connect("s")
        client.stall()
        for _ in range(4):
            client.subscribe("t/#")
        replays = broker.session("s").replays
        assert replays is not None and len(replays) == 1

    def test_the_store_is_bounded(self) -> None:
        limits = Limits()
        limits.retained_messages = 2
        limits.retained_bytes = 1000
        broker = MemoryBroker(limits)
        for name in ("a", "b", "c", "a"):
            broker.inject(name, b"x", retain=True)
        assert (broker.core.retained.count, broker.stats.dropped_retained_full) == (2, 1)
        limits.retained_messages = 10
        broker.inject("d", b"x" * 999, retain=True)
        assert (broker.core.retained.count, broker.stats.dropped_retained_full) == (2, 2)

    def test_where_retain_is_not_available(self) -> None:  # [MQTT-3.2.2-14]
        limits = Limits()
        limits.retain_available = False
        client = MemoryBroker(limits).connect("p", version=5)
        client.publish("t", b"x", retain=True)
        assert disconnect_reason(client) == spec.RETAIN_NOT_SUPPORTED

    def test_a_retained_message_keeps_no_frames(self) -> None:
        broker = MemoryBroker()
        broker.connect("s").subscribe("t")
        broker.inject("t", b"x", retain=True)
        kept = broker.core.retained.get(b"t")
        assert kept is not None and kept.frame_3 is None and kept.frame_5 is None


class TestWill:
    def watched(self) -> tuple[MemoryBroker, MemoryClient]:
        broker = MemoryBroker()
        watcher = broker.connect("w", version=5)
        watcher.subscribe("will", qos=2)
        return broker, watcher

    def will(self, delay: int = 0, qos: int = 0, retain: bool = False) -> Will:
        return Will(Publish(b"will", b"gone", qos, retain), delay)

    @pytest.mark.parametrize("version", VERSIONS)
    @pytest.mark.parametrize("qos", [0, 1, 2])
    def test_a_lost_client(self, version: int, qos: int) -> None:  # [MQTT-3.1.2-8] [MQTT-3.1.2-14] [MQTT-3.1.2-7]
        broker, watcher = self.watched()
        broker.connect("a", version=version, will=self.will(qos=qos)).drop()
        (publish,) = watcher.publishes()
        assert (publish.payload, publish.qos, publish.retain) == (b"gone", qos, False)

    @pytest.mark.parametrize("version", VERSIONS)
    def test_a_goodbye_removes_it(self, version: int) -> None:  # [MQTT-3.1.2-10] [MQTT-3.14.4-3]
        broker, watcher = self.watched()
        broker.connect("a", version=version, will=self.will()).disconnect()
        watcher.expect()

    @pytest.mark.parametrize("reason_code", [4, 0x80])
    def test_a_goodbye_that_asks_for_it(self, reason_code: int) -> None:
        broker, watcher = self.watched()
        broker.connect("a", version=5, will=self.will()).disconnect(reason_code)
        assert watcher.payloads() == [b"gone"]

    def test_every_other_end(self) -> None:
        broker, watcher = self.watched()
        broker.connect("a", version=4, will=self.will(), keep_alive=1)
        broker.advance(2)
        assert watcher.payloads() == [b"gone"]
        broker.connect("a", version=4, will=self.will()).send(b"\xf0\0")
        assert watcher.payloads() == [b"gone"]
        broker.connect("a", version=4, will=self.will())
        broker.connect("a", version=4)
        assert watcher.payloads() == [b"gone"]

    def test_it_may_be_retained(self) -> None:  # [MQTT-3.1.2-15] [MQTT311-3.1.2.7]
        broker, _ = self.watched()
        broker.connect("a", will=self.will(retain=True)).drop()
        late = broker.connect("late")
        late.subscribe("will")
        assert late.payloads() == [b"gone"]

    def test_delayed(self) -> None:  # [MQTT-3.1.3-9]
        broker, watcher = self.watched()
        broker.connect("a", version=5, will=self.will(10), session_expiry_interval=60).drop()
        broker.advance(9.9)
        watcher.expect()
        broker.advance(0.2)
        assert watcher.payloads() == [b"gone"]
        broker.advance(60)
        watcher.expect()

    def test_delayed_beyond_the_end_of_the_session(self) -> None:
        broker, watcher = self.watched()
        broker.connect("a", version=5, will=self.will(100), session_expiry_interval=10).drop()
        broker.advance(9.9)
        watcher.expect()
        broker.advance(0.2)
        assert watcher.payloads() == [b"gone"]
        assert broker.stats.sessions_expired == 1
        broker.connect("b", version=5, will=self.will(100)).drop()  # its session ends at once
        assert watcher.payloads() == [b"gone"]

    def test_back_in_time(self) -> None:
        broker, watcher = self.watched()
        broker.connect("a", version=5, will=self.will(10), session_expiry_interval=60).drop()
        broker.advance(5)
        broker.connect("a", version=5, clean_start=False, session_expiry_interval=60)
        broker.advance(60)
        watcher.expect()

    def test_back_too_late_though_nobody_has_looked_yet(self) -> None:  # [MQTT-3.1.2-8] [MQTT-3.1.3-9]
        broker, watcher = self.watched()
        broker.connect("a", version=5, will=self.will(10), session_expiry_interval=60).drop()
        broker.turn_state.now_ms += 10_001  # and no turn in between
        connack = broker.connect("a", version=5, clean_start=False, session_expiry_interval=60).connack
        assert connack is not None and connack.session_present
        assert watcher.payloads() == [b"gone"]

    def test_an_end_that_nobody_has_looked_at_yet(self) -> None:  # [MQTT-4.1.0-2]
        broker, _ = self.watched()
        broker.connect("a", version=5, session_expiry_interval=60).drop()
        broker.turn_state.now_ms += 60_001
        connack = broker.connect("a", version=5, clean_start=False, session_expiry_interval=60).connack
        assert connack is not None and not connack.session_present

    def test_back_in_time_with_a_clean_start(self) -> None:
        broker, watcher = self.watched()
        broker.connect("a", version=5, will=self.will(10), session_expiry_interval=60).drop()
        broker.connect("a", version=5, clean_start=True)
        assert watcher.payloads() == [b"gone"]

    def test_shutdown(self) -> None:
        broker, watcher = self.watched()
        broker.connect("a", version=4, will=self.will())
        broker.connect("b", version=5, will=self.will(100), session_expiry_interval=60).drop()
        broker.engine.shut_down()
        broker.turn()
        packets = watcher.receive()
        assert [p.payload for p in packets if isinstance(p, Publish)] == [b"gone", b"gone"]
        assert isinstance(packets[-1], Disconnect) and packets[-1].reason_code == spec.SERVER_SHUTTING_DOWN
        assert broker.clients == {}
        assert watcher.close_reason == "server shutting down"

    def test_its_expiry_counts_from_when_it_is_published(self) -> None:
        broker = MemoryBroker()
        watcher = broker.connect("w", version=5, **KEPT)
        watcher.subscribe("will", qos=1)
        watcher.drop()
        will = self.will(5, 1)
        will.publish.message_expiry_interval = 30
        broker.connect("a", version=5, will=will, session_expiry_interval=60).drop()
        broker.advance(25)
        (publish,) = broker.connect("w", version=5, **KEPT).publishes()
        assert publish.message_expiry_interval == 10


class TestMessageExpiry:
    def test_the_remaining_time_is_sent(self) -> None:  # [MQTT-3.3.2-6]
        broker = MemoryBroker()
        client = broker.connect("s", version=5, **KEPT)
        client.subscribe("t", qos=1)
        client.drop()
        broker.connect("p", version=5).publish("t", b"x", qos=1, expiry=60)
        broker.advance(20)
        assert broker.connect("s", version=5, **KEPT).publishes()[0].message_expiry_interval == 40

    def test_what_has_expired_is_dropped(self) -> None:  # [MQTT-3.3.2-5]
        broker = MemoryBroker()
        client = broker.connect("s", version=5, **KEPT)
        client.subscribe("t", qos=1)
        client.drop()
        publisher = broker.connect("p", version=5)
        publisher.publish("t", b"old", qos=1, expiry=60)
        publisher.publish("t", b"new", qos=1)
        broker.advance(60)
        assert broker.connect("s", version=5, **KEPT).payloads() == [b"new"]
        assert broker.stats.dropped_expired == 1

    def test_retained(self) -> None:
        broker = MemoryBroker()
        broker.connect("p", version=5).publish("t", b"x", retain=True, expiry=60)
        broker.advance(59)
        client = broker.connect("s", version=5)
        client.subscribe("t")
        assert client.publishes()[0].message_expiry_interval == 1
        broker.advance(1)
        client.subscribe("t")
        client.expect()
        assert broker.core.retained.count == 0

    def test_to_3(self) -> None:
        broker = MemoryBroker()
        client = broker.connect("s", version=4)
        client.subscribe("t")
        broker.connect("p", version=5).publish("t", b"x", expiry=60)
        client.expect(b"\x30\x04\0\x01tx")


class TestSessionExpiry:
    @pytest.mark.parametrize("version", [3, 4])
    def test_3_keeps_for_as_long_as_the_settings_say(self, version: int) -> None:  # [MQTT311-3.1.2-4]
        limits = Limits()
        limits.session_expiry_3_s = 100
        broker = MemoryBroker(limits)
        broker.connect("a", version=version, clean_start=False).drop()
        broker.advance(99)
        assert len(broker.core.sessions) == 1
        broker.advance(1.2)
        assert len(broker.core.sessions) == 0
        assert broker.stats.sessions_expired == 1

    def test_5(self) -> None:  # [MQTT-3.1.2-23] [MQTT-4.1.0-2]
        broker = MemoryBroker()
        broker.connect("a", version=5, session_expiry_interval=10).drop()
        broker.connect("b", version=5, session_expiry_interval=0xFFFFFFFF).drop()
        broker.advance(10.2)
        assert [session.client_id for session in broker.core.sessions.values()] == ["b"]
        broker.advance(10_000_000)
        assert len(broker.core.sessions) == 1

    def test_coming_back_stops_the_clock(self) -> None:  # [MQTT-4.1.0-1]
        broker = MemoryBroker()
        broker.connect("a", version=5, session_expiry_interval=10).drop()
        broker.advance(9)
        client = broker.connect("a", version=5, clean_start=False, session_expiry_interval=10)
        broker.advance(60)
        client.drop()
        broker.advance(9)
        assert len(broker.core.sessions) == 1

    def test_changed_at_disconnect(self) -> None:
        broker = MemoryBroker()
        broker.connect("a", version=5, session_expiry_interval=10).disconnect(session_expiry_interval=100)
        broker.advance(50)
        assert len(broker.core.sessions) == 1
        broker.connect("a", version=5, clean_start=False, session_expiry_interval=10).disconnect(
            session_expiry_interval=0
        )
        assert len(broker.core.sessions) == 0

    def test_it_can_not_be_brought_to_life_at_disconnect(self) -> None:
        broker = MemoryBroker()
        client = broker.connect("a", version=5)
        client.disconnect(session_expiry_interval=100)
        assert disconnect_reason(client) == spec.PROTOCOL_ERROR
        assert len(broker.core.sessions) == 0


class TestTopicAliases:
    def test_from_the_client(self) -> None:
        broker = MemoryBroker()
        subscriber = broker.connect("s")
        subscriber.subscribe("#")
        client = broker.connect("p", version=5)
        client.publish("topic/one", b"1", alias=1)
        client.publish("topic/two", b"2", alias=2)
        client.publish("", b"3", alias=1)
        client.publish("topic/new", b"4", alias=1)
        client.publish("", b"5", qos=1, alias=1)
        assert [(p.topic_name, p.payload) for p in subscriber.publishes()] == [
            (b"topic/one", b"1"),
            (b"topic/two", b"2"),
            (b"topic/one", b"3"),
            (b"topic/new", b"4"),
            (b"topic/new", b"5"),
        ]

    @pytest.mark.parametrize(("alias", "reason_code"), [(9, spec.PROTOCOL_ERROR), (11, spec.TOPIC_ALIAS_INVALID)])
    def test_unknown_or_too_high(self, alias: int, reason_code: int) -> None:  # [MQTT-3.3.2-9]
        limits = Limits()
        limits.topic_alias_maximum = 10
        client = MemoryBroker(limits).connect("p", version=5)
        client.publish("", b"x", alias=alias)
        assert disconnect_reason(client) == reason_code

    def test_they_end_with_the_connection(self) -> None:  # [MQTT-3.3.2-7]
        broker = MemoryBroker()
        broker.connect("p", version=5, **KEPT).publish("topic", b"x", alias=1)
        client = broker.connect("p", version=5, **KEPT)
        client.publish("", b"x", alias=1)
        assert disconnect_reason(client) == spec.PROTOCOL_ERROR

    def test_to_the_client(self) -> None:  # [MQTT-3.1.2-26] [MQTT-3.1.2-27] [MQTT-3.3.2-11]
        limits = Limits()
        limits.topic_aliases_out = 5
        broker = MemoryBroker(limits)
        client = broker.connect("s", version=5, topic_alias_maximum=2)
        client.subscribe("#", qos=1)
        for name in ("topic/1", "topic/1", "topic/2", "topic/3", "topic/2", "t"):
            broker.inject(name, b"", 1)
        assert [(p.topic_name, p.topic_alias) for p in client.publishes()] == [
            (b"topic/1", 1),
            (b"", 1),
            (b"topic/2", 2),
            (b"topic/3", 0),
            (b"", 2),
            (b"t", 0),
        ]

    def test_an_alias_whose_packet_was_too_large_is_not_set(self) -> None:
        broker = MemoryBroker()
        client = broker.connect("s", version=5, topic_alias_maximum=2, maximum_packet_size=100)
        client.subscribe("#")
        broker.inject("topic/1", b"x" * 200)
        broker.inject("topic/1", b"x")
        broker.inject("topic/1", b"y")
        assert [(p.topic_name, p.payload) for p in client.publishes()] == [(b"topic/1", b"x"), (b"", b"y")]

    def test_a_repetition_has_its_topic(self) -> None:
        broker = MemoryBroker()
        client = broker.connect("s", version=5, topic_alias_maximum=2, **KEPT)
        client.subscribe("#", qos=1)
        broker.inject("topic/1", b"x", 1)
        broker.inject("topic/1", b"y", 1)
        client.drop()
        client = broker.connect("s", version=5, topic_alias_maximum=2, **KEPT)
        assert [p.topic_name for p in client.publishes()] == [b"topic/1", b"topic/1"]


class TestMaximumPacketSize:
    @pytest.mark.parametrize("qos", [0, 1, 2])
    def test_of_the_client(self, qos: int) -> None:  # [MQTT-3.1.2-24] [MQTT-3.1.2-25]
        broker = MemoryBroker()
        client = broker.connect("s", version=5, maximum_packet_size=50, receive_maximum=1)
        client.subscribe("t", qos=qos)
        broker.inject("t", b"x" * 100, qos)
        broker.inject("t", b"y", qos)
        assert client.payloads() == [b"y"]
        assert broker.stats.dropped_too_large == 1
        broker.check()

    def test_of_a_client_that_comes_back_with_a_smaller_one(self) -> None:
        broker = MemoryBroker()
        client = broker.connect("s", version=5, **KEPT)
        client.subscribe("t", qos=1)
        broker.inject("t", b"x" * 100, 1)
        broker.inject("t", b"y", 1)
        client.drop()
        client = broker.connect("s", version=5, maximum_packet_size=50, **KEPT)
        assert client.payloads() == [b"y"]
        broker.check()

    @pytest.mark.parametrize("qos", [0, 1])
    @pytest.mark.parametrize("version", [4, 5])
    def test_of_the_broker(self, version: int, qos: int) -> None:  # [MQTT-3.2.2-15]
        limits = Limits()
        limits.packet_bytes = 100
        broker = MemoryBroker(limits)
        broker.connect("s").subscribe("t")
        client = broker.connect("p", version=version)
        for _ in range(2):
            client.publish("t", b"x", qos=qos)
        client.receive()
        client.send(bytes([0x30 + 2 * qos]) + b"\xff\x01")  # 258 bytes, of which only the header has come
        assert client.close_reason == "packet too large"
        if version == 5:
            assert disconnect_reason(client) == spec.PACKET_TOO_LARGE
        assert broker.stats.errors_peer == 1

    def test_a_connect_of_unknown_clients(self) -> None:
        client = MemoryBroker().open()
        client.send(b"\x10\xff\xff\xff\x7f")
        assert client.close_reason == "packet too large"


class TestSysTopics:
    def test_values_under_mosquittos_names(self) -> None:
        broker = MemoryBroker()
        client = broker.connect("s")
        client.subscribe("$SYS/#")
        topics = SysTopics(broker.core, "1.2.3")
        topics.publish(61_000, {"capacity": 4})
        broker.turn()
        values = {publish.topic_name: publish.payload for publish in client.publishes()}
        assert values[b"$SYS/broker/version"] == b"swellmq 1.2.3"
        assert values[b"$SYS/broker/uptime"] == b"61 seconds"
        assert values[b"$SYS/broker/clients/connected"] == b"1"
        assert values[b"$SYS/broker/subscriptions/count"] == b"1"
        assert values[b"$SYS/broker/pool/capacity"] == b"4"
        topics.publish(61_000, {"capacity": 6})
        broker.turn()
        changed = {publish.topic_name for publish in client.publishes()}
        assert b"$SYS/broker/pool/capacity" in changed
        assert b"$SYS/broker/version" not in changed

    def test_what_is_kept_is_made_anew_and_nobody_told(self) -> None:
        broker = MemoryBroker()
        client = broker.connect("s")
        client.subscribe("$SYS/#")
        topics = SysTopics(broker.core, "1")
        topics.publish(61_000, {"capacity": 4})
        topics.put("alarms/memory", "raised: most of it is used")
        broker.turn()
        told = {publish.topic_name: publish.payload for publish in client.publishes()}
        retained = broker.core.retained
        count, size = retained.count, retained.bytes
        before = {topic_name: retained.get(topic_name) for topic_name in told}
        topics.renew()
        broker.turn()
        assert not client.publishes()
        assert (retained.count, retained.bytes) == (count, size)
        for topic_name, payload in told.items():
            publish = retained.get(topic_name)
            assert publish is not None and publish.payload == payload
            assert publish is not before[topic_name]
        topics.put("alarms/memory", "raised: most of it is used")
        topics.put("alarms/memory", "cleared")
        broker.turn()
        assert [publish.payload for publish in client.publishes()] == [b"cleared"], "it is known what was told"

    @pytest.mark.parametrize("qos", [0, 1, 2])
    @pytest.mark.parametrize("version", [4, 5])
    def test_a_client_can_not_publish_there(self, version: int, qos: int) -> None:
        broker = MemoryBroker()
        watcher = broker.connect("s")
        watcher.subscribe("$SYS/#")
        topics = SysTopics(broker.core, "1")
        for number in range(2):  # so that the broker's own ones have been matched
            topics.put("version", str(number))
        broker.turn()
        watcher.receive()
        client = broker.connect("p", version=version)
        for _ in range(2):
            client.publish("$SYS/broker/version", b"forged", qos=qos, retain=qos == 1, identifier=1)
        watcher.expect()
        assert not client.closed
        answers = [packet for packet in client.receive() if isinstance(packet, Ack)]
        assert [answer.packet_type for answer in answers] == [[], [PUBACK] * 2, [PUBREC] * 2][qos]
        assert all(answer.reason_code == (spec.NOT_AUTHORIZED if version == 5 else 0) for answer in answers)
        assert broker.core.retained.get(b"$SYS/broker/version").payload == b"1"  # type: ignore[union-attr]  # it is there


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("qos", [0, 1])
def test_a_message_that_fits_no_packet_of_a_subscriber_is_dropped(version: int, qos: int) -> None:
    broker = MemoryBroker()
    early = broker.connect("early", version=version)
    early.subscribe("t", qos=1)
    early.receive()
    payload = bytes(spec.REMAINING_LENGTH_MAX - 3)  # of MQTT 3.1.1 at QoS 0: 5.0 has the length of its properties too
    broker.engine.inject(Publish(b"t", payload, qos, True))
    late = broker.connect("late", version=version)
    late.subscribe("t", qos=1)
    broker.inject("t", b"small")
    assert early.payloads() == late.payloads() == [b"small"]
    assert broker.stats.dropped_too_large == 2 and broker.core.retained.count == 1
    broker.check()
