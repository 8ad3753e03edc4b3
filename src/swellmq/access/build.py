"""From settings to a Door: reads the files that `[access]` names, and puts the providers in their order."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_network

from swellmq.access.acl import load_acl
from swellmq.access.door import ANYBODY, NOBODY, Door
from swellmq.access.guard import Guard, GuardSettings
from swellmq.access.password_file import PasswordFile, load_password_file
from swellmq.access.provider import Authorizer, Provider
from swellmq.access.remembered import Remembered
from swellmq.access.rules import Rules
from swellmq.access.workers import Workers
from swellmq.broker.access import Access
from swellmq.broker.broker import MqttBroker
from swellmq.options import bad_value
from swellmq.settings import Settings


def build_door(settings: Settings) -> Door:
    """The access control that the settings ask for. Raises SettingsError where a file can't be used."""
    patience_s = settings.limits_pending_timeout_ms / 1000
    places = settings.access_logins_waiting_max
    computing = Workers("hash", settings.access_hash_threads, places, patience_s)
    asking = Workers("ask", settings.access_http_threads, places, patience_s)
    remembered = Remembered(settings.access_remember_s * 1000)
    guard = Guard(make_guard_settings(settings))
    door = Door(make_providers(settings), who_is_nameless(settings), computing, asking, remembered, guard)
    for index, listener in enumerate(settings.listeners):
        if listener.rules.anonymous != "auto":
            door.anonymous_at[index] = listener.rules.anonymous
    door.offer(make_methods(door.providers))
    door.take_authorizer(make_authorizer(settings))
    door.rights = make_rights(settings)
    return door


def prepare_change(door: Door, broker: MqttBroker, settings: Settings) -> Callable[[], list[str]]:
    """Read all that the settings name, and return what puts it into force and says what has changed.

    Raises SettingsError where a file can't be used; the door is as it was then.
    """
    providers = make_providers(settings)
    methods = make_methods(providers)
    rights = make_rights(settings)
    authorizer = make_authorizer(settings)
    guard_settings = make_guard_settings(settings)
    before = door.rights

    def change() -> list[str]:
        lines = door.change(providers, methods, who_is_nameless(settings))
        door.take_authorizer(authorizer)
        if door.guard.settings.never_ban != guard_settings.never_ban:
            door.guard.exempt = {}
        door.guard.settings = guard_settings  # who is inside was counted by the old ones, where they counted at all
        door.follows_connections = door.guard.counts_connections()
        door.computing.queue_max = door.asking.queue_max = settings.access_logins_waiting_max
        door.computing.threads_max = settings.access_hash_threads
        door.asking.threads_max = settings.access_http_threads
        door.remembered.keep_ms = settings.access_remember_s * 1000
        if isinstance(before, Rules) and rights is not None and before.text != rights.text:
            lines.append(f"access.acl_file: {before.count} -> {rights.count} rules")
        broker.review(rights)  # which goes by door.authorizes_publish too
        return lines

    return change


def who_is_nameless(settings: Settings) -> str:
    """Who may come in without a user name: NOBODY, LOCAL or ANYBODY."""
    if settings.access_anonymous == "auto":
        return NOBODY if settings.knows_users() else ANYBODY
    return settings.access_anonymous


def make_guard_settings(settings: Settings) -> GuardSettings:
    """Bans and bounds as the settings want them; raises SettingsError for what is no address."""
    made = GuardSettings()
    made.ban_failures = settings.access_ban_failures
    made.ban_connects = settings.access_ban_connects
    made.ban_window_ms = settings.access_ban_window_s * 1000
    made.ban_ms = settings.access_ban_s * 1000
    made.never_ban = settings.access_never_ban
    made.connects_per_s = settings.access_connects_per_s
    made.connections_per_address = settings.access_connections_per_address
    made.connections_per_user = settings.access_connections_per_user
    for address in made.never_ban:
        try:
            ip_network(address)
        except ValueError as error:
            remedy = "Give addresses or networks, such as 192.0.2.0/24"
            where = settings.where("access.never_ban")
            raise bad_value("access.never_ban", address, str(error), remedy, where) from None
    return made


def make_rights(settings: Settings) -> Rules | None:
    """What clients may do; None where they may do everything."""
    if not settings.access_acl_file:
        return None
    return load_acl(settings.access_acl_file, settings.where("access.acl_file"))


def make_providers(settings: Settings) -> list[Provider]:
    """The identity providers that are configured, in the order in which they are asked."""
    makers = {"password": make_password_file, "token": make_tokens, "http": make_http}
    providers: list[Provider] = []
    for name in settings.access_order:
        if name not in makers or settings.access_order.count(name) > 1:
            remedy = "Give each of password, token, http at most once"
            where = settings.where("access.order")
            raise bad_value("access.order", name, "no provider, or given twice", remedy, where)
        provider = makers[name](settings)
        if provider is not None:
            providers.append(provider)
    return providers


def make_password_file(settings: Settings) -> Provider | None:
    """The users of access.password_file."""
    if not settings.access_password_file:
        return None
    return load_password_file(settings.access_password_file, settings.where("access.password_file"))


def make_tokens(settings: Settings) -> Provider | None:
    """Tokens, if there are keys to check them with."""
    if not settings.access_jwt_key_file and not settings.access_jwt_jwks:
        return None
    from swellmq.access.tokens import make_jwt_provider  # it needs PyJWT, of the extra `auth`

    return make_jwt_provider(settings)


def make_http(settings: Settings) -> Provider | None:
    """The server that is asked who may come in."""
    if not settings.access_http_url or "connect" not in settings.access_http_ask:
        return None
    from swellmq.access.http_hook import HttpProvider, make_hook  # HTTP and JSON: 4 MB

    return HttpProvider(make_hook(settings))


def make_authorizer(settings: Settings) -> Authorizer | None:
    """The same server, if it is asked what clients may do."""
    asked = settings.access_http_ask
    for name in asked:
        if name not in ("connect", "publish", "subscribe"):
            remedy = "Give some of connect, publish, subscribe"
            raise bad_value("access.http_ask", name, "nothing to ask about", remedy, settings.where("access.http_ask"))
    if not settings.access_http_url or not {"publish", "subscribe"} & set(asked):
        return None
    from swellmq.access.http_hook import HttpAuthorizer, make_hook  # as above

    return HttpAuthorizer(make_hook(settings), "publish" in asked, "subscribe" in asked)


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
