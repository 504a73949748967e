"""What a backfill's status says of one of its runs."""

from __future__ import annotations

from dataclasses import dataclass

from dbt_operator.api.parts.resolved import Parent, Resolved
from dbt_operator.planning.common.identity import Identity
from dbt_operator.planning.common.record import Record


@dataclass(frozen=True)
class Orders:
    """What the backfill's status says of one of its runs: the only grounds on which that run begins
    anything.
    """

    parent: str  # name of the backfill
    parent_uid: str
    resolved: Resolved | None = None  # None as long as the run's UID does not stand there
    commit: str = ""
    image_id: str = ""
    stop: str = ""  # Boundary or Now
    unreadable: str = ""  # what is wrong with its status: what it says is not known
    gone: bool = False  # there is no such backfill (any more)

    @property
    def record(self) -> Record:
        """What the backfill knows of the run."""
        return Record(
            owner=f"DbtBackfill {self.parent}",
            place="the ledger",
            stands=self.resolved is not None,
            gone=self.gone,
            unreadable=self.unreadable,
        )


def resolved_for(run: Identity, orders: Orders) -> Resolved | None:
    """What a run's Jobs are built from: what all of the backfill's are, with a folder of its
    own.
    """
    if orders.resolved is None:
        return None
    parent = Parent(name=orders.parent, uid=orders.parent_uid)
    location = f"{orders.resolved.location}/{run.name}"
    return orders.resolved.model_copy(update={"location": location, "parent": parent})
