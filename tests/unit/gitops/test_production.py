"""The layout of examples/production is one that works."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from dbt_operator.api.kinds.project import DbtProject
from dbt_operator.api.kinds.run import DbtRunSpec
from dbt_operator.api.kinds.target import DbtTarget
from dbt_operator.api.registry import BY_NAME, RUN, SCHEDULE
from dbt_operator.planning.common.reading import read_part
from dbt_operator.planning.policy.refusals import refusal
from tests.support import production, recorded, states
from tests.support.production import FOLDER, OVERLAYS
from tests.support.recorded import GOOD

NAMESPACES = {"overlays/dev": "analytics-dev", "overlays/prod": "analytics"}
# The one thing that Git does not have: docs/gitops.md tells what has to be in it.
SECRETS = {("warehouse", "profiles.yml")}
Manifest = dict[str, Any]


def ours(overlay: str) -> list[Manifest]:
    return [found for found in production.build(overlay) if found["kind"] in BY_NAME]


def one(overlay: str, kind: str) -> Manifest:
    (found,) = (found for found in production.build(overlay) if found["kind"] == kind)
    return found


def runs(overlay: str) -> Iterator[Manifest]:
    """The spec of each run, of a schedule or by itself."""
    for found in ours(overlay):
        if found["kind"] == SCHEDULE.kind:
            yield found["spec"]["runTemplate"]["spec"]
        elif found["kind"] == RUN.kind:
            yield found["spec"]


def secrets(part: Any) -> Iterator[tuple[str, str]]:
    """The Secrets that are referred to, and their keys."""
    if isinstance(part, dict):
        for name, value in part.items():
            if name in ("secretRef", "secretKeyRef"):
                yield value["name"], value.get("key", "")
            yield from secrets(value)
    elif isinstance(part, list):
        for value in part:
            yield from secrets(value)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_models_read_every_object(overlay: str) -> None:
    found = ours(overlay)
    assert {"DbtTarget", "DbtProject", "DbtSchedule"} <= {each["kind"] for each in found}
    for manifest in found:
        spec = read_part(BY_NAME[manifest["kind"]].model, manifest, "spec")
        assert spec.to_dict() == manifest["spec"], "a field is misspelt"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_reference_is_to_an_object_of_the_same_namespace(overlay: str) -> None:
    built = production.build(overlay)
    there = {(m["kind"], m["metadata"].get("namespace"), m["metadata"]["name"]) for m in built}
    assert len(there) == len(built)
    (namespace,) = (name for kind, _, name in there if kind == "Namespace")
    for spec in runs(overlay):
        assert ("DbtProject", namespace, spec["projectRef"]["name"]) in there
        assert ("DbtTarget", namespace, spec["targetRef"]["name"]) in there
    account = one(overlay, "DbtTarget")["spec"]["serviceAccountName"]
    assert ("ServiceAccount", namespace, account) in there
    assert {where for kind, where, _ in there if kind != "Namespace"} == {namespace}
    assert set(secrets(built)) == SECRETS
    assert "Secret" not in {kind for kind, _, _ in there}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_run_would_be_refused(overlay: str) -> None:
    project = DbtProject.model_validate(one(overlay, "DbtProject"))
    target = DbtTarget.model_validate(one(overlay, "DbtTarget"))
    specs = list(runs(overlay))
    assert specs
    for spec in specs:
        assert refusal(DbtRunSpec.model_validate(spec), project.spec, target.spec) == ""


@pytest.mark.parametrize("overlay", NAMESPACES)
def test_everything_is_healthy_once_the_operator_has_looked_at_it(overlay: str) -> None:
    for manifest in ours(overlay):
        assert recorded.views(states.apply(manifest)) == GOOD


def test_production_is_protected_and_nothing_begins_by_itself_in_dev() -> None:
    assert one("overlays/prod", "DbtTarget")["spec"]["protected"] is True
    for overlay, is_suspended in (("overlays/dev", True), ("overlays/prod", None)):
        found = [m for m in ours(overlay) if m["kind"] == SCHEDULE.kind]
        assert len(found) == 2
        assert {m["spec"].get("suspend") for m in found} == {is_suspended}


def test_what_people_do_to_objects_of_production_is_not_taken_back() -> None:
    for manifest in ours("overlays/prod"):
        annotations = manifest["metadata"]["annotations"]
        assert annotations["argocd.argoproj.io/sync-options"] == "Prune=confirm"
        assert annotations["kustomize.toolkit.fluxcd.io/ssa"] == "Merge"


def test_a_run_is_in_git_as_a_hook_only() -> None:
    assert RUN.kind not in {m["kind"] for overlay in NAMESPACES for m in ours(overlay)}
    annotations = one("argocd/prod", RUN.kind)["metadata"]["annotations"]
    assert annotations["argocd.argoproj.io/hook"] == "PostSync"
    assert annotations["argocd.argoproj.io/hook-delete-policy"] == "BeforeHookCreation"


@pytest.mark.parametrize(
    ("path", "folder"),
    [
        (FOLDER / "argocd" / "application.yaml", ("spec", "source", "path")),
        (FOLDER.parent / "gitops" / "flux" / "health-checks.yaml", ("spec", "path")),
    ],
)
def test_the_tools_are_pointed_at_folders_that_exist(path: Any, folder: tuple[str, ...]) -> None:
    found = yaml.safe_load(path.read_text())
    for name in folder:
        found = found[name]
    assert (FOLDER.parents[1] / found / "kustomization.yaml").is_file()
