"""The chart is upgraded to another release and rolled back, while runs and a backfill are at work.

What has begun goes on with the runner that it began with, whichever operator sees to it, and is
done once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

import pytest

from tests.support import faults, product
from tests.support.backfills import (
    RUN,
    Sql,
    backfill,
    counts,
    dates,
    days,
    finished,
    project,
    run_spec,
    runs,
    target,
)
from tests.support.kube import Manifest, apply, get, items, kubectl, namespace, resource, wait_for
from tests.support.scenarios import create_user, secrets

NAMESPACE = "upgrades"
WINDOWS = days(3)
# A backfill, and a run that begins under each of the releases, in the order of their beginning.
PAST, BEFORE, DURING = "upgrade-past", "upgrade-before", "upgrade-during"
AGAIN = {"retry": {"maxAttempts": 2, "backoff": {"initial": "1s"}}}


@dataclass
class Course:
    """What was seen while things went their way."""

    runners: dict[str, list[str]] = field(default_factory=dict)  # of a run's pods, in their order
    operators: list[str] = field(default_factory=list)  # images, in the order of the releases


@pytest.fixture(scope="module")
def course(installed: None, images: Mapping[str, str]) -> Iterator[Course]:  # noqa: ARG001 -- it has to be there first
    """All of it: begun under one release, upgraded, interrupted, rolled back, interrupted."""
    kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait")
    create_user()
    for name in (PAST, BEFORE, DURING):
        Sql(name).lay_tables()
        Sql(name).hold(*WINDOWS, name)
    apply(namespace(NAMESPACE), *secrets(NAMESPACE), *project(images, NAMESPACE))
    apply(*(target(name, NAMESPACE) for name in (PAST, BEFORE, DURING)))
    course = Course()
    try:
        course.operators.append(operator_image())
        apply(backfill(PAST, dates(WINDOWS), where=NAMESPACE, windowsPerPod=1), begin(BEFORE))
        at_work(course, BEFORE)
        Sql(PAST).wait_for_windows(1)

        product.install_chart(images, release="next-")
        course.operators.append(operator_image())
        apply(begin(DURING))
        interrupt(course, BEFORE)
        at_work(course, DURING)
        go_on(WINDOWS[0])
    finally:
        product.roll_back_chart()
    course.operators.append(operator_image())
    interrupt(course, DURING)
    go_on(WINDOWS[1])
    for name in (PAST, BEFORE, DURING):
        Sql(name).release()
    yield course
    kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def begin(name: str) -> Manifest:
    """A run that goes on until it is released."""
    return resource("DbtRun", name, NAMESPACE, run_spec(name, vars={"ds": name}) | AGAIN)


def at_work(course: Course, name: str) -> None:
    """Wait until a run's query is being worked on, and write down which runner its pod has."""
    Sql(name).wait_for_windows(1)
    pod = faults.pod_of(name, NAMESPACE)
    assert pod is not None
    runner = next(c["image"] for c in pod["spec"]["initContainers"] if c["name"] == "prepare")
    course.runners.setdefault(name, []).append(runner)


def interrupt(course: Course, name: str) -> None:
    """Take a run's pod away, and wait for its second attempt."""
    faults.evict(name, NAMESPACE)
    wait_for(f"another attempt of {name}", partial(attempts, name, 2))
    at_work(course, name)


def go_on(window: str) -> None:
    """Let a window of the backfill end, and wait for the next one."""
    Sql(PAST).release(window)
    following = WINDOWS[WINDOWS.index(window) + 1]
    wait_for(f"{following} is at work", lambda: following in Sql(PAST).log())


def attempts(name: str, count: int) -> bool:
    status = get("dbtrun", name, NAMESPACE).get("status", {})
    return len(status.get("attempts", [])) == count


def operator_image() -> str:
    """The image of the operator that is there."""
    where = product.OPERATOR_NAMESPACE
    (pod,) = items("pods", where, "--field-selector=status.phase=Running")
    image: str = pod["spec"]["containers"][0]["image"]
    return image


def test_each_release_has_seen_to_it(course: Course, images: Mapping[str, str]) -> None:
    ours, following = images["operator"], images["next-operator"]
    assert course.operators == [ours, following, ours]


@pytest.mark.parametrize(("name", "image"), [(BEFORE, "runner"), (DURING, "next-runner")])
def test_a_run_goes_on_with_the_runner_that_it_began_with(
    course: Course, images: Mapping[str, str], name: str, image: str
) -> None:
    assert course.runners[name] == [images[image], images[image]]
    found = product.wait_until_finished(name, NAMESPACE)["status"]
    assert (found["phase"], len(found["attempts"])) == ("Succeeded", 2)


@pytest.mark.usefixtures("course")
def test_each_window_of_a_backfill_is_done_once() -> None:
    found = finished(PAST, NAMESPACE)
    assert found["phase"] == "Succeeded"
    assert counts(found) == {"total": len(WINDOWS), "succeeded": len(WINDOWS)}
    assert Sql(PAST).log() == WINDOWS
    jobs = items("jobs", NAMESPACE)
    of_backfill = {run["metadata"]["name"] for run in runs(PAST, NAMESPACE)}
    names = [job["metadata"]["labels"][RUN] for job in jobs]
    assert sorted(name for name in names if name in of_backfill) == sorted(of_backfill)
