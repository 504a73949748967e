"""All that is known of a DbtBackfill when a decision is due."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from dbt_operator.api.kinds.backfill import (
    DbtBackfill,
    DbtBackfillSpec,
    DbtBackfillStatus,
)
from dbt_operator.api.kinds.project import DbtProject
from dbt_operator.api.kinds.run import DbtRun
from dbt_operator.api.kinds.target import DbtTarget
from dbt_operator.planning.backfill.children import Child
from dbt_operator.planning.common.identity import Identity
from dbt_operator.planning.common.strays import Stray
from dbt_operator.planning.queueing.positions import Slot


@dataclass(frozen=True)
class BackfillFacts:
    """All that is known of a backfill when a decision is due.

    Project and target come with their generations; None where they do not exist. ``earlier`` is the
    backfill that it resumes, ``state_run`` the run that ``state.from.run`` names. ``children`` are
    the runs that windows are given to, by their names; what is missing is confirmed absent.
    ``strays`` are runs of the backfill that have not ended and do not stand in its ledger.
    ``refusal`` is what the API server has just had against creating a run. ``unreadable`` is what
    is wrong with objects that it refers to and that the models refuse, by kind and name; they count
    as not there.
    """

    backfill: DbtBackfill
    identity: Identity
    created_at: datetime
    runner_image: str
    project: tuple[DbtProject, int] | None = None
    target: tuple[DbtTarget, int] | None = None
    earlier: DbtBackfill | None = None
    state_run: DbtRun | None = None
    children: Mapping[str, Child] = field(default_factory=dict)
    strays: tuple[Stray, ...] = ()
    refusal: str = ""
    slot: Slot = field(default_factory=Slot)
    unreadable: Mapping[str, str] = field(default_factory=dict)

    @property
    def status(self) -> DbtBackfillStatus:
        """The status as it stands."""
        return self.backfill.status or DbtBackfillStatus()

    @property
    def spec(self) -> DbtBackfillSpec:
        """What is asked for."""
        return self.backfill.spec
