"""The bytes of WebSocket: requests and their answers, frame headers, masks, close codes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swellmq.codec.websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    FrameError,
    HandshakeError,
    accept_key,
    decode_close,
    decode_frame_header,
    decode_upgrade,
    encode_accept,
    encode_close,
    encode_frame_header,
    encode_refusal,
    unmask,
)

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="  # of RFC 6455, section 1.3
FIELDS = {
    "Host": "broker",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY.decode(),
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Protocol": "mqtt",
}
LENGTHS = [0, 1, 125, 126, 127, 65_535, 65_536, 1 << 32, (1 << 63) - 1]
keys = st.binary(min_size=4, max_size=4)


def head(line: str = "GET /mqtt HTTP/1.1", *more: str, **fields: str | None) -> bytes:
    """A request without its empty line; a field by its name in lower case without dashes, None leaves it out."""
    given = {name: fields.get(name.lower().replace("-", ""), value) for name, value in FIELDS.items()}
    lines = [line, *(f"{name}: {value}" for name, value in given.items() if value is not None), *more]
    return "\r\n".join(lines).encode("latin-1")


def masked(first: int, payload: bytes, key: bytes = b"\x37\xfa\x21\x3d") -> bytes:
    """A frame as a client sends it."""
    header = bytearray(encode_frame_header(0, len(payload)))
    header[0] = first
    header[1] |= 0x80
    return bytes(header) + key + unmask(payload, key)


# The handshake


def test_accept_key_of_the_rfc() -> None:
    assert accept_key(KEY) == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_upgrade() -> None:
    request = decode_upgrade(head())
    assert (request.path, request.key, request.subprotocol) == (b"/mqtt", KEY, b"mqtt")
    assert encode_accept(request) == (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("request_head", "path", "subprotocol"),
    [
        (head("GET / HTTP/1.1"), b"/", b"mqtt"),
        (head("GET /a/b?token=1 HTTP/1.1"), b"/a/b", b"mqtt"),
        (head(upgrade="foo, WebSocket", connection="keep-alive , UPGRADE"), b"/mqtt", b"mqtt"),
        (head(secwebsocketprotocol="mqttv3.1"), b"/mqtt", b"mqttv3.1"),
        (head(secwebsocketprotocol="other,mqttv5.0"), b"/mqtt", b"mqttv5.0"),
        (head(secwebsocketprotocol="mqttv3.1, mqtt"), b"/mqtt", b"mqtt"),
        (head("GET /mqtt HTTP/1.1", "sec-websocket-protocol:mqtt", secwebsocketprotocol="x"), b"/mqtt", b"mqtt"),
        (head("GET /mqtt HTTP/1.1", "Content-Length: 0", "Cookie: caf\xe9"), b"/mqtt", b"mqtt"),
        (head("GET /mqtt HTTP/1.1", "Sec-WebSocket-Extensions: permessage-deflate"), b"/mqtt", b"mqtt"),
    ],
)
def test_upgrade_is_read(request_head: bytes, path: bytes, subprotocol: bytes) -> None:  # [MQTT-6.0.0-4]
    request = decode_upgrade(request_head)
    assert (request.path, request.subprotocol) == (path, subprotocol)


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (b"", 400),
        (b"\x10\x0c\x00\x04MQTT", 400),
        (head("GET /mqtt"), 400),
        (head("GET  /mqtt HTTP/1.1"), 400),
        (head("GET mqtt HTTP/1.1"), 400),
        (head("GET /m\tqtt\x00 HTTP/1.1"), 400),
        (head("GET /mqtt HTTP/1.0"), 400),
        (head("POST /mqtt HTTP/1.1"), 405),
        (head(host=None), 400),
        (head("GET /mqtt HTTP/1.1", "Host: another"), 400),
        (head("GET /mqtt HTTP/1.1", "no colon"), 400),
        (head("GET /mqtt HTTP/1.1", ": no name"), 400),
        (head("GET /mqtt HTTP/1.1", "Space : before"), 400),
        (head("GET /mqtt HTTP/1.1", " folded: line"), 400),
        (head("GET /mqtt HTTP/1.1", "Line: \nfeed"), 400),
        (head("GET /mqtt HTTP/1.1", "Content-Length: 5"), 400),
        (head("GET /mqtt HTTP/1.1", "Transfer-Encoding: chunked"), 400),
        (head(upgrade=None), 426),
        (head(upgrade="h2c"), 426),
        (head(connection="keep-alive"), 426),
        (head(secwebsocketversion=None), 426),
        (head(secwebsocketversion="8"), 426),
        (head("GET /mqtt HTTP/1.1", "Sec-WebSocket-Version: 13"), 400),
        (head(secwebsocketkey=None), 400),
        (head(secwebsocketkey="dGhlIHNhbXBsZSBub25jZQ="), 400),
        (head(secwebsocketkey="!" * 24), 400),
        (head(secwebsocketkey="A" * 24), 400),
        (head(secwebsocketprotocol=None), 400),  # [MQTT-6.0.0-3]
        (head(secwebsocketprotocol="MQTT, wamp"), 400),
    ],
)
def test_upgrade_is_refused(request_head: bytes, status: int) -> None:
    with pytest.raises(HandshakeError) as refused:
        decode_upgrade(request_head)
    assert refused.value.status == status
    answer, _, body = encode_refusal(refused.value).partition(b"\r\n\r\n")
    lines = answer.split(b"\r\n")
    assert lines[0].startswith(b"HTTP/1.1 %d " % status)
    assert b"Content-Length: %d" % len(body) in lines
    assert (b"Sec-WebSocket-Version: 13" in lines) == (status == 426)
    assert (b"Allow: GET" in lines) == (status == 405)


@given(st.binary(max_size=200), st.integers(0, 250), st.integers(0, 20))
def test_any_change_of_a_request_is_read_or_refused(noise: bytes, place: int, cut: int) -> None:
    request_head = head()
    changed = request_head[:place] + noise + request_head[place + cut :]
    try:
        subprotocol, status = decode_upgrade(changed).subprotocol, 101
    except HandshakeError as error:
        subprotocol, status = b"", error.status
    assert status in (400, 405, 426) or subprotocol in (b"mqtt", b"mqttv3.1", b"mqttv5.0")


# Frames


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("first", [0x80 | BINARY, BINARY, CONTINUATION])
def test_frame_header_at_every_split(first: int, length: int) -> None:
    server = encode_frame_header(BINARY, length)
    client = bytes([first, server[1] | 0x80]) + server[2:] + b"mask"
    for end in range(1, len(client)):
        assert decode_frame_header(client[:end], 0, end) == (0, 0)
    assert decode_frame_header(client + b"payload", 0, len(client) + 7) == (length, len(client))
    assert decode_frame_header(b"before" + client, 6, len(client) + 6) == (length, len(client) + 6)


def test_frame_headers_byte_by_byte() -> None:
    assert encode_frame_header(BINARY, 2) == b"\x82\x02"
    assert encode_frame_header(PONG, 125) == b"\x8a\x7d"
    assert encode_frame_header(BINARY, 126) == b"\x82\x7e\x00\x7e"
    assert encode_frame_header(BINARY, 65_536) == b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\xc2", 1002),  # reserved bits
        (b"\x92", 1002),
        (b"\x83", 1002),  # unknown opcodes
        (b"\x8b", 1002),
        (b"\x81", 1003),  # text [MQTT-6.0.0-1]
        (b"\x01\x85mask", 1003),
        (b"\x82\x05", 1002),  # no mask
        (b"\x82\x7e", 1002),
        (b"\x09\x80", 1002),  # control frames in pieces, or too long
        (b"\x89\xfe", 1002),
        (b"\x88\xff", 1002),
        (b"\x82\xfe\x00\x7d", 1002),  # lengths in more bytes than they need
        (b"\x82\xff\x00\x00\x00\x00\x00\x00\xff\xff", 1002),
        (b"\x82\xff\x80\x00\x00\x00\x00\x01\x00\x00", 1002),  # 64 bits
    ],
)
def test_bad_frame_header(data: bytes, code: int) -> None:
    with pytest.raises(FrameError) as raised:
        decode_frame_header(data, 0, len(data))
    assert raised.value.code == code


@given(st.binary(max_size=300), keys)
def test_unmask(data: bytes, key: bytes) -> None:
    plain = bytes(byte ^ key[index % 4] for index, byte in enumerate(data))
    assert unmask(data, key) == plain
    assert unmask(plain, key) == data


@given(st.sampled_from([CONTINUATION, BINARY, CLOSE, PING, PONG]), st.binary(max_size=125), keys)
def test_frame_round_trip(opcode: int, payload: bytes, key: bytes) -> None:
    frame = masked(0x80 | opcode, payload, key)
    length, start = decode_frame_header(frame, 0, len(frame))
    assert unmask(frame[start : start + length], frame[start - 4 : start]) == payload


@given(st.binary(min_size=1, max_size=16))
def test_any_bytes_are_a_header_or_refused(data: bytes) -> None:
    code = length = start = 0
    try:
        length, start = decode_frame_header(data, 0, len(data))
    except FrameError as error:
        code = error.code
    assert code in (0, 1002, 1003)
    assert length >= 0 and (start == 0 or 6 <= start <= len(data))


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1011, 1014, 3000, 4999])
def test_close_codes(code: int) -> None:
    assert decode_close(encode_close(code)[2:]) == code
    assert decode_close(encode_close(code)[2:] + "schlüss".encode()) == code


def test_close_without_a_code() -> None:
    assert encode_close(0) == b"\x88\x00"
    assert decode_close(b"") == 0


@pytest.mark.parametrize(
    ("payload", "code"),
    [(b"\x03", 1002), (b"\x03\xe8\xff", 1007)]
    + [(bad.to_bytes(2, "big"), 1002) for bad in (0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65_535)],
)
def test_bad_close(payload: bytes, code: int) -> None:
    with pytest.raises(FrameError) as raised:
        decode_close(payload)
    assert raised.value.code == code
