"""`swellmq top`: a running broker in a terminal, looked at each second over its admin API."""

from __future__ import annotations

import argparse
import json
import os
import select
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

from swellmq.cli.admin_client import AdminClient, AdminError, add_admin_arguments, make_client

EXIT_FAILED: Final = 1
TALKERS: Final = 4
RECEIPTS: Final = 3
HISTORY_S: Final = 60
CLIENTS: Final = 1_000  # are sorted; of more, the first by client id
PLAIN_WIDTH: Final = 100  # where there is no terminal
PLAIN_HEIGHT: Final = 60
SORTS: Final = ("bytes", "queued", "inflight", "subscriptions", "newest", "name")
ENTER, ESCAPE, BACKSPACE, INTERRUPT = "\r", "\x1b", "\x7f", "\x03"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Watch a running broker: its pool, rates, turns, alarms, who talks most, what costs most, its clients. The "
        "broker needs `--admin`. Keys: q quits, s sorts the clients by something else, / searches them. Where the "
        "output is no terminal it is printed once."
    )
    parser.add_argument("--once", action="store_true", help="print it once and end")
    parser.add_argument("--json", action="store_true", help="print it once as JSON and end")
    parser.add_argument("--sort", choices=SORTS, default="bytes", help="by what clients are sorted (bytes)")
    parser.add_argument("--search", metavar="TEXT", default="", help="only clients whose id, user or address has this")
    parser.add_argument("--interval", type=seconds, default=1.0, metavar="S", help="seconds between two looks (1)")
    add_admin_arguments(parser)


def seconds(text: str) -> float:
    """The pause between two looks, as an argument."""
    value = float(text)
    if not 0.2 <= value <= 3_600:
        raise argparse.ArgumentTypeError(f"{text} is not from 0.2 to 3600")
    return value


def run(arguments: argparse.Namespace) -> int:
    try:
        client = make_client(arguments)
        if arguments.json:
            print(json.dumps(look(client, arguments.search), ensure_ascii=False))
            return 0
        try:
            import rich  # noqa: F401  # what draws needs it
        except ImportError:
            raise AdminError("top needs rich: pip install 'swellmq[tools]'; `--json` does without") from None
        if arguments.once or not (sys.stdout.isatty() and sys.stdin.isatty()):
            print_once(look(client, arguments.search), arguments)
        else:
            watch(client, arguments)
    except AdminError as error:
        print(f"swellmq: {error}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        pass
    return 0


def look(client: AdminClient, search: str) -> dict[str, Any]:
    """All that is shown, asked of the broker now."""
    now = datetime.now(UTC)
    return {
        "place": client.place,
        "now": now.isoformat(),
        "at": now.astimezone().strftime("%H:%M:%S"),
        "overview": client.get("/overview"),
        "pool": client.get("/pool"),
        "history": optional(client, "/history", seconds=HISTORY_S),
        "talkers": optional(client, "/talkers", limit=TALKERS),
        "receipts": optional(client, "/receipts", limit=RECEIPTS),
        "clients": client.get("/clients", limit=CLIENTS, search=search),
    }


def optional(client: AdminClient, path: str, **query: int) -> Any:
    """An answer, or None where a broker of another version has none such."""
    try:
        return client.get(path, **query)
    except AdminError as error:
        if error.status != 404:
            raise
        return None


def print_once(snapshot: dict[str, Any], arguments: argparse.Namespace) -> None:
    """The screen as plain text, without its last line."""
    from rich.console import Console

    from swellmq.cli.top_view import render

    console = Console(width=PLAIN_WIDTH if not sys.stdout.isatty() else None, highlight=False)
    for line in render(snapshot, console.width, PLAIN_HEIGHT, arguments.sort, arguments.search)[:-1]:
        console.print(line, no_wrap=True, crop=True)


class Keys:
    """What is typed: keys that do something at once, and the text of a search, which ends with Enter or Escape."""

    def __init__(self, sort: str, search: str) -> None:
        self.sort = sort
        self.search = search
        self.typing: str | None = None
        self.ended = False

    def press(self, key: str) -> None:
        """One character."""
        if key == INTERRUPT:
            self.ended = True
        elif self.typing is not None:
            if key in (ENTER, "\n"):
                self.search, self.typing = self.typing, None
            elif key == ESCAPE:
                self.typing = None
            elif key in (BACKSPACE, "\b"):
                self.typing = self.typing[:-1]
            elif key.isprintable():
                self.typing += key
        elif key in "qQ":
            self.ended = True
        elif key in "sS":
            self.sort = SORTS[(SORTS.index(self.sort) + 1) % len(SORTS)]
        elif key == "/":
            self.typing = ""
        elif key == ESCAPE:
            self.search = ""

    def notice(self) -> str:
        """What is said of the search that is being typed."""
        return "" if self.typing is None else f"search: {self.typing}▏ (Enter finds, Escape leaves)"


def watch(client: AdminClient, arguments: argparse.Namespace) -> None:
    """Show it until q. A broker that is gone for a while is waited for."""
    from rich.console import Console, Group
    from rich.live import Live

    from swellmq.cli.top_view import render

    keys = Keys(arguments.sort, arguments.search)
    snapshot = look(client, keys.search)  # what is wrong from the start ends it, in words
    problem = ""
    console = Console(highlight=False)
    with raw_keys(), Live(console=console, screen=True, auto_refresh=False) as live:
        due = time.monotonic() + arguments.interval
        while not keys.ended:
            notice = keys.notice() or problem
            live.update(
                Group(*render(snapshot, console.width, console.height, keys.sort, keys.search, notice)), refresh=True
            )
            searched = keys.search
            if select.select([sys.stdin], [], [], max(0.0, due - time.monotonic()))[0]:
                for key in os.read(sys.stdin.fileno(), 1024).decode(errors="ignore") or INTERRUPT:
                    keys.press(key)
            if time.monotonic() >= due or keys.search != searched:
                due = time.monotonic() + arguments.interval
                try:
                    snapshot = look(client, keys.search)
                    problem = ""
                except AdminError as error:
                    problem = str(error)


@contextmanager
def raw_keys() -> Iterator[None]:
    """Keys come one by one and are not echoed; the terminal is as before afterwards."""
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    try:
        tty.setcbreak(fd)
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)
