"""PENDING: access that answers at once, late, never, or after the connection has gone."""

from __future__ import annotations

import pytest
from harness import MemoryBroker, MemoryClient, properties
from stand_ins import ScriptedAccess

from swellmq.broker.access import AUTHENTICATE, CONNECTED, DISCONNECTED, PUBLISH, SESSION_ENDED, SUBSCRIBE, TAKE_OVER
from swellmq.codec import spec
from swellmq.codec.encode import encode
from swellmq.codec.packets import Ack, Connack, Disconnect, Ping, Publish, Suback, Will
from swellmq.codec.spec import PINGREQ, PINGRESP, PUBACK, PUBREC
from swellmq.limits import Limits
from swellmq.net.pool import PoolSettings


def connack_of(client: MemoryClient) -> Connack:
    packet = client.receive()[0]
    assert isinstance(packet, Connack)
    return packet


class TestAuthenticate:
    def test_at_once(self) -> None:
        access = ScriptedAccess(authenticates=True)
        access.answers[AUTHENTICATE] = 0
        broker = MemoryBroker(access=access)
        client = broker.connect("a", username="joe", password=b"secret")
        assert client.connack is not None
        (request,) = access.asked
        assert (request.client_id, request.username) == ("a", "joe")
        assert request.connect is not None and request.connect.password == b"secret"
        assert broker.session("a").username == "joe"
        assert broker.core.waiting == {}

    @pytest.mark.parametrize(
        ("reason_code", "return_code"),
        [
            (spec.BAD_USER_NAME_OR_PASSWORD, 4),
            (spec.NOT_AUTHORIZED, 5),
            (spec.BANNED, 5),
            (spec.SERVER_BUSY, 3),
            (spec.CLIENT_IDENTIFIER_NOT_VALID, 2),
        ],
    )
    @pytest.mark.parametrize("version", [3, 4, 5])
    def test_denied(self, version: int, reason_code: int, return_code: int) -> None:
        access = ScriptedAccess(authenticates=True)
        access.answers[AUTHENTICATE] = reason_code
        client = MemoryBroker(access=access).connect("a", version=version)
        assert client.connack is not None and client.closed
        assert client.connack.reason_code == (reason_code if version == 5 else return_code)
        assert client.close_reason == "refused"

    def test_late(self) -> None:
        access = ScriptedAccess(authenticates=True)
        broker = MemoryBroker(access=access)
        client = broker.connect("a")
        client.send(Ping(PINGREQ))
        client.expect()
        assert broker.resume(access.token())
        client.expect(Connack(False, 0), Ping(PINGRESP))
        assert not broker.resume(access.token())
        broker.check()

    def test_bytes_behind_connect_are_kept_in_order(self) -> None:
        access = ScriptedAccess(authenticates=True)
        broker = MemoryBroker(access=access)
        client = broker.open()
        client.send(
            b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01a"
            + b"\x82\x06\0\x01\0\x01t\0"
            + b"\x30\x04\0\x01tx"
            + b"\x30\x04\0\x01"
        )
        client.feed(b"ty")
        broker.resume(access.token())
        client.expect(Connack(False, 0), Suback(spec.SUBACK, 1, b"\0"), b"\x30\x04\0\x01tx", b"\x30\x04\0\x01ty")

    @pytest.mark.parametrize("version", [4, 5])
    def test_never(self, version: int) -> None:
        access = ScriptedAccess(authenticates=True)
        broker = MemoryBroker(access=access)
        client = broker.connect("a", version=version)
        broker.advance(9.9)
        assert not client.closed  # the CONNECT deadline of 5 s does not count while we are the ones who are late
        broker.advance(0.3)
        assert client.close_reason == "no answer in time"
        assert connack_of(client).reason_code == (spec.SERVER_UNAVAILABLE if version == 5 else 3)
        assert not broker.resume(access.token())
        assert broker.core.waiting == {}
        broker.check()

    def test_after_the_connection_has_gone(self) -> None:
        access = ScriptedAccess(authenticates=True)
        broker = MemoryBroker(access=access)
        client = broker.connect("a")
        token = access.token()
        client.drop()
        other = broker.connect("b")  # gets the same object of the pool
        assert other.connection is client.connection
        assert not broker.resume(token)
        other.expect()
        assert broker.resume(access.token())
        assert connack_of(other).reason_code == 0
        assert len(broker.core.sessions) == 1

    def test_the_will_is_there_to_be_judged(self) -> None:
        access = ScriptedAccess(authenticates=True)
        broker = MemoryBroker(access=access)
        broker.connect("a", will=Will(Publish(b"w", b"", 0, False), 0))
        assert access.asked[0].connect is not None and access.asked[0].connect.will is not None

    def test_questions_come_in_batches(self) -> None:
        access = ScriptedAccess(authenticates=True)
        access.answers[AUTHENTICATE] = 0
        broker = MemoryBroker(access=access)
        clients = [broker.open() for _ in range(5)]
        for number, client in enumerate(clients):
            client.feed(b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01%d" % number)
        broker.turn()
        assert access.batches == [5]
        assert all(connack_of(client).reason_code == 0 for client in clients)

    def test_two_of_one_name_in_one_batch(self) -> None:
        access = ScriptedAccess(authenticates=True, publish=True)
        access.answers[AUTHENTICATE] = 0
        broker = MemoryBroker(access=access)
        clients = [broker.open(), broker.open()]
        for client in clients:
            client.feed(b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01a", b"\x30\x04\0\x01tx")
        broker.turn()
        assert clients[0].close_reason == "session taken over"
        assert not clients[1].closed
        broker.check()

    def test_a_failure_of_access_refuses(self) -> None:
        access = ScriptedAccess(authenticates=True)
        access.fails = True
        broker = MemoryBroker(access=access)
        client = broker.connect("a", version=5)
        assert client.connack is not None and client.connack.reason_code == spec.UNSPECIFIED_ERROR
        assert broker.stats.errors_internal == 1

    def test_who_takes_a_place_over_in_a_full_broker_is_asked_for(self) -> None:
        settings = PoolSettings()
        settings.initial_size = settings.max_size = settings.max_connections = 1
        access = ScriptedAccess(authenticates=True)
        access.answers[AUTHENTICATE] = 0
        broker = MemoryBroker(access=access, pool=settings)
        old = broker.connect("a", version=5)
        access.answers[TAKE_OVER] = spec.NOT_AUTHORIZED
        thief = broker.connect("a", version=5)
        assert thief.connack is not None and thief.connack.reason_code == spec.NOT_AUTHORIZED
        assert not old.closed
        access.answers[TAKE_OVER] = 0
        new = broker.connect("a", version=5)
        assert new.connack is not None and new.connack.reason_code == 0
        assert old.closed
        broker.check()

    @pytest.mark.parametrize("version", [4, 5])
    def test_the_newer_of_two_stays_although_the_older_is_answered_later(self, version: int) -> None:
        access = ScriptedAccess(authenticates=True)
        broker = MemoryBroker(access=access)
        older = broker.connect("same", version=version)
        token = access.token()
        broker.advance(0.5)
        newer = broker.connect("same", version=version)
        broker.advance(0.5)
        assert broker.resume(access.token()) and connack_of(newer).reason_code == 0
        assert broker.resume(token)
        answer = connack_of(older)
        assert answer.reason_code == (spec.SERVER_BUSY if version == 5 else 3)
        assert older.closed and not newer.closed
        newer.ping()
        broker.check()

    def test_the_newer_of_two_takes_over_as_ever_where_the_older_is_answered_first(self) -> None:
        access = ScriptedAccess(authenticates=True)
        broker = MemoryBroker(access=access)
        older = broker.connect("same")
        token = access.token()
        broker.advance(0.5)
        newer = broker.connect("same")
        broker.advance(0.5)
        assert broker.resume(token) and broker.resume(access.token())
        assert older.close_reason == "session taken over"
        assert connack_of(newer).reason_code == 0
        broker.check()


class TestPublish:
    @pytest.mark.parametrize("qos", [0, 1, 2])
    @pytest.mark.parametrize("version", [4, 5])
    def test_denied(self, version: int, qos: int) -> None:
        access = ScriptedAccess(publish=True)
        access.answers[PUBLISH] = spec.NOT_AUTHORIZED
        broker = MemoryBroker(access=access)
        watcher = broker.connect("w")
        watcher.subscribe("#")
        client = broker.connect("a", version=version)
        client.publish("t", b"x", qos=qos, identifier=3, retain=True)
        watcher.expect()
        assert broker.core.retained.count == 0
        why = properties(reason_string="refused by access control")
        answer = (spec.NOT_AUTHORIZED, why) if version == 5 else ()
        client.expect(*[[], [Ack(PUBACK, 3, *answer)], [Ack(PUBREC, 3, *answer)]][qos])
        assert broker.session("a").received is None

    @pytest.mark.parametrize("qos", [0, 1, 2])
    def test_expired_while_it_waited(self, qos: int) -> None:  # [MQTT-3.3.2-5]
        access = ScriptedAccess(publish=True)
        broker = MemoryBroker(access=access)
        watcher = broker.connect("w")
        watcher.subscribe("#")
        client = broker.connect("a", version=5)
        client.publish("t", b"x", qos=qos, identifier=3, retain=True, expiry=2)
        broker.advance(3)
        broker.resume(access.token())
        watcher.expect()
        assert broker.core.retained.count == 0
        assert broker.stats.dropped_expired == 1
        client.expect(*[[], [Ack(PUBACK, 3)], [Ack(PUBREC, 3)]][qos])

    def test_an_interval_of_0_is_for_who_is_here(self) -> None:
        access = ScriptedAccess(publish=True)
        access.answers[PUBLISH] = 0
        broker = MemoryBroker(access=access)
        watcher = broker.connect("w")
        watcher.subscribe("#")
        broker.connect("a", version=5).publish("t", b"x", expiry=0)
        assert watcher.payloads() == [b"x"]

    def test_packets_behind_a_parked_one_keep_their_order(self) -> None:
        access = ScriptedAccess(publish=True)
        broker = MemoryBroker(access=access)
        watcher = broker.connect("w")
        watcher.subscribe("#")
        client = broker.connect("a", version=5)
        for number in range(3):
            message = Publish(b"t", b"%d" % number, 1, False)
            message.packet_identifier = number + 1
            client.feed(message)
        client.feed(Ping(PINGREQ))
        broker.turn()
        for number in range(3):
            client.expect()
            watcher.expect()
            assert len(broker.core.waiting) == 1
            broker.resume(access.token(), spec.NOT_AUTHORIZED if number == 1 else 0)
            if number == 0:
                client.expect(Ack(PUBACK, 1))
                assert watcher.payloads() == [b"0"]
            elif number == 1:
                why = properties(reason_string="refused by access control")
                client.expect(Ack(PUBACK, 2, spec.NOT_AUTHORIZED, why))
        client.expect(Ack(PUBACK, 3), Ping(PINGRESP))
        assert watcher.payloads() == [b"2"]

    def test_many_that_are_answered_at_once(self) -> None:
        """More than one turn settles: the loop comes back for the rest, and no timer is moved for each."""
        access = ScriptedAccess(publish=True)
        access.answers[PUBLISH] = 0
        broker = MemoryBroker(access=access)
        watcher = broker.connect("w")
        watcher.subscribe("#")
        client = broker.connect("a", keep_alive=60)
        entries = broker.core.deadlines.entries
        message = encode(Publish(b"t", b"x", 0, False), 4)
        client.send(message * 1000)
        assert len(watcher.publishes()) == 1000
        assert broker.core.deadlines.entries <= entries + 2

    def test_a_hook_may_change_the_message(self) -> None:
        class Changing(ScriptedAccess):
            def decide(self, requests: list) -> None:  # type: ignore[type-arg]  # requests, as in the base class
                for request in requests:
                    request.publish.topic_name = b"else"
                    request.publish.payload = b"changed"
                    request.answer(0)

        broker = MemoryBroker(access=Changing(publish=True))
        watcher = broker.connect("w")
        watcher.subscribe("else")
        broker.connect("a").publish("t", b"x")
        assert watcher.payloads() == [b"changed"]

    def test_a_takeover_of_a_parked_client(self) -> None:
        access = ScriptedAccess(publish=True)
        broker = MemoryBroker(access=access)
        old = broker.connect("a", version=5, session_expiry_interval=60)
        old.publish("t", b"x", qos=1)
        token = access.token()
        new = broker.connect("a", version=5, clean_start=False, session_expiry_interval=60)
        assert not broker.resume(token)
        new.expect()
        broker.check()

    def test_a_takeover_in_the_turn_of_the_question(self) -> None:
        access = ScriptedAccess(publish=True)
        access.answers[PUBLISH] = 0
        broker = MemoryBroker(access=access)
        watcher = broker.connect("w")
        watcher.subscribe("#")
        old = broker.connect("a")
        old.feed(Publish(b"t", b"x", 0, False))
        new = broker.open()
        new.feed(b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01a")
        broker.turn()
        assert old.closed
        assert not new.closed
        watcher.expect()
        broker.check()


class TestDeadlines:
    @pytest.mark.parametrize("version", [4, 5])
    def test_no_answer_in_time(self, version: int) -> None:
        access = ScriptedAccess(publish=True)
        broker = MemoryBroker(access=access)
        client = broker.connect("a", version=version)
        client.publish("t")
        broker.advance(10.2)
        assert client.close_reason == "no answer in time"
        why = properties(reason_string="the server has found no answer in time")
        client.expect(*([Disconnect(spec.SERVER_BUSY, why)] if version == 5 else []))

    def test_keep_alive_stands_still_while_parked(self) -> None:
        access = ScriptedAccess(publish=True)
        broker = MemoryBroker(access=access)
        client = broker.connect("a", keep_alive=2)
        client.publish("t")
        broker.advance(9)
        assert not client.closed
        broker.resume(access.token())
        broker.advance(2.9)
        assert not client.closed
        broker.advance(0.3)
        assert client.close_reason == "keep alive timeout"

    def test_a_long_keep_alive_is_not_cut_short_by_a_question(self) -> None:
        access = ScriptedAccess(publish=True)
        broker = MemoryBroker(access=access)
        client = broker.connect("a", keep_alive=100)
        client.publish("t")
        broker.resume(access.token())
        broker.advance(149)
        assert not client.closed
        broker.advance(1.2)
        assert client.close_reason == "keep alive timeout"

    def test_a_client_that_takes_nothing_is_found_after_a_question(self) -> None:
        access = ScriptedAccess(publish=True)
        limits = Limits()
        broker = MemoryBroker(limits, access=access)
        client = broker.connect("a")
        client.subscribe("t")
        client.publish("t")
        client.stall()
        broker.inject("t", b"x")
        broker.resume(access.token())
        broker.advance(limits.write_timeout_ms / 1000 + 0.2)
        assert client.close_reason == "write stalled"


class TestSubscribe:
    @pytest.mark.parametrize("version", [4, 5])
    def test_verdicts(self, version: int) -> None:
        access = ScriptedAccess(subscribe=True)
        access.answers[SUBSCRIBE] = 0
        access.verdicts = [0, spec.NOT_AUTHORIZED]
        broker = MemoryBroker(access=access)
        client = broker.connect("a", version=version)
        refused = spec.NOT_AUTHORIZED if version == 5 else spec.SUBACK_FAILURE
        assert client.subscribe("yes", "no", qos=1) == [1, refused]
        assert (broker.inject("yes"), broker.inject("no")) == (1, 0)

    def test_all_refused(self) -> None:
        access = ScriptedAccess(subscribe=True)
        access.answers[SUBSCRIBE] = spec.NOT_AUTHORIZED
        client = MemoryBroker(access=access).connect("a", version=5)
        assert client.subscribe("a", "b") == [spec.NOT_AUTHORIZED] * 2

    def test_late_with_packets_behind(self) -> None:
        access = ScriptedAccess(subscribe=True)
        broker = MemoryBroker(access=access)
        broker.inject("t", b"kept", retain=True)
        client = broker.connect("a")
        client.send(b"\x82\x06\0\x01\0\x01t\0" + b"\x30\x04\0\x01tx")
        client.expect()
        broker.resume(access.token())
        client.expect(Suback(spec.SUBACK, 1, b"\0"), Publish(b"t", b"kept", 0, True), Publish(b"t", b"x", 0, False))


def test_session_events_in_order() -> None:
    access = ScriptedAccess()
    broker = MemoryBroker(access=access)
    broker.connect("a", version=5, session_expiry_interval=10).drop()
    broker.advance(11)
    broker.connect("b").disconnect()
    assert access.events == [
        (CONNECTED, "a", ""),
        (DISCONNECTED, "a", "closed by peer"),
        (SESSION_ENDED, "a", ""),
        (CONNECTED, "b", ""),
        (DISCONNECTED, "b", "client disconnected"),
        (SESSION_ENDED, "b", ""),
    ]
