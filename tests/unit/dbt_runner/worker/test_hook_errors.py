"""A hook that raises while it is rendered has failed like one whose statement fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from dbt_runner.outcome.ending_kinds import NO
from tests.support.pods import PROJECT, Pod, step

pytestmark = pytest.mark.dbt
RAISES = "{% if execute %}{{ exceptions.raise_compiler_error('not today') }}{% endif %}"
ASKS = "{% if execute %}{% do run_query('select * from no_such_table') %}{% endif %}"
MODELS = {
    "models/first.sql": "select 1 as id",
    "models/second.sql": "select * from {{ ref('first') }}",
}


@pytest.mark.parametrize("when", ["on-run-start", "on-run-end"])
@pytest.mark.parametrize(("hook", "words"), [(RAISES, "not today"), (ASKS, "no_such_table")])
def test_the_run_ends_as_after_any_hook_that_fails(
    tmp_path: Path, when: str, hook: str, words: str
) -> None:
    files = {**MODELS, "dbt_project.yml": f'{PROJECT}{when}: ["select 1", "{hook}"]\n'}
    ended = Pod(tmp_path, files).run(step("build"))
    assert ended.summary.reason == "HookFailed", ended.log
    assert words in ended.summary.message
    build = ended.step("build")
    assert build["resume"] == ""  # the next attempt runs everything, and with it the hooks
    assert (build["again"] or NO) == NO
    assert [each["unique_id"] for each in build["failures"]] == [f"operation.shop.shop-{when}-1"]
    assert build["nodes"]["success"] == (2 if when == "on-run-end" else 0)


def test_a_model_that_raises_is_no_hook(tmp_path: Path) -> None:
    ended = Pod(tmp_path, {**MODELS, "models/second.sql": RAISES}).run(step("build"))
    assert ended.summary.reason == "ModelError"
