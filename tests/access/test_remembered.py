"""Remembered verdicts: for how long, how many, and that parts don't run into each other."""

from __future__ import annotations

from swellmq.access import remembered as module
from swellmq.access.provider import Verdict
from swellmq.access.remembered import Remembered
from swellmq.limits import REMEMBERED_VERDICTS


def test_a_verdict_holds_for_its_time() -> None:
    known = Remembered(1_000)
    question = known.question([b"joe", b"secret"])
    verdict = Verdict(0)
    known.keep(question, verdict, 5_000)
    assert known.find(question, 5_999) is verdict
    assert known.find(question, 6_000) is None
    known.forget()
    assert known.find(question, 5_000) is None


def test_parts_are_kept_apart_and_the_key_is_its_own() -> None:
    known = Remembered(1_000)
    assert known.question([b"ab", b"c"]) != known.question([b"a", b"bc"])
    assert known.question([b"a"]) != Remembered(1_000).question([b"a"])
    assert b"secret" not in known.question([b"secret"])


def test_the_number_is_bounded() -> None:
    known = module.Remembered(1_000)
    verdict = Verdict(0)
    most = 0
    for number in range(REMEMBERED_VERDICTS + 10):
        known.keep(number.to_bytes(4, "big"), verdict, 0)
        most = max(most, len(known))
    assert most <= REMEMBERED_VERDICTS
    assert known.find((REMEMBERED_VERDICTS + 9).to_bytes(4, "big"), 0) is verdict
    assert known.find((0).to_bytes(4, "big"), 0) is None
