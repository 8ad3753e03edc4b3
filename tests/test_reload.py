"""Reload: all or nothing, live clients follow, and what takes a restart is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from access_helpers import write_passwords
from socket_client import Clients, await_true

from swellmq import Settings
from swellmq.codec import spec
from swellmq.codec.packets import Disconnect, Publish
from swellmq.options import OPTIONS
from swellmq.reload import FIXED_LIMITS, LIVE, differences
from swellmq.server import Server

ACL = '[[allow]]\ntopic = "{}"\n'


class Files:
    """A configuration with a password file and an ACL file."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "swellmq.toml"
        self.users = write_passwords(folder / "users", joe="secret", jim="other", ada="x")
        self.acl = folder / "acl.toml"
        self.acl.write_text(ACL.format("#"))
        self.write()

    def write(self, limits: str = "", first: str = "", access: str = "") -> None:
        self.config.write_text(
            f"port = 0\nsys_interval_s = 0\n{first}\n[pool]\ninitial_size = 16\n[access]\n{access}\n"
            f'password_file = "{self.users}"\nacl_file = "{self.acl}"\n[limits]\n{limits}\n'
        )


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture
def running(files: Files, caplog: pytest.LogCaptureFixture) -> Iterator[Server]:
    caplog.set_level("INFO", "swellmq")
    server = Server(Settings.load(str(files.config), {}, {}))
    server.open()
    yield server
    assert server.self_check() == []
    assert server.stats.errors_internal == 0
    server.finish()


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    lines = [record.getMessage() for record in caplog.records if record.name == "swellmq.reload"]
    caplog.clear()
    return lines


def test_users_that_are_gone_or_have_another_password_are_disconnected(
    running: Server, files: Files, clients: Clients, caplog: pytest.LogCaptureFixture
) -> None:
    joe = clients(running, 5, "1", username="joe", password=b"secret")
    jim = clients(running, 5, "2", username="jim", password=b"other")
    ada = clients(running, 5, "3", username="ada", password=b"x")
    write_passwords(files.users, joe="secret", ada="y", eve="z")
    assert running.reload()
    for gone in (jim, ada):
        assert gone.expect(Disconnect).reason_code == spec.NOT_AUTHORIZED
        assert gone.receive() is None
    joe.ping()
    assert said(caplog) == ["reload: users: 1 added, 1 removed, 1 with a new password", "reload: done"]
    assert clients(running).connect("3", username="ada", password=b"x").reason_code == 4  # nothing is remembered
    clients(running, 4, "3", username="ada", password=b"y").ping()
    clients(running, 4, "4", username="eve", password=b"z")


def test_rules_hold_for_live_clients(
    running: Server, files: Files, clients: Clients, caplog: pytest.LogCaptureFixture
) -> None:
    joe = clients(running, 4, "1", username="joe", password=b"secret")
    jim = clients(running, 4, "2", username="jim", password=b"other")
    jim.subscribe("a/#")
    jim.subscribe("b/#")
    joe.publish("a/1", b"before")
    assert jim.expect(Publish).payload == b"before"
    files.acl.write_text(ACL.format("b/#") + ACL.format("c"))
    assert running.reload()
    await_true(lambda: running.broker.core.topics.count == 1, lambda: running.turn(1))
    joe.publish("a/1", b"no longer")
    joe.publish("b/1", b"still")
    assert jim.expect(Publish).payload == b"still"
    assert said(caplog) == [f"reload: {files.acl}: 1 -> 2 rules", "reload: done"]


@pytest.mark.parametrize("where", ["config", "users", "acl"])
def test_a_fault_anywhere_changes_nothing(
    running: Server, files: Files, clients: Clients, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    jim = clients(running, 4, "2", username="jim", password=b"other")
    write_passwords(files.users, joe="new")
    files.acl.write_text(ACL.format("b/#"))
    files.write("subscriptions = 7")
    path = {"config": files.config, "users": files.users, "acl": files.acl}[where]
    path.write_text(path.read_text() + "\nnonsense\n")
    assert not running.reload()
    (line,) = said(caplog)
    assert line.startswith("reload failed, nothing has changed: ") and f"{path}:" in line
    jim.ping()
    assert jim.subscribe("a") == b"\0"
    assert running.broker.core.limits.subscriptions == 100_000
    clients(running, 4, "1", username="joe", password=b"secret")


def test_settings_that_change_at_once_and_those_that_do_not(
    running: Server, files: Files, clients: Clients, caplog: pytest.LogCaptureFixture
) -> None:
    files.write(
        "outbox_bytes = 65536\nreceive_maximum = 7\n", "max_connections = 77", 'anonymous = "yes"\nremember_s = 0'
    )
    assert running.reload()
    assert said(caplog) == [
        "reload: max_connections: 1000000 -> 77, takes a restart",
        "reload: pool.max_size: 100000 -> 77, takes a restart",
        "reload: access.anonymous: auto -> yes",
        "reload: access.remember_s: 300 -> 0",
        "reload: limits.outbox_bytes: 1048576 -> 65536",
        "reload: limits.receive_maximum: 1024 -> 7, takes a restart",
        "reload: done",
    ]
    limits = running.broker.core.limits
    assert (limits.outbox_bytes, limits.receive_maximum) == (65_536, 1_024)
    assert running.turn_state.unread_bytes == 4 * 65_536
    nobody = clients(running, 4, "nobody")
    assert running.reload()  # what takes a restart is named each time
    assert "reload: max_connections: 1000000 -> 77, takes a restart" in said(caplog)
    files.write()
    assert running.reload()
    assert nobody.receive() is None  # without a name nobody is welcome any more


def test_access_control_does_not_begin_or_end_by_itself(
    running: Server, files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    files.config.write_text("port = 0\n")
    assert not running.reload()
    assert "[access]: access control begins or ends with this. Restart" in said(caplog)[0]


def test_settings_of_a_program_read_their_files_again(
    server: Callable[..., Server], tmp_path: Path, clients: Clients
) -> None:
    users = write_passwords(tmp_path / "users", joe="secret")
    one = server(access_password_file=str(users))
    write_passwords(users, joe="new")
    assert one.reload()
    clients(one, 4, "c", username="joe", password=b"new")


def test_the_names_of_settings_are_right() -> None:
    names = [option.name for option in OPTIONS]
    assert set(FIXED_LIMITS) | set(LIVE) <= set(names)


def test_files_of_one_listener(tmp_path: Path, clients: Clients, caplog: pytest.LogCaptureFixture) -> None:
    users, acl = write_passwords(tmp_path / "users", joe="a", jim="b"), tmp_path / "acl.toml"
    acl.write_text(ACL.format("a/#"))
    config = tmp_path / "swellmq.toml"
    config.write_text(
        "sys_interval_s = 0\n[pool]\ninitial_size = 16\n[[listener]]\nport = 0\n[[listener]]\nport = 0\n"
        'bind = ["127.0.0.1", "127.0.0.2"]\n'  # which share the files
        f'password_file = "{users}"\nacl_file = "{acl}"\n'
    )
    one = Server(Settings.load(str(config), {}, {}))
    one.open()
    second = ("127.0.0.1", one.listeners[1].port)
    caplog.set_level("INFO", "swellmq")

    def turn() -> None:
        one.turn(1)

    anybody = clients(one, 5, "1")  # the first listener asks nobody
    joe = clients(second, 5, "2", step=turn, username="joe", password=b"a")
    jim = clients(second, 5, "3", step=turn, username="jim", password=b"b")
    assert joe.subscribe("b") == b"\x87" and anybody.subscribe("b") == b"\x00"
    write_passwords(users, joe="a")
    acl.write_text(ACL.format("a/#") + ACL.format("b"))
    assert one.reload()
    assert said(caplog) == [
        "reload: users: 0 added, 1 removed, 0 with a new password",
        f"reload: {acl}: 1 -> 2 rules",
        "reload: done",
    ]
    assert jim.expect(Disconnect).reason_code == spec.NOT_AUTHORIZED
    assert joe.subscribe("b") == b"\x00"
    anybody.ping()
    for path in (users, acl):
        text = path.read_text()
        path.write_text("nonsense")
        assert not one.reload()
        path.write_text(text)
    acl.unlink()
    assert not one.reload() and "listener.acl_file: " in caplog.text
    one.finish()


@pytest.mark.parametrize("gets_own", [True, False])
def test_a_listener_gets_or_loses_a_file_of_its_own(tmp_path: Path, clients: Clients, gets_own: bool) -> None:
    """Whoever the other file does not know leaves, at this listener and at no other."""
    first, other = write_passwords(tmp_path / "a", joe="a", jim="b"), write_passwords(tmp_path / "b", joe="a", eve="c")
    config = tmp_path / "swellmq.toml"

    def write(own: bool) -> None:
        usual, line = (first, f'password_file = "{other}"\n') if own else (first, "")
        if not gets_own:
            usual, line = (other, f'password_file = "{first}"\n') if own else (other, "")
        config.write_text(
            f'sys_interval_s = 0\n[pool]\ninitial_size = 16\n[access]\npassword_file = "{usual}"\n'
            f"[[listener]]\nport = 0\n[[listener]]\nport = 0\n{line}"
        )

    write(own=not gets_own)
    one = Server(Settings.load(str(config), {}, {}))
    one.open()
    second = ("127.0.0.1", one.listeners[1].port)

    def turn() -> None:
        one.turn(1)

    elsewhere = clients(one, 5, "1", username="joe", password=b"a")
    joe = clients(second, 5, "2", step=turn, username="joe", password=b"a")
    jim = clients(second, 5, "3", step=turn, username="jim", password=b"b")
    write(own=gets_own)
    assert one.reload()
    assert jim.expect(Disconnect).reason_code == spec.NOT_AUTHORIZED
    clients(second, 5, "4", step=turn, username="eve", password=b"c")
    for client in (elsewhere, joe):
        client.ping()
    one.finish()


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("", "maximum_qos = 1", True),
        ('protocol = "websocket"', 'protocol = "websocket"\norigins = "*"', True),
        ('proxy = "10.0.0.1"', 'proxy = "10.0.0.2"', True),
        ('proxy = "10.0.0.1"', 'proxy = "10.0.0.1"', False),
        ("", 'anonymous = "no"', False),  # this is live
        ('certificate = "a"', 'certificate = "b"', False),
    ],
)
def test_what_of_a_listener_takes_a_restart_is_named(tmp_path: Path, before: str, after: str, told: bool) -> None:
    config = tmp_path / "swellmq.toml"
    config.write_text(f"[[listener]]\nport = 1884\n{before}\n")
    old = Settings.load(str(config), {}, {})
    config.write_text(f"[[listener]]\nport = 1884\n{after}\n")
    lines = [f"listener {old.listeners[0]}: its settings have changed, which takes a restart"] if told else []
    assert differences(old, old.read_again()) == lines
