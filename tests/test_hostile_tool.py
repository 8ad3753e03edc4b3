"""tools/hostile.py: its attacks are made again by their seed, and a short run of it; `make hostile` is the long one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "tools"))

from hostile_attacks import Chance

TOOL = Path(__file__).parent.parent / "tools" / "hostile.py"
ATTACKS = 400


def test_the_same_seed_makes_the_same_attacks() -> None:
    kinds = set()
    for number in range(ATTACKS):
        attack, again = Chance(f"1/{number}").attack(), Chance(f"1/{number}").attack()
        assert attack == again
        kinds.add(attack.kind)
    assert kinds >= {
        "mutated",
        "truncated",
        "giant",
        "property flood",
        "topic bomb",
        "subscription bomb",
        "slow reader",
    }


@pytest.mark.slow
def test_a_short_run_over_all_transports(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-P",
        str(TOOL),
        "--seconds",
        "8",
        "--seed",
        "1",
        "--keep",
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []
