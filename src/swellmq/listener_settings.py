"""What one place to listen on is given: its settings, the rules for its clients, and its `[[listener]]` table, checked.

What it says about TLS, proxies and pages is the matter of `tls_settings.py`; how it goes together with the rest of the
settings, of `settings.py`. Nothing here opens a socket.
"""

from __future__ import annotations

import _socket as socket  # socket.py brings enums and selectors: 0.4 MB more
import os
from collections.abc import Sequence
from typing import Any, Final

from swellmq.errors import MalformedPacket, SettingsError
from swellmq.limits import BACKLOG
from swellmq.options import LISTENER_OPTIONS, WEBSOCKET_PATHS, Value, bad_value, checked, unknown
from swellmq.tls_settings import ProxySettings, TlsSettings, forwarders_of, origins_of, proxies_of, tls_of

UNIX_PATH_BYTES: Final = 107  # sun_path of Linux, without its final zero


class ListenerRules:
    """What holds for the clients of one listener, below what `[access]` and `[limits]` say."""

    def __init__(self) -> None:
        self.protocol_versions = ["3.1", "3.1.1", "5.0"]
        self.anonymous = "auto"
        self.client_id_prefix = ""
        self.username_as_client_id = False
        self.maximum_qos = 2
        self.topic_alias_maximum = 65_535
        self.topic_aliases_out = 65_535
        self.assign_client_ids = True
        self.max_connections = 0
        self.interface = ""
        self.mount_point = ""
        self.password_file = ""
        self.acl_file = ""

    def are_usual(self) -> bool:
        """Whether they change nothing."""
        return vars(self) == vars(ListenerRules())


class ListenerSettings:
    """One place to listen on: `bind` and `port`, or the path `unix` where it isn't empty.

    `bind` is a numeric address. `unix_mode` is the permission of the socket. `protocol` is "mqtt" or "websocket", which
    is served at each of `paths` to pages of `origins`; `forwarders` are networks of HTTP proxies that are believed
    about addresses. `durability` is empty where it is that of the broker. `rules` are for its clients. Where `by_user`,
    a client of a Unix socket is the user of its process.
    """

    def __init__(
        self,
        bind: str = "127.0.0.1",
        port: int = 1883,
        unix: str = "",
        unix_mode: int = 0o660,
        backlog: int = BACKLOG,
        protocol: str = "mqtt",
        paths: Sequence[str] = WEBSOCKET_PATHS,
        durability: str = "",
        rules: ListenerRules | None = None,
        tls: TlsSettings | None = None,
        proxies: ProxySettings | None = None,
        origins: Sequence[str] = (),
        forwarders: Sequence[str] = (),
        by_user: bool = False,
    ) -> None:
        self.bind = bind
        self.port = port
        self.unix = unix
        self.unix_mode = unix_mode
        self.backlog = backlog
        self.protocol = protocol
        self.paths = list(paths)
        self.durability = durability
        self.rules = rules if rules is not None else ListenerRules()
        self.tls = tls
        self.proxies = proxies
        self.origins = list(origins)
        self.forwarders = list(forwarders)
        self.by_user = by_user

    def __str__(self) -> str:
        if self.unix:
            return self.scheme() + "unix:" + self.unix
        place = f"[{self.bind}]:{self.port}" if ":" in self.bind else f"{self.bind}:{self.port}"
        return self.scheme() + place

    def scheme(self) -> str:
        """What stands before its address where it is not plain MQTT."""
        if self.protocol == "websocket":
            return "wss:" if self.tls is not None else "ws:"
        return "tls:" if self.tls is not None else ""

    def has_layers(self) -> bool:
        """Whether anything stands between its sockets and MQTT."""
        above = self.protocol == "websocket" or bool(self.rules.mount_point)
        return above or self.by_user or self.tls is not None or self.proxies is not None

    def knows_clients(self) -> bool:
        """Whether nobody comes in by it whom a certificate, or the system, does not name."""
        if self.by_user or (self.proxies is not None and self.proxies.tls == "certificate"):
            return True
        return self.tls is not None and self.tls.required


def read_listeners(raw: object, path: str, lines: dict[str, int]) -> list[ListenerSettings]:
    """The `[[listener]]` tables of a file."""
    if not isinstance(raw, list) or not all(isinstance(table, dict) for table in raw):
        where = f"{path}:{lines['listener']}" if "listener" in lines else path
        remedy = "Write [[listener]], with two brackets, above the settings of each listener"
        raise SettingsError("listener", "not a list of tables", remedy, where)
    listeners: list[ListenerSettings] = []
    by_name = {option.name: option for option in LISTENER_OPTIONS}
    for count, table in enumerate(raw, 1):
        values = {option.name: option.default for option in LISTENER_OPTIONS}
        wheres: dict[str, str] = {}
        for key, value in table.items():
            line = lines.get(f"listener[{count}].{key}") or lines.get(f"listener[{count}]")
            name, where = "listener." + key, f"{path}:{line}" if line else path
            if name not in by_name:
                raise unknown(name, value, by_name, where)
            values[name] = checked(by_name[name], value, where)
            wheres[name] = where
        listeners += _listeners_of(values, wheres)
    return listeners


def _listeners_of(values: dict[str, Value], wheres: dict[str, str]) -> list[ListenerSettings]:
    """The listeners of one table: one for its Unix socket, or one for each of its addresses."""
    bind, port, unix = values["listener.bind"], values["listener.port"], values["listener.unix"]
    mode, backlog = values["listener.mode"], values["listener.backlog"]
    protocol, paths = values["listener.protocol"], values["listener.path"]
    assert isinstance(bind, list) and isinstance(port, int) and isinstance(unix, str)
    durability = values["listener.durability"]
    assert isinstance(durability, str)
    assert isinstance(mode, int) and isinstance(backlog, int) and isinstance(protocol, str) and isinstance(paths, list)
    if not bind:
        raise bad_value("listener.bind", bind, "empty", "Give an address", wheres["listener.bind"])
    for name in ("listener.bind", "listener.port"):
        if unix and name in wheres:
            problem = "given beside unix: a listener has addresses or a path"
            raise bad_value(name, values[name], problem, "Make two listeners of it", wheres[name])
    if "listener.path" in wheres:
        _check_paths(paths, protocol, wheres["listener.path"])
    common: dict[str, Any] = {
        "backlog": backlog,
        "protocol": protocol,
        "paths": paths,
        "durability": durability,
        "rules": _rules_of(values, wheres),
        "tls": tls_of(values, wheres),
        "proxies": proxies_of(values, wheres),
        "origins": origins_of(values, wheres),
        "forwarders": forwarders_of(values, wheres),
    }
    by_user = values["listener.identity"] == "user"
    if unix:
        check_unix_path(unix, "listener.unix", wheres["listener.unix"])
        return [ListenerSettings(unix=unix, unix_mode=mode, port=0, by_user=by_user, **common)]
    for name, given in (("listener.mode", f"{mode:04o}"), ("listener.identity", "user" if by_user else "")):
        if name in wheres and given:
            problem, where = "given without unix: only a Unix socket has that", wheres[name]
            raise bad_value(name, given, problem, "Leave it out", where)
    check_addresses(bind, "listener.bind", wheres.get("listener.bind", ""))
    return [ListenerSettings(address, port, **common) for address in numeric(bind)]


def _rules_of(values: dict[str, Value], wheres: dict[str, str]) -> ListenerRules:
    rules = ListenerRules()
    for attribute in vars(rules):
        setattr(rules, attribute, values["listener." + attribute])
    for version in rules.protocol_versions:
        if version not in ListenerRules().protocol_versions:
            remedy = 'Give some of "3.1", "3.1.1" and "5.0"'
            where = wheres["listener.protocol_versions"]
            raise bad_value("listener.protocol_versions", version, "no version of MQTT", remedy, where)
    if "listener.mount_point" in wheres:
        check_mount_point(rules.mount_point, wheres["listener.mount_point"])
    return rules


def check_mount_point(mount_point: str, where: str) -> None:
    """Raise SettingsError where no topic names can begin so."""
    from swellmq.codec.topic import check_topic_name

    try:
        check_topic_name(mount_point.encode())
    except MalformedPacket as error:
        remedy = "Give the beginning of topic names, such as site-7/"
        raise bad_value("listener.mount_point", mount_point, error.phrase, remedy, where) from None
    if not mount_point.endswith("/"):
        problem = "not whole levels, so that no wildcard would match below it"
        raise bad_value("listener.mount_point", mount_point, problem, "Write a / at its end", where)


def _check_paths(paths: list[str], protocol: str, where: str) -> None:
    if protocol != "websocket":
        problem = "given without WebSocket: only that has a path"
        raise bad_value("listener.path", paths, problem, 'Add protocol = "websocket", or leave it out', where)
    for path in paths:
        if path == "*":
            continue
        if not path.startswith("/") or not path.isascii() or not path.isprintable() or set(path) & set("?# "):
            problem = "not the path of a URL"
            raise bad_value("listener.path", path, problem, "Give what stands behind the port, such as /mqtt", where)
    if not paths:
        raise bad_value("listener.path", paths, "empty", "Give a path, such as /mqtt", where)


def check_addresses(addresses: list[str], key: str, where: str) -> None:
    for address in addresses:
        if address == "localhost":
            continue
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            socket.inet_pton(family, address.partition("%")[0])  # behind % stands the interface of a link-local one
        except (OSError, ValueError):
            remedy = "Give an IPv4 or IPv6 address without a port, such as 127.0.0.1 or ::, or localhost"
            raise bad_value(key, address, "not an address", remedy, where) from None


def numeric(addresses: list[str]) -> list[str]:
    """The addresses, with both loopbacks for localhost, or one where the system has no IPv6."""
    numeric: list[str] = []
    for address in addresses:
        numeric += [address] if address != "localhost" else ["127.0.0.1"]
        if address == "localhost" and has_ipv6_loopback():
            numeric.append("::1")
    return numeric


def check_unix_path(path: str, key: str, where: str) -> None:
    if "\0" in path or len(os.fsencode(path)) > UNIX_PATH_BYTES:
        problem = f"not a path of up to {UNIX_PATH_BYTES} bytes, which is what the system allows"
        raise bad_value(key, path, problem, "Give a shorter path", where)


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach the address."""
    return address.startswith("127.") or address == "::1"


def has_ipv6_loopback(root: str = "/") -> bool:
    """Whether ::1 can be listened on: in many containers it can't."""
    if not os.path.isdir(root + "proc/net"):
        return socket.has_ipv6
    return any(line.startswith("0" * 31 + "1 ") for line in text_of(root + "proc/net/if_inet6").splitlines())


def text_of(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
