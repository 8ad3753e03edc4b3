"""Clients, sessions and subscriptions over the API: told as they are, page by page, and ended."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import quote

import pytest
from admin_client import ask
from socket_client import Client, Clients, await_true

from swellmq import Broker
from swellmq.codec.packets import Disconnect, Publish, Subscribe, TopicRequest
from swellmq.codec.spec import ADMINISTRATIVE_ACTION

Start = Callable[..., Broker]


def all_pages(broker: Broker, path: str, limit: int) -> list[Any]:
    """The items of all pages of a list; each page but the last is full."""
    items: list[Any] = []
    after = ""
    separator = "&" if "?" in path else "?"
    while True:
        page = ask(broker, f"{path}{separator}limit={limit}{after}").json()
        items += page["items"]
        if page["next"] is None:
            return items
        assert len(page["items"]) == limit
        after = "&after=" + quote(page["next"], safe="")


def test_a_client_is_told_as_it_is(broker: Start, clients: Clients) -> None:
    one = broker(admin="127.0.0.1:0")
    client = clients(one, 5, "pump/7", keep_alive=30, username="ann", expiry_s=60)
    client.subscribe("a/#", 1)
    listed = ask(one, "/api/v1/clients").json()
    assert listed == {"items": [ask(one, "/api/v1/clients/pump%2F7").json()], "next": None}
    [told] = listed["items"]
    since = datetime.fromisoformat(told.pop("connected_at"))
    assert abs(since.timestamp() - datetime.now().timestamp()) < 10
    assert {name: told[name] for name in list(told)[:9]} == {
        "client_id": "pump/7",
        "username": "ann",
        "address": "127.0.0.1",
        "listener": f"127.0.0.1:{one.port}",
        "protocol_version": "5.0",
        "keep_alive_s": 30,
        "subscriptions": 1,
        "queued": 0,
        "inflight": 0,
    }


def test_lists_are_in_order_and_each_is_listed_once(broker: Start, clients: Clients) -> None:
    one = broker(admin="127.0.0.1:0")
    names = [f"client-{number}" for number in range(23)]
    for name in names:
        clients(one, client_id=name)
    away = clients(one, 5, "away", expiry_s=100)
    away.disconnect()
    for limit in (1, 7, 22, 23, 24):
        assert [item["client_id"] for item in all_pages(one, "/api/v1/clients", limit)] == sorted(names)
    assert [item["client_id"] for item in all_pages(one, "/api/v1/sessions", 5)] == sorted([*names, "away"])
    assert ask(one, "/api/v1/sessions?connected=false").json()["items"][0]["client_id"] == "away"
    assert len(ask(one, "/api/v1/sessions?connected=true").json()["items"]) == 23


def test_search(broker: Start, clients: Clients) -> None:
    one = broker(admin="127.0.0.1:0")
    clients(one, client_id="Pump-1", username="Ann")
    clients(one, client_id="pump-2", username="bob")
    clients(one, client_id="fan")

    def found(text: str) -> list[str]:
        return [item["client_id"] for item in ask(one, f"/api/v1/clients?search={text}").json()["items"]]

    assert found("pUMP") == ["Pump-1", "pump-2"]
    assert found("ann") == ["Pump-1"]
    assert found("127.0") == ["Pump-1", "fan", "pump-2"]
    assert found("127.0.0.2") == []


def test_a_session_whose_client_is_away(broker: Start, clients: Clients) -> None:
    one = broker(admin="127.0.0.1:0")
    away = clients(one, 5, "away", expiry_s=100, will=Publish(b"gone", b"x", 0, False))
    away.subscribe("a", 1)
    away.send(Disconnect(4))  # with its will, which goes out at once
    assert away.receive() is None
    clients(one, client_id="p").publish("a", b"waits", qos=1)
    await_true(lambda: ask(one, "/api/v1/sessions?search=away").json()["items"][0]["queued"] == 1)
    told = ask(one, "/api/v1/sessions?search=away").json()["items"][0]
    assert not told["connected"]
    assert told["expiry_interval_s"] == 100
    left = datetime.fromisoformat(told["expires_at"]) - datetime.fromisoformat(told["since"])
    assert left.total_seconds() == 100
    assert (told["subscriptions"], told["queued_bytes"], told["queued_on_disk"]) == (1, len("awaits"), 0)
    assert ask(one, "/api/v1/clients/away").code() == "no_such_client"
    assert ask(one, "/api/v1/clients/away/subscriptions").code() == "no_such_client"
    assert ask(one, "/api/v1/sessions/away/subscriptions").json()["items"][0]["topic_filter"] == "a"
    assert ask(one, "/api/v1/sessions/away").json() == told


def test_a_client_is_disconnected(broker: Start, clients: Clients) -> None:
    one = broker(admin="127.0.0.1:0")
    watcher = clients(one, client_id="watcher")
    watcher.subscribe("will")
    client = clients(one, 5, "victim", expiry_s=100, will=Publish(b"will", b"bye", 0, False))
    assert ask(one, "/api/v1/clients/victim", "DELETE").status == 204
    assert client.expect(Disconnect).reason_code == ADMINISTRATIVE_ACTION
    assert client.receive() is None
    assert watcher.expect(Publish).payload == b"bye"
    assert ask(one, "/api/v1/clients/victim", "DELETE").status == 404
    assert ask(one, "/api/v1/sessions?search=victim").json()["items"]
    assert one.statistics()["closed: administrative action"] == 1


@pytest.mark.parametrize(
    ("is_here", "path"),
    [
        (True, "/api/v1/clients/victim?session=true"),
        (True, "/api/v1/sessions/victim"),
        (False, "/api/v1/sessions/victim"),
    ],
)
def test_a_session_is_ended(is_here: bool, path: str, broker: Start, clients: Clients) -> None:
    one = broker(admin="127.0.0.1:0")
    client = clients(one, 5, "victim", expiry_s=100)
    client.subscribe("a")
    if not is_here:
        client.disconnect()
    assert ask(one, path, "DELETE").status == 204
    assert ask(one, path, "DELETE").status == 404
    await_true(lambda: ask(one, "/api/v1/sessions").json()["items"] == [])
    assert one.statistics()["subscriptions"] == 0


def subscribe_many(client: Client, filters: list[str]) -> None:
    client.send(Subscribe(1, [TopicRequest(one.encode(), 1) for one in filters]))
    client.receive()


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
def test_subscriptions_of_all_clients_page_by_page(limit: int, broker: Start, clients: Clients) -> None:
    one = broker(admin="127.0.0.1:0")
    expected: list[tuple[str, str]] = []
    for number, count in enumerate((3, 0, 1, 6, 1)):
        filters = [f"{letter}/+" for letter in "abcdef"[:count]]
        client = clients(one, 5, f"c{number}")
        if filters:
            subscribe_many(client, filters)
        expected += [(f"c{number}", one) for one in filters]
    items = all_pages(one, "/api/v1/subscriptions", limit)
    assert [(item["client_id"], item["topic_filter"]) for item in items] == expected
    items = all_pages(one, "/api/v1/subscriptions?topic_filter=a/%2B", limit)
    assert [(item["client_id"], item["topic_filter"]) for item in items] == [(c, f) for c, f in expected if f == "a/+"]
    items = all_pages(one, "/api/v1/clients/c3/subscriptions", limit)
    assert [(item["client_id"], item["topic_filter"]) for item in items] == [(c, f) for c, f in expected if c == "c3"]


def test_what_a_subscription_says(broker: Start, clients: Clients) -> None:
    one = broker(admin="127.0.0.1:0")
    client = clients(one, 5, "c")
    client.send(Subscribe(1, [TopicRequest(b"$share/group/a", 2, False, True)]))
    client.receive()
    assert ask(one, "/api/v1/subscriptions").json()["items"] == [
        {
            "client_id": "c",
            "topic_filter": "$share/group/a",
            "share_name": "group",
            "qos": 2,
            "no_local": False,
            "retain_as_published": True,
            "identifiers": [],
        }
    ]
    assert ask(one, "/api/v1/subscriptions?after=nonsense").code() == "bad_query"
    assert ask(one, "/api/v1/clients/nobody/subscriptions").code() == "no_such_client"
    assert ask(one, "/api/v1/sessions/nobody/subscriptions").code() == "no_such_session"


def test_the_pool_and_its_self_check(broker: Start, clients: Clients) -> None:
    one = broker(admin="127.0.0.1:0", pool_initial_size=4, pool_max_size=100)
    for number in range(9):
        clients(one, client_id=str(number))
    told = ask(one, "/api/v1/pool").json()
    assert told["state"]["active"] == 9
    assert told["settings"]["sequence"][:3] == [4, 6, 9]
    assert told["settings"]["factor"] == "3/2"
    assert ask(one, "/api/v1/pool/self-check", "POST").json() == {"faults": []}
    pool = one.server.pool
    pool.free[0].last_ms = 5
    pool.overflow += 1
    faults = ask(one, "/api/v1/pool/self-check", "POST").json()["faults"]
    pool.free[0].last_ms = 0
    pool.overflow -= 1
    assert faults[1] == "an object in the pool is not reset"
    assert re.match("active 9 is not capacity", faults[0])


def test_the_overview(broker: Start, clients: Clients) -> None:
    one = broker(admin="127.0.0.1:0")
    clients(one, client_id="c").subscribe("a")
    told = ask(one, "/api/v1/overview").json()
    assert told["connections"]["connected"] == told["sessions"] == told["subscriptions"] == 1
    assert told["memory"]["resident_bytes"] > 1_000_000
    assert told["connections"]["overflow_total"] == 0
    assert set(told["rates"]) == {"publishes_received", "publishes_sent", "bytes_received", "bytes_sent", "connects"}
    assert told["turn"]["longest_us"] >= told["turn"]["recent_us"] > 0
    assert told["alarms"] == []
    counters = ask(one, "/api/v1/statistics").json()
    assert counters["connects"] == 1
    assert counters["admin_requests"] == 2
