"""An HTTP client for admin that says exactly what it is told, and reads answers one by one."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping
from typing import Any

from socket_client import PATIENCE_S

from swellmq import Broker


class Answer:
    """One answer as it came."""

    def __init__(self, raw: http.client.HTTPResponse) -> None:
        self.status = raw.status
        self.headers = {name.lower(): value for name, value in raw.getheaders()}
        self.body = raw.read()

    def json(self) -> Any:
        return json.loads(self.body)

    def code(self) -> str:
        """The code of an answer that is an error."""
        assert set(self.json()) == {"error"} and set(self.json()["error"]) == {"code", "message"}
        assert self.headers["content-type"] == "application/json"
        assert self.json()["error"]["message"]
        code: str = self.json()["error"]["code"]
        return code


def admin_port(broker: Broker) -> int:
    assert broker.server.admin is not None
    return broker.server.admin.port


def ask(
    broker: Broker,
    path: str,
    method: str = "GET",
    body: Any = None,
    headers: Mapping[str, str] | None = None,
    token: str = "",
) -> Answer:
    """One request on a connection of its own; a body that is no bytes goes as JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", admin_port(broker), timeout=PATIENCE_S)
    fields = dict(headers or {})
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
        fields.setdefault("Content-Type", "application/json")
    if token:
        fields["Authorization"] = "Bearer " + token
    try:
        connection.request(method, path, body, fields)
        return Answer(connection.getresponse())
    finally:
        connection.close()


class RawClient:
    """A connection to admin that sends bytes, whole or in pieces."""

    def __init__(self, broker: Broker) -> None:
        self.sock = socket.create_connection(("127.0.0.1", admin_port(broker)), timeout=PATIENCE_S)
        self.file = self.sock.makefile("rb")

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def answer(self, method: str = "GET") -> Answer:
        """The next answer."""
        raw = http.client.HTTPResponse(self.sock, method=method)
        raw.fp.close()
        raw.fp = self.file
        raw._close_conn = lambda: None  # type: ignore[attr-defined]  # it would close what the next answer comes by
        raw.begin()
        return Answer(raw)

    def is_closed(self) -> bool:
        """Whether the broker has closed the connection, or does now."""
        try:
            return self.file.read(1) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self.file.close()
        self.sock.close()
