"""Fuzz the decoder, or a whole broker, with atheris.

    python tests/fuzz/run.py decode --seconds 60
    python tests/fuzz/run.py broker --seconds 60
    python tests/fuzz/run.py broker --story build/fuzz/crash-1234      play one story again

Starts from the corpus beside this file and keeps what it learns in build/fuzz. A story that finds a bug is kept there
too, its name begins with crash-, and the exit code is not 0. What is found becomes a case of the wire tables.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CORPUS = HERE / "corpus"
LEARNED = ROOT / "build" / "fuzz"
STORY_BYTES_MAX = 2048  # longer ones find little more, slowly


def targets() -> dict[str, Callable[[bytes], None]]:
    from fuzz import drive

    return {"decode": drive.decode_stream, "broker": drive.play}


def main() -> int:
    parser = argparse.ArgumentParser(description="Fuzz the decoder or a whole broker.")
    parser.add_argument("target", choices=("decode", "broker"))
    parser.add_argument("--seconds", type=int, default=60, help="how long")
    parser.add_argument("--story", type=Path, help="play this file and nothing else; needs no atheris")
    options = parser.parse_args()
    sys.path[:0] = [str(HERE.parent), str(ROOT / "src")]  # interpreted: compiled code can't be watched
    logging.disable()
    if options.story is not None:
        logging.disable(logging.NOTSET)
        targets()[options.target](options.story.read_bytes())
        return 0

    import atheris

    with atheris.instrument_imports(include=["swellmq"]):
        target = targets()[options.target]
    learned, seeds = LEARNED / options.target, LEARNED / f"{options.target}-seeds"
    learned.mkdir(parents=True, exist_ok=True)
    seeds.mkdir(exist_ok=True)
    for number, line in enumerate((CORPUS / f"{options.target}.txt").read_text("ascii").splitlines()):
        (seeds / str(number)).write_bytes(bytes.fromhex(line))
    atheris.Setup(
        [
            sys.argv[0],
            str(learned),
            str(seeds),
            f"-max_total_time={options.seconds}",
            f"-max_len={STORY_BYTES_MAX}",
            f"-artifact_prefix={LEARNED}/",
            "-timeout=10",
            "-print_final_stats=1",
        ],
        target,
    )
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
