"""All numbers for Prometheus."""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

from swellmq.admin.answer import Response
from swellmq.admin.metrics import exposition
from swellmq.admin.route import Request, Route
from swellmq.server import Server


def metrics(server: Server, asked: Request) -> Generator[None, None, Response]:
    """All numbers, as Prometheus' text format or OpenMetrics, as `Accept` says. docs/METRICS.md lists them."""
    body, content_type = yield from exposition(server, asked.headers.get("accept", ""))
    return Response(200, body, content_type)


ROUTES: Final = (Route("GET", "/metrics", metrics),)
