"""Runs a step, in a process that ends with it."""

from __future__ import annotations

from typing import Any

from dbt_protocol.plans import RunPlan
from dbt_runner.json_files import read_json
from dbt_runner.layout import Layout
from dbt_runner.outcome.steps import may_lack_state
from dbt_runner.worker.dbt_api import Done, Invocation, Means
from dbt_runner.worker.found_sources import hand_over_sources
from dbt_runner.worker_messages import StepOutcome


def run_step(means: Means, plan: RunPlan, layout: Layout, number: int, manifest: Any) -> None:
    """Run a step of a plan in this very process, and tell how dbt has ended.

    Args:
        means: what it is run with.
        plan: with the steps.
        layout: of the window at work, if there is one.
        number: the step's.
        manifest: a parsed one, or None to let dbt parse.
    """
    step = plan.steps[number]
    folder, may_lack = layout.work / step.name, may_lack_state(plan, step)
    invocation = Invocation(step.argv, folder, means.redactor, may_lack)
    hand_over_sources(layout, plan.steps, number)
    done = _read_done(layout, step.name)
    end = means.dbt.run_command(invocation, manifest, done, means.channel.send_progress)
    means.channel.send(StepOutcome(step=number, **end.list_fields()))


def _read_done(layout: Layout, step: str) -> Done:
    """What the supervisor says is done of a step."""
    found = read_json(layout.done(step))
    return Done(found["nodes"], found["batches"]) if found else Done()
