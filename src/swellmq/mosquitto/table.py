"""Every option of a mosquitto.conf, and what it is here: a setting, a value of its listener, nothing, or an error.

The table is all there is to extend: a part of the broker that arrives turns an `Unable` into a `Setting` or an
`OfListener`. The options and their defaults are those of mosquitto 2.1, mosquitto.conf(5).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from swellmq.options import Value, did_you_mean
from swellmq.settings import Given

Converter: TypeAlias = Callable[[str], Value]  # raises ValueError with what the value should have been

NEVER_S: Final = 0xFFFFFFFF
NO_BOUND: Final = 1 << 40
AUTO_ID_PREFIX_MAX: Final = 50
MEMORY_LEAST: Final = 32_000_000  # the process itself is 16 MB


class Row:
    """What one option is. `Row` itself: it needs code, which is in conf.py."""


class Setting(Row):
    """It sets `ours`, one setting or several, to what `convert` makes of its value."""

    def __init__(self, ours: str, convert: Converter) -> None:
        self.ours = ours.split()
        self.convert = convert


class OfListener(Row):
    """It sets an attribute of its listener."""

    def __init__(self, attribute: str, convert: Converter) -> None:
        self.attribute = attribute
        self.convert = convert


class Accepted(Row):
    """Nothing is to be done: it is always so here, or it only concerns how mosquitto is made."""

    def __init__(self, convert: Converter) -> None:
        self.convert = convert


class Harmless(Row):
    """It has no effect here, which a warning says."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


class Unable(Row):
    """It can't be honoured: an error that says what to do, unless its value is one of `harmless`."""

    def __init__(self, problem: str, remedy: str, harmless: tuple[str, ...] = ()) -> None:
        self.problem = problem
        self.remedy = remedy
        self.harmless = harmless


# Values


def boolean(text: str) -> bool:
    """`true` or `false`, as mosquitto spells them."""
    if text in ("true", "1"):
        return True
    if text in ("false", "0"):
        return False
    raise ValueError("true or false")


def number(low: int, high: int, instead: dict[int, int] | None = None) -> Converter:
    """A whole number within bounds; `instead` has values that mean something else, such as 0 for no bound."""

    def convert(text: str) -> int:
        word = text.split()[0]
        try:
            value = int(word)
        except ValueError:
            raise ValueError("a whole number") from None
        if instead is not None and value in instead:
            return instead[value]
        if not low <= value <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return value

    return convert


def text(value: str) -> str:
    """Any text."""
    return value


def answer(yes: Value, no: Value) -> Converter:
    """One of two values for true and false."""
    return lambda value: yes if boolean(value) else no


def duration(value: str) -> int:
    """Seconds of a duration such as `14d` or `2m`, where m is a month."""
    seconds = {"s": 1, "h": 3_600, "d": 86_400, "w": 604_800, "m": 2_592_000, "y": 31_536_000}
    if value[-1] in seconds and value[:-1].isdecimal() and int(value[:-1]) > 0:
        return min(int(value[:-1]) * seconds[value[-1]], NEVER_S - 1)
    raise ValueError("a number and one of s, h, d, w, m (months) and y, such as 14d")


def versions(value: str) -> list[str]:
    """Protocol levels: 3, 4 and 5, with commas between them."""
    names = {"3": "3.1", "4": "3.1.1", "5": "5.0"}
    words = value.replace(",", " ").split()
    if not words or not set(words) <= set(names):
        raise ValueError("some of 3, 4 and 5, with commas between them")
    return [names[word] for word in words]


def protocol(value: str) -> str:
    """The protocol of a listener, as we call it."""
    if value == "mqtt":
        return "mqtt"
    if value == "websockets":
        return "websocket"
    raise ValueError("mqtt or websockets")


def tls_version(value: str) -> str:
    """The oldest version of TLS, as mosquitto spells it."""
    if value in ("tlsv1.3", "tlsv1.2", "tlsv1.1"):
        return value
    raise ValueError("tlsv1.2 or tlsv1.3")


def domain(value: str) -> str:
    """`ipv4` or `ipv6`."""
    if value in ("ipv4", "ipv6"):
        return value
    raise ValueError("ipv4 or ipv6")


def prefix(value: str) -> str:
    """What generated client identifiers begin with."""
    if len(value.encode()) > AUTO_ID_PREFIX_MAX:
        raise ValueError(f"a text of up to {AUTO_ID_PREFIX_MAX} bytes")
    return value


def show(value: Value) -> str:
    """A value as it stands in a mosquitto.conf."""
    return str(value).lower() if isinstance(value, bool) else str(value)


_ENGINE: Final = Unable(
    "keys of engines and hardware can't be used", "Give a key in a file by keyfile, and leave it out"
)
_PLUGIN: Final = Unable("plugins are libraries of mosquitto", "Leave it out; for Python see swellmq.Broker(access=...)")
_BRIDGE: Final = Unable(
    "bridges come with a later version", "Leave the bridge out, and let the other broker bridge to this one"
)
_PSK: Final = Unable("pre-shared keys are not supported", "Use certificates, or a proxy that speaks TLS-PSK")
_PAGES: Final = Unable("files are not served", "Serve them by a web server, and leave it out")

# fmt: off
TABLE: Final[dict[str, Row]] = {
    # Listeners. What belongs to one follows its `listener`, `port` or `bind_address`.
    "listener": Row(),
    "port": Row(),
    "bind_address": Row(),
    "protocol": OfListener("protocol", protocol),
    "socket_domain": OfListener("socket_domain", domain),
    "max_connections": OfListener("max_connections", number(1, 10_000_000, {-1: 0, 0: 0})),
    "maximum_qos": OfListener("maximum_qos", number(0, 2)),
    "max_qos": OfListener("maximum_qos", number(0, 2)),
    "max_topic_alias": OfListener("topic_alias_maximum", number(0, 65_535)),
    "max_topic_alias_broker": OfListener("topic_aliases_out", number(0, 65_535)),
    "accept_protocol_versions": OfListener("protocol_versions", versions),
    "listener_allow_anonymous": OfListener("anonymous", answer("yes", "no")),
    "listener_auto_id_prefix": OfListener("client_id_prefix", prefix),
    "use_username_as_clientid": OfListener("username_as_client_id", boolean),
    "mount_point": OfListener("mount_point", text),
    "bind_interface": OfListener("interface", text),
    "websockets_origin": Row(),
    "http_dir": _PAGES,
    "per_listener_settings": Row(),
    # Who may come in
    "allow_anonymous": Row(),
    "password_file": Setting("access.password_file", text),
    "allow_zero_length_clientid": Setting("limits.assign_client_ids", boolean),
    "auto_id_prefix": Setting("limits.client_id_prefix", prefix),
    "clientid_prefixes": Setting("limits.client_ids_begin", text),
    "acl_file": Setting("access.acl_file", text),
    "psk_file": _PSK,
    "psk_hint": _PSK,
    # TLS
    "cafile": OfListener("cafile", text),
    "capath": OfListener("capath", text),
    "certfile": OfListener("certfile", text),
    "keyfile": OfListener("keyfile", text),
    "crlfile": OfListener("crlfile", text),
    "require_certificate": OfListener("require_certificate", boolean),
    "tls_version": OfListener("tls_version", tls_version),
    "ciphers": OfListener("ciphers", text),
    "ciphers_tls1.3": Unable("Python can't choose ciphers of TLS 1.3", "Set Ciphersuites in an openssl.cnf"),
    "disable_client_cert_date_checks": OfListener("disable_client_cert_date_checks", boolean),
    "use_identity_as_username": OfListener("use_identity_as_username", boolean),
    "use_subject_as_username": OfListener("use_subject_as_username", boolean),
    "tls_keyform": Unable("keys are in files in PEM", "Give such a file by keyfile, and leave it out", ("pem",)),
    "tls_engine": _ENGINE, "tls_engine_kpass_sha1": _ENGINE,
    "dhparamfile": Harmless("current TLS needs no such file"),
    "enable_proxy_protocol": OfListener("enable_proxy_protocol", number(1, 2)),
    "proxy_protocol_v2_require_tls": OfListener("proxy_protocol_v2_require_tls", boolean),
    # What is kept
    "persistence": Row(),
    "retained_persistence": Row(),
    "persistence_location": Row(),
    "persistence_file": Row(),
    "autosave_interval": Accepted(number(-1 << 31, 1 << 31)),  # a store is always current
    "autosave_on_changes": Accepted(boolean),
    # Limits
    "global_max_connections": Setting("max_connections", number(1, 10_000_000, {-1: 1_000_000, 0: 1_000_000})),
    "global_max_clients": Setting("limits.sessions", number(1, NO_BOUND, {-1: NO_BOUND, 0: NO_BOUND})),
    "max_packet_size": Setting("limits.packet_bytes", number(20, 268_435_460)),
    "message_size_limit": Setting("limits.payload_bytes", number(1, 268_435_455, {0: 268_435_455})),
    "max_inflight_messages": Setting("limits.inflight_max limits.receive_maximum", number(1, 65_535, {0: 65_535})),
    "max_inflight_bytes": Setting("limits.inflight_bytes", number(0, NO_BOUND)),
    "max_queued_messages": Setting("limits.queued_messages", number(1, 1_000_000_000, {0: 1_000_000_000})),
    "max_queued_bytes": Setting("limits.queued_bytes", number(1, NO_BOUND, {0: NO_BOUND})),
    "max_keepalive": Setting("limits.keep_alive_max_s", number(1, 65_535, {0: 65_535})),
    "persistent_client_expiration": Setting("limits.session_expiry_max_s limits.session_expiry_3_s", duration),
    "memory_limit": Setting("memory_budget_bytes", number(MEMORY_LEAST, NO_BOUND, {0: 0})),
    # Messages
    "retain_available": Setting("limits.retain_available", boolean),
    "retain_expiry_interval": Harmless("an expired message is never sent, and goes when its topic is looked at"),
    "check_retain_source": Setting("limits.check_retain_source", boolean),
    "upgrade_outgoing_qos": Setting("limits.upgrade_outgoing_qos", boolean),
    "queue_qos0_messages": Setting("limits.queue_qos_0", boolean),
    "allow_duplicate_messages": Setting("limits.overlapping", answer("each", "one")),
    "set_tcp_nodelay": Accepted(boolean),  # always on
    "sys_interval": Setting("sys_interval_s", number(0, 65_535)),
    # The process
    "log_dest": Row(),
    "log_type": Row(),
    "log_facility": Harmless("there is no syslog here"),
    "log_timestamp": Row(),
    "log_timestamp_format": Setting("log.timestamp_format", text),
    "connection_messages": Setting("log.clients_per_second", answer(20, 0)),
    "websockets_log_level": Harmless("WebSocket has no log of its own"),
    "websockets_headers_size": Accepted(number(0, 65_535)),
    "packet_buffer_size": Accepted(number(0, 65_535)),
    "include_dir": Row(),
    "pid_file": Setting("pid_file", text),
    "user": Setting("user", text),
    "retry_interval": Harmless("messages are sent again when a client comes back, as MQTT asks"),
    "enable_control_api": Unable("there is no $CONTROL", "Leave it out", ("false",)),
    # Plugins and bridges
    "plugin": _PLUGIN, "auth_plugin": _PLUGIN, "global_plugin": _PLUGIN, "plugin_load": _PLUGIN, "plugin_use": _PLUGIN,
    "auth_plugin_deny_special_chars": _PLUGIN,
    "connection": _BRIDGE, "address": _BRIDGE, "addresses": _BRIDGE, "topic": _BRIDGE,
}
# fmt: on

# What a file leaves open is as in mosquitto 2.1, not as in our defaults.
DEFAULTS: Final[dict[str, Value]] = {
    "limits.like_mosquitto": True,
    "limits.topic_alias_maximum": 10,
    "limits.topic_aliases_out": 10,
    "limits.packet_bytes": 2_000_000,
    "limits.inflight_max": 20,
    "limits.receive_maximum": 20,
    "limits.queued_messages": 1_000,
    "limits.queued_bytes": NO_BOUND,
    "limits.session_expiry_3_s": NEVER_S,
    "limits.overlapping": "each",
    "sys_interval_s": 10,
}


def row_of(name: str) -> Row | None:
    """The row of an option; None where mosquitto has none of this name."""
    if name.startswith(("auth_opt_", "plugin_opt_")):
        return _PLUGIN
    if name.startswith(("bridge_", "local_", "remote_", "notification")) or name in _OF_BRIDGES:
        return _BRIDGE
    return TABLE.get(name)


_OF_BRIDGES: Final = (
    "cleansession",
    "clientid",
    "idle_timeout",
    "keepalive_interval",
    "password",
    "restart_timeout",
    "round_robin",
    "start_type",
    "threshold",
    "try_private",
    "username",
)


def similar(name: str) -> str:
    """A sentence that offers an option of a similar name."""
    return did_you_mean(name, TABLE) or "mosquitto.conf(5) lists the options"


def defaults(path: str) -> Given:
    """The settings of a file that says nothing."""
    return {name: (value, f"{path}: default of mosquitto") for name, value in DEFAULTS.items()}
