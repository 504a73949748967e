"""What a run reads in the status of the schedule that it says it is of."""

from __future__ import annotations

from typing import Any

from tests.support.builders import project, run, stamp, target
from tests.support.run_world import RUN, World
from tests.support.schedule_world import schedule

OWNER = "uid-of-a-schedule"


def make_world() -> World:
    """A run whose owner reference says that it is a schedule's, whatever that one knows."""
    manifest = run()
    reference = {"kind": "DbtSchedule", "name": "nightly", "uid": OWNER, "controller": True}
    manifest["metadata"]["ownerReferences"] = [reference]
    return World(manifest, schedule(), project(), target())


def write_down(world: World, **entry: Any) -> None:
    """The schedule's status knows the run."""
    found = world.cluster.objects["DbtSchedule", "nightly"]
    uid = world.cluster.objects["DbtRun", RUN.name]["metadata"]["uid"]
    known = {"occurrence": stamp(), "name": RUN.name, "uid": uid, "decidedAt": stamp(), **entry}
    found["status"]["active"] = [known]
    found["metadata"]["resourceVersion"] = str(int(found["metadata"]["resourceVersion"]) + 1)
    world.store.put("DbtSchedule", found)


def test_it_begins_nothing_until_it_is_known() -> None:
    world = make_world()
    world.settle()
    assert world.cluster.created_jobs == []
    assert "status.active of DbtSchedule nightly" in world.status["message"]
    write_down(world)
    world.settle()
    assert len(world.cluster.created_jobs) == 1


def test_one_of_a_schedule_that_was_created_anew_is_unknown_to_it() -> None:
    world = make_world()
    write_down(world)
    world.cluster.objects["DbtSchedule", "nightly"]["metadata"]["uid"] = "uid-of-another"
    world.restart()
    world.settle()
    assert world.cluster.created_jobs == []
    assert "DbtSchedule nightly does not exist" in world.status["message"]


def test_one_that_is_at_work_ends_when_it_is_replaced() -> None:
    world = make_world()
    write_down(world)
    world.settle()
    write_down(world, replaced=True)
    world.settle()
    assert world.status["reason"] == "Replaced"
    world.settle()
    assert world.cluster.deleted_jobs == world.cluster.created_jobs
    world.restart()  # no watch tells that the Job is gone
    world.settle()
    assert (world.status["phase"], world.status["reason"]) == ("Cancelled", "Replaced")
