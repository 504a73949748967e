"""Selecting by what has become fresher than in the state of an earlier run, with real dbt on
DuckDB.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

from dbt_protocol.plans import Step, Window
from dbt_runner.layout import Layout
from tests.support.pods import Ended, Pod, profile, step

# What dbt makes of sources.json differs from version to version; what a retry keeps of it does not.
pytestmark = pytest.mark.dbt_in_full
SOURCES = """
sources:
  - name: raw
    schema: raw
    config: {loaded_at_field: loaded_at, freshness: {error_after: {count: 1000, period: day}}}
    tables: [{name: old}, {name: new}]
"""
FILES = {
    "models/sources.yml": SOURCES,
    "models/of_old.sql": "select * from {{ source('raw', 'old') }}",
    "models/of_new.sql": "select * from {{ source('raw', 'new') }}",
    "models/after.sql": "select * from {{ ref('of_new') }}",
    "models/late.sql": "select * from {{ source('raw', 'new') }} {{ env_var('AND_MORE', '') }}",
}
BROKEN = {"AND_MORE": ", no_such_table"}
FRESHER = ["build", "--select", "source_status:fresher+"]


class Warehouse:
    """Where the sources are, which are loaded from time to time."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self, table: str, days_ago: int) -> None:
        with duckdb.connect(str(self.path)) as connection:
            connection.sql("create schema if not exists raw")
            loaded_at = f"(now() at time zone 'UTC' - interval {days_ago} day)"
            connection.sql(f"create or replace table raw.{table} as select {loaded_at} loaded_at")


class Runs:
    """Pods on one warehouse, each of which finds what another has left in the bucket."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files = FILES
        self.warehouse = Warehouse(root / "warehouse.duckdb")
        self.count = 0

    def run(self, *steps: Step, state: Ended | None = None, **other: Any) -> Ended:
        pod = self.make_pod(state, other.pop("env", {}))
        return pod.run(*self.compare(steps, pod, state), **self.say(state, other))

    def retry(self, before: Ended, *steps: Step, state: Ended, **other: Any) -> Ended:
        """The attempt after one that has failed: with what the init container restores."""
        pod = self.make_pod(state, {})
        shutil.copytree(before.layout.run, pod.layout.previous)
        for found in before.layout.artifacts.rglob("sources.json"):
            restored = pod.layout.previous / found.relative_to(before.layout.artifacts)
            restored.parent.mkdir(parents=True)
            shutil.copyfile(found, restored)
        return pod.run(
            *self.compare(steps, pod, state), attempt=2, resume=1, **self.say(state, other)
        )

    def make_pod(self, state: Ended | None, env: dict[str, str]) -> Pod:
        self.count += 1
        pod = Pod(self.root / str(self.count), self.files, profile(self.warehouse.path), env)
        if state:
            shutil.copytree(state.layout.new_state, pod.layout.state)
        return pod

    @staticmethod
    def compare(steps: tuple[Step, ...], pod: Pod, state: Ended | None) -> list[Step]:
        if state is None:
            return list(steps)
        # One path in all attempts, as in a pod.
        link = pod.root.parent / "state"
        link.unlink(missing_ok=True)
        link.symlink_to(pod.layout.state)
        return [replace(each, argv=[*each.argv, "--state", str(link)]) for each in steps]

    @staticmethod
    def say(state: Ended | None, other: dict[str, Any]) -> dict[str, Any]:
        return {"state": "states/1", **other} if state else other


FRESHNESS = step("sourceFreshness")
FULL = step("build", name="full")
NEWER = Step("build", "build", FRESHER, full=["build"])


def built(ended: Ended, name: str = "build") -> list[str]:
    rows = ended.artifact(f"{name}/run_results.json")["results"]
    return sorted(row["unique_id"].split(".")[2] for row in rows)


def ages(ended: Ended) -> dict[str, str]:
    """When each source was loaded last, by the state that the run has left."""
    found = json.loads((ended.layout.new_state / "sources.json").read_text())
    return {row["unique_id"]: row["max_loaded_at"] for row in found["results"]}


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """A run that has built everything."""
    runs = Runs(tmp_path_factory.mktemp("full"))
    runs.warehouse.load("old", 3)
    runs.warehouse.load("new", 3)
    ended = runs.run(FRESHNESS, FULL)
    assert ended.code == 0, ended.log
    return ended


@pytest.fixture
def runs(tmp_path: Path, full: Ended) -> Runs:
    """What comes after that."""
    runs = Runs(tmp_path)
    shutil.copyfile(Path(full.layout.root).parent / "warehouse.duckdb", runs.warehouse.path)
    return runs


@pytest.mark.parametrize("isolation", [pytest.param("Fork", marks=pytest.mark.dbt), "Process"])
def test_only_what_depends_on_fresher_sources_is_built(
    runs: Runs, full: Ended, isolation: str
) -> None:
    runs.warehouse.load("new", 1)
    ended = runs.run(FRESHNESS, NEWER, state=full, isolation=isolation)
    assert ended.code == 0, ended.log
    assert built(ended) == ["after", "late", "of_new"]
    assert not (ended.layout.artifacts / "build/sources.json").exists(), "it is another step's"
    again = runs.run(FRESHNESS, replace(NEWER, allow_empty=True), state=ended, isolation=isolation)
    assert (again.code, again.summary.nodes.total - 2) == (0, 0), again.log


def test_a_retry_goes_by_what_the_first_attempt_has_found(runs: Runs, full: Ended) -> None:
    runs.warehouse.load("new", 2)
    first = runs.run(FRESHNESS, NEWER, state=full, env=BROKEN)
    assert first.summary.reason == "ModelError", first.log
    runs.warehouse.load("new", 1)  # of which nothing that is built already can know
    second = runs.retry(first, FRESHNESS, NEWER, state=full)
    assert second.code == 0, second.log
    assert "step sourceFreshness succeeded in attempt 1" in second.log
    assert built(second) == ["late"]
    assert ages(second) == ages(first)
    third = runs.run(FRESHNESS, NEWER, state=second)
    assert built(third) == ["after", "late", "of_new"]


def test_sources_that_may_be_stale_are_not_asked_again_once_their_models_are_built(
    runs: Runs, full: Ended
) -> None:
    runs.warehouse.load("old", 2000)
    runs.warehouse.load("new", 2)
    stale = replace(FRESHNESS, allow_failure=True)
    first = runs.run(stale, NEWER, state=full, env=BROKEN)
    runs.warehouse.load("new", 1)
    second = runs.retry(first, stale, NEWER, state=full)
    assert second.code == 0, second.log
    assert built(second) == ["late"]
    assert ages(second) == ages(first)
    assert "which may fail, failed (FreshnessFailed" in second.summary.message


def test_without_what_was_found_everything_runs_again(runs: Runs, full: Ended) -> None:
    runs.warehouse.load("new", 2)
    first = runs.run(FRESHNESS, NEWER, state=full, env=BROKEN)
    (first.layout.artifacts / "sourceFreshness/sources.json").unlink()
    second = runs.retry(first, FRESHNESS, NEWER, state=full)
    assert "what step sourceFreshness has found (sources.json) is not at hand" in second.log
    assert (second.code, built(second)) == (0, ["after", "late", "of_new"]), second.log


def test_a_window_that_is_continued_goes_by_what_it_had_found(runs: Runs, full: Ended) -> None:
    runs.warehouse.load("new", 2)
    windows = [Window("a", {})]
    first = runs.run(FRESHNESS, NEWER, state=full, windows=windows, env=BROKEN)
    assert first.summary.reason == "ModelError", first.log
    runs.warehouse.load("new", 1)
    second = runs.retry(first, FRESHNESS, NEWER, state=full, windows=windows)
    assert (second.code, built(second, "a/build")) == (0, ["late"]), second.log


@pytest.mark.dbt
def test_a_state_knows_of_no_data_that_came_after_its_models(runs: Runs) -> None:
    ended = runs.run(FULL, FRESHNESS)
    assert ended.code == 0, ended.log
    assert not (ended.layout.new_state / "sources.json").exists()


@pytest.mark.dbt
def test_sources_are_no_fresher_for_a_build_of_what_was_modified(runs: Runs, full: Ended) -> None:
    runs.warehouse.load("new", 1)
    modified = step("build", "--select", "state:modified+", allow_empty=True, full=["build"])
    slim = runs.run(FRESHNESS, modified, state=full)
    assert slim.code == 0, slim.log
    assert ages(slim) == ages(full)
    assert built(runs.run(FRESHNESS, NEWER, state=slim)) == ["after", "late", "of_new"]


def test_a_state_that_knows_of_no_sources_is_none(runs: Runs, full: Ended) -> None:
    whole, full = full, replace(full, layout=Layout(str(runs.root / "full")))
    shutil.copytree(whole.layout.new_state, full.layout.new_state)
    (full.layout.new_state / "sources.json").unlink()
    ended = runs.run(FRESHNESS, NEWER, state=full)
    assert (ended.code, built(ended)) == (0, ["after", "late", "of_new", "of_old"]), ended.log
    required = runs.run(FRESHNESS, NEWER, state=full, state_required=True)
    assert required.summary.reason == "MissingState", required.log
    assert "if a sourceFreshness step comes before what it builds" in required.summary.message


def test_it_takes_a_step_that_asks_for_the_sources(runs: Runs, full: Ended) -> None:
    ended = runs.run(NEWER, state=full)
    assert ended.summary.reason == "ConfigError", ended.log
    assert "what a sourceFreshness step before it has found" in ended.summary.message


def test_where_it_would_write_is_validated_by_all_that_it_may_select(
    runs: Runs, full: Ended
) -> None:
    elsewhere = "{{ config(schema='elsewhere') }} select 1 as id"
    runs.files = {**FILES, "models/other.sql": elsewhere}
    runs.warehouse.load("new", 1)
    wide = runs.run(FRESHNESS, NEWER, state=full, schema_pattern="analytics")
    assert wide.summary.reason == "EnvironmentMismatch", wide.log
    narrow = replace(
        NEWER, argv=[*FRESHER, "--exclude", "other"], full=["build", "--exclude", "other"]
    )
    ended = runs.run(FRESHNESS, narrow, state=full, schema_pattern="analytics")
    assert (ended.code, built(ended)) == (0, ["after", "late", "of_new"]), ended.log


@pytest.mark.dbt
def test_a_selector_of_the_project_goes_by_the_sources_as_well(runs: Runs, full: Ended) -> None:
    """What it may select is asked before the sources are, since another model must not be
    written.
    """
    fresher = "{method: source_status, value: fresher, children: true, exclude: [other]}"
    runs.files = {
        **FILES,
        "models/other.sql": "{{ config(schema='elsewhere') }} select 1 as id",
        "selectors.yml": f"selectors: [{{name: fresher, definition: {fresher}}}]",
    }
    runs.warehouse.load("new", 1)
    argv = ["build", "--selector", "fresher"]
    newer = Step("build", "build", argv, full=argv)
    ended = runs.run(FRESHNESS, newer, state=full, schema_pattern="analytics")
    assert (ended.code, built(ended)) == (0, ["after", "late", "of_new"]), ended.log
    assert ages(ended) == ages(full), "more of them may be built later, never less"
