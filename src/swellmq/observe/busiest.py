"""Those that send and receive most, as they are told to whoever asks."""

from __future__ import annotations

import heapq
from typing import TypedDict


class Talker(TypedDict):
    """One client, with what it sends or receives in a second."""

    client_id: str
    messages_per_s: float
    bytes_per_s: float


class Top(TypedDict):
    """Those that send and receive most, in one window."""

    window_s: float
    publishers: list[Talker]
    subscribers: list[Talker]


def most(now: dict[str, list[float]], before: dict[str, list[float]], lasted_s: float, count: int) -> list[Talker]:
    """The `count` clients with the most messages in two windows, which lasted so long together."""
    both: dict[str, list[float]] = {}
    for clients in (before, now):
        for client_id, (messages, size) in clients.items():
            of_both = both.setdefault(client_id, [0.0, 0.0])
            of_both[0] += messages
            of_both[1] += size
    first = heapq.nlargest(count, both.items(), key=lambda item: item[1])
    return [
        {
            "client_id": client_id,
            "messages_per_s": round(messages / lasted_s, 2),
            "bytes_per_s": round(size / lasted_s, 1),
        }
        for client_id, (messages, size) in first
    ]
