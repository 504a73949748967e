"""Where process 1 of the dbt container begins: a supervisor that never imports dbt itself.

So it outlives what may happen to dbt (the OOM killer of cgroup v1 takes the biggest process) and
always leaves a termination message. The order of a run::

    interpreter -> zygote: secrets, parse, environment validation -> step, publish -> step, publish
    -> ... -> result

With windows (:mod:`dbt_runner.supervise.window_loop`) everything behind the interpreter happens
once for each, as far as it is needed. When the run is stopped, what has been finished is kept and
no further step runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from dbt_protocol.plans import RunPlan
from dbt_runner import presence
from dbt_runner.artifact_files import MANIFEST, SOURCES
from dbt_runner.layout import Layout
from dbt_runner.outcome import resume
from dbt_runner.outcome.resume import Earlier, StartOver
from dbt_runner.outcome.steps import selects_by_sources
from dbt_runner.secret_sources import make_scanning_redactor
from dbt_runner.supervise.dbt_variables import make_variables
from dbt_runner.supervise.os_signals import Signals
from dbt_runner.supervise.output import Output
from dbt_runner.supervise.reporter import Reporter
from dbt_runner.supervise.session import Session
from dbt_runner.supervise.step_loop import run_steps
from dbt_runner.supervise.step_runner import StepRunner
from dbt_runner.supervise.window_loop import WindowLoop


def main(layout: Layout, plan: RunPlan, env: Mapping[str, str]) -> int:
    """Run the plan; returns the container's exit code, which is 0 only if the run succeeded."""
    plan = _choose_arguments(layout, plan)
    with Signals() as signals, presence.held(layout.alive):
        variables = make_variables(layout, plan, env)
        output = Output(make_scanning_redactor(layout.profile, env))
        session = Session(layout, plan, variables, signals, output)
        reporter = Reporter(layout, plan, session)
        if plan.windows:
            return WindowLoop(session, layout, plan, reporter).run()
        runner = StepRunner(session, layout, plan, _load_earlier(layout, plan, output))
        steps = run_steps(runner, runner.prepare())
        session.end_child()
        return reporter.report_run(steps, runner.parse)


def _choose_arguments(layout: Layout, plan: RunPlan) -> RunPlan:
    """The plan without comparisons, where there is nothing to compare with: then everything is
    built.
    """
    if not plan.state:
        return plan
    has_state, has_sources = ((layout.state / name).is_file() for name in (MANIFEST, SOURCES))
    steps = [
        step
        if has_state and (has_sources or plan.state_required or not selects_by_sources(step))
        else replace(step, argv=step.full or step.argv)
        for step in plan.steps
    ]
    return replace(plan, steps=steps)


def _load_earlier(layout: Layout, plan: RunPlan, output: Output) -> Earlier:
    """What the attempts before have done, if this one is to continue them and can."""
    if plan.resume is None:
        return Earlier()
    try:
        earlier = resume.load_earlier(layout, plan)
    except StartOver as why:
        output.say(f"everything runs again: {why}")
        return Earlier()
    output.say(f"continuing attempt {plan.resume}")
    return earlier
