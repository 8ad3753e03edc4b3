"""Topic names, topic filters and matching, against tables and a matcher made of regular expressions."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swellmq.codec.spec import MALFORMED_PACKET, TOPIC_FILTER_INVALID, TOPIC_NAME_INVALID
from swellmq.codec.topic import check_topic_filter, check_topic_name, matches, split_share
from swellmq.errors import MalformedPacket
from swellmq.limits import TOPIC_LEVELS_MAX

DEEPEST = b"/" * (TOPIC_LEVELS_MAX - 1)
NOT_UTF_8 = [b"\xff", b"a/\xc3", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80"]

UNWANTED = [
    text.encode() for text in ("a\n", "\x1f", "a\x7f", "\x80", "\x9f", "\ufdd0", "\ufdef", "\ufffe", "\U0010ffff")
]
WELL_FORMED = ["\xa0", "\xad", "\u2028", "\ue000", "\ufdcf", "\ufdf0", "\ufffd", "\U0001f321", "\U0010fffd"]


@pytest.mark.parametrize(
    "topic",
    [b"a", b"/", b"a/b", b"/finance", b"a//b/", b" ", b"$SYS/x", "größe/温度".encode(), b"\xef\xbb\xbfa", DEEPEST]
    + [text.encode() for text in WELL_FORMED],
)
def test_topic_name_accepted(topic: bytes) -> None:
    check_topic_name(topic)
    check_topic_filter(topic)


@pytest.mark.parametrize(
    ("topic", "reason_code"),
    [
        (b"", MALFORMED_PACKET),  # [MQTT-4.7.3-1]
        (b"+", MALFORMED_PACKET),  # [MQTT-4.7.0-1]
        (b"a/#", MALFORMED_PACKET),  # [MQTT-4.7.0-1]
        (b"a+b", MALFORMED_PACKET),  # [MQTT-4.7.0-1]
        (b"a\0b", MALFORMED_PACKET),  # [MQTT-4.7.3-2] [MQTT-1.5.4-2]
        (DEEPEST + b"/", TOPIC_NAME_INVALID),
        *((bad, MALFORMED_PACKET) for bad in NOT_UTF_8 + UNWANTED),  # [MQTT-1.5.4-1]
    ],
)
def test_topic_name_refused(topic: bytes, reason_code: int) -> None:
    with pytest.raises(MalformedPacket) as error:
        check_topic_name(topic)
    assert error.value.reason_code == reason_code


@pytest.mark.parametrize(
    "topic_filter",
    [
        *(b"#", b"+", b"/+", b"+/", b"a/#", b"+/+/#", b"/#", b"$SYS/#", "ä/+".encode(), DEEPEST),
        *(
            b"$share",
            b"$share/g/a",
            b"$share/g/#",
            b"$share/g//a",
            b"$share/g/+/b",
            b"$shared/+",
            b"$share/g/" + DEEPEST,
        ),
    ],
)
def test_topic_filter_accepted(topic_filter: bytes) -> None:
    check_topic_filter(topic_filter)


@pytest.mark.parametrize(
    ("topic_filter", "reason_code"),
    [
        (b"", MALFORMED_PACKET),  # [MQTT-4.7.3-1]
        (b"a#", MALFORMED_PACKET),  # [MQTT-4.7.1-1]
        (b"a/#/b", MALFORMED_PACKET),  # [MQTT-4.7.1-1]
        (b"#/", MALFORMED_PACKET),  # [MQTT-4.7.1-1]
        (b"##", MALFORMED_PACKET),  # [MQTT-4.7.1-1]
        (b"a+", MALFORMED_PACKET),  # [MQTT-4.7.1-2]
        (b"a/+b/c", MALFORMED_PACKET),  # [MQTT-4.7.1-2]
        (b"++", MALFORMED_PACKET),  # [MQTT-4.7.1-2]
        (b"a\0", MALFORMED_PACKET),  # [MQTT-4.7.3-2]
        (b"$share/", MALFORMED_PACKET),  # [MQTT-4.8.2-1]
        (b"$share//a", MALFORMED_PACKET),  # [MQTT-4.8.2-1]
        (b"$share/g", MALFORMED_PACKET),  # [MQTT-4.8.2-2]
        (b"$share/g/", MALFORMED_PACKET),  # [MQTT-4.8.2-2]
        (b"$share/+/a", MALFORMED_PACKET),  # [MQTT-4.8.2-2]
        (b"$share/g#/a", MALFORMED_PACKET),  # [MQTT-4.8.2-2]
        (b"$share/g/a#", MALFORMED_PACKET),  # [MQTT-4.7.1-1]
        (DEEPEST + b"/", TOPIC_FILTER_INVALID),
        (b"$share/g/" + DEEPEST + b"/", TOPIC_FILTER_INVALID),
        *((bad, MALFORMED_PACKET) for bad in NOT_UTF_8 + UNWANTED),  # [MQTT-1.5.4-1]
    ],
)
def test_topic_filter_refused(topic_filter: bytes, reason_code: int) -> None:
    with pytest.raises(MalformedPacket) as error:
        check_topic_filter(topic_filter)
    assert error.value.reason_code == reason_code


def test_split_share() -> None:
    assert split_share(b"a/b") == (b"", b"a/b")
    assert split_share(b"$share") == (b"", b"$share")
    assert split_share(b"$share/group/a/+") == (b"group", b"a/+")
    assert split_share(b"$share/g//finance") == (b"g", b"/finance")


@pytest.mark.parametrize(
    ("topic_filter", "topic_name", "expected"),
    [
        # The specification's own examples, sections 4.7.1 and 4.7.2.
        (b"sport/tennis/player1/#", b"sport/tennis/player1", True),
        (b"sport/tennis/player1/#", b"sport/tennis/player1/ranking", True),
        (b"sport/tennis/player1/#", b"sport/tennis/player1/score/wimbledon", True),
        (b"sport/#", b"sport", True),
        (b"#", b"sport/tennis", True),
        (b"sport/tennis/+", b"sport/tennis/player1", True),
        (b"sport/tennis/+", b"sport/tennis/player1/ranking", False),
        (b"sport/+", b"sport", False),
        (b"sport/+", b"sport/", True),
        (b"+/+", b"/finance", True),
        (b"/+", b"/finance", True),
        (b"+", b"/finance", False),
        (b"#", b"$SYS/monitor", False),  # [MQTT-4.7.2-1]
        (b"+/monitor/Clients", b"$SYS/monitor/Clients", False),  # [MQTT-4.7.2-1]
        (b"$SYS/#", b"$SYS/monitor", True),
        (b"$SYS/monitor/+", b"$SYS/monitor/Clients", True),
        (b"ACCOUNTS", b"Accounts", False),  # [MQTT-4.7.3-4]
        (b"a//b", b"a/b", False),  # [MQTT-4.7.3-4]
        (b"a/$b", b"a/$b", True),
        (b"a/+", b"a/$b", True),
        (b"sports/#", b"sport", False),
        (b"a/b/#", b"a", False),
        (b"a", b"a/b", False),
    ],
)
def test_matches(topic_filter: bytes, topic_name: bytes, expected: bool) -> None:
    assert matches(topic_filter, topic_name) is expected


levels = st.sampled_from([b"", b"a", b"b", b"$x", b"ab"])
names = st.lists(levels, min_size=1, max_size=5).map(b"/".join).filter(len)


@st.composite
def filters(draw: st.DrawFn) -> bytes:
    parts = draw(st.lists(levels | st.just(b"+"), max_size=4))
    if draw(st.booleans()) or not parts:
        parts.append(b"#")
    return b"/".join(parts) or b"/"


def _matches_naively(topic_filter: bytes, topic_name: bytes) -> bool:
    if topic_name[:1] == b"$" and topic_filter[:1] in (b"+", b"#"):
        return False
    pattern = re.escape(topic_filter).replace(rb"\+", b"[^/]*")
    pattern = re.sub(rb"^\\#$", b".*", pattern)
    pattern = re.sub(rb"/\\#$", b"(/.*)?", pattern)
    return re.fullmatch(pattern, topic_name) is not None


@given(filters(), names)
def test_matches_like_the_naive_matcher(topic_filter: bytes, topic_name: bytes) -> None:
    check_topic_filter(topic_filter)
    check_topic_name(topic_name)
    assert matches(topic_filter, topic_name) is _matches_naively(topic_filter, topic_name)


@given(st.binary(max_size=40))
def test_any_bytes_are_accepted_or_refused(topic: bytes) -> None:
    for check in (check_topic_name, check_topic_filter):
        try:
            check(topic)
        except MalformedPacket:
            continue
        topic.decode("utf-8")
        assert topic and b"\0" not in topic
