"""Bans, bounds on connections and the rate of CONNECTs: who is kept outside, for how long, and what it is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from access_helpers import write_passwords
from socket_client import Clients

from swellmq import Broker, Settings, SettingsError
from swellmq.access.build import build_door
from swellmq.access.guard import Counts, Guard, GuardSettings
from swellmq.codec import spec
from swellmq.codec.packets import Connack
from swellmq.connection import Connection, Turn
from swellmq.limits import GUARD_ENTRIES

FAR = "192.0.2.7"
NEAR = "127.0.0.1"


def guard(**values: Any) -> Guard:
    settings = GuardSettings()
    settings.never_ban = ["127.0.0.0/8", "::1", "2001:db8::/32"]
    for name, value in values.items():
        setattr(settings, name, value)
    return Guard(settings)


def refused(one: Guard, address: str, client_id: str, now_ms: int) -> int:
    verdict = one.greet(address, client_id, now_ms)
    return 0 if verdict is None else verdict.reason_code


def test_failed_logins_ban_an_address_for_a_while() -> None:
    one = guard(ban_failures=3)
    assert [one.fail(FAR, now_ms) for now_ms in (0, 10, 20)] == [False, False, True]
    verdict = one.greet(FAR, "c", 21)
    assert verdict is not None and verdict.reason_code == spec.BANNED
    assert verdict.reason_string == "banned for another 300 s"
    assert refused(one, "192.0.2.8", "c", 21) == 0
    assert refused(one, FAR, "c", 300_019) == spec.BANNED
    assert refused(one, FAR, "c", 300_020) == 0
    assert not one.fail(FAR, 300_021)  # it begins anew
    assert one.statistics()["bans"] == 0


def test_failures_that_are_far_apart_ban_nobody() -> None:
    one = guard(ban_failures=3)
    assert not any(one.fail(FAR, now_ms) for now_ms in range(0, 3_000_000, 30_000))


@pytest.mark.parametrize("address", [NEAR, "127.9.9.9", "::1", "2001:db8::7", "2001:db8::7%eth0", ""])
def test_who_is_never_banned(address: str) -> None:
    one = guard(ban_failures=1, ban_connects=1)
    assert not any(one.fail(address, 0) for _ in range(9))
    assert not any(refused(one, address, "c", 0) for _ in range(9))


def test_a_client_id_that_flaps_is_banned() -> None:
    one = guard(ban_connects=5)
    assert [refused(one, FAR, "c", now_ms) for now_ms in range(7)] == [0] * 5 + [spec.BANNED] * 2
    assert refused(one, FAR, "d", 7) == 0
    assert refused(one, FAR, "c", 300_006) == 0


def test_long_client_ids_are_kept_in_short() -> None:
    one = guard(ban_connects=2)
    long, other = "x" * 60_000 + "1", "x" * 60_000 + "2"
    assert [refused(one, FAR, long, 0) for _ in range(4)] == [0, 0, spec.BANNED, spec.BANNED]
    assert refused(one, FAR, other, 0) == 0
    assert all(len(key) < 300 for key in (*one.bans, *one.connects.now))


def test_the_rate_of_connects() -> None:
    one = guard(connects_per_s=2)
    assert [refused(one, NEAR, "c", now_ms) for now_ms in (1_000, 1_001, 1_002, 1_999)] == [0, 0, 0x9F, 0x9F]
    assert refused(one, NEAR, "c", 2_000) == 0
    assert one.statistics()["refused_connect_rate"] == 2


def test_connections_of_an_address_and_of_a_user() -> None:
    one = guard(connections_per_address=2, connections_per_user=3)
    made = [Connection(Turn()) for _ in range(8)]

    def enter(index: int, address: str, user: str | None, old: Connection | None = None) -> int:
        verdict = one.enter(made[index], address, user, old)
        return 0 if verdict is None else verdict.reason_code

    assert [enter(index, FAR, None) for index in range(3)] == [0, 0, spec.QUOTA_EXCEEDED]
    assert [enter(3 + index, f"192.0.2.{index}", "joe") for index in range(4)] == [0, 0, 0, spec.QUOTA_EXCEEDED]
    assert enter(7, FAR, None, made[0]) == 0  # it takes the place of its own old connection
    one.leave(made[0])  # which closes later, and counts once
    assert enter(2, FAR, None) == spec.QUOTA_EXCEEDED
    assert enter(2, FAR, None, made[3]) == spec.QUOTA_EXCEEDED  # its old connection was elsewhere, and stays counted
    assert one.by_user["joe"] == 3
    one.leave(made[1])
    assert enter(2, FAR, None) == 0
    for connection in made:
        one.leave(connection)
    assert (one.inside, one.by_address, one.by_user) == ({}, {}, {})


def test_counts_are_bounded() -> None:
    counts = Counts()
    for number in range(GUARD_ENTRIES + 1):
        counts.add(str(number), 1_000, 0)
    assert len(counts.now) + len(counts.before) <= GUARD_ENTRIES
    assert counts.add(str(GUARD_ENTRIES), 1_000, 0) == 2
    one = guard(ban_failures=1)
    for number in range(GUARD_ENTRIES + 1):
        one.ban(f"address {number}", 0)
    assert len(one.bans) <= GUARD_ENTRIES
    one.exempt = {str(number): False for number in range(GUARD_ENTRIES)}
    assert not one.is_exempt(FAR) and len(one.exempt) == 1


@pytest.mark.parametrize(("version", "code"), [(4, spec.NOT_AUTHORIZED_3), (5, spec.BANNED)])
def test_a_broker_bans(
    broker: Callable[..., Broker], clients: Clients, tmp_path: Path, version: int, code: int
) -> None:
    users = str(write_passwords(tmp_path / "users", joe="secret"))
    running = broker(access_password_file=users, access_ban_failures=3, access_never_ban=[])

    def answer(password: bytes) -> Connack:
        return clients(running, version).connect("c", username="joe", password=password)

    assert 0 not in [answer(b"guess").reason_code for _ in range(3)]
    last = answer(b"secret")
    assert last.reason_code == code
    if version == 5:
        assert last.properties is not None and last.properties.reason_string == "banned for another 300 s"
    counters = running.statistics()
    assert (counters["bans"], counters["refused_banned"], counters["logins_accepted"]) == (1, 1, 0)


def test_who_says_nothing_guesses_nothing(broker: Callable[..., Broker], clients: Clients, tmp_path: Path) -> None:
    users = str(write_passwords(tmp_path / "users", joe="secret"))
    running = broker(access_password_file=users, access_ban_failures=1, access_never_ban=[])
    assert clients(running, 5).connect("c").reason_code == spec.NOT_AUTHORIZED
    clients(running, 5, "c", username="joe", password=b"secret")


def test_a_broker_counts_connections(broker: Callable[..., Broker], clients: Clients) -> None:
    running = broker(access_connections_per_address=2)
    first, second = clients(running, 5, "a"), clients(running, 5, "b")
    assert clients(running, 5).connect("c").reason_code == spec.QUOTA_EXCEEDED
    assert clients(running, 4).connect("c").reason_code == spec.SERVER_UNAVAILABLE_3
    clients(running, 5, "a")  # takes its own place over
    assert first.receive() is not None and first.receive() is None
    second.disconnect()
    clients(running, 5, "c")
    assert running.statistics()["refused_connection_quota"] == 2


def test_an_address_that_is_none() -> None:
    with pytest.raises(SettingsError, match=r"access.never_ban = .*example.* does not appear to be an IPv4 or IPv6"):
        build_door(Settings(access_connects_per_s=1, access_never_ban=["example.com"]))
