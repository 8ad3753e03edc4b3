"""Overload: what runs out, what is done about it, and when all is well again, with figures and time moved by hand."""

from __future__ import annotations

import pytest

from swellmq.limits import (
    DESCRIPTORS_AGAIN,
    DESCRIPTORS_LEFT,
    MEMORY_SHED_PERCENT,
    OVERLOAD_CALM_MS,
    SOCKET_BYTES,
    TURNS_CALM_PERCENT,
    TURNS_HEAVY_PERCENT,
    TURNS_LOOK_MS,
    TURNS_SHED_MS,
)
from swellmq.overload import NO_DESCRIPTORS, NO_MEMORY, NO_TIME, Descriptors, Memory, Overload, Turns
from swellmq.server import describe_overload

BUDGET = 100_000_000


def full(memory: Memory, resident: int, active: int, now_ms: int = 0) -> bool:
    """A look; whether new clients are refused from now on."""
    memory.look(resident, active, now_ms)
    return memory.full


# Memory


def test_full_and_room_again_when_less_is_used() -> None:
    memory = Memory(BUDGET)
    assert not full(memory, BUDGET, 0)
    assert full(memory, BUDGET + 1, 0)
    assert full(memory, BUDGET * 91 // 100, 0), "not at once: clients would come and be refused in turns"
    assert not full(memory, BUDGET * 90 // 100, 0)
    assert not full(memory, BUDGET, 0)
    assert (memory.used_bytes, memory.times) == (BUDGET, 1)


def test_sockets_count() -> None:
    memory = Memory(BUDGET)
    assert not full(memory, 0, BUDGET // SOCKET_BYTES)
    assert full(memory, 0, BUDGET // SOCKET_BYTES + 1)


def test_clients_that_go_leave_room_although_the_process_keeps_its_memory() -> None:
    memory = Memory(BUDGET)
    clients, resident = 1_000, BUDGET
    assert full(memory, resident, clients)
    assert full(memory, resident, 900)
    assert not full(memory, resident, 899)
    for active in (950, 999):
        assert not full(memory, resident, active), "they use what the others left behind"
    assert full(memory, resident, clients), "but no more than there were"
    assert not full(memory, resident, 899)
    assert full(memory, resident + clients * SOCKET_BYTES + 1, 900), "nor more memory than was used then"
    assert memory.times == 3


def test_a_budget_that_the_process_alone_uses_up_stays_used_up() -> None:
    memory = Memory(BUDGET)
    assert [full(memory, BUDGET + 1, 0) for _ in range(5)] == [True] * 5
    assert memory.times == 1


def test_a_peak_that_has_passed_is_forgotten() -> None:
    memory = Memory(BUDGET)
    assert full(memory, 3 * BUDGET, 0)
    assert not full(memory, BUDGET // 2, 0)
    assert full(memory, BUDGET + 1, 0)


def shedding(memory: Memory, used: int, now_ms: int) -> bool:
    memory.look(used, 0, now_ms)
    return memory.shedding


def test_qos_0_is_shed_where_refusing_is_not_enough() -> None:
    memory = Memory(BUDGET)
    edge = BUDGET * MEMORY_SHED_PERCENT // 100
    assert not shedding(memory, edge, 0)
    assert memory.full
    assert shedding(memory, edge + 1, 1)
    assert shedding(memory, BUDGET + 1, 2), "not back at once"
    assert not shedding(memory, BUDGET, 3)
    assert shedding(memory, edge + 1, 4)


def test_shedding_ends_once_memory_that_is_never_given_back_has_stopped_growing() -> None:
    memory = Memory(BUDGET)
    used = 2 * BUDGET
    assert shedding(memory, used, 0)
    assert shedding(memory, used + 5, 1_000)
    assert shedding(memory, used + 5, 999 + OVERLOAD_CALM_MS)
    assert not shedding(memory, used + 5, 1_000 + OVERLOAD_CALM_MS)
    assert not shedding(memory, used + 5, 2_000 + OVERLOAD_CALM_MS)
    assert shedding(memory, used + 6, 3_000 + OVERLOAD_CALM_MS), "it grows again"


# Descriptors


def test_descriptors_become_short_and_are_there_again() -> None:
    descriptors = Descriptors()
    descriptors.limit = 1_000
    assert descriptors.bound() == 1_000 - DESCRIPTORS_LEFT
    descriptors.run_short()
    descriptors.run_short()
    descriptors.look(1_000 - DESCRIPTORS_AGAIN + 1)
    assert (descriptors.short, descriptors.times) == (True, 1)
    descriptors.look(1_000 - DESCRIPTORS_AGAIN)
    assert not descriptors.short


@pytest.mark.parametrize("limit", [1, 20, 64, 100])
def test_a_small_limit_still_leaves_clients_a_share(limit: int) -> None:
    descriptors = Descriptors()
    descriptors.limit = limit
    assert descriptors.bound() >= limit * 3 // 4
    descriptors.run_short()
    descriptors.look(limit // 2)
    assert not descriptors.short


# Turns


class Seconds:
    """Turns looked at once a second, each with so many percent of it in long ones."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.now_ms = 0
        self.heavy_us = 0

    def pass_by(self, percent: int, ms: int = TURNS_LOOK_MS) -> tuple[bool, bool]:
        """Whether turns are too long, and whether QoS 0 is shed, after so much time."""
        for _ in range(0, ms, TURNS_LOOK_MS):
            self.now_ms += TURNS_LOOK_MS
            self.heavy_us += percent * TURNS_LOOK_MS * 10
            self.turns.look(self.heavy_us, self.now_ms)
        return self.turns.heavy, self.turns.shedding


def test_long_turns_refuse_then_shed_and_recover_in_steps() -> None:
    seconds = Seconds()
    assert seconds.pass_by(TURNS_HEAVY_PERCENT - 1, 10_000) == (False, False)
    assert seconds.pass_by(TURNS_HEAVY_PERCENT) == (False, False), "one burst"
    assert seconds.pass_by(TURNS_HEAVY_PERCENT) == (True, False)
    assert seconds.pass_by(TURNS_HEAVY_PERCENT, TURNS_SHED_MS - TURNS_LOOK_MS) == (True, False)
    assert seconds.pass_by(TURNS_HEAVY_PERCENT) == (True, True)
    assert seconds.pass_by(TURNS_CALM_PERCENT, 20_000) == (True, True), "better, but not well"
    assert seconds.pass_by(0, OVERLOAD_CALM_MS) == (True, True)
    assert seconds.pass_by(0) == (True, False)
    assert seconds.pass_by(0, OVERLOAD_CALM_MS) == (False, False)
    assert seconds.turns.times == 1


def test_a_look_between_two_seconds_does_nothing() -> None:
    turns = Turns()
    turns.look(400_000, 400)
    assert (turns.heavy, turns.seen_us) == (False, 0)
    turns.look(500_000, 1_000)
    turns.look(900_000, 1_900)
    assert not turns.heavy
    turns.look(1_000_000, 2_000)
    assert turns.heavy


def test_bursts_are_no_overload() -> None:
    seconds = Seconds()
    for _ in range(5):
        assert seconds.pass_by(100) == (False, False)
        assert seconds.pass_by(0) == (False, False)


def test_recovery_that_is_interrupted_begins_anew() -> None:
    seconds = Seconds()
    seconds.pass_by(100, 2 * TURNS_LOOK_MS)
    seconds.pass_by(0, OVERLOAD_CALM_MS)
    assert seconds.pass_by(TURNS_CALM_PERCENT) == (True, False)
    assert seconds.pass_by(0, OVERLOAD_CALM_MS) == (True, False)
    assert seconds.pass_by(0) == (False, False)


# All together


def test_the_verdict_names_what_ran_out() -> None:
    overload = Overload(BUDGET)
    assert (overload.refusing(), overload.shedding()) == ("", False)
    overload.turns.heavy = overload.turns.shedding = True
    assert (overload.refusing(), overload.shedding()) == (NO_TIME, True)
    overload.descriptors.run_short()
    assert overload.refusing() == NO_DESCRIPTORS
    overload.memory.full = True
    assert overload.refusing() == NO_MEMORY
    assert overload.statistics() == {
        "memory_budget": BUDGET,
        "memory_used": 0,
        "memory_full": 1,
        "memory_full_times": 0,
        "descriptors_short": 1,
        "descriptors_short_times": 1,
        "turns_heavy": 1,
        "turns_heavy_times": 0,
        "refusing": 1,
        "shedding": 1,
    }


def test_words_of_the_log() -> None:
    assert describe_overload(NO_TIME, False) == "the server is overloaded, so new clients are refused"
    assert describe_overload(NO_MEMORY, True).endswith("so new clients are refused, and QoS 0 that waits is shed")
    assert describe_overload("", True) == "new clients may come again, and QoS 0 that waits is shed"
    assert describe_overload("", False) == "new clients may come again"
