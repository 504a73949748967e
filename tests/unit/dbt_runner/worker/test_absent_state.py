"""Selectors of selectors.yml that compare with a state, with and without one, with real dbt on
DuckDB.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from dbt_protocol.plans import Step
from tests.support.pods import Ended, Pod, profile, step

pytestmark = pytest.mark.dbt
SELECTORS = """
selectors:
  - name: slim
    definition: {method: state, value: modified, children: true}
  - name: rest
    definition: {method: state, value: unmodified}
  - name: nested
    definition:
      union:
        - intersection:
            - {method: state, value: new}
            - {method: fqn, value: first}
        - {method: result, value: error}
        - exclude:
            - {method: fqn, value: third}
            - {method: state, value: old}
            - {method: result, value: success}
  - name: fresher
    definition: {method: source_status, value: fresher, children: true}
  - name: wrong
    definition: {method: state, value: modifed}
"""
FILES = {
    "models/first.sql": "select 1 as id",
    "models/second.sql": "select * from {{ ref('first') }}",
    "models/third.sql": "select 3 as id from {{ source('raw', 'loaded') }}",
    "models/sources.yml": "sources: [{name: raw, schema: main, tables: [{name: loaded}]}]",
    "macros/load.sql": (
        "{% macro load() %}{% do run_query('create table main.loaded as select 1 as id') %}"
        "{% endmacro %}"
    ),
    "selectors.yml": SELECTORS,
}
CHANGED = {**FILES, "models/second.sql": "select id + 1 as id from {{ ref('first') }}"}
LOAD = step("runOperation", "load")


def select(selector: str, *argv: str, **other: Any) -> Step:
    """A step as the operator plans it for a run that may lack a state."""
    words = ["build", "--selector", selector]
    return Step(selector, "build", [*words, *argv], full=words, **other)


def names(ended: Ended, name: str) -> list[str]:
    rows = ended.artifact(f"{name}/run_results.json")["results"]
    return sorted(row["unique_id"].split(".")[2] for row in rows)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    root = tmp_path_factory.mktemp("first")
    pod = Pod(root / "pod", FILES, profile(root / "warehouse.duckdb"))
    return pod.run(
        LOAD,
        select("slim"),
        select("nested", allow_failure=True),
        select("fresher", allow_failure=True),
        select("rest", allow_failure=True),
        select("wrong", allow_failure=True),
    )


def test_everything_is_changed_where_there_is_no_state(first: Ended) -> None:
    assert first.code == 0, first.log
    assert names(first, "slim") == ["first", "second", "third"]
    assert first.step("slim")["left_out"] == 0


def test_dbt_puts_it_together_with_the_rest_of_a_selector(first: Ended) -> None:
    assert names(first, "nested") == ["first", "second"]
    assert names(first, "fresher") == ["first", "second", "third"]
    assert first.step("rest")["reason"] == "NothingSelected"
    assert 'invalid selector "modifed"' in first.step("wrong")["message"]


def test_a_selector_of_everything_is_the_whole_project(first: Ended) -> None:
    assert [first.step(name)["left_out"] for name in ("nested", "fresher")] == [None, 0]
    assert first.summary.whole


def test_with_a_state_the_same_selector_finds_what_has_changed(first: Ended) -> None:
    root = Path(first.layout.root).parent
    pod = Pod(root / "later", CHANGED, profile(root / "warehouse.duckdb"))
    shutil.copytree(first.layout.new_state, pod.layout.state)
    ended = pod.run(select("slim", "--state", str(pod.layout.state), "--defer"), state="states/1")
    assert ended.code == 0, ended.log
    assert names(ended, "slim") == ["second"]
    assert ended.summary.whole


@pytest.mark.parametrize("default", [False, True])
def test_a_run_that_compares_with_nothing_says_what_it_needs(tmp_path: Path, default: bool) -> None:
    """Also where the selector is the one that dbt takes by default."""
    text = (
        SELECTORS.replace("name: slim", "name: slim\n    default: true") if default else SELECTORS
    )
    named = () if default else ("--selector", "slim")
    pod = Pod(tmp_path / "pod", {**FILES, "selectors.yml": text})
    ended = pod.run(LOAD, step("build", *named))
    assert ended.summary.reason == "ConfigError", ended.log
    assert "a selector by state needs spec.state" in ended.summary.message
    assert ended.step("build")["nodes"]["total"] == 0


def test_where_it_would_write_is_validated_by_all_that_may_have_changed(tmp_path: Path) -> None:
    elsewhere = "{{ config(schema='elsewhere') }} select * from {{ source('raw', 'loaded') }}"
    pod = Pod(tmp_path / "pod", {**FILES, "models/third.sql": elsewhere})
    ended = pod.run(LOAD, select("fresher"), schema_pattern="analytics")
    assert ended.summary.reason == "EnvironmentMismatch", ended.log
