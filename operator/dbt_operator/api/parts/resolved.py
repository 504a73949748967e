"""``status.resolved``: what a run was resolved to at its admission, and is built from."""

from __future__ import annotations

from typing import Literal

from dbt_operator.api.base import KeyRef, Model, SecretRef, Variable
from dbt_operator.api.parts.artifacts import Artifacts
from dbt_operator.api.parts.pod import Pod
from dbt_operator.api.parts.retry import Attempts, Factor
from dbt_operator.api.parts.source import Deps, Source
from dbt_operator.api.status import Reason
from dbt_operator.api.texts import Seconds


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
    """Arguments of dbt where there is no state, in a run that compares with one."""
    on_stale: Literal["Fail", "Skip", "Wait"] = "Fail"
    """What becomes of the run when sources are too old."""


class ResolvedRetry(Model):
    """spec.retry, with its defaults."""

    max_attempts: Attempts
    """How many attempts there may be."""
    attempt_timeout_seconds: Seconds | None = None
    """Longest time for one."""
    resume: bool = True
    """Whether a later attempt leaves out what is done."""
    initial_seconds: Seconds
    """Wait before the second attempt."""
    factor: Factor
    """Growth of the waits."""
    max_seconds: Seconds
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
    """Everything that the run's Jobs are built from, written once at admission: later edits of
    project or target change nothing.
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
    reachable_from: str | None = None
    """The branch or tag of the repository that has to reach the commit, HEAD for the remote's own;
    None where nothing has to.
    """
    deps: Deps | None = None
    """Whether dbt deps runs; None, where an operator that knew no deps has admitted the run: it
    does not.
    """
    deps_locked: bool | None = None
    """Whether dbt deps may install nothing but what package-lock.yml pins."""
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
    timeout_seconds: Seconds | None = None
    """spec.timeout."""
    start_timeout_seconds: Seconds
    """spec.startTimeout."""
    queue_timeout_seconds: Seconds | None = None
    """spec.queueTimeout."""
    retry: ResolvedRetry | None = None
    """spec.retry."""
    parent: Parent | None = None
    """The DbtBackfill whose slot it works in."""
