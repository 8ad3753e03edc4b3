"""Clients of a Unix socket whose user name is that of their process: the system vouches for it."""

from __future__ import annotations

import pwd
from typing import final

from mypy_extensions import mypyc_attr

from swellmq.connection import Layer
from swellmq.net.peers import user_of
from swellmq.net.stacked import Stacked

_names: dict[int, str] = {}  # by user id; each is asked for once, since that may ask another machine


@final
@mypyc_attr(native_class=True, acyclic=True)
class CredentialsLayer(Stacked):
    """Knows whose process is at the other end, and passes everything."""

    def __init__(self, above: Layer | None) -> None:
        super().__init__(above)
        self.user: int = -1

    def fresh(self) -> Layer:
        """A new one for another connection."""
        return CredentialsLayer(self.other.fresh() if self.other is not None else None)

    def meet(self, fd: int) -> None:
        """Ask the system who has connected."""
        self.user = user_of(fd)

    def identity(self) -> str | None:
        """The name of that user, or "uid-" and its number where it has none on this machine."""
        if self.user < 0:
            return None
        name = _names.get(self.user)
        if name is None:
            try:
                name = pwd.getpwuid(self.user).pw_name
            except KeyError:
                name = f"uid-{self.user}"
            _names[self.user] = name
        return name

    def received(self, data: bytes) -> bytes:
        """What the layer above makes of it."""
        return self.pass_on(data)

    def framed(self, pieces: list[bytes]) -> list[bytes]:
        """What the layer above makes of it."""
        return self.other.framed(pieces) if self.other is not None else pieces
