"""Projects of our own in the shape of real ones, and the states that they can be in: see
tests/data/projects/README.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dbt_protocol.plans import Step
from tests.support.pods import step
from tests.support.scenarios import PROJECTS

_DAYS = ("--event-time-start", "2024-01-01", "--event-time-end", "2024-01-04")
# What the runs of each project build with; a dbt of another kind may have to leave some out.
BUILDS: Mapping[str, tuple[str, ...]] = {"retail": (), "observed": (), "events": _DAYS}
_LANDED = ("observed", "events")  # their sources are loaded by an operation of their own


@dataclass(frozen=True)
class State:
    """A state of a project, and how a build of it has to end."""

    project: str
    name: str
    reason: str = ""  # empty: it succeeds
    vars: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    args: Mapping[str, Any] = field(default_factory=dict)  # of the operation that loads

    def __str__(self) -> str:
        return f"{self.project}-{self.name}"

    @property
    def files(self) -> dict[str, str]:
        """The files of the project."""
        folder = PROJECTS / self.project
        return {
            str(path.relative_to(folder)): path.read_text(encoding="utf-8")
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }

    @property
    def lands(self) -> bool:
        """Whether its sources are loaded before anything else."""
        return self.project in _LANDED

    def make_steps(self) -> list[Step]:
        """What a run of it does, one step after another, whatever has become of the one before."""
        steps = [
            self._step("land", "runOperation", "land", "--args", json.dumps(dict(self.args)))
        ] * self.lands
        steps += [self._step(*words) for words in _STEPS[self.project]]
        return steps

    def _step(self, name: str, command: str, *argv: str) -> Step:
        words = [*argv, *(BUILDS[self.project] if command == "build" else ())]
        if self.vars:
            words += ["--vars", json.dumps(dict(self.vars))]
        return step(command, *words, name=name, always=True, allow_empty=True)


_STEPS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "retail": (
        ("seed", "seed"),
        ("build", "build"),
        ("finance", "build", "--selector", "finance"),
        ("list", "list", "--selector", "finance"),
        ("docs", "docs"),
        ("count", "runOperation", "count_rows", "--args", '{"relations": ["fct_orders"]}'),
    ),
    "observed": (
        ("build", "build"),
        ("freshness", "sourceFreshness"),
        ("test", "test", "--select", "fct_readings", "swings_are_small"),
        ("compile", "compile", "--select", "rpt_towns"),
    ),
    "events": (
        ("build", "build"),
        ("run", "run", "--select", "+spitzenbericht"),
        ("list", "list", "--resource-type", "model"),
        ("compile", "compile"),
    ),
}

STATES = (
    State("retail", "green"),
    State("retail", "failing", "ModelError", vars={"state": "failing"}),
    State("retail", "warning", vars={"state": "warning"}),
    State("observed", "green"),
    State("observed", "failing", "HookFailed", env={"APP_STATE": "failing"}),
    State("observed", "warning", env={"APP_STATE": "warning"}),
    State("events", "green", vars={"ds": "2024-01-02"}),
    State("events", "failing", "TestFailed", args={"state": "failing"}),
    State("events", "partly", "ModelError", args={"state": "partly"}),
    State("events", "warning", args={"state": "warning"}, vars={"with_optional": True}),
)
BY_NAME = {str(state): state for state in STATES}
