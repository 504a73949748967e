"""How far a run is: when it is looked at, what status says of it, and that nothing ever hangs on
it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import kubernetes
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbt_operator.api.kinds.run import DbtRunStatus, NodeCounts, RunProgress
from dbt_operator.api.status import Phase
from dbt_operator.cluster.client import Cluster
from dbt_operator.cluster.errors import ClusterError, ConflictError, InvalidError, NotFoundError
from dbt_operator.planning.attempt.pod_facts import ContainerFacts, PodFacts
from dbt_operator.planning.run.planner import plan
from dbt_operator.planning.run.progress import FIRST, LONGEST, can_be_seen, looks, shown
from dbt_protocol.digests import LINE_BYTES, LINES
from dbt_protocol.summaries import Progress
from tests.support.builders import (
    ended,
    ended_pod,
    ended_status,
    failed_summary,
    later,
    project,
    run,
    running_status,
    stamp,
    summary,
    target,
)
from tests.support.run_facts import admitted, job, replace, status
from tests.support.run_world import RUN, World

HALFWAY = Progress(3, 12, ("model.shop.orders",))
STARTED = 5  # seconds after NOW, by running_status

# When


@pytest.mark.parametrize(
    ("elapsed", "number", "wait"),
    [
        (-10, 0, 13),  # the node's clock is ahead
        (0, 0, 3),
        (2.5, 0, 0.5),
        (3, 1, 3),
        (6, 2, 3),
        (9, 3, 4.5),
        (13.5, 4, 6.75),
        (120, 9, 33.77),
    ],
)
def test_looks_become_rarer(elapsed: float, number: int, wait: float) -> None:
    assert looks(elapsed)[0] == number
    assert looks(elapsed)[1] == pytest.approx(wait, abs=0.01)


@pytest.mark.parametrize(
    ("elapsed", "least", "most"),
    [(10, 2, 3), (60, 6, 8), (600, 10, 20), (3600, 20, 70), (30 * 86400, 43000, 43300)],
)
def test_a_run_is_looked_at_a_bounded_number_of_times(
    elapsed: float, least: int, most: int
) -> None:
    assert least <= looks(elapsed)[0] <= most


@given(st.floats(-100, 1_000_000))
def test_the_next_look_is_soon_and_is_the_next_in_number(elapsed: float) -> None:
    number, wait = looks(elapsed)
    assert 0 < wait <= max(LONGEST, FIRST - elapsed)
    assert looks(elapsed + wait * 0.99)[0] == number
    assert looks(elapsed + wait + 0.001)[0] == number + 1


WORKING = PodFacts(
    uid="pod", name="pod", phase="Running", dbt=ContainerFacts(started_at=stamp(STARTED))
)


@pytest.mark.parametrize(
    ("pod", "cancel", "expected"),
    [
        (WORKING, None, True),
        (WORKING, stamp(), False),
        (None, None, False),
        (replace(WORKING, gone=True), None, False),
        (replace(WORKING, deleting=True), None, False),
        (replace(WORKING, dbt=ContainerFacts()), None, False),
        (replace(WORKING, dbt=ended(0)), None, False),
    ],
)
def test_only_a_living_pod_in_which_dbt_works_is_looked_at(
    pod: PodFacts | None, cancel: str | None, expected: bool
) -> None:
    assert can_be_seen(DbtRunStatus(cancel_requested_at=cancel), pod) is expected


# What


def test_what_is_not_known_changes_nothing() -> None:
    assert shown(None) == {}


def test_status_tells_what_is_running_and_the_column_of_it() -> None:
    assert shown(HALFWAY) == {
        "progress": RunProgress(done=3, total=12, running=["model.shop.orders"]),
        "nodes": NodeCounts(total=12, done="3/12"),
    }


def running(progress: Progress | None = None, seconds: float = STARTED + 4) -> Any:
    seen = replace(admitted(), job=job(), pod=WORKING, progress=progress)
    return seen, plan(seen, later(seconds))


def test_a_running_run_shows_its_progress_and_asks_for_the_next_look() -> None:
    _, planned = running(HALFWAY)
    assert status(planned).progress == RunProgress(done=3, total=12, running=["model.shop.orders"])
    assert planned.requeue_after == 2  # the look that is due six seconds after dbt's start


@pytest.mark.parametrize(
    "pod", [replace(WORKING, dbt=ended(0, summary()), artifacts=ContainerFacts()), None]
)
def test_once_dbt_has_ended_there_is_nothing_to_look_for(pod: PodFacts | None) -> None:
    seen, planned = running(HALFWAY)
    seen = replace(
        seen, run=seen.run.model_copy(update={"status": planned.status}), pod=pod, progress=None
    )
    after = plan(seen, later(70))
    # But for an end of the upload that never comes, two minutes after dbt's at 65.
    assert after.requeue_after == (115 if pod else None)
    assert status(after).progress == RunProgress(done=3, total=12, running=["model.shop.orders"])


def _goes_on(seen: Any, planned: Any, pod: PodFacts, **spec: Any) -> DbtRunStatus:
    run_ = seen.run.model_copy(
        update={"status": planned.status, "spec": seen.run.spec.model_copy(update=spec)}
    )
    return status(plan(replace(seen, run=run_, pod=pod, progress=None), later(70)))


def test_in_the_end_the_progress_is_gone_and_the_results_stand() -> None:
    seen, planned = running(HALFWAY)
    found = _goes_on(seen, planned, ended_pod(ended(0, summary())))
    assert (found.phase, found.progress) == (Phase.SUCCEEDED, None)
    assert found.nodes is not None
    assert (found.nodes.done, found.nodes.success) == ("28/28", 20)


def test_what_was_seen_last_stands_where_the_result_is_lost() -> None:
    seen, planned = running(HALFWAY)
    found = _goes_on(seen, planned, ended_pod(ended(137, "")))
    assert (found.phase, found.progress) == (Phase.FAILED, None)
    assert found.nodes == NodeCounts(total=12, done="3/12")


def test_between_two_attempts_there_is_no_progress() -> None:
    twice = {"maxAttempts": 2, "reasons": ["ModelError"]}
    seen = replace(admitted(retry=twice), job=job(), pod=WORKING, progress=HALFWAY)
    found = _goes_on(seen, plan(seen, later(9)), ended_pod(ended(1, failed_summary())))
    assert (found.phase, found.progress) == (Phase.BACKING_OFF, None)


# The reconciler


def at_work() -> World:
    """A world in which dbt has just been started."""
    world = World()
    world.settle()
    world.pod(running_status())
    world.now = later(STARTED)
    world.settle()
    return world


def tell(world: World, progress: Progress | str) -> None:
    world.cluster.log_line = progress if isinstance(progress, str) else progress.to_line()


def pass_time(world: World, seconds: float) -> None:
    world.now += timedelta(seconds=seconds)
    world.settle()


def test_progress_moves_while_the_run_runs() -> None:
    world = at_work()
    tell(world, HALFWAY)
    pass_time(world, 3)
    assert world.status["progress"] == {"done": 3, "total": 12, "running": ["model.shop.orders"]}
    assert world.status["nodes"] == {"total": 12, "done": "3/12"}
    tell(world, Progress(11, 12))
    pass_time(world, 3)
    assert world.status["progress"] == {"done": 11, "total": 12, "running": []}
    assert set(world.cluster.logs_read) == {("pod-of-nightly-11111111-1", "artifacts")}
    world.pod(ended_status())
    world.settle()
    assert "progress" not in world.status
    assert world.status["nodes"]["done"] == "28/28"


def test_however_often_it_is_reconciled_it_looks_no_more_often_than_it_may() -> None:
    world = at_work()
    tell(world, HALFWAY)
    for _ in range(100):
        pass_time(world, 0.5)
    assert len(world.cluster.logs_read) == looks(50)[0] == 7


def test_an_hour_of_reconciling_when_asked_to() -> None:
    """As the queue does it: a run that changes all the time is written once a look."""
    world = at_work()
    before, seconds = world.cluster.writes, 0.0
    while seconds < 3600:
        tell(world, Progress(int(seconds), 4000))
        wait = world.reconciler.reconcile(RUN)
        assert wait is not None
        assert wait > 0
        seconds += wait
        world.now = later(STARTED + seconds)
    assert 20 <= world.cluster.writes - before <= 70
    assert len(world.cluster.logs_read) <= 70


def test_a_progress_that_has_not_changed_is_not_written() -> None:
    world = at_work()
    tell(world, HALFWAY)
    pass_time(world, 3)
    before = world.cluster.writes
    for _ in range(10):
        pass_time(world, 60)
    assert world.cluster.writes == before
    assert len(world.cluster.logs_read) > 10


@pytest.mark.parametrize(
    "line", ["", "dbt-operator: waiting for artifacts", HALFWAY.to_line()[:-5]]
)
def test_a_line_that_tells_nothing_changes_nothing(line: str) -> None:
    world = at_work()
    tell(world, HALFWAY)
    pass_time(world, 3)
    tell(world, line)
    pass_time(world, 60)
    assert world.status["progress"]["done"] == 3


@pytest.mark.parametrize("error", [ClusterError, InvalidError, NotFoundError, ConflictError])
def test_a_log_that_cannot_be_read_holds_up_nothing(
    error: type[ClusterError], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = at_work()
    asked: list[str] = []

    def refuse(_namespace: str, pod: str, _container: str) -> str:
        asked.append(pod)
        raise error("kubelet is away")

    monkeypatch.setattr(world.cluster, "last_log_line", refuse)
    for _ in range(20):
        pass_time(world, 0.5)
    assert len(asked) == 3
    assert world.status["phase"] == "Running"
    assert "progress" not in world.status
    world.pod(ended_status())
    world.settle()
    assert world.status["phase"] == "Succeeded"


def test_a_progress_whose_write_was_refused_is_written_by_the_next_reconciliation() -> None:
    world = at_work()
    tell(world, HALFWAY)
    world.now = later(STARTED + 3)
    stored = world.cluster.objects["DbtRun", "nightly"]
    stored["metadata"]["resourceVersion"] = (
        world.cluster._next_version()
    )  # somebody else was quicker
    assert world.reconciler.reconcile(RUN) == 0.0
    world.settle()
    assert world.status["progress"]["done"] == 3
    assert len(world.cluster.logs_read) == 1


def test_after_a_restart_a_running_run_is_looked_at_once_and_goes_on() -> None:
    world = at_work()
    pass_time(world, 3)
    world.restart()
    tell(world, HALFWAY)
    for _ in range(5):
        pass_time(world, 0.1)
    assert world.status["progress"]["done"] == 3
    assert len(world.cluster.logs_read) == 2


def test_the_log_of_a_run_that_is_being_cancelled_is_not_read() -> None:
    world = at_work()
    stored = world.cluster.objects["DbtRun", "nightly"]
    stored["spec"]["cancel"] = True
    stored["metadata"]["resourceVersion"] = world.cluster._next_version()
    world.store.put("DbtRun", stored)
    for _ in range(3):
        pass_time(world, 60)
    assert world.status["message"] == "being cancelled"
    assert world.cluster.logs_read == []


def test_what_is_known_of_a_run_goes_with_it() -> None:
    world = at_work()
    tell(world, HALFWAY)
    pass_time(world, 3)
    assert world.reconciler._runs._progress._last
    world.pod(ended_status())
    world.settle()
    world.settle()
    assert not world.reconciler._runs._progress._last
    gone = World(run(), project(), target())
    gone.reconciler._runs._progress._last["analytics", "nightly"] = None  # type: ignore[assignment]
    gone.store.drop("DbtRun", gone.cluster.objects["DbtRun", "nightly"])
    gone.settle()
    assert not gone.reconciler._runs._progress._last


# The adapter, with the real client and an API server of a few lines


@contextmanager
def api_server(code: int, body: bytes) -> Iterator[tuple[Cluster, list[str]]]:
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        configuration = kubernetes.client.Configuration(
            host=f"http://127.0.0.1:{server.server_port}"
        )
        configuration.retries = 0
        with kubernetes.client.ApiClient(configuration) as client:
            yield Cluster(client), asked
        server.shutdown()


@pytest.mark.parametrize("body", [b"", b"one line\n", "größer".encode(), b"\xff\xfe"])
def test_one_line_of_bounded_size_is_asked_for(body: bytes) -> None:
    with api_server(200, body) as (cluster, asked):
        assert cluster.last_log_line("analytics", "pod", "artifacts") == body.decode(
            errors="replace"
        ).rstrip("\n")
    address = urlsplit(asked[0])
    assert address.path == "/api/v1/namespaces/analytics/pods/pod/log"
    query = parse_qs(address.query)
    assert (query["container"], query["tailLines"], query["limitBytes"]) == (
        ["artifacts"],
        ["1"],
        ["2048"],
    )


@pytest.mark.parametrize("previous", [True, False])
def test_enough_lines_for_a_digest_are_asked_for(*, previous: bool) -> None:
    with api_server(200, "one\u2028still one\ntwo\n".encode()) as (cluster, asked):
        lines = cluster.last_log_lines("analytics", "pod", "artifacts", previous=previous)
    assert lines == ["one\u2028still one", "two", ""]
    query = parse_qs(urlsplit(asked[0]).query)
    assert int(query["tailLines"][0]) > LINES
    assert int(query["limitBytes"][0]) > LINES * LINE_BYTES
    assert query.get("previous") == (["true"] if previous else None)


@pytest.mark.parametrize(
    ("code", "error"), [(400, InvalidError), (403, InvalidError), (404, NotFoundError)]
)
def test_a_refusal_is_one_of_ours(code: int, error: type[ClusterError]) -> None:
    refusal = b'{"kind":"Status","message":"no such container"}'
    with api_server(code, refusal) as (cluster, _), pytest.raises(error, match="no such container"):
        cluster.last_log_line("analytics", "pod", "artifacts")
