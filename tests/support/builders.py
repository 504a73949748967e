"""Objects as the API server would hand them out, for tests."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from dbt_operator.planning.attempt.pod_facts import ContainerFacts, PodFacts
from dbt_protocol.summaries import Failure, Nodes, Summary, UploadSummary

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
UID = "11111111-2222-3333-4444-555555555555"
JOB_UID = "99999999-2222-3333-4444-555555555555"


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def stamp(seconds: float = 0) -> str:
    return later(seconds).strftime("%Y-%m-%dT%H:%M:%SZ")


def manifest(kind: str, name: str, spec: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "dbt-operator.dev/v1alpha1",
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": "analytics",
            "uid": f"uid-of-{kind}-{name}".lower(),
            "generation": 1,
            "resourceVersion": "1",
            "creationTimestamp": stamp(),
            **metadata,
        },
        "spec": copy.deepcopy(spec),
        "status": {"observedGeneration": -1},
    }


def run(**spec: Any) -> dict[str, Any]:
    base = {"projectRef": {"name": "shop"}, "targetRef": {"name": "prod"}, "steps": [{"build": {}}]}
    return manifest("DbtRun", "nightly", base | spec, uid=UID)


def backfill(name: str = "past", run: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """Seven days, unless told otherwise."""
    template = {
        "projectRef": {"name": "shop"},
        "targetRef": {"name": "prod"},
        "steps": [{"build": {}}],
    }
    template |= {"vars": {"ds": "$(window.start)"}} | (run or {})
    base = {"runTemplate": {"spec": template}}
    if "resumeFrom" not in spec:
        base |= {"windows": {"dates": {"from": "2024-01-01", "to": "2024-01-07"}}}
    return manifest("DbtBackfill", name, base | spec)


def project(**spec: Any) -> dict[str, Any]:
    base = {
        "image": "registry.example.com/dbt:1.0",
        "source": {"image": {"path": "/project"}},
        "artifacts": {
            "endpoint": "https://s3.example.com",
            "bucket": "artifacts",
            "prefix": "dbt",
            "secretRef": {"name": "bucket"},
        },
    }
    return manifest("DbtProject", "shop", base | spec)


def target(**spec: Any) -> dict[str, Any]:
    base = {
        "profiles": {"secretRef": {"name": "warehouse", "key": "profiles.yml"}},
        "schemaPattern": "^analytics(_.*)?$",
    }
    return manifest("DbtTarget", "prod", base | spec)


def summary(reason: str = "", message: str = "28 nodes", **fields: Any) -> str:
    nodes = fields.pop("nodes", Nodes(total=28, success=20, passed=8))
    usual = Summary(reason=reason, message=message, nodes=nodes, dbt_version="1.11.16", whole=True)
    usual = replace(usual, engine="Python")
    return replace(usual, **fields).to_json()


def failed_summary(reason: str = "ModelError") -> str:
    failure = Failure("model.shop.orders", "error", "column x does not exist")
    nodes = Nodes(total=4, success=2, error=1, skipped=1)
    return summary(
        reason,
        "1 node failed: model.shop.orders",
        nodes=nodes,
        failures=[failure],
        failures_total=1,
    )


def upload(error: str = "", windows: str = "", state: str = "", *, digest: bool = False) -> str:
    found = UploadSummary("s3://artifacts/dbt/x", objects=9, size=1234, error=error, digest=digest)
    return replace(found, windows=windows, state=state).to_json()


def ended(
    exit_code: int, message: str = "", reason: str = "", started: float = 5, finished: float = 65
) -> ContainerFacts:
    return ContainerFacts(
        exit_code=exit_code,
        end_message=message,
        end_reason=reason or ("Completed" if exit_code == 0 else "Error"),
        started_at=stamp(started),
        finished_at=stamp(finished),
        image_id="sha256:abc",
    )


def ended_pod(dbt: ContainerFacts, **fields: Any) -> PodFacts:
    phase = "Succeeded" if dbt.exit_code == 0 else "Failed"
    usual = PodFacts(
        uid="pod", phase=phase, prepare=ended(0), dbt=dbt, artifacts=ended(0, upload())
    )
    return replace(usual, **fields)


def part_labels(run_uid: str = UID, **changed: str | None) -> dict[str, str]:
    """The labels of a Job or pod of the run; those that are changed to None are left out."""
    labels = {
        "run": "nightly",
        "run-uid": run_uid,
        "attempt": "1",
        "project": "shop",
        "target": "prod",
        "holder-uid": run_uid,
    }
    told = labels | {name.replace("_", "-"): value for name, value in changed.items()}
    return {f"dbt-operator.dev/{name}": value for name, value in told.items() if value is not None}


def pod_manifest(job: dict[str, Any], status: dict[str, Any], name: str = "pod") -> dict[str, Any]:
    """A pod of a Job, with the given status."""
    return {
        "metadata": {
            "name": name,
            "namespace": job["metadata"]["namespace"],
            "uid": f"uid-of-{name}",
            "resourceVersion": "1",
            "creationTimestamp": stamp(),
            "labels": job["spec"]["template"]["metadata"]["labels"],
            "ownerReferences": [{"kind": "Job", "uid": job["metadata"]["uid"], "controller": True}],
        },
        "spec": {},
        "status": status,
    }


def ended_status(
    exit_code: int = 0, message: str | None = None, windows: str = "", *, digest: bool = False
) -> dict[str, Any]:
    """The status of a pod whose dbt container has ended, with what the sidecar says of its
    windows.
    """
    text = message if message is not None else summary()
    return {
        "phase": "Failed" if exit_code else "Succeeded",
        "initContainerStatuses": [
            _ended("prepare", 0, json.dumps({})),
            _ended("artifacts", 0, upload(windows=windows, digest=digest)),
        ],
        "containerStatuses": [_ended("dbt", exit_code, text)],
    }


def running_status() -> dict[str, Any]:
    return {
        "phase": "Running",
        "containerStatuses": [
            {
                "name": "dbt",
                "image": "dbt",
                "imageID": "sha256:abc",
                "state": {"running": {"startedAt": stamp(5)}},
            }
        ],
    }


def _ended(name: str, exit_code: int, message: str) -> dict[str, Any]:
    state = {
        "exitCode": exit_code,
        "message": message,
        "startedAt": stamp(5),
        "finishedAt": stamp(65),
    }
    return {"name": name, "image": name, "imageID": "sha256:abc", "state": {"terminated": state}}
