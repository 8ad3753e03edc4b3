"""The command: one broker in a process of its own, from its start to its end.

It alone touches what is process-wide: signals, the log, rights, the process id's file and, by `process.py`, the
collector, the C allocator and the limit on descriptors.
"""

from __future__ import annotations

import _socket as socket  # socket.py brings enums and selectors: 0.4 MB more
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable

from swellmq.errors import SettingsError
from swellmq.limits import MEMORY_SHARE_PERCENT
from swellmq.logs import set_up
from swellmq.process import DESCRIPTORS_BESIDE, Trimmer, calm_collector, raise_descriptor_limit, resident_bytes
from swellmq.server import Server
from swellmq.settings import Settings, memory_bytes
from swellmq.store.errors import StoreError
from swellmq.version import advice, describe

log = logging.getLogger("swellmq.server")


def serve(settings: Settings, make: Callable[[Settings], Server] = Server) -> int:
    """The command: run one broker until SIGTERM or SIGINT. The exit code: 0 stopped on request, 2 bad settings.

    `make` makes the server; a measurement has one of its own.
    """
    try:
        set_up(settings.log_level, settings.log_format, settings.log_timestamp_format, settings.log_file)
    except OSError as error:
        where = settings.where("log.file")
        problem = f"can't be written: {error.strerror}"
        error_line = SettingsError(f"log.file = {settings.log_file}", problem, "Give another path", where)
        sys.stderr.write(f"swellmq: {error_line}\n")
        return 2
    fitting = raise_descriptor_limit(settings.max_connections)
    try:
        sockets = _handed_over(settings)
        sys.path_importer_cache.clear()  # the names in all folders of libraries, 70 KB: the pool takes their place
        server = make(settings)
        server.handed_over = sockets
        server.owns_log = True
        signal.signal(signal.SIGTERM, lambda _number, _frame: server.stop())
        signal.signal(signal.SIGINT, lambda _number, _frame: server.stop())
        signal.signal(signal.SIGHUP, lambda _number, _frame: server.call(lambda: _reload(server)))
        signal.signal(signal.SIGUSR1, lambda _number, _frame: server.call(server.report))
        if settings.user and os.geteuid() == 0:
            server.open(lambda: become(settings))
        else:
            server.open()
            write_pid(settings)
    except SettingsError as error:
        log.error("%s", error)
        return 2
    except StoreError as error:
        log.error("%s", error)
        return 1
    for line in banner(server, fitting):
        log.info("%s", line)
    calm_collector(server.stats)
    server.trimmer = Trimmer()
    if not server.overload.memory.budget_bytes:  # the process is all the broker's
        server.overload.memory.budget_bytes = memory_bytes() * MEMORY_SHARE_PERCENT // 100
    if os.environ.get("NOTIFY_SOCKET"):
        from swellmq.systemd import find_supervisor  # most brokers are started by hand, or in a container

        server.supervisor = find_supervisor(os.environ)
    if server.supervisor is not None:
        server.supervisor.ready(listening(server))
        server.plan()
    server.run(signals_wake=True)
    if settings.pid_file:
        with contextlib.suppress(OSError):  # somebody else removed it
            os.unlink(settings.pid_file)
    log.info("stopped")
    return 0


def _reload(server: Server) -> None:
    """SIGHUP, with word to the supervisor."""
    supervisor = server.supervisor
    if supervisor is not None:
        supervisor.reloading()
    done = server.reload()
    if supervisor is not None:
        supervisor.ready(listening(server) if done else "the last reload failed, as the log says")


def _handed_over(settings: Settings) -> dict[int, socket.socket]:
    """The listening sockets that systemd has opened for this process, by the index of the listener."""
    if not os.environ.get("LISTEN_FDS"):
        return {}
    from swellmq.systemd import hand_out, handed_over

    sockets = handed_over(os.environ)
    return hand_out(sockets, settings) if sockets else {}


def listening(server: Server) -> str:
    """Where the broker listens, for people."""
    return "listening on " + ", ".join(one.scheme + one.name for one in server.listeners)


def become(settings: Settings) -> None:
    """Give up root's rights for those of `user`, who gets the data folder. Raises SettingsError where there is none."""
    import pwd

    write_pid(settings)  # into a folder that is perhaps root's

    try:
        user = pwd.getpwnam(settings.user)
    except KeyError:
        problem = "this machine has no such user"
        raise SettingsError(
            f"user = {settings.user}", problem, "Name another, or leave it out", settings.where("user")
        ) from None
    if settings.data and not os.path.exists(settings.data):
        try:
            os.makedirs(settings.data, 0o700)
            os.chown(settings.data, user.pw_uid, user.pw_gid)
        except OSError as error:
            problem = f"can't be made: {error.strerror}"
            where = settings.where("data")
            raise SettingsError(f"data = {settings.data}", problem, "Give another path", where) from None
    os.initgroups(user.pw_name, user.pw_gid)
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)


def write_pid(settings: Settings) -> None:
    """Write the process id to `pid_file`, where one is set. Raises SettingsError where that can't be done."""
    if not settings.pid_file:
        return
    try:
        with open(settings.pid_file, "w", encoding="ascii") as file:
            file.write(f"{os.getpid()}\n")
    except OSError as error:
        problem = f"can't be written: {error.strerror}"
        where = settings.where("pid_file")
        raise SettingsError(f"pid_file = {settings.pid_file}", problem, "Give another path", where) from None


def durability(settings: Settings) -> str:
    """The line of the banner about what survives."""
    if not settings.data:
        return "durability: off, nothing is kept across restarts (`--data DIR` keeps it)"
    meaning = {
        "disk": "what is acknowledged is on disk",
        "written": "what is acknowledged survives the broker, but not a power cut",
        "memory": "what is acknowledged is stored a moment later",
    }
    return f"durability: {settings.durability}, {meaning[settings.durability]}, in {settings.data}"


def banner(server: Server, fitting: int) -> list[str]:
    """What the operator should know at start, a line each."""
    settings = server.settings
    pool = server.pool.statistics()
    lines = [
        describe(),
        listening(server),
        *([f"admin: {server.admin.url()}"] if server.admin is not None else []),
        f"pool: {settings.pool_mode}, {pool['capacity']} objects preheated, up to {pool['max_size']}; "
        f"up to {settings.max_connections} connections",
        durability(settings),
        f"memory: {resident_bytes() / 1e6:.1f} MB",
    ]
    if fitting < settings.max_connections:
        lines.append(
            f"the system's limit on open files leaves room for {fitting} connections; "
            f"`ulimit -n {settings.max_connections + DESCRIPTORS_BESIDE}` (LimitNOFILE= in a systemd unit) lifts it"
        )
    if advice():
        lines.append(advice())
    lines.extend(settings.notes)
    lines.extend("warning: " + warning for warning in settings.warnings)
    in_container = os.path.exists("/.dockerenv") or os.path.exists("/run/.containerenv")  # Docker's, Podman's
    if in_container and all(listener.name.startswith("127.") for listener in server.listeners):
        lines.append("in a container only the container itself reaches 127.0.0.1: `--bind 0.0.0.0` opens the broker")
    return lines
