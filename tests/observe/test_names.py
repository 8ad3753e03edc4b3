"""The names outside: every number has one, and what is published or scraped is what the tables say."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from socket_client import Clients, await_true

from swellmq.admin.metrics import exposition
from swellmq.broker.storage import Storage
from swellmq.broker.sys_topics import LOAD_MINUTES
from swellmq.codec.packets import Publish
from swellmq.codec.topic import matches
from swellmq.errors import CLOSE_REASONS
from swellmq.observe.alarms import Alarms
from swellmq.observe.names import ALARMS, COUNTER, HISTOGRAMS, METRICS, NOT_EXPORTED, OTHERS, SYS_TOPICS
from swellmq.options import BY_NAME
from swellmq.server import Server
from swellmq.stats import Load

Servers = Callable[..., Server]

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


@pytest.fixture
def full(server: Servers, tmp_path: Path) -> Server:
    """A broker with all that has numbers."""
    options = {
        "access_connections_per_user": 5,
        "access_acl_file": str(tmp_path / "acl.toml"),
        "otel_endpoint": "http://127.0.0.1:1",
    }
    (tmp_path / "acl.toml").write_text('[[allow]]\ntopic = "#"\n')
    return server(data=str(tmp_path / "data"), admin="127.0.0.1:0", **options)


def scrape(server: Server, accept: str = "") -> tuple[str, str]:
    """The body and what it is called."""
    walk: Iterator[None] = exposition(server, accept)
    while True:
        try:
            next(walk)
        except StopIteration as end:
            body, content_type = end.value
            return body.decode(), content_type


def test_every_number_has_a_name_and_every_name_a_number(full: Server) -> None:
    exported = [source for metric in METRICS for source in metric.sources.values()]
    assert len(exported) == len(set(exported))
    assert set(exported) | set(NOT_EXPORTED) <= set(full.statistics())
    unnamed = set(full.statistics()) - set(exported) - set(NOT_EXPORTED)
    assert not unnamed, "give them names in observe/names.py"
    assert not set(exported) & set(NOT_EXPORTED)
    names = [metric.name for metric in METRICS]
    assert len(names) == len(set(names))
    assert not [name for name in names if name.endswith(("_total", "_us", "_ms"))]
    assert set(ALARMS) == set(Alarms().by_name)
    assert {bound for bound, _ in ALARMS.values()} - {"none"} == set(BY_NAME) & {f"alarms.{n}" for n in alarm_bounds()}


def alarm_bounds() -> list[str]:
    return [name.partition(".")[2] for name in BY_NAME if name.startswith("alarms.") and name != "alarms.after_s"]


@pytest.mark.parametrize("accept", ["", "text/plain", OPENMETRICS])
def test_a_scrape_has_all_of_them(full: Server, clients: Clients, accept: str) -> None:
    client = clients(full, client_id="c")
    client.subscribe("t")
    client.publish("t", b"hello")
    client.expect(Publish)
    body, content_type = scrape(full, accept)
    parse = parse_text
    if accept == OPENMETRICS:
        assert content_type.startswith("application/openmetrics-text")
        assert body.endswith("# EOF\n")
        parse = parse_openmetrics
    else:
        assert content_type.startswith("text/plain")
    families = {family.name: family for family in parse(body)}
    wanted = {metric.name for metric in METRICS} | set(HISTOGRAMS) | set(OTHERS)
    if accept != OPENMETRICS:  # there an info is a gauge of another name
        wanted = {name + "_info" if OTHERS.get(name, "")[:1] == ("info",) else name for name in wanted}
    assert set(families) - {"swellmq_number"} == wanted - {"swellmq_number"}
    for metric in METRICS:
        family = families[metric.name]
        assert family.type == metric.kind
        assert len(family.samples) == len(metric.sources)
    values = {
        (sample.name, *sample.labels.values()): sample.value for one in families.values() for sample in one.samples
    }
    assert values["swellmq_clients_connected",] == 1
    assert values["swellmq_messages_total", "received"] == values["swellmq_messages_total", "sent"] == 1
    assert values["swellmq_connect_seconds_count",] == values["swellmq_delivery_seconds_count",] == 1
    assert values["swellmq_delivery_seconds_bucket", "+Inf"] == 1
    assert values["swellmq_delivery_seconds_bucket", "1e-05"] == 0, "no message is that fast"
    assert 0 < values["swellmq_delivery_seconds_sum",] < 1
    assert values["process_resident_memory_bytes",] > 1_000_000
    assert values["swellmq_alarm", "memory", "critical"] == 0
    closed = [key for key in values if key[0] == "swellmq_connections_closed_total"]
    assert len(closed) == len(CLOSE_REASONS) - 1


def test_what_a_broker_does_not_have_is_left_out(server: Servers) -> None:
    body, _ = scrape(server())
    assert "swellmq_connections_active 0" in body
    assert "swellmq_store_commits" not in body
    assert "swellmq_bans" not in body
    assert sum(line.endswith("counter") for line in body.splitlines()) > sum(m.kind == COUNTER for m in METRICS) // 2


class OtherStorage(Storage):
    """Somebody's own."""

    def statistics(self) -> dict[str, int]:
        return {"commits": 3, "dogs": 7}


def test_numbers_of_a_storage_of_somebodys_own(server: Servers) -> None:
    body, _ = scrape(server(storage=OtherStorage()))
    assert "\nswellmq_store_commits_total 3.0\n" in body
    assert 'swellmq_number{name="store_dogs"} 7.0\n' in body


def test_the_admin_server_has_it(full: Server) -> None:
    assert full.admin is not None
    with socket.create_connection(("127.0.0.1", full.admin.port)) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: %s\r\n\r\n" % OPENMETRICS.encode())
        client.setblocking(False)
        pieces: list[bytes] = []

        def step() -> None:
            full.turn(10)
            with contextlib.suppress(BlockingIOError):
                pieces.append(client.recv(1 << 20))

        await_true(lambda: b"".join(pieces).endswith(b"# EOF\n"), step)
    data = b"".join(pieces)
    assert data.startswith(b"HTTP/1.1 200 ")
    assert b"swellmq_admin_requests_total 1.0" in data


def test_every_topic_of_sys_is_told_of(server: Servers, clients: Clients) -> None:
    one = server(sys_interval_s=1, pool_initial_size=2, pool_max_size=2, max_connections=4, limits_outbox_bytes=4_096)
    some = [clients(one, client_id=f"c{number}") for number in range(3)]
    some[1].subscribe("t")
    for _ in range(3):
        some[0].publish("t", bytes(3_000))
    for _ in range(12):
        one.loop.start_ns -= 1_000_000_000
        one.turn(0)
    some[2].subscribe("$SYS/#")
    told = {b"$SYS/broker/" + name.encode() for name in SYS_TOPICS}
    topics: dict[bytes, bytes] = {}

    def untold() -> list[bytes]:
        return [name for name in told if not any(matches(name, topic) for topic in topics)]

    while untold():  # they come in several turns, and what was asked for later may be answered in between
        publish = some[2].expect(Publish)
        topics[publish.topic_name] = publish.payload
    some[2].send(b"\xc0\x00")
    while isinstance(publish := some[2].receive(), Publish):
        topics[publish.topic_name] = publish.payload
    assert not [topic for topic in topics if not any(matches(name, topic) for name in told)]
    assert int(topics[b"$SYS/broker/heap/current"]) <= int(topics[b"$SYS/broker/heap/maximum"])
    assert topics[b"$SYS/broker/alarms/pool"].startswith(b"raised: ")
    assert 0 < float(topics[b"$SYS/broker/load/connections/1min"]) < 18


def test_a_load_is_that_of_mosquitto() -> None:
    # mosquitto 2.0.11 with sys_interval 1: one connect, seen after 4 s
    loads = [Load("connections", minutes) for minutes in LOAD_MINUTES]
    for load in loads:
        for _ in range(4):
            load.look(1, 1_000.0)
    assert [f"{load.mean:.2f}" for load in loads] == ["0.94", "0.20", "0.07"]
    for load in loads:
        for _ in range(3_600):
            load.look(load.count + 2, 1_000.0)
    assert [load.mean for load in loads] == pytest.approx([120, 120, 118], abs=1)
