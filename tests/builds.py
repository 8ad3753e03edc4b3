"""What setup.py says of the modules, and what it means for code that runs interpreted: no `vars` of native objects."""

from __future__ import annotations

import ast
import builtins
import functools
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent

_real_vars = builtins.vars


def constant_of_setup(name: str) -> Any:
    """A literal from setup.py, which can't be imported without building."""
    for statement in ast.parse((ROOT / "setup.py").read_text()).body:
        if isinstance(statement, ast.AnnAssign) and ast.unparse(statement.target) == name:
            assert statement.value is not None
            return ast.literal_eval(statement.value)
    raise LookupError(name)


@functools.cache
def to_be_compiled(module: str) -> bool:
    """Whether a module is compiled where a compiler is."""
    name = module.removeprefix("swellmq.").replace(".", "/") + ".py"  # a package's own file has no classes
    return module.startswith("swellmq.") and not any(
        fnmatchcase(name, one) for one in constant_of_setup("NOT_COMPILED")
    )


def vars_as_compiled(*things: Any) -> Any:
    """`vars`, which fails in the broker's own code where it would in the compiled build, so that any test finds it."""
    frame = sys._getframe(1)
    if not things:
        return frame.f_locals
    kind = type(things[0])
    if frame.f_globals.get("__name__", "").startswith("swellmq.") and to_be_compiled(kind.__module__):
        raise TypeError(
            f"{kind.__module__} is compiled where a compiler is, and objects of {kind.__name__} have no vars"
        )
    return _real_vars(*things)


def be_strict() -> None:
    """Have it so from now on."""
    builtins.vars = vars_as_compiled
