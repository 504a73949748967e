"""What can be read of a manifest without its model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Manifest = Mapping[str, Any]


def controller_uid(manifest: Manifest) -> str:
    """The UID of the object that an object belongs to; empty when it belongs to none."""
    owners: Iterable[Manifest] = manifest["metadata"].get("ownerReferences") or ()
    return next((str(owner["uid"]) for owner in owners if owner.get("controller")), "")


def work(manifest: Manifest) -> Manifest:
    """The spec of what is run: that of a run, or the one in the template of a backfill."""
    spec: Manifest = manifest["spec"]
    found: Manifest = spec["runTemplate"]["spec"] if "runTemplate" in spec else spec
    return found


def kind_of(manifest: Manifest) -> str:
    """DbtRun or DbtBackfill: lists do not say so of each object."""
    return "DbtBackfill" if "runTemplate" in manifest["spec"] else "DbtRun"


def parent_of(run: Manifest) -> tuple[str, str] | None:
    """Name and UID of the backfill that a run says it is part of. It proves nothing: see the
    backfill's ledger.
    """
    owners: Iterable[Manifest] = run["metadata"].get("ownerReferences") or ()
    found = next(
        (owner for owner in owners if owner.get("controller") and owner["kind"] == "DbtBackfill"),
        None,
    )
    return (found["name"], found["uid"]) if found else None
