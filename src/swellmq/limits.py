"""Hard ceilings and defaults, each with its reason; `Limits`, the values that one broker runs with.

A ceiling is a `Final` that no setting can lift. What an operator may choose stands in `Limits`; `settings.py` fills it.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64, mypyc_attr

# The turn of the loop.
EVENTS_PER_TURN: Final = 1024  # what one epoll_wait returns; a longer list only delays the first answer
BACK_NS: Final = 500_000  # of a turn for those in the back; at least one of them
EVENTS_LEAST: Final = 64  # and after turns that took longer than TURN_LONG_US; the system itself takes them in rotation
TURN_LONG_US: Final = 10_000
PRESS_NS: Final = 150_000  # a turn that has lasted so long comes to its end if somebody in front waits
PRESS_LOOK_NS: Final = 100_000  # and is that looked up: 1 µs
FLUSH_NS: Final = 1_000_000  # of writes in a turn, about 200; as much again for those that are late
DELIVERIES_PER_TURN: Final = 1_024  # some 1.2 ms; wider messages take several turns
DELIVERIES_AT_ONCE: Final = 128  # of them, some 0.15 ms, before somebody in front may end the turn
DELIVERIES_LEAST: Final = 32  # that a message, or one read, may make even if others have used that up
VISITS_AT_ONCE: Final = 1_024  # nodes and subscriptions, in a search for those who get a message: some 0.15 ms
VISITS_SHARE: Final = 8  # nodes of a topic tree visited for the cost of one delivery
PACKETS_SHARE: Final = 4  # packets that are no run, for the same
FILTER_COST: Final = 16  # of one filter of a SUBSCRIBE or UNSUBSCRIBE, in deliveries
LEVELS_SHARE: Final = 4  # levels of such a filter, for the cost of one delivery
FILTERS_BYTES: Final = 1_024  # of a SUBSCRIBE or UNSUBSCRIBE that are decoded at once: 250 filters at the most
FILTER_BYTES_SHARE: Final = 64  # of what is decoded, for the same
FILTERS_LEAST: Final = 4  # short ones that are done in each turn, whatever others have used up
RUN_SHARE: Final = 8  # to hand on the bytes of a run costs so much less than a delivery
RUN_TARGETS_MAX: Final = 32_768  # of one run: some 3 ms; more would be a frame each, at a hundred times the cost
FAN_OUT_WIDE: Final = 256  # connections one read may send to, about 1 ms of writes, before others' answers go first
WRITES_PER_LOOK: Final = 16  # writes between two looks at the clock, some 0.1 ms
BYTES_PER_LOOK: Final = 65_536  # or so many bytes, which take as long
WRITABLE_EVENTS: Final = 2  # sockets that take more between two looks: each may take half a MiB
READ_BYTES: Final = 65_536  # one read of one connection in one turn: a flood of one can't starve the others
READ_BYTES_FRONT: Final = 4_096  # the same in front; who sends so much at once is served in the back from then on
FRONT_AGAIN_BYTES: Final = 128  # until a read brings no more than that: a message or two, not the end of a flood
READ_BYTES_BEHIND: Final = 4_096  # of all connections in a turn while output is late, which input must not outrun
READ_BYTES_LEAST: Final = 512  # of each even then: a PINGREQ, or what acknowledges some messages
READ_BYTES_BULK: Final = 262_144  # the same where one large packet is being gathered
ACCEPTS_PER_TURN: Final = 32  # of one listener: 0.2 to 0.3 ms
BACKLOG: Final = 4096  # the system may cut it (net.core.somaxconn)
GATHER_FROM_BYTES: Final = 65_536  # a smaller packet that is incomplete is joined to the next read, at one copy
GATHER_PIECE_BYTES: Final = 4_096  # a smaller piece of it is joined to the next: each is an object of 33 bytes more
LAYER_BYTES: Final = 131_072  # of an outbox that pass a layer in one turn, and one piece more: TLS takes 0.1 ms
WRITE_BYTES: Final = 262_144  # one send; more than a socket buffer takes at once
WRITES_PER_TURN: Final = 2  # sends to one connection in one turn
WRITEV_PIECES: Final = 1024  # IOV_MAX: more fail
JOIN_BYTES: Final = 65_536  # up to this a copy is cheaper than gathering
ACCEPT_PAUSE_MS: Final = 100  # after EMFILE, ENFILE, ENOBUFS or ENOMEM
LINGER_MS: Final = 2_000  # for a client that we have ended to read why: some round trips, even by satellite
LINGER_MAX: Final = 256  # of them at a time: their descriptors come on top of max_connections

SAMPLES_PER_S: Final = 250  # reads, and writes, that are looked at: a hundredth of a percent of a core
LONGEST_WINDOW_MS: Final = 60_000  # of the longest times lately: what looks once a minute misses none

# The pool.
SLICE_NS: Final = 1_000_000  # a slice of growth takes about 1 ms at the most
SLICE_OBJECTS: Final = 256  # objects made between two looks at the clock
EXPANSION_RETRY_MS: Final = 1_000  # after a failed step; doubles up to
EXPANSION_RETRY_MAX_MS: Final = 60_000
CONNECTION_BYTES: Final = 256  # one idle object with its place in the list, rounded up; for budgets and warnings
RENEW_FROM: Final = 4_096  # connections; fewer leave no memory worth the work
RENEW_SHARE: Final = 8  # the idle objects are made anew where no more than an eighth of the connections are left
RENEW_AFTER_MS: Final = 10_000  # and stayed that few for so long: a reconnect storm is over by then
REFUSING_SLOTS: Final = 64  # connections that are being told that the broker is full
REFUSING_DEADLINE_MS: Final = 3_000

# Memory.
SOCKET_BYTES: Final = 4_000  # what the kernel keeps for one socket that is idle; counts in a control group
MEMORY_ROOM_PERCENT: Final = 90  # of the budget, or of the clients: so far down it must be before new ones may come
MEMORY_SHED_PERCENT: Final = 105  # of the budget: QoS 0 is shed from there on
MEMORY_SHARE_PERCENT: Final = 90  # of the control group's limit, where no budget is set

# Overload.
OVERLOAD_LOOK_MS: Final = 100  # a storm takes 4 MB in it
OVERLOAD_CALM_MS: Final = 5_000  # so long it must be well before a remedy is taken back
DESCRIPTORS_LEFT: Final = 64  # fewer, and new clients are refused; to tell them so takes that many (REFUSING_SLOTS)
DESCRIPTORS_AGAIN: Final = 96  # so many must be free before they may come again
TURNS_LOOK_MS: Final = 1_000
TURNS_HEAVY_PERCENT: Final = 50  # of the time in long turns: new clients are refused
TURNS_HEAVY_LOOKS: Final = 2  # at which that was so, one after the other
TURNS_CALM_PERCENT: Final = 25
TURNS_SHED_MS: Final = 2_000  # refusing gets so long to help before QoS 0 is shed
GATHER_MAX_BYTES: Final = 1_048_576  # of a packet that is incomplete, while memory runs out
SHED_OUTBOX_BYTES: Final = 4_096  # while it is, a client that has more waiting gets no QoS 0

# Deadlines.
TICK_MS: Final = 100  # deadlines are kept in buckets of this width
DUE_AT_ONCE: Final = 16  # between two looks at what they have led to
DUE_PER_TURN: Final = 64  # each may close a connection: 1 ms for all

# PROXY protocol.
PROXY_HEADER_BYTES: Final = 4_096  # with what version 2 may carry besides, such as the name of a certificate

# TLS.
HANDSHAKES_MAX: Final = 2_048  # under way at a time by one listener: some 60 MB

# WebSocket.
WEBSOCKET_HEAD_BYTES: Final = 8_192  # of the HTTP request: browsers send cookies in it
WEBSOCKET_FRAME_BYTES: Final = 65_536  # clients have bounds, often of 1 MiB: a frame ends once it holds so much

# Before a client is known, it gets little: the largest sane CONNECT has a will of 64 KiB, a password and properties.
CONNECT_BYTES_MAX: Final = 524_288
STRANGER_BYTES: Final = 4_096  # an incomplete CONNECT of more is charged with its whole length to
STRANGERS_BYTES_MAX: Final = 33_554_432  # what all of them may have: 64 of the largest, thousands of usual ones

USER_PROPERTIES_MAX: Final = 1_024  # in one packet: 0.2 ms; a packet of 256 MB has room for 50 million

PROGRESS_BYTES: Final = 1_024  # of a packet under way count as a sign of life; less does not, or it could be trickled
PROGRESS_OUT_BYTES: Final = 16_384  # a client that has not taken all takes so much within write_timeout_ms: 0.5 KB/s

AUTHENTICATION_STEPS_MAX: Final = 16  # of one enhanced authentication; SCRAM takes 2, Kerberos 3

# Access.
REMEMBERED_VERDICTS: Final = 131_072  # logins remembered, some 250 bytes each

DECISION_BYTES: Final = 67_108_864  # of decisions of access control that are remembered: some 300,000
DECISION_OVERHEAD_BYTES: Final = 200  # of one, beside its topic

FIGHTS: Final = 16_384  # client ids whose takeovers are counted
GUARD_ENTRIES: Final = 65_536  # addresses and client ids that bans and counts are kept of, some 150 bytes each

# Routing.
TOPIC_LEVELS_MAX: Final = 201  # bounds the walk over the topic tree, at mosquitto's 200 slashes
LEVEL_BYTES: Final = 100  # of memory for a level of a filter in the tree, beside its name
DEAR_FILTER_BYTES: Final = 2_048  # a filter that takes more (some 20 levels, or 2 KB of text) is charged to
DEAR_FILTERS_BYTES_MAX: Final = 268_435_456  # what all of them may take: 13,000 filters of 200 levels
SHARDS: Final = 256  # a dict of 700,000 keys stalls for 100 ms when it grows; a 256th of it does not
MATCH_CACHE_TOPICS: Final = 65_536  # topics whose subscribers are remembered
MATCH_CACHE_TARGETS: Final = 1_000_000  # and subscribers in all of them

DISCARDS_PER_TURN: Final = 128  # messages that waited for a session that has ended; or a MiB of them, in all 0.1 ms
DISCARD_BYTES: Final = 1_048_576
REMOVALS_AT_ONCE: Final = 16  # subscriptions of a session that ends; of one with more they go in slices
REMOVALS_PER_TURN: Final = 32  # of those slices: 0.1 ms; a session with 100,000 took 0.6 s

# Retained messages.
REPLAY_NODES_KEPT: Final = 65_536  # of a walk that waits in a session without a client: 1 MiB

# Sessions.
IN_FLIGHT_LARGE_BYTES: Final = 65_536  # a window of 1,024 smaller messages has no more bytes than a queue may have

# The store.
SEGMENT_BYTES: Final = 16_777_216  # of the journal: folding so much takes a second or two, and so does reading it
STORE_BACKLOG_BYTES: Final = 67_108_864  # sealed and not yet committed: a slow disk must not fill the memory

SEAL_RETRY_MS: Final = 1_000  # between two tries at a store that fails to seal

# Packet identifiers: 16 bits.
RECEIVE_MAXIMUM: Final = 65_535


@final
@mypyc_attr(native_class=True)
class Limits:
    """What one broker allows. Sizes are bytes, times milliseconds or (suffix `_s`) seconds."""

    def __init__(self) -> None:
        # Connections
        self.connect_timeout_ms: i64 = 5_000  # from accept to a whole CONNECT
        self.write_timeout_ms: i64 = 30_000  # a client that takes nothing for so long is closed
        self.pending_timeout_ms: i64 = 10_000  # an answer of access, uplink or storage
        self.keep_alive_max_s: i64 = 65_535  # larger or no keep alive is lowered to it (MQTT 5.0: Server Keep Alive)
        self.outbox_bytes: i64 = 1_048_576  # beyond it QoS 0 is dropped and QoS 1 and 2 wait in the session
        self.messages_per_s: i64 = 0  # that one client may publish; it is read no faster. 0: no bound
        self.bytes_per_s: i64 = 0  # that one client may send; the same
        self.takeovers: i64 = 20  # of one client id within 10 s; further ones are refused. 0: no bound
        # Packets
        self.packet_bytes: i64 = 268_435_460  # largest packet taken from a client: the protocol's own limit
        self.payload_bytes: i64 = 268_435_455  # a larger message is dropped, and its client stays
        self.topic_levels: i64 = TOPIC_LEVELS_MAX
        self.topic_bytes: i64 = 65_535
        self.topic_alias_maximum: i64 = 64  # aliases one client may set up: 4 MiB of topic names at the worst
        self.topic_aliases_out: i64 = 16  # aliases the broker sets up towards one client
        self.receive_maximum: i64 = 1_024  # QoS 1 and 2 a client may have under way to us
        self.inflight_max: i64 = 1_024  # and we to a client, where it allows as much
        # Sessions
        self.inflight_bytes: i64 = (
            0  # payloads under way to one client, beyond which it gets no further ones; 0: no bound
        )
        self.session_expiry_max_s: i64 = 0xFFFFFFFF  # ceiling of the Session Expiry Interval; 0xFFFFFFFF: none
        self.session_expiry_3_s: i64 = 604_800  # a kept session of 3.x: a week after its client left
        self.sessions: i64 = 1 << 40  # of clients that are connected or away: no bound but memory
        self.queued_messages: i64 = 10_000  # QoS 1 and 2 waiting for one session
        self.queued_bytes: i64 = 67_108_864
        self.waiting_bytes: i64 = 268_435_456  # memory for messages whose clients are away; beyond it they are on disk
        self.subscriptions: i64 = 100_000  # of one session
        self.client_id_bytes: i64 = 65_535
        self.assign_client_ids: bool = True
        self.client_id_prefix: str = "auto-"  # of those that are assigned
        self.client_ids_begin: str = ""  # what all client ids have to begin with
        self.client_id_3_1_strict: bool = False  # 3.1: 1 to 23 characters
        # Messages
        self.maximum_qos: i64 = 2
        self.check_retain_source: bool = True  # a retained message goes with its publisher's right to it
        self.retain_available: bool = True
        self.retained_messages: i64 = 10_000_000
        self.retained_bytes: i64 = 4_294_967_296
        self.wildcard_subscription_available: bool = True
        self.shared_subscription_available: bool = True
        self.subscription_identifier_available: bool = True
        self.upgrade_outgoing_qos: bool = False  # departs from MQTT: the QoS of the subscription, not the lower one
        self.queue_qos_0: bool = False  # QoS 0 for offline sessions too
        self.overlapping: str = "one"  # of a client's subscriptions that match a message: "one" copy, or "each" its own
        self.check_payload_format: bool = False  # refuse a payload that is said to be UTF-8 and is not
        self.like_mosquitto: bool = False  # errors of clients get mosquitto's codes where it departs from MQTT
        self.response_information: str = ""  # for clients that ask for it, where access gives none
