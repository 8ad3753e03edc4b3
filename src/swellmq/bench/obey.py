"""The loop of a helper process: commands are lines on stdin, answers are lines on stdout.

A command is words; an answer is `name=number` pairs, or FAILED and a sentence. Nothing more, so that a process whose
own memory is the figure imports nothing for it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Final

from swellmq.bench import BenchError

FAILED: Final = "failed: "


def obey(command: Callable[[list[str]], dict[str, int]]) -> None:
    """Let `command` get the words of each line and return the answer, until stdin ends."""
    for line in sys.stdin:
        try:
            answer = command(line.split())
        except (BenchError, OSError) as error:
            sys.stdout.write(FAILED + str(error).replace("\n", " ") + "\n")
        else:
            sys.stdout.write(" ".join(f"{name}={value}" for name, value in answer.items()) + "\n")
        sys.stdout.flush()
