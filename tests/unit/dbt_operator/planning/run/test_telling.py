"""Whose end is told."""

from __future__ import annotations

from dbt_operator.api.kinds.run import DbtRunStatus
from dbt_operator.api.parts.notify import Notify
from dbt_operator.api.status import Reason
from dbt_operator.common.channels import Channel
from dbt_operator.planning.attempt.verdict import Verdict
from dbt_operator.planning.notifying.deciding import Listeners
from dbt_operator.planning.run.ending import finish
from dbt_operator.planning.run.facts import RunFacts
from dbt_operator.planning.run.orders import Orders
from tests.support.builders import NOW
from tests.support.run_facts import replace, seen

LISTENERS = Listeners([Notify(channel="team")], {"team": Channel("team", ("*",))}, "analytics")


def told(facts: RunFacts) -> list[str]:
    """What is told of a run that fails."""
    planned = finish(facts, Verdict(Reason.INVALID_SPEC, "it means nothing"), NOW)
    assert isinstance(planned.status, DbtRunStatus)
    return [each.event for each in planned.status.notifications or ()]


def test_the_end_of_a_run_is_told_and_that_of_a_part_of_a_backfill_is_not() -> None:
    alone = replace(seen(), listeners=LISTENERS)
    assert told(alone) == ["Failed"]
    assert told(replace(alone, orders=Orders("past", "uid-of-a-backfill"))) == []
