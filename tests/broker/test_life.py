"""What the log says of clients, in words and in fields, and how little of it in a storm."""

from __future__ import annotations

import logging

import pytest
from harness import MemoryBroker
from stand_ins import ScriptedAccess

from swellmq.broker.access import AUTHENTICATE, Access
from swellmq.broker.life import lasted
from swellmq.codec import spec
from swellmq.connection import Connection, Peers
from swellmq.errors import WRITE_STALLED
from swellmq.limits import Limits
from swellmq.net.pool import PoolSettings


class Street(Peers):
    """Everybody lives at one address."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def address(self, connection: Connection) -> str:
        self.asked += 1
        return "192.0.2.7"


@pytest.fixture(autouse=True)
def _all_lines(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "swellmq.clients")


def make(access: Access | None = None, limits: Limits | None = None, pool: PoolSettings | None = None) -> MemoryBroker:
    broker = MemoryBroker(access=access, limits=limits, pool=pool)
    broker.core.peers = Street()
    return broker


def lines(caplog: pytest.LogCaptureFixture, level: int = logging.INFO) -> list[str]:
    found = [record.getMessage() for record in caplog.records if record.levelno >= level]
    caplog.clear()
    return found


def fields(caplog: pytest.LogCaptureFixture, event: str) -> dict[str, object]:
    """Those of the one line of this event."""
    (found,) = [
        given
        for record in caplog.records
        if isinstance(given := getattr(record, "fields", None), dict) and given["event"] == event
    ]
    caplog.clear()
    return found


class TestALife:
    def test_from_first_to_last(self, caplog: pytest.LogCaptureFixture) -> None:
        broker = make()
        client = broker.connect("thermo", version=5, username="joe", keep_alive=60)
        broker.advance(75)
        client.disconnect()
        assert lines(caplog) == [
            "client thermo (user joe) from 192.0.2.7 connected: MQTT 5.0, keep alive 60 s, new session",
            "client thermo (user joe) from 192.0.2.7 disconnected after 1 min 15 s: client disconnected",
        ]

    def test_in_fields(self, caplog: pytest.LogCaptureFixture) -> None:
        broker = make()
        client = broker.connect("thermo", username="joe", clean_start=False)
        assert fields(caplog, "connected") == {
            "event": "connected",
            "client_id": "thermo",
            "address": "192.0.2.7",
            "user": "joe",
            "protocol_version": "3.1.1",
            "keep_alive_s": 0,
            "session_present": False,
        }
        broker.advance(2.5)
        client.send(b"\x00\x00")
        assert fields(caplog, "disconnected") == {
            "event": "disconnected",
            "client_id": "thermo",
            "address": "192.0.2.7",
            "user": "joe",
            "reason": "malformed packet",
            "phrase": "packet type 0",
            "seconds": 2.5,
        }
        broker.connect("thermo", clean_start=False)
        assert fields(caplog, "connected")["session_present"] is True

    def test_silence(self, caplog: pytest.LogCaptureFixture) -> None:
        broker = make()
        broker.connect("a", keep_alive=10)
        broker.advance(15)
        assert lines(caplog)[1:] == ["client a from 192.0.2.7 disconnected after 15 s: keep alive timeout"]

    def test_taken_over(self, caplog: pytest.LogCaptureFixture) -> None:
        broker = make()
        broker.connect("a")
        broker.advance(1)
        broker.connect("a")
        assert lines(caplog)[1:] == [
            "client a from 192.0.2.7 disconnected after 1 s: session taken over",
            "client a from 192.0.2.7 connected: MQTT 3.1.1, no keep alive, new session",
        ]

    def test_back_in_the_turn_in_which_it_was_lost(self, caplog: pytest.LogCaptureFixture) -> None:
        broker = make()
        lost = broker.connect("a")
        again = broker.open()
        lines(caplog)
        lost.connection.close(WRITE_STALLED)
        again.connect("a")
        assert lines(caplog) == [
            "client a from 192.0.2.7 disconnected after 0 ms: write stalled",
            "client a from 192.0.2.7 connected: MQTT 3.1.1, no keep alive, new session",
        ]
        broker.check()
        broker.check()

    def test_names_cannot_forge_lines(self, caplog: pytest.LogCaptureFixture) -> None:
        make().connect("a\u2028b", username="\u202eeve")
        (line,) = lines(caplog)
        assert line.startswith("client a\\u2028b (user \\u202eeve) from ")

    def test_subscriptions_at_debug(self, caplog: pytest.LogCaptureFixture) -> None:
        limits = Limits()
        limits.wildcard_subscription_available = False
        broker = make(limits=limits)
        client = broker.connect("a", version=5)
        client.subscribe("b", "c/#", qos=1)
        client.unsubscribe("b")
        assert [line for line in lines(caplog, logging.DEBUG) if "subscribed" in line] == [
            "client a subscribed to b (QoS 1), c/# (refused: wildcard subscriptions not supported)",
            "client a unsubscribed from b",
        ]
        client.subscribe(*[f"t/{number}" for number in range(10)])
        assert lines(caplog, logging.DEBUG)[0].endswith(", t/7 (QoS 0) and 2 more")


class TestRefusals:
    def test_by_access(self, caplog: pytest.LogCaptureFixture) -> None:
        access = ScriptedAccess(authenticates=True)
        access.answers[AUTHENTICATE] = spec.BAD_USER_NAME_OR_PASSWORD
        broker = make(access)
        broker.connect("a", username="joe")
        assert lines(caplog) == ["client a (user joe) from 192.0.2.7 is refused: bad user name or password"]
        broker.check()

    def test_by_a_rule(self, caplog: pytest.LogCaptureFixture) -> None:
        limits = Limits()
        limits.client_id_bytes = 23
        make(limits=limits).connect("x" * 24, version=5)
        assert fields(caplog, "refused") == {
            "event": "refused",
            "client_id": "x" * 24,
            "address": "192.0.2.7",
            "reason": "refused",
            "reason_code": spec.CLIENT_IDENTIFIER_NOT_VALID,
            "phrase": "a client identifier of this length is not allowed",
        }

    def test_when_full(self, caplog: pytest.LogCaptureFixture) -> None:
        pool = PoolSettings()
        pool.initial_size = pool.max_size = pool.max_connections = 1
        broker = make(pool=pool)
        broker.connect("a")
        lines(caplog)
        broker.connect("b", version=5)
        assert [line for line in lines(caplog) if line.startswith("client")] == [
            "client b from 192.0.2.7 is refused: quota exceeded (all connections are in use)"
        ]
        broker.check()

    @pytest.mark.parametrize("version", [4, 5])
    def test_a_connect_that_is_none(self, version: int, caplog: pytest.LogCaptureFixture) -> None:
        broker = make()
        broker.open(version).send(b"\x10\x0a\x00\x04MQTT" + bytes([version]) + b"\x01\x00\x00")
        (line,) = lines(caplog)
        assert "malformed packet" in line and "(" in line
        broker.check()

    def test_who_says_nothing(self, caplog: pytest.LogCaptureFixture) -> None:
        broker = make()
        broker.open()
        broker.advance(5)
        assert lines(caplog) == ["a connection from 192.0.2.7 ended before a client was let in: connect timeout"]

    def test_who_only_looks_is_told_at_debug(self, caplog: pytest.LogCaptureFixture) -> None:
        make().open().drop()
        assert [record.levelname for record in caplog.records] == ["DEBUG", "DEBUG"]
        assert lines(caplog, logging.DEBUG)[1].endswith("ended before a client was let in: closed by peer")


class TestStorms:
    def test_a_bounded_number_a_second(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, "swellmq.clients")
        broker = make()
        street = broker.core.peers
        assert isinstance(street, Street)
        for number in range(1_000):
            broker.connect(f"c{number}").drop()
        assert len(lines(caplog)) == 40
        assert street.asked == 40
        assert broker.core.lines.due_ms == 2_000
        broker.advance(1)
        broker.connect("late")
        assert lines(caplog) == [
            "980 more connected, 980 more disconnected in that second, not shown",
            "client late from 192.0.2.7 connected: MQTT 3.1.1, no keep alive, new session",
        ]
        assert broker.core.lines.due_ms == 0
        broker.check()

    def test_what_is_left_out_is_told_once(self, caplog: pytest.LogCaptureFixture) -> None:
        broker = make()
        broker.core.lines.per_second = 1
        broker.connect("a")
        broker.connect("b")
        caplog.clear()
        broker.core.tell_left_out()
        assert fields(caplog, "left_out")["counts"] == {"accepted": 1, "connected": 1}
        broker.core.tell_left_out()
        assert lines(caplog) == []

    def test_none_at_all(self, caplog: pytest.LogCaptureFixture) -> None:
        broker = make()
        broker.core.lines.per_second = 0
        broker.connect("a").disconnect()
        assert lines(caplog, logging.DEBUG) == [] and broker.core.lines.due_ms == 0


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "0 ms"),
        (999, "999 ms"),
        (1_000, "1 s"),
        (61_000, "1 min 1 s"),
        (3_600_000, "1 h 0 min"),
        (90_000_000, "1 d 1 h"),
    ],
)
def test_lasted(milliseconds: int, text: str) -> None:
    assert lasted(milliseconds) == text
