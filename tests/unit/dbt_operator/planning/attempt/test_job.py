"""The Job of a run, compared with what is committed. After a change that is meant:
WRITE_GOLDEN=1.
"""

from __future__ import annotations

import copy
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from dbt_operator.api.crd import dump
from dbt_operator.api.kinds.project import DbtProject
from dbt_operator.api.kinds.run import DbtRun
from dbt_operator.api.kinds.target import DbtTarget
from dbt_operator.api.parts.pod import Pod, RunPod
from dbt_operator.planning.attempt.job import Told, Work, build
from dbt_operator.planning.common.identity import Identity
from dbt_operator.planning.common.names import job_name
from dbt_operator.planning.common.pod_merge import merge_pod
from dbt_operator.planning.common.references import Referred
from dbt_operator.planning.run.admission import merge_env, resolve
from dbt_protocol.messages import PROTOCOL
from dbt_protocol.plans import RunPlan, UploadPlan
from dbt_runner import __main__ as runner
from tests.support.builders import UID, project, run, target

GOLDEN = Path(__file__).parent / "golden"
NODES = {
    "requiredDuringSchedulingIgnoredDuringExecution": {
        "nodeSelectorTerms": [
            {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}
        ]
    }
}
SPREAD = {
    "maxSkew": 1,
    "topologyKey": "topology.kubernetes.io/zone",
    "whenUnsatisfiable": "ScheduleAnyway",
    "labelSelector": {"matchLabels": {"dbt-operator.dev/project": "shop"}},
    "matchLabelKeys": ["dbt-operator.dev/target"],
}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "smallest": (run(), project(), target()),
    "everything": (
        run(
            steps=[
                {"sourceFreshness": {}},
                {"build": {"select": ["tag:finance"]}, "when": "Always"},
                {"docs": {}},
            ],
            vars={"ds": "2024-01-01"},
            env=[{"name": "SCHEMA", "value": "analytics_pr_7"}],
            onEmptySelection="Succeed",
            gate={"failOn": "Warn"},
            pod={
                "resources": {"limits": {"memory": "4Gi"}},
                "nodeSelector": {"disk": "fast"},
                "tolerations": [{"key": "batch", "operator": "Exists"}],
                "priorityClassName": "urgent",
            },
            timeout="30m",
            startTimeout="5m",
        ),
        project(
            source={
                "configMap": {
                    "name": "files",
                    "items": [{"key": "orders", "path": "models/orders.sql"}],
                }
            },
            image="registry.example.com/dbt@sha256:" + "0" * 64,
            imagePullPolicy="Always",
            imagePullSecrets=[{"name": "registry"}],
            env=[{"name": "SCHEMA", "value": "analytics"}],
            pod={
                "resources": {
                    "limits": {"memory": "1Gi", "ephemeral-storage": "5Gi"},
                    "requests": {"cpu": 1},
                },
                "sidecarResources": {"limits": {"memory": "512Mi"}},
                "ephemeralStorage": "4Gi",
                "labels": {"sidecar.istio.io/inject": "false"},
                "annotations": {"linkerd.io/inject": "disabled"},
                "nodeSelector": {"pool": "dbt"},
                "affinity": {"nodeAffinity": NODES},
                "tolerations": [{"key": "dbt", "operator": "Exists"}],
                "priorityClassName": "nightly",
                "volumes": [
                    {
                        "name": "warehouse",
                        "mountPath": "/var/lib/duckdb",
                        "subPath": "prod",
                        "persistentVolumeClaim": {"claimName": "duckdb"},
                    },
                    {
                        "name": "ca",
                        "mountPath": "/etc/company/ca",
                        "readOnly": True,
                        "configMap": {"name": "ca", "items": [{"key": "ca", "path": "ca.pem"}]},
                    },
                    {
                        "name": "key",
                        "mountPath": "/keys",
                        "secret": {"secretName": "warehouse-key"},
                    },
                    {"name": "spill", "mountPath": "/spill", "emptyDir": {"sizeLimit": "1Gi"}},
                ],
                "hostAliases": [{"ip": "10.0.0.7", "hostnames": ["warehouse.internal"]}],
                "dnsConfig": {
                    "nameservers": ["10.0.0.53"],
                    "searches": ["corp.example.com"],
                    "options": [{"name": "ndots", "value": "2"}, {"name": "use-vc"}],
                },
                "runtimeClassName": "gvisor",
                "topologySpreadConstraints": [SPREAD],
                "runAsUser": 1000,
                "fsGroup": 2000,
            },
        ),
        target(
            target="production",
            databasePattern="^warehouse$",
            serviceAccountName="dbt",
            env=[
                {"name": "PGPASSWORD", "secretKeyRef": {"name": "warehouse", "key": "password"}},
                {"name": "REGION", "configMapKeyRef": {"name": "settings", "key": "region"}},
            ],
        ),
    ),
    "git": (
        run(source={"ref": "feature/x"}, startTimeout="100s"),
        project(
            source={
                "git": {
                    "url": "https://git.example.com/shop.git",
                    "ref": "main",
                    "subPath": "analytics/dbt",
                    "submodules": True,
                    "lfs": True,
                    "secretRef": {"name": "deploy-token"},
                }
            },
            deps="Always",
            pod={"runAsUser": 1000},
        ),
        target(),
    ),
}


def job(case: str) -> dict[str, Any]:
    return build_job(*CASES[case])


def build_job(
    run_manifest: dict[str, Any],
    project_manifest: dict[str, Any],
    target_manifest: dict[str, Any],
    compared_with: str | None = None,
) -> dict[str, Any]:
    identity = Identity("analytics", "nightly", UID, 1)
    resolved = resolve(
        DbtRun.model_validate(run_manifest),
        identity,
        Referred(
            (DbtProject.model_validate(project_manifest), 1),
            (DbtTarget.model_validate(target_manifest), 1),
        ),
        "registry.example.com/runner:0.1.0",
        compared_with,
    )
    return build(resolved, identity, Work("shop", "prod", 1))


@pytest.mark.parametrize("case", CASES)
def test_the_job_is_as_committed(case: str) -> None:
    path = GOLDEN / f"{case}.yaml"
    text = dump(job(case))
    if os.environ.get("WRITE_GOLDEN"):
        path.write_text(text)
    assert path.read_text() == text


@pytest.mark.parametrize("case", CASES)
def test_secrets_go_only_where_they_are_needed(case: str) -> None:
    spec = job(case)["spec"]["template"]["spec"]
    containers = {c["name"]: c for c in [*spec["initContainers"], *spec["containers"]]}
    mounts = {name: {m["name"] for m in c["volumeMounts"]} for name, c in containers.items()}
    assert [name for name, mounted in mounts.items() if "profiles" in mounted] == ["dbt"]
    assert [name for name, mounted in mounts.items() if "git" in mounted] == ["prepare"] * (
        case == "git"
    )
    keys = {
        name: {
            e["valueFrom"]["secretKeyRef"]["name"]
            for e in c["env"]
            if "secretKeyRef" in e.get("valueFrom", {})
        }
        for name, c in containers.items()
    }
    assert "bucket" in keys["artifacts"]
    assert "bucket" not in keys["dbt"]
    assert "bucket" not in keys.get("prepare", ())
    assert "deploy-token" not in set().union(*keys.values())
    assert spec["automountServiceAccountToken"] is False


def test_the_buckets_ca_and_token_go_only_where_it_is_spoken_with() -> None:
    """The init container speaks with it where there is something to restore."""
    for case, speaking in (("smallest", ["artifacts"]), ("state", ["prepare", "artifacts"])):
        spec = copy.deepcopy(CASES["smallest"])
        spec[1]["spec"]["artifacts"]["caSecretRef"] = {"name": "internal-ca", "key": "root.pem"}
        pod = build_job(*spec, compared_with="states/1" if case == "state" else None)["spec"][
            "template"
        ]["spec"]
        containers = [*pod["initContainers"], *pod["containers"]]
        mounting = [c for c in containers if any(m["name"] == "bucket" for m in c["volumeMounts"])]
        assert [c["name"] for c in mounting] == speaking
        assert [
            c["name"] for c in containers if any(e["name"] == "AWS_SESSION_TOKEN" for e in c["env"])
        ] == speaking
        for container in mounting:
            plan = json.loads(container["env"][0]["value"])
            assert plan["bucket"]["ca"] == "/dbt-operator-bucket/ca.crt"
    (volume,) = [each["secret"] for each in pod["volumes"] if each["name"] == "bucket"]
    assert volume == {
        "secretName": "internal-ca",
        "items": [{"key": "root.pem", "path": "ca.crt"}],
        "defaultMode": 0o440,
    }


def test_keys_that_are_not_temporary_need_no_token() -> None:
    (sidecar,) = job("smallest")["spec"]["template"]["spec"]["initContainers"]
    asked = {e["name"]: e["valueFrom"]["secretKeyRef"] for e in sidecar["env"] if "valueFrom" in e}
    assert {name: ref.get("optional", False) for name, ref in asked.items()} == {
        "AWS_ACCESS_KEY_ID": False,
        "AWS_SECRET_ACCESS_KEY": False,
        "AWS_SESSION_TOKEN": True,
    }


def test_volumes_of_the_project_are_the_dbt_containers_only() -> None:
    spec = job("everything")["spec"]["template"]["spec"]
    names = {volume["name"] for volume in spec["volumes"] if volume["name"].startswith("project-")}
    assert len(names) == 4
    for container in [*spec["initContainers"], *spec["containers"]]:
        mounted = {mount["name"] for mount in container["volumeMounts"]} & names
        assert mounted == (names if container["name"] == "dbt" else set())


@pytest.mark.parametrize(("given", "mode"), [({}, 0o440), ({"defaultMode": 0o400}, 0o400)])
def test_only_the_pods_group_reads_the_files_of_secrets(given: dict[str, int], mode: int) -> None:
    """libpq refuses a private key of root's unless its mode is 0640 or less, and the user of the
    pod, who is not root, needs the group's right to read it.
    """
    secret = {"secretName": "key", **given}
    asked, of_git, where = copy.deepcopy(CASES["git"])
    volume = {"name": "key", "mountPath": "/keys", "secret": secret}
    of_git["spec"]["pod"] = {"volumes": [volume], "runAsUser": 1000}
    found = build_job(asked, of_git, where)
    spec = found["spec"]["template"]["spec"]
    secrets = {each["name"]: each["secret"] for each in spec["volumes"] if "secret" in each}
    assert {name: each["defaultMode"] for name, each in secrets.items()} == {
        "profiles": 0o440,
        "git": 0o440,
        "project-key": mode,
    }
    assert spec["securityContext"]["fsGroup"] == spec["securityContext"]["runAsGroup"] == 1000


def test_labels_and_annotations_of_the_project_are_the_pods_only() -> None:
    found = job("everything")
    metadata = found["spec"]["template"]["metadata"]
    assert metadata["labels"].items() > found["metadata"]["labels"].items()
    assert metadata["labels"]["sidecar.istio.io/inject"] == "false"
    assert metadata["annotations"] == {"linkerd.io/inject": "disabled"}
    assert "annotations" not in found["metadata"]


def test_labels_and_annotations_of_a_run_go_over_the_projects() -> None:
    asked = run(pod={"labels": {"team": "finance"}, "annotations": {"note": "of the run"}})
    marks = {"labels": {"team": "data", "tier": "gold"}, "annotations": {"note": "of the project"}}
    found = build_job(asked, project(pod=marks), target(allowedRunLabels=["team", "note"]))
    metadata = found["spec"]["template"]["metadata"]
    assert metadata["labels"] == {"team": "finance", "tier": "gold", **found["metadata"]["labels"]}
    assert metadata["annotations"] == {"note": "of the run"}


def test_the_runs_pod_is_merged_over_the_projects() -> None:
    project_pod = Pod.model_validate(
        {
            "resources": {"requests": {"cpu": 1, "memory": "1Gi"}, "limits": {"memory": "2Gi"}},
            "nodeSelector": {"pool": "dbt", "disk": "slow"},
            "affinity": {"nodeAffinity": NODES},
            "tolerations": [{"key": "a"}, {"key": "b"}],
            "runAsUser": 1000,
        }
    )
    run_pod = RunPod.model_validate(
        {
            "resources": {"limits": {"memory": "4Gi", "cpu": 2}},
            "nodeSelector": {"disk": "fast"},
            "affinity": {"podAffinity": {}},
            "tolerations": [{"key": "c"}],
        }
    )
    merged = merge_pod(project_pod, run_pod)
    assert merged is not None
    assert merged.to_dict() == {
        "resources": {
            "requests": {"cpu": 1, "memory": "1Gi"},
            "limits": {"memory": "4Gi", "cpu": 2},
        },
        "nodeSelector": {"pool": "dbt", "disk": "fast"},
        "affinity": {"nodeAffinity": NODES, "podAffinity": {}},
        "tolerations": [{"key": "c"}],
        "runAsUser": 1000,
    }
    assert merge_pod(project_pod, None) == project_pod
    assert merge_pod(None, None) is None


@pytest.mark.parametrize("case", CASES)
def test_the_pods_are_restricted(case: str) -> None:
    """As the restricted level of Pod Security asks:
    https://kubernetes.io/docs/concepts/security/pod-security-standards/.
    """
    spec = job(case)["spec"]["template"]["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in [*spec["initContainers"], *spec["containers"]]:
        assert container["securityContext"].get("runAsUser", 1) > 0
        assert (
            container["securityContext"].items()
            >= {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }.items()
        )


def test_nothing_is_prepared_where_the_images_bring_all() -> None:
    (sidecar,) = job("smallest")["spec"]["template"]["spec"]["initContainers"]
    assert UploadPlan.from_json(sidecar["env"][0]["value"]).places
    command = sidecar["lifecycle"]["postStart"]["exec"]["command"]
    assert command[:3] == ["python", "-m", "dbt_runner"]
    assert command[3] in runner.COMMANDS


@pytest.mark.parametrize("case", ["a ConfigMap", "Git", "a state", "resuming", "an older runner"])
def test_what_is_to_be_fetched_is_there_before_anything_starts(case: str) -> None:
    source: dict[str, Any] = {
        "a ConfigMap": {"configMap": {"name": "files"}},
        "Git": {"git": {"url": "https://git.example.com/shop.git"}},
    }.get(case, {"image": {"path": "/project"}})
    identity = Identity("analytics", "nightly", UID, 1)
    referred = Referred(
        (DbtProject.model_validate(project(source=source)), 1),
        (DbtTarget.model_validate(target()), 1),
    )
    spec = DbtRun.model_validate(run(retry={"maxAttempts": 2}))
    state = "states/1" if case == "a state" else None
    resolved = resolve(spec, identity, referred, "runner:1", state)
    if case == "an older runner":
        resolved = resolved.model_copy(update={"protocol": PROTOCOL})
    made = build(resolved, identity, Work("shop", "prod", 2 if case == "resuming" else 1))
    prepare, sidecar = made["spec"]["template"]["spec"]["initContainers"]
    assert prepare["name"] == "prepare"
    assert "lifecycle" not in sidecar
    assert UploadPlan.from_json(sidecar["env"][0]["value"]).places is False


def test_the_plans_can_be_read_by_the_runner() -> None:
    spec = job("everything")["spec"]["template"]["spec"]
    plans = {
        c["name"]: next(e["value"] for e in c["env"] if e["name"] == "DBT_OPERATOR_PLAN")
        for c in [*spec["initContainers"], *spec["containers"]]
    }
    plan = RunPlan.from_json(plans["dbt"])
    assert [step.name for step in plan.steps] == ["1-sourceFreshness", "2-build", "3-docs"]
    assert [step.always for step in plan.steps] == [False, True, False]
    assert [step.allow_failure for step in plan.steps] == [False, False, True]
    assert all(step.allow_empty for step in plan.steps)
    assert plan.timeout_seconds == 1800
    upload = UploadPlan.from_json(plans["artifacts"])
    assert upload.prefix == f"dbt/analytics/shop/prod/runs/nightly-{UID[:8]}/attempt-1"


@pytest.mark.parametrize(
    ("spec", "cached"),
    [({}, True), ({"parseCache": "Auto"}, True), ({"parseCache": "Never"}, False)],
)
def test_a_project_may_want_no_parse_cache(spec: dict[str, Any], cached: bool) -> None:
    identity = Identity("analytics", "nightly", UID, 1)
    referred = Referred(
        (DbtProject.model_validate(project(**spec)), 1),
        (DbtTarget.model_validate(target()), 1),
    )
    resolved = resolve(DbtRun.model_validate(run()), identity, referred, "runner:1")
    pod = build(resolved, identity, Work("shop", "prod", 1))["spec"]["template"]["spec"]
    plans = [
        next(
            variable["value"]
            for variable in container["env"]
            if variable["name"] == "DBT_OPERATOR_PLAN"
        )
        for container in (pod["containers"][0], pod["initContainers"][0])
    ]
    assert (resolved.cache_location is not None) is cached
    assert RunPlan.from_json(plans[0]).cached is cached
    assert bool(UploadPlan.from_json(plans[1]).cache) is cached


@pytest.mark.parametrize(
    ("spec", "left", "deadline"),
    [
        ({}, None, None),
        ({"timeout": "1h"}, None, 600 + 3600 + 180),
        ({"timeout": "1h", "startTimeout": "1m"}, None, 60 + 3600 + 180),
        ({"timeout": "1h", "retry": {"maxAttempts": 2}}, 100.4, 600 + 100 + 180),
        ({"retry": {"maxAttempts": 2, "attemptTimeout": "5m"}}, 300.0, 600 + 300 + 180),
    ],
)
def test_the_pod_has_a_deadline_behind_the_time_that_dbt_is_given(
    spec: dict[str, Any], left: float | None, deadline: int | None
) -> None:
    """It has to start, to be interrupted and to upload; only then is it killed."""
    identity = Identity("analytics", "nightly", UID, 1)
    referred = Referred(
        (DbtProject.model_validate(project()), 1), (DbtTarget.model_validate(target()), 1)
    )
    resolved = resolve(DbtRun.model_validate(run(**spec)), identity, referred, "runner:1")
    template = build(resolved, identity, Work("shop", "prod", 2), Told(left))["spec"]["template"][
        "spec"
    ]
    assert template.get("activeDeadlineSeconds") == deadline
    plan = RunPlan.from_json(template["containers"][0]["env"][-1]["value"].replace("$$", "$"))
    assert (plan.timeout_seconds is None) == (deadline is None)
    grace = template["terminationGracePeriodSeconds"]
    if deadline is not None and plan.timeout_seconds is not None:
        assert (
            deadline - resolved.start_timeout_seconds
            >= plan.timeout_seconds + plan.grace_seconds + grace
        )


def test_kubernetes_expands_nothing_in_a_plan() -> None:
    """$(NAME) in an environment variable would be replaced by another one's value: by a password,
    for example.
    """
    identity = Identity("analytics", "nightly", UID, 1)
    referred = Referred(
        (DbtProject.model_validate(project()), 1), (DbtTarget.model_validate(target()), 1)
    )
    run_model = DbtRun.model_validate(run(vars={"a": "$(PGPASSWORD) costs $5"}))
    manifest = build(
        resolve(run_model, identity, referred, "runner:1"), identity, Work("shop", "prod", 1)
    )
    (container,) = manifest["spec"]["template"]["spec"]["containers"]
    assert "$$(PGPASSWORD) costs $$5" in container["env"][-1]["value"]


def test_the_runs_environment_wins_over_targets_and_projects() -> None:
    run_manifest, project_manifest, target_manifest = CASES["everything"]
    merged = merge_env(
        DbtProject.model_validate(project_manifest).spec.env,
        DbtTarget.model_validate(target_manifest).spec.env,
        DbtRun.model_validate(run_manifest).spec.env,
    )
    assert {v.name: v.value for v in merged or []} == {
        "SCHEMA": "analytics_pr_7",
        "PGPASSWORD": None,
        "REGION": None,
    }


@pytest.mark.parametrize("name", ["a", "a" * 63, "nightly.2024-01-01", "a" * 50 + "." + "b" * 12])
def test_job_names_fit_into_labels_and_are_told_apart_by_uid_and_attempt(name: str) -> None:
    one = job_name(name, UID, 1)
    assert len(one) <= 63
    assert "." not in one
    assert one == job_name(name, UID, 1)
    assert len({one, job_name(name, UID, 2), job_name(name, "22222222-x", 1)}) == 3


def expanded(text: str, env: dict[str, str]) -> str:
    """As the kubelet does it: $(NAME) is a variable's value, and $$ is a dollar sign."""
    return re.sub(r"\$\$|\$\((\w+)\)", lambda m: "$" if m[0] == "$$" else env.get(m[1], m[0]), text)


HOSTILE = "a$(WAREHOUSE_PASSWORD)$$(WAREHOUSE_PASSWORD)$"


def test_no_text_of_anybody_is_expanded_to_the_value_of_another_variable() -> None:
    secret = {"name": "WAREHOUSE_PASSWORD", "secretKeyRef": {"name": "s", "key": "k"}}
    git = {"url": f"https://example.com/{HOSTILE}", "ref": HOSTILE, "subPath": HOSTILE}
    made = build(
        resolve(
            DbtRun.model_validate(
                run(env=[{"name": "SCHEMA", "value": HOSTILE}], vars={"x": HOSTILE})
            ),
            Identity("analytics", "nightly", UID, 1),
            Referred(
                (DbtProject.model_validate(project(source={"git": git})), 1),
                (
                    DbtTarget.model_validate(
                        target(env=[secret, {"name": "ROLE", "value": HOSTILE}])
                    ),
                    1,
                ),
            ),
            "runner",
        ),
        Identity("analytics", "nightly", UID, 1),
        Work("shop", "prod", 1),
    )
    spec = made["spec"]["template"]["spec"]
    values = []
    for container in [*spec["initContainers"], *spec["containers"]]:
        words = [*container.get("command", []), *container.get("args", [])]
        words += [each["value"] for each in container["env"] if "value" in each]
        values += [expanded(word, {"WAREHOUSE_PASSWORD": "the-secret"}) for word in words]
    assert "the-secret" not in "".join(values)
    assert values.count(HOSTILE) == 2
    assert (
        HOSTILE
        in RunPlan.from_json(next(value for value in values if '"steps"' in value))
        .steps[0]
        .argv[-1]
    )


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://git.example.com/shop.git", None),
        ("http://git.example.com/shop.git", None),
        ("ssh://git@git.example.com/shop.git", 65532),
        ("git@git.example.com:shop.git", 65532),
    ],
)
def test_only_ssh_needs_a_user_that_the_image_knows(url: str, expected: int | None) -> None:
    """All others are what the project says: a namespace may take users of its range only."""
    of_project = project(source={"git": {"url": url}}, pod={"runAsUser": 1_000_680_000})
    spec = build_job(run(), of_project, target())["spec"]["template"]["spec"]
    assert spec["securityContext"]["runAsUser"] == 1_000_680_000
    users = [
        container["securityContext"].get("runAsUser")
        for container in [*spec["initContainers"], *spec["containers"]]
    ]
    assert users == [expected, None, None]
