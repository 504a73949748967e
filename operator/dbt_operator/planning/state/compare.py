"""Which state a run is compared with, and when its own becomes the current one.

A state is a folder of the bucket with the manifest and the results of a run;
``DbtProject.status.states`` points at the current one of each target. After a green ``tag:finance``
the pointer stays where it is: its manifest knows of changes elsewhere that were never built, and
later runs of ``state:modified+`` would leave them out.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable

from dbt_operator.api.kinds.project import DbtProject, StateEntry
from dbt_operator.api.kinds.run import DbtRun, DbtRunSpec
from dbt_operator.api.parts.state import State, StateOf
from dbt_operator.api.parts.steps import Selecting, Step

SLIM = ["state:modified+"]
# With what may stand before it in a selector: @, or a + and how far it reaches.
_COMPARING = re.compile(r"^(@|\d*\+)?(state|result|source_status)(\.[a-z_.]+)?:")

NONE_YET = (
    "there is no state to compare with yet: run a build of the whole project first, or set "
    "state.onMissing: FullBuild"
)


def compares(spec: DbtRunSpec) -> bool:
    """Whether a run needs a state."""
    state = spec.state or State()
    return bool(
        state.from_ or state.defer or state.on_missing or any(map(_selects_by_state, spec.steps))
    )


def _selects_by_state(step: Step) -> bool:
    options = step.options
    if not isinstance(options, Selecting):
        return False
    return any(
        _is_comparing(token)
        for token in _tokens([*(options.select or ()), *(options.exclude or ())])
    )


def _tokens(selections: Iterable[str]) -> list[str]:
    """Dbt takes a union as several arguments or as words of one."""
    return [token for selection in selections for token in selection.split()]


def _is_comparing(token: str) -> bool:
    return any(_COMPARING.match(part) for part in token.split(","))


def without(step: Step) -> Step:
    """A step that compares with nothing, and selects all that it could select if everything had
    changed.
    """
    options = step.options
    if not isinstance(options, Selecting):
        return step
    select = [
        ",".join(part for part in token.split(",") if not _COMPARING.match(part))
        for token in _tokens(options.select or ())
    ]
    exclude = [token for token in _tokens(options.exclude or ()) if not _is_comparing(token)]
    wider = options.model_copy(
        update={"select": select if select and all(select) else None, "exclude": exclude or None}
    )
    return step.model_copy(update={step.field: wider})


def wanted(run: DbtRun, project: DbtProject, other: DbtRun | None) -> str | None:
    """The folder of the state that a run is to be compared with; None where there is none.

    Args:
        run: the run.
        project: its DbtProject, whose status has the current states.
        other: the run that ``state.from.run`` names, if it exists.
    """
    source = run.spec.state.from_ if run.spec.state else None
    if isinstance(source, StateOf) and source.run:
        return _of_run(other, run.spec.project_ref.name)
    target = source.target if isinstance(source, StateOf) else None
    current = current_state(states(project), target or run.spec.target_ref.name)
    return current.key if current else None


def find_state(run: DbtRun, project: DbtProject, other: DbtRun | None) -> str | None:
    """The same as :func:`wanted`, and None for a run that needs no state."""
    return wanted(run, project, other) if compares(run.spec) else None


def _of_run(run: DbtRun | None, project: str) -> str | None:
    if (
        run is None
        or run.spec.project_ref.name != project
        or not (run.status and run.status.finished_at)
    ):
        return None
    return run.status.resolved.state_location if run.status.resolved else None


def states(project: DbtProject) -> list[StateEntry]:
    """The current state of each target."""
    return list((project.status.states if project.status else None) or ())


def current_state(states: Iterable[StateEntry], target: str) -> StateEntry | None:
    """The state that is the current one of a target; None as long as there is none."""
    return next((entry for entry in states if entry.target == target), None)


def missing_is_failure(spec: DbtRunSpec) -> bool:
    """Whether a run fails without the state that it wants."""
    return spec.state is not None and spec.state.on_missing == "Fail"


def cache_key(env: Iterable[str]) -> str:
    """What the parse caches of a project and target are kept by.

    It only keeps apart what would push one another out, such as the runs of pull requests, each
    with a schema of its own, and all others. What a parse is good for is known by what it was made
    of, which is kept with it.
    """
    return hashlib.sha256(json.dumps(sorted(env)).encode()).hexdigest()[:24]
