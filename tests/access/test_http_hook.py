"""The HTTP hook: what it is asked, each way to answer, and that nothing but a yes lets anybody in or do anything."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from access_helpers import write_passwords
from socket_client import Clients, await_true

from swellmq import Broker, Settings, SettingsError
from swellmq.access.build import build_door
from swellmq.access.http_hook import ANSWER_BYTES_MAX
from swellmq.codec import spec
from swellmq.codec.packets import Ack, Publish, Suback, Subscribe, TopicRequest

Brokers = Callable[..., Broker]


class Hook(ThreadingHTTPServer):
    """Answers by a table: what is asked and about whom."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[dict[str, Any]] = []
        self.tokens: list[str | None] = []
        self.answers: dict[str, object] = {}
        self.status = 200
        self.connections = 0
        self.opened = threading.Event()
        self.opened.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/mqtt?x=1"

    def verify_request(self, request: object, address: object) -> bool:
        self.connections += 1
        return True


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hook

    def do_POST(self) -> None:
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append({**question, "path": self.path})
        self.server.tokens.append(self.headers["Authorization"])
        self.server.opened.wait(10)
        answer = self.server.answers.get(f"{question['question']} {question['username']}", {"result": "deny"})
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def hook() -> Iterator[Hook]:
    with Hook() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.opened.set()
        server.shutdown()
        thread.join()


def test_who_comes_in(broker: Brokers, clients: Clients, hook: Hook, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("sesame\n")
    running = broker(access_http_url=hook.url, access_http_token_file=str(tmp_path / "token"), access_http_threads=1)
    hook.answers["connect ada"] = {"result": "allow", "username": "lovelace", "more": [1]}
    hook.answers["connect eve"] = {"result": "deny", "reason": "not you again"}
    assert clients(running, 5).connect("a", username="ada", password=b"x").reason_code == 0
    session = running.server.broker.core.session("a")
    assert session is not None and session.username == "lovelace"
    refused = clients(running, 5).connect("b", username="eve", password=b"\xff")
    assert refused.reason_code == spec.BAD_USER_NAME_OR_PASSWORD
    assert clients(running, 5).connect("c").reason_code == spec.NOT_AUTHORIZED  # who says nothing is not asked about
    assert hook.asked[0] == {
        "question": "connect",
        "client_id": "a",
        "username": "ada",
        "password": "x",
        "address": "127.0.0.1",
        "path": "/mqtt?x=1",
    }
    assert hook.tokens == ["Bearer sesame"] * 2
    assert hook.connections == 1  # it is kept


@pytest.mark.parametrize(
    ("status", "answer", "code"),
    [
        (200, {"result": "allow"}, 0),
        (200, {"result": "Allow"}, 0x86),
        (200, {}, 0x86),
        (200, {"result": True}, 0x88),
        (200, b"allow", 0x88),
        (200, b"", 0x88),
        (200, b"[" * ANSWER_BYTES_MAX + b"[", 0x88),
        (401, {"result": "allow"}, 0x86),
        (403, b"", 0x86),
        (500, {"result": "allow"}, 0x88),
        (302, {"result": "allow"}, 0x88),
        (200, {"result": "ignore"}, 0x86),
        (200, {"result": "allow", "username": "a\0b"}, 0x88),
        (200, b'{"result": "allow", "username": "\\ud800"}', 0x88),
        (200, {"result": "allow", "username": ""}, 0x88),
        (200, {"result": "allow", "expires_in_s": 1e300}, 0),
        (200, {"result": "deny", "reason": "\0" + "x" * 60_000}, 0x86),
    ],
)
def test_nothing_but_a_yes_lets_anybody_in(
    broker: Brokers, clients: Clients, hook: Hook, status: int, answer: object, code: int
) -> None:
    running = broker(access_http_url=hook.url)
    hook.status = status
    hook.answers["connect ada"] = answer
    assert clients(running, 5).connect("a", username="ada").reason_code == code
    assert running.statistics()["errors_internal"] == 0


def test_no_answer_in_time_and_no_server(broker: Brokers, clients: Clients, hook: Hook) -> None:
    running = broker(access_http_url=hook.url, access_http_timeout_ms=50)
    hook.opened.clear()
    assert clients(running, 5).connect("a", username="ada").reason_code == spec.SERVER_UNAVAILABLE
    nowhere = broker(access_http_url="http://127.0.0.1:9/")
    assert clients(nowhere, 5).connect("a", username="ada").reason_code == spec.SERVER_UNAVAILABLE


def test_a_kept_connection_that_was_closed_meanwhile(broker: Brokers, clients: Clients, hook: Hook) -> None:
    running = broker(access_http_url=hook.url, access_http_threads=1, access_remember_s=0)
    hook.answers["connect ada"] = {"result": "allow"}
    clients(running, 4, "a", username="ada")
    hook.RequestHandlerClass.protocol_version = "HTTP/1.0"  # closes after each answer
    try:
        for name in ("b", "c", "d"):
            clients(running, 4, name, username="ada")
    finally:
        hook.RequestHandlerClass.protocol_version = "HTTP/1.1"
    assert len(hook.asked) == 4


def test_a_yes_is_remembered(broker: Brokers, clients: Clients, hook: Hook) -> None:
    running = broker(access_http_url=hook.url)
    hook.answers["connect ada"] = {"result": "allow"}
    for _ in range(3):
        clients(running, 4, "a", username="ada", password=b"x").disconnect()
    assert len(hook.asked) == 1
    hook.answers["connect bob"] = {"result": "allow", "expires_in_s": 3_600}
    for _ in range(2):
        client = clients(running, 4, "b", username="bob")
        assert len(running.server.broker.core.leases) == 1
        client.disconnect()
    assert len(hook.asked) == 3  # it may be another one by then


def test_it_is_asked_after_the_password_file(broker: Brokers, clients: Clients, hook: Hook, tmp_path: Path) -> None:
    users = write_passwords(tmp_path / "users", joe="secret")
    running = broker(access_http_url=hook.url, access_password_file=str(users))
    hook.answers["connect ada"] = {"result": "allow"}
    hook.answers["connect joe"] = {"result": "allow"}
    clients(running, 4, "a", username="joe", password=b"secret")
    assert clients(running).connect("b", username="joe", password=b"x").reason_code == 4
    assert hook.asked == []
    clients(running, 4, "c", username="ada")
    first = broker(access_http_url=hook.url, access_password_file=str(users), access_order=["http", "password"])
    hook.answers["connect joe"] = {"result": "ignore"}
    clients(first, 4, "d", username="joe", password=b"secret")
    assert [one["username"] for one in hook.asked] == ["ada", "joe"]


def test_what_clients_may_do(broker: Brokers, clients: Clients, hook: Hook) -> None:
    running = broker(access_http_url=hook.url, access_http_ask=["publish", "subscribe"])
    hook.answers["publish None"] = {"result": "allow"}
    hook.answers["subscribe None"] = {"results": ["allow", "deny"]}
    client = clients(running, 5, "a")
    client.send(Subscribe(1, [TopicRequest(b"a", 1), TopicRequest(b"b/#", 1)]))
    assert bytes(client.expect(Suback).reason_codes) == bytes([1, spec.NOT_AUTHORIZED])
    client.publish("a", b"1", qos=1)
    assert {type(client.receive()), type(client.receive())} == {Publish, Ack}
    hook.answers["publish None"] = {"result": "deny"}
    client.publish("b", b"2", qos=1, identifier=2)
    assert client.expect(Ack).reason_code == spec.NOT_AUTHORIZED
    asked = [(one["question"], one["topics"], one.get("qos"), one.get("retain")) for one in hook.asked]
    assert asked == [
        ("subscribe", ["a", "b/#"], None, None),
        ("publish", ["a"], 1, False),
        ("publish", ["b"], 1, False),
    ]
    client.publish("a", b"3", qos=1, identifier=3)  # the yes is remembered, and so is the no
    client.publish("b", b"4", qos=1, identifier=4)
    packets = [client.receive() for _ in range(3)]
    codes = {packet.packet_identifier: packet.reason_code for packet in packets if isinstance(packet, Ack)}
    assert codes == {3: 0, 4: spec.NOT_AUTHORIZED}
    assert len(hook.asked) == 3


def test_a_will_is_asked_about_too(broker: Brokers, clients: Clients, hook: Hook) -> None:
    running = broker(access_http_url=hook.url, access_http_ask=["connect", "publish"])
    hook.answers["connect ada"] = {"result": "allow"}
    will = Publish(b"gone", b"", 1, True)
    refused = clients(running, 5).connect("a", username="ada", will=will)
    assert refused.reason_code == spec.NOT_AUTHORIZED
    hook.answers["publish ada"] = {"result": "allow"}
    clients(running, 5, "b", username="ada", will=will)
    asked = [(one["question"], one.get("topics"), one.get("qos"), one.get("retain")) for one in hook.asked]
    assert asked == [("connect", None, None, None), ("publish", ["gone"], 1, True)] * 2


def test_a_hook_that_fails_allows_nothing(broker: Brokers, clients: Clients, hook: Hook) -> None:
    running = broker(access_http_url=hook.url, access_http_ask=["publish", "subscribe"])
    hook.answers["subscribe None"] = {"results": ["allow", "allow"]}  # one too many
    hook.status = 200
    client = clients(running, 5, "a")
    assert client.subscribe("a", 1) == bytes([spec.NOT_AUTHORIZED])
    hook.status = 500
    client.publish("a", b"1", qos=1)
    assert client.expect(Ack).reason_code == spec.NOT_AUTHORIZED
    hook.status = 200
    hook.answers["publish None"] = {"result": "allow"}
    client.publish("a", b"2", qos=1, identifier=2)  # a failure is not remembered
    assert client.expect(Ack).reason_code == spec.NO_MATCHING_SUBSCRIBERS


def test_questions_beyond_the_bound_are_refused(broker: Brokers, clients: Clients, hook: Hook) -> None:
    running = broker(
        access_http_url=hook.url, access_http_ask=["publish"], access_http_threads=1, access_logins_waiting_max=1
    )
    hook.opened.clear()
    several = [clients(running, 5, str(number)) for number in range(5)]
    for client in several:
        client.publish("a", client.sock.getsockname()[0].encode(), qos=1)
    await_true(lambda: running.statistics()["questions_put_off"] >= 3)
    hook.opened.set()
    codes = [client.expect(Ack).reason_code for client in several]
    assert codes.count(spec.QUOTA_EXCEEDED) == running.statistics()["questions_put_off"] < 5


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"access_http_url": "ftp://x/"}, "access.http_url: ftp://x/ is no http or https URL"),
        ({"access_http_url": "localhost:80"}, "is no http or https URL"),
        ({"access_http_ask": ["connect", "unsubscribe"]}, "unsubscribe"),
        ({"access_http_token_file": "/none/here"}, "/none/here can't be read"),
        ({"access_order": ["http", "ldap"]}, "ldap"),
        ({"access_order": ["http", "http"]}, "given twice"),
    ],
)
def test_settings_that_will_not_do(values: dict[str, object], problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        build_door(Settings(**{"access_http_url": "http://x/", **values}))
