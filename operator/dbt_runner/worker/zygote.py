"""The process that imports dbt once, parses once, validates the environment and forks a child for
every step.

Importing dbt and parsing take most of a small run's time; three commands of dbt's own command line
would pay it three times. A child has its own target and log path and its own ``dbtRunner``, so that
no step sees what another left behind.

Forking is safe as long as this process has one thread. dbt's static parser brings a pool of idle
ones (rayon), which children never use because they get DBT_STATIC_PARSER=false; any thread beyond
those, as cloud warehouses' clients start them, makes every step run in a process of its own that
imports and parses again (isolation Process).

The supervisor (:mod:`dbt_runner.supervise.session`) talks to it over two pipes, in the messages of
:mod:`dbt_runner.worker_messages`: ``RunStep`` goes in; ``Secrets``, ``Ready`` or ``Failed``, then
``NodeProgress``, ``StepOutcome`` and ``StepEnded`` of each step come out. Runs over windows have a
zygote that does this for each of them: :mod:`dbt_runner.worker.windows`.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Collection
from dataclasses import replace
from importlib import metadata
from pathlib import Path

from dbt_protocol.plans import RunPlan
from dbt_runner.layout import Layout
from dbt_runner.outcome.steps import may_lack_state, selects_by_sources
from dbt_runner.worker import forking
from dbt_runner.worker.channel import Commands
from dbt_runner.worker.dbt_api import Means
from dbt_runner.worker.failure import CannotRunError, name_step
from dbt_runner.worker.parsing import Parsed, Parser
from dbt_runner.worker.selection import select_in_child
from dbt_runner.worker.step_work import run_step
from dbt_runner.worker.validation import refuse_changing_variables, validate_parsed_step
from dbt_runner.worker_messages import Ready, RunStep, StepEnded


class Zygote:
    """Gets the steps of a plan ready, and runs them."""

    def __init__(
        self, means: Means, plan: RunPlan, layout: Layout, shared: Layout | None = None
    ) -> None:
        """Begin with a plan.

        Args:
            means: what it works with.
            plan: the steps, filled in for the window at work.
            layout: of that window.
            shared: where what is parsed is written to, if other windows share it.
        """
        self._means = means
        self._plan = plan
        self._layout = layout
        self._shared = shared or layout
        self._idle_threads = 0
        self._parsed: Parsed | None = None
        self.parses = 0  # for the window at work

    @property
    def parsed(self) -> Parsed:
        """What has been parsed."""
        if self._parsed is None:
            raise RuntimeError("nothing has been parsed")
        return self._parsed

    def serve(
        self, commands: Commands, *, static_parser: bool = True, obstacle: str | None = None
    ) -> None:
        """Parse and validate, then run steps as they are asked for, until the supervisor wants no
        more.

        Args:
            commands: from the supervisor.
            static_parser: it can be started in this process.
            obstacle: why this is for one window only.
        """
        if static_parser:
            self.start_static_parser()
        if not self.prepare():
            return
        count = None if obstacle is None else self.parses
        if not self.announce(count=count, obstacle=obstacle):
            return
        for command in commands:
            if not isinstance(command, RunStep):
                break
            self.run_step(command.step)

    def start_static_parser(self) -> None:
        """Start dbt's static parser, whose idle threads do not speak against forking."""
        self._idle_threads = forking.start_static_parser()

    def may_fork(self) -> bool:
        """Whether steps may be forked off this process."""
        return forking.may_fork(self._plan.isolation, self._idle_threads)

    def move_to_window(self, plan: RunPlan, layout: Layout) -> None:
        """Turn to another window with what has been parsed."""
        self._plan, self._layout = plan, layout
        self._parsed = replace(self.parsed, seconds=0.0, from_cache=False)
        self.parses = 0

    def prepare(self) -> bool:
        """Parse unless that is done, and validate; what speaks against the run is told to the
        supervisor.
        """
        try:
            # Here, when dbt is imported: dbt 1.12 takes in the project's .env by then.
            refuse_changing_variables()
            if self._parsed is None:
                self._parse()
            for number in range(len(self._plan.steps)):
                with name_step(number):
                    self._validate(number)
        except CannotRunError as error:
            self._means.channel.send(error.make_message(self.parses))
            return False
        return True

    def announce(self, *, count: int | None = None, obstacle: str | None = None) -> bool:
        """Tell the supervisor that steps can be run; whether this process is to run them.

        Args:
            count: how often the project was parsed, where there are windows.
            obstacle: why this was for one window only.
        """
        may_fork = self.may_fork()
        if may_fork:
            # What is there now stays: the collector of a child need not look through it, which
            # would copy its pages.
            gc.freeze()
            forking.leave_interrupts_to_children()
        known = self._means.redactor.known
        ready = Ready(
            dbt_version=_find_dbt_version(),
            isolation="Fork" if may_fork else "Process",
            project_dir=self._plan.project_dir,
            seconds=round(self.parsed.seconds, 3),
            cached=self.parsed.from_cache,
            count=count,
            obstacle=obstacle,
            words=sorted(known.words),
            unasked=sorted(known.unasked),
        )
        self._means.channel.send(ready)
        return may_fork

    def run_step(self, number: int) -> None:
        """Run a step in a child, and tell how that ended."""
        manifest = self.parsed.loaded[number].manifest
        child = forking.fork_child(
            lambda: run_step(self._means, self._plan, self._layout, number, manifest)
        )
        # It costs no time here: the child has begun, and there is another core.
        self._keep_manifest(number)
        _, status = os.waitpid(child, 0)
        self._means.channel.send(StepEnded(number, status))

    def _keep_manifest(self, number: int) -> None:
        """Write down what was parsed for a step, in case that it leaves no manifest; once for all
        that share it.
        """
        manifest, steps = self.parsed.loaded[number].manifest, self._plan.steps
        first = next(at for at, each in enumerate(self.parsed.manifests) if each is manifest)
        whole = self._shared.parsed_manifest(steps[first].name)
        own = self._layout.parsed_manifest(steps[number].name)
        if not whole.exists():
            self._means.dbt.write_manifest(manifest, whole)
        if not own.exists():
            os.link(whole, own)

    def _parse(self) -> None:
        commands = [step.argv for step in self._plan.steps]
        project, profile = Path(self._plan.project_dir), self._layout.profile
        told = self._means.dbt.check_flag_files(project, profile, commands)
        if told:
            print(f"dbt-operator: {self._means.redactor.text(told)}", flush=True)
        parser = Parser(self._means, self._plan, self._layout)
        try:
            self._parsed = parser.parse()
        finally:
            self.parses = parser.count
        if self._parsed.project != Path(self._plan.project_dir):
            self._plan = replace(self._plan, project_dir=str(self._parsed.project))
        self._means = replace(self._means, redactor=self._parsed.redactor)

    def _validate(self, number: int) -> None:
        step, loaded = self._plan.steps[number], self.parsed.loaded[number]
        validate_parsed_step(step, loaded, self._plan, lambda: self._select(number))

    def _select(self, number: int) -> Collection[str]:
        """What a step selects; all that it may select, where that depends on what a step before it
        will find of the sources.
        """
        step, loaded = self._plan.steps[number], self.parsed.loaded[number]
        argv = step.full if step.full and selects_by_sources(step) else step.argv
        folder, dbt = self._layout.work / ".select", self._means.dbt
        may_lack = may_lack_state(self._plan, step)
        if self.may_fork():
            return select_in_child(dbt, argv, loaded, folder, may_lack_state=may_lack)
        return dbt.select_nodes(argv, loaded.manifest, folder, may_lack_state=may_lack)


def _find_dbt_version() -> str:
    """From the package's metadata: ``dbt --version`` asks the network."""
    try:
        return metadata.version("dbt-core")
    except metadata.PackageNotFoundError:
        return ""
