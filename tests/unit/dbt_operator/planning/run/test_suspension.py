"""Jobs that Kueue suspends and resumes."""

from __future__ import annotations

from typing import Any

import pytest

from dbt_operator.api.kinds.run import DbtRunStatus
from dbt_operator.api.status import Phase, Reason
from dbt_operator.planning.attempt.pod_facts import ContainerFacts, PodFacts, job_facts
from dbt_operator.planning.common.identity import Identity
from dbt_operator.planning.common.plan import CreateJob, DeleteJob, DeletePod
from dbt_operator.planning.run.facts import RunFacts
from dbt_operator.planning.run.planner import plan
from tests.support.builders import (
    JOB_UID,
    UID,
    ended,
    ended_pod,
    failed_summary,
    later,
    run,
    stamp,
    summary,
)
from tests.support.run_facts import (
    RUNNING,
    cancelling,
    job,
    planned_after,
    references,
    replace,
    seen,
    status,
)

QUEUE = {
    "kueue.x-k8s.io/queue-name": "nightly",
    "kueue.x-k8s.io/priority-class": "low",
    "team": "finance",
}


def admitted(**spec: Any) -> RunFacts:
    identity = Identity("analytics", "nightly", UID, 1, labels=QUEUE)
    first = seen(run(**spec), identity=identity, **references())
    return planned_after(first, plan(first, later(0)))


def test_kueues_labels_are_on_the_job_and_not_on_its_pod() -> None:
    (action,) = plan(admitted(), later(1)).actions
    assert isinstance(action, CreateJob)
    labels = action.manifest["metadata"]["labels"]
    template = action.manifest["spec"]["template"]["metadata"]["labels"]
    assert {name: value for name, value in labels.items() if name not in template} == {
        name: value for name, value in QUEUE.items() if name != "team"
    }
    assert "suspend" not in action.manifest["spec"]


@pytest.mark.parametrize(
    "pod", [None, PodFacts(deleting=True), PodFacts(gone=True), PodFacts(phase="Failed")]
)
def test_a_run_in_a_queue_waits_without_a_limit_and_says_what_for(pod: PodFacts | None) -> None:
    waiting = replace(admitted(startTimeout="1m"), job=job(suspended=True), pod=pod)
    planned = plan(waiting, later(100_000))
    assert planned.actions == ()
    assert status(planned).phase is Phase.PENDING
    assert (
        status(planned).message == "waiting: the Job is suspended until the queue nightly admits it"
    )


def test_or_no_longer_than_it_may() -> None:
    waiting = replace(admitted(queueTimeout="1h"), job=job(suspended=True))
    assert plan(waiting, later(600)).requeue_after == 3000
    given_up = status(plan(waiting, later(3600))).attempts or []
    assert given_up[0].reason is Reason.QUEUE_TIMEOUT
    ending = replace(
        waiting, run=waiting.run.model_copy(update={"status": status(plan(waiting, later(3600)))})
    )
    assert [type(action) for action in plan(ending, later(3601)).actions] == [DeleteJob]
    over = status(plan(replace(ending, job=None), later(3602)))
    assert (over.phase, over.reason) == (Phase.FAILED, Reason.QUEUE_TIMEOUT)


def test_the_time_in_the_queue_is_added_up_over_attempts() -> None:
    resumed = replace(admitted(queueTimeout="1h"), job=job(started_at=later(3000)), pod=PodFacts())
    (first,) = status(plan(resumed, later(3001))).attempts or []
    assert first.queued_seconds == 3000
    second = first.model_copy(update={"number": 2, "queued_seconds": None})
    found = resumed.status.model_copy(update={"attempts": [first, second]})
    waiting = replace(
        resumed,
        run=resumed.run.model_copy(update={"status": found}),
        job=job(suspended=True),
        pod=None,
    )
    assert plan(waiting, later(100)).requeue_after == 500


def test_the_time_to_start_counts_from_when_the_job_was_resumed() -> None:
    resumed = replace(
        admitted(startTimeout="1m"),
        job=job(started_at=later(5000)),
        pod=PodFacts(created_at=later(5001)),
    )
    assert status(plan(resumed, later(5059))).phase is Phase.PENDING
    assert (status(plan(resumed, later(5059))).attempts or [])[0].reason is None
    assert (status(plan(resumed, later(5061))).attempts or [])[0].reason is Reason.INFRASTRUCTURE


def test_the_pod_of_an_earlier_admission_says_nothing_of_this_one() -> None:
    before = replace(
        admitted(), job=job(started_at=later(5000)), pod=PodFacts(gone=True, created_at=later(100))
    )
    assert status(plan(before, later(5001))).phase is Phase.PENDING
    own = replace(before, pod=PodFacts(gone=True, created_at=later(5001)))
    assert status(plan(own, later(5002))).reason is Reason.UNKNOWN


def started(**spec: Any) -> RunFacts:
    before = replace(admitted(**spec), job=job(), pod=RUNNING)
    return planned_after(before, plan(before, later(6)))


INTERRUPTED = ended_pod(ended(2, summary("Cancelled", "2 of 28 nodes had ended by then")))


@pytest.mark.parametrize(
    "pod", [INTERRUPTED, replace(RUNNING, gone=True), replace(INTERRUPTED, gone=True)]
)
def test_suspending_a_job_that_has_started_ends_the_attempt_once_its_job_is_gone(
    pod: PodFacts,
) -> None:
    running = replace(started(), job=job(suspended=True), pod=replace(RUNNING, deleting=True))
    assert plan(running, later(60)).actions == ()
    assert status(plan(running, later(60))).phase is Phase.RUNNING
    over = replace(running, pod=pod)
    decided = planned_after(over, plan(over, later(70)))
    assert decided.status.phase is Phase.RUNNING
    (action,) = plan(decided, later(71)).actions
    assert action == DeleteJob(f"nightly-{UID[:8]}-1", JOB_UID)
    found = status(plan(replace(decided, job=None), later(72)))
    assert (found.phase, found.reason) == (Phase.FAILED, Reason.INFRASTRUCTURE)
    assert "suspended while dbt was running" in (found.message or "")
    assert (found.nodes is not None) == pod.dbt.ended


def test_another_attempt_goes_back_into_the_queue() -> None:
    over = replace(started(retry={"maxAttempts": 2}), job=job(suspended=True), pod=INTERRUPTED)
    decided = planned_after(over, plan(over, later(70)))
    backing_off = planned_after(decided, plan(replace(decided, job=None), later(72)))
    assert backing_off.status.phase is Phase.BACKING_OFF
    again = replace(backing_off, job=None, pod=None)
    second = planned_after(again, plan(again, later(200)))
    (action,) = plan(second, later(201)).actions
    assert isinstance(action, CreateJob)
    assert action.manifest["metadata"]["name"] == f"nightly-{UID[:8]}-2"
    assert action.manifest["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "nightly"


@pytest.mark.parametrize(
    ("pod", "reason"),
    [(ended_pod(ended(0, summary())), None), (ended_pod(ended(1, failed_summary())), "ModelError")],
)
def test_what_dbt_had_ended_by_itself_stands(pod: PodFacts, reason: str | None) -> None:
    over = replace(started(), job=job(suspended=True), pod=pod)
    planned = plan(over, later(70))
    if reason is None:
        assert status(planned).phase is Phase.SUCCEEDED
        return
    decided = planned_after(over, planned)
    assert isinstance(plan(decided, later(71)).actions[0], DeleteJob)
    found = status(plan(replace(decided, job=None), later(72)))
    assert (found.phase, found.reason) == (Phase.FAILED, reason)
    assert [failure.unique_id for failure in found.failures or []] == ["model.shop.orders"]


@pytest.mark.parametrize("pod", [None, PodFacts(gone=True), INTERRUPTED])
def test_a_cancelled_run_leaves_no_job_that_could_be_resumed(pod: PodFacts | None) -> None:
    found = replace(cancelling(admitted()), job=job(suspended=True), pod=pod)
    planned = plan(found, later(70))
    assert [type(action) for action in planned.actions] == [DeleteJob]
    assert planned.status is None
    over = plan(replace(found, job=None), later(71)).status
    assert isinstance(over, DbtRunStatus)
    assert over.phase is Phase.CANCELLED
    living = plan(replace(found, pod=RUNNING), later(70))
    assert [type(action) for action in living.actions] == [DeletePod]


def test_a_job_is_read_as_suspended_until_the_job_controller_has_resumed_it() -> None:
    manifest: dict[str, Any] = {
        "metadata": {"name": "a", "uid": JOB_UID},
        "spec": {"suspend": True},
    }
    assert job_facts(manifest).suspended
    condition = {"type": "Suspended", "status": "True"}
    assert job_facts(
        {**manifest, "spec": {"suspend": False}, "status": {"conditions": [condition]}}
    ).suspended
    resumed = {"conditions": [condition | {"status": "False"}], "startTime": stamp(9)}
    facts = job_facts({**manifest, "spec": {"suspend": False}, "status": resumed})
    assert (facts.suspended, facts.started_at) == (False, later(9))


def test_a_pod_that_dbt_has_started_in_is_never_overlooked() -> None:
    pod = PodFacts(
        phase="Failed",
        dbt=ContainerFacts(started_at=stamp(5), exit_code=137, end_reason="OOMKilled"),
    )
    over = replace(started(), job=job(suspended=True), pod=pod)
    assert (status(plan(over, later(70))).attempts or [])[0].reason is Reason.OOM_KILLED
