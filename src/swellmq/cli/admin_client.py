"""What `swellmq top` and `swellmq trace` share: a client of the admin API, and the arguments that say where it is."""

from __future__ import annotations

import argparse
import http.client
import json
import os
import ssl
from typing import Any, Final
from urllib.parse import quote, urlsplit

ADDRESS: Final = "127.0.0.1:18083"
ADDRESS_VARIABLE: Final = "SWELLMQ_ADMIN"
TOKEN_VARIABLE: Final = "SWELLMQ_ADMIN_TOKEN"
TIMEOUT_S: Final = 10.0
ANSWER_BYTES_MAX: Final = 64 << 20


class AdminError(Exception):
    """The API can't be asked, or refuses: in words for the user. `status` is that of HTTP, 0 where there was none."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


def add_admin_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the broker's admin is, and what lets us in."""
    parser.add_argument(
        "--admin",
        metavar="ADDR:PORT",
        default=os.environ.get(ADDRESS_VARIABLE) or ADDRESS,
        help=f"where the broker's admin listens, or its URL (${ADDRESS_VARIABLE}, else {ADDRESS})",
    )
    parser.add_argument("--token", metavar="TOKEN", help=f"its token; other users may see it (${TOKEN_VARIABLE})")
    parser.add_argument("--token-file", metavar="FILE", help="a file with the token in its first line")
    parser.add_argument("--cafile", metavar="FILE", help="whom to trust, where admin speaks HTTPS")


def make_client(arguments: argparse.Namespace) -> AdminClient:
    """The client that the arguments ask for. Raises AdminError."""
    token = arguments.token or os.environ.get(TOKEN_VARIABLE, "")
    if arguments.token_file:
        try:
            with open(arguments.token_file, encoding="utf-8") as file:
                token = file.readline().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise AdminError(f"{arguments.token_file} can't be read: {getattr(error, 'strerror', error)}") from None
    return AdminClient(arguments.admin, token, arguments.cafile)


class AdminClient:
    """One connection to the admin API, opened again where it was lost."""

    def __init__(self, place: str, token: str = "", cafile: str | None = None) -> None:
        try:
            url = urlsplit(place if "://" in place else "http://" + place)
            host, port = url.hostname, url.port
        except ValueError:
            host = None
        if not host or url.scheme not in ("http", "https"):
            raise AdminError(f"{place} is no address of an admin: give HOST:PORT, or a URL of http or https")
        self.place = url.netloc
        self.headers: dict[str, str | bytes] = {"Accept": "application/json"}
        if token:
            self.headers["Authorization"] = b"Bearer " + os.fsencode(token)
        self.connection: http.client.HTTPConnection
        if url.scheme == "https":
            try:
                context = ssl.create_default_context(cafile=cafile)
            except OSError as error:
                raise AdminError(f"{cafile} can't be used: {error.strerror or error}") from None
            self.connection = http.client.HTTPSConnection(host, port or 443, timeout=TIMEOUT_S, context=context)
        else:
            self.connection = http.client.HTTPConnection(host, port or 80, timeout=TIMEOUT_S)

    def get(self, path: str, **query: str | int) -> Any:
        """The JSON answer to a GET of `/api/v1/...`."""
        words = "&".join(f"{name}={encoded(str(value))}" for name, value in query.items() if value != "")
        return self.ask("GET", path + ("?" + words if words else ""))

    def ask(self, method: str, path: str, body: dict[str, object] | None = None) -> Any:
        """The JSON answer to a request, None where it has none. Raises AdminError."""
        headers = dict(self.headers)
        content = None
        if body is not None:
            content = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        status, answer = self._exchange(method, "/api/v1" + path, content, headers)
        try:
            value = json.loads(answer) if answer else None
        except ValueError:
            raise AdminError(f"{self.place} answers, but not as the admin of a swellmq does") from None
        if status < 400:
            return value
        if status == 401:
            raise AdminError(f"{self.place} wants its token: give --token-file, or ${TOKEN_VARIABLE}", status)
        problem = value.get("error") if isinstance(value, dict) else None
        text = problem.get("message") if isinstance(problem, dict) else None
        raise AdminError(str(text or f"{self.place} answers {method} {path} with status {status}"), status)

    def _exchange(
        self, method: str, path: str, content: bytes | None, headers: dict[str, str | bytes]
    ) -> tuple[int, bytes]:
        try:
            for attempt in (1, 2):
                try:
                    self.connection.request(method, path, content, headers)
                    response = self.connection.getresponse()
                    return response.status, response.read(ANSWER_BYTES_MAX)
                except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                    self.connection.close()  # it was kept open, and the broker did not wait so long
                    if attempt == 2:
                        raise
        except ConnectionRefusedError:
            self.connection.close()
            raise AdminError(
                f"nobody listens on {self.place}: start the broker with `--admin {self.place}`, or say with --admin"
                " where its admin is"
            ) from None
        except (http.client.RemoteDisconnected, http.client.BadStatusLine):
            self.connection.close()
            raise AdminError(f"{self.place} speaks no HTTP: is it the port of MQTT, or admin with HTTPS?") from None
        except (OSError, http.client.HTTPException) as error:
            self.connection.close()
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise AdminError(f"{self.place} can't be asked: {reason}") from None
        raise AssertionError("two attempts either return or raise")

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()


def encoded(name: str) -> str:
    """A client id, a topic or a value as one part of a path or query; what is no UTF-8 is for the broker to refuse."""
    return quote(name, safe="", errors="surrogateescape")
