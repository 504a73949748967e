"""What a run with windows makes of what its pod says of them."""

from __future__ import annotations

from typing import Any

import pytest

from dbt_operator.api.kinds.run import DbtRun, DbtRunStatus
from dbt_operator.api.status import Reason
from dbt_operator.observing.reader import identity_of
from dbt_operator.planning.attempt.pod_facts import PodFacts
from dbt_operator.planning.attempt.verdict import Verdict
from dbt_operator.planning.common.plan import Plan, StopPod
from dbt_operator.planning.common.window_states import counts
from dbt_operator.planning.run.facts import RunFacts
from dbt_operator.planning.run.orders import Orders
from dbt_operator.planning.run.part import check_windows, pass_on_stop, with_windows
from tests.support.builders import NOW, run
from tests.support.run_facts import replace


def of_windows(states: str, **fields: Any) -> RunFacts:
    """A run whose windows stand like this, as far as its status knows."""
    manifest = run(windows=[{"key": f"day-{number}"} for number in range(len(states))])
    status = DbtRunStatus(windows=counts(states))
    made = DbtRun.model_validate(manifest).model_copy(update={"status": status})
    return replace(RunFacts(made, identity_of(manifest), NOW, "runner:1"), **fields)


@pytest.mark.parametrize(
    ("known", "said", "over", "expected"),
    [
        ("---", "+>-", None, "+>-"),
        ("++-", "-->", None, "++>"),  # what is done stays done, whatever a later pod says
        ("+>-", "", None, "+>-"),
        ("+>-", "++", None, "+>-"),  # of another number of windows
        ("+--", "+>-", Reason.OOM_KILLED, "+O-"),
    ],
)
def test_what_a_pod_says_is_taken_in(
    known: str, said: str, over: Reason | None, expected: str
) -> None:
    seen = of_windows(known)
    found = with_windows(Plan(status=seen.status), seen, said, over).status
    assert isinstance(found, DbtRunStatus)
    assert found.windows == counts(expected)


@pytest.mark.parametrize(
    ("said", "expected"),
    [("++~", None), ("++-", Reason.UNKNOWN), ("++", Reason.UNKNOWN), ("", Reason.UNKNOWN)],
)
def test_a_run_has_succeeded_only_if_every_window_has(said: str, expected: Reason | None) -> None:
    assert check_windows(Verdict(None, "all well"), of_windows("---"), said).reason is expected


@pytest.mark.parametrize(
    "fields", [{"told_to_stop": True}, {"deleting": True}, {"phase": "Succeeded"}]
)
def test_the_order_to_stop_is_passed_on_once(fields: dict[str, Any]) -> None:
    pod, orders = (
        PodFacts(name="pod", uid="uid-of-pod"),
        Orders("past", "uid-of-past", stop="Boundary"),
    )
    assert pass_on_stop(of_windows("---", pod=pod, orders=orders)) == Plan(
        actions=(StopPod("pod", "uid-of-pod"),)
    )
    assert pass_on_stop(of_windows("---", pod=replace(pod, **fields), orders=orders)) is None
    assert pass_on_stop(of_windows("---", pod=pod, orders=replace(orders, stop=""))) is None
