"""What an operator that had stopped for a while has created although nobody wants it any more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dbt_operator.planning.common.plan import LOOK_AGAIN, DeleteJob, DeleteRun, Plan


@dataclass(frozen=True)
class Stray:
    """A Job of a run whose attempt was over, or a run of a backfill whose windows were no longer
    its own.
    """

    name: str
    uid: str


def delete_strays(strays: Sequence[Stray], delete: type[DeleteJob | DeleteRun]) -> Plan | None:
    """Delete what nobody recorded; None where there is no such thing. Nothing comes of it
    meanwhile: the pods of such a Job stay behind the gate, and such a run begins nothing.
    """
    if not strays:
        return None
    return Plan(
        actions=tuple(delete(stray.name, stray.uid) for stray in strays),
        requeue_after=LOOK_AGAIN,
    )
