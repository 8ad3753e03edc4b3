"""`swellmq serve` as a process: what it says, signals, exit codes, the limit on descriptors, how long things take."""

from __future__ import annotations

import json
import os
import pwd
import re
import resource
import selectors
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from socket_client import PATIENCE_S, Client, Clients, await_true, quiet_settings

from swellmq import Settings
from swellmq.codec.packets import Disconnect, Publish
from swellmq.command import banner
from swellmq.process import DESCRIPTORS_BESIDE, raise_descriptor_limit, resident_bytes
from swellmq.server import Server
from swellmq.version import advice, compiled, describe


class Process:
    """A running `swellmq serve`, and the lines that it logs."""

    def __init__(self, *options: str) -> None:
        self.begin = time.perf_counter()
        command = [sys.executable, "-m", "swellmq", "serve", "--port", "0", *options]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE)
        assert self.process.stderr is not None
        self.stream = self.process.stderr
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.stream, selectors.EVENT_READ)
        self.data = b""
        self.lines: list[str] = []

    def line(self, word: str) -> str:
        """The next line with a word in it."""
        give_up = time.monotonic() + PATIENCE_S
        while True:
            while b"\n" in self.data:
                one, _, self.data = self.data.partition(b"\n")
                self.lines.append(one.decode())
                if word in self.lines[-1]:
                    return self.lines[-1]
            assert self.selector.select(max(0.0, give_up - time.monotonic())), f"no line with {word}: {self.lines}"
            data = os.read(self.stream.fileno(), 65_536)
            assert data, f"it ended: {self.lines}"
            self.data += data

    def port(self) -> int:
        return int(self.line("listening on").rpartition(":")[2])

    def end(self, number: int = signal.SIGTERM) -> float:
        """Stop it by a signal; how many seconds it took."""
        begin = time.perf_counter()
        self.process.send_signal(number)
        assert self.process.wait(PATIENCE_S) == 0
        return time.perf_counter() - begin

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.selector.close()
        self.stream.close()


@pytest.fixture
def serve() -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def start(*options: str) -> Process:
        started.append(Process(*options))
        return started[-1]

    yield start
    for process in started:
        process.close()


# What it says


def test_banner_and_end(serve: Callable[..., Process]) -> None:
    process = serve("--preset", "small", "--max-connections", "9000")
    process.line("memory:")
    said = [re.sub(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", "", line) for line in process.lines]
    assert said[0] == describe()
    assert re.fullmatch(r"listening on 127\.0\.0\.1:\d+", said[1])
    assert said[2:4] == [
        "pool: dynamic, 256 objects preheated, up to 9000; up to 9000 connections",
        "durability: off, nothing is kept across restarts (`--data DIR` keeps it)",
    ]
    assert re.fullmatch(r"memory: \d+\.\d MB", said[4])
    assert process.line("lowered")
    process.end()
    assert process.line("stopped")


def test_banner_tells_the_limits_and_the_warnings() -> None:
    server = Server(quiet_settings(bind="0.0.0.0", max_connections=5_000))
    server.open()
    lines = banner(server, 400)
    server.finish()
    assert (
        "the system's limit on open files leaves room for 400 connections; "
        f"`ulimit -n {5_000 + DESCRIPTORS_BESIDE}` (LimitNOFILE= in a systemd unit) lifts it"
    ) in lines
    assert [line for line in lines if line.startswith("warning: 0.0.0.0:0 is open")]
    assert (advice() in lines) != compiled()


def test_json_lines(serve: Callable[..., Process]) -> None:
    process = serve("--log-format", "json")
    line = json.loads(process.line("listening on"))
    assert (line["level"], line["logger"]) == ("info", "swellmq.server")
    process.end()


def test_status_by_signal(serve: Callable[..., Process], clients: Clients) -> None:
    process = serve("--pool.initial-size", "100")
    client = clients(("127.0.0.1", process.port()), 4, "client")
    process.process.send_signal(signal.SIGUSR1)
    assert re.search(
        r"\[STATUS\] active 1, connected 1, idle 99, overflow 0, capacity 100, sessions 1, RSS \d+\.\d MB$",
        process.line("[STATUS]"),
    )
    client.ping()
    process.end()


@pytest.mark.slow
def test_status_at_an_interval(serve: Callable[..., Process]) -> None:
    process = serve("--status-interval-s", "1")
    assert "[STATUS] active 0, connected 0" in process.line("[STATUS]")
    process.end()


def test_issue_trial_log(serve: Callable[..., Process]) -> None:
    """400 clients that arrive one by one, as in the issue."""
    process = serve("--preset", "small")
    address = ("127.0.0.1", process.port())
    connect = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01"
    socks = []
    for number in range(400):
        sock = socket.create_connection(address)
        sock.sendall(b"\x10\x10" + connect[2:13] + b"\x04%04d" % number)
        assert sock.recv(4) == b"\x20\x02\x00\x00"
        socks.append(sock)
    assert process.line("[POOL]").endswith("[POOL] Expand: 256->384 (trigger at 204/256 connections)")
    assert process.line("[POOL]").endswith("[POOL] Expand: 384->576 (trigger at 307/384 connections)")
    for sock in socks:
        sock.close()
    process.end()
    process.line("stopped")
    assert sum("[POOL]" in line for line in process.lines) == 2


# How it ends


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_clients_are_told_and_wills_go_out(serve: Callable[..., Process], clients: Clients, number: int) -> None:
    process = serve()
    address = ("127.0.0.1", process.port())
    watcher = clients(address, 5, "watcher")
    watcher.subscribe("will")
    willing = clients(address, 4, "willing", will=Publish(b"will", b"bye", 0, False))
    process.end(number)
    assert watcher.expect(Publish).payload == b"bye"
    assert watcher.expect(Disconnect).reason_code == 0x8B
    assert watcher.receive() is None
    assert willing.receive() is None


def test_what_is_under_way_is_taken_first(serve: Callable[..., Process], clients: Clients) -> None:
    process = serve()
    address = ("127.0.0.1", process.port())
    slow, publisher = clients(address, 5, "slow"), clients(address, 4, "publisher")
    slow.subscribe("t")
    publisher.publish("t", b"x" * 20_000_000)
    publisher.ping()
    process.process.send_signal(signal.SIGTERM)
    assert len(slow.expect(Publish).payload) == 20_000_000
    assert slow.expect(Disconnect).reason_code == 0x8B
    assert process.process.wait(PATIENCE_S) == 0


@pytest.mark.slow
def test_a_second_signal_changes_nothing(serve: Callable[..., Process], clients: Clients) -> None:
    process = serve()
    address = ("127.0.0.1", process.port())
    stuck, publisher = clients(address, 5, "stuck"), clients(address, 4, "publisher")
    stuck.subscribe("t")
    publisher.publish("t", b"x" * 20_000_000)
    publisher.ping()
    for _ in range(20):
        process.process.send_signal(signal.SIGTERM)
    assert process.process.wait(PATIENCE_S) == 0
    process.line("stopped")
    assert not [line for line in process.lines if "Traceback" in line]


def test_a_log_file_whose_folder_is_taken_away(serve: Callable[..., Process], clients: Clients, tmp_path: Path) -> None:
    file = tmp_path / "log" / "swellmq.log"
    file.parent.mkdir()
    process = serve("--log.file", str(file))
    await_true(lambda: file.exists() and "memory: " in file.read_text())
    [port] = re.findall(r"listening on 127.0.0.1:(\d+)", file.read_text())
    shutil.rmtree(file.parent)
    clients(("127.0.0.1", int(port)), 5, "b")
    assert "the log can't be written: No such file" in process.line("log can't be")
    assert "client b from 127.0.0.1 connected" in process.line("client b")
    process.end()


def test_port_in_use(serve: Callable[..., Process]) -> None:
    port = serve().port()
    command = [sys.executable, "-m", "swellmq", "serve", "--port", str(port)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Another program listens there: stop it, or choose another port with --port" in done.stderr
    assert "Traceback" not in done.stderr


# Limits of the process

LIMITS = """
import resource, sys
from swellmq.process import raise_descriptor_limit
soft, hard, wanted = (int(word) for word in sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
fitting = raise_descriptor_limit(wanted)
print(fitting, *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def limits_after(soft: int, hard: int, wanted: int) -> list[int]:
    command = [sys.executable, "-c", LIMITS, str(soft), str(hard), str(wanted)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [int(word) for word in done.stdout.split()]


def test_the_soft_limit_is_raised_to_what_is_wanted() -> None:
    assert limits_after(256, 4_000, 1_000) == [1_000, 1_000 + DESCRIPTORS_BESIDE, 4_000]


def test_a_limit_that_is_enough_is_left_alone() -> None:
    assert limits_after(3_000, 4_000, 1_000) == [1_000, 3_000, 4_000]


def test_the_hard_limit_bounds_it_where_it_can_not_be_lifted() -> None:
    fitting, soft, hard = limits_after(256, 4_000, 2_000_000_000)  # above what any system allows
    assert (fitting, soft, hard) == (4_000 - DESCRIPTORS_BESIDE, 4_000, 4_000)


def test_no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A soft limit is raised below an endless hard one, which stays endless."""
    limits = [(256, resource.RLIM_INFINITY)]
    monkeypatch.setattr(resource, "getrlimit", lambda _which: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _which, pair: limits.append(pair))
    assert raise_descriptor_limit(1_000) == 1_000
    assert limits[-1] == (1_000 + DESCRIPTORS_BESIDE, resource.RLIM_INFINITY)


def test_resident_bytes() -> None:
    assert 5_000_000 < resident_bytes() < 5_000_000_000


# How long it takes


def test_stops_at_once_when_idle(serve: Callable[..., Process]) -> None:
    took = []
    for _ in range(3):
        process = serve()
        process.line("memory:")
        took.append(process.end())
    assert min(took) < (0.1 if compiled() else 0.3), took


@pytest.mark.slow
def test_starts_quickly(serve: Callable[..., Process]) -> None:
    """Median of ten, warm. The bar is 150 ms compiled; a busy machine gets twice that."""
    took = []
    for _ in range(10):
        process = serve()
        process.line("listening on")
        took.append(time.perf_counter() - process.begin)
        process.end()
    assert statistics.median(took) < (0.3 if compiled() else 0.6), took


def test_memory_at_start(serve: Callable[..., Process]) -> None:
    process = serve()
    process.line("memory:")
    with open(f"/proc/{process.process.pid}/status") as status:
        [resident_kb] = [int(line.split()[1]) for line in status if line.startswith("VmRSS:")]
    process.end()
    bar_mb = 16.0 if compiled() else 24.0
    assert resident_kb * 1024 <= bar_mb * 1e6, f"{resident_kb * 1024 / 1e6:.2f} MB"


@pytest.mark.slow
@pytest.mark.parametrize("connections", [10_000])
def test_stops_with_many_clients_within_5_s(serve: Callable[..., Process], connections: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections + 200
    if hard != resource.RLIM_INFINITY and hard < needed:
        pytest.skip(f"only {hard} files may be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
    process = serve()
    address = ("127.0.0.1", process.port())
    socks = []
    for number in range(connections):
        sock = socket.create_connection(address)
        sock.sendall(b"\x10\x13\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x06%06d" % number)
        socks.append(sock)
    for sock in socks:
        sock.settimeout(PATIENCE_S)
        assert sock.recv(4)[:1] == b"\x20"
    took = process.end()
    told = 0
    for sock in socks:
        rest = b""
        while data := sock.recv(4096):
            rest += data
        told += rest.endswith((b"\xe0\x02\x8b\x00", b"\xe0\x01\x8b"))
        sock.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert told == connections
    assert took < 5, took


def test_settings_reach_the_pool() -> None:
    settings = Settings(
        port=0,
        pool_initial_size=7,
        pool_max_size=70,
        max_connections=700,
        pool_factor="7/4",
        pool_threshold_percent=55,
        pool_memory_max_bytes=123_456,
        pool_shrink=True,
        pool_shrink_after_s=9,
    )
    server = Server(settings)
    pool = server.pool.settings
    server.finish()
    assert (pool.initial_size, pool.max_size, pool.max_connections) == (7, 70, 700)
    assert (pool.numerator, pool.denominator, pool.threshold_percent) == (7, 4, 55)
    assert (pool.memory_max_bytes, pool.shrink, pool.shrink_after_ms) == (123_456, True, 9_000)


def test_sighup_reads_everything_again(serve: Callable[..., Process], tmp_path: Path) -> None:
    config = tmp_path / "swellmq.toml"
    config.write_text("[limits]\nsubscriptions = 10\n")
    process = serve("--config", str(config))
    process.line("memory:")
    config.write_text('[log]\nlevel = "warning"\n[limits]\nsubscriptions = 20\n')
    process.process.send_signal(signal.SIGHUP)
    process.line("reload: limits.subscriptions: 10 -> 20")
    process.line("reload: done")
    config.write_text("[limits]\nsubscriptions = many\n")
    process.process.send_signal(signal.SIGHUP)
    assert f"nothing has changed: {config}:2: config" in process.line("reload failed")
    process.end()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_owns_the_data(open_folder: Path) -> None:
    options = ("--user", "nobody", "--data", str(open_folder / "data"), "--pid-file", str(open_folder / "pid"))
    process = Process(*options, "--pool.initial-size", "16")
    client = Client(("127.0.0.1", process.port()))
    client.connect("a", clean=False)
    assert client.subscribe("t", 1) == b"\x01"  # it is stored by now
    status = Path(f"/proc/{process.process.pid}/status").read_text()
    assert f"Uid:\t{pwd.getpwnam('nobody').pw_uid}\t" in status
    assert (open_folder / "pid").read_text() == f"{process.process.pid}\n"
    client.close()
    process.end()
    assert (open_folder / "data").stat().st_uid == pwd.getpwnam("nobody").pw_uid


def test_what_clients_had_sent_before_the_stop_counts(server: Callable[..., Server], clients: Clients) -> None:
    one = server()
    client = clients(one, 4, "a")
    client.subscribe("t", 1)
    client.publish("t", b"x", 1)
    packets = [client.receive(), client.receive()]
    [identifier] = [packet.packet_identifier for packet in packets if isinstance(packet, Publish)]
    session = one.broker.core.session("a")
    assert session is not None and session.inflight
    client.send(bytes([0x40, 2]) + int(identifier).to_bytes(2, "big"))
    one.stop()
    one.run()
    assert not session.inflight
    assert one.stats.packets_received == 4  # CONNECT, SUBSCRIBE, PUBLISH and PUBACK
