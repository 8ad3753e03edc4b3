"""HTTP as admin speaks it: requests in a row and in pieces, every malformed one answered and counted, all bounds."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator

import pytest
from admin_client import RawClient, admin_port, ask
from socket_client import PATIENCE_S, await_true

from swellmq import Broker
from swellmq.admin.api import watched
from swellmq.admin.engine import (
    ANSWER_MS,
    BODY_BYTES_MAX,
    CONNECTIONS_MAX,
    HEAD_BYTES_MAX,
    IDLE_MS,
    LOOK_MS,
    REQUEST_MS,
    HttpEngine,
)
from swellmq.codec.packets import Publish
from swellmq.server import Server

Start = Callable[..., Broker]

HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture
def raw() -> Iterator[Callable[[Broker], RawClient]]:
    made: list[RawClient] = []

    def connect(broker: Broker) -> RawClient:
        made.append(RawClient(broker))
        return made[-1]

    yield connect
    for one in made:
        one.close()


Raw = Callable[[Broker], RawClient]


def test_without_admin_nothing_of_it_is_there(broker: Start) -> None:
    one = broker()
    assert one.server.admin is None
    assert not any(name.startswith("admin_") for name in one.statistics())


def test_a_request_is_answered(broker: Start) -> None:
    answer = ask(broker(admin="127.0.0.1:0"), "/health")
    assert answer.status == 200
    assert answer.json() == {"status": "ok", "reasons": []}
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_requests_in_a_row_are_answered_in_order(broker: Start, raw: Raw) -> None:
    one = broker(admin="127.0.0.1:0")
    client = raw(one)
    requests = [b"GET /%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path for path in (b"health", b"nothing", b"ready")]
    client.send(b"".join(requests * 20))
    assert [client.answer().status for _ in range(60)] == [200, 404, 200] * 20
    client.send(HEALTH)  # the connection is still open
    assert client.answer().status == 200


def test_a_request_may_come_byte_by_byte(broker: Start, raw: Raw) -> None:
    one = broker(admin="127.0.0.1:0")
    client = raw(one)
    for index in range(len(HEALTH)):
        client.send(HEALTH[index : index + 1])
    assert client.answer().status == 200


def test_connection_close_and_http_1_0_end_the_connection(broker: Start, raw: Raw) -> None:
    one = broker(admin="127.0.0.1:0")
    for request in (
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n",
    ):
        client = raw(one)
        client.send(request)
        assert client.answer().status == 200
        assert client.is_closed()


def test_head_is_get_without_the_body(broker: Start, raw: Raw) -> None:
    client = raw(broker(admin="127.0.0.1:0"))
    client.send(HEALTH.replace(b"GET", b"HEAD") + HEALTH)
    head = client.answer("HEAD")
    get = client.answer()
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == str(len(get.body))


MALFORMED = {
    "no request line": (b"\x10\x0e\x00\x04MQTT\x04\r\n\r\n", 400),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    "a space in the name of a field": (b"GET / HTTP/1.1\r\nHost: a\r\nA B: c\r\n\r\n", 400),
    "two lengths": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
    "a length that is none": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
    "a transfer coding nobody knows": (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: zip\r\n\r\n", 501),
    "a chunk without a length": (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    "a head without an end": (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * (HEAD_BYTES_MAX + 1), 431),
    "a body that is too large": (
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (BODY_BYTES_MAX + 1),
        413,
    ),
    "a body that becomes too large": (
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % (BODY_BYTES_MAX + 1)
        + b"x" * (BODY_BYTES_MAX + 1),
        413,
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_malformed_or_too_large_is_answered_counted_and_closed(name: str, broker: Start, raw: Raw) -> None:
    one = broker(admin="127.0.0.1:0")
    data, status = MALFORMED[name]
    client = raw(one)
    try:
        client.send(data)
    except (ConnectionResetError, BrokenPipeError):  # it answers before all has been sent
        pass
    answer = client.answer()
    assert answer.status == status
    assert answer.code() in ("malformed_request", "not_implemented", "head_too_large", "body_too_large")
    assert answer.headers["connection"] == "close"
    assert client.is_closed()
    assert one.statistics()["admin_requests"] == 1
    assert one.statistics()["admin_requests_malformed"] == (status != 413)
    assert one.statistics()["admin_answers_4xx"] + one.statistics()["admin_answers_5xx"] == 1
    assert ask(one, "/health").status == 200


def test_a_body_is_asked_for_where_the_client_waits_for_that(broker: Start, raw: Raw) -> None:
    client = raw(broker(admin="127.0.0.1:0"))
    client.send(b"POST /nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
    assert client.file.readline().startswith(b"HTTP/1.1 100")
    assert client.file.readline() == b"\r\n"
    client.send(b"{}")
    assert client.answer().status == 404


def test_another_method_and_another_path(broker: Start) -> None:
    one = broker(admin="127.0.0.1:0")
    answer = ask(one, "/api/v1/overview", "PUT")
    assert (answer.status, answer.code(), answer.headers["allow"]) == (405, "method_not_allowed", "GET, HEAD")
    assert ask(one, "/index.html", "POST").status == 405
    for path in (
        "/nothing",
        "/api/v2/overview",
        "/../setup.py",
        "/%2e%2e/x.html",
        "//etc/passwd.html",
        "/x/index.html",
    ):
        assert ask(one, path).code() == "not_found"


def test_connections_have_a_bound_of_their_own(broker: Start, raw: Raw) -> None:
    one = broker(admin="127.0.0.1:0")
    clients: list[RawClient] = []
    for _ in range(CONNECTIONS_MAX):
        clients.append(raw(one))
        clients[-1].send(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert clients[-1].file.readline().startswith(b"HTTP/1.1 100")  # it waits for the body now
    late = raw(one)
    late.send(HEALTH)
    assert late.answer().code() == "too_many_connections"
    assert late.is_closed()
    clients[0].close()
    await_true(lambda: one.statistics()["admin_connections"] < CONNECTIONS_MAX)
    assert ask(one, "/health").status == 200
    assert one.statistics()["pool_active"] == 0


def test_who_asks_nothing_makes_room_for_who_does(broker: Start, raw: Raw) -> None:
    one = broker(admin="127.0.0.1:0")
    clients: list[RawClient] = []
    for _ in range(2 * CONNECTIONS_MAX):
        clients.append(raw(one))
        clients[-1].send(HEALTH)
        assert clients[-1].answer().status == 200
    assert clients[0].is_closed()
    clients[-2].send(HEALTH)
    assert clients[-2].answer().status == 200
    assert one.statistics()["admin_connections"] <= CONNECTIONS_MAX


def test_admin_is_reached_while_the_broker_is_full(broker: Start, clients: Callable[..., object]) -> None:
    one = broker(admin="127.0.0.1:0", max_connections=1, pool_initial_size=1)
    clients(one, client_id="first")
    assert ask(one, "/health").status == 200
    answer = ask(one, "/ready")
    assert (answer.status, answer.json()["status"]) == (503, "not ok")
    assert "max_connections" in answer.json()["reasons"][0]


def test_the_port_is_told_at_start(broker: Start) -> None:
    one = broker(admin="127.0.0.1:0")
    assert one.server.admin is not None
    assert one.server.admin.url() == f"http://127.0.0.1:{admin_port(one)}/"


def test_the_absolute_form_of_a_target(broker: Start, raw: Raw) -> None:
    client = raw(broker(admin="127.0.0.1:0"))
    client.send(b"GET http://localhost/health?x HTTP/1.1\r\nHost: evil.example\r\n\r\n")
    assert client.answer().code() == "bad_query"
    client.send(b"GET http://evil.example/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert client.answer().code() == "wrong_host"


def test_a_bug_of_ours_ends_one_request_and_is_counted(
    broker: Start, raw: Raw, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one = broker(admin="127.0.0.1:0")

    def fail(server: Server) -> None:
        raise LookupError("on purpose")

    monkeypatch.setattr(watched, "active_alarms", fail)
    client = raw(one)
    client.send(HEALTH.replace(b"/health", b"/api/v1/alarms") + HEALTH)
    assert client.answer().code() == "internal_error"
    assert client.answer().status == 200
    assert one.statistics()["errors_internal"] == 1
    assert "on purpose" in caplog.text


def test_a_bug_in_admin_itself_does_not_end_the_broker(
    broker: Start, raw: Raw, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one = broker(admin="127.0.0.1:0")
    client = raw(one)
    client.send(HEALTH)
    assert client.answer().status == 200

    def fail(self: HttpEngine, now_ms: int) -> None:
        raise LookupError("on purpose")

    with monkeypatch.context() as patched:
        patched.setattr(HttpEngine, "tick", fail)
        client.send(HEALTH)
        await_true(lambda: "on purpose" in caplog.text)
    assert ask(one, "/health").status == 200
    assert one.statistics()["errors_internal"] > 0
    one.publish_blocking("a")


# Time, moved by hand


@pytest.fixture
def turned(server: Callable[..., Server]) -> Server:
    return server(admin="127.0.0.1:0")


def connected(server: Server) -> socket.socket:
    assert server.admin is not None
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    sock.connect(("127.0.0.1", server.admin.port))
    sock.setblocking(False)
    await_true(lambda: server.statistics()["admin_connections"] == 1, lambda: server.turn(1))
    return sock


def pass_time(server: Server, passed_ms: int) -> None:
    """Let admin's clock go on by so much."""
    assert server.admin is not None
    server.admin.loop.start_ns -= passed_ms * 1_000_000
    server.admin.turn()
    server.turn(1)


def received(server: Server, sock: socket.socket) -> bytes:
    """All that comes until the broker closes."""
    data = b""
    give_up = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up:
        server.turn(1)
        try:
            more = sock.recv(65_536)
        except BlockingIOError:
            continue
        except ConnectionResetError:
            return data
        if not more:
            return data
        data += more
    raise AssertionError("it was not closed")


def test_half_a_request_is_answered_when_its_time_is_up(turned: Server) -> None:
    for begin in (b"GET /heal", HEALTH.replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\nab")):
        sock = connected(turned)
        sock.send(begin)
        for _ in range(5):
            turned.turn(1)
        pass_time(turned, REQUEST_MS - 5_000)
        sock.send(b"c")  # a trickle gains nothing
        for _ in range(5):
            turned.turn(1)
        assert turned.statistics()["admin_connections"] == 1
        pass_time(turned, 6_000)
        assert received(turned, sock).startswith(b"HTTP/1.1 408")
        sock.close()
    assert turned.statistics()["admin_requests_timed_out"] == 2


def test_who_says_nothing_is_closed_without_a_word(turned: Server) -> None:
    sock = connected(turned)
    pass_time(turned, REQUEST_MS + 1)
    assert received(turned, sock) == b""
    sock.close()
    sock = connected(turned)
    sock.send(HEALTH)
    await_true(lambda: turned.statistics()["admin_answers_2xx"] == 1, lambda: turned.turn(1))
    pass_time(turned, IDLE_MS - 1_000)
    assert turned.statistics()["admin_connections"] == 1
    pass_time(turned, 1_001)
    data = received(turned, sock)
    assert data.startswith(b"HTTP/1.1 200") and data.count(b"HTTP/1.1") == 1
    sock.close()


def test_who_does_not_take_its_answers_is_not_read_and_closed_in_time(turned: Server) -> None:
    turned.broker.inject(Publish(b"large", b"x" * 250_000, 0, True))
    request = HEALTH.replace(b"/health", b"/api/v1/retained/large")
    sock = connected(turned)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    sock.send(request * 200)
    for _ in range(300):
        turned.turn(0)
    answered = turned.statistics()["admin_answers_2xx"]
    assert 0 < answered < 50, "answers pile up for who takes none"
    pass_time(turned, ANSWER_MS + LOOK_MS)
    assert turned.statistics()["admin_connections"] == 0
    assert turned.statistics()["admin_requests_timed_out"] == 1
    sock.close()


def test_a_large_answer_reaches_who_takes_it_slowly(turned: Server) -> None:
    turned.broker.inject(Publish(b"large", b"x" * 250_000, 0, True))
    sock = connected(turned)
    request = HEALTH.replace(b"/health", b"/api/v1/retained/large").replace(
        b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"
    )
    sock.send(request)
    data = received(turned, sock)
    _head, _, body = data.partition(b"\r\n\r\n")
    assert json.loads(body)["payload"] == "x" * 250_000
