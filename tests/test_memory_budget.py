"""The memory budget: full, room again, and full again, with figures moved by hand."""

from __future__ import annotations

from swellmq.guard import MemoryGuard
from swellmq.limits import SOCKET_BYTES

BUDGET = 100_000_000


def test_full_and_room_again_when_less_is_used() -> None:
    guard = MemoryGuard(BUDGET)
    assert not guard.look(BUDGET, 0)
    assert guard.look(BUDGET + 1, 0)
    assert guard.look(BUDGET * 91 // 100, 0), "not at once: clients would come and be refused in turns"
    assert not guard.look(BUDGET * 90 // 100, 0)
    assert not guard.look(BUDGET, 0)
    assert guard.statistics() == {
        "memory_budget": BUDGET,
        "memory_used": BUDGET,
        "memory_full": 0,
        "memory_full_times": 1,
    }


def test_sockets_count() -> None:
    guard = MemoryGuard(BUDGET)
    assert not guard.look(0, BUDGET // SOCKET_BYTES)
    assert guard.look(0, BUDGET // SOCKET_BYTES + 1)


def test_clients_that_go_leave_room_although_the_process_keeps_its_memory() -> None:
    guard = MemoryGuard(BUDGET)
    clients, resident = 1_000, BUDGET
    assert guard.look(resident, clients)
    assert guard.look(resident, 900)
    assert not guard.look(resident, 899)
    for active in (950, 999):
        assert not guard.look(resident, active), "they use what the others left behind"
    assert guard.look(resident, clients), "but no more than there were"
    assert not guard.look(resident, 899)
    assert guard.look(resident + clients * SOCKET_BYTES + 1, 900), "nor more memory than was used then"
    assert guard.times == 3


def test_a_budget_that_the_process_alone_uses_up_stays_used_up() -> None:
    guard = MemoryGuard(BUDGET)
    assert [guard.look(BUDGET + 1, 0) for _ in range(5)] == [True] * 5
    assert guard.times == 1


def test_a_peak_that_has_passed_is_forgotten() -> None:
    guard = MemoryGuard(BUDGET)
    assert guard.look(3 * BUDGET, 0)
    assert not guard.look(BUDGET // 2, 0)
    assert guard.look(BUDGET + 1, 0)
