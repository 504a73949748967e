"""What has ended changes no more, but says that an edit has been seen."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.backfill_world import BackfillWorld
from tests.support.run_world import World, happy_path


def observe(manifest: dict[str, Any]) -> dict[str, Any]:
    """A status without what an edit changes."""
    return {name: text for name, text in manifest["status"].items() if name != "observedGeneration"}


@pytest.mark.parametrize("restarts", [False, True])
def test_an_edit_of_a_run_that_has_ended_is_seen(restarts: bool) -> None:
    world = World()
    happy_path(world)
    run = world.cluster.objects["DbtRun", "nightly"]
    before = observe(run)
    run["spec"]["cancel"] = True
    run["metadata"] |= {"generation": 2, "resourceVersion": "5000"}
    if restarts:
        world.restart()
    else:
        world.store.put("DbtRun", run)
    world.settle()
    assert run["status"]["observedGeneration"] == 2
    assert observe(run) == before
    writes = world.cluster.writes
    world.settle()
    assert world.cluster.writes == writes


def test_an_edit_of_a_backfill_that_has_ended_is_seen() -> None:
    world = BackfillWorld()
    try:
        world.tell()
        backfill = world.server.objects["DbtBackfill", "past"]
        before = observe(backfill)
        world.edit(maxConcurrentWindows=2, suspend=True)
        world.happen(2)
        assert backfill["status"]["observedGeneration"] == 2
        assert observe(backfill) == before
    finally:
        world.stop()
