"""The supervised watches: kopf itself, against an API server of ours."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import kopf
import pytest
import structlog

from dbt_operator.cluster.store import Store
from dbt_operator.common.keys import Key
from dbt_operator.common.workqueue import WorkQueue
from dbt_operator.process.health import Health
from dbt_operator.watching import handlers, watches
from dbt_operator.watching.watches import (
    FIRST_DELAY,
    LAST_DELAY,
    RUNS_WELL,
    Conduct,
    Watch,
    delay_after,
)
from tests.support.fake_api_server import FakeAPIServer
from tests.support.kube import PATIENCE
from tests.support.waiting import eventually


@pytest.fixture
def server() -> Iterator[FakeAPIServer]:
    with FakeAPIServer().running() as server:
        yield server


def impatient(settings: kopf.OperatorSettings) -> None:
    """kopf as we run it, but what takes it minutes takes moments."""
    handlers.configure(settings)
    settings.networking.error_backoffs = (0.02, 0.02)
    settings.watching.reconnect_backoff = 0.02
    # When a login has expired, kopf closes the connections of requests whose refusal is being read,
    # and the rest of that never comes.
    settings.watching.inactivity_timeout = 2


class Watching:
    """A store and a queue, fed by watches."""

    def __init__(self, server: FakeAPIServer, token: str = "some-token", **options: Any) -> None:  # noqa: S107
        self.store = Store()
        self.queue: WorkQueue[Key] = WorkQueue()
        self.health = Health()
        self.token = token
        self._server = server
        self._options = {"configure": impatient, "connect": self._connect, **options}

    def _connect(self, **_: Any) -> kopf.ConnectionInfo:
        return kopf.ConnectionInfo(server=self._server.url, token=self.token)

    def watch(self, namespace: str | None) -> Watch:
        pulse = self.health.pulse(f"watch of {namespace}", 60)
        return Watch(namespace, self.store, self.queue, pulse, Conduct(**self._options))

    @contextmanager
    def on(self, *namespaces: str | None) -> Iterator[dict[str | None, Watch]]:
        found = {namespace: self.watch(namespace) for namespace in namespaces}
        for watch in found.values():
            self.health.ready_once(watch.say_missing)
            watch.start()
        try:
            yield found
        finally:
            for watch in found.values():
                watch.stop()
            for watch in found.values():
                watch.join(PATIENCE)

    def knows(self, namespace: str, name: str) -> bool:
        return self.store.get("DbtRun", namespace, name) is not None


def test_watches_feed_the_store_and_the_queue_and_say_when_they_have_listed(
    server: FakeAPIServer,
) -> None:
    server.put("dbtruns", "a", "old")
    watching = Watching(server)
    with watching.on(None):
        eventually(lambda: watching.knows("a", "old"))
        eventually(lambda: watching.health.missing() == [])
        server.put("dbtruns", "b", "new")
        eventually(lambda: watching.knows("b", "new"))
    assert {watching.queue.get(), watching.queue.get()} == {
        Key("DbtRun", "a", "old"),
        Key("DbtRun", "b", "new"),
    }
    assert all("limit=200" in r for r in server.requests if "dbtruns" in r and "watch" not in r)


def test_losing_rbac_on_one_namespace_does_not_stop_the_others(server: FakeAPIServer) -> None:
    watching = Watching(server)
    with structlog.testing.capture_logs() as logs, watching.on("a", "b") as found:
        eventually(lambda: watching.health.missing() == [])
        server.refused.add("b")
        server.cut()
        eventually(lambda: [each for each in logs if each["event"].startswith("the watch ended")])
        eventually(lambda: found["b"].sight.refused == watches.WATCHED)
        server.put("dbtruns", "a", "meanwhile")
        server.put("dbtruns", "b", "unseen")
        eventually(lambda: watching.knows("a", "meanwhile"))
        assert not watching.knows("b", "unseen")
        server.refused.clear()
        eventually(lambda: watching.knows("b", "unseen"))
        server.put("dbtruns", "b", "again")
        eventually(lambda: watching.knows("b", "again"))
        eventually(lambda: not found["b"].sight.refused)
    ends = [each for each in logs if each["event"].startswith("the watch ended")]
    assert {each["where"] for each in ends} == {"namespace b"}
    assert all("Forbidden" in each["cause"] for each in ends)
    refusals = [each["what"] for each in logs if each["event"] == "may not see"]
    assert sorted(refusals) == sorted(watches.WATCHED), "each said once, not at each try"
    assert sorted(each["what"] for each in logs if each["event"] == "sees again") == sorted(
        watches.WATCHED
    )


def test_a_namespace_that_is_refused_from_the_start_holds_up_nobody(server: FakeAPIServer) -> None:
    server.refused.add("b")
    server.put("dbtruns", "a", "x")
    watching = Watching(server)
    with watching.on("a", "b") as found:
        eventually(lambda: watching.knows("a", "x"))
        eventually(lambda: watching.health.missing() == [])
        assert found["b"].sight.refused == watches.WATCHED


def test_api_server_away_for_10_minutes(server: FakeAPIServer) -> None:
    """By a clock that goes on only while the supervisor waits; it takes kopf itself no time to give
    up here.
    """
    now = [0.0]
    tries: list[float] = []

    def wait(seconds: float) -> None:
        tries.append(seconds)
        now[0] += seconds
        if now[0] >= 600:
            server.away = False

    watching = Watching(server, clock=lambda: now[0], wait=wait)
    server.put("dbtruns", "a", "before")
    server.away = True
    with watching.on("a") as found:
        eventually(lambda: watching.knows("a", "before"))
        eventually(lambda: watching.health.missing() == [])
        assert sum(tries) <= 600 + LAST_DELAY
        assert tries == sorted(tries)
        assert tries[-1] == LAST_DELAY
        server.away = True
        server.put("dbtruns", "a", "meanwhile")
        server.away = False
        eventually(lambda: watching.knows("a", "meanwhile"))
        now[0] += RUNS_WELL
        eventually(lambda: found["a"].ran_well)
        before = len(tries)
        server.refused.add("a")
        server.cut()
        eventually(lambda: len(tries) > before)
        assert tries[before] == FIRST_DELAY, "what was long ago does not count"
    assert watching.health.hangs() == []


def test_kinds_that_are_not_known_yet_are_found_later(
    server: FakeAPIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watches, "_SERVED_WITHIN", 0.3)
    server.unknown.add("dbt-operator.dev")
    server.put("dbtruns", "a", "x")
    watching = Watching(server)
    with structlog.testing.capture_logs() as logs, watching.on("a"):
        eventually(lambda: [each for each in logs if "CRDs" in each.get("cause", "")])
        assert watching.health.missing() == ["namespace a has not been listed yet"]
        server.unknown.clear()
        eventually(lambda: watching.knows("a", "x"))
        eventually(lambda: watching.health.missing() == [])


def test_a_login_that_is_not_accepted_is_not_tried_in_a_loop(server: FakeAPIServer) -> None:
    server.token = "another"  # noqa: S105
    server.put("dbtruns", "a", "x")
    watching = Watching(server)
    with structlog.testing.capture_logs() as logs, watching.on("a"):
        eventually(lambda: [each for each in logs if "LoginError" in each.get("cause", "")])
        assert len(server.requests) < 10
        watching.token = server.token
        eventually(lambda: watching.knows("a", "x"))


def test_a_login_that_has_expired_is_renewed(server: FakeAPIServer) -> None:
    watching = Watching(server)
    with structlog.testing.capture_logs() as logs, watching.on("a"):
        eventually(lambda: watching.health.missing() == [])
        server.token = watching.token = "the-next"  # noqa: S105
        server.put("dbtruns", "a", "x")
        server.cut()
        server.put("dbtruns", "a", "y")
        eventually(lambda: watching.knows("a", "y"))
    assert [each for each in logs if each["event"].startswith("the watch ended")] == []


def test_a_kopf_that_has_fallen_silent_is_started_anew(server: FakeAPIServer) -> None:
    now = [0.0]
    watching = Watching(server, clock=lambda: now[0])
    with structlog.testing.capture_logs() as logs, watching.on("a"):
        eventually(lambda: watching.health.missing() == [])
        now[0] = 601.0
        eventually(lambda: [each for each in logs if "any more" in each.get("cause", "")])
        server.put("dbtruns", "a", "x")
        eventually(lambda: watching.knows("a", "x"))


def test_an_event_loop_that_stands_still_is_no_sign_of_life(server: FakeAPIServer) -> None:
    now, go_on = [0.0], threading.Event()
    watching = Watching(server)
    watching.health = Health(lambda: now[0])
    let_in = watching._connect

    def stuck(**_: Any) -> kopf.ConnectionInfo:
        assert go_on.wait(PATIENCE)
        return let_in()

    watching._options["connect"] = stuck
    with watching.on("a", "b"):
        now[0] = 61.0
        eventually(lambda: len(watching.health.hangs()) == 2)
        go_on.set()
        eventually(lambda: watching.health.hangs() == [])


def test_delays_grow_until_the_watch_runs_well() -> None:
    delays = [0.0]
    for _ in range(8):
        delays.append(delay_after(delays[-1], ran_well=False))
    assert delays[1:] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert delay_after(LAST_DELAY, ran_well=True) == FIRST_DELAY
