"""A run waits until all that ``spec.waitFor`` names has succeeded. It is in no queue meanwhile.

A success that has been seen is written down, so nothing that becomes of it later takes it back; and
the end of the wait is written down before anything follows on it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from dbt_operator.api.parts.upstreams import Upstream, UpstreamStatus, Wait
from dbt_operator.api.status import ConditionType, Phase, Reason
from dbt_operator.planning.attempt.verdict import Verdict
from dbt_operator.planning.common.compose import conditions_of
from dbt_operator.planning.common.durations import duration, format_time, parse_time, seconds
from dbt_operator.planning.common.names import format_labels
from dbt_operator.planning.common.plan import Plan
from dbt_operator.planning.run.facts import RunFacts
from dbt_operator.planning.run.status import compose
from dbt_operator.planning.run.successes import Success, UpstreamFacts

TIMEOUT = "24h"
# How often an upstream is looked at that nobody tells anything of.
LOOKS = timedelta(seconds=60)


def await_upstreams(facts: RunFacts, missing: str, now: datetime) -> Plan | Verdict | None:
    """Wait for what a run names; the verdict on one that waits no longer; None where it need not
    wait any more.

    Args:
        facts: the run.
        missing: what it refers to and does not exist, which may come meanwhile.
        now: the time.
    """
    asked = facts.run.spec.wait_for or []
    wait = facts.status.wait
    if not asked or (wait is not None and wait.ended_at is not None):
        return None
    if wrong := _find_wrong(facts):
        return Verdict(Reason.INVALID_SPEC, wrong)
    since = wait.since if wait else format_time(now)
    found = Wait(since=since, upstreams=_look_at_all(facts, asked, wait))
    pending = [
        (upstream, status)
        for upstream, status in zip(asked, found.upstreams, strict=True)
        if status.completed_at is None
    ]
    if not pending:
        return _end_wait(facts, found, now)
    first, status = min(pending, key=lambda each: _rank_deadline(each[0], since))
    due = _find_deadline(first, since)
    if now >= due:
        return _judge_missing(first, status)
    text = f"waiting for {' and '.join(_describe(status) for _, status in pending)}"
    conditions = conditions_of(facts, now)
    conditions.set(ConditionType.ADMITTED, "Unknown", Phase.WAITING, "it has not begun")
    message = f"{text}, until {format_time(due)}" + (f". Meanwhile, {missing}" if missing else "")
    plan = compose(facts, conditions, Phase.WAITING, message, wait=found)
    return replace(plan, requeue_after=min(LOOKS, due - now).total_seconds())


def _end_wait(facts: RunFacts, found: Wait, now: datetime) -> Plan:
    """Written down before the run goes on: that is when it begins to queue."""
    conditions = conditions_of(facts, now)
    conditions.set(ConditionType.ADMITTED, "Unknown", Phase.PENDING, "its turn comes next")
    ended = found.model_copy(update={"ended_at": format_time(now)})
    text = "all that it has waited for is there"
    return replace(compose(facts, conditions, Phase.PENDING, text, wait=ended), requeue_after=0.0)


def _find_wrong(facts: RunFacts) -> str:
    """What makes the wait senseless; empty if nothing does."""
    owner = facts.record.owner if facts.record else ""
    for number, upstream in enumerate(facts.run.spec.wait_for or ()):
        where = f"spec.waitFor[{number}]"
        for name, bound in (
            ("newerThan", upstream.newer_than),
            ("begunAfter", upstream.begun_after),
        ):
            if bound is not None and bound.startswith("$"):
                return f"{where}.{name}: {bound} has a meaning in a DbtSchedule only: set a time"
        if upstream.run and upstream.run.name == facts.identity.name:
            return f"{where}.run: a run cannot wait for itself: leave it out"
        if upstream.schedule and owner == f"DbtSchedule {upstream.schedule.name}":
            return (
                f"{where}.schedule: a run of a schedule cannot wait for that schedule: use"
                " concurrencyPolicy, or leave it out"
            )
    return ""


def _look_at_all(facts: RunFacts, asked: list[Upstream], wait: Wait | None) -> list[UpstreamStatus]:
    """How all of it stands. What has been seen before stays seen."""
    before = wait.upstreams if wait else []
    found = []
    for number, (upstream, known) in enumerate(zip(asked, facts.upstreams, strict=True)):
        old = before[number] if number < len(before) else None
        is_seen = old is not None and old.completed_at is not None
        found.append(old if old and is_seen else _look(upstream, known, facts.created_at))
    return found


def _look(upstream: Upstream, known: UpstreamFacts, created_at: datetime) -> UpstreamStatus:
    kind, name = name_upstream(upstream)
    newest = max(known.successes, key=lambda success: success.completed_at, default=None)
    if newest is None:
        return UpstreamStatus(kind=kind, name=name, message=known.said)
    fitting = [each for each in known.successes if not _find_fault(upstream, each, created_at)]
    if not fitting:
        why = _find_fault(upstream, newest, created_at)
        return UpstreamStatus(kind=kind, name=name, message=why)
    proof = max(fitting, key=lambda success: success.completed_at)
    return UpstreamStatus(
        kind=kind,
        name=name,
        by=proof.by or None,
        completed_at=format_time(proof.completed_at),
    )


def name_upstream(upstream: Upstream) -> tuple[str, str]:
    """Kind and name of something that is waited for; of Jobs the labels, where these are known."""
    if upstream.schedule is not None:
        return "DbtSchedule", upstream.schedule.name
    if upstream.run is not None:
        return "DbtRun", upstream.run.name
    if upstream.object is not None:
        return upstream.object.kind, upstream.object.name
    job = upstream.job
    if job is not None and job.selector is not None:
        return "Job", format_labels(job.selector.match_labels)
    return "Job", (job.name if job else None) or ""


def _find_fault(upstream: Upstream, success: Success, created_at: datetime) -> str:
    """Why a success does not count; empty if it does.

    Kubernetes cuts times to whole seconds: what was completed within the second that newerThan
    names was completed after it.
    """
    completed = format_time(success.completed_at)
    if upstream.newer_than is not None:
        bound = _find_bound(upstream.newer_than, created_at)
        if success.completed_at < bound:
            return f"the last success is of {completed}, older than {format_time(bound)}"
    if upstream.begun_after is not None:
        bound = _find_bound(upstream.begun_after, created_at)
        if success.began_at is None:
            return f"the last success is of {completed}, and nothing tells when that began"
        if success.began_at <= bound:
            began = format_time(success.began_at)
            return f"the last success began at {began}, not after {format_time(bound)}"
    return ""


def _find_bound(bound: str, created_at: datetime) -> datetime:
    """The time that a bound means: a duration is one before the creation of the run."""
    if "T" in bound:
        return parse_time(bound)
    return created_at - timedelta(seconds=seconds(bound))


def _find_deadline(upstream: Upstream, since: str) -> datetime:
    return parse_time(since) + timedelta(seconds=seconds(upstream.timeout or TIMEOUT))


def _rank_deadline(upstream: Upstream, since: str) -> tuple[datetime, bool]:
    """Whose time is over first; where that of several is, one with which the run fails."""
    return _find_deadline(upstream, since), upstream.on_timeout == "Skip"


def _judge_missing(upstream: Upstream, status: UpstreamStatus) -> Verdict:
    """The verdict on a run that has waited for as long as it may."""
    limit = duration(seconds(upstream.timeout or TIMEOUT))
    text = f"it has waited for {limit} for {_describe(status)}"
    if upstream.on_timeout == "Skip":
        return Verdict(Reason.NOT_ARRIVED, f"{text}: nothing was run, as onTimeout says")
    return Verdict(Reason.UPSTREAM_MISSING, text)


def _describe(status: UpstreamStatus) -> str:
    what = "a Job with the labels" if status.kind == "Job" and "=" in status.name else status.kind
    return f"{what} {status.name}" + (f" ({status.message})" if status.message else "")
