"""What claims a slot of a target: the runs and backfills that want one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from dbt_operator.api.status import Phase
from dbt_operator.planning.common.durations import parse_time
from dbt_operator.planning.common.manifests import parent_of, work
from dbt_operator.planning.queueing.slots import Claim

Manifest = Mapping[str, Any]


def claims_slot(run: Manifest) -> bool:
    """Whether a run or backfill wants a slot: it is queued, or has begun. A run of a backfill works
    in that one's.
    """
    status = run.get("status", {})
    if (
        status.get("cancelRequestedAt")
        or run["metadata"].get("deletionTimestamp")
        or parent_of(run)
    ):
        return False
    return status.get("phase") == Phase.QUEUED or _begun(status)


def _begun(status: Manifest) -> bool:
    """Whether an attempt of a run is under way, or a backfill has given windows away."""
    if status.get("runs"):
        return True
    attempts = status.get("attempts") or ()
    return bool(attempts) and status.get("phase") in (Phase.PENDING, Phase.RUNNING)


def claim(run: Manifest, now: datetime) -> Claim:
    """What a run or backfill has to say for itself."""
    metadata, status = run["metadata"], run.get("status", {})
    since = (status.get("queue") or {}).get("since")
    # Who has waited for its upstreams is as old as the end of that.
    began_at = (status.get("wait") or {}).get("endedAt") or metadata["creationTimestamp"]
    waited = timedelta(seconds=status.get("queuedSeconds", 0))
    return Claim(
        name=metadata["name"],
        uid=metadata["uid"],
        priority=work(run).get("priority", 0),
        created_at=parse_time(began_at),
        waited=waited + (max(now - parse_time(since), timedelta()) if since else timedelta()),
        yielded=status.get("yieldedSlot", ""),
        begun=_begun(status),
        kind=run["kind"],
    )


def claims(runs: Iterable[Manifest], now: datetime) -> list[Claim]:
    """The claims of those that want a slot.

    Manifests come here as they are, and one of them must not stop the others: who cannot be read
    stands still, says so itself, and claims nothing.
    """
    found: list[Claim] = []
    for run in runs:
        with suppress(ValueError, TypeError, KeyError, AttributeError, OverflowError):
            if claims_slot(run):
                found.append(claim(run, now))
    return found
