"""All wire tables in one list."""

from __future__ import annotations

from types import ModuleType
from typing import Final

from wire import acknowledge, connect, mosquitto, other, publish, sessions, subscribe
from wire.notation import Case, cases

MODULES: Final[tuple[ModuleType, ...]] = (connect, publish, acknowledge, subscribe, other, sessions, mosquitto)


def all_cases() -> list[Case]:
    """The cases of every table; a table is a text in capitals."""
    return [
        case
        for module in MODULES
        for name, table in vars(module).items()
        if name.isupper() and isinstance(table, str)
        for case in cases(table)
    ]
