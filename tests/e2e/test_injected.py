"""Runs into whose pods a webhook puts a container that does not end by itself, on a real node."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import pytest

from tests.support import mesh, product
from tests.support.kube import Manifest, apply, get, items, kubectl, wait_for
from tests.support.scenarios import NAMESPACE, Scenario, manifests

INJECTED, NEXT = "injected", "injected-next"
OPTED_OUT = Scenario(
    "not-injected",
    "Succeeded",
    project={
        "pod": {
            "resources": {"requests": {"cpu": "50m", "memory": "256Mi"}},
            "labels": mesh.OPTED_OUT,
        }
    },
)
FAILING = Scenario("injected-failing", reason="ModelError", overlay="failing-model")


@pytest.fixture(scope="module")
def ended(warehouse: None, images: Mapping[str, str]) -> Iterator[dict[str, Manifest]]:  # noqa: ARG001 -- it has to be there first
    """Two runs of one target with an injected container, one that fails beside it, and one that has
    opted out; by name.
    """
    names = (INJECTED, NEXT, FAILING.name, OPTED_OUT.name)
    kubectl("delete", "dbtrun", *names, "--ignore-not-found", "--wait", namespace=NAMESPACE)
    *others, first = manifests(Scenario(INJECTED, "Succeeded"), images)
    second = json.loads(json.dumps(first))
    second["metadata"]["name"] = NEXT
    with mesh.installed(images["git"], NAMESPACE, [INJECTED, FAILING.name, OPTED_OUT.name]):
        apply(*others, first, *manifests(OPTED_OUT, images), *manifests(FAILING, images))
        wait_for("the first run holds the slot", lambda: _holders() == [INJECTED])
        assert mesh.PROXY in wait_for("its pod", lambda: _containers(INJECTED))
        apply(second)
        yield {name: product.wait_until_finished(name, NAMESPACE) for name in names}


def _holders() -> list[str]:
    status = get("dbttarget", INJECTED, NAMESPACE).get("status", {})
    return [holder["name"] for holder in status.get("holders", [])]


def _pods(run: str) -> list[Manifest]:
    return items("pods", NAMESPACE, f"--selector=dbt-operator.dev/run={run}")


def _containers(run: str) -> list[str]:
    return [each["name"] for pod in _pods(run) for each in pod["spec"]["containers"]]


@pytest.mark.parametrize("name", [INJECTED, NEXT])
def test_the_run_ends_as_dbt_ended_and_its_pod_and_slot_are_free(
    ended: dict[str, Manifest], name: str
) -> None:
    assert ended[name]["status"]["phase"] == "Succeeded"
    assert product.condition(ended[name], "ArtifactsUploaded") == "True"
    wait_for("its pod is gone", lambda: not _pods(name))
    wait_for("its slot is free", lambda: name not in _holders())


def test_what_failed_is_told_although_the_sidecar_is_started_again(
    ended: dict[str, Manifest],
) -> None:
    status = ended[FAILING.name]["status"]
    assert status["reason"] == FAILING.reason
    assert status["details"]["failed"] == 1
    wait_for("its pod is gone", lambda: not _pods(FAILING.name))


def test_a_label_of_the_pods_keeps_the_container_out(ended: dict[str, Manifest]) -> None:
    assert ended[OPTED_OUT.name]["status"]["phase"] == "Succeeded"
    assert _containers(OPTED_OUT.name) == ["dbt"], "it has ended by itself, and is kept"
