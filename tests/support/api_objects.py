"""Objects of each kind that the API server takes."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from tests.support.kube import Manifest, resource

ARTIFACTS = {"endpoint": "https://s3.example.com", "bucket": "artifacts"}
DEPLOY_KEY: Manifest = {"secretRef": {"name": "deploy-key"}}
VOLUME = {"name": "data", "mountPath": "/data", "persistentVolumeClaim": {"claimName": "duckdb"}}
SPREAD: Manifest = {
    "maxSkew": 1,
    "topologyKey": "topology.kubernetes.io/zone",
    "whenUnsatisfiable": "ScheduleAnyway",
}
RUN: Manifest = {
    "projectRef": {"name": "p"},
    "targetRef": {"name": "t"},
    "steps": [{"build": {}}],
}

SPECS: dict[str, Manifest] = {
    "DbtTarget": {"profiles": {"secretRef": {"name": "warehouse", "key": "profiles.yml"}}},
    "DbtProject": {
        "image": "dbt:1.0",
        "source": {"image": {"path": "/project"}},
        "artifacts": ARTIFACTS,
    },
    "DbtRun": RUN,
    "DbtBackfill": {"runTemplate": {"spec": RUN}, "windows": {"keys": ["a"]}},
    "DbtSchedule": {"runTemplate": {"spec": RUN}, "schedules": ["0 3 * * *"]},
}

# Where the spec of a run stands in each kind that has one.
RUNS: dict[str, Callable[[Manifest], Manifest]] = {
    "DbtRun": lambda spec: spec,
    "DbtBackfill": lambda spec: {"runTemplate": {"spec": spec}},
    "DbtSchedule": lambda spec: {"runTemplate": {"spec": spec}},
}


def git(url: str, **fields: Any) -> Manifest:
    """The source of a project that is in Git."""
    return {"git": {"url": url, **fields}}


def key_volume(mode: int) -> Manifest:
    """A Secret as a volume of a pod, with the mode of its files."""
    secret = {"secretName": "warehouse-key", "defaultMode": mode}
    return {"name": "key", "mountPath": "/keys", "secret": secret}


def manifest(kind: str, where: str, **spec: Any) -> Manifest:
    """The smallest object of a kind, with some fields put over it; None takes a field away."""
    merged = {key: value for key, value in (SPECS[kind] | spec).items() if value is not None}
    return resource(kind, f"x-{uuid.uuid4().hex[:8]}", where, merged)
