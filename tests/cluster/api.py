"""The few calls to the cluster that the harness itself needs: is it well, is the node ready, may
CoreDNS read.
"""

import json
import socket
import ssl
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from tests.cluster import credentials, network

_READS_SERVICES = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRole",
    "metadata": {"name": "system:coredns"},
    "rules": [
        {
            "apiGroups": [""],
            "resources": ["endpoints", "services", "pods", "namespaces"],
            "verbs": ["list", "watch"],
        },
        {
            "apiGroups": ["discovery.k8s.io"],
            "resources": ["endpointslices"],
            "verbs": ["list", "watch"],
        },
    ],
}
_COREDNS_MAY = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRoleBinding",
    "metadata": {"name": "system:coredns"},
    "roleRef": {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "ClusterRole",
        "name": "system:coredns",
    },
    "subjects": [
        {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "system:coredns"}
    ],
}


def answers(address: str) -> bool:
    """Say whether a health address answers with 200, or whether something listens on a socket
    file.
    """
    try:
        with network.inside():
            if address.startswith("/"):
                return _listens(Path(address))
            with urlopen(address, timeout=2, context=_trusting_context()):  # noqa: S310 -- an address of ours
                return True
    except (OSError, HTTPException):
        return False


def _trusting_context() -> ssl.SSLContext:
    """What listens does so in the namespace only, and mostly with certificates nobody signed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def node_is_ready() -> bool:
    """Say whether the node takes pods."""
    node = _get(f"/api/v1/nodes/{credentials.NODE}")
    conditions = node["status"].get("conditions", []) if node else []
    return any(
        condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions
    )


def takes_pods() -> bool:
    """Say whether a pod can be created: one that comes before its namespace's ServiceAccount is
    refused.
    """
    return (
        node_is_ready() and _get("/api/v1/namespaces/default/serviceaccounts/default") is not None
    )


def allow_coredns() -> None:
    """Let CoreDNS read what it answers from."""
    for resource, manifest in (
        ("clusterroles", _READS_SERVICES),
        ("clusterrolebindings", _COREDNS_MAY),
    ):
        try:
            _call(f"/apis/rbac.authorization.k8s.io/v1/{resource}", manifest)
        except HTTPError as error:
            if error.code != 409:
                raise


def _get(path: str) -> dict[str, Any] | None:
    try:
        return _call(path)
    except OSError:
        return None


def _call(path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    headers = {
        "Authorization": f"Bearer {credentials.token('admin')}",
        "Content-Type": "application/json",
    }
    data = json.dumps(body).encode() if body else None
    request = Request(credentials.SERVER + path, data, headers)  # noqa: S310
    context = ssl.create_default_context(cafile=str(credentials.SERVER_CERT))
    with network.inside(), urlopen(request, timeout=10, context=context) as response:  # noqa: S310
        answer: dict[str, Any] = json.load(response)
        return answer


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(2)
        connection.connect(str(path))
    return True
