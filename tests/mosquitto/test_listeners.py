"""Listeners that differ, by a mosquitto.conf: users, rights and bounds of each, as with mosquitto itself."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from beside import CLOSED, Dial, alone, arrived, beside, echo

from swellmq.codec.packets import Publish, Unsubscribe
from swellmq.errors import SettingsError

pytestmark = pytest.mark.needs_mosquitto


def passwords(path: Path, **users: str) -> Path:
    """A password file, made by mosquitto's own program."""
    path.touch()
    for user, password in users.items():
        command = ["mosquitto_passwd", "-b", str(path), user, password]
        subprocess.run(command, check=True, capture_output=True)
    return path


def two_listeners(tmp_path: Path) -> str:
    first = passwords(tmp_path / "first", ada="one", bob="one")
    second = passwords(tmp_path / "second", ada="two")
    (tmp_path / "acl1").write_text("user ada\ntopic readwrite a/#\nuser bob\ntopic readwrite #\n")
    (tmp_path / "acl2").write_text("pattern readwrite %u/#\n")
    return (
        "per_listener_settings true\n"
        f"listener {{0}} 127.0.0.1\npassword_file {first}\nacl_file {tmp_path}/acl1\n"
        f"listener {{1}} 127.0.0.1\npassword_file {second}\nacl_file {tmp_path}/acl2\n"
        "allow_anonymous true\nallow_zero_length_clientid false\n"
    )


def test_users_of_each(tmp_path: Path) -> None:
    logins = [(None, None), ("ada", b"one"), ("ada", b"two"), ("bob", b"one"), ("eve", b"one")]

    def talk(dial: Dial) -> Any:
        answers = [
            [dial.enter(listener, username=user, password=password) for user, password in logins]
            for listener in (0, 1, 0)  # a login that was good at one is no better at the other
        ]
        return answers, [dial.enter(listener, client_id="") for listener in (0, 1)]

    answers, nameless = beside(tmp_path, two_listeners(tmp_path), talk)
    assert answers == [[5, 0, 5, 0, 5], [0, 5, 0, 5, 5], [5, 0, 5, 0, 5]]
    assert nameless == [5, 2]


def test_rights_of_each(tmp_path: Path) -> None:
    def talk(dial: Dial) -> Any:
        seen = []
        for listener, password in ((0, b"one"), (1, b"two")):
            client = dial(listener)
            client.connect("c", username="ada", password=password)
            seen.append([*echo(client, "a/x"), *echo(client, "ada/x")])
            client.disconnect()
        return seen

    assert beside(tmp_path, two_listeners(tmp_path), talk) == [["00", "a/x", "00"], ["00", "00", "ada/x"]]


def test_a_kept_session_has_the_rights_of_its_last_listener(tmp_path: Path) -> None:
    def talk(dial: Dial) -> Any:
        bob = dial(0)
        bob.connect("bob", username="bob", password=b"one")
        seen = []
        for listener, password in ((0, b"one"), (1, b"two"), (0, b"one")):
            ada = dial(listener)
            ada.connect("ada", clean=False, username="ada", password=password)
            ada.subscribe("+/x", 1)
            seen.append(arrived(ada))
            ada.disconnect()
            for topic in ("a/x", "ada/x"):
                bob.publish(topic, b"", 1)
                bob.receive()
        return seen

    # What was kept for the client where it was last is looked at again where it comes in.
    assert beside(tmp_path, two_listeners(tmp_path), talk) == [[], [], []]


def test_beginnings_of_client_ids(tmp_path: Path) -> None:
    text = "allow_anonymous true\nlistener {0} 127.0.0.1\nclientid_prefixes dev-\nauto_id_prefix dev-\n"

    def talk(dial: Dial) -> Any:
        return [dial.enter(client_id=name, version=version) for name in ("dev-1", "x", "") for version in (4, 5)]

    assert beside(tmp_path, text, talk) == [0, 0, 5, 0x87, 0, 0]


def test_an_interface(tmp_path: Path) -> None:
    text = "allow_anonymous true\nlistener {0} 127.0.0.1\nbind_interface lo\n"
    assert beside(tmp_path, text, lambda dial: dial.enter()) == 0
    with pytest.raises(SettingsError, match="nowhere0: can't be bound to"):
        alone(tmp_path, text.replace(" lo", " nowhere0"), lambda dial: dial.enter())


def test_bounds_of_each(tmp_path: Path) -> None:
    """mosquitto 2.0.11 never counts a client that has left."""
    text = "allow_anonymous true\nlistener {0} 127.0.0.1\nmax_connections 2\nlistener {1} 127.0.0.1\n"

    def talk(dial: Dial) -> Any:
        answers = [dial.enter(client_id=str(number)) for number in range(3)]
        answers += [dial.enter(1, client_id=str(number)) for number in range(3, 6)]
        dial.made[0].disconnect()
        return [*answers, dial.enter(client_id="6"), dial.enter(client_id="7")]

    assert alone(tmp_path, text, talk) == [0, 0, CLOSED, 0, 0, 0, 0, CLOSED]


def test_mount_points(tmp_path: Path) -> None:
    """As the manual says; mosquitto 2.0.11 sends topics with the mount point, and does not unsubscribe below it."""
    text = "allow_anonymous true\nlistener {0} 127.0.0.1\nmount_point site/7/\nlistener {1} 127.0.0.1\n"

    def talk(dial: Dial) -> Any:
        other = dial(1)
        other.connect("other")
        other.subscribe("#")
        below = dial()
        below.connect("below", will=Publish(b"gone", b"", 0, False))
        seen = [echo(below, "#", "a/b"), arrived(other)]
        below.publish("kept", b"x", retain=True)
        seen.append(arrived(below))
        other.publish("elsewhere", b"x")
        other.publish("site/7/c", b"x")
        seen += [arrived(other), arrived(below)]
        later = dial()
        later.connect("later")
        seen.append([later.subscribe("+").hex(), *arrived(later)])
        later.send(Unsubscribe(1, [b"+"]))
        later.receive()
        other.publish("site/7/d", b"")
        seen += [arrived(other), arrived(later)]
        below.sock.close()
        return seen, other.expect(Publish).topic_name

    seen, will = alone(tmp_path, text, talk)
    assert seen == [
        ["00", "a/b"],
        ["site/7/a/b"],
        ["kept"],
        ["site/7/kept", "elsewhere", "site/7/c"],
        ["c"],
        ["00", "kept"],
        ["site/7/d"],
        [],
    ]
    assert will == b"site/7/gone"
