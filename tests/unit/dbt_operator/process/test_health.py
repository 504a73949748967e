from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
import structlog

from dbt_operator.common.keys import Key
from dbt_operator.common.workqueue import WorkQueue
from dbt_operator.process.health import Health, HealthServer
from dbt_operator.process.workers import SLOWEST, Workers
from tests.support.kube import PATIENCE
from tests.support.waiting import eventually


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Asked:
    """Health as the kubelet sees it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.health = Health(self.clock)
        self.server = HealthServer(self.health, 0)

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.server.port}{path}", timeout=PATIENCE
            ) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()


@pytest.fixture
def asked() -> Iterator[Asked]:
    asked = Asked()
    asked.server.start()
    yield asked
    asked.server.stop()


def test_what_hangs_is_named(asked: Asked) -> None:
    election, watch = asked.health.pulse("election", 60), asked.health.pulse("watch of a", 60)
    election.beat("the Lease")
    asked.clock.now = 50
    watch.beat("one turn")
    assert asked.get("/healthz") == (200, "ok\n")
    asked.clock.now = 61
    assert asked.get("/healthz") == (503, "1 thing is wrong: see the operator's log\n")
    assert asked.health.hangs() == ["election has been at the Lease for 61 s"]
    asked.clock.now = 1000
    assert asked.get("/healthz") == (503, "2 things are wrong: see the operator's log\n")
    election.beat("the Lease")
    watch.rest()
    asked.clock.now = 1050
    assert asked.get("/healthz") == (200, "ok\n"), "who rests does not hang"


def test_ready_is_who_was_ready_once(asked: Asked) -> None:
    missing = ["namespace a has not been listed yet"]
    asked.health.ready_once(lambda: "".join(missing))
    assert asked.get("/readyz") == (503, "1 thing is wrong: see the operator's log\n")
    listed = missing.pop()
    assert asked.get("/readyz") == (200, "ok\n")
    missing.append(listed)
    assert asked.get("/readyz") == (200, "ok\n")


def test_what_is_wrong_is_logged_once_and_told_to_nobody_else(asked: Asked) -> None:
    """Whoever reaches the port may ask, and names of namespaces and objects are a tenant's own."""
    pulse = asked.health.pulse("worker-1", 60)
    pulse.beat("DbtRun finance/secret-takeover")
    with structlog.testing.capture_logs() as logged:
        for now in (61, 62, 63):
            asked.clock.now = now
            assert "finance" not in asked.get("/healthz")[1]
        pulse.beat("DbtRun finance/other")
        asked.clock.now = 200
        asked.get("/healthz")
    assert [each["what"] for each in logged] == [
        ["worker-1 has been at DbtRun finance/secret-takeover for 61 s"],
        ["worker-1 has been at DbtRun finance/other for 137 s"],
    ]


def test_nothing_else_is_served(asked: Asked) -> None:
    assert asked.get("/") == (404, "not found\n")


class Blocking:
    """A reconciliation that takes as long as the test wants it to."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.seen: list[Key] = []

    def __call__(self, key: Key) -> float | None:
        self.seen.append(key)
        self.begun.set()
        assert self.go_on.wait(PATIENCE)
        return None


KEY, OTHER = Key("DbtRun", "a", "x"), Key("DbtRun", "a", "y")


def test_a_reconciliation_that_is_slow_is_alive_and_one_that_is_stuck_is_not(asked: Asked) -> None:
    queue: WorkQueue[Key] = WorkQueue()
    reconcile = Blocking()
    workers = Workers(queue, reconcile, asked.health, lambda: True, 2)
    workers.start()
    queue.add(KEY)
    assert reconcile.begun.wait(PATIENCE)
    asked.clock.now = SLOWEST
    assert asked.get("/healthz") == (200, "ok\n")
    asked.clock.now = SLOWEST + 1
    assert asked.get("/healthz")[0] == 503
    (text,) = asked.health.hangs()
    assert text.startswith("worker-")
    assert text.endswith("has been at DbtRun a/x for 151 s")
    reconcile.go_on.set()
    eventually(lambda: asked.health.hangs() == [])
    assert workers.stop(20)


def test_workers_finish_what_they_are_at_and_take_nothing_more() -> None:
    queue: WorkQueue[Key] = WorkQueue()
    reconcile = Blocking()
    workers = Workers(queue, reconcile, Health(), lambda: True, 1)
    workers.start()
    queue.add(KEY)
    assert reconcile.begun.wait(PATIENCE)
    queue.add(OTHER)
    assert not workers.stop(0), "it is at work still"
    reconcile.go_on.set()
    assert workers.stop(20)
    assert reconcile.seen == [KEY]


def test_nobody_works_who_does_not_lead_any_more() -> None:
    queue: WorkQueue[Key] = WorkQueue()
    seen: list[Key] = []
    asked = threading.Event()

    def leads() -> bool:
        asked.set()
        return False

    workers = Workers(queue, seen.append, Health(), leads, 1)
    workers.start()
    queue.add(KEY)
    assert asked.wait(PATIENCE)
    assert workers.stop(20)
    assert seen == []


def test_one_object_does_not_stop_the_others() -> None:
    queue: WorkQueue[Key] = WorkQueue()
    seen: list[Key] = []

    def reconcile(key: Key) -> None:
        if key == KEY:
            raise RuntimeError("it is broken")
        seen.append(key)

    workers = Workers(queue, reconcile, Health(), lambda: True, 1)
    queue.add(KEY)
    queue.add(OTHER)
    workers.start()
    eventually(lambda: seen == [OTHER])
    assert workers.stop(20)
