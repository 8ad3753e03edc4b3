"""Rules of ACL files: which names and filters a pattern takes in, what names of clients may not do, who wins."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swellmq import SettingsError
from swellmq.access.acl_mosquitto import parse_mosquitto
from swellmq.access.acl_toml import parse_toml
from swellmq.access.rules import RIGHTS, Pattern, Rules
from swellmq.codec.topic import matches


def may(rules: Rules, user: str | None, right: str, topic: str, client: str = "c") -> bool:
    return rules.allows(user, client, RIGHTS[right], topic.encode())


def covers(pattern: str, topic_filter: str) -> bool:
    made = Pattern(pattern)
    return made.covers(made.levels, topic_filter.encode().split(b"/"))


@pytest.mark.parametrize(
    ("pattern", "topic_filter", "covered"),
    [
        ("a/b", "a/b", True),
        ("a/b", "a/+", False),
        ("a/b", "a/b/c", False),
        ("a/b/c", "a/b", False),
        ("a/+", "a/b", True),
        ("a/+", "a/+", True),
        ("a/+", "a/#", False),
        ("a/+", "a", False),
        ("a/#", "a/#", True),
        ("a/#", "a", True),
        ("a/#", "a/+/c/#", True),
        ("a/#", "+/b", False),
        ("#", "a/#", True),
        ("#", "#", True),
        ("#", "$SYS/#", False),
        ("+/broker", "$SYS/broker", False),
        ("$SYS/#", "$SYS/broker/+", True),
        ("$SYS/#", "#", False),
    ],
)
def test_a_pattern_covers_a_filter(pattern: str, topic_filter: str, covered: bool) -> None:
    assert covers(pattern, topic_filter) is covered


levels = st.sampled_from(["a", "b", "$x", ""])
names = st.lists(levels, min_size=1, max_size=4).map("/".join).filter(bool)
filters = st.builds(
    lambda parts, end: "/".join(parts + ([end] if end else [])),
    st.lists(st.sampled_from(["a", "b", "$x", "", "+"]), min_size=1, max_size=3),
    st.sampled_from(["", "#"]),
).filter(bool)


@given(filters, names)
def test_a_pattern_without_names_matches_as_a_subscription_does(pattern: str, name: str) -> None:
    made = Pattern(pattern)
    assert made.matches(made.levels, name.encode().split(b"/")) == matches(pattern.encode(), name.encode())


@given(filters, filters, names)
def test_what_a_covered_filter_matches_the_pattern_matches(pattern: str, topic_filter: str, name: str) -> None:
    if covers(pattern, topic_filter) and matches(topic_filter.encode(), name.encode()):
        assert matches(pattern.encode(), name.encode())


PERSONAL = '[[allow]]\ntopic = ["own/%c/#", "user/%u/x-%u"]\n'


@pytest.mark.parametrize("name", ["+", "#", "a/b", "a/#", "%c", "%u", "b/../a"])
@pytest.mark.parametrize("right", ["publish", "receive", "subscribe"])
def test_a_name_never_widens_a_pattern(name: str, right: str) -> None:
    rules = parse_toml(PERSONAL, "acl.toml")
    assert not may(rules, "joe", right, "own/a/x", client=name)
    assert not may(rules, "joe", right, "own/other", client=name)
    assert not may(rules, name, right, "user/joe/x-joe")
    if right == "subscribe":
        for asked in ("own/+/#", "own/#", "own/+", "#", "user/+/+"):
            assert not may(rules, name, right, asked, client=name)


@given(st.text("+#/%ucab", min_size=1, max_size=5), filters)
def test_whatever_a_client_is_called_it_gets_no_more_than_one_level(name: str, topic_filter: str) -> None:
    rules = parse_toml('[[allow]]\ntopic = "own/%c/x"\n', "acl.toml")
    if may(rules, None, "subscribe", topic_filter, client=name):
        assert topic_filter == f"own/{name}/x" and not set(name) & set("+#/")


def test_names_are_filled_in_once() -> None:
    rules = parse_toml('[[allow]]\npublish = "u/%u"\n', "acl.toml")
    assert may(rules, "%c", "publish", "u/%c", client="admin")
    assert not may(rules, "%c", "publish", "u/admin", client="admin")
    assert not may(rules, None, "publish", "u/")  # who has no name is in no rule with %u


OURS = """
# who does what
[[allow]]
user = ["ada", "bob"]
topic = "home/#"
[[allow]]
user = ""
receive = "public/#"
subscribe = "public/#"
[[allow]]
client = "door-1"
publish = "door/1"
retain = []
will = "gone/1"
[[deny]]
user = 'bob'
topic = [
    "home/safe/#",
    "home/cellar",
]
"""


@pytest.mark.parametrize(
    ("user", "client", "right", "topic", "allowed"),
    [
        ("ada", "c", "publish", "home/safe/1", True),
        ("ada", "c", "retain", "home/safe/1", True),
        ("ada", "c", "will", "home/x", True),
        ("ada", "c", "subscribe", "home/#", True),
        ("ada", "c", "publish", "street", False),
        ("bob", "c", "publish", "home/x", True),
        ("bob", "c", "publish", "home/safe/1", False),
        ("bob", "c", "receive", "home/cellar", False),
        ("bob", "c", "subscribe", "home/#", True),  # and gets what he may receive of it
        ("bob", "c", "subscribe", "home/safe/+", False),
        (None, "c", "subscribe", "public/x", True),
        (None, "c", "receive", "public/x", True),
        (None, "c", "publish", "public/x", False),
        ("eve", "c", "receive", "public/x", False),
        (None, "door-1", "publish", "door/1", True),
        ("eve", "door-1", "publish", "door/1", True),
        (None, "door-1", "retain", "door/1", False),
        (None, "door-1", "will", "gone/1", True),
        (None, "door-1", "will", "door/1", False),
        (None, "door-2", "publish", "door/1", False),
    ],
)
def test_our_format(user: str | None, client: str, right: str, topic: str, allowed: bool) -> None:
    assert may(parse_toml(OURS, "acl.toml"), user, right, topic, client) is allowed


@pytest.mark.parametrize(
    ("user", "right", "topic", "place"),
    [
        ("ada", "publish", "home/x", "acl.toml:5"),
        ("bob", "publish", "home/safe/x", "acl.toml:18"),
        ("bob", "receive", "home/cellar", "acl.toml:19"),
        (None, "receive", "public/x", "acl.toml:8"),
    ],
)
def test_our_format_knows_its_lines(user: str | None, right: str, topic: str, place: str) -> None:
    rule = parse_toml(OURS, "acl.toml").decide(user, "c", RIGHTS[right], topic.encode()).rule
    assert rule is not None and rule.place == place


MOSQUITTO = """
topic read public/#
# staff
user ada
topic home/#
topic deny home/safe
topic readwrite %c/x
user bob smith
topic write to/bob
topic read read
topic write
pattern write dev/%c/state
pattern read dev/%u/command
pattern deny dev/%c/secret
pattern dev/%c/secret
"""


@pytest.mark.parametrize(
    ("user", "client", "right", "topic", "allowed"),
    [
        (None, "c", "receive", "public/x", True),
        (None, "c", "publish", "public/x", False),
        ("ada", "c", "receive", "public/x", False),  # the first lines are for clients without a name
        ("ada", "c", "publish", "home/x", True),
        ("ada", "c", "receive", "home/x", True),
        ("ada", "c", "publish", "home/safe", False),
        ("ada", "c", "publish", "%c/x", True),
        ("ada", "c", "publish", "c/x", False),
        ("bob smith", "c", "publish", "to/bob", True),
        ("bob smith", "c", "will", "to/bob", True),
        ("bob smith", "c", "retain", "to/bob", True),
        ("bob smith", "c", "receive", "to/bob", False),
        ("bob smith", "c", "receive", "read", True),
        ("bob smith", "c", "publish", "write", True),
        (None, "c", "publish", "dev/c/state", True),
        (None, "c", "publish", "dev/d/state", False),
        (None, "c", "receive", "dev//command", False),
        ("eve", "c", "receive", "dev/eve/command", True),
        ("eve", "c", "publish", "dev/c/secret", False),
        ("eve", "+", "publish", "dev/+/state", False),
        ("e#", "c", "publish", "dev/c/state", False),  # a dangerous name passes no pattern at all
        ("eve", "c", "subscribe", "#", True),
        ("eve", "c", "receive", "$SYS/x", False),
    ],
)
def test_mosquitto_s_format(user: str | None, client: str, right: str, topic: str, allowed: bool) -> None:
    assert may(parse_mosquitto(MOSQUITTO, "acl"), user, right, topic, client) is allowed


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("user", "user: no name behind it"),
        ("topic read a/#/b", "topic: 'a/#/b' is no topic filter"),
        ("topic", "topic: '' is no topic filter"),
        ("allow a/b", "allow: not a line of an ACL file"),
    ],
)
def test_errors_in_mosquitto_s_format(line: str, problem: str) -> None:
    with pytest.raises(ValueError, match=f"^acl:2: {problem}"):
        parse_mosquitto("# rules\n" + line, "acl")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[[allow]]\npublish = 1", r"acl.toml:2: publish: neither a text nor a list"),
        ('[[allow]]\nuser = "x"', r"acl.toml:1: allow: a rule about no topic"),
        ('[[allow]]\npublsih = "x"', r"acl.toml:2: publsih: .* Did you mean publish\?"),
        ('[[alow]]\npublish = "x"', r"acl.toml: alow: .* Did you mean allow\?"),
        ('[allow]\npublish = "x"', r"acl.toml: allow: not a list of tables"),
        ('[[deny]]\ntopic = "a"\n[[allow]]\npublish = ["b",\n  "a/#/b"]', r"acl.toml:5: publish: 'a/#/b' is no topic"),
        ('[[allow]]\nsubscribe = "$share/g/a"', r"acl.toml:2: subscribe: .* names a share"),
        ("[[allow]]\npublish = ]", r"acl.toml:2: ACL file: not TOML"),
    ],
)
def test_errors_in_our_format(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_toml(text, "acl.toml")


@given(st.text(st.sampled_from('user topicpatern[]="#+%c/\n\r\t\u2028\0ü')))
def test_any_text_is_read_or_refused(text: str) -> None:
    for parse in (parse_mosquitto, parse_toml):
        with contextlib.suppress(SettingsError):
            assert parse(text, "acl").count >= 0
