"""kill -9 at the writes of a backfill, one after another: each of its windows is worked through
once.

As in test_kills.py: a backfill for each write at which the operator is killed, until one gets
through without it.
"""

from __future__ import annotations

import os
import uuid
from collections import Counter

import pytest

from tests.support.kills import kill_at
from tests.support.kube import Manifest, apply, get, items, resource, wait_for
from tests.support.nursery import nursery
from tests.support.stage import Stage, stage

KEYS = ["emea", "apac", "amer"]
MOST = 60  # writes that it may take
STEP = 1 if os.environ.get("DBT_OPERATOR_TEST_FULL") else 6


def backfill(scene: Stage, name: str) -> Manifest:
    """Three windows, two at a time, a pod each."""
    run = {
        "projectRef": {"name": "shop"},
        "targetRef": {"name": name},
        "steps": [{"build": {}}],
        "vars": {"region": "$(window.key)"},
    }
    spec = {
        "runTemplate": {"spec": run},
        "windows": {"keys": KEYS},
        "maxConcurrentWindows": 2,
        "windowsPerPod": 1,
    }
    return resource("DbtBackfill", name, scene.namespace, spec)


def status(scene: Stage, name: str) -> Manifest:
    found: Manifest = get("dbtbackfill", name, scene.namespace).get("status", {})
    return found


def one_round(scene: Stage, number: int, *, after: bool) -> bool:
    """A backfill whose operator is killed at a write; whether it got so far."""
    name = f"b{number}{'x' if after else 'v'}"

    def ended() -> bool:
        return status(scene, name).get("phase") in ("Succeeded", "Failed")

    with scene.proxy.rule(kill_at(scene, number, after=after)) as rule:
        apply(scene.target(name), backfill(scene, name))
        wait_for(f"{name}: a kill or the end", lambda: rule.taken or ended())
        killed = bool(rule.taken)
    if killed:
        wait_for("the operator is dead", lambda: scene.operator_is_dead)
        scene.start_operator()
    wait_for(f"{name} ends", ended)
    check(scene, name)
    return killed


def check(scene: Stage, name: str) -> None:
    """Each window was in one run, that run had one Job and one pod, and the slot is free again."""
    found = status(scene, name)
    assert found["phase"] == "Succeeded", found
    runs = items("dbtruns", scene.namespace, f"--selector=dbt-operator.dev/backfill={name}")
    given = Counter(window["key"] for run in runs for window in run["spec"]["windows"])
    assert given == dict.fromkeys(KEYS, 1)
    for run in runs:
        assert len(scene.jobs_of(run["metadata"]["name"])) == 1
        assert scene.was_at_work(run["metadata"]["name"]) == 1
    assert scene.most_at_work(*(run["metadata"]["name"] for run in runs)) <= 2
    wait_for("the slot is free", lambda: not scene.holders_of(name))
    assert max(count for target, count in scene.holders if target == name) == 1


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("after", [True, False], ids=["after", "before"])
def test_killed_at_its_writes_a_backfill_repeats_no_window_and_leaves_none_out(after: bool) -> None:
    with nursery() as parent, stage(f"backfill-{uuid.uuid4().hex[:6]}", parent.operator) as scene:
        apply(scene.project())
        scene.start_operator()
        kills = 0
        for number in range(1, MOST, STEP):
            if not one_round(scene, number, after=after):
                break
            kills += 1
        else:
            raise AssertionError(f"it takes more than {MOST} writes")
    assert kills * STEP >= 20
