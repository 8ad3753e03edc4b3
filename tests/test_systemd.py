"""sd_notify and socket activation, with real sockets and a real `swellmq serve`; with systemd's own program as well."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from socket_client import PATIENCE_S, Client, await_true

from swellmq.errors import SettingsError
from swellmq.listener_settings import ListenerSettings
from swellmq.settings import Settings
from swellmq.systemd import HandedOver, Supervisor, find_supervisor, hand_out, handed_over

SERVE = [sys.executable, "-P", "-m", "swellmq", "serve", "--pool.initial-size", "16", "--log-level", "warning"]
# Makes its arguments' descriptors those that systemd hands over, and becomes the broker.
ACTIVATE = """
import os, sys
count = int(sys.argv[1])
for index in range(count):
    os.dup2(int(sys.argv[2 + index]), 3 + index)
os.environ["LISTEN_FDS"], os.environ["LISTEN_PID"] = str(count), str(os.getpid())
os.execv(sys.executable, sys.argv[2 + count :])
"""


class Ear:
    """The socket that NOTIFY_SOCKET names."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind("\0" + path[1:] if path.startswith("@") else path)
        self.sock.settimeout(PATIENCE_S)

    def hear(self) -> list[str]:
        return self.sock.recv(4_096).decode().split("\n")

    def hear_until(self, word: str) -> list[str]:
        """What is said up to a message with a word in it."""
        heard: list[str] = []
        while word not in heard:
            heard = self.hear()
        return heard


@pytest.fixture
def ear(tmp_path: Path) -> Iterator[Ear]:
    one = Ear(str(tmp_path / "notify"))
    yield one
    one.sock.close()


Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts `swellmq serve`, as `command` says, with more in its environment."""
    running: list[subprocess.Popen[bytes]] = []

    def run(command: list[str], fds: tuple[int, ...] = (), **environment: str) -> subprocess.Popen[bytes]:
        inherited = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
        running.append(subprocess.Popen(command, env=inherited | environment, pass_fds=fds, stderr=subprocess.PIPE))
        return running[-1]

    yield run
    for process in running:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


@pytest.mark.parametrize("abstract", [False, True])
def test_a_life_is_told(start: Start, tmp_path: Path, abstract: bool) -> None:
    config = tmp_path / "swellmq.toml"
    config.write_text("port = 0\n")
    one = Ear(f"@swellmq-test-{os.getpid()}" if abstract else str(tmp_path / "notify"))
    process = start([*SERVE, "--config", str(config)], NOTIFY_SOCKET=one.path)
    ready = one.hear()
    assert ready[0] == "READY=1" and ready[1].startswith("STATUS=listening on 127.0.0.1:")
    Client(("127.0.0.1", int(ready[1].rpartition(":")[2]))).close()
    process.send_signal(signal.SIGHUP)
    reloading, moment = one.hear()
    assert reloading == "RELOADING=1" and 0 <= time.monotonic() - int(moment.removeprefix("MONOTONIC_USEC=")) / 1e6 < 60
    assert one.hear() == ready
    config.write_text("port = x\n")
    process.send_signal(signal.SIGHUP)
    one.hear()
    assert one.hear() == ["READY=1", "STATUS=the last reload failed, as the log says"]
    process.send_signal(signal.SIGTERM)
    assert one.hear() == ["STOPPING=1", "STATUS=stopping"]
    assert process.wait(PATIENCE_S) == 0
    one.sock.close()


def test_signs_of_life(start: Start, ear: Ear) -> None:
    process = start([*SERVE, "--port", "0"], NOTIFY_SOCKET=ear.path, WATCHDOG_USEC="100000")
    ear.hear_until("READY=1")
    begin = time.monotonic()
    for _ in range(4):
        assert ear.hear() == ["WATCHDOG=1"]
    assert time.monotonic() - begin >= 0.1  # each 50 ms
    process.send_signal(signal.SIGSTOP)  # it hangs, and says nothing
    await_true(lambda: not _pending(ear))
    process.send_signal(signal.SIGCONT)
    assert ear.hear() == ["WATCHDOG=1"]


def _pending(ear: Ear) -> bool:
    ear.sock.settimeout(0.2)
    try:
        ear.hear()
        return True
    except TimeoutError:
        return False
    finally:
        ear.sock.settimeout(PATIENCE_S)


def test_who_is_told(ear: Ear) -> None:
    said = {"NOTIFY_SOCKET": ear.path, "WATCHDOG_USEC": "2000000", "WATCHDOG_PID": str(os.getpid()), "OTHER": "x"}
    found = find_supervisor(said)
    assert found is not None and (found.interval_ms, found.due_ms) == (1_000, 0)
    assert said == {"OTHER": "x"}
    found = find_supervisor({"NOTIFY_SOCKET": ear.path, "WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "1"})
    assert found is not None and found.due_ms == -1  # the watchdog is another's
    assert find_supervisor({}) is None and find_supervisor({"NOTIFY_SOCKET": "vsock:2:1"}) is None
    Supervisor("/nowhere/notify").ready("x")  # nobody is there, and nothing happens


def listening_socket(host: str = "127.0.0.1") -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, 0), family=family, dualstack_ipv6=host == "::")


def activated(start: Start, ear: Ear, sockets: list[socket.socket], *options: str) -> str:
    """Starts the broker with these sockets; the line in which it says that it is ready."""
    fds = tuple(one.fileno() for one in sockets)
    command = [sys.executable, "-c", ACTIVATE, str(len(fds)), *map(str, fds), *SERVE, *options]
    start(command, fds, NOTIFY_SOCKET=ear.path)
    return ear.hear()[1]


def test_sockets_in_place_of_the_default(start: Start, ear: Ear, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(path)
    unix.listen()
    tcp = listening_socket()
    early = Client(tcp.getsockname())  # it waits in the queue until the broker is there
    early.send(early.connect_packet("early"))
    port = tcp.getsockname()[1]
    assert activated(start, ear, [tcp, unix]) == f"STATUS=listening on 127.0.0.1:{port}, {path}"
    assert early.receive() is not None
    assert Client(path).connect("b").reason_code == 0
    tcp.close(), unix.close()


def test_sockets_of_listeners(start: Start, ear: Ear, tmp_path: Path) -> None:
    tcp = listening_socket()
    port = tcp.getsockname()[1]
    config = tmp_path / "swellmq.toml"
    config.write_text(f"[[listener]]\nport = 0\n[[listener]]\nport = {port}\nmaximum_qos = 0\n")
    said = activated(start, ear, [tcp], "--config", str(config))
    assert said.endswith(f", 127.0.0.1:{port}")
    client = Client(("127.0.0.1", port))
    client.connect("a")
    assert client.subscribe("t", 1) == b"\x00"  # the rules of the listener that names this place
    tcp.close()


def test_a_socket_that_no_listener_names(start: Start, ear: Ear) -> None:
    tcp = listening_socket()
    command = [sys.executable, "-c", ACTIVATE, "1", str(tcp.fileno()), *SERVE, "--port", "0"]
    process = start(command, (tcp.fileno(),))
    _, said = process.communicate(timeout=PATIENCE_S)
    place = f"127.0.0.1:{tcp.getsockname()[1]}"
    assert process.returncode == 2 and f"LISTEN_FDS: {place} is handed over, and no listener is there" in said.decode()
    tcp.close()


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
def test_one_socket_for_both_families() -> None:
    sock = listening_socket("::")
    port = sock.getsockname()[1]
    listeners = [ListenerSettings("0.0.0.0", port), ListenerSettings("::", port), ListenerSettings("127.0.0.1", 1)]
    settings = Settings(listeners=listeners)
    one = HandedOver(sock.detach())
    assert hand_out([one], settings) == {0: one.sock}
    assert [str(listener) for listener in settings.listeners] == [f"0.0.0.0:{port}", "127.0.0.1:1"]
    assert settings.handed_over
    alone = Settings()
    hand_out([one], alone)
    assert [str(listener) for listener in alone.listeners] == [f"[::]:{port}"]
    assert "is open to whoever can reach it" in alone.warnings[0]
    one.sock.close()


def test_what_is_no_listening_socket() -> None:
    mine = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "0", "LISTEN_FDNAMES": "x", "OTHER": "y"}
    assert handed_over(mine) == [] and mine == {"OTHER": "y"}
    assert handed_over({"LISTEN_PID": "1", "LISTEN_FDS": "3"}) == []
    for wrong in (socket.socket(), socket.socket(type=socket.SOCK_DGRAM)):
        with pytest.raises(SettingsError, match="is no listening stream socket"):
            HandedOver(wrong.detach())
    with open(os.devnull, encoding="ascii") as file, pytest.raises(SettingsError, match="is no socket"):
        HandedOver(os.dup(file.fileno()))


def test_a_reload_leaves_them_alone(tmp_path: Path) -> None:
    from swellmq.reload import differences, live_listeners

    config = tmp_path / "swellmq.toml"
    config.write_text("sys_interval_s = 0\n")
    old = Settings.load(str(config), {}, {})
    sock = listening_socket()
    hand_out([HandedOver(sock.detach())], old)
    new = old.read_again()
    assert differences(old, new) == []
    assert live_listeners(old, new) is old.listeners


def listens(path: str) -> bool:
    """Whether a Unix socket takes connections; looks without making one, which would start the broker."""
    fields = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()]
    return any(field[-1] == path and field[3] == "00010000" for field in fields)


def test_systemds_own_program(start: Start, tmp_path: Path) -> None:
    if shutil.which("systemd-socket-activate") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("not installed: Debian's package systemd")
    path = str(tmp_path / "s")
    start(["systemd-socket-activate", f"--listen={path}", "--setenv=PYTHONPATH", *SERVE])
    await_true(lambda: listens(path))  # bound, it is there, but refuses until it listens
    client = Client(path)  # which is what starts the broker
    assert client.connect("a").reason_code == 0
    client.ping()
