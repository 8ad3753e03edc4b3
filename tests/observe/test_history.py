"""History: rows by the second and by the minute, seconds in which nothing ran, events of the pool."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from socket_client import Clients

from swellmq.observe.history import COLUMNS, MINUTES_KEPT, SECOND_MS, SECONDS_KEPT, Page, Ring
from swellmq.server import Server

Servers = Callable[..., Server]


def pass_seconds(server: Server, count: int) -> None:
    """Let seconds pass in which no turn runs, and then one turn."""
    server.loop.start_ns -= count * SECOND_MS * 1_000_000
    server.turn(0)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Lets the wall clock go on as the loop's own, from some time on."""

    def follow(one: Server, began_ms: int = 1_700_000_000_000) -> None:
        monkeypatch.setattr("swellmq.observe.history.unix_ms", lambda: began_ms + int(one.turn_state.now_ms))

    return follow


def column(page: Page, name: str) -> list[int]:
    place = page["columns"].index(name)
    return [row[place] for row in page["rows"]]


def test_a_ring_keeps_the_last_rows() -> None:
    ring = Ring(3, 2)
    assert ring.last(5) == []
    for number in range(5):
        ring.append([number, -number])
        assert ring.last(2) == [[one, -one] for one in range(max(0, number - 1), number + 1)]
    assert ring.last(10) == [[2, -2], [3, -3], [4, -4]]


def test_each_second_has_a_row_also_when_no_turn_ran(
    server: Servers, clients: Clients, clock: Callable[..., None]
) -> None:
    one = server()
    clock(one)
    one.watch.keep_history()
    history = one.watch.history
    assert history is not None
    client = clients(one, client_id="c")
    client.subscribe("t")
    pass_seconds(one, 1)
    for _ in range(30):
        client.publish("t", bytes(10))
    for _ in range(30):
        client.receive()
    pass_seconds(one, 5)
    pass_seconds(one, 3)
    page = history.rows(9)
    assert page["interval_s"] == 1
    at = column(page, "at")
    assert at == list(range(at[0], at[0] + len(at)))
    assert len(at) == 9
    assert column(page, "active") == column(page, "connected") == [1] * 9
    assert sum(column(page, "connects")) == 1
    received = column(page, "publishes_received")
    assert received == column(page, "publishes_sent")
    assert received[:5] == [0] * 5
    assert received[5] == 30, "the turns came after the seconds that nobody used"
    assert received[6:] == [0] * 3
    assert all(column(page, "resident_bytes"))
    assert history.rates()["publishes_received"] == 0
    assert len(history.rows(2)["rows"]) == 2


def test_minutes_are_made_of_seconds(server: Servers, clients: Clients, clock: Callable[..., None]) -> None:
    one = server()
    clock(one)
    one.watch.keep_history()
    history = one.watch.history
    assert history is not None
    client = clients(one, client_id="c")
    pass_seconds(one, 60 - int(one.turn_state.now_ms) // SECOND_MS % 60)  # to the next whole minute
    for _ in range(60):
        for _ in range(2):
            client.publish("t", b"x")
        client.ping()
        pass_seconds(one, 1)
    page = history.rows(SECONDS_KEPT + 1)
    assert page["interval_s"] == 60
    assert column(page, "publishes_received")[-1] in (1, 2), "two in each second, and some seconds more by then"
    assert column(page, "active")[-1] == 1
    seconds, start = history.rows(SECONDS_KEPT), column(page, "at")[-1]
    longest = zip(column(seconds, "at"), column(seconds, "turn_longest_us"), strict=True)
    assert column(page, "turn_longest_us")[-1] == max(us for at, us in longest if start <= at < start + 60)
    pass_seconds(one, 3_600)
    assert len(history.rows(86_400)["rows"]) == len(page["rows"]) + 60
    assert len(history.rows(86_400)["rows"]) <= MINUTES_KEPT
    assert len(history.rows(SECONDS_KEPT)["rows"]) == SECONDS_KEPT


def test_a_clock_that_is_set(server: Servers, clock: Callable[..., None]) -> None:
    one = server()
    one.watch.keep_history()
    history = one.watch.history
    assert history is not None
    clock(one, 0)
    pass_seconds(one, 2)
    clock(one, 1_700_000_000_000)
    pass_seconds(one, 2)
    clock(one, 1_700_000_000_900)
    pass_seconds(one, 2)
    at = column(history.rows(6), "at")
    assert at[1] < 10
    assert at[2:] == list(range(at[2], at[2] + 4)), "it only drifts"
    assert at[2] > 1_699_999_999


def test_how_long_turns_take(server: Servers) -> None:
    one = server()
    one.watch.keep_history()
    history = one.watch.history
    assert history is not None
    pass_seconds(one, 1)
    for length_us in [40] * 98 + [90_000] * 3:
        one.stats.note_turn(length_us, one.turn_state.now_ms)
    pass_seconds(one, 1)
    turn = history.turn()
    assert turn["p50_us"] <= 50
    assert 20_000 < turn["p99_us"] <= turn["recent_us"] == turn["longest_us"] == 90_000
    assert history.rows(1)["rows"][0][COLUMNS.index("turn_longest_us")] == 90_000
    pass_seconds(one, 1)
    assert history.rows(1)["rows"][0][COLUMNS.index("turn_longest_us")] < 90_000


def test_no_quantile_of_turns_is_longer_than_the_longest(server: Servers) -> None:
    one = server()
    one.watch.keep_history()
    history = one.watch.history
    assert history is not None
    pass_seconds(one, 1)
    for _ in range(1_000):  # all of a bucket that goes up to 5,000,000
        one.stats.note_turn(3_000_000, one.turn_state.now_ms)
    pass_seconds(one, 1)
    [row] = history.rows(1)["rows"]
    told, numbers = history.turn(), one.stats.statistics()
    assert row[COLUMNS.index("turn_p99_us")] == row[COLUMNS.index("turn_longest_us")] == 3_000_000
    assert told["p50_us"] == told["p99_us"] == told["recent_us"] == 3_000_000
    assert numbers["turn_p50_us"] == numbers["turn_p99_us"] == numbers["turn_longest_us"] == 3_000_000


def test_steps_of_the_pool_are_events(server: Servers, clients: Clients) -> None:
    one = server(pool_initial_size=4, pool_max_size=7, max_connections=10)
    one.watch.keep_history()
    history = one.watch.history
    assert history is not None
    some = [clients(one, client_id=f"c{number}") for number in range(8)]
    pass_seconds(one, 1)
    found = [(event["kind"], event.get("from"), event.get("to")) for event in history.events()]
    assert found == [("grew", 4, 6), ("grew", 6, 7), ("cap", 7, 7), ("overflow", 0, 1)]
    assert [(step.before, step.after) for step in one.pool.last_steps(2)] == [(4, 6), (6, 7)]
    for client in some:
        client.disconnect()
    pass_seconds(one, 1)
    last = history.events()[-1]
    assert last["kind"] == "overflow"
    assert last["text"] == "no object made on demand any more"
    assert last in history.rows(60)["events"]


def test_a_broker_that_rests_is_woken_once_a_minute(server: Servers) -> None:
    one = server()
    assert one.deadline_ms() == -1
    one.watch.keep_history()
    pass_seconds(one, 1)
    assert 58 * SECOND_MS < one.deadline_ms() <= 60 * SECOND_MS
