"""The dashboard and the rules: made of metrics that there are."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

from swellmq.observe.names import ALARMS, COUNTER, HISTOGRAMS, METRICS, OTHERS

ROOT = Path(__file__).parents[2]


def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("grafana", ROOT / "tools" / "grafana.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def series() -> dict[str, str]:
    """The label of each series that Prometheus knows by name; "" where it has none of its own."""
    found = {metric.name + ("_total" if metric.kind == COUNTER else ""): metric.label for metric in METRICS}
    found |= {name + "_bucket": "le" for name in HISTOGRAMS}
    found |= {name + ("_total" if kind == COUNTER else ""): "" for name, (kind, _) in OTHERS.items()}
    return found


def used(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:swellmq|process)_\w+", expression))


def test_the_dashboard_is_up_to_date_and_uses_what_there_is() -> None:
    grafana = tool()
    assert grafana.FILE.read_text(encoding="utf-8") == grafana.render(), "run: python tools/grafana.py"
    known = series()
    for expression in grafana.expressions():
        [by] = re.findall(r"\bby \((\w+)\)", expression) or [""]
        for name in used(expression):
            assert name in known, expression
            assert by in ("", "alarm", known[name]), expression
            assert ("rate(" + name in expression) == name.endswith(("_total", "_bucket")), expression


def test_the_panels_lie_side_by_side() -> None:
    panels = json.loads(tool().render())["panels"]
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells)), "they overlap"
    assert max(x for x, _ in cells) < tool().COLUMNS
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_the_rules_use_what_there_is() -> None:
    text = (ROOT / "docs" / "alerts.yml").read_text(encoding="utf-8")
    names = {name for line in re.findall(r"expr: (.*)", text) for name in used(line)}
    assert names
    assert names <= set(series())


def test_each_alarm_is_explained_once() -> None:
    page = (ROOT / "docs" / "METRICS.md").read_text(encoding="utf-8")
    for name in ALARMS:
        assert page.count(f"\n| `{name}` | `") == 1
