"""What an operator that had stopped for a while has created although nobody wants it any more."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from dbt_operator.planning.common.plan import LOOK_AGAIN, Action, DeleteJob, DeleteRun, Plan


@dataclass(frozen=True)
class Stray:
    """A Job of a run whose attempt was over, or a run (or backfill) of a backfill or schedule that
    stood in its status no longer.
    """

    name: str
    uid: str
    kind: str = "DbtRun"


class Recorded(Protocol):
    """What a status says of a run."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def uid(self) -> str | None:
        """Its UID, once it has been created."""


def find_strays(
    runs: Iterable[Mapping[str, Any]], recorded: Iterable[Recorded]
) -> tuple[Stray, ...]:
    """Which runs of an owner, of those that have not ended, its status does not know."""
    recorded = list(recorded)
    known = {run.uid for run in recorded}
    expected = {run.name for run in recorded if run.uid is None}
    found = [(run["kind"], run["metadata"]) for run in runs]
    return tuple(
        Stray(each["name"], each["uid"], kind)
        for kind, each in found
        if each["uid"] not in known
        and each["name"] not in expected
        and not each.get("deletionTimestamp")
    )


def delete_strays(strays: Sequence[Stray], delete: Callable[[Stray], Action]) -> Plan | None:
    """Delete what nobody recorded; None where there is no such thing. Nothing comes of it
    meanwhile: the pods of such a Job stay behind the gate, and such a run begins nothing.
    """
    if not strays:
        return None
    return Plan(actions=tuple(map(delete, strays)), requeue_after=LOOK_AGAIN)


def delete_stray_job(stray: Stray) -> DeleteJob:
    """Delete a Job."""
    return DeleteJob(stray.name, stray.uid)


def delete_stray_run(stray: Stray) -> DeleteRun:
    """Delete a run or a backfill."""
    return DeleteRun(stray.name, stray.uid, stray.kind)
