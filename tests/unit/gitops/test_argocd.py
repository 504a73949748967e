"""The scripts of examples/gitops/argocd, run as Argo CD runs them."""

from __future__ import annotations

import copy
import os
import re
from typing import Any

import pytest
import yaml

from dbt_operator.api.registry import KINDS
from dbt_operator.planning.common.names import PAUSED_UNTIL, RETRY, RUN_NOW
from tests.support import argocd, judge, recorded
from tests.support.judge import Health, JudgeError
from tests.support.recorded import EXPECTED

STATES = [(kind, state) for kind, expected in EXPECTED.items() for state in expected]
PREFIX = "dbt-operator.dev"
TRACKING = {"argocd.argoproj.io/tracking-id": "analytics:dbt-operator.dev/DbtSchedule:a/nightly"}


def health(manifest: dict[str, Any]) -> Health:
    return judge.judge_health(manifest, argocd.health_script())


def act(manifest: dict[str, Any], action: str) -> dict[str, Any]:
    """The merge patch that Argo CD sends for an action."""
    return judge.take_action(manifest, argocd.action_scripts(manifest["kind"])[action])


def offered(manifest: dict[str, Any]) -> set[str]:
    """The actions that can be clicked on."""
    found = judge.discover_actions(manifest, argocd.discovery_script(manifest["kind"]))
    return {name for name, action in found.items() if not action["disabled"]}


def annotated(state: str, **annotations: str) -> dict[str, Any]:
    """A schedule in a state, with annotations of ours and none else."""
    manifest = recorded.read("DbtSchedule", state)
    manifest["metadata"]["annotations"] = {
        f"{PREFIX}/{name.replace('_', '-')}": text for name, text in annotations.items()
    }
    return manifest


# The ConfigMap


def test_the_config_map_is_made_of_the_scripts() -> None:
    if os.environ.get("WRITE_GOLDEN"):
        argocd.CONFIG_MAP.write_text(argocd.make_config_map())
    assert argocd.CONFIG_MAP.read_text() == argocd.make_config_map()


def test_the_config_map_has_what_argo_cd_looks_for() -> None:
    settings = argocd.read_config_map()
    for kind in KINDS:
        key = f"resource.customizations.health.{PREFIX}_{kind.kind}"
        assert settings.pop(key) == argocd.health_script()
    for name in ("DbtRun", "DbtBackfill", "DbtSchedule"):
        text = settings.pop(f"resource.customizations.actions.{PREFIX}_{name}")
        actions = yaml.safe_load(text)
        defined = {each["name"]: each["action.lua"] for each in actions["definitions"]}
        found = judge.discover_actions(recorded.read(name, "new"), actions["discovery.lua"])
        assert defined.keys() == found.keys()
        assert defined == argocd.action_scripts(name)
    assert settings == {}


# Health


@pytest.mark.parametrize(("kind", "state"), STATES)
def test_health_says_why(kind: str, state: str) -> None:
    manifest = recorded.read(kind, state)
    told = manifest["status"].get("message", "")
    message = health(manifest).message
    assert told in message
    assert message


def test_an_object_without_any_status_is_progressing() -> None:
    manifest = recorded.read("DbtRun", "new")
    del manifest["status"]
    assert health(manifest).status == "Progressing"


def test_a_phase_that_nobody_has_heard_of_is_progressing_until_it_ends() -> None:
    manifest = recorded.read("DbtRun", "running")
    manifest["status"] |= {"phase": "Waiting", "message": "waiting for Job load"}
    assert health(manifest) == Health("Progressing", "waiting for Job load")


def test_a_schedule_tells_of_its_last_run_and_is_healthy_all_the_same() -> None:
    found = health(recorded.read("DbtSchedule", "failed"))
    assert found.status == "Healthy"
    assert "the last run did not succeed: DbtRun nightly-" in found.message
    assert "last run" not in health(recorded.read("DbtSchedule", "succeeded")).message


# Actions


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        (annotated("new"), {"run-now", "pause"}),
        (annotated("succeeded"), {"run-now", "pause"}),
        (annotated("failed"), {"run-now", "pause", "retry"}),
        (annotated("suspended"), {"run-now", "pause"}),
        (annotated("suspended", paused_until="forever"), {"run-now", "resume"}),
        (
            annotated("accepted", paused_until="2020-01-01T00:00:00Z"),
            {"run-now", "pause", "resume"},
        ),
        (annotated("invalid"), {"pause"}),
        (recorded.read("DbtRun", "new"), {"cancel"}),
        (recorded.read("DbtRun", "running"), {"cancel"}),
        (recorded.read("DbtRun", "succeeded"), set()),
        (recorded.read("DbtRun", "cancelled"), set()),
        (recorded.read("DbtBackfill", "suspended"), {"cancel"}),
        (recorded.read("DbtBackfill", "failed"), set()),
    ],
)
def test_actions_are_offered_when_they_mean_something(
    manifest: dict[str, Any], expected: set[str]
) -> None:
    assert offered(manifest) == expected


@pytest.mark.parametrize("annotations", [None, {}, TRACKING, {RUN_NOW: "before"}])
def test_run_now_sets_its_annotation_to_the_time_and_nothing_else(
    annotations: dict[str, str] | None,
) -> None:
    manifest = recorded.read("DbtSchedule", "accepted")
    if annotations is not None:
        manifest["metadata"]["annotations"] = annotations
    patch = act(manifest, "run-now")
    value = patch["metadata"]["annotations"][RUN_NOW]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", value)
    assert patch == {"metadata": {"annotations": {RUN_NOW: value}}}


def test_pause_and_resume_are_the_same_annotation() -> None:
    paused = {"metadata": {"annotations": {PAUSED_UNTIL: "forever"}}}
    assert act(annotated("accepted"), "pause") == paused
    manifest = annotated("accepted", paused_until="2026-02-01T00:00:00Z")
    manifest["metadata"]["annotations"] |= TRACKING
    assert act(manifest, "resume") == {"metadata": {"annotations": {PAUSED_UNTIL: None}}}


def test_resume_takes_away_the_only_annotation_too() -> None:
    # Argo CD would give an emptied map its old content back.
    manifest = annotated("accepted", paused_until="forever")
    assert act(manifest, "resume") == {"metadata": {"annotations": None}}


def test_retry_names_the_last_run_that_failed() -> None:
    manifest = annotated("failed")
    (failed,) = manifest["status"]["history"]
    manifest["status"]["history"] = [
        {"occurrence": "2026-01-04T03:00:00Z", "phase": "Succeeded", "run": "nightly-3"},
        {"occurrence": "2026-01-03T03:00:00Z", "phase": "Missed"},
        failed,
        {"occurrence": "2026-01-01T03:00:00Z", "phase": "Failed", "run": "nightly-0"},
    ]
    assert "retry" in offered(manifest)
    patch = act(manifest, "retry")
    assert patch == {"metadata": {"annotations": {RETRY: failed["run"]}}}
    manifest["metadata"]["annotations"] = patch["metadata"]["annotations"]
    assert "retry" not in offered(manifest)


def test_retry_of_a_schedule_without_failures_says_so() -> None:
    with pytest.raises(JudgeError, match="no run of this schedule has failed"):
        act(annotated("succeeded"), "retry")


@pytest.mark.parametrize("kind", ["DbtRun", "DbtBackfill"])
def test_cancel_sets_its_field_and_nothing_else(kind: str) -> None:
    assert act(recorded.read(kind, "running"), "cancel") == {"spec": {"cancel": True}}


@pytest.mark.parametrize(
    "script",
    ["return {status = string.upper('x')}", "return {status = os.date()}", "math.abs(1)"],
)
def test_scripts_have_no_more_than_argo_cd_gives_them(script: str) -> None:
    with pytest.raises(JudgeError, match="attempt to index a non-table object"):
        judge.judge_health({}, script)


def test_what_changes_nothing_in_an_object_changes_nothing_in_empty_maps() -> None:
    manifest = recorded.read("DbtSchedule", "accepted")
    before = copy.deepcopy(manifest)
    assert before["spec"]["runTemplate"]["spec"]["steps"] == [{"build": {}}]
    assert judge.take_action(manifest, "return obj") == {}
