"""Where process 1 of the dbt container begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from dbt_protocol.plans import RunPlan
from dbt_runner import presence
from dbt_runner.artifact_files import MANIFEST
from dbt_runner.layout import Layout
from dbt_runner.supervise.os_signals import Signals
from dbt_runner.supervise.session import Supervisor
from dbt_runner.supervise.window_loop import Rounds


def main(layout: Layout, plan: RunPlan, env: Mapping[str, str]) -> int:
    """Run the plan; returns the container's exit code, which is 0 only if the run succeeded."""
    plan = _with_state(layout, plan)
    with Signals() as signals, presence.held(layout.alive):
        supervisor = Supervisor(layout, plan, env, signals)
        return Rounds(supervisor, layout, plan).run() if plan.windows else supervisor.run()


def _with_state(layout: Layout, plan: RunPlan) -> RunPlan:
    """The plan without comparisons, where there is nothing to compare with: then everything is
    built.
    """
    if not plan.state or (layout.state / MANIFEST).is_file():
        return plan
    return replace(plan, steps=[replace(step, argv=step.full or step.argv) for step in plan.steps])
