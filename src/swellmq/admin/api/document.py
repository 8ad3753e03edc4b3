"""What the API says of itself."""

from __future__ import annotations

import os
from typing import Final

from swellmq.admin.answer import Response
from swellmq.admin.route import Route

FILE: Final = os.path.join(os.path.dirname(os.path.dirname(__file__)), "openapi.json")  # tools/openapi.py writes it


def openapi() -> Response:
    """This document: OpenAPI 3.1."""
    with open(FILE, "rb") as file:
        return Response(200, file.read())


ROUTES: Final = (Route("GET", "/openapi.json", openapi, public=True, content_type="application/json"),)
