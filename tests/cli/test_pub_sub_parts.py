"""The parts of `swellmq pub` and `swellmq sub` in this process, without a broker."""

from __future__ import annotations

import argparse
import os
import socket
from collections.abc import Callable, Iterator
from typing import Final

import pytest
from pub_sub_helpers import TIMEOUT_S, message, run, swellmq_command

from swellmq.cli import pub, sub
from swellmq.cli.client import Client, ClientError
from swellmq.codec import spec
from swellmq.codec.encode import encode
from swellmq.codec.packets import (
    Ack,
    Connack,
    Ping,
    Properties,
    Publish,
)

PROPERTIES: Final = b'{"user_properties":[["k","v"]]}'
JSON_LINE: Final = (
    b'{"topic":"a/\xc3\xa4","payload_hex":"ff70","qos":1,"retain":false,"properties":' + PROPERTIES + b"}\n"
)


@pytest.fixture
def pair() -> Iterator[tuple[Client, socket.socket]]:
    ours, theirs = socket.socketpair()
    theirs.settimeout(TIMEOUT_S)
    with ours, theirs:
        yield Client(ours, spec.MQTT_5_0), theirs


def turn_to_the_end(client: Client) -> None:
    while True:
        client.turn(TIMEOUT_S)


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
    with pytest.raises(ClientError, match=r"has not answered for 0\.05 s"):
        turn_to_the_end(client)


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
