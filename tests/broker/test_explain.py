"""What a packet says beyond its reason code: where it fits, where it is not wanted, and codes that may not go out."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from harness import MemoryBroker, MemoryClient, properties
from stand_ins import ScriptedAccess

from swellmq.broker.access import AUTHENTICATE, PUBLISH, SUBSCRIBE, Request
from swellmq.broker.explain import allowed_reason
from swellmq.codec import spec
from swellmq.codec.decode import CONNACK_REASONS, DISCONNECT_REASONS, PUBACK_REASONS, SUBACK_REASONS
from swellmq.codec.encode import encode
from swellmq.codec.packets import Ack, Auth, Connack, Disconnect, Packet, Properties, Suback
from swellmq.codec.properties import encode_properties, encode_string

WORDS = "because"
PAIRS = [("where", "here")]


class WordyAccess(ScriptedAccess):
    """Refuses, and says why."""

    def __init__(self) -> None:
        super().__init__(authenticates=True, publish=True, subscribe=True)
        self.authentication_methods = ["M"]

    def decide(self, requests: list[Request]) -> None:
        for request in requests:
            self.asked.append(request)
            request.reason_string = WORDS
            request.user_properties = PAIRS
            if request.client_id == "goes on":
                request.go_on(b"data")
            elif request.kind == AUTHENTICATE and request.client_id != "refused":
                request.reason_string = request.user_properties = None
                request.answer(0)
            elif request.publish is not None and request.publish.topic_name == b"away":
                request.answer(spec.USE_ANOTHER_SERVER)
            else:
                request.answer(spec.NOT_AUTHORIZED)


def publish(client: MemoryClient, qos: int) -> None:
    client.publish("t", b"x", qos=qos, identifier=1)


def connect_and(step: Callable[[MemoryClient], object]) -> Callable[[MemoryBroker, dict[str, int]], MemoryClient]:
    def take(broker: MemoryBroker, options: dict[str, int]) -> MemoryClient:
        client = broker.connect("c", version=5, **options)
        client.receive()
        step(client)
        return client

    return take


def connect_as(client_id: str, **more: object) -> Callable[[MemoryBroker, dict[str, int]], MemoryClient]:
    def take(broker: MemoryBroker, options: dict[str, int]) -> MemoryClient:
        client = broker.open(5)
        packet = b"\0\x04MQTT\x05\x02\0\0"
        packet += encode_properties(properties(**options, **more)) + encode_string(client_id)
        client.send(bytes([0x10, len(packet)]) + packet)
        return client

    return take


NOT_FOUND = spec.PACKET_IDENTIFIER_NOT_FOUND
MISSING = "no QoS 2 message is under way with this packet identifier"
CASES: dict[str, tuple[Callable[..., MemoryClient], Callable[[Properties | None], Packet], str, bool]] = {
    # how it comes to this packet; the packet; its Reason String; whether access gives User Properties too
    "CONNACK": (connect_as("refused"), lambda p: Connack(False, 0x87, p), WORDS, True),
    "PUBACK": (connect_and(lambda c: publish(c, 1)), lambda p: Ack(spec.PUBACK, 1, 0x87, p), WORDS, True),
    "PUBREC": (connect_and(lambda c: publish(c, 2)), lambda p: Ack(spec.PUBREC, 1, 0x87, p), WORDS, True),
    "PUBREL": (connect_and(lambda c: c.ack(spec.PUBREC, 9)), lambda p: Ack(spec.PUBREL, 9, 0x92, p), MISSING, False),
    "PUBCOMP": (connect_and(lambda c: c.ack(spec.PUBREL, 9)), lambda p: Ack(spec.PUBCOMP, 9, 0x92, p), MISSING, False),
    "SUBACK": (
        connect_and(lambda c: c.send(b"\x82\x07\0\x01\0\0\x01t\0")),
        lambda p: Suback(spec.SUBACK, 1, b"\x87", p),
        WORDS,
        True,
    ),
    "UNSUBACK": (
        connect_and(lambda c: c.send(b"\xa2\x06\0\x01\0\0\x01t")),
        lambda p: Suback(spec.UNSUBACK, 1, b"\x11", p),
        "no such subscription",
        False,
    ),
    "DISCONNECT": (
        connect_and(lambda c: c.send(b"\x10\x0e\0\x04MQTT\x05\x02\0\0\0\0\x01a")),
        lambda p: Disconnect(spec.PROTOCOL_ERROR, p),
        "a second CONNECT",
        False,
    ),
    "DISCONNECT that access wants": (
        connect_and(lambda c: c.publish("away")),
        lambda p: Disconnect(spec.USE_ANOTHER_SERVER, p),
        WORDS,
        True,
    ),
    "AUTH": (
        connect_as("goes on", authentication_method="M"),
        lambda p: Auth(spec.CONTINUE_AUTHENTICATION, p),
        WORDS,
        True,
    ),
}


def of_auth(name: str, **values: object) -> Properties | None:
    if name == "AUTH":
        values = {"authentication_method": "M", "authentication_data": b"data", **values}
    return properties(**values) if values else None


@pytest.mark.parametrize("name", CASES)
def test_words_where_they_fit_and_are_wanted(name: str) -> None:
    # [MQTT-3.2.2-19] [MQTT-3.2.2-20] [MQTT-3.4.2-2] [MQTT-3.4.2-3] [MQTT-3.5.2-2] [MQTT-3.5.2-3] [MQTT-3.6.2-2]
    # [MQTT-3.6.2-3] [MQTT-3.7.2-2] [MQTT-3.7.2-3] [MQTT-3.9.2-1] [MQTT-3.9.2-2] [MQTT-3.11.2-1] [MQTT-3.11.2-2]
    # [MQTT-3.14.2-3] [MQTT-3.14.2-4] [MQTT-3.15.2-2] [MQTT-3.15.2-3] [MQTT-3.1.2-29]
    take, packet, words, with_pairs = CASES[name]
    plain = encode(packet(of_auth(name)), 5)
    explained = encode(packet(of_auth(name, reason_string=words)), 5)
    full = encode(packet(of_auth(name, reason_string=words, user_properties=PAIRS)), 5) if with_pairs else explained
    sizes = {len(full): full, len(full) - 1: explained if with_pairs else plain, len(explained) - 1: plain}
    for size, expected in sizes.items():
        assert len(expected) <= size
        client = take(MemoryBroker(access=WordyAccess()), {"maximum_packet_size": size})
        assert client.receive_bytes() == expected
    client = take(MemoryBroker(access=WordyAccess()), {"request_problem_information": 0})
    assert client.receive_bytes() == plain


class TestReasonCodesOfAccess:
    """Whatever a hook answers, no packet carries a code that it may not carry."""

    def access(self, kind: int, code: int) -> ScriptedAccess:
        access = ScriptedAccess(kind == AUTHENTICATE, kind == PUBLISH, kind == SUBSCRIBE)
        access.answers[kind] = code
        return access

    @pytest.mark.parametrize("reason_codes", [CONNACK_REASONS, PUBACK_REASONS, SUBACK_REASONS, DISCONNECT_REASONS])
    def test_only_refusals_of_the_packet(self, reason_codes: bytes) -> None:
        allowed = {allowed_reason(code, reason_codes) for code in range(-1, 300)}
        assert allowed == {code for code in reason_codes if code >= 0x80}

    @pytest.mark.parametrize("code", [5, 0x10, spec.CONTINUE_AUTHENTICATION, spec.SERVER_SHUTTING_DOWN, 999])
    def test_connack(self, code: int) -> None:  # [MQTT-3.2.2-8]
        client = MemoryBroker(access=self.access(AUTHENTICATE, code)).connect("a", version=5)
        assert client.connack is not None and client.connack.reason_code == spec.IMPLEMENTATION_SPECIFIC_ERROR
        client = MemoryBroker(access=self.access(AUTHENTICATE, code)).connect("a", version=4)
        assert client.connack is not None and client.connack.reason_code == spec.SERVER_UNAVAILABLE_3

    @pytest.mark.parametrize("qos", [1, 2])
    def test_puback_and_pubrec(self, qos: int) -> None:  # [MQTT-3.4.2-1] [MQTT-3.5.2-1]
        client = MemoryBroker(access=self.access(PUBLISH, spec.BANNED)).connect("a", version=5)
        client.publish("t", qos=qos)
        (ack,) = client.receive()
        assert isinstance(ack, Ack) and ack.reason_code == spec.IMPLEMENTATION_SPECIFIC_ERROR

    def test_suback(self) -> None:  # [MQTT-3.9.3-2]
        client = MemoryBroker(access=self.access(SUBSCRIBE, spec.BANNED)).connect("a", version=5)
        assert client.subscribe("t") == [spec.IMPLEMENTATION_SPECIFIC_ERROR]


class TestServerReference:
    """MQTT 5.0 section 4.11."""

    class Moving(ScriptedAccess):
        def __init__(self, code: int, kind: int) -> None:
            super().__init__(kind == AUTHENTICATE, kind == PUBLISH, kind == SUBSCRIBE)
            self.code = code

        def decide(self, requests: list[Request]) -> None:
            for request in requests:
                request.server_reference = "other:1883"
                request.answer(self.code)

    @pytest.mark.parametrize("code", [spec.USE_ANOTHER_SERVER, spec.SERVER_MOVED])
    def test_at_connect(self, code: int) -> None:
        client = MemoryBroker(access=self.Moving(code, AUTHENTICATE)).connect("a", version=5)
        assert client.closed and client.connack is not None and client.connack.reason_code == code
        assert client.connack.properties is not None and client.connack.properties.server_reference == "other:1883"
        client = MemoryBroker(access=self.Moving(code, AUTHENTICATE)).connect("a", version=4)
        assert client.connack is not None and client.connack.reason_code == spec.SERVER_UNAVAILABLE_3

    def test_only_with_the_codes_that_send_away(self) -> None:
        client = MemoryBroker(access=self.Moving(spec.NOT_AUTHORIZED, AUTHENTICATE)).connect("a", version=5)
        assert client.connack is not None and client.connack.properties is None

    @pytest.mark.parametrize("code", [spec.USE_ANOTHER_SERVER, spec.SERVER_MOVED])
    @pytest.mark.parametrize("kind", [PUBLISH, SUBSCRIBE])
    def test_of_a_connected_client(self, kind: int, code: int) -> None:
        client = MemoryBroker(access=self.Moving(code, kind)).connect("a", version=5)
        client.publish("t", qos=1) if kind == PUBLISH else client.subscribe("t")
        client.expect(Disconnect(code, properties(server_reference="other:1883")))
        assert client.close_reason == "administrative action"
        old = MemoryBroker(access=self.Moving(code, kind)).connect("a", version=4)
        old.publish("t", qos=1) if kind == PUBLISH else old.subscribe("t")
        old.expect()
        assert old.closed
