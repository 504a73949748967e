"""A Git server in the cluster, with HTTPS and ssh, and what a project needs to use it. For the e2e
suite.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support import kube
from tests.support.certificates import SshKey, Tls, ssh_key, tls
from tests.support.kube import PATIENCE, Manifest, kubectl

NAMESPACE = "git"
HOST = f"git.{NAMESPACE}.svc"
USER, PASSWORD = "deployer", "canary-git-51d0c7"  # the latter is looked for where it must not be
_SECRET = "git-server"  # noqa: S105 -- its name
_KEYS = "/etc/git-server"
_REPOSITORIES = "/srv/git"


@dataclass(frozen=True)
class GitServer:
    """The server that was installed last. Its keys are new each time."""

    tls: Tls
    host_key: SshKey
    client_key: SshKey

    def https(self, repository: str) -> str:
        return f"https://{HOST}:8443/{repository}.git"

    def ssh(self, repository: str) -> str:
        return f"ssh://git@{HOST}:2222{_REPOSITORIES}/{repository}.git"

    def https_secret(self, name: str, where: str, password: str = PASSWORD) -> Manifest:
        return kube.secret(
            name, where, {"username": USER, "password": password, "ca.crt": self.tls.ca}
        )

    def ssh_secret(self, name: str, where: str) -> Manifest:
        known = f"[{HOST}]:2222 {' '.join(self.host_key.public.split()[:2])}\n"
        return kube.secret(
            name, where, {"ssh-privatekey": self.client_key.private, "known_hosts": known}
        )


def install(images: Mapping[str, str]) -> GitServer:
    """Start it, without any repository."""
    server = GitServer(tls(HOST), ssh_key(), ssh_key())
    keys = {
        "tls.crt": server.tls.certificate,
        "tls.key": server.tls.key,
        "host_key": server.host_key.private,
        "authorized_keys": server.client_key.public,
        "user": USER,
        "password": PASSWORD,
    }
    kube.apply(kube.namespace(NAMESPACE))
    # A server reads its keys when it starts: with others, there is another pod, and an empty
    # volume.
    version = hashlib.sha256(repr(sorted(keys.items())).encode()).hexdigest()[:16]
    kube.apply(
        kube.secret(_SECRET, NAMESPACE, keys), _deployment(images["git"], version), _service()
    )
    kubectl("rollout", "status", "deployment/git", f"--timeout={PATIENCE:g}s", namespace=NAMESPACE)
    return server


def _https_command() -> list[str]:
    command = ["python3", "/server.py", "--repositories", _REPOSITORIES]
    command += ["--address", "0.0.0.0", "--port", "8443"]  # noqa: S104 -- in a pod
    return [*command, "--certificate", f"{_KEYS}/tls.crt", "--key", f"{_KEYS}/tls.key"]


def _ssh_command() -> list[str]:
    options = {
        "Port": "2222",
        "PidFile": "none",
        "UsePAM": "no",
        "StrictModes": "no",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "AuthorizedKeysFile": f"{_KEYS}/authorized_keys",
        "AcceptEnv": "GIT_PROTOCOL",
    }
    command = ["/usr/sbin/sshd", "-D", "-e", "-f", "/dev/null", "-h", f"{_KEYS}/host_key"]
    for name, value in options.items():
        command += ["-o", f"{name}={value}"]
    return command


def _deployment(image: str, version: str) -> Manifest:
    login = [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": _SECRET, "key": key}}}
        for name, key in (("GIT_USER", "user"), ("GIT_PASSWORD", "password"))
    ]
    labels = {"app.kubernetes.io/name": "git"}
    template = {
        "metadata": {"labels": labels, "annotations": {"dbt-operator.dev/keys": version}},
        "spec": {
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "runAsGroup": 65532,
                "fsGroup": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                _container("https", image, _https_command(), 8443, login),
                _container("ssh", image, _ssh_command(), 2222, []),
            ],
            "volumes": [
                {"name": "repositories", "emptyDir": {}},
                {"name": "tmp", "emptyDir": {}},
                {"name": "keys", "secret": {"secretName": _SECRET, "defaultMode": 0o440}},
            ],
        },
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "git", "namespace": NAMESPACE, "labels": labels},
        "spec": {
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": labels},
            "template": template,
        },
    }


def _container(
    name: str, image: str, command: list[str], port: int, environment: list[Manifest]
) -> Manifest:
    mounts = {"repositories": _REPOSITORIES, "tmp": "/tmp", "keys": _KEYS}  # noqa: S108 -- an emptyDir
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": command,
        "env": environment,
        "ports": [{"name": name, "containerPort": port}],
        "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 2},
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": volume, "mountPath": path} for volume, path in mounts.items()],
    }


def _service() -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "git", "namespace": NAMESPACE},
        "spec": {
            "selector": {"app.kubernetes.io/name": "git"},
            "ports": [
                {"name": name, "port": port} for name, port in (("https", 8443), ("ssh", 2222))
            ],
        },
    }


# Repositories


def create(repository: str) -> None:
    """An empty repository, whose default branch is main."""
    path = f"{_REPOSITORIES}/{repository}.git"
    _exec("git", "init", "--quiet", "--bare", "--initial-branch=main", path)


def commit(repository: str, branch: str, files: Mapping[str, str]) -> str:
    """Commit these files, and no others, to a branch, which is made if it does not exist; the
    commit's hash.
    """
    ref = f"refs/heads/{branch}"
    _git(
        repository,
        "fast-import",
        "--quiet",
        stdin=stream(ref, files, parent=bool(_hash(repository, ref))),
    )
    return _hash(repository, ref)


def stream(ref: str, files: Mapping[str, str], *, parent: bool) -> str:
    """A commit as `git fast-import` reads it."""
    lines = [f"commit {ref}", "committer e2e <e2e@example.com> 1700000000 +0000", _data("a test")]
    if parent:
        lines.append(f"from {ref}^0")
    lines.append("deleteall")
    lines += [f"M 100644 inline {path}\n{_data(text)}" for path, text in sorted(files.items())]
    return "\n".join([*lines, "", "done", ""])


def _data(text: str) -> str:
    return f"data {len(text.encode())}\n{text}"


def pointer(repository: str, content: str) -> str:
    """The pointer to a file that Git LFS keeps for the repository."""
    oid = hashlib.sha256(content.encode()).hexdigest()
    folder = f"{_REPOSITORIES}/{repository}.git/lfs/objects/{oid[:2]}/{oid[2:4]}"
    _exec("mkdir", "-p", folder)
    _exec("tee", f"{folder}/{oid}", stdin=content)
    size = len(content.encode())
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {size}\n"


def tag(repository: str, name: str, commit_hash: str) -> None:
    """An annotated tag, since that is an object of its own."""
    identity = ["-c", "user.name=e2e", "-c", "user.email=e2e@example.com"]
    _exec(
        "git",
        "-C",
        f"{_REPOSITORIES}/{repository}.git",
        *identity,
        "tag",
        "-a",
        "-m",
        "a test",
        name,
        commit_hash,
    )


def files_of(folder: Path, *overlays: Path, below: str = "") -> dict[str, str]:
    """A project's files, with those of the overlays put over it, in a folder of the repository."""
    found: dict[str, str] = {}
    for layer in (folder, *overlays):
        paths = (path for path in layer.rglob("*") if path.is_file() and "target" not in path.parts)
        found |= {
            f"{below}{path.relative_to(layer).as_posix()}": path.read_text() for path in paths
        }
    return found


def _hash(repository: str, ref: str) -> str:
    """The commit of a ref; empty if there is no such ref."""
    return _git(repository, "rev-parse", "--verify", "--quiet", ref, check=False).strip()


def _git(repository: str, *argv: str, stdin: str | None = None, check: bool = True) -> str:
    return _exec("git", "-C", f"{_REPOSITORIES}/{repository}.git", *argv, stdin=stdin, check=check)


def _exec(*argv: str, stdin: str | None = None, check: bool = True) -> str:
    interactive = ["--stdin"] if stdin is not None else []
    inside = ["exec", *interactive, "deployment/git", "--container=https", "--", *argv]
    return kubectl(*inside, namespace=NAMESPACE, stdin=stdin, check=check)
