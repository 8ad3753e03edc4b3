"""Writes src/swellmq/admin/openapi.json, the document of the API, from the signatures and docstrings of its routes.

`python tools/openapi.py`, or `make docs`. A broker serves the file as it is: to make it would hold it up for 0.1 s.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import UnionType
from typing import Any, Final, Union, get_args, get_origin

import msgspec

from swellmq.admin.answer import Failure, Response
from swellmq.admin.api import ROUTES
from swellmq.admin.route import REST, Route
from swellmq.version import VERSION

FILE: Final = Path(__file__).parent.parent / "src/swellmq/admin/openapi.json"
REFERENCE: Final = "#/components/schemas/{name}"
JSON: Final = "application/json"
ABOUT: Final = (
    "The API of a swellmq broker. Lists come in pages: ask for the next one with `after`, the `next` of the page "
    "before. What can't be answered is told as `Failure`, with a `code` for programs and a `message` for people."
)
SCHEMES: Final = {
    "token": {"type": "http", "scheme": "bearer", "description": "The secret of `admin_token`."},
    "password": {"type": "http", "scheme": "basic", "description": "Any user name, and that secret as the password."},
    "login": {"type": "apiKey", "in": "cookie", "name": "swellmq_admin", "description": "From `POST /api/v1/login`."},
}


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """The document."""
    types: list[Any] = [Failure]
    for route in routes:
        types += [one for one in (answer_type(route), route.body, route.query) if one is not None]
    schemas, components = msgspec.json.schema_components(types, ref_template=REFERENCE)
    by_type = {id(one): schema for one, schema in zip(types, schemas, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        operations = paths.setdefault(route.path.replace(REST, ""), {})
        operations[route.method.lower()] = _operation(route, by_type, components)
    for route in routes:  # they are told as parameters
        if route.query is not None:
            components.pop(route.query.__name__, None)
    return {
        "openapi": "3.1.0",
        "info": {"title": "swellmq", "version": VERSION, "description": ABOUT},
        "servers": [{"url": "/"}],
        "security": [{"token": []}, {"password": []}, {"login": []}],
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": SCHEMES},
    }


def text() -> str:
    """The file as it should be."""
    return json.dumps(document(ROUTES), indent=1, ensure_ascii=False) + "\n"


def answer_type(route: Route) -> Any:
    """What a route answers with where all goes well; None where that is no JSON."""
    members = get_args(route.result) if get_origin(route.result) in (UnionType, Union) else (route.result,)
    found = [one for one in members if one is not Response and one is not type(None)]
    return found[0] if found else None


def _operation(route: Route, by_type: dict[int, dict[str, Any]], components: dict[str, Any]) -> dict[str, Any]:
    words = (route.function.__doc__ or "").split("\n\n")
    answer = answer_type(route)
    good: dict[str, Any] = {"description": "All went well."}
    if answer is not None:
        good["content"] = {JSON: {"schema": by_type[id(answer)]}}
    elif route.content_type:
        good["content"] = {route.content_type: {"schema": {"type": "string"}}}
    failure = {"description": "Why not.", "content": {JSON: {"schema": by_type[id(Failure)]}}}
    operation: dict[str, Any] = {
        "operationId": route.function.__name__,
        "summary": " ".join(words[0].split()),
        "tags": [route.function.__module__.rpartition(".")[2]],
        "parameters": _parameters(route, components),
        "responses": {str(route.status): good, "default": failure},
    }
    if len(words) > 1:
        operation["description"] = " ".join(" ".join(words[1:]).split())
    if answer is not None and "503" not in operation["responses"] and route.public and route.method == "GET":
        operation["responses"]["503"] = {**good, "description": "Not now."}
    if route.body is not None:
        operation["requestBody"] = {"required": True, "content": {JSON: {"schema": by_type[id(route.body)]}}}
    if route.public:
        operation["security"] = []
    return operation


def _parameters(route: Route, components: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for part in route.parts:
        if part.startswith("{"):
            name = part.strip("{}").removesuffix(REST)
            schema = {"type": "string", "minLength": 1}
            found.append({"name": name, "in": "path", "required": True, "schema": schema})
    if route.query is None:
        return found
    told = components[route.query.__name__]
    for name, schema in told["properties"].items():
        schema = dict(schema)
        parameter: dict[str, Any] = {"name": name, "in": "query", "required": name in told.get("required", ())}
        if "description" in schema:
            parameter["description"] = schema.pop("description")
        if "anyOf" in schema:  # to leave it out is the only null that a query can say
            schema = {**next(one for one in schema["anyOf"] if one != {"type": "null"})}
        if schema.get("default", "") is None:
            del schema["default"]
        found.append({**parameter, "schema": schema})
    return found


if __name__ == "__main__":
    FILE.write_text(text())
