"""Which labels and annotations a run may put on its pods."""

from __future__ import annotations

from typing import Any

import pytest

from dbt_operator.api.kinds.project import DbtProject
from dbt_operator.api.kinds.run import DbtRun
from dbt_operator.api.kinds.target import DbtTarget
from dbt_operator.planning.policy.refusals import refusal
from tests.support.builders import project, run, target

TEAM = "cost.example.com/team"


def refused(
    of_run: dict[str, Any],
    allowed: list[str] | None = None,
    of_project: dict[str, Any] | None = None,
    **target_spec: Any,
) -> str:
    if allowed is not None:
        target_spec |= {"allowedRunLabels": allowed}
    return refusal(
        DbtRun.model_validate(run(pod=of_run)).spec,
        DbtProject.model_validate(project(pod=of_project or {})).spec,
        DbtTarget.model_validate(target(**target_spec)).spec,
    )


@pytest.mark.parametrize("field", ["labels", "annotations"])
@pytest.mark.parametrize(
    "allowed", [None, [], ["team"], ["cost.example.com/teams"], ["*/team/"]], ids=str
)
def test_a_name_that_the_target_does_not_list_is_refused_by_it(
    field: str, allowed: list[str] | None
) -> None:
    message = refused({field: {TEAM: "finance"}}, allowed)
    assert message.startswith(f"spec.pod.{field} ({TEAM}) is none of the names")
    assert "spec.allowedRunLabels of the DbtTarget prod" in message
    assert "finance" not in message


@pytest.mark.parametrize("field", ["labels", "annotations"])
@pytest.mark.parametrize("allowed", [[TEAM], ["cost.example.com/*"], ["*"], ["a", "*/team"]])
def test_a_name_that_the_target_lists_is_taken(field: str, allowed: list[str]) -> None:
    assert refused({field: {TEAM: "finance"}}, allowed) == ""


def test_the_first_of_several_that_is_not_listed_is_named() -> None:
    labels = {"team": "finance", "queue": "fast", "tier": "gold"}
    assert refused({"labels": labels}, ["team"]).startswith("spec.pod.labels (queue) ")
    pod = {"labels": {"team": "finance"}, "annotations": {"note": "x"}}
    assert refused(pod, ["team"]).startswith("spec.pod.annotations (note) ")


def test_a_project_needs_no_list() -> None:
    labels = {TEAM: "finance"}
    assert refused({}, None, {"labels": labels, "annotations": labels}) == ""
    assert refused({"nodeSelector": {"disk": "fast"}}, None, {"labels": labels}) == ""


@pytest.mark.parametrize("field", ["labels", "annotations", "nodeSelector"])
def test_what_is_too_much_together_is_refused_and_not_met_later(field: str) -> None:
    """Each of the two has as many as one object may have."""
    most = 32 if field == "nodeSelector" else 16
    mine = {f"a{number}": "x" for number in range(most)}
    theirs = {f"b{number}": "x" for number in range(most)}
    message = refused({field: mine}, ["*"], {field: theirs})
    assert message.startswith(f"spec.pod.{field} is too much with what the DbtProject shop sets")
    assert refused({field: mine}, ["*"], {field: mine}) == ""
