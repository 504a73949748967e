"""DbtBackfill: the same run over many windows."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from dbt_operator.api.base import Model, ShortName, rules
from dbt_operator.api.parts.backfill_template import (
    BACKFILL_RULES,
    MOST_AT_ONCE,
    BackfillTemplateSpec,
)
from dbt_operator.api.parts.notify import Notifications
from dbt_operator.api.parts.queueing import Queue
from dbt_operator.api.parts.resolved import Resolved
from dbt_operator.api.parts.windows import WindowCounts, WindowKey, Windows
from dbt_operator.api.status import BackfillPhase, Condition, Reason
from dbt_operator.api.texts import Known, Message, Moment, Note, Seconds, Short, Told

LEDGER = 1000  # entries


class ResumeFrom(Model):
    """An earlier backfill whose windows are gone through again."""

    name: ShortName
    """Its name."""
    windows: Literal["Unfinished", "Failed", "All"] | None = None
    """Which of them: those that did not succeed, those that failed, or all. Default: Unfinished."""


class DbtBackfillSpec(BackfillTemplateSpec):
    """What to run over which windows. None of it can be changed, except suspend, cancel and
    maxConcurrentWindows.
    """

    resume_from: ResumeFrom | None = None
    """Go through the windows of an earlier backfill again, with its range: only those that are
    missing.
    """
    dry_run: bool | None = None
    """List the windows in status, and start nothing."""
    suspend: bool | None = None
    """Begin no further window as long as it is true, and give the slot of the target back."""
    cancel: bool | None = None
    """Set it to true to stop: windows that are being worked on are cancelled. It cannot be taken
    back.
    """

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "has(self.windows) || has(self.resumeFrom)",
                "set windows, or resumeFrom, which has them",
            ),
            *BACKFILL_RULES,
        )
    )


class WindowRun(Model):
    """A DbtRun that windows were given to, and that has not ended."""

    name: Known
    """Its name."""
    uid: Known | None = None
    """Its UID, once it has been created. From then on it is never created again."""
    windows: Annotated[list[int], Field(max_length=100)]
    """The places of its windows in states, from 0."""
    created_at: Moment
    """When the windows were given to it."""
    stop: Literal["Boundary", "Now"] | None = None
    """What it is asked to do: begin no further window, or end at once."""


class LedgerEntry(Model):
    """A window, or some that follow on each other and stand alike."""

    window: WindowKey
    """The window's key."""
    until: WindowKey | None = None
    """The last one's, where there are several."""
    count: int | None = None
    """How many there are, where there are several."""
    phase: Literal["Pending", "Running", "Succeeded", "Failed", "Cancelled", "Skipped"]
    """Where it stands."""
    run: Known | None = None
    """The DbtRun that it was given to; left out where several windows stand alike in different
    ones.
    """
    reason: Reason | None = None
    """Why it failed."""


class WindowFailure(Model):
    """A window that failed."""

    window: WindowKey
    """Its key."""
    run: Known
    """The DbtRun that it failed in."""
    reason: Reason
    """Why."""
    message: Note | None = None
    """What the run says, shortened."""


class Definition(Model):
    """The windows as they were when the backfill was first looked at."""

    windows: Windows
    """What spec.windows says, here or in the backfill that this one resumes."""
    start: Moment | None = None
    """Where the range begins, RFC 3339."""
    end: Moment | None = None
    """Where it ends."""


class DbtBackfillStatus(Model):
    """What the operator found."""

    observed_generation: int | None = None
    """The generation of the spec that this status is about."""
    phase: BackfillPhase | None = None
    """Where the backfill stands."""
    reason: Reason | None = None
    """Why it failed."""
    message: Message | None = None
    """One sentence that a person can act on."""
    definition: Definition | None = None
    """The windows."""
    windows: WindowCounts | None = None
    """How many windows stand how; states is the record of each of them."""
    ledger: Annotated[list[LedgerEntry], Field(max_length=LEDGER)] | None = None
    """Which window stands how and was given to which run. Complete up to 1,000 windows; above that,
    windows that follow on each other and stand alike share an entry."""
    failures: Annotated[list[WindowFailure], Field(max_length=20)] | None = None
    """The first windows that failed."""
    runs: Annotated[list[WindowRun], Field(max_length=MOST_AT_ONCE)] | None = None
    """The runs that windows are given to now. A run that is not here begins nothing."""
    runs_started: int | None = None
    """How many runs there have been."""
    resolved: Resolved | None = None
    """What the runs' Jobs are built from: the same for every window."""
    commit: Told | None = None
    """The commit that the first run has found the Git source's ref to be. Every window uses it."""
    image_id: Told | None = Field(default=None, alias="imageID")
    """The dbt image that the first run has really run. A window that runs another one fails."""
    queue: Queue | None = None
    """Where it stands in the queue of its target, while it is queued."""
    queued_seconds: Seconds | None = None
    """How long it has waited for slots before, all times added up."""
    yielded_slot: Moment | None = None
    """status.holders[].since of the slot that it has given up. No window begins under it."""
    slot: Moment | None = None
    """status.holders[].since of the slot that it works under."""
    ended_before_slot: int | None = None
    """How many windows had ended when it got that slot: it gives it up only after one more."""
    notifications: Notifications | None = None
    """Who is told of the end, and whether that has succeeded."""
    cancel_requested_at: Moment | None = None
    """When spec.cancel was first seen. From then on it holds, whatever becomes of the field."""
    started_at: Moment | None = None
    """When the first run was created."""
    finished_at: Moment | None = None
    """When it ended."""
    duration: Short | None = None
    """From startedAt to finishedAt."""
    conditions: Annotated[list[Condition], Field(max_length=16)] | None = None
    """Admitted, Succeeded, Finished, Notified, Ready, Reconciling, Stalled."""


class DbtBackfill(Model):
    """Run dbt over windows of time or partition keys, so many at a time, each of them once."""

    spec: DbtBackfillSpec
    """What to run over which windows."""
    status: DbtBackfillStatus | None = None
    """What the operator found."""
