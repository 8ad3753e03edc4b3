"""What an operator does over the API: bans, log level, reload."""

from __future__ import annotations

import json
import logging
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from admin_client import ask
from socket_client import PATIENCE_S, Clients, await_true
from test_clients import all_pages
from test_server import Process

from swellmq import Broker, Settings
from swellmq.codec.packets import Disconnect
from swellmq.codec.spec import ADMINISTRATIVE_ACTION, BANNED

Start = Callable[..., Broker]


@pytest.fixture(autouse=True)
def level() -> Iterator[None]:
    logger = logging.getLogger("swellmq")
    before = logger.level
    yield
    logger.setLevel(before)


def test_a_client_id_is_banned_and_let_in_again(broker: Start, clients: Clients) -> None:
    one = broker(admin="127.0.0.1:0", access_anonymous="yes")
    client = clients(one, 5, "mallory")
    answer = ask(one, "/api/v1/bans", "POST", {"kind": "client_id", "value": "mallory", "seconds": 60})
    assert answer.status == 201
    assert answer.json()["disconnected"] == 1
    assert client.expect(Disconnect).reason_code == ADMINISTRATIVE_ACTION
    assert clients(one, 5).connect("mallory").reason_code == BANNED
    [ban] = ask(one, "/api/v1/bans").json()["items"]
    assert (ban["kind"], ban["value"]) == ("client_id", "mallory")
    assert ask(one, "/api/v1/bans?kind=client_id&value=mallory", "DELETE").status == 204
    assert ask(one, "/api/v1/bans").json() == {"items": [], "next": None}
    assert clients(one, 5).connect("mallory").reason_code == 0
    assert ask(one, "/api/v1/bans?kind=client_id&value=mallory", "DELETE").code() == "no_such_ban"


def test_an_address_is_banned_with_all_who_come_from_it(broker: Start, clients: Clients) -> None:
    one = broker(admin="127.0.0.1:0", access_anonymous="yes")
    for number in range(5):
        clients(one, 5, str(number))
    body = {"kind": "address", "value": "127.0.0.1"}
    assert ask(one, "/api/v1/bans", "POST", {**body, "disconnect": False}).json()["disconnected"] == 0
    assert ask(one, "/api/v1/bans", "POST", body).json()["disconnected"] == 5
    assert clients(one, 5).connect("0").reason_code == BANNED
    await_true(lambda: one.statistics()["clients"] == 0)
    assert ask(one, "/api/v1/bans", "POST", {**body, "value": "here"}).status == 422


@pytest.mark.parametrize("limit", [1, 3, 100])
def test_bans_page_by_page(limit: int, broker: Start) -> None:
    one = broker(admin="127.0.0.1:0", access_anonymous="yes")
    wanted = [("address", "10.0.0.9"), ("address", "::1"), *(("client_id", f"c/{number}") for number in range(6))]
    for kind, value in reversed(wanted):
        body = {"kind": kind, "value": value, "disconnect": False}
        assert ask(one, "/api/v1/bans", "POST", body).status == 201
    assert [(ban["kind"], ban["value"]) for ban in all_pages(one, "/api/v1/bans", limit)] == wanted


@pytest.mark.parametrize(
    ("kind", "value", "listed"),
    [
        ("address", "2001:DB8:0::1", "2001:db8::1"),
        ("address", "::ffff:192.0.2.7", "192.0.2.7"),
        ("client_id", "long" * 100, None),
    ],
)
def test_a_ban_ends_by_its_name_and_by_what_is_listed(
    kind: str, value: str, listed: str | None, broker: Start, clients: Clients
) -> None:
    one = broker(admin="127.0.0.1:0", access_anonymous="yes")
    for by_name in (True, False):
        assert ask(one, "/api/v1/bans", "POST", {"kind": kind, "value": value}).status == 201
        [ban] = ask(one, "/api/v1/bans").json()["items"]
        if kind == "client_id":
            assert clients(one, 5).connect(value).reason_code == BANNED
        assert ban["value"] == listed or (listed is None and len(ban["value"]) < len(value))
        name = quote(value if by_name else ban["value"], safe="")
        assert ask(one, f"/api/v1/bans?kind={kind}&value={name}", "DELETE").status == 204
        assert ask(one, "/api/v1/bans").json()["items"] == []
    assert ask(one, "/api/v1/bans?kind=address&value=here", "DELETE").code() == "no_such_ban"


def test_bans_need_somebody_who_looks(broker: Start) -> None:
    one = broker(admin="127.0.0.1:0")
    assert ask(one, "/api/v1/bans").json() == {"items": [], "next": None}
    answer = ask(one, "/api/v1/bans", "POST", {"kind": "client_id", "value": "x"})
    assert (answer.status, answer.code()) == (409, "no_access_control")


def test_more_or_less_is_logged(broker: Start) -> None:
    one = broker(admin="127.0.0.1:0")
    for name in ("debug", "warning", "none", "info"):
        assert ask(one, "/api/v1/log-level", "PUT", {"level": name}).json() == {"level": name}
        assert ask(one, "/api/v1/log-level").json() == {"level": name}
    assert ask(one, "/api/v1/log-level", "PUT", {"level": "loud"}).status == 422


def test_reload(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    text = 'port = 0\nadmin = "127.0.0.1:0"\n[limits]\nqueued_messages = %s\n'
    file.write_text(text % 10)
    with Broker(Settings.load(str(file), {}, {})) as one:
        assert ask(one, "/api/v1/reload", "POST").json() == {"changes": []}
        file.write_text(text % 20)
        assert ask(one, "/api/v1/reload", "POST").json() == {"changes": ["limits.queued_messages: 10 -> 20"]}
        assert one.server.broker.core.limits.queued_messages == 20
        file.write_text(text % '"many"')
        answer = ask(one, "/api/v1/reload", "POST")
        assert (answer.status, answer.code()) == (409, "reload_failed")
        assert "queued_messages" in answer.json()["error"]["message"]


def test_a_reload_of_the_command_changes_how_much_is_logged(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    text = 'admin = "127.0.0.1:0"\n[log]\nlevel = "%s"\n'
    file.write_text(text % "info")
    process = Process("--config", str(file))
    try:
        url = process.line("admin: http://").rpartition(" ")[2]
        file.write_text(text % "warning")
        request = urllib.request.Request(url + "api/v1/reload", method="POST")
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            assert json.load(answer) == {"changes": ["log.level: info -> warning"]}
        with urllib.request.urlopen(url + "api/v1/log-level", timeout=PATIENCE_S) as answer:
            assert json.load(answer) == {"level": "warning"}
        process.end()
    finally:
        process.close()
