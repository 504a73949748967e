"""The adapter against a real API server: compare-and-swap, adoption, deletion, and its
exceptions.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from contextlib import closing
from datetime import datetime, timedelta, tzinfo
from typing import Any, Self

import pytest

from dbt_operator.cluster import api_server
from dbt_operator.cluster.client import Cluster
from dbt_operator.cluster.errors import ConflictError, InvalidError, NotFoundError
from dbt_operator.common.keys import Key
from dbt_operator.planning.common.plan import Event
from dbt_operator.process.health import Health
from dbt_operator.process.leader import Elector
from tests.support.api_objects import manifest
from tests.support.kube import Manifest, create, items, kubectl


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    return Cluster()


def job(where: str, name: str = "") -> Manifest:
    pod = {
        "restartPolicy": "Never",
        "containers": [{"name": "c", "image": "none:1"}],
        "nodeSelector": {"no": "node"},
    }
    labels = {"dbt-operator.dev/run-uid": "some-run"}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name or f"j-{uuid.uuid4().hex[:8]}",
            "namespace": where,
            "labels": labels,
        },
        "spec": {"template": {"metadata": {"labels": labels}, "spec": pod}, "suspend": True},
    }


def test_a_status_is_written_only_over_the_version_that_was_read(
    cluster: Cluster, where: str
) -> None:
    run = create(manifest("DbtTarget", where))
    written = cluster.patch_status("DbtTarget", run, {"observedGeneration": 1})
    assert written["status"] == {"observedGeneration": 1}
    with pytest.raises(ConflictError):
        cluster.patch_status("DbtTarget", run, {"observedGeneration": 2})


class Slow(datetime):
    """A clock that is an hour behind."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        return super().now(tz) - timedelta(hours=1)


def test_each_answer_tells_what_its_clock_shows(
    cluster: Cluster, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.get_job(where, "none")
    assert abs(cluster.clock_offset) < timedelta(minutes=1)
    monkeypatch.setattr(api_server, "datetime", Slow)
    cluster.get_job(where, "none")
    assert abs(cluster.clock_offset - timedelta(hours=1)) < timedelta(minutes=1)


def test_null_takes_a_field_away(cluster: Cluster, where: str) -> None:
    run = create(manifest("DbtRun", where))
    written = cluster.patch_status("DbtRun", run, {"message": "x", "phase": "Pending"})
    written = cluster.patch_status("DbtRun", written, {"message": None})
    assert "message" not in written["status"]
    assert written["status"]["phase"] == "Pending"


def test_an_object_created_anew_gets_no_status_of_the_old_one(cluster: Cluster, where: str) -> None:
    run = create(manifest("DbtTarget", where))
    kubectl("delete", "dbttarget", run["metadata"]["name"], namespace=where)
    with pytest.raises(NotFoundError):
        cluster.patch_status("DbtTarget", run, {"observedGeneration": 1})
    create({key: run[key] for key in ("apiVersion", "kind", "spec")} | {"metadata": _name(run)})
    with pytest.raises(ConflictError):
        cluster.patch_status("DbtTarget", run, {"observedGeneration": 1})


def _name(manifest: Mapping[str, Any]) -> Manifest:
    return {key: manifest["metadata"][key] for key in ("name", "namespace")}


def test_a_lease_is_written_only_over_the_version_that_was_read(
    cluster: Cluster, where: str
) -> None:
    assert cluster.get_lease(where, "election") is None
    electors = [
        Elector(
            cluster, Key("Lease", where, "election"), Health().pulse("election", 60), lambda: None
        )
        for _ in range(2)
    ]
    for _ in range(2):
        for elector in electors:
            elector.round()
    assert [elector.leads() for elector in electors] == [True, False]
    before = cluster.get_lease(where, "election")
    assert before is not None
    with pytest.raises(ConflictError):
        cluster.create_lease(
            {key: before[key] for key in ("apiVersion", "kind", "spec")}
            | {"metadata": _name(before)}
        )
    electors[0].release()
    with pytest.raises(ConflictError):
        cluster.replace_lease(before)
    electors[1].round()
    assert electors[1].leads()


def test_a_phase_outside_the_api_is_refused(cluster: Cluster, where: str) -> None:
    run = create(manifest("DbtRun", where))
    with pytest.raises(InvalidError, match="phase"):
        cluster.patch_status("DbtRun", run, {"phase": "Sleeping"})


def test_creating_a_job_twice_finds_the_first(cluster: Cluster, where: str) -> None:
    wanted = job(where)
    first, second = cluster.create_job(wanted), cluster.create_job(wanted)
    assert first["metadata"]["uid"] == second["metadata"]["uid"]
    found = cluster.get_job(where, wanted["metadata"]["name"])
    assert found is not None
    assert found["metadata"]["uid"] == first["metadata"]["uid"]


def test_only_the_job_that_was_meant_is_deleted(cluster: Cluster, where: str) -> None:
    created = cluster.create_job(job(where))
    name, uid = created["metadata"]["name"], created["metadata"]["uid"]
    cluster.delete_job(where, name, "another-uid")
    assert cluster.get_job(where, name) is not None
    cluster.delete_job(where, name, uid)
    cluster.delete_job(where, "absent", uid)


def test_only_the_run_that_was_meant_is_deleted(cluster: Cluster, where: str) -> None:
    metadata = create(manifest("DbtRun", where))["metadata"]
    cluster.delete_run("DbtRun", where, metadata["name"], "another-uid")
    assert cluster.get("DbtRun", where, metadata["name"])["metadata"]["uid"] == metadata["uid"]
    cluster.delete_run("DbtRun", where, metadata["name"], metadata["uid"])
    with pytest.raises(NotFoundError):
        cluster.get("DbtRun", where, metadata["name"])
    cluster.delete_run("DbtRun", where, metadata["name"], metadata["uid"])


def test_lists_hold_the_jobs_of_runs_only(cluster: Cluster, where: str) -> None:
    ours = cluster.create_job(job(where))
    foreign = job(where)
    foreign["metadata"]["labels"] = {
        "app": "another"
    }  # with none at all, a Job gets those of its pods
    create(foreign)
    for namespace in (where, None):
        ((listed, version),) = cluster.list_pages("Job", namespace)
        names = {item["metadata"]["name"] for item in listed}
        assert ours["metadata"]["name"] in names
        assert foreign["metadata"]["name"] not in names
        assert int(version) >= int(ours["metadata"]["resourceVersion"])


def test_a_job_that_is_marked_as_ended_is_listed_no_more(cluster: Cluster, where: str) -> None:
    made = job(where)
    made["metadata"]["labels"] |= {
        "dbt-operator.dev/target": "marked",
        "dbt-operator.dev/holder-uid": "some-run",
    }
    found = cluster.create_job(made)["metadata"]
    assert len(cluster.unfinished_jobs_of_target(where, "marked")) == 1
    with pytest.raises(InvalidError):
        cluster.mark_job_ended(where, found["name"], "another")
    marked = cluster.mark_job_ended(where, found["name"], found["uid"])
    assert marked["metadata"]["labels"].items() > found["labels"].items()
    assert cluster.unfinished_jobs_of_target(where, "marked") == []
    with pytest.raises(NotFoundError):
        cluster.mark_job_ended(where, "none", found["uid"])


def test_of_the_jobs_of_others_metadata_is_listed_and_watched(cluster: Cluster, where: str) -> None:
    first, second = job(where), job(where)
    for each in (first, second):
        each["metadata"]["labels"] = {"app": where}
    create(first)
    ((listed, version),) = cluster.list_job_metadata(where)
    assert first["metadata"]["name"] in {each["metadata"]["name"] for each in listed}
    assert all(each.keys() <= {"kind", "apiVersion", "metadata"} for each in listed)
    create(second)
    name = second["metadata"]["name"]
    with closing(cluster.watch_job_metadata(where, version, 30)) as events:
        # The Job controller may have written the first one's status in between.
        kind, seen = next(event for event in events if event[1]["metadata"]["name"] == name)
    assert kind == "ADDED"
    assert seen.keys() <= {"kind", "apiVersion", "metadata"}
    found = {each["metadata"]["name"] for each in cluster.jobs_with_labels(where, f"app={where}")}
    assert found == {first["metadata"]["name"], second["metadata"]["name"]}


def test_a_watch_ends_after_its_time(cluster: Cluster, where: str) -> None:
    ((_, version),) = cluster.list_job_metadata(where)
    # Jobs of other tests may still change: what matters is that this comes to its end.
    told = {kind for kind, _ in cluster.watch_job_metadata(where, version, 1)}
    assert told <= {"ADDED", "MODIFIED", "DELETED"}


def test_a_list_of_our_kinds_comes_in_pages(
    cluster: Cluster, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dbt_operator.cluster.client._PAGE", "2")
    targets = {create(manifest("DbtTarget", where))["metadata"]["uid"] for _ in range(3)}
    for namespace in (where, None):
        pages = list(cluster.list_pages("DbtTarget", namespace))
        assert max(len(listed) for listed, _ in pages) == 2
        assert targets <= {item["metadata"]["uid"] for listed, _ in pages for item in listed}


def test_a_log_of_a_pod_that_is_gone_is_not_found(cluster: Cluster, where: str) -> None:
    with pytest.raises(NotFoundError):
        cluster.last_log_line(where, "absent", "artifacts")


def test_events_are_posted_where_people_look_and_warnings_are_found(
    cluster: Cluster, where: str
) -> None:
    run = create(manifest("DbtRun", where))
    cluster.post_event("DbtRun", run, Event("Normal", "Running", "dbt is running"))
    assert cluster.list_warnings(where, run["metadata"]["uid"]) == ()
    cluster.post_event("DbtRun", run, Event("Warning", "ModelError", "1 node failed"))
    assert cluster.list_warnings(where, run["metadata"]["uid"]) == ("ModelError: 1 node failed",)
    about = f"involvedObject.uid={run['metadata']['uid']}"
    assert len(items("events", where, f"--field-selector={about}")) == 2
