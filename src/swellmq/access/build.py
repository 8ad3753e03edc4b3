"""From settings to a Door: reads the files that `[access]` names, and puts the providers in their order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import ip_network

from swellmq.access.acl import load_acl
from swellmq.access.door import ANYBODY, NOBODY, Door, Entrance
from swellmq.access.guard import Guard, GuardSettings
from swellmq.access.password_file import PasswordFile, load_password_file
from swellmq.access.provider import Authorizer, Provider
from swellmq.access.remembered import Remembered
from swellmq.access.rules import Rules
from swellmq.access.workers import Workers
from swellmq.broker.access import Access, Rights
from swellmq.broker.broker import MqttBroker
from swellmq.listener_settings import ListenerRules, ListenerSettings
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
    door = Door([], NOBODY, computing, asking, remembered, guard)
    door.usual, door.own = make_entrances(settings, settings.listeners)
    door.offer()
    door.take_authorizer(make_authorizer(settings))
    door.rights, door.rights_at = make_rights(settings, settings.listeners)
    door.listener_names = [str(listener) for listener in settings.listeners]
    return door


def make_entrances(settings: Settings, listeners: Sequence[ListenerSettings]) -> tuple[Entrance, dict[int, Entrance]]:
    """Who may come in by most listeners, and who by those that differ, by their index.

    The addresses of one listener share their rules, and so an entrance.
    """
    usual = make_entrance(settings, ListenerRules())
    made: dict[int, Entrance] = {}
    own: dict[int, Entrance] = {}
    for index, listener in enumerate(listeners):
        rules = listener.rules
        if rules.anonymous != "auto" or rules.password_file:
            if id(rules) not in made:
                made[id(rules)] = make_entrance(settings, rules)
            own[index] = made[id(rules)]
    return usual, own


def make_entrance(settings: Settings, rules: ListenerRules) -> Entrance:
    """Who may come in by a listener with these rules."""
    providers = make_providers(settings, rules.password_file)
    anonymous = rules.anonymous if rules.anonymous != "auto" else settings.access_anonymous
    if anonymous == "auto":
        anonymous = NOBODY if settings.knows_users() or rules.password_file else ANYBODY
    made = Entrance(providers, anonymous, rules.password_file)
    made.methods = make_methods(providers)
    return made


def prepare_change(
    door: Door, broker: MqttBroker, settings: Settings, listeners: Sequence[ListenerSettings]
) -> Callable[[], list[str]]:
    """Read all that the settings and the listeners name, and return what puts it into force and says what has changed.

    Raises SettingsError where a file can't be used; the door is as it was then.
    """
    usual, own = make_entrances(settings, listeners)
    rights, rights_at = make_rights(settings, listeners)
    authorizer = make_authorizer(settings)
    guard_settings = make_guard_settings(settings)
    before, before_at = door.rights, door.rights_at

    def change() -> list[str]:
        lines = door.change(usual, own)
        door.take_authorizer(authorizer)
        if door.guard.settings.never_ban != guard_settings.never_ban:
            door.guard.exempt = {}
        door.guard.settings = guard_settings  # who is inside was counted by the old ones, where they counted at all
        door.follows_connections = door.guard.counts_connections()
        door.computing.queue_max = door.asking.queue_max = settings.access_logins_waiting_max
        door.computing.threads_max = settings.access_hash_threads
        door.asking.threads_max = settings.access_http_threads
        door.remembered.keep_ms = settings.access_remember_s * 1000
        for old, new in [(before, rights), *((before_at.get(index), one) for index, one in rights_at.items())]:
            if isinstance(old, Rules) and isinstance(new, Rules) and old.text != new.text:
                line = f"{new.path}: {old.count} -> {new.count} rules"
                lines += [line] if line not in lines else []  # several listeners may have the same file
        broker.review(rights, rights_at)  # which goes by door.authorizes_publish too
        return lines

    return change


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


def make_rights(settings: Settings, listeners: Sequence[ListenerSettings]) -> tuple[Rules | None, dict[int, Rights]]:
    """What clients may do (None: everything), and what those of listeners with a file of their own, by their index."""
    read: dict[str, Rules] = {}

    def rules_in(path: str, where: str, setting: str) -> Rules:
        if path not in read:
            read[path] = load_acl(path, where, setting)
        return read[path]

    at: dict[int, Rights] = {}
    for index, listener in enumerate(listeners):
        if listener.rules.acl_file:
            at[index] = rules_in(listener.rules.acl_file, "", "listener.acl_file")
    path = settings.access_acl_file
    return (rules_in(path, settings.where("access.acl_file"), "access.acl_file") if path else None), at


def make_providers(settings: Settings, password_file: str) -> list[Provider]:
    """The identity providers that are configured, in the order in which they are asked; `password_file` is that of a
    listener, or "" where that of the settings counts."""
    makers = {"token": make_tokens, "http": make_http}
    providers: list[Provider] = []
    for name in settings.access_order:
        if name not in ("password", *makers) or settings.access_order.count(name) > 1:
            remedy = "Give each of password, token, http at most once"
            where = settings.where("access.order")
            raise bad_value("access.order", name, "no provider, or given twice", remedy, where)
        if name == "password":
            provider = make_password_file(settings, password_file)
        else:
            provider = makers[name](settings)
        if provider is not None:
            providers.append(provider)
    return providers


def make_password_file(settings: Settings, own: str) -> Provider | None:
    """The users of a listener's own file, or of access.password_file."""
    if own:
        return load_password_file(own, "", "listener.password_file")
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
