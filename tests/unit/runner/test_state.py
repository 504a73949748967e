"""Comparing with the state of an earlier run, with real dbt on DuckDB."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import duckdb
import pytest

from .pods import Ended, Pod, profile, step

pytestmark = pytest.mark.dbt
FILES = {
    "models/first.sql": "select 1 as id",
    "models/second.sql": "select * from {{ ref('first') }}",
    "models/third.sql": "select * from {{ ref('second') }}",
}
CHANGED = {**FILES, "models/second.sql": "select id + 1 as id from {{ ref('first') }}"}


def slim(root: Path, files: dict[str, str], full: Ended | None) -> Ended:
    pod = Pod(root / "slim", files, profile(root / "warehouse.duckdb").replace("schema: analytics", "schema: pr_7"))
    if full:
        shutil.copytree(full.layout.new_state, pod.layout.state)
    compared = ["--select", "state:modified+", "--defer", "--state", str(pod.layout.state)]
    return pod.run(step("build", *compared, full=["build"]), state="states/1")


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    root = tmp_path_factory.mktemp("state")
    return Pod(root / "full", FILES, profile(root / "warehouse.duckdb")).run(step("build"))


def built(ended: Ended) -> list[str]:
    return sorted(row["unique_id"].split(".")[2] for row in ended.artifact("build/run_results.json")["results"])


def test_only_what_has_changed_and_what_depends_on_it_is_built_and_the_rest_is_deferred(full: Ended) -> None:
    root = Path(full.layout.root).parent
    ended = slim(root, CHANGED, full)
    assert ended.code == 0, ended.log
    assert built(ended) == ["second", "third"]
    with duckdb.connect(str(root / "warehouse.duckdb")) as warehouse:
        tables = warehouse.sql("select table_name from information_schema.tables where table_schema = 'pr_7'")
        assert sorted(tables.fetchall()) == [("second",), ("third",)]
        assert warehouse.sql("select id from pr_7.third").fetchall() == [(2,)]


def test_without_the_state_everything_is_built(tmp_path: Path) -> None:
    ended = slim(tmp_path, FILES, None)
    assert ended.code == 0, ended.log
    assert built(ended) == ["first", "second", "third"]


def names(state: Any) -> list[str]:
    return sorted(path.name for path in state.iterdir())


def test_the_state_of_a_run_holds_what_selectors_read(full: Ended) -> None:
    assert names(full.layout.new_state) == ["manifest.json", "run_results.json"]
