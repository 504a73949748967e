"""What counts as a success of a Job, a run and a schedule, and what is said where there is none."""

from __future__ import annotations

from typing import Any

import pytest

from dbt_operator.api.kinds.run import DbtRunStatus
from dbt_operator.api.kinds.schedule import DbtScheduleStatus
from dbt_operator.planning.run.successes import Success, read_jobs, read_run, read_schedule
from tests.support.builders import later, stamp
from tests.support.upstreams import complete_job, failed_job, foreign_job

SCHEDULED = "batch.kubernetes.io/cronjob-scheduled-timestamp"
CRON_JOB = [{"kind": "CronJob", "name": "load", "uid": "c", "controller": True}]


@pytest.mark.parametrize(
    ("jobs", "said"),
    [
        ([], "there is none yet"),
        ([foreign_job("load")], "Job load has not completed"),
        ([failed_job("load")], "Job load has failed: BackoffLimitExceeded"),
        ([failed_job("a"), foreign_job("b", created=5)], "Job b has not completed"),
        ([foreign_job("b", created=5), failed_job("a")], "Job b has not completed"),
    ],
)
def test_a_job_that_has_not_completed_is_no_success(jobs: list[Any], said: str) -> None:
    found = read_jobs(jobs)
    assert (found.successes, found.said) == ((), said)


def test_a_condition_that_does_not_hold_is_none() -> None:
    job = complete_job("load", 60)
    job["status"]["conditions"][0]["status"] = "False"
    assert read_jobs([job]).successes == ()


def test_a_job_that_has_completed_is_one_whatever_became_of_others() -> None:
    found = read_jobs([failed_job("a"), complete_job("b", 60, created=5)])
    assert found.successes == (Success("b", later(60), later(5)),)


def test_a_job_that_tells_no_time_of_completion_has_that_of_its_condition() -> None:
    job = complete_job("load", 60)
    del job["status"]["completionTime"]
    assert read_jobs([job]).successes[0].completed_at == later(60)


@pytest.mark.parametrize(
    ("due", "owners", "began"),
    [
        (stamp(-5), CRON_JOB, -5),
        ("2026-01-02T04:04:00+01:00", CRON_JOB, -5),
        (stamp(-5), [], 3),  # anybody can write an annotation
        ("at night", CRON_JOB, 3),
        (None, CRON_JOB, 3),
    ],
)
def test_the_job_of_a_cronjob_began_when_it_was_due(
    due: str | None, owners: list[Any], began: float
) -> None:
    annotations = {SCHEDULED: due} if due else {}
    job = complete_job("load", 60, created=3, annotations=annotations, ownerReferences=owners)
    assert read_jobs([job]).successes[0].began_at == later(began)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ({}, "it has not ended"),
        ({"phase": "Running"}, "it has not ended"),
        ({"phase": "Failed", "reason": "ModelError"}, "it has ended as Failed, ModelError"),
        ({"phase": "Skipped", "reason": "NotFresh"}, "it has ended as Skipped, NotFresh"),
        ({"phase": "Cancelled"}, "it has ended as Cancelled"),
    ],
)
def test_a_run_that_has_not_succeeded_is_no_success(status: dict[str, str], said: str) -> None:
    found = read_run("first", stamp(), DbtRunStatus.model_validate(status))
    assert (found.successes, found.said) == ((), said)


def test_a_run_that_has_succeeded_is_one() -> None:
    status = DbtRunStatus.model_validate({"phase": "Succeeded", "finishedAt": stamp(60)})
    assert read_run("first", stamp(), status).successes == (Success("first", later(60), later(0)),)


def past(phase: str, occurrence: float, finished: float) -> dict[str, Any]:
    return {
        "occurrence": stamp(occurrence),
        "run": f"raw-{occurrence:.0f}",
        "phase": phase,
        "finishedAt": stamp(finished),
    }


def test_the_successes_of_a_schedule_are_those_of_its_history() -> None:
    history = [past("Failed", 20, 30), past("Succeeded", 10, 15), past("Succeeded", 0, 5)]
    status = DbtScheduleStatus.model_validate({"history": history, "lastSuccessTime": stamp(15)})
    assert read_schedule(status).successes == (
        Success("raw-10", later(15), later(10)),
        Success("raw-0", later(5), later(0)),
    )


def test_of_a_success_that_the_history_has_forgotten_nobody_knows_the_occurrence() -> None:
    status = DbtScheduleStatus.model_validate(
        {"history": [past("Failed", 20, 30)], "lastSuccessTime": stamp(15)}
    )
    assert read_schedule(status).successes == (Success("", later(15), None),)


def test_a_schedule_without_a_success_says_so() -> None:
    found = read_schedule(DbtScheduleStatus())
    assert (found.successes, found.said) == ((), "none of its runs has succeeded yet")
