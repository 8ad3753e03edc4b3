"""What the log says of clients: that one came, was refused, subscribed or left, and why.

The text is for people; a log in JSON has the same facts as fields. How many lines are written is settled before, by
`Lines` in core.py, and this is not even loaded before the first of them.
"""

from __future__ import annotations

from typing import Final

from swellmq.broker.core import DEBUG, INFO, WARNING, Core, client_log
from swellmq.broker.session import Session
from swellmq.codec.packets import Connect, TopicRequest
from swellmq.codec.reasons import REASON_CODES
from swellmq.connection import Connection
from swellmq.errors import CLOSE_REASONS, printable

# What the lines of each kind are called, by the numbers in core.py.
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
VERSION_NAMES: Final = ("", "", "", "3.1", "3.1.1", "5.0")
FILTERS_SHOWN: Final = 8  # of one SUBSCRIBE


class Life:
    """Writes the lines of one broker: each method is one."""

    def __init__(self, core: Core) -> None:
        self.core = core

    def left_out(self, counts: list[int]) -> None:
        """So many more there were of each kind, in a second that is over."""
        named = {name: more for name, more in zip(KIND_NAMES, counts, strict=True) if more > 0}
        texts = [f"{more} more {name}" for name, more in named.items()]
        write(INFO, "left_out", f"{', '.join(texts)} in that second, not shown", {"counts": named})

    def accepted(self, connection: Connection) -> None:
        """A connection was accepted; nothing is known of its client."""
        address = self.core.peers.address(connection)
        text = f"a connection from {address or 'a place unknown'}, descriptor {connection.fd}"
        write(DEBUG, "accepted", text, {"address": address, "descriptor": int(connection.fd)})

    def connected(self, session: Session, connection: Connection, resumed: bool) -> None:
        """A client was let in."""
        address = self.core.peers.address(connection)
        version = VERSION_NAMES[connection.protocol_version]
        keep_alive_s = int(connection.keep_alive_s)
        keep_alive = f"keep alive {keep_alive_s} s" if keep_alive_s else "no keep alive"
        kept = "session resumed" if resumed else "new session"
        text = f"{who(session.client_id, session.username, address)} connected: MQTT {version}, {keep_alive}, {kept}"
        fields: dict[str, object] = {
            "client_id": session.client_id,
            "address": address,
            "user": session.username,
            "protocol_version": version,
            "keep_alive_s": keep_alive_s,
            "session_present": resumed,
        }
        write(INFO, "connected", text, fields)

    def refused(
        self, connection: Connection, connect: Connect | None, reason: int, reason_code: int, phrase: str
    ) -> None:
        """A client is refused, by a CONNACK with `reason_code` or by its end alone."""
        client_id = connect.client_id if connect is not None else ""
        username = connect.username if connect is not None else None
        address = self.core.peers.address(connection)
        why = REASON_CODES.get(reason_code, "")
        if phrase and phrase != why:
            why += f" ({printable(phrase)})"
        fields: dict[str, object] = {
            "client_id": client_id,
            "address": address,
            "user": username,
            "reason": CLOSE_REASONS[reason],
            "reason_code": reason_code,
            "phrase": phrase,
        }
        write(INFO, "refused", f"{who(client_id, username, address)} is refused: {why}", fields)

    def closed(self, session: Session, connection: Connection) -> None:
        """The connection of a client has ended."""
        address = self.core.peers.address(connection)
        reason = CLOSE_REASONS[connection.close_reason]
        fault = self.fault(connection)
        stayed_ms = int(self.core.turn.now_ms - session.since_ms)
        name = who(session.client_id, session.username, address)
        text = f"{name} disconnected after {lasted(stayed_ms)}: {reason}" + (f" ({fault})" if fault else "")
        fields: dict[str, object] = {
            "client_id": session.client_id,
            "address": address,
            "user": session.username,
            "reason": reason,
            "phrase": fault,
            "seconds": stayed_ms / 1000,
        }
        write(INFO, "disconnected", text, fields)

    def never_connected(self, connection: Connection, level: int) -> None:
        """A connection has ended before its client was let in."""
        address = self.core.peers.address(connection)
        fault = self.fault(connection)
        reason = CLOSE_REASONS[connection.close_reason]
        text = f"a connection from {address or 'a place unknown'} ended before a client was let in: {reason}"
        fields: dict[str, object] = {"address": address, "reason": reason, "phrase": fault}
        write(level, "closed", text + (f" ({fault})" if fault else ""), fields)

    def fault(self, connection: Connection) -> str:
        """What was wrong with what the peer sent, in words; "" where nothing was."""
        fault = self.core.lines.faults.get(connection, "")
        buffers = connection.buffers
        if not fault and buffers is not None and buffers.layer is not None:
            fault = buffers.layer.phrase
        return printable(fault)

    def subscribed(self, session: Session, requests: list[TopicRequest], reason_codes: list[int]) -> None:
        """A client has subscribed: to what, and what was granted."""
        texts: list[str] = []
        for request, code in zip(requests[:FILTERS_SHOWN], reason_codes, strict=False):
            granted = f"QoS {code}" if code < 0x80 else "refused: " + REASON_CODES.get(code, "failure")
            texts.append(f"{printable(request.topic_filter.decode())} ({granted})")
        shown = [request.topic_filter for request in requests[:FILTERS_SHOWN]]
        write_filters(session, "subscribed", "to", shown, texts, len(requests))

    def unsubscribed(self, session: Session, topic_filters: list[bytes]) -> None:
        """A client has unsubscribed."""
        shown = topic_filters[:FILTERS_SHOWN]
        texts = [printable(one.decode()) for one in shown]
        write_filters(session, "unsubscribed", "from", shown, texts, len(topic_filters))

    def revoked(self, session: Session, topic_filter: bytes) -> None:
        """A subscription is no longer allowed, and removed."""
        name = topic_filter.decode()
        text = f"client {session.name()}: its subscription to {printable(name)} is no longer allowed, and removed"
        fields: dict[str, object] = {"client_id": session.client_id, "user": session.username, "topic_filters": [name]}
        write(INFO, "revoked", text, fields)

    def unanswered(self, connection: Connection, client_id: str, question: str) -> None:
        """Nobody has answered in time what a client waits for."""
        text = f"client {printable(client_id)}: no answer in time to: {question}"
        address = self.core.peers.address(connection)
        fields: dict[str, object] = {"client_id": client_id, "address": address, "question": question}
        write(WARNING, "unanswered", text, fields)


def write(level: int, event: str, text: str, fields: dict[str, object]) -> None:
    """One line; in JSON its fields stand beside it, those that are empty left out."""
    given: dict[str, object] = {"event": event}
    given.update({name: value for name, value in fields.items() if value is not None and value != ""})
    client_log.log(level, "%s", text, extra={"fields": given})


def write_filters(session: Session, event: str, word: str, shown: list[bytes], texts: list[str], count: int) -> None:
    """A line about `count` topic filters, of which some are `shown`, as `texts`."""
    more = count - len(shown)
    listed = ", ".join(texts) + (f" and {more} more" if more else "")
    fields: dict[str, object] = {
        "client_id": session.client_id,
        "user": session.username,
        "topic_filters": [one.decode() for one in shown],
        "count": count,
    }
    write(DEBUG, event, f"{who(session.client_id, session.username, '')} {event} {word} {listed}", fields)


def who(client_id: str, username: str | None, address: str) -> str:
    """`client a (user u) from 192.0.2.1`"""
    text = "client " + printable(client_id) if client_id else "a client without a client identifier"
    if username is not None:
        text += f" (user {printable(username)})"
    return f"{text} from {address}" if address else text


def lasted(milliseconds: int) -> str:
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
