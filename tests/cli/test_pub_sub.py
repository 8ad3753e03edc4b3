"""`swellmq pub` and `swellmq sub` as processes, with other clients on a real broker: mosquitto, and our own."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from pub_sub_helpers import Broker, run, start_mosquitto, swellmq_command

from swellmq import Broker as OwnBroker
from swellmq import Settings

VERSIONS: Final = {"3.1": "mqttv31", "3.1.1": "mqttv311", "5": "mqttv5"}

every_version = pytest.mark.parametrize("version", VERSIONS)
every_qos = pytest.mark.parametrize("qos", ["0", "1", "2"])


@pytest.fixture(
    scope="module", params=[pytest.param("mosquitto", marks=pytest.mark.needs_mosquitto), pytest.param("swellmq")]
)
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    if request.param == "swellmq":
        with OwnBroker(Settings(port=0)) as own:
            yield Broker(own.port)
            assert own.statistics()["errors_internal"] == 0
        return
    process, port = start_mosquitto()
    yield Broker(port)
    process.terminate()
    process.wait()


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> str:
    """A topic that no other test uses."""
    return "t/" + "".join(letter if letter.isalnum() else "-" for letter in request.node.name)


@every_version
@every_qos
def test_what_we_publish_reaches_another_client(broker: Broker, topic: str, version: str, qos: str) -> None:
    with broker.mosquitto_sub(topic, "-q", "2", "-C", "2", "-F", "%q %p", "-V", VERSIONS[version]) as subscriber:
        broker.pub("-t", topic, "-m", "grüße", "-q", qos, "-V", version)
        assert subscriber.end() == (0, f"{qos} grüße\n".encode(), "")


@every_version
@every_qos
def test_what_another_client_publishes_reaches_us(broker: Broker, topic: str, version: str, qos: str) -> None:
    with broker.sub("-t", topic, "-q", "2", "-C", "1", "--format", "{qos} {payload}", "-V", version) as subscriber:
        broker.mosquitto_pub("-t", topic, "-m", "grüße", "-q", qos, "-V", VERSIONS[version])
        assert subscriber.end() == (0, f"{qos} grüße\n".encode(), "")


@every_version
def test_a_retained_message_is_kept_shown_left_out_and_cleared(broker: Broker, topic: str, version: str) -> None:
    broker.pub("-t", topic, "-m", "kept", "-r", "-V", version)
    at = [*broker.at, "-t", topic, "-V", version]
    shown = run(swellmq_command("sub", *at, "-C", "1", "--format", "{retain} {topic} {payload}"))
    assert shown == (0, f"1 {topic} kept\n".encode(), "")
    with broker.sub("-t", topic, "-R", "-C", "1", "-V", version) as subscriber:
        broker.pub("-t", topic, "-m", "live", "-V", version)
        assert subscriber.end() == (0, b"live\n", "")
    broker.pub("-t", topic, "-n", "-r", "-V", version)
    with broker.sub("-t", topic, "-C", "1", "-V", version) as subscriber:
        broker.pub("-t", topic, "-m", "nothing before", "-V", version)
        assert subscriber.end() == (0, b"nothing before\n", "")


@every_qos
def test_many_lines_come_in_order(broker: Broker, topic: str, qos: str) -> None:
    lines = b"".join(b"line %d\n" % number for number in range(500))
    with broker.sub("-t", topic, "-q", qos, "-C", "500") as subscriber:
        broker.pub("-t", topic, "-l", "-q", qos, given=lines.replace(b"line 7\n", b"\nline 7\n"))
        assert subscriber.end() == (0, lines, "")


@pytest.mark.parametrize("how", [["-s"], ["-"], ["-f", "-"]])
def test_standard_input_as_one_message(broker: Broker, topic: str, how: list[str]) -> None:
    with broker.sub("-t", topic, "-C", "1", "-x") as subscriber:
        broker.pub("-t", topic, *how, given=b"two\nlines\0\xff")
        assert subscriber.end() == (0, b"two\nlines\0\xff".hex().encode() + b"\n", "")


def test_a_file_of_a_megabyte(broker: Broker, topic: str, tmp_path: Path) -> None:
    content = os.urandom(1_000_000)
    (tmp_path / "content").write_bytes(content)
    with broker.sub("-t", topic, "-C", "1", "-N", "-q", "1") as subscriber:
        broker.pub("-t", topic, "-f", str(tmp_path / "content"), "-q", "1")
        assert subscriber.end() == (0, content, "")


def test_a_message_is_repeated(broker: Broker, topic: str) -> None:
    with broker.sub("-t", topic, "-C", "3", "-v") as subscriber:
        broker.pub("-t", topic, "-m", "again", "--repeat", "3", "--repeat-delay", "0.01")
        assert subscriber.end() == (0, f"{topic} again\n".encode() * 3, "")


def test_our_properties_reach_another_client(broker: Broker, topic: str) -> None:
    with broker.mosquitto_sub(topic, "-C", "2", "-V", "mqttv5", "-F", "%C %R %D %P %p") as subscriber:
        properties = ["--content-type", "text/plain", "--response-topic", "answers", "--correlation-data", "42"]
        broker.pub("-t", topic, "-m", "x", *properties, "--user-property", "a", "1", "--user-property", "b", "2")
        assert subscriber.end() == (0, b"text/plain answers 42 a:1 b:2 x\n", "")


def test_the_properties_of_another_client_are_shown(broker: Broker, topic: str) -> None:
    with broker.sub("-t", topic, "-C", "1", "--json", "--subscription-identifier", "9") as subscriber:
        given = {"content-type": "text/plain", "correlation-data": "42", "response-topic": "answers"}
        flags = [word for name, value in given.items() for word in ("-D", "publish", name, value)]
        flags += ["-D", "publish", "user-property", "a", "1", "-D", "publish", "message-expiry-interval", "60"]
        broker.mosquitto_pub("-t", topic, "-m", "ü", "-V", "mqttv5", *flags)
        code, output, _ = subscriber.end()
    assert code == 0
    assert json.loads(output) == {
        "topic": topic,
        "payload": "ü",
        "qos": 0,
        "retain": False,
        "properties": {
            "message_expiry_interval": 60,
            "content_type": "text/plain",
            "response_topic": "answers",
            "correlation_data": "42",
            "subscription_identifiers": [9],
            "user_properties": [["a", "1"]],
        },
    }


@every_version
def test_a_session_keeps_what_came_meanwhile(broker: Broker, topic: str, version: str) -> None:
    session = ["-t", topic, "-q", "2", "-c", "-i", "session-" + version, "-V", version]
    with broker.sub(*session) as subscriber:
        subscriber.popen.terminate()
        assert subscriber.end() == (0, b"", "")
    for qos in ("1", "2"):
        broker.mosquitto_pub("-t", topic, "-m", qos, "-q", qos)
    # One at a time: what was not printed was not acknowledged and comes again; what was printed does not.
    for payload in (b"1", b"2", b"last"):
        if payload == b"last":
            broker.mosquitto_pub("-t", topic, "-m", "last", "-q", "2")
        assert run(swellmq_command("sub", *broker.at, *session, "-C", "1")) == (0, payload + b"\n", "")


def test_the_will_of_a_killed_subscriber_is_published(broker: Broker, topic: str) -> None:
    with broker.sub("-t", topic, "-C", "1", "--format", "{qos} {payload}", "-q", "1") as witness:
        will = ["--will-topic", topic, "--will-payload", "gone", "--will-qos", "1"]
        with broker.sub("-t", "other/" + topic, *will) as subscriber:
            subscriber.popen.kill()
            assert witness.end() == (0, b"1 gone\n", "")


def test_retain_as_published_and_retain_handling(broker: Broker, topic: str) -> None:
    with broker.sub("-t", topic, "--retain-as-published", "--format", "{retain}", "-C", "1") as subscriber:
        broker.pub("-t", topic, "-m", "kept", "-r")
        assert subscriber.end() == (0, b"1\n", "")
    with broker.sub("-t", topic, "--retain-handling", "2", "-C", "1") as subscriber:
        broker.pub("-t", topic, "-m", "live")
        assert subscriber.end() == (0, b"live\n", "")


@pytest.mark.needs_mosquitto
def test_a_broker_that_goes_ends_the_subscriber() -> None:
    process, port = start_mosquitto()
    with Broker(port).sub("-t", "a") as subscriber:
        process.terminate()
        process.wait()
        code, output, error = subscriber.end()
    assert (code, output) == (1, b"")
    assert "the broker " in error
