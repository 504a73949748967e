"""What others tell is cut to what a status can hold, wherever it comes from, and is no reason to
lose one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbt_operator.api.crd import schema
from dbt_operator.api.registry import KINDS
from dbt_operator.api.texts import cut
from dbt_operator.cluster.errors import InvalidError
from tests.support.backfill_world import BackfillWorld
from tests.support.builders import ended_status, project, run, target
from tests.support.run_world import World

HUGE = "no node is large enough; " * 4_000  # 100 kB
SCHEMAS = {kind.kind: schema(kind)["properties"]["status"] for kind in KINDS}


def check(value: Any, node: dict[str, Any], path: str = "status") -> None:
    """What the API server would say of a status, as far as lengths go."""
    if isinstance(value, str) and "maxLength" in node:
        assert len(value) <= node["maxLength"], path
    if isinstance(value, list):
        assert len(value) <= node.get("maxItems", len(value)), path
        for number, item in enumerate(value):
            check(item, node["items"], f"{path}[{number}]")
    if isinstance(value, dict):
        for name, inner in value.items():
            check(inner, node.get("properties", {}).get(name, {}), f"{path}.{name}")


def strings(node: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if node.get("type") == "string":
        yield path, node
    for name, inner in node.get("properties", {}).items():
        yield from strings(inner, f"{path}.{name}")
    if "items" in node:
        yield from strings(node["items"], f"{path}[]")


@pytest.mark.parametrize("kind", SCHEMAS)
def test_every_text_of_a_status_has_a_limit(kind: str) -> None:
    """Except in status.resolved, which repeats parts of specs and is weighed as a whole at
    admission.
    """
    texts = [
        each
        for each in strings(SCHEMAS[kind], "status")
        if not each[0].startswith("status.resolved.")
    ]
    assert texts
    assert [path for path, node in texts if not {"maxLength", "enum"} & set(node)] == []


@given(st.text(max_size=50), st.integers(3, 60))
def test_a_text_is_cut_to_its_limit_and_says_so(text: str, limit: int) -> None:
    found = cut(text, limit)
    assert len(found) <= limit
    assert found == text or found.endswith("...")


def test_halves_of_characters_do_not_get_into_a_status() -> None:
    assert cut("a\ud800b", 10) == "a?b"


# Each of these is told by somebody else


def world_of(status: dict[str, Any]) -> World:
    world = World(run(startTimeout="1m", retry={"maxAttempts": 3}), project(), target())
    world.settle()
    world.pod(status)
    return world


def settle_and_check(world: World) -> dict[str, Any]:
    world.settle()
    check(world.status, SCHEMAS["DbtRun"])
    assert world.status["attempts"]
    assert world.status["resolved"]
    assert all(len(event.message) <= 1024 for event in world.cluster.events)
    return world.status


def waiting(reason: str) -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": HUGE}}
    return {
        "phase": "Pending",
        "containerStatuses": [{"name": "dbt", "image": HUGE, "imageID": "", "state": state}],
    }


UNSCHEDULABLE = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": HUGE,
}
STARTING = {
    "scheduler": {"phase": "Pending", "conditions": [UNSCHEDULABLE]},
    "image": waiting("ErrImagePull"),
    "container": waiting("CreateContainerConfigError"),
}


@pytest.mark.parametrize("status", STARTING.values(), ids=STARTING)
def test_of_a_pod_that_does_not_start(status: dict[str, Any]) -> None:
    world = world_of(status)
    assert "..." in settle_and_check(world)["message"]
    world.now += timedelta(seconds=61)
    told = settle_and_check(world)
    assert len(told["attempts"][0]["message"]) == 1024


def test_of_warning_events() -> None:
    world = world_of({"phase": "Pending"})
    world.cluster.warning_events = (f"FailedMount: {HUGE}",)
    world.now += timedelta(seconds=20)
    assert settle_and_check(world)["message"].endswith("...")


def summary_of(text: str) -> str:
    failure = {"unique_id": text, "status": text, "message": text}
    data = {
        "protocol": 1,
        "reason": "ModelError",
        "message": text,
        "exit_code": 1,
        "dbt_version": text,
    }
    return json.dumps(
        data | {"commit": text, "failures": [failure] * 50, "nodes": {"total": 50, "error": 50}}
    )


ENDED = {
    "dbt": ended_status(1, summary_of(HUGE)),
    "no summary": ended_status(1, HUGE),
    "half a character": ended_status(1, summary_of("\ud800")),
    "evicted": {"phase": "Failed", "reason": "Evicted", "message": HUGE},
    "sidecar": ended_status(0)
    | {
        "initContainerStatuses": [
            {
                "name": "artifacts",
                "state": {
                    "terminated": {
                        "exitCode": 0,
                        "finishedAt": "2026-01-02T03:05:05Z",
                        "message": json.dumps({"protocol": 1, "location": HUGE, "error": HUGE}),
                    }
                },
            }
        ]
    },
}


@pytest.mark.parametrize("status", ENDED.values(), ids=ENDED)
def test_of_a_pod_that_has_ended(status: dict[str, Any]) -> None:
    told = settle_and_check(world_of(status))
    assert told["phase"] in ("Failed", "BackingOff", "Succeeded")


NONSENSE = [
    {"nodes": {"total": "many"}},
    {"nodes": {"total": None}},
    {"nodes": []},
    {"message": {"a": 1}},
    {"commit": 7},
    {"failures": [{"unique_id": 1, "status": "error", "message": "x"}]},
    {"failures_total": "all"},
    {"windows": ["+"]},
    {"reason": ["ModelError"]},
]


@pytest.mark.parametrize("nonsense", NONSENSE, ids=json.dumps)
def test_a_summary_that_is_none_ends_the_run_all_the_same(nonsense: dict[str, Any]) -> None:
    """The pod is the user's: it may say anything."""
    world = World()
    world.settle()
    text = json.dumps({"protocol": 1, "reason": "ModelError", "message": "x"} | nonsense)
    world.pod(ended_status(1, text))
    told = settle_and_check(world)
    assert (told["phase"], told["reason"]) == ("Failed", "Unknown")


@pytest.mark.parametrize(
    "nonsense", [{"objects": "9"}, {"error": 1}, {"location": None}, {"size": []}], ids=json.dumps
)
def test_an_upload_summary_that_is_none_leaves_the_verdict(nonsense: dict[str, Any]) -> None:
    world = World()
    world.settle()
    status = ended_status()
    status["initContainerStatuses"][1]["state"]["terminated"]["message"] = json.dumps(
        {"protocol": 1, "location": "s3://a"} | nonsense
    )
    world.pod(status)
    assert settle_and_check(world)["phase"] == "Succeeded"


def test_of_a_job_that_failed() -> None:
    world = World()
    world.settle()
    world.pod({"phase": "Pending"})
    job = world.cluster.objects["Job", "nightly-11111111-1"]
    failed = {"type": "Failed", "status": "True", "reason": "PodFailurePolicy", "message": HUGE}
    job["status"] = {"conditions": [failed]}
    job["metadata"]["resourceVersion"] = world.cluster._next_version()
    world.store.put("Job", job)
    world.settle()
    world.store.drop("Pod", world.cluster.pods[0])
    world.cluster.pods = []
    assert settle_and_check(world)["reason"] == "Infrastructure"


def test_of_an_api_server_that_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()

    def refuse(_: Any) -> NoReturn:
        raise InvalidError(f"403 Forbidden: {HUGE}")

    monkeypatch.setattr(world.cluster, "create_job", refuse)
    settle_and_check(world)
    world.now += timedelta(minutes=11)
    assert settle_and_check(world)["reason"] == "ConfigError"


def test_seventeen_refused_runs_lose_no_window_of_a_backfill(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keys = [f"region-{number}" for number in range(20)]
    template = {"vars": {"region": "$(window.key)"}}
    world = BackfillWorld(
        windows={"keys": keys}, run=template, maxConcurrentWindows=20, windowsPerPod=1
    )
    try:
        create = world.server.create_run
        limit = 3

        def refuse(manifest: dict[str, Any]) -> Any:
            if len(world.server.created_runs) >= limit:
                raise InvalidError(f"403 Forbidden: {'exceeded quota, ' * 20}")
            return create(manifest)

        monkeypatch.setattr(world.server, "create_run", refuse)
        world.happen(3)
        check(world.status, SCHEMAS["DbtBackfill"])
        assert world.status["runsStarted"] == 20
        assert len(world.status["runs"]) == 20
        assert world.status["windows"]["total"] == 20
        monkeypatch.setattr(world.server, "create_run", create)
        world.tell()
        assert world.status["phase"] == "Succeeded"
        assert world.counted() == dict.fromkeys(keys, 1)
    finally:
        world.stop()


@settings(max_examples=30)
@given(st.text(max_size=20), st.integers(1, 9000), st.booleans())
def test_whatever_a_pod_says_its_status_is_one(word: str, times: int, in_a_summary: bool) -> None:
    text = word * times
    world = World()
    world.settle()
    world.pod(ended_status(1, summary_of(text) if in_a_summary else text))
    settle_and_check(world)
