"""Traces over the API: what is shown of a client, and for how long."""

from __future__ import annotations

from collections.abc import Callable

from admin_client import ask
from socket_client import Clients

from swellmq import Broker

Start = Callable[..., Broker]


def test_a_trace_from_its_begin_to_its_end(broker: Start, clients: Clients) -> None:
    one = broker(admin="127.0.0.1:0")
    path = "/api/v1/traces/a%2Fb"
    assert ask(one, path).code() == "no_such_trace"
    begun = ask(one, path, "POST", {"minutes": 5})
    assert begun.status == 200
    state = begun.json()
    assert (state["client_id"], state["active"], state["received"]) == ("a/b", True, 0)
    client = clients(one, 4, "a/b")
    client.ping()
    answer = ask(one, path).json()
    assert [(item["number"], item["direction"], item["text"]) for item in answer["items"][1:]] == [
        (2, "sent", "CONNACK connection accepted"),
        (3, "received", "PINGREQ"),
        (4, "sent", "PINGRESP"),
    ]
    assert (answer["received"], answer["sent"]) == (2, 2)
    assert [item["number"] for item in ask(one, path + "?after=2").json()["items"]] == [3, 4]
    assert [item["number"] for item in ask(one, path + "?limit=1").json()["items"]] == [4]
    assert ask(one, path + "?after=4").json()["items"] == []
    for _ in range(2):
        stopped = ask(one, path + "/stop", "POST")
        assert stopped.status == 200 and not stopped.json()["active"]
    client.ping()
    answer = ask(one, path).json()
    assert not answer["active"] and len(answer["items"]) == 4
    [listed] = ask(one, "/api/v1/traces").json()["items"]
    assert listed["client_id"] == "a/b" and "items" not in listed
    assert ask(one, path, "DELETE").status == 204
    for method, below in (("GET", ""), ("DELETE", ""), ("POST", "/stop")):
        assert ask(one, path + below, method).code() == "no_such_trace"


def test_a_trace_outlives_its_client(broker: Start, clients: Clients) -> None:
    one = broker(admin="127.0.0.1:0")
    ask(one, "/api/v1/traces/a", "POST", {})
    clients(one, 5, "a")
    assert ask(one, "/api/v1/clients/a?session=true", "DELETE").status == 204
    assert ask(one, "/api/v1/clients/a").status == 404
    trace = ask(one, "/api/v1/traces/a").json()
    assert trace["active"] and trace["items"][-1]["text"].startswith("DISCONNECT ")


def test_a_trace_that_goes_on_is_forgotten(broker: Start, clients: Clients) -> None:
    one = broker(admin="127.0.0.1:0")
    client = clients(one, 5, "a")
    ask(one, "/api/v1/traces/a", "POST", {})
    client.ping()
    assert ask(one, "/api/v1/traces/a", "DELETE").status == 204
    client.ping()
    assert ask(one, "/api/v1/traces").json() == {"items": []}


def test_bounds(broker: Start) -> None:
    one = broker(admin="127.0.0.1:0")
    assert ask(one, "/api/v1/traces/a", "POST", {"minutes": 0}).status == 422
    assert ask(one, "/api/v1/traces/a", "POST", {"minutes": 1_441}).status == 422
    assert ask(one, "/api/v1/traces/a", "POST", {}).status == 200, "ten minutes where nothing is said"
    for number in range(15):
        ask(one, f"/api/v1/traces/{number}", "POST", {"minutes": 1})
    answer = ask(one, "/api/v1/traces/one-more", "POST", {"minutes": 1})
    assert (answer.status, answer.code()) == (409, "too_many_traces")
