"""DbtRun: run dbt once."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field, StringConstraints

from dbt_operator.api.base import Model, rules
from dbt_operator.api.parts.notify import Notifications
from dbt_operator.api.parts.queueing import Queue
from dbt_operator.api.parts.resolved import Resolved
from dbt_operator.api.parts.run_template import (
    FULL_REFRESH,
    RUN_RULES,
    WITHOUT_FULL_REFRESH,
    RunTemplateSpec,
)
from dbt_operator.api.parts.upstreams import Wait
from dbt_operator.api.parts.windows import RunWindow, WindowCounts
from dbt_operator.api.status import Condition, Phase, Reason
from dbt_operator.api.texts import Known, Message, Moment, Note, Seconds, Short, Told
from dbt_protocol.digests import MARK, MARKS, OWNERS


class DbtRunSpec(RunTemplateSpec):
    """What to run once. None of it can be changed, except for cancel."""

    windows: Annotated[list[RunWindow], Field(min_length=1, max_length=100)] | None = None
    """Windows that the run works through one after another, all its steps in each: set by a
    DbtBackfill. $(window.key), $(window.start) and $(window.end) in vars, selections and eventTime
    stand for what is said here."""
    stop_on_failure: bool | None = None
    """Whether no further window begins after one that has failed. Default: true."""
    cancel: bool | None = None
    """Set it to true to stop the run: dbt cancels its queries, what is finished is recorded and
    uploaded, and the run ends as Cancelled. It cannot be taken back."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            *RUN_RULES,
            (
                (
                    "!has(self.eventTime) || !(self.eventTime.start.startsWith('$')"
                    " || self.eventTime.end.startsWith('$')) || (has(self.windows)"
                    " && !self.eventTime.start.startsWith('$(i')"
                    " && !self.eventTime.end.startsWith('$(i'))"
                ),
                (
                    "$(window.start) and $(window.end) have a meaning in a DbtBackfill only,"
                    " $(interval.start) and $(interval.end) in a DbtSchedule"
                ),
            ),
            (f"!has(self.windows) || !{FULL_REFRESH}", WITHOUT_FULL_REFRESH),
            (
                (
                    "!has(self.waitFor) || !self.waitFor.exists(w,"
                    " (has(w.newerThan) && w.newerThan.startsWith('$'))"
                    " || (has(w.begunAfter) && w.begunAfter.startsWith('$')))"
                ),
                (
                    "in waitFor $(scheduled.time), $(interval.start) and $(interval.end) have a"
                    " meaning in a DbtSchedule only: set a time or a duration"
                ),
            ),
        )
    )


class Attempt(Model):
    """One Job."""

    number: int
    """From 1."""
    job_name: Known
    """The Job."""
    job_uid: Known | None = Field(default=None, alias="jobUID")
    """The Job's UID, once it has been seen. From then on it is never created again."""
    created_at: Moment
    """When the attempt was decided on."""
    queued_seconds: Seconds | None = None
    """How long its Job was suspended before it started."""
    started_at: Moment | None = None
    """When dbt started."""
    finished_at: Moment | None = None
    """When the pod had ended."""
    exit_code: int | None = None
    """Of the dbt container."""
    reason: Reason | None = None
    """Why it failed."""
    message: Note | None = None
    """The reason in a sentence."""


class NodeCounts(Model):
    """How many nodes ended how, all steps taken together."""

    total: int
    """All of them; while dbt runs, those of the steps that have begun."""
    success: int | None = None
    """Built."""
    error: int | None = None
    """Ended in an error."""
    skipped: int | None = None
    """Not run, because of a failure before them."""
    passed: int | None = Field(default=None, alias="pass")
    """Tests and sources that passed."""
    warn: int | None = None
    """Tests and sources that warned."""
    fail: int | None = None
    """Tests that failed."""
    no_op: int | None = None
    """Nothing to do."""
    done: Short
    """Those that were run, of all: 12/40. It moves while dbt runs; the other counts are known at
    its end.
    """


class RunProgress(Model):
    """How far dbt is, as of the last look."""

    done: int
    """How many nodes have been run."""
    total: int
    """Of how many, in the steps that have begun."""
    running: Annotated[list[Told], Field(max_length=10)]
    """unique_id of the first nodes that are being run."""


class NodeFailure(Model):
    """A node that did not end well."""

    unique_id: Told
    """dbt's unique_id."""
    status: Told
    """dbt's status."""
    message: Note | None = None
    """The error, shortened."""
    rows: Annotated[int, Field(ge=0)] | None = None
    """How many rows a test has found."""
    stored_in: Told | None = None
    """The relation that holds these rows, where store_failures is on."""
    owners: Annotated[list[Told], Field(max_length=OWNERS)] | None = None
    """Who owns it, or what it tests: meta.owner, and the owner of the group."""
    group: Told | None = None
    """dbt's group of it, or of what it tests."""


class Exposure(Model):
    """An exposure downstream of a node that failed."""

    name: Told
    """Its label, or its name."""
    type: Told | None = None
    """dbt's: dashboard, notebook, analysis, ml or application."""
    owner: Told | None = None
    """Its owner's name, or e-mail address."""


class RunDetails(Model):
    """What the pod has told of failures and warnings, beside the counts. Lists have the first
    entries only.
    """

    failed: int
    """How many nodes failed."""
    failed_marks: Annotated[str, StringConstraints(max_length=MARKS * MARK)] | None = None
    """What tells the set of the failed nodes from another one: the first eight characters of each
    unique_id's SHA-256, of at most 200 nodes.
    """
    skipped: int
    """How many nodes were skipped because of those."""
    warned: int
    """How many nodes warned."""
    warnings: Annotated[list[NodeFailure], Field(max_length=10)] | None = None
    """The nodes that warned."""
    exposures: Annotated[list[Exposure], Field(max_length=10)] | None = None
    """The exposures downstream of failed nodes, and of what failed tests have tested."""
    affected_exposures: int
    """How many of them there are."""
    missing: Note | None = None
    """Why owners and exposures are not known."""


class ArtifactsStatus(Model):
    """Where the artifacts are."""

    location: Note
    """s3://bucket/prefix of the run."""
    objects: int = 0
    """How many there are."""


class DbtRunStatus(Model):
    """What the operator found."""

    observed_generation: int | None = None
    """The generation of the spec that this status is about."""
    phase: Phase | None = None
    """Where the run stands."""
    reason: Reason | None = None
    """Why it failed."""
    message: Message | None = None
    """One sentence that a person can act on."""
    resolved: Resolved | None = None
    """What the Jobs are built from."""
    commit: Told | None = None
    """The commit that the first attempt has found the Git source's ref to be. All later attempts
    use it.
    """
    image_id: Told | None = Field(default=None, alias="imageID")
    """The dbt image that really ran."""
    dbt_version: Told | None = None
    """The dbt-core that really ran."""
    engine: Told | None = None
    """How it ran: Python by its Python API; Program by its command line, since the image's dbt has
    no Python API (dbt 2, or a wrapper).
    """
    attempts: Annotated[list[Attempt], Field(max_length=20)] | None = None
    """One for each Job."""
    wait: Wait | None = None
    """What it waits for, or has waited for, before it is queued."""
    queue: Queue | None = None
    """Where it stands in the queue, while it is queued."""
    queued_seconds: Seconds | None = None
    """How long it has waited for slots of its target before, all times added up."""
    yielded_slot: Moment | None = None
    """status.holders[].since of the slot that it has given up while backing off. No attempt begins
    under it.
    """
    progress: RunProgress | None = None
    """How far dbt is, while it runs. It is looked at ever more rarely, at least once a minute."""
    nodes: NodeCounts | None = None
    """How many nodes ended how."""
    windows: WindowCounts | None = None
    """How the windows stand, in a run that has some."""
    failures: Annotated[list[NodeFailure], Field(max_length=20)] | None = None
    """The first nodes that did not end well; all of them are in the artifacts."""
    details: RunDetails | None = None
    """More of what failed and warned; absent where nothing did, or the pod could not tell."""
    artifacts: ArtifactsStatus | None = None
    """Where the artifacts are."""
    notifications: Notifications | None = None
    """Who is told of the end, and whether that has succeeded."""
    cancel_requested_at: Moment | None = None
    """When spec.cancel was first seen. From then on it holds, whatever becomes of the field."""
    started_at: Moment | None = None
    """When dbt started."""
    finished_at: Moment | None = None
    """When the run ended."""
    duration: Short | None = None
    """From startedAt to finishedAt."""
    conditions: Annotated[list[Condition], Field(max_length=16)] | None = None
    """Admitted, TestsPassed, ArtifactsUploaded, Succeeded, Finished, Notified, Expires, Ready,
    Reconciling, Stalled.
    """


class DbtRun(Model):
    """Run dbt once, in a pod of its own, and keep the artifacts."""

    spec: DbtRunSpec
    """What to run."""
    status: DbtRunStatus | None = None
    """What the operator found."""
