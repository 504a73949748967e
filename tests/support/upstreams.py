"""Jobs that others have made, for tests of what waits for them."""

from __future__ import annotations

from typing import Any

from tests.support.builders import stamp


def foreign_job(
    name: str, labels: dict[str, str] | None = None, created: float = 0, **metadata: Any
) -> dict[str, Any]:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": "analytics",
            "uid": f"uid-of-{name}",
            "resourceVersion": "1",
            "creationTimestamp": stamp(created),
            "labels": labels or {},
            **metadata,
        },
        "spec": {},
        "status": {},
    }


def complete_job(name: str, at: float, **metadata: Any) -> dict[str, Any]:
    condition = {"type": "Complete", "status": "True", "lastTransitionTime": stamp(at)}
    status = {"completionTime": stamp(at), "conditions": [condition]}
    return foreign_job(name, **metadata) | {"status": status}


def failed_job(name: str, **metadata: Any) -> dict[str, Any]:
    condition = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}
    return foreign_job(name, **metadata) | {"status": {"conditions": [condition]}}
