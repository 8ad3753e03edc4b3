"""Alarms: what is not well for some seconds is raised once, and cleared once it has been well again for as long.

An alarm compares one number with one bound. It is raised when the number has been at its bound at every look for
`after_ms`, and cleared when it has been a tenth away from the bound, on the good side, for as long. So what hovers
around its bound raises one alarm, not a hundred.

Numbers in, changes out: nothing here reads a clock, the system or the broker. `watch.py` does that.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import mypyc_attr

WARNING: Final = "warning"
CRITICAL: Final = "critical"
MARGIN_PERCENT: Final = 10  # how far from its bound a number must be before its alarm is cleared


@final
@mypyc_attr(native_class=True)
class Alarm:
    """One thing that may be wrong. `falling`: it is a number that must not get too small, such as free space."""

    def __init__(self, name: str, severity: str = WARNING, falling: bool = False) -> None:
        self.name = name
        self.severity = severity
        self.falling = falling
        self.raised = False
        self.text = ""  # what is wrong, a sentence without its dot
        self.since_s = 0.0  # Unix time at which it was raised
        self.times = 0  # it was raised so often
        self.turned_ms = -1  # since when the number has been on the other side; -1: it is not

    def look(self, value: int, bound: int, now_ms: int, after_ms: int) -> bool:
        """Take the number of this moment; whether `raised` changes. A bound of 0 is none."""
        if self.raised:
            turned = not bound or self._well(value, bound)
        else:
            turned = bound > 0 and (value <= bound if self.falling else value >= bound)
        if not turned:
            self.turned_ms = -1
            return False
        if self.turned_ms < 0:
            self.turned_ms = now_ms
        if now_ms - self.turned_ms < after_ms:
            return False
        self.turned_ms = -1
        self.raised = not self.raised
        self.times += self.raised
        return True

    def _well(self, value: int, bound: int) -> bool:
        if self.falling:
            return value * 100 > bound * (100 + MARGIN_PERCENT)
        return value * 100 < bound * (100 - MARGIN_PERCENT)

    def is_turning(self) -> bool:
        """Whether its number is on the other side by now, but was not for long enough to raise or clear it."""
        return self.turned_ms >= 0

    def unsettled(self) -> bool:
        """Whether it is raised, or about to be: it is to be looked at again soon."""
        return self.raised or self.is_turning()


@final
@mypyc_attr(native_class=True)
class Alarms:
    """All alarms of one broker, by name, in the order in which they are told."""

    def __init__(self) -> None:
        every = [
            Alarm("pool"),
            Alarm("overflow"),
            Alarm("connections", CRITICAL),
            Alarm("descriptors", CRITICAL),
            Alarm("memory", CRITICAL),
            Alarm("overload", CRITICAL),
            Alarm("turn"),
            Alarm("slow_clients"),
            Alarm("dropped"),
            Alarm("waiting"),
            Alarm("store_backlog"),
            Alarm("store_refuses", CRITICAL),
            Alarm("disk", CRITICAL, falling=True),
        ]
        self.by_name: Final = {alarm.name: alarm for alarm in every}

    def active(self) -> list[dict[str, str | float]]:
        """Those that are raised, the worst first."""
        raised = [alarm for alarm in self.by_name.values() if alarm.raised]
        raised.sort(key=lambda alarm: alarm.severity != CRITICAL)
        return [
            {"name": alarm.name, "severity": alarm.severity, "text": alarm.text, "since": alarm.since_s}
            for alarm in raised
        ]

    def unsettled(self) -> bool:
        """Whether any is raised, or about to be."""
        return any(alarm.unsettled() for alarm in self.by_name.values())

    def statistics(self) -> dict[str, int]:
        """How many are raised, and how many ever were."""
        alarms = self.by_name.values()
        return {
            "alarms": sum(alarm.raised for alarm in alarms),
            "alarms_raised": sum(alarm.times for alarm in alarms),
        }
