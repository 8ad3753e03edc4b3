"""The door with a broker around it: who comes in, what others notice while passwords are hashed, storms of logins."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from access_helpers import write_passwords
from harness import MemoryBroker
from socket_client import Clients, await_true

from swellmq import Access, Broker, Settings, SettingsError
from swellmq.access.build import build_door
from swellmq.access.door import ANYBODY, BUSY, LOCAL, NOBODY, REMEMBERED_TOPICS, Door
from swellmq.access.guard import Guard, GuardSettings
from swellmq.access.provider import Login, Provider, Verdict
from swellmq.access.remembered import Remembered
from swellmq.access.workers import Workers
from swellmq.codec import spec
from swellmq.codec.packets import Connack
from swellmq.server import Server

Brokers = Callable[..., Broker]
Servers = Callable[..., Server]


@pytest.fixture
def users(tmp_path: Path) -> str:
    return str(write_passwords(tmp_path / "users", joe="secret", jim="other"))


@pytest.mark.parametrize("version", [3, 4, 5])
def test_who_comes_in(broker: Brokers, clients: Clients, users: str, version: int) -> None:
    running = broker(access_password_file=users)

    def answer(username: str | None, password: bytes | None) -> Connack:
        return clients(running, version).connect("c", username=username, password=password)

    bad, nobody = (0x86, 0x87) if version == 5 else (4, 5)
    assert answer("joe", b"secret").reason_code == 0
    assert answer("joe", b"other").reason_code == bad
    assert answer("ada", b"secret").reason_code == bad
    assert answer(None, None).reason_code == nobody
    counters = running.statistics()
    assert (counters["logins_accepted"], counters["logins_refused"], counters["logins_waiting"]) == (1, 3, 0)


def test_the_user_is_the_session_s(broker: Brokers, clients: Clients, users: str) -> None:
    running = broker(access_password_file=users)
    clients(running, 4, "c", username="joe", password=b"secret")
    session = running.server.broker.core.session("c")
    assert session is not None and session.username == "joe"


@pytest.mark.parametrize(("anonymous", "code"), [("yes", 0), ("loopback", 0), ("no", 5), ("auto", 5)])
def test_anonymous_beside_a_password_file(
    broker: Brokers, clients: Clients, users: str, anonymous: str, code: int
) -> None:
    running = broker(access_password_file=users, access_anonymous=anonymous)
    assert clients(running).connect("c").reason_code == code
    # A name that nobody knows is not taken for anonymous.
    assert clients(running).connect("d", username="ada", password=b"x").reason_code == 4


def test_nobody_may_come_in_without_any_provider(broker: Brokers, clients: Clients) -> None:
    running = broker(access_anonymous="no")
    assert clients(running).connect("c").reason_code == 5
    assert clients(running).connect("c", username="ada", password=b"x").reason_code == 5  # nobody knows the name


class Gate(Provider):
    """Says yes once the test opens it."""

    def __init__(self) -> None:
        super().__init__("gate")
        self.opened = threading.Event()
        self.asked = 0

    def check(self, login: Login) -> Verdict | None:
        self.asked += 1
        assert self.opened.wait(10)
        return Verdict(0) if login.password == b"secret" else None


class Broken(Provider):
    def check(self, login: Login) -> Verdict | None:
        raise RuntimeError("the cellar is flooded")


def gated(*providers: Provider, queue_max: int = 2, keep_ms: int = 0, anonymous: str = ANYBODY) -> Door:
    workers = Workers("test", 1, queue_max, 10.0)
    asking = Workers("ask", 1, queue_max, 10.0)
    return Door(list(providers), anonymous, workers, asking, Remembered(keep_ms), Guard(GuardSettings()))


class Joined:
    """A door in a server that the test turns."""

    def __init__(self, server: Servers, door: Door) -> None:
        self.door = door
        self.server = server(access=door)
        door.attach(self.server.call, self.server.broker)


def test_a_storm_of_logins_is_put_off_and_traffic_goes_on(server: Servers, clients: Clients) -> None:
    gate = Gate()
    joined = Joined(server, gated(gate))
    old = clients(joined.server, 4, "old")
    waiting = [clients(joined.server, 5) for _ in range(8)]
    for number, client in enumerate(waiting):
        client.send(client.connect_packet(f"new-{number}", username="joe", password=b"secret"))
    old.ping()  # while a password is being checked
    await_true(lambda: joined.door.logins_put_off >= 5, lambda: joined.server.turn(1))
    old.ping()
    gate.opened.set()
    codes = [client.expect(Connack) for client in waiting]
    taken = [one.reason_code for one in codes].count(0)
    assert taken == 8 - joined.door.logins_put_off and taken in (2, 3)  # one is under way, two wait
    late = [one for one in codes if one.reason_code == spec.QUOTA_EXCEEDED]
    assert len(late) == 8 - taken
    assert joined.door.computing.refused == joined.door.logins_put_off
    joined.door.close()


def test_words_for_who_is_put_off() -> None:
    gate = Gate()
    door = gated(gate, queue_max=1)
    broker = MemoryBroker(access=door)
    clients = [broker.connect(str(number), 5, username="joe", password=b"x") for number in range(4)]
    answered = [client.connack for client in clients if client.connack is not None]
    assert answered and all(one.reason_code == spec.QUOTA_EXCEEDED for one in answered)
    assert answered[0].properties is not None and answered[0].properties.reason_string == BUSY
    gate.opened.set()
    door.close()


def test_the_first_that_knows_the_user_decides_and_the_next_is_asked_where_it_does_not(
    server: Servers, clients: Clients
) -> None:
    first, second = Gate(), Gate()
    first.opened.set()
    second.opened.set()
    joined = Joined(server, gated(first, second))
    clients(joined.server, 4, "a", username="joe", password=b"secret")
    assert (first.asked, second.asked) == (1, 0)
    assert clients(joined.server).connect("b", username="joe", password=b"x").reason_code == 4
    assert (first.asked, second.asked) == (2, 1)
    joined.door.close()


def test_a_provider_that_fails_lets_nobody_in(
    server: Servers, clients: Clients, caplog: pytest.LogCaptureFixture
) -> None:
    joined = Joined(server, gated(Broken("cellar")))
    assert clients(joined.server, 5).connect("a", username="joe").reason_code == spec.SERVER_UNAVAILABLE
    assert "cellar failed to check a login" in caplog.text
    joined.door.close()


def test_an_accepted_password_is_remembered_and_another_is_not(server: Servers, clients: Clients) -> None:
    gate = Gate()
    gate.opened.set()
    joined = Joined(server, gated(gate, keep_ms=60_000))
    for _ in range(3):
        clients(joined.server, 4, "a", username="joe", password=b"secret").disconnect()
    assert gate.asked == 1
    for _ in range(2):
        assert clients(joined.server).connect("a", username="joe", password=b"wrong").reason_code == 4
    assert gate.asked == 3
    clients(joined.server, 4, "b", username="joe", password=b"secret")
    assert gate.asked == 4  # another client is another question
    joined.door.close()


def test_a_client_that_leaves_while_its_password_is_checked(server: Servers, clients: Clients) -> None:
    gate = Gate()
    joined = Joined(server, gated(gate))
    joined.door.guard.settings.connections_per_address = 9
    client = clients(joined.server)
    client.send(client.connect_packet("a", username="joe", password=b"secret"))
    await_true(lambda: gate.asked, lambda: joined.server.turn(1))
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()  # a reset, which is noticed though nothing is read
    await_true(lambda: joined.server.pool.statistics()["active"] == 0, lambda: joined.server.turn(1))
    gate.opened.set()
    await_true(lambda: joined.door.logins_abandoned, lambda: joined.server.turn(1))
    assert joined.door.guard.inside == {}
    assert joined.server.broker.core.session("a") is None
    joined.door.close()


@pytest.mark.parametrize(("anonymous", "code"), [(ANYBODY, 0), (LOCAL, 0), (NOBODY, 5)])
def test_anonymous(anonymous: str, code: int) -> None:
    connack = MemoryBroker(access=gated(anonymous=anonymous)).connect("a").connack
    assert connack is not None and connack.reason_code == code


def test_settings_and_an_access_of_the_program_exclude_each_other(users: str) -> None:
    with pytest.raises(SettingsError, match=r"\[access\]: given beside an access of the program itself"):
        Server(Settings(access_password_file=users), Access())


def test_the_warning_about_an_open_broker_goes_with_a_password_file() -> None:
    def warnings(**values: object) -> list[str]:
        return [one for one in Settings(bind="0.0.0.0", **values).warnings if "open" in one]

    assert warnings() and warnings(access_password_file="x", access_anonymous="yes")
    assert not warnings(access_password_file="x") and not warnings(access_anonymous="loopback")


def test_the_answer_about_very_many_topics_is_not_remembered() -> None:
    door = build_door(Settings(port=0, access_anonymous="yes"))
    for number, count in enumerate((REMEMBERED_TOPICS, REMEMBERED_TOPICS + 1)):
        door.answered(b"%d" % number, [0] * count, Verdict(0), lambda codes: None)
    assert len(door.remembered) == 1
    door.close()


def test_who_gives_no_answer_is_complained_about_once_a_second(caplog: pytest.LogCaptureFixture) -> None:
    door = build_door(Settings(port=0, access_anonymous="yes"))
    for _ in range(100):
        door.complain("%s can't check a login: %s", "http", OSError("down"))
    assert [record.getMessage() for record in caplog.records] == ["http can't check a login: down"]
    door.close()
