"""Continuing a run: what the attempts before have done.

Whatever is not known to be done is run again, node by node where dbt had come to its own end, step
by step where it had not got to its nodes, and from the beginning where something might be half done
or a hook has to run again: after an interrupt, a kill, a failed hook. A node counts as done only if
a result says so and nothing that it was made from has changed: same run, same source, same command
line. So a failure stands until that very node has succeeded later.

Steps behind a sourceFreshness step may have selected by what that has found, and later runs compare
with it. So it is not asked again once such a step has begun, and what it has found has to be there:
else data that has arrived since would be taken for built.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from dbt_protocol.messages import ProtocolError
from dbt_protocol.plans import RunPlan, Step
from dbt_protocol.result_file import ResultFile, StepResult
from dbt_runner.artifact_files import FRESHNESS, SOURCES
from dbt_runner.contents import find_fault
from dbt_runner.json_files import read_json
from dbt_runner.layout import Layout
from dbt_runner.outcome.classify import COUNTED
from dbt_runner.outcome.merge import RESULT
from dbt_runner.outcome.step_outcome import Result
from dbt_runner.outcome.steps import hash_arguments


@dataclass(frozen=True)
class Earlier:
    """What the attempts before have left: steps by name, and the rows of their merged
    run_results.json.
    """

    steps: Mapping[str, StepResult] = field(default_factory=dict)

    def find_finished(self, name: str, *, always: bool) -> StepResult | None:
        """The result of a step that need not run again. One that runs whatever happens has more to
        tell now, unless steps go by what it has told.
        """
        step = self.steps.get(name)
        if step is None:
            return None
        if step.command == FRESHNESS and self._has_built_after(name):
            return step
        return step if step.state == "Succeeded" and not always else None

    def _has_built_after(self, name: str) -> bool:
        """Whether a step behind this one has begun to build."""
        behind = list(self.steps.values())[list(self.steps).index(name) + 1 :]
        return any(step.command in COUNTED and step.state != "Skipped" for step in behind)

    def list_results(self, name: str) -> list[Result]:
        """The results of a step that is continued node by node."""
        step = self.steps.get(name)
        if step is None or step.state != "Failed" or step.resume != "Nodes":
            return []
        return [Result(**asdict(result)) for result in step.results]


class StartOver(Exception):  # noqa: N818 - no error: it is the careful way to go on
    """Everything has to run again; the message says why."""


def load_earlier(layout: Layout, plan: RunPlan) -> Earlier:
    """What to continue from.

    Raises:
        StartOver: there is nothing that this attempt could safely continue from.
    """
    found = read_previous(layout, plan)
    if found.attempt != plan.resume:
        raise StartOver(f"the results at hand are of attempt {found.attempt}, not of {plan.resume}")
    if fault := find_fault(layout.previous, plan.run_uid, plan.resume):
        raise StartOver(f"the results at hand are not whole: {fault}")
    return find_earlier(layout, found.steps, plan.steps)


def read_previous(layout: Layout, plan: RunPlan) -> ResultFile:
    """The result.json that an attempt of this very run has left, with the same source.

    Raises:
        StartOver: there is none.
    """
    document = read_json(layout.previous / RESULT)
    if document is None:
        raise StartOver("the results of the attempt before are not at hand")
    try:
        found = ResultFile.from_document(document)
    except ProtocolError as error:
        raise StartOver(f"the results of the attempt before cannot be read: {error}") from error
    if found.run_uid != plan.run_uid:
        raise StartOver(f"the results at hand are of attempt {found.attempt}, not of {plan.resume}")
    if found.source != read_json(layout.source_info):
        raise StartOver("the project has changed since")
    return found


def find_earlier(
    layout: Layout, results: Sequence[StepResult] | None, planned: Sequence[Step]
) -> Earlier:
    """What these results say of the steps that are planned.

    Args:
        layout: of the window at work, if there is one.
        results: of the steps, as an attempt before has left them.
        planned: the steps.

    Raises:
        StartOver: they do not tell what is done of them.
    """
    if results is None:
        raise StartOver("the results of the attempt before cannot be read")
    steps = {step.name: step for step in results}
    _check(planned, steps)
    earlier = Earlier(steps)
    for step in planned:
        finished = earlier.find_finished(step.name, always=step.always)
        if finished is not None and step.command == FRESHNESS:
            _check_sources(layout, finished)
    return earlier


def _check_sources(layout: Layout, step: StepResult) -> None:
    """See that what a sourceFreshness step has found is at hand.

    Raises:
        StartOver: it is not, or the step failed as one that steps behind it do not go by.
    """
    if step.fails_run:
        raise StartOver(f"step {step.name} has to be asked again, and steps behind it have begun")
    document = read_json(layout.previous_sources(step.name)) or {}
    if not isinstance(document.get("results"), list):
        raise StartOver(f"what step {step.name} has found ({SOURCES}) is not at hand")


def _check(plan: Sequence[Step], steps: Mapping[str, StepResult]) -> None:
    if [step.name for step in plan] != list(steps):
        raise StartOver("the steps are not the same")
    for planned in plan:
        step = steps[planned.name]
        if step.state != "Skipped" and step.digest != hash_arguments(planned.argv):
            raise StartOver(f"step {step.name} has another command line now")
        if step.state == "Failed" and not step.resume:
            raise StartOver(
                f"step {step.name} ended in a way ({step.reason}) that does not tell what is done"
            )
