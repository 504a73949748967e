"""What is kept of runs that have ended: there may be ten thousand of them, and next to nothing is
ever asked of one.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dbt_operator.api.registry import KINDS, RUN
from dbt_operator.api.status import ConditionType
from dbt_operator.planning.common.managers import managed_by
from dbt_operator.planning.common.manifests import controller_uid

Manifest = Mapping[str, Any]

_ENDS = {str(phase) for kind in KINDS for phase in kind.phases or () if phase.finished}

# Keys of a manifest that is not whole: what is missing in it has to be asked for live.
PROJECTED, MANAGED, EDITED, NOTIFYING = "projected", "managed", "edited", "notifying"


@dataclass(frozen=True, slots=True)
class Projection:
    """A run that has ended. Words that many runs share are kept once."""

    namespace: str
    name: str
    uid: str
    version: int
    target: str
    phase: str
    finished_at: str
    # spec.ttlAfterFinished; empty if it has none, or if it is said already that it is without
    # effect
    ttl: str
    managed: bool  # somebody would create it again if it were deleted
    edited: bool  # since its status was written
    jobs: str  # UIDs of its Jobs, apart by a space
    notifying: bool  # somebody is still to be told of its end
    owner: str  # UID of the backfill or schedule that it is of; empty for one of nobody's

    @classmethod
    def of(cls, run: Manifest) -> Projection:
        """What to keep of a run."""
        metadata, status = run["metadata"], run["status"]
        kept_for_good = any(
            c["type"] == ConditionType.EXPIRES for c in status.get("conditions") or ()
        )
        return cls(
            namespace=sys.intern(metadata["namespace"]),
            name=metadata["name"],
            uid=metadata["uid"],
            version=int(metadata["resourceVersion"]),
            target=sys.intern(run["spec"]["targetRef"]["name"]),
            phase=sys.intern(status["phase"]),
            finished_at=status.get("finishedAt", ""),
            ttl="" if kept_for_good else sys.intern(run["spec"].get("ttlAfterFinished", "")),
            managed=bool(
                managed_by(
                    {**(metadata.get("labels") or {}), **(metadata.get("annotations") or {})}
                )
            ),
            edited=status.get("observedGeneration") != metadata.get("generation"),
            jobs=" ".join(
                attempt["jobUID"] for attempt in status.get("attempts") or () if "jobUID" in attempt
            ),
            notifying=is_notifying(run),
            owner=sys.intern(controller_uid(run)),
        )

    def manifest(self) -> dict[str, Any]:
        """As part of the manifest that it was."""
        attempts = [{"jobUID": uid} for uid in self.jobs.split()]
        spec: dict[str, Any] = {"targetRef": {"name": self.target}}
        if self.ttl:
            spec["ttlAfterFinished"] = self.ttl
        return {
            "kind": RUN.kind,
            "metadata": {
                "namespace": self.namespace,
                "name": self.name,
                "uid": self.uid,
                "resourceVersion": str(self.version),
            },
            "spec": spec,
            "status": {"phase": self.phase, "finishedAt": self.finished_at, "attempts": attempts},
            PROJECTED: True,
            MANAGED: self.managed,
            EDITED: self.edited,
            NOTIFYING: self.notifying,
        }


def has_ended(run: Manifest) -> bool:
    """Whether a run or backfill has ended."""
    return run.get("status", {}).get("phase") in _ENDS


def is_notifying(manifest: Manifest) -> bool:
    """Whether a message about an object is still to be sent."""
    if manifest.get(PROJECTED):
        return bool(manifest[NOTIFYING])
    messages = (manifest.get("status") or {}).get("notifications") or ()
    return any(each["state"] == "Pending" for each in messages)
