"""kubectl, helm and waiting, for the suites that run against a cluster."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from tests.support.reads import ReadError, read_list, read_object

ROOT = Path(__file__).parents[2]
POLL = 0.25  # seconds between two looks at something that cannot be watched
# Seconds after which something hangs, and is not just slow: ten times what it takes on a machine
# with ten times as much to do as it can. Nothing that succeeds waits for so long, so nothing is won
# by less.
PATIENCE = 1200.0
Found = TypeVar("Found")
Manifest = dict[str, Any]


class CommandError(AssertionError):
    """A command failed; the message has what it printed."""


def command(
    *argv: str, stdin: str | None = None, check: bool = True, timeout: float = PATIENCE
) -> str:
    """Run a command and return what it printed to stdout."""
    done = subprocess.run(
        argv, input=stdin, capture_output=True, text=True, timeout=timeout, check=False
    )
    if check and done.returncode != 0:
        raise CommandError(
            f"{' '.join(argv)} ended with {done.returncode}: "
            f"{done.stderr.strip() or done.stdout.strip()}"
        )
    return done.stdout


def require_cluster() -> None:
    """A suite that finds no cluster fails with the reason; it does not skip."""
    if "KUBECONFIG" not in os.environ:
        raise CommandError("no cluster: run this suite by `make api` or `make e2e`")
    command("kubectl", "get", "--raw", "/readyz")


def kubectl(*argv: str, namespace: str = "", stdin: str | None = None, check: bool = True) -> str:
    where = ("--namespace", namespace) if namespace else ()
    return command("kubectl", *where, *argv, stdin=stdin, check=check)


def apply(*manifests: Manifest) -> None:
    """kubectl apply, server-side."""
    items = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
    kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(items))


def create(manifest: Manifest) -> Manifest:
    """kubectl create; what the API server made of it.

    Raises:
        CommandError: it refused.
    """
    found: Manifest = json.loads(
        kubectl("create", "-o", "json", "-f", "-", stdin=json.dumps(manifest))
    )
    return found


def get(kind: str, name: str, namespace: str) -> Manifest:
    """An object as it is now.

    Raises:
        CommandError: there is none, or the API server refused.
    """
    try:
        return read_object(kind, name, namespace)
    except ReadError as error:
        raise CommandError(str(error)) from None


def items(kind: str, namespace: str, *selection: str) -> list[Manifest]:
    """The objects of a kind as they are now.

    Args:
        kind: as kubectl takes it.
        namespace: where they are.
        selection: options of kubectl get, --selector=... and --field-selector=...
    """
    fields = {"--selector": "labelSelector", "--field-selector": "fieldSelector"}
    pairs = (option.split("=", 1) for option in selection)
    return read_list(kind, namespace, {fields[name]: value for name, value in pairs})


def wait_for(what: str, look: Callable[[], Found | None], timeout: float = PATIENCE) -> Found:
    """Look until there is something.

    Raises:
        AssertionError: there was nothing in time.
    """
    deadline = time.monotonic() + timeout
    while not (found := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not in {timeout:g} s: {what}")
        time.sleep(POLL)
    return found


def namespace(name: str, *, restricted: bool = True) -> Manifest:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"} if restricted else {}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def resource(kind: str, name: str, where: str, spec: Manifest) -> Manifest:
    """An object of ours."""
    return {
        "apiVersion": "dbt-operator.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, "namespace": where},
        "spec": spec,
    }


def secret(name: str, where: str, data: dict[str, str]) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": where},
        "stringData": data,
    }


def lines(text: str) -> Sequence[str]:
    return [line for line in text.splitlines() if line.strip()]
