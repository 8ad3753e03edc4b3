"""`swellmq pub` and `swellmq sub` as processes: with other clients on a real broker, and against a scripted peer."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Self

import pytest

import swellmq.codec
from swellmq.cli import pub, sub
from swellmq.cli.client import Client, ClientError
from swellmq.codec import spec
from swellmq.codec.decode import decode
from swellmq.codec.encode import encode, encode_publish
from swellmq.codec.packets import (
    Ack,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Ping,
    Properties,
    Publish,
    Suback,
    Subscribe,
)

TIMEOUT_S: Final = 20.0  # for anything that should come at once
VERSIONS: Final = {"3.1": "mqttv31", "3.1.1": "mqttv311", "5": "mqttv5"}
PROPERTIES: Final = b'{"user_properties":[["k","v"]]}'
JSON_LINE: Final = (
    b'{"topic":"a/\xc3\xa4","payload_hex":"ff70","qos":1,"retain":false,"properties":' + PROPERTIES + b"}\n"
)
SEARCH_PATH: Final = os.environ.get("PATH", "") + os.pathsep + "/usr/sbin"  # where Debian has mosquitto

every_version = pytest.mark.parametrize("version", VERSIONS)
every_qos = pytest.mark.parametrize("qos", ["0", "1", "2"])


class Process:
    """A command under test; it is killed at the end of the `with` block if it still runs."""

    def __init__(self, command: list[str], stdout: int | None = subprocess.PIPE) -> None:
        # The build of this process is the build under test, wherever it was imported from.
        source = str(Path(swellmq.codec.__file__).parents[2])
        environment = {**os.environ, "PYTHONPATH": source, "SWELLMQ_PASSWORD": "from-environment"}
        pipe = subprocess.PIPE
        # Without buffers of ours, so that a line can be read before `communicate` reads the rest.
        self.popen = subprocess.Popen(command, bufsize=0, stdin=pipe, stdout=stdout, stderr=pipe, env=environment)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.popen.kill()
        self.popen.communicate()

    def wait_for(self, word: str) -> None:
        """Read standard error up to the line that ends with `word`."""
        assert self.popen.stderr is not None
        seen = []
        for line in self.popen.stderr:
            if line.decode().endswith(word + "\n"):
                return
            seen.append(line)
        raise AssertionError(f"ended without {word!r}: {seen}")

    def read_line(self) -> bytes:
        assert self.popen.stdout is not None
        return self.popen.stdout.readline()

    def end(self, given: bytes = b"") -> tuple[int, bytes, str]:
        """Exit code, standard output and standard error, once it has ended by itself."""
        stdout, stderr = self.popen.communicate(given, timeout=TIMEOUT_S)
        return self.popen.returncode, stdout or b"", stderr.decode()


def swellmq_command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "swellmq", *arguments]


def run(command: list[str], given: bytes = b"") -> tuple[int, bytes, str]:
    with Process(command) as process:
        return process.end(given)


class Broker:
    """A broker under test, and the arguments that lead a client to it."""

    def __init__(self, port: int) -> None:
        self.at = ["-h", "127.0.0.1", "-p", str(port)]

    def pub(self, *arguments: str, given: bytes = b"") -> None:
        assert run(swellmq_command("pub", *self.at, *arguments), given) == (0, b"", "")

    def mosquitto_pub(self, *arguments: str) -> None:
        assert run([tool("mosquitto_pub"), *self.at, *arguments]) == (0, b"", "")

    def sub(self, *arguments: str) -> Process:
        """A running `swellmq sub` that is subscribed."""
        process = Process(swellmq_command("sub", *self.at, "-d", *arguments))
        process.wait_for("subscribed")
        return process

    def mosquitto_sub(self, topic: str, *arguments: str) -> Process:
        """A running `mosquitto_sub` that is subscribed: a retained message tells, as it has been printed."""
        self.mosquitto_pub("-t", "ready/" + topic, "-m", "ready", "-r")
        process = Process([tool("mosquitto_sub"), *self.at, "-t", topic, "-t", "ready/" + topic, *arguments])
        assert b"ready" in process.read_line()
        return process


def tool(name: str) -> str:
    """The path of a program of mosquitto; without it the test is skipped, and fails in CI."""
    path = shutil.which(name, path=SEARCH_PATH)
    if path is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{name} is not installed (Debian: mosquitto)")
    return path


def start_mosquitto(*settings: str) -> tuple[subprocess.Popen[str], int]:
    """A mosquitto on a free port, listening."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    command = [tool("mosquitto"), "-p", str(port), *settings]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    running = threading.Event()

    def read_log() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            if line.endswith(" running\n"):
                running.set()

    threading.Thread(target=read_log, daemon=True).start()
    assert running.wait(TIMEOUT_S)
    return process, port


@pytest.fixture(scope="module", params=[pytest.param("mosquitto", marks=pytest.mark.needs_mosquitto)])
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    process, port = start_mosquitto()
    yield Broker(port)
    process.terminate()
    process.wait()


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> str:
    """A topic that no other test uses."""
    return "t/" + "".join(letter if letter.isalnum() else "-" for letter in request.node.name)


# With other clients on a real broker.


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


# Against a scripted peer: what no well-behaved broker does on request.


class Peer:
    """A broker that does what the test says, for one client."""

    def __init__(self, server: socket.socket, protocol_version: int = spec.MQTT_5_0) -> None:
        self.socket, _ = server.accept()
        self.socket.settimeout(TIMEOUT_S)
        self.protocol_version = protocol_version
        self.inbox = b""
        connect = self.receive()
        assert isinstance(connect, Connect)
        self.connect = connect

    def receive(self) -> Packet | None:
        """The next packet of the client, None where it has closed."""
        while True:
            packet, pos = decode(self.inbox, 0, self.protocol_version)
            if packet is not None:
                self.inbox = self.inbox[pos:]
                return packet
            data = self.socket.recv(65_536)
            if not data:
                return None
            self.inbox += data

    def expect_ack(self, packet_type: int, packet_identifier: int, reason_code: int = spec.SUCCESS) -> None:
        ack = self.receive()
        assert isinstance(ack, Ack)
        assert (ack.packet_type, ack.packet_identifier, ack.reason_code) == (
            packet_type,
            packet_identifier,
            reason_code,
        )

    def expect_goodbye(self) -> None:
        assert isinstance(self.receive(), Disconnect)
        self.socket.close()

    def send(self, *packets: Packet) -> None:
        self.socket.sendall(b"".join(encode(packet, self.protocol_version) for packet in packets))

    def accept(self, properties: Properties | None = None) -> Peer:
        self.send(Connack(False, spec.SUCCESS, properties))
        return self

    def accept_subscription(self) -> Peer:
        self.accept()
        subscribe = self.receive()
        assert isinstance(subscribe, Subscribe)
        self.send(Suback(spec.SUBACK, subscribe.packet_identifier, bytes(len(subscribe.requests))))
        return self


def message(payload: bytes, qos: int, packet_identifier: int = 0, dup: bool = False) -> bytes:
    return encode_publish(Publish(b"a", payload, qos, False), spec.MQTT_5_0, qos, False, dup, packet_identifier)


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(TIMEOUT_S)
        yield server


def against(server: socket.socket, command: str, *arguments: str) -> Process:
    return Process(swellmq_command(command, "-h", "127.0.0.1", "-p", str(server.getsockname()[1]), *arguments))


def with_reason_string(text: str) -> Properties:
    properties = Properties()
    properties.reason_string = text
    return properties


def test_qos_2_is_printed_once_and_answered_every_time(server: socket.socket) -> None:
    with against(server, "sub", "-t", "a", "-q", "2", "-C", "2") as process:
        peer = Peer(server).accept_subscription()
        peer.socket.sendall(message(b"one", 2, 7) + message(b"one", 2, 7, dup=True))
        peer.expect_ack(spec.PUBREC, 7)
        peer.expect_ack(spec.PUBREC, 7)
        peer.send(Ack(spec.PUBREL, 7))
        peer.expect_ack(spec.PUBCOMP, 7)
        peer.send(Ack(spec.PUBREL, 7))  # no longer known; of an earlier connection it would be the same
        peer.expect_ack(spec.PUBCOMP, 7, spec.PACKET_IDENTIFIER_NOT_FOUND)
        peer.socket.sendall(message(b"two", 2, 7))  # released, so it is a new message
        peer.expect_ack(spec.PUBREC, 7)
        peer.expect_goodbye()
        assert process.end() == (0, b"one\ntwo\n", "")


def test_what_comes_after_the_count_is_neither_printed_nor_acknowledged(server: socket.socket) -> None:
    with against(server, "sub", "-t", "a", "-q", "1", "-C", "1") as process:
        peer = Peer(server).accept_subscription()
        peer.socket.sendall(message(b"one", 1, 1) + message(b"two", 1, 2))
        peer.expect_ack(spec.PUBACK, 1)
        peer.expect_goodbye()
        assert process.end() == (0, b"one\n", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_subscriber_with_disconnect(server: socket.socket, number: signal.Signals) -> None:
    with against(server, "sub", "-t", "a", "-d") as process:
        peer = Peer(server).accept_subscription()
        process.wait_for("subscribed")
        process.popen.send_signal(number)
        peer.expect_goodbye()
        assert process.end() == (0, b"", "")


@pytest.mark.parametrize(("command", "code"), [("sub", 0), ("pub", 130)])
def test_a_signal_before_connack_is_quiet(server: socket.socket, command: str, code: int) -> None:
    with against(server, command, "-t", "a", *(["-n"] if command == "pub" else [])) as process:
        peer = Peer(server)
        process.popen.send_signal(signal.SIGINT)
        assert process.end() == (code, b"", "")
        peer.socket.close()


def test_a_signal_ends_a_publisher_that_waits_for_lines(server: socket.socket) -> None:
    with against(server, "pub", "-t", "a", "-l", "-d") as process:
        peer = Peer(server).accept()
        process.wait_for("connected")
        process.popen.send_signal(signal.SIGTERM)
        peer.expect_goodbye()
        assert process.popen.wait(TIMEOUT_S) == 130


def test_a_reader_that_leaves_ends_the_subscriber_quietly(server: socket.socket) -> None:
    reader, writer = os.pipe()
    command = swellmq_command("sub", "-h", "127.0.0.1", "-p", str(server.getsockname()[1]), "-t", "a")
    with Process(command, stdout=writer) as process:
        os.close(writer)
        peer = Peer(server).accept_subscription()
        os.close(reader)
        peer.socket.sendall(message(b"nobody reads this", 0))
        peer.expect_goodbye()
        assert process.end() == (0, b"", "")


@pytest.mark.parametrize("arguments", [["-m", "x"], ["-l"]])
@pytest.mark.parametrize(("qos", "answer"), [("1", spec.PUBACK), ("2", spec.PUBREC)])
def test_a_refused_message_is_told(server: socket.socket, arguments: list[str], qos: str, answer: int) -> None:
    with against(server, "pub", "-t", "a", "-q", qos, *arguments) as process:
        peer = Peer(server).accept()
        assert process.popen.stdin is not None
        process.popen.stdin.write(b"a line\n")
        process.popen.stdin.flush()
        assert isinstance(peer.receive(), Publish)
        peer.send(Ack(answer, 1, spec.NOT_AUTHORIZED, with_reason_string("not on Sundays")))
        peer.expect_goodbye()
        error = "swellmq pub: the broker refused a message: not authorized (0x87): not on Sundays\n"
        assert process.end() == (1, b"", error)


def test_qos_2_ends_only_after_pubcomp(server: socket.socket) -> None:
    with against(server, "pub", "-t", "a", "-q", "2", "-m", "x", "-d") as process:
        peer = Peer(server).accept()
        assert isinstance(peer.receive(), Publish)
        peer.send(Ack(spec.PUBREC, 1, spec.NO_MATCHING_SUBSCRIBERS))
        peer.expect_ack(spec.PUBREL, 1)
        assert process.popen.poll() is None
        peer.send(Ack(spec.PUBCOMP, 1))
        peer.expect_goodbye()
        assert process.end() == (0, b"", "swellmq pub: connected\nswellmq pub: published 1, 1 had no subscriber\n")


@pytest.mark.parametrize(
    ("version", "reason_code", "said"),
    [
        ("3.1", spec.SERVER_UNAVAILABLE_3, "server unavailable (return code 3)"),
        ("3.1.1", spec.NOT_AUTHORIZED_3, "not authorized (return code 5)"),
        ("5", spec.BAD_USER_NAME_OR_PASSWORD, "bad user name or password (0x86)"),
    ],
)
@pytest.mark.parametrize("command", [["pub", "-n"], ["sub"]])
def test_a_refused_connection(
    server: socket.socket, command: list[str], version: str, reason_code: int, said: str
) -> None:
    with against(server, *command, "-t", "a", "-V", version) as process:
        peer = Peer(server, {"3.1": 3, "3.1.1": 4, "5": 5}[version])
        peer.send(Connack(False, reason_code))
        peer.socket.close()
        assert process.end() == (1, b"", f"swellmq {command[0]}: the broker refused the connection: {said}\n")


def test_a_refused_subscription(server: socket.socket) -> None:
    with against(server, "sub", "-t", "a", "-t", "b", "-d") as process:
        peer = Peer(server).accept()
        assert isinstance(peer.receive(), Subscribe)
        peer.send(Suback(spec.SUBACK, 1, bytes([spec.NOT_AUTHORIZED, spec.GRANTED_QOS_0])))
        process.wait_for("the broker refused the subscription to a: not authorized (0x87)")
        process.wait_for("subscribed")
    with against(server, "sub", "-t", "a", "-V", "3.1.1") as process:
        peer = Peer(server, spec.MQTT_3_1_1).accept()
        assert isinstance(peer.receive(), Subscribe)
        peer.send(Suback(spec.SUBACK, 1, bytes([spec.SUBACK_FAILURE])))
        peer.expect_goodbye()
        code, _, error = process.end()
        assert (code, error.splitlines()[-1]) == (1, "swellmq sub: no subscription is left")


def test_the_broker_says_why_it_leaves_after_the_messages_before_that(server: socket.socket) -> None:
    with against(server, "sub", "-t", "a") as process:
        peer = Peer(server).accept_subscription()
        peer.socket.sendall(message(b"last", 0) + encode(Disconnect(spec.SERVER_SHUTTING_DOWN), spec.MQTT_5_0))
        code, output, error = process.end()
        assert (code, output) == (1, b"last\n")
        assert error == "swellmq sub: the broker ended the connection: server shutting down (0x8b)\n"


def test_the_broker_says_why_it_leaves_after_our_disconnect(server: socket.socket) -> None:
    with against(server, "pub", "-t", "a", "-n") as process:
        peer = Peer(server).accept()
        assert isinstance(peer.receive(), Publish)
        peer.send(Disconnect(spec.TOPIC_NAME_INVALID))
        code, _, error = process.end()
        assert (code, error) == (1, "swellmq pub: the broker ended the connection: topic name invalid (0x90)\n")


def test_what_is_not_sent_is_not_taken_for_published(server: socket.socket) -> None:
    with against(server, "pub", "-t", "a", "-l") as process:
        Peer(server).accept().socket.close()
        # More than the buffers of a socket hold.
        code, _, error = process.end((b"x" * 999 + b"\n") * 20_000)
        assert code == 1
        assert error.startswith("swellmq pub: the ")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"", "the broker closed the connection, before CONNACK. Does it speak MQTT 5? -V chooses the version"),
        (b"\x20\x02\x00\x01", "the broker sent what is not MQTT 5 ("),  # what a broker of 3.1.1 answers
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "the broker sent what is not MQTT 5 ("),
    ],
)
def test_a_peer_that_does_not_speak_our_version(server: socket.socket, answer: bytes, said: str) -> None:
    with against(server, "pub", "-t", "a", "-n") as process:
        peer = Peer(server)
        peer.socket.sendall(answer)
        peer.socket.close()
        code, _, error = process.end()
        assert code == 1
        assert said in error
        assert error.endswith("Does it speak MQTT 5? -V chooses the version\n")


def test_a_broker_that_does_not_answer_connect(server: socket.socket) -> None:
    with against(server, "pub", "-t", "a", "-n", "--timeout", "0.2") as process:
        assert process.end() == (1, b"", "swellmq pub: the broker did not answer CONNECT within 0.2 s\n")


def test_a_broker_that_does_not_acknowledge(server: socket.socket) -> None:
    with against(server, "pub", "-t", "a", "-n", "-q", "1", "--timeout", "0.5") as process:
        peer = Peer(server).accept()
        assert isinstance(peer.receive(), Publish)
        peer.expect_goodbye()
        error = "the broker did not answer within 0.5 s (1 without acknowledgement, 0 bytes not sent)"
        assert process.end() == (1, b"", f"swellmq pub: {error}\n")


def test_the_time_is_over(server: socket.socket) -> None:
    with against(server, "sub", "-t", "a", "-C", "2", "-W", "0.5") as process:
        peer = Peer(server).accept_subscription()
        peer.socket.sendall(message(b"one of two", 0))
        peer.expect_goodbye()
        assert process.end() == (27, b"one of two\n", "")
    with against(server, "sub", "-t", "a", "-W", "0.2") as process:
        assert process.end() == (27, b"", "swellmq sub: the broker did not answer CONNECT within 0.2 s\n")


@pytest.mark.parametrize(
    ("field", "value", "arguments", "said"),
    [
        ("maximum_qos", 1, ["-m", "x", "-q", "2"], "the broker takes QoS 1 at the most, not 2"),
        ("retain_available", 0, ["-m", "x", "-r"], "the broker keeps no retained messages"),
        ("maximum_packet_size", 20, ["-m", "x" * 50], "the broker refused a message: 56 bytes are more than the 20 it"),
    ],
)
def test_what_the_broker_does_not_take_is_not_sent(
    server: socket.socket, field: str, value: int, arguments: list[str], said: str
) -> None:
    properties = Properties()
    setattr(properties, field, value)
    with against(server, "pub", "-t", "a", *arguments) as process:
        Peer(server).accept(properties).expect_goodbye()
        code, _, error = process.end()
        assert code == 1
        assert error.startswith("swellmq pub: " + said)


def test_the_password_comes_from_the_environment(server: socket.socket) -> None:
    for arguments, expected in (
        (["-u", "anna"], ("anna", b"from-environment")),
        (["-u", "anna", "-P", "given"], ("anna", b"given")),
        ([], (None, None)),
    ):
        with against(server, "pub", "-t", "a", "-n", *arguments):
            connect = Peer(server).connect
            assert (connect.username, connect.password) == expected


def test_connect_is_as_the_arguments_say(server: socket.socket) -> None:
    flags = ["-c", "-i", "me", "--session-expiry", "60", "-k", "7", "--will-topic", "w", "--will-retain"]
    with against(server, "sub", "-t", "a", *flags):
        connect = Peer(server).connect
    assert (connect.client_id, connect.clean_start, connect.keep_alive) == ("me", False, 7)
    assert connect.properties is not None
    assert connect.properties.session_expiry_interval == 60
    assert connect.will is not None
    will = connect.will.publish
    assert (will.topic_name, will.payload, will.qos, will.retain) == (b"w", b"", 0, True)


def test_subscribe_is_as_the_arguments_say(server: socket.socket) -> None:
    flags = ["--no-local", "--retain-as-published", "--retain-handling", "1", "--subscription-identifier", "300"]
    with against(server, "sub", "-t", "a", "-t", "b/#", "-q", "1", *flags):
        subscribe = Peer(server).accept().receive()
    assert isinstance(subscribe, Subscribe)
    assert subscribe.properties is not None
    assert subscribe.properties.subscription_identifiers == [300]
    assert [request.topic_filter for request in subscribe.requests] == [b"a", b"b/#"]
    for request in subscribe.requests:
        assert (request.qos, request.no_local, request.retain_as_published, request.retain_handling) == (
            1,
            True,
            True,
            1,
        )


def test_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        with Process(swellmq_command("pub", "--unix", path, "-t", "a", "-m", "x")) as process:
            peer = Peer(server).accept()
            assert isinstance(peer.receive(), Publish)
            peer.expect_goodbye()
            assert process.end() == (0, b"", "")


def test_no_broker() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    code, _, error = run(swellmq_command("sub", "-h", "127.0.0.1", "-p", str(port), "-t", "a"))
    assert code == 1
    problem = f"could not connect to 127.0.0.1:{port}: connection refused"
    assert error == f"swellmq sub: {problem}. Is a broker running? Try `swellmq serve`\n"


# In this process.


@pytest.fixture
def pair() -> Iterator[tuple[Client, socket.socket]]:
    ours, theirs = socket.socketpair()
    theirs.settimeout(TIMEOUT_S)
    with ours, theirs:
        yield Client(ours, spec.MQTT_5_0), theirs


def parse(command: str, *arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="swellmq " + command)
    (pub if command == "pub" else sub).add_arguments(parser)
    return parser.parse_args(arguments)


@pytest.mark.parametrize("qos", [1, 2])
def test_no_more_than_the_receive_maximum_is_under_way(pair: tuple[Client, socket.socket], qos: int) -> None:
    properties = Properties()
    properties.receive_maximum = 2
    publisher = pub.Publisher(pair[0], parse("pub", "-t", "a", "-n", "-q", str(qos)), Connack(False, 0, properties))
    publisher.publish(b"1")
    assert publisher.has_room()
    publisher.publish(b"2")
    assert not publisher.has_room()
    publisher.on_packet(Ack(spec.PUBACK if qos == 1 else spec.PUBREC, 2))
    if qos == 2:
        assert not publisher.has_room()
        publisher.on_packet(Ack(spec.PUBCOMP, 2))
    assert publisher.has_room()
    assert publisher.completed == 1


def test_packet_identifiers_go_round_past_those_in_use(pair: tuple[Client, socket.socket]) -> None:
    publisher = pub.Publisher(pair[0], parse("pub", "-t", "a", "-n", "-q", "1"), Connack(False, 0))
    publisher.publish(b"stays")
    for number in range(2, spec.PACKET_IDENTIFIER_MAX + 1):
        publisher.publish(b"")
        publisher.on_packet(Ack(spec.PUBACK, number))
    publisher.publish(b"next")
    assert list(publisher.unacknowledged) == [1, 2]


def test_a_ping_is_sent_in_silence_and_its_answer_is_awaited(pair: tuple[Client, socket.socket]) -> None:
    client, theirs = pair
    client.keep_alive_s = 0.05
    assert client.turn(TIMEOUT_S) == []  # waits for the ping to be due
    assert client.turn(TIMEOUT_S) == []  # sends it
    assert theirs.recv(100) == b"\xc0\x00"
    theirs.sendall(encode(Ping(spec.PINGRESP), spec.MQTT_5_0))
    assert client.turn(TIMEOUT_S) == []
    with pytest.raises(ClientError, match="has not answered for 0.05 s"):
        while True:
            client.turn(TIMEOUT_S)


def test_a_packet_that_comes_byte_by_byte(pair: tuple[Client, socket.socket]) -> None:
    client, theirs = pair
    data = message(b"x" * 200, 1, 5)
    for index in range(len(data)):
        theirs.sendall(data[index : index + 1])
        packets = client.turn(TIMEOUT_S)
        assert len(packets) == (index == len(data) - 1)
    assert isinstance(packets[0], Publish)
    assert packets[0].payload == b"x" * 200


def test_lines_are_cut_at_newlines_only() -> None:
    reader, writer = os.pipe()
    lines = pub.Lines(reader)
    steps: list[tuple[bytes, list[bytes]]] = [
        (b"one\ntw", [b"one"]),
        (b"o", []),
        (b"\r\n\n\nthree\nfour\nfi", [b"two\r", b"three", b"four"]),
    ]
    for written, expected in steps:
        os.write(writer, written)
        assert list(iter(lines.take, None)) == expected
    assert not lines.ended
    os.close(writer)
    assert list(iter(lines.take, None)) == [b"fi"]
    assert lines.ended
    os.close(reader)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], b"\xffp\n"),
        (["-N"], b"\xffp"),
        (["-v"], b"a/\xc3\xa4 \xffp\n"),
        (["-v", "-x"], b"a/\xc3\xa4 ff70\n"),
        (["--format", r"{topic}\t{{{qos}}} \\n{payload}\0"], b"a/\xc3\xa4\t{1} \\n\xffp\0\n"),
        (["--format", "ö{properties}{retain}"], b"\xc3\xb6" + PROPERTIES + b"0\n"),
        (["--json"], JSON_LINE),
    ],
)
def test_output(arguments: list[str], expected: bytes) -> None:
    publish = Publish("a/ä".encode(), b"\xffp", 1, False)
    publish.properties = pub.forwarded_properties(parse("pub", "-t", "a", "-n", "--user-property", "k", "v"))
    assert sub.line_maker(parse("sub", "-t", "a", *arguments))(publish) == expected


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["pub", "-m", "x"], "-t/--topic"),
        (["pub", "-t", "a"], "-m/--message"),
        (["pub", "-t", "a", "-m", "x", "-l"], "not allowed with"),
        (["pub", "-t", "a/+", "-m", "x"], "'a/+'"),
        (["pub", "-t", "", "-m", "x"], "--topic"),
        (["pub", "-t", "a", "-m", "x", "-q", "3"], "-q/--qos"),
        (["pub", "-t", "a", "-m", "x", "-V", "6"], "'6' is none of 3.1, 3.1.1 and 5"),
        (["pub", "-t", "a", "-m", "x", "-p", "0"], "'0' is not a whole number from 1 to 65535"),
        (["pub", "-t", "a", "-m", "x", "--timeout", "-1"], "'-1' is not a number of seconds above 0"),
        (["pub", "-t", "a", "-m", "x", "-V", "3.1.1", "--content-type", "t"], "--content-type needs MQTT 5"),
        (["pub", "-t", "a", "-m", "x", "--will-retain"], "need --will-topic"),
        (["pub", "-t", "a", "-m", "x", "-V", "311", "-P", "p"], "a password without a user name needs MQTT 5"),
        (["pub", "-t", "a", "-l", "--repeat", "2"], "don't go with -l"),
        (["pub", "-t", "a", "-f", "no-such-file"], "could not read no-such-file: no such file or directory"),
        (["sub"], "-t/--topic"),
        (["sub", "-t", "a/#/b"], "'a/#/b'"),
        (["sub", "-t", "$share/g/a", "--no-local"], "--no-local does not go with a shared subscription"),
        (["sub", "-t", "a", "-c"], "Give -i"),
        (["sub", "-t", "a", "-V", "3.1", "--retain-handling", "1"], "--retain-handling needs MQTT 5"),
        (["sub", "-t", "a", "--format", "{time}"], "{time} is none of {topic}, {payload}"),
        (["sub", "-t", "a", "--format", "{"], "--format"),
        (["sub", "-t", "a", "-v", "--json"], "not allowed with"),
        (["sub", "-t", "a", "-C", "0"], "'0' is not a whole number"),
    ],
)
def test_bad_arguments(arguments: list[str], said: str, capfd: pytest.CaptureFixture[str]) -> None:
    command, *rest = arguments
    runner: Callable[[argparse.Namespace], int] = pub.run if command == "pub" else sub.run
    try:
        code: object = runner(parse(command, *rest))
    except SystemExit as exit_:
        code = exit_.code
    assert code == 2
    assert said in capfd.readouterr().err


@pytest.mark.parametrize("command", ["pub", "sub"])
def test_help_has_an_example(command: str) -> None:
    code, output, error = run(swellmq_command(command, "--help"))
    assert (code, error) == (0, "")
    assert f"swellmq {command} -t ".encode() in output
