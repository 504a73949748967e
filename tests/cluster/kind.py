"""The same cluster where Docker and kind are at hand: kind makes it, Docker builds the images."""

import shutil
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from tests.cluster import programs
from tests.cluster.progress import follow, run, say
from tests.cluster.state import BIN, KUBECONFIG, STATE, ClusterError

_NAME = "dbt-operator"
_BASE = "python:3.11-slim-bookworm"


@cache
def usable() -> bool:
    """Say whether Docker runs and kind is installed."""
    if shutil.which("docker") is None or shutil.which("kind") is None:
        return False
    return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0


def up() -> None:
    """Create the cluster, if it is not there."""
    programs.build()
    STATE.mkdir(parents=True, exist_ok=True)
    BIN.unlink(missing_ok=True)
    BIN.symlink_to(programs.folder() / "bin")
    if _NAME in run(["kind", "get", "clusters"]).split():
        run(["kind", "export", "kubeconfig", f"--name={_NAME}", f"--kubeconfig={KUBECONFIG}"])
    else:
        command = [
            "kind",
            "create",
            "cluster",
            f"--name={_NAME}",
            f"--kubeconfig={KUBECONFIG}",
            "--wait=2m",
        ]
        follow(command, "creating a cluster with kind")
    say(f"the cluster is up: KUBECONFIG={KUBECONFIG}")


def down() -> None:
    """Delete the cluster."""
    follow(["kind", "delete", "cluster", f"--name={_NAME}"], "deleting the cluster")
    shutil.rmtree(STATE, ignore_errors=True)


def status() -> list[tuple[str, str]]:
    """Return each node and how it is."""
    command(["true"])
    kubectl = [f"{BIN}/kubectl", f"--kubeconfig={KUBECONFIG}", "get", "nodes", "--no-headers"]
    return [(f"node {line.split()[0]}", line.split()[1]) for line in run(kubectl).splitlines()]


def command(argv: list[str]) -> list[str]:
    """Return the command that runs another one against the cluster: itself, since kind publishes
    its API server.
    """
    if not KUBECONFIG.exists():
        raise ClusterError("there is no cluster: make cluster-up")
    return argv


def built(reference: str) -> bool:
    """Say whether an image has been built."""
    return (
        subprocess.run(
            ["docker", "image", "inspect", reference], capture_output=True, check=False
        ).returncode
        == 0
    )


def build(reference: str, context: Path, dockerfile: Path, arguments: Mapping[str, str]) -> None:
    """Build an image."""
    words = [f"--build-arg={name}={value}" for name, value in arguments.items()]
    follow(
        ["docker", "build", f"--tag={reference}", *words, f"--file={dockerfile}", str(context)],
        f"building {reference}",
    )


def add_base(context: Path) -> None:
    """Take a public image as the base: here there are registries."""
    (context / "tests/cluster/images/base/Dockerfile").write_text(f"FROM {_BASE}\n")


def loaded() -> set[str]:
    """Return the images that the cluster has."""
    lines = run(["docker", "exec", f"{_NAME}-control-plane", "crictl", "images", "--output=json"])
    return {word.strip('",') for word in lines.split() if "dbt-operator.local/" in word}


def load(reference: str) -> None:
    """Load an image into the cluster."""
    run(["kind", "load", "docker-image", f"--name={_NAME}", reference])


def remove(reference: str) -> None:
    """Remove an image; the cluster's own copy goes with the cluster."""
    run(["docker", "image", "rm", reference], check=False)
