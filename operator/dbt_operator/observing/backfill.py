"""Reads all that is known of a backfill when a decision is due."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dbt_operator.api.kinds.backfill import DbtBackfill, DbtBackfillStatus
from dbt_operator.observing.reader import Reader, identity_of
from dbt_operator.observing.recorded import find_record
from dbt_operator.observing.run import look_at_slot
from dbt_operator.planning.backfill.children import Child, child
from dbt_operator.planning.backfill.facts import BackfillFacts
from dbt_operator.planning.backfill.windows import WindowsError, windows_of
from dbt_operator.planning.common.durations import parse_time
from dbt_operator.planning.common.manifests import work
from dbt_operator.planning.common.reading import UnreadableError, read, read_part
from dbt_operator.planning.common.references import References
from dbt_operator.planning.common.strays import find_strays

Manifest = Mapping[str, Any]


def observe(reader: Reader, manifest: Manifest, *, asked: bool = False) -> BackfillFacts:
    """Everything about a backfill. ``asked``: it has just asked for a slot."""
    backfill, identity = read(DbtBackfill, manifest), identity_of(manifest)
    status = backfill.status or DbtBackfillStatus()
    created_at = parse_time(manifest["metadata"]["creationTimestamp"])
    facts = BackfillFacts(
        backfill,
        identity,
        created_at,
        reader.runner_image,
        strays=find_strays(reader.store.unfinished_children(identity.uid), status.runs or ()),
    )
    if status.phase and status.phase.finished:
        return facts
    _check_record(manifest, status)
    spec, namespace = backfill.spec, identity.namespace
    run = spec.run_template.spec
    chosen = run.notify if spec.notify is None else spec.notify
    facts = replace(
        facts,
        record=find_record(reader, manifest),
        listeners=reader.find_listeners(chosen, run.project_ref.name, namespace),
    )
    if status.definition is None and spec.resume_from is not None:
        facts = _with_earlier(reader, facts, spec.resume_from.name)
    if status.resolved is None and not facts.references.unreadable:
        facts = replace(facts, references=reader.read_references(spec.run_template.spec, namespace))
    facts = replace(facts, children=_children(reader, namespace, status))
    known = reader.store.get("DbtTarget", namespace, work(manifest)["targetRef"]["name"])
    if known is None:
        return facts
    now = reader.clock()
    ranking = reader.store.rank(namespace, known["metadata"]["name"], now)
    return replace(facts, slot=look_at_slot(manifest, known, ranking, now, asked=asked))


def _check_record(manifest: Manifest, status: DbtBackfillStatus) -> None:
    """See that the record of the windows is about the windows.

    Raises:
        UnreadableError: it is not.
    """
    if status.definition is None or status.windows is None:
        return
    try:
        count = len(windows_of(status.definition))
    except WindowsError as error:
        why = f"status.definition: {error}"
        raise UnreadableError(DbtBackfill.__name__, manifest, "status", why) from error
    states = status.windows.states
    if len(states) != count:
        why = f"status.windows.states: it has {len(states)} characters for {count} windows"
        raise UnreadableError(DbtBackfill.__name__, manifest, "status", why)
    if any(not 0 <= place < count for run in status.runs or () for place in run.windows):
        why = f"status.runs: a run has windows that are none of the {count}"
        raise UnreadableError(DbtBackfill.__name__, manifest, "status", why)


def _with_earlier(reader: Reader, facts: BackfillFacts, name: str) -> BackfillFacts:
    """With the backfill that it resumes, of which nothing but the status counts."""
    earlier = reader.whole("DbtBackfill", facts.identity.namespace, name)
    if earlier is None:
        return facts
    try:
        status = read_part(DbtBackfill, earlier, "status")
    except UnreadableError as error:
        unreadable = {f"DbtBackfill {name}": error.why}
        return replace(facts, references=References(unreadable=unreadable))
    return replace(facts, earlier=DbtBackfill.model_construct(spec=facts.spec, status=status))


def _children(reader: Reader, namespace: str, status: DbtBackfillStatus) -> dict[str, Child]:
    """The runs that windows are given to. Absence is confirmed live, and of one that has ended all
    is asked for.
    """
    found = {run.name: reader.whole("DbtRun", namespace, run.name) for run in status.runs or ()}
    return {name: child(manifest) for name, manifest in found.items() if manifest is not None}
