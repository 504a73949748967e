"""All that is known of a DbtRun when a decision is due."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from dbt_operator.api.kinds.run import DbtRun, DbtRunStatus
from dbt_operator.planning.attempt.pod_facts import AttemptFacts, JobFacts, PodFacts
from dbt_operator.planning.common.identity import Identity
from dbt_operator.planning.common.record import Record
from dbt_operator.planning.common.references import References
from dbt_operator.planning.common.strays import Stray
from dbt_operator.planning.notifying.deciding import Listeners
from dbt_operator.planning.queueing.positions import Slot
from dbt_operator.planning.run.orders import Orders
from dbt_operator.planning.run.successes import UpstreamFacts


@dataclass(frozen=True)
class RunFacts:
    """All that is known of a run when a decision is due.

    ``references`` are read only until the run is admitted, but for its project, which has the
    states of runs that may promote theirs. ``attempt`` is the current one. ``refusal`` is what the
    API server has just had against creating the Job. ``slot`` is what is known of the target's
    slots; ``strays`` are Jobs of the run that do not stand in its status. ``outliving`` are pods of
    a run that has ended in which somebody else's container goes on, ``unmarked`` its Jobs that
    have failed and are not marked as ended. ``orders`` is what the
    backfill that it is part of says of it; ``record`` is what the schedule that it is of knows of
    it. ``upstreams`` are what it waits for, in the order of ``spec.waitFor``, as long as it does.
    ``listeners`` are whoever is to be told of its end.
    """

    run: DbtRun
    identity: Identity
    created_at: datetime
    runner_image: str
    references: References = field(default_factory=References)
    attempt: AttemptFacts = field(default_factory=AttemptFacts)
    refusal: str = ""
    slot: Slot = field(default_factory=Slot)
    strays: tuple[Stray, ...] = ()
    outliving: tuple[PodFacts, ...] = ()
    unmarked: tuple[JobFacts, ...] = ()
    orders: Orders | None = None
    record: Record | None = None
    upstreams: tuple[UpstreamFacts, ...] = ()
    listeners: Listeners = field(default_factory=Listeners)

    @property
    def status(self) -> DbtRunStatus:
        """The status as it stands."""
        return self.run.status or DbtRunStatus()

    @property
    def own_job(self) -> JobFacts | None:
        """The Job, if it belongs to this run; somebody else may have made one of that name."""
        job = self.attempt.job
        return job if job is not None and job.owner_uid == self.identity.uid else None
