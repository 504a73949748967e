"""What people ask of a schedule by annotations: a run now, another run for an occurrence, a
pause.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dbt_operator.common.keys import Key
from dbt_operator.planning.common.durations import format_time
from tests.support.builders import project, target
from tests.support.fake_cluster import Manifest
from tests.support.schedule_world import TEMPLATE, ScheduleWorld, schedule

SECOND, MINUTE, HOUR, DAY = (
    timedelta(seconds=1),
    timedelta(minutes=1),
    timedelta(hours=1),
    timedelta(days=1),
)
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
RUN_NOW, RETRY, BACKFILL, PAUSED_UNTIL = (
    f"dbt-operator.dev/{name}" for name in ("run-now", "retry", "backfill", "paused-until")
)
PREFIX = "nightly-uid-of-a-"


def at(text: str) -> str:
    return f"2026-01-{text}:00Z"


def told(world: ScheduleWorld) -> list[tuple[str, str | None, str, str | None]]:
    """The history, the oldest first."""
    return [
        (each["occurrence"], each.get("cause"), each["phase"], each.get("reason"))
        for each in reversed(world.status.get("history", []))
    ]


@pytest.fixture
def world() -> ScheduleWorld:
    """A nightly schedule that has been looked at."""
    made = ScheduleWorld(START, run={"vars": {"at": "$(scheduled.time)"}})
    made.look()
    return made


# A run now


def test_each_new_value_is_one_run_of_the_last_occurrence(world: ScheduleWorld) -> None:
    for value in ("a", "a", "b", "a"):
        world.annotate(**{RUN_NOW: value})
        world.look()
        world.look()
        world.finish_runs()
        world.look()
        world.now += MINUTE
    assert told(world) == [(at("02T03:00"), "RunNow", "Succeeded", None)] * 3
    assert len(set(world.cluster.created_runs)) == 3
    for name, run in world.runs.items():
        assert name.startswith(f"{PREFIX}n")
        assert run["spec"]["vars"] == {"at": at("02T03:00")}
    assert world.status["lastRunNow"] == "a"
    assert "lastScheduledTime" not in world.status, "it is none of the clock's"


def test_a_value_that_is_there_at_first_is_written_down_and_not_carried_out() -> None:
    made = schedule()
    made["metadata"]["annotations"] = {RUN_NOW: "a", RETRY: "some-run"}
    world = ScheduleWorld(START, made)
    world.look()
    assert world.runs == {}
    assert (world.status["lastRunNow"], world.status["lastRetry"]) == ("a", "some-run")
    assert world.cluster.events == []
    world.lose_status()
    world.look()
    assert world.runs == {}
    world.annotate(**{RUN_NOW: "b"})
    world.look()
    assert len(world.runs) == 1


@pytest.mark.parametrize("stop", ["suspend", "pause"])
def test_it_begins_while_nothing_is_due(world: ScheduleWorld, stop: str) -> None:
    if stop == "suspend":
        world.edit(suspend=True)
    else:
        world.annotate(**{PAUSED_UNTIL: "forever"})
    world.look()
    world.annotate(**{RUN_NOW: "a"})
    world.look()
    assert len(world.runs) == 1
    world.finish_runs()
    world.look()
    assert world.condition("LastRunSucceeded")["status"] == "True"


@pytest.mark.parametrize("policy", ["Forbid", "Queue", "Replace"])
def test_the_policy_holds_for_it(policy: str) -> None:
    world = ScheduleWorld(START, concurrencyPolicy=policy)
    world.look()
    world.now += DAY
    world.look()
    (first,) = world.runs
    world.annotate(**{RUN_NOW: "a"})
    world.look()
    assert list(world.runs) == [first]
    if policy == "Forbid":
        assert told(world) == [(at("03T03:00"), "RunNow", "Skipped", "StillRunning")]
        return
    assert world.status["waiting"]["cause"] == "RunNow"
    assert world.status["active"][0].get("replaced", False) == (policy == "Replace")
    world.edit(schedules=["0 4 * * *"], suspend=True)  # no edit takes back what was asked for
    world.look()
    world.finish_runs()
    world.look()
    (_, second) = world.runs
    assert world.status["active"][0]["name"] == second
    assert "waiting" not in world.status


def test_an_occurrence_of_the_clock_waits_for_it_like_for_any_other(world: ScheduleWorld) -> None:
    world.edit(concurrencyPolicy="Queue")
    world.annotate(**{RUN_NOW: "a"})
    world.look()
    world.now += DAY
    world.look()
    assert world.status["waiting"]["occurrence"] == at("03T03:00")
    world.finish_runs()
    world.look()
    assert world.status["active"][0]["name"] == f"{PREFIX}202601030300"


def test_it_is_not_made_up_for_and_neither_is_what_comes_meanwhile(world: ScheduleWorld) -> None:
    world.edit(catchUp="All")
    world.now += 12 * HOUR
    world.annotate(**{RUN_NOW: "a"})
    world.look()
    world.now = START + DAY
    world.look()
    assert told(world) == [(at("03T03:00"), None, "Skipped", "StillRunning")]
    assert "backlog" not in world.status


def test_its_deadline_counts_from_when_it_was_asked_for(world: ScheduleWorld) -> None:
    world.edit(startingDeadline="1h")
    world.now += 12 * HOUR
    world.annotate(**{RUN_NOW: "a"})
    world.look()
    assert len(world.runs) == 1


def test_a_value_of_any_length_is_known_again(world: ScheduleWorld) -> None:
    for _ in range(2):
        world.annotate(**{RUN_NOW: "x" * 100_000})
        world.look()
        world.finish_runs()
        world.look()
    assert len(world.cluster.created_runs) == 1


def test_it_waits_until_a_wrong_spec_is_mended(world: ScheduleWorld) -> None:
    world.edit(timezone="Europe/Atlantis")
    world.annotate(**{RUN_NOW: "a"})
    world.look()
    assert world.runs == {}
    world.edit(timezone="UTC")
    world.look()
    assert len(world.runs) == 1


# Another run for an occurrence


def fail_one(world: ScheduleWorld) -> str:
    world.now += DAY
    world.look()
    world.finish_runs("Failed", reason="ModelError")
    world.look()
    return list(world.runs)[-1]


def test_an_occurrence_is_run_again(world: ScheduleWorld) -> None:
    failed = fail_one(world)
    world.now += HOUR
    names = [failed]
    for _ in range(2):
        world.annotate(**{RETRY: names[-1]})
        world.look()
        names.append(world.status["active"][0]["name"])
        assert world.runs[names[-1]]["spec"]["vars"] == {"at": at("03T03:00")}
        world.finish_runs("Failed", reason="ModelError")
        world.look()
    assert names[1:] == [f"{failed}-r1", f"{failed}-r2"]
    world.annotate(**{RETRY: failed})
    world.look()
    assert world.status["active"][0]["name"] == f"{failed}-r3"
    world.finish_runs()
    world.look()
    assert world.condition("LastRunSucceeded")["status"] == "True"
    assert world.status["lastSuccessOccurrence"] == at("03T03:00")
    assert {cause for _, cause, _, _ in told(world)} == {None, "Retry"}


def test_a_run_now_is_run_again(world: ScheduleWorld) -> None:
    world.annotate(**{RUN_NOW: "a"})
    world.look()
    (failed,) = world.runs
    world.finish_runs("Failed", reason="ModelError")
    world.look()
    world.annotate(**{RETRY: failed})
    world.look()
    assert world.status["active"][0]["name"] == f"{failed}-r1"


def test_what_is_no_run_of_the_history_is_refused_once(world: ScheduleWorld) -> None:
    world.annotate(**{RETRY: "somebody-elses"})
    world.look()
    world.look()
    (event,) = world.cluster.events
    assert (event.type, event.reason) == ("Warning", "RetryRefused")
    assert "metadata.annotations[dbt-operator.dev/retry]: no run somebody-elses" in event.message
    assert world.runs == {}


def test_names_of_retries_fit_into_labels() -> None:
    world = ScheduleWorld(START, schedule("s" * 40))
    world.look()
    names = [fail_one(world)]
    for _ in range(12):
        world.annotate(**{RETRY: names[-1]})
        world.look()
        names.append(world.status["active"][0]["name"])
        world.finish_runs("Failed", reason="ModelError")
        world.look()
    assert len(set(names)) == 13
    assert names[-1].endswith("-r12")
    assert max(map(len, names)) <= 63


# A backfill over occurrences

DAYS = "2025-12-01/2025-12-03"


def ask_for_backfill(world: ScheduleWorld, days: str = DAYS) -> Manifest:
    world.annotate(**{BACKFILL: days})
    world.look()
    (made,) = [run for run in world.runs.values() if run["kind"] == "DbtBackfill"]
    return made


def test_a_backfill_goes_over_its_occurrences() -> None:
    run = {
        "vars": {"at": "$(scheduled.time)", "day": "$(scheduled.date)"},
        "eventTime": {"start": "$(interval.start)", "end": "$(interval.end)"},
        "waitFor": [{"run": {"name": "load"}}],
    }
    world = ScheduleWorld(START, run=run, timezone="Europe/Amsterdam")
    world.look()
    made = ask_for_backfill(world)
    assert made["metadata"]["name"].startswith(f"{PREFIX}b")
    assert made["spec"]["windows"] == {
        "occurrences": {
            "schedules": ["0 3 * * *"],
            "timezone": "Europe/Amsterdam",
            "from": "2025-12-01",
            "to": "2025-12-03",
        }
    }
    assert made["spec"]["runTemplate"]["spec"] == TEMPLATE | {
        "vars": {"at": "$(window.end)", "day": "$(window.date)"},
        "eventTime": {"start": "$(window.start)", "end": "$(window.end)"},
    }
    world.finish_runs()
    world.look()
    (past,) = world.status["history"]
    assert (past["cause"], past["kind"], past["days"]) == ("Backfill", "DbtBackfill", DAYS)
    for kind in ("lastSuccessTime", "lastSuccessOccurrence"):
        assert kind not in world.status, "it is all of the past"
    assert "LastRunSucceeded" not in {each["type"] for each in world.status["conditions"]}
    world.annotate(**{RETRY: past["run"]})
    world.look()
    again = world.runs[f"{past['run']}-r1"]
    assert again["spec"] == made["spec"]


def test_the_windows_of_such_a_backfill_are_its_occurrences(world: ScheduleWorld) -> None:
    for each in (project(), target()):
        world.cluster.objects[each["kind"], each["metadata"]["name"]] = each
    world.edit_template(vars={"day": "$(scheduled.date)"})
    made = ask_for_backfill(world)
    world.hear()
    key = Key("DbtBackfill", "analytics", made["metadata"]["name"])
    for _ in range(3):
        world.reconciler.reconcile(key)
        world.hear()
    status = world.cluster.objects["DbtBackfill", key.name]["status"]
    windows = [each["window"] for each in status["ledger"]]
    assert windows == [f"2025-12-0{day}T0300Z" for day in (1, 2, 3)]


def test_the_policy_holds_for_a_backfill_and_its_kind_stays(world: ScheduleWorld) -> None:
    world.edit(concurrencyPolicy="Queue")
    world.now += DAY
    world.look()
    world.annotate(**{BACKFILL: DAYS})
    world.look()
    assert world.status["waiting"]["days"] == DAYS
    world.finish_runs()
    world.look()
    (active,) = world.status["active"]
    assert (active["kind"], active["days"]) == ("DbtBackfill", DAYS)
    world.look()
    assert len(world.cluster.created_runs) == 2


@pytest.mark.parametrize(
    ("days", "spec", "words"),
    [
        ("2025-12-01", {}, "'2025-12-01' is no range of days"),
        ("2025-12-03/2025-12-01", {}, "is no range of days"),
        ("20251201/20251203", {}, "is no range of days"),
        ("2025-02-30/2025-03-01", {}, "is no range of days"),
        (DAYS, {"schedules": None, "triggers": [{"afterSchedule": {"name": "a"}}]}, "without"),
        (
            DAYS,
            {
                "runTemplate": None,
                "backfillTemplate": {
                    "spec": {
                        "runTemplate": {"spec": TEMPLATE | {"vars": {"x": "$(window.key)"}}},
                        "windows": {"keys": ["a"]},
                    }
                },
            },
            "backfillTemplate has windows of its own",
        ),
    ],
)
def test_a_backfill_that_means_nothing_is_refused_once(
    days: str, spec: Manifest, words: str
) -> None:
    world = ScheduleWorld(START, **spec)
    world.look()
    world.annotate(**{BACKFILL: days})
    world.look()
    world.look()
    (event,) = world.cluster.events
    assert event.reason == "BackfillRefused"
    assert f"metadata.annotations[{BACKFILL}]: " in event.message
    assert words in event.message
    assert world.runs == {}


# A pause


def test_nothing_is_due_during_a_pause_and_nothing_is_made_up_for() -> None:
    world = ScheduleWorld(START, schedules=["0 * * * *"])
    world.look()
    world.annotate(**{PAUSED_UNTIL: "2026-01-02T08:30:00+02:00"})
    world.look()
    assert world.status["nextRunTimes"][0] == at("02T07:00")
    suspended = world.condition("Suspended")
    assert (suspended["status"], suspended["reason"]) == ("True", "Paused")
    assert "2026-01-02T08:30:00+02:00" in suspended["message"]
    assert world.condition("Ready")["status"] == "True"
    world.go_to(START.replace(hour=6, minute=20))
    assert world.created == []
    world.now = START.replace(hour=9)  # nobody was there when it ended
    world.look()
    assert world.created == [START.replace(hour=9, minute=0, second=0)]
    assert world.condition("Suspended")["status"] == "False"
    assert [phase for _, _, phase, _ in told(world)] == ["Missed"], "from the end of the pause on"
    assert world.status["history"][0]["occurrence"] == at("02T07:00")


def test_the_end_of_a_pause_is_noticed() -> None:
    world = ScheduleWorld(START)
    world.look()
    world.annotate(**{PAUSED_UNTIL: "2026-01-02T03:04:35Z"})
    assert world.look() == 30
    world.now += 30 * SECOND
    world.look()
    assert world.condition("Suspended")["status"] == "False"
    assert "pausedUntil" not in world.status


@pytest.mark.parametrize("value", [None, "2026-01-02T03:30:00Z"], ids=["removed", "shortened"])
def test_whoever_ends_a_pause_makes_nothing_up_for(value: str | None) -> None:
    world = ScheduleWorld(START, schedules=["0 * * * *"])
    world.look()
    world.annotate(**{PAUSED_UNTIL: "forever"})
    assert world.look() is None
    assert "nextRunTimes" not in world.status
    world.now = START.replace(hour=9)
    world.annotate(**{PAUSED_UNTIL: value})
    world.look()
    assert world.created == []
    world.go_to(START.replace(hour=10))
    assert world.created == [START.replace(hour=10, minute=0, second=0)]


def test_a_pause_that_no_operator_saw_counts_too(world: ScheduleWorld) -> None:
    world.annotate(**{PAUSED_UNTIL: "2026-01-03T05:00:00Z"})
    world.now = START + DAY + 3 * HOUR
    world.look()
    assert world.created == []
    assert told(world) == []


def test_it_holds_from_the_first_look_on() -> None:
    made = schedule()
    made["metadata"]["annotations"] = {PAUSED_UNTIL: "forever"}
    world = ScheduleWorld(START, made)
    world.look()
    world.now += 2 * DAY
    world.look()
    assert world.created == []


def test_what_waits_because_of_the_clock_begins_no_more() -> None:
    world = ScheduleWorld(START, schedules=["0 * * * *"], concurrencyPolicy="Queue")
    world.look()
    for _ in range(2):
        world.now += HOUR
        world.look()
    assert "waiting" in world.status
    world.annotate(**{PAUSED_UNTIL: "forever"})
    world.look()
    world.finish_runs()
    world.look()
    assert len(world.runs) == 1
    assert "waiting" not in world.status


@pytest.mark.parametrize("value", ["tomorrow", "2026-01-02T03:30:00", "2026-01-02"])
def test_a_pause_that_means_nothing_stops_it_and_is_named(world: ScheduleWorld, value: str) -> None:
    world.annotate(**{PAUSED_UNTIL: value})
    world.now += DAY
    world.look()
    assert world.runs == {}
    stalled = world.condition("Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "InvalidSpec")
    assert f"metadata.annotations[dbt-operator.dev/paused-until]: '{value}'" in stalled["message"]
    world.annotate(**{PAUSED_UNTIL: None})
    world.look()
    assert len(world.runs) == 1, "no pause was meant, as far as anybody knows"


# The metadata of the template


def template_with(**metadata: dict[str, str]) -> Manifest:
    return {"metadata": metadata, "spec": TEMPLATE}


def test_runs_get_labels_and_annotations() -> None:
    labels = {
        "team": "finance",
        "app.kubernetes.io/instance": "prod",
        "app.kubernetes.io/managed-by": "Helm",
    }
    annotations = {"example.com/owner": "x y", "argocd.argoproj.io/tracking-id": "a:b/c"}
    template = template_with(labels=labels, annotations=annotations)
    world = ScheduleWorld(START, runTemplate=template)
    world.look()
    world.now += DAY
    world.look()
    (run,) = world.runs.values()
    assert run["metadata"]["labels"] == {
        "team": "finance",
        "app.kubernetes.io/managed-by": "dbt-operator",
        "dbt-operator.dev/schedule": "nightly",
    }
    assert run["metadata"]["annotations"] == {"example.com/owner": "x y"}
    told = world.condition("MetadataApplied")
    assert (told["status"], told["reason"]) == ("False", "TrackingLeftOut")
    for name in (
        "labels[app.kubernetes.io/instance]",
        "labels[app.kubernetes.io/managed-by]",
        "annotations[argocd.argoproj.io/tracking-id]",
    ):
        assert name in told["message"]
    assert world.condition("Ready")["status"] == "True"
    world.edit(runTemplate=template_with(labels={"team": "finance"}))
    world.look()
    assert "MetadataApplied" not in {each["type"] for each in world.status["conditions"]}


# Kills


def tell_story(world: ScheduleWorld) -> None:
    """A run now, another run for its occurrence, and a run of the clock."""
    world.look()
    world.annotate(**{RUN_NOW: "a"})
    world.look()
    world.finish_runs("Failed", reason="ModelError")
    world.look()
    world.annotate(**{RETRY: world.status["history"][0]["run"]})
    world.look()
    world.finish_runs()
    world.look()
    world.annotate(**{PAUSED_UNTIL: "2026-01-02T05:00:00Z", BACKFILL: DAYS})
    world.look()
    world.finish_runs()
    world.look()
    world.now = START + DAY
    world.look()
    world.finish_runs()
    world.look()


def count_writes() -> int:
    world = ScheduleWorld(START)
    tell_story(world)
    return world.cluster.writes


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", range(1, count_writes() + 1))
def test_an_operator_that_is_killed_at_a_write_loses_and_doubles_nothing(
    number: int, *, after: bool
) -> None:
    world = ScheduleWorld(START)
    world.cluster.kill_at(number, after=after)
    tell_story(world)
    assert told(world) == [
        (at("02T03:00"), "RunNow", "Failed", "ModelError"),
        (at("02T03:00"), "Retry", "Succeeded", None),
        (format_time(START), "Backfill", "Succeeded", None),
        (at("03T03:00"), None, "Succeeded", None),
    ]
    assert len(world.cluster.created_runs) == len(set(world.cluster.created_runs)) == 4
    assert "active" not in world.status
