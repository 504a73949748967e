"""Validates the steps of a plan by what ``dbt list`` says of each."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from dbt_protocol.json_input import parse_json
from dbt_protocol.plans import RunPlan, Step
from dbt_runner.artifact_files import MANIFEST
from dbt_runner.json_files import read_json
from dbt_runner.layout import Layout
from dbt_runner.worker import environment, full_refresh
from dbt_runner.worker.command import step_flags
from dbt_runner.worker.command.dbt_program import DbtProgram
from dbt_runner.worker.command.evidence import explain_failure
from dbt_runner.worker.command.pretences import refuse_lacking_state, refuse_unhandled
from dbt_runner.worker.environment import Written
from dbt_runner.worker.failure import CannotRunError, name_step
from dbt_runner.worker.validation import (
    compile_patterns,
    refuse_lost_rows,
    refuse_other_places,
)
from dbt_runner.worker_messages import DbtEnd

_BUILT = ("model", "seed", "snapshot", "test", "unit_test", "function")


@dataclass(frozen=True)
class Listed:
    """What a step selects, and the manifest that it selects from."""

    selected: set[str]
    manifest: Any
    file: Path  # that holds the manifest

    def select(self) -> Collection[str]:
        """The selection. A list that names nothing proves nothing: it may be that this dbt answers
        in another form, so then everything is taken for selected.
        """
        return self.selected or {
            getattr(node, "unique_id", key)
            for part in vars(self.manifest).values()
            for key, node in part.items()
        }

    def find_built(self) -> set[str]:
        """What of the selection is built or tested, and not only referred to."""
        return {each for each in self.selected if self._is_built(each)}

    def _is_built(self, unique_id: str) -> bool:
        config = getattr(self.manifest.nodes.get(unique_id), "config", None)
        is_inlined = getattr(config, "materialized", None) == "ephemeral"
        return unique_id.partition(".")[0] in _BUILT and not is_inlined


class Validator:
    """Validates steps before any of them runs."""

    def __init__(self, program: DbtProgram, plan: RunPlan, layout: Layout) -> None:
        self._program = program
        self._plan = plan
        self._layout = layout
        self._listed: dict[tuple[str, ...], Listed] = {}  # by the command line of dbt list
        # By step: the nodes that it selects and that have to have a result, where that was asked.
        self.expected: dict[str, set[str]] = {}

    def validate_steps(self) -> None:
        """Validate the environment of all steps.

        Raises:
            CannotRunError: the run must not begin.
        """
        for number in range(len(self._plan.steps)):
            self.validate_step(number)

    def validate_step(self, number: int) -> None:
        """Validate one of them.

        Raises:
            CannotRunError: the run must not begin.
        """
        step, engine = self._plan.steps[number], self._program.engine
        with name_step(number):
            step_flags.refuse_other_targets(step.argv, self._plan.target)
            refuse_unhandled(step, engine)
            if not engine.misses_state:
                refuse_lacking_state(step, Path(self._plan.project_dir))
            self._refuse_full_refresh(step)
            self._validate(step)

    def _validate(self, step: Step) -> None:
        """Have dbt list what a step selects, before it can have built any of it, where somebody has
        to know.
        """
        is_bound = bool(self._plan.schema_pattern or self._plan.database_pattern)
        writes = step.argv[0] in environment.WRITING_COMMANDS or step.argv[0].startswith("-")
        if not writes or (not is_bound and self._program.engine.leaves_truth):
            return
        allowed = compile_patterns(self._plan)
        listed = self._list(step)
        places = _find_places(step, listed.manifest)
        if self._program.engine.leaves_truth:
            writing = {place.unique_id for place in places} & listed.manifest.nodes.keys()
            self.expected[step.name] = writing & listed.selected
        else:
            self.expected[step.name] = listed.find_built()
        refuse_other_places(places, allowed, listed.select)

    def _refuse_full_refresh(self, step: Step) -> None:
        """Have dbt list what the step selects, where a full refresh would lose what it does not
        build again.
        """
        writes = step.argv[0] in environment.WRITING_COMMANDS
        if not writes or not full_refresh.would_matter(step, windows=bool(self._plan.windows)):
            return
        listed = self._list(step)
        refuse_lost_rows(step, listed.manifest, self._plan, listed.select)

    def _list(self, step: Step) -> Listed:
        argv = step_flags.make_listing(step.argv)
        if argv is None:
            raise _cannot_tell(f"what dbt {' '.join(step.argv)} writes cannot be asked of dbt list")
        key = tuple(argv)
        if key not in self._listed:
            self._listed[key] = self._ask(argv, self._layout.parse / str(len(self._listed)))
        listed, own = self._listed[key], self._layout.parsed_manifest(step.name)
        if not own.exists():
            os.link(listed.file, own)  # for a step that leaves none
        return listed

    def _ask(self, argv: list[str], folder: Path) -> Listed:
        ended = self._program.run(argv, folder, keep=None)
        if ended.code:
            raise CannotRunError(explain_failure(ended, argv))
        manifest = read_json(folder / MANIFEST)
        if manifest is None:
            raise _cannot_tell("dbt list left no manifest.json")
        try:
            objects = _make_objects(manifest)
            return Listed(_read_answers(ended.lines), objects, folder / MANIFEST)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise _cannot_tell(f"dbt list answered something unexpected: {error!r}") from error


def _read_answers(lines: Sequence[str]) -> set[str]:
    """The unique IDs that dbt list has printed."""
    answers = (parse_json(line) for line in lines if line.startswith("{"))
    return {str(answer["unique_id"]) for answer in answers}


def _find_places(step: Step, manifest: Any) -> list[Written]:
    """Where nodes would be written to by a step.

    Raises:
        CannotRunError: the manifest does not say.
    """
    places = environment.written(
        manifest,
        store_failures=step_flags.is_set(step.argv, "--store-failures"),
        exports=step_flags.is_set(step.argv, "--export-saved-queries"),
    )
    try:
        return list(places)
    except (AttributeError, TypeError) as error:
        raise _cannot_tell(f"dbt's manifest.json is not as expected: {error}") from error


def _cannot_tell(why: str) -> CannotRunError:
    message = (
        "nothing was sent to the warehouse, because where the run would write cannot be "
        f"validated: {why}"
    )
    return CannotRunError(DbtEnd(reason="ConfigError", message=message))


def _make_objects(manifest: Mapping[str, Any]) -> Any:
    """The parts of manifest.json that are validated, with attributes as dbt's own manifest has
    them.
    """
    parts = {name: manifest.get(name) or {} for name in ("functions", "saved_queries")}
    parts["nodes"] = manifest["nodes"]
    return SimpleNamespace(
        **{
            name: {key: _make_object(value) for key, value in found.items()}
            for name, found in parts.items()
        }
    )


def _make_object(value: Any) -> Any:
    if isinstance(value, dict):
        return SimpleNamespace(**{key: _make_object(inner) for key, inner in value.items()})
    return [_make_object(inner) for inner in value] if isinstance(value, list) else value
