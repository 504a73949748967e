"""Whose state becomes the current one of a target."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from dbt_operator.api.kinds.project import StateEntry
from dbt_operator.api.kinds.run import DbtRunSpec
from dbt_operator.api.parts.state import State
from dbt_operator.api.parts.steps import Build, Step
from dbt_operator.planning.state.compare import SLIM, current_state

_LIMITS = (
    "select",
    "exclude",
    "selector",
    "resource_types",
    "exclude_resource_types",
    "empty",
    "sample",
)

Promotion = Literal["Full", "Slim", "Always"]


def promotion(spec: DbtRunSpec, steps: Sequence[Step], *, compared: bool) -> Promotion | None:
    """On what grounds the state of a run would become the current one, if the run succeeds.

    Full and Slim are what the spec shows. That the project has narrowed nothing of it is known at
    the end only.

    Args:
        spec: of the run.
        steps: as they are run, which is without comparisons where there is no state.
        compared: whether there is a state to compare with.
    """
    state = spec.state or State()
    if state.promote in ("Always", "Never"):
        return "Always" if state.promote == "Always" else None
    if spec.env or spec.vars or spec.event_time or spec.source:
        # It may have written elsewhere, or a part only. Vars can disable models and move them to
        # other schemas.
        return None
    builds = [
        step.options for step in steps if isinstance(step.options, Build) and not step.allow_failure
    ]
    # What a selector selects is in the project: the runner tells whether that is everything, or
    # all that has changed where there is a state to compare with.
    limits = [_limits(options) for options in builds]
    by_selector = any(set(each) == {"selector"} for each in limits)
    if not all(limits) or (by_selector and not compared):
        return "Full"
    own = state.from_ in (None, "LastSuccess")
    if compared and own and (by_selector or {"select": SLIM} in limits):
        return "Slim"
    return None


def builds_less(spec: DbtRunSpec) -> bool:
    """Whether a run leaves less in relations of its target than a full build would: none or some of
    the rows. One with an environment of its own may have others.
    """
    steps = (step.options for step in spec.steps)
    less = any(getattr(options, name, None) for options in steps for name in ("empty", "sample"))
    return less and not spec.env


def _limits(options: Build) -> dict[str, object]:
    """What keeps a build from being one of the whole project."""
    return {name: value for name in _LIMITS if (value := getattr(options, name, None))}


def advanced(
    states: Iterable[StateEntry], entry: StateEntry, base: str | None
) -> list[StateEntry] | None:
    """The current states with another one for a target; None where they have to stay as they are.

    Args:
        states: the current ones.
        entry: the new one.
        base: what it was compared with: if another one is current by now, there are changes that it
            knows nothing of.
    """
    kept = list(states)
    current = current_state(kept, entry.target)
    if current is not None and (current.key == entry.key or current.at >= entry.at):
        return None
    if base is not None and (current is None or current.key != base):
        return None
    return [*(each for each in kept if each.target != entry.target), entry]
