"""From settings to a Door: reads the files that `[access]` names, and puts the providers in their order."""

from __future__ import annotations

from mypy_extensions import i64

from swellmq.access.acl import load_acl
from swellmq.access.door import ANYBODY, NOBODY, Door
from swellmq.access.password_file import PasswordFile, load_password_file
from swellmq.access.provider import Provider
from swellmq.access.remembered import Remembered
from swellmq.access.rules import Rules
from swellmq.access.workers import Workers
from swellmq.broker.access import Access
from swellmq.settings import Settings

ASKING_THREADS = 8  # they wait for other servers and compute nothing


def build_door(settings: Settings) -> Door:
    """The access control that the settings ask for. Raises SettingsError where a file can't be used."""
    patience_s = settings.limits_pending_timeout_ms / 1000
    places = settings.access_logins_waiting_max
    keep_ms: i64 = settings.access_remember_s * 1000
    computing = Workers("hash", settings.access_hash_threads, places, patience_s)
    asking = Workers("ask", ASKING_THREADS, places, patience_s)
    anonymous = settings.access_anonymous
    if anonymous == "auto":
        anonymous = NOBODY if settings.knows_users() else ANYBODY
    door = Door(make_providers(settings), anonymous, computing, asking, Remembered(keep_ms))
    door.offer(make_methods(door.providers))
    door.rights = make_rights(settings)
    return door


def make_rights(settings: Settings) -> Rules | None:
    """What clients may do; None where they may do everything."""
    if not settings.access_acl_file:
        return None
    return load_acl(settings.access_acl_file, settings.where("access.acl_file"))


def make_providers(settings: Settings) -> list[Provider]:
    """The identity providers in the order in which they are asked."""
    providers: list[Provider] = []
    if settings.access_password_file:
        where = settings.where("access.password_file")
        providers.append(load_password_file(settings.access_password_file, where))
    return providers


def make_methods(providers: list[Provider]) -> dict[str, Access]:
    """The methods of enhanced authentication that the providers can serve."""
    methods: dict[str, Access] = {}
    for provider in providers:
        if isinstance(provider, PasswordFile):
            offered = {method for user in provider.users.values() for method in user.scram}
            if offered:
                from swellmq.access.scram import ScramAccess  # it needs scramp, of the extra `auth`

                scram = ScramAccess(tuple(sorted(offered, reverse=True)))
                for name, user in provider.users.items():
                    for verifier in user.scram.values():
                        scram.add_credential(name, verifier.credential)
                for method in scram.authentication_methods:
                    methods[method] = scram
    return methods
