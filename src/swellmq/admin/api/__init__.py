"""The API, a file for each subject; `ROUTES` has all of it, in the order of the OpenAPI document."""

from __future__ import annotations

from typing import Final

from swellmq.admin.api import (
    clients,
    document,
    health,
    messages,
    metrics,
    operate,
    overview,
    pool,
    subscriptions,
    topics,
    traces,
    watched,
)
from swellmq.admin.route import Route

ROUTES: Final[tuple[Route, ...]] = (
    *health.ROUTES,
    *metrics.ROUTES,
    *overview.ROUTES,
    *watched.ROUTES,
    *pool.ROUTES,
    *clients.ROUTES,
    *subscriptions.ROUTES,
    *messages.ROUTES,
    *topics.ROUTES,
    *operate.ROUTES,
    *traces.ROUTES,
    *document.ROUTES,
)
