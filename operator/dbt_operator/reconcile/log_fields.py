"""What a line of the log says of an object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dbt_operator.planning.common.manifests import parent_of, schedule_of

Manifest = Mapping[str, Any]

# Fields of a status, and what they are called in the line that tells of an end.
_FIGURES = {
    "phase": "phase",
    "reason": "reason",
    "commit": "commit",
    "dbtVersion": "dbt_version",
    "engine": "engine",
    "startedAt": "started_at",
    "finishedAt": "finished_at",
    "duration": "duration",
    "queuedSeconds": "queued_seconds",
    "nodes": "nodes",
    "artifacts": "artifacts",
}
_COUNTS = ("total", "pending", "running", "succeeded", "failed", "skipped")  # of windows


def identify(manifest: Manifest) -> dict[str, Any]:
    """Which object it is, beside its kind and its name: its UID, its attempt, and what it is of."""
    metadata, status = manifest["metadata"], manifest.get("status") or {}
    found: dict[str, Any] = {"uid": metadata["uid"]}
    if attempts := status.get("attempts"):
        found["attempt"] = len(attempts)
    for name, owner in (("schedule", schedule_of(manifest)), ("backfill", parent_of(manifest))):
        if owner is not None:
            found[name] = owner[0]
    return found


def describe_end(manifest: Manifest) -> dict[str, Any]:
    """All the figures of something that has ended."""
    status = manifest["status"]
    found = {name: status[field] for field, name in _FIGURES.items() if field in status}
    if windows := status.get("windows"):
        found["windows"] = {name: windows[name] for name in _COUNTS if name in windows}
    return found
