"""Entry point of the zipapp: ``python3 runner.pyz prepare|run|artifacts``, one command for each
container of the pod; ``run`` is started with ``-I -S``. ``place`` is the sidecar's hook where there
is nothing else to prepare.

Each takes its plan from the environment. ``zygote`` and ``command`` are how ``run`` starts dbt and
not for anyone else; ``--root`` moves all paths below a folder, for tests.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Sequence

from dbt_protocol.messages import ProtocolError
from dbt_protocol.plans import PLAN_VARIABLE, PreparePlan, RunPlan, UploadPlan
from dbt_protocol.summaries import Summary, UploadSummary
from dbt_runner.layout import Layout
from dbt_runner.undumpable import forbid_dumps

COMMANDS = ("prepare", "run", "artifacts", "place", "zygote", "command")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the container's exit code."""
    parser = argparse.ArgumentParser(prog="runner")
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("--root", default="/")
    parser.add_argument("--commands", type=int)
    parser.add_argument("--events", type=int)
    parser.add_argument("--step", type=int)
    parser.add_argument("--window", type=int)
    arguments = parser.parse_args(argv)
    layout = Layout(arguments.root)
    if arguments.command in ("prepare", "artifacts"):
        forbid_dumps()  # they have the bucket's keys
    if arguments.command == "place":
        _place(layout)
        return 0
    plan = os.environ.get(PLAN_VARIABLE, "")
    if arguments.command in ("zygote", "command"):
        return _steps(layout, plan, arguments)
    command = {"prepare": _prepare, "run": _run, "artifacts": _artifacts}[arguments.command]
    return _reported(command, layout, plan, lost_upload=arguments.command == "artifacts")


def _reported(
    command: Callable[[Layout, str], int], layout: Layout, plan: str, *, lost_upload: bool
) -> int:
    """Whatever goes wrong, there is a termination message: the operator has nothing else to go
    by.
    """
    try:
        return command(layout, plan)
    except ProtocolError as error:
        reason, message = "ConfigError", f"{PLAN_VARIABLE} cannot be read: {error}"
    except Exception as error:  # noqa: BLE001 - there is always a termination message
        traceback.print_exc()
        reason, message = "Unknown", f"the runner failed: {error!r}"
    if lost_upload:
        layout.report(UploadSummary(location="", error=message).to_json())
    else:
        layout.report(Summary(reason=reason, message=message, exit_code=2).to_json())
    return 2


def _prepare(layout: Layout, plan: str) -> int:
    from dbt_runner.prepare import preparation

    return preparation.main(layout, PreparePlan.from_json(plan), os.environ)


def _run(layout: Layout, plan: str) -> int:
    given = RunPlan.from_json(plan)
    env = _take_environment()
    from dbt_runner.supervise import main as run

    return run.main(layout, given, env)


def _take_environment() -> dict[str, str]:
    """What the container was given is for dbt alone, and nothing of it stays with this process.

    Modules and libraries that it loads from now on read it as well: that of OpenSSL finds in it
    what else to load.
    """
    given = dict(os.environ)
    os.environ.clear()
    return given


def _place(layout: Layout) -> None:
    from dbt_runner.prepare import placing

    placing.place(layout)


def _artifacts(layout: Layout, plan: str) -> int:
    from dbt_runner.upload import uploader

    given = UploadPlan.from_json(plan)
    if given.places:
        _place(layout)  # the hook does it, too, and neither waits for the other
    return uploader.main(layout, given, os.environ)


def _steps(layout: Layout, plan: str, arguments: argparse.Namespace) -> int:
    from dbt_runner.worker.assignment import Assignment
    from dbt_runner.worker.channel import Pipes
    from dbt_runner.worker.python_engine import has_python_api

    del os.environ[PLAN_VARIABLE]  # not dbt's business
    given = RunPlan.from_json(plan)
    assignment = Assignment(layout, given, arguments.step, arguments.window)
    pipes = Pipes(arguments.commands, arguments.events)
    # Where a Python is asked for by name, that it has no dbt is an error.
    may_be_program = given.isolation == "Auto" and not has_python_api()
    if arguments.command == "zygote" and not may_be_program:
        from dbt_runner.worker import main as zygote

        return zygote.main(assignment, pipes)
    from dbt_runner.worker.command import main as command

    return command.main(assignment, pipes)


if __name__ == "__main__":
    sys.exit(main())
