"""Settings as a TOML file that gives the same broker: what `swellmq check FILE --to-toml` prints."""

from __future__ import annotations

import json

from swellmq.options import LISTENER_OPTIONS, OPTIONS, PERMISSION, Option, Value
from swellmq.settings import ListenerSettings, Settings


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
    for listener in settings.listeners:
        lines += ["", "[[listener]]", *_listener(listener)]
    return "\n".join(lines).strip() + "\n"


def _listener(listener: ListenerSettings) -> list[str]:
    given: dict[str, Value] = {"protocol": listener.protocol, "backlog": listener.backlog, **vars(listener.rules)}
    if listener.unix:
        given |= {"unix": listener.unix, "mode": listener.unix_mode}
    else:
        given |= {"bind": [listener.bind], "port": listener.port}
    if listener.protocol == "websocket":
        given["path"] = listener.paths
    lines = []
    for option in LISTENER_OPTIONS:
        name = option.name.rpartition(".")[2]
        if name in given and (given[name] != option.default or name in ("bind", "port")):
            lines.append(f"{name} = {_literal(option, given[name])}")
    return lines


def _literal(option: Option, value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if option.kind == PERMISSION:
        return f'"{value:04o}"'
    if isinstance(value, tuple):
        return f'"{value[0]}/{value[1]}"'
    return json.dumps(value, ensure_ascii=False)
