from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbt_operator.api.kinds.run import Attempt, DbtRun
from dbt_operator.api.parts.resolved import Resolved
from dbt_operator.api.parts.retry import Retry
from dbt_operator.api.status import Reason
from dbt_operator.planning.attempt.verdict import Verdict
from dbt_operator.planning.run import retry
from dbt_protocol.plans import RunPlan
from dbt_protocol.summaries import Summary
from tests.support.builders import (
    NOW,
    ended_status,
    later,
    project,
    run,
    running_status,
    stamp,
    summary,
    target,
)
from tests.support.fake_cluster import KilledError
from tests.support.retries import THREE, UNAVAILABLE, failing, wait
from tests.support.run_facts import admitted
from tests.support.run_world import RUN, World

MAY_PASS = ("Unavailable", "Infrastructure", "SourceError", "DepsFailed")


def resolved(**spec: Any) -> Resolved:
    found = admitted(**spec).status.resolved
    assert found is not None
    return found


def attempts(*reasons: Reason | None) -> list[Attempt]:
    """Attempts that have ended, one after another."""
    return [
        Attempt(number=number, job_name=f"nightly-{number}", created_at=stamp(0), reason=reason)
        for number, reason in enumerate(reasons, 1)
    ]


def said(reason: Reason, again: str) -> Verdict:
    """What a runner says whether it may pass."""
    return Verdict(reason, "", 1, Summary(reason=reason.value, again=again))


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        (Verdict(Reason.UNAVAILABLE, ""), True),
        (Verdict(Reason.INFRASTRUCTURE, ""), True),
        (Verdict(Reason.SOURCE_ERROR, ""), True),
        (Verdict(Reason.DEPS_FAILED, ""), True),
        (said(Reason.MODEL_ERROR, "Yes"), True),
        (said(Reason.MODEL_ERROR, "Once"), True),
        (said(Reason.MODEL_ERROR, "No"), False),
        (said(Reason.MODEL_ERROR, ""), False),  # an older runner
        (said(Reason.UNAVAILABLE, "No"), False),
        (said(Reason.UNAVAILABLE, ""), True),
        (said(Reason.SOURCE_ERROR, "No"), False),
        (said(Reason.SOURCE_ERROR, "Yes"), True),
        # What was disrupted says nothing of what the runner saw before.
        (said(Reason.INFRASTRUCTURE, "No"), True),
        (said(Reason.TEST_FAILED, "Yes"), False),
        *((Verdict(reason, ""), False) for reason in Reason if reason not in MAY_PASS),
    ],
)
def test_only_what_may_pass_by_itself_is_tried_again_by_default(
    verdict: Verdict, expected: bool
) -> None:
    found = attempts(verdict.reason)
    assert retry.should_retry(resolved(retry=THREE), verdict, found, None, NOW) is expected


@pytest.mark.parametrize(
    ("before", "again", "expected"),
    [
        (Reason.UNAVAILABLE, "Once", False),
        (Reason.UNAVAILABLE, "Yes", True),
        (Reason.INFRASTRUCTURE, "Once", True),
    ],
)
def test_what_is_to_be_tried_once_more_is_tried_once_more(
    before: Reason, again: str, expected: bool
) -> None:
    verdict, found = said(Reason.UNAVAILABLE, again), attempts(before, Reason.UNAVAILABLE)
    assert retry.should_retry(resolved(retry=THREE), verdict, found, None, NOW) is expected


@pytest.mark.parametrize("reason", list(Reason))
def test_a_list_of_reasons_is_taken_literally(reason: Reason) -> None:
    found = resolved(retry=THREE | {"reasons": ["OOMKilled", "ModelError"]})
    assert retry.should_retry(found, Verdict(reason, ""), attempts(reason), None, NOW) is (
        reason in ("OOMKilled", "ModelError")
    )


def test_without_a_retry_there_is_none_and_a_success_gets_none() -> None:
    away = Verdict(Reason.UNAVAILABLE, "")
    assert not retry.should_retry(resolved(), away, attempts(away.reason), None, NOW)
    done = Verdict(None, "")
    assert not retry.should_retry(resolved(retry=THREE), done, attempts(None), None, NOW)


def test_waits_grow_up_to_a_limit() -> None:
    found = retry.resolve(Retry.model_validate(THREE))
    assert [retry.wait(found, n).total_seconds() for n in (1, 2, 3, 4)] == [10, 30, 60, 60]


@pytest.mark.parametrize("number", [-(2**63), 0, 2**63 - 1])
def test_a_wait_has_its_limit_whatever_number_a_status_has(number: int) -> None:
    found = retry.resolve(Retry.model_validate({"maxAttempts": 5, "backoff": {"max": "1m"}}))
    assert 30 <= retry.wait(found, number).total_seconds() <= 60


def test_no_attempt_follows_that_could_not_start_before_the_timeout() -> None:
    found = resolved(retry=THREE, timeout="100s")
    away = Verdict(Reason.UNAVAILABLE, "")
    assert retry.should_retry(found, away, attempts(away.reason), stamp(0), later(89))
    assert not retry.should_retry(found, away, attempts(away.reason), stamp(0), later(90))


def retrying(**spec: Any) -> World:
    base = World()
    return World(
        run(retry=THREE, **spec),
        *(m for m in base.cluster.objects.values() if m["kind"] != "DbtRun"),
    )


def test_a_run_backs_off_and_then_succeeds() -> None:
    world = retrying()
    failing(world)
    assert (world.status["phase"], world.status["reason"]) == ("BackingOff", "Unavailable")
    assert "the warehouse is away" in world.status["message"]
    assert world.cluster.created_jobs == ["nightly-11111111-1"]
    wait(world)
    assert world.status["phase"] == "Pending"
    assert "reason" not in world.status
    assert "nodes" not in world.status
    world.pod(ended_status())
    world.settle()
    assert world.status["phase"] == "Succeeded"
    assert world.cluster.created_jobs == ["nightly-11111111-1", "nightly-11111111-2"]
    assert [attempt.get("reason") for attempt in world.status["attempts"]] == ["Unavailable", None]


def test_it_does_not_start_before_its_time() -> None:
    world = retrying()
    failing(world)
    assert world.reconciler.reconcile(RUN) == 10
    assert len(world.cluster.created_jobs) == 1


def test_after_the_last_attempt_the_run_has_failed() -> None:
    world = retrying()
    for _ in range(3):
        failing(world)
        wait(world)
    assert (world.status["phase"], world.status["reason"]) == ("Failed", "Unavailable")
    assert len(world.cluster.created_jobs) == 3


def test_a_failed_test_is_not_tried_again() -> None:
    world = retrying()
    failing(world, summary("TestFailed"))
    assert world.status["phase"] == "Failed"


ONE, TWO = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"


def run_in(world: World, image_id: str) -> None:
    """Let an attempt end well, in this image as the runtime calls it."""
    status = ended_status()
    status["containerStatuses"][0]["imageID"] = image_id
    world.pod(status)
    world.settle()


def test_an_attempt_that_runs_another_image_proves_nothing() -> None:
    world = retrying()
    failing(world)
    wait(world)
    run_in(world, "sha256:another")
    assert (world.status["phase"], world.status["reason"]) == ("Failed", "ConfigError")
    assert "by digest" in world.status["message"]


@pytest.mark.parametrize(
    ("image", "second", "reason"),
    [
        ("registry.example.com/dbt:1.0", f"mirror.example.com/dbt@{ONE}", None),
        ("registry.example.com/dbt:1.0", TWO, None),  # of its config, on a node of another kind
        ("registry.example.com/dbt:1.0", f"registry.example.com/dbt@{TWO}", "ConfigError"),
        # Of the platform's manifest, where the first runtime told that of the index.
        (f"registry.example.com/dbt@{ONE}", f"registry.example.com/dbt@{TWO}", None),
    ],
)
def test_an_image_is_another_one_if_its_tag_was_moved(
    image: str, second: str, reason: str | None
) -> None:
    world = World(run(retry=THREE), project(image=image), target())
    failing(world)
    wait(world)
    world.cluster.objects["DbtRun", "nightly"]["status"]["imageID"] = f"docker.io/dbt@{ONE}"
    world.restart()
    run_in(world, second)
    assert world.status.get("reason") == reason


def test_a_later_attempt_gets_the_rest_of_the_timeout() -> None:
    world = retrying(timeout="1000s")
    failing(world)
    wait(world)
    spec = world.cluster.objects["Job", "nightly-11111111-2"]["spec"]["template"]["spec"]
    plan = RunPlan.from_json(spec["containers"][0]["env"][-1]["value"])
    assert plan.timeout_seconds is not None
    assert plan.timeout_seconds == 1000 - (
        125 - 5
    )  # it was decided on at 125 s, and dbt had first started at 5 s


@pytest.mark.parametrize(
    ("timeout", "first", "second"), [("1000s", 300, 300), ("400s", 300, 280), (None, 300, 300)]
)
def test_an_attempt_has_its_own_timeout_within_the_runs(
    timeout: str | None, first: int, second: int
) -> None:
    spec = {"timeout": timeout} if timeout else {}
    world = World(run(retry=THREE | {"attemptTimeout": "5m"}, **spec), project(), target())
    failing(world)
    wait(world)
    for number, expected in ((1, first), (2, second)):
        pod = world.cluster.objects["Job", f"nightly-11111111-{number}"]["spec"]["template"]["spec"]
        assert (
            RunPlan.from_json(pod["containers"][0]["env"][-1]["value"]).timeout_seconds == expected
        )


def test_a_run_that_backs_off_can_be_cancelled() -> None:
    world = retrying()
    failing(world)
    world.cluster.objects["DbtRun", "nightly"]["spec"]["cancel"] = True
    world.restart()
    world.settle()
    world.settle()
    wait(world)
    assert world.status["phase"] == "Cancelled"
    assert len(world.cluster.created_jobs) == 1


@given(
    kills=st.sets(st.integers(1, 30)),
    after=st.booleans(),
    ends=st.lists(st.booleans(), min_size=3, max_size=3),
    replays=st.lists(st.integers(0, 8), min_size=3, max_size=3),
)
def test_attempts_follow_one_another_and_stay_within_their_number_whatever_is_killed_or_replayed(
    kills: set[int], after: bool, ends: list[bool], replays: list[int]
) -> None:
    """Events come again and late: what a watch delivers may be any earlier state of a run, a Job or
    a pod.
    """
    world = retrying()
    seen: list[tuple[str, dict[str, Any]]] = []

    def replay(number: int) -> None:
        seen.extend((kind, copy.deepcopy(m)) for (kind, _), m in world.cluster.objects.items())
        seen.extend(("Pod", copy.deepcopy(pod)) for pod in world.cluster.pods)
        for kind, manifest in seen[:: number + 1]:
            world.store.put(kind, manifest)
        world.settle()

    def kill(write: int) -> None:
        if write in kills:
            raise KilledError

    def watched(write: int) -> None:
        living = [p for p in world.cluster.pods if p["status"]["phase"] in ("Pending", "Running")]
        unstarted = len(world.cluster.created_jobs) - len(world.cluster.pods)
        assert len(living) + unstarted <= 1
        if after:
            kill(write)

    world.cluster.after_write = watched
    if not after:
        world.cluster.before_write = kill
    for green, number in zip(ends, replays, strict=True):
        world.settle()
        replay(number)
        if len(world.cluster.created_jobs) == len(world.cluster.pods):
            break
        world.pod(running_status())
        world.settle()
        world.now = max(world.now, later(65))
        world.pod(ended_status() if green else ended_status(1, UNAVAILABLE))
        replay(number)
        replay(number)
        wait(world)
    expected = ends.index(True) + 1 if True in ends else 3
    assert len(world.cluster.created_jobs) == len(set(world.cluster.created_jobs)) == expected
    assert world.status["phase"] == ("Succeeded" if True in ends else "Failed")


def test_the_api_takes_a_retry() -> None:
    found = DbtRun.model_validate(run(retry={"maxAttempts": 2})).spec.retry
    assert found is not None
    assert retry.resolve(found).initial_seconds == 30
