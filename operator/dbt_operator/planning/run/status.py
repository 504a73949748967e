"""How the status of a DbtRun is put together. The decisions are in the planner, and in the
policies beside it.
"""

from __future__ import annotations

from datetime import datetime

from dbt_operator.api.kinds.run import (
    ArtifactsStatus,
    Attempt,
    NodeCounts,
)
from dbt_operator.api.status import ConditionType, Phase, Reason
from dbt_operator.planning.attempt.pod_facts import AttemptFacts, PodFacts
from dbt_operator.planning.attempt.verdict import Verdict, checked_out, uploaded
from dbt_operator.planning.common.compose import compose as compose_status
from dbt_operator.planning.common.conditions import Conditions
from dbt_operator.planning.common.durations import format_time
from dbt_operator.planning.common.identity import Identity
from dbt_operator.planning.common.names import job_name
from dbt_operator.planning.common.plan import Plan
from dbt_operator.planning.run.details import describe_digest, list_failures
from dbt_operator.planning.run.facts import RunFacts
from dbt_protocol.summaries import FAILURES, Summary


def results(attempt: AttemptFacts, summary: Summary | None) -> dict[str, object]:
    """What the pod reported of nodes and artifacts."""
    found: dict[str, object] = {}
    if summary is not None:
        nodes = summary.nodes
        found["dbt_version"] = summary.dbt_version or None
        found["engine"] = summary.engine or None
        found["nodes"] = NodeCounts(
            **{name: getattr(nodes, name) for name in NodeCounts.model_fields if name != "done"},
            done=f"{nodes.total - nodes.skipped}/{nodes.total}",
        )
    if summary is not None or attempt.digest is not None:
        told = summary.failures if summary else []
        found["failures"] = list_failures(told, attempt.digest)[:FAILURES] or None
        found["details"] = describe_digest(attempt.digest)
    if (upload := uploaded(attempt.pod)) is not None:
        found["artifacts"] = ArtifactsStatus(location=upload.location, objects=upload.objects)
    return found


def set_end(conditions: Conditions, pod: PodFacts | None, verdict: Verdict) -> None:
    """The conditions of a run that has ended."""
    _tests_condition(conditions, verdict)
    _upload_condition(conditions, pod)
    # A run that was skipped is as it should be, but who waits for Succeeded wants what it would
    # have built.
    conditions.finish(
        str(verdict.reason or "Succeeded"),
        verdict.message,
        succeeded=verdict.reason is None,
        as_wanted=verdict.reason in (None, Reason.NOT_FRESH, Reason.NOT_ARRIVED),
    )


def _tests_condition(conditions: Conditions, verdict: Verdict) -> None:
    summary = verdict.summary
    if summary is not None and summary.nodes.fail:
        conditions.set(
            ConditionType.TESTS_PASSED, "False", "TestFailed", f"{summary.nodes.fail} tests failed"
        )
    elif verdict.reason is Reason.TEST_FAILED:  # by gate.failOn: Warn
        conditions.set(ConditionType.TESTS_PASSED, "False", "TestFailed", verdict.message)
    elif verdict.reason is None:
        conditions.set(ConditionType.TESTS_PASSED, "True", "Passed")
    else:
        conditions.set(
            ConditionType.TESTS_PASSED,
            "Unknown",
            "NotFinished",
            "the run ended before all tests had run",
        )


def said_of_windows(pod: PodFacts | None, summary: Summary | None) -> str:
    """How the windows stand, a character each: as the runner says, or, where it was killed, the
    sidecar.
    """
    if summary is not None and summary.windows:
        return summary.windows
    upload = uploaded(pod)
    return upload.windows if upload else ""


def not_uploaded(pod: PodFacts | None) -> str:
    """What is known of artifacts that did not arrive; empty when all of them did."""
    upload = uploaded(pod)
    return upload.error if upload else "nothing says that artifacts were uploaded"


def _upload_condition(conditions: Conditions, pod: PodFacts | None) -> None:
    upload = uploaded(pod)
    kind = ConditionType.ARTIFACTS_UPLOADED
    if missing := not_uploaded(pod):
        conditions.set(kind, "False", "UploadFailed" if upload else "NoReport", missing)
    elif upload:
        conditions.set(
            kind,
            "True",
            "Uploaded",
            f"{upload.objects} objects, {upload.size} bytes at {upload.location}",
        )


def replaced(facts: RunFacts, attempt: Attempt) -> list[Attempt]:
    """Its attempts with another last one."""
    return [*(facts.status.attempts or [])[:-1], attempt]


def make_attempt(run: Identity, number: int, now: datetime) -> Attempt:
    """The record of an attempt that is to begin."""
    name = job_name(run.name, run.uid, number)
    return Attempt(number=number, job_name=name, created_at=format_time(now))


def compose(
    facts: RunFacts, conditions: Conditions, phase: Phase, message: str, **changed: object
) -> Plan:
    """The status as it is, with what has changed; and an event if the phase has."""
    # The first commit stands: a branch that has moved since changes no later attempt.
    commit = facts.status.commit or checked_out(facts.attempt.pod)
    progress = facts.status.progress if phase is Phase.RUNNING else None
    fields = {"commit": commit, "progress": progress, **changed}
    return compose_status(facts, conditions, phase, message, **fields)
