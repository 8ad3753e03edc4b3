"""What a hostile client sends: attacks as lists of bytes, made by chance from a seed. No sockets here.

Each attack is MQTT, or something that was MQTT before it was broken; `hostile.py` puts it on a transport. The same
seed and number give the same bytes.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

VERSIONS: Final = (3, 4, 5)
LEVELS: Final = (b"a", b"b", b"c", b"", b"sensor", b"\xc3\xbc", b"$SYS", b"long" * 20)
FILTER_LEVELS: Final = (*LEVELS, b"+", b"+")
GIANT: Final = 3_000_000  # of a packet that is sent whole
CLIENT_IDS: Final = 200  # many attacks share these, and take them from each other


@dataclass
class Attack:
    """What is sent, piece by piece, and how its connection ends."""

    kind: str
    pieces: list[bytes] = field(default_factory=list)
    end: str = "close"  # or "reset", "half" (one side is shut down), "hold" (it stays, and trickles what is left)
    reads: bool = True  # whether it takes what is sent to it


# Packets


def variable(number: int) -> bytes:
    """A Variable Byte Integer."""
    encoded = b""
    while number > 127:
        encoded += bytes([number & 127 | 128])
        number >>= 7
    return encoded + bytes([number])


def text(value: bytes) -> bytes:
    return struct.pack(">H", len(value) & 0xFFFF) + value[:65_535]


def packet(first: int, body: bytes) -> bytes:
    return bytes([first]) + variable(len(body)) + body


class Chance:
    """Makes attacks. `number` names each of them, so that one can be made again alone."""

    def __init__(self, seed: str) -> None:
        self.random = random.Random(seed)
        self.version = self.random.choice(VERSIONS)

    # Parts

    def properties(self, data: bytes = b"") -> bytes:
        return variable(len(data)) + data if self.version == 5 else b""

    def client_id(self) -> bytes:
        return b"hostile-%d" % self.random.randrange(CLIENT_IDS)

    def topic(self, levels: tuple[bytes, ...] = LEVELS) -> bytes:
        return b"/".join(self.random.choices(levels, k=self.random.choice((1, 2, 3, 3, 5, 30))))

    def topic_filter(self) -> bytes:
        share = b"$share/g%d/" % self.random.randrange(3) if self.random.random() < 0.2 else b""
        end = self.random.choice((b"", b"", b"/#"))
        return share + self.topic(FILTER_LEVELS) + end

    def user_properties(self, count: int) -> bytes:
        return (b"\x26" + text(b"k") + text(b"v" * self.random.choice((0, 1, 30)))) * count

    def connect(
        self, client_id: bytes | None = None, will: bytes = b"", data: bytes = b"", keep_alive: int = 0
    ) -> bytes:
        flags = self.random.choice((0, 2)) | (4 | self.random.randrange(3) << 3 | self.random.randrange(2) << 5) * bool(
            will
        )
        head = text(b"MQIsdp" if self.version == 3 else b"MQTT") + bytes([self.version, flags])
        body = head + struct.pack(">H", keep_alive) + self.properties(data)
        body += text(self.client_id() if client_id is None else client_id)
        if will:
            body += self.properties(b"\x18\0\0\0\x01" * self.random.randrange(2)) + text(will) + text(b"gone")
        return packet(0x10, body)

    def publish(self, topic: bytes, payload: bytes = b"", data: bytes = b"") -> bytes:
        qos = self.random.randrange(3)
        number = struct.pack(">H", self.random.randrange(1, 100)) if qos else b""
        retain = self.random.random() < 0.2
        return packet(0x30 | qos << 1 | retain, text(topic) + number + self.properties(data) + payload)

    def subscribe(self, filters: list[bytes], data: bytes = b"") -> bytes:
        requests = b"".join(text(one) + bytes([self.random.randrange(3)]) for one in filters)
        return packet(0x82, struct.pack(">H", self.random.randrange(1, 100)) + self.properties(data) + requests)

    def unsubscribe(self, filters: list[bytes]) -> bytes:
        return packet(0xA2, b"\0\x07" + self.properties() + b"".join(text(one) for one in filters))

    def ack(self) -> bytes:
        return bytes([self.random.choice((0x40, 0x50, 0x62, 0x70)), 2]) + struct.pack(
            ">H", self.random.randrange(1, 100)
        )

    def conversation(self) -> list[bytes]:
        """A valid session of some packets, CONNECT first."""
        packets = [self.connect(will=self.topic() if self.random.random() < 0.3 else b"")]
        for _ in range(self.random.randrange(1, 12)):
            kind = self.random.randrange(6)
            if kind == 0:
                packets.append(self.subscribe([self.topic_filter() for _ in range(self.random.randrange(1, 4))]))
            elif kind == 1:
                packets.append(self.unsubscribe([self.topic_filter()]))
            elif kind == 2:
                packets.append(self.ack())
            elif kind == 3:
                packets.append(self.random.choice((b"\xc0\0", b"\xe0\0", b"\xf0\0", b"\xc0\0")))
            else:
                packets.append(self.publish(self.topic(), self.random.randbytes(self.random.choice((0, 1, 40, 3_000)))))
        return packets

    def end(self) -> str:
        return self.random.choice(("close", "close", "reset", "half", "hold"))

    # Attacks

    def attack(self) -> Attack:
        """One, of any kind."""
        make: Callable[[], Attack] = self.random.choices(
            (
                self.mutated,
                self.mutated,
                self.valid,
                self.rubbish,
                self.truncated,
                self.giant,
                self.pretended_giant,
                self.property_flood,
                self.topic_bomb,
                self.subscription_bomb,
                self.crossed_filters,
                self.filters_of_many_levels,
                self.identifiers,
                self.takeovers,
                self.wills,
                self.retained,
                self.aliases,
                self.pings,
                self.slow_reader,
                self.silent,
                self.trickle,
            ),
            weights=(8, 8, 4, 4, 4, 1, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 1, 1, 1, 2, 3),
        )[0]
        return make()

    def mutated(self) -> Attack:
        """A valid session with some bytes changed, cut out, put in or doubled."""
        data = bytearray(b"".join(self.conversation()))
        for _ in range(self.random.randrange(1, 6)):
            place = self.random.randrange(len(data))
            kind = self.random.randrange(5)
            if kind == 0:
                data[place] = self.random.randrange(256)
            elif kind == 1:
                data[place] ^= 1 << self.random.randrange(8)
            elif kind == 2:
                del data[place : place + self.random.randrange(1, 5)]
                data += b"\0"
            elif kind == 3:
                data[place:place] = self.random.randbytes(self.random.randrange(1, 9))
            else:
                data[place:place] = data[place : place + self.random.randrange(1, 60)]
        return Attack("mutated", self.split(bytes(data)), self.end())

    def split(self, data: bytes) -> list[bytes]:
        """In some pieces, or in one."""
        if self.random.random() < 0.5:
            return [data]
        cuts = sorted(self.random.randrange(len(data) + 1) for _ in range(self.random.randrange(1, 6)))
        return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]

    def valid(self) -> Attack:
        return Attack("valid", self.conversation(), self.end())

    def rubbish(self) -> Attack:
        hello = [self.connect()] if self.random.random() < 0.5 else []
        return Attack(
            "rubbish", [*hello, self.random.randbytes(self.random.choice((1, 2, 5, 30, 3_000, 200_000)))], self.end()
        )

    def truncated(self) -> Attack:
        data = b"".join(self.conversation())
        return Attack("truncated", [data[: self.random.randrange(len(data))]], self.end())

    def giant(self) -> Attack:
        """A packet of some MB, sent whole, to itself."""
        size = self.random.choice((65_536, 524_288, GIANT))
        topic = self.topic()
        return Attack("giant", [self.connect(), self.subscribe([topic]), self.publish(topic, bytes(size))])

    def pretended_giant(self) -> Attack:
        """A packet that says it is huge, and is not; CONNECTs among them."""
        first = self.random.choice((0x10, 0x30, 0x32, 0x82, 0xA2, 0xE0))
        length = self.random.choice(
            (b"\xff\xff\xff\x7f", b"\xff\xff\x1f", b"\x80\x80\x80\x80", b"\xff\xff\xff\xff\xff")
        )
        hello = [] if first == 0x10 else [self.connect()]
        return Attack(
            "pretended giant",
            [*hello, bytes([first]) + length, bytes(self.random.choice((0, 100, 70_000)))],
            self.end(),
        )

    def property_flood(self) -> Attack:
        """As many properties as fit, in all packets that may have some."""
        self.version = 5
        many = self.user_properties(self.random.choice((100, 10_000, 30_000)))
        identifiers = b"\x0b\x01" * 5_000
        where = self.random.randrange(5)
        if where == 0:
            pieces = [self.connect(data=many)]
        elif where == 1:
            pieces = [self.connect(), self.publish(self.topic(), b"x", many)]
        elif where == 2:
            pieces = [self.connect(), self.subscribe([b"#"], many[:60_000]), self.publish(self.topic(), b"x", many)]
        elif where == 3:
            pieces = [self.connect(), self.publish(b"a", b"x", identifiers)]
        else:
            pieces = [self.connect(), packet(0x82, b"\0\x01" + self.properties(identifiers) + text(b"a") + b"\0")]
        return Attack("property flood", pieces, self.end())

    def topic_bomb(self) -> Attack:
        """Topics of 10,000 levels, and of as many as there may be."""
        count = self.random.choice((10_000, 200, 201, 30_000))
        bomb = self.random.choice((b"/", b"a/", b"+/")) * count
        bomb = bomb[:65_535]
        where = self.random.randrange(4)
        if where == 0:
            pieces = [self.connect(will=bomb)]
        elif where == 1:
            pieces = [self.connect(), self.subscribe([bomb])]
        elif where == 2:
            pieces = [self.connect(), self.publish(bomb, b"x")]
        else:
            self.version = 5
            pieces = [self.connect(), self.publish(b"a", b"x", b"\x08" + text(bomb))]
        return Attack("topic bomb", pieces, self.end())

    def subscription_bomb(self) -> Attack:
        """Thousands of filters that overlap, a message for all of them, and none of them any more."""
        filters = [self.topic_filter() for _ in range(self.random.choice((500, 3_000)))]
        messages = [self.publish(self.topic(), b"x") for _ in range(50)]
        pieces = [self.connect(), self.subscribe(filters), *messages]
        if self.random.random() < 0.5:
            pieces.append(self.unsubscribe(filters))
        return Attack("subscription bomb", pieces, self.end())

    def crossed_filters(self) -> Attack:
        """All filters of some levels that are each "a" or "+", so that one message matches them all, and new topics."""
        levels = self.random.choice((8, 11))
        filters = [
            b"/".join(b"+" if number >> level & 1 else b"a" for level in range(levels)) + b"/#"
            for number in range(1 << levels)
        ]
        topic = b"/".join([b"a"] * levels)
        messages = [self.publish(topic + b"/%d" % self.random.randrange(1 << 30), b"x") for _ in range(100)]
        return Attack("crossed filters", [self.connect(), self.subscribe(filters), b"".join(messages)], self.end())

    def filters_of_many_levels(self) -> Attack:
        filters = [b"/".join([b"%d" % self.random.randrange(9)] * 190 + [b"+"]) for _ in range(100)]
        return Attack("filters of many levels", [self.connect(), self.subscribe(filters)], self.end())

    def identifiers(self) -> Attack:
        """Packet identifiers taken and never given back, and acknowledgements of what was never sent."""
        packets = [
            packet(0x34, text(b"a") + struct.pack(">H", number) + self.properties()) for number in range(1, 2_000)
        ]
        acks = [self.ack() for _ in range(300)]
        self.random.shuffle(acks)
        return Attack(
            "identifiers", [self.connect(), self.subscribe([b"a"]), b"".join(packets), b"".join(acks)], self.end()
        )

    def takeovers(self) -> Attack:
        """The same client id within one read; the second CONNECT is a fault, and the id changes hands all the time."""
        hello = self.connect(b"hostile-0", will=self.topic())
        return Attack("takeovers", [hello, self.subscribe([b"#"]), self.random.choice((b"", hello))], self.end())

    def wills(self) -> Attack:
        return Attack("wills", [self.connect(will=self.topic())], self.random.choice(("reset", "close")))

    def retained(self) -> Attack:
        """Retained messages in a wide tree, and many replays of all of them."""
        kept = [
            packet(0x31, text(b"kept/%d/%d" % (self.random.randrange(100), number)) + self.properties() + bytes(500))
            for number in range(20)
        ]
        replays = [self.subscribe([b"#", b"+/+/#", b"kept/#", b"+/#"]) for _ in range(self.random.randrange(1, 20))]
        return Attack("retained", [self.connect(), b"".join(kept), b"".join(replays)], self.end())

    def aliases(self) -> Attack:
        self.version = 5
        pieces = [self.connect(data=b"\x22\xff\xff")]
        for _ in range(300):
            alias = struct.pack(">H", self.random.choice((0, 1, 5, 64, 65, 65_535)))
            pieces.append(self.publish(self.random.choice((b"", self.topic())), b"x", b"\x23" + alias))
        return Attack("aliases", [pieces[0], b"".join(pieces[1:])], self.end())

    def pings(self) -> Attack:
        return Attack("pings", [self.connect(), b"\xc0\0" * 30_000], self.end(), reads=self.random.random() < 0.5)

    def slow_reader(self) -> Attack:
        """Wants everything, in large pieces, and takes nothing, or a byte now and then."""
        topic = self.topic()
        messages = [self.publish(topic, bytes(50_000)) for _ in range(self.random.choice((10, 60)))]
        return Attack(
            "slow reader", [self.connect(), self.subscribe([topic, b"#"]), b"".join(messages)], "hold", reads=False
        )

    def silent(self) -> Attack:
        return Attack("silent", [], "hold")

    def trickle(self) -> Attack:
        """Begins something and goes on by a byte now and then."""
        data = b"".join(self.conversation()) if self.random.random() < 0.7 else packet(0x10, bytes(400_000))
        return Attack("trickle", [data[: self.random.randrange(len(data))]], "hold")


# Below MQTT


def websocket_rubbish(chance: random.Random) -> list[bytes]:
    """Frames that RFC 6455 does not know, after a handshake: bombs of compression, lengths, pieces and pings."""
    kind = chance.randrange(8)
    key = chance.randbytes(4)
    if kind == 0:  # permessage-deflate, which was not agreed upon: a megabyte of zeros in a kilobyte
        return [b"\xc2\xfe\x04\x00" + key + bytes(1_024)]
    if kind == 1:
        return [b"\x82\xff" + struct.pack(">Q", chance.choice((1 << 62, 1 << 63, 65_536, 3))) + key + bytes(1_000)]
    if kind == 2:  # empty fragments
        return [b"\x02\x80" + key + (b"\x00\x80" + key) * 5_000]
    if kind == 3:
        return [(b"\x89\xfd" + key + bytes(125)) * 2_000]
    if kind == 4:
        return [b"\x89\xfe\x01\x00" + key + bytes(256)]
    if kind == 5:
        return [b"\x88\x82" + key + chance.randbytes(2)]
    if kind == 6:
        return [b"\x82\x05hello", b"\x81\x85" + key + b"hello"]
    return [chance.randbytes(chance.choice((1, 3, 20, 2_000)))]


def http_rubbish(chance: random.Random) -> list[bytes]:
    """A request that opens no WebSocket, or not yet."""
    head = b"GET /mqtt HTTP/1.1\r\nHost: x\r\n"
    return [
        chance.choice(
            (
                head,
                head + b"X: " + b"y" * 9_000,
                head + b"X: y\r\n" * 2_000,
                head + b"\r\n",
                b"POST /mqtt HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n" + bytes(5_000),
                b"GET " + b"/" * 8_000 + b" HTTP/1.1\r\n\r\n",
                b"GET /mqtt HTTP/9.9\r\n\r\n",
                chance.randbytes(300),
            )
        )
    ]


def tls_rubbish(chance: random.Random) -> list[bytes]:
    """The beginning of a handshake, or of none."""
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + chance.randbytes(500)
    kind = chance.randrange(4)
    if kind == 0:
        return [hello[: chance.randrange(1, len(hello))]]
    if kind == 1:
        return [hello]
    if kind == 2:
        return [b"\x16\x03\x01\xff\xff" + bytes(70_000)]
    return [chance.randbytes(chance.choice((1, 5, 100, 20_000)))]
