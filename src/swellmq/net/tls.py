"""TLS below MQTT and WebSocket: the layer of a connection that came by a listener with a certificate.

OpenSSL reads from and writes to buffers in memory, and all connections of a listener share the same two. That works
because each call consumes what it was given: an incomplete record moves into the connection's own state. So an idle
connection has no buffer of its own, and a read of many records costs one system call (docs/decisions, TLS).

Handshakes are what a stranger can make expensive: the loop gives them a slice of each turn and accepts no further
connections by this listener while some wait; a connection gets its TLS state with its first bytes, not before; and no
more than `HANDSHAKES_MAX` may be under way at a time. Their time is that of the CONNECT they precede.
"""

from __future__ import annotations

import ssl
from typing import Any, Final, final

from mypy_extensions import i64, mypyc_attr, u8

from swellmq.connection import Layer
from swellmq.errors import OPEN, PEER_CLOSED, TLS_FAILED
from swellmq.limits import HANDSHAKES_MAX

RECORD_BYTES: Final = 16_384  # the most that one record carries, RFC 8446 section 5.1
CHUNK_BYTES: Final = 262_144  # encrypted at a time, since the shared buffer never shrinks

# What of a client's certificate is its user name.
IDENTITY_NONE: Final = ""
IDENTITY_CN: Final = "cn"
IDENTITY_SUBJECT: Final = "subject"
IDENTITY_SAN: Final = "san"

# Names of a subject's parts as in RFC 4514 and as OpenSSL prints them; others stay as Python has them.
SHORT_NAMES: Final = {
    "commonName": "CN",
    "countryName": "C",
    "domainComponent": "DC",
    "localityName": "L",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "stateOrProvinceName": "ST",
    "streetAddress": "street",
    "userId": "UID",
}


@final
@mypyc_attr(native_class=True)
class Terms:
    """What the connections of one listener share. A reload makes new ones; who is connected keeps the old."""

    def __init__(self, context: ssl.SSLContext, identity: str) -> None:
        self.context = context
        self.identity = identity
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        self.shaking: i64 = 0  # handshakes under way
        self.shaking_max: i64 = HANDSHAKES_MAX


@final
@mypyc_attr(native_class=True, acyclic=True)
class TlsLayer(Layer):
    """One connection's TLS; `above` is the layer that its plain text goes through, such as WebSocket."""

    def __init__(self, terms: Terms, above: Layer | None) -> None:
        self.reason: u8 = OPEN
        self.phrase: str = ""
        self.terms = terms
        self.above = above
        self.tls: ssl.SSLObject | None = None
        self.shaken: bool = False
        self.failed: bool = False  # nothing more can be encrypted
        self.ended: bool = False
        self.own: bytes = b""  # records of TLS itself, to be sent in front of all else
        self.name: str | None = None  # who the client is by its certificate

    def fresh(self) -> Layer:
        """A new one by the same terms."""
        return TlsLayer(self.terms, self.above.fresh() if self.above is not None else None)

    def meet(self, fd: int) -> None:
        """Pass it on."""
        if self.above is not None:
            self.above.meet(fd)

    def address(self) -> str:
        """What the layer above was told."""
        return self.above.address() if self.above is not None else ""

    def identity(self) -> str | None:
        """The user name in the client's certificate, where the listener takes it from there."""
        return self.name

    def owes(self) -> bool:
        """Whether TLS has something to say, or the layer above."""
        return bool(self.own) or (self.ended and not self.failed) or (self.above is not None and self.above.owes())

    # Up

    def received(self, data: bytes) -> bytes:
        """The plain text in what was read. Once something was wrong all that follows is ignored."""
        if self.reason != OPEN:
            return b""
        terms = self.terms
        if self.tls is None and not self._begin(terms, data):
            return b""
        tls = self.tls
        assert tls is not None
        incoming = terms.incoming
        pieces: list[bytes] = []
        incoming.write(data)
        try:
            if not self.shaken:
                tls.do_handshake()
                self._shaken(terms, tls)
            while self.reason == OPEN and (incoming.pending or tls.pending()):
                piece = tls.read(RECORD_BYTES)
                if not piece:
                    self.reason = PEER_CLOSED  # close_notify
                    break
                pieces.append(piece)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self._fail(_words(error))
        if incoming.pending:
            incoming.read()  # what stands behind the end must not reach another connection
        if terms.outgoing.pending:
            self.own += terms.outgoing.read()
        plain = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return self._pass_up(plain) if plain and self.above is not None else plain

    def _begin(self, terms: Terms, data: bytes) -> bool:
        """Make the TLS state of a connection that has begun to speak."""
        if data[0] == 0x10:
            self._fail("MQTT without TLS on a listener that has TLS")
            return False
        if terms.shaking >= terms.shaking_max:
            self._fail("too many TLS handshakes are under way")
            return False
        terms.shaking += 1
        self.tls = terms.context.wrap_bio(terms.incoming, terms.outgoing, True)
        return True

    def _shaken(self, terms: Terms, tls: ssl.SSLObject) -> None:
        self.shaken = True
        terms.shaking -= 1
        if terms.identity == IDENTITY_NONE:
            return
        certificate = tls.getpeercert()
        if certificate:
            self.name = identity_in(certificate, terms.identity)
            if self.name is None:
                self._fail(f"a client certificate without a {terms.identity} that can be a user name")

    def _fail(self, phrase: str) -> None:
        self.reason = TLS_FAILED
        self.phrase = phrase
        self.failed = True

    def _pass_up(self, plain: bytes) -> bytes:
        above = self.above
        assert above is not None
        plain = above.received(plain)
        if above.reason != OPEN and self.reason == OPEN:
            self.reason = above.reason
            self.phrase = above.phrase
        return plain

    # Down

    def framed(self, pieces: list[bytes]) -> list[bytes]:
        """The pieces encrypted, behind what TLS itself has to say."""
        if self.above is not None:
            pieces = self.above.framed(pieces)
        records: list[bytes] = []
        if self.own:
            records.append(self.own)
            self.own = b""
        tls = self.tls
        if tls is None or self.failed or not self.shaken:
            return records
        outgoing = self.terms.outgoing
        try:
            chunk = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            start = 0
            while start < len(chunk):
                tls.write(chunk[start : start + CHUNK_BYTES])
                records.append(outgoing.read())
                start += CHUNK_BYTES
            if self.ended:
                self.failed = True
                tls.unwrap()  # close_notify; the peer's own is not waited for
        except ssl.SSLError:
            self.failed = True
        if outgoing.pending:
            records.append(outgoing.read())
        return records

    def finish(self, reason: u8) -> None:
        """The connection is closed; a handshake that was under way is no longer."""
        if self.tls is not None and not self.shaken:
            self.terms.shaking -= 1
            self.shaken = True
            self.failed = True
        self.ended = self.ended or not self.failed
        if self.above is not None:
            self.above.finish(reason)


def identity_in(certificate: dict[str, Any], kind: str) -> str | None:
    """The user name in a certificate, as `SSLObject.getpeercert` has it; None where there is none that MQTT can carry.

    For "san" it is the first name of the subject's alternatives that is an address of e-mail, a URI or a DNS name.
    """
    name: str | None = None
    if kind == IDENTITY_SAN:
        for what, value in certificate.get("subjectAltName", ()):
            if what in ("email", "URI", "DNS"):
                name = value
                break
    else:
        subject: tuple[tuple[tuple[str, str], ...], ...] = certificate.get("subject", ())
        name = common_name(subject) if kind == IDENTITY_CN else subject_text(subject)
    return name if name and name.isprintable() and len(name.encode()) <= 65_535 else None


def common_name(subject: tuple[tuple[tuple[str, str], ...], ...]) -> str | None:
    """The last common name in a subject: the most specific one."""
    found: str | None = None
    for relative in subject:
        for what, value in relative:
            if what == "commonName":
                found = value
    return found


def subject_text(subject: tuple[tuple[tuple[str, str], ...], ...]) -> str:
    """A subject as RFC 4514 writes it, most specific part first, such as "CN=pump 7,O=Works,C=DE"."""
    parts: list[str] = []
    for relative in subject:
        pairs = [SHORT_NAMES.get(what, what) + "=" + _escaped(value) for what, value in relative]
        parts.append("+".join(pairs))
    parts.reverse()
    return ",".join(parts)


def _escaped(value: str) -> str:
    """An attribute's value, RFC 4514 section 2.4."""
    text = "".join("\\" + letter if letter in ',+"\\<>;' else letter for letter in value)
    if text.startswith(("#", " ")):
        text = "\\" + text
    return text[:-1] + "\\ " if text.endswith(" ") and len(value) > 1 else text


def _words(error: ssl.SSLError) -> str:
    """What OpenSSL says went wrong, for a log line."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return "TLS: client certificate: " + error.verify_message
    return "TLS: " + (error.reason.lower().replace("_", " ") if error.reason else str(error.args[-1]))
