"""The journal: frames, torn ends, damage."""

from __future__ import annotations

from pathlib import Path

import pytest

from swellmq.store.errors import StoreError
from swellmq.store.journal import HEAD_BYTES, JournalWriter, encode_frame, read_segment, segments


def write(folder: Path, first: int, bodies: list[bytes]) -> Path:
    journal = JournalWriter(str(folder), first)
    for body in bodies:
        number = journal.next_number
        journal.append(encode_frame(number, journal.on_disk, 1_000 + number, 2_000 + number, body), number)
        journal.sync()
    journal.close()
    return Path(segments(str(folder))[-1])


def bodies(path: Path, after: int = 0) -> list[bytes]:
    return [frame.body for frame in read_segment(str(path), after)]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = write(tmp_path, 5, [b"one", b"", b"three" * 1000])
    frames = list(read_segment(str(path), 0))
    assert [(frame.number, frame.clock_ms, frame.wall_ms) for frame in frames] == [
        (5, 1005, 2005),
        (6, 1006, 2006),
        (7, 1007, 2007),
    ]
    assert [frame.body for frame in frames] == [b"one", b"", b"three" * 1000]
    assert bodies(path, after=6) == [b"three" * 1000]


def test_a_torn_end_is_no_fault(tmp_path: Path) -> None:
    path = write(tmp_path, 1, [b"one", b"two"])
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        expected = 0 if length < HEAD_BYTES + 3 else 1
        assert bodies(path) == [b"one", b"two"][:expected]


def test_every_damaged_byte_is_found(tmp_path: Path) -> None:
    path = write(tmp_path, 1, [b"one", b"two", b"three"])
    whole = path.read_bytes()
    for pos in range(HEAD_BYTES + 3):
        path.write_bytes(whole[:pos] + bytes([whole[pos] ^ 0x40]) + whole[pos + 1 :])
        with pytest.raises(StoreError, match=r"damaged at byte 0: frame 1 is unreadable.*data check"):
            bodies(path)


def test_a_bad_last_frame_is_a_torn_end(tmp_path: Path) -> None:
    path = write(tmp_path, 1, [b"one", b"two"])
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"!")
    assert bodies(path) == [b"one"]


def test_a_missing_frame_is_found(tmp_path: Path) -> None:
    path = write(tmp_path, 1, [b"one", b"two", b"three"])
    whole = path.read_bytes()
    size = HEAD_BYTES + 3
    path.write_bytes(whole[:size] + whole[2 * size :])
    with pytest.raises(StoreError, match="frame 3 where 2 should be"):
        bodies(path)
