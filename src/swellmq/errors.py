"""What can go wrong, by whose fault it is, and the named reasons why a connection ends.

The peer's fault is `MalformedPacket` or `ProtocolError`, with the reason code that MQTT 5.0 has for it and a phrase
that says what was wrong. The operator's fault is `SettingsError`. Ours is an `assert`. Would-block, peer gone, queue
full and no subscriber are results, not exceptions.
"""

from __future__ import annotations

from typing import Final

SILENT: Final = 0  # in place of a reason code: the connection is closed without a word


class PeerError(Exception):
    """A peer broke a rule of MQTT.

    `reason_code` is the one of MQTT 5.0, section 2.4; a 3.x peer is only closed. `phrase` is for the log and, where the
    client wants it, the Reason String. `mosquitto_code` is what mosquitto answers: the same, another code, or SILENT.
    """

    def __init__(self, reason_code: int, phrase: str, mosquitto_code: int = -1) -> None:
        super().__init__(phrase)
        self.reason_code = reason_code
        self.phrase = phrase
        self.mosquitto_code = reason_code if mosquitto_code < 0 else mosquitto_code


class MalformedPacket(PeerError):
    """Bytes that are no MQTT packet, MQTT 5.0 section 4.13.1; the only thing that `decode` raises."""


class ProtocolError(PeerError):
    """A well-formed packet that may not come here, now, or with these values."""


class SettingsError(ValueError):
    """A setting that can't be honoured: which one, what is wrong with its value, and how to mend it.

    `where` is the file and line, the flag or the environment variable it came from, or "" where none is known.
    """

    def __init__(self, key: str, problem: str, remedy: str, where: str = "") -> None:
        place = where + ": " if where else ""
        super().__init__(place + key + ": " + problem + ". " + remedy)
        self.key = key
        self.problem = problem
        self.remedy = remedy
        self.where = where


def printable(text: str) -> str:
    """A text of a client as it may stand in a log line: it can hold line breaks and escape sequences."""
    return text if text.isprintable() else text.encode("unicode_escape").decode()


# Why a connection ended. Log, counters and admin show the name; the number indexes `CLOSE_REASONS`.
OPEN: Final = 0
CLIENT_DISCONNECTED: Final = 1  # a DISCONNECT packet
PEER_CLOSED: Final = 2  # end of file without DISCONNECT
PEER_RESET: Final = 3  # ECONNRESET, EPIPE, ETIMEDOUT and their like
KEEP_ALIVE_TIMEOUT: Final = 4
CONNECT_TIMEOUT: Final = 5  # nothing, or half a CONNECT, within the deadline
WRITE_STALLED: Final = 6  # took nothing for too long
SESSION_TAKEN_OVER: Final = 7
MALFORMED_PACKET: Final = 8
PROTOCOL_ERROR: Final = 9
PACKET_TOO_LARGE: Final = 10
REFUSED: Final = 11  # CONNACK with a reason code that is not Success
REFUSED_FULL: Final = 12  # max_connections is reached
SERVER_SHUTTING_DOWN: Final = 13
ADMINISTRATIVE: Final = 14  # closed by the operator or by the embedding program
PENDING_TIMEOUT: Final = 15  # access, uplink or storage gave no answer in time
INTERNAL_ERROR: Final = 16  # an exception of ours; counted as a bug
STORE_FAILING: Final = 17  # what it asked for can't be stored now, and its version of MQTT has no way to say so
LOGIN_EXPIRED: Final = 18  # what the client came in with, such as a token, holds no longer
TLS_FAILED: Final = 19  # a handshake that came to nothing, or a record that is none

CLOSE_REASONS: Final = (
    "open",
    "client disconnected",
    "closed by peer",
    "reset by peer",
    "keep alive timeout",
    "connect timeout",
    "write stalled",
    "session taken over",
    "malformed packet",
    "protocol error",
    "packet too large",
    "refused",
    "refused, broker full",
    "server shutting down",
    "administrative action",
    "no answer in time",
    "internal error",
    "store failing",
    "login expired",
    "TLS failed",
)
