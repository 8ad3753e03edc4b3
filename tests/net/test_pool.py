"""The pool against its contract: sequences, triggers, slices, log lines, failure, shrinking, reset, invariants."""

from __future__ import annotations

import itertools
import logging
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from swellmq import Settings
from swellmq.broker.access import AUTHENTICATE, Request
from swellmq.broker.session import Session
from swellmq.connection import GATE_HELD, PROBLEMS_WANTED, READABLE, Aliases, Buffers, Connection, Handler, Turn
from swellmq.limits import (
    CONNECTION_BYTES,
    EXPANSION_RETRY_MAX_MS,
    EXPANSION_RETRY_MS,
    REFUSING_SLOTS,
    RENEW_AFTER_MS,
    RENEW_FROM,
    RENEW_SHARE,
)
from swellmq.net.pool import STEPS_KEPT, Pool, PoolSettings, growth_sequence, is_reset, next_capacity

SEQUENCES = {
    "default": "1024 1536 2304 3456 5184 7776 11664 17496 26244 39366 59049 88573 100000",
    "small": "256 384 576 864 1296 1944 2916 4374 6561 9841 10000",
    "medium": "2048 3072 4608 6912 10368 15552 23328 34992 52488 78732 100000",
    "large": "10000 15000 22500 33750 50625 75937 100000",
}


def pool_of(**values: Any) -> Pool:
    settings = PoolSettings()
    for name, value in values.items():
        setattr(settings, name, value)
    pool = Pool(settings, Turn())
    pool.preheat()
    return pool


def arrive(pool: Pool, count: int, now_ms: int = 1) -> list[Connection]:
    """So many connections that are accepted within one turn."""
    taken = [pool.acquire(now_ms) for _ in range(count)]
    assert None not in taken
    for fd, connection in enumerate(taken):
        assert connection is not None
        connection.fd = 10 + fd
        connection.handler = Handler()
    return [connection for connection in taken if connection is not None]


def work(pool: Pool, now_ms: int = 1) -> int:
    """Slices until the pool has nothing to do at once; how many."""
    slices = 0
    while pool.working(now_ms):
        slices += 1
        if not pool.grow(now_ms):
            break
    return slices


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "swellmq.pool"]


# Growth


@pytest.mark.parametrize("preset", SEQUENCES)
def test_growth_sequence(preset: str) -> None:
    settings = Settings(preset=preset)
    sizes = [int(size) for size in SEQUENCES[preset].split()]
    assert growth_sequence(settings.pool_initial_size, settings.pool_max_size) == sizes


@pytest.mark.parametrize("preset", SEQUENCES)
def test_arrivals_one_by_one_walk_the_sequence(preset: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "swellmq.pool")
    settings = Settings(preset=preset)
    pool = pool_of(
        initial_size=settings.pool_initial_size,
        max_size=settings.pool_max_size,
        max_connections=settings.max_connections,
    )
    sizes = [int(size) for size in SEQUENCES[preset].split()]
    assert pool.capacity == sizes[0]
    for _ in range(sizes[-2]):
        pool.acquire(1)
        work(pool)
    assert pool.capacity == sizes[-1]
    assert pool.overflow == 0
    steps = list(itertools.pairwise(sizes))
    assert lines(caplog) == [
        f"[POOL] Expand: {small}->{large} (trigger at {small * 80 // 100}/{small} connections)"
        for small, large in steps
    ]
    assert pool.steps == len(steps)


@pytest.mark.parametrize(
    ("initial_size", "expected"),
    [
        (
            1024,
            [
                "[POOL] Expand: 1024->1536 (trigger at 819/1024 connections)",
                "[POOL] Expand: 1536->2304 (trigger at 1228/1536 connections)",
                "[POOL] Expand: 2304->3456 (trigger at 1843/2304 connections)",
            ],
        ),
        (
            256,
            [
                "[POOL] Expand: 256->384 (trigger at 204/256 connections)",
                "[POOL] Expand: 384->576 (trigger at 307/384 connections)",
            ],
        ),
    ],
)
def test_first_triggers(initial_size: int, expected: list[str], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "swellmq.pool")
    pool = pool_of(initial_size=initial_size, max_size=10_000, max_connections=10_000)
    for line in expected:
        at = int(line.split(" at ")[1].split("/")[0])
        while pool.active < at:
            assert not pool.working(1)
            pool.acquire(1)
        pool.acquire(1)  # finds `at` others here
        assert pool.working(1)
        work(pool)
        assert lines(caplog)[-1] == line
    assert lines(caplog) == expected


@pytest.mark.parametrize(
    ("capacity", "max_size", "numerator", "denominator", "expected"),
    [
        (1, 100, 3, 2, 2),  # by one at least
        (2, 100, 3, 2, 3),
        (88_573, 100_000, 3, 2, 100_000),
        (100_000, 100_000, 3, 2, 100_000),
        (10, 100, 2, 1, 20),
        (10, 100, 11, 10, 11),
        (9, 100, 11, 10, 10),
        (3_333_333_333_333_333, 10**17, 3, 2, 4_999_999_999_999_999),  # a float would say 5e15
    ],
)
def test_next_capacity(capacity: int, max_size: int, numerator: int, denominator: int, expected: int) -> None:
    assert next_capacity(capacity, max_size, numerator, denominator) == expected


def test_threshold_is_a_setting() -> None:
    pool = pool_of(
        initial_size=10, max_size=1000, max_connections=1000, threshold_percent=55, numerator=2, denominator=1
    )
    arrive(pool, 5)
    assert not pool.working(1)
    arrive(pool, 1)  # 5 >= 10 * 55 // 100
    work(pool)
    assert pool.capacity == 20


def test_slices_take_arrivals_meanwhile(caplog: pytest.LogCaptureFixture) -> None:
    """A long step goes on over many slices; nothing triggers meanwhile, and its end looks again."""
    caplog.set_level(logging.INFO, "swellmq.pool")
    pool = pool_of(initial_size=100_000, max_size=1_000_000, max_connections=1_000_000)
    for _ in range(80_001):
        pool.acquire(1)
    assert pool.target == 150_000
    assert pool.grow(1), "150,000 objects are more than one slice"
    assert 100_000 < pool.capacity < 150_000
    between = pool.capacity
    idle = len(pool.free)
    for _ in range(idle):
        pool.acquire(1)
    assert (len(pool.free), pool.overflow) == (0, 0), "idle objects are taken first"
    for _ in range(50_000):
        pool.acquire(1)
    assert pool.overflow == 50_000, "and then objects are made on demand"
    assert (pool.target, pool.capacity, lines(caplog)) == (150_000, between, [])
    while pool.target == 150_000:
        assert pool.grow(1)
    assert lines(caplog) == ["[POOL] Expand: 100000->150000 (trigger at 80000/100000 connections)"]
    assert pool.target == 225_000, "the condition was checked again at the end"
    assert pool.step_active == pool.active
    assert pool.slice.ever_us > 0
    work(pool)
    assert pool.self_check([]) == [f"active {pool.active} but 0 connections have a descriptor"]


def test_overflow_is_dropped_and_never_pooled() -> None:
    pool = pool_of(initial_size=2, max_size=2, max_connections=4)
    taken = arrive(pool, 4)
    assert [connection.pooled for connection in taken] == [True, True, False, False]
    assert pool.acquire(1) is None
    for connection in taken:
        pool.release(connection)
    assert (pool.active, pool.overflow, len(pool.free), pool.capacity) == (0, 0, 2, 2)
    assert all(connection.pooled for connection in pool.free)


@pytest.mark.parametrize(("mode", "capacity"), [("dynamic", 10), ("fixed", 50), ("none", 0)])
def test_modes(mode: str, capacity: int) -> None:
    pool = pool_of(initial_size=10, max_size=50, max_connections=100, mode=mode)
    assert (pool.capacity, len(pool.free), len(pool.reserve)) == (capacity, capacity, REFUSING_SLOTS)
    taken = arrive(pool, 100)
    assert pool.working(1) == (mode == "dynamic")
    assert pool.overflow == 100 - capacity
    assert pool.self_check(taken) == []


def test_modes_name_themselves_in_statistics() -> None:
    pool = pool_of(initial_size=10, max_size=50, max_connections=100)
    arrive(pool, 3)
    assert pool.statistics() == {
        "capacity": 10,
        "active": 3,
        "idle": 7,
        "overflow": 0,
        "overflow_total": 0,
        "max_size": 50,
        "max_connections": 100,
        "steps": 0,
        "steps_failed": 0,
        "renewals": 0,
        "step_longest_us": 0,
        "slice_longest_us": 0,
        "slice_recent_us": 0,
    }


# Failure


def test_failed_step_backs_off_and_succeeds_later(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "swellmq.pool")
    pool = pool_of(initial_size=100, max_size=1000, max_connections=1000, memory_max_bytes=149 * CONNECTION_BYTES)
    taken = arrive(pool, 81)
    now_ms, delay_ms, failures = 1, EXPANSION_RETRY_MS, 0
    failure = f"[POOL] Expansion failed: 150 objects need more than the budget of {149 * CONNECTION_BYTES} bytes"
    for _ in range(9):
        assert pool.working(now_ms)
        assert not pool.grow(now_ms)
        failures += 1
        assert pool.retry_due_ms() == now_ms + delay_ms
        assert not pool.working(now_ms + delay_ms - 1)
        assert not pool.grow(now_ms + delay_ms - 1)
        now_ms += delay_ms
        delay_ms = min(delay_ms * 2, EXPANSION_RETRY_MAX_MS)
    assert delay_ms == EXPANSION_RETRY_MAX_MS
    assert lines(caplog) == [failure] * failures
    assert pool.statistics()["steps_failed"] == failures
    taken += arrive(pool, 100, now_ms)  # the broker goes on with what it has
    assert pool.overflow == 81
    assert pool.self_check(taken) == []
    pool.settings.memory_max_bytes = 150 * CONNECTION_BYTES
    assert pool.grow(now_ms)
    assert lines(caplog)[failures] == "[POOL] Expand: 100->150 (trigger at 80/100 connections)"
    # The next step, to 225, fails again, and with the first delay.
    assert pool.target == 225
    assert not pool.grow(now_ms)
    assert pool.retry_due_ms() == now_ms + EXPANSION_RETRY_MS


OUT_OF_MEMORY = """
import logging, resource, sys
from swellmq.connection import Turn
from swellmq.net.pool import Pool, PoolSettings
logging.basicConfig(stream=sys.stdout, format="%(message)s", level=logging.INFO)
settings = PoolSettings()
settings.initial_size, settings.max_size, settings.max_connections = 100_000, 10_000_000, 10_000_000
settings.numerator, settings.denominator = 50, 1
pool = Pool(settings, Turn())
pool.preheat()
for _ in range(80_001):
    pool.acquire(1)
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * 4096 + (64 << 20), resource.RLIM_INFINITY))
while pool.grow(1):
    pass
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert 100_000 < pool.capacity < pool.target == 5_000_000, pool.capacity
faults = pool.self_check([])
assert len(faults) == 1 and "descriptor" in faults[0], faults
assert not pool.working(1)
settings.memory_max_bytes = 1  # the retry is to be seen, not to take a gigabyte
assert not pool.grow(pool.retry_due_ms())
print(pool.steps_failed)
"""


def test_out_of_memory_is_survived() -> None:
    done = subprocess.run([sys.executable, "-c", OUT_OF_MEMORY], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "[POOL] Expansion failed: out of memory",
        "[POOL] Expansion failed: 5000000 objects need more than the budget of 1 bytes",
        "2",
    ]


# Shrinking


def calm(pool: Pool, now_ms: int, upto_ms: int) -> None:
    """What the loop does about once a second."""
    while now_ms <= upto_ms:
        pool.consider_shrinking(now_ms)
        work(pool, now_ms)
        now_ms += 1000


def test_shrinks_step_by_step_down_to_the_initial_size(caplog: pytest.LogCaptureFixture) -> None:
    pool = pool_of(initial_size=256, max_size=10_000, max_connections=10_000, shrink=True, shrink_after_ms=60_000)
    taken: list[Connection] = []
    while pool.capacity < 1296:
        taken += arrive(pool, 1)
        work(pool)
    for connection in taken[100:]:
        pool.release(connection)
    caplog.set_level(logging.INFO, "swellmq.pool")
    calm(pool, 1000, 60_000)
    assert pool.capacity == 1296
    calm(pool, 61_000, 121_000)
    assert lines(caplog) == [
        "[POOL] Shrink: 1296->864 (calm at 100/1296 connections)",
        "[POOL] Shrink: 864->576 (calm at 100/864 connections)",
    ]
    assert pool.self_check(taken[:100]) == []
    calm(pool, 122_000, 1_000_000)
    assert pool.capacity == 256, "never under the initial size"


def test_a_burst_resets_the_calm() -> None:
    pool = pool_of(initial_size=10, max_size=1000, max_connections=1000, shrink=True, shrink_after_ms=60_000)
    taken = arrive(pool, 9)
    work(pool)
    assert pool.capacity == 15
    for connection in taken[5:]:
        pool.release(connection)
    calm(pool, 1000, 50_000)
    taken = taken[:5] + arrive(pool, 1, 50_000)  # 6 of 15: 40 %
    calm(pool, 51_000, 51_000)
    pool.release(taken.pop())
    calm(pool, 52_000, 111_000)
    assert pool.capacity == 15
    calm(pool, 112_000, 112_000)
    assert pool.capacity == 10


@pytest.mark.parametrize("preset", SEQUENCES)
def test_shrinking_never_triggers_growth(preset: str) -> None:
    """Under 40 % of the larger is under 80 % of the smaller, for every pair of the sequence."""
    sizes = [int(size) for size in SEQUENCES[preset].split()]
    for small, large in itertools.pairwise(sizes):
        highest_active = (large * 40 - 1) // 100
        assert highest_active < small * 80 // 100


def test_shrinking_is_off_by_default_and_keeps_objects_in_use() -> None:
    pool = pool_of(initial_size=10, max_size=1000, max_connections=1000)
    taken = arrive(pool, 9)
    work(pool)
    for connection in taken:
        pool.release(connection)
    calm(pool, 1000, 10_000_000)
    assert pool.capacity == 15


def test_the_last_steps_are_kept_the_latest_at_the_end() -> None:
    pool = pool_of(initial_size=2, max_size=1_000, max_connections=1_000, numerator=21, denominator=20)
    objects = {id(step) for step in pool.history}
    arrive(pool, 1, 1_000)
    assert pool.last_steps(3) == [], "it is not done yet"
    while pool.capacity < 1_000:
        arrive(pool, 1, 1_000)
        work(pool, 1_000)
    assert pool.steps > STEPS_KEPT
    steps = pool.last_steps(3)
    assert [step.after for step in steps[:-1]] == [step.before for step in steps[1:]]
    assert steps[-1].after == 1_000
    assert {id(step) for step in pool.history} == objects, "no new one lies between the objects of clients"


def test_a_sawtooth_does_not_make_the_pool_flap() -> None:
    """The load swings between its peak and next to nothing: fast swings never shrink, slow ones only go down once."""
    pool = pool_of(initial_size=256, max_size=10_000, max_connections=10_000, shrink=True, shrink_after_ms=60_000)
    now_ms = 1_000
    capacities = []
    for period_s, swings in ((20, 20), (100, 4), (400, 2)):
        for _ in range(swings):
            taken = arrive(pool, 1_200, now_ms)
            work(pool, now_ms)
            calm(pool, now_ms, now_ms + period_s * 500)
            now_ms += period_s * 500 + 1_000
            for connection in taken:
                pool.release(connection)
            calm(pool, now_ms, now_ms + period_s * 500)
            now_ms += period_s * 500 + 1_000
            capacities.append((period_s, int(pool.capacity)))
            assert pool.self_check([]) == []
    assert {capacity for period_s, capacity in capacities if period_s < 120} == {1944}
    assert [capacity for period_s, capacity in capacities if period_s == 400] == [576, 576]
    assert pool.steps == 5 + 3, "up once, and again only after a calm of several minutes"


# Renewal


def crowd_comes_and_goes(pool: Pool, crowd: int, left: int) -> list[Connection]:
    taken: list[Connection] = []
    while len(taken) < crowd:
        taken += arrive(pool, 64)
        work(pool)
    for connection in taken[left:]:
        pool.release(connection)
    return taken[:left]


def renew(pool: Pool, from_ms: int) -> int:
    """What the loop does about once a second, until the pool has renewed itself; the moment."""
    renewals, now_ms = pool.renewals, from_ms
    while pool.renewals == renewals:
        assert now_ms <= from_ms + 10 * RENEW_AFTER_MS
        pool.consider_renewal(now_ms)
        work(pool, now_ms)
        now_ms += 1_000
    return now_ms - 1_000


def test_idle_objects_are_made_anew_once_a_crowd_has_gone(caplog: pytest.LogCaptureFixture) -> None:
    pool = pool_of(initial_size=1024)
    left = crowd_comes_and_goes(pool, RENEW_FROM, RENEW_FROM // RENEW_SHARE)
    caplog.set_level(logging.INFO, "swellmq.pool")
    capacity, steps = pool.capacity, pool.steps
    before = {id(connection) for connection in pool.free}
    kept = pool.free[:]  # so that no new object gets the place of an old one
    assert renew(pool, 5_000) == 5_000 + RENEW_AFTER_MS
    assert (pool.capacity, pool.steps, len(pool.free)) == (capacity, steps, capacity - len(left))
    assert before.isdisjoint(id(connection) for connection in pool.free)
    assert len(kept) == len(pool.free)
    assert pool.self_check(left) == []
    assert lines(caplog) == [], "the capacity has not changed"
    assert not pool.scattered()


def test_no_renewal_while_many_are_left_or_come_back() -> None:
    pool = pool_of(initial_size=1024)
    left = crowd_comes_and_goes(pool, RENEW_FROM, RENEW_FROM // RENEW_SHARE + 1)
    pool.consider_renewal(5_000)
    pool.consider_renewal(5_000 + RENEW_AFTER_MS)
    assert not pool.renewing
    pool.release(left.pop())
    pool.consider_renewal(20_000)
    left += arrive(pool, 1)
    pool.consider_renewal(21_000)
    pool.release(left.pop())
    pool.consider_renewal(22_000)
    pool.consider_renewal(21_000 + RENEW_AFTER_MS)
    assert not pool.renewing
    pool.consider_renewal(22_000 + RENEW_AFTER_MS)
    assert pool.renewing


def test_arrivals_during_a_renewal_are_served() -> None:
    pool = pool_of(initial_size=1024)
    left = crowd_comes_and_goes(pool, RENEW_FROM, 0)
    capacity = pool.capacity
    pool.consider_renewal(5_000)
    pool.consider_renewal(5_000 + RENEW_AFTER_MS)
    while pool.renewing:
        left += arrive(pool, 10, 20_000)
        pool.grow(20_000)
        assert pool.self_check(left) == []
    assert pool.free == []
    left += arrive(pool, 10, 20_000)
    assert pool.overflow == 10
    work(pool, 20_000)
    assert pool.capacity == capacity
    for connection in left:
        pool.release(connection)
    assert (pool.overflow, len(pool.free)) == (0, capacity)


def test_small_crowds_are_not_worth_a_renewal() -> None:
    pool = pool_of(initial_size=1024)
    crowd_comes_and_goes(pool, RENEW_FROM - 64, 0)
    assert not pool.scattered()


# Refusing slots


def test_refusing_reserve_never_grows() -> None:
    pool = pool_of(initial_size=1, max_size=1, max_connections=1)
    slots = [pool.acquire_refusing() for _ in range(REFUSING_SLOTS)]
    assert None not in slots
    assert pool.acquire_refusing() is None
    assert pool.active == 0, "a refused client is not served"
    for slot in slots:
        assert slot is not None
        pool.release_refusing(slot)
    assert len(pool.reserve) == REFUSING_SLOTS
    assert all(is_reset(slot) for slot in pool.reserve)


# Reset


def values_of(connection: Connection) -> dict[str, object]:
    names = getattr(Connection, "__mypyc_attrs__", None) or vars(connection)
    return {name: getattr(connection, name) for name in names}


def soil(connection: Connection) -> None:
    """Leave something of a client in every field."""
    connection.deadline_ms = 5
    connection.handler = Handler()
    connection.fd = 7
    connection.listener = 3
    connection.outbox_bytes = 9
    connection.outbox = [b"secret"]
    connection.inbox = b"secret"
    connection.buffers = Buffers()
    connection.close_reason = 2
    connection.gate = GATE_HELD
    connection.deaf = True
    connection.interest = READABLE
    connection.last_ms = 77
    connection.owner = Session("a")
    connection.question = Request(AUTHENTICATE, 1, connection, "a", None)
    connection.aliases = Aliases()
    connection.protocol_version = 5
    connection.bridge = True
    connection.problem_information = PROBLEMS_WANTED
    connection.will_wanted = False
    connection.durability = 2
    connection.keep_alive_s = 60
    connection.receive_maximum = 10
    connection.topic_alias_maximum = 10
    connection.packet_bytes_max = 100


def test_release_leaves_nothing_of_the_last_client() -> None:
    pool = pool_of(initial_size=1, max_size=1, max_connections=1)
    fresh = values_of(Connection(pool.turn)) | {"pooled": True}
    connection = pool.acquire(1)
    assert connection is not None
    soil(connection)
    soiled = values_of(connection)
    same = {name for name in soiled if soiled[name] == fresh[name]}
    assert same == {"turn", "pooled"}
    pool.release(connection)
    assert values_of(connection) == fresh
    assert pool.free == [connection]


@pytest.mark.parametrize("name", sorted(set(values_of(Connection(Turn()))) - {"turn", "pooled"}))
def test_is_reset_sees_every_field(name: str) -> None:
    clean = Connection(Turn())
    assert is_reset(clean)
    dirty = Connection(Turn())
    soil(dirty)
    setattr(clean, name, getattr(dirty, name))
    assert not is_reset(clean)


# The self-check finds what is planted


def test_self_check_finds_an_object_that_is_twice_in_the_pool() -> None:
    pool = pool_of(initial_size=3, max_size=3, max_connections=3)
    pool.free[2] = pool.free[0]
    assert pool.self_check([]) == ["an object is twice in the pool"]


def test_self_check_finds_an_object_that_is_not_reset() -> None:
    pool = pool_of(initial_size=3, max_size=3, max_connections=3)
    pool.free[1].inbox = b"secret"
    assert pool.self_check([]) == ["an object in the pool is not reset"]


def test_self_check_finds_a_served_object_in_the_pool() -> None:
    pool = pool_of(initial_size=3, max_size=3, max_connections=3)
    taken = arrive(pool, 2)
    pool.free.append(taken[0])
    faults = pool.self_check(taken)
    assert "the connection of descriptor 10 is in the pool" in faults
    assert "active 2 is not capacity 3 - idle 2 + overflow 0" in faults


def test_self_check_finds_an_overflow_object_in_the_pool() -> None:
    pool = pool_of(initial_size=3, max_size=3, max_connections=3)
    pool.free[0] = Connection(pool.turn)
    assert pool.self_check([]) == ["an object made on demand is in the pool"]


def test_self_check_finds_sizes_out_of_order() -> None:
    pool = pool_of(initial_size=3, max_size=3, max_connections=3)
    taken = arrive(pool, 3)
    pool.max_size = 2
    pool.max_connections = 1
    assert pool.self_check(taken) == [
        "capacity 3 is above max_size 2",
        "max_size 2 is above max_connections 1",
        "active 3 is above max_connections 1",
    ]


def test_self_check_finds_a_wrong_count_of_overflow() -> None:
    pool = pool_of(initial_size=1, max_size=1, max_connections=3)
    taken = arrive(pool, 3)
    taken[1].pooled = True
    assert pool.self_check(taken) == ["overflow 2 but 1 served connections were made on demand"]


class PoolMachine(RuleBasedStateMachine):
    """Arrivals, departures, slices, failures and calm in any order keep the contract."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = pool_of(
            initial_size=4,
            max_size=60,
            max_connections=90,
            shrink=True,
            shrink_after_ms=3_000,
            threshold_percent=80,
        )
        self.sizes = growth_sequence(4, 60)
        self.taken: list[Connection] = []
        self.now_ms = 1
        self.fd = 10

    @rule(count=st.integers(1, 30))
    def arrive(self, count: int) -> None:
        for _ in range(count):
            idle = len(self.pool.free)
            connection = self.pool.acquire(self.now_ms)
            if connection is None:
                assert len(self.taken) == 90
                return
            assert is_reset(connection)
            assert connection not in self.taken
            assert connection.pooled == (idle > 0)
            soil(connection)
            self.fd += 1
            connection.fd = self.fd
            self.taken.append(connection)

    @precondition(lambda self: self.taken)
    @rule(count=st.integers(1, 30), seed=st.integers(0, 1000))
    def leave(self, count: int, seed: int) -> None:
        for _ in range(min(count, len(self.taken))):
            self.pool.release(self.taken.pop(seed % len(self.taken)))

    @rule()
    def work_a_slice(self) -> None:
        if self.pool.working(self.now_ms):
            self.pool.grow(self.now_ms)

    @rule(passes_ms=st.integers(1, 5_000))
    def time_passes(self, passes_ms: int) -> None:
        self.now_ms += passes_ms
        self.pool.consider_shrinking(self.now_ms)
        self.pool.consider_renewal(self.now_ms)

    @rule()
    def a_crowd_has_been_here(self) -> None:
        self.pool.peak = RENEW_FROM

    @rule(objects=st.sampled_from([0, 5, 20, 1000]))
    def the_budget_changes(self, objects: int) -> None:
        self.pool.settings.memory_max_bytes = objects * CONNECTION_BYTES

    @invariant()
    def the_contract_holds(self) -> None:
        pool = self.pool
        assert pool.self_check(self.taken) == []
        assert pool.active == len(self.taken) == pool.capacity - len(pool.free) + pool.overflow
        assert 0 <= len(pool.free) <= pool.capacity <= pool.max_size <= pool.max_connections
        assert pool.target in self.sizes, "targets follow the sequence"
        assert pool.capacity >= 4 or pool.renewing or pool.refilling
        assert pool.target >= 4


TestPoolMachine = PoolMachine.TestCase
TestPoolMachine.settings = hypothesis_settings(max_examples=50, stateful_step_count=40, deadline=None)
