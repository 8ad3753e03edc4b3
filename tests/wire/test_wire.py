"""Every case of the wire tables: in memory, in memory byte by byte, and over TCP."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from wire.notation import Case, encoded
from wire.stages import MemoryStage, TcpStage, converse
from wire.tables import all_cases

from swellmq.server import Server

CASES = all_cases()
BYTES_MAX = 1000  # of a case that is sent byte by byte, a turn for each


def by_name(chosen: list[Case]) -> list[object]:
    return [pytest.param(case, id=f"{case.name}, {case.version}") for case in chosen]


@pytest.mark.parametrize("case", by_name(CASES))
def test_in_memory(case: Case) -> None:
    converse(case, MemoryStage(case.limits))


@pytest.mark.parametrize("case", by_name([case for case in CASES if case.bytes_sent() <= BYTES_MAX]))
def test_byte_by_byte(case: Case) -> None:
    converse(case, MemoryStage(case.limits, split=True))


@pytest.mark.parametrize("case", by_name([case for case in CASES if not case.waits()]))
def test_over_tcp(case: Case, server: Callable[..., Server]) -> None:
    converse(case, TcpStage(server(), case.limits))


def test_names_are_unique() -> None:
    names = [(case.name, case.version) for case in CASES]
    assert sorted(names) == sorted(set(names))


def test_notation() -> None:
    assert encoded("PUBLISH(\"t\" {} 'x')", 4) == b"\x30\x04\0\x01tx"
    assert encoded("PUBLISH(\"t\" { 01 00 } 'x')", 5) == b"\x30\x07\0\x01t\x02\x01\0x"
    assert encoded("5:00 3:01 [ff*200]", 5) == b"\0\xc8\x01" + b"\xff" * 200
    assert encoded('"\\0\\xe9"*2', 3) == b"\0\x06\0\xc3\xa9\0\xc3\xa9"
    with pytest.raises(ValueError, match="not bytes"):
        encoded("0", 4)
