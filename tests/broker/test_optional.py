"""Options of MQTT 5.0 that settings or access turn on, and where its versions differ in what they allow."""

from __future__ import annotations

import pytest
from harness import MemoryBroker, MemoryClient, properties
from stand_ins import ScriptedAccess

from swellmq.broker.access import AUTHENTICATE, Request
from swellmq.codec import spec
from swellmq.codec.packets import Ack, Connack, Disconnect, Publish, Will
from swellmq.codec.properties import encode_properties_body, says_utf_8
from swellmq.codec.spec import PUBACK, PUBREC
from swellmq.errors import SettingsError
from swellmq.limits import Limits
from swellmq.settings import Settings


class TestResponseInformation:
    def answered(self, access: ScriptedAccess | None, prefix: str, **asked: int) -> str | None:
        limits = Limits()
        limits.response_information = prefix
        client = MemoryBroker(limits, access=access).connect("a", version=5, **asked)
        assert client.connack is not None and client.connack.properties is not None
        return client.connack.properties.response_information

    class Giving(ScriptedAccess):
        def decide(self, requests: list[Request]) -> None:
            for request in requests:
                request.response_information = "replies/" + request.client_id
                request.user_properties = [("region", "north")]
                request.answer(0)

    def test_of_the_settings_and_only_where_asked_for(self) -> None:  # [MQTT-3.1.2-28]
        assert self.answered(None, "replies", request_response_information=1) == "replies"
        assert self.answered(None, "replies", request_response_information=0) is None
        assert self.answered(None, "replies", receive_maximum=9) is None
        assert self.answered(None, "", request_response_information=1) is None

    def test_of_access(self) -> None:  # [MQTT-3.1.2-28]
        access = self.Giving(authenticates=True)
        assert self.answered(access, "replies", request_response_information=1) == "replies/a"
        assert self.answered(access, "replies", request_response_information=0) is None

    @pytest.mark.parametrize(("size", "told"), [(1000, True), (20, False)])
    def test_user_properties_of_a_connack_that_accepts(self, size: int, told: bool) -> None:  # [MQTT-3.2.2-20]
        broker = MemoryBroker(access=self.Giving(authenticates=True))
        client = broker.connect("a", version=5, maximum_packet_size=size)
        assert client.connack is not None and client.connack.properties is not None
        assert client.connack.reason_code == 0
        assert client.connack.properties.user_properties == ([("region", "north")] if told else None)


class TestPayloadFormat:
    """MQTT 5.0 section 3.3.2.3.2."""

    def client(self, check: bool = True) -> MemoryClient:
        limits = Limits()
        limits.check_payload_format = check
        return MemoryBroker(limits).connect("a", version=5)

    @pytest.mark.parametrize("qos", [1, 2])
    def test_refused_by_the_acknowledgement(self, qos: int) -> None:
        client = self.client()
        client.subscribe("t")
        client.publish("t", b"\xff", qos=qos, identifier=1, payload_format_indicator=1)
        why = properties(reason_string="a payload that is not UTF-8, as it says")
        client.expect(Ack(PUBACK if qos == 1 else PUBREC, 1, spec.PAYLOAD_FORMAT_INVALID, why))
        assert not client.closed

    def test_refused_at_qos_0_by_disconnect(self) -> None:
        client = self.client()
        client.publish("t", b"\xff", payload_format_indicator=1)
        (packet,) = client.receive()
        assert isinstance(packet, Disconnect) and packet.reason_code == spec.PAYLOAD_FORMAT_INVALID

    @pytest.mark.parametrize(
        ("check", "payload", "indicator"), [(True, b"\xc3\xa9", 1), (True, b"\xff", 0), (False, b"\xff", 1)]
    )
    def test_taken(self, check: bool, payload: bytes, indicator: int) -> None:
        client = self.client(check)
        client.subscribe("t")
        client.publish("t", payload, payload_format_indicator=indicator)
        assert client.payloads() == [payload]

    def test_a_will(self) -> None:
        limits = Limits()
        limits.check_payload_format = True
        publish = Publish(b"w", b"\xff", 0, False)
        publish.properties = encode_properties_body(properties(payload_format_indicator=1))
        client = MemoryBroker(limits).connect("a", version=5, will=Will(publish, 0))
        assert client.connack is not None and client.connack.reason_code == spec.PAYLOAD_FORMAT_INVALID

    def test_the_indicator_is_found_behind_any_property(self) -> None:
        others = properties(
            content_type="t", response_topic=b"r", correlation_data=b"\x01\x01", user_properties=[("\x01", "\x01")]
        )
        body = encode_properties_body(others)
        assert not says_utf_8(body)
        assert says_utf_8(body + b"\x01\x01")
        assert not says_utf_8(body + b"\x01\x00")


class TestOverlapping:
    def client(self, overlapping: str = "each") -> MemoryClient:
        limits = Limits()
        limits.overlapping = overlapping
        client = MemoryBroker(limits).connect("a", version=5)
        client.subscribe("a/b", qos=2, identifier=1)
        client.subscribe("a/#", qos=1, identifier=2)
        client.subscribe("+/b", qos=0)
        return client

    def test_one_for_each(self) -> None:  # [MQTT-3.3.4-3]
        client = self.client()
        assert client.broker.inject("a/b", b"x", 2) == 3
        assert sorted((int(p.qos), p.payload) for p in client.publishes()) == [(0, b"x"), (1, b"x"), (2, b"x")]
        client.broker.inject("a/c", b"y", 2)
        assert client.payloads() == [b"y"]

    def test_each_has_its_own_identifier(self) -> None:  # [MQTT-3.3.4-3]
        client = self.client()
        client.broker.inject("a/b", b"x")
        data = client.receive_bytes()
        assert sorted(data.split(b"\x30")[1:]) == [
            b"\x07\0\x03a/b\0x",
            b"\x09\0\x03a/b\x02\x0b\x01x",
            b"\x09\0\x03a/b\x02\x0b\x02x",
        ]

    def test_one(self) -> None:
        client = self.client("one")
        client.broker.inject("a/b", b"x", 2)
        assert [int(p.qos) for p in client.publishes()] == [2]

    def test_runs_keep_the_order(self) -> None:  # [MQTT-4.6.0-6]
        limits = Limits()
        limits.overlapping = "each"
        broker = MemoryBroker(limits)
        client = broker.connect("a")
        client.subscribe("a/b", "a/#")
        broker.connect("p").send(b"\x30\x06\0\x03a/b1" * 2 + b"\x30\x06\0\x03a/b2" * 2)
        assert client.payloads() == [b"1"] * 4 + [b"2"] * 4

    def test_no_local_counts_for_each(self) -> None:  # [MQTT-3.8.3-3]
        limits = Limits()
        limits.overlapping = "each"
        client = MemoryBroker(limits).connect("a", version=5)
        client.subscribe("t", no_local=True)
        client.subscribe("#")
        client.publish("t", b"x")
        assert client.payloads() == [b"x"]


class TestRetainedStoreFull:
    def broker(self) -> MemoryBroker:
        limits = Limits()
        limits.retained_messages = 1
        broker = MemoryBroker(limits)
        broker.inject("first", b"x", retain=True)
        return broker

    @pytest.mark.parametrize("qos", [1, 2])
    def test_5_is_told_and_nothing_is_sent_on(self, qos: int) -> None:
        broker = self.broker()
        watcher = broker.connect("w")
        watcher.subscribe("second")
        client = broker.connect("a", version=5)
        client.publish("second", b"y", qos=qos, retain=True)
        (ack,) = client.receive()
        assert isinstance(ack, Ack) and ack.reason_code == spec.QUOTA_EXCEEDED
        watcher.expect()
        assert broker.stats.dropped_retained_full == 1
        assert broker.session("a").received is None
        client.publish("first", b"z", qos=qos, retain=True)  # a topic that has its place keeps it
        client.publish("second", b"", qos=qos, retain=True)  # nor does clearing need one
        assert [ack.reason_code < 0x80 for ack in client.receive() if isinstance(ack, Ack)] == [True, True]

    @pytest.mark.parametrize(("version", "qos"), [(5, 0), (4, 0), (4, 1), (4, 2)])
    def test_who_can_not_be_told_reaches_the_subscribers(self, version: int, qos: int) -> None:
        broker = self.broker()
        watcher = broker.connect("w")
        watcher.subscribe("second")
        broker.connect("a", version=version).publish("second", b"y", qos=qos, retain=True)
        assert watcher.payloads() == [b"y"]
        assert broker.stats.dropped_retained_full == 1 and broker.core.retained.count == 1


class TestSessionExpiryAtDisconnect:
    """MQTT 5.0 section 3.14.2.2.2: what counts is what CONNECT asked for, whatever was granted."""

    @pytest.mark.parametrize(("asked", "fault"), [(60, False), (0, True)])
    def test_where_nothing_is_granted(self, asked: int, fault: bool) -> None:
        limits = Limits()
        limits.session_expiry_max_s = 0
        broker = MemoryBroker(limits)
        client = broker.connect("a", version=5, session_expiry_interval=asked)
        client.disconnect(session_expiry_interval=60)
        assert client.close_reason == ("protocol error" if fault else "client disconnected")
        assert not len(broker.core.sessions)

    def test_zero_may_stay_zero(self) -> None:
        client = MemoryBroker().connect("a", version=5)
        client.disconnect(session_expiry_interval=0)
        assert client.close_reason == "client disconnected"


class TestRemainingLengthInALongerForm:
    """Only MQTT 5.0 demands the shortest form."""

    @pytest.mark.parametrize("split", [False, True])
    def test_3_x(self, split: bool) -> None:
        broker = MemoryBroker()
        client = broker.open(4)
        sent = (
            b"\x10\x8d\x80\x00\0\x04MQTT\x04\x02\0\0\0\x01a"
            b"\x82\x86\x80\x80\x00\0\x01\0\x01t\0"
            b"\x30\x84\x00\0\x01tx\x30\x04\0\x01ty\x32\x86\x80\x00\0\x01t\0\x02z\xc0\x80\x00"
        )
        client.send_split(sent) if split else client.send(sent)
        client.expect(
            b"\x20\x02\0\0\x90\x03\0\x01\0\x30\x04\0\x01tx\x30\x04\0\x01ty\x30\x04\0\x01tz\x40\x02\0\x02\xd0\0"
        )
        assert not client.closed
        broker.check()

    def test_behind_a_question(self) -> None:
        access = ScriptedAccess(authenticates=True)
        broker = MemoryBroker(access=access)
        client = broker.open(4)
        client.send(b"\x10\x8d\x00\0\x04MQTT\x04\x02\0\0\0\x01a\xc0\x80\x00\xc0\x80\x00")
        client.expect()
        broker.resume(access.token())
        client.expect(Connack(False, 0), b"\xd0\0\xd0\0")
        assert access.asked[0].kind == AUTHENTICATE

    def test_a_large_packet_in_pieces(self) -> None:
        broker = MemoryBroker()
        client = broker.connect("a")
        client.subscribe("t")
        body = b"\0\x01t" + b"x" * 100_000
        client.send_split(b"\x30\xa3\x8d\x86\x00" + body[:99_990], [40_000, 50_000, 9_980])
        client.send(body[99_990:])
        assert client.payloads() == [body[3:]]

    @pytest.mark.parametrize(
        "said", [b"\x10\x8e\x00\0\x04MQTT\x05\x02\0\0\0\0\x01a", b"\x10\x80\x80\x80\x80\x00", b"\x30\x84\x00\0\x01tx"]
    )
    def test_5_and_what_no_version_allows(self, said: bytes) -> None:  # [MQTT-1.5.5-1]
        broker = MemoryBroker()
        client = broker.open(5)
        client.send(said)
        client.expect()
        assert client.closed and broker.stats.errors_peer == 1

    def test_5_once_connected(self) -> None:  # [MQTT-1.5.5-1]
        client = MemoryBroker().connect("a", version=5)
        client.send(b"\xc0\x80\x00")
        (packet,) = client.receive()
        assert isinstance(packet, Disconnect) and packet.reason_code == spec.MALFORMED_PACKET

    def test_the_bound_of_packets_counts(self) -> None:
        limits = Limits()
        limits.packet_bytes = 1_000
        client = MemoryBroker(limits).connect("a")
        client.send(b"\x30\xa0\x9f\x00")
        assert client.close_reason == "packet too large"


@pytest.mark.parametrize("text", ["a\0b", "\udcff", "x" * 1025, "\u00e9" * 513])
def test_response_information_that_no_packet_could_carry_is_the_operators_fault(text: str) -> None:
    with pytest.raises(SettingsError, match=r"limits\.response_information"):
        Settings(limits_response_information=text)
    assert Settings(limits_response_information="replies/").limits().response_information == "replies/"
