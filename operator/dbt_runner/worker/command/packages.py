"""Installs a project's packages where dbt is a program."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dbt_protocol.plans import RunPlan
from dbt_runner.layout import Layout
from dbt_runner.worker import deps, lock_file
from dbt_runner.worker.command.dbt_program import LINES, DbtProgram
from dbt_runner.worker.command.evidence import explain_failure, find_telling_lines
from dbt_runner.worker.failure import CannotRunError
from dbt_runner.worker.unreadable import names_file
from dbt_runner.worker_messages import DbtEnd


def install_packages(program: DbtProgram, plan: RunPlan, layout: Layout) -> RunPlan:
    """Run ``dbt deps`` where packages are declared.

    Returns:
        The plan with the project's folder: a copy, where nothing can be installed into the other.

    Raises:
        CannotRunError: it has failed, or could not be started.
    """
    project = Path(plan.project_dir)
    if not deps.must_install_unread(project, plan.deps):
        return plan
    plan = replace(plan, project_dir=str(deps.make_writable(project, layout.project)))
    deps.enter_project(plan.project_dir)
    writable = Path(plan.project_dir)
    lock = lock_file.read_lock(writable) if plan.deps_locked else None
    argv = deps.make_command(plan.steps[0].argv)
    ended = program.run(argv, layout.deps, keep=LINES, shown=deps.read_declarations(writable))
    if ended.code:
        end = explain_failure(ended, argv)
        if names_file(end):
            raise CannotRunError(end)
        said = "; ".join(find_telling_lines(ended.lines))
        raise CannotRunError(
            DbtEnd(reason="DepsFailed", message=deps.explain_failure(ended.code, said))
        )
    if lock is not None:
        lock_file.require_unchanged(writable, lock)
    return plan
