"""Who says that it is somebody's begins nothing until that one's status knows its UID: an owner
reference alone proves nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from dbt_operator.api.status import Condition, ConditionType
from dbt_operator.planning.common.conditions import State
from dbt_operator.planning.common.durations import parse_time
from dbt_operator.planning.common.record import Record
from dbt_operator.planning.common.references import UNREADABLE

_NOT_RECORDED = "NotRecorded"  # reason of the condition Admitted


@dataclass(frozen=True)
class Unrecorded:
    """Why a run or backfill begins nothing: what the condition Admitted says of it."""

    state: State
    reason: str
    message: str
    # It has waited for so long that it never will be recorded.
    is_over: bool = False


def find_unrecorded(
    record: Record,
    conditions: Iterable[Condition] | None,
    created_at: datetime,
    limit: timedelta,
    now: datetime,
) -> Unrecorded | None:
    """Why a run or backfill does not begin; None where its owner's status knows it.

    Args:
        record: what that status knows.
        conditions: of the run or backfill, which say since when it has waited.
        created_at: when it was created.
        limit: for how long it may wait.
        now: the time.
    """
    if record.unreadable:
        text = f"waiting: {record.owner} cannot be read: {record.unreadable}"
        return Unrecorded("Unknown", UNREADABLE, text)
    if record.stands:
        return None
    text = (
        f"{record.owner} does not exist"
        if record.gone
        else f"it does not stand in {record.place} of {record.owner}"
    )
    if now >= _left_out_since(conditions, created_at, now) + limit:
        text = f"{text}: only that one creates such runs"
        return Unrecorded("False", _NOT_RECORDED, text, is_over=True)
    return Unrecorded("False", _NOT_RECORDED, f"waiting: {text}")


def _left_out_since(
    conditions: Iterable[Condition] | None, created_at: datetime, now: datetime
) -> datetime:
    """Since when its owner, as far as that could be read, has not known of it."""
    found = {condition.type: condition for condition in conditions or ()}
    admitted = found.get(ConditionType.ADMITTED)
    if admitted is None:
        return created_at
    return parse_time(admitted.last_transition_time) if admitted.reason == _NOT_RECORDED else now
