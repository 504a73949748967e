"""Comparing with the state of an earlier run, with real dbt on DuckDB."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.support.pods import PROJECT, Ended, Pod, profile, step

pytestmark = pytest.mark.dbt_in_full
FILES = {
    "models/first.sql": "select 1 as id",
    "models/second.sql": "select * from {{ ref('first') }}",
    "models/third.sql": "select * from {{ ref('second') }}",
}
CHANGED = {**FILES, "models/second.sql": "select id + 1 as id from {{ ref('first') }}"}


def slim(root: Path, files: dict[str, str], full: Ended | None) -> Ended:
    pod = Pod(
        root / "slim",
        files,
        profile(root / "warehouse.duckdb").replace("schema: analytics", "schema: pr_7"),
    )
    if full:
        shutil.copytree(full.layout.new_state, pod.layout.state)
    compared = ["--select", "state:modified+", "--defer", "--state", str(pod.layout.state)]
    return pod.run(step("build", *compared, full=["build"]), state="states/1")


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    root = tmp_path_factory.mktemp("state")
    return Pod(root / "full", FILES, profile(root / "warehouse.duckdb")).run(step("build"))


def built(ended: Ended, name: str = "build") -> list[str]:
    return sorted(
        row["unique_id"].split(".")[2]
        for row in ended.artifact(f"{name}/run_results.json")["results"]
    )


@pytest.mark.dbt
def test_only_what_has_changed_and_what_depends_on_it_is_built_and_the_rest_is_deferred(
    full: Ended,
) -> None:
    root = Path(full.layout.root).parent
    ended = slim(root, CHANGED, full)
    assert ended.code == 0, ended.log
    assert built(ended) == ["second", "third"]
    with duckdb.connect(str(root / "warehouse.duckdb")) as warehouse:
        tables = warehouse.sql(
            "select table_name from information_schema.tables where table_schema = 'pr_7'"
        )
        assert sorted(tables.fetchall()) == [("second",), ("third",)]
        assert warehouse.sql("select id from pr_7.third").fetchall() == [(2,)]


@pytest.mark.dbt
def test_without_the_state_everything_is_built(tmp_path: Path) -> None:
    ended = slim(tmp_path, FILES, None)
    assert ended.code == 0, ended.log
    assert built(ended) == ["first", "second", "third"]


DEFAULT_SELECTOR = (
    "selectors: [{name: usual, default: true, definition: {method: fqn, value: first}}]\n"
)


@pytest.mark.parametrize("isolation", [pytest.param("Fork", marks=pytest.mark.dbt), "Process"])
def test_a_build_that_a_default_selector_narrows_is_not_the_whole_project(
    tmp_path: Path, isolation: str
) -> None:
    pod = Pod(tmp_path / "pod", {**FILES, "selectors.yml": DEFAULT_SELECTOR})
    ended = pod.run(step("build"), isolation=isolation)
    assert (ended.code, built(ended)) == (0, ["first"]), ended.log
    assert not ended.summary.whole
    assert "step build has left out 2 nodes that it was asked for" in ended.summary.message


@pytest.mark.dbt
def test_a_build_of_everything_is_whole(full: Ended) -> None:
    assert full.summary.whole
    assert full.step("build")["left_out"] == 0


@pytest.mark.dbt
def test_a_default_selector_of_everything_narrows_nothing(tmp_path: Path) -> None:
    selector = DEFAULT_SELECTOR.replace("value: first", "value: '*'")
    ended = Pod(tmp_path / "pod", {**FILES, "selectors.yml": selector}).run(step("build"))
    assert (ended.code, ended.summary.whole) == (0, True), ended.log


TEST = {
    "models/schema.yml": "models: [{name: second, columns: [{name: id, data_tests: [not_null]}]}]\n"
}


@pytest.mark.dbt
@pytest.mark.parametrize("selection", ["empty", "cautious"])
def test_an_indirect_selection_of_the_project_keeps_no_test_from_whole_builds(
    tmp_path: Path, selection: str
) -> None:
    project = {"dbt_project.yml": f"{PROJECT}\nflags: {{indirect_selection: {selection}}}\n"}
    files = {**FILES, **TEST, **project}
    before = Pod(tmp_path / "full", files, profile(tmp_path / "warehouse.duckdb")).run(
        step("build")
    )
    assert (before.code, len(built(before)), before.summary.whole) == (0, 4, True), before.log
    ended = slim(tmp_path, {**CHANGED, **TEST, **project}, before)
    assert (ended.code, len(built(ended)), ended.summary.whole) == (0, 3, True), ended.log


@pytest.mark.dbt
def test_a_build_that_may_fail_or_a_selection_by_name_proves_nothing(tmp_path: Path) -> None:
    files = {**FILES, "selectors.yml": DEFAULT_SELECTOR.replace("default: true", "default: false")}
    ended = Pod(tmp_path / "pod", files).run(
        step("run"),
        step("build", name="may", allow_failure=True),
        step("build", "--selector", "usual", name="named"),
    )
    assert (ended.code, ended.summary.whole) == (0, False), ended.log
    assert [each["left_out"] for each in ended.result["steps"]] == [None, 0, None]


def names(state: Any) -> list[str]:
    return sorted(path.name for path in state.iterdir())


@pytest.mark.dbt
def test_the_state_of_a_run_holds_what_selectors_read(full: Ended) -> None:
    assert names(full.layout.new_state) == ["contents.json", "manifest.json", "run_results.json"]


WORDS = {
    "models/user_passwords.sql": (
        "{{ config(materialized='table') }} select 1 as id, 'x' as password_hash"
    ),
    "models/resets.sql": "{{ config(materialized='table') }}"
    " select id, password from (select *, 'y' as password from {{ ref('user_passwords') }})",
    "models/schema.yml": """
models:
  - name: user_passwords
    description: Where a password is kept
    config: {contract: {enforced: true}, persist_docs: {relation: true, columns: true}}
    columns:
      - {name: id, data_type: integer}
      - {name: password_hash, data_type: varchar, description: of the password, data_tests: [not_null]}
""",
}
NOT_NULL = "not_null_user_passwords_password_hash"
# The password stands in the profile, or is asked for by it, or by the project as well.
WORD_SECRETS = {
    "literal": ("password", {}),
    "variable": ("\"{{ env_var('PGPASSWORD') }}\"", {}),
    "asked": (
        "\"{{ env_var('PGPASSWORD') }}\"",
        {
            "macros/grant.sql": (
                "{% macro grant() %}password '{{ env_var('PGPASSWORD') }}'{% endmacro %}"
            )
        },
    ),
}


@pytest.mark.parametrize(
    # The last holds both of the others, as far as dbt has a part in them.
    "case",
    ["literal", "variable", pytest.param("asked", marks=pytest.mark.dbt)],
)
def test_names_with_a_password_in_them_are_found_again(tmp_path: Path, case: str) -> None:
    credential, more = WORD_SECRETS[case]
    profiles = profile(tmp_path / "warehouse.duckdb", credential)
    env = {"PGPASSWORD": "password"}
    files = {**WORDS, **more}
    full = Pod(tmp_path / "full", files, profiles, env).run(step("build"))
    assert full.code == 0, full.log
    state = full.layout.new_state
    rows = json.loads((state / "run_results.json").read_text())["results"]
    models = ["model.shop.resets", "model.shop.user_passwords"]
    assert sorted(row["unique_id"] for row in rows)[:2] == models
    assert [
        row["unique_id"].split(".")[2] for row in rows if row["unique_id"].startswith("test.")
    ] == [NOT_NULL]

    def compared(root: str, schema: str, **selected: str) -> Ended:
        pod = Pod(
            tmp_path / root, files, profiles.replace("schema: analytics", f"schema: {schema}"), env
        )
        shutil.copytree(state, pod.layout.state)
        deferring = ["--defer", "--state", str(pod.layout.state)]
        steps = [
            step("build", "--select", words, *deferring, name=name, allow_empty=True)
            for name, words in selected.items()
        ]
        return pod.run(*steps, state="states/1")

    unchanged = compared("slim", "analytics", modified="state:modified+", done="result:success")
    assert unchanged.code == 0, unchanged.log
    assert unchanged.step("modified")["nodes"]["total"] == 0
    assert built(unchanged, "done") == [NOT_NULL, "resets", "user_passwords"]
    deferred = compared("defer", "pr_7", build="resets")
    assert deferred.code == 0, deferred.log
    assert built(deferred) == ["resets"]


def test_a_state_without_the_names_of_its_relations_is_none(tmp_path: Path) -> None:
    """Where the schema has the value of a password, which the state must not hold."""
    database = tmp_path / "warehouse.duckdb"
    profiles = profile(database, "\"{{ env_var('TOKEN') }}\"").replace(
        "schema: analytics", "schema: \"{{ env_var('SCHEMA') }}\""
    )
    word = "warehouse_word"
    pod = Pod(tmp_path / "pod", FILES, profiles, {"TOKEN": word, "SCHEMA": word})
    ended = pod.run(step("build"))
    assert ended.code == 0, ended.log
    assert (ended.summary.leaves_state, ended.summary.whole) == (False, True)
    assert "the secret is too common a word" in ended.summary.message
    assert built(ended) == ["first", "second", "third"]
    assert not pod.layout.new_state.exists() or not list(pod.layout.new_state.iterdir())
    assert word not in (ended.layout.artifacts / "build/manifest.json").read_text()
