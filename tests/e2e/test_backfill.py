"""Backfills with real pods, against PostgreSQL: each window once, whatever happens."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping

import pytest

from tests.support import backfills, product
from tests.support.backfills import WEEK, backfill, ended, phases, status, worked
from tests.support.kube import Manifest, apply, get, items, kubectl, resource, wait_for
from tests.support.operators import operator
from tests.support.scenarios import NAMESPACE

GREEN, BROKEN, AGAIN, NOW = "past-week", "broken-day", "broken-again", "stop-now"
URGENT, BATCHES, PAUSED, PLANNED, KILLED = "makes-way", "batches", "paused", "planned", "outlives"
OWN_TARGET = (GREEN, BROKEN, NOW, URGENT, BATCHES, PAUSED, KILLED)
THREE = {"windows": {"dates": {"from": WEEK[0], "to": WEEK[2]}}}


@pytest.fixture(scope="module")
def begun(warehouse: None, images: Mapping[str, str]) -> Iterator[None]:  # noqa: ARG001 -- it has to be there first
    """All of them are at work, each on a target of its own."""
    backfills.clean(*OWN_TARGET, AGAIN, PLANNED)
    kubectl("delete", "dbtrun", "urgent", "--ignore-not-found", "--wait", namespace=NAMESPACE)
    for name in OWN_TARGET:
        backfills.prepare_schema(name)
    for name in (BROKEN, NOW):
        backfills.query(name, "INSERT INTO broken VALUES ('2024-01-03')")
    apply(*backfills.project(images), *(backfills.target(name) for name in OWN_TARGET))
    microbatch = {
        "steps": [{"build": {"select": ["+batches"]}}],
        "eventTime": {"start": "$(window.start)", "end": "$(window.end)"},
    }
    with backfills.logged_statements():
        apply(
            backfill(GREEN, seconds=1, maxConcurrentWindows=2),
            backfill(BROKEN, seconds=15, maxConcurrentWindows=2),
            backfill(NOW, seconds=60, maxConcurrentWindows=2, onFailure="StopNow", windowsPerPod=1, **_from("02")),
            backfill(URGENT, seconds=4, **THREE),
            backfill(BATCHES, run=microbatch, windows={"dates": {"from": WEEK[2], "to": WEEK[3]}}),
            backfill(PAUSED, seconds=2, **THREE),
            backfill(PLANNED, schema=GREEN, dryRun=True),
        )
        yield


def _from(day: str) -> Manifest:
    return {"windows": {"dates": {"from": f"2024-01-{day}", "to": WEEK[-1]}}}


# What is done to some of them while they are at work


@pytest.fixture(scope="module")
def urgent(begun: None) -> Manifest:  # noqa: ARG001 -- it has to be there first
    """A run of higher priority than the backfill that has done its first window."""
    wait_for("a window has ended", lambda: status(URGENT).get("windows", {}).get("succeeded", 0) >= 1, 240)
    spec = backfills.run_spec(URGENT, priority=10, steps=[{"build": {"select": ["measurements"]}}])
    apply(resource("DbtRun", "urgent", NAMESPACE, spec))
    return product.wait_until_finished("urgent", NAMESPACE)


@pytest.fixture(scope="module")
def paused(begun: None) -> Manifest:  # noqa: ARG001 -- it has to be there first
    """The status of a backfill that was suspended after its first window; it goes on afterwards."""
    wait_for("a window has ended", lambda: status(PAUSED).get("windows", {}).get("succeeded", 0) >= 1, 240)
    _patch(PAUSED, '{"spec":{"suspend":true}}')
    found = wait_for("it is suspended", lambda: status(PAUSED).get("phase") == "Suspended" and status(PAUSED), 120)
    _patch(PAUSED, '{"spec":{"suspend":false}}')
    return found


def _patch(name: str, patch: str) -> None:
    kubectl("patch", "dbtbackfill", name, "--type=merge", "-p", patch, namespace=NAMESPACE)


# A week


@pytest.mark.usefixtures("begun", "urgent", "paused")
def test_seven_days_two_at_a_time() -> None:
    found = ended(GREEN)
    assert found["phase"] == "Succeeded"
    assert phases(GREEN) == dict.fromkeys(WEEK, "Succeeded")
    assert Counter(worked(GREEN)) == dict.fromkeys(WEEK, 1)
    assert backfills.query(GREEN, "SELECT day FROM daily ORDER BY day") == WEEK
    assert {day for _, _, day in backfills.intervals(GREEN)} == set(WEEK)
    assert backfills.most_at_once(GREEN) == 2


@pytest.mark.usefixtures("begun", "urgent", "paused")
def test_its_windows_have_the_same_code_and_artifacts_of_their_own() -> None:
    found = ended(GREEN)
    runs = [get("dbtrun", name, NAMESPACE)["status"] for name in {entry["run"] for entry in found["ledger"]}]
    assert len(runs) == 2
    assert {run["imageID"] for run in runs} == {found["imageID"]}
    names = [name for run in runs for name in product.object_names(run["resolved"]["location"])]
    for day in WEEK:
        assert any(name.endswith(f"/{day}/1-build/run_results.json") for name in names)
    row = kubectl("get", "dbtb", GREEN, "--no-headers", namespace=NAMESPACE).split()
    assert row[:5] == [GREEN, backfills.PROJECT, GREEN, "Succeeded", "7/7"]


@pytest.mark.usefixtures("begun", "urgent", "paused")
def test_a_day_that_fails_stops_what_has_not_begun() -> None:
    found = ended(BROKEN)
    assert (found["phase"], found["reason"]) == ("Failed", "TestFailed")
    assert "window 2024-01-03 in DbtRun broken-day-" in found["message"]
    assert phases(BROKEN) == dict.fromkeys(WEEK, "Pending") | {
        **dict.fromkeys(("2024-01-01", "2024-01-02", "2024-01-04"), "Succeeded"),
        "2024-01-03": "Failed",
    }
    assert sorted(worked(BROKEN)) == WEEK[:4]


@pytest.mark.usefixtures("begun", "urgent", "paused")
def test_repaired_it_is_resumed_with_what_is_missing() -> None:
    ended(BROKEN)
    backfills.query(BROKEN, "DELETE FROM broken")
    apply(backfill(AGAIN, schema=BROKEN, maxConcurrentWindows=2, resumeFrom={"name": BROKEN}))
    found = ended(AGAIN)
    assert found["phase"] == "Succeeded"
    assert (found["windows"]["succeeded"], found["windows"]["skipped"]) == (4, 3)
    assert Counter(worked(BROKEN)) == dict.fromkeys(WEEK, 1) | {"2024-01-03": 2}


@pytest.mark.usefixtures("begun", "urgent", "paused")
def test_stop_now_cancels_what_runs_beside_the_failure() -> None:
    found = ended(NOW)
    assert (found["phase"], found["reason"]) == ("Failed", "TestFailed")
    assert phases(NOW)["2024-01-03"] == "Failed"
    assert "Cancelled" in phases(NOW).values()
    assert worked(NOW) == ["2024-01-03"]


# The slot


def test_an_urgent_run_gets_in_between_two_windows(urgent: Manifest) -> None:
    assert urgent["status"]["phase"] == "Succeeded"
    found = ended(URGENT)
    assert found["phase"] == "Succeeded"
    assert found["finishedAt"] > urgent["status"]["finishedAt"]
    assert Counter(worked(URGENT)) == dict.fromkeys(WEEK[:3], 1)
    spans = sorted(_interval(pod) for pod in backfills.pods(URGENT))
    assert len(spans) == 3
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))


def _interval(pod: Manifest) -> tuple[str, str]:
    """From the start of its first container to the end of its last one."""
    state = pod["status"]
    over = [c["state"]["terminated"] for c in (*state["initContainerStatuses"], *state["containerStatuses"])]
    return min(each["startedAt"] for each in over), max(each["finishedAt"] for each in over)


def test_suspended_it_holds_no_slot_and_goes_on_later(paused: Manifest) -> None:
    assert "runs" not in paused
    found = ended(PAUSED)
    assert found["phase"] == "Succeeded"
    assert Counter(worked(PAUSED)) == dict.fromkeys(WEEK[:3], 1)


# Batches, keys, plans


@pytest.mark.usefixtures("begun", "urgent", "paused")
def test_microbatch_windows_leave_the_other_partitions_untouched() -> None:
    assert ended(BATCHES)["phase"] == "Succeeded"
    rows = backfills.query(BATCHES, "SELECT DISTINCT at::date, state FROM batches ORDER BY 1")
    assert rows == [f"{day}|{'fresh' if day in WEEK[2:4] else 'old'}" for day in WEEK]


@pytest.mark.usefixtures("begun")
def test_a_dry_run_lists_its_windows() -> None:
    assert ended(PLANNED)["phase"] == "Planned"
    assert phases(PLANNED) == dict.fromkeys(WEEK, "Pending")
    assert items("dbtruns", NAMESPACE, f"--selector=dbt-operator.dev/backfill={PLANNED}") == []


# The operator


@pytest.mark.usefixtures("begun", "urgent", "paused")
def test_operator_killed_at_every_window_boundary(images: Mapping[str, str]) -> None:
    for name in (*OWN_TARGET[:-1], PLANNED):
        ended(name)
    kills = 0
    with product.without_operator():
        apply(backfill(KILLED, windowsPerPod=1, maxConcurrentWindows=2))
        while _phase(KILLED) != "Succeeded":
            before = _done(KILLED)
            with operator(NAMESPACE, images["runner"]):
                wait_for("another window ends", lambda before=before: _done(KILLED) > before or _over(KILLED), 120)
            kills += 1
    assert kills >= 4
    assert Counter(worked(KILLED)) == dict.fromkeys(WEEK, 1)
    assert phases(KILLED) == dict.fromkeys(WEEK, "Succeeded")


def _phase(name: str) -> str:
    return str(status(name).get("phase"))


def _over(name: str) -> bool:
    return _phase(name) == "Succeeded"


def _done(name: str) -> int:
    return int(status(name).get("windows", {}).get("succeeded", 0))
