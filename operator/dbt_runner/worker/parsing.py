"""Parses a project for the steps of a plan: once for all of them, where what the parse has read is
the same for each.

A second parse gets a target path of its own. The steps of a run are one invocation to what is
parsed: names that were made of ``run_started_at`` are the same in each.
"""

from __future__ import annotations

import os
import sys
import time
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dbt_protocol.plans import RunPlan, Step
from dbt_runner.layout import Layout
from dbt_runner.outcome.sentences import first_lines
from dbt_runner.redact import Known, Redactor
from dbt_runner.worker import cache, deps, lock_file, project_code
from dbt_runner.worker.dbt_api import Asked, Invocation, Loaded, Means
from dbt_runner.worker.failure import CannotRunError, name_step
from dbt_runner.worker.parse_reads import find_difference, find_secret, find_unrepeatable
from dbt_runner.worker.profile_secrets import leave_unscrubbed
from dbt_runner.worker.unreadable import names_file
from dbt_runner.worker_messages import DbtEnd


@dataclass(frozen=True)
class Parsed:
    """What has been parsed for the steps of a plan."""

    loaded: list[Loaded]  # for each step
    project: Path  # a copy, once packages had to be installed into one
    redactor: Redactor  # which knows the project's words
    seconds: float
    from_cache: bool

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
        self._found: list[cache.StoredParse] | None = None
        self._parses: list[cache.NewParse] = []
        self.count = 0  # of the parses that have begun

    def parse(self) -> Parsed:
        """Parse for all steps.

        Raises:
            CannotRunError: dbt cannot parse for one of them, or has failed to install packages.
        """
        asked = [self._find_asked(number) for number in range(len(self._plan.steps))]
        if self._plan.deps == "Always" and deps.declares_packages(self._project):
            with name_step(0):
                self._install()
        started = time.monotonic()
        loaded = self._load_steps(asked)
        seconds = time.monotonic() - started
        redactor = self._means.redactor.knowing(self._survey(loaded))
        if self._plan.cached:
            self._store(redactor)
        from_cache = any(each.loaded.begun_with for each in self._parses)
        return Parsed(loaded, self._project, redactor, seconds, from_cache)

    def _find_asked(self, number: int) -> Asked:
        with name_step(number):
            return self._means.dbt.find_asked(self._plan.steps[number].argv)

    def _load_steps(self, asked: list[Asked]) -> list[Loaded]:
        """What is parsed for each step."""
        loaded: list[Loaded] = []
        for step, each in zip(self._plan.steps, asked):
            found = next((old for old in loaded if does_for(old, each)), None)
            if found is None:
                with name_step(len(loaded)):
                    found = self._load(step, each)
            loaded.append(found)
        return loaded

    def _load(self, step: Step, asked: Asked) -> Loaded:
        """Parse for a step, with the parse cache."""
        folder = self._layout.parse / str(self.count)
        invocation = Invocation(step.argv, folder, self._means.redactor)
        self.count += 1
        try:
            loaded = self._means.dbt.load_project(invocation, asked.flags, self._restore())
        except CannotRunError as error:
            may_install = self._plan.deps == "IfMissing" and not self._installed
            if not may_install or not deps.lacks_packages(error.end.exception):
                raise
            self._install()
            loaded = self._means.dbt.load_project(invocation, asked.flags, self._restore())
        self._parses.append(cache.NewParse(loaded, folder))
        return loaded

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
        if "KeyboardInterrupt" in end.exception or names_file(end):
            raise CannotRunError(end)
        if end.exit_code:
            said = first_lines(end.message or next(iter(end.errors), ""))
            why = deps.explain_failure(end.exit_code, said)
            raise CannotRunError(DbtEnd(reason="DepsFailed", message=why, exit_code=end.exit_code))
        if lock is not None:
            lock_file.require_unchanged(project, lock)

    # The parse cache

    def _restore(self) -> list[cache.StoredParse]:
        """What earlier runs have parsed of this project, in this image."""
        if self._found is None:
            self._found = cache.unpack(self._layout, self._project) if self._plan.cached else []
        ours = [each for each in self._found if each.image == self._plan.image]
        return [replace(each, project=self._project) for each in ours]

    def _store(self, redactor: Redactor) -> None:
        """Have the parses stored, where they differ from what was restored. Nothing that dbt does
        depends on it.
        """
        kept = []
        for parse in self._parses:
            reads = parse.loaded.record.reads
            if why := find_unrepeatable(reads) or find_secret(reads, os.environ, redactor.secrets):
                print(f"dbt-operator: the parse is not kept for later runs: {why}", flush=True)
            elif not redactor.may_be_asked_for(parse.read()):
                kept.append(parse)
        try:
            found = self._found or ()
            cache.pack(self._layout, self._plan.image, self._project, kept, found)
        except (OSError, LookupError, zipfile.BadZipFile) as error:
            print(f"dbt-operator: the parse is not cached: {error}", file=sys.stderr)

    # What the project's text says

    def _survey(self, loaded: Iterable[Loaded]) -> Known:
        """Read what the project says, to tell its words from secrets."""
        if not self._means.redactor.secrets:
            return Known()
        manifests = [each.manifest for each in loaded]
        files = project_code.list_code(self._means.dbt, self._project, self._layout, manifests)
        return project_code.survey_words(self._means.redactor, self._layout, files)


def does_for(loaded: Loaded, asked: Asked) -> bool:
    """Whether what was parsed for a command of this run is what another one would parse."""
    if loaded.record.flags != asked.flags or asked.values is None:
        return False
    values = asked.values.borrow_target(loaded.values)
    return not find_difference(loaded.record.reads, values, within_run=True)
