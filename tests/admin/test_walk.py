"""Long lists: a page is what it should be while the list changes, and no turn is long however long the list is."""

from __future__ import annotations

import gc
import json
import random
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from socket_client import PATIENCE_S

from swellmq.admin.walk import KEYS_PER_SLICE, all_keys, cut, smallest
from swellmq.broker.session import Session, Subscription
from swellmq.broker.sharded import SPLIT_AT, ShardedMap
from swellmq.codec.packets import Publish
from swellmq.limits import GUARD_ENTRIES
from swellmq.server import Server

Servers = Callable[..., Server]

SESSIONS = 100_000
# CPU of a turn: 1 ms is aimed at, the last step of a slice and a busy machine add to it; all at once would be above 50.
USUAL_CPU_MS = 4.0
MOST_CPU_MS = 15.0


def result_of(walk: Any) -> Any:
    """What a walk returns."""
    while True:
        try:
            next(walk)
        except StopIteration as end:
            return end.value


@pytest.mark.parametrize("count", [0, 1, KEYS_PER_SLICE, SPLIT_AT + 100])
@pytest.mark.parametrize("limit", [1, 10, 1_000])
def test_smallest_is_what_sorting_all_would_give(count: int, limit: int) -> None:
    keys = [b"%d" % number for number in range(count)]
    random.Random(3).shuffle(keys)
    entries: ShardedMap[bytes, int] = ShardedMap()
    for key in keys:
        entries.put(key, 1)
    expected = sorted(keys)
    for after in (None, b"", b"5", b"zzz"):
        rest = [key for key in expected if after is None or key > after]
        assert result_of(smallest(all_keys(entries), after, limit)) == (rest[:limit], len(rest) > limit)
        odd = [key for key in rest if key.endswith(b"1")]
        found = result_of(smallest(all_keys(entries), after, limit, lambda key: key.endswith(b"1")))
        assert found == (odd[:limit], len(odd) > limit)
    assert result_of(smallest(cut(keys + keys), None, limit)) == (expected[:limit], count > limit)


def test_who_is_there_all_the_time_is_found_while_others_come_and_go() -> None:
    entries: ShardedMap[bytes, int] = ShardedMap()
    stay = [b"stay-%05d" % number for number in range(SPLIT_AT // 2)]
    for key in stay:
        entries.put(key, 1)
    chance = random.Random(5)
    found: list[bytes] = []
    after: bytes | None = None
    more = True
    while more:
        walk = smallest(all_keys(entries), after, 1_000, lambda key: key.startswith(b"stay"))
        for _ in walk_and_return(walk, found):
            for _ in range(50):  # the map splits and joins meanwhile
                entries.put(b"go-%d" % chance.randrange(20_000), 1)
                entries.remove(b"go-%d" % chance.randrange(20_000))
        more = bool(found) and found[-1] != stay[-1]
        after = found[-1]
    assert found == stay


def walk_and_return(walk: Any, found: list[bytes]) -> Iterator[None]:
    keys, _more = yield from walk
    found += keys


@pytest.fixture
def crowded(server: Servers) -> Iterator[Server]:
    """A broker with many sessions, each with a subscription and a retained message, and as many bans as it keeps."""
    one = server(admin="127.0.0.1:0", limits_retained_messages=SESSIONS, access_anonymous="yes")
    core = one.broker.core
    assert one.door is not None
    for number in range(GUARD_ENTRIES):
        one.door.guard.ban(f"client {number}", one.loop.start_ns // 1_000_000, 10**9)
    for number in range(SESSIONS):
        name = f"device/{number:06}"
        session = Session(name)
        session.expiry_interval = 0xFFFFFFFF
        core.sessions.put(name.encode(), session)
        subscription = Subscription(session, name.encode() + b"/#")
        session.add_subscription(subscription)
        core.topics.add(subscription)
        core.retained.set(Publish(name.encode(), b"x", 0, True))
    gc.collect()
    gc.freeze()  # its pauses are not ours
    yield one
    gc.unfreeze()


PATHS = (
    "/api/v1/sessions?limit=1000",
    "/api/v1/sessions?limit=1000&after=device/050000",
    "/api/v1/sessions?search=nobody",
    "/api/v1/clients?search=9999",
    "/api/v1/subscriptions?limit=1000",
    "/api/v1/retained?limit=1000&prefix=device/",
    "/api/v1/bans?limit=1000",
    "/api/v1/topics?limit=1000&filter=device/%2B",
    "/api/v1/topics/tree?limit=1000&prefix=device",
    "/api/v1/receipts",
    "/api/v1/pool",
    "/metrics",
)


@pytest.mark.slow
def test_no_turn_is_long_however_long_the_list(crowded: Server) -> None:
    for path in PATHS:
        turns, answer = ask_in_turns(crowded, path)
        if "limit=1000" in path:
            told = json.loads(answer)
            assert len(told["items"]) == 1_000
            assert told["next"] is not None
        turns.sort()
        assert turns[len(turns) * 9 // 10] < USUAL_CPU_MS, path
        assert turns[-1] < MOST_CPU_MS, (path, turns[-10:])


def ask_in_turns(server: Server, path: str) -> tuple[list[float], bytes]:
    """Ask for something while the test turns the broker: the milliseconds of CPU of each turn, and the answer."""
    assert server.admin is not None
    sock = socket.create_connection(("127.0.0.1", server.admin.port), timeout=PATIENCE_S)
    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    sock.setblocking(False)
    turns: list[float] = []
    data = b""
    give_up = time.monotonic() + 6 * PATIENCE_S
    while time.monotonic() < give_up:
        begin = time.thread_time_ns()
        server.turn(1)
        turns.append((time.thread_time_ns() - begin) / 1e6)
        try:
            more = sock.recv(1 << 20)
        except BlockingIOError:
            continue
        if not more:
            break
        data += more
    sock.close()
    head, _, body = data.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    return turns, body
