"""swellmq: an MQTT broker with a dynamic connection pool.

The names are loaded when they are first used, so that `import swellmq` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from swellmq.broker.access import Access, Request, Rights, SessionEvent
    from swellmq.broker.storage import Storage
    from swellmq.broker.uplink import Uplink
    from swellmq.embed import Broker
    from swellmq.errors import MalformedPacket, ProtocolError, SettingsError
    from swellmq.listener_settings import ListenerSettings
    from swellmq.settings import Settings

__all__ = [
    "Access",
    "Broker",
    "ListenerSettings",
    "MalformedPacket",
    "ProtocolError",
    "Request",
    "Rights",
    "SessionEvent",
    "Settings",
    "SettingsError",
    "Storage",
    "Uplink",
]

_HOMES = {
    "Access": "swellmq.broker.access",
    "Broker": "swellmq.embed",
    "ListenerSettings": "swellmq.listener_settings",
    "MalformedPacket": "swellmq.errors",
    "ProtocolError": "swellmq.errors",
    "Request": "swellmq.broker.access",
    "Rights": "swellmq.broker.access",
    "SessionEvent": "swellmq.broker.access",
    "Settings": "swellmq.settings",
    "SettingsError": "swellmq.errors",
    "Storage": "swellmq.broker.storage",
    "Uplink": "swellmq.broker.uplink",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'swellmq' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(home), name)
    globals()[name] = value
    return value
