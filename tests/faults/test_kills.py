"""kill -9 at every write of the operator, one after another: each run ends as it should, with one
Job an attempt.

A path is gone again and again; the first time the operator is killed at its first write, then at
its second, until it gets through with fewer. The one that is started anew ends what the killed one
has begun, and is killed in its turn.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from tests.support.fake_nodes import End
from tests.support.kills import kill_at
from tests.support.kube import apply, wait_for
from tests.support.nursery import Nursery, nursery
from tests.support.stage import Stage, stage

RETRIED = {"retry": {"maxAttempts": 2, "backoff": {"initial": "1s"}}}
UNAVAILABLE = End(reason="Unavailable", message="the warehouse could not be reached")
LANES = {"queue": 2}  # how many share the kills of a path
MOST = 40  # writes that a path may take
FULL = bool(os.environ.get("DBT_OPERATOR_TEST_FULL"))


@dataclass(frozen=True)
class Path:
    """What is started, what happens meanwhile, and how it has to end."""

    phases: dict[str, str]  # by suffix of the run's name
    attempts: dict[str, int]
    ends: dict[str, list[End]] = field(default_factory=dict)
    spec: dict[str, dict[str, Any]] = field(default_factory=dict)
    cancelled: str | None = None


PATHS = {
    "happy": Path({"a": "Succeeded"}, {"a": 1}),
    "retry": Path({"a": "Succeeded"}, {"a": 2}, ends={"a": [UNAVAILABLE]}, spec={"a": RETRIED}),
    "cancel": Path({"a": "Cancelled"}, {"a": 1}, ends={"a": [End(never=True)]}, cancelled="a"),
    "queue": Path(
        {"a": "Succeeded", "b": "Succeeded", "c": "Succeeded"},
        {"a": 1, "b": 1, "c": 1},
        ends={"a": [End(after=1)]},
        spec={"c": {"priority": 1}},
    ),
}


def one_round(scene: Stage, path: Path, number: int, *, after: bool) -> bool:
    """Go the path with an operator that is killed at a write; whether it got so far."""
    prefix = f"r{number}{'x' if after else 'v'}"
    names = {suffix: f"{prefix}-{suffix}" for suffix in path.phases}
    scene.ends |= {names[suffix]: list(ends) for suffix, ends in path.ends.items()}
    with scene.proxy.rule(kill_at(scene, number, after=after)) as rule:
        apply(scene.target(prefix))
        for suffix, name in names.items():
            apply(scene.run(name, prefix, **path.spec.get(suffix, {})))
        if path.cancelled:
            cancelled = names[path.cancelled]
            wait_for(f"{cancelled} is at work", lambda: rule.taken or cancelled in scene.at_work())
            scene.cancel(cancelled)
        wait_for(f"{prefix}: a kill or the end", lambda: rule.taken or _ended(scene, names))
        killed = bool(rule.taken)
    if killed:
        wait_for("the operator is dead", lambda: scene.operator_is_dead)
        scene.start_operator()
    _check(scene, path, prefix, names)
    return killed


def _ended(scene: Stage, names: dict[str, str]) -> bool:
    return len(scene.ended(*names.values())) == len(names)


def _check(scene: Stage, path: Path, target: str, names: dict[str, str]) -> None:
    scene.all_ended(*names.values())
    assert {suffix: scene.seen(name)["phase"] for suffix, name in names.items()} == path.phases
    for suffix, name in names.items():
        # It may be cancelled before it has a Job.
        least = 0 if suffix == path.cancelled else path.attempts[suffix]
        assert least <= len(scene.jobs_of(name)) <= path.attempts[suffix], (
            name,
            scene.jobs_of(name),
        )
    wait_for("the slot is free", lambda: not scene.status(target, "dbttarget").get("holders"))
    assert scene.overlaps(*names.values()) == []


@contextmanager
def _scene(name: str, parent: Nursery) -> Iterator[Stage]:
    with stage(f"kills-{name}-{uuid.uuid4().hex[:6]}", parent.operator) as found:
        apply(found.project())
        found.start_operator()
        yield found


def go(name: str, parent: Nursery, lane: int, *, after: bool) -> tuple[int, list[tuple[str, int]]]:
    """Kill at every write of a path, or at every second one; at how many, and how many held each
    target at each version.
    """
    numbers = range(1 + lane, MOST, LANES.get(name, 1))
    with _scene(name, parent) as scene:
        for done, number in enumerate(numbers):
            if not one_round(scene, PATHS[name], number, after=after):
                return done, scene.holders
    raise AssertionError(f"{name} takes more than {MOST} writes")


CASES = [(name, after) for name in PATHS for after in ([True, False] if FULL else [True])]


Rounds = Callable[[str, bool], tuple[int, list[tuple[str, int]]]]


@pytest.fixture(scope="module")
def rounds(cluster: None) -> Iterator[Rounds]:  # noqa: ARG001 -- it has to be there first
    """All paths are gone side by side, each in a namespace of its own; the longest one is shared by
    two.
    """
    with nursery() as parent, ThreadPoolExecutor(len(PATHS) + 1) as pool:
        futures: dict[tuple[str, bool], list[Future[tuple[int, list[tuple[str, int]]]]]] = {
            (name, after): [
                pool.submit(partial(go, name, parent, n, after=after))
                for n in range(LANES.get(name, 1))
            ]
            for name, after in CASES
        }

        def found(name: str, after: bool) -> tuple[int, list[tuple[str, int]]]:
            lanes = [future.result() for future in futures[name, after]]
            return sum(writes for writes, _ in lanes), [
                seen for _, holders in lanes for seen in holders
            ]

        yield found


@pytest.mark.parametrize(
    ("name", "after"), CASES, ids=[f"{name}-{'after' if a else 'before'}" for name, a in CASES]
)
def test_killed_at_every_write_it_goes_on_and_does_nothing_twice(
    rounds: Rounds, name: str, after: bool
) -> None:
    writes, holders = rounds(name, after)
    assert writes >= 8
    assert max(count for _, count in holders) == 1


def test_no_run_takes_more_than_twelve_writes(rounds: Rounds) -> None:
    writes, _ = rounds("queue", True)
    assert writes / 3 <= 12
