"""Who sends and receives most; which of many events are looked at."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from socket_client import Clients

from swellmq.codec.encode import encode
from swellmq.codec.packets import Ping, Publish
from swellmq.codec.spec import PINGREQ
from swellmq.limits import SAMPLES_PER_S
from swellmq.observe.talkers import WINDOW_MS, density
from swellmq.server import Server
from swellmq.stats import Sampler

Servers = Callable[..., Server]


def looked_at(sampler: Sampler, events: int) -> list[int]:
    """For how many each of those events stands that are looked at."""
    found = []
    for _ in range(events):
        sampler.left -= 1
        if sampler.left <= 0:
            found.append(int(sampler.take()))
    return found


def test_few_events_are_all_looked_at() -> None:
    sampler = Sampler()
    assert looked_at(sampler, SAMPLES_PER_S - 1) == [1] * (SAMPLES_PER_S - 1)


def test_each_that_is_looked_at_stands_for_those_before_it() -> None:
    sampler = Sampler()
    found = looked_at(sampler, 100_000)
    assert sum(found) + sampler.drawn - sampler.left == 100_000
    assert len(found) < SAMPLES_PER_S * 12, "a burst makes them rarer at once"


def test_they_are_as_many_in_a_second_as_wanted() -> None:
    sampler = Sampler()
    for second in range(20):
        sampler.renew(second * 1_000)
        count = len(looked_at(sampler, 50_000))
    assert 0.7 * SAMPLES_PER_S < count <= 1.3 * SAMPLES_PER_S
    sampler.renew(20_000)
    sampler.renew(21_000)
    assert looked_at(sampler, 5) == [1] * 5, "few events: each counts again"


def test_clients_that_take_turns_are_met_alike() -> None:
    sampler = Sampler()
    sampler.gap = 10
    met = [0] * 10
    for number in range(200_000):
        sampler.left -= 1
        if sampler.left <= 0:
            met[number % 10] += sampler.take()
            sampler.taken = 0
    assert max(met) < 1.2 * min(met)


@pytest.mark.parametrize("size", [0, 10, 200, 70_000])
def test_how_many_messages_some_output_is(size: int) -> None:
    packet = encode(Publish(b"topic", bytes(size), 0, False), 4)
    pieces = [packet * 3, packet, encode(Ping(PINGREQ), 4)]
    assert density(pieces) == pytest.approx(4 / sum(map(len, pieces)))
    assert density([packet * 50]) == pytest.approx(1 / len(packet))


def test_output_without_messages() -> None:
    assert density([]) == density([encode(Ping(PINGREQ), 4)]) == 0


def test_who_talks_most(server: Servers, clients: Clients) -> None:
    one = server()
    one.watch.keep_history()
    listener = clients(one, client_id="listener")
    listener.subscribe("t/#")
    for count, name in ((5, "calm"), (50, "loud"), (20, "louder than calm")):
        publisher = clients(one, client_id=name)
        for _ in range(count):
            publisher.publish("t/" + name[:4], bytes(100))
        publisher.ping()
    for _ in range(75):
        listener.receive()
    talkers = one.watch.talkers
    assert talkers is not None
    one.loop.start_ns -= 3_000_000_000
    one.turn(0)
    top = talkers.top(2)
    assert [one["client_id"] for one in top["publishers"]] == ["loud", "louder than calm"]
    assert top["publishers"][0]["messages_per_s"] == pytest.approx(50 / top["window_s"], rel=0.05)
    assert [one["client_id"] for one in top["subscribers"]] == ["listener"]
    assert top["subscribers"][0]["messages_per_s"] == pytest.approx(75 / top["window_s"], rel=0.05)
    assert top["subscribers"][0]["bytes_per_s"] >= 75 * 100 / top["window_s"]
    one.loop.start_ns -= 3 * WINDOW_MS * 1_000_000
    one.turn(0)
    assert talkers.top(2)["publishers"] == [], "that was long ago"
