"""WebSocket below MQTT: the layer of a connection that came by a WebSocket listener, RFC 6455.

Frames carry a stream of bytes: a packet may span several, and one may hold several packets [MQTT-6.0.0-2]. So a
payload is passed up as it arrives, and no frame, however long it says it is, is ever gathered here.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64, mypyc_attr, u8

from swellmq.codec.websocket import (
    BAD_REQUEST,
    BINARY,
    CLOSE,
    CONTINUATION,
    FIN,
    FORBIDDEN,
    GOING_AWAY,
    HEAD_TOO_LARGE,
    INTERNAL_ERROR,
    MESSAGE_TOO_BIG,
    NORMAL_CLOSURE,
    NOT_FOUND,
    PING,
    PONG,
    PROTOCOL_ERROR,
    TRY_AGAIN_LATER,
    FrameError,
    HandshakeError,
    UpgradeRequest,
    decode_close,
    decode_frame_header,
    decode_upgrade,
    encode_accept,
    encode_close,
    encode_frame_header,
    encode_refusal,
    unmask,
)
from swellmq.connection import Layer
from swellmq.errors import INTERNAL_ERROR as BUG
from swellmq.errors import (
    MALFORMED_PACKET,
    OPEN,
    PACKET_TOO_LARGE,
    PEER_CLOSED,
    REFUSED_FULL,
    SERVER_SHUTTING_DOWN,
    printable,
)
from swellmq.errors import PROTOCOL_ERROR as RULE_BROKEN
from swellmq.limits import WEBSOCKET_FRAME_BYTES, WEBSOCKET_HEAD_BYTES
from swellmq.net.listener import address_number
from swellmq.net.peers import peer_of

# The close code for a reason of ours to close; NORMAL_CLOSURE for others, where MQTT has said what there is to say.
CLOSE_CODES: Final = {
    MALFORMED_PACKET: PROTOCOL_ERROR,
    RULE_BROKEN: PROTOCOL_ERROR,
    PACKET_TOO_LARGE: MESSAGE_TOO_BIG,
    REFUSED_FULL: TRY_AGAIN_LATER,
    SERVER_SHUTTING_DOWN: GOING_AWAY,
    BUG: INTERNAL_ERROR,
}


@final
@mypyc_attr(native_class=True, acyclic=True)
class WebSocketTerms:
    """What a listener serves: `paths` of the URL, or any by `*`; pages of `origins`, any by `*`, and those of the host
    itself where there are none; and the networks of HTTP proxies that are believed about their clients' addresses."""

    def __init__(self, paths: list[bytes], origins: list[bytes], proxies: list[tuple[int, int]]) -> None:
        self.paths = paths
        self.origins = origins
        self.proxies = proxies

    def check(self, request: UpgradeRequest) -> None:
        """Raise HandshakeError where a request is not served."""
        if request.path not in self.paths and b"*" not in self.paths:
            raise HandshakeError(NOT_FOUND, "no MQTT on this path")
        origin = request.origin
        if origin is not None and b"*" not in self.origins and origin not in self.origins:
            if self.origins or not request.same_host():
                page = printable(origin.decode("utf-8", "replace"))
                raise HandshakeError(FORBIDDEN, f"pages of {page} may not come here (listener.origins)")

    def client_address(self, peer: str, forwarded_for: bytes) -> str:
        """Where a client comes from, for a connection from `peer`: the last address in the list that is no proxy's,
        since only proxies are believed about whom they have heard. "": from `peer`."""
        address = ""
        words = forwarded_for.decode("ascii", "replace").split(",")
        words.append(peer)
        while words and (not address or self.is_proxy(address)):
            found = _address_in(words.pop())
            if not found:
                break
            address = found
        return address if address != peer else ""

    def is_proxy(self, address: str) -> bool:
        """Whether one of the proxies has a numeric address."""
        number = address_number(address)
        return any(number & mask == network for network, mask in self.proxies)


@final
@mypyc_attr(native_class=True, acyclic=True)
class WebSocketLayer(Layer):
    """One connection's WebSocket, from the request that opens it to its close frame."""

    def __init__(self, terms: WebSocketTerms) -> None:
        self.reason: u8 = OPEN
        self.phrase: str = ""
        self.terms = terms
        self.upgraded: bool = False  # frames, no more HTTP
        self.said_close: bool = False
        self.fragmented: bool = False  # a message goes on in the next frame
        self.rest: bytes = b""  # an incomplete head, frame header or control frame
        self.key: bytes = b""  # of the frame under way, turned so that the next byte's is first
        self.remaining: i64 = 0  # bytes of its payload that are still to come
        self.own: list[bytes] = []  # to be sent in front of all else: the answer to the request
        self.pong: bytes | None = None  # a ping is answered, the last of several, section 5.5.3
        self.peer: str = ""  # whose connection it is, where that may be a proxy
        self.client: str = ""  # for whom a proxy has made it
        self.goodbye: bytes = b""  # the close frame, behind all else, section 5.5.1: it leaves once this ends
        self.ended: bool = False

    def fresh(self) -> Layer:
        """A new one by the same terms."""
        return WebSocketLayer(self.terms)

    def meet(self, fd: int) -> None:
        """Note who may be a proxy."""
        if self.terms.proxies:
            self.peer = peer_of(fd)

    def address(self) -> str:
        """Where the client is, as a proxy has said."""
        return self.client

    def owes(self) -> bool:
        """Whether an answer, a pong or a close frame is to be sent."""
        return bool(self.own) or self.pong is not None or (self.ended and bool(self.goodbye))

    # Up

    def received(self, data: bytes) -> bytes:
        """The MQTT bytes in what was read. Once something was wrong all that follows is ignored."""
        if self.reason != OPEN:
            return b""
        if self.rest:
            data = self.rest + data
            self.rest = b""
        pieces: list[bytes] = []
        try:
            if not self.upgraded:
                data = self._read_head(data)
            if self.upgraded:
                self._read_frames(data, pieces)
        except HandshakeError as refusal:
            self.own.append(encode_refusal(refusal))
            self._fail(refusal.phrase)
        except FrameError as error:  # another name: compiled code gives a variable one type
            self._say_close(error.code)
            self._fail(error.phrase)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _fail(self, phrase: str) -> None:
        self.reason = RULE_BROKEN
        self.phrase = phrase

    def _say_close(self, code: int) -> None:
        if not self.said_close:
            self.said_close = True
            self.goodbye = encode_close(code)

    def _read_head(self, data: bytes) -> bytes:
        """Answer the request once it is complete; the bytes behind it."""
        end = data.find(b"\r\n\r\n", 0, WEBSOCKET_HEAD_BYTES)
        if end < 0:
            if not 65 <= data[0] <= 90:  # A to Z: whoever speaks MQTT here learns it before the deadline
                raise HandshakeError(BAD_REQUEST, "not an HTTP request")
            if len(data) >= WEBSOCKET_HEAD_BYTES:
                raise HandshakeError(HEAD_TOO_LARGE, "a request head of more than 8 KiB")
            self.rest = data
            return b""
        request = decode_upgrade(data[:end])
        self.terms.check(request)
        if self.peer and request.forwarded_for:
            self.client = self.terms.client_address(self.peer, request.forwarded_for)
        self.own.append(encode_accept(request))
        self.upgraded = True
        return data[end + 4 :]

    def _read_frames(self, data: bytes, pieces: list[bytes]) -> None:
        """Put the payloads in `data` into `pieces`, and act on control frames."""
        pos: i64 = 0
        end: i64 = len(data)
        while pos < end:
            if self.remaining:
                pos = self._take_payload(data, pos, end, pieces)
                continue
            length, start = decode_frame_header(data, pos, end)
            first: i64 = data[pos]
            opcode = first & 0x0F
            if opcode >= CLOSE:
                if start == 0 or start + length > end:
                    self.rest = data[pos:]
                    return
                self._on_control(opcode, unmask(data[start : start + length], data[start - 4 : start]))
                if self.reason != OPEN:
                    return
                pos = start + length
                continue
            if (opcode == CONTINUATION) != self.fragmented:
                raise FrameError(PROTOCOL_ERROR, "a continuation of nothing, or a message within another")
            if start == 0:
                self.rest = data[pos:]
                return
            self.fragmented = not first & FIN
            self.key = data[start - 4 : start]
            self.remaining = length
            pos = start

    def _take_payload(self, data: bytes, pos: i64, end: i64, pieces: list[bytes]) -> i64:
        """Unmask what is there of the frame under way; where it ends."""
        count = min(self.remaining, end - pos)
        key = self.key
        pieces.append(unmask(data[pos : pos + count], key))
        turned = count & 3
        self.key = key[turned:] + key[:turned]
        self.remaining -= count
        return pos + count

    def _on_control(self, opcode: i64, payload: bytes) -> None:
        if opcode == PING:
            self.pong = encode_frame_header(PONG, len(payload)) + payload
        elif opcode == CLOSE:
            self._say_close(decode_close(payload))
            self.reason = PEER_CLOSED

    # Down

    def framed(self, pieces: list[bytes]) -> list[bytes]:
        """The pieces in binary frames, each of whole pieces, with what is owed around them."""
        framed = self.own
        self.own = []
        if self.pong is not None:
            framed.append(self.pong)
            self.pong = None
        begin = 0
        while begin < len(pieces):
            total: i64 = len(pieces[begin])
            after = begin + 1
            while after < len(pieces) and total + len(pieces[after]) <= WEBSOCKET_FRAME_BYTES:
                total += len(pieces[after])
                after += 1
            framed.append(encode_frame_header(BINARY, total))  # [MQTT-6.0.0-1]
            framed += pieces[begin:after]
            begin = after
        if self.ended and self.goodbye:
            framed.append(self.goodbye)
            self.goodbye = b""
        return framed

    def finish(self, reason: u8) -> None:
        """Say with which code the broker closes, where the WebSocket is open and nothing was said yet."""
        self.ended = True
        if self.upgraded and reason != PEER_CLOSED:
            self._say_close(CLOSE_CODES.get(int(reason), NORMAL_CLOSURE))


def _address_in(word: str) -> str:
    """The numeric address in an element of X-Forwarded-For, perhaps with a port; "" where it is none."""
    word = word.strip()
    if word.startswith("["):
        word = word[1:].partition("]")[0]
    elif word.count(":") == 1:
        word = word.partition(":")[0]
    try:
        address_number(word)
    except (OSError, ValueError):
        return ""
    return word
