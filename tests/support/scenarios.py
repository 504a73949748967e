"""Runs that must end in a certain way, each with the project, target and run that lead there."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import yaml

from tests.cluster.images import DBT_LOCKS
from tests.support import product
from tests.support.kube import ROOT, Manifest, apply, kubectl, resource, secret

NAMESPACE = "e2e"
PROJECTS = ROOT / "tests" / "data" / "projects"
PASSWORD = "canary-8f41c7d2e9"  # noqa: S105 -- looked for in everything that a run leaves behind
BUCKET_SECRET = product.MINIO_PASSWORD
# What a run whose pod cannot start is given, one after the other, until scheduler and kubelet have
# said within it why: on a busy machine they take their time.
START_TIMEOUTS = ("30s", "3m", "18m")


@dataclass(frozen=True)
class Scenario:
    """A run and its end. ``overlay`` is put over the mini project; specs are put over the usual
    ones.
    """

    name: str
    phase: str = "Failed"
    reason: str | None = None
    failed: str = ""  # a node that status.failures must name
    message: str = ""  # words of status.message
    overlay: str = ""
    project: Manifest = field(default_factory=dict)
    target: Manifest = field(default_factory=dict)
    run: Manifest = field(default_factory=dict)
    dbt: str = "1.11"  # the minor version
    image: str = "dbt"  # its name in tests/cluster


def artifacts() -> Manifest:
    return {
        "endpoint": "http://minio.minio.svc:9000",
        "bucket": product.BUCKET,
        "prefix": "e2e",
        "secretRef": {"name": "artifacts"},
        "insecure": True,
    }


SCENARIOS = (
    Scenario("green", "Succeeded"),
    Scenario("warning-test", "Succeeded", overlay="warning-test"),
    Scenario(
        "leaky",
        "Succeeded",
        overlay="leaky",
        target={
            "env": [
                {"name": "DB_PASSWORD", "secretKeyRef": {"name": "warehouse", "key": "password"}}
            ]
        },
    ),
    Scenario("failing-model", reason="ModelError", failed="model.mini.", overlay="failing-model"),
    Scenario(
        "failing-test",
        reason="TestFailed",
        failed="test.mini.",
        overlay="failing-test",
        run={"retry": {"maxAttempts": 3}},
    ),
    Scenario(
        "gate",
        reason="TestFailed",
        failed="test.mini.",
        overlay="warning-test",
        run={"gate": {"failOn": "Warn"}},
    ),
    Scenario(
        "stale",
        "Skipped",
        "NotFresh",
        message="error_after",
        overlay="stale",
        run={"steps": [{"sourceFreshness": {"onStale": "Skip"}}, {"build": {}}]},
    ),
    Scenario(
        "secret-in-vars",
        reason="InvalidSpec",
        message="spec.vars.db_password",
        run={"vars": {"db_password": "not-for-vars"}},
    ),
    Scenario("failing-hook", reason="HookFailed", overlay="failing-hook"),
    Scenario("parse-error", reason="ParseError", overlay="parse-error"),
    Scenario(
        "wrong-schema", reason="EnvironmentMismatch", message="schema", overlay="wrong-schema"
    ),
    Scenario(
        "wrong-target",
        reason="EnvironmentMismatch",
        message="staging",
        target={"target": "staging"},
    ),
    Scenario(
        "wrong-database",
        reason="EnvironmentMismatch",
        message="database",
        target={"databasePattern": "^prod$"},
    ),
    Scenario(
        "nothing-selected",
        reason="NothingSelected",
        message="tag:absent",
        run={"steps": [{"build": {"select": ["tag:absent"]}}]},
    ),
    Scenario(
        "nothing-selected-allowed",
        "Succeeded",
        run={"steps": [{"build": {"select": ["tag:absent"]}}], "onEmptySelection": "Succeed"},
    ),
    Scenario(
        "out-of-memory",
        reason="OOMKilled",
        message="limits.memory",
        overlay="out-of-memory",
        project={"pod": {"resources": {"limits": {"memory": "700Mi"}}}},
    ),
    Scenario(
        "flags",
        "Succeeded",
        run={
            "steps": [
                {"compile": {}},
                {
                    "build": {
                        "select": ["+summary"],
                        "indirectSelection": "cautious",
                        "resourceTypes": ["model", "test"],
                        "storeFailures": True,
                    }
                },
                {"run": {"select": ["summary"], "empty": True}},
            ],
            "eventTime": {"start": "2024-01-01", "end": "2024-01-02"},
            "warnErrorOptions": {"error": ["NoNodesSelected"]},
            "threads": 1,
        },
    ),
    Scenario(
        "no-bucket", "Succeeded", project={"artifacts": artifacts() | {"bucket": "no-such-bucket"}}
    ),
    Scenario(
        "no-bucket-fails",
        reason="UploadFailed",
        message="no-such-bucket",
        project={"artifacts": artifacts() | {"bucket": "no-such-bucket", "onFailure": "Fail"}},
    ),
    # Without --warn-error in the second attempt, the failed test would come back as a warning.
    Scenario(
        "warning-as-error",
        overlay="warning-test",
        reason="TestFailed",
        failed="test.mini.",
        run={
            "warnError": True,
            "retry": {"maxAttempts": 2, "backoff": {"initial": "1s"}, "reasons": ["TestFailed"]},
        },
    ),
    Scenario(
        "flaky-hook",
        "Succeeded",
        overlay="flaky-hook",
        run={"retry": {"maxAttempts": 2, "backoff": {"initial": "1s"}, "reasons": ["HookFailed"]}},
    ),
    Scenario(
        "flaky",
        "Succeeded",
        overlay="flaky",
        run={"retry": {"maxAttempts": 3, "backoff": {"initial": "1s"}, "reasons": ["ModelError"]}},
    ),
    Scenario(
        "hopeless",
        reason="ModelError",
        failed="model.mini.",
        overlay="failing-model",
        run={"retry": {"maxAttempts": 2, "backoff": {"initial": "1s"}, "reasons": ["ModelError"]}},
    ),
    Scenario(
        "not-transient",
        reason="ModelError",
        overlay="failing-model",
        run={"retry": {"maxAttempts": 3}},
    ),
    # Cancelled by the test as soon as its query runs.
    Scenario("cancelled", "Cancelled", "Cancelled", overlay="slow"),
    Scenario(
        "missing-secret",
        reason="ConfigError",
        message="no-such-secret",
        target={"profiles": {"secretRef": {"name": "no-such-secret", "key": "profiles.yml"}}},
        run={"startTimeout": START_TIMEOUTS[0]},
    ),
    Scenario(
        "missing-image",
        reason="ImagePullFailed",
        message="no-such-image:1.0",
        project={"image": "dbt-operator.local/no-such-image:1.0"},
        run={"startTimeout": START_TIMEOUTS[0]},
    ),
    Scenario(
        "unschedulable",
        reason="Unschedulable",
        project={"pod": {"nodeSelector": {"no-such": "node"}}},
        run={"startTimeout": START_TIMEOUTS[0]},
    ),
    Scenario(
        "missing-project",
        reason="ConfigError",
        message="DbtProject absent",
        run={"projectRef": {"name": "absent"}, "startTimeout": "5s"},
    ),
)

# A few of them again, with each other version of dbt.
OTHER_DBT = tuple(
    replace(
        scenario,
        name=f"{scenario.name}-{version.replace('.', '-')}",
        dbt=version,
        image=f"dbt-{version}",
    )
    for version in DBT_LOCKS
    for scenario in SCENARIOS
    if scenario.name in ("green", "warning-test", "failing-model", "failing-test", "failing-hook")
)


def profiles(
    profile: str,
    schema: str = "{{ env_var('SCHEMA') }}",
    host: str = f"postgres.{product.WAREHOUSE}.svc",
) -> str:
    """profiles.yml for a warehouse in the cluster."""
    output = {
        "type": "postgres",
        "host": host,
        "port": 5432,
        "user": "e2e",
        "password": PASSWORD,
        "dbname": product.POSTGRES_DATABASE,
        "schema": schema,
        "threads": 2,
    }
    return yaml.safe_dump({profile: {"target": "prod", "outputs": {"prod": output}}})


def create_user(warehouse: str = product.WAREHOUSE) -> None:
    """The user in PostgreSQL whose password is looked for."""
    if (
        product.psql("SELECT 1 FROM pg_roles WHERE rolname = 'e2e'", "-At", where=warehouse).strip()
        != "1"
    ):
        product.psql("CREATE ROLE e2e LOGIN", where=warehouse)
    product.psql(f"ALTER ROLE e2e PASSWORD '{PASSWORD}'", where=warehouse)
    product.psql(f"GRANT ALL ON DATABASE {product.POSTGRES_DATABASE} TO e2e", where=warehouse)


def secrets(where: str = NAMESPACE) -> list[Manifest]:
    """The Secrets of a namespace."""
    keys = {
        "AWS_ACCESS_KEY_ID": product.MINIO_USER,
        "AWS_SECRET_ACCESS_KEY": product.MINIO_PASSWORD,
    }
    return [
        secret("warehouse", where, {"profiles.yml": profiles("mini"), "password": PASSWORD}),
        secret("artifacts", where, keys),
    ]


def project_source(name: str, overlay: str, where: str = NAMESPACE) -> Manifest:
    """A ConfigMap with the project in it."""
    layers = [PROJECTS / overlay] if overlay else []
    data = base64.b64encode(product.packed(PROJECTS / "mini", *layers)).decode()
    metadata = {"name": name, "namespace": where}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        "binaryData": {"project.tar.gz": data},
    }


def manifests(
    scenario: Scenario, images: Mapping[str, str], where: str = NAMESPACE
) -> list[Manifest]:
    """Project, target and run of a scenario, all of its name."""
    name = scenario.name
    project = {
        "image": images[scenario.image],
        "source": {"configMap": {"name": name}},
        "artifacts": artifacts(),
        "pod": {"resources": {"requests": {"cpu": "50m", "memory": "256Mi"}}},
    }
    target = {
        "target": "prod",
        "profiles": {"secretRef": {"name": "warehouse", "key": "profiles.yml"}},
        "schemaPattern": "^analytics(_.*)?$",
    }
    # Each scenario writes into a schema of its own, as they run side by side.
    run = {
        "projectRef": {"name": name},
        "targetRef": {"name": name},
        "steps": [{"build": {}}],
        "env": [{"name": "SCHEMA", "value": schema_of(name)}],
    }
    return [
        project_source(name, scenario.overlay, where),
        resource("DbtProject", name, where, project | scenario.project),
        resource("DbtTarget", name, where, target | scenario.target),
        resource("DbtRun", name, where, run | scenario.run),
    ]


# What Pod Security asks for at its restricted level, of a container and of a pod.
CONFINED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
UNPRIVILEGED = {
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def make_load(name: str, labels: Mapping[str, str], image: str, where: str = NAMESPACE) -> Manifest:
    """A Job that somebody else has made, as a load of data is."""
    container = {
        "name": "load",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["true"],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
        "securityContext": CONFINED,
    }
    pod = {
        "restartPolicy": "Never",
        "containers": [container],
        "securityContext": UNPRIVILEGED,
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": where, "labels": labels},
        "spec": {"template": {"metadata": {"labels": labels}, "spec": pod}},
    }


def schema_of(name: str) -> str:
    """Where a scenario writes."""
    return f"analytics_{name.replace('-', '_')}"


def start_all(images: Mapping[str, str]) -> None:
    """Start every scenario anew, except for those of other versions of dbt."""
    kubectl("delete", "dbtruns", "--all", "--wait", namespace=NAMESPACE)
    apply(*(manifest for scenario in SCENARIOS for manifest in manifests(scenario, images)))


def restart(scenario: Scenario, images: Mapping[str, str], where: str = NAMESPACE) -> None:
    """Start a scenario's run, in the place of the one that there was."""
    kubectl("delete", "dbtrun", scenario.name, "--ignore-not-found", "--wait", namespace=where)
    apply(*manifests(scenario, images, where))


def start_other_dbt(images: Mapping[str, str]) -> None:
    """Start the scenarios of other versions of dbt anew."""
    names = [scenario.name for scenario in OTHER_DBT]
    kubectl("delete", "dbtruns", *names, "--ignore-not-found", "--wait", namespace=NAMESPACE)
    apply(*(manifest for scenario in OTHER_DBT for manifest in manifests(scenario, images)))


def logs(name: str, container: str, where: str = NAMESPACE) -> str:
    """What a container of a run printed."""
    selector = f"dbt-operator.dev/run={name}"
    return kubectl(
        "logs", f"--selector={selector}", "-c", container, "--tail=-1", namespace=where, check=False
    )


def location(run: Manifest) -> str:
    """The prefix of a run's artifacts in the bucket."""
    return str(run["status"]["resolved"]["location"])
