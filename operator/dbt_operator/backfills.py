"""Reads all that is known of a backfill when a decision is due."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dbt_operator.api.backfill import DbtBackfill, DbtBackfillStatus
from dbt_operator.api.project import DbtProject
from dbt_operator.api.target import DbtTarget
from dbt_operator.observing import Reader, identity_of
from dbt_operator.planning.backfill_status import Seen
from dbt_operator.planning.children import Child, child
from dbt_operator.planning.duration import parse_time
from dbt_operator.planning.observed import work
from dbt_operator.planning.queue import look
from dbt_operator.planning.run_status import Stray

Manifest = Mapping[str, Any]


def observe(reader: Reader, manifest: Manifest, *, asked: bool = False) -> Seen:
    """Everything about a backfill. ``asked``: it has just asked for a slot."""
    backfill, identity = DbtBackfill.model_validate(manifest), identity_of(manifest)
    status = backfill.status or DbtBackfillStatus()
    created_at = parse_time(manifest["metadata"]["creationTimestamp"])
    seen = Seen(backfill, identity, created_at, reader.runner_image, strays=_strays(reader, manifest, status))
    if status.phase and status.phase.finished:
        return seen
    spec, namespace = backfill.spec, identity.namespace
    if status.definition is None and spec.resume_from is not None:
        earlier = reader.reference("DbtBackfill", namespace, spec.resume_from.name, DbtBackfill)
        seen = replace(seen, earlier=earlier[0] if earlier else None)
    if status.resolved is None:
        run = spec.run_template.spec
        project = reader.reference("DbtProject", namespace, run.project_ref.name, DbtProject)
        target = reader.reference("DbtTarget", namespace, run.target_ref.name, DbtTarget)
        seen = replace(seen, project=project, target=target, state_run=reader.state_run(run, namespace))
    seen = replace(seen, children=_children(reader, namespace, status))
    known = reader.store.get("DbtTarget", namespace, work(manifest)["targetRef"]["name"])
    if known is None:
        return seen
    others = reader.store.unfinished(namespace, known["metadata"]["name"])
    return replace(seen, slot=look(manifest, known, others, reader.clock(), asked=asked))


def _children(reader: Reader, namespace: str, status: DbtBackfillStatus) -> dict[str, Child]:
    """The runs that windows are given to. Absence is confirmed live, and of one that has ended all is asked for."""
    found = {run.name: reader.whole("DbtRun", namespace, run.name) for run in status.runs or ()}
    return {name: child(manifest) for name, manifest in found.items() if manifest is not None}


def _strays(reader: Reader, manifest: Manifest, status: DbtBackfillStatus) -> tuple[Stray, ...]:
    """Runs that an operator which had stopped for a while has created although their windows were no longer theirs."""
    recorded = {run.uid for run in status.runs or ()}
    expected = {run.name for run in status.runs or () if run.uid is None}
    found = [run["metadata"] for run in reader.store.unfinished_children(manifest["metadata"]["uid"])]
    return tuple(
        Stray(each["name"], each["uid"])
        for each in found
        if each["uid"] not in recorded and each["name"] not in expected and not each.get("deletionTimestamp")
    )
