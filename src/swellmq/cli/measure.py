"""`python -m swellmq.cli.measure`: what connections, subscriptions and retained messages cost here, as JSON.

Runs in a process of its own, so that nothing else is in its memory: a pool and a broker without sockets are fed with
packets, and the resident memory is read before and after. `swellmq plan --measure` calls it.
"""

from __future__ import annotations

import gc
import json
import os
import socket
import time
from dataclasses import asdict
from typing import Final

from swellmq.cli.costs import Costs
from swellmq.codec.encode import encode
from swellmq.codec.packets import Connect, Packet, Publish, Subscribe, TopicRequest
from swellmq.connection import Connection, Turn
from swellmq.net.pool import Pool, PoolSettings
from swellmq.process import resident_bytes
from swellmq.server import Server
from swellmq.settings import Settings
from swellmq.version import describe

CONNECTIONS: Final = 50_000
RETAINED: Final = 20_000
BATCH: Final = 128
SLAB_CACHES: Final = ("TCP", "sock_inode_cache", "dentry", "filp", "eventpoll_epi")  # one of each for a connection


class Memory:
    """A broker whose connections are fed by hand; what it sends is dropped."""

    def __init__(self) -> None:
        self.server = Server(Settings(sys_interval_s=0, log_level="error", max_connections=CONNECTIONS + RETAINED))
        self.connections: list[Connection] = []

    def feed(self, connection: Connection, packet: Packet) -> None:
        self.server.broker.on_data(connection, encode(packet, 4), 1)

    def arrive(self) -> None:
        server = self.server
        number = len(self.connections)
        connection = server.pool.acquire(1)
        assert connection is not None
        connection.fd = number
        connection.handler = server.broker
        server.broker.on_open(connection, 1)
        connect = Connect()
        connect.client_id = f"device-{number:08}"
        connect.keep_alive = 60
        self.feed(connection, connect)
        self.connections.append(connection)

    def turn(self) -> None:
        server = self.server
        server.broker.settle(1)
        server.broker.seal()
        for connection in server.turn_state.flush:
            connection.outbox = None
            connection.outbox_bytes = 0
        server.turn_state.flush = []
        while server.pool.grow(1):
            pass


def measure() -> Costs:
    """Take all figures; a few seconds."""
    costs = Costs()
    costs.origin = f"measured here on {time.strftime('%Y-%m-%d')}: {describe()}, Linux {os.uname().release}"
    memory = Memory()
    server = memory.server
    server.pool.preheat()
    gc.collect()
    gc.freeze()
    costs.start_bytes = _serving_bytes()
    began = time.process_time()
    before = resident_bytes()
    while len(memory.connections) < CONNECTIONS:
        for _ in range(BATCH):
            memory.arrive()
        memory.turn()
    costs.connection_bytes = (resident_bytes() - before) // len(memory.connections)
    fed_s = (time.process_time() - began) / len(memory.connections)
    before = resident_bytes()
    for number, connection in enumerate(memory.connections):
        memory.feed(connection, Subscribe(1, [TopicRequest(b"fleet/%08d/cmd" % number, 0)]))
        if number % BATCH == 0:
            memory.turn()
    costs.subscription_bytes = (resident_bytes() - before) // len(memory.connections)
    before = resident_bytes()
    for number in range(RETAINED):
        server.broker.inject(Publish(b"site/%08d/state" % number, bytes(64), 0, True))
    costs.retained_bytes = (resident_bytes() - before) // RETAINED
    costs.preheat_ns = _preheat_ns()
    costs.connects_per_s = int(1 / (fed_s + _accept_s()))
    costs.kernel_bytes = slab_bytes() or costs.kernel_bytes
    return costs


def _preheat_ns() -> int:
    """The time that one object of the pool takes to make."""
    settings = PoolSettings()
    settings.mode = "fixed"
    pool = Pool(settings, Turn())
    began = time.process_time_ns()
    pool.preheat()
    return (time.process_time_ns() - began) // settings.max_size


def _serving_bytes() -> int:
    """The memory of a process that serves: this one has loaded what only measuring needs, so another one is asked."""
    import subprocess
    import sys

    script = (
        "import sys; sys.argv = ['swellmq']\n"
        "from swellmq.cli.main import main\n"
        "import swellmq.server as server\n"
        "from swellmq.process import resident_bytes\n"
        "server.Server.run = lambda self, **_: print(resident_bytes(), flush=True)\n"
        "main(['serve', '--port', '0', '--log-level', 'error'])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return int(done.stdout)


def _accept_s() -> float:
    """The system's share of an arrival: accept, epoll, one read, one write, on the broker's side of a loopback."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    count = 200
    clients = [socket.create_connection(listener.getsockname()) for _ in range(count)]
    for client in clients:
        client.send(bytes(32))
    accepted: list[socket.socket] = []
    began = time.process_time()
    for _ in range(count):
        one, _address = listener.accept()
        one.setblocking(False)
        one.recv(65_536)
        one.send(bytes(4))
        accepted.append(one)
    spent = time.process_time() - began
    for one in [listener, *clients, *accepted]:
        one.close()
    return spent / count


def slab_bytes(root: str = "/") -> int:
    """What the kernel keeps for one accepted connection, by the sizes of its slab objects; 0 where they are not told.

    Buffers come on top while something is under way: at least a page in each direction.
    """
    sizes: dict[str, int] = {}
    try:
        with open(root + "proc/slabinfo", encoding="ascii") as slabs:
            for line in slabs:
                words = line.split()
                if words and words[0] in SLAB_CACHES:
                    objects, pages = int(words[4]), int(words[5])
                    sizes[words[0]] = pages * 4096 // objects  # with its share of what the slab wastes
    except (OSError, ValueError, IndexError):
        return 0
    return sum(sizes.values()) if len(sizes) == len(SLAB_CACHES) else 0


if __name__ == "__main__":
    print(json.dumps(asdict(measure())))
