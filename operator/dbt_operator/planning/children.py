"""The runs of a backfill: how they are made, and what is read of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dbt_operator.api.backfill import DbtBackfillSpec
from dbt_operator.api.base import API_VERSION
from dbt_operator.api.run import DbtRunStatus, Parent, Resolved
from dbt_operator.api.status import Phase, Reason
from dbt_operator.api.windows import RunWindow
from dbt_operator.planning.admission import Identity
from dbt_operator.planning.names import BACKFILL_LABEL, KUEUE, MANAGED_BY, short_uid
from dbt_operator.planning.observed import controller_uid
from dbt_operator.planning.windows import Window

Manifest = Mapping[str, Any]


@dataclass(frozen=True)
class Child:
    """What is known of a run of a backfill, or of one that has the name of such a run."""

    uid: str
    owner_uid: str
    ended: bool = False
    reason: Reason | None = None  # None while it has not ended, and if it succeeded
    message: str = ""
    states: str = ""  # of its windows
    commit: str = ""
    image_id: str = ""


def child(manifest: Manifest) -> Child:
    """Read a run."""
    status = DbtRunStatus.model_validate(manifest.get("status") or {})
    ended = status.phase is not None and status.phase.finished
    reason = status.reason
    if ended and reason is None and status.phase is not Phase.SUCCEEDED:
        reason = Reason.UNKNOWN
    return Child(
        uid=manifest["metadata"]["uid"],
        owner_uid=controller_uid(manifest),
        ended=ended,
        reason=reason if ended else None,
        message=status.message or "",
        states=status.windows.states if status.windows else "",
        commit=status.commit or "",
        image_id=status.image_id or "",
    )


def name_of(backfill: Identity, number: int) -> str:
    """The name of a backfill's run: the same whenever it is asked for, so that no windows can get two."""
    return f"{backfill.name}-{short_uid(backfill.uid)}-{number}"


def manifest(backfill: Identity, spec: DbtBackfillSpec, name: str, windows: Iterable[Window]) -> dict[str, Any]:
    """The run of some windows."""
    given = [RunWindow.model_validate({k: v for k, v in vars(window).items() if v}).to_dict() for window in windows]
    kueue = {label: value for label, value in backfill.labels.items() if label.startswith(KUEUE)}
    return {
        "apiVersion": API_VERSION,
        "kind": "DbtRun",
        "metadata": {
            "name": name,
            "namespace": backfill.namespace,
            "labels": {**kueue, **MANAGED_BY, BACKFILL_LABEL: backfill.name},
            "ownerReferences": [
                {
                    "apiVersion": API_VERSION,
                    "kind": "DbtBackfill",
                    "name": backfill.name,
                    "uid": backfill.uid,
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": spec.run_template.spec.to_dict() | {"windows": given, "stopOnFailure": spec.on_failure != "Continue"},
    }


@dataclass(frozen=True)
class Orders:
    """What the backfill's status says of one of its runs: the only grounds on which that run begins anything."""

    parent: str  # name of the backfill
    parent_uid: str
    resolved: Resolved | None = None  # None as long as the run's UID does not stand there
    commit: str = ""
    image_id: str = ""
    stop: str = ""  # Boundary or Now
    gone: bool = False  # there is no such backfill (any more)


def resolved_for(run: Identity, orders: Orders) -> Resolved | None:
    """What a run's Jobs are built from: what all of the backfill's are, with a folder of its own."""
    if orders.resolved is None:
        return None
    parent = Parent(name=orders.parent, uid=orders.parent_uid)
    location = f"{orders.resolved.location}/{run.name}"
    return orders.resolved.model_copy(update={"location": location, "parent": parent})
