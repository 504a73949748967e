"""Spark's Thrift server in a pod, and runs on it. Its tables are on a volume, which outlives the
server but not the pod.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping
from typing import Any

import yaml

from tests.support import product
from tests.support.kube import PATIENCE, Manifest, apply, kubectl, namespace, resource, secret
from tests.support.scenarios import CONFINED, PASSWORD, UNPRIVILEGED, schema_of
from tests.support.scenarios import NAMESPACE as RUNS

NAMESPACE = NAME = "spark"
# The keys of the Secret with the profiles: what each has in the place of what is right.
PROFILES: Mapping[str, Manifest] = {
    "profiles.yml": {},
    "refused.yml": {"password": "wrong"},
    "away.yml": {"port": 10009},
}
_LABELS = {"app.kubernetes.io/name": NAME}
_VOLUMES = {"data": "/data", "tmp": "/tmp"}  # noqa: S108 -- in the pod


def install(images: Mapping[str, str]) -> None:
    """The server, and the Secret with profiles of it; returns once it answers."""
    apply(
        namespace(NAMESPACE),
        secret(NAME, NAMESPACE, {"PASSWORD": PASSWORD}),
        _make_deployment(images[NAME]),
        _make_service(),
        secret(NAME, RUNS, {key: make_profiles(**other) for key, other in PROFILES.items()}),
    )
    wait_until_ready()


def wait_until_ready() -> None:
    wait = f"--timeout={PATIENCE:g}s"
    kubectl("rollout", "status", f"deployment/{NAME}", wait, namespace=NAMESPACE)


def restart() -> None:
    """End the server as its pod would; the container is started again on the same tables."""
    kubectl("exec", f"deployment/{NAME}", "--", "kill", "1", namespace=NAMESPACE)


def make_profiles(**other: Any) -> str:
    output = {
        "type": "spark",
        "method": "thrift",
        "host": f"{NAME}.{NAMESPACE}.svc",
        "port": 10000,
        "auth": "LDAP",
        "user": "analytics",
        "password": PASSWORD,
        "schema": "{{ env_var('SCHEMA') }}",
        "threads": 2,
        "poll_interval": 1,
    }
    prod = output | other
    return yaml.safe_dump({"mini": {"target": "prod", "outputs": {"prod": prod}}})


def find_jobs(run: str, status: str = "running") -> list[str]:
    """The statements of a run that the server is working on, or has."""
    with product.port_forward(NAMESPACE, NAME, 4040) as port:
        base = f"http://127.0.0.1:{port}/api/v1/applications"
        (application,) = _read(base)
        jobs = _read(f"{base}/{application['id']}/jobs?status={status}")
    texts = [str(job.get("description", "")) for job in jobs]
    return [text for text in texts if f"{schema_of(run)}." in text]


def _read(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=PATIENCE) as answer:  # noqa: S310 -- our own
        return json.load(answer)


def _make_deployment(image: str) -> Manifest:
    container = {
        "name": NAME,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "envFrom": [{"secretRef": {"name": NAME}}],
        "readinessProbe": {"tcpSocket": {"port": 10000}, "periodSeconds": 2},
        "resources": {"requests": {"cpu": "100m", "memory": "1Gi"}, "limits": {"memory": "3Gi"}},
        "securityContext": {**CONFINED, "readOnlyRootFilesystem": True},
        "volumeMounts": [{"name": key, "mountPath": path} for key, path in _VOLUMES.items()],
    }
    pod = {
        "automountServiceAccountToken": False,
        "containers": [container],
        "securityContext": {**UNPRIVILEGED, "fsGroup": UNPRIVILEGED["runAsUser"]},
        "volumes": [{"name": key, "emptyDir": {}} for key in _VOLUMES],
    }
    spec = {
        "strategy": {"type": "Recreate"},
        "selector": {"matchLabels": _LABELS},
        "template": {"metadata": {"labels": _LABELS}, "spec": pod},
    }
    metadata = {"name": NAME, "namespace": NAMESPACE}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


def _make_service() -> Manifest:
    ports = [{"name": "thrift", "port": 10000}, {"name": "ui", "port": 4040}]
    metadata = {"name": NAME, "namespace": NAMESPACE}
    spec = {"selector": _LABELS, "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def make_target(name: str, key: str = "profiles.yml", **other: Any) -> Manifest:
    """A target on the server, by one of the profiles."""
    spec = {
        "target": "prod",
        "profiles": {"secretRef": {"name": NAME, "key": key}},
        "schemaPattern": "^analytics(_.*)?$",
    }
    return resource("DbtTarget", name, RUNS, spec | other)
