"""DbtSchedule: a run on time."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from dbt_operator.api.base import Model, rules
from dbt_operator.api.parts.run_template import RUN_RULES, RunTemplateSpec
from dbt_operator.api.parts.windows import Zone
from dbt_operator.api.status import Condition
from dbt_operator.api.texts import Known, Message, Moment, Note, Short

HISTORY = 20  # entries
NEXT_RUN_TIMES = 5

Cron = Annotated[
    str,
    StringConstraints(min_length=6, max_length=100),
    Field(
        json_schema_extra=rules(
            (
                (
                    r"self.matches('^\\S+( +\\S+){4}$')"
                    " || self in ['@yearly', '@annually', '@monthly', '@weekly', '@daily',"
                    " '@midnight', '@hourly']"
                ),
                (
                    "must be five fields (minute, hour, day of month, month, day of week) or a"
                    " word such as @daily"
                ),
            )
        )
    ),
]


class ScheduledRunSpec(RunTemplateSpec):
    """The run of each occurrence. In vars, selections, eventTime and args $(scheduled.time) stands
    for the time of the occurrence in UTC, $(scheduled.date) for its day in the schedule's timezone,
    $(interval.start) and $(interval.end) for the occurrence before and this one.
    """

    model_config = ConfigDict(
        json_schema_extra=rules(
            *RUN_RULES,
            (
                "!has(self.ttlAfterFinished)",
                "the runs of a schedule are kept as history says: leave out ttlAfterFinished",
            ),
            (
                (
                    "!has(self.eventTime) || !(self.eventTime.start.startsWith('$(window')"
                    " || self.eventTime.end.startsWith('$(window'))"
                ),
                "$(window.start) and $(window.end) have a meaning in a DbtBackfill only",
            ),
        )
    )


class ScheduledRunTemplate(Model):
    """What is run at each occurrence."""

    spec: ScheduledRunSpec
    """The spec of a DbtRun."""


class DbtScheduleSpec(Model):
    """When to run what. All of it may be changed: a change of schedules, timezone or suspend counts
    from now on, and any other change from the next occurrence on.
    """

    schedules: Annotated[list[Cron], Field(min_length=1, max_length=20)]
    """Entries of cron: five fields, of which the day of month may be L or LW and the day of week
    5L or 1#2; or @hourly, @daily, @weekly, @monthly, @yearly. Several are one schedule: what falls
    on the same minute is one run."""
    timezone: Zone | None = None
    """The time zone of the entries, by its IANA name. When clocks change, an entry with a fixed
    minute and hour still runs once a day, one with a * in them as often as the clock shows it.
    Default: UTC."""
    suspend: bool | None = None
    """Begin no run as long as it is true. What would have been due meanwhile is not made up for."""
    run_template: ScheduledRunTemplate
    """What is run at each occurrence."""


class ActiveRun(Model):
    """A run of the schedule that has not ended."""

    occurrence: Moment
    """The occurrence that it is the run of, in UTC."""
    name: Known
    """The name of the DbtRun."""
    uid: Known | None = None
    """Its UID, once it has been created. From then on it is never created again."""
    decided_at: Moment
    """When it was decided that it is to be created."""


class PastOccurrence(Model):
    """What became of an occurrence, or of some that follow on each other and ended alike."""

    occurrence: Moment
    """The occurrence, in UTC; the first one where there are several."""
    until: Moment | None = None
    """The last one, where there are several."""
    count: int | None = None
    """How many there are, where there are several."""
    run: Known | None = None
    """The DbtRun, if there was one."""
    phase: Literal["Succeeded", "Failed", "Cancelled", "Skipped", "Missed"]
    """How its run ended; Skipped also if there was none because the run before was still at work,
    and Missed if nobody was there in time to begin one."""
    reason: Short | None = None
    """Why."""
    message: Note | None = None
    """What the run says, shortened."""
    finished_at: Moment | None = None
    """When its run ended."""
    duration: Short | None = None
    """How long its run took."""


class DbtScheduleStatus(Model):
    """What the operator found."""

    observed_generation: int | None = None
    """The generation of the spec that this status is about."""
    message: Message | None = None
    """One sentence that a person can act on."""
    cursor: Moment | None = None
    """What is at or before this time, in UTC, is decided. It never goes back."""
    timing_hash: Known | None = None
    """What of the spec the cursor counts for."""
    next_run_times: Annotated[list[Moment], Field(max_length=NEXT_RUN_TIMES)] | None = None
    """The next occurrences, in UTC."""
    last_scheduled_time: Moment | None = None
    """The last occurrence that a run was created for."""
    last_success_time: Moment | None = None
    """When the last run that succeeded ended."""
    active: Annotated[list[ActiveRun], Field(max_length=10)] | None = None
    """The runs that have not ended. A run of the schedule that is not here begins nothing."""
    history: Annotated[list[PastOccurrence], Field(max_length=HISTORY)] | None = None
    """What became of the last occurrences, the newest first."""
    time_zones: Short | None = None
    """The version of the IANA time zone database that the occurrences were found with."""
    conditions: Annotated[list[Condition], Field(max_length=16)] | None = None
    """Ready, LastRunSucceeded, Suspended, Reconciling, Stalled."""


class DbtSchedule(Model):
    """Run dbt on time, each occurrence once and only once."""

    spec: DbtScheduleSpec
    """When to run what."""
    status: DbtScheduleStatus | None = None
    """What the operator found."""
