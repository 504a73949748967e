from __future__ import annotations

from typing import Any

from dbt_operator.store import Store


def thing(name: str = "a", version: int = 1, uid: str = "", namespace: str = "ns", run: str = "") -> dict[str, Any]:
    labels = {"dbt-operator.dev/run-uid": run} if run else {}
    return {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": uid or f"uid-{name}",
            "resourceVersion": str(version),
            "labels": labels,
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
    gone = store.replace("Job", [thing("listed", 7)], version="20", namespace="ns")
    assert [job["metadata"]["name"] for job in gone] == ["old"]
    assert {job["metadata"]["name"] for job in store.all("Job")} == {"young", "elsewhere", "listed"}


def test_what_nobody_reads_is_not_kept() -> None:
    store = Store()
    store.put("Job", thing())
    (kept,) = store.all("Job")
    assert "managedFields" not in kept["metadata"]


def test_what_is_heard_late_of_a_deleted_object_does_not_hide_the_one_that_was_created_anew() -> None:
    store = Store()
    store.put("Job", thing(version=20, uid="new"))
    store.put("Job", thing(version=15, uid="old"))
    found = store.get("Job", "ns", "a")
    assert found is not None
    assert found["metadata"]["uid"] == "new"
