"""Who has to wait outside whatever its password: bans, and how many connections an address or a user may have.

All of it is counted in maps with a bound: past it the oldest half is forgotten, so that a flood of addresses costs
memory once and lets nobody in who was not let in before.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Final, final

from mypy_extensions import i64, mypyc_attr

from swellmq.access.provider import Verdict
from swellmq.codec.spec import BANNED, CONNECTION_RATE_EXCEEDED, QUOTA_EXCEEDED
from swellmq.connection import Connection
from swellmq.limits import GUARD_ENTRIES

SECOND_MS: Final = 1_000
KEY_MAX: Final = 200  # characters of a client id that a ban shows


@final
@mypyc_attr(native_class=True)
class GuardSettings:
    """What a Guard goes by; 0 is no bound."""

    def __init__(self) -> None:
        self.ban_failures: i64 = 0  # failed logins from one address, within the window
        self.ban_connects: i64 = 0  # connections of one client id, within the window
        self.ban_window_ms: i64 = 60_000
        self.ban_ms: i64 = 300_000
        self.never_ban: list[str] = []  # addresses and networks
        self.connects_per_s: i64 = 0  # of all clients
        self.connections_per_address: i64 = 0
        self.connections_per_user: i64 = 0


@final
@mypyc_attr(native_class=True)
class Counts:
    """How often something happened within a window that begins with the first time."""

    def __init__(self) -> None:
        self.now: dict[str, tuple[int, int]] = {}  # begin of the window and count
        self.before: dict[str, tuple[int, int]] = {}

    def add(self, key: str, window_ms: i64, now_ms: i64) -> int:
        """One more; how often it was within the window."""
        key = short_key(key)
        begin, count = self.now.get(key) or self.before.get(key) or (int(now_ms), 0)
        if now_ms - begin >= window_ms:
            begin, count = int(now_ms), 0
        if len(self.now) >= GUARD_ENTRIES // 2:
            self.before = self.now
            self.now = {}
        self.now[key] = (begin, count + 1)
        return count + 1

    def forget(self, key: str) -> None:
        """Begin anew with a key."""
        self.now.pop(short_key(key), None)
        self.before.pop(short_key(key), None)


@final
@mypyc_attr(native_class=True)
class Guard:
    """Counts and decides. Addresses are numeric texts, "" for a Unix socket, which is never banned."""

    def __init__(self, settings: GuardSettings) -> None:
        self.settings = settings
        self.failures = Counts()  # by address
        self.connects = Counts()  # by client id
        self.bans: dict[str, int] = {}  # until when, by "address ..." or "client ..."
        self.exempt: dict[str, bool] = {}  # addresses that were looked up in never_ban
        self.second_ms: i64 = 0  # which second `connects_in_it` is about
        self.connects_in_it: i64 = 0
        self.inside: dict[Connection, tuple[str, str]] = {}  # whom the counts below are about
        self.by_address: dict[str, int] = {}
        self.by_user: dict[str, int] = {}
        self.bans_begun = 0
        self.refused_banned = 0
        self.refused_rate = 0
        self.refused_quota = 0

    def describe(self) -> list[str]:
        """What it keeps outside, a line each, for the operator."""
        settings = self.settings
        lines: list[str] = []
        window, length = f"within {settings.ban_window_ms // 1000} s", f"for {settings.ban_ms // 1000} s"
        if settings.ban_failures:
            lines.append(f"banned {length}: an address after {settings.ban_failures} failed logins {window}")
        if settings.ban_connects:
            lines.append(f"banned {length}: a client id after {settings.ban_connects} connects {window}")
        if settings.connections_per_address:
            lines.append(f"connections from one address: {settings.connections_per_address}")
        if settings.connections_per_user:
            lines.append(f"connections of one user: {settings.connections_per_user}")
        if settings.connects_per_s:
            lines.append(f"clients that come in a second: {settings.connects_per_s}")
        return lines

    def counts_connections(self) -> bool:
        """Whether it wants to know when a connection has left."""
        return self.settings.connections_per_address > 0 or self.settings.connections_per_user > 0

    def greet(self, address: str, client_id: str, now_ms: i64) -> Verdict | None:
        """A client has sent CONNECT: why it has to wait outside, or None. A client id that we gave is "" here."""
        for key in (short_key("address " + address), short_key("client " + client_id)) if self.bans else ():
            until_ms = self.bans.get(key)
            if until_ms is not None:
                if until_ms > now_ms:
                    self.refused_banned += 1
                    return Verdict(BANNED, reason_string=f"banned for another {(until_ms - now_ms + 999) // 1000} s")
                del self.bans[key]
        settings = self.settings
        if settings.connects_per_s > 0:
            if now_ms - self.second_ms >= SECOND_MS:
                self.second_ms = now_ms
                self.connects_in_it = 0
            self.connects_in_it += 1
            if self.connects_in_it > settings.connects_per_s:
                self.refused_rate += 1
                return Verdict(CONNECTION_RATE_EXCEEDED, reason_string="too many clients connect, come back later")
        if settings.ban_connects > 0 and client_id and not self.is_exempt(address):
            if self.connects.add(client_id, settings.ban_window_ms, now_ms) > settings.ban_connects:
                self.connects.forget(client_id)
                self.ban("client " + client_id, now_ms)
                return Verdict(BANNED, reason_string="banned for connecting too often")
        return None

    def fail(self, address: str, now_ms: i64) -> bool:
        """A login from an address has failed; whether the address is banned for it."""
        settings = self.settings
        if settings.ban_failures == 0 or self.is_exempt(address):
            return False
        if self.failures.add(address, settings.ban_window_ms, now_ms) < settings.ban_failures:
            return False
        self.failures.forget(address)
        self.ban("address " + address, now_ms)
        return True

    def ban(self, key: str, now_ms: i64, length_ms: i64 = 0) -> None:
        """Keep an address or a client id outside for a while; 0: as long as the settings say."""
        if len(self.bans) >= GUARD_ENTRIES:
            self.bans = {name: until for name, until in self.bans.items() if until > now_ms}
            if len(self.bans) >= GUARD_ENTRIES:
                self.bans = {}
        self.bans[short_key(key)] = int(now_ms + (length_ms or self.settings.ban_ms))
        self.bans_begun += 1

    def is_exempt(self, address: str) -> bool:
        """Whether an address is never banned; loopback is where a proxy brings all its clients from."""
        if not address:
            return True
        known = self.exempt.get(address)
        if known is None:
            here = ip_address(address.partition("%")[0])
            known = any(here in ip_network(one) for one in self.settings.never_ban)
            if len(self.exempt) >= GUARD_ENTRIES:
                self.exempt = {}
            self.exempt[address] = known
        return known

    def enter(
        self, connection: Connection, address: str, username: str | None, old: Connection | None
    ) -> Verdict | None:
        """Let a client in and count it, or say why not. `old` is the connection that it takes the place of."""
        if not self.counts_connections():
            return None
        settings, user = self.settings, username or ""
        of_address, of_user = self.by_address.get(address, 0), self.by_user.get(user, 0)
        leaving = self.inside.get(old) if old is not None else None
        if leaving is not None:  # a device whose old socket is half dead must not be locked out by itself
            of_address -= leaving[0] == address
            of_user -= leaving[1] == user
        if address and 0 < settings.connections_per_address <= of_address:
            self.refused_quota += 1
            return Verdict(QUOTA_EXCEEDED, reason_string="no more connections from this address")
        if user and 0 < settings.connections_per_user <= of_user:
            self.refused_quota += 1
            return Verdict(QUOTA_EXCEEDED, reason_string="no more connections of this user")
        if old is not None:
            self.leave(old)
        self.inside[connection] = (address, user)
        self.by_address[address] = self.by_address.get(address, 0) + 1
        self.by_user[user] = self.by_user.get(user, 0) + 1
        return None

    def leave(self, connection: Connection) -> None:
        """A connection is closed."""
        counted = self.inside.pop(connection, None)
        if counted is not None:
            _less(self.by_address, counted[0])
            _less(self.by_user, counted[1])

    def statistics(self) -> dict[str, int]:
        """Counters of what was refused, and how many bans there are."""
        return {
            "bans": len(self.bans),
            "bans_begun": self.bans_begun,
            "refused_banned": self.refused_banned,
            "refused_connect_rate": self.refused_rate,
            "refused_connection_quota": self.refused_quota,
        }


def short_key(key: str) -> str:
    """What a client id, or "client" and one, is kept under: 65,536 of 64 KiB each would be 4 GB."""
    return key if len(key) <= KEY_MAX else f"{key[:KEY_MAX]}... ({hash(key):x})"


def _less(counts: dict[str, int], key: str) -> None:
    count = counts[key] - 1
    if count:
        counts[key] = count
    else:
        del counts[key]
