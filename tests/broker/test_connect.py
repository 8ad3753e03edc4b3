"""CONNECT and CONNACK: versions, client ids, session present, clean start, takeover, deadlines."""

from __future__ import annotations

import pytest
from harness import MemoryBroker, properties

from swellmq.codec import spec
from swellmq.codec.packets import Connack, Disconnect, Publish, Will
from swellmq.limits import Limits
from swellmq.net.pool import PoolSettings

VERSIONS = (3, 4, 5)


def test_connack_of_3_is_four_bytes() -> None:  # [MQTT-3.1.4-5]
    client = MemoryBroker().open(4)
    client.send(b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01a")
    assert client.receive_bytes() == b"\x20\x02\0\0"


def test_connack_of_5_tells_what_is_not_the_default() -> None:  # [MQTT-3.2.2-9]
    limits = Limits()
    limits.receive_maximum = 20
    limits.maximum_qos = 1
    limits.retain_available = False
    limits.packet_bytes = 1000
    limits.topic_alias_maximum = 7
    limits.wildcard_subscription_available = False
    limits.subscription_identifier_available = False
    limits.shared_subscription_available = False
    limits.keep_alive_max_s = 100
    limits.session_expiry_max_s = 50
    answer = MemoryBroker(limits).connect("a", version=5, keep_alive=200, session_expiry_interval=60).connack
    assert answer is not None and answer.properties is not None
    told = answer.properties
    assert (told.receive_maximum, told.maximum_qos, told.retain_available) == (20, 1, 0)
    assert (told.maximum_packet_size, told.topic_alias_maximum, told.server_keep_alive) == (1000, 7, 100)
    assert (told.wildcard_subscription_available, told.subscription_identifier_available) == (0, 0)
    assert (told.shared_subscription_available, told.session_expiry_interval) == (0, 50)


def test_a_connack_of_5_with_nothing_to_tell() -> None:  # [MQTT-3.1.2-28] [MQTT-3.1.4-5] [MQTT-4.12.0-6]
    limits = Limits()
    limits.receive_maximum = 65_535
    limits.topic_alias_maximum = 0
    client = MemoryBroker(limits).open(5)
    client.send(b"\x10\x0e\0\x04MQTT\x05\x02\0\0\0\0\x01a")
    client.expect(b"\x20\x03\0\0\0")


@pytest.mark.parametrize(
    ("level", "name", "answer"),
    [
        (6, b"\0\x04MQTT", b"\x20\x03\0\x84\0"),  # [MQTT-3.1.2-2]
        (3, b"\0\x04MQTT", b"\x20\x02\0\x01"),  # [MQTT311-3.1.2-2]
        (0x83, b"\0\x04MQTT", b"\x20\x02\0\x01"),
        (4, b"\0\x06MQIsdp", b"\x20\x02\0\x01"),
        (4, b"\0\x04MQTX", b""),  # [MQTT-3.1.2-1]
    ],
)
def test_an_unknown_protocol_is_refused(level: int, name: bytes, answer: bytes) -> None:
    broker = MemoryBroker()
    client = broker.open()
    body = name + bytes([level, 2, 0, 0]) + (b"\0" if level == 6 else b"") + b"\0\x01a"
    client.send(bytes([0x10, len(body)]) + body)
    client.expect(answer)
    assert client.closed
    assert broker.stats.errors_peer == 1


@pytest.mark.parametrize("version", [3, 4])
def test_bridges_of_mosquitto_are_accepted(version: int) -> None:
    client = MemoryBroker().connect("bridge", version=version, bridge=True)
    assert client.connack is not None and client.connack.reason_code == 0
    assert client.connection.bridge
    assert client.connection.protocol_version == version


class TestClientIdentifier:
    def test_an_empty_one_of_5_is_assigned(self) -> None:  # [MQTT-3.1.3-6] [MQTT-3.1.3-7]
        broker = MemoryBroker()
        names = set()
        for clean_start in (True, False):
            answer = broker.connect("", version=5, clean_start=clean_start).connack
            assert answer is not None and answer.properties is not None
            assert answer.properties.assigned_client_identifier is not None
            names.add(answer.properties.assigned_client_identifier)
        assert len(names) == 2 == len(broker.core.sessions)

    def test_an_assigned_one_is_no_other_clients(self) -> None:  # [MQTT-3.2.2-16]
        broker = MemoryBroker()
        broker.connect("auto-1")
        broker.connect("")
        assert sorted(s.client_id for s in broker.core.sessions.values()) == ["auto-1", "auto-2"]

    def test_an_empty_one_of_3_1_1_wants_a_clean_session(self) -> None:  # [MQTT311-3.1.3-7] [MQTT311-3.1.3-8]
        broker = MemoryBroker()
        client = broker.connect("", version=4)
        assert client.connack is not None and client.connack.reason_code == 0
        refused = broker.connect("", version=4, clean_start=False)
        assert refused.connack is not None and refused.connack.reason_code == spec.IDENTIFIER_REJECTED
        assert refused.closed

    def test_3_1_wants_one(self) -> None:
        limits = Limits()
        broker = MemoryBroker(limits)
        refused = broker.connect("", version=3)
        assert refused.connack is not None and refused.connack.reason_code == spec.IDENTIFIER_REJECTED
        assert not broker.connect("x" * 24, version=3).closed
        limits.client_id_3_1_strict = True
        assert broker.connect("y" * 24, version=3).closed
        assert not broker.connect("y" * 23, version=3).closed

    @pytest.mark.parametrize("version", [4, 5])
    def test_one_that_is_too_long(self, version: int) -> None:  # [MQTT-3.1.3-8] [MQTT311-3.1.3-9]
        limits = Limits()
        limits.client_id_bytes = 8
        client = MemoryBroker(limits).connect("x" * 9, version=version)
        assert client.connack is not None and client.closed
        assert client.connack.reason_code == (spec.CLIENT_IDENTIFIER_NOT_VALID if version == 5 else 2)


class TestSession:
    @pytest.mark.parametrize("version", VERSIONS)
    # [MQTT-3.1.3-2] [MQTT311-3.1.2-4]
    def test_a_kept_session_is_present(self, version: int) -> None:  # [MQTT-3.2.2-3] [MQTT-3.1.2-5]
        broker = MemoryBroker()
        options = {"session_expiry_interval": 60} if version == 5 else {}
        first = broker.connect("a", version=version, clean_start=False, **options)
        assert first.connack is not None and not first.connack.session_present  # [MQTT-3.1.2-6]
        first.subscribe("t")
        first.disconnect()
        again = broker.connect("a", version=version, clean_start=False, **options)
        assert again.connack is not None
        assert again.connack.session_present == (version != 3)
        assert broker.inject("t") == 1

    def test_clean_start_discards_it(self) -> None:  # [MQTT-3.1.2-4] [MQTT-3.2.2-2] [MQTT-3.1.4-4]
        broker = MemoryBroker()
        broker.connect("a", version=5, session_expiry_interval=60).subscribe("t")
        again = broker.connect("a", version=5, clean_start=True, session_expiry_interval=60)
        assert again.connack is not None and not again.connack.session_present
        assert broker.inject("t") == 0

    def test_without_expiry_it_ends_with_the_connection(self) -> None:  # [MQTT-4.1.0-2] [MQTT311-3.1.2-6]
        broker = MemoryBroker()
        broker.connect("a", version=5, clean_start=False).drop()
        assert len(broker.core.sessions) == 0
        broker.connect("b", version=4).drop()
        assert len(broker.core.sessions) == 0


class TestTakeover:
    @pytest.mark.parametrize("version", VERSIONS)
    # [MQTT-3.14.2-2] [MQTT-3.14.4-1] [MQTT-3.14.4-2] [MQTT-4.13.2-1]
    def test_the_old_connection_is_told_and_closed(self, version: int) -> None:  # [MQTT-3.1.4-3]
        broker = MemoryBroker()
        old = broker.connect("a", version=version)
        new = broker.connect("a", version=version)
        old.expect(*([Disconnect(spec.SESSION_TAKEN_OVER)] if version == 5 else []))
        assert old.close_reason == "session taken over"
        assert not new.closed
        assert broker.core.clients == 1
        broker.check()

    def test_what_comes_late_on_the_old_connection_does_not_touch_the_session(self) -> None:  # [MQTT-3.2.0-1]
        broker = MemoryBroker()
        old = broker.connect("a", version=5, session_expiry_interval=60)
        old.subscribe("t", qos=1)
        broker.inject("t", b"x", 1)
        assert old.payloads() == [b"x"]
        new = broker.open(5)
        new.feed(b"\x10\x13\0\x04MQTT\x05\0\0\0\x05\x11\0\0\0\x3c\0\x01a")
        old.feed(b"\x40\x02\0\x01")  # in the same turn, after the takeover
        broker.turn()
        packets = new.receive()
        assert isinstance(packets[0], Connack) and packets[0].session_present
        assert isinstance(packets[1], Publish) and packets[1].dup and packets[1].packet_identifier == 1
        assert old.closed
        broker.check()

    def test_its_will_goes_out_unless_it_was_delayed(self) -> None:
        broker = MemoryBroker()
        watcher = broker.connect("w")
        watcher.subscribe("will/#")
        for delay in (0, 5):
            will = Will(Publish(b"will/%d" % delay, b"x", 0, False), delay)
            broker.connect("a", version=5, session_expiry_interval=60, will=will)
            broker.connect("a", version=5, clean_start=False, session_expiry_interval=60).disconnect()
        assert [publish.topic_name for publish in watcher.publishes()] == [b"will/0"]
        broker.advance(10)
        assert watcher.publishes() == []  # [MQTT-3.1.3-9]


class TestRefusals:
    def test_authentication_methods_are_not_supported(self) -> None:  # [MQTT-3.2.2-7] [MQTT-4.12.0-1] [MQTT-4.13.2-1]
        client = MemoryBroker().connect("a", version=5, authentication_method="SCRAM")
        assert client.connack is not None and client.connack.reason_code == spec.BAD_AUTHENTICATION_METHOD
        assert client.closed

    @pytest.mark.parametrize(
        ("qos", "retain", "reason_code"), [(2, False, spec.QOS_NOT_SUPPORTED), (0, True, spec.RETAIN_NOT_SUPPORTED)]
    )
    def test_a_will_that_asks_too_much(self, qos: int, retain: bool, reason_code: int) -> None:
        limits = Limits()  # [MQTT-3.2.2-12] [MQTT-3.2.2-13]
        limits.maximum_qos = 1
        limits.retain_available = False
        client = MemoryBroker(limits).connect("a", version=5, will=Will(Publish(b"t", b"", qos, retain), 0))
        assert client.connack is not None and client.connack.reason_code == reason_code

    @pytest.mark.parametrize("version", VERSIONS)
    def test_a_will_for_sys_is_refused(self, version: int) -> None:  # [MQTT-3.1.4-2] [MQTT-3.2.2-7]
        will = Will(Publish(b"$SYS/broker/version", b"9", 0, True), 0)
        client = MemoryBroker().connect("a", version=version, will=will)
        assert client.connack is not None and client.closed
        assert client.connack.reason_code == (spec.NOT_AUTHORIZED if version == 5 else spec.NOT_AUTHORIZED_3)

    def test_a_malformed_connect_of_5_is_told_so(self) -> None:  # [MQTT-3.1.4-1] [MQTT-3.14.0-1] [MQTT-4.13.1-1]
        client = MemoryBroker().open(5)
        client.send(b"\x10\x0e\0\x04MQTT\x05\x01\0\0\0\0\x01a")  # the reserved flag [MQTT-3.1.2-3]
        client.expect(b"\x20\x03\0\x81\0")
        assert client.closed

    def test_a_malformed_connect_of_3_is_only_closed(self) -> None:  # [MQTT311-3.1.4-1]
        client = MemoryBroker().open(4)
        client.send(b"\x10\x0d\0\x04MQTT\x04\x03\0\0\0\x01a")
        client.expect()
        assert client.closed

    def test_who_comes_while_the_broker_stops(self) -> None:
        broker = MemoryBroker()
        broker.engine.shut_down()
        client = broker.connect("a", version=5)
        assert client.connack is not None and client.connack.reason_code == spec.SERVER_UNAVAILABLE


class TestConnectDeadline:
    @pytest.mark.parametrize("said", [b"", b"\x10", b"\x10\x0d\0\x04MQTT"])
    def test_a_socket_that_says_too_little_is_closed(self, said: bytes) -> None:
        broker = MemoryBroker()
        client = broker.open()
        client.send(said) if said else None
        broker.advance(4.9)
        assert not client.closed
        broker.advance(0.3)
        assert client.close_reason == "connect timeout"
        client.expect()
        broker.check()

    def test_it_is_over_with_connect(self) -> None:
        broker = MemoryBroker()
        client = broker.connect("a")
        broker.advance(3600)
        assert not client.closed


class TestKeepAlive:
    @pytest.mark.parametrize("version", VERSIONS)
    def test_silence_of_one_and_a_half_times(self, version: int) -> None:  # [MQTT-3.1.2-22] [MQTT-3.2.2-22]
        broker = MemoryBroker()
        client = broker.connect("a", version=version, keep_alive=10)
        broker.advance(14.9)
        assert not client.closed
        broker.advance(0.3)
        assert client.close_reason == "keep alive timeout"
        client.expect(*([Disconnect(spec.KEEP_ALIVE_TIMEOUT)] if version == 5 else []))
        broker.check()

    def test_any_packet_counts_and_moves_no_timer(self) -> None:
        broker = MemoryBroker()
        client = broker.connect("a", keep_alive=10)
        broker.advance(5.2)  # the deadline of CONNECT has gone by
        due = client.connection.deadline_ms
        entries = broker.core.deadlines.entries
        for _ in range(9):
            broker.advance(1)
            client.ping()
        assert client.connection.deadline_ms == due
        assert broker.core.deadlines.entries == entries
        client.expect(*[b"\xd0\0"] * 9)  # [MQTT-3.12.4-1]
        broker.advance(14.5)
        assert not client.closed
        broker.advance(1)
        assert client.closed

    def test_zero_means_never(self) -> None:
        broker = MemoryBroker()
        client = broker.connect("a")
        broker.advance(1_000_000)
        assert not client.closed

    def test_the_broker_may_ask_for_less(self) -> None:  # [MQTT-3.2.2-21]
        limits = Limits()
        limits.keep_alive_max_s = 10
        broker = MemoryBroker(limits)
        client = broker.connect("a", version=5)
        broker.advance(15.2)
        assert client.closed


class TestFull:
    def full(self) -> MemoryBroker:
        settings = PoolSettings()
        settings.initial_size = settings.max_size = settings.max_connections = 2
        broker = MemoryBroker(pool=settings)
        broker.connect("a", version=5)
        broker.connect("b", version=4)
        return broker

    @pytest.mark.parametrize(("version", "code"), [(3, 3), (4, 3), (5, 0x97)])
    def test_one_too_many_is_told(self, version: int, code: int) -> None:
        broker = self.full()
        client = broker.connect("c", version=version)
        assert client.connack is not None and client.connack.reason_code == code
        assert client.close_reason == "refused, broker full"
        broker.check()

    def test_a_client_may_take_its_own_place(self) -> None:
        broker = self.full()
        client = broker.connect("a", version=5)
        assert client.connack is not None and client.connack.reason_code == 0
        assert broker.core.clients == 2

    def test_a_refused_client_that_says_nothing(self) -> None:
        broker = self.full()
        client = broker.open()
        broker.advance(3.2)
        assert client.closed
        assert len(broker.pool.reserve) == 64

    @pytest.mark.parametrize("said", [b"\x30\x02\0\0", b"\x10\xff\xff\xff\xff", b"\x10\x02\0\x09"])
    def test_a_refused_client_that_speaks_no_mqtt(self, said: bytes) -> None:
        broker = self.full()
        client = broker.open()
        client.send(said)
        client.expect()
        assert client.closed
        assert broker.stats.errors_peer == 1


# [MQTT-3.1.2-29]
def test_a_reason_string_is_left_out_where_it_does_not_fit_or_is_not_wanted() -> None:  # [MQTT-3.14.2-3]
    broker = MemoryBroker()
    for props, explained in (
        ({}, True),
        ({"maximum_packet_size": 20}, False),
        ({"request_problem_information": 0}, False),
    ):
        client = broker.connect("a", version=5, **props)
        client.receive()
        client.send(b"\x10\x0e\0\x04MQTT\x05\x02\0\0\0\0\x01a")  # [MQTT-3.1.0-2]
        (packet,) = client.receive()
        assert isinstance(packet, Disconnect) and packet.reason_code == spec.PROTOCOL_ERROR
        assert (packet.properties is not None) == explained


def test_properties_of_the_harness_are_those_of_the_codec() -> None:
    assert properties(receive_maximum=3).receive_maximum == 3
