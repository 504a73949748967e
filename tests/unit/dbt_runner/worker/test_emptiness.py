"""Selections that name nothing, where warnings are errors, with real dbt on DuckDB."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.pods import PROJECT, Ended, Pod, step

pytestmark = pytest.mark.dbt
FILES = {
    "models/orders.sql": "select 1 as id",
    "models/staging.sql": "{{ config(materialized='ephemeral') }} select 1 as id",
}
ALL_WARNINGS = ("--warn-error-options", '{"error": "all"}')


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    pod = Pod(tmp_path_factory.mktemp("empty") / "pod", FILES)
    slim = ("--select", "state:modified+", "--state", str(pod.layout.artifacts / "full"))
    may: dict[str, Any] = {"allow_failure": True}
    return pod.run(
        step("build", name="full"),
        step("build", *slim, "--warn-error", name="slim", allow_empty=True),
        step("build", *slim, *ALL_WARNINGS, name="options", allow_empty=True),
        step("build", *slim, "--warn-error", name="strict", **may),
        step("build", "--select", "tag:finanse", "--warn-error", name="typo", **may),
        step("build", "--select", "tag:finanse", "orders", "--warn-error", name="one", **may),
        step("build", "--exclude", "tag:finanse", "--warn-error", name="excluded", **may),
        step("list", "--select", "tag:finanse", "--warn-error", name="listed", **may),
        step("list", "--select", "tag:finanse", "orders", "--warn-error", name="some", **may),
        step("seed", "--warn-error", name="seeds", allow_empty=True),
        step("build", "--select", "staging", "--warn-error", name="ephemeral", allow_empty=True),
    )


@pytest.mark.parametrize("name", ["slim", "options", "seeds", "ephemeral"])
def test_nothing_to_do_is_a_success_where_it_may_be(ended: Ended, name: str) -> None:
    found = ended.step(name)
    assert (found["state"], found["nodes"]["total"]) == ("Succeeded", 0), found["message"]


@pytest.mark.parametrize("name", ["strict", "typo", "listed"])
def test_nothing_to_do_is_a_failure_of_its_own_otherwise(ended: Ended, name: str) -> None:
    assert ended.step(name)["reason"] == "NothingSelected", ended.step(name)["message"]


@pytest.mark.parametrize("name", ["one", "excluded", "some"])
def test_a_criterion_that_names_nothing_beside_others_is_an_error(ended: Ended, name: str) -> None:
    found = ended.step(name)
    assert (found["reason"], found["nodes"]["total"]) == ("ConfigError", 0)
    assert "'tag:finanse' does not match any enabled nodes" in found["message"]


def test_what_is_asked_before_the_first_step_may_be_empty_as_well(tmp_path: Path) -> None:
    """Here a node that is not selected would be written where nothing may be."""
    files = {
        **FILES,
        "models/other.sql": "{{ config(schema='elsewhere') }} select 1 as id",
        "dbt_project.yml": f"{PROJECT}flags: {{warn_error: true}}\n",
    }
    empty = step("build", "--select", "tag:finanse", allow_empty=True)
    ended = Pod(tmp_path / "pod", files).run(empty, schema_pattern="analytics")
    assert (ended.code, ended.summary.nodes.total) == (0, 0), ended.log
