"""An API server that refuses, is slow, loses answers or is away; and watches that tell of things
late, twice or not.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.fake_nodes import End
from tests.support.fault_proxy import Request, Rule
from tests.support.kube import apply, wait_for
from tests.support.stage import Stage, stage

AWAY = 120.0 if os.environ.get("DBT_OPERATOR_TEST_FULL") else 4.0  # seconds
# Each write of a run that needs one slot and one attempt: to what, and the how manieth of its kind
# it is.
WRITES = [("dbttargets", 1), ("dbttargets", 2), ("dbttargets", 3), ("jobs", 1), ("pods", 1)]
WRITES += [("dbtruns", 1), ("dbtruns", 2), ("dbtruns", 3)]
FAULTS: dict[str, dict[str, Any]] = {
    "409": {"answer": 409},
    "422": {"answer": 422},
    "429": {"answer": 429},
    "500": {"answer": 500},
    "reset": {"reset": True},
    "answer-lost": {"lose_answer": True},
    "slow": {"wait": 2.0},
}


def _nth_write(name: str, kind: str, number: int, **fault: Any) -> Rule:
    """A fault of one of the writes that are about a run, or about the target of the same name."""
    count = 0

    def picks(request: Request) -> bool:
        nonlocal count
        about = request.name == name or request.name.startswith(f"{name}-")
        if not (about and request.writes and request.kind == kind):
            return False
        count += 1
        return count == number

    return Rule(picks, times=1, **fault)


@pytest.fixture(scope="module")
def refused(scene: Stage) -> Mapping[str, dict[str, Rule]]:
    """For each fault as many runs as one has writes, each with a target of its own: of each,
    another write fails.
    """
    found: dict[str, dict[str, Rule]] = {}
    for fault, how in FAULTS.items():
        writes = {f"{fault}-{kind}{number}": (kind, number) for kind, number in WRITES}
        found[fault] = {name: _nth_write(name, *write, **how) for name, write in writes.items()}
        scene.proxy.rules += found[fault].values()
    names = [name for rules in found.values() for name in rules]
    apply(*(scene.target(name) for name in names), *(scene.run(name, name) for name in names))
    return found


@pytest.mark.parametrize("fault", FAULTS)
def test_409_422_429_500_on_any_write(
    scene: Stage, refused: Mapping[str, dict[str, Rule]], fault: str
) -> None:
    """It converges, with one Job and no slot left taken."""
    names = list(refused[fault])
    assert scene.all_ended(*names) == dict.fromkeys(names, "Succeeded")
    assert [len(scene.jobs_of(name)) for name in names] == [1] * len(names)
    for name in names:
        _wait_for_slot(scene, name)
    assert [name for name, rule in refused[fault].items() if not rule.taken] == []


def _wait_for_slot(scene: Stage, target: str) -> None:
    wait_for(f"the slot of {target} is free", lambda: not scene.holders_of(target))


def _queue(scene: Stage, name: str) -> dict[str, int]:
    """Start three runs on one target, the first of which needs a second attempt; how many Jobs each
    has to have.
    """
    jobs = {f"{name}-a": 2, f"{name}-b": 1, f"{name}-c": 1}
    scene.ends[f"{name}-a"] = [End(after=1, reason="Unavailable")]
    retry = {"maxAttempts": 2, "backoff": {"initial": "1s"}}
    first, *others = (scene.run(each, name, retry=retry) for each in jobs)
    apply(scene.target(name), first)
    wait_for("the first one is at work", lambda: scene.was_at_work(f"{name}-a"))
    apply(*others)
    return jobs


def _check(scene: Stage, jobs: Mapping[str, int]) -> None:
    assert scene.all_ended(*jobs) == dict.fromkeys(jobs, "Succeeded")
    assert {name: len(scene.jobs_of(name)) for name in jobs} == jobs
    assert scene.most_at_work(*jobs) == 1


def test_api_server_away_for_a_while(scene: Stage) -> None:
    """A pod ends meanwhile, and a run is created; the operator hears of neither."""
    jobs = _queue(scene, "away")
    with scene.proxy.away():
        back = time.monotonic() + AWAY
        wait_for("its pod has ended", lambda: "away-a" not in scene.at_work())
        apply(scene.run("away-d", "away"))
        wait_for("it has been away for long enough", lambda: time.monotonic() > back, AWAY + 10)
        assert not scene.ended(*jobs)
    _check(scene, jobs | {"away-d": 1})


# Watches

# Of all events so far: those told now, or later.
Tell = Callable[[list[bytes]], Iterable[tuple[float, bytes]]]


def _twice(heard: list[bytes]) -> Iterable[tuple[float, bytes]]:
    return [(0.0, heard[-1]), (0.0, heard[-1]), (0.3, heard[-1])]


def _replayed(heard: list[bytes]) -> Iterable[tuple[float, bytes]]:
    """The newest one, and then what was told before, as if it happened only now."""
    return [(0.0, heard[-1]), *((0.2, line) for line in heard[-12:-1])]


def _late(heard: list[bytes]) -> Iterable[tuple[float, bytes]]:
    return [(1.5, heard[-1])]


def _never(_: list[bytes]) -> Iterable[tuple[float, bytes]]:
    return []


EVERYTHING = ("dbtruns", "dbttargets", "jobs", "pods")
WATCHES: dict[str, tuple[Tell, tuple[str, ...]]] = {
    "duplicated": (_twice, EVERYTHING),
    "replayed": (_replayed, EVERYTHING),
    "runs-and-targets-late": (_late, ("dbtruns", "dbttargets")),
    "jobs-and-pods-late": (_late, ("jobs", "pods")),
    "lost": (_never, ("jobs", "pods")),  # what is listed now and then has to do
}


def _twisted(tell: Tell, kind: str) -> Rule:
    """Each watch has a memory of its own."""
    return Rule(lambda r: r.watch and r.kind == kind, events=_with_memory(tell))


def _with_memory(tell: Tell) -> Callable[[bytes], Iterable[tuple[float, bytes]]]:
    heard: list[bytes] = []

    def told(line: bytes) -> Iterable[tuple[float, bytes]]:
        if json.loads(line)["type"] not in ("ADDED", "MODIFIED", "DELETED"):
            return [(0.0, line)]
        heard.append(line)
        return tell(heard)

    return told


def _work_with(name: str) -> None:
    tell, kinds = WATCHES[name]
    with stage(f"watches-{name}-{uuid.uuid4().hex[:6]}") as scene:
        scene.proxy.rules += [_twisted(tell, kind) for kind in kinds]
        apply(scene.project())
        scene.start_operator(DBT_OPERATOR_RESYNC_SECONDS="2")
        wait_for("it watches", lambda: all(rule.taken for rule in scene.proxy.rules))
        _check(scene, _queue(scene, "prod"))
        assert max(count for _, count in scene.holders) == 1


@pytest.fixture(scope="module")
def watches(cluster: None) -> Iterator[Mapping[str, Future[None]]]:  # noqa: ARG001 -- it has to be there first
    """Side by side, each in a namespace of its own: most of the time is spent waiting."""
    with ThreadPoolExecutor(len(WATCHES)) as pool:
        yield {name: pool.submit(_work_with, name) for name in WATCHES}


@pytest.mark.parametrize("name", WATCHES)
def test_events_replayed_duplicated_late(watches: Mapping[str, Future[None]], name: str) -> None:
    watches[name].result()
