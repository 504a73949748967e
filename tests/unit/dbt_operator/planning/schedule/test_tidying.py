"""Which runs of a schedule are deleted."""

from __future__ import annotations

from dbt_operator.api.kinds.schedule import ActiveRun, DbtSchedule, DbtScheduleStatus
from dbt_operator.observing.reader import identity_of
from dbt_operator.planning.schedule.facts import ScheduleFacts
from dbt_operator.planning.schedule.planner import hash_timing, plan
from dbt_operator.planning.schedule.tidying import EndedRun
from tests.support.builders import NOW, stamp
from tests.support.schedule_world import schedule


def test_a_run_that_stands_in_the_status_is_not_deleted() -> None:
    """Its end is written down first, or an operator that is killed in between would not know it."""
    manifest = schedule(history={"succeeded": 0, "failed": 0})
    made = DbtSchedule.model_validate(manifest)
    active = ActiveRun(occurrence=stamp(), name="active", uid="active", decided_at=stamp())
    status = DbtScheduleStatus(cursor=stamp(), timing_hash=hash_timing(made.spec), active=[active])
    ended = [
        EndedRun(name, name, "Failed", stamp(n)) for n, name in enumerate(("active", "old", "last"))
    ]
    made = made.model_copy(update={"status": status})
    found = plan(ScheduleFacts(made, identity_of(manifest), ended=tuple(ended)), NOW)
    assert [action.name for action in found.actions if hasattr(action, "name")] == ["old"]
