"""Runs that fail and are tried again."""

from __future__ import annotations

from dbt_operator.api.parts.retry import Retry
from dbt_operator.planning.run import retry
from dbt_protocol.summaries import Nodes
from tests.support.builders import (
    ended_status,
    later,
    running_status,
    summary,
)
from tests.support.run_world import World

THREE = {"maxAttempts": 3, "backoff": {"initial": "10s", "factor": 3, "max": "1m"}}


UNAVAILABLE = summary("Unavailable", "the warehouse is away", nodes=Nodes(total=1, error=1))


def failing(world: World, text: str = UNAVAILABLE) -> None:
    world.settle()
    world.pod(running_status())
    world.settle()
    world.now = max(world.now, later(65))  # when the pod's status says that it has ended
    world.pod(ended_status(1, text))
    world.settle()


def wait(world: World) -> None:
    """Until the next attempt is due, whatever the wait is."""
    world.now += retry.wait(retry.resolve(Retry.model_validate(THREE)), 9)
    world.settle()
