"""Charts as PNG or SVG files, by matplotlib, which is imported only when one is drawn."""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path
from typing import Any, Final

from swellmq.bench.report import target

COLOURS: Final = ("#1b6ca8", "#e8a33d", "#7a9e3f", "#a23b72", "#555555")
GREY: Final = "#999999"
FORMATS: Final = (".png", ".svg")


def path(text: str) -> Path:
    """The argument of `--chart`. It is refused at once where nothing can be drawn: a run takes minutes."""
    if Path(text).suffix not in FORMATS:
        raise argparse.ArgumentTypeError(f"{text!r} must end in {' or '.join(FORMATS)}")
    if importlib.util.find_spec("matplotlib") is None:
        raise argparse.ArgumentTypeError("a chart needs matplotlib: pip install 'swellmq[tools]'")
    return target(text)


def figure(panels: int = 1, height: float = 4.0) -> tuple[Any, list[Any]]:
    """A figure of so many panels below each other, and its axes."""
    import matplotlib

    matplotlib.use("agg")
    matplotlib.rcParams.update({"svg.hashsalt": "swellmq", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3})
    from matplotlib import pyplot

    drawn, axes = pyplot.subplots(panels, 1, figsize=(8, height * panels), squeeze=False)
    return drawn, [row[0] for row in axes]


def save(drawn: Any, target: Path) -> None:
    """Write a figure; the same figures give the same file."""
    drawn.tight_layout()
    drawn.savefig(target, dpi=110, metadata={"Date": None} if target.suffix == ".svg" else {"Software": None})


def draw_pool(target: Path, results: list[dict[str, Any]]) -> None:
    """`bench pool`: resident memory by connections for each run; below it the pool, where it is one run."""
    pooled = [result for result in results if "capacity" in result["rows"][0]] if len(results) == 1 else []
    drawn, axes = figure(2 if pooled else 1, 3.6)
    for result, colour in zip(results, COLOURS, strict=False):
        reached = [row["connections"] for row in result["rows"]]
        resident = [row["resident_bytes"] / 1e6 for row in result["rows"]]
        axes[0].plot(reached, resident, marker="o", markersize=3, color=colour, label=result["title"])
        gone = result["after"][-1]["resident_bytes"] / 1e6
        axes[0].plot([0], [gone], marker="x", color=colour, linestyle="", label=f"{result['title']}, all gone again")
    axes[0].set_ylabel("resident memory, MB")
    axes[0].set_ylim(bottom=0)
    axes[0].legend()
    if pooled:
        rows = pooled[0]["rows"]
        reached = [row["connections"] for row in rows]
        axes[1].step(reached, [row["capacity"] for row in rows], where="post", color=COLOURS[0], label="capacity")
        for name, colour in (("idle", COLOURS[2]), ("overflow", COLOURS[1])):
            axes[1].plot(reached, [row[name] for row in rows], color=colour, label=name)
        axes[1].plot(reached, reached, color=GREY, linestyle="--", label="active")
        axes[1].set_ylabel("connection objects")
        axes[1].legend()
    for each in axes:
        each.xaxis.set_major_formatter("{x:,.0f}")
        each.yaxis.set_major_formatter("{x:,.0f}")
    axes[-1].set_xlabel("connections")
    save(drawn, target)


def draw_storm(target: Path, results: list[dict[str, Any]]) -> None:
    """`bench storm`: resident memory at each pace and, below, while all clients are cut and come back."""
    drawn, axes = figure(2, 3.0)
    width = 0.8 / len(results)
    for index, (result, colour) in enumerate(zip(results, COLOURS, strict=False)):
        places = [number + index * width for number in range(len(result["paces"]))]
        axes[0].bar(
            places,
            [pace["resident_bytes"] / 1e6 for pace in result["paces"]],
            width,
            color=colour,
            label=result["broker"],
        )
        memory = [result["paces"][-1]["start_bytes"], result["paces"][-1]["resident_bytes"]]
        names = ["start", "all there"]
        for cycle in result["cycles"]:
            memory += [cycle["gone_bytes"], cycle["resident_bytes"]]
            names += ["all cut", "all back"]
        axes[1].plot(range(len(memory)), [each / 1e6 for each in memory], marker="o", color=colour)
        axes[1].set_xticks(range(len(memory)), names)
    middle = width * (len(results) - 1) / 2
    paces = [pace["pace"] for pace in results[0]["paces"]]
    axes[0].set_xticks([number + middle for number in range(len(paces))], paces)
    axes[0].set_title(f"{results[0]['clients']:,} clients, arrived at this pace")
    for each in axes:
        each.set_ylabel("resident memory, MB")
        each.set_ylim(bottom=0)
    axes[0].legend(loc="lower right")
    save(drawn, target)
