"""What the log says of clients: that one came, was refused, subscribed or left, and why.

A storm of clients must not become a storm of lines. Of each kind a bounded number a second is written; what is left out
is counted, and told in one line when the second is over. Nothing is built, and no address asked for, before it is clear
that the line is written. The text is for people; a log in JSON has the same facts as fields.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, final

from mypy_extensions import i64, mypyc_attr, u8

from swellmq.broker.session import Session
from swellmq.codec.packets import Connect, TopicRequest
from swellmq.codec.reasons import REASON_CODES
from swellmq.connection import Connection
from swellmq.errors import CLOSE_REASONS, PEER_CLOSED, PEER_RESET, printable

if TYPE_CHECKING:
    from swellmq.broker.core import Core

log: Final = logging.getLogger("swellmq.clients")

# Kinds of lines; the number indexes `KIND_NAMES`.
ACCEPTED: Final = 0
CONNECTED: Final = 1
REFUSED_CLIENT: Final = 2
CLOSED: Final = 3
NEVER_CONNECTED: Final = 4
SUBSCRIBED: Final = 5
UNSUBSCRIBED: Final = 6
REVOKED: Final = 7
UNANSWERED: Final = 8

KIND_NAMES: Final = (
    "accepted",
    "connected",
    "refused",
    "disconnected",
    "closed",
    "subscribed",
    "unsubscribed",
    "revoked",
    "unanswered",
)
DEBUG: Final = 10
INFO: Final = 20
WARNING: Final = 30
VERSION_NAMES: Final = ("", "", "", "3.1", "3.1.1", "5.0")
FILTERS_SHOWN: Final = 8  # of one SUBSCRIBE


@final
@mypyc_attr(native_class=True)
class Lines:
    """How many lines of each kind were written in this second, and how many left out."""

    def __init__(self) -> None:
        self.per_second: i64 = 20  # of each kind; 0: none is written, and none counted
        self.second: i64 = 0
        self.counts: list[int] = [0] * len(KIND_NAMES)  # in this second
        self.due_ms: i64 = 0  # when to tell what was left out; 0: nothing was
        # Of connections that are about to be closed, until they are.
        self.refused: set[Connection] = set()  # a line has said so already
        self.faults: dict[Connection, str] = {}  # what is wrong, in words

    def take(self, kind: u8, level: i64, now_ms: i64) -> bool:
        """Whether a line of this kind is to be written now; where not, it is counted."""
        if self.per_second == 0 or not log.isEnabledFor(int(level)):
            return False
        second = now_ms // 1000
        if second != self.second:
            self.tell()
            self.second = second
        count: i64 = self.counts[kind]
        self.counts[kind] = int(count + 1)
        if count < self.per_second:
            return True
        self.due_ms = (second + 1) * 1000
        return False

    def tell(self) -> None:
        """The second is over: say in one line what was left out of the log."""
        counts = self.counts
        self.counts = [0] * len(KIND_NAMES)
        if self.due_ms == 0:
            return
        self.due_ms = 0
        left_out: dict[str, object] = {}
        texts: list[str] = []
        for kind in range(len(KIND_NAMES)):
            more = counts[kind] - int(self.per_second)
            if more > 0:
                left_out[KIND_NAMES[kind]] = more
                texts.append(f"{more} more {KIND_NAMES[kind]}")
        fields: dict[str, object] = {"event": "left_out", "counts": left_out}
        log.info("%s in that second, not shown", ", ".join(texts), extra={"fields": fields})

    def forget(self, connection: Connection) -> None:
        """The connection is closed, and what was to be said of it is said."""
        self.refused.discard(connection)
        self.faults.pop(connection, None)


def _write(level: int, event: str, text: str, fields: dict[str, object]) -> None:
    """One line; in JSON its fields stand beside it, those that are empty left out."""
    given: dict[str, object] = {"event": event}
    for name, value in fields.items():
        if value is not None and value != "":
            given[name] = value
    log.log(level, "%s", text, extra={"fields": given})


def _who(client_id: str, username: str | None, address: str) -> str:
    """`client a (user u) from 192.0.2.1`"""
    text = "client " + printable(client_id) if client_id else "a client without a client identifier"
    if username is not None:
        text += f" (user {printable(username)})"
    return f"{text} from {address}" if address else text


def lasted(milliseconds: i64) -> str:
    """How long something was there, to two units."""
    seconds = milliseconds // 1000
    if seconds < 1:
        return f"{milliseconds} ms"
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3_600:
        return f"{seconds // 60} min {seconds % 60} s"
    if seconds < 86_400:
        return f"{seconds // 3_600} h {seconds // 60 % 60} min"
    return f"{seconds // 86_400} d {seconds // 3_600 % 24} h"


def accepted(core: Core, connection: Connection) -> None:
    """A connection was accepted; nothing is known of its client."""
    if core.lines.take(ACCEPTED, DEBUG, core.turn.now_ms):
        address = core.peers.address(connection)
        text = f"a connection from {address or 'a place unknown'}, descriptor {int(connection.fd)}"
        _write(DEBUG, "accepted", text, {"address": address, "descriptor": int(connection.fd)})


def connected(core: Core, session: Session, connection: Connection, resumed: bool) -> None:
    """A client was let in."""
    if not core.lines.take(CONNECTED, INFO, core.turn.now_ms):
        return
    address = core.peers.address(connection)
    version = VERSION_NAMES[connection.protocol_version]
    keep_alive_s = int(connection.keep_alive_s)
    keep_alive = f"keep alive {keep_alive_s} s" if keep_alive_s else "no keep alive"
    kept = "session resumed" if resumed else "new session"
    text = f"{_who(session.client_id, session.username, address)} connected: MQTT {version}, {keep_alive}, {kept}"
    fields: dict[str, object] = {
        "client_id": session.client_id,
        "address": address,
        "user": session.username,
        "protocol_version": version,
        "keep_alive_s": keep_alive_s,
        "session_present": resumed,
    }
    _write(INFO, "connected", text, fields)


def refused(
    core: Core, connection: Connection, connect: Connect | None, reason: u8, reason_code: int, phrase: str
) -> None:
    """A client is refused, by a CONNACK with `reason_code` or by its end alone."""
    lines = core.lines
    lines.refused.add(connection)
    if not lines.take(REFUSED_CLIENT, INFO, core.turn.now_ms):
        return
    client_id = connect.client_id if connect is not None else ""
    username = connect.username if connect is not None else None
    address = core.peers.address(connection)
    words = REASON_CODES.get(reason_code, "")
    why = f"{words} ({printable(phrase)})" if phrase and phrase != words else words
    fields: dict[str, object] = {
        "client_id": client_id,
        "address": address,
        "user": username,
        "reason": CLOSE_REASONS[reason],
        "reason_code": reason_code,
        "phrase": phrase,
    }
    _write(INFO, "refused", f"{_who(client_id, username, address)} is refused: {why}", fields)


def closed(core: Core, session: Session, connection: Connection) -> None:
    """The connection of a client has ended."""
    now_ms = core.turn.now_ms
    if not core.lines.take(CLOSED, INFO, now_ms):
        return
    address = core.peers.address(connection)
    reason = CLOSE_REASONS[connection.close_reason]
    fault = _fault(core, connection)
    stayed_ms = now_ms - session.since_ms
    who = _who(session.client_id, session.username, address)
    text = f"{who} disconnected after {lasted(stayed_ms)}: {reason}" + (f" ({fault})" if fault else "")
    fields: dict[str, object] = {
        "client_id": session.client_id,
        "address": address,
        "user": session.username,
        "reason": reason,
        "phrase": fault,
        "seconds": round(int(stayed_ms) / 1000, 3),
    }
    _write(INFO, "disconnected", text, fields)


def never_connected(core: Core, connection: Connection) -> None:
    """A connection has ended before its client was let in. Those that just leave are told at debug: who checks whether
    the port answers does so all day."""
    lines = core.lines
    if connection in lines.refused:
        return
    reason = connection.close_reason
    level = DEBUG if reason == PEER_CLOSED or reason == PEER_RESET else INFO
    if not lines.take(NEVER_CONNECTED, level, core.turn.now_ms):
        return
    address = core.peers.address(connection)
    fault = _fault(core, connection)
    name = CLOSE_REASONS[reason]
    text = f"a connection from {address or 'a place unknown'} ended before a client was let in: {name}"
    fields: dict[str, object] = {"address": address, "reason": name, "phrase": fault}
    _write(level, "closed", text + (f" ({fault})" if fault else ""), fields)


def _fault(core: Core, connection: Connection) -> str:
    """What was wrong with what the peer sent, in words; "" where nothing was."""
    fault = core.lines.faults.get(connection, "")
    buffers = connection.buffers
    if not fault and buffers is not None and buffers.layer is not None:
        fault = buffers.layer.phrase
    return printable(fault)


def subscribed(core: Core, session: Session, requests: list[TopicRequest], reason_codes: list[int]) -> None:
    """A client has subscribed: to what, and what was granted."""
    if not core.lines.take(SUBSCRIBED, DEBUG, core.turn.now_ms):
        return
    topic_filters = [request.topic_filter for request in requests]
    texts: list[str] = []
    for index in range(min(len(topic_filters), FILTERS_SHOWN)):
        code = reason_codes[index]
        granted = f"QoS {code}" if code < 0x80 else "refused: " + REASON_CODES.get(code, "failure")
        texts.append(f"{printable(topic_filters[index].decode())} ({granted})")
    _write_filters(session, "subscribed", "to", topic_filters, texts)


def unsubscribed(core: Core, session: Session, topic_filters: list[bytes]) -> None:
    """A client has unsubscribed."""
    if core.lines.take(UNSUBSCRIBED, DEBUG, core.turn.now_ms):
        texts = [printable(one.decode()) for one in topic_filters[:FILTERS_SHOWN]]
        _write_filters(session, "unsubscribed", "from", topic_filters, texts)


def _write_filters(session: Session, event: str, word: str, topic_filters: list[bytes], texts: list[str]) -> None:
    more = len(topic_filters) - len(texts)
    listed = ", ".join(texts) + (f" and {more} more" if more else "")
    fields: dict[str, object] = {
        "client_id": session.client_id,
        "user": session.username,
        "topic_filters": [one.decode() for one in topic_filters[:FILTERS_SHOWN]],
        "count": len(topic_filters),
    }
    _write(DEBUG, event, f"{_who(session.client_id, session.username, '')} {event} {word} {listed}", fields)


def revoked(core: Core, session: Session, topic_filter: bytes) -> None:
    """A subscription is no longer allowed, and removed."""
    if core.lines.take(REVOKED, INFO, core.turn.now_ms):
        name = printable(topic_filter.decode())
        text = f"client {session.name()}: its subscription to {name} is no longer allowed, and removed"
        fields: dict[str, object] = {"client_id": session.client_id, "user": session.username, "topic_filters": [name]}
        _write(INFO, "revoked", text, fields)


def unanswered(core: Core, connection: Connection, client_id: str, question: str) -> None:
    """Nobody has answered in time what a client waits for."""
    if core.lines.take(UNANSWERED, WARNING, core.turn.now_ms):
        text = f"client {printable(client_id)}: no answer in time to: {question}"
        address = core.peers.address(connection)
        fields: dict[str, object] = {"client_id": client_id, "address": address, "question": question}
        _write(WARNING, "unanswered", text, fields)
