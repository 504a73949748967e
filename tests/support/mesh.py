"""A webhook in the cluster that puts a container into pods, as a service mesh without native
sidecars does. For the e2e suite.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support import kube
from tests.support.certificates import tls
from tests.support.kube import PATIENCE, Manifest, kubectl

NAMESPACE = "mesh"
PROXY = "mesh-proxy"  # lives until it is told to end
OPTED_OUT = {"mesh.example.com/inject": "disabled"}  # a label of pods
_NAME, _FILES = "injector", "/etc/injector"
_PROGRAM = Path(__file__).parent / "mesh_webhook.py"


@contextmanager
def installed(image: str, where: str, projects: Sequence[str]) -> Iterator[None]:
    """Inject into the pods of some projects in a namespace.

    Args:
        image: one with python3.
        where: the namespace.
        projects: names of the DbtProjects.
    """
    pem = tls(f"{_NAME}.{NAMESPACE}.svc")
    files = {
        "webhook.py": _PROGRAM.read_text(),
        "tls.crt": pem.certificate,
        "tls.key": pem.key,
    }
    kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait")
    kube.apply(kube.namespace(NAMESPACE))
    kube.apply(kube.secret(_NAME, NAMESPACE, files), _deployment(image), _service())
    rollout = ("rollout", "status", f"deployment/{_NAME}", f"--timeout={PATIENCE:g}s")
    kubectl(*rollout, namespace=NAMESPACE)
    kube.apply(_configuration(pem.ca, where, projects))
    try:
        yield
    finally:
        kubectl("delete", "mutatingwebhookconfiguration", _NAME, "--wait")
        kubectl("delete", "namespace", NAMESPACE, "--wait")


def _deployment(image: str) -> Manifest:
    labels = {"app.kubernetes.io/name": _NAME}
    container = {
        "name": _NAME,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", f"{_FILES}/webhook.py", _FILES],
        "readinessProbe": {"tcpSocket": {"port": 8443}, "periodSeconds": 2},
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "files", "mountPath": _FILES}],
    }
    pod = {
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [{"name": "files", "secret": {"secretName": _NAME, "defaultMode": 0o440}}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": _NAME, "namespace": NAMESPACE, "labels": labels},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def _service() -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": _NAME, "namespace": NAMESPACE},
        "spec": {
            "selector": {"app.kubernetes.io/name": _NAME},
            "ports": [{"port": 443, "targetPort": 8443}],
        },
    }


def _configuration(ca: str, where: str, projects: Sequence[str]) -> Manifest:
    (label, value), *_ = OPTED_OUT.items()
    selected: list[Mapping[str, object]] = [
        {"key": "dbt-operator.dev/project", "operator": "In", "values": list(projects)},
        {"key": label, "operator": "NotIn", "values": [value]},
    ]
    webhook = {
        "name": "inject.mesh.example.com",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "failurePolicy": "Fail",
        "clientConfig": {
            "service": {"name": _NAME, "namespace": NAMESPACE},
            "caBundle": base64.b64encode(ca.encode()).decode(),
        },
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": where}},
        "objectSelector": {"matchExpressions": selected},
        "rules": [
            {
                "apiGroups": [""],
                "apiVersions": ["v1"],
                "operations": ["CREATE"],
                "resources": ["pods"],
            }
        ],
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": _NAME},
        "webhooks": [webhook],
    }
