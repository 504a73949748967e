"""Parses a project for the steps of a plan: once for all of them, where parsing cannot tell them
apart.

A second parse gets a target path of its own: dbt's partial parsing does not notice changed flags.
The steps of a run are one invocation to what is parsed: names that were made of ``run_started_at``
are the same in each.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dbt_protocol.plans import RunPlan, Step
from dbt_runner.layout import Layout
from dbt_runner.outcome.sentences import first_lines
from dbt_runner.redact import Known, Redactor
from dbt_runner.worker import cache, deps, lock_file, project_code, sharing
from dbt_runner.worker.dbt_api import Invocation, Loaded, Means
from dbt_runner.worker.failure import CannotRunError, name_step
from dbt_runner.worker.profile_secrets import leave_unscrubbed
from dbt_runner.worker_messages import DbtEnd


@dataclass(frozen=True)
class Parsed:
    """What has been parsed for the steps of a plan."""

    loaded: list[Loaded]  # for each step
    project: Path  # a copy, once packages had to be installed into one
    redactor: Redactor  # which knows the project's words
    seconds: float
    from_cache: bool
    by_step: bool  # the project looks at flags, so that steps may parse differently
    of_invocation: str  # why another invocation may parse differently

    @property
    def manifests(self) -> list[Any]:
        """What dbt has parsed."""
        return [each.manifest for each in self.loaded]


class Parser:
    """Parses for the steps of a plan, and has packages installed if need be."""

    def __init__(self, means: Means, plan: RunPlan, layout: Layout) -> None:
        self._means = means
        self._plan = plan
        self._layout = layout
        self._project = Path(plan.project_dir)
        self._installed = False  # dbt deps has run
        self._from_cache = False
        self.count = 0  # of the parses that have begun

    def parse(self) -> Parsed:
        """Parse for all steps.

        Raises:
            CannotRunError: dbt cannot parse for one of them, or has failed to install packages.
        """
        flags = [self._find_flags(number) for number in range(len(self._plan.steps))]
        if self._plan.deps == "Always" and deps.declares_packages(self._project):
            with name_step(0):
                self._install()
        started = time.monotonic()
        loaded, by_step = self._load_steps(flags)
        seconds = time.monotonic() - started
        redactor = self._means.redactor.knowing(self._survey(loaded))
        of_invocation = ""
        if self._plan.cached or self._plan.windows:
            of_invocation = self._find_values_of_invocation(loaded)
        if self._plan.cached and of_invocation:
            why = f"the parse is not kept for later runs: {of_invocation}"
            print(f"dbt-operator: {why}", flush=True)
        elif self._plan.cached and not by_step:
            self._store(redactor)
        return Parsed(
            loaded, self._project, redactor, seconds, self._from_cache, by_step, of_invocation
        )

    def _find_flags(self, number: int) -> dict[str, str]:
        with name_step(number):
            return self._means.dbt.find_parse_flags(self._plan.steps[number].argv)

    def _load_steps(self, flags: list[dict[str, str]]) -> tuple[list[Loaded], bool]:
        """What is parsed for each step, and whether the project looks at flags."""
        loaded: list[Loaded] = []
        parsed: dict[str, Loaded] = {}
        by_step = False
        for number, step in enumerate(self._plan.steps):
            key = json.dumps([flags[number], step.argv if by_step else []], sort_keys=True)
            if key not in parsed:
                with name_step(number):
                    parsed[key] = self._load(step, len(parsed))
            if number == 0:
                by_step = self._means.dbt.looks_at_flags(parsed[key].manifest, self._project)
            loaded.append(parsed[key])
        return loaded, by_step

    def _load(self, step: Step, number: int) -> Loaded:
        """Parse for a step; with the parse cache, if this is the first parse: its key covers the
        flags of the first step.
        """
        restored = None if number else self._restore()
        folder = self._layout.parse / str(number)
        invocation = Invocation(step.argv, folder, self._means.redactor)
        self.count += 1
        try:
            return self._means.dbt.load_project(invocation, restored)
        except CannotRunError as error:
            may_install = self._plan.deps == "IfMissing" and not self._installed
            if not may_install or not deps.lacks_packages(error.end.exception):
                raise
        self._install()
        return self._means.dbt.load_project(invocation, restored)

    # Packages

    def _install(self) -> None:
        """Run ``dbt deps``, in a copy of the project if need be: then that is the project from here
        on.
        """
        self._installed = True
        print("dbt-operator: installing the project's packages", flush=True)
        project = deps.make_writable(self._project, self._layout.project)
        if project != self._project:
            self._project = project
            deps.enter_project(str(project))
        lock = lock_file.read_lock(project) if self._plan.deps_locked else None
        argv = deps.make_command(self._plan.steps[0].argv)
        invocation = Invocation(argv, self._layout.deps, self._means.redactor)
        with leave_unscrubbed(deps.read_declarations(project)):
            end = self._means.dbt.run_command(invocation, None)
        if "KeyboardInterrupt" in end.exception:
            raise CannotRunError(end)
        if end.exit_code:
            said = first_lines(end.message or next(iter(end.errors), ""))
            why = deps.explain_failure(end.exit_code, said)
            raise CannotRunError(DbtEnd(reason="DepsFailed", message=why, exit_code=end.exit_code))
        if lock is not None:
            lock_file.require_unchanged(project, lock)

    # The parse cache

    def _restore(self) -> Path | None:
        """What an earlier run has parsed, if there is something of use."""
        found = cache.unpack(self._layout, self._project) if self._plan.cached else None
        self._from_cache = found is not None
        return found

    def _store(self, redactor: Redactor) -> None:
        """Have the parse stored, where it differs from what was restored. Nothing that dbt does
        depends on it.
        """
        first = self._layout.parse / "0"
        try:
            cache.pack(self._layout, first, self._project, redactor.may_be_asked_for)
        except OSError as error:
            print(f"dbt-operator: the parse is not cached: {error}", file=sys.stderr)

    # What the project's text says

    def _survey(self, loaded: Iterable[Loaded]) -> Known:
        """Read what the project says, to tell its words from secrets."""
        if not self._means.redactor.secrets:
            return Known()
        files = self._list_files(loaded, built_in=False)
        return project_code.survey_words(self._means.redactor, self._layout, files)

    def _find_values_of_invocation(self, loaded: list[Loaded]) -> str:
        """Why what is parsed may hold values of this very invocation; empty if it holds none."""
        asked = {name for each in loaded for name in each.asked}
        return sharing.baked(asked, self._list_files(loaded, built_in=True)) if asked else ""

    def _list_files(self, loaded: Iterable[Loaded], *, built_in: bool) -> Iterator[Path]:
        manifests = [each.manifest for each in loaded]
        return project_code.list_code(
            self._means.dbt, self._project, self._layout, manifests, built_in=built_in
        )
