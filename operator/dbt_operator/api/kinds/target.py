"""DbtTarget: where dbt may write."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from dbt_operator.api.base import KeyRef, Model, Name, Pattern, VariablePattern, Variables, Word
from dbt_operator.api.parts.pod_marks import MarkPattern
from dbt_operator.api.status import Condition
from dbt_operator.api.texts import Moment, Told


class Profiles(Model):
    """Where profiles.yml comes from."""

    secret_ref: KeyRef
    """The Secret and the key in it that hold profiles.yml. It is mounted read-only into the dbt
    container only.
    """


class DbtTargetSpec(Model):
    """Where a run may write."""

    target: Word | None = None
    """The target in profiles.yml. Default: the name of this object."""
    profiles: Profiles
    """profiles.yml."""
    env: Variables | None = None
    """Environment of the dbt container, for example for env_var() in profiles.yml."""
    service_account_name: Name | None = None
    """ServiceAccount of the pods, for example for the cloud's workload identity. No API token is
    mounted.
    """
    schema_pattern: Pattern | None = None
    """Before the first statement is sent, the schema of every selected node that writes must match
    this regular expression as a whole, whatever its case."""
    database_pattern: Pattern | None = None
    """The same for the database (BigQuery: the project)."""
    protected: bool | None = None
    """Refuse runs with fullRefresh, empty, sample or an env of their own, and code that is not
    pinned: the project's image by a digest, its source in the image or by a full commit, packages
    that dbt deps installs by package-lock.yml. The commit that a run asks for has to be reached by
    the branch or tag in source.git.ref of the DbtProject. What allowedRunEnv says of runs holds for
    the project's env. Default: false."""
    allowed_run_env: Annotated[list[VariablePattern], Field(max_length=64)] | None = None
    """Names of the variables that runs may set in env: SCHEMA, or APP_*, where * stands for any
    characters. What dbt reads as a flag, PG*, GIT_*, PYTHON*, LD_* and proxies are refused even if
    they are named here. Default: all names but these and those that are known to lead programs,
    libraries or connections elsewhere, such as BROWSER, SSL_CERT_FILE and AWS_*."""
    allowed_run_labels: Annotated[list[MarkPattern], Field(max_length=64)] | None = None
    """Names of the labels and annotations that runs may set on their pods, in pod.labels and
    pod.annotations: team, or cost.example.com/*, where * stands for any characters. What others
    know pods by, such as dbt-operator.dev/*, is refused even if it is named here. Default: none."""
    max_concurrent_runs: Annotated[int, Field(ge=1, le=100)] | None = None
    """How many runs may work on this target at a time, whichever projects they are of; a backfill
    counts as one. Default: 1. The others are queued. Lowering it stops no run."""


class Holder(Model):
    """Who holds a slot."""

    kind: Annotated[str, StringConstraints(max_length=63)]
    """DbtRun or DbtBackfill."""
    name: Annotated[str, StringConstraints(max_length=253)]
    """Its name."""
    uid: Annotated[str, StringConstraints(max_length=64)]
    """Its UID: an object of the same name that is created anew holds nothing."""
    since: Moment
    """When it got the slot, RFC 3339 with microseconds. No two slots of one holder have the
    same.
    """
    lost_pod: Told | None = None
    """The pod that should have ended long ago: its node does not answer, so it may still be
    running. The slot is free when the node is removed, or by the annotation
    dbt-operator.dev/force-release with the holder's UID."""


class Release(Model):
    """A slot that was taken from its holder by the annotation dbt-operator.dev/force-release."""

    name: Annotated[str, StringConstraints(max_length=253)]
    """The holder's name."""
    uid: Annotated[str, StringConstraints(max_length=64)]
    """The holder's UID."""
    at: Moment
    """When, RFC 3339."""


class DbtTargetStatus(Model):
    """What the operator found."""

    observed_generation: int | None = None
    """The generation of the spec that this status is about."""
    holders: Annotated[list[Holder], Field(max_length=100)] | None = None
    """Who may work on this target now. Nobody else starts a pod."""
    queued: int | None = None
    """How many runs and backfills wait for a slot, as of the last look, which is at most a minute
    old.
    """
    released: Annotated[list[Release], Field(max_length=20)] | None = None
    """The last slots that were released by force."""
    conditions: Annotated[list[Condition], Field(max_length=16)] | None = None
    """Ready, Reconciling, Stalled."""


class DbtTarget(Model):
    """Where a run may write: a target in profiles.yml, and what it is allowed to touch."""

    spec: DbtTargetSpec
    """Where a run may write."""
    status: DbtTargetStatus | None = None
    """What the operator found."""
