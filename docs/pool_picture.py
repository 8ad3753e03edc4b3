"""Draws docs/pool.svg: how the pool's capacity follows the connections. Run by `make docs`; needs the extra `tools`."""

from __future__ import annotations

import sys

import matplotlib

from swellmq.net.pool import growth_sequence

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "swellmq"  # the same file at each run
from matplotlib import pyplot  # noqa: E402  # after the choice of its output

INITIAL_SIZE, MAX_SIZE, MAX_CONNECTIONS, THRESHOLD_PERCENT = 1_024, 100_000, 1_000_000, 80


def main(path: str) -> None:
    sizes = growth_sequence(INITIAL_SIZE, MAX_SIZE)
    triggers = [size * THRESHOLD_PERCENT // 100 for size in sizes[:-1]]
    figure, axes = pyplot.subplots(figsize=(8, 4.2))
    connections = [100, *triggers, MAX_CONNECTIONS]
    axes.step(connections, [*sizes, sizes[-1]], where="post", color="#1b6ca8", linewidth=2, label="capacity")
    axes.plot([100, MAX_CONNECTIONS], [100, MAX_CONNECTIONS], color="#444444", linewidth=1, label="active connections")
    axes.fill_between(
        [MAX_SIZE, MAX_CONNECTIONS], [MAX_SIZE, MAX_SIZE], [MAX_SIZE, MAX_CONNECTIONS], color="#e8a33d", alpha=0.35,
        label="overflow (made on demand)",
    )  # fmt: skip
    axes.plot(triggers, sizes[:-1], "o", color="#1b6ca8", markersize=4, label="trigger: 80 % in use")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("connections")
    axes.set_ylabel("connection objects")
    axes.set_title("The pool grows by half whenever four fifths are in use")
    axes.grid(True, which="major", alpha=0.25)
    axes.legend(loc="upper left", frameon=False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main(sys.argv[1])
