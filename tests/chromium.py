"""A headless Chromium, driven through its DevTools protocol: JSON over one WebSocket, without a driver in between.

    with Chromium(folder) as chromium, chromium.page(1280, 900) as page:
        page.open("http://127.0.0.1:8080/")
        page.wait("document.title === 'ready'")

What the page writes to its console as a warning or an error, and exceptions of its scripts, are gathered in
`page.problems`.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from websockets.sync.client import ClientConnection, connect

PROGRAMS: Final = ("chromium", "chromium-browser", "google-chrome")
TIMEOUT_S: Final = 60.0
POLL_S: Final = 0.02
KEYS: Final = {
    "Enter": 13, "Tab": 9, "Escape": 27, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Home": 36,
}  # fmt: skip

# Where to click: the middle of an element, once it is where it was in the frame before; null: something covers it.
RESTING_PLACE: Final = """
    new Promise((resolve) => {
        const target = document.querySelector(%s);
        target.scrollIntoView({block: "center"});
        window.hit = false;
        target.addEventListener("click", () => window.hit = true, {capture: true, once: true});
        let before = null;
        const look = () => {
            const box = target.getBoundingClientRect();
            const place = {x: box.x + box.width / 2, y: box.y + box.height / 2};
            if (before === null || before.x !== place.x || before.y !== place.y) {
                before = place;
                return requestAnimationFrame(look);
            }
            const top = document.elementFromPoint(place.x, place.y);
            resolve(top !== null && (target.contains(top) || top.contains(target)) ? place : null);
        };
        look();
    })
"""


class PageError(Exception):
    """A script that the page was told to run has failed, or what was waited for did not come."""


def program() -> str | None:
    """Where there is a Chromium; None: nowhere."""
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


class Chromium:
    """The browser: a process with a profile of its own in `folder`."""

    def __init__(self, folder: Path) -> None:
        path = program()
        assert path is not None
        self.port_file = folder / "DevToolsActivePort"
        options = [
            "--headless=new",
            "--remote-debugging-port=0",
            f"--user-data-dir={folder}",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-extensions",
            "--disable-sync",
            "--no-first-run",
            "--hide-scrollbars",
            "--force-color-profile=srgb",
            "--lang=en",
        ]
        if os.getuid() == 0:
            options.append("--no-sandbox")  # Chromium refuses to run as root with it
        self.popen = subprocess.Popen(
            [path, *options, "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # it has children of its own, which go with it
        )
        self.stack = contextlib.ExitStack()
        self.socket = self.stack.enter_context(self._connect())
        self.numbers = itertools.count(1)
        self.sessions: dict[str, Page] = {}

    def _connect(self) -> contextlib.AbstractContextManager[ClientConnection]:
        deadline_s = time.monotonic() + TIMEOUT_S
        while not (self.port_file.exists() and len(lines := self.port_file.read_text().split()) == 2):
            assert self.popen.poll() is None, "Chromium has ended"
            assert time.monotonic() < deadline_s, "Chromium does not start"
            time.sleep(POLL_S)
        url = f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        # Events come unasked and wait until something is called: any number of them, and for any time.
        return connect(url, max_size=None, max_queue=None, ping_interval=None, proxy=None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.stack.close()
        self.popen.wait(TIMEOUT_S)

    def call(self, method: str, session: str = "", **parameters: Any) -> Any:
        """One command and its answer; what happens meanwhile goes to the pages."""
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": parameters}
        self.socket.send(json.dumps(message | ({"sessionId": session} if session else {})))
        while True:
            answer = json.loads(self.socket.recv(TIMEOUT_S))
            if answer.get("id") == number:
                if "error" in answer:
                    raise PageError(f"{method}: {answer['error']['message']}")
                return answer["result"]
            page = self.sessions.get(answer.get("sessionId", ""))
            if page is not None:
                page.on_event(answer["method"], answer["params"])

    @contextlib.contextmanager
    def page(self, width: int = 1280, height: int = 900, *, dark: bool = False) -> Iterator[Page]:
        """A page with cookies and storage of its own."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self.sessions[session] = Page(self, session)
        try:
            for domain in ("Page", "Runtime", "Log", "Network"):
                page.call(f"{domain}.enable")
            page.size(width, height)
            page.theme(dark=dark)
            yield page
        finally:
            self.call("Target.disposeBrowserContext", browserContextId=context)
            del self.sessions[session]


class Page:
    """One tab."""

    def __init__(self, chromium: Chromium, session: str) -> None:
        self.chromium = chromium
        self.session = session
        self.problems: list[str] = []

    def call(self, method: str, **parameters: Any) -> Any:
        return self.chromium.call(method, self.session, **parameters)

    def on_event(self, method: str, parameters: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            details = parameters["exceptionDetails"]
            self.problems.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Log.entryAdded" and parameters["entry"]["level"] in ("warning", "error"):
            entry = parameters["entry"]
            self.problems.append(f"{entry['text']} {entry.get('url', '')}")
        elif method == "Runtime.consoleAPICalled" and parameters["type"] in ("warning", "error", "assert"):
            self.problems.append(" ".join(str(part.get("value", part)) for part in parameters["args"]))

    def size(self, width: int, height: int) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def theme(self, *, dark: bool) -> None:
        """What the system is said to prefer; and no motion, so that all is where it will be."""
        features = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        self.call("Emulation.setEmulatedMedia", features=features)

    def open(self, url: str) -> None:
        """Go there, and wait until it is loaded with its modules."""
        answer = self.call("Page.navigate", url=url)
        assert "errorText" not in answer, answer["errorText"]
        self.wait(f"location.href.startsWith({json.dumps(url)}) && document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """The value of an expression; of a promise what it brings."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise PageError(answer["exceptionDetails"].get("exception", {}).get("description", script))
        return answer["result"].get("value")

    def wait(self, condition: str, timeout_s: float = TIMEOUT_S) -> Any:
        """Wait until an expression is truthy; its value."""
        deadline_s = time.monotonic() + timeout_s
        while not (value := self.run(condition)):
            if time.monotonic() > deadline_s:
                raise PageError(f"waited in vain: {condition}")
            time.sleep(POLL_S)
        return value

    def text(self, selector: str) -> str:
        """The text of the first element that a CSS selector finds; "" where there is none."""
        script = f"(() => {{ const found = document.querySelector({json.dumps(selector)});"
        return str(
            self.run(script + " return found?.innerText ?? found?.textContent ?? ''; })()")
        )  # SVG has no innerText

    def click(self, selector: str) -> None:
        """A real click, on the middle of an element that is there, rests, and is not covered. Where the page has moved
        on between the look and the click, and something else got it, once more."""
        found = json.dumps(selector)
        deadline_s = time.monotonic() + TIMEOUT_S
        while True:
            self.wait(f"document.querySelector({found}) !== null")
            place = self.run(RESTING_PLACE % found)
            assert place is not None, f"{selector} is covered"
            for kind in ("mousePressed", "mouseReleased"):
                self.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)
            if self.run("window.hit !== false"):  # undefined: the click led to another page
                return
            if time.monotonic() > deadline_s:
                raise PageError(f"{selector} does not rest")

    def move(self, x: float, y: float) -> None:
        """Move the mouse."""
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def type(self, text: str) -> None:
        """Type into what has the focus."""
        self.call("Input.insertText", text=text)

    def fill(self, selector: str, text: str) -> None:
        """Replace what stands in a field."""
        self.click(selector)
        self.run(f"document.querySelector({json.dumps(selector)}).select()")
        self.type(text)

    def press(self, key: str) -> None:
        """Press a key: one of KEYS, or a letter."""
        code = KEYS.get(key, ord(key[0].upper()))
        text = {"text": "\r"} if key == "Enter" else {"text": key} if len(key) == 1 else {}
        for kind in ("keyDown", "keyUp"):
            pressed = text if kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **pressed)

    def screenshot(self, *, whole: bool = False) -> bytes:
        """What is seen, as PNG; or the whole page."""
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return base64.b64decode(answer["data"])
