"""What `swellmq top` shows: a snapshot of a broker made into lines of a terminal. No input, no clock, no network."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from swellmq.cli.top import SORTS
from swellmq.errors import printable

Snapshot = dict[str, Any]

WIDTH_MIN: Final = 60  # a narrower terminal shows the left part of this
CLIENTS_MIN: Final = 3  # rows of the clients' table, whatever else there is to show
SPARKS: Final = "▁▂▃▄▅▆▇█"
FULL, IDLE, OVER, TRIGGER = "█", "░", "▓", "|"
SPARKS_FROM: Final = 58  # columns: the charts of both rates begin at the same one


def render(snapshot: Snapshot, width: int, height: int, sort: str, search: str, notice: str = "") -> list[Text]:
    """The screen: at most `height` lines of `width` columns; the table of clients gets what the rest leaves."""
    columns, width = width, max(width, WIDTH_MIN)
    lines = [head(snapshot, width), *pool(snapshot, width), *rates(snapshot, width), health(snapshot)]
    lines.extend(alarms(snapshot))
    room = height - len(lines) - CLIENTS_MIN - 2  # a title, and the line at the bottom
    for block in (talkers(snapshot, width), receipts(snapshot, width)):
        if block and len(block) <= room:
            lines.extend(block)
            room -= len(block)
    left = height - len(lines) - 1
    lines.extend(clients(snapshot, width, left, sort, search))
    return [cut(line, columns) for line in (*lines[: height - 1], bottom(sort, search, notice))]


def head(snapshot: Snapshot, width: int) -> Text:
    overview = snapshot["overview"]
    text = Text()
    text.append(f"{overview['name']} {overview['version']}", "bold")
    text.append(f" {overview['build']}, up {duration(overview['uptime_s'])}, at {snapshot['place']}")
    return fitted(text, width, snapshot["at"])


def pool(snapshot: Snapshot, width: int) -> list[Text]:
    """The bar is the capacity: objects in use, idle ones, and a mark where it grows; beyond it the overflow."""
    now = snapshot["overview"]["connections"]
    settings = snapshot["pool"]["settings"]
    capacity, active, overflow = now["capacity"], now["active"], now["overflow"]
    used = max(0, active - overflow)
    trigger = trigger_of(capacity, settings)
    # Connections beyond the pool are as long in the bar as objects in it are.
    whole = max(1, capacity + overflow)
    room = width - 8
    taken = cells(used, whole, room)
    inside = max(taken, cells(capacity, whole, room))
    bar = Text()
    bar.append(FULL * taken, "green" if not trigger or active < trigger else "yellow")
    bar.append(IDLE * (inside - taken), "dim")
    bar.append(OVER * (room - inside), "red")
    if trigger:
        at = min(room - 1, cells(trigger, whole, room))
        bar = Text.assemble(bar[:at], (TRIGGER, "bold"), bar[at + 1 :])
    text = Text.assemble(("pool  ", "bold"), "[", bar, "]")
    percent = f"{used * 100 // capacity} %" if capacity else "no pool"
    facts = Text(f"      {used:,} of {capacity:,} in use ({percent}), {now['idle']:,} idle")
    facts.append(f", {overflow:,} beyond the pool", "red" if overflow else "")
    if trigger and capacity < now["max_size"]:
        facts.append(f"; grows at {trigger:,}, up to {now['max_size']:,}")
    elif settings["mode"] == "dynamic":
        facts.append("; has its full size")
    return [text, facts]


def trigger_of(capacity: int, settings: Snapshot) -> int:
    """At how many connections the pool grows; 0 where it never does."""
    if settings["mode"] != "dynamic" or capacity >= settings["max_size"]:
        return 0
    return capacity * int(settings["threshold_percent"]) // 100


def rates(snapshot: Snapshot, width: int) -> list[Text]:
    rate = snapshot["overview"].get("rates")
    if not rate:
        return []
    beside = (f"{rate['connects']:,} connects/s", f"{snapshot['overview']['connections']['connected']:,} clients")
    lines = []
    for index, (name, way) in enumerate((("in", "received"), ("out", "sent"))):
        text = Text(f"{name:<6}", "bold")
        figures = f"{rate['publishes_' + way]:>11,} messages/s {size_text(rate['bytes_' + way]) + '/s':>12}"
        text.append(f"{figures}  {beside[index]}".ljust(SPARKS_FROM - 6), "none")
        past = column(snapshot, "publishes_" + way)
        room = width - SPARKS_FROM - 1
        if past and room > 0:
            text.append(" " + sparks(past[-room:]), "cyan")
        lines.append(text)
    return lines


def health(snapshot: Snapshot) -> Text:
    overview = snapshot["overview"]
    turn, memory = overview["turn"], overview["memory"]
    text = Text("turn  ", "bold")
    if "p50_us" in turn:
        text.append(f"half {micros(turn['p50_us'])}, 99 % {micros(turn['p99_us'])}, ")
    text.append(f"longest lately {micros(turn['recent_us'])}", "red" if turn["recent_us"] > 100_000 else "")
    text.append("   memory ", "bold")
    text.append(size_text(memory["resident_bytes"]))
    if memory["budget_bytes"]:
        text.append(f" of {size_text(memory['budget_bytes'])}")
    return text


def alarms(snapshot: Snapshot) -> list[Text]:
    raised = snapshot["overview"].get("alarms")
    if raised is None:
        return []
    if not raised:
        return [Text.assemble(("well  ", "bold"), ("no alarm", "green"))]
    return [
        Text.assemble(("ALARM ", "bold red"), (printable(f"{alarm['name']}: {alarm['text']}"), "red"))
        for alarm in raised[:3]
    ]


def talkers(snapshot: Snapshot, width: int) -> list[Text]:
    """Who sends and who gets most, side by side."""
    found = snapshot["talkers"]
    if not found or not (found["publishers"] or found["subscribers"]):
        return []
    half = (width - 2) // 2
    lines = [title("SEND MOST", half, "messages/s") + Text("  ") + title("GET MOST", half, "messages/s")]
    for index in range(max(len(found["publishers"]), len(found["subscribers"]))):
        sides = [talker(found[kind], index, half) for kind in ("publishers", "subscribers")]
        lines.append(sides[0] + Text("  ") + sides[1])
    return lines


def talker(some: list[Snapshot], index: int, width: int) -> Text:
    if index >= len(some):
        return Text(" " * width)
    figure = f"{some[index]['messages_per_s']:,.0f}"
    return Text(padded(some[index]["client_id"], figure, width))


def receipts(snapshot: Snapshot, width: int) -> list[Text]:
    """What costs most memory: a line for each kind, with the largest of it."""
    report = snapshot["receipts"]
    if not report or not any(kind["count"] for kind in report["kinds"]):
        return []
    lines = [title("COST", width, "")]
    for kind in report["kinds"]:
        text = Text(f"{kind['kind']:<9}")
        text.append(f"{kind['count']:>10,} {size_text(kind['total_bytes']):>9}  ")
        largest = [f"{printable(item['name'])} {size_text(item['bytes'])}" for item in kind["items"]]
        text.append(", ".join(largest), "dim")
        lines.append(text)
    return lines


def clients(snapshot: Snapshot, width: int, height: int, sort: str, search: str) -> list[Text]:
    """The table of clients, its title included."""
    items = sorted(snapshot["clients"]["items"], key=KEYS[sort])
    has_bytes = any(item.get("bytes") is not None for item in items)
    name_width = max(12, width - (62 if has_bytes else 53))
    right = f"{'from':<16}{'MQTT':>5}{'subs':>6}{'queued':>7}{'inflight':>9}{'for':>9}" + (
        f"{'memory':>9}" if has_bytes else ""
    )
    shown = f"CLIENTS{f' with {search!r}' if search else ''}, by {sort}"
    if snapshot["clients"]["next"] is not None:
        shown += f" (of the first {len(items):,})"
    lines = [Text(f"{fill(shown, name_width)} {right}", "bold reverse")]
    now = datetime.fromisoformat(snapshot["now"])
    for item in items[: max(0, height - 1)]:
        lasted = (now - datetime.fromisoformat(item["connected_at"])).total_seconds()
        text = Text(f"{fill(item['client_id'], name_width)} {fill(item['address'] or '-', 15)} ")
        text.append(f"{item['protocol_version']:>5}{item['subscriptions']:>6}")
        text.append(f"{item['queued']:>7}", "yellow" if item["queued"] else "")
        text.append(f"{item['inflight']:>9}{duration(max(0, int(lasted)), short=True):>9}")
        if has_bytes:
            text.append(f"{size_text(item.get('bytes') or 0):>9}")
        lines.append(text)
    if not items:
        lines.append(Text("no client" + (" like that" if search else ""), "dim"))
    return lines


KEYS: Final[dict[str, Callable[[Snapshot], Any]]] = {
    "bytes": lambda item: (-(item.get("bytes") or 0), item["client_id"]),
    "queued": lambda item: (-item["queued"], item["client_id"]),
    "inflight": lambda item: (-item["inflight"], item["client_id"]),
    "subscriptions": lambda item: (-item["subscriptions"], item["client_id"]),
    "newest": lambda item: (-datetime.fromisoformat(item["connected_at"]).timestamp(), item["client_id"]),
    "name": lambda item: item["client_id"],
}


def bottom(sort: str, search: str, notice: str) -> Text:
    if notice:
        return Text(notice, "yellow")
    following = SORTS[(SORTS.index(sort) + 1) % len(SORTS)]
    return Text(f"q quit   s sort by {following}   / search" + (f" (now {search!r})" if search else ""), "dim")


# Pieces


def column(snapshot: Snapshot, name: str) -> list[int]:
    """One column of the history, the oldest first."""
    history = snapshot["history"]
    if not history or name not in history["columns"]:
        return []
    index = history["columns"].index(name)
    return [row[index] for row in history["rows"]]


def sparks(values: list[int]) -> str:
    """A little chart of one line."""
    most = max(values, default=0)
    if not most:
        return SPARKS[0] * len(values)
    return "".join(SPARKS[min(7, value * 8 // (most + 1))] for value in values)


def cells(part: int, whole: int, room: int) -> int:
    """How many of `room` cells a part of the whole fills."""
    return min(room, round(part * room / whole))


def title(text: str, width: int, right: str) -> Text:
    return Text(padded(text, right, width), "bold reverse")


def padded(left: str, right: str, width: int) -> str:
    """`left` and `right` at the two ends."""
    return f"{fill(left, max(1, width - len(right) - 1))} {right}"


def fitted(text: Text, width: int, right: str) -> Text:
    text = cut(text, width - len(right) - 1)
    text.append(" " * (width - text.cell_len - len(right)) + right)
    return text


def cut(text: Text, width: int) -> Text:
    text.truncate(width, overflow="ellipsis")
    return text


def fill(text: str, width: int) -> str:
    """A name in exactly so many columns; it may hold characters that take two."""
    text = printable(text)
    return set_cell_size(text, width) if cell_len(text) <= width else set_cell_size(text, width - 1) + "…"


def size_text(size: float) -> str:
    """A number of bytes, `12.3 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1_000:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1_000
    return f"{size:.1f} TB"


def micros(microseconds: int) -> str:
    return f"{microseconds} us" if microseconds < 1_000 else f"{microseconds / 1_000:.1f} ms"


def duration(seconds: int, short: bool = False) -> str:
    """How long, to two units; `short` is for a column."""
    minutes, hours, days = seconds // 60, seconds // 3_600, seconds // 86_400
    if seconds < 60:
        words = [f"{seconds} s"]
    elif minutes < 60:
        words = [f"{minutes} min", f"{seconds % 60} s"]
    elif hours < 24:
        words = [f"{hours} h", f"{minutes % 60} min"]
    else:
        words = [f"{days} d", f"{hours % 24} h"]
    return words[0] if short else " ".join(words)
