"""History, alarms, talkers and receipts over the API: what they mean is tested where they are made."""

from __future__ import annotations

from collections.abc import Callable

from admin_client import ask
from socket_client import Clients, await_true

from swellmq import Broker
from swellmq.codec.packets import Ack
from swellmq.codec.spec import PUBACK

Start = Callable[..., Broker]


def test_history_has_rows_and_the_steps_of_the_pool(broker: Start, clients: Clients) -> None:
    one = broker(admin="127.0.0.1:0", pool_initial_size=4, pool_max_size=100)
    for number in range(5):
        clients(one, client_id=str(number))
    await_true(lambda: len(ask(one, "/api/v1/history?seconds=10").json()["rows"]) > 0)
    told = ask(one, "/api/v1/history?seconds=10").json()
    assert told["interval_s"] == 1
    row = dict(zip(told["columns"], told["rows"][-1], strict=True))
    assert (row["active"], row["connected"]) == (5, 5)
    [event] = [event for event in told["events"] if event["kind"] == "grew"][:1]
    assert (event["from"], event["to"], event["text"][:4]) == (4, 6, "4->6")
    assert ask(one, "/api/v1/history?seconds=601").json()["interval_s"] == 60
    assert ask(one, "/api/v1/history?seconds=0").code() == "bad_query"


def test_alarms(broker: Start) -> None:
    one = broker(admin="127.0.0.1:0")
    assert ask(one, "/api/v1/alarms").json() == {"items": []}
    alarm = one.server.watch.alarms.by_name["disk"]
    alarm.raised, alarm.text, alarm.since_s = True, "the disk is full", 1_700_000_000.0
    told = [{"name": "disk", "severity": "critical", "text": "the disk is full", "since": "2023-11-14T22:13:20Z"}]
    assert ask(one, "/api/v1/alarms").json() == {"items": told}
    assert ask(one, "/api/v1/overview").json()["alarms"] == told


def test_talkers(broker: Start, clients: Clients) -> None:
    one = broker(admin="127.0.0.1:0")
    clients(one, client_id="listener").subscribe("a")
    talker = clients(one, client_id="talker")
    for number in range(1, 20):
        talker.publish("a", b"x" * 100, qos=1, identifier=number)
        assert talker.expect(Ack).packet_type == PUBACK
    told = ask(one, "/api/v1/talkers?limit=1").json()
    assert [one["client_id"] for one in told["publishers"]] == ["talker"]
    assert [one["client_id"] for one in told["subscribers"]] == ["listener"]
    assert told["publishers"][0]["bytes_per_s"] > 0


def test_receipts(broker: Start, clients: Clients) -> None:
    one = broker(admin="127.0.0.1:0")
    clients(one, client_id="c").subscribe("a/b")
    one.publish_blocking("kept/it", b"x" * 10_000, retain=True)
    await_true(lambda: ask(one, "/api/v1/receipts").json()["at"] is not None)
    told = ask(one, "/api/v1/receipts?limit=1").json()
    kinds = {kind["kind"]: kind for kind in told["kinds"]}
    assert [item["name"] for item in kinds["clients"]["items"]] == ["c"]
    assert [item["name"] for item in kinds["retained"]["items"]] == ["kept/it"]
    assert kinds["retained"]["items"][0]["bytes"] > 10_000
