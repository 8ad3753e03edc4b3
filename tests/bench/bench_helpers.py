"""`swellmq bench` as a process."""

from __future__ import annotations

import subprocess
import sys


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "swellmq", "bench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)
