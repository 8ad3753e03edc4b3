"""Topic names and topic filters: what is well-formed, and which name a filter matches, MQTT 5.0 sections 4.7 and 4.8.2.

Topics are UTF-8 in `bytes`, compared byte by byte and never normalised [MQTT-4.7.3-4]. The checks lean on searches of
`bytes` as a whole rather than on loops over single bytes: those are quick compiled and interpreted alike (and a search
for an integer is six times as quick as one for a `bytes` of length one).
"""

from __future__ import annotations

from typing import Final

from swellmq.codec.spec import MALFORMED_PACKET, PROTOCOL_ERROR, TOPIC_FILTER_INVALID, TOPIC_NAME_INVALID
from swellmq.errors import MalformedPacket, ProtocolError
from swellmq.limits import TOPIC_LEVELS_MAX

SHARE_PREFIX: Final = b"$share/"
SHARE_LEVELS: Final = 2  # of `$share` and the share name
_SHARE_NAME_POS: Final = 7  # where the share name begins

_NUL: Final = 0x00
_HASH: Final = 0x23
_PLUS: Final = 0x2B

# Topic names that passed: the common PUBLISH has one of them, and a look into a set is quicker than the searches. Its
# bounds keep it at 3 MB.
_WELL_FORMED_NAMES: Final = 16_384
_WELL_FORMED_BYTES: Final = 100
_well_formed: Final[set[bytes]] = set()


def check_utf_8(text: bytes) -> None:
    """Raise MalformedPacket where `text` is no UTF-8 Encoded String as MQTT wants it, section 1.5.4."""
    if _NUL in text:
        raise MalformedPacket(MALFORMED_PACKET, "U+0000 in a string")  # [MQTT-1.5.4-2]
    if not text.isascii():
        try:
            text.decode("utf-8")
        except UnicodeDecodeError:
            raise MalformedPacket(MALFORMED_PACKET, "a string that is not UTF-8") from None  # [MQTT-1.5.4-1]


def check_characters(text: str) -> None:
    """Raise MalformedPacket where `text`, which names something, has a control character or a Unicode non-character.

    MQTT 5.0 section 1.5.4 lets a receiver refuse these. In names they serve only those who want to mislead: they end
    up in logs, access control files and pages. Other strings may have them.
    """
    if text.isprintable():
        return
    for character in text:
        code_point = ord(character)
        if code_point < 0x20 or 0x7F <= code_point < 0xA0:
            raise MalformedPacket(MALFORMED_PACKET, "a control character in a name")
        if 0xFDD0 <= code_point < 0xFDF0 or code_point & 0xFFFE == 0xFFFE:
            raise MalformedPacket(MALFORMED_PACKET, "a Unicode non-character in a name")


def check_topic_name(topic: bytes) -> None:
    """Raise MalformedPacket where `topic` is no topic name; TOPIC_NAME_INVALID where it is one with too many levels."""
    if topic in _well_formed:
        return
    _check_topic(topic)
    if _PLUS in topic or _HASH in topic:
        raise MalformedPacket(MALFORMED_PACKET, "wildcard in a topic name")  # [MQTT-4.7.0-1]
    if _is_too_deep(topic):
        raise MalformedPacket(TOPIC_NAME_INVALID, "topic name with too many levels", MALFORMED_PACKET)
    if len(topic) <= _WELL_FORMED_BYTES:
        if len(_well_formed) >= _WELL_FORMED_NAMES:
            _well_formed.clear()
        _well_formed.add(topic)


def forget_topic_names() -> None:
    """Check each topic name anew, once: those that are remembered may be those of clients that have gone."""
    _well_formed.clear()


def check_response_topic(topic: bytes) -> None:
    """Raise ProtocolError where nothing can be published to `topic`, MalformedPacket where it is no text."""
    if topic in _well_formed:
        return
    if not topic or _PLUS in topic or _HASH in topic:
        raise ProtocolError(PROTOCOL_ERROR, "a Response Topic that is empty or has wildcards")
    check_topic_name(topic)


def check_topic_filter(topic_filter: bytes) -> None:
    """Raise MalformedPacket where `topic_filter`, shared or not, is none; TOPIC_FILTER_INVALID where it is too deep."""
    _check_topic(topic_filter)
    shared = topic_filter.startswith(SHARE_PREFIX)
    # First: to look at the wildcards of 30,000 levels takes 1 ms.
    _check_depth(topic_filter, SHARE_LEVELS if shared else 0)
    if _HASH in topic_filter or _PLUS in topic_filter:
        _check_wildcards(topic_filter)
    if shared:
        _check_depth(_checked_share(topic_filter), 0)


def _check_depth(topic_filter: bytes, more: int) -> None:
    if _is_too_deep(topic_filter, more):
        raise MalformedPacket(TOPIC_FILTER_INVALID, "topic filter with too many levels", MALFORMED_PACKET)


def split_share(topic_filter: bytes) -> tuple[bytes, bytes]:
    """The share name and the filter within a filter that passed `check_topic_filter`; b"" where it is not shared."""
    if not topic_filter.startswith(SHARE_PREFIX):
        return b"", topic_filter
    slash = topic_filter.find(b"/", _SHARE_NAME_POS)
    return topic_filter[_SHARE_NAME_POS:slash], topic_filter[slash + 1 :]


def matches(topic_filter: bytes, topic_name: bytes) -> bool:
    """Whether a filter, without `$share` and its share name, matches a topic name; both well-formed."""
    if topic_name.startswith(b"$") and topic_filter.startswith((b"+", b"#")):
        return False  # [MQTT-4.7.2-1]
    filter_levels = topic_filter.split(b"/")
    name_levels = topic_name.split(b"/")
    count = len(name_levels)
    for index in range(len(filter_levels)):
        level = filter_levels[index]
        if level == b"#":
            return True  # the parent too: `sport/#` matches `sport`
        if index == count:
            return False
        if level != b"+" and level != name_levels[index]:
            return False  # [MQTT-4.7.3-4]
    return len(filter_levels) == count


def _check_topic(topic: bytes) -> None:
    """What topic names and topic filters have in common."""
    if not topic:
        raise MalformedPacket(MALFORMED_PACKET, "empty topic")  # [MQTT-4.7.3-1]
    check_utf_8(topic)  # [MQTT-4.7.3-2]
    check_characters(topic.decode())


def _is_too_deep(topic: bytes, more: int = 0) -> bool:
    """A short topic can't have too many levels, so that the common one is not counted. `more`: that are let pass."""
    return len(topic) >= TOPIC_LEVELS_MAX and topic.count(b"/") >= TOPIC_LEVELS_MAX + more


def _checked_share(topic_filter: bytes) -> bytes:
    """The filter within a shared subscription's; raises MalformedPacket where no valid share name is before it."""
    slash = topic_filter.find(b"/", _SHARE_NAME_POS)
    if slash < 0 or slash + 1 == len(topic_filter):
        # [MQTT-4.8.2-2]
        raise MalformedPacket(MALFORMED_PACKET, "shared subscription without a topic filter", PROTOCOL_ERROR)
    share_name = topic_filter[_SHARE_NAME_POS:slash]
    if not share_name:
        # [MQTT-4.8.2-1]
        raise MalformedPacket(MALFORMED_PACKET, "shared subscription without a share name", PROTOCOL_ERROR)
    if _PLUS in share_name or _HASH in share_name:
        # [MQTT-4.8.2-2]
        raise MalformedPacket(MALFORMED_PACKET, "wildcard in a share name", PROTOCOL_ERROR)
    return topic_filter[slash + 1 :]


def _check_wildcards(topic_filter: bytes) -> None:
    levels = topic_filter.split(b"/")
    last = len(levels) - 1
    for index in range(len(levels)):
        level = levels[index]
        if _HASH in level and (level != b"#" or index != last):
            raise MalformedPacket(MALFORMED_PACKET, "'#' is not the whole last level")  # [MQTT-4.7.1-1]
        if _PLUS in level and level != b"+":
            raise MalformedPacket(MALFORMED_PACKET, "'+' is not a whole level")  # [MQTT-4.7.1-2]
