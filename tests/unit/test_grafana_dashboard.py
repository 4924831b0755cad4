"""docker/grafana_dashboard.json: it asks for the numbers that there are, and for all of them."""

import ast
import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DASHBOARD = json.loads((ROOT / "docker" / "grafana_dashboard.json").read_text(encoding="utf-8"))


def exported() -> tuple[set[str], set[str]]:
    """(counters, gauges) of stages/cluster/metrics.py, read without Ray."""
    path = ROOT / "nuggets_ray" / "stages" / "cluster" / "metrics.py"
    tables = {
        ast.unparse(node.targets[0]): set(ast.literal_eval(node.value))
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in ("COUNTERS", "GAUGES")
    }
    return tables["COUNTERS"], tables["GAUGES"]


def queries() -> list[str]:
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


def test_every_number_is_shown_and_every_query_has_its_number() -> None:
    counters, gauges = exported()
    asked = {name for query in queries() for name in re.findall(r"\bray_(nuggets_\w+)", query)}
    assert asked == {f"{name}_total" for name in counters} | gauges


def test_counters_are_shown_as_rates_or_increases() -> None:
    for query in queries():
        if "_total" in query:
            assert "rate(" in query or "increase(" in query, query
        assert 'run=~"$run"' in query, query


def test_panels_are_named_and_do_not_overlap() -> None:
    places = set()
    for panel in DASHBOARD["panels"]:
        assert panel["title"] and panel["datasource"]["uid"] == "${datasource}"
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & places and place["x"] + place["w"] <= 24
        places |= cells
