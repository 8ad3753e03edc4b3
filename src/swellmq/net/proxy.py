"""The PROXY protocol, versions 1 and 2: a proxy in front says for whom it connects, before all else.

Source: https://www.haproxy.org/download/2.8/doc/proxy-protocol.txt. Whoever may send such a header may take any
address, so only listeners with `proxy` read it, and they serve nobody but the proxies named there. The header must come
whole before the deadline of CONNECT, and is bounded.
"""

from __future__ import annotations

import _socket as socket  # socket.py brings enums and selectors: 0.4 MB more
from typing import Final, final

from mypy_extensions import i64, mypyc_attr

from swellmq.connection import Layer
from swellmq.errors import OPEN, PROTOCOL_ERROR
from swellmq.limits import PROXY_HEADER_BYTES
from swellmq.net.stacked import Stacked

VERSION_1: Final = b"PROXY "
VERSION_2: Final = b"\r\n\r\n\x00\r\nQUIT\n"
VERSION_1_BYTES: Final = 107  # section 2.1, with its end of line
HEAD_BYTES: Final = 16  # of version 2, before the addresses
COMMAND_LOCAL: Final = 0x20  # the proxy's own connection, such as a check of health
COMMAND_PROXY: Final = 0x21
TCP_4: Final = 0x11
TCP_6: Final = 0x21
UNIX: Final = 0x31
# Bytes of the addresses; what follows them are vectors of type, length and value, section 2.2.
ADDRESS_BYTES: Final = {TCP_4: 12, TCP_6: 36, UNIX: 216}

# What a vector may say of TLS between client and proxy, section 2.2.6.
TYPE_SSL: Final = 0x20
TYPE_SSL_CN: Final = 0x22  # within that
CLIENT_SSL: Final = 0x01
CLIENT_CERTIFICATE: Final = 0x02 | 0x04  # on this connection, or in the TLS session that it resumes
SSL_HEAD_BYTES: Final = 5  # what the client has, and how its certificate was judged: 0 is good

TLS_REQUIRED: Final = "required"
CERTIFICATE_REQUIRED: Final = "certificate"


@final
@mypyc_attr(native_class=True, acyclic=True)
class ProxyTerms:
    """What the headers of one listener must say of TLS: `tls` is "", "required" or "certificate". Where `named`, the
    common name in the client's certificate is its user name."""

    def __init__(self, tls: str = "", named: bool = False) -> None:
        self.tls = tls
        self.named = named


@final
@mypyc_attr(native_class=True, acyclic=True)
class ProxyLayer(Stacked):
    """Reads the header of one connection, then passes everything on to TLS or WebSocket."""

    def __init__(self, terms: ProxyTerms, above: Layer | None) -> None:
        super().__init__(above)
        self.terms = terms
        self.rest: bytes = b""  # an incomplete header
        self.passed: bool = False
        self.peer: str = ""  # for whom the proxy connects; "": not said
        self.secure: bool = False  # the client came to the proxy by TLS
        self.certified: bool = False  # with a certificate that the proxy found to be good
        self.name: str | None = None  # the common name in that

    def fresh(self) -> Layer:
        """A new one for another connection."""
        return ProxyLayer(self.terms, self.other.fresh() if self.other is not None else None)

    def address(self) -> str:
        """The address that the proxy says."""
        return self.peer

    def identity(self) -> str | None:
        """Who the peer is by its certificate, as the proxy says, or where TLS stands above."""
        if self.terms.named:
            return self.name
        return self.other.identity() if self.other is not None else None

    def received(self, data: bytes) -> bytes:
        """What follows the header."""
        if self.reason != OPEN:
            return b""
        if not self.passed:
            data = self.rest + data
            self.rest = b""
            end = self._read_header(data)
            if end == 0:
                self.rest = data
                return b""
            self.phrase = "no PROXY header, or one that is malformed" if end < 0 else self._refusal()
            if self.phrase:
                self.reason = PROTOCOL_ERROR
                return b""
            self.passed = True
            data = data[end:]
        return self.pass_on(data)

    def framed(self, pieces: list[bytes]) -> list[bytes]:
        """What stands above makes of the pieces; nothing is added on the way down."""
        return self.other.framed(pieces) if self.other is not None else pieces

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
            addresses: i64 = ADDRESS_BYTES.get(int(family), 0)
            if length < addresses:
                return -1
            if family == TCP_4:
                self.peer = socket.inet_ntop(socket.AF_INET, data[HEAD_BYTES : HEAD_BYTES + 4])
            elif family == TCP_6:
                self.peer = socket.inet_ntop(socket.AF_INET6, data[HEAD_BYTES : HEAD_BYTES + 16])
            if self.terms.tls:
                self._read_tls(_vector(data[HEAD_BYTES + addresses : end], TYPE_SSL))
        return end

    def _read_tls(self, value: bytes) -> None:
        """Take what the header says of TLS; where it says nothing that is nothing."""
        if len(value) < SSL_HEAD_BYTES:
            return
        client: i64 = value[0]
        self.secure = client & CLIENT_SSL != 0
        self.certified = self.secure and client & CLIENT_CERTIFICATE != 0 and value[1:SSL_HEAD_BYTES] == bytes(4)
        if self.certified and self.terms.named:
            self.name = _name(_vector(value[SSL_HEAD_BYTES:], TYPE_SSL_CN))

    def _refusal(self) -> str:
        """Why a connection with this header is not served, or ""."""
        terms = self.terms
        if terms.tls and not self.secure:
            return "a PROXY header that does not say that its client uses TLS"
        if terms.tls == CERTIFICATE_REQUIRED and not self.certified:
            return "a PROXY header that does not say that its client has a good certificate"
        if terms.named and self.name is None:
            return "a PROXY header without a common name that can be a user name"
        return ""


def _vector(data: bytes, wanted: i64) -> bytes:
    """The value of the first vector of a type; empty where there is none, or something is cut off."""
    pos: i64 = 0
    while pos + 3 <= len(data):
        high: i64 = data[pos + 1]
        low: i64 = data[pos + 2]
        end = pos + 3 + high * 256 + low
        if data[pos] == wanted:
            return data[pos + 3 : end] if end <= len(data) else b""
        pos = end
    return b""


def _name(value: bytes) -> str | None:
    """A common name that MQTT can carry as a user name."""
    try:
        name = value.decode()
    except UnicodeDecodeError:
        return None
    return name if name and name.isprintable() else None


def _address(word: bytes, version_6: bool) -> str:
    """An address in the form that the system gives it; "" where it is none."""
    kind = socket.AF_INET6 if version_6 else socket.AF_INET
    try:
        return socket.inet_ntop(kind, socket.inet_pton(kind, word.decode("ascii")))
    except (OSError, ValueError):
        return ""
