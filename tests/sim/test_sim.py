"""A few short runs of the simulator with each test run; `make sim SEEDS=N` does many long ones.

What a run proves is told in `oracle.py` and `watch.py`: delivery at each QoS across reconnects, order, the window,
packet identifiers, retained messages, wills, expiry, shared subscriptions, late answers, restarts.
"""

from __future__ import annotations

import pytest
from sim.simulation import Simulation
from sim.world import Plan


def run(plan: Plan) -> Simulation:
    simulation = Simulation(plan)
    try:
        simulation.run()
    except BaseException:
        print(*simulation.log, sep="\n")  # noqa: T201  # pytest shows it with the failure
        raise
    return simulation


@pytest.mark.parametrize("seed", range(20))
def test_a_short_run_keeps_every_promise(seed: int) -> None:
    """[MQTT-4.3.2-1] [MQTT-4.3.3-1] [MQTT-4.4.0-1] [MQTT-4.6.0-5] [MQTT-4.6.0-6] [MQTT-4.9.0-2] [MQTT-3.3.4-9]"""
    counts = run(Plan(seed, steps=150, clients=4 + seed)).oracle.counts
    assert counts["acknowledged"] and counts["resumed"] and counts["closed by peer"]


def test_the_runs_reach_what_they_are_for() -> None:
    runs = (run(Plan(seed, steps=400, clients=15)) for seed in range(110, 115))
    reached = {name for simulation in runs for name, count in simulation.oracle.counts.items() if count}
    assert reached >= {
        "aliases used",
        "client disconnected",
        "closed by peer",
        "delayed wills",
        "handed over",
        "messages refused",
        "no answer in time",
        "refused",
        "restarts",
        "retained deliveries",
        "sent again",
        "session taken over",
        "sessions expired",
        "shared deliveries",
        "wills",
    }


def test_a_seed_gives_the_same_run_again() -> None:
    first, second = (run(Plan(7, steps=120, clients=10)) for _ in range(2))
    assert first.digest.digest() == second.digest.digest()
    assert first.oracle.counts == second.oracle.counts
