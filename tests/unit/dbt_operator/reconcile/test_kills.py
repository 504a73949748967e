"""Killed before and after every write of every path, an operator that is started anew ends what it
finds, once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from tests.support.builders import ended_status, summary
from tests.support.simulation import EVERYTHING, WRITES, Operator, World, lives

UNAVAILABLE = summary("Unavailable", "the warehouse could not be reached")
RETRIED = {"retry": {"maxAttempts": 2, "backoff": {"initial": "1s"}}}


@dataclass
class Path:
    """What happens to the runs of a world from outside, and how each must end."""

    runs: int
    phases: dict[str, str]
    jobs: int
    spec: dict[str, Any] = field(default_factory=dict)
    first_fails: bool = False
    cancelled: str = ""
    deleted: str = ""
    recreated: bool = False
    urgent: bool = False  # a run of higher priority comes when the first one backs off


PATHS = {
    "happy": Path(1, {"run-0": "Succeeded"}, 1),
    "retry": Path(1, {"run-0": "Succeeded"}, 2, RETRIED, first_fails=True),
    "cancel": Path(1, {"run-0": "Cancelled"}, 1, cancelled="run-0"),
    "queue": Path(3, {f"run-{n}": "Succeeded" for n in range(3)}, 3),
    "cancel-queued": Path(2, {"run-0": "Succeeded", "run-1": "Cancelled"}, 1, cancelled="run-1"),
    "yield": Path(
        1, {"run-0": "Succeeded", "run-1": "Succeeded"}, 3, RETRIED, first_fails=True, urgent=True
    ),
    "delete": Path(2, {"run-1": "Succeeded"}, 2, deleted="run-0"),
    "target-created-anew": Path(2, {"run-0": "Succeeded", "run-1": "Succeeded"}, 2, recreated=True),
}


class Story:
    """A path, told with an operator that is killed at one of its writes."""

    def __init__(self, path: Path, kill_at: int = 0, *, after: bool = False) -> None:
        self.path = path
        self.world = World(runs=path.runs, operators=1, **path.spec)
        self.writes = 0
        self._kill_at, self._after = kill_at, after

    def tell(self) -> None:
        """From the beginning to the end of every run."""
        self._happen(3)
        if self.path.cancelled:
            manifest = self.world.server.objects["DbtRun", self.path.cancelled]
            manifest["spec"]["cancel"] = True
            self.world.server.touch(manifest)
        if self.path.deleted:
            del self.world.server.objects["DbtRun", self.path.deleted]
        if self.path.recreated:
            self.world.server.recreate_target()
        self._happen(3)
        if self.path.first_fails:
            self._fail_pods()
            if self.path.urgent:
                self._add_urgent()
        for _ in range(40):
            self._happen(2)
            self.world.server.end_pods()
            if self._over():
                return
        raise AssertionError(f"stuck: {self.world.phases()}")

    def _over(self) -> bool:
        holders = self.world.server.objects["DbtTarget", "prod"]["status"].get("holders")
        ended = all(
            phase in ("Succeeded", "Cancelled", "Failed") for phase in self.world.phases().values()
        )
        return ended and not holders

    def _happen(self, times: int) -> None:
        for _ in range(times):
            self.world.now += timedelta(seconds=3)
            self.world.operators[0].hear(*EVERYTHING)
            self._rest()
            self.world.cluster()

    def _rest(self) -> None:
        """The operator works until it has nothing to do, unless it is killed before or after one of
        its writes.
        """
        operator = self.world.operators[0]
        while not operator.at_rest:
            writes = operator.next in WRITES
            self.writes += writes
            due = writes and self.writes == self._kill_at
            if due and not self._after:
                operator = self._new_operator()
                continue
            operator.step()
            if due:
                operator = self._new_operator()

    def _new_operator(self) -> Operator:
        self._kill_at = 0
        self.world.operators[0].stop()
        self.world.operators[0] = Operator(self.world.server, lambda: self.world.now)
        self.world.operators[0].hear(*EVERYTHING)
        return self.world.operators[0]

    def _fail_pods(self) -> None:
        for pod in self.world.server.pods:
            if lives(pod):
                pod["status"] = ended_status(1, UNAVAILABLE)
                self.world.server.touch(pod)
        self._happen(1)

    def _add_urgent(self) -> None:
        urgent = self.world._run(1, {"priority": 5})
        self.world.server.objects["DbtRun", "run-1"] = self.world.server.touch(urgent)


@pytest.fixture
def tell() -> Iterator[Callable[..., Story]]:
    told: list[Story] = []

    def one(*arguments: Any, **options: Any) -> Story:
        told.append(Story(*arguments, **options))
        told[-1].tell()
        return told[-1]

    yield one
    for story in told:
        story.world.stop()


def _writes(path: Path) -> int:
    story = Story(path)
    story.tell()
    story.world.stop()
    return story.writes


CASES = [(name, number) for name, path in PATHS.items() for number in range(1, _writes(path) + 1)]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("name", "number"), CASES, ids=[f"{name}-{number}" for name, number in CASES]
)
def test_every_run_ends_as_it_should_with_one_job_for_each_attempt(
    tell: Callable[..., Story], name: str, number: int, after: bool
) -> None:
    path = PATHS[name]
    server = tell(path, number, after=after).world.server
    phases = {
        found: m["status"]["phase"]
        for (kind, found), m in server.objects.items()
        if kind == "DbtRun"
    }
    assert phases == path.phases
    assert len(server.created_jobs) == len(set(server.created_jobs))
    assert len(server.created_jobs) in {path.jobs, path.jobs - bool(path.deleted)}


def test_a_run_takes_at_most_twelve_writes() -> None:
    queued = _writes(PATHS["queue"])
    assert queued / PATHS["queue"].runs <= 12
