"""Says no to a step that would write where the DbtTarget does not allow it, or lose rows.

What the step selects is asked for only where it matters: that takes dbt a while.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable
from typing import Any

from dbt_protocol import flag_variables
from dbt_protocol.plans import RunPlan, Step
from dbt_runner.worker import environment, full_refresh
from dbt_runner.worker.dbt_api import Loaded
from dbt_runner.worker.environment import Allowed, Written
from dbt_runner.worker.failure import CannotRunError
from dbt_runner.worker_messages import DbtEnd

Select = Callable[[], Collection[str]]  # the unique IDs that the step selects


def validate_parsed_step(step: Step, loaded: Loaded, plan: RunPlan, select: Select) -> None:
    """Validate a step by what dbt's Python API has parsed for it.

    Raises:
        CannotRunError: the step must not run.
    """
    wrong = environment.wrong_target(loaded.target, plan.target)
    if wrong:
        raise CannotRunError(DbtEnd(reason="EnvironmentMismatch", message=wrong))
    if not environment.WRITING_COMMANDS.intersection(step.argv):
        return
    refuse_lost_rows(step, loaded.manifest, plan, select)
    allowed = compile_patterns(plan)
    places = environment.written(
        loaded.manifest, store_failures=loaded.store_failures, exports=loaded.exports
    )
    refuse_other_places(places, allowed, select)


def refuse_changing_variables() -> None:
    """Refuse variables of the environment that dbt reads as flags and that the spec says nothing
    of.

    Raises:
        CannotRunError: there are some.
    """
    if names := flag_variables.find_changing(os.environ):
        raise CannotRunError(DbtEnd(reason="ConfigError", message=flag_variables.complaint(names)))


def refuse_lost_rows(step: Step, manifest: Any, plan: RunPlan, select: Select) -> None:
    """Refuse a full refresh of models that a step builds in parts.

    Raises:
        CannotRunError: the step selects such models.
    """
    found = full_refresh.find_losing(manifest, step, windows=bool(plan.windows))
    losing = sorted(set(found).intersection(select())) if found else []
    if losing:
        raise CannotRunError(DbtEnd(reason="ConfigError", message=full_refresh.complaint(losing)))


def compile_patterns(plan: RunPlan) -> Allowed:
    """The places that the DbtTarget allows.

    Raises:
        CannotRunError: a pattern is no regular expression.
    """
    try:
        return Allowed.of(plan.schema_pattern, plan.database_pattern)
    except environment.PatternError as error:
        raise CannotRunError(DbtEnd(reason="ConfigError", message=str(error))) from error


def refuse_other_places(places: Iterable[Written], allowed: Allowed, select: Select) -> None:
    """Refuse to write where that is not allowed.

    Raises:
        CannotRunError: the step selects nodes that would be written there.
    """
    found = environment.offenders(iter(places), allowed)
    # Most runs end here: it takes a selection only if some node of the project would be wrong.
    complaint = environment.complaint(found, select()) if found else ""
    if complaint:
        raise CannotRunError(DbtEnd(reason="EnvironmentMismatch", message=complaint))
