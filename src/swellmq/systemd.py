"""What systemd and its like want to know and what they hand over: sd_notify(3) and sd_listen_fds(3), without a library.

Only the `serve` command has this, and imports it only where the environment says that somebody listens. A watchdog is
told in the loop's own turns that these go on: a broker that hangs is ended and started anew.
"""

from __future__ import annotations

import _socket as socket  # socket.py brings enums and selectors: 0.4 MB more
import logging
import os
import time
from collections.abc import MutableMapping
from typing import Final

from swellmq.errors import SettingsError
from swellmq.listener_settings import ListenerSettings
from swellmq.settings import Settings

log = logging.getLogger("swellmq.server")

NOTIFY: Final = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
LISTEN: Final = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
FIRST_FD: Final = 3  # SD_LISTEN_FDS_START


class Supervisor:
    """Tells whoever has started the broker how it is. `due_ms` is when the next sign of life is due; -1: never."""

    def __init__(self, address: str, watchdog_us: int = 0) -> None:
        self.address = "\0" + address[1:] if address.startswith("@") else address
        self.interval_ms = watchdog_us // 2000  # twice as often as it has to be
        self.due_ms = 0 if self.interval_ms else -1
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)

    def tell(self, *assignments: str) -> None:
        """Send some of sd_notify's assignments. Nobody listens any more: that is no reason to stop."""
        try:
            self.sock.sendto("\n".join(assignments).encode(), self.address)
        except OSError as error:
            log.debug("%s can't be told: %s", self.address, error.strerror)

    def ready(self, status: str) -> None:
        """The broker listens, at start or after a reload."""
        self.tell("READY=1", "STATUS=" + status)

    def reloading(self) -> None:
        """The broker reads its files again."""
        self.tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """The broker stops: no further clients come in."""
        self.tell("STOPPING=1", "STATUS=stopping")

    def beat(self, now_ms: int) -> None:
        """A sign of life."""
        self.due_ms = now_ms + self.interval_ms
        self.tell("WATCHDOG=1")


def find_supervisor(environment: MutableMapping[str, str]) -> Supervisor | None:
    """Whom the environment says to tell; None: nobody. What it says is taken out, since it is not for our children."""
    address, watchdog, process = (environment.pop(name, "") for name in NOTIFY)
    if not address.startswith(("/", "@")):
        return None
    mine = not process or process == str(os.getpid())
    return Supervisor(address, int(watchdog) if mine and watchdog.isdecimal() else 0)


class HandedOver:
    """A listening socket that was opened for us: at an address and port, or at the path of a Unix socket."""

    def __init__(self, fd: int) -> None:
        try:
            self.sock = socket.socket(fileno=fd)
            name = self.sock.getsockname()
            listens = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        except OSError as error:
            raise _unusable(fd, f"is no socket: {error.strerror}") from None
        if not listens or self.sock.type & socket.SOCK_STREAM == 0:
            raise _unusable(fd, "is no listening stream socket")
        os.set_inheritable(fd, False)
        self.unix = name if isinstance(name, str) else ""
        self.bind, self.port = (str(name[0]), int(name[1])) if isinstance(name, tuple) else ("", 0)
        self.both = False  # IPv4 as well
        if self.sock.family == socket.AF_INET6:
            self.both = not self.sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)

    def __str__(self) -> str:
        return str(ListenerSettings(self.bind, self.port, self.unix))

    def is_for(self, listener: ListenerSettings) -> bool:
        """Whether a listener wants this very place."""
        if listener.unix or self.unix:
            return listener.unix == self.unix
        return listener.port == self.port and (listener.bind == self.bind or self.covers(listener))

    def covers(self, listener: ListenerSettings) -> bool:
        """Whether it has the place of a listener on all addresses of IPv4 beside its own of IPv6."""
        return self.both and self.bind == "::" and listener.bind == "0.0.0.0"


def _unusable(fd: int, problem: str) -> SettingsError:
    return SettingsError("LISTEN_FDS", f"descriptor {fd} {problem}", "Hand over sockets of ListenStream= only")


def handed_over(environment: MutableMapping[str, str]) -> list[HandedOver]:
    """The sockets that systemd has opened for this process. Raises SettingsError for what is none.

    What the environment says is taken out, since it is not for our children.
    """
    process, count, _names = (environment.pop(name, "") for name in LISTEN)
    if process != str(os.getpid()) or not count.isdecimal():
        return []
    return [HandedOver(fd) for fd in range(FIRST_FD, FIRST_FD + int(count))]


def hand_out(sockets: list[HandedOver], settings: Settings) -> dict[int, socket.socket]:
    """Give the sockets to the listeners that want their places, and return them by the listeners' indexes.

    Where the settings name no listener at all, the sockets are those of plain MQTT. Raises SettingsError for a socket
    that nobody wants: what comes by it would wait for ever.
    """
    if settings.names_no_listener():
        usual = settings.listeners[0]
        settings.replace_listeners([_like(one, usual) for one in sockets])
        return {index: one.sock for index, one in enumerate(sockets)}
    given: dict[int, socket.socket] = {}
    kept: list[ListenerSettings] = []
    wanted: set[int] = set()
    for listener in settings.listeners:
        found = next((index for index, one in enumerate(sockets) if one.is_for(listener)), -1)
        if found in wanted:
            continue  # both families by one socket
        if found >= 0:
            wanted.add(found)
            given[len(kept)] = sockets[found].sock
        kept.append(listener)
    for index, one in enumerate(sockets):
        if index not in wanted:
            problem = f"{one} is handed over, and no listener is there"
            raise SettingsError("LISTEN_FDS", problem, "Name it as a [[listener]], or take it out of the socket unit")
    if len(kept) < len(settings.listeners):
        settings.replace_listeners(kept)
    return given


def _like(one: HandedOver, usual: ListenerSettings) -> ListenerSettings:
    return ListenerSettings(one.bind, one.port, one.unix, rules=usual.rules)
