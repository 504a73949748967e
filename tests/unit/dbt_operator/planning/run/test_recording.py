"""A run that says it is a schedule's waits until that one's status knows it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dbt_operator.api.kinds.run import DbtRun, DbtRunStatus
from dbt_operator.api.status import Phase, Reason
from dbt_operator.observing.reader import identity_of
from dbt_operator.planning.common.plan import LOOK_AGAIN, Plan
from dbt_operator.planning.common.record import Record
from dbt_operator.planning.run.facts import RunFacts
from dbt_operator.planning.run.planner import plan
from tests.support.builders import NOW, later, run

RECORD = Record("DbtSchedule nightly", "status.active")
TIMEOUT = 600  # seconds: startTimeout, as nothing is said of it


def facts_of(record: Record) -> RunFacts:
    manifest = run()
    made = DbtRun.model_validate(manifest)
    return RunFacts(made, identity_of(manifest), NOW, "runner:1", record=record)


def status_of(found: Plan) -> DbtRunStatus:
    assert isinstance(found.status, DbtRunStatus)
    return found.status


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (RECORD, "it does not stand in status.active of DbtSchedule nightly"),
        (replace(RECORD, gone=True), "DbtSchedule nightly does not exist"),
        (replace(RECORD, unreadable="status.cursor"), "cannot be read: status.cursor"),
    ],
)
def test_it_waits(record: Record, words: str) -> None:
    found = plan(facts_of(record), NOW)
    assert (status_of(found).phase, found.actions) == (Phase.PENDING, ())
    assert words in (status_of(found).message or "")
    assert found.requeue_after == LOOK_AGAIN


@pytest.mark.parametrize("gone", [False, True])
def test_one_that_nobody_knows_ends(gone: bool) -> None:
    found = plan(facts_of(replace(RECORD, gone=gone)), later(TIMEOUT + 1))
    assert (status_of(found).phase, status_of(found).reason) == (Phase.FAILED, Reason.INVALID_SPEC)
    assert "only that one creates such runs" in (status_of(found).message or "")


def test_nobody_is_judged_by_a_status_that_cannot_be_read() -> None:
    found = plan(facts_of(replace(RECORD, unreadable="status.cursor")), later(TIMEOUT + 1))
    assert status_of(found).phase is Phase.PENDING


def test_one_that_is_known_begins() -> None:
    """It goes on to what any run waits for."""
    found = plan(facts_of(replace(RECORD, stands=True)), NOW)
    assert "DbtProject shop and DbtTarget prod not found" in (status_of(found).message or "")


def test_one_that_is_replaced_ends_as_that() -> None:
    facts = facts_of(replace(RECORD, stands=True, replaced=True))
    latched = status_of(plan(facts, NOW))
    assert latched.cancel_requested_at
    assert latched.reason is Reason.REPLACED
    facts = replace(facts, run=facts.run.model_copy(update={"status": latched}))
    ended = status_of(plan(facts, NOW))
    assert (ended.phase, ended.reason) == (Phase.CANCELLED, Reason.REPLACED)


def test_one_that_somebody_cancels_is_not_replaced() -> None:
    facts = facts_of(replace(RECORD, stands=True, replaced=True))
    spec = facts.run.spec.model_copy(update={"cancel": True})
    facts = replace(facts, run=facts.run.model_copy(update={"spec": spec}))
    assert status_of(plan(facts, NOW)).reason is None
