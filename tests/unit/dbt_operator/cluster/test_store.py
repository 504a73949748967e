from __future__ import annotations

import tracemalloc
from typing import Any

import pytest

from dbt_operator.cluster import live
from dbt_operator.cluster.projection import PROJECTED
from dbt_operator.cluster.store import Store
from tests.support.builders import part_labels, run, target
from tests.support.fake_cluster import FakeCluster


def thing(
    name: str = "a", version: int = 1, uid: str = "", namespace: str = "ns", run: str = "r"
) -> dict[str, Any]:
    """A Job of a run with this UID."""
    return {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": uid or f"uid-{name}",
            "resourceVersion": str(version),
            "labels": part_labels(run),
            "ownerReferences": [
                {"kind": "DbtRun", "name": "nightly", "uid": run, "controller": True}
            ],
            "managedFields": ["large"],
        }
    }


def test_an_older_version_does_not_replace_a_newer_one() -> None:
    store = Store()
    assert store.put("Job", thing(version=10))
    assert not store.put("Job", thing(version=9))
    assert not store.put("Job", thing(version=10))
    found = store.get("Job", "ns", "a")
    assert found is not None
    assert found["metadata"]["resourceVersion"] == "10"


def test_an_object_created_anew_is_another_one() -> None:
    store = Store()
    store.put("Job", thing(version=10, uid="old"))
    store.put("Job", thing(version=20, uid="new"))
    store.drop("Job", thing(version=15, uid="old"))
    found = store.get("Job", "ns", "a")
    assert found is not None
    assert found["metadata"]["uid"] == "new"


def test_jobs_are_found_by_their_run_until_they_are_dropped() -> None:
    store = Store()
    store.put("Job", thing(run="r"))
    assert [job["metadata"]["name"] for job in store.of_run("Job", "r")] == ["a"]
    store.drop("Job", thing(run="r"))
    assert store.of_run("Job", "r") == []


def test_a_list_drops_what_it_lacks_unless_that_is_younger_or_elsewhere() -> None:
    store = Store()
    store.put("Job", thing("old", 5))
    store.put("Job", thing("young", 50))
    store.put("Job", thing("elsewhere", 5, namespace="other"))
    store.put("Job", thing("listed", 7))
    gone = store.retain("Job", {"uid-listed"}, version="20", namespace="ns")
    assert [job["metadata"]["name"] for job in gone] == ["old"]
    assert {job["metadata"]["name"] for job in store.all("Job")} == {"young", "elsewhere", "listed"}


def test_what_nobody_reads_is_not_kept() -> None:
    store = Store()
    store.put("Job", thing())
    (kept,) = store.all("Job")
    assert "managedFields" not in kept["metadata"]


def test_what_is_heard_late_of_a_deleted_object_does_not_hide_the_one_that_was_created_anew() -> (
    None
):
    store = Store()
    store.put("Job", thing(version=20, uid="new"))
    store.put("Job", thing(version=15, uid="old"))
    found = store.get("Job", "ns", "a")
    assert found is not None
    assert found["metadata"]["uid"] == "new"


def finished_run(number: int) -> dict[str, Any]:
    """As large as they are: with what was resolved, failures and conditions."""
    found = run(ttlAfterFinished="720h")
    found["metadata"] |= {
        "name": f"nightly-2024-01-01-{number}",
        "uid": f"{number:08}-2222-3333-4444-555555555555",
    }
    found["status"] = {
        "phase": "Failed",
        "finishedAt": "2026-01-02T03:04:05Z",
        "resolved": {"image": "registry.example.com/dbt:1.0", "steps": [{"argv": ["build"] * 20}]},
        "attempts": [
            {"number": n, "jobUID": f"{number:08}-{n:04}-3333-4444-555555555555"} for n in range(3)
        ],
        "failures": [{"uniqueId": f"model.shop.{n}", "message": "x" * 200} for n in range(20)],
        "conditions": [{"type": "Finished", "status": "True", "message": "y" * 200}],
    }
    return found


def test_a_finished_run_takes_less_than_a_kilobyte() -> None:
    store = Store()
    tracemalloc.start()
    for number in range(1000):
        store.put("DbtRun", finished_run(number))
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size / 1000 < 1024


def test_of_a_finished_run_enough_is_kept_to_know_it_again() -> None:
    store = Store()
    store.put("DbtRun", finished_run(7))
    found = store.get("DbtRun", "analytics", "nightly-2024-01-01-7")
    assert found is not None
    assert found[PROJECTED]
    assert found["status"]["phase"] == "Failed"
    assert [attempt["jobUID"][:8] for attempt in found["status"]["attempts"]] == ["00000007"] * 3
    assert store.unfinished("analytics", "prod") == store.all_unfinished("analytics") == []


def test_the_jobs_of_a_finished_run_are_kept_until_they_have_ended_too() -> None:
    store = Store()
    uid = finished_run(7)["metadata"]["uid"]
    ended = thing("ended", run=uid, namespace="analytics") | {
        "status": {"conditions": [{"type": "Complete", "status": "True"}]}
    }
    store.put("Job", ended)
    store.put("Job", thing("going-on", run=uid, namespace="analytics"))
    store.put("DbtRun", finished_run(7))
    assert [job["metadata"]["name"] for job in store.of_run("Job", uid)] == ["going-on"]
    over = {**ended["metadata"], "name": "going-on", "uid": "uid-going-on", "resourceVersion": "2"}
    store.put("Job", ended | {"metadata": over})
    assert store.all("Job") == []


def test_what_is_asked_for_and_gone_is_forgotten() -> None:
    store = Store()
    store.put("DbtTarget", target())
    assert live.get(FakeCluster(), store, "DbtTarget", "analytics", "prod") is None  # type: ignore[arg-type]
    assert store.get("DbtTarget", "analytics", "prod") is None


# What is waited for


def waiting(version: int, **fields: Any) -> dict[str, Any]:
    upstreams = [
        {"job": {"name": "load"}},
        {"job": {"selector": {"matchLabels": {"app": "load"}}}},
        {"schedule": {"name": "raw"}},
        {"run": {"name": "first"}},
    ]
    found = run(waitFor=upstreams)
    found["metadata"]["resourceVersion"] = str(version)
    return found | fields


AWAITED = (("Job", "load"), ("Job", ""), ("DbtSchedule", "raw"), ("DbtRun", "first"))


def count_waiting(store: Store) -> list[int]:
    return [len(store.waiting_for(kind, "analytics", name)) for kind, name in AWAITED]


def test_a_run_is_found_by_what_it_waits_for() -> None:
    store = Store()
    store.put("DbtRun", waiting(1))
    store.put("DbtRun", waiting(2, status={"phase": "Waiting", "wait": {"since": "x"}}))
    assert count_waiting(store) == [1, 1, 1, 1]
    assert store.waiting_for("Job", "elsewhere", "load") == []
    assert store.waiting_for("DbtRun", "analytics", "raw") == []
    assert store.namespaces_waiting_for("Job") == {"analytics"}


@pytest.mark.parametrize(
    "status",
    [{"wait": {"endedAt": "x"}}, {"phase": "Failed"}, {"phase": "Skipped", "wait": {}}],
)
def test_a_run_that_waits_no_more_is_not_found(status: dict[str, Any]) -> None:
    store = Store()
    store.put("DbtRun", waiting(1))
    store.put("DbtRun", waiting(2, status=status))
    assert count_waiting(store) == [0, 0, 0, 0]
    assert store.namespaces_waiting_for("Job") == set()
    assert (store._waiting, store._awaited) == ({}, {})


def test_a_run_that_is_gone_waits_for_nothing() -> None:
    store = Store()
    store.put("DbtRun", waiting(1))
    store.drop("DbtRun", waiting(1))
    assert count_waiting(store) == [0, 0, 0, 0]
    assert (store._waiting, store._awaited) == ({}, {})
