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
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

from dbt_protocol import flag_variables
from dbt_protocol.json_input import parse_json
from dbt_protocol.plans import RunPlan, Step
from dbt_runner import redact
from dbt_runner.layout import Layout
from dbt_runner.outcome.classify import first_lines
from dbt_runner.redact import Redactor
from dbt_runner.worker import cache, deps, environment, full_refresh, sharing
from dbt_runner.worker.channel import Channel, Commands
from dbt_runner.worker.forking import count_threads, fork, run_child, start_static_parser
from dbt_runner.worker_messages import (
    Failed,
    Ready,
    RunStep,
    Selected,
    StepEnded,
    StepOutcome,
    decode,
)


class Refused(Exception):  # noqa: N818 - it is the environment that is wrong, not the program
    """Environment validation says no."""


class Misconfigured(Exception):  # noqa: N818 - nothing has failed yet
    """The run would not do what its spec says."""


class DepsFailed(Exception):  # noqa: N818 - the reason's name
    """``dbt deps`` did not succeed; ``exit_code`` is dbt's."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def _dbt_version() -> str:
    """From the package's metadata: ``dbt --version`` asks the network."""
    try:
        return metadata.version("dbt-core")
    except metadata.PackageNotFoundError:
        return ""


class Zygote:
    """Gets the steps of a plan ready, and runs them."""

    def __init__(
        self, dbt: Any, plan: RunPlan, layout: Layout, redactor: Redactor, channel: Channel
    ) -> None:
        self._dbt = dbt  # the module dbt_runner.worker.invocation
        self._plan = plan
        self._layout = layout
        self._redactor = redactor
        self._channel = channel
        self._idle_threads = 0
        self._loaded: list[Any] = []  # of each step
        self._parse_seconds = 0.0
        self._from_cache = False
        self._at = 0  # the step that is being prepared
        self._installed = False  # dbt deps has run
        self._manifest = layout.parsed_manifest
        self.parses = 0
        self.by_step = False  # the project looks at flags, so that steps may parse differently
        self.of_invocation = ""  # why another invocation may parse differently

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
            self.step(command.step)

    @property
    def project(self) -> Path:
        """The project's folder, which is a copy once packages had to be installed into one."""
        return Path(self._plan.project_dir)

    @property
    def manifests(self) -> list[Any]:
        """What has been parsed."""
        return [loaded.manifest for loaded in self._loaded]

    def start_static_parser(self) -> None:
        """Start dbt's static parser, whose idle threads do not speak against forking."""
        self._idle_threads = start_static_parser()

    def announce(self, *, count: int | None = None, obstacle: str | None = None) -> bool:
        """Tell the supervisor that steps can be run; whether this process is to run them.

        Args:
            count: how often the project was parsed, where there are windows.
            obstacle: why this was for one window only.
        """
        fork = self.may_fork()
        if fork:
            # What is there now stays: the collector of a child need not look through it, which
            # would copy its pages.
            gc.freeze()
            signal.signal(
                signal.SIGINT, lambda *_: None
            )  # meant for the child; this process ends with the pipe
        ready = Ready(
            dbt_version=_dbt_version(),
            isolation="Fork" if fork else "Process",
            project_dir=self._plan.project_dir,
            seconds=round(self._parse_seconds, 3),
            cached=self._from_cache,
            count=count,
            obstacle=obstacle,
            words=sorted(self._redactor.known.words),
            unasked=sorted(self._redactor.known.unasked),
        )
        self._channel.send(ready)
        return fork

    def at(self, plan: RunPlan, layout: Layout, manifest: Path) -> None:
        """Turn to another window with what has been parsed, and what of that has been written to
        this path.
        """
        self._plan, self._layout, self._manifest = plan, layout, manifest
        self._parse_seconds, self._from_cache, self.parses = 0.0, False, 0

    def may_fork(self) -> bool:
        """Whether steps may be forked off this process."""
        if self._plan.isolation == "Auto":
            return count_threads() <= 1 + self._idle_threads
        return self._plan.isolation == "Fork"

    def prepare(self) -> bool:
        """Parse unless that is done, and validate; what speaks against the run is told to the
        supervisor.
        """
        try:
            # Here, when dbt is imported: dbt 1.12 takes in the project's .env by then.
            if names := flag_variables.find_changing(os.environ):
                raise Misconfigured(flag_variables.complaint(names))
            if not self._loaded:
                self._load([self._dbt.explicit_flags(step.argv) for step in self._each_step()])
            for step in self._each_step():
                self._validate(step, self._loaded[self._at])
        except self._dbt.LoadError as error:
            self._fail(self._at, **error.ended.list_fields())
        except DepsFailed as error:
            self._fail(0, reason="DepsFailed", message=str(error), exit_code=error.exit_code)
        except (Refused, Misconfigured, environment.PatternError) as error:
            reason = "EnvironmentMismatch" if isinstance(error, Refused) else "ConfigError"
            self._fail(self._at, reason=reason, message=str(error))
        else:
            return True
        return False

    def _fail(self, step: int, **end: Any) -> None:
        self._channel.send(Failed(step=step, parses=self.parses, **end))

    def _each_step(self) -> Iterator[Step]:
        """The steps, and keep in mind which of them is at work, for the message of a failure."""
        for number, step in enumerate(self._plan.steps):
            self._at = number
            yield step

    def _load(self, flags: list[dict[str, str]]) -> None:
        """Parse once for all steps that parsing cannot tell apart.

        A second parse gets a target path of its own: dbt's partial parsing does not notice changed
        flags. The steps of a run are one invocation to what is parsed: names that were made of
        ``run_started_at`` are the same in each.
        """
        parsed: dict[str, Any] = {}
        if self._plan.deps == "Always" and deps.declared(Path(self._plan.project_dir)):
            self._install()
        started = time.monotonic()
        for step in self._each_step():
            key = json.dumps([flags[self._at], step.argv if self.by_step else []], sort_keys=True)
            if key not in parsed:
                restored = self._restored() if not parsed else None
                parsed[key] = self._parse(step, self._layout.parse / str(len(parsed)), restored)
                if self._at == 0:
                    self.by_step = self._dbt.looks_at_flags(
                        parsed[key].manifest, Path(self._plan.project_dir)
                    )
            self._loaded.append(parsed[key])
        self._parse_seconds = time.monotonic() - started
        self._redactor = self._redactor.knowing(self._survey())
        if self._plan.cached or self._plan.windows:
            self.of_invocation = self._find_values_of_invocation()
        if self._plan.cached and self.of_invocation:
            why = f"the parse is not kept for later runs: {self.of_invocation}"
            print(f"dbt-operator: {why}", flush=True)
        elif self._plan.cached and not self.by_step:
            self._store(self._layout.parse / "0")

    def _survey(self) -> redact.Known:
        """Read what the project says, to tell its words from secrets."""
        if not self._redactor.secrets:
            return redact.Known()
        files = [*sharing.code(self.project)]
        for manifest in self.manifests:
            files += self._dbt.files(manifest)
        profile = redact.read_text(self._layout.profiles / "profiles.yml")
        texts = map(redact.read_text, dict.fromkeys(files))
        return redact.survey(self._redactor, texts, profile, os.environ)

    def _find_values_of_invocation(self) -> str:
        """Why what is parsed may hold values of this very invocation; empty if it holds none."""
        asked = {name for loaded in self._loaded for name in loaded.asked}
        return sharing.baked(asked, self._all_files()) if asked else ""

    def _all_files(self) -> Iterator[Path]:
        project = Path(self._plan.project_dir)
        yield from sharing.code(project)
        yield self._layout.profiles / "profiles.yml"
        for manifest in self.manifests:
            yield from self._dbt.files(manifest, built_in=True)

    def _restored(self) -> Path | None:
        """The parse cache, for the first parse: its key covers the flags of the first step."""
        found = (
            cache.unpack(self._layout, Path(self._plan.project_dir)) if self._plan.cached else None
        )
        self._from_cache = found is not None
        return found

    def _store(self, folder: Path) -> None:
        """Have the parse stored, where it differs from what was restored. Nothing that dbt does
        depends on it.
        """
        try:
            cache.pack(
                self._layout, folder, Path(self._plan.project_dir), self._redactor.may_be_asked_for
            )
        except OSError as error:
            print(f"dbt-operator: the parse is not cached: {error}", file=sys.stderr)

    def _parse(self, step: Step, folder: Path, restored: Path | None) -> Any:
        self.parses += 1
        try:
            return self._dbt.load(step.argv, folder, self._redactor, restored)
        except self._dbt.LoadError as error:
            if (
                self._plan.deps != "IfMissing"
                or self._installed
                or not deps.missing(error.ended.exception)
            ):
                raise
        self._install()
        return self._dbt.load(step.argv, folder, self._redactor, restored)

    def _install(self) -> None:
        """Run ``dbt deps``, in a copy of the project if need be: then that is the project from here
        on.
        """
        self._installed = True
        print("dbt-operator: installing the project's packages", flush=True)
        project = str(deps.writable(Path(self._plan.project_dir), self._layout.project))
        if project != self._plan.project_dir:
            self._plan = replace(self._plan, project_dir=project)
            os.environ["DBT_PROJECT_DIR"] = project
            os.chdir(project)
        ended = self._dbt.run(
            deps.command(self._plan.steps[0].argv), None, self._layout.deps, self._redactor
        )
        if "KeyboardInterrupt" in ended.exception:
            raise self._dbt.LoadError(ended)
        if ended.exit_code:
            said = (
                first_lines(ended.message or next(iter(ended.errors), "")) or "its log says no more"
            )
            raise DepsFailed(
                f"dbt deps ended with exit code {ended.exit_code}: {said}", ended.exit_code
            )

    def _validate(self, step: Step, loaded: Any) -> None:
        wrong = environment.wrong_target(loaded.target, self._plan.target)
        if wrong:
            raise Refused(wrong)
        if not environment.WRITING_COMMANDS.intersection(step.argv):
            return
        self._refuse_full_refresh(step, loaded)
        allowed = environment.Allowed.of(self._plan.schema_pattern, self._plan.database_pattern)
        found = environment.offenders(
            environment.written(
                loaded.manifest, store_failures=loaded.store_failures, exports=loaded.exports
            ),
            allowed,
        )
        # Most runs end here: it takes a selection only if some node of the project would be wrong.
        complaint = environment.complaint(found, self._selection(step, loaded)) if found else ""
        if complaint:
            raise Refused(complaint)

    def _refuse_full_refresh(self, step: Step, loaded: Any) -> None:
        found = full_refresh.find_losing(loaded.manifest, step, windows=bool(self._plan.windows))
        losing = sorted(set(found).intersection(self._selection(step, loaded))) if found else []
        if losing:
            raise Misconfigured(full_refresh.complaint(losing))

    def _selection(self, step: Step, loaded: Any) -> list[str]:
        """What the step selects; asked of a child where that is possible, since selecting changes
        the manifest.
        """
        folder = self._layout.work / ".select"
        if not self.may_fork():
            return list(self._dbt.selected(step.argv, loaded.manifest, folder))
        reader, writer = os.pipe()
        child = fork()
        if child == 0:
            run_child(lambda: _answer(self._dbt, step, loaded, folder, Channel(writer)))
        os.close(writer)
        with os.fdopen(reader, "rb") as lines:
            line = lines.readline()
        os.waitpid(child, 0)
        answer = decode(line) if line else Failed(exit_code=2)
        if isinstance(answer, Selected):
            return answer.unique_ids
        raise self._dbt.LoadError(answer)

    def step(self, number: int) -> None:
        """Run a step in a child, and tell how that ended."""
        step, loaded = self._plan.steps[number], self._loaded[number]

        def work() -> None:
            folder = self._layout.work / step.name
            done = _done(self._layout, step)
            ended = self._dbt.run(
                step.argv,
                loaded.manifest,
                folder,
                self._redactor,
                done,
                self._channel.send_progress,
            )
            self._channel.send(StepOutcome(step=number, **ended.list_fields()))

        child = fork()
        if child == 0:
            run_child(work)
        if not self._manifest.exists():
            # For steps that leave no manifest. It costs no time here: the child has begun, and
            # there is another core.
            self._dbt.write_manifest(loaded.manifest, self._manifest)
        if not self._layout.parsed_manifest.exists():
            os.link(self._manifest, self._layout.parsed_manifest)
        _, status = os.waitpid(child, 0)
        self._channel.send(StepEnded(number, status))


def _done(layout: Layout, step: Step) -> list[str]:
    """The nodes of a step that the supervisor says are done."""
    try:
        return list(parse_json(layout.done(step.name).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return []


def _answer(dbt: Any, step: Step, loaded: Any, folder: Path, channel: Channel) -> None:
    try:
        channel.send(Selected(dbt.selected(step.argv, loaded.manifest, folder)))
    except dbt.LoadError as error:
        channel.send(Failed(**error.ended.list_fields()))


def run_here(dbt: Any, step: Step, layout: Layout, redactor: Redactor, channel: Channel) -> None:
    """Run a step in this very process, which is there for that step alone."""
    gc.enable()
    done = _done(layout, step)
    ended = dbt.run(step.argv, None, layout.work / step.name, redactor, done, channel.send_progress)
    channel.send(StepOutcome(**ended.list_fields()))
