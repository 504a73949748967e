"""What the supervisor starts a process that runs dbt for."""

from __future__ import annotations

from dataclasses import dataclass

from dbt_protocol.plans import RunPlan
from dbt_runner.layout import Layout
from dbt_runner.outcome.steps import narrow_to_window


@dataclass(frozen=True)
class Assignment:
    """The part of a plan that a process is there for."""

    layout: Layout
    plan: RunPlan
    step: int | None  # this one alone; None: whichever the supervisor asks for
    window: int | None  # begins with this one; None: the run has no windows

    def narrow(self) -> tuple[Layout, RunPlan]:
        """The paths and the plan while its window is at work; as they are, where there is none."""
        return narrow_to_window(self.layout, self.plan, self.window)
