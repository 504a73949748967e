"""The volumes of an attempt's pod: the operator's own, and those of the project."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from dbt_operator.api.parts.pod import Pod, Volume
from dbt_operator.api.parts.resolved import Resolved
from dbt_protocol import paths

# Of the files of Secrets, which are root's and of the pod's fsGroup: the pod's user reads them as a
# member of the group, and libpq refuses a private key that anybody else may read.
_SECRET_MODE = 0o440

Manifest = dict[str, Any]


def list_own_volumes(resolved: Resolved, pod: Pod) -> list[Manifest]:
    """The volumes that the operator needs itself."""
    scratch = {} if pod.ephemeral_storage is None else {"sizeLimit": pod.ephemeral_storage}
    profiles = resolved.profiles
    volumes: list[Manifest] = [
        {"name": "shared", "emptyDir": scratch},
        {"name": "tmp", "emptyDir": scratch},
        _secret("profiles", profiles.name, {"key": profiles.key, "path": "profiles.yml"}),
    ]
    if source := resolved.source.config_map:
        items = {"items": [item.to_dict() for item in source.items]} if source.items else {}
        volumes.append({"name": "source", "configMap": {"name": source.name, **items}})
    if git := resolved.source.git:
        volumes.append(
            {"name": "prepare-tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}}
        )
        if git.secret_ref:
            volumes.append(_secret("git", git.secret_ref.name))
    if ca := resolved.artifacts.ca_secret_ref:
        file = PurePosixPath(paths.BUCKET_CA).name
        volumes.append(_secret("bucket", ca.name, {"key": ca.key, "path": file}))
    return volumes


def _secret(volume: str, name: str, *items: Manifest) -> Manifest:
    """A Secret as a volume; with items, these keys of it."""
    only = {"items": list(items)} if items else {}
    return {"name": volume, "secret": {"secretName": name, **only, "defaultMode": _SECRET_MODE}}


def make_volume(volume: Volume) -> Manifest:
    """A volume of the project, with what it is as Kubernetes has it."""
    kinds = ("persistentVolumeClaim", "configMap", "secret", "emptyDir")
    given = volume.to_dict()
    source = {kind: given[kind] for kind in kinds if kind in given}
    if volume.secret:
        source["secret"] = {"defaultMode": _SECRET_MODE, **source["secret"]}
    return {"name": _own_name(volume), **source}


def make_mount(volume: Volume) -> Manifest:
    """Where the dbt container has it."""
    given = volume.to_dict()
    mount = {key: given[key] for key in ("mountPath", "subPath", "readOnly") if key in given}
    return {"name": _own_name(volume), **mount}


def _own_name(volume: Volume) -> str:
    """Apart from the names that the operator uses."""
    return f"project-{volume.name}"
