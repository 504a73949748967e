"""What stands behind the channels of the e2e suite: a server in the cluster that keeps what it
gets, the channels' Secrets, and the chart's values that declare them.
"""

from __future__ import annotations

import hashlib
import json
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.support import kube, product
from tests.support.certificates import tls
from tests.support.kube import PATIENCE, Manifest, kubectl
from tests.support.scenarios import CONFINED, UNPRIVILEGED

NAMESPACE = "receivers"
TOLD = "e2e-told"  # the namespace that may use the channels
HOST = f"receiver.{NAMESPACE}.svc"
USER, PASSWORD = "mailer", "canary-mail-83b1f0"  # the latter is looked for where it must not be
SIGNING_KEY = "canary-hmac-0c2d77"
_TOKEN = "canary-hook-5a9e13"  # noqa: S105 -- of the URLs, as Slack has one in them
_SECRET = "receiver"  # noqa: S105 -- its name
_KEYS = "/etc/receiver"
CANARIES = (PASSWORD, SIGNING_KEY, _TOKEN)

OPEN = {"namespaces": [TOLD]}
CHANNELS: dict[str, Manifest] = {
    "slack": {"kind": "slack", **OPEN, "mentions": {"finance": "<@U0FINANCE>"}},
    "mail": {
        "kind": "mail",
        **OPEN,
        "host": HOST,
        "port": 2525,
        "from": "dbt <dbt@example.com>",
        "to": ["team@example.com"],
    },
    "hook": {"kind": "webhook", **OPEN},
    "slow": {"kind": "webhook", **OPEN},
    "busy": {"kind": "webhook", **OPEN},
    "closed": {"kind": "webhook"},
    "unset": {"kind": "webhook", **OPEN},  # without a Secret
}


def install(images: Mapping[str, str]) -> None:
    """Start the server, and make the Secrets of all channels but one."""
    server = tls(HOST)
    keys = {"tls.crt": server.certificate, "tls.key": server.key}
    kube.apply(kube.namespace(NAMESPACE), kube.namespace(TOLD))
    kube.apply(kube.namespace(product.OPERATOR_NAMESPACE))
    version = hashlib.sha256(server.certificate.encode()).hexdigest()[:16]
    kube.apply(
        kube.secret(_SECRET, NAMESPACE, keys), _deployment(images["receiver"], version), _service()
    )
    kubectl(
        "rollout", "status", "deployment/receiver", f"--timeout={PATIENCE:g}s", namespace=NAMESPACE
    )
    login = {"username": USER, "password": PASSWORD, "ca.crt": server.ca}
    kube.apply(
        *(
            kube.secret(
                _name_secret(name),
                product.OPERATOR_NAMESPACE,
                login
                if channel["kind"] == "mail"
                else {
                    "url": f"http://{HOST}:8080/{name}?token={_TOKEN}",
                    "hmacKey": SIGNING_KEY,
                },
            )
            for name, channel in CHANNELS.items()
            if name != "unset"
        )
    )


def make_values() -> dict[str, Any]:
    """The part of the chart's values that declares the channels."""
    channels = {
        name: {**channel, "secretName": _name_secret(name)} for name, channel in CHANNELS.items()
    }
    return {"notifications": {"channels": channels}}


def _name_secret(channel: str) -> str:
    return f"channel-{channel}"


@dataclass(frozen=True)
class Got:
    """A message that a receiver has taken."""

    name: str
    headers: Mapping[str, str]
    body: str

    def json(self) -> Any:
        return json.loads(self.body)


class Receivers:
    """The server, through a forwarded port."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"

    def got(self, name: str, part: str = "") -> list[Got]:
        """What has come on a channel and holds a text."""
        with urllib.request.urlopen(f"{self._url}/got", timeout=PATIENCE) as response:  # noqa: S310 -- it is ours
            found = [
                Got(each["name"].partition("?")[0], each["headers"], each["body"])
                for each in json.load(response)
            ]
        return [each for each in found if each.name == name and part in each.body]

    def answer(self, name: str, answers: Sequence[Mapping[str, Any]]) -> None:
        """How the next messages of a channel are answered."""
        request = urllib.request.Request(  # noqa: S310 -- it is ours
            f"{self._url}/answers/{name}", json.dumps(list(answers)).encode(), method="PUT"
        )
        urllib.request.urlopen(request, timeout=PATIENCE).close()  # noqa: S310


@contextmanager
def connect() -> Iterator[Receivers]:
    """The server, as long as the block lasts."""
    with product.port_forward(NAMESPACE, "receiver", 8080) as port:
        yield Receivers(port)


def _deployment(image: str, version: str) -> Manifest:
    labels = {"app.kubernetes.io/name": "receiver"}
    container = {
        "name": "receiver",
        "image": image,
        "env": [
            {"name": "SMTP_USER", "value": USER},
            {"name": "SMTP_PASSWORD", "value": PASSWORD},
        ],
        "ports": [{"containerPort": 8080}, {"containerPort": 2525}],
        "readinessProbe": {"httpGet": {"path": "/got", "port": 8080}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}},
        "securityContext": {**CONFINED, "readOnlyRootFilesystem": True},
        "volumeMounts": [{"name": "keys", "mountPath": _KEYS}],
    }
    template = {
        "metadata": {"labels": labels, "annotations": {"dbt-operator.dev/keys": version}},
        "spec": {
            "automountServiceAccountToken": False,
            "securityContext": {**UNPRIVILEGED, "fsGroup": UNPRIVILEGED["runAsUser"]},
            "containers": [container],
            "volumes": [{"name": "keys", "secret": {"secretName": _SECRET, "defaultMode": 0o440}}],
        },
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "receiver", "namespace": NAMESPACE, "labels": labels},
        "spec": {
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": labels},
            "template": template,
        },
    }


def _service() -> Manifest:
    ports = [{"name": "http", "port": 8080}, {"name": "smtp", "port": 2525}]
    spec = {"selector": {"app.kubernetes.io/name": "receiver"}, "ports": ports}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "receiver", "namespace": NAMESPACE},
        "spec": spec,
    }
