"""How the wire tables are written, and how their lines become bytes.

A line is a case: the versions it holds for, how the first client's connection is at the end, a name, a conversation,
and the clauses it proves. A line that is indented goes on with the one above.

    345 open  publish to oneself: a> SUBSCRIBE(0001 {} "t" 00) a< SUBACK(0001 {} 00)
        a> PUBLISH("t" {} 'x') a< PUBLISH("t" {} 'x')  # [MQTT-4.5.0-1]

Steps of a conversation:

    a> ...     client `a` sends, in one piece; whatever is mentioned first opens a connection
    a< ...     this, and nothing else, has arrived at `a` since the last look
    a:closed   the broker has closed the connection of `a`
    a:drops    `a` closes its connection without DISCONNECT
    wait:3     three seconds pass; such a case runs in memory only
    set:name=1 a limit of the broker; stands before everything else

A client whose name is a lower-case letter is connected by CONNECT, with its name as client identifier, before its first
step; one with an upper-case letter says everything itself. `b4` is a client that speaks 3.1.1 whatever the case speaks.
A name that is used again after its connection is over opens a new one. At the end nothing may be left unread, and every
connection but the first client's must be open unless a step said otherwise.

Bytes:

    0a ff         hex, any number of bytes
    "text"        a string behind its two-byte length; 'text' without one; \\x.. and \\0 mean code points
    NAME( ... )   a packet: first byte by its name in TYPES (`3d( ... )`: in hex), the remaining length, what is inside
    { ... }       properties behind their length; nothing at all in 3.1 and 3.1.1
    [ ... ]       anything behind its length as a variable byte integer
    5:x 3:x       x in MQTT 5.0 only, or in 3.1 and 3.1.1 only; x is one of these items
    "x"*9         an item so many times (a string: one string of so many)
    NAME          what NAMES says
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

TYPES: Final = {
    "CONNECT": 0x10,
    "CONNACK": 0x20,
    "PUBLISH": 0x30,  # QoS 0; with R behind it: RETAIN, with D before it: DUP
    "PUBLISHR": 0x31,
    "PUBLISH1": 0x32,
    "PUBLISH1R": 0x33,
    "PUBLISH2": 0x34,
    "PUBLISH2R": 0x35,
    "DPUBLISH1": 0x3A,
    "DPUBLISH2": 0x3C,
    "PUBACK": 0x40,
    "PUBREC": 0x50,
    "PUBREL": 0x62,
    "PUBCOMP": 0x70,
    "SUBSCRIBE": 0x82,
    "SUBACK": 0x90,
    "UNSUBSCRIBE": 0xA2,
    "UNSUBACK": 0xB0,
    "PINGREQ": 0xC0,
    "PINGRESP": 0xD0,
    "DISCONNECT": 0xE0,
    "AUTH": 0xF0,
}

# The clients of the tables ask for no problem information, so that what the broker says is known to the byte.
NAMES: Final[dict[str, str | dict[int, str]]] = {
    "PROTO": {3: '"MQIsdp" 03', 4: '"MQTT" 04', 5: '"MQTT" 05'},
    "CONNECT": 'CONNECT(PROTO 02 0000 { 1700 } "a")',
    "CONNACK": "CONNACK(00 00 { CAPABILITIES })",
    "RESUMED": {3: "CONNACK(00 00)", 4: "CONNACK(01 00)", 5: "CONNACK(01 00 { CAPABILITIES })"},
    "CAPABILITIES": "22 0040 21 0400",  # Topic Alias Maximum 64, Receive Maximum 1,024
    "PINGREQ": "PINGREQ()",
    "PINGRESP": "PINGRESP()",
    "DISCONNECT": "DISCONNECT()",
    # A broken rule: DISCONNECT with its reason code in 5.0, nothing but the end of the connection in 3.1 and 3.1.1.
    "MALFORMED": "5:DISCONNECT(81)",
    "PROTOCOL_ERROR": "5:DISCONNECT(82)",
    # The same before the connection is accepted.
    "REFUSED_MALFORMED": "5:CONNACK(00 81 {})",
    "REFUSED_PROTOCOL_ERROR": "5:CONNACK(00 82 {})",
}

LINE: Final = re.compile(r"([345]+) (open|closed) +([^:]+): (.*?)(?: +# (\[.*))?")
STEP: Final = re.compile(
    r"(?P<client>[a-zA-Z][345]?)(?:(?P<way>[<>])|:(?P<event>closed|drops))|wait:(?P<seconds>[\d.]+)"
)
TOKEN: Final = re.compile(
    r"""[53]:(?=\S) | [][{})] | [0-9a-f]{2}\( | [A-Z_]+\d?[A-Z]?\(
    | "(?:[^"\\]|\\.)*"(?:\*\d+)? | '(?:[^'\\]|\\.)*'(?:\*\d+)?
    | (?:[0-9a-f]{2})+(?:\*\d+)?(?![^\s\])}]) | [A-Z][A-Z_]+\d?(?![\w:<>])""",
    re.VERBOSE,
)


@dataclass
class Step:
    """`way` is `>`, `<`, `closed`, `drops` or `wait`."""

    client: str
    way: str
    data: bytes = b""
    seconds: float = 0.0


@dataclass
class Case:
    """One line of a table, for one version."""

    name: str
    version: int
    open_at_end: bool
    marks: str
    steps: list[Step] = field(default_factory=list)
    limits: dict[str, int] = field(default_factory=dict)

    def waits(self) -> bool:
        return any(step.way == "wait" for step in self.steps)

    def bytes_sent(self) -> int:
        return sum(len(step.data) for step in self.steps if step.way == ">")


def cases(table: str) -> list[Case]:
    """All cases of a table, in the order of its lines."""
    lines: list[str] = []
    for line in table.splitlines():
        if line.startswith(" "):
            lines[-1] += " " + line.strip()
        elif line:
            lines.append(line)
    found: list[Case] = []
    for line in lines:
        match = LINE.fullmatch(line)
        if match is None:
            raise ValueError("not a case: " + line)
        versions, end, name, conversation, marks = match.groups()
        for version in map(int, versions):
            case = Case(name.strip(), version, end == "open", marks or "")
            _read_conversation(case, conversation)
            found.append(case)
    return found


def client_version(client: str, version: int) -> int:
    """The protocol version that a client speaks in a case of `version`."""
    return int(client[1]) if len(client) == 2 else version


def _read_conversation(case: Case, text: str) -> None:
    while text.startswith("set:"):
        setting, _, text = text.removeprefix("set:").partition(" ")
        name, _, value = setting.partition("=")
        case.limits[name] = int(value)
    pos = 0
    while pos < len(text):
        if text[pos] == " ":
            pos += 1
            continue
        match = STEP.match(text, pos)
        if match is None:
            raise ValueError(f"{case.name}: not a step: {text[pos:]}")
        pos = match.end()
        if match["seconds"]:
            case.steps.append(Step("", "wait", seconds=float(match["seconds"])))
        elif match["event"]:
            case.steps.append(Step(match["client"], match["event"]))
        else:
            reader = _Reader(text, pos, client_version(match["client"], case.version))
            case.steps.append(Step(match["client"], match["way"], reader.items()))
            pos = reader.pos


def encoded(text: str, version: int) -> bytes:
    """The bytes of items of the notation."""
    reader = _Reader(text, 0, version)
    data = reader.items()
    if reader.pos != len(text):
        raise ValueError("not bytes: " + text[reader.pos :])
    return data


class _Reader:
    """Reads items from `pos` on, up to a step, a closing bracket or the end."""

    def __init__(self, text: str, pos: int, version: int) -> None:
        self.text = text
        self.pos = pos
        self.version = version

    def items(self) -> bytes:
        data = b""
        while True:
            while self.text.startswith(" ", self.pos):
                self.pos += 1
            match = TOKEN.match(self.text, self.pos)
            if match is None or match[0] in (")", "}", "]"):
                return data
            data += self._item()

    def _item(self) -> bytes:
        match = TOKEN.match(self.text, self.pos)
        if match is None:
            raise ValueError("not an item: " + self.text[self.pos :])
        self.pos = match.end()
        token = match[0]
        if token in ("5:", "3:"):
            data = self._item()
            return data if (token == "5:") == (self.version == 5) else b""
        if token[0] in "\"'":
            return _string(token)
        if token.endswith("("):
            name = token[:-1]
            first = TYPES[name] if name in TYPES else int(name, 16)
            return bytes([first]) + _with_length(self._inside(")"))
        if token in ("{", "["):
            data = self._inside("}" if token == "{" else "]")
            return _with_length(data) if token == "[" or self.version == 5 else b""
        if token[0] in "0123456789abcdef":
            digits, _, count = token.partition("*")
            return bytes.fromhex(digits) * int(count or 1)
        meaning = NAMES[token]
        return encoded(meaning if isinstance(meaning, str) else meaning[self.version], self.version)

    def _inside(self, closing: str) -> bytes:
        data = self.items()
        if not self.text.startswith(closing, self.pos):
            raise ValueError(f"{closing} is missing before: {self.text[self.pos :]}")
        self.pos += 1
        return data


def _string(token: str) -> bytes:
    quote = token[0]
    inside, _, count = token[1:].rpartition(quote)
    content = inside.encode("latin-1", "backslashreplace").decode("unicode_escape").encode()
    content *= int(count.removeprefix("*") or 1)
    return (len(content).to_bytes(2, "big") if quote == '"' else b"") + content


def _with_length(data: bytes) -> bytes:
    """The data behind its length as a variable byte integer; written here anew, to be independent of the codec."""
    length, left = b"", len(data)
    while True:
        left, low = divmod(left, 0x80)
        length += bytes([low | 0x80 if left else low])
        if not left:
            return length + data
