"""Who may do what: the rules of an ACL file, whatever its format, and which of them decides.

A rule has a topic filter in which %u and %c stand for the user name and the client id. What is filled in there is
compared as it is: a client that calls itself `+` or `a/b` matches nothing but those very characters within one level.

Rules stand in stages. In a stage a rule that denies beats all that allow; the first stage in which a rule matches
decides, and what no rule allows is denied. Our own format has one stage, so that the order of its rules means nothing;
mosquitto's has two, the user's rules before the patterns.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64, mypyc_attr, u8

from swellmq.broker.access import MAY_PUBLISH, MAY_RECEIVE, MAY_RETAIN, MAY_SUBSCRIBE, MAY_WILL, Rights

RIGHTS: Final = {
    "publish": MAY_PUBLISH,
    "subscribe": MAY_SUBSCRIBE,
    "receive": MAY_RECEIVE,
    "retain": MAY_RETAIN,
    "will": MAY_WILL,
}
ALL_RIGHTS: Final = 31

# Pattern.kinds
LITERAL: Final = 0
PLUS: Final = 1
HASH: Final = 2


@final
@mypyc_attr(native_class=True, acyclic=True)
class Pattern:
    """The topic filter of a rule, split into its levels once."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.kinds: list[int] = []
        self.levels: list[bytes] = []
        self.by_user = "%u" in text
        self.by_client = "%c" in text
        self.personal = self.by_user or self.by_client
        self.pieces: list[list[bytes]] = []  # of each level: its text cut before and behind %u and %c
        for level in text.encode().split(b"/"):
            self.kinds.append(PLUS if level == b"+" else HASH if level == b"#" else LITERAL)
            self.levels.append(level)
            self.pieces.append(_pieces(level) if b"%" in level else [])

    def filled(self, username: str | None, client_id: str) -> list[bytes] | None:
        """The levels for a client; None where there is nothing to fill in, and the rule is not about it."""
        if self.by_user and not username:
            return None
        user, client = (username or "").encode(), client_id.encode()
        levels: list[bytes] = []
        for index in range(len(self.levels)):
            pieces = self.pieces[index]
            if pieces:
                made = [user if piece == b"%u" else client if piece == b"%c" else piece for piece in pieces]
                levels.append(b"".join(made))
            else:
                levels.append(self.levels[index])
        return levels

    def matches(self, levels: list[bytes], names: list[bytes]) -> bool:
        """Whether a topic name, split into `names`, is within the pattern, filled in to `levels`."""
        if self.kinds[0] != LITERAL and names[0].startswith(b"$"):
            return False  # MQTT 5.0 section 4.7.2
        count = len(names)
        for index, kind in enumerate(self.kinds):
            if kind == HASH:
                return True
            if index == count or (kind == LITERAL and levels[index] != names[index]):
                return False
        return len(levels) == count

    def covers(self, levels: list[bytes], asked: list[bytes]) -> bool:
        """Whether all that a topic filter, split into `asked`, can match is within the pattern."""
        if self.kinds[0] != LITERAL and asked[0].startswith(b"$"):
            return False
        count = len(asked)
        for index, kind in enumerate(self.kinds):
            if kind == HASH:
                return True
            if index == count:
                return False
            level = asked[index]
            if level == b"#" or (kind == LITERAL and (level == b"+" or levels[index] != level)):
                return False
        return len(levels) == count


@final
@mypyc_attr(native_class=True, acyclic=True)
class Rule:
    """One line of an ACL file. Without `users` or `clients` it is about all of them; a user "" has no name."""

    def __init__(
        self,
        denies: bool,
        rights: i64,
        pattern: Pattern,
        users: list[str] | None,
        clients: list[str] | None,
        place: str,
        text: str,
    ) -> None:
        self.denies = denies
        self.rights: i64 = rights  # MAY_PUBLISH and so on, joined
        self.pattern = pattern
        self.users = users
        self.clients = clients
        self.place = place  # file and line
        self.text = text  # as it stands there

    def decides(self, username: str | None, client_id: str, right: i64, topic: list[bytes]) -> bool:
        """Whether it is about this client, right and topic, given by its levels; its users were looked at before."""
        if not self.rights & right or (self.clients is not None and client_id not in self.clients):
            return False
        pattern = self.pattern
        levels = pattern.filled(username, client_id) if pattern.personal else pattern.levels
        if levels is None:
            return False
        if right == MAY_SUBSCRIBE:
            return pattern.covers(levels, topic)
        return pattern.matches(levels, topic)


@final
@mypyc_attr(native_class=True)
class Stage:
    """Rules of one stage, those that deny first. `careful`: nobody whose name or client id has a wildcard passes it."""

    def __init__(self, rules: list[Rule], careful: bool) -> None:
        self.careful = careful and bool(rules)
        self.everybody: list[Rule] = []
        self.by_user: dict[str, list[Rule]] = {}
        for denies in (True, False):
            for rule in rules:
                if rule.denies != denies:
                    continue
                if rule.users is None:
                    self.everybody.append(rule)
                else:
                    for user in rule.users:
                        self.by_user.setdefault(user, []).append(rule)

    def find(self, username: str | None, client_id: str, right: i64, topic: list[bytes]) -> Rule | None:
        """The rule that decides here: one that denies, else one that allows, else None."""
        allowing: Rule | None = None
        for rules in (self.by_user.get(username or ""), self.everybody):
            if rules is None:
                continue
            for rule in rules:
                if rule.denies or allowing is None:
                    if rule.decides(username, client_id, right, topic):
                        if rule.denies:
                            return rule
                        allowing = rule
        return allowing


@final
@mypyc_attr(native_class=True)
class Decision:
    """What was decided, by which rule, and why."""

    def __init__(self, allowed: bool, rule: Rule | None, why: str) -> None:
        self.allowed = allowed
        self.rule = rule
        self.why = why


@final
@mypyc_attr(native_class=True)
class Rules(Rights):
    """The rules of one ACL file. `subscribe_freely`: any filter may be subscribed, and receiving is what is checked."""

    def __init__(self, path: str, text: str, stages: list[Stage], count: int, subscribe_freely: bool) -> None:
        super().__init__()
        self.path = path
        self.text = text  # of the whole file
        self.stages = stages
        self.count = count
        self.subscribe_freely = subscribe_freely

    def describe(self) -> str:
        """What it is, in a line for the operator."""
        return f"what they may do: {self.count} rules in {self.path}"

    def allows(self, username: str | None, client_id: str, right: u8, topic: bytes) -> bool:
        return self.decide(username, client_id, i64(right), topic).allowed

    def decide(self, username: str | None, client_id: str, right: i64, topic: bytes) -> Decision:
        """Decide, and say why. `topic` is a filter without `$share` where `right` is to subscribe, else a name."""
        if right == MAY_SUBSCRIBE and self.subscribe_freely:
            why = "a mosquitto ACL file lets everybody subscribe, and checks what is received"
            return Decision(True, None, why)
        levels = topic.split(b"/")
        for stage in self.stages:
            if stage.careful and (_has_wildcard(username or "") or _has_wildcard(client_id)):
                return Decision(False, None, "a user name or client id with + or # passes no pattern")
            rule = stage.find(username, client_id, right, levels)
            if rule is not None:
                return Decision(not rule.denies, rule, "this rule denies it" if rule.denies else "this rule allows it")
        return Decision(False, None, "no rule allows it")


def _has_wildcard(text: str) -> bool:
    return "+" in text or "#" in text


def _pieces(level: bytes) -> list[bytes]:
    """A level cut at each %u and %c, which stay as pieces of their own."""
    pieces: list[bytes] = []
    begin = 0
    index = level.find(b"%")
    while index >= 0:
        if level[index : index + 2] in (b"%u", b"%c"):
            pieces.append(level[begin:index])
            pieces.append(level[index : index + 2])
            begin = index + 2
        index = level.find(b"%", index + 1)
    pieces.append(level[begin:])
    return pieces
