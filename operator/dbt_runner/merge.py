"""Continuing a run: what the attempts before have done, and their results with this attempt's put over them.

Whatever is not known to be done is run again, node by node where dbt had come to its own end, step by step where it
had not got to its nodes, and from the beginning where something might be half done or a hook has to run again: after an
interrupt, a kill, a failed hook. A node counts as done only if a result says so and nothing that it was made from has
changed: same run, same source, same command line. So a failure stands until that very node has succeeded later.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dbt_runner.layout import Layout
from dbt_runner.protocol import Failure, Nodes, RunPlan, Step
from dbt_runner.publish import MANIFEST, RUN_RESULTS, SOURCES
from dbt_runner.results import COUNTED, Result
from dbt_runner.steps import StepResult, digest

RESULT = "result.json"
Rows = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Earlier:
    """What the attempts before have left: steps by name, and the rows of their merged run_results.json."""

    steps: Mapping[str, StepResult] = field(default_factory=dict)

    def finished(self, name: str, *, always: bool) -> StepResult | None:
        """The result of a step that need not run again. One that runs whatever happens has more to tell now."""
        step = self.steps.get(name)
        return step if step is not None and step.state == "Succeeded" and not always else None

    def results(self, name: str) -> list[Result]:
        """The results of a step that is continued node by node."""
        step = self.steps.get(name)
        return step.results if step is not None and step.state == "Failed" and step.resume == "Nodes" else []


class StartOver(Exception):  # noqa: N818 - no error: it is the careful way to go on
    """Everything has to run again; the message says why."""


def load(layout: Layout, plan: RunPlan) -> Earlier:
    """What to continue from.

    Raises:
        StartOver: there is nothing that this attempt could safely continue from.
    """
    document = results_at_hand(layout, plan)
    if document.get("attempt") != plan.resume:
        raise StartOver(f"the results at hand are of attempt {document.get('attempt')}, not of {plan.resume}")
    return earlier(document.get("steps"), plan.steps)


def results_at_hand(layout: Layout, plan: RunPlan) -> dict[str, Any]:
    """The result.json that an attempt of this very run has left, with the same source.

    Raises:
        StartOver: there is none.
    """
    document = read_json(layout.previous / RESULT)
    if document is None:
        raise StartOver("the results of the attempt before are not at hand")
    if document.get("run_uid") != plan.run_uid:
        raise StartOver(f"the results at hand are of attempt {document.get('attempt')}, not of {plan.resume}")
    if document.get("source") != read_json(layout.source_info):
        raise StartOver("the project has changed since")
    return document


def earlier(rows: Any, planned: Sequence[Step]) -> Earlier:
    """What these rows of a result.json say of the steps that are planned.

    Raises:
        StartOver: they do not tell what is done of them.
    """
    try:
        steps = {step.name: step for step in map(_step, rows)}
    except (KeyError, TypeError, AttributeError) as error:
        raise StartOver(f"the results of the attempt before cannot be read: {error!r}") from error
    _check(planned, steps)
    return Earlier(steps)


def _check(plan: Sequence[Step], steps: Mapping[str, StepResult]) -> None:
    if [step.name for step in plan] != list(steps):
        raise StartOver("the steps are not the same")
    for planned in plan:
        step = steps[planned.name]
        if step.state != "Skipped" and step.digest != digest(planned.argv):
            raise StartOver(f"step {step.name} has another command line now")
        if step.state == "Failed" and not step.resume:
            raise StartOver(f"step {step.name} ended in a way ({step.reason}) that does not tell what is done")


def _step(data: Mapping[str, Any]) -> StepResult:
    known = {name: data[name] for name in StepResult.__dataclass_fields__ if name in data}
    known["nodes"] = Nodes(**data["nodes"])
    known["failures"] = [Failure(**failure) for failure in data["failures"]]
    known["results"] = [Result(**result) for result in data["results"]]
    return StepResult(**known)


def write(layout: Layout, steps: Iterable[StepResult], result: Mapping[str, Any]) -> None:
    """Write what belongs beside the attempts: the merged results, and the state for later runs to compare with."""
    steps = list(steps)
    write_json(layout.artifacts / RESULT, result)
    layout.run.mkdir(parents=True, exist_ok=True)
    _link(layout.artifacts / RESULT, layout.run / RESULT)
    merged = _merged(layout, steps)
    if merged:
        write_json(layout.run / RUN_RESULTS, merged)
    _write_state(layout, steps)


def _merged(layout: Layout, steps: Iterable[StepResult]) -> dict[str, Any] | None:
    """run_results.json of the whole run, in dbt's format: for each node the row of its last result."""
    document = read_json(layout.previous / RUN_RESULTS)
    rows = {row["unique_id"]: row for row in (document or {}).get("results", ())}
    known = {result.unique_id for step in steps for result in step.results}
    for step in steps:
        latest = read_json(layout.artifacts / step.name / RUN_RESULTS) if step.command in COUNTED else None
        if latest:
            document = latest
            rows.update({row["unique_id"]: row for row in latest["results"]})
    if document is None:
        return None
    return {**document, "results": [row for unique_id, row in rows.items() if unique_id in known]}


def _write_state(layout: Layout, steps: Iterable[StepResult]) -> None:
    """Link what `state:`, `result:` and `source_status:` selectors and --defer will read."""
    finished = [step for step in steps if (layout.artifacts / step.name).is_dir()]
    building = [step for step in finished if step.command in COUNTED] or finished
    layout.new_state.mkdir(parents=True, exist_ok=True)
    for step in building:
        _link(layout.artifacts / step.name / MANIFEST, layout.new_state / MANIFEST)
    for step in finished:
        _link(layout.artifacts / step.name / SOURCES, layout.new_state / SOURCES)
    _link(layout.run / RUN_RESULTS, layout.new_state / RUN_RESULTS)


def _link(source: Path, target: Path) -> None:
    """Put a file where it is wanted too, unless there is none; a later one replaces an earlier."""
    if source.is_file():
        target.unlink(missing_ok=True)
        os.link(source, target)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file that is complete or not there."""
    partial = path.with_name(f".{path.name}")
    partial.parent.mkdir(parents=True, exist_ok=True)
    partial.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
    partial.replace(path)


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object; None where there is none that can be read."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None
