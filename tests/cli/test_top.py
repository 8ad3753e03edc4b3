"""`swellmq top`: what it makes of a snapshot, its keys, and the whole of it in a terminal."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from admin_client import admin_port
from socket_client import PATIENCE_S, Clients

from swellmq import Broker
from swellmq.cli.main import main
from swellmq.cli.top import SORTS, Keys
from swellmq.cli.top_view import KEYS, duration, render, size_text, sparks, trigger_of

Start = Callable[..., Broker]
NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


def make_client(number: int) -> dict[str, Any]:
    return {
        "client_id": f"client-{number}",
        "username": None,
        "address": "192.0.2.7",
        "protocol_version": "3.1.1",
        "connected_at": (NOW - timedelta(seconds=number * 60)).isoformat(),
        "subscriptions": number,
        "queued": number % 3,
        "inflight": number % 5,
        "bytes": 1_000 * number,
    }


def snapshot() -> dict[str, Any]:
    return {
        "place": "127.0.0.1:18083",
        "now": NOW.isoformat(),
        "at": "12:00:00",
        "overview": {
            "name": "swellmq",
            "version": "0.1.0",
            "build": "compiled",
            "uptime_s": 12_345,
            "connections": {
                "active": 812,
                "connected": 810,
                "capacity": 1_024,
                "idle": 220,
                "overflow": 8,
                "max_size": 100_000,
                "max_connections": 1_000_000,
            },
            "memory": {"resident_bytes": 19_400_000, "budget_bytes": 7_000_000_000},
            "turn": {"p50_us": 120, "p99_us": 2_300, "recent_us": 4_100, "longest_us": 9_000},
            "rates": {
                "publishes_received": 12_345,
                "publishes_sent": 123_456,
                "bytes_received": 1_234_567,
                "bytes_sent": 12_345_678,
                "connects": 12,
            },
            "alarms": [],
        },
        "pool": {"settings": {"mode": "dynamic", "threshold_percent": 80, "max_size": 100_000}},
        "history": {
            "columns": ["at", "publishes_received", "publishes_sent"],
            "rows": [[second, second % 17, second % 11] for second in range(60)],
        },
        "talkers": {
            "publishers": [
                {"client_id": f"pub-{number}", "messages_per_s": 100.0 / (number + 1)} for number in range(4)
            ],
            "subscribers": [{"client_id": "ダッシュボード" * 9, "messages_per_s": 99_999.0}],
        },
        "receipts": {
            "kinds": [
                {"kind": kind, "total_bytes": 123_456, "count": 1_000, "items": [{"name": "thermo", "bytes": 1_234}]}
                for kind in ("clients", "sessions", "topics", "retained")
            ]
        },
        "clients": {"items": [make_client(number) for number in range(30)], "next": None},
    }


def plain(width: int = 80, height: int = 24, sort: str = "bytes", search: str = "", **changes: Any) -> list[str]:
    shown = snapshot()
    shown["overview"].update(changes)
    return [line.plain for line in render(shown, width, height, sort, search)]


class TestTheScreen:
    @pytest.mark.parametrize("width", [30, 60, 80, 133, 250])
    @pytest.mark.parametrize("height", [12, 24, 50])
    @pytest.mark.parametrize("sort", SORTS)
    def test_it_fits(self, width: int, height: int, sort: str) -> None:
        lines = render(snapshot(), width, height, sort, "a search that is very long indeed, longer than its place")
        assert len(lines) <= height
        assert all(line.cell_len <= width for line in lines)

    def test_all_there_is_at_80_by_24(self) -> None:
        lines = plain()
        assert len(lines) == 24
        assert lines[0].startswith("swellmq 0.1.0 compiled, up 3 h 25 min, at 127.0.0.1:18083")
        assert lines[2].startswith("      804 of 1,024 in use (78 %), 220 idle, 8 beyond the pool; grows at 819")
        assert lines[3].startswith("in         12,345 messages/s     1.2 MB/s  12 connects/s")
        assert lines[5] == "turn  half 120 us, 99 % 2.3 ms, longest lately 4.1 ms   memory 19.4 MB of 7.0 GB"[:80]
        text = "\n".join(lines)
        assert "no alarm" in text and "SEND MOST" in text and "COST" in text
        assert lines[-2].startswith("client-") and lines[-1].startswith("q quit   s sort by queued   / search")

    def test_the_pools_bar(self) -> None:
        """In use, idle, where it grows, and what is beyond it."""
        bar = plain(108)[1].removeprefix("pool  [").removesuffix("]")
        assert len(bar) == 100
        assert (bar.count("█"), bar.count("▓"), bar.index("|")) == (78, 1, 79)

    @pytest.mark.parametrize(
        ("capacity", "mode", "trigger"),
        [(1_024, "dynamic", 819), (10, "dynamic", 8), (100_000, "dynamic", 0), (1_024, "fixed", 0), (0, "none", 0)],
    )
    def test_where_the_pool_grows(self, capacity: int, mode: str, trigger: int) -> None:
        assert trigger_of(capacity, {"mode": mode, "threshold_percent": 80, "max_size": 100_000}) == trigger

    def test_a_pool_that_is_none(self) -> None:
        shown = snapshot()
        shown["overview"]["connections"].update(capacity=0, idle=0, active=5, overflow=5)
        shown["pool"]["settings"]["mode"] = "none"
        lines = [line.plain for line in render(shown, 80, 24, "name", "")]
        assert "█" not in lines[1] and "▓" in lines[1] and "(no pool)" in lines[2]

    def test_alarms_first(self) -> None:
        raised = [{"name": "pool_full", "severity": "warning", "text": "the pool is at its cap"}]
        assert "ALARM pool_full: the pool is at its cap" in plain(alarms=raised)

    def test_sorted_and_searched(self) -> None:
        assert next(line for line in plain(sort="queued") if line.startswith("client-")).startswith("client-11 ")
        first = next(line for line in plain(sort="newest", search="cli") if line.startswith("client-"))
        assert first.startswith("client-0 ")
        assert any(line.startswith("CLIENTS with 'cli'") for line in plain(200, search="cli"))
        assert set(KEYS) == set(SORTS)

    def test_more_than_are_sorted(self) -> None:
        shown = snapshot()
        shown["clients"]["next"] = "client-9"
        assert any("by name (of the first 30)" in line.plain for line in render(shown, 120, 24, "name", ""))

    def test_nobody_there(self) -> None:
        shown = snapshot()
        shown["clients"]["items"] = []
        assert "no client like that" in [line.plain for line in render(shown, 80, 24, "name", "x")]

    def test_a_broker_that_tells_less(self) -> None:
        shown = snapshot()
        shown.update(history=None, talkers=None, receipts=None)
        del shown["overview"]["rates"], shown["overview"]["alarms"]
        lines = [line.plain for line in render(shown, 80, 24, "name", "")]
        assert sum(line.startswith("client-") for line in lines) == 18

    def test_names_cannot_do_harm(self) -> None:
        shown = snapshot()
        shown["clients"]["items"][0]["client_id"] = "\x1b[2Jevil"
        shown["talkers"]["publishers"][0]["client_id"] = "\x1b[2Jevil"
        shown["receipts"]["kinds"][0]["items"][0]["name"] = "\x1b[2Jevil"
        assert not any("\x1b" in line.plain for line in render(shown, 80, 50, "newest", ""))


class TestKeys:
    def press(self, keys: Keys, text: str) -> Keys:
        for key in text:
            keys.press(key)
        return keys

    def test_sort_goes_around(self) -> None:
        keys = Keys("name", "")
        seen = [self.press(keys, "s").sort for _ in SORTS]
        assert sorted(seen) == sorted(SORTS) and seen[-1] == "name"

    def test_search(self) -> None:
        keys = self.press(Keys("name", ""), "/abq\x7f")
        assert (keys.search, keys.typing, keys.ended) == ("", "ab", False)
        assert "search: ab" in keys.notice()
        assert self.press(keys, "\n").search == "ab" and keys.notice() == ""
        assert self.press(keys, "/zz\x1b").search == "ab"
        assert self.press(keys, "\x1b").search == ""

    @pytest.mark.parametrize("key", ["q", "Q", "\x03"])
    def test_end(self, key: str) -> None:
        assert self.press(Keys("name", ""), key).ended


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (123_456, "123 kB"), (5e12, "5.0 TB")]
)
def test_sizes(size: float, text: str) -> None:
    assert size_text(size) == text


def test_durations() -> None:
    assert [duration(value) for value in (5, 65, 3_700, 90_000)] == ["5 s", "1 min 5 s", "1 h 1 min", "1 d 1 h"]
    assert duration(90_000, short=True) == "1 d"


def test_sparks() -> None:
    assert sparks([0, 7, 15]) == "▁▄█" and sparks([0, 0]) == "▁▁"


class TestTheCommand:
    def test_once(self, broker: Start, clients: Clients, capsys: pytest.CaptureFixture[str]) -> None:
        one = broker(admin="127.0.0.1:0")
        clients(one, 4, "thermo")
        clients(one, 4, "other")
        place = f"127.0.0.1:{admin_port(one)}"
        assert main(["top", "--once", "--admin", place, "--search", "therm"]) == 0
        output = capsys.readouterr().out
        assert "thermo " in output and "other" not in output and "\x1b" not in output
        assert main(["top", "--json", "--admin", place]) == 0
        found = json.loads(capsys.readouterr().out)
        assert {item["client_id"] for item in found["clients"]["items"]} == {"thermo", "other"}
        assert found["overview"]["connections"]["connected"] == 2

    def test_no_broker(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["top", "--once", "--admin", "127.0.0.1:1"]) == 1
        assert "nobody listens on 127.0.0.1:1: start the broker with `--admin" in capsys.readouterr().err

    def test_in_a_terminal(self, broker: Start, clients: Clients, terminal: Callable[..., Terminal]) -> None:
        one = broker(admin="127.0.0.1:0")
        clients(one, 4, "thermo")
        clients(one, 4, "other")
        screen = terminal("top", "--admin", f"127.0.0.1:{admin_port(one)}", "--interval", "0.2")
        screen.expect("CLIENTS, by bytes")
        screen.expect("thermo")
        screen.press("s")
        screen.expect("CLIENTS, by queued")
        screen.press("/therm")
        screen.expect("search: therm")
        screen.press("\r")
        screen.expect("(now 'therm')")
        screen.press("q")
        assert screen.process.wait(PATIENCE_S) == 0
        screen.expect("\x1b[?1049l", raw=True)  # the screen from before is back


class Terminal:
    """A command in a terminal of 80 by 24."""

    def __init__(self, words: tuple[str, ...]) -> None:
        self.fd, theirs = pty.openpty()
        environment = dict(os.environ, TERM="xterm", COLUMNS="80", LINES="24", PYTHONIOENCODING="utf-8")
        command = [sys.executable, "-P", "-m", "swellmq", *words]
        self.process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
        os.close(theirs)
        self.output = ""

    def press(self, keys: str) -> None:
        os.write(self.fd, keys.encode())

    def expect(self, text: str, raw: bool = False) -> None:
        """Read until `text` is shown; what came before it is passed over."""
        give_up = time.monotonic() + PATIENCE_S
        while True:
            shown = self.output if raw else re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.output)
            if text in shown:
                self.output = "" if not raw else self.output
                return
            assert time.monotonic() < give_up, f"{text!r} is not shown: {shown[-2000:]!r}"
            if select.select([self.fd], [], [], 0.5)[0]:
                try:
                    self.output += os.read(self.fd, 65_536).decode(errors="replace")
                except OSError:  # the command has ended
                    give_up = 0.0

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.fd)


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    made: list[Terminal] = []

    def start(*words: str) -> Terminal:
        made.append(Terminal(words))
        return made[-1]

    yield start
    for one in made:
        one.close()
