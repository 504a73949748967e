"""All that is known of a DbtRun when a decision is due."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from dbt_operator.api.kinds.project import DbtProject
from dbt_operator.api.kinds.run import DbtRun, DbtRunStatus
from dbt_operator.api.kinds.target import DbtTarget
from dbt_operator.planning.attempt.pod_facts import JobFacts, PodFacts
from dbt_operator.planning.common.identity import Identity
from dbt_operator.planning.common.strays import Stray
from dbt_operator.planning.queueing.positions import Slot
from dbt_operator.planning.run.orders import Orders
from dbt_protocol.summaries import Progress


@dataclass(frozen=True)
class RunFacts:
    """All that is known of a run when a decision is due.

    Project and target come with their generations; None where they do not exist. ``state_run`` is
    the run that ``state.from.run`` names. ``job`` and ``pod`` are those of the current attempt, and
    None means confirmed absent. ``warnings`` are the warning events about a pod or Job that has not
    started, the newest first; ``refusal`` is what the API server has just had against creating the
    Job; ``progress`` is how far dbt was at the last look. ``slot`` is what is known of the target's
    slots; ``strays`` are Jobs of the run that do not stand in its status. ``orders`` is what the
    backfill that it is part of says of it. ``unreadable`` is what is wrong with objects that it
    refers to and that the models refuse, by kind and name; they count as not there.
    """

    run: DbtRun
    identity: Identity
    created_at: datetime
    runner_image: str
    project: tuple[DbtProject, int] | None = None
    target: tuple[DbtTarget, int] | None = None
    state_run: DbtRun | None = None
    job: JobFacts | None = None
    pod: PodFacts | None = None
    warnings: tuple[str, ...] = ()
    refusal: str = ""
    progress: Progress | None = None
    slot: Slot = field(default_factory=Slot)
    strays: tuple[Stray, ...] = ()
    orders: Orders | None = None
    unreadable: Mapping[str, str] = field(default_factory=dict)

    @property
    def status(self) -> DbtRunStatus:
        """The status as it stands."""
        return self.run.status or DbtRunStatus()

    @property
    def own_job(self) -> JobFacts | None:
        """The Job, if it belongs to this run; somebody else may have made one of that name."""
        is_own = self.job is not None and self.job.owner_uid == self.identity.uid
        return self.job if is_own else None
