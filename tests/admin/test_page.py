"""The admin page in a real browser, before a real broker: what an operator sees, clicks and types."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from admin_client import admin_port
from chromium import Chromium, Page
from socket_client import Clients, await_true, quiet_settings

from swellmq import Broker

pytestmark = [pytest.mark.needs_chromium, pytest.mark.slow]

AXE = Path(__file__).parent / "axe" / "node_modules" / "axe-core" / "axe.min.js"
WIDTHS = [400, 700, 1_024, 1_600]

Start = Callable[..., Broker]
OpenPage = Callable[..., Page]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with Chromium(tmp_path_factory.mktemp("chromium")) as running:
        yield running


@pytest.fixture(scope="module")
def axe() -> str:
    """The script of axe-core."""
    if not AXE.exists():
        text = "not installed: axe-core (make axe)"
        if os.environ.get("CI"):
            pytest.fail(text)
        pytest.skip(text)
    return AXE.read_text()


@pytest.fixture
def admin(broker: Start) -> Broker:
    return broker(admin="127.0.0.1:0")


@pytest.fixture
def show(chromium: Chromium) -> Iterator[OpenPage]:
    """Opens the page of a broker; at the end nothing may have gone wrong in it."""
    opened: list[tuple[AbstractContextManager[Page], Page]] = []

    def show(one: Broker, width: int = 1280, *, dark: bool = False) -> Page:
        context = chromium.page(width, 900, dark=dark)
        page = context.__enter__()
        opened.append((context, page))
        page.open(f"http://127.0.0.1:{admin_port(one)}/")
        return page

    yield show
    problems = [problem for _, page in opened for problem in page.problems]
    for context, _ in opened:
        context.__exit__(None, None, None)
    assert problems == []


def rows(page: Page) -> list[str]:
    """The client identifiers in the table."""
    found: list[str] = page.run("[...document.querySelectorAll('#clients tr th button')].map((one) => one.textContent)")
    return found


def read(page: Page, chart: str, label: str) -> str:
    """What the legend of a chart says of one series."""
    script = (
        f"[...document.querySelectorAll('#chart-{chart} li')].find((one) => one.textContent.startsWith('{label} '))"
    )
    return str(page.run(script + "?.querySelector('b').textContent"))


def await_row(page: Page, client_id: str) -> None:
    page.wait(f"[...document.querySelectorAll('#clients th button')].some((one) => one.textContent === {client_id!r})")


def test_a_broker_that_is_well(admin: Broker, show: OpenPage) -> None:
    page = show(admin)
    page.wait("document.querySelector('#health').dataset.state === 'well'")
    assert page.text("#health") == "Well"
    assert page.run("document.title") == "swellmq"
    assert "0 of 16 preheated objects are in use, 16 wait." in page.text("#pool-words")
    assert page.text("#clients-count") == "Nobody is connected."
    assert not page.run("document.querySelector('#notice').checkVisibility()")
    assert not page.run("document.querySelector('#alarms').checkVisibility()")


def test_the_page_takes_nothing_from_elsewhere(admin: Broker, show: OpenPage) -> None:
    page = show(admin)
    page.wait("document.querySelector('#health').dataset.state === 'well'")
    hosts = page.run("[...new Set(performance.getEntriesByType('resource').map((one) => new URL(one.name).host))]")
    assert hosts == [f"127.0.0.1:{admin_port(admin)}"]


def test_the_chart_moves_as_clients_come_and_marks_growth(admin: Broker, show: OpenPage, clients: Clients) -> None:
    page = show(admin)
    page.wait("document.querySelector('#chart-pool .line.active')?.getAttribute('d').length > 20")
    before = page.run("document.querySelector('#chart-pool .line.capacity').getAttribute('d')")
    for number in range(14):  # the pool of 16 grows at 12
        clients(admin, 4, f"client-{number}")
    page.wait("document.querySelector('#chart-pool .mark.grew') !== null")
    page.wait("document.querySelector('#chart-pool b').textContent === '14'")
    assert page.run("document.querySelector('#chart-pool .line.capacity').getAttribute('d')") != before
    assert (read(page, "pool", "Capacity"), read(page, "pool", "Idle"), read(page, "pool", "Trigger")) == (
        "24",
        "10",
        "19",
    )
    assert page.text("#chart-pool .step-label") == "16 → 24"
    assert page.text("#steps li span") == "16 → 24"
    assert "14 of 24 preheated objects are in use, 10 wait. It grew once" in page.text("#pool-words")
    assert page.text("#figures .value") == "14"


def test_the_pool_past_its_cap(broker: Start, show: OpenPage, clients: Clients) -> None:
    one = broker(admin="127.0.0.1:0", pool_initial_size=4, pool_max_size=6, alarms_after_s=0)
    page = show(one)
    for number in range(9):
        clients(one, 4, f"client-{number}")
    page.wait("document.querySelector('#chart-pool .fill.overflow') !== null")
    assert "3 more were made on demand" in page.text("#pool-words")
    page.wait("document.querySelectorAll('#alarms li').length > 0")
    assert page.run("document.querySelector('#health').dataset.state") == "warning"
    assert "alarm" in page.run("document.title")
    assert "pool.max_size = 6 is reached, with 9 connections" in page.text("#alarms")


def test_the_chart_is_read_with_the_keyboard(admin: Broker, show: OpenPage) -> None:
    page = show(admin)
    page.wait("document.querySelector('#chart-pool svg').ariaValueNow >= 2")
    page.run("document.querySelector('#chart-pool svg').focus()")
    page.press("ArrowLeft")
    said = page.run("document.querySelector('#chart-pool svg').ariaValueText")
    assert "Active 0" in said and "Capacity 16" in said
    moments = page.run("[...document.querySelectorAll('.moment')].map((one) => one.textContent)")
    assert len(moments) == 6 and len(set(moments)) == 1 and moments[0] in said
    page.press("Escape")
    assert page.run("[...document.querySelectorAll('.moment')].every((one) => one.textContent === '')")


def test_the_charts_in_numbers(admin: Broker, show: OpenPage) -> None:
    page = show(admin)
    page.click("#numbers summary")
    page.wait("document.querySelectorAll('#numbers-table tbody tr').length > 0")
    head = page.run("[...document.querySelectorAll('#numbers-table thead th')].map((one) => one.textContent)")
    assert head[:5] == ["Time", "Capacity", "Active", "Idle", "Overflow"]
    cells = page.run(
        "[...document.querySelectorAll('#numbers-table tbody tr:first-child td')].map((one) => one.textContent)"
    )
    assert cells[:4] == ["16", "0", "16", "0"]


def test_the_pool_is_checked(admin: Broker, show: OpenPage) -> None:
    page = show(admin)
    page.click("#self-check")
    answer = page.wait("document.querySelector('#self-check-answer').textContent.replace('Looking …', '')")
    assert answer == "Sound."
    facts = page.run("[...document.querySelectorAll('#pool-facts div')].map((one) => one.innerText.split('\\n'))")
    assert dict(facts) == {
        "Mode": "dynamic",
        "Starts with": "16",
        "At most": "100,000",
        "Grows by": "3/2",
        "Trigger": "80 %",
        "Shrinks": "no",
    }


def test_search_finds_and_pages_turn(admin: Broker, show: OpenPage, clients: Clients) -> None:
    for number in range(45):
        clients(admin, 4, f"sensor-{number:02}")
    clients(admin, 5, "needle", username="ada")
    page = show(admin)
    await_row(page, "sensor-00")
    everybody: list[str] = []
    for _ in range(3):
        everybody += rows(page)
        if len(everybody) < 46:
            page.click("#clients-next")
            page.wait(f"document.querySelector('#clients-count').textContent.startsWith('{len(everybody) + 1} ')")
    assert everybody == sorted(["needle", *(f"sensor-{number:02}" for number in range(45))])
    assert page.run("document.querySelector('#clients-next').disabled")
    page.fill("#search", "NEED")
    page.wait("document.querySelectorAll('#clients tr').length === 1")
    assert rows(page) == ["needle"]
    assert page.run("[...document.querySelectorAll('#clients td')].slice(0, 3).map((one) => one.textContent)")[::2] == [
        "ada",
        "5.0",
    ]
    page.fill("#search", "nobody")
    page.wait("document.querySelector('#clients-count').textContent === 'Nobody of that name is connected.'")


def test_kick(admin: Broker, show: OpenPage, clients: Clients) -> None:
    stays = clients(admin, 4, "stays")
    goes = clients(admin, 5, "goes")
    page = show(admin)
    await_row(page, "goes")
    page.click("button[aria-label='Kick goes']")
    page.wait("document.querySelector('#kick').open")
    assert page.text("#kick-client") == "goes"
    assert page.run("document.activeElement.id") == "kick-cancel"  # Enter alone does no harm
    page.press("Enter")
    page.wait("!document.querySelector('#kick').open")
    goes.ping()
    page.click("button[aria-label='Kick goes']")
    page.click("#kick .danger")
    page.wait("document.querySelectorAll('#clients tr').length === 1")
    assert rows(page) == ["stays"]
    packet = goes.receive()
    assert packet is not None and packet.reason_code == 0x98  # type: ignore[union-attr]  # DISCONNECT
    assert goes.receive() is None
    stays.ping()


def test_kick_with_session(admin: Broker, show: OpenPage, clients: Clients) -> None:
    clients(admin, 4, "kept", clean=False).subscribe("a/b", 1)
    page = show(admin)
    page.click("button[aria-label='Kick kept']")
    page.click("#kick-session")
    page.click("#kick .danger")
    page.wait("document.querySelectorAll('#clients tr').length === 0")
    assert not clients(admin, 4).connect("kept", clean=False).session_present


def test_a_client_in_full(admin: Broker, show: OpenPage, clients: Clients) -> None:
    clients(admin, 5, "probe", username="ada", keep_alive=60).subscribe("a/+/<b>", 1)
    page = show(admin)
    page.click("#clients th button")
    page.wait("document.querySelectorAll('#client-subscriptions li').length > 0")
    assert page.text("#client-title") == "probe"
    assert page.text("#client-subscriptions") == "a/+/<b> QoS 1"
    facts = page.text("#client-facts").split("\n")
    assert facts[facts.index("Username") + 1] == "ada"
    assert facts[facts.index("Keep alive") + 1] == "1 min"
    page.press("Escape")
    assert not page.run("document.querySelector('#client').open")


def test_a_trace_of_a_client(admin: Broker, show: OpenPage, clients: Clients) -> None:
    client = clients(admin, 5, "traced")
    page = show(admin)
    page.click("#clients th button")
    page.click("#trace-start")
    page.wait("document.querySelector('#trace-state').textContent !== ''")
    client.publish("traced/topic", b"payload")
    client.ping()
    page.wait("document.querySelector('#trace').textContent.includes('traced/topic')")
    page.click("#trace-stop")
    page.wait("document.querySelector('#trace-state').textContent === 'Stopped.'")


def listen(page: Page, topic_filter: str) -> None:
    page.fill("#tail-filter", topic_filter)
    page.click("#tail-start")
    page.wait("document.querySelector('#tail-state').textContent === 'Listening'")


def tail(page: Page) -> list[dict[str, str]]:
    """The messages that are shown."""
    parts = "Object.entries({topic: '.id', payload: '.payload', about: '.aside'})"
    text = "([name, selector]) => [name, one.querySelector(selector).textContent]"
    read = f"(one) => Object.fromEntries({parts}.map({text}))"
    found: list[dict[str, str]] = page.run(f"[...document.querySelectorAll('#tail li:not(.hint)')].map({read})")
    return found


def test_the_tail_shows_messages(admin: Broker, show: OpenPage, clients: Clients) -> None:
    publisher = clients(admin, 4, "publisher")
    publisher.publish("tail/kept", b"old", retain=True)
    publisher.ping()
    page = show(admin)
    listen(page, "tail/#")
    evil = "<img src=x onerror=\"document.title='broken'\">\u202eabc"
    sent = [b"hello", evil.encode(), bytes(range(8)), b"\xff\xfe", b"", b"x" * 5_000, "größer".encode()]
    for number, payload in enumerate(sent):
        publisher.publish(f"tail/{number}", payload)
    page.wait(f"document.querySelectorAll('#tail li').length === {len(sent) + 1}")
    shown = tail(page)
    assert shown[0] == {"topic": "tail/kept", "payload": "old", "about": "retained · 3 B"}
    assert [one["topic"] for one in shown[1:]] == [f"tail/{number}" for number in range(len(sent))]
    payloads = [one["payload"] for one in shown[1:]]
    assert payloads[:5] == ["hello", evil.replace("\u202e", "\\u{202e}"), "00 01 02 03 04 05 06 07", "ff fe", "empty"]
    assert payloads[5] == "x" * 1_000 + " … 5,000 bytes in all"
    assert payloads[6] == "größer"
    assert page.run("document.title") == "swellmq"
    assert page.run("document.querySelectorAll('#tail img').length") == 0


def test_the_tail_is_bounded_and_waits(admin: Broker, show: OpenPage, clients: Clients) -> None:
    publisher = clients(admin, 4, "publisher")
    page = show(admin)
    listen(page, "many/#")
    for number in range(2_000):
        publisher.publish("many/x", b"%d" % number)
    page.wait("document.querySelector('#tail li:last-child .payload')?.textContent === '1999'")
    assert page.run("document.querySelectorAll('#tail li').length") <= 300
    page.click("#tail-pause")
    assert page.run("document.querySelector('#tail-pause').ariaPressed") == "true"
    page.wait("document.querySelector('#tail-rate').textContent === ''")
    for _ in range(3):
        publisher.publish("many/x", b"unseen")
    page.wait("document.querySelector('#tail-rate').textContent !== ''")  # so they have come
    page.click("#tail-pause")
    publisher.publish("many/x", b"seen")
    page.wait("document.querySelector('#tail li:last-child .payload').textContent === 'seen'")
    assert "unseen" not in [one["payload"] for one in tail(page)]
    page.click("#tail-clear")
    assert page.run("document.querySelectorAll('#tail li').length") == 0
    page.click("#tail-start")
    assert page.text("#tail-state") == "Not listening"
    await_true(lambda: admin.statistics()["pool_active"] == 1)


def test_a_filter_that_is_none(admin: Broker, show: OpenPage) -> None:
    page = show(admin)
    page.fill("#tail-filter", "a/#/b")
    page.click("#tail-start")
    page.wait("document.querySelector('#tail-state').textContent.startsWith('Not listening: ')")
    assert page.text("#tail-start") == "Listen"


def test_publish(admin: Broker, show: OpenPage, clients: Clients) -> None:
    subscriber = clients(admin, 4, "subscriber")
    subscriber.subscribe("to/you", 1)
    page = show(admin)
    await_row(page, "subscriber")
    page.click("#publish-box summary")
    page.fill("#publish-topic", "to/you")
    page.fill("#publish-payload", "from the page")
    page.click("#publish-retain")
    page.click("#publish button")
    page.wait("document.querySelector('#publish-answer').textContent.endsWith('to 1 subscription.')")
    packet: Any = subscriber.receive()
    assert (packet.topic_name, packet.payload) == (b"to/you", b"from the page")


def test_the_topic_tree(admin: Broker, show: OpenPage, clients: Clients) -> None:
    publisher = clients(admin, 4, "publisher")
    for topic in ("plant/hall-1/press", "plant/hall-2/press", "home"):
        publisher.publish(topic, b"of " + topic.encode(), retain=True)
    publisher.ping()
    page = show(admin)
    names = "[...document.querySelectorAll('#topics [role=treeitem] .id')].map((one) => one.textContent)"
    page.wait(f"{names}.includes('plant')")
    page.run("document.querySelector('#topics [data-topic=plant]').focus()")
    page.press("ArrowRight")
    page.wait(f"{names}.includes('hall-2')")
    page.press("ArrowRight")
    page.press("ArrowRight")
    page.wait(f"{names}.includes('press')")
    page.press("ArrowDown")
    assert page.run("document.activeElement.dataset.topic") == "plant/hall-1/press"
    page.press("Enter")
    page.wait("document.querySelector('#retained').textContent.includes('of plant/hall-1/press')")
    page.press("l")
    page.wait("document.querySelectorAll('#tail li').length === 1")
    assert tail(page)[0]["topic"] == "plant/hall-1/press"
    page.press("ArrowLeft")
    page.press("ArrowLeft")
    page.press("ArrowLeft")
    page.press("ArrowLeft")
    assert page.run("document.querySelector('#topics [data-topic=plant]').ariaExpanded") == "false"
    assert "plant" in page.run(names) and "hall-1" not in page.run(names)


def test_receipts(admin: Broker, show: OpenPage, clients: Clients) -> None:
    clients(admin, 4, "subscriber").subscribe("a/b")
    page = show(admin)
    page.wait("document.querySelector('#receipts .id')?.textContent === 'subscriber'")
    assert page.text("#receipts-total").startswith("1 take ")


def test_talkers(admin: Broker, show: OpenPage, clients: Clients) -> None:
    subscriber = clients(admin, 4, "subscriber")
    subscriber.subscribe("a/b")
    publisher = clients(admin, 4, "publisher")
    page = show(admin)

    def publish() -> bool:
        publisher.publish("a/b", b"x")
        publisher.ping()
        return page.text("#publishers .id") == "publisher" and page.text("#subscribers .id") == "subscriber"

    await_true(publish)


def test_login(broker: Start, chromium: Chromium) -> None:
    one = broker(admin="127.0.0.1:0", admin_token="a secret of some length")
    with chromium.page(1280, 900) as page:
        page.open(f"http://127.0.0.1:{admin_port(one)}/")
        page.wait("document.querySelector('#login').open")
        assert page.run("document.activeElement.id") == "login-password"
        page.type("wrong")
        page.press("Enter")
        page.wait("document.querySelector('#login-error').textContent !== ''")
        assert page.run("document.querySelector('#health').dataset.state") == "waiting"
        page.fill("#login-password", "a secret of some length")
        page.press("Enter")
        page.wait("document.querySelector('#health').dataset.state === 'well'")
        assert not page.run("document.querySelector('#login').open")
        assert page.run("document.cookie") == ""  # no script can read it
        listen(page, "#")
        page.open(f"http://127.0.0.1:{admin_port(one)}/?again")  # the login lasts
        page.wait("document.querySelector('#health').dataset.state === 'well'")
        page.click("#logout")
        page.wait("document.querySelector('#login')?.open && document.querySelector('#login-password').value === ''")
        assert all("401" in problem for problem in page.problems)


def test_a_restart_is_told(chromium: Chromium, clients: Clients) -> None:
    with chromium.page(1280, 900) as page:
        with Broker(quiet_settings(admin="127.0.0.1:0")) as one:
            port = admin_port(one)
            clients(one, 4, "before")
            page.open(f"http://127.0.0.1:{port}/")
            await_row(page, "before")
            listen(page, "#")
            page.wait("document.querySelector('#about').textContent.endsWith('up 2 s')")
        page.wait("document.querySelector('#notice').textContent.startsWith('No answer from the broker since')")
        assert page.run("document.querySelector('#health').dataset.state") == "lost"
        assert page.run("document.body.classList.contains('stale')")
        with Broker(quiet_settings(admin=f"127.0.0.1:{port}")):
            page.wait("document.querySelector('#notice').textContent.startsWith('The broker was started again')")
            page.wait("document.querySelector('#health').dataset.state === 'well'")
            page.wait("document.querySelector('#tail-state').textContent === 'Listening'")
            page.wait("document.querySelector('#clients th button')?.textContent.startsWith('page-')")
            assert len(rows(page)) == 1
        assert all("ERR_" in problem or "WebSocket" in problem for problem in page.problems)


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_window(admin: Broker, show: OpenPage, clients: Clients, width: int) -> None:
    clients(admin, 4, "a-client-identifier-that-is-much-longer-than-most-of-them-" + "x" * 60)
    clients(admin, 4, "publisher").publish("a-long-topic/" + "level/" * 20, b"y" * 500, retain=True)
    page = show(admin, width)
    page.wait("document.querySelectorAll('#clients tr').length === 2")
    listen(page, "#")
    page.wait("document.querySelectorAll('#tail li').length > 0")
    page.wait("document.querySelectorAll('#topics [role=treeitem]').length > 0")
    assert page.run("document.documentElement.scrollWidth") == width
    buttons = page.run(
        "[...document.querySelectorAll('button, input, select, summary')].filter((one) => one.checkVisibility())"
        ".map((one) => one.getBoundingClientRect()).filter((box) => box.right > innerWidth || box.left < 0).length"
    )
    assert buttons == 0


@pytest.mark.parametrize("width", [400, 1_600])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_no_barriers(broker: Start, show: OpenPage, clients: Clients, axe: str, width: int, dark: bool) -> None:
    """axe-core finds nothing: names, roles, landmarks, contrast of text in both themes; alarms are shown too."""
    admin = broker(admin="127.0.0.1:0", pool_initial_size=4, pool_max_size=6, alarms_after_s=0)
    for number in range(14):
        clients(admin, 4, f"client-{number}")
    clients.made[0].publish("a/b", b"kept", retain=True)
    page = show(admin, width, dark=dark)
    page.wait("document.querySelector('#chart-pool .mark.grew') !== null")
    page.wait("document.querySelectorAll('#alarms li').length > 0")
    listen(page, "#")
    page.wait("document.querySelectorAll('#tail li').length > 0")
    page.run("document.querySelector('#topics [data-topic=a]').focus()")
    page.press("ArrowRight")
    page.wait("document.querySelectorAll('#topics [role=group] [role=treeitem]').length > 0")
    page.run(axe + "; 0")
    for prepare in ("0", "document.querySelector('#clients th button').click()"):
        page.run(prepare)
        found = page.run("axe.run(document, {resultTypes: ['violations']})")["violations"]
        assert [(one["id"], one["nodes"][0]["failureSummary"]) for one in found] == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_what_is_drawn_can_be_seen(admin: Broker, show: OpenPage, dark: bool) -> None:
    """Lines and edges of controls stand out from what is behind them by 3 : 1, WCAG 1.4.11; text by 4.5 : 1."""
    page = show(admin, dark=dark)
    page.wait("document.querySelector('#chart-pool .line.capacity') !== null")
    colours = page.run(
        """(() => {
            const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
            const numbers = (colour) => {
                canvas.fillStyle = colour;
                canvas.fillRect(0, 0, 1, 1);
                return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
            };
            const style = (selector) => getComputedStyle(document.querySelector(selector));
            return {
                card: numbers(style(".card").backgroundColor),
                capacity: numbers(style("#chart-pool .line.capacity").stroke),
                active: numbers(style("#chart-pool .line.active").stroke),
                trigger: numbers(style("#chart-pool .line.trigger").stroke),
                edge: numbers(style("#self-check").borderTopColor),
                text: numbers(style("body").color),
                muted: numbers(style("#pool-words").color),
            };
        })()"""
    )
    card = colours.pop("card")
    assert (luminance(card) < 0.1) == dark
    ratios = {name: contrast(colour, card) for name, colour in colours.items()}
    low = {name: ratio for name, ratio in ratios.items() if ratio < (4.5 if name in ("text", "muted") else 3)}
    assert low == {}


def luminance(colour: list[int]) -> float:
    """Relative luminance as WCAG 2.2 defines it."""
    linear = [part / 255 / 12.92 if part <= 10 else ((part / 255 + 0.055) / 1.055) ** 2.4 for part in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: list[int], other: list[int]) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_the_theme_is_chosen_and_kept(admin: Broker, show: OpenPage) -> None:
    page = show(admin, dark=True)
    page.wait("document.querySelector('#theme').textContent.includes('Auto')")
    dark = page.run("getComputedStyle(document.body).backgroundColor")
    page.click("#theme")
    assert "Light" in page.text("#theme")
    light = page.run("getComputedStyle(document.body).backgroundColor")
    assert light != dark
    page.open(f"http://127.0.0.1:{admin_port(admin)}/?again")
    assert page.run("getComputedStyle(document.body).backgroundColor") == light
    page.click("#theme")
    assert page.run("getComputedStyle(document.body).backgroundColor") == dark


def test_every_control_is_reached_by_tab(admin: Broker, show: OpenPage, clients: Clients) -> None:
    clients(admin, 4, "client")
    page = show(admin)
    await_row(page, "client")
    page.run("document.activeElement.blur()")
    reached: list[str] = []
    for _ in range(60):
        page.press("Tab")
        reached.append(
            page.run(
                "document.activeElement.id || document.activeElement.ariaLabel || document.activeElement.className"
            )
        )
        if "tail-clear" in reached:
            break
    wanted = ["skip", "theme", "search", "Kick client", "tail-filter", "tail-start", "tail-clear"]
    assert [one for one in reached if one in wanted] == wanted


def test_names_that_deceive_are_spelled_out(admin: Broker, show: OpenPage, clients: Clients) -> None:
    clients(admin, 4, "a\u200bb<b>\u202e")
    page = show(admin)
    page.wait("document.querySelectorAll('#clients tr').length === 1")
    assert rows(page) == ["a\\u{200b}b<b>\\u{202e}"]
    page.click("#clients button[aria-label^='Kick']")
    page.click("#kick .danger")
    page.wait("document.querySelectorAll('#clients tr').length === 0")


def test_a_page_that_is_not_seen_asks_nothing(admin: Broker, show: OpenPage) -> None:
    page = show(admin)
    page.wait("document.querySelector('#health').dataset.state === 'well'")
    page.run(
        "window.asked = 0; const original = fetch; window.fetch = (...all) => (window.asked++, original(...all)); 0"
    )
    hide = "Object.defineProperty(document, 'hidden', {value: true, configurable: true})"
    changed = "document.dispatchEvent(new Event('visibilitychange'))"
    look = "document.querySelector('#range [value=\"300\"]').click()"
    assert page.run(f"{hide}, {changed}, window.asked = 0, {look}, window.asked") == 0
    page.run(f"delete document.hidden, {changed}")
    page.wait("window.asked > 0")
