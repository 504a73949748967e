"""How often a run is tried, and what a project says for all of its runs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dbt_operator.api.base import Duration, Model
from dbt_operator.api.parts.notify import Notifies
from dbt_operator.api.status import Reason

# Of specs and of what is resolved from them: waits are computed with both.
Attempts = Annotated[int, Field(ge=1, le=10)]
Factor = Annotated[int, Field(ge=1, le=10)]


class Backoff(Model):
    """How long to wait before the next attempt."""

    initial: Duration | None = None
    """Before the second attempt. Default: 30s."""
    factor: Factor | None = None
    """Each wait is this many times the one before. Default: 2."""
    max: Duration | None = None
    """No wait is longer. Default: 10m."""


class Retry(Model):
    """Whether a run that failed is tried again, with a new Job."""

    max_attempts: Attempts
    """How many attempts there may be, the first one counted."""
    attempt_timeout: Duration | None = None
    """From the start of dbt in an attempt, within what is left of timeout. Default: none."""
    resume: Literal["FailedNodes", "Everything"] | None = None
    """FailedNodes: a later attempt leaves out what earlier ones have done, where their results
    prove it; after an interrupt, a kill or a failed hook everything runs again. Default:
    FailedNodes."""
    backoff: Backoff | None = None
    """How long to wait before the next attempt."""
    reasons: Annotated[list[Reason], Field(min_length=1, max_length=24)] | None = None
    """Reasons that are tried again. Default: Unavailable, Infrastructure, SourceError, DepsFailed,
    and ModelError where every failed node's error is of what may pass: a connection, a lock, a
    timeout, a lack of capacity. Refused credentials are none of these."""


class Defaults(Model):
    """Fields of a DbtRun that it may leave out."""

    retry: Retry | None = None
    """Whether a run that failed is tried again. A run's own retry replaces it as a whole."""
    timeout: Duration | None = None
    """From the first start of dbt, retries included."""
    threads: Annotated[int, Field(ge=1, le=256)] | None = None
    """dbt's --threads."""
    notify: Notifies | None = None
    """Who is told of the end of runs and backfills, and of schedules."""
