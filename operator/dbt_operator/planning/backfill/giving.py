"""How many runs a backfill may have at work, and which windows they are given."""

from __future__ import annotations

from datetime import datetime

from dbt_operator.api.kinds.backfill import DbtBackfillStatus, WindowRun
from dbt_operator.api.parts.resolved import Resolved
from dbt_operator.api.status import BackfillPhase
from dbt_operator.planning.backfill import ledger as ledgers
from dbt_operator.planning.backfill.children import name_of
from dbt_operator.planning.backfill.facts import BackfillFacts
from dbt_operator.planning.backfill.ledger import Ledger
from dbt_operator.planning.backfill.resolving import resolve_runs
from dbt_operator.planning.backfill.status import describe_progress, record_slot, recorded
from dbt_operator.planning.common.compose import compose, conditions_of
from dbt_operator.planning.common.durations import format_time
from dbt_operator.planning.common.plan import Plan
from dbt_operator.planning.policy.pinning import is_commit


def count_lanes(facts: BackfillFacts, ledger: Ledger) -> int:
    """How many runs may be created now. As long as nobody knows the commit, the first one finds it
    for all.
    """
    at_once = facts.spec.max_concurrent_windows or 1
    resolved = facts.status.resolved
    if resolved is None or _commit_is_open(facts.status, resolved):
        at_once = 1 if resolved is not None or _has_moving_ref(facts) else at_once
    return at_once - len(ledger.runs)


def _has_moving_ref(facts: BackfillFacts) -> bool:
    project = facts.references.project
    git = project[0].spec.source.git if project else None
    return git is not None and not is_commit(git.ref)


def _commit_is_open(status: DbtBackfillStatus, resolved: Resolved) -> bool:
    git = resolved.source.git
    return git is not None and not status.commit and not is_commit(git.ref)


def give_windows(facts: BackfillFacts, ledger: Ledger, keys: list[str], now: datetime) -> Plan:
    """Give windows to new runs, under the slot."""
    resolved = facts.status.resolved or resolve_runs(facts, now)
    if isinstance(resolved, Plan):
        return resolved
    free = list(reversed(ledger.free)) if facts.spec.order == "NewestFirst" else ledger.free
    per_pod = facts.spec.windows_per_pod
    size = per_pod if isinstance(per_pod, int) else None
    shares = ledgers.shares(
        free, count_lanes(facts, ledger), facts.spec.max_concurrent_windows or 1, size
    )
    number = facts.status.runs_started or 0
    new = [
        WindowRun(
            name=name_of(facts.identity, number + each), windows=share, created_at=format_time(now)
        )
        for each, share in enumerate(shares, start=1)
    ]
    conditions = conditions_of(facts, now)
    conditions.admit()
    ledger = ledgers.give(ledger, new)
    return compose(
        facts,
        conditions,
        BackfillPhase.RUNNING,
        describe_progress(ledger),
        resolved=resolved,
        runs_started=number + len(new),
        started_at=facts.status.started_at or format_time(now),
        reason=None,
        **record_slot(facts, ledger),
        **recorded(facts, ledger, keys),
    )
