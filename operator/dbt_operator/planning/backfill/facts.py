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
from dbt_operator.planning.backfill.children import Child
from dbt_operator.planning.common.identity import Identity
from dbt_operator.planning.common.record import Record
from dbt_operator.planning.common.references import References
from dbt_operator.planning.common.strays import Stray
from dbt_operator.planning.notifying.deciding import Listeners
from dbt_operator.planning.queueing.positions import Slot


@dataclass(frozen=True)
class BackfillFacts:
    """All that is known of a backfill when a decision is due.

    ``references`` are read only until it is resolved. ``earlier`` is the backfill that it resumes;
    where that cannot be read, ``references`` say so. ``children`` are the runs that windows are
    given to, by their names; what is missing is confirmed absent. ``strays`` are runs of the
    backfill that have not ended and do not stand in its ledger. ``refusal`` is what the API server
    has just had against creating a run. ``record`` is what the schedule that it is of knows of it.
    ``listeners`` are whoever is to be told of its end.
    """

    backfill: DbtBackfill
    identity: Identity
    created_at: datetime
    runner_image: str
    references: References = field(default_factory=References)
    earlier: DbtBackfill | None = None
    children: Mapping[str, Child] = field(default_factory=dict)
    strays: tuple[Stray, ...] = ()
    refusal: str = ""
    slot: Slot = field(default_factory=Slot)
    record: Record | None = None
    listeners: Listeners = field(default_factory=Listeners)

    @property
    def status(self) -> DbtBackfillStatus:
        """The status as it stands."""
        return self.backfill.status or DbtBackfillStatus()

    @property
    def spec(self) -> DbtBackfillSpec:
        """What is asked for."""
        return self.backfill.spec
