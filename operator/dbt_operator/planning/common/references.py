"""What a run or a backfill refers to: its project, its target, and a run whose state it compares
with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dbt_operator.api.kinds.project import DbtProject
from dbt_operator.api.kinds.run import DbtRun
from dbt_operator.api.kinds.target import DbtTarget
from dbt_operator.api.parts.run_template import RunTemplateSpec

# Reasons of the condition Admitted.
NOT_FOUND, UNREADABLE = "ReferenceNotFound", "ReferenceInvalid"


@dataclass(frozen=True)
class Referred:
    """Project and target that exist and can be read, each with its generation."""

    project: tuple[DbtProject, int]
    target: tuple[DbtTarget, int]


@dataclass(frozen=True)
class References:
    """What is known of the objects that a run or a backfill refers to.

    Project and target come with their generations; None where they do not exist. ``state_run`` is
    the run that ``state.from.run`` names. ``unreadable`` is what is wrong with objects that the
    models refuse, by kind and name; they count as not there.
    """

    project: tuple[DbtProject, int] | None = None
    target: tuple[DbtTarget, int] | None = None
    state_run: DbtRun | None = None
    unreadable: Mapping[str, str] = field(default_factory=dict)

    @property
    def found(self) -> Referred | None:
        """Project and target; None where one of them is missing."""
        if self.project is None or self.target is None:
            return None
        return Referred(self.project, self.target)


def find_missing(spec: RunTemplateSpec, references: References, namespace: str) -> str:
    """What a run refers to and does not exist, or cannot be read; empty where all is there."""
    wanted = [
        (f"DbtProject {spec.project_ref.name}", references.project),
        (f"DbtTarget {spec.target_ref.name}", references.target),
    ]
    unreadable = references.unreadable
    absent = [who for who, found in wanted if found is None and who not in unreadable]
    said = [f"{who} cannot be read: {why}" for who, why in unreadable.items()]
    if absent:
        said.insert(0, f"{' and '.join(absent)} not found in namespace {namespace}")
    return "; ".join(said)


def reason_of_missing(references: References) -> str:
    """The reason of the condition Admitted while something is missing."""
    return UNREADABLE if references.unreadable else NOT_FOUND


def find_remedy(references: References, kind: str) -> str:
    """What to do about something that is missing and has not come in time."""
    if references.unreadable:
        return f"correct it, and create a new {kind}"
    return f"create it, or correct the reference in a new {kind}"
