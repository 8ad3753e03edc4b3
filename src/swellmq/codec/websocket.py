"""The bytes of WebSocket, server side: the HTTP request that opens it, its answer, and frames. RFC 6455.

Functions without state. What a connection has to remember between two reads is in `net/websocket.py`.
"""

from __future__ import annotations

from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from hashlib import sha1
from typing import Final, final

from mypy_extensions import i64, mypyc_attr

CONTINUATION: Final = 0
TEXT: Final = 1
BINARY: Final = 2
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10

FIN: Final = 0x80
RESERVED: Final = 0x70  # bits of extensions, of which there are none
MASKED: Final = 0x80
CONTROL_BYTES_MAX: Final = 125

# Close codes, section 7.4.1, and those registered with IANA later.
NORMAL_CLOSURE: Final = 1000
GOING_AWAY: Final = 1001
PROTOCOL_ERROR: Final = 1002
UNSUPPORTED_DATA: Final = 1003
INVALID_DATA: Final = 1007
MESSAGE_TOO_BIG: Final = 1009
INTERNAL_ERROR: Final = 1011
TRY_AGAIN_LATER: Final = 1013

BAD_REQUEST: Final = 400
FORBIDDEN: Final = 403
NOT_FOUND: Final = 404
METHOD_NOT_ALLOWED: Final = 405
UPGRADE_REQUIRED: Final = 426
HEAD_TOO_LARGE: Final = 431
REASONS: Final = {
    BAD_REQUEST: "Bad Request",
    FORBIDDEN: "Forbidden",
    NOT_FOUND: "Not Found",
    METHOD_NOT_ALLOWED: "Method Not Allowed",
    UPGRADE_REQUIRED: "Upgrade Required",
    HEAD_TOO_LARGE: "Request Header Fields Too Large",
}

VERSION: Final = b"13"
KEY_SUFFIX: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # section 1.3
KEY_BYTES: Final = 16

# "mqtt" is the name since MQTT 3.1.1. Older clients say which version they speak, and some still do so for 5.0.
SUBPROTOCOLS: Final = (b"mqtt", b"mqttv3.1", b"mqttv5.0")

TOKEN: Final = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
CONTROLS: Final = bytes(range(9)) + bytes(range(10, 32)) + b"\x7f"  # all but the tab
ONCE: Final = (b"host", b"origin", b"sec-websocket-key", b"sec-websocket-version")


class HandshakeError(Exception):
    """A request that opens no WebSocket: the status of the HTTP answer, and what was wrong."""

    def __init__(self, status: int, phrase: str) -> None:
        super().__init__(phrase)
        self.status = status
        self.phrase = phrase


class FrameError(Exception):
    """A frame that may not come: the code of the close frame that answers it, and what was wrong."""

    def __init__(self, code: int, phrase: str) -> None:
        super().__init__(phrase)
        self.code = code
        self.phrase = phrase


@final
@mypyc_attr(native_class=True, acyclic=True)
class UpgradeRequest:
    """A request to open a WebSocket that is all right but for its path and origin, which are the listener's matter."""

    def __init__(self, path: bytes, key: bytes, subprotocol: bytes) -> None:
        self.path = path  # without the query
        self.key = key  # as sent, in Base64
        self.subprotocol = subprotocol  # the one chosen
        self.host: bytes = b""
        self.origin: bytes | None = None  # of the page that a browser has asked from; None: no browser
        self.forwarded_for: bytes = b""  # X-Forwarded-For, which anybody may have written

    def same_host(self) -> bool:
        """Whether it comes from a page of the host that it goes to, whatever the ports."""
        _scheme, separator, place = (self.origin or b"").partition(b"://")
        return bool(separator) and _without_port(place) == _without_port(self.host)


# The handshake


def decode_upgrade(head: bytes) -> UpgradeRequest:
    """The request in `head`, which ends before its empty line. Raises HandshakeError."""
    lines = head.split(b"\r\n")
    target = _target(lines[0])
    fields = _fields(lines[1:])
    if b"host" not in fields:
        raise HandshakeError(BAD_REQUEST, "no Host")
    if fields.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in fields:
        raise HandshakeError(BAD_REQUEST, "a request with a body")
    if b"websocket" not in _tokens(fields, b"upgrade") or b"upgrade" not in _tokens(fields, b"connection"):
        raise HandshakeError(UPGRADE_REQUIRED, "not an upgrade to WebSocket")
    if fields.get(b"sec-websocket-version") != VERSION:
        raise HandshakeError(UPGRADE_REQUIRED, "not version 13 of WebSocket")
    key = fields.get(b"sec-websocket-key", b"")
    if not _is_key(key):
        raise HandshakeError(BAD_REQUEST, "Sec-WebSocket-Key is not 16 bytes in Base64")
    offered = [name.strip(b" \t") for name in fields.get(b"sec-websocket-protocol", b"").split(b",")]
    for subprotocol in SUBPROTOCOLS:  # [MQTT-6.0.0-4]
        if subprotocol in offered:
            request = UpgradeRequest(target.partition(b"?")[0], key, subprotocol)
            request.host = fields[b"host"]
            request.origin = fields.get(b"origin")
            request.forwarded_for = fields.get(b"x-forwarded-for", b"")
            return request
    raise HandshakeError(BAD_REQUEST, "the subprotocol mqtt is not offered")  # [MQTT-6.0.0-3]


def _without_port(place: bytes) -> bytes:
    """The host in `host`, `host:port` or `[address]:port`, in small letters."""
    if place.startswith(b"["):
        return place.partition(b"]")[0].lower()
    return place.partition(b":")[0].lower()


def _target(line: bytes) -> bytes:
    parts = line.split(b" ")
    if len(parts) != 3 or not parts[1].startswith(b"/") or parts[1].translate(None, CONTROLS) != parts[1]:
        raise HandshakeError(BAD_REQUEST, "not an HTTP request")
    if parts[2] != b"HTTP/1.1":
        raise HandshakeError(BAD_REQUEST, "not HTTP/1.1")
    if parts[0] != b"GET":
        raise HandshakeError(METHOD_NOT_ALLOWED, "not a GET")
    return parts[1]


def _fields(lines: list[bytes]) -> dict[bytes, bytes]:
    """The header fields by lower-case name; values of one that comes several times are joined by commas."""
    fields: dict[bytes, bytes] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not name or name.translate(None, TOKEN) or value.translate(None, CONTROLS) != value:
            raise HandshakeError(BAD_REQUEST, "a malformed header field")
        name = name.lower()
        value = value.strip(b" \t")
        if name in fields:
            if name in ONCE:
                raise HandshakeError(BAD_REQUEST, "a header field that may come only once came twice")
            value = fields[name] + b"," + value
        fields[name] = value
    return fields


def _tokens(fields: dict[bytes, bytes], name: bytes) -> list[bytes]:
    return [token.strip(b" \t").lower() for token in fields.get(name, b"").split(b",")]


def _is_key(key: bytes) -> bool:
    try:
        return len(key) == 24 and len(a2b_base64(key, strict_mode=True)) == KEY_BYTES
    except Base64Error:
        return False


def accept_key(key: bytes) -> bytes:
    """What proves to the client that its key was read, section 4.2.2."""
    return b2a_base64(sha1(key + KEY_SUFFIX, usedforsecurity=False).digest(), newline=False)


def encode_accept(request: UpgradeRequest) -> bytes:
    """The answer that opens the WebSocket."""
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
        + accept_key(request.key)
        + b"\r\nSec-WebSocket-Protocol: "
        + request.subprotocol
        + b"\r\n\r\n"
    )


def encode_refusal(error: HandshakeError) -> bytes:
    """The answer to a request that opens none; what was wrong is its text."""
    body = error.phrase + "\n"
    more = ""
    if error.status == UPGRADE_REQUIRED:
        more = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    elif error.status == METHOD_NOT_ALLOWED:
        more = "Allow: GET\r\n"
    connection = "Upgrade, close" if error.status == UPGRADE_REQUIRED else "close"
    return (
        f"HTTP/1.1 {error.status} {REASONS[error.status]}\r\nConnection: {connection}\r\n{more}"
        f"Content-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


# Frames


def decode_frame_header(data: bytes, pos: i64, end: i64) -> tuple[i64, i64]:
    """The header of a client's frame at `pos`: the length of its payload, and the index of the first byte of that.

    The index is 0 where the header is not complete. The four bytes in front of it are the masking key. Raises
    FrameError as soon as the bytes that are there are wrong.
    """
    first: i64 = data[pos]
    opcode = first & 0x0F
    if first & RESERVED:
        raise FrameError(PROTOCOL_ERROR, "reserved bits without an extension")
    if opcode == TEXT:
        raise FrameError(UNSUPPORTED_DATA, "a text frame")  # [MQTT-6.0.0-1]
    if opcode > PONG or BINARY < opcode < CLOSE:
        raise FrameError(PROTOCOL_ERROR, "an unknown opcode")
    if pos + 1 >= end:
        return 0, 0
    length: i64 = data[pos + 1]
    if not length & MASKED:
        raise FrameError(PROTOCOL_ERROR, "a frame without a mask")
    length &= 0x7F
    if opcode >= CLOSE and (length > CONTROL_BYTES_MAX or not first & FIN):
        raise FrameError(PROTOCOL_ERROR, "a control frame that is too long, or in pieces")
    start = pos + 6
    if length == 126:
        start = pos + 8
        if pos + 4 > end:
            return 0, 0
        length = int.from_bytes(data[pos + 2 : pos + 4], "big")
        if length < 126:
            raise FrameError(PROTOCOL_ERROR, "a length in more bytes than it needs")
    elif length == 127:
        start = pos + 14
        if pos + 10 > end:
            return 0, 0
        if data[pos + 2] & 0x80:
            raise FrameError(PROTOCOL_ERROR, "a length of more than 63 bits")
        length = int.from_bytes(data[pos + 2 : pos + 10], "big")
        if length < 65_536:
            raise FrameError(PROTOCOL_ERROR, "a length in more bytes than it needs")
    if start > end:
        return 0, 0
    return length, start


def unmask(data: bytes, key: bytes) -> bytes:
    """`data` with its mask taken off, or put on; `key` begins with the byte for the first one.

    One exclusive or of two long numbers: the only way over many bytes in Python that looks at none of them.
    """
    length = len(data)
    mask = (key * (length // 4 + 1))[:length]
    return (int.from_bytes(data, "little") ^ int.from_bytes(mask, "little")).to_bytes(length, "little")


def encode_frame_header(opcode: int, length: i64) -> bytes:
    """The header of an unmasked frame that is a message of its own."""
    if length < 126:
        return bytes((FIN | opcode, int(length)))
    if length < 65_536:
        return bytes((FIN | opcode, 126)) + int(length).to_bytes(2, "big")
    return bytes((FIN | opcode, 127)) + int(length).to_bytes(8, "big")


def encode_close(code: int) -> bytes:
    """A close frame; 0: one without a code."""
    if code == 0:
        return encode_frame_header(CLOSE, 0)
    return encode_frame_header(CLOSE, 2) + code.to_bytes(2, "big")


def decode_close(payload: bytes) -> int:
    """The code of a close frame; 0 where it has none. Raises FrameError."""
    if not payload:
        return 0
    if len(payload) == 1:
        raise FrameError(PROTOCOL_ERROR, "half a close code")
    code = payload[0] * 256 + payload[1]
    if not (1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999):
        raise FrameError(PROTOCOL_ERROR, "a close code that may not be sent")
    try:
        payload[2:].decode("utf-8")
    except UnicodeDecodeError:
        raise FrameError(INVALID_DATA, "a close reason that is not UTF-8") from None
    return code
