"""Schedules whose operators are killed at their writes, one after another.

A path is gone again and again, each time with a kill at a later write. What the clock begins takes
up to a minute, so those rounds go side by side.
"""

from __future__ import annotations

import os
import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from tests.support.kills import kill_at
from tests.support.kube import Manifest, apply, get, items, kubectl, resource, wait_for
from tests.support.nursery import Nursery
from tests.support.stage import Stage, stage

FULL = bool(os.environ.get("DBT_OPERATOR_TEST_FULL"))
MOST = 60  # writes that a path may take
LATER = timedelta(days=1)
NEVER = "0 0 1 1 *"  # no test is made on New Year's night
# At these writes the occurrence is decided on, its run created, its UID written down.
BY_CLOCK = range(1, 16) if FULL else range(2, 6)
ASKED = ("asked", "backfill", "triggered")
STEP = 1 if FULL else 4
SIDES = (True, False) if FULL else (True,)


def soon() -> str:
    """An entry of cron for the next minute that there is time for."""
    moment = datetime.now(UTC) + timedelta(seconds=65)
    return f"{moment.minute} {moment.hour} {moment.day} {moment.month} *"


def schedule(scene: Stage, name: str, target: str, **spec: Any) -> Manifest:
    run = {
        "projectRef": {"name": "shop"},
        "targetRef": {"name": target},
        "steps": [{"build": {}}],
        "vars": {"at": "$(scheduled.time)"},
    }
    base: dict[str, Any] = {"schedules": [NEVER], "runTemplate": {"spec": run}}
    if spec.pop("backfill", False):
        run["vars"] = {"region": "$(window.key)"}
        template = {"runTemplate": {"spec": run}, "windows": {"keys": ["emea", "apac"]}}
        base |= {"runTemplate": None, "backfillTemplate": {"spec": template}}
    wanted = {key: value for key, value in (base | spec).items() if value is not None}
    return resource("DbtSchedule", name, scene.namespace, wanted)


def has_missed(found: Manifest) -> bool:
    """Whether the minute that was named had passed before anybody looked: the next one of such an
    entry is in a year.
    """
    due: list[str] = found.get("nextRunTimes") or []
    is_known = found.get("active") or found.get("history")
    return bool(due) and not is_known and datetime.fromisoformat(due[0]) > LATER + datetime.now(UTC)


def keep_due(scene: Stage, name: str) -> None:
    """Name a later minute if the one that was named has been missed."""
    if has_missed(status(scene, name)):
        apply(schedule(scene, name, name, schedules=[soon()]))


def start(scene: Stage, path: str, name: str) -> list[str]:
    """Start what a path is about; the names of the schedules that are to have one run each."""
    apply(scene.target(name, maxConcurrentRuns=2))
    if path == "clock":
        apply(schedule(scene, name, name, schedules=[soon()]))
        return [name]
    names = [name]
    apply(schedule(scene, name, name, backfill=path == "backfill"))
    if path == "triggered":
        names.append(f"{name}-after")
        follows = {"triggers": [{"afterSchedule": {"name": name}}], "debounce": "1s"}
        apply(schedule(scene, names[-1], name, schedules=None, **follows))
    for each in names:
        wait_for(f"{each} is looked at", partial(is_seen, scene, each))
    pair = "dbt-operator.dev/run-now=once"
    kubectl("annotate", "dbtschedule", name, pair, namespace=scene.namespace)
    return names


def is_seen(scene: Stage, name: str) -> bool:
    """Whether an operator has written its first status, unless it is dead."""
    return scene.operator_is_dead or bool(status(scene, name).get("cursor"))


def status(scene: Stage, name: str) -> Manifest:
    found: Manifest = get("dbtschedule", name, scene.namespace).get("status", {})
    return found


def have_ended(scene: Stage, names: list[str]) -> bool:
    found = [status(scene, name) for name in names]
    return all(each.get("history") and not each.get("active") for each in found)


def one_round(scene: Stage, path: str, number: int, *, after: bool) -> bool:
    """Go a path with an operator that is killed at a write; whether it got so far."""
    name = f"s{number}{'x' if after else 'v'}"

    def have_all_ended() -> bool:
        if path == "clock":
            keep_due(scene, name)
        return have_ended(scene, names)

    with scene.proxy.rule(kill_at(scene, number, after=after)) as rule:
        names = start(scene, path, name)
        wait_for(f"{name}: a kill or the end", lambda: rule.taken or have_all_ended())
        killed = bool(rule.taken)
    if killed:
        wait_for("the operator is dead", lambda: scene.operator_is_dead)
        scene.start_operator()
    if killed and path != "clock":
        # The manifest came with no request; one that nobody had seen before is one now.
        ask_again(scene, name)
    wait_for(f"{name} has ended", have_all_ended)
    for each in names:
        check(scene, each)
    wait_for("the slot is free", lambda: not scene.holders_of(name))
    return killed


def ask_again(scene: Stage, name: str) -> None:
    """Ask with another value if the first was there before anybody had looked."""
    wait_for("it is looked at", lambda: is_seen(scene, name))

    def is_known() -> bool:
        return status(scene, name).get("lastRunNow") == "once"

    wait_for("the request is seen", is_known)
    found = status(scene, name)
    if not found.get("active") and not found.get("history"):
        pair = "dbt-operator.dev/run-now=twice"
        kubectl("annotate", "dbtschedule", name, "--overwrite", pair, namespace=scene.namespace)


def check(scene: Stage, name: str) -> None:
    """One run, which is told once; each of its runs had one Job and one pod."""
    found = status(scene, name)
    (past,) = found["history"]
    assert past["phase"] == "Succeeded", past
    label = f"--selector=dbt-operator.dev/schedule={name}"
    owned = [
        each["metadata"]["name"]
        for kind in ("dbtruns", "dbtbackfills")
        for each in items(kind, scene.namespace, label)
    ]
    assert owned == [past["run"]]
    runs = owned
    if past["kind"] == "DbtBackfill":
        label = f"--selector=dbt-operator.dev/backfill={past['run']}"
        runs = [each["metadata"]["name"] for each in items("dbtruns", scene.namespace, label)]
    for run in runs:
        assert len(scene.jobs_of(run)) == 1
        assert scene.was_at_work(run) == 1


def go_by_clock(parent: Nursery, number: int, *, after: bool) -> bool:
    with stage(f"clock-{uuid.uuid4().hex[:6]}", parent.operator) as scene:
        apply(scene.project())
        scene.start_operator()
        return one_round(scene, "clock", number, after=after)


def go_asked(parent: Nursery, path: str, *, after: bool) -> int:
    """Kill at every write of a path, or at some; at how many."""
    with stage(f"{path}-{uuid.uuid4().hex[:6]}", parent.operator) as scene:
        apply(scene.project())
        scene.start_operator()
        for done, number in enumerate(range(1, MOST, STEP)):
            if not one_round(scene, path, number, after=after):
                return done
    raise AssertionError(f"{path} takes more than {MOST} writes")


Rounds = dict[tuple[str, int, bool], "Future[Any]"]


def start_rounds(parent: Nursery, pool: ThreadPoolExecutor) -> Rounds:
    """Go all paths side by side, each in a namespace of its own."""
    found: Rounds = {}
    for after in SIDES:
        for number in BY_CLOCK:
            found["clock", number, after] = pool.submit(go_by_clock, parent, number, after=after)
        for path in ASKED:
            found[path, 0, after] = pool.submit(go_asked, parent, path, after=after)
    return found
