"""What is done with each kind: one row each, beside its row in :mod:`dbt_operator.api.registry`.

Nothing else in reconciling asks of what kind an object is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from dbt_notifier.messages import Message
from dbt_operator.api.kinds.project import DbtProject
from dbt_operator.api.kinds.target import DbtTarget
from dbt_operator.api.parts.notify import Notification
from dbt_operator.api.registry import BACKFILL, PROJECT, RUN, SCHEDULE, TARGET, Kind
from dbt_operator.api.status import Phase
from dbt_operator.cluster.store import Store
from dbt_operator.common.keys import Key
from dbt_operator.observing import backfill, schedule
from dbt_operator.observing.reader import Reader, identity_of
from dbt_operator.observing.run import Runs
from dbt_operator.planning import project as project_planner
from dbt_operator.planning import target as target_planner
from dbt_operator.planning.backfill import planner as backfill_planner
from dbt_operator.planning.common.plan import Plan
from dbt_operator.planning.common.reading import read
from dbt_operator.planning.run import planner as run_planner
from dbt_operator.planning.schedule import planner as schedule_planner
from dbt_operator.reconcile import letters, waking
from dbt_operator.reconcile.waking import Change, ChangeRule, WriteRule, Written

Manifest = Mapping[str, Any]


@dataclass(frozen=True)
class Sources:
    """Where the facts for plans come from."""

    reader: Reader
    runs: Runs


@dataclass(frozen=True)
class Round:
    """How far one reconciliation has come, which a plan has to know of."""

    acted: bool = False  # actions of an earlier round have been taken
    asked: bool = False  # one of them asked for a slot
    refusal: str = ""  # what the API server had against them
    queued: int | None = None  # of a target: how many its status is to say that wait


def _plan_target(_: Sources, manifest: Manifest, done: Round, now: datetime) -> Plan:
    target = read(DbtTarget, manifest)
    return target_planner.plan(target, identity_of(manifest), now, done.queued)


def _plan_project(_: Sources, manifest: Manifest, __: Round, now: datetime) -> Plan:
    return project_planner.plan(read(DbtProject, manifest), identity_of(manifest), now)


def _plan_run(sources: Sources, manifest: Manifest, done: Round, now: datetime) -> Plan:
    facts = sources.runs.observe(manifest, acted=done.acted, asked=done.asked)
    return run_planner.plan(replace(facts, refusal=done.refusal), now)


def _plan_backfill(sources: Sources, manifest: Manifest, done: Round, now: datetime) -> Plan:
    facts = backfill.observe(sources.reader, manifest, asked=done.asked)
    return backfill_planner.plan(replace(facts, refusal=done.refusal), now)


def _plan_schedule(sources: Sources, manifest: Manifest, done: Round, now: datetime) -> Plan:
    facts = schedule.observe(sources.reader, manifest)
    return schedule_planner.plan(replace(facts, refusal=done.refusal), now)


def _backs_off(manifest: Manifest) -> bool:
    return bool(manifest.get("status", {}).get("phase") == Phase.BACKING_OFF)


@dataclass(frozen=True)
class Row:
    """What is done with a kind."""

    kind: Kind
    plan: Callable[[Sources, Manifest, Round, datetime], Plan]
    woken_by_change: tuple[ChangeRule, ...] = ()
    woken_by_write: tuple[WriteRule, ...] = ()
    # It has slots, which are settled before anything is planned.
    has_slots: bool = False
    # Writes the message that a notification in its status stands for.
    write_message: Callable[[Store, Manifest, Notification], Message] | None = None
    # A spec that cannot be read ends it, as it cannot be mended.
    ends_by_wrong_spec: bool = False
    # Whether an object that holds a slot may have to give it up to others who are queued.
    may_yield: Callable[[Manifest], bool] = lambda _: False


ROWS = {
    row.kind.kind: row
    for row in (
        Row(
            TARGET,
            _plan_target,
            woken_by_change=(waking.find_called, waking.find_waiting_for("targetRef")),
            has_slots=True,
        ),
        Row(
            PROJECT,
            _plan_project,
            woken_by_change=(waking.find_waiting_for("projectRef"),),
        ),
        Row(
            RUN,
            _plan_run,
            woken_by_change=(
                waking.find_target_of_deleted,
                waking.find_parent,
                waking.find_schedule,
                waking.find_waiting_for_end,
            ),
            woken_by_write=(
                waking.find_target_with_news,
                waking.find_parent,
                waking.find_schedule_of_ended,
            ),
            write_message=letters.write_of_run,
            ends_by_wrong_spec=True,
            may_yield=_backs_off,
        ),
        Row(
            BACKFILL,
            _plan_backfill,
            woken_by_change=(
                waking.find_target_of_deleted,
                waking.find_children,
                waking.find_schedule,
            ),
            woken_by_write=(
                waking.find_target_with_news,
                waking.find_given_runs,
                waking.find_schedule_of_ended,
            ),
            write_message=letters.write_of_backfill,
            may_yield=lambda _: True,
        ),
        Row(
            SCHEDULE,
            _plan_schedule,
            woken_by_change=(waking.find_children, waking.find_waiting),
            woken_by_write=(waking.find_active_runs,),
            write_message=letters.write_of_schedule,
        ),
    )
}


def find_concerned(change: Change) -> Iterator[Key]:
    """What may have to be done when an object has changed: that object, and whom else its kind
    concerns.
    """
    yield waking.key_of(change.manifest)
    for rule in ROWS[change.manifest["kind"]].woken_by_change:
        yield from rule(change)


def find_concerned_by_write(written: Written) -> Iterator[Key]:
    """Whom a write of ours is news for. Watches would tell them, too, only later."""
    for rule in ROWS[written.manifest["kind"]].woken_by_write:
        yield from rule(written)
