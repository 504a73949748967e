"""When the state that a run has left becomes the current one of its target, or the current one is
none any more: after the verdict, before it is told.
"""

from __future__ import annotations

from dbt_operator.api.kinds.project import StateEntry
from dbt_operator.api.kinds.run import Attempt
from dbt_operator.api.parts.resolved import Resolved
from dbt_operator.planning.attempt.verdict import Verdict, uploaded
from dbt_operator.planning.common.plan import PromoteState
from dbt_operator.planning.run.facts import RunFacts
from dbt_operator.planning.state import compare, promote
from dbt_protocol.paths import OVERWRITTEN

_WRITING = {"build", "run", "seed", "snapshot", "clone"}


def find_promotion(
    facts: RunFacts, verdict: Verdict, attempt: Attempt | None
) -> PromoteState | None:
    """What makes the state that a run has left the current one of its target, if that is due."""
    resolved, project = facts.status.resolved, facts.references.project
    if (
        verdict.reason is not None
        or resolved is None
        or resolved.promote is None
        or project is None
    ):
        return None
    upload = uploaded(facts.attempt.pod)
    if upload is None or not upload.is_state_uploaded:
        return None  # what else has not arrived, of logs and SQL, is of no use to later runs
    if verdict.summary and not verdict.summary.leaves_state:
        return None  # its names hold a secret, so it has left none
    if resolved.promote != "Always" and not (verdict.summary and verdict.summary.whole):
        return None  # the project may have narrowed the build, which the spec does not show
    entry = _make_entry(facts, resolved, verdict, attempt)
    base = resolved.state.key if resolved.promote == "Slim" and resolved.state else None
    if entry is None or promote.advanced(compare.states(project[0]), entry, base) is None:
        return None
    return PromoteState(facts.run.spec.project_ref.name, entry, base)


def find_withdrawal(facts: RunFacts, attempt: Attempt | None) -> PromoteState | None:
    """What lets a target have no state, where a run has built over what its state speaks of; None
    where that is not due.

    That is, with nothing or a sample of the rows, or with what may be older code, since the run of
    the current state began when this one was under way. Later runs would leave that out. They
    compare with a state that does not exist, and what began before this end cannot replace it.

    Args:
        facts: a run whose state did not become the current one.
        attempt: its last, which has ended.
    """
    resolved, project = facts.status.resolved, facts.references.project
    if attempt is None or attempt.started_at is None or attempt.finished_at is None:
        return None  # it has built nothing
    started_at, ended_at = facts.status.started_at or attempt.started_at, attempt.finished_at
    if resolved is None or project is None or facts.run.spec.env:
        return None
    if not any(step.command in _WRITING for step in resolved.steps):
        return None
    states, target = compare.states(project[0]), facts.run.spec.target_ref.name
    current = compare.current_state(states, target)
    is_own = current is not None and current.key == resolved.state_location
    is_later = current is not None and started_at <= current.at <= ended_at
    if is_later and current is not None and current.commit is not None:
        is_later = current.commit != facts.status.commit
    if is_own or not (is_later or promote.builds_less(facts.run.spec)):
        return None
    name = facts.identity.name
    key = f"{resolved.location}/{OVERWRITTEN}"
    entry = StateEntry(target=target, run=name, key=key, at=ended_at)
    if promote.advanced(states, entry, None) is None:
        return None
    return PromoteState(facts.run.spec.project_ref.name, entry, None)


def _make_entry(
    facts: RunFacts, resolved: Resolved, verdict: Verdict, attempt: Attempt | None
) -> StateEntry | None:
    """What a run that succeeded would put into its project's states."""
    started_at = facts.status.started_at or (attempt.started_at if attempt else None)
    if resolved.state_location is None or started_at is None:
        return None
    return StateEntry(
        target=facts.run.spec.target_ref.name,
        run=facts.identity.name,
        key=resolved.state_location,
        dbt_version=verdict.summary.dbt_version if verdict.summary else None,
        commit=facts.status.commit,
        at=started_at,
    )
