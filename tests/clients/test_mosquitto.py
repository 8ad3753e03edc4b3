"""mosquitto's clients, an implementation of their own, in all three protocol versions."""

from __future__ import annotations

import signal

import pytest
from client_helpers import SESSION_S, Mosquitto, mosquitto_pub

from swellmq import Broker

pytestmark = pytest.mark.needs_mosquitto

every_version = pytest.mark.parametrize("version", ["mqttv31", "mqttv311", "mqttv5"])


@every_version
@pytest.mark.parametrize("qos", ["0", "1", "2"])
def test_publish_and_subscribe(broker: Broker, topic: str, version: str, qos: str) -> None:
    with Mosquitto(broker, version, topic, options=("-q", "2")) as subscriber:
        mosquitto_pub(broker, version, "-t", topic, "-m", "grüße", "-q", qos)
        assert subscriber.line() == f"{qos} 0 {topic} grüße"


@every_version
def test_the_subscriber_s_qos_is_the_ceiling(broker: Broker, topic: str, version: str) -> None:
    with Mosquitto(broker, version, topic, options=("-q", "1")) as subscriber:
        mosquitto_pub(broker, version, "-t", topic, "-m", "x", "-q", "2")
        assert subscriber.line() == f"1 0 {topic} x"


@every_version
def test_retained(broker: Broker, topic: str, version: str) -> None:
    mosquitto_pub(broker, version, "-t", topic, "-m", "old", "-q", "1", "-r")
    mosquitto_pub(broker, version, "-t", topic, "-m", "kept", "-q", "1", "-r")
    with Mosquitto(broker, version, topic, options=("-q", "2")) as subscriber:
        assert subscriber.line() == f"1 1 {topic} kept"
        mosquitto_pub(broker, version, "-t", topic, "-n", "-r")
        assert subscriber.line() == f"0 0 {topic} "
    with Mosquitto(broker, version, topic) as subscriber:
        assert subscriber.early == []


@every_version
def test_the_will_of_a_killed_client(broker: Broker, topic: str, version: str) -> None:
    will = ("--will-topic", topic, "--will-payload", "gone", "--will-qos", "2", "--will-retain")
    with Mosquitto(broker, version, topic, options=("-q", "2")) as witness:
        with Mosquitto(broker, version, "other/" + topic, options=will) as client:
            client.popen.send_signal(signal.SIGKILL)
            assert witness.line() == f"2 0 {topic} gone"
        with Mosquitto(broker, version, "another/" + topic, options=will) as client:
            client.leave()
        if version == "mqttv5":  # mosquitto_sub that is terminated asks for its will then, by reason code 0x04
            assert witness.line() == f"2 0 {topic} gone"
        mosquitto_pub(broker, version, "-t", topic, "-m", "no second will")
        assert witness.line() == f"0 0 {topic} no second will"
    with Mosquitto(broker, version, topic, options=("-q", "2")) as late:
        assert late.line() == f"2 1 {topic} gone"


@every_version
def test_a_kept_session(broker: Broker, topic: str, version: str) -> None:
    keep = ("-c", "-i", "kept-" + version, "-q", "2") + (("-x", str(SESSION_S)) if version == "mqttv5" else ())
    with Mosquitto(broker, version, topic, options=keep) as subscriber:
        subscriber.leave()
    for qos in ("1", "2"):
        mosquitto_pub(broker, version, "-t", topic, "-m", "queued " + qos, "-q", qos)
    with Mosquitto(broker, version, topic, options=keep) as subscriber:
        assert [subscriber.line(), subscriber.line()] == [f"1 0 {topic} queued 1", f"2 0 {topic} queued 2"]
        mosquitto_pub(broker, version, "-t", topic, "-m", "live", "-q", "1")
        assert subscriber.line() == f"1 0 {topic} live"


@every_version
def test_a_shared_subscription(broker: Broker, topic: str, version: str) -> None:
    shared = "$share/group/" + topic
    with Mosquitto(broker, version, shared) as one, Mosquitto(broker, version, shared) as other:
        mosquitto_pub(broker, version, "-t", topic, "-m", "same", "--repeat", "4")
        for subscriber in (one, other):
            assert [subscriber.line(), subscriber.line()] == [f"0 0 {topic} same"] * 2
        for subscriber in (one, other):
            broker.publish_blocking(topic, "last")
            assert subscriber.line() == f"0 0 {topic} last"


@every_version
def test_wildcards(broker: Broker, topic: str, version: str) -> None:
    with Mosquitto(broker, version, topic + "/+/b", topic + "/#") as subscriber:
        for name in ("a/b", "a/c", "a/b/c"):
            mosquitto_pub(broker, version, "-t", f"{topic}/{name}", "-m", "x")
        # Two filters that match are one message.
        assert [subscriber.line() for _ in range(3)] == [f"0 0 {topic}/{name} x" for name in ("a/b", "a/c", "a/b/c")]


@every_version
def test_sys(broker: Broker, version: str) -> None:
    with Mosquitto(broker, version, "$SYS/broker/version") as subscriber:
        (line,) = subscriber.early
        assert line.startswith("0 1 $SYS/broker/version swellmq ")


@every_version
def test_a_message_of_a_megabyte(broker: Broker, topic: str, version: str) -> None:
    with Mosquitto(broker, version, topic, options=("-q", "2")) as subscriber:
        broker.publish_blocking(topic, "x" * 1_000_000, qos=2)
        assert subscriber.line() == f"2 0 {topic} " + "x" * 1_000_000


def test_properties_of_5_0(broker: Broker, topic: str) -> None:
    shown = ("-F", "%C %R %D %P %E %p")
    values = {"content-type": "text/plain", "response-topic": "answers", "correlation-data": "42"}
    flags = [word for name, value in values.items() for word in ("-D", "publish", name, value)]
    flags += ["-D", "publish", "user-property", "a", "1", "-D", "publish", "message-expiry-interval", "60"]
    mosquitto_pub(broker, "mqttv5", "-t", topic, "-m", "x", "-r", *flags)
    with Mosquitto(broker, "mqttv5", topic, options=shown) as subscriber:
        assert subscriber.early == ["text/plain answers 42 a:1 60 x"]


def test_topic_aliases(broker: Broker, topic: str) -> None:
    with Mosquitto(broker, "mqttv5", topic, options=("-D", "connect", "topic-alias-maximum", "1")) as subscriber:
        mosquitto_pub(broker, "mqttv5", "-t", topic, "-m", "x", "-D", "publish", "topic-alias", "3", "--repeat", "3")
        assert [subscriber.line() for _ in range(3)] == [f"0 0 {topic} x"] * 3
