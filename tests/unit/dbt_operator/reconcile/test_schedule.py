"""A fake clock drives the reconciler over the changes of the clocks in two years: each occurrence
has one run, whatever happens to operators meanwhile.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dbt_operator.planning.common.plan import LOOK_AGAIN
from tests.support.fake_cluster import KilledError, Manifest
from tests.support.schedule_world import TEMPLATE, ScheduleWorld, schedule
from tests.support.wall_clock import SHAPES, ZONES, Shape, enumerate_moments, find_edges

AROUND = timedelta(hours=5)
HALF_OUTAGE = timedelta(minutes=90)
SECOND, MINUTE, HOUR, DAY = (
    timedelta(seconds=1),
    timedelta(minutes=1),
    timedelta(hours=1),
    timedelta(days=1),
)
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
THREE = START.replace(minute=0, second=0) + DAY  # when the usual schedule is due

every_zone = pytest.mark.parametrize("zone", ZONES)
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.entry)


def make_world(start: datetime, shape: Shape, zone: str) -> ScheduleWorld:
    return ScheduleWorld(start, schedules=[shape.entry], timezone=zone)


# On time


@every_zone
@every_shape
def test_each_occurrence_has_one_run(zone: str, shape: Shape) -> None:
    for edge in find_edges(zone):
        world = make_world(edge - AROUND, shape, zone)
        world.go_to(edge + AROUND)
        assert world.created == enumerate_moments(shape, zone, edge - AROUND, edge + AROUND)


@every_zone
def test_restarts_and_conflicts_change_nothing(zone: str) -> None:
    shape = SHAPES[4]
    for edge in find_edges(zone)[:2]:
        start, end = edge - 3 * HOUR, edge + 3 * HOUR
        world = make_world(start, shape, zone)
        world.restarts = True
        world.refuse_every(3)
        world.go_to(end)
        assert world.created == enumerate_moments(shape, zone, start, end)


@every_zone
@every_shape
def test_after_an_outage_the_latest_has_a_run(zone: str, shape: Shape) -> None:
    for edge in find_edges(zone):
        world = make_world(edge - AROUND, shape, zone)
        before, after = edge - HALF_OUTAGE, edge + HALF_OUTAGE
        world.go_to(before)
        world.restart()
        world.now = after
        world.go_to(edge + AROUND)
        missed = enumerate_moments(shape, zone, before, after)
        assert world.created == [
            *enumerate_moments(shape, zone, edge - AROUND, before),
            *missed[-1:],
            *enumerate_moments(shape, zone, after, edge + AROUND),
        ]


@pytest.mark.parametrize("over_windows", [False, True])
def test_labels_of_the_pods_are_passed_to_runs_and_backfills(over_windows: bool) -> None:
    """Whether the target lists them is decided where they are to be put on pods."""
    pod = {"labels": {"team": "finance"}, "annotations": {"note": "x"}}
    spec: Manifest = {"run": {"pod": pod}}
    if over_windows:
        of_window = TEMPLATE | {"pod": pod, "vars": {"ds": "$(window.start)"}}
        windows = {"dates": {"last": "7d"}}
        over = {"runTemplate": {"spec": of_window}, "windows": windows}
        spec = {"runTemplate": None, "backfillTemplate": {"spec": over}}
    world = ScheduleWorld(START, **spec)
    world.look()
    world.now += 24 * HOUR
    world.look()
    (made,) = world.runs.values()
    assert made["kind"] == ("DbtBackfill" if over_windows else "DbtRun")
    run = made["spec"]["runTemplate"]["spec"] if over_windows else made["spec"]
    assert run["pod"] == pod


def test_what_was_missed_is_told() -> None:
    world = ScheduleWorld(START, schedules=["*/15 * * * *"])
    world.look()
    world.now += 3 * HOUR
    world.look()
    world.finish_runs()
    world.look()
    last, missed = world.status["history"]
    assert (last["phase"], last["occurrence"]) == ("Succeeded", "2026-01-02T06:00:00Z")
    assert (missed["phase"], missed["count"]) == ("Missed", 11)
    assert (missed["occurrence"], missed["until"]) == (
        "2026-01-02T03:15:00Z",
        "2026-01-02T05:45:00Z",
    )
    assert [event.reason for event in world.cluster.events] == ["Scheduled", "Missed"]


@every_zone
@every_shape
def test_what_was_due_while_it_was_suspended_is_not_made_up_for(zone: str, shape: Shape) -> None:
    for edge in find_edges(zone):
        world = make_world(edge - AROUND, shape, zone)
        before, after = edge - HALF_OUTAGE, edge + HALF_OUTAGE
        world.go_to(before)
        world.edit(suspend=True)
        world.go_to(after)
        world.edit(suspend=False)
        world.go_to(edge + AROUND)
        assert world.created == [
            *enumerate_moments(shape, zone, edge - AROUND, before),
            *enumerate_moments(shape, zone, after, edge + AROUND),
        ]


def test_a_suspension_that_an_operator_never_saw_counts_too() -> None:
    world = ScheduleWorld(START)
    world.go_to(THREE - HOUR)
    world.edit(suspend=True)
    world.look()
    world.now = THREE + HOUR  # nobody is there when it is due, nor when it is resumed
    world.edit(suspend=False)
    world.go_to(THREE + 2 * HOUR)
    assert world.created == []


# Clocks


def test_it_is_looked_at_when_it_is_due_and_sometimes_before() -> None:
    world = ScheduleWorld(START)
    assert world.look() == 15 * 60
    world.now = THREE - 59 * MINUTE
    assert world.look() == 15 * 60
    world.now = THREE - 14 * MINUTE
    assert world.look() == 14 * 60
    world.now = THREE - 20 * SECOND
    assert world.look() == 20
    world.edit(suspend=True)
    assert world.look() is None


@pytest.mark.parametrize(
    ("offset", "words"),
    [(90, "1m30s behind"), (-90, "1m30s ahead of"), (60, None), (-60, None)],
)
def test_a_clock_that_is_wrong_is_told(offset: int, words: str | None) -> None:
    world = ScheduleWorld(START)
    world.cluster.clock_offset = offset * SECOND
    world.look()
    told = {each["type"]: each for each in world.status["conditions"]}.get("ClockAgrees")
    assert (told is not None) == (words is not None)
    if told:
        assert (told["status"], told["reason"]) == ("False", "ClockDiffers")
        assert words is not None
        assert words in told["message"]
    world.cluster.clock_offset = timedelta(0)
    world.look()
    assert "ClockAgrees" not in {each["type"] for each in world.status["conditions"]}


def test_a_clock_that_goes_back_decides_nothing_anew() -> None:
    world = ScheduleWorld(START)
    world.go_to(THREE + MINUTE)
    assert world.created == [THREE]
    world.now = THREE - 2 * HOUR
    world.restart()
    world.go_to(THREE + DAY - MINUTE)
    assert world.created == [THREE]
    world.go_to(THREE + DAY + MINUTE)
    assert world.created == [THREE, THREE + DAY]


def test_an_edit_under_a_clock_that_has_gone_back_fires_nothing_old() -> None:
    world = ScheduleWorld(START)
    world.go_to(THREE + MINUTE)
    cursor = world.status["cursor"]
    world.now = THREE - 2 * HOUR
    world.edit(schedules=["*/30 * * * *"])
    world.go_to(THREE - MINUTE)
    assert world.created == [THREE]
    assert world.status["cursor"] == cursor


# Edits


def test_a_new_or_restored_schedule_fires_nothing_old() -> None:
    world = ScheduleWorld(START)
    world.go_to(THREE + MINUTE)
    world.lose_status()
    world.go_to(THREE + 2 * HOUR)
    assert world.created == [THREE]


@pytest.mark.parametrize(
    "edit", [{"schedules": ["0 2,3 * * *"]}, {"timezone": "Europe/Amsterdam"}], ids=str
)
def test_an_edit_of_the_times_counts_from_now_on(edit: dict[str, object]) -> None:
    world = ScheduleWorld(START)
    world.go_to(THREE - HOUR)
    world.now = THREE + HOUR
    world.edit(**edit)
    world.go_to(THREE + HOUR + MINUTE)
    assert world.created == []


@pytest.mark.parametrize("late", [-SECOND, timedelta(0), SECOND], ids=str)
@pytest.mark.parametrize("kill", range(4))
def test_an_edit_of_the_template_as_it_is_due_loses_nothing(late: timedelta, kill: int) -> None:
    """Killed before each write, so that what was decided before the edit is carried out after
    it.
    """
    world = ScheduleWorld(START)
    world.go_to(THREE - MINUTE)
    world.now = THREE + late
    written = world.cluster.writes

    def kill_once(count: int) -> None:
        if count == written + kill:
            world.edit_template(threads=7)
            raise KilledError

    world.cluster.before_write = kill_once
    world.look()
    if kill == 0:
        world.edit_template(threads=7)
    world.go_to(THREE + HOUR)
    assert set(world.cluster.created_runs) == {f"nightly-uid-of-a-{THREE:%Y%m%d%H%M}"}
    (past,) = world.status["history"]
    assert past["phase"] == "Succeeded"


def test_a_run_of_the_old_template_that_nobody_wrote_down_is_replaced() -> None:
    world = ScheduleWorld(START)
    world.go_to(THREE - MINUTE)
    world.now = THREE

    def kill(_: int) -> None:
        if world.cluster.created_runs:
            world.cluster.after_write = lambda _: None
            raise KilledError

    world.cluster.after_write = kill
    assert world.reconciler.reconcile(world.key) == 0.0
    world.hear()
    with pytest.raises(KilledError):
        world.reconciler.reconcile(world.key)
    (old,) = world.runs.values()
    world.edit_template(threads=7)
    world.restart()
    assert world.look() == LOOK_AGAIN, "the name has to be free first"
    world.look()
    (new,) = world.runs.values()
    assert old["metadata"]["uid"] != new["metadata"]["uid"]
    assert new["spec"]["threads"] == 7
    assert world.status["active"][0]["uid"] == new["metadata"]["uid"]


# What becomes of runs


def test_an_occurrence_is_skipped_while_the_run_before_is_at_work() -> None:
    world = ScheduleWorld(START, schedules=["*/15 * * * *"])
    world.look()
    for _ in range(3):
        world.now += 15 * MINUTE
        world.look()
    assert len(world.runs) == 1
    (skipped,) = world.status["history"]
    assert (skipped["phase"], skipped["reason"], skipped["count"]) == ("Skipped", "StillRunning", 2)
    world.finish_runs()
    world.now += 15 * MINUTE
    world.look()
    assert len(world.runs) == 2


@pytest.mark.parametrize(
    ("phase", "reason", "told", "succeeded"),
    [
        ("Succeeded", None, "Succeeded", "True"),
        ("Failed", "ModelError", "Failed", "False"),
        ("Cancelled", "Cancelled", "Cancelled", "False"),
    ],
)
def test_the_end_of_a_run_is_told(
    phase: str, reason: str | None, told: str, succeeded: str
) -> None:
    world = ScheduleWorld(START)
    world.go_to(THREE - MINUTE)
    world.now = THREE
    world.look()
    world.finish_runs(phase, **({"reason": reason, "message": "why"} if reason else {}))
    world.look()
    (past,) = world.status["history"]
    assert (past["phase"], past.get("reason"), past["duration"]) == (told, reason, "1m")
    assert world.condition("LastRunSucceeded")["status"] == succeeded
    assert world.condition("Ready")["status"] == "True", "it is healthy whatever its runs do"
    assert ("lastSuccessTime" in world.status) == (phase == "Succeeded")


def test_a_run_that_had_nothing_to_do_is_no_failure() -> None:
    world = ScheduleWorld(START)
    world.go_to(THREE + MINUTE)
    world.now = THREE + DAY
    world.look()
    world.finish_runs("Skipped", reason="NotFresh")
    world.look()
    assert world.status["history"][0]["phase"] == "Skipped"
    assert world.condition("LastRunSucceeded")["status"] == "True"


def test_a_run_that_was_deleted_is_not_created_again() -> None:
    world = ScheduleWorld(START)
    world.go_to(THREE - MINUTE)
    world.now = THREE
    world.look()
    (name,) = world.runs
    del world.cluster.objects["DbtRun", name]
    world.go_to(THREE + HOUR)
    assert world.runs == {}
    (past,) = world.status["history"]
    assert (past["phase"], past["reason"]) == ("Failed", "Unknown")
    assert "was deleted before its end was seen" in past["message"]


def test_somebody_elses_run_of_that_name_is_left_alone() -> None:
    world = ScheduleWorld(START)
    world.go_to(THREE - MINUTE)
    name = f"nightly-uid-of-a-{THREE:%Y%m%d%H%M}"
    world.cluster.create_run(
        {"kind": "DbtRun", "metadata": {"name": name, "namespace": "analytics"}, "spec": TEMPLATE}
    )
    world.now = THREE
    world.look()
    assert set(world.runs) == {name}
    (past,) = world.status["history"]
    assert (past["phase"], past["reason"]) == ("Failed", "NameConflict")


def test_names_fit_into_labels_and_differ() -> None:
    names = set()
    for ending in "ab":
        name = "x" * 39 + ending
        world = ScheduleWorld(START, schedule(name, uid=f"{ending * 8}-of-it"))
        world.go_to(THREE + MINUTE)
        names.update(world.cluster.created_runs)
    assert len(names) == 2
    assert {len(name) for name in names} == {62}


# What is wrong with a spec


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"schedules": ["61 * * * *"]}, "spec.schedules[0]: '61 * * * *': bad minute"),
        ({"schedules": ["0 0 29 2 */7"]}, "has no occurrence in five years"),
        ({"timezone": "Europe/Atlantis"}, "spec.timezone: 'Europe/Atlantis'"),
        (
            {"run": {"vars": {"ds": "$(scheduled.day)"}}},
            "spec.runTemplate.spec.vars.ds: $(scheduled.day) means nothing",
        ),
        (
            {"run": {"vars": {"ds": "$(window.start)"}}},
            "spec.runTemplate.spec.vars.ds: $(window.start) means nothing",
        ),
        (
            {"run": {"env": [{"name": "DAY", "value": "$(scheduled.date)"}]}},
            "spec.runTemplate.spec.env[0].value: $(scheduled.date) means nothing there",
        ),
        (
            {"run": {"env": [{"name": "PGHOSTADDR", "value": "10.0.0.1"}]}},
            "spec.runTemplate.spec.env[0] (PGHOSTADDR) would lead programs or",
        ),
        (
            {"run": {"env": [{"name": "DBT_EMPTY", "value": "1"}]}},
            "spec.runTemplate.spec.env[0] (DBT_EMPTY) is read by dbt as a flag",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_is_named_and_nothing_is_due(spec: dict[str, object], words: str) -> None:
    world = ScheduleWorld(START, **spec)  # type: ignore[arg-type]
    assert world.look() is None
    assert world.condition("Stalled")["reason"] == "InvalidSpec"
    assert words in world.status["message"]
    assert "nextRunTimes" not in world.status
    assert world.runs == {}


def test_a_spec_that_is_mended_goes_on_where_it_was() -> None:
    world = ScheduleWorld(START)
    world.go_to(THREE - HOUR)
    world.edit_template(vars={"ds": "$(scheduled.day)"})
    world.now = THREE + MINUTE
    world.look()
    assert world.created == []
    world.edit_template(vars={"ds": "$(scheduled.date)"})
    world.look()
    assert world.created == [THREE], "what was missed meanwhile is made up for"
    assert world.condition("Stalled")["status"] == "False"


# What placeholders stand for


def test_placeholders_stand_for_the_occurrence() -> None:
    run = {
        "vars": {"at": ["$(scheduled.time)", {"day": "$(scheduled.date)"}]},
        "eventTime": {"start": "$(interval.start)", "end": "$(interval.end)"},
        "steps": [
            {"build": {"select": ["tag:d$(scheduled.date)"]}},
            {"runOperation": {"macro": "grant", "args": {"as_of": "$(scheduled.date)"}}},
        ],
    }
    world = ScheduleWorld(START, run=run, schedules=["30 0 * * 1-5"], timezone="Europe/Amsterdam")
    world.look()
    world.now = datetime(2026, 1, 4, 23, 30, tzinfo=UTC)
    world.look()
    (made,) = world.runs.values()
    assert made["spec"]["vars"] == {"at": ["2026-01-04T23:30:00Z", {"day": "2026-01-05"}]}
    assert made["spec"]["eventTime"] == {
        "start": "2026-01-01T23:30:00",
        "end": "2026-01-04T23:30:00",
    }
    assert made["spec"]["steps"] == [
        {"build": {"select": ["tag:d2026-01-05"]}},
        {"runOperation": {"macro": "grant", "args": {"as_of": "2026-01-05"}}},
    ]


# What becomes of occurrences while a run is at work


def pass_quarters(world: ScheduleWorld, number: int) -> None:
    for _ in range(number):
        world.now += 15 * MINUTE
        world.look()


def told(world: ScheduleWorld) -> list[tuple[str, str, str | None]]:
    """The history, the oldest first."""
    return [
        (past["occurrence"][11:16], past["phase"], past.get("reason"))
        for past in reversed(world.status.get("history", []))
    ]


def quarters(*times: str) -> list[datetime]:
    return [START.replace(hour=int(at[:2]), minute=int(at[3:]), second=0) for at in times]


def test_the_newest_occurrence_waits_until_the_run_before_has_ended() -> None:
    world = ScheduleWorld(START, schedules=["*/15 * * * *"], concurrencyPolicy="Queue")
    world.look()
    pass_quarters(world, 3)
    assert world.created == quarters("03:15")
    assert world.status["waiting"]["occurrence"] == "2026-01-02T03:45:00Z"
    world.finish_runs()
    world.look()
    assert world.created == quarters("03:15", "03:45")
    assert "waiting" not in world.status
    assert told(world) == [("03:30", "Skipped", "Superseded"), ("03:15", "Succeeded", None)]


def test_a_later_occurrence_replaces_the_run_before() -> None:
    world = ScheduleWorld(START, schedules=["*/15 * * * *"], concurrencyPolicy="Replace")
    world.look()
    pass_quarters(world, 1)
    assert "replaced" not in world.status["active"][0]
    pass_quarters(world, 1)
    assert world.status["active"][0]["replaced"] is True
    assert world.created == quarters("03:15"), "it begins once the other has ended"
    world.finish_runs("Cancelled", reason="Replaced")
    world.look()
    assert world.created == quarters("03:15", "03:30")
    assert told(world) == [("03:15", "Cancelled", "Replaced")]
    types = [each["type"] for each in world.status["conditions"]]
    assert "LastRunSucceeded" not in types, "what was replaced says nothing of how things are"


def test_what_waits_is_no_business_of_a_schedule_with_other_times() -> None:
    world = ScheduleWorld(START, schedules=["*/15 * * * *"], concurrencyPolicy="Queue")
    world.look()
    pass_quarters(world, 2)
    world.edit(suspend=True)
    world.look()
    world.finish_runs()
    world.look()
    assert world.created == quarters("03:15")
    assert "waiting" not in world.status


# What was missed


@every_zone
def test_after_an_outage_all_have_a_run_one_after_another(zone: str) -> None:
    shape = SHAPES[4]
    for edge in find_edges(zone)[:2]:
        start, end = edge - 4 * HOUR, edge + 4 * HOUR
        world = ScheduleWorld(start, schedules=[shape.entry], timezone=zone, catchUp="All")
        world.go_to(edge - HALF_OUTAGE)
        world.restart()
        world.now = edge + HALF_OUTAGE
        world.look()
        assert len(world.status["active"]) == 1
        missed = enumerate_moments(shape, zone, edge - HALF_OUTAGE, edge + HALF_OUTAGE)
        assert world.status["backlog"]["count"] == len(missed) - 1
        for _ in missed:
            world.finish_runs()
            world.look()
        world.go_to(end)
        assert world.created == enumerate_moments(shape, zone, start, end)


def test_what_comes_due_while_others_are_made_up_for_is_made_up_for_too() -> None:
    world = ScheduleWorld(START, schedules=["*/15 * * * *"], catchUp="All")
    world.look()
    world.now += HOUR
    world.look()
    assert world.created == quarters("03:15")
    pass_quarters(world, 1)
    assert world.status["backlog"] == {
        "first": "2026-01-02T03:30:00Z",
        "last": "2026-01-02T04:15:00Z",
        "count": 4,
    }


def test_no_more_than_a_hundred_are_made_up_for() -> None:
    world = ScheduleWorld(START, schedules=["*/15 * * * *"], catchUp="All")
    world.look()
    world.now += 2 * DAY
    world.look()
    assert world.status["backlog"]["count"] == 99
    assert told(world) == [("03:15", "Missed", "NotInTime")]
    assert world.status["history"][0]["count"] == 2 * 24 * 4 - 100


@pytest.mark.parametrize(
    ("late", "created"), [(4 * MINUTE, ["03:15"]), (6 * MINUTE, [])], ids=["in time", "late"]
)
def test_nothing_is_made_up_for_where_nothing_is_to_be(late: timedelta, created: list[str]) -> None:
    world = ScheduleWorld(START, schedules=["*/15 * * * *"], catchUp="None")
    world.look()
    world.now = quarters("03:15")[0] + late
    world.look()
    assert world.created == quarters(*created)
    assert told(world) == ([] if created else [("03:15", "Missed", "NotInTime")])


@pytest.mark.parametrize("policy", ["Latest", "All"])
def test_what_is_past_its_deadline_is_missed(policy: str) -> None:
    world = ScheduleWorld(START, schedules=["*/15 * * * *"], catchUp=policy, startingDeadline="20m")
    world.look()
    world.now = quarters("04:10")[0]
    world.look()
    assert world.created == quarters("04:00")
    assert (world.status["history"][0]["phase"], world.status["history"][0]["count"]) == (
        "Missed",
        3,
    )


def test_what_waits_for_longer_than_its_deadline_is_missed() -> None:
    world = ScheduleWorld(
        START, schedules=["*/15 * * * *"], concurrencyPolicy="Queue", startingDeadline="10m"
    )
    world.look()
    pass_quarters(world, 2)
    world.now += 9 * MINUTE
    world.finish_runs()
    world.look()
    assert world.created == quarters("03:15")
    assert told(world) == [("03:15", "Succeeded", None), ("03:30", "Missed", "NotInTime")]


def test_a_run_that_cannot_be_created_in_time_is_missed() -> None:
    world = ScheduleWorld(START, startingDeadline="30m")
    world.go_to(THREE - MINUTE)
    world.cluster.refusal = "exceeded quota"
    world.now = THREE
    assert world.look() == LOOK_AGAIN
    assert "exceeded quota" in world.status["message"]
    world.now = THREE + 31 * MINUTE
    world.look()
    assert told(world) == [("03:00", "Missed", "NotInTime")]
    assert "active" not in world.status


def test_a_run_that_was_decided_and_not_created_in_time_is_missed() -> None:
    world = ScheduleWorld(START, startingDeadline="30m")
    world.go_to(THREE - MINUTE)
    world.now = THREE
    assert world.reconciler.reconcile(world.key) == 0.0
    world.restart()
    world.now = THREE + HOUR
    world.look()
    assert world.created == []
    assert told(world) == [("03:00", "Missed", "NotInTime")]


def test_what_waited_is_the_first_that_is_made_up_for() -> None:
    world = ScheduleWorld(
        START, schedules=["*/15 * * * *"], concurrencyPolicy="Queue", catchUp="All"
    )
    world.look()
    pass_quarters(world, 2)
    assert world.status["waiting"]["occurrence"] == "2026-01-02T03:30:00Z"
    world.now += 30 * MINUTE
    for _ in range(4):
        world.look()
        world.finish_runs()
    world.look()
    assert world.created == quarters("03:15", "03:30", "03:45", "04:00")


# What is kept


def end_days(world: ScheduleWorld, *phases: str) -> None:
    for phase in phases:
        world.now += DAY
        world.look()
        world.finish_runs(phase)
        world.look()
        world.look()


def days_of(world: ScheduleWorld) -> list[int]:
    return sorted(int(name[-6:-4]) for name in world.runs)


def test_the_latest_runs_of_each_end_are_kept() -> None:
    world = ScheduleWorld(START, history={"succeeded": 2, "failed": 1})
    world.look()
    end_days(world, *["Succeeded", "Failed"] * 3, "Cancelled")
    assert days_of(world) == [5, 7, 9]


def test_a_run_that_somebody_marks_as_managed_is_deleted_all_the_same() -> None:
    world = ScheduleWorld(START, history={"succeeded": 1})
    world.look()
    world.now += DAY
    world.look()
    (first,) = world.runs.values()
    first["metadata"]["labels"] |= {
        "argocd.argoproj.io/instance": "prod",
        "app.kubernetes.io/managed-by": "Helm",
    }
    world.finish_runs()
    world.look()
    world.now += DAY
    world.look()
    world.finish_runs()
    world.look()
    world.look()
    assert list(world.runs.values()) != [first]
    assert len(world.runs) == 1


def test_the_last_success_and_the_last_end_are_always_kept() -> None:
    world = ScheduleWorld(START, history={"succeeded": 0, "failed": 0, "ttl": "1h"})
    world.look()
    end_days(world, "Succeeded", "Succeeded", "Failed", "Failed")
    assert days_of(world) == [4, 6]


def test_runs_are_deleted_when_they_are_old() -> None:
    world = ScheduleWorld(START, history={"ttl": "50h"}, schedules=["0 3 1-5 * *"])
    world.look()
    end_days(world, "Succeeded", "Succeeded", "Succeeded")
    assert days_of(world) == [3, 4, 5]
    world.now += 3 * HOUR
    world.look()
    assert days_of(world) == [4, 5]
    world.now += 2 * DAY
    world.look()
    assert days_of(world) == [5]


# Kills


def tell_story(world: ScheduleWorld) -> None:
    """Three occurrences, the second while the first run takes its time."""
    world.look()
    for _ in range(2):
        world.now += 15 * MINUTE
        world.look()
    world.finish_runs()
    world.look()
    world.now += MINUTE
    world.finish_runs()
    world.look()
    world.now += 14 * MINUTE
    world.look()
    world.finish_runs()
    world.look()


STORIES: dict[str, tuple[list[str], list[tuple[str, str, str | None]]]] = {
    "Forbid": (
        ["03:15", "03:45"],
        [
            ("03:30", "Skipped", "StillRunning"),
            ("03:15", "Succeeded", None),
            ("03:45", "Succeeded", None),
        ],
    ),
    "Queue": (
        ["03:15", "03:30", "03:45"],
        [("03:15", "Succeeded", None), ("03:30", "Succeeded", None), ("03:45", "Succeeded", None)],
    ),
    "Replace": (
        ["03:15", "03:30", "03:45"],
        [("03:15", "Succeeded", None), ("03:30", "Succeeded", None), ("03:45", "Succeeded", None)],
    ),
}


def make_story(policy: str) -> ScheduleWorld:
    return ScheduleWorld(
        START,
        schedules=["*/15 * * * *"],
        concurrencyPolicy=policy,
        history={"succeeded": 1, "failed": 1},
    )


def count_writes(policy: str) -> int:
    world = make_story(policy)
    tell_story(world)
    return world.cluster.writes


KILLS = [(policy, number) for policy in STORIES for number in range(1, count_writes(policy) + 1)]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("policy", "number"), KILLS)
def test_an_operator_that_is_killed_at_a_write_loses_and_doubles_nothing(
    policy: str, number: int, *, after: bool
) -> None:
    world = make_story(policy)
    world.cluster.kill_at(number, after=after)
    tell_story(world)
    created, history = STORIES[policy]
    assert world.created == quarters(*created)
    assert told(world) == history
    assert "active" not in world.status
    world.look()
    assert len(world.runs) == 1, "older ones are deleted"


def test_what_an_operator_creates_that_had_stopped_for_a_while_goes_again() -> None:
    world = ScheduleWorld(START)
    world.go_to(THREE - MINUTE)
    world.now = THREE
    world.look()
    (late,) = world.runs.values()
    world.finish_runs()
    world.look()
    world.delete_ended()
    made = {key: late[key] for key in ("apiVersion", "kind", "metadata", "spec")}
    world.cluster.create_run(made)
    world.look()
    assert world.runs == {}
    assert len(world.status["history"]) == 1
