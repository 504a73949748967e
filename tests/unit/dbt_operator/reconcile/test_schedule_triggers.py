"""A schedule that follows on others."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dbt_operator.cluster.errors import InvalidError
from dbt_operator.common.keys import Key
from dbt_operator.planning.common.durations import format_time
from dbt_operator.reconcile.kinds import find_concerned
from dbt_operator.reconcile.waking import Change, find_waiting_for_job
from tests.support.fake_cluster import Manifest
from tests.support.schedule_world import ScheduleWorld, schedule

SECOND, MINUTE, HOUR, DAY = (
    timedelta(seconds=1),
    timedelta(minutes=1),
    timedelta(hours=1),
    timedelta(days=1),
)
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
AFTER_RAW: list[Manifest] = [{"afterSchedule": {"name": "raw"}}]
TIMES = {"at": "$(scheduled.time)", "day": "$(scheduled.date)"}


class TriggeredWorld(ScheduleWorld):
    """With another schedule, raw, that succeeds when the test says so."""

    def __init__(self, **spec: Any) -> None:
        base = {"schedules": None, "triggers": AFTER_RAW}
        super().__init__(START, run={"vars": TIMES}, **(base | spec))
        self.add("raw")

    def add(self, name: str, **spec: Any) -> None:
        made = schedule(name, uid=f"uid-of-{name}", **spec)
        self.cluster.objects["DbtSchedule", name] = made

    def succeed(self, name: str = "raw") -> None:
        found = self.cluster.objects["DbtSchedule", name]
        found["status"]["lastSuccessTime"] = format_time(self.now)
        self._touch(found)

    def wait(self, span: timedelta) -> None:
        self.now += span
        self.look()

    @property
    def times(self) -> list[str]:
        return [run["spec"]["vars"]["at"] for run in self.runs.values()]


@pytest.fixture
def world() -> TriggeredWorld:
    made = TriggeredWorld()
    made.look()
    return made


def test_a_run_follows_on_a_success(world: TriggeredWorld) -> None:
    assert world.look() is None
    assert world.condition("Ready")["status"] == "True"
    world.wait(HOUR)
    world.succeed()
    assert world.look() == 10, "debounce"
    assert world.runs == {}
    assert "triggered at 2026-01-02T04:04:05Z" in world.status["message"]
    world.wait(10 * SECOND)
    ((name, run),) = world.runs.items()
    assert name.startswith("nightly-uid-of-a-t")
    assert run["spec"]["vars"] == {"at": "2026-01-02T04:04:05Z", "day": "2026-01-02"}
    assert world.status["active"][0]["cause"] == "Trigger"
    assert world.status["lastScheduledTime"] == "2026-01-02T04:04:05Z"
    world.finish_runs()
    world.wait(DAY)
    assert len(world.runs) == 1
    assert world.status["lastSuccessOccurrence"] == "2026-01-02T04:04:05Z"


def test_what_happened_before_is_no_trigger() -> None:
    world = TriggeredWorld()
    world.succeed()
    world.look()
    world.wait(HOUR)
    assert world.runs == {}
    (known,) = world.status["triggers"]
    assert known == {
        "name": "DbtSchedule raw",
        "seen": {"uid": "uid-of-raw", "completionTime": "2026-01-02T03:04:05Z"},
    }


def test_nor_is_what_happened_before_an_edit(world: TriggeredWorld) -> None:
    world.now += HOUR
    world.add("other")
    world.succeed("other")
    world.edit(triggers=[*AFTER_RAW, {"afterSchedule": {"name": "other"}}])
    world.look()
    world.wait(HOUR)
    assert world.runs == {}
    world.succeed("other")
    world.look()
    world.wait(10 * SECOND)
    assert len(world.runs) == 1


def test_what_comes_together_is_followed_by_one_run() -> None:
    world = TriggeredWorld(
        triggers=[*AFTER_RAW, {"afterSchedule": {"name": "other"}}], debounce="30s"
    )
    world.add("other")
    world.look()
    world.succeed()
    world.look()
    world.wait(20 * SECOND)
    world.succeed("other")
    world.look()
    assert world.runs == {}
    world.wait(10 * SECOND)
    assert world.times == ["2026-01-02T03:04:25Z"]
    world.finish_runs()
    world.wait(HOUR)
    assert len(world.runs) == 1


@pytest.mark.parametrize("policy", ["Forbid", "Queue"])
def test_what_comes_while_a_run_is_at_work_is_followed_by_one_run(policy: str) -> None:
    world = TriggeredWorld(concurrencyPolicy=policy)
    world.look()
    for _ in range(4):
        world.succeed()
        world.look()
        world.wait(MINUTE)
    assert len(world.runs) == 1
    world.finish_runs()
    world.look()
    assert world.times == ["2026-01-02T03:04:05Z", "2026-01-02T03:07:05Z"]
    world.finish_runs()
    world.wait(HOUR)
    assert len(world.runs) == 2
    assert {each["phase"] for each in world.status["history"]} == {"Succeeded"}


def test_it_may_replace_the_run_before() -> None:
    world = TriggeredWorld(concurrencyPolicy="Replace")
    world.look()
    for _ in range(2):
        world.succeed()
        world.look()
        world.wait(MINUTE)
    assert world.status["active"][0]["replaced"]
    assert len(world.runs) == 1
    world.finish_runs("Cancelled", reason="Replaced")
    world.look()
    assert len(world.runs) == 2


@pytest.mark.parametrize("stop", ["suspend", "pause", "pause-until"])
def test_what_comes_while_nothing_is_due_is_no_trigger(world: TriggeredWorld, stop: str) -> None:
    pause = "dbt-operator.dev/paused-until"
    end = {"pause": "forever", "pause-until": format_time(START + HOUR)}
    if stop == "suspend":
        world.edit(suspend=True)
    else:
        world.annotate(**{pause: end[stop]})
    world.look()
    world.wait(30 * MINUTE)
    world.succeed()
    world.wait(MINUTE)
    world.now = START + 2 * HOUR
    if stop == "suspend":
        world.edit(suspend=False)
    elif stop == "pause":
        world.annotate(**{pause: None})
    world.look()
    world.wait(MINUTE)
    assert world.runs == {}
    world.succeed()
    world.look()
    world.wait(MINUTE)
    assert len(world.runs) == 1


def test_an_operator_that_was_away_misses_no_trigger(world: TriggeredWorld) -> None:
    world.now += HOUR
    world.succeed()
    world.now += 5 * HOUR
    world.restart()
    world.look()
    world.wait(10 * SECOND)
    assert world.times == ["2026-01-02T04:04:05Z"]


def test_the_interval_is_from_the_last_trigger_to_this_one() -> None:
    run = {"vars": {"from": "$(interval.start)", "to": "$(interval.end)"}}
    world = TriggeredWorld(schedules=["0 0 1 * *"])
    world.edit_template(**run)
    world.look()
    for _ in range(3):
        world.wait(HOUR)
        world.succeed()
        world.look()
        world.wait(MINUTE)
        world.finish_runs("Failed", reason="ModelError")
        world.look()
    spans = [tuple(run["spec"]["vars"].values()) for run in world.runs.values()]
    assert spans == [
        ("2026-01-01T00:00:00Z", "2026-01-02T04:04:05Z"),  # there was none before
        ("2026-01-02T04:04:05Z", "2026-01-02T05:05:05Z"),
        ("2026-01-02T05:05:05Z", "2026-01-02T06:06:05Z"),
    ]
    name = list(world.runs)[-1]
    for annotation in ("retry", "run-now"):
        world.annotate(**{f"dbt-operator.dev/{annotation}": name})
        world.look()
        world.finish_runs()
        world.look()
        again = list(world.runs.values())[-1]
        assert tuple(again["spec"]["vars"].values()) == spans[-1]


def test_an_interval_needs_a_clock() -> None:
    world = TriggeredWorld()
    world.edit_template(vars={"from": "$(interval.start)"})
    world.look()
    told = world.condition("Stalled")["message"]
    assert "spec.runTemplate.spec.vars.from: $(interval.start) means nothing" in told


def test_clock_and_triggers_may_stand_side_by_side() -> None:
    world = TriggeredWorld(schedules=["0 4 * * *"])
    world.look()
    world.succeed()
    world.look()
    world.wait(10 * SECOND)
    assert len(world.runs) == 1
    world.finish_runs()
    world.look()
    world.now = datetime(2026, 1, 2, 4, 0, 1, tzinfo=UTC)
    world.look()
    assert world.times[-1] == "2026-01-02T04:00:00Z"


def test_a_trigger_that_does_not_exist_is_told_and_waited_for(world: TriggeredWorld) -> None:
    del world.cluster.objects["DbtSchedule", "raw"]
    world.look()
    assert "DbtSchedule raw does not exist" in world.status["message"]
    assert world.condition("Ready")["status"] == "True"
    world.wait(HOUR)
    world.add("raw")
    world.succeed()
    world.look()
    world.wait(MINUTE)
    assert len(world.runs) == 1


def test_lateness_counts_from_the_trigger() -> None:
    world = TriggeredWorld(finishWithin="1h")
    world.look()
    world.succeed()
    world.look()
    world.wait(10 * SECOND)
    assert world.status["expectedFinish"] == format_time(START + HOUR)
    world.wait(HOUR)
    assert world.condition("OnTime")["status"] == "False"


# Jobs

LOAD = {"app": "load", "tier": "raw"}
AFTER_LOAD: list[Manifest] = [{"afterJob": {"selector": {"matchLabels": {"app": "load"}}}}]


def complete(world: TriggeredWorld, name: str, condition: str = "Complete") -> Manifest:
    """A Job of somebody else ends."""
    now = format_time(world.now)
    done = {"completionTime": now} if condition == "Complete" else {}
    job = {
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": "analytics",
            "uid": f"uid-of-{name}",
            "creationTimestamp": now,
            "labels": LOAD,
        },
        "status": {
            **done,
            "conditions": [{"type": condition, "status": "True", "lastTransitionTime": now}],
        },
    }
    world.cluster.objects["Job", name] = job
    return job


def test_a_run_follows_on_a_job_of_somebody_else() -> None:
    world = TriggeredWorld(triggers=AFTER_LOAD)
    complete(world, "before")
    assert world.look() == 60, "nobody may have been let watch Jobs"
    world.wait(HOUR)
    assert world.runs == {}
    complete(world, "in-vain", "Failed")
    world.wait(HOUR)
    assert world.runs == {}
    complete(world, "load")
    world.look()
    world.wait(10 * SECOND)
    assert world.times == ["2026-01-02T05:04:05Z"]
    assert world.status["triggers"] == [
        {
            "name": "Jobs with app=load",
            "seen": {"uid": "uid-of-load", "completionTime": "2026-01-02T05:04:05Z"},
        }
    ]
    world.finish_runs()
    del world.cluster.objects["Job", "load"]
    world.wait(HOUR)
    assert len(world.runs) == 1


def test_what_was_there_before_is_no_trigger_by_whatever_clock() -> None:
    world = TriggeredWorld(triggers=AFTER_LOAD)
    world.now += MINUTE
    complete(world, "before")
    world.now -= MINUTE  # the clock of the operator is behind
    world.look()
    world.wait(HOUR)
    assert world.runs == {}


def test_where_jobs_cannot_be_seen_the_clock_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    world = TriggeredWorld(triggers=AFTER_LOAD, schedules=["0 4 * * *"])

    def refuse(*_: str) -> Iterator[Manifest]:
        raise InvalidError("403 Forbidden")

    monkeypatch.setattr(world.cluster, "jobs_with_labels", refuse)
    world.look()
    world.wait(HOUR)
    assert world.times == ["2026-01-02T04:00:00Z"]


def test_a_job_wakes_who_follows_on_it() -> None:
    world = TriggeredWorld(triggers=AFTER_LOAD)
    world.hear()
    assert world.store.namespaces_waiting_for("Job") == {"analytics"}
    job = complete(world, "load")
    mine = Key("DbtSchedule", "analytics", "nightly")
    assert list(find_waiting_for_job(job["metadata"], world.store)) == [mine]
    job["metadata"]["labels"] = {"app": "other"}
    assert list(find_waiting_for_job(job["metadata"], world.store)) == []
    world.edit(triggers=AFTER_RAW)
    world.hear()
    assert world.store.namespaces_waiting_for("Job") == set()


# Cycles


def follow(*names: str) -> dict[str, Any]:
    return {
        "schedules": None,
        "triggers": [{"afterSchedule": {"name": name}} for name in names],
    }


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ({"raw": ("nightly",)}, "nightly after raw after nightly"),
        ({"raw": ("a", "b"), "b": ("nightly",)}, "nightly after raw after b after nightly"),
        ({"raw": ("raw",)}, ""),
        ({"raw": ("a",), "a": ("raw",)}, ""),
    ],
)
def test_a_cycle_is_refused(others: dict[str, tuple[str, ...]], message: str) -> None:
    world = TriggeredWorld()
    for name, before in others.items():
        world.add(name, **follow(*before))
    world.look()
    stalled = world.condition("Stalled")
    assert (stalled["status"] == "True") == bool(message)
    if message:
        assert stalled["reason"] == "InvalidSpec"
        assert f"spec.triggers: {message}" in stalled["message"]
        world.succeed()
        world.look()
        world.wait(MINUTE)
        assert world.runs == {}


def test_one_that_triggers_itself_is_refused() -> None:
    world = TriggeredWorld(**follow("nightly"))
    world.look()
    assert "nightly after nightly" in world.condition("Stalled")["message"]


def test_who_follows_is_woken() -> None:
    world = TriggeredWorld()
    world.hear()
    raw = world.cluster.objects["DbtSchedule", "raw"]
    mine = Key("DbtSchedule", "analytics", "nightly")
    assert mine in set(find_concerned(Change(raw, world.store)))
    world.edit(triggers=[{"afterSchedule": {"name": "other"}}])
    world.hear()
    assert mine not in set(find_concerned(Change(raw, world.store)))
    other = {**raw, "metadata": raw["metadata"] | {"name": "other"}}
    assert mine in set(find_concerned(Change(other, world.store)))
    del world.cluster.objects["DbtSchedule", "nightly"]
    world.hear()
    assert mine not in set(find_concerned(Change(other, world.store)))


# Kills


def tell_story(world: TriggeredWorld) -> None:
    """Two runs, the second triggered twice while the first is at work."""
    world.look()
    for _ in range(3):
        world.succeed()
        world.look()
        world.wait(MINUTE)
    world.finish_runs()
    world.look()
    world.finish_runs()
    world.look()


def count_writes() -> int:
    world = TriggeredWorld()
    tell_story(world)
    return world.cluster.writes


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", range(1, count_writes() + 1))
def test_an_operator_that_is_killed_at_a_write_loses_and_doubles_nothing(
    number: int, *, after: bool
) -> None:
    world = TriggeredWorld()
    world.cluster.kill_at(number, after=after)
    tell_story(world)
    world.wait(MINUTE)
    world.finish_runs()
    world.look()
    assert world.times == ["2026-01-02T03:04:05Z", "2026-01-02T03:06:05Z"]
    assert [each["phase"] for each in world.status["history"]] == ["Succeeded"] * 2
    assert "active" not in world.status
