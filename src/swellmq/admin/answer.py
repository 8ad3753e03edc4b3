"""What goes back to who has asked: a Response, or an ApiError on the way to one."""

from __future__ import annotations

import gzip
from http import HTTPStatus
from typing import Final

import msgspec

JSON: Final = "application/json"
GZIP_FROM_BYTES: Final = 1_024  # less gains nothing
GZIP_UP_TO_BYTES: Final = 262_144  # 3 ms of work at level 1; more would hold up the broker's turn

Headers = list[tuple[str, str]]


class Error(msgspec.Struct):
    """What went wrong: `code` is for programs and stays, `message` is for people."""

    code: str
    message: str


class Failure(msgspec.Struct):
    """The body of each answer that is none."""

    error: Error


class Response:
    """One answer. `headers` are those beside Content-Length and what every answer has."""

    __slots__ = ("status", "body", "content_type", "headers")

    def __init__(self, status: int, body: bytes = b"", content_type: str = JSON, headers: Headers | None = None):
        self.status = status
        self.body = body
        self.content_type = content_type
        self.headers = headers if headers is not None else []

    def compress(self) -> None:
        """Pack the body where that gains something and takes little time. The client must have said it can read it."""
        if GZIP_FROM_BYTES <= len(self.body) <= GZIP_UP_TO_BYTES:
            self.body = gzip.compress(self.body, compresslevel=1, mtime=0)
            self.headers += [("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding")]


class ApiError(Exception):
    """A request that can't be answered as asked."""

    def __init__(self, status: int, code: str, message: str, headers: Headers | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers

    def response(self) -> Response:
        """The answer that says so."""
        return Response(self.status, encode(Failure(Error(self.code, self.message))), JSON, self.headers)


def encode(value: object) -> bytes:
    """A value as JSON, with the end of line that a terminal likes."""
    return msgspec.json.encode(value) + b"\n"


def json(value: object, status: int = HTTPStatus.OK) -> Response:
    """An answer with a value as JSON."""
    return Response(status, encode(value))


def accepts_gzip(headers: dict[str, str]) -> bool:
    """Whether a client says that it can read what is packed by gzip, RFC 9110 section 12.5.3."""
    for piece in headers.get("accept-encoding", "").split(","):
        coding, _, weight = piece.partition(";")
        if coding.strip().lower() in ("gzip", "*"):
            return weight.replace(" ", "").lower() not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
