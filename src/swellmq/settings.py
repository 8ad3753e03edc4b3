"""The settings of one broker: gathered, checked against each other, and ready to read.

What comes later wins: default, preset, file, environment, flag. The options themselves are in `options.py`. Whatever
can't be honoured is a `SettingsError`. Nothing here opens a socket; the only files read are the configuration and what
says how much memory there is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from swellmq.errors import SettingsError
from swellmq.limits import CONNECTION_BYTES, Limits
from swellmq.listener_settings import (
    ListenerRules,
    ListenerSettings,
    check_addresses,
    check_unix_path,
    is_loopback,
    numeric,
    read_listeners,
    text_of,
)
from swellmq.options import (
    BY_NAME,
    OPTIONS,
    PRESETS,
    SECTIONS,
    Option,
    Value,
    bad_value,
    checked,
    did_you_mean,
    from_text,
    unknown,
)

Given: TypeAlias = dict[str, tuple[Value, str]]  # what was set, by the option's name, with its origin
Source: TypeAlias = tuple[str | None, Mapping[str, str], Mapping[str, str | Sequence[str]]]  # what `load` was given

FAR_ABOVE: Final = 10  # an initial_size of so many times the preset's own gets a warning

_NOT_SETTINGS: Final = ("SWELLMQ_INTERPRETED", "SWELLMQ_OPT", "SWELLMQ_PASSWORD")  # of the build, and of pub and sub


class Configuration:
    """What a file sets: `given` by the options' names, its `listeners`, and `warnings` about it.

    `rules` are for the listeners of `bind` and `port`, where the file has none of its own. Where `port_yields`, a port
    from elsewhere counts only then.
    """

    def __init__(
        self,
        given: Given,
        listeners: list[ListenerSettings],
        warnings: Sequence[str] = (),
        rules: ListenerRules | None = None,
        port_yields: bool = False,
    ) -> None:
        self.given = given
        self.listeners = listeners
        self.warnings = list(warnings)
        self.rules = rules if rules is not None else ListenerRules()
        self.port_yields = port_yields


class Settings:
    """The values that one broker runs with, each under its option's name with dots as underscores.

    `Settings(port=0, pool_max_size=300)` is for programs that embed a broker; `load` is for the command line.
    `notes` says what was adapted, `warnings` what is allowed but likely unwise; both are for the banner.
    """

    preset: str
    bind: list[str]
    port: int
    unix: str
    websocket_port: int
    data: str
    durability: str
    max_connections: int
    memory_budget_bytes: int
    overload_turn_ms: int
    status_interval_s: int
    sys_interval_s: int
    user: str
    pid_file: str
    admin: str
    admin_token: str
    admin_token_file: str
    admin_read_token_file: str
    admin_certificate: str
    admin_key: str
    pool_initial_size: int
    pool_max_size: int
    pool_mode: str
    pool_threshold_percent: int
    pool_factor: tuple[int, int]
    pool_shrink: bool
    pool_shrink_after_s: int
    pool_memory_max_bytes: int
    pool_memory_warn_percent: int
    store_segment_bytes: int
    log_level: str
    log_format: str
    log_file: str
    log_timestamp_format: str
    log_clients_per_second: int
    otel_endpoint: str
    otel_sample_percent: int
    otel_start_percent: int
    otel_spans_per_s: int
    otel_service_name: str
    access_anonymous: str
    access_password_file: str
    access_acl_file: str
    access_hash_threads: int
    access_ban_failures: int
    access_ban_connects: int
    access_ban_window_s: int
    access_ban_s: int
    access_never_ban: list[str]
    access_connects_per_s: int
    access_connections_per_address: int
    access_connections_per_user: int
    access_order: list[str]
    access_jwt_key_file: str
    access_jwt_jwks: str
    access_jwt_algorithms: list[str]
    access_jwt_issuer: str
    access_jwt_audience: list[str]
    access_jwt_username_claim: str
    access_jwt_leeway_s: int
    access_jwt_refresh_s: int
    access_http_url: str
    access_http_ask: list[str]
    access_http_token_file: str
    access_http_timeout_ms: int
    access_http_threads: int
    access_logins_waiting_max: int
    access_remember_s: int
    alarms_after_s: int
    alarms_pool_percent: int
    alarms_overflow: int
    alarms_connections_percent: int
    alarms_descriptors_percent: int
    alarms_memory_percent: int
    alarms_turn_ms: int
    alarms_slow_clients: int
    alarms_dropped_per_s: int
    alarms_waiting_percent: int
    alarms_store_percent: int
    alarms_disk_free_bytes: int
    limits_connect_timeout_ms: int
    limits_write_timeout_ms: int
    limits_pending_timeout_ms: int
    limits_keep_alive_max_s: int
    limits_outbox_bytes: int
    limits_messages_per_s: int
    limits_bytes_per_s: int
    limits_takeovers: int
    limits_packet_bytes: int
    limits_payload_bytes: int
    limits_topic_levels: int
    limits_topic_bytes: int
    limits_topic_alias_maximum: int
    limits_topic_aliases_out: int
    limits_receive_maximum: int
    limits_inflight_max: int
    limits_inflight_bytes: int
    limits_session_expiry_max_s: int
    limits_session_expiry_3_s: int
    limits_sessions: int
    limits_queued_messages: int
    limits_queued_bytes: int
    limits_waiting_bytes: int
    limits_subscriptions: int
    limits_client_id_bytes: int
    limits_assign_client_ids: bool
    limits_client_id_prefix: str
    limits_client_ids_begin: str
    limits_client_id_3_1_strict: bool
    limits_maximum_qos: int
    limits_retain_available: bool
    limits_check_retain_source: bool
    limits_retained_messages: int
    limits_retained_bytes: int
    limits_wildcard_subscription_available: bool
    limits_shared_subscription_available: bool
    limits_subscription_identifier_available: bool
    limits_upgrade_outgoing_qos: bool
    limits_queue_qos_0: bool
    limits_overlapping: str
    limits_check_payload_format: bool
    limits_like_mosquitto: bool
    limits_response_information: str

    listeners: list[ListenerSettings]
    notes: list[str]
    warnings: list[str]

    def __init__(self, *, listeners: Sequence[ListenerSettings] = (), **values: object) -> None:
        by_attribute = {option.attribute: option for option in OPTIONS}
        self._source: Source | None = None
        given: Given = {}
        for keyword, raw in values.items():
            option = by_attribute.get(keyword)
            if option is None:
                raise unknown(keyword, raw, [*by_attribute, "listeners"], "")
            given[option.name] = (checked(option, raw, ""), "keyword")
        self._settle(given, list(listeners))

    @classmethod
    def load(
        cls, config: str | None, environment: Mapping[str, str], flags: Mapping[str, str | Sequence[str]]
    ) -> Settings:
        """The settings of the command line: `flags` has the text given for each option's name, or several texts."""
        file = _read_file(config) if config is not None else Configuration({}, [])
        given = file.given
        later = _read_environment(environment)
        for name, text in flags.items():
            option = BY_NAME[name]
            later[name] = (checked(option, from_text(option, text), option.flag), "flag")
        if file.port_yields and file.listeners:
            later.pop("port", None)
        settings = cls.__new__(cls)
        settings._source = (config, environment, flags)
        settings._settle(given | later, file.listeners, file)
        return settings

    def read_again(self) -> Settings:
        """The settings as they are by now, where they came from the command line; else a copy.

        Raises SettingsError as `load`.
        """
        if self._source is None:
            same = Settings.__new__(Settings)
            vars(same).update(vars(self))  # as the module `copy` does, which costs a broker 0.1 MB
            return same
        return Settings.load(*self._source)

    def explain(self, name: str) -> tuple[Value, str]:
        """The value of an option, by its name with dots, and where it comes from: "default", "preset small",
        "file.toml:12", "environment", "flag" or "keyword", with what lowered it, if anything did."""
        return getattr(self, BY_NAME[name].attribute), self._origins[name]

    def limits(self) -> Limits:
        """The `Limits` of a broker with these settings: a new object at each call."""
        limits = Limits()
        for option in OPTIONS:
            if option.section == "limits":
                setattr(limits, option.name.removeprefix("limits."), getattr(self, option.attribute))
        return limits

    def where(self, name: str) -> str:
        """Where an operator finds the value of an option, for errors: file and line, flag or variable, or ""."""
        return _where(BY_NAME[name], self._origins[name])

    def knows_users(self) -> bool:
        """Whether anything here says how users are known."""
        asks_http = bool(self.access_http_url) and "connect" in self.access_http_ask
        return bool(self.access_password_file or self.access_jwt_key_file or self.access_jwt_jwks) or asks_http

    def has_door(self) -> bool:
        """Whether anything here says who may come in, or what they may do."""
        if self.knows_users() or self.access_anonymous != "auto" or self.access_acl_file or self.access_http_url:
            return True
        for listener in self.listeners:
            rules = listener.rules
            if rules.anonymous != "auto" or rules.password_file or rules.acl_file:
                return True
        bounds = (self.access_ban_connects, self.access_connects_per_s)
        return any((*bounds, self.access_connections_per_address, self.access_connections_per_user))

    def names_no_listener(self) -> bool:
        """Whether nobody has said where to listen."""
        shorts = ("bind", "port", "unix", "websocket_port")
        return not self._named and all(self._origins[name] == "default" for name in shorts)

    def replace_listeners(self, listeners: list[ListenerSettings]) -> None:
        """Listen by sockets that were handed over: a reload has no others."""
        self.listeners = listeners
        self.handed_over = True
        self.warnings += [warning for warning in self._open_listeners() if warning not in self.warnings]

    def preheated_objects(self) -> int:
        """Connection objects made at start."""
        if self.pool_mode == "none":
            return 0
        return self.pool_max_size if self.pool_mode == "fixed" else self.pool_initial_size

    def _settle(self, given: Given, listeners: list[ListenerSettings], file: Configuration | None = None) -> None:
        """Take what was given over what the preset and the defaults say, and check how the values go together."""
        self._origins: dict[str, str] = {}
        self._named = bool(listeners)
        self.handed_over = False  # systemd has opened the listeners
        self.notes = []
        self.warnings = list(file.warnings) if file is not None else []
        preset = str(given["preset"][0]) if "preset" in given else "default"
        for option in OPTIONS:
            value, origin = given.get(option.name, (option.default, "default"))
            if option.name in PRESETS[preset] and option.name not in given:
                value = PRESETS[preset][option.name]
                origin = "default" if preset == "default" else "preset " + preset
            setattr(self, option.attribute, list(value) if isinstance(value, list) else value)
            self._origins[option.name] = origin
        self._fit("pool.max_size", "max_connections")
        if self.pool_mode != "none":
            self._fit("pool.initial_size", "pool.max_size")
        if self.pool_mode != "dynamic" and "pool.initial_size" in given:
            self.notes.append(f"pool.initial_size has no effect with pool.mode = {self.pool_mode}")
        self.listeners = self._make_listeners(given, listeners, file.rules if file is not None else None)
        if not self.data and "durability" in given:
            self.notes.append("durability has no effect without data")
        if self.admin or any(name.startswith("admin_") and given[name][0] for name in given):
            from swellmq.admin.settings import check_admin  # most brokers have none

            check_admin(self)
        self._warn()

    def _fit(self, name: str, ceiling: str) -> None:
        """Lower a size that nobody chose to its ceiling; a chosen size above it is a contradiction."""
        option = BY_NAME[name]
        size: int = getattr(self, option.attribute)
        size_max: int = getattr(self, BY_NAME[ceiling].attribute)
        if size <= size_max:
            return
        origin = self._origins[name]
        if origin != "default" and not origin.startswith("preset "):
            raise bad_value(
                name,
                size,
                f"above {ceiling} = {size_max} ({self._origins[ceiling]})",
                f"Lower {name} to {size_max} or less, or raise {ceiling} to {size} or more",
                _where(option, origin),
            )
        setattr(self, option.attribute, size_max)
        self._origins[name] = f"{origin}, lowered to {ceiling}"
        self.notes.append(f"{name} is lowered from {size} ({origin}) to {ceiling} = {size_max}")

    def _make_listeners(
        self, given: Given, listeners: list[ListenerSettings], rules: ListenerRules | None
    ) -> list[ListenerSettings]:
        """The listeners set out in full, unless bind or port came later and replace them; and the Unix one."""
        short = [(name, given[name][1]) for name in ("bind", "port") if name in given]
        replacing = [(name, origin) for name, origin in short if origin in ("environment", "flag")]
        if listeners and short and not replacing:
            name, origin = short[0]
            problem = "given beside listeners that have their own bind and port"
            remedy = f"Leave {name} out, or leave the listeners out"
            raise bad_value(name, given[name][0], problem, remedy, _where(BY_NAME[name], origin))
        if listeners and replacing:
            names = " and ".join(name for name, _ in replacing)
            self.notes.append(f"the listeners of the file give way to {names}")
        if not listeners or replacing or self.websocket_port:
            check_addresses(self.bind, "bind", _where(BY_NAME["bind"], self._origins["bind"]))
        if not listeners or replacing:
            listeners = [ListenerSettings(address, self.port, rules=rules) for address in numeric(self.bind)]
        if self.websocket_port:
            port = self.websocket_port
            more = [ListenerSettings(address, port, protocol="websocket") for address in numeric(self.bind)]
            listeners = [*listeners, *more]
        if self.unix:
            check_unix_path(self.unix, "unix", _where(BY_NAME["unix"], self._origins["unix"]))
            listeners = [*listeners, ListenerSettings(unix=self.unix)]
        if not listeners:
            problem = "nothing to listen on"
            raise bad_value("bind", self.bind, problem, "Give an address in bind, or a path in unix", "")
        _check_places(listeners)
        return listeners

    def _warn(self) -> None:
        if self.access_acl_file and not self.knows_users():
            self.warnings.append("access.acl_file, but nothing says who the users are: clients may take any name")
        self.warnings += self._open_listeners()
        objects = self.preheated_objects()
        cost = f"{objects} objects preheated at start cost {objects * CONNECTION_BYTES / 1e6:.1f} MB"
        memory = memory_bytes()
        if memory and objects * CONNECTION_BYTES * 100 > memory * self.pool_memory_warn_percent:
            share = objects * CONNECTION_BYTES * 100 // memory
            self.warnings.append(f"{cost}, {share} % of the {memory // 1_000_000} MB of memory there is")
        usual = PRESETS[self.preset]["pool.initial_size"]
        if self.pool_mode == "dynamic" and objects > FAR_ABOVE * usual:
            self.warnings.append(f"{cost}; the preset {self.preset} starts with {usual} and grows as clients arrive")

    def _open_listeners(self) -> list[str]:
        """What to say of listeners by which anybody who reaches them comes in."""
        warnings: list[str] = []
        anonymous = self.access_anonymous
        for listener in self.listeners:
            own = listener.rules.anonymous
            known = self.knows_users() or bool(listener.rules.password_file)
            is_open = anonymous == "yes" or (anonymous == "auto" and not known)
            nameless = (own == "yes" or (own == "auto" and is_open)) and not listener.knows_clients()
            if nameless and not listener.unix and not is_loopback(listener.bind):
                warnings.append(f"{listener} is open to whoever can reach it: there is no authentication")
        return warnings


def memory_bytes(root: str = "/") -> int:
    """The memory this process may use: the least limit of its control groups, else all there is; 0 where unknown."""
    amounts: list[int] = []
    for line in text_of(root + "proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            amounts.append(int(line.split()[1]) * 1024)
    for line in text_of(root + "proc/self/cgroup").splitlines():
        _, controllers, group = line.split(":", 2)
        if controllers == "":  # version 2
            folder, file = root + "sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            folder, file = root + "sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        parts = [part for part in group.split("/") if part]
        for depth in range(len(parts) + 1):  # the limit of every group around ours holds as well
            text = text_of("/".join([folder, *parts[:depth], file])).strip()
            if text.isdecimal():  # it may say "max"
                amounts.append(int(text))
    return min(amounts, default=0)


def _check_places(listeners: list[ListenerSettings]) -> None:
    """Raise SettingsError where two listeners would be at one place."""
    places: set[tuple[str, int, str]] = set()
    for listener in listeners:
        place = (listener.unix, 0, "") if listener.unix else (listener.bind, listener.port, listener.rules.interface)
        if place in places and (listener.unix or listener.port):
            raise SettingsError(f"listener {listener}", "there is another at that place", "Give each a port of its own")
        places.add(place)


def _where(option: Option, origin: str) -> str:
    """Where an operator finds the value to mend, for an origin as in `explain`."""
    if origin in ("flag", "environment"):
        return option.flag if origin == "flag" else option.variable
    return "" if origin in ("default", "keyword") or origin.startswith("preset ") else origin


def _read_environment(environment: Mapping[str, str]) -> Given:
    """What the variables named SWELLMQ_* set. An empty one counts as not there."""
    by_variable = {option.variable: option for option in OPTIONS}
    given: Given = {}
    for variable, text in environment.items():
        if not variable.startswith("SWELLMQ_") or text == "" or variable in _NOT_SETTINGS:
            continue
        if _is_service_link(variable, text):
            continue
        option = by_variable.get(variable)
        if option is None:
            raise unknown(variable, text, by_variable, "environment")
        given[option.name] = (checked(option, from_text(option, text), variable), "environment")
    return given


def _is_service_link(variable: str, text: str) -> bool:
    """Whether Kubernetes or Docker set it: they describe a service called "swellmq" to all its neighbours so."""
    return variable.startswith(("SWELLMQ_SERVICE_", "SWELLMQ_PORT_")) or (
        variable == "SWELLMQ_PORT" and text.startswith(("tcp://", "udp://"))
    )


def _read_file(path: str) -> Configuration:
    """What a TOML file sets, or a mosquitto.conf where the name ends in .conf."""
    if path.endswith(".conf"):
        from swellmq.mosquitto.conf import read_mosquitto_conf

        return read_mosquitto_conf(path)
    document, lines = _parse_file(path)

    def where_of(*keys: str) -> str:
        numbers = [lines[key] for key in keys if key in lines]
        return f"{path}:{numbers[0]}" if numbers else path

    entries: list[tuple[str, object]] = []
    listeners: list[ListenerSettings] = []
    for key, raw in document.items():
        if key == "listener":
            listeners = read_listeners(raw, path, lines)
        elif key and key in SECTIONS:
            if not isinstance(raw, dict):
                remedy = f"Write [{key}] on a line of its own, and its settings below it"
                raise bad_value(key, raw, "a section, not a setting", remedy, where_of(key))
            entries += [(f"{key}.{inner}", value) for inner, value in raw.items()]
        elif isinstance(raw, dict) and key not in BY_NAME:
            remedy = did_you_mean(key, [*SECTIONS, "listener"]) or "`swellmq reference` lists all settings"
            raise SettingsError(f"[{key}]", "no such section", remedy, where_of(key))
        else:
            entries.append((key, raw))
    given: Given = {}
    for name, raw in entries:
        where = where_of(name, name.partition(".")[0])
        if name not in BY_NAME:
            raise unknown(name, raw, BY_NAME, where)
        given[name] = (checked(BY_NAME[name], raw, where), where)
    return Configuration(given, listeners)


def read_configuration(path: str, kind: str, where: str = "") -> str:
    """The text of a file that is to be a `kind`, which stands at `where`. Raises SettingsError."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            return file.read()
    except (OSError, ValueError) as error:
        problem = error.strerror if isinstance(error, OSError) and error.strerror else "not text in UTF-8"
        raise bad_value("config", path, f"can't be read: {problem}", f"Give the path of a {kind}", where) from None


def _parse_file(path: str) -> tuple[dict[str, object], dict[str, int]]:
    """The TOML in a file, and the line of each of its keys."""
    import tomllib  # a broker without a file does without it

    text = read_configuration(path, "TOML file")
    try:
        return tomllib.loads(text), _lines_of_keys(text)
    except RecursionError:
        raise bad_value("config", path, "not TOML: nested too deeply", "Take some levels away", path) from None
    except ValueError as error:  # TOMLDecodeError, or a number of more digits than Python reads
        problem, _, place = str(error).partition(" (at line ")
        where = path + ":" + place.partition(",")[0] if place else path
        raise bad_value("config", path, f"not TOML: {problem}", "Mend it at that line", where) from None


def _lines_of_keys(text: str) -> dict[str, int]:
    """The line of each section and key, counted from 1; the n-th listener's keys are "listener[n].port" and so on.

    A scan by line and no parser: where TOML is written in an unusual way a key is missing here, which costs an error
    message its line and nothing else.
    """
    lines: dict[str, int] = {}
    section = ""
    listeners = 0
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if line.startswith("[["):
            listeners += 1
            section = f"listener[{listeners}]"
            lines[section] = number
        elif line.startswith("["):
            section = line[1:].partition("]")[0].strip()
            lines.setdefault(section, number)
        elif "=" in line and not line.startswith("#"):
            key = line.partition("=")[0].strip().strip("\"'")
            lines.setdefault(f"{section}.{key}" if section else key, number)
    return lines
