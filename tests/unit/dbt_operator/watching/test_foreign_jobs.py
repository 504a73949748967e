"""The watches of Jobs that others have made, against an API server of ours."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import kubernetes
import pytest
import structlog

from dbt_operator.cluster.client import Cluster
from dbt_operator.cluster.store import Store
from dbt_operator.common.keys import Key
from dbt_operator.common.workqueue import WorkQueue
from dbt_operator.process.health import Health
from dbt_operator.watching.foreign_jobs import ForeignJobs, Manifest, Pace
from tests.support.builders import run
from tests.support.fake_api_server import FakeAPIServer
from tests.support.kube import PATIENCE
from tests.support.upstreams import foreign_job
from tests.support.waiting import eventually

QUICK = Pace(glance=0.02, rest=0.02, longest_rest=0.04)
BY_NAME = {"job": {"name": "load"}}
BY_LABELS = {"job": {"selector": {"matchLabels": {"app": "load"}}}}
DONE = {"wait": {"endedAt": "2026-01-02T03:04:05Z"}}


@pytest.fixture
def server() -> Iterator[FakeAPIServer]:
    with FakeAPIServer().running() as server:
        yield server


def waiting_run(namespace: str, name: str, upstream: Manifest, version: int = 1) -> dict[str, Any]:
    found = run(waitFor=[upstream])
    found["metadata"] |= {
        "namespace": namespace,
        "name": name,
        "uid": f"{namespace}-{name}",
        "resourceVersion": str(version),
    }
    return found


class Watching:
    """Runs that wait, and what wakes them."""

    def __init__(self, server: FakeAPIServer) -> None:
        self.server = server
        self.store = Store()
        self.queue: WorkQueue[Key] = WorkQueue()
        self.health = Health()
        configuration = kubernetes.client.Configuration(host=server.url)
        configuration.retries = False
        client = kubernetes.client.ApiClient(configuration)
        self.jobs = ForeignJobs(Cluster(client), self.store, self.queue, self.health.pulse, QUICK)

    @contextmanager
    def on(self) -> Iterator[None]:
        self.jobs.start()
        try:
            yield
        finally:
            self.jobs.stop()
            self.server.cut()
            self.jobs.join(PATIENCE)

    def wait(self, namespace: str, name: str, upstream: Manifest) -> Key:
        self.store.put("DbtRun", waiting_run(namespace, name, upstream))
        return Key("DbtRun", namespace, name)

    def wait_no_more(self, key: Key, upstream: Manifest) -> None:
        over = waiting_run(key.namespace, key.name, upstream, version=2)
        self.store.put("DbtRun", over | {"status": DONE})

    def woken(self) -> Key | None:
        """Who is woken next, which is waited for."""
        eventually(lambda: len(self.queue))
        key = self.queue.get()
        assert key is not None
        self.queue.done(key)
        return key

    def count(self, word: str) -> int:
        return len([each for each in self.server.requests if word in each])

    def watches(self, number: int) -> bool:
        """Whether so many watches have begun."""
        return self.count("watch=true") >= number


def test_a_job_wakes_who_waits_for_it_by_its_name_or_its_labels(server: FakeAPIServer) -> None:
    watching = Watching(server)
    named = watching.wait("a", "by-name", BY_NAME)
    server.put("jobs", "a", "another")
    server.put("jobs", "a", "load")
    with watching.on():
        assert watching.woken() == named, "it was there before"
        eventually(lambda: watching.watches(1))
        labelled = watching.wait("a", "by-labels", BY_LABELS)
        server.put("jobs", "a", "unlike", {"app": "another"})
        server.put("jobs", "a", "some", {"app": "load"})
        assert watching.woken() == labelled
        server.put("jobs", "a", "load")
        assert watching.woken() == named, "it has changed"
    assert len(watching.queue) == 0


def test_metadata_is_all_that_is_asked_for(server: FakeAPIServer) -> None:
    watching = Watching(server)
    watching.wait("a", "x", BY_NAME)
    with watching.on():
        eventually(lambda: watching.watches(1))
    path = "/apis/batch/v1/namespaces/a/jobs"
    partial = "application/json;as={};g=meta.k8s.io;v=v1"
    assert set(server.accepted) == {
        (path, partial.format("PartialObjectMetadataList")),
        (path, partial.format("PartialObjectMetadata")),
    }
    assert "timeoutSeconds=60" in "".join(server.requests)


def test_it_is_there_only_while_somebody_waits(server: FakeAPIServer) -> None:
    watching = Watching(server)
    with structlog.testing.capture_logs() as logs, watching.on():
        watching.store.put("DbtRun", waiting_run("b", "x", {"schedule": {"name": "raw"}}))
        key = watching.wait("a", "x", BY_NAME)
        eventually(lambda: watching.watches(1))
        assert watching.jobs.watched == {"a"}, "in b nobody waits for a Job"
        watching.wait_no_more(key, BY_NAME)
        server.put("jobs", "a", "any")  # else it ends with the minute
        eventually(lambda: watching.jobs.watched == set())
        before = len(server.requests)
        watching.wait("a", "y", BY_NAME)
        server.put("jobs", "a", "load")
        assert watching.woken() == Key("DbtRun", "a", "y")
        assert len(server.requests) > before
    words = [each["event"] for each in logs]
    assert words[:3] == [
        "watches foreign Jobs",
        "watches foreign Jobs no more",
        "watches foreign Jobs",
    ]
    assert all("namespaces/a/jobs" in each for each in server.requests)


def test_what_happens_between_two_watches_is_not_missed(server: FakeAPIServer) -> None:
    watching = Watching(server)
    key = watching.wait("a", "x", BY_NAME)
    with watching.on():
        eventually(lambda: watching.watches(1))
        server.away = True
        server.put("jobs", "a", "load")
        server.away = False
        assert watching.woken() == key


def test_a_list_wakes_nobody_because_of_what_is_known(server: FakeAPIServer) -> None:
    watching = Watching(server)
    key = watching.wait("a", "x", BY_NAME)
    server.put("jobs", "a", "load")
    with watching.on():
        assert watching.woken() == key
        eventually(lambda: watching.watches(1))
        server.cut()
        eventually(lambda: watching.watches(2))
    assert len(watching.queue) == 0


def test_a_watch_that_begins_too_early_lists_anew(server: FakeAPIServer) -> None:
    watching = Watching(server)
    key = watching.wait("a", "x", BY_NAME)
    server.expired = 3
    with structlog.testing.capture_logs() as logs, watching.on():
        eventually(lambda: watching.watches(4))
        server.put("jobs", "a", "load")
        assert watching.woken() == key
    said = [each for each in logs if each["event"] == "cannot watch foreign Jobs"]
    assert [each["error"] for each in said[:3]] == ["the watch is refused: Expired"] * 3
    assert [each["seconds"] for each in said[:3]] == [0.02, 0.04, 0.04], "it tries less often"


def test_a_namespace_that_is_refused_holds_up_no_other(server: FakeAPIServer) -> None:
    watching = Watching(server)
    refused = watching.wait("b", "x", BY_NAME)
    key = watching.wait("a", "x", BY_NAME)
    server.refused.add("b")
    server.put("jobs", "b", "load")
    with structlog.testing.capture_logs() as logs, watching.on():
        eventually(lambda: [each for each in logs if "403" in each.get("error", "")])
        server.put("jobs", "a", "load")
        assert watching.woken() == key
        server.refused.clear()
        assert watching.woken() == refused


def test_what_cannot_be_made_out_stops_nothing(server: FakeAPIServer) -> None:
    watching = Watching(server)
    key = watching.wait("a", "x", BY_NAME)
    take, broken = watching.jobs._wake, [True]

    def wake(metadata: Manifest) -> None:
        if broken.pop() if broken else False:
            raise ValueError("no such thing")
        take(metadata)

    watching.jobs._wake = wake  # type: ignore[method-assign]
    server.put("jobs", "a", "load")
    with structlog.testing.capture_logs() as logs, watching.on():
        assert watching.woken() == key
    assert [each for each in logs if each.get("exc_info")]


class Chatterbox:
    """An API server that does not end a watch, and tells of something else for ever."""

    def __init__(self, now: list[float]) -> None:
        self.now = now
        self.lists = 0
        self.told = 0

    def list_job_metadata(self, _namespace: str) -> Iterator[tuple[list[Manifest], str]]:
        self.lists += 1
        yield [], "1"

    def watch_job_metadata(
        self, _namespace: str, _version: str, _seconds: int
    ) -> Generator[tuple[str, Manifest], None, None]:
        for _ in itertools.count():
            self.told += 1
            self.now[0] += 7
            yield "BOOKMARK", foreign_job("another")


def test_a_watch_that_is_not_ended_ends() -> None:
    now, store, health = [0.0], Store(), Health()
    store.put("DbtRun", waiting_run("a", "x", BY_NAME))
    server = Chatterbox(now)
    pace = Pace(glance=0.02, rest=0.02, clock=lambda: now[0])
    jobs = ForeignJobs(server, store, WorkQueue[Key](), health.pulse, pace)
    jobs.start()
    eventually(lambda: server.lists >= 3)
    jobs.stop()
    jobs.join(PATIENCE)
    assert server.told <= 9 * server.lists
    assert jobs.watched == set()


def test_threads_that_hang_are_named(server: FakeAPIServer) -> None:
    now = [0.0]
    watching = Watching(server)
    watching.health = Health(lambda: now[0])
    watching.jobs = ForeignJobs(
        watching.jobs._jobs, watching.store, watching.queue, watching.health.pulse, QUICK
    )
    watching.wait("a", "x", BY_NAME)
    with watching.on():
        eventually(lambda: watching.watches(1))
        now[0] = 301.0
        eventually(
            lambda: (
                watching.health.hangs() == ["watch of the Jobs in a has been at a watch for 301 s"]
            )
        )
    assert watching.health.hangs() == []
