"""The dashboard and the rules: made of metrics that there are."""

from __future__ import annotations

import enum
import importlib.util
import json
import re
import typing
from pathlib import Path
from types import ModuleType, UnionType
from typing import Any

import pytest

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


def read_by_grafana(file: str) -> tuple[list[str], list[str]]:
    """By the types that Grafana publishes: the fields it does not know, and the values that are none of a field's."""
    pytest.importorskip("grafana_foundation_sdk", reason="the extra `test` brings Grafana's types")
    from grafana_foundation_sdk.cog import plugins
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models.dashboard import Dashboard

    plugins.register_default_plugins()  # the options of each kind of panel, and the queries of each data source
    given = json.loads(file)
    read = Dashboard.from_json(given)
    return unknown(given, json.loads(JSONEncoder().encode(read)), ""), misfits_within(read, "")


def unknown(given: Any, kept: Any, path: str) -> list[str]:
    """What is not kept of what was given: Grafana has no such field there."""
    if isinstance(given, dict) and isinstance(kept, dict):
        lost = [f"{path}.{name}" for name in given if name not in kept]
        return lost + [
            found for name in given.keys() & kept for found in unknown(given[name], kept[name], f"{path}.{name}")
        ]
    if isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        pairs = enumerate(zip(given, kept, strict=True))
        return [found for number, (one, other) in pairs for found in unknown(one, other, f"{path}[{number}]")]
    return [] if given == kept else [path]


def misfits(value: Any, hint: Any, path: str) -> list[str]:
    """Where a value, or what is in it, is not what its field is for."""
    kind, arguments = typing.get_origin(hint), typing.get_args(hint)
    if kind in (typing.Union, UnionType):
        found = [misfits(value, one, path) for one in arguments]
        return [] if [] in found else found[0]
    if kind is list and isinstance(value, list):
        return [found for number, one in enumerate(value) for found in misfits(one, arguments[0], f"{path}[{number}]")]
    if kind is typing.Literal:
        return [] if value in arguments else [path]
    if isinstance(hint, enum.EnumType):
        return [] if value in [one.value for one in hint] else [path]
    if hint not in (Any, object) and not isinstance(value, (int, float) if hint is float else kind or hint):
        return [path]
    return misfits_within(value, path)


def misfits_within(value: Any, path: str) -> list[str]:
    if not hasattr(value, "from_json"):
        return []
    hints = typing.get_type_hints(type(value))
    return [found for name, hint in hints.items() for found in misfits(getattr(value, name), hint, f"{path}.{name}")]


def test_grafana_s_own_types_take_the_dashboard() -> None:
    fields, values = read_by_grafana(tool().render())
    # The data source reads the first, the editor of variables the second; the types are not about them.
    assert set(fields) == {".annotations.list[0].titleFormat", ".templating.list[1].definition"}
    assert values == []


@pytest.mark.parametrize(
    ("there", "instead", "field", "value"),
    [
        ('"displayMode": "table"', '"displayMode": "tables"', None, ".options.legend.display_mode"),
        ('"spanNulls": false', '"spansNulls": false', ".fieldConfig.defaults.custom.spansNulls", None),
        ('"graphTooltip": 1', '"graphTooltip": 7', None, ".graph_tooltip"),
        ('"editable": true', '"editable": "yes"', None, ".editable"),
        ('"legendFormat": "clients"', '"legend": "clients"', ".targets[0].legend", None),
    ],
)
def test_what_grafana_would_not_read_is_found(there: str, instead: str, field: str | None, value: str | None) -> None:
    whole = tool().render()
    assert there in whole
    fields, values = read_by_grafana(whole.replace(there, instead))
    assert field is None or any(found.endswith(field) for found in fields), fields
    assert value is None or any(found.endswith(value) for found in values), values


def test_the_rules_use_what_there_is() -> None:
    text = (ROOT / "docs" / "alerts.yml").read_text(encoding="utf-8")
    names = {name for line in re.findall(r"expr: (.*)", text) for name in used(line)}
    assert names
    assert names <= set(series())


def test_each_alarm_is_explained_once() -> None:
    page = (ROOT / "docs" / "METRICS.md").read_text(encoding="utf-8")
    for name in ALARMS:
        assert page.count(f"\n| `{name}` | `") == 1
