"""`swellmq reference` and the page that is made by it."""

from __future__ import annotations

from pathlib import Path

import pytest

from swellmq.cli.main import main
from swellmq.cli.reference import render, render_metrics
from swellmq.options import LISTENER_OPTIONS, OPTIONS

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


def test_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == render(), "run: swellmq reference > docs/settings.md"


def test_every_option_has_a_row() -> None:
    lines = render().splitlines()
    for option in OPTIONS + LISTENER_OPTIONS:
        [row] = [line for line in lines if line.startswith(f"| `{option.name}` | `") and option.meaning in line] or [
            line for line in lines if line.startswith(f"| `{option.name}` |  |") and option.meaning in line
        ]
        assert row.count(" | ") == 4


def test_command_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reference"]) == 0
    assert capsys.readouterr().out == render()


def test_the_page_of_metrics_is_up_to_date() -> None:
    page = PAGE.with_name("METRICS.md").read_text(encoding="utf-8")
    assert page == render_metrics(), "run: swellmq reference metrics > docs/METRICS.md"


def test_the_command_prints_the_metrics_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reference", "metrics"]) == 0
    assert capsys.readouterr().out == render_metrics()
