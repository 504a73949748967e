"""The runs of a backfill: how they are made, and what is read of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dbt_operator.api.base import API_VERSION, Model
from dbt_operator.api.kinds.backfill import DbtBackfillSpec
from dbt_operator.api.kinds.run import DbtRun, DbtRunStatus
from dbt_operator.api.parts.windows import RunWindow
from dbt_operator.api.registry import RUN
from dbt_operator.api.status import Phase, Reason
from dbt_operator.planning.backfill.windows import Window
from dbt_operator.planning.common.identity import Identity
from dbt_operator.planning.common.manifests import comparable, controller_uid
from dbt_operator.planning.common.names import BACKFILL_LABEL, KUEUE, MANAGED_BY, short_uid
from dbt_operator.planning.common.reading import UnreadableError, read_part

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
    spec: Model | None = None  # None where it cannot be read
    unreadable: str = ""  # what is wrong with its status: the rest of this is not known then


def child(manifest: Manifest) -> Child:
    """Read a run. What is wrong with it is its own trouble, and no reason to hear nothing of the
    others.
    """
    try:
        status: DbtRunStatus = read_part(DbtRun, manifest, "status") or DbtRunStatus()
    except UnreadableError as error:
        uid, owner_uid = manifest["metadata"]["uid"], controller_uid(manifest)
        return Child(
            uid, owner_uid, spec=comparable(RUN.kind, manifest["spec"]), unreadable=error.why
        )
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
        spec=comparable(RUN.kind, manifest["spec"]),
    )


def name_of(backfill: Identity, number: int) -> str:
    """The name of a backfill's run: the same whenever it is asked for, so that no windows can get
    two.
    """
    return f"{backfill.name}-{short_uid(backfill.uid)}-{number}"


def as_given(windows: Iterable[Window]) -> list[RunWindow]:
    """Windows as a run gets them."""
    return [
        RunWindow.model_validate({name: value for name, value in vars(window).items() if value})
        for window in windows
    ]


def manifest(
    backfill: Identity, spec: DbtBackfillSpec, name: str, windows: Iterable[Window]
) -> dict[str, Any]:
    """The run of some windows."""
    given = [window.to_dict() for window in as_given(windows)]
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
        "spec": spec.run_template.spec.to_dict()
        | {"windows": given, "stopOnFailure": spec.on_failure != "Continue"},
    }
