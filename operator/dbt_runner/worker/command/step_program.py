"""Runs steps, each as a program of its own."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from dbt_protocol.plans import RunPlan, Step
from dbt_runner.layout import Layout
from dbt_runner.volume import remove_folder
from dbt_runner.worker.channel import Channel
from dbt_runner.worker.command.belief import keep_believed
from dbt_runner.worker.command.dbt_program import LINES, DbtProgram
from dbt_runner.worker.command.evidence import gather_end
from dbt_runner.worker.command.selectors_file import may_have_default
from dbt_runner.worker.failure import CannotRunError
from dbt_runner.worker.found_sources import hand_over_sources
from dbt_runner.worker_messages import DbtEnd, StepOutcome


class StepProgram:
    """Runs the steps of a plan."""

    def __init__(
        self,
        program: DbtProgram,
        plan: RunPlan,
        layout: Layout,
        channel: Channel,
        expected: Mapping[str, Collection[str]] | None = None,
    ) -> None:
        """Begin.

        Args:
            program: dbt.
            plan: with the steps, and the project's folder where it is now.
            layout: of the window at work, if there is one.
            channel: to the supervisor.
            expected: by step, nodes that have to have a result.
        """
        self._program = program
        self._plan = plan
        self._layout = layout
        self._channel = channel
        self._expected = expected or {}

    def run_step(self, number: int) -> int:
        """Run a step and report on it; the wait status of dbt's process."""
        step = self._plan.steps[number]
        folder = self._layout.work / step.name
        remove_folder(folder)
        hand_over_sources(self._layout, self._plan.steps, number)
        started = time.time()
        listed = self._expected.get(step.name)
        if self._program.engine.tells_nodes:
            self._channel.send_progress(total=len(listed or ()))
        tell = self._channel.send_progress
        try:
            ended = self._program.run(step.argv, folder, keep=LINES, on_node=tell)
        except CannotRunError as error:
            self._report(number, error.end)
            return 0
        if ended.code < 0:
            return -ended.code
        if ended.events is not None:
            keep_believed(folder, step.argv[0], ended.events, listed)
        end = gather_end(ended, step.argv, folder, started, self._plan.run_uid)
        expected = {*(listed or ()), *(end.expected or ())}
        self._report(
            number,
            replace(end, left_out=self._count_left_out(step), expected=sorted(expected) or None),
        )
        return 0

    def _report(self, number: int, end: DbtEnd) -> None:
        self._channel.send(StepOutcome(step=number, **end.list_fields()))

    def _count_left_out(self, step: Step) -> int | None:
        """None of the nodes that a build is asked for, where no selector can be the default; else
        that is not known.
        """
        if step.argv[0] != "build" or "--selector" in step.argv:
            return None
        try:
            selectors = Path(self._plan.project_dir, "selectors.yml").read_text(encoding="utf-8")
        except FileNotFoundError:
            return 0
        except (OSError, ValueError):
            return None
        return None if may_have_default(selectors) else 0
