"""Reads a mosquitto.conf: from its lines to the settings and listeners of this broker.

What a file leaves open is as in mosquitto 2.1. What can't be honoured is a SettingsError that names file, line and
option, and says what to do; what has no effect here is a warning. What each option is stands in table.py.
"""

from __future__ import annotations

import _socket as socket
import os
from typing import Any, Final

from swellmq.errors import SettingsError
from swellmq.listener_settings import ListenerRules, ListenerSettings, check_mount_point, has_ipv6_loopback
from swellmq.mosquitto.lines import Line, Place, lines_of
from swellmq.mosquitto.table import (
    Accepted,
    Harmless,
    OfListener,
    Setting,
    Unable,
    boolean,
    defaults,
    number,
    row_of,
    show,
    similar,
)
from swellmq.mosquitto.transport import proxies_of, tls_of
from swellmq.options import Value
from swellmq.settings import Configuration, Given

LOCAL: Final = "localhost"
STORE_SUFFIX: Final = ".swellmq"

# What each listener has to itself where `per_listener_settings` is true, besides allow_anonymous.
PER_LISTENER: Final = {
    "password_file": "password_file",
    "acl_file": "acl_file",
    "allow_zero_length_clientid": "assign_client_ids",
    "auto_id_prefix": "client_id_prefix",
}

LOG_TYPES: Final = {
    "error": "error",
    "warning": "warning",
    "notice": "info",
    "information": "info",
    **dict.fromkeys(("debug", "subscribe", "unsubscribe", "websockets", "internal", "all"), "debug"),
}
SEVERITY: Final = ("debug", "info", "warning", "error")


def read_mosquitto_conf(path: str) -> Configuration:
    """The settings and listeners of a mosquitto.conf; raises SettingsError for what can't be honoured."""
    return Reading(path).configuration()


class Reading:
    """The state of reading one file."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.given: Given = defaults(path)
        self.warnings: list[str] = []
        self.places: list[Place] = []
        self.usual: Place | None = None  # the listener of `port` and `bind_address`
        self.current: Place | None = None
        self.per_listener = False
        self.timestamps = True
        self.persistence: Line | None = None  # where it is true
        self.folder = ""
        self.file = "mosquitto.db"
        for line in lines_of(path):
            self.take(line)

    # Lines

    def take(self, line: Line) -> None:
        """Do what one line says."""
        row = row_of(line.name)
        if row is None:
            raise line.error("mosquitto has no such option", similar(line.name))
        if isinstance(row, Unable):
            if line.value not in row.harmless:
                raise line.error(row.problem, row.remedy)
        elif isinstance(row, Harmless):
            self.warnings.append(f"{line.where}: {line.name} has no effect: {row.reason}")
        elif not line.value:
            raise line.error("without a value", "Give one behind the name")
        elif isinstance(row, Accepted):
            self.converted(line, row)
        elif isinstance(row, OfListener):
            self.place(line).values[row.attribute] = (self.converted(line, row), line)
        elif isinstance(row, Setting) and self.per_listener and line.name in PER_LISTENER:
            self.place(line).values[PER_LISTENER[line.name]] = (self.converted(line, row), line)
        elif isinstance(row, Setting):
            for name in row.ours:
                self.given[name] = (self.converted(line, row), line.where)
        else:
            self.special(line)

    def converted(self, line: Line, row: Setting | OfListener | Accepted) -> Value:
        """The value of a line."""
        try:
            return row.convert(line.value)
        except ValueError as error:
            raise line.error("not a value for it", f"Give {error}") from None

    def special(self, line: Line) -> None:
        """The options that are no single value."""
        if line.name == "listener":
            self.listener(line)
        elif line.name == "port":
            self.default_place(line).port = self.port(line, line.value)
        elif line.name == "bind_address":
            self.default_place(line).host = line.value
        elif line.name == "per_listener_settings":
            self.per_listener = self.per_listener or self.truth(line)
        elif line.name == "allow_anonymous":
            self.allow_anonymous(line)
        elif line.name == "websockets_origin":
            self.place(line).origins.append(line.value)
        elif line.name == "log_dest":
            self.log_dest(line)
        elif line.name == "log_type":
            self.log_type(line)
        elif line.name in ("persistence", "retained_persistence"):
            self.persistence = line if self.truth(line) else None
        elif line.name == "persistence_location":
            self.folder = line.value
        elif line.name == "persistence_file":
            self.file = line.value
        elif line.name == "log_timestamp":
            self.timestamps = self.truth(line)

    def truth(self, line: Line) -> bool:
        """The value of a line that says true or false."""
        try:
            return boolean(line.value)
        except ValueError as error:
            raise line.error("not a value for it", f"Give {error}") from None

    def port(self, line: Line, word: str) -> int:
        """A TCP port."""
        try:
            value = number(0, 65_535)(word)
        except ValueError as error:
            raise line.error("not a port", f"Give {error}") from None
        assert isinstance(value, int)
        return value

    def listener(self, line: Line) -> None:
        """`listener PORT [ADDRESS]`, or `listener 0 PATH` for a Unix socket."""
        words = line.value.split(None, 1)
        rest = words[1] if len(words) > 1 and not words[1].startswith("#") else ""
        place = Place(line.where, self.port(line, words[0]))
        if place.port == 0:
            if not rest:
                raise line.error("port 0 without the path of a Unix socket", "Give a port, or 0 and a path")
            place.unix = rest
        else:
            place.host = rest.split()[0] if rest else ""
        self.places.append(place)
        self.current = place

    def default_place(self, line: Line) -> Place:
        """The listener that `port` and `bind_address` describe."""
        if self.usual is None:
            self.usual = Place(line.where)
        self.current = self.usual
        return self.usual

    def place(self, line: Line) -> Place:
        """The listener that an option belongs to: the last one named, else the default one."""
        if self.current is None:
            self.current = self.usual = Place(line.where)
        return self.current

    def allow_anonymous(self, line: Line) -> None:
        """For all listeners, or for the current one where each has its own settings."""
        word = "yes" if self.truth(line) else "no"
        if self.per_listener:
            self.place(line).values.setdefault("anonymous", (word, line))
        else:
            self.given["access.anonymous"] = (word, line.where)

    def log_dest(self, line: Line) -> None:
        """Where log lines go."""
        kind, _, rest = line.value.partition(" ")
        if kind == "file":
            if not rest:
                raise line.error("without a path", "Give one behind `file`")
            self.given["log.file"] = (rest.strip(), line.where)
        elif kind == "none":
            self.given["log.level"] = ("none", line.where)
        elif kind in ("syslog", "topic", "dlt"):
            self.warnings.append(f"{line.where}: log_dest {kind} is not served: the log goes to the standard error")
        elif kind not in ("stderr", "stdout"):
            raise line.error("no such destination", "Give stderr, file PATH or none")

    def log_type(self, line: Line) -> None:
        """Which log lines there are: ours have four levels, and the least severe one counts."""
        if line.value == "none":
            self.given.setdefault("log.level", ("none", line.where))
            return
        if line.value not in LOG_TYPES:
            raise line.error("no such type", "Give error, warning, notice, information, debug, all or none")
        level = LOG_TYPES[line.value]
        before = self.given.get("log.level", ("none", ""))[0]
        if before == "none" or SEVERITY.index(level) < SEVERITY.index(str(before)):
            self.given["log.level"] = (level, line.where)

    # What follows

    def configuration(self) -> Configuration:
        """What was read, as the settings take it."""
        usual = self.usual
        places = list(self.places)
        if usual is not None and (usual.port or usual.host or "certfile" in usual.values):
            usual.port = usual.port or 1883
            places.insert(0, usual)
        elif usual is not None and places:
            for _, line in usual.values.values():
                self.warnings.append(f"{line.where}: {line.name} stands before any listener, and has no effect")
        if not places:
            self.given["bind"] = ([LOCAL], f"{self.path}: no listener")
        if not self.timestamps:
            self.given["log.timestamp_format"] = ("", f"{self.path}: log_timestamp")
        if self.persistence is not None:
            self.store(self.persistence)
        self.door(places)
        self.spread(places if places else [usual] if usual is not None else [])
        listeners = [listener for place in places for listener in self.listeners_of(place)]
        rules = _rules_of(usual) if usual is not None and not places else ListenerRules()
        return Configuration(self.given, listeners, self.warnings, rules=rules, port_yields=True)

    def store(self, line: Line) -> None:
        """Keep what is durable in a folder of ours, beside the file that mosquitto would have."""
        file = os.path.join(self.folder, self.file)
        self.given["data"] = (file + STORE_SUFFIX, line.where)
        if os.path.exists(file) and not os.path.exists(file + STORE_SUFFIX):
            self.warnings.append(
                f"{line.where}: what is in {file} stays there: sessions and retained messages start anew"
            )

    def door(self, places: list[Place]) -> None:
        """Who may come in without a user name: anybody of this machine where there is no listener, else nobody."""
        if "access.anonymous" not in self.given:
            self.given["access.anonymous"] = ("no" if places else "yes", f"{self.path}: default of mosquitto")
        if self.per_listener:
            for place in places:
                place.values.setdefault("anonymous", ("no", Line("allow_anonymous", "false", place.where)))

    def spread(self, places: list[Place]) -> None:
        """Bounds of a listener hold below those of [limits], which become the highest of their kind."""
        for attribute in ("topic_alias_maximum", "topic_aliases_out"):
            name = "limits." + attribute
            usual, origin = self.given[name]
            for place in places:
                place.values.setdefault(attribute, (usual, Line(name, show(usual), origin)))
            found = [place.values[attribute] for place in places]
            if found:
                value, line = max(found, key=lambda one: int(str(one[0])))
                self.given[name] = (value, line.where)
        if len(places) == 1 and places[0].value("max_connections", 0):  # the broker's own bound sizes its pool too
            value, line = places[0].values.pop("max_connections")
            one, given = (value, line.where), self.given.get("max_connections", (value, ""))
            self.given["max_connections"] = min(one, given, key=lambda bound: int(str(bound[0])))

    def listeners_of(self, place: Place) -> list[ListenerSettings]:
        """Our listeners for one of the file: one for each address."""
        if "mount_point" in place.values:
            check_mount_point(str(place.value("mount_point", "")), place.values["mount_point"][1].where)
        rules = _rules_of(place)
        protocol = str(place.value("protocol", "mqtt"))
        common: dict[str, Any] = {
            "protocol": protocol,
            "paths": ["*"],
            "origins": (place.origins or ["*"]) if protocol == "websocket" else [],
            "rules": rules,
            "tls": tls_of(place, self.warnings),
            "proxies": proxies_of(place, self.warnings),
        }
        if place.unix:
            return [ListenerSettings(unix=place.unix, unix_mode=0o666, **common)]
        return [ListenerSettings(address, place.port, **common) for address in _addresses(place)]


def _rules_of(place: Place) -> ListenerRules:
    rules = ListenerRules()
    for attribute, (value, _) in place.values.items():
        if hasattr(rules, attribute):
            setattr(rules, attribute, value)
    return rules


def _addresses(place: Place) -> list[str]:
    """The addresses that a listener is bound to: all of the machine where it names none."""
    domain = str(place.value("socket_domain", ""))
    if not place.host:
        every = {"ipv4": ["0.0.0.0"], "ipv6": ["::"], "": ["0.0.0.0", "::"]}[domain]
        return [address for address in every if address != "::" or domain == "ipv6" or has_ipv6_loopback()]
    family = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6, "": socket.AF_UNSPEC}[domain]
    try:
        found = socket.getaddrinfo(place.host, place.port, family, socket.SOCK_STREAM)
    except OSError as error:
        remedy = "Give a name or an address of this machine"
        raise SettingsError(f"listener {place.port} {place.host}", str(error.strerror), remedy, place.where) from None
    addresses: list[str] = []
    for _, _, _, _, address in found:
        name = str(address[0])
        if name not in addresses and (":" not in name or has_ipv6_loopback()):
            addresses.append(name)
    return addresses
