"""What a message says: all that whoever is on call needs, out of what statuses say."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dbt_notifier.messages import (
    About,
    Event,
    Exposure,
    FailedNode,
    Message,
    Nodes,
    Times,
    Windows,
)
from dbt_operator.api.kinds.backfill import DbtBackfill
from dbt_operator.api.kinds.run import DbtRun, DbtRunStatus, NodeFailure
from dbt_operator.api.kinds.schedule import DbtSchedule, DbtScheduleStatus, PastOccurrence
from dbt_operator.api.parts.notify import Notification
from dbt_operator.api.parts.run_template import RunTemplateSpec
from dbt_operator.api.registry import BACKFILL, RUN, SCHEDULE
from dbt_operator.api.status import Reason
from dbt_operator.planning.common.durations import parse_time, seconds
from dbt_operator.planning.common.identity import Identity
from dbt_operator.planning.notifying.reason_words import MEANINGS

_SHOWN = 10  # windows


@dataclass(frozen=True)
class Context:
    """The schedule that a run or a backfill is of."""

    identity: Identity
    schedule: DbtSchedule

    @property
    def status(self) -> DbtScheduleStatus:
        """Its status."""
        return self.schedule.status or DbtScheduleStatus()

    def find_past(self, run: str) -> PastOccurrence | None:
        """What it remembers of a run."""
        return next((past for past in self.status.history or () if past.run == run), None)

    def find_occurrence(self, run: str) -> str:
        """The occurrence of a run; empty where it is not known any more."""
        active = next((each for each in self.status.active or () if each.name == run), None)
        found = active or self.find_past(run)
        return found.occurrence if found else ""


def compose_run(
    run: DbtRun, identity: Identity, notification: Notification, context: Context | None
) -> Message:
    """The message about the end of a run."""
    status = run.status or DbtRunStatus()
    about = _describe(RUN.kind, identity, run.spec, context)
    return replace(
        _begin(notification, about, status.reason, context),
        summary=status.message or "",
        attempts=len(status.attempts or ()),
        artifacts=status.artifacts.location if status.artifacts else "",
        nodes=_count_nodes(status),
        times=_find_times(status.started_at, status.finished_at, notification, context),
    )


def compose_backfill(
    backfill: DbtBackfill, identity: Identity, notification: Notification, context: Context | None
) -> Message:
    """The message about the end of a backfill."""
    status = backfill.status
    run = backfill.spec.run_template.spec
    about = _describe(BACKFILL.kind, identity, run, context)
    counts = status.windows if status else None
    failures = (status.failures or []) if status else []
    windows = Windows(
        total=counts.total if counts else 0,
        succeeded=counts.succeeded if counts else 0,
        failed=counts.failed if counts else 0,
        first_failed=tuple(failure.window for failure in failures[:_SHOWN]),
    )
    return replace(
        _begin(notification, about, status.reason if status else None, context),
        summary=(status.message if status else "") or "",
        windows=windows,
        times=_find_times(
            status.started_at if status else None,
            status.finished_at if status else None,
            notification,
            context,
        ),
    )


def compose_bare(
    manifest: Mapping[str, Any], identity: Identity, notification: Notification
) -> Message:
    """The message about an object whose spec cannot be read: what its status says."""
    kind, status = manifest["kind"], manifest.get("status") or {}
    about = About(kind, identity.namespace, identity.name, identity.uid)
    reason = status.get("reason")
    known = Reason(reason) if reason in set(Reason) else None
    found = _begin(notification, about, known, None)
    return replace(found, summary=str(status.get("message") or ""))


def compose_schedule(
    schedule: DbtSchedule, identity: Identity, notification: Notification
) -> Message:
    """The message about an occurrence that only the schedule knows of."""
    context = Context(identity, schedule)
    spec = schedule.spec
    template = spec.run_template or (
        spec.backfill_template.spec.run_template if spec.backfill_template else None
    )
    occurrence = notification.occurrence or ""
    about = About(
        kind=SCHEDULE.kind,
        namespace=identity.namespace,
        name=identity.name,
        uid=identity.uid,
        project=template.spec.project_ref.name if template else "",
        target=template.spec.target_ref.name if template else "",
        schedule=identity.name,
        occurrence=occurrence,
    )
    past = next(
        (each for each in context.status.history or () if each.occurrence == occurrence), None
    )
    summary = (past.message if past else "") or context.status.message or ""
    reason = past.reason if past and past.reason in set(Reason) else None
    late = context.status.late
    since = late.since if late and late.occurrence == occurrence else ""
    times = Times(last_success=context.status.last_success_time or "", since=since)
    return replace(
        _begin(notification, about, Reason(reason) if reason else None, context),
        summary=summary,
        times=times,
    )


def _begin(
    notification: Notification, about: About, reason: Reason | None, context: Context | None
) -> Message:
    """What every message says."""
    series = context.identity.uid if context else about.uid
    return Message(
        key=notification.key,
        series=f"{series}/{notification.channel}",
        event=Event(notification.event),
        about=about,
        summary="",
        command=f"kubectl -n {about.namespace} describe {about.kind.lower()} {about.name}",
        reason=str(reason or ""),
        meaning=MEANINGS[reason] if reason else "",
    )


def _describe(
    kind: str, identity: Identity, spec: RunTemplateSpec, context: Context | None
) -> About:
    return About(
        kind=kind,
        namespace=identity.namespace,
        name=identity.name,
        uid=identity.uid,
        project=spec.project_ref.name,
        target=spec.target_ref.name,
        schedule=context.identity.name if context else "",
        occurrence=context.find_occurrence(identity.name) if context else "",
    )


def _count_nodes(status: DbtRunStatus) -> Nodes | None:
    """What became of the nodes; None where no pod has told."""
    counts, details = status.nodes, status.details
    if counts is None and not status.failures:
        return None
    failures = [each for each in status.failures or () if each.status != "skipped"]
    failed = (counts.error or 0) + (counts.fail or 0) if counts else len(failures)
    warned = (counts.warn or 0) if counts else 0
    missing = ""
    if details is None and (failed or warned):
        missing = "the pod could not tell who owns what, and what depends on it"
    return Nodes(
        total=counts.total if counts else 0,
        failed=max(failed, details.failed if details else 0),
        failed_tests=(counts.fail or 0) if counts else 0,
        skipped=(counts.skipped or 0) if counts else 0,
        warned=warned,
        failures=tuple(map(_describe_node, failures)),
        warnings=tuple(map(_describe_node, (details.warnings or ()) if details else ())),
        exposures=tuple(
            Exposure(each.name, each.type or "", each.owner or "")
            for each in ((details.exposures or ()) if details else ())
        ),
        affected_exposures=details.affected_exposures if details else 0,
        missing=(details.missing or "") if details else missing,
    )


def _describe_node(node: NodeFailure) -> FailedNode:
    return FailedNode(
        unique_id=node.unique_id,
        status=node.status,
        message=node.message or "",
        rows=node.rows,
        stored_in=node.stored_in or "",
        owners=tuple(node.owners or ()),
        group=node.group or "",
    )


def _find_times(
    started_at: str | None,
    finished_at: str | None,
    notification: Notification,
    context: Context | None,
) -> Times:
    took = None
    if started_at and finished_at:
        took = (parse_time(finished_at) - parse_time(started_at)).total_seconds()
    if context is None:
        return Times(finished_at=finished_at or "", duration=took)
    series = context.status.series or ()
    mine = next((each for each in series if each.channel == notification.channel), None)
    return Times(
        finished_at=finished_at or "",
        duration=took,
        median=_find_median(context.status.history or ()),
        last_success=_find_last_success(context, finished_at),
        since=mine.since if mine else "",
    )


def _find_median(history: Iterable[PastOccurrence]) -> float | None:
    """How long successes take, as far as the schedule remembers them."""
    took = [
        seconds(past.duration) for past in history if past.phase == "Succeeded" and past.duration
    ]
    return statistics.median(took) if took else None


def _find_last_success(context: Context, finished_at: str | None) -> str:
    """The last success before the run, which may be the last one itself."""
    ends = sorted(_list_successes(context.status.history or ()), reverse=True)
    before = [end for end in ends if not finished_at or end < finished_at]
    last = context.status.last_success_time or ""
    if before:
        return before[0]
    return last if last and (not finished_at or last < finished_at) else ""


def _list_successes(history: Sequence[PastOccurrence]) -> list[str]:
    return [past.finished_at for past in history if past.phase == "Succeeded" and past.finished_at]
