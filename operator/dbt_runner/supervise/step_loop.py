"""Goes through the steps of a run, or of one of its windows, and decides which of them run."""

from __future__ import annotations

from collections.abc import Sequence

from dbt_protocol.plans import Step
from dbt_protocol.result_file import StepResult
from dbt_runner.supervise.step_runner import StepRunner


def run_steps(runner: StepRunner, refused: StepResult | None) -> list[StepResult]:
    """Run what is to be run.

    Args:
        runner: runs a step.
        refused: why no step may run, from :meth:`StepRunner.prepare`.
    """
    results: list[StepResult] = []
    for number in range(len(runner.steps)):
        runner.session.stop_if_due()
        results.append(_settle_step(runner, number, refused, results))
    return results


def _settle_step(
    runner: StepRunner, number: int, refused: StepResult | None, before: Sequence[StepResult]
) -> StepResult:
    """What becomes of a step, given the results of those before it."""
    step = runner.steps[number]
    if refused and refused.name == step.name:
        return refused
    finished = runner.earlier.find_finished(step.name, always=step.always)
    if finished:
        return runner.take_from_earlier(finished)
    if refused or runner.session.stop.reason or _is_blocked(step, before):
        return StepResult(step.name, step.command, "Skipped", allow_failure=step.allow_failure)
    return runner.run_step(number)


def _is_blocked(step: Step, before: Sequence[StepResult]) -> bool:
    ends_run = any(result.fails_run or result.state == "NotFresh" for result in before)
    return ends_run and not step.always
