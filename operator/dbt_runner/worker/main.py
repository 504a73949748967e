"""Where the process begins that imports dbt."""

from __future__ import annotations

import gc
import os

from dbt_runner.worker.assignment import Assignment
from dbt_runner.worker.channel import Channel, Commands, Pipes
from dbt_runner.worker.dbt_api import DbtApi, Means
from dbt_runner.worker.forking import leave
from dbt_runner.worker.profile_secrets import send_secrets
from dbt_runner.worker.step_work import run_step
from dbt_runner.worker.windows import WindowZygote
from dbt_runner.worker.zygote import Zygote
from dbt_runner.worker_messages import INTERRUPTED, Began, Failed


def main(assignment: Assignment, pipes: Pipes) -> int:
    """Run as the zygote, or, with a step's number, as the process of that step alone."""
    channel = Channel(pipes.events)
    try:
        means = _get_means(assignment, channel)
        if means is None:
            return 2
        _work(assignment, means, Commands(pipes.commands))
    except KeyboardInterrupt:
        channel.send(INTERRUPTED)
    return leave(0)


def _get_means(assignment: Assignment, channel: Channel) -> Means | None:
    """Import dbt, and tell the supervisor of secrets before anything is printed; None if there is
    no dbt.
    """
    redactor = send_secrets(assignment.layout, channel)
    known = dict(os.environ)
    dbt = _import_dbt(channel)
    if dbt is None:
        return None
    dbt.overrule_flags()
    if os.environ != known:
        # dbt 1.12 takes in the project's .env, which the profile may refer to.
        redactor = send_secrets(assignment.layout, channel)
    channel.send(Began("Python"))
    return Means(dbt, redactor, channel)


def _work(assignment: Assignment, means: Means, commands: Commands) -> None:
    """Do what the process is there for, in the way that the plan wants its steps isolated."""
    layout, plan = assignment.narrow()
    if assignment.step is not None:
        gc.enable()
        run_step(means, plan, layout, assignment.step, None)
    elif assignment.window is not None and plan.isolation != "Process":
        # It gets one window after another ready.
        WindowZygote(means, assignment.plan, assignment.layout).serve(commands, assignment.window)
    else:
        Zygote(means, plan, layout).serve(commands)


def _import_dbt(channel: Channel) -> DbtApi | None:
    """Import dbt with the garbage collector off: it has nothing to find among modules, and would
    look often.
    """
    gc.disable()
    try:
        from dbt_runner.worker.invocation import python_api
    except ImportError as error:
        message = f"dbt cannot be imported: {error}"
        channel.send(Failed(message=message, exit_code=2, exception=["ImportError"]))
        return None
    return python_api
