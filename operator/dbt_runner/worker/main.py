"""Where the process begins that imports dbt."""

from __future__ import annotations

import gc
import os
from typing import Any

from dbt_protocol.plans import RunPlan
from dbt_runner.layout import Layout
from dbt_runner.outcome.steps import narrow_to_window
from dbt_runner.worker.channel import Channel, Commands
from dbt_runner.worker.forking import leave
from dbt_runner.worker.profile_secrets import send_secrets
from dbt_runner.worker.zygote import Zygote, run_here
from dbt_runner.worker_messages import INTERRUPTED, Failed


def main(
    layout: Layout,
    plan: RunPlan,
    commands: int,
    events: int,
    step: int | None,
    window: int | None = None,
) -> int:
    """Run as the zygote, or, with a step's number, as the process of that step alone."""
    channel = Channel(events)
    first = None  # of the windows that are one after another gotten ready here
    if step is None and plan.isolation != "Process":
        first, window = window, None
    layout, plan = narrow_to_window(layout, plan, window)
    try:
        redactor = send_secrets(layout, channel)
        known = dict(os.environ)
        dbt = _import_dbt(channel)
        if dbt is None:
            return 2
        if (
            os.environ != known
        ):  # dbt 1.12 takes in the project's .env, which the profile may refer to
            redactor = send_secrets(layout, channel)
        if step is not None:
            run_here(dbt, plan.steps[step], layout, redactor, channel)
        elif first is not None:
            from dbt_runner.worker.windows import WindowZygote

            WindowZygote(dbt, plan, layout, redactor, channel).serve(Commands(commands), first)
        else:
            Zygote(dbt, plan, layout, redactor, channel).serve(Commands(commands))
    except KeyboardInterrupt:
        channel.send(INTERRUPTED)
    return leave(0)


def _import_dbt(channel: Channel) -> Any:
    """Import dbt with the garbage collector off: it has nothing to find among modules, and would
    look often.
    """
    gc.disable()
    try:
        from dbt_runner.worker import invocation
    except ImportError as error:
        message = f"dbt cannot be imported: {error}"
        channel.send(Failed(message=message, exit_code=2, exception=["ImportError"]))
        return None
    return invocation
