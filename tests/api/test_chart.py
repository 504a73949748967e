"""The chart: it lints, and renders what it promises."""

from __future__ import annotations

import json
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from dbt_notifier.channels import read_channels
from dbt_operator.api.registry import KINDS
from dbt_operator.common.awaited_kinds import parse_kinds
from dbt_operator.common.channels import Channel, parse_channels
from dbt_operator.process.assembly import LAST_WORK
from tests.support.kube import ROOT

CHART = ROOT / "charts" / "dbt-operator"
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())


def run_helm(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["helm", *argv], capture_output=True, text=True, check=False)


@cache
def template(*settings: str) -> list[dict[str, Any]]:
    done = run_helm(
        "template", "x", str(CHART), "--kube-version=1.34.4", *(f"--set={s}" for s in settings)
    )
    assert done.returncode == 0, done.stderr
    return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]


def kinds(manifests: list[dict[str, Any]]) -> set[str]:
    return {manifest["kind"] for manifest in manifests}


# Another value for each that there is, and what has to be there for it to mean anything.
OTHER: dict[str, tuple[str, ...]] = {
    "namespaces": ("namespaces={a}",),
    "crds.enabled": ("crds.enabled=false",),
    "crds.keep": ("crds.keep=false",),
    "replicas": ("replicas=2",),
    "image.repository": ("image.repository=example.com/x",),
    "image.tag": ("image.tag=x",),
    "image.digest": ("image.digest=sha256:" + "a" * 64,),
    "image.pullPolicy": ("image.pullPolicy=Always",),
    "runnerImage.repository": ("runnerImage.repository=example.com/x",),
    "runnerImage.tag": ("runnerImage.tag=x",),
    "runnerImage.digest": ("runnerImage.digest=sha256:" + "a" * 64,),
    "imagePullSecrets": ("imagePullSecrets[0].name=x",),
    "serviceAccount.create": ("serviceAccount.create=false", "serviceAccount.name=x"),
    "serviceAccount.name": ("serviceAccount.name=x",),
    "serviceAccount.annotations": ("serviceAccount.annotations.x=y",),
    "aggregateRoles": ("aggregateRoles=false",),
    "networkPolicy.enabled": ("networkPolicy.enabled=true",),
    "networkPolicy.apiServerPorts": (
        "networkPolicy.enabled=true",
        "networkPolicy.apiServerPorts={8443}",
    ),
    "networkPolicy.channelPorts": (
        "networkPolicy.enabled=true",
        "notifications.channels.team.kind=slack",
        "notifications.channels.team.secretName=x",
        "networkPolicy.channelPorts={8443}",
    ),
    "notifications.channels": (
        "notifications.channels.team.kind=slack,notifications.channels.team.secretName=x",
    ),
    "notifications.env": (
        "notifications.channels.team.kind=slack",
        "notifications.channels.team.secretName=x",
        "notifications.env.HTTPS_PROXY=http://proxy:3128",
    ),
    "notifications.resources": (
        "notifications.channels.team.kind=slack",
        "notifications.channels.team.secretName=x",
        "notifications.resources.limits.cpu=1",
    ),
    "metrics.service": ("metrics.service=true",),
    "metrics.serviceMonitor.enabled": ("metrics.serviceMonitor.enabled=true",),
    "metrics.serviceMonitor.labels": (
        "metrics.serviceMonitor.enabled=true",
        "metrics.serviceMonitor.labels.x=y",
    ),
    "metrics.serviceMonitor.interval": (
        "metrics.serviceMonitor.enabled=true",
        "metrics.serviceMonitor.interval=1m",
    ),
    "metrics.rules.enabled": ("metrics.rules.enabled=true",),
    "metrics.rules.labels": ("metrics.rules.enabled=true", "metrics.rules.labels.x=y"),
    "metrics.dashboard.enabled": ("metrics.dashboard.enabled=true",),
    "metrics.dashboard.labels": ("metrics.dashboard.enabled=true", "metrics.dashboard.labels.x=y"),
    "log.level": ("log.level=DEBUG",),
    "log.format": ("log.format=console",),
    "workers": ("workers=3",),
    "resyncSeconds": ("resyncSeconds=30",),
    "waitFor.kinds": (
        "waitFor.kinds[0].group=example.com",
        "waitFor.kinds[0].version=v1",
        "waitFor.kinds[0].plural=loads",
        "waitFor.kinds[0].kind=Load",
        "waitFor.kinds[0].condition=Complete",
    ),
    "resources": ("resources.limits.cpu=2",),
    "podSecurityContext": ("podSecurityContext.runAsUser=1000680000",),
    "securityContext": ("securityContext.privileged=false",),
    "podAnnotations": ("podAnnotations.x=y",),
    "podLabels": ("podLabels.x=y",),
    "nodeSelector": ("nodeSelector.x=y",),
    "tolerations": ("tolerations[0].operator=Exists",),
    "affinity": ("affinity.nodeAffinity.x=y",),
    "priorityClassName": ("priorityClassName=x",),
}


# Values that mean something only beside others of their section.
_NESTED = ("networkPolicy.", "notifications.", "metrics.")


def find_values(known: dict[str, Any], allowed: dict[str, Any], path: str = "") -> set[str]:
    """The paths of all values that the schema names the parts of."""
    found = set()
    for name, value in known.items():
        properties = allowed["properties"][name]
        if "$ref" in properties:
            properties = SCHEMA["definitions"][properties["$ref"].rpartition("/")[2]]
        inner = isinstance(value, dict) and "properties" in properties
        found |= find_values(value, properties, f"{path}{name}.") if inner else {f"{path}{name}"}
    return found


def test_every_value_is_known_here() -> None:
    assert find_values(yaml.safe_load((CHART / "values.yaml").read_text()), SCHEMA) == set(OTHER)


@pytest.mark.parametrize("value", OTHER)
def test_no_value_is_without_effect(value: str) -> None:
    *before, last = OTHER[value]
    without = before if value.startswith(_NESTED) else []
    assert template(*without, *before, last) != template(*without)


def test_a_value_that_would_have_no_effect_is_refused() -> None:
    done = run_helm(
        "template", "x", str(CHART), "--kube-version=1.34.4", "--set=runnerImage.pullPolicy=Always"
    )
    assert done.returncode != 0
    assert "pullPolicy" in done.stderr


def test_a_service_account_that_is_there_has_to_be_named() -> None:
    flags = ("--kube-version=1.34.4", "--set=serviceAccount.create=false")
    done = run_helm("template", "x", str(CHART), *flags)
    assert done.returncode != 0
    assert "serviceAccount" in done.stderr


def test_a_network_policy_lets_in_who_asks_how_it_is_and_nobody_else() -> None:
    assert "NetworkPolicy" not in kinds(template())
    (policy,) = (m for m in template("networkPolicy.enabled=true") if m["kind"] == "NetworkPolicy")
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert policy["spec"]["ingress"] == [{"ports": [{"port": "health", "protocol": "TCP"}]}]
    (out,) = policy["spec"]["egress"]
    assert {each["port"] for each in out["ports"]} == {53, 443, 6443}


def test_the_crds_of_another_release_are_taken_over_only_if_that_is_said() -> None:
    """As a second release, or one under another name after crds.keep, comes upon them."""
    install = ("install", "another", str(CHART), "--dry-run=server", "--namespace=default")
    done = run_helm(*install)
    assert done.returncode != 0
    assert "cannot be imported into the current release" in done.stderr
    for flag in ("--take-ownership", "--set=crds.enabled=false"):
        done = run_helm(*install, flag)
        assert done.returncode == 0, done.stderr


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


TEAM = ("kind=slack", "secretName=slack-team", "namespaces={analytics}", "repeatHours=12")


def declare(*settings: str, name: str = "team") -> tuple[str, ...]:
    return tuple(f"notifications.channels.{name}.{setting}" for setting in settings)


def test_the_notifier_alone_has_the_secrets_of_channels_and_no_token() -> None:
    made = template(*declare(*TEAM))
    (deployment,) = [m for m in made if m["kind"] == "Deployment"]
    pod = deployment["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    operator, notifier = pod["containers"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    mounted = [
        {mount["name"] for mount in container["volumeMounts"]} for container in (operator, notifier)
    ]
    assert mounted == [
        {"tmp", "notifier", "token"},
        {"notifier", "channels", "channel-team"},
    ]
    assert volumes["channel-team"]["secret"]["secretName"] == "slack-team"
    # Without its Secret a channel fails, and not the operator.
    assert volumes["channel-team"]["secret"]["optional"] is True
    assert notifier["securityContext"] == operator["securityContext"]
    assert len(template()) == len(made) - 1


def test_operator_and_notifier_know_the_channels() -> None:
    made = template(*declare(*TEAM), *declare("mentions.finance=<@U012345>"))
    (deployment,) = [m for m in made if m["kind"] == "Deployment"]
    env = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    (text,) = [each["value"] for each in env if each["name"] == "DBT_OPERATOR_CHANNELS"]
    assert parse_channels(text) == {"team": Channel("team", ("analytics",), 12 * 3600.0)}
    (config,) = [m for m in made if m["kind"] == "ConfigMap"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "channels.json"
        path.write_text(config["data"]["channels.json"])
        assert list(read_channels(path)) == ["team"]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (("kind=pigeon", "secretName=x"), "kind"),
        (("kind=slack",), "secretName"),
        (("kind=slack", "secretName=x", "host=mail"), "host"),
        (("kind=slack", "secretName=x", "mentions.all=<!channel>"), "mentions"),
        (("kind=mail", "secretName=x", "from=a@b.c", "to={d@e.f}"), "host"),
        (("kind=mail", "secretName=x", "host=h", "from=a@b.c", "to={d@e.f}", "port=0"), "port"),
        (("kind=webhook", "secretName=x", "repeatHours=0"), "repeatHours"),
        (("kind=webhook", "secretName=x", "url=https://example.com"), "url"),
    ],
)
def test_a_channel_that_is_declared_wrongly_is_refused(
    settings: tuple[str, ...], named: str
) -> None:
    flags = [f"--set={setting}" for setting in declare(*settings)]
    done = run_helm("template", "x", str(CHART), "--kube-version=1.34.4", *flags)
    assert done.returncode != 0
    assert named in done.stderr
