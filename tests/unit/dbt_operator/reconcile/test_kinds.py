"""A kind is one row in each of the two registries."""

from __future__ import annotations

import pytest

from dbt_operator.api.registry import BACKFILL, BY_NAME, PROJECT, RUN
from dbt_operator.reconcile.kinds import ROWS
from tests.support.builders import project, run


def test_both_registries_have_the_same_kinds() -> None:
    assert {name: row.kind for name, row in ROWS.items()} == BY_NAME


def test_what_works_on_a_target_says_so_and_has_phases() -> None:
    assert {kind for kind in BY_NAME.values() if kind.work} == {RUN, BACKFILL}
    for kind in BY_NAME.values():
        assert (kind.work is None) == (kind.phases is None)


def test_the_work_of_a_run_and_of_a_backfill_is_found() -> None:
    work = {"targetRef": {"name": "prod"}}
    assert RUN.work_of({"spec": work}) == work
    assert BACKFILL.work_of({"spec": {"runTemplate": {"spec": work}}}) == work
    assert RUN.work_of(run()) == run()["spec"]


def test_a_kind_that_asks_for_no_work_says_so() -> None:
    with pytest.raises(TypeError, match="a DbtProject asks for no work"):
        PROJECT.work_of(project())
