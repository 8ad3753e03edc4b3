"""The API, a file for each subject; `ROUTES` has all of it, in the order of the OpenAPI document."""

from __future__ import annotations

from typing import Final

from swellmq.admin.api import clients, health, overview
from swellmq.admin.route import Route

ROUTES: Final[tuple[Route, ...]] = (
    *health.ROUTES,
    *overview.ROUTES,
    *clients.ROUTES,
)
