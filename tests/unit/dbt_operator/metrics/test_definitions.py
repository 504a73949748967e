"""The list of the metrics: what is exported, what is on the page, and what may be a label."""

from __future__ import annotations

import pytest

from dbt_operator.metrics.definitions import DEFINITIONS, Definition
from tests.support.metrics_pages import Shown, show_everything
from tests.support.pages import check_part
from tests.support.places import ROOT

PAGE = ROOT / "docs" / "metrics.md"
HEADER = ("| metric | type | labels | meaning |", "| --- | --- | --- | --- |")
# Each has few values, or one for each object that somebody keeps.
LABELS = {
    "namespace", "project", "target", "schedule", "reason", "phase", "status", "state", "channel",
    "result", "kind", "verb", "code", "resource",
}  # fmt: skip


def rows(definitions: list[Definition]) -> list[str]:
    return [
        f"| `{each.name}` | {each.type} | {', '.join(each.labels)} | {each.meaning} |"
        for each in definitions
    ]


def test_the_page_lists_every_metric() -> None:
    parts: dict[str, list[Definition]] = {"counted": [], "objects": [], "process": []}
    for each in DEFINITIONS:
        counts = each.type != "gauge"
        parts["objects" if each.only_leader else "counted" if counts else "process"].append(each)
    for part, found in parts.items():
        check_part(PAGE, part, rows(found), HEADER)


def test_each_is_exported_as_it_is_defined_and_nothing_else() -> None:
    found = show_everything().families()
    assert set(found) == {each.name for each in DEFINITIONS}
    for each in DEFINITIONS:
        family = found[each.name]
        assert (family.type, family.documentation) == (each.type, each.meaning)
        assert family.samples, f"{each.name} has no series"
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(each.labels)


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda each: each.name)
def test_a_name_says_what_it_is(definition: Definition) -> None:
    assert definition.name.startswith("dbt_operator_")
    assert definition.name.endswith("_total") == (definition.type == "counter")
    assert definition.name.endswith("_seconds") or definition.type != "histogram"
    assert bool(definition.buckets) == (definition.type == "histogram")
    assert set(definition.labels) <= LABELS


def test_who_stands_by_says_nothing_of_objects() -> None:
    shown = show_everything()
    shown.leads = False
    of_objects = {each.name for each in DEFINITIONS if each.only_leader}
    assert of_objects & set(shown.families()) == set()
    assert shown.series("leader") == {"": 0}
    assert shown.series("watch_age_seconds") == {"dbtruns": 12}


def test_who_has_just_begun_says_nothing_of_objects_until_all_are_known() -> None:
    shown = show_everything()
    shown.knows_all = False
    assert "dbt_operator_target_queued" not in shown.families()
    assert shown.series("leader") == {"": 1}


def test_each_operator_has_metrics_of_its_own() -> None:
    show_everything()
    assert "dbt_operator_api_requests_total" in Shown().families()
    assert Shown().series("api_requests_total") == {}
