"""What belongs beside the attempts of a run: its merged results, and the state for later runs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from dbt_protocol.plans import RunPlan, Step
from dbt_protocol.result_file import ResultFile, StepResult
from dbt_runner.artifact_files import FRESHNESS, MANIFEST, RUN_RESULTS, SOURCES
from dbt_runner.contents import record_contents
from dbt_runner.json_files import read_results, write_json
from dbt_runner.layout import Layout
from dbt_runner.outcome.classify import COUNTED
from dbt_runner.outcome.steps import find_selection
from dbt_runner.volume import copy_plain

RESULT = "result.json"
_READS_SOURCES = {"build", "run", "snapshot"}
_SLIM = "--select state:modified+"
Rows = dict[str, dict[str, Any]]


def write(layout: Layout, result: ResultFile, plan: RunPlan) -> None:
    """Write what belongs beside the attempts: the merged results, and the state for later runs to
    compare with.

    Args:
        layout: of the run.
        result: of the run.
        plan: with its steps, as they were run.
    """
    steps = result.steps or []
    write_json(layout.artifacts / RESULT, result.to_document())
    layout.run.mkdir(parents=True, exist_ok=True)
    _link(layout.artifacts / RESULT, layout.run / RESULT)
    merged = _merged(layout, steps)
    if merged:
        write_json(layout.run / RUN_RESULTS, merged)
    _write_state(layout, steps, plan.steps)
    record_contents(layout.run, plan, [RESULT, RUN_RESULTS])
    record_contents(layout.new_state, plan, [MANIFEST, RUN_RESULTS, SOURCES])


def _merged(layout: Layout, steps: Iterable[StepResult]) -> dict[str, Any] | None:
    """run_results.json of the whole run, in dbt's format: for each node the row of its last
    result.
    """
    document = read_results(layout.previous / RUN_RESULTS)
    rows = {row["unique_id"]: row for row in (document or {}).get("results", ())}
    known = {result.unique_id for step in steps for result in step.results}
    for step in steps:
        latest = (
            read_results(layout.artifacts / step.name / RUN_RESULTS)
            if step.command in COUNTED
            else None
        )
        if latest:
            document = latest
            rows.update({row["unique_id"]: row for row in latest["results"]})
    if document is None:
        return None
    return {**document, "results": [row for unique_id, row in rows.items() if unique_id in known]}


def _write_state(layout: Layout, steps: Sequence[StepResult], planned: Sequence[Step]) -> None:
    """Link what `state:`, `result:` and `source_status:` selectors and --defer will read."""
    if any(step.lost_name for step in steps):
        return  # nothing would be found by the names that are left
    finished = [step for step in steps if (layout.artifacts / step.name).is_dir()]
    building = [step for step in finished if step.command in COUNTED] or finished
    layout.new_state.mkdir(parents=True, exist_ok=True)
    for step in building:
        _link(layout.artifacts / step.name / MANIFEST, layout.new_state / MANIFEST)
    sources = _find_sources(layout, planned)
    if sources is not None:
        copy_plain(sources, layout.new_state / SOURCES)
    _link(layout.run / RUN_RESULTS, layout.new_state / RUN_RESULTS)


def _find_sources(layout: Layout, planned: Sequence[Step]) -> Path | None:
    """The sources.json that later runs are to compare with; None if there is none.

    It must not speak of data that came too late to be built: so it is what was found before
    anything was built of the sources. Where only ``state:modified+`` was built, most of what
    depends on them was not, and they are as old as in the state that the run compares with.
    """
    if any(_is_slim(step) for step in planned):
        return layout.state / SOURCES
    found = None
    for step in planned:
        if step.command in _READS_SOURCES:
            break
        if step.command == FRESHNESS and layout.found_sources(step.name).is_file():
            found = layout.found_sources(step.name)
    return found


def _is_slim(step: Step) -> bool:
    """Whether a build may have been one of what has changed. What a selector selects is not known
    here; for one of everything this is only careful.
    """
    selects_slim = find_selection(step) == _SLIM
    may_select_slim = "--selector" in step.argv and "--state" in step.argv
    return step.command == "build" and (selects_slim or may_select_slim)


def _link(source: Path, target: Path) -> None:
    """Put a file where it is wanted too, unless there is none; a later one replaces an earlier."""
    if source.is_file():
        target.unlink(missing_ok=True)
        os.link(source, target)
