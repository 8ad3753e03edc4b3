"""WebSocket as a client speaks it: the request, its answer, and frames."""

from __future__ import annotations

from swellmq.codec.websocket import BINARY, encode_frame_header, unmask

FIN = 0x80
REQUEST = (
    b"GET /mqtt HTTP/1.1\r\nHost: broker\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: mqtt\r\n\r\n"
)
ACCEPTED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
)


def masked(payload: bytes, opcode: int = BINARY, fin: bool = True, key: bytes = b"\x37\xfa\x21\x3d") -> bytes:
    """A frame as a client sends it."""
    header = bytearray(encode_frame_header(opcode, len(payload)))
    header[0] = (FIN if fin else 0) | opcode
    header[1] |= 0x80
    return bytes(header) + key + unmask(payload, key)


def frames(data: bytes) -> list[tuple[int, bytes]]:
    """The server's frames in `data`, opcode and payload, all whole."""
    found: list[tuple[int, bytes]] = []
    pos = 0
    while pos < len(data):
        assert data[pos] & 0x70 == 0 and data[pos] & FIN
        length, start = data[pos + 1], pos + 2
        if length >= 126:
            start += 2 if length == 126 else 8
            length = int.from_bytes(data[pos + 2 : start], "big")
        assert start + length <= len(data), "half a frame"
        found.append((data[pos] & 0x0F, data[start : start + length]))
        pos = start + length
    return found
