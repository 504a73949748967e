"""What happens to a run from outside, on a real node, and how it must end.

All runs are started together. Then, while hardly anything but waiting goes on, some are
interrupted, because how long a query outlives the signal is measured; last comes what makes runs
begin a second attempt.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial

import pytest

from tests.support import faults, product
from tests.support.faults import (
    CANCELLED,
    DELETED,
    DOOMED,
    DRAINED,
    EDITED,
    EVERY,
    EVICTED,
    GONE_ENDPOINT,
    LOST_WITH_NAMESPACE,
    NAMESPACE,
    STORE_BACK,
    STORE_GONE,
    STORE_GONE_FAILS,
    STUBBORN,
    TIMED_OUT,
    TIMEOUTS,
    TOGETHER,
    WAREHOUSE_RESTARTED,
)
from tests.support.kube import PATIENCE, Manifest, apply, get, items, kubectl, namespace, wait_for
from tests.support.scenarios import (
    Scenario,
    create_user,
    location,
    logs,
    manifests,
    restart,
    secrets,
)

# On a machine that does nothing else a query outlives the signal by less than two seconds. Left
# alone it goes on until dbt is killed, which is a minute later.
SOON = timedelta(seconds=20)
STAY = [each for each in EVERY if each not in (DELETED, LOST_WITH_NAMESPACE)]
INTERRUPTED = (CANCELLED, TIMED_OUT, DELETED, EVICTED, DRAINED, LOST_WITH_NAMESPACE)
TWICE = (EVICTED, DRAINED, EDITED, WAREHOUSE_RESTARTED)


def for_each(scenarios: Iterable[Scenario]) -> pytest.MarkDecorator:
    """A test for each of some scenarios, under its name."""
    return pytest.mark.parametrize("scenario", scenarios, ids=lambda scenario: scenario.name)


@dataclass
class Course:
    """What was seen while things went their way, and is gone afterwards."""

    images: Mapping[str, str]
    pods: faults.Pods
    closing: ExitStack
    runs: dict[str, Manifest] = field(default_factory=dict)  # as they were while their queries ran
    sessions: dict[str, int] = field(default_factory=dict)  # processes in the warehouse
    logs: dict[str, faults.Log] = field(default_factory=dict)

    def attend(self, scenario: Scenario, where: str = NAMESPACE) -> None:
        """Write down what is there once the run's query is being worked on."""
        name = scenario.name
        self.sessions[name] = wait_for(f"the query of {name}", lambda: faults.session(scenario))
        self._note(scenario, where)

    def attend_timed(self, scenario: Scenario) -> None:
        """Start a run whose time is limited, and write down what is there once its query is being
        worked on: with more time, if a busy machine has not got there within the limit.
        """
        for timeout in TIMEOUTS:
            limited = replace(scenario, run=scenario.run | {"timeout": timeout})
            restart(limited, self.images, NAMESPACE)
            found = wait_for(f"the query of {scenario.name}", lambda: session_or_end(scenario))
            if isinstance(found, int):
                self.sessions[scenario.name] = found
                self._note(scenario, NAMESPACE)
                return
        raise AssertionError(f"dbt has not got to its query in {TIMEOUTS[-1]}")

    def _note(self, scenario: Scenario, where: str) -> None:
        name = scenario.name
        self.logs[name] = faults.Log(scenario, where)
        self.closing.callback(self.logs[name].stop)
        self.runs[name] = get("dbtrun", name, where)


@pytest.fixture(scope="module")
def started(installed: None, images: Mapping[str, str]) -> Iterator[Course]:  # noqa: ARG001 -- it has to be there first
    """Runs that have got to their queries, and a node that has nothing else to do."""
    kubectl("delete", "namespace", NAMESPACE, DOOMED, "--ignore-not-found", "--wait")
    create_user()
    faults.drop_schemas()
    apply(namespace(NAMESPACE), namespace(DOOMED))
    apply(*faults.own_services(images), *secrets(NAMESPACE), *secrets(DOOMED))
    for name in ("postgres", "minio"):
        patience = f"--timeout={PATIENCE:g}s"
        kubectl("rollout", "status", f"deployment/{name}", patience, namespace=NAMESPACE)
    create_user(NAMESPACE)
    with product.bucket(NAMESPACE) as client:
        client.make_bucket(product.BUCKET)
    with ExitStack() as closing:
        closing.enter_context(faults.logged_disconnections())
        course = Course(images, faults.Pods(), closing)
        closing.callback(course.pods.stop)
        for scenario in TOGETHER:
            apply(*manifests(scenario, images, NAMESPACE))
        apply(*manifests(LOST_WITH_NAMESPACE, images, DOOMED))
        # First, since its end takes a minute.
        wait_for("dbt is busy", lambda: "busy from now on" in logs(STUBBORN.name, "dbt", NAMESPACE))
        cancel(STUBBORN)
        for scenario in (each for each in TOGETHER if each.overlay == "waiting"):
            course.attend(scenario)
        course.attend(LOST_WITH_NAMESPACE, DOOMED)
        for scenario in (STORE_GONE, STORE_GONE_FAILS):
            wait_for(
                f"dbt has ended in {scenario.name}", partial(faults.dbt_has_ended, scenario.name)
            )
        yield course
    kubectl("delete", "namespace", NAMESPACE, DOOMED, "--ignore-not-found", "--wait=false")


@pytest.fixture(scope="module")
def interrupted(started: Course) -> Course:
    """Some have been stopped, each in its way, and a store was away when it was needed."""
    cancel(CANCELLED)
    kubectl("delete", "dbtrun", DELETED.name, "--wait=false", namespace=NAMESPACE)
    for scenario in (CANCELLED, DELETED):
        wait_for(f"{scenario.name} has no pod", partial(has_no_pod, scenario.name))
    faults.stop_store()
    faults.open_gate(STORE_BACK)
    wait_for("dbt has ended", lambda: faults.dbt_has_ended(STORE_BACK.name))
    faults.start_store(started.images)
    started.attend_timed(TIMED_OUT)
    product.wait_until_finished(TIMED_OUT.name, NAMESPACE)
    return started


@pytest.fixture(scope="module")
def disturbed(interrupted: Course) -> Course:
    """Pods, the warehouse and a namespace have been taken from under some runs."""
    kubectl("delete", "namespace", DOOMED, "--wait=false")
    faults.restart_warehouse()
    edit()
    for scenario in (EDITED, EVICTED):
        faults.evict(scenario.name)
    faults.drain(DRAINED.name)
    for scenario in TWICE:
        wait_for(
            f"the end of an attempt of {scenario.name}",
            partial(faults.first_attempt_is_over, scenario),
        )
        faults.open_gate(scenario)
    return interrupted


def session_or_end(scenario: Scenario) -> int | str | None:
    """The process in the warehouse that waits for a run's gate, or the phase in which the run ended
    before there was one.
    """
    if (found := faults.session(scenario)) is not None:
        return found
    run = get("dbtrun", scenario.name, NAMESPACE)
    return str(run["status"]["phase"]) if product.condition(run, "Finished") == "True" else None


def has_no_pod(run: str) -> bool:
    return faults.pod_of(run) is None


def is_gone(run: str, kind: str) -> bool:
    """Whether no object of a kind has the run's name in its own."""
    return run not in kubectl("get", kind, "-o", "name", namespace=NAMESPACE)


def cancel(scenario: Scenario) -> None:
    kubectl(
        "patch",
        "dbtrun",
        scenario.name,
        "--type=merge",
        "-p",
        '{"spec":{"cancel":true}}',
        namespace=NAMESPACE,
    )


def edit() -> None:
    """Whatever a later attempt took from its project or target as they are now would make it fail,
    or go elsewhere.
    """
    moved = {
        "artifacts": {"prefix": "elsewhere", "bucket": "no-such-bucket"},
        "image": "dbt-operator.local/none:1.0",
    }
    project = {"spec": moved | {"env": [{"name": "SCHEMA", "value": "elsewhere"}]}}
    target = {"spec": {"schemaPattern": "^elsewhere$", "target": "elsewhere"}}
    for kind, patch in (("dbtproject", project), ("dbttarget", target)):
        kubectl(
            "patch", kind, EDITED.name, "--type=merge", "-p", json.dumps(patch), namespace=NAMESPACE
        )


def finished(scenario: Scenario) -> Manifest:
    return product.wait_until_finished(scenario.name, NAMESPACE)


def condition(run: Manifest, kind: str) -> Manifest:
    (found,) = (each for each in run["status"]["conditions"] if each["type"] == kind)
    return dict(found)


def statuses(artifacts: Mapping[str, bytes], path: str) -> dict[str, str]:
    """What a run_results.json in the bucket says of each model."""
    results = json.loads(artifacts[path])["results"]
    models = (each for each in results if each["unique_id"].startswith("model."))
    return {each["unique_id"].rpartition(".")[2]: each["status"] for each in models}


@pytest.mark.usefixtures("interrupted")
def test_a_deleted_run_leaves_nothing_behind() -> None:
    for kind in ("dbtruns", "jobs", "pods"):
        wait_for(f"no {kind}", partial(is_gone, DELETED.name, kind))


@pytest.mark.usefixtures("disturbed")
@for_each(STAY)
def test_it_ends_as_it_must(scenario: Scenario) -> None:
    found = finished(scenario)["status"]
    assert (found["phase"], found.get("reason")) == (scenario.phase, scenario.reason), found[
        "message"
    ]
    assert scenario.message in found["message"]


@for_each(INTERRUPTED)
def test_a_query_is_gone_soon_after_the_signal(disturbed: Course, scenario: Scenario) -> None:
    """By the clocks of the runner's log and the warehouse's, which are the node's."""
    signalled = disturbed.logs[scenario.name].moment_of("interrupting dbt")
    outlived = faults.session_ended_at(disturbed.sessions[scenario.name]) - signalled
    assert timedelta() < outlived < SOON


@for_each(INTERRUPTED)
def test_what_was_finished_before_the_signal_is_in_the_bucket(
    disturbed: Course, scenario: Scenario
) -> None:
    if scenario in STAY:
        finished(scenario)
    where = location(disturbed.runs[scenario.name])
    found = wait_for("artifacts", lambda: _whole(product.objects(where)))
    assert {"manifest.json", "run_results.json", "dbt.log"} <= {
        path.rpartition("/")[2] for path in found
    }
    results = statuses(found, "attempt-1/1-build/run_results.json")
    assert results["measurements"] == "success"
    assert "success" not in {results.get("stations"), results.get("summary")}


def _whole(artifacts: dict[str, bytes]) -> dict[str, bytes] | None:
    """The result is written last."""
    return artifacts if "attempt-1/result.json" in artifacts else None


@pytest.mark.usefixtures("disturbed")
@for_each([EVICTED, DRAINED, EDITED])
def test_a_pod_that_is_taken_away_is_infrastructure_and_tried_again(scenario: Scenario) -> None:
    run = finished(scenario)
    first, second = run["status"]["attempts"]
    assert first["reason"] == "Infrastructure"
    assert "reason" not in second
    assert first["finishedAt"] <= second["createdAt"]
    found = product.objects(location(run))
    assert set(statuses(found, "attempt-2/1-build/run_results.json").values()) == {"success"}
    assert condition(run, "ArtifactsUploaded")["status"] == "True"


@for_each(TWICE)
def test_pods_of_a_run_never_overlap(disturbed: Course, scenario: Scenario) -> None:
    finished(scenario)
    assert disturbed.pods.seen_and_most_at_a_time(scenario.name) == (2, 1)


def test_a_warehouse_that_is_restarted_fails_an_attempt_and_not_the_run(disturbed: Course) -> None:
    run = finished(WAREHOUSE_RESTARTED)
    first, second = run["status"]["attempts"]
    assert first["reason"] == "Unavailable"
    assert "reason" not in second
    found = product.objects(location(run))
    before, after = (
        statuses(found, f"attempt-{number}/1-build/run_results.json") for number in (1, 2)
    )
    assert before == {"measurements": "success", "stations": "error", "summary": "skipped"}
    assert after == {"stations": "success", "summary": "success"}, (
        "only what is not done runs again"
    )
    assert set(statuses(found, "run_results.json").values()) == {"success"}
    assert run["status"]["nodes"]["success"] == 3
    assert (
        run["status"]["resolved"] == disturbed.runs[WAREHOUSE_RESTARTED.name]["status"]["resolved"]
    )


def test_a_second_attempt_is_built_of_what_was_resolved_for_the_first(disturbed: Course) -> None:
    run, before = finished(EDITED), disturbed.runs[EDITED.name]
    assert run["status"]["resolved"] == before["status"]["resolved"]
    for kind in ("project", "target"):
        assert (
            get(f"dbt{kind}", EDITED.name, NAMESPACE)["metadata"]["generation"]
            > run["status"]["resolved"]["generations"][kind]
        )
    jobs = [get("job", attempt["jobName"], NAMESPACE) for attempt in run["status"]["attempts"]]
    first, second = (_what_runs(job) for job in jobs)
    assert first == second
    assert {"attempt-1", "attempt-2"} < {
        path.split("/")[0] for path in product.objects(location(run))
    }


def _what_runs(job: Manifest) -> Manifest:
    """The pod of an attempt, without the attempt's number and what a later one fetches of those
    before.
    """
    spec = job["spec"]["template"]["spec"]
    for container in (*spec["initContainers"], *spec["containers"]):
        for variable in container["env"]:
            if variable["name"] == "DBT_OPERATOR_PLAN":
                plan = json.loads(variable["value"])
                variable["value"] = plan | {
                    "prefix": plan.get("prefix", "").rpartition("/attempt-")[0]
                }
                variable["value"] |= {"attempt": 0, "resume": None, "previous": ""}
    prepare = spec["initContainers"][0]
    prepare["env"] = [
        {**each, "value": {**each["value"], "bucket": None}}
        for each in prepare["env"]
        if "value" in each
    ]
    return dict(spec)


def test_uploads_wait_for_a_store_that_comes_back(interrupted: Course) -> None:  # noqa: ARG001 -- it has to be there first
    run = finished(STORE_BACK)
    (attempt,) = run["status"]["attempts"]
    assert faults.moment(attempt["finishedAt"]) <= faults.store_started_at(), (
        "the store was there all the time"
    )
    uploaded = condition(run, "ArtifactsUploaded")
    assert uploaded["status"] == "True", uploaded["message"]
    found = product.objects(location(run), NAMESPACE)
    state = product.objects(run["status"]["resolved"]["stateLocation"], NAMESPACE)
    assert run["status"]["artifacts"]["objects"] == len(found) + len(state)
    for step in ("1-run", "2-build"):
        assert {
            f"attempt-1/{step}/{name}" for name in ("manifest.json", "run_results.json", "dbt.log")
        } <= set(found)
        assert set(statuses(found, f"attempt-1/{step}/run_results.json").values()) == {"success"}


@pytest.mark.usefixtures("started")
@for_each([STORE_GONE, STORE_GONE_FAILS])
def test_a_store_that_is_gone_is_named_and_dbt_is_not_run_again(scenario: Scenario) -> None:
    run = finished(scenario)
    uploaded = condition(run, "ArtifactsUploaded")
    assert uploaded["status"] == "False"
    assert GONE_ENDPOINT in uploaded["message"]
    assert len(run["status"]["attempts"]) == 1
    assert (
        run["status"]["nodes"]["success"]
        == run["status"]["nodes"]["total"] - run["status"]["nodes"]["pass"]
    )


@pytest.mark.usefixtures("disturbed")
def test_a_namespace_goes_although_a_run_was_active_in_it() -> None:
    wait_for(
        "the namespace is gone",
        lambda: not kubectl("get", "namespace", DOOMED, "--ignore-not-found"),
    )


@pytest.mark.usefixtures("started")
def test_dbt_that_hears_no_signal_is_killed_after_its_grace_period() -> None:
    run = finished(STUBBORN)
    asked, ended = (
        faults.moment(run["status"][name]) for name in ("cancelRequestedAt", "finishedAt")
    )
    assert timedelta(seconds=55) < ended - asked < timedelta(minutes=5)
    found = product.objects(location(run))
    assert b"OK created" in found["attempt-1/1-build/dbt.log"]
    assert condition(run, "ArtifactsUploaded")["status"] == "True"


@pytest.mark.usefixtures("disturbed")
def test_the_operator_has_lived_through_all_of_it() -> None:
    for scenario in STAY:
        finished(scenario)
    (pod,) = items("pods", product.OPERATOR_NAMESPACE)
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 0
