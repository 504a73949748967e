"""Operators that are killed at a write."""

from __future__ import annotations

from tests.support.fault_proxy import Request, Rule
from tests.support.stage import Stage


def kill_at(scene: Stage, number: int, *, after: bool) -> Rule:
    """A rule that kills the operator at its write of a number from now on."""
    count = 0

    def picks(request: Request) -> bool:
        nonlocal count
        count += request.writes
        return request.writes and count == number

    def kill(_: Request) -> None:
        scene.kill_operator()

    return (
        Rule(picks, times=1, after=kill) if after else Rule(picks, times=1, before=kill, reset=True)
    )
