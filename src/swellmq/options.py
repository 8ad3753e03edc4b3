"""Every setting, once: its name, type, default, unit, range and meaning; and what one value may be.

`OPTIONS` is the one table. The TOML file (`[pool] max_size`), the flags (`--pool.max-size`), the environment
(`SWELLMQ_POOL_MAX_SIZE`), the keywords of `Settings` (`pool_max_size`), the help texts and `docs/settings.md` follow
from it. How values are gathered and go together is the matter of `settings.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NoReturn, TypeAlias

from swellmq.errors import SettingsError
from swellmq.limits import BACKLOG, SEGMENT_BYTES, TOPIC_LEVELS_MAX, Limits

Value: TypeAlias = int | str | list[str] | tuple[int, int]  # a bool is an int, a fraction a pair

INTEGER: Final = "whole number"
BOOLEAN: Final = "true or false"
TEXT: Final = "text"
CHOICE: Final = "choice"
FRACTION: Final = "fraction"
LIST: Final = "list of texts"
PERMISSION: Final = "octal permission"

FACTOR_MAX: Final = 10  # a pool that grows by more at once has no use for steps
FACTOR_PART_MAX: Final = 1_000_000  # capacity * numerator stays far inside 64 bits

_TRUE: Final = ("true", "yes", "on", "1")
_FALSE: Final = ("false", "no", "off", "0")


class Option:
    """One setting. `low` and `high` are the range of a whole number, both included; of a text, `high` is its length in
    bytes, and one with a bound goes into MQTT packets."""

    __slots__ = ("name", "kind", "default", "meaning", "unit", "low", "high", "choices")

    def __init__(
        self,
        name: str,
        kind: str,
        default: Value,
        meaning: str,
        unit: str = "",
        low: int = 0,
        high: int = 0,
        choices: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self.kind = kind
        self.default = default
        self.meaning = meaning
        self.unit = unit
        self.low = low
        self.high = high
        self.choices = choices

    @property
    def section(self) -> str:
        return self.name.rpartition(".")[0]

    @property
    def attribute(self) -> str:
        return self.name.replace(".", "_")

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        return "SWELLMQ_" + self.attribute.upper()

    def range_text(self) -> str:
        """What values it takes, in words."""
        if self.kind == INTEGER:
            return f"a whole number from {self.low} to {self.high}"
        if self.kind == CHOICE:
            return "one of " + ", ".join(self.choices)
        if self.kind == FRACTION:
            return f'a fraction of whole numbers above 1 and up to {FACTOR_MAX}, such as "3/2"'
        if self.kind == LIST:
            return "a text, or a list of texts"
        if self.kind == PERMISSION:
            return 'an octal permission up to 0777, such as "0660"'
        if self.kind == TEXT and self.high:
            return f"a text of up to {self.high} bytes"
        return "true or false" if self.kind == BOOLEAN else "a text"

    def default_text(self) -> str:
        """Its default, and what the presets make of it."""
        text = show(self, self.default) or "none"
        others = [f"{preset} {values[self.name]}" for preset, values in PRESETS.items() if self.name in values]
        return text if not others else text + "; " + ", ".join(others[1:])


_DEFAULT_LIMITS: Final = Limits()


def _limit(
    field: str, meaning: str, unit: str = "", low: int = 0, high: int = 0, choices: tuple[str, ...] = ()
) -> Option:
    """An option for one field of `Limits`, which has its default and its type."""
    default = getattr(_DEFAULT_LIMITS, field)
    kind = INTEGER
    if isinstance(default, bool):
        kind = BOOLEAN
    elif isinstance(default, str):
        kind = CHOICE if choices else TEXT
    return Option("limits." + field, kind, default, meaning, unit, low, high, choices)


DURABILITIES: Final = ("disk", "written", "memory")  # in the order of the numbers in connection.py
WEBSOCKET_PATHS: Final = ["/mqtt", "/"]  # what clients ask for where nobody has told them a path
_SIZE_MAX: Final = 10_000_000
_DAY_S: Final = 86_400
_DAY_MS: Final = 86_400_000
_TIB: Final = 1 << 40

# fmt: off
# A setting takes two lines: what it may be, and what it means.
OPTIONS: Final[tuple[Option, ...]] = (
    Option("preset", CHOICE, "default", choices=("default", "small", "medium", "large"),
           meaning="Sizes of the fleet: small is up to 10,000 connections, medium to 100,000, large to 1,000,000."),
    Option("bind", LIST, ["127.0.0.1"],
           meaning="Addresses to listen on, or localhost for both loopbacks; 0.0.0.0 is all of IPv4, :: of IPv6."),
    Option("port", INTEGER, 1883, low=0, high=65_535,
           meaning="TCP port to listen on; 0 takes any free one, another for each address."),
    Option("unix", TEXT, "",
           meaning="Path of a Unix socket to listen on as well."),
    Option("websocket_port", INTEGER, 0, low=0, high=65_535,
           meaning="TCP port for MQTT over WebSocket as well, on the addresses of bind; 0 is none."),
    Option("data", TEXT, "",
           meaning="Folder for what survives a restart (docs/DURABILITY.md); without it nothing does."),
    Option("durability", CHOICE, "disk", choices=DURABILITIES,
           meaning="What an acknowledgement waits for: the disk, the system having it written, or nothing (memory)."),
    Option("max_connections", INTEGER, 1_000_000, unit="connections", low=1, high=_SIZE_MAX,
           meaning="Network connections served at once; those beyond are refused politely."),
    Option("memory_budget_bytes", INTEGER, 0, unit="bytes", low=0, high=_TIB,
           meaning="Memory of process and sockets past which new clients are refused; 0: 90 % of what there is."),
    Option("overload_turn_ms", INTEGER, 250, unit="ms", low=0, high=60_000,
           meaning="Turns so long, filling half of two seconds: it refuses new clients, then shed QoS 0; 0: never."),
    Option("status_interval_s", INTEGER, 300, unit="s", low=0, high=_DAY_S,
           meaning="How often a line about connections, pool and memory is logged; 0 is never."),
    Option("sys_interval_s", INTEGER, 10, unit="s", low=0, high=_DAY_S,
           meaning="How often the $SYS topics are published; 0 is never."),
    Option("user", TEXT, "",
           meaning="User to become once the listeners are open, where the broker is started by root."),
    Option("pid_file", TEXT, "",
           meaning="Path of a file that has the process id while the broker runs."),
    Option("admin", TEXT, "",
           meaning="Address and port of the admin page and its HTTP API, such as 127.0.0.1:18083; empty is none."),
    Option("admin_token", TEXT, "",
           meaning="Secret that admin asks for, as a bearer token or password; needed where admin isn't loopback."),
    Option("admin_token_file", TEXT, "",
           meaning="File with that secret in its first line, in place of admin_token, which other users may see."),
    Option("admin_read_token_file", TEXT, "",
           meaning="File with another secret, which may see everything there and change nothing; for Prometheus."),
    Option("admin_certificate", TEXT, "",
           meaning="File with a certificate and its chain in PEM: with it admin speaks HTTPS."),
    Option("admin_key", TEXT, "",
           meaning="File with its private key; without it that stands in the certificate's file."),
    Option("pool.initial_size", INTEGER, 1_024, unit="objects", low=1, high=_SIZE_MAX,
           meaning="Connection objects preheated at start."),
    Option("pool.max_size", INTEGER, 100_000, unit="objects", low=1, high=_SIZE_MAX,
           meaning="Preheated connection objects at the most; beyond them objects are made on demand."),
    Option("pool.mode", CHOICE, "dynamic", choices=("dynamic", "fixed", "none"),
           meaning="dynamic grows by steps, fixed preheats max_size objects at start, none makes all on demand."),
    Option("pool.threshold_percent", INTEGER, 80, unit="%", low=1, high=100,
           meaning="Share of the capacity in use at which the pool grows."),
    Option("pool.factor", FRACTION, (3, 2),
           meaning="What one step of growth multiplies the capacity by."),
    Option("pool.shrink", BOOLEAN, False,
           meaning="Whether the pool goes back down its steps after a long calm."),
    Option("pool.shrink_after_s", INTEGER, 600, unit="s", low=1, high=_DAY_S,
           meaning="How long the use must stay low before the pool shrinks by a step."),
    Option("pool.memory_max_bytes", INTEGER, 0, unit="bytes", low=0, high=_TIB,
           meaning="Memory that preheated objects may take: a step beyond it fails and is tried again; 0 is no bound."),
    Option("pool.memory_warn_percent", INTEGER, 10, unit="%", low=1, high=100,
           meaning="Share of the memory there is that preheating may take without a warning."),
    Option("store.segment_bytes", INTEGER, SEGMENT_BYTES, unit="bytes", low=65_536, high=1 << 30,
           meaning="Size at which a file of the journal is closed and folded into the database."),
    Option("log.level", CHOICE, "info", choices=("debug", "info", "warning", "error", "none"),
           meaning="Least severity that is logged."),
    Option("log.format", CHOICE, "human", choices=("human", "json"),
           meaning="human writes lines for reading, json one JSON object a line."),
    Option("log.file", TEXT, "",
           meaning="Path of a file that the log is appended to, instead of the standard error."),
    Option("log.timestamp_format", TEXT, "%Y-%m-%d %H:%M:%S",
           meaning="Time in front of a line for reading, as in strftime; empty where another program adds one."),
    Option("log.clients_per_second", INTEGER, 20, unit="lines/s", low=0, high=10_000,
           meaning="Lines a second of each kind about clients that come, are refused or go; more are counted in one "
                   "line, and 0 writes none."),
    Option("otel.endpoint", TEXT, "",
           meaning="URL of an OpenTelemetry collector (OTLP over HTTP), such as http://127.0.0.1:4318; empty is off."),
    Option("otel.sample_percent", INTEGER, 100, unit="%", low=0, high=100,
           meaning="Share of the traces that messages bring along, and that are recorded, to which spans are added."),
    Option("otel.start_percent", INTEGER, 0, unit="%", low=0, high=100,
           meaning="Share of the messages without a trace for which one is begun; above 0 no message goes in bulk."),
    Option("otel.spans_per_s", INTEGER, 500, unit="spans/s", low=1, high=1_000_000,
           meaning="Spans made in a second; messages beyond have none."),
    Option("otel.service_name", TEXT, "swellmq",
           meaning="What the broker is called in traces (service.name)."),
    Option("access.anonymous", CHOICE, "auto", choices=("auto", "yes", "no", "loopback"),
           meaning="Who may come in without a user name: loopback is this machine alone, auto is yes where nothing "
                   "here says how users are known, else no."),
    Option("access.password_file", TEXT, "",
           meaning="File of users and hashes of their passwords, written by `swellmq passwd` or mosquitto_passwd."),
    Option("access.acl_file", TEXT, "",
           meaning="File of rules about what clients may do: ours where its name ends in .toml, else mosquitto's."),
    Option("access.hash_threads", INTEGER, 2, unit="threads", low=1, high=64,
           meaning="Threads that hash passwords, at a lower priority than traffic; Argon2id takes 19 MiB in each."),
    Option("access.logins_waiting_max", INTEGER, 512, unit="logins", low=1, high=1_000_000,
           meaning="Logins that may wait for a thread; further ones are refused with 0x97 (MQTT 3.x: 3)."),
    Option("access.remember_s", INTEGER, 300, unit="s", low=0, high=_DAY_S,
           meaning="How long a yes holds for the same question, so that a fleet which reconnects is not hashed again."),
    Option("access.ban_failures", INTEGER, 10, unit="logins", low=0, high=1_000_000,
           meaning="Failed logins from one address within ban_window_s for which it is banned (0x8A); 0 is never."),
    Option("access.ban_connects", INTEGER, 0, unit="connects", low=0, high=1_000_000,
           meaning="Connects of one client id within ban_window_s, beyond which it is banned; 0 is never."),
    Option("access.ban_window_s", INTEGER, 60, unit="s", low=1, high=_DAY_S,
           meaning="Within how long what leads to a ban is counted."),
    Option("access.ban_s", INTEGER, 300, unit="s", low=1, high=_DAY_S,
           meaning="How long a ban lasts."),
    Option("access.never_ban", LIST, ["127.0.0.0/8", "::1"],
           meaning="Addresses and networks that are never banned; a proxy brings all its clients from one."),
    Option("access.connects_per_s", INTEGER, 0, unit="connects/s", low=0, high=1_000_000,
           meaning="CONNECTs of all clients taken in a second; more are refused with 0x9F, and 0 is no bound."),
    Option("access.connections_per_address", INTEGER, 0, unit="connections", low=0, high=_SIZE_MAX,
           meaning="Connections from one address; further ones are refused with 0x97, and 0 is no bound."),
    Option("access.connections_per_user", INTEGER, 0, unit="connections", low=0, high=_SIZE_MAX,
           meaning="Connections with one user name; further ones are refused with 0x97, and 0 is no bound."),
    Option("access.order", LIST, ["password", "token", "http"],
           meaning="Who is asked first, of those that are configured; the first that knows the user decides."),
    Option("access.jwt_key_file", TEXT, "",
           meaning="File with the public key in PEM, or for HS* the secret, that signs tokens (JWT)."),
    Option("access.jwt_jwks", TEXT, "",
           meaning="Path or URL of a JWK set with the keys that sign tokens, in place of jwt_key_file."),
    Option("access.jwt_algorithms", LIST, ["RS256", "ES256", "EdDSA"],
           meaning="Algorithms that tokens may be signed with; HS256 and its like stand alone."),
    Option("access.jwt_issuer", TEXT, "",
           meaning="The issuer (iss) that tokens must name; empty is any."),
    Option("access.jwt_audience", LIST, [],
           meaning="Audiences (aud) of which tokens must name one; empty takes only tokens that name none."),
    Option("access.jwt_username_claim", TEXT, "sub",
           meaning="The claim that says who the user is."),
    Option("access.jwt_leeway_s", INTEGER, 10, unit="s", low=0, high=3_600,
           meaning="How far the clock of who signs tokens may be off; a client stays so long beyond its token."),
    Option("access.jwt_refresh_s", INTEGER, 600, unit="s", low=10, high=_DAY_S,
           meaning="How long the keys of a JWK set from a URL hold before they are fetched again."),
    Option("access.http_url", TEXT, "",
           meaning="URL of a server that is asked by POST who may come in, in JSON."),
    Option("access.http_ask", LIST, ["connect"],
           meaning="What it is asked about: connect, publish, subscribe."),
    Option("access.http_token_file", TEXT, "",
           meaning="File with a bearer token that shows the server who asks."),
    Option("access.http_timeout_ms", INTEGER, 3_000, unit="ms", low=10, high=60_000,
           meaning="Time for an answer of that server, or for the keys of jwt_jwks; without one nobody is let in."),
    Option("access.http_threads", INTEGER, 8, unit="threads", low=1, high=256,
           meaning="Questions under way to other servers at a time."),
    Option("alarms.after_s", INTEGER, 5, unit="s", low=0, high=3_600,
           meaning="How long something must be wrong before its alarm is raised, and well before it is cleared."),
    Option("alarms.pool_percent", INTEGER, 80, unit="%", low=0, high=100,
           meaning="Share of the pool in use, once it has reached pool.max_size; 0 is no such alarm, here and below."),
    Option("alarms.overflow", INTEGER, 1, unit="objects", low=0, high=_SIZE_MAX,
           meaning="Connection objects made on demand, since no preheated one was idle."),
    Option("alarms.connections_percent", INTEGER, 90, unit="%", low=0, high=100,
           meaning="Connections, of max_connections."),
    Option("alarms.descriptors_percent", INTEGER, 90, unit="%", low=0, high=100,
           meaning="Open files, of the system's limit for the process."),
    Option("alarms.memory_percent", INTEGER, 85, unit="%", low=0, high=100,
           meaning="Memory of process and sockets, of the budget past which new clients are refused."),
    Option("alarms.turn_ms", INTEGER, 100, unit="ms", low=0, high=60_000,
           meaning="Longest turn of the loop in each second: all clients wait as long."),
    Option("alarms.slow_clients", INTEGER, 100, unit="clients", low=0, high=_SIZE_MAX,
           meaning="Clients that take their messages more slowly than they come."),
    Option("alarms.dropped_per_s", INTEGER, 10, unit="messages/s", low=0, high=1_000_000_000,
           meaning="Messages dropped because a client's outbox or queue was full, or the retained messages were."),
    Option("alarms.waiting_percent", INTEGER, 80, unit="%", low=0, high=100,
           meaning="Messages whose clients are away, of limits.waiting_bytes, as they will be in 5 minutes if they "
                   "grow as now."),
    Option("alarms.store_percent", INTEGER, 50, unit="%", low=0, high=100,
           meaning="Bytes that wait for the disk, of the 64 MiB past which durable work is refused."),
    Option("alarms.disk_free_bytes", INTEGER, 536_870_912, unit="bytes", low=0, high=_TIB,
           meaning="Free space where data is; less raises an alarm."),
    _limit("connect_timeout_ms", unit="ms", low=100, high=_DAY_MS,
           meaning="Time from accept to a whole CONNECT; a connection that takes longer is closed."),
    _limit("write_timeout_ms", unit="ms", low=100, high=_DAY_MS,
           meaning="A client that takes none of what is sent to it for so long is closed."),
    _limit("pending_timeout_ms", unit="ms", low=100, high=_DAY_MS,
           meaning="Time for an answer of access control, cluster or storage before the client is closed."),
    _limit("keep_alive_max_s", unit="s", low=1, high=65_535,
           meaning="Longest keep alive; a longer one, or none, is lowered to it (MQTT 5.0: Server Keep Alive)."),
    _limit("outbox_bytes", unit="bytes", low=4_096, high=1 << 30,
           meaning="Output waiting for one connection; past it QoS 0 is dropped, QoS 1 and 2 wait in the session."),
    _limit("messages_per_s", unit="messages/s", low=0, high=1_000_000_000,
           meaning="Messages that one client may publish in a second; it is read no faster, and 0 is no bound."),
    _limit("bytes_per_s", unit="bytes/s", low=0, high=_TIB,
           meaning="Bytes that one client may send in a second, on average; it is read no faster, and 0 is no bound."),
    _limit("takeovers", unit="takeovers", low=0, high=1_000_000,
           meaning="Times in 10 s that a client id may change its connection, then 0x89 for a while; 0 is no bound."),
    _limit("packet_bytes", unit="bytes", low=20, high=268_435_460,
           meaning="Largest packet taken from a client (MQTT 5.0: Maximum Packet Size)."),
    _limit("payload_bytes", unit="bytes", low=1, high=268_435_455,
           meaning="Largest payload taken; a message above it is dropped, and its client stays (MQTT 5.0: 0x97)."),
    _limit("topic_levels", unit="levels", low=1, high=TOPIC_LEVELS_MAX,
           meaning="Levels in a topic name or topic filter."),
    _limit("topic_bytes", unit="bytes", low=1, high=65_535,
           meaning="Length of a topic name or topic filter."),
    _limit("topic_alias_maximum", unit="aliases", low=0, high=65_535,
           meaning="Topic aliases that one client may set up; 0 is none."),
    _limit("topic_aliases_out", unit="aliases", low=0, high=65_535,
           meaning="Topic aliases that the broker sets up towards one client that allows them; 0 is none."),
    _limit("receive_maximum", unit="messages", low=1, high=65_535,
           meaning="QoS 1 and 2 messages that one client may have under way to the broker."),
    _limit("inflight_max", unit="messages", low=1, high=65_535,
           meaning="QoS 1 and 2 messages that the broker has under way to one client, where it allows as many."),
    _limit("inflight_bytes", unit="bytes", low=0, high=_TIB,
           meaning="Payloads under way to one client at QoS 1 and 2 beyond which the next one waits; 0 is no bound."),
    _limit("session_expiry_max_s", unit="s", low=0, high=0xFFFFFFFF,
           meaning="Longest Session Expiry Interval; 4294967295 lets sessions live for ever."),
    _limit("session_expiry_3_s", unit="s", low=0, high=0xFFFFFFFF,
           meaning="How long a kept session of MQTT 3.x lives after its client left; 4294967295 is for ever."),
    _limit("sessions", unit="sessions", low=1, high=_TIB,
           meaning="Sessions, of clients that are connected or away; a client beyond is refused with 0x89."),
    _limit("queued_messages", unit="messages", low=1, high=1_000_000_000,
           meaning="QoS 1 and 2 messages waiting for one session; further ones are dropped."),
    _limit("queued_bytes", unit="bytes", low=4_096, high=_TIB,
           meaning="Bytes of messages waiting for one session; further ones are dropped."),
    _limit("waiting_bytes", unit="bytes", low=0, high=_TIB,
           meaning="Memory for messages whose clients are away; with data, those beyond it wait on disk only."),
    _limit("subscriptions", unit="subscriptions", low=1, high=100_000_000,
           meaning="Subscriptions of one session."),
    _limit("client_id_bytes", unit="bytes", low=23, high=65_535,
           meaning="Length of a client identifier; MQTT asks for at least 23."),
    _limit("assign_client_ids",
           meaning="Whether a client that gives no client identifier gets one."),
    _limit("client_id_prefix", high=50,
           meaning="What client identifiers that the broker gives begin with, before a UUID."),
    _limit("client_ids_begin", high=1_024,
           meaning="What client identifiers have to begin with; others are refused (0x87; MQTT 3.x: 5)."),
    _limit("client_id_3_1_strict",
           meaning="Whether MQTT 3.1 clients are held to identifiers of 1 to 23 characters, as 3.1 asks."),
    _limit("maximum_qos", unit="QoS", low=0, high=2,
           meaning="Highest QoS that the broker supports."),
    _limit("retain_available",
           meaning="Whether retained messages are supported."),
    _limit("check_retain_source",
           meaning="Whether a retained message is sent only while its publisher may still publish it."),
    _limit("retained_messages", unit="messages", low=1, high=1_000_000_000,
           meaning="Retained messages kept; further topics are not retained."),
    _limit("retained_bytes", unit="bytes", low=4_096, high=_TIB,
           meaning="Bytes of retained messages kept; further ones are not retained."),
    _limit("wildcard_subscription_available",
           meaning="Whether subscriptions may have wildcards."),
    _limit("shared_subscription_available",
           meaning="Whether shared subscriptions are supported."),
    _limit("subscription_identifier_available",
           meaning="Whether subscription identifiers are supported."),
    _limit("upgrade_outgoing_qos",
           meaning="Whether a message goes out at the QoS of its subscription even if that is above its own."),
    _limit("queue_qos_0",
           meaning="Whether QoS 0 messages are kept for sessions whose client is away."),
    _limit("overlapping", choices=("one", "each"),
           meaning="A message that several subscriptions of a client match: one copy, or one for each of them."),
    _limit("check_payload_format",
           meaning="Whether a payload that is said to be UTF-8 (Payload Format Indicator) and is not is refused."),
    _limit("like_mosquitto",
           meaning="Whether faults of clients are answered as mosquitto 2.1 does where that departs from MQTT 5.0."),
    _limit("response_information", high=1_024,
           meaning="Response Information for MQTT 5.0 clients that ask for it, such as a prefix of response topics."),
)

LISTENER_OPTIONS: Final[tuple[Option, ...]] = (
    Option("listener.bind", LIST, ["127.0.0.1"],
           meaning="Addresses to listen on, as in bind."),
    Option("listener.port", INTEGER, 1883, low=0, high=65_535,
           meaning="TCP port, as in port."),
    Option("listener.unix", TEXT, "",
           meaning="Path of a Unix socket, in place of bind and port."),
    Option("listener.mode", PERMISSION, 0o660,
           meaning="Permission of the Unix socket."),
    Option("listener.interface", TEXT, "", high=15,
           meaning="Network interface by which its clients have to come, such as eth0; without it any."),
    Option("listener.backlog", INTEGER, BACKLOG, unit="connections", low=1, high=65_535,
           meaning="Connections that may wait for being accepted; the system may allow fewer."),
    Option("listener.protocol", CHOICE, "mqtt", choices=("mqtt", "websocket"),
           meaning="mqtt is straight on the connection, websocket is MQTT in frames of WebSocket, as in browsers."),
    Option("listener.path", LIST, WEBSOCKET_PATHS,
           meaning="Paths of the URL at which WebSocket is served, or * for any; others get 404."),
    Option("listener.origins", LIST, [],
           meaning="Origins of the pages from which browsers may come, such as https://app.example.com, or * for any; "
                   "without it pages of the host that they ask for. Clients that are no browsers give none."),
    Option("listener.forwarded_by", LIST, [],
           meaning="Addresses or networks of HTTP proxies that are believed about their clients' addresses "
                   "(X-Forwarded-For)."),
    Option("listener.durability", CHOICE, "", choices=DURABILITIES,
           meaning="What an acknowledgement to its clients waits for; without it what durability says."),
    Option("listener.protocol_versions", LIST, ["3.1", "3.1.1", "5.0"],
           meaning="Versions of MQTT that its clients may speak."),
    Option("listener.anonymous", CHOICE, "auto", choices=("auto", "yes", "no", "loopback"),
           meaning="Who may come in here without a user name; auto is as in access.anonymous."),
    Option("listener.password_file", TEXT, "",
           meaning="As access.password_file, which it stands in place of for its clients."),
    Option("listener.acl_file", TEXT, "",
           meaning="As access.acl_file, which it stands in place of for its clients."),
    Option("listener.mount_point", TEXT, "", high=1_024,
           meaning="What stands in front of all topics of its clients, which see nothing else and never see it."),
    Option("listener.max_connections", INTEGER, 0, unit="connections", low=0, high=_SIZE_MAX,
           meaning="Connections by this listener; those beyond are closed, and 0 is no bound but max_connections."),
    Option("listener.assign_client_ids", BOOLEAN, True,
           meaning="As limits.assign_client_ids, where that is true."),
    Option("listener.client_id_prefix", TEXT, "", high=50,
           meaning="As limits.client_id_prefix, where it isn't empty."),
    Option("listener.username_as_client_id", BOOLEAN, False,
           meaning="Whether the user name is taken in place of the client identifier."),
    Option("listener.maximum_qos", INTEGER, 2, unit="QoS", low=0, high=2,
           meaning="Highest QoS, where that is below limits.maximum_qos."),
    Option("listener.topic_alias_maximum", INTEGER, 65_535, unit="aliases", low=0, high=65_535,
           meaning="Topic aliases that one client may set up, where that is below limits.topic_alias_maximum."),
    Option("listener.topic_aliases_out", INTEGER, 65_535, unit="aliases", low=0, high=65_535,
           meaning="Topic aliases that the broker sets up, where that is below limits.topic_aliases_out."),
    Option("listener.proxy", LIST, [],
           meaning="Addresses or networks of proxies, such as 10.0.0.0/8: they begin with a PROXY header, "
                   "version 1 or 2, and connections from elsewhere are closed."),
    Option("listener.proxy_tls", CHOICE, "", choices=("required", "certificate"),
           meaning="What PROXY headers must say, of version 2 then: that the client came to the proxy by TLS, or with "
                   "a certificate that the proxy has found to be good."),
    Option("listener.certificate", LIST, [],
           meaning="Files with a certificate and its chain in PEM: with them the listener has TLS. Clients that name a "
                   "server get the one that names it too, others the first."),
    Option("listener.key", LIST, [],
           meaning="Files with the private key of each certificate; without them it stands in the certificate's file."),
    Option("listener.client_ca", LIST, [],
           meaning="Files or folders of the authorities that sign client certificates; with them clients need one."),
    Option("listener.client_certificate", CHOICE, "required", choices=("required", "optional", "none"),
           meaning="Whether a client without a certificate is turned away, where client_ca is given, let in all the "
                   "same, or not asked for one: the authorities then only complete the chain of our own certificate."),
    Option("listener.client_certificate_dates", BOOLEAN, True,
           meaning="Whether a client certificate whose time is over, or still to come, is turned away."),
    Option("listener.crl", TEXT, "",
           meaning="File of revocation lists in PEM, one of each authority that signs client certificates."),
    Option("listener.identity", CHOICE, "", choices=("cn", "subject", "san", "user"),
           meaning="What of a client's certificate is its user name, whatever CONNECT says: the common name, the "
                   "whole subject, or the first alternative name (e-mail, URI, DNS). No password is asked for then. "
                   "With proxy_tls it is the common name that the proxy says; user is the user of the process at the "
                   "other end of a Unix socket."),
    Option("listener.tls_minimum", CHOICE, "1.2", choices=("1.2", "1.3"),
           meaning="Oldest version of TLS."),
    Option("listener.ciphers", TEXT, "",
           meaning="Ciphers of TLS 1.2 in OpenSSL's notation; without it Python's choice."),
)
# fmt: on

PRESETS: Final[dict[str, dict[str, int]]] = {
    "default": {"pool.initial_size": 1_024, "pool.max_size": 100_000, "max_connections": 1_000_000},
    "small": {"pool.initial_size": 256, "pool.max_size": 10_000, "max_connections": 10_000},
    "medium": {"pool.initial_size": 2_048, "pool.max_size": 100_000, "max_connections": 100_000},
    "large": {"pool.initial_size": 10_000, "pool.max_size": 100_000, "max_connections": 1_000_000},
}

SECRETS: Final = ("admin_token",)
BY_NAME: Final = {option.name: option for option in OPTIONS}
SECTIONS: Final = {
    "": "Listening, sizes, reports",
    "pool": "The connection pool",
    "store": "The store, with data",
    "log": "Log lines",
    "otel": "Traces for OpenTelemetry (docs/OBSERVABILITY.md)",
    "access": "Who may come in and what they may do",
    "alarms": "What raises an alarm",
    "limits": "Limits of connections, packets, sessions and messages",
}


def show(option: Option, value: Value) -> str:
    """A value as an operator would write it; of a secret nothing but that it is there."""
    if option.name in SECRETS:
        return "***" if value else ""
    if isinstance(value, tuple):
        return f"{value[0]}/{value[1]}"
    if isinstance(value, list):
        return ", ".join(value)
    if option.kind == PERMISSION and isinstance(value, int):
        return f"{value:04o}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """A sentence that offers the name most like `word`, or "" where none is like it."""
    import difflib  # only an error needs it, and it is slow to import

    close = difflib.get_close_matches(word, list(names), 1)
    return f"Did you mean {close[0]}?" if close else ""


def bad_value(key: str, value: object, problem: str, remedy: str, where: str) -> SettingsError:
    """A SettingsError whose message has the value too: "where: key = value: problem. remedy"."""
    shown = f'"{value}"' if isinstance(value, str) else str(value)
    if isinstance(value, bool):
        shown = shown.lower()
    if len(shown) > 80:
        shown = shown[:77] + "..."
    error = SettingsError(f"{key} = {shown}", problem, remedy, where)
    error.key = key
    return error


def unknown(name: str, value: object, names: Iterable[str], where: str) -> SettingsError:
    remedy = did_you_mean(name, names) or "`swellmq reference` lists all settings"
    return bad_value(name, value, "no such setting", remedy, where)


def from_text(option: Option, text: str | Sequence[str]) -> object:
    """What a flag or a variable spells, of the option's own type; the text itself where it spells nothing of it."""
    if option.kind == LIST:
        pieces = text.split(",") if isinstance(text, str) else [piece for one in text for piece in one.split(",")]
        return [piece.strip() for piece in pieces if piece.strip()]
    if isinstance(text, str) and option.kind == INTEGER:
        try:
            return int(text)
        except ValueError:
            return text
    if isinstance(text, str) and option.kind == BOOLEAN:
        return text.lower() in _TRUE if text.lower() in _TRUE + _FALSE else text
    return text


def checked(option: Option, raw: object, where: str) -> Value:
    """The value for an option, once its type and its range are found to be right."""
    kind = option.kind
    if kind == INTEGER and isinstance(raw, int) and not isinstance(raw, bool):
        if option.low <= raw <= option.high:
            return raw
        problem = f"below {option.low}" if raw < option.low else f"above {option.high}"
    elif kind == PERMISSION:
        return _permission(option, raw, where)
    elif kind == FRACTION:
        return _fraction(option, raw, where)
    elif kind == CHOICE and isinstance(raw, str):
        if raw in option.choices:
            return raw
        problem = "none of the choices"
    elif kind == TEXT and option.high and isinstance(raw, str) and not _fits(raw, option.high):
        problem = "too long, or no text that MQTT can carry"
    elif isinstance(raw, bool if kind == BOOLEAN else str) and kind in (BOOLEAN, TEXT):
        return raw
    elif kind == LIST and isinstance(raw, str):
        return [raw]
    elif kind == LIST and isinstance(raw, list | tuple) and all(isinstance(piece, str) for piece in raw):
        return list(raw)
    else:
        problem = f"not a {kind}" if kind != BOOLEAN else "neither true nor false"
    _reject(option, raw, problem, where)


def _fits(text: str, most_bytes: int) -> bool:
    """Whether an MQTT packet can carry `text`, and it has no more bytes than that."""
    try:
        return len(text.encode()) <= most_bytes and "\0" not in text
    except UnicodeEncodeError:
        return False


def _reject(option: Option, raw: object, problem: str, where: str) -> NoReturn:
    unit = f" ({option.unit})" if option.unit else ""
    raise bad_value(option.name, raw, problem, f"Give {option.range_text()}{unit}", where)


def _fraction(option: Option, raw: object, where: str) -> tuple[int, int]:
    over, slash, under = str(raw).partition("/")
    under = under if slash else "1"
    if isinstance(raw, bool | float) or not (over + under).isascii() or not (over.isdecimal() and under.isdecimal()):
        _reject(option, raw, "not a fraction of whole numbers", where)
    numerator, denominator = int(over), int(under)
    if not denominator < numerator <= FACTOR_MAX * denominator:
        _reject(option, raw, f"not above 1 and up to {FACTOR_MAX}", where)
    if numerator > FACTOR_PART_MAX:
        _reject(option, raw, f"made of numbers above {FACTOR_PART_MAX}", where)
    return numerator, denominator


def _permission(option: Option, raw: object, where: str) -> int:
    mode = raw
    if isinstance(raw, str):
        try:
            mode = int(raw, 8)
        except ValueError:
            mode = -1
    if isinstance(mode, bool) or not isinstance(mode, int) or not 0 <= mode <= 0o777:
        _reject(option, raw, "not an octal permission", where)
    return mode
