"""A run waits for what ``spec.waitFor`` names: what counts, for how long, and what follows."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from dbt_operator.api.kinds.run import DbtRun
from dbt_operator.api.parts.upstreams import UpstreamStatus, Wait
from dbt_operator.api.status import Phase, Reason
from dbt_operator.planning.common.durations import parse_time
from dbt_operator.planning.common.plan import SettleSlots
from dbt_operator.planning.common.record import Record
from dbt_operator.planning.queueing.claims import claim
from dbt_operator.planning.queueing.positions import Slot
from dbt_operator.planning.run.facts import RunFacts
from dbt_operator.planning.run.planner import plan
from dbt_operator.planning.run.successes import Success, UpstreamFacts
from tests.support.builders import NOW, later, run, stamp, target
from tests.support.run_facts import cancelling, planned_after, references, seen, status

HOUR = 3600
FREE = Slot(free=True)
JOB = {"job": {"name": "load"}}
LABELS = {"job": {"selector": {"matchLabels": {"app": "load", "tier": "raw"}}}}
SCHEDULE = {"schedule": {"name": "raw"}}
RUN = {"run": {"name": "first"}}
NOTHING = UpstreamFacts(said="it does not exist yet")


def success(completed: float, began: float | None = None, by: str = "load") -> Success:
    begins = later(completed - 60 if began is None else began)
    return Success(by, later(completed), begins)


def waiting(*upstreams: dict[str, Any], known: UpstreamFacts = NOTHING, **facts: Any) -> RunFacts:
    spec = {"waitFor": list(upstreams)}
    told = {"slot": FREE, "upstreams": (known,) * len(upstreams), **references(), **facts}
    return seen(run(**spec), **told)


def look(facts: RunFacts, at: datetime, *known: UpstreamFacts) -> RunFacts:
    """The run after a look at it."""
    facts = replace(facts, upstreams=known) if known else facts
    return planned_after_wait(facts, at)


def planned_after_wait(facts: RunFacts, at: datetime) -> RunFacts:
    after = planned_after(facts, plan(facts, at))
    return replace(after, references=facts.references)


def wait_of(facts: RunFacts) -> Wait:
    assert facts.status.wait is not None
    return facts.status.wait


def first_of(facts: RunFacts) -> UpstreamStatus:
    return wait_of(facts).upstreams[0]


# While it waits


@pytest.mark.parametrize(
    ("upstream", "kind", "name", "words"),
    [
        (JOB, "Job", "load", "waiting for Job load (it does not exist yet)"),
        (LABELS, "Job", "app=load,tier=raw", "a Job with the labels app=load,tier=raw"),
        (SCHEDULE, "DbtSchedule", "raw", "waiting for DbtSchedule raw"),
        (RUN, "DbtRun", "first", "waiting for DbtRun first"),
    ],
)
def test_a_run_that_waits_says_for_what(
    upstream: dict[str, Any], kind: str, name: str, words: str
) -> None:
    found = plan(waiting(upstream), NOW)
    said = status(found)
    assert (said.phase, said.reason, said.queue, said.resolved) == (
        Phase.WAITING,
        None,
        None,
        None,
    )
    assert words in (said.message or "")
    assert f"until {stamp(24 * HOUR)}" in (said.message or "")
    assert said.wait is not None
    assert said.wait.since == stamp()
    assert [(each.kind, each.name) for each in said.wait.upstreams] == [(kind, name)]
    assert found.actions == (), "it asks for no slot, although one is free"
    assert found.requeue_after == 60
    assert [event.reason for event in found.events] == ["Waiting"]


def test_nothing_is_written_as_long_as_nothing_changes() -> None:
    first = look(waiting(JOB), NOW)
    second = plan(first, later(120))
    assert status(second) == first.status
    assert second.events == ()


def test_the_next_look_is_when_its_time_is_over() -> None:
    first = look(waiting(JOB | {"timeout": "1m30s"}), NOW)
    assert plan(first, later(80)).requeue_after == 10


def test_it_waits_for_all_and_keeps_what_has_been_there() -> None:
    facts = look(waiting(JOB, RUN), NOW)
    facts = look(facts, later(10), UpstreamFacts((success(5),)), NOTHING)
    assert (facts.status.phase, first_of(facts).by) == (Phase.WAITING, "load")
    assert first_of(facts).completed_at == stamp(5)
    assert "Job load" not in (facts.status.message or "")
    facts = look(facts, later(20), NOTHING, NOTHING)
    assert first_of(facts).completed_at == stamp(5), "that it was deleted changes nothing"
    facts = look(facts, later(30), NOTHING, UpstreamFacts((success(25, by="first"),)))
    assert wait_of(facts).ended_at == stamp(30)


# What follows


def test_the_end_of_the_wait_is_written_down_before_anything_follows() -> None:
    facts = look(waiting(JOB), NOW)
    came = replace(facts, upstreams=(UpstreamFacts((success(5),)),))
    ended = plan(came, later(10))
    assert (status(ended).phase, ended.actions, ended.requeue_after) == (Phase.PENDING, (), 0.0)
    after = replace(planned_after_wait(came, later(10)), upstreams=())
    assert plan(after, later(10)).actions == (SettleSlots("prod"),)


def test_what_is_there_from_the_beginning_is_not_waited_for() -> None:
    facts = look(waiting(JOB, known=UpstreamFacts((success(-HOUR),))), NOW)
    assert (facts.status.phase, wait_of(facts).ended_at) == (Phase.PENDING, stamp())


def test_its_age_and_the_time_in_the_queue_begin_after_it() -> None:
    spec = {"waitFor": [JOB], "queueTimeout": "1m"}
    full = Slot(free=False, position=1)
    facts = seen(run(**spec), slot=full, upstreams=(NOTHING,), **references())
    facts = look(facts, NOW)
    facts = look(facts, later(HOUR), UpstreamFacts((success(HOUR - 5),)))
    facts = planned_after_wait(replace(facts, upstreams=()), later(HOUR + 1))
    assert facts.status.queue is not None
    assert facts.status.queue.since == stamp(HOUR + 1)
    assert plan(facts, later(HOUR + 30)).requeue_after == 31
    assert status(plan(facts, later(HOUR + 62))).reason is Reason.QUEUE_TIMEOUT
    manifest = run(**spec) | {"status": facts.status.to_dict()}
    assert claim(manifest, later(HOUR + 10)).created_at == later(HOUR)
    assert claim(manifest, later(HOUR + 10)).waited == timedelta(seconds=9)


# Times


@pytest.mark.parametrize(
    ("bounds", "made", "counts"),
    [
        ({}, success(-100 * HOUR), True),
        ({"newerThan": stamp(-HOUR)}, success(-HOUR - 1), False),
        ({"newerThan": stamp(-HOUR)}, success(-HOUR), True),  # some time in that second
        ({"newerThan": "2026-01-02T03:04:05+01:00"}, success(-HOUR), True),
        ({"newerThan": "2026-01-02T03:04:05+01:00"}, success(-HOUR - 1), False),
        ({"newerThan": "2h"}, success(-2 * HOUR - 1), False),
        ({"newerThan": "2h"}, success(-2 * HOUR), True),
        # It began with the interval before, and was late.
        ({"begunAfter": stamp(-HOUR)}, success(-60, began=-HOUR), False),
        ({"begunAfter": stamp(-HOUR)}, success(-60, began=-HOUR + 1), True),
        ({"begunAfter": "1h30m"}, success(-60, began=-2 * HOUR), False),
        ({"begunAfter": stamp(-HOUR)}, replace(success(-60), began_at=None), False),
        ({"begunAfter": "2h", "newerThan": "1h"}, success(-2 * HOUR), False),
        ({"begunAfter": "2h", "newerThan": "1h"}, success(-60), True),
    ],
)
def test_what_counts_is_new_enough(bounds: dict[str, str], made: Success, counts: bool) -> None:
    facts = look(waiting(JOB | bounds, known=UpstreamFacts((made,))), NOW)
    assert (facts.status.phase is Phase.PENDING) == counts
    assert (first_of(facts).completed_at is not None) == counts
    assert ("the last success" in (first_of(facts).message or "")) != counts


def test_a_duration_counts_from_the_creation_however_late_it_is_looked_at() -> None:
    known = UpstreamFacts((success(-HOUR),))
    facts = look(waiting(JOB | {"newerThan": "2h"}), NOW)
    facts = look(facts, later(12 * HOUR), known)
    assert first_of(facts).completed_at == stamp(-HOUR)


def test_an_older_success_counts_if_the_newest_does_not() -> None:
    """Of several Jobs with the labels, one that was late belongs to the interval before."""
    late, right = success(-10, began=-2 * HOUR), success(-20, began=-30, by="right")
    facts = look(waiting(JOB | {"begunAfter": "1h"}, known=UpstreamFacts((late, right))), NOW)
    assert (first_of(facts).by, first_of(facts).completed_at) == ("right", stamp(-20))


# The end of the time


@pytest.mark.parametrize(
    ("said", "phase", "reason", "succeeded"),
    [
        ({}, Phase.FAILED, Reason.UPSTREAM_MISSING, False),
        ({"onTimeout": "Fail"}, Phase.FAILED, Reason.UPSTREAM_MISSING, False),
        ({"onTimeout": "Skip"}, Phase.SKIPPED, Reason.NOT_ARRIVED, False),
    ],
)
def test_it_waits_no_longer_than_it_may(
    said: dict[str, str], phase: Phase, reason: Reason, succeeded: bool
) -> None:
    facts = look(waiting(JOB | {"timeout": "5m"} | said), NOW)
    assert status(plan(facts, later(299))).phase is Phase.WAITING
    end = status(plan(facts, later(300)))
    assert (end.phase, end.reason, end.finished_at) == (phase, reason, stamp(300))
    assert "for 5m for Job load (it does not exist yet)" in (end.message or "")
    held = {each.type: each.status for each in end.conditions or ()}
    assert held["Finished"] == "True"
    assert (held["Succeeded"] == "True") == succeeded
    assert held["Stalled"] == ("True" if phase is Phase.FAILED else "False")


def test_the_default_is_a_day() -> None:
    facts = look(waiting(JOB), NOW)
    assert status(plan(facts, later(24 * HOUR - 1))).phase is Phase.WAITING
    assert status(plan(facts, later(24 * HOUR))).reason is Reason.UPSTREAM_MISSING


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ({"timeout": "1m", "onTimeout": "Skip"}, {"timeout": "2m"}, Reason.NOT_ARRIVED),
        ({"timeout": "2m", "onTimeout": "Skip"}, {"timeout": "1m"}, Reason.UPSTREAM_MISSING),
        ({"timeout": "1m", "onTimeout": "Skip"}, {"timeout": "1m"}, Reason.UPSTREAM_MISSING),
    ],
)
def test_whose_time_is_over_first_decides(
    first: dict[str, str], second: dict[str, str], reason: Reason
) -> None:
    facts = look(waiting(JOB | first, RUN | second), NOW)
    # Nobody was there when the first one's time was over.
    assert status(plan(facts, later(HOUR))).reason is reason


def test_what_came_while_nobody_looked_counts_however_late_it_is_seen() -> None:
    facts = look(waiting(JOB | {"timeout": "5m"}), NOW)
    facts = look(facts, later(HOUR), UpstreamFacts((success(400),)))
    assert facts.status.phase is Phase.PENDING


# Cancel, and what else may be


def test_it_can_be_cancelled() -> None:
    facts = cancelling(look(waiting(JOB), NOW))
    assert facts.status.phase is Phase.WAITING
    end = status(plan(facts, later(11)))
    assert (end.phase, end.reason) == (Phase.CANCELLED, Reason.CANCELLED)


def test_it_can_be_replaced() -> None:
    record = Record("DbtSchedule nightly", "status.active", stands=True)
    facts = look(waiting(JOB, record=record), NOW)
    facts = replace(facts, record=replace(record, replaced=True))
    facts = planned_after_wait(facts, later(10))
    end = status(plan(facts, later(11)))
    assert (end.phase, end.reason) == (Phase.CANCELLED, Reason.REPLACED)


def test_nobody_waits_who_is_not_recorded() -> None:
    record = Record("DbtSchedule nightly", "status.active")
    said = status(plan(waiting(JOB, record=record), NOW))
    assert (said.phase, said.wait) == (Phase.PENDING, None)


def test_what_it_refers_to_may_come_meanwhile() -> None:
    facts = look(waiting(JOB, project=None), NOW)
    assert facts.status.phase is Phase.WAITING
    assert "DbtProject shop not found" in (facts.status.message or "")
    facts = look(facts, later(HOUR), UpstreamFacts((success(5),)))
    facts = planned_after_wait(replace(facts, upstreams=()), later(HOUR))
    assert facts.status.phase is Phase.PENDING
    assert status(plan(facts, later(HOUR + 599))).phase is Phase.PENDING
    assert status(plan(facts, later(HOUR + 600))).reason is Reason.CONFIG_ERROR


def test_what_speaks_against_it_for_good_is_said_at_once() -> None:
    protected = (type(references()["target"][0]).model_validate(target(protected=True)), 8)
    facts = waiting(JOB, target=protected)
    spec = run(waitFor=[JOB], steps=[{"build": {"fullRefresh": True}}])
    end = status(plan(replace(facts, run=DbtRun.model_validate(spec)), NOW))
    assert (end.phase, end.reason) == (Phase.FAILED, Reason.INVALID_SPEC)
    assert "fullRefresh" in (end.message or "")


@pytest.mark.parametrize(
    ("upstream", "words"),
    [
        ({"run": {"name": "nightly"}}, "spec.waitFor[0].run: a run cannot wait for itself"),
        ({"schedule": {"name": "hourly"}}, "spec.waitFor[0].schedule: a run of a schedule cannot"),
        (JOB | {"newerThan": "$(scheduled.time)"}, "spec.waitFor[0].newerThan: $(scheduled.time)"),
        (JOB | {"begunAfter": "$(interval.start)"}, "spec.waitFor[0].begunAfter"),
    ],
)
def test_what_makes_no_sense_is_refused(upstream: dict[str, Any], words: str) -> None:
    record = Record("DbtSchedule hourly", "status.active", stands=True)
    end = status(plan(waiting(upstream, record=record), NOW))
    assert (end.phase, end.reason) == (Phase.FAILED, Reason.INVALID_SPEC)
    assert words in (end.message or "")


def test_the_times_of_status_can_be_read() -> None:
    facts = look(waiting(JOB, known=UpstreamFacts((success(-5),))), NOW)
    assert parse_time(first_of(facts).completed_at or "") == later(-5)
