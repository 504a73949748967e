"""Pods into which somebody else has put a container, and what the kubelet says of them."""

from __future__ import annotations

from typing import Any

from tests.support.builders import ended_status, pod_manifest, stamp, summary, upload

PROXY = "mesh-proxy"
RUNNING = {"running": {"startedAt": stamp(3)}}


def terminated(
    seconds: float, message: str = "", exit_code: int = 0, reason: str = ""
) -> dict[str, Any]:
    """A container's state after its end."""
    ended = {"exitCode": exit_code, "startedAt": stamp(3), "finishedAt": stamp(seconds)}
    return {"terminated": ended | {"message": message, "reason": reason}}


def living_status(
    sidecar: dict[str, Any] | None = None,
    proxy: dict[str, Any] | None = None,
    dbt: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The status of a pod whose dbt has ended after 65 seconds while an injected container lives.

    Args:
        sidecar: ``state`` and ``lastState`` of ours. Default: it has ended and left its report.
        proxy: the state of the injected container.
        dbt: the state of the dbt container.
    """
    return {
        "phase": "Running",
        "initContainerStatuses": [
            {"name": "prepare", "state": terminated(4, "{}")},
            {"name": "artifacts", **(sidecar or {"state": terminated(66, upload())})},
        ],
        "containerStatuses": [
            {"name": PROXY, "state": proxy or RUNNING},
            {
                "name": "dbt",
                "image": "dbt",
                "imageID": "sha256:abc",
                "state": dbt or terminated(65, summary()),
            },
        ],
    }


def inject(pod: dict[str, Any], *, init: bool = False, **fields: Any) -> dict[str, Any]:
    """Put a container into a pod, as a webhook does."""
    where = "initContainers" if init else "containers"
    pod["spec"].setdefault(where, []).append({"name": PROXY, "image": "proxy", **fields})
    return pod


def injected_pod(status: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A pod of some Job with an injected container."""
    job = {
        "metadata": {"namespace": "analytics", "uid": "uid-of-job"},
        "spec": {"template": {"metadata": {"labels": {}}}},
    }
    return inject(pod_manifest(job, status), **fields)


def ended_with(proxy: dict[str, Any]) -> dict[str, Any]:
    """The status of a pod that has ended, its injected container with that state."""
    status = ended_status()
    status["containerStatuses"].append({"name": PROXY, "state": proxy})
    code = proxy["terminated"]["exitCode"]
    return status | {"phase": "Failed" if code else status["phase"]}
