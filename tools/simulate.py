"""The simulator on all cores: many clients of all versions against one broker in memory, watched by an oracle.

    python tools/simulate.py 200              200 seeds, from 0 on
    python tools/simulate.py 200 --first 1000
    python tools/simulate.py --seed 17        one seed, with the steps that led to a failure
    python tools/simulate.py --seed 17 --steps 80 --clients 5
    python tools/simulate.py --seed 17 --shrink   look for the fewest clients and steps that still fail

The same seed gives the same run, whatever PYTHONHASHSEED is; its digest is that of all bytes the broker sent. Fewer
steps or clients make another run of the same kind: whether it still fails is a matter of luck, which --shrink tries.
The exit code is 1 where a seed has failed.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
import traceback
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from sim.simulation import Simulation
from sim.world import Plan

SHRINK_STEPS = (20, 30, 50, 80, 120, 200, 300)
SHRINK_CLIENTS = (1, 2, 3, 5, 8, 15)


@dataclass
class Outcome:
    plan: Plan
    counts: dict[str, int]
    digest: str
    virtual_s: float
    error: str = ""
    steps: str = ""
    trace: str = ""


def run(plan: Plan) -> Outcome:
    """One run; an error is an outcome too."""
    logging.disable(logging.CRITICAL)
    simulation = Simulation(plan)
    error = trace = ""
    try:
        simulation.run()
    except Exception as raised:
        error = f"{type(raised).__name__}: {raised}"
        trace = traceback.format_exc(limit=-5)
    counts = dict(sorted(simulation.oracle.counts.items()))
    digest = simulation.digest.hexdigest()
    return Outcome(plan, counts, digest, simulation.virtual_ms() / 1000, error, "\n".join(simulation.log), trace)


def report(outcome: Outcome) -> None:
    """Print the last steps of a run that failed, and how to have it again."""
    plan = outcome.plan
    options = "".join(
        f" --{name} {value}" for name, value in (("steps", plan.steps), ("clients", plan.clients)) if value
    )
    print(f"\nseed {plan.seed} failed; the last steps:\n{outcome.steps}\n{outcome.trace}")
    print(f"{outcome.error}\nagain: python tools/simulate.py --seed {plan.seed}{options}", flush=True)


def many(seeds: range) -> int:
    """Run seeds on all cores, with progress; how many failed."""
    started = time.monotonic()
    totals: Counter[str] = Counter()
    failed: list[int] = []
    virtual_s = 0.0
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        waiting = [pool.submit(run, Plan(seed)) for seed in seeds]
        for done, future in enumerate(as_completed(waiting), 1):
            outcome = future.result()
            totals.update(outcome.counts)
            virtual_s += outcome.virtual_s
            if outcome.error:
                failed.append(outcome.plan.seed)
                report(outcome)
            if sys.stdout.isatty() or done % 20 == 0 or done == len(waiting):
                print(
                    f"{done} of {len(waiting)} seeds, {len(failed)} failed", end="\r" if sys.stdout.isatty() else "\n"
                )
                sys.stdout.flush()
    print(*(f"{count:>10,} {name}" for name, count in sorted(totals.items())), sep="\n")
    took_s = time.monotonic() - started
    print(f"{len(waiting)} seeds, {virtual_s / 3600:,.0f} virtual hours in {took_s:.0f} s; failed: {sorted(failed)}")
    return len(failed)


def shrink(plan: Plan) -> Outcome | None:
    """The smallest run of this seed that fails, or None."""
    for steps in SHRINK_STEPS:
        for clients in SHRINK_CLIENTS:
            outcome = run(Plan(plan.seed, steps, clients))
            if outcome.error:
                return outcome
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description="Run seeds of the simulator.")
    parser.add_argument("seeds", type=int, nargs="?", default=100, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--seed", type=int, help="only this one")
    parser.add_argument("--steps", type=int, default=0, help="of one seed; 0: as it chooses itself")
    parser.add_argument("--clients", type=int, default=0, help="of one seed; 0: as it chooses itself")
    parser.add_argument("--shrink", action="store_true", help="look for a smaller run of one seed that fails")
    options = parser.parse_args()
    if options.seed is None:
        return 1 if many(range(options.first, options.first + options.seeds)) else 0
    plan = Plan(options.seed, options.steps, options.clients)
    outcome = shrink(plan) if options.shrink else run(plan)
    if outcome is None:
        print("no smaller run of this seed fails")
        return 0
    if outcome.error:
        report(outcome)
        return 1
    print(f"seed {plan.seed}: {outcome.virtual_s:,.0f} s of virtual time, digest {outcome.digest}, {outcome.counts}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
