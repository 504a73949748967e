from __future__ import annotations

import itertools
from typing import Any

import pytest

from dbt_operator.api.kinds.project import DbtProject
from dbt_operator.api.kinds.run import DbtRunStatus
from dbt_operator.api.status import Phase, Reason
from dbt_operator.planning.attempt.pod_facts import ContainerFacts, JobFacts, PodFacts
from dbt_operator.planning.common.plan import CreateJob, DeleteJob, DeletePod, Plan
from dbt_operator.planning.run.planner import plan
from tests.support.builders import (
    NOW,
    UID,
    ended,
    ended_pod,
    failed_summary,
    later,
    project,
    run,
    stamp,
    summary,
)
from tests.support.run_facts import (
    RUNNING,
    admitted,
    cancelling,
    conditions,
    job,
    planned_after,
    references,
    replace,
    seen,
    status,
)


def test_admission_resolves_everything_and_creates_nothing_yet() -> None:
    planned = plan(seen(**references()), NOW)
    found = status(planned)
    assert planned.actions == ()
    assert found.phase is Phase.PENDING
    assert found.resolved is not None
    assert found.resolved.generations.project == 7
    assert found.resolved.target == "prod"
    assert found.resolved.location == f"dbt/analytics/shop/prod/runs/nightly-{UID[:8]}"
    assert [a.job_name for a in found.attempts or []] == [f"nightly-{UID[:8]}-1"]
    assert conditions(found)["Admitted"] == "True"


def test_an_admitted_run_gets_its_job_from_what_was_resolved() -> None:
    (action,) = plan(admitted(), NOW).actions
    assert isinstance(action, CreateJob)
    assert action.manifest["metadata"]["name"] == f"nightly-{UID[:8]}-1"


@pytest.mark.parametrize("missing", ["project", "target"])
def test_a_missing_reference_is_waited_for_and_then_named(missing: str) -> None:
    facts = references() | {missing: None}
    early = plan(seen(**facts), later(60))
    assert status(early).phase is Phase.PENDING
    assert early.requeue_after == 540
    late = status(plan(seen(**facts), later(601)))
    assert (late.phase, late.reason) == (Phase.FAILED, Reason.CONFIG_ERROR)
    assert {"project": "DbtProject shop", "target": "DbtTarget prod"}[missing] in (
        late.message or ""
    )


def test_a_run_that_could_wait_for_ever_is_refused_with_the_field_and_the_remedy() -> None:
    waits: dict[str, Any] = {"steps": [{"seed": {}}, {"sourceFreshness": {"onStale": "Wait"}}]}
    found = status(plan(seen(run(**waits), **references()), NOW))
    assert (found.phase, found.reason) == (Phase.FAILED, Reason.INVALID_SPEC)
    assert "spec.steps[1].sourceFreshness.onStale" in (found.message or "")
    assert "set spec.timeout or spec.retry.attemptTimeout" in (found.message or "")
    assert (
        conditions(found).items()
        >= {"Admitted": "False", "Finished": "True", "Stalled": "True"}.items()
    )
    for limit in ({"timeout": "1h"}, {"retry": {"maxAttempts": 1, "attemptTimeout": "1h"}}):
        resolved = status(plan(seen(run(**waits, **limit), **references()), NOW)).resolved
        assert resolved is not None
        assert [step.on_stale for step in resolved.steps] == ["Fail", "Wait"]


def test_a_run_with_a_secret_in_plain_sight_is_refused_without_repeating_it() -> None:
    found = status(plan(seen(run(vars={"db": {"password": "hunter2"}}), **references()), NOW))
    assert (found.phase, found.reason, found.resolved) == (Phase.FAILED, Reason.INVALID_SPEC, None)
    assert "spec.vars.db.password" in (found.message or "")
    assert "hunter2" not in found.model_dump_json()


def test_what_a_run_leaves_out_is_what_its_project_says() -> None:
    defaults = {"retry": {"maxAttempts": 3}, "timeout": "1h", "threads": 8}
    facts = references() | {"project": (DbtProject.model_validate(project(defaults=defaults)), 7)}
    waits: dict[str, Any] = {"steps": [{"sourceFreshness": {"onStale": "Wait"}}]}
    for own, retries, timeout, threads in (
        ({}, 3, 3600, "8"),
        ({"timeout": "1m", "threads": 2, "retry": {"maxAttempts": 1}}, 1, 60, "2"),
    ):
        resolved = status(plan(seen(run(**waits, **own), **facts), NOW)).resolved
        assert resolved is not None
        assert resolved.retry is not None
        assert (resolved.retry.max_attempts, resolved.timeout_seconds) == (retries, timeout)
        assert resolved.steps[0].argv[-2:] == ["--threads", threads]


def test_a_run_whose_sources_have_nothing_new_is_skipped_and_neither_failed_nor_tried_again() -> (
    None
):
    pod = ended_pod(
        ended(0, summary("NotFresh", "source.shop.raw.orders is older than error_after allows"))
    )
    before = admitted(retry={"maxAttempts": 3, "reasons": ["NotFresh", "FreshnessFailed"]})
    planned = plan(replace(before, job=job(), pod=pod), later(70))
    found = status(planned)
    assert (found.phase, found.reason, found.finished_at) == (
        Phase.SKIPPED,
        Reason.NOT_FRESH,
        stamp(65),
    )
    assert [(event.type, event.reason) for event in planned.events] == [("Normal", "Skipped")]
    expected = {
        "Finished": "True",
        "Ready": "True",
        "Stalled": "False",
        "Reconciling": "False",
        "Succeeded": "False",
    }
    assert conditions(found).items() >= expected.items()
    assert plan(planned_after(before, planned), later(80)) == Plan()


def test_a_job_of_a_stranger_is_never_adopted() -> None:
    found = status(plan(replace(admitted(), job=job(owner="somebody")), NOW))
    assert (found.phase, found.reason) == (Phase.FAILED, Reason.NAME_CONFLICT)


def test_a_job_that_vanished_is_not_made_again() -> None:
    with_job = planned_after(admitted(), plan(replace(admitted(), job=job()), NOW))
    planned = plan(replace(with_job, job=None, pod=None), NOW)
    assert planned.actions == ()
    assert status(planned).reason is Reason.UNKNOWN


def test_a_running_pod_makes_the_run_running() -> None:
    pod = PodFacts(
        phase="Running",
        prepare=ended(0),
        dbt=ContainerFacts(started_at=stamp(5), image_id="sha256:x"),
    )
    found = status(plan(replace(admitted(), job=job(), pod=pod), later(6)))
    assert (found.phase, found.started_at, found.image_id) == (Phase.RUNNING, stamp(5), "sha256:x")
    assert conditions(found)["Reconciling"] == "True"


def test_a_run_ends_only_when_its_pod_has_ended() -> None:
    """While the sidecar uploads, the pod lives, and so does its hold on the target."""
    pod = ended_pod(
        ended(0, summary()), phase="Running", artifacts=ContainerFacts(started_at=stamp(3))
    )
    assert status(plan(replace(admitted(), job=job(), pod=pod), later(70))).phase is Phase.RUNNING


def test_a_run_does_not_wait_for_the_kubelet_to_tidy_up() -> None:
    pod = ended_pod(ended(0, summary()), phase="Running")
    assert status(plan(replace(admitted(), job=job(), pod=pod), later(70))).phase is Phase.SUCCEEDED


def test_success() -> None:
    found = status(
        plan(replace(admitted(), job=job(), pod=ended_pod(ended(0, summary()))), later(70))
    )
    assert (found.phase, found.reason, found.duration) == (Phase.SUCCEEDED, None, "1m")
    assert (found.dbt_version, found.engine) == ("1.11.16", "Python")
    assert found.nodes is not None
    assert found.nodes.done == "28/28"
    assert {kind: state for kind, state in conditions(found).items() if state == "True"}.keys() == {
        "Admitted",
        "TestsPassed",
        "ArtifactsUploaded",
        "Succeeded",
        "Finished",
        "Ready",
    }


def test_failure_is_stalled_for_kstatus_and_names_the_nodes() -> None:
    found = status(
        plan(replace(admitted(), job=job(), pod=ended_pod(ended(1, failed_summary()))), later(70))
    )
    assert (found.phase, found.reason) == (Phase.FAILED, Reason.MODEL_ERROR)
    assert [failure.unique_id for failure in found.failures or []] == ["model.shop.orders"]
    assert conditions(found)["Stalled"] == "True"
    assert conditions(found)["Succeeded"] == "False"


@pytest.mark.parametrize(
    ("upload", "state"),
    [("", "False"), ('{"protocol":1,"location":"s3://b/x","error":"403"}', "False")],
)
def test_what_was_not_uploaded_is_said_and_changes_no_verdict(upload: str, state: str) -> None:
    pod = ended_pod(ended(0, summary()), artifacts=ended(1, upload))
    found = status(plan(replace(admitted(), job=job(), pod=pod), later(70)))
    assert found.phase is Phase.SUCCEEDED
    assert conditions(found)["ArtifactsUploaded"] == state


@pytest.mark.parametrize("upload", ["", '{"protocol":1,"location":"s3://b/x","error":"403"}'])
def test_a_project_may_ask_that_a_run_without_its_artifacts_fails(upload: str) -> None:
    asked = references()
    artifacts = project()["spec"]["artifacts"] | {"onFailure": "Fail"}
    asked["project"] = (DbtProject.model_validate(project(artifacts=artifacts)), 7)
    first = seen(**asked)
    pod = ended_pod(ended(0, summary()), artifacts=ended(1, upload))
    run_before = planned_after(first, plan(first, NOW))
    found = status(plan(replace(run_before, job=job(), pod=pod), later(70)))
    assert (found.phase, found.reason) == (Phase.FAILED, Reason.UPLOAD_FAILED)
    assert found.nodes is not None
    failed = ended_pod(ended(1, failed_summary()), artifacts=ended(1, upload))
    assert (
        status(plan(replace(run_before, job=job(), pod=failed), later(70))).reason
        is Reason.MODEL_ERROR
    )
    assert (
        status(plan(replace(run_before, job=job(), pod=GREEN), later(70))).phase is Phase.SUCCEEDED
    )


def test_a_pod_that_does_not_start_is_given_up_in_time_and_only_ended_when_gone() -> None:
    unschedulable = replace(
        admitted(startTimeout="1m"), job=job(), pod=PodFacts(unschedulable="no memory")
    )
    waiting = plan(unschedulable, later(30))
    assert status(waiting).phase is Phase.PENDING
    assert "no memory" in (status(waiting).message or "")
    assert waiting.requeue_after is not None
    given_up = plan(unschedulable, later(61))
    assert (status(given_up).attempts or [])[0].reason is Reason.UNSCHEDULABLE
    assert status(given_up).phase is Phase.PENDING
    decided = planned_after(unschedulable, given_up)
    (delete,) = plan(replace(decided, job=job(), pod=PodFacts()), later(62)).actions
    assert isinstance(delete, DeleteJob)
    assert plan(replace(decided, job=None, pod=PodFacts()), later(63)).status is None
    found = status(plan(replace(decided, job=None, pod=None), later(64)))
    assert (found.phase, found.reason) == (Phase.FAILED, Reason.UNSCHEDULABLE)


def test_a_refused_job_is_tried_again_until_the_start_timeout() -> None:
    refused = replace(admitted(startTimeout="1m"), refusal="403 Forbidden: exceeded quota")
    early = plan(refused, later(30))
    assert "exceeded quota" in (status(early).message or "")
    assert early.requeue_after is not None
    assert status(plan(refused, later(61))).reason is Reason.CONFIG_ERROR


def test_nothing_is_planned_for_a_run_that_has_ended() -> None:
    done = replace(admitted(), job=job(), pod=ended_pod(ended(0, summary())))
    assert plan(planned_after(done, plan(done, later(70))), later(71)) == Plan()


JOBS = [
    None,
    job(),
    job(complete=True),
    job(failed_reason="BackoffLimitExceeded"),
    job(owner="somebody"),
    job(suspended=True),
    job(started_at=later(5000)),
]
PODS = [
    None,
    PodFacts(),
    PodFacts(unschedulable="no memory"),
    PodFacts(phase="Running", dbt=ContainerFacts(started_at=stamp(5))),
    ended_pod(ended(0, summary())),
    ended_pod(ended(0, summary()), phase="Running", artifacts=ContainerFacts(started_at=stamp(3))),
    ended_pod(ended(1, failed_summary())),
    ended_pod(ended(137, "", "OOMKilled")),
    ended_pod(ended(0, "")),
    PodFacts(phase="Failed", reason="Evicted"),
]
GREEN = ended_pod(ended(0, summary()))


@pytest.mark.parametrize(
    ("found_job", "pod", "known", "age"),
    list(itertools.product(JOBS, PODS, [False, True], [10, 10_000])),
)
def test_every_observation(
    found_job: JobFacts | None, pod: PodFacts | None, known: bool, age: float
) -> None:
    """Over the product of what can be seen: no success without a green pod, no Job where one is or
    was, no dead end.
    """
    base = admitted()
    if known:
        base = planned_after(base, plan(replace(base, job=job()), NOW))
    planned = plan(replace(base, job=found_job, pod=pod), later(age))
    if isinstance(planned.status, DbtRunStatus) and planned.status.phase is Phase.SUCCEEDED:
        assert pod is GREEN or pod == GREEN
        assert found_job is None or found_job.owner_uid == UID
    if any(isinstance(action, CreateJob) for action in planned.actions):
        assert found_job is None
        assert pod is None
        assert not known
    if isinstance(planned.status, DbtRunStatus) and planned.status.phase in (
        Phase.FAILED,
        Phase.BACKING_OFF,
    ):
        assert found_job is None or not found_job.suspended
    lives = pod is not None and not pod.ended
    waits_for_a_watch = lives or (found_job is not None and not found_job.ended)
    moves = planned.status is not None or planned.actions or planned.requeue_after is not None
    assert moves or waits_for_a_watch


def test_cancelling_is_latched_before_anything_is_stopped() -> None:
    found = cancelling(replace(admitted(), job=job(), pod=RUNNING))
    assert found.status.cancel_requested_at == stamp(10)
    reset = replace(
        found,
        run=found.run.model_copy(
            update={"spec": found.run.spec.model_copy(update={"cancel": False})}
        ),
    )
    (action,) = plan(reset, later(11)).actions
    assert isinstance(action, DeletePod)


@pytest.mark.parametrize(
    ("facts", "action"),
    [
        ({"job": job(), "pod": RUNNING}, DeletePod),
        ({"job": job(), "pod": replace(RUNNING, deleting=True)}, None),
        ({"job": job(), "pod": PodFacts()}, DeleteJob),
        ({"job": job(), "pod": None}, DeleteJob),
    ],
)
def test_a_pod_is_asked_to_end_once_and_a_pod_that_has_not_started_goes_with_its_job(
    facts: dict[str, Any], action: type | None
) -> None:
    planned = plan(replace(cancelling(admitted()), **facts), later(11))
    assert [type(found) for found in planned.actions] == ([action] if action else [])
    assert planned.status is None
    assert planned.requeue_after is not None


@pytest.mark.parametrize(
    "pod",
    [
        None,
        ended_pod(ended(2, summary("Cancelled"))),
        ended_pod(ended(0, summary())),
        ended_pod(ended(1, failed_summary())),
        ended_pod(ended(137, "")),
        replace(RUNNING, gone=True),
    ],
)
def test_a_cancelled_run_is_never_a_success_and_never_a_failure(pod: PodFacts | None) -> None:
    found = status(
        plan(replace(cancelling(admitted()), job=job(complete=True), pod=pod), later(70))
    )
    assert (found.phase, found.reason) == (Phase.CANCELLED, Reason.CANCELLED)
    assert conditions(found)["Succeeded"] == "False"
    assert conditions(found)["Finished"] == "True"


def test_a_cancelled_run_whose_pod_nobody_saw_end_says_that_its_report_is_lost() -> None:
    run = cancelling(admitted())
    (attempt,) = run.status.attempts or []
    started = run.status.model_copy(
        update={"attempts": [attempt.model_copy(update={"started_at": stamp(5)})]}
    )
    run = replace(
        run,
        run=run.run.model_copy(update={"status": started}),
        job=job(failed_reason="BackoffLimitExceeded"),
    )
    found = status(plan(run, later(70)))
    assert found.phase == "Cancelled"
    assert "what it reported" in (found.message or "")


def test_a_run_cancelled_before_its_admission_starts_nothing() -> None:
    found = cancelling(seen(**references()))
    planned = plan(found, later(11))
    assert planned.actions == ()
    assert status(planned).phase is Phase.CANCELLED


def test_a_run_cancelled_before_its_job_was_created_gets_none() -> None:
    planned = plan(cancelling(admitted()), later(11))
    assert planned.actions == ()
    assert status(planned).phase is Phase.CANCELLED


def test_cancelling_a_run_that_has_ended_changes_nothing() -> None:
    done = replace(admitted(), job=job(), pod=GREEN)
    over = planned_after(done, plan(done, later(70)))
    spec = over.run.spec.model_copy(update={"cancel": True})
    assert plan(replace(over, run=over.run.model_copy(update={"spec": spec})), later(80)) == Plan()


def test_what_a_deleted_pod_left_is_not_lost() -> None:
    pod = replace(ended_pod(ended(0, summary())), gone=True)
    assert status(plan(replace(admitted(), job=job(), pod=pod), later(70))).phase is Phase.SUCCEEDED
    lost = replace(RUNNING, gone=True)
    assert (
        status(plan(replace(admitted(), job=job(), pod=lost), later(70))).reason is Reason.UNKNOWN
    )
