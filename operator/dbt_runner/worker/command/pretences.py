"""What is refused of a run where dbt would say that it has done it, and would not have."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from dbt_protocol.plans import Step
from dbt_runner.outcome.classify import LACKS_STATE, STATE_REMEDY
from dbt_runner.outcome.steps import find_selection, find_values
from dbt_runner.project_words import read_text
from dbt_runner.worker.command.engine import Engine
from dbt_runner.worker.command.selectors_file import may_compare
from dbt_runner.worker.failure import CannotRunError
from dbt_runner.worker_messages import DbtEnd

_BY_STATE = re.compile(r"\b(?:state|result|source_status):")
_LEAVE_OUT = {
    "source": "leave the step out, and have the age of sources checked by a run with dbt 1",
    "docs": "leave the step out, and have the documentation made by a run with dbt 1",
}


def refuse_unhandled(step: Step, engine: Engine) -> None:
    """Refuse a command that dbt answers with a warning and exit code 0.

    Raises:
        CannotRunError: it is one.
    """
    if engine.handles(step.argv):
        return
    command = " ".join(step.argv[:2])
    message = (
        f"nothing was sent to the warehouse: {engine.name} does not do {command}, although it ends"
        f" as if it had: {_LEAVE_OUT[step.argv[0]]}"
    )
    raise CannotRunError(DbtEnd(reason="ConfigError", message=message))


def refuse_lacking_state(step: Step, project: Path) -> None:
    """Refuse a selection by state where there is no state: dbt 2 selects nothing, and succeeds.

    Raises:
        CannotRunError: it is one.
    """
    if "--state" in step.argv:
        return
    names = find_values(step.argv, "--selector")
    if _BY_STATE.search(find_selection(step)) or _selects_by_state(step, names, project):
        raise CannotRunError(DbtEnd(reason="ConfigError", message=f"{LACKS_STATE}{STATE_REMEDY}"))


def _selects_by_state(step: Step, names: Sequence[str], project: Path) -> bool:
    """Whether a selector of the project does, one that is named or the default one."""
    if not names and "--select" in step.argv:
        return False
    text = read_text(project / "selectors.yml")
    return any(may_compare(text, name) for name in names or [""])
