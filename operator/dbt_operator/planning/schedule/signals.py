"""What is known of what a run follows on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dbt_operator.api.kinds.schedule import Success, Trigger
from dbt_operator.api.texts import cut
from dbt_operator.planning.common.durations import format_time
from dbt_operator.planning.common.names import format_labels
from dbt_operator.planning.run.successes import read_jobs

_LONGEST = 253  # characters


@dataclass(frozen=True)
class Signal:
    """What is known of a trigger: the last success, if there was one."""

    name: str
    success: Success | None = None
    is_missing: bool = False  # what it waits for does not exist


def name_trigger(trigger: Trigger) -> str:
    """How a trigger is called in a status."""
    if trigger.after_schedule is not None:
        return f"DbtSchedule {trigger.after_schedule.name}"
    labels = trigger.after_job.selector.match_labels if trigger.after_job else {}
    return cut(f"Jobs with {format_labels(labels)}", _LONGEST)


def find_last_job(jobs: Iterable[Mapping[str, Any]]) -> Success | None:
    """The success of that one of some Jobs that has completed last; None where none has."""
    last: tuple[str, str] | None = None
    for job in jobs:
        found = read_jobs([job]).successes
        if found and (last is None or format_time(found[0].completed_at) > last[0]):
            last = format_time(found[0].completed_at), job["metadata"]["uid"]
    return Success(uid=last[1], completion_time=last[0]) if last else None
