"""The dashboard: its queries can be parsed, and ask for what exists."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

from dbt_operator.metrics.definitions import DEFINITIONS
from tests.support.metrics_pages import read_dashboard

NAME = re.compile(r"\bdbt_operator_\w+")
SELECTOR = re.compile(r"(dbt_operator_\w+)\{([^}]*)\}")
GROUPS = re.compile(r"\b(?:by|on) \(([^)]*)\)")
PARTS_OF_HISTOGRAMS = ("_bucket", "_count", "_sum")
TARGET_LABELS = {"instance"}  # of what Prometheus scrapes
VARIABLES = {"$namespace", "$target", "$schedule"}

METRICS = {each.name: each for each in DEFINITIONS}
DASHBOARD = read_dashboard()
PANELS: list[dict[str, Any]] = [each for each in DASHBOARD["panels"] if each["type"] != "row"]
QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]]
VARIABLE_QUERIES = [
    each["query"]["query"] for each in DASHBOARD["templating"]["list"] if each["type"] == "query"
]


def metric_of(name: str) -> str:
    """The metric that a series is of."""
    for part in PARTS_OF_HISTOGRAMS:
        whole = name.removesuffix(part)
        if whole in METRICS and METRICS[whole].type == "histogram":
            return whole
    return name


def test_prometheus_can_parse_every_query(tmp_path: Path) -> None:
    rules = [{"record": f"panel:{place}", "expr": query} for place, query in enumerate(QUERIES)]
    text = yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]})
    for variable in VARIABLES:
        text = text.replace(variable, ".*")
    assert "$" not in text
    (tmp_path / "rules.yaml").write_text(text)
    done = subprocess.run(
        ["promtool", "check", "rules", "rules.yaml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(QUERIES)} rules found" in done.stdout


def test_queries_ask_for_series_that_exist_by_labels_that_they_have() -> None:
    for query in (*QUERIES, *VARIABLE_QUERIES):
        names = {metric_of(name) for name in NAME.findall(query)}
        assert names
        assert names <= METRICS.keys(), query
        known = {"le", *TARGET_LABELS, *(label for name in names for label in METRICS[name].labels)}
        grouped = {each.strip() for found in GROUPS.findall(query) for each in found.split(",")}
        assert grouped <= known, query
        for name, selector in SELECTOR.findall(query):
            wanted = {each.partition("=")[0] for each in selector.split(",")}
            assert wanted <= set(METRICS[metric_of(name)].labels), query


def test_legends_name_labels_that_the_queries_leave() -> None:
    for panel in PANELS:
        for target in panel["targets"]:
            shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            grouped = ",".join(GROUPS.findall(target["expr"]))
            assert shown <= {each.strip() for each in grouped.split(",")}, target["expr"]


def test_every_metric_is_on_it() -> None:
    shown = {metric_of(name) for query in QUERIES for name in NAME.findall(query)}
    assert METRICS.keys() - shown == set()


def test_panels_have_places_of_their_own_and_say_what_they_show() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        place = panel["gridPos"]
        cells = {
            (place["x"] + across, place["y"] + down)
            for across in range(place["w"])
            for down in range(place["h"])
        }
        assert taken.isdisjoint(cells), panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
        assert panel["description"]
    ids = [each["id"] for each in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
