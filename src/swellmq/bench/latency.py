"""How long messages were under way: percentiles of what was sampled."""

from __future__ import annotations

from typing import Final

PERCENTILES: Final = (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999))


class Latency:
    """Samples in seconds, each standing for a number of messages that arrived together."""

    def __init__(self) -> None:
        self.samples: list[tuple[float, int]] = []

    def add(self, seconds: float, messages: int) -> None:
        """`messages` arrived in one read, of which the first was under way for so long."""
        self.samples.append((seconds, messages))

    def percentiles_ms(self) -> dict[str, float]:
        """Milliseconds by name; no message of the share was under way for longer. Empty without samples."""
        self.samples.sort()
        total = sum(messages for _seconds, messages in self.samples)
        found: dict[str, float] = {}
        seen = 0
        wanted = iter(PERCENTILES)
        name, share = next(wanted)
        for seconds, messages in self.samples:
            seen += messages
            while seen >= share * total:
                found[name] = seconds * 1e3
                following = next(wanted, None)
                if following is None:
                    return found
                name, share = following
        return found
