"""Admin beside a broker: a second, small loop of its own, hosted in the broker's.

Its connections take nothing from the broker's pool and are never refused for its bounds: an operator gets in just when
it is full. The broker's loop watches one descriptor more, that of this loop's epoll, and its host runs a turn of ours
when that was readable or something here is due.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import h11

from swellmq.admin.answer import ApiError, Headers, Response
from swellmq.admin.api import ROUTES
from swellmq.admin.engine import CONNECTIONS_MAX, Busy, HttpEngine, Peer
from swellmq.admin.files import Files
from swellmq.admin.route import Request, Router, Walk, not_allowed
from swellmq.admin.security import NOTHING, Security
from swellmq.admin.settings import make_layer, parse_place, read_tokens
from swellmq.connection import Connection, Layer, Turn
from swellmq.errors import INTERNAL_ERROR, SettingsError
from swellmq.listener_settings import is_loopback
from swellmq.net.listener import Listener, open_tcp
from swellmq.net.loop import Loop
from swellmq.net.peers import SocketPeers
from swellmq.net.pool import Pool, PoolSettings
from swellmq.settings import Settings
from swellmq.stats import Stats

if TYPE_CHECKING:
    from swellmq.server import Server

log = logging.getLogger("swellmq.admin")

WEBSOCKET_PATH: Final = "/mqtt"
UPGRADE: Final = "UPGRADE"  # in place of a method: a WebSocket can do more than GET
BACKLOG: Final = 64


class Site:
    """What is served: routes, the page's files, and who may see them."""

    def __init__(self, server: Server, security: Security) -> None:
        self.server = server
        self.security = security
        self.router = Router(ROUTES)
        self.files = Files()
        self.peers = SocketPeers()

    def address(self, connection: Connection) -> str:
        """Where a peer comes from."""
        return self.peers.address(connection)

    def headers(self) -> Headers:
        """What every answer has."""
        return [
            ("Date", time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())),
            ("Server", "swellmq"),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
        ]

    def answer(self, peer: Peer, asked: h11.Request, body: bytes) -> Response | Walk[Response] | None:
        """The answer to a request, or what leads to it in slices; None where it asks for the WebSocket.

        Raises ApiError.
        """
        headers: dict[str, str] = {}
        for name, value in asked.headers:
            key, text = name.decode(), value.decode("latin-1")
            headers[key] = headers[key] + ", " + text if key in headers else text
        method, target = asked.method.decode(), asked.target.decode()
        if target.lower().startswith(
            ("http://", "https://")
        ):  # the absolute form, which proxies use, RFC 9112 section 3.2.2
            headers["host"], _, target = target.partition("://")[2].partition("/")
            target = "/" + target
        request = Request(method, target, headers, body, self.address(peer.connection))
        now_ms = peer.connection.turn.now_ms
        security = self.security
        security.check_host(headers)
        if request.path == WEBSOCKET_PATH:
            if "websocket" not in headers.get("upgrade", "").lower():
                raise ApiError(
                    426, "websocket_expected", "this path is for MQTT over WebSocket", [("Upgrade", "websocket")]
                )
            security.check_origin(UPGRADE, headers)
            security.demand(UPGRADE, headers, request.address, now_ms)
            return None
        found = self.router.find(method, request.path)
        if found is None:
            file = self.files.find(request.path, headers)
            if file is None:
                raise ApiError(404, "not_found", "there is nothing at this path")
            if method not in ("GET", "HEAD"):
                raise not_allowed(["GET"])
            return file
        route, parameters = found
        security.check_origin(method, headers)
        if route.public:
            request.known = security.rights(headers, request.address, now_ms) != NOTHING
        else:
            security.demand(method, headers, request.address, now_ms)
        if method not in ("GET", "HEAD"):
            log.info("admin: %s %s by %s", method, request.path, request.address or "this machine")
        return route.call(self.server, request, parameters)


class Admin:
    """The admin of one broker, from `open` to `close`."""

    def __init__(self, server: Server) -> None:
        settings = server.settings
        self.server = server
        self.addresses, self.wanted_port = parse_place(settings.admin, settings.where("admin"))
        self.scheme = "https" if settings.admin_certificate else "http"
        self.security = Security(*read_tokens(settings), self.addresses, self.scheme)
        self.turn_state = Turn()
        self.stats = Stats()
        sizes = PoolSettings()
        sizes.mode = "none"
        sizes.max_connections = CONNECTIONS_MAX
        self.site = Site(server, self.security)
        self.engine = HttpEngine(self.site, self.turn_state)
        pool = Pool(sizes, self.turn_state)
        self.loop = Loop(self.engine, Busy(), pool, self.turn_state, self.stats)
        pool.preheat()
        self.listeners: list[Listener] = []

    def open(self) -> None:
        """Listen. Raises SettingsError where an address can't be had."""
        settings = self.server.settings
        port = self.wanted_port
        layer = make_layer(settings) if self.scheme == "https" else None
        for index, address in enumerate(self.addresses):
            try:
                listener = open_tcp(address, port, index, BACKLOG)
            except SettingsError as error:
                remedy = "Choose another address or port, or stop the program that listens there"
                raise SettingsError(
                    f"admin = {settings.admin}", error.problem, remedy, settings.where("admin")
                ) from None
            port = listener.port  # of both loopbacks, where any port will do
            listener.layer = layer
            self.listeners.append(listener)
            self.loop.add_listener(listener)
        self.server.loop.host(self.loop.fileno())
        self.server.watch.keep_history()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self.listeners[0].port

    def url(self) -> str:
        """Where a browser finds the page."""
        return f"{self.scheme}://{self.listeners[0].name}/"

    def turn(self) -> int:
        """Run a turn without waiting; milliseconds until the next one is due by itself, -1: never."""
        try:
            self.loop.turn(0)
            while self.engine.upgrades:
                self._hand_over(self.engine.upgrades.pop())
        except Exception:  # whatever happens here, the broker goes on
            self.server.stats.errors_internal += 1
            log.exception("a bug of ours in admin: all its connections are closed")
            for connection in self.loop.served():
                connection.close(INTERNAL_ERROR)
        return self.loop.deadline_ms()

    def _hand_over(self, peer: Peer) -> None:
        """Let a connection that asked for a WebSocket become one of the broker's: an ordinary MQTT client's."""
        if peer.gone or peer.request is None:
            return
        connection = peer.connection
        lines = [b"GET " + peer.request.target + b" HTTP/1.1"]
        lines += [name + b": " + value for name, value in peer.request.headers]
        from swellmq.net.websocket import WebSocketLayer, WebSocketTerms  # hashlib loads OpenSSL: 3.7 MB

        websocket = WebSocketLayer(WebSocketTerms([WEBSOCKET_PATH.encode()], [], []))
        data = websocket.received(b"\r\n".join(lines) + b"\r\n\r\n" + peer.http.trailing_data[0])
        layer: Layer = websocket
        if self.scheme == "https":
            from swellmq.net.tls import TlsLayer  # it is there already

            buffers = connection.buffers
            assert buffers is not None and isinstance(buffers.layer, TlsLayer)
            layer = buffers.layer
            layer.above = websocket
            layer.reason = websocket.reason
        del self.engine.peers[connection]
        index = len(self.server.listeners)  # none of the broker's own
        self.server.loop.adopt(self.loop.let_go(connection), index, layer, data)

    def prepare_reload(self, new: Settings) -> Callable[[], list[str]]:
        """Read the token and the certificate again, see reload.py."""
        token, read_token = read_tokens(new)
        if not token and not all(is_loopback(address) for address in self.addresses):
            raise SettingsError("admin_token", "taken away, while other machines can reach admin", "Give another one")
        if bool(new.admin_certificate) != (self.scheme == "https"):
            problem = "HTTPS begins or ends with this"
            raise SettingsError("admin_certificate", problem, "Restart the broker for that")
        layer = make_layer(new) if self.scheme == "https" else None

        def apply() -> list[str]:
            for listener in self.listeners:
                listener.layer = layer
            if not self.security.change(token, read_token):
                return []
            return ["admin: another token, and all logins have ended"]

        return apply

    def statistics(self) -> dict[str, int]:
        """Counters of the admin server itself."""
        return {
            **self.engine.statistics(),
            "refused": self.security.refused,
            "errors_internal": int(self.stats.errors_internal),
            "turn_longest_us": int(self.stats.turn.ever_us),
            "turn_recent_us": self.stats.turn.recent_us(self.turn_state.now_ms),
        }

    def close(self) -> None:
        """Close everything."""
        self.server.loop.host(-1)
        self.loop.close()
