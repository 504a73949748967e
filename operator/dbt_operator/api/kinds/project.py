"""DbtProject: what is run, in which image, and where its artifacts go."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dbt_operator.api.base import Image, Model, SecretRef, Variables, rules
from dbt_operator.api.parts.artifacts import Artifacts
from dbt_operator.api.parts.pod import Pod
from dbt_operator.api.parts.retry import Defaults
from dbt_operator.api.parts.source import Deps, Source
from dbt_operator.api.status import Condition
from dbt_operator.api.texts import Known, Moment, Place, Told


class DbtProjectSpec(Model):
    """What is run."""

    image: Annotated[
        Image,
        Field(
            json_schema_extra=rules(
                (
                    (
                        "self.matches('@sha256:[0-9a-f]{64}$') || (self.matches(':[^:/@]+$') && "
                        "!self.endsWith(':latest'))"
                    ),
                    "must be pinned: give a digest (@sha256:...) or a tag that is not latest",
                )
            )
        ),
    ]
    """Image with dbt and its adapter, pinned by a digest or by a tag that is not latest."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    """As in a container of a pod."""
    image_pull_secrets: Annotated[list[SecretRef], Field(max_length=16)] | None = None
    """Secrets for the registry."""
    source: Source
    """Where the project's files come from."""
    deps: Deps | None = None
    """Whether dbt deps runs before the first step. IfMissing: if dbt says that packages are not
    installed. Always: if packages.yml or dependencies.yml names any. Default: IfMissing."""
    parse_cache: Literal["Auto", "Never"] | None = None
    """Whether what dbt has parsed is kept in the bucket for later runs. Auto: unless the project
    asks, while it is parsed, for what is never the same again: run_started_at, invocation_id or the
    time of day. A run uses it if all else that was read is the same, such as dbt's flags and vars.
    Default: Auto."""
    env: Variables | None = None
    """Environment of the dbt container. A target's env is put over it, a run's over both."""
    artifacts: Artifacts
    """Where artifacts are uploaded."""
    pod: Pod | None = None
    """What may be set on the pods."""
    defaults: Defaults | None = None
    """What holds for runs that leave it out."""


class StateEntry(Model):
    """The current state of a target: what runs against it are compared with."""

    target: Known
    """The DbtTarget."""
    run: Known
    """The DbtRun that left it."""
    key: Place
    """Its folder in the bucket."""
    commit: Told | None = None
    """The commit that was built."""
    dbt_version: Told | None = None
    """The dbt-core that built it."""
    at: Moment
    """When dbt started in that run. A state is never replaced by one that was begun earlier."""


class DbtProjectStatus(Model):
    """What the operator found."""

    observed_generation: int | None = None
    """The generation of the spec that this status is about."""
    conditions: Annotated[list[Condition], Field(max_length=16)] | None = None
    """Ready, Reconciling, Stalled."""
    states: Annotated[list[StateEntry], Field(max_length=256)] | None = None
    """The current state of each target."""


class DbtProject(Model):
    """What is run: an image with dbt, the project's files, and the bucket for its artifacts."""

    spec: DbtProjectSpec
    """What is run."""
    status: DbtProjectStatus | None = None
    """What the operator found."""
