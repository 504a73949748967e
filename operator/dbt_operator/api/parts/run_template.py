"""What a run asks for, be it a DbtRun itself or the template in a DbtBackfill."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from dbt_operator.api.base import Duration, Model, ObjectRef, PlainVariables, rules
from dbt_operator.api.parts.notify import Notifies
from dbt_operator.api.parts.pod import RunPod
from dbt_operator.api.parts.retry import Retry
from dbt_operator.api.parts.source import GitRef
from dbt_operator.api.parts.state import State
from dbt_operator.api.parts.steps import FreeForm, Step
from dbt_operator.api.parts.upstreams import Upstreams

# As dbt takes it: without an offset.
EventTimeBound = Annotated[
    str,
    StringConstraints(
        min_length=10,
        max_length=19,
        pattern=r"^(\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}:\d{2})?|\$\((window|interval)\.(start|end)\))$",
    ),
]
WarningName = Annotated[
    str, StringConstraints(min_length=1, max_length=100, pattern=r"^[A-Za-z][A-Za-z0-9]*$")
]
WarningNames = Annotated[list[WarningName], Field(min_length=1, max_length=100)]


class EventTime(Model):
    """The window of time that microbatch models process."""

    start: EventTimeBound
    """From here, in UTC: 2024-01-01 or 2024-01-01T06:00:00. dbt goes back to the beginning of the
    batch. In a backfill also $(window.start), in a schedule $(interval.start)."""
    end: EventTimeBound
    """Up to here, which is not part of it. In a backfill also $(window.end), in a schedule
    $(interval.end)."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "self.start.startsWith('$') || self.end.startsWith('$') || self.start < self.end",
                "start must be before end",
            )
        )
    )


class WarnErrorOptions(Model):
    """Which of dbt's warnings are errors, by their names in dbt's documentation."""

    error: WarningNames | None = None
    """These are errors; the one word all means every warning."""
    warn: WarningNames | None = None
    """Except for these, which stay warnings."""
    silence: WarningNames | None = None
    """These are not shown at all."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.error) || !self.error.exists(e, e == 'all') || self.error.size() == 1",
                "all in error means every warning: it stands alone",
            ),
            (
                (
                    "!has(self.warn) || (has(self.error) && self.error.exists(e, e in ['all', "
                    "'Deprecations']))"
                    " || (has(self.silence) && 'Deprecations' in self.silence)"
                ),
                (
                    "the warnings in warn are exceptions from error: add error: [all] or error: "
                    "[Deprecations]"
                ),
            ),
        )
    )


class Gate(Model):
    """Which findings of tests and of source freshness let a run fail."""

    fail_on: Literal["Error", "Warn"] | None = None
    """Warn: a test or source that warns has failed, and what is built on it is skipped: dbt gets
    LogTestResult among the errors of --warn-error-options, which replace flags.warn_error_options
    of dbt_project.yml. Default: Error."""


class RunSource(Model):
    """Another version of the project."""

    ref: GitRef
    """Branch, tag or commit of the project's Git repository, instead of source.git.ref of the
    DbtProject.
    """


FULL_REFRESH = (
    "self.steps.exists(s,"
    " (has(s.build) && has(s.build.fullRefresh) && s.build.fullRefresh)"
    " || (has(s.run) && has(s.run.fullRefresh) && s.run.fullRefresh)"
    " || (has(s.seed) && has(s.seed.fullRefresh) && s.seed.fullRefresh))"
)
WITHOUT_FULL_REFRESH = (
    "fullRefresh in each window would drop what the windows before it have built: run it once, in "
    "a DbtRun"
)
RUN_RULES = (
    (
        "!has(self.warnErrorOptions) || !has(self.warnError) || !self.warnError",
        "warnError makes every warning an error: set it or warnErrorOptions",
    ),
    (
        (
            "!has(self.gate) || !has(self.gate.failOn) || self.gate.failOn != 'Warn' || "
            "!has(self.warnErrorOptions)"
            " || ((!has(self.warnErrorOptions.warn) || !('LogTestResult' in "
            "self.warnErrorOptions.warn))"
            " && (!has(self.warnErrorOptions.silence) || !('LogTestResult' in "
            "self.warnErrorOptions.silence)))"
        ),
        (
            "gate.failOn: Warn makes LogTestResult an error: take it out of warnErrorOptions.warn "
            "and silence"
        ),
    ),
    (
        "has(self.state) || !self.steps.exists(s, has(s.clone))",
        "clone copies the relations of another state: say in state.from which",
    ),
    (
        (
            "!has(self.eventTime) || !self.steps.exists(s,"
            " (has(s.build) && has(s.build.fullRefresh) && s.build.fullRefresh)"
            " || (has(s.run) && has(s.run.fullRefresh) && s.run.fullRefresh))"
        ),
        (
            "eventTime with fullRefresh would drop every other batch of microbatch models: leave "
            "one of them out"
        ),
    ),
    (
        (
            "!has(self.eventTime) || !self.steps.exists(s,"
            " (has(s.build) && has(s.build.sample)) || (has(s.run) && has(s.run.sample)))"
        ),
        "for microbatch models sample would replace eventTime: leave one of them out",
    ),
)


class RunTemplateSpec(Model):
    """What to run, wherever it is asked for."""

    project_ref: ObjectRef
    """The DbtProject to run."""
    target_ref: ObjectRef
    """The DbtTarget to run it against."""
    source: RunSource | None = None
    """Another version of the project, which has to come from Git: for example the branch of a pull
    request.
    """
    steps: Annotated[list[Step], Field(min_length=1, max_length=20)]
    """dbt commands, run in this order in one pod."""
    env: PlainVariables | None = None
    """Environment of the dbt container, over that of project and target: for example the schema of
    a pull request.
    """
    vars: FreeForm | None = None
    """dbt's --vars. They stand in plain text in run_results.json: no secrets."""
    threads: Annotated[int, Field(ge=1, le=256)] | None = None
    """dbt's --threads. Default: what the profile says."""
    event_time: EventTime | None = None
    """The window of time that microbatch models process, in steps that build models."""
    warn_error: bool | None = None
    """Every warning of dbt is an error. Default: false."""
    warn_error_options: WarnErrorOptions | None = None
    """Some warnings of dbt are errors."""
    gate: Gate | None = None
    """Which findings of tests and of source freshness let the run fail. Default: errors."""
    on_empty_selection: Literal["Succeed", "Fail"] | None = None
    """What becomes of a step that selects nothing. Default: Fail (NothingSelected), since it may be
    a misspelt tag.
    """
    state: State | None = None
    """The state to compare with, for state:modified, result: and source_status: selectors and for
    deferring.
    """
    timeout: Duration | None = None
    """From the first start of dbt, retries included: then dbt is interrupted, artifacts are
    uploaded, and the run fails. Default: none."""
    start_timeout: Duration | None = None
    """From the Job's creation to the start of dbt, without the time in a queue. Default: 10m."""
    queue_timeout: Duration | None = None
    """How long the run may wait in queues, all attempts added up: for a slot of its target, and
    while its Job is suspended. Then it ends as QueueTimeout. Default: for ever."""
    priority: Annotated[int, Field(ge=-1000, le=1000)] | None = None
    """Which of the runs that wait for a slot of the same target gets the next one: that with the
    highest priority, and of these the oldest. For each 30 minutes that a run has waited, 1 is
    added. Default: 0."""
    wait_for: Upstreams | None = None
    """What has to be there before the run begins: all of it. While it waits, it is in no queue, and
    neither queueTimeout nor timeout have begun."""
    retry: Retry | None = None
    """Whether a run that failed is tried again. Default: it is not."""
    notify: Notifies | None = None
    """Who is told of the end, instead of whom the project's defaults name; empty: nobody."""
    pod: RunPod | None = None
    """What is set on the pods, over what the project says."""
    ttl_after_finished: Duration | None = None
    """Delete the run this long after its end; its artifacts stay. Without effect, with the
    condition Expires saying so, where Helm, Flux or Argo CD manages the object: they would create
    it, and so run it, again. Default: never."""

    @property
    def fails_on_warn(self) -> bool:
        """Whether a test or source that warns has failed."""
        return self.gate is not None and self.gate.fail_on == "Warn"

    model_config = ConfigDict(json_schema_extra=rules(*RUN_RULES))
