"""A byte string as a story: who connects, what is sent, mutated, split and dropped, and how time passes.

Both fuzzers and the replay of their corpus come through here; nothing of it needs atheris. Any byte string is a story.
What it tells must end in a packet or a PeerError (`decode_stream`), or leave a broker that is sound, whose every answer
can be decoded, and that keeps to each client's limits (`play`).

A story for the broker begins with a byte of settings. Then each step is a byte, whose low two bits name a client and
whose higher bits name what it does (OPEN to MUTATED), and the arguments of that. Arguments that are missing are 0.
"""

from __future__ import annotations

from typing import Final

from harness import MemoryBroker, MemoryClient, properties

from swellmq.broker.session import SENT
from swellmq.codec.decode import decode
from swellmq.codec.encode import encode, encode_connect
from swellmq.codec.packets import Ack, Connect, Packet, Publish, Subscribe, TopicRequest, Unsubscribe, Will
from swellmq.codec.properties import encode_properties_body
from swellmq.errors import PeerError
from swellmq.net.pool import PoolSettings

VERSIONS: Final = (4, 5, 3)
STEPS_MAX: Final = 200
CLIENT_IDS: Final = ("a", "b", "")
TOPICS: Final = (b"t", b"topic", b"a/b", b"a/b/c", b"$other/x", b"$SYS/x", b"/", b"")
FILTERS: Final = (
    b"t",
    b"topic",
    b"a/+",
    b"a/#",
    b"#",
    b"+",
    b"$share/g/t",
    b"$share/g/a/#",
    b"$share/h/#",
    b"$other/#",
    b"a/b/c",
    b"+/+",
)
EXPIRIES: Final = (0, 5, 100, 0xFFFFFFFF)

# What a step does.
OPEN: Final = 0  # a new connection: one byte, the version that its client's packets are written in
RAW: Final = 1  # send bytes: one byte for how many, then they
CONNECT: Final = 2
PUBLISH: Final = 3
SUBSCRIBE: Final = 4
UNSUBSCRIBE: Final = 5
ACKNOWLEDGE: Final = 6
OTHER: Final = 7  # PINGREQ, DISCONNECT, AUTH
DROP: Final = 8
WAIT: Final = 9
STALL: Final = 10  # its socket takes nothing, or takes all again
FEED: Final = 11  # from now on what it sends waits for the next turn, or no longer does
MUTATED: Final = 12  # the packet of the next step is sent with one byte changed, cut off, or doubled
SPLIT: Final = 13  # send bytes as RAW does, each in a turn of its own
KINDS: Final = 14


class Bytes:
    """Reads a story; past its end all is 0."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.pos = 0

    def more(self) -> bool:
        return self.pos < len(self.data)

    def byte(self) -> int:
        self.pos += 1
        return self.data[self.pos - 1] if self.pos <= len(self.data) else 0

    def take(self, count: int) -> bytes:
        taken = self.data[self.pos : self.pos + count]
        self.pos += count
        return taken


def decode_stream(data: bytes) -> None:
    """Decode a stream of packets, told by the first byte; what can be decoded can be encoded, and is the same again."""
    if not data:
        return
    version = VERSIONS[data[0] % 3]
    from_server = data[0] & 0x80 != 0
    pos = 1
    while pos < len(data):
        packet: Packet | None = None
        after = pos
        refusal: PeerError | None = None
        try:
            packet, after = decode(data, pos, version, from_server)
        except PeerError as error:
            refusal = error
        if refusal is not None:
            assert 0x80 <= refusal.reason_code <= 0xA2
            assert refusal.phrase
            return
        if packet is None:
            assert after == pos
            return
        assert after > pos
        spoken = packet.protocol_version if isinstance(packet, Connect) else version
        written = encode(packet, spoken)
        again, end = decode(written, 0, spoken, from_server)
        assert again is not None
        assert end == len(written)
        assert encode(again, spoken) == written
        pos = after


class Player:
    """One client of a story."""

    def __init__(self, client: MemoryClient) -> None:
        self.client = client
        self.feeds = False

    def send(self, data: bytes) -> None:
        if self.client.closed or not data:
            return
        if self.feeds:
            self.client.feed(data)
        else:
            self.client.send(data)

    def check_answers(self) -> None:
        """All that has arrived are whole packets of a server, within the client's Maximum Packet Size."""
        client = self.client
        data = client.receive_bytes()
        largest = 0
        if not client.closed:
            largest = int(client.connection.packet_bytes_max)
            client.version = int(client.connection.protocol_version) or client.version
        elif data[:1] == b"\x20":  # the connection is over already: its version shows in the length of CONNACK
            client.version = 5 if data[1] > 2 else min(client.version, 4)
        pos = 0
        while pos < len(data):
            packet, after = decode(data, pos, client.version, True)
            assert packet is not None, "half a packet"
            assert not largest or after - pos <= largest, "above Maximum Packet Size"
            pos = after


class Story:
    """A broker and its clients, driven by bytes."""

    def __init__(self, data: bytes) -> None:
        self.bytes = Bytes(data)
        settings = self.bytes.byte()
        pool = PoolSettings()
        pool.initial_size = 2
        if settings & 1:
            pool.max_size = pool.max_connections = 2
        self.broker = MemoryBroker(pool=pool)
        limits = self.broker.limits
        if settings & 2:
            limits.receive_maximum = 2
            limits.inflight_max = 2
            limits.queued_messages = 3
        if settings & 4:
            limits.maximum_qos = 1
            limits.retain_available = False
            limits.wildcard_subscription_available = False
            limits.shared_subscription_available = False
            limits.subscription_identifier_available = False
        if settings & 8:
            limits.outbox_bytes = 64
            limits.queue_qos_0 = True
        if settings & 16:
            limits.topic_alias_maximum = 1
            limits.subscriptions = 2
            limits.packet_bytes = 100
        if settings & 32:
            limits.client_id_3_1_strict = True
            limits.keep_alive_max_s = 10
            limits.session_expiry_max_s = 20
        self.players: list[Player | None] = [None] * 4
        self.mutated = False

    def play(self) -> None:
        for _ in range(STEPS_MAX):
            if not self.bytes.more():
                break
            self.step()
        for player in self.players:
            if player is not None:
                player.client.read()
        self.broker.advance(1)
        self.check()

    def step(self) -> None:
        head = self.bytes.byte()
        slot, kind = head & 3, (head >> 2) % KINDS
        if kind == WAIT:
            self.broker.advance(self.bytes.byte() / 4)
        elif kind == MUTATED:
            self.mutated = True
        elif kind == OPEN:
            self.players[slot] = self.opened(VERSIONS[self.bytes.byte() % 3])
        else:
            player = self.players[slot]
            if player is None or player.client.closed:
                player = self.players[slot] = self.opened(VERSIONS[0])
                if player is None:
                    return
            self.act(player, kind)
        self.check()

    def opened(self, version: int) -> Player | None:
        """A new connection, which takes the place of an older one of the story; None where no slot is free."""
        pool = self.broker.pool
        if pool.active >= pool.max_connections and not pool.reserve:
            return None
        return Player(self.broker.open(version))

    def act(self, player: Player, kind: int) -> None:
        client = player.client
        if kind == DROP:
            client.drop()
        elif kind == STALL:
            if client.reads:
                client.stall()
            else:
                client.read()
        elif kind == FEED:
            player.feeds = not player.feeds
        elif kind == SPLIT:
            client.send_split(self.bytes.take(self.bytes.byte()))
        elif kind == RAW:
            player.send(self.bytes.take(self.bytes.byte()))
        else:
            player.send(self.changed(self.packet(kind, player)))

    def changed(self, data: bytes) -> bytes:
        """The packet, or after MUTATED a broken one."""
        if not self.mutated:
            return data
        self.mutated = False
        how, where, value = self.bytes.byte(), self.bytes.byte(), self.bytes.byte()
        pos = where % len(data)
        if how % 4 == 0:
            return data[:pos] + bytes([value]) + data[pos + 1 :]
        if how % 4 == 1:
            return data[:pos]
        if how % 4 == 2:
            return data[:pos] + bytes([value]) + data[pos:]
        return data + data

    def packet(self, kind: int, player: Player) -> bytes:
        version = player.client.version
        if kind == CONNECT:
            return self.connect(version)
        flags = self.bytes.byte()
        made: Packet
        if kind == PUBLISH:
            made = self.publish(flags, version)
        elif kind == SUBSCRIBE:
            options = self.bytes.byte()
            names = [FILTERS[self.bytes.byte() % len(FILTERS)] for _ in range(1 + flags % 3)]
            requests = [
                TopicRequest(name, options % 3, options & 4 != 0, options & 8 != 0, (options >> 4) % 3)
                for name in names
            ]
            identified = version == 5 and flags & 8
            made = Subscribe(flags + 1, requests, properties(subscription_identifiers=[flags]) if identified else None)
        elif kind == UNSUBSCRIBE:
            made = Unsubscribe(flags + 1, [FILTERS[self.bytes.byte() % len(FILTERS)] for _ in range(1 + flags % 2)])
        elif kind == ACKNOWLEDGE:
            reason_code = (0, 0x80, 0x92)[flags >> 4 & 3] if flags >> 4 & 3 < 3 and version == 5 else 0
            made = Ack(4 + flags % 4, 1 + (flags >> 2 & 3), reason_code)
        else:
            return (b"\xc0\0", b"\xe0\0", b"\xe0\1\4", b"\xf0\0", b"\xf0\5\x18\3\x15\0\0")[flags % 5]
        return encode(made, version)

    def connect(self, version: int) -> bytes:
        flags, more = self.bytes.byte(), self.bytes.byte()
        made = Connect()
        made.protocol_version = version
        made.client_id = CLIENT_IDS[flags % 3]
        made.clean_start = flags & 4 != 0
        made.keep_alive = 4 if flags & 8 else 0
        made.bridge = flags & 16 != 0 and version != 5
        if flags & 32:
            publish = Publish(TOPICS[more % 4], b"bye", (flags >> 6) % 3, more & 4 != 0)
            made.will = Will(publish, 5 if version == 5 and more & 8 else 0)
        if version == 5:
            made.properties = properties(session_expiry_interval=EXPIRIES[more >> 4 & 3])
            if more & 64:
                made.properties.receive_maximum = 1
                made.properties.topic_alias_maximum = 2
            if more & 128:
                made.properties.maximum_packet_size = 30
        return encode_connect(made)

    def publish(self, flags: int, version: int) -> Publish:
        more = self.bytes.byte()
        made = Publish(TOPICS[more % len(TOPICS)], b"x" * (flags >> 4), flags % 3, flags & 4 != 0)
        made.dup = flags & 8 != 0 and made.qos > 0
        if made.qos:
            made.packet_identifier = 1 + (more >> 3 & 3)
        if version == 5:
            if more & 32:
                made.topic_alias = 1 + (more >> 3 & 1)
            if more & 64:
                made.message_expiry_interval = 2
            if more & 128:
                made.properties = encode_properties_body(properties(content_type="c", user_properties=[("k", "v")]))
        return made

    def check(self) -> None:
        self.broker.check()
        for player in self.players:
            if player is not None:
                player.check_answers()
        for session in self.broker.core.sessions.values():
            if session.connection is not None and session.inflight is not None:
                sent = sum(delivery.state == SENT for delivery in session.inflight.values())
                assert sent <= session.connection.receive_maximum


def play(data: bytes) -> None:
    """Play a story; AssertionError or any other exception is a bug."""
    Story(data).play()
