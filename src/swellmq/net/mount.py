"""A mount point: all topics of a listener's clients lie below a prefix that these never see.

PUBLISH is changed here, on its way in and out, so that no message of other listeners pays for it. Filters and wills are
mounted by the broker (`Rules.mounted`). The size of a packet is judged with the prefix in it.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64, mypyc_attr

from swellmq.codec.decode import header_length, packet_length
from swellmq.codec.encode import packet_head
from swellmq.codec.spec import PUBLISH, REMAINING_LENGTH_MAX
from swellmq.connection import Layer
from swellmq.errors import MALFORMED_PACKET, OPEN, MalformedPacket
from swellmq.net.stacked import Stacked

HEADER_BYTES_MAX: Final = 5
TOPIC_BYTES_MAX: Final = 65_535


@final
@mypyc_attr(native_class=True, acyclic=True)
class MountLayer(Stacked):
    """What stands above all other layers of one connection."""

    def __init__(self, mount_point: bytes, below: Layer | None) -> None:
        super().__init__(below)
        self.mount_point = mount_point
        self.rest: bytes = b""  # the start of a packet, too short to be mounted
        self.passing: i64 = 0  # bytes of the packet under way that go on as they are
        self.lost: bool = False  # no packets can be told apart any more: the broker will say so

    def fresh(self) -> Layer:
        """A new one for the same mount point."""
        return MountLayer(self.mount_point, self.other.fresh() if self.other is not None else None)

    def received(self, data: bytes) -> bytes:
        """What was read, with the mount point in front of each topic name. An empty one stands for an alias, or is a
        fault."""
        if self.reason != OPEN:
            return b""
        data = self.pass_on(data)
        if self.lost or not data:
            return data
        if self.rest:
            data = self.rest + data
            self.rest = b""
        end: i64 = len(data)
        if self.passing >= end:
            self.passing -= end
            return data
        pieces: list[bytes] = []
        pos: i64 = 0
        while pos < end:
            if self.passing:
                count = min(self.passing, end - pos)
                pieces.append(data[pos : pos + count])
                self.passing -= count
                pos += count
                continue
            pos = self._begin(data, pos, end, pieces)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _begin(self, data: bytes, pos: i64, end: i64, pieces: list[bytes]) -> i64:
        """Pass the start of the packet at `pos`, mounted; the position behind it."""
        length: i64 = 0
        shift: i64 = 1
        body = pos + 1
        while True:
            if body == end:
                self.rest = data[pos:]
                return end
            byte: i64 = data[body]
            length += (byte & 127) * shift
            shift *= 128
            body += 1
            if byte < 128:
                break
            if body - pos == HEADER_BYTES_MAX:
                self.lost = True
                pieces.append(data[pos:])
                return end
        first: i64 = data[pos]
        if first >> 4 == PUBLISH and length >= 2:
            if body + 2 > end:
                self.rest = data[pos:]
                return end
            high: i64 = data[body]
            low: i64 = data[body + 1]
            topic = high * 256 + low
            if topic:
                more: i64 = len(self.mount_point)
                if topic + more > TOPIC_BYTES_MAX or length + more > REMAINING_LENGTH_MAX:
                    self.reason = MALFORMED_PACKET
                    self.phrase = "a topic name that is too long below the mount point"
                    return end
                topic += more
                pieces.append(packet_head(int(first), int(length + more)))
                pieces.append(bytes([int(topic // 256), int(topic % 256)]) + self.mount_point)
                self.passing = length - 2
                return body + 2
        pieces.append(data[pos:body])
        self.passing = length
        return body

    def framed(self, pieces: list[bytes]) -> list[bytes]:
        """What is sent, each piece whole packets, without the mount point in topic names."""
        stripped = [self._strip(piece) for piece in pieces]
        return self.other.framed(stripped) if self.other is not None else stripped

    def _strip(self, piece: bytes) -> bytes:
        mount_point = self.mount_point
        more: i64 = len(mount_point)
        kept: list[bytes] = []
        begin: i64 = 0  # of what is to be kept as it is
        pos: i64 = 0
        end: i64 = len(piece)
        while pos < end:
            total = _total(piece, pos, end)
            first: i64 = piece[pos]
            if first >> 4 == PUBLISH:
                body = pos + header_length(total)
                if piece.startswith(mount_point, body + 2):  # others are of a session that was elsewhere before
                    high: i64 = piece[body]
                    low: i64 = piece[body + 1]
                    topic = high * 256 + low - more
                    if topic > 0:  # the mount point alone can have no shorter name
                        kept.append(piece[begin:pos] + packet_head(int(first), int(pos + total - body - more)))
                        kept.append(bytes([int(topic // 256), int(topic % 256)]))
                        begin = body + 2 + more
            pos += total
        if not begin:
            return piece
        kept.append(piece[begin:])
        return b"".join(kept)


def _total(piece: bytes, pos: i64, end: i64) -> i64:
    """The length of a packet of our own."""
    try:
        return packet_length(piece, pos, end)
    except MalformedPacket as error:
        raise AssertionError("a packet of ours") from error
