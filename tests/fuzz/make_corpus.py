"""Write the seed corpus of the fuzzers: what the clients of the wire tables send, a story for each case, in hex.

    PYTHONPATH=src:tests python tests/fuzz/make_corpus.py

A case that holds for several versions gives one story, in the newest of them. Stories that are too long are left out.
To those for the broker come some of random bytes: they use every kind of step, and all settings.
"""

from __future__ import annotations

import random
from pathlib import Path

from fuzz import drive
from wire.notation import Case, client_version
from wire.stages import sent
from wire.tables import all_cases

CORPUS = Path(__file__).resolve().parent / "corpus"
STORY_BYTES_MAX = 200
SLOTS = 4
RANDOM_STORIES = 64  # one for each combination of settings


def stories() -> dict[str, set[bytes]]:
    """All stories, by target."""
    found: dict[str, set[bytes]] = {"decode": set(), "broker": set()}
    newest = {case.name: case for case in sorted(all_cases(), key=lambda case: case.version)}
    for case in newest.values():
        stream = bytes([drive.VERSIONS.index(case.version)]) + b"".join(data for _, data in sent(case))
        for target, story in (("decode", stream), ("broker", broker_story(case))):
            if len(story) <= STORY_BYTES_MAX:
                found[target].add(story)
    for settings in range(RANDOM_STORIES):
        found["broker"].add(bytes([settings]) + random.Random(settings).randbytes(120))
    return found


def broker_story(case: Case) -> bytes:
    """A case as a story for the broker, whatever its limits; a client gets a slot by its place."""
    clients = sorted({client for client, _ in sent(case)})
    story = b"\0"
    seen: set[str] = set()
    for client, data in sent(case):
        slot = clients.index(client) % SLOTS
        if client not in seen:
            seen.add(client)
            story += bytes([drive.OPEN << 2 | slot, drive.VERSIONS.index(client_version(client, case.version))])
        for pos in range(0, len(data), 255):
            piece = data[pos : pos + 255]
            story += bytes([drive.RAW << 2 | slot, len(piece)]) + piece
    return story


def main() -> None:
    CORPUS.mkdir(exist_ok=True)
    for target, found in stories().items():
        lines = sorted(story.hex() for story in found)
        (CORPUS / f"{target}.txt").write_text("\n".join(lines) + "\n", "ascii")


if __name__ == "__main__":
    main()
