"""Jobs that have failed and are kept with their runs: settling slots must not list them all."""

from __future__ import annotations

from typing import Any

import pytest

from dbt_operator.cluster.errors import InvalidError
from dbt_operator.planning.common.names import ENDED_LABEL
from tests.support.builders import ended_status, failed_summary
from tests.support.run_world import World


def failed() -> World:
    """A run has failed, and is kept; the Job controller has not heard of it yet."""
    world = World()
    world.settle()
    world.pod(ended_status(1, failed_summary()))
    world.settle()
    assert world.status["phase"] == "Failed"
    return world


def job_of(world: World) -> dict[str, Any]:
    found: dict[str, Any] = world.cluster.objects["Job", world.cluster.created_jobs[-1]]
    return found


def end_job(world: World, condition: str = "Failed") -> None:
    job = job_of(world)
    job["status"] = {"conditions": [{"type": condition, "status": "True"}]}
    job["metadata"]["resourceVersion"] = world.cluster._next_version()
    world.store.put("Job", job)


def test_a_job_is_marked_once_it_has_failed_and_is_listed_no_more() -> None:
    world = failed()
    assert ENDED_LABEL not in job_of(world)["metadata"]["labels"], "it might get a pod yet"
    assert world.cluster.unfinished_jobs_of_target("analytics", "prod")
    end_job(world)
    world.settle()
    assert job_of(world)["metadata"]["labels"][ENDED_LABEL] == "true"
    assert not world.cluster.unfinished_jobs_of_target("analytics", "prod")
    assert not world.store.all("Job")
    writes = world.cluster.writes
    world.restart()
    world.settle()
    assert world.cluster.writes == writes


def test_one_that_failed_while_the_operator_was_away_is_marked_as_well() -> None:
    world = failed()
    end_job(world)
    world.restart()
    world.settle()
    assert ENDED_LABEL in job_of(world)["metadata"]["labels"]


def test_one_that_has_succeeded_is_not_listed_anyway() -> None:
    world = failed()
    end_job(world, "Complete")
    world.settle()
    assert ENDED_LABEL not in job_of(world)["metadata"]["labels"]
    assert not world.store.all("Job")


def test_where_it_is_refused_nothing_else_is_held_up(monkeypatch: pytest.MonkeyPatch) -> None:
    world = failed()
    asked = []

    def refuse(*arguments: str) -> None:
        asked.append(arguments)
        raise InvalidError("403 Forbidden: jobs is forbidden")

    monkeypatch.setattr(world.cluster, "mark_job_ended", refuse)
    end_job(world)
    world.settle()
    world.settle()
    assert len(asked) == 1
    assert not world.store.all("Job")
