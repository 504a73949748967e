"""What is known of a DbtRun, and how its status is put together from it. The decisions are in :mod:`run`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from dbt_operator.api.backfill import DbtBackfillStatus
from dbt_operator.api.project import DbtProject
from dbt_operator.api.run import ArtifactsStatus, Attempt, DbtRun, DbtRunStatus, NodeCounts, NodeFailure
from dbt_operator.api.status import BackfillPhase, ConditionType, Phase, Reason
from dbt_operator.api.target import DbtTarget
from dbt_operator.planning.admission import Identity
from dbt_operator.planning.children import Orders
from dbt_operator.planning.conditions import Conditions
from dbt_operator.planning.duration import duration, parse_time
from dbt_operator.planning.observed import JobFacts, PodFacts
from dbt_operator.planning.plan import Event, Plan
from dbt_operator.planning.queue import Slot, Waiting, waited
from dbt_operator.planning.verdict import Verdict, checked_out, uploaded
from dbt_runner.protocol import FAILURES, Progress, Summary


@dataclass(frozen=True)
class Stray:
    """A Job that an operator which had stopped for a while has created although the attempt was over."""

    name: str
    uid: str


@dataclass(frozen=True)
class Observed:
    """All that is known of a run when a decision is due.

    Project and target come with their generations; None where they do not exist. ``state_run`` is the run that
    ``state.from.run`` names. ``job`` and ``pod`` are those of the
    current attempt, and None means confirmed absent. ``warnings`` are the warning events about a pod or Job that
    has not started, the newest first; ``refusal`` is what the API server has just had against creating the Job;
    ``progress`` is how far dbt was at the last look. ``slot`` is what is known of the target's slots; ``strays`` are
    Jobs of the run that do not stand in its status. ``orders`` is what the backfill that it is part of says of it.
    ``unreadable`` is what is wrong with objects that it refers to and that the models refuse, by kind and name; they
    count as not there.
    """

    run: DbtRun
    identity: Identity
    created_at: datetime
    runner_image: str
    project: tuple[DbtProject, int] | None = None
    target: tuple[DbtTarget, int] | None = None
    state_run: DbtRun | None = None
    job: JobFacts | None = None
    pod: PodFacts | None = None
    warnings: tuple[str, ...] = ()
    refusal: str = ""
    progress: Progress | None = None
    slot: Slot = field(default_factory=Slot)
    strays: tuple[Stray, ...] = ()
    orders: Orders | None = None
    unreadable: Mapping[str, str] = field(default_factory=dict)

    @property
    def status(self) -> DbtRunStatus:
        """The status as it stands."""
        return self.run.status or DbtRunStatus()


def elapsed(started_at: str | None, ended_at: str) -> str | None:
    """The time between two moments as people read it; None if there was no beginning."""
    return duration((parse_time(ended_at) - parse_time(started_at)).total_seconds()) if started_at else None


def results(seen: Observed, summary: Summary | None) -> dict[str, object]:
    """What the pod reported of nodes and artifacts."""
    found: dict[str, object] = {}
    if summary is not None:
        nodes = summary.nodes
        found["dbt_version"] = summary.dbt_version or None
        found["nodes"] = NodeCounts(
            **{name: getattr(nodes, name) for name in NodeCounts.model_fields if name != "done"},
            done=f"{nodes.total - nodes.skipped}/{nodes.total}",
        )
        found["failures"] = [
            NodeFailure(unique_id=f.unique_id, status=f.status, message=f.message or None)
            for f in summary.failures[:FAILURES]
        ] or None
    if (upload := uploaded(seen.pod)) is not None:
        found["artifacts"] = ArtifactsStatus(location=upload.location, objects=upload.objects)
    return found


def set_end(conditions: Conditions, seen: Observed, verdict: Verdict) -> None:
    """The conditions of a run that has ended."""
    reason = str(verdict.reason or "Succeeded")
    # A run that was skipped is as it should be, but who waits for Succeeded wants what it would have built.
    state = "False" if verdict.reason else "True"
    conditions.set(ConditionType.SUCCEEDED, state, reason, verdict.message)  # type: ignore[arg-type]
    conditions.set(ConditionType.FINISHED, "True", reason, verdict.message)
    _tests_condition(conditions, verdict)
    _upload_condition(conditions, seen)
    if verdict.reason and verdict.reason is not Reason.NOT_FRESH:
        conditions.stalled(reason, verdict.message)
    else:
        conditions.ready(reason, verdict.message)


def _tests_condition(conditions: Conditions, verdict: Verdict) -> None:
    summary = verdict.summary
    if summary is not None and summary.nodes.fail:
        conditions.set(ConditionType.TESTS_PASSED, "False", "TestFailed", f"{summary.nodes.fail} tests failed")
    elif verdict.reason is Reason.TEST_FAILED:  # by gate.failOn: Warn
        conditions.set(ConditionType.TESTS_PASSED, "False", "TestFailed", verdict.message)
    elif verdict.reason is None:
        conditions.set(ConditionType.TESTS_PASSED, "True", "Passed")
    else:
        conditions.set(ConditionType.TESTS_PASSED, "Unknown", "NotFinished", "the run ended before all tests had run")


def said_of_windows(pod: PodFacts | None, summary: Summary | None) -> str:
    """How the windows stand, a character each: as the runner says, or, where it was killed, the sidecar."""
    if summary is not None and summary.windows:
        return summary.windows
    upload = uploaded(pod)
    return upload.windows if upload else ""


def not_uploaded(pod: PodFacts | None) -> str:
    """What is known of artifacts that did not arrive; empty when all of them did."""
    upload = uploaded(pod)
    return upload.error if upload else "nothing says that artifacts were uploaded"


def _upload_condition(conditions: Conditions, seen: Observed) -> None:
    upload = uploaded(seen.pod)
    kind = ConditionType.ARTIFACTS_UPLOADED
    if missing := not_uploaded(seen.pod):
        conditions.set(kind, "False", "UploadFailed" if upload else "NoReport", missing)
    elif upload:
        conditions.set(kind, "True", "Uploaded", f"{upload.objects} objects, {upload.size} bytes at {upload.location}")


def conditions_of(seen: Observed, now: datetime) -> Conditions:
    """Its conditions, to be changed."""
    return Conditions.of(seen.status.conditions, seen.identity.generation, now)


def replaced(seen: Observed, attempt: Attempt) -> list[Attempt]:
    """Its attempts with another last one."""
    return [*(seen.status.attempts or [])[:-1], attempt]


def compose(seen: Observed, conditions: Conditions, phase: Phase, message: str, **changed: object) -> Plan:
    """The status as it is, with what has changed; and an event if the phase has."""
    if not phase.finished:
        under_way(conditions, phase, message)
    update = {
        "phase": phase,
        "message": message,
        "observed_generation": seen.identity.generation,
        "conditions": conditions.list(),
        # The first one stands: a branch that has moved since changes no later attempt.
        "commit": seen.status.commit or checked_out(seen.pod),
        "progress": seen.status.progress if phase is Phase.RUNNING else None,
        **left_queue(seen.status, phase, conditions.now),
        **changed,
    }
    status = seen.status.model_copy(update=update)
    return Plan(status=status, events=events(seen.status, status))


def under_way(conditions: Conditions, phase: Phase | BackfillPhase, message: str) -> None:
    """The conditions of what has not ended."""
    conditions.set(ConditionType.FINISHED, "False", phase)
    conditions.set(ConditionType.SUCCEEDED, "Unknown", phase)
    conditions.progressing(phase, message)


def left_queue(status: Waiting, phase: Phase | BackfillPhase, now: datetime) -> dict[str, object]:
    """How long somebody has waited, once that is over."""
    if status.queue is None or phase == Phase.QUEUED:
        return {}
    return {"queue": None, "queued_seconds": waited(status, now)}


def changed(plan: Plan, **fields: object) -> Plan:
    """A plan whose status differs in some fields."""
    return replace(plan, status=plan.status.model_copy(update=fields)) if plan.status else plan


def events(old: DbtRunStatus | DbtBackfillStatus, new: DbtRunStatus | DbtBackfillStatus) -> tuple[Event, ...]:
    """What people are told when the phase has changed."""
    if new.phase in (old.phase, None, Phase.PENDING):
        return ()
    if new.phase == Phase.FAILED:
        return (Event("Warning", str(new.reason), new.message or ""),)
    return (Event("Normal", str(new.phase), new.message or ""),)
