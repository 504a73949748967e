"""What the process tells of itself, and how it is asked."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import structlog
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from dbt_notifier.messages import About, Answer, Event, Message, Outcome
from dbt_operator.cluster.api_server import ApiServer, Request
from dbt_operator.cluster.errors import ClusterError
from dbt_operator.common.keys import Key
from dbt_operator.metrics.counted_sender import CountedSender
from dbt_operator.metrics.text_format import write_page
from dbt_operator.process.health import Health, HealthServer, Page
from tests.support.kube import PATIENCE
from tests.support.metrics_pages import Shown, show_everything

KEY = Key("DbtRun", "analytics", "x")


@contextmanager
def serving(metrics: Page | None) -> Iterator[str]:
    server = HealthServer(Health(), 0, metrics)
    server.start()
    try:
        yield f"http://127.0.0.1:{server.port}/metrics"
    finally:
        server.stop()


def get(url: str, accept: str = "") -> tuple[int, str, str]:
    request = urllib.request.Request(url, headers={"Accept": accept})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Content-Type"], error.read().decode()


def test_prometheus_gets_the_format_that_it_asks_for() -> None:
    with serving(show_everything().metrics.render) as url:
        status, kind, page = get(url)
        assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
        assert "# TYPE dbt_operator_runs_ended_total counter" in page
        of_prometheus = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
        assert get(url, of_prometheus)[1] == kind
        status, kind, page = get(f"{url}?x=y", "application/openmetrics-text;version=1.0.0")
        assert (status, kind.partition(";")[0]) == (200, "application/openmetrics-text")
        assert page.endswith("# EOF\n")
        assert "_created" not in page


def test_the_text_is_what_the_client_would_write() -> None:
    gauge = GaugeMetricFamily("odd", "Has \\ and\nline.", labels=("b", "a"))
    for value in (0, 1, -1.5, 1e9, 1767322801.0, 12345678.9, float("inf"), float("nan")):
        gauge.add_metric(('\\ \n " é', str(value)), value)
    registry = CollectorRegistry()

    class Odd(Collector):
        def collect(self) -> list[Metric]:
            return [gauge]

    registry.register(Odd())
    assert write_page([gauge]) == generate_latest(registry)
    whole = show_everything().metrics._registry
    assert write_page(whole.collect()) == generate_latest(whole)


def test_a_page_that_cannot_be_made_is_an_error_that_is_logged() -> None:
    def fail(_: str) -> tuple[str, bytes]:
        raise ValueError("analytics/secret-project")

    with structlog.testing.capture_logs() as logs, serving(fail) as url:
        status, _, page = get(url)
    assert (status, page) == (500, "see the operator's log\n")
    assert [each["event"] for each in logs] == ["cannot show the metrics"]


def test_a_server_without_metrics_has_none() -> None:
    with serving(None) as url:
        assert get(url)[0] == 404


def test_reconciliations_are_measured() -> None:
    shown = Shown()
    times = iter([1.0, 1.3, 2.0, 2.0])
    answers: Iterator[float | None] = iter([7.0])

    def reconcile(_: Key) -> float | None:
        if (answer := next(answers, None)) is None:
            raise ClusterError("away")
        return answer

    measured = shown.metrics.measure(reconcile, lambda: next(times))
    assert measured(KEY) == 7.0
    with pytest.raises(ClusterError):
        measured(KEY)
    assert shown.series("reconcile_errors_total") == {"DbtRun": 1}
    samples = shown.families()["dbt_operator_reconcile_duration_seconds"].samples
    found = {each.name.rpartition("_")[2]: each.value for each in samples}
    assert (found["count"], round(found["sum"], 3)) == (2, 0.3)
    assert {each.value for each in samples if each.labels.get("le") == "0.25"} == {1}


def test_the_work_queue_is_counted() -> None:
    shown = Shown()
    shown.queue.add(KEY)
    shown.queue.add(Key("DbtRun", "analytics", "y"))
    shown.queue.add_after(Key("DbtRun", "analytics", "z"), 60)
    shown.queue.get()
    shown.queue.retry(KEY)
    assert shown.series("workqueue_keys") == {"ready": 1, "working": 1, "delayed": 2, "failing": 1}


class Client:
    """Kubernetes' client, with an answer of the test's own."""

    class configuration:  # noqa: N801 - as it is called there
        host = "http://x"

    def __init__(self, status: int | None) -> None:
        self.status = status
        self.headers: dict[str, str] = {}

    def update_params_for_auth(self, *_: object) -> None:
        pass

    def call_api(self, *_: object, **__: object) -> Client:
        if self.status is None:
            raise OSError("no route to host")
        return self

    def read(self) -> bytes:
        return b"{}"

    @property
    def reason(self) -> str:
        return "x"


@pytest.mark.parametrize(
    ("status", "code"), [(200, "200"), (409, "409"), (500, "500"), (None, "none")]
)
def test_requests_are_counted_by_their_answers(status: int | None, code: str) -> None:
    shown = Shown()
    server = ApiServer(Client(status), count=shown.metrics.count_request)
    if status == 200:
        server.send(Request("GET", "x"))
    else:
        with pytest.raises(ClusterError):
            server.send(Request("GET", "x"))
    assert shown.series("api_requests_total") == {f"{code}/GET": 1}


def test_every_outcome_of_a_channel_is_known_before_the_first_message() -> None:
    shown = Shown(channels=["team"])
    none = {f"team/{outcome}": 0.0 for outcome in Outcome}
    assert shown.series("notifications_total") == none

    class Sender:
        def send(self, _channel: str, _message: Message) -> Answer:
            return Answer(Outcome.REFUSED, "no")

    sender = CountedSender(Sender(), shown.metrics.count_message)
    message = Message("k", "s", Event.FAILED, About("DbtRun", "a", "x", "u"), "", "")
    assert sender.send("team", message) == Answer(Outcome.REFUSED, "no")
    assert shown.series("notifications_total") == none | {"team/Refused": 1}
