"""A schedule each of whose occurrences is a backfill."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dbt_operator.common.keys import Key
from tests.support.builders import manifest, project, target
from tests.support.fake_cluster import KilledError, Manifest
from tests.support.schedule_world import TEMPLATE, ScheduleWorld

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
START = datetime(2026, 1, 2, 4, 0, 5, tzinfo=UTC)
RUN: Manifest = TEMPLATE | {
    "vars": {
        "day": "$(window.start)",
        "at": "$(scheduled.time)",
        "since": "$(interval.start)",
    }
}


def template(run: Manifest | None = None, **spec: Any) -> Manifest:
    windows = {"dates": {"last": "7d", "every": "1d"}}
    return {"spec": {"runTemplate": {"spec": run or RUN}, "windows": windows} | spec}


def make_world(start: datetime = START, **spec: Any) -> ScheduleWorld:
    base = {"runTemplate": None, "backfillTemplate": template()}
    world = ScheduleWorld(start, **(base | spec))
    world.look()
    return world


def only(world: ScheduleWorld) -> Manifest:
    (found,) = world.runs.values()
    return found


def test_each_occurrence_has_a_backfill() -> None:
    world = make_world()
    world.now += DAY
    world.look()
    made = only(world)
    assert made["kind"] == "DbtBackfill"
    assert made["metadata"]["name"] == "nightly-uid-of-a-202601030300"
    assert made["metadata"]["labels"]["dbt-operator.dev/schedule"] == "nightly"
    assert made["spec"]["windows"]["dates"] == {
        "last": "7d",
        "every": "1d",
        "asOf": "2026-01-03T03:00:00Z",
    }
    assert made["spec"]["runTemplate"]["spec"]["vars"] == {
        "day": "$(window.start)",
        "at": "2026-01-03T03:00:00Z",
        "since": "2026-01-02T03:00:00Z",
    }
    (active,) = world.status["active"]
    assert (active["kind"], active["uid"]) == ("DbtBackfill", made["metadata"]["uid"])
    world.finish_runs("Failed", reason="ModelError", message="a window failed")
    world.look()
    (past,) = world.status["history"]
    assert (past["kind"], past["phase"], past["reason"]) == ("DbtBackfill", "Failed", "ModelError")
    told = world.condition("LastRunSucceeded")
    assert told["status"] == "False"
    assert told["message"] == f"DbtBackfill {past['run']}: a window failed"


def test_its_name_has_at_most_forty_characters() -> None:
    long = manifest(
        "DbtSchedule",
        "s" * 40,
        {"schedules": ["0 3 * * *"], "backfillTemplate": template()},
        uid="uid-of-a-schedule",
    )
    world = ScheduleWorld(START, long)
    world.look()
    names = []
    for number in range(3):
        world.annotate(**{"dbt-operator.dev/run-now": str(number)})
        world.now += DAY
        world.look()
        names += [each["name"] for each in world.status["active"]]
        world.finish_runs()
        world.look()
    world.annotate(**{"dbt-operator.dev/retry": names[0]})
    world.look()
    names += [each["name"] for each in world.status["active"]]
    assert max(map(len, names)) == 40
    assert len(set(names)) == len(names) == 4


def test_schedules_with_the_same_beginning_have_backfills_of_different_names() -> None:
    names = set()
    for number in range(2):
        spec = {"schedules": ["0 3 * * *"], "backfillTemplate": template()}
        name = f"{'s' * 39}{number}"
        world = ScheduleWorld(START, manifest("DbtSchedule", name, spec, uid=f"{number}-of-two"))
        world.look()
        world.now += DAY
        world.look()
        names |= {*world.runs}
    assert len(names) == 2
    assert {name[:18] for name in names} == {"s" * 18}


def test_old_ones_are_deleted() -> None:
    world = make_world(history={"succeeded": 2})
    for _ in range(4):
        world.now += DAY
        world.look()
        world.finish_runs()
        world.look()
    world.look()
    assert len(world.runs) == 2
    world.restart()
    world.now += DAY
    world.look()
    world.finish_runs()
    world.look()
    world.look()
    assert len(world.runs) == 2


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (
            template(TEMPLATE | {"vars": {"at": "$(scheduled.time)"}}),
            (
                "spec.backfillTemplate.spec.runTemplate.spec: every window would do the same: use"
                " $(window.key), $(window.start), $(window.end)"
            ),
        ),
        (
            template(RUN | {"vars": {"x": "$(window.start) $(scheduled.tomorrow)"}}),
            "spec.backfillTemplate.spec.runTemplate.spec.vars.x: $(scheduled.tomorrow) means",
        ),
        (
            template(RUN, windows={"keys": ["a", "b"]}),
            "$(window.start) means nothing",
        ),
        (
            template(RUN | {"env": [{"name": "LD_AUDIT", "value": "/project/audit.so"}]}),
            "spec.backfillTemplate.spec.runTemplate.spec.env[0] (LD_AUDIT) is read by the dynamic",
        ),
    ],
)
def test_what_is_wrong_is_named(spec: Manifest, words: str) -> None:
    world = make_world(backfillTemplate=spec)
    assert words in world.condition("Stalled")["message"]


# Recording


def make_ready_world() -> ScheduleWorld:
    """With what a backfill refers to."""
    world = make_world()
    for made in (project(), target()):
        world.cluster.objects[made["kind"], made["metadata"]["name"]] = made
    return world


def reconcile(world: ScheduleWorld, name: str) -> Manifest:
    world.hear()
    world.reconciler.reconcile(Key("DbtBackfill", "analytics", name))
    found: Manifest = world.cluster.objects["DbtBackfill", name]["status"]
    return found


def test_one_that_the_schedule_has_not_written_down_begins_nothing() -> None:
    world = make_ready_world()
    world.now += DAY
    world.look()
    real = only(world)
    forged = {key: real[key] for key in ("apiVersion", "kind", "spec")}
    forged["metadata"] = real["metadata"] | {"name": "forged"}
    world.cluster.create_run(forged)
    status = reconcile(world, "forged")
    assert status["phase"] == "Pending"
    admitted = next(each for each in status["conditions"] if each["type"] == "Admitted")
    assert admitted["reason"] == "NotRecorded"
    assert "definition" not in status
    assert "definition" in reconcile(world, real["metadata"]["name"])
    world.look()
    assert "forged" not in world.runs, "the schedule deletes it"


def test_one_that_is_replaced_ends_and_says_why() -> None:
    world = make_ready_world()
    world.edit(concurrencyPolicy="Replace")
    world.now += DAY
    world.look()
    name = only(world)["metadata"]["name"]
    reconcile(world, name)
    world.now += DAY
    world.look()
    for _ in range(3):
        status = reconcile(world, name)
    assert (status["phase"], status["reason"]) == ("Cancelled", "Replaced")
    world.look()
    assert [each["reason"] for each in world.status["history"]] == ["Replaced"]
    assert world.status["active"][0]["occurrence"] == "2026-01-04T03:00:00Z"


# Another kind


@pytest.mark.parametrize("to_backfill", [True, False], ids=["to-backfill", "to-run"])
@pytest.mark.parametrize("kill", range(4))
def test_an_edit_of_the_kind_as_it_is_due_loses_nothing(kill: int, *, to_backfill: bool) -> None:
    kinds: list[Manifest] = [
        {"runTemplate": {"spec": TEMPLATE}, "backfillTemplate": None},
        {"runTemplate": None, "backfillTemplate": template()},
    ]
    before, after = kinds if to_backfill else reversed(kinds)
    world = make_world(**before)
    writes = world.cluster.writes

    def stop(count: int) -> None:
        if count == writes + kill:
            world.edit(**after)
            raise KilledError

    world.cluster.after_write = stop
    world.now += DAY
    world.look()
    if kill == 0:
        world.edit(**after)
    world.look()
    expected = "DbtBackfill" if to_backfill else "DbtRun"
    made = only(world)
    (active,) = world.status["active"]
    assert active["uid"] == made["metadata"]["uid"]
    if 0 < kill < 3:
        assert made["kind"] == expected, "what had not begun is of the new kind"
    world.finish_runs()
    world.look()
    world.now += DAY
    world.look()
    latest = world.status["active"][0]
    assert latest.get("kind", "DbtRun") == expected
    assert len(world.status["history"]) == 1
