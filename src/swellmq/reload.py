"""Reload: settings and the files they name are read again, checked as a whole, and what can change does so at once.

First everything is prepared: whatever is wrong stops it there, and nothing has changed. Then all of it is put into
force, between two turns. What was changed in the settings and takes a restart is named.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

from swellmq.errors import SettingsError
from swellmq.listener_settings import ListenerSettings
from swellmq.logs import severity
from swellmq.options import OPTIONS, Option, show
from swellmq.settings import Settings

if TYPE_CHECKING:
    from swellmq.server import Server

log = logging.getLogger("swellmq.reload")

# Reads what it needs by new settings, raises SettingsError where something is wrong, and returns what puts it into
# force, which returns lines that say what has changed.
Prepare: TypeAlias = Callable[[Settings], Callable[[], list[str]]]

# Limits that clients of MQTT 5.0 were told in their CONNACK, so that they hold for as long as these are connected; and
# what the broker has built upon.
FIXED_LIMITS: Final = (
    "limits.packet_bytes",
    "limits.topic_alias_maximum",
    "limits.receive_maximum",
    "limits.maximum_qos",
    "limits.retain_available",
    "limits.wildcard_subscription_available",
    "limits.shared_subscription_available",
    "limits.subscription_identifier_available",
    "limits.overlapping",
)
LIVE_RULES: Final = ("anonymous", "password_file", "acl_file")  # of a listener
LIVE: Final = (
    "log.level",
    "log.clients_per_second",
    "status_interval_s",
    "sys_interval_s",
    "overload_turn_ms",
    "admin_token",
    "admin_token_file",
    "admin_read_token_file",
    "admin_certificate",
    "admin_key",
)


def is_live(option: Option) -> bool:
    """Whether a setting can change while the broker runs."""
    if option.section == "limits":
        return option.name not in FIXED_LIMITS
    return option.section in ("access", "alarms") or option.name in LIVE


def reload(server: Server) -> bool:
    """Read everything again and change what can change, in the loop's thread; False where something is wrong.

    All that is said goes to the log.
    """
    try:
        change(server)
    except SettingsError:
        return False
    return True


def change(server: Server) -> list[str]:
    """The same; what has changed, a line each. Raises SettingsError."""
    old = server.settings
    try:
        new = old.read_again()
        if (server.door is None) != (not new.has_door()):
            problem = "access control begins or ends with this"
            raise SettingsError("[access]", problem, "Restart the broker for that")
        applying = [prepare(new) for prepare in server.reloads]
    except SettingsError as error:
        log.error("reload failed, nothing has changed: %s", error)
        raise
    lines = differences(old, new)
    server.settings = new
    for option in OPTIONS:
        if not is_live(option):
            setattr(new, option.attribute, getattr(old, option.attribute))
    new.listeners, new.handed_over = old.listeners, old.handed_over
    server.take_settings()
    for apply in applying:
        lines += apply()
    for line in lines:
        log.info("reload: %s", line)
    log.info("reload: done")
    if server.owns_log:
        logging.getLogger("swellmq").setLevel(severity(new.log_level))
    return lines


def live_listeners(old: Settings, new: Settings) -> list[ListenerSettings]:
    """The listeners by which files are read again: where they have changed themselves, that takes a restart, and what
    they had before counts until then."""
    same = not old.handed_over and [str(one) for one in old.listeners] == [str(one) for one in new.listeners]
    return new.listeners if same else old.listeners


def differences(old: Settings, new: Settings) -> list[str]:
    """What has changed from one to the other, a line each."""
    lines: list[str] = []
    for option in OPTIONS:
        before, after = getattr(old, option.attribute), getattr(new, option.attribute)
        if before == after:
            continue
        text = f"{option.name}: {show(option, before) or 'none'} -> {show(option, after) or 'none'}"
        lines.append(text if is_live(option) else text + ", takes a restart")
    before_listeners, after_listeners = [str(one) for one in old.listeners], [str(one) for one in new.listeners]
    if old.handed_over:
        return lines
    if before_listeners != after_listeners:
        lines.append(f"listeners: {', '.join(before_listeners)} -> {', '.join(after_listeners)}, takes a restart")
        return lines
    for one, other in zip(old.listeners, new.listeners, strict=True):
        if fixed_parts(one) != fixed_parts(other):
            lines.append(f"listener {one}: its settings have changed, which takes a restart")
    return lines


def fixed_parts(listener: ListenerSettings) -> list[object]:
    """What of a listener can't change while it listens: all but its certificates, its files and who is nameless."""
    own = [(name, value) for name, value in vars(listener).items() if name not in ("rules", "tls", "proxies")]
    rules = [(name, value) for name, value in vars(listener.rules).items() if name not in LIVE_RULES]
    return [*own, *rules, vars(listener.proxies) if listener.proxies is not None else None]
