"""Enhanced authentication and re-authentication, MQTT 5.0 section 4.12, with a method made up for it.

Its client says "a", is asked "b", says "c", and is in with "d"; "x" is refused, "late" is answered late.
"""

from __future__ import annotations

import pytest
from harness import MemoryBroker, MemoryClient, properties
from stand_ins import ScriptedAccess

from swellmq.broker.access import AUTHENTICATE, EXCHANGE, TAKE_OVER, Request
from swellmq.codec import spec
from swellmq.codec.packets import Auth, Connack, Disconnect, Packet, Ping, Publish, Will
from swellmq.codec.spec import CONTINUE_AUTHENTICATION, PINGREQ, PINGRESP, RE_AUTHENTICATE
from swellmq.limits import AUTHENTICATION_STEPS_MAX
from swellmq.net.pool import PoolSettings


class Abcd(ScriptedAccess):
    def __init__(self) -> None:
        super().__init__()
        self.authentication_methods = ["ABCD", "OTHER"]

    def decide(self, requests: list[Request]) -> None:
        for request in requests:
            self.asked.append(request)
            exchange = request.exchange
            if request.kind != EXCHANGE or exchange is None:
                request.answer(0)
            elif exchange.data == b"a":
                exchange.state = "began with a"
                request.go_on(b"b")
            elif exchange.data == b"again":
                request.go_on(None)
            elif exchange.data == b"c" and exchange.state == "began with a":
                request.username = "somebody"
                request.authentication_data = b"d"
                request.answer(0)
            elif exchange.data != b"late":
                request.answer(spec.NOT_AUTHORIZED)


def auth(reason_code: int, data: bytes | None, method: str | None = "ABCD") -> Auth:
    return Auth(reason_code, properties(authentication_method=method, authentication_data=data))


def begin(broker: MemoryBroker, data: bytes = b"a", client_id: str = "client", **options: object) -> MemoryClient:
    return broker.connect(client_id, version=5, authentication_method="ABCD", authentication_data=data, **options)


def enter(broker: MemoryBroker, **options: object) -> MemoryClient:
    client = begin(broker, **options)
    client.receive()
    client.send(auth(CONTINUE_AUTHENTICATION, b"c"))
    (answer,) = client.receive()
    assert isinstance(answer, Connack) and answer.reason_code == 0
    return client


class TestAtConnect:
    def test_all_steps(self) -> None:  # [MQTT-4.12.0-2] [MQTT-4.12.0-5]
        broker = MemoryBroker(access=Abcd())
        client = begin(broker)
        client.expect(auth(CONTINUE_AUTHENTICATION, b"b"))
        assert broker.core.clients == 0
        client.send(auth(CONTINUE_AUTHENTICATION, b"c"), Ping(PINGREQ))
        connack, pong = client.receive()
        assert isinstance(connack, Connack) and connack.reason_code == 0 and connack.properties is not None
        assert connack.properties.authentication_method == "ABCD"
        assert connack.properties.authentication_data == b"d"
        assert isinstance(pong, Ping) and pong.packet_type == PINGRESP
        assert broker.session("client").username == "somebody"
        assert broker.core.waiting == {}
        (exchange,) = broker.core.exchanges.values()
        assert (exchange.state, exchange.connect, exchange.data, exchange.steps) == (None, None, None, 0)
        client.disconnect()
        assert not broker.core.exchanges
        broker.check()

    def test_without_a_method_nothing_of_it_is_sent(self) -> None:  # [MQTT-4.12.0-6]
        client = MemoryBroker(access=Abcd()).connect("a", version=5)
        assert client.connack is not None and client.connack.properties is not None
        assert client.connack.properties.authentication_method is None

    def test_an_unknown_method(self) -> None:  # [MQTT-4.12.0-1]
        client = MemoryBroker(access=Abcd()).connect("a", version=5, authentication_method="KERBEROS")
        assert client.connack is not None and client.connack.reason_code == spec.BAD_AUTHENTICATION_METHOD
        assert client.closed

    @pytest.mark.parametrize("at_once", [True, False])
    def test_refused(self, at_once: bool) -> None:  # [MQTT-4.12.0-4]
        broker = MemoryBroker(access=Abcd())
        client = begin(broker, b"x" if at_once else b"a")
        if at_once:
            assert client.connack is not None and client.connack.reason_code == spec.NOT_AUTHORIZED
        else:
            client.receive()
            client.send(auth(CONTINUE_AUTHENTICATION, b"x"))
            client.expect(Connack(False, spec.NOT_AUTHORIZED))
        assert client.close_reason == "refused"
        assert not broker.core.exchanges and not len(broker.core.sessions)
        broker.check()

    @pytest.mark.parametrize(
        "packet",
        [
            auth(RE_AUTHENTICATE, b"c"),  # [MQTT-4.12.0-3]
            auth(spec.SUCCESS, b"c"),
            auth(CONTINUE_AUTHENTICATION, b"c", "OTHER"),  # [MQTT-4.12.0-5]
            Auth(),
            Ping(PINGREQ),
            b"\x30\x04\0\x01t\0",
            b"\x10\x0e\0\x04MQTT\x05\x02\0\0\0\0\x01a",  # [MQTT-3.1.0-2]
        ],
    )
    def test_what_has_no_place_in_it(self, packet: Packet | bytes) -> None:
        broker = MemoryBroker(access=Abcd())
        client = begin(broker)
        client.receive()
        client.send(packet)
        (answer,) = client.receive()
        assert isinstance(answer, Connack) and answer.reason_code == spec.PROTOCOL_ERROR
        assert client.closed and not len(broker.core.sessions)
        broker.check()

    def test_the_client_gives_up(self) -> None:
        broker = MemoryBroker(access=Abcd())
        client = begin(broker, will=Will(Publish(b"w", b"", 0, False), 0))
        client.receive()
        client.disconnect()
        client.expect()
        assert client.close_reason == "client disconnected"
        assert not broker.core.exchanges

    def test_too_slow(self) -> None:
        broker = MemoryBroker(access=Abcd())
        client = begin(broker)
        client.receive()
        broker.advance(4.8)
        assert not client.closed
        broker.advance(0.4)
        assert client.close_reason == "connect timeout"
        (answer,) = client.receive()
        assert isinstance(answer, Connack) and answer.reason_code == spec.NOT_AUTHORIZED
        broker.check()

    def test_access_that_is_late_does_not_count_against_the_client(self) -> None:
        broker = MemoryBroker(access=Abcd())
        client = begin(broker, b"late")
        broker.advance(9)
        assert not client.closed
        request = next(iter(broker.core.waiting.values()))
        request.authentication_data = b"b"
        assert broker.resume(request.token, CONTINUE_AUTHENTICATION)
        client.expect(auth(CONTINUE_AUTHENTICATION, b"b"))
        broker.advance(4.8)
        client.send(auth(CONTINUE_AUTHENTICATION, b"late"))
        request = next(iter(broker.core.waiting.values()))
        assert broker.resume(request.token, 0)
        (answer,) = client.receive()
        assert isinstance(answer, Connack) and answer.reason_code == 0
        broker.check()

    def test_access_that_never_answers(self) -> None:
        broker = MemoryBroker(access=Abcd())
        client = begin(broker, b"late")
        broker.advance(10.2)
        assert client.close_reason == "no answer in time"
        assert not broker.core.exchanges

    def test_steps_without_end(self) -> None:
        broker = MemoryBroker(access=Abcd())
        client = begin(broker, b"again")
        for _ in range(AUTHENTICATION_STEPS_MAX - 1):
            client.expect(auth(CONTINUE_AUTHENTICATION, None))
            client.send(auth(CONTINUE_AUTHENTICATION, b"again"))
        client.receive()
        client.send(auth(CONTINUE_AUTHENTICATION, b"again"))
        (answer,) = client.receive()
        assert isinstance(answer, Connack) and answer.reason_code == spec.NOT_AUTHORIZED

    def test_a_step_above_maximum_packet_size(self) -> None:  # [MQTT-3.1.2-24]
        broker = MemoryBroker(access=Abcd())
        client = begin(broker, maximum_packet_size=12)
        assert client.connack is not None and client.connack.reason_code == spec.PACKET_TOO_LARGE

    def test_a_session_is_taken_over_only_at_the_end(self) -> None:
        broker = MemoryBroker(access=Abcd())
        old = enter(broker)
        thief = begin(broker)
        thief.receive()
        thief.send(auth(CONTINUE_AUTHENTICATION, b"x"))
        assert thief.closed and not old.closed
        enter(broker)
        old.expect(Disconnect(spec.SESSION_TAKEN_OVER))
        broker.check()

    def test_a_full_broker_holds_no_exchange(self) -> None:
        settings = PoolSettings()
        settings.initial_size = settings.max_size = settings.max_connections = 1
        access = Abcd()
        broker = MemoryBroker(access=access, pool=settings)
        old = enter(broker)
        other = begin(broker)
        assert other.connack is not None and other.connack.reason_code == spec.QUOTA_EXCEEDED
        assert not old.closed and TAKE_OVER not in [request.kind for request in access.asked]

    def test_it_stands_in_the_place_of_authenticate(self) -> None:
        access = Abcd()
        access.authenticates = True
        broker = MemoryBroker(access=access)
        enter(broker)
        assert [request.kind for request in access.asked] == [EXCHANGE, EXCHANGE]
        broker.connect("plain", version=5)
        assert access.asked[-1].kind == AUTHENTICATE


class TestAgain:
    def test_all_steps_while_other_packets_go_on(self) -> None:
        broker = MemoryBroker(access=Abcd())
        client = enter(broker)
        client.subscribe("t")
        for _ in range(2):
            client.send(auth(RE_AUTHENTICATE, b"a"))
            client.expect(auth(CONTINUE_AUTHENTICATION, b"b"))  # [MQTT-4.12.0-5]
            client.publish("t", b"x")
            assert client.payloads() == [b"x"]
            client.send(auth(CONTINUE_AUTHENTICATION, b"c"))
            client.expect(auth(spec.SUCCESS, b"d"))
        broker.advance(60)
        assert not client.closed
        broker.check()

    @pytest.mark.parametrize("first", [b"x", b"a"])
    def test_refused(self, first: bytes) -> None:  # [MQTT-4.12.1-2]
        broker = MemoryBroker(access=Abcd())
        client = enter(broker)
        client.send(auth(RE_AUTHENTICATE, first))
        if first == b"a":
            client.receive()
            client.send(auth(CONTINUE_AUTHENTICATION, b"x"))
        client.expect(Disconnect(spec.NOT_AUTHORIZED))
        assert client.close_reason == "refused"
        broker.check()

    @pytest.mark.parametrize(
        "packet",
        [
            auth(CONTINUE_AUTHENTICATION, b"a"),
            auth(spec.SUCCESS, b"a"),
            auth(RE_AUTHENTICATE, b"a", "OTHER"),  # [MQTT-4.12.1-1]
        ],
    )
    def test_what_has_no_place(self, packet: Auth) -> None:
        client = enter(MemoryBroker(access=Abcd()))
        client.send(packet)
        (answer,) = client.receive()
        assert isinstance(answer, Disconnect) and answer.reason_code == spec.PROTOCOL_ERROR
        assert client.closed

    def test_a_second_beginning(self) -> None:
        client = enter(MemoryBroker(access=Abcd()))
        client.send(auth(RE_AUTHENTICATE, b"a"), auth(RE_AUTHENTICATE, b"a"))
        _, answer = client.receive()
        assert isinstance(answer, Disconnect) and answer.reason_code == spec.PROTOCOL_ERROR

    def test_a_client_that_came_in_otherwise(self) -> None:  # [MQTT-4.12.0-7]
        client = MemoryBroker(access=Abcd()).connect("a", version=5)
        client.send(auth(RE_AUTHENTICATE, b"a"))
        (answer,) = client.receive()
        assert isinstance(answer, Disconnect) and answer.reason_code == spec.PROTOCOL_ERROR

    @pytest.mark.parametrize("keep_alive", [0, 2])
    def test_too_slow(self, keep_alive: int) -> None:
        broker = MemoryBroker(access=Abcd())
        client = enter(broker, keep_alive=keep_alive)
        client.send(auth(RE_AUTHENTICATE, b"a"))
        client.receive()
        for _ in range(2):
            broker.advance(2.4)
            client.ping()
        assert not client.closed
        broker.advance(0.5)
        assert client.close_reason == "refused"
        *_, answer = client.receive()
        assert isinstance(answer, Disconnect) and answer.reason_code == spec.NOT_AUTHORIZED
        broker.check()
