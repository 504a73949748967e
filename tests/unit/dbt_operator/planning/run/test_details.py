"""What a run's status says of failures, by the digest in the log of its pod."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dbt_operator.cluster.errors import ClusterError, NotFoundError
from dbt_protocol.digests import MARK, MARKS, Digest, DigestExposure, DigestNode, mark
from dbt_protocol.summaries import Failure
from tests.support.builders import UID, ended_status, failed_summary, later, running_status, summary
from tests.support.run_world import World

ORDERS, DAYS = "model.shop.orders", "model.shop.days"
UNIQUE = "test.shop.unique_orders_id"
DIGEST = Digest(
    run_uid=UID,
    attempt=1,
    failed=[
        DigestNode(ORDERS, "error", "column x does not exist", owners=["Ana"], group="finance"),
        DigestNode(UNIQUE, "fail", "Got 3 results", 3, "audit.unique_orders_id"),
    ],
    failed_total=2,
    warned=[DigestNode("test.shop.w", "warn", rows=2)],
    warned_total=1,
    skipped=[DAYS],
    skipped_total=4,
    exposures=[DigestExposure("Weekly", "dashboard", "Dora")],
    exposures_total=1,
    marks=mark(ORDERS) + mark(UNIQUE),
)


def end(world: World, *lines: str, told: str = "", digest: bool = True) -> None:
    world.settle()
    world.pod(running_status())
    world.settle()
    world.cluster.log_lines = list(lines)
    world.pod(ended_status(1, told or failed_summary(), digest=digest))
    world.settle()


def test_failures_have_owners_and_rows_and_what_depends_on_them() -> None:
    world = World()
    end(world, "dbt-operator: waiting", *DIGEST.to_lines(), "dbt-operator: uploaded 9 objects")
    assert world.status["phase"] == "Failed"
    orders, unique, days = world.status["failures"]
    assert orders == {
        "uniqueId": ORDERS,
        "status": "error",
        "message": "column x does not exist",
        "owners": ["Ana"],
        "group": "finance",
    }
    assert (unique["rows"], unique["storedIn"]) == (3, "audit.unique_orders_id")
    assert days == {"uniqueId": DAYS, "status": "skipped"}
    assert world.status["details"] == {
        "failed": 2,
        "failedMarks": mark(ORDERS) + mark(UNIQUE),
        "skipped": 4,
        "warned": 1,
        "warnings": [{"uniqueId": "test.shop.w", "status": "warn", "rows": 2}],
        "exposures": [{"name": "Weekly", "type": "dashboard", "owner": "Dora"}],
        "affectedExposures": 1,
    }
    assert world.cluster.logs_read == [("pod-of-" + world.cluster.created_jobs[-1], "artifacts")]


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["dbt-operator: digest 1/1 0 {}"],
        DIGEST.to_lines()[0][:-5].split("\n"),
        replace(DIGEST, run_uid="another run").to_lines(),
        replace(DIGEST, skipped_total=-1).to_lines(),
    ],
)
def test_without_a_digest_the_status_is_made_of_the_termination_message(lines: list[str]) -> None:
    world = World()
    end(world, *lines)
    assert [each["uniqueId"] for each in world.status["failures"]] == [ORDERS]
    assert "details" not in world.status


@pytest.mark.parametrize("error", [ClusterError, NotFoundError])
def test_a_log_that_cannot_be_read_holds_up_nothing(
    error: type[ClusterError], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()

    def refuse(*_: object, **__: object) -> list[str]:
        raise error("kubelet is away")

    monkeypatch.setattr(world.cluster, "last_log_lines", refuse)
    end(world)
    assert world.status["phase"] == "Failed"
    assert "details" not in world.status


def test_a_sidecar_that_was_started_again_has_told_it_before() -> None:
    world = World()
    world.cluster.previous_log_lines = DIGEST.to_lines()
    end(world, "dbt-operator: waiting for artifacts")
    assert world.status["details"]["failed"] == 2


def test_a_pod_that_tells_of_none_is_not_asked() -> None:
    world = World()
    end(world, digest=False)
    assert world.cluster.logs_read == []


def test_what_a_later_attempt_ends_in_is_what_counts() -> None:
    again = {"maxAttempts": 2, "reasons": ["ModelError"]}
    world = World()
    world.cluster.objects["DbtRun", "nightly"]["spec"]["retry"] = again
    end(world, *DIGEST.to_lines())
    assert world.status["phase"] in ("BackingOff", "Pending"), world.status
    assert world.status["details"]["failed"] == 2
    world.now = later(120)
    world.settle()
    world.pod(ended_status(0, summary()))
    world.settle()
    assert world.status["phase"] == "Succeeded"
    assert "details" not in world.status
    assert "failures" not in world.status


@pytest.mark.parametrize("digest", [True, False])
def test_of_a_pod_that_was_killed_only_the_sidecar_tells(*, digest: bool) -> None:
    """It can where the run has windows. What the attempt before has ended in is over."""
    world = World()
    world.cluster.objects["DbtRun", "nightly"]["spec"]["retry"] = {
        "maxAttempts": 2,
        "reasons": ["ModelError"],
    }
    end(world, *DIGEST.to_lines())
    world.now = later(120)
    world.settle()
    assert not {"failures", "details"} & world.status.keys()
    newer = replace(DIGEST, failed=DIGEST.failed[:1], failed_total=1)
    world.cluster.log_lines = newer.to_lines()
    world.pod(ended_status(137, "", digest=digest))
    world.settle()
    assert world.status["phase"] == "Failed"
    assert ("failures" in world.status, "details" in world.status) == (digest, digest)
    if digest:
        assert world.status["details"]["failed"] == 1
        assert [each["uniqueId"] for each in world.status["failures"]] == [ORDERS, DAYS]


def test_a_status_has_room_for_the_longest_digest() -> None:
    longest = DigestNode("m" * 900, "error", "x" * 900, 3, "s" * 900, ["o" * 900] * 9, "g" * 900)
    many = [replace(longest, unique_id=f"{number}{longest.unique_id}") for number in range(60)]
    digest = replace(DIGEST, failed=many, warned=many, skipped=["s" * 900] * 60, marks="0" * 9999)
    told = summary("ModelError", failures=[Failure("model.a", "error")] * 20)
    world = World()
    end(world, *digest.to_lines(), told=told)
    assert world.status["phase"] == "Failed"
    assert len(world.status["failures"]) == 20
    assert len(world.status["details"]["failedMarks"]) == MARKS * MARK
