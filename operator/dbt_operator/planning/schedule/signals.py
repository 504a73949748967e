"""What is known of what a run follows on."""

from __future__ import annotations

from dataclasses import dataclass

from dbt_operator.api.kinds.schedule import Success, Trigger


@dataclass(frozen=True)
class Signal:
    """What is known of a trigger: the last success, if there was one."""

    name: str
    success: Success | None = None
    is_missing: bool = False  # what it waits for does not exist


def name_trigger(trigger: Trigger) -> str:
    """How a trigger is called in a status."""
    return f"DbtSchedule {trigger.after_schedule.name}" if trigger.after_schedule else ""
