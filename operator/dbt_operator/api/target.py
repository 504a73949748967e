"""DbtTarget: where dbt may write."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from dbt_operator.api.base import KeyRef, Model, Name, Pattern, Variables, Word
from dbt_operator.api.status import Condition


class Profiles(Model):
    """Where profiles.yml comes from."""

    secret_ref: KeyRef
    """The Secret and the key in it that hold profiles.yml. It is mounted read-only into the dbt container only."""


class DbtTargetSpec(Model):
    """Where a run may write."""

    target: Word | None = None
    """The target in profiles.yml. Default: the name of this object."""
    profiles: Profiles
    """profiles.yml."""
    env: Variables | None = None
    """Environment of the dbt container, for example for env_var() in profiles.yml."""
    service_account_name: Name | None = None
    """ServiceAccount of the pods, for example for the cloud's workload identity. No API token is mounted."""
    schema_pattern: Pattern | None = None
    """Before the first statement is sent, the schema of every selected node that writes must match this regular
    expression as a whole, whatever its case."""
    database_pattern: Pattern | None = None
    """The same for the database (BigQuery: the project)."""
    protected: bool | None = None
    """Refuse runs with fullRefresh, empty, sample or an env of their own, and code that is not pinned: the project's
    image by a digest, and its source in the image or by a full commit. Default: false."""


class DbtTargetStatus(Model):
    """What the operator found."""

    observed_generation: int | None = None
    """The generation of the spec that this status is about."""
    conditions: Annotated[list[Condition], Field(max_length=16)] | None = None
    """Ready, Reconciling, Stalled."""


class DbtTarget(Model):
    """Where a run may write: a target in profiles.yml, and what it is allowed to touch."""

    spec: DbtTargetSpec
    """Where a run may write."""
    status: DbtTargetStatus | None = None
    """What the operator found."""
