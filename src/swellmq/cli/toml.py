"""Settings as a TOML file that gives the same broker: what `swellmq check FILE --to-toml` prints."""

from __future__ import annotations

import json
from collections.abc import Sequence

from swellmq.listener_settings import ListenerSettings
from swellmq.options import LISTENER_OPTIONS, OPTIONS, PERMISSION, Option, Value
from swellmq.settings import Settings
from swellmq.tls_settings import TlsSettings


def to_toml(settings: Settings) -> str:
    """The settings that aren't defaults, and all listeners, each comment with where it came from."""
    lines: list[str] = []
    section = ""
    for option in OPTIONS:
        value, origin = settings.explain(option.name)
        if value == option.default or option.name in ("bind", "port", "unix", "websocket_port"):
            continue
        if option.section != section:
            section = option.section
            lines += ["", f"[{section}]"]
        lines.append(f"{option.name.rpartition('.')[2]} = {_literal(option, value)}  # {origin}")
    for addresses in _listeners(settings.listeners):
        lines += ["", "[[listener]]", *_listener(addresses)]
    return "\n".join(lines).strip() + "\n"


def _listeners(listeners: Sequence[ListenerSettings]) -> list[list[ListenerSettings]]:
    """The listeners, those together that are one on several addresses: they share its rules."""
    together: list[list[ListenerSettings]] = []
    for listener in listeners:
        if together and together[-1][0].rules is listener.rules:
            together[-1].append(listener)
        else:
            together.append([listener])
    return together


def _listener(addresses: list[ListenerSettings]) -> list[str]:
    listener = addresses[0]
    given: dict[str, Value] = {"protocol": listener.protocol, "backlog": listener.backlog, **vars(listener.rules)}
    if listener.unix:
        given |= {"unix": listener.unix, "mode": listener.unix_mode}
        given |= {"identity": "user"} if listener.by_user else {}
    else:
        given |= {"bind": [one.bind for one in addresses], "port": listener.port}
    if listener.protocol == "websocket":
        given |= {"path": listener.paths, "origins": listener.origins, "forwarded_by": listener.forwarders}
    if listener.durability:
        given["durability"] = listener.durability
    if listener.tls is not None:
        given |= _tls(listener.tls)
    if listener.proxies is not None:
        given |= {"proxy": listener.proxies.networks, "proxy_tls": listener.proxies.tls}
        given |= {"identity": "cn"} if listener.proxies.named else {}
    lines = []
    for option in LISTENER_OPTIONS:
        name = option.name.rpartition(".")[2]
        if name in given and (given[name] != option.default or name in ("bind", "port")):
            lines.append(f"{name} = {_literal(option, given[name])}")
    return lines


def _tls(tls: TlsSettings) -> dict[str, Value]:
    given: dict[str, Value] = {
        "certificate": tls.certificates,
        "tls_minimum": tls.minimum,
        "ciphers": tls.ciphers,
        "client_ca": tls.client_cas,
        "client_certificate_dates": tls.dates,
        "crl": tls.crl,
        "identity": tls.identity,
    }
    if tls.keys != tls.certificates:
        given["key"] = tls.keys
    if tls.client_cas and not tls.required:
        given["client_certificate"] = "optional" if tls.asked else "none"
    return given


def _literal(option: Option, value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if option.kind == PERMISSION:
        return f'"{value:04o}"'
    if isinstance(value, tuple):
        return f'"{value[0]}/{value[1]}"'
    return json.dumps(value, ensure_ascii=False)
