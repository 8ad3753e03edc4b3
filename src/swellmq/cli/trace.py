"""`swellmq trace CLIENT`: the packets of one client of a running broker, as they come and go."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any, Final

from swellmq.cli.admin_client import AdminClient, AdminError, add_admin_arguments, encoded, make_client
from swellmq.cli.arguments import whole

EXIT_FAILED: Final = 1
EXIT_BAD_USAGE: Final = 2
LOOK_S: Final = 0.5
MINUTES_MAX: Final = 1_440  # as in swellmq.trace, which brings half a broker


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Show every packet of one client, in and out, with payloads cut, until Ctrl-C or until the time is over. The "
        "broker needs `--admin`; the client may connect later, and again."
    )
    parser.add_argument("client_id", metavar="CLIENT", help="its client identifier")
    parser.add_argument(
        "--minutes", type=whole(1, MINUTES_MAX), default=10, metavar="N", help="how long, up to 1440 (10)"
    )
    parser.add_argument("--json", action="store_true", help="a JSON object a line")
    add_admin_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    if not arguments.client_id:
        print("swellmq: trace: give the client identifier of the client", file=sys.stderr)
        return EXIT_BAD_USAGE
    try:
        client = make_client(arguments)
        follow(client, arguments)
    except AdminError as error:
        print(f"swellmq: {error}", file=sys.stderr)
        return EXIT_FAILED
    except BrokenPipeError:  # `| head` has seen enough
        sys.stderr.close()
    return 0


def follow(client: AdminClient, arguments: argparse.Namespace) -> None:
    """Begin the trace, print its lines, and end it."""
    path = f"/traces/{encoded(arguments.client_id)}"
    begun = client.ask("POST", path, {"minutes": arguments.minutes})
    if not arguments.json:
        print(f"tracing {arguments.client_id} until {moment(begun['ends_at'])}; Ctrl-C ends it", file=sys.stderr)
    seen = 0
    try:
        while True:
            answer = client.get(path, after=seen)
            for item in answer["items"]:
                seen = item["number"]
                print(json.dumps(item, ensure_ascii=False) if arguments.json else line(item), flush=True)
            if not answer["active"]:
                return
            time.sleep(LOOK_S)
    except KeyboardInterrupt:
        client.close()  # a question may be half answered
    finally:
        stop(client, path)


def stop(client: AdminClient, path: str) -> None:
    """End the trace, unless others have taken its place already. Its lines stay, for the page."""
    try:
        client.ask("POST", path + "/stop")
    except AdminError as error:
        if error.status != 404:
            raise


def line(item: dict[str, Any]) -> str:
    """One packet for reading."""
    arrow = {"received": "->", "sent": "<-"}.get(item["direction"], "  ")
    return f"{moment(item['at'])} {arrow} {item['text']}"


def moment(text: str) -> str:
    """The time of day in a time such as `2026-01-31T12:00:00.123000Z`, to the millisecond, in UTC."""
    return text.partition("T")[2].rstrip("Z")[:12]
