"""Messages and topics over the API: publish, browse and delete retained ones, topics that match, the tree."""

from __future__ import annotations

import base64
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from admin_client import ask
from socket_client import Clients, quiet_settings
from test_clients import all_pages

from swellmq import Broker
from swellmq.codec.packets import Publish
from swellmq.codec.topic import matches

Start = Callable[..., Broker]


def publish(broker: Broker, topic: str, **fields: Any) -> Any:
    answer = ask(broker, "/api/v1/publish", "POST", {"topic": topic, **fields})
    assert answer.status == 200, answer.body
    return answer.json()


def test_a_message_is_published(broker: Start, clients: Clients) -> None:
    one = broker(admin="127.0.0.1:0")
    client = clients(one, 5, "c")
    client.subscribe("a/#", 1)
    assert publish(one, "a/b", payload="héllo", qos=1) == {"matched": 1}
    got = client.expect(Publish)
    assert (got.topic_name, got.payload, got.qos, got.retain) == (b"a/b", "héllo".encode(), 1, False)
    publish(one, "a/b", payload_base64=base64.b64encode(b"\xff\x00").decode())
    assert client.expect(Publish).payload == b"\xff\x00"
    assert publish(one, "nobody/listens") == {"matched": 0}


def test_a_message_has_properties(broker: Start, clients: Clients) -> None:
    one = broker(admin="127.0.0.1:0")
    properties = {
        "payload_format_indicator": 1,
        "message_expiry_interval": 100,
        "content_type": "text/plain",
        "response_topic": "answers/here",
        "correlation_data": base64.b64encode(b"\x01\x02").decode(),
        "user_properties": [["a", "1"], ["a", "2"]],
    }
    publish(one, "a", payload="x", retain=True, properties=properties)
    told = ask(one, "/api/v1/retained/a").json()
    assert told["properties"] == properties
    assert told["expires_at"] is not None
    client = clients(one, 5, "c")
    client.subscribe("a")
    assert client.expect(Publish).message_expiry_interval <= 100


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"topic": "a/#"}, 422),
        ({"topic": "$SYS/broker/version", "payload": "x"}, 422),
        ({"topic": ""}, 422),
        ({"topic": "a", "qos": 3}, 422),
        ({"topic": "a", "payload": "x", "payload_base64": "eA=="}, 422),
        ({"topic": "a", "payload_base64": "?"}, 422),
        ({"topic": "a", "properties": {"response_topic": "a/+"}}, 422),
        ({"topic": "a", "properties": {"content_type": "x" * 70_000}}, 422),
        ({"topic": "a\x00"}, 422),
        ({"topic": "a", "unknown": 1}, 422),
        ({"payload": "x"}, 422),
        ([], 422),
        (b"{", 400),
        (b"\xff", 400),
        (b"", 400),
        ({"topic": "/".join("a" * 300)}, 422),
        ({"topic": "large", "payload": "x" * 101}, 422),
        ({"topic": "many", "payload": "x" * 50, "retain": True}, 507),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_may_not_be_published(body: Any, status: int, broker: Start) -> None:
    one = broker(admin="127.0.0.1:0", limits_payload_bytes=100, limits_retained_messages=1)
    publish(one, "first", payload="x", retain=True)
    answer = ask(one, "/api/v1/publish", "POST", body)
    assert (answer.status, len(answer.code()) > 0) == (status, True)


def test_a_body_that_is_no_json_by_its_type(broker: Start) -> None:
    one = broker(admin="127.0.0.1:0")
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert ask(one, "/api/v1/publish", "POST", b'{"topic":"a"}', headers).status == 415


def test_the_answer_waits_for_the_store(tmp_path: Path) -> None:
    settings = quiet_settings(admin="127.0.0.1:0", data=str(tmp_path))
    with Broker(settings) as one:
        for number in range(5):
            publish(one, f"kept/{number}", payload="x", retain=True)
            assert one.server.turn_state.ticket_stored >= number + 1
    with Broker(settings) as again:
        assert len(ask(again, "/api/v1/retained").json()["items"]) == 5


def test_a_retained_message_is_read_and_deleted(broker: Start, clients: Clients) -> None:
    one = broker(admin="127.0.0.1:0")
    client = clients(one, client_id="c")
    client.publish("a/b c/ü", b"\xff\xfe", qos=1, retain=True)
    client.receive()
    path = "/api/v1/retained/" + quote("a/b c/ü", safe="")
    told = ask(one, path).json()
    assert (told["topic"], told["payload"], told["payload_base64"]) == ("a/b c/ü", None, "//4=")
    assert (told["client_id"], told["qos"], told["payload_bytes"], told["truncated"]) == ("c", 1, 2, False)
    assert ask(one, "/api/v1/retained/" + quote("a/b c/ü")).json() == told  # slashes may stand as they are
    assert ask(one, path, "DELETE").status == 204
    assert ask(one, path).code() == "no_retained_message"
    assert ask(one, path, "DELETE").status == 404
    assert ask(one, "/api/v1/retained/%ff").code() == "bad_path"


def test_a_long_payload_is_cut(broker: Start) -> None:
    one = broker(admin="127.0.0.1:0")
    publish(one, "long", payload="ü" * 150_000, retain=True)
    told = ask(one, "/api/v1/retained/long").json()
    assert (told["payload"], told["truncated"], told["payload_bytes"]) == ("ü" * 131_072, True, 300_000)
    publish(one, "long", payload="x" + "ü" * 150_000, retain=True)
    assert ask(one, "/api/v1/retained/long").json()["payload"] == "x" + "ü" * 131_071, "no half character"


def test_a_long_payload_that_is_no_text_is_not_told_as_text(broker: Start) -> None:
    one = broker(admin="127.0.0.1:0")
    payload = b"\xff\xd8\xff" + b"picture" * 50_000
    publish(one, "long", payload_base64=base64.b64encode(payload).decode(), retain=True)
    told = ask(one, "/api/v1/retained/long").json()
    assert (told["payload"], told["truncated"]) == (None, True)
    assert base64.b64decode(told["payload_base64"]) == payload[:262_144]


@pytest.mark.parametrize("limit", [1, 3, 1000])
def test_retained_messages_page_by_page(limit: int, broker: Start) -> None:
    one = broker(admin="127.0.0.1:0")
    chance = random.Random(7)
    levels = ["", "a", "b", "a-b", "a b", "é", "$x"]
    topics = {"/".join(chance.choices(levels, k=chance.randint(1, 4))) for _ in range(120)} - {""}
    for topic in topics:
        one.publish_blocking(topic, b"x", retain=True)
    expected = sorted(topics, key=lambda topic: [level.encode() for level in topic.split("/")])
    assert [item["topic"] for item in all_pages(one, "/api/v1/retained", limit)] == expected
    for prefix in ("a", "a/", "a/b", "/", "/a", "é/", "nothing/", "a/b/a-"):
        items = all_pages(one, "/api/v1/retained?prefix=" + quote(prefix, safe=""), limit)
        assert [item["topic"] for item in items] == [topic for topic in expected if topic.startswith(prefix)]


@pytest.mark.parametrize("topic_filter", ["#", "a/#", "+/b", "a", "+", "a/+/c", "$x/#", "+/#"])
def test_topics_that_match_a_filter(topic_filter: str, broker: Start) -> None:
    one = broker(admin="127.0.0.1:0")
    kept = ["$x/b", "a", "a/b", "a/b/c", "d/b"]
    recent = ["a", "a/x/c", "d", "e/b"]
    for topic in kept:
        one.publish_blocking(topic, b"12", retain=True)
    one.server.broker.core.topics.forget_routes()
    for topic in recent:
        one.publish_blocking(topic)
    items = all_pages(one, "/api/v1/topics?filter=" + quote(topic_filter, safe=""), 2)
    names = sorted({*kept, *recent})
    assert items == [
        {"topic": name, "retained_bytes": 2 if name in kept else None, "recent": name in recent}
        for name in names
        if matches(topic_filter.encode(), name.encode())
    ]
    assert ask(one, "/api/v1/topics?filter=a/%23/b").code() == "bad_filter"


def test_the_tree(broker: Start, clients: Clients) -> None:
    one = broker(admin="127.0.0.1:0")
    for topic in ("home/kitchen/light", "home/hall/light", "home", "work"):
        one.publish_blocking(topic, b"x", retain=True)
    one.server.broker.core.topics.forget_routes()
    one.publish_blocking("home/hall/fan")
    one.publish_blocking("garden/pump")
    clients(one, client_id="c").subscribe("home")
    items = ask(one, "/api/v1/topics/tree").json()["items"]
    assert items == [
        {"name": "garden", "topic": "garden", "retained": False, "subscriptions": 0, "children": 1, "topics": 1},
        {"name": "home", "topic": "home", "retained": True, "subscriptions": 1, "children": 2, "topics": 1},
        {"name": "work", "topic": "work", "retained": True, "subscriptions": 0, "children": 0, "topics": 0},
    ]
    below = ask(one, "/api/v1/topics/tree?prefix=home/hall&limit=1").json()
    assert below["prefix"] == "home/hall"
    assert [(item["topic"], item["topics"]) for item in below["items"]] == [("home/hall/fan", 1)]
    assert below["next"] == "fan"
    assert ask(one, "/api/v1/topics/tree?prefix=home/hall&after=fan").json()["items"][0]["name"] == "light"
    assert ask(one, "/api/v1/topics/tree?prefix=nothing").json() == {"prefix": "nothing", "items": [], "next": None}
