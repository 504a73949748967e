"""The part of a status that tells of waiting for a slot."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from dbt_operator.api.base import Model
from dbt_operator.api.texts import Known, Moment


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
