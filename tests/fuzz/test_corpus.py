"""The corpus of the fuzzers, played once, and how stories are told and judged."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz import drive, make_corpus
from wire.notation import encoded

CORPUS = Path(__file__).parent / "corpus"
CORPUS_BYTES_MAX = 200_000


def stories(target: str) -> list[bytes]:
    return [bytes.fromhex(line) for line in (CORPUS / f"{target}.txt").read_text("ascii").splitlines()]


@pytest.mark.parametrize("story", stories("decode"), ids=bytes.hex)
def test_decode(story: bytes) -> None:
    drive.decode_stream(story)


@pytest.mark.parametrize("story", stories("broker"), ids=bytes.hex)
def test_broker(story: bytes) -> None:
    drive.play(story)


def test_the_wire_tables_make_a_small_corpus() -> None:
    """`PYTHONPATH=src:tests python tests/fuzz/make_corpus.py` writes it anew."""
    made = make_corpus.stories()
    assert min(len(found) for found in made.values()) > 300
    assert sum(path.stat().st_size for path in CORPUS.iterdir()) < CORPUS_BYTES_MAX


def test_a_story_of_all_steps() -> None:
    """Two clients through everything that a story can tell; what is received shows that it was played."""
    connect, subscribe, publish = drive.CONNECT << 2, drive.SUBSCRIBE << 2, drive.PUBLISH << 2
    data = bytes(
        [
            *(0, drive.OPEN << 2, 1, connect, 4, 0, subscribe, 0, 1, 0, publish, 0x11, 0),
            *(drive.STALL << 2, publish, 0x21, 8, drive.WAIT << 2, 4, drive.STALL << 2, drive.ACKNOWLEDGE << 2, 0),
            *(drive.OPEN << 2 | 1, 0, connect | 1, 4, 0, publish | 1, 0x31, 0, drive.UNSUBSCRIBE << 2, 0, 0),
            *(drive.FEED << 2, drive.OTHER << 2, 0, drive.FEED << 2, drive.MUTATED << 2, drive.OTHER << 2, 0, 0, 1, 9),
            *(drive.SPLIT << 2 | 1, 2, 0xC0, 0, drive.RAW << 2 | 1, 2, 0xC0, 0, drive.DROP << 2 | 1),
        ]
    )
    story = drive.Story(data)
    story.play()
    stats = story.broker.stats
    assert (stats.connects, stats.errors_peer, stats.errors_internal) == (2, 2, 0)


def test_a_crash_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug of the broker ends a story with an AssertionError."""
    story = drive.Story(b"\0\0\0" + bytes([drive.RAW << 2, 16]) + encoded("CONNECT", 5))
    story.broker.stats.errors_internal = 1
    with pytest.raises(AssertionError):
        story.play()
