"""DbtSchedule: a run on time."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from dbt_operator.api.base import Duration, Model, ShortName, rules
from dbt_operator.api.parts.backfill_template import BACKFILL_RULES, BackfillTemplateSpec
from dbt_operator.api.parts.cron import Cron
from dbt_operator.api.parts.notify import CHANNELS, NOTIFICATIONS, Notification, Notifies, Series
from dbt_operator.api.parts.run_template import RUN_RULES, RunTemplateSpec
from dbt_operator.api.parts.upstreams import JobSelector
from dbt_operator.api.parts.windows import Zone
from dbt_operator.api.status import Condition
from dbt_operator.api.texts import Known, Message, Moment, Note, Short

HISTORY = 20  # entries
BACKLOG = 100  # occurrences
KEPT = 10  # runs of each kind of end, unless history says otherwise
NEXT_RUN_TIMES = 5
MARKS = 20  # labels, or annotations, of a template

# Why there is a run, or should have been one, where it is not the clock.
Cause = Literal["RunNow", "Retry", "Trigger", "Backfill"]
RunKind = Literal["DbtRun", "DbtBackfill"]
ClockTime = Annotated[
    str, StringConstraints(min_length=6, max_length=6, pattern=r"^T([01][0-9]|2[0-3]):[0-5][0-9]$")
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


_MARK_RULES = (
    (
        (
            r"self.all(name, name.matches('^([a-z0-9.-]{1,253}/)?"
            r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))"
        ),
        (
            "names a label or annotation that Kubernetes does not take: a name has at most 63"
            " letters, digits, - _ and ., after a prefix such as example.com/"
        ),
    ),
    (
        "self.all(name, !name.startsWith('dbt-operator.dev/'))",
        "what begins with dbt-operator.dev/ is set by the operator alone: leave it out",
    ),
)
_LabelValue = Annotated[
    str,
    StringConstraints(max_length=63, pattern=r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$"),
]
Labels = Annotated[
    dict[str, _LabelValue], Field(max_length=MARKS, json_schema_extra=rules(*_MARK_RULES))
]
Annotations = Annotated[
    dict[str, Annotated[str, StringConstraints(max_length=4096)]],
    Field(max_length=MARKS, json_schema_extra=rules(*_MARK_RULES)),
]


class TemplateMetadata(Model):
    """What is put on each run, beside what the operator puts there. Marks by which Helm, Argo CD
    and Flux know what is theirs are left out: they would take the runs for their own.
    """

    labels: Labels | None = None
    """Labels of the runs."""
    annotations: Annotations | None = None
    """Annotations of the runs."""


class ScheduledRunTemplate(Model):
    """What is run at each occurrence."""

    metadata: TemplateMetadata | None = None
    """Labels and annotations of the runs."""
    spec: ScheduledRunSpec
    """The spec of a DbtRun."""


class ScheduledBackfillSpec(BackfillTemplateSpec):
    """The backfill of each occurrence. In vars and selections $(scheduled.time), $(scheduled.date),
    $(interval.start) and $(interval.end) stand for what they do in a run, beside what stands for a
    window.
    """

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("has(self.windows)", "windows are missing: for example dates: {last: 7d}"),
            *BACKFILL_RULES,
            (
                "!has(self.runTemplate.spec.ttlAfterFinished)",
                (
                    "the runs of a schedule are kept as history says: leave out"
                    " runTemplate.spec.ttlAfterFinished"
                ),
            ),
        )
    )


class ScheduledBackfillTemplate(Model):
    """What is run over windows at each occurrence."""

    metadata: TemplateMetadata | None = None
    """Labels and annotations of the backfills."""
    spec: ScheduledBackfillSpec
    """The spec of a DbtBackfill."""


class AfterSchedule(Model):
    """A success of another DbtSchedule."""

    name: ShortName
    """Its name."""


class AfterJob(Model):
    """A success of a Job that somebody else makes, such as a load."""

    selector: JobSelector
    """The labels of such Jobs."""


class Trigger(Model):
    """What a run follows on."""

    after_schedule: AfterSchedule | None = None
    """Each time that another DbtSchedule of the namespace succeeds."""
    after_job: AfterJob | None = None
    """Each time that a Job of the namespace with some labels completes. It has to be there for
    some seconds after its end: one that was deleted before it was seen is lost."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "has(self.afterSchedule) != has(self.afterJob)",
                "set exactly one of afterSchedule and afterJob",
            )
        )
    )


class History(Model):
    """How many runs are kept. The last one that succeeded and the last one that ended always are;
    artifacts stay whatever becomes of runs.
    """

    succeeded: Annotated[int, Field(ge=0, le=100)] | None = None
    """How many that succeeded, or had nothing to do. Default: 10."""
    failed: Annotated[int, Field(ge=0, le=100)] | None = None
    """How many that failed or were cancelled. Default: 10."""
    ttl: Duration | None = None
    """How long after its end a run is deleted at the latest. Default: never."""


class DbtScheduleSpec(Model):
    """When to run what. All of it may be changed: a change of schedules, timezone, triggers or
    suspend counts from now on, and any other change from the next occurrence on.
    """

    schedules: Annotated[list[Cron], Field(min_length=1, max_length=20)] | None = None
    """Entries of cron: five fields, of which the day of month may be L or LW and the day of week
    5L or 1#2; or @hourly, @daily, @weekly, @monthly, @yearly. Several are one schedule: what falls
    on the same minute is one run."""
    timezone: Zone | None = None
    """The time zone of the entries, by its IANA name. When clocks change, an entry with a fixed
    minute and hour still runs once a day, one with a * in them as often as the clock shows it.
    Default: UTC."""
    triggers: Annotated[list[Trigger], Field(min_length=1, max_length=20)] | None = None
    """What a run follows on, instead of the clock or beside it. What has happened before the
    schedule was created, or this was edited, counts as seen."""
    debounce: Duration | None = None
    """For how long after a trigger others are waited for: what comes within it, or while a run is
    at work, is followed by one run. Default: 10s."""
    suspend: bool | None = None
    """Begin no run as long as it is true. What would have been due meanwhile is not made up for."""
    concurrency_policy: Literal["Forbid", "Queue", "Replace"] | None = None
    """What becomes of an occurrence while the run of an earlier one has not ended, be it that it
    waits for a slot. Forbid, the default: it is skipped. Queue: it begins when that one has ended;
    the newest waits. Replace: that one is cancelled, and it begins once it has ended."""
    starting_deadline: Duration | None = None
    """An occurrence whose run cannot be created within this time is missed. Default: none."""
    catch_up: Literal["Latest", "None", "All"] | None = None
    """What becomes of occurrences that come due while no operator is there. Latest, the default:
    the latest has a run. None: none has, if it is more than 5 minutes late. All: each has one, the
    oldest first, one after another, but no more than the latest 100."""
    history: History | None = None
    """How many runs are kept."""
    finish_within: Duration | None = None
    """For how long after each occurrence a success of it, or of a later one, may be waited for:
    after that the condition OnTime is False until there is one, whatever the reason."""
    finish_at: ClockTime | None = None
    """The time of day, in the schedule's timezone, by which it is to have succeeded: T07:00.
    Instead of finishWithin."""
    notify: Notifies | None = None
    """Who is told, instead of whom the template or the project's defaults name; empty: nobody. A
    failure that goes on is told once a day, or as the channel's repeat says; one of other nodes, or
    for another reason, at once."""
    run_template: ScheduledRunTemplate | None = None
    """The DbtRun of each occurrence."""
    backfill_template: ScheduledBackfillTemplate | None = None
    """The DbtBackfill of each occurrence, instead of a DbtRun: for example over the last seven
    days, every night."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "has(self.schedules) || has(self.triggers)",
                "set schedules, triggers, or both",
            ),
            (
                "!has(self.debounce) || has(self.triggers)",
                "debounce is about triggers, and there are none",
            ),
            (
                "!has(self.finishWithin) || !has(self.finishAt)",
                "set finishWithin or finishAt, not both",
            ),
            (
                "has(self.runTemplate) != has(self.backfillTemplate)",
                "set exactly one of runTemplate and backfillTemplate",
            ),
        )
    )


class ActiveRun(Model):
    """A run, or a backfill, of the schedule that has not ended."""

    occurrence: Moment
    """The occurrence that it is the run of, in UTC."""
    start: Moment | None = None
    """Where its interval begins, if not at the occurrence before."""
    cause: Cause | None = None
    """Who asked for it, where it is not the clock."""
    kind: RunKind | None = None
    """What it is. Default: DbtRun."""
    name: Known
    """Its name."""
    days: Known | None = None
    """The days over whose occurrences it goes, 2024-01-01/2024-01-07; none but for a backfill that
    somebody has asked for."""
    uid: Known | None = None
    """Its UID, once it has been created. From then on it is never created again."""
    decided_at: Moment
    """When it was decided that it is to be created."""
    replaced: bool | None = None
    """Whether it is to end, as a later occurrence is to begin."""


class WaitingOccurrence(Model):
    """An occurrence that begins when the run before has ended."""

    occurrence: Moment
    """The occurrence, in UTC."""
    start: Moment | None = None
    """Where its interval begins, if not at the occurrence before."""
    cause: Cause | None = None
    """Who asked for it, where it is not the clock."""
    mark: Known | None = None
    """How the name of its run will end, where that does not follow from the occurrence."""
    days: Known | None = None
    """The days over whose occurrences it goes, 2024-01-01/2024-01-07; none but for a backfill that
    somebody has asked for."""
    since: Moment
    """Since when it waits."""


class Backlog(Model):
    """Occurrences that are made up for, one after another: all of the schedule between two."""

    first: Moment
    """The next one, in UTC."""
    last: Moment
    """The last one."""
    count: int
    """How many there are."""


class PastOccurrence(Model):
    """What became of an occurrence, or of some that follow on each other and ended alike."""

    occurrence: Moment
    """The occurrence, in UTC; the first one where there are several."""
    start: Moment | None = None
    """Where its interval begins, if not at the occurrence before."""
    until: Moment | None = None
    """The last one, where there are several."""
    count: int | None = None
    """How many there are, where there are several."""
    cause: Cause | None = None
    """Who asked for it, where it is not the clock."""
    kind: RunKind | None = None
    """What its run is. Default: DbtRun."""
    run: Known | None = None
    """Its DbtRun or DbtBackfill, if there was one."""
    days: Known | None = None
    """The days over whose occurrences it goes, 2024-01-01/2024-01-07; none but for a backfill that
    somebody has asked for."""
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


class Success(Model):
    """A success that a run may follow on."""

    uid: Known
    """The UID of what has succeeded."""
    completion_time: Moment
    """When it did."""


class TriggerStatus(Model):
    """What is known of a trigger."""

    name: Known
    """What it waits for."""
    seen: Success | None = None
    """The last success that a run has followed on, or that counts as seen; none if there was
    none."""


class Triggered(Model):
    """A run that follows on triggers, and has not begun."""

    since: Moment
    """When the first of them was noticed."""


class LateOccurrence(Model):
    """An occurrence that has not succeeded in time."""

    occurrence: Moment
    """The occurrence, in UTC."""
    since: Moment
    """When it was to have succeeded."""


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
    last_success_occurrence: Moment | None = None
    """The latest occurrence that has succeeded."""
    expected_finish: Moment | None = None
    """When the next success is due, as finishWithin or finishAt say."""
    triggers: Annotated[list[TriggerStatus], Field(max_length=20)] | None = None
    """What has been seen of each trigger. A run follows on a success that is later."""
    triggered: Triggered | None = None
    """The run that is to follow, once debounce is over and no other is at work."""
    late: LateOccurrence | None = None
    """The oldest occurrence that should have succeeded by now, it or a later one."""
    last_run_now: Known | None = None
    """The value of the annotation dbt-operator.dev/run-now that was last seen."""
    last_retry: Known | None = None
    """The value of the annotation dbt-operator.dev/retry that was last seen."""
    last_backfill: Known | None = None
    """The value of the annotation dbt-operator.dev/backfill that was last seen."""
    last_test_message: Known | None = None
    """The value of the annotation dbt-operator.dev/test-message that was last seen."""
    paused_until: Known | None = None
    """Until when the annotation dbt-operator.dev/paused-until has it begin nothing."""
    active: Annotated[list[ActiveRun], Field(max_length=10)] | None = None
    """The runs that have not ended. A run of the schedule that is not here begins nothing."""
    waiting: WaitingOccurrence | None = None
    """The occurrence that begins next, as concurrencyPolicy says."""
    backlog: Backlog | None = None
    """What is to be made up for, as catchUp says."""
    history: Annotated[list[PastOccurrence], Field(max_length=HISTORY)] | None = None
    """What became of the last occurrences, the newest first."""
    notifications: Annotated[list[Notification], Field(max_length=NOTIFICATIONS)] | None = None
    """What is told of occurrences that are late or were missed, the last first. What is told of
    runs stands in their own status."""
    series: Annotated[list[Series], Field(max_length=CHANNELS)] | None = None
    """The failures that channels were told of, and that no success has ended."""
    time_zones: Short | None = None
    """The version of the IANA time zone database that the occurrences were found with."""
    conditions: Annotated[list[Condition], Field(max_length=16)] | None = None
    """Ready, LastRunSucceeded, OnTime, Suspended, ClockAgrees, MetadataApplied, Notified,
    Reconciling, Stalled.
    """


class DbtSchedule(Model):
    """Run dbt on time, each occurrence once and only once."""

    spec: DbtScheduleSpec
    """When to run what."""
    status: DbtScheduleStatus | None = None
    """What the operator found."""
