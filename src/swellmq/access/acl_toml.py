"""ACL files in our format, TOML.

    [[allow]]
    user = ["ada", "bob"]              # one or several; "" is clients without a user name; left out: everybody
    client = "tablet-1"                # the same for client ids
    publish = ["home/%u/#"]            # topic filters; %u is the user name, %c the client id
    subscribe = "home/#"
    [[deny]]
    topic = "home/safe/#"              # publish and subscribe alike

A retained message needs `publish` and `retain`, a will needs `will`. In each rule `retain` and `will` are what
`publish` says and `receive` is what `subscribe` says, unless they are given. A rule that denies beats all that allow;
what none allows is denied.
"""

from __future__ import annotations

from typing import Final

from swellmq.access.rules import RIGHTS, Pattern, Rule, Rules, Stage
from swellmq.codec.topic import check_topic_filter
from swellmq.errors import MalformedPacket, SettingsError
from swellmq.options import did_you_mean

TABLES: Final = ("allow", "deny")
FOLLOWS: Final = {"retain": "publish", "will": "publish", "receive": "subscribe"}
KEYS: Final = ("user", "client", "topic", *RIGHTS)


def parse_toml(text: str, path: str) -> Rules:
    """The rules of a file in our format; raises SettingsError with file and line."""
    import tomllib  # only an ACL file of ours needs it

    try:
        document = tomllib.loads(text)
    except ValueError as error:
        problem, _, place = str(error).partition(" (at line ")
        where = path + ":" + place.partition(",")[0] if place else path
        raise SettingsError("ACL file", f"not TOML: {problem}", "Mend it at that line", where) from None
    lines = text.split("\n")
    starts = _starts(lines)
    rules: list[Rule] = []
    for name, tables in document.items():
        if name not in TABLES:
            remedy = did_you_mean(name, TABLES) or "Rules are [[allow]] and [[deny]]"
            raise SettingsError(name, "no table of an ACL file", remedy, path)
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            raise SettingsError(name, "not a list of tables", f"Write [[{name}]], with two brackets", path)
        for index, table in enumerate(tables):
            start = starts[name][index] if index < len(starts[name]) else 0
            rules += _rules_of(name, table, path, lines, start)
    return Rules(path, text, [Stage(rules, False)], len(rules), False)


def _rules_of(name: str, table: dict[str, object], path: str, lines: list[str], start: int) -> list[Rule]:
    """The rules of one table: one for each topic filter of each right."""
    for key in table:
        if key not in KEYS:
            remedy = (
                did_you_mean(key, KEYS) or "A rule has user, client, topic, publish, subscribe, receive, retain, will"
            )
            raise SettingsError(key, f"nothing that [[{name}]] may have", remedy, _place(path, lines, start, key, ""))
    users = _texts(table, "user", path, lines, start)
    clients = _texts(table, "client", path, lines, start)
    rights: dict[tuple[str, str], int] = {}  # by key and topic filter
    for name_of_right, right in RIGHTS.items():
        key = name_of_right
        follows = FOLLOWS.get(key)
        if follows is not None and key not in table:
            key, follows = follows, None
        for source in (key, "topic") if follows is None else (key,):
            for topic in _texts(table, source, path, lines, start) or []:
                rights[source, topic] = rights.get((source, topic), 0) | right
    if not any(key in table for key in KEYS[2:]):
        remedy = 'Add topic, publish, subscribe, receive, retain or will, such as publish = "home/#"'
        raise SettingsError(name, "a rule about no topic", remedy, _place(path, lines, start, "", ""))
    rules: list[Rule] = []
    for (key, topic), joined in rights.items():
        place = _place(path, lines, start, key, topic)
        _check_filter(key, topic, place)
        text = f"{name} {key} {topic}"
        rules.append(Rule(name == "deny", joined, Pattern(topic), users, clients, place, text))
    return rules


def _texts(table: dict[str, object], key: str, path: str, lines: list[str], start: int) -> list[str] | None:
    """The texts of a key, one or a list; None where it is not there."""
    value = table.get(key)
    if value is None:
        return None
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and all(isinstance(text, str) for text in value):
        return [str(text) for text in value]
    place = _place(path, lines, start, key, "")
    raise SettingsError(key, "neither a text nor a list of texts", f'Write {key} = "..." or {key} = ["..."]', place)


def _check_filter(key: str, topic: str, place: str) -> None:
    if topic.startswith("$share/"):
        raise SettingsError(key, f"{topic} names a share", "Write the filter alone: it holds for all shares", place)
    try:
        check_topic_filter(topic.replace("%u", "u").replace("%c", "c").encode())
    except MalformedPacket as error:
        raise SettingsError(key, f"{topic!r} is no topic filter: {error.phrase}", "Mend the filter", place) from None


def _starts(lines: list[str]) -> dict[str, list[int]]:
    """The line of each `[[allow]]` and `[[deny]]`, counted from 1."""
    starts: dict[str, list[int]] = {"allow": [], "deny": []}
    for number, line in enumerate(lines, 1):
        line = line.strip()
        if line.startswith("[["):
            name = line[2:].partition("]]")[0].strip()
            if name in starts:
                starts[name].append(number)
    return starts


def _place(path: str, lines: list[str], start: int, key: str, text: str) -> str:
    """File and line of a text below a key of the table that starts at line `start`; of what is found of them."""
    found = start
    for number in range(start + 1, len(lines) + 1):
        line = lines[number - 1].strip()
        if line.startswith("["):
            if line.startswith("[["):
                break
        if found == start and key and line.partition("=")[0].strip().strip("\"'") == key:
            found = number
        if found != start and (f'"{text}"' in line or f"'{text}'" in line):
            found = number
            break
    return f"{path}:{found}" if found else path
