"""When the state that a run has left becomes the current one of its target: after the verdict,
before it is told.
"""

from __future__ import annotations

from dbt_operator.api.kinds.run import Attempt
from dbt_operator.planning.attempt.verdict import Verdict
from dbt_operator.planning.common.plan import PromoteState
from dbt_operator.planning.run.facts import Observed
from dbt_operator.planning.run.status import not_uploaded
from dbt_operator.planning.state import compare, promote


def due(seen: Observed, verdict: Verdict, attempt: Attempt | None) -> PromoteState | None:
    """What makes the state that a run has left the current one of its target, if that is due."""
    resolved, project = seen.status.resolved, seen.project
    if (
        verdict.reason is not None
        or resolved is None
        or resolved.promote is None
        or project is None
    ):
        return None
    if not_uploaded(seen.pod):
        return None
    if resolved.promote != "Always" and not (verdict.summary and verdict.summary.whole):
        return None  # the project may have narrowed the build, which the spec does not show
    started_at = seen.status.started_at or (attempt.started_at if attempt else None)
    entry = promote.entry(
        resolved,
        seen.run.spec.target_ref.name,
        seen.identity.name,
        started_at=started_at,
        dbt_version=verdict.summary.dbt_version if verdict.summary else None,
        commit=seen.status.commit,
    )
    base = resolved.state.key if resolved.promote == "Slim" and resolved.state else None
    if entry is None or promote.advanced(compare.states(project[0]), entry, base) is None:
        return None
    return PromoteState(seen.run.spec.project_ref.name, entry, base)
