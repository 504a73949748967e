"""What a tool that applies a repository over and over does to objects: nothing, unless the
repository has changed.
"""

from __future__ import annotations

import copy
import json
import uuid
from collections.abc import Iterator

import pytest

from dbt_operator.api.registry import BY_NAME, KINDS
from tests.support import argocd, production
from tests.support.api_objects import manifest
from tests.support.kube import CommandError, Manifest, get, kubectl
from tests.support.production import OVERLAYS

GIT, OTHER = "argocd-controller", "somebody-else"
# Both are how a repository is applied: Flux and ServerSideApply=true of Argo CD; Argo CD's default.
SERVER_SIDE, CLIENT_SIDE = ("--server-side", f"--field-manager={GIT}"), ()
MODES = [SERVER_SIDE, CLIENT_SIDE]
KIND_NAMES = [kind.kind for kind in KINDS]


@pytest.fixture(name="space")
def make_space(crds: None) -> Iterator[str]:  # noqa: ARG001 -- it has to be there first
    """The name of a namespace that an overlay brings."""
    name = f"gitops-{uuid.uuid4().hex[:8]}"
    yield name
    kubectl("delete", "namespace", name, "--ignore-not-found", "--wait=false")


def build(overlay: str, space: str) -> list[Manifest]:
    """The objects of an overlay, in a namespace of the test's own; the namespace first."""
    built = production.build(overlay)
    for found in built:
        if found["kind"] == "Namespace":
            found["metadata"]["name"] = space
        else:
            found["metadata"]["namespace"] = space
    return sorted(built, key=lambda found: found["kind"] != "Namespace")


def apply(manifests: list[Manifest], *flags: str) -> str:
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests})
    return kubectl("apply", *flags, "-f", "-", stdin=text)


def apply_as(manager: str, *manifests: Manifest) -> str:
    """kubectl apply, server-side, by somebody; of kubectl's own checks, an object that is a part
    only would not pass.
    """
    flags = ("--server-side", f"--field-manager={manager}", "--validate=false")
    return apply(list(manifests), *flags)


def live(found: Manifest) -> Manifest:
    metadata = found["metadata"]
    return get(found["kind"].lower(), metadata["name"], metadata["namespace"])


def versions(manifests: list[Manifest]) -> dict[str, tuple[int, str]]:
    """The generation and the resourceVersion of our objects."""
    found = [live(each)["metadata"] for each in manifests if each["kind"] in BY_NAME]
    return {each["uid"]: (each["generation"], each["resourceVersion"]) for each in found}


def patch(found: Manifest, change: Manifest, *flags: str) -> None:
    metadata = found["metadata"]
    text = json.dumps(change)
    kubectl(
        "patch",
        found["kind"].lower(),
        metadata["name"],
        "--type=merge",
        "-p",
        text,
        *flags,
        namespace=metadata["namespace"],
    )


def tell_seen(found: Manifest) -> None:
    """What the operator writes first. Until then the API server has the status of a new object as
    a default only, and the next write of whomever stores that, with a new resourceVersion.
    """
    patch(found, {"status": {"observedGeneration": 1}}, "--subresource=status")


def only(found: Manifest, **parts: Manifest) -> Manifest:
    """What somebody applies who wants nothing of an object but these parts."""
    metadata = {name: found["metadata"][name] for name in ("name", "namespace")}
    metadata |= parts.pop("metadata", {})
    return {
        "apiVersion": found["apiVersion"],
        "kind": found["kind"],
        "metadata": metadata,
        **parts,
    }


@pytest.mark.parametrize("flags", MODES)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_applying_the_production_layout_again_changes_nothing(
    space: str, overlay: str, flags: tuple[str, ...]
) -> None:
    manifests = build(overlay, space)
    apply(manifests, *flags)
    for found in manifests:
        if found["kind"] in BY_NAME:
            tell_seen(found)
    before = versions(manifests)
    assert len(before) >= 4
    apply(manifests, *flags)
    assert versions(manifests) == before


@pytest.mark.parametrize("flags", MODES)
@pytest.mark.parametrize("kind", KIND_NAMES)
def test_applying_again_leaves_what_the_operator_and_people_have_written(
    where: str, kind: str, flags: tuple[str, ...]
) -> None:
    wanted = manifest(kind, where)
    apply([wanted], *flags)
    tell_seen(wanted)
    patch(wanted, {"metadata": {"annotations": {"dbt-operator.dev/run-now": "a"}}})
    if kind in ("DbtRun", "DbtBackfill"):  # as Argo CD's action does
        patch(wanted, {"spec": {"cancel": True}})
    before = live(wanted)
    apply([wanted], *flags)
    after = live(wanted)
    assert after == before
    assert after["spec"].get("cancel") == before["spec"].get("cancel")
    assert after["status"]["observedGeneration"] == 1


@pytest.mark.parametrize("kind", KIND_NAMES)
def test_an_apply_by_somebody_else_takes_no_field_away(where: str, kind: str) -> None:
    wanted = manifest(kind, where)
    wanted["metadata"]["annotations"] = {"example.com/owner": "git"}
    apply_as(GIT, wanted)
    before = live(wanted)
    apply_as(OTHER, only(wanted, metadata={"labels": {"team": "data"}}))
    after = live(wanted)
    assert after["metadata"]["labels"] == {"team": "data"}
    assert after["metadata"]["annotations"] == before["metadata"]["annotations"]
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
    assert after["spec"] == before["spec"]
    apply_as(OTHER, only(wanted))
    left = live(wanted)
    assert "labels" not in left["metadata"]
    assert left["spec"] == before["spec"]


def test_a_field_that_somebody_else_has_set_stays_when_git_is_applied(where: str) -> None:
    wanted = manifest("DbtSchedule", where)
    apply_as(GIT, wanted)
    apply_as(OTHER, only(wanted, spec={"suspend": True}))
    apply_as(GIT, wanted)
    assert live(wanted)["spec"] == wanted["spec"] | {"suspend": True}
    apply_as(OTHER, only(wanted))
    assert live(wanted)["spec"] == wanted["spec"]


def test_a_field_of_git_is_not_overwritten_by_somebody_else_unasked(where: str) -> None:
    wanted = manifest("DbtSchedule", where, suspend=True)
    apply_as(GIT, wanted)
    with pytest.raises(CommandError, match=r"conflict with \"argocd-controller\""):
        apply_as(OTHER, only(wanted, spec={"suspend": False}))
    assert live(wanted)["spec"]["suspend"] is True


def test_git_takes_back_a_field_that_it_has_and_leaves_an_annotation_that_it_has_not(
    where: str,
) -> None:
    # Why pausing a schedule is an annotation: self-heal is this apply.
    wanted = manifest("DbtSchedule", where, suspend=False)
    apply_as(GIT, wanted)
    paused = {"dbt-operator.dev/paused-until": "forever"}
    patch(wanted, {"spec": {"suspend": True}, "metadata": {"annotations": paused}})
    apply([copy.deepcopy(wanted)], *SERVER_SIDE, "--force-conflicts")
    found = live(wanted)
    assert found["spec"]["suspend"] is False
    assert found["metadata"]["annotations"] == paused


def test_the_patch_for_argo_cd_adds_to_its_config_map(where: str) -> None:
    # kubectl apply --server-side would take over, and remove, what was applied client-side before.
    name, url = "argocd-cm", {"url": "https://argocd.example.com"}
    metadata = {"name": name, "namespace": where}
    apply([{"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": url}])
    kubectl("patch", "configmap", name, f"--patch-file={argocd.CONFIG_MAP}", namespace=where)
    assert get("configmap", name, where)["data"] == url | argocd.read_config_map()
