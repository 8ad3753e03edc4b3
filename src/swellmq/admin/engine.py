"""HTTP/1.1 on the connections of admin: requests in, answers out, everything bounded.

h11 reads and writes the bytes. A read only hands bytes to it; requests are looked at when the turn settles, one of each
connection in rotation, for about a millisecond, and the rest in the next turns, so that no request, and no number of
them, holds up the broker. What takes longer than that is a generator: it is run a step at a time, and its connection is
not read meanwhile (it is parked, as a client of MQTT whose login takes time). Requests that a client sends without
waiting for the answers are answered in order.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Generator
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import h11

from swellmq.admin.answer import JSON, ApiError, Response
from swellmq.connection import Connection, Engine, Handler, Question, Turn
from swellmq.errors import ADMINISTRATIVE, CONNECT_TIMEOUT, OPEN, PROTOCOL_ERROR, REFUSED, WRITE_STALLED

if TYPE_CHECKING:
    from swellmq.admin.host import Site

log = logging.getLogger("swellmq.admin")

SLICE_NS: Final = 1_000_000  # of a turn, for all requests together
HEAD_BYTES_MAX: Final = 16_384  # request line and header fields
BODY_BYTES_MAX: Final = 1_048_576
REQUEST_MS: Final = 15_000  # from the first byte of a request to its last
IDLE_MS: Final = 75_000  # between two requests; more than the usual proxies keep a connection without one
ANSWER_MS: Final = 60_000  # a client that has not taken its answer by then is closed
CONNECTIONS_MAX: Final = 64
CROWDED: Final = CONNECTIONS_MAX - 8  # from so many on, whoever asks nothing makes room for who comes
LOOK_MS: Final = 1_000  # how often it is looked whose time is up

Job = Generator[int | None, None, Response]


class Peer:
    """What is known of one connection."""

    __slots__ = (
        "connection",
        "http",
        "request",
        "body",
        "body_bytes",
        "job",
        "wake_ms",
        "queued",
        "due_ms",
        "leaving",
        "gone",
    )

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.http = h11.Connection(h11.SERVER, HEAD_BYTES_MAX)
        self.request: h11.Request | None = None  # the one that is being read or answered
        self.body: list[bytes] = []
        self.body_bytes = 0
        self.job: Job | None = None  # what answers it
        self.queued = False
        self.due_ms = 0
        self.leaving = False  # closed once it has taken its answer
        self.gone = False
        self.wake_ms = 0  # when its job goes on; 0: it has something to do


class HttpEngine(Engine):
    """Serves the connections of admin with what `site` answers."""

    def __init__(self, site: Site, turn: Turn) -> None:
        self.site = site
        self.turn = turn
        self.peers: dict[Connection, Peer] = {}
        self.ready: deque[Peer] = deque()  # there is something to be done for them
        self.look_ms = 0  # when it is looked next whose time is up
        self.sleepers: list[Peer] = []  # whose jobs wait for their moment
        self.upgrades: list[Peer] = []  # who asked for a WebSocket, for the host to take over after this turn
        self.requests = 0
        self.requests_malformed = 0
        self.answers_by_class = [0] * 6  # 2: those with status 2xx
        self.timeouts = 0

    # The loop calls

    def on_open(self, connection: Connection, now_ms: int) -> None:
        peer = Peer(connection)
        peer.due_ms = now_ms + REQUEST_MS
        if not self.peers:
            self.look_ms = now_ms + LOOK_MS
        if len(self.peers) >= CROWDED:
            self._make_room()
        self.peers[connection] = peer

    def _make_room(self) -> None:
        """Close the connection that has asked nothing for the longest time: idle ones must not keep others out."""
        idle = [peer for peer in self.peers.values() if self._is_idle(peer)]
        if idle:
            min(idle, key=lambda peer: peer.due_ms).connection.close(ADMINISTRATIVE)

    def _is_idle(self, peer: Peer) -> bool:
        return peer.request is None and not (peer.queued or peer.leaving) and peer.connection.close_reason == OPEN

    def on_data(self, connection: Connection, data: bytes, now_ms: int) -> None:
        peer = self.peers[connection]
        if peer.leaving:  # it goes on sending what is not read any more
            return
        if peer.http.their_state is h11.IDLE and not peer.http.trailing_data[0]:
            peer.due_ms = now_ms + REQUEST_MS
        peer.http.receive_data(data)
        self.put(peer)

    def on_stalled(self, connection: Connection, now_ms: int) -> None:
        self.peers[connection].due_ms = now_ms + ANSWER_MS

    def on_drained(self, connection: Connection, now_ms: int) -> None:
        peer = self.peers[connection]
        peer.due_ms = now_ms + IDLE_MS
        self.put(peer)

    def on_closed(self, connection: Connection, now_ms: int) -> None:
        peer = self.peers.pop(connection)
        peer.gone = True
        if peer.job is not None:
            peer.job.close()
            peer.job = None
        connection.question = None

    def deadline_ms(self) -> int:
        if not self.peers:
            return -1
        return min([self.look_ms, *(peer.wake_ms for peer in self.sleepers)])

    def tick(self, now_ms: int) -> None:
        if self.sleepers:
            for peer in self.sleepers:
                if peer.wake_ms <= now_ms:
                    peer.wake_ms = 0
                    self.put(peer)
            self.sleepers = [peer for peer in self.sleepers if peer.wake_ms]
        if not self.peers or now_ms < self.look_ms:
            return
        self.look_ms = now_ms + LOOK_MS
        for peer in list(self.peers.values()):
            if now_ms < peer.due_ms or peer.job is not None:
                continue
            if peer.connection.stalled():
                self.timeouts += 1
                peer.connection.close(WRITE_STALLED)
            elif peer.request is not None or peer.http.trailing_data[0] or peer.leaving:
                self.timeouts += 1
                self.fail(peer, ApiError(408, "request_timeout", "the request did not arrive in time"))
                peer.connection.close(CONNECT_TIMEOUT)
            else:
                peer.connection.close(ADMINISTRATIVE)

    def settle(self, now_ms: int) -> None:
        """Take a step for each peer that has something to be done, for about `SLICE_NS`; the others come next turn."""
        ready = self.ready
        if not ready:
            return
        self.ready = deque()
        until_ns = time.perf_counter_ns() + SLICE_NS
        while ready and time.perf_counter_ns() < until_ns:
            peer = ready.popleft()
            peer.queued = False
            if not peer.gone and peer.connection.close_reason == OPEN:
                self._serve(peer, until_ns)
        ready.extend(self.ready)
        self.ready = ready
        if ready:
            self.turn.again = True
            for peer in ready:
                if not peer.gone:
                    self.park(peer)

    # Requests

    def put(self, peer: Peer) -> None:
        """Have a peer looked at when the turn settles."""
        if not peer.queued:
            peer.queued = True
            self.ready.append(peer)

    def park(self, peer: Peer) -> None:
        """Read no more of a peer until it was served."""
        if peer.connection.question is None:
            peer.connection.question = Question()
            self.turn.watch.append(peer.connection)

    def _serve(self, peer: Peer, until_ns: int) -> None:
        """Take one step for a peer: leave, go on with its job, or read its next request."""
        connection = peer.connection
        if connection.stalled():  # `on_drained` brings it back
            self.park(peer)
            return
        if connection.outbox_bytes:  # what it asks next is answered once it was sent what it asked before
            self.put(peer)
            return
        if peer.leaving:
            # Who may still be sending is given the time to read why, see linger.py.
            connection.close(ADMINISTRATIVE if peer.http.their_state is h11.DONE else PROTOCOL_ERROR)
            return
        if peer.job is None:
            try:
                self._read(peer)
            except h11.RemoteProtocolError as error:
                self._on_malformed(peer, error)
        if peer.job is not None:
            self._work(peer, until_ns)
        if peer.queued or peer.job is not None:
            return
        if connection.question is not None:
            connection.question = None
            self.turn.watch.append(connection)

    def _read(self, peer: Peer) -> None:
        """Read the next request as far as it has come; `peer.job` is set where it is complete."""
        http = peer.http
        while True:
            event = http.next_event()
            if isinstance(event, h11.Request):
                peer.request = event
                peer.body = []
                peer.body_bytes = 0
                if declared_length(event) > BODY_BYTES_MAX:
                    self._too_large(peer)
                    return
                if http.they_are_waiting_for_100_continue:
                    go_on = http.send(h11.InformationalResponse(status_code=100, headers=[]))
                    peer.connection.send(go_on or b"")
            elif isinstance(event, h11.Data):
                peer.body_bytes += len(event.data)
                if peer.body_bytes > BODY_BYTES_MAX:
                    self._too_large(peer)
                    return
                peer.body.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                assert peer.request is not None
                self.requests += 1
                self._begin(peer, peer.request)
                return
            else:  # NEED_DATA, or PAUSED where the client asks for another protocol
                return

    def _too_large(self, peer: Peer) -> None:
        self.requests += 1
        self.fail(peer, ApiError(413, "body_too_large", f"a body of more than {BODY_BYTES_MAX} bytes"))

    def _on_malformed(self, peer: Peer, error: h11.RemoteProtocolError) -> None:
        self.requests += 1
        self.requests_malformed += 1
        status = error.error_status_hint
        code = {431: "head_too_large", 501: "not_implemented"}.get(status, "malformed_request")
        log.info("%s: a malformed request: %s", self.site.address(peer.connection), error)
        self.fail(peer, ApiError(status, code, str(error)))

    def _begin(self, peer: Peer, request: h11.Request) -> None:
        """Find out who answers a complete request, and begin with it."""
        try:
            answer = self.site.answer(peer, request, b"".join(peer.body))
        except ApiError as error:
            answer = error.response()
        except Exception:
            answer = self._on_bug(request)
        if answer is None:  # it becomes a WebSocket
            self.upgrades.append(peer)
        elif isinstance(answer, Response):
            self.send(peer, answer)
        else:
            peer.job = answer

    def _work(self, peer: Peer, until_ns: int) -> None:
        """Go on with a peer's job until it is done or this turn's time is used up."""
        job = peer.job
        assert job is not None and peer.request is not None
        try:
            pause_ms = next(job)
            while not pause_ms and time.perf_counter_ns() < until_ns:
                pause_ms = next(job)
        except StopIteration as end:
            answer: Response = end.value
        except ApiError as error:
            answer = error.response()
        except Exception:
            answer = self._on_bug(peer.request)
        else:
            self.park(peer)
            if pause_ms:
                peer.wake_ms = self.turn.now_ms + pause_ms
                self.sleepers.append(peer)
            else:
                self.put(peer)
            return
        peer.job = None
        self.send(peer, answer)

    def _on_bug(self, request: h11.Request) -> Response:
        """An exception of ours; called while it is handled."""
        self.site.server.stats.errors_internal += 1
        log.exception("a bug of ours while answering %s %s", request.method.decode(), request.target.decode())
        return ApiError(500, "internal_error", "a bug of the broker; its log has the details").response()

    # Answers

    def fail(self, peer: Peer, error: ApiError) -> None:
        """Answer what can't be read further, and close once that has left."""
        if peer.http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            response = error.response()
            response.headers.append(("Connection", "close"))
            self.send(peer, response)
        else:
            self.leave(peer)

    def leave(self, peer: Peer) -> None:
        """Close a peer once it has taken what was sent to it."""
        peer.leaving = True
        self.put(peer)

    def send(self, peer: Peer, response: Response) -> None:
        """Send an answer, then go on with the next request, or close where there can be none."""
        http = peer.http
        self.answers_by_class[response.status // 100] += 1
        headers = [*self.site.headers(), *response.headers]
        if response.content_type == JSON and not any(name == "Cache-Control" for name, _ in headers):
            headers.append(("Cache-Control", "no-store"))
        if response.status >= 200 and response.status not in (204, 304):
            headers.append(("Content-Type", response.content_type))
            headers.append(("Content-Length", str(len(response.body))))
        connection = peer.connection
        phrase = HTTPStatus(response.status).phrase.encode()
        data = http.send(h11.Response(status_code=response.status, headers=headers, reason=phrase)) or b""
        if response.body and not (peer.request is not None and peer.request.method == b"HEAD"):
            data += http.send(h11.Data(data=response.body)) or b""
        data += http.send(h11.EndOfMessage()) or b""
        connection.send(data)
        peer.request = None
        peer.body = []
        peer.due_ms = self.turn.now_ms + IDLE_MS
        if http.our_state is h11.DONE and http.their_state is h11.DONE:
            http.start_next_cycle()
            if http.trailing_data[0]:
                self.put(peer)
        else:
            self.leave(peer)

    def statistics(self) -> dict[str, int]:
        """Counters of requests and answers."""
        return {
            "connections": len(self.peers),
            "requests": self.requests,
            "requests_malformed": self.requests_malformed,
            "requests_timed_out": self.timeouts,
            "answers_2xx": self.answers_by_class[2],
            "answers_3xx": self.answers_by_class[3],
            "answers_4xx": self.answers_by_class[4],
            "answers_5xx": self.answers_by_class[5],
        }


class Busy(Handler):
    """Turns away who comes when all places are taken."""

    def on_open(self, connection: Connection, now_ms: int) -> None:
        response = ApiError(503, "too_many_connections", "too many connections to admin, come back later").response()
        head = f"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Type: {response.content_type}\r\n"
        connection.send(f"{head}Content-Length: {len(response.body)}\r\n\r\n".encode() + response.body)
        connection.close(REFUSED)  # one of the reasons for which a peer may read why


def declared_length(request: h11.Request) -> int:
    """The length of the body that a request says it has; 0 where it says none."""
    for name, value in request.headers:
        if name == b"content-length":
            return int(value)
    return 0
