"""Pictures of the admin page for the README, in both themes: docs/page-light.png and docs/page-dark.png.

    python tools/screenshots.py

starts a broker with a small pool, lets a fleet arrive, talk and partly leave again, which makes the pool grow in some
steps, and takes the pictures in headless Chromium after two and a half minutes. It needs the extras `admin`, `test` and
`tools` (with matplotlib comes Pillow), Chromium, and for letters as in the repository the font Inter.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import random
import selectors
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from PIL import Image

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from chromium import Chromium

from swellmq.codec.encode import encode
from swellmq.codec.packets import Connect, Publish, Subscribe, TopicRequest

DOCS: Final = Path(__file__).parent.parent / "docs"
VERSION: Final = 4  # of MQTT, 3.1.1
POOL_INITIAL: Final = 256
FLEET: Final = 1_050
SECONDS: Final = 150
WIDTH: Final = 1_600
HEIGHT: Final = 1_240
NO_DITHER: Final = Image.Dither.NONE
BYTES_MAX: Final = 200_000
SHOWN: Final = "document.querySelector('#publishers .id') !== null && document.querySelector('#receipts .id') !== null"
STEP_S: Final = 0.1
SENSORS: Final = [
    ("press", "temperature", lambda: {"celsius": round(random.gauss(71, 2), 1)}),
    ("press", "force", lambda: {"kilonewton": round(random.gauss(420, 20))}),
    ("oven", "temperature", lambda: {"celsius": round(random.gauss(212, 3), 1)}),
    ("robot", "state", lambda: {"state": random.choice(["moving", "holding", "idle"])}),
    ("meter", "power", lambda: {"watt": round(random.gauss(5_200, 300))}),
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=SECONDS, help="how long the fleet arrives before the pictures")
    parser.add_argument("--folder", type=Path, default=DOCS, help="where the pictures go")
    arguments = parser.parse_args()
    port, admin_port = free_port(), free_port()
    options = ["--port", str(port), "--admin", f"127.0.0.1:{admin_port}", "--pool.initial-size", str(POOL_INITIAL)]
    broker = subprocess.Popen([sys.executable, "-m", "swellmq", "serve", *options])
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, Chromium(Path(folder)) as chromium:
            fleet = Fleet(port)
            with chromium.page(WIDTH, HEIGHT) as light, chromium.page(WIDTH, HEIGHT, dark=True) as dark:
                for page in (light, dark):
                    page.open(f"http://127.0.0.1:{admin_port}/")
                started = time.monotonic()
                while (passed := time.monotonic() - started) < arguments.seconds:
                    fleet.step(wanted(passed / arguments.seconds))
                for page in (light, dark):
                    page.wait(SHOWN)
                pictures = [light.screenshot(), dark.screenshot()]
                for name, picture in zip(("light", "dark"), pictures, strict=True):
                    save(picture, arguments.folder / f"page-{name}.png")
    finally:
        broker.terminate()
        broker.wait()
    return 0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def wanted(share: float) -> int:
    """How many clients there are when this share of the time has passed: they come in two waves, and breathe."""
    waves = 0.16 + 0.5 / (1 + math.exp(-(share - 0.28) * 18)) + 0.34 / (1 + math.exp(-(share - 0.68) * 28))
    return round(FLEET * (waves + 0.035 * math.sin(share * 40)))


class Fleet:
    """Devices that come, send readings, and go; and dashboards that read them."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.selector = selectors.DefaultSelector()
        self.devices: list[tuple[socket.socket, str, str]] = []  # with its machine and its reading
        self.number = 0
        while True:  # the broker is starting
            try:
                self.connect("dashboard-0").sendall(subscribe("plant/#"))
                break
            except ConnectionRefusedError:
                time.sleep(STEP_S)
        for number, topic_filter in enumerate(["plant/+/+/temperature", "plant/hall-1/#", "plant/hall-2/+/power"]):
            self.connect(f"dashboard-{number + 1}").sendall(subscribe(topic_filter))

    def connect(self, client_id: str) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.port))
        packet = Connect()
        packet.protocol_version = VERSION
        packet.client_id = client_id
        packet.clean_start = True
        sock.sendall(encode(packet, VERSION))
        self.selector.register(sock, selectors.EVENT_READ)
        return sock

    def step(self, count: int) -> None:
        """A tenth of a second, at whose end there are so many devices."""
        deadline = time.monotonic() + STEP_S
        while len(self.devices) < count:
            self.arrive()
        while len(self.devices) > count:
            sock, _, _ = self.devices.pop(random.randrange(len(self.devices)))
            self.selector.unregister(sock)
            sock.close()
        for sock, machine, reading in random.sample(self.devices, min(len(self.devices), len(self.devices) // 12 + 1)):
            value = next(make for kind, name, make in SENSORS if machine.split("-")[0] == kind and name == reading)
            topic = f"plant/hall-{int(machine[-2:]) % 4 + 1}/{machine}/{reading}"
            sock.sendall(publish(topic, value(), retain=random.random() < 0.2))
        while (left := deadline - time.monotonic()) > 0:
            for key, _ in self.selector.select(left):
                key.fileobj.recv(1 << 16)  # type: ignore[union-attr]  # they are all sockets

    def arrive(self) -> None:
        kind, reading, _ = random.choice(SENSORS)
        self.number += 1
        machine = f"{kind}-{self.number % 40:02}"
        sock = self.connect(f"{machine}-{reading}-{self.number:04}")
        sock.sendall(subscribe(f"plant/orders/{machine}"))
        self.devices.append((sock, machine, reading))


def subscribe(topic_filter: str) -> bytes:
    return encode(Subscribe(1, [TopicRequest(topic_filter.encode(), 0)]), VERSION)


def publish(topic: str, payload: object, retain: bool) -> bytes:
    return encode(Publish(topic.encode(), json.dumps(payload).encode(), 0, retain), VERSION)


def save(png: bytes, path: Path) -> None:
    """Write a picture with 256 colours, which takes a third of the bytes."""
    # This method keeps rare colours too, such as the green of one word, which the default gives up first.
    picture = Image.open(io.BytesIO(png)).convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=NO_DITHER)
    picture.save(path, optimize=True)
    size = path.stat().st_size
    assert size < BYTES_MAX, f"{path} has {size} bytes"
    print(f"{path}: {size:,} bytes")


if __name__ == "__main__":
    sys.exit(main())
