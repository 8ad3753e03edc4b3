"""`swellmq pub` and `swellmq sub` as processes against a scripted peer: what no real broker does on request."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from pub_sub_helpers import TIMEOUT_S, Process, message, run, swellmq_command

from swellmq.codec import spec
from swellmq.codec.decode import decode
from swellmq.codec.encode import encode
from swellmq.codec.packets import (
    Ack,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Properties,
    Publish,
    Suback,
    Subscribe,
)


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
