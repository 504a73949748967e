"""The chart: it lints, and renders what it promises."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
import yaml

from dbt_operator.api.registry import KINDS
from dbt_operator.common.awaited_kinds import parse_kinds
from dbt_operator.process.assembly import LAST_WORK
from tests.support.kube import ROOT

CHART = ROOT / "charts" / "dbt-operator"


def run_helm(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["helm", *argv], capture_output=True, text=True, check=False)


def template(*settings: str) -> list[dict[str, Any]]:
    done = run_helm(
        "template", "x", str(CHART), "--kube-version=1.34.4", *(f"--set={s}" for s in settings)
    )
    assert done.returncode == 0, done.stderr
    return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]


def kinds(manifests: list[dict[str, Any]]) -> set[str]:
    return {manifest["kind"] for manifest in manifests}


def test_it_lints() -> None:
    done = run_helm("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("settings", [(), ("namespaces={a,b}",)])
def test_no_rule_has_a_wildcard_or_touches_secrets(settings: tuple[str, ...]) -> None:
    rules = [rule for m in template(*settings) for rule in m.get("rules", [])]
    assert len(rules) > 5
    for rule in rules:
        assert "secrets" not in rule["resources"]
        assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]


@pytest.mark.parametrize("settings", [(), ("namespaces={a,b}",)])
def test_logs_can_be_read_and_nothing_else_be_done_with_them(settings: tuple[str, ...]) -> None:
    for manifest in template(*settings, "aggregateRoles=false"):
        if manifest["kind"] in ("Role", "ClusterRole") and not manifest["metadata"][
            "name"
        ].endswith("-election"):
            about = [rule for rule in manifest["rules"] if "pods/log" in rule["resources"]]
            assert [(rule["resources"], rule["verbs"]) for rule in about] == [
                (["pods/log"], ["get"])
            ]


def test_named_namespaces_get_roles_and_nothing_cluster_wide() -> None:
    manifests = template("namespaces={a,b}", "aggregateRoles=false")
    assert "ClusterRole" not in kinds(manifests)
    assert "ClusterRoleBinding" not in kinds(manifests)
    roles = [
        (m["metadata"]["namespace"], m["metadata"]["name"])
        for m in manifests
        if m["kind"] == "Role"
    ]
    assert sorted(roles) == [
        ("a", "x-dbt-operator"),
        ("b", "x-dbt-operator"),
        ("default", "x-dbt-operator-election"),
    ]


def test_crds_can_be_left_out_and_are_kept() -> None:
    assert "CustomResourceDefinition" not in kinds(template("crds.enabled=false"))
    annotations = [
        m["metadata"].get("annotations")
        for m in template()
        if m["kind"] == "CustomResourceDefinition"
    ]
    assert annotations == [{"helm.sh/resource-policy": "keep"}] * len(KINDS)
    assert all(
        "annotations" not in m["metadata"]
        for m in template("crds.keep=false")
        if m["kind"].startswith("Custom")
    )


def test_a_digest_wins_over_a_tag() -> None:
    digest = "sha256:" + "a" * 64
    (deployment,) = (
        m for m in template(f"image.digest={digest}", "image.tag=x") if m["kind"] == "Deployment"
    )
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"dbt-operator/operator@{digest}"


def test_an_election_needs_no_more_than_its_own_lease() -> None:
    (role,) = (m for m in template() if m["kind"] == "Role")
    rules = [
        (rule["apiGroups"], rule["resources"], rule.get("resourceNames"), rule["verbs"])
        for rule in role["rules"]
    ]
    leases = (["coordination.k8s.io"], ["leases"])
    assert rules == [(*leases, ["x-dbt-operator"], ["get", "update"]), (*leases, None, ["create"])]
    assert _environment()["DBT_OPERATOR_LEASE_NAME"] == "x-dbt-operator"
    assert _environment()["DBT_OPERATOR_LEASE_NAMESPACE"] == {
        "fieldRef": {"fieldPath": "metadata.namespace"}
    }


def test_a_standby_is_kept_apart_and_one_of_them_kept_running() -> None:
    alone, two = template(), template("replicas=2")
    assert "PodDisruptionBudget" not in kinds(alone)
    assert "affinity" not in _pod(alone)
    (budget,) = (m for m in two if m["kind"] == "PodDisruptionBudget")
    (deployment,) = (m for m in two if m["kind"] == "Deployment")
    assert budget["spec"] == {"maxUnavailable": 1, "selector": deployment["spec"]["selector"]}
    assert deployment["spec"]["replicas"] == 2
    (apart,) = _pod(two)["affinity"]["podAntiAffinity"][
        "preferredDuringSchedulingIgnoredDuringExecution"
    ]
    assert apart["podAffinityTerm"]["labelSelector"] == deployment["spec"]["selector"]
    assert _pod(template("replicas=2", "affinity.nodeAffinity.x=y"))["affinity"] == {
        "nodeAffinity": {"x": "y"}
    }


def test_a_pod_has_time_to_finish_and_to_hand_over() -> None:
    assert _pod(template())["terminationGracePeriodSeconds"] >= LAST_WORK + 20
    assert _pod(template())["containers"][0]["readinessProbe"]["httpGet"]["path"] == "/readyz"


def _pod(manifests: list[dict[str, Any]]) -> dict[str, Any]:
    (deployment,) = (m for m in manifests if m["kind"] == "Deployment")
    found: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return found


def _environment() -> dict[str, Any]:
    (container,) = _pod(template())["containers"]
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container["env"]}


def test_the_operator_is_restricted() -> None:
    (deployment,) = (m for m in template() if m["kind"] == "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True
    assert pod["containers"][0]["securityContext"]["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize(
    "setting", ["workers=0", "replicas=-1", "log.level=LOUD", "image.digest=abc", "unknown=1"]
)
def test_wrong_values_are_refused(setting: str) -> None:
    done = run_helm("template", "x", str(CHART), "--kube-version=1.34.4", f"--set={setting}")
    assert done.returncode != 0
    assert setting.partition("=")[0].rpartition(".")[2] in done.stderr


LOAD = ("group=example.com", "version=v1", "plural=loads", "kind=Load")


def list_kind(*settings: str) -> tuple[str, ...]:
    return tuple(f"waitFor.kinds[0].{setting}" for setting in settings)


@pytest.mark.parametrize("where", [(), ("namespaces={a}",)])
def test_a_kind_that_may_be_waited_for_can_be_read_and_is_known(where: tuple[str, ...]) -> None:
    made = template(*where, *list_kind(*LOAD, "condition=Complete"))
    rules = [rule for m in made for rule in m.get("rules", []) if rule["resources"] == ["loads"]]
    assert rules == [{"apiGroups": ["example.com"], "resources": ["loads"], "verbs": ["get"]}]
    (deployment,) = [m for m in made if m["kind"] == "Deployment"]
    env = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    (text,) = [each["value"] for each in env if each["name"] == "DBT_OPERATOR_AWAITED_KINDS"]
    (kind,) = parse_kinds(text)
    assert (kind.group, kind.kind, kind.condition) == ("example.com", "Load", "Complete")


@pytest.mark.parametrize(
    "settings",
    [
        LOAD,
        (*LOAD, "field=status.phase"),
        (*LOAD[:2], "plural=*", "kind=Load", "condition=Complete"),
        (*LOAD[:2], "plural=secrets", "kind=Secret", "condition=Complete"),
    ],
)
def test_a_kind_that_cannot_be_waited_for_is_refused(settings: tuple[str, ...]) -> None:
    flags = [f"--set={setting}" for setting in list_kind(*settings)]
    done = run_helm("template", "x", str(CHART), "--kube-version=1.34.4", *flags)
    assert done.returncode != 0
    assert "waitFor" in done.stderr
