"""All that is known of a DbtSchedule when a decision is due."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from dbt_operator.api.kinds.schedule import DbtSchedule, DbtScheduleSpec, DbtScheduleStatus
from dbt_operator.planning.common.identity import Identity
from dbt_operator.planning.common.strays import Stray
from dbt_operator.planning.notifying.deciding import Listeners
from dbt_operator.planning.schedule.runs import ScheduledRun
from dbt_operator.planning.schedule.signals import Signal
from dbt_operator.planning.schedule.tidying import EndedRun


@dataclass(frozen=True)
class ScheduleFacts:
    """All that is known of a schedule when a decision is due.

    ``runs`` are those of ``status.active``, by their names; what is missing is confirmed absent.
    ``strays`` are runs of the schedule that have not ended and do not stand there, ``ended`` those
    that have. ``refusal`` is what the API server has just had against creating a run. ``signals``
    tell of its triggers, in their order; ``cycle`` is how it is triggered by itself, through
    others. ``clock_offset`` is by how much the API server's clock is ahead of ours.
    ``listeners`` are whoever is to be told of what only the schedule knows.
    """

    schedule: DbtSchedule
    identity: Identity
    runs: Mapping[str, ScheduledRun] = field(default_factory=dict)
    strays: tuple[Stray, ...] = ()
    ended: tuple[EndedRun, ...] = ()
    refusal: str = ""
    signals: tuple[Signal, ...] = ()
    cycle: str = ""
    clock_offset: timedelta = timedelta(0)
    listeners: Listeners = field(default_factory=Listeners)

    @property
    def status(self) -> DbtScheduleStatus:
        """The status as it stands."""
        return self.schedule.status or DbtScheduleStatus()

    @property
    def spec(self) -> DbtScheduleSpec:
        """What is asked for."""
        return self.schedule.spec
