"""Overload over real sockets: who is refused and with which words, what is shed, what is not, and the way back."""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from socket_client import Client, Clients

from swellmq import Access, Broker, Request
from swellmq.codec.encode import encode
from swellmq.codec.packets import Ack, Connack, Connect, Properties, Publish
from swellmq.codec.spec import PUBACK
from swellmq.limits import (
    DESCRIPTORS_LEFT,
    OVERLOAD_CALM_MS,
    OVERLOAD_LOOK_MS,
    SHED_OUTBOX_BYTES,
    TURNS_HEAVY_LOOKS,
    TURNS_LOOK_MS,
    TURNS_SHED_MS,
)
from swellmq.process import lowest_free_descriptor
from swellmq.server import Server

Servers = Callable[..., Server]
PATIENCE_S = 20.0


def pass_second(one: Server, heavy_ms: int = 0) -> None:
    """A second in which turns were so long in all."""
    one.loop.start_ns -= TURNS_LOOK_MS * 1_000_000
    one.loop.heavy_us += heavy_ms * 1_000
    one.turn(0)


def refusal(client: Client, client_id: str = "new") -> Connack:
    """The answer to a client of MQTT 5.0 that asks for reasons."""
    packet = Connect()
    packet.protocol_version = 5
    packet.client_id = client_id
    packet.properties = Properties()
    packet.properties.request_problem_information = 1
    client.send(packet)
    answer = client.expect(Connack)
    assert isinstance(answer, Connack)
    return answer


def reason(connack: Connack) -> str | None:
    return connack.properties.reason_string if connack.properties is not None else None


def test_long_turns_refuse_new_clients_then_shed_qos_0_then_all_is_well(
    server: Servers, clients: Clients, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "swellmq.server")
    one = server()
    fast = clients(one, 4, "fast")
    fast.subscribe("t", 1)
    for _ in range(TURNS_HEAVY_LOOKS):
        pass_second(one, TURNS_LOOK_MS)
    answer = refusal(clients(one, 5))
    assert (answer.reason_code, reason(answer)) == (0x89, "the server is overloaded")
    assert clients(one, 4).connect("new").reason_code == 3
    for _ in range(TURNS_SHED_MS // TURNS_LOOK_MS):
        pass_second(one, TURNS_LOOK_MS)
    assert one.statistics()["shedding"] == 1
    # In one turn: more than may wait at QoS 0, then QoS 1.
    payload = bytes(SHED_OUTBOX_BYTES)
    messages = [Publish(b"t", payload, 0, False) for _ in range(5)]
    for identifier in range(1, 6):
        messages.append(Publish(b"t", payload, 1, False))
        messages[-1].packet_identifier = identifier
    fast.send(*messages)
    got = [fast.receive() for _ in range(11)]
    qos = [packet.qos for packet in got if isinstance(packet, Publish)]
    assert sorted(qos) == [0, 1, 1, 1, 1, 1]
    assert len([packet for packet in got if isinstance(packet, Ack)]) == 5
    assert one.stats.dropped_overload == 4
    assert one.stats.dropped_outbox_full == 0
    for _ in range(2 * OVERLOAD_CALM_MS // TURNS_LOOK_MS + 2):
        pass_second(one)
    clients(one, 5, "new").ping()
    fast.ping()
    found = one.statistics()
    assert (found["refusing"], found["shedding"], found["turns_heavy_times"]) == (0, 0, 1)
    said = [
        record.getMessage().partition(";")[0]
        for record in caplog.records
        if record.getMessage().startswith("overload:")
    ]
    refused = "overload: the server is overloaded, so new clients are refused"
    assert said == [
        refused,
        refused + ", and QoS 0 that waits is shed",
        refused,
        "overload: new clients may come again",
    ]


def test_memory_that_runs_out_while_qos_0_is_shed_for_long_turns(server: Servers) -> None:
    one = server()
    one.overload.turns.heavy = one.overload.turns.shedding = True
    pass_second(one, TURNS_LOOK_MS)
    assert (one.broker.core.shedding, one.broker.core.no_memory) == (True, False)
    one.overload.memory.budget_bytes = 1
    pass_second(one, TURNS_LOOK_MS)
    assert (one.broker.core.shedding, one.broker.core.no_memory) == (True, True)


def test_the_way_back_needs_no_client(server: Servers) -> None:
    one = server()
    assert one.deadline_ms() == -1
    for _ in range(TURNS_HEAVY_LOOKS):
        pass_second(one, TURNS_LOOK_MS)
    assert 0 <= one.deadline_ms() <= OVERLOAD_LOOK_MS


def test_turns_may_be_as_long_as_the_settings_say(server: Servers) -> None:
    one = server(overload_turn_ms=1)
    one.call(lambda: None)
    assert one.loop.heavy_from_us == 1_000
    assert server(overload_turn_ms=0).loop.heavy_from_us > 1 << 30


def test_retained_messages_reach_who_subscribes_while_qos_0_is_shed(server: Servers, clients: Clients) -> None:
    one = server()
    client = clients(one, 4, "a")
    for number in range(5):
        client.publish(f"kept/{number}", bytes(SHED_OUTBOX_BYTES), 0, True)
    client.ping()
    one.broker.core.shed(True, False)
    client.subscribe("kept/+")
    assert len([client.expect(Publish) for _ in range(5)]) == 5
    assert one.stats.dropped_overload == 0


def test_no_qos_0_is_put_aside_for_who_is_away_while_it_is_shed(server: Servers, clients: Clients) -> None:
    one = server(limits_queue_qos_0=True)
    clients(one, 4, "away", clean=False).subscribe("t")
    clients.made[0].disconnect()
    client = clients(one, 4, "a")
    one.broker.core.shed(True, False)
    client.publish("t", b"shed")
    client.ping()
    one.broker.core.shed(False, False)
    client.publish("t", b"kept")
    client.ping()
    assert one.stats.dropped_overload == 1
    assert clients(one, 4, "away", clean=False).expect(Publish).payload == b"kept"


def test_short_of_descriptors(server: Servers, clients: Clients) -> None:
    one = server()
    clients(one, 4, "served").ping()
    spare = [os.dup(one.loop.fileno()) for _ in range(40)]
    one.overload.descriptors.limit = lowest_free_descriptor() * 4 // 3 + 4
    one.loop.descriptors_max = one.overload.descriptors.bound()
    while not (answer := refusal(clients(one, 5), f"client-{len(clients.made)}")).reason_code:
        assert len(clients.made) < 40
    assert (answer.reason_code, reason(answer)) == (0x97, "no descriptors are left")
    clients.made[0].ping()
    for descriptor in spare:
        os.close(descriptor)
    one.loop.start_ns -= OVERLOAD_LOOK_MS * 1_000_000
    one.turn(0)
    clients(one, 5, "new").ping()
    assert one.statistics()["descriptors_short_times"] == 1


def test_those_that_linger_give_up_their_descriptors_first(server: Servers, clients: Clients) -> None:
    one = server()
    one.loop.descriptors_max = lowest_free_descriptor() + 4
    for _ in range(3):
        client = clients(one)
        client.send(b"\xff\xff\xff\xff\xff\xff")
        assert client.receive() is None
    assert len(one.loop.linger.until_ms) == 1, "the third needed the descriptors of two others"
    one.turn(0)
    assert one.statistics()["refusing"] == 0


# A real broker under real overload


@pytest.fixture
def few_descriptors() -> Iterator[int]:
    """The port of a broker in a process of its own that may have 400 descriptors."""
    serve = [sys.executable, "-P", "-m", "swellmq", "serve", "--port", "0", "--pool.initial-size", "16"]
    process = subprocess.Popen(
        serve,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (400, 400)),
    )
    assert process.stderr is not None
    line = ""
    while "listening on" not in line:
        line = process.stderr.readline()
    reader = threading.Thread(target=process.stderr.read)
    reader.start()
    yield int(line.rpartition(":")[2])
    process.terminate()
    assert process.wait(PATIENCE_S) == 0
    reader.join()


def test_a_crowd_beyond_the_limit_on_descriptors_is_told_so(few_descriptors: int, clients: Clients) -> None:
    address = ("127.0.0.1", few_descriptors)
    served: list[Client] = []
    refused: list[Client] = []
    while not refused:
        client = clients(address, 4)
        (served if client.connect(f"c{len(clients.made)}").reason_code == 0 else refused).append(client)
    assert 250 < len(served) <= 400 - DESCRIPTORS_LEFT
    for client in served:
        client.ping()
    answer = refusal(clients(address, 5))
    assert (answer.reason_code, reason(answer)) == (0x97, "no descriptors are left")
    for client in served[:50]:
        client.disconnect()
    give_up = time.monotonic() + PATIENCE_S
    while clients(address, 5).connect("late").reason_code:
        assert time.monotonic() < give_up, "it does not recover"
        select.select([], [], [], OVERLOAD_LOOK_MS / 1_000)


class Ponderous(Access):
    """Thinks for a while about what is published, in the loop's thread, as no hook should."""

    def __init__(self) -> None:
        super().__init__()
        self.authorizes_publish = True

    def decide(self, requests: list[Request]) -> None:
        time.sleep(0.02)
        for request in requests:
            request.answer(0)


@pytest.mark.slow
def test_a_hook_that_makes_turns_long(broker: Callable[..., Broker], clients: Clients) -> None:
    """New clients are refused and QoS 0 is shed that waits for who does not read; QoS 1 arrives; then all is well."""
    one = broker(access=Ponderous(), overload_turn_ms=5)
    asleep = clients(one, 4, "asleep")
    asleep.subscribe("flood")
    careful = clients(one, 4, "careful")
    careful.subscribe("safe", 1)
    publisher = clients(one, 4, "publisher")
    stop = threading.Event()

    def flood(sock: socket.socket) -> None:
        data = encode(Publish(b"flood", bytes(10_000), 0, False), 4) * 10
        with contextlib.suppress(OSError):
            while not stop.is_set():
                sock.sendall(data)

    floods = [clients(one, 4, f"flood-{number}").sock for number in range(2)]
    threads = [threading.Thread(target=flood, args=(sock,)) for sock in floods]
    for thread in threads:
        thread.start()
    sent = 0
    try:
        give_up = time.monotonic() + PATIENCE_S
        while not one.statistics()["shedding"]:
            assert time.monotonic() < give_up, "nothing is shed"
            sent += 1
            publisher.publish("safe", b"%d" % sent, 1, identifier=sent)
            assert publisher.expect(Ack).packet_type == PUBACK
        late = clients(one, 5)
        assert late.connect("late").reason_code == 0x89
    finally:
        stop.set()
        for sock in floods:
            sock.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()
    assert [careful.expect(Publish).payload for _ in range(sent)] == [b"%d" % number for number in range(1, sent + 1)]
    give_up = time.monotonic() + 3 * OVERLOAD_CALM_MS / 1_000 + PATIENCE_S
    while one.statistics()["refusing"]:
        assert time.monotonic() < give_up, "it does not recover"
        select.select([], [], [], 0.1)
    assert clients(one, 5).connect("late").reason_code == 0
    assert one.statistics()["errors_internal"] == 0
