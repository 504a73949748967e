"""Two operators at once, without an election: what is written has to be safe by itself, whoever
writes it and when.
"""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Callable
from itertools import cycle

import pytest

from tests.support.fake_nodes import End
from tests.support.fault_proxy import Request, Rule
from tests.support.kube import apply, items, wait_for
from tests.support.operators import OperatorProcess
from tests.support.stage import RUN, Stage

PROJECTS = ("shop", "billing", "stock")
FULL = bool(os.environ.get("DBT_OPERATOR_TEST_FULL"))
RUNS = 200 if FULL else 30
WRITTEN = ("dbttargets", "jobs", "dbtruns", "pods")


class Crowd:
    """Many runs of three projects on one target, and the two operators that see to them."""

    def __init__(self, scene: Stage, *, limit: int = 1) -> None:
        self.scene = scene
        apply(
            scene.target("prod", maxConcurrentRuns=limit),
            *(scene.project(name) for name in PROJECTS),
        )
        self.first, self.second = scene.start_operator(), scene.another_operator()
        runs = [scene.run(f"run{number}", "prod", PROJECTS[number % 3]) for number in range(RUNS)]
        self.names = [run["metadata"]["name"] for run in runs]
        scene.ends |= {name: [End(after=0.2)] for name in self.names}
        apply(*runs)

    @property
    def ended(self) -> int:
        return len(self.scene.ended(*self.names))

    @property
    def over(self) -> bool:
        return self.ended == RUNS

    def get_on(self, runs: int) -> None:
        """Wait until some more runs have ended."""
        before = self.ended
        wait_for(f"{runs} more runs end", lambda: self.ended >= min(before + runs, RUNS))

    def wait_for_moment(self, what: str, rule: Rule) -> None:
        """Wait until a rule was applied, or nothing is left that it could be applied to."""
        wait_for(f"a moment {what}", lambda: bool(rule.taken) or self.over)

    def check(self, *, limit: int = 1) -> None:
        """Every run has succeeded with one Job, and never more held the target or were at work than
        may be.
        """
        scene = self.scene
        assert scene.all_ended(*self.names) == dict.fromkeys(self.names, "Succeeded")
        assert len(scene.jobs_of(*self.names)) == RUNS
        assert scene.most_at_work(*self.names) <= limit
        assert max(count for _, count in scene.holders) == limit
        assert [self.first.poll(), self.second.poll()] == [None, None]


@pytest.fixture
def chance() -> random.Random:
    return random.Random(17)  # noqa: S311 -- moments, not secrets


def test_two_operators_at_once_never_have_two_pods_at_work(
    empty: Stage, chance: random.Random
) -> None:
    """The first one is stopped at random moments, and goes on when the second one has worked on."""
    crowd = Crowd(empty)
    stopped = 0
    while not crowd.over:
        with empty.proxy.rule(
            _nth_write(chance.randint(1, 4), before=lambda _: _stop(crowd.first))
        ) as rule:
            crowd.wait_for_moment("to stop", rule)
        try:
            crowd.get_on(chance.randint(1, 2))
        finally:
            crowd.first.send_signal(signal.SIGCONT)
        stopped += len(rule.taken)
    crowd.check()
    assert stopped >= 3


def test_two_operators_at_once_and_requests_that_arrive_late(
    empty: Stage, chance: random.Random
) -> None:
    """Each time a write of the first operator is held back until the second one has done two more
    runs.
    """
    crowd = Crowd(empty, limit=2)
    late: list[Request] = []
    for kind in cycle(WRITTEN):
        if crowd.over:
            break
        with empty.proxy.rule(
            _nth_write(chance.randint(1, 2), kind=kind, held=threading.Event())
        ) as rule:
            crowd.wait_for_moment("to hold a write back", rule)
            crowd.get_on(2)
        late += rule.taken
    crowd.check(limit=2)
    assert len({request.kind for request in late}) >= 3


def _nth_write(
    number: int,
    *,
    kind: str = "",
    before: Callable[[Request], None] | None = None,
    held: threading.Event | None = None,
) -> Rule:
    count = 0

    def picks(request: Request) -> bool:
        nonlocal count
        meant = request.writes and kind in (request.kind, "")
        count += meant
        return meant and count == number

    return Rule(picks, times=1, before=before, held=held)


def _stop(process: OperatorProcess) -> None:
    """It has sent a request, and will not hear the answer before it goes on."""
    process.send_signal(signal.SIGSTOP)


def test_a_job_that_a_paused_operator_creates_late_never_runs(empty: Stage) -> None:
    """Meanwhile its run was cancelled, and the next one is at work."""
    scene = empty
    scene.ends["next"] = [End(never=True)]
    apply(scene.target("prod"), scene.project())
    scene.start_operator()
    creates = Rule(
        lambda r: r.method == "POST" and r.kind == "jobs" and r.name.startswith("late-"),
        held=threading.Event(),
    )
    with scene.proxy.rule(creates):
        apply(scene.run("late", "prod"))
        wait_for("a Job is about to be created", lambda: creates.taken)
        scene.cancel("late")
        apply(scene.run("next", "prod"))
        scene.another_operator()
        assert scene.all_ended("late") == {"late": "Cancelled/Cancelled"}
        wait_for("the next one is at work", lambda: scene.at_work() == ["next"])
    wait_for("the Job is there after all", lambda: scene.jobs_of("late"))
    wait_for("it is deleted", lambda: not items("jobs", scene.namespace, f"--selector={RUN}=late"))
    assert scene.holders_of("prod") == ["next"]
    scene.cancel("next")
    assert scene.all_ended("next") == {"next": "Cancelled/Cancelled"}
    assert scene.was_at_work("late") == 0
