"""ACL files in mosquitto's format, mosquitto.conf(5), `acl_file`.

topic read $SYS/#                    for clients without a user name
user ada
topic readwrite home/#               for ada; also `topic read`, `write`, `deny`, and without a word both
pattern write devices/%c/state       for everybody, with %c the client id and %u the user name
"""

from __future__ import annotations

from typing import Final

from swellmq.access.rules import ALL_RIGHTS, Pattern, Rule, Rules, Stage
from swellmq.broker.access import MAY_PUBLISH, MAY_RECEIVE, MAY_RETAIN, MAY_WILL
from swellmq.codec.topic import check_topic_filter
from swellmq.errors import MalformedPacket, SettingsError

WRITE: Final = MAY_PUBLISH | MAY_RETAIN | MAY_WILL
READ: Final = MAY_RECEIVE
ACCESSES: Final = {"read": READ, "write": WRITE, "readwrite": READ | WRITE, "deny": ALL_RIGHTS}


def parse_mosquitto(text: str, path: str) -> Rules:
    """The rules of a file in mosquitto's format; raises SettingsError with file and line."""
    own: list[Rule] = []
    patterns: list[Rule] = []
    user = ""  # before the first `user` line: clients without a name
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        place = f"{path}:{number}"
        word, _, rest = line.partition(" ")
        rest = rest.strip()
        if word == "user":
            if not rest:
                raise SettingsError("user", "no name behind it", "Write `user NAME`", place)
            user = rest
        elif word in ("topic", "pattern"):
            access, topic = _split(word, rest, place)
            made = Pattern(topic)
            users = [user] if word == "topic" else None
            if word == "topic":
                made.personal = False  # there mosquitto takes %u and %c as they stand
            rule = Rule(access == "deny", ACCESSES[access], made, users, None, place, line)
            (own if word == "topic" else patterns).append(rule)
        else:
            remedy = "A line begins with user, topic or pattern, or with # where it is a comment"
            raise SettingsError(word, "not a line of an ACL file", remedy, place)
    stages = [Stage(own, False), Stage(patterns, True)]
    return Rules(path, text, stages, len(own) + len(patterns), True)


def _split(word: str, rest: str, place: str) -> tuple[str, str]:
    """The access and the topic filter behind `topic` or `pattern`."""
    access, _, topic = rest.partition(" ")
    if access not in ACCESSES or not topic.strip():
        access, topic = "readwrite", rest  # a filter may have spaces, and be called as an access is
    topic = topic.strip()
    try:
        check_topic_filter(topic.replace("%u", "u").replace("%c", "c").encode())
    except MalformedPacket as error:
        remedy = f"Write `{word} [read|write|readwrite|deny] FILTER`"
        raise SettingsError(word, f"{topic!r} is no topic filter: {error.phrase}", remedy, place) from None
    return access, topic
