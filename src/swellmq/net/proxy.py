"""The PROXY protocol, versions 1 and 2: a proxy in front says for whom it connects, before all else.

Source: https://www.haproxy.org/download/2.8/doc/proxy-protocol.txt. Whoever may send such a header may take any
address, so only listeners with `proxy` read it, and they serve nobody but the proxies named there. The header must come
whole before the deadline of CONNECT, and is bounded.
"""

from __future__ import annotations

import _socket as socket  # socket.py brings enums and selectors: 0.4 MB more
from typing import Final, final

from mypy_extensions import i64, mypyc_attr, u8

from swellmq.connection import Layer
from swellmq.errors import OPEN, PROTOCOL_ERROR
from swellmq.limits import PROXY_HEADER_BYTES

VERSION_1: Final = b"PROXY "
VERSION_2: Final = b"\r\n\r\n\x00\r\nQUIT\n"
VERSION_1_BYTES: Final = 107  # section 2.1, with its end of line
HEAD_BYTES: Final = 16  # of version 2, before the addresses
COMMAND_LOCAL: Final = 0x20  # the proxy's own connection, such as a check of health
COMMAND_PROXY: Final = 0x21
TCP_4: Final = 0x11
TCP_6: Final = 0x21


@final
@mypyc_attr(native_class=True, acyclic=True)
class ProxyLayer(Layer):
    """Reads the header of one connection, then passes everything; `above` is TLS or WebSocket."""

    def __init__(self, above: Layer | None) -> None:
        self.reason: u8 = OPEN
        self.phrase: str = ""
        self.above = above
        self.rest: bytes = b""  # an incomplete header
        self.passed: bool = False
        self.peer: str = ""  # for whom the proxy connects; "": not said

    def fresh(self) -> Layer:
        """A new one for another connection."""
        return ProxyLayer(self.above.fresh() if self.above is not None else None)

    def address(self) -> str:
        """The address that the proxy says."""
        return self.peer

    def costly(self) -> bool:
        """Whether what stands above is."""
        return self.above is not None and self.above.costly()

    def identity(self) -> str | None:
        """Who the peer is by its certificate, where TLS stands above."""
        return self.above.identity() if self.above is not None else None

    def owes(self) -> bool:
        """Whether what stands above has something to say."""
        return self.above is not None and self.above.owes()

    def received(self, data: bytes) -> bytes:
        """What follows the header."""
        if self.reason != OPEN:
            return b""
        if not self.passed:
            data = self.rest + data
            self.rest = b""
            end = self._read_header(data)
            if end <= 0:
                if end < 0:
                    self.reason = PROTOCOL_ERROR
                    self.phrase = "no PROXY header, or one that is malformed"
                else:
                    self.rest = data
                return b""
            self.passed = True
            data = data[end:]
        above = self.above
        if above is None or not data:
            return data
        data = above.received(data)
        self.reason = above.reason
        self.phrase = above.phrase
        return data

    def framed(self, pieces: list[bytes]) -> list[bytes]:
        """What stands above makes of the pieces; nothing is added on the way down."""
        return self.above.framed(pieces) if self.above is not None else pieces

    def finish(self, reason: u8) -> None:
        """Pass it on."""
        if self.above is not None:
            self.above.finish(reason)

    def _read_header(self, data: bytes) -> i64:
        """Where the header ends; 0 where it is incomplete, -1 where it is none."""
        if data.startswith(VERSION_2):
            return self._read_version_2(data)
        if data.startswith(VERSION_1):
            end = data.find(b"\r\n", 0, VERSION_1_BYTES)
            if end < 0:
                return 0 if len(data) < VERSION_1_BYTES else -1
            return end + 2 if self._read_version_1(data[6:end]) else -1
        return 0 if VERSION_2.startswith(data) or VERSION_1.startswith(data) else -1

    def _read_version_1(self, line: bytes) -> bool:
        """Take `TCP4 source destination port port`, or UNKNOWN and whatever follows; whether it is right."""
        words = line.split(b" ")
        if words[0] == b"UNKNOWN":
            return True
        if len(words) != 5 or words[0] not in (b"TCP4", b"TCP6"):
            return False
        self.peer = _address(words[1], words[0] == b"TCP6")
        return self.peer != ""

    def _read_version_2(self, data: bytes) -> i64:
        if len(data) < HEAD_BYTES:
            return 0
        command: i64 = data[12]
        family: i64 = data[13]
        length: i64 = data[14] << 8 | data[15]
        end = HEAD_BYTES + length
        if (command != COMMAND_LOCAL and command != COMMAND_PROXY) or end > PROXY_HEADER_BYTES:
            return -1
        if len(data) < end:
            return 0
        if command == COMMAND_PROXY:
            size = 4 if family == TCP_4 else 16 if family == TCP_6 else 0
            if size:
                if length < 2 * size + 4:
                    return -1
                kind = socket.AF_INET if size == 4 else socket.AF_INET6
                self.peer = socket.inet_ntop(kind, data[HEAD_BYTES : HEAD_BYTES + size])
        return end


def _address(word: bytes, version_6: bool) -> str:
    """An address in the form that the system gives it; "" where it is none."""
    kind = socket.AF_INET6 if version_6 else socket.AF_INET
    try:
        return socket.inet_ntop(kind, socket.inet_pton(kind, word.decode("ascii")))
    except (OSError, ValueError):
        return ""
