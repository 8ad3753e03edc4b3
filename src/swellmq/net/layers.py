"""What stands between the sockets of a listener and MQTT: from below PROXY, the user of a process, TLS, WebSocket and
the mount point."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from swellmq.connection import Layer
from swellmq.listener_settings import ListenerSettings
from swellmq.net.listener import Listener, parse_network
from swellmq.reload import live_listeners
from swellmq.settings import Settings
from swellmq.tls_settings import TlsSettings


def make_layers(wanted: ListenerSettings, tls: TlsSettings | None) -> Layer | None:
    """What the connections of a listener, with this TLS, each get a fresh one of; None where MQTT is straight on the
    socket.

    Raises SettingsError where a file that TLS needs is of no use.
    """
    layer: Layer | None = None
    if wanted.protocol == "websocket":
        from swellmq.net.websocket import WebSocketLayer, WebSocketTerms  # hashlib loads OpenSSL: 3.7 MB

        paths, origins = [path.encode() for path in wanted.paths], [origin.encode() for origin in wanted.origins]
        layer = WebSocketLayer(WebSocketTerms(paths, origins, [parse_network(one) for one in wanted.forwarders]))
    if tls is not None:
        from swellmq.net.tls import TlsLayer  # ssl: 3.6 MB
        from swellmq.net.tls_context import make_terms

        layer = TlsLayer(make_terms(tls, wanted.protocol), layer)
    if wanted.by_user:
        from swellmq.net.credentials import CredentialsLayer

        layer = CredentialsLayer(layer)
    if wanted.proxies is not None:
        from swellmq.net.proxy import ProxyLayer, ProxyTerms

        layer = ProxyLayer(ProxyTerms(wanted.proxies.tls, wanted.proxies.named), layer)
    if wanted.rules.mount_point:
        from swellmq.net.mount import MountLayer

        layer = MountLayer(wanted.rules.mount_point.encode(), layer)
    return layer


def prepare_reload(listeners: Sequence[Listener], old: Settings, new: Settings) -> Callable[[], list[str]]:
    """Read all certificates again, see reload.py: connections that come later go by them, who is connected stays."""
    layers: list[tuple[Listener, Layer | None]] = []
    for listener, before, after in zip(listeners, old.listeners, live_listeners(old, new), strict=True):
        if before.tls is not None:
            layers.append((listener, make_layers(before, after.tls)))

    def apply() -> list[str]:
        for listener, layer in layers:
            listener.layer = layer
        return [f"certificates read again: {', '.join(listener.name for listener, _ in layers)}"]

    return apply
