"""Routes: which function answers which request. What a route takes and gives stands in the function's own signature.

    def client(server: Server, client_id: str, query: ClientQuery) -> Client: ...

    Route("GET", "/api/v1/clients/{client_id}", client)

A parameter called `query` or `body` is a msgspec Struct that the query or the JSON body is read into, with its ranges;
`server` is the broker, `asked` the Request; any other is a part of the path, by name. A Generator is run in
slices, and what it returns is the answer. The OpenAPI document is made of the same signatures.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Sequence
from typing import Any, Final, TypeAlias, TypeVar, get_args, get_origin, get_type_hints
from urllib.parse import parse_qsl, unquote_to_bytes

import msgspec

from swellmq.admin.answer import ApiError, Response, accepts_gzip, json
from swellmq.server import Server

Result = TypeVar("Result")

# What a function returns that takes its time. It yields wherever it may be interrupted, at least every 0.1 ms or so;
# a number is for how many milliseconds it has nothing to do.
Walk: TypeAlias = Generator[int | None, None, Result]

REST: Final = "..."  # "{topic...}" takes all that is left of the path, slashes too


class Request:
    """What a route may want to know of the request beside its parameters."""

    __slots__ = ("method", "path", "headers", "query", "body", "address", "known")

    def __init__(self, method: str, target: str, headers: dict[str, str], body: bytes, address: str) -> None:
        path, _, query = target.partition("?")
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.body = body
        self.address = address
        self.known = False  # who asks may ask everything


class Route:
    """One method at one path. `public` ones answer without a token too."""

    def __init__(
        self,
        method: str,
        path: str,
        function: Callable[..., Any],
        public: bool = False,
        status: int = 200,
        content_type: str = "",  # of a Response, for the OpenAPI document
    ) -> None:
        self.content_type = content_type
        self.method = method
        self.path = path
        self.parts = path.split("/")[1:]
        self.function = function
        self.public = public
        hints = get_type_hints(function)
        result = hints.pop("return")
        self.sliced = get_origin(result) is Generator
        self.result = get_args(result)[2] if self.sliced else result
        self.status = 204 if self.result is type(None) else status
        self.query: type[msgspec.Struct] | None = hints.get("query")
        self.body: type[msgspec.Struct] | None = hints.get("body")
        self.wants = list(inspect.signature(function).parameters)

    def match(self, parts: Sequence[str]) -> dict[str, str] | None:
        """The parameters in a path, split at its slashes and still encoded; None where it is another path."""
        found: dict[str, str] = {}
        for index, part in enumerate(self.parts):
            if part.endswith(REST + "}"):
                if index >= len(parts):
                    return None
                found[part[1 : -1 - len(REST)]] = "/".join(parts[index:])
                return found
            if index >= len(parts) or (part != parts[index] and not part.startswith("{")):
                return None
            if part.startswith("{"):
                found[part[1:-1]] = parts[index]
        return found if len(parts) == len(self.parts) else None

    def call(self, server: Server, request: Request, found: dict[str, str]) -> Response | Walk[Response]:
        """Have the function answer, or begin to. Raises ApiError where the request is not as the signature says."""
        arguments: dict[str, object] = {}
        for name in self.wants:
            if name == "server":
                arguments[name] = server
            elif name == "asked":
                arguments[name] = request
            elif name == "query":
                assert self.query is not None
                arguments[name] = read_query(request.query, self.query)
            elif name == "body":
                assert self.body is not None
                arguments[name] = read_body(request, self.body)
            else:
                arguments[name] = unquote(found[name])
        if self.query is None and request.query:
            raise ApiError(400, "bad_query", "there are no parameters here")
        result = self.function(**arguments)
        return self._finish(result, request) if self.sliced else self._answer(result, request)

    def _finish(self, walk: Walk[object], request: Request) -> Walk[Response]:
        result = yield from walk
        return self._answer(result, request)

    def _answer(self, result: object, request: Request) -> Response:
        if isinstance(result, Response):
            if accepts_gzip(request.headers):
                result.compress()
            return result
        return Response(204) if result is None else json(result, self.status)


def unquote(text: str) -> str:
    """A part of a path as it is meant. Raises ApiError where it is no UTF-8."""
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise ApiError(400, "bad_path", "the path is not UTF-8") from None


def read_query(text: str, kind: type[msgspec.Struct]) -> msgspec.Struct:
    """The parameters behind the question mark. Raises ApiError where they are not what `kind` says."""
    values: dict[str, str] = {}
    try:
        pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text), errors="strict", max_num_fields=32)
    except ValueError:  # UnicodeDecodeError is one
        raise ApiError(400, "bad_query", "the query is malformed") from None
    for name, value in pairs:
        if name in values:
            raise ApiError(400, "bad_query", f"`{name}` is given twice")
        values[name] = value
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        raise ApiError(400, "bad_query", words(error)) from None


def read_body(request: Request, kind: type[msgspec.Struct]) -> msgspec.Struct:
    """The JSON in the body. Raises ApiError where it is none, or not what `kind` says."""
    content_type = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise ApiError(415, "not_json", "the body must be application/json")
    try:
        return msgspec.json.decode(request.body, type=kind)
    except msgspec.ValidationError as error:
        raise ApiError(422, "bad_body", words(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ApiError(400, "bad_json", str(error)) from None


def words(error: msgspec.ValidationError) -> str:
    """What msgspec found, without the signs of its path: "Expected `int` >= 1 - at `limit`"."""
    return str(error).replace("`$.", "`").replace(" - at `$`", "")


class Router:
    """All routes; finds the one for a request."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self.routes = routes

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
        """The route for a request and the parameters in its path; None where no route has this path.

        Raises ApiError where another method is meant.
        """
        parts = path.split("/")[1:]
        allowed: list[str] = []
        for route in self.routes:
            found = route.match(parts)
            if found is None:
                continue
            if route.method == method or (method == "HEAD" and route.method == "GET"):
                return route, found
            allowed.append(route.method)
        if not allowed:
            return None
        raise not_allowed(allowed)


def not_allowed(allowed: list[str]) -> ApiError:
    """405, with the methods that there are."""
    methods = sorted({*allowed, "HEAD"} if "GET" in allowed else allowed)
    return ApiError(405, "method_not_allowed", "another method is meant here", [("Allow", ", ".join(methods))])
