"""DbtRun: run dbt once."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from dbt_operator.api.base import Duration, KeyRef, Model, ObjectRef, PlainVariables, SecretRef, Variable, rules
from dbt_operator.api.pod import Pod, RunPod
from dbt_operator.api.project import Artifacts, Deps, GitRef, Source
from dbt_operator.api.retry import Retry
from dbt_operator.api.state import State
from dbt_operator.api.status import Condition, Phase, Reason
from dbt_operator.api.steps import FreeForm, Step
from dbt_operator.api.text import Known, Message, Moment, Note, Short, Told
from dbt_operator.api.windows import RunWindow, WindowCounts

# As dbt takes it: without an offset.
EventTimeBound = Annotated[
    str,
    StringConstraints(
        min_length=10,
        max_length=19,
        pattern=r"^(\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}:\d{2})?|\$\(window\.(start|end)\))$",
    ),
]
WarningName = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[A-Za-z][A-Za-z0-9]*$")]
WarningNames = Annotated[list[WarningName], Field(min_length=1, max_length=100)]


class EventTime(Model):
    """The window of time that microbatch models process."""

    start: EventTimeBound
    """From here, in UTC: 2024-01-01 or 2024-01-01T06:00:00. dbt goes back to the beginning of the batch. In a backfill
    also $(window.start)."""
    end: EventTimeBound
    """Up to here, which is not part of it. In a backfill also $(window.end)."""

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
                "!has(self.warn) || (has(self.error) && self.error.exists(e, e in ['all', 'Deprecations']))"
                " || (has(self.silence) && 'Deprecations' in self.silence)",
                "the warnings in warn are exceptions from error: add error: [all] or error: [Deprecations]",
            ),
        )
    )


class Gate(Model):
    """Which findings of tests and of source freshness let a run fail."""

    fail_on: Literal["Error", "Warn"] | None = None
    """Warn: a test or source that warns has failed, and what is built on it is skipped: dbt gets LogTestResult among
    the errors of --warn-error-options, which replace flags.warn_error_options of dbt_project.yml. Default: Error."""


class RunSource(Model):
    """Another version of the project."""

    ref: GitRef
    """Branch, tag or commit of the project's Git repository, instead of source.git.ref of the DbtProject."""


FULL_REFRESH = (
    "self.steps.exists(s,"
    " (has(s.build) && has(s.build.fullRefresh) && s.build.fullRefresh)"
    " || (has(s.run) && has(s.run.fullRefresh) && s.run.fullRefresh)"
    " || (has(s.seed) && has(s.seed.fullRefresh) && s.seed.fullRefresh))"
)
WITHOUT_FULL_REFRESH = (
    "fullRefresh in each window would drop what the windows before it have built: run it once, in a DbtRun"
)
RUN_RULES = (
    (
        "!has(self.warnErrorOptions) || !has(self.warnError) || !self.warnError",
        "warnError makes every warning an error: set it or warnErrorOptions",
    ),
    (
        "!has(self.gate) || !has(self.gate.failOn) || self.gate.failOn != 'Warn' || !has(self.warnErrorOptions)"
        " || ((!has(self.warnErrorOptions.warn) || !('LogTestResult' in self.warnErrorOptions.warn))"
        " && (!has(self.warnErrorOptions.silence) || !('LogTestResult' in self.warnErrorOptions.silence)))",
        "gate.failOn: Warn makes LogTestResult an error: take it out of warnErrorOptions.warn and silence",
    ),
    (
        "has(self.state) || !self.steps.exists(s, has(s.clone))",
        "clone copies the relations of another state: say in state.from which",
    ),
    (
        "!has(self.eventTime) || !self.steps.exists(s,"
        " (has(s.build) && has(s.build.fullRefresh) && s.build.fullRefresh)"
        " || (has(s.run) && has(s.run.fullRefresh) && s.run.fullRefresh))",
        "eventTime with fullRefresh would drop every other batch of microbatch models: leave one of them out",
    ),
    (
        "!has(self.eventTime) || !self.steps.exists(s,"
        " (has(s.build) && has(s.build.sample)) || (has(s.run) && has(s.run.sample)))",
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
    """Another version of the project, which has to come from Git: for example the branch of a pull request."""
    steps: Annotated[list[Step], Field(min_length=1, max_length=20)]
    """dbt commands, run in this order in one pod."""
    env: PlainVariables | None = None
    """Environment of the dbt container, over that of project and target: for example the schema of a pull request."""
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
    """What becomes of a step that selects nothing. Default: Fail (NothingSelected), since it may be a misspelt tag."""
    state: State | None = None
    """The state to compare with, for state:modified, result: and source_status: selectors and for deferring."""
    timeout: Duration | None = None
    """From the first start of dbt, retries included: then dbt is interrupted, artifacts are uploaded, and the run
    fails. Default: none."""
    start_timeout: Duration | None = None
    """From the Job's creation to the start of dbt, without the time in a queue. Default: 10m."""
    queue_timeout: Duration | None = None
    """How long the run may wait in queues, all attempts added up: for a slot of its target, and while its Job is
    suspended. Then it ends as QueueTimeout. Default: for ever."""
    priority: Annotated[int, Field(ge=-1000, le=1000)] | None = None
    """Which of the runs that wait for a slot of the same target gets the next one: that with the highest priority, and
    of these the oldest. For each 30 minutes that a run has waited, 1 is added. Default: 0."""
    retry: Retry | None = None
    """Whether a run that failed is tried again. Default: it is not."""
    pod: RunPod | None = None
    """What is set on the pods, over what the project says."""
    ttl_after_finished: Duration | None = None
    """Delete the run this long after its end; its artifacts stay. Without effect, with the condition Expires saying so,
    where Helm, Flux or Argo CD manages the object: they would create it, and so run it, again. Default: never."""

    @property
    def fails_on_warn(self) -> bool:
        """Whether a test or source that warns has failed."""
        return self.gate is not None and self.gate.fail_on == "Warn"

    model_config = ConfigDict(json_schema_extra=rules(*RUN_RULES))


class DbtRunSpec(RunTemplateSpec):
    """What to run once. None of it can be changed, except for cancel."""

    windows: Annotated[list[RunWindow], Field(min_length=1, max_length=100)] | None = None
    """Windows that the run works through one after another, all its steps in each: set by a DbtBackfill. $(window.key),
    $(window.start) and $(window.end) in vars, selections and eventTime stand for what is said here."""
    stop_on_failure: bool | None = None
    """Whether no further window begins after one that has failed. Default: true."""
    cancel: bool | None = None
    """Set it to true to stop the run: dbt cancels its queries, what is finished is recorded and uploaded, and the run
    ends as Cancelled. It cannot be taken back."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            *RUN_RULES,
            (
                "has(self.windows) || !has(self.eventTime)"
                " || !(self.eventTime.start.startsWith('$') || self.eventTime.end.startsWith('$'))",
                "$(window.start) and $(window.end) have a meaning in a DbtBackfill only",
            ),
            (f"!has(self.windows) || !{FULL_REFRESH}", WITHOUT_FULL_REFRESH),
        )
    )


class ResolvedGenerations(Model):
    """Which versions of the objects were read."""

    project: int
    """metadata.generation of the DbtProject."""
    target: int
    """metadata.generation of the DbtTarget."""


class ResolvedStep(Model):
    """A step as it is run."""

    name: str
    """Unique in the run; the folder of its artifacts."""
    command: str
    """The step's type."""
    argv: list[str]
    """Arguments of dbt."""
    allow_failure: bool = False
    """Whether the run may succeed although it fails."""
    always: bool = False
    """Whether it runs although an earlier step failed."""
    allow_empty: bool = False
    """Whether it succeeds although it selects nothing."""
    full: list[str] | None = None
    """Arguments of dbt where the state turns out to be missing."""
    on_stale: Literal["Fail", "Skip", "Wait"] = "Fail"
    """What becomes of the run when sources are too old."""


class ResolvedRetry(Model):
    """spec.retry, with its defaults."""

    max_attempts: int
    """How many attempts there may be."""
    attempt_timeout_seconds: int | None = None
    """Longest time for one."""
    resume: bool = True
    """Whether a later attempt leaves out what is done."""
    initial_seconds: int
    """Wait before the second attempt."""
    factor: int
    """Growth of the waits."""
    max_seconds: int
    """Longest wait."""
    reasons: list[Reason] | None = None
    """Reasons that are tried again; None: what may pass."""


class ResolvedState(Model):
    """The state that a run is compared with."""

    key: str
    """Its folder in the bucket."""
    required: bool
    """Whether the run fails if it is missing there."""


class Parent(Model):
    """The DbtBackfill that a run is part of, and in whose slot it works."""

    name: str
    """Its name."""
    uid: str
    """Its UID."""


class Resolved(Model):
    """Everything that the run's Jobs are built from, written once at admission: later edits of project or target
    change nothing.
    """

    generations: ResolvedGenerations
    """Which versions of the objects were read."""
    protocol: int
    """Version of the contract between operator and pod."""
    image: str
    """The dbt image."""
    image_pull_policy: str | None = None
    """Its pull policy."""
    image_pull_secrets: list[SecretRef] | None = None
    """Secrets for the registry."""
    runner_image: str
    """The operator's image for the init container and the sidecar."""
    source: Source
    """Where the project's files come from."""
    deps: Deps | None = None
    """Whether dbt deps runs; None, where an operator that knew no deps has admitted the run: it does not."""
    steps: list[ResolvedStep]
    """dbt commands."""
    env: list[Variable] | None = None
    """Environment of the dbt container: that of project, target and run, merged."""
    target: str
    """The target in profiles.yml."""
    profiles: KeyRef
    """The Secret and the key that hold profiles.yml."""
    schema_pattern: str | None = None
    """What schemas must match."""
    database_pattern: str | None = None
    """What databases must match."""
    service_account_name: str | None = None
    """ServiceAccount of the pods."""
    artifacts: Artifacts
    """Where artifacts are uploaded."""
    location: str
    """The folder of this run's artifacts in the bucket."""
    state: ResolvedState | None = None
    """The state that it is compared with."""
    state_location: str | None = None
    """The folder in the bucket of the state that it leaves."""
    promote: Literal["Full", "Slim", "Always"] | None = None
    """On what grounds that state becomes the current one."""
    cache_location: str | None = None
    """dbt's parse cache in the bucket."""
    labels: dict[str, str] | None = None
    """Labels of the Job: those of the run that Kueue reads."""
    pod: Pod | None = None
    """What is set on the pods."""
    fail_on_warn: bool | None = None
    """Whether a test or source that warns has failed."""
    timeout_seconds: int | None = None
    """spec.timeout."""
    start_timeout_seconds: int
    """spec.startTimeout."""
    queue_timeout_seconds: int | None = None
    """spec.queueTimeout."""
    retry: ResolvedRetry | None = None
    """spec.retry."""
    parent: Parent | None = None
    """The DbtBackfill whose slot it works in."""


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
    queued_seconds: int | None = None
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


class Queue(Model):
    """Where a run stands among those that wait for a slot of its target."""

    position: int
    """1: it gets the next slot. Looked at once a minute."""
    behind: Annotated[list[Known], Field(max_length=10)]
    """Whom it waits for: the holders, then who is before it."""
    since: Moment
    """When it began to wait, RFC 3339."""
    at: Moment
    """When position and behind were last looked at."""


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
    """Those that were run, of all: 12/40. It moves while dbt runs; the other counts are known at its end."""


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
    """The commit that the first attempt has found the Git source's ref to be. All later attempts use it."""
    image_id: Told | None = Field(default=None, alias="imageID")
    """The dbt image that really ran."""
    dbt_version: Told | None = None
    """The dbt-core that really ran."""
    attempts: Annotated[list[Attempt], Field(max_length=20)] | None = None
    """One for each Job."""
    queue: Queue | None = None
    """Where it stands in the queue, while it is queued."""
    queued_seconds: int | None = None
    """How long it has waited for slots of its target before, all times added up."""
    yielded_slot: Moment | None = None
    """status.holders[].since of the slot that it has given up while backing off. No attempt begins under it."""
    progress: RunProgress | None = None
    """How far dbt is, while it runs. It is looked at ever more rarely, at least once a minute."""
    nodes: NodeCounts | None = None
    """How many nodes ended how."""
    windows: WindowCounts | None = None
    """How the windows stand, in a run that has some."""
    failures: Annotated[list[NodeFailure], Field(max_length=20)] | None = None
    """The first nodes that did not end well; all of them are in the artifacts."""
    artifacts: ArtifactsStatus | None = None
    """Where the artifacts are."""
    cancel_requested_at: Moment | None = None
    """When spec.cancel was first seen. From then on it holds, whatever becomes of the field."""
    started_at: Moment | None = None
    """When dbt started."""
    finished_at: Moment | None = None
    """When the run ended."""
    duration: Short | None = None
    """From startedAt to finishedAt."""
    conditions: Annotated[list[Condition], Field(max_length=16)] | None = None
    """Admitted, TestsPassed, ArtifactsUploaded, Succeeded, Finished, Expires, Ready, Reconciling, Stalled."""


class DbtRun(Model):
    """Run dbt once, in a pod of its own, and keep the artifacts."""

    spec: DbtRunSpec
    """What to run."""
    status: DbtRunStatus | None = None
    """What the operator found."""
